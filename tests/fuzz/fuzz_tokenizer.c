/* fuzz_tokenizer.c: any bytes as a tokenizer.json. One that is accepted must give
 * ids of its own, hold what it says of itself, survive being saved, and where
 * nothing may be changed or dropped give the text back. */
#define _GNU_SOURCE
#include "base/context.h"
#include "data/tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* Whether decoding has to give the text back. */
static bool is_faithful(const acr__tokenizer *t)
{
    bool faithful = !t->nfc;
    for (int i = 0; i < t->step_count; i++)
        faithful = faithful && t->step[i].split && !t->step[i].drop;
    for (int64_t i = 0; i < t->added_count; i++)
        faithful = faithful && !t->added[i].lstrip && !t->added[i].rstrip;
    return faithful;
}

static void try_text(acr_context *ctx, const acr__tokenizer *t, const char *text, size_t n)
{
    acr__ids ids = {0};
    acr__chars back = {0};
    for (int special = 0; special < 2; special++) {
        ids.count = 0;
        if (acr__tokenizer_encode(t, &ids, text, n, special) != ACR_OK) {
            must(*acr_error(ctx) != '\0' && ids.count == 0);
            continue;
        }
        back.count = 0;
        must(acr__tokenizer_decode(t, &back, ids.id, ids.count, false) == ACR_OK);
        if (!special && is_faithful(t))
            must(back.count == n && (n == 0 || memcmp(back.bytes, text, n) == 0));
    }
    acr__ids_free(ctx, &ids);
    acr__chars_free(ctx, &back);
}

static void try_tokenizer(acr_context *ctx, const acr__tokenizer *t, const char *data, size_t size)
{
    static const char text[] =
        "Hello  world's 12345\n\n \xc3\xa9 e\xcc\x81\xe4\xb8\xad\xe6\x96\x87<|endoftext|> \t<x> a\0b";
    int64_t n = acr__tokenizer_size(t);
    must(n > 0 && n <= 1 << 24 && acr__tokenizer_eos(t) >= -1 && acr__tokenizer_eos(t) < n);
    try_text(ctx, t, text, sizeof text - 1);
    try_text(ctx, t, data, size < 300 ? size : 300);
    must(acr__tokenizer_cut(t, text, sizeof text - 1, 1) < sizeof text);
    if (n > 5000) /* a file of its own for each is slow and says nothing new */
        return;
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/accrue-fuzz-tokenizer-%ld", (long)getpid());
    acr__tokenizer *again;
    must(acr__tokenizer_save(t, path) == ACR_OK);
    must(acr__tokenizer_open(&again, ctx, path) == ACR_OK);
    must(strcmp(acr__tokenizer_hash(t), acr__tokenizer_hash(again)) == 0);
    acr__tokenizer_close(again);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static acr_context *ctx;
    if (!ctx)
        must(acr__context_new(&ctx, NULL) == ACR_OK);
    acr__tokenizer *t;
    acr_status status = acr__tokenizer_parse(&t, ctx, "fuzzed.json", (const char *)data, size);
    if (status == ACR_OK) {
        try_tokenizer(ctx, t, (const char *)data, size);
        acr__tokenizer_close(t);
    } else {
        must(status == ACR_E_DATA && strncmp(acr_error(ctx), "fuzzed.json", 11) == 0);
    }
    return 0;
}
