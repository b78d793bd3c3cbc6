/* dataset.c: from a description to an open data set. Probing and opening are one
 * path: opening goes on where probing ends, so what a probe promised (counts,
 * kinds, sizes) is what the opened set has. */
#include "data/dataset.h"
#include "base/fpenv.h"
#include "data/column.h"
#include "data/gzip.h"
#include "io/file.h"
#include "io/hash.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* acr_shuffle's domain. */
static const int64_t most_samples = INT64_C(1) << 40;

/* Streams of acr_normal: any two different numbers would do, these are the canon's. */
enum { STREAM_INPUT = 0x78, STREAM_TARGET = 0x79 };

_Static_assert((int)ACR_DATA_COLUMNS == (int)ACR_COLUMNS, "dataset.h and column.h disagree about the columns");
static const char *const column_name[ACR_COLUMNS] = {"input", "target", "weight"};

/* -- the description ------------------------------------------------------ */
static acr_status format_of(acr_context *ctx, const acr__data_desc *d, acr__array_format *out)
{
    static const char *const names[] = {"idx", "npy", "safetensors", "normal"};
    FAIL_IF(!d->format, ctx, ACR_E_CONFIG, "data: format is missing; idx, npy, safetensors or normal");
    for (int i = 0; i < 4; i++)
        if (strcmp(d->format, names[i]) == 0) {
            *out = (acr__array_format)i;
            return ACR_OK;
        }
    return acr__fail(ctx, ACR_E_CONFIG, "data: format '%s' is not one of idx, npy, safetensors, normal", d->format);
}

static acr_status check_desc(acr_context *ctx, const acr__data_desc *d, acr__array_format format)
{
    FAIL_IF(format == ACR_ARRAY_NORMAL && (d->path || d->input || d->target || d->weight), ctx, ACR_E_CONFIG,
            "data: format normal makes its numbers up; path, input, target and weight name nothing there");
    FAIL_IF(format == ACR_ARRAY_NORMAL && (d->samples < 1 || d->input_elements < 1 || d->target_elements < 0), ctx,
            ACR_E_CONFIG,
            "data: format normal needs samples and input elements of at least 1; here %lld and %lld, and %lld targets",
            (long long)d->samples, (long long)d->input_elements, (long long)d->target_elements);
    FAIL_IF(format != ACR_ARRAY_NORMAL && !d->input, ctx, ACR_E_CONFIG, "data: input is missing: %s",
            format == ACR_ARRAY_SAFETENSORS ? "the name of a tensor" : "the path of a file");
    FAIL_IF(format == ACR_ARRAY_SAFETENSORS && !d->path, ctx, ACR_E_CONFIG,
            "data: format safetensors needs path, the file");
    FAIL_IF((format == ACR_ARRAY_IDX || format == ACR_ARRAY_NPY) && d->path, ctx, ACR_E_CONFIG,
            "data: format %s has a file for each of input, target and weight; path ('%s') belongs to safetensors",
            d->format, d->path);
    FAIL_IF(!isfinite(d->scale) || d->scale == 0, ctx, ACR_E_CONFIG,
            "data: scale is %g; a finite number other than 0 is needed", d->scale);
    FAIL_IF(d->normalize && strcmp(d->normalize, "none") != 0 && strcmp(d->normalize, "dataset") != 0, ctx,
            ACR_E_CONFIG, "data: normalize '%s' is not one of none, dataset", d->normalize);
    FAIL_IF(d->normalization_given && (!isfinite(d->mean) || !isfinite(d->deviation) || d->deviation <= 0), ctx,
            ACR_E_CONFIG, "data: mean %g and deviation %g can't normalise; they must be finite, the deviation above 0",
            d->mean, d->deviation);
    return ACR_OK;
}

/* -- the columns ---------------------------------------------------------- */
static acr_status open_array(acr__dataset *s, const acr__data_desc *d, acr__array_format format, int which)
{
    acr__column *c = &s->column[which];
    const char *name = which == ACR_COLUMN_INPUT ? d->input : which == ACR_COLUMN_TARGET ? d->target : d->weight;
    if (format == ACR_ARRAY_NORMAL) {
        int64_t elements = which == ACR_COLUMN_INPUT    ? d->input_elements
                           : which == ACR_COLUMN_TARGET ? d->target_elements
                                                        : 0;
        if (elements)
            TRY(acr__array_normal(&c->array, s->ctx, d->samples, elements, d->seed,
                                  which == ACR_COLUMN_INPUT ? STREAM_INPUT : STREAM_TARGET));
        c->present = elements > 0;
    } else if (name) {
        TRY(acr__array_open(&c->array, s->ctx, format, format == ACR_ARRAY_SAFETENSORS ? d->path : name, name));
        c->present = true;
    }
    if (!c->present)
        return ACR_OK;
    const acr__array_head *h = &c->array.head;
    FAIL_IF(h->dim[0] > most_samples, s->ctx, ACR_E_DATA, "%s: %lld samples; at most %lld are allowed", c->array.place,
            (long long)h->dim[0], (long long)most_samples);
    c->record = h->bytes / h->dim[0];
    c->elements = c->record / (int64_t)acr_st_dtype_bytes(h->dtype);
    c->scale = which == ACR_COLUMN_INPUT ? d->scale : 1.0;
    c->deviation = 1.0;
    return ACR_OK;
}

static acr_status check_kinds(acr__dataset *s, const acr__data_desc *d)
{
    const acr__column *input = &s->column[ACR_COLUMN_INPUT], *weight = &s->column[ACR_COLUMN_WEIGHT];
    acr__column *target = &s->column[ACR_COLUMN_TARGET];
    for (int k = 1; k < ACR_COLUMNS; k++) {
        const acr__column *c = &s->column[k];
        FAIL_IF(c->present && c->array.head.dim[0] != input->array.head.dim[0], s->ctx, ACR_E_DATA,
                "%s has %lld samples and %s has %lld: %s and input must agree", c->array.place,
                (long long)c->array.head.dim[0], input->array.place, (long long)input->array.head.dim[0],
                column_name[k]);
    }
    FAIL_IF(weight->present && weight->elements != 1, s->ctx, ACR_E_DATA, "%s: %lld weights a sample; there can be one",
            weight->array.place, (long long)weight->elements);
    if (!target->present)
        return ACR_OK;
    bool integer = acr__dtype_is_integer(target->array.head.dtype);
    target->label =
        d->target_kind == ACR_TARGET_LABEL || (d->target_kind == ACR_TARGET_AUTO && integer && target->elements == 1);
    FAIL_IF(target->label && !integer, s->ctx, ACR_E_DATA,
            "%s: %s can't be class labels; integers are needed, or a loss for vectors", target->array.place,
            acr_st_dtype_name(target->array.head.dtype));
    FAIL_IF(target->label && target->elements != 1, s->ctx, ACR_E_DATA, "%s: %lld labels a sample; there can be one",
            target->array.place, (long long)target->elements);
    return ACR_OK;
}

/* The smallest arrays are held first, while they fit together. */
static bool is_held(const acr__dataset *s, int which)
{
    int64_t room = ACR_DATA_HELD, own = s->column[which].array.head.bytes;
    for (int k = 0; k < ACR_COLUMNS; k++) {
        int64_t bytes = s->column[k].array.head.bytes;
        if (s->column[k].present && (bytes < own || (bytes == own && k < which)))
            room -= acr__min(bytes, room);
    }
    return s->column[which].present && own <= room;
}

static void describe(acr__dataset *s)
{
    const acr__column *input = &s->column[ACR_COLUMN_INPUT], *target = &s->column[ACR_COLUMN_TARGET];
    acr__data_info *info = &s->info;
    const acr__array_head *h = &input->array.head;
    *info = (acr__data_info){.samples = h->dim[0], .input_elements = input->elements, .input_ndim = 0};
    for (int d = 1; d < h->ndim; d++) {
        if (info->input_ndim == 4)
            info->input_shape[3] *= h->dim[d];
        else
            info->input_shape[info->input_ndim++] = h->dim[d];
    }
    if (info->input_ndim == 0)
        info->input_shape[info->input_ndim++] = 1;
    info->has_target = target->present;
    info->has_weight = s->column[ACR_COLUMN_WEIGHT].present;
    info->target_dtype = target->label ? ACR_I32 : ACR_F32;
    info->target_elements = target->present ? target->elements : 0;
    info->held_bytes = sizeof *s;
    size_t header = 0;
    for (int k = 0; k < ACR_COLUMNS; k++) {
        const acr__column *c = &s->column[k];
        if (!c->present)
            continue;
        info->stored_bytes += c->record;
        info->slot_bytes += c->elements * 4;
        info->cache_bytes += c->array.packed ? c->array.head.bytes + 4096 : 0;
        info->held_bytes +=
            strlen(c->array.path) + strlen(c->array.place) + 2 + (is_held(s, k) ? (size_t)c->array.head.bytes : 0);
        header = (size_t)acr__max((int64_t)header, c->array.header_bytes);
    }
    /* Unpacking: zlib and two buffers. A safetensors header is parsed into a tree
     * of about sixteen times its length. */
    info->open_bytes = info->held_bytes + ACR_GZIP_BYTES + 2 * ACR_IO_BYTES + 16 * header;
}

static acr_status look(acr__dataset *s, const acr__data_desc *d)
{
    acr__array_format format = ACR_ARRAY_IDX;
    TRY(format_of(s->ctx, d, &format));
    TRY(check_desc(s->ctx, d, format));
    for (int k = 0; k < ACR_COLUMNS; k++)
        TRY(open_array(s, d, format, k));
    TRY(check_kinds(s, d));
    describe(s);
    return ACR_OK;
}

/* -- opening -------------------------------------------------------------- */
/* The population's deviation: the sum of squares over n, not n-1. */
static acr_status normalise(acr__dataset *s, const acr__moments *m)
{
    acr__column *c = &s->column[ACR_COLUMN_INPUT];
    double deviation = sqrt(m->m2 / (double)m->count);
    FAIL_IF(!(deviation > 0) || !isfinite(deviation), s->ctx, ACR_E_DATA,
            "%s: the deviation over all inputs is %g (from %g to %g), which can't normalise; normalize: none can",
            c->array.place, deviation, m->min, m->max);
    c->mean = m->mean;
    c->deviation = deviation;
    return ACR_OK;
}

static acr_status hold(acr__dataset *s, acr__column *c)
{
    c->held = acr__alloc(s->ctx, (size_t)c->array.head.bytes);
    return c->held ? acr__array_read(s->ctx, &c->array, 0, c->held, c->array.head.bytes) : ACR_E_NO_MEMORY;
}

static acr_status validate(acr__dataset *s, const acr__data_desc *d, uint8_t *buffer)
{
    acr__moments moments;
    bool wanted = !d->normalization_given && d->normalize && strcmp(d->normalize, "dataset") == 0;
    if (d->normalization_given) {
        s->column[ACR_COLUMN_INPUT].mean = d->mean;
        s->column[ACR_COLUMN_INPUT].deviation = d->deviation;
    }
    for (int k = 0; k < ACR_COLUMNS; k++) {
        acr__column *c = &s->column[k];
        if (!c->present)
            continue;
        if (is_held(s, k))
            TRY(hold(s, c));
        TRY(acr__column_check(s->ctx, c, k, d, buffer, wanted && k == ACR_COLUMN_INPUT ? &moments : NULL));
    }
    if (wanted)
        TRY(normalise(s, &moments));
    for (int k = 0; k < ACR_COLUMNS; k++)
        if (s->column[k].present)
            acr__column_prepare(&s->column[k]);
    return ACR_OK;
}

/* Computes mean and deviation: not inlined between fp_enter and fp_leave. */
static __attribute__((noinline)) acr_status open_whole(acr__dataset *s, const acr__data_desc *d)
{
    TRY(look(s, d));
    for (int k = 0; k < ACR_COLUMNS; k++)
        if (s->column[k].present)
            TRY(acr__array_unpack(s->ctx, &s->column[k].array, d->cache));
    uint8_t *buffer = acr__alloc(s->ctx, ACR_CHECK_BYTES);
    if (!buffer)
        return ACR_E_NO_MEMORY;
    acr_status status = validate(s, d, buffer);
    acr__free(s->ctx, buffer);
    return status;
}

static acr__dataset *new_set(acr_context *ctx)
{
    acr__dataset *s = acr__alloc(ctx, sizeof *s);
    if (!s)
        return NULL;
    s->ctx = ctx;
    for (int k = 0; k < ACR_COLUMNS; k++)
        s->column[k].array.fd = -1;
    pthread_mutex_init(&s->sentence, NULL);
    return s;
}

acr_status acr__dataset_probe(acr_context *ctx, const acr__data_desc *desc, acr__data_info *out)
{
    acr__dataset *s = new_set(ctx);
    if (!s)
        return ACR_E_NO_MEMORY;
    acr_status status = look(s, desc);
    if (status == ACR_OK)
        *out = s->info;
    acr__dataset_close(s);
    return status;
}

acr_status acr__dataset_open(acr__dataset **out, acr_context *ctx, const acr__data_desc *desc)
{
    acr__dataset *s = new_set(ctx);
    if (!s)
        return ACR_E_NO_MEMORY;
    acr__fp saved;
    acr__fp_enter(&saved);
    acr_status status = open_whole(s, desc);
    acr__fp_leave(saved);
    if (status == ACR_OK)
        *out = s;
    else
        acr__dataset_close(s);
    return status;
}

void acr__dataset_close(acr__dataset *set)
{
    if (!set)
        return;
    for (int k = 0; k < ACR_COLUMNS; k++) {
        acr__free(set->ctx, set->column[k].held);
        acr__array_close(set->ctx, &set->column[k].array);
    }
    pthread_mutex_destroy(&set->sentence);
    acr__free(set->ctx, set);
}

const acr__data_info *acr__dataset_info(const acr__dataset *set) { return &set->info; }

void acr__dataset_normalization(const acr__dataset *set, double *mean, double *deviation)
{
    *mean = set->column[ACR_COLUMN_INPUT].mean;
    *deviation = set->column[ACR_COLUMN_INPUT].deviation;
}

acr_status acr__dataset_print(const acr__dataset *set, int k, int64_t most, acr__data_print *out)
{
    const acr__column *c = &set->column[k];
    *out = (acr__data_print){0};
    if (!c->present)
        return ACR_OK;
    *out = (acr__data_print){.what = column_name[k], .place = c->array.place, .bytes = c->array.head.bytes};
    if (out->bytes > most)
        return ACR_OK;
    acr__hash hash;
    uint8_t piece[8 * 1024];
    acr__hash_begin(&hash);
    for (int64_t at = 0, n; at < out->bytes; at += n) {
        n = acr__min((int64_t)sizeof piece, out->bytes - at);
        TRY(acr__array_read(set->ctx, &c->array, at, piece, n));
        acr__hash_add(&hash, piece, (size_t)n);
    }
    acr__hash_text(&hash, out->hash);
    return ACR_OK;
}

acr_status acr__dataset_mark(const acr__dataset *set, char hash[ACR_HASH_TEXT])
{
    enum { PIECES = 64 };
    acr__hash h;
    uint8_t piece[4 * 1024];
    acr__hash_begin(&h);
    for (int k = 0; k < ACR_COLUMNS; k++) {
        const acr__array *a = &set->column[k].array;
        if (!set->column[k].present)
            continue;
        const int64_t bytes = a->head.bytes, most = (int64_t)sizeof piece, rest = acr__max(bytes - most, 0);
        char head[96];
        int length = snprintf(head, sizeof head, "%s %s %d %lld %lld\n", column_name[k], acr_st_dtype_name(a->head.dtype),
                              a->head.big_endian, (long long)set->column[k].elements, (long long)bytes);
        acr__hash_add(&h, head, (size_t)length);
        for (int64_t i = 0, n = acr__min(bytes, most); i < PIECES && (i == 0 || rest > 0); i++) {
            int64_t at = rest / (PIECES - 1) * i + rest % (PIECES - 1) * i / (PIECES - 1);
            TRY(acr__array_read(set->ctx, a, at, piece, n));
            acr__hash_add(&h, piece, (size_t)n);
        }
    }
    acr__hash_text(&h, hash);
    return ACR_OK;
}
