/* op_rows.c: ops that sum along a row or reach into a table: norms, softmax,
 * embedding, losses. Threads take whole rows, or whole columns of a table. */
#include "graph/op.h"

void acr__norm_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_rows(run->rows[e->domain], e->node->cols, index, count);
    run->k->norm(e->node->op == ACR_OP_rms_norm, p.rows, p.cols, acr__part_at(run, &e->in[0], e->domain, &p),
                 e->in[0].ld, e->in[1].p, e->in[2].p, e->node->scalar, acr__part_at(run, &e->out, e->domain, &p),
                 e->out.ld, acr__part_at(run, &e->aux, e->domain, &p));
}

/* A parameter gradient that is taken at once, over this micro-batch's rows:
 * calls add(first row, rows) for each run of rows within one chain, clearing the
 * accumulator where a chain begins and spilling it where one ends (rule 1). */
typedef struct chain {
    const acr__run *run;
    const acr__exec *e;
    int64_t at, rows, row; /* the window's row index; rows left; row of the micro-batch */
} chain;

static chain chain_begin(const acr__run *run, const acr__exec *e)
{
    acr_domain d = e->domain;
    return (chain){run, e, run->stage_first[d] + run->base[d], run->rows[d], 0};
}

static void clear_or_spill(const acr__run *run, void *acc, void *acc2, int64_t n, int64_t at, bool clear)
{
    if (!acc || at % ACR_CHAIN_ROWS != 0)
        return;
    if (clear) {
        run->k->clear(acc, (size_t)n * run->es);
    } else if (acc2) {
        if (at == ACR_CHAIN_ROWS)
            run->k->copy(1, n, acc, 0, acc2, 0, false);
        else
            run->k->join(n, acc, acc2);
    }
}

static void norm_param(const acr__run *run, const acr__exec *e)
{
    int64_t cols = e->node->cols;
    for (chain c = chain_begin(run, e); c.rows > 0;) {
        int64_t n = acr__min(c.rows, ACR_CHAIN_ROWS - c.at % ACR_CHAIN_ROWS);
        acr__part p = {c.row, n, 0, cols};
        for (int i = 1; i < 3; i++)
            clear_or_spill(run, e->acc[i], e->acc2[i], cols, c.at, true);
        run->k->norm_back_param(e->node->op == ACR_OP_rms_norm, n, cols, acr__part_at(run, &e->dout, e->domain, &p),
                                e->dout.ld, acr__part_at(run, &e->in[0], e->domain, &p), e->in[0].ld,
                                acr__part_at(run, &e->aux, e->domain, &p), e->acc[1], e->acc[2]);
        c.at += n, c.row += n, c.rows -= n;
        for (int i = 1; i < 3; i++)
            clear_or_spill(run, e->acc[i], e->acc2[i], cols, c.at, false);
    }
}

void acr__norm_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (index == count - 1 && (e->acc[1] || e->acc[2]))
        norm_param(run, e);
    if (!e->din[0].p)
        return;
    acr__part p = acr__part_rows(run->rows[e->domain], e->node->cols, index, count);
    run->k->norm_back(e->node->op == ACR_OP_rms_norm, p.rows, p.cols, acr__part_at(run, &e->dout, e->domain, &p),
                      e->dout.ld, acr__part_at(run, &e->in[0], e->domain, &p), e->in[0].ld,
                      acr__part_at(run, &e->aux, e->domain, &p), e->in[1].p,
                      acr__part_at(run, &e->din[0], e->domain, &p), e->din[0].ld, e->din_add[0]);
}

void acr__softmax_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_rows(run->rows[e->domain], e->node->cols, index, count);
    run->k->softmax(p.rows, p.cols, acr__part_at(run, &e->in[0], e->domain, &p), e->in[0].ld,
                    acr__part_at(run, &e->out, e->domain, &p), e->out.ld);
}

void acr__softmax_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (!e->din[0].p)
        return;
    acr__part p = acr__part_rows(run->rows[e->domain], e->node->cols, index, count);
    run->k->softmax_back(p.rows, p.cols, acr__part_at(run, &e->dout, e->domain, &p), e->dout.ld,
                         acr__part_at(run, &e->out, e->domain, &p), e->out.ld,
                         acr__part_at(run, &e->din[0], e->domain, &p), e->din[0].ld, e->din_add[0]);
}

void acr__embedding_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_rows(run->rows[e->domain], e->node->cols, index, count);
    run->k->gather(p.rows, p.cols, acr__ids_at(run, &e->in[0], e->domain, p.row), e->in[1].p, e->in[1].ld,
                   acr__part_at(run, &e->out, e->domain, &p), e->out.ld);
}

/* A compact accumulator has a row per token that occurred; its rows were cleared
 * when they were given out, and windows with one are shorter than a chain. */
static void compact_backward(const acr__run *run, const acr__exec *e, int64_t first, int64_t last)
{
    acr__part p = {0, run->rows[e->domain], first, last - first};
    run->k->scatter_add(p.rows, p.cols, e->slots, acr__part_at(run, &e->dout, e->domain, &p), e->dout.ld,
                        (char *)e->acc[1] + first * (int64_t)run->es, e->node->cols);
}

/* Members own columns of the table, each goes through all rows in order. */
void acr__embedding_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    int64_t first, last, cols = e->node->cols;
    acr__share(cols, 16, index, count, &first, &last);
    if (!e->acc[1] || first >= last)
        return;
    if (e->slots) {
        compact_backward(run, e, first, last);
        return;
    }
    int64_t entries = e->in_cols[1] / cols, es = (int64_t)run->es;
    for (chain c = chain_begin(run, e); c.rows > 0;) {
        int64_t n = acr__min(c.rows, ACR_CHAIN_ROWS - c.at % ACR_CHAIN_ROWS);
        acr__part p = {c.row, n, first, last - first};
        if (c.at % ACR_CHAIN_ROWS == 0)
            for (int64_t i = 0; i < entries; i++)
                clear_or_spill(run, (char *)e->acc[1] + (i * cols + first) * es, NULL, last - first, c.at, true);
        run->k->scatter_add(n, last - first, acr__ids_at(run, &e->in[0], e->domain, c.row),
                            acr__part_at(run, &e->dout, e->domain, &p), e->dout.ld, (char *)e->acc[1] + first * es,
                            cols);
        c.at += n, c.row += n, c.rows -= n;
        if (c.at % ACR_CHAIN_ROWS == 0 && e->acc2[1])
            for (int64_t i = 0; i < entries; i++)
                clear_or_spill(run, (char *)e->acc[1] + (i * cols + first) * es,
                               (char *)e->acc2[1] + (i * cols + first) * es, last - first, c.at, false);
    }
}

enum acr_loss_kind acr__loss_kind(enum acr__op op)
{
    switch (op) {
    case ACR_OP_mae: return ACR_MAE;
    case ACR_OP_huber: return ACR_HUBER;
    case ACR_OP_cross_entropy: return ACR_CROSS_ENTROPY;
    case ACR_OP_bce_with_logits: return ACR_BCE;
    default: return ACR_MSE;
    }
}

/* Loss, weight and, in training, the gradient of the prediction, all at once:
 * the only place where a sample's weight enters. */
void acr__loss_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    const acr__node *n = e->node;
    acr__part p = acr__part_rows(run->rows[e->domain], e->in_cols[0], index, count);
    if (p.rows == 0)
        return;
    acr_loss_args a = {
        .kind = acr__loss_kind(n->op),
        .rows = p.rows,
        .cols = p.cols,
        .pred = acr__part_at(run, &e->in[0], e->domain, &p),
        .ld_pred = e->in[0].ld,
        .soft = n->op == ACR_OP_cross_entropy && e->in_cols[1] != 1,
        .ld_target = e->in[1].ld,
        .weight = n->inputs > 2 ? acr__rows_at(run, &e->in[2], e->domain) + p.row * (int64_t)run->es : NULL,
        .weight_scale = run->weight_scale,
        .class_weight = e->class_weight,
        .label_smoothing = n->smoothing,
        .ignore_index = n->ignore_index,
        .delta = n->scalar,
        .row_loss = run->loss.loss + p.row,
        .row_weight = run->loss.weight + p.row,
        .row_correct = run->loss.correct + p.row,
    };
    if (n->op == ACR_OP_cross_entropy && !a.soft) {
        a.target = acr__ids_at(run, &e->in[1], e->domain, p.row);
    } else {
        acr__part whole = {p.row, p.rows, 0, p.cols};
        a.target = acr__part_at(run, &e->in[1], e->domain, &whole);
    }
    if (run->training && e->din[0].p) {
        a.dpred = acr__part_at(run, &e->din[0], e->domain, &p);
        a.ld_dpred = e->din[0].ld;
    }
    run->k->loss(&a);
}

/* The gradient is already written, before any other consumer adds to it. */
void acr__loss_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    (void)run, (void)e, (void)index, (void)count;
}
