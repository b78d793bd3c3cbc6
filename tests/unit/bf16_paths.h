/* bf16_paths.h: every table whose products in bf16 can run here. */
#ifndef BF16_PATHS_H
#define BF16_PATHS_H

#include "kernel/kernel.h"
#include <stdio.h>

/* The i-th, as far as products in bf16 go; false past the last. */
static inline bool bf16_path(int i, acr_kernels *out)
{
    const acr_kernels *k = acr__kernels_runnable(i);
    if (k)
        *out = *k;
    return k != NULL;
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
