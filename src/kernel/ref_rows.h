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
void ACR_REF(dropout)(int64_t cols, const void *x, void *y, bool add, uint32_t threshold, float scale, uint64_t seed,
                      uint32_t window, uint32_t op, uint32_t place, int64_t element0);
void ACR_REF(silu_mul)(int64_t rows, int64_t cols, const void *gate, int64_t ldg, const void *up, int64_t ldu, void *y,
                       int64_t ldy);
void ACR_REF(silu_mul_back)(int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *gate, int64_t ldg,
                            const void *up, int64_t ldu, void *dgate, int64_t lddg, bool add_gate, void *dup,
                            int64_t lddu, bool add_up);
void ACR_REF(rope)(bool back, int64_t rows, int64_t heads, int64_t dim, const void *x, int64_t ldx,
                   const int32_t *position, const void *table, void *y, int64_t ldy, bool add);
void ACR_REF(attention)(const acr_attention_args *a);
void ACR_REF(attention_back)(const acr_attention_args *a);
size_t ACR_REF(attention_scratch)(const acr_kernels *bf16, int64_t keys, int64_t dim, bool back);

#endif
