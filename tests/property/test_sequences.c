/* test_sequences.c: attention in whole trainings, over sequences longer than a
 * block of queries, with products in fp32 and in bf16: the bits do not depend on
 * paths, threads, micro-batches or plans; gradients match central differences over random shapes; no row sees a
 * later one or another document. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "differences.h"
#include "state.h"

/* A layer of attention between two products. */
typedef struct shape {
    int64_t rows, heads, kv_heads, dim;
    bool packed, rope;
    float dropout;
} shape;
static shape now;    /* what layer() builds */
static int products; /* and in what precision */

static acr_node attended(acr_graph *g, acr_node x, acr_node position)
{
    acr_attention_opts o = ACR_ATTENTION_OPTS_INIT;
    acr_rope_opts r = ACR_ROPE_OPTS_INIT;
    acr_linear_opts l = ACR_LINEAR_OPTS_INIT;
    int64_t q_cols = now.heads * now.dim, kv_cols = now.kv_heads * now.dim;
    o.heads = now.heads;
    o.kv_heads = now.kv_heads;
    o.dim = r.dim = now.dim;
    o.dropout = now.dropout;
    o.name = "drop";
    l.transposed = 1;
    l.std = 0.4f;
    if (now.packed)
        return acr_attention(g, acr_linear_with(g, x, q_cols + 2 * kv_cols, "qkv", &l), ACR_NONE, ACR_NONE, position, &o);
    acr_node q = acr_linear(g, x, q_cols, "q"), k = acr_linear(g, x, kv_cols, "k"), v = acr_linear(g, x, kv_cols, "v");
    if (now.rope) {
        q = acr_rope(g, q, position, &r);
        k = acr_rope(g, k, position, &r);
    }
    return acr_attention(g, q, k, v, position, &o);
}

static void layer(acr_graph *g)
{
    acr_domain token = acr_domain_create(g, "token", now.rows);
    int64_t one = 1;
    acr_node ids = acr_input_in(g, token, "id", ACR_I32, 1, &one), y = acr_input_in(g, token, "y", ACR_I32, 1, &one);
    acr_node position = acr_input_in(g, token, "position", ACR_I32, 1, &one);
    acr_node x = acr_embedding_shared(g, ids, acr_param_normal(g, "table", 2, (int64_t[]){ZOO_CLASSES, 7}, 1));
    x = acr_add(g, x, acr_linear(g, attended(g, x, position), 7, "proj"));
    x = acr_linear(g, x, ZOO_CLASSES, "head");
    zoo_loss(g, x, acr_cross_entropy(g, x, y, ACR_NONE, NULL));
}
static const zoo_case net = {"layer", layer};

/* Places 0, 1, 2, ... of each sample; a second document begins at row `cut` of it. */
static void set_documents(zoo_data *d, int32_t cut)
{
    int32_t *p = d->data[d->position];
    for (int64_t s = 0; s < d->samples; s++)
        for (int32_t r = d->offsets[2][s], i = 0; r < d->offsets[2][s + 1]; r++, i++)
            p[r] = i < cut ? i : i - cut;
}

/* ---- the same bits ---- */
enum { SAMPLES = 7, WINDOW = 5 };

static zoo_opts options(const char *isa, int threads, int64_t micro, int64_t stage, int pack)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.isa = isa;
    o.products = products;
    o.threads = threads;
    o.plan.micro_batch = micro;
    o.plan.stage_rows = stage;
    o.plan.pack = pack;
    o.plan.optimizer = ACR_ADAMW;
    o.plan.max_window_rows = SAMPLES * 400;
    o.trainer.learning_rate = 0.01;
    o.trainer.max_grad_norm = 0.3;
    return o;
}

static uint64_t train(const zoo_opts *o, int32_t cut)
{
    zoo_run r = zoo_start(&net, o);
    zoo_data d = zoo_make(r.g, SAMPLES, 3);
    if (cut)
        set_documents(&d, cut);
    uint64_t h = STATE_BEGIN;
    for (int u = 0; u < 2; u++) {
        acr_report report = state_window(&r, &d, u * WINDOW, u ? SAMPLES - WINDOW : WINDOW, 0);
        assert_int_equal(report.skipped, 0);
        h = state_hash(&r, state_report(h, &report));
    }
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

static const shape shapes[] = {
    {150, 4, 4, 8, true, false, 0.2f},
    {131, 6, 2, 10, false, true, 0},
    {70, 3, 1, 17, false, false, 0.5f},
    {1, 2, 2, 3, true, false, 0.1f},
    {400, 1, 1, 4, false, true, 0.1f}, /* few heads: its queries are cut into pieces */
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static uint64_t bits_of(int s)
{
    static const int64_t micro[] = {1, 2, 3, WINDOW};
    now = shapes[s];
    const int32_t cut = s == 1 ? 0 : (int32_t)(now.rows / 2);
    zoo_opts o = options("scalar", 1, WINDOW, 0, 0);
    uint64_t want = train(&o, cut);
    for (int i = 0; acr_isa_name(i); i++)
        for (int threads = 1; threads <= 3; threads++)
            for (int m = 0; m < 4; m++) {
                o = options(acr_isa_name(i), threads, micro[m], m % 2 ? micro[m] : 0, threads % 2);
                if (train(&o, cut) != want)
                    fail_msg("shape %d, products %d on %s, %d threads, micro-batch %d: other bits", s, products, o.isa,
                             threads, (int)micro[m]);
            }
    o.seed = 2;
    assert_true(train(&o, cut) != want);
    if (now.rows > 1) {
        o = options(NULL, 1, WINDOW, 0, 0);
        assert_true(train(&o, cut + 3) != want); /* other documents are another training */
    }
    return want;
}

static void bits_depend_on_nothing_else(void **state)
{
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        products = ACR_F32;
        uint64_t in_fp32 = bits_of(s);
        products = ACR_BF16;
        assert_true(bits_of(s) != in_fp32);
    }
    products = ACR_F32;
}

/* ---- gradients ---- */
static int64_t up_to(uint64_t seed, uint32_t what, int64_t n)
{
    return 1 + (int64_t)((zoo_uniform(seed, what, 0) + 1) * 0.4999f * (float)n);
}

static void gradients_match_differences(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        int64_t kv = up_to(seed, 1, 3);
        now = (shape){.rows = up_to(seed, 2, 21), .heads = kv * up_to(seed, 3, 3), .kv_heads = kv,
                      .dim = up_to(seed, 4, 5), .packed = seed % 2, .dropout = seed % 3 ? 0 : 0.3f};
        now.rope = !now.packed && now.dim % 2 == 0;
        char name[96];
        snprintf(name, sizeof name, "%d rows, %d heads, %d key heads of %d", (int)now.rows, (int)now.heads,
                 (int)now.kv_heads, (int)now.dim);
        const zoo_case named = {name, layer};
        differences_check(&named, 3, 2, seed, 0x1p-16f, 11);
    }
}

/* ---- who sees whom ---- */
typedef struct outputs {
    float row[2 * 200 * ZOO_CLASSES];
} outputs;

static void predict(zoo_run *r, zoo_data *d, outputs *out)
{
    acr_batch b = zoo_slice(d, 0, d->samples);
    ZOO_OK(r->ctx, acr_predict(r->t, &b, "prediction", out->row));
}

static bool row_same(const outputs *a, const outputs *b, int64_t row)
{
    return memcmp(a->row + row * ZOO_CLASSES, b->row + row * ZOO_CLASSES, ZOO_CLASSES * sizeof(float)) == 0;
}

static zoo_run start_with(const char *isa, zoo_data *d)
{
    zoo_opts o = options(isa, 1, 2, 0, 0);
    o.plan.optimizer = (acr_optimizer)0;
    zoo_run r = zoo_start(&net, &o);
    *d = zoo_make(r.g, 2, 3);
    return r;
}

static void no_row_sees_a_later_one_or_another_document(void **state)
{
    (void)state;
    static outputs before, after;
    for (int s = 0; s < 6; s++)
        for (int i = 0; acr_isa_name(i); i++) {
            zoo_data d;
            now = shapes[s % 3];
            products = s < 3 ? ACR_F32 : ACR_BF16;
            zoo_run r = start_with(acr_isa_name(i), &d);
            int32_t begin = d.offsets[2][1], end = d.offsets[2][2], cut = (end - begin) / 2, changed = begin + cut / 2;
            set_documents(&d, cut);
            predict(&r, &d, &before);
            int32_t *id = d.data[0];
            id[changed] = (id[changed] + 1) % ZOO_CLASSES;
            predict(&r, &d, &after);
            int different = 0;
            for (int32_t row = 0; row < end; row++) {
                bool may = row >= changed && row < begin + cut;
                assert_true(may || row_same(&before, &after, row));
                different += may && !row_same(&before, &after, row);
            }
            assert_true(end - begin < 8 || different > cut / 4); /* and the rows that do see it change */
            zoo_free(&d);
            zoo_stop(&r);
        }
    products = ACR_F32;
}

/* A document's numbers are those of the document alone, but for the places of its
 * keys in the chains of its sums: at places a multiple of 32 further on, the very bits. */
static void a_packed_document_is_the_document(void **state)
{
    (void)state;
    static outputs packed, alone;
    for (int s = 0; s < 6; s++) {
        zoo_data d, one;
        now = shapes[s % 3];
        products = s < 3 ? ACR_F32 : ACR_BF16;
        zoo_run r = start_with(NULL, &d);
        one = zoo_make(r.g, 2, 3);
        int32_t begin = d.offsets[2][1], end = d.offsets[2][2];
        int32_t cut = s < 3 ? (end - begin) / 3 : (end - begin) / 2 / 32 * 32;
        set_documents(&d, cut);
        predict(&r, &d, &packed);
        one.offsets[2][1] = end - begin - cut; /* the second document of the second sample, as the first sample */
        one.offsets[2][2] = end - begin - cut + 1;
        memcpy(one.data[0], (int32_t *)d.data[0] + begin + cut, (size_t)(end - begin - cut) * 4);
        set_documents(&one, INT32_MAX);
        predict(&r, &one, &alone);
        for (int32_t i = 0; i < (end - begin - cut) * ZOO_CLASSES; i++)
            assert_true(fabsf(alone.row[i] - packed.row[(begin + cut) * ZOO_CLASSES + i]) <= (s < 3 ? 1e-5f : 0));
        zoo_free(&d);
        zoo_free(&one);
        zoo_stop(&r);
    }
    products = ACR_F32;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_depend_on_nothing_else),
        cmocka_unit_test(gradients_match_differences),
        cmocka_unit_test(no_row_sees_a_later_one_or_another_document),
        cmocka_unit_test(a_packed_document_is_the_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
