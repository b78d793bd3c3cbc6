/* How near decoding comes to its limit: a token costs one read of the weights, so the
 * limit is reading as many bytes of memory by the same threads.
 *
 *     bench_decode [threads] [layers] [pairs]
 *
 * Each layer is two products, 768 -> 3072 -> 768. Decoding one token and reading
 * alternate, and the share is the median over the pairs: on a shared machine rates
 * drift, shares do not. `packed` weights are panels, `lies` [out, in] as they are
 * trained, `transposed` [in, out], which one row streams without panels. */
#include <accrue/accrue.h>

#include "base/base.h"
#include "peak.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { WIDTH = 768, INNER = 3072, THREADS = 64, PAIRS = 99 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* -- the limit ------------------------------------------------------------------------ */
typedef struct reader {
    read_fn *read;
    const float *from;
    int64_t floats;
    pthread_t thread;
} reader;

static void *read_all(void *arg)
{
    const reader *r = arg;
    r->read(r->from, r->floats, 1);
    return NULL;
}

static void read_memory(read_fn *read, const float *from, int64_t floats, int threads)
{
    reader r[THREADS];
    for (int i = 0; i < threads; i++) {
        int64_t first, last;
        acr__share(floats, 128, i, threads, &first, &last);
        r[i] = (reader){.read = read, .from = from + first, .floats = last - first};
        if (i && pthread_create(&r[i].thread, NULL, read_all, &r[i]) != 0)
            exit(1);
    }
    read_all(&r[0]);
    for (int i = 1; i < threads; i++)
        pthread_join(r[i].thread, NULL);
}

/* -- decoding -------------------------------------------------------------------------- */
static void fail(const acr_context *ctx)
{
    fprintf(stderr, "bench_decode: %s\n", acr_error(ctx));
    exit(1);
}

static acr_graph *stack(acr_context *ctx, int layers, int transposed)
{
    acr_graph *g = acr_graph_create(ctx, NULL);
    acr_domain token = acr_domain_create(g, "token", 1);
    acr_linear_opts o = ACR_LINEAR_OPTS_INIT;
    o.transposed = transposed;
    acr_node ids = acr_input_in(g, token, "ids", ACR_I32, 1, (int64_t[]){1});
    acr_node x = acr_embedding(g, ids, 16, WIDTH, "embedding");
    for (int i = 0; i < layers; i++) {
        char name[2][32];
        snprintf(name[0], sizeof name[0], "up%d", i);
        snprintf(name[1], sizeof name[1], "down%d", i);
        x = acr_linear_with(g, acr_linear_with(g, x, INNER, name[0], &o), WIDTH, name[1], &o);
    }
    acr_output(g, "out", x);
    if (acr_graph_finish(g) != ACR_OK)
        fail(ctx);
    return g;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(acr_context *ctx, int layers, int pairs, const char *how, const float *memory)
{
    acr_graph *g = stack(ctx, layers, !strcmp(how, "transposed"));
    acr_plan_opts o = ACR_PLAN_OPTS_INIT;
    acr_plan *p;
    acr_trainer *t;
    o.optimizer = (acr_optimizer)0;
    o.cache_rows = pairs + 1;
    o.pack = !strcmp(how, "packed");
    if (acr_plan_create(&p, g, &o) != ACR_OK || acr_trainer_create(&t, p, NULL) != ACR_OK)
        fail(ctx);
    int64_t floats = (int64_t)layers * 2 * WIDTH * INNER;
    double decoding[PAIRS], reading[PAIRS], share[PAIRS];
    static float out[WIDTH];
    for (int i = -1; i < pairs; i++) {
        double begin = now();
        if (acr_decode(t, 1, &(int32_t){3}, "out", out) != ACR_OK)
            fail(ctx);
        double middle = now();
        read_memory(read_of(acr_context_isa(ctx)), memory, floats, acr_context_threads(ctx));
        if (i < 0)
            continue; /* packs the weights */
        decoding[i] = middle - begin;
        reading[i] = now() - middle;
        share[i] = reading[i] / decoding[i];
    }
    qsort(decoding, (size_t)pairs, sizeof *decoding, by_value);
    qsort(reading, (size_t)pairs, sizeof *reading, by_value);
    qsort(share, (size_t)pairs, sizeof *share, by_value);
    double gb = (double)floats * 4e-9;
    printf("%-10s %7.2f GB/s decoding %7.2f GB/s reading   share %3.0f%%   best %3.0f%%\n", how,
           gb / decoding[pairs / 2], gb / reading[pairs / 2], 100 * share[pairs / 2], 100 * reading[0] / decoding[0]);
    acr_trainer_destroy(t);
    acr_plan_destroy(p);
    acr_graph_destroy(g);
}

int main(int argc, char **argv)
{
    acr_context_opts co = ACR_CONTEXT_OPTS_INIT;
    acr_context *ctx;
    co.threads = argc > 1 ? atoi(argv[1]) : 0;
    int layers = argc > 2 ? atoi(argv[2]) : 12, pairs = argc > 3 ? atoi(argv[3]) : 21;
    if (acr_context_create(&ctx, &co) != ACR_OK)
        fail(ctx);
    if (layers < 1 || pairs < 1 || pairs > PAIRS || acr_context_threads(ctx) > THREADS)
        return fprintf(stderr, "usage: bench_decode [threads] [layers] [pairs, to %d]\n", PAIRS), 2;
    size_t bytes = (size_t)layers * 2 * WIDTH * INNER * sizeof(float);
    const size_t huge = (size_t)2 << 20; /* as the library has its weights */
    float *memory = aligned_alloc(huge, (bytes + huge - 1) / huge * huge);
    if (!memory)
        return 1;
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    memset(memory, 1, bytes);
    printf("%s, %d threads, %.0f MB of weights\n", acr_context_isa(ctx), acr_context_threads(ctx),
           (double)bytes * 1e-6);
    static const char *const how[] = {"packed", "lies", "transposed"};
    for (int i = 0; i < 3; i++)
        measure(ctx, layers, pairs, how[i], memory);
    free(memory);
    acr_context_destroy(ctx);
    return 0;
}
