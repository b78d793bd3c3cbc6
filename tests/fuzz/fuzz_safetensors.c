/* fuzz_safetensors.c: any bytes as a safetensors file and as a checkpoint. What
 * opens must read to its last element within the file. */
#define _GNU_SOURCE
#include <accrue/accrue_io.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert, in a release build too */
#define need(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

static void read_all(acr_st *st, int64_t file_bytes)
{
    char hash[ACR_HASH_TEXT];
    int64_t total = 0;
    for (int i = 0; i < acr_st_count(st); i++) {
        acr_st_tensor t;
        double d[8];
        int64_t l[8];
        float f[8];
        need(acr_st_get(st, i, &t) == ACR_OK && acr_st_find(st, t.name) == i);
        need(t.elements >= 0 && t.offset >= 8 && t.bytes <= file_bytes - t.offset);
        total += t.bytes;
        int64_t n = t.elements < 8 ? t.elements : 8;
        /* A value may not fit the type; the bytes must be there. */
        (void)acr_st_read_f64(st, i, 0, n, d);
        (void)acr_st_read_i64(st, i, t.elements - n, n, l);
        (void)acr_st_read_f32(st, i, t.elements - n, n, f);
        need(acr_st_read_raw(st, i, t.elements - n, n, d) == ACR_OK);
        need(acr_st_read_raw(st, i, t.elements, 1, d) == ACR_E_ARGUMENT);
    }
    need(total <= file_bytes);
    for (int i = 0; i < acr_st_metadata_count(st); i++)
        need(acr_st_metadata(st, acr_st_metadata_key(st, i)));
    need(acr_st_weights_hash(st, "", hash) == ACR_OK && strlen(hash) == 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static acr_context *ctx;
    static char path[64];
    static int fd = -1;
    if (!ctx) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (fd < 0 || acr_context_create(&ctx, NULL) != ACR_OK)
            return 0;
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        return 0;
    acr_st *st;
    acr_checkpoint *c;
    acr_status status = acr_st_open(&st, ctx, path);
    if (status == ACR_OK) {
        read_all(st, (int64_t)size);
        acr_st_close(st);
    } else {
        need(status == ACR_E_DATA && strstr(acr_error(ctx), path));
    }
    status = acr_checkpoint_open(&c, ctx, path);
    if (status == ACR_OK)
        acr_checkpoint_close(c);
    else
        need(status == ACR_E_DATA);
    return 0;
}
