/* emulate_avx512.h: what products in fp32 and bf16 take of AVX-512, AVX512_BF16 and AMX,
 * written out as Intel documents it, so that their sources can run where none of
 * these is. Put before such a source by -include, in a build for AVX2; its functions
 * get names of their own.
 *
 * Ordinary arithmetic follows MXCSR, as it would. VDPBF16PS, TDPBF16PS and the
 * conversion do not: they flush and round to nearest even, whatever it holds. */
#ifndef EMULATE_AVX512_H
#define EMULATE_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "base/bf16.h"
#include "base/fpenv.h"

#define acr__gemm_f32_avx512           emulated_gemm_f32_avx512
#define acr__pack_b_f32_avx512         emulated_pack_b_f32_avx512
#define acr__gemm_bf16_avx512          emulated_gemm_bf16_avx512
#define acr__pack_b_bf16_avx512        emulated_pack_b_bf16_avx512
#define acr__packed_bf16_avx512        emulated_packed_bf16_avx512
#define acr__round_bf16_avx512         emulated_round_bf16_avx512
#define acr__gemm_bf16_avx512_bf16     emulated_gemm_bf16_avx512_bf16
#define acr__pack_b_bf16_avx512_bf16   emulated_pack_b_bf16_avx512_bf16
#define acr__packed_bf16_avx512_bf16   emulated_packed_bf16_avx512_bf16
#define acr__round_bf16_avx512_bf16    emulated_round_bf16_avx512_bf16
#define acr__gemm_bf16_amx             emulated_gemm_bf16_amx
#define acr__pack_b_bf16_amx           emulated_pack_b_bf16_amx
#define acr__packed_bf16_amx           emulated_packed_bf16_amx
#define acr__round_bf16_amx            emulated_round_bf16_amx

/* v_keep asks for a register that is not there; it changes no value. */
#define __asm__(...)

/* Thousands of these in a row would take a compiler minutes: calls, in loops. */
#define UNROLL
#define EMU static __attribute__((noinline, unused))

/* The lanes of a vector. */
typedef union emu {
    __m512 v;
    __m512i i;
    __m512d d;
    __m256 half[2];
    float f[16];
    uint32_t u[16];
    uint16_t h[32];
    double q[8];
    uint64_t w[8];
} emu;
#define EMU_EACH(n) for (int k = 0; k < (n); k++)
#define EMU_PS(x)   ((emu){.v = (x)})
#define EMU_SI(x)   ((emu){.i = (x)})
#define EMU_PD(x)   ((emu){.d = (x)})

/* -- loads, stores, constants, casts -- */
EMU __m512 emu_load(const void *p) { emu r; memcpy(&r, p, sizeof r); return r.v; }
EMU __m512i emu_load_i(const void *p) { emu r; memcpy(&r, p, sizeof r); return r.i; }
EMU void emu_store(void *p, __m512 x) { memcpy(p, &x, sizeof x); }
EMU void emu_store_i(void *p, __m512i x) { memcpy(p, &x, sizeof x); }
EMU __m512 emu_maskz_load(__mmask16 m, const float *p)
{
    emu r = {0};
    EMU_EACH(16) if (m >> k & 1) r.f[k] = p[k];
    return r.v;
}
EMU void emu_mask_store(float *p, __mmask16 m, __m512 x)
{
    emu a = EMU_PS(x);
    EMU_EACH(16) if (m >> k & 1) p[k] = a.f[k];
}
EMU __m512 emu_set1(float x) { emu r; EMU_EACH(16) r.f[k] = x; return r.v; }
EMU __m512i emu_set1_i(int x) { emu r; EMU_EACH(16) r.u[k] = (uint32_t)x; return r.i; }
EMU __m512 emu_zero(void) { return emu_set1(0); }
EMU __m512i emu_zero_i(void) { return emu_set1_i(0); }
EMU __m512i emu_ps_si(__m512 x) { return EMU_PS(x).i; }
EMU __m512 emu_si_ps(__m512i x) { return EMU_SI(x).v; }
EMU __m512d emu_ps_pd(__m512 x) { return EMU_PS(x).d; }
EMU __m512 emu_pd_ps(__m512d x) { return EMU_PD(x).v; }
#define _mm512_loadu_ps emu_load
#define _mm512_loadu_si512 emu_load_i
#define _mm512_storeu_ps emu_store
#define _mm512_storeu_si512 emu_store_i
#define _mm512_maskz_loadu_ps emu_maskz_load
#define _mm512_mask_storeu_ps emu_mask_store
#define _mm512_set1_ps emu_set1
#define _mm512_set1_epi32 emu_set1_i
#define _mm512_setzero_ps emu_zero
#define _mm512_setzero_si512 emu_zero_i
#define _mm512_castps_si512 emu_ps_si
#define _mm512_castsi512_ps emu_si_ps
#define _mm512_castps_pd emu_ps_pd
#define _mm512_castpd_ps emu_pd_ps

/* -- integers -- */
#define EMU_INT2(name, op)                            \
    EMU __m512i name(__m512i x, __m512i y)            \
    {                                                 \
        emu a = EMU_SI(x), b = EMU_SI(y);             \
        EMU_EACH(16) a.u[k] = a.u[k] op b.u[k];       \
        return a.i;                                   \
    }
EMU_INT2(emu_and, &)
EMU_INT2(emu_or, |)
EMU_INT2(emu_add_i, +)
EMU __m512i emu_shl(__m512i x, unsigned n) { emu a = EMU_SI(x); EMU_EACH(16) a.u[k] <<= n; return a.i; }
EMU __m512i emu_shr(__m512i x, unsigned n) { emu a = EMU_SI(x); EMU_EACH(16) a.u[k] >>= n; return a.i; }
EMU __m512i emu_mask_mov(__m512i from, __mmask16 m, __m512i x)
{
    emu a = EMU_SI(from), b = EMU_SI(x);
    EMU_EACH(16) if (m >> k & 1) a.u[k] = b.u[k];
    return a.i;
}
EMU __m512i emu_min_i(__m512i x, __m512i y)
{
    emu a = EMU_SI(x), b = EMU_SI(y);
    EMU_EACH(16) a.u[k] = (int32_t)a.u[k] < (int32_t)b.u[k] ? a.u[k] : b.u[k];
    return a.i;
}
EMU __mmask16 emu_equal(__m512i x, __m512i y)
{
    emu a = EMU_SI(x), b = EMU_SI(y);
    unsigned m = 0;
    EMU_EACH(16) m |= (unsigned)(a.u[k] == b.u[k]) << k;
    return (__mmask16)m;
}
EMU __mmask16 emu_unordered(__m512 x, __m512 y)
{
    emu a = EMU_PS(x), b = EMU_PS(y);
    unsigned m = 0;
    EMU_EACH(16) m |= (unsigned)(a.f[k] != a.f[k] || b.f[k] != b.f[k]) << k;
    return (__mmask16)m;
}
EMU __m512i emu_widen(__m256i x) { emu r; uint16_t h[16]; memcpy(h, &x, sizeof h); EMU_EACH(16) r.u[k] = h[k]; return r.i; }
EMU __m256i emu_maskz_load_h(__mmask16 m, const void *p)
{
    uint16_t h[16] = {0};
    __m256i r;
    EMU_EACH(16) if (m >> k & 1) memcpy(&h[k], (const char *)p + 2 * k, 2);
    memcpy(&r, h, sizeof r);
    return r;
}
EMU __m256i emu_narrow(__m512i x)
{
    emu a = EMU_SI(x);
    uint16_t h[16];
    __m256i r;
    EMU_EACH(16) h[k] = (uint16_t)a.u[k];
    memcpy(&r, h, sizeof r);
    return r;
}
EMU __m512i emu_permute_h(__m512i order, __m512i x)
{
    emu o = EMU_SI(order), a = EMU_SI(x), r;
    EMU_EACH(32) r.h[k] = a.h[o.h[k] & 31];
    return r.i;
}
#define _mm512_and_si512 emu_and
#define _mm512_or_si512 emu_or
#define _mm512_add_epi32 emu_add_i
#define _mm512_min_epi32 emu_min_i
#define _mm512_mask_mov_epi32 emu_mask_mov
#define _mm512_cvtepu16_epi32 emu_widen
#define _mm512_cvtepi32_epi16 emu_narrow
#define _mm256_maskz_loadu_epi16 emu_maskz_load_h
#define _mm512_permutexvar_epi16 emu_permute_h
#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_cmp_ps_mask
#undef _mm512_cmpeq_epi32_mask
#define _mm512_slli_epi32(x, n) emu_shl(x, n)
#define _mm512_srli_epi32(x, n) emu_shr(x, n)
#define _mm512_cmpeq_epi32_mask(x, y) emu_equal(x, y)
#define _mm512_cmp_ps_mask(x, y, how) ((how) == _CMP_UNORD_Q ? emu_unordered(x, y) : (__mmask16)(1 / ((how) == _CMP_UNORD_Q)))

/* -- shuffles -- */
EMU __m512 emu_unpack_ps(__m512 x, __m512 y, int high)
{
    emu a = EMU_PS(x), b = EMU_PS(y), r;
    EMU_EACH(16) r.f[k] = (k % 2 ? b : a).f[k / 4 * 4 + high * 2 + k % 4 / 2];
    return r.v;
}
EMU __m512d emu_unpack_pd(__m512d x, __m512d y, int high)
{
    emu a = EMU_PD(x), b = EMU_PD(y), r;
    EMU_EACH(8) r.w[k] = (k % 2 ? b : a).w[k / 2 * 2 + high];
    return r.d;
}
EMU __m512 emu_shuffle_quarters(__m512 x, __m512 y, int how)
{
    emu a = EMU_PS(x), b = EMU_PS(y), r;
    EMU_EACH(16) r.u[k] = (k < 8 ? a : b).u[(how >> k / 4 * 2 & 3) * 4 + k % 4];
    return r.v;
}
#define _mm512_unpacklo_ps(x, y) emu_unpack_ps(x, y, 0)
#define _mm512_unpackhi_ps(x, y) emu_unpack_ps(x, y, 1)
#define _mm512_unpacklo_pd(x, y) emu_unpack_pd(x, y, 0)
#define _mm512_unpackhi_pd(x, y) emu_unpack_pd(x, y, 1)
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(x, y, how) emu_shuffle_quarters(x, y, how)

/* -- arithmetic, by MXCSR -- */
EMU __m512 emu_add(__m512 x, __m512 y)
{
    emu a = EMU_PS(x), b = EMU_PS(y);
    EMU_EACH(2) a.half[k] = _mm256_add_ps(a.half[k], b.half[k]);
    return a.v;
}
EMU __m512 emu_fma(__m512 x, __m512 y, __m512 z)
{
    emu a = EMU_PS(x), b = EMU_PS(y), c = EMU_PS(z);
    EMU_EACH(2) c.half[k] = _mm256_fmadd_ps(a.half[k], b.half[k], c.half[k]);
    return c.v;
}
#define _mm512_add_ps emu_add
#define _mm512_fmadd_ps emu_fma

/* -- bf16: FTZ, DAZ and nearest even always -- */
EMU __m512bh emu_to_bf16(__m512 high, __m512 low)
{
    emu a = EMU_PS(low), b = EMU_PS(high), r;
    EMU_EACH(16) r.h[k] = acr__bf16_operand(a.f[k]), r.h[16 + k] = acr__bf16_operand(b.f[k]);
    return (__m512bh)r.i;
}

static __attribute__((noinline, unused)) void emu_dot_lanes(float *c, const uint32_t *a, const uint32_t *b)
{
    for (int k = 0; k < 16; k++) {
        c[k] = __builtin_fmaf(acr__bf16_to_float((uint16_t)(a[k] >> 16)), acr__bf16_to_float((uint16_t)(b[k] >> 16)), c[k]);
        c[k] = __builtin_fmaf(acr__bf16_to_float((uint16_t)a[k]), acr__bf16_to_float((uint16_t)b[k]), c[k]);
    }
}

EMU __m512 emu_dot(__m512 c, __m512bh x, __m512bh y)
{
    emu r = EMU_PS(c), a = EMU_SI((__m512i)x), b = EMU_SI((__m512i)y);
    acr__fp before = acr__flush_enter();
    emu_dot_lanes(r.f, a.u, b.u);
    acr__flush_leave(before);
    return r.v;
}
#define _mm512_cvtne2ps_pbh emu_to_bf16
#define _mm512_dpbf16_ps emu_dot

/* -- tiles of 16 rows of 64 bytes -- */
static uint32_t emu_tiles[8][16][16] __attribute__((unused));
static int emu_configured __attribute__((unused));

EMU void emu_tile_config(const void *from)
{
    const uint8_t *p = from;
    uint16_t bytes;
    emu_configured = p[0] == 1 && p[1] == 0;
    for (int k = 0; k < 8; k++) {
        memcpy(&bytes, p + 16 + 2 * k, 2);
        emu_configured &= bytes == 64 && p[48 + k] == 16;
    }
    memset(emu_tiles, 0, sizeof emu_tiles);
}
EMU void emu_tile_load(int tile, const void *p, int64_t bytes)
{
    for (int r = 0; emu_configured && r < 16; r++)
        memcpy(emu_tiles[tile][r], (const char *)p + r * bytes, 64);
}
EMU void emu_tile_store(int tile, void *p, int64_t bytes)
{
    for (int r = 0; emu_configured && r < 16; r++)
        memcpy((char *)p + r * bytes, emu_tiles[tile][r], 64);
}

static __attribute__((noinline, unused)) void emu_tile_dot_lanes(uint32_t c[16][16], uint32_t a[16][16], uint32_t b[16][16])
{
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float sum[2] = {0, 0}, old;
            for (int k = 0; k < 16; k++)
                for (int half = 0; half < 2; half++)
                    sum[half] = __builtin_fmaf(acr__bf16_to_float((uint16_t)(a[m][k] >> 16 * half)),
                                               acr__bf16_to_float((uint16_t)(b[k][n] >> 16 * half)), sum[half]);
            memcpy(&old, &c[m][n], 4);
            old = old + (sum[0] + sum[1]);
            memcpy(&c[m][n], &old, 4);
        }
}

EMU void emu_tile_dot(int c, int a, int b)
{
    acr__fp before = acr__flush_enter();
    emu_tile_dot_lanes(emu_tiles[c], emu_tiles[a], emu_tiles[b]);
    acr__flush_leave(before);
}
#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(p) emu_tile_config(p)
#define _tile_release() (emu_configured = 0)
#define _tile_zero(t) memset(emu_tiles[t], 0, sizeof emu_tiles[t])
#define _tile_loadd(t, p, bytes) emu_tile_load(t, p, bytes)
#define _tile_stored(t, p, bytes) emu_tile_store(t, p, bytes)
#define _tile_dpbf16ps(c, a, b) emu_tile_dot(c, a, b)

#endif
