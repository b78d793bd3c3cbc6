/* st_reader.c: reading safetensors: an eight-byte length, a JSON header, data.
 *
 * Invariant: an acr_st exists only for a file whose header was checked whole,
 * so that every later read is within the file by construction. It holds names
 * and shapes, never data.
 *
 * Deliberately strict where the format's reference reader is lax or silent: no
 * key of a tensor besides dtype, shape and data_offsets, no name cut by a zero
 * byte, no more values than a real file can have. */
#include "io/file.h"
#include "io/json.h"
#include "io/st.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEADER_MAX = 100000000, /* bytes; the format's own limit */
    SHOWN = ACR__JSON_SHOWN,
};

typedef struct tensor {
    char *name;
    acr_st_dtype dtype;
    int ndim;
    int64_t *shape;
    int64_t elements, begin, end; /* bytes within the data */
} tensor;

typedef struct pair {
    char *key, *value;
} pair;

struct acr_st {
    acr_context *ctx;
    char *path;
    int fd;
    int64_t file_bytes, data_start;
    int count, pair_count;
    tensor *tensors;
    pair *pairs;
    int64_t *dims; /* of all shapes */
    char *text;    /* all names, keys and values */
};

static const struct {
    const char *name;
    size_t bytes;
} dtypes[ACR_ST_DTYPE_COUNT] = {
#define ROW(name, bytes) {#name, bytes},
    ACR_ST_DTYPE_LIST(ROW)
#undef ROW
};

const char *acr_st_dtype_name(acr_st_dtype dtype)
{
    return (unsigned)dtype < ACR_ST_DTYPE_COUNT ? dtypes[dtype].name : "?";
}

size_t acr_st_dtype_bytes(acr_st_dtype dtype)
{
    return (unsigned)dtype < ACR_ST_DTYPE_COUNT ? dtypes[dtype].bytes : 0;
}

/* ---- the header's JSON --------------------------------------------------------- */

static acr_status load_header(acr_st *st, json_t **out)
{
    unsigned char head[8];
    FAIL_IF(st->file_bytes < 8, st->ctx, ACR_E_DATA,
            "%s: has %lld bytes; a safetensors file begins with 8 that say how long its header is", st->path,
            (long long)st->file_bytes);
    TRY(acr__file_pread(st->ctx, st->path, st->fd, head, 8, 0));
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | head[i];
    FAIL_IF(n > HEADER_MAX, st->ctx, ACR_E_DATA,
            "%s: claims a header of %llu bytes; at most %d are allowed: is it a safetensors file?", st->path,
            (unsigned long long)n, HEADER_MAX);
    FAIL_IF((int64_t)n > st->file_bytes - 8, st->ctx, ACR_E_DATA,
            "%s: claims a header of %llu bytes, but only %lld follow: the file was cut or is no safetensors file",
            st->path, (unsigned long long)n, (long long)(st->file_bytes - 8));
    char *json = acr__alloc(st->ctx, (size_t)n + 1);
    if (!json)
        return ACR_E_NO_MEMORY;
    acr_status status = acr__file_pread(st->ctx, st->path, st->fd, json, (size_t)n, 8);
    if (status == ACR_OK)
        status = acr__json_parse(st->ctx, st->path, "the header", json, (size_t)n, out);
    acr__free(st->ctx, json);
    st->data_start = 8 + (int64_t)n;
    return status;
}

/* ---- what the header says -------------------------------------------------------- */

static acr_status read_shape(acr_st *st, tensor *t, const json_t *shape, const char *name)
{
    t->elements = 1;
    FAIL_IF(!json_is_array(shape), st->ctx, ACR_E_DATA, "%s: tensor %s has no shape", st->path, name);
    for (int i = 0; i < t->ndim; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        FAIL_IF(!json_is_integer(dim) || json_integer_value(dim) < 0, st->ctx, ACR_E_DATA,
                "%s: tensor %s: dimension %d of its shape is not an integer >= 0", st->path, name, i);
        t->shape[i] = json_integer_value(dim);
        FAIL_IF(!acr__mul64(t->elements, t->shape[i], &t->elements), st->ctx, ACR_E_DATA,
                "%s: tensor %s: the product of its shape is beyond 64 bits", st->path, name);
    }
    return ACR_OK;
}

static acr_status read_offsets(acr_st *st, tensor *t, const json_t *offsets, const char *name)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    FAIL_IF(!json_is_array(offsets) || json_array_size(offsets) != 2 || !json_is_integer(begin) ||
                !json_is_integer(end),
            st->ctx, ACR_E_DATA, "%s: tensor %s: data_offsets is not a pair of integers", st->path, name);
    t->begin = json_integer_value(begin);
    t->end = json_integer_value(end);
    int64_t data = st->file_bytes - st->data_start, bytes;
    FAIL_IF(t->begin < 0 || t->end < t->begin || t->end > data, st->ctx, ACR_E_DATA,
            "%s: tensor %s: data_offsets [%lld, %lld] leave the %lld bytes of data: the file was cut or is damaged",
            st->path, name, (long long)t->begin, (long long)t->end, (long long)data);
    FAIL_IF(!acr__mul64(t->elements, (int64_t)acr_st_dtype_bytes(t->dtype), &bytes) || bytes != t->end - t->begin,
            st->ctx, ACR_E_DATA, "%s: tensor %s: data_offsets span %lld bytes, but its shape needs %lld elements of %s",
            st->path, name, (long long)(t->end - t->begin), (long long)t->elements, acr_st_dtype_name(t->dtype));
    return ACR_OK;
}

static acr_status read_tensor(acr_st *st, tensor *t, const json_t *value)
{
    char text[SHOWN], text2[SHOWN];
    const char *name = acr__text_shown(t->name, text);
    FAIL_IF(!json_is_object(value), st->ctx, ACR_E_DATA, "%s: tensor %s: its entry is no JSON object", st->path, name);
    const char *key;
    json_t *unused;
    json_object_foreach((json_t *)value, key, unused)
    {
        (void)unused;
        FAIL_IF(strcmp(key, "dtype") && strcmp(key, "shape") && strcmp(key, "data_offsets"), st->ctx, ACR_E_DATA,
                "%s: tensor %s has the unknown key %s; dtype, shape and data_offsets are known", st->path, name,
                acr__text_shown(key, text2));
    }
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    FAIL_IF(!dtype, st->ctx, ACR_E_DATA, "%s: tensor %s has no dtype", st->path, name);
    int d = 0;
    while (d < ACR_ST_DTYPE_COUNT && strcmp(dtype, dtypes[d].name))
        d++;
    FAIL_IF(d == ACR_ST_DTYPE_COUNT, st->ctx, ACR_E_DATA,
            "%s: tensor %s has dtype %s; BOOL, U8, I8, U16, I16, F16, BF16, U32, I32, F32, U64, I64 and F64 are known",
            st->path, name, acr__text_shown(dtype, text2));
    t->dtype = (acr_st_dtype)d;
    TRY(read_shape(st, t, json_object_get(value, "shape"), name));
    return read_offsets(st, t, json_object_get(value, "data_offsets"), name);
}

/* First pass: how much there is to keep. */
static acr_status measure(acr_st *st, json_t *root, size_t *text_bytes, size_t *dim_count)
{
    const char *name, *key;
    json_t *value, *item;
    json_object_foreach(root, name, value)
    {
        if (!strcmp(name, "__metadata__")) {
            FAIL_IF(!json_is_object(value), st->ctx, ACR_E_DATA, "%s: __metadata__ is no JSON object", st->path);
            json_object_foreach(value, key, item)
            {
                char text[SHOWN];
                FAIL_IF(!json_is_string(item), st->ctx, ACR_E_DATA, "%s: __metadata__: the value of %s is no string",
                        st->path, acr__text_shown(key, text));
                *text_bytes += strlen(key) + 1 + json_string_length(item) + 1;
                st->pair_count++;
            }
            continue;
        }
        *text_bytes += strlen(name) + 1;
        *dim_count += json_array_size(json_object_get(value, "shape"));
        st->count++;
    }
    return ACR_OK;
}

static char *keep(char **text, const char *s, size_t n)
{
    char *at = *text;
    memcpy(at, s, n);
    *text += n + 1; /* the memory came zeroed */
    return at;
}

static acr_status take_header(acr_st *st, json_t *root)
{
    size_t text_bytes = 1, dim_count = 1;
    TRY(measure(st, root, &text_bytes, &dim_count));
    st->tensors = acr__alloc(st->ctx, sizeof *st->tensors * ((size_t)st->count + 1));
    st->pairs = acr__alloc(st->ctx, sizeof *st->pairs * ((size_t)st->pair_count + 1));
    st->dims = acr__alloc(st->ctx, sizeof *st->dims * dim_count);
    st->text = acr__alloc(st->ctx, text_bytes);
    if (!st->tensors || !st->pairs || !st->dims || !st->text)
        return ACR_E_NO_MEMORY;
    char *text = st->text;
    int64_t *dims = st->dims;
    tensor *t = st->tensors;
    pair *p = st->pairs;
    const char *name, *key;
    json_t *value, *item;
    json_object_foreach(root, name, value)
    {
        if (!strcmp(name, "__metadata__")) {
            json_object_foreach(value, key, item)
            {
                p->key = keep(&text, key, strlen(key));
                p->value = keep(&text, json_string_value(item), json_string_length(item));
                p++;
            }
            continue;
        }
        t->name = keep(&text, name, strlen(name));
        t->ndim = (int)json_array_size(json_object_get(value, "shape"));
        t->shape = dims;
        dims += t->ndim;
        TRY(read_tensor(st, t, value));
        t++;
    }
    return ACR_OK;
}

static int by_place(const void *a, const void *b)
{
    const tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tensor *)a)->name, ((const tensor *)b)->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const pair *)a)->key, ((const pair *)b)->key);
}

/* The tensors, by offset, must fill the data without gap or overlap. Leaves
 * them sorted by name. */
static acr_status check_places(acr_st *st)
{
    char text[SHOWN];
    int64_t at = 0, data = st->file_bytes - st->data_start;
    qsort(st->tensors, (size_t)st->count, sizeof *st->tensors, by_place);
    for (int i = 0; i < st->count; i++) {
        const tensor *t = &st->tensors[i];
        FAIL_IF(t->begin != at, st->ctx, ACR_E_DATA,
                "%s: tensor %s begins at byte %lld of the data; it must begin at %lld, where the one before it ends",
                st->path, acr__text_shown(t->name, text), (long long)t->begin, (long long)at);
        at = t->end;
    }
    FAIL_IF(at != data, st->ctx, ACR_E_DATA, "%s: %lld bytes follow the last tensor's end; there must be none",
            st->path, (long long)(data - at));
    qsort(st->tensors, (size_t)st->count, sizeof *st->tensors, by_name);
    qsort(st->pairs, (size_t)st->pair_count, sizeof *st->pairs, by_key);
    return ACR_OK;
}

acr_status acr_st_open(acr_st **out, acr_context *ctx, const char *path)
{
    acr_st *st = acr__alloc(ctx, sizeof *st);
    if (!st)
        return ACR_E_NO_MEMORY;
    st->ctx = ctx;
    st->fd = -1;
    st->path = acr__strdup(ctx, path);
    json_t *root = NULL;
    acr_status status = st->path ? ACR_OK : ACR_E_NO_MEMORY;
    if (status == ACR_OK)
        status = acr__file_open(ctx, path, &st->fd, &st->file_bytes);
    if (status == ACR_OK)
        status = load_header(st, &root);
    if (status == ACR_OK)
        status = take_header(st, root);
    json_decref(root);
    if (status == ACR_OK)
        status = check_places(st);
    if (status != ACR_OK) {
        acr_st_close(st);
        return status;
    }
    *out = st;
    return ACR_OK;
}

void acr_st_close(acr_st *st)
{
    if (!st)
        return;
    acr__file_end(st->fd);
    acr__free(st->ctx, st->tensors);
    acr__free(st->ctx, st->pairs);
    acr__free(st->ctx, st->dims);
    acr__free(st->ctx, st->text);
    acr__free(st->ctx, st->path);
    acr__free(st->ctx, st);
}

/* ---- asking ------------------------------------------------------------------------ */

acr_context *acr__st_context(const acr_st *st)
{
    return st->ctx;
}

const char *acr_st_path(const acr_st *st)
{
    return st->path;
}

int64_t acr_st_file_bytes(const acr_st *st)
{
    return st->file_bytes;
}

int acr_st_count(const acr_st *st)
{
    return st->count;
}

acr_status acr_st_get(const acr_st *st, int i, acr_st_tensor *out)
{
    FAIL_IF(i < 0 || i >= st->count, st->ctx, ACR_E_ARGUMENT, "%s: there is no tensor number %d; it has %d", st->path,
            i, st->count);
    const tensor *t = &st->tensors[i];
    *out = (acr_st_tensor){t->name, t->dtype, t->ndim, t->shape, t->elements, t->end - t->begin,
                           st->data_start + t->begin};
    return ACR_OK;
}

int acr_st_find(const acr_st *st, const char *name)
{
    tensor key = {.name = (char *)name};
    const tensor *t =
        st->count ? bsearch(&key, st->tensors, (size_t)st->count, sizeof *st->tensors, by_name) : NULL;
    return t ? (int)(t - st->tensors) : -1;
}

int acr_st_metadata_count(const acr_st *st)
{
    return st->pair_count;
}

const char *acr_st_metadata_key(const acr_st *st, int i)
{
    return i >= 0 && i < st->pair_count ? st->pairs[i].key : NULL;
}

const char *acr_st_metadata(const acr_st *st, const char *key)
{
    pair wanted = {.key = (char *)key};
    const pair *p =
        st->pair_count ? bsearch(&wanted, st->pairs, (size_t)st->pair_count, sizeof *st->pairs, by_key) : NULL;
    return p ? p->value : NULL;
}

acr_status acr__st_range(const acr_st *st, int i, int64_t first, int64_t n, acr_st_tensor *out)
{
    TRY(acr_st_get(st, i, out));
    FAIL_IF(first < 0 || n < 0 || first > out->elements || n > out->elements - first, st->ctx, ACR_E_ARGUMENT,
            "%s: tensor %s has %lld elements; %lld from number %lld on are asked for", st->path, out->name,
            (long long)out->elements, (long long)n, (long long)first);
    return ACR_OK;
}

acr_status acr_st_read_raw(acr_st *st, int i, int64_t first, int64_t n, void *out)
{
    acr_st_tensor t;
    TRY(acr__st_range(st, i, first, n, &t));
    int64_t bytes = (int64_t)acr_st_dtype_bytes(t.dtype);
    return acr__file_pread(st->ctx, st->path, st->fd, out, (size_t)(n * bytes), t.offset + first * bytes);
}
