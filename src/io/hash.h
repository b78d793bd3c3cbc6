/* hash.h: XXH3-128, seed 0, as the project writes it: 32 hex digits, the high
 * half first (what `xxhsum -H2` prints). */
#ifndef ACR_IO_HASH_H
#define ACR_IO_HASH_H

#include "base/base.h"

#include <accrue/accrue_io.h>
#define XXH_STATIC_LINKING_ONLY /* the state's size: it lives on the caller's stack */
#include <xxhash.h>

typedef struct acr__hash {
    XXH3_state_t state;
} acr__hash;

void acr__hash_begin(acr__hash *h);
void acr__hash_add(acr__hash *h, const void *bytes, size_t n);
void acr__hash_text(const acr__hash *h, char out[ACR_HASH_TEXT]);

/* Every NaN becomes 7fc00000: what is hashed or stored does not depend on which
 * processor made it. */
void acr__canonical_nan(float *v, int64_t n);

/* Fails again, with `more` after the sentence that is there. */
acr_status acr__fail_more(acr_context *ctx, acr_status status, const char *more);

#endif
