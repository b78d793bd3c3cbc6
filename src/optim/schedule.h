/* schedule.h: what a schedule's options must be. The schedule itself is the
 * public acr_learning_rate. */
#ifndef ACR_OPTIM_SCHEDULE_H
#define ACR_OPTIM_SCHEDULE_H

#include "base/base.h"

/* ACR_E_ARGUMENT, naming the option, its value and what is allowed. */
acr_status acr__schedule_check(acr_context *ctx, const acr_trainer_opts *opts);

#endif
