/* select.c: which tables this build holds and this processor runs. The choice
 * is made once per context; there is no global that could change under a run. */
#include "kernel/kernel.h"
#include <string.h>

typedef struct path {
    const acr_kernels *table;
    bool (*runs)(void);
} path;

static bool always(void) { return true; }

#ifdef ACR_HAVE_AVX2
static bool has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif
#ifdef ACR_HAVE_AVX512
static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
}
#endif

static const path paths[] = {
    {&acr__kernels_scalar, always},
#ifdef ACR_HAVE_AVX2
    {&acr__kernels_avx2, has_avx2},
#endif
#ifdef ACR_HAVE_AVX512
    {&acr__kernels_avx512, has_avx512},
#endif
#ifdef ACR_HAVE_NEON
    {&acr__kernels_neon, always}, /* every aarch64 has it */
#endif
};
enum { PATHS = sizeof paths / sizeof paths[0] };

const acr_kernels *acr__kernels_runnable(int i)
{
    for (int p = 0; p < PATHS; p++)
        if (paths[p].runs() && i-- == 0)
            return paths[p].table;
    return NULL;
}

const acr_kernels *acr__kernels_find(const char *name, bool *exists)
{
    *exists = false;
    for (int p = 0; p < PATHS; p++)
        if (strcmp(paths[p].table->name, name) == 0) {
            *exists = true;
            return paths[p].runs() ? paths[p].table : NULL;
        }
    return NULL;
}
