/* test_decode.c: a sequence continued call by call gives the logits of one pass over
 * all of it, bit for bit: whatever the pieces, after going back, past the rows of a
 * sample, on every path, in fp32 and in bf16. And what it refuses changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../counting.h"
#include "../state.h"
#include "accum/trainer.h"
#include "model/lm.h"

enum { VOCABULARY = 37, LONGEST = 45, PASS = 8 };

/* rows: of a sample at most */
static void language_model(acr_graph *g, acr__lm_family family, int64_t rows)
{
    acr__lm lm;
    acr__lm_defaults(&lm, family);
    lm.vocab = VOCABULARY;
    lm.layers = 2;
    lm.width = 20;
    lm.heads = 4;
    lm.kv_heads = family == ACR__LM_GPT2 ? 4 : 2;
    lm.head_dim = family == ACR__LM_GPT2 ? 5 : 6;
    lm.inner = 33;
    lm.positions = LONGEST;
    lm.initializer_range = 0.4;
    lm.eos_count = 0;
    lm.bos = lm.pad = -1;
    int64_t one = 1;
    acr_domain token = acr_domain_create(g, "token", rows);
    acr__lm_io io;
    io.ids = acr_input_in(g, token, "ids", ACR_I32, 1, &one);
    acr_node target = acr_input_in(g, token, "target", ACR_I32, 1, &one);
    io.position = acr_input_in(g, token, "position", ACR_I32, 1, &one);
    acr_node extra = acr_input_in(g, token, "extra", ACR_F32, 1, &one);
    ZOO_OK(acr_graph_context(g), acr__lm_build(g, &lm, &io));
    acr_output(g, "logits", acr_linear_shared(g, io.hidden, io.head));
    acr_output(g, "both", acr_concat(g, 2, (acr_node[]){io.hidden, extra}));
    acr_loss(g, acr_head_cross_entropy(g, io.hidden, io.head, target, ACR_NONE, NULL));
}

static void gpt2_whole(acr_graph *g) { language_model(g, ACR__LM_GPT2, LONGEST); }
static void llama_whole(acr_graph *g) { language_model(g, ACR__LM_LLAMA, LONGEST); }
static void gpt2(acr_graph *g) { language_model(g, ACR__LM_GPT2, PASS); }
static void llama(acr_graph *g) { language_model(g, ACR__LM_LLAMA, PASS); }
static const zoo_case whole_cases[] = {{"gpt2", gpt2_whole}, {"llama", llama_whole}};
static const zoo_case cases[] = {{"gpt2", gpt2}, {"llama", llama}};

static int products;
static int32_t sequence[LONGEST];
static float whole[LONGEST * VOCABULARY];

static zoo_opts options(const char *isa, int threads, int reference, int64_t cache, int64_t micro)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.isa = isa;
    o.products = products;
    o.threads = threads;
    o.reference = reference;
    o.plan.micro_batch = micro;
    o.plan.optimizer = cache ? (acr_optimizer)0 : ACR_SGD;
    o.plan.cache_rows = cache;
    return o;
}

/* Every row's logits, from the forward of a trainer's plan. */
static void pass_over_all(int c, int reference)
{
    int32_t position[LONGEST], offsets[] = {0, LONGEST};
    float extra[LONGEST] = {0};
    for (int i = 0; i < LONGEST; i++) {
        sequence[i] = (i * i * 5 + 3) % VOCABULARY;
        position[i] = i;
    }
    zoo_opts o = options("scalar", 1, reference, 0, 1);
    zoo_run r = zoo_start(&whole_cases[c], &o);
    acr_batch b = {sizeof b, 1, (const void *[]){sequence, NULL, position, extra}, (const int32_t *[]){offsets}};
    ZOO_OK(r.ctx, acr_predict(r.t, &b, "logits", whole));
    zoo_stop(&r);
}

/* Feeds [from, to) in pieces and compares each last row. */
static void feed(zoo_run *r, int64_t from, int64_t to, int64_t piece, const char *what)
{
    float row[VOCABULARY];
    for (int64_t n; from < to; from += n) {
        n = acr__min(piece, to - from);
        ZOO_OK(r->ctx, acr_decode(r->t, n, sequence + from, "logits", row));
        if (memcmp(row, whole + (from + n - 1) * VOCABULARY, sizeof row))
            fail_msg("%s, pieces of %d: other logits after %d tokens", what, (int)piece, (int)(from + n));
    }
}

static void continue_in_pieces(void)
{
    static const int64_t pieces[] = {1, 3, 7, PASS, 2 * PASS};
    for (int c = 0; c < 2; c++)
        for (int k = 0, reference = 0; acr_isa_name(k) || !reference; k++) {
            reference = !acr_isa_name(k);
            pass_over_all(c, reference);
            for (int threads = 1; threads <= 3; threads++)
                for (int pack = 0; pack < 2; pack++) {
                    zoo_opts o = options(acr_isa_name(k), threads, reference, LONGEST, 2);
                    o.plan.pack = pack;
                    zoo_run r = zoo_start(&cases[c], &o);
                    for (int p = 0; p < 5; p++) {
                        feed(&r, 0, LONGEST, pieces[p], cases[c].name);
                        ZOO_OK(r.ctx, acr_decode_rewind(r.t, 11)); /* and on from there */
                        feed(&r, 11, LONGEST, pieces[4 - p], cases[c].name);
                        ZOO_OK(r.ctx, acr_decode_rewind(r.t, 0));
                    }
                    zoo_stop(&r);
                }
        }
}

static void the_bits_of_one_pass(void **state)
{
    (void)state;
    static float in_fp32[LONGEST * VOCABULARY];
    products = ACR_F32;
    continue_in_pieces();
    pass_over_all(1, 0);
    memcpy(in_fp32, whole, sizeof whole);
    products = ACR_BF16;
    continue_in_pieces();
    pass_over_all(1, 0);
    assert_memory_not_equal(in_fp32, whole, sizeof whole);
    products = ACR_F32;
}

static void refused(void **state)
{
    (void)state;
    float row[VOCABULARY];
    int32_t bad[] = {1, VOCABULARY};
    zoo_opts o = options(NULL, 1, 0, LONGEST + 1, 1);
    zoo_run r = zoo_start(&cases[0], &o);
    pass_over_all(0, 0);
    feed(&r, 0, 5, 5, "first");
    struct {
        int64_t n;
        const int32_t *ids;
        const char *output;
        acr_status status;
        const char *says;
    } calls[] = {
        {0, sequence, "logits", ACR_E_ARGUMENT, "0 tokens at once, from 1 to the 8 planned"},
        {PASS + 1, sequence, "logits", ACR_E_ARGUMENT, "9 tokens at once"},
        {2, bad, "logits", ACR_E_DATA, "token 6 of the sequence: the id is 37, from 0 to 36"},
        {1, sequence, "none", ACR_E_ARGUMENT, "no output 'none'"},
        {1, sequence, "both", ACR_E_ARGUMENT, "needs the input 'extra'"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        assert_int_equal(acr_decode(r.t, calls[i].n, calls[i].ids, calls[i].output, row), calls[i].status);
        if (!strstr(acr_error(r.ctx), calls[i].says))
            fail_msg("'%s' does not say '%s'", acr_error(r.ctx), calls[i].says);
    }
    feed(&r, 5, LONGEST, 1, "after refusals");
    assert_int_equal(acr_decode(r.t, 1, sequence, "logits", row), ACR_E_ARGUMENT);
    assert_non_null(strstr(acr_error(r.ctx), "would have 46 tokens, and the model has 45 positions"));
    assert_int_equal(acr_decode_rewind(r.t, LONGEST + 1), ACR_E_ARGUMENT);
    assert_int_equal(acr_decode_rewind(r.t, -1), ACR_E_ARGUMENT);
    zoo_stop(&r);
    o = options(NULL, 1, 0, PASS, 1);
    r = zoo_start(&cases[1], &o);
    pass_over_all(1, 0);
    feed(&r, 0, PASS, 3, "all of the cache");
    assert_int_equal(acr_decode(r.t, 1, sequence, "logits", row), ACR_E_ARGUMENT);
    assert_non_null(strstr(acr_error(r.ctx), "would have 9 tokens, and the plan's cache_rows is 8"));
    acr_plan *p;
    o.plan.optimizer = ACR_SGD;
    assert_int_equal(acr_plan_create(&p, r.g, &o.plan), ACR_E_ARGUMENT);
    o.plan.optimizer = (acr_optimizer)0;
    o.plan.cache_rows = -1;
    assert_int_equal(acr_plan_create(&p, r.g, &o.plan), ACR_E_ARGUMENT);
    zoo_stop(&r);
    o = options(NULL, 1, 0, 0, 1);
    r = zoo_start(&cases[0], &o);
    assert_int_equal(acr_decode(r.t, 1, sequence, "logits", row), ACR_E_STATE);
    zoo_stop(&r);
}

/* The caches are in the plan, decoding allocates nothing, and predictions beside it do
 * not touch the sequence. */
static void planned_and_apart(void **state)
{
    (void)state;
    counting c = {0};
    zoo_run r = {0};
    acr_context_opts co = counting_context(&c, 1);
    zoo_opts o = options(NULL, 1, 0, LONGEST, 1);
    int32_t position[PASS], offsets[] = {0, PASS};
    float extra[PASS] = {0}, rows[PASS * VOCABULARY];
    pass_over_all(1, 0);
    ZOO_OK(r.ctx, acr_context_create(&r.ctx, &co));
    acr_graph_opts go = ACR_GRAPH_OPTS_INIT;
    go.seed = o.seed;
    r.g = acr_graph_create(r.ctx, &go);
    llama(r.g);
    ZOO_OK(r.ctx, acr_graph_finish(r.g));
    ZOO_OK(r.ctx, acr_plan_create(&r.plan, r.g, &o.plan));
    ZOO_OK(r.ctx, acr_trainer_create(&r.t, r.plan, &o.trainer));
    size_t state_bytes = 4 * (size_t)acr__round_up(LONGEST * 12 * 4, 64); /* 2 layers, keys and values, 2 heads of 6 */
    assert_int_equal(acr_plan_kind_bytes(r.plan, ACR_KIND_STATE), state_bytes);
    for (int i = 0; i < PASS; i++)
        position[i] = i;
    acr_batch b = {sizeof b, 1, (const void *[]){sequence, NULL, position, extra}, (const int32_t *[]){offsets}};
    int64_t calls = c.calls;
    for (int64_t at = 0; at < LONGEST; at += 5) {
        feed(&r, at, acr__min(at + 5, LONGEST), 2, "beside predictions");
        ZOO_OK(r.ctx, acr_predict(r.t, &b, "logits", rows));
        assert_memory_equal(rows, whole, sizeof rows);
    }
    assert_int_equal(c.calls, calls);
    zoo_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_of_one_pass),
        cmocka_unit_test(refused),
        cmocka_unit_test(planned_and_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
