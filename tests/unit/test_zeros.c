/* test_zeros.c: products that leave out a single row's zeros give what those of many
 * rows give, also once weights are infinite, for 0 times infinity is NaN: written so
 * by the caller, and by an update. */
#include "accum/trainer.h"
#include "state.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { COLS = 150, HIDDEN = 200, OUT = 170, SAMPLES = 6, WEIGHT = 1 }; /* a.bias comes first */

static void build(acr_graph *g)
{
    acr_node x = acr_input(g, "x", ACR_F32, 1, (int64_t[]){COLS}), y = acr_input(g, "y", ACR_F32, 1, (int64_t[]){OUT});
    acr_node o = acr_linear(g, acr_relu(g, acr_linear(g, x, HIDDEN, "a")), OUT, "b");
    acr_output(g, "out", o);
    acr_loss(g, acr_mse(g, o, y, ACR_NONE));
}

/* Each sample alone against all at once; returns whether any is NaN. */
static bool alone_as_together(zoo_run *r, zoo_data *d)
{
    static float together[SAMPLES * OUT], alone[OUT];
    acr_batch b = zoo_slice(d, 0, SAMPLES);
    bool nan = false;
    ZOO_OK(r->ctx, acr_predict(r->t, &b, "out", together));
    for (int64_t s = 0; s < SAMPLES; s++) {
        b = zoo_slice(d, s, 1);
        ZOO_OK(r->ctx, acr_predict(r->t, &b, "out", alone));
        for (int64_t j = 0; j < OUT; j++) {
            float want = together[s * OUT + j];
            if (isnan(want) ? !isnan(alone[j]) : memcmp(&alone[j], &want, sizeof want) != 0)
                fail_msg("sample %d, output %d: %a alone, %a among others", (int)s, (int)j, (double)alone[j], (double)want);
            nan |= isnan(want);
        }
    }
    return nan;
}

static void on_path(const char *isa, int threads)
{
    const zoo_case c = {"zeros", build};
    zoo_opts o = ZOO_OPTS_INIT;
    o.threads = threads;
    o.isa = isa;
    o.plan.micro_batch = SAMPLES;
    o.plan.optimizer = ACR_SGD;
    o.trainer.learning_rate = 3e38;
    o.trained = "b.*"; /* what meets its weights stays finite */
    zoo_run r = zoo_start(&c, &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    float *x = d.data[0], *y = d.data[1], infinite = INFINITY, finite = 0.5f;
    for (int64_t i = 0; i < SAMPLES * COLS; i++)
        if (i % 3 != 0 || i % COLS < 20)
            x[i] = 0;
    for (int64_t i = 0; i < SAMPLES * OUT; i++)
        y[i] *= 1e6f;
    assert_false(alone_as_together(&r, &d));
    ZOO_OK(r.ctx, acr_param_write(r.t, WEIGHT, 7, 1, &infinite)); /* meets a zero of each sample */
    assert_true(alone_as_together(&r, &d));
    ZOO_OK(r.ctx, acr_param_write(r.t, WEIGHT, 7, 1, &finite));
    assert_false(alone_as_together(&r, &d));
    acr_batch b = zoo_slice(&d, 0, SAMPLES);
    ZOO_OK(r.ctx, acr_window_open(r.t));
    ZOO_OK(r.ctx, acr_window_add(r.t, &b));
    ZOO_OK(r.ctx, acr_window_close(r.t, NULL));
    assert_true(alone_as_together(&r, &d));
    zoo_free(&d);
    zoo_stop(&r);
}

static void odd_weights(void **state)
{
    (void)state;
    for (int i = 0; acr_isa_name(i) != NULL; i++)
        for (int threads = 1; threads <= 3; threads++)
            on_path(acr_isa_name(i), threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(odd_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
