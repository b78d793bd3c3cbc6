/* gemm_vec.h: the few vector operations the products are made of, and the tile
 * sizes that suit each instruction set. Everything else in the family is the
 * same source for all of them.
 *
 * Invariant: v_fma is one rounding per lane, and nothing here mixes lanes except
 * v_transpose, which only moves data. */
#ifndef ACR_GEMM_VEC_H
#define ACR_GEMM_VEC_H

#include <stdint.h>

#if defined(UNROLL) /* as it was told */
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#define INLINE static inline __attribute__((always_inline))

/* V: lanes. NV: vectors in a panel of B. MR: most rows of a tile. AS: floats from
 * one depth to the next in a packed tile of A (MR rounded up to whole vectors).
 * DEPTH: depth of a block, so that a row tile of A stays in L1 while B streams by.
 * BLOCK: floats of a block of B packed into scratch, for L2. STREAM: floats of a
 * block of B streamed from where it lies, for L2 or, where that is small, for L3:
 * each block packs A again.
 * ROWS_ALL: the tiles of one panel; ROWS_TWO, TWO_MAX: of two panels at once, for
 * few rows. WIDTHS: vectors of a panel's tail. DEPTHS: that a tile takes at a time;
 * gcc spills a chain where there are more. FETCH_PACKED: whether a packed panel is
 * fetched ahead by instructions; some processors do as well by themselves. LINES: of
 * what is packed next, that a tile fetches beside DEPTHS depths; 0 leaves it to the
 * packing. COPY_A: whether known strides of A pay for copying rows that could be read
 * where they lie past a B that is packed already; with 28 multiply-adds a depth,
 * instructions are not what is short. PANEL_STEP: panels from one to the one that a tile
 * takes next (panel_step); 0, which is in order, where more was not seen to pay. */
#if defined(ACR_ISA_AVX512)

#include <immintrin.h>
enum { V = 16, NV = 2, MR = 14, AS = 16, DEPTH = 512, BLOCK = 114688, STREAM = 1 << 18, TWO_MAX = 7 };
#define ROWS_ALL(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define ROWS_TWO(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define WIDTHS(X) X(1) X(2)
enum { DEPTHS = 2, FETCH_PACKED = 1, LINES = 2, COPY_A = 0, PANEL_STEP = 5 };

typedef __m512 vec;
typedef __mmask16 vmask;
static inline vec v_zero(void) { return _mm512_setzero_ps(); }
static inline vec v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vec x) { _mm512_storeu_ps(p, x); }
static inline vec v_splat(const float *p) { return _mm512_set1_ps(*p); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec v_fma_in_place(vec a, vec b, vec c) { return v_fma(a, b, c); }
/* Of each lane's two the lesser, as integers. */
static inline vec v_least(vec a, vec b)
{
    return _mm512_castsi512_ps(_mm512_min_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
/* Keeps x in a register: a load would else be folded into each of its uses. */
static inline vec v_keep(vec x)
{
    __asm__("" : "+v"(x));
    return x;
}
/* The first n lanes, 1 <= n <= V; the others are neither read nor written. */
static inline vmask v_first(int64_t n) { return (vmask)(0xffffu >> (V - n)); }
static inline vec v_load_first(vmask m, const float *p) { return _mm512_maskz_loadu_ps(m, p); }
static inline void v_store_first(vmask m, float *p, vec x) { _mm512_mask_storeu_ps(p, m, x); }
/* The first n lanes of each x[i] to p + i * step; x is used up. */
INLINE void v_store_rows_first(vmask m, int rows, float *p, int64_t step, vec *x)
{
    for (int i = 0; i < rows; i++)
        v_store_first(m, p + i * step, x[i]);
}

static inline void v_transpose(vec r[V])
{
    __m512d q[V];
    for (int i = 0; i < V; i += 4) {
        vec ab_lo = _mm512_unpacklo_ps(r[i], r[i + 1]), ab_hi = _mm512_unpackhi_ps(r[i], r[i + 1]);
        vec cd_lo = _mm512_unpacklo_ps(r[i + 2], r[i + 3]), cd_hi = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
        q[i] = _mm512_unpacklo_pd(_mm512_castps_pd(ab_lo), _mm512_castps_pd(cd_lo));
        q[i + 1] = _mm512_unpackhi_pd(_mm512_castps_pd(ab_lo), _mm512_castps_pd(cd_lo));
        q[i + 2] = _mm512_unpacklo_pd(_mm512_castps_pd(ab_hi), _mm512_castps_pd(cd_hi));
        q[i + 3] = _mm512_unpackhi_pd(_mm512_castps_pd(ab_hi), _mm512_castps_pd(cd_hi));
    }
    /* Quarter s of q[4g + c] holds rows 4g .. 4g+3 of column 4s + c. */
    for (int c = 0; c < 4; c++) {
        vec g0 = _mm512_castpd_ps(q[c]), g1 = _mm512_castpd_ps(q[c + 4]);
        vec g2 = _mm512_castpd_ps(q[c + 8]), g3 = _mm512_castpd_ps(q[c + 12]);
        vec even01 = _mm512_shuffle_f32x4(g0, g1, 0x88), odd01 = _mm512_shuffle_f32x4(g0, g1, 0xdd);
        vec even23 = _mm512_shuffle_f32x4(g2, g3, 0x88), odd23 = _mm512_shuffle_f32x4(g2, g3, 0xdd);
        r[c] = _mm512_shuffle_f32x4(even01, even23, 0x88);
        r[c + 4] = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
        r[c + 8] = _mm512_shuffle_f32x4(even01, even23, 0xdd);
        r[c + 12] = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
    }
}

#elif defined(ACR_ISA_AVX2)

#include "kernel/cpu/part_avx2.h"
enum { V = 8, NV = 2, MR = 6, AS = 8, DEPTH = 1024, BLOCK = 114688, STREAM = 1 << 19, TWO_MAX = 3 };
#define ROWS_ALL(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define ROWS_TWO(X) X(1) X(2) X(3)
#define WIDTHS(X) X(1) X(2)
enum { DEPTHS = 3, FETCH_PACKED = 0, LINES = 0, COPY_A = 1, PANEL_STEP = 0 };

typedef __m256 vec;
typedef struct vmask {
    __m256i lanes;
    int64_t n;
} vmask;
static inline vec v_zero(void) { return _mm256_setzero_ps(); }
static inline vec v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, vec x) { _mm256_storeu_ps(p, x); }
static inline vec v_splat(const float *p) { return _mm256_broadcast_ss(p); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
/* For a tile that takes all registers: gcc would copy a chain here and there. */
static inline vec v_fma_in_place(vec a, vec b, vec c)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(c) : "x"(a), "x"(b));
    return c;
}
static inline vec v_least(vec a, vec b)
{
    return _mm256_castsi256_ps(_mm256_min_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
static inline vec v_keep(vec x)
{
    __asm__("" : "+x"(x));
    return x;
}
/* The first n lanes, 1 <= n <= V; the others are neither read nor written. */
static inline vmask v_first(int64_t n)
{
    return (vmask){_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)), n};
}
static inline vec v_load_first(vmask m, const float *p) { return _mm256_maskload_ps(p, m.lanes); }
static inline void v_store_first(vmask m, float *p, vec x) { acr__store_part(p, x, m.n); }
INLINE void v_store_rows_first(vmask m, int rows, float *p, int64_t step, vec *x)
{
    acr__store_parts(rows, p, step, x, m.n);
}

static inline void v_transpose(vec r[V])
{
    vec q[V];
    for (int i = 0; i < V; i += 4) {
        vec ab_lo = _mm256_unpacklo_ps(r[i], r[i + 1]), ab_hi = _mm256_unpackhi_ps(r[i], r[i + 1]);
        vec cd_lo = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), cd_hi = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        q[i] = _mm256_shuffle_ps(ab_lo, cd_lo, 0x44);
        q[i + 1] = _mm256_shuffle_ps(ab_lo, cd_lo, 0xee);
        q[i + 2] = _mm256_shuffle_ps(ab_hi, cd_hi, 0x44);
        q[i + 3] = _mm256_shuffle_ps(ab_hi, cd_hi, 0xee);
    }
    /* Half s of q[4g + c] holds rows 4g .. 4g+3 of column 4s + c. */
    for (int c = 0; c < 4; c++) {
        r[c] = _mm256_permute2f128_ps(q[c], q[c + 4], 0x20);
        r[c + 4] = _mm256_permute2f128_ps(q[c], q[c + 4], 0x31);
    }
}

#elif defined(ACR_ISA_NEON)

#include <arm_neon.h>
enum { V = 4, NV = 4, MR = 6, AS = 8, DEPTH = 512, BLOCK = 114688, STREAM = 1 << 18, TWO_MAX = 3 };
#define ROWS_ALL(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define ROWS_TWO(X) X(1) X(2) X(3)
#define WIDTHS(X) X(1) X(2) X(3) X(4)
enum { DEPTHS = 2, FETCH_PACKED = 1, LINES = 0, COPY_A = 1, PANEL_STEP = 0 };

typedef float32x4_t vec;
typedef int vmask;
static inline vec v_zero(void) { return vdupq_n_f32(0.0f); }
static inline vec v_load(const float *p) { return vld1q_f32(p); }
static inline void v_store(float *p, vec x) { vst1q_f32(p, x); }
static inline vec v_splat(const float *p) { return vld1q_dup_f32(p); }
static inline vec v_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
static inline vec v_fma_in_place(vec a, vec b, vec c) { return v_fma(a, b, c); }
static inline vec v_least(vec a, vec b)
{
    return vreinterpretq_f32_s32(vminq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b)));
}
static inline vec v_keep(vec x)
{
    __asm__("" : "+w"(x));
    return x;
}
/* The first n lanes, 1 <= n <= V; the others are neither read nor written. */
static inline vmask v_first(int64_t n) { return (vmask)n; }
static inline vec v_load_first(vmask n, const float *p)
{
    if (n == V)
        return vld1q_f32(p);
    vec x = vld1q_lane_f32(p, v_zero(), 0);
    if (n > 1)
        x = vld1q_lane_f32(p + 1, x, 1);
    if (n > 2)
        x = vld1q_lane_f32(p + 2, x, 2);
    return x;
}
static inline void v_store_first(vmask n, float *p, vec x)
{
    if (n == V) {
        vst1q_f32(p, x);
        return;
    }
    vst1q_lane_f32(p, x, 0);
    if (n > 1)
        vst1q_lane_f32(p + 1, x, 1);
    if (n > 2)
        vst1q_lane_f32(p + 2, x, 2);
}
INLINE void v_store_rows_first(vmask m, int rows, float *p, int64_t step, vec *x)
{
    for (int i = 0; i < rows; i++)
        v_store_first(m, p + i * step, x[i]);
}

static inline void v_transpose(vec r[V])
{
    float32x4x2_t ab = vtrnq_f32(r[0], r[1]), cd = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    r[1] = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    r[2] = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    r[3] = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
}

#else
#error "gemm_vec.h: compile with -DACR_ISA_AVX2, -DACR_ISA_AVX512 or -DACR_ISA_NEON"
#endif

enum { NR = V * NV };

/* The address may lie past the end of what is walked: it is an integer. */
INLINE void fetch_bytes_ahead(const void *p, int64_t bytes)
{
    __builtin_prefetch((const void *)((uintptr_t)p + (uintptr_t)bytes), 0, 3);
}

/* The same of what will be written: it is taken from who has it, once. */
INLINE void fetch_to_write(const void *p, int64_t bytes)
{
    __builtin_prefetch((const void *)((uintptr_t)p + (uintptr_t)bytes), 1, 3);
}

#endif
