/* file.c: see file.h. Each function is one system call, done until it is done
 * or has failed for good, and the sentence of its failure. Nothing here decides
 * what a failure means to the run. */
#define _GNU_SOURCE
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- faults on request (tests only) ---------------------------------------- */

static _Atomic int64_t fault_left;
static _Atomic int fault_kind;
static _Atomic bool fault_fired, fault_full;
static pthread_once_t fault_once = PTHREAD_ONCE_INIT;

static void fault_arm(int64_t n, enum acr__fault kind)
{
    atomic_store(&fault_kind, (int)kind);
    atomic_store(&fault_fired, false);
    atomic_store(&fault_full, false);
    atomic_store(&fault_left, n);
}

static void fault_from_environment(void)
{
    static const char *const kinds[] = {"fail", "full", "short", "kill"};
    const char *text = getenv("ACCRUE_TEST_FAIL_IO");
    if (!text)
        return;
    char *end;
    int64_t n = strtoll(text, &end, 10);
    enum acr__fault kind = ACR_FAULT_FAIL;
    for (int i = 0; *end == ':' && i < 4; i++)
        if (!strcmp(end + 1, kinds[i]))
            kind = (enum acr__fault)i;
    fault_arm(n > 0 ? n : 0, kind);
}

void acr__file_fault(int64_t n, enum acr__fault kind)
{
    pthread_once(&fault_once, fault_from_environment);
    fault_arm(n, kind);
}

bool acr__file_fault_fired(void)
{
    return atomic_load(&fault_fired);
}

/* To be asked before each system call: 0, or the errno to pretend. `n`, of a
 * transfer, is halved by a short one. */
static int fault_next(bool writes, size_t *n)
{
    pthread_once(&fault_once, fault_from_environment);
    if (writes && atomic_load(&fault_full))
        return ENOSPC;
    if (atomic_load(&fault_left) <= 0 || atomic_fetch_sub(&fault_left, 1) != 1)
        return 0;
    atomic_store(&fault_fired, true);
    switch (atomic_load(&fault_kind)) {
    case ACR_FAULT_KILL:
        kill(getpid(), SIGKILL);
        return EIO;
    case ACR_FAULT_SHORT:
        if (!n)
            return EINTR;
        *n -= *n / 2;
        return 0;
    case ACR_FAULT_FULL:
        atomic_store(&fault_full, true);
        if (writes && n && *n > 1) { /* what still fits is written */
            *n -= *n / 2;
            return 0;
        }
        return writes ? ENOSPC : EIO;
    default:
        return writes ? ENOSPC : EIO;
    }
}

/* Runs `call` (int or ssize_t, -1 and errno on failure) into `result`, again
 * while it is interrupted. */
#define SYSTEM(result, writes, n, call)         \
    do {                                        \
        int pretend_ = fault_next((writes), (n)); \
        if (pretend_) {                         \
            (result) = -1;                      \
            errno = pretend_;                   \
        } else {                                \
            (result) = (call);                  \
        }                                       \
    } while ((result) < 0 && errno == EINTR)

/* ---- files ------------------------------------------------------------------- */

static acr_status fail_io(acr_context *ctx, const char *path, const char *what)
{
    return acr__fail(ctx, ACR_E_IO, "%s: could not be %s: %s", path, what, strerror(errno));
}

acr_status acr__file_open(acr_context *ctx, const char *path, int *fd, int64_t *bytes)
{
    /* O_NONBLOCK: a pipe in the place of a file must not hang us. */
    int f;
    SYSTEM(f, false, NULL, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (f < 0) {
        bool absent = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP || errno == ENXIO;
        return acr__fail(ctx, absent ? ACR_E_DATA : ACR_E_IO, "%s: could not be opened for reading: %s", path,
                         strerror(errno));
    }
    struct stat s;
    int rc;
    SYSTEM(rc, false, NULL, fstat(f, &s));
    if (rc < 0) {
        acr_status status = fail_io(ctx, path, "examined");
        close(f);
        return status;
    }
    if (!S_ISREG(s.st_mode)) {
        close(f);
        return acr__fail(ctx, ACR_E_DATA, "%s: is %s, not a regular file", path,
                         S_ISDIR(s.st_mode) ? "a folder" : "a device, pipe or socket");
    }
    *fd = f;
    *bytes = (int64_t)s.st_size;
    return ACR_OK;
}

acr_status acr__file_create(acr_context *ctx, const char *path, bool truncate, bool append, int *fd)
{
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | (truncate ? O_TRUNC : 0) | (append ? O_APPEND : 0);
    int f;
    SYSTEM(f, true, NULL, open(path, flags, 0666));
    if (f < 0)
        return fail_io(ctx, path, "opened for writing");
    *fd = f;
    return ACR_OK;
}

acr_status acr__file_close(acr_context *ctx, const char *path, int fd)
{
    int pretend = fault_next(true, NULL);
    int rc = close(fd);
    if (pretend) {
        rc = -1;
        errno = pretend;
    }
    /* On Linux the descriptor is gone after EINTR: never close twice. */
    if (rc < 0 && errno != EINTR)
        return fail_io(ctx, path, "closed");
    return ACR_OK;
}

void acr__file_end(int fd)
{
    if (fd >= 0)
        close(fd);
}

void acr__file_cut(int fd, int64_t bytes)
{
    while (fd >= 0 && ftruncate(fd, (off_t)bytes) < 0 && errno == EINTR) {
    }
}

acr_status acr__file_size(acr_context *ctx, const char *path, int fd, int64_t *bytes)
{
    struct stat s;
    int rc;
    SYSTEM(rc, false, NULL, fstat(fd, &s));
    if (rc < 0)
        return fail_io(ctx, path, "examined");
    *bytes = (int64_t)s.st_size;
    return ACR_OK;
}

acr_status acr__file_pread(acr_context *ctx, const char *path, int fd, void *out, size_t n, int64_t offset)
{
    char *to = out;
    while (n > 0) {
        size_t part = n;
        ssize_t got;
        SYSTEM(got, false, &part, pread(fd, to, part, (off_t)offset));
        if (got < 0)
            return fail_io(ctx, path, "read");
        FAIL_IF(got == 0, ctx, ACR_E_DATA, "%s: ends at byte %lld, %zu bytes before what was expected; was it cut?",
                path, (long long)offset, n);
        to += got;
        offset += got;
        n -= (size_t)got;
    }
    return ACR_OK;
}

acr_status acr__file_read(acr_context *ctx, const char *path, int fd, void *out, size_t n, size_t *got)
{
    ssize_t bytes;
    SYSTEM(bytes, false, &n, read(fd, out, n));
    if (bytes < 0)
        return fail_io(ctx, path, "read");
    *got = (size_t)bytes;
    return ACR_OK;
}

acr_status acr__file_write(acr_context *ctx, const char *path, int fd, const void *bytes, size_t n)
{
    const char *from = bytes;
    while (n > 0) {
        size_t part = n;
        ssize_t put;
        SYSTEM(put, true, &part, write(fd, from, part));
        if (put < 0)
            return fail_io(ctx, path, "written");
        from += put;
        n -= (size_t)put;
    }
    return ACR_OK;
}

acr_status acr__file_sync(acr_context *ctx, const char *path, int fd)
{
    int rc;
    SYSTEM(rc, true, NULL, fsync(fd));
    if (rc < 0)
        return fail_io(ctx, path, "flushed to the disk");
    return ACR_OK;
}

acr_status acr__file_truncate(acr_context *ctx, const char *path, int fd, int64_t bytes)
{
    int rc;
    SYSTEM(rc, true, NULL, ftruncate(fd, (off_t)bytes));
    if (rc < 0)
        return fail_io(ctx, path, "cut to length");
    return ACR_OK;
}

acr_status acr__file_rename(acr_context *ctx, const char *from, const char *to)
{
    int rc;
    SYSTEM(rc, true, NULL, rename(from, to));
    if (rc < 0)
        return acr__fail(ctx, ACR_E_IO, "%s: could not be renamed to %s: %s", from, to, strerror(errno));
    return ACR_OK;
}

acr_status acr__file_remove(acr_context *ctx, const char *path)
{
    int rc;
    SYSTEM(rc, false, NULL, unlink(path));
    if (rc < 0 && errno != ENOENT)
        return fail_io(ctx, path, "removed");
    return ACR_OK;
}

int acr__file_kind(const char *path)
{
    struct stat s;
    int rc;
    SYSTEM(rc, false, NULL, stat(path, &s));
    if (rc < 0)
        return 0;
    return S_ISREG(s.st_mode) ? 1 : S_ISDIR(s.st_mode) ? 2 : 3;
}

bool acr__file_same(const char *a, const char *b)
{
    struct stat s, t;
    int rc;
    SYSTEM(rc, false, NULL, stat(a, &s));
    if (rc == 0)
        SYSTEM(rc, false, NULL, b ? stat(b, &t) : fstat(STDIN_FILENO, &t));
    return rc == 0 && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

static acr_status load_open(acr_context *ctx, const char *path, int fd, size_t bytes, char **out)
{
    char *text = acr__alloc(ctx, bytes + 1);
    if (!text)
        return ACR_E_NO_MEMORY;
    acr_status status = acr__file_pread(ctx, path, fd, text, bytes, 0);
    if (status != ACR_OK) {
        acr__free(ctx, text);
        return status;
    }
    *out = text;
    return ACR_OK;
}

acr_status acr__file_load(acr_context *ctx, const char *path, size_t limit, char **out, size_t *bytes)
{
    int fd;
    int64_t size;
    TRY(acr__file_open(ctx, path, &fd, &size));
    acr_status status;
    if ((uint64_t)size > limit)
        status = acr__fail(ctx, ACR_E_DATA, "%s: has %lld bytes; at most %zu are allowed here", path, (long long)size,
                           limit);
    else
        status = load_open(ctx, path, fd, (size_t)size, out);
    close(fd);
    if (status == ACR_OK && bytes)
        *bytes = (size_t)size;
    return status;
}

/* ---- folders ----------------------------------------------------------------- */

char *acr__path_join(acr_context *ctx, const char *folder, const char *name)
{
    size_t n = strlen(folder);
    bool slash = n > 0 && folder[n - 1] != '/';
    size_t bytes = n + strlen(name) + 2;
    char *path = acr__alloc(ctx, bytes);
    if (path)
        snprintf(path, bytes, "%s%s%s", folder, slash ? "/" : "", name);
    return path;
}

/* Cuts the last name off a path; false if nothing would be left. */
static bool to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    while (slash && slash > path && slash[-1] == '/')
        slash--;
    if (!slash || slash == path)
        return false;
    *slash = '\0';
    return true;
}

/* The folder itself first: parents that exist are not touched. */
static acr_status folder_create(acr_context *ctx, const char *path)
{
    int rc;
    SYSTEM(rc, true, NULL, mkdir(path, 0777));
    if (rc < 0 && errno == ENOENT) {
        char *parent = acr__strdup(ctx, path);
        if (!parent)
            return ACR_E_NO_MEMORY;
        errno = ENOENT;
        acr_status status = to_parent(parent) ? folder_create(ctx, parent) : fail_io(ctx, path, "created");
        acr__free(ctx, parent);
        if (status != ACR_OK)
            return status;
        SYSTEM(rc, true, NULL, mkdir(path, 0777));
    }
    if (rc < 0 && errno == EEXIST) {
        FAIL_IF(acr__file_kind(path) != 2, ctx, ACR_E_IO,
                "%s: a folder was to be created here, but there is something that is no folder", path);
        return ACR_OK;
    }
    if (rc < 0)
        return acr__fail(ctx, ACR_E_IO, "%s: the folder could not be created: %s", path, strerror(errno));
    return ACR_OK;
}

acr_status acr__folder_create(acr_context *ctx, const char *path)
{
    char *copy = acr__strdup(ctx, path);
    if (!copy)
        return ACR_E_NO_MEMORY;
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = '\0';
    acr_status status =
        n ? folder_create(ctx, copy) : acr__fail(ctx, ACR_E_ARGUMENT, "a folder's path is empty");
    acr__free(ctx, copy);
    return status;
}

acr_status acr__folder_sync(acr_context *ctx, const char *path)
{
    int fd, rc;
    SYSTEM(fd, false, NULL, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0)
        return fail_io(ctx, path, "opened");
    SYSTEM(rc, true, NULL, fsync(fd));
    /* Some file systems can't flush a folder and say so; that is no failure. */
    bool failed = rc < 0 && errno != EINVAL && errno != EROFS;
    acr_status status = failed ? fail_io(ctx, path, "flushed to the disk") : ACR_OK;
    close(fd);
    return status;
}

acr_status acr__folder_list(acr_context *ctx, const char *path, acr_status (*each)(void *user, const char *name),
                            void *user)
{
    int fd;
    SYSTEM(fd, false, NULL, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0)
        return acr__fail(ctx, errno == ENOENT ? ACR_E_DATA : ACR_E_IO,
                         "%s: the folder could not be opened: %s", path, strerror(errno));
    DIR *d = fdopendir(fd);
    if (!d) {
        acr_status status = fail_io(ctx, path, "listed");
        close(fd);
        return status;
    }
    acr_status status = ACR_OK;
    while (status == ACR_OK) {
        errno = fault_next(false, NULL);
        struct dirent *entry = errno && errno != EINTR ? NULL : readdir(d);
        if (!entry) {
            if (errno && errno != EINTR)
                status = fail_io(ctx, path, "listed");
            break;
        }
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            status = each(user, entry->d_name);
    }
    closedir(d);
    return status;
}
