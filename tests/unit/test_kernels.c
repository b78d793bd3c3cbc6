/* test_kernels.c: every kernel but the products (test_gemm.c) and attention
 * (test_attention.c), on every path this processor runs, against the scalar path as bytes: rows 1, 2, 3, 7, 33, columns
 * 1 .. 70, leading dimensions beyond the columns, ordinary numbers and edges.
 * NaNs compare equal whatever their payload. Buffers are compared whole, so a
 * store past the columns shows.
 *
 * Then, on the scalar path, what the contract says in words: OVERWRITE ignores
 * what was there, ADD adds the plain result, in place changes nothing, and a row
 * does not know its neighbours. What a kernel means is test_definitions.c's. */
#include "kernel/kernel.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { ROWS = 33, LD = 76, SIZE = ROWS * LD + 8, IGNORED = -100 };

typedef struct shape {
    int64_t rows, cols, ld;
    int variant; /* bit 0 is `add` where a kernel has it; the rest is each kernel's own */
} shape;

/* Inputs x, y, z [rows, ld]; row weights; labels; row indices. Outputs o [rows,
 * ld], stats [rows, 2]; row numbers. */
typedef struct buffers {
    const float *x, *y, *z, *weight;
    const int32_t *label, *index;
    float *o0, *o1, *o2;
    double *d0, *d1, *d2;
} buffers;

typedef struct kernel_case {
    const char *name;
    void (*run)(const acr_kernels *k, const shape *s, const buffers *b);
    int variants;
    bool adds;     /* bit 0 of variant is `add` */
    bool in_place; /* o0 may be x */
    bool by_row;   /* rows are independent */
    bool updates;  /* outputs are read whatever the variant */
} kernel_case;

/* -- the kernels, called --------------------------------------------------- */
static void run_unary(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->unary((enum acr_unary)s->variant, 0.01f, s->rows, s->cols, b->x, s->ld, b->o0, s->ld);
}

static void run_unary_back(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->unary_back((enum acr_unary)(s->variant / 2), 0.01f, s->rows, s->cols, b->x, s->ld, b->y, s->ld, b->o0, s->ld,
                  s->variant & 1);
}

static void run_copy(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->copy(s->rows, s->cols, b->x, s->ld, b->o0, s->ld, s->variant & 1);
}

static void run_add(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->add(s->rows, s->cols, b->x, s->ld, b->y, s->ld, b->o0, s->ld);
}

static void run_mul(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->mul(s->rows, s->cols, b->x, s->ld, b->y, s->ld, b->o0, s->ld, false);
}

static void run_mul_add(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->mul(s->rows, s->cols, b->x, s->ld, b->y, s->ld, b->o0, s->ld, true);
}

static void run_add_row(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->add_row(s->rows, s->cols, b->x, s->ld, b->z, b->o0, s->ld);
}

static void run_dropout(const acr_kernels *k, const shape *s, const buffers *b)
{
    uint64_t seed = UINT64_C(0x123456789abcdef0);
    int64_t element0 = s->variant / 2 * INT64_C(1234567891);
    for (int64_t r = 0; r < s->rows; r++)
        k->dropout(s->cols, b->x + r * s->ld, b->o0 + r * s->ld, s->variant & 1, UINT32_C(1) << 30, 4 / 3.0f, seed, 7,
                   0xabcdef01u, (uint32_t)b->index[r], element0);
}

static void run_norm(const acr_kernels *k, const shape *s, const buffers *b)
{
    const float *gamma = s->variant & 2 ? b->y : NULL, *beta = s->variant & 4 ? b->z : NULL;
    k->norm(s->variant & 1, s->rows, s->cols, b->x, s->ld, gamma, beta, 1e-5f, b->o0, s->ld, b->o1);
}

static void run_norm_back(const acr_kernels *k, const shape *s, const buffers *b)
{
    bool rms = s->variant & 2;
    k->norm(rms, s->rows, s->cols, b->y, s->ld, NULL, NULL, 1e-5f, b->o2, s->ld, b->o1);
    k->norm_back(rms, s->rows, s->cols, b->x, s->ld, b->y, s->ld, b->o1, s->variant & 4 ? b->z : NULL, b->o0, s->ld,
                 s->variant & 1);
}

static void run_norm_back_param(const acr_kernels *k, const shape *s, const buffers *b)
{
    float stats[2 * ROWS];
    for (int r = 0; r < 2 * ROWS; r++)
        stats[r] = b->z[r];
    k->norm_back_param(s->variant == 3, s->rows, s->cols, b->x, s->ld, b->y, s->ld, stats,
                       s->variant == 1 ? NULL : b->o0, s->variant == 2 ? NULL : b->o1);
}

static void run_softmax(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->softmax(s->rows, s->cols, b->x, s->ld, b->o0, s->ld);
}

static void run_softmax_back(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->softmax_back(s->rows, s->cols, b->x, s->ld, b->y, s->ld, b->o0, s->ld, s->variant & 1);
}

static void run_silu_mul(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->silu_mul(s->rows, s->cols, b->x, s->ld, b->y, s->ld, b->o0, s->ld);
}

/* bits 1 and 2: both gradients, the gate's alone, the other alone */
static void run_silu_mul_back(const acr_kernels *k, const shape *s, const buffers *b)
{
    bool add = s->variant & 1, other = s->variant / 2 == 2;
    float *up = s->variant / 2 == 0 ? b->o2 : other ? b->o0 : NULL;
    k->silu_mul_back(s->rows, s->cols, b->x, s->ld, b->y, s->ld, b->z, s->ld, other ? NULL : b->o0, s->ld, add, up,
                     s->ld, add);
}

/* bit 1 back, bit 2 one head rather than many; an odd column is left out of the turn */
static void run_rope(const acr_kernels *k, const shape *s, const buffers *b)
{
    int64_t pairs = s->cols / 2, dim = s->variant & 4 ? 2 * pairs : 2;
    bool add = s->variant & 1;
    if (pairs)
        k->rope(s->variant & 2, s->rows, 2 * pairs / dim, dim, b->x, s->ld, b->index, b->z, b->o0, s->ld, add);
    if (s->cols % 2)
        k->copy(s->rows, 1, b->x + 2 * pairs, s->ld, b->o0 + 2 * pairs, s->ld, add);
}

/* variant: bit 0 no weights, bit 1 no dpred, then the kind; cross-entropy goes on
 * with bits for probabilities, smoothing and class weights */
static void run_loss(const acr_kernels *k, const shape *s, const buffers *b)
{
    int kind = s->variant / 4;
    acr_loss_args a = {.rows = s->rows, .cols = s->cols, .pred = b->x, .ld_pred = s->ld, .target = b->y,
                       .ld_target = s->ld, .weight_scale = 1 / 3.0, .ignore_index = IGNORED, .delta = 0.75f,
                       .dpred = s->variant & 2 ? NULL : b->o0, .ld_dpred = s->ld, .row_loss = b->d0,
                       .row_weight = b->d1, .row_correct = b->d2};
    static const enum acr_loss_kind kinds[] = {ACR_MSE, ACR_MAE, ACR_HUBER, ACR_BCE};
    a.weight = s->variant & 1 ? NULL : b->weight;
    a.kind = kind < 4 ? kinds[kind] : ACR_CROSS_ENTROPY;
    if (kind >= 4) {
        kind -= 4;
        a.soft = kind & 1;
        a.label_smoothing = kind & 2 ? 0.1f : 0;
        a.class_weight = kind & 4 ? b->z : NULL;
        if (!a.soft)
            a.target = b->label;
    }
    k->loss(&a);
}

static void run_column_sum(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->column_sum(s->rows, s->cols, b->x, s->ld, b->o0);
}

static void run_gather(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->gather(s->rows, s->cols, b->index, b->x, s->ld, b->o0, s->ld);
}

static void run_scatter_add(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->scatter_add(s->rows, s->cols, b->index, b->x, s->ld, b->o0, s->ld);
}

static void run_close_leaf(const acr_kernels *k, const shape *s, const buffers *b)
{
    b->d0[0] = k->close_leaf(s->rows * s->cols, b->x, s->variant ? 3.0 : 4096.0, b->o0);
}

static void run_join(const acr_kernels *k, const shape *s, const buffers *b)
{
    k->join(s->rows * s->cols, b->x, b->o0);
}

static void run_sgd(const acr_kernels *k, const shape *s, const buffers *b)
{
    const acr_sgd_args a = {.lr = 0.01f, .momentum = s->variant & 1 ? 0.9f : 0, .dampening_1m = 0.7f,
                            .weight_decay = s->variant & 2 ? 0.03f : 0, .clip = s->variant & 4 ? 0.37f : 1,
                            .nesterov = s->variant & 8, .first = s->variant & 16};
    k->sgd(&a, s->rows * s->cols, b->o0, b->x, b->o1);
}

static void run_adam(const acr_kernels *k, const shape *s, const buffers *b)
{
    const acr_adam_args a = {.lr_bc1 = 0.013f, .decay = s->variant & 1 ? 0.9999f : 1, .l2 = s->variant & 2 ? 0.1f : 0,
                             .beta1_1m = 0.1f, .beta2 = 0.999f, .beta2_1m = 0.001f, .sqrt_bc2 = 0.31f,
                             .epsilon = 1e-8f, .clip = s->variant & 4 ? 0.37f : 1};
    k->adam(&a, s->rows * s->cols, b->o0, b->x, b->o1, b->o2);
}

static const kernel_case cases[] = {
    {"unary", run_unary, 7, .in_place = true, .by_row = true},
    {"unary_back", run_unary_back, 14, .adds = true, .in_place = true, .by_row = true},
    {"copy", run_copy, 2, .adds = true, .by_row = true},
    {"add", run_add, 1, .in_place = true, .by_row = true},
    {"mul", run_mul, 1, .in_place = true, .by_row = true},
    {"mul into", run_mul_add, 1, .by_row = true, .updates = true},
    {"add_row", run_add_row, 1, .in_place = true, .by_row = true},
    {"dropout", run_dropout, 4, .adds = true, .in_place = true, .by_row = true},
    {"norm", run_norm, 8, .by_row = true},
    {"norm_back", run_norm_back, 8, .adds = true, .by_row = true},
    {"norm_back_param", run_norm_back_param, 4, .updates = true},
    {"softmax", run_softmax, 1, .by_row = true},
    {"softmax_back", run_softmax_back, 2, .adds = true, .by_row = true},
    {"silu_mul", run_silu_mul, 1, .in_place = true, .by_row = true},
    {"silu_mul_back", run_silu_mul_back, 6, .adds = true, .in_place = true},
    {"rope", run_rope, 8, .adds = true, .in_place = true, .by_row = true},
    {"loss", run_loss, 48, .in_place = true, .by_row = true},
    {"column_sum", run_column_sum, 1, .updates = true},
    {"gather", run_gather, 1, .updates = false},
    {"scatter_add", run_scatter_add, 1, .updates = true},
    {"close_leaf", run_close_leaf, 2, .in_place = true},
    {"join", run_join, 1, .updates = true},
    {"sgd", run_sgd, 32, .updates = true},
    {"adam", run_adam, 8, .updates = true},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* -- numbers ----------------------------------------------------------------- */
static uint32_t state_of_draw = 1;
static uint32_t draw(void)
{
    state_of_draw = state_of_draw * 1664525u + 1013904223u;
    return state_of_draw >> 8;
}

enum numbers { ORDINARY, TINY, WILD };
static const char *const number_names[] = {"ordinary", "tiny", "wild"};

static float number(enum numbers kind)
{
    static const float tiny[] = {0x1p-149f, -0x1p-149f, 0x1p-126f, -0x1p-126f, 0x1.fffffcp-127f, -0x1.fffffcp-127f,
                                 0x1.000002p-126f, 1e-30f, -1e-30f, 0.0f, -0.0f, 0x1p-63f, -0x1.8p-64f, 0x1p-74f};
    static const float wild[] = {INFINITY, -INFINITY, NAN, -NAN, 3.4e38f, -3.4e38f, 0.0f, -0.0f, 1.0f, -1.0f, 88.72f,
                                 88.73f, -87.4f, -103.9f, -104.0f, 0.625f, 0.921875f, 4.0f, -9.02f, 1e-20f, 1e20f,
                                 0x1p-126f, 0x1p-149f, 0.75f, -0.75f, 6.0f, -5.6f, 0x1.fffffcp-127f};
    uint32_t u = draw();
    if (kind == TINY && u % 4)
        return tiny[u / 4 % (sizeof tiny / sizeof tiny[0])];
    if (kind == WILD && u % 3 == 0)
        return wild[u / 3 % (sizeof wild / sizeof wild[0])];
    float x = (float)((int32_t)draw() - (1 << 23)) * 0x1p-22f;
    return u & 8 ? x : x * 4; /* within +-2 and +-8 */
}

typedef struct store {
    float x[SIZE], y[SIZE], z[SIZE], weight[ROWS + 8], p[SIZE];
    int32_t label[ROWS], index[ROWS];
} store;

static store given;      /* too large for the stack */
static int64_t extent; /* of an output: what a case can reach, and some more */

static void fill(enum numbers kind, const shape *s)
{
    for (int64_t i = 0; i < ROWS * s->ld + 8; i++) {
        given.x[i] = number(kind);
        given.y[i] = number(kind);
        given.z[i] = number(kind);
        given.p[i] = number(kind);
    }
    for (int i = 0; i < ROWS; i++) {
        given.weight[i] = draw() % 4 ? number(ORDINARY) : 0;
        given.label[i] = draw() % 5 ? (int32_t)(draw() % (uint32_t)s->cols) : IGNORED;
        given.index[i] = (int32_t)(draw() % ROWS);
    }
}

typedef struct result {
    float o0[SIZE], o1[SIZE], o2[SIZE];
    double d[3 * ROWS];
} result;

/* `shift` moves every pointer off its alignment. */
static buffers buffers_of(result *r, int shift)
{
    return (buffers){given.x + shift, given.y + shift, given.z + shift, given.weight + shift, given.label, given.index,
                     r->o0 + shift, r->o1 + shift, r->o2 + shift, r->d, r->d + ROWS, r->d + 2 * ROWS};
}

static void prepare(result *r, bool keep)
{
    for (int64_t i = 0; i < extent; i++) {
        r->o0[i] = keep ? given.p[i] : NAN;
        r->o1[i] = keep ? given.y[i] : NAN;
        r->o2[i] = keep ? given.z[i] : NAN;
    }
    for (int i = 0; i < 3 * ROWS; i++)
        r->d[i] = -5;
}

static bool reads_outputs(const kernel_case *c, int variant) { return c->updates || (c->adds && variant & 1); }

static void run_case(const kernel_case *c, const acr_kernels *k, const shape *s, int shift, result *r)
{
    prepare(r, reads_outputs(c, s->variant));
    buffers b = buffers_of(r, shift);
    c->run(k, s, &b);
}

/* -- comparing ---------------------------------------------------------------- */
static int64_t differing(int64_t n, const float *a, const float *b)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(a[i] != a[i] && b[i] != b[i]))
            return i;
    return -1;
}

static int64_t differing_double(int64_t n, const double *a, const double *b)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(a[i] != a[i] && b[i] != b[i]))
            return i;
    return -1;
}

static bool same(const result *a, const result *b)
{
    return differing(extent, a->o0, b->o0) < 0 && differing(extent, a->o1, b->o1) < 0 &&
           differing(extent, a->o2, b->o2) < 0 && differing_double(3 * ROWS, a->d, b->d) < 0;
}

static const int row_counts[] = {1, 2, 3, 7, 33};
enum { ROW_COUNTS = sizeof row_counts / sizeof row_counts[0] };

/* Calls f for every case, shape and kind of numbers; returns how often it said false. */
typedef bool check(const kernel_case *c, const acr_kernels *k, const shape *s, int shift);
static int failures_of(const kernel_case *c, const acr_kernels *k, enum numbers kind, int step, check *f)
{
    int failures = 0;
    for (int64_t cols = 1; cols <= 70; cols += step)
        for (int i = 0; i < ROW_COUNTS; i++) {
            shape s = {row_counts[i], cols, cols + (cols + i) % 3 * 3, 0};
            int shift = (int)(cols + i) % 5;
            if ((row_counts[i] == ROWS && cols % 7 != 1) || (kind != ORDINARY && i % 2 == 0))
                continue; /* what many rows or odd numbers could show, fewer of them show */
            extent = (c->run == run_scatter_add ? ROWS : s.rows) * (s.ld < 2 ? 2 : s.ld) + 8;
            fill(kind, &s);
            for (s.variant = 0; s.variant < c->variants; s.variant++)
                if (!f(c, k, &s, shift) && failures++ == 0)
                    print_message("%s on %s, %s numbers: variant %d, %d rows, %d columns, ld %d\n", c->name, k->name,
                                  number_names[kind], s.variant, (int)s.rows, (int)cols, (int)s.ld);
        }
    return failures;
}

static result want, got;

static bool equals_scalar(const kernel_case *c, const acr_kernels *k, const shape *s, int shift)
{
    run_case(c, &acr__kernels_scalar, s, shift, &want);
    run_case(c, k, s, shift, &got);
    return same(&want, &got);
}

static void test_paths_give_the_same_bytes(void **state)
{
    (void)state;
    int failures = 0, paths = 0;
    const acr_kernels *k;
    for (int i = 1; (k = acr__kernels_runnable(i)) != NULL; i++, paths++)
        for (int c = 0; c < CASES; c++)
            for (int kind = ORDINARY; kind <= WILD; kind++)
                failures += failures_of(&cases[c], k, (enum numbers)kind, 1, equals_scalar);
    static const char *const all[] = {"avx2", "avx512", "neon"};
    for (int i = 0; i < 3; i++) {
        bool exists = false;
        if (!acr__kernels_find(all[i], &exists) && exists)
            print_message("skipped: this processor lacks %s\n", all[i]);
    }
    print_message("%d paths beside scalar\n", paths);
    assert_int_equal(failures, 0);
}

/* -- negative control: wrong kernels must be seen --------------------------------- */
static void unfused_mul(int64_t rows, int64_t cols, const void *a, int64_t lda, const void *b, int64_t ldb, void *y,
                        int64_t ldy, bool add)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++) {
            volatile float product = ((const float *)a)[r * lda + j] * ((const float *)b)[r * ldb + j];
            float *to = (float *)y + r * ldy + j;
            *to = add ? *to + product : product;
        }
}

static void backward_column_sum(int64_t rows, int64_t cols, const void *dy, int64_t lddy, void *acc)
{
    for (int64_t r = rows - 1; r >= 0; r--)
        acr__kernels_scalar.column_sum(1, cols, (const float *)dy + r * lddy, lddy, acc);
}

static void one_chain_softmax_back(int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *y,
                                   int64_t ldy, void *dx, int64_t lddx, bool add)
{
    for (int64_t r = 0; r < rows; r++) {
        float dot = 0;
        for (int64_t j = 0; j < cols; j++)
            dot = __builtin_fmaf(((const float *)dy)[r * lddy + j], ((const float *)y)[r * ldy + j], dot);
        for (int64_t j = 0; j < cols; j++) {
            float d = ((const float *)y)[r * ldy + j] * (((const float *)dy)[r * lddy + j] - dot);
            float *to = (float *)dx + r * lddx + j;
            *to = add ? *to + d : d;
        }
    }
}

static void test_wrong_order_is_seen(void **state)
{
    (void)state;
    acr_kernels wrong = acr__kernels_scalar;
    wrong.name = "wrong on purpose";
    wrong.mul = unfused_mul;
    wrong.column_sum = backward_column_sum;
    wrong.softmax_back = one_chain_softmax_back;
    for (int c = 0; c < CASES; c++) {
        bool broken = cases[c].run == run_mul_add || cases[c].run == run_column_sum || cases[c].run == run_softmax_back;
        int failures = failures_of(&cases[c], &wrong, ORDINARY, 13, equals_scalar);
        assert_true(broken ? failures > 0 : failures == 0);
    }
}

/* -- the contract in words ------------------------------------------------------- */
static bool add_is_one_add(const kernel_case *c, const acr_kernels *k, const shape *s, int shift)
{
    if (!c->adds || !(s->variant & 1))
        return true;
    shape plain = *s;
    plain.variant &= ~1;
    run_case(c, k, &plain, shift, &want);
    run_case(c, k, s, shift, &got);
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t j = 0; j < s->cols; j++) {
            int64_t at = shift + r * s->ld + j;
            float sum = given.p[at] + want.o0[at];
            if (!(got.o0[at] == sum || (sum != sum && got.o0[at] != got.o0[at])))
                return false;
        }
    return true;
}

static bool overwrite_ignores_nan(const kernel_case *c, const acr_kernels *k, const shape *s, int shift)
{
    if (reads_outputs(c, s->variant))
        return true;
    run_case(c, k, s, shift, &want);
    prepare(&got, true);
    buffers b = buffers_of(&got, shift);
    c->run(k, s, &b);
    if (c->run == run_loss && s->variant & 2)
        return differing_double(3 * ROWS, want.d, got.d) < 0;
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t j = 0; c->run != run_close_leaf && j < s->cols; j++) {
            int64_t at = shift + r * s->ld + j;
            if (!isfinite(want.o0[at]) || want.o0[at] != got.o0[at])
                return false;
        }
    return true;
}

static bool in_place_is_the_same(const kernel_case *c, const acr_kernels *k, const shape *s, int shift)
{
    if (!c->in_place || reads_outputs(c, s->variant) || (c->run == run_loss && s->variant & 2))
        return true;
    run_case(c, &acr__kernels_scalar, s, shift, &want);
    prepare(&got, false);
    memcpy(got.o0, given.x, sizeof got.o0);
    buffers b = buffers_of(&got, shift);
    b.x = b.o0;
    c->run(k, s, &b);
    int64_t ld = c->run == run_close_leaf ? s->cols : s->ld;
    for (int64_t r = 0; r < s->rows; r++)
        if (differing(s->cols, want.o0 + shift + r * ld, got.o0 + shift + r * ld) >= 0)
            return false;
    return differing_double(3 * ROWS, want.d, got.d) < 0;
}

/* Each row alone, at its own place, against all rows together. */
static bool rows_are_alone(const kernel_case *c, const acr_kernels *k, const shape *s, int shift)
{
    if (!c->by_row)
        return true;
    run_case(c, &acr__kernels_scalar, s, shift, &want);
    prepare(&got, reads_outputs(c, s->variant));
    shape one = *s;
    one.rows = 1;
    for (int64_t r = s->rows - 1; r >= 0; r--) {
        buffers b = buffers_of(&got, shift);
        b.x += r * s->ld;
        b.o0 += r * s->ld;
        b.o1 += 2 * r;
        b.o2 += r * s->ld;
        b.weight += r;
        b.label += r;
        b.index += r;
        b.d0 += r;
        b.d1 += r;
        b.d2 += r;
        if (c->run != run_norm) /* there y is gamma */
            b.y += r * s->ld;
        c->run(k, &one, &b);
    }
    return same(&want, &got);
}

static void hold(check *f, enum numbers kind, int step)
{
    int failures = 0;
    const acr_kernels *k;
    for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++)
        for (int c = 0; c < CASES; c++)
            failures += failures_of(&cases[c], k, kind, step, f);
    assert_int_equal(failures, 0);
}

static void test_add(void **state)
{
    (void)state;
    hold(add_is_one_add, ORDINARY, 3);
}

static void test_overwrite(void **state)
{
    (void)state;
    hold(overwrite_ignores_nan, ORDINARY, 3);
}

static void test_in_place(void **state)
{
    (void)state;
    hold(in_place_is_the_same, WILD, 3);
}

static void test_rows(void **state)
{
    (void)state;
    hold(rows_are_alone, WILD, 5);
}

/* -- every activation over every exponent ---------------------------------------- */
static void test_activations_over_all_floats(void **state)
{
    (void)state;
    enum { N = 1021 };
    static float x[N], dy[N], a[N], b[N];
    const acr_kernels *k;
    for (int path = 1; (k = acr__kernels_runnable(path)) != NULL; path++)
        for (uint64_t u = 0; u <= UINT32_MAX; u += (uint64_t)N * 8191) {
            for (uint32_t i = 0; i < N; i++) {
                uint32_t bits = (uint32_t)(u + (uint64_t)i * 8191);
                memcpy(&x[i], &bits, sizeof bits);
                dy[i] = 1.25f;
            }
            for (int f = ACR_RELU; f <= ACR_SIGMOID; f++) {
                acr__kernels_scalar.unary((enum acr_unary)f, 0.01f, 1, N, x, N, a, N);
                k->unary((enum acr_unary)f, 0.01f, 1, N, x, N, b, N);
                assert_int_equal(differing(N, a, b), -1);
                acr__kernels_scalar.unary_back((enum acr_unary)f, 0.01f, 1, N, dy, N, x, N, a, N, false);
                k->unary_back((enum acr_unary)f, 0.01f, 1, N, dy, N, x, N, b, N, false);
                assert_int_equal(differing(N, a, b), -1);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_give_the_same_bytes),
        cmocka_unit_test(test_wrong_order_is_seen),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_overwrite),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_activations_over_all_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
