/* test_recompute.c: blocks whose values are dropped and computed again: the same bits
 * for every number of them, ever less memory, no buffer read outside of its lives,
 * and a placement that is close to the least there can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../state.h"
#include "accum/trainer.h"
#include "model/lm.h"

enum { LAYERS = 3, SAMPLES = 11, UPDATES = 2 };

static void language_model(acr_graph *g, acr__lm_family family, bool output)
{
    acr__lm lm;
    zoo_text t = zoo_text_of(g);
    acr__lm_defaults(&lm, family);
    lm.vocab = 29;
    lm.layers = LAYERS;
    lm.width = 12;
    lm.heads = 3;
    lm.kv_heads = family == ACR__LM_GPT2 ? 3 : 1;
    lm.head_dim = 4;
    lm.inner = 20;
    lm.positions = ZOO_SEQUENCE;
    lm.initializer_range = 0.3;
    lm.eos_count = 0;
    lm.bos = lm.pad = -1;
    acr__lm_io io = {.ids = t.ids, .position = t.position};
    ZOO_OK(acr_graph_context(g), acr__lm_build(g, &lm, &io));
    if (output)
        acr_output(g, "prediction", io.hidden);
    acr_loss(g, acr_head_cross_entropy(g, io.hidden, io.head, t.y, ACR_NONE, NULL));
}

static void gpt2(acr_graph *g) { language_model(g, ACR__LM_GPT2, false); }
static void llama(acr_graph *g) { language_model(g, ACR__LM_LLAMA, true); }

/* Blocks without a residual: each one's last value is what the next would write over;
 * outputs, reshapes and a norm of rows of the stage lie inside. */
static void chain(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 9), y = zoo_in(g, "y", 3);
    acr_node h = acr_linear(g, x, 12, "a");
    acr_block_end(g, h);
    h = acr_tanh(g, acr_reshape(g, acr_relu(g, h), 2, (int64_t[]){4, 3}));
    acr_output(g, "inside", h);
    h = acr_dropout(g, acr_silu(g, acr_reshape(g, h, 1, (int64_t[]){12})), 0.25f, "drop");
    h = acr_linear(g, acr_layer_norm(g, h, 1e-5f, "ln"), 10, "b");
    acr_block_end(g, h);
    h = acr_sigmoid(g, acr_linear(g, acr_softmax(g, h), 3, "c"));
    h = acr_mul(g, h, acr_add(g, h, h));
    acr_block_end(g, h);
    zoo_loss(g, h, acr_mse(g, h, y, ACR_NONE));
}

static const zoo_case cases[] = {{"gpt2", gpt2}, {"llama", llama}, {"chain", chain}};
enum { CASES = 3 };

static zoo_opts options(int recompute, int64_t micro, int64_t stage, int threads)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.threads = threads;
    o.plan.micro_batch = micro;
    o.plan.stage_rows = stage;
    o.plan.optimizer = ACR_ADAMW;
    o.plan.recompute = recompute;
    o.plan.max_window_rows = SAMPLES * ZOO_SEQUENCE;
    o.trainer.learning_rate = 0.01;
    return o;
}

/* Before a step, NaN wherever no buffer is alive. */
static void poison(const acr_trainer *t, int step)
{
    const acr_plan *p = t->plan;
    bool *alive = calloc(p->arena_bytes / 64 + 1, 1);
    for (int i = 0; i < p->buffer_count; i++) {
        const acr__buffer *b = &p->buffers[i];
        bool lives = (b->first <= step && step <= b->last) || (b->again_first <= step && step <= b->again_last);
        for (size_t k = 0; !b->host && lives && k < b->bytes / 64; k++)
            alive[b->offset / 64 + k] = true;
    }
    for (size_t k = 0; k < p->arena_bytes / 64; k++)
        if (!alive[k])
            memset(t->arena + k * 64, 0xff, 64);
    free(alive);
}

static uint64_t train(const zoo_case *c, const zoo_opts *o, bool poisoned)
{
    zoo_run r = zoo_start(c, o);
    zoo_data d = zoo_make(r.g, SAMPLES, 7);
    uint64_t h = STATE_BEGIN;
    r.t->watch = poisoned ? poison : NULL;
    for (int u = 0; u < UPDATES; u++) {
        acr_report report = state_window(&r, &d, 0, SAMPLES, 0);
        assert_int_equal(report.skipped, 0);
        h = state_hash(&r, state_report(h, &report));
    }
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

static void same_bits(void **state)
{
    (void)state;
    static const int64_t split[][2] = {{SAMPLES, 0}, {3, 3}, {3, 0}, {1, 4}};
    for (int c = 0; c < CASES; c++) {
        zoo_opts o = options(0, SAMPLES, 0, 1);
        uint64_t want = train(&cases[c], &o, false);
        for (int recompute = 0; recompute <= 3; recompute++)
            for (int s = 0; s < 4; s++)
                for (int threads = 1; threads <= (split[s][0] > 1 ? 2 : 1); threads++) {
                    o = options(recompute, split[s][0], split[s][1], threads);
                    if (train(&cases[c], &o, threads == 1) != want)
                        fail_msg("%s, %d blocks again, micro-batch %d, stage %d, %d threads: other bits", cases[c].name,
                                 recompute, (int)split[s][0], (int)split[s][1], threads);
                }
    }
}

/* The test's own eyes: with nothing recomputed, every graph there is. */
static void nothing_is_read_outside_of_its_life(void **state)
{
    (void)state;
    for (int c = 0; c < ZOO_COUNT; c++)
        for (int64_t stage = 3; stage <= 9; stage += 6) {
            zoo_opts o = options(0, 3, stage, 1);
            if (train(&zoo[c], &o, true) != train(&zoo[c], &o, false))
                fail_msg("%s, stage %d: something is read outside of its life", zoo[c].name, (int)stage);
        }
}

/* What waits in the stage is there, and so is what leaves a block. */
static void only_what_is_gone_is_computed_again(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++)
        for (int64_t stage = 3; stage <= 9; stage += 6) {
            zoo_opts o = options(3, 3, stage, 1);
            zoo_run r = zoo_start(&cases[c], &o);
            int again = 0;
            for (int s = 0; s < r.plan->step_count; s++) {
                acr_node i = r.plan->steps[s].node;
                if (r.plan->steps[s].phase != ACR_AGAIN)
                    continue;
                again++;
                assert_false(acr__is_block_end(r.g, i) || r.g->nodes[i].is_output);
                assert_false(r.plan->buffers[r.plan->places[i].value].staged);
            }
            assert_true(again > 0);
            zoo_stop(&r);
        }
}

/* Bytes that share memory by lifetime, and the most that live at one step. */
static void sizes(const acr_plan *p, size_t *arena, size_t *least)
{
    size_t fixed = 0, most = 0;
    for (int s = 0; s < p->flush_end; s++) {
        size_t live = 0;
        for (int i = 0; i < p->buffer_count; i++) {
            const acr__buffer *b = &p->buffers[i];
            bool always = b->first == 0 && b->last == ACR_ALWAYS;
            if (s == 0 && always && !b->host)
                fixed += b->bytes;
            if (!always && !b->host)
                live += ((b->first <= s && s <= b->last) || (b->again_first <= s && s <= b->again_last)) ? b->bytes : 0;
        }
        most = live > most ? live : most;
    }
    *arena = p->arena_bytes - fixed;
    *least = most;
}

static void full_size(acr_graph *g, acr__lm_family family, int64_t rows)
{
    acr__lm lm;
    acr__lm_defaults(&lm, family);
    lm.layers = 12;
    lm.width = 768;
    lm.heads = 12;
    lm.kv_heads = family == ACR__LM_GPT2 ? 12 : 4;
    lm.head_dim = 64;
    lm.inner = family == ACR__LM_GPT2 ? 3072 : 2048;
    lm.vocab = 50257;
    lm.positions = rows > lm.positions ? rows : lm.positions;
    acr_domain token = acr_domain_create(g, "token", rows);
    int64_t one = 1;
    acr__lm_io io;
    io.ids = acr_input_in(g, token, "ids", ACR_I32, 1, &one);
    acr_node y = acr_input_in(g, token, "target", ACR_I32, 1, &one);
    io.position = acr_input_in(g, token, "position", ACR_I32, 1, &one);
    ZOO_OK(acr_graph_context(g), acr__lm_build(g, &lm, &io));
    acr_loss(g, acr_head_cross_entropy(g, io.hidden, io.head, y, ACR_NONE, NULL));
    ZOO_OK(acr_graph_context(g), acr_graph_finish(g));
}

static void less_memory_and_tight(void **state)
{
    (void)state;
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    for (int k = 0; k < 4; k++) {
        acr_graph *g = acr_graph_create(ctx, NULL);
        full_size(g, k % 2 ? ACR__LM_LLAMA : ACR__LM_GPT2, k < 2 ? 256 : 1024);
        assert_int_equal(acr_block_count(g), 12);
        size_t before = SIZE_MAX;
        for (int recompute = 0; recompute <= 12; recompute++) {
            acr_plan_opts o = ACR_PLAN_OPTS_INIT;
            o.optimizer = ACR_ADAMW;
            o.max_window_rows = 2048;
            o.recompute = recompute;
            acr_plan *p;
            ZOO_OK(ctx, acr_plan_create(&p, g, &o));
            size_t arena, least;
            sizes(p, &arena, &least);
            printf("# %s, %d rows, %2d blocks again: %6.1f MiB, %5.2f%% above the least\n", k % 2 ? "llama" : "gpt2",
                   k < 2 ? 256 : 1024, recompute, (double)arena / 1048576, 100 * ((double)arena / (double)least - 1));
            assert_true((double)arena <= 1.03 * (double)least);
            assert_true(acr_plan_bytes(p) <= before);
            before = acr_plan_bytes(p);
            acr_plan_destroy(p);
        }
        acr_graph_destroy(g);
    }
    acr_context_destroy(ctx);
}

static void refused(void **state)
{
    (void)state;
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    static const char *const says[] = {"reads node", "lies before the block", "no node", "recompute is 4"};
    for (int k = 0; k < 4; k++) {
        acr_graph *g = acr_graph_create(ctx, NULL);
        acr_status status;
        if (k < 3) {
            acr_node x = zoo_in(g, "x", 4), a = acr_relu(g, x), b = acr_tanh(g, a);
            acr_block_end(g, k == 2 ? 99 : b);
            acr_node c = acr_add(g, b, k == 0 ? a : x);
            acr_block_end(g, k == 1 ? b : c);
            acr_output(g, "o", c);
            status = acr_graph_finish(g);
        } else {
            acr_plan_opts o = ACR_PLAN_OPTS_INIT;
            acr_plan *p;
            chain(g);
            ZOO_OK(ctx, acr_graph_finish(g));
            o.recompute = 4;
            status = acr_plan_create(&p, g, &o);
        }
        assert_int_equal(status, ACR_E_ARGUMENT);
        if (!strstr(acr_error(ctx), says[k]))
            fail_msg("%d: '%s'", k, acr_error(ctx));
        acr_graph_destroy(g);
    }
    acr_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits),
        cmocka_unit_test(nothing_is_read_outside_of_its_life),
        cmocka_unit_test(only_what_is_gone_is_computed_again),
        cmocka_unit_test(less_memory_and_tight),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
