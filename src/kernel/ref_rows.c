/* ref_rows.c: norms and softmax: each row by itself, its sums by rule 3.
 *
 *   xhat = (x - mean)*rstd         (rms: mean is 0)
 *   norm      y  = fma(xhat, gamma, beta);  a missing gamma is 1, a missing beta -0
 *   norm_back dx = rstd*fma(-xhat, mean(t*xhat), t - mean(t)),  t = dy*gamma
 *             (rms: rstd*fma(-xhat, mean(t*xhat), t))
 *   softmax   y  = e/sum(e),  e = exp(x - max)
 *   back      dx = y*(dy - sum(dy*y))
 *
 * Invariant: a row's numbers depend on that row alone. */
#include "kernel/ref_rows.h"

void ACR_REF(norm)(bool rms, int64_t rows, int64_t cols, const void *vx, int64_t ldx, const void *vgamma,
                   const void *vbeta, float eps, void *vy, int64_t ldy, void *vstats)
{
    const real *gamma = vgamma, *beta = vbeta;
    for (int64_t r = 0; r < rows; r++) {
        const real *x = (const real *)vx + r * ldx;
        real *y = (real *)vy + r * ldy, *stats = (real *)vstats + 2 * r;
        real sum[16] = {0}, square[16] = {0};
        for (int64_t j = 0; !rms && j < cols; j++)
            sum[j & 15] += x[j];
        real mean = rms ? 0 : r_tree(sum) / (real)cols;
        for (int64_t j = 0; j < cols; j++)
            square[j & 15] = r_fma(x[j] - mean, x[j] - mean, square[j & 15]);
        real rstd = 1 / r_sqrt(r_tree(square) / (real)cols + (real)eps);
        for (int64_t j = 0; j < cols; j++) {
            real xhat = (x[j] - mean) * rstd;
            if (beta)
                y[j] = r_fma(xhat, gamma ? gamma[j] : 1, beta[j]);
            else
                y[j] = gamma ? xhat * gamma[j] : xhat;
        }
        stats[0] = mean;
        stats[1] = rstd;
    }
}

void ACR_REF(norm_back)(bool rms, int64_t rows, int64_t cols, const void *vdy, int64_t lddy, const void *vx,
                        int64_t ldx, const void *vstats, const void *vgamma, void *vdx, int64_t lddx, bool add)
{
    const real *gamma = vgamma;
    for (int64_t r = 0; r < rows; r++) {
        const real *dy = (const real *)vdy + r * lddy, *x = (const real *)vx + r * ldx;
        real *dx = (real *)vdx + r * lddx;
        real mean = ((const real *)vstats)[2 * r], rstd = ((const real *)vstats)[2 * r + 1];
        real sum[16] = {0}, dot[16] = {0};
        for (int64_t j = 0; j < cols; j++) {
            real t = gamma ? dy[j] * gamma[j] : dy[j];
            sum[j & 15] += t;
            dot[j & 15] = r_fma(t, (x[j] - mean) * rstd, dot[j & 15]);
        }
        real mean_t = r_tree(sum) / (real)cols, mean_dot = r_tree(dot) / (real)cols;
        for (int64_t j = 0; j < cols; j++) {
            real t = gamma ? dy[j] * gamma[j] : dy[j];
            real d = rstd * r_fma(-((x[j] - mean) * rstd), mean_dot, rms ? t : t - mean_t);
            dx[j] = add ? dx[j] + d : d;
        }
    }
}

void ACR_REF(norm_back_param)(bool rms, int64_t rows, int64_t cols, const void *vdy, int64_t lddy, const void *vx,
                              int64_t ldx, const void *vstats, void *vdgamma, void *vdbeta)
{
    (void)rms; /* stats holds its mean of 0 */
    real *dgamma = vdgamma, *dbeta = vdbeta;
    for (int64_t r = 0; r < rows; r++) {
        const real *dy = (const real *)vdy + r * lddy, *x = (const real *)vx + r * ldx;
        real mean = ((const real *)vstats)[2 * r], rstd = ((const real *)vstats)[2 * r + 1];
        for (int64_t j = 0; dgamma && j < cols; j++)
            dgamma[j] = r_fma(dy[j], (x[j] - mean) * rstd, dgamma[j]);
        for (int64_t j = 0; dbeta && j < cols; j++)
            dbeta[j] += dy[j];
    }
}

void ACR_REF(softmax)(int64_t rows, int64_t cols, const void *vx, int64_t ldx, void *vy, int64_t ldy)
{
    for (int64_t r = 0; r < rows; r++) {
        const real *x = (const real *)vx + r * ldx;
        real *y = (real *)vy + r * ldy;
        real max = r_row_max(cols, x), sum[16] = {0};
        for (int64_t j = 0; j < cols; j++) {
            y[j] = r_exp(x[j] - max);
            sum[j & 15] += y[j];
        }
        real total = r_tree(sum);
        for (int64_t j = 0; j < cols; j++)
            y[j] = y[j] / total;
    }
}

void ACR_REF(softmax_back)(int64_t rows, int64_t cols, const void *vdy, int64_t lddy, const void *vy, int64_t ldy,
                           void *vdx, int64_t lddx, bool add)
{
    for (int64_t r = 0; r < rows; r++) {
        const real *dy = (const real *)vdy + r * lddy, *y = (const real *)vy + r * ldy;
        real *dx = (real *)vdx + r * lddx;
        real dot[16] = {0};
        for (int64_t j = 0; j < cols; j++)
            dot[j & 15] = r_fma(dy[j], y[j], dot[j & 15]);
        real total = r_tree(dot);
        for (int64_t j = 0; j < cols; j++) {
            real d = y[j] * (dy[j] - total);
            dx[j] = add ? dx[j] + d : d;
        }
    }
}
