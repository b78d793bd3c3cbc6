/* st_writer.c: writing safetensors, whole or not at all.
 *
 * Invariant: tensors lie widest elements first, then in the byte order of
 * names, so that every one is aligned to its elements; the header is padded
 * with spaces to a multiple of 8. The same declarations give the same bytes.
 *
 * The header is written by hand, not by jansson: its order and every byte of it
 * are ours. */
#include "base/utf8.h"
#include "io/file.h"
#include "io/st.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHAPE_TEXT = 24 };

typedef struct declared {
    char *name;
    acr_st_dtype dtype;
    int ndim, number;
    int64_t *shape;
    int64_t bytes;
} declared;

struct acr_st_writer {
    acr_context *ctx;
    char *path;
    declared *tensors;
    char **meta; /* key, value, key, value */
    int count, capacity, meta_count, meta_capacity;
    bool begun, done;
    int64_t total, written;
    acr__atomic file;
};

acr_status acr_st_writer_create(acr_st_writer **out, acr_context *ctx, const char *path)
{
    acr_st_writer *w = acr__alloc(ctx, sizeof *w);
    if (!w)
        return ACR_E_NO_MEMORY;
    w->ctx = ctx;
    w->path = acr__strdup(ctx, path);
    if (!w->path) {
        acr__free(ctx, w);
        return ACR_E_NO_MEMORY;
    }
    *out = w;
    return ACR_OK;
}

void acr_st_writer_destroy(acr_st_writer *w)
{
    if (!w)
        return;
    acr__atomic_abandon(&w->file);
    for (int i = 0; i < w->count; i++) {
        acr__free(w->ctx, w->tensors[i].name);
        acr__free(w->ctx, w->tensors[i].shape);
    }
    for (int i = 0; i < 2 * w->meta_count; i++)
        acr__free(w->ctx, w->meta[i]);
    acr__free(w->ctx, w->tensors);
    acr__free(w->ctx, w->meta);
    acr__free(w->ctx, w->path);
    acr__free(w->ctx, w);
}

/* Room for one more item; items never move once begun. */
static acr_status room(acr_st_writer *w, void **items, int *capacity, int count, size_t size)
{
    FAIL_IF(w->begun, w->ctx, ACR_E_STATE, "%s: nothing can be declared after the writing has begun", w->path);
    if (count < *capacity)
        return ACR_OK;
    int more = *capacity ? 2 * *capacity : 16;
    void *grown = acr__realloc(w->ctx, *items, size * (size_t)more);
    if (!grown)
        return ACR_E_NO_MEMORY;
    *items = grown;
    *capacity = more;
    return ACR_OK;
}

/* The header is JSON. */
static acr_status check_text(const acr_st_writer *w, const char *what, const char *text)
{
    FAIL_IF(text[acr__utf8_bad(text, strlen(text))] != '\0', w->ctx, ACR_E_ARGUMENT, "%s: %s is not UTF-8: '%s'", w->path,
            what, text);
    return ACR_OK;
}

acr_status acr_st_writer_metadata(acr_st_writer *w, const char *key, const char *value)
{
    void *items = w->meta;
    acr_status status = room(w, &items, &w->meta_capacity, w->meta_count, 2 * sizeof *w->meta);
    w->meta = items;
    if (status != ACR_OK)
        return status;
    TRY(check_text(w, "a key of the metadata", key));
    TRY(check_text(w, key, value));
    for (int i = 0; i < w->meta_count; i++)
        FAIL_IF(!strcmp(w->meta[2 * i], key), w->ctx, ACR_E_ARGUMENT, "%s: the metadata key %s is given twice", w->path,
                key);
    char *k = acr__strdup(w->ctx, key), *v = acr__strdup(w->ctx, value);
    if (!k || !v) {
        acr__free(w->ctx, k);
        acr__free(w->ctx, v);
        return ACR_E_NO_MEMORY;
    }
    w->meta[2 * w->meta_count] = k;
    w->meta[2 * w->meta_count + 1] = v;
    w->meta_count++;
    return ACR_OK;
}

acr_status acr_st_writer_tensor(acr_st_writer *w, const char *name, acr_st_dtype dtype, int ndim, const int64_t *shape)
{
    void *items = w->tensors;
    acr_status status = room(w, &items, &w->capacity, w->count, sizeof *w->tensors);
    w->tensors = items;
    if (status != ACR_OK)
        return status;
    FAIL_IF(!acr_st_dtype_bytes(dtype) || ndim < 0, w->ctx, ACR_E_ARGUMENT,
            "%s: tensor %s: dtype or dimensions unknown", w->path, name);
    TRY(check_text(w, "a tensor's name", name));
    FAIL_IF(!strcmp(name, "__metadata__"), w->ctx, ACR_E_ARGUMENT, "%s: no tensor can be named __metadata__", w->path);
    int64_t bytes = (int64_t)acr_st_dtype_bytes(dtype);
    for (int i = 0; i < ndim; i++)
        FAIL_IF(shape[i] < 0 || !acr__mul64(bytes, shape[i], &bytes), w->ctx, ACR_E_ARGUMENT,
                "%s: tensor %s: dimension %d is negative or the size beyond 64 bits", w->path, name, i);
    int64_t total = w->total;
    FAIL_IF(__builtin_add_overflow(total, bytes, &total), w->ctx, ACR_E_ARGUMENT, "%s: the size is beyond 64 bits",
            w->path);
    declared *t = &w->tensors[w->count];
    *t = (declared){acr__strdup(w->ctx, name), dtype, ndim, w->count, NULL, bytes};
    t->shape = acr__alloc(w->ctx, sizeof *t->shape * ((size_t)ndim + 1));
    if (!t->name || !t->shape) {
        acr__free(w->ctx, t->name);
        acr__free(w->ctx, t->shape);
        return ACR_E_NO_MEMORY;
    }
    for (int i = 0; i < ndim; i++)
        t->shape[i] = shape[i];
    w->count++;
    w->total = total;
    return ACR_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const declared *)a)->name, ((const declared *)b)->name);
}

static int by_width_and_name(const void *a, const void *b)
{
    const declared *x = a, *y = b;
    size_t p = acr_st_dtype_bytes(x->dtype), q = acr_st_dtype_bytes(y->dtype);
    return p != q ? (p > q ? -1 : 1) : strcmp(x->name, y->name);
}

/* ---- the header -------------------------------------------------------------------- */

/* Text goes to the file or, while it is measured, nowhere. */
typedef struct sink {
    acr__atomic *file; /* NULL: only count */
    uint64_t bytes;
    acr_status status;
} sink;

static void put(sink *s, const char *text, size_t n)
{
    s->bytes += n;
    if (s->file && s->status == ACR_OK)
        s->status = acr__atomic_write(s->file, text, n);
}

static void put_text(sink *s, const char *text)
{
    put(s, text, strlen(text));
}

static void put_string(sink *s, const char *text)
{
    put(s, "\"", 1);
    for (const char *p = text; *p; p++) {
        char escaped[8];
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\')
            put(s, "\\", 1);
        if (c >= 32) {
            put(s, p, 1);
            continue;
        }
        snprintf(escaped, sizeof escaped, "\\u%04x", c);
        put_text(s, escaped);
    }
    put(s, "\"", 1);
}

static void put_number(sink *s, int64_t n)
{
    char text[SHAPE_TEXT];
    snprintf(text, sizeof text, "%lld", (long long)n);
    put_text(s, text);
}

static void put_metadata(sink *s, const acr_st_writer *w)
{
    put_text(s, "\"__metadata__\":{");
    for (int i = 0; i < w->meta_count; i++) {
        if (i)
            put_text(s, ",");
        put_string(s, w->meta[2 * i]);
        put_text(s, ":");
        put_string(s, w->meta[2 * i + 1]);
    }
    put_text(s, "}");
}

static void put_header(sink *s, const acr_st_writer *w)
{
    int64_t at = 0;
    put_text(s, "{");
    if (w->meta_count)
        put_metadata(s, w);
    for (int i = 0; i < w->count; i++) {
        const declared *t = &w->tensors[i];
        if (i || w->meta_count)
            put_text(s, ",");
        put_string(s, t->name);
        put_text(s, ":{\"dtype\":\"");
        put_text(s, acr_st_dtype_name(t->dtype));
        put_text(s, "\",\"shape\":[");
        for (int k = 0; k < t->ndim; k++) {
            if (k)
                put_text(s, ",");
            put_number(s, t->shape[k]);
        }
        put_text(s, "],\"data_offsets\":[");
        put_number(s, at);
        put_text(s, ",");
        put_number(s, at += t->bytes);
        put_text(s, "]}");
    }
    put_text(s, "}");
    while (s->bytes % 8)
        put_text(s, " ");
}

acr_status acr_st_writer_begin(acr_st_writer *w)
{
    FAIL_IF(w->begun, w->ctx, ACR_E_STATE, "%s: the writing has begun already", w->path);
    if (w->count)
        qsort(w->tensors, (size_t)w->count, sizeof *w->tensors, by_name);
    for (int i = 1; i < w->count; i++)
        FAIL_IF(!strcmp(w->tensors[i - 1].name, w->tensors[i].name), w->ctx, ACR_E_ARGUMENT,
                "%s: tensor %s is declared twice", w->path, w->tensors[i].name);
    if (w->count)
        qsort(w->tensors, (size_t)w->count, sizeof *w->tensors, by_width_and_name);
    sink measured = {NULL, 0, ACR_OK};
    put_header(&measured, w);
    TRY(acr__atomic_open(&w->file, w->ctx, w->path));
    w->begun = true;
    unsigned char head[8];
    for (int i = 0; i < 8; i++)
        head[i] = (unsigned char)(measured.bytes >> 8 * i);
    TRY(acr__atomic_write(&w->file, head, 8));
    sink real = {&w->file, 0, ACR_OK};
    put_header(&real, w);
    return real.status;
}

int acr_st_writer_at(const acr_st_writer *w, int place)
{
    return place >= 0 && place < w->count ? w->tensors[place].number : -1;
}

acr_status acr_st_writer_write(acr_st_writer *w, const void *bytes, size_t n)
{
    FAIL_IF(!w->begun || w->done, w->ctx, ACR_E_STATE, "%s: bytes come before begin or after commit", w->path);
    FAIL_IF(n > (uint64_t)(w->total - w->written), w->ctx, ACR_E_STATE, "%s: more bytes are written than were declared",
            w->path);
    TRY(acr__atomic_write(&w->file, bytes, n));
    w->written += (int64_t)n;
    return ACR_OK;
}

acr_status acr_st_writer_commit(acr_st_writer *w)
{
    FAIL_IF(!w->begun || w->done || w->written != w->total, w->ctx, ACR_E_STATE,
            "%s: %lld bytes were declared, %lld written", w->path, (long long)w->total, (long long)w->written);
    w->done = true;
    return acr__atomic_commit(&w->file);
}
