/* hf_index.c: model.safetensors.index.json: which file holds which tensor.
 *
 * Invariant: no name leads out of the folder the index lies in. */
#include "io/hf.h"
#include "io/json.h"

#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 512 }; /* open at once while a model is read */

static acr_status check_file(acr_context *ctx, const char *path, const char *tensor, const json_t *value)
{
    char name[ACR__JSON_SHOWN], file[ACR__JSON_SHOWN];
    const char *s = json_string_value(value);
    FAIL_IF(!s || strlen(s) != json_string_length(value) || !*s || *s == '.' || strpbrk(s, "/\\"), ctx, ACR_E_DATA,
            "%s: weight_map: %s is in %s; the plain name of a file in the same folder is wanted", path,
            acr__text_shown(tensor, name), acr__json_shown(value, file));
    return ACR_OK;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static int find(const char **texts, int count, const char *text)
{
    const char **at = bsearch(&text, texts, (size_t)count, sizeof text, by_text);
    return at ? (int)(at - texts) : -1;
}

int acr__hf_index_find(const acr__hf_index *index, const char *name) { return find(index->names, index->count, name); }

static void sort_files(acr__hf_index *index)
{
    int kept = 0;
    qsort(index->files, (size_t)index->count, sizeof *index->files, by_text);
    for (int i = 0; i < index->count; i++)
        if (!i || strcmp(index->files[kept - 1], index->files[i]))
            index->files[kept++] = index->files[i];
    index->file_count = kept;
}

static acr_status fill(acr_context *ctx, const char *path, const json_t *map, acr__hf_index *out)
{
    const char *name;
    json_t *value;
    size_t n = json_object_size(map);
    FAIL_IF(!json_is_object(map) || n == 0, ctx, ACR_E_DATA, "%s: has no weight_map that names tensors", path);
    out->names = acr__alloc(ctx, n * sizeof *out->names);
    out->files = acr__alloc(ctx, n * sizeof *out->files);
    out->file = acr__alloc(ctx, n * sizeof *out->file);
    if (!out->names || !out->files || !out->file)
        return ACR_E_NO_MEMORY;
    json_object_foreach((json_t *)map, name, value)
    {
        TRY(check_file(ctx, path, name, value));
        out->names[out->count] = name;
        out->files[out->count++] = json_string_value(value);
    }
    qsort(out->names, (size_t)out->count, sizeof *out->names, by_text);
    sort_files(out);
    FAIL_IF(out->file_count > FILES_MAX, ctx, ACR_E_DATA, "%s: names %d files; at most %d are allowed", path,
            out->file_count, FILES_MAX);
    for (int i = 0; i < out->count; i++)
        out->file[i] = find(out->files, out->file_count, json_string_value(json_object_get(map, out->names[i])));
    return ACR_OK;
}

acr_status acr__hf_index_read(acr_context *ctx, const char *path, json_t *root, acr__hf_index *out)
{
    *out = (acr__hf_index){.root = root};
    acr_status status = fill(ctx, path, json_object_get(root, "weight_map"), out);
    if (status != ACR_OK)
        acr__hf_index_free(ctx, out);
    return status;
}

void acr__hf_index_free(acr_context *ctx, acr__hf_index *index)
{
    acr__free(ctx, index->names);
    acr__free(ctx, index->files);
    acr__free(ctx, index->file);
    json_decref(index->root);
    *index = (acr__hf_index){0};
}
