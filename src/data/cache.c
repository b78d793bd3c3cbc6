/* cache.c: a compressed file's elements, unpacked once, as a file that pread can
 * read: a page of head, then the elements as they were.
 *
 * Invariant: what is believed was written whole. A copy appears under its name
 * by rename, after its bytes are on the disk; its name and head come from the
 * original's real path, size and time of change, and its head and length are
 * checked at each use. Anything else under that name is replaced. The elements
 * themselves are not summed again: a disk that changes bytes is not noticed.
 *
 * Where the cache folder can't be written, an unlinked file in TMPDIR or /tmp
 * serves this process alone. Nothing is ever removed but what dead runs left. */
#define _GNU_SOURCE
#include "data/array.h"
#include "data/cache.h"
#include "data/gzip.h"
#include "io/file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { HEAD_BYTES = 4096 };

/* The head: this, its checksum, zeros to the end of the page. */
typedef struct identity {
    char magic[16]; /* the number in it is the format's version */
    XXH128_hash_t path;
    int64_t size, seconds, nanoseconds; /* of the original */
    int64_t offset, bytes;              /* of its elements, unpacked */
} identity;

static bool identify(const acr__array *a, identity *id)
{
    char real[PATH_MAX];
    struct stat s;
    if (!realpath(a->path, real) || fstat(a->fd, &s) != 0)
        return false;
    memset(id, 0, sizeof *id);
    memcpy(id->magic, "accrue cache 1\n", 16);
    id->path = XXH3_128bits(real, strlen(real));
    id->size = (int64_t)s.st_size;
    id->seconds = (int64_t)s.st_mtim.tv_sec;
    id->nanoseconds = (int64_t)s.st_mtim.tv_nsec;
    id->offset = a->head.offset;
    id->bytes = a->head.bytes;
    return true;
}

static void write_head(const identity *id, uint8_t head[HEAD_BYTES])
{
    memset(head, 0, HEAD_BYTES);
    memcpy(head, id, sizeof *id);
    XXH64_hash_t sum = XXH3_64bits(id, sizeof *id);
    memcpy(head + sizeof *id, &sum, sizeof sum);
}

acr_status acr__cache_folder(acr_context *ctx, const char *given, char **out)
{
    const char *base = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    *out = NULL;
    if (given) {
        *out = acr__strdup(ctx, given);
    } else if (base && base[0] == '/') { /* a relative one is to be ignored, says the XDG specification */
        *out = acr__path_join(ctx, base, "accrue");
    } else if (home && home[0] == '/') {
        *out = acr__path_join(ctx, home, ".cache/accrue");
    } else {
        return ACR_OK;
    }
    return *out ? ACR_OK : ACR_E_NO_MEMORY;
}

/* mkstemp, because a name that can be guessed could be somebody else's link. */
acr_status acr__cache_nameless(acr_context *ctx, const char *folder, int *fd)
{
    char *path = acr__path_join(ctx, folder, "accrue.XXXXXX");
    if (!path)
        return ACR_E_NO_MEMORY;
    int f = mkostemp(path, O_CLOEXEC);
    acr_status status = f < 0 ? acr__fail(ctx, ACR_E_IO, "%s: no file could be made there: %s", folder, strerror(errno))
                              : acr__file_remove(ctx, path);
    if (status == ACR_OK)
        *fd = f;
    else if (f >= 0)
        acr__file_end(f);
    acr__free(ctx, path);
    return status;
}

const char *acr__cache_other(int i)
{
    const char *temporary = getenv("TMPDIR");
    bool has = temporary && temporary[0];
    return i == 0 && has ? temporary : i == has ? "/tmp" : NULL;
}

/* ACR_OK: *fd reads a whole copy. Anything else: there is none. */
static acr_status open_copy(const char *path, const identity *id, int *fd)
{
    uint8_t head[HEAD_BYTES], wanted[HEAD_BYTES];
    int64_t bytes;
    TRY(acr__file_open(NULL, path, fd, &bytes));
    write_head(id, wanted);
    acr_status status =
        bytes == HEAD_BYTES + id->bytes ? acr__file_pread(NULL, path, *fd, head, sizeof head, 0) : ACR_E_DATA;
    if (status == ACR_OK && memcmp(head, wanted, sizeof head) == 0)
        return ACR_OK;
    acr__file_close(NULL, path, *fd);
    return ACR_E_DATA;
}

/* Where unpacked bytes go: one of the two. */
typedef struct sink {
    acr__atomic *atomic;
    int fd;
    const char *path;
    bool failed; /* the last failure was the sink's, not the source's */
} sink;

static acr_status put(acr_context *ctx, sink *to, const void *bytes, size_t n)
{
    acr_status status =
        to->atomic ? acr__atomic_write(to->atomic, bytes, n) : acr__file_write(ctx, to->path, to->fd, bytes, n);
    to->failed = status != ACR_OK;
    return status;
}

/* Everything after the source's head into the sink, whose head is written here. */
static acr_status pour(acr_context *ctx, const acr__array *a, acr__gzip *g, uint8_t *buffer, const identity *id,
                       sink *to)
{
    size_t got, skip = (size_t)a->head.offset;
    write_head(id, buffer);
    TRY(put(ctx, to, buffer, HEAD_BYTES));
    TRY(acr__gzip_read(g, buffer, skip, &got)); /* a head is shorter than the buffer */
    int64_t done = 0;
    do {
        FAIL_IF(acr_cancelled(ctx), ctx, ACR_E_CANCELLED, "%s: cancelled while it was being unpacked", a->path);
        TRY(acr__gzip_read(g, buffer, ACR_IO_BYTES, &got));
        done += (int64_t)got;
        FAIL_IF(done > a->head.bytes, ctx, ACR_E_DATA, "%s: unpacks to more than the %lld bytes that its head means",
                a->path, (long long)(a->head.offset + a->head.bytes));
        TRY(put(ctx, to, buffer, got));
    } while (got == ACR_IO_BYTES);
    FAIL_IF(done < a->head.bytes, ctx, ACR_E_DATA, "%s: cut short: unpacks to %lld bytes, but its head means %lld",
            a->path, (long long)(a->head.offset + done), (long long)(a->head.offset + a->head.bytes));
    return ACR_OK;
}

static acr_status unpack_to(acr_context *ctx, const acr__array *a, const identity *id, sink *to)
{
    acr__gzip *g;
    uint8_t *buffer = acr__alloc(ctx, ACR_IO_BYTES);
    if (!buffer)
        return ACR_E_NO_MEMORY;
    acr_status status = acr__gzip_open(&g, ctx, a->path, a->fd, a->file_bytes);
    if (status == ACR_OK) {
        status = pour(ctx, a, g, buffer, id, to);
        acr__gzip_close(g);
    }
    acr__free(ctx, buffer);
    return status;
}

/* Makes the copy under its name and opens it. *unusable: the folder's fault. */
static acr_status build_copy(acr_context *ctx, const acr__array *a, const identity *id, const char *folder,
                             const char *path, int *fd, bool *unusable)
{
    *unusable = true;
    TRY(acr__folder_create(ctx, folder));
    acr__folder_clean(ctx, folder, false);
    acr__atomic atomic;
    TRY(acr__atomic_open(&atomic, ctx, path));
    sink to = {.atomic = &atomic};
    acr_status status = unpack_to(ctx, a, id, &to);
    *unusable = status == ACR_OK || to.failed;
    if (status == ACR_OK)
        status = acr__atomic_commit(&atomic);
    acr__atomic_abandon(&atomic);
    TRY(status);
    return open_copy(path, id, fd);
}

static acr_status cached(acr_context *ctx, const acr__array *a, const identity *id, const char *folder, int *fd,
                         bool *unusable)
{
    char name[48];
    XXH128_hash_t key = XXH3_128bits(id, sizeof *id);
    snprintf(name, sizeof name, "%016llx%016llx.array", (unsigned long long)key.high64, (unsigned long long)key.low64);
    *unusable = false;
    char *path = acr__path_join(ctx, folder, name);
    if (!path)
        return ACR_E_NO_MEMORY;
    acr_status status = open_copy(path, id, fd);
    if (status != ACR_OK)
        status = build_copy(ctx, a, id, folder, path, fd, unusable);
    acr__free(ctx, path);
    return status;
}

/* The elements in a file without a name in `folder`. */
static acr_status nameless(acr_context *ctx, const acr__array *a, const identity *id, const char *folder, int *fd,
                           bool *unusable)
{
    int f = -1;
    *unusable = true;
    TRY(acr__cache_nameless(ctx, folder, &f));
    sink to = {.fd = f, .path = folder};
    acr_status status = unpack_to(ctx, a, id, &to);
    *unusable = to.failed;
    if (status == ACR_OK)
        *fd = f;
    else
        acr__file_end(f);
    return status;
}

/* The cache folder, then the places for nameless files, until one can hold it. */
static acr_status find_room(acr_context *ctx, acr__array *a, const char *cache, const identity *id, bool known, int *fd)
{
    bool unusable = true;
    acr_status status = ACR_E_IO;
    if (cache && known)
        status = cached(ctx, a, id, cache, fd, &unusable);
    for (int i = 0; status != ACR_OK && status != ACR_E_NO_MEMORY && unusable && acr__cache_other(i); i++)
        status = nameless(ctx, a, id, acr__cache_other(i), fd, &unusable);
    if (status == ACR_OK || status == ACR_E_NO_MEMORY || !unusable)
        return status;
    char why[ACR_SENTENCE];
    snprintf(why, sizeof why, "%s", acr_error(ctx));
    return acr__fail(
        ctx, ACR_E_IO,
        "%s: %lld bytes of room are needed to unpack it, in %s or in TMPDIR or /tmp, and none of them gave it (%.400s)",
        a->path, (long long)a->head.bytes + HEAD_BYTES, cache ? cache : "a cache folder (set XDG_CACHE_HOME)", why);
}

acr_status acr__array_unpack(acr_context *ctx, acr__array *a, const char *cache)
{
    if (!a->packed)
        return ACR_OK;
    char *folder;
    TRY(acr__cache_folder(ctx, cache, &folder));
    identity id = {0};
    bool known = identify(a, &id);
    int fd = -1;
    acr_status status = find_room(ctx, a, folder, &id, known, &fd);
    acr__free(ctx, folder);
    TRY(status);
    acr__file_close(NULL, a->path, a->fd);
    a->fd = fd;
    a->body = HEAD_BYTES;
    a->packed = false;
    return ACR_OK;
}
