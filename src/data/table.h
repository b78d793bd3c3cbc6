/* table.h: a list of fixed records that is written once and read by number. A
 * short one is held in memory, a longer one is a file without a name, so that
 * memory does not grow with the list. */
#ifndef ACR_DATA_TABLE_H
#define ACR_DATA_TABLE_H

#include "base/base.h"

enum { ACR_TABLE_HELD = 128 * 1024 }; /* bytes that are held at most */

typedef struct acr__table {
    acr_context *ctx;
    const char *cache; /* borrowed: the folder for the file; NULL: the other places */
    size_t record;     /* bytes; divides ACR_TABLE_HELD */
    int64_t count;
    uint8_t *bytes; /* all of them, or those not yet in the file */
    size_t used, room;
    int fd; /* -1: all are held */
} acr__table;

/* Takes no memory yet. */
void acr__table_begin(acr__table *t, acr_context *ctx, size_t record, const char *cache);
/* ACR_E_IO: there is no room for the file; the sentence says where it was tried. */
acr_status acr__table_add(acr__table *t, const void *record);
/* After the last add and before the first read. */
acr_status acr__table_end(acr__table *t);
/* Records [first, first+n), which must be there. */
acr_status acr__table_read(const acr__table *t, int64_t first, int64_t n, void *out);
void acr__table_close(acr__table *t); /* takes a zeroed one */

#endif
