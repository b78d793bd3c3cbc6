/* test_pool.c: the team of threads. Written to be run under ThreadSanitizer too:
 * plain memory is handed over wherever the pool promises an order. Nothing
 * depends on how long anything takes. */
#include "base/context.h"
#include "base/fpenv.h"
#include "base/pool.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 9 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

typedef struct team {
    acr_context *ctx;
    acr__pool *pool;
    int calls[MOST], counts[MOST];
    pthread_t ids[MOST];
    acr__fp fp[MOST];
    int usr1_blocked[MOST];
    long cells[MOST];
    long sums[MOST];
    int rounds;
} team;

static void begin(team *t, int threads)
{
    memset(t, 0, sizeof *t);
    assert_int_equal(acr__context_new(&t->ctx, NULL), ACR_OK);
    assert_int_equal(acr__pool_create(t->ctx, threads, &t->pool), ACR_OK);
    assert_int_equal(acr__pool_threads(t->pool), threads);
}
static void end(team *t)
{
    acr__pool_destroy(t->pool);
    acr_context_destroy(t->ctx);
}

static void note(void *arg, int index, int count)
{
    team *t = arg;
    t->calls[index]++;
    t->counts[index] = count;
    t->ids[index] = pthread_self();
    t->fp[index] = acr__fp_get();
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    t->usr1_blocked[index] = sigismember(&set, SIGUSR1);
}

static void each_member_runs_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST; threads++) {
        team t;
        begin(&t, threads);
        for (int run = 1; run <= 50; run++) {
            acr__pool_run(t.pool, note, &t);
            for (int i = 0; i < MOST; i++)
                assert_int_equal(t.calls[i], i < threads ? run : 0);
        }
        for (int i = 0; i < threads; i++) {
            assert_int_equal(t.counts[i], threads);
            for (int j = 0; j < i; j++)
                assert_false(pthread_equal(t.ids[i], t.ids[j]));
        }
        assert_true(pthread_equal(t.ids[0], pthread_self()));
        end(&t);
    }
}

/* Each round every member writes its cell, and after the barrier adds up all of
 * them: a member that runs ahead or lags behind gives a wrong sum, and a barrier
 * that orders nothing is a data race. */
static void rounds_of_barriers(void *arg, int index, int count)
{
    team *t = arg;
    for (int r = 0; r < t->rounds; r++) {
        t->cells[index] = r * (index + 1);
        acr__pool_barrier(t->pool);
        for (int i = 0; i < count; i++)
            t->sums[index] += t->cells[i];
        acr__pool_barrier(t->pool);
    }
}

static void a_barrier_holds_everyone(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, MOST};
    for (int s = 0; s < 4; s++) {
        team t;
        int n = sizes[s];
        begin(&t, n);
        t.rounds = n == 2 ? 5000 : 500;
        for (int run = 1; run <= 3; run++) {
            acr__pool_run(t.pool, rounds_of_barriers, &t);
            long once = (long)t.rounds * (t.rounds - 1) / 2 * n * (n + 1) / 2;
            for (int i = 0; i < n; i++)
                assert_int_equal(t.sums[i], run * once);
        }
        end(&t);
    }
}

/* Long enough apart that workers have gone to sleep (or not: any will do). */
static void sleepers_wake(void **state)
{
    (void)state;
    team t;
    begin(&t, 3);
    for (int run = 1; run <= 40; run++) {
        struct timespec pause = {0, run % 8 * 20000};
        nanosleep(&pause, NULL);
        acr__pool_run(t.pool, note, &t);
        assert_int_equal(t.calls[2], run);
    }
    end(&t);
}

/* A host program may run with subnormals flushed, rounding towards zero. */
static void the_environment_is_set_and_restored(void **state)
{
    (void)state;
#if defined(__x86_64__)
    const acr__fp odd = ACR_FP_DEFAULT | 0x8040 | 0x6000; /* FTZ, DAZ, towards zero */
#else
    const acr__fp odd = UINT64_C(3) << 22 | UINT64_C(1) << 24;
#endif
    for (int threads = 1; threads <= 3; threads++) {
        team t;
        begin(&t, threads);
        acr__fp_set(odd);
        acr__pool_run(t.pool, note, &t);
        acr__fp after = acr__fp_get();
        acr__fp_set(ACR_FP_DEFAULT);
        assert_int_equal(after, odd);
        for (int i = 0; i < threads; i++)
            assert_int_equal(t.fp[i], ACR_FP_DEFAULT);
        end(&t);
    }
}

static void spoil(void *arg, int index, int count)
{
    (void)arg;
    (void)count;
    if (index)
        acr__fp_set(acr__fp_get() | UINT64_C(0x6000));
}

static void a_spoilt_environment_does_not_last(void **state)
{
    (void)state;
    team t;
    begin(&t, 3);
    acr__pool_run(t.pool, spoil, NULL);
    acr__pool_run(t.pool, note, &t);
    for (int i = 0; i < 3; i++)
        assert_int_equal(t.fp[i], ACR_FP_DEFAULT);
    end(&t);
}

static void workers_take_no_signals(void **state)
{
    (void)state;
    team t;
    begin(&t, 3);
    acr__pool_run(t.pool, note, &t);
    assert_int_equal(t.usr1_blocked[0], 0);
    assert_int_equal(t.usr1_blocked[1], 1);
    assert_int_equal(t.usr1_blocked[2], 1);
    end(&t);
}

static void *other_program(void *arg)
{
    team *t = arg;
    for (int run = 0; run < 100; run++)
        acr__pool_run(t->pool, note, t);
    return NULL;
}

static void two_teams_at_once(void **state)
{
    (void)state;
    team a, b;
    begin(&a, 2);
    begin(&b, 3);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, other_program, &b), 0);
    other_program(&a);
    pthread_join(thread, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(a.calls[i], i < 2 ? 100 : 0);
        assert_int_equal(b.calls[i], 100);
    }
    end(&a);
    end(&b);
}

static void a_context_has_one_team(void **state)
{
    (void)state;
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    opts.threads = 2;
    acr_context *ctx;
    acr__pool *first, *again;
    assert_int_equal(acr__context_new(&ctx, &opts), ACR_OK);
    assert_int_equal(acr__context_pool(ctx, &first), ACR_OK);
    assert_int_equal(acr__context_pool(ctx, &again), ACR_OK);
    assert_ptr_equal(first, again);
    assert_int_equal(acr__pool_threads(first), 2);
    acr_context_destroy(ctx);
}

typedef struct budget {
    int left, live;
} budget;
static void *limited(void *user, size_t bytes)
{
    budget *b = user;
    if (b->left-- <= 0)
        return NULL;
    b->live++;
    return malloc(bytes);
}
static void give_back(void *user, void *p)
{
    ((budget *)user)->live--;
    free(p);
}

static void short_memory_is_told(void **state)
{
    (void)state;
    for (int n = 0; n < 3; n++) {
        budget b = {1 + n, 0};
        acr_context_opts opts = {.size = sizeof opts, .alloc = limited, .free = give_back, .user = &b};
        acr_context *ctx;
        acr__pool *pool = NULL;
        assert_int_equal(acr__context_new(&ctx, &opts), ACR_OK);
        acr_status st = acr__pool_create(ctx, 3, &pool);
        assert_int_equal(st, n < 2 ? ACR_E_NO_MEMORY : ACR_OK);
        assert_true(n < 2 ? pool == NULL && *acr_error(ctx) : pool != NULL);
        acr__pool_destroy(pool);
        acr_context_destroy(ctx);
        assert_int_equal(b.live, 0);
    }
}

/* In a child whose address space ends 32 MiB above what it has: a thousand stacks
 * cannot be had, two can. */
static int try_a_thousand(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (!f || fscanf(f, "%lu", &pages) != 1)
        return 1;
    fclose(f);
    rlim_t bytes = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (32 << 20);
    acr_context *ctx;
    acr__pool *pool = NULL;
    if (acr__context_new(&ctx, NULL) != ACR_OK || setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes}) != 0)
        return 2;
    if (acr__pool_create(ctx, 1000, &pool) != ACR_E_THREAD || pool)
        return 3;
    if (!strstr(acr_error(ctx), "of 1000 could not be started"))
        return 4;
    if (acr__pool_create(ctx, 2, &pool) != ACR_OK)
        return 5;
    team t;
    memset(&t, 0, sizeof t);
    acr__pool_run(pool, note, &t);
    acr__pool_destroy(pool);
    acr_context_destroy(ctx);
    return t.calls[0] == 1 && t.calls[1] == 1 ? 0 : 6;
}

static void a_missing_thread_is_told(void **state)
{
    (void)state;
    if (SANITIZED) {
        print_message("  skipped: sanitizers need an unlimited address space\n");
        skip();
    }
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(try_a_thousand());
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void wrong_sizes_are_refused(void **state)
{
    (void)state;
    acr_context *ctx;
    acr__pool *pool = NULL;
    assert_int_equal(acr__context_new(&ctx, NULL), ACR_OK);
    assert_int_equal(acr__pool_create(ctx, 0, &pool), ACR_E_ARGUMENT);
    assert_null(pool);
    acr__pool_destroy(NULL);
    acr_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_member_runs_once),
        cmocka_unit_test(a_barrier_holds_everyone),
        cmocka_unit_test(sleepers_wake),
        cmocka_unit_test(the_environment_is_set_and_restored),
        cmocka_unit_test(a_spoilt_environment_does_not_last),
        cmocka_unit_test(workers_take_no_signals),
        cmocka_unit_test(two_teams_at_once),
        cmocka_unit_test(a_context_has_one_team),
        cmocka_unit_test(short_memory_is_told),
        cmocka_unit_test(a_missing_thread_is_told),
        cmocka_unit_test(wrong_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
