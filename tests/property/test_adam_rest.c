/* test_adam_rest.c: Adam's update on every path, byte for byte against the scalar
 * one, where the means have become subnormal: weights without a gradient, which
 * kernels may take another way, between all sorts of others.                    */
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
    }
}

static void same_bytes(void **state)
{
    (void)state;
    static weights start, want, got;
    const acr_kernels *scalar = NULL, *path;
    for (int i = 0; (path = acr__kernels_runnable(i)) != NULL; i++)
        if (strcmp(path->name, "scalar") == 0)
            scalar = path;
    assert_non_null(scalar);
    static const float firsts[] = {0.1f, 0.001f, 0.5f, 0.75f, 1.0f}, epsilons[] = {1e-8f, 0.0f, 1e-12f};
    static const float rates[] = {1e-3f, 1000.0f, 7e5f}, l2s[] = {0, 0.01f}, clips[] = {1, 0.5f};
    int paths = 0;
    for (int i = 0; (path = acr__kernels_runnable(i)) != NULL; i++) {
        if (path == scalar)
            continue;
        paths++;
        for (int c = 0; c < 5 * 3 * 3 * 2 * 2; c++) {
            acr_adam_args a = {.lr_bc1 = rates[c / 15 % 3],
                               .decay = c % 2 ? 1 : 0.99999f,
                               .l2 = l2s[c / 45 % 2],
                               .beta1_1m = firsts[c % 5],
                               .beta2 = 0.999f,
                               .beta2_1m = 0.001f,
                               .sqrt_bc2 = 0.7f,
                               .epsilon = epsilons[c / 5 % 3],
                               .clip = clips[c / 90]};
            seed = (uint32_t)c;
            fill(&start);
            want = got = start;
            for (int t = 0; t < UPDATES; t++) {
                scalar->adam(&a, COUNT, want.p, want.g, want.m, want.v);
                path->adam(&a, COUNT, got.p, got.g, got.m, got.v);
            }
            const float *x = want.p, *y = got.p;
            for (int at = 0; at < 4 * COUNT; at++)
                if (memcmp(x + at, y + at, sizeof *x) != 0)
                    fail_msg("%s, settings %d: %c[%d] is %a, scalar %a; from p %a g %a m %a v %a", path->name, c,
                             "pgmv"[at / COUNT], at % COUNT, (double)y[at], (double)x[at], (double)start.p[at % COUNT],
                             (double)start.g[at % COUNT], (double)start.m[at % COUNT], (double)start.v[at % COUNT]);
        }
    }
    if (paths == 0) {
        printf("only the scalar path runs here\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
