/* jsonl.h: samples for tuning, a JSON object a line:
 *
 *     {"text": "..."}
 *     {"prompt": "...", "completion": "..."}
 *     {"messages": [{"role": "system" | "user" | "assistant", "content": "..."}, ...]}
 *
 * One of the three; other keys are ignored. Lines of white space are skipped. A
 * line is hostile until proven otherwise: its length, depth and number of values
 * are bounded before it is parsed. Sentences begin "PATH:LINE:". */
#ifndef ACR_DATA_JSONL_H
#define ACR_DATA_JSONL_H

#include "io/line_reader.h"

enum {
    ACR_JSONL_BYTES = 8 << 20, /* of a line, at most */
    ACR_JSONL_VALUES = 1 << 16, /* of a line */
};

typedef enum acr__role {
    ACR_ROLE_TEXT,
    ACR_ROLE_PROMPT,
    ACR_ROLE_COMPLETION,
    ACR_ROLE_SYSTEM,
    ACR_ROLE_USER,
    ACR_ROLE_ASSISTANT,
} acr__role;

typedef struct acr__turn {
    acr__role role;
    const char *text; /* UTF-8, of `bytes` bytes; may hold zeros */
    size_t bytes;
} acr__turn;

/* What a line says: at least one turn. Reused from line to line. */
typedef struct acr__sample {
    int64_t count, room;
    acr__turn *turn;
    struct json_t *json; /* what the texts borrow from */
} acr__sample;

/* ACR_E_DATA: not such a line. *blank: there is nothing on it. */
acr_status acr__jsonl_parse(acr_context *ctx, const char *path, int64_t line, const char *text, size_t bytes,
                            acr__sample *out, bool *blank);
void acr__sample_free(acr_context *ctx, acr__sample *s); /* takes a zeroed one */

/* The samples of a file, one after another, through one line's memory. */
typedef struct acr__jsonl {
    acr__line_reader lines; /* .line is the sample's that was read last */
    acr__sample sample;
} acr__jsonl;
acr_status acr__jsonl_open(acr__jsonl *j, acr_context *ctx, const char *path);
/* *sample is NULL at the file's end; borrowed until the next call. */
acr_status acr__jsonl_next(acr__jsonl *j, const acr__sample **sample);
/* Passes over `most` samples, or as many as there are, without looking into them;
 * j->lines.line is then the last one's. */
acr_status acr__jsonl_skip(acr__jsonl *j, int64_t most, int64_t *passed);
void acr__jsonl_close(acr__jsonl *j); /* takes a zeroed one */

#endif
