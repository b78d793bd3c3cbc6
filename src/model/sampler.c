/* sampler.c: see sampler.h. Candidates come from a heap, the likeliest first (the
 * lowest id among equals), so that a vocabulary is never sorted whole. */
#include "model/sampler.h"

#include "base/functions.h"
#include "base/philox.h"

#include <math.h>

struct acr__sampler {
    acr_context *ctx;
    acr__sampler_opts opts;
    int64_t vocab;
    int32_t *heap;   /* ids, the best at 0 */
    double *weight;  /* [vocab] of the candidates in the order they were taken */
    int64_t count;   /* ids in the heap */
};

acr_status acr__sampler_create(acr__sampler **out, acr_context *ctx, int64_t vocab, const acr__sampler_opts *opts)
{
    FAIL_IF(vocab < 1 || vocab > INT32_MAX, ctx, ACR_E_ARGUMENT, "a vocabulary of %lld tokens", (long long)vocab);
    FAIL_IF(!(opts->temperature >= 0 && isfinite(opts->temperature)), ctx, ACR_E_ARGUMENT,
            "temperature is %g; 0 (the likeliest token) or above is allowed", opts->temperature);
    FAIL_IF(opts->top_k < 0, ctx, ACR_E_ARGUMENT, "top_k is %lld; 0 (all) or above is allowed", (long long)opts->top_k);
    FAIL_IF(!(opts->top_p > 0 && opts->top_p <= 1), ctx, ACR_E_ARGUMENT,
            "top_p is %g; above 0, at most 1 (all) is allowed", opts->top_p);
    acr__sampler *s = acr__alloc(ctx, sizeof *s);
    if (!s)
        return ACR_E_NO_MEMORY;
    *s = (acr__sampler){.ctx = ctx, .opts = *opts, .vocab = vocab};
    s->heap = acr__alloc(ctx, (size_t)vocab * sizeof *s->heap);
    s->weight = acr__alloc(ctx, (size_t)vocab * sizeof *s->weight);
    if (!s->heap || !s->weight) {
        acr__sampler_destroy(s);
        return ACR_E_NO_MEMORY;
    }
    *out = s;
    return ACR_OK;
}

void acr__sampler_destroy(acr__sampler *s)
{
    if (!s)
        return;
    acr__free(s->ctx, s->heap);
    acr__free(s->ctx, s->weight);
    acr__free(s->ctx, s);
}

/* Whether token a comes before token b. */
static bool before(const float *logits, int32_t a, int32_t b)
{
    if (logits[a] != logits[b])
        return logits[a] > logits[b];
    return a < b;
}

static void sink(acr__sampler *s, const float *logits, int64_t at)
{
    int32_t id = s->heap[at];
    for (int64_t child; (child = 2 * at + 1) < s->count; at = child) {
        if (child + 1 < s->count && before(logits, s->heap[child + 1], s->heap[child]))
            child++;
        if (!before(logits, s->heap[child], id))
            break;
        s->heap[at] = s->heap[child];
    }
    s->heap[at] = id;
}

/* The best id left goes to the place behind the heap that it frees. */
static int32_t take(acr__sampler *s, const float *logits)
{
    int32_t id = s->heap[0];
    s->heap[0] = s->heap[--s->count];
    sink(s, logits, 0);
    s->heap[s->count] = id;
    return id;
}

/* Uniform in [0, 1), 53 bits of it. */
static double uniform(uint64_t seed, uint64_t place)
{
    uint32_t key[2], word[4];
    const uint32_t counter[4] = {(uint32_t)place, (uint32_t)(place >> 32), 0, 0};
    acr__philox_key(seed, ACR_TWEAK_SAMPLER, key);
    acr__philox4x32(counter, key, word);
    return (double)(((uint64_t)word[0] << 32 | word[1]) >> 11) * 0x1p-53;
}

/* The likelihood of the i-th candidate, relative to the first's; candidates are
 * taken in turn, each once. */
static double weight_of(acr__sampler *s, const float *logits, int64_t i, int64_t all, double largest)
{
    while (all - s->count <= i) {
        int64_t next = all - s->count;
        s->weight[next] = acr__exp64(((double)logits[take(s, logits)] - largest) / s->opts.temperature);
    }
    return s->weight[i];
}

acr_status acr__sampler_draw(acr__sampler *s, const float *logits, uint64_t place, int32_t *token)
{
    s->count = 0;
    for (int64_t i = 0; i < s->vocab; i++)
        if (logits[i] > -INFINITY)
            s->heap[s->count++] = (int32_t)i;
    for (int64_t i = s->count / 2 - 1; i >= 0; i--)
        sink(s, logits, i);
    FAIL_IF(s->count == 0 || isinf(logits[s->heap[0]]), s->ctx, ACR_E_DIVERGED,
            "the logits of token %llu are not finite; the model has diverged", (unsigned long long)place);
    const double largest = logits[s->heap[0]];
    if (s->opts.temperature == 0) {
        *token = s->heap[0];
        return ACR_OK;
    }
    int64_t all = s->count, most = s->opts.top_k > 0 ? acr__min(s->opts.top_k, all) : all;
    double total = 0, kept = 0, sum = 0;
    for (int64_t i = 0; i < most; i++)
        total += most < all ? weight_of(s, logits, i, all, largest)
                            : acr__exp64(((double)logits[s->heap[i]] - largest) / s->opts.temperature);
    if (s->opts.top_p == 1) {
        kept = total;
    } else {
        int64_t some = 0;
        while (some < most && kept < s->opts.top_p * total)
            kept += weight_of(s, logits, some++, all, largest);
        most = some;
    }
    double at = uniform(s->opts.seed, place) * kept;
    int64_t i = 0;
    while ((sum += weight_of(s, logits, i, all, largest)) <= at && i + 1 < most)
        i++;
    *token = s->heap[all - 1 - i]; /* those taken stand behind the heap, the last one first */
    return ACR_OK;
}
