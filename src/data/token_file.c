/* token_file.c: writing and reading token files (token_file.h, docs/formats.md).
 *
 * Invariant: the foot is the last thing written, so counts and checksum are
 * known when they are, and a file without a whole foot is none. The checksum
 * covers every byte before the foot; head and foot each have a sum of their own,
 * so that a probe can believe them.
 *
 * Nothing here knows of text or of a tokenizer. */
#include "data/token_file.h"
#include "io/file.h"
#include "io/hash.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAGIC "ACRTOKEN"
static const char magic[8] = MAGIC; /* no terminator in the file */

enum {
    VERSION = 1,
    MASKED = 1,      /* of the flags */
    HEAD_BYTES = 72, /* magic 8, version 4, width 2, flags 2, vocabulary 8, eos 8, tokenizer 32, sum 8 */
    FOOT_BYTES = 56, /* tokens 8, documents 8, checksum 32, sum 8 */
    HASH_BYTES = ACR_HASH_TEXT - 1,
    END_BYTES = 8,
    IDS = ACR_IO_BYTES / 4, /* of one transfer */
};

static void put_le(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t take_le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static int width_of(int64_t vocabulary, bool masked) { return vocabulary <= 65536 && !masked ? 2 : 4; }

/* Zeros between the ids and the ends. */
static int64_t padding_of(int64_t id_bytes) { return -(HEAD_BYTES + id_bytes) & 7; }

/* ---- writing -------------------------------------------------------------------- */

struct acr__token_writer {
    acr_context *ctx;
    acr__atomic file;
    acr__atomic ends; /* the table while it grows: read back at commit, and never renamed */
    acr__token_head head;
    int width;
    int64_t tokens, documents, ended;
    acr__hash *hash; /* in hash_room, where its alignment allows */
    uint8_t hash_room[sizeof(acr__hash) + _Alignof(acr__hash)];
    uint8_t buffer[ACR_IO_BYTES];
};

static acr_status put(acr__token_writer *w, const void *bytes, size_t n)
{
    acr__hash_add(w->hash, bytes, n);
    return acr__atomic_write(&w->file, bytes, n);
}

static acr_status put_head(acr__token_writer *w)
{
    uint8_t *p = w->buffer;
    memcpy(p, magic, sizeof magic);
    put_le(p + 8, VERSION, 4);
    put_le(p + 12, (uint64_t)w->width, 2);
    put_le(p + 14, w->head.masked ? MASKED : 0, 2);
    put_le(p + 16, (uint64_t)w->head.vocabulary, 8);
    put_le(p + 24, (uint64_t)(int64_t)w->head.eos, 8);
    memcpy(p + 32, w->head.tokenizer, HASH_BYTES);
    put_le(p + 64, XXH3_64bits(p, HEAD_BYTES - 8), 8);
    return put(w, p, HEAD_BYTES);
}

static bool is_hash(const char *text)
{
    for (int i = 0; i < HASH_BYTES; i++)
        if (!text[i] || !strchr("0123456789abcdef", text[i]))
            return false;
    return true;
}

static acr_status writer_start(acr__token_writer *w, const char *path)
{
    TRY(acr__atomic_open(&w->file, w->ctx, path));
    TRY(acr__atomic_open(&w->ends, w->ctx, path));
    acr__hash_begin(w->hash);
    return put_head(w);
}

acr_status acr__token_writer_open(acr__token_writer **out, acr_context *ctx, const char *path,
                                  const acr__token_head *head)
{
    FAIL_IF(head->vocabulary < 1 || head->vocabulary > ACR_TOKEN_VOCABULARY, ctx, ACR_E_ARGUMENT,
            "%s: a vocabulary of %lld; 1 to %d is possible", path, (long long)head->vocabulary, ACR_TOKEN_VOCABULARY);
    FAIL_IF(head->eos < -1 || head->eos >= head->vocabulary, ctx, ACR_E_ARGUMENT,
            "%s: the end-of-text token %d is outside the vocabulary of %lld", path, head->eos,
            (long long)head->vocabulary);
    FAIL_IF(!is_hash(head->tokenizer), ctx, ACR_E_ARGUMENT, "%s: a tokenizer's hash has %d hex digits", path,
            HASH_BYTES);
    acr__token_writer *w = acr__alloc(ctx, sizeof *w);
    if (!w)
        return ACR_E_NO_MEMORY;
    w->ctx = ctx;
    w->head = *head;
    w->width = width_of(head->vocabulary, head->masked);
    w->hash = (acr__hash *)(w->hash_room + (-(uintptr_t)w->hash_room & (_Alignof(acr__hash) - 1)));
    acr_status status = writer_start(w, path);
    if (status != ACR_OK) {
        acr__token_writer_close(w);
        return status;
    }
    *out = w;
    return ACR_OK;
}

void acr__token_writer_close(acr__token_writer *w)
{
    if (!w)
        return;
    acr__atomic_abandon(&w->file);
    acr__atomic_abandon(&w->ends);
    acr__free(w->ctx, w);
}

int64_t acr__token_writer_tokens(const acr__token_writer *w) { return w->tokens; }

int64_t acr__token_writer_documents(const acr__token_writer *w) { return w->documents; }

acr_status acr__token_writer_add(acr__token_writer *w, const int32_t *ids, int64_t n)
{
    int32_t mark = w->head.masked ? ACR_TOKEN_UNLEARNED : 0;
    for (int64_t i = 0; i < n; i++)
        FAIL_IF(ids[i] < 0 || (ids[i] & ~mark) >= w->head.vocabulary, w->ctx, ACR_E_ARGUMENT,
                "%s: token %d is outside the vocabulary of %lld", w->file.path, ids[i], (long long)w->head.vocabulary);
    for (int64_t at = 0; at < n;) {
        int64_t part = acr__min(n - at, IDS);
        for (int64_t i = 0; i < part; i++)
            put_le(w->buffer + i * w->width, (uint64_t)ids[at + i], w->width);
        TRY(put(w, w->buffer, (size_t)(part * w->width)));
        at += part;
        w->tokens += part;
    }
    return ACR_OK;
}

acr_status acr__token_writer_document(acr__token_writer *w)
{
    uint8_t end[END_BYTES];
    put_le(end, (uint64_t)w->tokens, END_BYTES);
    TRY(acr__atomic_write(&w->ends, end, sizeof end));
    w->documents++;
    w->ended = w->tokens;
    return ACR_OK;
}

/* The table: what has gone to its file, then what its buffer still holds. */
static acr_status put_ends(acr__token_writer *w)
{
    int64_t filed = w->documents * END_BYTES - (int64_t)w->ends.used;
    for (int64_t at = 0; at < filed;) {
        int64_t part = acr__min(filed - at, (int64_t)sizeof w->buffer);
        TRY(acr__file_pread(w->ctx, w->ends.tmp, w->ends.fd, w->buffer, (size_t)part, at));
        TRY(put(w, w->buffer, (size_t)part));
        at += part;
    }
    return put(w, w->ends.buffer, w->ends.used);
}

acr_status acr__token_writer_commit(acr__token_writer *w)
{
    static const uint8_t zeros[8];
    uint8_t foot[FOOT_BYTES];
    char hash[ACR_HASH_TEXT];
    if (w->ended < w->tokens)
        TRY(acr__token_writer_document(w));
    TRY(put(w, zeros, (size_t)padding_of(w->tokens * w->width)));
    TRY(put_ends(w));
    acr__hash_text(w->hash, hash);
    put_le(foot, (uint64_t)w->tokens, 8);
    put_le(foot + 8, (uint64_t)w->documents, 8);
    memcpy(foot + 16, hash, HASH_BYTES);
    put_le(foot + 48, XXH3_64bits(foot, FOOT_BYTES - 8), 8);
    TRY(acr__atomic_write(&w->file, foot, sizeof foot));
    return acr__atomic_commit(&w->file);
}

/* ---- reading -------------------------------------------------------------------- */

struct acr__token_file {
    acr_context *ctx;
    char *path;
    int fd;
    acr__token_head head;
    int width;
    int64_t bytes, tokens, documents, table; /* table: offset of the ends */
    char checksum[ACR_HASH_TEXT];
};

static acr_status take_head(acr__token_file *f)
{
    uint8_t p[HEAD_BYTES];
    FAIL_IF(f->bytes < HEAD_BYTES + FOOT_BYTES, f->ctx, ACR_E_DATA,
            "%s: not a token file: it has %lld bytes, at least %d are needed; accrue tokenize FILE --out makes one",
            f->path, (long long)f->bytes, HEAD_BYTES + FOOT_BYTES);
    TRY(acr__file_pread(f->ctx, f->path, f->fd, p, sizeof p, 0));
    FAIL_IF(memcmp(p, magic, sizeof magic) != 0, f->ctx, ACR_E_DATA,
            "%s: not a token file: it does not begin with %s; accrue tokenize FILE --out makes one", f->path, MAGIC);
    uint64_t version = take_le(p + 8, 4), width = take_le(p + 12, 2), flags = take_le(p + 14, 2), vocabulary = take_le(p + 16, 8);
    int64_t eos = (int64_t)take_le(p + 24, 8);
    FAIL_IF(version != VERSION, f->ctx, ACR_E_DATA, "%s: a token file of version %llu; version %d is known", f->path,
            (unsigned long long)version, VERSION);
    FAIL_IF(take_le(p + 64, 8) != XXH3_64bits(p, HEAD_BYTES - 8), f->ctx, ACR_E_DATA,
            "%s: damaged: the head's checksum is wrong", f->path);
    FAIL_IF(flags > MASKED, f->ctx, ACR_E_DATA, "%s: its head has the flags %llu; 0 and %d are known", f->path,
            (unsigned long long)flags, MASKED);
    f->head.masked = flags == MASKED;
    FAIL_IF(vocabulary < 1 || vocabulary > ACR_TOKEN_VOCABULARY ||
                width != (uint64_t)width_of((int64_t)vocabulary, f->head.masked),
            f->ctx, ACR_E_DATA,
            "%s: a vocabulary of %llu with ids of %llu bytes; 1 to 65536 have 2 if none is marked, up to %d 4", f->path,
            (unsigned long long)vocabulary, (unsigned long long)width, ACR_TOKEN_VOCABULARY);
    FAIL_IF(eos < -1 || eos >= (int64_t)vocabulary, f->ctx, ACR_E_DATA,
            "%s: the end-of-text token %lld is outside the vocabulary of %llu", f->path, (long long)eos,
            (unsigned long long)vocabulary);
    memcpy(f->head.tokenizer, p + 32, HASH_BYTES);
    FAIL_IF(!is_hash(f->head.tokenizer), f->ctx, ACR_E_DATA, "%s: the head's tokenizer hash is not %d hex digits",
            f->path, HASH_BYTES);
    f->head.vocabulary = (int64_t)vocabulary;
    f->head.eos = (int32_t)eos;
    f->width = (int)width;
    return ACR_OK;
}

static acr_status take_foot(acr__token_file *f)
{
    uint8_t p[FOOT_BYTES];
    TRY(acr__file_pread(f->ctx, f->path, f->fd, p, sizeof p, f->bytes - FOOT_BYTES));
    FAIL_IF(take_le(p + 48, 8) != XXH3_64bits(p, FOOT_BYTES - 8), f->ctx, ACR_E_DATA,
            "%s: damaged: the checksum of its last %d bytes is wrong; was it cut?", f->path, FOOT_BYTES);
    uint64_t tokens = take_le(p, 8), documents = take_le(p + 8, 8);
    uint64_t room = (uint64_t)(f->bytes - HEAD_BYTES - FOOT_BYTES);
    bool fits = tokens <= room / (uint64_t)f->width && documents <= room / END_BYTES;
    if (fits) {
        int64_t id_bytes = (int64_t)tokens * f->width;
        f->table = HEAD_BYTES + id_bytes + padding_of(id_bytes);
        fits = f->table + (int64_t)documents * END_BYTES == f->bytes - FOOT_BYTES;
    }
    FAIL_IF(!fits, f->ctx, ACR_E_DATA, "%s: damaged: %llu tokens in %llu documents do not fill its %lld bytes", f->path,
            (unsigned long long)tokens, (unsigned long long)documents, (long long)f->bytes);
    FAIL_IF(tokens > 0 && documents == 0, f->ctx, ACR_E_DATA, "%s: damaged: %llu tokens and no document", f->path,
            (unsigned long long)tokens);
    f->tokens = (int64_t)tokens;
    f->documents = (int64_t)documents;
    memcpy(f->checksum, p + 16, HASH_BYTES);
    return ACR_OK;
}

static acr_status probe(acr__token_file *f)
{
    TRY(acr__file_open(f->ctx, f->path, &f->fd, &f->bytes));
    TRY(take_head(f));
    return take_foot(f);
}

acr_status acr__token_file_probe(acr__token_file **out, acr_context *ctx, const char *path)
{
    acr__token_file *f = acr__alloc(ctx, sizeof *f);
    if (!f)
        return ACR_E_NO_MEMORY;
    f->ctx = ctx;
    f->fd = -1;
    f->path = acr__strdup(ctx, path);
    acr_status status = f->path ? probe(f) : ACR_E_NO_MEMORY;
    if (status != ACR_OK) {
        acr__token_file_close(f);
        return status;
    }
    *out = f;
    return ACR_OK;
}

void acr__token_file_close(acr__token_file *f)
{
    if (!f)
        return;
    acr__file_end(f->fd);
    acr__free(f->ctx, f->path);
    acr__free(f->ctx, f);
}

const char *acr__token_file_path(const acr__token_file *f) { return f->path; }

bool acr__token_file_is(const char *path)
{
    char begin[sizeof magic] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is = fd >= 0 && pread(fd, begin, sizeof begin, 0) == (ssize_t)sizeof begin && memcmp(begin, magic, sizeof magic) == 0;
    if (fd >= 0)
        close(fd);
    return is;
}

const char *acr__token_file_checksum(const acr__token_file *f) { return f->checksum; }

const acr__token_head *acr__token_file_head(const acr__token_file *f) { return &f->head; }

int64_t acr__token_file_tokens(const acr__token_file *f) { return f->tokens; }

int64_t acr__token_file_documents(const acr__token_file *f) { return f->documents; }

/* The ids in `bytes` into out; both may be of any length. */
static void widen(const acr__token_file *f, const uint8_t *bytes, int64_t n, int32_t *out)
{
    if (f->width == 2)
        for (int64_t i = 0; i < n; i++)
            out[i] = (int32_t)take_le(bytes + 2 * i, 2);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = (int32_t)take_le(bytes + 4 * i, 4);
}

acr_status acr__token_file_read(const acr__token_file *f, int64_t first, int64_t n, int32_t *out)
{
    FAIL_IF(first < 0 || n < 0 || first > f->tokens || n > f->tokens - first, f->ctx, ACR_E_ARGUMENT,
            "%s: %lld tokens from %lld were asked for; it has %lld", f->path, (long long)n, (long long)first,
            (long long)f->tokens);
    /* The narrow ids are read into the last part of the wide ones' room; widening
     * from the front never overtakes what is still to be read. */
    uint8_t *raw = (uint8_t *)out + n * (4 - f->width);
    TRY(acr__file_pread(f->ctx, f->path, f->fd, raw, (size_t)(n * f->width), HEAD_BYTES + first * f->width));
    widen(f, raw, n, out);
    return ACR_OK;
}

acr_status acr__token_file_ends(const acr__token_file *f, int64_t first, int64_t n, int64_t *out)
{
    FAIL_IF(first < 0 || n < 0 || first > f->documents || n > f->documents - first, f->ctx, ACR_E_ARGUMENT,
            "%s: %lld documents from %lld were asked for; it has %lld", f->path, (long long)n, (long long)first,
            (long long)f->documents);
    TRY(acr__file_pread(f->ctx, f->path, f->fd, out, (size_t)(n * END_BYTES), f->table + first * END_BYTES));
    for (int64_t i = 0; i < n; i++)
        out[i] = (int64_t)take_le((const uint8_t *)(out + i), END_BYTES);
    return ACR_OK;
}

acr_status acr__token_file_find(const acr__token_file *f, int64_t token, int64_t *document)
{
    FAIL_IF(token < 0 || token >= f->tokens, f->ctx, ACR_E_ARGUMENT, "%s: token %lld was asked for; it has %lld",
            f->path, (long long)token, (long long)f->tokens);
    /* The first document whose end is behind the token; the last one's always is. */
    int64_t low = 0, high = f->documents - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2, end;
        TRY(acr__token_file_ends(f, middle, 1, &end));
        if (end > token)
            high = middle;
        else
            low = middle + 1;
    }
    *document = low;
    return ACR_OK;
}

/* ---- every byte once ------------------------------------------------------------ */

typedef struct check {
    int64_t last_end, document;
    uint8_t bytes[ACR_IO_BYTES];
} check;

static acr_status check_ids(const acr__token_file *f, check *c, int64_t first, int64_t n)
{
    uint64_t mark = f->head.masked ? ACR_TOKEN_UNLEARNED : 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t id = f->width == 2 ? take_le(c->bytes + 2 * i, 2) : take_le(c->bytes + 4 * i, 4);
        FAIL_IF((id & ~mark) >= (uint64_t)f->head.vocabulary, f->ctx, ACR_E_DATA,
                "%s: token %lld is %llu, outside its vocabulary of %lld", f->path, (long long)(first + i),
                (unsigned long long)id, (long long)f->head.vocabulary);
    }
    return ACR_OK;
}

static acr_status check_ends(const acr__token_file *f, check *c, int64_t n)
{
    for (int64_t i = 0; i < n; i++, c->document++) {
        uint64_t end = take_le(c->bytes + i * END_BYTES, END_BYTES);
        FAIL_IF(end < (uint64_t)c->last_end || end > (uint64_t)f->tokens, f->ctx, ACR_E_DATA,
                "%s: document %lld ends at token %llu; at least %lld, where the one before ends, and at most %lld is "
                "possible",
                f->path, (long long)c->document, (unsigned long long)end, (long long)c->last_end,
                (long long)f->tokens);
        c->last_end = (int64_t)end;
    }
    FAIL_IF(c->document == f->documents && c->last_end != f->tokens, f->ctx, ACR_E_DATA,
            "%s: its last document ends at token %lld of %lld", f->path, (long long)c->last_end, (long long)f->tokens);
    return ACR_OK;
}

static acr_status check_whole(const acr__token_file *f, check *c)
{
    int64_t ids_end = HEAD_BYTES + f->tokens * f->width, end = f->bytes - FOOT_BYTES;
    char hash[ACR_HASH_TEXT];
    acr__hash sum;
    acr__hash_begin(&sum);
    for (int64_t at = 0, n; at < end; at += n) {
        /* A transfer never crosses from one part of the file into the next. */
        int64_t stop = at < HEAD_BYTES ? HEAD_BYTES : at < ids_end ? ids_end : at < f->table ? f->table : end;
        n = acr__min(stop - at, ACR_IO_BYTES);
        FAIL_IF(acr_cancelled(f->ctx), f->ctx, ACR_E_CANCELLED, "%s: cancelled while it was being read", f->path);
        TRY(acr__file_pread(f->ctx, f->path, f->fd, c->bytes, (size_t)n, at));
        acr__hash_add(&sum, c->bytes, (size_t)n);
        if (at >= f->table)
            TRY(check_ends(f, c, n / END_BYTES));
        else if (at >= HEAD_BYTES && at < ids_end)
            TRY(check_ids(f, c, (at - HEAD_BYTES) / f->width, n / f->width));
    }
    acr__hash_text(&sum, hash);
    FAIL_IF(strcmp(hash, f->checksum) != 0, f->ctx, ACR_E_DATA,
            "%s: damaged: its checksum is %s, but its bytes give %s", f->path, f->checksum, hash);
    return ACR_OK;
}

acr_status acr__token_file_open(acr__token_file **out, acr_context *ctx, const char *path)
{
    acr__token_file *f;
    TRY(acr__token_file_probe(&f, ctx, path));
    check *c = acr__alloc(ctx, sizeof *c);
    acr_status status = c ? check_whole(f, c) : ACR_E_NO_MEMORY;
    acr__free(ctx, c);
    if (status != ACR_OK) {
        acr__token_file_close(f);
        return status;
    }
    *out = f;
    return ACR_OK;
}
