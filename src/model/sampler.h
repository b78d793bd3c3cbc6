/* sampler.h: the next token from a row of logits.
 *
 * As the field does it: logits / temperature, the top_k largest of them, softmax,
 * of that the fewest whose probabilities reach top_p, one drawn. Computed in double
 * with the project's own functions and a counted random number, so one row, one
 * seed and one place give one token on every machine. */
#ifndef ACR_MODEL_SAMPLER_H
#define ACR_MODEL_SAMPLER_H

#include "base/base.h"

typedef struct acr__sampler_opts {
    double temperature; /* 0: the largest logit, the lowest id among equals */
    int64_t top_k;      /* 0: all */
    double top_p;       /* in (0, 1]; 1: all */
    uint64_t seed;
} acr__sampler_opts;

typedef struct acr__sampler acr__sampler;
/* For rows of `vocab` logits: 12 bytes for each. ACR_E_NO_MEMORY, or ACR_E_ARGUMENT
 * for options out of their range. */
acr_status acr__sampler_create(acr__sampler **out, acr_context *ctx, int64_t vocab, const acr__sampler_opts *opts);
void acr__sampler_destroy(acr__sampler *s); /* takes NULL */
/* The token of `place` (0, 1, ...). ACR_E_DIVERGED if no logit is finite; logits
 * that are NaN or -Inf are never drawn. */
acr_status acr__sampler_draw(acr__sampler *s, const float *logits, uint64_t place, int32_t *token);

#endif
