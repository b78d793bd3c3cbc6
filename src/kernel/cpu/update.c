/* update.c: column sums and rows by index, and the close of a window: division
 * by W, joins, optimizers. The formulas are in ref.c.
 *
 * Invariant (rule 4): an accumulator's element takes its rows one by one in
 * order, starting from what it holds. Rows are taken several at a time only to
 * keep the element in a register between them. */
#include "kernel/cpu/kernels.h"

void ACR_CPU(column_sum)(int64_t rows, int64_t cols, const void *vdy, int64_t lddy, void *vacc)
{
    enum { GROUP = 8 };
    const float *dy = vdy;
    float *acc = vacc;
    for (int64_t r = 0; r < rows; r += GROUP) {
        int64_t count = rows - r < GROUP ? rows - r : GROUP;
        for (int64_t j = 0; j < cols; j += VL) {
            int64_t n = cols - j;
            vf sum = v_get(acc + j, n);
            for (int64_t i = 0; i < count; i++)
                sum = v_add(sum, v_get(dy + (r + i) * lddy + j, n));
            v_put(acc + j, sum, n);
        }
    }
}

void ACR_CPU(gather)(int64_t rows, int64_t cols, const int32_t *id, const void *table, int64_t ldt, void *y,
                     int64_t ldy)
{
    for (int64_t r = 0; r < rows; r++)
        memcpy((float *)y + r * ldy, (const float *)table + id[r] * ldt, (size_t)cols * sizeof(float));
}

void ACR_CPU(scatter_add)(int64_t rows, int64_t cols, const int32_t *id, const void *dy, int64_t lddy, void *acc,
                          int64_t lda)
{
    for (int64_t r = 0; r < rows; r++)
        ACR_CPU(copy)(1, cols, (const float *)dy + r * lddy, cols, (float *)acc + id[r] * lda, cols, true);
}

/* -- the close of a window -------------------------------------------------
 * Sixteen doubles at a time in plain C, which compilers turn into vectors: the
 * lanes are rule 3's chains and independent, so there is nothing to reorder. */
double ACR_CPU(close_leaf)(int64_t n, const void *vacc, double W, void *vg)
{
    const float *acc = vacc;
    float *g = vg;
    double c[16] = {0};
    for (int64_t i = 0; i < n; i += 16) {
        float part[16] = {0}; /* 0/W: +-0 in the lanes past the end */
        int count = n - i < 16 ? (int)(n - i) : 16;
        memcpy(part, acc + i, (size_t)count * sizeof(float));
        for (int lane = 0; lane < 16; lane++)
            part[lane] = (float)((double)part[lane] / W);
        for (int lane = 0; lane < count; lane++)
            c[lane] += (double)part[lane] * (double)part[lane];
        memcpy(g + i, part, (size_t)count * sizeof(float));
    }
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            c[i] += c[i + step];
    return c[0];
}

void ACR_CPU(join)(int64_t n, const void *src, void *dst) { ACR_CPU(copy)(1, n, src, n, dst, n, true); }

static vf clipped(const float *g, int64_t n, float clip)
{
    vf x = v_get(g, n);
    return clip != 1 ? v_mul(x, v_set1(clip)) : x;
}

/* What a weight without a gradient keeps of old ones (momentum, Adam's means) shrinks
 * to a few units of the smallest subnormal and stays there: 2^-149 times 0.9 is
 * rounded back up. A processor takes up to 150 cycles for arithmetic on subnormals,
 * and a window's close became four times as slow once dead units had gone that far,
 * so elements at rest go through whole numbers instead, to the same bits: at rest is
 * a subnormal state k (in units of 2^-149), no gradient, and a weight beside which a
 * step of less than 2^-76 is lost in rounding. */
enum { SUBNORMALS = 0x7fffff }; /* how many there are of one sign, and a mask of their bits */

/* Less 1 it is below SUBNORMALS where x is subnormal: 0 wraps around. */
static vi magnitude(vf x) { return i_and(i_of(x), i_set1(0x7fffffff)); }

/* The least weight that may be at rest, or what no weight reaches. */
static vi least_weight(bool may_rest) { return i_set1(may_rest ? 0x2b800000 : 0x80000000); /* 2^-40 */ }

static vm is_awake(vf state, vf g, vf w, vi least)
{
    vi busy = i_or(i_sub(magnitude(state), i_set1(1)), i_sub(i_set1(0), magnitude(g))); /* top bit: g is not 0 */
    busy = i_or(busy, i_and(i_sub(magnitude(w), least), i_set1(0x80000000u)));          /* or w is too small */
    return i_ge_unsigned(busy, i_set1(SUBNORMALS));
}

/* fma(c, x - start, start) of subnormals that are whole numbers of units, 0 <= c <= 1:
 * beside 2^23 a unit in the last place is 1, so it is rounded once and as there, ties
 * to even included. */
static vf resting(vf x, vf c, bool from_x)
{
    vi sign = i_and(i_of(x), i_set1(0x80000000u));
    vf k = v_of_int(i_and(i_of(x), i_set1(SUBNORMALS)));
    vf next = from_x ? v_fma(c, v_sub(v_set1(0), k), v_add(k, v_set1(0x1p23f))) : v_fma(c, k, v_set1(0x1p23f));
    return v_of(i_or(sign, i_and(i_of(next), i_set1(SUBNORMALS))));
}
/* fma(c, 0 - x, x) and fma(c, x, 0) */
static vf resting_mean(vf x, vf c) { return resting(x, c, true); }
static vf resting_product(vf x, vf c) { return resting(x, c, false); }

void ACR_CPU(sgd)(const acr_sgd_args *o, int64_t count, void *vp, const void *vg, void *vbuffer)
{
    float *p = vp, *buffer = vbuffer;
    const vf momentum = v_set1(o->momentum), zero = v_set1(0);
    const vi least = least_weight(!o->first && o->lr >= 0 && o->lr <= 0x1p10f && o->momentum > 0 && o->momentum <= 1);
    for (int64_t i = 0; i < count; i += VL) {
        int64_t n = count - i;
        vf g = clipped((const float *)vg + i, n, o->clip), w = v_get(p + i, n);
        if (o->weight_decay != 0)
            g = v_fma(v_set1(o->weight_decay), w, g);
        if (o->momentum != 0) {
            vf old = v_get(buffer + i, n);
            vm awake = is_awake(old, g, w, least);
            bool some_rest = !m_all(awake);
            vf b = some_rest ? v_select(awake, old, zero) : old;
            b = o->first ? g : v_fma(momentum, b, v_mul(v_set1(o->dampening_1m), g));
            v_put(buffer + i, some_rest ? v_select(awake, b, resting_product(old, momentum)) : b, n);
            g = o->nesterov ? v_fma(momentum, b, g) : b; /* 0 at rest */
        }
        v_put(p + i, v_fma(v_set1(-o->lr), g, w), n);
    }
}

void ACR_CPU(adam)(const acr_adam_args *o, int64_t count, void *vp, const void *vg, void *first, void *second)
{
    float *p = vp, *mean = first, *square = second;
    const vf inverse = v_set1(1 / o->sqrt_bc2), epsilon = v_set1(o->epsilon), c = v_set1(o->beta1_1m), zero = v_set1(0);
    const vf beta2 = v_set1(o->beta2);
    const vi least = least_weight(o->epsilon >= 0x1p-40f && o->lr_bc1 >= 0 && o->lr_bc1 <= 0x1p10f && o->beta1_1m > 0 &&
                                  o->beta1_1m <= 1);
    for (int64_t i = 0; i < count; i += VL) {
        int64_t n = count - i;
        vf g = clipped((const float *)vg + i, n, o->clip), w = v_get(p + i, n);
        vf old = v_get(mean + i, n), old_v = v_get(square + i, n);
        if (o->l2 != 0)
            g = v_fma(v_set1(o->l2), w, g);
        w = v_mul(w, v_set1(o->decay));
        vm awake = is_awake(old, g, w, least), usual = awake; /* usual: v is no positive subnormal at rest */
        vf m = old, v = old_v;
        bool some_rest = !m_all(awake);
        if (some_rest) {
            usual = i_ge_unsigned(i_sub(i_of(v_select(awake, zero, old_v)), i_set1(1)), i_set1(SUBNORMALS));
            m = v_select(awake, old, zero);
            v = v_select(usual, old_v, zero);
        }
        m = v_fma(c, v_sub(g, m), m);
        v = v_fma(beta2, v, v_mul(v_mul(v_set1(o->beta2_1m), g), g));
        vf step = v_div(m, v_fma(v_sqrt(v), inverse, epsilon)); /* 0 at rest: not NaN unless v is */
        v_put(mean + i, some_rest ? v_select(awake, m, resting_mean(old, c)) : m, n);
        v_put(square + i, some_rest ? v_select(usual, v, resting_product(old_v, beta2)) : v, n);
        v_put(p + i, v_fma(v_set1(-o->lr_bc1), step, w), n);
    }
}
