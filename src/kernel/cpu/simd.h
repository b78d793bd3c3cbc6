/* simd.h: one small vocabulary over AVX-512, AVX2 and NEON. A kernel is written
 * once over it and compiled once per instruction set.
 *
 *   vf  VL floats      vi  VL 32-bit integers      vm  VL truths
 *   VQ  vectors in rule 3's sixteen chains: chain i is lane i%VL of vector i/VL
 *
 * Invariant: each word is one IEEE operation per lane, the one ref_functions.h
 * writes with the same name; comparisons are false on NaN. Lanes hold different
 * elements, never parts of one, so the width can't show in a result. Tails run
 * the same operations with the lanes past the end masked: loaded as +0, never
 * stored, and kept out of chains by v_keep.
 *
 * i_product gives both halves of a 64-bit product; i_store_columns stores VL rows
 * of four: a[0] b[0] c[0] d[0] a[1] ...
 *
 * No reciprocal or reciprocal-square-root approximation is here, on purpose. */
#ifndef ACR_SIMD_H
#define ACR_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ACR_PASTE_(a, b) acr__##a##_##b
#define ACR_PASTE(a, b)  ACR_PASTE_(a, b)
/* acr__<name>_<isa>; the build defines ACR_ISA as avx2, avx512 or neon */
#define ACR_CPU(name) ACR_PASTE(name, ACR_ISA)

#if defined(ACR_ISA_AVX512)
#include <immintrin.h>
enum { VL = 16 };
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

static inline vf v_set1(float x) { return _mm512_set1_ps(x); }
static inline vf v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
static inline vm v_first(int64_t n) { return (vm)((1u << n) - 1u); }
static inline vf v_load_first(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(v_first(n), p); }
static inline void v_store_first(float *p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, v_first(n), x); }
static inline vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
static inline vm v_gt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
static inline vm v_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
static inline vm v_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static inline vf v_select(vm m, vf a, vf b) { return _mm512_mask_mov_ps(b, m, a); }
static inline vf v_of(vi a) { return _mm512_castsi512_ps(a); }
static inline vi i_of(vf a) { return _mm512_castps_si512(a); }
static inline vi i_set1(uint32_t x) { return _mm512_set1_epi32((int32_t)x); }
static inline vi i_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
static inline vi i_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
static inline vi i_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
static inline vi i_and(vi a, vi b) { return _mm512_and_si512(a, b); }
static inline vi i_or(vi a, vi b) { return _mm512_or_si512(a, b); }
static inline vi i_xor(vi a, vi b) { return _mm512_xor_si512(a, b); }
static inline vf v_of_int(vi a) { return _mm512_cvtepi32_ps(a); }
static inline vm i_ge_unsigned(vi a, vi b) { return _mm512_cmpge_epu32_mask(a, b); }
static inline bool m_all(vm m) { return m == 0xffff; }
#define i_shl(a, n) _mm512_slli_epi32(a, n)
#define i_sra(a, n) _mm512_srai_epi32(a, n)
static inline float v_lane0(vf a) { return _mm512_cvtss_f32(a); }
static inline void i_product(vi a, uint32_t b, vi *low, vi *high)
{
    vi even = _mm512_mul_epu32(a, i_set1(b)), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), i_set1(b));
    *low = _mm512_mask_mov_epi32(even, 0xaaaa, _mm512_slli_epi64(odd, 32));
    *high = _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xaaaa, odd);
}
static inline void i_store_columns(uint32_t *p, vi a, vi b, vi c, vi d)
{
    vi ab0 = _mm512_unpacklo_epi32(a, b), ab1 = _mm512_unpackhi_epi32(a, b);
    vi cd0 = _mm512_unpacklo_epi32(c, d), cd1 = _mm512_unpackhi_epi32(c, d);
    vi row[4] = {_mm512_unpacklo_epi64(ab0, cd0), _mm512_unpackhi_epi64(ab0, cd0), _mm512_unpacklo_epi64(ab1, cd1),
                 _mm512_unpackhi_epi64(ab1, cd1)};
    for (int i = 0; i < 4; i++) {
        __m128i *to = (__m128i *)(void *)(p + 4 * i);
        _mm_storeu_si128(to, _mm512_castsi512_si128(row[i]));
        _mm_storeu_si128(to + 4, _mm512_extracti32x4_epi32(row[i], 1));
        _mm_storeu_si128(to + 8, _mm512_extracti32x4_epi32(row[i], 2));
        _mm_storeu_si128(to + 12, _mm512_extracti32x4_epi32(row[i], 3));
    }
}
#define FOLD8(OP, c) _mm256_##OP##_ps(_mm512_extractf32x8_ps((c)[0], 1), _mm512_castps512_ps256((c)[0]))

#elif defined(ACR_ISA_AVX2)
#include "kernel/cpu/part_avx2.h"
enum { VL = 8 };
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

static inline vf v_set1(float x) { return _mm256_set1_ps(x); }
static inline vf v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
static inline vi i_first(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vm v_first(int64_t n) { return _mm256_castsi256_ps(i_first(n)); }
static inline vf v_load_first(const float *p, int64_t n) { return _mm256_maskload_ps(p, i_first(n)); }
static inline void v_store_first(float *p, vf x, int64_t n) { acr__store_part(p, x, n); }
static inline vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
static inline vm v_gt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
static inline vm v_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
static inline vm v_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
static inline vf v_select(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }
static inline vf v_of(vi a) { return _mm256_castsi256_ps(a); }
static inline vi i_of(vf a) { return _mm256_castps_si256(a); }
static inline vi i_set1(uint32_t x) { return _mm256_set1_epi32((int32_t)x); }
static inline vi i_load(const uint32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline vi i_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
static inline vi i_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
static inline vi i_and(vi a, vi b) { return _mm256_and_si256(a, b); }
static inline vi i_or(vi a, vi b) { return _mm256_or_si256(a, b); }
static inline vi i_xor(vi a, vi b) { return _mm256_xor_si256(a, b); }
static inline vf v_of_int(vi a) { return _mm256_cvtepi32_ps(a); }
static inline vm i_ge_unsigned(vi a, vi b) { return v_of(_mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a)); }
static inline bool m_all(vm m) { return _mm256_movemask_ps(m) == 0xff; }
#define i_shl(a, n)  _mm256_slli_epi32(a, n)
#define i_sra(a, n)  _mm256_srai_epi32(a, n)
static inline float v_lane0(vf a) { return _mm256_cvtss_f32(a); }
static inline void i_product(vi a, uint32_t b, vi *low, vi *high)
{
    vi even = _mm256_mul_epu32(a, i_set1(b)), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), i_set1(b));
    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}
static inline void i_store_columns(uint32_t *p, vi a, vi b, vi c, vi d)
{
    vi ab0 = _mm256_unpacklo_epi32(a, b), ab1 = _mm256_unpackhi_epi32(a, b);
    vi cd0 = _mm256_unpacklo_epi32(c, d), cd1 = _mm256_unpackhi_epi32(c, d);
    vi row[4] = {_mm256_unpacklo_epi64(ab0, cd0), _mm256_unpackhi_epi64(ab0, cd0), _mm256_unpacklo_epi64(ab1, cd1),
                 _mm256_unpackhi_epi64(ab1, cd1)};
    for (int i = 0; i < 4; i++) {
        __m128i *to = (__m128i *)(void *)(p + 4 * i);
        _mm_storeu_si128(to, _mm256_castsi256_si128(row[i]));
        _mm_storeu_si128(to + 4, _mm256_extracti128_si256(row[i], 1));
    }
}
#define FOLD8(OP, c) _mm256_##OP##_ps((c)[1], (c)[0])

#elif defined(ACR_ISA_NEON)
#include <arm_neon.h>
enum { VL = 4 };
typedef float32x4_t vf;
typedef uint32x4_t vi;
typedef uint32x4_t vm;

static inline vf v_set1(float x) { return vdupq_n_f32(x); }
static inline vf v_load(const float *p) { return vld1q_f32(p); }
static inline void v_store(float *p, vf x) { vst1q_f32(p, x); }
static inline vm v_first(int64_t n)
{
    static const uint32_t lane[4] = {0, 1, 2, 3};
    return vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n));
}
static inline vf v_load_first(const float *p, int64_t n)
{
    float part[4] = {0};
    memcpy(part, p, (size_t)n * sizeof(float));
    return vld1q_f32(part);
}
static inline void v_store_first(float *p, vf x, int64_t n)
{
    float part[4];
    vst1q_f32(part, x);
    memcpy(p, part, (size_t)n * sizeof(float));
}
static inline vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf v_sqrt(vf a) { return vsqrtq_f32(a); }
static inline vm v_gt(vf a, vf b) { return vcgtq_f32(a, b); }
static inline vm v_le(vf a, vf b) { return vcleq_f32(a, b); }
static inline vm v_eq(vf a, vf b) { return vceqq_f32(a, b); }
static inline vf v_select(vm m, vf a, vf b) { return vbslq_f32(m, a, b); }
static inline vf v_of(vi a) { return vreinterpretq_f32_u32(a); }
static inline vi i_of(vf a) { return vreinterpretq_u32_f32(a); }
static inline vi i_set1(uint32_t x) { return vdupq_n_u32(x); }
static inline vi i_load(const uint32_t *p) { return vld1q_u32(p); }
static inline vi i_add(vi a, vi b) { return vaddq_u32(a, b); }
static inline vi i_sub(vi a, vi b) { return vsubq_u32(a, b); }
static inline vi i_and(vi a, vi b) { return vandq_u32(a, b); }
static inline vi i_or(vi a, vi b) { return vorrq_u32(a, b); }
static inline vi i_xor(vi a, vi b) { return veorq_u32(a, b); }
static inline vf v_of_int(vi a) { return vcvtq_f32_s32(vreinterpretq_s32_u32(a)); }
static inline vm i_ge_unsigned(vi a, vi b) { return vcgeq_u32(a, b); }
static inline bool m_all(vm m) { return vminvq_u32(m) != 0; }
#define i_shl(a, n) vshlq_n_u32(a, n)
#define i_sra(a, n) vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_u32(a), n))
static inline float v_lane0(vf a) { return vgetq_lane_f32(a, 0); }
static inline void i_product(vi a, uint32_t b, vi *low, vi *high)
{
    vi first = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(a), vdup_n_u32(b)));
    vi second = vreinterpretq_u32_u64(vmull_u32(vget_high_u32(a), vdup_n_u32(b)));
    *low = vuzp1q_u32(first, second);
    *high = vuzp2q_u32(first, second);
}
static inline void i_store_columns(uint32_t *p, vi a, vi b, vi c, vi d) { vst4q_u32(p, (uint32x4x4_t){{a, b, c, d}}); }
#endif

enum { VQ = 16 / VL };

/* -- words made of words ------------------------------------------------- */
static inline vf v_abs(vf a) { return v_of(i_and(i_of(a), i_set1(0x7fffffffu))); }
static inline vf v_neg(vf a) { return v_of(i_xor(i_of(a), i_set1(0x80000000u))); }
static inline vf v_copysign(vf size, vf sign)
{
    return v_of(i_or(i_and(i_of(size), i_set1(0x7fffffffu)), i_and(i_of(sign), i_set1(0x80000000u))));
}
static inline vm v_lt(vf a, vf b) { return v_gt(b, a); }

/* a > b ? a : b: a NaN in a is passed over */
static inline vf v_larger(vf a, vf b) { return v_select(v_gt(a, b), a, b); }

/* n elements are left from p on: all lanes, or the first n. n > 0. */
static inline vf v_get(const float *p, int64_t n) { return n >= VL ? v_load(p) : v_load_first(p, n); }
static inline void v_put(float *p, vf x, int64_t n)
{
    if (n >= VL)
        v_store(p, x);
    else
        v_store_first(p, x, n);
}
/* What a chain holds after the step: lanes past the end took none. */
static inline vf v_keep(int64_t n, vf after, vf before)
{
    return n >= VL ? after : v_select(v_first(n), after, before);
}

/* Goes through a row by rule 3: the vector of elements j + q*VL .. belongs to
 * chain vector q. */
#define ACR_EACH_CHAIN(cols)                 \
    for (int64_t j = 0; j < (cols); j += 16) \
        for (int q = 0; q < VQ && j + q * VL < (cols); q++)

/* -- rule 3's tree: c[i] op= c[i+8], +4, +2, +1 ----------------------------- */
#if defined(ACR_ISA_NEON)
#define TREE(NAME, OP)                             \
    static inline float NAME(const vf c[VQ])       \
    {                                              \
        vf t = OP(OP(c[3], c[1]), OP(c[2], c[0])); \
        t = OP(vextq_f32(t, t, 2), t);             \
        return v_lane0(OP(vextq_f32(t, t, 1), t)); \
    }
TREE(v_tree_add, v_add)
TREE(v_tree_max, v_larger)
#else
/* maxps(a, b) is a > b ? a : b */
#define TREE(NAME, OP)                                                                    \
    static inline float NAME(const vf c[VQ])                                              \
    {                                                                                     \
        __m256 h = FOLD8(OP, c);                                                          \
        __m128 t = _mm_##OP##_ps(_mm256_extractf128_ps(h, 1), _mm256_castps256_ps128(h)); \
        t = _mm_##OP##_ps(_mm_movehl_ps(t, t), t);                                        \
        return _mm_cvtss_f32(_mm_##OP##_ss(_mm_shuffle_ps(t, t, 1), t));                  \
    }
TREE(v_tree_add, add)
TREE(v_tree_max, max)
#endif
#undef TREE

#endif
