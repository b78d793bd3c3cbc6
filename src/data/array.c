/* array.c: opening one array: the format's head, checked against the file's
 * length before anything is believed. It converts nothing (elements.c) and
 * unpacks nothing beyond the head of a compressed file (cache.c). */
#include "data/array.h"
#include "data/gzip.h"
#include "io/file.h"
#include <stdio.h>
#include <string.h>

acr_status acr__array_measure(acr_context *ctx, const char *place, acr__array_head *head)
{
    int64_t bytes = (int64_t)acr_st_dtype_bytes(head->dtype);
    for (int d = 0; d < head->ndim; d++) {
        FAIL_IF(head->dim[d] < 1, ctx, ACR_E_DATA, "%s: dimension %d is %lld: there is nothing in it", place, d,
                (long long)head->dim[d]);
        FAIL_IF(!acr__mul64(bytes, head->dim[d], &bytes) || bytes > INT64_MAX / 16, ctx, ACR_E_DATA,
                "%s: the dimensions claim more bytes than any file has (dimension %d is %lld)", place, d,
                (long long)head->dim[d]);
    }
    head->bytes = bytes;
    return ACR_OK;
}

/* The Debian package that has the file, for the usual case of a recipe run on a
 * fresh machine. */
static const char *advice(const char *path)
{
    static const char folder[] = "/usr/share/datasets/fashion-mnist/";
    return strncmp(path, folder, sizeof folder - 1) == 0
               ? "; the Debian package dataset-fashion-mnist has it: apt-get install dataset-fashion-mnist"
               : "";
}

static acr_status open_file(acr__array *a, acr_context *ctx)
{
    int fd;
    acr_status status = acr__file_open(ctx, a->path, &fd, &a->file_bytes);
    if (status == ACR_E_DATA && acr__file_kind(a->path) == 0)
        return acr__fail(ctx, ACR_E_DATA, "%s: there is no such file%s", a->path, advice(a->path));
    TRY(status);
    a->fd = fd;
    return ACR_OK;
}

/* The first bytes of the contents, unpacked if need be. */
static acr_status read_head(acr__array *a, acr_context *ctx, uint8_t *out, size_t *n)
{
    *n = (size_t)acr__min(a->file_bytes, ACR_ARRAY_HEAD);
    TRY(acr__file_pread(ctx, a->path, a->fd, out, *n, 0));
    a->packed = *n >= 2 && out[0] == 0x1f && out[1] == 0x8b;
    if (!a->packed)
        return ACR_OK;
    acr__gzip *g;
    TRY(acr__gzip_open(&g, ctx, a->path, a->fd, a->file_bytes));
    acr_status status = acr__gzip_read(g, out, ACR_ARRAY_HEAD, n);
    acr__gzip_close(g);
    return status;
}

static acr_status check_length(const acr__array *a, acr_context *ctx)
{
    int64_t whole = a->head.offset + a->head.bytes;
    if (!a->packed) {
        FAIL_IF(a->file_bytes != whole, ctx, ACR_E_DATA, "%s: %lld bytes, but its head means %lld: it is %s", a->path,
                (long long)a->file_bytes, (long long)whole,
                a->file_bytes < whole ? "cut short" : "followed by something else");
        return ACR_OK;
    }
    /* The exact length is known only after unpacking; what deflate can't do is
     * refused here, before anything is written. */
    FAIL_IF(whole / ACR_GZIP_RATIO > a->file_bytes, ctx, ACR_E_DATA,
            "%s: its head means %lld bytes, which can't come out of a gzip file of %lld", a->path, (long long)whole,
            (long long)a->file_bytes);
    return ACR_OK;
}

static acr_status open_plain(acr__array *a, acr_context *ctx)
{
    TRY(open_file(a, ctx));
    a->place = acr__strdup(ctx, a->path);
    uint8_t *bytes = a->place ? acr__alloc(ctx, ACR_ARRAY_HEAD) : NULL;
    if (!bytes)
        return ACR_E_NO_MEMORY;
    size_t n;
    acr_status status = read_head(a, ctx, bytes, &n);
    if (status == ACR_OK)
        status = a->format == ACR_ARRAY_IDX ? acr__idx_parse(ctx, a->path, bytes, n, &a->head)
                                            : acr__npy_parse(ctx, a->path, bytes, n, &a->head);
    acr__free(ctx, bytes);
    TRY(status);
    a->body = a->head.offset;
    return check_length(a, ctx);
}

static acr_status copy_tensor(acr__array *a, acr_context *ctx, const acr_st *st, const char *tensor)
{
    acr_st_tensor t;
    int i = acr_st_find(st, tensor);
    if (i < 0) {
        const char *has = acr_st_count(st) && acr_st_get(st, 0, &t) == ACR_OK ? t.name : "nothing";
        return acr__fail(ctx, ACR_E_DATA, "%s: there is no tensor '%s'; of %d tensors the first is '%s'", a->path,
                         tensor, acr_st_count(st), has);
    }
    TRY(acr_st_get(st, i, &t));
    FAIL_IF(t.ndim < 1 || t.ndim > ACR_ARRAY_DIMS, ctx, ACR_E_DATA,
            "%s: %d dimensions; 1 to %d are allowed, the first of which counts the samples", a->place, t.ndim,
            ACR_ARRAY_DIMS);
    a->head = (acr__array_head){.dtype = t.dtype, .ndim = t.ndim, .offset = t.offset};
    memcpy(a->head.dim, t.shape, (size_t)t.ndim * sizeof *t.shape);
    a->body = t.offset;
    a->header_bytes = acr_st_file_bytes(st);
    for (int k = 0; k < acr_st_count(st); k++) {
        TRY(acr_st_get(st, k, &t));
        a->header_bytes -= t.bytes;
    }
    return acr__array_measure(ctx, a->place, &a->head);
}

static acr_status open_tensor(acr__array *a, acr_context *ctx, const char *tensor)
{
    size_t room = strlen(a->path) + strlen(tensor) + sizeof ": tensor ''";
    a->place = acr__alloc(ctx, room);
    if (!a->place)
        return ACR_E_NO_MEMORY;
    snprintf(a->place, room, "%s: tensor '%s'", a->path, tensor);
    TRY(open_file(a, ctx));
    acr_st *st;
    TRY(acr_st_open(&st, ctx, a->path));
    acr_status status = copy_tensor(a, ctx, st, tensor);
    acr_st_close(st);
    return status;
}

acr_status acr__array_open(acr__array *a, acr_context *ctx, acr__array_format format, const char *path,
                           const char *tensor)
{
    *a = (acr__array){.format = format, .fd = -1};
    a->path = acr__strdup(ctx, path);
    if (!a->path)
        return ACR_E_NO_MEMORY;
    acr_status status = format == ACR_ARRAY_SAFETENSORS ? open_tensor(a, ctx, tensor) : open_plain(a, ctx);
    if (status != ACR_OK)
        acr__array_close(ctx, a);
    return status;
}

acr_status acr__array_normal(acr__array *a, acr_context *ctx, int64_t samples, int64_t elements, uint64_t seed,
                             uint32_t stream)
{
    *a = (acr__array){.format = ACR_ARRAY_NORMAL, .fd = -1, .seed = seed, .stream = stream};
    a->head = (acr__array_head){.dtype = ACR_ST_F32, .ndim = 2, .dim = {samples, elements}};
    TRY(acr__array_measure(ctx, "format: normal", &a->head));
    a->path = acr__strdup(ctx, "format: normal");
    a->place = acr__strdup(ctx, "format: normal");
    if (a->path && a->place)
        return ACR_OK;
    acr__array_close(ctx, a);
    return ACR_E_NO_MEMORY;
}

void acr__array_close(acr_context *ctx, acr__array *a)
{
    if (a->fd >= 0)
        acr__file_close(NULL, a->path, a->fd); /* read only: nothing can be lost */
    acr__free(ctx, a->path);
    acr__free(ctx, a->place);
    *a = (acr__array){.fd = -1};
}

acr_status acr__array_read(acr_context *ctx, const acr__array *a, int64_t at, void *out, int64_t n)
{
    if (a->format != ACR_ARRAY_NORMAL)
        return acr__file_pread(ctx, a->path, a->fd, out, (size_t)n, a->body + at);
    float *row = out;
    for (int64_t i = 0; i < n / (int64_t)sizeof(float); i++)
        row[i] = acr_normal(a->seed, a->stream, (uint64_t)(at / (int64_t)sizeof(float) + i));
    return ACR_OK;
}
