/* test_safetensors.c: what is written reads back, every dtype converts or is
 * refused, and no hostile file gets past the header. */
#include "net.h"

#include "base/fpenv.h"
#include <accrue/accrue_io.h>
#include <math.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <xxhash.h>

static acr_context *ctx;
static char path[512];

static int setup(void **state)
{
    int rc = scratch_setup(state);
    snprintf(path, sizeof path, "%s", in_scratch("f.safetensors"));
    return rc || acr_context_create(&ctx, NULL) != ACR_OK;
}

static int teardown(void **state)
{
    acr_context_destroy(ctx);
    return scratch_teardown(state);
}

/* A file of this header and so many zero bytes. */
static void put_st(const char *header, size_t length, size_t data)
{
    char *b = calloc(8 + length + data, 1);
    for (int i = 0; i < 8; i++)
        b[i] = (char)(length >> 8 * i);
    memcpy(b + 8, header, length);
    put_file(path, b, 8 + length + data);
    free(b);
}

static acr_status open_header(const char *header, size_t data)
{
    put_st(header, strlen(header), data);
    acr_st *st;
    acr_status status = acr_st_open(&st, ctx, path);
    if (status == ACR_OK)
        acr_st_close(st);
    return status;
}

#define T(name, dtype, shape, begin, end) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void test_good_headers(void **state)
{
    (void)state;
    assert_int_equal(open_header("{}", 0), ACR_OK);
    assert_int_equal(open_header("   {}  ", 0), ACR_OK);
    assert_int_equal(open_header("{\"__metadata__\":{}}", 0), ACR_OK);
    assert_int_equal(open_header("{\"__metadata__\":{\"a\":\"b\\u0000c\"}}", 0), ACR_OK);
    assert_int_equal(open_header("{" T("a", "F32", "[]", "0", "4") "}", 4), ACR_OK);
    assert_int_equal(open_header("{" T("a", "F32", "[0,7]", "0", "0") "}", 0), ACR_OK);
    assert_int_equal(open_header("{" T("b", "U8", "[3]", "4", "7") "," T("e", "F64", "[0]", "4", "4") "," T(
                                     "a", "F32", "[1]", "0", "4") "}", 7), ACR_OK);
    assert_int_equal(open_header("{" T("\\u00e4\\\"", "BOOL", "[2]", "0", "2") "}", 2), ACR_OK);
}

static void test_hostile_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } cases[] = {
        {"", 0, "JSON"},
        {"{", 0, "JSON"},
        {"[]", 0, "no object"},
        {"nul", 0, "JSON"},
        {"{} {}", 0, "JSON"},
        {"{}x", 0, "JSON"},
        {"\xff{}", 0, "JSON"},
        {"{\"a\xc3\x28\":1}", 0, "JSON"},
        {"{\"a\":1}", 0, "tensor a"},
        {"{\"a\":{}}", 0, "dtype"},
        {"{\"a\":{\"dtype\":\"F32\"}}", 0, "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0, "data_offsets"},
        {"{\"a\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,4]}}", 4, "dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"extra\":1}}", 4, "extra"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,4]}}", 4, "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4,8]}}", 4, "pair"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4.0]}}", 4, "pair"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":{\"0\":0}}}", 4, "pair"},
        {"{" T("a", "F33", "[1]", "0", "4") "}", 4, "F33"},
        {"{" T("a", "f32", "[1]", "0", "4") "}", 4, "f32"},
        {"{" T("a", "F32", "[-1]", "0", "4") "}", 4, "dimension 0"},
        {"{" T("a", "F32", "[1,1.5]", "0", "4") "}", 4, "dimension 1"},
        {"{" T("a", "F32", "[true]", "0", "4") "}", 4, "dimension 0"},
        {"{" T("a", "F32", "[\"1\"]", "0", "4") "}", 4, "dimension 0"},
        {"{" T("a", "F32", "[99999999999999999999]", "0", "4") "}", 4, "JSON"},
        {"{" T("x", "F32", "[4294967296,4294967296,4]", "0", "0") "}", 0, "64 bits"},
        {"{" T("x", "F64", "[4611686018427387904]", "0", "0") "}", 0, "needs"},
        {"{" T("a", "F32", "[1]", "-4", "0") "}", 4, "leave"},
        {"{" T("a", "F32", "[1]", "4", "0") "}", 4, "leave"},
        {"{" T("a", "F32", "[1]", "0", "8") "}", 4, "leave"},
        {"{" T("a", "F32", "[2]", "0", "4") "}", 4, "span"},
        {"{" T("a", "F32", "[1]", "0", "4") "}", 5, "follow"},
        {"{" T("a", "F32", "[1]", "4", "8") "}", 8, "begins at byte 4"},
        {"{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "0", "4") "}", 4, "must begin at 4"},
        {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[1]", "4", "8") "}", 8, "must begin at 8"},
        {"{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "8", "12") "}", 12, "must begin at 4"},
        {"{" T("a", "F32", "[1]", "0", "4") "," T("a", "F32", "[1]", "4", "8") "}", 8, "duplicate"},
        {"{" T("a", "F32", "[1]", "0", "4") "," T("\\u0061", "F32", "[1]", "4", "8") "}", 8, "duplicate"},
        {"{" T("a\\u0000b", "F32", "[1]", "0", "4") "}", 4, "JSON"},
        {"{\"__metadata__\":[]}", 0, "__metadata__"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "the value of a"},
        {"{\"__metadata__\":{\"a\":{}}}", 0, "the value of a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        acr_status status = open_header(cases[i].header, cases[i].data);
        if (status != ACR_E_DATA || !strstr(acr_error(ctx), cases[i].says) || !strstr(acr_error(ctx), path))
            fail_msg("%s: status %d: '%s' should say '%s'", cases[i].header, status, acr_error(ctx), cases[i].says);
    }
}

static void test_hostile_files(void **state)
{
    (void)state;
    acr_st *st;
    put_file(path, "", 0);
    assert_int_equal(acr_st_open(&st, ctx, path), ACR_E_DATA);
    put_file(path, "\x02\0\0\0\0\0\0", 7);
    assert_int_equal(acr_st_open(&st, ctx, path), ACR_E_DATA);
    put_file(path, "\0\0\0\0\0\0\0\x40{}", 10);
    assert_int_equal(acr_st_open(&st, ctx, path), ACR_E_DATA);
    assert_says(ctx, "at most 100000000");
    put_file(path, "\x03\0\0\0\0\0\0\0{}", 10);
    assert_int_equal(acr_st_open(&st, ctx, path), ACR_E_DATA);
    assert_says(ctx, "only 2 follow");
    put_file(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    assert_int_equal(acr_st_open(&st, ctx, path), ACR_E_DATA);

    char deep[5000] = "{\"a\":";
    memset(deep + 5, '[', sizeof deep - 6);
    assert_int_equal(open_header(deep, 0), ACR_E_DATA);
    assert_says(ctx, "deeper than 32");

    size_t many = 5000000;
    char *wide = malloc(many + 1);
    memset(wide, ',', many);
    wide[many] = '\0';
    assert_int_equal(open_header(wide, 0), ACR_E_DATA);
    assert_says(ctx, "more than 2000000 values");
    free(wide);

    /* Control characters of a name do not reach the terminal. */
    assert_int_equal(open_header("{\"\\u001b[31m\":1}", 0), ACR_E_DATA);
    assert_null(strchr(acr_error(ctx), 27));
}

static void test_not_a_file(void **state)
{
    (void)state;
    acr_st *st;
    assert_int_equal(acr_st_open(&st, ctx, in_scratch("nothing")), ACR_E_DATA);
    assert_says(ctx, "nothing");
    assert_int_equal(acr_st_open(&st, ctx, scratch), ACR_E_DATA);
    assert_says(ctx, "folder");
    const char *pipe_path = in_scratch("pipe");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(acr_st_open(&st, ctx, pipe_path), ACR_E_DATA);
    assert_says(ctx, "not a regular file");
    unlink(pipe_path);
}

/* Every prefix of a good file is refused, and the good file with more. */
static void test_every_length(void **state)
{
    (void)state;
    const char *header = "{" T("a", "F32", "[2]", "0", "8") "}";
    put_st(header, strlen(header), 8);
    size_t n;
    char *b = get_file(path, &n);
    acr_st *st;
    for (size_t k = 0; k < n; k++) {
        put_file(path, b, k);
        assert_int_equal(acr_st_open(&st, ctx, path), ACR_E_DATA);
    }
    put_file(path, b, n + 1);
    assert_int_equal(acr_st_open(&st, ctx, path), ACR_E_DATA);
    put_file(path, b, n);
    assert_int_equal(acr_st_open(&st, ctx, path), ACR_OK);
    acr_st_close(st);
    free(b);
}

static void test_cut_after_open(void **state)
{
    (void)state;
    const char *header = "{" T("a", "F32", "[2]", "0", "8") "}";
    put_st(header, strlen(header), 8);
    acr_st *st;
    float v[2];
    assert_int_equal(acr_st_open(&st, ctx, path), ACR_OK);
    assert_int_equal(truncate(path, (off_t)(8 + strlen(header) + 5)), 0);
    assert_int_equal(acr_st_read_f32(st, 0, 0, 1, v), ACR_OK);
    assert_int_equal(acr_st_read_f32(st, 0, 0, 2, v), ACR_E_DATA);
    assert_says(ctx, "cut");
    acr_st_close(st);
}

/* ---- writing and reading back ---------------------------------------------------- */

static void test_round_trip(void **state)
{
    (void)state;
    static const double f64[2] = {0x1p-1074, 1.5};
    static const float f32[3] = {1, -0.0f, 0x1p-149f};
    static const int64_t i64[1] = {INT64_MIN};
    static const uint8_t u8[3] = {1, 2, 255};
    int64_t d2[2] = {1, 2}, d1[1] = {3}, d0[1] = {0};
    acr_st_writer *w;
    assert_int_equal(acr_st_writer_create(&w, ctx, path), ACR_OK);
    assert_int_equal(acr_st_writer_metadata(w, "zz \"q\"\n", "v\\"), ACR_OK);
    assert_int_equal(acr_st_writer_metadata(w, "aa", ""), ACR_OK);
    assert_int_equal(acr_st_writer_metadata(w, "aa", ""), ACR_E_ARGUMENT);
    assert_int_equal(acr_st_writer_tensor(w, "u8", ACR_ST_U8, 1, d1), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "b32", ACR_ST_F32, 1, d1), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "f64", ACR_ST_F64, 2, d2), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "a64", ACR_ST_I64, 0, NULL), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "none", ACR_ST_F16, 1, d0), ACR_OK);
    assert_int_equal(acr_st_writer_write(w, u8, 1), ACR_E_STATE);
    assert_int_equal(acr_st_writer_begin(w), ACR_OK);
    static const int order[] = {3, 2, 1, 4, 0, -1};
    for (int i = 0; i < 6; i++)
        assert_int_equal(acr_st_writer_at(w, i), order[i]);
    assert_int_equal(acr_st_writer_write(w, i64, 8), ACR_OK);
    assert_int_equal(acr_st_writer_write(w, f64, 3), ACR_OK); /* in pieces */
    assert_int_equal(acr_st_writer_write(w, (const char *)f64 + 3, 13), ACR_OK);
    assert_int_equal(acr_st_writer_write(w, f32, 12), ACR_OK);
    assert_int_equal(acr_st_writer_commit(w), ACR_E_STATE);
    assert_int_equal(acr_st_writer_write(w, u8, 4), ACR_E_STATE);
    assert_int_equal(acr_st_writer_write(w, u8, 3), ACR_OK);
    assert_int_equal(acr_st_writer_commit(w), ACR_OK);
    acr_st_writer_destroy(w);
    assert_int_equal(names_with(scratch, ".tmp."), 0);

    size_t n;
    char *bytes = get_file(path, &n);
    uint64_t head;
    memcpy(&head, bytes, 8);
    assert_int_equal(head % 8, 0);
    free(bytes);
    acr_st *st;
    assert_int_equal(acr_st_open(&st, ctx, path), ACR_OK);
    assert_int_equal(acr_st_count(st), 5);
    assert_string_equal(acr_st_metadata(st, "zz \"q\"\n"), "v\\");
    assert_string_equal(acr_st_metadata_key(st, 0), "aa");
    assert_null(acr_st_metadata_key(st, 2));
    assert_null(acr_st_metadata(st, "bb"));
    assert_int_equal(acr_st_find(st, "bb"), -1);
    static const char *const names[] = {"a64", "b32", "f64", "none", "u8"};
    for (int i = 0; i < 5; i++) {
        acr_st_tensor t;
        assert_int_equal(acr_st_get(st, i, &t), ACR_OK);
        assert_string_equal(t.name, names[i]);
        assert_int_equal(acr_st_find(st, names[i]), i);
        assert_int_equal(t.offset % (int64_t)acr_st_dtype_bytes(t.dtype), 0);
    }
    double d[2];
    float f[3];
    int64_t l;
    int32_t k[3];
    assert_int_equal(acr_st_read_f64(st, 2, 0, 2, d), ACR_OK);
    assert_memory_equal(d, f64, 16);
    assert_int_equal(acr_st_read_f32(st, 1, 0, 3, f), ACR_OK);
    assert_memory_equal(f, f32, 12);
    assert_int_equal(acr_st_read_i64(st, 0, 0, 1, &l), ACR_OK);
    assert_true(l == INT64_MIN);
    assert_int_equal(acr_st_read_i32(st, 4, 1, 2, k), ACR_OK);
    assert_int_equal(k[1], 255);
    assert_int_equal(acr_st_read_i32(st, 4, 1, 3, k), ACR_E_ARGUMENT);
    assert_int_equal(acr_st_read_i32(st, 4, -1, 1, k), ACR_E_ARGUMENT);
    assert_int_equal(acr_st_read_i32(st, 4, 1, INT64_MAX, k), ACR_E_ARGUMENT);
    assert_int_equal(acr_st_read_i32(st, 5, 0, 1, k), ACR_E_ARGUMENT);
    assert_int_equal(acr_st_read_f32(st, 3, 0, 0, f), ACR_OK);
    acr_st_close(st);
}

/* One tensor of n elements with these bytes, open. */
static acr_st *one(acr_st_dtype dtype, const void *bytes, int64_t n)
{
    acr_st_writer *w;
    acr_st *st;
    assert_int_equal(acr_st_writer_create(&w, ctx, path), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "v", dtype, 1, &n), ACR_OK);
    assert_int_equal(acr_st_writer_begin(w), ACR_OK);
    assert_int_equal(acr_st_writer_write(w, bytes, (size_t)n * acr_st_dtype_bytes(dtype)), ACR_OK);
    assert_int_equal(acr_st_writer_commit(w), ACR_OK);
    acr_st_writer_destroy(w);
    assert_int_equal(acr_st_open(&st, ctx, path), ACR_OK);
    return st;
}

static void test_half(void **state)
{
    (void)state;
    static uint16_t all[65536];
    static float got[65536];
    for (int i = 0; i < 65536; i++)
        all[i] = (uint16_t)i;
    acr_st *st = one(ACR_ST_F16, all, 65536);
    assert_int_equal(acr_st_read_f32(st, 0, 0, 65536, got), ACR_OK);
    acr_st_close(st);
    for (int i = 0; i < 65536; i++) {
        int e = i >> 10 & 31, m = i & 1023;
        double want = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
        want = i & 0x8000 ? -want : want;
        if (isnan(want) ? !isnan(got[i]) : got[i] != want || !signbit(got[i]) != !signbit(want))
            fail_msg("f16 %04x is %g, not %g", i, got[i], want);
    }
    st = one(ACR_ST_BF16, all, 65536);
    assert_int_equal(acr_st_read_f32(st, 0, 0, 65536, got), ACR_OK);
    acr_st_close(st);
    for (int i = 0; i < 65536; i++) {
        uint32_t bits = (uint32_t)i << 16;
        float want;
        memcpy(&want, &bits, 4);
        assert_true(isnan(want) ? isnan(got[i]) != 0 : !memcmp(&want, &got[i], 4));
    }
}

static void test_conversion(void **state)
{
    (void)state;
    float f;
    double d;
    int32_t i;
    int64_t l;
    acr_st *st = one(ACR_ST_F64, (double[]){1e300, 2.5, -3, NAN, 0x1p63, 0x1.000001p-130, INFINITY}, 7);
    assert_int_equal(acr_st_read_f32(st, 0, 0, 1, &f), ACR_E_DATA);
    assert_says(ctx, "element 0 is 1e+300");
    assert_int_equal(acr_st_read_f32(st, 0, 1, 1, &f), ACR_OK);
    assert_true(f == 2.5f);
    assert_int_equal(acr_st_read_i32(st, 0, 1, 1, &i), ACR_E_DATA);
    assert_says(ctx, "element 1 is 2.5");
    assert_int_equal(acr_st_read_i32(st, 0, 2, 1, &i), ACR_OK);
    assert_int_equal(i, -3);
    assert_int_equal(acr_st_read_i64(st, 0, 3, 1, &l), ACR_E_DATA);
    assert_int_equal(acr_st_read_f32(st, 0, 3, 1, &f), ACR_OK);
    assert_true(isnan(f));
    assert_int_equal(acr_st_read_i64(st, 0, 4, 1, &l), ACR_E_DATA);
    assert_int_equal(acr_st_read_f32(st, 0, 6, 1, &f), ACR_OK);
    assert_true(isinf(f));
#if defined(__x86_64__)
    acr__fp saved = acr__fp_get();
    acr__fp_set(0x9fc0); /* subnormals off, as under -Ofast */
    acr_status status = acr_st_read_f32(st, 0, 5, 1, &f);
    acr__fp now = acr__fp_get();
    acr__fp_set(saved);
    uint32_t bits;
    memcpy(&bits, &f, 4);
    assert_int_equal(status, ACR_OK);
    assert_int_equal(bits, 1u << 19); /* 2^-130, rounded to nearest */
    assert_int_equal(now, 0x9fc0);
#endif
    acr_st_close(st);

    st = one(ACR_ST_I64, (int64_t[]){2147483648, -2147483648, (1ll << 53) + 1, (1ll << 61) + (1ll << 37) + 1}, 4);
    assert_int_equal(acr_st_read_i32(st, 0, 0, 1, &i), ACR_E_DATA);
    assert_says(ctx, "2147483648");
    assert_int_equal(acr_st_read_i32(st, 0, 1, 1, &i), ACR_OK);
    assert_int_equal(i, INT32_MIN);
    assert_int_equal(acr_st_read_f64(st, 0, 2, 1, &d), ACR_OK);
    assert_true(d == 0x1p53);
    assert_int_equal(acr_st_read_f32(st, 0, 3, 1, &f), ACR_OK);
    assert_true(f == 0x1.000002p61f); /* rounding through double would give 0x1p61 */
    acr_st_close(st);

    st = one(ACR_ST_U64, (uint64_t[]){UINT64_MAX, 5}, 2);
    assert_int_equal(acr_st_read_i64(st, 0, 0, 1, &l), ACR_E_DATA);
    assert_says(ctx, "18446744073709551615");
    assert_int_equal(acr_st_read_f64(st, 0, 0, 1, &d), ACR_OK);
    assert_true(d == 0x1p64);
    assert_int_equal(acr_st_read_i64(st, 0, 1, 1, &l), ACR_OK);
    acr_st_close(st);

    st = one(ACR_ST_BOOL, (uint8_t[]){0, 1, 2}, 3);
    assert_int_equal(acr_st_read_f32(st, 0, 1, 1, &f), ACR_OK);
    assert_true(f == 1);
    assert_int_equal(acr_st_read_i32(st, 0, 0, 3, (int32_t[3]){0}), ACR_E_DATA);
    assert_says(ctx, "element 2 is the byte 2");
    acr_st_close(st);

    static const struct {
        acr_st_dtype dtype;
        uint64_t bits;
        double want;
    } ints[] = {{ACR_ST_I8, 0x80, -128}, {ACR_ST_U8, 0x80, 128}, {ACR_ST_I16, 0x8000, -32768},
                {ACR_ST_U16, 0x8000, 32768}, {ACR_ST_I32, 0x80000000, -2147483648.0},
                {ACR_ST_U32, 0x80000000, 2147483648.0}};
    for (size_t k = 0; k < sizeof ints / sizeof *ints; k++) {
        st = one(ints[k].dtype, &ints[k].bits, 1);
        assert_int_equal(acr_st_read_f64(st, 0, 0, 1, &d), ACR_OK);
        assert_true(d == ints[k].want);
        assert_int_equal(acr_st_read_f32(st, 0, 0, 1, &f), ACR_OK);
        assert_true(f == (float)ints[k].want);
        acr_st_close(st);
    }
}

/* More than one chunk, from the middle. */
static void test_long_range(void **state)
{
    (void)state;
    enum { N = 30000 };
    static double v[N];
    static float got[N];
    for (int i = 0; i < N; i++)
        v[i] = i;
    acr_st *st = one(ACR_ST_F64, v, N);
    assert_int_equal(acr_st_read_f32(st, 0, 17, N - 17, got), ACR_OK);
    for (int i = 17; i < N; i++)
        assert_true(got[i - 17] == (float)i);
    acr_st_close(st);
}

static void test_writer_refuses(void **state)
{
    (void)state;
    acr_st_writer *w;
    put_file(path, "old", 3);
    assert_int_equal(acr_st_writer_create(&w, ctx, path), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "a", ACR_ST_F32, 1, (int64_t[]){-1}), ACR_E_ARGUMENT);
    assert_int_equal(acr_st_writer_tensor(w, "a", ACR_ST_F32, 2, (int64_t[]){INT64_MAX, 3}), ACR_E_ARGUMENT);
    assert_int_equal(acr_st_writer_tensor(w, "__metadata__", ACR_ST_F32, 0, NULL), ACR_E_ARGUMENT);
    assert_int_equal(acr_st_writer_tensor(w, "a", ACR_ST_DTYPE_COUNT, 0, NULL), ACR_E_ARGUMENT);
    assert_int_equal(acr_st_writer_tensor(w, "a", ACR_ST_F32, 0, NULL), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "a", ACR_ST_F64, 0, NULL), ACR_OK);
    assert_int_equal(acr_st_writer_begin(w), ACR_E_ARGUMENT);
    assert_says(ctx, "a is declared twice");
    acr_st_writer_destroy(w);

    assert_int_equal(acr_st_writer_create(&w, ctx, path), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "a", ACR_ST_F32, 0, NULL), ACR_OK);
    assert_int_equal(acr_st_writer_begin(w), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "b", ACR_ST_F32, 0, NULL), ACR_E_STATE);
    assert_int_equal(names_with(scratch, ".tmp."), 1);
    acr_st_writer_destroy(w);
    assert_int_equal(names_with(scratch, ".tmp."), 0);
    size_t n;
    char *b = get_file(path, &n);
    assert_string_equal(b, "old");
    free(b);
}

static void test_file_hash(void **state)
{
    (void)state;
    uint32_t bits[4] = {0x3f800000, 0xffc12345, 0x7f800001, 0x80000000}, clean[4];
    memcpy(clean, bits, sizeof bits);
    clean[1] = clean[2] = 0x7fc00000;
    acr_st *st = one(ACR_ST_F32, bits, 4);
    char text[ACR_HASH_TEXT], want[ACR_HASH_TEXT];
    assert_int_equal(acr_st_weights_hash(st, NULL, text), ACR_OK);
    XXH128_hash_t h = XXH3_128bits(clean, sizeof clean);
    snprintf(want, sizeof want, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
    assert_string_equal(text, want);
    assert_int_equal(acr_st_weights_hash(st, "other", text), ACR_OK);
    assert_string_not_equal(text, want);
    acr_st_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_headers),  cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_hostile_files), cmocka_unit_test(test_not_a_file),
        cmocka_unit_test(test_every_length),  cmocka_unit_test(test_cut_after_open),
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_half),
        cmocka_unit_test(test_conversion),    cmocka_unit_test(test_long_range),
        cmocka_unit_test(test_writer_refuses), cmocka_unit_test(test_file_hash),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
