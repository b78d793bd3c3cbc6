/* test_schedule.c: the learning rate of each update, against PyTorch's numbers
 * for one recipe and against the formulas' promises for all. */
#include "optim/schedule.h"
#include "base/context.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static acr_trainer_opts options(acr_schedule schedule, int64_t warmup, int64_t total, int64_t decay, double floor)
{
    acr_trainer_opts o = ACR_TRAINER_OPTS_INIT;
    o.learning_rate = 1.0;
    o.schedule = schedule;
    o.warmup_steps = warmup;
    o.total_steps = total;
    o.decay_steps = decay;
    o.min_lr_ratio = floor;
    return o;
}

static void close_to(double got, double want)
{
    if (!(fabs(got - want) <= 4e-16 * fabs(want)))
        fail_msg("%.17g, not %.17g", got, want);
}

/* tests/golden/mlp_adamw.json: cosine, 2 updates of warm-up of 6, floor 0.1 */
static void the_golden_recipe(void **state)
{
    (void)state;
    static const double golden[] = {
        0.0015, 0.003, 0.002742172942406179, 0.002067172942406179, 0.0012328270575938213, 0.0005578270575938212};
    acr_trainer_opts o = options(ACR_COSINE, 2, 6, 0, 0.1);
    o.learning_rate = 3e-3;
    for (int64_t u = 0; u < 6; u++)
        close_to(acr_learning_rate(&o, u), golden[u]);
}

static void warm_up_rises_by_equal_steps(void **state)
{
    (void)state;
    for (int s = ACR_CONSTANT; s <= ACR_WSD; s++) {
        acr_trainer_opts o = options((acr_schedule)s, 4, 10, 3, 0);
        close_to(acr_learning_rate(&o, 0), 0.25);
        close_to(acr_learning_rate(&o, 1), 0.5);
        close_to(acr_learning_rate(&o, 3), 1.0);
    }
}

static void constant_stays(void **state)
{
    (void)state;
    acr_trainer_opts o = options(ACR_CONSTANT, 0, 0, 0, 0);
    close_to(acr_learning_rate(&o, 0), 1);
    close_to(acr_learning_rate(&o, 1000000), 1);
}

static void linear_falls_to_just_above_its_floor(void **state)
{
    (void)state;
    acr_trainer_opts o = options(ACR_LINEAR, 0, 4, 0, 0);
    for (int64_t u = 0; u < 4; u++)
        close_to(acr_learning_rate(&o, u), 1 - (double)(u + 1) / 5);
    o.min_lr_ratio = 0.5;
    close_to(acr_learning_rate(&o, 3), 1 - 0.8 * 0.5);
    o.warmup_steps = 2;
    close_to(acr_learning_rate(&o, 2), 1 - 1.0 / 3 * 0.5);
}

static void wsd_falls_in_its_last_updates_only(void **state)
{
    (void)state;
    acr_trainer_opts o = options(ACR_WSD, 2, 10, 4, 0.2);
    for (int64_t u = 1; u < 6; u++)
        close_to(acr_learning_rate(&o, u), 1);
    for (int64_t k = 0; k < 4; k++)
        close_to(acr_learning_rate(&o, 6 + k), 1 - (double)(k + 1) / 5 * 0.8);
    o.decay_steps = 0;
    close_to(acr_learning_rate(&o, 9), 1);
}

static void past_the_end_the_floor_holds(void **state)
{
    (void)state;
    static const acr_schedule all[] = {ACR_LINEAR, ACR_COSINE, ACR_WSD};
    for (int s = 0; s < 3; s++) {
        acr_trainer_opts o = options(all[s], 1, 10, 3, 0.25);
        close_to(acr_learning_rate(&o, 10), 0.25);
        close_to(acr_learning_rate(&o, 99), 0.25);
    }
}

/* No update at zero, none above the maximum, and after warm-up never upwards. */
static void no_update_is_wasted(void **state)
{
    (void)state;
    for (int s = ACR_CONSTANT; s <= ACR_WSD; s++)
        for (int64_t total = 1; total <= 40; total++)
            for (int64_t warmup = 0; warmup <= total; warmup += 3) {
                acr_trainer_opts o = options((acr_schedule)s, warmup, total, (total - warmup) / 2, 0);
                double before = 1;
                for (int64_t u = 0; u < total; u++) {
                    double lr = acr_learning_rate(&o, u);
                    assert_true(lr > 0 && lr <= 1);
                    assert_true(u < warmup || lr <= before);
                    before = u < warmup ? 1 : lr;
                }
            }
}

static void refused(acr_context *ctx, acr_trainer_opts o, const char *named)
{
    assert_int_equal(acr__schedule_check(ctx, &o), ACR_E_ARGUMENT);
    if (!strstr(acr_error(ctx), named))
        fail_msg("'%s' does not name '%s'", acr_error(ctx), named);
}

static void wrong_options_are_named(void **state)
{
    (void)state;
    acr_context *ctx;
    assert_int_equal(acr__context_new(&ctx, NULL), ACR_OK);
    acr_trainer_opts good = options(ACR_WSD, 2, 10, 8, 0.5);
    assert_int_equal(acr__schedule_check(ctx, &good), ACR_OK);
    good = options(ACR_CONSTANT, 5, 0, 0, 0); /* a warm-up needs no end */
    assert_int_equal(acr__schedule_check(ctx, &good), ACR_OK);

    refused(ctx, options((acr_schedule)7, 0, 10, 0, 0), "schedule: 7");
    refused(ctx, options(ACR_LINEAR, 0, 0, 0, 0), "total_steps: 0; the linear schedule");
    refused(ctx, options(ACR_COSINE, 11, 10, 0, 0), "warmup_steps: 11");
    refused(ctx, options(ACR_CONSTANT, -1, 10, 0, 0), "warmup_steps: -1");
    refused(ctx, options(ACR_WSD, 2, 10, 9, 0), "decay_steps: 9; 0 to 8");
    refused(ctx, options(ACR_WSD, 2, 10, -1, 0), "decay_steps: -1");
    refused(ctx, options(ACR_LINEAR, 0, 10, 0, 1.5), "min_lr_ratio: 1.5");
    refused(ctx, options(ACR_LINEAR, 0, 10, 0, NAN), "min_lr_ratio");
    acr_trainer_opts o = options(ACR_LINEAR, 0, 10, 0, 0);
    o.learning_rate = INFINITY;
    refused(ctx, o, "learning_rate: inf");
    o.learning_rate = -1e-3;
    refused(ctx, o, "learning_rate: -0.001");
    acr_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_recipe),
        cmocka_unit_test(warm_up_rises_by_equal_steps),
        cmocka_unit_test(constant_stays),
        cmocka_unit_test(linear_falls_to_just_above_its_floor),
        cmocka_unit_test(wsd_falls_in_its_last_updates_only),
        cmocka_unit_test(past_the_end_the_floor_holds),
        cmocka_unit_test(no_update_is_wasted),
        cmocka_unit_test(wrong_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
