/* test_functions.c: the fp32 functions against MPFR: at most 2 ulp wherever they
 * are sampled, an ulp being the spacing of floats at the exact result (2^-149
 * below 2^-126). Floats are taken by their bits at a prime stride, so every
 * exponent is visited, and more densely where the function does its work.
 *
 * The vector texts of the same functions are held to these by test_kernels.c. */
#include "kernel/ref_functions.h"
#include <float.h>
#include <mpfr.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

typedef struct function {
    const char *name;
    float (*ours)(float);
    void (*exact)(mpfr_t out, mpfr_t x);
    float from, to; /* where it is sampled densely, on both signs unless from is negative */
    bool zero_to_one;
} function;

static void exact_exp(mpfr_t y, mpfr_t x) { mpfr_exp(y, x, MPFR_RNDN); }
static void exact_log(mpfr_t y, mpfr_t x) { mpfr_log(y, x, MPFR_RNDN); }
static void exact_log1p(mpfr_t y, mpfr_t x) { mpfr_log1p(y, x, MPFR_RNDN); }
static void exact_tanh(mpfr_t y, mpfr_t x) { mpfr_tanh(y, x, MPFR_RNDN); }
static void exact_erf(mpfr_t y, mpfr_t x) { mpfr_erf(y, x, MPFR_RNDN); }
static void exact_sigmoid(mpfr_t y, mpfr_t x)
{
    mpfr_neg(y, x, MPFR_RNDN);
    mpfr_exp(y, y, MPFR_RNDN);
    mpfr_add_ui(y, y, 1, MPFR_RNDN);
    mpfr_ui_div(y, 1, y, MPFR_RNDN);
}

static const function functions[] = {
    {"exp", r_exp, exact_exp, 0x1p-12f, 104.5f, false},
    {"log", r_log, exact_log, 0x1p-3f, 8.0f, false},
    {"log1p", r_log1p, exact_log1p, 0x1p-12f, 1.0f, true},
    {"tanh", r_tanh, exact_tanh, 0x1p-8f, 10.0f, false},
    {"erf", r_erf, exact_erf, 0x1p-8f, 4.5f, false},
    {"sigmoid", r_sigmoid, exact_sigmoid, 0x1p-8f, 104.5f, false},
};

/* |y - exact(x)| in ulp. Where the exact result is past the largest float, +inf
 * and the largest float are both one rounding away. */
static double ulps(const function *f, float x, float y)
{
    static mpfr_t in, out, error;
    static bool ready;
    if (!ready)
        mpfr_inits2(120, in, out, error, (mpfr_ptr)NULL);
    ready = true;
    mpfr_set_flt(in, x, MPFR_RNDN);
    f->exact(out, in);
    if (mpfr_nan_p(out))
        return y != y ? 0 : INFINITY;
    if (mpfr_cmpabs(out, in) >= 0 && !mpfr_number_p(out))
        return mpfr_get_d(out, MPFR_RNDN) == (double)y ? 0 : INFINITY;
    if (mpfr_cmp_d(out, 0x1.fffffep+127) > 0)
        return y >= FLT_MAX ? 0 : INFINITY;
    if (isinf(y) || y != y)
        return INFINITY;
    long exponent = mpfr_zero_p(out) ? -149 : mpfr_get_exp(out) - 24;
    exponent = exponent < -149 ? -149 : exponent;
    mpfr_sub_d(error, out, (double)y, MPFR_RNDN);
    mpfr_mul_2si(error, error, -exponent, MPFR_RNDN);
    return fabs(mpfr_get_d(error, MPFR_RNDN));
}

typedef struct worst {
    double ulps;
    float at;
} worst;

static void try_bits(const function *f, uint32_t bits, worst *w)
{
    float x = float_of(bits);
    if (f->zero_to_one && !(x >= 0 && x <= 1))
        return;
    double u = ulps(f, x, f->ours(x));
    if (!(u <= w->ulps))
        *w = (worst){u, x};
}

static worst sampled(const function *f, uint32_t sparse, uint32_t dense)
{
    worst w = {0, 0};
    for (uint64_t u = 0; u <= UINT32_MAX; u += sparse)
        try_bits(f, (uint32_t)u, &w);
    for (uint32_t u = bits_of(f->from); u <= bits_of(f->to); u += dense) {
        try_bits(f, u, &w);
        try_bits(f, u | 0x80000000u, &w);
    }
    return w;
}

static void test_at_most_two_ulp(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        const function *f = &functions[i];
        worst w = sampled(f, 65521, 1999);
        printf("%-8s %.3f ulp at %a\n", f->name, w.ulps, (double)w.at);
        assert_true(w.ulps <= 2);
    }
}

/* The check sees an error of a few ulp. */
static float coarse_exp(float x) { return r_exp(x) * (1 + 4 * FLT_EPSILON); }

static void test_the_check_sees_four_ulp(void **state)
{
    (void)state;
    function f = functions[0];
    f.ours = coarse_exp;
    assert_true(sampled(&f, 1000003, 65521).ulps > 2);
}

static void assert_bits(float got, uint32_t want)
{
    if (bits_of(got) != want)
        fail_msg("%a (%08x), wanted %08x", (double)got, bits_of(got), want);
}

static void test_edges(void **state)
{
    (void)state;
    const float tiny = 0x1p-149f;
    assert_bits(r_exp(0.0f), 0x3f800000);
    assert_bits(r_exp(-0.0f), 0x3f800000);
    assert_bits(r_exp(INFINITY), 0x7f800000);
    assert_bits(r_exp(-INFINITY), 0);
    assert_bits(r_exp(-104.0f), 0);
    assert_bits(r_exp(89.0f), 0x7f800000);
    assert_true(r_exp(-103.9f) == tiny);
    assert_true(r_exp(88.72f) < INFINITY);
    assert_bits(r_log(1.0f), 0);
    assert_bits(r_log(0.0f), 0xff800000);
    assert_bits(r_log(-0.0f), 0xff800000);
    assert_bits(r_log(INFINITY), 0x7f800000);
    assert_true(isnan(r_log(-1.0f)) && isnan(r_log(-INFINITY)) && isnan(r_log(-tiny)));
    assert_bits(r_log1p(0.0f), 0);
    assert_bits(r_log1p(tiny), 1);
    assert_bits(r_tanh(-0.0f), 0x80000000);
    assert_bits(r_erf(-0.0f), 0x80000000);
    assert_bits(r_tanh(tiny), 1);
    assert_bits(r_tanh(INFINITY), 0x3f800000);
    assert_bits(r_tanh(-INFINITY), 0xbf800000);
    assert_bits(r_erf(INFINITY), 0x3f800000);
    assert_bits(r_erf(-INFINITY), 0xbf800000);
    assert_bits(r_sigmoid(0.0f), 0x3f000000);
    assert_bits(r_sigmoid(INFINITY), 0x3f800000);
    assert_bits(r_sigmoid(-INFINITY), 0);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        assert_true(isnan(functions[i].ours(NAN)) && isnan(functions[i].ours(-NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_most_two_ulp),
        cmocka_unit_test(test_the_check_sees_four_ulp),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
