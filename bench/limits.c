/* What this machine can do at this moment, with every thread busy: GFLOP/s of
 * multiply-adds in registers, and GB/s of floats read from a cache.
 *
 *     limits PATH [threads] [KiB a thread]
 *
 * One line, two numbers, each the best of some slices of a few milliseconds by
 * the wall clock: what is measured beside it is wall time as well. It calls
 * nothing of the library.                                                       */
#include "peak.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST_THREADS = 64, SLICES = 7 };
static const double SLICE = 8e-3; /* seconds */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct measure {
    peak_fn *peak;
    read_fn *read;
    int64_t floats, peak_loops, read_loops;
    int threads;
    double best_flops, best_bytes; /* a second, all threads; thread 0 writes */
    pthread_barrier_t gate;
};
struct worker {
    struct measure *m;
    int index;
    float *data;
    pthread_t thread;
};

static void slice(struct worker *w, int reading)
{
    struct measure *m = w->m;
    pthread_barrier_wait(&m->gate);
    double t = now();
    double did = reading ? m->read(w->data, m->floats, m->read_loops) : m->peak(m->peak_loops);
    pthread_barrier_wait(&m->gate);
    double rate = did * m->threads / (now() - t), *best = reading ? &m->best_bytes : &m->best_flops;
    if (w->index == 0 && rate > *best)
        *best = rate;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < SLICES; i++) {
        slice(w, 0);
        slice(w, 1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct worker workers[MOST_THREADS];
    struct measure m = {.threads = argc > 2 ? atoi(argv[2]) : 1};
    int64_t kib = argc > 3 ? atoll(argv[3]) : 1024;
    if (argc < 2 || m.threads < 1 || m.threads > MOST_THREADS || kib < 1 || kib > 1 << 20) {
        fprintf(stderr, "usage: limits scalar|avx2|avx512|neon [threads, 1 to %d] [KiB a thread]\n", MOST_THREADS);
        return 2;
    }
    m.peak = peak_of(argv[1]);
    m.read = read_of(argv[1]);
    m.floats = kib * 256;
    for (int i = 0; i < m.threads; i++) {
        workers[i] = (struct worker){.m = &m, .index = i, .data = aligned_alloc(64, (size_t)m.floats * sizeof(float))};
        if (workers[i].data == NULL) {
            fprintf(stderr, "limits: no memory for %lld KiB a thread\n", (long long)kib);
            return 1;
        }
        memset(workers[i].data, 0, (size_t)m.floats * sizeof(float));
    }
    double t = now();
    m.peak(1000000);
    m.peak_loops = (int64_t)(1e6 * SLICE / (now() - t)) + 1;
    t = now();
    m.read(workers[0].data, m.floats, 4);
    m.read_loops = (int64_t)(4 * SLICE / (now() - t)) + 1;
    pthread_barrier_init(&m.gate, NULL, (unsigned)m.threads);
    for (int i = 1; i < m.threads; i++)
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    work(&workers[0]);
    for (int i = 1; i < m.threads; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_barrier_destroy(&m.gate);
    for (int i = 0; i < m.threads; i++)
        free(workers[i].data);
    printf("%.1f %.1f\n", m.best_flops * 1e-9, m.best_bytes * 1e-9);
    return 0;
}
