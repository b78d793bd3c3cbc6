/* tokenizer_parts.h: what the files of a tokenizer share. The way of a text:
 *
 *     added tokens (as written) -> NFC -> added tokens (normalised)
 *         -> the steps of the pre-tokenizer -> pieces -> BPE -> ids
 *
 * tokenizer.c walks it; each part below is one file. */
#ifndef ACR_DATA_TOKENIZER_PARTS_H
#define ACR_DATA_TOKENIZER_PARTS_H

#include "base/utf8.h"
#include "data/tokenizer.h"

/* ---- tokenizer_text.c: UTF-8 and its characters ------------------------------- */
/* The character that ends before `end`. */
uint32_t acr__utf8_before(const char *text, size_t end);
/* Appends one character. */
size_t acr__utf8_put(uint32_t c, char out[4]);
bool acr__is_space(uint32_t c); /* Unicode's White_Space */
bool acr__is_word(uint32_t c);  /* what a regular expression's \w is to Unicode */
/* Whether NFC leaves any text of such characters as it is, whatever is beside it. */
bool acr__nfc_inert(const char *text, size_t n);
typedef struct acr__nfc_room {
    acr__chars text; /* what acr__nfc made */
    int32_t *points; /* scratch */
    size_t count;
} acr__nfc_room;
acr_status acr__nfc(acr_context *ctx, const char *text, size_t n, acr__nfc_room *room);
void acr__nfc_free(acr_context *ctx, acr__nfc_room *room);
/* The byte that a byte-level symbol's character stands for; -1: it is none. */
int acr__symbol_byte(uint32_t c);
uint32_t acr__symbol_char(uint8_t byte);

/* ---- tokenizer_split.c: regular expressions ------------------------------------ */
typedef struct acr__split acr__split;
/* literal: the text itself. ACR_E_DATA: a construct that Hugging Face's engine may
 * read differently, or that is wrong; `where` begins the sentence. */
acr_status acr__split_create(acr__split **out, acr_context *ctx, const char *where, const char *pattern, size_t n,
                             bool literal);
void acr__split_destroy(acr__split *s); /* takes NULL */
/* The first match at or behind `from`; *begin == n: none. */
acr_status acr__split_next(acr__split *s, const char *text, size_t n, size_t from, size_t *begin, size_t *end);
/* Of the patterns that are known well: no match depends on what is behind the
 * places where acr__document cuts. */
bool acr__split_known(const acr__split *s);
extern const char *const acr__split_patterns[3]; /* by acr__split_kind */

/* ---- tokenizer_added.c: added tokens -------------------------------------------- */
typedef struct acr__added {
    char *text; /* to be found; of a normalised one, after NFC */
    size_t bytes;
    int32_t id;
    bool special, normalized, lstrip, rstrip, single_word;
} acr__added;
/* Some of the added tokens, to be found in a text: sorted, longest wins. */
typedef struct acr__finder {
    acr__added **token;
    int64_t count;
    bool first[256]; /* bytes that a token begins with */
} acr__finder;
acr_status acr__finder_create(acr__finder *f, acr_context *ctx, acr__added *all, int64_t count, bool normalized);
void acr__finder_free(acr__finder *f, acr_context *ctx);
/* Walks over a text: the ordinary stretch before the next added token, and it. */
typedef struct acr__found {
    size_t search, done; /* where the next match may begin; what has been given */
    size_t begin, end;   /* the stretch before the token, maybe empty */
    const acr__added *token; /* NULL: the text's end */
} acr__found;
void acr__finder_next(const acr__finder *f, const char *text, size_t n, acr__found *at);

/* ---- tokenizer_bpe.c: the vocabulary and its merges --------------------------------- */
typedef struct acr__bpe acr__bpe;
/* ids lie in [0, size). */
acr_status acr__bpe_create(acr__bpe **out, acr_context *ctx, const char *where, int64_t size, int64_t merges);
void acr__bpe_destroy(acr__bpe *b); /* takes NULL */
/* A vocabulary entry; text is UTF-8, as the file has it. ACR_E_DATA: the id or the text is taken. */
acr_status acr__bpe_symbol(acr__bpe *b, int32_t id, const char *text, size_t n);
/* An id that only an added token has, or whose bytes are its content. */
acr_status acr__bpe_content(acr__bpe *b, int32_t id, const char *text, size_t n);
/* After the symbols; the first merge has rank 0. ACR_E_DATA: a part or the whole is no symbol. */
acr_status acr__bpe_merge(acr__bpe *b, int64_t rank, const char *left, size_t left_n, const char *right,
                          size_t right_n);
/* After the merges. */
acr_status acr__bpe_finish(acr__bpe *b, bool ignore_merges);
/* Forgets which pieces came last, 2 MB; the next ones are looked up anew. */
acr_status acr__bpe_rest(acr__bpe *b);
int32_t acr__bpe_find(const acr__bpe *b, const char *text, size_t n); /* -1: no such symbol */
const char *acr__bpe_text(const acr__bpe *b, int32_t id, size_t *n);  /* the symbol; NULL: the vocabulary has none */
const char *acr__bpe_piece(const acr__bpe *b, int32_t id, size_t *n); /* its bytes; NULL: unused */
int64_t acr__bpe_merges(const acr__bpe *b);
void acr__bpe_pair(const acr__bpe *b, int64_t rank, int32_t *left, int32_t *right);
/* One piece of the pre-tokenizer, as bytes. */
acr_status acr__bpe_encode(acr__bpe *b, const char *piece, size_t n, acr__ids *out);

/* ---- tokenizer.c: the whole ------------------------------------------------------ */
enum { ACR_STEPS = 32 };
typedef struct acr__step {
    acr__split *split; /* NULL: puts a space before a text that has none there */
    bool drop;         /* what lies between matches is dropped, not a piece */
} acr__step;

struct acr__tokenizer {
    acr_context *ctx;
    char *name;
    char *rest; /* the file without vocabulary and merges, as compact JSON with sorted keys */
    int64_t size;
    acr__bpe *bpe;
    bool nfc;
    int step_count;
    acr__step step[ACR_STEPS];
    acr__added *added; /* in the order of the file */
    int64_t added_count;
    acr__finder written, normalized;
    acr__ids before, after; /* the template's tokens */
    int32_t eos;
    bool cut_at_newline, cut_at_space;
    char hash[ACR_HASH_TEXT];
    acr__nfc_room nfc_room; /* scratch of encode, as is the next */
    acr__chars prefixed;
};

/* tokenizer_json.c: fills a zeroed tokenizer with ctx and name. */
acr_status acr__tokenizer_read_json(acr__tokenizer *t, const char *json, size_t n);
/* What follows from the rest: hash, end-of-text token, where a text may be cut. */
void acr__tokenizer_ready(acr__tokenizer *t);
/* Hands each piece of a text to `each` in place of BPE: for learning. */
acr_status acr__tokenizer_pieces(acr__tokenizer *t, const char *text, size_t n, acr__piece_sink each, void *user);
/* tokenizer_stream.c: where the text may be cut, as late as possible but not
 * before `from`; 0: nowhere. */
size_t acr__tokenizer_cut(const acr__tokenizer *t, const char *text, size_t n, size_t from);

#endif
