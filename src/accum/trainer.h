/* trainer.h: the window's owner: the arena, the placed nodes, the sums.
 *
 *     open -> add, add, ... -> close        (abort at any point)
 *
 * Invariant: after k adds each accumulator, with the staged rows behind it,
 * holds sum_i w_i * dl_i/dp over the samples so far, in sample order. close()
 * divides by the total weight once: the one place that divides. */
#ifndef ACR_ACCUM_TRAINER_H
#define ACR_ACCUM_TRAINER_H

#include "accum/weight.h"
#include "base/pool.h"
#include "graph/exec.h"
#include "graph/graph.h"
#include "optim/update.h"
#include "plan/plan.h"

/* An embedding's accumulator with a row for each distinct token of the window. */
typedef struct acr__compact {
    acr_node node;
    acr_domain domain;
    int input;              /* of the batch: the ids */
    int32_t *table;         /* for each entry its row, or -1 */
    int32_t *rows, *slots;  /* for each row of the micro-batch its id's row: of the host, of kernels */
    char *acc;
    int64_t entries, cols;
    int32_t used;           /* rows given out in this window */
} acr__compact;

/* One use of a parameter: what its gradient is summed in. */
typedef struct acr__use_sum {
    char *acc, *acc2; /* acc2: NULL unless planned */
    acr_domain domain; /* whose rows the chain runs over */
    const acr__exec *blocks; /* of a weight in bf16, whose chain is over blocks; else NULL */
    const acr__compact *compact; /* NULL: acc has all of the parameter's elements */
} acr__use_sum;

/* Where a segment of parameters is now: its values, and its states where it has any;
 * which of the trained ones are its own. */
typedef struct acr__segment_memory {
    char *value, *state[2];
    int first_trained, end_trained;
} acr__segment_memory;

/* A trained parameter at the close of a window. */
typedef struct acr__trained {
    int param;
    bool decays;
    acr__address at;
    int64_t first_leaf;
    int uses, home; /* home: the first use that has all elements, -1: none has */
    acr__use_sum *use; /* in graph order */
    bool compact;   /* some use is */
    int64_t cols;   /* of a row of the parameter */
} acr__trained;

/* In a larger team one member fetches for all. */
enum { ACR_MAX_INPUTS = 64, ACR_MAX_FETCHERS = 64 };

/* Samples that were fetched along with those of the micro-batch before: the stage has
 * their rows behind its own, the plan's buffers for it have the other inputs'. */
typedef struct acr__ahead {
    acr_status (*get)(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out);
    void *user;
    int64_t window, next; /* as the source was asked for them; the first that is left */
    int64_t taken, left;
} acr__ahead;

struct acr_trainer {
    acr_context *ctx;
    acr_plan *plan;
    acr_graph *g;
    acr_trainer_opts opts;
    acr__pool *pool; /* NULL until work is worth sharing */

    void *memory; /* the arena as allocated */
    char *host;   /* the buffers of host code */
    char *arena;  /* aligned */
    acr__exec *execs; /* a node each */
    _Atomic uint64_t *tickets; /* of all execs */
    bool *for_output; /* a node each: predictions need it */
    bool *decoded;    /* a node each: the output that is decoded needs it */
    int64_t past;     /* tokens of acr_decode's sequence */
    acr__segment_memory *segments; /* as many as the plan's */
    acr__trained *trained;         /* by segment, then by name */
    int trained_count;
    acr__use_sum *uses;      /* storage of trained[].use */
    acr__compact *compacts;
    int compact_count;
    double *leaves;
    int64_t work; /* multiply-adds a sample, forward and back, about */
    bool packed_valid;
    _Atomic bool odd_weights; /* packing them met one that is not finite */

    void (*watch)(const acr_trainer *t, int step); /* tests: called before each step of a team of one */

    acr__run run;
    acr_clock clock;
    bool open, awaiting; /* awaiting: forward was called, backward is due */
    int64_t window_rows[ACR_MAX_DOMAINS]; /* rows of the window, staged ones included */
    int64_t samples, micro_batches;
    acr__sum loss, weight;

    /* what the slots of a source are made of; filled per call */
    void *slot_data[ACR_MAX_INPUTS];
    int64_t slot_bytes[ACR_MAX_INPUTS];
    int32_t *slot_offsets[ACR_MAX_DOMAINS];
    int32_t *offset_memory; /* ragged domains x (micro_batch + 1) */
    int32_t *staged_ends;   /* bf16: ragged domains x stage_samples: where the staged samples end */
    acr_status fetched[ACR_MAX_FETCHERS]; /* by member */
    acr__ahead ahead;
};

/* The element `first` of the parameter at an address; of one of its states. */
static inline char *acr__value_at(const acr_trainer *t, const acr__address *at, int64_t first)
{
    return t->segments[at->segment].value + (at->offset + first) * (int64_t)t->g->es;
}
static inline char *acr__state_at(const acr_trainer *t, const acr__address *at, int slot, int64_t first)
{
    char *state = t->segments[at->segment].state[slot];
    return state ? state + (at->offset + first) * (int64_t)t->g->es : NULL;
}

/* What the train loop needs to know of a trainer. */
acr_context *acr__trainer_context(const acr_trainer *t);
int64_t acr__trainer_micro_batch(const acr_trainer *t);

/* -- micro.c -- */
enum acr__mode {
    ACR_TRAIN,        /* everything */
    ACR_FORWARD_ONLY, /* the forward of training, whose backward comes later */
    ACR_EVALUATE,     /* forward and loss, dropout off; the window is not touched */
    ACR_PREDICT,      /* what the outputs need, dropout off; likewise */
};
/* Pulls samples [first, first+n) (n at most the micro-batch) into the slots and
 * runs the mode's steps. The caller has made room in the stage. `coming` samples from
 * `first` on, n at least, are sure to be asked for: some may be fetched already. */
acr_status acr__micro_run(acr_trainer *t, enum acr__mode mode, const acr_source *source, int64_t window, int64_t first,
                          int64_t n, int64_t coming);
/* acr_window_pull, of n samples of `coming`. */
acr_status acr__window_pull_some(acr_trainer *t, const acr_source *source, int64_t window, int64_t first, int64_t n,
                                 int64_t coming);
/* This member's share of steps [from, to), over the rows that `run` says; of those
 * nodes alone that `wanted` marks, where it is not NULL. All of it is done, for every
 * member, when it returns. */
void acr__steps_run(const acr_trainer *t, const acr__run *run, int from, int to, const bool *wanted, int index,
                    int count);
/* Backward alone, after ACR_FORWARD_ONLY; the outputs' gradients are written. */
void acr__micro_backward(acr_trainer *t);
/* Room for n more samples in the stage; takes the due weight gradients if not. */
void acr__stage_reserve(acr_trainer *t, int64_t n);
/* Takes the gradients of staged rows. Does not change any bit: in bf16 a weight's
 * takes whole blocks, the last one only when the window closes. */
void acr__stage_flush(acr_trainer *t, bool closes);
/* Runs fn over the team if `work` multiply-adds pay for it, else alone. */
void acr__team_run(acr_trainer *t, int64_t work, void (*fn)(void *arg, int index, int count), void *arg);
/* A source over a batch in memory. batch->size etc. are checked by the caller. */
typedef struct acr__push {
    const acr_trainer *t;
    const acr_batch *batch;
} acr__push;
acr_status acr__push_check(const acr_trainer *t, const acr_batch *batch, bool targets);
acr_source acr__push_source(acr__push *push);

/* -- window.c: the node of an output; ACR_NONE with the sentence stored -- */
acr_node acr__output_node(const acr_trainer *t, const char *name);

/* -- memory.c: n reals from element `first` of what a node holds -- */
void acr__put_floats(const acr_trainer *t, void *node, int64_t first, int64_t n, const float *from);
void acr__fetch_floats(const acr_trainer *t, const void *node, int64_t first, int64_t n, float *to);
double acr__fetch_real(const acr_trainer *t, const void *node, int64_t i);
/* Adds n sums of rows, which a loss kernel wrote. */
void acr__sum_rows(const acr_trainer *t, acr__sum *sum, const double *rows, int64_t n);

/* -- compact.c -- */
acr_status acr__compact_list(acr_trainer *t);
/* A window opens: no token has a row. */
void acr__compact_clear(acr_trainer *t);
/* Whether so many more rows, by domain, fit the window that was planned; else `status`. */
acr_status acr__compact_fits(const acr_trainer *t, const int64_t *rows, acr_status status);
/* Gives rows to the tokens of a micro-batch, whose ids are in range. */
void acr__compact_assign(acr_trainer *t);
/* The row of an entry; NULL: it did not occur. */
char *acr__compact_row(const acr_trainer *t, const acr__compact *c, int64_t entry);
/* Joins the uses of elements [first, first + n) of a parameter with compact ones,
 * which no window with spilled chains has. Returns where the sum is: where the use
 * `home` has it, or in `leaf` if there is none. `zeros` are n reals of +0. */
char *acr__compact_join(const acr_trainer *t, const acr__trained *p, int64_t first, int64_t n, const char *zeros,
                        char *leaf);
/* Without a home: from the leaf back into rows, and into a leaf again, with `absent`
 * where there are none. */
void acr__compact_keep(const acr_trainer *t, const acr__trained *p, int64_t first, int64_t n, const char *leaf);
void acr__compact_gather(const acr_trainer *t, const acr__trained *p, int64_t first, int64_t n, const char *absent,
                         char *leaf);

/* -- close.c -- */
/* Divides, checks, clips, updates; fills the report's norm, clip and skipped. */
void acr__close_update(acr_trainer *t, double W, acr_report *report);
/* Brings the packed copies of the weights up to date. */
void acr__repack(acr_trainer *t);
/* One element of the joined accumulators of a trained parameter. */
double acr__joined(const acr_trainer *t, const acr__trained *p, int64_t element);

#endif
