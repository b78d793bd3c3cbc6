/* tokenizer_added.c: finds added tokens in a text: the leftmost match, of several
 * there the longest, then on behind it.
 *
 * The tokens lie sorted; at a place where one may begin, the range of those that
 * agree with the text is narrowed byte by byte. */
#include "data/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b)
{
    const acr__added *x = *(acr__added *const *)a, *y = *(acr__added *const *)b;
    int order = memcmp(x->text, y->text, x->bytes < y->bytes ? x->bytes : y->bytes);
    return order ? order : x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

acr_status acr__finder_create(acr__finder *f, acr_context *ctx, acr__added *all, int64_t count, bool normalized)
{
    f->token = acr__alloc(ctx, ((size_t)count + 1) * sizeof(acr__added *));
    if (!f->token)
        return ACR_E_NO_MEMORY;
    for (int64_t i = 0; i < count; i++) {
        if (all[i].normalized != normalized)
            continue;
        f->token[f->count++] = &all[i];
        f->first[(uint8_t)all[i].text[0]] = true;
    }
    qsort(f->token, (size_t)f->count, sizeof(acr__added *), by_text);
    return ACR_OK;
}

void acr__finder_free(acr__finder *f, acr_context *ctx)
{
    acr__free(ctx, f->token);
    f->token = NULL;
}

/* The first of [low, high), which agree in `depth` bytes, whose next byte is at
 * least `byte`; one that ends there comes before all bytes. */
static int64_t bound(const acr__finder *f, int64_t low, int64_t high, size_t depth, int byte)
{
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        const acr__added *a = f->token[middle];
        int there = a->bytes == depth ? -1 : (uint8_t)a->text[depth];
        if (there < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const acr__added *longest(const acr__finder *f, const char *text, size_t n)
{
    const acr__added *best = NULL;
    int64_t low = 0, high = f->count;
    for (size_t depth = 0; depth < n; depth++) {
        int byte = (uint8_t)text[depth];
        low = bound(f, low, high, depth, byte);
        high = bound(f, low, high, depth, byte + 1);
        if (low == high)
            break;
        if (f->token[low]->bytes == depth + 1)
            best = f->token[low];
    }
    return best;
}

static bool stands_alone(const char *text, size_t n, size_t begin, size_t end)
{
    size_t length;
    return (begin == 0 || !acr__is_word(acr__utf8_before(text, begin))) &&
           (end == n || !acr__is_word(acr__utf8_take(text + end, &length)));
}

static size_t spaces_before(const char *text, size_t begin)
{
    while (begin > 0) {
        uint32_t c = acr__utf8_before(text, begin);
        char bytes[4];
        if (!acr__is_space(c))
            break;
        begin -= acr__utf8_put(c, bytes);
    }
    return begin;
}

static size_t spaces_behind(const char *text, size_t n, size_t end)
{
    size_t length;
    while (end < n && acr__is_space(acr__utf8_take(text + end, &length)))
        end += length;
    return end;
}

void acr__finder_next(const acr__finder *f, const char *text, size_t n, acr__found *at)
{
    at->begin = at->done;
    at->token = NULL;
    for (size_t i = f->count ? at->search : n; i < n; i++) {
        if (!f->first[(uint8_t)text[i]])
            continue;
        const acr__added *a = longest(f, text + i, n - i);
        if (!a)
            continue;
        size_t begin = i, end = i + a->bytes;
        i = end - 1;
        if (a->single_word && !stands_alone(text, n, begin, end))
            continue;
        at->search = end;
        if (a->lstrip)
            begin = spaces_before(text, begin);
        at->end = begin > at->begin ? begin : at->begin; /* spaces that the token before took are gone */
        at->done = a->rstrip ? spaces_behind(text, n, end) : end;
        at->token = a;
        return;
    }
    at->end = n;
    at->done = at->search = n;
}
