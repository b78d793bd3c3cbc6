/* tokenize_input.c: see tokenize.h. Nothing here knows of tokens. */
#include "cli/tokenize.h"
#include "io/file.h"
#include "io/json.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void acr__texts_in_begin(acr__texts_in *in, acr__cli *cli, const char *key)
{
    in->cli = cli;
    in->count = cli->flags.positional_count;
    in->path = (char *const *)cli->flags.positional;
    in->key = key;
    in->fd = -1;
}

static void close_file(acr__texts_in *in)
{
    if (in->fd >= 0 && !in->is_stdin)
        acr__file_end(in->fd);
    in->fd = -1;
}

void acr__texts_in_end(acr__texts_in *in)
{
    close_file(in);
    json_decref(in->json);
    in->json = NULL;
    acr__chars_free(in->cli->ctx, &in->held);
}

/* The next file; *none: there is none. */
static acr_status open_next(acr__texts_in *in, bool *none)
{
    close_file(in);
    *none = in->next == in->count;
    if (*none)
        return ACR_OK;
    const char *path = in->path[in->next++];
    in->is_stdin = strcmp(path, "-") == 0;
    snprintf(in->where, sizeof in->where, "%s", in->is_stdin ? "stdin" : path);
    in->at = in->line = 0;
    in->held.count = in->line_bytes = in->scanned = 0;
    in->ended = false;
    if (in->is_stdin)
        in->fd = STDIN_FILENO;
    else
        TRY(acr__file_open(in->cli->ctx, path, &in->fd, &in->bytes));
    return ACR_OK;
}

static const char *path_of(const acr__texts_in *in) { return in->is_stdin ? "stdin" : in->path[in->next - 1]; }

/* The next part of the open file; 0 bytes: its end. */
static acr_status read_part(acr__texts_in *in, size_t *bytes)
{
    if (!in->is_stdin) {
        *bytes = (size_t)acr__min(in->bytes - in->at, (int64_t)sizeof in->buffer);
        TRY(acr__file_pread(in->cli->ctx, path_of(in), in->fd, in->buffer, *bytes, in->at));
        in->at += (int64_t)*bytes;
        return ACR_OK;
    }
    ssize_t got;
    do
        got = read(in->fd, in->buffer, sizeof in->buffer);
    while (got < 0 && errno == EINTR);
    FAIL_IF(got < 0, in->cli->ctx, ACR_E_IO, "stdin: could not be read: %s", strerror(errno));
    *bytes = (size_t)got;
    return ACR_OK;
}

/* ---- lines -------------------------------------------------------------------------- */

/* Reads until the line at the front of what is held is whole. */
static acr_status hold_line(acr__texts_in *in)
{
    for (;;) {
        char *end = in->held.count > in->scanned
                        ? memchr(in->held.bytes + in->scanned, '\n', in->held.count - in->scanned)
                        : NULL;
        if (end || in->ended) {
            in->line_bytes = end ? (size_t)(end - in->held.bytes) + 1 : in->held.count;
            return ACR_OK;
        }
        in->scanned = in->held.count;
        FAIL_IF(in->scanned > ACR__LINE_BYTES, in->cli->ctx, ACR_E_DATA, "%s:%lld: a line of more than %d MiB",
                path_of(in), (long long)in->line + 1, ACR__LINE_BYTES >> 20);
        size_t bytes;
        TRY(read_part(in, &bytes));
        TRY(acr__chars_add(in->cli->ctx, &in->held, in->buffer, bytes));
        in->ended = bytes == 0;
    }
}

static void drop_line(acr__texts_in *in)
{
    in->held.count -= in->line_bytes;
    if (in->held.count)
        memmove(in->held.bytes, in->held.bytes + in->line_bytes, in->held.count);
    in->line_bytes = in->scanned = 0;
}

acr_status acr__texts_in_line(acr__texts_in *in, const char **text, size_t *bytes)
{
    drop_line(in);
    for (;;) {
        if (in->fd >= 0)
            TRY(hold_line(in));
        if (in->fd >= 0 && in->line_bytes)
            break;
        bool none;
        TRY(open_next(in, &none));
        if (none) {
            *text = NULL;
            return ACR_OK;
        }
    }
    in->line++;
    snprintf(in->where, sizeof in->where, "%.480s:%lld", path_of(in), (long long)in->line);
    *text = in->held.bytes;
    *bytes = in->line_bytes - (in->held.bytes[in->line_bytes - 1] == '\n');
    return ACR_OK;
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r", text[i]))
            return false;
    return true;
}

acr_status acr__texts_in_value(acr__texts_in *in, json_t **value)
{
    const char *text;
    size_t n;
    json_decref(in->json);
    in->json = NULL;
    *value = NULL;
    do {
        TRY(acr__texts_in_line(in, &text, &n));
        if (!text)
            return ACR_OK;
    } while (is_blank(text, n));
    TRY(acr__json_parse(in->cli->ctx, in->where, "the line", text, n, &in->json));
    *value = json_object_get(in->json, in->key);
    FAIL_IF(!*value, in->cli->ctx, ACR_E_DATA, "%s: the line has no \"%s\"", in->where, in->key);
    return ACR_OK;
}

/* ---- documents ------------------------------------------------------------------------ */

static acr_status next_on_line(acr__texts_in *in, const char **text, size_t *bytes)
{
    json_t *value;
    *text = NULL;
    TRY(acr__texts_in_value(in, &value));
    if (!value)
        return ACR_OK;
    FAIL_IF(!json_is_string(value), in->cli->ctx, ACR_E_DATA, "%s: its \"%s\" is not a string", in->where, in->key);
    *text = json_string_value(value);
    *bytes = json_string_length(value);
    return ACR_OK;
}

acr_status acr__texts_in_next(void *user, const char **text, size_t *bytes, bool *last)
{
    acr__texts_in *in = user;
    *last = true;
    if (in->key)
        return next_on_line(in, text, bytes);
    *text = in->buffer;
    if (in->fd < 0) {
        bool none;
        TRY(open_next(in, &none));
        if (none) {
            *text = NULL;
            return ACR_OK;
        }
    }
    TRY(read_part(in, bytes));
    *last = *bytes == 0;
    if (*last)
        close_file(in);
    return ACR_OK;
}
