/* exec.h: a node once its memory has a place, and what one micro-batch looks
 * like to it. Step functions (op_*.c) see nothing else. */
#ifndef ACR_EXEC_H
#define ACR_EXEC_H

#include "base/pool.h"
#include "kernel/kernel.h"

#ifndef ACR_CHAIN_ROWS
/* Rule 1: a weight gradient's chain is spilled after so many rows of the window.
 * Tests build with a small one. */
#define ACR_CHAIN_ROWS 1048576
#endif

/* A placed matrix: rows ld elements apart. Staged ones hold several
 * micro-batches; the current one begins at run->base. So do the rows that a step of
 * acr_decode works on, in a plan for it. */
typedef struct acr__slot {
    char *p; /* NULL: there is none */
    int64_t ld;
    bool staged;
    bool operands; /* acr_kernels.bf16_bytes an element: what round_bf16 wrote, not reals */
} acr__slot;

/* The products of a linear or head node, or attention's two steps; each counts the
 * pieces that members took. */
enum acr__ticket { ACR_TICKET_FORWARD, ACR_TICKET_BACKWARD, ACR_TICKET_GRADIENT, ACR_TICKETS };

typedef struct acr__exec {
    const struct acr__node *node;
    acr_domain domain;
    int64_t cost; /* multiply-adds a row, about: whether threads pay */
    acr__slot out, dout, aux;
    acr__slot kept; /* where out is kept as operands of products; p NULL: out is its place */
    const struct acr__exec *then, *then_back; /* linear: the activation that goes on with a block of it; NULL: none */
    acr__slot in[8], din[8];
    int64_t in_cols[8];
    bool din_add[8];
    /* for in[i] a trained parameter: this use's accumulator, and the second one
     * of windows past ACR_CHAIN_ROWS (NULL where none is planned) */
    void *acc[8], *acc2[8];
    void *packed, *packed_back; /* linear, head: W^T and W as panels, or NULL */
    const void *class_weight;   /* cross_entropy, head: real [classes], or NULL */
    const void *table;          /* rope: real [max_rows, dim] of acr__rope_row */
    _Atomic uint64_t *tickets;  /* linear, head, attention: pieces taken, by enum acr__ticket */
    const int32_t *slots;       /* embedding: its rows' rows in a compact acc[1], or NULL */
    acr__slot cached[2];        /* attention: keys and values of acr_decode's sequence */
    int64_t chunk;              /* head: rows of logits at a time; aux holds them */
} acr__exec;

/* Where blocks of a weight gradient in bf16 end early: at the ends of samples that
 * have several rows. Row r of the rows meant is place first + r among them. */
typedef struct acr__cuts {
    const int32_t *ends; /* ascending; NULL: a block is 32 rows of the window */
    int64_t count, first;
} acr__cuts;

/* The row sums of the loss node, filled by its forward. */
typedef struct acr__loss_rows {
    double *loss, *weight, *correct;
} acr__loss_rows;

typedef struct acr__run {
    const acr_kernels *k;
    acr__pool *pool; /* whose members run a step, where several do */
    size_t es;
    uint64_t seed;
    uint32_t window;
    uint64_t turn;        /* counts the calls of the team: whose tickets are valid */
    bool training;        /* dropout on, gradients wanted */
    bool weighing;        /* of the loss, only row_weight is wanted */
    bool decoding;        /* one sample goes on behind `past` rows, whose keys and values are cached */
    int64_t past;
    bool finite;          /* packed weights hold neither infinity nor NaN */
    bool bf16;            /* products of linear, head and attention nodes are by rule 2 */
    int64_t samples;      /* of this micro-batch */
    int64_t place;        /* samples of the window before it */
    double weight_scale;  /* see acr_loss_args */
    int64_t rows[8];      /* by domain: of this micro-batch */
    int64_t base[8];      /* where it begins in staged slots */
    int64_t stage_rows[8];  /* staged rows whose weight gradient is due */
    int64_t stage_first[8]; /* the window's row index of staged row 0 */
    int64_t due_rows[8];    /* of them, those that weights take now: in bf16 whole blocks */
    int64_t summed_rows[8]; /* of them, those that are in rule 4's sums already */
    int64_t last_block[8];  /* the window's row at which the last block taken began; -1: none yet */
    int64_t added_block[8]; /* the same of the micro-batches before this one */
    acr__cuts cuts[8];      /* of the staged rows */
    const int32_t *offsets[8];
    acr__loss_rows loss;
    char *scratch; /* scratch_bytes for each member of the team */
    size_t scratch_bytes;
} acr__run;

/* Within a step that `count` members run: none goes on before all have come here. */
static inline void acr__run_barrier(const acr__run *run, int count)
{
    if (count > 1)
        acr__pool_barrier(run->pool);
}

/* Rule 1's chain of a weight gradient ends with the row, in bf16 with the block
 * [begin, end) of the window, in which it reaches a multiple of ACR_CHAIN_ROWS. */
static inline bool acr__ends_chain(int64_t begin, int64_t end) { return end / ACR_CHAIN_ROWS > begin / ACR_CHAIN_ROWS; }

/* Whether a chain begins at row `at` of the window, the row or block before having
 * begun at `before`. */
static inline bool acr__begins_chain(int64_t before, int64_t at) { return at == 0 || acr__ends_chain(before, at); }

/* Bytes of an element. */
static inline int64_t acr__slot_es(const acr__run *run, const acr__slot *s)
{
    return (int64_t)(s->operands ? run->k->bf16_bytes : run->es);
}

/* The current micro-batch's first row of a slot. */
static inline char *acr__rows_at(const acr__run *run, const acr__slot *s, acr_domain domain)
{
    return s->p + (s->staged ? run->base[domain] * s->ld * acr__slot_es(run, s) : 0);
}

#endif
