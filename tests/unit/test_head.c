/* test_head.c: a head whose logits are never whole gives the bits of a linear and a
 * cross_entropy that have them whole: parameters, state, losses, evaluations, over
 * chunks, stages, threads and paths; and the plan shows the chunk and nothing larger. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../state.h"
#include "plan/plan.h"

enum { VOCABULARY = 531, WIDTH = 24, SAMPLES = 300, UPDATES = 2 };

static float class_weight[VOCABULARY];

static acr_node body(acr_graph *g, acr_node *table, acr_node *y, acr_node *w)
{
    acr_domain token = acr_domain_create(g, "token", ZOO_MAX_ROWS);
    int64_t one = 1;
    acr_node ids = acr_input_in(g, token, "id", ACR_I32, 1, &one);
    *y = acr_input_in(g, token, "y", ACR_I32, 1, &one);
    *w = acr_input_in(g, token, "w", ACR_F32, 1, &one);
    *table = acr_param(g, "wte", 2, (int64_t[]){VOCABULARY, WIDTH}, WIDTH, 0);
    acr_node h = acr_linear(g, acr_embedding_shared(g, ids, *table), WIDTH, "fc");
    h = acr_add(g, h, acr_tanh(g, h));
    acr_output(g, "prediction", h);
    return h;
}

static const acr_ce_opts *options(void)
{
    static acr_ce_opts ce = ACR_CE_OPTS_INIT;
    for (int i = 0; i < VOCABULARY; i++)
        class_weight[i] = (float)(i % 5) * 0.5f;
    ce.label_smoothing = 0.05f;
    ce.ignore_index = 7;
    ce.class_weight = class_weight;
    return &ce;
}

static void whole(acr_graph *g)
{
    acr_node table, y, w, h = body(g, &table, &y, &w);
    acr_loss(g, acr_cross_entropy(g, acr_linear_shared(g, h, table), y, w, options()));
}

static void by_chunks(acr_graph *g)
{
    acr_node table, y, w, h = body(g, &table, &y, &w);
    acr_loss(g, acr_head_cross_entropy(g, h, table, y, w, options()));
}

static const zoo_case whole_case = {"whole", whole}, chunks_case = {"chunks", by_chunks};

static acr_status pull(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    (void)window;
    zoo_data *d = user;
    acr_batch b = zoo_slice(d, first, n);
    for (int i = 0; i < d->inputs; i++)
        memcpy(out->data[i], b.data[i], (size_t)d->moved[2][n] * 4);
    memcpy(out->offsets[0], d->moved[2], ((size_t)n + 1) * 4);
    return ACR_OK;
}

typedef struct way {
    const char *isa;
    int threads, pack;
    int64_t micro, stage;
    acr_reduction reduction;
    const char *trainable;
} way;

static zoo_run start(const zoo_case *c, const way *w)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.isa = w->isa;
    o.threads = w->threads;
    o.plan.pack = w->pack;
    o.plan.micro_batch = w->micro;
    o.plan.stage_rows = w->stage;
    o.plan.optimizer = ACR_ADAMW;
    o.plan.max_window_rows = SAMPLES * ZOO_MAX_ROWS;
    o.trainer.learning_rate = 0.02;
    o.trainer.max_grad_norm = 0.3;
    o.trainer.reduction = w->reduction;
    o.trained = w->trainable;
    return zoo_start(c, &o);
}

static uint64_t train(const zoo_case *c, const way *w)
{
    zoo_run r = start(c, w);
    zoo_data d = zoo_make(r.g, SAMPLES, 3);
    acr_source source = {sizeof source, &d, pull, 0};
    acr_eval e = ACR_EVAL_INIT;
    uint64_t h = STATE_BEGIN;
    int32_t *id = d.data[0], *y = d.data[1];
    for (int i = 0; i < d.offsets[2][SAMPLES]; i++) {
        id[i] = i * i % VOCABULARY;
        y[i] = i % 11 ? (i * 7 + 3) % VOCABULARY : 7;
    }
    for (int u = 0; u < UPDATES; u++) {
        acr_report report = state_window(&r, &d, 0, SAMPLES, 0);
        h = state_hash(&r, state_report(h, &report));
    }
    ZOO_OK(r.ctx, acr_evaluate(r.t, &source, SAMPLES, &e));
    assert_true(e.accuracy >= 0 && e.weight > 0);
    h = state_mix(state_mix(h, &e.loss, sizeof e.loss), &e.accuracy, sizeof e.accuracy);
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

static void expect(const way *w, uint64_t want)
{
    if (train(&chunks_case, w) != want)
        fail_msg("%s, %d threads, micro-batch %d, stage %d, pack %d, reduction %d: not the bits of whole logits",
                 w->isa ? w->isa : "the best path", w->threads, (int)w->micro, (int)w->stage, w->pack, (int)w->reduction);
}

static void same_bits_as_whole_logits(void **state)
{
    (void)state;
    way plain = {"scalar", 1, 0, SAMPLES, 0, ACR_MEAN, NULL};
    uint64_t want = train(&whole_case, &plain);
    static const struct {
        int64_t micro, stage;
    } split[] = {{SAMPLES, 0}, {150, 150}, {7, 0}, {7, 7}, {7, 301}, {1, 5}};
    for (int i = 0; acr_isa_name(i); i++)
        for (int s = 0; s < 6; s++)
            for (int threads = 1; threads <= 3; threads++) {
                way w = {acr_isa_name(i), threads, (s + threads) % 2, split[s].micro, split[s].stage, ACR_MEAN, NULL};
                if (threads < 2 || w.micro > 7) /* few rows by a team are barriers and little else */
                    expect(&w, want);
            }
}

static void other_reductions_and_frozen_parts(void **state)
{
    (void)state;
    static const char *const trainable[] = {"wte", "fc.*"};
    for (int k = 0; k < 4; k++) {
        way w = {"scalar", 1, 0, 150, 0, ACR_MEAN, k < 2 ? NULL : trainable[k - 2]};
        w.reduction = k < 2 ? ACR_MEAN_OF_MICRO_BATCHES + k : ACR_MEAN;
        uint64_t want = train(&whole_case, &w);
        w.threads = 2;
        w.isa = NULL;
        expect(&w, want);
    }
    way w = {"scalar", 1, 0, 7, 7, ACR_SUM_OF_MICRO_BATCH_MEANS, NULL};
    uint64_t want = train(&whole_case, &w);
    w.stage = 70; /* staged: weighing must spare the rows that wait */
    expect(&w, want);
}

static const acr_plan_entry *entry(const acr_plan *p, const char *part)
{
    static acr_plan_entry e;
    for (int i = 0; acr_plan_entry_get(p, i, &e) == ACR_OK; i++)
        if (strstr(e.name, part))
            return &e;
    return NULL;
}

static void plan_shows_the_chunk(void **state)
{
    (void)state;
    way w = {NULL, 1, 0, SAMPLES, 0, ACR_MEAN, NULL};
    zoo_run r = start(&chunks_case, &w);
    const acr_plan_entry *e = entry(r.plan, ".logits");
    assert_non_null(e);
    assert_int_equal(e->kind, ACR_KIND_SCRATCH);
    assert_int_equal(e->first, e->last); /* of its own step alone */
    assert_int_equal(e->bytes, 256 * 544 * sizeof(float));
    for (int i = 0; i < acr_plan_entries(r.plan); i++) {
        acr_plan_entry other;
        assert_int_equal(acr_plan_entry_get(r.plan, i, &other), ACR_OK);
        assert_true(other.bytes < SAMPLES * ZOO_MAX_ROWS * VOCABULARY * sizeof(float));
    }
    zoo_stop(&r);
    w.micro = 1;
    r = start(&chunks_case, &w);
    e = entry(r.plan, ".logits");
    assert_int_equal(e->kind, ACR_KIND_STAGING);
    assert_int_equal(e->bytes, 64 * ZOO_MAX_ROWS * 544 * sizeof(float));
    zoo_stop(&r);
    w.stage = 1024; /* the other rows are staged, so many logits are not */
    r = start(&chunks_case, &w);
    assert_int_equal(entry(r.plan, ".logits")->kind, ACR_KIND_SCRATCH);
    zoo_stop(&r);
}

static void refused(void **state)
{
    (void)state;
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    for (int k = 0; k < 7; k++) {
        static const char *const says[] = {"ends", "int32 input", "float input", "label_smoothing", "class_weight[1]",
                                           "two classes", "no parameter"};
        static const float negative[8] = {1, -1};
        acr_graph *g = acr_graph_create(ctx, NULL);
        acr_node x = zoo_in(g, "x", k == 0 ? 5 : 4), y = k == 1 ? zoo_in(g, "y", 1) : zoo_ids(g, "y");
        acr_node table = acr_param(g, "table", 2, (int64_t[]){k == 5 ? 1 : 8, 4}, 4, 0);
        acr_ce_opts ce = ACR_CE_OPTS_INIT;
        ce.label_smoothing = k == 3 ? 1.5f : 0;
        ce.class_weight = k == 4 ? negative : NULL;
        acr_loss(g, acr_head_cross_entropy(g, x, k == 6 ? x : table, y, k == 2 ? y : ACR_NONE, &ce));
        assert_int_not_equal(acr_graph_finish(g), ACR_OK);
        if (!strstr(acr_error(ctx), k ? says[k] : "ending in 5"))
            fail_msg("%d: '%s'", k, acr_error(ctx));
        acr_graph_destroy(g);
    }
    acr_context_destroy(ctx);
}

/* Told before anything is added. */
static void labels_out_of_range(void **state)
{
    (void)state;
    way w = {NULL, 1, -1, 8, 0, ACR_MEAN, NULL};
    zoo_run r = start(&chunks_case, &w);
    zoo_data d = zoo_make(r.g, 4, 3);
    acr_batch b = zoo_slice(&d, 0, 4);
    ((int32_t *)d.data[1])[2] = VOCABULARY;
    ZOO_OK(r.ctx, acr_window_open(r.t));
    assert_int_equal(acr_window_add(r.t, &b), ACR_E_DATA);
    assert_non_null(strstr(acr_error(r.ctx), "the label is 531, from 0 to 530"));
    zoo_free(&d);
    zoo_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_as_whole_logits), cmocka_unit_test(other_reductions_and_frozen_parts),
        cmocka_unit_test(plan_shows_the_chunk),      cmocka_unit_test(refused),
        cmocka_unit_test(labels_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
