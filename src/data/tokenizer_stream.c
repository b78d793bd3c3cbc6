/* tokenizer_stream.c: a document of any length, a stretch at a time.
 *
 * It is cut before y in "x\n|y", where x and y are no white space, and before the
 * space in "x| ", where x is an ASCII letter or digit. There
 *
 *   - no match of a known pattern begins before the cut and ends behind it, and
 *     those that end at it do so at the text's end as well;
 *   - NFC joins nothing across, since newline and space take part in nothing;
 *   - no added token has the newline (but as its last byte) or the space in its
 *     text, nor takes white space from the other side: tokenizer.c looks for
 *     those that would, and then there is no such cut.
 *
 * So the ids of the stretches are the ids of the document. */
#include "data/tokenizer_parts.h"

#include <string.h>

enum { FEED = 1 << 20 }; /* bytes held before a cut is looked for */

/* Whether a character begins there and is no white space. */
static bool is_solid(const char *text, size_t at)
{
    size_t length;
    return ((uint8_t)text[at] & 0xc0) != 0x80 && !acr__is_space(acr__utf8_take(text + at, &length));
}

static bool is_plain(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

size_t acr__tokenizer_cut(const acr__tokenizer *t, const char *text, size_t n, size_t from)
{
    for (size_t i = n ? n - 1 : 0; i > 1 && i >= from; i--) {
        if (t->cut_at_newline && text[i - 1] == '\n' && is_solid(text, i) &&
            !acr__is_space(acr__utf8_before(text, i - 1)))
            return i;
        if (t->cut_at_space && text[i] == ' ' && is_plain(text[i - 1]))
            return i;
    }
    return 0;
}

acr_status acr__document_begin(acr__document *d, const acr__tokenizer *t, const char *where, bool special,
                               acr__ids *out)
{
    *d = (acr__document){.t = t, .where = where, .special = special, .line = 1, .column = 1};
    return special ? acr__ids_add(t->ctx, out, t->before.id, t->before.count) : ACR_OK;
}

/* The place of a byte behind what is held's first `n`. */
static void advance(acr__document *d, const char *text, size_t n)
{
    for (const char *end = text + n, *newline; (newline = memchr(text, '\n', (size_t)(end - text)));
         text = newline + 1) {
        d->line++;
        d->column = 1;
        n = (size_t)(end - newline - 1);
    }
    d->column += (int64_t)n;
}

/* The first `n` bytes held, which are UTF-8. */
static acr_status take_held(acr__document *d, size_t n, acr__ids *out)
{
    if (d->each)
        TRY(acr__tokenizer_pieces((acr__tokenizer *)(uintptr_t)d->t, d->held.bytes, n, d->each, d->user));
    else
        TRY(acr__tokenizer_encode(d->t, out, d->held.bytes, n, false));
    advance(d, d->held.bytes, n);
    d->held.count -= n;
    d->whole -= n;
    d->searched = 0;
    if (d->held.count)
        memmove(d->held.bytes, d->held.bytes + n, d->held.count);
    return ACR_OK;
}

/* Finds how many of the bytes held are whole characters. A wrong byte is an error
 * once it cannot be the beginning of one that goes on. */
static acr_status check_held(acr__document *d, bool ends)
{
    if (d->held.count)
        d->whole += acr__utf8_bad(d->held.bytes + d->whole, d->held.count - d->whole);
    if (d->whole == d->held.count || (!ends && d->held.count - d->whole < 4))
        return ACR_OK;
    advance(d, d->held.bytes, d->whole);
    return acr__fail(d->t->ctx, ACR_E_DATA, "%s:%lld:%lld: the byte 0x%02x is not UTF-8", d->where, (long long)d->line,
                     (long long)d->column, (uint8_t)d->held.bytes[d->whole]);
}

acr_status acr__document_add(acr__document *d, const char *text, size_t bytes, acr__ids *out)
{
    while (bytes > 0) {
        size_t room = d->held.count < FEED ? FEED - d->held.count : FEED, part = bytes < room ? bytes : room;
        TRY(acr__chars_add(d->t->ctx, &d->held, text, part));
        text += part;
        bytes -= part;
        if (d->held.count < FEED)
            continue;
        TRY(check_held(d, false));
        size_t cut = acr__tokenizer_cut(d->t, d->held.bytes, d->whole, d->searched);
        d->searched = d->whole;
        if (cut)
            TRY(take_held(d, cut, out));
        FAIL_IF(
            d->held.count > ACR_STRETCH_BYTES, d->t->ctx, ACR_E_DATA,
            "%s:%lld:%lld: from here on there is no place to cut the text in %d MiB; break it into lines or documents",
            d->where, (long long)d->line, (long long)d->column, ACR_STRETCH_BYTES >> 20);
    }
    return ACR_OK;
}

acr_status acr__document_end(acr__document *d, acr__ids *out)
{
    TRY(check_held(d, true));
    if (d->held.count)
        TRY(take_held(d, d->held.count, out));
    return d->special ? acr__ids_add(d->t->ctx, out, d->t->after.id, d->t->after.count) : ACR_OK;
}

void acr__document_free(acr__document *d)
{
    if (d->t)
        acr__chars_free(d->t->ctx, &d->held);
    d->t = NULL;
}
