/* texts.c: see texts.h. Files are read in pieces of one buffer, so that a document
 * may be of any length. */
#include "data/texts.h"
#include "io/file.h"

void acr__texts_begin(acr__texts *t, acr_context *ctx, acr__texts_kind kind, const acr__files *files)
{
    *t = (acr__texts){.ctx = ctx, .kind = kind, .files = files, .fd = -1};
}

void acr__texts_close(acr__texts *t)
{
    if (!t->ctx)
        return;
    acr__file_end(t->fd);
    acr__free(t->ctx, t->buffer);
    acr__jsonl_close(&t->jsonl);
    acr__kjv_close(t->kjv);
    *t = (acr__texts){.fd = -1};
}

/* -- files ---------------------------------------------------------------- */
static acr_status next_piece(acr__texts *t, const char **text, size_t *bytes, bool *last)
{
    while (t->fd < 0 && t->file < t->files->count) {
        t->where = t->files->path[t->file];
        TRY(acr__file_open(t->ctx, t->where, &t->fd, &t->bytes));
        t->at = 0;
        if (t->bytes == 0) {
            acr__file_end(t->fd);
            t->fd = -1;
            t->file++;
        }
    }
    if (t->fd < 0)
        return ACR_OK;
    if (!t->buffer && !(t->buffer = acr__alloc(t->ctx, ACR_IO_BYTES)))
        return ACR_E_NO_MEMORY;
    *bytes = (size_t)acr__min(ACR_IO_BYTES, t->bytes - t->at);
    TRY(acr__file_pread(t->ctx, t->where, t->fd, t->buffer, *bytes, t->at));
    *text = t->buffer;
    t->at += (int64_t)*bytes;
    *last = t->at == t->bytes;
    if (*last) {
        acr__file_end(t->fd);
        t->fd = -1;
        t->file++;
    }
    return ACR_OK;
}

/* -- lines ---------------------------------------------------------------- */
static acr_status next_turn(acr__texts *t, const char **text, size_t *bytes)
{
    while (!t->sample || t->turn == t->sample->count) {
        if (t->file == t->files->count)
            return ACR_OK;
        t->where = t->files->path[t->file];
        if (!t->jsonl.lines.ctx)
            TRY(acr__jsonl_open(&t->jsonl, t->ctx, t->where));
        TRY(acr__jsonl_next(&t->jsonl, &t->sample));
        t->turn = 0;
        if (!t->sample) {
            acr__jsonl_close(&t->jsonl);
            t->file++;
        }
    }
    const acr__turn *turn = &t->sample->turn[t->turn++];
    *text = turn->text;
    *bytes = turn->bytes;
    return ACR_OK;
}

/* -- chapters ------------------------------------------------------------- */
static acr_status next_chapter(acr__texts *t, const char **text, size_t *bytes)
{
    t->where = "format: kjv";
    if (!t->kjv)
        TRY(acr__kjv_open(&t->kjv, t->ctx));
    return acr__kjv_next(t->kjv, text, bytes);
}

acr_status acr__texts_next(void *user, const char **text, size_t *bytes, bool *last)
{
    acr__texts *t = user;
    *text = NULL;
    *bytes = 0;
    *last = true;
    FAIL_IF(acr_cancelled(t->ctx), t->ctx, ACR_E_CANCELLED, "%s: cancelled while it was being read",
            t->where ? t->where : "data");
    switch (t->kind) {
    case ACR_TEXTS_FILES:
        return next_piece(t, text, bytes, last);
    case ACR_TEXTS_JSONL:
        return next_turn(t, text, bytes);
    default:
        return next_chapter(t, text, bytes);
    }
}
