/* functions_impl.h: exp, log, sin, cos and pow in double precision, for files that
 * have them compiled in: functions.c, and kernels for processors with fma. Elsewhere
 * fma is a call, with the same result.
 *
 * Each reduces its argument exactly or to a double and a small tail, then sums a
 * Taylor series by Horner's rule in fma. Taylor rather than minimax: a few more
 * terms, but every coefficient is a fraction that can be read and checked. The
 * error left by each series is noted beside it; it is below 2^-58 of the result.
 *
 * Pairs (hi, lo) stand for the unevaluated sum hi + lo, |lo| <= ulp(hi)/2.
 * Invariant: no operation here depends on the compiler's contraction. */
#ifndef ACR_FUNCTIONS_IMPL_H
#define ACR_FUNCTIONS_IMPL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct pair {
    double hi, lo;
} pair;

static inline pair two_sum(double a, double b) /* exact, any magnitudes (Knuth) */
{
    double s = a + b, t = s - a;
    return (pair){s, (a - (s - t)) + (b - t)};
}
static inline pair quick_sum(double a, double b) /* exact if |a| >= |b| or a = 0 (Dekker) */
{
    double s = a + b;
    return (pair){s, b - (s - a)};
}
static inline pair two_mul(double a, double b)
{
    double p = a * b;
    return (pair){p, fma(a, b, -p)};
}
static inline pair pair_mul(pair a, pair b)
{
    pair p = two_mul(a.hi, b.hi);
    return quick_sum(p.hi, p.lo + fma(a.hi, b.lo, a.lo * b.hi));
}
static inline pair pair_add(pair a, pair b)
{
    pair s = two_sum(a.hi, b.hi);
    return quick_sum(s.hi, s.lo + (a.lo + b.lo));
}
static inline double horner(const double *c, int n, double x) /* c[0] + c[1] x + ... */
{
    double y = c[n - 1];
    for (int i = n - 2; i >= 0; i--)
        y = fma(y, x, c[i]);
    return y;
}

/* Nearest integer for |x| < 2^51: the sum has no bits below 1. */
static inline double nearest(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

/* 2^n, -1022 <= n <= 1023 */
static inline double exp2_int(int n)
{
    uint64_t bits = (uint64_t)(n + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ln 2 = HI + LO; HI has 11 zero bits at the end, so k*HI is exact for |k| < 2^11. */
static const double LN2_HI = 0x1.62e42fefa3800p-1, LN2_LO = 0x1.ef35793c76730p-45;
static const double LOG2_E = 0x1.71547652b82fep+0;

/* exp(x + tail), |tail| < ulp(x). exp(r) for |r| <= ln2/2: r^14/14! < 2^-57.6 */
static inline double exp_tail(double x, double tail)
{
    static const double c[] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                               1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                               1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    if (x != x)
        return NAN;
    if (x > 709.79)
        return INFINITY;
    if (x < -745.14)
        return 0.0;
    double k = nearest(x * LOG2_E);
    pair r = two_sum(fma(-k, LN2_HI, x), fma(-k, LN2_LO, tail));
    double y = 1.0 + (r.hi + fma(horner(c, 12, r.hi), r.hi * r.hi, r.lo));
    /* In two steps: 2^k itself may be outside the range of double. */
    int n = (int)k, half = n / 2;
    return y * exp2_int(half) * exp2_int(n - half);
}

static inline double f64_exp(double x) { return exp_tail(x, 0.0); }

/* x = m * 2^k with sqrt(1/2) <= m < sqrt(2); x > 0, finite. */
static inline double split(double x, int *k)
{
    int extra = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        extra = -54;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    /* Adding what lies between sqrt(1/2) and 1 carries into the exponent just
     * where the mantissa passes sqrt(2). */
    bits += UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd);
    *k = (int)(bits >> 52) - 1023 + extra;
    bits = (bits & UINT64_C(0x000fffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd);
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* With s = f/(2+f): log(1+f) = 2 (s + s^3/3 + s^5/5 + ...), |s| < 0.1716; the
 * first term left out is below 2^-61 of the sum. */
static const double ATANH[] = {2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11, 2.0 / 13,
                               2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21, 2.0 / 23};

static inline double f64_log(double x)
{
    if (x != x || x < 0)
        return NAN;
    if (x == 0)
        return -INFINITY;
    if (x == INFINITY)
        return x;
    int k;
    double f = split(x, &k) - 1.0;
    double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
    double series = z * horner(ATANH, 11, z);
    /* 2s = f - f^2/2 + s f^2/2 keeps the leading term exact (f is). */
    double rest = half - fma(s, half + series, k * LN2_LO);
    return fma(k, LN2_HI, f - rest);
}

/* log(x) to some 2^-64 relative: pow multiplies it by up to 745. s and the terms
 * to s^5 are pairs, the rest is below 2^-14 of the sum. */
static inline pair log_pair(double x)
{
    static const pair third = {0x1.5555555555555p-1, 0x1.5555555555555p-55};
    static const pair fifth = {0x1.999999999999ap-2, -0x1.999999999999ap-56};
    int k;
    double f = split(x, &k) - 1.0;
    pair den = two_sum(2.0, f), s;
    s.hi = f / den.hi;
    s.lo = (fma(-s.hi, den.hi, f) - s.hi * den.lo) / den.hi;
    pair z = pair_mul(s, s);
    double tail = z.hi * horner(ATANH + 2, 9, z.hi);
    pair series = pair_add(fifth, (pair){tail, 0});
    series = pair_add(third, pair_mul(z, series));
    series = pair_mul(pair_mul(z, s), series);
    pair sum = pair_add((pair){2 * s.hi, 2 * s.lo}, series);
    return pair_add((pair){k * LN2_HI, 0}, pair_add((pair){k * LN2_LO, 0}, sum));
}

static inline double f64_pow(double base, double exponent)
{
    if (!(base > 0) || base == INFINITY || exponent != exponent)
        return NAN;
    pair l = log_pair(base);
    pair p = two_mul(exponent, l.hi);
    if (!(p.hi > -1000 && p.hi < 1000)) /* out of range either way, and p.lo may be NaN */
        return exp_tail(p.hi, 0.0);
    p = quick_sum(p.hi, fma(exponent, l.lo, p.lo));
    return exp_tail(p.hi, p.lo);
}

static inline double powi_plain(double base, uint64_t n)
{
    double y = 1.0;
    for (; n; n >>= 1, base *= base)
        if (n & 1)
            y *= base;
    return y;
}

static inline double f64_powi(double base, uint64_t n)
{
    const uint64_t n0 = n; /* pairs meet Inf - Inf where the result is infinite */
    pair y = {1.0, 0.0}, square = {base, 0.0};
    for (; n; n >>= 1) {
        if (n & 1)
            y = pair_mul(y, square);
        if (n > 1)
            square = pair_mul(square, square);
    }
    return y.hi == y.hi ? y.hi + y.lo : powi_plain(base, n0);
}

/* x = n pi/2 + (r.hi + r.lo), |r| <= pi/4 (and a little); returns n mod 4.
 * pi/2 in parts of 26 bits makes n*P1 .. n*P3 exact for n < 2^27; the first
 * subtraction is exact too, because x and n*P1 are close. */
static inline int reduce(double x, pair *r)
{
    static const double P1 = 0x1.921fb50000000p+0, P2 = 0x1.110b460000000p-26, P3 = 0x1.1a62630000000p-54,
                        P4 = 0x1.8a2e03707344ap-81;
    double n = nearest(x * 0x1.45f306dc9c883p-1); /* 2/pi */
    pair a = two_sum(fma(-n, P1, x), -n * P2);
    pair b = two_sum(a.hi, -n * P3);
    *r = quick_sum(b.hi, b.lo + fma(-n, P4, a.lo));
    return (int)((int64_t)n & 3);
}

/* sin(r) and cos(r) for |r| <= pi/4; what is left out is below 2^-60 of the sum. */
static inline double sin_series(pair r)
{
    static const double c[] = {-1.0 / 6,
                               1.0 / 120,
                               -1.0 / 5040,
                               1.0 / 362880,
                               -1.0 / 39916800,
                               1.0 / 6227020800.0,
                               -1.0 / 1307674368000.0,
                               1.0 / 355687428096000.0};
    double z = r.hi * r.hi;
    double tail = fma(-0.5 * z, r.lo, r.lo); /* r.lo * cos(r) */
    return r.hi + fma(horner(c, 8, z), z * r.hi, tail);
}
static inline double cos_series(pair r)
{
    static const double c[] = {1.0 / 24,
                               -1.0 / 720,
                               1.0 / 40320,
                               -1.0 / 3628800,
                               1.0 / 479001600,
                               -1.0 / 87178291200.0,
                               1.0 / 20922789888000.0,
                               -1.0 / 6402373705728000.0};
    double z = r.hi * r.hi, half = 0.5 * z;
    double top = 1.0 - half; /* what its rounding lost is (1 - top) - half, exactly */
    double tail = fma(-r.hi, r.lo, (1.0 - top) - half);
    return top + fma(horner(c, 8, z), z * z, tail);
}

/* sin(x + quarter * pi/2) */
static inline double circular(double x, int quarter)
{
    if (!(fabs(x) <= 67108864.0)) /* 2^26; NaN too */
        return NAN;
    pair r;
    int q = (reduce(x, &r) + quarter) & 3;
    double y = q & 1 ? cos_series(r) : sin_series(r);
    return q & 2 ? -y : y;
}

static inline double f64_sin(double x) { return x == 0 ? x : circular(x, 0); }

static inline double f64_cos(double x) { return circular(x, 1); }

#endif
