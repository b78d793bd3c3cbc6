/* cache.h: where a data set may keep what it made of its files. Shared by those
 * who make such files: cache.c (unpacked arrays), tokens_build.c (tokens).
 *
 * What is kept under a name appears by rename and may be removed at any time. */
#ifndef ACR_DATA_CACHE_H
#define ACR_DATA_CACHE_H

#include "base/base.h"

/* `given`, or the environment's: $XDG_CACHE_HOME/accrue, else ~/.cache/accrue.
 * *out is NULL with ACR_OK where there is none to use. Free with acr__free. */
acr_status acr__cache_folder(acr_context *ctx, const char *given, char **out);

/* A file without a name in `folder`, open for reading and writing, gone with the
 * process. */
acr_status acr__cache_nameless(acr_context *ctx, const char *folder, int *fd);

/* The folders for files without a name where the cache folder won't do: the
 * i-th, NULL past the last. */
const char *acr__cache_other(int i);

#endif
