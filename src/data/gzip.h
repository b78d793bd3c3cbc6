/* gzip.h: reads a gzip file as a stream, in memory that does not grow: a buffer
 * of 64 KiB and zlib's window. Several members one after another are one stream;
 * anything else after a member is refused. */
#ifndef ACR_DATA_GZIP_H
#define ACR_DATA_GZIP_H

#include "base/base.h"

/* What acr__gzip_open allocates, at most. */
enum { ACR_GZIP_BYTES = 128 * 1024 };
/* Deflate can't do better: 258 bytes from 2 bits. */
enum { ACR_GZIP_RATIO = 1032 };

typedef struct acr__gzip acr__gzip;
/* Borrows path and fd. */
acr_status acr__gzip_open(acr__gzip **out, acr_context *ctx, const char *path, int fd, int64_t file_bytes);
/* *got < n only at the end. ACR_E_DATA: damaged, cut or followed by garbage. */
acr_status acr__gzip_read(acr__gzip *g, void *out, size_t n, size_t *got);
void acr__gzip_close(acr__gzip *g); /* takes NULL */

#endif
