/* checkpoints.c: a folder of checkpoints: the newest whole one, and which may go.
 *
 * Invariant: nothing is removed unless a newer whole one stands beside it. The
 * order is that of the steps in the names; times of files are not looked at. */
#include "base/context.h"
#include "io/checkpoint.h"
#include "io/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "step-"
#define SUFFIX ".safetensors"

enum { DIGITS = 8, NAME = 48 };

typedef struct steps {
    acr_context *ctx;
    int64_t *at; /* newest first, once sorted */
    int count, capacity;
} steps;

static void name_of(int64_t step, char out[NAME])
{
    snprintf(out, NAME, PREFIX "%0*lld" SUFFIX, DIGITS, (long long)step);
}

/* The step a name tells, -1 if it is no checkpoint's. */
static int64_t step_of(const char *name)
{
    char again[NAME];
    if (strncmp(name, PREFIX, strlen(PREFIX)))
        return -1;
    errno = 0;
    long long step = strtoll(name + strlen(PREFIX), NULL, 10);
    if (errno || step < 0)
        return -1;
    name_of(step, again);
    return strcmp(again, name) ? -1 : step;
}

acr_status acr_checkpoint_path_of(acr_context *ctx, const char *folder, int64_t step, char *out, size_t n)
{
    char name[NAME];
    FAIL_IF(step < 0, ctx, ACR_E_ARGUMENT, "a checkpoint of step %lld: it must be >= 0", (long long)step);
    name_of(step, name);
    FAIL_IF(strlen(folder) + 1 + strlen(name) + 1 > n, ctx, ACR_E_ARGUMENT,
            "the path of %s in %s does not fit %zu bytes", name, folder, n);
    snprintf(out, n, "%s/%s", folder, name);
    return ACR_OK;
}

static acr_status collect(void *user, const char *name)
{
    steps *s = user;
    int64_t step = step_of(name);
    if (step < 0)
        return ACR_OK;
    if (s->count == s->capacity) {
        int more = s->capacity ? 2 * s->capacity : 32;
        int64_t *grown = acr__realloc(s->ctx, s->at, sizeof *grown * (size_t)more);
        if (!grown)
            return ACR_E_NO_MEMORY;
        s->at = grown;
        s->capacity = more;
    }
    s->at[s->count++] = step;
    return ACR_OK;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static acr_status list(steps *s, acr_context *ctx, const char *folder)
{
    *s = (steps){.ctx = ctx};
    acr_status status = acr__folder_list(ctx, folder, collect, s);
    if (status != ACR_OK) {
        acr__free(ctx, s->at);
        *s = (steps){.ctx = ctx};
        return status == ACR_E_DATA ? ACR_OK : status; /* there is no such folder */
    }
    if (s->count)
        qsort(s->at, (size_t)s->count, sizeof *s->at, newest_first);
    return ACR_OK;
}

static acr_status open_step(acr_checkpoint **out, acr_context *ctx, const char *folder, int64_t step)
{
    char name[NAME];
    name_of(step, name);
    char *path = acr__path_join(ctx, folder, name);
    if (!path)
        return ACR_E_NO_MEMORY;
    acr_status status = acr_checkpoint_open(out, ctx, path);
    acr__free(ctx, path);
    return status;
}

/* The first whole one from the newest on: its place in s, *out open. note gets
 * the sentence of the newest damaged one. None: ACR_E_DATA. */
static acr_status newest_whole(acr_checkpoint **out, int *place, const steps *s, const char *folder,
                               char note[ACR_SENTENCE])
{
    *note = '\0';
    for (int i = 0; i < s->count; i++) {
        acr_status status = open_step(out, s->ctx, folder, s->at[i]);
        *place = i;
        if (status != ACR_E_DATA)
            return status;
        if (!*note)
            snprintf(note, ACR_SENTENCE, "%s", acr_error(s->ctx));
    }
    return acr__fail(s->ctx, ACR_E_DATA, "%s: none of its %d checkpoints is whole; the newest: %s", folder, s->count,
                     note);
}

acr_status acr_checkpoint_latest(acr_checkpoint **out, acr_context *ctx, const char *folder)
{
    steps s;
    TRY(list(&s, ctx, folder));
    if (s.count == 0) {
        *out = NULL;
        return ACR_OK;
    }
    char sentence[ACR_SENTENCE];
    acr_checkpoint *c = NULL;
    int place = 0;
    acr_status status = newest_whole(&c, &place, &s, folder, sentence);
    acr__free(ctx, s.at);
    if (status != ACR_OK)
        return status;
    if (place > 0) {
        size_t bytes = strlen(sentence) + strlen(acr_checkpoint_path(c)) + 128;
        char *note = acr__alloc(ctx, bytes);
        if (!note) {
            acr_checkpoint_close(c);
            return ACR_E_NO_MEMORY;
        }
        snprintf(note, bytes, "%s; %d newer damaged checkpoint%s passed over, going on from %s", sentence, place,
                 place == 1 ? " was" : "s were", acr_checkpoint_path(c));
        acr__checkpoint_note_take(c, note);
        acr__log(ctx, "%s", note);
    }
    *out = c;
    return ACR_OK;
}

static acr_status prune(const steps *s, const char *folder, int keep, const char *best)
{
    char sentence[ACR_SENTENCE], name[NAME];
    acr_checkpoint *whole;
    int place, left = s->count;
    acr_status status = newest_whole(&whole, &place, s, folder, sentence);
    if (status != ACR_OK)
        return status == ACR_E_DATA ? ACR_OK : status;
    acr_checkpoint_close(whole);
    for (int i = s->count - 1; i > place && left > keep; i--) {
        name_of(s->at[i], name);
        if (best && !strcmp(best, name))
            continue;
        char *path = acr__path_join(s->ctx, folder, name);
        if (!path)
            return ACR_E_NO_MEMORY;
        status = acr__file_remove(s->ctx, path);
        acr__free(s->ctx, path);
        if (status != ACR_OK)
            return status;
        left--;
    }
    return ACR_OK;
}

acr_status acr_checkpoint_prune(acr_context *ctx, const char *folder, int keep, const char *best)
{
    steps s;
    FAIL_IF(keep < 1, ctx, ACR_E_ARGUMENT, "%s: %d checkpoints to keep: it must be at least 1", folder, keep);
    TRY(list(&s, ctx, folder));
    const char *slash = best ? strrchr(best, '/') : NULL;
    acr_status status = s.count > keep ? prune(&s, folder, keep, slash ? slash + 1 : best) : ACR_OK;
    acr__free(ctx, s.at);
    return status;
}
