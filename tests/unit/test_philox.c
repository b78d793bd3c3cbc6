/* test_philox.c: the generator against the published one, and what is made of
 * its words: hashes of names, initial weights, normal numbers. */
#include "base/philox.h"
#include <Random123/philox.h>
#include <accrue/accrue.h>
#include <fenv.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_random123(const uint32_t c[4], const uint32_t k[2])
{
    philox4x32_ctr_t ctr = {{c[0], c[1], c[2], c[3]}};
    philox4x32_key_t key = {{k[0], k[1]}};
    philox4x32_ctr_t want = philox4x32_R(10, ctr, key);
    uint32_t got[4];
    acr__philox4x32(c, k, got);
    assert_memory_equal(got, want.v, sizeof got);
}

static void equals_random123(void **state)
{
    (void)state;
    expect_random123((const uint32_t[4]){0}, (const uint32_t[2]){0});
    uint32_t words[6], next[4];
    memset(words, 0xff, sizeof words);
    expect_random123(words, words + 4);
    for (int i = 0; i < 20000; i++) {
        expect_random123(words, words + 4);
        acr__philox4x32(words, words + 4, next);
        memcpy(words, next, sizeof next);
        words[4] += next[0];
        words[5] ^= next[3];
    }
}

/* The known answer of Random123's own kat_vectors, should the header change. */
static void known_answer(void **state)
{
    (void)state;
    static const uint32_t want[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    uint32_t got[4];
    acr__philox4x32((const uint32_t[4]){0}, (const uint32_t[2]){0}, got);
    assert_memory_equal(got, want, sizeof got);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void names_hash_apart(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    uint32_t *h = malloc(COUNT * sizeof *h);
    assert_non_null(h);
    double flipped = 0;
    for (int i = 0; i < COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "h.%d.mlp.%d.weight", i / 100, i % 100);
        h[i] = acr__hash32(name);
        if (i)
            flipped += __builtin_popcount(h[i] ^ h[i - 1]);
    }
    assert_true(fabs(flipped / (COUNT - 1) - 16) < 0.1); /* neighbours differ in half the bits */
    qsort(h, COUNT, sizeof *h, by_value);
    int equal = 0;
    for (int i = 1; i < COUNT; i++)
        equal += h[i] == h[i - 1];
    assert_true(equal <= 2); /* 0.05 expected */
    free(h);
    assert_int_equal(acr__hash32(""), 0xab3e7c0b); /* written into every training: never changes */
    assert_int_equal(acr__hash32("0.weight"), 0xd2a02603);
}

static void initial_weights_are_uniform(void **state)
{
    (void)state;
    enum { COUNT = 1 << 18, BINS = 64 };
    int bins[BINS] = {0};
    double sum = 0, squares = 0;
    uint32_t name = acr__hash32("0.weight");
    for (uint64_t i = 0; i < COUNT; i++) {
        double u = acr__init_uniform(7, name, i);
        assert_true(u >= -1 && u < 1);
        assert_true(u * 0x1p23 == floor(u * 0x1p23)); /* 24 bits, none lost */
        sum += u;
        squares += u * u;
        bins[(int)((u + 1) * (BINS / 2))]++;
    }
    assert_true(fabs(sum / COUNT) < 5 * 0.577 / sqrt(COUNT));
    assert_true(fabs(squares / COUNT - 1.0 / 3) < 5 * 0.298 / sqrt(COUNT));
    double chi = 0, expected = (double)COUNT / BINS;
    for (int b = 0; b < BINS; b++)
        chi += (bins[b] - expected) * (bins[b] - expected) / expected;
    assert_true(chi < 63 + 5 * sqrt(2 * 63)); /* mean 63, five deviations */
}

static void uses_do_not_meet(void **state)
{
    (void)state;
    float a = acr__init_uniform(7, 1, 5);
    assert_true(a == acr__init_uniform(7, 1, 5));
    assert_true(a != acr__init_uniform(8, 1, 5));
    assert_true(a != acr__init_uniform(7 + (UINT64_C(1) << 32), 1, 5));
    assert_true(a != acr__init_uniform(7, 2, 5));
    assert_true(a != acr__init_uniform(7, 1, 5 + (UINT64_C(4) << 32)));
    uint32_t keys[4][2];
    static const uint64_t tweaks[4] = {0, ACR_TWEAK_INIT, ACR_TWEAK_NORMAL, ACR_TWEAK_SHUFFLE};
    for (int i = 0; i < 4; i++) {
        acr__philox_key(7, tweaks[i], keys[i]);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(keys[i], keys[j], sizeof keys[i]);
    }
}

static void normal_numbers_have_their_moments(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, neighbours = 0, before = 0;
    int inside = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        double x = acr_normal(3, 9, i);
        m1 += x, m2 += x * x, m3 += x * x * x, m4 += x * x * x * x;
        neighbours += x * before;
        before = x;
        inside += fabs(x) < 1;
    }
    double root = sqrt(COUNT); /* five deviations of each estimate */
    assert_true(fabs(m1 / COUNT) < 5 / root);
    assert_true(fabs(m2 / COUNT - 1) < 5 * sqrt(2) / root);
    assert_true(fabs(m3 / COUNT) < 5 * sqrt(15) / root);
    assert_true(fabs(m4 / COUNT - 3) < 5 * sqrt(96) / root);
    assert_true(fabs(neighbours / COUNT) < 5 / root);
    assert_true(fabs((double)inside / COUNT - 0.6826895) < 5 * 0.465 / root);
}

static void normal_numbers_follow_box_and_muller(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 2000; i++) {
        uint32_t key[2], w[4];
        const uint32_t ctr[4] = {(uint32_t)(i / 2), 0, 9, 0};
        acr__philox_key(3, ACR_TWEAK_NORMAL, key);
        acr__philox4x32(ctr, key, w);
        double u = ((double)((((uint64_t)w[1] << 32) | w[0]) >> 11) + 1) * 0x1p-53;
        double v = (double)((((uint64_t)w[3] << 32) | w[2]) >> 11) * 0x1p-53 * 6.283185307179586;
        double want = sqrt(-2 * log(u)) * (i % 2 ? sin(v) : cos(v));
        assert_true(fabs(acr_normal(3, 9, i) - want) <= 1e-7 * fmax(1, fabs(want)));
    }
    assert_true(acr_normal(1, 2, 3) == -0.401948988f); /* part of the canon: never changes */
    assert_true(acr_normal(3, 9, 0) != acr_normal(3, 10, 0));
    assert_true(acr_normal(3, 9, 0) != acr_normal(4, 9, 0));
}

/* A host program may round otherwise; the numbers don't, and its mode is left as it was. */
static void normal_numbers_know_no_mode(void **state)
{
    (void)state;
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (uint64_t i = 0; i < 300; i++) {
        float want = acr_normal(3, 9, i);
        int mode = modes[i % 3];
        fesetround(mode);
        float x = acr_normal(3, 9, i);
        int left = fegetround();
        fesetround(FE_TONEAREST);
        assert_memory_equal(&x, &want, sizeof x);
        assert_int_equal(left, mode);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_random123),
        cmocka_unit_test(known_answer),
        cmocka_unit_test(names_hash_apart),
        cmocka_unit_test(initial_weights_are_uniform),
        cmocka_unit_test(uses_do_not_meet),
        cmocka_unit_test(normal_numbers_have_their_moments),
        cmocka_unit_test(normal_numbers_follow_box_and_muller),
        cmocka_unit_test(normal_numbers_know_no_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
