/* op_linear.c: products and biases (rules 1 and 4).
 *
 * Threads share the output matrix by blocks. Which block is whose never shows in
 * the bits: no element's chain is divided, and chains that follow one another on
 * the same element (past a spill) stay with one member. */
#include "graph/graph.h"
#include "graph/op.h"

typedef struct block {
    int64_t m0, m1, n0, n1;
} block;

/* How an [m, n] product is shared. Three quarters are owned: each member has its
 * part, the same in every micro-batch, so that what it reads is in its cache. The
 * last quarter is taken in pieces by whoever is free, because cores are not equally
 * fast where others use them too (13% of an update at micro-batch 512); a piece is a
 * member's share of what is left, as each packs its factors anew.
 * Where few rows meet many weights all is owned: there the caches decide. */
typedef struct sharing {
    int64_t m, n;
    bool rows;      /* members have rows, all columns; else columns, all rows */
    int64_t total, unit, owned; /* rows or columns: all, of the least piece, owned */
    bool begun;     /* the owned part is done */
    int index, count;
    _Atomic uint64_t *ticket;
    uint64_t turn;
} sharing;

enum {
    OWN_PACKED = 16, /* rows a member, of a product whose weight is packed already */
    OWN_ROWS = 48,   /* of others */
    PIECE_ROWS = 28,
    PIECE_WEIGHTS = 96, /* rows or columns of a weight; each piece packs all of the other factor */
    PIECE_COLUMNS = 128, /* whole panels everywhere */
    PIECE_ENTRIES = 256,
    LEAST_PIECES = 8,
    MOST_PIECES = 32, /* of a weight */
    LEAST_COLUMNS = 256,
};

/* Members own rows where there are enough of them: of samples, because what one
 * wrote through the whole network another need not fetch. Not where a weight that no
 * copy is kept of is packed on the way: by columns each part of it is packed once, not
 * by every member and for every piece. Else columns, which divides the weights among
 * the members' caches; rows again where columns divide badly. Of a weight's gradient a
 * piece packs its own part of one factor and all of the other: the longer side is
 * divided, and pieces are few. */
static sharing share(const acr__run *run, const acr__exec *e, enum acr__ticket kind, const acr_gemm *g,
                     enum acr__split split, int index, int count)
{
    const int64_t m = g->m, n = g->n;
    if (count == 1)
        return (sharing){.m = m, .n = n, .total = n, .owned = n, .count = 1};
    int64_t panel = run->k->panel;
    int64_t per_n = acr__round_up((n + panel - 1) / panel, count) / count * panel, per_m = (m + count - 1) / count;
    bool worse = per_m * n * 26 < per_n * m * 25; /* columns would be shared more than 4% worse */
    sharing s = {.m = m, .n = n, .index = index, .count = count, .turn = run->turn,
                 .ticket = e->tickets + kind};
    s.rows = per_m >= (g->packed ? OWN_PACKED : OWN_ROWS) || (worse && (per_m >= 12 || n <= panel));
    s.unit = s.rows ? PIECE_ROWS : panel;
    bool all_owned = split == ACR_SPLIT_SAMPLES && !s.rows;
    if (s.rows && g->a_col == 1 && !g->packed && !worse && per_n >= LEAST_COLUMNS) {
        s.rows = false;
        s.unit = PIECE_COLUMNS;
    } else if (s.rows && g->a_col != 1) {
        s.rows = m >= n || worse;
        s.unit = acr__max(PIECE_WEIGHTS, s.rows ? m / MOST_PIECES / 12 * 12 : n / MOST_PIECES / panel * panel);
    }
    if (split == ACR_SPLIT_ENTRY_ROWS || split == ACR_SPLIT_ENTRY_COLUMNS) {
        s.rows = split == ACR_SPLIT_ENTRY_ROWS;
        s.unit = PIECE_ENTRIES;
    }
    s.total = s.rows ? m : n;
    int64_t pieces = (s.total + s.unit - 1) / s.unit;
    s.owned = pieces >= LEAST_PIECES && !all_owned ? (pieces - pieces / 4) * s.unit : s.total;
    return s;
}

/* Where the piece of that number begins and ends; it begins at `total` if there is none. */
static void piece_at(const sharing *s, int64_t number, int64_t *first, int64_t *last)
{
    for (*first = s->owned;; *first = *last) {
        int64_t units = acr__max((s->total - *first) / s->unit / s->count, 1);
        *last = acr__min(*first + units * s->unit, s->total);
        if (number-- == 0 || *first >= s->total)
            return;
    }
}

/* This member's next block; false when there is none left. */
static bool next_block(sharing *s, block *out)
{
    int64_t first, last;
    *out = (block){0, s->m, 0, s->n};
    if (!s->begun) {
        s->begun = true;
        acr__share(s->owned, s->rows ? 1 : s->unit, s->index, s->count, &first, &last);
        if (first >= last)
            return next_block(s, out);
    } else {
        if (s->owned >= s->total)
            return false;
        piece_at(s, acr__take(s->ticket, s->turn), &first, &last);
        if (first >= s->total)
            return false;
    }
    *(s->rows ? &out->m0 : &out->n0) = first;
    *(s->rows ? &out->m1 : &out->n1) = last;
    return true;
}

static const char *offset(const void *p, int64_t elements, size_t es)
{
    return p ? (const char *)p + elements * (int64_t)es : NULL;
}

static void whole_product(const acr__run *run, acr_gemm *g, int index)
{
    g->scratch = run->scratch + (size_t)index * run->scratch_bytes;
    (run->bf16 ? run->k->gemm_bf16 : run->k->gemm)(g);
}

/* One block of the product that g describes as a whole. */
static void multiply_block(const acr__run *run, acr_gemm g, const block *b, int index)
{
    size_t es = run->es;
    g.a = offset(g.a, b->m0 * g.a_row, g.a_bf16 ? run->k->bf16_bytes : es);
    g.b = offset(g.b, b->n0 * g.b_col, g.b_bf16 ? run->k->bf16_bytes : es);
    if (g.packed)
        g.packed = (const char *)g.packed + (run->bf16 ? run->k->packed_bf16(b->n0, g.k) : (size_t)(b->n0 * g.k) * es);
    g.row = offset(g.row, b->n0, es);
    g.c = (char *)g.c + (b->m0 * g.c_row + b->n0) * (int64_t)es;
    g.m = b->m1 - b->m0;
    g.n = b->n1 - b->n0;
    whole_product(run, &g, index);
}

/* The activation behind the product, of that block. */
static void go_on(const acr__run *run, const acr__exec *e, enum acr__ticket kind, const block *b)
{
    bool back = kind == ACR_TICKET_BACKWARD;
    const acr__exec *then = back ? e->then_back : kind == ACR_TICKET_FORWARD ? e->then : NULL;
    if (then)
        acr__unary_part(run, then, &(acr__part){b->m0, b->m1 - b->m0, b->n0, b->n1 - b->n0}, back);
}

void acr__multiply(const acr__run *run, const acr__exec *e, enum acr__ticket kind, acr_gemm *g,
                   enum acr__split split, int index, int count)
{
    if (count == 1) {
        whole_product(run, g, index);
        go_on(run, e, kind, &(block){0, g->m, 0, g->n});
        return;
    }
    sharing s = share(run, e, kind, g, split, index, count);
    for (block b; next_block(&s, &b);) {
        multiply_block(run, *g, &b, index);
        go_on(run, e, kind, &b);
    }
}

void acr__ticket_clear(const acr__exec *e, enum acr__ticket kind)
{
    atomic_store_explicit(e->tickets + kind, 0, memory_order_relaxed);
}

/* Y = X W^T + b. A transposed weight is the same product with other strides, here
 * and below. */
void acr__linear_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    bool bias = e->node->inputs > 2;
    acr_gemm g = {
        .m = run->rows[e->domain], .n = e->node->cols, .k = e->in_cols[0],
        .a = acr__rows_at(run, &e->in[0], e->domain), .a_row = e->in[0].ld, .a_col = 1, .a_bf16 = e->in[0].operands,
        .b = e->in[1].p, .b_row = acr__weight_in(e->node), .b_col = acr__weight_out(e->node, e->in_cols[0]),
        .packed = e->packed, .finite = run->finite,
        .c = acr__rows_at(run, &e->out, e->domain), .c_row = e->out.ld,
        .start = bias ? ACR_START_ROW : ACR_START_ZERO, .row = bias ? e->in[2].p : NULL,
    };
    acr__multiply(run, e, ACR_TICKET_FORWARD, &g, ACR_SPLIT_SAMPLES, index, count);
}

/* dX (+)= dY W: the chain over output features starts from 0 or from dX. */
void acr__linear_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (!e->din[0].p)
        return;
    acr_gemm g = {
        .m = run->rows[e->domain], .n = e->in_cols[0], .k = e->node->cols,
        .a = acr__rows_at(run, &e->dout, e->domain), .a_row = e->dout.ld, .a_col = 1,
        .b = e->in[1].p, .b_row = acr__weight_out(e->node, e->in_cols[0]), .b_col = acr__weight_in(e->node),
        .packed = e->packed_back, .finite = run->finite,
        .c = acr__rows_at(run, &e->din[0], e->domain), .c_row = e->din[0].ld,
        .start = e->din_add[0] ? ACR_START_C : ACR_START_ZERO,
    };
    acr__multiply(run, e, ACR_TICKET_BACKWARD, &g, ACR_SPLIT_SAMPLES, index, count);
}

/* acc2 (+)= acc (the first time a copy) for rows [m0,m1) x columns [n0,n1) of an accumulator. */
static void spill(const acr__run *run, const block *b, int64_t ld, bool first, const void *acc, void *acc2)
{
    for (int64_t i = b->m0; i < b->m1; i++) {
        int64_t at = (i * ld + b->n0) * (int64_t)run->es;
        const char *src = (const char *)acc + at;
        char *dst = (char *)acc2 + at;
        if (first)
            run->k->copy(1, b->n1 - b->n0, src, 0, dst, 0, false);
        else
            run->k->join(b->n1 - b->n0, src, dst);
    }
}

/* A hidden build option for the tests of `accrue verify`: each block's later half
 * comes first, so that the sum depends on where blocks begin. */
#ifdef ACR_BREAK_ORDER
static void chain_block(const acr__run *run, acr_gemm g, const block *b, int index)
{
    acr_gemm late = g, early = g;
    early.k = g.k / 2;
    late.k = g.k - early.k;
    late.a = offset(g.a, early.k * g.a_col, g.a_bf16 ? run->k->bf16_bytes : run->es);
    late.b = offset(g.b, early.k * g.b_row, g.b_bf16 ? run->k->bf16_bytes : run->es);
    late.cut_first += early.k;
    early.start = ACR_START_C;
    multiply_block(run, late, b, index);
    multiply_block(run, early, b, index);
}
#else
#define chain_block multiply_block
#endif

/* The end of the rows from r on up to where their chain is spilled, or of them all;
 * *last is where the last row, in bf16 the last block, of them begins. */
static int64_t chain_end(const acr__run *run, const acr__rows *rows, int64_t r, int64_t *last)
{
    if (!run->bf16) {
        int64_t end = acr__min(r + ACR_CHAIN_ROWS - (rows->at + r) % ACR_CHAIN_ROWS, rows->count);
        *last = end - 1;
        return end;
    }
    acr_gemm g = {.k = rows->count, .cuts = rows->cuts.ends, .cut_count = rows->cuts.count, .cut_first = rows->cuts.first};
    int64_t cut = 0, end = r;
    do {
        *last = end;
        end = acr__block_end(&g, end, &cut);
    } while (end < rows->count && !acr__ends_chain(rows->at + *last, rows->at + end));
    return end;
}

/* Transposed, dW[i][o]: the factors change places, which no fma sees. */
void acr__weight_gradient(const acr__run *run, const acr__exec *e, const acr__rows *rows, int64_t out,
                          enum acr__split split, int index, int count)
{
    bool transposed = e->node->transposed;
    int64_t in = e->in_cols[0], m = transposed ? in : out, n = transposed ? out : in;
    int64_t es_x = (int64_t)(rows->x_operands ? run->k->bf16_bytes : run->es), es_dy = (int64_t)run->es;
    int64_t es_left = transposed ? es_x : es_dy, es_right = transposed ? es_dy : es_x;
    const char *left = transposed ? rows->x : rows->dy, *right = transposed ? rows->dy : rows->x;
    int64_t ld_left = transposed ? rows->ld_x : rows->ld_dy, ld_right = transposed ? rows->ld_dy : rows->ld_x;
    int64_t before = run->bf16 ? rows->before : rows->at - 1;
    for (int64_t r = 0, next, last; r < rows->count; r = next, before = rows->at + last) {
        next = chain_end(run, rows, r, &last);
        acr_gemm g = {
            .m = m, .n = n, .k = next - r,
            .a = left + r * ld_left * es_left, .a_row = 1, .a_col = ld_left,
            .b = right + r * ld_right * es_right, .b_row = ld_right, .b_col = 1,
            .a_bf16 = transposed && rows->x_operands, .b_bf16 = !transposed && rows->x_operands,
            .c = e->acc[1], .c_row = n,
            .start = acr__begins_chain(before, rows->at + r) ? ACR_START_ZERO : ACR_START_C,
            .cuts = rows->cuts.ends, .cut_count = rows->cuts.count, .cut_first = rows->cuts.first + r,
        };
        bool ends = acr__ends_chain(rows->at + last, rows->at + next);
        sharing s = share(run, e, ACR_TICKET_GRADIENT, &g, split, index, count);
        if (next - r < rows->count)
            s.owned = s.total; /* another block of the same chains follows: each stays with its member */
        for (block b; next_block(&s, &b);) {
            chain_block(run, g, &b, index);
            if (ends && e->acc2[1])
                spill(run, &b, n, rows->at + last < ACR_CHAIN_ROWS, e->acc[1], e->acc2[1]);
        }
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
    for (int64_t r = run->summed_rows[d], next; r < run->stage_rows[d]; r = next) {
        next = acr__chunk_end(run, d, r);
        if ((run->stage_first[d] + r) % ACR_CHAIN_ROWS == 0)
            run->k->clear(acc, (size_t)(b.n1 - b.n0) * run->es);
        run->k->column_sum(next - r, b.n1 - b.n0, e->dout.p + (r * e->dout.ld + b.n0) * (int64_t)run->es,
                           e->dout.ld, acc);
        int64_t end = run->stage_first[d] + next;
        if (end % ACR_CHAIN_ROWS == 0 && e->acc2[slot])
            spill(run, &b, e->node->cols, end == ACR_CHAIN_ROWS, e->acc[slot], e->acc2[slot]);
    }
}

void acr__keep_operands(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_rows(run->rows[e->domain], e->node->cols, index, count);
    char *to = acr__rows_at(run, &e->kept, e->domain) + p.row * e->kept.ld * acr__slot_es(run, &e->kept);
    const char *from = acr__part_at(run, &e->out, e->domain, &p);
    for (int64_t i = 0; i < p.rows; i++, from += e->out.ld * (int64_t)run->es, to += e->kept.ld * acr__slot_es(run, &e->kept))
        run->k->round_bf16(p.cols, from, to);
}

acr__rows acr__staged_rows(const acr__run *run, const acr__exec *e, const acr__slot *dy)
{
    acr_domain d = e->domain;
    return (acr__rows){dy->p, dy->ld, e->in[0].p, e->in[0].operands, e->in[0].ld, run->due_rows[d],
                       run->stage_first[d], run->last_block[d], run->cuts[d]};
}

void acr__linear_gradient(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__rows rows = acr__staged_rows(run, e, &e->dout);
    if (e->acc[1])
        acr__weight_gradient(run, e, &rows, e->node->cols, ACR_SPLIT_FEATURES, index, count);
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
