/* eval.c: forward passes that leave the window alone. They run in the buffers of
 * training; staged rows are turned into accumulated gradient first, which
 * changes no bit of it. */
#include "accum/trainer.h"
#include "base/context.h"
#include "base/fpenv.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* Between two micro-batches. */
static acr_status go_on(const acr_trainer *t, int64_t done, int64_t samples, const char *what)
{
    FAIL_IF(atomic_load_explicit(&t->ctx->cancel, memory_order_relaxed), t->ctx, ACR_E_CANCELLED,
            "cancelled after %lld of %lld samples of the %s", (long long)done, (long long)samples, what);
    return ACR_OK;
}

static ACR_APART acr_status evaluate(acr_trainer *t, const acr_source *source, int64_t samples, acr_eval *out)
{
    FAIL_IF(t->g->loss == ACR_NONE, t->ctx, ACR_E_STATE, "the graph has no loss to evaluate");
    FAIL_IF(t->awaiting, t->ctx, ACR_E_STATE, "acr_window_backward is due after acr_window_forward");
    FAIL_IF(samples < 0, t->ctx, ACR_E_ARGUMENT, "an evaluation of %lld samples; 0 or more are allowed",
            (long long)samples);
    const acr__exec *loss = &t->execs[t->g->loss];
    bool has_accuracy = loss->node->op == ACR_OP_bce_with_logits || acr__is_entropy(loss->node);
    acr__sum l, w, right;
    acr__sum_clear(&l);
    acr__sum_clear(&w);
    acr__sum_clear(&right);
    for (int64_t done = 0, n; done < samples; done += n) {
        n = acr__min(t->plan->opts.micro_batch, samples - done);
        TRY(go_on(t, done, samples, "evaluation"));
        TRY(acr__micro_run(t, ACR_EVALUATE, source, 0, done, n, n));
        int64_t rows = t->run.rows[loss->domain];
        acr__sum_rows(t, &l, t->run.loss.loss, rows);
        acr__sum_rows(t, &w, t->run.loss.weight, rows);
        if (has_accuracy)
            acr__sum_rows(t, &right, t->run.loss.correct, rows);
    }
    double W = acr__sum_value(&w);
    out->weight = W;
    out->loss = W != 0 ? acr__sum_value(&l) / W : NAN;
    out->accuracy = has_accuracy && W != 0 ? acr__sum_value(&right) / W : NAN;
    out->samples = samples;
    return ACR_OK;
}

acr_status acr_evaluate(acr_trainer *t, const acr_source *source, int64_t samples, acr_eval *out)
{
    acr_status status;
    ACR_IN_CANON(status, evaluate(t, source, samples, out));
    return status;
}

acr_status acr_predict(acr_trainer *t, const acr_batch *batch, const char *name, float *out)
{
    TRY(acr__push_check(t, batch, false));
    FAIL_IF(t->awaiting, t->ctx, ACR_E_STATE, "acr_window_backward is due after acr_window_forward");
    acr__push push = {t, batch};
    acr_source source = acr__push_source(&push);
    acr_node node = ACR_NONE;
    for (int i = 0; i < t->g->output_count; i++)
        if (!strcmp(t->g->outputs[i].name, name))
            node = t->g->outputs[i].node;
    FAIL_IF(node == ACR_NONE, t->ctx, ACR_E_ARGUMENT, "there is no output '%s'", name);
    for (int64_t done = 0, n; done < batch->samples; done += n) {
        n = acr__min(t->plan->opts.micro_batch, batch->samples - done);
        TRY(go_on(t, done, batch->samples, "prediction"));
        TRY(acr__micro_run(t, ACR_PREDICT, &source, 0, done, n, n));
        int64_t rows = t->run.rows[t->execs[node].domain];
        TRY(acr_output_read(t, name, 0, rows, out));
        out += rows * t->execs[node].node->cols;
    }
    return ACR_OK;
}
