/* test_dropout.c: what the dropout op drops, by rule 7 and by nothing else: the
 * counter is (window, op, the sample's place in the window, the element within
 * the sample), each of them whole 32-bit words. */
#include "accum/trainer.h"
#include "state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { COLS = 7, SAMPLES = 5 };
static const float SHARE = 0.3f;

static void by_sample(acr_graph *g) { acr_output(g, "out", acr_dropout(g, zoo_in(g, "x", COLS), SHARE, "drop")); }

static void by_token(acr_graph *g)
{
    acr_domain token = acr_domain_create(g, "token", ZOO_MAX_ROWS);
    acr_node x = acr_input_in(g, token, "x", ACR_F32, 1, (int64_t[]){COLS});
    acr_output(g, "out", acr_dropout(g, x, SHARE, "drop"));
}

static float dropped(float x, uint64_t seed, int64_t window, int64_t place, int64_t element)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)window, acr__hash32("drop"), (uint32_t)place, (uint32_t)(element / 4)};
    uint32_t words[4];
    acr__philox4x32(counter, key, words);
    return words[element % 4] >= (uint32_t)((double)SHARE * 4294967296.0) ? x * (1.0f / (1.0f - SHARE)) : 0.0f;
}

/* One micro-batch whose first sample is the window's sample number `place`. */
static void check(const zoo_case *c, const zoo_opts *o, int64_t window, int64_t place)
{
    zoo_run r = zoo_start(c, o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    acr_batch b = zoo_slice(&d, 0, SAMPLES);
    acr_clock clock = {.windows = window};
    float out[SAMPLES * ZOO_MAX_ROWS * COLS];
    const float *x = d.data[0];
    const int32_t *offsets = d.offsets[2];
    int64_t rows = offsets ? offsets[SAMPLES] : SAMPLES;
    ZOO_OK(r.ctx, acr_clock_set(r.t, &clock));
    ZOO_OK(r.ctx, acr_window_open(r.t));
    r.t->samples = place;
    ZOO_OK(r.ctx, acr_window_forward(r.t, &b));
    ZOO_OK(r.ctx, acr_output_read(r.t, "out", 0, rows, out));
    for (int64_t i = 0, e = 0; i < SAMPLES; i++)
        for (int64_t k = 0; k < (offsets ? offsets[i + 1] - offsets[i] : 1) * COLS; k++, e++) {
            float want = dropped(x[e], o->seed, window, place + i, k);
            assert_memory_equal(&out[e], &want, sizeof want);
        }
    acr_window_abort(r.t);
    ZOO_OK(r.ctx, acr_predict(r.t, &b, "out", out));
    assert_memory_equal(out, x, (size_t)(rows * COLS) * sizeof *x);
    zoo_free(&d);
    zoo_stop(&r);
}

static void by_its_counter(void **state)
{
    (void)state;
    static const zoo_case cases[] = {{"by sample", by_sample}, {"by token", by_token}};
    static const int64_t windows[] = {0, 257, UINT32_MAX - 1};
    static const int64_t places[] = {0, 253, 65534, (1 << 24) - 2, INT64_C(1) << 31, (int64_t)UINT32_MAX - SAMPLES};
    for (size_t c = 0; c < 2; c++)
        for (size_t w = 0; w < sizeof windows / sizeof *windows; w++)
            for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
                zoo_opts o = ZOO_OPTS_INIT;
                o.threads = 1 + (int)(p % 3);
                o.seed = UINT64_C(0x123456789abcdef);
                o.plan.micro_batch = SAMPLES;
                check(&cases[c], &o, windows[w], places[p]);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_its_counter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
