/* regression.h: the smallest graph with weights of samples, and its update by a
 * direct computation in double: o = A x + b, the loss the mean over two outputs. */
#ifndef REGRESSION_H
#define REGRESSION_H

#include "state.h"

enum { REG_IN = 3, REG_OUT = 2 };

static inline void regression(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", REG_IN), y = zoo_in(g, "y", REG_OUT), w = zoo_in(g, "w", 1);
    acr_node o = acr_linear(g, x, REG_OUT, "a");
    zoo_loss(g, o, acr_mse(g, o, y, w));
}
static const zoo_case regression_case = {"regression", regression};

/* The sums over samples [first, first+n): gradients of b (2) then A (6), loss, W. */
typedef struct reg_sums {
    double g[REG_OUT + REG_OUT * REG_IN], loss, weight;
} reg_sums;

static inline reg_sums reg_direct(zoo_run *r, const zoo_data *d, int64_t first, int64_t n)
{
    float b[REG_OUT], a[REG_OUT * REG_IN]; /* "a.bias" comes before "a.weight" */
    ZOO_OK(r->ctx, acr_param_read(r->t, 0, 0, REG_OUT, b));
    ZOO_OK(r->ctx, acr_param_read(r->t, 1, 0, REG_OUT * REG_IN, a));
    reg_sums s = {0};
    for (int64_t i = first; i < first + n; i++) {
        const float *x = (const float *)d->data[0] + i * REG_IN, *y = (const float *)d->data[1] + i * REG_OUT;
        double w = (double)((const float *)d->data[2])[i];
        s.weight += w;
        for (int o = 0; o < REG_OUT; o++) {
            double e = (double)b[o] - (double)y[o];
            for (int k = 0; k < REG_IN; k++)
                e += (double)a[o * REG_IN + k] * (double)x[k];
            s.loss += w * e * e / REG_OUT;
            s.g[o] += w * 2 * e / REG_OUT;
            for (int k = 0; k < REG_IN; k++)
                s.g[REG_OUT + o * REG_IN + k] += w * 2 * e / REG_OUT * (double)x[k];
        }
    }
    return s;
}

/* Parameters as one array, b then A. */
static inline void reg_read(zoo_run *r, float p[REG_OUT + REG_OUT * REG_IN])
{
    ZOO_OK(r->ctx, acr_param_read(r->t, 0, 0, REG_OUT, p));
    ZOO_OK(r->ctx, acr_param_read(r->t, 1, 0, REG_OUT * REG_IN, p + REG_OUT));
}

/* The accumulated gradient in the same order. */
static inline void reg_gradient(zoo_run *r, double g[REG_OUT + REG_OUT * REG_IN])
{
    ZOO_OK(r->ctx, acr_gradient_read(r->t, 0, 0, REG_OUT, g));
    ZOO_OK(r->ctx, acr_gradient_read(r->t, 1, 0, REG_OUT * REG_IN, g + REG_OUT));
}
enum { REG_ALL = REG_OUT + REG_OUT * REG_IN };

#endif
