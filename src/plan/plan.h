/* plan.h: where every byte goes, decided before the first is taken. */
#ifndef ACR_PLAN_H
#define ACR_PLAN_H

#include "graph/graph.h"

/* A buffer of the arena. Rows of activations are ld elements apart. Those with
 * first == 0 and last == INT32_MAX live always; others share memory with
 * buffers that are not alive at the same time. */
typedef struct acr__buffer {
    char name[96];
    acr_kind kind;
    size_t bytes, offset;
    int64_t ld;
    bool staged;
    bool operands; /* holds what round_bf16 writes, not reals */
    acr_domain domain; /* staged: whose rows */
    bool host; /* read and written by host code: behind the arena, never on a device */
    bool dropped; /* computed again in the backward: it has a second life then */
    int32_t first, last, again_first, again_last; /* last < first: there is no such life */
} acr__buffer;
enum { ACR_ALWAYS = INT32_MAX, ACR_ALIGN = 64 }; /* ACR_ALIGN: of every buffer, in bytes */

/* What a node has, as indices into buffers; -1: nothing. */
typedef struct acr__place {
    int value, grad, aux;
    int wide; /* what the op writes, where the value is kept as operands (plan.c, is_operand) */
    int packed, packed_back, class_weight;
    int table; /* rope's; nodes that turn alike share one */
    /* an embedding with a compact accumulator: for each entry the row of acc that it
     * has in this window, or -1; for each row of the micro-batch its id's row, as host
     * code finds it and as kernels read it */
    int entries, host_slots, slots;
    int cached[2]; /* attention: keys and values of acr_decode's sequence */
    int raw; /* an input's rows as they arrive, where kernels take them elsewhere or as doubles */
    int ahead; /* an input that is not staged: its rows of samples that were fetched ahead */
    int acc[ACR_MAX_IN], acc2[ACR_MAX_IN]; /* accumulators of the parameter inputs */
    /* a linear node: the activation that its own step computes, of the forward and of the
     * backward, and an activation: whether another's does (steps.c); ACR_NONE: none */
    acr_node then, then_back;
    bool joined, joined_back;
} acr__place;

/* Parameters are addressed as (segment, offset, length), in elements. The values of
 * a segment lie together, and so does each state, a parameter's at the offset of its
 * value; only trained ones, which come first, have state. So a segment can be
 * somewhere else as a whole. The graph's parameters say which is theirs: as yet one
 * holds them all. */
typedef struct acr__address {
    int segment;
    int64_t offset, length;
} acr__address;

typedef struct acr__segment {
    int value, state[2]; /* the first buffer of each, -1: there is none */
} acr__segment;

typedef struct acr__param_place {
    acr__address at;
    bool has_state;
} acr__param_place;

enum acr__phase { ACR_FORWARD, ACR_AGAIN, ACR_BACKWARD, ACR_GRADIENT }; /* again: the forward, repeated */
typedef struct acr__step {
    acr_node node;
    enum acr__phase phase;
} acr__step;

struct acr_plan {
    acr_context *ctx;
    acr_graph *g;
    acr_plan_opts opts;
    int64_t stage_samples;
    int64_t ahead; /* samples fetched at once: those of one micro-batch, or of several small ones */
    bool staged;   /* weight gradients are taken after several micro-batches */
    bool blocks;   /* bf16, and weights sum over samples of one row: in blocks of the window's rows */
    bool second;   /* second accumulators are planned */
    int64_t chunk; /* rows of logits that a head works on at a time */
    bool head_staged; /* they are rows of the stage */
    bool compact;  /* some accumulator is */
    int slots;     /* optimizer state tensors a parameter */

    acr__buffer *buffers;
    int buffer_count, buffer_capacity;
    acr__place *places;             /* a node each */
    acr__param_place *param_places; /* a parameter each */
    acr__segment *segments;
    int segment_count;
    int scratch, leaves, loss_rows;
    int64_t leaf_count; /* of all trained parameters: rule 5 */

    /* A micro-batch runs steps[0, forward_count), the loss last, then the
     * backward steps to step_count. Where `staged`, the gradient steps stand
     * behind them, to flush_end, and run when the stage is full. */
    acr__step *steps;
    int forward_count, step_count, flush_end;
    size_t arena_bytes; /* what kernels work in */
    size_t bytes;       /* with the host's buffers behind it */
};

/* -- steps.c -- */
/* Lists the steps and finds when each buffer is alive; the buffers are there. */
acr_status acr__plan_list_steps(acr_plan *p);
/* A buffer that lives from the first step to the last that touches it. */
void acr__plan_untouched(acr__buffer *b);
bool acr__plan_is_value(const acr__node *n); /* live, computed or an input */
/* Whether this use of a parameter collects a gradient; whether the node takes it over
 * staged rows, or in a step of its own; whether an input's own gradient is wanted. */
bool acr__plan_collects(const acr_plan *p, const acr__node *n, int slot);
bool acr__plan_deferred(const acr_plan *p, const acr__node *n);
bool acr__plan_passes(const acr_plan *p, const acr__node *n, int slot);

/* -- place.c -- */
/* Gives every buffer an offset: always-live ones first, then the rest, larger
 * ones first, each as low as it fits. Returns the arena's size. */
acr_status acr__place_buffers(acr_plan *p);
/* Rows of a compact accumulator for input `slot` of the node; 0: it has one for each
 * entry. Rule 4b: a token that does not occur in a window has no row. */
int64_t acr__plan_compact(const acr_plan *p, const acr__node *n, int slot);
/* Places a sample of that domain can have: max_rows, or those of acr_decode. */
int64_t acr__plan_places(const acr_plan *p, acr_domain d);
/* Rows a buffer of that domain needs for `samples` samples. */
int64_t acr__plan_rows(const acr_plan *p, acr_domain d, int64_t samples);

/* Elements from one row to the next. Rows of samples whose length is a multiple of
 * 256 lie a cache line further apart: else a column of them would fall on four
 * cache sets of 64, and the weight gradient, which goes down columns, would wait. */
static inline int64_t acr__leading(acr_kind kind, int64_t rows, int64_t cols)
{
    bool samples = kind == ACR_KIND_ACTIVATION || kind == ACR_KIND_STAGING || kind == ACR_KIND_DATA;
    return samples && rows > 1 && cols % 256 == 0 ? cols + 16 : cols;
}

#endif
