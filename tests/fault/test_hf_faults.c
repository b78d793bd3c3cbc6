/* test_hf_faults.c: the n-th system call or allocation fails, for every n that reading
 * and writing a language model's folder reaches. Held in each case: a sentence, no
 * parameter changed without saying so, no half file. */
#include "../unit/lm_files.h"

#include "io/file.h"

enum { CALLS = 600 };

static int64_t allocations_left; /* 0: they all succeed */
static char out[512];

static void *counted(void *user, size_t bytes)
{
    (void)user;
    if (allocations_left > 0 && --allocations_left == 0)
        return NULL;
    return malloc(bytes);
}

static void returned(void *user, void *p)
{
    (void)user;
    free(p);
}

static int setup(void **state)
{
    int rc = scratch_setup(state);
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    opts.alloc = counted;
    opts.free = returned;
    if (rc || acr_context_create(&ctx, &opts) != ACR_OK)
        return -1;
    open_model(ACR__LM_LLAMA, true);
    write_shards(NULL);
    snprintf(out, sizeof out, "%s", in_scratch("out.safetensors"));
    assert_int_equal(acr__lm_weights_load(t, scratch), ACR_OK);
    assert_int_equal(acr_model_save(t, in_scratch("run.safetensors"), NULL), ACR_OK);
    return 0;
}

static int teardown(void **state)
{
    close_model();
    acr_context_destroy(ctx);
    return scratch_teardown(state);
}

/* ---- the operations ----------------------------------------------------------------------- */

static acr_status run_load(void) { return acr__lm_weights_load(t, scratch); }

static void judge_load(acr_status status)
{
    if (status == ACR_OK)
        assert_true(holds(true));
    else if (!strstr(acr_error(ctx), "some parameters are loaded already"))
        assert_true(holds(false));
}

static acr_status run_export(void)
{
    acr_st *st;
    acr_status status = acr_st_open(&st, ctx, in_scratch("run.safetensors"));
    if (status != ACR_OK)
        return status;
    status = acr__lm_weights_export(g, st, out, ACR_ST_BF16);
    acr_st_close(st);
    return status;
}

static void judge_export(acr_status status)
{
    acr_st *st;
    if (status == ACR_OK || access(out, F_OK) == 0) {
        assert_int_equal(acr_st_open(&st, ctx, out), ACR_OK);
        assert_int_equal(acr_st_count(st), acr_param_count(g));
        acr_st_close(st);
    }
    unlink(out);
}

static acr_status run_config(void)
{
    acr__lm lm;
    acr__lm_defaults(&lm, ACR__LM_GPT2);
    lm.head_dim = 64;
    lm.inner = 3072;
    acr_status status = acr__lm_config_write(ctx, scratch, &lm, ACR_ST_F32);
    return status == ACR_OK ? acr__lm_config_read(ctx, scratch, &lm) : status;
}

static void judge_config(acr_status status)
{
    acr__lm lm;
    if (status == ACR_OK || access(in_scratch("config.json"), F_OK) == 0)
        assert_int_equal(acr__lm_config_read(ctx, scratch, &lm), ACR_OK);
    unlink(in_scratch("config.json"));
}

static const struct operation {
    const char *name;
    acr_status (*run)(void);
    void (*judge)(acr_status status);
} operations[] = {
    {"load shards", run_load, judge_load},
    {"export", run_export, judge_export},
    {"a configuration", run_config, judge_config},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

static void after(const struct operation *op, acr_status status, bool fired)
{
    if (!fired)
        assert_int_equal(status, ACR_OK);
    if (status != ACR_OK && !*acr_error(ctx))
        fail_msg("%s: status %d without a sentence", op->name, status);
    op->judge(status);
    assert_int_equal(names_with(scratch, ".tmp."), 0);
}

static void each_call(enum acr__fault kind)
{
    for (int o = 0; o < OPERATIONS; o++) {
        const struct operation *op = &operations[o];
        bool fired = true;
        for (int n = 1; fired; n++) {
            assert_true(n < CALLS);
            forget();
            acr__file_fault(n, kind);
            acr_status status = op->run();
            fired = acr__file_fault_fired();
            acr__file_fault(0, ACR_FAULT_FAIL);
            /* a file that cannot be seen is one that is not there */
            if (status != ACR_OK && status != ACR_E_IO && status != ACR_E_DATA)
                fail_msg("%s, call %d: status %d, '%s'", op->name, n, status, acr_error(ctx));
            if (kind == ACR_FAULT_SHORT && status != ACR_OK)
                fail_msg("%s, call %d cut short: %s", op->name, n, acr_error(ctx));
            after(op, status, fired);
        }
    }
}

static void test_failing_calls(void **state)
{
    (void)state;
    each_call(ACR_FAULT_FAIL);
}

static void test_full_disk(void **state)
{
    (void)state;
    each_call(ACR_FAULT_FULL);
}

static void test_short_calls(void **state)
{
    (void)state;
    each_call(ACR_FAULT_SHORT);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    for (int o = 0; o < OPERATIONS; o++) {
        const struct operation *op = &operations[o];
        bool fired = true;
        for (int n = 1; fired; n++) {
            assert_true(n < CALLS);
            forget();
            allocations_left = n;
            acr_status status = op->run();
            fired = allocations_left == 0;
            allocations_left = 0;
            if (status != ACR_OK && status != ACR_E_NO_MEMORY)
                fail_msg("%s, allocation %d: status %d, '%s'", op->name, n, status, acr_error(ctx));
            after(op, status, fired);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_short_calls),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
