/* zoo.h: small graphs that between them hold every op, with seeded data for
 * them. The gradient check, the same-bits tests and one_hash use the same ones. */
#ifndef ZOO_H
#define ZOO_H

#include "base/context.h"
#include "base/philox.h"
#include "graph/graph.h"
#include <accrue/accrue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ZOO_CLASSES = 5, ZOO_MAX_ROWS = 4, ZOO_SEQUENCE = 13, ZOO_LONG = 90 };

static inline acr_node zoo_in(acr_graph *g, const char *name, int64_t cols)
{
    return acr_input(g, name, ACR_F32, 1, &cols);
}
static inline acr_node zoo_ids(acr_graph *g, const char *name)
{
    return acr_input(g, name, ACR_I32, 1, (int64_t[]){1});
}
static inline void zoo_loss(acr_graph *g, acr_node prediction, acr_node loss)
{
    acr_output(g, "prediction", prediction);
    acr_loss(g, loss);
}

static void zoo_classifier(acr_graph *g)
{
    static const float class_weight[ZOO_CLASSES] = {1, 0.5f, 2, 1.25f, 0.75f};
    acr_ce_opts ce = ACR_CE_OPTS_INIT;
    ce.label_smoothing = 0.1f;
    ce.class_weight = class_weight;
    acr_node x = zoo_in(g, "x", 7), y = zoo_ids(g, "y"), w = zoo_in(g, "w", 1);
    acr_node h = acr_gelu(g, acr_linear(g, x, 33, "a"));
    h = acr_linear(g, acr_relu(g, acr_linear(g, h, 18, "b")), ZOO_CLASSES, "c");
    zoo_loss(g, h, acr_cross_entropy(g, h, y, w, &ce));
}

static void zoo_activations(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 6), y = zoo_in(g, "y", 3);
    acr_node h = acr_leaky_relu(g, acr_linear(g, x, 17, "a"), 0.1f);
    h = acr_gelu_tanh(g, acr_linear(g, h, 19, "b"));
    h = acr_silu(g, acr_linear(g, h, 11, "c"));
    h = acr_tanh(g, acr_linear(g, h, 8, "d"));
    h = acr_linear(g, acr_sigmoid(g, acr_linear(g, h, 5, "e")), 3, "f");
    zoo_loss(g, h, acr_mse(g, h, y, ACR_NONE));
}

/* A value read by several ops: the first backward writes, the later ones add. */
static void zoo_residual(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 9), y = zoo_in(g, "y", 4), w = zoo_in(g, "w", 1);
    acr_node a = acr_linear(g, x, 20, "in");
    acr_node b = acr_add(g, a, acr_linear(g, acr_layer_norm(g, a, 1e-5f, "ln"), 20, "mix"));
    acr_node n = acr_rms_norm(g, b, 1e-6f, "rms"); /* by itself: C does not order two arguments */
    acr_node c = acr_mul(g, n, acr_silu(g, b));
    acr_node d = acr_concat(g, 3, (acr_node[]){c, b, acr_add(g, a, a)});
    d = acr_reshape(g, acr_reshape(g, d, 3, (int64_t[]){5, 4, 3}), 1, (int64_t[]){60});
    d = acr_linear(g, d, 4, "out");
    zoo_loss(g, d, acr_huber(g, d, y, w, 0.7f));
}

static void zoo_dropout(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 8), y = zoo_in(g, "y", 5);
    acr_node h = acr_dropout(g, acr_relu(g, acr_linear(g, x, 37, "a")), 0.3f, "drop1");
    h = acr_dropout(g, acr_gelu(g, acr_linear(g, h, 16, "b")), 0.5f, "drop2");
    h = acr_linear(g, h, 5, "c");
    zoo_loss(g, h, acr_bce_with_logits(g, h, y, ACR_NONE));
}

/* One matrix used three times (two heads, one embedding) and a bias used twice. */
static void zoo_tied(acr_graph *g)
{
    acr_node ids = zoo_ids(g, "id"), y = zoo_ids(g, "y"), w = zoo_in(g, "w", 1);
    acr_node table = acr_param(g, "table", 2, (int64_t[]){ZOO_CLASSES, 12}, 12, 0);
    acr_node bias = acr_param(g, "shift", 1, (int64_t[]){12}, 0, 0.01f);
    acr_node h = acr_bias(g, acr_embedding_shared(g, ids, table), bias);
    h = acr_bias(g, acr_tanh(g, acr_linear(g, h, 12, "mid")), bias);
    acr_node p = acr_softmax(g, acr_linear_shared(g, h, table));
    acr_node back = acr_linear(g, p, 12, "back");
    acr_node o = acr_linear_shared(g, acr_add(g, h, back), table);
    zoo_loss(g, o, acr_cross_entropy(g, o, y, w, NULL));
}

/* A ragged domain: each sample has 1 to ZOO_MAX_ROWS tokens, some labels ignored. */
static void zoo_ragged(acr_graph *g)
{
    acr_domain token = acr_domain_create(g, "token", ZOO_MAX_ROWS);
    int64_t one = 1;
    acr_node ids = acr_input_in(g, token, "id", ACR_I32, 1, &one), y = acr_input_in(g, token, "y", ACR_I32, 1, &one);
    acr_node table = acr_param(g, "wte", 2, (int64_t[]){ZOO_CLASSES, 10}, 10, 0);
    acr_node h = acr_layer_norm(g, acr_embedding_shared(g, ids, table), 1e-5f, "ln");
    h = acr_dropout(g, acr_gelu_tanh(g, acr_linear(g, h, 14, "fc")), 0.2f, "drop");
    h = acr_linear_shared(g, acr_linear(g, h, 10, "proj"), table);
    zoo_loss(g, h, acr_cross_entropy(g, h, y, ACR_NONE, NULL));
}

static void zoo_soft(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 5), p = zoo_in(g, "p", 4), y = zoo_in(g, "y", 4);
    acr_ce_opts ce = ACR_CE_OPTS_INIT;
    ce.label_smoothing = 0.05f;
    acr_node h = acr_linear(g, acr_tanh(g, acr_linear(g, x, 6, "a")), 4, "b");
    (void)y;
    zoo_loss(g, h, acr_cross_entropy(g, h, p, ACR_NONE, &ce));
}

static void zoo_mae(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 5), y = zoo_in(g, "y", 3);
    acr_node h = acr_linear(g, acr_sigmoid(g, acr_linear(g, x, 6, "a")), 3, "b");
    zoo_loss(g, h, acr_mae(g, h, y, ACR_NONE));
}

/* A vocabulary's head, tied to the embedding. Labels are among the first ZOO_CLASSES. */
static void zoo_head(acr_graph *g)
{
    static const float class_weight[37] = {1, 0.5f, 2, 1.25f, 0.75f};
    acr_domain token = acr_domain_create(g, "token", ZOO_MAX_ROWS);
    int64_t one = 1;
    acr_node ids = acr_input_in(g, token, "id", ACR_I32, 1, &one), y = acr_input_in(g, token, "y", ACR_I32, 1, &one);
    acr_node w = acr_input_in(g, token, "w", ACR_F32, 1, &one);
    acr_node table = acr_param(g, "wte", 2, (int64_t[]){37, 10}, 10, 0);
    acr_node h = acr_rms_norm(g, acr_silu(g, acr_linear(g, acr_embedding_shared(g, ids, table), 10, "fc")), 1e-5f, "rms");
    acr_ce_opts ce = ACR_CE_OPTS_INIT;
    ce.label_smoothing = 0.1f;
    ce.class_weight = class_weight;
    zoo_loss(g, h, acr_head_cross_entropy(g, h, table, y, w, &ce));
}

/* ids, targets and positions of samples of up to ZOO_SEQUENCE tokens */
typedef struct zoo_text {
    acr_node ids, y, position;
} zoo_text;
static inline zoo_text zoo_text_of(acr_graph *g)
{
    acr_domain token = acr_domain_create(g, "token", ZOO_SEQUENCE);
    int64_t one = 1;
    zoo_text t;
    t.ids = acr_input_in(g, token, "id", ACR_I32, 1, &one);
    t.y = acr_input_in(g, token, "y", ACR_I32, 1, &one);
    t.position = acr_input_in(g, token, "position", ACR_I32, 1, &one);
    return t;
}

/* GPT-2's kind: learned positions, q | k | v of one product, weights [in, out],
 * dropout on the attention, a tied head. */
static void zoo_gpt(acr_graph *g)
{
    zoo_text t = zoo_text_of(g);
    acr_node wte = acr_param_normal(g, "wte", 2, (int64_t[]){ZOO_CLASSES, 12}, 0.5f);
    acr_node wpe = acr_param_normal(g, "wpe", 2, (int64_t[]){ZOO_SEQUENCE, 12}, 0.3f);
    acr_linear_opts conv = ACR_LINEAR_OPTS_INIT;
    conv.transposed = 1;
    conv.std = 0.4f;
    acr_attention_opts o = ACR_ATTENTION_OPTS_INIT;
    o.heads = o.kv_heads = 3;
    o.dim = 4;
    o.dropout = 0.25f;
    o.name = "h.0.attn.drop";
    acr_node x = acr_embedding_shared(g, t.ids, wte);
    x = acr_add(g, x, acr_embedding_shared(g, t.position, wpe));
    acr_node a = acr_linear_with(g, acr_layer_norm(g, x, 1e-5f, "h.0.ln_1"), 36, "h.0.c_attn", &conv);
    a = acr_attention(g, a, ACR_NONE, ACR_NONE, t.position, &o);
    x = acr_add(g, x, acr_linear_with(g, a, 12, "h.0.c_proj", &conv));
    a = acr_linear_with(g, acr_layer_norm(g, x, 1e-5f, "h.0.ln_2"), 23, "h.0.c_fc", &conv);
    x = acr_add(g, x, acr_linear_with(g, acr_gelu_tanh(g, a), 12, "h.0.mlp.c_proj", &conv));
    x = acr_linear_shared(g, acr_layer_norm(g, x, 1e-5f, "ln_f"), wte);
    zoo_loss(g, x, acr_cross_entropy(g, x, t.y, ACR_NONE, NULL));
}

/* Llama's kind: rotary positions, two query heads a key head, a gated silu. */
static void zoo_llama(acr_graph *g)
{
    zoo_text t = zoo_text_of(g);
    acr_linear_opts plain = ACR_LINEAR_OPTS_INIT;
    plain.no_bias = 1;
    acr_rope_opts rope = ACR_ROPE_OPTS_INIT;
    rope.dim = 6;
    rope.theta = 100;
    rope.scaling = ACR_ROPE_LLAMA3;
    rope.factor = 4;
    rope.original_positions = 16;
    acr_attention_opts o = ACR_ATTENTION_OPTS_INIT;
    o.heads = 4;
    o.kv_heads = 2;
    o.dim = 6;
    acr_node table = acr_param(g, "embed", 2, (int64_t[]){ZOO_CLASSES, 10}, 10, 0);
    acr_node x = acr_embedding_shared(g, t.ids, table);
    acr_node n = acr_rms_norm(g, x, 1e-5f, "input_norm");
    acr_node q = acr_linear(g, n, 24, "q_proj"), k = acr_linear_with(g, n, 12, "k_proj", &plain);
    acr_node v = acr_linear_with(g, n, 12, "v_proj", &plain);
    q = acr_rope(g, q, t.position, &rope);
    k = acr_rope(g, k, t.position, &rope);
    acr_node a = acr_attention(g, q, k, v, t.position, &o);
    x = acr_add(g, x, acr_linear_with(g, a, 10, "o_proj", &plain));
    n = acr_rms_norm(g, x, 1e-5f, "post_norm");
    acr_node gate = acr_linear_with(g, n, 17, "gate_proj", &plain), up = acr_linear_with(g, n, 17, "up_proj", &plain);
    x = acr_add(g, x, acr_linear_with(g, acr_silu_mul(g, gate, up), 10, "down_proj", &plain));
    x = acr_linear_with(g, acr_rms_norm(g, x, 1e-5f, "norm"), ZOO_CLASSES, "lm_head", &plain);
    zoo_loss(g, x, acr_cross_entropy(g, x, t.y, ACR_NONE, NULL));
}

/* Attention whose inputs others read too: it adds to gradients that are there. One
 * node is both k and v, and another turned twice by other rules. */
static void zoo_shared_keys(acr_graph *g)
{
    zoo_text t = zoo_text_of(g);
    acr_rope_opts rope = ACR_ROPE_OPTS_INIT, stretched = ACR_ROPE_OPTS_INIT;
    rope.dim = stretched.dim = 10;
    stretched.scaling = ACR_ROPE_LINEAR;
    stretched.factor = 2;
    acr_attention_opts o = ACR_ATTENTION_OPTS_INIT;
    o.dim = 10;
    o.scale = 0.5f;
    acr_node table = acr_param(g, "embed", 2, (int64_t[]){ZOO_CLASSES, 10}, 2, 0);
    acr_node x = acr_linear(g, acr_embedding_shared(g, t.ids, table), 10, "in");
    acr_node k = acr_linear(g, x, 10, "k");
    acr_node q = acr_rope(g, x, t.position, &rope);
    k = acr_add(g, k, acr_rope(g, x, t.position, &stretched));
    acr_node a = acr_attention(g, q, k, k, t.position, &o);
    acr_node packed = acr_concat(g, 3, (acr_node[]){a, x, k});
    a = acr_add(g, acr_attention(g, packed, ACR_NONE, ACR_NONE, t.position, &o), k);
    x = acr_linear(g, acr_concat(g, 4, (acr_node[]){packed, a, q, x}), ZOO_CLASSES, "out");
    zoo_loss(g, x, acr_cross_entropy(g, x, t.y, ACR_NONE, NULL));
}

/* Three more, for products in bf16, whose blocks of 32 rows the others hardly fill: samples of
 * 1 to ZOO_LONG tokens under a head, several blocks a sample and several chunks
 * of logits a micro-batch; a head over samples of one row; and attention. */
static inline void zoo_long(acr_graph *g)
{
    acr_domain token = acr_domain_create(g, "token", ZOO_LONG);
    int64_t one = 1;
    acr_node ids = acr_input_in(g, token, "id", ACR_I32, 1, &one), y = acr_input_in(g, token, "y", ACR_I32, 1, &one);
    acr_node table = acr_param_normal(g, "wte", 2, (int64_t[]){ZOO_CLASSES, 9}, 0.5f);
    acr_node x = acr_embedding_shared(g, ids, table);
    x = acr_add(g, x, acr_linear(g, acr_gelu_tanh(g, acr_linear(g, x, 17, "up")), 9, "down"));
    zoo_loss(g, x, acr_head_cross_entropy(g, acr_rms_norm(g, x, 1e-5f, "norm"), table, y, ACR_NONE, NULL));
}

static inline void zoo_flat_head(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 12), y = zoo_ids(g, "y");
    acr_node w = acr_param(g, "classes", 2, (int64_t[]){ZOO_CLASSES, 10}, 10, 0);
    acr_node h = acr_tanh(g, acr_linear(g, x, 10, "in"));
    zoo_loss(g, h, acr_head_cross_entropy(g, h, w, y, ACR_NONE, NULL));
}

/* Several blocks a sample, query heads that share keys, dropout. */
static inline void zoo_long_attention(acr_graph *g)
{
    acr_domain token = acr_domain_create(g, "token", ZOO_LONG);
    int64_t one = 1;
    acr_node ids = acr_input_in(g, token, "id", ACR_I32, 1, &one), y = acr_input_in(g, token, "y", ACR_I32, 1, &one);
    acr_node position = acr_input_in(g, token, "position", ACR_I32, 1, &one);
    acr_rope_opts rope = ACR_ROPE_OPTS_INIT;
    acr_attention_opts o = ACR_ATTENTION_OPTS_INIT;
    o.heads = 4;
    o.kv_heads = 2;
    o.dim = rope.dim = 6;
    o.dropout = 0.1f;
    o.name = "drop";
    acr_node x = acr_embedding_shared(g, ids, acr_param_normal(g, "wte", 2, (int64_t[]){ZOO_CLASSES, 9}, 0.5f));
    acr_node n = acr_rms_norm(g, x, 1e-5f, "norm");
    acr_node q = acr_rope(g, acr_linear(g, n, 24, "q"), position, &rope);
    acr_node k = acr_rope(g, acr_linear(g, n, 12, "k"), position, &rope);
    x = acr_add(g, x, acr_linear(g, acr_attention(g, q, k, acr_linear(g, n, 12, "v"), position, &o), 9, "o"));
    x = acr_linear(g, x, ZOO_CLASSES, "head");
    zoo_loss(g, x, acr_cross_entropy(g, x, y, ACR_NONE, NULL));
}

/* A product that two activations read and an activation that two products read: what is
 * behind one of them alone is computed along with it, here it must not be. */
static void zoo_branches(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 8), y = zoo_in(g, "y", 5);
    acr_node a = acr_linear(g, x, 24, "a");
    acr_node first = acr_leaky_relu(g, a, 0.2f), second = acr_tanh(g, a);
    acr_node b = acr_sigmoid(g, acr_linear(g, first, 16, "b"));
    acr_node c = acr_linear(g, b, 24, "c"), d = acr_linear(g, b, 24, "d");
    acr_node h = acr_add(g, acr_mul(g, second, c), d);
    h = acr_linear(g, h, 5, "e");
    zoo_loss(g, h, acr_mse(g, h, y, ACR_NONE));
}

typedef struct zoo_case {
    const char *name;
    void (*build)(acr_graph *);
} zoo_case;
static const zoo_case zoo[] = {
    {"classifier", zoo_classifier}, {"activations", zoo_activations}, {"residual", zoo_residual},
    {"dropout", zoo_dropout},       {"tied", zoo_tied},               {"ragged", zoo_ragged},
    {"soft", zoo_soft},             {"mae", zoo_mae},                 {"gpt", zoo_gpt},
    {"llama", zoo_llama},           {"shared keys", zoo_shared_keys}, {"head", zoo_head},
    {"branches", zoo_branches},
};
enum { ZOO_COUNT = sizeof zoo / sizeof *zoo };

/* ---- data: a pure function of the graph's inputs, the seed and the sample ---- */
typedef struct zoo_data {
    int64_t samples;
    int inputs;
    void *data[8];
    int64_t cols[8];
    acr_domain domain[8];
    int32_t *offsets[ACR_MAX_DOMAINS];
    const void *at[8];
    const int32_t *offsets_at[ACR_MAX_DOMAINS];
    int32_t *moved[ACR_MAX_DOMAINS]; /* offsets of a slice, rebased */
    int position; /* the input that holds positions, or -1 */
} zoo_data;

static inline float zoo_uniform(uint64_t seed, uint32_t stream, uint64_t i)
{
    return acr__init_uniform(seed, stream, i);
}

/* Places within documents: a new one begins with a sample, and anywhere by chance, in
 * long samples less often. */
static inline void zoo_positions(const zoo_data *d, const int32_t *offsets, int64_t most, uint64_t seed, int32_t *out)
{
    const float rare = most > ZOO_SEQUENCE ? 0.94f : 0.7f;
    for (int64_t s = 0; s < d->samples; s++)
        for (int32_t r = offsets[s]; r < offsets[s + 1]; r++)
            out[r] = r == offsets[s] || zoo_uniform(seed, 778, (uint64_t)r) > rare ? 0 : out[r - 1] + 1;
}

static inline zoo_data zoo_make(const acr_graph *g, int64_t samples, uint64_t seed)
{
    zoo_data d = {.samples = samples, .inputs = g->input_count, .position = -1};
    for (int k = 2; k < g->domain_count; k++) {
        d.offsets[k] = calloc((size_t)samples + 1, sizeof(int32_t));
        d.moved[k] = calloc((size_t)samples + 1, sizeof(int32_t));
        for (int64_t i = 0; i < samples; i++) {
            float u = zoo_uniform(seed, 777, (uint64_t)i);
            d.offsets[k][i + 1] = d.offsets[k][i] + 1 + (int32_t)((u + 1) * 0.4999f * (float)g->domains[k].max_rows);
        }
    }
    for (int i = 0; i < g->input_count; i++) {
        const acr__node *n = &g->nodes[g->inputs[i]];
        int64_t rows = n->domain == ACR_SAMPLE ? samples : d.offsets[n->domain][samples];
        d.cols[i] = n->cols;
        d.domain[i] = n->domain;
        d.data[i] = malloc((size_t)(rows * n->cols) * 4 + 4);
        if (!strcmp(n->name, "position")) {
            zoo_positions(&d, d.offsets[n->domain], g->domains[n->domain].max_rows, seed, d.data[i]);
            d.position = i;
            continue;
        }
        for (int64_t e = 0; e < rows * n->cols; e++) {
            float u = zoo_uniform(seed, n->hash, (uint64_t)e);
            if (n->dtype == ACR_I32) {
                int32_t id = (int32_t)((u + 1) * 0.4999f * ZOO_CLASSES);
                ((int32_t *)d.data[i])[e] = !strcmp(n->name, "y") && u > 0.9f ? -100 : id;
            } else if (!strcmp(n->name, "w")) {
                ((float *)d.data[i])[e] = u < -0.7f ? 0.0f : u + 1.0f;
            } else if (!strcmp(n->name, "p")) {
                ((float *)d.data[i])[e] = e % n->cols == 0 ? 0.4f : 0.6f / (float)(n->cols - 1);
            } else {
                ((float *)d.data[i])[e] = u;
            }
        }
    }
    return d;
}

static inline void zoo_free(zoo_data *d)
{
    for (int i = 0; i < d->inputs; i++)
        free(d->data[i]);
    for (int k = 0; k < ACR_MAX_DOMAINS; k++) {
        free(d->offsets[k]);
        free(d->moved[k]);
    }
}

/* Samples [first, first+n) as a batch; valid until the next call. */
static inline acr_batch zoo_slice(zoo_data *d, int64_t first, int64_t n)
{
    for (int k = 2; k < ACR_MAX_DOMAINS && d->offsets[k]; k++) {
        for (int64_t i = 0; i <= n; i++)
            d->moved[k][i] = d->offsets[k][first + i] - d->offsets[k][first];
        d->offsets_at[k - 2] = d->moved[k];
    }
    for (int i = 0; i < d->inputs; i++) {
        int64_t row = d->domain[i] == ACR_SAMPLE ? first : d->offsets[d->domain[i]][first];
        d->at[i] = (const char *)d->data[i] + row * d->cols[i] * 4;
    }
    return (acr_batch){sizeof(acr_batch), n, d->at, d->offsets_at};
}

/* ---- a trainer in one call; prints the sentence and stops on any failure ---- */
typedef struct zoo_run {
    acr_context *ctx;
    acr_graph *g;
    acr_plan *plan;
    acr_trainer *t;
} zoo_run;

#define ZOO_OK(ctx, call)                                                                    \
    do {                                                                                     \
        acr_status zoo_status_ = (call);                                                     \
        if (zoo_status_ != ACR_OK) {                                                         \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, acr_error(ctx));   \
            abort();                                                                         \
        }                                                                                    \
    } while (0)

typedef struct zoo_opts {
    int threads;
    const char *isa;
    int reference;
    uint64_t seed;
    acr_plan_opts plan;
    acr_trainer_opts trainer;
    int products; /* ACR_BF16 */
    int segments; /* parameters are spread over so many; 0: they stay in one */
    const char *trained; /* a pattern; NULL: all are */
} zoo_opts;
#define ZOO_OPTS_INIT {1, NULL, 0, 1, ACR_PLAN_OPTS_INIT, ACR_TRAINER_OPTS_INIT, 0, 0, NULL}

static inline zoo_run zoo_start(const zoo_case *c, const zoo_opts *o)
{
    zoo_run r = {0};
    acr_context_opts co = ACR_CONTEXT_OPTS_INIT;
    co.threads = o->threads;
    co.isa = o->isa;
    ZOO_OK(r.ctx, acr_context_create(&r.ctx, &co));
    if (o->threads > 1)
        r.ctx->serial_work = 0; /* these graphs are too small to be shared otherwise */
    acr_graph_opts go = ACR_GRAPH_OPTS_INIT;
    go.seed = o->seed;
    go.reference = o->reference;
    go.products = o->products;
    r.g = acr_graph_create(r.ctx, &go);
    c->build(r.g);
    ZOO_OK(r.ctx, acr_graph_finish(r.g));
    if (o->trained)
        ZOO_OK(r.ctx, acr_graph_trainable(r.g, 1, &o->trained));
    for (int i = 0; i < r.g->param_count && o->segments; i++)
        r.g->params[i].segment = i % o->segments;
    ZOO_OK(r.ctx, acr_plan_create(&r.plan, r.g, &o->plan));
    ZOO_OK(r.ctx, acr_trainer_create(&r.t, r.plan, &o->trainer));
    return r;
}

static inline void zoo_stop(zoo_run *r)
{
    acr_trainer_destroy(r->t);
    acr_plan_destroy(r->plan);
    acr_graph_destroy(r->g);
    acr_context_destroy(r->ctx);
}

#endif
