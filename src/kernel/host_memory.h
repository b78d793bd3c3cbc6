/* host_memory.h: put, fetch and clear of every table whose nodes live in the
 * host's own memory. */
#ifndef ACR_HOST_MEMORY_H
#define ACR_HOST_MEMORY_H

#include <string.h>

static inline void acr__host_put(void *node, const void *from, size_t bytes) { memcpy(node, from, bytes); }
static inline void acr__host_fetch(void *to, const void *node, size_t bytes) { memcpy(to, node, bytes); }
static inline void acr__host_clear(void *node, size_t bytes) { memset(node, 0, bytes); }

#define ACR_HOST_MEMORY .host = true, .put = acr__host_put, .fetch = acr__host_fetch, .clear = acr__host_clear

#endif
