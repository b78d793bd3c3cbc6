/* attention.c: attention over vectors (rule 9); the definition is in
 * ref_attention.c, the formulas in kernel.h.
 *
 * Queries that follow one another and see keys from the same place on are taken
 * in blocks. What all of a block's queries see is a rectangle of (query, key)
 * pairs, a product for the table's gemm; what lies on the diagonal, where each
 * query sees one key more than the last, is a triangle with a loop of its own. A
 * row of scores is kept whole, so the softmax needs no second thought; rows of no
 * more than one block exist at a time.
 *
 *        lo          place of the block's first query
 *         |            |
 *     ....sssssssssssss\        s  the rectangle
 *     ....sssssssssssss\\       \  the triangle
 *     ....sssssssssssss\\\      .  not seen: of another document
 *
 * Invariant: each element is the chain that the definition names; a pair outside
 * takes part in none. Its score may be computed beside the others, and is not read.
 *
 * By rule 2 a block is the queries of 32 places, whatever documents they are of,
 * and what one of them does not see of 32 keys is +0 in a block of its chain. Scores
 * become +0 where they are not seen. Keys and queries are multiplied by those as they
 * are wherever that cannot show, which `unmasked` finds out; else row by row, from
 * copies with rows of +0. */
#include "base/base.h"
#include "kernel/cpu/gemm_f32.h"
#include "kernel/cpu/kernels.h"

/* Queries in a block: of a long sequence fewer, so that a block's scores stay near
 * the processor. FEW: so few queries are not worth packing the keys for. */
enum { QUERIES = 48, QUERIES_LONG = 24, LONG = 1024, FEW = 8 };

/* Columns of scores begin at multiples of it: whole panels, whole blocks of rule 2. */
enum { COLUMNS = ACR_BLOCK };
_Static_assert(COLUMNS % ACR__GEMM_PANEL == 0 && (int)QUERIES >= (int)ACR_BLOCK, "panels and blocks are nested");

typedef struct work {
    const acr_attention_args *a;
    const acr_kernels *bf16; /* the caller's table, or NULL: rule 1 */
    int64_t keys, least; /* of all; the first packed, a multiple of the panel */
    int64_t block, ld;   /* queries of a block; floats from one query's scores to the next */
    float *scores, *grads; /* [block, ld] */
    char *k_panels, *v_panels; /* NULL: too few queries to pack for */
    float *dk, *dv;      /* [keys, dim] */
    float *dq;           /* [block, dim] */
    float *masked, *kept; /* rule 2: [ACR_BLOCK, dim] */
    void *gemm;
} work;

static int64_t leading(int64_t keys)
{
    int64_t ld = acr__round_up(keys, 16) + 16;
    return ld % 1024 ? ld : ld + 16; /* else all rows would fall on the same sets of a cache */
}

/* Bytes of the first n keys in panels. */
static size_t panel_bytes(const work *w, int64_t n, int64_t dim)
{
    return w->bf16 ? w->bf16->packed_bf16(n, dim) : (size_t)(acr__round_up(n, ACR__GEMM_PANEL) * dim) * sizeof(float);
}

/* Gives the work its memory from `scratch` on, and returns how much that is. Every
 * part grows with the keys, so what is planned for many is enough for few. */
static size_t lay_out(work *w, int64_t dim, bool back, char *scratch)
{
    const size_t floats = sizeof(float), panels = panel_bytes(w, w->keys, dim);
    w->ld = leading(w->keys);
    w->block = w->bf16 ? ACR_BLOCK : w->keys > LONG ? QUERIES_LONG : QUERIES;
    size_t scores = (size_t)(w->bf16 ? ACR_BLOCK * w->ld : acr__max(QUERIES * leading(acr__min(w->keys, LONG)),
                                                                    QUERIES_LONG * w->ld)) * floats;
    size_t rows = (size_t)(w->keys * dim) * floats;
    struct {
        void *to;
        size_t bytes;
    } parts[] = {
        {&w->gemm, w->bf16 ? w->bf16->gemm_bf16_scratch : ACR__GEMM_SCRATCH},
        {&w->scores, scores},
        {&w->k_panels, panels},
        {&w->masked, w->bf16 ? (size_t)(ACR_BLOCK * dim) * floats : 0},
        {&w->kept, w->bf16 ? (size_t)(ACR_BLOCK * dim) * floats : 0},
        {&w->grads, back ? scores : 0},
        {&w->v_panels, back ? panels : 0},
        {&w->dk, back ? rows : 0},
        {&w->dv, back ? rows : 0},
        {&w->dq, back ? (size_t)(QUERIES * dim) * floats : 0},
    };
    size_t at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *here = scratch ? scratch + at : NULL;
        memcpy(parts[i].to, &here, sizeof here);
        at += (parts[i].bytes + 63) / 64 * 64;
    }
    return at;
}

size_t ACR_CPU(attention_scratch)(const acr_kernels *bf16, int64_t keys, int64_t dim, bool back)
{
    work w = {.bf16 = bf16, .keys = keys};
    return lay_out(&w, dim, back, NULL);
}

static void pack(const work *w, const void *y, int64_t ldy, char *panels)
{
    const float *from = (const float *)y + w->least * ldy;
    if (w->bf16)
        w->bf16->pack_b_bf16(w->keys - w->least, w->a->dim, from, 1, ldy, false, panels);
    else
        acr__pack_b_f32(w->keys - w->least, w->a->dim, from, 1, ldy, panels);
}

/* The key from which the row's query sees. */
static int64_t first_key(const acr_attention_args *a, int64_t row) { return a->past + row - a->position[row]; }

static work begin(const acr_attention_args *a, bool back)
{
    work w = {.a = a, .bf16 = a->bf16, .keys = a->past + a->rows};
    int64_t first = w.keys;
    for (int64_t r = 0; r < a->rows; r++)
        first = acr__min(first, first_key(a, r));
    w.least = first / COLUMNS * COLUMNS;
    lay_out(&w, a->dim, back, a->scratch);
    if (a->rows <= FEW) {
        w.k_panels = w.v_panels = NULL;
        return w;
    }
    pack(&w, a->k, a->ld_key, w.k_panels);
    if (back)
        pack(&w, a->v, a->ld_value, w.v_panels);
    return w;
}

/* Queries [row, row + rows) of a head, the first at `place`. The first key that any
 * sees is lo; by rule 1 all see from there on. Column c of their scores is key
 * base + c: base is a multiple of COLUMNS, so that a key's column is its place in
 * rule 3's chains and rule 2's blocks. */
typedef struct block {
    int64_t head, row, rows, place, lo, base;
} block;

/* The block behind b; false where none is left. */
static bool next_block(const work *w, block *b)
{
    const acr_attention_args *a = w->a;
    b->row += b->rows;
    if (b->row >= a->rows)
        return false;
    b->place = a->past + b->row;
    b->lo = first_key(a, b->row);
    int64_t most = acr__min(w->block - (w->bf16 ? b->place % ACR_BLOCK : 0), a->rows - b->row);
    for (b->rows = 1; b->rows < most && (w->bf16 || first_key(a, b->row + b->rows) == b->lo); b->rows++)
        b->lo = acr__min(b->lo, first_key(a, b->row + b->rows));
    b->base = b->lo / COLUMNS * COLUMNS;
    return true;
}

/* -- products ------------------------------------------------------------------ */
static void multiply(const work *w, acr_gemm g)
{
    g.scratch = w->gemm;
    if (w->bf16)
        w->bf16->gemm_bf16(&g);
    else
        acr__gemm_f32(&g);
}

/* C[r] = chain from C[r] over p of A[r][p] * B[p]: `upto`, p = 0 .. r, else
 * p = r .. n-1. A[r][p] = a[r*a_row + p*a_col]; B and C have rows of `cols`. */
typedef struct edge {
    bool upto;
    int64_t n, cols;
    const float *a;
    int64_t a_row, a_col;
    const float *b;
    int64_t b_row;
    float *c;
    int64_t c_row;
} edge;

enum { TALL = 4, WIDE = 2 }; /* rows and vectors of C in registers */

/* Rows [r, r + rows) of C, columns [j, j + WIDE*VL). rows and whole are constants where it is inlined. */
static inline __attribute__((always_inline)) void edge_tile(const edge *t, int rows, bool whole, int64_t r, int64_t j)
{
    vf acc[TALL][WIDE];
    int64_t left = whole ? WIDE * VL : t->cols - j;
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < WIDE; v++)
            acc[i][v] = left > v * VL ? v_get(t->c + (r + i) * t->c_row + j + v * VL, left - v * VL) : v_set1(0.0f);
    int64_t first = t->upto ? 0 : r, last = t->upto ? r + rows : t->n;
    for (int64_t p = first; p < last; p++) {
        const float *a = t->a + r * t->a_row + p * t->a_col;
        bool all = t->upto ? p <= r : p >= r + rows - 1;
        vf b[WIDE];
        for (int v = 0; v < WIDE; v++)
            b[v] = left > v * VL ? v_get(t->b + p * t->b_row + j + v * VL, left - v * VL) : v_set1(0.0f);
        for (int i = 0; i < rows; i++)
            if (all || (t->upto ? p <= r + i : p >= r + i))
                for (int v = 0; v < WIDE; v++)
                    acc[i][v] = v_fma(v_set1(a[i * t->a_row]), b[v], acc[i][v]);
    }
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < WIDE && left > v * VL; v++)
            v_put(t->c + (r + i) * t->c_row + j + v * VL, acc[i][v], left - v * VL);
}

static void triangle(const edge *t)
{
    for (int64_t r = 0; r < t->n; r += TALL)
        for (int64_t j = 0; j < t->cols; j += WIDE * VL) {
            bool whole = t->cols - j >= WIDE * VL;
            if (t->n - r >= TALL && whole)
                edge_tile(t, TALL, true, r, j);
            else
                for (int64_t i = r; i < acr__min(r + TALL, t->n); i++)
                    edge_tile(t, 1, false, i, j);
        }
}

/* out[r][c] = chain over the features of x[r] * y[base + c], for all that the block sees. */
static void seen_scores(const work *w, const block *b, const float *x, int64_t ldx, const float *y, int64_t ldy,
                        const char *panels, float *out)
{
    multiply(w, (acr_gemm){.m = b->rows, .n = b->place + b->rows - b->base, .k = w->a->dim,
                           .a = x, .a_row = ldx, .a_col = 1,
                           .b = y + b->base * ldy, .b_row = 1, .b_col = ldy,
                           .packed = panels ? panels + panel_bytes(w, b->base - w->least, w->a->dim) : NULL,
                           .c = out, .c_row = w->ld, .start = ACR_START_ZERO});
}

/* y's rows [0, ACR_BLOCK), but +0 where `seen` has no bit, in memory of this member's. */
static const float *masked(const work *w, uint32_t seen, const float *y, int64_t ldy)
{
    const int64_t dim = w->a->dim;
    for (int64_t r = 0; r < ACR_BLOCK; r++)
        if (seen >> r & 1)
            memcpy(w->masked + r * dim, y + r * ldy, (size_t)dim * sizeof *y);
        else
            memset(w->masked + r * dim, 0, (size_t)dim * sizeof *y);
    return w->masked;
}

/* Bits for rows [from, to) of a block of rule 2. */
static uint32_t bits(int64_t from, int64_t to)
{
    return (uint32_t)((UINT64_C(1) << to) - (UINT64_C(1) << from));
}

/* Whether all of y is finite as operands. Here and below whole numbers are gathered,
 * which compilers do with vectors. */
static bool finite_operands(int64_t rows, int64_t cols, const float *y, int64_t ldy)
{
    uint32_t most = 0, u;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            memcpy(&u, y + r * ldy + c, sizeof u);
            u &= UINT32_C(0x7fffffff);
            most = u > most ? u : most;
        }
    return most < UINT32_C(0x7f7f8000); /* from here on they round to infinity */
}

static bool any_minus_zero(int64_t rows, int64_t cols, const float *y, int64_t ldy)
{
    uint32_t any = 0, u;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            memcpy(&u, y + r * ldy + c, sizeof u);
            any |= u == UINT32_C(0x80000000);
        }
    return any != 0;
}

/* One block onto C of ACR_BLOCK rows at most, where an element's A is +0 in the places
 * that it does not see, and B ought to be. A finite B times +0 is a zero, which changes
 * a chain at most from -0 to +0 or not; of C = C + (e + o) that can be seen where C
 * comes out as -0 alone. Then, or where B is not finite, C stays as it was: false. */
static bool unmasked(const work *w, acr_gemm g)
{
    float *c = g.c;
    const size_t bytes = (size_t)g.n * sizeof *c;
    if (!finite_operands(g.k, g.n, g.b, g.b_row))
        return false;
    for (int64_t i = 0; g.start == ACR_START_C && i < g.m; i++)
        memcpy(w->kept + i * g.n, c + i * g.c_row, bytes);
    multiply(w, g);
    if (!any_minus_zero(g.m, g.n, c, g.c_row))
        return true;
    for (int64_t i = 0; g.start == ACR_START_C && i < g.m; i++)
        memcpy(c + i * g.c_row, w->kept + i * g.n, bytes);
    return false;
}

/* weighted by rule 2 for rows [r, r + rows) of the block, which see from the same key on. */
static void weighted_blocks(const work *w, const block *b, int64_t r, int64_t rows, const float *x, const float *y,
                            int64_t ldy, float *out, int64_t ldo)
{
    int64_t lo = first_key(w->a, b->row + r), place = b->place + r, own = place / ACR_BLOCK * ACR_BLOCK;
    int64_t at = lo / ACR_BLOCK * ACR_BLOCK;
    acr_gemm g = {.m = rows, .n = w->a->dim, .a_row = w->ld, .a_col = 1, .b_col = 1, .c_row = ldo};
    x += r * w->ld - b->base;
    out += r * ldo;
    g.c = out;
    if (at < lo && at < own) { /* a block of which they see the end */
        g.k = ACR_BLOCK;
        g.a = x + at;
        g.b = masked(w, bits(lo - at, ACR_BLOCK), y + at * ldy, ldy);
        g.b_row = w->a->dim;
        multiply(w, g);
        at += ACR_BLOCK;
        g.start = ACR_START_C;
    }
    if (at < own) {
        g.k = own - at;
        g.a = x + at;
        g.b = y + at * ldy;
        g.b_row = ldy;
        multiply(w, g);
        g.start = ACR_START_C;
    }
    g.k = place + rows - own;
    g.a = x + own;
    g.b = y + own * ldy;
    g.b_row = ldy;
    if (unmasked(w, g))
        return;
    g.m = 1;
    if (lo > own) {
        g.b = masked(w, bits(lo - own, place + rows - own), y + own * ldy, ldy);
        g.b_row = w->a->dim;
    }
    for (int64_t i = 0; i < rows; i++) { /* what a row does not see of its own block lies past k */
        g.k = place + i + 1 - own;
        g.a = x + i * w->ld + own;
        g.c = out + i * ldo;
        multiply(w, g);
    }
}

/* out[r] = chain from +0 over the keys that r sees, ascending, of x[r][key] * y[key]. */
static void weighted(const work *w, const block *b, const float *x, const float *y, int64_t ldy, float *out,
                     int64_t ldo)
{
    int64_t dim = w->a->dim;
    for (int64_t r = 0, n; w->bf16 && r < b->rows; r += n) {
        for (n = 1; r + n < b->rows && first_key(w->a, b->row + r + n) == first_key(w->a, b->row + r);)
            n++;
        weighted_blocks(w, b, r, n, x, y, ldy, out, ldo);
    }
    if (w->bf16)
        return;
    multiply(w, (acr_gemm){.m = b->rows, .n = dim, .k = b->place - b->lo,
                           .a = x + (b->lo - b->base), .a_row = w->ld, .a_col = 1,
                           .b = y + b->lo * ldy, .b_row = ldy, .b_col = 1,
                           .c = out, .c_row = ldo, .start = ACR_START_ZERO});
    triangle(&(edge){true, b->rows, dim, x + (b->place - b->base), w->ld, 1, y + b->place * ldy, ldy, out, ldo});
}

/* Which of the block's queries see key j, and the first key past j that others see. */
static uint32_t seeing(const work *w, const block *b, int64_t j, int64_t *next)
{
    uint32_t seen = 0;
    *next = b->place + b->rows;
    for (int64_t r = 0; r < b->rows; r++) {
        int64_t first = first_key(w->a, b->row + r), end = b->place + r + 1;
        if (j < first)
            *next = acr__min(*next, first);
        if (j < first || j >= end)
            continue;
        seen |= UINT32_C(1) << r;
        *next = acr__min(*next, end);
    }
    return seen;
}

/* collect by rule 2 for keys [from, to). The block's first query is the first of 32
 * places: back takes all. */
static void collect_runs(const work *w, const block *b, int64_t from, int64_t to, const float *x, const float *y,
                         int64_t ldy, float *acc)
{
    const int64_t dim = w->a->dim;
    for (int64_t j = from, next; j < to; j = next) {
        uint32_t seen = seeing(w, b, j, &next);
        next = acr__min(next, to);
        if (!seen)
            continue;
        bool all = seen == bits(0, b->rows);
        multiply(w, (acr_gemm){.m = next - j, .n = dim, .k = b->rows,
                               .a = x + (j - b->base), .a_row = 1, .a_col = w->ld,
                               .b = all ? y : masked(w, seen, y, ldy), .b_row = all ? ldy : dim, .b_col = 1,
                               .c = acc + j * dim, .c_row = dim, .start = ACR_START_C});
    }
}

static void collect_blocks(const work *w, const block *b, const float *x, const float *y, int64_t ldy, float *acc)
{
    const int64_t dim = w->a->dim, end = b->place + b->rows;
    collect_runs(w, b, b->lo, b->place, x, y, ldy, acc);
    /* each of the block's own keys is seen by one query at least: none is to be left out */
    if (!unmasked(w, (acr_gemm){.m = b->rows, .n = dim, .k = b->rows,
                                .a = x + (b->place - b->base), .a_row = 1, .a_col = w->ld,
                                .b = y, .b_row = ldy, .b_col = 1,
                                .c = acc + b->place * dim, .c_row = dim, .start = ACR_START_C}))
        collect_runs(w, b, b->place, end, x, y, ldy, acc);
}

/* acc[key] = chain from acc[key] over the block's queries that see the key,
 * ascending, of x[query][key] * y[query]. */
static void collect(const work *w, const block *b, const float *x, const float *y, int64_t ldy, float *acc)
{
    int64_t dim = w->a->dim;
    if (w->bf16) {
        collect_blocks(w, b, x, y, ldy, acc);
        return;
    }
    multiply(w, (acr_gemm){.m = b->place - b->lo, .n = dim, .k = b->rows,
                           .a = x + (b->lo - b->base), .a_row = 1, .a_col = w->ld,
                           .b = y, .b_row = ldy, .b_col = 1,
                           .c = acc + b->lo * dim, .c_row = dim, .start = ACR_START_C});
    triangle(&(edge){false, b->rows, dim, x + (b->place - b->base), 1, w->ld, y, ldy, acc + b->place * dim, dim});
}

/* -- rows ---------------------------------------------------------------------- */
/* Columns [first, end) of a query's row are what it sees. */
typedef struct seen {
    int64_t first, end, group; /* group: first down to a multiple of 16 */
} seen;

static seen seen_by(const work *w, const block *b, int64_t r)
{
    int64_t first = first_key(w->a, b->row + r) - b->base;
    return (seen){first, b->place + r + 1 - b->base, first / 16 * 16};
}

/* Each group of sixteen columns, a vector of the chains at a time. */
#define EACH_SEEN(o)                                    \
    for (int64_t j = (o).group; j < (o).end; j += 16)   \
        for (int q = 0; q < VQ; q++)

static float *stats_of(const work *w, const block *b, int64_t r)
{
    const acr_attention_args *a = w->a;
    return a->stats ? (float *)a->stats + (b->row + r) * a->ld_stats + 2 * b->head : NULL;
}

static void drop(const work *w, const block *b, int64_t r, float *x)
{
    const acr_attention_args *a = w->a;
    if (!a->threshold)
        return;
    seen o = seen_by(w, b, r);
    int64_t place = b->place + r, sees = place + 1, head = a->head + b->head;
    ACR_CPU(dropout)(o.end - o.first, x + o.first, x + o.first, false, a->threshold, a->kept_scale, a->seed, a->window,
                     a->op, a->place, a->heads * (place * sees / 2) + head * sees + b->base + o.first);
}

/* What the query does not see is no operand: +0 (rule 2). */
static void blank(const work *w, const block *b, int64_t r, float *x)
{
    if (!w->bf16)
        return;
    seen o = seen_by(w, b, r);
    memset(x, 0, (size_t)o.first * sizeof *x);
    memset(x + o.end, 0, (size_t)(b->place + b->rows - b->base - o.end) * sizeof *x);
}

/* Scores become weights. What is not seen of the first and the last group becomes
 * -inf, which no maximum and no sum notices: its exponential is +0. */
static void weights(const work *w, const block *b, int64_t r, float *x)
{
    seen o = seen_by(w, b, r);
    vf c[VQ], scale = v_set1(w->a->scale);
    for (int64_t j = o.group; j < o.first; j++)
        x[j] = -INFINITY;
    for (int64_t j = o.end; j % 16 != 0; j++)
        x[j] = -INFINITY;
    for (int q = 0; q < VQ; q++)
        c[q] = v_set1(-INFINITY);
    EACH_SEEN(o)
        c[q] = v_larger(v_mul(v_load(x + j + q * VL), scale), c[q]);
    float largest = v_tree_max(c);
    vf max = v_set1(largest);
    v_chains(c);
    EACH_SEEN(o)
    {
        vf e = v_exp(v_sub(v_mul(v_load(x + j + q * VL), scale), max));
        v_store(x + j + q * VL, e);
        c[q] = v_add(c[q], e);
    }
    float sum = v_tree_add(c), *stats = stats_of(w, b, r);
    vf total = v_set1(sum);
    EACH_SEEN(o)
        v_store(x + j + q * VL, v_div(v_load(x + j + q * VL), total));
    if (stats) {
        stats[0] = largest;
        stats[1] = sum;
    }
    drop(w, b, r, x);
    blank(w, b, r, x);
}

/* `after` in the lanes that are columns of [first, end), `before` in the others;
 * the vector begins at column `at`. */
static vf where_seen(const seen *o, int64_t at, vf after, vf before)
{
    int64_t skip = acr__min(acr__max(o->first - at, 0), VL), end = acr__min(acr__max(o->end - at, 0), VL);
    return v_select(v_first(skip), before, v_select(v_first(end), after, before));
}

/* Scores become weights again, and the weights' gradients the scores'. */
static void back_row(const work *w, const block *b, int64_t r, float *x, float *d)
{
    seen o = seen_by(w, b, r);
    const float *stats = stats_of(w, b, r);
    vf max = v_set1(stats[0]), total = v_set1(stats[1]), scale = v_set1(w->a->scale), c[VQ];
    drop(w, b, r, d);
    v_chains(c);
    EACH_SEEN(o)
    {
        int64_t at = j + q * VL;
        vf p = v_div(v_exp(v_sub(v_mul(v_load(x + at), scale), max)), total);
        vf after = v_fma(p, v_load(d + at), c[q]);
        v_store(x + at, p);
        c[q] = j >= o.first && j + 16 <= o.end ? after : where_seen(&o, at, after, c[q]);
    }
    vf mean = v_set1(v_tree_add(c));
    EACH_SEEN(o)
    {
        int64_t at = j + q * VL;
        v_store(d + at, v_mul(v_mul(v_load(x + at), v_sub(v_load(d + at), mean)), scale));
    }
    drop(w, b, r, x);
    blank(w, b, r, x);
    blank(w, b, r, d);
}

/* -- the two kernels ----------------------------------------------------------- */
void ACR_CPU(attention)(const acr_attention_args *a)
{
    work w = begin(a, false);
    for (int64_t h = 0; h < a->group; h++)
        for (block b = {.head = h}; next_block(&w, &b);) {
            const float *q = (const float *)a->q + b.row * a->ldq + h * a->dim;
            float *out = (float *)a->out + b.row * a->ld_out + h * a->dim;
            seen_scores(&w, &b, q, a->ldq, a->k, a->ld_key, w.k_panels, w.scores);
            for (int64_t r = 0; r < b.rows; r++)
                weights(&w, &b, r, w.scores + r * w.ld);
            weighted(&w, &b, w.scores, a->v, a->ld_value, out, a->ld_out);
        }
}

static void back_block(const work *w, const block *b)
{
    const acr_attention_args *a = w->a;
    const float *q = (const float *)a->q + b->row * a->ldq + b->head * a->dim;
    const float *dout = (const float *)a->dout + b->row * a->ld_dout + b->head * a->dim;
    seen_scores(w, b, q, a->ldq, a->k, a->ld_key, w->k_panels, w->scores);
    seen_scores(w, b, dout, a->ld_dout, a->v, a->ld_value, w->v_panels, w->grads);
    for (int64_t r = 0; r < b->rows; r++)
        back_row(w, b, r, w->scores + r * w->ld, w->grads + r * w->ld);
    if (a->dq) {
        weighted(w, b, w->grads, a->k, a->ld_key, w->dq, a->dim);
        ACR_CPU(copy)(b->rows, a->dim, w->dq, a->dim, (float *)a->dq + b->row * a->ld_dq + b->head * a->dim, a->ld_dq,
                      a->add_q);
    }
    if (a->dk)
        collect(w, b, w->grads, q, a->ldq, w->dk);
    if (a->dv)
        collect(w, b, w->scores, dout, a->ld_dout, w->dv);
}

void ACR_CPU(attention_back)(const acr_attention_args *a)
{
    work w = begin(a, true);
    size_t bytes = (size_t)(w.keys * a->dim) * sizeof(float);
    memset(w.dk, 0, bytes);
    memset(w.dv, 0, bytes);
    for (int64_t h = 0; h < a->group; h++)
        for (block b = {.head = h}; next_block(&w, &b);)
            back_block(&w, &b);
    if (a->dk)
        ACR_CPU(copy)(w.keys, a->dim, w.dk, a->dim, a->dk, a->ld_dk, a->add_k);
    if (a->dv)
        ACR_CPU(copy)(w.keys, a->dim, w.dv, a->dim, a->dv, a->ld_dv, a->add_v);
}
