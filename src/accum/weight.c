/* weight.c: see weight.h. */
#include "accum/weight.h"
#include <math.h>
#include <string.h>

void acr__sum_clear(acr__sum *s) { memset(s, 0, sizeof *s); }

static double leaf(const double chain[16])
{
    double c[16];
    memcpy(c, chain, sizeof c);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            c[i] += c[i + half];
    return c[0];
}

void acr__sum_add(acr__sum *s, int64_t n, const double *x)
{
    for (int64_t i = 0; i < n; i++) {
        s->chain[s->index % 16] += x[i];
        if (++s->index % ACR_LEAF == 0) {
            s->total += leaf(s->chain);
            memset(s->chain, 0, sizeof s->chain);
        }
    }
}

double acr__sum_value(const acr__sum *s)
{
    double value = s->index % ACR_LEAF ? s->total + leaf(s->chain) : s->total;
    return isnan(value) ? NAN : value;
}
