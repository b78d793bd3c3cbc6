/* bf16 and the two operations of rule 2, each against a definition that shares
 * nothing with it: conversions against distances between exact values, on every
 * table and, where the processor has it, VCVTNEPS2BF16; the multiply-add and the
 * add against MPFR with 24 bits and an exponent that ends nowhere. */
#include "base/bf16.h"
#include "kernel/kernel.h"
#include "kernel/mma32.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <mpfr.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static uint32_t seed = 7;
static uint32_t draw(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

/* The magnitude that 15 bits of bf16 stand for; past the largest comes 2^128. */
static double magnitude(uint32_t h)
{
    uint32_t exponent = h >> 7, fraction = h & 127;
    double scale = 0x1p-133;
    for (uint32_t e = 1; e < exponent; e++)
        scale *= 2;
    return scale * (double)(exponent ? fraction + 128 : fraction);
}

static double magnitudes[0x8000];

/* What a float's bits become by rounding to the nearest of two neighbours. */
static uint16_t nearest(uint32_t u, int flush)
{
    uint32_t sign = u >> 16 & 0x8000, low = u >> 16 & 0x7fff, exponent = u >> 23 & 255;
    if (exponent == 255)
        return (uint16_t)(sign | low | ((u & 0x7fffff) ? 0x40 : 0));
    if (flush && exponent == 0)
        return (uint16_t)sign;
    double x = (double)acr__float_of_bits(u & 0x7fffffff), below = x - magnitudes[low], above = magnitudes[low + 1] - x;
    uint32_t up = above < below || (above == below && low % 2);
    return (uint16_t)(sign | (low + up));
}

enum { SOME = 1 << 16 };
static float some[SOME];
static uint16_t there[SOME];

static void compare(const char *who, uint32_t u, uint16_t got, uint16_t want)
{
    if (got == want)
        return;
    print_error("%s: %08x became %04x, not %04x\n", who, u, got, want);
    fail();
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512vl,avx512bf16"))) static void by_instruction(void)
{
    for (int i = 0; i < SOME; i += 8) {
        __m128i h = (__m128i)_mm256_cvtneps_pbh(_mm256_loadu_ps(some + i));
        uint16_t part[8];
        memcpy(part, &h, sizeof part);
        for (int k = 0; k < 8; k++)
            compare("VCVTNEPS2BF16", acr__float_bits(some[i + k]), part[k], there[i + k]);
    }
}
#endif

static void check_some(void)
{
    static uint16_t got[SOME];
    bool exists;
    for (int i = 0; i < SOME; i++) {
        uint32_t u = acr__float_bits(some[i]);
        there[i] = nearest(u, 1);
        compare("operand", u, acr__bf16_operand(some[i]), there[i]);
        compare("for file", u, acr__bf16_for_file(some[i]), nearest(u, 0));
    }
    const acr_kernels *k;
    for (int p = 0; (k = acr__kernels_runnable(p)) != NULL; p++) {
        k->round_bf16(SOME, some, got);
        for (int i = 0; i < SOME; i++)
            compare(k->name, acr__float_bits(some[i]), got[i], there[i]);
    }
#if defined(__x86_64__)
    if (acr__kernels_find("avx512_bf16", &exists))
        by_instruction();
#else
    (void)exists;
#endif
}

/* Every upper half with the lower halves where something turns and some others. */
static void test_every_upper_half(void **state)
{
    (void)state;
    static const uint16_t turns[] = {0, 1, 2, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0x8002, 0xfffe, 0xffff};
    enum { TURNS = sizeof turns / sizeof *turns, EACH = TURNS + 22 };
    int n = 0;
    for (uint32_t high = 0; high < 0x10000; high++)
        for (int k = 0; k < EACH; k++) {
            some[n++] = acr__float_of_bits(high << 16 | (k < TURNS ? turns[k] : draw() & 0xffff));
            if (n == SOME) {
                check_some();
                n = 0;
            }
        }
    assert_int_equal(n, 0);
}

/* Every lower half of the upper halves where the format ends or a binade begins. */
static void test_every_lower_half(void **state)
{
    (void)state;
    static const uint16_t highs[] = {0,      1,      0x3f,   0x7e,   0x7f,   0x80,   0x81,   0xff,   0x100,  0x3f7f,
                                     0x3f80, 0x3f81, 0x7f7e, 0x7f7f, 0x7f80, 0x7f81, 0x7fbf, 0x7fc0, 0x7fff, 0x4049};
    for (size_t k = 0; k < 2 * sizeof highs / sizeof *highs; k++) {
        for (uint32_t low = 0; low < SOME; low++)
            some[low] = acr__float_of_bits((uint32_t)(highs[k / 2] | (k % 2) << 15) << 16 | low);
        check_some();
    }
}

static void test_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        uint32_t u = acr__float_bits(acr__bf16_to_float((uint16_t)h));
        assert_int_equal(u, h << 16);
        compare("flushed", u, acr__bf16_flushed((uint16_t)h), (h & 0x7f80) ? (uint16_t)h : (uint16_t)(h & 0x8000));
        if ((h & 0x7fff) <= 0x7f80)
            compare("there and back", u, acr__bf16_for_file(acr__bf16_to_float((uint16_t)h)), (uint16_t)h);
    }
}

/* Counts that leave a tail: nothing behind the last number is touched. */
static void test_tails(void **state)
{
    (void)state;
    const acr_kernels *k;
    for (int p = 0; (k = acr__kernels_runnable(p)) != NULL; p++)
        for (int64_t n = 0; n < 40; n++) {
            float *x = malloc((size_t)(n + 1) * sizeof *x);
            uint16_t got[41];
            memset(got, 0x5a, sizeof got);
            for (int64_t i = 0; i < n; i++)
                x[i] = (float)(draw() % 100000) * 0x1.01p-9f;
            k->round_bf16(n, x, got);
            for (int64_t i = 0; i < n; i++)
                assert_int_equal(got[i], acr__bf16_operand(x[i]));
            assert_int_equal(got[n], 0x5a5a);
            free(x);
        }
}

/* ---- rule 2's operations ---- */

static float rounded(mpfr_t x)
{
    float r = mpfr_get_flt(x, MPFR_RNDN); /* exact unless subnormal or too large */
    if (mpfr_regular_p(x) && mpfr_cmpabs_ui(x, 0) != 0 && mpfr_get_exp(x) < -125)
        return mpfr_signbit(x) ? -0.0f : 0.0f;
    return r;
}

static mpfr_t A, B, C, R;

static void check_fma(float a, float b, float c)
{
    mpfr_set_flt(A, a, MPFR_RNDN);
    mpfr_set_flt(B, b, MPFR_RNDN);
    mpfr_set_flt(C, c, MPFR_RNDN);
    mpfr_fma(R, A, B, C, MPFR_RNDN);
    float want = rounded(R), got = acr__mma32_fma(a, b, c);
    if (want != want ? got == got : acr__float_bits(want) != acr__float_bits(got)) {
        print_error("fma(%a, %a, %a) is %a, not %a\n", (double)a, (double)b, (double)c, (double)got, (double)want);
        fail();
    }
}

static void check_add(float a, float b)
{
    mpfr_set_flt(A, acr__float_bits(a) & 0x7f800000u ? a : copysignf(0, a), MPFR_RNDN);
    mpfr_set_flt(B, acr__float_bits(b) & 0x7f800000u ? b : copysignf(0, b), MPFR_RNDN);
    mpfr_add(R, A, B, MPFR_RNDN);
    float want = rounded(R), got = acr__mma32_add(a, b);
    if (want != want ? got == got : acr__float_bits(want) != acr__float_bits(got)) {
        print_error("%a + %a is %a, not %a\n", (double)a, (double)b, (double)got, (double)want);
        fail();
    }
}

/* Any bf16 that is no subnormal; half of them where products are near 2^-126. */
static float any_operand(void)
{
    uint32_t exponent = draw() % 2 ? 44 + draw() % 40 : draw() % 256;
    uint32_t sign = (draw() & 1) << 31;
    return acr__float_of_bits(exponent == 0 ? sign : sign | exponent << 23 | (draw() & 127) << 16);
}

/* A running sum: ordinary, near the smallest normal, or what makes a*b cancel. */
static float any_sum(float a, float b)
{
    uint32_t kind = draw() % 4, exponent = kind == 2 ? 1 + draw() % 30 : draw() % 255;
    if (kind == 0)
        return 0;
    float c = kind == 1 ? -a * b : acr__float_of_bits((draw() & 1) << 31 | exponent << 23 | (draw() & 0x7fffff));
    c = acr__float_of_bits(acr__float_bits(c) ^ (draw() % 3 ? 0 : draw() & 3));
    return acr__float_bits(c) & 0x7f800000u ? c : 0;
}

static void test_operations(void **state)
{
    (void)state;
    mpfr_inits2(24, A, B, C, R, (mpfr_ptr)0);
    for (int i = 0; i < 2000000; i++) {
        float a = any_operand(), b = any_operand();
        check_fma(a, b, any_sum(a, b));
        check_add(any_sum(a, b), any_sum(b, a));
    }
    check_fma(-0x1p-76f, 0x1p-76f, 0x1p-126f); /* 2^-126 - 2^-152 rounds up and stays */
    assert_true(acr__mma32_fma(-0x1p-76f, 0x1p-76f, 0x1p-126f) == 0x1p-126f);
    check_fma(-0x1p-75f, 0x1p-75f, 0x1p-126f); /* 2^-126 - 2^-150 is below it and goes */
    assert_true(acr__mma32_fma(-0x1p-75f, 0x1p-75f, 0x1p-126f) == 0);
    check_add(0x1p-126f, -0x1.000002p-126f);
    check_add(0x1p-149f, 0x1p-126f);
    check_add(-0x1p-149f, -0.0f);
    mpfr_clears(A, B, C, R, (mpfr_ptr)0);
}

int main(void)
{
    for (uint32_t h = 0; h < 0x8000; h++)
        magnitudes[h] = magnitude(h);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_upper_half), cmocka_unit_test(test_every_lower_half), cmocka_unit_test(test_back),
        cmocka_unit_test(test_tails),            cmocka_unit_test(test_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
