/* test_rest.c: SGD's and Adam's update on every path, byte for byte against the
 * scalar one, where momentum and means have become subnormal: weights without a
 * gradient, which kernels may take another way, between all sorts of others.    */
#include "kernel/kernel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { COUNT = 4099, UPDATES = 12 };

typedef struct weights {
    float p[COUNT], g[COUNT], m[COUNT], v[COUNT];
} weights;

static uint32_t seed;

static uint32_t word(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8 | seed << 24;
}

static float of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Some of any size, subnormals of all sizes, and what happens to be next to them. */
static float some_mean(void)
{
    static const uint32_t edges[] = {0,  1,        2,        3,        4,        5,        6,
                                     15, 0x3fffff, 0x400000, 0x7ffffe, 0x7fffff, 0x800000, 0x800001};
    uint32_t kind = word() % 8, sign = word() & 0x80000000u;
    if (kind < 3)
        return of_bits(sign | (word() & 0x7fffff) >> word() % 24);
    if (kind < 6)
        return of_bits(sign | edges[word() % (sizeof edges / sizeof *edges)]);
    return of_bits(sign | (word() % 0x7f000000));
}

static void fill(weights *w)
{
    static const float odd[] = {0.0f, -0.0f, INFINITY, NAN, 0x1p-40f, 0x1.fffffep-41f, 0x1p-126f, 1e-42f};
    for (int i = 0; i < COUNT; i++) {
        uint32_t sign = word() & 0x80000000u;
        w->p[i] = word() % 8 ? of_bits(sign | (0x20000000 + word() % 0x20000000)) : odd[word() % 8];
        w->g[i] = word() % 4 ? of_bits(sign) : word() % 4 ? of_bits(sign | word() % 0x3f000000) : odd[word() % 8];
        w->m[i] = some_mean();
        w->v[i] = word() % 16 ? of_bits(word() % 0x3f000000) : odd[word() % 8];
        if (word() % 2)
            w->v[i] = word() % 64 ? fabsf(some_mean()) : some_mean();
    }
}

static const acr_kernels *scalar(void)
{
    const acr_kernels *path;
    for (int i = 0; (path = acr__kernels_runnable(i)) != NULL; i++)
        if (strcmp(path->name, "scalar") == 0)
            return path;
    fail_msg("there is no scalar path");
    return NULL;
}

static void same(const char *path, int c, const weights *want, const weights *got, const weights *start)
{
    const float *x = want->p, *y = got->p;
    for (int at = 0; at < 4 * COUNT; at++)
        if (memcmp(x + at, y + at, sizeof *x) != 0)
            fail_msg("%s, settings %d: %c[%d] is %a, scalar %a; from p %a g %a m %a v %a", path, c, "pgmv"[at / COUNT],
                     at % COUNT, (double)y[at], (double)x[at], (double)start->p[at % COUNT],
                     (double)start->g[at % COUNT], (double)start->m[at % COUNT], (double)start->v[at % COUNT]);
}

/* Calls update(path, c, weights) for every path and setting. */
static void on_every_path(int settings, void (*update)(const acr_kernels *k, int c, weights *w))
{
    static weights start, want, got;
    const acr_kernels *path;
    int paths = 0;
    for (int i = 0; (path = acr__kernels_runnable(i)) != NULL; i++) {
        if (path == scalar())
            continue;
        paths++;
        for (int c = 0; c < settings; c++) {
            seed = (uint32_t)c;
            fill(&start);
            want = got = start;
            for (int t = 0; t < UPDATES; t++) {
                update(scalar(), c, &want);
                update(path, c, &got);
            }
            same(path->name, c, &want, &got, &start);
        }
    }
    if (paths == 0) {
        printf("only the scalar path runs here\n");
        skip();
    }
}

static void update_adam(const acr_kernels *k, int c, weights *w)
{
    static const float firsts[] = {0.1f, 0.001f, 0.5f, 0.75f, 1.0f}, epsilons[] = {1e-8f, 0.0f, 1e-12f};
    static const float rates[] = {1e-3f, 1000.0f, 7e5f}, l2s[] = {0, 0.01f}, clips[] = {1, 0.5f};
    static const float seconds[] = {0.999f, 0.95f, 0.5f, 1.0f};
    acr_adam_args a = {.lr_bc1 = rates[c / 15 % 3],
                       .decay = c % 2 ? 1 : 0.99999f,
                       .l2 = l2s[c / 45 % 2],
                       .beta1_1m = firsts[c % 5],
                       .beta2 = seconds[c % 4],
                       .beta2_1m = 1 - seconds[c % 4],
                       .sqrt_bc2 = 0.7f,
                       .epsilon = epsilons[c / 5 % 3],
                       .clip = clips[c / 90 % 2]};
    k->adam(&a, COUNT, w->p, w->g, w->m, w->v);
}

static void update_sgd(const acr_kernels *k, int c, weights *w)
{
    static const float momenta[] = {0.9f, 0.5f, 0.99f, 1.0f, 1e-3f, 2.0f}, rates[] = {1e-2f, 1000.0f, 1e25f, -1e25f};
    static const float decays[] = {0, 0.01f}, dampening[] = {1, 0.1f}, clips[] = {1, 0.5f};
    acr_sgd_args a = {.lr = rates[c / 6 % 4],
                      .momentum = momenta[c % 6],
                      .dampening_1m = dampening[c / 24 % 2],
                      .weight_decay = decays[c / 48 % 4 == 3],
                      .clip = clips[c / 96 % 2],
                      .nesterov = c / 5 % 2 != 0,
                      .first = c % 37 == 0};
    k->sgd(&a, COUNT, w->p, w->g, w->m);
}

static void adam(void **state)
{
    (void)state;
    on_every_path(5 * 3 * 3 * 2 * 4, update_adam);
}

static void sgd(void **state)
{
    (void)state;
    on_every_path(6 * 4 * 2 * 4 * 2, update_sgd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(adam), cmocka_unit_test(sgd)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
