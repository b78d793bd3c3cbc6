/* test_hf_weights.c: a language model's weights from one file and from shards, in
 * every dtype and under both forms of names; what does not fit changes nothing; what
 * is exported reads back to the byte. */
#include "lm_files.h"

static int setup(void **state)
{
    int rc = scratch_setup(state);
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    opts.log = keep_log;
    return rc || acr_context_create(&ctx, &opts) != ACR_OK;
}

static int teardown(void **state)
{
    acr_context_destroy(ctx);
    return scratch_teardown(state);
}

static int fresh(void **state)
{
    (void)state;
    scratch_empty(open(scratch, O_RDONLY | O_DIRECTORY));
    open_model(ACR__LM_GPT2, true);
    told[0] = '\0';
    return 0;
}

static int close_fresh(void **state)
{
    (void)state;
    close_model();
    return 0;
}

static void expect_loaded(void)
{
    forget();
    if (acr__lm_weights_load(t, scratch) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    assert_true(holds(true));
}

static void expect_refused(const char *part)
{
    forget();
    assert_int_equal(acr__lm_weights_load(t, scratch), ACR_E_DATA);
    assert_says(ctx, part);
    assert_says(ctx, scratch);
    assert_true(holds(false));
}

/* ---- one file ------------------------------------------------------------------------- */

static void test_dtypes_and_names(void **state)
{
    (void)state;
    static const acr_st_dtype dtypes[] = {ACR_ST_F32, ACR_ST_BF16, ACR_ST_F16, ACR_ST_F64};
    item items[MOST];
    for (int d = 0; d < 4; d++) {
        int n = all_items(items, d % 2 ? strlen("transformer.") : 0);
        items[n++] = (item){"h.1.attn.bias", "transformer.ln_f.bias", 1}; /* the mask that old files hold */
        items[n++] = (item){"transformer.h.0.attn.masked_bias", "transformer.ln_f.bias", 1};
        write_items("model.safetensors", dtypes[d], n, items);
        expect_loaded();
    }
    assert_string_equal(told, "");
}

static void test_tied_head(void **state)
{
    (void)state;
    item items[MOST];
    int n = all_items(items, 0), table = acr_param_index(g, "transformer.wte.weight");
    items[n] = (item){"lm_head.weight", "transformer.wte.weight", (uint32_t)table + 7};
    write_items("model.safetensors", ACR_ST_F32, n + 1, items);
    expect_loaded();
    assert_non_null(strstr(told, "lm_head.weight equals transformer.wte.weight"));
    items[n].seed = 1;
    write_items("model.safetensors", ACR_ST_F32, n + 1, items);
    expect_refused("tie_word_embeddings");
    items[n].shape_of = "transformer.wpe.weight";
    write_items("model.safetensors", ACR_ST_F32, n + 1, items);
    expect_refused("lm_head.weight has shape [6, 8]");
    items[table].name = "lm_head.weight"; /* the head is there in the embedding's place */
    write_items("model.safetensors", ACR_ST_F32, n, items);
    expect_loaded();
}

static void test_untied_head(void **state)
{
    (void)state;
    close_model();
    open_model(ACR__LM_QWEN2, false);
    item items[MOST];
    int n = all_items(items, 0);
    write_items("model.safetensors", ACR_ST_BF16, n, items);
    expect_loaded();
    assert_int_equal(acr_param_index(g, "lm_head.weight"), 0);
    write_items("model.safetensors", ACR_ST_BF16, n - 1, items + 1);
    expect_refused("lacks 1 of the model's 27 parameters, the first of them lm_head.weight");
}

static void test_one_file_refused(void **state)
{
    (void)state;
    item items[MOST];
    expect_refused("has neither model.safetensors nor model.safetensors.index.json");
    put_file(in_scratch("pytorch_model.bin"), "x", 1);
    expect_refused("pytorch_model.bin is not read");
    int n = all_items(items, 0);
    write_items("model.safetensors", ACR_ST_F32, n - 1, items);
    expect_refused("lacks 1");
    items[n] = (item){"score.weight", "transformer.ln_f.bias", 1};
    write_items("model.safetensors", ACR_ST_F32, n + 1, items);
    expect_refused("has 1 tensors that the model lacks, the first of them score.weight");
    items[n] = (item){"ln_f.bias", "transformer.ln_f.bias", 1};
    write_items("model.safetensors", ACR_ST_F32, n + 1, items);
    expect_refused("transformer.ln_f.bias is there twice");
    items[3].shape_of = "transformer.wpe.weight";
    write_items("model.safetensors", ACR_ST_F32, n, items);
    expect_refused("has shape [6, 8]; the model's parameter has");
    put_file(in_scratch("model.safetensors"), "junk", 4);
    expect_refused("model.safetensors");
}

/* ---- shards ----------------------------------------------------------------------------- */

static void test_shards(void **state)
{
    (void)state;
    write_shards(NULL);
    expect_loaded();
    static const char *const last = "transformer.wte.weight";
    char entry[400];
    static const struct {
        const char *file, *says;
    } bad[] = {
        {"\"../b.safetensors\"", "../b.safetensors"},
        {"\"/etc/passwd\"", "plain name"},
        {"\"x/b.safetensors\"", "plain name"},
        {"\"\"", "plain name"},
        {"\".\"", "plain name"},
        {"\"b.safetensors\\u0000\"", "plain name"},
        {"7", "transformer.wte.weight is in 7"},
        {"\"c.safetensors\"", "c.safetensors"},
        {"\"a.safetensors\"", "which lacks it"},
    };
    int at = acr_param_count(g) - 1;
    assert_string_equal(acr_param_name(g, at), last);
    assert_int_equal(at % 2, 1); /* it is in b.safetensors */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(entry, sizeof entry, "\"%s\": %s", last, bad[i].file);
        write_shards(entry);
        expect_refused(bad[i].says);
    }
    write_shards("\"x\": \"a.safetensors\"");
    expect_refused("tensor x is to be in a.safetensors, which lacks it");
    snprintf(entry, sizeof entry, "\"%s\": \"a.safetensors\", \"%s\": \"a.safetensors\"", last, last);
    write_shards(entry);
    expect_refused("duplicate");
    put_index("{\"weight_map\": {}}");
    expect_refused("weight_map");
    put_index("{\"weight_map\": [1]}");
    expect_refused("weight_map");
    put_index("{}");
    expect_refused("weight_map");
}

static void test_tensor_in_two_shards(void **state)
{
    (void)state;
    item items[MOST];
    write_shards(NULL);
    int n = all_items(items, 0);
    write_items("b.safetensors", ACR_ST_F32, n, items); /* a's tensors too */
    expect_refused("which the index puts into a.safetensors");
    items[0].name = "stranger";
    write_items("a.safetensors", ACR_ST_F32, 1, items);
    write_shards(NULL);
    int k = 0;
    for (int i = 0; i < n; i += 2)
        items[k++] = (item){acr_param_name(g, i), acr_param_name(g, i), 1};
    items[k++] = (item){"stranger", "transformer.wte.weight", 1};
    write_items("a.safetensors", ACR_ST_F32, k, items);
    expect_refused("holds tensor stranger, which the index does not name");
}

static void test_too_many_shards(void **state)
{
    (void)state;
    static char index[64000] = "{\"weight_map\": {\"w\": \"w\"";
    for (int i = 0; i < 600; i++)
        snprintf(index + strlen(index), 64, ", \"t%d\": \"f%d.safetensors\"", i, i);
    strcat(index, "}}");
    put_index(index);
    expect_refused("names 601 files; at most 512");
}

/* ---- out ----------------------------------------------------------------------------------- */

static void export_to(const char *file, acr_st_dtype dtype)
{
    acr_st *st;
    char path[512];
    snprintf(path, sizeof path, "%s", in_scratch(file));
    assert_int_equal(acr_st_open(&st, ctx, in_scratch("run.safetensors")), ACR_OK);
    if (acr__lm_weights_export(g, st, path, dtype) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    acr_st_close(st);
}

/* The tensors' bytes of two files are the same. */
static void same_data(const char *a, const char *b)
{
    acr_st *x, *y;
    acr_st_tensor p, q;
    assert_int_equal(acr_st_open(&x, ctx, in_scratch(a)), ACR_OK);
    assert_int_equal(acr_st_open(&y, ctx, in_scratch(b)), ACR_OK);
    assert_int_equal(acr_st_count(x), acr_st_count(y));
    for (int i = 0; i < acr_st_count(x); i++) {
        char one[4096], two[4096];
        assert_int_equal(acr_st_get(x, i, &p), ACR_OK);
        assert_int_equal(acr_st_get(y, i, &q), ACR_OK);
        assert_string_equal(p.name, q.name);
        assert_int_equal(p.dtype, q.dtype);
        assert_int_equal(acr_st_read_raw(x, i, 0, p.elements, one), ACR_OK);
        assert_int_equal(acr_st_read_raw(y, i, 0, p.elements, two), ACR_OK);
        assert_memory_equal(one, two, (size_t)p.bytes);
    }
    acr_st_close(x);
    acr_st_close(y);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const acr_st_dtype dtypes[] = {ACR_ST_F32, ACR_ST_BF16, ACR_ST_F16};
    item items[MOST];
    int n = all_items(items, 0);
    for (int d = 0; d < 3; d++) {
        write_items("model.safetensors", dtypes[d], n, items);
        expect_loaded();
        assert_int_equal(acr_model_save(t, in_scratch("run.safetensors"), NULL), ACR_OK);
        export_to("out.safetensors", dtypes[d]);
        same_data("model.safetensors", "out.safetensors");
    }
}

static void test_export_refused(void **state)
{
    (void)state;
    item items[MOST];
    acr_st *st;
    char path[512];
    int n = all_items(items, 0), table = acr_param_index(g, "transformer.wte.weight");
    snprintf(path, sizeof path, "%s", in_scratch("out.safetensors"));
    forget();
    float v = 65520;
    assert_int_equal(acr_param_write(t, table, 5, 1, &v), ACR_OK);
    assert_int_equal(acr_model_save(t, in_scratch("run.safetensors"), NULL), ACR_OK);
    assert_int_equal(acr_st_open(&st, ctx, in_scratch("run.safetensors")), ACR_OK);
    assert_int_equal(acr__lm_weights_export(g, st, path, ACR_ST_F16), ACR_E_DATA);
    assert_says(ctx, "transformer.wte.weight: element 5 is 65520, which does not fit F16");
    acr_st_close(st);
    items[n] = (item){"more", "transformer.ln_f.bias", 1};
    write_items("run.safetensors", ACR_ST_F32, n + 1, items);
    assert_int_equal(acr_st_open(&st, ctx, in_scratch("run.safetensors")), ACR_OK);
    assert_int_equal(acr__lm_weights_export(g, st, path, ACR_ST_F32), ACR_E_DATA);
    assert_says(ctx, "29 tensors, the model 28 parameters");
    acr_st_close(st);
    write_items("run.safetensors", ACR_ST_F32, n - 1, items + 1);
    assert_int_equal(acr_st_open(&st, ctx, in_scratch("run.safetensors")), ACR_OK);
    assert_int_equal(acr__lm_weights_export(g, st, path, ACR_ST_F32), ACR_E_DATA);
    assert_says(ctx, "lacks the model's parameter");
    acr_st_close(st);
    assert_int_equal(names_with(scratch, "out.safetensors"), 0);
}

/* ---- narrowing --------------------------------------------------------------------------------- */

static double value_of(acr_st_dtype dtype, uint16_t h)
{
    int exponent_bits = dtype == ACR_ST_F16 ? 5 : 8, fraction_bits = 15 - exponent_bits;
    int exponent = h >> fraction_bits & ((1 << exponent_bits) - 1), fraction = h & ((1 << fraction_bits) - 1);
    int bias = (1 << (exponent_bits - 1)) - 1;
    double v = exponent ? ldexp(1 + ldexp(fraction, -fraction_bits), exponent - bias)
                        : ldexp(fraction, 1 - bias - fraction_bits);
    return h & 0x8000 ? -v : v;
}

static uint16_t narrow(acr_st_dtype dtype, double v)
{
    float f = (float)v;
    uint16_t h = 0xdead;
    assert_int_equal(acr__st_narrow(dtype, &f, 1, &h), 1);
    return h;
}

/* Every finite value is itself; halfway between two is the even one, beside it the
 * nearer. */
static void every_value(acr_st_dtype dtype, uint16_t infinity)
{
    for (uint16_t h = 0; h < infinity; h++) {
        double v = value_of(dtype, h), next = value_of(dtype, (uint16_t)(h + 1)), middle = (v + next) / 2;
        assert_int_equal(narrow(dtype, v), h);
        assert_int_equal(narrow(dtype, -v), h | 0x8000);
        if (h + 1 == infinity)
            continue;
        float m = (float)middle;
        assert_int_equal(narrow(dtype, middle), h % 2 ? h + 1 : h);
        if ((double)m == middle) {
            assert_int_equal(narrow(dtype, nextafterf(m, 0)), h);
            assert_int_equal(narrow(dtype, -nextafterf(m, INFINITY)), (h + 1) | 0x8000);
        }
    }
    static const float beyond[] = {INFINITY, -INFINITY, NAN};
    uint16_t out[3];
    assert_int_equal(acr__st_narrow(dtype, beyond, 3, out), 3);
    assert_int_equal(out[0], infinity);
    assert_int_equal(out[1], infinity | 0x8000);
    assert_true((out[2] & 0x7fff) > infinity);
}

static void test_narrowing(void **state)
{
    (void)state;
    every_value(ACR_ST_F16, 0x7c00);
    every_value(ACR_ST_BF16, 0x7f80);
    const float f16[] = {1, 65519.996f, 65520, 1}, bf16[] = {1, 3.3895313e38f, 3.3961775e38f, 1};
    uint16_t out[4];
    assert_int_equal(acr__st_narrow(ACR_ST_F16, f16, 4, out), 2);
    assert_int_equal(out[1], 0x7bff);
    assert_int_equal(acr__st_narrow(ACR_ST_BF16, bf16, 4, out), 2);
    assert_int_equal(out[1], 0x7f7f);
}

#define WITH_MODEL(test) cmocka_unit_test_setup_teardown(test, fresh, close_fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MODEL(test_dtypes_and_names), WITH_MODEL(test_tied_head),
        WITH_MODEL(test_untied_head),      WITH_MODEL(test_one_file_refused),
        WITH_MODEL(test_shards),           WITH_MODEL(test_tensor_in_two_shards),
        WITH_MODEL(test_too_many_shards),  WITH_MODEL(test_round_trip),
        WITH_MODEL(test_export_refused),   cmocka_unit_test(test_narrowing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
