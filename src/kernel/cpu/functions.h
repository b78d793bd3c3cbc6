/* functions.h: the fp32 functions over vectors: the same operations in the same
 * order as src/kernel/ref_functions.h, where each is explained; constants.h is
 * shared. tests/unit/test_kernels.c compares the two texts byte for byte. */
#ifndef ACR_CPU_FUNCTIONS_H
#define ACR_CPU_FUNCTIONS_H

#include "kernel/constants.h"
#include "kernel/cpu/simd.h"
#include "kernel/kernel.h"
#include <math.h>

/* fma(p, x, coefficient): one step of Horner's rule */
static inline vf v_step(vf p, vf x, float coefficient) { return v_fma(p, x, v_set1(coefficient)); }

static inline vf v_power_of_two(vi n) { return v_of(i_shl(i_add(n, i_set1(127)), 23)); }

static inline vf v_exp(vf x)
{
    x = v_select(v_gt(x, v_set1(ACR_EXP_HIGH)), v_set1(ACR_EXP_HIGH), x);
    x = v_select(v_lt(x, v_set1(ACR_EXP_LOW)), v_set1(ACR_EXP_LOW), x);
    vf t = v_step(x, v_set1(ACR_LOG2E), ACR_ROUND);
    vf n = v_sub(t, v_set1(ACR_ROUND));
    vf r = v_fma(n, v_set1(-ACR_EXP_LN2_HIGH), x);
    r = v_fma(n, v_set1(-ACR_EXP_LN2_LOW), r);
    vf p = v_step(v_set1(ACR_E6), r, ACR_E5);
    p = v_step(p, r, ACR_E4);
    p = v_step(p, r, ACR_E3);
    p = v_step(p, r, ACR_E2);
    p = v_step(p, r, 1.0f);
    p = v_step(p, r, 1.0f);
    vi i = i_sub(i_of(t), i_set1(ACR_ROUND_BITS));
    vi half = i_sra(i, 1);
    return v_mul(v_mul(p, v_power_of_two(half)), v_power_of_two(i_sub(i, half)));
}

static inline vf v_log(vf x)
{
    vm tiny = v_lt(x, v_set1(0x1p-126f));
    vf scaled = v_select(tiny, v_mul(x, v_set1(0x1p+24f)), x);
    vf e0 = v_select(tiny, v_set1(-24.0f), v_set1(0.0f));
    vi u = i_sub(i_of(scaled), i_set1(ACR_SQRT_HALF_BITS));
    vf e = v_add(v_of_int(i_sra(u, 23)), e0);
    vf f = v_sub(v_of(i_add(i_and(u, i_set1(0x7fffff)), i_set1(ACR_SQRT_HALF_BITS))), v_set1(1.0f));
    vf p = v_step(v_set1(ACR_L8), f, ACR_L7);
    p = v_step(p, f, ACR_L6);
    p = v_step(p, f, ACR_L5);
    p = v_step(p, f, ACR_L4);
    p = v_step(p, f, ACR_L3);
    p = v_step(p, f, ACR_L2);
    p = v_step(p, f, ACR_L1);
    p = v_step(p, f, ACR_L0);
    vf f2 = v_mul(f, f);
    p = v_step(p, f, -0.5f);
    p = v_fma(e, v_set1(ACR_LN2_LOW), v_mul(p, f2));
    p = v_add(p, f);
    vf y = v_fma(e, v_set1(ACR_LN2_HIGH), p);
    y = v_select(v_lt(x, v_set1(INFINITY)), y, x);
    y = v_select(v_eq(x, v_set1(0.0f)), v_set1(-INFINITY), y);
    return v_select(v_lt(x, v_set1(0.0f)), v_set1(NAN), y);
}

static inline vf v_log1p(vf z)
{
    vf u = v_add(v_set1(1.0f), z);
    vf lost = v_sub(z, v_sub(u, v_set1(1.0f)));
    return v_add(v_log(u), v_div(lost, u));
}

static inline vf v_tanh(vf x)
{
    vf a = v_abs(x);
    vf a2 = v_mul(a, a);
    vf p = v_step(v_set1(ACR_T5), a2, ACR_T4);
    p = v_step(p, a2, ACR_T3);
    p = v_step(p, a2, ACR_T2);
    p = v_step(p, a2, ACR_T1);
    p = v_step(p, a2, ACR_T0);
    vf small = v_fma(v_mul(a, a2), p, a);
    vf one = v_set1(1.0f);
    vf large = v_sub(one, v_div(v_set1(2.0f), v_add(v_exp(v_add(a, a)), one)));
    return v_copysign(v_select(v_lt(a, v_set1(ACR_TANH_SPLIT)), small, large), x);
}

static inline vf v_erf(vf x)
{
    vf a = v_abs(x);
    a = v_select(v_gt(a, v_set1(ACR_ERF_HIGH)), v_set1(ACR_ERF_HIGH), a);
    vf a2 = v_mul(a, a);
    vf p = v_step(v_set1(ACR_S6), a2, ACR_S5);
    p = v_step(p, a2, ACR_S4);
    p = v_step(p, a2, ACR_S3);
    p = v_step(p, a2, ACR_S2);
    p = v_step(p, a2, ACR_S1);
    p = v_step(p, a2, ACR_S0);
    vf small = v_fma(a, p, a);
    vf q = v_step(v_set1(ACR_G7), a, ACR_G6);
    q = v_step(q, a, ACR_G5);
    q = v_step(q, a, ACR_G4);
    q = v_step(q, a, ACR_G3);
    q = v_step(q, a, ACR_G2);
    q = v_step(q, a, ACR_G1);
    q = v_step(q, a, ACR_G0);
    vf large = v_sub(v_set1(1.0f), v_exp(v_neg(q)));
    return v_copysign(v_select(v_lt(a, v_set1(ACR_ERF_SPLIT)), small, large), x);
}

static inline vf v_sigmoid(vf x)
{
    vf z = v_exp(v_neg(v_abs(x))), one = v_set1(1.0f);
    vf numerator = v_select(v_lt(x, v_set1(0.0f)), z, one);
    vf d = v_add(one, z);
    vf lost = v_sub(z, v_sub(d, one));
    vf inverse = v_div(one, d);
    vf q = v_mul(numerator, inverse), minus = v_neg(q);
    vf rest = v_fma(minus, lost, v_fma(minus, d, numerator));
    return v_fma(rest, inverse, q);
}

static inline vf v_relu(vf x) { return v_select(v_le(x, v_set1(0.0f)), v_set1(0.0f), x); }

static inline vf v_gelu_inner(vf x, float coefficient)
{
    return v_step(v_mul(x, x), v_set1(coefficient), (float)ACR_GELU_K);
}

static inline vf v_unary(enum acr_unary f, vf slope, vf x)
{
    vf h = v_mul(v_set1(0.5f), x);
    switch (f) {
    case ACR_RELU: return v_relu(x);
    case ACR_LEAKY_RELU: return v_select(v_gt(x, v_set1(0.0f)), x, v_mul(slope, x));
    case ACR_GELU: return v_fma(h, v_erf(v_mul(x, v_set1((float)ACR_SQRT1_2))), h);
    case ACR_GELU_TANH: return v_fma(h, v_tanh(v_mul(x, v_gelu_inner(x, (float)ACR_GELU_K3))), h);
    case ACR_SILU: return v_mul(x, v_sigmoid(x));
    case ACR_TANH: return v_tanh(x);
    case ACR_SIGMOID: return v_sigmoid(x);
    }
    return x;
}

static inline vf v_unary_back(enum acr_unary f, vf slope, vf dy, vf s)
{
    vf zero = v_set1(0.0f), half = v_set1(0.5f), one = v_set1(1.0f), d = zero, t;
    switch (f) {
    case ACR_RELU: return v_select(v_le(s, zero), zero, dy);
    case ACR_LEAKY_RELU: return v_select(v_gt(s, zero), dy, v_mul(slope, dy));
    case ACR_GELU:
        t = v_mul(v_exp(v_mul(v_mul(v_set1(-0.5f), s), s)), v_set1((float)ACR_1_SQRT2PI));
        d = v_fma(s, t, v_fma(half, v_erf(v_mul(s, v_set1((float)ACR_SQRT1_2))), half));
        break;
    case ACR_GELU_TANH:
        t = v_tanh(v_mul(s, v_gelu_inner(s, (float)ACR_GELU_K3)));
        d = v_mul(v_mul(half, s), v_fma(v_neg(t), t, one));
        d = v_fma(d, v_gelu_inner(s, (float)ACR_GELU_K9), v_fma(half, t, half));
        break;
    case ACR_SILU:
        t = v_sigmoid(s);
        d = v_mul(t, v_fma(s, v_sub(one, t), one));
        break;
    case ACR_TANH: d = v_fma(v_neg(s), s, one); break;
    case ACR_SIGMOID: d = v_mul(s, v_sub(one, s)); break;
    }
    return v_mul(dy, d);
}

static inline float v_row_max(int64_t cols, const float *x)
{
    vf c[VQ];
    for (int q = 0; q < VQ; q++)
        c[q] = v_set1(-INFINITY);
    for (int64_t j = 0; j < cols; j += 16)
        for (int q = 0; q < VQ && j + q * VL < cols; q++) {
            int64_t n = cols - j - q * VL;
            c[q] = v_keep(n, v_larger(v_get(x + j + q * VL, n), c[q]), c[q]);
        }
    return v_tree_max(c);
}

/* The start of rule 3's chains */
static inline void v_chains(vf c[VQ])
{
    for (int q = 0; q < VQ; q++)
        c[q] = v_set1(0.0f);
}

#endif
