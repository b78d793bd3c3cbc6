/* tokens.c: from a description to an open set of sequences. Probing and opening
 * are one path, so what a probe counted is what the opened set has. */
#include "data/tokens.h"
#include "data/cache.h"
#include "data/tokens_set.h"
#include "io/file.h"
#include <string.h>

/* A batch counts its rows in int32. */
enum { LONGEST = 1 << 24 };

/* -- the description ------------------------------------------------------ */
typedef struct format_row {
    const char *name;
    bool text;         /* to be tokenised */
    const char *packing;
} format_row;

static const format_row formats[] = {{"safetensors", false, "stream"},
                                 {"tokens", false, "stream"},
                                 {"text", true, "stream"},
                                 {"jsonl", true, "whole"},
                                 {"kjv", true, "stream"}};
enum { TENSORS, TOKENS, TEXT, JSONL, KJV, FORMATS };

static acr_status one_of(acr_context *ctx, const char *key, const char *value, const char *a, const char *b)
{
    FAIL_IF(value && strcmp(value, a) != 0 && strcmp(value, b) != 0, ctx, ACR_E_CONFIG,
            "data: %s '%s' is not one of %s, %s", key, value, a, b);
    return ACR_OK;
}

static acr_status format_of(acr_context *ctx, const acr__tokens_desc *d, int *out)
{
    static const char names[] = "safetensors, tokens, text, jsonl, kjv";
    FAIL_IF(!d->format, ctx, ACR_E_CONFIG, "data: format is missing; one of %s", names);
    for (int i = 0; i < FORMATS; i++)
        if (strcmp(d->format, formats[i].name) == 0) {
            *out = i;
            return ACR_OK;
        }
    return acr__fail(ctx, ACR_E_CONFIG, "data: format '%s' is not one of %s", d->format, names);
}

static acr_status check_tokenizer(acr_context *ctx, const acr__tokens_desc *d, bool text)
{
    int ways = (d->tokenizer != NULL) + (d->given != NULL) + (d->learn != 0);
    FAIL_IF(text ? ways != 1 : ways > 1, ctx, ACR_E_CONFIG,
            "data: format %s needs one tokenizer: a file, or the size of a vocabulary to learn", d->format);
    FAIL_IF(!text && d->learn != 0, ctx, ACR_E_CONFIG, "data: a tokenizer can't be learned from format %s: it has no text",
            d->format);
    FAIL_IF(d->learn != 0 && (d->learn < ACR_LEARN_LEAST || d->learn > ACR_LEARN_MOST), ctx, ACR_E_CONFIG,
            "data: a tokenizer of %lld tokens can't be learned; %d to %d can", (long long)d->learn, ACR_LEARN_LEAST,
            ACR_LEARN_MOST);
    return ACR_OK;
}

static acr_status check_desc(acr_context *ctx, const acr__tokens_desc *d, int *format)
{
    TRY(format_of(ctx, d, format));
    int f = *format;
    FAIL_IF(f != KJV && !d->path, ctx, ACR_E_CONFIG, "data: format %s needs path", d->format);
    FAIL_IF(f == KJV && d->path, ctx, ACR_E_CONFIG, "data: format kjv has no path: its text comes from a program");
    FAIL_IF(f == TENSORS && !d->input, ctx, ACR_E_CONFIG, "data: input is missing: the name of the tensor of ids");
    FAIL_IF(f != TENSORS && (d->input || d->target), ctx, ACR_E_CONFIG,
            "data: input and target name tensors; format %s has none", d->format);
    FAIL_IF(f != TENSORS && d->sequence_length == 0, ctx, ACR_E_CONFIG,
            "data: format %s needs sequence_length, the tokens of one sample at most", d->format);
    FAIL_IF(d->sequence_length < 0 || d->sequence_length > LONGEST, ctx, ACR_E_CONFIG,
            "data: sequence_length is %lld; 1 to %d are possible", (long long)d->sequence_length, LONGEST);
    TRY(one_of(ctx, "packing", d->packing, "stream", "whole"));
    FAIL_IF(f != JSONL && (d->template || d->loss_on), ctx, ACR_E_CONFIG,
            "data: template and loss_on are for format jsonl, not %s", d->format);
    TRY(one_of(ctx, "template", d->template, "chatml", "plain"));
    TRY(one_of(ctx, "loss_on", d->loss_on, "completions", "all"));
    TRY(check_tokenizer(ctx, d, formats[f].text));
    FAIL_IF(!(d->validation_split >= 0 && d->validation_split < 1), ctx, ACR_E_CONFIG,
            "data: validation_split is %g; it is a share, from 0 to below 1", d->validation_split);
    FAIL_IF(d->validation && d->validation_split == 0, ctx, ACR_E_CONFIG,
            "data: without validation_split there is no part for validation");
    return ACR_OK;
}

/* -- probing and opening -------------------------------------------------- */
/* What a tokenizer holds: a cache of words, and so much a token. */
enum { TOKENIZER_BYTES = 4 << 20, TOKEN_BYTES = 160 };

acr_status acr__tokens_tokenizer_open(acr__tokens *s, const char *path)
{
    int fd;
    TRY(acr__file_open(s->ctx, path, &fd, &s->json_bytes));
    acr__file_end(fd);
    return acr__tokenizer_open(&s->own, s->ctx, path);
}

static void measure(acr__tokens *s, const acr__tokens_desc *d)
{
    const acr__corpus *c = &s->corpus;
    acr__tokens_info *info = &s->info;
    info->held_bytes = sizeof *s + 2 * ACR_TABLE_HELD + 4096;
    if (s->own || d->learn > 0)
        info->held_bytes += TOKENIZER_BYTES + TOKEN_BYTES * (size_t)(s->own ? acr__tokenizer_size(s->own) : d->learn);
    /* Either the buffer of a check, or the sequences being packed. JSON is parsed
     * into a tree of about sixteen times its length. */
    size_t packing = ACR_PACK_OPEN * (ACR_PACK_PIECES + 1) * sizeof(acr__piece);
    size_t json = (size_t)acr__max(s->json_bytes, acr__max(c->ids.header_bytes, c->labels.header_bytes));
    info->open_bytes =
        info->held_bytes + (size_t)acr__max((int64_t)packing, s->text_bytes) + 2 * ACR_IO_BYTES + 16 * json;
}

/* Nothing is learned from the set, and why. */
static acr_status nothing_to_learn(const acr__tokens *s, const acr__tokens_desc *d)
{
    const acr__tokens_odd *odd = &s->info.left_out;
    const char *part = d->validation ? "its part for validation" : "it";
    char where[4200];
    FAIL_IF(odd->tokens <= s->info.sequence_length, s->ctx, ACR_E_DATA,
            "%s: there is nothing to learn in %s: no token has one before it and is to be learned", s->corpus.place,
            part);
    TRY(acr__tokens_where(s, d, odd->document, where, sizeof where));
    return acr__fail(
        s->ctx, ACR_E_DATA,
        "%s: of the %lld tokens nothing is to be learned within data.sequence_length, %lld, and so with all "
        "%lld documents of %s; a longer sequence_length would do",
        where, (long long)odd->tokens, (long long)s->info.sequence_length, (long long)odd->count, part);
}

static acr_status make_sequences(acr__tokens *s, const acr__tokens_desc *d, bool whole)
{
    const acr__corpus *c = &s->corpus;
    FAIL_IF(c->tokens == 0, s->ctx, ACR_E_DATA, "%s: there is no token in it", c->place);
    s->info.vocabulary = c->vocabulary;
    TRY(acr__tokens_pack(s, d, whole));
    if (s->info.targets == 0)
        return nothing_to_learn(s, d);
    TRY(acr__table_end(&s->pieces));
    return acr__table_end(&s->firsts);
}

static acr_status open_token_file(acr__tokens *s, const acr__tokens_desc *d, bool whole)
{
    acr__token_file *file;
    TRY(whole ? acr__token_file_open(&file, s->ctx, d->path) : acr__token_file_probe(&file, s->ctx, d->path));
    acr__corpus_file(&s->corpus, s->ctx, file, s->place);
    const acr__token_head *head = acr__token_file_head(file);
    FAIL_IF(d->vocabulary > 0 && head->vocabulary > d->vocabulary, s->ctx, ACR_E_DATA,
            "%s: its tokens are of a vocabulary of %lld, the model's has %lld", s->place, (long long)head->vocabulary,
            (long long)d->vocabulary);
    FAIL_IF(s->tokenizer && strcmp(head->tokenizer, acr__tokenizer_hash(s->tokenizer)) != 0, s->ctx, ACR_E_DATA,
            "%s: its tokens are another tokenizer's than %s; tokenise the text again", s->place,
            d->tokenizer ? d->tokenizer : "the one in use");
    return ACR_OK;
}

static acr_status open_corpus(acr__tokens *s, const acr__tokens_desc *d, int format, bool whole)
{
    if (format == TENSORS)
        return acr__corpus_tensors(&s->corpus, s->ctx, d, whole);
    if (format == TOKENS)
        return open_token_file(s, d, whole);
    acr__token_file *file;
    TRY(acr__tokens_build(s, d, whole, &file));
    if (file)
        acr__corpus_file(&s->corpus, s->ctx, file, s->place);
    return ACR_OK;
}

static acr_status open_set(acr__tokens *s, const acr__tokens_desc *d, bool whole)
{
    int format = 0;
    TRY(check_desc(s->ctx, d, &format));
    s->place = acr__strdup(s->ctx, d->path ? d->path : "format: kjv");
    if (!s->place)
        return ACR_E_NO_MEMORY;
    s->whole = strcmp(d->packing ? d->packing : formats[format].packing, "whole") == 0;
    s->tokenizer = d->given;
    TRY(acr__cache_folder(s->ctx, d->cache, &s->cache));
    acr__table_begin(&s->pieces, s->ctx, sizeof(acr__piece), s->cache);
    acr__table_begin(&s->firsts, s->ctx, sizeof(int64_t), s->cache);
    if (d->tokenizer) {
        TRY(acr__tokens_tokenizer_open(s, d->tokenizer));
        s->tokenizer = s->own;
    }
    TRY(open_corpus(s, d, format, whole));
    int64_t length = d->sequence_length > 0 ? d->sequence_length : s->corpus.row;
    FAIL_IF(length > LONGEST, s->ctx, ACR_E_DATA, "%s: sequences of %lld tokens; at most %d are possible", s->place,
            (long long)length, LONGEST);
    s->info.sequence_length = length;
    measure(s, d);
    return s->corpus.ctx ? make_sequences(s, d, whole) : ACR_OK;
}

static acr_status new_set(acr__tokens **out, acr_context *ctx, const acr__tokens_desc *desc, bool whole)
{
    acr__tokens *s = acr__alloc(ctx, sizeof *s);
    if (!s)
        return ACR_E_NO_MEMORY;
    s->ctx = ctx;
    acr_status status = open_set(s, desc, whole);
    if (status == ACR_OK)
        *out = s;
    else
        acr__tokens_close(s);
    return status;
}

acr_status acr__tokens_probe(acr_context *ctx, const acr__tokens_desc *desc, acr__tokens_info *out)
{
    acr__tokens *s;
    TRY(new_set(&s, ctx, desc, false));
    *out = s->info;
    acr__tokens_close(s);
    return ACR_OK;
}

acr_status acr__tokens_open(acr__tokens **out, acr_context *ctx, const acr__tokens_desc *desc)
{
    return new_set(out, ctx, desc, true);
}

void acr__tokens_close(acr__tokens *set)
{
    if (!set)
        return;
    acr__table_close(&set->pieces);
    acr__table_close(&set->firsts);
    acr__corpus_close(&set->corpus);
    acr__tokenizer_close(set->own);
    acr__free(set->ctx, set->cache);
    acr__free(set->ctx, set->place);
    acr__free(set->ctx, set);
}

const acr__tokens_info *acr__tokens_info_of(const acr__tokens *set) { return &set->info; }

void acr__tokens_print(const acr__tokens *set, acr__data_print *print)
{
    const acr__token_file *file = set->corpus.file;
    *print = (acr__data_print){.what = "tokens", .place = set->place, .bytes = set->corpus.tokens * (int64_t)sizeof(int32_t)};
    if (file)
        memcpy(print->hash, acr__token_file_checksum(file), sizeof print->hash);
}

const acr__tokenizer *acr__tokens_tokenizer(const acr__tokens *set) { return set->tokenizer; }
