/* The processor's own limits, by path: multiply-adds on chains that never leave
 * the registers, and reading of floats that lie in a cache. Nothing of the
 * library is in here, so a slow kernel cannot hide behind a slow limit.
 *
 * A peak_fn does `loops` rounds and returns the FLOP it did; a read_fn reads
 * `floats` (a multiple of 128) floats `loops` times and returns the bytes.      */
#ifndef ACCRUE_BENCH_PEAK_H
#define ACCRUE_BENCH_PEAK_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef double peak_fn(int64_t loops);
typedef double read_fn(const float *data, int64_t floats, int64_t loops);

enum { CHAINS = 12, READS = 8 };
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define PEAK(name, vec, lanes, splat, fma, target, keep)        \
    target static double name(int64_t loops)                    \
    {                                                           \
        vec a = splat(1.0000001f), b = splat(1e-9f), c[CHAINS]; \
        UNROLL                                                  \
        for (int i = 0; i < CHAINS; i++)                        \
            c[i] = splat(1.0f + (float)i);                      \
        for (int64_t p = 0; p < loops; p++) {                   \
            UNROLL                                              \
            for (int i = 0; i < CHAINS; i++)                    \
                c[i] = fma(c[i], a, b);                         \
        }                                                       \
        UNROLL                                                  \
        for (int i = 0; i < CHAINS; i++)                        \
            __asm__ volatile("" ::keep(c[i]));                  \
        return 2.0 * CHAINS * (lanes) * (double)loops;          \
    }
#define READ(name, vec, lanes, load, target, keep)                              \
    target static double name(const float *data, int64_t floats, int64_t loops) \
    {                                                                           \
        for (int64_t p = 0; p < loops; p++) {                                   \
            for (int64_t at = 0; at < floats; at += READS * (lanes)) {          \
                UNROLL                                                          \
                for (int i = 0; i < READS; i++) {                               \
                    vec v = load(data + at + i * (lanes));                      \
                    __asm__ volatile("" ::keep(v));                             \
                }                                                               \
            }                                                                   \
        }                                                                       \
        return 4.0 * (double)floats * (double)loops;                            \
    }

#if defined(__x86_64__)
#define ACR_PEAK_AVX2   __attribute__((target("avx2,fma")))
#define ACR_PEAK_AVX512 __attribute__((target("avx512f")))
PEAK(peak_scalar, __m128, 1, _mm_set1_ps, _mm_fmadd_ss, __attribute__((target("fma"))), "x")
PEAK(peak_avx2, __m256, 8, _mm256_set1_ps, _mm256_fmadd_ps, ACR_PEAK_AVX2, "x")
PEAK(peak_avx512, __m512, 16, _mm512_set1_ps, _mm512_fmadd_ps, ACR_PEAK_AVX512, "v")
READ(read_avx2, __m256, 8, _mm256_loadu_ps, ACR_PEAK_AVX2, "x")
READ(read_avx512, __m512, 16, _mm512_loadu_ps, ACR_PEAK_AVX512, "v")

static inline peak_fn *peak_of(const char *path)
{
    return !strcmp(path, "scalar") ? peak_scalar : !strcmp(path, "avx2") ? peak_avx2 : peak_avx512;
}

static inline read_fn *read_of(const char *path) { return strcmp(path, "avx512") != 0 ? read_avx2 : read_avx512; }
#elif defined(__aarch64__)
#define FMA_NEON(c, a, b) vfmaq_f32(b, c, a)
#define FMA_ONE(c, a, b)  __builtin_fmaf(c, a, b)
PEAK(peak_scalar, float, 1, , FMA_ONE, , "w")
PEAK(peak_neon, float32x4_t, 4, vdupq_n_f32, FMA_NEON, , "w")
READ(read_neon, float32x4_t, 4, vld1q_f32, , "w")

static inline peak_fn *peak_of(const char *path) { return !strcmp(path, "scalar") ? peak_scalar : peak_neon; }

static inline read_fn *read_of(const char *path)
{
    (void)path;
    return read_neon;
}
#endif

#endif
