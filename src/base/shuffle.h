/* shuffle.h: rule 8's permutation, for who asks for many places of one epoch.
 * acr_shuffle(seed, epoch, n, i) is acr__shuffle_at on a fresh key. */
#ifndef ACR_SHUFFLE_H
#define ACR_SHUFFLE_H

#include <stdint.h>

enum { ACR_SHUFFLE_ROUNDS = 6 };

typedef struct acr__shuffle {
    uint64_t n;
    uint32_t low_bits, high_bits; /* of the domain, the two halves */
    uint32_t keys[ACR_SHUFFLE_ROUNDS];
} acr__shuffle;

/* 1 <= n <= 2^40. */
void acr__shuffle_init(acr__shuffle *s, uint64_t seed, uint32_t epoch, int64_t n);
/* The sample at place `index` (0 .. n-1) of the epoch. */
int64_t acr__shuffle_at(const acr__shuffle *s, int64_t index);

#endif
