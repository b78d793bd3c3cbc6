/* test_chain.c: rule 1's long windows: after every ACR_CHAIN_ROWS rows of the
 * window a gradient's chain is added into a second accumulator and begins again
 * at zero. The definition is written out here with fmaf, for each form
 * of a parameter's gradient, and must come out to the bit whatever the
 * split. It needs a build with short chains (cmake -DACR_CHAIN_ROWS=64); the
 * canon's 2^20 rows would be a test of patience. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "state.h"

enum { COLS = 5, OUT = 3, ENTRIES = 4, LONGEST = 4096, MOST = 4 * LONGEST };

static bool short_chains(void)
{
    if (ACR_CHAIN_ROWS <= LONGEST)
        return true;
    printf("this build's chains have %d rows; configure with -DACR_CHAIN_ROWS=64\n", (int)ACR_CHAIN_ROWS);
    fflush(stdout);
    return false;
}

/* Each graph has one parameter gradient to look at and no loss of its own, so that
 * the test gives the rows of dY. */
static void linear(acr_graph *g) { acr_output(g, "o", acr_linear(g, zoo_in(g, "x", COLS), OUT, "p")); }
static void transposed(acr_graph *g)
{
    acr_linear_opts o = ACR_LINEAR_OPTS_INIT;
    o.transposed = 1;
    acr_output(g, "o", acr_linear_with(g, zoo_in(g, "x", COLS), OUT, "p", &o));
}
static void bias(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", COLS), p = acr_param(g, "p", 1, (int64_t[]){COLS}, 1, 0);
    acr_output(g, "o", acr_bias(g, x, p));
}
static void norm(acr_graph *g) { acr_output(g, "o", acr_layer_norm(g, zoo_in(g, "x", COLS), 1e-5f, "p")); }
static void embedding(acr_graph *g)
{
    acr_output(g, "o", acr_embedding(g, zoo_ids(g, "x"), ENTRIES, COLS, "p"));
}

typedef struct chained {
    float sum, second;
    int64_t rows;
} chained;

/* After a row of the window. */
static void chain_end(chained *c)
{
    if (++c->rows % ACR_CHAIN_ROWS)
        return;
    c->second = c->rows == ACR_CHAIN_ROWS ? c->sum : c->second + c->sum;
    c->sum = 0;
}

static float chain_value(const chained *c)
{
    if (c->rows < ACR_CHAIN_ROWS)
        return c->sum;
    return c->rows % ACR_CHAIN_ROWS ? c->second + c->sum : c->second;
}

typedef struct form {
    const char *name;
    void (*build)(acr_graph *g);
    int64_t out_cols;
    const char *param[2];
} form;
static const form forms[] = {
    {"linear", linear, OUT, {"p.weight", "p.bias"}},
    {"transposed", transposed, OUT, {"p.weight", "p.bias"}},
    {"bias", bias, COLS, {"p", NULL}},
    {"norm", norm, COLS, {"p.weight", "p.bias"}},
    {"embedding", embedding, COLS, {"p.weight", NULL}},
};

static float dy_at(int64_t row, int64_t col) { return zoo_uniform(77, 1, (uint64_t)(row * 16 + col)); }

/* Element e of parameter `which` over rows [0, rows): y holds the rows' outputs. */
static float definition(const form *f, int which, int64_t e, int64_t rows, const zoo_data *d, const float *y)
{
    chained c = {0};
    const float *x = d->data[0];
    const int32_t *id = d->data[0];
    for (int64_t r = 0; r < rows; r++) {
        if (f->build == linear && which == 0)
            c.sum = fmaf(dy_at(r, e / COLS), x[r * COLS + e % COLS], c.sum);
        else if (f->build == transposed && which == 0)
            c.sum = fmaf(dy_at(r, e % OUT), x[r * COLS + e / OUT], c.sum);
        else if (f->build == norm && which == 0)
            c.sum = fmaf(dy_at(r, e), y[r * COLS + e], c.sum); /* scale 1, shift 0: y is xhat */
        else if (f->build == embedding)
            c.sum = id[r] == e / COLS ? c.sum + dy_at(r, e % COLS) : c.sum;
        else
            c.sum += dy_at(r, e);
        chain_end(&c);
    }
    return chain_value(&c);
}

static zoo_opts options(const char *isa, int threads, int64_t micro, int64_t stage, int64_t rows)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.isa = isa;
    o.threads = threads;
    o.plan.micro_batch = micro;
    o.plan.stage_rows = stage;
    o.plan.max_window_rows = rows;
    o.trainer.learning_rate = 0.25;
    return o;
}

static void add_rows(zoo_run *r, zoo_data *d, const form *f, int64_t rows, float *y)
{
    float gradient[MOST];
    for (int64_t first = 0, n; first < rows; first += n) {
        n = acr__min(acr_plan_micro_batch(r->plan), rows - first);
        acr_batch b = zoo_slice(d, first, n);
        ZOO_OK(r->ctx, acr_window_forward(r->t, &b));
        ZOO_OK(r->ctx, acr_output_read(r->t, "o", 0, n, y + first * f->out_cols));
        for (int64_t i = 0; i < n * f->out_cols; i++)
            gradient[i] = dy_at(first + i / f->out_cols, i % f->out_cols);
        ZOO_OK(r->ctx, acr_window_backward(r->t, "o", gradient, NULL, NULL));
    }
}

static void compare(const form *f, const zoo_opts *o, int64_t rows)
{
    static float y[MOST * COLS], before[64], after[64];
    static double got[2][64];
    zoo_case c = {f->name, f->build};
    zoo_run r = zoo_start(&c, o);
    zoo_data d = zoo_make(r.g, rows, 5);
    acr_report report = ACR_REPORT_INIT;
    for (int64_t i = 0; f->build == embedding && i < rows; i++)
        ((int32_t *)d.data[0])[i] = (int32_t)(i * i % 11 % ENTRIES);
    ZOO_OK(r.ctx, acr_window_open(r.t));
    add_rows(&r, &d, f, rows, y);
    for (int which = 0; which < 2 && f->param[which]; which++) {
        int p = acr_param_index(r.g, f->param[which]);
        ZOO_OK(r.ctx, acr_gradient_read(r.t, p, 0, acr_param_elements(r.g, p), got[which]));
        for (int64_t e = 0; e < acr_param_elements(r.g, p); e++) {
            double want = (double)definition(f, which, e, rows, &d, y);
            if (got[which][e] != want)
                fail_msg("%s: '%s' element %d over %d rows is %a, not %a (%s, %d threads, micro-batch %d, stage %d)",
                         f->name, f->param[which], (int)e, (int)rows, got[which][e], want, o->isa, o->threads,
                         (int)o->plan.micro_batch, (int)o->plan.stage_rows);
        }
    }
    int p = acr_param_index(r.g, f->param[0]);
    ZOO_OK(r.ctx, acr_param_read(r.t, p, 0, acr_param_elements(r.g, p), before));
    ZOO_OK(r.ctx, acr_window_close(r.t, &report));
    ZOO_OK(r.ctx, acr_param_read(r.t, p, 0, acr_param_elements(r.g, p), after));
    assert_true(report.weight == (double)rows);
    for (int64_t e = 0; e < acr_param_elements(r.g, p); e++) /* and that sum is what updates */
        assert_true(after[e] == fmaf(-0.25f, (float)(got[0][e] / (double)rows), before[e]));
    zoo_free(&d);
    zoo_stop(&r);
}

static void spills(void **state)
{
    (void)state;
    if (!short_chains())
        skip();
    static const int64_t micro[] = {1, 3, 16, 17, 40};
    const int64_t n = ACR_CHAIN_ROWS, rows[] = {n - 1, n, n + 1, 2 * n, 3 * n + 5};
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
        for (int i = 0; acr_isa_name(i); i++)
            for (int k = 0; k < 5; k++)
                for (int m = 0; m < 5; m++) {
                    zoo_opts o = options(acr_isa_name(i), 1 + (m + k) % 2, micro[m], k % 2 ? 0 : micro[m], 4 * n);
                    compare(&forms[f], &o, rows[k]);
                }
}

/* A definition that forgot to spill would be told apart. */
static void control(void **state)
{
    (void)state;
    if (!short_chains())
        skip();
    float straight = 0;
    zoo_opts o = options("scalar", 1, 16, 0, 4 * ACR_CHAIN_ROWS);
    zoo_case c = {"bias", bias};
    zoo_run r = zoo_start(&c, &o);
    const int64_t rows = 3 * ACR_CHAIN_ROWS + 5;
    zoo_data d = zoo_make(r.g, rows, 5);
    int differs = 0;
    for (int64_t e = 0; e < COLS; e++, straight = 0) {
        for (int64_t row = 0; row < rows; row++)
            straight += dy_at(row, e);
        differs += straight != definition(&forms[2], 0, e, rows, &d, NULL);
    }
    assert_true(differs > 0);
    zoo_free(&d);
    zoo_stop(&r);
}

/* Without second accumulators a longer window is refused, and stays as it was. */
static void needs_a_plan(void **state)
{
    (void)state;
    if (!short_chains())
        skip();
    zoo_opts o = options("scalar", 1, 16, 0, ACR_CHAIN_ROWS);
    zoo_run r = zoo_start(&zoo[7], &o);
    zoo_data d = zoo_make(r.g, ACR_CHAIN_ROWS + 1, 5);
    ZOO_OK(r.ctx, acr_window_open(r.t));
    acr_batch b = zoo_slice(&d, 0, ACR_CHAIN_ROWS + 1);
    assert_int_equal(acr_window_add(r.t, &b), ACR_E_STATE);
    assert_non_null(strstr(acr_error(r.ctx), "max_window_rows"));
    state_add(&r, &d, 0, ACR_CHAIN_ROWS, 0);
    ZOO_OK(r.ctx, acr_window_close(r.t, NULL));
    zoo_free(&d);
    zoo_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spills),
        cmocka_unit_test(control),
        cmocka_unit_test(needs_a_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
