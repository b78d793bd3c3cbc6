/* gemm_f32.c: fp32 matrix products by rule 1, and packing for them. Compiled once
 * per instruction set.
 *
 * Invariant: an element of C is one chain of fma over the depth in ascending
 * order. Blocking over the depth stores C and starts again from it, which rounds
 * nothing; the depth is never padded. Lanes past the last column of a packed
 * panel hold +0 and belong to no stored element.
 *
 * Three ways, all with the same tiles (gemm_tile.h):
 *   at most one tile in each direction: one call, no blocking;
 *   at most one tile of rows: B is read once, so it is used where it lies if its
 *     columns are adjacent, and several panels go at once to keep enough chains
 *     in flight;
 *   more rows: the depth is cut so that a block of one panel of B stays in L1
 *     while the row tiles, packed too, pass by.
 *
 * It deliberately knows nothing of threads: callers split rows or columns. */
#include "kernel/cpu/gemm_f32.h"

#include "base/base.h"
#include "kernel/cpu/gemm_tile.h"

_Static_assert((int)ACR__GEMM_PANEL == (int)NR, "gemm_f32.h and gemm_vec.h disagree about the panel");
_Static_assert((int)ACR__GEMM_SCRATCH == (int)sizeof(float) * DEPTH * (TILES * AS + NR),
               "gemm_f32.h and gemm_vec.h disagree about the scratch");

/* Floats of A a row tile may touch per block before they leave L1. */
enum { TILE_FLOATS = 8192 };

/* `lanes` lines of `depth` elements (line j at src + j*line, elements `step`
 * apart) become out[depth][width], lanes past the last line +0. width is a
 * multiple of V; out is written whole. */
static void pack(int width, int64_t lanes, int64_t depth, const float *src, int64_t line, int64_t step, float *out)
{
    for (int v = 0; v < width; v += V, lanes -= V, src += V * line, out += V) {
        if (lanes <= 0) {
            for (int64_t p = 0; p < depth; p++)
                v_store(out + p * width, v_zero());
        } else if (line == 1) {
            vmask first = v_first(acr__min(lanes, V));
            for (int64_t p = 0; p < depth; p++)
                v_store(out + p * width, lanes >= V ? v_load(src + p * step) : v_load_first(first, src + p * step));
        } else {
            for (int64_t p = 0; p < depth; p += V) {
                vec r[V];
                int64_t deep = acr__min(depth - p, V);
                vmask first = v_first(deep);
                UNROLL
                for (int j = 0; j < V; j++)
                    r[j] = j >= lanes ? v_zero() : deep == V ? v_load(src + j * line + p) : v_load_first(first, src + j * line + p);
                v_transpose(r);
                UNROLL
                for (int j = 0; j < V; j++)
                    if (j < deep)
                        v_store(out + (p + j) * width, r[j]);
            }
        }
    }
}

void acr__pack_b_f32(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, void *out)
{
    const float *src = b;
    float *to = out;
    for (int64_t j = 0; j < n; j += NR)
        pack(NR, n - j, k, src + j * b_col, b_col, b_row, to + j * k);
}

/* The tile of `rows` rows at t, `cols` columns of one panel at most. */
static inline void run_panel(struct tile *t, int64_t rows, int64_t cols)
{
    if (cols >= NR) {
        tile_one[rows](t);
    } else {
        int64_t width = (cols + V - 1) / V;
        t->last = v_first(cols - (width - 1) * V);
        tile_part[width][rows](t);
    }
}

/* Row tiles as even as can be: rows [tile_at(i), tile_at(i + 1)). */
static inline int64_t tile_at(int64_t m, int64_t tiles, int64_t i)
{
    return m / tiles * i + acr__min(i, m % tiles);
}

/* Where the block of B begins that covers columns from j and depths from p. */
static const float *place_b(const acr_gemm *g, struct tile *t, int64_t j, int64_t cols, int64_t p, int64_t depth, float *to)
{
    if (g->packed) {
        t->b_row = NR;
        t->b_panel = NR * g->k;
        return (const float *)g->packed + j * g->k + p * NR;
    }
    const float *b = (const float *)g->b + j * g->b_col + p * g->b_row;
    if (to == NULL) {
        t->b_row = g->b_row;
        t->b_panel = NR;
        return b;
    }
    for (int64_t q = 0; q < cols; q += NR)
        pack(NR, cols - q, depth, b + q * g->b_col, g->b_col, g->b_row, to + q * depth);
    t->b_row = NR;
    t->b_panel = NR * depth;
    return to;
}

/* m <= MR: every element of B is used once. */
static void one_row_tile(const acr_gemm *g, struct tile *t)
{
    bool lies = g->packed != NULL || g->b_col == 1;
    int64_t most = lies ? acr__max(TILE_FLOATS / g->m, DEPTH) : DEPTH;
    int64_t blocks = acr__max((g->k + most - 1) / most, 1);
    for (int64_t s = 0; s < blocks; s++) {
        int64_t p = tile_at(g->k, blocks, s), panels;
        t->k = tile_at(g->k, blocks, s + 1) - p;
        t->a = (const float *)g->a + p * g->a_col;
        if (s > 0)
            t->start = ACR_START_C;
        for (int64_t j = 0; j < g->n; j += panels * NR) {
            int64_t left = g->n - j;
            panels = g->m <= FOUR_MAX && left >= 4 * NR ? 4 : g->m <= TWO_MAX && left >= 2 * NR ? 2 : 1;
            t->b = place_b(g, t, j, acr__min(left, panels * NR), p, t->k, lies ? NULL : g->scratch);
            t->c = (float *)g->c + j;
            t->c_next = t->c + (left > panels * NR ? panels * NR : 0);
            t->row = g->row ? (const float *)g->row + j : NULL;
            if (panels == 4)
                tile_four[g->m](t);
            else if (panels == 2)
                tile_two[g->m](t);
            else
                run_panel(t, g->m, left);
        }
    }
}

/* Columns [j, j + NR) of row tiles [first, last), against one block of B. */
static void panel_of_tiles(const acr_gemm *g, struct tile *t, int64_t tiles, int64_t first, int64_t last, int64_t j,
                           const float *packed_a)
{
    const float *a = t->a;
    for (int64_t i = first; i < last; i++) {
        int64_t row = tile_at(g->m, tiles, i), rows = tile_at(g->m, tiles, i + 1) - row;
        t->a = packed_a ? packed_a + (i - first) * t->k * AS : a + row * g->a_row;
        t->c = (float *)g->c + row * g->c_row + j;
        t->c_next = i + 1 < last ? t->c + rows * g->c_row : t->c;
        run_panel(t, rows, g->n - j);
    }
    t->a = a;
}

/* m > MR. */
static void many_row_tiles(const acr_gemm *g, struct tile *t)
{
    int64_t tiles = (g->m + MR - 1) / MR;
    int64_t groups = (tiles + TILES - 1) / TILES;
    int64_t blocks = acr__max((g->k + DEPTH - 1) / DEPTH, 1);
    bool pack_a = g->n > NR;
    float *to_b = g->scratch, *to_a = to_b + DEPTH * NR;
    if (pack_a) {
        t->a_row = 1;
        t->a_col = AS;
    }
    for (int64_t s = 0; s < blocks; s++) {
        int64_t p = tile_at(g->k, blocks, s);
        t->k = tile_at(g->k, blocks, s + 1) - p;
        t->a = (const float *)g->a + p * g->a_col;
        if (s > 0)
            t->start = ACR_START_C;
        for (int64_t group = 0; group < groups; group++) {
            int64_t first = tile_at(tiles, groups, group), last = tile_at(tiles, groups, group + 1);
            for (int64_t i = first; pack_a && i < last; i++) {
                int64_t row = tile_at(g->m, tiles, i), rows = tile_at(g->m, tiles, i + 1) - row;
                pack(AS, rows, t->k, t->a + row * g->a_row, g->a_row, g->a_col, to_a + (i - first) * t->k * AS);
            }
            for (int64_t j = 0; j < g->n; j += NR) {
                t->b = place_b(g, t, j, acr__min(g->n - j, NR), p, t->k, to_b);
                t->row = g->row ? (const float *)g->row + j : NULL;
                panel_of_tiles(g, t, tiles, first, last, j, pack_a ? to_a : NULL);
            }
        }
    }
}

void acr__gemm_f32(const acr_gemm *g)
{
    if (g->m <= 0 || g->n <= 0)
        return;
    struct tile t;
    t.a_row = g->a_row;
    t.a_col = g->a_col;
    t.c_row = g->c_row;
    t.start = g->start;
    if (g->m <= MR)
        one_row_tile(g, &t);
    else
        many_row_tiles(g, &t);
}
