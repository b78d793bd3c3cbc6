/* hash.c: the hash of the weights, of a trainer and of a file.
 *
 * Invariant: one order (the byte order of names) and one image of each number
 * (little-endian f32, one NaN), so that equal weights have equal hashes on
 * every machine, in memory or in a file. */
#include "io/hash.h"
#include "io/file.h"
#include "io/st.h"

#include <stdio.h>
#include <string.h>

void acr__hash_begin(acr__hash *h)
{
    XXH3_INITSTATE(&h->state);
    XXH3_128bits_reset(&h->state);
}

void acr__hash_add(acr__hash *h, const void *bytes, size_t n)
{
    XXH3_128bits_update(&h->state, bytes, n);
}

void acr__hash_text(const acr__hash *h, char out[ACR_HASH_TEXT])
{
    XXH128_hash_t hash = XXH3_128bits_digest(&h->state);
    snprintf(out, ACR_HASH_TEXT, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

void acr__canonical_nan(float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, v + i, 4);
        if ((bits & 0x7fffffff) > 0x7f800000) {
            bits = 0x7fc00000;
            memcpy(v + i, &bits, 4);
        }
    }
}

acr_status acr__fail_more(acr_context *ctx, acr_status status, const char *more)
{
    char sentence[ACR_SENTENCE];
    snprintf(sentence, sizeof sentence, "%s", acr_error(ctx));
    return acr__fail(ctx, status, "%s%s", sentence, more);
}

static acr_status hash_params(acr_trainer *t, const acr_graph *g, acr__hash *h, float *buffer)
{
    const int64_t room = ACR_IO_BYTES / (int64_t)sizeof(float);
    for (int i = 0; i < acr_param_count(g); i++) {
        int64_t elements = acr_param_elements(g, i);
        for (int64_t at = 0; at < elements; at += room) {
            int64_t n = acr__min(room, elements - at);
            TRY(acr_param_read(t, i, at, n, buffer));
            acr__canonical_nan(buffer, n);
            acr__hash_add(h, buffer, (size_t)n * sizeof *buffer);
        }
    }
    return ACR_OK;
}

acr_status acr_weights_hash(acr_trainer *t, char *out)
{
    const acr_graph *g = acr_trainer_graph(t);
    acr_context *ctx = acr_graph_context(g);
    float *buffer = acr__alloc(ctx, ACR_IO_BYTES);
    if (!buffer)
        return ACR_E_NO_MEMORY;
    acr__hash h;
    acr__hash_begin(&h);
    acr_status status = hash_params(t, g, &h, buffer);
    acr__free(ctx, buffer);
    if (status == ACR_OK)
        acr__hash_text(&h, out);
    return status;
}

static acr_status hash_tensors(acr_st *st, const char *prefix, acr__hash *h, void *buffer)
{
    for (int i = 0; i < acr_st_count(st); i++) {
        acr_st_tensor t;
        TRY(acr_st_get(st, i, &t));
        if (strncmp(t.name, prefix, strlen(prefix)))
            continue;
        int64_t width = (int64_t)acr_st_dtype_bytes(t.dtype), room = ACR_IO_BYTES / width;
        for (int64_t at = 0; at < t.elements; at += room) {
            int64_t n = acr__min(room, t.elements - at);
            TRY(acr_st_read_raw(st, i, at, n, buffer));
            if (t.dtype == ACR_ST_F32)
                acr__canonical_nan(buffer, n);
            acr__hash_add(h, buffer, (size_t)(n * width));
        }
    }
    return ACR_OK;
}

acr_status acr_st_weights_hash(acr_st *st, const char *prefix, char *out)
{
    acr_context *ctx = acr__st_context(st);
    void *buffer = acr__alloc(ctx, ACR_IO_BYTES);
    if (!buffer)
        return ACR_E_NO_MEMORY;
    acr__hash h;
    acr__hash_begin(&h);
    acr_status status = hash_tensors(st, prefix ? prefix : "", &h, buffer);
    acr__free(ctx, buffer);
    if (status == ACR_OK)
        acr__hash_text(&h, out);
    return status;
}
