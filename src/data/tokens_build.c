/* tokens_build.c: from text to a token file, once.
 *
 * Invariant: what is believed was written whole. A token file and a learned
 * tokenizer appear in the cache folder by rename, under a name that is the hash
 * of everything they depend on: each file's real path, size and time of change,
 * the tokenizer, the template, this code's version. A token file's own checksum
 * is verified whenever it is opened; one that fails is made again.
 *
 * Where the cache folder can't be written, a file in TMPDIR or /tmp, removed as
 * soon as it is open, serves this process alone, and a tokenizer is learned
 * again by the next. Nothing else is ever removed but what dead runs left. */
#define _GNU_SOURCE
#include "data/cache.h"
#include "data/template.h"
#include "data/texts.h"
#include "data/tokens_set.h"
#include "io/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* To be changed whenever the same text would give other tokens. */
static const char version[] = "accrue tokens 1";

typedef struct build {
    acr_context *ctx;
    const acr__tokens_desc *d;
    acr__tokens *s;
    bool whole; /* else a probe: nothing is made */
    bool jsonl, kjv;
    acr__files files;
    acr__hash sources;
    acr__token_writer *w;
    acr__ids ids;
    bool failed; /* the last failure was the token file's, not the text's */
} build;

/* -- where things come from and go ---------------------------------------- */
static acr_status find_sources(build *b)
{
    acr__hash_begin(&b->sources);
    acr__hash_add(&b->sources, version, sizeof version);
    acr__hash_add(&b->sources, b->d->format, strlen(b->d->format) + 1);
    if (!b->kjv) {
        TRY(acr__files_find(&b->files, b->ctx, b->d->path, b->jsonl ? ".jsonl" : ".txt"));
        return acr__files_identify(&b->files, &b->sources);
    }
    char *program;
    int64_t bytes;
    TRY(acr__kjv_program(b->ctx, &program));
    acr_status status = acr__file_identify(b->ctx, program, &b->sources, &bytes);
    acr__free(b->ctx, program);
    return status;
}

/* FOLDER/KEY.what, KEY the hash of the sources and of `more`; *path NULL: there is
 * no folder. */
static acr_status cached_path(build *b, const char *more, const char *what, char **path)
{
    char name[ACR_HASH_TEXT + 32];
    acr__hash key = b->sources;
    *path = NULL;
    if (!b->s->cache)
        return ACR_OK;
    acr__hash_add(&key, more, strlen(more) + 1);
    acr__hash_text(&key, name);
    snprintf(name + ACR_HASH_TEXT - 1, sizeof name - ACR_HASH_TEXT + 1, ".%s", what);
    *path = acr__path_join(b->ctx, b->s->cache, name);
    return *path ? ACR_OK : ACR_E_NO_MEMORY;
}

static void begin_texts(build *b, acr__texts *texts)
{
    acr__texts_begin(texts, b->ctx, b->kjv ? ACR_TEXTS_KJV : b->jsonl ? ACR_TEXTS_JSONL : ACR_TEXTS_FILES, &b->files);
}

/* -- the tokenizer -------------------------------------------------------- */
static acr_status learn(build *b, const char *path)
{
    acr__texts texts;
    begin_texts(b, &texts);
    acr__text_reader reader = {acr__texts_next, &texts, b->s->place};
    acr_status status = acr__tokenizer_learn(&b->s->own, b->ctx, b->d->learn, ACR_SPLIT_GPT2, &reader);
    acr__texts_close(&texts);
    TRY(status);
    /* Keeping it only saves time. */
    if (path && acr__folder_create(b->ctx, b->s->cache) == ACR_OK)
        (void)acr__tokenizer_save(b->s->own, path);
    return ACR_OK;
}

static acr_status find_learned(build *b)
{
    char more[32], *path;
    snprintf(more, sizeof more, "learn %lld", (long long)b->d->learn);
    TRY(cached_path(b, more, "tokenizer.json", &path));
    acr_status status = ACR_OK;
    bool there = path && acr__file_kind(path) == 1 && acr__tokens_tokenizer_open(b->s, path) == ACR_OK;
    if (!there && b->whole)
        status = learn(b, path);
    acr__free(b->ctx, path);
    return status;
}

static acr_status find_tokenizer(build *b)
{
    if (b->d->learn > 0)
        TRY(find_learned(b));
    if (b->s->own)
        b->s->tokenizer = b->s->own;
    int64_t size = b->s->tokenizer ? acr__tokenizer_size(b->s->tokenizer) : b->d->learn;
    FAIL_IF(b->d->vocabulary > 0 && size > b->d->vocabulary, b->ctx, ACR_E_DATA,
            "%s: the tokenizer has %lld tokens, the model's vocabulary %lld", b->s->place, (long long)size,
            (long long)b->d->vocabulary);
    b->s->info.vocabulary = size;
    return ACR_OK;
}

/* -- tokens --------------------------------------------------------------- */
static acr_status put(build *b)
{
    acr_status status = acr__token_writer_add(b->w, b->ids.id, b->ids.count);
    b->failed = status != ACR_OK;
    b->ids.count = 0;
    return status;
}

static acr_status end_document(build *b)
{
    TRY(put(b));
    acr_status status = acr__token_writer_document(b->w);
    b->failed = status != ACR_OK;
    return status;
}

/* The rest of the document that `text` begins. */
static acr_status tokenise_document(build *b, acr__texts *texts, acr__document *doc, const char *text, size_t bytes,
                                    bool last)
{
    int32_t eos = acr__tokenizer_eos(b->s->tokenizer), ended = -1;
    for (;;) {
        TRY(acr__document_add(doc, text, bytes, &b->ids));
        if (last)
            break;
        ended = b->ids.count > 0 ? b->ids.id[b->ids.count - 1] : ended;
        TRY(put(b));
        TRY(acr__texts_next(texts, &text, &bytes, &last));
    }
    TRY(acr__document_end(doc, &b->ids));
    ended = b->ids.count > 0 ? b->ids.id[b->ids.count - 1] : ended;
    if (eos >= 0 && ended != eos)
        TRY(acr__ids_add(b->ctx, &b->ids, &eos, 1));
    return end_document(b);
}

static acr_status tokenise_texts(build *b, acr__texts *texts)
{
    for (;;) {
        const char *text;
        size_t bytes;
        bool last;
        acr__document doc;
        TRY(acr__texts_next(texts, &text, &bytes, &last));
        if (!text)
            return ACR_OK;
        TRY(acr__document_begin(&doc, b->s->tokenizer, texts->where, true, &b->ids));
        acr_status status = tokenise_document(b, texts, &doc, text, bytes, last);
        acr__document_free(&doc);
        TRY(status);
    }
}

static acr_status tokenise_lines(build *b, acr__template *how, acr__jsonl *j)
{
    for (;;) {
        const acr__sample *sample;
        FAIL_IF(acr_cancelled(b->ctx), b->ctx, ACR_E_CANCELLED, "%s: cancelled while it was being read", j->lines.path);
        TRY(acr__jsonl_next(j, &sample));
        if (!sample)
            return ACR_OK;
        TRY(acr__template_encode(how, j->lines.path, j->lines.line, sample, &b->ids));
        TRY(end_document(b));
    }
}

static acr_status tokenise_jsonl(build *b)
{
    acr__template how;
    TRY(acr__template_open(&how, b->ctx, b->s->tokenizer,
                           b->d->template && strcmp(b->d->template, "plain") == 0 ? ACR_CHAT_PLAIN : ACR_CHAT_CHATML,
                           b->d->loss_on && strcmp(b->d->loss_on, "all") == 0));
    acr_status status = ACR_OK;
    for (int64_t i = 0; i < b->files.count && status == ACR_OK; i++) {
        acr__jsonl j;
        status = acr__jsonl_open(&j, b->ctx, b->files.path[i]);
        if (status == ACR_OK)
            status = tokenise_lines(b, &how, &j);
        acr__jsonl_close(&j);
    }
    acr__template_close(&how);
    return status;
}

static acr_status tokenise(build *b)
{
    if (b->jsonl)
        return tokenise_jsonl(b);
    acr__texts texts;
    begin_texts(b, &texts);
    acr_status status = tokenise_texts(b, &texts);
    acr__texts_close(&texts);
    return status;
}

/* -- the token file ------------------------------------------------------- */
static acr_status write_file(build *b, const char *path)
{
    acr__token_head head = {.vocabulary = acr__tokenizer_size(b->s->tokenizer),
                            .eos = acr__tokenizer_eos(b->s->tokenizer),
                            .masked = b->jsonl};
    memcpy(head.tokenizer, acr__tokenizer_hash(b->s->tokenizer), ACR_HASH_TEXT);
    b->failed = true;
    TRY(acr__token_writer_open(&b->w, b->ctx, path, &head));
    b->failed = false;
    b->ids.count = 0;
    acr_status status = tokenise(b);
    if (status == ACR_OK) {
        status = acr__token_writer_commit(b->w);
        b->failed = status != ACR_OK;
    }
    acr__token_writer_close(b->w);
    b->w = NULL;
    if (status == ACR_OK) /* the plan counts what is held now, and must not depend on the cache */
        status = acr__tokenizer_rest(b->s->tokenizer);
    return status;
}

static acr_status make_cached(build *b, const char *path, acr__token_file **file)
{
    b->failed = true;
    TRY(acr__folder_create(b->ctx, b->s->cache));
    acr__folder_clean(b->ctx, b->s->cache, false);
    TRY(write_file(b, path));
    b->failed = true;
    return acr__token_file_open(file, b->ctx, path);
}

/* In a folder of our own, because a name that can be guessed could be somebody
 * else's link. Both are gone when the file is open. */
static acr_status make_nameless(build *b, const char *folder, acr__token_file **file)
{
    char *own = acr__path_join(b->ctx, folder, "accrue.XXXXXX");
    if (!own)
        return ACR_E_NO_MEMORY;
    acr_status status = ACR_E_IO;
    char *path = NULL;
    b->failed = true;
    if (mkdtemp(own)) {
        path = acr__path_join(b->ctx, own, "tokens");
        status = path ? write_file(b, path) : ACR_E_NO_MEMORY;
        if (status == ACR_OK)
            status = acr__token_file_open(file, b->ctx, path);
        if (path)
            unlink(path);
        rmdir(own);
    } else {
        acr__fail(b->ctx, status, "%s: no folder could be made there", folder);
    }
    acr__free(b->ctx, path);
    acr__free(b->ctx, own);
    return status;
}

static acr_status find_room(build *b, const char *path, acr__token_file **file)
{
    acr_status status = ACR_E_IO;
    b->failed = true;
    if (path)
        status = make_cached(b, path, file);
    for (int i = 0; status != ACR_OK && status != ACR_E_NO_MEMORY && b->failed && acr__cache_other(i); i++)
        status = make_nameless(b, acr__cache_other(i), file);
    FAIL_IF(status != ACR_OK && status != ACR_E_NO_MEMORY && b->failed, b->ctx, status,
            "%s: there is no room for its tokens in %s, nor in TMPDIR or /tmp (%.400s)", b->s->place,
            b->s->cache ? b->s->cache : "a cache folder (set XDG_CACHE_HOME)", acr_error(b->ctx));
    return status;
}

static acr_status find_tokens(build *b, acr__token_file **file)
{
    char more[128], *path;
    snprintf(more, sizeof more, "%s %s %s", acr__tokenizer_hash(b->s->tokenizer),
             b->jsonl && b->d->template ? b->d->template : "chatml",
             b->jsonl && b->d->loss_on ? b->d->loss_on : "completions");
    TRY(cached_path(b, more, "tokens", &path));
    acr_status status = ACR_OK;
    bool there = path && acr__file_kind(path) == 1 &&
                 (b->whole ? acr__token_file_open(file, b->ctx, path) : acr__token_file_probe(file, b->ctx, path)) ==
                     ACR_OK;
    if (!there && b->whole)
        status = find_room(b, path, file);
    acr__free(b->ctx, path);
    return status;
}

/* What making tokens takes, about: a stretch of text with its ids, or a line, its
 * JSON and its ids; and of a learner the words, which are far fewer than the text. */
static int64_t memory_needed(const build *b, bool learns)
{
    const int64_t mib = 1 << 20, stretch = 6 * mib;
    int64_t line = acr__min(b->files.largest, ACR_JSONL_BYTES), text = b->kjv ? 5 * mib : b->files.bytes;
    int64_t lists = b->files.count * 256, words = learns ? 4 * mib + acr__min(2 * text, 64 * mib) : 0;
    return lists + words + (b->jsonl ? 2 * mib + 6 * line : stretch);
}

acr_status acr__tokens_build(acr__tokens *s, const acr__tokens_desc *desc, bool whole, acr__token_file **file)
{
    build b = {.ctx = s->ctx, .d = desc, .s = s, .whole = whole};
    b.jsonl = strcmp(desc->format, "jsonl") == 0;
    b.kjv = strcmp(desc->format, "kjv") == 0;
    *file = NULL;
    acr_status status = find_sources(&b);
    if (status == ACR_OK)
        status = find_tokenizer(&b);
    if (status == ACR_OK && s->tokenizer)
        status = find_tokens(&b, file);
    if (status == ACR_OK && !whole && !*file)
        s->text_bytes = memory_needed(&b, !s->tokenizer);
    acr__ids_free(b.ctx, &b.ids);
    acr__files_free(&b.files);
    return status;
}

/* -- back from tokens to text ------------------------------------------------ */
static acr_status find_line(const acr__files *files, acr_context *ctx, int64_t document, char *out, size_t size)
{
    for (int64_t i = 0; i < files->count; i++) {
        acr__jsonl j;
        int64_t passed = 0, line = 0;
        acr_status status = acr__jsonl_open(&j, ctx, files->path[i]);
        if (status == ACR_OK) {
            status = acr__jsonl_skip(&j, document + 1, &passed);
            line = j.lines.line;
        }
        acr__jsonl_close(&j);
        TRY(status);
        if (passed > document) {
            snprintf(out, size, "%s:%lld", files->path[i], (long long)line);
            return ACR_OK;
        }
        document -= passed;
    }
    return acr__fail(ctx, ACR_E_DATA, "%s: has changed since it was opened: document %lld is no longer there",
                     files->count ? files->path[0] : "data", (long long)document + 1);
}

acr_status acr__tokens_where(const acr__tokens *set, const acr__tokens_desc *desc, int64_t document, char *out,
                             size_t size)
{
    acr__files files = {0};
    if (strcmp(desc->format, "jsonl") != 0) {
        snprintf(out, size, "%s: document %lld", set->place, (long long)document + 1);
        return ACR_OK;
    }
    acr_status status = acr__files_find(&files, set->ctx, desc->path, ".jsonl");
    if (status == ACR_OK)
        status = find_line(&files, set->ctx, document, out, size);
    acr__files_free(&files);
    return status;
}
