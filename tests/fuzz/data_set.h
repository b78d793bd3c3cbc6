/* data_set.h: what the fuzz targets of data files share. A head that is accepted
 * must keep its promises; a set that opens must be readable to its last sample. */
#ifndef ACR_FUZZ_DATA_SET_H
#define ACR_FUZZ_DATA_SET_H

#include "base/context.h"
#include "data/array.h"
#include "data/dataset.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef acr_status (*head_parser)(acr_context *ctx, const char *path, const uint8_t *bytes, size_t n,
                                  acr__array_head *out);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void try_head(acr_context *ctx, head_parser parse, const uint8_t *data, size_t size)
{
    acr__array_head head;
    acr_status status = parse(ctx, "fuzzed", data, size, &head);
    must(status == ACR_OK || (status == ACR_E_DATA && strncmp(acr_error(ctx), "fuzzed", 6) == 0));
    if (status != ACR_OK)
        return;
    must(head.ndim >= 1 && head.ndim <= ACR_ARRAY_DIMS && head.offset > 0 && (size_t)head.offset <= size);
    int64_t left = head.bytes;
    for (int d = 0; d < head.ndim; d++) {
        must(head.dim[d] > 0 && left % head.dim[d] == 0);
        left /= head.dim[d];
    }
    must(left == (int64_t)acr_st_dtype_bytes(head.dtype));
}

static void read_set(acr__dataset *set)
{
    const acr__data_info *info = acr__dataset_info(set);
    /* Deflate makes a lot of little: more than this says nothing new. */
    if (info->slot_bytes > 1 << 20)
        return;
    void *row[2] = {malloc((size_t)info->input_elements * 4), malloc((size_t)info->target_elements * 4)};
    must(row[0] && row[1]);
    const int64_t row_bytes[2] = {info->input_elements * 4, info->target_elements * 4};
    acr_slots slots = {sizeof slots, row, row_bytes, NULL};
    acr__data_source from;
    acr_source source;
    acr__data_source_init(&from, set, true, 1, &source);
    for (int64_t i = 0; i < info->samples; i += 1 + info->samples / 16)
        must(source.get(source.user, 0, i, 1, &slots) == ACR_OK);
    free(row[0]);
    free(row[1]);
}

static int try_data_set(const char *format, head_parser parse, const uint8_t *data, size_t size)
{
    acr_context *ctx;
    must(acr__context_new(&ctx, NULL) == ACR_OK);
    try_head(ctx, parse, data, size);
    char path[] = "/tmp/accrue-fuzz-XXXXXX";
    int fd = mkstemp(path);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    acr__data_desc d = ACR_DATA_DESC_INIT;
    d.format = format;
    d.input = d.target = path;
    d.cache = "/dev/null/nowhere"; /* nothing stays: a nameless file each time */
    d.scale = 255;
    acr__dataset *set;
    if (acr__dataset_open(&set, ctx, &d) == ACR_OK) {
        read_set(set);
        acr__dataset_close(set);
    } else {
        must(acr_error(ctx)[0] != 0);
    }
    close(fd);
    unlink(path);
    acr_context_destroy(ctx);
    return 0;
}

#endif
