/* graph.h: the graph as it is built and finished, before any byte is placed. */
#ifndef ACR_GRAPH_H
#define ACR_GRAPH_H

#include "base/base.h"
#include "graph/exec.h"

enum {
    ACR_MAX_DIMS = 4,
    ACR_MAX_IN = 8,
    ACR_MAX_DOMAINS = 8,
};

enum acr__op {
#define OP(name, domain, saves, inplace, inplace_back, x0, x1, deferred) ACR_OP_##name,
#include "graph/ops.def"
#undef OP
    ACR_OP_COUNT
};

enum acr__op_domain { ACR_OP_SOURCE, ACR_OP_ROWWISE, ACR_OP_RANDOM, ACR_OP_SEGMENTED, ACR_OP_LOSS };
enum acr__op_back { ACR_BACK_NONE, ACR_BACK_OVER, ACR_BACK_BOTH };
enum { SAVES_X0 = 1, SAVES_X1 = 2, SAVES_Y = 4, SAVES_AUX = 8 };

/* Each member of the team calls a step function with its index; it does its own
 * share, and nothing but its own share. NULL: the op has no such step. */
typedef void acr__step_fn(const struct acr__run *run, const struct acr__exec *e, int index, int count);

typedef struct acr__op_info {
    const char *name;
    enum acr__op_domain domain;
    int saves;
    bool in_place, in_place_back, deferred;
    enum acr__op_back back[2]; /* input 0; all further inputs */
    acr__step_fn *forward, *backward, *gradient;
} acr__op_info;
extern const acr__op_info acr__ops[ACR_OP_COUNT];

typedef struct acr__node {
    enum acr__op op;
    char *name; /* inputs, parameters, random ops; else NULL */
    acr_dtype dtype;
    acr_domain domain;
    int ndim;
    int64_t shape[ACR_MAX_DIMS];
    int64_t cols; /* the product of shape: elements a row */
    int inputs;
    acr_node in[ACR_MAX_IN];
    float scalar;      /* slope, eps, p, delta; attention: the scores' scale, 0: 1/sqrt(dim) */
    bool transposed;   /* linear: the weight is [in, out] */
    acr_rope_opts rope;
    int64_t heads, kv_heads, dim; /* attention */
    float dropout;     /* attention */
    float smoothing;   /* cross_entropy, head_cross_entropy */
    int32_t ignore_index;
    float *class_weight; /* [cols of the logits] or NULL */
    uint32_t hash;     /* of the name: the random counter's op */
    int param;         /* ACR_OP_param: index into params */
    int input;         /* ACR_OP_input: place in the batch */

    /* derived by finish */
    bool needs_grad;   /* a trained parameter lies at or above it */
    bool live;         /* an output or the loss depends on it */
    int consumers;     /* live nodes that read it */
    bool is_output;
    bool din_add[ACR_MAX_IN]; /* this node's backward adds into the gradient of in[i] */
} acr__node;

typedef struct acr__use {
    acr_node node;
    int slot; /* in[slot] is the parameter */
} acr__use;

typedef struct acr__param {
    char *name;
    acr_node node;
    int ndim;
    int64_t shape[ACR_MAX_DIMS];
    int64_t elements, fan_in;
    float fill, std; /* std > 0: starts at N(0, std^2) */
    bool trainable;
    int uses, first_use; /* into acr_graph.uses, in graph order */
    int segment;         /* which of the plan's it lies in */
} acr__param;

/* Nodes from the end of the block before to `end`; `out` is all that leaves it. */
typedef struct acr__block {
    acr_node end, out;
} acr__block;

typedef struct acr__domain_info {
    char *name;
    int64_t max_rows; /* a sample's */
} acr__domain_info;

struct acr_graph {
    acr_context *ctx;
    uint64_t seed;
    bool reference;
    bool bf16; /* products of linear, head and attention nodes are by rule 2 */
    size_t es; /* bytes of a real: 4, or 8 in the reference */

    acr__node *nodes;
    int node_count, node_capacity;
    acr__domain_info domains[ACR_MAX_DOMAINS]; /* 0 once, 1 sample, then ragged */
    int domain_count;
    acr_node *inputs; /* in the order of the batch */
    int input_count, input_capacity;
    acr__param *params; /* in creation order; sorted by name at finish */
    int param_count, param_capacity;
    acr__use *uses;
    int use_count;
    struct acr__output {
        char *name;
        acr_node node;
    } *outputs;
    int output_count, output_capacity;
    acr_node loss;
    acr__block *blocks;
    int block_count, block_capacity;

    bool finished, planned; /* planned: a plan was made, and says what has a gradient */
    acr_status status; /* the first failure of a building call */
    char sentence[ACR_SENTENCE];
};

/* Grows *array (of `size`-byte items) so that index `count` exists. */
acr_status acr__grow(acr_context *ctx, void *array, int *capacity, int count, size_t size);
/* '*' any run, '?' any one character. */
bool acr__glob(const char *pattern, const char *text);
/* ACR_E_ARGUMENT if one of the patterns matches no parameter of the finished graph;
 * `option` begins the sentence. */
acr_status acr__patterns_match(const acr_graph *g, const char *option, int count, const char *const *patterns);
/* Labels (int32) that a loss takes: which input holds them, and how many classes. */
static inline bool acr__is_entropy(const acr__node *n)
{
    return n->op == ACR_OP_cross_entropy || n->op == ACR_OP_head_cross_entropy;
}
static inline int acr__target_slot(const acr__node *n) { return n->op == ACR_OP_head_cross_entropy ? 2 : 1; }
static inline int64_t acr__classes(const acr_graph *g, const acr__node *n)
{
    return n->op == ACR_OP_head_cross_entropy ? g->nodes[n->in[1]].shape[0] : g->nodes[n->in[0]].cols;
}
static inline bool acr__is_block_end(const acr_graph *g, acr_node i)
{
    for (int b = 0; b < g->block_count; b++)
        if (g->blocks[b].out == i)
            return true;
    return false;
}
static inline bool acr__is_loss(const acr__node *n) { return acr__ops[n->op].domain == ACR_OP_LOSS; }
/* Whether the node is a product with a weight, its input 1. */
static inline bool acr__is_product(const acr__node *n)
{
    return n->op == ACR_OP_linear || n->op == ACR_OP_head_cross_entropy;
}
/* Whether the node draws random numbers, keyed by its name. */
static inline bool acr__is_random(const acr__node *n)
{
    return n->op == ACR_OP_dropout || (n->op == ACR_OP_attention && n->dropout > 0);
}
/* Row `position` of a rope's table: dim/2 cosines, then dim/2 sines. */
void acr__rope_row(const acr_rope_opts *o, int64_t position, float *out);
/* The element of a linear's weight that joins output o and input i is at
 * o * (first) + i * (second). */
static inline int64_t acr__weight_out(const acr__node *n, int64_t in) { return n->transposed ? 1 : in; }
static inline int64_t acr__weight_in(const acr__node *n) { return n->transposed ? n->cols : 1; }
/* The rank-independent name of a kernel-level loss. */
enum acr_loss_kind acr__loss_kind(enum acr__op op);
enum acr_unary acr__unary_kind(enum acr__op op);

#endif
