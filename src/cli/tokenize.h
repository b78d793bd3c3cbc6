/* tokenize.h: the documents that `accrue tokenize` is given: text files, one
 * document each, or JSONL, a document a line; "-" is stdin. Read in parts of 64
 * KiB or line by line, so that memory does not grow with them. */
#ifndef ACR_CLI_TOKENIZE_H
#define ACR_CLI_TOKENIZE_H

#include "cli/common.h"
#include "data/tokenizer.h"
#include "io/line_reader.h"

#include <jansson.h>

enum { ACR__LINE_BYTES = 64 << 20 }; /* the longest line of JSONL or of ids */

typedef struct acr__texts_in {
    acr__cli *cli;
    int next, count; /* of the paths */
    char *const *path;
    const char *key; /* of JSONL: "text" or "ids"; NULL: plain text */
    acr__line_reader lines; /* JSONL and lines of ids */
    int fd;                 /* plain text; -1: none is open */
    bool is_stdin;
    int64_t at, bytes;      /* of the open file */
    json_t *json;
    char where[512]; /* PATH, or PATH:LINE */
    char buffer[64 * 1024];
} acr__texts_in;

void acr__texts_in_begin(acr__texts_in *in, acr__cli *cli, const char *key);
/* acr__text_reader's next. */
acr_status acr__texts_in_next(void *user, const char **text, size_t *bytes, bool *last);
/* A line of the files, without its end; *text NULL: no more. */
acr_status acr__texts_in_line(acr__texts_in *in, const char **text, size_t *bytes);
/* The value of the key on the next line of JSONL; NULL: no more. Borrowed until the next call. */
acr_status acr__texts_in_value(acr__texts_in *in, json_t **value);
void acr__texts_in_end(acr__texts_in *in);

#endif
