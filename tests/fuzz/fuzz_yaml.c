/* fuzz_yaml.c: any bytes as a recipe. What is accepted has to survive its own
 * resolved.yaml: the same options, the same hash. Which recipes are right is the
 * unit tests' question. */
#include "base/context.h"
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void round_trip(acr_context *ctx, acr__config *a)
{
    acr__config_opts none = {NULL, NULL, NULL};
    const char *yaml, *lines, *again;
    acr__config *b = NULL;
    acr__texts changes;
    require(acr__config_yaml(a, "", &yaml) == ACR_OK);
    require(acr__config_text(a, &lines) == ACR_OK);
    require(acr__config_parse(ctx, &b, "resolved.yaml", "/elsewhere", yaml, strlen(yaml), &none) == ACR_OK);
    require(acr__config_yaml(b, "", &again) == ACR_OK);
    require(strcmp(yaml, again) == 0);
    require(acr__config_compare(b, lines, &changes) == ACR_OK && changes.count == 0);
    acr__config_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    acr_context *ctx = NULL;
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    opts.threads = 1;
    require(acr__context_new(&ctx, &opts) == ACR_OK);
    acr__config_opts none = {NULL, NULL, NULL};
    acr__config *cfg = NULL;
    acr_status status = acr__config_parse(ctx, &cfg, "r.yaml", "/folder", (const char *)data, size, &none);
    require(status == ACR_OK || status == ACR_E_CONFIG);
    require((status == ACR_OK) == (cfg != NULL));
    if (cfg)
        round_trip(ctx, cfg);
    acr__config_free(cfg);
    acr_context_destroy(ctx);
    return 0;
}
