/* bf16_vec.h: the words of gemm_vec.h's vocabulary that products in bf16 need.
 *
 *   vec    V floats          words  V words of 32 bits, each two bf16
 *
 * Invariant: the conversions are base/bf16.h's, lane by lane, for operands:
 * nearest even, exponent field 0 -> +-0, NaN -> quiet NaN. All but v_add and
 * v_flush is integer arithmetic or, with AVX512_BF16, an instruction that does the same
 * whatever MXCSR holds. */
#ifndef ACR_BF16_VEC_H
#define ACR_BF16_VEC_H

#include "kernel/cpu/gemm_vec.h"
#include <string.h>

#if defined(ACR_ISA_AVX512)

typedef __m512i words;
static inline words w_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
static inline void w_store(uint32_t *p, words x) { _mm512_storeu_si512(p, x); }
static inline words w_of(vec x) { return _mm512_castps_si512(x); }
static inline vec v_of_words(words x) { return _mm512_castsi512_ps(x); }
static inline vec v_low(words x) { return v_of_words(_mm512_slli_epi32(x, 16)); }
static inline vec v_high(words x) { return v_of_words(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000))); }
static inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
/* V bf16 from memory, as they are. */
static inline vec v_load_bf16(const uint16_t *p)
{
    __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return v_of_words(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
/* The first n of them, the lanes past them +0; nothing past the n-th is read. */
static inline vec v_load_bf16_first(const uint16_t *p, int64_t n)
{
    return v_of_words(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(v_first(n), p)), 16));
}
/* Floats to the floats of their operands. */
static inline vec v_round(vec x)
{
    words u = w_of(x), top = _mm512_and_si512(u, _mm512_set1_epi32(0x7f800000));
    words odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    words r = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    __mmask16 none = _mm512_cmpeq_epi32_mask(top, _mm512_setzero_si512());
    r = _mm512_mask_mov_epi32(r, nan, _mm512_or_si512(u, _mm512_set1_epi32(0x400000)));
    r = _mm512_mask_mov_epi32(r, none, _mm512_and_si512(u, _mm512_set1_epi32((int)0x80000000)));
    return v_of_words(_mm512_and_si512(r, _mm512_set1_epi32((int)0xffff0000)));
}
static inline void v_store_bf16(uint16_t *p, vec rounded)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(w_of(rounded), 16)));
}
#if defined(ACR_ISA_AVX512_BF16)
/* Floats in pairs to words of operands. */
static inline words w_pair(vec low, vec high)
{
    static const uint16_t order[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8,  24, 9,  25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(order), (__m512i)_mm512_cvtne2ps_pbh(high, low));
}
#else
static inline words w_pair(vec low, vec high)
{
    return _mm512_or_si512(_mm512_srli_epi32(w_of(v_round(low)), 16), w_of(v_round(high)));
}
#endif

#elif defined(ACR_ISA_AVX2)

typedef __m256i words;
static inline words w_load(const uint32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
static inline void w_store(uint32_t *p, words x) { _mm256_storeu_si256((__m256i *)(void *)p, x); }
static inline words w_of(vec x) { return _mm256_castps_si256(x); }
static inline vec v_of_words(words x) { return _mm256_castsi256_ps(x); }
static inline vec v_low(words x) { return v_of_words(_mm256_slli_epi32(x, 16)); }
static inline vec v_high(words x) { return v_of_words(_mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000))); }
static inline vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec v_load_bf16(const uint16_t *p)
{
    return v_of_words(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), 16));
}
static inline vec v_round(vec x)
{
    words u = w_of(x), top = _mm256_and_si256(u, _mm256_set1_epi32(0x7f800000));
    words odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    words r = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    words nan = w_of(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)), none = _mm256_cmpeq_epi32(top, _mm256_setzero_si256());
    r = _mm256_blendv_epi8(r, _mm256_or_si256(u, _mm256_set1_epi32(0x400000)), nan);
    r = _mm256_blendv_epi8(r, _mm256_and_si256(u, _mm256_set1_epi32((int)0x80000000)), none);
    return v_of_words(_mm256_and_si256(r, _mm256_set1_epi32((int)0xffff0000)));
}
static inline void v_store_bf16(uint16_t *p, vec rounded)
{
    words h = _mm256_srli_epi32(w_of(rounded), 16);
    h = _mm256_permute4x64_epi64(_mm256_packus_epi32(h, h), 0xd8);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(h));
}
static inline words w_pair(vec low, vec high)
{
    return _mm256_or_si256(_mm256_srli_epi32(w_of(v_round(low)), 16), w_of(v_round(high)));
}

#else /* ACR_ISA_NEON */

typedef uint32x4_t words;
static inline words w_load(const uint32_t *p) { return vld1q_u32(p); }
static inline void w_store(uint32_t *p, words x) { vst1q_u32(p, x); }
static inline words w_of(vec x) { return vreinterpretq_u32_f32(x); }
static inline vec v_of_words(words x) { return vreinterpretq_f32_u32(x); }
static inline vec v_low(words x) { return v_of_words(vshlq_n_u32(x, 16)); }
static inline vec v_high(words x) { return v_of_words(vandq_u32(x, vdupq_n_u32(0xffff0000u))); }
static inline vec v_load_bf16(const uint16_t *p) { return v_of_words(vshll_n_u16(vld1_u16(p), 16)); }
static inline vec v_round(vec x)
{
    words u = w_of(x), top = vandq_u32(u, vdupq_n_u32(0x7f800000u));
    words odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    words r = vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    words nan = vcgtq_u32(vandq_u32(u, vdupq_n_u32(0x7fffffffu)), vdupq_n_u32(0x7f800000u));
    r = vbslq_u32(nan, vorrq_u32(u, vdupq_n_u32(0x400000u)), r);
    r = vbslq_u32(vceqq_u32(top, vdupq_n_u32(0)), vandq_u32(u, vdupq_n_u32(0x80000000u)), r);
    return v_of_words(vandq_u32(r, vdupq_n_u32(0xffff0000u)));
}
static inline void v_store_bf16(uint16_t *p, vec rounded) { vst1_u16(p, vshrn_n_u32(w_of(rounded), 16)); }
static inline words w_pair(vec low, vec high)
{
    return vorrq_u32(vshrq_n_u32(w_of(v_round(low)), 16), w_of(v_round(high)));
}
/* What is below the smallest normal becomes a zero of its sign. */
static inline vec v_flush(vec x)
{
    words tiny = vcaltq_f32(x, vdupq_n_f32(0x1p-126f));
    return v_of_words(vbicq_u32(w_of(x), vandq_u32(tiny, vdupq_n_u32(0x7fffffffu))));
}
static inline vec v_add(vec a, vec b) { return vaddq_f32(a, b); }

#endif

#if !defined(ACR_ISA_AVX512)
static inline vec v_load_bf16_first(const uint16_t *p, int64_t n)
{
    uint16_t part[V] = {0};
    memcpy(part, p, (size_t)n * sizeof *part);
    return v_load_bf16(part);
}
#endif

#if !defined(ACR_ISA_NEON)
/* Here the control register flushes. */
static inline vec v_flush(vec x) { return x; }
#endif

/* n numbers of an operand from p on, 1 <= n <= V, the lanes past them +0; not
 * rounded yet. Nothing past the n-th is read. */
static inline vec v_load_any(const void *p, bool bf16, int64_t n)
{
    if (!bf16)
        return n == V ? v_load(p) : v_load_first(v_first(n), p);
    if (n == V)
        return v_load_bf16(p);
    return v_load_bf16_first(p, n);
}

#endif
