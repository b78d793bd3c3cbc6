/* bf16_paths.h: every table whose products in bf16 can run here: the processor's own,
 * and where the build has them the emulated ones (emulate_avx512.h). */
#ifndef BF16_PATHS_H
#define BF16_PATHS_H

#include "kernel/cpu/gemm_bf16.h"
#include <stdio.h>

#if defined(ACR_EMULATED)
#define EMULATED(isa)                                                                                               \
    void emulated_gemm_bf16_##isa(const acr_gemm *g);                                                               \
    void emulated_pack_b_bf16_##isa(int64_t, int64_t, const void *, int64_t, int64_t, bool, void *);                \
    size_t emulated_packed_bf16_##isa(int64_t n, int64_t k);                                                        \
    void emulated_round_bf16_##isa(int64_t n, const void *x, void *out);
EMULATED(avx512)
EMULATED(avx512_bf16)
EMULATED(amx)
#undef EMULATED
#define EMULATED(isa)                                                                                               \
    {                                                                                                               \
        .name = "emulated " #isa, .panel = ACR__GEMM_PANEL_avx512,                                                  \
        .gemm_bf16_scratch = ACR__BF16_SCRATCH(isa), .bf16_bytes = 2,                           \
        .gemm_bf16 = emulated_gemm_bf16_##isa, .pack_b_bf16 = emulated_pack_b_bf16_##isa,                           \
        .packed_bf16 = emulated_packed_bf16_##isa, .round_bf16 = emulated_round_bf16_##isa                          \
    }
static const acr_kernels bf16_emulated[] = {EMULATED(avx512), EMULATED(avx512_bf16), EMULATED(amx)};
enum { BF16_EMULATED = 3 };
#undef EMULATED
#else
static const acr_kernels *const bf16_emulated = NULL;
enum { BF16_EMULATED = 0 };
#endif

/* The i-th, as far as products in bf16 go; false past the last. */
static inline bool bf16_path(int i, acr_kernels *out)
{
    int own = 0;
    while (acr__kernels_runnable(own))
        own++;
    if (i >= own + BF16_EMULATED)
        return false;
    *out = i < own ? *acr__kernels_runnable(i) : bf16_emulated[i - own];
    return true;
}

static inline void bf16_paths_skipped(void)
{
    static const char *const names[] = {"avx2", "avx512", "avx512_bf16", "amx", "neon"};
    bool exists;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (acr__kernels_find(names[i], &exists) == NULL)
            printf("skipped: %s (%s)\n", names[i], exists ? "this processor lacks it" : "not in this build");
}

#endif
