/* tokenize_input.c: see tokenize.h. Nothing here knows of tokens. */
#include "cli/tokenize.h"
#include "io/file.h"
#include "io/json.h"

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
    acr__line_reader_close(&in->lines);
    json_decref(in->json);
    in->json = NULL;
}

/* The next file's name; "stdin" for "-". NULL: there is none. */
static const char *next_path(acr__texts_in *in)
{
    if (in->next == in->count)
        return NULL;
    const char *path = in->path[in->next++];
    in->is_stdin = strcmp(path, "-") == 0;
    return in->is_stdin ? "stdin" : path;
}

/* ---- lines -------------------------------------------------------------------------- */

acr_status acr__texts_in_line(acr__texts_in *in, const char **text, size_t *bytes)
{
    acr__line_reader *r = &in->lines;
    *text = NULL;
    for (;;) {
        if (r->ctx)
            TRY(acr__line_reader_next(r, text, bytes));
        if (*text)
            break;
        acr__line_reader_close(r);
        const char *path = next_path(in);
        if (!path)
            return ACR_OK;
        TRY(acr__line_reader_open(r, in->cli->ctx, in->is_stdin ? NULL : path, ACR__LINE_BYTES));
    }
    snprintf(in->where, sizeof in->where, "%.480s:%lld", r->path, (long long)r->line);
    return ACR_OK;
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
    } while (acr__is_blank(text, n));
    TRY(acr__json_parse(in->cli->ctx, in->where, "the line", text, n, &in->json));
    *value = json_object_get(in->json, in->key);
    FAIL_IF(!*value, in->cli->ctx, ACR_E_DATA, "%s: the line has no \"%s\"", in->where, in->key);
    return ACR_OK;
}

/* ---- documents ------------------------------------------------------------------------ */

/* The next file; *none: there is none. */
static acr_status open_next(acr__texts_in *in, bool *none)
{
    close_file(in);
    const char *path = next_path(in);
    *none = !path;
    if (*none)
        return ACR_OK;
    snprintf(in->where, sizeof in->where, "%s", path);
    in->at = 0;
    if (in->is_stdin)
        in->fd = STDIN_FILENO;
    else
        TRY(acr__file_open(in->cli->ctx, path, &in->fd, &in->bytes));
    return ACR_OK;
}

/* The next part of the open file; 0 bytes: its end. */
static acr_status read_part(acr__texts_in *in, size_t *bytes)
{
    if (!in->is_stdin) {
        *bytes = (size_t)acr__min(in->bytes - in->at, (int64_t)sizeof in->buffer);
        TRY(acr__file_pread(in->cli->ctx, in->path[in->next - 1], in->fd, in->buffer, *bytes, in->at));
        in->at += (int64_t)*bytes;
        return ACR_OK;
    }
    return acr__file_read(in->cli->ctx, "stdin", in->fd, in->buffer, sizeof in->buffer, bytes);
}

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
