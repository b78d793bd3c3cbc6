/* pool.c: the team of threads.
 *
 * How a region runs. The caller writes fn and arg, sets `pending` to the number
 * of workers and advances `generation`; a worker that sees a generation it has
 * not run, runs it and lowers `pending`; the caller returns at 0. So neither fn
 * nor arg ever changes while a worker may read it.
 *
 * How they wait. Regions are microseconds apart while a network trains, so an
 * idle worker spins for IDLE_NS before it sleeps on a condition variable. A
 * sleeper is counted in `sleepers` before it looks at `generation` a last time,
 * and the caller advances `generation` before it looks at `sleepers`; both are
 * sequentially consistent, so at least one sees the other and no wake-up is
 * lost. Within a region waits are short: spin, then yield, never sleep. With
 * more members than processors spinning only holds up the member that is waited
 * for, hence `spins` is small then.
 *
 * It deliberately does no work stealing and no dynamic scheduling: who computes
 * what must be readable from (index, count). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/pool.h"
#include "base/cpus.h"
#include "base/fpenv.h"
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

enum {
    STACK_BYTES = 256 << 10,
    CACHE_LINE = 64,
    SPINS = 2000,       /* pauses before a yield: each some 10 to 50 ns */
    SPINS_CROWDED = 16, /* the same with more members than processors */
    IDLE_NS = 50000,
};

typedef struct worker {
    acr__pool *pool;
    pthread_t thread;
    int index;
} worker;

/* The padding keeps what different threads write on different cache lines. */
struct acr__pool {
    acr_context *ctx;
    int threads, spins;
    worker *workers; /* threads-1 of them: members 1 .. threads-1 */
    void (*fn)(void *arg, int index, int count);
    void *arg;
    bool stop;
    atomic_uint generation;
    char pad0[CACHE_LINE];
    atomic_int pending;
    char pad1[CACHE_LINE];
    atomic_int arrived; /* at the barrier */
    char pad2[CACHE_LINE];
    atomic_uint phase; /* barriers passed */
    char pad3[CACHE_LINE];
    atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* One step of a short wait: `tries` counts them. */
static inline void wait_a_little(const acr__pool *pool, int *tries)
{
    if (*tries < pool->spins) {
        ++*tries;
        relax();
    } else {
        sched_yield();
    }
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool has_new(acr__pool *pool, unsigned seen)
{
    return atomic_load_explicit(&pool->generation, memory_order_acquire) != seen;
}

static bool spin_for_new(acr__pool *pool, unsigned seen)
{
    int64_t start = now_ns();
    do {
        int tries = pool->spins - acr__min(pool->spins, 32); /* the clock costs as much as some pauses */
        for (int i = 0; i < 32; i++) {
            if (has_new(pool, seen))
                return true;
            wait_a_little(pool, &tries);
        }
    } while (now_ns() - start < IDLE_NS);
    return false;
}

static void wait_for_new(acr__pool *pool, unsigned seen)
{
    if (spin_for_new(pool, seen))
        return;
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->generation) == seen)
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *p)
{
    worker *self = p;
    acr__pool *pool = self->pool;
    for (unsigned seen = 0;; seen++) {
        wait_for_new(pool, seen);
        if (pool->stop)
            return NULL;
        acr__fp saved;
        acr__fp_enter(&saved);
        pool->fn(pool->arg, self->index, pool->threads);
        acr__fp_leave(saved);
        atomic_fetch_sub_explicit(&pool->pending, 1, memory_order_release);
    }
}

static void announce(acr__pool *pool)
{
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
}

void acr__pool_run(acr__pool *pool, void (*fn)(void *arg, int index, int count), void *arg)
{
    int workers = pool->threads - 1;
    if (workers > 0) {
        pool->fn = fn;
        pool->arg = arg;
        atomic_store_explicit(&pool->pending, workers, memory_order_relaxed);
        announce(pool);
    }
    acr__fp saved;
    acr__fp_enter(&saved);
    fn(arg, 0, pool->threads);
    acr__fp_leave(saved);
    if (workers > 0)
        for (int tries = 0; atomic_load_explicit(&pool->pending, memory_order_acquire) != 0;)
            wait_a_little(pool, &tries);
}

void acr__pool_barrier(acr__pool *pool)
{
    if (pool->threads == 1)
        return;
    /* The phase cannot advance before this member has arrived. */
    unsigned phase = atomic_load_explicit(&pool->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) == pool->threads - 1) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&pool->phase, phase + 1, memory_order_release);
        return;
    }
    for (int tries = 0; atomic_load_explicit(&pool->phase, memory_order_acquire) == phase;)
        wait_a_little(pool, &tries);
}

int acr__pool_threads(const acr__pool *pool) { return pool->threads; }

/* Stops and joins the first `started` workers. */
static void stop_workers(acr__pool *pool, int started)
{
    pool->stop = true;
    announce(pool);
    for (int i = 0; i < started; i++)
        pthread_join(pool->workers[i].thread, NULL);
}

static void release(acr__pool *pool)
{
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    acr__free(pool->ctx, pool->workers);
    acr__free(pool->ctx, pool);
}

/* Returns how many workers were started; *error is the first failure or 0. */
static int start_workers(acr__pool *pool, int *error)
{
    pthread_attr_t attr;
    *error = pthread_attr_init(&attr);
    if (*error)
        return 0;
    long least = (long)PTHREAD_STACK_MIN;
    pthread_attr_setstacksize(&attr, least > STACK_BYTES ? (size_t)least : (size_t)STACK_BYTES);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the workers */
    int started = 0;
    while (started < pool->threads - 1 && !*error) {
        worker *w = &pool->workers[started];
        w->pool = pool;
        w->index = started + 1;
        *error = pthread_create(&w->thread, &attr, worker_main, w);
        started += !*error;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return started;
}

acr_status acr__pool_create(acr_context *ctx, int threads, acr__pool **out)
{
    FAIL_IF(threads < 1, ctx, ACR_E_ARGUMENT, "a team of %d threads was asked for; at least 1", threads);
    acr__pool *pool = acr__alloc(ctx, sizeof *pool);
    if (!pool)
        return ACR_E_NO_MEMORY;
    pool->ctx = ctx;
    pool->threads = threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    if (threads > 1) {
        pool->spins = threads <= acr__cpus_allowed() ? SPINS : SPINS_CROWDED;
        pool->workers = acr__alloc(ctx, (size_t)(threads - 1) * sizeof *pool->workers);
        if (!pool->workers) {
            release(pool);
            return ACR_E_NO_MEMORY;
        }
        int error, started = start_workers(pool, &error);
        if (error) {
            stop_workers(pool, started);
            release(pool);
            return acr__fail(
                ctx, ACR_E_THREAD,
                "thread %d of %d could not be started (%s, errno %d); fewer threads would do, see threads", started + 2,
                threads, error == EAGAIN ? "the system's limit on threads or memory is reached" : "the system refused",
                error);
        }
    }
    *out = pool;
    return ACR_OK;
}

void acr__pool_destroy(acr__pool *pool)
{
    if (!pool)
        return;
    if (pool->threads > 1)
        stop_workers(pool, pool->threads - 1);
    release(pool);
}
