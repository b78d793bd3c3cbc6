/* tokenizer_text.c: UTF-8, what a character is, NFC, and the symbols of bytes.
 *
 * Invariant: everything here is given UTF-8. utf8proc knows the
 * characters; only what the ranges below say of NFC is known here, and a test
 * holds it against utf8proc. */
#include "data/tokenizer_parts.h"

#include <string.h>
#include <utf8proc.h>

/* ---- UTF-8 ------------------------------------------------------------------------ */

uint32_t acr__utf8_before(const char *text, size_t end)
{
    size_t begin = end - 1, length;
    while (begin > 0 && ((uint8_t)text[begin] & 0xc0) == 0x80)
        begin--;
    return acr__utf8_take(text + begin, &length);
}

size_t acr__utf8_put(uint32_t c, char out[4])
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)out);
}

/* ---- characters --------------------------------------------------------------------- */

bool acr__is_space(uint32_t c)
{
    return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool acr__is_word(uint32_t c)
{
    /* Letters that Unicode counts among the symbols: circled and squared ones; and the two joiners. */
    if ((c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
        (c >= 0x1f170 && c <= 0x1f189) || c == 0x200c || c == 0x200d)
        return true;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return false;
    }
}

/* ---- NFC ------------------------------------------------------------------------------ */

/* Characters that no normalisation changes, joins to the one before or moves:
 * NFC_Quick_Check is Yes and the combining class 0. Not all of them, but the
 * scripts that most text is written in; and U+11A7, which utf8proc 2.8 takes for a
 * final consonant and drops. Unicode's stability policy keeps them so. A table. */
static const uint32_t inert[][2] = {
    {0x0000, 0x02ff}, {0x0388, 0x0482}, {0x048a, 0x052f}, {0x05d0, 0x05ea}, {0x0621, 0x064a}, {0x11a7, 0x11a7},
    {0x2010, 0x205f}, {0x20a0, 0x20bf}, {0x2190, 0x21ff}, {0x2500, 0x27bf}, {0x3001, 0x3029}, {0x3041, 0x3096},
    {0x30a0, 0x312f}, {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xac00, 0xd7a3}, {0xff01, 0xffdc}, {0x1f300, 0x1faff},
};

static bool is_inert(uint32_t c)
{
    for (size_t i = 0; i < sizeof inert / sizeof *inert; i++)
        if (c <= inert[i][1])
            return c >= inert[i][0];
    return false;
}

/* The end of the stretch from `at` on that NFC leaves as it is. */
static size_t inert_end(const char *text, size_t n, size_t at)
{
    for (size_t length; at < n; at += length) {
        if ((uint8_t)text[at] < 0xcc) /* below U+0300 */
            length = (uint8_t)text[at] < 0x80 ? 1 : 2;
        else if (!is_inert(acr__utf8_take(text + at, &length)))
            break;
    }
    return at;
}

bool acr__nfc_inert(const char *text, size_t n) { return inert_end(text, n, 0) == n; }

static acr_status normalize(acr_context *ctx, const char *text, size_t n, acr__nfc_room *room)
{
    const utf8proc_option_t options = (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    utf8proc_ssize_t length;
    /* A place more than is filled: reencode ends its text with a zero. */
    while ((length = utf8proc_decompose(bytes, (utf8proc_ssize_t)n, room->points, (utf8proc_ssize_t)room->count - 1,
                                        options)) >= (utf8proc_ssize_t)room->count) {
        void *grown = acr__realloc(ctx, room->points, ((size_t)length + 256) * sizeof *room->points);
        if (!grown)
            return ACR_E_NO_MEMORY;
        room->points = grown;
        room->count = (size_t)length + 256;
    }
    if (length >= 0)
        length = utf8proc_reencode(room->points, length, options);
    FAIL_IF(length < 0, ctx, ACR_E_DATA, "%zu bytes of text could not be normalised: %s", n, utf8proc_errmsg(length));
    return acr__chars_add(ctx, &room->text, room->points, (size_t)length);
}

/* An inert character begins something new: with what follows up to the next, and
 * with nothing else, it may be joined. */
acr_status acr__nfc(acr_context *ctx, const char *text, size_t n, acr__nfc_room *room)
{
    room->text.count = 0;
    if (!room->points) {
        room->points = acr__alloc(ctx, 256 * sizeof *room->points);
        if (!room->points)
            return ACR_E_NO_MEMORY;
        room->count = 256;
    }
    for (size_t at = 0, length; at < n;) {
        size_t end = inert_end(text, n, at), begin = end;
        if (end < n) {
            while (begin > at && ((uint8_t)text[--begin] & 0xc0) == 0x80) {
            }
            while (end < n && !is_inert(acr__utf8_take(text + end, &length)))
                end += length;
        }
        TRY(acr__chars_add(ctx, &room->text, text + at, begin - at));
        if (end > begin)
            TRY(normalize(ctx, text + begin, end - begin, room));
        at = end;
    }
    return ACR_OK;
}

void acr__nfc_free(acr_context *ctx, acr__nfc_room *room)
{
    acr__chars_free(ctx, &room->text);
    acr__free(ctx, room->points);
    *room = (acr__nfc_room){0};
}

/* ---- the symbols of bytes ---------------------------------------------------------------- */

/* GPT-2's rule: the printable bytes of Latin-1 stand for themselves, the other 68
 * for the characters from U+0100 on, in order. */
static bool stands_for_itself(int byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* The k-th of the others: 0 to 0x20, 0x7f to 0xa0, 0xad. */
static int other_byte(uint32_t k)
{
    return k < 0x21 ? (int)k : k < 0x43 ? (int)(k - 0x21 + 0x7f) : k == 0x43 ? 0xad : -1;
}

int acr__symbol_byte(uint32_t c)
{
    if (c < 0x100)
        return stands_for_itself((int)c) ? (int)c : -1;
    return other_byte(c - 0x100);
}

uint32_t acr__symbol_char(uint8_t byte)
{
    if (stands_for_itself(byte))
        return byte;
    return 0x100 + (byte < 0x21 ? byte : byte < 0xa1 ? byte - 0x7fu + 0x21 : 0x43u);
}
