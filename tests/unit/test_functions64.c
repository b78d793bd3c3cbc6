/* test_functions64.c: the fp64 functions against MPFR, their special values, and
 * their very bits: the canon rests on them, so a sum over many results is
 * committed here and must come out on every machine. */
#include "base/functions.h"
#include "base/philox.h"
#include <math.h>
#include <mpfr.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = 10000 };

static double uniform(uint32_t stream, uint32_t i, double lo, double hi)
{
    const uint32_t ctr[4] = {i, stream, 0, 0}, key[2] = {1, 2};
    uint32_t out[4];
    acr__philox4x32(ctr, key, out);
    double u = ((double)out[0] + (double)(out[1] >> 11) * 0x1p-21) * 0x1p-32;
    return lo + (hi - lo) * u;
}

/* |got - want| in units of the last place of want; below 2^-1022 of 2^-1074. */
static double ulps(double got, mpfr_t want)
{
    if (mpfr_zero_p(want))
        return got == 0 ? 0 : INFINITY;
    long e = mpfr_get_exp(want);
    mpfr_t d;
    mpfr_init2(d, 200);
    mpfr_sub_d(d, want, got, MPFR_RNDN);
    mpfr_mul_2si(d, d, 53 - (e < -1021 ? -1021 : e), MPFR_RNDN);
    double u = fabs(mpfr_get_d(d, MPFR_RNDU));
    mpfr_clear(d);
    return u;
}

typedef int (*oracle)(mpfr_t, const mpfr_t, mpfr_rnd_t);

static double worst_over(double (*f)(double), oracle exact, uint32_t stream, double lo, double hi, int log_scale)
{
    mpfr_t x, want;
    mpfr_inits2(200, x, want, (mpfr_ptr)0);
    double worst = 0;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        double v = uniform(stream, i, lo, hi);
        if (log_scale)
            v = exp2(v);
        mpfr_set_d(x, v, MPFR_RNDN);
        exact(want, x, MPFR_RNDN);
        double u = ulps(f(v), want);
        if (!(u <= worst))
            worst = u;
    }
    mpfr_clears(x, want, (mpfr_ptr)0);
    return worst;
}

static void near(const char *what, double worst, double allowed)
{
    print_message("  %-28s %.3f ulp\n", what, worst);
    assert_true(worst <= allowed);
}

static void exp_is_close(void **state)
{
    (void)state;
    near("exp [-708, 709]", worst_over(acr__exp64, mpfr_exp, 1, -708, 709, 0), 1);
    near("exp [-1, 1]", worst_over(acr__exp64, mpfr_exp, 2, -1, 1, 0), 1);
    near("exp tiny", worst_over(acr__exp64, mpfr_exp, 3, -60, -2, 1), 1);
    near("exp subnormal", worst_over(acr__exp64, mpfr_exp, 4, -745, -708, 0), 2);
}

static void log_is_close(void **state)
{
    (void)state;
    near("log all magnitudes", worst_over(acr__log64, mpfr_log, 5, -1074, 1023.9, 1), 1);
    near("log [0.5, 2]", worst_over(acr__log64, mpfr_log, 6, 0.5, 2, 0), 1);
    near("log around 1", worst_over(acr__log64, mpfr_log, 7, 1 - 1e-6, 1 + 1e-6, 0), 1);
}

static void sin_and_cos_are_close(void **state)
{
    (void)state;
    near("sin [-4, 4]", worst_over(acr__sin64, mpfr_sin, 8, -4, 4, 0), 1);
    near("cos [-4, 4]", worst_over(acr__cos64, mpfr_cos, 9, -4, 4, 0), 1);
    near("sin |x| < 1e6", worst_over(acr__sin64, mpfr_sin, 10, -1e6, 1e6, 0), 1);
    near("cos |x| < 1e6", worst_over(acr__cos64, mpfr_cos, 11, -1e6, 1e6, 0), 1);
    near("sin |x| < 2^26", worst_over(acr__sin64, mpfr_sin, 12, -0x1p26, 0x1p26, 0), 1);
    near("sin tiny", worst_over(acr__sin64, mpfr_sin, 13, -1000, -1, 1), 1);
}

/* The doubles nearest to multiples of pi/2 are where the reduction cancels. */
static void zeros_of_sin_and_cos(void **state)
{
    (void)state;
    mpfr_t half_pi, x, want;
    mpfr_inits2(300, half_pi, x, want, (mpfr_ptr)0);
    mpfr_const_pi(half_pi, MPFR_RNDN);
    mpfr_div_2ui(half_pi, half_pi, 1, MPFR_RNDN);
    double worst = 0;
    for (uint32_t i = 1; i < SAMPLES; i++) {
        mpfr_mul_ui(x, half_pi, i < 2000 ? i : i * 1000u, MPFR_RNDN);
        double v = mpfr_get_d(x, MPFR_RNDN);
        mpfr_set_d(x, v, MPFR_RNDN);
        mpfr_sin(want, x, MPFR_RNDN);
        worst = fmax(worst, ulps(acr__sin64(v), want));
        mpfr_cos(want, x, MPFR_RNDN);
        worst = fmax(worst, ulps(acr__cos64(v), want));
    }
    mpfr_clears(half_pi, x, want, (mpfr_ptr)0);
    near("sin, cos at n pi/2", worst, 1);
}

static double worst_pow(uint32_t stream, double base_lo, double base_hi, double y_lo, double y_hi)
{
    mpfr_t x, y, want;
    mpfr_inits2(200, x, y, want, (mpfr_ptr)0);
    double worst = 0;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        double b = exp2(uniform(stream, 2 * i, base_lo, base_hi)), e = uniform(stream, 2 * i + 1, y_lo, y_hi);
        mpfr_set_d(x, b, MPFR_RNDN);
        mpfr_set_d(y, e, MPFR_RNDN);
        mpfr_pow(want, x, y, MPFR_RNDN);
        double got = acr__pow64(b, e);
        if (mpfr_get_exp(want) > 1023)
            assert_true(got > 0x1p1022);
        else
            worst = fmax(worst, ulps(got, want));
    }
    mpfr_clears(x, y, want, (mpfr_ptr)0);
    return worst;
}

static void pow_is_close(void **state)
{
    (void)state;
    near("pow 10000^-[0,1]", worst_pow(20, 13.28, 13.29, -1, 0), 1);
    near("pow near 1", worst_pow(21, -0.01, 0.01, -10000, 10000), 1);
    near("pow wide", worst_pow(22, -300, 300, -3, 3), 2);
    near("pow to the edges", worst_pow(23, -1000, 1000, -1.2, 1.2), 2);
}

static void powi_is_close(void **state)
{
    (void)state;
    static const double bases[] = {0.9, 0.95, 0.99, 0.999, 0.9999, 1.5, -0.75, 1.0000001};
    mpfr_t x, want;
    mpfr_inits2(300, x, want, (mpfr_ptr)0);
    double worst = 0;
    for (size_t b = 0; b < sizeof bases / sizeof *bases; b++)
        for (uint64_t n = 0; n < 100000; n = n < 100 ? n + 1 : n * 11 / 10) {
            mpfr_set_d(x, bases[b], MPFR_RNDN);
            mpfr_pow_ui(want, x, n, MPFR_RNDN);
            if (mpfr_get_exp(want) > -1000 && mpfr_get_exp(want) < 1000)
                worst = fmax(worst, ulps(acr__powi64(bases[b], n), want));
        }
    mpfr_clears(x, want, (mpfr_ptr)0);
    near("powi", worst, 1);
    assert_true(acr__powi64(2, 10) == 1024);
    assert_true(acr__powi64(0, 0) == 1 && acr__powi64(0, 5) == 0);
    assert_true(acr__powi64(0.5, 1000000) == 0);
    assert_true(acr__powi64(2, 100000) == INFINITY);
}

static void special_values(void **state)
{
    (void)state;
    assert_true(acr__exp64(0) == 1 && acr__exp64(-0.0) == 1);
    assert_true(acr__exp64(710) == INFINITY && acr__exp64(INFINITY) == INFINITY);
    assert_true(acr__exp64(-746) == 0 && acr__exp64(-INFINITY) == 0);
    assert_true(isnan(acr__exp64(NAN)));
    assert_true(acr__log64(1) == 0 && acr__log64(0) == -INFINITY && acr__log64(INFINITY) == INFINITY);
    assert_true(isnan(acr__log64(-1)) && isnan(acr__log64(NAN)));
    assert_true(acr__sin64(0) == 0 && signbit(acr__sin64(-0.0)) && acr__cos64(0) == 1);
    assert_true(isnan(acr__sin64(1e9)) && isnan(acr__cos64(INFINITY)) && isnan(acr__sin64(NAN)));
    assert_true(acr__pow64(2, 10) == 1024 && acr__pow64(3, 0) == 1 && acr__pow64(1, 1e300) == 1);
    assert_true(acr__pow64(2, 1e300) == INFINITY && acr__pow64(2, -1e300) == 0);
    assert_true(isnan(acr__pow64(-1, 2)) && isnan(acr__pow64(2, NAN)) && isnan(acr__pow64(INFINITY, 1)));
    assert_true(acr__pow64(0.5, INFINITY) == 0 && acr__pow64(2, INFINITY) == INFINITY);
}

static uint64_t fold(uint64_t h, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (h ^ bits) * UINT64_C(0x100000001b3);
}

static void the_same_bits_everywhere(void **state)
{
    (void)state;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 0; i < SAMPLES; i++) {
        double x = uniform(30, i, -700, 700), y = uniform(31, i, 1e-3, 1e3);
        h = fold(h, acr__exp64(x));
        h = fold(h, acr__log64(y));
        h = fold(h, acr__sin64(1000 * x));
        h = fold(h, acr__cos64(1000 * x));
        h = fold(h, acr__pow64(y, x * 0.1));
        h = fold(h, acr__powi64(1 - 1e-3 * y / 1000, i));
    }
    print_message("  bits %016llx\n", (unsigned long long)h);
    assert_int_equal(h, UINT64_C(0xcb24785e7c6d1de8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_close),          cmocka_unit_test(log_is_close),
        cmocka_unit_test(sin_and_cos_are_close), cmocka_unit_test(zeros_of_sin_and_cos),
        cmocka_unit_test(pow_is_close),          cmocka_unit_test(powi_is_close),
        cmocka_unit_test(special_values),        cmocka_unit_test(the_same_bits_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
