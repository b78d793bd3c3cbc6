/* weight.h: rule 5's sum of scalars, carried across micro-batches.
 *
 * fp64, leaves of 4096 elements by rule 3 (16 chains, then a tree), leaves added
 * in index order. The index is the place in the window, so neither the split nor
 * the number of threads can show. */
#ifndef ACR_ACCUM_WEIGHT_H
#define ACR_ACCUM_WEIGHT_H

#include <stdint.h>

enum { ACR_LEAF = 4096 };

typedef struct acr__sum {
    double chain[16];
    double total;
    int64_t index;
} acr__sum;

void acr__sum_clear(acr__sum *s);
void acr__sum_add(acr__sum *s, int64_t n, const double *x);
/* The sum so far; adding may go on. Not a number is NAN, whose sign processors would
 * else choose, and print as they chose. */
double acr__sum_value(const acr__sum *s);

#endif
