/* gemm_bf16_dot.c: products by rule 2 with instructions that take bf16. Compiled for
 * avx512_bf16 and for amx.
 *
 * VDPBF16PS adds to each lane the product of the high halves, then that of the low
 * halves, each by one fma that flushes whatever MXCSR holds. So a word holds two
 * places of one chain, the earlier one high, and e and o have words of their own; the
 * adds e + o and C + (e + o) are ordinary ones under FTZ and DAZ.
 *
 * TDPBF16PS is a whole block of rule 2 for a tile of C: chains from +0 over the low
 * and over the high halves of its 16 words, their sum, and that added to C, flushing
 * all the way. So tiles of C stay in their registers from block to block. Starting
 * each block in a tile of zeros and adding outside would turn a sum of -0 into +0.
 *
 * A is packed as [row][16] words a block, which is what one broadcasts from and the
 * other loads; for tiles of 6 rows eight tiles at a time, since a weight gradient's rows
 * are adjacent and fill vectors only so. */
#if defined(ACR_ISA_AVX512_BF16)
#include "kernel/cpu/gemm_bf16.h"

#include "kernel/cpu/bf16_vec.h"

#define ISA_NAME(name) ACR__GEMM_PASTE(acr__##name, ACR_ISA)
#define A_BLOCK        ACR__GEMM_PASTE(ACR__BF16_A_BLOCK, ACR_ISA)
#define COLUMNS        ACR__GEMM_PASTE(ACR__BF16_COLUMNS, ACR_ISA)
#if defined(ACR_ISA_AMX)
#define LOW(w)  (2 * (w))
#define HIGH(w) (2 * (w) + 1)
enum { ROWS = 32, ROW_UNIT = 16, PACKED = 1, A_ROW = 64, FETCHES = 0, TWO_ROWS = 0, HEAD = 0 };
#else
#define HIGH(w) (4 * ((w) % 8) + (w) / 8)
#define LOW(w)  (HIGH(w) + 2)
enum { ROWS = 6, ROW_UNIT = 1, PACKED = 8, A_ROW = 64, FETCHES = 1, TWO_ROWS = 3, HEAD = 0 };
enum { LINES_A_BLOCK = 8 }; /* that a tile fetches: a panel of B in eight tiles */
#endif
#include "kernel/cpu/gemm_bf16_drive.h"

_Static_assert((int)ACR__GEMM_PANEL_avx512 == (int)NR, "the panels of rules 1 and 2 are the same");
_Static_assert((int)A_BLOCK >= PACKED * ROWS * A_ROW && (int)A_ROW == WORDS * 4,
               "gemm_bf16.h and this file disagree about packed rows");

static void head(char *panel, int64_t blocks) { (void)panel, (void)blocks; }
static uint32_t least_of(const char *a, int64_t blocks) { return (void)a, (void)blocks, 0; }

/* A row's 32 places in the order of its 16 words. */
INLINE words row_words(words places)
{
#define BOTH(w) LOW(w), HIGH(w)
    static const uint16_t order[ACR_BLOCK] = {BOTH(0),  BOTH(1),  BOTH(2),  BOTH(3),  BOTH(4),  BOTH(5),
                                              BOTH(6),  BOTH(7),  BOTH(8),  BOTH(9),  BOTH(10), BOTH(11),
                                              BOTH(12), BOTH(13), BOTH(14), BOTH(15)};
#undef BOTH
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(order), places);
}

/* The same from memory, `depth` places of it, the others +0. What is in bf16 has been
 * rounded; whole rows of it are taken as they are. */
INLINE words load_row(const char *from, bool bf16, int64_t depth)
{
    if (bf16 && depth == ACR_BLOCK)
        return row_words(_mm512_loadu_si512(from));
    vec first = v_load_any(from, bf16, acr__min(depth, V));
    vec second = depth > V ? v_load_any(from + V * bytes_of(bf16), bf16, depth - V) : v_zero();
    return row_words((words)_mm512_cvtne2ps_pbh(second, first));
}

/* A block of a panel of B whose depths are adjacent: V columns as rows of words, turned. */
INLINE void pack_b_turned(const char *from, bool bf16, int64_t b_col, int64_t columns, int64_t depth, uint32_t *to)
{
    vec r[V];
    fetch_behind(from, bf16, b_col, columns);
    if (!bf16)
        fetch_behind(from + 64, bf16, b_col, columns);
    UNROLL
    for (int j = 0; j < V; j++)
        r[j] = j < columns ? v_of_words(load_row(from + j * b_col * bytes_of(bf16), bf16, depth)) : v_zero();
    v_transpose(r);
    UNROLL
    for (int w = 0; w < WORDS; w++)
        w_store(to + w * NR, w_of(r[w]));
}

/* Rows whose depths are adjacent: each to its end, while the next one is fetched. */
INLINE void pack_rows(bool bf16, const char *from, int64_t a_row, int64_t rows, int64_t blocks,
                      const struct block *block, char *to)
{
    const int64_t es = bytes_of(bf16);
    for (int64_t i = 0; i < rows; i++, from += a_row * es, to += A_ROW) {
        for (int64_t s = 0; s < blocks; s++) {
            const char *at = from + block[s].p * es;
            fetch_bytes_ahead(at, a_row * es);
            if (!bf16)
                fetch_bytes_ahead(at, a_row * es + 64);
            uint32_t *out = (uint32_t *)(void *)(to + s * A_BLOCK);
            if (block[s].depth == ACR_BLOCK) /* without questions */
                w_store(out, load_row(at, bf16, ACR_BLOCK));
            else
                w_store(out, load_row(at, bf16, block[s].depth));
        }
    }
}

/* A block of n rows that are adjacent, n <= V. */
INLINE void pack_column_block(bool bf16, const char *row, int64_t a_col, int64_t n, int64_t depth, char *to)
{
    const int64_t es = bytes_of(bf16);
    vec r[V];
    UNROLL
    for (int w = 0; w < WORDS; w++) {
        vec low = LOW(w) < depth ? v_load_any(row + LOW(w) * a_col * es, bf16, n) : v_zero();
        vec high = HIGH(w) < depth ? v_load_any(row + HIGH(w) * a_col * es, bf16, n) : v_zero();
        r[w] = v_of_words(w_pair(low, high));
    }
    v_transpose(r);
    UNROLL
    for (int k = 0; k < V; k++)
        if (k < n)
            w_store((uint32_t *)(void *)(to + k * A_ROW), w_of(r[k]));
}

/* Any number of them; whole blocks without questions. */
INLINE void pack_columns(bool bf16, const char *from, int64_t a_col, int64_t rows, int64_t depth, char *to)
{
    for (int64_t i = 0; i < rows; i += V, from += V * bytes_of(bf16), to += V * A_ROW)
        if (rows - i >= V && depth == ACR_BLOCK)
            pack_column_block(bf16, from, a_col, V, ACR_BLOCK, to);
        else
            pack_column_block(bf16, from, a_col, acr__min(rows - i, V), depth, to);
}

INLINE void pack_a_as(bool bf16, const char *from, int64_t a_row, int64_t a_col, int64_t rows, int64_t blocks,
                      const struct block *block, char *to)
{
    if (a_col == 1 && a_row != 1)
        pack_rows(bf16, from, a_row, rows, blocks, block, to);
    for (int64_t s = 0; s < blocks; s++) {
        if (a_col != 1 || a_row == 1)
            pack_columns(bf16, from + block[s].p * a_col * bytes_of(bf16), a_col, rows, block[s].depth, to + s * A_BLOCK);
        for (int64_t i = rows; i % ROW_UNIT != 0; i++)
            w_store((uint32_t *)(void *)(to + s * A_BLOCK + i * A_ROW), w_of(v_zero()));
    }
}

static void pack_a(const char *from, bool bf16, int64_t a_row, int64_t a_col, int64_t rows, int64_t blocks,
                   const struct block *block, char *to)
{
    if (bf16)
        pack_a_as(true, from, a_row, a_col, rows, blocks, block, to);
    else
        pack_a_as(false, from, a_row, a_col, rows, blocks, block, to);
}

#if defined(ACR_ISA_AMX)

static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16]; /* of a row of each tile */
    uint8_t rows[16];
} config __attribute__((aligned(64))) = {
    .palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

static void enter(void) { _tile_loadconfig(&config); }
static void leave(void) { _tile_release(); }

/* Compilers do not see what a tile is loaded from. */
#define SEEN() __asm__ volatile("" : : : "memory")

/* Tiles 0 and 1 hold 16 rows of a panel, 2 and 3 the 16 below. */
static void tile_blocks(const struct tile *t, float *c, int64_t c_bytes, enum acr_start start)
{
    const bool below = t->rows > 16;
    const float *from = start == ACR_START_ROW ? t->row : c;
    const int64_t from_bytes = start == ACR_START_ROW ? 0 : c_bytes;
    SEEN();
    if (start == ACR_START_ZERO) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, from, from_bytes);
        _tile_loadd(1, from + 16, from_bytes);
        if (below) {
            const float *next = start == ACR_START_ROW ? from : (const float *)((const char *)from + 16 * from_bytes);
            _tile_loadd(2, next, from_bytes);
            _tile_loadd(3, next + 16, from_bytes);
        }
    }
    const char *a = t->a, *b = t->b;
    for (int64_t s = 0; s < t->blocks; s++, a += A_BLOCK, b += B_BLOCK) {
        _tile_loadd(6, b, NR * 4);
        _tile_loadd(7, b + 64, NR * 4);
        _tile_loadd(4, a, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (below) {
            _tile_loadd(5, a + 16 * 64, 64);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(1, c + 16, c_bytes);
    if (below) {
        float *next = (float *)((char *)c + 16 * c_bytes);
        _tile_stored(2, next, c_bytes);
        _tile_stored(3, next + 16, c_bytes);
    }
    SEEN();
}

static void tile_run(const struct tile *t)
{
    if (t->columns == NR && t->rows % 16 == 0) {
        tile_blocks(t, t->c, t->c_row * (int64_t)sizeof(float), t->start);
        return;
    }
    float acc[ROWS * NR] __attribute__((aligned(64)));
    tile_in(t, acc, NR);
    for (int64_t i = t->rows; i % 16 != 0; i++)
        for (int v = 0; v < NR; v += V)
            v_store(acc + i * NR + v, v_zero());
    tile_blocks(t, acc, NR * sizeof(float), ACR_START_C);
    tile_out(t, acc, NR);
}

#else

static void enter(void) {}
static void leave(void) {}

/* C is loaded and stored in every block. A compiler that sees it stay where it is keeps
 * it in registers as well, of which there are too few, and stores it twice: 84% of the
 * peak instead of all of it on Zen 4. So it is told that acc may have moved. */
INLINE void tile_blocks(int rows, int panels, bool fetch, const struct tile *t, float *acc, int64_t row)
{
    const int width = panels * NV;
    const uint32_t *a = (const uint32_t *)(const void *)t->a, *b = (const uint32_t *)(const void *)t->b;
    const int64_t b_panel = t->b_panel / 4;
    struct ahead ahead = fetch ? *t->ahead : (struct ahead){0};
    for (int64_t s = t->blocks; s > 0; s--, a += A_BLOCK / 4, b += WORDS * NR) {
        __asm__("" : "+r"(acc));
        if (fetch)
            fetch_lines(&ahead, LINES_A_BLOCK);
        vec chain[2][ROWS][2 * NV]; /* e, o */
        UNROLL
        for (int odd = 0; odd < 2; odd++) {
            UNROLL
            for (int i = 0; i < rows; i++) {
                UNROLL
                for (int v = 0; v < width; v++)
                    chain[odd][i][v] = v_zero();
            }
        }
        UNROLL
        for (int w = 0; w < WORDS / 2; w++) {
            UNROLL
            for (int odd = 0; odd < 2; odd++) {
                __m512bh y[2 * NV];
                const uint32_t *from = b + (odd * (WORDS / 2) + w) * NR;
                UNROLL
                for (int v = 0; v < width; v++)
                    y[v] = (__m512bh)w_load(from + v / NV * b_panel + v % NV * V);
                UNROLL
                for (int i = 0; i < rows; i++) {
                    __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[i * WORDS + odd * (WORDS / 2) + w]);
                    UNROLL
                    for (int v = 0; v < width; v++)
                        chain[odd][i][v] = _mm512_dpbf16_ps(chain[odd][i][v], x, y[v]);
                }
            }
        }
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < width; v++) {
                float *c = acc + i * row + v * V;
                v_store(c, v_add(v_load(c), v_add(chain[0][i][v], chain[1][i][v])));
            }
        }
    }
    if (fetch)
        *t->ahead = ahead;
}

typedef void tile_fn(const struct tile *t, float *acc, int64_t row);
#define ONE(rows) \
    static void one_##rows(const struct tile *t, float *acc, int64_t row) { tile_blocks(rows, 1, false, t, acc, row); }
#define TWO(rows) \
    static void two_##rows(const struct tile *t, float *acc, int64_t row) { tile_blocks(rows, 2, false, t, acc, row); }
#define AHEAD(rows) \
    static void ahead_##rows(const struct tile *t, float *acc, int64_t row) { tile_blocks(rows, 1, true, t, acc, row); }
ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6)
AHEAD(1) AHEAD(2) AHEAD(3) AHEAD(4) AHEAD(5) AHEAD(6)
TWO(1) TWO(2) TWO(3)
static tile_fn *const one_panel[ROWS + 1] = {NULL, one_1, one_2, one_3, one_4, one_5, one_6};
static tile_fn *const one_ahead[ROWS + 1] = {NULL, ahead_1, ahead_2, ahead_3, ahead_4, ahead_5, ahead_6};
static tile_fn *const two_panels[TWO_ROWS + 1] = {NULL, two_1, two_2, two_3};

/* What C begins with, where it is whole vectors and does not already hold it. */
INLINE void tile_start(const struct tile *t, float *c, int64_t row)
{
    if (t->start == ACR_START_C)
        return;
    for (int64_t v = 0; v < t->columns; v += V) {
        vec x = t->start == ACR_START_ROW ? v_load(t->row + v) : v_zero();
        for (int64_t i = 0; i < t->rows; i++)
            v_store(c + i * row + v, x);
    }
}

static void tile_run(const struct tile *t)
{
    float acc[ROWS * NR] __attribute__((aligned(64))); /* two panels have half the rows */
    const bool two = t->columns > NR;
    const int64_t width = two ? 2 * NR : NR;
    tile_fn *fn = (two ? two_panels : t->ahead->left > 0 ? one_ahead : one_panel)[t->rows];
    if (t->columns == width) {
        tile_start(t, t->c, t->c_row);
        fn(t, t->c, t->c_row);
        return;
    }
    tile_in(t, acc, width);
    fn(t, acc, width);
    tile_out(t, acc, width);
}

#endif
#endif
