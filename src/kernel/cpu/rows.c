/* rows.c: norms and softmax over vectors; the formulas are in ref_rows.c.
 *
 * Invariant: every row sum is rule 3's: vector q of the chains takes elements
 * j + q*VL .. of each sixteen, whatever VL is, and a tail adds nothing to the
 * lanes past the end. */
#include "kernel/cpu/kernels.h"

static vf xhat_of(const float *x, int64_t n, vf mean, vf rstd) { return v_mul(v_sub(v_get(x, n), mean), rstd); }

void ACR_CPU(norm)(bool rms, int64_t rows, int64_t cols, const void *vx, int64_t ldx, const void *vgamma,
                   const void *vbeta, float eps, void *vy, int64_t ldy, void *vstats)
{
    const float *gamma = vgamma, *beta = vbeta;
    float *stats = vstats;
    for (int64_t r = 0; r < rows; r++, stats += 2) {
        const float *x = (const float *)vx + r * ldx;
        float *y = (float *)vy + r * ldy;
        vf sum[VQ], square[VQ];
        v_chains(sum);
        v_chains(square);
        if (!rms)
            ACR_EACH_CHAIN(cols)
            {
                int64_t at = j + q * VL, n = cols - at;
                sum[q] = v_keep(n, v_add(sum[q], v_get(x + at, n)), sum[q]);
            }
        stats[0] = rms ? 0 : v_tree_add(sum) / (float)cols;
        vf mean = v_set1(stats[0]);
        ACR_EACH_CHAIN(cols)
        {
            int64_t at = j + q * VL, n = cols - at;
            vf d = v_sub(v_get(x + at, n), mean);
            square[q] = v_keep(n, v_fma(d, d, square[q]), square[q]);
        }
        stats[1] = 1 / sqrtf(v_tree_add(square) / (float)cols + eps);
        vf rstd = v_set1(stats[1]);
        for (int64_t j = 0; j < cols; j += VL) {
            int64_t n = cols - j;
            vf out = xhat_of(x + j, n, mean, rstd);
            if (beta)
                out = v_fma(out, gamma ? v_get(gamma + j, n) : v_set1(1.0f), v_get(beta + j, n));
            else if (gamma)
                out = v_mul(out, v_get(gamma + j, n));
            v_put(y + j, out, n);
        }
    }
}

static vf scaled(const float *dy, const float *gamma, int64_t j, int64_t n)
{
    vf t = v_get(dy + j, n);
    return gamma ? v_mul(t, v_get(gamma + j, n)) : t;
}

void ACR_CPU(norm_back)(bool rms, int64_t rows, int64_t cols, const void *vdy, int64_t lddy, const void *vx,
                        int64_t ldx, const void *vstats, const void *gamma, void *vdx, int64_t lddx, bool add)
{
    const float *stats = vstats;
    for (int64_t r = 0; r < rows; r++, stats += 2) {
        const float *dy = (const float *)vdy + r * lddy, *x = (const float *)vx + r * ldx;
        float *dx = (float *)vdx + r * lddx;
        vf mean = v_set1(stats[0]), rstd = v_set1(stats[1]), sum[VQ], dot[VQ];
        v_chains(sum);
        v_chains(dot);
        ACR_EACH_CHAIN(cols)
        {
            int64_t at = j + q * VL, n = cols - at;
            vf t = scaled(dy, gamma, at, n);
            sum[q] = v_keep(n, v_add(sum[q], t), sum[q]);
            dot[q] = v_keep(n, v_fma(t, xhat_of(x + at, n, mean, rstd), dot[q]), dot[q]);
        }
        vf mean_t = v_set1(v_tree_add(sum) / (float)cols), mean_dot = v_set1(v_tree_add(dot) / (float)cols);
        for (int64_t j = 0; j < cols; j += VL) {
            int64_t n = cols - j;
            vf t = scaled(dy, gamma, j, n);
            t = rms ? t : v_sub(t, mean_t);
            vf d = v_mul(rstd, v_fma(v_neg(xhat_of(x + j, n, mean, rstd)), mean_dot, t));
            v_put(dx + j, add ? v_add(v_get(dx + j, n), d) : d, n);
        }
    }
}

void ACR_CPU(norm_back_param)(bool rms, int64_t rows, int64_t cols, const void *vdy, int64_t lddy, const void *vx,
                              int64_t ldx, const void *vstats, void *vdgamma, void *vdbeta)
{
    (void)rms; /* stats holds its mean of 0 */
    float *dgamma = vdgamma, *dbeta = vdbeta;
    const float *stats = vstats;
    for (int64_t r = 0; r < rows; r++, stats += 2) {
        const float *dy = (const float *)vdy + r * lddy, *x = (const float *)vx + r * ldx;
        vf mean = v_set1(stats[0]), rstd = v_set1(stats[1]);
        for (int64_t j = 0; j < cols; j += VL) {
            int64_t n = cols - j;
            vf t = v_get(dy + j, n);
            if (dgamma)
                v_put(dgamma + j, v_fma(t, xhat_of(x + j, n, mean, rstd), v_get(dgamma + j, n)), n);
            if (dbeta)
                v_put(dbeta + j, v_add(v_get(dbeta + j, n), t), n);
        }
    }
}

void ACR_CPU(softmax)(int64_t rows, int64_t cols, const void *vx, int64_t ldx, void *vy, int64_t ldy)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *x = (const float *)vx + r * ldx;
        float *y = (float *)vy + r * ldy;
        vf max = v_set1(v_row_max(cols, x)), sum[VQ];
        v_chains(sum);
        ACR_EACH_CHAIN(cols)
        {
            int64_t at = j + q * VL, n = cols - at;
            vf e = v_exp(v_sub(v_get(x + at, n), max));
            v_put(y + at, e, n);
            sum[q] = v_keep(n, v_add(sum[q], e), sum[q]);
        }
        vf total = v_set1(v_tree_add(sum));
        for (int64_t j = 0; j < cols; j += VL)
            v_put(y + j, v_div(v_get(y + j, cols - j), total), cols - j);
    }
}

void ACR_CPU(softmax_back)(int64_t rows, int64_t cols, const void *vdy, int64_t lddy, const void *vy, int64_t ldy,
                           void *vdx, int64_t lddx, bool add)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *dy = (const float *)vdy + r * lddy, *y = (const float *)vy + r * ldy;
        float *dx = (float *)vdx + r * lddx;
        vf dot[VQ];
        v_chains(dot);
        ACR_EACH_CHAIN(cols)
        {
            int64_t at = j + q * VL, n = cols - at;
            dot[q] = v_keep(n, v_fma(v_get(dy + at, n), v_get(y + at, n), dot[q]), dot[q]);
        }
        vf total = v_set1(v_tree_add(dot));
        for (int64_t j = 0; j < cols; j += VL) {
            int64_t n = cols - j;
            vf d = v_mul(v_get(y + j, n), v_sub(v_get(dy + j, n), total));
            v_put(dx + j, add ? v_add(v_get(dx + j, n), d) : d, n);
        }
    }
}
