/* place.c: lives -> offsets in one arena.
 *
 * Greedy: one buffer after another, each at the lowest offset that is free for its
 * whole life. In which order is best depends on the graph, so a few are tried and the
 * smallest arena is taken: larger buffers first, which suits chains of layers, and
 * those that hold more bytes for more steps first. Within a percent or two of the
 * optimum, and the same answer on every machine. */
#include "plan/plan.h"
#include <stdlib.h>

enum { ORDERS = 3 };

/* A buffer that shares memory by lifetime, as an order sorts it. */
typedef struct placed {
    acr__buffer *buffer;
    int index;
    double key; /* larger ones first */
    size_t offset;
} placed;

static int by_key(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? 1 : -1;
    if (x->buffer->bytes != y->buffer->bytes)
        return x->buffer->bytes < y->buffer->bytes ? 1 : -1;
    return x->index - y->index;
}

static bool always(const acr__buffer *b) { return b->first == 0 && b->last == ACR_ALWAYS; }

static bool meet(int32_t first, int32_t last, int32_t other_first, int32_t other_last)
{
    return first <= other_last && other_first <= last;
}

static bool alive_together(const acr__buffer *a, const acr__buffer *b)
{
    return meet(a->first, a->last, b->first, b->last) || meet(a->again_first, a->again_last, b->first, b->last) ||
           meet(a->first, a->last, b->again_first, b->again_last) ||
           meet(a->again_first, a->again_last, b->again_first, b->again_last);
}

static double steps_alive(const acr__buffer *b)
{
    double first = b->last < b->first ? 0 : (double)b->last - b->first + 1;
    return first + (b->again_last < b->again_first ? 0 : (double)b->again_last - b->again_first + 1);
}

static double key_of(int order, const acr__buffer *b)
{
    switch (order) {
    case 1: return (double)b->bytes * steps_alive(b);
    case 2: return steps_alive(b);
    default: return (double)b->bytes;
    }
}

/* The lowest offset where list[n] overlaps none of those before it that live with it. */
static size_t lowest_free(const placed *list, int n)
{
    const acr__buffer *b = list[n].buffer;
    size_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < n; i++) {
            size_t end = list[i].offset + list[i].buffer->bytes;
            if (at < end && list[i].offset < at + b->bytes && alive_together(list[i].buffer, b)) {
                at = end;
                moved = true;
            }
        }
    }
    return at;
}

/* Places the list in one order; the bytes it takes, or a number above `best` as soon
 * as it takes more than that. */
static size_t try_order(placed *list, int count, int order, size_t best)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        list[i].key = key_of(order, list[i].buffer);
    if (count)
        qsort(list, (size_t)count, sizeof *list, by_key);
    for (int i = 0; i < count && bytes <= best; i++) {
        list[i].offset = lowest_free(list, i);
        size_t end = list[i].offset + list[i].buffer->bytes;
        bytes = end > bytes ? end : bytes;
    }
    return bytes;
}

/* Offsets, from `floor` on, of buffers that share memory by lifetime. */
static size_t share_memory(placed *list, int count, size_t floor)
{
    size_t best = SIZE_MAX;
    for (int order = 0; order < ORDERS; order++) {
        size_t bytes = try_order(list, count, order, best);
        if (bytes >= best)
            continue;
        best = bytes;
        for (int i = 0; i < count; i++)
            list[i].buffer->offset = floor + list[i].offset;
    }
    return floor + best;
}

acr_status acr__place_buffers(acr_plan *p)
{
    placed *list = acr__alloc(p->ctx, ((size_t)p->buffer_count + 1) * sizeof *list);
    if (!list)
        return ACR_E_NO_MEMORY;
    acr_status status = ACR_OK;
    size_t end = 0;
    int transient = 0;
    for (int i = 0; i < p->buffer_count && status == ACR_OK; i++) {
        acr__buffer *b = &p->buffers[i];
        if (b->bytes > SIZE_MAX / 4 || end > SIZE_MAX / 4)
            status = acr__fail(p->ctx, ACR_E_LIMIT, "the plan is larger than this machine can address (at '%s')",
                               b->name);
        b->bytes = (b->bytes + ACR_ALIGN - 1) / ACR_ALIGN * ACR_ALIGN;
        if (!always(b) && !b->host) {
            list[transient++] = (placed){.buffer = b, .index = i};
            continue;
        }
        if (b->host)
            continue;
        b->offset = end;
        end += b->bytes;
    }
    p->bytes = status == ACR_OK ? share_memory(list, transient, end) : 0;
    p->arena_bytes = p->bytes;
    for (int i = 0; i < p->buffer_count && status == ACR_OK; i++)
        if (p->buffers[i].host) {
            p->buffers[i].offset = p->bytes;
            p->bytes += p->buffers[i].bytes;
        }
    acr__free(p->ctx, list);
    return status;
}
