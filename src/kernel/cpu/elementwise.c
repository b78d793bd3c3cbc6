/* elementwise.c: activations, copies, sums, products, rotary positions and dropout
 * over vectors.
 *
 * Invariant: element (r, j) depends on the elements (r, j) of its operands and
 * on nothing beside it, so rows may be joined where nothing lies between them.
 * Does not thread: callers split rows. */
#include "kernel/cpu/kernels.h"

/* Rows that follow each other without a gap are one long row: narrow matrices
 * would otherwise be all tails. */
typedef struct shape {
    int64_t rows, cols;
} shape;

static shape joined(int64_t rows, int64_t cols, int64_t ld_a, int64_t ld_b, int64_t ld_y)
{
    bool dense = ld_a == cols && ld_b == cols && ld_y == cols;
    return dense ? (shape){1, rows * cols} : (shape){rows, cols};
}

/* `f` is a constant at every call, so the choice is made once, outside the loops. */
static inline __attribute__((always_inline)) void unary_rows(enum acr_unary f, float param, int64_t rows, int64_t cols,
                                                             const float *x, int64_t ldx, float *y, int64_t ldy)
{
    shape s = joined(rows, cols, ldx, ldx, ldy);
    vf slope = v_set1(param);
    for (int64_t r = 0; r < s.rows; r++)
        for (int64_t j = 0; j < s.cols; j += VL) {
            int64_t n = s.cols - j;
            v_put(y + r * ldy + j, v_unary(f, slope, v_get(x + r * ldx + j, n)), n);
        }
}

void ACR_CPU(unary)(enum acr_unary f, float param, int64_t rows, int64_t cols, const void *x, int64_t ldx, void *y,
                    int64_t ldy)
{
    switch (f) {
    case ACR_RELU: unary_rows(ACR_RELU, param, rows, cols, x, ldx, y, ldy); break;
    case ACR_LEAKY_RELU: unary_rows(ACR_LEAKY_RELU, param, rows, cols, x, ldx, y, ldy); break;
    case ACR_GELU: unary_rows(ACR_GELU, param, rows, cols, x, ldx, y, ldy); break;
    case ACR_GELU_TANH: unary_rows(ACR_GELU_TANH, param, rows, cols, x, ldx, y, ldy); break;
    case ACR_SILU: unary_rows(ACR_SILU, param, rows, cols, x, ldx, y, ldy); break;
    case ACR_TANH: unary_rows(ACR_TANH, param, rows, cols, x, ldx, y, ldy); break;
    case ACR_SIGMOID: unary_rows(ACR_SIGMOID, param, rows, cols, x, ldx, y, ldy); break;
    }
}

typedef struct back {
    float param;
    int64_t rows, cols;
    const float *dy, *saved;
    float *dx;
    int64_t lddy, lds, lddx;
    bool add;
} back;

static inline __attribute__((always_inline)) void back_rows(enum acr_unary f, const back *b)
{
    shape s = joined(b->rows, b->cols, b->lddy, b->lds, b->lddx);
    vf slope = v_set1(b->param);
    for (int64_t r = 0; r < s.rows; r++)
        for (int64_t j = 0; j < s.cols; j += VL) {
            int64_t n = s.cols - j;
            float *dx = b->dx + r * b->lddx + j;
            vf d = v_unary_back(f, slope, v_get(b->dy + r * b->lddy + j, n), v_get(b->saved + r * b->lds + j, n));
            v_put(dx, b->add ? v_add(v_get(dx, n), d) : d, n);
        }
}

void ACR_CPU(unary_back)(enum acr_unary f, float param, int64_t rows, int64_t cols, const void *dy, int64_t lddy,
                         const void *saved, int64_t lds, void *dx, int64_t lddx, bool add)
{
    const back b = {param, rows, cols, dy, saved, dx, lddy, lds, lddx, add};
    switch (f) {
    case ACR_RELU: back_rows(ACR_RELU, &b); break;
    case ACR_LEAKY_RELU: back_rows(ACR_LEAKY_RELU, &b); break;
    case ACR_GELU: back_rows(ACR_GELU, &b); break;
    case ACR_GELU_TANH: back_rows(ACR_GELU_TANH, &b); break;
    case ACR_SILU: back_rows(ACR_SILU, &b); break;
    case ACR_TANH: back_rows(ACR_TANH, &b); break;
    case ACR_SIGMOID: back_rows(ACR_SIGMOID, &b); break;
    }
}

void ACR_CPU(copy)(int64_t rows, int64_t cols, const void *src, int64_t lds, void *dst, int64_t ldd, bool add)
{
    if (add)
        ACR_CPU(add)(rows, cols, dst, ldd, src, lds, dst, ldd);
    else
        for (int64_t r = 0; r < rows && src != dst; r++)
            memcpy((float *)dst + r * ldd, (const float *)src + r * lds, (size_t)cols * sizeof(float));
}

void ACR_CPU(add)(int64_t rows, int64_t cols, const void *a, int64_t lda, const void *b, int64_t ldb, void *y,
                  int64_t ldy)
{
    shape s = joined(rows, cols, lda, ldb, ldy);
    for (int64_t r = 0; r < s.rows; r++)
        for (int64_t j = 0; j < s.cols; j += VL) {
            int64_t n = s.cols - j;
            vf sum = v_add(v_get((const float *)a + r * lda + j, n), v_get((const float *)b + r * ldb + j, n));
            v_put((float *)y + r * ldy + j, sum, n);
        }
}

void ACR_CPU(mul)(int64_t rows, int64_t cols, const void *a, int64_t lda, const void *b, int64_t ldb, void *y,
                  int64_t ldy, bool add)
{
    shape s = joined(rows, cols, lda, ldb, ldy);
    for (int64_t r = 0; r < s.rows; r++)
        for (int64_t j = 0; j < s.cols; j += VL) {
            int64_t n = s.cols - j;
            float *to = (float *)y + r * ldy + j;
            vf u = v_get((const float *)a + r * lda + j, n), v = v_get((const float *)b + r * ldb + j, n);
            v_put(to, add ? v_fma(u, v, v_get(to, n)) : v_mul(u, v), n);
        }
}

void ACR_CPU(silu_mul)(int64_t rows, int64_t cols, const void *gate, int64_t ldg, const void *up, int64_t ldu, void *y,
                       int64_t ldy)
{
    shape s = joined(rows, cols, ldg, ldu, ldy);
    for (int64_t r = 0; r < s.rows; r++)
        for (int64_t j = 0; j < s.cols; j += VL) {
            int64_t n = s.cols - j;
            vf g = v_get((const float *)gate + r * ldg + j, n), u = v_get((const float *)up + r * ldu + j, n);
            v_put((float *)y + r * ldy + j, v_mul(v_unary(ACR_SILU, g, g), u), n);
        }
}

void ACR_CPU(silu_mul_back)(int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *gate, int64_t ldg,
                            const void *up, int64_t ldu, void *dgate, int64_t lddg, bool add_gate, void *dup,
                            int64_t lddu, bool add_up)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j += VL) {
            int64_t n = cols - j;
            vf d = v_get((const float *)dy + r * lddy + j, n), g = v_get((const float *)gate + r * ldg + j, n);
            vf u = v_get((const float *)up + r * ldu + j, n);
            if (dgate) {
                float *to = (float *)dgate + r * lddg + j;
                vf x = v_unary_back(ACR_SILU, g, v_mul(d, u), g);
                v_put(to, add_gate ? v_add(v_get(to, n), x) : x, n);
            }
            if (dup) {
                float *to = (float *)dup + r * lddu + j;
                vf x = v_mul(d, v_unary(ACR_SILU, g, g));
                v_put(to, add_up ? v_add(v_get(to, n), x) : x, n);
            }
        }
}

void ACR_CPU(rope)(bool reverse, int64_t rows, int64_t heads, int64_t dim, const void *vx, int64_t ldx,
                   const int32_t *position, const void *table, void *vy, int64_t ldy, bool add)
{
    int64_t half = dim / 2;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++) {
            const float *cosine = (const float *)table + position[r] * dim, *x = (const float *)vx + r * ldx + h * dim;
            float *y = (float *)vy + r * ldy + h * dim;
            for (int64_t i = 0; i < half; i += VL) {
                int64_t n = half - i;
                vf a = v_get(x + i, n), b = v_get(x + half + i, n);
                vf c = v_get(cosine + i, n), s = v_get(cosine + half + i, n);
                s = reverse ? v_neg(s) : s;
                vf first = v_fma(a, c, v_neg(v_mul(b, s))), second = v_fma(b, c, v_mul(a, s));
                v_put(y + i, add ? v_add(v_get(y + i, n), first) : first, n);
                v_put(y + half + i, add ? v_add(v_get(y + half + i, n), second) : second, n);
            }
        }
}

/* 0 times what is not finite is NaN, and stays so. */
bool ACR_CPU(finite)(int64_t n, const void *x)
{
    vf sum = v_set1(0);
    for (int64_t j = 0; j < n; j += VL)
        sum = v_fma(v_get((const float *)x + j, n - j), v_set1(0), sum);
    return m_all(v_eq(sum, sum));
}

void ACR_CPU(add_row)(int64_t rows, int64_t cols, const void *x, int64_t ldx, const void *row, void *y, int64_t ldy)
{
    for (int64_t r = 0; r < rows; r++)
        ACR_CPU(add)(1, cols, (const float *)x + r * ldx, cols, row, cols, (float *)y + r * ldy, cols);
}

/* -- dropout -------------------------------------------------------------
 * Philox4x32-10 (base/philox.h) of sixteen counters at once, their words in the
 * order of the elements. */
enum { WORDS = 64 };

static void philox_words(uint32_t window, uint32_t op, uint32_t place, uint32_t block, uint64_t seed,
                         uint32_t out[WORDS])
{
    static const uint32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vi c0[VQ], c1[VQ], c2[VQ], c3[VQ];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int q = 0; q < VQ; q++) {
        c0[q] = i_set1(window);
        c1[q] = i_set1(op);
        c2[q] = i_set1(place);
        c3[q] = i_add(i_set1(block), i_load(lane + q * VL));
    }
    for (int round = 0; round < 10; round++) {
        for (int q = 0; q < VQ; q++) {
            vi low0, high0, low1, high1;
            i_product(c0[q], UINT32_C(0xD2511F53), &low0, &high0);
            i_product(c2[q], UINT32_C(0xCD9E8D57), &low1, &high1);
            c0[q] = i_xor(i_xor(high1, c1[q]), i_set1(k0));
            c2[q] = i_xor(i_xor(high0, c3[q]), i_set1(k1));
            c1[q] = low1;
            c3[q] = low0;
        }
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    for (int q = 0; q < VQ; q++)
        i_store_columns(out + 4 * q * VL, c0[q], c1[q], c2[q], c3[q]);
}

void ACR_CPU(dropout)(int64_t cols, const void *vx, void *vy, bool add, uint32_t threshold, float scale, uint64_t seed,
                      uint32_t window, uint32_t op, uint32_t place, int64_t element0)
{
    const float *x = vx;
    float *y = vy;
    uint32_t words[WORDS + VL]; /* the last vector may read past the words it uses */
    memset(words + WORDS, 0, VL * sizeof words[0]);
    int64_t cut = element0 % 4; /* elements of the first counter that are not ours */
    for (int64_t first = -cut; first < cols; first += WORDS) {
        philox_words(window, op, place, (uint32_t)((element0 + first) / 4), seed, words);
        int64_t end = first + WORDS < cols ? first + WORDS : cols;
        for (int64_t j = first < 0 ? 0 : first; j < end; j += VL) {
            int64_t n = end - j;
            vm keep = i_ge_unsigned(i_load(words + (j - first)), i_set1(threshold));
            vf kept = v_mul(v_get(x + j, n), v_set1(scale)), dropped = v_set1(0.0f);
            if (add) {
                dropped = v_get(y + j, n);
                kept = v_add(dropped, kept);
            }
            v_put(y + j, v_select(keep, kept, dropped), n);
        }
    }
}
