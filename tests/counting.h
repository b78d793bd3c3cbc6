/* counting.h: allocator hooks that count, refuse the n-th request, and remember
 * the largest block, which after acr_trainer_create is the arena. */
#ifndef COUNTING_H
#define COUNTING_H

#include "state.h"

typedef struct counting {
    int64_t calls, live;
    int64_t refuse; /* the number of the request that fails; 0: none */
    char *largest;
    size_t largest_bytes;
} counting;

static void *counting_alloc(void *user, size_t bytes)
{
    counting *c = user;
    if (++c->calls == c->refuse)
        return NULL;
    void *p = malloc(bytes);
    if (p && bytes > c->largest_bytes) {
        c->largest = p;
        c->largest_bytes = bytes;
    }
    c->live += p != NULL;
    return p;
}

static void counting_free(void *user, void *p)
{
    counting *c = user;
    c->live -= p != NULL;
    free(p);
}

/* Options of a context with these hooks. */
static inline acr_context_opts counting_context(counting *c, int threads)
{
    acr_context_opts o = ACR_CONTEXT_OPTS_INIT;
    o.threads = threads;
    o.alloc = counting_alloc;
    o.free = counting_free;
    o.user = c;
    return o;
}

#endif
