/* generate.c: see generate.h. */
#include "cli/generate.h"

#include <string.h>
#include <utf8proc.h>

const char *acr__stop_name(acr__stop stop)
{
    static const char *const name[] = {"end", "length", "context"};
    return name[stop];
}

typedef struct writer {
    const acr__generation *g;
    char held[4]; /* the beginning of a character */
    size_t count;
} writer;

static void write_some(const writer *w, const void *text, size_t bytes)
{
    if (bytes)
        w->g->write(w->g->user, text, bytes);
}

/* Bytes of the character that begins at p: 0: it may yet become one; -1: it is none. */
static int character(const unsigned char *p, size_t bytes)
{
    int32_t code;
    utf8proc_ssize_t n = utf8proc_iterate(p, (utf8proc_ssize_t)bytes, &code);
    if (n > 0)
        return (int)n;
    size_t need = *p >= 0xf0 && *p < 0xf5 ? 4 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xc2 && *p < 0xe0 ? 2 : 1;
    for (size_t i = 1; i < bytes; i++)
        if ((p[i] & 0xc0) != 0x80)
            return -1;
    return bytes < need ? 0 : -1;
}

/* Tokens end within characters; what is written never does, and bytes that are no
 * character are U+FFFD, so that the text is UTF-8 whatever the model says. */
static void write_piece(writer *w, const char *piece, size_t bytes)
{
    static const char replacement[] = "\xef\xbf\xbd";
    unsigned char text[sizeof w->held + 256];
    for (size_t at = 0, some; at < bytes; at += some) {
        some = bytes - at < 256 ? bytes - at : 256;
        memcpy(text, w->held, w->count);
        memcpy(text + w->count, piece + at, some);
        size_t all = w->count + some, from = 0, to = 0;
        for (int n = 1; to < all && n != 0;) {
            n = character(text + to, all - to);
            if (n < 0) {
                write_some(w, text + from, to - from);
                write_some(w, replacement, 3);
                from = to + 1;
            }
            to += n < 0 ? 1 : (size_t)n;
        }
        write_some(w, text + from, to - from);
        w->count = all - to;
        memcpy(w->held, text + to, w->count);
    }
}

static void write_rest(writer *w)
{
    for (size_t i = 0; i < w->count; i++)
        write_some(w, "\xef\xbf\xbd", 3);
}

static bool ends(const acr__generation *g, int32_t id)
{
    for (int i = 0; i < g->lm->eos_count; i++)
        if (g->lm->eos[i] == id)
            return true;
    return id == acr__tokenizer_eos(g->tokenizer) || id == acr__tokenizer_id(g->tokenizer, "<|im_end|>"); /* chatml's */
}

static acr_status begin(acr__generation *g, const char *prompt, size_t bytes)
{
    if (prompt)
        TRY(acr__tokenizer_encode(g->tokenizer, &g->ids, prompt, bytes, true));
    int32_t first = g->lm->bos >= 0 ? (int32_t)g->lm->bos : acr__tokenizer_eos(g->tokenizer);
    FAIL_IF(g->ids.count == 0 && first < 0, g->ctx, ACR_E_ARGUMENT,
            "the prompt is empty, and the model has no token that begins a text; give a prompt");
    if (g->ids.count == 0)
        TRY(acr__ids_add(g->ctx, &g->ids, &first, 1));
    g->prompt = g->ids.count;
    FAIL_IF(g->prompt >= g->context, g->ctx, ACR_E_ARGUMENT,
            "the prompt has %lld tokens, and there are %lld places for it and the answer; shorten it",
            (long long)g->prompt, (long long)g->context);
    return ACR_OK;
}

static acr_status go_on(acr__generation *g, acr__sampler *sampler, float *row)
{
    writer w = {.g = g};
    int64_t known = 0;
    g->stop = ACR__STOP_LENGTH;
    for (int64_t made = 0; made < g->max_new_tokens; made++) {
        int32_t token;
        size_t bytes;
        TRY(g->logits(g->user, g->ids.id, known, g->ids.count, row));
        known = g->ids.count;
        TRY(acr__sampler_draw(sampler, row, (uint64_t)made, &token));
        if (ends(g, token)) {
            g->stop = ACR__STOP_END;
            break;
        }
        TRY(acr__ids_add(g->ctx, &g->ids, &token, 1));
        const char *piece = acr__tokenizer_special(g->tokenizer, token) ? NULL
                                                                         : acr__tokenizer_piece(g->tokenizer, token, &bytes);
        const char *line = piece && g->line_ends ? memchr(piece, '\n', bytes) : NULL;
        if (piece && g->write)
            write_piece(&w, piece, line ? (size_t)(line - piece) : bytes);
        if (line) {
            g->stop = ACR__STOP_END;
            break;
        }
        if (g->ids.count == g->context && made + 1 < g->max_new_tokens) {
            g->stop = ACR__STOP_CONTEXT;
            break;
        }
    }
    if (g->write)
        write_rest(&w);
    return ACR_OK;
}

acr_status acr__generate(acr__generation *g, const char *prompt, size_t bytes)
{
    acr__sampler *sampler = NULL;
    TRY(begin(g, prompt, bytes));
    if (g->echo && prompt)
        g->write(g->user, prompt, bytes);
    TRY(acr__sampler_create(&sampler, g->ctx, g->lm->vocab, &g->sampling));
    float *row = acr__alloc(g->ctx, (size_t)g->lm->vocab * sizeof *row);
    acr_status status = row ? go_on(g, sampler, row) : ACR_E_NO_MEMORY;
    acr__free(g->ctx, row);
    acr__sampler_destroy(sampler);
    return status;
}

void acr__generation_end(acr__generation *g) { acr__ids_free(g->ctx, &g->ids); }
