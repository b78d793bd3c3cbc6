/* lm.h: language models: what one is, in numbers, and the builder of its graph.
 *
 * The families are those of Hugging Face's transformers, computed as its modeling
 * files do, with its parameter names, so that weights go in and out by name:
 *
 *     gpt2     learned positions, LayerNorm, one matrix for q | k | v stored
 *              [in, out], two-layer MLP
 *     llama    rotary positions, RMSNorm, fewer key than query heads, gated MLP;
 *              mistral and qwen2 are the same with other biases
 *
 * Invariant: an acr__lm that passed acr__lm_check builds, or the graph refuses it
 * for its size. Nothing here reads or writes files: io/hf.h does. */
#ifndef ACR_MODEL_LM_H
#define ACR_MODEL_LM_H

#include "base/base.h"

typedef enum acr__lm_family { ACR__LM_GPT2, ACR__LM_LLAMA, ACR__LM_MISTRAL, ACR__LM_QWEN2, ACR__LM_FAMILIES } acr__lm_family;

enum { ACR__LM_ENDS = 16 }; /* ids that end a text, at most */

typedef struct acr__lm {
    acr__lm_family family;
    int64_t vocab, layers, width;
    int64_t heads, kv_heads, head_dim; /* queries in `heads` heads, keys and values in kv_heads, of head_dim features */
    int64_t inner;                     /* of the MLP */
    int64_t positions;                 /* gpt2: rows of the table; the others: what it was made for, not a bound */
    int64_t window, window_from;       /* from that layer on a row attends at most so many places; 0: all before it */
    double norm_eps, initializer_range;
    acr_rope_opts rope; /* all but gpt2 */
    bool tied;          /* the head is the token embedding */
    bool qkv_bias, o_bias, mlp_bias;
    bool unscaled;  /* scores are not divided by sqrt(head_dim) */
    int activation; /* acr__lm_activation */
    double embd_dropout, resid_dropout, attn_dropout;
    int64_t bos, pad; /* ids; -1: none */
    int eos_count;
    int64_t eos[ACR__LM_ENDS];
} acr__lm;

/* What transformers assumes where a configuration is silent. head_dim, and gpt2's
 * inner, are 0: they follow from the width. */
void acr__lm_defaults(acr__lm *out, acr__lm_family family);
const char *acr__lm_family_name(acr__lm_family family); /* transformers' model_type */
/* Activations by transformers' names, several of which mean the same function;
 * -1: not known. acr__lm_activations: "gelu, ...", for sentences. */
int acr__lm_activation(const char *name);
const char *acr__lm_activation_name(int activation);
extern const char acr__lm_activations[];

/* Ranges and divisibility. ACR_E_CONFIG with a sentence that begins with `where`. */
acr_status acr__lm_check(acr_context *ctx, const char *where, const acr__lm *lm);

typedef struct acr__lm_io {
    acr_node ids, position; /* in: int32 inputs of one column in a ragged domain */
    acr_node hidden;        /* out: [width], after the last norm */
    acr_node head;          /* out: the parameter [vocab, width]; logits are hidden times it */
} acr__lm_io;
/* Checks lm, then adds the model to g, each layer a block that may be recomputed
 * (the first with the embedding). Samples longer than a learned table of positions
 * or a window of attention are refused here; what else is wrong sticks in g. */
acr_status acr__lm_build(acr_graph *g, const acr__lm *lm, acr__lm_io *io);

/* The parameter that acr__lm_build gives as head. */
const char *acr__lm_head_name(const acr__lm *lm);

/* ---- for the files of this folder ------------------------------------------------ */
enum { ACR__LM_NAME = 96 };
/* "PREFIX.LAYER.PART" */
const char *acr__lm_name(char out[ACR__LM_NAME], const char *prefix, int64_t layer, const char *part);
acr_node acr__lm_activate(acr_graph *g, int activation, acr_node x);
acr_node acr__lm_gate(acr_graph *g, int activation, acr_node gate, acr_node up); /* activation(gate) * up */
acr_node acr__lm_drop(acr_graph *g, acr_node x, double p, const char *name); /* x itself where p is 0 */
void acr__gpt2_build(acr_graph *g, const acr__lm *lm, acr__lm_io *io);
void acr__llama_build(acr_graph *g, const acr__lm *lm, acr__lm_io *io);

#endif
