/* Products in bf16 of every path this processor runs against rule 2 written out
 * here, as bytes: every tail, start, stride order and edge value, packed and not,
 * with operands that are floats or bf16 already, and with depths cut into runs.
 * NaNs compare equal whatever their payload. What lies around C must stay as it
 * was, and so must the control register. */
#include "base/bf16.h"
#include "base/fpenv.h"
#include "kernel/mma32.h"
#include "kernel/self_test.h"
#include "unit/bf16_paths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GUARD = 16, MOST_CUTS = 64 };

static uint32_t seed = 1;
static uint32_t draw(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static float ordinary(void) { return (float)((int32_t)draw() - (1 << 23)) * 0x1p-23f; }

/* Subnormals, products that underflow or come close, cancellation at the smallest
 * normal (2^-126 - 2^-152 rounds up, 2^-126 - 2^-150 is flushed), both zeros. */
static float tiny(void)
{
    static const float values[] = {0x1p-149f, -0x1p-149f,    0x1p-126f,  -0x1p-126f, 0x1.fffffep-127f, 1e-30f,
                                   -1e-30f,   0.0f,          -0.0f,      1.0f,       -1.0f,            0x1.02p-126f,
                                   0x1p-63f,  -0x1.8p-64f,   0x1p-76f,   -0x1p-76f,  0x1p-75f,         -0x1p-75f,
                                   0x1p-74f,  0x1.fep-64f,   -0x1.01p-63f};
    return values[draw() % (sizeof values / sizeof *values)];
}

/* Sums that end at the smallest normal: a chain of +-2^-126 and its neighbours. */
static float border(void)
{
    static const float values[] = {0x1p-63f, -0x1p-63f,    0x1p-76f,    -0x1p-76f,
                                   0x1p-75f, -0x1.02p-75f, 0x1.02p-63f, 0.0f};
    return values[draw() % (sizeof values / sizeof *values)];
}

/* Products of 2^-113 whose sums cancel to 2^-127, the largest that underflows: the
 * smallest exponent fields of A and B add up to 141. */
static enum { OF_A, OF_B, OF_C } filling;
static float close_by(void)
{
    float x = draw() % 2 ? 1.0f : 0x1.02p+0f;
    x *= filling == OF_A ? 0x1p-57f : filling == OF_B ? 0x1p-56f : 0x1p-126f;
    return draw() % 2 ? x : -x;
}

static float wild(void)
{
    static const float values[] = {0.0f, -0.0f, 1.0f, -1.0f, 0x1p-149f, 3.4e38f, -3.4e38f, __builtin_inff(),
                                   -__builtin_inff(), __builtin_nanf("")};
    return draw() % 8 ? ordinary() : values[draw() % (sizeof values / sizeof *values)];
}

static uint32_t bits(float x) { return x != x ? 0x7fc00000u : acr__float_bits(x); }

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    return p;
}

/* n numbers, as floats or as bf16, exactly as many bytes as they need, so that a
 * sanitizer sees a read past the end, and off any alignment. */
static void *filled(size_t n, float (*value)(void), bool bf16, void **base)
{
    size_t each = bf16 ? 2 : 4;
    char *p = malloc((n + 1) * each);
    assert_non_null(p);
    *base = p;
    p += each;
    for (size_t i = 0; i < n; i++) {
        float x = value();
        uint16_t h = acr__bf16_for_file(x);
        memcpy(p + i * each, bf16 ? (void *)&h : (void *)&x, each);
    }
    return p;
}

struct shape {
    int64_t m, n, k;
    int64_t pad;       /* leading dimensions beyond the columns */
    bool a_by_columns; /* A's rows are adjacent in memory */
    bool b_by_columns; /* B's depth is adjacent in memory (W^T) */
    bool packed, a_bf16, b_bf16, cut;
    enum acr_start start;
};

static size_t extent(int64_t rows, int64_t cols, int64_t ld)
{
    return rows > 0 && cols > 0 ? (size_t)((rows - 1) * ld + cols) : 0;
}

static float operand(const void *p, bool bf16, int64_t i)
{
    return acr__bf16_to_float(bf16 ? acr__bf16_flushed(((const uint16_t *)p)[i])
                                   : acr__bf16_operand(((const float *)p)[i]));
}

enum control { RULE, UNFUSED, SWAPPED, PLAIN_CHAIN };

static float step(enum control how, float a, float b, float c)
{
    volatile float product = a * b;
    return how == UNFUSED ? product + c : acr__mma32_fma(a, b, c);
}

/* One element by rule 2, or by what a control does in its place. */
static float element(enum control how, const acr_gemm *g, int64_t i, int64_t j, float c)
{
    int64_t cut = 0;
    for (int64_t p = 0, end; p < g->k; p = end) {
        float chain[2] = {0, 0}, a[ACR_BLOCK] = {0}, b[ACR_BLOCK] = {0};
        end = acr__block_end(g, p, &cut);
        for (int64_t d = p; d < end; d++) {
            a[d - p] = operand(g->a, g->a_bf16, i * g->a_row + d * g->a_col);
            b[d - p] = operand(g->b, g->b_bf16, d * g->b_row + j * g->b_col);
        }
        for (int d = 0; d < ACR_BLOCK; d++) {
            int place = how == SWAPPED ? d ^ 2 : d;
            float *acc = how == PLAIN_CHAIN ? &c : &chain[d % 2];
            *acc = step(how, a[place], b[place], *acc);
        }
        if (how != PLAIN_CHAIN)
            c = acr__mma32_add(c, acr__mma32_add(chain[0], chain[1]));
    }
    return c;
}

static void expect(enum control how, const acr_gemm *g, const float *c0, float *want)
{
    const float *row = g->row;
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            float x = g->start == ACR_START_ZERO ? 0.0f : g->start == ACR_START_ROW ? row[j] : c0[i * g->c_row + j];
            want[i * g->c_row + j] = element(how, g, i, j, x);
        }
}

static void compare(const char *path, const struct shape *s, const float *c, const float *want, size_t floats)
{
    for (size_t i = 0; i < floats; i++) {
        if (bits(c[i]) == bits(want[i]))
            continue;
        print_error("%s: m %lld n %lld k %lld pad %lld a_by_columns %d b_by_columns %d packed %d bf16 %d%d cut %d "
                    "start %d: element %lld of C with its guards is %a, not %a\n",
                    path, (long long)s->m, (long long)s->n, (long long)s->k, (long long)s->pad, s->a_by_columns,
                    s->b_by_columns, s->packed, s->a_bf16, s->b_bf16, s->cut, (int)s->start, (long long)i, (double)c[i],
                    (double)want[i]);
        fail();
    }
}

/* g, with C at c, on one path. */
static void run(const acr_kernels *kernels, const acr_gemm *product, bool packed, float *c)
{
    acr_gemm g = *product;
    g.c = c;
    if (packed) {
        void *to = aligned(kernels->packed_bf16(g.n, g.k));
        kernels->pack_b_bf16(g.n, g.k, g.b, g.b_row, g.b_col, g.b_bf16, to);
        g.packed = to;
        g.b = NULL;
    }
    g.scratch = aligned(kernels->gemm_bf16_scratch);
    memset(g.scratch, 0xff, kernels->gemm_bf16_scratch);
    acr__fp before = acr__fp_get();
    kernels->gemm_bf16(&g);
    assert_int_equal(acr__fp_get(), before);
    free(g.scratch);
    free((void *)g.packed);
}

/* Cuts as offsets of samples of 1 to 70 rows have them, also far from the depths. */
static int64_t cuts_of(int64_t k, int32_t *cuts)
{
    int64_t n = 0;
    for (int32_t at = 1 + (int32_t)(draw() % 40); at < 100 + k + 50 && n < MOST_CUTS; n++) {
        cuts[n] = at;
        at += draw() % 3 ? 1 + (int32_t)(draw() % 70) : 32;
    }
    return n;
}

/* One product on every path. */
static void check(const struct shape *s, float (*value)(void))
{
    void *a_base, *b_base, *row_base, *start_base, *c_base, *want_base;
    int64_t lda = (s->a_by_columns ? s->m : s->k) + s->pad, ldb = (s->b_by_columns ? s->k : s->n) + s->pad;
    int64_t ldc = s->n + s->pad;
    size_t floats = extent(s->m, s->n, ldc) + 2 * GUARD;
    int32_t cuts[MOST_CUTS];
    acr_gemm g = {.m = s->m, .n = s->n, .k = s->k, .start = s->start, .c_row = ldc};
    g.a_bf16 = s->a_bf16;
    g.b_bf16 = s->b_bf16;
    filling = OF_A;
    g.a = filled(s->a_by_columns ? extent(s->k, s->m, lda) : extent(s->m, s->k, lda), value, s->a_bf16, &a_base);
    g.a_row = s->a_by_columns ? 1 : lda;
    g.a_col = s->a_by_columns ? lda : 1;
    filling = OF_B;
    g.b = filled(s->b_by_columns ? extent(s->n, s->k, ldb) : extent(s->k, s->n, ldb), value, s->b_bf16, &b_base);
    g.b_row = s->b_by_columns ? 1 : ldb;
    g.b_col = s->b_by_columns ? ldb : 1;
    filling = OF_C;
    g.row = filled((size_t)s->n, value, false, &row_base);
    if (s->cut && !s->packed) {
        g.cuts = cuts;
        g.cut_count = cuts_of(s->k, cuts);
        g.cut_first = 100;
    }
    float *start = filled(floats, value, false, &start_base);
    float *c = filled(floats, value, false, &c_base), *want = filled(floats, value, false, &want_base);
    memcpy(want, start, floats * sizeof *c);
    expect(RULE, &g, start + GUARD, want + GUARD);
    acr_kernels kernels;
    for (int i = 0; bf16_path(i, &kernels); i++) {
        memcpy(c, start, floats * sizeof *c);
        run(&kernels, &g, s->packed, c + GUARD);
        compare(kernels.name, s, c, want, floats);
    }
    free(want_base);
    free(c_base);
    free(start_base);
    free(row_base);
    free(b_base);
    free(a_base);
}

/* Strides, packing, start, bf16 in memory and cuts in 192 combinations; a size
 * takes every `step`-th, its neighbours the others. */
static void on_each_path(int64_t m, int64_t n, int64_t k, int step, float (*value)(void))
{
    for (int way = (int)((m + n + k + draw()) % step); way < 192; way += step) {
        int64_t pad = draw() % 3 ? (int64_t)(draw() % 5) : 0;
        struct shape s = {m,        n,       k,        pad,      way & 1, way & 2, way & 4, way & 8,
                          way & 16, way & 32, (enum acr_start)(way / 64)};
        check(&s, value);
    }
}

static void test_every_row_tail(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 56; m++) {
        on_each_path(m, 1 + draw() % 40, 1 + draw() % 70, 61, ordinary);
        on_each_path(m, 37, 9, 61, tiny);
    }
}

static void test_every_column_tail(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 68; n++) {
        on_each_path(1 + draw() % 30, n, 1 + draw() % 70, 61, ordinary);
        on_each_path(3, n, 33, 61, tiny);
    }
}

static void test_every_depth_tail(void **state)
{
    (void)state;
    for (int64_t k = 0; k <= 97; k++) {
        on_each_path(1 + draw() % 16, 1 + draw() % 70, k, 61, ordinary);
        on_each_path(5, 17, k, 61, k % 2 ? tiny : border);
    }
}

static void test_thin(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 15, 16, 17, 130};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        on_each_path(1, 1, sizes[i], 5, wild);
        on_each_path(1, sizes[i], 1, 5, wild);
        on_each_path(sizes[i], 1, 1, 5, wild);
        on_each_path(1, sizes[i], sizes[i], 17, wild);
        on_each_path(sizes[i], 1, sizes[i], 17, wild);
        on_each_path(sizes[i], sizes[i], 1, 61, wild);
    }
}

static void test_few_rows_many_panels(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 16; m++) {
        on_each_path(m, 263, 40, 61, tiny);
        on_each_path(m, 128 + draw() % 130, 7, 61, wild);
    }
}

/* The depth in several slabs, the rows in several tiles, more columns than a block. */
static void test_blocks(void **state)
{
    (void)state;
    on_each_path(3, 70, 1100, 61, tiny);
    on_each_path(14, 40, 1025, 61, ordinary);
    on_each_path(31, 49, 600, 61, wild);
    on_each_path(130, 50, 290, 97, border);
    on_each_path(70, 7, 300, 97, ordinary);
    on_each_path(17, 1100, 70, 97, ordinary);
    on_each_path(8, 530, 545, 97, ordinary);
}

static void test_edge_values(void **state)
{
    (void)state;
    for (int i = 0; i < 24; i++) {
        on_each_path(1 + draw() % 33, 1 + draw() % 70, 1 + draw() % 80, 61, tiny);
        on_each_path(1 + draw() % 33, 1 + draw() % 70, 1 + draw() % 80, 61, border);
        on_each_path(1 + draw() % 33, 1 + draw() % 70, 1 + draw() % 80, 61, close_by);
        on_each_path(1 + draw() % 33, 1 + draw() % 70, 1 + draw() % 80, 61, wild);
    }
}

/* A caller's share: columns from a multiple of the panel, rows from anywhere. */
static void test_shares(void **state)
{
    (void)state;
    enum { M = 40, N = 150, K = 75 };
    acr_kernels k;
    for (int i = 0; bf16_path(i, &k); i++) {
        void *a_base, *w_base;
        float *a = filled(M * K, tiny, false, &a_base), *w = filled(N * K, tiny, false, &w_base);
        size_t cut_bytes = k.packed_bf16(2 * k.panel, K), bytes = k.packed_bf16(N, K);
        char *packed = aligned(bytes), *part = aligned(bytes);
        float *whole = aligned(sizeof(float) * M * N), *shared = aligned(sizeof(float) * M * N);
        void *scratch = aligned(k.gemm_bf16_scratch);
        k.pack_b_bf16(N, K, w, 1, K, false, packed);
        acr_gemm g = {.m = M, .n = N, .k = K, .a = a, .a_row = K, .a_col = 1, .packed = packed, .c = whole, .c_row = N,
                      .start = ACR_START_ZERO, .scratch = scratch};
        k.gemm_bf16(&g);
        int64_t cut = 2 * k.panel, row_cut = 17;
        k.pack_b_bf16(cut, K, w, 1, K, false, part);
        k.pack_b_bf16(N - cut, K, w + cut * K, 1, K, false, part + cut_bytes);
        assert_memory_equal(part, packed, bytes);
        for (int quarter = 0; quarter < 4; quarter++) {
            int64_t i0 = quarter & 1 ? row_cut : 0, j0 = quarter & 2 ? cut : 0;
            acr_gemm h = g;
            h.m = quarter & 1 ? M - row_cut : row_cut;
            h.n = quarter & 2 ? N - cut : cut;
            h.a = a + i0 * K;
            h.packed = part + (j0 ? cut_bytes : 0);
            h.c = shared + i0 * N + j0;
            k.gemm_bf16(&h);
        }
        assert_memory_equal(shared, whole, sizeof(float) * M * N);
        free(scratch);
        free(shared);
        free(whole);
        free(part);
        free(packed);
        free(w_base);
        free(a_base);
    }
}

/* Runs of depth as cuts and as a call each: the same; and whole blocks in calls of
 * their own are those of one call, however the runs lie. */
static void test_runs_are_calls(void **state)
{
    (void)state;
    enum { M = 9, N = 33, K = 170 };
    static const int32_t ends[] = {31, 32, 64, 67, 131, K};
    acr_kernels k;
    for (int path = 0; bf16_path(path, &k); path++) {
        void *a_base, *b_base;
        float *a = filled(M * K, border, false, &a_base), *b = filled(N * K, ordinary, false, &b_base);
        float one[M * N] = {0}, many[M * N] = {0};
        void *scratch = aligned(k.gemm_bf16_scratch);
        acr_gemm g = {.m = M, .n = N, .k = K, .a = a, .a_row = 1, .a_col = M, .b = b, .b_row = N, .b_col = 1, .c = one,
                      .c_row = N, .start = ACR_START_C, .scratch = scratch, .cuts = ends, .cut_count = 6};
        k.gemm_bf16(&g);
        for (int64_t i = 0, from = 0; i < 6; from = ends[i++]) {
            acr_gemm h = g;
            h.cuts = NULL;
            h.cut_count = 0;
            h.a = a + from * M;
            h.b = b + from * N;
            h.k = ends[i] - from;
            h.c = many;
            k.gemm_bf16(&h);
        }
        assert_memory_equal(one, many, sizeof one);
        free(scratch);
        free(b_base);
        free(a_base);
    }
}

/* What an implementation could do in place of the rule shows in the bits. (A
 * product of two bf16 is exact, so fusing shows only where it underflows.) */
static void test_controls(void **state)
{
    (void)state;
    enum { M = 4, N = 20, K = 96 };
    for (int how = UNFUSED; how <= PLAIN_CHAIN; how++) {
        void *a_base, *b_base;
        float c0[M * N] = {0}, c[M * N], want[M * N];
        acr_gemm g = {.m = M, .n = N, .k = K, .a_row = K, .a_col = 1, .b_row = N, .b_col = 1, .c_row = N};
        g.a = filled(M * K, how == UNFUSED ? border : ordinary, false, &a_base);
        g.b = filled(N * K, how == UNFUSED ? border : ordinary, false, &b_base);
        expect((enum control)how, &g, c0, want);
        acr_kernels kernels;
        for (int i = 0; bf16_path(i, &kernels); i++) {
            run(&kernels, &g, false, c);
            assert_memory_not_equal(c, want, sizeof c);
        }
        free(b_base);
        free(a_base);
    }
}

static void off_by_order(const acr_gemm *g)
{
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            float *c = (float *)g->c + i * g->c_row + j, x = g->start == ACR_START_C ? *c : 0;
            x = g->start == ACR_START_ROW ? ((const float *)g->row)[j] : x;
            *c = element(SWAPPED, g, i, j, x);
        }
}

/* What guards the paths that are offered only after a trial: it passes what is right
 * and sees what is not. */
static void test_trial(void **state)
{
    (void)state;
    acr_kernels k;
    for (int i = 0; bf16_path(i, &k); i++) {
        assert_true(acr__self_test_bf16(&k));
        k.gemm_bf16 = off_by_order;
        assert_false(acr__self_test_bf16(&k));
    }
}

int main(void)
{
    bf16_paths_skipped();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_tail),   cmocka_unit_test(test_every_column_tail),
        cmocka_unit_test(test_every_depth_tail), cmocka_unit_test(test_thin),
        cmocka_unit_test(test_few_rows_many_panels), cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_edge_values),      cmocka_unit_test(test_shares),
        cmocka_unit_test(test_runs_are_calls),   cmocka_unit_test(test_controls),
        cmocka_unit_test(test_trial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
