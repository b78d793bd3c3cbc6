/* line_reader.h: the lines of a file or of standard input, one after another, in
 * the memory of the longest. */
#ifndef ACR_IO_LINE_READER_H
#define ACR_IO_LINE_READER_H

#include "base/base.h"

typedef struct acr__line_reader {
    acr_context *ctx;
    const char *path; /* borrowed; what sentences call it */
    int fd;
    bool stream;       /* standard input, whose end is met, not known */
    int64_t bytes, at; /* of the file */
    bool ended;        /* nothing is left to be read */
    int64_t line;      /* the one given last, from 1 */
    char *buffer;      /* [begin, end) was read and not yet given */
    size_t begin, end, room, most;
} acr__line_reader;

/* path NULL: standard input. most: bytes of a line, 64 KiB or more. After a failure
 * there is nothing to close. */
acr_status acr__line_reader_open(acr__line_reader *r, acr_context *ctx, const char *path, size_t most);
/* The next line without its end, borrowed until the next call; *line NULL: there is
 * none. A byte order mark before the first is left out. ACR_E_DATA, beginning
 * "PATH:LINE:": it is too long. */
acr_status acr__line_reader_next(acr__line_reader *r, const char **line, size_t *bytes);
void acr__line_reader_close(acr__line_reader *r); /* takes a zeroed one */

/* There is nothing on it but spaces, tabs and carriage returns. */
bool acr__is_blank(const char *line, size_t bytes);

#endif
