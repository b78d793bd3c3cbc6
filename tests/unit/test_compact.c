/* test_compact.c: an embedding's accumulator with a row for each token that occurred
 * gives the bits of one with a row for each entry: parameters, state, gradients as
 * read, norms; for every order in which uses of a table can stand, for sums that are
 * -0, and for a negative W. And the plan counts what it saves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../state.h"
#include "plan/plan.h"

enum { ENTRIES = 531, WIDTH = 10, SAMPLES = 60, UPDATES = 3 };

static acr_node table_of(acr_graph *g) { return acr_param(g, "table", 2, (int64_t[]){ENTRIES, WIDTH}, WIDTH, 0); }

typedef struct inputs {
    acr_node id, id2, x, y, w;
} inputs;

static inputs inputs_of(acr_graph *g)
{
    inputs in;
    in.id = zoo_ids(g, "id");
    in.id2 = zoo_ids(g, "id2");
    in.x = zoo_in(g, "x", WIDTH);
    in.y = zoo_ids(g, "y");
    in.w = zoo_in(g, "w", 1);
    return in;
}

static void use_all(acr_graph *g, const inputs *in, acr_node h, acr_node head)
{
    acr_node f = acr_linear(g, acr_add(g, h, in->x), WIDTH, "fc");
    acr_output(g, "prediction", f);
    if (head == ACR_NONE)
        head = acr_param(g, "head", 2, (int64_t[]){ENTRIES, WIDTH}, WIDTH, 0);
    acr_loss(g, acr_head_cross_entropy(g, f, head, in->y, in->w, NULL));
}

static void tied(acr_graph *g)
{
    inputs in = inputs_of(g);
    acr_node table = table_of(g);
    acr_node h = acr_embedding_shared(g, in.id, table);
    use_all(g, &in, acr_add(g, h, acr_linear(g, in.x, WIDTH, "other")), table);
}

static void alone(acr_graph *g)
{
    inputs in = inputs_of(g);
    acr_node h = acr_embedding_shared(g, in.id, table_of(g));
    use_all(g, &in, h, ACR_NONE);
}

static void twice(acr_graph *g)
{
    inputs in = inputs_of(g);
    acr_node table = table_of(g);
    acr_node a = acr_embedding_shared(g, in.id, table);
    acr_node b = acr_embedding_shared(g, in.id2, table);
    use_all(g, &in, acr_add(g, a, acr_tanh(g, b)), ACR_NONE);
}

static void twice_and_tied(acr_graph *g)
{
    inputs in = inputs_of(g);
    acr_node table = table_of(g);
    acr_node a = acr_embedding_shared(g, in.id, table);
    acr_node b = acr_embedding_shared(g, in.id2, table);
    use_all(g, &in, acr_add(g, a, acr_tanh(g, b)), table);
}

static void between(acr_graph *g)
{
    inputs in = inputs_of(g);
    acr_node table = table_of(g);
    acr_node p = acr_softmax(g, acr_linear_shared(g, in.x, table));
    acr_node a = acr_embedding_shared(g, in.id, table);
    acr_node b = acr_embedding_shared(g, in.id2, table);
    a = acr_add(g, a, acr_linear(g, p, WIDTH, "back"));
    use_all(g, &in, acr_add(g, a, b), table);
}

static const zoo_case cases[] = {
    {"tied", tied}, {"alone", alone}, {"twice", twice}, {"twice and tied", twice_and_tied}, {"between", between},
};
enum { CASES = sizeof cases / sizeof *cases };

enum numbers { PLAIN, TINY, NEGATIVE };
typedef struct way {
    const char *isa;
    int threads;
    int64_t micro, max_rows;
    acr_optimizer optimizer;
    enum numbers numbers;
    int reference;
} way;

static zoo_opts options(const way *w)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.isa = w->isa;
    o.threads = w->threads;
    o.reference = w->reference;
    o.plan.micro_batch = w->micro;
    o.plan.max_window_rows = w->max_rows;
    o.plan.optimizer = w->optimizer;
    o.plan.momentum = 1;
    o.trainer.momentum = w->optimizer == ACR_SGD ? 0.9 : 0;
    o.trainer.learning_rate = 0.02;
    o.trainer.weight_decay = w->optimizer == ACR_SGD ? 0 : 0.1; /* it would hide the sign of a zero */
    o.trainer.max_grad_norm = w->numbers == TINY ? 0 : 0.3;
    return o;
}

static zoo_data data_of(zoo_run *r, enum numbers numbers)
{
    zoo_data d = zoo_make(r->g, SAMPLES, 3);
    for (int i = 0; i < SAMPLES; i++) {
        ((int32_t *)d.data[0])[i] = i * i * 7 % ENTRIES;
        ((int32_t *)d.data[1])[i] = i % 3 ? i * 11 % ENTRIES : i * i * 7 % ENTRIES;
        ((int32_t *)d.data[3])[i] = (i * 13 + 5) % ENTRIES;
        float *w = (float *)d.data[4] + i;
        *w = numbers == TINY ? 1e-30f : numbers == NEGATIVE ? -1.0f : *w;
    }
    return d;
}

/* With tiny numbers the products of a weight gradient round to +0 and -0. */
static void shrink(zoo_run *r)
{
    float f[WIDTH * WIDTH] = {0};
    int weight = acr_param_index(r->g, "fc.weight"), bias = acr_param_index(r->g, "fc.bias");
    ZOO_OK(r->ctx, acr_param_write(r->t, bias, 0, WIDTH, f));
    for (int i = 0; i < WIDTH * WIDTH; i++)
        f[i] = i % 3 ? 1e-18f : -1e-18f;
    ZOO_OK(r->ctx, acr_param_write(r->t, weight, 0, WIDTH * WIDTH, f));
}

static uint64_t train(const zoo_case *c, const way *w)
{
    static double gradient[ENTRIES * WIDTH];
    zoo_opts o = options(w);
    zoo_run r = zoo_start(c, &o);
    zoo_data d = data_of(&r, w->numbers);
    uint64_t h = STATE_BEGIN;
    if (w->numbers == TINY)
        shrink(&r);
    for (int u = 0; u < UPDATES; u++) {
        acr_report report = ACR_REPORT_INIT;
        int64_t n = SAMPLES - 7 * u;
        ZOO_OK(r.ctx, acr_window_open(r.t));
        state_add(&r, &d, 0, n / 2, 0);
        ZOO_OK(r.ctx, acr_gradient_read(r.t, acr_param_index(r.g, "table"), 0, ENTRIES * WIDTH, gradient));
        h = state_mix(h, gradient, sizeof gradient);
        state_add(&r, &d, n / 2, n - n / 2, 0);
        ZOO_OK(r.ctx, acr_window_close(r.t, &report));
        assert_int_equal(report.skipped, 0);
        h = state_hash(&r, state_report(h, &report));
    }
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

static void dense_and_compact_agree(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++)
        for (int numbers = PLAIN; numbers <= NEGATIVE; numbers++)
            for (int k = 0; k < 2; k++) {
                way w = {"scalar", 1, SAMPLES, 0, k ? ACR_SGD : ACR_ADAMW, (enum numbers)numbers, 0};
                uint64_t want = train(&cases[c], &w);
                w.max_rows = SAMPLES;
                for (int i = 0; acr_isa_name(i); i++)
                    for (int m = 0; m < 3; m++) {
                        w.isa = acr_isa_name(i);
                        w.micro = 1 + 29 * m;
                        w.threads = m ? 1 + (m + k) % 3 : 1; /* single samples by a team are barriers and little else */
                        if (train(&cases[c], &w) != want)
                            fail_msg("%s, numbers %d, optimizer %d, %s, %d threads, micro-batch %d: other bits",
                                     cases[c].name, numbers, (int)w.optimizer, w.isa, w.threads, (int)w.micro);
                    }
            }
}

static void so_does_the_reference(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++) {
        way w = {NULL, 1, 7, 0, ACR_ADAMW, PLAIN, 1};
        uint64_t want = train(&cases[c], &w);
        w.max_rows = SAMPLES;
        assert_true(train(&cases[c], &w) == want);
    }
}

static void the_plan_counts_tokens(void **state)
{
    (void)state;
    way w = {NULL, 1, 4, ENTRIES, ACR_SGD, PLAIN, 0};
    zoo_opts o = options(&w);
    zoo_run dense = zoo_start(&cases[1], &o);
    o.plan.max_window_rows = SAMPLES;
    zoo_run compact = zoo_start(&cases[1], &o);
    assert_false(dense.plan->compact);
    assert_true(compact.plan->compact);
    size_t rows = (size_t)acr__round_up(SAMPLES * WIDTH * 4, 64), all = (size_t)acr__round_up(ENTRIES * WIDTH * 4, 64),
           tables = (size_t)acr__round_up(ENTRIES * 4, 64) + (size_t)2 * (size_t)acr__round_up(4 * 4, 64);
    assert_int_equal(acr_plan_kind_bytes(dense.plan, ACR_KIND_GRADIENT) - all + rows + tables,
                     acr_plan_kind_bytes(compact.plan, ACR_KIND_GRADIENT));
    zoo_stop(&dense);
    zoo_stop(&compact);
}

static acr_status pull(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    (void)window;
    zoo_data *d = user;
    for (int i = 0; i < d->inputs; i++)
        if (out->data[i]) /* not of what nothing reads */
            memcpy(out->data[i], (const char *)d->data[i] + first * d->cols[i] * 4, (size_t)(n * d->cols[i]) * 4);
    return ACR_OK;
}

/* More rows than were planned are refused, and the window is as it was. */
static void longer_windows_are_refused(void **state)
{
    (void)state;
    way w = {NULL, 1, 4, 9, ACR_SGD, PLAIN, 0};
    zoo_opts o = options(&w);
    zoo_run r = zoo_start(&cases[0], &o);
    zoo_data d = data_of(&r, PLAIN);
    acr_source source = {sizeof source, &d, pull, 0};
    ZOO_OK(r.ctx, acr_window_open(r.t));
    acr_batch b = zoo_slice(&d, 0, 5);
    ZOO_OK(r.ctx, acr_window_add(r.t, &b));
    assert_int_equal(acr_window_add(r.t, &b), ACR_E_STATE);
    assert_non_null(strstr(acr_error(r.ctx), "would have 10 rows, and the plan's max_window_rows is 9"));
    b = zoo_slice(&d, 5, 4);
    assert_int_equal(acr_window_pull(r.t, &source, 0, 5, 5), ACR_E_STATE);
    ZOO_OK(r.ctx, acr_window_add(r.t, &b));
    assert_int_equal(acr_window_pull(r.t, &source, 0, 0, 1), ACR_E_STATE);
    ZOO_OK(r.ctx, acr_window_close(r.t, NULL));
    ZOO_OK(r.ctx, acr_window_open(r.t));
    ZOO_OK(r.ctx, acr_window_pull(r.t, &source, 0, 0, 9));
    ZOO_OK(r.ctx, acr_window_close(r.t, NULL));
    zoo_free(&d);
    zoo_stop(&r);
}

static void ragged(acr_graph *g)
{
    acr_domain token = acr_domain_create(g, "token", 4);
    acr_node id = acr_input_in(g, token, "id", ACR_I32, 1, (int64_t[]){1});
    acr_node y = acr_input_in(g, token, "y", ACR_F32, 1, (int64_t[]){1});
    acr_node o = acr_linear(g, acr_embedding(g, id, ENTRIES, WIDTH, "table"), 1, "fc");
    zoo_loss(g, o, acr_mse(g, o, y, ACR_NONE));
}

/* Samples of four rows. */
static acr_status pull_rows(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    (void)window;
    *(int64_t *)user += n;
    for (int64_t i = 0; i <= n; i++)
        out->offsets[0][i] = (int32_t)(4 * i);
    for (int64_t r = 0; r < 4 * n; r++) {
        *(int32_t *)(void *)((char *)out->data[0] + r * out->row_bytes[0]) = (int32_t)(4 * first + r);
        *(float *)(void *)((char *)out->data[1] + r * out->row_bytes[1]) = 1;
    }
    return ACR_OK;
}

/* How many rows a ragged sample has its source tells. A pull of more samples than there is
 * room for rows is refused unasked; rows that came and do not fit are the data's fault. */
static void rows_that_come_are_counted(void **state)
{
    (void)state;
    static const zoo_case c = {"ragged", ragged};
    way w = {NULL, 1, 1, 9, ACR_SGD, PLAIN, 0};
    zoo_opts o = options(&w);
    zoo_run r = zoo_start(&c, &o);
    int64_t asked = 0;
    acr_source source = {sizeof source, &asked, pull_rows, 0};
    ZOO_OK(r.ctx, acr_window_open(r.t));
    assert_int_equal(acr_window_pull(r.t, &source, 0, 0, 10), ACR_E_STATE);
    assert_int_equal(asked, 0);
    ZOO_OK(r.ctx, acr_window_pull(r.t, &source, 0, 0, 2));
    ZOO_OK(r.ctx, acr_window_close(r.t, NULL));
    ZOO_OK(r.ctx, acr_window_open(r.t));
    assert_int_equal(acr_window_pull(r.t, &source, 0, 0, 3), ACR_E_DATA);
    assert_non_null(strstr(acr_error(r.ctx), "would have 12 rows, and the plan's max_window_rows is 9"));
    ZOO_OK(r.ctx, acr_window_open(r.t)); /* the failed pull has aborted the one before */
    acr_window_abort(r.t);
    zoo_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_and_compact_agree),
        cmocka_unit_test(so_does_the_reference),
        cmocka_unit_test(the_plan_counts_tokens),
        cmocka_unit_test(longer_windows_are_refused),
        cmocka_unit_test(rows_that_come_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
