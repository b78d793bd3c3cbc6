/* gemm_tile.h: the inner kernels: a tile of C in registers over a run of depths.
 *
 * Invariant: every element of the tile is its own chain, one fma per depth in
 * ascending order, from what the start says; lanes and registers never meet.
 *
 * The rows of A are read by broadcast through two strides, so one kernel serves
 * A as it lies (either way round) and A packed. Packing, blocking and the choice
 * of a tile are gemm_f32.c's. */
#ifndef ACR_GEMM_TILE_H
#define ACR_GEMM_TILE_H

#include "kernel/cpu/ahead.h"
#include "kernel/kernel.h"

struct tile {
    int64_t k;
    const float *a;
    int64_t a_row, a_col;
    const float *b;
    int64_t b_row;   /* from one depth to the next */
    int64_t b_panel; /* from one panel to the next, where the tile has several */
    int64_t step;    /* panels from one to the one that is taken next: panel_step */
    float *c;
    int64_t c_row;
    const float *c_next; /* the tile that comes next, fetched ahead */
    struct ahead *ahead; /* what is packed next, fetched if A and B are packed */
    enum acr_start start;
    const float *row;
    vmask last; /* masked tiles: the lanes of the last vector */
};

/* Depths of B fetched ahead of their use; a single row is bound by loads already
 * and fetches nothing. */
enum { AHEAD = 16 };

INLINE void fetch_ahead(const float *p, int64_t floats) { fetch_bytes_ahead(p, floats * (int64_t)sizeof(float)); }

INLINE vec load_lanes(bool masked, vmask m, const float *p)
{
    return masked ? v_load_first(m, p) : v_load(p);
}

INLINE void tile_start(int rows, int width, bool masked, const struct tile *t, vec acc[MR][2 * NV])
{
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < width; v++) {
            bool part = masked && v == width - 1;
            if (t->start == ACR_START_C)
                acc[i][v] = load_lanes(part, t->last, t->c + i * t->c_row + v * V);
            else if (t->start == ACR_START_ROW)
                acc[i][v] = load_lanes(part, t->last, t->row + v * V);
            else
                acc[i][v] = v_zero();
        }
    }
}

/* A row of the tile of C that comes next, as long as there are some. */
INLINE void fetch_c(int width, const float **c, int64_t c_row, int *rows)
{
    if (*rows <= 0)
        return;
    UNROLL
    for (int v = 0; v < width; v += 16 / V)
        fetch_to_write(*c, v * V * (int64_t)sizeof(float));
    *c += c_row;
    --*rows;
}

/* Where a tile reads its rows of A: three at a time share a register. */
enum { STEP = 3 };
typedef const float *tile_rows[(MR + STEP - 1) / STEP];

/* One depth. Few rows keep A in registers and take B from memory; many rows the other
 * way round. */
INLINE void tile_depth(int rows, int width, bool masked, vmask last, tile_rows a, int64_t a_row, const float *b,
                       int64_t b_panel, vec acc[MR][2 * NV])
{
    if (width > rows) {
        vec x[MR];
        UNROLL
        for (int i = 0; i < rows; i++)
            x[i] = v_splat(a[i / STEP] + i % STEP * a_row);
        UNROLL
        for (int v = 0; v < width; v++) {
            vec y = load_lanes(masked && v == width - 1, last, b + v / NV * b_panel + v % NV * V);
            if (rows > 1)
                y = v_keep(y);
            UNROLL
            for (int i = 0; i < rows; i++)
                acc[i][v] = v_fma(x[i], y, acc[i][v]);
        }
    } else {
        vec y[2 * NV];
        UNROLL
        for (int v = 0; v < width; v++)
            y[v] = load_lanes(masked && v == width - 1, last, b + v / NV * b_panel + v % NV * V);
        UNROLL
        for (int i = 0; i < rows; i++) {
            vec x = v_splat(a[i / STEP] + i % STEP * a_row);
            UNROLL
            for (int v = 0; v < width; v++)
                acc[i][v] = v_fma(x, y[v], acc[i][v]);
        }
    }
}

/* As long as there are DEPTHS depths more, with A and B both packed, so that the
 * compiler knows all strides: beside multiply-adds and loads a depth then costs next to
 * nothing. Where another thread uses the same core, instructions are what is scarce
 * (Zen 3: 72% of the peak with all of them, 85% so). Moves *a and *b on and returns how
 * many depths are left. */
INLINE int64_t tile_depths(int rows, int width, const struct tile *t, const float **a, const float **b,
                           vec acc[MR][2 * NV])
{
    const float *c_next = t->c_next, *from_a = *a, *from_b = *b;
    const int64_t c_row = t->c_row;
    int next_rows = rows;
    struct ahead ahead = LINES > 0 ? *t->ahead : (struct ahead){0};
    for (int64_t groups = t->k / DEPTHS; groups > 0; groups--) {
        if (LINES == 0 || next_rows > 0)
            fetch_c(width, &c_next, c_row, &next_rows);
        else
            fetch_lines(&ahead, LINES);
        UNROLL
        for (int d = 0; d < DEPTHS; d++) {
            vec y[NV];
            UNROLL
            for (int v = 0; FETCH_PACKED && v < width; v += 16 / V)
                fetch_ahead(from_b + v * V, (AHEAD + d) * NR);
            UNROLL
            for (int v = 0; v < width; v++)
                y[v] = v_load(from_b + d * NR + v * V);
            UNROLL
            for (int i = 0; i < rows; i++) {
                vec x = v_splat(from_a + d * AS + i);
                UNROLL
                for (int v = 0; v < width; v++)
                    acc[i][v] = v_fma_in_place(x, y[v], acc[i][v]);
            }
        }
        from_a += DEPTHS * AS;
        from_b += DEPTHS * NR;
    }
    if (LINES > 0)
        *t->ahead = ahead;
    *a = from_a;
    *b = from_b;
    return t->k % DEPTHS;
}

/* rows x width vectors, constants where it is inlined. */
INLINE void tile_run(int rows, int width, bool masked, const struct tile *t)
{
    vec acc[MR][2 * NV];
    tile_rows a;
    const float *b = t->b;
    const int64_t a_row = t->a_row, a_col = t->a_col, b_row = t->b_row, b_panel = t->b_panel;
    const int64_t c_row = t->c_row;
    const float *c_next = t->c_next;
    int next_rows = rows;
    const vmask last = t->last;
    float *const c = t->c;
    int64_t p = t->k;
    tile_start(rows, width, masked, t, acc);
    const float *from = t->a;
    if (rows > TWO_MAX && width == NV && !masked && b_row == NR && a_row == 1 && a_col == AS) {
        p = tile_depths(rows, width, t, &from, &b, acc);
        next_rows = 0;
    }
    UNROLL
    for (int i = 0; i < rows; i += STEP)
        a[i / STEP] = from + i * a_row;
    for (; p > 0; p--) {
        UNROLL
        for (int v = masked ? width : 0; rows > 1 && v < width; v += 16 / V)
            fetch_ahead(b + v / NV * b_panel + v % NV * V, AHEAD * b_row);
        if (!masked)
            fetch_c(width, &c_next, c_row, &next_rows);
        tile_depth(rows, width, masked, last, a, a_row, b, b_panel, acc);
        UNROLL
        for (int i = 0; i < rows; i += STEP)
            a[i / STEP] += a_col;
        b += b_row;
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < width - masked; v++)
            v_store(c + i * c_row + v * V, acc[i][v]);
    }
    if (masked) {
        vec part[MR];
        UNROLL
        for (int i = 0; i < rows; i++)
            part[i] = acc[i][width - 1];
        v_store_rows_first(last, rows, c + (width - 1) * V, c_row, part);
    }
}

typedef void tile_fn(const struct tile *t);

#define TILE_NAME(rows, width, kind) tile_##rows##x##width##kind
#define TILE(rows, width, kind, vectors, masked) \
    static void TILE_NAME(rows, width, kind)(const struct tile *t) { tile_run(rows, vectors, masked, t); }
#define TILE_ONE(rows) TILE(rows, 1, panel, NV, false)
#define TILE_TWO(rows) TILE(rows, 2, panel, 2 * NV, false)
#define TILE_PART_1(rows) TILE(rows, 1, part, 1, true)
#define TILE_PART_2(rows) TILE(rows, 2, part, 2, true)
#define TILE_PART_3(rows) TILE(rows, 3, part, 3, true)
#define TILE_PART_4(rows) TILE(rows, 4, part, 4, true)
#define TILE_PARTS(width) ROWS_ALL(TILE_PART_##width)
ROWS_ALL(TILE_ONE)
ROWS_TWO(TILE_TWO)
WIDTHS(TILE_PARTS)

#define ENTRY_ONE(rows) [rows] = TILE_NAME(rows, 1, panel),
#define ENTRY_TWO(rows) [rows] = TILE_NAME(rows, 2, panel),
#define ENTRY_PART_1(rows) [rows] = TILE_NAME(rows, 1, part),
#define ENTRY_PART_2(rows) [rows] = TILE_NAME(rows, 2, part),
#define ENTRY_PART_3(rows) [rows] = TILE_NAME(rows, 3, part),
#define ENTRY_PART_4(rows) [rows] = TILE_NAME(rows, 4, part),
#define ENTRY_PARTS(width) [width] = {ROWS_ALL(ENTRY_PART_##width)},
static tile_fn *const tile_one[MR + 1] = {ROWS_ALL(ENTRY_ONE)};
static tile_fn *const tile_two[TWO_MAX + 1] = {ROWS_TWO(ENTRY_TWO)};
static tile_fn *const tile_part[NV + 1][MR + 1] = {WIDTHS(ENTRY_PARTS)};

#endif
