/* net.h: for tests of files: a scratch folder, and a small network with a
 * trainer whose parameters, state and clock hold numbers made from a seed. */
#ifndef ACR_TEST_NET_H
#define ACR_TEST_NET_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <accrue/accrue.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct net {
    acr_context *ctx;
    acr_graph *g;
    acr_plan *p;
    acr_trainer *t;
} net;

/* What contexts are made with; a test may set it. */
static const acr_context_opts *net_context_opts;

static inline float net_number(uint32_t seed, int64_t i)
{
    uint32_t x = seed * 2654435761u + (uint32_t)i * 40503u + 12345u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return (float)(int32_t)x / 2147483648.0f;
}

/* 10 -> hidden -> 2, or without `second` 10 -> hidden. */
static inline void net_open_as(net *n, int64_t hidden, int second, acr_optimizer optimizer)
{
    assert_int_equal(acr_context_create(&n->ctx, net_context_opts), ACR_OK);
    n->g = acr_graph_create(n->ctx, NULL);
    assert_non_null(n->g);
    int64_t in = 10, out = second ? 2 : hidden;
    acr_node x = acr_input(n->g, "x", ACR_F32, 1, &in), y = acr_input(n->g, "y", ACR_F32, 1, &out);
    acr_node h = acr_linear(n->g, x, hidden, "fc1");
    acr_node o = second ? acr_linear(n->g, acr_relu(n->g, h), 2, "fc2") : h;
    acr_output(n->g, "prediction", o);
    acr_loss(n->g, acr_mse(n->g, o, y, ACR_NONE));
    assert_int_equal(acr_graph_finish(n->g), ACR_OK);
    acr_plan_opts opts = ACR_PLAN_OPTS_INIT;
    opts.micro_batch = 4;
    opts.optimizer = optimizer;
    opts.momentum = 1;
    assert_int_equal(acr_plan_create(&n->p, n->g, &opts), ACR_OK);
    assert_int_equal(acr_trainer_create(&n->t, n->p, NULL), ACR_OK);
}

static inline void net_open(net *n)
{
    net_open_as(n, 5, 1, ACR_ADAMW);
}

static inline void net_close(net *n)
{
    acr_trainer_destroy(n->t);
    acr_plan_destroy(n->p);
    acr_graph_destroy(n->g);
    acr_context_destroy(n->ctx);
}

/* All that a checkpoint holds, from a seed. */
static inline void net_fill(net *n, uint32_t seed)
{
    for (int i = 0; i < acr_param_count(n->g); i++)
        for (int64_t k = 0; k < acr_param_elements(n->g, i); k++) {
            float v = net_number(seed + (uint32_t)i, k);
            assert_int_equal(acr_param_write(n->t, i, k, 1, &v), ACR_OK);
            for (int s = 0; s < acr_state_slots(n->t); s++) {
                v = net_number(seed + 100 + (uint32_t)(i * 2 + s), k);
                assert_int_equal(acr_state_write(n->t, i, s, k, 1, &v), ACR_OK);
            }
        }
    acr_clock clock = {seed, seed + 3, seed * 100 + 7, seed * 1000 + 11, 3, 2, 0};
    assert_int_equal(acr_clock_set(n->t, &clock), ACR_OK);
}

/* Whether the trainer holds exactly what net_fill(seed) put there. */
static inline int net_holds(net *n, uint32_t seed)
{
    for (int i = 0; i < acr_param_count(n->g); i++)
        for (int64_t k = 0; k < acr_param_elements(n->g, i); k++) {
            float v, want = net_number(seed + (uint32_t)i, k);
            assert_int_equal(acr_param_read(n->t, i, k, 1, &v), ACR_OK);
            if (memcmp(&v, &want, 4))
                return 0;
            for (int s = 0; s < acr_state_slots(n->t); s++) {
                want = net_number(seed + 100 + (uint32_t)(i * 2 + s), k);
                assert_int_equal(acr_state_read(n->t, i, s, k, 1, &v), ACR_OK);
                if (memcmp(&v, &want, 4))
                    return 0;
            }
        }
    acr_clock c;
    assert_int_equal(acr_clock_get(n->t, &c), ACR_OK);
    return c.updates == seed && c.windows == seed + 3 && c.samples == seed * 100 + 7 && c.tokens == seed * 1000 + 11 &&
           c.skipped == 3 && c.skipped_in_row == 2;
}

/* ---- a scratch folder, made by the group's setup ------------------------------------ */

static char scratch[256];
static char scratch_name[512];

static inline int scratch_setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%.200s/accrue-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return mkdtemp(scratch) ? 0 : -1;
}

/* Removes all that the folder holds. Closes it. */
static inline void scratch_empty(int folder)
{
    DIR *d = fdopendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || unlinkat(folder, e->d_name, 0) == 0)
            continue;
        int below = openat(folder, e->d_name, O_RDONLY | O_DIRECTORY);
        if (below >= 0)
            scratch_empty(below);
        unlinkat(folder, e->d_name, AT_REMOVEDIR);
    }
    if (d)
        closedir(d);
}

static inline int scratch_teardown(void **state)
{
    (void)state;
    scratch_empty(open(scratch, O_RDONLY | O_DIRECTORY));
    return rmdir(scratch);
}

static inline const char *in_scratch(const char *name)
{
    snprintf(scratch_name, sizeof scratch_name, "%s/%s", scratch, name);
    return scratch_name;
}

/* How many names the folder has that contain `part`. */
static inline int names_with(const char *folder, const char *part)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strstr(e->d_name, part);
    if (d)
        closedir(d);
    return n;
}

static inline void put_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* The whole file, with a zero byte after it; to be freed. */
static inline char *get_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*n + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, f), *n);
    bytes[*n] = '\0';
    fclose(f);
    return bytes;
}

#define assert_says(ctx, part)                                                                  \
    do {                                                                                        \
        if (!strstr(acr_error(ctx), (part)))                                                    \
            fail_msg("'%s' does not say '%s'", acr_error(ctx), (part));                         \
    } while (0)

#endif
