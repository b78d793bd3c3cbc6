/* test_window_calls.c: calls around a window: those that are refused leave
 * everything as it was; frozen parameters; an external loss; cancelling; and a
 * caller whose floating-point mode is not the canon's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fpenv.h"
#include "regression.h"

enum { SAMPLES = 40, WINDOW = 17 };

static zoo_opts options(void)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.plan.micro_batch = 5;
    o.plan.optimizer = ACR_ADAMW;
    return o;
}

#define REFUSED(ctx, call, status, part)                                                             \
    do {                                                                                             \
        acr_status got_ = (call);                                                                    \
        if (got_ != (status) || !strstr(acr_error(ctx), (part)))                                     \
            fail_msg("%s gives %d '%s', not %d '... %s ...'", #call, (int)got_, acr_error(ctx),       \
                     (int)(status), (part));                                                         \
    } while (0)

static acr_status never(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    (void)user, (void)window, (void)first, (void)n, (void)out;
    fail_msg("the source of a refused call was asked");
    return ACR_OK;
}

static void refused_outside(zoo_run *r, acr_batch *b)
{
    double g;
    float p[8];
    acr_clock bad = {.updates = 2, .windows = 1};
    acr_source source = {sizeof source, NULL, never, 0};
    REFUSED(r->ctx, acr_window_add(r->t, b), ACR_E_STATE, "no window is open");
    REFUSED(r->ctx, acr_window_pull(r->t, &source, 0, 0, 3), ACR_E_STATE, "no window is open");
    REFUSED(r->ctx, acr_window_close(r->t, NULL), ACR_E_STATE, "no window is open");
    REFUSED(r->ctx, acr_gradient_read(r->t, 0, 0, 1, &g), ACR_E_STATE, "no window is open");
    REFUSED(r->ctx, acr_window_forward(r->t, b), ACR_E_STATE, "no window is open");
    REFUSED(r->ctx, acr_window_backward(r->t, "prediction", p, NULL, NULL), ACR_E_STATE, "after acr_window_forward");
    REFUSED(r->ctx, acr_clock_set(r->t, &bad), ACR_E_ARGUMENT, "2 updates in 1 windows");
    REFUSED(r->ctx, acr_param_read(r->t, 2, 0, 1, p), ACR_E_ARGUMENT, "parameter 2 of 2");
    REFUSED(r->ctx, acr_param_read(r->t, 0, 1, 2, p), ACR_E_ARGUMENT, "a.bias");
    REFUSED(r->ctx, acr_param_write(r->t, 0, -1, 1, p), ACR_E_ARGUMENT, "a.bias");
    REFUSED(r->ctx, acr_param_write(r->t, 0, INT64_MAX, INT64_MAX, p), ACR_E_ARGUMENT, "a.bias");
    REFUSED(r->ctx, acr_state_read(r->t, 0, 2, 0, 1, p), ACR_E_ARGUMENT, "state 2");
    REFUSED(r->ctx, acr_output_read(r->t, "nothing", 0, 1, p), ACR_E_ARGUMENT, "'nothing'");
    REFUSED(r->ctx, acr_output_read(r->t, "prediction", INT64_MAX, INT64_MAX, p), ACR_E_ARGUMENT, "'prediction'");
    acr_eval e = ACR_EVAL_INIT;
    REFUSED(r->ctx, acr_predict(r->t, b, "nothing", p), ACR_E_ARGUMENT, "'nothing'");
    REFUSED(r->ctx, acr_evaluate(r->t, &source, -3, &e), ACR_E_ARGUMENT, "-3 samples");
}

static void refused_inside(zoo_run *r, acr_batch *b)
{
    double g;
    float p[8] = {0};
    acr_clock c = {0};
    acr_batch bad = *b;
    const void *missing[3] = {b->data[0], NULL, b->data[2]};
    REFUSED(r->ctx, acr_window_open(r->t), ACR_E_STATE, "open already");
    REFUSED(r->ctx, acr_param_write(r->t, 0, 0, 1, p), ACR_E_STATE, "inside a window");
    REFUSED(r->ctx, acr_state_write(r->t, 0, 0, 0, 1, p), ACR_E_STATE, "inside a window");
    REFUSED(r->ctx, acr_clock_set(r->t, &c), ACR_E_STATE, "inside a window");
    REFUSED(r->ctx, acr_window_forward(r->t, b), ACR_E_STATE, "a loss of its own");
    REFUSED(r->ctx, acr_gradient_read(r->t, 2, 0, 1, &g), ACR_E_ARGUMENT, "parameter 2 of 2");
    bad.samples = -1;
    REFUSED(r->ctx, acr_window_add(r->t, &bad), ACR_E_ARGUMENT, "-1 samples");
    bad = *b;
    bad.data = missing;
    REFUSED(r->ctx, acr_window_add(r->t, &bad), ACR_E_ARGUMENT, "lacks input 'y'");
    REFUSED(r->ctx, acr_window_add(r->t, NULL), ACR_E_ARGUMENT, "samples");
    acr_source source = {sizeof source, NULL, never, 0};
    REFUSED(r->ctx, acr_window_pull(r->t, &source, 0, 0, -1), ACR_E_ARGUMENT, "-1 samples from 0 on");
    REFUSED(r->ctx, acr_window_pull(r->t, &source, 0, -2, 1), ACR_E_ARGUMENT, "1 samples from -2 on");
    REFUSED(r->ctx, acr_window_pull(r->t, &source, 0, INT64_MAX, 1), ACR_E_ARGUMENT, "1 samples from");
    REFUSED(r->ctx, acr_window_pull(r->t, &source, 0, 0, INT64_MAX), ACR_E_ARGUMENT, "after the window's 8");
    REFUSED(r->ctx, acr_window_pull(r->t, &source, 0, 0, UINT32_MAX - 7), ACR_E_ARGUMENT, "after the window's 8");
}

static void refused_calls_change_nothing(void **state)
{
    (void)state;
    uint64_t h[2];
    for (int misuse = 0; misuse < 2; misuse++) {
        zoo_opts o = options();
        zoo_run r = zoo_start(&regression_case, &o);
        zoo_data d = zoo_make(r.g, SAMPLES, 5);
        for (int u = 0; u < 2; u++) {
            acr_batch b = zoo_slice(&d, 0, 4);
            if (misuse)
                refused_outside(&r, &b);
            ZOO_OK(r.ctx, acr_window_open(r.t));
            state_add(&r, &d, 0, 8, 0);
            b = zoo_slice(&d, 0, 4);
            if (misuse)
                refused_inside(&r, &b);
            state_add(&r, &d, 8, 9, 0);
            ZOO_OK(r.ctx, acr_window_close(r.t, NULL));
        }
        h[misuse] = state_and_clock(&r);
        zoo_free(&d);
        zoo_stop(&r);
    }
    assert_true(h[0] == h[1]);
}

/* ---- labels and ids ---- */

/* Copies from a zoo_data, samples in order. */
static acr_status pull(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    (void)window;
    zoo_data *d = user;
    acr_batch b = zoo_slice(d, first, n);
    for (int i = 0; i < d->inputs; i++)
        for (int64_t k = 0; out->data[i] && k < n; k++)
            memcpy((char *)out->data[i] + k * out->row_bytes[i], (const char *)b.data[i] + k * d->cols[i] * 4,
                   (size_t)d->cols[i] * 4);
    return ACR_OK;
}

static void bad_labels_and_ids(void **state)
{
    (void)state;
    static const int32_t bad[] = {ZOO_CLASSES, -1, INT32_MIN, INT32_MAX, -99};
    for (int input = 0; input < 2; input++) /* the tied graph's "id", then its "y" */
        for (int k = 0; k < 5; k++) {
            zoo_opts o = options();
            zoo_run r = zoo_start(&zoo[4], &o), clean = zoo_start(&zoo[4], &o);
            zoo_data d = zoo_make(r.g, SAMPLES, 5);
            acr_source source = {sizeof source, &d, pull, 0};
            int32_t *at = (int32_t *)d.data[input] + 12, good = *at;
            const char *says = input ? "the label is" : "the id is";
            ZOO_OK(r.ctx, acr_window_open(r.t));
            state_add(&r, &d, 0, 6, 0);
            *at = bad[k];
            acr_batch b = zoo_slice(&d, 6, 11);
            REFUSED(r.ctx, acr_window_add(r.t, &b), ACR_E_DATA, says);
            *at = good;
            state_add(&r, &d, 6, 11, 0); /* the window is as it was before the call */
            ZOO_OK(r.ctx, acr_window_close(r.t, NULL));
            state_window(&clean, &d, 0, WINDOW, 0);
            assert_true(state_and_clock(&r) == state_and_clock(&clean));
            *at = bad[k]; /* what was pulled is known too late: the window is gone, and nothing else */
            ZOO_OK(r.ctx, acr_window_open(r.t));
            REFUSED(r.ctx, acr_window_pull(r.t, &source, 0, 0, WINDOW), ACR_E_DATA, says);
            REFUSED(r.ctx, acr_window_close(r.t, NULL), ACR_E_STATE, "no window is open");
            assert_true(state_and_clock(&r) == state_and_clock(&clean));
            zoo_free(&d);
            zoo_stop(&r);
            zoo_stop(&clean);
        }
}

/* A position looks back within its sample: further is told, and the window stays. */
static void bad_positions(void **state)
{
    (void)state;
    static const int32_t bad[] = {-1, 1, INT32_MIN, INT32_MAX, ZOO_SEQUENCE};
    for (int graph = 8; graph < 10; graph++)
        for (int k = 0; k < 5; k++) {
            zoo_opts o = options();
            zoo_run r = zoo_start(&zoo[graph], &o), clean = zoo_start(&zoo[graph], &o);
            zoo_data d = zoo_make(r.g, SAMPLES, 5);
            int32_t *at = (int32_t *)d.data[d.position] + d.offsets[2][7], good = *at; /* a sample's first row */
            ZOO_OK(r.ctx, acr_window_open(r.t));
            state_add(&r, &d, 0, 6, 0);
            *at = bad[k];
            acr_batch b = zoo_slice(&d, 6, 11);
            REFUSED(r.ctx, acr_window_add(r.t, &b), ACR_E_DATA, graph == 8 && k != 1 ? "the id is" : "the position is");
            *at = good;
            state_add(&r, &d, 6, 11, 0);
            ZOO_OK(r.ctx, acr_window_close(r.t, NULL));
            state_window(&clean, &d, 0, WINDOW, 0);
            assert_true(state_and_clock(&r) == state_and_clock(&clean));
            zoo_free(&d);
            zoo_stop(&r);
            zoo_stop(&clean);
        }
}

static void bad_offsets(void **state)
{
    (void)state;
    zoo_opts o = options();
    zoo_run r = zoo_start(&zoo[5], &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    uint64_t before = state_and_clock(&r);
    static const int32_t bad[][4] = {{1, 2, 3, 4}, {0, 0, 1, 2}, {0, 2, 1, 3}, {0, 1, 1 + ZOO_MAX_ROWS + 1, 7},
                                     {0, 1, 2, INT32_MIN}};
    ZOO_OK(r.ctx, acr_window_open(r.t));
    for (int k = 0; k < 5; k++) {
        acr_batch b = zoo_slice(&d, 0, 3);
        const int32_t *list[] = {bad[k]};
        b.offsets = list;
        REFUSED(r.ctx, acr_window_add(r.t, &b), k ? ACR_E_DATA : ACR_E_ARGUMENT, "token");
    }
    acr_batch b = zoo_slice(&d, 0, 3);
    b.offsets = NULL;
    REFUSED(r.ctx, acr_window_add(r.t, &b), ACR_E_ARGUMENT, "offsets");
    acr_window_abort(r.t);
    assert_true(state_and_clock(&r) == before);
    zoo_free(&d);
    zoo_stop(&r);
}

/* ---- trainable ---- */

static zoo_run start_frozen(const zoo_case *c, int count, const char *const *patterns)
{
    zoo_run r = {0};
    acr_plan_opts plan = options().plan;
    ZOO_OK(r.ctx, acr_context_create(&r.ctx, NULL));
    r.g = acr_graph_create(r.ctx, NULL);
    c->build(r.g);
    ZOO_OK(r.ctx, acr_graph_finish(r.g));
    REFUSED(r.ctx, acr_graph_trainable(r.g, 1, (const char *const[]){"head.*"}), ACR_E_ARGUMENT, "'head.*'");
    ZOO_OK(r.ctx, acr_graph_trainable(r.g, count, patterns));
    ZOO_OK(r.ctx, acr_plan_create(&r.plan, r.g, &plan));
    ZOO_OK(r.ctx, acr_trainer_create(&r.t, r.plan, NULL));
    return r;
}

static size_t planned(const acr_plan *p, const char *name, acr_kind kind)
{
    size_t bytes = 0;
    for (int i = 0; i < acr_plan_entries(p); i++) {
        acr_plan_entry e;
        assert_int_equal(acr_plan_entry_get(p, i, &e), ACR_OK);
        size_t n = strlen(name);
        bool own = !strncmp(e.name, name, n) && (!e.name[n] || e.name[n] == '.');
        bytes += own && e.kind == kind ? e.bytes : 0;
    }
    return bytes;
}

static void frozen_parameters(void **state)
{
    (void)state;
    zoo_run r = start_frozen(&zoo[0], 2, (const char *const[]){"b.*", "*.bias"});
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    float before[6][640], after[640], state0;
    double g;
    for (int p = 0; p < 6; p++)
        ZOO_OK(r.ctx, acr_param_read(r.t, p, 0, acr_param_elements(r.g, p), before[p]));
    for (int u = 0; u < 3; u++)
        state_window(&r, &d, 0, WINDOW, 0);
    for (int p = 0; p < 6; p++) {
        const char *name = acr_param_name(r.g, p);
        bool trained = name[0] == 'b' || strstr(name, ".bias");
        size_t bytes = (size_t)acr_param_elements(r.g, p) * sizeof(float);
        ZOO_OK(r.ctx, acr_param_read(r.t, p, 0, acr_param_elements(r.g, p), after));
        assert_true((memcmp(before[p], after, bytes) != 0) == trained);
        assert_int_equal(acr_param_trainable(r.t, p), trained);
        assert_true((planned(r.plan, name, ACR_KIND_GRADIENT) > 0) == trained);
        assert_true((planned(r.plan, name, ACR_KIND_OPTIMIZER) > 0) == trained);
        assert_true(planned(r.plan, name, ACR_KIND_PARAMETER) >= bytes);
        ZOO_OK(r.ctx, acr_window_open(r.t));
        if (!trained) {
            REFUSED(r.ctx, acr_gradient_read(r.t, p, 0, 1, &g), ACR_E_ARGUMENT, "is not trained");
            REFUSED(r.ctx, acr_state_read(r.t, p, 0, 0, 1, &state0), ACR_E_ARGUMENT, "no optimizer state");
        }
        acr_window_abort(r.t);
    }
    REFUSED(r.ctx, acr_graph_trainable(r.g, 1, (const char *const[]){"a.*"}), ACR_E_STATE, "before acr_plan_create");
    zoo_free(&d);
    zoo_stop(&r);
}

/* What is trained moves as if everything were: freezing only leaves out. */
static void frozen_gradient_is_the_same(void **state)
{
    (void)state;
    double g[2][64];
    for (int k = 0; k < 2; k++) {
        zoo_run r = start_frozen(&zoo[2], 1, (const char *const[]){k ? "ln.*" : "*"});
        zoo_data d = zoo_make(r.g, SAMPLES, 5);
        ZOO_OK(r.ctx, acr_window_open(r.t));
        state_add(&r, &d, 0, WINDOW, 0);
        int p = acr_param_index(r.g, "ln.weight");
        ZOO_OK(r.ctx, acr_gradient_read(r.t, p, 0, acr_param_elements(r.g, p), g[k]));
        acr_window_abort(r.t);
        zoo_free(&d);
        zoo_stop(&r);
    }
    assert_memory_equal(g[0], g[1], 20 * sizeof(double));
}

static void nothing_trained(void **state)
{
    (void)state;
    zoo_run r = start_frozen(&regression_case, 0, NULL);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    uint64_t before = state_hash(&r, STATE_BEGIN);
    acr_report report = state_window(&r, &d, 0, WINDOW, 0);
    assert_true(report.loss > 0 && report.grad_norm == 0);
    assert_true(state_hash(&r, STATE_BEGIN) == before);
    assert_int_equal(acr_plan_kind_bytes(r.plan, ACR_KIND_GRADIENT), 0);
    zoo_free(&d);
    zoo_stop(&r);
}

/* ---- external loss ---- */

static void external(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 6);
    acr_output(g, "prediction", acr_linear(g, acr_relu(g, acr_linear(g, x, 9, "a")), 2, "b"));
}

static void builtin(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 6), y = zoo_in(g, "y", 2), w = zoo_in(g, "w", 1);
    acr_node o = acr_linear(g, acr_relu(g, acr_linear(g, x, 9, "a")), 2, "b");
    zoo_loss(g, o, acr_mse(g, o, y, w));
}

/* The mean over two outputs: its gradient is (o - y), its value a sum of fma. */
static ACR_APART void mean_squares(int64_t n, const float *o, const float *y, float *gradient, float *loss)
{
    for (int64_t i = 0; i < n; i++) {
        float *g = gradient + 2 * i;
        for (int k = 0; k < 2; k++)
            g[k] = o[2 * i + k] - y[2 * i + k];
        loss[i] = (fmaf(g[0], g[0], 0) + fmaf(g[1], g[1], 0)) / 2;
    }
}

static void external_micro(zoo_run *r, zoo_data *d, int64_t first, int64_t n)
{
    float o[10], gradient[10], loss[5];
    double g;
    const float *y = (const float *)d->data[1] + first * 2, *w = (const float *)d->data[2] + first;
    acr_batch b = zoo_slice(d, first, n);
    ZOO_OK(r->ctx, acr_window_forward(r->t, &b));
    REFUSED(r->ctx, acr_window_forward(r->t, &b), ACR_E_STATE, "is due");
    REFUSED(r->ctx, acr_window_close(r->t, NULL), ACR_E_STATE, "is due");
    REFUSED(r->ctx, acr_predict(r->t, &b, "prediction", o), ACR_E_STATE, "is due");
    REFUSED(r->ctx, acr_gradient_read(r->t, 0, 0, 1, &g), ACR_E_STATE, "is due");
    ZOO_OK(r->ctx, acr_output_read(r->t, "prediction", 0, n, o));
    acr__fp mode;
    acr__fp_enter(&mode); /* the arithmetic of this side is not what is tested */
    mean_squares(n, o, y, gradient, loss);
    acr__fp_leave(mode);
    REFUSED(r->ctx, acr_window_backward(r->t, "nothing", gradient, w, loss), ACR_E_ARGUMENT, "'nothing'");
    ZOO_OK(r->ctx, acr_window_backward(r->t, "prediction", gradient, w, loss));
}

static void external_is_builtin(void **state)
{
    (void)state;
    static const zoo_case with = {"builtin", builtin}, without = {"external", external};
    for (int64_t stage = 5; stage <= 20; stage += 15) {
        zoo_opts o = options();
        o.plan.stage_rows = stage;
        o.trainer.max_grad_norm = 0.1;
        zoo_run a = zoo_start(&with, &o), b = zoo_start(&without, &o);
        zoo_data d = zoo_make(a.g, SAMPLES, 5);
        for (int u = 0; u < 3; u++) {
            acr_report ra = state_window(&a, &d, 0, WINDOW, 0), rb = ACR_REPORT_INIT;
            ZOO_OK(b.ctx, acr_window_open(b.t));
            for (int64_t first = 0; first < WINDOW; first += 5)
                external_micro(&b, &d, first, acr__min(5, WINDOW - first));
            ZOO_OK(b.ctx, acr_window_close(b.t, &rb));
            assert_memory_equal(&ra, &rb, sizeof ra);
            assert_true(state_and_clock(&a) == state_and_clock(&b));
        }
        zoo_free(&d);
        zoo_stop(&a);
        zoo_stop(&b);
    }
}

static void external_is_refused(void **state)
{
    (void)state;
    static const zoo_case without = {"external", external};
    zoo_opts o = options();
    zoo_run r = zoo_start(&without, &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    acr_batch b = zoo_slice(&d, 0, 6);
    acr_eval e = ACR_EVAL_INIT;
    acr_source source = {sizeof source, NULL, never, 0};
    ZOO_OK(r.ctx, acr_window_open(r.t));
    REFUSED(r.ctx, acr_window_add(r.t, &b), ACR_E_STATE, "no loss");
    REFUSED(r.ctx, acr_window_forward(r.t, &b), ACR_E_ARGUMENT, "the micro-batch of 5");
    REFUSED(r.ctx, acr_evaluate(r.t, &source, 3, &e), ACR_E_STATE, "no loss");
    acr_window_abort(r.t);
    zoo_stop(&r);
    o.trainer.reduction = ACR_MEAN_OF_MICRO_BATCHES;
    r = zoo_start(&without, &o);
    b = zoo_slice(&d, 0, 5);
    ZOO_OK(r.ctx, acr_window_open(r.t));
    REFUSED(r.ctx, acr_window_forward(r.t, &b), ACR_E_STATE, "reduction");
    zoo_free(&d);
    zoo_stop(&r);
}

/* ---- cancelling ---- */

typedef struct cancelling {
    zoo_data *d;
    acr_context *ctx;
    int64_t at;
} cancelling;

static acr_status pull_and_cancel(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    cancelling *c = user;
    if (first >= c->at)
        acr_cancel(c->ctx);
    return pull(c->d, window, first, n, out);
}

static void cancel(void **state)
{
    (void)state;
    zoo_opts o = options();
    zoo_run r = zoo_start(&regression_case, &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    cancelling c = {&d, r.ctx, 5};
    acr_source source = {sizeof source, &c, pull_and_cancel, 0};
    acr_eval e = ACR_EVAL_INIT;
    uint64_t before = state_and_clock(&r);
    assert_false(acr_cancelled(r.ctx));
    ZOO_OK(r.ctx, acr_window_open(r.t));
    REFUSED(r.ctx, acr_window_pull(r.t, &source, 0, 0, WINDOW), ACR_E_CANCELLED, "after 10 samples");
    assert_true(acr_cancelled(r.ctx));
    REFUSED(r.ctx, acr_window_close(r.t, NULL), ACR_E_STATE, "no window is open");
    REFUSED(r.ctx, acr_evaluate(r.t, &source, 9, &e), ACR_E_CANCELLED, "after 0 of 9");
    acr_batch b = zoo_slice(&d, 0, 9);
    float out[9 * REG_OUT];
    REFUSED(r.ctx, acr_predict(r.t, &b, "prediction", out), ACR_E_CANCELLED, "after 0 of 9");
    assert_true(state_and_clock(&r) == before);
    acr_cancel_clear(r.ctx);
    assert_false(acr_cancelled(r.ctx));
    zoo_run clean = zoo_start(&regression_case, &o);
    state_window(&r, &d, 0, WINDOW, 0);
    state_window(&clean, &d, 0, WINDOW, 0);
    assert_true(state_and_clock(&r) == state_and_clock(&clean));
    zoo_free(&d);
    zoo_stop(&clean);
    zoo_stop(&r);
}

/* ---- the caller's floating-point mode ---- */

#if defined(__x86_64__)
enum { HOSTILE = 0x1F80 | 0x8040 | 0x4000 }; /* FTZ, DAZ, round up */
#else
enum { HOSTILE = 1 << 24 | 1 << 22 }; /* FZ, round up */
#endif

/* One run with numbers so small that a flush would show. */
static uint64_t run_all(const zoo_case *c, const zoo_opts *o, zoo_data *d, acr__fp mode)
{
    acr__fp_set(mode);
    zoo_run r = zoo_start(c, o);
    uint64_t h = state_hash(&r, STATE_BEGIN);
    acr_eval e = ACR_EVAL_INIT;
    acr_source source = {sizeof source, d, pull, 0};
    float out[5 * 64];
    double g[4];
    for (int u = 0; u < 2; u++) {
        acr_report report = ACR_REPORT_INIT;
        ZOO_OK(r.ctx, acr_window_open(r.t));
        for (int64_t first = 0; first < WINDOW; first += 5) {
            if (r.g->loss == ACR_NONE)
                external_micro(&r, d, first, acr__min(5, WINDOW - first));
            else
                state_add(&r, d, first, acr__min(5, WINDOW - first), 0);
        }
        ZOO_OK(r.ctx, acr_gradient_read(r.t, 0, 0, 2, g));
        ZOO_OK(r.ctx, acr_window_close(r.t, &report));
        h = state_mix(state_hash(&r, state_report(h, &report)), g, 2 * sizeof *g);
        h = state_mix(h, &report.learning_rate, sizeof report.learning_rate);
    }
    if (r.g->loss != ACR_NONE) {
        ZOO_OK(r.ctx, acr_evaluate(r.t, &source, 9, &e));
        h = state_mix(h, &e, sizeof e);
    }
    acr_batch b = zoo_slice(d, 0, 4);
    ZOO_OK(r.ctx, acr_predict(r.t, &b, "prediction", out));
    assert_int_equal(acr__fp_get(), mode);
    acr__fp_set(ACR_FP_DEFAULT);
    h = state_mix(h, out, 8 * sizeof *out);
    zoo_stop(&r);
    return h;
}

static void callers_mode(void **state)
{
    (void)state;
    static const zoo_case cases[] = {{"builtin", builtin}, {"external", external}};
    for (int k = 0; k < 2 * 3; k++) {
        zoo_opts o = options();
        o.threads = 1 + k / 4;
        o.trainer.weight_decay = 0.1;
        o.trainer.schedule = ACR_COSINE;
        o.trainer.total_steps = 9;
        o.trainer.reduction = k == 2 ? ACR_MEAN_OF_MICRO_BATCHES : ACR_MEAN;
        zoo_run shape = zoo_start(&cases[0], &o);
        zoo_data d = zoo_make(shape.g, SAMPLES, 5);
        zoo_stop(&shape);
        for (int i = 0; i < SAMPLES; i++) { /* inputs, gradients and weights below what a flush keeps */
            ((float *)d.data[0])[i * 6] *= 1e-38f;
            ((float *)d.data[2])[i] *= i % 2 ? 1e-38f : 1;
        }
        const zoo_case *c = &cases[k % 2];
        assert_true(run_all(c, &o, &d, HOSTILE) == run_all(c, &o, &d, ACR_FP_DEFAULT));
        zoo_free(&d);
    }
}

/* What is written comes back: in the reference floats become doubles and floats again. */
static void subnormals_are_kept(void **state)
{
    (void)state;
    for (int reference = 0; reference < 2; reference++) {
        zoo_opts o = options();
        o.reference = reference;
        zoo_run r = zoo_start(&regression_case, &o);
        const uint32_t bits = 0x00000123;
        uint32_t value = 0, moment = 0;
        float f, back[2];
        memcpy(&f, &bits, sizeof f);
        acr__fp_set(HOSTILE);
        ZOO_OK(r.ctx, acr_param_write(r.t, 0, 0, 1, &f));
        ZOO_OK(r.ctx, acr_state_write(r.t, 0, 1, 0, 1, &f));
        ZOO_OK(r.ctx, acr_param_read(r.t, 0, 0, 1, back));
        ZOO_OK(r.ctx, acr_state_read(r.t, 0, 1, 0, 1, back + 1));
        assert_int_equal(acr__fp_get(), HOSTILE);
        acr__fp_set(ACR_FP_DEFAULT);
        memcpy(&value, back, sizeof value);
        memcpy(&moment, back + 1, sizeof moment);
        assert_int_equal(value, bits);
        assert_int_equal(moment, bits);
        zoo_stop(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_calls_change_nothing),
        cmocka_unit_test(bad_labels_and_ids),
        cmocka_unit_test(bad_positions),
        cmocka_unit_test(bad_offsets),
        cmocka_unit_test(frozen_parameters),
        cmocka_unit_test(frozen_gradient_is_the_same),
        cmocka_unit_test(nothing_trained),
        cmocka_unit_test(external_is_builtin),
        cmocka_unit_test(external_is_refused),
        cmocka_unit_test(cancel),
        cmocka_unit_test(callers_mode),
        cmocka_unit_test(subnormals_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
