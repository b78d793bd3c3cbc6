/* token_file.h: token files, what `accrue tokenize --out` writes: the ids of many
 * documents one after another, and where each document ends.
 *
 *     head | ids, u16 or u32 | zeros to 8 bytes | ends of the documents, u64 | foot
 *
 * docs/formats.md has every byte. Numbers are little-endian. Ids are read where
 * they lie, with pread; memory grows neither with the tokens nor with the
 * documents, on either side. Sentences begin with the path. */
#ifndef ACR_DATA_TOKEN_FILE_H
#define ACR_DATA_TOKEN_FILE_H

#include "base/base.h"

#include <accrue/accrue_io.h>

enum {
    ACR_TOKEN_VOCABULARY = 1 << 24, /* the largest; ids lie in [0, vocabulary) */
    ACR_TOKEN_UNLEARNED = 1 << 30,  /* in a masked file, added to an id: it is read, but not to be learned */
};

/* What the ids mean. */
typedef struct acr__token_head {
    int64_t vocabulary;            /* 1 to ACR_TOKEN_VOCABULARY; up to 65536 an id takes two bytes */
    int32_t eos;                   /* the token that ends each document; -1: none does */
    char tokenizer[ACR_HASH_TEXT]; /* acr__tokenizer_hash */
    bool masked;                   /* tokens may be marked ACR_TOKEN_UNLEARNED; an id takes four bytes then */
} acr__token_head;

/* ---- writing ------------------------------------------------------------------
 * open, then add and document in any order, then commit. The file appears whole,
 * at commit, or not at all. After a failure only close is of use. */
typedef struct acr__token_writer acr__token_writer;
/* head is copied. ACR_E_ARGUMENT: it is out of range; ACR_E_IO. */
acr_status acr__token_writer_open(acr__token_writer **out, acr_context *ctx, const char *path,
                                  const acr__token_head *head);
/* ACR_E_ARGUMENT: an id outside the vocabulary; nothing is added then. */
acr_status acr__token_writer_add(acr__token_writer *w, const int32_t *ids, int64_t n);
/* The document ends here; it may be empty. */
acr_status acr__token_writer_document(acr__token_writer *w);
/* What was added since the last end is a document too. */
acr_status acr__token_writer_commit(acr__token_writer *w);
int64_t acr__token_writer_tokens(const acr__token_writer *w);
int64_t acr__token_writer_documents(const acr__token_writer *w);
void acr__token_writer_close(acr__token_writer *w); /* takes NULL; without commit nothing remains */

/* ---- reading ------------------------------------------------------------------
 * An open file is read-only: several threads may read it. Its context must
 * outlive it. */
typedef struct acr__token_file acr__token_file;
/* Whether the file begins as one. */
bool acr__token_file_is(const char *path);
/* probe reads head and foot and holds them against the length: for a plan. open
 * then reads every byte once: the checksum, each id in the vocabulary, the ends
 * in order. ACR_E_DATA: missing, damaged, or no token file. */
acr_status acr__token_file_probe(acr__token_file **out, acr_context *ctx, const char *path);
acr_status acr__token_file_open(acr__token_file **out, acr_context *ctx, const char *path);
void acr__token_file_close(acr__token_file *f); /* takes NULL */

const char *acr__token_file_path(const acr__token_file *f);
const char *acr__token_file_checksum(const acr__token_file *f); /* XXH3-128 of its tokens, their ends and its head */
const acr__token_head *acr__token_file_head(const acr__token_file *f);
int64_t acr__token_file_tokens(const acr__token_file *f);
int64_t acr__token_file_documents(const acr__token_file *f);
/* The n tokens from `first` on, marks included. ACR_E_ARGUMENT: they are not all in the file. */
acr_status acr__token_file_read(const acr__token_file *f, int64_t first, int64_t n, int32_t *out);
/* The ends (in tokens; one past the last) of the n documents from `first` on.
 * Document d is [end of d-1, or 0; end of d). */
acr_status acr__token_file_ends(const acr__token_file *f, int64_t first, int64_t n, int64_t *out);
/* The document that holds the token: a binary search by pread. */
acr_status acr__token_file_find(const acr__token_file *f, int64_t token, int64_t *document);

#endif
