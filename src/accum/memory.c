/* memory.c: the only ways by which host code reads or writes what a node holds.
 * The nodes may live on a device; what is a float outside may be a double inside
 * (the reference). */
#include "accum/trainer.h"

enum { PIECE = 512 };

void acr__put_floats(const acr_trainer *t, void *node, int64_t first, int64_t n, const float *from)
{
    char *to = (char *)node + first * (int64_t)t->run.es;
    double wide[PIECE];
    for (int64_t done = 0, some; t->g->reference && done < n; done += some) {
        some = acr__min(PIECE, n - done);
        for (int64_t i = 0; i < some; i++)
            wide[i] = (double)from[done + i];
        t->run.k->put(to + done * (int64_t)sizeof *wide, wide, (size_t)some * sizeof *wide);
    }
    if (!t->g->reference)
        t->run.k->put(to, from, (size_t)n * sizeof *from);
}

void acr__fetch_floats(const acr_trainer *t, const void *node, int64_t first, int64_t n, float *to)
{
    const char *from = (const char *)node + first * (int64_t)t->run.es;
    double wide[PIECE];
    for (int64_t done = 0, some; t->g->reference && done < n; done += some) {
        some = acr__min(PIECE, n - done);
        t->run.k->fetch(wide, from + done * (int64_t)sizeof *wide, (size_t)some * sizeof *wide);
        for (int64_t i = 0; i < some; i++)
            to[done + i] = (float)wide[i];
    }
    if (!t->g->reference)
        t->run.k->fetch(to, from, (size_t)n * sizeof *to);
}

double acr__fetch_real(const acr_trainer *t, const void *node, int64_t i)
{
    float f;
    double d;
    const char *from = (const char *)node + i * (int64_t)t->run.es;
    if (t->g->reference) {
        t->run.k->fetch(&d, from, sizeof d);
        return d;
    }
    t->run.k->fetch(&f, from, sizeof f);
    return (double)f;
}

void acr__sum_rows(const acr_trainer *t, acr__sum *sum, const double *rows, int64_t n)
{
    double here[PIECE];
    for (int64_t done = 0, some; done < n; done += some) {
        some = acr__min(PIECE, n - done);
        t->run.k->fetch(here, rows + done, (size_t)some * sizeof *here);
        acr__sum_add(sum, some, here);
    }
}
