/* update.c: SGD, Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019) as
 * PyTorch defines them. The arithmetic on tensors is in the kernel table; here
 * are the scalars, which advance once per update and never per micro-batch. */
#include "optim/update.h"
#include "base/functions.h"
#include "optim/schedule.h"
#include <math.h>

static acr_sgd_args sgd_args(const acr_trainer_opts *o, double lr, int64_t u, double clip, double decay)
{
    return (acr_sgd_args){
        .lr = (float)lr, .momentum = (float)o->momentum, .dampening_1m = (float)(1.0 - o->dampening),
        .weight_decay = (float)decay, .clip = (float)clip, .nesterov = o->nesterov != 0, .first = u == 0,
    };
}

static acr_adam_args adam_args(const acr_trainer_opts *o, bool decoupled, double lr, int64_t u, double clip, double decay)
{
    double bc1 = 1.0 - acr__powi64(o->adam_beta1, (uint64_t)u + 1);
    double bc2 = 1.0 - acr__powi64(o->adam_beta2, (uint64_t)u + 1);
    return (acr_adam_args){
        .lr_bc1 = (float)(lr / bc1), .decay = decoupled ? (float)(1.0 - lr * decay) : 1.0f,
        .l2 = decoupled ? 0.0f : (float)decay, .beta1_1m = (float)(1.0 - o->adam_beta1),
        .beta2 = (float)o->adam_beta2, .beta2_1m = (float)(1.0 - o->adam_beta2), .sqrt_bc2 = (float)sqrt(bc2),
        .epsilon = (float)o->adam_epsilon, .clip = (float)clip,
    };
}

acr__update acr__update_prepare(const acr_trainer_opts *o, acr_optimizer optimizer, int64_t u, double clip)
{
    acr__update r = {.optimizer = optimizer, .learning_rate = acr_learning_rate(o, u)};
    for (int decays = 0; decays < 2; decays++) {
        double decay = decays ? o->weight_decay : 0.0;
        if (optimizer == ACR_SGD)
            r.sgd[decays] = sgd_args(o, r.learning_rate, u, clip, decay);
        else
            r.adam[decays] = adam_args(o, optimizer == ACR_ADAMW, r.learning_rate, u, clip, decay);
    }
    return r;
}

void acr__update_apply(const acr__update *u, const acr_kernels *k, bool decays, int64_t n, void *p, const void *g,
                       void *const state[2])
{
    if (u->optimizer == ACR_SGD)
        k->sgd(&u->sgd[decays], n, p, g, state[0]);
    else
        k->adam(&u->adam[decays], n, p, g, state[0], state[1]);
}

static bool in(double x, double low, double high) { return x >= low && x <= high; }

acr_status acr__update_check(acr_context *ctx, const acr_trainer_opts *o, acr_optimizer optimizer)
{
    TRY(acr__schedule_check(ctx, o));
    FAIL_IF(!in(o->weight_decay, 0, 1e30), ctx, ACR_E_ARGUMENT, "weight_decay is %g; 0 or more is allowed", o->weight_decay);
    FAIL_IF(!in(o->max_grad_norm, 0, 1e300), ctx, ACR_E_ARGUMENT, "max_grad_norm is %g; 0 (off) or more is allowed",
            o->max_grad_norm);
    FAIL_IF(o->reduction < ACR_MEAN || o->reduction > ACR_SUM_OF_MICRO_BATCH_MEANS, ctx, ACR_E_ARGUMENT,
            "reduction %d is unknown", (int)o->reduction);
    if (optimizer == ACR_SGD) {
        FAIL_IF(!in(o->momentum, 0, 1e30), ctx, ACR_E_ARGUMENT, "momentum is %g; 0 or more is allowed", o->momentum);
        FAIL_IF(!in(o->dampening, -1e30, 1e30), ctx, ACR_E_ARGUMENT, "dampening is %g; a number is wanted", o->dampening);
        FAIL_IF(o->nesterov && (o->momentum <= 0 || o->dampening != 0), ctx, ACR_E_ARGUMENT,
                "nesterov needs momentum above 0 and dampening 0 (momentum is %g, dampening %g)", o->momentum, o->dampening);
        return ACR_OK;
    }
    FAIL_IF(!(o->adam_beta1 >= 0 && o->adam_beta1 < 1), ctx, ACR_E_ARGUMENT, "adam_beta1 is %g; from 0 to below 1 is allowed",
            o->adam_beta1);
    FAIL_IF(!(o->adam_beta2 >= 0 && o->adam_beta2 < 1), ctx, ACR_E_ARGUMENT, "adam_beta2 is %g; from 0 to below 1 is allowed",
            o->adam_beta2);
    FAIL_IF(!in(o->adam_epsilon, 0, 1e30), ctx, ACR_E_ARGUMENT, "adam_epsilon is %g; 0 or more is allowed", o->adam_epsilon);
    return ACR_OK;
}
