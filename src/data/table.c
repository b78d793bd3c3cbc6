/* table.c: see table.h. The file is made when the first records no longer fit
 * the memory; what was added since the last write is written by end. */
#include "data/table.h"
#include "data/cache.h"
#include "io/file.h"
#include <string.h>

enum { FIRST_ROOM = 4096 };

static const char named[] = "the index of the sequences";

void acr__table_begin(acr__table *t, acr_context *ctx, size_t record, const char *cache)
{
    *t = (acr__table){.ctx = ctx, .cache = cache, .record = record, .fd = -1};
}

static acr_status make_file(acr__table *t)
{
    acr_status status = ACR_E_IO;
    if (t->cache && acr__folder_create(t->ctx, t->cache) == ACR_OK)
        status = acr__cache_nameless(t->ctx, t->cache, &t->fd);
    for (int i = 0; status == ACR_E_IO && acr__cache_other(i); i++)
        status = acr__cache_nameless(t->ctx, acr__cache_other(i), &t->fd);
    return status;
}

static acr_status flush(acr__table *t)
{
    if (t->fd < 0)
        TRY(make_file(t));
    TRY(acr__file_write(t->ctx, named, t->fd, t->bytes, t->used));
    t->used = 0;
    return ACR_OK;
}

acr_status acr__table_add(acr__table *t, const void *record)
{
    if (t->used == ACR_TABLE_HELD)
        TRY(flush(t));
    if (t->used == t->room) {
        size_t room = t->room ? t->room * 2 : FIRST_ROOM;
        uint8_t *bytes = acr__realloc(t->ctx, t->bytes, room);
        if (!bytes)
            return ACR_E_NO_MEMORY;
        t->bytes = bytes;
        t->room = room;
    }
    memcpy(t->bytes + t->used, record, t->record);
    t->used += t->record;
    t->count++;
    return ACR_OK;
}

acr_status acr__table_end(acr__table *t)
{
    if (t->fd < 0)
        return ACR_OK;
    TRY(flush(t));
    acr__free(t->ctx, t->bytes);
    t->bytes = NULL;
    return ACR_OK;
}

acr_status acr__table_read(const acr__table *t, int64_t first, int64_t n, void *out)
{
    int64_t record = (int64_t)t->record;
    if (t->fd >= 0)
        return acr__file_pread(t->ctx, named, t->fd, out, (size_t)(n * record), first * record);
    if (n > 0)
        memcpy(out, t->bytes + first * record, (size_t)(n * record));
    return ACR_OK;
}

void acr__table_close(acr__table *t)
{
    if (!t->ctx)
        return;
    acr__free(t->ctx, t->bytes);
    acr__file_end(t->fd);
    *t = (acr__table){.fd = -1};
}
