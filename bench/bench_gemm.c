/* How near the products come to the processor's limit: GFLOP/s by shape, use,
 * path and threads, and the share of the FMA peak (chains in registers only).
 *
 *     bench_gemm [path|all] [threads] [seconds per line]
 *
 * Peak and product alternate in slices of a few milliseconds on the same
 * threads, and the share is the median over the pairs: on a shared or throttled
 * machine rates drift, shares do not. Time is processor time of the thread that
 * used most, so other programs cost only what they take from the caches; `best`
 * is the best product slice over the best peak slice, for machines that are
 * never quiet. The threads split the work as the library
 * does: columns by panels in the forward pass and for dX, rows for dW.
 *
 * The uses of a layer W [out, in] with R rows:
 *     forward     Y = X W^T + b      R x out, chain over in,  W packed
 *     forward,lies                   the same, W as it lies
 *     dX          dX = dY W          R x in,  chain over out, W packed
 *     dW          dW += dY^T X       out x in, chain over R
 * and the same in bf16 (rule 2), whose `peak` is still that of fp32 multiply-adds. */
#include "kernel/kernel.h"
#include "peak.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 64, PAIRS = 21 };

/* Seconds of processor time of this thread. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* -- one line of the table: threads that alternate peak and product ------------ */
enum use { FORWARD, FORWARD_LIES, BACKWARD, GRADIENT };
static const char *const use_names[2][4] = {{"forward", "forward,lies", "dX", "dW"},
                                            {"bf16:forward", "bf16:lies", "bf16:dX", "bf16:dW"}};

struct line {
    const acr_kernels *kernels;
    int threads;
    int64_t rows, out, in;
    enum use use;
    bool bf16;
    float *x, *y, *w, *w_packed, *bias;
    int64_t peak_loops, product_loops;
    pthread_barrier_t gate;
};
struct worker {
    struct line *line;
    int index;
    void *scratch;
    pthread_t thread;
    double peak_time[PAIRS], product_time[PAIRS];
};

static int64_t cut(int64_t total, int64_t unit, int index, int count)
{
    int64_t at = (total + unit - 1) / unit * index / count * unit;
    return at < total ? at : total;
}

static const void *packed_at(const struct line *l, int64_t column, int64_t k)
{
    return l->bf16 ? (char *)l->w_packed + l->kernels->packed_bf16(column, k) : (char *)(l->w_packed + column * k);
}

static void pack(const struct line *l, int64_t n, int64_t k, int64_t b_row, int64_t b_col)
{
    if (l->bf16)
        l->kernels->pack_b_bf16(n, k, l->w, b_row, b_col, false, l->w_packed);
    else
        l->kernels->pack_b(n, k, l->w, b_row, b_col, l->w_packed);
}

/* This thread's share of the product. */
static acr_gemm product(const struct line *l, int index, void *scratch)
{
    int64_t R = l->rows, out = l->out, in = l->in, panel = l->kernels->panel;
    acr_gemm g = {.scratch = scratch};
    if (l->use == GRADIENT) {
        int64_t first = cut(out, 1, index, l->threads), last = cut(out, 1, index + 1, l->threads);
        g = (acr_gemm){.m = last - first, .n = in, .k = R, .a = l->y + first, .a_row = 1, .a_col = out, .b = l->x,
                       .b_row = in, .b_col = 1, .c = l->w + first * in, .c_row = in, .start = ACR_START_C};
    } else {
        bool back = l->use == BACKWARD;
        int64_t n = back ? in : out, k = back ? out : in;
        int64_t first = cut(n, panel, index, l->threads), last = cut(n, panel, index + 1, l->threads);
        g = (acr_gemm){.m = R, .n = last - first, .k = k, .a = back ? l->y : l->x, .a_row = k, .a_col = 1,
                       .b = l->w + first * (back ? 1 : in), .b_row = back ? in : 1, .b_col = back ? 1 : in,
                       .packed = l->use == FORWARD_LIES ? NULL : packed_at(l, first, k),
                       .c = (back ? l->x : l->y) + first, .c_row = n,
                       .start = back ? ACR_START_ZERO : ACR_START_ROW, .row = l->bias + first};
    }
    g.scratch = scratch;
    return g;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct line *l = w->line;
    peak_fn *peak = peak_of(l->kernels->name);
    acr_gemm g = product(l, w->index, w->scratch);
    void (*const gemm)(const acr_gemm *) = l->bf16 ? l->kernels->gemm_bf16 : l->kernels->gemm;
    for (int pair = 0; pair < PAIRS; pair++) {
        pthread_barrier_wait(&l->gate);
        double t = now();
        peak(l->peak_loops);
        w->peak_time[pair] = now() - t;
        pthread_barrier_wait(&l->gate);
        t = now();
        for (int64_t i = 0; g.m > 0 && g.n > 0 && i < l->product_loops; i++)
            gemm(&g);
        w->product_time[pair] = now() - t;
    }
    return NULL;
}

static double larger(double a, double b) { return a > b ? a : b; }

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return values[count / 2];
}

/* Small exact values, so that repeated accumulation neither overflows nor meets
 * a denormal. */
static float *matrix(int64_t floats)
{
    float *p = aligned_alloc(64, ((size_t)floats * sizeof *p + 127) / 64 * 64);
    if (p == NULL) {
        fprintf(stderr, "bench_gemm: no memory for %lld floats\n", (long long)floats);
        exit(1);
    }
    for (int64_t i = 0; i < floats; i++)
        p[i] = (float)((i * 2654435761 >> 7) % 17 - 8) * 0x1p-8f;
    return p;
}

static void run_line(struct line *l, double seconds)
{
    struct worker workers[THREADS];
    int64_t panel = l->kernels->panel;
    l->x = matrix(l->rows * l->in);
    l->y = matrix(l->rows * l->out);
    l->w = matrix(l->out * l->in);
    l->bias = matrix(l->out > l->in ? l->out : l->in);
    l->w_packed = matrix((l->out + panel) * (l->in + panel));
    if (l->use == FORWARD)
        pack(l, l->out, l->in, 1, l->in);
    else if (l->use == BACKWARD)
        pack(l, l->in, l->out, l->in, 1);
    size_t scratch = l->bf16 ? l->kernels->gemm_bf16_scratch : l->kernels->gemm_scratch;
    for (int i = 0; i < l->threads; i++)
        workers[i] = (struct worker){.line = l, .index = i, .scratch = matrix((int64_t)scratch / 4)};

    acr_gemm g = product(l, 0, workers[0].scratch);
    void (*const gemm)(const acr_gemm *) = l->bf16 ? l->kernels->gemm_bf16 : l->kernels->gemm;
    gemm(&g);
    double t = now();
    gemm(&g);
    double once = now() - t, slice = seconds / 2 / PAIRS;
    l->product_loops = (int64_t)(slice / (once + 1e-9)) + 1;
    t = now();
    double peak_flop = peak_of(l->kernels->name)(100000) / 100000;
    l->peak_loops = (int64_t)(slice / (now() - t) * 100000);

    pthread_barrier_init(&l->gate, NULL, (unsigned)l->threads);
    for (int i = 1; i < l->threads; i++)
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    work(&workers[0]);
    for (int i = 1; i < l->threads; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_barrier_destroy(&l->gate);

    double flop = 2.0 * (double)l->rows * (double)l->out * (double)l->in;
    double rates[PAIRS], peaks[PAIRS], shares[PAIRS];
    for (int pair = 0; pair < PAIRS; pair++) {
        double peak_time = 0, product_time = 0;
        for (int i = 0; i < l->threads; i++) {
            peak_time = larger(peak_time, workers[i].peak_time[pair]);
            product_time = larger(product_time, workers[i].product_time[pair]);
        }
        peaks[pair] = peak_flop * (double)l->peak_loops * l->threads / peak_time * 1e-9;
        rates[pair] = flop * (double)l->product_loops / product_time * 1e-9;
        shares[pair] = rates[pair] / peaks[pair];
    }
    double rate = median(rates, PAIRS), peak = median(peaks, PAIRS);
    double best = rates[PAIRS - 1] / peaks[PAIRS - 1]; /* median() has sorted both */
    printf("%-7s %2d  %-13s %5lld %6lld %6lld  %8.1f %8.1f  %5.1f%% %5.1f%%  %10.3f\n", l->kernels->name, l->threads,
           use_names[l->bf16][l->use], (long long)l->rows, (long long)l->out, (long long)l->in, rate, peak,
           100 * median(shares, PAIRS), 100 * best, flop / rate * 1e-3);
    fflush(stdout);
    for (int i = 0; i < l->threads; i++)
        free(workers[i].scratch);
    free(l->w_packed);
    free(l->bias);
    free(l->w);
    free(l->y);
    free(l->x);
}

struct row {
    enum use use;
    int64_t rows, out, in;
};

static const struct row table[] = {
    {FORWARD, 512, 512, 784}, {BACKWARD, 512, 512, 784}, {GRADIENT, 512, 512, 784}, {FORWARD, 512, 512, 512},
    {FORWARD, 64, 512, 784}, {BACKWARD, 64, 512, 784}, {GRADIENT, 64, 512, 784}, {FORWARD_LIES, 64, 512, 784},
    {FORWARD, 8, 512, 784}, {BACKWARD, 8, 512, 784}, {FORWARD_LIES, 8, 512, 784}, {FORWARD, 4, 512, 784},
    {FORWARD, 2, 512, 784}, {FORWARD, 1, 512, 784}, {BACKWARD, 1, 512, 784}, {GRADIENT, 512, 10, 512},
    {FORWARD, 512, 10, 512}, {BACKWARD, 512, 10, 512}, {FORWARD, 1, 10, 512}, {FORWARD, 1024, 3072, 768},
    {BACKWARD, 1024, 3072, 768}, {GRADIENT, 1024, 3072, 768}, {FORWARD, 64, 50257, 768}, {FORWARD, 512, 768, 768},
    {FORWARD, 5, 5, 10}, {FORWARD_LIES, 5, 5, 10}, {BACKWARD, 5, 2, 5}, {GRADIENT, 100, 5, 10},
};
static const struct row table_bf16[] = {
    {FORWARD, 512, 768, 768}, {BACKWARD, 512, 768, 768}, {GRADIENT, 512, 768, 768}, {FORWARD, 256, 3072, 768},
    {BACKWARD, 256, 3072, 768}, {GRADIENT, 256, 3072, 768}, {FORWARD_LIES, 64, 768, 768}, {FORWARD, 16, 768, 768},
    {FORWARD, 8, 768, 768}, {FORWARD, 4, 768, 768}, {FORWARD, 2, 768, 768}, {FORWARD, 1, 768, 768},
    {FORWARD, 1, 50257, 768}, {FORWARD, 64, 50257, 768},
};

static void run_table(const acr_kernels *kernels, const struct row *rows, size_t count, bool bf16, int threads,
                      double seconds)
{
    for (size_t r = 0; r < count; r++) {
        double flop = 2.0 * (double)rows[r].rows * (double)rows[r].out * (double)rows[r].in;
        if (kernels->lanes == 1 && flop > 1e9)
            continue; /* minutes, for a path that is only the definition */
        struct line l = {.kernels = kernels, .threads = threads, .rows = rows[r].rows, .out = rows[r].out,
                         .in = rows[r].in, .use = rows[r].use, .bf16 = bf16};
        run_line(&l, seconds);
    }
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "all";
    int threads = argc > 2 ? atoi(argv[2]) : 1;
    double seconds = argc > 3 ? atof(argv[3]) : 0.3;
    const acr_kernels *kernels;
    if (threads < 1 || threads > THREADS || seconds <= 0) {
        fprintf(stderr, "usage: bench_gemm [path|all] [threads, 1 to %d] [seconds per line]\n", THREADS);
        return 2;
    }
    printf("path    th  use            rows    out     in   GFLOP/s     peak   share   best     us/call\n");
    for (int i = 0; (kernels = acr__kernels_runnable(i)) != NULL; i++) {
        if (strcmp(path, "all") != 0 && strcmp(path, kernels->name) != 0)
            continue;
        run_table(kernels, table, sizeof table / sizeof *table, false, threads, seconds);
        run_table(kernels, table_bf16, sizeof table_bf16 / sizeof *table_bf16, true, threads, seconds);
    }
    return 0;
}
