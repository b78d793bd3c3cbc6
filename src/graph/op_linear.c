/* op_linear.c: products and biases (rules 1 and 4).
 *
 * Threads split the output matrix by columns where there are enough of them,
 * so that each reads its own part of the weights, else by rows. Which one is
 * chosen never shows in the bits: no element's chain is divided. */
#include "graph/graph.h"
#include "graph/op.h"
#include <string.h>

typedef struct block {
    int64_t m0, m1, n0, n1;
} block;

/* This member's part of an [m, n] product. Where the m rows are samples and there
 * are enough of them, members own rows through the whole network, so that what
 * one wrote another need not fetch from its cache. Else columns, which divides the
 * weights among the members' caches; rows again where columns divide badly. */
enum { OWN_ROWS = 24 };
static block split(int64_t m, int64_t n, bool samples, int panel, int index, int count)
{
    block b = {0, m, 0, n};
    int64_t per_n = (n + panel - 1) / panel;
    per_n = (per_n + count - 1) / count * panel; /* columns of the largest share */
    int64_t per_m = (m + count - 1) / count;
    bool worse = per_m * n * 26 < per_n * m * 25; /* columns would be shared more than 4% worse */
    if ((samples && per_m >= OWN_ROWS) || (worse && (per_m >= 12 || n <= panel)))
        acr__share(m, 1, index, count, &b.m0, &b.m1);
    else
        acr__share(n, panel, index, count, &b.n0, &b.n1);
    return b;
}

static const char *offset(const void *p, int64_t elements, size_t es)
{
    return p ? (const char *)p + elements * (int64_t)es : NULL;
}

/* Runs this member's block of the product that g describes as a whole. */
static void multiply(const acr__run *run, acr_gemm g, bool samples, int index, int count)
{
    block b = split(g.m, g.n, samples, run->k->panel, index, count);
    if (b.m0 >= b.m1 || b.n0 >= b.n1)
        return;
    size_t es = run->es;
    g.a = offset(g.a, b.m0 * g.a_row, es);
    g.b = offset(g.b, b.n0 * g.b_col, es);
    g.packed = offset(g.packed, b.n0 * g.k, es);
    g.row = offset(g.row, b.n0, es);
    g.c = (char *)g.c + (b.m0 * g.c_row + b.n0) * (int64_t)es;
    g.m = b.m1 - b.m0;
    g.n = b.n1 - b.n0;
    g.scratch = run->scratch + (size_t)index * run->scratch_bytes;
    run->k->gemm(&g);
}

/* Y = X W^T + b */
void acr__linear_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    bool bias = e->node->inputs > 2;
    acr_gemm g = {
        .m = run->rows[e->domain], .n = e->node->cols, .k = e->in_cols[0],
        .a = acr__rows_at(run, &e->in[0], e->domain), .a_row = e->in[0].ld, .a_col = 1,
        .b = e->in[1].p, .b_row = 1, .b_col = e->in_cols[0],
        .packed = e->packed,
        .c = acr__rows_at(run, &e->out, e->domain), .c_row = e->out.ld,
        .start = bias ? ACR_START_ROW : ACR_START_ZERO, .row = bias ? e->in[2].p : NULL,
    };
    multiply(run, g, true, index, count);
}

/* dX (+)= dY W: the chain over output features starts from 0 or from dX. */
void acr__linear_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (!e->din[0].p)
        return;
    acr_gemm g = {
        .m = run->rows[e->domain], .n = e->in_cols[0], .k = e->node->cols,
        .a = acr__rows_at(run, &e->dout, e->domain), .a_row = e->dout.ld, .a_col = 1,
        .b = e->in[1].p, .b_row = e->in_cols[0], .b_col = 1,
        .packed = e->packed_back,
        .c = acr__rows_at(run, &e->din[0], e->domain), .c_row = e->din[0].ld,
        .start = e->din_add[0] ? ACR_START_C : ACR_START_ZERO,
    };
    multiply(run, g, true, index, count);
}

/* acc2 (+)= acc (the first time a copy) for rows [m0,m1) x columns [n0,n1) of an accumulator. */
static void spill(const acr__run *run, const block *b, int64_t ld, bool first, const void *acc, void *acc2)
{
    for (int64_t i = b->m0; i < b->m1; i++) {
        int64_t at = (i * ld + b->n0) * (int64_t)run->es;
        const char *src = (const char *)acc + at;
        char *dst = (char *)acc2 + at;
        if (first)
            memcpy(dst, src, (size_t)(b->n1 - b->n0) * run->es);
        else
            run->k->join(b->n1 - b->n0, src, dst);
    }
}

/* A hidden build option for the tests of `accrue verify`: each block's later half
 * comes first, so that the sum depends on where blocks begin. */
#ifdef ACR_BREAK_ORDER
static void block_product(const acr__run *run, acr_gemm g, int index, int count)
{
    acr_gemm late = g, early = g;
    early.k = g.k / 2;
    late.k = g.k - early.k;
    late.a = offset(g.a, early.k * g.a_col, run->es);
    late.b = offset(g.b, early.k * g.b_row, run->es);
    early.start = ACR_START_C;
    multiply(run, late, false, index, count);
    multiply(run, early, false, index, count);
}
#else
#define block_product(run, g, index, count) multiply(run, g, false, index, count)
#endif

/* dW[o][i] += sum over staged rows, in order, of dY[r][o] X[r][i]. A chain that
 * reaches ACR_CHAIN_ROWS rows of the window is spilled and begins again at 0. */
static void weight_gradient(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr_domain d = e->domain;
    int64_t out = e->node->cols, in = e->in_cols[0];
    block b = split(out, in, false, run->k->panel, index, count);
    for (int64_t r = 0, next; r < run->stage_rows[d]; r = next) {
        int64_t at = run->stage_first[d] + r;
        next = acr__chunk_end(run, d, r);
        acr_gemm g = {
            .m = out, .n = in, .k = next - r,
            .a = e->dout.p + r * e->dout.ld * (int64_t)run->es, .a_row = 1, .a_col = e->dout.ld,
            .b = e->in[0].p + r * e->in[0].ld * (int64_t)run->es, .b_row = e->in[0].ld, .b_col = 1,
            .c = e->acc[1], .c_row = in,
            .start = at % ACR_CHAIN_ROWS == 0 ? ACR_START_ZERO : ACR_START_C,
        };
        block_product(run, g, index, count);
        int64_t end = run->stage_first[d] + next;
        if (end % ACR_CHAIN_ROWS == 0 && e->acc2[1])
            spill(run, &b, in, end == ACR_CHAIN_ROWS, e->acc[1], e->acc2[1]);
    }
}

/* db[o] += dY[r][o], staged rows in order (rule 4). */
static void bias_gradient(const acr__run *run, const acr__exec *e, int slot, int index, int count)
{
    acr_domain d = e->domain;
    block b = {0, 1, 0, 0};
    acr__share(e->node->cols, 16, index, count, &b.n0, &b.n1);
    if (b.n0 >= b.n1)
        return;
    char *acc = (char *)e->acc[slot] + b.n0 * (int64_t)run->es;
    for (int64_t r = 0, next; r < run->stage_rows[d]; r = next) {
        next = acr__chunk_end(run, d, r);
        if ((run->stage_first[d] + r) % ACR_CHAIN_ROWS == 0)
            memset(acc, 0, (size_t)(b.n1 - b.n0) * run->es);
        run->k->column_sum(next - r, b.n1 - b.n0, e->dout.p + (r * e->dout.ld + b.n0) * (int64_t)run->es,
                           e->dout.ld, acc);
        int64_t end = run->stage_first[d] + next;
        if (end % ACR_CHAIN_ROWS == 0 && e->acc2[slot])
            spill(run, &b, e->node->cols, end == ACR_CHAIN_ROWS, e->acc[slot], e->acc2[slot]);
    }
}

void acr__linear_gradient(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (e->acc[1])
        weight_gradient(run, e, index, count);
    if (e->node->inputs > 2 && e->acc[2])
        bias_gradient(run, e, 2, index, count);
}

void acr__bias_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_of(run->rows[e->domain], e->node->cols, index, count);
    run->k->add_row(p.rows, p.cols, acr__part_at(run, &e->in[0], e->domain, &p), e->in[0].ld,
                    e->in[1].p + p.col * (int64_t)run->es, acr__part_at(run, &e->out, e->domain, &p), e->out.ld);
}

void acr__bias_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__pass_gradient(run, e, 0, index, count);
}

void acr__bias_gradient(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (e->acc[1])
        bias_gradient(run, e, 1, index, count);
}
