/* test_paths.c: a small layer by kernels alone, forward and back: its results on
 * any path, cut in any micro-batches, are those of the scalar path on the whole
 * batch, byte for byte. Products are also cut over k, over columns, and packed. */
#include "kernel/kernel.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { B = 97, I = 37, O = 21 };

/* Everything one batch leaves behind */
typedef struct outcome {
    float y[B * O], probabilities[B * O], dy[B * O], dx[B * I], dw[O * I], db[O], norm[B * I], stats[B * 2],
        dgamma[I], dbeta[I], dropped[B * I];
    double loss[B], weight[B], correct[B];
} outcome;

static struct {
    float x[B * I], w[O * I], b[O], gamma[I], dw[O * I];
    int32_t label[B];
} given;

static uint32_t state_of_draw = 5;
static float draw(void)
{
    state_of_draw = state_of_draw * 1664525u + 1013904223u;
    return (float)((int32_t)(state_of_draw >> 8) - (1 << 23)) * 0x1p-22f;
}

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < B * I; i++)
        given.x[i] = i % 11 ? draw() : draw() * 0x1p-126f; /* some subnormal */
    for (int i = 0; i < O * I; i++) {
        given.w[i] = draw();
        given.dw[i] = draw();
    }
    for (int i = 0; i < O; i++)
        given.b[i] = draw();
    for (int i = 0; i < I; i++)
        given.gamma[i] = draw();
    for (int i = 0; i < B; i++)
        given.label[i] = i % 9 ? i * 7 % O : -1;
    return 0;
}

static void *scratch_of(const acr_kernels *k)
{
    void *p = aligned_alloc(64, (k->gemm_scratch + 127) / 64 * 64);
    assert_non_null(p);
    return p;
}

/* Rows [r, r + n) of the batch; `packed` is W, packed for Y = X W' + b, or NULL. */
static void micro_batch(const acr_kernels *k, int64_t r, int64_t n, const void *packed, void *scratch, outcome *o)
{
    const float *x = given.x + r * I;
    float *y = o->y + r * O, *dy = o->dy + r * O;
    acr_gemm forward = {.m = n, .n = O, .k = I, .a = x, .a_row = I, .a_col = 1, .b = given.w, .b_row = 1,
                        .b_col = I, .packed = packed, .c = y, .c_row = O, .start = ACR_START_ROW,
                        .row = given.b, .scratch = scratch};
    k->gemm(&forward);
    k->softmax(n, O, y, O, o->probabilities + r * O, O);
    acr_loss_args loss = {.kind = ACR_CROSS_ENTROPY, .rows = n, .cols = O, .pred = y, .ld_pred = O,
                          .target = given.label + r, .weight_scale = 1, .ignore_index = -1, .label_smoothing = 0.1f,
                          .dpred = dy, .ld_dpred = O, .row_loss = o->loss + r, .row_weight = o->weight + r,
                          .row_correct = o->correct + r};
    k->loss(&loss);
    acr_gemm back = {.m = n, .n = I, .k = O, .a = dy, .a_row = O, .a_col = 1, .b = given.w, .b_row = I,
                     .b_col = 1, .c = o->dx + r * I, .c_row = I, .start = ACR_START_ZERO, .scratch = scratch};
    k->gemm(&back);
    acr_gemm weight = {.m = O, .n = I, .k = n, .a = dy, .a_row = 1, .a_col = O, .b = x, .b_row = I, .b_col = 1,
                       .c = o->dw, .c_row = I, .start = ACR_START_C, .scratch = scratch};
    k->gemm(&weight);
    k->column_sum(n, O, dy, O, o->db);
    k->norm(false, n, I, x, I, given.gamma, NULL, 1e-5f, o->norm + r * I, I, o->stats + 2 * r);
    k->norm_back_param(false, n, I, o->dx + r * I, I, x, I, o->stats + 2 * r, o->dgamma, o->dbeta);
    for (int64_t i = r; i < r + n; i++)
        k->dropout(I, given.x + i * I, o->dropped + i * I, false, UINT32_C(1) << 31, 2, 99, 3, 4, (uint32_t)i, 0);
}

static void run_batch(const acr_kernels *k, int64_t micro, bool pack, outcome *o)
{
    void *scratch = scratch_of(k);
    void *packed = NULL;
    memset(o, 0, sizeof *o);
    memcpy(o->dw, given.dw, sizeof o->dw);
    if (pack) {
        packed = aligned_alloc(64, (size_t)(O + k->panel) * (I + 1) * sizeof(float) / 64 * 64 + 64);
        assert_non_null(packed);
        k->pack_b(O, I, given.w, 1, I, packed);
    }
    for (int64_t r = 0; r < B; r += micro)
        micro_batch(k, r, r + micro < B ? micro : B - r, packed, scratch, o);
    free(packed);
    free(scratch);
}

static outcome whole, parts;

static void test_micro_batches_and_paths(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 7, 31, 32, 33, B};
    const acr_kernels *k;
    run_batch(&acr__kernels_scalar, B, false, &whole);
    for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (int pack = 0; pack < 2; pack++) {
                run_batch(k, sizes[s], pack, &parts);
                if (memcmp(&whole, &parts, sizeof whole) != 0)
                    fail_msg("%s differs at micro-batch %d%s", k->name, (int)sizes[s], pack ? ", packed" : "");
            }
}

/* A sample moved to another place in the window is another sum. */
static void test_another_order_is_seen(void **state)
{
    (void)state;
    run_batch(&acr__kernels_scalar, B, false, &whole);
    for (int j = 0; j < I; j++) {
        float kept = given.x[j];
        given.x[j] = given.x[50 * I + j];
        given.x[50 * I + j] = kept;
    }
    given.label[0] = given.label[50];
    run_batch(&acr__kernels_scalar, B, false, &parts);
    assert_true(memcmp(whole.dw, parts.dw, sizeof whole.dw) != 0);
}

/* k in pieces that continue from C, columns in pieces that begin at a panel. */
static void test_products_in_pieces(void **state)
{
    (void)state;
    static float c[B * O], cut[B * O];
    const acr_kernels *k;
    for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++) {
        void *scratch = scratch_of(k);
        acr_gemm g = {.m = B, .n = O, .k = I, .a = given.x, .a_row = I, .a_col = 1, .b = given.w, .b_row = 1,
                      .b_col = I, .c = c, .c_row = O, .start = ACR_START_ZERO, .scratch = scratch};
        k->gemm(&g);
        for (int64_t step = 1; step < I; step += 5) {
            acr_gemm piece = g;
            piece.c = cut;
            for (int64_t p = 0; p < I; p += step) {
                piece.a = given.x + p;
                piece.b = given.w + p;
                piece.k = p + step < I ? step : I - p;
                piece.start = p == 0 ? ACR_START_ZERO : ACR_START_C;
                k->gemm(&piece);
            }
            assert_memory_equal(c, cut, sizeof c);
        }
        for (int64_t j = 0; j < O; j += k->panel) {
            acr_gemm piece = g;
            piece.b = given.w + j * I;
            piece.c = cut + j;
            piece.n = j + k->panel < O ? k->panel : O - j;
            k->gemm(&piece);
        }
        assert_memory_equal(c, cut, sizeof c);
        free(scratch);
    }
}

/* Dropout is counted: any stretch of elements is the same stretch of the whole. */
static void test_dropout_in_pieces(void **state)
{
    (void)state;
    enum { N = 300 };
    float whole_row[N], piece[N];
    const acr_kernels *k;
    acr__kernels_scalar.dropout(N, given.x, whole_row, false, UINT32_C(1) << 30, 1.5f, 11, 2, 3, 4, 0);
    for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++)
        for (int64_t step = 1; step < N; step = step * 2 + 1) {
            for (int64_t e = 0; e < N; e += step)
                k->dropout(e + step < N ? step : N - e, given.x + e, piece + e, false, UINT32_C(1) << 30, 1.5f, 11, 2,
                           3, 4, e);
            assert_memory_equal(whole_row, piece, sizeof piece);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_micro_batches_and_paths),
        cmocka_unit_test(test_products_in_pieces),
        cmocka_unit_test(test_dropout_in_pieces),
        cmocka_unit_test(test_another_order_is_seen),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
