/* accrue.h: train with any effective batch in whatever memory there is, and get
 * the same weights bit for bit. libc and threads only; C17, usable from C++,
 * callable through ctypes (no varargs, no structs by value).
 *
 *     context -> graph -> finish -> plan -> trainer -> windows
 *
 *     acr_window_open(t);
 *     while (next(&batch)) acr_window_add(t, &batch);
 *     acr_window_close(t, &report);                one optimizer update
 *
 * Words. A *sample* is one training example. A *micro-batch* is the samples that
 * go through forward and backward at once. A *window* is the micro-batches
 * between two updates, its samples the *effective batch*. An *update* is one
 * optimizer step. W is the total weight of the window. The update is
 *     theta <- theta - alpha * (1/W) * sum_i w_i * grad l(theta; x_i, y_i)
 * over every sample i of the window, summed in sample order.
 *
 * Errors. What can fail returns an acr_status; ACR_OK is 0. acr_error(ctx) is the
 * sentence. The library never exits, aborts or prints. Unless a function says
 * otherwise, a failed call leaves the object as it was and out-parameters unset.
 *
 * Threads. A context and what is made from it belong to one thread at a time;
 * different contexts are independent. Only acr_cancel may be called from
 * anywhere, a signal handler included. Entry points that compute save the
 * caller's MXCSR or FPCR, set IEEE defaults and restore it. */
#ifndef ACCRUE_H
#define ACCRUE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ACR_API __attribute__((visibility("default")))

#define ACR_VERSION_STRING "0.1.0"
/* The canon of sums this build follows: part of every file that holds weights. */
#define ACR_NUMERICS 1
ACR_API const char *acr_version(void);
ACR_API int acr_numerics(void);

/* ---- status ----------------------------------------------------------------
 * X(name, value, exit code of the command line, meaning) */
#define ACR_STATUS_LIST(X)                                                          \
    X(ACR_OK, 0, 0, "ok")                                                           \
    X(ACR_E_NO_MEMORY, 10, 1, "the allocator returned nothing")                     \
    X(ACR_E_IO, 20, 1, "a file could not be read or written")                       \
    X(ACR_E_LOCKED, 25, 1, "another run holds the folder")                          \
    X(ACR_E_THREAD, 30, 1, "a thread could not be started")                         \
    X(ACR_E_ARGUMENT, 40, 2, "an argument or option is out of its range")           \
    X(ACR_E_SHAPE, 45, 2, "shapes do not fit together")                             \
    X(ACR_E_STATE, 50, 2, "a call came in the wrong order")                         \
    X(ACR_E_CONFIG, 55, 2, "the configuration is wrong")                            \
    X(ACR_E_UNSUPPORTED, 60, 2, "this machine or build cannot do it")               \
    X(ACR_E_DATA, 70, 3, "data or a model file is missing, damaged or hostile")     \
    X(ACR_E_LIMIT, 80, 4, "it would not fit memory_limit")                          \
    X(ACR_E_DIVERGED, 90, 5, "too many windows in a row had non-finite gradients")  \
    X(ACR_E_BROKEN, 100, 6, "a promise was found broken")                           \
    X(ACR_E_CANCELLED, 110, 130, "acr_cancel was called")
typedef enum acr_status {
#define ACR_STATUS_ENUM(name, value, exit_code, meaning) name = value,
    ACR_STATUS_LIST(ACR_STATUS_ENUM)
#undef ACR_STATUS_ENUM
} acr_status;
/* The meaning of a status in a few words; never NULL. */
ACR_API const char *acr_status_text(acr_status status);

/* ---- context ---------------------------------------------------------------
 * Holds the allocator and log hooks, the threads, the kernel path and the last
 * error's sentence. */
typedef struct acr_context acr_context;
typedef struct acr_context_opts {
    size_t size;     /* sizeof(acr_context_opts), set by the INIT macro */
    int threads;     /* 0: processor affinity and cgroup quota */
    const char *isa; /* "scalar", "avx2", ...; NULL: ACCRUE_ISA, else the best */
    void *(*alloc)(void *user, size_t bytes); /* like malloc; NULL: malloc */
    void (*free)(void *user, void *p);
    void (*log)(void *user, const char *sentence); /* warnings; NULL: silent */
    void *user;
} acr_context_opts;
#define ACR_CONTEXT_OPTS_INIT {sizeof(acr_context_opts), 0, NULL, NULL, NULL, NULL, NULL}

/* opts may be NULL. Fails with ACR_E_UNSUPPORTED for an instruction set that the
 * processor or the build lacks; *out is then still a context (whose acr_error
 * tells) or NULL when memory is short. Destroy it in either case. */
ACR_API acr_status acr_context_create(acr_context **out, const acr_context_opts *opts);
/* Everything made from the context must be destroyed before. Takes NULL. */
ACR_API void acr_context_destroy(acr_context *ctx);
/* The last failure's sentence; "" if none. Valid until the next call. */
ACR_API const char *acr_error(const acr_context *ctx);
ACR_API int acr_context_threads(const acr_context *ctx);
ACR_API const char *acr_context_isa(const acr_context *ctx);
/* The i-th instruction-set path this machine can run, NULL past the last. */
ACR_API const char *acr_isa_name(int i);
/* Asks the running call, and those after it, to stop at the next micro-batch with
 * ACR_E_CANCELLED. Async-signal-safe. acr_cancelled tells; acr_cancel_clear takes it
 * back. Calls of one micro-batch are short and do not ask: acr_window_forward,
 * acr_window_backward, acr_decode; nor does acr_window_close. */
ACR_API void acr_cancel(acr_context *ctx);
ACR_API int acr_cancelled(const acr_context *ctx);
ACR_API void acr_cancel_clear(acr_context *ctx);

/* ---- graph -----------------------------------------------------------------
 * Nodes are small integers. A node has a dtype, a shape per row (at most 4
 * dimensions) and a domain: how many rows there are. A wrong argument yields
 * ACR_NONE and sticks in the graph: later calls with ACR_NONE are no-ops and
 * acr_graph_finish tells the first one.
 *
 * The order in which nodes are created is the order of some sums, so it is part
 * of the bits. C leaves open which argument of a call is evaluated first: create
 * at most one node within the arguments of another. */
typedef struct acr_graph acr_graph;
typedef int32_t acr_node;
typedef int32_t acr_domain;
#define ACR_NONE (-1)
#define ACR_ONCE 0   /* domain: one row in all (parameters) */
#define ACR_SAMPLE 1 /* domain: one row a sample */

typedef enum acr_dtype { ACR_F32 = 1, ACR_I32 = 2, ACR_BF16 = 3 /* of products alone */ } acr_dtype;

typedef struct acr_graph_opts {
    size_t size;
    uint64_t seed; /* initial weights and dropout */
    int reference; /* 1: compute in double precision with the plain-C kernels */
    /* Of linear layers, heads and attention: 0 or ACR_F32, or ACR_BF16: operands are rounded to
     * bf16, sums stay fp32 (docs/numerics.md, rule 2). Other bits: part of the model.
     * The reference rounds nothing. */
    int products;
} acr_graph_opts;
#define ACR_GRAPH_OPTS_INIT {sizeof(acr_graph_opts), 0, 0, 0}

/* NULL only when memory is short. opts may be NULL. */
ACR_API acr_graph *acr_graph_create(acr_context *ctx, const acr_graph_opts *opts);
ACR_API void acr_graph_destroy(acr_graph *g);
ACR_API acr_context *acr_graph_context(const acr_graph *g); /* borrowed */

/* A ragged domain: each sample has 1 to max_rows rows, given by offsets in the batch. */
ACR_API acr_domain acr_domain_create(acr_graph *g, const char *name, int64_t max_rows);
/* Inputs, in the order in which a batch lists them. shape is per row. */
ACR_API acr_node acr_input(acr_graph *g, const char *name, acr_dtype dtype, int ndim, const int64_t *shape);
ACR_API acr_node acr_input_in(acr_graph *g, acr_domain domain, const char *name, acr_dtype dtype, int ndim, const int64_t *shape);
/* A parameter of its own, for sharing between ops. fan_in > 0: starts at
 * U(-1/sqrt(fan_in), 1/sqrt(fan_in)); 0: starts at `fill`. */
ACR_API acr_node acr_param(acr_graph *g, const char *name, int ndim, const int64_t *shape, int64_t fan_in, float fill);
/* The same, starting at N(0, std^2); std >= 0. Keyed by the graph's seed and the name. */
ACR_API acr_node acr_param_normal(acr_graph *g, const char *name, int ndim, const int64_t *shape, float std);

/* y = x W^T + b, W [out, in] "NAME.weight", b [out] "NAME.bias". */
ACR_API acr_node acr_linear(acr_graph *g, acr_node x, int64_t out, const char *name);
/* The same with a choice of its parts. opts may be NULL. */
typedef struct acr_linear_opts {
    size_t size;
    int no_bias;    /* 1: y = x W^T */
    int transposed; /* 1: W is [in, out] and y = x W + b, as in GPT-2's Conv1D */
    float std;      /* > 0: W starts at N(0, std^2) and b at 0; 0: both as acr_linear's */
} acr_linear_opts;
#define ACR_LINEAR_OPTS_INIT {sizeof(acr_linear_opts), 0, 0, 0.0f}
ACR_API acr_node acr_linear_with(acr_graph *g, acr_node x, int64_t out, const char *name, const acr_linear_opts *opts);
/* The same with given parameters: weight [out, in]. No bias. */
ACR_API acr_node acr_linear_shared(acr_graph *g, acr_node x, acr_node weight);
ACR_API acr_node acr_bias(acr_graph *g, acr_node x, acr_node bias); /* bias [cols] */
ACR_API acr_node acr_relu(acr_graph *g, acr_node x);
ACR_API acr_node acr_leaky_relu(acr_graph *g, acr_node x, float slope); /* slope > 0 */
ACR_API acr_node acr_gelu(acr_graph *g, acr_node x);      /* x * Phi(x), by erf */
ACR_API acr_node acr_gelu_tanh(acr_graph *g, acr_node x); /* 0.5x(1+tanh(sqrt(2/pi)(x+0.044715x^3))) */
ACR_API acr_node acr_silu(acr_graph *g, acr_node x);      /* x * sigmoid(x) */
ACR_API acr_node acr_silu_mul(acr_graph *g, acr_node gate, acr_node up); /* silu(gate) * up */
ACR_API acr_node acr_tanh(acr_graph *g, acr_node x);
ACR_API acr_node acr_sigmoid(acr_graph *g, acr_node x);
ACR_API acr_node acr_add(acr_graph *g, acr_node a, acr_node b);
ACR_API acr_node acr_mul(acr_graph *g, acr_node a, acr_node b);
ACR_API acr_node acr_concat(acr_graph *g, int count, const acr_node *parts); /* along the last dimension; 1-d rows */
ACR_API acr_node acr_reshape(acr_graph *g, acr_node x, int ndim, const int64_t *shape);
ACR_API acr_node acr_dropout(acr_graph *g, acr_node x, float p, const char *name); /* 0 <= p < 1 */
ACR_API acr_node acr_layer_norm(acr_graph *g, acr_node x, float eps, const char *name); /* "NAME.weight", "NAME.bias" */
ACR_API acr_node acr_rms_norm(acr_graph *g, acr_node x, float eps, const char *name);   /* "NAME.weight" */
ACR_API acr_node acr_softmax(acr_graph *g, acr_node x);
/* ids: int32 [1]; table "NAME.weight" [count, dim], or the parameter given. */
ACR_API acr_node acr_embedding(acr_graph *g, acr_node ids, int64_t count, int64_t dim, const char *name);
ACR_API acr_node acr_embedding_shared(acr_graph *g, acr_node ids, acr_node weight);

/* Rotary positions (Su et al. 2021). x is [heads * dim]; in each head the pair
 * (x[i], x[i + dim/2]) is turned by position * frequency[i], 0 <= i < dim/2, as
 * Hugging Face's models do: frequency[i] = theta^(-2i/dim), then the scaling of
 * its rope types of these names. position: int32 [1] in x's domain, from 0 to
 * below the domain's max_rows. The angles are computed in fp64 and their sine and
 * cosine rounded once. */
typedef enum acr_rope_scaling { ACR_ROPE_DEFAULT = 0, ACR_ROPE_LINEAR = 1, ACR_ROPE_LLAMA3 = 2 } acr_rope_scaling;
typedef struct acr_rope_opts {
    size_t size;
    int64_t dim;  /* of a head; even */
    double theta; /* >= 1 */
    acr_rope_scaling scaling;
    double factor;                            /* linear, llama3: >= 1 */
    double low_freq_factor, high_freq_factor; /* llama3: 0 < low < high */
    int64_t original_positions;               /* llama3: original_max_position_embeddings */
} acr_rope_opts;
#define ACR_ROPE_OPTS_INIT {sizeof(acr_rope_opts), 0, 10000.0, ACR_ROPE_DEFAULT, 1.0, 1.0, 4.0, 8192}
ACR_API acr_node acr_rope(acr_graph *g, acr_node x, acr_node position, const acr_rope_opts *opts);

/* Causal attention over the rows of each sample. q is [heads * dim], k and v are
 * [kv_heads * dim], or k and v are both ACR_NONE and q holds q | k | v in its
 * columns. Query head h reads key head h / (heads / kv_heads). position: int32 [1];
 * the row at place p of its sample sees the places p - position[p] .. p, so that
 * documents packed into one sample do not see each other. Gives [heads * dim]. */
typedef struct acr_attention_opts {
    size_t size;
    int64_t heads, kv_heads; /* kv_heads divides heads */
    int64_t dim;             /* of a head */
    float scale;             /* of the scores; 0: 1/sqrt(dim) */
    float dropout;           /* of the weights after softmax; 0 <= dropout < 1 */
    const char *name;        /* keys the dropout; may be NULL without */
} acr_attention_opts;
#define ACR_ATTENTION_OPTS_INIT {sizeof(acr_attention_opts), 1, 1, 0, 0.0f, 0.0f, NULL}
ACR_API acr_node acr_attention(acr_graph *g, acr_node q, acr_node k, acr_node v, acr_node position,
                               const acr_attention_opts *opts);

/* Losses, per row. `weight` is an input of one f32 column in the same domain, or
 * ACR_NONE for 1. Each is the row's mean over the outputs, as PyTorch's
 * reduction="none" then mean over dim; cross_entropy is -sum target*log p. */
typedef struct acr_ce_opts {
    size_t size;
    float label_smoothing; /* 0 .. 1 */
    int32_t ignore_index;  /* a row with this label weighs nothing */
    const float *class_weight; /* [classes], copied; NULL: all 1 */
} acr_ce_opts;
#define ACR_CE_OPTS_INIT {sizeof(acr_ce_opts), 0.0f, -100, NULL}
ACR_API acr_node acr_mse(acr_graph *g, acr_node prediction, acr_node target, acr_node weight);
ACR_API acr_node acr_mae(acr_graph *g, acr_node prediction, acr_node target, acr_node weight);
ACR_API acr_node acr_huber(acr_graph *g, acr_node prediction, acr_node target, acr_node weight, float delta);
ACR_API acr_node acr_cross_entropy(acr_graph *g, acr_node logits, acr_node target, acr_node weight, const acr_ce_opts *opts);
ACR_API acr_node acr_bce_with_logits(acr_graph *g, acr_node logits, acr_node target, acr_node weight);
/* cross_entropy over a large vocabulary: logits = x W^T, `weight` a parameter [V, C],
 * x rows [C], `target` int32 labels [1] in x's domain. It goes by chunks of rows: a
 * chunk's logits, their loss and gradient, and both products with that gradient, so
 * that the logits are never whole in memory and never computed twice. A product
 * dW += dlogits^T X reads and writes V x C sums, so micro-batches of few rows share
 * one: the plan keeps their dlogits, up to 512 rows, where it stages rows at all.
 * acr_linear_shared over the same parameter gives the logits as an output. */
ACR_API acr_node acr_head_cross_entropy(acr_graph *g, acr_node x, acr_node weight, acr_node target,
                                        acr_node row_weight, const acr_ce_opts *opts);

/* The nodes created since the last mark (or the beginning) form a block whose values
 * may be dropped after the forward and computed again in the backward, see
 * acr_plan_opts.recompute. Nothing of a block but `x` may be read by later nodes;
 * acr_graph_finish tells what is. */
ACR_API void acr_block_end(acr_graph *g, acr_node x);
ACR_API int acr_block_count(const acr_graph *g);

/* Names a node that can be read by acr_predict or acr_output_read. */
ACR_API void acr_output(acr_graph *g, const char *name, acr_node x);
/* The one loss to train on. Without it the graph only predicts, or takes an
 * external loss (acr_window_backward). A second one is refused. */
ACR_API void acr_loss(acr_graph *g, acr_node loss);
/* Checks everything, names the parameters, derives the backward pass. Two equal
 * names, a shape that does not fit or a node used wrongly are told here. */
ACR_API acr_status acr_graph_finish(acr_graph *g);

/* Parameters of a finished graph, in the byte order of their names. */
ACR_API int acr_param_count(const acr_graph *g);
ACR_API const char *acr_param_name(const acr_graph *g, int i);
ACR_API int acr_param_ndim(const acr_graph *g, int i);
ACR_API int64_t acr_param_dim(const acr_graph *g, int i, int axis);
ACR_API int64_t acr_param_elements(const acr_graph *g, int i); /* -1: no such parameter */
ACR_API int acr_param_index(const acr_graph *g, const char *name); /* -1 */
/* Before the first plan, else ACR_E_STATE: only parameters that match one of the glob
 * patterns ('*', '?') are trained; the others get neither gradient nor optimizer state. */
ACR_API acr_status acr_graph_trainable(acr_graph *g, int count, const char *const *patterns);

/* ---- plan ------------------------------------------------------------------
 * Places every byte before the first is taken. */
typedef enum acr_optimizer { ACR_SGD = 1, ACR_ADAM = 2, ACR_ADAMW = 3 } acr_optimizer;

typedef struct acr_plan acr_plan;
typedef struct acr_plan_opts {
    size_t size;
    int64_t micro_batch;  /* samples at once at most; > 0 */
    int64_t stage_rows;   /* rows kept for the weight gradient; 0: chosen; at least micro_batch */
    int pack;             /* keep packed copies of the weights: 1 yes, 0 no, -1: yes where it pays */
    acr_optimizer optimizer; /* 0: prediction only */
    int momentum;         /* sgd: a momentum buffer is needed */
    /* rows a window can have; more than 2^20 plans second accumulators, fewer than an
     * embedding has entries plans a row for each token that occurs. 0: not known */
    int64_t max_window_rows;
    int recompute;      /* blocks, from the first, whose values are computed again in the backward */
    int64_t cache_rows; /* prediction only: longest sequence of acr_decode; 0: none */
} acr_plan_opts;
#define ACR_PLAN_OPTS_INIT {sizeof(acr_plan_opts), 1, 0, -1, ACR_SGD, 0, 0, 0, 0}

typedef enum acr_kind {
    ACR_KIND_PARAMETER, ACR_KIND_GRADIENT, ACR_KIND_OPTIMIZER, ACR_KIND_ACTIVATION,
    ACR_KIND_STAGING, ACR_KIND_DATA, ACR_KIND_PACKED, ACR_KIND_SCRATCH,
    ACR_KIND_STATE, /* kept from call to call: the keys and values of acr_decode */
    ACR_KIND_COUNT
} acr_kind;
/* Where a tensor lives: host code reads and writes it, or kernels alone do. */
enum { ACR_SPACE_HOST = 0, ACR_SPACE_KERNELS = 1 };
/* One placed tensor. `name` borrows from the plan. */
typedef struct acr_plan_entry {
    const char *name;
    acr_kind kind;
    int space;              /* ACR_SPACE_HOST, or where the kernels work */
    size_t offset, bytes;   /* in the arena */
    int32_t first, last;    /* steps of life within a micro-batch, both included */
    int32_t again_first, again_last; /* of a second life, where it is computed again; -1: none */
} acr_plan_entry;

ACR_API acr_status acr_plan_create(acr_plan **out, acr_graph *g, const acr_plan_opts *opts);
ACR_API void acr_plan_destroy(acr_plan *p);
ACR_API size_t acr_plan_bytes(const acr_plan *p); /* the arena, whole */
ACR_API size_t acr_plan_kind_bytes(const acr_plan *p, acr_kind kind);
ACR_API const char *acr_kind_name(acr_kind kind);
ACR_API int acr_plan_entries(const acr_plan *p);
ACR_API acr_status acr_plan_entry_get(const acr_plan *p, int i, acr_plan_entry *out);
ACR_API int acr_plan_steps(const acr_plan *p);
ACR_API const char *acr_plan_step_name(const acr_plan *p, int step);
ACR_API int64_t acr_plan_micro_batch(const acr_plan *p);
ACR_API int64_t acr_plan_stage_rows(const acr_plan *p);

/* ---- trainer ---------------------------------------------------------------
 * Takes the arena (one allocation) and holds parameters, optimizer state and the
 * window. After acr_trainer_create nothing allocates. */
typedef enum acr_reduction {
    ACR_MEAN = 0, ACR_SUM = 1,
    ACR_MEAN_OF_MICRO_BATCHES = 2,      /* depends on the split, by definition */
    ACR_SUM_OF_MICRO_BATCH_MEANS = 3    /* likewise */
} acr_reduction;
typedef enum acr_schedule { ACR_CONSTANT = 0, ACR_LINEAR = 1, ACR_COSINE = 2, ACR_WSD = 3 } acr_schedule;

typedef struct acr_trainer_opts {
    size_t size;
    double learning_rate;
    double weight_decay;
    double momentum, dampening; /* sgd */
    int nesterov;
    double adam_beta1, adam_beta2, adam_epsilon;
    double max_grad_norm; /* 0: off */
    acr_schedule schedule;
    int64_t warmup_steps, total_steps, decay_steps; /* updates; decay_steps: wsd */
    double min_lr_ratio;
    acr_reduction reduction;
    int weight_decay_exclude_count; /* globs over parameter names */
    const char *const *weight_decay_exclude;
    int max_skipped; /* windows skipped in a row before ACR_E_DIVERGED */
    int weight_decay_min_dims; /* parameters of fewer dimensions do not decay; 0: all may */
} acr_trainer_opts;
#define ACR_TRAINER_OPTS_INIT \
    {sizeof(acr_trainer_opts), 1e-3, 0, 0, 0, 0, 0.9, 0.999, 1e-8, 0, ACR_CONSTANT, 0, 0, 0, 0, ACR_MEAN, 0, NULL, 10, 0}

/* The learning rate of update u (0, 1, ...): a pure function of the options. */
ACR_API double acr_learning_rate(const acr_trainer_opts *opts, int64_t update);

typedef struct acr_trainer acr_trainer;
/* The plan and its graph must outlive the trainer. Parameters start from the
 * graph's seed, keyed by their names. */
ACR_API acr_status acr_trainer_create(acr_trainer **out, acr_plan *plan, const acr_trainer_opts *opts);
ACR_API void acr_trainer_destroy(acr_trainer *t);
ACR_API const acr_graph *acr_trainer_graph(const acr_trainer *t); /* borrowed */
/* "sgd", "adam", "adamw", or "none" where the plan only predicts. */
ACR_API const char *acr_trainer_optimizer(const acr_trainer *t);

/* Copies in canonical layout (row-major, f32), elements [first, first+n).
 * Writing inside an open window is refused with ACR_E_STATE. */
ACR_API acr_status acr_param_read(acr_trainer *t, int param, int64_t first, int64_t n, float *out);
ACR_API acr_status acr_param_write(acr_trainer *t, int param, int64_t first, int64_t n, const float *in);
/* The accumulated gradient: sum of w*grad l so far, uses joined, not divided. */
ACR_API acr_status acr_gradient_read(acr_trainer *t, int param, int64_t first, int64_t n, double *out);
/* Optimizer state `slot` of a parameter: 0: sgd's momentum buffer or adam's m, 1: adam's v. */
ACR_API int acr_state_slots(const acr_trainer *t);
ACR_API const char *acr_state_name(const acr_trainer *t, int slot);
ACR_API int acr_param_trainable(const acr_trainer *t, int param);
ACR_API acr_status acr_state_read(acr_trainer *t, int param, int slot, int64_t first, int64_t n, float *out);
ACR_API acr_status acr_state_write(acr_trainer *t, int param, int slot, int64_t first, int64_t n, const float *in);

/* Where training stands; saved with the state and put back by acr_clock_set. */
typedef struct acr_clock {
    int64_t updates, windows; /* windows: skipped ones too */
    int64_t samples, tokens;
    int64_t skipped;          /* all */
    int32_t skipped_in_row;
    int32_t reserved;
} acr_clock;
ACR_API acr_status acr_clock_get(const acr_trainer *t, acr_clock *out);
ACR_API acr_status acr_clock_set(acr_trainer *t, const acr_clock *clock);

/* Samples in host memory. data[i] is input i of the graph, rows one after
 * another without gaps. offsets[d] (d = domain - 2) has samples+1 entries for
 * each ragged domain, beginning at 0; NULL where the graph has none. */
typedef struct acr_batch {
    size_t size;
    int64_t samples;
    const void *const *data;
    const int32_t *const *offsets;
} acr_batch;
#define ACR_BATCH_INIT {sizeof(acr_batch), 0, NULL, NULL}

typedef struct acr_report {
    size_t size;
    int64_t update;      /* updates done, this one included */
    int64_t window;
    double loss;         /* sum(w*l)/sum(w); NaN when W = 0 */
    double weight;       /* W */
    int64_t samples, rows, micro_batches;
    double grad_norm;    /* before clipping */
    double clip;         /* factor applied */
    double learning_rate;
    int skipped;         /* 0: updated; 1: non-finite gradient; 2: W = 0 */
} acr_report;
#define ACR_REPORT_INIT {sizeof(acr_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* open -> add, add, ... -> close | abort. Any batch size: what exceeds the
 * planned micro-batch is split. add copies what it keeps. After a failed add
 * the window is as it was before the call, unless it says ACR_E_CANCELLED, which
 * aborts the window. ACR_E_STATE and ACR_E_ARGUMENT change nothing. Any other failure
 * of a pull, and whatever its source gives, aborts the window: how much of it the
 * source has given is not known before. Rows of ragged domains are not either: where
 * max_window_rows is too few for those that came, a pull says ACR_E_DATA. */
ACR_API acr_status acr_window_open(acr_trainer *t);
ACR_API acr_status acr_window_add(acr_trainer *t, const acr_batch *batch);
ACR_API acr_status acr_window_close(acr_trainer *t, acr_report *report); /* report may be NULL */
ACR_API void acr_window_abort(acr_trainer *t); /* nothing of the window remains; no clock ticks */

/* An external loss: forward at most micro_batch samples, read outputs, then give
 * for output `name` the gradient of each row's loss [rows, cols], the row weights
 * (NULL: 1) and the row losses (NULL: 0). The library multiplies by the weight. */
ACR_API acr_status acr_window_forward(acr_trainer *t, const acr_batch *batch);
ACR_API acr_status acr_output_read(acr_trainer *t, const char *name, int64_t first_row, int64_t rows, float *out);
ACR_API acr_status acr_window_backward(acr_trainer *t, const char *name, const float *gradient, const float *weight, const float *loss);

/* Pulled batches: get() fills samples [first, first+n) of window `window`; it may
 * be asked again. `batch` comes with buffers of the planned micro-batch; get()
 * writes into them. Its buffers are the staging itself: nothing is copied twice. */
typedef struct acr_slots {
    size_t size;
    void *const *data;      /* data[i]: rows of input i, `row_bytes[i]` apart, f32 or i32 */
    const int64_t *row_bytes;
    int32_t *const *offsets;
} acr_slots;
typedef struct acr_source {
    size_t size;
    void *user;
    /* Called from worker threads at once for disjoint [first, first+n) when
     * `parallel` is set, and then possibly for several micro-batches at once. */
    acr_status (*get)(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out);
    int parallel;
} acr_source;
/* Adds samples [first, first+n) of the source, by micro-batches of at most the
 * planned size. ACR_E_ARGUMENT for a negative first or n, and for more samples than
 * a window can have, 2^32 - 1. */
ACR_API acr_status acr_window_pull(acr_trainer *t, const acr_source *source, int64_t window, int64_t first, int64_t n);

/* Evaluation: no window is touched; dropout is off. */
typedef struct acr_eval {
    size_t size;
    double loss, weight, accuracy; /* accuracy: NaN where the loss has none */
    int64_t samples;
} acr_eval;
#define ACR_EVAL_INIT {sizeof(acr_eval), 0, 0, 0, 0}
ACR_API acr_status acr_evaluate(acr_trainer *t, const acr_source *source, int64_t samples, acr_eval *out);
/* Forward only; targets are not needed (their data[i] may be NULL). out: [rows, cols] f32;
 * after ACR_E_CANCELLED it holds the rows of the micro-batches before. */
ACR_API acr_status acr_predict(acr_trainer *t, const acr_batch *batch, const char *name, float *out);

/* One sequence at a time, continued call by call: feeds n tokens (at most the rows
 * planned for a pass: micro_batch x max_rows) at the places after those fed before;
 * `out` gets the last one's row of `output`, the same bits as acr_predict over the
 * whole sequence gives. The plan has cache_rows, which may be more than the domain's
 * max_rows; the graph's inputs "ids" and "position" (int32 [1] in a ragged domain) are
 * filled here and `output` needs no other. Up to the last attention all n rows are
 * computed, behind it the last row. After acr_param_write begin a new sequence.
 * ACR_E_ARGUMENT past cache_rows or a table of positions, ACR_E_DATA for an id out of
 * range; a failed call leaves the sequence as it was. */
ACR_API acr_status acr_decode(acr_trainer *t, int64_t n, const int32_t *ids, const char *output, float *out);
/* Keeps the first `rows` tokens; 0 begins a new sequence. */
ACR_API acr_status acr_decode_rewind(acr_trainer *t, int64_t rows);

/* ---- train loop ------------------------------------------------------------
 * Windows over epochs of `samples` samples. Callbacks may be NULL; a status
 * other than ACR_OK stops the loop and is returned. */
typedef struct acr_train_opts {
    size_t size;
    int64_t samples;         /* of one epoch */
    int64_t effective_batch;
    int64_t max_steps;       /* windows in all, from the beginning of training */
    int drop_last;           /* last_window: drop */
    const acr_source *source; /* asked with window = number of the epoch, first = place in the epoch */
    acr_status (*on_update)(void *user, const acr_report *report);
    acr_status (*on_micro_batch)(void *user, int64_t done, int64_t of);
    void *user;
} acr_train_opts;
#define ACR_TRAIN_OPTS_INIT {sizeof(acr_train_opts), 0, 1, 0, 0, NULL, NULL, NULL, NULL}
/* Continues from the trainer's clock. Windows per epoch: ceil (floor if drop_last).
 * After an error the window that it had open is aborted, the caller's own never. */
ACR_API acr_status acr_train(acr_trainer *t, const acr_train_opts *opts);

/* Seeded tools that data sources need: rule 8's permutation of [0, n) and a
 * standard normal, both pure functions of their arguments. */
ACR_API int64_t acr_shuffle(uint64_t seed, uint32_t epoch, int64_t n, int64_t index);
ACR_API float acr_normal(uint64_t seed, uint32_t stream, uint64_t index);

#ifdef __cplusplus
}
#endif
#endif
