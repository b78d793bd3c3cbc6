/* test_shuffle.c: rule 8: a bijection for every n, and one that shuffles. The
 * bounds are five standard deviations of what a fair shuffle gives; everything
 * is a pure function, so a pass stays a pass. */
#include "base/shuffle.h"
#include <accrue/accrue.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void is_bijection(uint64_t seed, uint32_t epoch, int64_t n, unsigned char *seen)
{
    acr__shuffle s;
    acr__shuffle_init(&s, seed, epoch, n);
    memset(seen, 0, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = acr__shuffle_at(&s, i);
        assert_true(at >= 0 && at < n);
        assert_int_equal(seen[at], 0);
        seen[at] = 1;
    }
}

static void a_bijection_for_every_n(void **state)
{
    (void)state;
    static const int64_t large[] = {4095, 4096, 4097, 60000, 65535, 65536, 65537, 100003, 1 << 20};
    unsigned char *seen = malloc(1 << 20);
    assert_non_null(seen);
    for (int64_t n = 1; n <= 600; n++)
        for (uint32_t epoch = 0; epoch < 3; epoch++)
            is_bijection((uint64_t)n, epoch, n, seen);
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        is_bijection(5, 1, large[i], seen);
    free(seen);
}

static void large_n_stays_inside(void **state)
{
    (void)state;
    static const int64_t large[] = {INT64_C(1) << 31, (INT64_C(1) << 32) + 1, (INT64_C(1) << 40) - 1, INT64_C(1) << 40};
    for (int j = 0; j < 4; j++) {
        double mean = 0;
        for (int64_t i = 0; i < 4096; i++) {
            int64_t at = acr_shuffle(1, 2, large[j], large[j] - 1 - i);
            assert_true(at >= 0 && at < large[j]);
            mean += (double)at / (double)large[j] / 4096;
        }
        assert_true(fabs(mean - 0.5) < 5 * 0.2887 / 64);
    }
}

static void the_public_one_is_the_same(void **state)
{
    (void)state;
    acr__shuffle s;
    acr__shuffle_init(&s, 42, 7, 100);
    for (int64_t i = 0; i < 100; i++)
        assert_int_equal(acr_shuffle(42, 7, 100, i), acr__shuffle_at(&s, i));
    assert_int_equal(acr_shuffle(42, 7, 1, 0), 0);
    assert_int_equal(acr_shuffle(42, 7, 100, 3), 93); /* part of the canon: never changes */
}

static int agreements(uint64_t s1, uint32_t e1, uint64_t s2, uint32_t e2, int64_t n)
{
    int same = 0;
    for (int64_t i = 0; i < n; i++)
        same += acr_shuffle(s1, e1, n, i) == acr_shuffle(s2, e2, n, i);
    return same;
}

static void epochs_and_seeds_differ(void **state)
{
    (void)state;
    /* Two fair shuffles agree in one place on average, whatever n. */
    int total = 0;
    for (uint32_t e = 0; e < 200; e++)
        total += agreements(1, e, 1, e + 1, 1000);
    assert_in_range(total, 200 - 5 * 14, 200 + 5 * 14);
    assert_in_range(agreements(1, 0, 2, 0, 1000), 0, 8);
    assert_in_range(agreements(1, 0, UINT64_C(1) << 32, 0, 1000), 0, 8);
}

/* How often place i holds value v over many epochs: chi-square per place. Both
 * the sum over all places and the worst single cell are bounded. */
static void every_value_visits_every_place(int64_t n, uint32_t epochs)
{
    int *count = calloc((size_t)(n * n), sizeof *count);
    assert_non_null(count);
    for (uint32_t e = 0; e < epochs; e++) {
        acr__shuffle s;
        acr__shuffle_init(&s, 11, e, n);
        for (int64_t i = 0; i < n; i++)
            count[i * n + acr__shuffle_at(&s, i)]++;
    }
    double expected = (double)epochs / (double)n, chi = 0, worst = 0;
    for (int64_t c = 0; c < n * n; c++) {
        double off = (count[c] - expected) * (count[c] - expected) / expected;
        chi += off;
        worst = fmax(worst, off);
    }
    free(count);
    double freedom = (double)((n - 1) * (n - 1));
    print_message("  n %d: chi-square %.0f for %.0f +- %.0f, worst cell %.1f\n", (int)n, chi, freedom,
                  sqrt(2 * freedom), worst);
    assert_true(fabs(chi - freedom) < 5 * sqrt(2 * freedom));
    assert_true(worst < 36); /* six deviations: about 10^4 cells are looked at */
}

static void positions_are_fair(void **state)
{
    (void)state;
    every_value_visits_every_place(2, 20000);
    every_value_visits_every_place(5, 20000);
    every_value_visits_every_place(33, 20000);
    every_value_visits_every_place(64, 20000);
    every_value_visits_every_place(100, 20000);
    every_value_visits_every_place(128, 20000);
}

/* The step from one place to the next, modulo n: neighbours must not stay so. */
static void neighbours_part(void **state)
{
    (void)state;
    enum { N = 100, EPOCHS = 5000 };
    int count[N] = {0};
    for (uint32_t e = 0; e < EPOCHS; e++) {
        acr__shuffle s;
        acr__shuffle_init(&s, 12, e, N);
        for (int64_t i = 0; i + 1 < N; i++)
            count[(acr__shuffle_at(&s, i + 1) - acr__shuffle_at(&s, i) + N) % N]++;
    }
    assert_int_equal(count[0], 0);
    double expected = EPOCHS, chi = 0; /* 99 steps over 99 differences */
    for (int d = 1; d < N; d++)
        chi += (count[d] - expected) * (count[d] - expected) / expected;
    print_message("  neighbours: chi-square %.0f for 98 +- 14\n", chi);
    assert_true(chi < 98 + 5 * 14);
}

/* Two neighbouring places over the pairs of values: what a weak round function
 * shows first. */
static void pairs_are_fair(void **state)
{
    (void)state;
    enum { N = 33, EPOCHS = 200000 };
    static int count[N][N];
    for (uint32_t e = 0; e < EPOCHS; e++) {
        acr__shuffle s;
        acr__shuffle_init(&s, 13, e, N);
        count[acr__shuffle_at(&s, 4)][acr__shuffle_at(&s, 5)]++;
    }
    double expected = (double)EPOCHS / (N * (N - 1)), chi = 0;
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++)
            if (a != b)
                chi += (count[a][b] - expected) * (count[a][b] - expected) / expected;
    print_message("  pairs: chi-square %.0f for 1055 +- 46\n", chi);
    assert_true(chi < 1055 + 5 * 46);
}

/* Every batch is a fair sample of the values: their sum over the first half. */
static void halves_are_balanced(void **state)
{
    (void)state;
    enum { N = 60000 };
    double worst = 0;
    for (uint32_t e = 0; e < 8; e++) {
        acr__shuffle s;
        acr__shuffle_init(&s, 14, e, N);
        double sum = 0;
        for (int64_t i = 0; i < N / 2; i++)
            sum += (double)acr__shuffle_at(&s, i);
        double deviation = N * sqrt(N / 48.0); /* without replacement */
        worst = fmax(worst, fabs(sum - (double)(N - 1) / 2 * (N / 2)) / deviation);
    }
    assert_true(worst < 4.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bijection_for_every_n),
        cmocka_unit_test(large_n_stays_inside),
        cmocka_unit_test(the_public_one_is_the_same),
        cmocka_unit_test(epochs_and_seeds_differ),
        cmocka_unit_test(positions_are_fair),
        cmocka_unit_test(neighbours_part),
        cmocka_unit_test(pairs_are_fair),
        cmocka_unit_test(halves_are_balanced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
