/* idx.c: the head of an IDX file (the format of MNIST): two zero bytes, a type, a
 * count of dimensions, the dimensions as big-endian u32, then the elements, big-
 * endian too. Reads memory only; whether the file is as long as the head says is
 * the business of who opened it. */
#include "data/array.h"
#include <string.h>

static uint32_t u32_be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool dtype_of(uint8_t code, acr_st_dtype *out)
{
    switch (code) {
    case 0x08:
        *out = ACR_ST_U8;
        return true;
    case 0x09:
        *out = ACR_ST_I8;
        return true;
    case 0x0B:
        *out = ACR_ST_I16;
        return true;
    case 0x0C:
        *out = ACR_ST_I32;
        return true;
    case 0x0D:
        *out = ACR_ST_F32;
        return true;
    case 0x0E:
        *out = ACR_ST_F64;
        return true;
    default:
        return false;
    }
}

acr_status acr__idx_parse(acr_context *ctx, const char *path, const uint8_t *bytes, size_t n, acr__array_head *out)
{
    FAIL_IF(n < 4, ctx, ACR_E_DATA, "%s: %zu bytes are too few for an IDX file, whose head alone has 8", path, n);
    FAIL_IF(n >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0, ctx, ACR_E_DATA, "%s: this is an .npy file; use format: npy",
            path);
    FAIL_IF(bytes[0] != 0 || bytes[1] != 0, ctx, ACR_E_DATA,
            "%s: not an IDX file: it begins with %02x %02x, and IDX with 00 00", path, bytes[0], bytes[1]);
    acr__array_head head = {.big_endian = true, .ndim = bytes[3]};
    FAIL_IF(!dtype_of(bytes[2], &head.dtype), ctx, ACR_E_DATA,
            "%s: element type 0x%02x is not one of IDX's: 0x08 u8, 0x09 i8, 0x0b i16, 0x0c i32, 0x0d f32, 0x0e f64",
            path, bytes[2]);
    FAIL_IF(head.ndim < 1 || head.ndim > ACR_ARRAY_DIMS, ctx, ACR_E_DATA, "%s: %d dimensions; 1 to %d are allowed",
            path, head.ndim, ACR_ARRAY_DIMS);
    head.offset = 4 + 4 * (int64_t)head.ndim;
    FAIL_IF((int64_t)n < head.offset, ctx, ACR_E_DATA,
            "%s: ends within its head: %zu bytes, %d needed for %d dimensions", path, n, (int)head.offset, head.ndim);
    for (int d = 0; d < head.ndim; d++)
        head.dim[d] = u32_be(bytes + 4 + 4 * d);
    TRY(acr__array_measure(ctx, path, &head));
    *out = head;
    return ACR_OK;
}
