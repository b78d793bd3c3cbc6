/* batch.c: effective batch, micro-batch and accumulation steps.
 *
 * The rule: steps = ceil(effective / micro). effective and steps give
 * micro = ceil(effective / steps); micro and steps give their product.
 *
 * Invariant: the effective batch is what the highest layer that tells it says,
 * directly or as a product; a flag for one of the other two never changes it, but
 * displaces what the file says of the third. A contradiction is an error only
 * within one layer. */
#include "config/options.h"

#include <stdio.h>

enum { AUTO = -1 };

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

static bool agree(int64_t effective, int64_t micro, int64_t steps)
{
    return steps == ceil_div(effective, micro) || micro == ceil_div(effective, steps);
}

/* The numbers of one layer among themselves; fills in its effective batch. */
static acr_status check_layer(acr__config *cfg, acr__batch *b, const char *where)
{
    int64_t product;
    if (b->micro <= 0 || b->steps <= 0)
        return ACR_OK;
    FAIL_IF(!acr__mul64(b->micro, b->steps, &product), cfg->ctx, ACR_E_CONFIG,
            "%s: micro_batch_size %lld times gradient_accumulation_steps %lld is too many samples", where,
            (long long)b->micro, (long long)b->steps);
    if (b->effective == 0) {
        b->effective = product;
        return ACR_OK;
    }
    FAIL_IF(!agree(b->effective, b->micro, b->steps), cfg->ctx, ACR_E_CONFIG,
            "%s: effective_batch_size %lld, micro_batch_size %lld and gradient_accumulation_steps %lld contradict each "
            "other; leave one out, or set gradient_accumulation_steps: %lld, micro_batch_size: %lld or "
            "effective_batch_size: %lld",
            where, (long long)b->effective, (long long)b->micro, (long long)b->steps,
            (long long)ceil_div(b->effective, b->micro), (long long)ceil_div(b->effective, b->steps),
            (long long)product);
    return ACR_OK;
}

/* Notes that an option of a lower layer no longer holds. */
static acr_status displaced(acr__config *cfg, int option, int64_t was, const char *by)
{
    return acr__config_note(cfg, "%s: %lld is displaced by %s", acr__config_where(cfg, option), (long long)was, by);
}

acr_status acr__batch_resolve(acr__config *cfg, const acr__batch given[4])
{
    const char *const layer_name[] = {"", cfg->file, "the environment", "the command line"};
    acr__batch now = {0, 0, 0};
    for (int layer = ACR__LAYER_FILE; layer <= ACR__LAYER_FLAG; layer++) {
        acr__batch b = given[layer];
        if (b.steps == AUTO)
            b.steps = now.steps = 0;
        TRY(check_layer(cfg, &b, layer_name[layer]));
        if (b.effective && b.effective != now.effective && now.effective && !given[layer].effective)
            TRY(displaced(cfg, ACR__OPT_effective_batch_size, now.effective,
                          "micro_batch_size and gradient_accumulation_steps"));
        /* What this layer leaves out comes from below, unless it disagrees. */
        acr__batch merged = {b.effective ? b.effective : now.effective, b.micro ? b.micro : now.micro,
                             b.steps ? b.steps : now.steps};
        if (b.micro && !b.steps && now.steps) {
            bool keeps = b.micro > 0 && (merged.effective == 0 || agree(merged.effective, b.micro, now.steps));
            if (!keeps)
                TRY(displaced(cfg, ACR__OPT_gradient_accumulation_steps, now.steps, "micro_batch_size"));
            merged.steps = keeps ? now.steps : 0;
        } else if (b.steps && !b.micro && now.micro > 0) {
            bool keeps = merged.effective == 0 || agree(merged.effective, now.micro, b.steps);
            if (!keeps)
                TRY(displaced(cfg, ACR__OPT_micro_batch_size, now.micro, "gradient_accumulation_steps"));
            merged.micro = keeps ? now.micro : 0;
        } else if (b.effective && !b.micro && !b.steps && now.micro > 0 && now.steps &&
                   !agree(b.effective, now.micro, now.steps)) {
            TRY(displaced(cfg, ACR__OPT_gradient_accumulation_steps, now.steps, "effective_batch_size"));
            merged.steps = 0;
        }
        if (merged.effective == 0)
            TRY(check_layer(cfg, &merged, layer_name[layer]));
        now = merged;
    }
    FAIL_IF(now.effective == 0, cfg->ctx, ACR_E_CONFIG,
            "%s: effective_batch_size is missing: add `effective_batch_size: 256` (samples per update), or both "
            "micro_batch_size and gradient_accumulation_steps",
            cfg->file);
    if (now.micro <= 0 && now.steps)
        now.micro = ceil_div(now.effective, now.steps);
    if (now.micro > now.effective) {
        TRY(acr__config_note(cfg, "micro_batch_size %lld is more than effective_batch_size %lld, which is used",
                             (long long)now.micro, (long long)now.effective));
        now.micro = now.effective;
    }
    cfg->effective_batch_size = now.effective;
    cfg->micro_batch_size = now.micro > 0 ? now.micro : 0;
    cfg->gradient_accumulation_steps = now.micro > 0 ? ceil_div(now.effective, now.micro) : 0;
    return ACR_OK;
}
