/* test_train.c: the loop: which samples form a window, where it begins and ends,
 * who is told. The source records what it is asked for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "regression.h"

enum { MOST = 64, SAMPLES = 23 };
enum { NOTHING, EVALUATES, READS, ADDS, FAILS, WAYS }; /* what happens between two micro-batches */

typedef struct journal {
    zoo_data *d;
    int64_t epoch[4096], place[4096]; /* every sample, in the order asked for */
    int count, calls, fail_at; /* the call that fails */
    acr_report report[MOST];
    int reports;
    int64_t done[256], of[256];
    int told;
    acr_status stop_update, stop_micro; /* given by the callback numbered `stop_at` */
    int stop_at;
    int between; /* what is called between some micro-batches */
    acr_trainer *t;
    const acr_source *source;
} journal;

static acr_status get(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    journal *j = user;
    if (++j->calls == j->fail_at)
        return ACR_E_DATA;
    for (int64_t k = 0; k < n; k++, j->count++) {
        j->epoch[j->count] = window;
        j->place[j->count] = first + k;
        for (int i = 0; i < j->d->inputs; i++)
            if (out->data[i])
                memcpy((char *)out->data[i] + k * out->row_bytes[i],
                       (const char *)j->d->data[i] + (first + k) * j->d->cols[i] * 4, (size_t)j->d->cols[i] * 4);
    }
    return ACR_OK;
}

static acr_status on_update(void *user, const acr_report *report)
{
    journal *j = user;
    j->report[j->reports++] = *report;
    return j->reports == j->stop_at ? j->stop_update : ACR_OK;
}

static acr_status on_micro_batch(void *user, int64_t done, int64_t of)
{
    journal *j = user;
    j->done[j->told] = done;
    j->of[j->told++] = of;
    acr_eval e = ACR_EVAL_INIT;
    double g;
    if (j->between == EVALUATES && j->told % 3 == 1)
        assert_int_equal(acr_evaluate(j->t, j->source, 7, &e), ACR_OK);
    if (j->between == READS && j->told % 3 == 1)
        assert_int_equal(acr_gradient_read(j->t, 0, 0, 1, &g), ACR_OK);
    if (j->between == ADDS && j->told % 3 == 1)
        assert_int_equal(acr_window_pull(j->t, j->source, 0, j->told % SAMPLES, 1), ACR_OK);
    return j->told == j->stop_at ? j->stop_micro : ACR_OK;
}

typedef struct bench {
    zoo_run r;
    zoo_data d;
    journal j;
    acr_source source;
    acr_train_opts o;
} bench;

static void bench_open(bench *b, const zoo_case *c, int64_t effective, int64_t steps)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.plan.micro_batch = 3;
    o.plan.optimizer = ACR_ADAMW;
    o.trainer.learning_rate = 0.01;
    memset(b, 0, sizeof *b);
    b->r = zoo_start(c, &o);
    b->d = zoo_make(b->r.g, SAMPLES, 5);
    for (int i = 0; b->d.inputs == 3 && i < SAMPLES; i++)
        ((float *)b->d.data[2])[i] += 0.25f; /* windows of one sample are not to be skipped for a weight of 0 */
    b->j.d = &b->d;
    b->source = (acr_source){sizeof(acr_source), &b->j, get, 0};
    acr_train_opts t = ACR_TRAIN_OPTS_INIT;
    t.samples = SAMPLES;
    t.effective_batch = effective;
    t.max_steps = steps;
    t.source = &b->source;
    t.on_update = on_update;
    t.user = &b->j;
    b->o = t;
}

static void bench_close(bench *b)
{
    zoo_free(&b->d);
    zoo_stop(&b->r);
}

/* Every sample of every epoch once and in order; windows of `effective`, the
 * last of each epoch whatever is left, or left out. */
static void windows_over_epochs(void **state)
{
    (void)state;
    static const int64_t effective[] = {1, 4, 5, 22, SAMPLES, 24, 1000};
    for (int e = 0; e < 7; e++)
        for (int drop = 0; drop < 2; drop++) {
            bench b;
            int64_t size = effective[e], whole = SAMPLES / size, tail = SAMPLES % size;
            int64_t per_epoch = whole + (tail && (!drop || whole == 0)), steps = 2 * per_epoch + 1;
            bench_open(&b, &regression_case, size, steps);
            b.o.drop_last = drop;
            ZOO_OK(b.r.ctx, acr_train(b.r.t, &b.o));
            assert_int_equal(b.j.reports, steps);
            int at = 0;
            for (int64_t w = 0; w < steps; w++) {
                int64_t first = w % per_epoch * size, n = acr__min(size, SAMPLES - first);
                assert_true(b.j.report[w].samples == n && b.j.report[w].window == w && b.j.report[w].update == w + 1);
                assert_true(b.j.report[w].micro_batches == (n + 2) / 3);
                for (int64_t k = 0; k < n; k++, at++)
                    assert_true(b.j.epoch[at] == w / per_epoch && b.j.place[at] == first + k);
            }
            assert_int_equal(b.j.count, at);
            ZOO_OK(b.r.ctx, acr_train(b.r.t, &b.o)); /* max_steps counts from the beginning: nothing is left */
            assert_int_equal(b.j.reports, steps);
            bench_close(&b);
        }
}

/* The ragged tail is divided by its own W and steps at the same learning rate. */
static void ragged_tail(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, &regression_case, 20, 2);
    zoo_opts o = ZOO_OPTS_INIT;
    o.plan.optimizer = ACR_ADAMW;
    o.trainer.learning_rate = 0.01;
    zoo_run by_hand = zoo_start(&regression_case, &o);
    ZOO_OK(b.r.ctx, acr_train(b.r.t, &b.o));
    state_window(&by_hand, &b.d, 0, 20, 0);
    acr_report last = state_window(&by_hand, &b.d, 20, 3, 0);
    assert_true(b.j.report[1].weight == last.weight && b.j.report[1].loss == last.loss);
    assert_true(b.j.report[1].learning_rate == 0.01);
    assert_true(state_and_clock(&b.r) == state_and_clock(&by_hand));
    zoo_stop(&by_hand);
    bench_close(&b);
}

/* Stops at every window, hands state and clock to a new trainer, goes on there. */
static void resume(void **state)
{
    (void)state;
    enum { STEPS = 9 };
    bench straight;
    bench_open(&straight, &zoo[3], 6, STEPS); /* dropout: the window's number matters */
    ZOO_OK(straight.r.ctx, acr_train(straight.r.t, &straight.o));
    for (int at = 1; at < STEPS; at++) {
        bench first, second;
        float buffer[1024];
        acr_clock clock;
        bench_open(&first, &zoo[3], 6, at);
        bench_open(&second, &zoo[3], 6, STEPS);
        ZOO_OK(first.r.ctx, acr_train(first.r.t, &first.o));
        for (int p = 0; p < acr_param_count(first.r.g); p++) {
            int64_t n = acr_param_elements(first.r.g, p);
            ZOO_OK(first.r.ctx, acr_param_read(first.r.t, p, 0, n, buffer));
            ZOO_OK(second.r.ctx, acr_param_write(second.r.t, p, 0, n, buffer));
            for (int s = 0; s < acr_state_slots(first.r.t); s++) {
                ZOO_OK(first.r.ctx, acr_state_read(first.r.t, p, s, 0, n, buffer));
                ZOO_OK(second.r.ctx, acr_state_write(second.r.t, p, s, 0, n, buffer));
            }
        }
        ZOO_OK(first.r.ctx, acr_clock_get(first.r.t, &clock));
        ZOO_OK(second.r.ctx, acr_clock_set(second.r.t, &clock));
        ZOO_OK(second.r.ctx, acr_train(second.r.t, &second.o));
        assert_int_equal(second.j.reports, STEPS - at);
        for (int w = at; w < STEPS; w++)
            assert_memory_equal(&second.j.report[w - at], &straight.j.report[w], sizeof(acr_report));
        assert_true(state_and_clock(&second.r) == state_and_clock(&straight.r));
        bench_close(&first);
        bench_close(&second);
    }
    bench_close(&straight);
}

static void micro_batches_are_told(void **state)
{
    (void)state;
    bench quiet, told;
    bench_open(&quiet, &zoo[3], 10, 3);
    bench_open(&told, &zoo[3], 10, 3);
    told.o.on_micro_batch = on_micro_batch;
    ZOO_OK(quiet.r.ctx, acr_train(quiet.r.t, &quiet.o));
    ZOO_OK(told.r.ctx, acr_train(told.r.t, &told.o));
    static const int64_t done[] = {3, 6, 9, 10, 3, 6, 9, 10, 3}, of[] = {10, 10, 10, 10, 10, 10, 10, 10, 3};
    assert_int_equal(told.j.told, 9);
    assert_memory_equal(told.j.done, done, sizeof done);
    assert_memory_equal(told.j.of, of, sizeof of);
    assert_memory_equal(told.j.report, quiet.j.report, sizeof quiet.j.report); /* watching changes nothing */
    assert_true(state_and_clock(&told.r) == state_and_clock(&quiet.r));
    bench_close(&quiet);
    bench_close(&told);
}

/* A callback's status ends the loop; what had been closed stays, an open window goes. */
static void callbacks_stop(void **state)
{
    (void)state;
    bench b;
    acr_clock c;
    bench_open(&b, &regression_case, 10, 9);
    b.j.stop_update = ACR_E_IO;
    b.j.stop_at = 2;
    assert_int_equal(acr_train(b.r.t, &b.o), ACR_E_IO);
    ZOO_OK(b.r.ctx, acr_clock_get(b.r.t, &c));
    assert_int_equal(c.updates, 2);
    uint64_t before = state_and_clock(&b.r);
    b.o.on_micro_batch = on_micro_batch;
    b.j.stop_micro = ACR_E_CANCELLED;
    b.j.stop_at = 1;
    assert_int_equal(acr_train(b.r.t, &b.o), ACR_E_CANCELLED);
    assert_true(state_and_clock(&b.r) == before);
    b.o.on_micro_batch = NULL;
    ZOO_OK(b.r.ctx, acr_train(b.r.t, &b.o)); /* no window was left open */
    assert_int_equal(b.j.report[2].samples, 3);
    bench_close(&b);
}

/* A window that diverges is still told before the loop ends. */
static void diverged(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, &regression_case, 10, 100);
    for (int i = 0; i < SAMPLES; i++)
        ((float *)b.d.data[0])[i * REG_IN] = INFINITY;
    assert_int_equal(acr_train(b.r.t, &b.o), ACR_E_DIVERGED);
    assert_int_equal(b.j.reports, 10);
    assert_int_equal(b.j.report[9].skipped, 1);
    bench_close(&b);
}

/* What is refused changes no window, so the loop aborts the one that it has opened. */
static void errors_leave_no_window(void **state)
{
    (void)state;
    static const struct {
        int64_t effective;
        acr_status status;
    } cases[] = {{INT32_MAX, ACR_E_STATE}, {INT64_C(1) << 32, ACR_E_ARGUMENT}};
    for (int i = 0; i < 2; i++) {
        bench b;
        float p;
        bench_open(&b, &regression_case, 10, 3);
        acr_train_opts large = b.o;
        large.samples = large.effective_batch = cases[i].effective;
        assert_int_equal(acr_train(b.r.t, &large), cases[i].status);
        assert_int_equal(b.j.calls, 0);
        ZOO_OK(b.r.ctx, acr_param_read(b.r.t, 0, 0, 1, &p));
        ZOO_OK(b.r.ctx, acr_param_write(b.r.t, 0, 0, 1, &p));
        ZOO_OK(b.r.ctx, acr_train(b.r.t, &b.o));
        assert_int_equal(b.j.reports, 3);
        bench_close(&b);
    }
}

static void refused(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, &regression_case, 10, 3);
    acr_train_opts bad[3] = {b.o, b.o, b.o};
    bad[0].samples = 0;
    bad[1].effective_batch = 0;
    bad[2].source = NULL;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(acr_train(b.r.t, &bad[i]), ACR_E_ARGUMENT);
        assert_true(acr_error(b.r.ctx)[0] != 0);
    }
    ZOO_OK(b.r.ctx, acr_window_open(b.r.t));
    assert_int_equal(acr_train(b.r.t, &b.o), ACR_E_STATE);
    assert_int_equal(b.j.count, 0);
    bench_close(&b);
}

static void run_between(bench *b, const acr_source *other, int parallel, int way)
{
    bench_open(b, &zoo[3], 20, 5); /* dropout: places in the window matter */
    b->source.parallel = parallel;
    b->o.on_micro_batch = on_micro_batch;
    b->j.between = way;
    b->j.t = b->r.t;
    b->j.source = way == EVALUATES ? other : &b->source;
    b->j.fail_at = way == FAILS ? 4 : 0;
    if (way == FAILS)
        assert_int_equal(acr_train(b->r.t, &b->o), ACR_E_DATA);
    ZOO_OK(b->r.ctx, acr_train(b->r.t, &b->o));
}

/* Small micro-batches are fetched several at once where the source may be asked in
 * parallel: each sample once and in order, none beyond its window. */
static void fetched_ahead(void **state)
{
    (void)state;
    bench other;
    bench_open(&other, &zoo[3], 20, 5);
    for (int way = 0; way < WAYS; way++) {
        bench one, ahead;
        run_between(&one, &other.source, 0, way);
        run_between(&ahead, &other.source, 1, way);
        assert_true(state_and_clock(&ahead.r) == state_and_clock(&one.r));
        assert_int_equal(ahead.j.reports, 5);
        assert_memory_equal(ahead.j.report, one.j.report, sizeof one.j.report);
        if (way == NOTHING) {
            assert_true(ahead.j.calls * 2 < one.j.calls);
            assert_int_equal(ahead.j.count, one.j.count);
            assert_memory_equal(ahead.j.epoch, one.j.epoch, sizeof one.j.epoch);
            assert_memory_equal(ahead.j.place, one.j.place, sizeof one.j.place);
        }
        bench_close(&one);
        bench_close(&ahead);
    }
    bench_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_over_epochs), cmocka_unit_test(ragged_tail),    cmocka_unit_test(resume),
        cmocka_unit_test(micro_batches_are_told), cmocka_unit_test(callbacks_stop), cmocka_unit_test(diverged),
        cmocka_unit_test(errors_leave_no_window), cmocka_unit_test(refused), cmocka_unit_test(fetched_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
