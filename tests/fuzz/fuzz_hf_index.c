/* fuzz_hf_index.c: any bytes as model.safetensors.index.json. What is accepted names
 * every tensor once, in order, in files that lie beside it. */
#include "io/hf.h"
#include "io/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert, in a release build too */
#define need(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

static void check(const acr__hf_index *index)
{
    const json_t *map = json_object_get(index->root, "weight_map");
    need(index->count > 0 && (size_t)index->count == json_object_size(map) && index->file_count <= index->count);
    for (int i = 0; i < index->count; i++) {
        need(i == 0 || strcmp(index->names[i - 1], index->names[i]) < 0);
        need(index->file[i] >= 0 && index->file[i] < index->file_count);
        need(!strcmp(index->files[index->file[i]], json_string_value(json_object_get(map, index->names[i]))));
    }
    for (int f = 0; f < index->file_count; f++) {
        need(f == 0 || strcmp(index->files[f - 1], index->files[f]) < 0);
        need(!strchr(index->files[f], '/') && strcmp(index->files[f], "..") && *index->files[f]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static acr_context *ctx;
    if (!ctx && acr_context_create(&ctx, NULL) != ACR_OK)
        return 0;
    json_t *root;
    acr__hf_index index;
    acr_status status = acr__json_parse(ctx, "i.json", "the file", (const char *)data, size, &root);
    if (status == ACR_OK)
        status = acr__hf_index_read(ctx, "i.json", root, &index);
    if (status != ACR_OK) {
        need(status == ACR_E_DATA && strstr(acr_error(ctx), "i.json"));
        return 0;
    }
    check(&index);
    acr__hf_index_free(ctx, &index);
    return 0;
}
