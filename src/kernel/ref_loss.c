/* ref_loss.c: the losses. For each row the weight w, w*l and w*dl/dpred.
 *
 *   w       (real)(weight*weight_scale), times class_weight[label] for labels
 *   mse     mean of d^2,                            dl = 2d/C,   d = pred - target
 *   mae     mean of |d|,                            dl = sign(d)/C
 *   huber   mean of |d| <= D ? d^2/2 : D(|d| - D/2), dl = clamp(d, -D, D)/C
 *   bce     mean of relu(x) - x t + log(1 + e^-|x|), dl = (sigmoid(x) - t)/C
 *   cross_entropy, x the logits, d = x - max, q = e^d / sum(e^d), s = label_smoothing:
 *     label y         l = log(sum e^d) - ((1-s) d_y + (s/C) sum d),  dl = q - t'
 *                     t' = s/C everywhere, + (1-s) at y
 *     probabilities t T = class_weight*(t (1-s) + s/C),
 *                     l = log(sum e^d) sum T - sum T d,              dl = q sum T - T
 *
 * Invariant: a row whose weight is 0 (an ignored label, a masked sample) gives
 * +0 in every output, whatever its prediction and target are: a NaN among those
 * goes no further. One among the row's inputs does: a weight gradient adds its
 * 0 * NaN. Sums over a row are rule 3's.
 *
 * Labels are in range or ignore_index: checked where the data comes in. */
#include "kernel/ref_rows.h"

typedef struct row {
    int64_t cols;
    const real *x;
    const void *target; /* this row's */
    real w;
    real *d; /* dpred or NULL */
} row;

/* -- elementwise losses: value and derivative of one output ------------------ */
static real value_of(const acr_loss_args *a, real x, real t)
{
    real d = x - t, size = r_abs(d), delta = a->delta;
    switch (a->kind) {
    case ACR_MAE: return size;
    case ACR_HUBER: return size <= delta ? (real)0.5 * size * size : delta * (size - (real)0.5 * delta);
    case ACR_BCE: return r_fma(-x, t, r_unary(ACR_RELU, 0, x)) + r_log1p(r_exp(-r_abs(x)));
    default: return 0;
    }
}

static real slope_of(const acr_loss_args *a, real k, real x, real t)
{
    real d = x - t, delta = a->delta;
    switch (a->kind) {
    case ACR_MSE: return k * d;
    case ACR_MAE: return d > 0 ? k : d < 0 ? -k : d;
    case ACR_HUBER: return k * (d > delta ? delta : d < -delta ? -delta : d);
    case ACR_BCE: return k * (r_sigmoid(x) - t);
    default: return 0;
    }
}

static real mean_loss(const acr_loss_args *a, const row *o, double *right)
{
    const real *t = o->target;
    real c[16] = {0};
    int64_t count = 0;
    for (int64_t j = 0; j < o->cols; j++) {
        real d = o->x[j] - t[j];
        c[j & 15] = a->kind == ACR_MSE ? r_fma(d, d, c[j & 15]) : c[j & 15] + value_of(a, o->x[j], t[j]);
        count += (o->x[j] > 0) == (t[j] > (real)0.5);
    }
    *right = (double)count / (double)o->cols;
    real k = (a->kind == ACR_MSE ? 2 * o->w : o->w) / (real)o->cols;
    for (int64_t j = 0; o->d && j < o->cols; j++)
        o->d[j] = slope_of(a, k, o->x[j], t[j]);
    return r_tree(c) / (real)o->cols;
}

/* -- cross-entropy --------------------------------------------------------- */
static int64_t first_largest(int64_t cols, const real *x)
{
    real max = r_row_max(cols, x);
    int64_t j = 0;
    while (j < cols && x[j] != max)
        j++;
    return j;
}

/* log(sum e^d) and sum(e^d); keeps e^d in o->d, which may be o->x. */
static real log_sum(const row *o, real max, real *total)
{
    real c[16] = {0};
    for (int64_t j = 0; j < o->cols; j++) {
        real e = r_exp(o->x[j] - max);
        c[j & 15] += e;
        if (o->d)
            o->d[j] = e;
    }
    *total = r_tree(c);
    return r_log(*total);
}

static real label_loss(const acr_loss_args *a, const row *o, int32_t label, double *right)
{
    real s = a->label_smoothing, on = 1 - s, off = s / (real)o->cols;
    real max = r_row_max(o->cols, o->x), c[16] = {0}, total;
    *right = first_largest(o->cols, o->x) == label;
    for (int64_t j = 0; s != 0 && j < o->cols; j++)
        c[j & 15] += o->x[j] - max;
    real picked = o->x[label] - max;
    if (s != 0)
        picked = r_fma(on, picked, off * r_tree(c));
    real l = log_sum(o, max, &total) - picked;
    for (int64_t j = 0; o->d && j < o->cols; j++)
        o->d[j] = o->w * (o->d[j] / total - (j == label ? on + off : off));
    return l;
}

static real target_of(const acr_loss_args *a, const row *o, int64_t j)
{
    real s = a->label_smoothing, t = ((const real *)o->target)[j];
    if (s != 0)
        t = r_fma(t, 1 - s, s / (real)o->cols);
    return a->class_weight ? ((const real *)a->class_weight)[j] * t : t;
}

static real soft_loss(const acr_loss_args *a, const row *o, double *right)
{
    real max = r_row_max(o->cols, o->x), c[16] = {0}, cd[16] = {0}, total;
    *right = first_largest(o->cols, o->x) == first_largest(o->cols, o->target);
    for (int64_t j = 0; j < o->cols; j++) {
        real t = target_of(a, o, j);
        c[j & 15] += t;
        cd[j & 15] = r_fma(t, o->x[j] - max, cd[j & 15]);
    }
    real sum = r_tree(c);
    real l = r_fma(log_sum(o, max, &total), sum, -r_tree(cd));
    for (int64_t j = 0; o->d && j < o->cols; j++)
        o->d[j] = o->w * r_fma(o->d[j] / total, sum, -target_of(a, o, j));
    return l;
}

void ACR_REF(loss)(const acr_loss_args *a)
{
    bool entropy = a->kind == ACR_CROSS_ENTROPY, labels = entropy && !a->soft;
    for (int64_t r = 0; r < a->rows; r++) {
        double w = a->weight ? (double)((const real *)a->weight)[r] : 1.0;
        row o = {.cols = a->cols, .x = (const real *)a->pred + r * a->ld_pred, .w = (real)(w * a->weight_scale)};
        o.d = a->dpred ? (real *)a->dpred + r * a->ld_dpred : NULL;
        int32_t label = 0;
        if (labels) {
            label = ((const int32_t *)a->target)[r];
            if (label == a->ignore_index)
                o.w = 0;
            else if (a->class_weight)
                o.w *= ((const real *)a->class_weight)[label];
        } else {
            o.target = (const real *)a->target + r * a->ld_target;
        }
        double right = 0;
        real l = 0;
        if (o.w == 0)
            for (int64_t j = 0; o.d && j < o.cols; j++)
                o.d[j] = 0;
        else if (labels)
            l = label_loss(a, &o, label, &right);
        else
            l = entropy ? soft_loss(a, &o, &right) : mean_loss(a, &o, &right);
        o.w = o.w == 0 ? 0 : o.w; /* -0 */
        a->row_loss[r] = (double)o.w * (double)l;
        a->row_weight[r] = (double)o.w;
        if (a->row_correct && (entropy || a->kind == ACR_BCE))
            a->row_correct[r] = (double)o.w * right;
    }
}
