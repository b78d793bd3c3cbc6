/* schedule.c: the learning rate of each update.
 *
 *     u < w            (u+1)/w                            warm-up of w updates
 *     linear, cosine   p = (u-w+1)/(U-w+1)                after it, U updates in all
 *     wsd              1, then p = (k+1)/(d+1) in the k-th of the last d updates
 *     falling by p     linear 1 - p(1-m), cosine m + (1-m)(1 + cos(pi p))/2
 *
 * with m = min_lr_ratio. So no update is wasted at zero: neither the first of the
 * warm-up nor, with m = 0, the last. Past U the factor stays at m, where a run is
 * extended beyond its schedule. A pure function: resuming needs no state. */
#include "optim/schedule.h"
#include "base/fpenv.h"
#include "base/functions.h"
#include <math.h>

static double fall(acr_schedule schedule, double p, double floor)
{
    if (schedule == ACR_COSINE)
        return fma(1.0 - floor, 0.5 * (1.0 + acr__cos64(0x1.921fb54442d18p+1 * p)), floor); /* pi p */
    return 1.0 - p * (1.0 - floor);
}

/* How far update u has fallen: 0 not at all, 1 to the floor. */
static double progress(const acr_trainer_opts *o, int64_t u)
{
    int64_t first, updates; /* of the fall */
    switch (o->schedule) {
    case ACR_LINEAR:
    case ACR_COSINE:
        first = o->warmup_steps;
        break;
    case ACR_WSD:
        first = o->total_steps - o->decay_steps;
        break;
    default:
        return 0.0;
    }
    updates = o->total_steps - first;
    if (u < first)
        return 0.0;
    return u >= o->total_steps ? 1.0 : (double)(u - first + 1) / (double)(updates + 1);
}

static ACR_APART double rate(const acr_trainer_opts *opts, int64_t update)
{
    if (update < opts->warmup_steps)
        return opts->learning_rate * ((double)(update + 1) / (double)opts->warmup_steps);
    double p = progress(opts, update);
    return p > 0.0 ? opts->learning_rate * fall(opts->schedule, p, opts->min_lr_ratio) : opts->learning_rate;
}

double acr_learning_rate(const acr_trainer_opts *opts, int64_t update)
{
    double r;
    ACR_IN_CANON(r, rate(opts, update));
    return r;
}

static const char *schedule_name(acr_schedule s)
{
    switch (s) {
    case ACR_CONSTANT:
        return "constant";
    case ACR_LINEAR:
        return "linear";
    case ACR_COSINE:
        return "cosine";
    case ACR_WSD:
        return "wsd";
    }
    return NULL;
}

acr_status acr__schedule_check(acr_context *ctx, const acr_trainer_opts *o)
{
    const char *name = schedule_name(o->schedule);
    FAIL_IF(!name, ctx, ACR_E_ARGUMENT, "schedule: %d is none of ACR_CONSTANT, ACR_LINEAR, ACR_COSINE, ACR_WSD",
            (int)o->schedule);
    FAIL_IF(!(o->learning_rate >= 0 && o->learning_rate < INFINITY), ctx, ACR_E_ARGUMENT,
            "learning_rate: %g; a finite number of at least 0", o->learning_rate);
    FAIL_IF(!(o->min_lr_ratio >= 0 && o->min_lr_ratio <= 1), ctx, ACR_E_ARGUMENT,
            "min_lr_ratio: %g; 0 to 1, the share of learning_rate that is left at the end", o->min_lr_ratio);
    FAIL_IF(o->warmup_steps < 0, ctx, ACR_E_ARGUMENT, "warmup_steps: %lld; at least 0 updates",
            (long long)o->warmup_steps);
    if (o->schedule == ACR_CONSTANT)
        return ACR_OK;
    FAIL_IF(o->total_steps < 1, ctx, ACR_E_ARGUMENT,
            "total_steps: %lld; the %s schedule needs the number of updates in all, at least 1",
            (long long)o->total_steps, name);
    FAIL_IF(o->warmup_steps > o->total_steps, ctx, ACR_E_ARGUMENT,
            "warmup_steps: %lld; at most total_steps, which is %lld", (long long)o->warmup_steps,
            (long long)o->total_steps);
    int64_t room = o->total_steps - o->warmup_steps;
    FAIL_IF(o->schedule == ACR_WSD && (o->decay_steps < 0 || o->decay_steps > room), ctx, ACR_E_ARGUMENT,
            "decay_steps: %lld; 0 to %lld, the updates of total_steps that warmup_steps leaves",
            (long long)o->decay_steps, (long long)room);
    return ACR_OK;
}
