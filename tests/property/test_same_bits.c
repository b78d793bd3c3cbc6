/* test_same_bits.c: promise 2 on the engine: over splits, threads, paths, plans,
 * forms of adding, evaluation in the middle and a resume, the parameters, the
 * state and the losses after every update are the same bytes. Negative controls
 * show that the comparison can fail. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "state.h"
#include "base/context.h"
#include "graph/exec.h"

enum { SAMPLES = 150, WINDOW = 67, UPDATES = 4 };

typedef struct how {
    const char *what;
    zoo_opts o;
    int64_t add;    /* samples a call of acr_window_add; 0: the window at once */
    bool ragged;    /* adds of 1, 2, 3, ... samples */
    enum { NOTHING, GRADIENT_READ, EVALUATE, PREDICT } disturb; /* called after every add */
    int swap;       /* negative control: two samples of the window change places */
} how;

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

/* One of them alone: each empties the stage, and would hide that another does not. */
static void disturb(zoo_run *r, zoo_data *d, const how *w)
{
    double g[1];
    acr_eval e = ACR_EVAL_INIT;
    acr_source source = {sizeof source, d, pull, 0};
    if (w->disturb == GRADIENT_READ)
        ZOO_OK(r->ctx, acr_gradient_read(r->t, 0, 0, 1, g));
    if (w->disturb == EVALUATE)
        ZOO_OK(r->ctx, acr_evaluate(r->t, &source, 31, &e));
    if (w->disturb == PREDICT) {
        acr_batch b = zoo_slice(d, 3, 9);
        float *out = malloc(9 * ZOO_MAX_ROWS * 64 * sizeof *out);
        ZOO_OK(r->ctx, acr_predict(r->t, &b, "prediction", out));
        free(out);
    }
}

static void add_window(zoo_run *r, zoo_data *d, const how *w, int64_t first, int64_t n)
{
    int64_t k = 0;
    for (int64_t done = 0, m; done < n; done += m) {
        m = acr__min(w->ragged ? ++k : w->add ? w->add : n, n - done);
        acr_batch b = zoo_slice(d, first + done, m);
        ZOO_OK(r->ctx, acr_window_add(r->t, &b));
        disturb(r, d, w);
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

static bool is_ragged(const zoo_case *c)
{
    return c->build == zoo_ragged || c->build == zoo_gpt || c->build == zoo_llama || c->build == zoo_shared_keys;
}

static uint64_t train(const zoo_case *c, const how *w)
{
    zoo_run r = zoo_start(c, &w->o);
    zoo_data d = zoo_make(r.g, SAMPLES, 11);
    if (w->swap)
        swap_samples(&d);
    uint64_t h = STATE_BEGIN;
    for (int u = 0; u < UPDATES; u++) {
        int64_t first = u % 3 * WINDOW, n = acr__min(WINDOW, SAMPLES - first); /* the third window is ragged */
        acr_report report = ACR_REPORT_INIT;
        ZOO_OK(r.ctx, acr_window_open(r.t));
        add_window(&r, &d, w, first, n);
        ZOO_OK(r.ctx, acr_window_close(r.t, &report));
        assert_int_equal(report.skipped, 0);
        h = state_mix(h, &report.loss, sizeof report.loss);
        h = state_mix(h, &report.weight, sizeof report.weight);
        h = state_mix(h, &report.grad_norm, sizeof report.grad_norm);
        h = state_hash(&r, h);
    }
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

static how base_of(const zoo_case *c)
{
    (void)c;
    how w = {.what = "micro 67", .o = ZOO_OPTS_INIT};
    w.o.isa = "scalar";
    w.o.plan.micro_batch = WINDOW;
    w.o.plan.optimizer = ACR_ADAMW;
    w.o.plan.max_window_rows = WINDOW * ZOO_MAX_ROWS;
    w.o.trainer.weight_decay = 0.1;
    w.o.trainer.max_grad_norm = 0.05;
    w.o.trainer.learning_rate = 0.01;
    return w;
}

static void expect(const zoo_case *c, const how *w, uint64_t want, bool equal, const char *what)
{
    uint64_t got = train(c, w);
    if ((got == want) != equal)
        fail_msg("%s: %s (micro %d, threads %d, isa %s, stage %d, pack %d): %s", c->name, what,
                 (int)w->o.plan.micro_batch, w->o.threads, w->o.isa ? w->o.isa : "best", (int)w->o.plan.stage_rows,
                 w->o.plan.pack, equal ? "other bits" : "the same bits, so the test sees nothing");
}

static void splits_threads_paths(void **state)
{
    (void)state;
    static const int64_t micro[] = {1, 2, 3, 7, 31, 32, 33, WINDOW};
    for (int c = 0; c < ZOO_COUNT; c++) {
        how w = base_of(&zoo[c]);
        uint64_t want = train(&zoo[c], &w);
        for (int i = 0; acr_isa_name(i); i++)
            for (int m = 0; m < 8; m++)
                for (int threads = 1; threads <= 3; threads++) {
                    w.o.isa = acr_isa_name(i);
                    w.o.plan.micro_batch = micro[m];
                    w.o.threads = threads;
                    w.add = m % 2 ? 0 : 10;
                    expect(&zoo[c], &w, want, true, "split");
                }
    }
}

static void plans(void **state)
{
    (void)state;
    for (int c = 0; c < ZOO_COUNT; c++) {
        how w = base_of(&zoo[c]);
        uint64_t want = train(&zoo[c], &w);
        w.o.isa = NULL;
        for (int pack = -1; pack <= 1; pack++)
            for (int64_t stage = 3; stage <= 90; stage += 29) {
                w.o.plan.pack = pack;
                w.o.plan.micro_batch = 3;
                w.o.plan.stage_rows = stage;
                w.ragged = stage == 61;
                w.add = stage == 3 ? 0 : 11; /* three fill a stage of 33 to its last row */
                w.disturb = stage == 3 ? NOTHING : GRADIENT_READ + pack + 1;
                expect(&zoo[c], &w, want, true, "plan");
            }
    }
}

static void controls(void **state)
{
    (void)state;
    for (int c = 0; c < ZOO_COUNT; c++) {
        how w = base_of(&zoo[c]);
        uint64_t want = train(&zoo[c], &w);
        if (!is_ragged(&zoo[c])) {
            w.swap = 1;
            expect(&zoo[c], &w, want, false, "two samples swapped");
        }
        w = base_of(&zoo[c]);
        w.o.seed = 2;
        expect(&zoo[c], &w, want, false, "another seed");
        w = base_of(&zoo[c]);
        w.o.plan.micro_batch = 7;
        w.o.trainer.reduction = ACR_MEAN_OF_MICRO_BATCHES;
        expect(&zoo[c], &w, want, false, "a mean of micro-batch means");
    }
}

static void optimizers(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        how w = base_of(&zoo[2]);
        w.o.plan.optimizer = k < 2 ? ACR_SGD : ACR_ADAM;
        w.o.plan.momentum = w.o.trainer.nesterov = k == 1;
        w.o.trainer.momentum = k == 1 ? 0.9 : 0;
        w.o.trainer.reduction = k == 3 ? ACR_SUM : ACR_MEAN;
        uint64_t want = train(&zoo[2], &w);
        w.o.plan.micro_batch = 5;
        w.o.isa = NULL;
        w.o.threads = 2;
        expect(&zoo[2], &w, want, true, "optimizer");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_threads_paths),
        cmocka_unit_test(plans),
        cmocka_unit_test(controls),
        cmocka_unit_test(optimizers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
