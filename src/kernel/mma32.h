/* mma32.h: the two operations that rule 2 is made of, in plain C.
 *
 * Each rounds once, to 24 bits with an exponent that knows no lower end, to
 * nearest even; what is then below 2^-126 in magnitude becomes a zero of its
 * sign. That is x86's FTZ with DAZ, VDPBF16PS and TDPBF16PS, and is not what
 * ARM's FZ does, which flushes before it rounds: 2^-126 - 2^-152 is 2^-126 here.
 *
 * They need the canon's floating-point environment: subnormals kept. */
#ifndef ACR_MMA32_H
#define ACR_MMA32_H

#include <stdint.h>

#define ACR_MMA_INLINE static inline __attribute__((always_inline))

/* a*b + c for a, b and c that are no subnormals. A result at or below the
 * smallest normal was rounded to fewer than 24 bits, so it is taken again 2^64
 * higher, where the zeros of both exponents part. */
ACR_MMA_INLINE float acr__mma32_fma(float a, float b, float c)
{
    float r = __builtin_fmaf(a, b, c);
    if (__builtin_fabsf(r) <= 0x1p-126f) {
        float x = __builtin_fabsf(a), y = __builtin_fabsf(b);
        float q = x < y ? __builtin_fmaf(a * 0x1p64f, b, c * 0x1p64f) : __builtin_fmaf(a, b * 0x1p64f, c * 0x1p64f);
        if (__builtin_fabsf(q) < 0x1p-62f)
            r = __builtin_copysignf(0.0f, q);
    }
    return r;
}

ACR_MMA_INLINE float acr__mma32_flush(float x)
{
    return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0.0f, x) : x;
}

/* A sum of two floats is exact where it is subnormal: flushing is all. */
ACR_MMA_INLINE float acr__mma32_add(float a, float b)
{
    return acr__mma32_flush(acr__mma32_flush(a) + acr__mma32_flush(b));
}

#endif
