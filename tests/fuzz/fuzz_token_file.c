/* fuzz_token_file.c: any bytes as a token file, its sums put right where that
 * lets more of it be read. What opens must read to its last token and document. */
#define _GNU_SOURCE
#include "base/context.h"
#include "data/token_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 72, FOOT = 56 };

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void put_sum(uint8_t *p, size_t n)
{
    uint64_t sum = XXH3_64bits(p, n);
    for (int i = 0; i < 8; i++)
        p[n + (size_t)i] = (uint8_t)(sum >> (8 * i));
}

/* Without this nothing but copies of the corpus would get past the sums. */
static void mend(uint8_t *bytes, size_t n)
{
    char hash[40];
    put_sum(bytes, HEAD - 8);
    XXH128_hash_t h = XXH3_128bits(bytes, n - FOOT);
    snprintf(hash, sizeof hash, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
    memcpy(bytes + n - FOOT + 16, hash, 32);
    put_sum(bytes + n - FOOT, FOOT - 8);
}

static void read_all(const acr__token_file *f, size_t size)
{
    int64_t tokens = acr__token_file_tokens(f), documents = acr__token_file_documents(f), last = 0, d;
    must(tokens >= 0 && documents >= 0 && (uint64_t)tokens <= size && (uint64_t)documents <= size);
    int32_t *ids = malloc((size_t)tokens * 4 + 4);
    int64_t *ends = malloc((size_t)documents * 8 + 8);
    must(ids && ends);
    must(acr__token_file_read(f, 0, tokens, ids) == ACR_OK);
    for (int64_t i = 0; i < tokens; i++)
        must(ids[i] >= 0 && ids[i] < acr__token_file_head(f)->vocabulary);
    must(acr__token_file_ends(f, 0, documents, ends) == ACR_OK);
    for (int64_t i = 0; i < documents; last = ends[i++])
        must(ends[i] >= last);
    must(last == tokens);
    must(acr__token_file_find(f, tokens, &d) == ACR_E_ARGUMENT);
    if (tokens)
        must(acr__token_file_find(f, tokens - 1, &d) == ACR_OK && ends[d] == tokens);
    free(ids);
    free(ends);
}

static void try_bytes(acr_context *ctx, int fd, const char *path, const uint8_t *bytes, size_t size)
{
    acr__token_file *f;
    must(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size);
    acr_status status = acr__token_file_open(&f, ctx, path);
    if (status == ACR_OK) {
        read_all(f, size);
        acr__token_file_close(f);
    } else {
        must(status == ACR_E_DATA && strstr(acr_error(ctx), path));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static acr_context *ctx;
    static char path[64];
    static int fd = -1;
    if (!ctx) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        must(fd >= 0 && acr__context_new(&ctx, NULL) == ACR_OK);
    }
    try_bytes(ctx, fd, path, data, size);
    if (size < HEAD + FOOT)
        return 0;
    uint8_t *copy = malloc(size);
    must(copy != NULL);
    memcpy(copy, data, size);
    mend(copy, size);
    try_bytes(ctx, fd, path, copy, size);
    free(copy);
    return 0;
}
