/* gemm_f32.c: fp32 matrix products by rule 1, and packing for them. Compiled once
 * per instruction set.
 *
 * Invariant: an element of C is one chain of fma over the depth in ascending
 * order. Blocking over the depth stores C and starts again from it, which rounds
 * nothing; the depth is never padded. Lanes past the last column of a packed
 * panel hold +0 and belong to no stored element.
 *
 * A block of B (some columns by some depth) rests in L2 and is streamed, fetched
 * ahead, past one row tile after another; the tile's rows of A rest in L1. B is
 * packed for that, so that a panel is a few pages and the tile's strides are known
 * (25 against 21 instructions for 12 multiply-adds). With few row tiles it is used
 * where it lies if its columns are adjacent; few rows hold several panels at once,
 * to keep enough chains in flight. A is copied where its depth is not adjacent, or
 * where a tile of many rows meets many columns and known strides are worth it. What is
 * packed next, rows of A or a panel of B, is fetched by tiles at work, since packing
 * would wait for each of its lines (AVX-512: 3 to 10% of a product).
 *
 * It deliberately knows nothing of threads: callers split rows or columns. */
#include "kernel/cpu/gemm_f32.h"

#include "base/base.h"
#include "kernel/cpu/gemm_tile.h"
#include "kernel/cpu/gemm_zeros.h"

_Static_assert((int)ACR__GEMM_PANEL == (int)NR, "gemm_f32.h and gemm_vec.h disagree about the panel");
enum {
    ES = sizeof(float),
    TILE = 8192,      /* floats of A that a row tile may keep in L1 */
    FEW_SETS = 256,   /* floats apart, a run of lines falls on four sets: a deep B would not stay in L2 either,
                         nor a tile's rows of A in L1 */
    MANY = 8,         /* row tiles that are worth packing B, even if its columns are adjacent */
    NEXT_LINES = 32,  /* floats ahead in a row of which a few are packed for each of many depths */
    SHALLOW = 256,    /* depth of a block of B that is packed */
    WIDE = 4 * NR,    /* columns that a packed row tile of A is worth */
    NARROW = 4 * NR,  /* columns to transpose at a time for a single row tile */
    FIRST = 2,        /* row tiles that take a panel of B as soon as it is packed */
    /* Floats for packed rows of A: of a whole block, or of the first row tiles of one that is packed. */
    A_ROOM = (LINES == 0 || DEPTH > FIRST * SHALLOW ? DEPTH : FIRST * SHALLOW) * AS,
};
_Static_assert((int)ACR__GEMM_SCRATCH == (int)sizeof(float) * (A_ROOM + BLOCK),
               "gemm_f32.h and gemm_f32.c disagree about the scratch");

/* `lanes` lines of `depth` elements (line j at src + j*line, elements `step`
 * apart) become out[depth][width], lanes past the last line +0. width is a
 * multiple of V; out is written whole. What is likely to be packed next, the lines
 * behind these, is fetched if `fetch` says so: no processor guesses that by itself, as
 * each line or each element lies in another page. */
INLINE void pack_any(bool fetch, int width, int64_t lanes, int64_t depth, const float *src, int64_t line, int64_t step,
                     float *out)
{
    for (int v = 0; v < width; v += V, lanes -= V, src += lanes > 0 ? V * line : 0, out += V) {
        if (lanes <= 0) {
            for (int64_t p = 0; p < depth; p++)
                v_store(out + p * width, v_zero());
        } else if (line == 1) {
            vmask first = v_first(acr__min(lanes, V));
            for (int64_t p = 0; p < depth; p++) {
                if (fetch)
                    fetch_ahead(src, p * step + NEXT_LINES);
                v_store(out + p * width, lanes >= V ? v_load(src + p * step) : v_load_first(first, src + p * step));
            }
        } else {
            int64_t behind = acr__min(lanes, V) * line;
            for (int64_t p = 0; p < depth; p += V) {
                for (int j = fetch && p % 16 == 0 ? 0 : V; j < V; j++)
                    fetch_ahead(src, behind + j * line + p);
                vec r[V];
                int64_t deep = acr__min(depth - p, V);
                vmask first = v_first(deep);
                UNROLL
                for (int j = 0; j < V; j++) {
                    const float *from = src + (j < lanes ? j * line : 0) + p;
                    r[j] = j >= lanes ? v_zero() : deep == V ? v_load(from) : v_load_first(first, from);
                }
                v_transpose(r);
                UNROLL
                for (int j = 0; j < V; j++)
                    if (j < deep)
                        v_store(out + (p + j) * width, r[j]);
            }
        }
    }
}

static void pack(int width, int64_t lanes, int64_t depth, const float *src, int64_t line, int64_t step, float *out)
{
    pack_any(true, width, lanes, depth, src, line, step, out);
}

/* What tiles have fetched, on processors where they do. */
static void pack_fetched(int width, int64_t lanes, int64_t depth, const float *src, int64_t line, int64_t step,
                         float *out)
{
    pack_any(LINES == 0, width, lanes, depth, src, line, step, out);
}

void acr__pack_b_f32(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, void *out)
{
    const float *src = b;
    float *to = out;
    for (int64_t j = 0; j < n; j += NR)
        pack(NR, n - j, k, src + j * b_col, b_col, b_row, to + j * k);
}

/* Parts as even as can be: [part_at(i), part_at(i + 1)) of `total` in `parts`. */
static inline int64_t part_at(int64_t total, int64_t parts, int64_t i)
{
    return parts == 1 ? i * total : total / parts * i + acr__min(i, total % parts);
}

static inline int64_t parts_of(int64_t total, int64_t most)
{
    return total <= most ? 1 : (total + most - 1) / most;
}

/* The last columns, less than a panel of them. */
static void part_tile(struct tile *t, int64_t rows, int64_t columns)
{
    int64_t width = (columns + V - 1) / V;
    t->last = v_first(columns - (width - 1) * V);
    tile_part[width][rows](t);
}

/* One row tile against columns [0, n) of the block of B at t; the tile of C that comes
 * after them is `then`. */
static void row_tile(struct tile *t, int64_t rows, int64_t n, const float *then)
{
    const float *b = t->b, *row = t->row;
    float *c = t->c;
    const int64_t two = rows <= TWO_MAX ? 2 * NR : INT64_MAX; /* columns that pay for two panels */
    const int64_t all = panels_of(n);
    for (int64_t j = 0, next, done = 0, panels; done < all; j = next, done += panels) {
        int64_t left = n - j;
        panels = left >= two ? 2 : 1;
        next = next_panel(j / NR, rows <= TWO_MAX ? panels : t->step, all) * NR;
        t->c = c + j;
        t->b = b + j / NR * t->b_panel;
        t->row = row ? row + j : NULL;
        t->c_next = done + panels < all ? c + next : then;
        if (panels == 2) {
            tile_two[rows](t);
        } else if (left >= NR) {
            tile_one[rows](t);
        } else {
            part_tile(t, rows, left);
        }
    }
    t->b = b;
    t->row = row;
}

/* How one product is cut. */
struct cut {
    bool lies;   /* B is streamed from where it is: packed already, or read once */
    bool copy_a; /* a row tile of A is packed first */
    bool fetch;  /* tiles fetch what is packed next */
    int64_t tiles, columns, depth; /* row tiles in all; most columns and depth of a block */
};

/* Whether rows of A whose depths are adjacent are copied for a tile. Where B is packed
 * on the way, such tiles fetch what is packed next. */
static bool worth_copying(const acr_gemm *g, bool lies)
{
    return (COPY_A || !lies || g->a_row % FEW_SETS == 0) && g->m > TWO_MAX && g->n >= WIDE;
}

static struct cut cut_of(const acr_gemm *g)
{
    struct cut cut = {.tiles = parts_of(g->m, MR), .depth = DEPTH};
    bool one = cut.tiles == 1;
    cut.lies = g->packed != NULL || (g->b_col == 1 && (one || (cut.tiles < MANY && g->b_row % FEW_SETS != 0)));
    if (!cut.lies)
        cut.depth = SHALLOW;
    else if (one && g->m <= TWO_MAX && g->a_col == 1 && g->k > DEPTH)
        cut.depth = acr__max(TILE / g->m, DEPTH);
    if (one) {
        cut.columns = cut.lies ? g->n : NARROW;
    } else {
        int64_t depth = acr__max(acr__min(g->k, cut.depth), 1), panels = parts_of(g->n, NR);
        int64_t most = acr__max((cut.lies ? STREAM : BLOCK) / depth / NR, 1);
        cut.columns = parts_of(panels, parts_of(panels, most)) * NR;
    }
    cut.copy_a = g->a_col != 1 ? g->n > NR : worth_copying(g, cut.lies);
    cut.fetch = LINES > 0 && cut.copy_a && !one;
    return cut;
}

static const float *b_at(const acr_gemm *g, int64_t p, int64_t j)
{
    return (const float *)g->b + p * g->b_row + j * g->b_col;
}

/* B as it lies, from column j and depth p on. */
static void aim_b(const acr_gemm *g, struct tile *t, int64_t j, int64_t p)
{
    if (g->packed) {
        t->b = (const float *)g->packed + j * g->k + p * NR;
        t->b_row = NR;
        t->b_panel = NR * g->k;
    } else {
        t->b = b_at(g, p, j);
        t->b_row = g->b_row;
        t->b_panel = NR;
    }
}

/* Row tile i of the product. */
struct rows {
    int64_t first, count;
    const float *a; /* at the depth given */
};

static struct rows rows_of(const acr_gemm *g, const struct cut *cut, int64_t i, int64_t p)
{
    int64_t first = part_at(g->m, cut->tiles, i), end = part_at(g->m, cut->tiles, i + 1);
    return (struct rows){first, end - first, (const float *)g->a + first * g->a_row + p * g->a_col};
}

/* Aims t at row tile i, depths [p, p + t->k), and at column j of C. If rows are copied,
 * then to `to`. */
static int64_t aim_rows(const acr_gemm *g, const struct cut *cut, struct tile *t, int64_t i, int64_t p, int64_t j,
                        float *to)
{
    const struct rows r = rows_of(g, cut, i, p);
    t->a = r.a;
    t->a_row = g->a_row;
    t->a_col = g->a_col;
    if (cut->copy_a) {
        const bool fetched = cut->fetch && i >= (cut->lies ? 1 : FIRST);
        (fetched ? pack_fetched : pack)(AS, r.count, t->k, r.a, g->a_row, g->a_col, to);
        t->a = to;
        t->a_row = 1;
        t->a_col = AS;
    }
    t->c = (float *)g->c + r.first * g->c_row + j;
    return r.count;
}

/* Row tile i of A; if its rows are adjacent, the lines of its last one, as the others are
 * the last ones of the tile before. */
static struct ahead a_ahead(const acr_gemm *g, const struct cut *cut, int64_t i, int64_t p, int64_t depth)
{
    if (!cut->fetch || i >= cut->tiles)
        return (struct ahead){0};
    const struct rows r = rows_of(g, cut, i, p);
    return g->a_col == 1 ? ahead_of(r.a, r.count, g->a_row * ES, depth * ES)
                         : ahead_of(r.a + (r.count - 1) * g->a_row, depth, g->a_col * ES, ES);
}

/* The panel of B from column j on. */
static struct ahead b_ahead(const acr_gemm *g, int64_t j, int64_t n, int64_t p, int64_t depth)
{
    const float *b = b_at(g, p, j);
    return g->b_col == 1 ? ahead_of(b, depth, g->b_row * ES, acr__min(n, NR) * ES)
                         : ahead_of(b, acr__min(n, NR), g->b_col * ES, depth * ES);
}

/* Packs a block of B panel by panel. The first row tiles take each panel at once, and
 * fetch the next one from memory meanwhile, which else takes up to a tenth of a product
 * of 256 rows. Returns how many row tiles that were. */
static int64_t pack_and_multiply(const acr_gemm *g, const struct cut *cut, const struct tile *t, int64_t j, int64_t n,
                                 int64_t p, float *to_b)
{
    const int64_t tiles = acr__min(cut->tiles, FIRST);
    struct tile first[FIRST];
    int64_t rows[FIRST];
    for (int64_t i = 0; i < tiles; i++) {
        first[i] = *t;
        rows[i] = aim_rows(g, cut, &first[i], i, p, j, (float *)g->scratch + i * SHALLOW * AS);
    }
    for (int64_t v = 0; v < n; v += NR) {
        const int64_t left = n - v, width = acr__min(left, NR);
        float *b = to_b + v * t->k;
        (v > 0 ? pack_fetched : pack)(NR, width, t->k, b_at(g, p, j + v), g->b_col, g->b_row, b);
        *t->ahead = left > NR ? b_ahead(g, j + v + NR, left - NR, p, t->k) : a_ahead(g, cut, tiles, p, t->k);
        for (int64_t i = 0; i < tiles; i++) {
            struct tile at = first[i];
            at.b = b;
            at.c += v;
            at.row = at.row ? at.row + v : NULL;
            row_tile(&at, rows[i], width, i + 1 < tiles ? first[i + 1].c + v : first[0].c + v + NR);
        }
    }
    return tiles;
}

/* Columns [j, j + n), depths [p, p + t->k): the block of B, then each row tile. */
static void block(const acr_gemm *g, const struct cut *cut, struct tile *t, int64_t j, int64_t n, int64_t p)
{
    float *to_a = g->scratch, *to_b = to_a + A_ROOM;
    int64_t i = 0;
    t->row = g->row ? (const float *)g->row + j : NULL;
    if (cut->lies) {
        aim_b(g, t, j, p);
    } else {
        t->b = to_b;
        t->b_row = NR;
        t->b_panel = NR * t->k;
        if (cut->fetch)
            i = pack_and_multiply(g, cut, t, j, n, p, to_b);
        else
            acr__pack_b_f32(n, t->k, b_at(g, p, j), g->b_row, g->b_col, to_b);
    }
    for (; i < cut->tiles; i++) {
        int64_t rows = aim_rows(g, cut, t, i, p, j, to_a);
        *t->ahead = a_ahead(g, cut, i + 1, p, t->k);
        row_tile(t, rows, n, t->c + rows * t->c_row);
    }
}

/* A product that needs no cutting: small networks would else spend more on that
 * than on the product. False if it is not one. */
static bool one_tile(const acr_gemm *g, struct tile *t)
{
    if (g->m > MR || g->k > DEPTH || (g->a_col != 1 && g->n > NR) || (g->b_col != 1 && !g->packed) ||
        worth_copying(g, true))
        return false;
    aim_b(g, t, 0, 0);
    t->k = g->k;
    t->a = g->a;
    t->a_row = g->a_row;
    t->a_col = g->a_col;
    t->c = g->c;
    t->start = g->start;
    t->row = g->row;
    if (g->n < NR)
        part_tile(t, g->m, g->n);
    else
        row_tile(t, g->m, g->n, t->c);
    return true;
}

/* A single row with zeros, which are left out. False if there are too few of them, or
 * what it takes is not given, or the whole chains are wanted; C may be written then. */
static bool listed_row(const acr_gemm *g, struct tile *t)
{
    if (g->m != 1 || !g->finite || !g->packed || g->a_col != 1 || g->start == ACR_START_C || g->n < NR ||
        g->k < LEAST_LISTED || g->k > LISTED)
        return false;
    struct list l = {.at = g->scratch};
    list_row(&l, g->k, g->a);
    if (l.count > g->k - g->k / 8)
        return false;
    t->k = g->k;
    t->a = g->a;
    t->a_row = g->a_row;
    t->a_col = 1;
    t->start = g->start;
    vec least = v_zero();
    for (int64_t j = 0, n; j < g->n; j += n) {
        bool group = g->n - j >= LIST_PANELS * NR;
        n = group ? LIST_PANELS * NR : acr__min(g->n - j, NR);
        aim_b(g, t, j, 0);
        t->c = (float *)g->c + j;
        t->row = g->start == ACR_START_ROW ? (const float *)g->row + j : NULL;
        if (n < NR)
            row_tile(t, 1, n, t->c);
        else
            (group ? listed_group : listed_panel)(&l, t, &least);
    }
    return !any_minus_zero(least);
}

void acr__gemm_f32(const acr_gemm *g)
{
    if (g->m <= 0 || g->n <= 0)
        return;
    struct tile t;
    struct ahead ahead = {0};
    t.c_row = g->c_row;
    t.c_next = NULL; /* a product of one tile fetches none */
    t.step = 1;
    t.ahead = &ahead;
    t.last = v_first(V);
    if (listed_row(g, &t) || one_tile(g, &t))
        return;
    struct cut cut = cut_of(g);
    int64_t slabs = parts_of(g->k, cut.depth);
    for (int64_t j = 0, n; j < g->n; j += n) {
        n = acr__min(g->n - j, cut.columns);
        t.step = cut.lies || slabs == 1 ? 1 : panel_step(panels_of(n));
        for (int64_t s = 0; s < slabs; s++) {
            int64_t p = part_at(g->k, slabs, s);
            t.k = part_at(g->k, slabs, s + 1) - p;
            t.start = s == 0 ? g->start : ACR_START_C;
            block(g, &cut, &t, j, n, p);
        }
    }
}
