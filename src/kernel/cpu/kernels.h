/* kernels.h: the vector kernels of one instruction set, gathered by table.c.
 * The contracts are kernel.h's; the definition of every bit is ref*.c's. */
#ifndef ACR_CPU_KERNELS_H
#define ACR_CPU_KERNELS_H

#include "kernel/cpu/functions.h"

/* elementwise.c */
void ACR_CPU(unary)(enum acr_unary f, float param, int64_t rows, int64_t cols, const void *x, int64_t ldx, void *y,
                    int64_t ldy);
void ACR_CPU(unary_back)(enum acr_unary f, float param, int64_t rows, int64_t cols, const void *dy, int64_t lddy,
                         const void *saved, int64_t lds, void *dx, int64_t lddx, bool add);
void ACR_CPU(copy)(int64_t rows, int64_t cols, const void *src, int64_t lds, void *dst, int64_t ldd, bool add);
void ACR_CPU(add)(int64_t rows, int64_t cols, const void *a, int64_t lda, const void *b, int64_t ldb, void *y,
                  int64_t ldy);
void ACR_CPU(mul)(int64_t rows, int64_t cols, const void *a, int64_t lda, const void *b, int64_t ldb, void *y,
                  int64_t ldy, bool add);
bool ACR_CPU(finite)(int64_t n, const void *x);
void ACR_CPU(add_row)(int64_t rows, int64_t cols, const void *x, int64_t ldx, const void *row, void *y, int64_t ldy);
void ACR_CPU(dropout)(int64_t cols, const void *x, void *y, bool add, uint32_t threshold, float scale, uint64_t seed,
                      uint32_t window, uint32_t op, uint32_t place, int64_t element0);

void ACR_CPU(silu_mul)(int64_t rows, int64_t cols, const void *gate, int64_t ldg, const void *up, int64_t ldu, void *y,
                       int64_t ldy);
void ACR_CPU(silu_mul_back)(int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *gate, int64_t ldg,
                            const void *up, int64_t ldu, void *dgate, int64_t lddg, bool add_gate, void *dup,
                            int64_t lddu, bool add_up);
void ACR_CPU(rope)(bool back, int64_t rows, int64_t heads, int64_t dim, const void *x, int64_t ldx,
                   const int32_t *position, const void *table, void *y, int64_t ldy, bool add);

/* attention.c */
void ACR_CPU(attention)(const acr_attention_args *a);
void ACR_CPU(attention_back)(const acr_attention_args *a);
size_t ACR_CPU(attention_scratch)(const acr_kernels *bf16, int64_t keys, int64_t dim, bool back);

/* rows.c */
void ACR_CPU(norm)(bool rms, int64_t rows, int64_t cols, const void *x, int64_t ldx, const void *gamma,
                   const void *beta, float eps, void *y, int64_t ldy, void *stats);
void ACR_CPU(norm_back)(bool rms, int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *x, int64_t ldx,
                        const void *stats, const void *gamma, void *dx, int64_t lddx, bool add);
void ACR_CPU(norm_back_param)(bool rms, int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *x,
                              int64_t ldx, const void *stats, void *dgamma, void *dbeta);
void ACR_CPU(softmax)(int64_t rows, int64_t cols, const void *x, int64_t ldx, void *y, int64_t ldy);
void ACR_CPU(softmax_back)(int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *y, int64_t ldy,
                           void *dx, int64_t lddx, bool add);

/* loss.c */
void ACR_CPU(loss)(const acr_loss_args *a);

/* normal.c */
void ACR_CPU(init_normals)(uint64_t seed, uint32_t name_hash, uint64_t first, int64_t n, float *out);

/* update.c */
void ACR_CPU(column_sum)(int64_t rows, int64_t cols, const void *dy, int64_t lddy, void *acc);
void ACR_CPU(gather)(int64_t rows, int64_t cols, const int32_t *id, const void *table, int64_t ldt, void *y,
                     int64_t ldy);
void ACR_CPU(scatter_add)(int64_t rows, int64_t cols, const int32_t *id, const void *dy, int64_t lddy, void *acc,
                          int64_t lda);
double ACR_CPU(close_leaf)(int64_t n, const void *acc, double W, void *g);
void ACR_CPU(join)(int64_t n, const void *src, void *dst);
void ACR_CPU(sgd)(const acr_sgd_args *o, int64_t n, void *p, const void *g, void *buffer);
void ACR_CPU(adam)(const acr_adam_args *o, int64_t n, void *p, const void *g, void *m, void *v);

#endif
