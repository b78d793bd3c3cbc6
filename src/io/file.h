/* file.h: the one door to the file system. Everything of the product that
 * touches files goes through here, so that each failure becomes a status with a
 * sentence (the path, what was tried, the system's reason), short transfers and
 * EINTR are handled once, and tests can make the n-th call fail.
 *
 * It keeps no state but the file descriptor the caller holds. Paths are passed
 * for the sentences; none is kept. */
#ifndef ACR_IO_FILE_H
#define ACR_IO_FILE_H

#include "base/base.h"

enum { ACR_IO_BYTES = 64 * 1024 }; /* every streaming buffer */

/* Opens a regular file for reading. Missing, or not a regular file: ACR_E_DATA. */
acr_status acr__file_open(acr_context *ctx, const char *path, int *fd, int64_t *bytes);
/* Opens for reading and writing, created if missing. `append`: every write goes to the end. */
acr_status acr__file_create(acr_context *ctx, const char *path, bool truncate, bool append, int *fd);
/* ACR_E_IO if the system reports a write that failed late. The fd is gone in any case. */
acr_status acr__file_close(acr_context *ctx, const char *path, int fd);
/* For clearing up: closes, or cuts to length, and tells nobody; -1 is taken. */
void acr__file_end(int fd);
void acr__file_cut(int fd, int64_t bytes);
acr_status acr__file_size(acr_context *ctx, const char *path, int fd, int64_t *bytes);
/* All n bytes; the file's end before that is ACR_E_DATA. */
acr_status acr__file_pread(acr_context *ctx, const char *path, int fd, void *out, size_t n, int64_t offset);
/* What is there of a pipe or a terminal, up to n bytes; *got 0: its end. */
acr_status acr__file_read(acr_context *ctx, const char *path, int fd, void *out, size_t n, size_t *got);
acr_status acr__file_write(acr_context *ctx, const char *path, int fd, const void *bytes, size_t n);
acr_status acr__file_sync(acr_context *ctx, const char *path, int fd);
acr_status acr__file_truncate(acr_context *ctx, const char *path, int fd, int64_t bytes);
acr_status acr__file_rename(acr_context *ctx, const char *from, const char *to);
/* A file that is not there is no failure. */
acr_status acr__file_remove(acr_context *ctx, const char *path);
/* 0: nothing there that can be seen, 1: a file, 2: a folder, 3: something else. */
int acr__file_kind(const char *path);
/* Whether two paths lead to one file; b NULL: stdin. */
bool acr__file_same(const char *a, const char *b);
/* A small text file whole, with a zero byte after it (not counted in *bytes).
 * More than `limit` bytes, or missing: ACR_E_DATA. Free with acr__free. */
acr_status acr__file_load(acr_context *ctx, const char *path, size_t limit, char **out, size_t *bytes);
/* A small file whole, atomically. */
acr_status acr__file_put(acr_context *ctx, const char *path, const void *bytes, size_t n);

/* Creates the folder and its parents. An existing folder is no failure. */
acr_status acr__folder_create(acr_context *ctx, const char *path);
acr_status acr__folder_sync(acr_context *ctx, const char *path);
/* Calls each(user, name) for every name but "." and ".."; a status other than
 * ACR_OK stops it and is returned. A missing folder, and nothing else: ACR_E_DATA. */
acr_status acr__folder_list(acr_context *ctx, const char *path, acr_status (*each)(void *user, const char *name),
                            void *user);
/* Removes NAME.tmp.PID.N files of runs that are no more; with `held` (the caller
 * holds the folder's lock) those of every other process. Never fails: what can't
 * be removed stays. */
void acr__folder_clean(acr_context *ctx, const char *path, bool held);
/* "FOLDER/NAME", to be freed with acr__free; NULL: no memory. */
char *acr__path_join(acr_context *ctx, const char *folder, const char *name);

/* A file that appears whole or not at all: open, write ..., commit | abandon.
 * Written through a buffer to PATH.tmp.PID.N beside it. commit flushes file and
 * folder to the disk. After a failure only abandon is of use; abandon after
 * commit, or on a zeroed struct, does nothing. */
typedef struct acr__atomic {
    acr_context *ctx;
    char *path, *tmp, *buffer;
    size_t used;
    int fd; /* valid while tmp is not NULL */
} acr__atomic;
acr_status acr__atomic_open(acr__atomic *a, acr_context *ctx, const char *path);
acr_status acr__atomic_write(acr__atomic *a, const void *bytes, size_t n);
acr_status acr__atomic_commit(acr__atomic *a);
void acr__atomic_abandon(acr__atomic *a);

/* The lock of a run folder, FOLDER/.lock: held by one process at a time, gone
 * with its holder however it dies. The file itself stays. ACR_E_LOCKED names the
 * folder and the holder's process id. */
typedef struct acr__lock acr__lock;
acr_status acr__lock_take(acr__lock **out, acr_context *ctx, const char *folder);
void acr__lock_release(acr__lock *lock); /* takes NULL */

/* ---- for tests only ----------------------------------------------------------
 * Makes the n-th system call from now (1: the next) fail. 0 disarms. Also armed
 * at the first call by the environment variable ACCRUE_TEST_FAIL_IO=N[:KIND],
 * KIND one of: fail (the default), full, short, kill. The process-wide counter
 * is the one piece of mutable global state in the product; it is not reachable
 * through the public headers. */
enum acr__fault {
    ACR_FAULT_FAIL,  /* EIO; ENOSPC for a call that writes */
    ACR_FAULT_FULL,  /* likewise, after half of a write's bytes; every later writing call fails too */
    ACR_FAULT_SHORT, /* a transfer moves half of its bytes; other calls are interrupted once (EINTR) */
    ACR_FAULT_KILL,  /* the process kills itself before the call */
};
void acr__file_fault(int64_t n, enum acr__fault kind);
bool acr__file_fault_fired(void); /* since it was armed */

#endif
