/* select.c: which tables this build holds and this processor runs. The choice
 * is made once per context; there is no global that could change under a run.
 *
 * Levels are cumulative: avx512_bf16 needs all of avx512, amx all of avx512_bf16. The
 * two are tried out before they are offered (self_test.h). */
#include "kernel/kernel.h"
#include "kernel/self_test.h"
#include <pthread.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

#ifdef ACR_HAVE_AVX512_BF16
/* Bits of XCR0: what the system saves when it switches tasks. */
static bool system_saves(uint32_t bits)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return false;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & bits) == bits;
}

static bool has_avx512_bf16_cpu(void)
{
    enum { AVX512_STATE = 0xe6, AVX512_BF16 = 1 << 5 };
    unsigned a, b, c, d;
    return has_avx512() && system_saves(AVX512_STATE) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & AVX512_BF16;
}

static bool runs_avx512_bf16;
static void try_avx512_bf16(void)
{
    runs_avx512_bf16 = has_avx512_bf16_cpu() && acr__self_test_bf16(&acr__kernels_avx512_bf16);
}

static bool has_avx512_bf16(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, try_avx512_bf16);
    return runs_avx512_bf16;
}
#endif

#ifdef ACR_HAVE_AMX
/* Linux gives the state of tiles to a process that asks for it, and to all its
 * threads. It refuses where a signal stack would be too small for it. */
static bool tiles_permitted(void)
{
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

static bool runs_amx;
static void try_amx(void)
{
    enum { TILE_STATE = 3 << 17, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;
    runs_amx = has_avx512_bf16() && system_saves(TILE_STATE) && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
               (d & AMX_BF16) && (d & AMX_TILE) && tiles_permitted() && acr__self_test_bf16(&acr__kernels_amx);
}

static bool has_amx(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, try_amx);
    return runs_amx;
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
#ifdef ACR_HAVE_AVX512_BF16
    {&acr__kernels_avx512_bf16, has_avx512_bf16},
#endif
#ifdef ACR_HAVE_AMX
    {&acr__kernels_amx, has_amx},
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
