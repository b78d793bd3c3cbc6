/* fuzz_hf_config.c: any bytes as a language model's config.json. What is accepted
 * reads back from what it is written as, and builds a graph or is refused in a
 * sentence. */
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

static void round_trip(acr_context *ctx, const acr__lm *lm)
{
    json_t *first, *again;
    acr__lm copy;
    char *text;
    need(acr__lm_to_json(ctx, lm, &first) == ACR_OK);
    need(acr__json_write(ctx, first, &text) == ACR_OK);
    json_decref(first);
    need(acr__json_parse(ctx, "text", "it", text, strlen(text), &first) == ACR_OK);
    need(acr__lm_from_json(ctx, "text", first, &copy) == ACR_OK);
    need(acr__lm_to_json(ctx, &copy, &again) == ACR_OK);
    need(json_equal(first, again));
    json_decref(first);
    json_decref(again);
    free(text);
}

static void build(acr_context *ctx, const acr__lm *lm)
{
    int64_t one = 1;
    acr_graph *g = acr_graph_create(ctx, NULL);
    need(g);
    acr_domain token = acr_domain_create(g, "token", 4);
    acr__lm_io io = {.ids = acr_input_in(g, token, "ids", ACR_I32, 1, &one)};
    io.position = acr_input_in(g, token, "position", ACR_I32, 1, &one);
    if (acr__lm_build(g, lm, &io) == ACR_OK) {
        acr_output(g, "logits", acr_linear_shared(g, io.hidden, io.head));
        need(acr_graph_finish(g) == ACR_OK || *acr_error(ctx));
    }
    acr_graph_destroy(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static acr_context *ctx;
    if (!ctx && acr_context_create(&ctx, NULL) != ACR_OK)
        return 0;
    json_t *root;
    acr__lm lm;
    acr_status status = acr__json_parse(ctx, "config.json", "the file", (const char *)data, size, &root);
    if (status != ACR_OK) {
        need(status == ACR_E_DATA && strstr(acr_error(ctx), "config.json"));
        return 0;
    }
    status = acr__lm_from_json(ctx, "config.json", root, &lm);
    json_decref(root);
    need(status == ACR_OK || (status == ACR_E_DATA && strstr(acr_error(ctx), "config.json")));
    if (status != ACR_OK)
        return 0;
    round_trip(ctx, &lm);
    if (lm.layers <= 8)
        build(ctx, &lm);
    return 0;
}
