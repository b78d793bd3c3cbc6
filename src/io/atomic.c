/* atomic.c: files that appear whole or not at all, and the lock of a folder.
 *
 * Invariant: at PATH stands either what stood there before or the whole new
 * file, at every instant, also across a power cut: the bytes are on the disk
 * before the name is, and the folder is flushed before commit returns. */
#define _GNU_SOURCE
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Two contexts of one process may write the same path at once. */
static _Atomic unsigned serial;

static void atomic_free(acr__atomic *a)
{
    acr__free(a->ctx, a->path);
    acr__free(a->ctx, a->tmp);
    acr__free(a->ctx, a->buffer);
    memset(a, 0, sizeof *a);
}

acr_status acr__atomic_open(acr__atomic *a, acr_context *ctx, const char *path)
{
    memset(a, 0, sizeof *a);
    a->ctx = ctx;
    size_t bytes = strlen(path) + 48;
    a->path = acr__strdup(ctx, path);
    a->buffer = acr__alloc(ctx, ACR_IO_BYTES);
    char *tmp = acr__alloc(ctx, bytes);
    if (!a->path || !a->buffer || !tmp) {
        acr__free(ctx, tmp);
        atomic_free(a);
        return ACR_E_NO_MEMORY;
    }
    snprintf(tmp, bytes, "%s.tmp.%ld.%u", path, (long)getpid(), atomic_fetch_add(&serial, 1));
    acr_status status = acr__file_create(ctx, tmp, true, false, &a->fd);
    if (status != ACR_OK) {
        acr__free(ctx, tmp);
        atomic_free(a);
        return status;
    }
    a->tmp = tmp;
    return ACR_OK;
}

static acr_status atomic_flush(acr__atomic *a)
{
    size_t n = a->used;
    a->used = 0;
    return acr__file_write(a->ctx, a->tmp, a->fd, a->buffer, n);
}

acr_status acr__atomic_write(acr__atomic *a, const void *bytes, size_t n)
{
    const char *from = bytes;
    while (n > 0) {
        if (a->used == 0 && n >= ACR_IO_BYTES)
            return acr__file_write(a->ctx, a->tmp, a->fd, from, n);
        size_t part = n < ACR_IO_BYTES - a->used ? n : ACR_IO_BYTES - a->used;
        memcpy(a->buffer + a->used, from, part);
        a->used += part;
        from += part;
        n -= part;
        if (a->used == ACR_IO_BYTES)
            TRY(atomic_flush(a));
    }
    return ACR_OK;
}

/* The folder part of a path, in place: "a/b" -> "a", "b" -> ".", "/b" -> "/". */
static const char *folder_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash)
        return ".";
    if (slash == path)
        slash++;
    *slash = '\0';
    return path;
}

acr_status acr__atomic_commit(acr__atomic *a)
{
    FAIL_IF(!a->tmp, a->ctx, ACR_E_STATE, "an atomic file is committed that is not open");
    TRY(atomic_flush(a));
    TRY(acr__file_sync(a->ctx, a->tmp, a->fd));
    int fd = a->fd;
    a->fd = -1;
    TRY(acr__file_close(a->ctx, a->tmp, fd));
    TRY(acr__file_rename(a->ctx, a->tmp, a->path));
    acr__free(a->ctx, a->tmp);
    a->tmp = NULL;
    acr_status status = acr__folder_sync(a->ctx, folder_of(a->path));
    atomic_free(a);
    return status;
}

void acr__atomic_abandon(acr__atomic *a)
{
    if (a->tmp) {
        if (a->fd >= 0)
            close(a->fd);
        /* Straight to the system: the sentence of the first failure must stay,
         * and there is nothing to be done about a second one. */
        unlink(a->tmp);
    }
    if (a->ctx)
        atomic_free(a);
}

acr_status acr__file_put(acr_context *ctx, const char *path, const void *bytes, size_t n)
{
    acr__atomic a;
    TRY(acr__atomic_open(&a, ctx, path));
    acr_status status = acr__atomic_write(&a, bytes, n);
    if (status == ACR_OK)
        status = acr__atomic_commit(&a);
    acr__atomic_abandon(&a);
    return status;
}

/* ---- what dead runs left ------------------------------------------------------ */

typedef struct cleaning {
    acr_context *ctx;
    const char *folder;
    bool held;
} cleaning;

/* The process id in NAME.tmp.PID.N, or 0 if the name is none of ours. */
static long stale_pid(const char *name)
{
    const char *p = NULL;
    for (const char *q = strstr(name, ".tmp."); q; q = strstr(q + 1, ".tmp."))
        p = q + 5;
    if (!p || *p < '1' || *p > '9')
        return 0;
    char *end;
    errno = 0;
    long pid = strtol(p, &end, 10);
    if (errno || *end != '.' || !end[1] || end[1 + strspn(end + 1, "0123456789")])
        return 0;
    return pid;
}

static acr_status clean_one(void *user, const char *name)
{
    cleaning *c = user;
    long pid = stale_pid(name);
    if (pid == 0 || pid == (long)getpid())
        return ACR_OK;
    bool dead = kill((pid_t)pid, 0) < 0 && errno == ESRCH;
    if (!c->held && !dead)
        return ACR_OK;
    char *path = acr__path_join(c->ctx, c->folder, name);
    if (path)
        unlink(path);
    acr__free(c->ctx, path);
    return ACR_OK;
}

void acr__folder_clean(acr_context *ctx, const char *path, bool held)
{
    cleaning c = {ctx, path, held};
    if (acr__file_kind(path) == 2)
        (void)acr__folder_list(ctx, path, clean_one, &c);
}

/* ---- the lock ------------------------------------------------------------------ */

struct acr__lock {
    acr_context *ctx;
    int fd;
};

static acr_status lock_refused(acr_context *ctx, const char *folder, int fd)
{
    char text[24] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    if (pid > 0)
        return acr__fail(ctx, ACR_E_LOCKED,
                         "%s: another run (process %ld) writes here; wait for it to end or choose another folder",
                         folder, pid);
    return acr__fail(ctx, ACR_E_LOCKED, "%s: another run writes here; wait for it to end or choose another folder",
                     folder);
}

static acr_status lock_open(acr__lock *lock, acr_context *ctx, const char *folder, const char *path)
{
    TRY(acr__file_create(ctx, path, false, false, &lock->fd));
    int rc;
    do
        rc = flock(lock->fd, LOCK_EX | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    acr_status status = ACR_OK;
    if (rc < 0 && errno == EWOULDBLOCK)
        status = lock_refused(ctx, folder, lock->fd);
    else if (rc < 0)
        status = acr__fail(ctx, ACR_E_IO, "%s: could not be locked: %s", path, strerror(errno));
    if (status != ACR_OK) {
        close(lock->fd);
        return status;
    }
    /* The id is a courtesy to whoever is refused; the lock holds without it,
     * on a full disk too. */
    char text[24];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(lock->fd, 0) == 0 && pwrite(lock->fd, text, (size_t)n, 0) != n)
        (void)!ftruncate(lock->fd, 0);
    return ACR_OK;
}

acr_status acr__lock_take(acr__lock **out, acr_context *ctx, const char *folder)
{
    acr__lock *lock = acr__alloc(ctx, sizeof *lock);
    char *path = lock ? acr__path_join(ctx, folder, ".lock") : NULL;
    acr_status status = ACR_E_NO_MEMORY;
    if (path) {
        lock->ctx = ctx;
        status = lock_open(lock, ctx, folder, path);
    }
    acr__free(ctx, path);
    if (status != ACR_OK) {
        acr__free(ctx, lock);
        return status;
    }
    *out = lock;
    return ACR_OK;
}

void acr__lock_release(acr__lock *lock)
{
    if (!lock)
        return;
    (void)!ftruncate(lock->fd, 0);
    close(lock->fd); /* closing is what unlocks */
    acr__free(lock->ctx, lock);
}
