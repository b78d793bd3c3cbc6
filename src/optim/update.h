/* update.h: one optimizer step over a range of one parameter. */
#ifndef ACR_OPTIM_UPDATE_H
#define ACR_OPTIM_UPDATE_H

#include "base/base.h"
#include "kernel/kernel.h"

/* What an update needs beside the tensors; the same for every element. */
typedef struct acr__update {
    acr_optimizer optimizer;
    double learning_rate;
    acr_sgd_args sgd[2];   /* [1]: with weight decay */
    acr_adam_args adam[2]; /* likewise */
} acr__update;

/* Update number u (0, 1, ...; Adam's t is u + 1) with gradients to be scaled by
 * `clip`. Every scalar is computed in fp64 and rounded once. */
acr__update acr__update_prepare(const acr_trainer_opts *opts, acr_optimizer optimizer, int64_t u, double clip);
/* n elements of a parameter p, its gradient g and its state (as many as the
 * optimizer has), all at the same offset. */
void acr__update_apply(const acr__update *u, const acr_kernels *k, bool decays, int64_t n, void *p, const void *g,
                       void *const state[2]);
acr_status acr__update_check(acr_context *ctx, const acr_trainer_opts *opts, acr_optimizer optimizer);

#endif
