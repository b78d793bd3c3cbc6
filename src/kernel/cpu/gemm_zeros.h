/* gemm_zeros.h: a single row of A against packed B, its zeros left out. What limits
 * such a product is reading B, and behind relu or dropout, or for pixels, half of B
 * meets zeros.
 *
 * Invariant: the bits are those of the whole chain. B is finite, so a product with a
 * zero is +0 or -0, and adding that changes a sum only where it is -0, to +0. Hence
 * the sums with and without such products are equal or -0 and +0, and equal again
 * after the next product that is no zero. Where the sum without them ends as
 * anything but -0, the whole chain ends so too; where it ends as -0, the whole chain
 * is run. */
#ifndef ACR_GEMM_ZEROS_H
#define ACR_GEMM_ZEROS_H

#include "base/bf16.h"
#include "kernel/cpu/gemm_f32.h"
#include "kernel/cpu/gemm_tile.h"

enum {
    LISTED = 16384,    /* most depths listed; scratch has room for them */
    LEAST_LISTED = 64, /* depths below which listing costs what it saves */
    LIST_PANELS = 4,   /* panels at a time, for as many chains in flight */
};

/* The depths at which a row of A is not zero. */
struct listed {
    float value;
    int32_t depth;
};
_Static_assert(LISTED * sizeof(struct listed) <= ACR__GEMM_SCRATCH, "a list has no room in the scratch");
struct list {
    int64_t count;
    struct listed *at;
};

static void list_row(struct list *l, int64_t k, const float *a)
{
    struct listed *at = l->at;
    for (int64_t p = 0; p < k; p++) { /* no branch: which are zero, nobody can guess */
        *at = (struct listed){a[p], (int32_t)p};
        at += acr__float_bits(a[p]) << 1 != 0;
    }
    l->count = at - l->at;
}

/* From t->row, or where that is NULL from +0. *least takes in what is stored, as
 * integers: the least of them are the bits of -0. */
INLINE void listed_panels(int panels, const struct list *l, const struct tile *t, vec *least)
{
    vec acc[LIST_PANELS * NV];
    UNROLL
    for (int v = 0; v < panels * NV; v++)
        acc[v] = t->row ? v_load(t->row + v * V) : v_zero();
    const float *b = t->b;
    const int64_t b_panel = t->b_panel;
    for (const struct listed *at = l->at, *end = at + l->count; at < end; at++) {
        vec x = v_splat(&at->value);
        const float *from = b + (int64_t)at->depth * NR;
        UNROLL
        for (int v = 0; v < panels * NV; v++)
            acc[v] = v_fma(x, v_load(from + v / NV * b_panel + v % NV * V), acc[v]);
    }
    UNROLL
    for (int v = 0; v < panels * NV; v++) {
        v_store(t->c + v * V, acc[v]);
        *least = v_least(*least, acc[v]);
    }
}

static void listed_group(const struct list *l, const struct tile *t, vec *least)
{
    listed_panels(LIST_PANELS, l, t, least);
}
static void listed_panel(const struct list *l, const struct tile *t, vec *least) { listed_panels(1, l, t, least); }

static bool any_minus_zero(vec least)
{
    float lanes[V];
    v_store(lanes, least);
    bool any = false;
    for (int i = 0; i < V; i++)
        any |= acr__float_bits(lanes[i]) == UINT32_C(1) << 31;
    return any;
}

#endif
