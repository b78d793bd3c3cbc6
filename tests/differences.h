/* differences.h: every parameter's gradient against central differences of the
 * window's loss, in the reference's double precision. */
#ifndef DIFFERENCES_H
#define DIFFERENCES_H

#include "zoo.h"

/* The window's loss sum at the present parameters: a window at learning rate 0,
 * the clock put back, so that dropout draws the same masks. */
static inline double window_loss(zoo_run *r, zoo_data *d)
{
    acr_clock zero = {0};
    acr_report report = ACR_REPORT_INIT;
    ZOO_OK(r->ctx, acr_clock_set(r->t, &zero));
    acr_batch b = zoo_slice(d, 0, d->samples);
    ZOO_OK(r->ctx, acr_window_open(r->t));
    ZOO_OK(r->ctx, acr_window_add(r->t, &b));
    ZOO_OK(r->ctx, acr_window_close(r->t, &report));
    return report.loss;
}

static inline void window_gradient(zoo_run *r, zoo_data *d, int param, double *grad)
{
    acr_clock zero = {0};
    acr_batch b = zoo_slice(d, 0, d->samples);
    ZOO_OK(r->ctx, acr_clock_set(r->t, &zero));
    ZOO_OK(r->ctx, acr_window_open(r->t));
    ZOO_OK(r->ctx, acr_window_add(r->t, &b));
    ZOO_OK(r->ctx, acr_gradient_read(r->t, param, 0, acr_param_elements(r->g, param), grad));
    acr_window_abort(r->t);
}

/* Between `step` above and below the parameter. */
static inline double difference(zoo_run *r, zoo_data *d, int param, int64_t element, float step)
{
    float p, at[2];
    double loss[2];
    ZOO_OK(r->ctx, acr_param_read(r->t, param, element, 1, &p));
    for (int i = 0; i < 2; i++) {
        at[i] = p + (i ? step : -step);
        ZOO_OK(r->ctx, acr_param_write(r->t, param, element, 1, &at[i]));
        loss[i] = window_loss(r, d);
    }
    ZOO_OK(r->ctx, acr_param_write(r->t, param, element, 1, &p));
    return (loss[1] - loss[0]) / ((double)at[1] - (double)at[0]);
}

/* `elements` or so of each parameter of the graph c, over one window. */
static inline void differences_check(const zoo_case *c, int64_t samples, int64_t micro_batch, uint64_t seed, float step,
                                     int64_t elements)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.reference = 1;
    o.seed = seed;
    o.plan.micro_batch = micro_batch;
    o.plan.max_window_rows = 1000; /* more than any graph has here */
    o.trainer.learning_rate = 0;
    o.trainer.reduction = ACR_SUM;
    zoo_run r = zoo_start(c, &o);
    zoo_data d = zoo_make(r.g, samples, seed);
    for (int p = 0; p < acr_param_count(r.g); p++) {
        int64_t n = acr_param_elements(r.g, p);
        double *grad = malloc((size_t)n * sizeof *grad);
        assert_non_null(grad);
        window_gradient(&r, &d, p, grad);
        for (int64_t e = 0; e < n; e += 1 + n / elements) {
            double want = difference(&r, &d, p, e, step);
            if (!(fabs(grad[e] - want) <= 1e-6 * (1 + fabs(want))))
                fail_msg("%s, seed %d: d/d%s[%lld] is %.9g, differences give %.9g", c->name, (int)seed,
                         acr_param_name(r.g, p), (long long)e, grad[e], want);
        }
        free(grad);
    }
    zoo_free(&d);
    zoo_stop(&r);
}

#endif
