/* op.h: what the op_*.c files share: how a member of the team finds its part. */
#ifndef ACR_OP_H
#define ACR_OP_H

#include "graph/exec.h"
#include "graph/graph.h"
#include <stdatomic.h>

/* A rectangle of a [rows, cols] matrix. rows or cols may be 0. */
typedef struct acr__part {
    int64_t row, rows, col, cols;
} acr__part;

/* By rows; by columns where there are fewer rows than members. */
static inline acr__part acr__part_of(int64_t rows, int64_t cols, int index, int count)
{
    acr__part p = {0, rows, 0, cols};
    int64_t end;
    if (rows >= count) {
        acr__share(rows, 1, index, count, &p.row, &end);
        p.rows = end - p.row;
    } else {
        acr__share(cols, 16, index, count, &p.col, &end);
        p.cols = end - p.col;
    }
    return p;
}

/* Whole rows only: for ops that sum along a row. */
static inline acr__part acr__part_rows(int64_t rows, int64_t cols, int index, int count)
{
    acr__part p = {0, rows, 0, cols};
    int64_t end;
    acr__share(rows, 1, index, count, &p.row, &end);
    p.rows = end - p.row;
    return p;
}

static inline char *acr__part_at(const acr__run *run, const acr__slot *s, acr_domain d, const acr__part *p)
{
    return acr__rows_at(run, s, d) + (p->row * s->ld + p->col) * (int64_t)run->es;
}

/* The end of the run of staged rows from r that ends no later than the next
 * multiple of ACR_CHAIN_ROWS, counted in rows of the window. */
static inline int64_t acr__chunk_end(const acr__run *run, acr_domain d, int64_t r)
{
    int64_t left = ACR_CHAIN_ROWS - (run->stage_first[d] + r) % ACR_CHAIN_ROWS;
    return acr__min(r + left, run->stage_rows[d]);
}

/* The ids of the current micro-batch's rows from `row` on, in an int32 input. */
static inline const int32_t *acr__ids_at(const acr__run *run, const acr__slot *s, acr_domain d, int64_t row)
{
    return (const int32_t *)(void *)s->p + (s->staged ? run->base[d] : 0) + row;
}

/* The number of the next piece: 0, 1, ... for the members together. A ticket of
 * another turn counts as none taken, so nobody has to reset it. */
static inline int64_t acr__take(_Atomic uint64_t *ticket, uint64_t turn)
{
    const int bits = 24; /* pieces; the turn above them */
    uint64_t seen = atomic_load_explicit(ticket, memory_order_relaxed), mine;
    do
        mine = seen >> bits == turn ? (seen & ((UINT64_C(1) << bits) - 1)) : 0;
    while (!atomic_compare_exchange_weak_explicit(ticket, &seen, turn << bits | (mine + 1), memory_order_relaxed,
                                                  memory_order_relaxed));
    return (int64_t)mine;
}

/* How the team shares a product's output. */
enum acr__split {
    ACR_SPLIT_SAMPLES,       /* the rows are samples: members own rows, where there are enough */
    ACR_SPLIT_FEATURES,      /* columns, unless they divide badly */
    ACR_SPLIT_ENTRY_ROWS,    /* the rows are many, of a vocabulary: rows */
    ACR_SPLIT_ENTRY_COLUMNS, /* the columns are */
};
/* C of `g`, over the whole team; fills in g's scratch. A ticket serves one product a
 * call of the team, unless one member clears it between two products, with a barrier on
 * either side. */
void acr__multiply(const acr__run *run, const acr__exec *e, enum acr__ticket kind, acr_gemm *g,
                   enum acr__split split, int index, int count);
void acr__ticket_clear(const acr__exec *e, enum acr__ticket kind);

/* Rows of dY and X in sample order, the first at row `at` of the window. In bf16
 * they begin and end with blocks, `before` is where the block before them began. */
typedef struct acr__rows {
    const char *dy;
    int64_t ld_dy;
    const char *x;
    bool x_operands; /* as acr__slot.operands */
    int64_t ld_x, count, at, before;
    acr__cuts cuts;
} acr__rows;
/* dW[o][i] += the sum over the rows, in order, of dY[r][o] X[r][i], for the weight
 * in[1] of `out` rows. A chain that reaches ACR_CHAIN_ROWS rows of the window is
 * spilled and begins again at 0. */
void acr__weight_gradient(const acr__run *run, const acr__exec *e, const acr__rows *rows, int64_t out,
                          enum acr__split split, int index, int count);

/* The staged rows of a node whose weight takes its gradient from `dy`. */
acr__rows acr__staged_rows(const acr__run *run, const acr__exec *e, const acr__slot *dy);

/* The rows that a node just computed, as operands, to where they are kept. */
void acr__keep_operands(const acr__run *run, const acr__exec *e, int index, int count);

/* din[slot] (+)= dout: nothing to do where they share memory. */
void acr__pass_gradient(const acr__run *run, const acr__exec *e, int slot, int index, int count);

/* The activation `e` of a part of its input that is there already, or that part's gradient. */
void acr__unary_part(const acr__run *run, const acr__exec *e, const acr__part *p, bool back);

/* Every step function, by the table's names. */
#define STEP(name) \
    void acr__##name##_forward(const acr__run *, const acr__exec *, int, int); \
    void acr__##name##_backward(const acr__run *, const acr__exec *, int, int);
STEP(linear)
STEP(bias)
STEP(unary)
STEP(add)
STEP(mul)
STEP(concat)
STEP(reshape)
STEP(dropout)
STEP(norm)
STEP(softmax)
STEP(silu_mul)
STEP(rope)
STEP(attention)
STEP(embedding)
STEP(loss)
STEP(head)
#undef STEP
void acr__linear_gradient(const acr__run *, const acr__exec *, int, int);
void acr__bias_gradient(const acr__run *, const acr__exec *, int, int);
void acr__head_gradient(const acr__run *, const acr__exec *, int, int);

#endif
