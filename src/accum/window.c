/* window.c: opening, adding, closing. The state of a window is trainer.h's; the
 * arithmetic of its micro-batches micro.c's, of its close close.c's. */
#include "accum/trainer.h"
#include "base/context.h"
#include "base/fpenv.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

acr_status acr_window_open(acr_trainer *t)
{
    FAIL_IF(!t->plan->opts.optimizer, t->ctx, ACR_E_STATE, "this plan only predicts; give acr_plan_opts an optimizer");
    FAIL_IF(t->open, t->ctx, ACR_E_STATE, "a window is open already; close or abort it first");
    FAIL_IF(t->clock.windows >= UINT32_MAX, t->ctx, ACR_E_STATE, "2^32 windows are the most that one run can have");
    t->open = true;
    t->awaiting = false;
    t->samples = t->micro_batches = 0;
    t->ahead.left = 0;
    memset(t->window_rows, 0, sizeof t->window_rows);
    memset(t->run.stage_rows, 0, sizeof t->run.stage_rows);
    memset(t->run.stage_first, 0, sizeof t->run.stage_first);
    memset(t->run.summed_rows, 0, sizeof t->run.summed_rows);
    for (int d = 0; d < ACR_MAX_DOMAINS; d++) {
        t->run.last_block[d] = t->run.added_block[d] = -1;
        t->run.cuts[d].count = 0;
    }
    acr__compact_clear(t);
    acr__sum_clear(&t->loss);
    acr__sum_clear(&t->weight);
    return ACR_OK;
}

void acr_window_abort(acr_trainer *t)
{
    t->open = false;
    t->awaiting = false;
}

/* Whether n more samples, 0 at least, fit: a window past ACR_CHAIN_ROWS rows needs second
 * accumulators. */
static acr_status check_rows(const acr_trainer *t, int64_t n)
{
    FAIL_IF(!t->open, t->ctx, ACR_E_STATE, "no window is open; call acr_window_open first");
    FAIL_IF(t->awaiting, t->ctx, ACR_E_STATE, "acr_window_backward is due after acr_window_forward");
    FAIL_IF(n > UINT32_MAX - t->samples, t->ctx, ACR_E_ARGUMENT,
            "%lld samples after the window's %lld are too many; 2^32 - 1 are the most that one can have", (long long)n,
            (long long)t->samples);
    for (int d = 1; d < t->g->domain_count; d++) {
        int64_t rows = t->window_rows[d] + acr__plan_rows(t->plan, d, n);
        FAIL_IF(rows > ACR_CHAIN_ROWS && !t->plan->second, t->ctx, ACR_E_STATE,
                "the window would have up to %lld rows; plan it with max_window_rows of at least that many",
                (long long)rows);
    }
    return ACR_OK;
}

/* The same for a batch, whose rows are known. */
static acr_status check_batch(const acr_trainer *t, const acr_batch *batch)
{
    int64_t rows[ACR_MAX_DOMAINS] = {0};
    TRY(check_rows(t, batch->samples));
    rows[ACR_SAMPLE] = batch->samples;
    for (int d = 2; d < t->g->domain_count; d++)
        rows[d] = batch->offsets[d - 2][batch->samples];
    return acr__compact_fits(t, rows, ACR_E_STATE);
}

static ACR_APART acr_status pull(acr_trainer *t, const acr_source *source, int64_t window, int64_t first, int64_t n,
                                 int64_t coming)
{
    FAIL_IF(first < 0 || n < 0 || n > INT64_MAX - first, t->ctx, ACR_E_ARGUMENT,
            "%lld samples from %lld on cannot be pulled; neither may be negative, nor their end past 2^63 - 1",
            (long long)n, (long long)first);
    TRY(check_rows(t, n));
    FAIL_IF(t->g->loss == ACR_NONE, t->ctx, ACR_E_STATE,
            "the graph has no loss; use acr_window_forward and acr_window_backward");
    int64_t rows[ACR_MAX_DOMAINS];
    for (int d = 0; d < ACR_MAX_DOMAINS; d++)
        rows[d] = n; /* one of each sample; a ragged one's others are known when they are there */
    TRY(acr__compact_fits(t, rows, ACR_E_STATE));
    for (int64_t done = 0, m; done < n; done += m) {
        m = acr__min(t->plan->opts.micro_batch, n - done);
        acr_status status = ACR_OK;
        if (atomic_load_explicit(&t->ctx->cancel, memory_order_relaxed))
            status = acr__fail(t->ctx, ACR_E_CANCELLED, "cancelled after %lld samples of the window", (long long)t->samples);
        if (status == ACR_OK) {
            acr__stage_reserve(t, m);
            status = acr__micro_run(t, ACR_TRAIN, source, window, first + done, m, coming - done);
        }
        if (status != ACR_OK) {
            acr_window_abort(t);
            return status;
        }
    }
    return ACR_OK;
}

acr_status acr__window_pull_some(acr_trainer *t, const acr_source *source, int64_t window, int64_t first, int64_t n,
                                 int64_t coming)
{
    acr_status status;
    ACR_IN_CANON(status, pull(t, source, window, first, n, coming));
    return status;
}

acr_status acr_window_pull(acr_trainer *t, const acr_source *source, int64_t window, int64_t first, int64_t n)
{
    return acr__window_pull_some(t, source, window, first, n, n);
}

acr_status acr_window_add(acr_trainer *t, const acr_batch *batch)
{
    TRY(acr__push_check(t, batch, true));
    TRY(check_batch(t, batch));
    acr__push push = {t, batch};
    acr_source source = acr__push_source(&push);
    return acr_window_pull(t, &source, 0, 0, batch->samples);
}

static double divisor(const acr_trainer *t, double W)
{
    switch (t->opts.reduction) {
    case ACR_SUM:
    case ACR_SUM_OF_MICRO_BATCH_MEANS:
        return 1;
    case ACR_MEAN_OF_MICRO_BATCHES:
        return (double)t->micro_batches;
    default:
        return W;
    }
}

static void tick(acr_trainer *t, const acr_report *r)
{
    t->clock.windows++;
    t->clock.samples += r->samples;
    t->clock.tokens += r->rows;
    if (r->skipped) {
        t->clock.skipped++;
        t->clock.skipped_in_row++;
    } else {
        t->clock.updates++;
        t->clock.skipped_in_row = 0;
    }
}

static ACR_APART acr_status close_window(acr_trainer *t, acr_report *report)
{
    TRY(check_rows(t, 0));
    acr__stage_flush(t, true);
    double W = acr__sum_value(&t->weight);
    acr_report r = {.size = sizeof r, .window = t->clock.windows, .weight = W, .samples = t->samples,
                    .micro_batches = t->micro_batches, .clip = 1};
    acr_domain d = t->g->loss == ACR_NONE ? ACR_SAMPLE : t->g->nodes[t->g->loss].domain;
    r.rows = t->window_rows[d];
    r.learning_rate = acr_learning_rate(&t->opts, t->clock.updates);
    if (W != 0) {
        r.loss = acr__sum_value(&t->loss) / divisor(t, W);
        acr__close_update(t, divisor(t, W), &r);
    } else {
        r.loss = NAN;
        r.skipped = 2;
    }
    tick(t, &r);
    r.update = t->clock.updates;
    t->open = false;
    if (report)
        *report = r;
    FAIL_IF(t->opts.max_skipped > 0 && t->clock.skipped_in_row >= t->opts.max_skipped, t->ctx, ACR_E_DIVERGED,
            "%d windows in a row were skipped, the last because %s", (int)t->clock.skipped_in_row,
            r.skipped == 1 ? "its gradient was not finite; lower the learning rate or set max_grad_norm"
                           : "its weight W was 0: every label was ignored, or every weight 0");
    return ACR_OK;
}

acr_status acr_window_close(acr_trainer *t, acr_report *report)
{
    acr_status status;
    ACR_IN_CANON(status, close_window(t, report));
    return status;
}

/* ---- an external loss ---- */

acr_node acr__output_node(const acr_trainer *t, const char *name)
{
    for (int i = 0; i < t->g->output_count; i++)
        if (!strcmp(t->g->outputs[i].name, name))
            return t->g->outputs[i].node;
    acr__fail(t->ctx, ACR_E_ARGUMENT, "there is no output '%s'", name);
    return ACR_NONE;
}

acr_status acr_window_forward(acr_trainer *t, const acr_batch *batch)
{
    TRY(acr__push_check(t, batch, false));
    TRY(check_batch(t, batch));
    FAIL_IF(t->g->loss != ACR_NONE, t->ctx, ACR_E_STATE, "the graph has a loss of its own; use acr_window_add");
    FAIL_IF(batch->samples < 1 || batch->samples > t->plan->opts.micro_batch, t->ctx, ACR_E_ARGUMENT,
            "the batch has %lld samples, from 1 to the micro-batch of %lld are allowed", (long long)batch->samples,
            (long long)t->plan->opts.micro_batch);
    FAIL_IF(t->opts.reduction >= ACR_MEAN_OF_MICRO_BATCHES, t->ctx, ACR_E_STATE,
            "an external loss knows the reductions mean and sum; divide by the micro-batch's weight yourself and use sum");
    acr__push push = {t, batch};
    acr_source source = acr__push_source(&push);
    acr__stage_reserve(t, batch->samples);
    TRY(acr__micro_run(t, ACR_FORWARD_ONLY, &source, 0, 0, batch->samples, batch->samples));
    t->awaiting = true;
    return ACR_OK;
}

static ACR_APART acr_status read_output(acr_trainer *t, const char *name, int64_t first_row, int64_t rows, float *out)
{
    acr_node node = acr__output_node(t, name);
    if (node == ACR_NONE)
        return ACR_E_ARGUMENT;
    const acr__exec *e = &t->execs[node];
    int64_t there = t->run.rows[e->domain];
    FAIL_IF(first_row < 0 || rows < 0 || first_row > there || rows > there - first_row, t->ctx, ACR_E_ARGUMENT,
            "output '%s': %lld rows from %lld on were asked for, it has %lld", name, (long long)rows,
            (long long)first_row, (long long)there);
    const char *p = acr__rows_at(&t->run, &e->out, e->domain);
    for (int64_t r = 0; r < rows; r++)
        acr__fetch_floats(t, p, (first_row + r) * e->out.ld, e->node->cols, out + r * e->node->cols);
    return ACR_OK;
}

acr_status acr_output_read(acr_trainer *t, const char *name, int64_t first_row, int64_t rows, float *out)
{
    acr_status status;
    ACR_IN_CANON(status, read_output(t, name, first_row, rows, out));
    return status;
}

static void write_gradient(const acr_trainer *t, const acr__exec *e, const float *gradient, const float *weight)
{
    char *p = acr__rows_at(&t->run, &e->dout, e->domain);
    int64_t cols = e->node->cols;
    float piece[512];
    for (int64_t r = 0; r < t->run.rows[e->domain]; r++)
        for (int64_t j = 0, n; j < cols; j += n) {
            n = acr__min(512, cols - j);
            for (int64_t k = 0; k < n; k++) {
                float x = gradient ? gradient[r * cols + j + k] : 0.0f;
                piece[k] = gradient && weight ? weight[r] * x : x;
            }
            acr__put_floats(t, p, r * e->dout.ld + j, n, piece);
        }
}

static ACR_APART acr_status backward(acr_trainer *t, const char *name, const float *gradient, const float *weight,
                                     const float *loss)
{
    acr_node node = acr__output_node(t, name);
    if (node == ACR_NONE)
        return ACR_E_ARGUMENT;
    FAIL_IF(!t->awaiting, t->ctx, ACR_E_STATE, "acr_window_backward comes after acr_window_forward");
    FAIL_IF(!gradient || !t->execs[node].dout.p, t->ctx, ACR_E_ARGUMENT,
            "output '%s': %s", name, gradient ? "no trained parameter lies behind it" : "the gradient is NULL");
    for (int i = 0; i < t->g->output_count; i++)
        if (t->execs[t->g->outputs[i].node].dout.p)
            write_gradient(t, &t->execs[t->g->outputs[i].node], NULL, NULL);
    const acr__exec *e = &t->execs[node];
    write_gradient(t, e, gradient, weight);
    for (int64_t r = 0; r < t->run.rows[e->domain]; r++) {
        double w = weight ? (double)weight[r] : 1.0, l = loss ? w * (double)loss[r] : 0.0;
        acr__sum_add(&t->weight, 1, &w);
        acr__sum_add(&t->loss, 1, &l);
    }
    acr__micro_backward(t);
    t->awaiting = false;
    return ACR_OK;
}

acr_status acr_window_backward(acr_trainer *t, const char *name, const float *gradient, const float *weight,
                               const float *loss)
{
    acr_status status;
    ACR_IN_CANON(status, backward(t, name, gradient, weight, loss));
    return status;
}
