/* files.c: see files.h. It opens nothing and reads nothing. */
#define _GNU_SOURCE
#include "data/files.h"
#include "io/file.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct finding {
    acr__files *files;
    const char *folder, *ending;
} finding;

static acr_status add_path(acr__files *f, char *path)
{
    if (f->count == f->room) {
        int64_t room = f->room ? f->room * 2 : 16;
        char **grown = acr__realloc(f->ctx, f->path, (size_t)room * sizeof *grown);
        if (!grown) {
            acr__free(f->ctx, path);
            return ACR_E_NO_MEMORY;
        }
        f->path = grown;
        f->room = room;
    }
    f->path[f->count++] = path;
    return ACR_OK;
}

static acr_status consider(void *user, const char *name)
{
    finding *look = user;
    size_t n = strlen(name), m = strlen(look->ending);
    if (name[0] == '.' || n <= m || strcmp(name + n - m, look->ending) != 0)
        return ACR_OK;
    char *path = acr__path_join(look->files->ctx, look->folder, name);
    if (!path)
        return ACR_E_NO_MEMORY;
    if (acr__file_kind(path) == 1)
        return add_path(look->files, path);
    acr__free(look->files->ctx, path);
    return ACR_OK;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static acr_status find(acr__files *f, const char *path, const char *ending)
{
    int kind = acr__file_kind(path);
    FAIL_IF(kind == 0, f->ctx, ACR_E_DATA, "%s: there is no such file or folder", path);
    if (kind != 2) {
        char *copy = acr__strdup(f->ctx, path);
        return copy ? add_path(f, copy) : ACR_E_NO_MEMORY;
    }
    finding look = {f, path, ending};
    TRY(acr__folder_list(f->ctx, path, consider, &look));
    FAIL_IF(f->count == 0, f->ctx, ACR_E_DATA, "%s: no file in this folder ends in %s", path, ending);
    qsort(f->path, (size_t)f->count, sizeof *f->path, by_bytes);
    return ACR_OK;
}

acr_status acr__files_find(acr__files *f, acr_context *ctx, const char *path, const char *ending)
{
    *f = (acr__files){.ctx = ctx};
    acr_status status = find(f, path, ending);
    if (status != ACR_OK)
        acr__files_free(f);
    return status;
}

void acr__files_free(acr__files *f)
{
    if (!f->ctx)
        return;
    for (int64_t i = 0; i < f->count; i++)
        acr__free(f->ctx, f->path[i]);
    acr__free(f->ctx, f->path);
    *f = (acr__files){0};
}

acr_status acr__file_identify(acr_context *ctx, const char *path, acr__hash *hash, int64_t *bytes)
{
    char real[PATH_MAX];
    struct stat s;
    FAIL_IF(!realpath(path, real) || stat(real, &s) != 0, ctx, errno == ENOENT ? ACR_E_DATA : ACR_E_IO,
            "%s: could not be examined: %s", path, strerror(errno));
    const int64_t state[] = {(int64_t)s.st_size, (int64_t)s.st_mtim.tv_sec, (int64_t)s.st_mtim.tv_nsec};
    acr__hash_add(hash, real, strlen(real) + 1);
    acr__hash_add(hash, state, sizeof state);
    *bytes = (int64_t)s.st_size;
    return ACR_OK;
}

acr_status acr__files_identify(acr__files *f, acr__hash *hash)
{
    for (int64_t i = 0; i < f->count; i++) {
        int64_t bytes;
        TRY(acr__file_identify(f->ctx, f->path[i], hash, &bytes));
        f->largest = acr__max(f->largest, bytes);
        f->bytes += bytes;
    }
    return ACR_OK;
}
