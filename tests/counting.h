/* counting.h: allocator hooks that count requests and bytes, refuse the n-th
 * request, and remember the largest block, which after acr_trainer_create is the
 * arena. */
#ifndef COUNTING_H
#define COUNTING_H

#include <accrue/accrue.h>
#include <stdlib.h>
#include <string.h>

typedef struct counting {
    int64_t calls, live;
    int64_t refuse; /* the number of the request that fails; 0: none */
    size_t now, peak; /* bytes that are held */
    char *largest;
    size_t largest_bytes;
} counting;

enum { COUNTING_HEAD = 16 }; /* bytes before each block, where its size stands */

static inline void *counting_alloc(void *user, size_t bytes)
{
    counting *c = user;
    if (++c->calls == c->refuse)
        return NULL;
    char *block = malloc(bytes + COUNTING_HEAD);
    if (!block)
        return NULL;
    memcpy(block, &bytes, sizeof bytes);
    if (bytes > c->largest_bytes) {
        c->largest = block + COUNTING_HEAD;
        c->largest_bytes = bytes;
    }
    c->live++;
    c->now += bytes;
    c->peak = c->now > c->peak ? c->now : c->peak;
    return block + COUNTING_HEAD;
}

static inline void counting_free(void *user, void *p)
{
    counting *c = user;
    if (!p)
        return;
    size_t bytes;
    memcpy(&bytes, (char *)p - COUNTING_HEAD, sizeof bytes);
    c->live--;
    c->now -= bytes;
    free((char *)p - COUNTING_HEAD);
}

/* Options of a context with these hooks; threads 0: as by default. */
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
