/* gpt2.c: GPT-2.
 *
 *     x = drop(wte[id] + wpe[position])
 *     x = x + drop(c_proj(attention(c_attn(ln_1(x)))))        for each layer
 *     x = x + drop(c_proj(gelu(c_fc(ln_2(x)))))
 *     logits = ln_f(x) wte^T
 *
 * Its matrices are stored [in, out]. Weights start at N(0, initializer_range),
 * those that end on the residual path divided by sqrt(2 layers); biases at 0. */
#include "model/lm.h"
#include <math.h>

static const char at[] = "transformer.h";

static acr_node product(acr_graph *g, acr_node x, int64_t out, int64_t layer, const char *part, double std)
{
    char name[ACR__LM_NAME];
    acr_linear_opts opts = ACR_LINEAR_OPTS_INIT;
    opts.transposed = 1;
    opts.std = (float)std;
    return acr_linear_with(g, x, out, acr__lm_name(name, at, layer, part), &opts);
}

static acr_node attention(acr_graph *g, const acr__lm *lm, acr_node x, acr_node position, int64_t layer, double std)
{
    char name[ACR__LM_NAME];
    acr_attention_opts opts = ACR_ATTENTION_OPTS_INIT;
    opts.heads = opts.kv_heads = lm->heads;
    opts.dim = lm->head_dim;
    opts.scale = lm->unscaled ? 1 : 0;
    opts.dropout = (float)lm->attn_dropout;
    opts.name = acr__lm_name(name, at, layer, "attn.attn_dropout");
    x = product(g, x, 3 * lm->width, layer, "attn.c_attn", lm->initializer_range);
    x = acr_attention(g, x, ACR_NONE, ACR_NONE, position, &opts);
    x = product(g, x, lm->width, layer, "attn.c_proj", std);
    return acr__lm_drop(g, x, lm->resid_dropout, acr__lm_name(name, at, layer, "attn.resid_dropout"));
}

static acr_node mlp(acr_graph *g, const acr__lm *lm, acr_node x, int64_t layer, double std)
{
    char name[ACR__LM_NAME];
    x = product(g, x, lm->inner, layer, "mlp.c_fc", lm->initializer_range);
    x = acr__lm_activate(g, lm->activation, x);
    x = product(g, x, lm->width, layer, "mlp.c_proj", std);
    return acr__lm_drop(g, x, lm->resid_dropout, acr__lm_name(name, at, layer, "mlp.dropout"));
}

void acr__gpt2_build(acr_graph *g, const acr__lm *lm, acr__lm_io *io)
{
    char name[ACR__LM_NAME];
    float std = (float)lm->initializer_range, eps = (float)lm->norm_eps;
    double residual = lm->initializer_range / sqrt(2 * (double)lm->layers);
    acr_node wte = acr_param_normal(g, "transformer.wte.weight", 2, (int64_t[]){lm->vocab, lm->width}, std);
    acr_node wpe = acr_param_normal(g, "transformer.wpe.weight", 2, (int64_t[]){lm->positions, lm->width}, std);
    acr_node x = acr_embedding_shared(g, io->ids, wte);
    x = acr_add(g, x, acr_embedding_shared(g, io->position, wpe));
    x = acr__lm_drop(g, x, lm->embd_dropout, "transformer.drop");
    for (int64_t i = 0; i < lm->layers; i++) {
        acr_node h = acr_layer_norm(g, x, eps, acr__lm_name(name, at, i, "ln_1"));
        h = attention(g, lm, h, io->position, i, residual);
        x = acr_add(g, h, x);
        h = acr_layer_norm(g, x, eps, acr__lm_name(name, at, i, "ln_2"));
        h = mlp(g, lm, h, i, residual);
        x = acr_add(g, h, x);
        acr_block_end(g, x);
    }
    io->hidden = acr_layer_norm(g, x, eps, "transformer.ln_f");
    io->head = lm->tied ? wte : acr_param_normal(g, "lm_head.weight", 2, (int64_t[]){lm->vocab, lm->width}, std);
}
