/* gemm_f32.h: what a kernel table needs to know of the fp32 products: for each
 * instruction set a gemm, a pack_b, the columns of a packed panel and the bytes
 * of scratch. kernel.h says what the two functions do.
 *
 * A file that is compiled once per instruction set (ACR_ISA given) may use the
 * names without a suffix, which stand for its own set. */
#ifndef ACR_GEMM_F32_H
#define ACR_GEMM_F32_H

#include "kernel/kernel.h"

/* Floats of scratch: a block of A (tiles x depth x stride of a packed row tile)
 * and a block of one panel of B. About 300 KiB, so that with a panel of a packed
 * weight and the rows of C it stays inside an L2 cache of 1 MiB or more. */
enum {
    ACR__GEMM_PANEL_avx2 = 16,
    ACR__GEMM_SCRATCH_avx2 = 4 * (36 * 256 * 8 + 256 * 16),
    ACR__GEMM_PANEL_avx512 = 32,
    ACR__GEMM_SCRATCH_avx512 = 4 * (20 * 272 * 16 + 272 * 32),
    ACR__GEMM_PANEL_neon = 16,
    ACR__GEMM_SCRATCH_neon = 4 * (36 * 256 * 8 + 256 * 16),
};

#define ACR__GEMM_DECLARE(isa)                     \
    void acr__gemm_f32_##isa(const acr_gemm *g);   \
    void acr__pack_b_f32_##isa(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, void *out);
ACR__GEMM_DECLARE(avx2)
ACR__GEMM_DECLARE(avx512)
ACR__GEMM_DECLARE(neon)
#undef ACR__GEMM_DECLARE

#ifdef ACR_ISA
#define ACR__GEMM_PASTE_(name, isa) name##_##isa
#define ACR__GEMM_PASTE(name, isa) ACR__GEMM_PASTE_(name, isa)
#define acr__gemm_f32 ACR__GEMM_PASTE(acr__gemm_f32, ACR_ISA)
#define acr__pack_b_f32 ACR__GEMM_PASTE(acr__pack_b_f32, ACR_ISA)
#define ACR__GEMM_PANEL ACR__GEMM_PASTE(ACR__GEMM_PANEL, ACR_ISA)
#define ACR__GEMM_SCRATCH ACR__GEMM_PASTE(ACR__GEMM_SCRATCH, ACR_ISA)
#endif

#endif
