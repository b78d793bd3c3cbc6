/* place.c: lifetimes -> offsets in one arena.
 *
 * Largest first, lowest offset that is free for the buffer's whole life: the
 * usual greedy for interval packing, within a few percent of the optimum on
 * chains of layers, and the same answer on every machine. */
#include "plan/plan.h"
#include <stdlib.h>

enum { ACR_ALIGN = 64 };

typedef struct by_size {
    const acr__buffer *buffers;
    int index;
} by_size;

static int larger_first(const void *a, const void *b)
{
    const by_size *x = a, *y = b;
    size_t bx = x->buffers[x->index].bytes, by = y->buffers[y->index].bytes;
    if (bx != by)
        return bx < by ? 1 : -1;
    return x->index - y->index;
}

static bool always(const acr__buffer *b) { return b->first == 0 && b->last == ACR_ALWAYS; }

/* The lowest offset from `floor` where b overlaps no placed buffer alive with it. */
static size_t lowest_free(const acr_plan *p, const by_size *order, int placed, const acr__buffer *b, size_t floor)
{
    size_t at = floor;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < placed; i++) {
            const acr__buffer *o = &p->buffers[order[i].index];
            bool alive = o->first <= b->last && b->first <= o->last;
            if (alive && at < o->offset + o->bytes && o->offset < at + b->bytes) {
                at = o->offset + o->bytes;
                moved = true;
            }
        }
    }
    return at;
}

acr_status acr__place_buffers(acr_plan *p)
{
    by_size *order = acr__alloc(p->ctx, ((size_t)p->buffer_count + 1) * sizeof *order);
    if (!order)
        return ACR_E_NO_MEMORY;
    acr_status status = ACR_OK;
    size_t end = 0;
    int transient = 0;
    for (int i = 0; i < p->buffer_count && status == ACR_OK; i++) {
        acr__buffer *b = &p->buffers[i];
        if (b->bytes > SIZE_MAX / 4 || end > SIZE_MAX / 4)
            status = acr__fail(p->ctx, ACR_E_LIMIT, "the plan is larger than this machine can address (at '%s')", b->name);
        b->bytes = (b->bytes + ACR_ALIGN - 1) / ACR_ALIGN * ACR_ALIGN;
        if (!always(b) && !b->host) {
            order[transient++] = (by_size){p->buffers, i};
            continue;
        }
        if (b->host)
            continue;
        b->offset = end;
        end += b->bytes;
    }
    qsort(order, (size_t)transient, sizeof *order, larger_first);
    p->bytes = end;
    for (int i = 0; i < transient && status == ACR_OK; i++) {
        acr__buffer *b = &p->buffers[order[i].index];
        b->offset = lowest_free(p, order, i, b, end);
        if (b->offset + b->bytes > p->bytes)
            p->bytes = b->offset + b->bytes;
    }
    p->arena_bytes = p->bytes;
    for (int i = 0; i < p->buffer_count && status == ACR_OK; i++)
        if (p->buffers[i].host) {
            p->buffers[i].offset = p->bytes;
            p->bytes += p->buffers[i].bytes;
        }
    acr__free(p->ctx, order);
    return status;
}
