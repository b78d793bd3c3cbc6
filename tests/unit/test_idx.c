/* test_idx.c: the head of an IDX file: each type, each wrong field, and sizes
 * that no file has. */
#include "unit/data_files.h"
#include "base/context.h"
#include "data/array.h"

static acr_context *ctx;

static int setup(void **state)
{
    (void)state;
    return acr__context_new(&ctx, NULL) == ACR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    acr_context_destroy(ctx);
    return 0;
}

static void refused(const uint8_t *bytes, size_t n, const char *word)
{
    acr__array_head head;
    assert_int_equal(acr__idx_parse(ctx, "some/file", bytes, n, &head), ACR_E_DATA);
    assert_ptr_equal(strstr(acr_error(ctx), "some/file"), acr_error(ctx));
    if (!strstr(acr_error(ctx), word))
        fail_msg("'%s' is not in: %s", word, acr_error(ctx));
}

static void types(void **state)
{
    (void)state;
    static const struct {
        uint8_t code;
        acr_st_dtype dtype;
        int bytes;
    } known[] = {{0x08, ACR_ST_U8, 1},  {0x09, ACR_ST_I8, 1},  {0x0B, ACR_ST_I16, 2},
                 {0x0C, ACR_ST_I32, 4}, {0x0D, ACR_ST_F32, 4}, {0x0E, ACR_ST_F64, 8}};
    int accepted = 0;
    for (int code = 0; code < 256; code++) {
        size_t n;
        uint8_t *p = idx_make((uint8_t)code, 3, (uint32_t[]){60000, 28, 27}, NULL, 0, &n);
        acr__array_head head;
        if (acr__idx_parse(ctx, "f", p, n, &head) == ACR_OK) {
            assert_int_equal(code, known[accepted].code);
            assert_int_equal(head.dtype, known[accepted].dtype);
            assert_int_equal(head.bytes, (int64_t)60000 * 28 * 27 * known[accepted].bytes);
            assert_int_equal(head.offset, 16);
            assert_int_equal(head.ndim, 3);
            assert_int_equal(head.dim[0], 60000);
            assert_int_equal(head.dim[2], 27);
            assert_true(head.big_endian);
            accepted++;
        }
        free(p);
    }
    assert_int_equal(accepted, 6);
}

static void wrong_fields(void **state)
{
    (void)state;
    size_t n;
    uint8_t *p = idx_make(8, 2, (uint32_t[]){5, 4}, NULL, 0, &n);
    refused(p, 3, "too few");
    refused(p, 11, "within its head");
    p[3] = 0;
    refused(p, n, "0 dimensions");
    p[3] = 9;
    refused(p, n, "9 dimensions");
    p[3] = 2;
    p[2] = 7;
    refused(p, n, "0x07");
    p[1] = 1;
    refused(p, n, "00 01");
    free(p);
    refused((const uint8_t *)"\x93NUMPY\x01\x00\x00\x00", 10, "format: npy");
    p = idx_make(8, 2, (uint32_t[]){0, 4}, NULL, 0, &n);
    refused(p, n, "dimension 0 is 0");
    free(p);
}

static void more_than_any_file(void **state)
{
    (void)state;
    size_t n;
    uint8_t *p = idx_make(8, 3, (uint32_t[]){0xFFFFFFFF, 0xFFFF, 0xFFFF}, NULL, 0, &n);
    refused(p, n, "more bytes than any file");
    free(p);
    p = idx_make(0x0E, 4, (uint32_t[]){1 << 16, 1 << 16, 1 << 16, 1 << 16}, NULL, 0, &n);
    refused(p, n, "more bytes than any file");
    free(p);
    /* 2^64 elements: a product that wraps to 0 */
    p = idx_make(8, 2, (uint32_t[]){0x80000000, 0x80000000}, NULL, 0, &n);
    refused(p, n, "more bytes than any file");
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),
        cmocka_unit_test(wrong_fields),
        cmocka_unit_test(more_than_any_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
