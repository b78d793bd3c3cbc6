/* gzip.c: zlib's inflate over pread. The invariant: `at` is the place in the file
 * of the byte after those in `in`, and `whole` says that the last member ended
 * where the input now stands, so that an end there is no loss. */
#include "data/gzip.h"
#include "io/file.h"
#include <zlib.h>

struct acr__gzip {
    acr_context *ctx;
    const char *path;
    int fd;
    bool started, whole;
    int64_t at, file_bytes;
    z_stream z;
    uint8_t in[ACR_IO_BYTES];
};

static voidpf hook_alloc(voidpf user, uInt items, uInt size)
{
    size_t bytes;
    return acr__mul(items, size, &bytes) ? acr__alloc(user, bytes) : Z_NULL;
}

static void hook_free(voidpf user, voidpf p) { acr__free(user, p); }

acr_status acr__gzip_open(acr__gzip **out, acr_context *ctx, const char *path, int fd, int64_t file_bytes)
{
    acr__gzip *g = acr__alloc(ctx, sizeof *g);
    if (!g)
        return ACR_E_NO_MEMORY;
    *g = (acr__gzip){.ctx = ctx, .path = path, .fd = fd, .file_bytes = file_bytes};
    g->z = (z_stream){.zalloc = hook_alloc, .zfree = hook_free, .opaque = ctx};
    /* 15: the largest window; 16: a gzip header and nothing else. */
    if (inflateInit2(&g->z, 15 + 16) != Z_OK) {
        acr__free(ctx, g);
        return acr__fail(ctx, ACR_E_NO_MEMORY, "%s: no memory to unpack it", path);
    }
    *out = g;
    return ACR_OK;
}

void acr__gzip_close(acr__gzip *g)
{
    if (!g)
        return;
    inflateEnd(&g->z);
    acr__free(g->ctx, g);
}

static acr_status refill(acr__gzip *g)
{
    int64_t n = acr__min(g->file_bytes - g->at, (int64_t)sizeof g->in);
    TRY(acr__file_pread(g->ctx, g->path, g->fd, g->in, (size_t)n, g->at));
    g->at += n;
    g->z.next_in = g->in;
    g->z.avail_in = (uInt)n;
    return ACR_OK;
}

static acr_status step(acr__gzip *g)
{
    if (g->whole) { /* more input after a member: it must be another member */
        inflateReset(&g->z);
        g->whole = false;
    }
    switch (inflate(&g->z, Z_NO_FLUSH)) {
    case Z_STREAM_END:
        g->started = g->whole = true;
        return ACR_OK;
    case Z_OK:
    case Z_BUF_ERROR: /* wants more input or more room, which the caller sees to */
        return ACR_OK;
    case Z_MEM_ERROR:
        return acr__fail(g->ctx, ACR_E_NO_MEMORY, "%s: no memory to unpack it", g->path);
    default:
        return acr__fail(g->ctx, ACR_E_DATA, "%s: damaged gzip data near byte %lld%s: %s", g->path,
                         (long long)(g->at - g->z.avail_in), g->started ? " (something follows the gzip stream)" : "",
                         g->z.msg ? g->z.msg : "a preset dictionary");
    }
}

acr_status acr__gzip_read(acr__gzip *g, void *out, size_t n, size_t *got)
{
    *got = 0;
    while (*got < n) {
        if (g->z.avail_in == 0) {
            if (g->at == g->file_bytes && g->whole)
                break;
            FAIL_IF(g->at == g->file_bytes, g->ctx, ACR_E_DATA,
                    "%s: cut short: the gzip stream goes on where the file ends (%lld bytes)", g->path,
                    (long long)g->file_bytes);
            TRY(refill(g));
        }
        /* A piece at a time: avail_out is 32 bits wide. */
        uInt room = (uInt)acr__min((int64_t)(n - *got), ACR_IO_BYTES);
        g->z.next_out = (Bytef *)out + *got;
        g->z.avail_out = room;
        TRY(step(g));
        *got += room - g->z.avail_out;
    }
    return ACR_OK;
}
