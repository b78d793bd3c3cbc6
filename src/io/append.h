/* append.h: a file that grows by whole records, several to a write(2).
 *
 *     hold, hold, ... -> flush -> hold ... -> flush
 *
 * Invariant: the file ends at a whole record after every call, also a failed one:
 * what was held is lost then, and the file is cut back to where it was. Who holds
 * decides when to flush. Nothing here allocates. */
#ifndef ACR_IO_APPEND_H
#define ACR_IO_APPEND_H

#include "io/file.h"
#include <string.h>

enum { ACR_APPEND_HELD = 16 * 1024 };

typedef struct acr__append {
    acr_context *ctx;
    char *path;
    int fd;          /* -1: not open */
    int64_t written; /* where the file ends */
    int used;        /* bytes held */
    char held[ACR_APPEND_HELD];
} acr__append;

/* Where the file ends once what is held is written. */
static inline int64_t acr__append_end(const acr__append *a) { return a->written + a->used; }
static inline bool acr__append_room(const acr__append *a, size_t n) { return n <= (size_t)(ACR_APPEND_HELD - a->used); }

/* A record for which there is room. */
static inline void acr__append_hold(acr__append *a, const void *record, size_t n)
{
    memcpy(a->held + a->used, record, n);
    a->used += (int)n;
}

acr_status acr__append_flush(acr__append *a);
/* Takes back what came after `end`, a record's end, written or not. */
void acr__append_cut(acr__append *a, int64_t end);
acr_status acr__append_sync(acr__append *a);
/* Closes, and frees the path. What is held is lost. */
void acr__append_close(acr__append *a);

#endif
