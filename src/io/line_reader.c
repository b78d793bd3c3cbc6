/* line_reader.c: see line_reader.h. What is held is moved to the buffer's front once a
 * read, not once a line. */
#include "io/line_reader.h"
#include "io/file.h"

#include <string.h>
#include <unistd.h>

acr_status acr__line_reader_open(acr__line_reader *r, acr_context *ctx, const char *path, size_t most)
{
    *r = (acr__line_reader){.ctx = ctx, .path = path ? path : "stdin", .fd = STDIN_FILENO, .stream = !path,
                            .room = ACR_IO_BYTES, .most = most};
    acr_status status = path ? acr__file_open(ctx, path, &r->fd, &r->bytes) : ACR_OK;
    if (status != ACR_OK) {
        *r = (acr__line_reader){0};
        return status;
    }
    r->ended = path && r->bytes == 0;
    r->buffer = acr__alloc(ctx, r->room);
    if (r->buffer)
        return ACR_OK;
    acr__line_reader_close(r);
    return ACR_E_NO_MEMORY;
}

void acr__line_reader_close(acr__line_reader *r)
{
    if (!r->ctx)
        return;
    if (!r->stream)
        acr__file_end(r->fd);
    acr__free(r->ctx, r->buffer);
    *r = (acr__line_reader){0};
}

/* More behind what is held of the line. */
static acr_status read_more(acr__line_reader *r)
{
    size_t n;
    if (r->begin > 0) {
        memmove(r->buffer, r->buffer + r->begin, r->end - r->begin);
        r->end -= r->begin;
        r->begin = 0;
    }
    if (r->end == r->room) {
        FAIL_IF(r->room >= r->most, r->ctx, ACR_E_DATA, "%s:%lld: longer than the %zu bytes that a line may have",
                r->path, (long long)r->line, r->most);
        char *grown = acr__realloc(r->ctx, r->buffer, r->room * 2);
        if (!grown)
            return ACR_E_NO_MEMORY;
        r->buffer = grown;
        r->room *= 2;
    }
    if (r->stream) {
        TRY(acr__file_read(r->ctx, r->path, r->fd, r->buffer + r->end, r->room - r->end, &n));
        r->ended = n == 0;
    } else {
        n = (size_t)acr__min((int64_t)(r->room - r->end), r->bytes - r->at);
        TRY(acr__file_pread(r->ctx, r->path, r->fd, r->buffer + r->end, n, r->at));
        r->at += (int64_t)n;
        r->ended = r->at == r->bytes;
    }
    r->end += n;
    return ACR_OK;
}

acr_status acr__line_reader_next(acr__line_reader *r, const char **line, size_t *bytes)
{
    static const char mark[] = "\xef\xbb\xbf"; /* as some editors write */
    size_t searched = 0;
    const char *end = NULL;
    *line = NULL;
    r->line++;
    for (;;) {
        size_t held = r->end - r->begin;
        end = held > searched ? memchr(r->buffer + r->begin + searched, '\n', held - searched) : NULL;
        searched = held;
        if (end || r->ended)
            break;
        TRY(read_more(r));
    }
    if (!end && searched == 0)
        return ACR_OK;
    *line = r->buffer + r->begin;
    *bytes = end ? (size_t)(end - *line) : searched;
    r->begin += *bytes + (end != NULL);
    if (r->line == 1 && *bytes >= 3 && memcmp(*line, mark, 3) == 0) {
        *line += 3;
        *bytes -= 3;
    }
    return ACR_OK;
}

bool acr__is_blank(const char *line, size_t bytes)
{
    size_t i = 0;
    while (i < bytes && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r'))
        i++;
    return i == bytes;
}
