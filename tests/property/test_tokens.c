/* test_tokens.c: samples of several tokens. W counts the tokens that weigh; the
 * mean is over all of them, never a mean of micro-batch means, so how tokens are
 * spread over samples and samples over micro-batches cannot be seen in the
 * weights: not even in their last bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "state.h"

enum { TOKENS = 96, CLASSES = 4, IGNORED = -100, LONGEST = 12, UPDATES = 3 };

/* Every op that goes token by token; no dropout, which is keyed by the sample. */
static void layers(acr_graph *g, acr_domain d)
{
    acr_node id = acr_input_in(g, d, "id", ACR_I32, 1, (int64_t[]){1});
    acr_node y = acr_input_in(g, d, "y", ACR_I32, 1, (int64_t[]){1});
    acr_node w = acr_input_in(g, d, "w", ACR_F32, 1, (int64_t[]){1});
    acr_node table = acr_param(g, "wte", 2, (int64_t[]){CLASSES, 10}, 10, 0);
    acr_node h = acr_layer_norm(g, acr_embedding_shared(g, id, table), 1e-5f, "ln");
    h = acr_add(g, h, acr_silu(g, acr_linear(g, h, 10, "fc")));
    h = acr_linear_shared(g, acr_rms_norm(g, h, 1e-5f, "rms"), table);
    zoo_loss(g, h, acr_cross_entropy(g, h, y, w, NULL));
}

static void ragged(acr_graph *g) { layers(g, acr_domain_create(g, "token", LONGEST)); }
static void flat(acr_graph *g) { layers(g, ACR_SAMPLE); }

/* The same tokens for everybody: ids, labels (a third of them ignored), weights. */
static int32_t token_id[TOKENS], token_y[TOKENS];
static float token_w[TOKENS];

static void make_tokens(uint64_t seed)
{
    for (int i = 0; i < TOKENS; i++) {
        token_id[i] = (int32_t)((zoo_uniform(seed, 1, (uint64_t)i) + 1) * 0.4999f * CLASSES);
        token_y[i] = (int32_t)((zoo_uniform(seed, 2, (uint64_t)i) + 1) * 0.4999f * CLASSES);
        token_y[i] = zoo_uniform(seed, 3, (uint64_t)i) < -0.3f ? IGNORED : token_y[i];
        token_w[i] = 1.5f + zoo_uniform(seed, 4, (uint64_t)i);
    }
}

/* Cuts [0, TOKENS) into samples: of `each` tokens, or of 1 to LONGEST at random. */
static int64_t cut(int32_t *offsets, int each, uint64_t seed)
{
    int64_t n = 0;
    offsets[0] = 0;
    while (offsets[n] < TOKENS) {
        int take = each ? each : 1 + (int)((zoo_uniform(seed, 9, (uint64_t)n) + 1) * 0.4999f * LONGEST);
        offsets[n + 1] = (int32_t)acr__min(offsets[n] + take, TOKENS);
        n++;
    }
    return n;
}

/* Adds samples [first, first+n) of the cut. */
static void add(zoo_run *r, const int32_t *offsets, int64_t first, int64_t n)
{
    int32_t moved[TOKENS + 1];
    int32_t at = offsets[first];
    for (int64_t i = 0; i <= n; i++)
        moved[i] = offsets[first + i] - at;
    const void *data[] = {token_id + at, token_y + at, token_w + at};
    const int32_t *list[] = {moved};
    acr_batch b = {sizeof b, n, data, list};
    ZOO_OK(r->ctx, acr_window_add(r->t, &b));
}

typedef struct way {
    const zoo_case *c;
    const char *isa;
    int threads, each;
    int64_t micro, stage, adds;
    uint64_t cut_seed;
    acr_reduction reduction;
} way;
static const zoo_case ragged_case = {"ragged", ragged}, flat_case = {"flat", flat};

static uint64_t train(const way *w, acr_report *last)
{
    int32_t offsets[TOKENS + 1];
    zoo_opts o = ZOO_OPTS_INIT;
    o.isa = w->isa;
    o.threads = w->threads;
    o.plan.micro_batch = w->micro;
    o.plan.stage_rows = w->stage;
    o.plan.optimizer = ACR_ADAMW;
    o.plan.max_window_rows = TOKENS * LONGEST;
    o.trainer.learning_rate = 0.01;
    o.trainer.max_grad_norm = 0.2;
    o.trainer.reduction = w->reduction;
    zoo_run r = zoo_start(w->c, &o);
    uint64_t h = STATE_BEGIN;
    for (int u = 0; u < UPDATES; u++) {
        acr_report report = ACR_REPORT_INIT;
        make_tokens((uint64_t)u + 1);
        int64_t samples = cut(offsets, w->each, w->cut_seed + (uint64_t)u);
        ZOO_OK(r.ctx, acr_window_open(r.t));
        for (int64_t first = 0, n; first < samples; first += n) {
            n = acr__min(w->adds ? w->adds : samples, samples - first);
            add(&r, offsets, first, n);
        }
        ZOO_OK(r.ctx, acr_window_close(r.t, &report));
        h = state_hash(&r, state_report(h, &report));
        *last = report;
    }
    zoo_stop(&r);
    return h;
}

static uint64_t plain(acr_report *last)
{
    way w = {&flat_case, "scalar", 1, 1, TOKENS, 0, 0, 0, ACR_MEAN};
    return train(&w, last);
}

/* However tokens form samples and samples micro-batches, the flat run's bits. */
static void the_cut_does_not_show(void **state)
{
    (void)state;
    acr_report flat_report, report;
    uint64_t want = plain(&flat_report);
    static const int each[] = {1, 2, 5, LONGEST, 0};
    static const int64_t micro[] = {1, 2, 3, 7, TOKENS};
    for (int i = 0; acr_isa_name(i); i++)
        for (int e = 0; e < 5; e++)
            for (int m = 0; m < 5; m++) {
                way w = {&ragged_case, acr_isa_name(i), 1 + (e + m) % 3, each[e], micro[m], m % 2 ? 20 : 0,
                         e % 2 ? 0 : 4, (uint64_t)m, ACR_MEAN};
                w.stage = w.stage && w.stage < w.micro ? 0 : w.stage;
                if (train(&w, &report) != want)
                    fail_msg("%s, %d tokens a sample, micro-batch %d, stage %d, %d threads: other bits", w.isa, w.each,
                             (int)w.micro, (int)w.stage, w.threads);
                assert_true(report.weight == flat_report.weight && report.rows == TOKENS);
            }
}

/* W is the weight of the tokens that are not ignored, and the loss their mean. */
static void the_mean_is_over_tokens(void **state)
{
    (void)state;
    acr_report report;
    double W = 0;
    plain(&report);
    make_tokens(UPDATES);
    for (int i = 0; i < TOKENS; i++)
        W += token_y[i] == IGNORED ? 0 : (double)token_w[i];
    assert_true(fabs(report.weight - W) < 1e-9 * W);
    way means = {&ragged_case, "scalar", 1, 0, 3, 0, 0, 0, ACR_MEAN_OF_MICRO_BATCHES}, other = means;
    acr_report a, b;
    other.micro = 5;
    assert_true(train(&means, &a) != train(&other, &b)); /* the control: a mean of means does see the split */
    assert_true(fabs(a.loss - report.loss) > 1e-4 * report.loss);
}

/* A sample all of whose tokens are ignored weighs nothing and moves nothing. */
static void a_masked_sample(void **state)
{
    (void)state;
    uint64_t h[2];
    for (int with = 0; with < 2; with++) {
        zoo_opts o = ZOO_OPTS_INIT;
        o.plan.micro_batch = 2;
        o.plan.max_window_rows = TOKENS * LONGEST;
        zoo_run r = zoo_start(&ragged_case, &o);
        acr_report report = ACR_REPORT_INIT;
        int32_t offsets[TOKENS + 1];
        make_tokens(1);
        int64_t samples = 10; /* 60 tokens: fewer than any chain, where absent rows would show */
        assert_true(cut(offsets, 6, 0) > samples);
        for (int i = 0; i < 6; i++)
            token_y[30 + i] = IGNORED; /* the whole of sample 5 */
        ZOO_OK(r.ctx, acr_window_open(r.t));
        add(&r, offsets, 0, 5);
        if (with)
            add(&r, offsets, 5, 1);
        add(&r, offsets, 6, samples - 6);
        ZOO_OK(r.ctx, acr_window_close(r.t, &report));
        h[with] = state_hash(&r, STATE_BEGIN);
        assert_int_equal(report.samples, samples - 1 + with);
        zoo_stop(&r);
    }
    assert_true(h[0] == h[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cut_does_not_show),
        cmocka_unit_test(the_mean_is_over_tokens),
        cmocka_unit_test(a_masked_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
