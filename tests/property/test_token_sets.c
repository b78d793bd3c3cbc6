/* test_token_sets.c: training from a set of sequences: documents of every length,
 * packed and shuffled, give the same bits at every micro-batch and with every
 * number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "data/tokens.h"
#include "data/token_file.h"
#include "state.h"

enum { LENGTH = 24, DOCUMENTS = 40, WINDOW = 5, WINDOWS = 3 };
static char path[] = "/tmp/accrue-tokens-XXXXXX";

static void net_build(acr_graph *g)
{
    acr_domain token = acr_domain_create(g, "token", LENGTH);
    int64_t one = 1;
    acr_node ids = acr_input_in(g, token, "ids", ACR_I32, 1, &one), y = acr_input_in(g, token, "target", ACR_I32, 1, &one);
    acr_node position = acr_input_in(g, token, "position", ACR_I32, 1, &one);
    acr_attention_opts o = ACR_ATTENTION_OPTS_INIT;
    o.heads = o.kv_heads = 2;
    o.dim = 4;
    acr_node x = acr_embedding_shared(g, ids, acr_param_normal(g, "table", 2, (int64_t[]){ZOO_CLASSES, 8}, 1));
    acr_node qkv = acr_linear(g, x, 24, "qkv");
    x = acr_add(g, x, acr_attention(g, qkv, ACR_NONE, ACR_NONE, position, &o));
    x = acr_linear(g, x, ZOO_CLASSES, "head");
    zoo_loss(g, x, acr_cross_entropy(g, x, y, ACR_NONE, NULL));
}
static const zoo_case net = {"net", net_build};

/* Documents of 1 to 40 tokens; every fifth token is not to be learned. */
static void make_file(acr_context *ctx)
{
    acr__token_head head = {ZOO_CLASSES, -1, "0123456789abcdef0123456789abcdef", true};
    acr__token_writer *w;
    ZOO_OK(ctx, acr__token_writer_open(&w, ctx, path, &head));
    for (int d = 0, t = 0; d < DOCUMENTS; d++) {
        for (int i = 0; i < 1 + d * 17 % 40; i++, t++) {
            int32_t id = (int32_t)((uint32_t)t * 2654435761u >> 16) % ZOO_CLASSES;
            id |= t % 5 == 0 ? ACR_TOKEN_UNLEARNED : 0;
            ZOO_OK(ctx, acr__token_writer_add(w, &id, 1));
        }
        ZOO_OK(ctx, acr__token_writer_document(w));
    }
    ZOO_OK(ctx, acr__token_writer_commit(w));
    acr__token_writer_close(w);
}

static uint64_t train(const char *packing, int threads, int64_t micro)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.threads = threads;
    o.plan.micro_batch = micro;
    o.plan.optimizer = ACR_ADAMW;
    o.plan.max_window_rows = WINDOW * LENGTH;
    o.trainer.learning_rate = 0.01;
    zoo_run r = zoo_start(&net, &o);
    make_file(r.ctx);
    acr__tokens_desc d = ACR_TOKENS_DESC_INIT;
    d.format = "tokens";
    d.path = path;
    d.sequence_length = LENGTH;
    d.packing = packing;
    d.validation_split = 0.1;
    acr__tokens *set;
    ZOO_OK(r.ctx, acr__tokens_open(&set, r.ctx, &d));
    acr__tokens_source from;
    acr_source source;
    acr__tokens_source_init(&from, set, true, 9, &source);
    uint64_t h = STATE_BEGIN;
    for (int u = 0; u < WINDOWS; u++) {
        acr_report report = ACR_REPORT_INIT;
        ZOO_OK(r.ctx, acr_window_open(r.t));
        ZOO_OK(r.ctx, acr_window_pull(r.t, &source, 1, u * WINDOW, WINDOW));
        ZOO_OK(r.ctx, acr_window_close(r.t, &report));
        assert_int_equal(report.skipped, 0);
        h = state_hash(&r, state_report(h, &report));
    }
    acr__tokens_close(set);
    zoo_stop(&r);
    return h;
}

static void same_bits(void **state)
{
    (void)state;
    static const char *const packings[] = {"stream", "whole"};
    uint64_t want[2];
    for (int p = 0; p < 2; p++) {
        want[p] = train(packings[p], 1, WINDOW);
        for (int threads = 1; threads < 4; threads += 2)
            for (int64_t micro = 1; micro <= 3; micro++)
                assert_int_equal(train(packings[p], threads, micro), want[p]);
    }
    assert_int_not_equal(want[0], want[1]);
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
