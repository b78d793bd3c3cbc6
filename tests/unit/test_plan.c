/* test_plan.c: promise 3 in the library: every byte has its place before the
 * first is taken, none is used twice at once, nothing allocates afterwards, and
 * what shares memory never carries a number from one micro-batch to the next. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "accum/trainer.h"
#include "counting.h"
#include "state.h"

enum { SAMPLES = 40, WINDOW = 17 };

static acr_plan *plan_of(acr_graph *g, acr_plan_opts o)
{
    acr_plan *p = NULL;
    ZOO_OK(acr_graph_context(g), acr_plan_create(&p, g, &o));
    return p;
}

static acr_plan_opts plan_opts(int64_t micro, int64_t stage, int pack, acr_optimizer optimizer)
{
    acr_plan_opts o = ACR_PLAN_OPTS_INIT;
    o.micro_batch = micro;
    o.stage_rows = stage;
    o.pack = pack;
    o.optimizer = optimizer;
    o.momentum = 1;
    return o;
}

static void check_entries(const acr_plan *p, const char *name)
{
    size_t kinds = 0, largest_end = 0;
    int count = acr_plan_entries(p);
    for (int i = 0; i < count; i++) {
        acr_plan_entry a, b;
        assert_int_equal(acr_plan_entry_get(p, i, &a), ACR_OK);
        assert_true(a.offset % 64 == 0 && a.bytes > 0 && a.space == (a.offset >= p->arena_bytes ? ACR_SPACE_HOST : ACR_SPACE_KERNELS) && a.offset + a.bytes <= acr_plan_bytes(p));
        assert_true(a.kind >= 0 && a.kind < ACR_KIND_COUNT && a.name[0]);
        largest_end = a.offset + a.bytes > largest_end ? a.offset + a.bytes : largest_end;
        for (int j = 0; j < i; j++) {
            assert_int_equal(acr_plan_entry_get(p, j, &b), ACR_OK);
            bool at_once = (a.first <= b.last && b.first <= a.last) ||
                           (a.again_first <= b.last && b.first <= a.again_last) ||
                           (a.first <= b.again_last && b.again_first <= a.last) ||
                           (b.again_last >= 0 && a.again_first <= b.again_last && b.again_first <= a.again_last);
            if (at_once && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes)
                fail_msg("%s: '%s' and '%s' live at once and overlap", name, a.name, b.name);
        }
    }
    for (acr_kind k = 0; k < ACR_KIND_COUNT; k++)
        kinds += acr_plan_kind_bytes(p, k);
    assert_true(kinds == acr_plan_bytes(p) && largest_end == acr_plan_bytes(p));
    acr_plan_entry e;
    assert_int_equal(acr_plan_entry_get(p, count, &e), ACR_E_ARGUMENT);
    assert_int_equal(acr_plan_entry_get(p, -1, &e), ACR_E_ARGUMENT);
}

static acr_graph *graph_of(acr_context *ctx, const zoo_case *c, int reference, int products)
{
    acr_graph *g = acr_graph_create(ctx, &(acr_graph_opts){sizeof(acr_graph_opts), 1, reference, products});
    c->build(g);
    ZOO_OK(ctx, acr_graph_finish(g));
    return g;
}

static void nothing_overlaps(void **state)
{
    (void)state;
    static const int64_t micro[] = {1, 2, 7, 33};
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    for (int c = 0; c < ZOO_COUNT; c++)
        for (int kind = 0; kind < 4; kind++) {
            acr_graph *g = graph_of(ctx, &zoo[c], kind & 1, kind & 2 ? ACR_BF16 : 0);
            for (int m = 0; m < 4; m++)
                for (int stage = 0; stage < 3; stage++)
                    for (int k = 0; k <= (int)ACR_ADAMW; k += 3) {
                        acr_plan *p = plan_of(
                            g, plan_opts(micro[m], stage * stage * micro[m], m % 3 - 1, (acr_optimizer)k));
                        check_entries(p, zoo[c].name);
                        acr_plan_destroy(p);
                    }
            acr_graph_destroy(g);
        }
    acr_context_destroy(ctx);
}

/* The bytes of parameters, gradients and state follow from the parameters alone,
 * data and activations from the micro-batch. */
static void grows_as_said(void **state)
{
    (void)state;
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    for (int c = 0; c < ZOO_COUNT; c++) {
        acr_graph *g = graph_of(ctx, &zoo[c], 0, 0);
        size_t padded = 0;
        for (int i = 0; i < acr_param_count(g); i++)
            padded += (size_t)acr__round_up(acr_param_elements(g, i) * 4, 64);
        size_t fixed = 0; /* class weights and a table for each way to turn: nothing trains what lies beside parameters */
        const acr__node *turned = NULL;
        for (int i = 0; i < g->node_count; i++) {
            const acr__node *n = &g->nodes[i];
            if (n->class_weight)
                fixed += (size_t)acr__round_up(acr__classes(g, n) * 4, 64);
            if (n->op == ACR_OP_rope && (!turned || n->rope.scaling != turned->rope.scaling)) {
                turned = n;
                fixed += (size_t)acr__round_up(n->rope.dim * ZOO_SEQUENCE * 4, 64);
            }
        }
        static const int slots[] = {0, 1, 2, 2};
        size_t last = 0;
        for (int64_t micro = 8; micro <= 64; micro *= 2) {
            acr_plan *p = plan_of(g, plan_opts(micro, micro, 0, ACR_SGD)); /* nothing staged */
            assert_int_equal(acr_plan_kind_bytes(p, ACR_KIND_STAGING), 0);
            assert_int_equal(acr_plan_kind_bytes(p, ACR_KIND_PACKED), 0);
            assert_int_equal(acr_plan_micro_batch(p), micro);
            size_t rows = acr_plan_kind_bytes(p, ACR_KIND_ACTIVATION) + acr_plan_kind_bytes(p, ACR_KIND_DATA);
            assert_true(rows > last && (last == 0 || rows <= 2 * last));
            last = rows;
            acr_plan_destroy(p);
        }
        for (int k = 0; k <= (int)ACR_ADAMW; k++) {
            acr_plan *p = plan_of(g, plan_opts(4, 0, -1, (acr_optimizer)k));
            assert_int_equal(acr_plan_kind_bytes(p, ACR_KIND_PARAMETER), padded + fixed);
            assert_int_equal(acr_plan_kind_bytes(p, ACR_KIND_OPTIMIZER), padded * (size_t)slots[k]);
            size_t gradient = acr_plan_kind_bytes(p, ACR_KIND_GRADIENT);
            assert_true(k ? gradient >= padded : gradient == 0); /* one for each use */
            acr_plan_destroy(p);
        }
        acr_plan *little = plan_of(g, plan_opts(4, 8, -1, ACR_SGD)), *much = plan_of(g, plan_opts(4, 64, -1, ACR_SGD));
        assert_true(acr_plan_kind_bytes(much, ACR_KIND_STAGING) > 4 * acr_plan_kind_bytes(little, ACR_KIND_STAGING));
        assert_int_equal(acr_plan_stage_rows(much), 64);
        acr_plan_destroy(little);
        acr_plan_destroy(much);
        acr_graph_destroy(g);
    }
    acr_context_destroy(ctx);
}

static void steps_and_names(void **state)
{
    (void)state;
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    acr_graph *g = graph_of(ctx, &zoo[0], 0, 0);
    acr_plan *p = plan_of(g, plan_opts(4, 0, -1, ACR_SGD));
    assert_true(acr_plan_steps(p) > 0);
    for (int i = 0; i < acr_plan_steps(p); i++)
        assert_true(acr_plan_step_name(p, i)[0] != 0);
    assert_null(acr_plan_step_name(p, acr_plan_steps(p)));
    assert_null(acr_plan_step_name(p, -1));
    for (acr_kind k = 0; k < ACR_KIND_COUNT; k++)
        for (acr_kind other = 0; other < k; other++)
            assert_string_not_equal(acr_kind_name(k), acr_kind_name(other));
    assert_string_equal(acr_kind_name(ACR_KIND_COUNT), "unknown");
    acr_plan_destroy(p);
    acr_plan_destroy(NULL);
    acr_graph_destroy(g);
    acr_context_destroy(ctx);
}

static void refused(void **state)
{
    (void)state;
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    acr_graph *g = graph_of(ctx, &zoo[0], 0, 0);
    struct {
        acr_plan_opts o;
        acr_status status;
        const char *says;
    } bad[] = {
        {plan_opts(0, 0, 0, ACR_SGD), ACR_E_ARGUMENT, "micro_batch is 0"},
        {plan_opts(INT64_MAX, 0, 0, ACR_SGD), ACR_E_ARGUMENT, "micro_batch is"},
        {plan_opts(8, 7, 0, ACR_SGD), ACR_E_ARGUMENT, "stage_rows is 7"},
        {plan_opts(8, INT64_MAX, 0, ACR_SGD), ACR_E_ARGUMENT, "stage_rows is"},
        {plan_opts(8, 0, 0, (acr_optimizer)9), ACR_E_ARGUMENT, "optimizer 9"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        acr_plan *p = NULL;
        assert_int_equal(acr_plan_create(&p, g, &bad[i].o), bad[i].status);
        assert_null(p);
        assert_non_null(strstr(acr_error(ctx), bad[i].says));
    }
    acr_graph_destroy(g);
    g = acr_graph_create(ctx, NULL); /* sizes that fit each by itself, but not together */
    acr_node h = zoo_in(g, "x", INT64_C(1) << 40);
    for (int i = 0; i < 8; i++)
        h = acr_tanh(g, h);
    acr_output(g, "o", h);
    ZOO_OK(ctx, acr_graph_finish(g));
    acr_plan_opts o = plan_opts(INT32_MAX, 0, 0, 0);
    acr_plan *p = NULL;
    assert_int_equal(acr_plan_create(&p, g, &o), ACR_E_LIMIT);
    assert_null(p);
    assert_non_null(strstr(acr_error(ctx), "larger than this machine"));
    acr_graph_destroy(g);
    acr_context_destroy(ctx);
}

/* ---- after the plan ---- */

static acr_status zeros(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    (void)window, (void)first;
    const zoo_data *d = user;
    for (int i = 0; i < d->inputs; i++)
        for (int64_t k = 0; out->data[i] && k < n; k++)
            memset((char *)out->data[i] + k * out->row_bytes[i], 0, (size_t)d->cols[i] * 4);
    for (int k = 2; d->offsets[k]; k++)
        for (int64_t i = 0; i <= n; i++)
            out->offsets[k - 2][i] = (int32_t)i; /* one row a sample */
    return ACR_OK;
}

typedef struct counted {
    counting c;
    zoo_run r;
    zoo_data d;
} counted;

static void counted_open(counted *t, const zoo_case *c, int threads, acr_plan_opts plan, int products)
{
    memset(t, 0, sizeof *t);
    acr_context_opts o = counting_context(&t->c, threads);
    ZOO_OK(t->r.ctx, acr_context_create(&t->r.ctx, &o));
    t->r.ctx->serial_work = threads > 1 ? 0 : t->r.ctx->serial_work;
    t->r.g = graph_of(t->r.ctx, c, 0, products);
    t->d = zoo_make(t->r.g, SAMPLES, 5);
    t->r.plan = plan_of(t->r.g, plan);
    t->c.largest = NULL;
    t->c.largest_bytes = 0;
    ZOO_OK(t->r.ctx, acr_trainer_create(&t->r.t, t->r.plan, NULL));
}

static void counted_close(counted *t)
{
    zoo_free(&t->d);
    zoo_stop(&t->r);
    assert_int_equal(t->c.live, 0);
}

static void use_everything(counted *t)
{
    zoo_run *r = &t->r;
    acr_source source = {sizeof source, &t->d, zeros, 0};
    acr_train_opts o = ACR_TRAIN_OPTS_INIT;
    acr_eval e = ACR_EVAL_INIT;
    float *out = malloc(SAMPLES * ZOO_MAX_ROWS * 64 * sizeof *out), p;
    double g;
    for (int u = 0; u < 3; u++)
        state_window(r, &t->d, 0, WINDOW, -1);
    o.samples = SAMPLES;
    o.effective_batch = WINDOW;
    o.max_steps = 7;
    o.source = &source;
    ZOO_OK(r->ctx, acr_train(r->t, &o));
    ZOO_OK(r->ctx, acr_evaluate(r->t, &source, SAMPLES, &e));
    acr_batch b = zoo_slice(&t->d, 0, SAMPLES);
    ZOO_OK(r->ctx, acr_predict(r->t, &b, "prediction", out));
    ZOO_OK(r->ctx, acr_window_open(r->t));
    b = zoo_slice(&t->d, 0, 9);
    ZOO_OK(r->ctx, acr_window_add(r->t, &b));
    ZOO_OK(r->ctx, acr_gradient_read(r->t, 0, 0, 1, &g));
    acr_window_abort(r->t);
    assert_int_equal(acr_window_add(r->t, &b), ACR_E_STATE); /* nor does failing */
    ZOO_OK(r->ctx, acr_param_read(r->t, 0, 0, 1, &p));
    ZOO_OK(r->ctx, acr_param_write(r->t, 0, 0, 1, &p));
    free(out);
}

static void nothing_allocates(void **state)
{
    (void)state;
    for (int c = 0; c < ZOO_COUNT; c++)
        for (int threads = 1; threads <= 2; threads++) {
            counted t;
            counted_open(&t, &zoo[c], threads, plan_opts(3, threads == 1 ? 0 : 3, -1, ACR_ADAMW), 0);
            assert_true(t.c.largest_bytes >= t.r.plan->arena_bytes); /* one allocation, and no more than it needs */
            assert_true(t.c.largest_bytes <= t.r.plan->arena_bytes + 128);
            assert_int_equal((uintptr_t)t.r.t->arena % 64, 0);
            int64_t calls = t.c.calls;
            use_everything(&t);
            assert_int_equal(t.c.calls, calls);
            counted_close(&t);
        }
}

static void spoil(counted *t, const acr_plan_entry *e)
{
    const acr_trainer *r = t->r.t;
    bool host = e->space == ACR_SPACE_HOST;
    memset(host ? r->host + (e->offset - r->plan->arena_bytes) : r->arena + e->offset, 0xff, e->bytes);
}

/* Fills with NaN all that is not alive from one micro-batch to the next. */
static void poison(counted *t)
{
    int always = acr_plan_steps(t->r.plan);
    for (int i = 0; i < acr_plan_entries(t->r.plan); i++) {
        acr_plan_entry e;
        assert_int_equal(acr_plan_entry_get(t->r.plan, i, &e), ACR_OK);
        if ((e.first > 0 || e.last < always) && e.kind != ACR_KIND_STAGING)
            spoil(t, &e);
        if (e.kind == ACR_KIND_SCRATCH)
            spoil(t, &e);
    }
}

/* Before a window opens, the accumulators, the stage and the data are free too. */
static void poison_window(counted *t)
{
    poison(t);
    for (int i = 0; i < acr_plan_entries(t->r.plan); i++) {
        acr_plan_entry e;
        assert_int_equal(acr_plan_entry_get(t->r.plan, i, &e), ACR_OK);
        if (e.kind == ACR_KIND_GRADIENT || e.kind == ACR_KIND_STAGING || e.kind == ACR_KIND_DATA)
            spoil(t, &e);
    }
}

static uint64_t poisoned(const zoo_case *c, acr_plan_opts plan, int products, bool poisoning)
{
    counted t;
    uint64_t h = STATE_BEGIN;
    counted_open(&t, c, 1, plan, products);
    for (int u = 0; u < 3; u++) {
        acr_report report = ACR_REPORT_INIT;
        if (poisoning)
            poison_window(&t);
        ZOO_OK(t.r.ctx, acr_window_open(t.r.t));
        for (int64_t first = 0; first < WINDOW; first += plan.micro_batch) {
            if (poisoning)
                poison(&t);
            state_add(&t.r, &t.d, first, acr__min(plan.micro_batch, WINDOW - first), 0);
        }
        if (poisoning)
            poison(&t);
        ZOO_OK(t.r.ctx, acr_window_close(t.r.t, &report));
        assert_int_equal(report.skipped, 0);
        h = state_hash(&t.r, state_report(h, &report));
    }
    counted_close(&t);
    return h;
}

static void nothing_is_carried_over(void **state)
{
    (void)state;
    for (int c = 0; c < ZOO_COUNT; c++)
        for (int64_t stage = 4; stage <= 12; stage += 8)
            for (int kind = 0; kind < 4; kind++) {
                acr_plan_opts plan = plan_opts(4, stage, kind & 1, ACR_ADAMW);
                int products = kind & 2 ? ACR_BF16 : 0;
                if (poisoned(&zoo[c], plan, products, true) != poisoned(&zoo[c], plan, products, false))
                    fail_msg("%s, stage of %d rows, products %d: what an earlier micro-batch left shows", zoo[c].name,
                             (int)stage, products);
            }
}

/* What is asked for as an output is not written over by what reads it. */
static void outputs_in_the_middle(acr_graph *g)
{
    enum { WIDTH = 6 };
    acr_node x = zoo_in(g, "x", 5), y = zoo_in(g, "y", WIDTH), a = acr_linear(g, x, WIDTH, "a");
    acr_node b = acr_linear(g, acr_relu(g, a), WIDTH, "b"), flat = acr_reshape(g, b, 1, (int64_t[]){WIDTH});
    acr_node last = acr_relu(g, flat);
    acr_output(g, "before", a);
    acr_output(g, "reshaped", b);
    acr_output(g, "after", last);
    acr_loss(g, acr_mse(g, last, y, ACR_NONE));
}

static void outputs_are_kept(void **state)
{
    (void)state;
    enum { N = 4, NUMBERS = 4 * 6 };
    static const zoo_case c = {"outputs", outputs_in_the_middle};
    zoo_opts o = ZOO_OPTS_INIT;
    o.plan.micro_batch = N;
    zoo_run r = zoo_start(&c, &o);
    zoo_data d = zoo_make(r.g, N, 5);
    acr_batch batch = zoo_slice(&d, 0, N);
    float before[NUMBERS], reshaped[NUMBERS], after[NUMBERS];
    ZOO_OK(r.ctx, acr_predict(r.t, &batch, "before", before));
    ZOO_OK(r.ctx, acr_predict(r.t, &batch, "reshaped", reshaped));
    ZOO_OK(r.ctx, acr_predict(r.t, &batch, "after", after));
    int below[2] = {0};
    for (int i = 0; i < NUMBERS; i++) {
        below[0] += before[i] < 0;
        below[1] += reshaped[i] < 0;
        assert_true(after[i] == (reshaped[i] > 0 ? reshaped[i] : 0));
    }
    assert_true(below[0] > 0 && below[1] > 0); /* they are from before relu */
    zoo_free(&d);
    zoo_stop(&r);
}

/* A caller that was compiled against an earlier header: what lies behind its shorter
 * struct is not an option. */
static void shorter_options(void **state)
{
    (void)state;
    acr_context *ctx = NULL;
    assert_int_equal(acr_context_create(&ctx, NULL), ACR_OK);
    acr_graph_opts go = ACR_GRAPH_OPTS_INIT;
    go.size = offsetof(acr_graph_opts, reference);
    go.seed = 7;
    go.reference = 1;
    acr_graph *g = acr_graph_create(ctx, &go);
    assert_non_null(g);
    assert_int_equal(g->seed, 7);
    assert_false(g->reference);
    acr_node x = acr_input(g, "x", ACR_F32, 1, (int64_t[]){3});
    acr_output(g, "y", acr_linear(g, x, 2, "a"));
    ZOO_OK(ctx, acr_graph_finish(g));
    acr_plan_opts po = plan_opts(4, 0, 0, ACR_SGD);
    po.size = offsetof(acr_plan_opts, cache_rows);
    po.cache_rows = -99;
    acr_plan *p = plan_of(g, po);
    assert_int_equal(p->opts.cache_rows, 0);
    acr_trainer_opts to = ACR_TRAINER_OPTS_INIT;
    to.size = offsetof(acr_trainer_opts, max_skipped);
    to.learning_rate = 0.5;
    to.max_skipped = 77;
    acr_trainer *t = NULL;
    ZOO_OK(ctx, acr_trainer_create(&t, p, &to));
    assert_true(t->opts.learning_rate == 0.5 && t->opts.max_skipped == 10);
    acr_trainer_destroy(t);
    acr_plan_destroy(p);
    acr_graph_destroy(g);
    acr_context_destroy(ctx);
}

static size_t bytes_of(const acr_plan *p, const char *name)
{
    for (int i = 0; i < acr_plan_entries(p); i++) {
        acr_plan_entry e;
        assert_int_equal(acr_plan_entry_get(p, i, &e), ACR_OK);
        if (!strcmp(e.name, name))
            return e.bytes;
    }
    fail_msg("the plan has no '%s'", name);
    return 0;
}

/* Only products read the gelu; the layer_norm is read by an add too, and tanh needs its own value. */
static void operands_for_products(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 5), y = zoo_in(g, "y", 32), a = acr_gelu(g, acr_linear(g, x, 32, "a"));
    acr_node b = acr_layer_norm(g, acr_linear(g, a, 32, "b"), 1e-5f, "n"), c = acr_tanh(g, acr_linear(g, b, 32, "c"));
    acr_loss(g, acr_mse(g, acr_add(g, b, acr_linear(g, c, 32, "d")), y, ACR_NONE));
}

static void what_products_read_takes_two_bytes(void **state)
{
    (void)state;
    const zoo_case one = {.name = "operands", .build = operands_for_products};
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    for (int kind = 0; kind < 4; kind++) {
        acr_graph *g = graph_of(ctx, &one, kind & 1, kind & 2 ? ACR_BF16 : 0);
        acr_plan *p = plan_of(g, plan_opts(4, 4, -1, ACR_SGD));
        const size_t real = kind & 1 ? 8 : 4, operand = kind == 2 ? 2 : real;
        char name[64];
        for (int i = 0; i < g->node_count; i++) {
            enum acr__op op = g->nodes[i].op;
            if (op != ACR_OP_gelu && op != ACR_OP_layer_norm)
                continue;
            snprintf(name, sizeof name, "%s %d", op == ACR_OP_gelu ? "gelu" : "layer_norm", i);
            size_t rows = p->staged ? (size_t)p->stage_samples : 4;
            assert_int_equal(bytes_of(p, name), rows * 32 * (op == ACR_OP_gelu ? operand : real));
        }
        acr_plan_destroy(p);
        acr_graph_destroy(g);
    }
    acr_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_products_read_takes_two_bytes),
        cmocka_unit_test(shorter_options),
        cmocka_unit_test(nothing_overlaps),
        cmocka_unit_test(grows_as_said),
        cmocka_unit_test(steps_and_names),
        cmocka_unit_test(refused),
        cmocka_unit_test(nothing_allocates),
        cmocka_unit_test(nothing_is_carried_over),
        cmocka_unit_test(outputs_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
