/* events.c: TensorBoard's event file: records of a length, its checksum, the
 * event, its checksum. Protocol-buffer fields are written by hand: two messages
 * with four fields each need no library.
 *
 * mask(crc) = rotr(crc32c, 15) + 0xa282ead8, as TensorBoard's reader expects. */
#define _GNU_SOURCE
#include "io/append.h"
#include "io/lines.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    VALUE_MAX = ACR_EVENT_TAG + 16,             /* bytes of one Summary.Value with its head */
    EVENT_MAX = VALUE_MAX * ACR_EVENT_VALUES + 64,
    NAME = 192,
};

struct acr__events {
    acr_context *ctx;
    acr__append file;
    char name[NAME];
    uint32_t table[256];
    unsigned char record[EVENT_MAX];
};

static void crc_table(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78 : c >> 1;
        table[i] = c;
    }
}

static uint32_t crc_with(const uint32_t table[256], uint32_t crc, const unsigned char *p, size_t n)
{
    crc = ~crc;
    while (n--)
        crc = crc >> 8 ^ table[(crc ^ *p++) & 255];
    return ~crc;
}

uint32_t acr__crc32c(uint32_t crc, const void *bytes, size_t n)
{
    uint32_t table[256];
    crc_table(table);
    return crc_with(table, crc, bytes, n);
}

/* ---- one record -------------------------------------------------------------------- */

static unsigned char *put_little(unsigned char *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *p++ = (unsigned char)(v >> 8 * i);
    return p;
}

static unsigned char *put_varint(unsigned char *p, uint64_t v)
{
    for (; v >= 128; v >>= 7)
        *p++ = (unsigned char)(v | 128);
    *p++ = (unsigned char)v;
    return p;
}

static unsigned char *put_bytes(unsigned char *p, int field, const void *bytes, size_t n)
{
    *p++ = (unsigned char)(field << 3 | 2);
    p = put_varint(p, n);
    memcpy(p, bytes, n);
    return p + n;
}

static unsigned char *put_head(unsigned char *p, double wall_time, int64_t step)
{
    uint64_t bits;
    memcpy(&bits, &wall_time, 8);
    *p++ = 1 << 3 | 1; /* Event.wall_time, double */
    p = put_little(p, bits, 8);
    *p++ = 2 << 3; /* Event.step, int64 */
    return put_varint(p, (uint64_t)step);
}

static unsigned char *put_value(unsigned char *p, const char *tag, float value)
{
    unsigned char inner[VALUE_MAX], *q = put_bytes(inner, 1, tag, strlen(tag)); /* Value.tag */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    *q++ = 2 << 3 | 5; /* Value.simple_value, float */
    q = put_little(q, bits, 4);
    return put_bytes(p, 1, inner, (size_t)(q - inner)); /* Summary.value */
}

static uint32_t masked(const acr__events *e, const unsigned char *p, size_t n)
{
    uint32_t crc = crc_with(e->table, 0, p, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* The event of n bytes lies at record + 12. */
static acr_status hold(acr__events *e, size_t n)
{
    put_little(e->record, n, 8);
    put_little(e->record + 8, masked(e, e->record, 8), 4);
    put_little(e->record + 12 + n, masked(e, e->record + 12, n), 4);
    if (!acr__append_room(&e->file, n + 16))
        TRY(acr__append_flush(&e->file));
    acr__append_hold(&e->file, e->record, n + 16);
    return ACR_OK;
}

acr_status acr__events_scalars(acr__events *e, int64_t step, double wall_time, int count, const char *const *tags,
                               const float *values)
{
    FAIL_IF(count < 0 || count > ACR_EVENT_VALUES, e->ctx, ACR_E_ARGUMENT, "%s: %d values in an event; at most %d",
            e->file.path, count, ACR_EVENT_VALUES);
    unsigned char summary[VALUE_MAX * ACR_EVENT_VALUES], *s = summary;
    for (int i = 0; i < count; i++) {
        FAIL_IF(strlen(tags[i]) > ACR_EVENT_TAG, e->ctx, ACR_E_ARGUMENT, "%s: the tag %s is longer than %d bytes",
                e->file.path, tags[i], ACR_EVENT_TAG);
        s = put_value(s, tags[i], values[i]);
    }
    unsigned char *p = put_head(e->record + 12, wall_time, step);
    p = put_bytes(p, 5, summary, (size_t)(s - summary)); /* Event.summary */
    return hold(e, (size_t)(p - e->record) - 12);
}

/* ---- the file ---------------------------------------------------------------------- */

static acr_status begin_new(acr__events *e, const char *folder)
{
    static _Atomic unsigned serial;
    static const char version[] = "brain.Event:2";
    char host[64] = "localhost";
    gethostname(host, sizeof host - 1);
    host[strcspn(host, "/")] = '\0';
    time_t now = time(NULL);
    snprintf(e->name, sizeof e->name, "events.out.tfevents.%010lld.%s.%ld.%u", (long long)now, host, (long)getpid(),
             atomic_fetch_add(&serial, 1));
    e->file.path = acr__path_join(e->ctx, folder, e->name);
    if (!e->file.path)
        return ACR_E_NO_MEMORY;
    TRY(acr__file_create(e->ctx, e->file.path, true, true, &e->file.fd));
    unsigned char *p = put_head(e->record + 12, (double)now, 0);
    p = put_bytes(p, 3, version, sizeof version - 1); /* Event.file_version */
    TRY(hold(e, (size_t)(p - e->record) - 12));
    return acr__append_flush(&e->file);
}

/* false: there is no such file, or a shorter one. */
static acr_status go_on(acr__events *e, const char *folder, const char *name, int64_t offset, bool *done)
{
    int64_t size;
    if (strlen(name) >= sizeof e->name || strchr(name, '/'))
        return ACR_OK;
    snprintf(e->name, sizeof e->name, "%s", name);
    e->file.path = acr__path_join(e->ctx, folder, name);
    if (!e->file.path)
        return ACR_E_NO_MEMORY;
    if (acr__file_kind(e->file.path) == 1) {
        TRY(acr__file_create(e->ctx, e->file.path, false, true, &e->file.fd));
        TRY(acr__file_size(e->ctx, e->file.path, e->file.fd, &size));
        if (offset > 0 && size >= offset) {
            e->file.written = offset;
            *done = true;
            return size > offset ? acr__file_truncate(e->ctx, e->file.path, e->file.fd, offset) : ACR_OK;
        }
        acr__file_end(e->file.fd);
        e->file.fd = -1;
    }
    acr__free(e->ctx, e->file.path);
    e->file.path = NULL;
    return ACR_OK;
}

acr_status acr__events_open(acr__events **out, acr_context *ctx, const char *folder, const char *name, int64_t offset)
{
    acr__events *e = acr__alloc(ctx, sizeof *e);
    if (!e)
        return ACR_E_NO_MEMORY;
    e->ctx = e->file.ctx = ctx;
    e->file.fd = -1;
    crc_table(e->table);
    bool done = false;
    acr_status status = name ? go_on(e, folder, name, offset, &done) : ACR_OK;
    if (status == ACR_OK && !done)
        status = begin_new(e, folder);
    if (status != ACR_OK) {
        acr__events_close(e);
        return status;
    }
    *out = e;
    return ACR_OK;
}

void acr__events_close(acr__events *e)
{
    if (!e)
        return;
    acr__append_close(&e->file);
    acr__free(e->ctx, e);
}

const char *acr__events_name(const acr__events *e)
{
    return e->name;
}

int64_t acr__events_where(const acr__events *e)
{
    return acr__append_end(&e->file);
}

acr_status acr__events_sync(acr__events *e)
{
    return acr__append_sync(&e->file);
}

acr_status acr__events_flush(acr__events *e)
{
    return acr__append_flush(&e->file);
}
