/* state.h: for tests that compare bytes: all that a trainer holds as one hash,
 * and one window in one call. Equal hashes mean equal parameters, state and
 * clock. */
#ifndef STATE_H
#define STATE_H

#include "zoo.h"

/* FNV-1a. */
static inline uint64_t state_mix(uint64_t h, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const unsigned char *)p)[i]) * UINT64_C(1099511628211);
    return h;
}
static const uint64_t STATE_BEGIN = UINT64_C(14695981039346656037);

/* Parameters and optimizer state. */
static inline uint64_t state_hash(zoo_run *r, uint64_t h)
{
    float buffer[64];
    for (int p = 0; p < acr_param_count(r->g); p++)
        for (int64_t e = 0, n; e < acr_param_elements(r->g, p); e += n) {
            n = acr__min(64, acr_param_elements(r->g, p) - e);
            ZOO_OK(r->ctx, acr_param_read(r->t, p, e, n, buffer));
            h = state_mix(h, buffer, (size_t)n * sizeof *buffer);
            for (int s = 0; s < acr_state_slots(r->t) && acr_param_trainable(r->t, p); s++) {
                ZOO_OK(r->ctx, acr_state_read(r->t, p, s, e, n, buffer));
                h = state_mix(h, buffer, (size_t)n * sizeof *buffer);
            }
        }
    return h;
}

/* The same and the clock. */
static inline uint64_t state_and_clock(zoo_run *r)
{
    acr_clock c = {0};
    ZOO_OK(r->ctx, acr_clock_get(r->t, &c));
    return state_mix(state_hash(r, STATE_BEGIN), &c, sizeof c);
}

/* What a report says that may depend on nothing but the window's samples. */
static inline uint64_t state_report(uint64_t h, const acr_report *r)
{
    h = state_mix(h, &r->loss, sizeof r->loss);
    h = state_mix(h, &r->weight, sizeof r->weight);
    h = state_mix(h, &r->grad_norm, sizeof r->grad_norm);
    return state_mix(h, &r->skipped, sizeof r->skipped);
}

/* Adds samples [first, first+n), `add` at a time; 0: all at once; -1: 1, 2, 3, ... */
static inline void state_add(zoo_run *r, zoo_data *d, int64_t first, int64_t n, int64_t add)
{
    int64_t k = 0;
    for (int64_t done = 0, m; done < n; done += m) {
        m = acr__min(add < 0 ? ++k : add ? add : n, n - done);
        acr_batch b = zoo_slice(d, first + done, m);
        ZOO_OK(r->ctx, acr_window_add(r->t, &b));
    }
}

static inline acr_report state_window(zoo_run *r, zoo_data *d, int64_t first, int64_t n, int64_t add)
{
    acr_report report = ACR_REPORT_INIT;
    ZOO_OK(r->ctx, acr_window_open(r->t));
    state_add(r, d, first, n, add);
    ZOO_OK(r->ctx, acr_window_close(r->t, &report));
    return report;
}

#endif
