/* ref_functions.h: `real`, its functions, and what each activation is.
 *
 * The files ref*.c are built twice: over float (the table `scalar`, the
 * definition every other table is compared with, byte for byte) and with
 * ACR_REAL64 over double (the table `ref64`).
 *
 * Invariant: in fp32 each function is a fixed sequence of IEEE operations, fma
 * where r_fma is written, with no branch that changes a result's bits between
 * this text and cpu/functions.h. At most 2 ulp (tests/unit/test_functions.c).
 *
 * In ref64 exp, log, tanh and erf are libm's. It is the oracle of gradient
 * checks and of `accrue verify`'s error figure: no trained bit comes from it,
 * and an oracle made by other hands is the better one. */
#ifndef ACR_REF_FUNCTIONS_H
#define ACR_REF_FUNCTIONS_H

#include "kernel/constants.h"
#include "kernel/kernel.h"
#include <math.h>
#include <string.h>

#ifdef ACR_REAL64
typedef double real;
#define ACR_REF(name) acr__##name##_ref64
static inline real r_fma(real a, real b, real c) { return __builtin_fma(a, b, c); }
static inline real r_sqrt(real x) { return sqrt(x); }
static inline real r_abs(real x) { return fabs(x); }
static inline real r_exp(real x) { return exp(x); }
static inline real r_log(real x) { return log(x); }
static inline real r_log1p(real x) { return log1p(x); }
static inline real r_tanh(real x) { return tanh(x); }
static inline real r_erf(real x) { return erf(x); }
#else
typedef float real;
#define ACR_REF(name) acr__##name##_scalar
static inline real r_fma(real a, real b, real c) { return __builtin_fmaf(a, b, c); }
static inline real r_sqrt(real x) { return sqrtf(x); }
static inline real r_abs(real x) { return fabsf(x); }

static inline uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* 2^n for -126 <= n <= 127; anything for another n (the caller's value is NaN then) */
static inline float power_of_two(uint32_t n) { return float_of((n + 127u) << 23); }

/* exp(x) = 2^n exp(r), n = rint(x / ln 2). The power is applied in two exact
 * halves, so a subnormal result is rounded once and n = 128 does not overflow. */
static inline real r_exp(real x)
{
    x = x > ACR_EXP_HIGH ? ACR_EXP_HIGH : x;
    x = x < ACR_EXP_LOW ? ACR_EXP_LOW : x;
    float t = r_fma(x, ACR_LOG2E, ACR_ROUND);
    float n = t - ACR_ROUND;
    float r = r_fma(n, -ACR_EXP_LN2_HIGH, x);
    r = r_fma(n, -ACR_EXP_LN2_LOW, r);
    float p = r_fma(ACR_E6, r, ACR_E5);
    p = r_fma(p, r, ACR_E4);
    p = r_fma(p, r, ACR_E3);
    p = r_fma(p, r, ACR_E2);
    p = r_fma(p, r, 1.0f);
    p = r_fma(p, r, 1.0f);
    uint32_t i = bits_of(t) - ACR_ROUND_BITS;
    uint32_t half = (i >> 1) | (i & 0x80000000u); /* an arithmetic shift */
    return p * power_of_two(half) * power_of_two(i - half);
}

/* log(x) = e ln 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)). */
static inline real r_log(real x)
{
    float scaled = x < 0x1p-126f ? x * 0x1p+24f : x;
    float e0 = x < 0x1p-126f ? -24.0f : 0.0f;
    uint32_t u = bits_of(scaled) - ACR_SQRT_HALF_BITS;
    uint32_t exponent = (u >> 23) - ((u >> 31) << 9); /* an arithmetic shift */
    float e = (float)(int32_t)exponent + e0;
    float f = float_of((u & 0x7fffffu) + ACR_SQRT_HALF_BITS) - 1.0f;
    float p = r_fma(ACR_L8, f, ACR_L7);
    p = r_fma(p, f, ACR_L6);
    p = r_fma(p, f, ACR_L5);
    p = r_fma(p, f, ACR_L4);
    p = r_fma(p, f, ACR_L3);
    p = r_fma(p, f, ACR_L2);
    p = r_fma(p, f, ACR_L1);
    p = r_fma(p, f, ACR_L0);
    float f2 = f * f;
    p = r_fma(p, f, -0.5f);
    p = r_fma(e, ACR_LN2_LOW, p * f2);
    p = p + f;
    float y = r_fma(e, ACR_LN2_HIGH, p);
    y = x < INFINITY ? y : x; /* +inf and NaN are their own logarithm */
    y = x == 0.0f ? -INFINITY : y;
    return x < 0.0f ? NAN : y;
}

/* log(1 + z) for 0 <= z <= 1: what 1 + z rounds away is put back. */
static inline real r_log1p(real z)
{
    float u = 1.0f + z;
    float lost = z - (u - 1.0f);
    return r_log(u) + lost / u;
}

static inline real r_tanh(real x)
{
    float a = r_abs(x);
    float a2 = a * a;
    float p = r_fma(ACR_T5, a2, ACR_T4);
    p = r_fma(p, a2, ACR_T3);
    p = r_fma(p, a2, ACR_T2);
    p = r_fma(p, a2, ACR_T1);
    p = r_fma(p, a2, ACR_T0);
    float small = r_fma(a * a2, p, a);
    float large = 1.0f - 2.0f / (r_exp(a + a) + 1.0f);
    return copysignf(a < ACR_TANH_SPLIT ? small : large, x);
}

static inline real r_erf(real x)
{
    float a = r_abs(x);
    a = a > ACR_ERF_HIGH ? ACR_ERF_HIGH : a;
    float a2 = a * a;
    float p = r_fma(ACR_S6, a2, ACR_S5);
    p = r_fma(p, a2, ACR_S4);
    p = r_fma(p, a2, ACR_S3);
    p = r_fma(p, a2, ACR_S2);
    p = r_fma(p, a2, ACR_S1);
    p = r_fma(p, a2, ACR_S0);
    float small = r_fma(a, p, a);
    float q = r_fma(ACR_G7, a, ACR_G6);
    q = r_fma(q, a, ACR_G5);
    q = r_fma(q, a, ACR_G4);
    q = r_fma(q, a, ACR_G3);
    q = r_fma(q, a, ACR_G2);
    q = r_fma(q, a, ACR_G1);
    q = r_fma(q, a, ACR_G0);
    float large = 1.0f - r_exp(-q);
    return copysignf(a < ACR_ERF_SPLIT ? small : large, x);
}
#endif

/* 1/(1 + e^-x), without overflow on either side: one step of refinement on the
 * quotient takes back what the division and 1 + z round away. */
static inline real r_sigmoid(real x)
{
    real z = r_exp(-r_abs(x)), one = 1;
    real numerator = x < 0 ? z : one;
    real d = one + z;
    real lost = z - (d - one);
    real inverse = one / d;
    real q = numerator * inverse;
    real rest = r_fma(-q, lost, r_fma(-q, d, numerator));
    return r_fma(rest, inverse, q);
}

/* -- activations ---------------------------------------------------------
 *   relu         x > 0 ? x : (NaN ? x : +0)
 *   leaky_relu   x > 0 ? x : slope*x
 *   gelu         h + h*erf(x/sqrt 2),                     h = x/2
 *   gelu_tanh    h + h*tanh(x*(K + K3 x^2)),              K = sqrt(2/pi), K3 = 0.044715 K
 *   silu         x*sigmoid(x)
 * `+ a*b` is one fma throughout. */
static inline real r_gelu_inner(real x, real coefficient) { return r_fma(x * x, coefficient, (real)ACR_GELU_K); }

static inline real r_unary(enum acr_unary f, real slope, real x)
{
    real h = (real)0.5 * x;
    switch (f) {
    case ACR_RELU: return x > 0 ? x : (x != x ? x : 0);
    case ACR_LEAKY_RELU: return x > 0 ? x : slope * x;
    case ACR_GELU: return r_fma(h, r_erf(x * (real)ACR_SQRT1_2), h);
    case ACR_GELU_TANH: return r_fma(h, r_tanh(x * r_gelu_inner(x, (real)ACR_GELU_K3)), h);
    case ACR_SILU: return x * r_sigmoid(x);
    case ACR_TANH: return r_tanh(x);
    case ACR_SIGMOID: return r_sigmoid(x);
    }
    return x;
}

/* Their derivatives, from what forward saved (s): the output y for relu,
 * leaky_relu, tanh and sigmoid, the input x for the others.
 *   relu         y <= 0 ? +0 : dy  (a NaN lets dy through)
 *   leaky_relu   y > 0 ? dy : slope*dy  (the slope is not negative)
 *   gelu         Phi + x phi:  Phi = 1/2 + erf(x/sqrt 2)/2,  phi = exp(-x^2/2)/sqrt(2 pi)
 *   gelu_tanh    (1/2 + t/2) + (h (1 - t^2)) (K + 3 K3 x^2)
 *   silu         s (1 + x (1 - s))
 *   tanh         1 - y^2
 *   sigmoid      y (1 - y) */
static inline real r_unary_back(enum acr_unary f, real slope, real dy, real s)
{
    real d = 0, t;
    switch (f) {
    case ACR_RELU: return s <= 0 ? 0 : dy;
    case ACR_LEAKY_RELU: return s > 0 ? dy : slope * dy;
    case ACR_GELU:
        t = r_exp((real)-0.5 * s * s) * (real)ACR_1_SQRT2PI;
        d = r_fma(s, t, r_fma((real)0.5, r_erf(s * (real)ACR_SQRT1_2), (real)0.5));
        break;
    case ACR_GELU_TANH:
        t = r_tanh(s * r_gelu_inner(s, (real)ACR_GELU_K3));
        d = (real)0.5 * s * r_fma(-t, t, 1);
        d = r_fma(d, r_gelu_inner(s, (real)ACR_GELU_K9), r_fma((real)0.5, t, (real)0.5));
        break;
    case ACR_SILU:
        t = r_sigmoid(s);
        d = t * r_fma(s, 1 - t, 1);
        break;
    case ACR_TANH: d = r_fma(-s, s, 1); break;
    case ACR_SIGMOID: d = s * (1 - s); break;
    }
    return dy * d;
}

/* fmaf is correctly rounded whoever computes it, so where the processor has the
 * instruction a chain may be compiled to it: the same bits, without a call per
 * step. The build for baseline x86-64 would otherwise always call libm. What is
 * FLATTEN is compiled into a function for each. */
#if defined(__x86_64__) && !defined(__FMA__)
#define ACR_TRY_FMA 1
#define FLATTEN     inline __attribute__((always_inline))
#else
#define FLATTEN inline
#endif

/* Rule 3: element i in chain i mod 16, then the tree +8, +4, +2, +1. */
static inline real r_tree(real c[16])
{
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            c[i] += c[i + step];
    return c[0];
}

/* The largest element, NaN passed over, -inf if there is none: 16 chains and the
 * same tree, so that even which zero it is does not depend on the path. */
static inline real r_row_max(int64_t cols, const real *x)
{
    real c[16];
    for (int i = 0; i < 16; i++)
        c[i] = -INFINITY;
    for (int64_t j = 0; j < cols; j++)
        c[j & 15] = x[j] > c[j & 15] ? x[j] : c[j & 15];
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            c[i] = c[i + step] > c[i] ? c[i + step] : c[i];
    return c[0];
}

#endif
