/* tokens.h: a language model's data set: documents of tokens as sequences that a
 * graph can eat.
 *
 *     describe -> probe            reads heads only, writes nothing
 *              -> open -> source   text is tokenised once, everything is validated
 *
 * The samples are sequences of 1 to sequence_length rows in one ragged domain.
 * The inputs, in the order of the graph: ids, target, position, each i32 [1].
 * A row's target is the token after it in its document, or -100: the document
 * ends, or the token is not to be learned. position counts from 0 at the
 * beginning of a document, and of a sequence that begins within one: a row at
 * place p of its sequence belongs with the places p - position to p. No row is
 * padding.
 *
 * Which documents share a sequence is decided here, before training, from the
 * documents' lengths, met once in the file's order:
 *
 *   stream   the documents one after another, cut every sequence_length tokens;
 *            nothing is left out, only the last sequence may be shorter
 *   whole    a document is never divided: each goes to the one of 64 sequences at
 *            hand that it fills best. What is beyond sequence_length is cut
 *            off (info.cut), and a document with nothing to learn in what remains
 *            is left out (info.left_out)
 *
 * validation_split takes documents of the set away from training: round(share *
 * documents) of them, chosen by the seed. Where that is not one document, or there
 * is only one, stream takes the last tokens instead; whole takes one document at
 * least. Training and validation share no token, neither as an input nor as a target.
 *
 * Memory does not grow with the data: ids are read with pread, and a list of the
 * sequences that is longer than ACR_TABLE_HELD is a file without a name.
 *
 * A set, once open, never changes. Its context must outlive it. Sentences begin
 * with the file, or with "data:" for the description itself. */
#ifndef ACR_DATA_TOKENS_H
#define ACR_DATA_TOKENS_H

#include "data/dataset.h"
#include "data/tokenizer.h"

/* What the recipe says. Strings are borrowed for the call only; NULL: not given.
 *
 *   format       path             input           target           packing
 *   safetensors  file             ids [N, T]      labels [N, T]    stream
 *   tokens       token file       -               -                stream
 *   text         file or folder   -               -                stream
 *   jsonl        file or folder   -               -                whole
 *   kjv          -                -                -               stream
 *
 * Of a folder, the .txt or .jsonl files in the byte order of their names.
 *
 * text: a file is a document, kjv: a chapter of the King James Bible (kjv.h),
 * jsonl: a line (jsonl.h, template.h). Each ends with the tokenizer's end-of-text
 * token, if it has one. They are tokenised once, into a token file in the cache
 * folder. They need a tokenizer: a tokenizer.json, an open one, or `learn`, the
 * size of the vocabulary to learn from all of the set's text, validation part
 * included. With tokens, a tokenizer must be the one that made the file.
 *
 * safetensors: labels as Hugging Face's, of the shape of the ids: a row's target
 * is the label one place further on, and -100 is ignored. Without target, the ids
 * are the labels. Each of the N is a document. */
typedef struct acr__tokens_desc {
    const char *format;
    const char *path, *input, *target;
    int64_t sequence_length; /* 0: of safetensors, T; of others an error */
    const char *packing;     /* "stream" or "whole"; NULL: the format's */
    const char *tokenizer;   /* file */
    const acr__tokenizer *given; /* instead; must outlive the set */
    int64_t learn;               /* instead; 0: no */
    const char *template;        /* jsonl: "chatml" (or NULL), "plain" */
    const char *loss_on;         /* jsonl: "completions" (or NULL), "all" */
    double validation_split; /* 0: none, below 1 */
    bool validation;         /* open the part that was taken away, not what training keeps */
    uint64_t seed;           /* chooses that part */
    int64_t vocabulary;      /* ids lie in [0, vocabulary); 0: whatever the file says */
    const char *cache;       /* folder; NULL: XDG_CACHE_HOME/accrue, else ~/.cache/accrue */
} acr__tokens_desc;
#define ACR_TOKENS_DESC_INIT                                                               \
    {                                                                                      \
        NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL, NULL, 0.0, false, 0, 0, NULL \
    }

/* Documents that packing did not take as they are: how many, and the first one's
 * place among all documents, from 0, and its length. */
typedef struct acr__tokens_odd {
    int64_t count, document, tokens;
} acr__tokens_odd;

/* What probe and open find, of the part that was asked for. Before its text was
 * tokenised a probe does not know what is marked *: 0. */
typedef struct acr__tokens_info {
    int64_t sequences;       /* * */
    int64_t sequence_length; /* rows of one, at most */
    int64_t rows;            /* * of all sequences */
    int64_t targets;         /* * rows that are learned from; a probe may count too many */
    int64_t documents;       /* * in sequences; one that is divided by the split counts in both parts */
    acr__tokens_odd cut;     /* * whole: documents whose end was cut off */
    acr__tokens_odd left_out; /* * whole: documents with nothing to learn in their first sequence_length tokens */
    int64_t vocabulary;      /* every id is below it */
    size_t open_bytes;       /* memory while open runs, at most; of tokenising, about */
    size_t held_bytes;       /* memory the opened set keeps, at most; a given tokenizer is its owner's */
} acr__tokens_info;

typedef struct acr__tokens acr__tokens;

/* ACR_E_DATA: missing, damaged, hostile or empty files; ids, labels or a tokenizer
 * outside the vocabulary; a program that is not installed. ACR_E_CONFIG: the
 * description itself. A cache folder that can't be written is no error. */
acr_status acr__tokens_probe(acr_context *ctx, const acr__tokens_desc *desc, acr__tokens_info *out);
acr_status acr__tokens_open(acr__tokens **out, acr_context *ctx, const acr__tokens_desc *desc);
void acr__tokens_close(acr__tokens *set); /* takes NULL */

const acr__tokens_info *acr__tokens_info_of(const acr__tokens *set);
/* Where a document stands: "PATH:LINE" of JSONL, whose files are read again up to it;
 * of others "PATH: document N", from 1. `desc`: what the set was opened by. */
acr_status acr__tokens_where(const acr__tokens *set, const acr__tokens_desc *desc, int64_t document, char *out,
                             size_t size);
/* What the set is known again by: its tokens, which the tokenizer is part of. Of tensors
 * of ids print->hash is "". */
void acr__tokens_print(const acr__tokens *set, acr__data_print *print);
/* The tokenizer, given or the set's own; borrowed. NULL: the description had none. */
const acr__tokenizer *acr__tokens_tokenizer(const acr__tokens *set);

/* One way through a set; the caller owns it. `get` takes the epoch as its window
 * and the place in the epoch as `first`: sequence acr_shuffle(seed, epoch,
 * sequences, first + i), or first + i unshuffled. slots->offsets[0] are those of
 * the tokens' domain. data[i] NULL: that input isn't wanted. Outside [0,
 * sequences): ACR_E_ARGUMENT. A file that went bad since: ACR_E_DATA or ACR_E_IO.
 * It allocates nothing and never changes the set, but one caller at a time: a
 * failure's sentence is the context's. */
typedef struct acr__tokens_source {
    const acr__tokens *set;
    bool shuffle;
    uint64_t seed;
} acr__tokens_source;
acr_status acr__tokens_get(void *source, int64_t epoch, int64_t first, int64_t n, const acr_slots *out);
/* Fills *out; `source` must stay where it is while *out is used. */
void acr__tokens_source_init(acr__tokens_source *source, const acr__tokens *set, bool shuffle, uint64_t seed,
                             acr_source *out);

#endif
