/* ref_rows.h: the reference kernels that live in files of their own; ref.c puts
 * them into its table. The contracts are kernel.h's. */
#ifndef ACR_REF_ROWS_H
#define ACR_REF_ROWS_H

#include "kernel/ref_functions.h"

void ACR_REF(norm)(bool rms, int64_t rows, int64_t cols, const void *x, int64_t ldx, const void *gamma,
                   const void *beta, float eps, void *y, int64_t ldy, void *stats);
void ACR_REF(norm_back)(bool rms, int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *x, int64_t ldx,
                        const void *stats, const void *gamma, void *dx, int64_t lddx, bool add);
void ACR_REF(norm_back_param)(bool rms, int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *x,
                              int64_t ldx, const void *stats, void *dgamma, void *dbeta);
void ACR_REF(softmax)(int64_t rows, int64_t cols, const void *x, int64_t ldx, void *y, int64_t ldy);
void ACR_REF(softmax_back)(int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *y, int64_t ldy,
                           void *dx, int64_t lddx, bool add);
void ACR_REF(loss)(const acr_loss_args *a);

#endif
