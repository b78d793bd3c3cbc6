/* The next token: greedy, top_k, top_p, temperature; frequencies; what is never drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/context.h"
#include "model/sampler.h"
#include <math.h>

static acr_context *ctx;
static const float logits[6] = {1.0f, 3.0f, 3.0f, -INFINITY, 2.0f, NAN};

static int32_t draw(double temperature, int64_t k, double p, uint64_t seed, uint64_t place)
{
    acr__sampler *s;
    int32_t token = -1;
    const acr__sampler_opts opts = {temperature, k, p, seed};
    assert_int_equal(acr__sampler_create(&s, ctx, 6, &opts), ACR_OK);
    assert_int_equal(acr__sampler_draw(s, logits, place, &token), ACR_OK);
    acr__sampler_destroy(s);
    return token;
}

static void greedy(void **state)
{
    (void)state;
    assert_int_equal(draw(0, 0, 1, 1, 1), 1); /* the lowest id among equals */
    for (uint64_t i = 0; i < 50; i++)
        assert_int_equal(draw(1, 1, 1, 7, i), 1);
}

/* Shares of each token over many places, against the definition. */
static void shares(double temperature, int64_t k, double p, const double want[6])
{
    enum { DRAWS = 20000 };
    int seen[6] = {0};
    acr__sampler *s;
    const acr__sampler_opts opts = {temperature, k, p, 42};
    assert_int_equal(acr__sampler_create(&s, ctx, 6, &opts), ACR_OK);
    for (uint64_t i = 0; i < DRAWS; i++) {
        int32_t token;
        assert_int_equal(acr__sampler_draw(s, logits, i, &token), ACR_OK);
        seen[token]++;
    }
    acr__sampler_destroy(s);
    for (int i = 0; i < 6; i++) {
        double share = (double)seen[i] / DRAWS, sigma = sqrt(want[i] * (1 - want[i]) / DRAWS);
        if (want[i] == 0)
            assert_int_equal(seen[i], 0);
        assert_true(fabs(share - want[i]) <= 5 * sigma + 1e-12);
    }
}

static void frequencies(void **state)
{
    (void)state;
    double a = exp(-2), b = exp(-1), sum = 2 + a + b;
    shares(1, 0, 1, (double[6]){a / sum, 1 / sum, 1 / sum, 0, b / sum, 0});
    shares(1, 3, 1, (double[6]){0, 1 / (2 + b), 1 / (2 + b), 0, b / (2 + b), 0});
    shares(1, 0, 0.5, (double[6]){0, 0.5, 0.5, 0, 0, 0});          /* 0.4 and 0.4: two reach it */
    shares(1, 0, 1e-9, (double[6]){0, 1, 0, 0, 0, 0});             /* one is always kept */
    shares(1, 3, 0.9, (double[6]){0, 1 / (2 + b), 1 / (2 + b), 0, b / (2 + b), 0});
    double c = exp(-4), d = exp(-2), half = 2 + c + d;
    shares(0.5, 0, 1, (double[6]){c / half, 1 / half, 1 / half, 0, d / half, 0});
}

static void counted(void **state)
{
    (void)state;
    int other = 0;
    for (uint64_t i = 0; i < 64; i++) {
        assert_int_equal(draw(1, 0, 1, 5, i), draw(1, 0, 1, 5, i));
        other += draw(1, 0, 1, 5, i) != draw(1, 0, 1, 6, i);
    }
    assert_true(other > 10);
}

static void refusals(void **state)
{
    (void)state;
    acr__sampler *s;
    int32_t token = 77;
    const float none[2] = {NAN, -INFINITY}, inf[2] = {0, INFINITY};
    assert_int_equal(acr__sampler_create(&s, ctx, 6, &(acr__sampler_opts){-1, 0, 1, 0}), ACR_E_ARGUMENT);
    assert_int_equal(acr__sampler_create(&s, ctx, 6, &(acr__sampler_opts){NAN, 0, 1, 0}), ACR_E_ARGUMENT);
    assert_int_equal(acr__sampler_create(&s, ctx, 6, &(acr__sampler_opts){1, -1, 1, 0}), ACR_E_ARGUMENT);
    assert_int_equal(acr__sampler_create(&s, ctx, 6, &(acr__sampler_opts){1, 0, 0, 0}), ACR_E_ARGUMENT);
    assert_int_equal(acr__sampler_create(&s, ctx, 0, &(acr__sampler_opts){1, 0, 1, 0}), ACR_E_ARGUMENT);
    assert_int_equal(acr__sampler_create(&s, ctx, 2, &(acr__sampler_opts){1, 0, 1, 0}), ACR_OK);
    assert_int_equal(acr__sampler_draw(s, none, 0, &token), ACR_E_DIVERGED);
    assert_int_equal(acr__sampler_draw(s, inf, 0, &token), ACR_E_DIVERGED);
    assert_int_equal(token, 77);
    acr__sampler_destroy(s);
}

static int begin(void **state)
{
    (void)state;
    return acr__context_new(&ctx, NULL) == ACR_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    acr_context_destroy(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy), cmocka_unit_test(frequencies), cmocka_unit_test(counted), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
