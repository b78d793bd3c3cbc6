/* part_avx2.h: the first lanes of a vector to memory, for the AVX2 files.
 *
 * Invariant: bytes past the n-th lane are not written. The instruction for it,
 * vmaskmovps, takes 40 micro-operations on AMD's cores, and a load behind it waits
 * until the store has left the core; stores of 4, 2 and 1 lanes take one each. */
#ifndef ACR_PART_AVX2_H
#define ACR_PART_AVX2_H

#include <immintrin.h>
#include <stdint.h>

/* 0 <= n <= 8 */
static inline void acr__store_part(float *p, __m256 x, int64_t n)
{
    if (n == 8) {
        _mm256_storeu_ps(p, x);
        return;
    }
    __m128 part = _mm256_castps256_ps128(x);
    if (n & 4) {
        _mm_storeu_ps(p, part);
        part = _mm256_extractf128_ps(x, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, part);
        part = _mm_movehl_ps(part, part);
        p += 2;
    }
    if (n & 1)
        _mm_store_ss(p, part);
}

#endif
