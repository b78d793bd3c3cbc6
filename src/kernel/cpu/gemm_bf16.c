/* gemm_bf16.c: products by rule 2 with ordinary fused multiply-adds on floats that
 * are bf16. Compiled once per instruction set.
 *
 * On x86 the whole product runs with FTZ and DAZ set, which is rule 2's flushing.
 * No mode of ARM's is: there a tile whose numbers are so large that no step can
 * underflow takes plain multiply-adds, any other the definition (mma32.h).
 *
 * The registers hold one of a block's two chains for a whole tile: the even places
 * come first and are put by, then the odd ones. Few rows hold both at once, so
 * that each word of B is read once. */
#include "kernel/cpu/gemm_bf16.h"

#include "base/bf16.h"
#include "kernel/cpu/bf16_vec.h"
#include "kernel/mma32.h"

#define ISA_NAME(name)  ACR__GEMM_PASTE(acr__##name, ACR_ISA)
#define A_BLOCK         ACR__GEMM_PASTE(ACR__BF16_A_BLOCK, ACR_ISA)
#define COLUMNS         ACR__GEMM_PASTE(ACR__BF16_COLUMNS, ACR_ISA)
#define LOW(w)          (2 * (w))
#define HIGH(w)         (2 * (w) + 1)
enum {
    ROWS = MR,
    ROW_UNIT = 1,
    PACKED = 1,
    A_ROW = 0,
    FETCHES = 0,
    BOTH_ROWS = MR / 2, /* rows up to which both chains fit into registers */
    TWO_ROWS = MR / 4,  /* and those of two panels */
#if defined(ACR_ISA_NEON)
    HEAD = 64,
#else
    HEAD = 0,
#endif
};
#include "kernel/cpu/gemm_bf16_drive.h"

_Static_assert((int)ACR__GEMM_PANEL == (int)NR, "the panels of rules 1 and 2 are the same");
_Static_assert((int)A_BLOCK == (int)sizeof(float) * ACR_BLOCK * AS, "gemm_bf16.h and gemm_vec.h disagree about a tile");

/* Loads `lines` lines of n numbers each into r, the rest +0, and turns them. */
INLINE void load_turned(const char *from, bool bf16, int64_t line, int64_t lines, int64_t n, vec r[V])
{
    fetch_behind(from, bf16, line, lines);
    UNROLL
    for (int j = 0; j < V; j++)
        r[j] = j < lines && n > 0 ? v_load_any(from + j * line * bytes_of(bf16), bf16, acr__min(n, V)) : v_zero();
    v_transpose(r);
}

INLINE void pack_b_turned(const char *from, bool bf16, int64_t b_col, int64_t columns, int64_t depth, uint32_t *to)
{
    UNROLL
    for (int d = 0; d < ACR_BLOCK; d += V) {
        vec r[V];
        load_turned(from + d * bytes_of(bf16), bf16, b_col, columns, depth - d, r);
        UNROLL
        for (int w = 0; w < WORDS; w++)
            if (LOW(w) / V * V == d)
                w_store(to + w * NR, w_pair(r[LOW(w) - d], r[HIGH(w) - d]));
    }
}

/* A block of a row tile: [2][16][AS] floats, even places, then odd ones. */
INLINE void pack_a_as(bool bf16, const char *from, int64_t a_row, int64_t a_col, int64_t rows, int64_t depth, float *to)
{
    const int64_t es = bytes_of(bf16);
    for (int v = 0; v < AS; v += V, rows -= V, from += V * a_row * es) {
        if (a_col == 1 && a_row != 1) {
            UNROLL
            for (int d = 0; d < ACR_BLOCK; d += V) {
                vec r[V];
                load_turned(from + d * es, bf16, a_row, rows, depth - d, r);
                UNROLL
                for (int e = 0; e < V; e++)
                    v_store(to + ((d + e) % 2 * WORDS + (d + e) / 2) * AS + v, v_round(r[e]));
            }
        } else {
            for (int d = 0; d < ACR_BLOCK; d++) {
                bool there = d < depth && rows > 0;
                fetch_bytes_ahead(from, d * a_col * es + NEXT_LINES);
                vec x = there ? v_load_any(from + d * a_col * es, bf16, acr__min(rows, V)) : v_zero();
                v_store(to + (d % 2 * WORDS + d / 2) * AS + v, v_round(x));
            }
        }
    }
}

static void pack_a(const char *from, bool bf16, int64_t a_row, int64_t a_col, int64_t rows, int64_t blocks,
                   const struct block *block, char *to)
{
    for (int64_t s = 0; s < blocks; s++, to += A_BLOCK) {
        const char *at = from + block[s].p * a_col * bytes_of(bf16);
        if (bf16)
            pack_a_as(true, at, a_row, a_col, rows, block[s].depth, (float *)(void *)to);
        else
            pack_a_as(false, at, a_row, a_col, rows, block[s].depth, (float *)(void *)to);
    }
}

/* Words of B from depth to depth are 64 bytes or more, so a line ahead is a
 * depth ahead. */
INLINE void fetch_words(const uint32_t *b, int w)
{
    enum { AHEAD = 16 };
    UNROLL
    for (int v = 0; v < NR; v += 16)
        fetch_bytes_ahead(b, ((w + AHEAD) * NR + v) * 4);
}

/* acc = acc + (e + o), the two adds of a block. The inner one cannot underflow
 * where v_flush does anything: see no_underflow. */
INLINE void block_end(float *acc, vec e, vec o)
{
    v_store(acc, v_flush(v_add(v_load(acc), v_add(e, o))));
}

/* The chain over the even (odd = false) or odd places of one block. */
INLINE void chain(int rows, bool odd, const float *a, const uint32_t *b, vec x[MR][NV])
{
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < NV; v++)
            x[i][v] = v_zero();
    }
    for (int w = 0; w < WORDS; w++, a += AS, b += NR) {
        vec y[NV];
        UNROLL
        for (int v = 0; v < NV; v++)
            y[v] = odd ? v_high(w_load(b + v * V)) : v_low(w_load(b + v * V));
        UNROLL
        for (int i = 0; i < rows; i++) {
            vec s = v_splat(a + i);
            UNROLL
            for (int v = 0; v < NV; v++)
                x[i][v] = v_fma(s, y[v], x[i][v]);
        }
    }
}

INLINE void many_rows(int rows, const struct tile *t, float *restrict acc)
{
    float put_by[MR * NR] __attribute__((aligned(64)));
    const float *a = (const float *)(const void *)t->a;
    const uint32_t *b = (const uint32_t *)(const void *)t->b;
    for (int64_t s = t->blocks; s > 0; s--, a += ACR_BLOCK * AS, b += WORDS * NR) {
        vec x[MR][NV];
        chain(rows, false, a, b, x);
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < NV; v++)
                v_store(put_by + i * NR + v * V, x[i][v]);
        }
        chain(rows, true, a + WORDS * AS, b, x);
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < NV; v++)
                block_end(acc + i * NR + v * V, v_load(put_by + i * NR + v * V), x[i][v]);
        }
    }
}

INLINE void few_rows(int rows, int panels, const struct tile *t, float *acc)
{
    enum { WIDE = 2 * NV };
    const int width = panels * NV;
    const float *a = (const float *)(const void *)t->a;
    const uint32_t *b = (const uint32_t *)(const void *)t->b;
    const int64_t b_panel = t->b_panel / 4;
    for (int64_t s = 0; s < t->blocks; s++, a += ACR_BLOCK * AS, b += WORDS * NR) {
        vec e[BOTH_ROWS][WIDE], o[BOTH_ROWS][WIDE];
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < width; v++)
                e[i][v] = o[i][v] = v_zero();
        }
        for (int w = 0; w < WORDS; w++) {
            vec even[BOTH_ROWS], odd[BOTH_ROWS];
            UNROLL
            for (int i = 0; i < rows; i++) {
                even[i] = v_splat(a + w * AS + i);
                odd[i] = v_splat(a + (WORDS + w) * AS + i);
            }
            UNROLL
            for (int p = 0; p < panels; p++)
                fetch_words(b + p * b_panel, w);
            UNROLL
            for (int v = 0; v < width; v++) {
                words y = w_load(b + v / NV * b_panel + w * NR + v % NV * V);
                vec low = v_low(y), high = v_high(y);
                UNROLL
                for (int i = 0; i < rows; i++) {
                    e[i][v] = v_fma(even[i], low, e[i][v]);
                    o[i][v] = v_fma(odd[i], high, o[i][v]);
                }
            }
        }
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < width; v++)
                block_end(acc + (i * width + v) * V, e[i][v], o[i][v]);
        }
    }
}

static void enter(void) {}
static void leave(void) {}

typedef void tile_fn(const struct tile *t, float *acc);
#define MANY(rows) \
    static void many_##rows(const struct tile *t, float *acc) { many_rows(rows, t, acc); }
#define FEW(rows) \
    static void few_##rows(const struct tile *t, float *acc) { few_rows(rows, 1, t, acc); }
#define TWO(rows) \
    static void two_##rows(const struct tile *t, float *acc) { few_rows(rows, 2, t, acc); }
#define MANY_ENTRY(rows) [rows] = many_##rows,
#define FEW_ENTRY(rows)  [rows] = few_##rows,
#define TWO_ENTRY(rows)  [rows] = two_##rows,
#if defined(ACR_ISA_AVX512)
#define EACH_MANY(X) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define EACH_FEW(X)  X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define EACH_TWO(X)  X(1) X(2) X(3)
#else
#define EACH_MANY(X) X(4) X(5) X(6)
#define EACH_FEW(X)  X(1) X(2) X(3)
#define EACH_TWO(X)  X(1)
#endif
EACH_MANY(MANY)
EACH_FEW(FEW)
EACH_TWO(TWO)
static tile_fn *const one_panel[ROWS + 1] = {EACH_FEW(FEW_ENTRY) EACH_MANY(MANY_ENTRY)};
static tile_fn *const two_panels[TWO_ROWS + 1] = {EACH_TWO(TWO_ENTRY)};

#if defined(ACR_ISA_NEON)

/* The smallest exponent field in `words` words of a float (or, with `both`, of two
 * bf16 each), zeros aside; 255 if all are zeros. */
static uint32_t least_exponent(const uint32_t *p, int64_t count, bool both)
{
    const uint32x4_t field = vdupq_n_u32(0x7f800000u);
    uint32x4_t least = field;
    for (int64_t i = 0; i < count; i += 4) {
        uint32x4_t u = vld1q_u32(p + i), high = vandq_u32(u, field), low = vandq_u32(vshlq_n_u32(u, 16), field);
        /* minus one, zeros become the largest */
        least = vminq_u32(least, vsubq_u32(high, vdupq_n_u32(1)));
        if (both)
            least = vminq_u32(least, vsubq_u32(low, vdupq_n_u32(1)));
    }
    return (vminvq_u32(least) + 1) >> 23;
}

static void head(char *panel, int64_t blocks)
{
    const uint32_t *b = (const uint32_t *)(const void *)(panel + HEAD);
    uint32_t values[HEAD / 4] = {least_exponent(b, blocks * WORDS * NR, true)};
    memcpy(panel, values, sizeof values);
}

static uint32_t least_of(const char *a, int64_t blocks)
{
    return least_exponent((const uint32_t *)(const void *)a, blocks * ACR_BLOCK * AS, false);
}

/* Where the smallest exponent fields add up to 142, every product is a multiple of
 * 2^-126, so every partial sum of a chain is: none can underflow. */
static bool no_underflow(const struct tile *t)
{
    enum { ENOUGH = 142 };
    for (int64_t j = 0; j < t->columns; j += NR) {
        uint32_t b_least;
        memcpy(&b_least, t->b_head + j / NR * t->b_panel, sizeof b_least);
        if (t->a_least + b_least < ENOUGH)
            return false;
    }
    return true;
}

static void by_definition(const struct tile *t, float *acc, int64_t width)
{
    const float *a = (const float *)(const void *)t->a;
    for (int64_t s = 0; s < t->blocks; s++, a += ACR_BLOCK * AS)
        for (int64_t j = 0; j < t->columns; j++) {
            const char *panel = t->b + j / NR * t->b_panel + s * B_BLOCK;
            const uint32_t *b = (const uint32_t *)(const void *)panel + j % NR;
            for (int64_t i = 0; i < t->rows; i++) {
                float e = 0, o = 0, *c = acc + i * width + j;
                for (int w = 0; w < WORDS; w++) {
                    e = acr__mma32_fma(a[w * AS + i], acr__bf16_to_float((uint16_t)b[w * NR]), e);
                    o = acr__mma32_fma(a[(WORDS + w) * AS + i], acr__bf16_to_float((uint16_t)(b[w * NR] >> 16)), o);
                }
                *c = acr__mma32_add(*c, acr__mma32_add(e, o));
            }
        }
}

#else

static void head(char *panel, int64_t blocks) { (void)panel, (void)blocks; }
static uint32_t least_of(const char *a, int64_t blocks) { return (void)a, (void)blocks, 0; }
static bool no_underflow(const struct tile *t) { return (void)t, true; }
static void by_definition(const struct tile *t, float *acc, int64_t width) { (void)t, (void)acc, (void)width; }

#endif

static void tile_run(const struct tile *t)
{
    float acc[MR * NR] __attribute__((aligned(64))); /* two panels have half the rows or fewer */
    const bool two = t->columns > NR;
    const int64_t width = two ? 2 * NR : NR;
    tile_in(t, acc, width);
    if (no_underflow(t))
        (two ? two_panels : one_panel)[t->rows](t, acc);
    else
        by_definition(t, acc, width);
    tile_out(t, acc, width);
}
