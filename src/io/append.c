/* append.c: see append.h. */
#include "io/append.h"

acr_status acr__append_flush(acr__append *a)
{
    int n = a->used;
    a->used = 0;
    if (n == 0)
        return ACR_OK;
    acr_status status = acr__file_write(a->ctx, a->path, a->fd, a->held, (size_t)n);
    if (status == ACR_OK)
        a->written += n;
    else
        acr__file_cut(a->fd, a->written);
    return status;
}

void acr__append_cut(acr__append *a, int64_t end)
{
    if (end >= a->written) {
        a->used = (int)(end - a->written);
        return;
    }
    acr__file_cut(a->fd, end);
    a->written = end;
    a->used = 0;
}

acr_status acr__append_sync(acr__append *a)
{
    TRY(acr__append_flush(a));
    return acr__file_sync(a->ctx, a->path, a->fd);
}

void acr__append_close(acr__append *a)
{
    acr__file_end(a->fd);
    acr__free(a->ctx, a->path);
    a->fd = -1;
    a->path = NULL;
}
