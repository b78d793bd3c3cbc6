/* source.c: rows of an open data set into the slots of a batch. The path every
 * sample of every epoch takes: it allocates nothing, takes no lock and makes one
 * system call per shuffled sample and column that isn't held.
 *
 * Invariant: a row's numbers depend on its sample alone, not on how many were
 * asked for or by which thread. The one rounding is from double to float. */
#include "base/shuffle.h"
#include "data/column.h"
#include <errno.h>
#include <string.h>

/* Stored bytes read at once, elements converted, places of the order looked up:
 * small enough for any thread's stack. */
enum { PIECE = 8 * 1024, BLOCK = 512, SHUFFLED = 64 };

void acr__column_prepare(acr__column *c)
{
    const acr__array_head *h = &c->array.head;
    c->plain = !c->label && h->dtype == ACR_ST_F32 && h->big_endian == (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) &&
               c->scale == 1.0 && c->mean == 0.0 && c->deviation == 1.0;
    for (int v = 0; v < 256; v++)
        c->of_u8[v] = acr__transformed(c, v);
}

/* n stored elements to n slots. */
static void convert(const acr__column *c, const uint8_t *in, int64_t n, void *out)
{
    const acr__array_head *h = &c->array.head;
    if (c->label) {
        size_t bytes = acr_st_dtype_bytes(h->dtype);
        int32_t *label = out;
        for (int64_t i = 0; i < n; i++)
            label[i] = (int32_t)acr__element_i64(h->dtype, h->big_endian, in + (size_t)i * bytes);
    } else if (c->plain) {
        memcpy(out, in, (size_t)n * sizeof(float));
    } else if (h->dtype == ACR_ST_U8) {
        float *restrict row = out;
        for (int64_t i = 0; i < n; i++)
            row[i] = c->of_u8[in[i]];
    } else {
        size_t bytes = acr_st_dtype_bytes(h->dtype);
        float *restrict row = out;
        double v[BLOCK];
        for (int64_t done = 0; done < n; done += BLOCK) {
            int64_t some = acr__min(BLOCK, n - done);
            acr__elements_f64(h->dtype, h->big_endian, in + (size_t)done * bytes, some, v);
            for (int64_t i = 0; i < some; i++)
                row[done + i] = acr__transformed(c, v[i]);
        }
    }
}

/* One sample whose record is longer than a piece. */
static acr_status read_long(const acr__column *c, int64_t sample, char *out)
{
    uint8_t piece[PIECE];
    int64_t bytes = (int64_t)acr_st_dtype_bytes(c->array.head.dtype);
    for (int64_t at = 0; at < c->record; at += PIECE) {
        int64_t n = acr__min(PIECE, c->record - at);
        TRY(acr__array_read(NULL, &c->array, sample * c->record + at, piece, n));
        convert(c, piece, n / bytes, out + at / bytes * 4);
    }
    return ACR_OK;
}

/* Samples [first, first+n) to rows `row_bytes` apart. */
static acr_status read_rows(const acr__column *c, int64_t first, int64_t n, char *out, int64_t row_bytes)
{
    int64_t width = c->elements * 4;
    if (c->held) {
        for (int64_t i = 0; i < n; i++)
            convert(c, c->held + (first + i) * c->record, c->elements, out + i * row_bytes);
        return ACR_OK;
    }
    if (c->plain && (n == 1 || row_bytes == width))
        return acr__array_read(NULL, &c->array, first * c->record, out, n * width);
    int64_t at_once = PIECE / c->record;
    if (at_once == 0) {
        for (int64_t i = 0; i < n; i++)
            TRY(read_long(c, first + i, out + i * row_bytes));
        return ACR_OK;
    }
    uint8_t piece[PIECE];
    for (int64_t done = 0; done < n; done += at_once) {
        int64_t some = acr__min(at_once, n - done);
        TRY(acr__array_read(NULL, &c->array, (first + done) * c->record, piece, some * c->record));
        for (int64_t i = 0; i < some; i++)
            convert(c, piece + i * c->record, c->elements, out + (done + i) * row_bytes);
    }
    return ACR_OK;
}

/* Several readers may fail at once, and the context has one sentence. */
static acr_status unreadable(const acr__dataset *set, const acr__column *c, int64_t sample, acr_status status)
{
    const char *reason =
        status == ACR_E_IO ? strerror(errno) : "the file ends before it; was it cut while it was used?";
    pthread_mutex_t *lock = (pthread_mutex_t *)&set->sentence;
    pthread_mutex_lock(lock);
    acr__fail(set->ctx, status, "%s: sample %lld could not be read: %s", c->array.place, (long long)sample, reason);
    pthread_mutex_unlock(lock);
    return status;
}

static acr_status out_of_range(const acr__dataset *set, int64_t first, int64_t n)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&set->sentence;
    pthread_mutex_lock(lock);
    acr__fail(set->ctx, ACR_E_ARGUMENT, "%s: %lld samples from %lld were asked for; there are %lld",
              set->column[ACR_COLUMN_INPUT].array.place, (long long)n, (long long)first, (long long)set->info.samples);
    pthread_mutex_unlock(lock);
    return ACR_E_ARGUMENT;
}

/* The samples of a column that sample[] names, to rows from `out` on. */
static acr_status read_scattered(const acr__dataset *set, const acr__column *c, const int64_t *sample, int64_t n,
                                 char *out, int64_t row_bytes)
{
    const uint8_t *held = c->held;
    const int64_t record = c->record;
    const bool plain = c->plain;
    for (int64_t i = 0; i < n; i++, out += row_bytes) {
        acr_status status = ACR_OK;
        if (held && plain) /* as convert would: small networks spend a tenth of their time here */
            memcpy(out, held + sample[i] * record, (size_t)record);
        else if (held)
            convert(c, held + sample[i] * record, c->elements, out);
        else
            status = read_rows(c, sample[i], 1, out, row_bytes);
        if (status != ACR_OK)
            return unreadable(set, c, sample[i], status);
    }
    return ACR_OK;
}

/* Samples of every column wanted, to rows from `row` on: those that sample[]
 * names or, if that is NULL, n of them from `first` on. */
static acr_status read_columns(const acr__dataset *set, const int64_t *sample, int64_t first, int64_t n, int64_t row,
                               const acr_slots *out)
{
    int slot = 0;
    for (int k = 0; k < ACR_COLUMNS; k++) {
        const acr__column *c = &set->column[k];
        if (!c->present)
            continue;
        char *to = out->data[slot];
        int64_t row_bytes = out->row_bytes[slot++];
        if (!to)
            continue;
        to += row * row_bytes;
        if (sample) {
            TRY(read_scattered(set, c, sample, n, to, row_bytes));
            continue;
        }
        acr_status status = read_rows(c, first, n, to, row_bytes);
        if (status != ACR_OK)
            return unreadable(set, c, first, status);
    }
    return ACR_OK;
}

acr_status acr__data_source_get(void *source, int64_t epoch, int64_t first, int64_t n, const acr_slots *out)
{
    const acr__data_source *from = source;
    const acr__dataset *set = from->set;
    if (n < 0 || first < 0 || first > set->info.samples || n > set->info.samples - first)
        return out_of_range(set, first, n);
    if (!from->shuffle)
        return read_columns(set, NULL, first, n, 0, out);
    acr__shuffle order;
    acr__shuffle_init(&order, from->seed, (uint32_t)epoch, set->info.samples);
    int64_t sample[SHUFFLED];
    for (int64_t done = 0, some; done < n; done += some) {
        some = acr__min(SHUFFLED, n - done);
        for (int64_t i = 0; i < some; i++)
            sample[i] = acr__shuffle_at(&order, first + done + i);
        TRY(read_columns(set, sample, 0, some, done, out));
    }
    return ACR_OK;
}

void acr__data_source_init(acr__data_source *source, const acr__dataset *set, bool shuffle, uint64_t seed,
                           acr_source *out)
{
    *source = (acr__data_source){set, shuffle, seed};
    *out = (acr_source){.size = sizeof *out, .user = source, .get = acr__data_source_get, .parallel = 1};
}
