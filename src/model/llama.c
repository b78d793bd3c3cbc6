/* llama.c: Llama, and Mistral and Qwen2, which compute the same.
 *
 *     x = embed_tokens[id]
 *     h = input_layernorm(x)                                   for each layer
 *     x = x + o_proj(attention(rope(q_proj(h)), rope(k_proj(h)), v_proj(h)))
 *     h = post_attention_layernorm(x)
 *     x = x + down_proj(silu(gate_proj(h)) * up_proj(h))
 *     logits = norm(x) lm_head^T
 *
 * Weights start at N(0, initializer_range), biases at 0. */
#include "model/lm.h"

static const char at[] = "model.layers";

static acr_node product(acr_graph *g, const acr__lm *lm, acr_node x, int64_t out, int64_t layer, const char *part,
                        bool bias)
{
    char name[ACR__LM_NAME];
    acr_linear_opts opts = ACR_LINEAR_OPTS_INIT;
    opts.no_bias = !bias;
    opts.std = (float)lm->initializer_range;
    return acr_linear_with(g, x, out, acr__lm_name(name, at, layer, part), &opts);
}

static acr_node attention(acr_graph *g, const acr__lm *lm, acr_node x, acr_node position, int64_t layer)
{
    char name[ACR__LM_NAME];
    acr_rope_opts rope = lm->rope;
    rope.dim = lm->head_dim;
    acr_attention_opts opts = ACR_ATTENTION_OPTS_INIT;
    opts.heads = lm->heads;
    opts.kv_heads = lm->kv_heads;
    opts.dim = lm->head_dim;
    opts.dropout = (float)lm->attn_dropout;
    opts.name = acr__lm_name(name, at, layer, "self_attn.dropout");
    acr_node q = product(g, lm, x, lm->heads * lm->head_dim, layer, "self_attn.q_proj", lm->qkv_bias);
    acr_node k = product(g, lm, x, lm->kv_heads * lm->head_dim, layer, "self_attn.k_proj", lm->qkv_bias);
    acr_node v = product(g, lm, x, lm->kv_heads * lm->head_dim, layer, "self_attn.v_proj", lm->qkv_bias);
    q = acr_rope(g, q, position, &rope);
    k = acr_rope(g, k, position, &rope);
    x = acr_attention(g, q, k, v, position, &opts);
    return product(g, lm, x, lm->width, layer, "self_attn.o_proj", lm->o_bias);
}

static acr_node mlp(acr_graph *g, const acr__lm *lm, acr_node x, int64_t layer)
{
    acr_node gate = product(g, lm, x, lm->inner, layer, "mlp.gate_proj", lm->mlp_bias);
    acr_node up = product(g, lm, x, lm->inner, layer, "mlp.up_proj", lm->mlp_bias);
    x = acr__lm_gate(g, lm->activation, gate, up);
    return product(g, lm, x, lm->width, layer, "mlp.down_proj", lm->mlp_bias);
}

void acr__llama_build(acr_graph *g, const acr__lm *lm, acr__lm_io *io)
{
    char name[ACR__LM_NAME];
    float std = (float)lm->initializer_range, eps = (float)lm->norm_eps;
    acr_node table = acr_param_normal(g, "model.embed_tokens.weight", 2, (int64_t[]){lm->vocab, lm->width}, std);
    acr_node x = acr_embedding_shared(g, io->ids, table);
    for (int64_t i = 0; i < lm->layers; i++) {
        acr_node h = acr_rms_norm(g, x, eps, acr__lm_name(name, at, i, "input_layernorm"));
        h = attention(g, lm, h, io->position, i);
        x = acr_add(g, h, x);
        h = acr_rms_norm(g, x, eps, acr__lm_name(name, at, i, "post_attention_layernorm"));
        h = mlp(g, lm, h, i);
        x = acr_add(g, h, x);
        acr_block_end(g, x);
    }
    io->hidden = acr_rms_norm(g, x, eps, "model.norm");
    io->head = lm->tied ? table : acr_param_normal(g, "lm_head.weight", 2, (int64_t[]){lm->vocab, lm->width}, std);
}
