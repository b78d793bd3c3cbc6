/* gemm_f32.h: what a kernel table needs to know of the fp32 products: for each
 * instruction set a gemm, a pack_b, the columns of a packed panel and the bytes
 * of scratch. kernel.h says what the two functions do.
 *
 * A file that is compiled once per instruction set (ACR_ISA given) may use the
 * names without a suffix, which stand for its own set. */
#ifndef ACR_GEMM_F32_H
#define ACR_GEMM_F32_H

#include "kernel/kernel.h"

/* Scratch: packed row tiles of A and a block of B that L2 holds. */
enum {
    ACR__GEMM_PANEL_avx2 = 16,
    ACR__GEMM_SCRATCH_avx2 = 4 * (1024 * 8 + 114688),
    ACR__GEMM_PANEL_avx512 = 32,
    ACR__GEMM_SCRATCH_avx512 = 4 * (512 * 16 + 114688),
    ACR__GEMM_PANEL_neon = 16,
    ACR__GEMM_SCRATCH_neon = 4 * (512 * 8 + 114688),
};

#define ACR__GEMM_DECLARE(isa)                     \
    void acr__gemm_f32_##isa(const acr_gemm *g);   \
    void acr__pack_b_f32_##isa(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, void *out);
ACR__GEMM_DECLARE(avx2)
ACR__GEMM_DECLARE(avx512)
ACR__GEMM_DECLARE(neon)
#undef ACR__GEMM_DECLARE

#define ACR__GEMM_PASTE_(name, isa) name##_##isa
#define ACR__GEMM_PASTE(name, isa) ACR__GEMM_PASTE_(name, isa)

#ifdef ACR_ISA
#define acr__gemm_f32 ACR__GEMM_PASTE(acr__gemm_f32, ACR_ISA)
#define acr__pack_b_f32 ACR__GEMM_PASTE(acr__pack_b_f32, ACR_ISA)
#define ACR__GEMM_PANEL ACR__GEMM_PASTE(ACR__GEMM_PANEL, ACR_ISA)
#define ACR__GEMM_SCRATCH ACR__GEMM_PASTE(ACR__GEMM_SCRATCH, ACR_ISA)
#endif

#endif
