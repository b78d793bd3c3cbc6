/* Products of every path this processor runs, and of AVX-512's over emulated
 * instructions where it is not one, against one fmaf chain per element, as bytes:
 * every tail, start, stride order, leading dimension and edge value, packed and not.
 * NaNs compare equal whatever their payload. What lies around C and past the columns
 * must stay as it was. */
#include "kernel/cpu/gemm_f32.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GUARD = 16 };

#if defined(ACR_EMULATED)
void emulated_gemm_f32_avx512(const acr_gemm *g);
void emulated_pack_b_f32_avx512(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, void *out);
#endif

/* The i-th, as far as products go; NULL past the last. */
static const acr_kernels *path(int i)
{
    int own = 0;
    bool has_it = false;
    for (const acr_kernels *k; (k = acr__kernels_runnable(own)) != NULL; own++)
        has_it |= strcmp(k->name, "avx512") == 0;
    if (i < own)
        return acr__kernels_runnable(i);
#if defined(ACR_EMULATED)
    static const acr_kernels emulated = {.name = "emulated avx512", .panel = ACR__GEMM_PANEL_avx512,
                                         .gemm_scratch = ACR__GEMM_SCRATCH_avx512, .gemm = emulated_gemm_f32_avx512,
                                         .pack_b = emulated_pack_b_f32_avx512};
    if (i == own && !has_it)
        return &emulated;
#endif
    return NULL;
}

static uint32_t seed = 1;
static uint32_t draw(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static float ordinary(void)
{
    return (float)((int32_t)draw() - (1 << 23)) * 0x1p-23f;
}

/* Subnormals, products that underflow, cancellation at the smallest normal, and
 * both zeros: padding or a flush would show. */
static float tiny(void)
{
    static const float values[] = {0x1p-149f, -0x1p-149f, 0x1p-126f, -0x1p-126f, 0x1.fffffep-127f, 1e-30f, -1e-30f,
                                   0.0f, -0.0f, 1.0f, -1.0f, 0x1.000002p-126f, 0x1p-63f, -0x1.8p-64f};
    return values[draw() % (sizeof values / sizeof *values)];
}

static float wild(void)
{
    static const float values[] = {0.0f, -0.0f, 1.0f, -1.0f, 0x1p-149f, 3.4e38f, -3.4e38f, __builtin_inff(),
                                   -__builtin_inff(), __builtin_nanf("")};
    return draw() % 8 ? ordinary() : values[draw() % (sizeof values / sizeof *values)];
}

static uint32_t bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return x != x ? 0x7fc00000u : u;
}

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    return p;
}

/* Exactly as many floats as are asked for, so that a sanitizer sees a read past
 * the end, and off any alignment. */
static float *filled(size_t n, float (*value)(void), void **base)
{
    float *p = malloc((n + 1) * sizeof *p);
    assert_non_null(p);
    *base = p;
    for (size_t i = 0; i <= n; i++)
        p[i] = value();
    return p + 1;
}

struct shape {
    int64_t m, n, k;
    int64_t pad;       /* leading dimensions beyond the columns */
    bool a_by_columns; /* A's rows are adjacent in memory */
    bool b_by_columns; /* B's depth is adjacent in memory (W^T) */
    bool packed;
    enum acr_start start;
};

static size_t extent(int64_t rows, int64_t cols, int64_t ld)
{
    return rows > 0 && cols > 0 ? (size_t)((rows - 1) * ld + cols) : 0;
}

static void expect(const acr_gemm *g, const float *c0, float *want)
{
    const float *a = g->a, *b = g->b, *row = g->row;
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = 0; j < g->n; j++) {
            float x = g->start == ACR_START_ZERO ? 0.0f : g->start == ACR_START_ROW ? row[j] : c0[i * g->c_row + j];
            for (int64_t p = 0; p < g->k; p++)
                x = __builtin_fmaf(a[i * g->a_row + p * g->a_col], b[p * g->b_row + j * g->b_col], x);
            want[i * g->c_row + j] = x;
        }
    }
}

/* Past the columns of packed B lie zeros, which are finite. */
static bool all_finite(const acr_gemm *g)
{
    const float *b = g->b;
    for (int64_t p = 0; p < g->k; p++)
        for (int64_t j = 0; j < g->n; j++)
            if (!__builtin_isfinite(b[p * g->b_row + j * g->b_col]))
                return false;
    return true;
}

static void compare(const char *path, const struct shape *s, const float *c, const float *want, size_t floats)
{
    for (size_t i = 0; i < floats; i++) {
        if (bits(c[i]) == bits(want[i]))
            continue;
        print_error("%s: m %lld n %lld k %lld pad %lld a_by_columns %d b_by_columns %d packed %d start %d: "
                    "element %lld of C with its guards is %a, not %a\n",
                    path, (long long)s->m, (long long)s->n, (long long)s->k, (long long)s->pad, s->a_by_columns,
                    s->b_by_columns, s->packed, (int)s->start, (long long)i, (double)c[i], (double)want[i]);
        fail();
    }
}

/* g, with C at c, on one path. */
static void run(const acr_kernels *kernels, const acr_gemm *product, bool packed, float *c)
{
    acr_gemm g = *product;
    g.c = c;
    g.finite = all_finite(product);
    if (packed) {
        size_t panels = (size_t)((g.n + kernels->panel - 1) / kernels->panel);
        float *to = aligned(panels * (size_t)kernels->panel * (size_t)g.k * sizeof(float));
        kernels->pack_b(g.n, g.k, g.b, g.b_row, g.b_col, to);
        g.packed = to;
        g.b = NULL;
    }
    g.scratch = aligned(kernels->gemm_scratch);
    memset(g.scratch, 0xff, kernels->gemm_scratch < 65536 ? kernels->gemm_scratch : 65536);
    kernels->gemm(&g);
    free(g.scratch);
    free((void *)g.packed);
}

/* One product on every path. */
static void check(const struct shape *s, float (*value)(void))
{
    void *a_base, *b_base, *row_base, *start_base, *c_base, *want_base;
    int64_t lda = (s->a_by_columns ? s->m : s->k) + s->pad, ldb = (s->b_by_columns ? s->k : s->n) + s->pad;
    int64_t ldc = s->n + s->pad;
    size_t floats = extent(s->m, s->n, ldc) + 2 * GUARD;
    acr_gemm g = {.m = s->m, .n = s->n, .k = s->k, .start = s->start, .c_row = ldc};
    g.a = filled(s->a_by_columns ? extent(s->k, s->m, lda) : extent(s->m, s->k, lda), value, &a_base);
    g.a_row = s->a_by_columns ? 1 : lda;
    g.a_col = s->a_by_columns ? lda : 1;
    g.b = filled(s->b_by_columns ? extent(s->n, s->k, ldb) : extent(s->k, s->n, ldb), value, &b_base);
    g.b_row = s->b_by_columns ? 1 : ldb;
    g.b_col = s->b_by_columns ? ldb : 1;
    g.row = filled((size_t)s->n, value, &row_base);
    float *start = filled(floats, value, &start_base);
    float *c = filled(floats, value, &c_base), *want = filled(floats, value, &want_base);
    memcpy(want, start, floats * sizeof *c);
    expect(&g, start + GUARD, want + GUARD);
    const acr_kernels *kernels;
    for (int i = 0; (kernels = path(i)) != NULL; i++) {
        memcpy(c, start, floats * sizeof *c);
        run(kernels, &g, s->packed, c + GUARD);
        compare(kernels->name, s, c, want, floats);
    }
    free(want_base);
    free(c_base);
    free(start_base);
    free(row_base);
    free(b_base);
    free(a_base);
}

/* Strides, packing and start in 24 combinations; a size takes every `step`-th,
 * its neighbours the others. */
static void on_each_path(int64_t m, int64_t n, int64_t k, int step, float (*value)(void))
{
    for (int way = (int)((m + n + k) % step); way < 24; way += step) {
        int64_t pad = draw() % 3 ? (int64_t)(draw() % 5) : 0;
        struct shape s = {m, n, k, pad, way & 1, way & 2, way & 4, (enum acr_start)(way / 8)};
        check(&s, value);
    }
}

static void test_every_row_tail(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 44; m++) {
        on_each_path(m, 1 + draw() % 40, 1 + draw() % 24, 5, ordinary);
        on_each_path(m, 37, 9, 5, tiny);
    }
}

static void test_every_column_tail(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 68; n++) {
        on_each_path(1 + draw() % 30, n, 1 + draw() % 24, 5, ordinary);
        on_each_path(3, n, 18, 5, tiny);
    }
}

static void test_every_depth_tail(void **state)
{
    (void)state;
    for (int64_t k = 0; k <= 36; k++) {
        on_each_path(1 + draw() % 30, 1 + draw() % 70, k, 5, ordinary);
        on_each_path(5, 17, k, 5, tiny);
    }
}

/* One row, one column, one depth: the strides of a pair may both be 1. */
static void test_thin(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 15, 16, 17, 130};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        on_each_path(1, 1, sizes[i], 1, wild);
        on_each_path(1, sizes[i], 1, 1, wild);
        on_each_path(sizes[i], 1, 1, 1, wild);
        on_each_path(1, sizes[i], sizes[i], 1, wild);
        on_each_path(sizes[i], 1, sizes[i], 1, wild);
        on_each_path(sizes[i], sizes[i], 1, 1, wild);
    }
}

/* Several panels at once, for each of the few rows that allow it. */
static void test_few_rows_many_panels(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 8; m++) {
        on_each_path(m, 263, 19, 1, tiny);
        on_each_path(m, 128 + draw() % 130, 7, 1, wild);
    }
}

/* Zeros of both signs among ordinary numbers, numbers whose products underflow, and
 * chains that start from -0; or infinities and NaN in one of forty. */
static float with_zeros(void)
{
    static const float values[] = {0.0f, 0.0f, 0.0f, -0.0f, 0x1p-126f, -0x1p-126f, 1e-30f, -1e-30f, 0x1p-20f, -1.0f};
    return values[draw() % (sizeof values / sizeof *values)];
}

static float with_zeros_and_more(void)
{
    uint32_t x = draw();
    return x % 3 == 0 ? 0.0f : x % 40 == 1 ? __builtin_inff() : x % 40 == 2 ? -__builtin_nanf("") : ordinary();
}

/* A single row's zeros are left out: whole groups of panels, single ones, a tail,
 * more depths than are listed. */
static void test_zeros_of_a_row(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        on_each_path(1, 1 + draw() % 300, 60 + draw() % 150, 1, with_zeros);
        on_each_path(1, 1 + draw() % 300, 60 + draw() % 20, 1, with_zeros_and_more);
    }
    on_each_path(1, 40, 30000, 5, with_zeros);
    on_each_path(1, 130, 16384, 5, with_zeros);
}

/* The depth in several blocks, the rows in several groups of tiles. */
static void test_blocks(void **state)
{
    (void)state;
    on_each_path(3, 70, 3001, 5, tiny);
    on_each_path(14, 40, 1100, 5, ordinary);
    on_each_path(31, 49, 600, 5, wild);
    on_each_path(330, 50, 290, 5, tiny);
    on_each_path(230, 7, 300, 5, ordinary);
}

/* Leading dimensions of 1024, where kernels copy what else would share cache
 * sets, and more columns than one block holds. */
static void test_shared_sets(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {15, 600, 1024, 0, false, true, true, ACR_START_ROW},
        {15, 530, 1024, 0, true, false, false, ACR_START_C},
        {15, 530, 1024, 0, false, true, false, ACR_START_ZERO},
        {15, 1024, 7, 0, false, false, false, ACR_START_C},
        {29, 1024, 300, 0, true, false, false, ACR_START_C},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(&shapes[i], i % 2 ? ordinary : tiny);
}

static void test_edge_values(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        on_each_path(1 + draw() % 33, 1 + draw() % 70, 1 + draw() % 50, 5, tiny);
        on_each_path(1 + draw() % 33, 1 + draw() % 70, 1 + draw() % 50, 5, wild);
    }
}

/* A caller's share: columns from a multiple of the panel, rows from anywhere. */
static void test_shares(void **state)
{
    (void)state;
    enum { M = 40, N = 150, K = 33 };
    const acr_kernels *kernels;
    for (int i = 0; (kernels = path(i)) != NULL; i++) {
        void *a_base, *w_base;
        float *a = filled(M * K, tiny, &a_base), *w = filled(N * K, tiny, &w_base);
        float *packed = aligned(sizeof(float) * (N + 64) * K), *part = aligned(sizeof(float) * (N + 64) * K);
        float *whole = aligned(sizeof(float) * M * N), *shared = aligned(sizeof(float) * M * N);
        void *scratch = aligned(kernels->gemm_scratch);
        kernels->pack_b(N, K, w, 1, K, packed);
        acr_gemm g = {.m = M, .n = N, .k = K, .a = a, .a_row = K, .a_col = 1, .packed = packed, .c = whole, .c_row = N,
                      .start = ACR_START_ZERO, .scratch = scratch};
        kernels->gemm(&g);
        int64_t cut = 2 * kernels->panel, row_cut = 17;
        kernels->pack_b(cut, K, w, 1, K, part);
        kernels->pack_b(N - cut, K, w + cut * K, 1, K, part + cut * K);
        assert_memory_equal(part, packed, sizeof(float) * (size_t)(cut * K));
        for (int quarter = 0; quarter < 4; quarter++) {
            int64_t i0 = quarter & 1 ? row_cut : 0, j0 = quarter & 2 ? cut : 0;
            acr_gemm h = g;
            h.m = quarter & 1 ? M - row_cut : row_cut;
            h.n = quarter & 2 ? N - cut : cut;
            h.a = a + i0 * K;
            h.packed = part + j0 * K;
            h.c = shared + i0 * N + j0;
            kernels->gemm(&h);
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

static void test_packed_layout(void **state)
{
    (void)state;
    const acr_kernels *kernels;
    for (int i = 0; (kernels = path(i)) != NULL; i++) {
        for (int64_t n = 1; n <= 70; n += 3) {
            int64_t k = 1 + (int64_t)(draw() % 40), panel = kernels->panel, panels = (n + panel - 1) / panel;
            for (int by_columns = 0; by_columns < 2; by_columns++) {
                void *base;
                float *b = filled((size_t)(n * k), ordinary, &base);
                int64_t b_row = by_columns ? 1 : n, b_col = by_columns ? k : 1;
                float *out = aligned(sizeof(float) * (size_t)(panels * panel * k));
                kernels->pack_b(n, k, b, b_row, b_col, out);
                for (int64_t j = 0; j < panels * panel; j++)
                    for (int64_t p = 0; p < k; p++)
                        assert_int_equal(bits(out[j / panel * panel * k + p * panel + j % panel]),
                                         j < n ? bits(b[p * b_row + j * b_col]) : 0);
                free(out);
                free(base);
            }
        }
    }
}

int main(void)
{
    bool exists;
    static const char *const names[] = {"avx2", "avx512", "neon"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (acr__kernels_find(names[i], &exists) == NULL)
            print_message("skipped: %s (%s)\n", names[i],
                          exists ? "this processor lacks it" : "not in this build");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_layout),    cmocka_unit_test(test_every_row_tail),
        cmocka_unit_test(test_every_column_tail), cmocka_unit_test(test_every_depth_tail),
        cmocka_unit_test(test_thin),             cmocka_unit_test(test_few_rows_many_panels),
        cmocka_unit_test(test_blocks),           cmocka_unit_test(test_edge_values),
        cmocka_unit_test(test_shares),           cmocka_unit_test(test_shared_sets),
        cmocka_unit_test(test_zeros_of_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
