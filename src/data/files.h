/* files.h: the files of a data set: the one that a path names, or those of a
 * folder whose name has a certain ending, in the byte order of their names. */
#ifndef ACR_DATA_FILES_H
#define ACR_DATA_FILES_H

#include "io/hash.h"

typedef struct acr__files {
    acr_context *ctx;
    int64_t count, room;
    char **path;
    int64_t largest, bytes; /* of one, of all; known after acr__files_identify */
} acr__files;

/* A folder without such a file, or a path where nothing is: ACR_E_DATA. Folders
 * within the folder are not entered. `ending`: ".txt". */
acr_status acr__files_find(acr__files *f, acr_context *ctx, const char *path, const char *ending);
void acr__files_free(acr__files *f); /* takes a zeroed one */

/* Adds to the hash what tells one state of a file from another without reading
 * it: its real path, size and time of change. */
acr_status acr__file_identify(acr_context *ctx, const char *path, acr__hash *hash, int64_t *bytes);
acr_status acr__files_identify(acr__files *f, acr__hash *hash);

#endif
