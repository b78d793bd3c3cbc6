/* part_avx2.h: the first lanes of a vector to memory, for the AVX2 files.
 *
 * Invariant: bytes past the n-th lane are not written. The instruction for it,
 * vmaskmovps, takes 40 micro-operations on AMD's cores, and a load behind it waits
 * until the store has left the core; stores of 4, 2 and 1 lanes take one each. */
#ifndef ACR_PART_AVX2_H
#define ACR_PART_AVX2_H

#include <immintrin.h>
#include <stdint.h>

/* n lanes of each x[i] to p + i * step; 0 <= n <= 8. What n is, is asked once for all
 * rows. x is used up. */
static inline __attribute__((always_inline)) void acr__store_parts(int rows, float *p, int64_t step, __m256 *x,
                                                                   int64_t n)
{
    if (n == 8) {
        for (int i = 0; i < rows; i++)
            _mm256_storeu_ps(p + i * step, x[i]);
        return;
    }
    if (n & 4) {
        for (int i = 0; i < rows; i++) {
            _mm_storeu_ps(p + i * step, _mm256_castps256_ps128(x[i]));
            x[i] = _mm256_castps128_ps256(_mm256_extractf128_ps(x[i], 1));
        }
        p += 4;
    }
    if (n & 2) {
        for (int i = 0; i < rows; i++) {
            __m128 part = _mm256_castps256_ps128(x[i]);
            _mm_storel_pi((__m64 *)(void *)(p + i * step), part);
            x[i] = _mm256_castps128_ps256(_mm_movehl_ps(part, part));
        }
        p += 2;
    }
    if (n & 1)
        for (int i = 0; i < rows; i++)
            _mm_store_ss(p + i * step, _mm256_castps256_ps128(x[i]));
}

static inline void acr__store_part(float *p, __m256 x, int64_t n) { acr__store_parts(1, p, 0, &x, n); }

#endif
