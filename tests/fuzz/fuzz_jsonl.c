/* fuzz_jsonl.c: any bytes as a file of samples: each line is a sample or refused
 * by the file, its number and a reason; what is accepted can be made into tokens. */
#include "base/context.h"
#include "data/template.h"
#include "data/token_file.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(bool holds)
{
    if (!holds)
        abort();
}

typedef struct once {
    bool given;
} once;

static acr_status some_text(void *user, const char **text, size_t *bytes, bool *last)
{
    once *o = user;
    *text = o->given ? NULL : "text";
    *bytes = 4;
    *last = true;
    o->given = true;
    return ACR_OK;
}

static void try_templates(acr_context *ctx, const acr__tokenizer *t, int64_t line, const acr__sample *s)
{
    acr__ids ids = {0};
    for (int k = 0; k < 4; k++) {
        acr__template how;
        must(acr__template_open(&how, ctx, t, (acr__chat)(k % 2), k > 1) == ACR_OK);
        acr_status status = acr__template_encode(&how, "fuzzed", line, s, &ids);
        must(status == ACR_OK || (status == ACR_E_DATA && strncmp(acr_error(ctx), "fuzzed:", 7) == 0));
        bool learned = false;
        for (int64_t i = 0; i < ids.count && status == ACR_OK; i++) {
            must((ids.id[i] & ~ACR_TOKEN_UNLEARNED) < acr__tokenizer_size(t));
            learned = learned || (i > 0 && !(ids.id[i] & ACR_TOKEN_UNLEARNED));
        }
        must(learned || status != ACR_OK);
        acr__template_close(&how);
    }
    acr__ids_free(ctx, &ids);
}

static void read_file(acr_context *ctx, const acr__tokenizer *t, const char *path)
{
    acr__jsonl j;
    const acr__sample *s;
    acr_status status;
    must(acr__jsonl_open(&j, ctx, path) == ACR_OK);
    while ((status = acr__jsonl_next(&j, &s)) == ACR_OK && s) {
        must(s->count > 0);
        for (int64_t i = 0; i < s->count; i++)
            must(s->turn[i].text[s->turn[i].bytes] == 0);
        try_templates(ctx, t, j.lines.line, s);
    }
    must(status == ACR_OK || (status == ACR_E_DATA && strncmp(acr_error(ctx), path, strlen(path)) == 0));
    acr__jsonl_close(&j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static acr_context *ctx;
    static acr__tokenizer *tokenizer;
    if (!ctx) {
        once first = {false};
        acr__text_reader reader = {some_text, &first, "text"};
        must(acr__context_new(&ctx, NULL) == ACR_OK);
        must(acr__tokenizer_learn(&tokenizer, ctx, 257, ACR_SPLIT_GPT2, &reader) == ACR_OK);
    }
    char path[] = "/tmp/accrue-fuzz-XXXXXX";
    int fd = mkstemp(path);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    read_file(ctx, tokenizer, path);
    close(fd);
    unlink(path);
    return 0;
}
