/* test_attention.c: the attention kernels on every path of this processor against
 * the scalar path as bytes, over random shapes: query heads that share keys,
 * documents, queries in pieces, dropout, gradients that are added, products in bf16;
 * ordinary numbers and edges. NaNs compare equal whatever their payload; buffers are
 * compared whole, so a store out of place shows.
 *
 * Then what the definition says: which pairs exist (a NaN in an unseen key reaches
 * nobody), what the numbers are (against a textbook in double), where a block of
 * rule 2 begins (against blocks written out), and that another order of a sum is
 * seen. */
#include "base/bf16.h"
#include "base/philox.h"
#include "kernel/kernel.h"
#include "kernel/mma32.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint32_t state_of_draw = 1;
static uint32_t draw(void)
{
    state_of_draw = state_of_draw * 1664525u + 1013904223u;
    return state_of_draw >> 8;
}
static int64_t up_to(int64_t n) { return (int64_t)(draw() % (uint32_t)n) + 1; }

enum numbers { ORDINARY, TINY, WILD, KINDS };

static float number(enum numbers kind)
{
    static const float tiny[] = {0x1p-149f, -0x1p-149f, 0x1p-126f, -0x1.fffffcp-127f, 1e-30f, -1e-30f, 0.0f, -0.0f,
                                 0x1p-63f, -0x1.8p-64f, 0x1p-74f, -0x1p-75f};
    static const float wild[] = {INFINITY, -INFINITY, NAN, 3.4e38f, -3.4e38f, -0.0f, 1e20f, -90.0f, 60.0f};
    uint32_t u = draw();
    if (kind == TINY && u % 4)
        return tiny[u / 4 % (sizeof tiny / sizeof *tiny)];
    if (kind == WILD && u % 97 == 0)
        return wild[u / 97 % (sizeof wild / sizeof *wild)];
    return (float)((int32_t)draw() - (1 << 23)) * 0x1p-22f;
}

/* ---- one case: a sample's rows, and all that is written ---- */
enum { GROUP = 4, DIM = 66, KEYS = 160, LD = GROUP * DIM + 5, LONG_KEYS = 1100, SIZE = KEYS * LD + 8 };

typedef struct results {
    float out[SIZE], stats[KEYS * (2 * GROUP + 3) + 8], dq[SIZE], dk[SIZE], dv[SIZE];
} results;

static struct {
    float q[SIZE], k[SIZE], v[SIZE], dout[SIZE], there[SIZE]; /* there: what the outputs hold before */
    int32_t position[LONG_KEYS];
} given;
static results want, got;
static char *scratch;

static int setup(void **state)
{
    (void)state;
    size_t most = 0;
    const acr_kernels *k;
    for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++) {
        for (int bf16 = 0; bf16 < 2; bf16++) {
            size_t bytes = k->attention_scratch(bf16 ? k : NULL, LONG_KEYS, DIM, true);
            most = bytes > most ? bytes : most;
        }
    }
    scratch = aligned_alloc(64, (most + 63) / 64 * 64 + 64);
    return scratch ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(scratch);
    return 0;
}

/* A new document by chance; sometimes a position that looks back further than the
 * row before it, which packed documents never do. */
static void draw_positions(int64_t keys, bool odd)
{
    uint32_t often = draw() % 3 == 0 ? 5 : draw() % 2 ? 60 : 100000;
    given.position[0] = 0;
    for (int64_t p = 1; p < keys; p++) {
        given.position[p] = draw() % often == 0 ? 0 : given.position[p - 1] + 1;
        if (odd && draw() % 7 == 0)
            given.position[p] = (int32_t)(draw() % (uint32_t)(p + 1));
    }
}

/* In bf16 by chance: any table says so, and whoever runs the case puts its own there. */
static acr_attention_args draw_case(enum numbers kind)
{
    acr_attention_args a = {.bf16 = draw() % 2 ? &acr__kernels_scalar : NULL,
                            .rows = up_to(draw() % 3 ? 60 : KEYS), .dim = up_to(DIM), .group = up_to(GROUP)};
    if (draw() % 2)
        a.dim = 16 * up_to(4);
    for (int64_t i = 0; i < SIZE; i++) {
        given.q[i] = number(kind);
        given.k[i] = number(kind);
        given.v[i] = number(kind);
        given.dout[i] = number(kind);
        given.there[i] = number(kind);
    }
    draw_positions(a.rows, draw() % 4 == 0);
    a.ldq = a.ld_out = a.ld_dout = a.ld_dq = a.group * a.dim + draw() % 3;
    a.ld_key = a.ld_value = a.ld_dk = a.ld_dv = a.dim + draw() % 5;
    a.ld_stats = 2 * a.group + draw() % 3;
    a.scale = draw() % 2 ? 0.25f : 1.75f;
    a.scratch = scratch;
    if (draw() % 3 == 0) {
        a.threshold = UINT32_C(1) << 30;
        a.kept_scale = 4 / 3.0f;
        a.head = (int64_t)(draw() % 3) * a.group;
        a.heads = a.head + a.group;
        a.seed = UINT64_C(0x123456789abcdef0);
        a.window = 5;
        a.op = 0xabcdef01u;
        a.place = draw();
    }
    a.add_q = draw() % 2;
    a.add_k = draw() % 2;
    a.add_v = draw() % 2;
    return a;
}

static void begin(results *r)
{
    memcpy(r->out, given.there, sizeof r->out);
    memcpy(r->stats, given.there, sizeof r->stats);
    memcpy(r->dq, given.there, sizeof r->dq);
    memcpy(r->dk, given.there, sizeof r->dk);
    memcpy(r->dv, given.there, sizeof r->dv);
}

/* Queries [first, last) of the case. */
static void forward(const acr_kernels *k, acr_attention_args a, int64_t first, int64_t last, results *r)
{
    a.bf16 = a.bf16 ? k : NULL;
    a.rows = last - first;
    a.past = first;
    a.q = given.q + 1 + first * a.ldq;
    a.k = given.k + 1;
    a.v = given.v + 2;
    a.position = given.position + first;
    a.out = r->out + 1 + first * a.ld_out;
    a.stats = r->stats + 1 + first * a.ld_stats;
    k->attention(&a);
}

enum { DQ = 1, DK = 2, DV = 4, ALL = 7 };

static void backward(const acr_kernels *k, acr_attention_args a, int wanted, results *r)
{
    a.bf16 = a.bf16 ? k : NULL;
    a.q = given.q + 1;
    a.k = given.k + 1;
    a.v = given.v + 2;
    a.position = given.position;
    a.stats = r->stats + 1;
    a.dout = given.dout + 3;
    a.dq = wanted & DQ ? r->dq + 1 : NULL;
    a.dk = wanted & DK ? r->dk + 1 : NULL;
    a.dv = wanted & DV ? r->dv + 1 : NULL;
    k->attention_back(&a);
}

static void run(const acr_kernels *k, const acr_attention_args *a, int wanted, results *r)
{
    begin(r);
    forward(k, *a, 0, a->rows, r);
    backward(k, *a, wanted, r);
}

static int64_t differing(int64_t n, const float *a, const float *b)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(a[i] != a[i] && b[i] != b[i]))
            return i;
    return -1;
}

static const char *difference(const results *a, const results *b)
{
    if (differing(SIZE, a->out, b->out) >= 0)
        return "out";
    if (differing(sizeof a->stats / sizeof *a->stats, a->stats, b->stats) >= 0)
        return "stats";
    return differing(SIZE, a->dq, b->dq) >= 0 ? "dq" : differing(SIZE, a->dk, b->dk) >= 0 ? "dk"
           : differing(SIZE, a->dv, b->dv) >= 0 ? "dv" : NULL;
}

static void expect_same(const acr_kernels *k, const acr_attention_args *a, const char *what)
{
    const char *part = difference(&want, &got);
    if (part)
        fail_msg("%s, %s: %d rows, dim %d, group %d, dropout %d, bf16 %d: other bits in %s", k->name, what,
                 (int)a->rows, (int)a->dim, (int)a->group, a->threshold != 0, a->bf16 != NULL, part);
}

static void paths_give_the_same_bytes(void **state)
{
    (void)state;
    const acr_kernels *k;
    for (int c = 0; c < 240; c++) {
        acr_attention_args a = draw_case((enum numbers)(c % KINDS));
        int wanted = draw() % 3 ? ALL : (int)(draw() % 8);
        run(&acr__kernels_scalar, &a, wanted, &want);
        for (int i = 1; (k = acr__kernels_runnable(i)) != NULL; i++) {
            run(k, &a, wanted, &got);
            expect_same(k, &a, "against scalar");
        }
    }
}

/* Queries one by one, as they are decoded, or a few at a time. */
static void pieces_do_not_show(void **state)
{
    (void)state;
    const acr_kernels *k;
    for (int c = 0; c < 120; c++) {
        acr_attention_args a = draw_case((enum numbers)(c % KINDS));
        int64_t most = c % 4 == 0 ? 1 : up_to(40);
        for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++) {
            begin(&want);
            begin(&got);
            forward(k, a, 0, a.rows, &want);
            for (int64_t first = 0, n; first < a.rows; first += n) {
                n = up_to(most);
                n = n < a.rows - first ? n : a.rows - first;
                forward(k, a, first, first + n, &got);
            }
            expect_same(k, &a, "in pieces");
        }
    }
}

/* A sequence so long that blocks are shorter. */
static void long_sequences(void **state)
{
    (void)state;
    enum { WIDTH = 3 };
    const acr_kernels *k;
    acr_attention_args a = {.rows = LONG_KEYS, .dim = WIDTH, .group = 1, .ldq = WIDTH, .ld_key = WIDTH,
                            .ld_value = WIDTH, .ld_out = WIDTH, .ld_stats = 2, .ld_dout = WIDTH, .ld_dq = WIDTH,
                            .ld_dk = WIDTH, .ld_dv = WIDTH, .scale = 1, .scratch = scratch};
    draw_case(ORDINARY);
    for (int p = 0; p < LONG_KEYS; p++)
        given.position[p] = p < 20 ? p : p - 20;
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++) {
            results *r = i ? &got : &want;
            a.bf16 = bf16 ? k : NULL;
            run(k, &a, ALL, r);
            if (i)
                expect_same(k, &a, "long");
        }
}

/* ---- which pairs exist ---- */
static bool sees(int64_t p, int64_t j) { return j <= p && j >= p - given.position[p]; }

static bool row_is_the_same(int64_t row, const float *x, const float *y, int64_t ld, int64_t n)
{
    return differing(n, x + 1 + row * ld, y + 1 + row * ld) < 0;
}

/* Poison in one key: only the queries that see it, and the keys those see, may change. */
static void an_unseen_key_is_absent(void **state)
{
    (void)state;
    static const float poison[] = {NAN, INFINITY, -INFINITY};
    const acr_kernels *k;
    for (int c = 0; c < 60; c++) {
        acr_attention_args a = draw_case(ORDINARY);
        int64_t bad = up_to(a.rows) - 1, width = a.group * a.dim;
        for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++) {
            float kept_k[DIM], kept_v[DIM];
            run(k, &a, ALL, &want);
            memcpy(kept_k, given.k + 1 + bad * a.ld_key, sizeof kept_k);
            memcpy(kept_v, given.v + 2 + bad * a.ld_value, sizeof kept_v);
            for (int64_t d = 0; d < a.dim; d++) {
                given.k[1 + bad * a.ld_key + d] = poison[c % 3];
                given.v[2 + bad * a.ld_value + d] = poison[(c + 1) % 3];
            }
            run(k, &a, ALL, &got);
            memcpy(given.k + 1 + bad * a.ld_key, kept_k, sizeof kept_k);
            memcpy(given.v + 2 + bad * a.ld_value, kept_v, sizeof kept_v);
            int reached = 0;
            for (int64_t p = 0; p < a.rows; p++) {
                bool touched = false; /* key p: seen by a query that sees the poison */
                for (int64_t x = 0; x < a.rows; x++)
                    touched |= sees(x, bad) && sees(x, p);
                if (!sees(p, bad))
                    assert_true(row_is_the_same(p, want.out, got.out, a.ld_out, width) &&
                                row_is_the_same(p, want.dq, got.dq, a.ld_dq, width));
                else
                    reached += !row_is_the_same(p, want.out, got.out, a.ld_out, width);
                if (!touched)
                    assert_true(row_is_the_same(p, want.dk, got.dk, a.ld_dk, a.dim) &&
                                row_is_the_same(p, want.dv, got.dv, a.ld_dv, a.dim));
            }
            assert_true(reached > 0 || a.threshold);
        }
    }
}

/* Poison in one query's gradient: no key that it does not see may change. */
static void an_unseeing_query_is_absent(void **state)
{
    (void)state;
    const acr_kernels *k;
    for (int c = 0; c < 60; c++) {
        acr_attention_args a = draw_case(ORDINARY);
        int64_t bad = up_to(a.rows) - 1, at = 3 + bad * a.ld_dout;
        for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++) {
            run(k, &a, ALL, &want);
            float kept = given.dout[at];
            given.dout[at] = NAN;
            run(k, &a, ALL, &got);
            given.dout[at] = kept;
            for (int64_t p = 0; p < a.rows; p++) {
                assert_true(p == bad || row_is_the_same(p, want.dq, got.dq, a.ld_dq, a.group * a.dim));
                assert_true(sees(bad, p) || (row_is_the_same(p, want.dk, got.dk, a.ld_dk, a.dim) &&
                                             row_is_the_same(p, want.dv, got.dv, a.ld_dv, a.dim)));
            }
        }
    }
}

/* ---- what the numbers are ---- */
/* Softmax attention as a textbook has it, and its gradient, in double. */
static void textbook(const acr_attention_args *a, int64_t h, double *out, double *dq, double *dk, double *dv)
{
    double p[KEYS], dp[KEYS];
    for (int64_t i = 0; i < a->rows; i++) {
        double sum = 0, dot = 0;
        const float *q = given.q + 1 + i * a->ldq + h * a->dim, *dout = given.dout + 3 + i * a->ld_dout + h * a->dim;
        for (int64_t j = 0; j <= i; j++) {
            p[j] = dp[j] = 0;
            for (int64_t c = 0; c < a->dim; c++) {
                p[j] += (double)q[c] * (double)given.k[1 + j * a->ld_key + c] * (double)a->scale;
                dp[j] += (double)dout[c] * (double)given.v[2 + j * a->ld_value + c];
            }
            p[j] = sees(i, j) ? exp(p[j]) : 0;
            sum += p[j];
        }
        for (int64_t j = 0; j <= i; j++) {
            p[j] /= sum;
            dot += p[j] * dp[j];
        }
        for (int64_t j = 0; j <= i; j++)
            for (int64_t c = 0; c < a->dim; c++) {
                double ds = p[j] * (dp[j] - dot) * (double)a->scale;
                out[(i * a->group + h) * a->dim + c] += p[j] * (double)given.v[2 + j * a->ld_value + c];
                dq[(i * a->group + h) * a->dim + c] += ds * (double)given.k[1 + j * a->ld_key + c];
                dk[j * a->dim + c] += ds * (double)q[c];
                dv[j * a->dim + c] += p[j] * (double)dout[c];
            }
    }
}

static void near(int64_t rows, int64_t cols, const double *w, const float *x, int64_t ld, double distance)
{
    double size = 0;
    for (int64_t i = 0; i < rows * cols; i++)
        size = fmax(size, fabs(w[i]));
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            assert_true(fabs((double)x[1 + r * ld + c] - w[r * cols + c]) <= distance * (size + 1));
}

static void the_numbers_are_right(void **state)
{
    (void)state;
    for (int c = 0; c < 40; c++) {
        acr_attention_args a = draw_case(ORDINARY);
        a.threshold = 0;
        a.scale = 0.25f;
        const double distance = a.bf16 ? 2e-2 : 2e-5;
        a.add_q = a.add_k = a.add_v = false;
        run(&acr__kernels_scalar, &a, ALL, &got);
        double *w[4];
        for (int i = 0; i < 4; i++) {
            w[i] = calloc((size_t)(a.rows * a.group * a.dim), sizeof(double));
            assert_non_null(w[i]);
        }
        for (int64_t h = 0; h < a.group; h++)
            textbook(&a, h, w[0], w[1], w[2], w[3]);
        near(a.rows, a.group * a.dim, w[0], got.out, a.ld_out, distance);
        near(a.rows, a.group * a.dim, w[1], got.dq, a.ld_dq, distance);
        near(a.rows, a.dim, w[2], got.dk, a.ld_dk, distance);
        near(a.rows, a.dim, w[3], got.dv, a.ld_dv, distance);
        for (int i = 0; i < 4; i++)
            free(w[i]);
    }
}

/* ---- rule 2's blocks ---- */
/* One block onto c of what `seen` shows, x[i] * y[i*ld], written out as the rule has it. */
static float block(float c, uint32_t seen, const float *x, const float *y, int64_t ld)
{
    float chain[2] = {0, 0};
    for (int i = 0; i < ACR_BLOCK; i++) {
        bool there = seen >> i & 1;
        float l = there ? acr__bf16_to_float(acr__bf16_operand(x[i])) : 0;
        float r = there ? acr__bf16_to_float(acr__bf16_operand(y[i * ld])) : 0;
        chain[i % 2] = acr__mma32_fma(l, r, chain[i % 2]);
    }
    return acr__mma32_add(c, acr__mma32_add(chain[0], chain[1]));
}

/* Queries of zeros weigh the n keys that they see by 1/n each, so the weighted sum is
 * blocks of keys and dv blocks of queries, by place, head after head. */
static float blocks_of_keys(const acr_attention_args *a, int64_t p, int64_t e)
{
    float weight[ACR_BLOCK], out = 0;
    for (int64_t b = 0; b < a->rows; b += ACR_BLOCK) {
        uint32_t seen = 0;
        for (int j = 0; j < ACR_BLOCK; j++) {
            weight[j] = 1.0f / (float)(given.position[p] + 1);
            seen |= (uint32_t)(b + j < a->rows && sees(p, b + j)) << j;
        }
        if (seen)
            out = block(out, seen, weight, given.v + 2 + b * a->ld_value + e, a->ld_value);
    }
    return out;
}

static float blocks_of_queries(const acr_attention_args *a, int64_t p, int64_t e)
{
    float weight[ACR_BLOCK], dv = 0;
    for (int64_t h = 0; h < a->group; h++)
        for (int64_t b = 0; b < a->rows; b += ACR_BLOCK) {
            uint32_t seen = 0;
            for (int r = 0; r < ACR_BLOCK && b + r < a->rows; r++) {
                weight[r] = 1.0f / (float)(given.position[b + r] + 1);
                seen |= (uint32_t)sees(b + r, p) << r;
            }
            if (seen)
                dv = block(dv, seen, weight, given.dout + 3 + b * a->ld_dout + h * a->dim + e, a->ld_dout);
        }
    return dv;
}

static void expect_blocks(acr_attention_args a)
{
    const acr_kernels *k;
    a.bf16 = &acr__kernels_scalar;
    a.threshold = 0;
    a.add_v = false;
    memset(given.q, 0, sizeof given.q);
    for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++) {
        run(k, &a, ALL, &got);
        for (int64_t p = 0; p < a.rows; p++)
            for (int64_t e = 0; e < a.dim; e++) {
                float out = blocks_of_keys(&a, p, e), dv = blocks_of_queries(&a, p, e);
                for (int64_t h = 0; h < a.group; h++)
                    assert_memory_equal(&out, got.out + 1 + p * a.ld_out + h * a.dim + e, sizeof out);
                assert_memory_equal(&dv, got.dv + 1 + p * a.ld_dv + e, sizeof dv);
            }
    }
}

static void blocks_are_of_places(void **state)
{
    (void)state;
    for (int c = 0; c < 24; c++)
        expect_blocks(draw_case(c % 2 ? TINY : ORDINARY));
}

/* Two blocks of keys leave -0 of the sum of query 65, and its own two keys' products
 * underflow to -0: the +0 times +0 behind them makes it +0. */
static void zeros_keep_their_signs(void **state)
{
    (void)state;
    enum { ROWS = 96 }; /* with less, +0 behind the last row would hide it */
    acr_attention_args a = {.rows = ROWS, .dim = 1, .group = 1, .ldq = 1, .ld_key = 1, .ld_value = 1, .ld_out = 1,
                            .ld_stats = 2, .ld_dout = 1, .ld_dq = 1, .ld_dk = 1, .ld_dv = 1, .scale = 1,
                            .scratch = scratch};
    draw_case(ORDINARY);
    float *v = given.v + 2;
    memset(v, 0, ROWS * sizeof *v);
    v[3] = 0x1p-119f;
    v[40] = -0x1.4p-119f;
    for (int j = 64; j < ROWS; j++)
        v[j] = j < 66 ? -0x1p-126f : -1;
    for (int p = 0; p < ROWS; p++)
        given.position[p] = p;
    expect_blocks(a);
    const float plus = 0;
    assert_memory_equal(got.out + 1 + 65, &plus, sizeof plus);
    /* Two blocks of queries leave -0 of dv[0]; those of another document are not executed. */
    const float minus = -0.0f;
    memset(given.dout, 0, sizeof given.dout);
    given.dout[3] = 0x1p-126f;
    given.dout[3 + 32] = -0x1.8p-121f;
    for (int p = 64; p < ROWS; p++)
        given.position[p] = p - 64;
    expect_blocks(a);
    assert_memory_equal(got.dv + 1, &minus, sizeof minus);
}

/* Every element of dropout has a number of its own, whatever the head and the row:
 * a query that sees one key keeps it or not by the generator's word for it. */
static void dropout_is_counted(void **state)
{
    (void)state;
    enum { ROWS = 50, HEADS = 3 };
    acr_attention_args a = {.rows = ROWS, .dim = 1, .group = HEADS, .ldq = HEADS, .ld_key = 1, .ld_value = 1,
                            .ld_out = HEADS, .ld_stats = 2 * HEADS, .scale = 1, .scratch = scratch,
                            .threshold = UINT32_C(1) << 31, .kept_scale = 2, .heads = HEADS, .seed = 9, .window = 3,
                            .op = 77, .place = 12};
    int kept = 0;
    for (int p = 0; p < ROWS; p++) {
        given.position[p] = 0;
        given.v[2 + p] = 1;
    }
    forward(&acr__kernels_scalar, a, 0, ROWS, &got);
    for (uint32_t p = 0; p < ROWS; p++)
        for (uint32_t h = 0; h < HEADS; h++) {
            uint32_t element = HEADS * p * (p + 1) / 2 + h * (p + 1) + p, word[4];
            const uint32_t counter[4] = {3, 77, 12, element / 4}, key[2] = {9, 0};
            acr__philox4x32(counter, key, word);
            bool keep = word[element % 4] >= UINT32_C(1) << 31;
            assert_true(got.out[1 + p * HEADS + h] == (keep ? 2.0f : 0.0f));
            kept += keep;
        }
    assert_in_range(kept, ROWS * HEADS / 3, ROWS * HEADS * 2 / 3);
}

/* ---- the control: the same terms in another order are other bits ---- */
static void swap_rows(float *x, int64_t ld, int64_t n, int64_t i, int64_t j)
{
    for (int64_t c = 0; c < n; c++) {
        float kept = x[i * ld + c];
        x[i * ld + c] = x[j * ld + c];
        x[j * ld + c] = kept;
    }
}

static void another_order_is_seen(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        acr_attention_args a = draw_case(ORDINARY);
        while (a.group * a.dim < 64) /* few sums may come out the same */
            a = draw_case(ORDINARY);
        a.bf16 = bf16 ? &acr__kernels_scalar : NULL;
        a.rows = 40;
        a.scale = 0.25f; /* no query all but ignores the keys that change places */
        a.threshold = 0;
        a.add_q = false;
        for (int p = 0; p < a.rows; p++)
            given.position[p] = p;
        run(&acr__kernels_scalar, &a, DQ, &want);
        swap_rows(given.k + 1, a.ld_key, a.dim, 3, 20);
        swap_rows(given.v + 2, a.ld_value, a.dim, 3, 20);
        run(&acr__kernels_scalar, &a, DQ, &got);
        int64_t last = 39, width = a.group * a.dim;
        assert_false(row_is_the_same(last, want.out, got.out, a.ld_out, width));
        assert_false(row_is_the_same(last, want.dq, got.dq, a.ld_dq, width));
        for (int64_t c = 0; c < width; c++)
            assert_true(fabsf(want.out[1 + last * a.ld_out + c] - got.out[1 + last * a.ld_out + c]) < 1e-3f);
    }
}

/* Some tests draw for every path of the machine: what the next ones draw shall not depend on that. */
static int draw_anew(void **state)
{
    (void)state;
    state_of_draw = 1;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(paths_give_the_same_bytes, draw_anew),
        cmocka_unit_test_setup(pieces_do_not_show, draw_anew),
        cmocka_unit_test_setup(long_sequences, draw_anew),
        cmocka_unit_test_setup(an_unseen_key_is_absent, draw_anew),
        cmocka_unit_test_setup(an_unseeing_query_is_absent, draw_anew),
        cmocka_unit_test_setup(the_numbers_are_right, draw_anew),
        cmocka_unit_test_setup(blocks_are_of_places, draw_anew),
        cmocka_unit_test_setup(zeros_keep_their_signs, draw_anew),
        cmocka_unit_test_setup(dropout_is_counted, draw_anew),
        cmocka_unit_test_setup(another_order_is_seen, draw_anew),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
