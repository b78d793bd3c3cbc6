/* constants.h: the numbers of canon 1 that the fp32 functions are made of.
 *
 * The scalar functions (ref_functions.h) and the vector ones (cpu/functions.h)
 * are two texts of the same sequence of operations; what they share is here, so
 * that a coefficient can't differ between them. Changing any of these changes
 * every trained weight: it needs a new `numerics` number.
 *
 * Polynomials interpolate at Chebyshev nodes of the interval named (the large
 * branch of erf: least squares weighted by erfc), computed with 200 bits and
 * rounded to float; the low-order terms of each function are exact and not
 * listed. tests/unit/test_functions.c holds the errors against MPFR. */
#ifndef ACR_CONSTANTS_H
#define ACR_CONSTANTS_H

/* exp: |r| <= ln(2)/2, exp(r) = 1 + r + r^2 (E2 + E3 r + ...) */
#define ACR_EXP_HIGH 89.0f  /* above it the result is +inf */
#define ACR_EXP_LOW -104.0f /* below it the result is +0 */
#define ACR_LOG2E 0x1.715476p+0f
#define ACR_EXP_LN2_HIGH 0x1.63p-1f /* few bits: n times it is exact, and so is x - that */
#define ACR_EXP_LN2_LOW -0x1.bd0106p-13f
#define ACR_ROUND 0x1.8p+23f /* adding it rounds to an integer, kept in the low bits */
#define ACR_ROUND_BITS 0x4b400000
#define ACR_E2 0x1p-1f
#define ACR_E3 0x1.5554dcp-3f
#define ACR_E4 0x1.555516p-5f
#define ACR_E5 0x1.120bf6p-7f
#define ACR_E6 0x1.6d1508p-10f

/* log: sqrt(1/2) - 1 <= f <= sqrt(2) - 1, log(1 + f) = f - f^2/2 + f^3 (L0 + L1 f + ...) */
#define ACR_SQRT_HALF_BITS 0x3f3504f3
#define ACR_LN2_HIGH 0x1.62e43p-1f
#define ACR_LN2_LOW -0x1.05c61p-29f
#define ACR_L0 0x1.555554p-2f
#define ACR_L1 -0x1.fffffcp-3f
#define ACR_L2 0x1.999d5ap-3f
#define ACR_L3 -0x1.555b4ap-3f
#define ACR_L4 0x1.23d21ap-3f
#define ACR_L5 -0x1.fcf4c6p-4f
#define ACR_L6 0x1.dea282p-4f
#define ACR_L7 -0x1.d635bcp-4f
#define ACR_L8 0x1.1d8ea6p-4f

/* tanh below TANH_SPLIT: a + a^3 (T0 + T1 a^2 + ...) */
#define ACR_TANH_SPLIT 0.625f
#define ACR_T0 -0x1.555556p-2f
#define ACR_T1 0x1.1110eap-3f
#define ACR_T2 -0x1.ba08c4p-5f
#define ACR_T3 0x1.64a976p-6f
#define ACR_T4 -0x1.116a1p-7f
#define ACR_T5 0x1.2c83a8p-9f

/* erf below ERF_SPLIT: a + a (S0 + S1 a^2 + ...); to ERF_HIGH: 1 - exp(-(G0 + G1 a + ...)) */
#define ACR_ERF_SPLIT 0.921875f
#define ACR_ERF_HIGH 4.0f /* erf rounds to 1 from here on */
#define ACR_S0 0x1.06eba8p-3f
#define ACR_S1 -0x1.812744p-2f
#define ACR_S2 0x1.ce2e2ap-4f
#define ACR_S3 -0x1.b81144p-6f
#define ACR_S4 0x1.54e1dap-8f
#define ACR_S5 -0x1.ab2354p-11f
#define ACR_S6 0x1.5fc44ep-14f
#define ACR_G0 -0x1.37cae4p-13f
#define ACR_G1 0x1.211f9ap+0f
#define ACR_G2 0x1.4467cap-1f
#define ACR_G3 0x1.ba5a4cp-4f
#define ACR_G4 -0x1.98909p-6f
#define ACR_G5 0x1.0cdd22p-8f
#define ACR_G6 -0x1.b90d98p-12f
#define ACR_G7 0x1.4e7a8cp-16f

/* activations: doubles, each rounded to `real` once */
#define ACR_SQRT1_2 0x1.6a09e667f3bcdp-1   /* 1/sqrt(2), gelu's argument */
#define ACR_1_SQRT2PI 0x1.9884533d43651p-2 /* 1/sqrt(2 pi), the normal density */
#define ACR_GELU_K 0x1.9884533d43651p-1    /* sqrt(2/pi) */
#define ACR_GELU_K3 (ACR_GELU_K * 0.044715)
#define ACR_GELU_K9 (ACR_GELU_K * 3 * 0.044715)

#endif
