/* gemm_bf16.h: what a kernel table needs to know of the products in bf16. The
 * panels are those of fp32 (gemm_f32.h); kernel.h says what the functions do.
 *
 *   gemm_bf16.c      by ordinary fused multiply-adds: avx2, avx512, neon
 *   gemm_bf16_dot.c  by instructions that take bf16: avx512_bf16, amx */
#ifndef ACR_GEMM_BF16_H
#define ACR_GEMM_BF16_H

#include "kernel/cpu/gemm_f32.h"

/* Scratch: some row tiles of A and a block of B, SLAB blocks deep. The rows of A take
 * A_BLOCK bytes a block of depth (49 for 48 rows: those of one tile would else fall on
 * few sets of L1); the block of B has so many columns: more where a product costs so
 * little that packing A again for each of them would show. */
enum {
    ACR__BF16_SLAB = 16,
    ACR__BF16_A_BLOCK_avx2 = 32 * 8 * 4,
    ACR__BF16_A_BLOCK_avx512 = 32 * 16 * 4,
    ACR__BF16_A_BLOCK_neon = 32 * 8 * 4,
    ACR__BF16_A_BLOCK_avx512_bf16 = 49 * 64,
    ACR__BF16_A_BLOCK_amx = 32 * 64,
    ACR__BF16_COLUMNS_avx2 = 384,
    ACR__BF16_COLUMNS_avx512 = 384,
    ACR__BF16_COLUMNS_neon = 384,
    ACR__BF16_COLUMNS_avx512_bf16 = 384,
    ACR__BF16_COLUMNS_amx = 768,
};
#define ACR__BF16_SCRATCH_OF(a_block, columns) \
    (ACR__BF16_SLAB * (size_t)((a_block) + (columns)*ACR_BLOCK * 2) + (columns) / 16 * 64)
#define ACR__BF16_SCRATCH(isa) \
    ACR__BF16_SCRATCH_OF(ACR__GEMM_PASTE(ACR__BF16_A_BLOCK, isa), ACR__GEMM_PASTE(ACR__BF16_COLUMNS, isa))

#define ACR__BF16_DECLARE(isa)                                                                                     \
    void acr__gemm_bf16_##isa(const acr_gemm *g);                                                                  \
    void acr__pack_b_bf16_##isa(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, bool b_bf16,    \
                                void *out);                                                                        \
    size_t acr__packed_bf16_##isa(int64_t n, int64_t k);                                                           \
    void acr__round_bf16_##isa(int64_t n, const void *x, void *out);
ACR__BF16_DECLARE(avx2)
ACR__BF16_DECLARE(avx512)
ACR__BF16_DECLARE(avx512_bf16)
ACR__BF16_DECLARE(amx)
ACR__BF16_DECLARE(neon)
#undef ACR__BF16_DECLARE

#endif
