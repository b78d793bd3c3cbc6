/* texts.h: the text of a data set, document by document, as those who learn from
 * it and those who tokenise it read it: an acr__text_reader. */
#ifndef ACR_DATA_TEXTS_H
#define ACR_DATA_TEXTS_H

#include "data/files.h"
#include "data/jsonl.h"
#include "data/kjv.h"
#include "data/tokenizer.h"

typedef enum acr__texts_kind {
    ACR_TEXTS_FILES, /* a file is a document; empty ones are passed over */
    ACR_TEXTS_JSONL, /* every text on every line, each a document of its own */
    ACR_TEXTS_KJV,   /* a chapter is a document */
} acr__texts_kind;

typedef struct acr__texts {
    acr_context *ctx;
    acr__texts_kind kind;
    const acr__files *files; /* borrowed */
    int64_t file;            /* the next to be opened, or open */
    const char *where;       /* the document's place, for sentences */
    int fd;
    int64_t at, bytes;
    char *buffer;
    acr__jsonl jsonl;
    const acr__sample *sample;
    int64_t turn;
    acr__kjv *kjv;
} acr__texts;

/* Opens nothing yet; files: of kjv none. */
void acr__texts_begin(acr__texts *t, acr_context *ctx, acr__texts_kind kind, const acr__files *files);
/* acr__text_reader's next; `user` is the acr__texts. */
acr_status acr__texts_next(void *user, const char **text, size_t *bytes, bool *last);
void acr__texts_close(acr__texts *t); /* takes a zeroed one */

#endif
