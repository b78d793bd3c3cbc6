/* loss.c: the losses over vectors; the formulas are in ref_loss.c.
 *
 * Invariant: a row of weight 0 gives +0 in every output and its numbers are not
 * looked at; row sums are rule 3's. dpred may be pred: a row's exponentials are
 * kept where its logits were, after everything else that needs a logit. */
#include "kernel/cpu/kernels.h"

typedef struct row {
    int64_t cols;
    const float *x;
    const void *target; /* this row's */
    float w;
    float *d; /* dpred or NULL */
} row;

/* -- elementwise losses ------------------------------------------------------ */
static inline vf value_of(enum acr_loss_kind kind, vf delta, vf x, vf t)
{
    vf d = v_sub(x, t), size = v_abs(d), half = v_set1(0.5f);
    switch (kind) {
    case ACR_MAE: return size;
    case ACR_HUBER:
        return v_select(v_le(size, delta), v_mul(v_mul(half, size), size),
                        v_mul(delta, v_sub(size, v_mul(half, delta))));
    case ACR_BCE: return v_add(v_fma(v_neg(x), t, v_relu(x)), v_log1p(v_exp(v_neg(v_abs(x)))));
    default: return v_set1(0.0f);
    }
}

static inline vf slope_of(enum acr_loss_kind kind, vf delta, vf k, vf x, vf t)
{
    vf d = v_sub(x, t), zero = v_set1(0.0f);
    switch (kind) {
    case ACR_MSE: return v_mul(k, d);
    case ACR_MAE: return v_select(v_gt(d, zero), k, v_select(v_lt(d, zero), v_neg(k), d));
    case ACR_HUBER:
        d = v_select(v_gt(d, delta), delta, v_select(v_lt(d, v_neg(delta)), v_neg(delta), d));
        return v_mul(k, d);
    case ACR_BCE: return v_mul(k, v_sub(v_sigmoid(x), t));
    default: return zero;
    }
}

static inline __attribute__((always_inline)) float mean_loss(enum acr_loss_kind kind, float width, const row *o,
                                                             double *right)
{
    const float *t = o->target;
    int64_t count = 0;
    for (int64_t j = 0; kind == ACR_BCE && j < o->cols; j++)
        count += (o->x[j] > 0) == (t[j] > 0.5f);
    if (kind == ACR_BCE)
        *right = (double)count / (double)o->cols;
    vf c[VQ], delta = v_set1(width), k = v_set1((kind == ACR_MSE ? 2 * o->w : o->w) / (float)o->cols);
    v_chains(c);
    ACR_EACH_CHAIN(o->cols)
    {
        int64_t at = j + q * VL, n = o->cols - at;
        vf x = v_get(o->x + at, n), y = v_get(t + at, n), d = v_sub(x, y);
        vf after = kind == ACR_MSE ? v_fma(d, d, c[q]) : v_add(c[q], value_of(kind, delta, x, y));
        c[q] = v_keep(n, after, c[q]);
        if (o->d)
            v_put(o->d + at, slope_of(kind, delta, k, x, y), n);
    }
    return v_tree_add(c) / (float)o->cols;
}

static float output_loss(const acr_loss_args *a, const row *o, double *right)
{
    switch (a->kind) {
    case ACR_MSE: return mean_loss(ACR_MSE, 0, o, right);
    case ACR_MAE: return mean_loss(ACR_MAE, 0, o, right);
    case ACR_HUBER: return mean_loss(ACR_HUBER, a->delta, o, right);
    case ACR_BCE: return mean_loss(ACR_BCE, 0, o, right);
    case ACR_CROSS_ENTROPY: break;
    }
    return 0;
}

/* -- cross-entropy ----------------------------------------------------------- */
static int64_t first_equal(int64_t cols, const float *x, float value)
{
    int64_t j = 0;
    while (j < cols && x[j] != value)
        j++;
    return j;
}

/* log(sum e^d) and sum(e^d); keeps e^d in o->d, which may be o->x. */
static float log_sum(const row *o, float largest, float *total)
{
    vf c[VQ], max = v_set1(largest);
    v_chains(c);
    ACR_EACH_CHAIN(o->cols)
    {
        int64_t at = j + q * VL, n = o->cols - at;
        vf e = v_exp(v_sub(v_get(o->x + at, n), max));
        c[q] = v_keep(n, v_add(c[q], e), c[q]);
        if (o->d)
            v_put(o->d + at, e, n);
    }
    *total = v_tree_add(c);
    return v_lane0(v_log(v_set1(*total)));
}

static float label_loss(const acr_loss_args *a, const row *o, int32_t label, double *right)
{
    float s = a->label_smoothing, on = 1 - s, off = s / (float)o->cols;
    float max = v_row_max(o->cols, o->x), total;
    *right = o->x[label] == max && first_equal(label, o->x, max) == label;
    float picked = o->x[label] - max;
    if (s != 0) {
        vf c[VQ];
        v_chains(c);
        ACR_EACH_CHAIN(o->cols)
        {
            int64_t at = j + q * VL, n = o->cols - at;
            c[q] = v_keep(n, v_add(c[q], v_sub(v_get(o->x + at, n), v_set1(max))), c[q]);
        }
        picked = __builtin_fmaf(on, picked, off * v_tree_add(c));
    }
    float l = log_sum(o, max, &total) - picked;
    if (o->d) {
        float at_label = o->w * (o->d[label] / total - (on + off));
        for (int64_t j = 0; j < o->cols; j += VL) {
            int64_t n = o->cols - j;
            vf share = v_div(v_get(o->d + j, n), v_set1(total));
            v_put(o->d + j, v_mul(v_set1(o->w), v_sub(share, v_set1(off))), n);
        }
        o->d[label] = at_label;
    }
    return l;
}

static vf target_of(const acr_loss_args *a, const row *o, int64_t j, int64_t n)
{
    float s = a->label_smoothing;
    vf t = v_get((const float *)o->target + j, n);
    if (s != 0)
        t = v_fma(t, v_set1(1 - s), v_set1(s / (float)o->cols));
    return a->class_weight ? v_mul(v_get((const float *)a->class_weight + j, n), t) : t;
}

static float soft_loss(const acr_loss_args *a, const row *o, double *right)
{
    float max = v_row_max(o->cols, o->x), largest = v_row_max(o->cols, o->target), total;
    *right = first_equal(o->cols, o->x, max) == first_equal(o->cols, o->target, largest);
    vf c[VQ], cd[VQ];
    v_chains(c);
    v_chains(cd);
    ACR_EACH_CHAIN(o->cols)
    {
        int64_t at = j + q * VL, n = o->cols - at;
        vf t = target_of(a, o, at, n), d = v_sub(v_get(o->x + at, n), v_set1(max));
        c[q] = v_keep(n, v_add(c[q], t), c[q]);
        cd[q] = v_keep(n, v_fma(t, d, cd[q]), cd[q]);
    }
    float sum = v_tree_add(c);
    float l = __builtin_fmaf(log_sum(o, max, &total), sum, -v_tree_add(cd));
    for (int64_t j = 0; o->d && j < o->cols; j += VL) {
        int64_t n = o->cols - j;
        vf share = v_div(v_get(o->d + j, n), v_set1(total));
        vf d = v_fma(share, v_set1(sum), v_neg(target_of(a, o, j, n)));
        v_put(o->d + j, v_mul(v_set1(o->w), d), n);
    }
    return l;
}

static void loss_of_row(const acr_loss_args *a, int64_t r)
{
    bool entropy = a->kind == ACR_CROSS_ENTROPY, labels = entropy && !a->soft;
    double w = a->weight ? (double)((const float *)a->weight)[r] : 1.0, right = 0;
    row o = {.cols = a->cols, .x = (const float *)a->pred + r * a->ld_pred, .w = (float)(w * a->weight_scale)};
    o.d = a->dpred ? (float *)a->dpred + r * a->ld_dpred : NULL;
    int32_t label = labels ? ((const int32_t *)a->target)[r] : 0;
    float l = 0;
    if (!labels)
        o.target = (const float *)a->target + r * a->ld_target;
    else if (label == a->ignore_index)
        o.w = 0;
    else if (a->class_weight)
        o.w *= ((const float *)a->class_weight)[label];
    if (o.w == 0) {
        o.w = 0; /* not -0 */
        if (o.d)
            memset(o.d, 0, (size_t)o.cols * sizeof(float));
    } else if (labels) {
        l = label_loss(a, &o, label, &right);
    } else {
        l = entropy ? soft_loss(a, &o, &right) : output_loss(a, &o, &right);
    }
    a->row_loss[r] = (double)o.w * (double)l;
    a->row_weight[r] = (double)o.w;
    if (a->row_correct && (entropy || a->kind == ACR_BCE))
        a->row_correct[r] = (double)o.w * right;
}

void ACR_CPU(loss)(const acr_loss_args *a)
{
    for (int64_t r = 0; r < a->rows; r++)
        loss_of_row(a, r);
}
