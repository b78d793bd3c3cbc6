/* ref_bf16.h: the reference's products in bf16, for its table (ref.c), for the
 * self-test and for tests. The contracts are kernel.h's. */
#ifndef ACR_REF_BF16_H
#define ACR_REF_BF16_H

#include "kernel/ref_functions.h"

/* Columns of a packed panel, rule 1's and rule 2's alike. */
enum { ACR_REF_PANEL = 8 };

void ACR_REF(gemm_bf16)(const acr_gemm *g);
void ACR_REF(pack_b_bf16)(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, bool b_bf16, void *out);
size_t ACR_REF(packed_bf16)(int64_t n, int64_t k);
void ACR_REF(round_bf16)(int64_t n, const void *x, void *out);

#endif
