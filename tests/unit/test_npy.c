/* test_npy.c: the head of an .npy file: what numpy.save writes in its three
 * versions, and what it writes that must not be trained on. */
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

static acr_status parse(int major, const char *dict, acr__array_head *head)
{
    size_t n;
    uint8_t *p = npy_make(major, dict, NULL, 0, &n);
    acr_status status = acr__npy_parse(ctx, "some/file", p, n, head);
    free(p);
    return status;
}

static void refused(const char *dict, const char *word)
{
    acr__array_head head;
    assert_int_equal(parse(1, dict, &head), ACR_E_DATA);
    assert_ptr_equal(strstr(acr_error(ctx), "some/file"), acr_error(ctx));
    if (!strstr(acr_error(ctx), word))
        fail_msg("'%s' is not in: %s", word, acr_error(ctx));
}

static void versions(void **state)
{
    (void)state;
    for (int major = 1; major <= 3; major++) {
        acr__array_head h;
        assert_int_equal(parse(major, "{'descr': '<f4', 'fortran_order': False, 'shape': (300, 20), }", &h), ACR_OK);
        assert_int_equal(h.dtype, ACR_ST_F32);
        assert_false(h.big_endian);
        assert_int_equal(h.ndim, 2);
        assert_int_equal(h.dim[0], 300);
        assert_int_equal(h.dim[1], 20);
        assert_int_equal(h.bytes, 24000);
        assert_int_equal(h.offset % 64, 0);
        assert_int_equal(h.offset, 128);
    }
    acr__array_head h;
    assert_int_equal(parse(4, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", &h), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "4.0"));
}

static void spellings(void **state)
{
    (void)state;
    acr__array_head h;
    assert_int_equal(parse(1, "{\"shape\":(7L,),'fortran_order':True,'descr':'>i8'}", &h), ACR_OK);
    assert_int_equal(h.dtype, ACR_ST_I64);
    assert_true(h.big_endian);
    assert_int_equal(h.ndim, 1);
    assert_int_equal(h.bytes, 56);
    assert_int_equal(parse(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4)}", &h), ACR_OK);
    assert_int_equal(h.dtype, ACR_ST_U8);
    assert_int_equal(h.bytes, 24);
    assert_int_equal(parse(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2,)}", &h), ACR_OK);
    assert_int_equal(h.dtype, ACR_ST_F16);
}

static void refusals(void **state)
{
    (void)state;
    refused("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "object");
    refused("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", "Fortran");
    refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", "structured");
    refused("{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }", "<c8");
    refused("{'descr': '|f4', 'fortran_order': False, 'shape': (3,), }", "byte order");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "single number");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }", "dimension 0 is 0");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }", "tuple");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (3 4), }", "tuple");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': 3, }", "tuple");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", "more than 8");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", "tuple");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", "any file");
    refused("{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976,), }", "any file");
    refused("{'descr': '<f4', 'fortran_order': 0, 'shape': (3,), }", "fortran_order");
    refused("{'descr': '<f4', 'fortran_order': False, }", "dict");
    refused("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "twice");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'extra': 1}", "extra");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), } + 1", "follows");
    refused("__import__('os')", "dict");
    refused("{'descr': '<f4", "descr");
    refused("", "dict");
}

static void wrong_bytes(void **state)
{
    (void)state;
    size_t n;
    acr__array_head h;
    uint8_t *p = npy_make(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", NULL, 0, &n);
    for (size_t cut = 0; cut < n; cut++) {
        /* A block of exactly `cut` bytes, so that reading past it is seen. */
        uint8_t *part = malloc(cut ? cut : 1);
        memcpy(part, p, cut);
        assert_int_equal(acr__npy_parse(ctx, "f", part, cut, &h), ACR_E_DATA);
        free(part);
    }
    assert_int_equal(acr__npy_parse(ctx, "f", p, n, &h), ACR_OK);
    p[8] = p[9] = 0xff;
    assert_int_equal(acr__npy_parse(ctx, "f", p, n, &h), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "65535"));
    p[0] = 0;
    assert_int_equal(acr__npy_parse(ctx, "f", p, n, &h), ACR_E_DATA);
    free(p);
    assert_int_equal(acr__npy_parse(ctx, "f", (const uint8_t *)"\0\0\x08\x01\0\0\0\5\0\0", 10, &h), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "format: idx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(spellings),
        cmocka_unit_test(refusals),
        cmocka_unit_test(wrong_bytes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
