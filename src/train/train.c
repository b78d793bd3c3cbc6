/* train.c: the loop over windows. No numerics and no files: which samples form a
 * window, and who is told. It begins where the trainer's clock stands, so a
 * resumed run needs nothing else. */
#include "accum/trainer.h"

static int64_t windows_per_epoch(const acr_train_opts *o)
{
    int64_t whole = o->samples / o->effective_batch;
    bool tail = o->samples % o->effective_batch != 0;
    if (whole == 0)
        return 1; /* the window is the whole epoch */
    return whole + (tail && !o->drop_last);
}

static acr_status fill(acr_trainer *t, const acr_train_opts *o, int64_t window, int64_t micro)
{
    int64_t per_epoch = windows_per_epoch(o);
    int64_t first = window % per_epoch * o->effective_batch;
    int64_t n = acr__min(o->effective_batch, o->samples - first);
    if (!o->on_micro_batch)
        return acr_window_pull(t, o->source, window / per_epoch, first, n);
    for (int64_t done = 0; done < n;) {
        int64_t m = acr__min(micro, n - done);
        TRY(acr__window_pull_some(t, o->source, window / per_epoch, first + done, m, n - done));
        done += m;
        TRY(o->on_micro_batch(o->user, done, n));
    }
    return ACR_OK;
}

static acr_status one_window(acr_trainer *t, const acr_train_opts *o, int64_t window, int64_t micro, acr_report *report)
{
    TRY(acr_window_open(t));
    acr_status status = fill(t, o, window, micro);
    if (status == ACR_OK)
        status = acr_window_close(t, report);
    if (status != ACR_OK)
        acr_window_abort(t); /* what was refused has left it open */
    return status;
}

acr_status acr_train(acr_trainer *t, const acr_train_opts *o)
{
    acr_context *ctx = acr__trainer_context(t);
    FAIL_IF(o->samples < 1, ctx, ACR_E_ARGUMENT, "the data set has %lld samples", (long long)o->samples);
    FAIL_IF(o->effective_batch < 1, ctx, ACR_E_ARGUMENT, "effective_batch is %lld, at least 1 is needed",
            (long long)o->effective_batch);
    FAIL_IF(!o->source, ctx, ACR_E_ARGUMENT, "acr_train needs a source of samples");
    int64_t micro = acr__trainer_micro_batch(t);
    for (;;) {
        acr_clock clock;
        TRY(acr_clock_get(t, &clock));
        if (clock.windows >= o->max_steps)
            return ACR_OK;
        acr_report report = ACR_REPORT_INIT;
        acr_status status = one_window(t, o, clock.windows, micro, &report);
        if (status != ACR_OK && status != ACR_E_DIVERGED)
            return status;
        if (o->on_update) {
            acr_status told = o->on_update(o->user, &report);
            if (status == ACR_OK)
                status = told;
        }
        TRY(status);
    }
}
