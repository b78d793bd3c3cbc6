/* lm.c: what the families have in common: defaults, ranges, names. */
#include "model/lm.h"

#include "graph/graph.h"
#include <stdio.h>
#include <string.h>

static const char *const families[ACR__LM_FAMILIES] = {"gpt2", "llama", "mistral", "qwen2"};
const char *acr__lm_family_name(acr__lm_family family) { return families[family]; }

/* ---- activations ----------------------------------------------------------------- */

static const struct activation {
    const char *name;
    acr_node (*build)(acr_graph *, acr_node);
} activations[] = {
    {"silu", acr_silu},
    {"swish", acr_silu},
    {"gelu_new", acr_gelu_tanh},
    {"gelu_pytorch_tanh", acr_gelu_tanh},
    {"gelu_python_tanh", acr_gelu_tanh},
    {"gelu_fast", acr_gelu_tanh},
    {"gelu_accurate", acr_gelu_tanh},
    {"gelu", acr_gelu},
    {"gelu_python", acr_gelu},
    {"relu", acr_relu},
    {"tanh", acr_tanh},
    {"sigmoid", acr_sigmoid},
};
enum { ACTIVATIONS = sizeof activations / sizeof *activations, SILU_NAMES = 2 };
const char acr__lm_activations[] = "silu, swish, gelu_new, gelu_pytorch_tanh, gelu_python_tanh, gelu_fast, "
                                   "gelu_accurate, gelu, gelu_python, relu, tanh and sigmoid";

int acr__lm_activation(const char *name)
{
    for (int i = 0; i < ACTIVATIONS; i++)
        if (!strcmp(activations[i].name, name))
            return i;
    return -1;
}

const char *acr__lm_activation_name(int activation) { return activations[activation].name; }

acr_node acr__lm_activate(acr_graph *g, int activation, acr_node x) { return activations[activation].build(g, x); }

acr_node acr__lm_gate(acr_graph *g, int activation, acr_node gate, acr_node up)
{
    if (activation < SILU_NAMES)
        return acr_silu_mul(g, gate, up);
    gate = acr__lm_activate(g, activation, gate);
    return acr_mul(g, gate, up);
}

const char *acr__lm_head_name(const acr__lm *lm)
{
    if (!lm->tied)
        return "lm_head.weight";
    return lm->family == ACR__LM_GPT2 ? "transformer.wte.weight" : "model.embed_tokens.weight";
}

/* ---- defaults -------------------------------------------------------------------- */

static void gpt2_defaults(acr__lm *lm)
{
    lm->vocab = 50257;
    lm->layers = lm->heads = lm->kv_heads = 12;
    lm->width = 768;
    lm->positions = 1024;
    lm->norm_eps = 1e-5;
    lm->tied = lm->qkv_bias = lm->o_bias = lm->mlp_bias = true;
    lm->activation = acr__lm_activation("gelu_new");
    lm->embd_dropout = lm->resid_dropout = lm->attn_dropout = 0.1;
    lm->bos = lm->eos[0] = 50256;
    lm->eos_count = 1;
}

static void llama_defaults(acr__lm *lm)
{
    lm->vocab = 32000;
    lm->layers = lm->heads = lm->kv_heads = 32;
    lm->width = 4096;
    lm->inner = 11008;
    lm->positions = 2048;
    lm->norm_eps = 1e-6;
    lm->rope = (acr_rope_opts)ACR_ROPE_OPTS_INIT;
    lm->activation = acr__lm_activation("silu");
    lm->bos = 1;
    lm->eos[0] = 2;
    lm->eos_count = 1;
}

void acr__lm_defaults(acr__lm *lm, acr__lm_family family)
{
    *lm = (acr__lm){.family = family, .initializer_range = 0.02, .bos = -1, .pad = -1};
    if (family == ACR__LM_GPT2) {
        gpt2_defaults(lm);
        return;
    }
    llama_defaults(lm);
    if (family == ACR__LM_MISTRAL) {
        lm->inner = 14336;
        lm->kv_heads = 8;
        lm->positions = 131072;
        lm->window = 4096;
    } else if (family == ACR__LM_QWEN2) {
        lm->vocab = 151936;
        lm->inner = 22016;
        lm->positions = 32768;
        lm->qkv_bias = true;
        lm->bos = -1;
        lm->eos_count = 0;
    }
}

/* ---- checks ---------------------------------------------------------------------- */

static acr_status check_rope(acr_context *ctx, const char *where, const acr__lm *lm)
{
    const acr_rope_opts *r = &lm->rope;
    FAIL_IF(lm->head_dim % 2, ctx, ACR_E_CONFIG, "%s: heads have %lld features; rotary positions turn pairs, so an even "
            "number is wanted", where, (long long)lm->head_dim);
    FAIL_IF(!(r->theta >= 1 && r->theta < 1e30), ctx, ACR_E_CONFIG, "%s: rope_theta is %g; from 1 to 1e30 is allowed",
            where, r->theta);
    if (r->scaling == ACR_ROPE_DEFAULT)
        return ACR_OK;
    FAIL_IF(!(r->factor >= 1 && r->factor < 1e9), ctx, ACR_E_CONFIG,
            "%s: the rotary positions' factor is %g; 1 or more is allowed", where, r->factor);
    if (r->scaling == ACR_ROPE_LINEAR)
        return ACR_OK;
    FAIL_IF(!(r->low_freq_factor > 0 && r->high_freq_factor > r->low_freq_factor && r->high_freq_factor < 1e9), ctx,
            ACR_E_CONFIG, "%s: low_freq_factor %g and high_freq_factor %g: the first must be above 0 and below the second",
            where, r->low_freq_factor, r->high_freq_factor);
    FAIL_IF(r->original_positions < 1 || r->original_positions > INT32_MAX, ctx, ACR_E_CONFIG,
            "%s: original_max_position_embeddings is %lld; from 1 to 2147483647 is allowed", where,
            (long long)r->original_positions);
    return ACR_OK;
}

static acr_status check_ids(acr_context *ctx, const char *where, const acr__lm *lm)
{
    FAIL_IF(lm->eos_count < 0 || lm->eos_count > ACR__LM_ENDS, ctx, ACR_E_CONFIG,
            "%s: eos_token_id has %d ids; at most %d are allowed", where, lm->eos_count, ACR__LM_ENDS);
    for (int i = -2; i < lm->eos_count; i++) {
        int64_t id = i == -2 ? lm->bos : i == -1 ? lm->pad : lm->eos[i];
        FAIL_IF(id < (i < 0 ? -1 : 0) || id > INT32_MAX, ctx, ACR_E_CONFIG,
                "%s: %s is %lld, which is no token's number", where,
                i == -2 ? "bos_token_id" : i == -1 ? "pad_token_id" : "eos_token_id", (long long)id);
    }
    return ACR_OK;
}

static acr_status check_reals(acr_context *ctx, const char *where, const acr__lm *lm)
{
    FAIL_IF(!(lm->norm_eps > 0 && lm->norm_eps < 1), ctx, ACR_E_CONFIG,
            "%s: the norms' epsilon is %g; above 0 and below 1 is allowed", where, lm->norm_eps);
    FAIL_IF(!(lm->initializer_range > 0 && lm->initializer_range <= 1), ctx, ACR_E_CONFIG,
            "%s: initializer_range is %g; above 0 and up to 1 is allowed", where, lm->initializer_range);
    const double dropout[] = {lm->embd_dropout, lm->resid_dropout, lm->attn_dropout};
    for (int i = 0; i < 3; i++)
        FAIL_IF(!(dropout[i] >= 0 && dropout[i] < 1), ctx, ACR_E_CONFIG,
                "%s: a dropout is %g; from 0 to below 1 is allowed", where, dropout[i]);
    FAIL_IF(lm->family != ACR__LM_GPT2 && (lm->embd_dropout > 0 || lm->resid_dropout > 0), ctx, ACR_E_CONFIG,
            "%s: %s has dropout within its attention alone, not behind the embedding or on the residual path", where,
            families[lm->family]);
    return ACR_OK;
}

acr_status acr__lm_check(acr_context *ctx, const char *where, const acr__lm *lm)
{
    const struct {
        const char *what;
        int64_t value, least, most;
    } size[] = {
        {"the vocabulary", lm->vocab, 2, INT32_MAX},
        {"the number of layers", lm->layers, 1, 4096},
        {"the width", lm->width, 1, 1 << 20},
        {"the number of heads", lm->heads, 1, 1 << 16},
        {"the number of key/value heads", lm->kv_heads, 1, 1 << 16},
        {"a head's width", lm->head_dim, 1, 1 << 16},
        {"the MLP's width", lm->inner, 1, 1 << 22},
        {"the number of positions", lm->positions, 1, INT32_MAX},
        {"the window of attention", lm->window, 0, INT32_MAX},
        {"the first layer with a window", lm->window_from, 0, 4096},
    };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        FAIL_IF(size[i].value < size[i].least || size[i].value > size[i].most, ctx, ACR_E_CONFIG,
                "%s: %s is %lld; from %lld to %lld is allowed", where, size[i].what, (long long)size[i].value,
                (long long)size[i].least, (long long)size[i].most);
    FAIL_IF(lm->heads % lm->kv_heads, ctx, ACR_E_CONFIG,
            "%s: %lld heads cannot share %lld key/value heads evenly", where, (long long)lm->heads,
            (long long)lm->kv_heads);
    FAIL_IF(lm->family == ACR__LM_GPT2 && (lm->kv_heads != lm->heads || lm->heads * lm->head_dim != lm->width), ctx,
            ACR_E_CONFIG, "%s: a width of %lld is not divided by %lld heads", where, (long long)lm->width,
            (long long)lm->heads);
    if (lm->family != ACR__LM_GPT2)
        TRY(check_rope(ctx, where, lm));
    TRY(check_reals(ctx, where, lm));
    return check_ids(ctx, where, lm);
}

/* ---- building -------------------------------------------------------------------- */

const char *acr__lm_name(char out[ACR__LM_NAME], const char *prefix, int64_t layer, const char *part)
{
    snprintf(out, ACR__LM_NAME, "%s.%lld.%s", prefix, (long long)layer, part);
    return out;
}

acr_node acr__lm_drop(acr_graph *g, acr_node x, double p, const char *name)
{
    return p > 0 ? acr_dropout(g, x, (float)p, name) : x;
}

/* Rows of a sample, by the domain of its positions; 0: the graph will tell. */
static int64_t longest(const acr_graph *g, acr_node position)
{
    return position >= 0 && position < g->node_count ? g->domains[g->nodes[position].domain].max_rows : 0;
}

acr_status acr__lm_build(acr_graph *g, const acr__lm *lm, acr__lm_io *io)
{
    acr_context *ctx = acr_graph_context(g);
    TRY(acr__lm_check(ctx, families[lm->family], lm));
    int64_t rows = longest(g, io->position);
    FAIL_IF(lm->family == ACR__LM_GPT2 && rows > lm->positions, ctx, ACR_E_CONFIG,
            "sequences of %lld tokens: the model has %lld learned positions, so at most that many work", (long long)rows,
            (long long)lm->positions);
    FAIL_IF(lm->window && rows > lm->window, ctx, ACR_E_CONFIG,
            "sequences of %lld tokens: the model attends within a sliding_window of %lld, which is not implemented; "
            "sequences of at most that many work", (long long)rows, (long long)lm->window);
    if (lm->family == ACR__LM_GPT2)
        acr__gpt2_build(g, lm, io);
    else
        acr__llama_build(g, lm, io);
    return ACR_OK;
}
