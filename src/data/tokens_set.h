/* tokens_set.h: an open set of sequences. Shared by the files that open one
 * (tokens.c), read its tokens (tokens_corpus.c), make its sequences
 * (tokens_pack.c) and read from them (tokens_source.c). */
#ifndef ACR_DATA_TOKENS_SET_H
#define ACR_DATA_TOKENS_SET_H

#include "data/array.h"
#include "data/table.h"
#include "data/token_file.h"
#include "data/tokenizer.h"
#include "data/tokens.h"

enum {
    ACR_IGNORED = -100,      /* the target of a row that isn't learned from */
    ACR_CORPUS_BLOCK = 1024, /* tokens read at once */
    /* packing: whole */
    ACR_PACK_OPEN = 64,    /* sequences that may still take a document */
    ACR_PACK_PIECES = 512, /* documents in one sequence, at most */
};

/* Documents, one after another, whatever the files: a token file, or two tensors
 * whose rows are the documents. */
typedef struct acr__corpus {
    acr_context *ctx;
    const char *place; /* for sentences; borrowed from what is below */
    int64_t tokens, documents;
    bool masked;           /* some tokens may not be learned: they must be read to be counted */
    acr__token_file *file; /* NULL: the tensors */
    acr__array ids, labels;
    bool labelled;       /* else the ids are the labels */
    int64_t row;         /* tokens of a document */
    int64_t vocabulary;  /* ids are below; of tensors 0 until they were checked */
} acr__corpus;

/* The description's tensors: their heads, and with `whole` every byte. After a
 * failure there is nothing to close. */
acr_status acr__corpus_tensors(acr__corpus *c, acr_context *ctx, const acr__tokens_desc *desc, bool whole);
/* The file is the corpus's from now on. */
void acr__corpus_file(acr__corpus *c, acr_context *ctx, acr__token_file *file, const char *place);
void acr__corpus_close(acr__corpus *c); /* takes a zeroed one */
/* One past the last token of the n documents from `first` on. */
acr_status acr__corpus_ends(const acr__corpus *c, int64_t first, int64_t n, int64_t *out);
/* n rows, at most ACR_CORPUS_BLOCK, of one document, from token `at` on. `next`:
 * the token behind them belongs to the document and may be the last row's
 * target. Both outputs have room for n + 1. */
acr_status acr__corpus_read(const acr__corpus *c, int64_t at, int64_t n, bool next, int32_t *ids, int32_t *targets);

/* Rows of one document that lie in one sequence. */
typedef struct acr__piece {
    int64_t start; /* the first row's token */
    int32_t rows;
    int32_t next; /* 1: the token behind the last row may be its target */
} acr__piece;

struct acr__tokens {
    acr_context *ctx;
    acr__tokens_info info;
    acr__corpus corpus;
    bool whole; /* the packing */
    char *cache; /* the folder; NULL: there is none to use */
    char *place; /* for sentences */
    const acr__tokenizer *tokenizer; /* NULL: none is known */
    acr__tokenizer *own;             /* the same, unless it was given */
    int64_t json_bytes;              /* of the file that it comes from */
    int64_t text_bytes;              /* of a probe: memory that tokenising takes, about; 0: it is done */
    acr__table pieces; /* acr__piece, by sequence */
    acr__table firsts; /* int64_t: the first piece of each sequence, and one past the last */
};

/* The set's own tokenizer, from a file. */
acr_status acr__tokens_tokenizer_open(acr__tokens *s, const char *path);
/* Of text: the tokenizer, and the token file, which is made if need be. Without
 * `whole` nothing is made, and *file is NULL where there is none yet. */
acr_status acr__tokens_build(acr__tokens *s, const acr__tokens_desc *desc, bool whole, acr__token_file **file);

/* Decides which sequences there are and counts them into info; with `keep` the
 * tables are filled. */
acr_status acr__tokens_pack(acr__tokens *s, const acr__tokens_desc *desc, bool keep);

#endif
