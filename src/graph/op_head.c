/* op_head.c: the head of a language model and its cross-entropy as one loss: the
 * logits X W^T over a large vocabulary exist for a chunk of rows at a time.
 *
 *     chunk by chunk:  logits = X W^T            a chain over features
 *                      loss, dlogits in place    rule 3 along the vocabulary
 *                      dX = dlogits W            a chain over the whole vocabulary
 *                      dW += dlogits^T X         a chain over rows, in sample order
 *
 * Invariant: each chain is the one a linear and a cross_entropy over all rows have,
 * so the size of a chunk never shows. Rows with an ignored label are rows of +0, in
 * the place they have in the chain.
 *
 * Where the plan stages few enough rows, dlogits are staged rows (aux.staged) and dW
 * is taken with the other weight gradients: a product of a few rows would cost
 * reading and writing all sums of dW for each of them. */
#include "graph/op.h"

/* Rows [row, row + rows) of the micro-batch. */
typedef struct chunk {
    int64_t row, rows;
    int64_t last; /* in bf16: the micro-batch's row at which its last block begins */
    char *logits;
} chunk;

/* The row of the window that the micro-batch's row `row` is. */
static int64_t in_window(const acr__run *run, acr_domain d, int64_t row)
{
    return run->stage_first[d] + run->base[d] + row;
}

/* Where blocks end early, rows from `row` on. */
static acr__cuts cuts_from(const acr__run *run, acr_domain d, int64_t row)
{
    return (acr__cuts){run->offsets[d] + 1, run->samples, row};
}

/* As many whole blocks as the chunk holds: one at least, for it has 64 rows or all. */
static void take_blocks(const acr__run *run, const acr__exec *e, chunk *c)
{
    acr_domain d = e->domain;
    acr__cuts cuts = cuts_from(run, d, c->row);
    acr_gemm g = {.k = run->rows[d] - c->row, .cuts = cuts.ends, .cut_count = cuts.count, .cut_first = cuts.first};
    int64_t most = c->rows, at = in_window(run, d, c->row), cut = 0, begin = 0, end = 0;
    while (end < g.k && (end == 0 || !acr__ends_chain(at + begin, at + end))) {
        int64_t next = acr__block_end(&g, end, &cut);
        if (next > most)
            break;
        begin = end;
        end = next;
    }
    c->rows = end;
    c->last = c->row + begin;
}

/* No chunk goes past a row where the chains of dW are spilled. */
static chunk chunk_at(const acr__run *run, const acr__exec *e, int64_t row)
{
    acr_domain d = e->domain;
    chunk c = {row, acr__min(e->chunk, run->rows[d] - row), row, acr__rows_at(run, &e->aux, d)};
    if (e->aux.staged)
        c.logits += row * e->aux.ld * (int64_t)run->es;
    if (!run->bf16)
        c.rows = acr__min(c.rows, ACR_CHAIN_ROWS - in_window(run, d, row) % ACR_CHAIN_ROWS);
    else if (!e->aux.staged)
        take_blocks(run, e, &c);
    return c;
}

static char *rows_at(const acr__run *run, const acr__exec *e, const acr__slot *s, const chunk *c)
{
    return acr__rows_at(run, s, e->domain) + c->row * s->ld * acr__slot_es(run, s);
}

static int64_t classes_of(const acr__exec *e) { return e->in_cols[1] / e->in_cols[0]; }

static void logits(const acr__run *run, const acr__exec *e, const chunk *c, int index, int count)
{
    acr_gemm g = {
        .m = c->rows, .n = classes_of(e), .k = e->in_cols[0],
        .a = rows_at(run, e, &e->in[0], c), .a_row = e->in[0].ld, .a_col = 1, .a_bf16 = e->in[0].operands,
        .b = e->in[1].p, .b_row = 1, .b_col = e->in_cols[0],
        .packed = e->packed,
        .c = c->logits, .c_row = e->aux.ld,
        .start = ACR_START_ZERO,
    };
    acr__multiply(run, e, ACR_TICKET_FORWARD, &g, ACR_SPLIT_ENTRY_COLUMNS, index, count);
}

/* Whether the gradient of the logits is wanted at all. */
static bool learns(const acr__run *run, const acr__exec *e) { return run->training && (e->din[0].p || e->acc[1]); }

static void loss(const acr__run *run, const acr__exec *e, const chunk *c, int index, int count)
{
    const acr__node *n = e->node;
    int64_t first, last, es = (int64_t)run->es;
    acr__share(c->rows, 1, index, count, &first, &last);
    int64_t row = c->row + first;
    char *pred = c->logits + (run->weighing ? 0 : first * e->aux.ld * es);
    acr_loss_args a = {
        .kind = ACR_CROSS_ENTROPY,
        .rows = last - first,
        .cols = classes_of(e),
        .pred = pred,
        .ld_pred = run->weighing ? 0 : e->aux.ld,
        .target = acr__ids_at(run, &e->in[2], e->domain, row),
        .weight = n->inputs > 3 ? acr__rows_at(run, &e->in[3], e->domain) + row * es : NULL,
        .weight_scale = run->weight_scale,
        .class_weight = e->class_weight,
        .label_smoothing = n->smoothing,
        .ignore_index = n->ignore_index,
        .dpred = learns(run, e) ? pred : NULL,
        .ld_dpred = e->aux.ld,
        .row_loss = run->loss.loss + row,
        .row_weight = run->loss.weight + row,
        .row_correct = run->loss.correct + row,
    };
    run->k->loss(&a);
}

/* before: where the block of the window before the chunk began (bf16). */
static void gradients(const acr__run *run, const acr__exec *e, const chunk *c, int64_t before, int index, int count)
{
    acr_domain d = e->domain;
    acr_gemm g = {
        .m = c->rows, .n = e->in_cols[0], .k = classes_of(e),
        .a = c->logits, .a_row = e->aux.ld, .a_col = 1,
        .b = e->in[1].p, .b_row = e->in_cols[0], .b_col = 1,
        .packed = e->packed_back,
        .c_row = e->din[0].ld,
        .start = ACR_START_ZERO,
    };
    if (e->din[0].p) {
        g.c = rows_at(run, e, &e->din[0], c);
        acr__multiply(run, e, ACR_TICKET_BACKWARD, &g, ACR_SPLIT_FEATURES, index, count);
    }
    if (e->acc[1] && !e->aux.staged) {
        acr__rows rows = {c->logits, e->aux.ld, rows_at(run, e, &e->in[0], c), e->in[0].operands,
                          e->in[0].ld, c->rows,
                          in_window(run, d, c->row), before, cuts_from(run, d, c->row)};
        acr__weight_gradient(run, e, &rows, classes_of(e), ACR_SPLIT_ENTRY_ROWS, index, count);
    }
}

/* The weights of rows depend on labels alone: one row of zeros stands for all logits. */
static void weigh(const acr__run *run, const acr__exec *e)
{
    chunk all = {.rows = run->rows[e->domain], .logits = acr__rows_at(run, &e->aux, e->domain)};
    run->k->clear(all.logits, (size_t)classes_of(e) * run->es);
    loss(run, e, &all, 0, 1);
}

/* Three barriers a chunk, and tickets cleared between uses. */
void acr__head_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (run->weighing) {
        weigh(run, e);
        return;
    }
    int64_t before = run->added_block[e->domain];
    for (int64_t row = 0; row < run->rows[e->domain];) {
        chunk c = chunk_at(run, e, row);
        if (row)
            acr__run_barrier(run, count); /* the logits before these are done with */
        logits(run, e, &c, index, count);
        acr__run_barrier(run, count);
        if (index == 0 && count > 1) {
            acr__ticket_clear(e, ACR_TICKET_BACKWARD);
            acr__ticket_clear(e, ACR_TICKET_GRADIENT);
        }
        loss(run, e, &c, index, count);
        acr__run_barrier(run, count);
        if (index == 0 && count > 1)
            acr__ticket_clear(e, ACR_TICKET_FORWARD);
        if (learns(run, e))
            gradients(run, e, &c, before, index, count);
        before = in_window(run, e->domain, c.last);
        row += c.rows;
    }
}

/* The gradient is already written, before any other consumer adds to it. */
void acr__head_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    (void)run, (void)e, (void)index, (void)count;
}

/* The weight's, over staged rows. */
void acr__head_gradient(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__rows rows = acr__staged_rows(run, e, &e->aux);
    if (e->acc[1])
        acr__weight_gradient(run, e, &rows, classes_of(e), ACR_SPLIT_ENTRY_ROWS, index, count);
}
