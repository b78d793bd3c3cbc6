/* test_checkpoint.c: models and checkpoints come back to the same bits; whatever
 * is damaged, foreign or torn is refused and changes nothing. */
#include "net.h"

#include "io/file.h"
#include <accrue/accrue_io.h>

static char path[512], folder[512];

static int setup(void **state)
{
    int rc = scratch_setup(state);
    snprintf(path, sizeof path, "%s", in_scratch("c.safetensors"));
    snprintf(folder, sizeof folder, "%s", in_scratch("checkpoints"));
    return rc || mkdir(folder, 0777) != 0;
}

static const char *at_step(int step)
{
    static char name[600];
    snprintf(name, sizeof name, "%s/step-%08d.safetensors", folder, step);
    return name;
}

static void empty_folder(void)
{
    scratch_empty(open(folder, O_RDONLY | O_DIRECTORY));
}

/* Flips bits of the byte in the middle of the file. */
static void damage(const char *name)
{
    size_t n;
    char *b = get_file(name, &n);
    b[n - 100] ^= 4;
    put_file(name, b, n);
    free(b);
}

/* Replaces `from` by `to`, of equal length, in the checkpoint at `path`, and its
 * checksum by the right one, which the refusal tells. */
static void forge(acr_context *ctx, const char *from, const char *to)
{
    size_t n;
    char *b = get_file(path, &n);
    char *p = memmem(b, n, from, strlen(from));
    assert_non_null(p);
    memcpy(p, to, strlen(to));
    put_file(path, b, n);
    acr_checkpoint *c;
    assert_int_equal(acr_checkpoint_open(&c, ctx, path), ACR_E_DATA);
    assert_says(ctx, "damaged");
    const char *right = strstr(acr_error(ctx), "contents ") + 9;
    char *sum = (char *)memmem(b, n, "accrue.checksum\":\"", 18) + 18;
    memcpy(sum, right, 32);
    put_file(path, b, n);
    free(b);
}

/* ---- checkpoints -------------------------------------------------------------------- */

static void test_same_bits(void **state)
{
    (void)state;
    net a, b;
    net_open(&a);
    net_open(&b);
    net_fill(&a, 40);
    static const char *const keys[] = {"metrics.jsonl", "best \"metric\""}, *const values[] = {"12345", "0x1.8p+1\n"};
    acr_checkpoint_opts opts = {sizeof opts, "abcdef", 2, keys, values};
    assert_int_equal(acr_checkpoint_save(a.t, path, &opts), ACR_OK);
    assert_true(net_holds(&a, 40));

    acr_checkpoint *c;
    assert_int_equal(acr_checkpoint_open(&c, b.ctx, path), ACR_OK);
    assert_string_equal(acr_checkpoint_path(c), path);
    assert_string_equal(acr_checkpoint_recipe_hash(c), "abcdef");
    assert_string_equal(acr_checkpoint_value(c, "metrics.jsonl"), "12345");
    assert_string_equal(acr_checkpoint_value(c, "best \"metric\""), "0x1.8p+1\n");
    assert_null(acr_checkpoint_value(c, "nothing"));
    assert_null(acr_checkpoint_value(c, "accrue.checksum"));
    assert_string_equal(acr_checkpoint_note(c), "");
    assert_int_equal(acr_checkpoint_numerics(c), acr_numerics());
    acr_clock clock;
    acr_checkpoint_clock(c, &clock);
    assert_int_equal(clock.updates, 40);
    assert_int_equal(clock.windows, 43);
    assert_int_equal(acr_checkpoint_restore(c, b.t), ACR_OK);
    assert_true(net_holds(&b, 40));
    char of_trainer[ACR_HASH_TEXT], of_file[ACR_HASH_TEXT];
    assert_int_equal(acr_weights_hash(b.t, of_trainer), ACR_OK);
    assert_int_equal(acr_st_weights_hash(acr_checkpoint_tensors(c), "param.", of_file), ACR_OK);
    assert_string_equal(of_trainer, of_file);
    acr_checkpoint_close(c);

    opts.recipe_hash = "abcdeX";
    net_fill(&b, 7);
    assert_int_equal(acr_checkpoint_load(b.t, path, &opts), ACR_E_DATA);
    assert_says(b.ctx, "another recipe");
    assert_true(net_holds(&b, 7));
    assert_int_equal(acr_checkpoint_load(b.t, path, NULL), ACR_OK);
    assert_true(net_holds(&b, 40));

    static const char *const reserved[] = {"accrue.updates"};
    opts = (acr_checkpoint_opts){sizeof opts, NULL, 1, reserved, values};
    assert_int_equal(acr_checkpoint_save(a.t, path, &opts), ACR_E_ARGUMENT);
    assert_int_equal(acr_checkpoint_load(b.t, path, NULL), ACR_OK);
    assert_int_equal(names_with(scratch, ".tmp."), 0);
    net_close(&a);
    net_close(&b);
}

static void test_every_byte_counts(void **state)
{
    (void)state;
    net a;
    net_open(&a);
    net_fill(&a, 5);
    assert_int_equal(acr_checkpoint_save(a.t, path, NULL), ACR_OK);
    net_fill(&a, 6);
    size_t n;
    char *b = get_file(path, &n);
    int fd = open(path, O_WRONLY);
    for (size_t i = 0; i < n; i++) {
        char flipped = b[i] ^ 1;
        assert_int_equal(pwrite(fd, &flipped, 1, (off_t)i), 1);
        acr_status status = acr_checkpoint_load(a.t, path, NULL);
        if (status != ACR_E_DATA)
            fail_msg("byte %zu of %zu changed: status %d: %s", i, n, status, acr_error(a.ctx));
        assert_int_equal(pwrite(fd, &b[i], 1, (off_t)i), 1);
    }
    for (size_t i = n; i-- > 0;) {
        assert_int_equal(ftruncate(fd, (off_t)i), 0);
        assert_int_equal(acr_checkpoint_load(a.t, path, NULL), ACR_E_DATA);
    }
    assert_true(net_holds(&a, 6));
    put_file(path, b, n);
    assert_int_equal(acr_checkpoint_load(a.t, path, NULL), ACR_OK);
    assert_true(net_holds(&a, 5));
    close(fd);
    free(b);
    net_close(&a);
}

static void test_foreign(void **state)
{
    (void)state;
    net a, wide, flat, sgd;
    net_open(&a);
    net_open_as(&wide, 6, 1, ACR_ADAMW);
    net_open_as(&flat, 5, 0, ACR_ADAMW);
    net_open_as(&sgd, 5, 1, ACR_SGD);
    net_fill(&a, 1);
    static const struct {
        int from;
        const char *says;
    } cases[] = {{1, "dimension 0 of param.fc1.bias is 6 there, 5 here"},
                 {2, "no parameter fc2.bias"},
                 {3, "another optimizer: sgd there, adamw here"}};
    net *const nets[] = {&a, &wide, &flat, &sgd};
    for (size_t i = 0; i < 3; i++) {
        net_fill(nets[cases[i].from], 9);
        assert_int_equal(acr_checkpoint_save(nets[cases[i].from]->t, path, NULL), ACR_OK);
        assert_int_equal(acr_checkpoint_load(a.t, path, NULL), ACR_E_DATA);
        assert_says(a.ctx, cases[i].says);
        assert_says(a.ctx, path);
    }
    assert_int_equal(acr_checkpoint_save(a.t, path, NULL), ACR_OK);
    assert_int_equal(acr_checkpoint_load(flat.t, path, NULL), ACR_E_DATA);
    assert_says(flat.ctx, "it has param.fc2.bias, which is not known here");

    forge(a.ctx, "accrue.numerics\":\"1\"", "accrue.numerics\":\"2\"");
    assert_int_equal(acr_checkpoint_load(a.t, path, NULL), ACR_E_DATA);
    assert_says(a.ctx, "numerics 2");
    forge(a.ctx, "accrue.updates\":\"1\"", "accrue.updates\":\"x\"");
    assert_int_equal(acr_checkpoint_load(a.t, path, NULL), ACR_E_DATA);
    assert_says(a.ctx, "accrue.updates is 'x'");
    forge(a.ctx, "accrue.updates\":\"x\"", "accrue.updates\":\"9\"");
    assert_int_equal(acr_checkpoint_load(a.t, path, NULL), ACR_E_DATA);
    assert_says(a.ctx, "9 updates in 4 windows");

    assert_int_equal(acr_model_save(a.t, path, NULL), ACR_OK);
    assert_int_equal(acr_checkpoint_load(a.t, path, NULL), ACR_E_DATA);
    assert_says(a.ctx, "no checkpoint of accrue");
    assert_int_equal(acr_checkpoint_load(a.t, in_scratch("missing"), NULL), ACR_E_DATA);
    assert_true(net_holds(&a, 1));
    for (int i = 0; i < 4; i++)
        net_close(nets[i]);
}

/* Adam and AdamW keep the same state; a file from before the name was kept says nothing. */
static void test_optimizer(void **state)
{
    (void)state;
    net adam, adamw;
    net_open_as(&adam, 5, 1, ACR_ADAM);
    net_open(&adamw);
    net_fill(&adam, 8);
    net_fill(&adamw, 2);
    assert_int_equal(acr_checkpoint_save(adam.t, path, NULL), ACR_OK);
    assert_int_equal(acr_checkpoint_load(adamw.t, path, NULL), ACR_E_DATA);
    assert_says(adamw.ctx, "another optimizer: adam there, adamw here");
    assert_true(net_holds(&adamw, 2));
    forge(adam.ctx, "accrue.optimizer", "accrue.optimizes");
    assert_int_equal(acr_checkpoint_load(adamw.t, path, NULL), ACR_OK);
    assert_true(net_holds(&adamw, 8));
    net_close(&adam);
    net_close(&adamw);
}

static void test_latest(void **state)
{
    (void)state;
    net a;
    acr_checkpoint *c = NULL;
    char name[64];
    net_open(&a);
    assert_int_equal(acr_checkpoint_latest(&c, a.ctx, in_scratch("no-such-folder")), ACR_OK);
    assert_null(c);
    assert_int_equal(acr_checkpoint_latest(&c, a.ctx, folder), ACR_OK);
    assert_null(c);
    for (int step = 9; step <= 11; step++) {
        char out[600];
        net_fill(&a, (uint32_t)step);
        assert_int_equal(acr_checkpoint_path_of(a.ctx, folder, step, out, sizeof out), ACR_OK);
        assert_string_equal(out, at_step(step));
        assert_int_equal(acr_checkpoint_save(a.t, out, NULL), ACR_OK);
    }
    assert_int_equal(acr_checkpoint_path_of(a.ctx, folder, 1, name, 10), ACR_E_ARGUMENT);
    put_file(at_step(7), "not one", 7);
    static const char *const others[] = {"step-99.safetensors", "step-00000099.safetensors.tmp.1.2", "step-x",
                                         "step-000000099.safetensors", "step--0000099.safetensors"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char other[700];
        snprintf(other, sizeof other, "%s/%s", folder, others[i]);
        put_file(other, "x", 1);
    }
    acr_clock clock;
    for (int damaged = 0; damaged < 3; damaged++) {
        assert_int_equal(acr_checkpoint_latest(&c, a.ctx, folder), ACR_OK);
        acr_checkpoint_clock(c, &clock);
        assert_int_equal(clock.updates, 11 - damaged);
        assert_true(!strstr(acr_checkpoint_note(c), "damaged") == (damaged == 0));
        assert_true(damaged == 0 || strstr(acr_checkpoint_note(c), at_step(11)));
        acr_checkpoint_close(c);
        damage(at_step(11 - damaged));
    }
    assert_int_equal(acr_checkpoint_latest(&c, a.ctx, folder), ACR_E_DATA);
    assert_says(a.ctx, "none of its 4 checkpoints is whole");
    assert_int_equal(acr_checkpoint_prune(a.ctx, folder, 1, NULL), ACR_OK);
    assert_int_equal(access(at_step(9), F_OK), 0);
    empty_folder();
    net_close(&a);
}

/* Which of the steps 1 to 6 are there, as digits. */
static const char *there(void)
{
    static char digits[8];
    int n = 0;
    for (int step = 1; step <= 6; step++)
        if (access(at_step(step), F_OK) == 0)
            digits[n++] = (char)('0' + step);
    digits[n] = '\0';
    return digits;
}

static void test_prune(void **state)
{
    (void)state;
    static const struct {
        int keep, best, damaged; /* damaged: the newest so many */
        const char *left;
    } cases[] = {
        {2, 0, 0, "56"},  {1, 0, 0, "6"},   {9, 0, 0, "123456"}, {2, 2, 0, "26"},
        {1, 2, 0, "26"},  {3, 5, 0, "456"}, {1, 6, 0, "6"},      {1, 0, 1, "56"},
        {2, 0, 1, "56"},  {2, 0, 2, "456"}, {1, 1, 2, "1456"},   {1, 0, 6, "123456"},
    };
    net a;
    net_open(&a);
    assert_int_equal(acr_checkpoint_prune(a.ctx, folder, 0, NULL), ACR_E_ARGUMENT);
    assert_int_equal(acr_checkpoint_prune(a.ctx, in_scratch("no-such-folder"), 1, NULL), ACR_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int step = 1; step <= 6; step++) {
            assert_int_equal(acr_checkpoint_save(a.t, at_step(step), NULL), ACR_OK);
            if (step > 6 - cases[i].damaged)
                damage(at_step(step));
        }
        const char *best = cases[i].best ? at_step(cases[i].best) : NULL;
        assert_int_equal(acr_checkpoint_prune(a.ctx, folder, cases[i].keep, best), ACR_OK);
        if (strcmp(there(), cases[i].left))
            fail_msg("keep %d, best %d, %d damaged: left %s, not %s", cases[i].keep, cases[i].best, cases[i].damaged,
                     there(), cases[i].left);
        empty_folder();
    }
    net_close(&a);
}

/* ---- models -------------------------------------------------------------------------- */

static void test_model(void **state)
{
    (void)state;
    net a, b;
    net_open(&a);
    net_open(&b);
    net_fill(&a, 3);
    static const char *const names[] = {"0.bias", "0.weight", "2.bias", "2.weight"};
    static const char *const keys[] = {"made by"}, *const values[] = {"a test"};
    acr_model_opts opts = {sizeof opts, names, "net.", 0, 1, keys, values};
    assert_int_equal(acr_model_save(a.t, path, &opts), ACR_OK);
    acr_st *st;
    assert_int_equal(acr_st_open(&st, a.ctx, path), ACR_OK);
    assert_string_equal(acr_st_metadata(st, "format"), "pt");
    assert_string_equal(acr_st_metadata(st, "made by"), "a test");
    assert_string_equal(acr_st_metadata(st, "numerics"), "1");
    acr_st_tensor t;
    assert_int_equal(acr_st_get(st, acr_st_find(st, "net.0.weight"), &t), ACR_OK);
    assert_int_equal(t.ndim, 2);
    assert_int_equal(t.shape[0], 5);
    assert_int_equal(t.shape[1], 10);
    char file_hash[ACR_HASH_TEXT], hash_a[ACR_HASH_TEXT], hash_b[ACR_HASH_TEXT];
    assert_int_equal(acr_st_weights_hash(st, "net.", file_hash), ACR_OK);
    acr_st_close(st);
    assert_int_equal(acr_model_load(b.t, path, &opts), ACR_OK);
    assert_int_equal(acr_weights_hash(a.t, hash_a), ACR_OK);
    assert_int_equal(acr_weights_hash(b.t, hash_b), ACR_OK);
    assert_string_equal(hash_a, hash_b);
    assert_string_equal(hash_a, file_hash);
    float v = 9;
    assert_int_equal(acr_param_write(b.t, 3, 1, 1, &v), ACR_OK);
    assert_int_equal(acr_weights_hash(b.t, hash_b), ACR_OK);
    assert_string_not_equal(hash_a, hash_b);

    opts.prefix = NULL;
    assert_int_equal(acr_model_load(b.t, path, &opts), ACR_E_DATA);
    assert_says(b.ctx, "lacks 4 of the model's 4 parameters, the first of them 0.bias");
    assert_says(b.ctx, "it has others, such as net.0.bias");
    assert_int_equal(acr_weights_hash(b.t, file_hash), ACR_OK);
    assert_string_equal(file_hash, hash_b);
    net_close(&a);
    net_close(&b);
}

/* A file of one-element tensors but for the last: fc1.bias [5] ... as the network
 * has them, with one of them another dtype or shape, and an extra one. */
static void put_model(acr_context *ctx, acr_st_dtype dtype, int64_t rows, const char *extra, const char *third)
{
    acr_st_writer *w;
    assert_int_equal(acr_st_writer_create(&w, ctx, path), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "fc1.bias", ACR_ST_F16, 1, (int64_t[]){5}), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "fc1.weight", ACR_ST_F32, 2, (int64_t[]){5, 10}), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, third, dtype, 1, (int64_t[]){2}), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "fc2.weight", ACR_ST_F32, 2, (int64_t[]){rows, 5}), ACR_OK);
    if (extra)
        assert_int_equal(acr_st_writer_tensor(w, extra, ACR_ST_I64, 0, NULL), ACR_OK);
    static const char bytes[1024];
    assert_int_equal(acr_st_writer_begin(w), ACR_OK);
    size_t total = 10 + 200 + 2 * acr_st_dtype_bytes(dtype) + (size_t)rows * 20 + (extra ? 8 : 0);
    char huge[8] = {0, 0, 0, 0, 0, 0, (char)0xf0, 0x7e}; /* 1e302 or so, as F64 the first tensor */
    assert_int_equal(acr_st_writer_write(w, dtype == ACR_ST_F64 ? huge : bytes, 8), ACR_OK);
    assert_int_equal(acr_st_writer_write(w, bytes, total - 8), ACR_OK);
    assert_int_equal(acr_st_writer_commit(w), ACR_OK);
    acr_st_writer_destroy(w);
}

static void test_model_refused(void **state)
{
    (void)state;
    static const struct {
        acr_st_dtype dtype;
        int64_t rows;
        const char *extra, *third;
        int allow;
        const char *says;
    } cases[] = {
        {ACR_ST_F32, 2, NULL, "fc2.bias", 0, NULL},
        {ACR_ST_BF16, 2, NULL, "fc2.bias", 0, NULL},
        {ACR_ST_F32, 2, "more", "fc2.bias", 1, NULL},
        {ACR_ST_F32, 2, "more", "fc2.bias", 0, "has 1 tensors that the model lacks, the first of them more"},
        {ACR_ST_I32, 2, NULL, "fc2.bias", 0, "dtype I32"},
        {ACR_ST_F64, 2, NULL, "fc2.bias", 0, "does not fit"},
        {ACR_ST_F32, 3, NULL, "fc2.bias", 0, "fc2.weight has shape [3, 5]; the model's parameter has [2, 5]"},
        {ACR_ST_F32, 2, NULL, "fc2.bia", 0, "the first of them fc2.bias; it has others, such as fc2.bia"},
    };
    net a;
    net_open(&a);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        net_fill(&a, 4);
        put_model(a.ctx, cases[i].dtype, cases[i].rows, cases[i].extra, cases[i].third);
        acr_model_opts opts = ACR_MODEL_OPTS_INIT;
        opts.allow_extra = cases[i].allow;
        acr_status status = acr_model_load(a.t, path, &opts);
        assert_int_equal(status, cases[i].says ? ACR_E_DATA : ACR_OK);
        assert_int_equal(net_holds(&a, 4), cases[i].says != NULL);
        if (cases[i].says)
            assert_says(a.ctx, cases[i].says);
    }
    net_close(&a);
}

/* ---- the folder ------------------------------------------------------------------------ */

static void test_lock(void **state)
{
    (void)state;
    net a;
    net_open(&a);
    acr__lock *one, *two;
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_int_equal(acr__lock_take(&one, a.ctx, folder), ACR_OK);
    assert_int_equal(acr__lock_take(&two, a.ctx, folder), ACR_E_LOCKED);
    assert_says(a.ctx, folder);
    assert_says(a.ctx, pid);
    acr__lock_release(one);
    assert_int_equal(acr__lock_take(&two, a.ctx, folder), ACR_OK);
    acr__lock_release(two);
    acr__lock_release(NULL);
    assert_int_equal(acr__lock_take(&two, a.ctx, in_scratch("no-such-folder")), ACR_E_IO);
    empty_folder();
    net_close(&a);
}

static void test_clean(void **state)
{
    (void)state;
    net a;
    net_open(&a);
    char own[64], other[64];
    snprintf(own, sizeof own, "a.tmp.%ld.0", (long)getpid());
    snprintf(other, sizeof other, "b.tmp.%ld.0", (long)getppid());
    const char *const names[] = {own, other, "c.tmp.999999999.3", "d.tmp.x.1", "e.tmp.999999999",
                                 "f.tmp.999999999.1x", "g"};
    for (size_t i = 0; i < 7; i++) {
        char name[700];
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        put_file(name, "x", 1);
    }
    acr__folder_clean(a.ctx, folder, false);
    assert_int_equal(names_with(folder, ""), 6);
    assert_int_equal(names_with(folder, "c.tmp"), 0);
    acr__folder_clean(a.ctx, folder, true);
    assert_int_equal(names_with(folder, ""), 5);
    assert_int_equal(names_with(folder, "b.tmp"), 0);
    acr__folder_clean(a.ctx, in_scratch("no-such-folder"), true);
    empty_folder();
    net_close(&a);
}

static void test_folder_create(void **state)
{
    (void)state;
    net a;
    net_open(&a);
    char deep[700];
    snprintf(deep, sizeof deep, "%s/x/y//z/", folder);
    assert_int_equal(acr__folder_create(a.ctx, deep), ACR_OK);
    assert_int_equal(acr__file_kind(deep), 2);
    assert_int_equal(acr__folder_create(a.ctx, deep), ACR_OK);
    assert_int_equal(acr__folder_create(a.ctx, ""), ACR_E_ARGUMENT);
    snprintf(deep, sizeof deep, "%s/file", folder);
    put_file(deep, "x", 1);
    assert_int_equal(acr__file_kind(deep), 1);
    assert_int_equal(acr__folder_create(a.ctx, deep), ACR_E_IO);
    assert_says(a.ctx, "no folder");
    char *text;
    size_t n;
    assert_int_equal(acr__file_put(a.ctx, deep, "hello", 5), ACR_OK);
    assert_int_equal(acr__file_load(a.ctx, deep, 5, &text, &n), ACR_OK);
    assert_string_equal(text, "hello");
    assert_int_equal(n, 5);
    acr__free(a.ctx, text);
    assert_int_equal(acr__file_load(a.ctx, deep, 4, &text, &n), ACR_E_DATA);
    assert_says(a.ctx, "at most 4");
    empty_folder();
    net_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits), cmocka_unit_test(test_every_byte_counts), cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_latest),    cmocka_unit_test(test_prune),             cmocka_unit_test(test_model),
        cmocka_unit_test(test_model_refused), cmocka_unit_test(test_lock),          cmocka_unit_test(test_clean),
        cmocka_unit_test(test_folder_create), cmocka_unit_test(test_optimizer),
    };
    return cmocka_run_group_tests(tests, setup, scratch_teardown);
}
