/* tokenizer.c: the way of a text through the parts of a tokenizer, and back.
 *
 * Invariant: a tokenizer exists only for a file that was read and checked whole.
 * After open nothing but the scratch of encode changes. Reading the file is
 * tokenizer_json.c; texts of any length are tokenizer_stream.c. */
#include "data/tokenizer_parts.h"
#include "io/file.h"
#include "io/hash.h"

#include <stdlib.h>
#include <string.h>

/* 4 MB of JSON hold 50257 tokens, 9 MB 128000, 33 MB the largest that are about. */
enum { FILE_BYTES = 128 << 20 };

/* ---- life ---------------------------------------------------------------------------- */

static void hash_text(acr__hash *h, const char *text, size_t n)
{
    uint64_t length = n;
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(length >> (8 * i));
    acr__hash_add(h, bytes, 8); /* so that no two lists of texts run into one another */
    acr__hash_add(h, text, n);
}

static void hash_number(acr__hash *h, int64_t v)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)v >> (8 * i));
    acr__hash_add(h, bytes, 8);
}

static void take_hash(acr__tokenizer *t)
{
    acr__hash h;
    acr__hash_begin(&h);
    hash_text(&h, t->rest, strlen(t->rest));
    for (int64_t id = 0; id < t->size; id++) {
        size_t n;
        const char *text = acr__bpe_text(t->bpe, (int32_t)id, &n);
        if (!text)
            continue;
        hash_number(&h, id);
        hash_text(&h, text, n);
    }
    for (int64_t rank = 0; rank < acr__bpe_merges(t->bpe); rank++) {
        int32_t left, right;
        acr__bpe_pair(t->bpe, rank, &left, &right);
        hash_number(&h, left);
        hash_number(&h, right);
    }
    acr__hash_text(&h, t->hash);
}

static void find_eos(acr__tokenizer *t)
{
    static const char *const names[] = {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"};
    t->eos = -1;
    for (size_t k = 0; k < sizeof names / sizeof *names && t->eos < 0; k++) {
        int32_t id = acr__tokenizer_id(t, names[k]);
        if (id >= 0 && acr__tokenizer_special(t, id))
            t->eos = id;
    }
}

/* acr__document cuts "x\n|y" and "x| " (tokenizer_stream.c). No match of a known
 * pattern looks across either; an added token must not either. */
static void find_cuts(acr__tokenizer *t)
{
    t->cut_at_newline = t->cut_at_space = true;
    for (int i = 0; i < t->step_count; i++)
        if (!t->step[i].split || !acr__split_known(t->step[i].split))
            t->cut_at_newline = t->cut_at_space = false;
    for (int64_t i = 0; i < t->added_count; i++) {
        const acr__added *a = &t->added[i];
        if (a->lstrip || memchr(a->text, '\n', a->bytes - 1))
            t->cut_at_newline = false;
        if (a->rstrip || memchr(a->text, ' ', a->bytes))
            t->cut_at_space = false;
    }
}

void acr__tokenizer_ready(acr__tokenizer *t)
{
    take_hash(t);
    find_eos(t);
    find_cuts(t);
}

acr_status acr__tokenizer_parse(acr__tokenizer **out, acr_context *ctx, const char *name, const char *json, size_t n)
{
    acr__tokenizer *t = acr__alloc(ctx, sizeof *t);
    if (!t)
        return ACR_E_NO_MEMORY;
    t->ctx = ctx;
    t->name = acr__strdup(ctx, name);
    acr_status status = t->name ? acr__tokenizer_read_json(t, json, n) : ACR_E_NO_MEMORY;
    if (status != ACR_OK) {
        acr__tokenizer_close(t);
        return status;
    }
    acr__tokenizer_ready(t);
    *out = t;
    return ACR_OK;
}

acr_status acr__tokenizer_open(acr__tokenizer **out, acr_context *ctx, const char *path)
{
    char *json;
    size_t n;
    TRY(acr__file_load(ctx, path, FILE_BYTES, &json, &n));
    acr_status status = acr__tokenizer_parse(out, ctx, path, json, n);
    acr__free(ctx, json);
    return status;
}

void acr__tokenizer_close(acr__tokenizer *t)
{
    if (!t)
        return;
    acr__bpe_destroy(t->bpe);
    for (int i = 0; i < t->step_count; i++)
        acr__split_destroy(t->step[i].split);
    for (int64_t i = 0; i < t->added_count; i++)
        acr__free(t->ctx, t->added[i].text);
    acr__free(t->ctx, t->added);
    acr__finder_free(&t->written, t->ctx);
    acr__finder_free(&t->normalized, t->ctx);
    acr__ids_free(t->ctx, &t->before);
    acr__ids_free(t->ctx, &t->after);
    acr__nfc_free(t->ctx, &t->nfc_room);
    acr__chars_free(t->ctx, &t->prefixed);
    acr__free(t->ctx, t->rest);
    acr__free(t->ctx, t->name);
    acr__free(t->ctx, t);
}

int64_t acr__tokenizer_size(const acr__tokenizer *t) { return t->size; }

int32_t acr__tokenizer_eos(const acr__tokenizer *t) { return t->eos; }

const char *acr__tokenizer_hash(const acr__tokenizer *t) { return t->hash; }

static const acr__added *added_of(const acr__tokenizer *t, int32_t id)
{
    for (int64_t i = 0; i < t->added_count; i++)
        if (t->added[i].id == id)
            return &t->added[i];
    return NULL;
}

bool acr__tokenizer_special(const acr__tokenizer *t, int32_t id)
{
    const acr__added *a = added_of(t, id);
    return a && a->special;
}

int32_t acr__tokenizer_id(const acr__tokenizer *t, const char *token)
{
    size_t n = strlen(token);
    for (int64_t i = 0; i < t->added_count; i++) {
        size_t bytes;
        const char *content = acr__bpe_piece(t->bpe, t->added[i].id, &bytes);
        if (bytes == n && memcmp(content, token, n) == 0)
            return t->added[i].id;
    }
    return acr__bpe_find(t->bpe, token, n);
}

const char *acr__tokenizer_piece(const acr__tokenizer *t, int32_t id, size_t *bytes)
{
    return id < 0 || id >= t->size ? NULL : acr__bpe_piece(t->bpe, id, bytes);
}

/* ---- a text to pieces ------------------------------------------------------------------ */

/* Where pieces and added tokens go. */
typedef struct way {
    acr__tokenizer *t;
    acr__ids *out;        /* BPE's ids, if each is NULL */
    acr__piece_sink each; /* else the pieces; added tokens are passed over */
    void *user;
} way;

static acr_status run_steps(way *w, int step, const char *text, size_t n);

static acr_status put_space_first(way *w, int step, const char *text, size_t n)
{
    if (text[0] == ' ')
        return run_steps(w, step + 1, text, n);
    acr__chars *own = &w->t->prefixed; /* there is one such step at most, the file's reader sees to it */
    own->count = 0;
    TRY(acr__chars_add(w->t->ctx, own, " ", 1));
    TRY(acr__chars_add(w->t->ctx, own, text, n));
    return run_steps(w, step + 1, own->bytes, own->count);
}

/* Matches are pieces, and so is what lies between them. */
static acr_status split_step(way *w, int step, const char *text, size_t n)
{
    const acr__step *s = &w->t->step[step];
    size_t done = 0, from = 0, begin, end;
    while (from <= n && done < n) {
        TRY(acr__split_next(s->split, text, n, from, &begin, &end));
        if (begin > done && !s->drop)
            TRY(run_steps(w, step + 1, text + done, begin - done));
        if (end > begin)
            TRY(run_steps(w, step + 1, text + begin, end - begin));
        done = from = end;
        if (begin == end && end < n) { /* an empty match parts what is around it */
            size_t length;
            acr__utf8_take(text + end, &length);
            from = end + length;
        }
    }
    return ACR_OK;
}

static acr_status run_steps(way *w, int step, const char *text, size_t n)
{
    if (n == 0)
        return ACR_OK;
    if (step < w->t->step_count)
        return w->t->step[step].split ? split_step(w, step, text, n) : put_space_first(w, step, text, n);
    return w->each ? w->each(w->user, text, n) : acr__bpe_encode(w->t->bpe, text, n, w->out);
}

static acr_status put_added(way *w, const acr__added *a)
{
    return w->each || !a ? ACR_OK : acr__ids_add(w->t->ctx, w->out, &a->id, 1);
}

/* Between the added tokens as they are written. */
static acr_status walk_stretch(way *w, const char *text, size_t n)
{
    acr__tokenizer *t = w->t;
    if (t->nfc && !acr__nfc_inert(text, n)) {
        TRY(acr__nfc(t->ctx, text, n, &t->nfc_room));
        text = t->nfc_room.text.bytes;
        n = t->nfc_room.text.count;
    }
    acr__found at = {0};
    do {
        acr__finder_next(&t->normalized, text, n, &at);
        TRY(run_steps(w, 0, text + at.begin, at.end - at.begin));
        TRY(put_added(w, at.token));
    } while (at.token);
    return ACR_OK;
}

static acr_status walk(way *w, const char *text, size_t n)
{
    acr__found at = {0};
    do {
        acr__finder_next(&w->t->written, text, n, &at);
        TRY(walk_stretch(w, text + at.begin, at.end - at.begin));
        TRY(put_added(w, at.token));
    } while (at.token);
    return ACR_OK;
}

acr_status acr__tokenizer_pieces(acr__tokenizer *t, const char *text, size_t n, acr__piece_sink each, void *user)
{
    way w = {.t = t, .each = each, .user = user};
    return walk(&w, text, n);
}

acr_status acr__tokenizer_rest(const acr__tokenizer *t) { return acr__bpe_rest(t->bpe); }

acr_status acr__tokenizer_encode(const acr__tokenizer *t, acr__ids *out, const char *text, size_t bytes, bool special)
{
    FAIL_IF(bytes > ACR_TEXT_BYTES, t->ctx, ACR_E_DATA, "a text of %zu bytes; at most %d are encoded at once", bytes,
            ACR_TEXT_BYTES);
    size_t bad = acr__utf8_bad(text, bytes);
    FAIL_IF(bad < bytes, t->ctx, ACR_E_DATA, "the text's byte %zu, 0x%02x, is not UTF-8", bad, (uint8_t)text[bad]);
    int64_t before = out->count;
    way w = {.t = (acr__tokenizer *)(uintptr_t)t, .out = out}; /* for its scratch: tokenizer.h tells */
    acr_status status = special ? acr__ids_add(t->ctx, out, t->before.id, t->before.count) : ACR_OK;
    if (status == ACR_OK)
        status = walk(&w, text, bytes);
    if (status == ACR_OK && special)
        status = acr__ids_add(t->ctx, out, t->after.id, t->after.count);
    if (status != ACR_OK)
        out->count = before;
    return status;
}

/* ---- and back ------------------------------------------------------------------------------ */

acr_status acr__tokenizer_decode(const acr__tokenizer *t, acr__chars *out, const int32_t *ids, int64_t count,
                                 bool skip_special)
{
    for (int64_t i = 0; i < count; i++) {
        size_t n;
        const char *piece = acr__tokenizer_piece(t, ids[i], &n);
        FAIL_IF(!piece, t->ctx, ACR_E_ARGUMENT, "token %d is not in %s, whose ids lie in [0, %lld)", ids[i], t->name,
                (long long)t->size);
        if (!skip_special || !acr__tokenizer_special(t, ids[i]))
            TRY(acr__chars_add(t->ctx, out, piece, n));
    }
    return ACR_OK;
}
