/* check.c: the one full reading of a column before training: what could only
 * ruin a run hours later is told now, by index and value. The mean and the
 * deviation of the inputs come from the same pass, in fp64 and in one fixed
 * order, so they are the same numbers on every machine, whether the file was
 * compressed or not. Values themselves are not changed or kept. */
#include "data/column.h"
#include <math.h>
#include <string.h>

enum { BLOCK = 1024 };

static acr_status check_labels(acr_context *ctx, const acr__column *c, const acr__data_desc *desc, const uint8_t *in,
                               int64_t first, int64_t n)
{
    const acr__array_head *h = &c->array.head;
    int64_t bytes = (int64_t)acr_st_dtype_bytes(h->dtype);
    int64_t most = INT64_C(1) << 31; /* they are read as int32 */
    int64_t classes = desc->classes > 0 ? acr__min(desc->classes, most) : most;
    for (int64_t i = 0; i < n; i++) {
        int64_t label = acr__element_i64(h->dtype, h->big_endian, in + i * bytes);
        FAIL_IF((label < 0 || label >= classes) && label != desc->ignore_index, ctx, ACR_E_DATA,
                "%s: sample %lld has the label %lld; 0 to %lld are allowed, and %d for a sample to be ignored",
                c->array.place, (long long)(first + i), (long long)label, (long long)(classes - 1),
                (int)desc->ignore_index);
    }
    return ACR_OK;
}

/* Adds a block of x: two passes over the block, then Chan's formula for joining
 * two sets ("Updating formulae and a pairwise algorithm", 1979). */
static void add_moments(acr__moments *m, const double *x, int64_t n)
{
    double sum = 0, m2 = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
        m->min = x[i] < m->min ? x[i] : m->min;
        m->max = x[i] > m->max ? x[i] : m->max;
    }
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        m2 += (x[i] - mean) * (x[i] - mean);
    double count = (double)(m->count + n), delta = mean - m->mean;
    m->m2 += m2 + delta * delta * ((double)m->count * (double)n / count);
    m->mean += delta * ((double)n / count);
    m->count += n;
}

/* The index among the samples of element `at`, and its value, are named. */
static acr_status bad_value(acr_context *ctx, const acr__column *c, int64_t at, double v, const char *why)
{
    return acr__fail(ctx, ACR_E_DATA, "%s: sample %lld, element %lld is %g%s", c->array.place,
                     (long long)(at / c->elements), (long long)(at % c->elements), v, why);
}

static acr_status check_values(acr_context *ctx, const acr__column *c, int which, bool shares, const uint8_t *in,
                               int64_t first, int64_t n, acr__moments *moments)
{
    const acr__array_head *h = &c->array.head;
    double x[BLOCK];
    int64_t bytes = (int64_t)acr_st_dtype_bytes(h->dtype);
    for (int64_t done = 0; done < n; done += BLOCK) {
        int64_t some = acr__min(BLOCK, n - done);
        acr__elements_f64(h->dtype, h->big_endian, in + done * bytes, some, x);
        for (int64_t i = 0; i < some; i++) {
            double v = x[i];
            x[i] = v / c->scale;
            /* As a float: a double that f32 can't hold is no better than Inf. */
            if (!isfinite((float)x[i]) || !isfinite(acr__transformed(c, v)))
                return bad_value(ctx, c, first + done + i, v, "; only what is a finite f32 number can be trained on");
            if (which == ACR_COLUMN_WEIGHT && v < 0)
                return bad_value(ctx, c, first + done + i, v, "; a weight is 0 or more");
            if (shares && !(v >= 0 && v <= 1))
                return bad_value(ctx, c, first + done + i, v, "; a target of this loss is from 0 to 1");
        }
        if (moments)
            add_moments(moments, x, some);
    }
    return ACR_OK;
}

/* Bytes are counted, not summed: 256 counts say all there is to say. Four
 * tables, because equal bytes in a row would wait for each other's store. */
static void count_bytes(int64_t counts[4][256], const uint8_t *in, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++)
            counts[k][in[i + k]]++;
    for (; i < n; i++)
        counts[0][in[i]]++;
}

static void moments_of_counts(int64_t counts[4][256], double scale, acr__moments *m)
{
    double sum = 0;
    for (int v = 0; v < 256; v++) {
        counts[0][v] += counts[1][v] + counts[2][v] + counts[3][v];
        if (!counts[0][v])
            continue;
        double x = v / scale;
        m->count += counts[0][v];
        sum += (double)counts[0][v] * x;
        m->min = x < m->min ? x : m->min;
        m->max = x > m->max ? x : m->max;
    }
    m->mean = sum / (double)m->count;
    for (int v = 0; v < 256; v++)
        m->m2 += (double)counts[0][v] * (v / scale - m->mean) * (v / scale - m->mean);
}

acr_status acr__column_check(acr_context *ctx, const acr__column *c, int which, const acr__data_desc *desc,
                             uint8_t *buffer, acr__moments *moments)
{
    const acr__array_head *h = &c->array.head;
    bool shares = which == ACR_COLUMN_TARGET && desc->target_shares;
    bool u8 = h->dtype == ACR_ST_U8 && !c->label && !shares;
    int64_t counts[4][256], bytes = (int64_t)acr_st_dtype_bytes(h->dtype);
    memset(counts, 0, sizeof counts);
    if (moments)
        *moments = (acr__moments){.min = INFINITY, .max = -INFINITY};
    FAIL_IF(u8 && !isfinite(acr__transformed(c, 255)), ctx, ACR_E_DATA,
            "%s: scale %g, mean %g and deviation %g take a byte beyond f32", c->array.place, c->scale, c->mean,
            c->deviation);
    if (u8 && !moments)
        return ACR_OK; /* no byte can be wrong */
    for (int64_t at = 0; at < h->bytes; at += ACR_CHECK_BYTES) {
        FAIL_IF(acr_cancelled(ctx), ctx, ACR_E_CANCELLED, "%s: cancelled while it was being checked", c->array.place);
        int64_t n = acr__min(ACR_CHECK_BYTES, h->bytes - at);
        const uint8_t *in = c->held ? c->held + at : buffer;
        if (!c->held)
            TRY(acr__array_read(ctx, &c->array, at, buffer, n));
        if (u8)
            count_bytes(counts, in, n);
        else if (c->label)
            TRY(check_labels(ctx, c, desc, in, at / bytes, n / bytes));
        else
            TRY(check_values(ctx, c, which, shares, in, at / bytes, n / bytes, moments));
    }
    if (u8)
        moments_of_counts(counts, c->scale, moments);
    return ACR_OK;
}
