/* gemm_bf16_drive.h: how a product in bf16 is cut, packed and walked; the same for
 * every instruction set. gemm_bf16.c and gemm_bf16_dot.c include it once they
 * have said
 *
 *   ISA_NAME(x)            acr__<x>_<instruction set>
 *   NR, ROWS, ROW_UNIT     columns of a panel; most rows of a tile, of which it has a multiple if it can
 *   TWO_ROWS               rows up to which a tile takes two panels at once
 *   PACKED, A_ROW          row tiles of A packed at a time; bytes from one row to the next in them
 *   A_BLOCK, HEAD          bytes of a block of those; before a packed panel
 *   FETCHES                whether tiles fetch what t->ahead says, while they compute
 *   COLUMNS                of a block of B in scratch
 *   LOW(w), HIGH(w)        depths in the halves of word w of a block
 *   pack_a(from, bf16, a_row, a_col, rows, blocks, block, to)   rows of A, the blocks given
 *   pack_b_turned(from, bf16, b_col, columns, depth, to)   V columns of a block whose depths are adjacent
 *   head(panel, blocks)    fills a packed panel's HEAD bytes
 *   least_of(a, blocks)    what tile.a_least shall hold of a packed row tile
 *   tile_run(tile)         a row tile against one or two panels
 *   enter(), leave()       what the tiles of a product need around them
 *
 * Invariant: rule 2. An element of C takes its blocks in order, one add each;
 * cutting the depth between blocks stores C and takes it up again, which rounds
 * nothing. Rows, columns and depths that are not there are +0 and are executed
 * only where they fill a block that has some depth, and stored nowhere.
 *
 * A block of B, some columns by SLAB blocks of depth, rests in L2 and is streamed
 * past one row tile after another; the tile's rows of A rest in L1. Conversion is
 * part of packing; no bf16 copy of A or B is kept. */
#ifndef ACR_GEMM_BF16_DRIVE_H
#define ACR_GEMM_BF16_DRIVE_H

#include "base/base.h"
#include "base/fpenv.h"
#include "kernel/cpu/ahead.h"
#include "kernel/cpu/bf16_vec.h"
#include "kernel/cpu/gemm_bf16.h"

enum { SLAB = ACR__BF16_SLAB, WORDS = ACR_BLOCK / 2, B_BLOCK = WORDS * NR * 4 };
/* Columns of a packed B that are streamed past the row tiles at a time. */
enum { STREAMED = COLUMNS / 3 * 4 };
/* Bytes ahead in a row of which a few numbers are packed for each of many depths. */
enum { NEXT_LINES = 128 };

struct tile {
    int64_t rows, columns, blocks; /* columns: of both panels where there are two */
    const char *a;
    uint32_t a_least;
    const char *b; /* the panel's first block of this slab */
    const char *b_head;
    int64_t b_panel; /* bytes to the next panel */
    int64_t step;    /* panels from one to the one that is taken next: panel_step */
    float *c;
    int64_t c_row;
    const float *c_next; /* the tile that comes next, fetched ahead */
    enum acr_start start;
    const float *row;
    struct ahead *ahead; /* what is packed next */
};
struct block;
static void pack_a(const char *from, bool bf16, int64_t a_row, int64_t a_col, int64_t rows, int64_t blocks,
                   const struct block *block, char *to);
INLINE void pack_b_turned(const char *from, bool bf16, int64_t b_col, int64_t columns, int64_t depth, uint32_t *to);
static void head(char *panel, int64_t blocks);
static uint32_t least_of(const char *a, int64_t blocks);
static void tile_run(const struct tile *t);
static void enter(void);
static void leave(void);

static inline int64_t bytes_of(bool bf16) { return bf16 ? 2 : 4; }
static inline int64_t blocks_of(int64_t k) { return (k + ACR_BLOCK - 1) / ACR_BLOCK; }
static inline int64_t panel_bytes(int64_t blocks) { return HEAD + blocks * B_BLOCK; }

/* The lines behind `lines` lines are fetched, unless tiles do that: they are likely to be
 * packed next. */
INLINE void fetch_behind(const char *from, bool bf16, int64_t line, int64_t lines)
{
    UNROLL
    for (int j = FETCHES ? V : 0; j < V; j++)
        fetch_bytes_ahead(from, (acr__min(lines, V) + j) * line * bytes_of(bf16));
}

/* One block of one panel of B. */
INLINE void pack_b_block(const char *from, bool bf16, int64_t b_row, int64_t b_col, int64_t columns, int64_t depth,
                         uint32_t *to)
{
    const int64_t es = bytes_of(bf16);
    UNROLL
    for (int v = 0; v < NR; v += V, columns -= V, from += V * b_col * es) {
        if (columns <= 0) {
            for (int w = 0; w < WORDS; w++)
                w_store(to + w * NR + v, w_of(v_zero()));
        } else if (b_col == 1) {
            int64_t n = acr__min(columns, V);
            for (int w = 0; w < WORDS; w++) {
                if (!FETCHES) {
                    fetch_bytes_ahead(from, LOW(w) * b_row * es + NEXT_LINES);
                    fetch_bytes_ahead(from, HIGH(w) * b_row * es + NEXT_LINES);
                }
                vec low = LOW(w) < depth ? v_load_any(from + LOW(w) * b_row * es, bf16, n) : v_zero();
                vec high = HIGH(w) < depth ? v_load_any(from + HIGH(w) * b_row * es, bf16, n) : v_zero();
                w_store(to + w * NR + v, w_pair(low, high));
            }
        } else {
            pack_b_turned(from, bf16, b_col, columns, depth, to + v);
        }
    }
}

/* The same, without questions where the block is whole. */
INLINE void pack_b_as(bool bf16, const char *from, int64_t b_row, int64_t b_col, int64_t columns, int64_t depth,
                      uint32_t *to)
{
    if (columns >= NR && depth == ACR_BLOCK)
        pack_b_block(from, bf16, b_row, b_col, NR, ACR_BLOCK, to);
    else
        pack_b_block(from, bf16, b_row, b_col, columns, depth, to);
}

static void pack_b_float(const char *from, int64_t b_row, int64_t b_col, int64_t columns, int64_t depth, uint32_t *to)
{
    pack_b_as(false, from, b_row, b_col, columns, depth, to);
}

static void pack_b_bf16(const char *from, int64_t b_row, int64_t b_col, int64_t columns, int64_t depth, uint32_t *to)
{
    pack_b_as(true, from, b_row, b_col, columns, depth, to);
}

/* The depths of a block of the product. */
struct block {
    int64_t p, depth;
};

/* Columns [0, n) by the blocks given into panels at `out`. */
static void pack_panels(int64_t n, const struct block *block, int64_t blocks, const char *b, bool bf16, int64_t b_row,
                        int64_t b_col, char *out)
{
    const int64_t es = bytes_of(bf16);
    for (int64_t j = 0; j < n; j += NR, out += panel_bytes(blocks)) {
        for (int64_t i = 0; i < blocks; i++)
            (bf16 ? pack_b_bf16 : pack_b_float)(b + (block[i].p * b_row + j * b_col) * es, b_row, b_col, n - j,
                                                block[i].depth, (uint32_t *)(void *)(out + HEAD + i * B_BLOCK));
        head(out, blocks);
    }
}

size_t ISA_NAME(packed_bf16)(int64_t n, int64_t k) { return (size_t)(panels_of(n) * panel_bytes(blocks_of(k))); }

void ISA_NAME(pack_b_bf16)(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, bool b_bf16, void *out)
{
    const int64_t es = bytes_of(b_bf16), whole = panel_bytes(blocks_of(k));
    for (int64_t j = 0; j < n; j += NR) {
        char *panel = (char *)out + j / NR * whole;
        for (int64_t p = 0; p < k; p += ACR_BLOCK)
            (b_bf16 ? pack_b_bf16 : pack_b_float)((const char *)b + (p * b_row + j * b_col) * es, b_row, b_col, n - j,
                                                  acr__min(k - p, ACR_BLOCK),
                                                  (uint32_t *)(void *)(panel + HEAD + p / ACR_BLOCK * B_BLOCK));
        head(panel, blocks_of(k));
    }
}

void ISA_NAME(round_bf16)(int64_t n, const void *x, void *out)
{
    const float *from = x;
    uint16_t *to = out, part[V];
    int64_t i = 0;
    for (; i + V <= n; i += V)
        v_store_bf16(to + i, v_round(v_load(from + i)));
    if (i < n) {
        v_store_bf16(part, v_round(v_load_first(v_first(n - i), from + i)));
        memcpy(to + i, part, (size_t)(n - i) * sizeof *to);
    }
}

/* Stores to lines that are not there yet would hold up all that come after them.
 * The addresses may lie past the end of C: they are integers. */
INLINE void fetch_next(const struct tile *t)
{
    for (int64_t i = 0; i < t->rows; i++)
        for (int v = 0; v < NR; v += 16)
            fetch_to_write(t->c_next, (i * t->c_row + v) * (int64_t)sizeof(float));
}

/* The row tile that `whole` is against `panels` panels from column j on of n; the tile
 * of C that comes next is c_next. */
INLINE void tile_at(struct tile *t, const struct tile *whole, int64_t j, int64_t n, int64_t panels, float *c_next)
{
    t->columns = acr__min(n - j, panels * NR);
    t->c = whole->c + j;
    t->b = whole->b + j / NR * t->b_panel;
    t->b_head = whole->b_head + j / NR * t->b_panel;
    t->row = whole->row ? whole->row + j : NULL;
    t->c_next = c_next;
    fetch_next(t);
    tile_run(t);
}

/* The row tile t against all n columns of the block of B. */
static void row_tile(struct tile *t, int64_t n)
{
    const struct tile whole = *t;
    const bool pairs = t->rows <= TWO_ROWS;
    const int64_t all = panels_of(n);
    for (int64_t j = 0, next, done = 0, panels; done < all; j = next, done += panels) {
        panels = pairs && all - j > 1 ? 2 : 1;
        next = next_panel(j, pairs ? panels : t->step, all);
        tile_at(t, &whole, j * NR, n, panels, whole.c + (done + panels < all ? next * NR : t->rows * t->c_row));
    }
    *t = whole;
}

/* C as the tile finds it, columns past its last +0. */
INLINE void tile_in(const struct tile *t, float *acc, int64_t width)
{
    for (int64_t i = 0; i < t->rows; i++) {
        const float *from = t->start == ACR_START_ROW ? t->row : t->c + i * t->c_row;
        float *to = acc + i * width;
        for (int64_t v = 0; v < width; v += V) {
            int64_t n = acr__min(t->columns - v, V);
            vec x = t->start == ACR_START_ZERO || n <= 0 ? v_zero() : v_load_any(from + v, false, n);
            v_store(to + v, v_flush(x));
        }
    }
}

INLINE void tile_out(const struct tile *t, const float *acc, int64_t width)
{
    for (int64_t i = 0; i < t->rows; i++)
        for (int64_t v = 0; v < t->columns; v += V) {
            vec x = v_load(acc + i * width + v);
            if (t->columns - v >= V)
                v_store(t->c + i * t->c_row + v, x);
            else
                v_store_first(v_first(t->columns - v), t->c + i * t->c_row + v, x);
        }
}

/* The blocks of a slab, from depth p on; returns how many. */
static int64_t slab_blocks(const acr_gemm *g, int64_t p, int64_t *cut, struct block out[SLAB])
{
    int64_t n = 0;
    for (int64_t end; n < SLAB && p < g->k; p = end) {
        end = acr__block_end(g, p, cut);
        out[n++] = (struct block){p, end - p};
    }
    return n;
}

/* Of the next of `tiles` row tiles that `left` rows are left for. */
static int64_t tile_rows(int64_t left, int64_t tiles)
{
    return acr__min(acr__round_up((left + tiles - 1) / tiles, ROW_UNIT), left);
}

/* Rows of A that are packed together, and the row tiles from them to the product's end. */
struct rows {
    int64_t first, end, tiles;
};

/* Those that follow; none if first == end. */
static struct rows next_rows(const acr_gemm *g, struct rows r)
{
    while (r.first < r.end)
        r.first += tile_rows(g->m - r.first, r.tiles--);
    for (int64_t k = 0; k < PACKED && r.end < g->m; k++)
        r.end += tile_rows(g->m - r.end, r.tiles - k);
    return r;
}

static const char *a_at(const acr_gemm *g, int64_t row, int64_t depth)
{
    return (const char *)g->a + (row * g->a_row + depth * g->a_col) * bytes_of(g->a_bf16);
}

static const char *b_at(const acr_gemm *g, int64_t depth, int64_t column)
{
    return (const char *)g->b + (depth * g->b_row + column * g->b_col) * bytes_of(g->b_bf16);
}

/* The rows that follow r. */
static struct ahead a_ahead(const acr_gemm *g, struct rows r, const struct block *block, int64_t blocks)
{
    const int64_t es = bytes_of(g->a_bf16), first = block[0].p;
    const int64_t depth = block[blocks - 1].p + block[blocks - 1].depth - first;
    r = next_rows(g, r);
    const char *from = a_at(g, r.first, first);
    return g->a_col == 1 ? ahead_of(from, r.end - r.first, g->a_row * es, depth * es)
                         : ahead_of(from, depth, g->a_col * es, (r.end - r.first) * es);
}

/* The panel of B from column j on; as deep as a slab. */
static struct ahead b_ahead(const acr_gemm *g, int64_t j, int64_t p)
{
    const int64_t es = bytes_of(g->b_bf16), n = acr__min(g->n - j, NR), depth = acr__min(g->k - p, SLAB * ACR_BLOCK);
    return g->b_col == 1 ? ahead_of(b_at(g, p, j), depth, g->b_row * es, n * es)
                         : ahead_of(b_at(g, p, j), n, g->b_col * es, depth * es);
}

/* Aims t at the row tile from row i on, the first of `tiles`, and at column j. */
static void aim_rows(const acr_gemm *g, struct tile *t, const struct rows *r, int64_t i, int64_t tiles, int64_t j)
{
    t->rows = tile_rows(g->m - i, tiles);
    t->a = (const char *)g->scratch + (i - r->first) * A_ROW;
    t->c = (float *)g->c + i * g->c_row + j;
}

/* Packs a block of B panel by panel. The rows of A packed first take each panel at once
 * and fetch the next one's numbers meanwhile, behind the last one `after`. Waiting for
 * them would take a tenth of a product of 256 rows. */
static void pack_and_multiply(const acr_gemm *g, struct tile *t, int64_t j, int64_t n, const struct block *block,
                              const struct rows *r, struct ahead after, char *to)
{
    const int64_t panels = panels_of(n);
    for (int64_t k = 0, v = 0, next; k < panels; k++, v = next) {
        const bool last = k + 1 == panels;
        next = next_panel(v / NR, t->step, panels) * NR;
        pack_panels(acr__min(n - v, NR), block, t->blocks, b_at(g, 0, j + v), g->b_bf16, g->b_row, g->b_col,
                    to + v / NR * t->b_panel);
        *t->ahead = last ? after : b_ahead(g, j + next, block[0].p);
        for (int64_t i = r->first, tiles = r->tiles; i < r->end; i += t->rows, tiles--) {
            aim_rows(g, t, r, i, tiles, j);
            struct tile at = *t;
            tile_at(&at, t, v, n, 1, last ? t->c + t->rows * t->c_row : t->c + next);
        }
    }
}

/* Columns [j, j + n), the blocks given: the block of B, then each row tile. What is
 * packed next is `after`. */
static void slab_product(const acr_gemm *g, struct tile *t, int64_t j, int64_t n, const struct block *block,
                         struct ahead after)
{
    const int64_t whole = panel_bytes(blocks_of(g->k));
    char *to_b = (char *)g->scratch + SLAB * A_BLOCK;
    t->row = g->row ? (const float *)g->row + j : NULL;
    t->b_head = g->packed ? (const char *)g->packed + j / NR * whole : to_b;
    t->b = t->b_head + HEAD + (g->packed ? block[0].p / ACR_BLOCK * B_BLOCK : 0);
    t->b_panel = g->packed ? whole : panel_bytes(t->blocks);
    if (!g->packed && !FETCHES)
        pack_panels(n, block, t->blocks, b_at(g, 0, j), g->b_bf16, g->b_row, g->b_col, to_b);
    for (struct rows r = next_rows(g, (struct rows){0, 0, (g->m + ROWS - 1) / ROWS}); r.first < r.end;
         r = next_rows(g, r)) {
        pack_a(a_at(g, r.first, 0), g->a_bf16, g->a_row, g->a_col, r.end - r.first, t->blocks, block, g->scratch);
        t->a_least = least_of(g->scratch, t->blocks);
        const struct ahead then = FETCHES && r.end < g->m ? a_ahead(g, r, block, t->blocks) : after;
        if (r.first == 0 && !g->packed && FETCHES) {
            pack_and_multiply(g, t, j, n, block, &r, then, to_b);
            continue;
        }
        *t->ahead = then;
        for (int64_t i = r.first, tiles = r.tiles; i < r.end; i += t->rows, tiles--) {
            aim_rows(g, t, &r, i, tiles, j);
            row_tile(t, n);
        }
    }
}

static ACR_APART void product(const acr_gemm *g)
{
    struct ahead ahead = {0};
    struct tile t = {.c_row = g->c_row, .ahead = &ahead};
    const int64_t most = g->packed ? g->m <= ROWS ? g->n : STREAMED : COLUMNS;
    /* C is taken up again and again; with two slabs and some blocks of columns ascending
     * panels are faster all the same. */
    const bool again = !g->packed && g->k > (g->n > COLUMNS ? 2 : 1) * SLAB * ACR_BLOCK;
    for (int64_t j = 0, n; j < g->n; j += n) {
        n = acr__min(g->n - j, most);
        t.step = again ? panel_step(panels_of(n)) : 1;
        int64_t cut = 0;
        struct block block[SLAB];
        t.start = g->start;
        for (int64_t p = 0, end; p < g->k; p = end) {
            t.blocks = slab_blocks(g, p, &cut, block);
            end = block[t.blocks - 1].p + block[t.blocks - 1].depth;
            struct ahead after = {0};
            if (FETCHES && !g->packed && (end < g->k || j + n < g->n))
                after = end < g->k ? b_ahead(g, j, end) : b_ahead(g, j + n, 0);
            slab_product(g, &t, j, n, block, after);
            t.start = ACR_START_C;
        }
    }
}

/* A product of no depth: C is what it starts from. */
static void start_alone(const acr_gemm *g)
{
    for (int64_t i = 0; g->start != ACR_START_C && i < g->m; i++) {
        float *c = (float *)g->c + i * g->c_row;
        if (g->start == ACR_START_ROW)
            memcpy(c, g->row, (size_t)g->n * sizeof *c);
        else
            memset(c, 0, (size_t)g->n * sizeof *c);
    }
}

void ISA_NAME(gemm_bf16)(const acr_gemm *g)
{
    if (g->m <= 0 || g->n <= 0)
        return;
    if (g->k <= 0) {
        start_alone(g);
        return;
    }
    acr__fp before = acr__flush_enter();
    enter();
    product(g);
    leave();
    acr__flush_leave(before);
}

#endif
