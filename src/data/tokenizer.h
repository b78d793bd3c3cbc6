/* tokenizer.h: text to token ids and back, as Hugging Face's tokenizers does it
 * for byte-level BPE.
 *
 *     open (tokenizer.json) | learn -> encode, decode, piece -> close
 *
 * Implemented: BPE over bytes; the pre-tokenizers ByteLevel, Split and Digits in
 * sequence; the normalizer NFC; added tokens with all their flags; ignore_merges;
 * TemplateProcessing. Anything else in the file that could change an id is
 * refused by name. docs/tokenizer.md tells the rest.
 *
 * Encoding works in memory that the tokenizer holds: one thread at a time. What
 * only reads (decode, piece, id, size, eos, hash, save) may be called from any. */
#ifndef ACR_DATA_TOKENIZER_H
#define ACR_DATA_TOKENIZER_H

#include "base/base.h"

#include <accrue/accrue_io.h>

typedef struct acr__tokenizer acr__tokenizer;

/* Grow as needed; zeroed to begin with; release with the *_free. */
typedef struct acr__ids {
    int32_t *id;
    int64_t count, room;
} acr__ids;
typedef struct acr__chars {
    char *bytes; /* a zero byte follows, not counted */
    size_t count, room;
} acr__chars;
acr_status acr__ids_add(acr_context *ctx, acr__ids *ids, const int32_t *id, int64_t n);
acr_status acr__chars_add(acr_context *ctx, acr__chars *chars, const void *bytes, size_t n);
void acr__ids_free(acr_context *ctx, acr__ids *ids);
void acr__chars_free(acr_context *ctx, acr__chars *chars);

/* ACR_E_DATA: not a tokenizer.json, damaged, or with a part that is not
 * implemented; the sentence names the part. */
acr_status acr__tokenizer_open(acr__tokenizer **out, acr_context *ctx, const char *path);
/* The same from memory; `name` begins the sentences. */
acr_status acr__tokenizer_parse(acr__tokenizer **out, acr_context *ctx, const char *name, const char *json, size_t n);
/* A tokenizer.json that Hugging Face loads, too. Atomic. */
acr_status acr__tokenizer_save(const acr__tokenizer *t, const char *path);
void acr__tokenizer_close(acr__tokenizer *t); /* takes NULL */

/* Appends the text's ids to *out; on failure *out is as it was. `special`: with
 * the tokens that the file's template puts around a text. Special tokens that are
 * written in the text are recognised in any case. ACR_E_DATA: the text is not
 * UTF-8 (the sentence says at which byte), or has a byte that this vocabulary
 * has no token for. At most ACR_TEXT_BYTES. */
enum { ACR_TEXT_BYTES = 1 << 30 };
acr_status acr__tokenizer_encode(const acr__tokenizer *t, acr__ids *out, const char *text, size_t bytes, bool special);
/* After much encoding, before none: gives back the 2 MB that made it fast. */
acr_status acr__tokenizer_rest(const acr__tokenizer *t);
/* Appends the bytes of the ids to *out. Ids may end within a character, so the
 * bytes need not be UTF-8. ACR_E_ARGUMENT: an id that is none. */
acr_status acr__tokenizer_decode(const acr__tokenizer *t, acr__chars *out, const int32_t *ids, int64_t count,
                                 bool skip_special);

/* Ids lie in [0, size); some may be unused. */
int64_t acr__tokenizer_size(const acr__tokenizer *t);
/* The bytes of one id, for streaming; NULL for an unused id. */
const char *acr__tokenizer_piece(const acr__tokenizer *t, int32_t id, size_t *bytes);
bool acr__tokenizer_special(const acr__tokenizer *t, int32_t id);
/* The id of an added token's content or of a vocabulary entry as the file writes
 * it; -1: there is none. */
int32_t acr__tokenizer_id(const acr__tokenizer *t, const char *token);
/* The token that ends a text: the first there is, among the special tokens, of
 * <|endoftext|>, <|end_of_text|>, </s>, <eos>; -1: none. */
int32_t acr__tokenizer_eos(const acr__tokenizer *t);
/* XXH3-128 over everything that ids depend on, so that two files of one
 * tokenizer, written differently, have one hash. */
const char *acr__tokenizer_hash(const acr__tokenizer *t);

/* ---- documents of any length ----------------------------------------------------
 * Gives the ids that encode gives for the whole document, while it holds a stretch
 * of it: it cuts where no rule of the tokenizer looks across. A document without
 * such a place in ACR_STRETCH_BYTES is refused; a tokenizer whose rules are not
 * known well enough (docs/tokenizer.md) needs documents of no more than that.
 *
 * begin, then add ... , end for each document; free. `where` begins sentences
 * about a text that is not UTF-8, with line and column after it. */
enum { ACR_STRETCH_BYTES = 16 << 20 };
typedef acr_status (*acr__piece_sink)(void *user, const char *piece, size_t n);
typedef struct acr__document {
    const acr__tokenizer *t;
    const char *where;
    bool special;
    acr__piece_sink each; /* for learning: takes the pieces in place of ids */
    void *user;
    acr__chars held;
    size_t whole, searched; /* of what is held: known to be UTF-8; without a place to cut */
    int64_t line, column;   /* of the first byte held, from 1; column in bytes */
} acr__document;
acr_status acr__document_begin(acr__document *d, const acr__tokenizer *t, const char *where, bool special,
                               acr__ids *out);
/* Appends to *out what is certain by now. */
acr_status acr__document_add(acr__document *d, const char *text, size_t bytes, acr__ids *out);
acr_status acr__document_end(acr__document *d, acr__ids *out);
void acr__document_free(acr__document *d);

/* ---- learning ------------------------------------------------------------------
 * Byte-level BPE over what `next` gives, text of any length a call: *text NULL:
 * no more; *last: the document ends with this text. Byte-for-byte deterministic:
 * the pair that is most frequent is joined next, of several the one with the
 * smaller left id, then the smaller right id. Id 0 is <|endoftext|>, then the 256
 * bytes in the order of their symbols, then the joined ones. Pairs that occur
 * once are not joined, so a short text gives fewer tokens than asked for. */
typedef struct acr__text_reader {
    acr_status (*next)(void *user, const char **text, size_t *bytes, bool *last);
    void *user;
    const char *where; /* begins sentences about the text */
} acr__text_reader;
typedef enum acr__split_kind { ACR_SPLIT_GPT2, ACR_SPLIT_LLAMA3, ACR_SPLIT_QWEN2 } acr__split_kind;
enum { ACR_LEARN_LEAST = 257, ACR_LEARN_MOST = 1 << 20 };
/* vocab: ACR_LEARN_LEAST to ACR_LEARN_MOST. Memory grows with the distinct words,
 * not with the text. ACR_E_DATA: not UTF-8, or nothing to learn from. */
acr_status acr__tokenizer_learn(acr__tokenizer **out, acr_context *ctx, int64_t vocab, acr__split_kind split,
                                const acr__text_reader *reader);

#endif
