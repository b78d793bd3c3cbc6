/* test_window.c: what one update means: the sum over every sample, divided once
 * by W; what is skipped and what that leaves as it was; what is reported. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "accum/weight.h"
#include "regression.h"

enum { SAMPLES = 40, WINDOW = 17 };

static zoo_opts options(void)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.plan.micro_batch = 5;
    o.trainer.learning_rate = 0.1;
    return o;
}

static void assert_near(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance * (fabs(want) + 1e-3)))
        fail_msg("%s is %.9g, %.9g was computed directly", what, got, want);
}

/* g = (float)(sum / W), then one fused step: to the bit. */
static void divided_once(void **state)
{
    (void)state;
    zoo_opts o = options();
    zoo_run r = zoo_start(&regression_case, &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    float before[REG_ALL], after[REG_ALL];
    double g[REG_ALL];
    acr_report report = ACR_REPORT_INIT;
    reg_sums direct = reg_direct(&r, &d, 0, WINDOW);
    reg_read(&r, before);
    ZOO_OK(r.ctx, acr_window_open(r.t));
    state_add(&r, &d, 0, WINDOW, 3);
    reg_gradient(&r, g);
    ZOO_OK(r.ctx, acr_window_close(r.t, &report));
    reg_read(&r, after);
    assert_near(report.weight, direct.weight, 1e-12, "W");
    assert_near(report.loss, direct.loss / direct.weight, 1e-5, "the loss");
    for (int i = 0; i < REG_ALL; i++) {
        assert_near(g[i], direct.g[i], 1e-5, "the gradient");
        assert_true(after[i] == fmaf(-0.1f, (float)(g[i] / report.weight), before[i]));
    }
    zoo_free(&d);
    zoo_stop(&r);
}

/* Direct: what each reduction divides by, for windows split as the plan splits. */
static void expected_step(acr_reduction form, zoo_run *r, const zoo_data *d, int64_t micro, reg_sums *out)
{
    reg_sums whole = reg_direct(r, d, 0, WINDOW);
    memset(out, 0, sizeof *out);
    int64_t count = 0;
    for (int64_t first = 0; first < WINDOW; first += micro, count++) {
        reg_sums part = reg_direct(r, d, first, acr__min(micro, WINDOW - first));
        for (int i = 0; i < REG_ALL; i++)
            out->g[i] += part.g[i] / part.weight;
        out->loss += part.loss / part.weight;
    }
    double by = form == ACR_MEAN_OF_MICRO_BATCHES ? (double)count : 1;
    if (form == ACR_MEAN || form == ACR_SUM) {
        *out = whole;
        by = form == ACR_MEAN ? whole.weight : 1;
    }
    for (int i = 0; i < REG_ALL; i++)
        out->g[i] /= by;
    out->loss /= by;
    out->weight = whole.weight;
}

static uint64_t reduce(acr_reduction form, int64_t micro)
{
    zoo_opts o = options();
    o.trainer.reduction = form;
    o.plan.micro_batch = micro;
    zoo_run r = zoo_start(&regression_case, &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    float before[REG_ALL], after[REG_ALL];
    reg_sums want;
    expected_step(form, &r, &d, micro, &want);
    reg_read(&r, before);
    acr_report report = state_window(&r, &d, 0, WINDOW, 0);
    reg_read(&r, after);
    assert_near(report.loss, want.loss, 1e-5, "the loss");
    assert_near(report.weight, want.weight, 1e-12, "W");
    for (int i = 0; i < REG_ALL; i++)
        assert_near((double)after[i] - (double)before[i], -0.1 * want.g[i], 1e-5, "the step");
    uint64_t h = state_hash(&r, STATE_BEGIN);
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

static void four_reductions(void **state)
{
    (void)state;
    for (acr_reduction form = ACR_MEAN; form <= ACR_SUM_OF_MICRO_BATCH_MEANS; form++) {
        uint64_t by5 = reduce(form, 5), by7 = reduce(form, 7), whole = reduce(form, WINDOW);
        bool split_shows = form >= ACR_MEAN_OF_MICRO_BATCHES;
        assert_true((by5 != by7) == split_shows);
        assert_true((by5 != whole) == split_shows);
    }
}

/* The calls that bring the samples don't show, nor does asking for the gradient. */
static void any_sizes(void **state)
{
    (void)state;
    uint64_t want = 0;
    static const int64_t adds[] = {0, 1, 2, 5, 6, 16, -1};
    for (int i = 0; i < 7; i++) {
        zoo_opts o = options();
        zoo_run r = zoo_start(&regression_case, &o);
        zoo_data d = zoo_make(r.g, SAMPLES, 5);
        acr_report report = state_window(&r, &d, 0, WINDOW, adds[i]);
        uint64_t h = state_hash(&r, state_report(STATE_BEGIN, &report));
        want = i ? want : h;
        assert_true(h == want);
        zoo_free(&d);
        zoo_stop(&r);
    }
}

static void weight_zero(void **state)
{
    (void)state;
    zoo_opts o = options();
    o.plan.optimizer = ACR_ADAMW;
    o.trainer.weight_decay = 0.1;
    zoo_run r = zoo_start(&regression_case, &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    state_window(&r, &d, 0, WINDOW, 0);
    uint64_t before = state_hash(&r, STATE_BEGIN);
    memset(d.data[2], 0, WINDOW * sizeof(float));
    acr_report report = state_window(&r, &d, 0, WINDOW, 0);
    acr_clock c;
    ZOO_OK(r.ctx, acr_clock_get(r.t, &c));
    assert_int_equal(report.skipped, 2);
    assert_true(isnan(report.loss) && report.weight == 0);
    assert_int_equal(report.update, 1);
    assert_int_equal(report.window, 1);
    assert_true(c.updates == 1 && c.windows == 2 && c.skipped == 1 && c.skipped_in_row == 1);
    assert_true(c.samples == 2 * WINDOW);
    assert_true(state_hash(&r, STATE_BEGIN) == before);
    report = state_window(&r, &d, WINDOW, WINDOW, 0);
    ZOO_OK(r.ctx, acr_clock_get(r.t, &c));
    assert_true(report.skipped == 0 && report.update == 2 && c.skipped == 1 && c.skipped_in_row == 0);
    zoo_free(&d);
    zoo_stop(&r);
}

static void not_finite(void **state)
{
    (void)state;
    static const float bad[] = {INFINITY, NAN, -NAN, 3e38f};
    for (int i = 0; i < 4; i++) {
        zoo_opts o = options();
        o.plan.optimizer = ACR_ADAMW;
        o.trainer.max_grad_norm = 1;
        zoo_run r = zoo_start(&regression_case, &o);
        zoo_data d = zoo_make(r.g, SAMPLES, 5);
        state_window(&r, &d, 0, WINDOW, 0);
        uint64_t before = state_hash(&r, STATE_BEGIN);
        ((float *)d.data[0])[3 * REG_IN] = bad[i];
        acr_report report = state_window(&r, &d, 0, WINDOW, 0);
        acr_clock c;
        ZOO_OK(r.ctx, acr_clock_get(r.t, &c));
        assert_int_equal(report.skipped, 1);
        assert_false(isfinite(report.grad_norm));
        assert_false(signbit(report.grad_norm) || signbit(report.loss)); /* printed alike everywhere */
        assert_true(report.update == 1 && c.updates == 1 && c.windows == 2 && c.skipped == 1 && c.skipped_in_row == 1);
        assert_true(state_hash(&r, STATE_BEGIN) == before);
        zoo_free(&d);
        zoo_stop(&r);
    }
}

/* The skipped window's dropout is not drawn again. */
static void skipped_window_ticks_randomness(void **state)
{
    (void)state;
    uint64_t h[2];
    for (int skip = 0; skip < 2; skip++) {
        zoo_opts o = options();
        zoo_run r = zoo_start(&zoo[3], &o);
        zoo_data d = zoo_make(r.g, SAMPLES, 5);
        if (skip) {
            float kept = ((float *)d.data[0])[0];
            ((float *)d.data[0])[0] = NAN;
            assert_int_equal(state_window(&r, &d, 0, WINDOW, 0).skipped, 1);
            ((float *)d.data[0])[0] = kept;
        }
        state_window(&r, &d, 0, WINDOW, 0);
        h[skip] = state_hash(&r, STATE_BEGIN);
        zoo_free(&d);
        zoo_stop(&r);
    }
    assert_true(h[0] != h[1]);
}

static void ten_in_a_row(void **state)
{
    (void)state;
    for (int limit = 0; limit <= 10; limit += 5) {
        zoo_opts o = options();
        o.trainer.max_skipped = limit;
        zoo_run r = zoo_start(&regression_case, &o);
        zoo_data d = zoo_make(r.g, SAMPLES, 5);
        uint64_t before = state_hash(&r, STATE_BEGIN);
        for (int round = 0; round < 2; round++) {
            ((float *)d.data[0])[0] = INFINITY;
            for (int i = 1; i <= (limit && round ? limit : 4); i++) {
                acr_report report = ACR_REPORT_INIT;
                ZOO_OK(r.ctx, acr_window_open(r.t));
                state_add(&r, &d, 0, WINDOW, 0);
                acr_status status = acr_window_close(r.t, &report);
                assert_int_equal(report.skipped, 1);
                assert_int_equal(status, i == limit ? ACR_E_DIVERGED : ACR_OK);
                if (status)
                    assert_non_null(strstr(acr_error(r.ctx), "in a row"));
            }
            if (round == 0) { /* a good one in between starts the count again */
                assert_true(state_hash(&r, STATE_BEGIN) == before);
                assert_int_equal(state_window(&r, &d, WINDOW, WINDOW, 0).skipped, 0);
            }
        }
        zoo_free(&d);
        zoo_stop(&r);
    }
    acr_trainer_opts defaults = ACR_TRAINER_OPTS_INIT;
    assert_int_equal(defaults.max_skipped, 10);
}

/* Schedule, bias correction and the first momentum count updates: a window that
 * was skipped before or between them changes no later update. */
static void skipped_windows_do_not_age(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        uint64_t h[2];
        for (int skipping = 0; skipping < 2; skipping++) {
            zoo_opts o = options();
            o.plan.optimizer = k ? ACR_ADAMW : ACR_SGD;
            o.plan.momentum = 1;
            o.trainer.momentum = 0.9;
            o.trainer.dampening = 0.5; /* shows whether the buffer was there before */
            o.trainer.schedule = ACR_LINEAR;
            o.trainer.warmup_steps = 2;
            o.trainer.total_steps = 9;
            zoo_run r = zoo_start(&zoo[0], &o);
            zoo_data d = zoo_make(r.g, SAMPLES, 5);
            memset(d.data[2], 0, 4 * sizeof(float)); /* the first four samples weigh nothing */
            for (int u = 0; u < 4; u++) {
                if (skipping)
                    assert_int_equal(state_window(&r, &d, 0, 4, 0).skipped, 2);
                assert_int_equal(state_window(&r, &d, 4, 9, 0).skipped, 0);
            }
            h[skipping] = state_hash(&r, STATE_BEGIN);
            zoo_free(&d);
            zoo_stop(&r);
        }
        assert_true(h[0] == h[1]);
    }
}

static void abort_leaves_no_trace(void **state)
{
    (void)state;
    uint64_t h[2];
    for (int aborted = 0; aborted < 2; aborted++) {
        zoo_opts o = options();
        o.plan.optimizer = ACR_ADAM;
        zoo_run r = zoo_start(&zoo[3], &o); /* with dropout: no clock may tick */
        zoo_data d = zoo_make(r.g, SAMPLES, 5);
        for (int k = 0; k < 3; k++) {
            if (aborted) {
                ZOO_OK(r.ctx, acr_window_open(r.t));
                state_add(&r, &d, 11, 13, 4);
                acr_window_abort(r.t);
                acr_window_abort(r.t); /* nothing is open: nothing happens */
            }
            state_window(&r, &d, 0, WINDOW, 0);
        }
        h[aborted] = state_and_clock(&r);
        zoo_free(&d);
        zoo_stop(&r);
    }
    assert_true(h[0] == h[1]);
}

static void norm_before_clip(void **state)
{
    (void)state;
    static const double limits[] = {0, 0.01, 1e6};
    for (int k = 0; k < 3; k++) {
        zoo_opts o = options();
        o.trainer.max_grad_norm = limits[k];
        zoo_run r = zoo_start(&regression_case, &o);
        zoo_data d = zoo_make(r.g, SAMPLES, 5);
        float before[REG_ALL], after[REG_ALL];
        double g[REG_ALL], square = 0;
        acr_report report = ACR_REPORT_INIT;
        reg_read(&r, before);
        ZOO_OK(r.ctx, acr_window_open(r.t));
        state_add(&r, &d, 0, WINDOW, 0);
        reg_gradient(&r, g);
        ZOO_OK(r.ctx, acr_window_close(r.t, &report));
        reg_read(&r, after);
        for (int i = 0; i < REG_ALL; i++) {
            double divided = (double)(float)(g[i] / report.weight);
            square += divided * divided;
        }
        assert_near(report.grad_norm, sqrt(square), 1e-14, "the norm");
        double factor = limits[k] / (report.grad_norm + 1e-6);
        assert_true(report.clip == (k == 1 ? factor : 1));
        assert_true(k != 1 || factor < 0.5);
        for (int i = 0; i < REG_ALL; i++) {
            float step = (float)(g[i] / report.weight);
            step = k == 1 ? step * (float)factor : step;
            assert_true(after[i] == fmaf(-0.1f, step, before[i]));
        }
        zoo_free(&d);
        zoo_stop(&r);
    }
}

static void decay_excluded(void **state)
{
    (void)state;
    zoo_opts o = options();
    o.trainer.weight_decay = 0.5;
    o.trainer.weight_decay_exclude_count = 2;
    o.trainer.weight_decay_exclude = (const char *const[]){"nothing.*", "*.b?as"};
    zoo_run r = zoo_start(&regression_case, &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    float before[REG_ALL], after[REG_ALL];
    double g[REG_ALL];
    acr_report report = ACR_REPORT_INIT;
    reg_read(&r, before);
    ZOO_OK(r.ctx, acr_window_open(r.t));
    state_add(&r, &d, 0, WINDOW, 0);
    reg_gradient(&r, g);
    ZOO_OK(r.ctx, acr_window_close(r.t, &report));
    reg_read(&r, after);
    for (int i = 0; i < REG_ALL; i++) {
        float step = (float)(g[i] / report.weight);
        if (i >= REG_OUT) /* A; b is excluded */
            step = fmaf(0.5f, before[i], step);
        assert_true(after[i] == fmaf(-0.1f, step, before[i]));
    }
    zoo_free(&d);
    zoo_stop(&r);
}

static void report_fields(void **state)
{
    (void)state;
    zoo_opts o = options();
    o.plan.max_window_rows = WINDOW * ZOO_MAX_ROWS;
    o.trainer.schedule = ACR_LINEAR;
    o.trainer.warmup_steps = 2;
    o.trainer.total_steps = 10;
    zoo_run r = zoo_start(&zoo[5], &o); /* ragged: rows are tokens */
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    int64_t tokens = 0;
    for (int u = 0; u < 2; u++) {
        int64_t first = u * WINDOW, rows = d.offsets[2][first + WINDOW] - d.offsets[2][first], counted = 0;
        for (int64_t k = d.offsets[2][first]; k < d.offsets[2][first + WINDOW]; k++)
            counted += ((int32_t *)d.data[1])[k] != -100;
        acr_report report = state_window(&r, &d, first, WINDOW, 0);
        tokens += rows;
        assert_true(report.size == sizeof report && report.update == u + 1 && report.window == u);
        assert_true(report.samples == WINDOW && report.rows == rows && report.micro_batches == (WINDOW + 4) / 5);
        assert_true(report.weight == (double)counted && counted < rows && report.skipped == 0 && report.clip == 1);
        assert_true(report.learning_rate == acr_learning_rate(&o.trainer, u) && report.grad_norm > 0);
        acr_clock c;
        ZOO_OK(r.ctx, acr_clock_get(r.t, &c));
        assert_true(c.updates == u + 1 && c.windows == u + 1 && c.samples == (u + 1) * WINDOW && c.tokens == tokens);
    }
    zoo_free(&d);
    zoo_stop(&r);
}

static void labels_only(acr_graph *g)
{
    acr_ce_opts ce = ACR_CE_OPTS_INIT;
    ce.ignore_index = 7;
    acr_node x = zoo_in(g, "x", 4), y = zoo_ids(g, "label");
    acr_node o = acr_linear(g, x, 3, "a");
    zoo_loss(g, o, acr_cross_entropy(g, o, y, ACR_NONE, &ce));
}

/* A sample with the ignored label might as well not be there. */
static void ignored_labels(void **state)
{
    (void)state;
    static const zoo_case c = {"labels", labels_only};
    uint64_t h[2];
    for (int without = 0; without < 2; without++) {
        zoo_opts o = options();
        zoo_run r = zoo_start(&c, &o);
        zoo_data d = zoo_make(r.g, SAMPLES, 5);
        for (int i = 0; i < SAMPLES; i++)
            ((int32_t *)d.data[1])[i] = i >= 10 && i < 13 ? 7 : i % 3;
        acr_report report = ACR_REPORT_INIT;
        ZOO_OK(r.ctx, acr_window_open(r.t));
        state_add(&r, &d, 0, 10, 0);
        if (!without)
            state_add(&r, &d, 10, 3, 0);
        state_add(&r, &d, 13, 20, 0);
        ZOO_OK(r.ctx, acr_window_close(r.t, &report));
        assert_true(report.weight == 30);
        h[without] = state_hash(&r, STATE_BEGIN);
        zoo_free(&d);
        zoo_stop(&r);
    }
    assert_true(h[0] == h[1]);
}

/* Rule 5 written out: leaves of 4096, 16 chains each, then the tree. */
static double ordered_sum(int64_t n, const double *x)
{
    double total = 0;
    for (int64_t leaf = 0; leaf < n; leaf += 4096) {
        double c[16] = {0};
        for (int64_t i = leaf; i < acr__min(leaf + 4096, n); i++)
            c[(i - leaf) % 16] += x[i];
        for (int half = 8; half; half /= 2)
            for (int i = 0; i < half; i++)
                c[i] += c[i + half];
        total += c[0];
    }
    return total;
}

/* The sums of loss and W go on across calls, whatever the calls bring; reading in
 * between changes nothing. Numbers of many sizes, so that the order shows. */
static void scalars_carry_over(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    static double x[MANY];
    double plain = 0;
    for (int i = 0; i < MANY; i++) {
        x[i] = ldexp((double)zoo_uniform(3, 4, (uint64_t)i), (int)(zoo_uniform(3, 5, (uint64_t)i) * 30));
        plain += x[i];
    }
    const int64_t lengths[] = {0, 1, 15, 16, 17, 4095, 4096, 4097, 8192, MANY};
    for (int l = 0; l < 10; l++)
        for (int64_t piece = 1; piece < 6000; piece = piece * 3 + 1) {
            acr__sum s;
            acr__sum_clear(&s);
            for (int64_t at = 0; at < lengths[l]; at += piece) {
                acr__sum_add(&s, acr__min(piece, lengths[l] - at), x + at);
                acr__sum_value(&s);
            }
            assert_true(acr__sum_value(&s) == ordered_sum(lengths[l], x));
        }
    assert_true(plain != ordered_sum(MANY, x));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divided_once),
        cmocka_unit_test(four_reductions),
        cmocka_unit_test(any_sizes),
        cmocka_unit_test(weight_zero),
        cmocka_unit_test(not_finite),
        cmocka_unit_test(skipped_window_ticks_randomness),
        cmocka_unit_test(ten_in_a_row),
        cmocka_unit_test(skipped_windows_do_not_age),
        cmocka_unit_test(abort_leaves_no_trace),
        cmocka_unit_test(norm_before_clip),
        cmocka_unit_test(decay_excluded),
        cmocka_unit_test(report_fields),
        cmocka_unit_test(ignored_labels),
        cmocka_unit_test(scalars_carry_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
