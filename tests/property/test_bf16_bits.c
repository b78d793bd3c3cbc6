/* test_bf16_bits.c: trainings whose products are in bf16. Promise 2 holds for them
 * as for fp32, over splits, threads, paths, plans and what happens in the middle of
 * a window; and weight gradients are rule 2's, element by element: blocks of 32 rows
 * of the window, or of 32 rows within each sample that has several, with the block
 * that is still open counted when a gradient is read. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bf16_gradient.h"
#include "state.h"

enum { SAMPLES = 150, WINDOW = 67, UPDATES = 4 };

static const zoo_case more[] = {{"long samples", zoo_long}, {"flat head", zoo_flat_head},
                                {"long attention", zoo_long_attention}};
enum { CASES = ZOO_COUNT + 3 };
static const zoo_case *case_of(int c) { return c < ZOO_COUNT ? &zoo[c] : &more[c - ZOO_COUNT]; }

typedef struct way {
    zoo_opts o;
    int64_t add; /* samples a call; 0: all; -1: 1, 2, 3, ... */
    enum { NOTHING, GRADIENT_READ, EVALUATE, PREDICT } disturb;
    bool swap; /* a negative control */
} way;

static acr_status pull(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    (void)window;
    zoo_data *d = user;
    acr_batch b = zoo_slice(d, first, n);
    for (int i = 0; i < d->inputs; i++) {
        int64_t rows = d->domain[i] == ACR_SAMPLE ? n : d->moved[d->domain[i]][n];
        for (int64_t r = 0; out->data[i] && r < rows; r++)
            memcpy((char *)out->data[i] + r * out->row_bytes[i], (const char *)b.data[i] + r * d->cols[i] * 4,
                   (size_t)d->cols[i] * 4);
    }
    for (int k = 2; d->offsets[k]; k++)
        memcpy(out->offsets[k - 2], d->moved[k], ((size_t)n + 1) * 4);
    return ACR_OK;
}

static void disturb(zoo_run *r, zoo_data *d, const way *w)
{
    acr_eval e = ACR_EVAL_INIT;
    acr_source source = {sizeof source, d, pull, 0};
    double g[4];
    for (int p = 0; w->disturb == GRADIENT_READ && p < acr_param_count(r->g); p++)
        ZOO_OK(r->ctx, acr_gradient_read(r->t, p, 0, acr__min(4, acr_param_elements(r->g, p)), g));
    if (w->disturb == EVALUATE)
        ZOO_OK(r->ctx, acr_evaluate(r->t, &source, 31, &e));
    if (w->disturb == PREDICT) {
        acr_batch b = zoo_slice(d, 3, 9);
        float *out = malloc(9 * ZOO_LONG * 64 * sizeof *out);
        ZOO_OK(r->ctx, acr_predict(r->t, &b, "prediction", out));
        free(out);
    }
}

static void swap_samples(zoo_data *d)
{
    for (int i = 0; i < d->inputs; i++)
        for (int64_t e = 0; e < d->cols[i]; e++) {
            uint32_t *p = d->data[i], t = p[2 * d->cols[i] + e];
            p[2 * d->cols[i] + e] = p[5 * d->cols[i] + e];
            p[5 * d->cols[i] + e] = t;
        }
}

static uint64_t train(const zoo_case *c, const way *w)
{
    zoo_run r = zoo_start(c, &w->o);
    zoo_data d = zoo_make(r.g, SAMPLES, 11);
    if (w->swap)
        swap_samples(&d);
    uint64_t h = STATE_BEGIN;
    for (int u = 0; u < UPDATES; u++) {
        int64_t first = u % 3 * WINDOW, n = acr__min(WINDOW, SAMPLES - first), k = 0;
        acr_report report = ACR_REPORT_INIT;
        ZOO_OK(r.ctx, acr_window_open(r.t));
        for (int64_t done = 0, m; done < n; done += m) {
            m = acr__min(w->add < 0 ? ++k : w->add ? w->add : n, n - done);
            acr_batch b = zoo_slice(&d, first + done, m);
            ZOO_OK(r.ctx, acr_window_add(r.t, &b));
            disturb(&r, &d, w);
        }
        ZOO_OK(r.ctx, acr_window_close(r.t, &report));
        assert_int_equal(report.skipped, 0);
        h = state_hash(&r, state_report(h, &report));
    }
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

static way base(void)
{
    way w = {.o = ZOO_OPTS_INIT};
    w.o.isa = "scalar";
    w.o.products = ACR_BF16;
    w.o.plan.micro_batch = WINDOW;
    w.o.plan.optimizer = ACR_ADAMW;
    w.o.plan.max_window_rows = WINDOW * ZOO_LONG;
    w.o.trainer.weight_decay = 0.1;
    w.o.trainer.max_grad_norm = 0.05;
    w.o.trainer.learning_rate = 0.01;
    return w;
}

static void expect(const zoo_case *c, const way *w, uint64_t want, bool equal, const char *what)
{
    if ((train(c, w) == want) != equal)
        fail_msg("%s: %s (micro %d, threads %d, isa %s, stage %d, pack %d, add %d, disturb %d): %s", c->name, what,
                 (int)w->o.plan.micro_batch, w->o.threads, w->o.isa ? w->o.isa : "best", (int)w->o.plan.stage_rows,
                 w->o.plan.pack, (int)w->add, (int)w->disturb,
                 equal ? "other bits" : "the same bits, so the test sees nothing");
}

/* Every micro-batch on every path; stage, threads, packing and adds take turns. */
static void splits_paths_plans(void **state)
{
    (void)state;
    static const int64_t micro[] = {1, 2, 3, 7, 31, 32, 33, WINDOW};
    static const int64_t adds[] = {0, 10, -1, 32};
    for (int c = 0; c < CASES; c++) {
        way w = base();
        uint64_t want = train(case_of(c), &w);
        for (int i = 0, turn = c; acr_isa_name(i); i++)
            for (int m = 0; m < 8; m++, turn++) {
                w.o.isa = acr_isa_name(i);
                w.o.threads = 1 + turn % 3;
                w.o.plan.micro_batch = micro[m];
                w.o.plan.stage_rows = turn % 4 == 0 ? 0 : turn % 4 == 1 ? micro[m] : micro[m] + 23 * (turn % 4);
                w.o.plan.pack = turn % 3 - 1;
                w.add = adds[turn / 2 % 4];
                expect(case_of(c), &w, want, true, "split");
            }
    }
}

/* Reading, evaluating or predicting in the middle, with blocks open and not. */
static void in_the_middle(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++) {
        way w = base();
        uint64_t want = train(case_of(c), &w);
        w.o.isa = NULL;
        for (int k = GRADIENT_READ; k <= PREDICT; k++)
            for (int stage = 0; stage < 2; stage++) {
                w.disturb = k;
                w.add = stage ? 11 : 32;
                w.o.plan.micro_batch = 5 + k;
                w.o.plan.stage_rows = stage ? w.o.plan.micro_batch : 70;
                expect(case_of(c), &w, want, true, "in the middle");
            }
    }
}

static void controls(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++) {
        way w = base();
        uint64_t want = train(case_of(c), &w);
        w.o.products = ACR_F32;
        expect(case_of(c), &w, want, false, "fp32");
        w = base();
        w.swap = true;
        if (case_of(c)->build == zoo_classifier || case_of(c)->build == zoo_flat_head)
            expect(case_of(c), &w, want, false, "two samples swapped");
    }
}

/* What is no product by a weight stays fp32, and so does the reference. */
static void the_reference_rounds_nothing(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++) {
        double g[2][3];
        for (int k = 0; k < 2; k++) {
            way w = base();
            w.o.isa = NULL;
            w.o.reference = 1;
            w.o.products = k ? ACR_BF16 : ACR_F32;
            zoo_run r = zoo_start(case_of(c), &w.o);
            zoo_data d = zoo_make(r.g, 40, 11);
            acr_batch b = zoo_slice(&d, 0, 40);
            ZOO_OK(r.ctx, acr_window_open(r.t));
            ZOO_OK(r.ctx, acr_window_add(r.t, &b));
            ZOO_OK(r.ctx, acr_gradient_read(r.t, 0, 0, 3, g[k]));
            zoo_free(&d);
            zoo_stop(&r);
        }
        for (int i = 0; i < 3; i++) /* blocks and rows spill at other places where chains are short */
            assert_true(fabs(g[0][i] - g[1][i]) <= 1e-13 * fabs(g[0][i]));
    }
}

static void wrong_products_are_refused(void **state)
{
    (void)state;
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    acr_graph_opts o = ACR_GRAPH_OPTS_INIT;
    o.products = ACR_I32;
    acr_graph *g = acr_graph_create(ctx, &o);
    assert_int_equal(acr_graph_finish(g), ACR_E_ARGUMENT);
    assert_non_null(strstr(acr_error(ctx), "products is 2"));
    acr_graph_destroy(g);
    acr_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_paths_plans),
        cmocka_unit_test(in_the_middle),
        cmocka_unit_test(controls),
        cmocka_unit_test(gradients_are_blocks),
        cmocka_unit_test(the_reference_rounds_nothing),
        cmocka_unit_test(wrong_products_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
