/* test_base.c: contexts: sentences, memory, hooks, the choice of a path, the
 * default number of threads; statuses; checked arithmetic. */
#include "base/base.h"
#include "base/context.h"
#include "base/cpus.h"
#include "kernel/kernel.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static acr_context *fresh(void)
{
    acr_context *ctx = NULL;
    assert_int_equal(acr_context_create(&ctx, NULL), ACR_OK);
    assert_non_null(ctx);
    return ctx;
}

static void every_status_has_a_meaning(void **state)
{
    (void)state;
#define CHECK(name, value, exit_code, meaning) \
    assert_int_equal(name, value);             \
    assert_string_equal(acr_status_text(name), meaning);
    ACR_STATUS_LIST(CHECK)
#undef CHECK
    assert_string_equal(acr_status_text((acr_status)7), "not a status of this version");
    assert_string_equal(acr_version(), ACR_VERSION_STRING);
    assert_int_equal(acr_numerics(), ACR_NUMERICS);
}

static void a_failure_leaves_its_sentence(void **state)
{
    (void)state;
    acr_context *ctx = fresh();
    assert_string_equal(acr_error(ctx), "");
    assert_int_equal(acr__fail(ctx, ACR_E_DATA, "%s: row %d", "x.npy", 3), ACR_E_DATA);
    assert_string_equal(acr_error(ctx), "x.npy: row 3");
    /* quoting the sentence itself */
    acr__fail(ctx, ACR_E_IO, "while reading: %s", acr_error(ctx));
    assert_string_equal(acr_error(ctx), "while reading: x.npy: row 3");
    /* too long: cut, never beyond */
    char *long_name = malloc(5000);
    assert_non_null(long_name);
    memset(long_name, 'a', 4999);
    long_name[4999] = '\0';
    acr__fail(ctx, ACR_E_IO, "%s", long_name);
    assert_int_equal(strlen(acr_error(ctx)), ACR_SENTENCE - 1);
    free(long_name);
    assert_int_equal(acr__fail(NULL, ACR_E_IO, "nobody"), ACR_E_IO);
    assert_string_equal(acr_error(NULL), "");
    acr_context_destroy(ctx);
    acr_context_destroy(NULL);
}

/* Hooks that count what is out, hand out dirty memory, and fail from a request on. */
typedef struct meter {
    int requests, fail_at, live;
    char heard[ACR_SENTENCE];
} meter;
static void *metered(void *user, size_t bytes)
{
    meter *m = user;
    if (++m->requests == m->fail_at)
        return NULL;
    void *p = malloc(bytes);
    if (p) {
        memset(p, 0xa5, bytes);
        m->live++;
    }
    return p;
}
static void unmetered(void *user, void *p)
{
    assert_non_null(p);
    ((meter *)user)->live--;
    free(p);
}
static void hear(void *user, const char *sentence) { snprintf(((meter *)user)->heard, ACR_SENTENCE, "%s", sentence); }
static acr_context_opts hooked(meter *m)
{
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    opts.alloc = metered;
    opts.free = unmetered;
    opts.log = hear;
    opts.user = m;
    return opts;
}

static void use_memory(acr_context *ctx)
{
    static const size_t sizes[] = {0, 1, 15, 16, 1000, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *p = acr__alloc(ctx, sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t b = 0; b < sizes[i]; b++)
            assert_int_equal(p[b], 0);
        if (sizes[i])
            memset(p, 0x3c, sizes[i]);
        p = acr__realloc(ctx, p, sizes[i] + 500);
        assert_non_null(p);
        for (size_t b = 0; b < sizes[i]; b++)
            assert_int_equal(p[b], 0x3c);
        p = acr__realloc(ctx, p, sizes[i] / 2);
        assert_non_null(p);
        assert_true(sizes[i] < 2 || p[sizes[i] / 2 - 1] == 0x3c);
        acr__free(ctx, p);
    }
    void *p = acr__realloc(ctx, NULL, 8);
    assert_non_null(p);
    acr__free(ctx, p);
    acr__free(ctx, NULL);
    char *copy = acr__strdup(ctx, "fc1.weight");
    assert_string_equal(copy, "fc1.weight");
    acr__free(ctx, copy);
}

static void memory_is_zeroed_and_kept(void **state)
{
    (void)state;
    acr_context *ctx = fresh();
    use_memory(ctx);
    acr_context_destroy(ctx);
    meter m = {0};
    acr_context_opts opts = hooked(&m);
    assert_int_equal(acr_context_create(&ctx, &opts), ACR_OK);
    use_memory(ctx);
    assert_int_equal(m.live, 1); /* the context */
    assert_true(m.requests > 15);
    acr_context_destroy(ctx);
    assert_int_equal(m.live, 0);
}

static void an_absent_allocator_is_told(void **state)
{
    (void)state;
    meter m = {.fail_at = 1};
    acr_context_opts opts = hooked(&m);
    acr_context *ctx = (acr_context *)&m;
    assert_int_equal(acr_context_create(&ctx, &opts), ACR_E_NO_MEMORY);
    assert_null(ctx);
    m = (meter){0};
    assert_int_equal(acr_context_create(&ctx, &opts), ACR_OK);
    char *kept = acr__strdup(ctx, "kept");
    m.fail_at = m.requests + 1;
    assert_null(acr__alloc(ctx, 4711));
    assert_non_null(strstr(acr_error(ctx), "4711 bytes"));
    m.fail_at = m.requests + 1;
    assert_null(acr__realloc(ctx, kept, 100000));
    assert_string_equal(kept, "kept");
    m.fail_at = m.requests + 1;
    assert_null(acr__strdup(ctx, "x"));
    m.fail_at = 0;
    assert_null(acr__alloc(ctx, SIZE_MAX)); /* with the block's head it would wrap */
    assert_null(acr__alloc(ctx, SIZE_MAX - 8));
    acr__free(ctx, kept);
    acr_context_destroy(ctx);
    assert_int_equal(m.live, 0);
}

static void the_log_hook_hears(void **state)
{
    (void)state;
    meter m = {0};
    acr_context_opts opts = hooked(&m);
    acr_context *ctx;
    assert_int_equal(acr_context_create(&ctx, &opts), ACR_OK);
    acr__log(ctx, "effective batch %d is larger than the data set", 4096);
    assert_string_equal(m.heard, "effective batch 4096 is larger than the data set");
    acr_context_destroy(ctx);
    ctx = fresh();
    acr__log(ctx, "nobody listens");
    acr_context_destroy(ctx);
}

static void wrong_options_leave_a_context_that_tells(void **state)
{
    (void)state;
    meter m = {0};
    acr_context *ctx = NULL;
    acr_context_opts opts = hooked(&m);
    opts.free = NULL;
    assert_int_equal(acr_context_create(&ctx, &opts), ACR_E_ARGUMENT);
    assert_non_null(strstr(acr_error(ctx), "alloc and free"));
    assert_string_equal(acr_context_isa(ctx), "none");
    acr_context_destroy(ctx);
    assert_int_equal(m.requests, 0);
    static const int wrong[] = {-1, 1025, INT_MAX};
    for (int i = 0; i < 3; i++) {
        opts = (acr_context_opts)ACR_CONTEXT_OPTS_INIT;
        opts.threads = wrong[i];
        assert_int_equal(acr_context_create(&ctx, &opts), ACR_E_ARGUMENT);
        char named[40];
        snprintf(named, sizeof named, "threads is %d", wrong[i]);
        assert_non_null(strstr(acr_error(ctx), named));
        acr_context_destroy(ctx);
    }
    /* A caller built against a header that ends after `threads`. */
    opts = (acr_context_opts)ACR_CONTEXT_OPTS_INIT;
    opts.size = offsetof(acr_context_opts, isa);
    opts.threads = 3;
    opts.isa = "not looked at";
    assert_int_equal(acr_context_create(&ctx, &opts), ACR_OK);
    assert_int_equal(acr_context_threads(ctx), 3);
    acr_context_destroy(ctx);
}

static void cancel_is_a_flag(void **state)
{
    (void)state;
    acr_context *ctx = fresh();
    assert_false(acr_cancelled(ctx));
    acr_cancel(ctx);
    acr_cancel(ctx);
    assert_true(acr_cancelled(ctx));
    acr_cancel_clear(ctx);
    assert_false(acr_cancelled(ctx));
    assert_true(atomic_is_lock_free(&ctx->cancel)); /* else no signal handler may set it */
    acr_context_destroy(ctx);
}

static void every_runnable_path_can_be_forced(void **state)
{
    (void)state;
    assert_string_equal(acr_isa_name(0), "scalar");
    assert_null(acr_isa_name(-1));
    int paths = 0;
    for (const char *name; (name = acr_isa_name(paths)) != NULL; paths++) {
        acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
        acr_context *ctx;
        opts.isa = name;
        assert_int_equal(acr_context_create(&ctx, &opts), ACR_OK);
        assert_string_equal(acr_context_isa(ctx), name);
        assert_string_equal(ctx->kernels->name, name);
        acr_context_destroy(ctx);

        setenv("ACCRUE_ISA", name, 1);
        ctx = fresh();
        assert_string_equal(acr_context_isa(ctx), name);
        acr_context_destroy(ctx);
        opts.isa = "scalar"; /* the option goes before the environment */
        assert_int_equal(acr_context_create(&ctx, &opts), ACR_OK);
        assert_string_equal(acr_context_isa(ctx), "scalar");
        acr_context_destroy(ctx);
    }
    static const char *const unset[] = {NULL, ""};
    for (int i = 0; i < 2; i++) {
        unsetenv("ACCRUE_ISA");
        if (unset[i])
            setenv("ACCRUE_ISA", unset[i], 1);
        acr_context *ctx = fresh();
        assert_string_equal(acr_context_isa(ctx), acr_isa_name(paths - 1)); /* the best */
        acr_context_destroy(ctx);
    }
    unsetenv("ACCRUE_ISA");
}

static void another_path_is_refused_by_name(void **state)
{
    (void)state;
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    acr_context *ctx = NULL;
    opts.isa = "mmx";
    assert_int_equal(acr_context_create(&ctx, &opts), ACR_E_UNSUPPORTED);
    assert_non_null(strstr(acr_error(ctx), "acr_context_opts.isa: 'mmx'"));
    for (int i = 0; acr_isa_name(i); i++)
        assert_non_null(strstr(acr_error(ctx), acr_isa_name(i)));
    assert_string_equal(acr_context_isa(ctx), "none");
    acr_context_destroy(ctx);

    setenv("ACCRUE_ISA", "quantum", 1);
    assert_int_equal(acr_context_create(&ctx, NULL), ACR_E_UNSUPPORTED);
    assert_non_null(strstr(acr_error(ctx), "ACCRUE_ISA: 'quantum'"));
    acr_context_destroy(ctx);
    unsetenv("ACCRUE_ISA");
}

/* ---- the default number of threads ------------------------------------------ */
static char root[] = "/tmp/accrue-cgroup-XXXXXX";

static void put(const char *folder, const char *file, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", root);
    for (const char *at = folder; *at;) { /* every folder on the way */
        at += strcspn(at + 1, "/") + 1;
        snprintf(path, sizeof path, "%s%.*s", root, (int)(at - folder), folder);
        mkdir(path, 0700);
    }
    snprintf(path, sizeof path, "%s%s/%s", root, folder, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int64_t quota(const char *membership)
{
    char path[PATH_MAX];
    put("", "membership", membership);
    snprintf(path, sizeof path, "%s/membership", root);
    return acr__cpus_quota(path, root);
}

static void the_quota_limits(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(root));
    assert_int_equal(quota(""), 0);
    assert_int_equal(quota("nonsense\n::\n0:\n5:cpu\n"), 0);
    assert_int_equal(quota("0::/a/b\n"), 0);
    put("/a/b", "cpu.max", "max 100000\n");
    assert_int_equal(quota("0::/a/b\n"), 0);
    put("/a/b", "cpu.max", "150000 100000\n");
    assert_int_equal(quota("0::/a/b\n"), 2); /* rounded up */
    assert_int_equal(quota("0::/a\n"), 0);
    put("/a", "cpu.max", "50000 100000\n"); /* the folder above is tighter */
    assert_int_equal(quota("0::/a/b\n"), 1);
    put("/a", "cpu.max", "800000 100000\n"); /* and now wider */
    assert_int_equal(quota("0::/a/b\n"), 2);
    put("/a/b", "cpu.max", "300000 100000\n");
    assert_int_equal(quota("0::/a/b\n"), 3);
    put("/a/b", "cpu.max", "7 0\n");
    assert_int_equal(quota("0::/a/b\n"), 8);
    put("", "cpu.max", "400000 100000\n"); /* a container's own group is the root */
    assert_int_equal(quota("0::/docker/not/here\n"), 4);

    put("/cpu,cpuacct/job", "cpu.cfs_quota_us", "-1\n");
    put("/cpu,cpuacct/job", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota("3:cpuset:/job\n2:cpu,cpuacct:/job\n"), 0);
    put("/cpu,cpuacct/job", "cpu.cfs_quota_us", "250000\n");
    assert_int_equal(quota("3:cpuset:/job\n2:cpu,cpuacct:/job\n"), 3);
    assert_int_equal(quota("3:cpuset:/job\n"), 0);
    put("/cpu", "cpu.cfs_quota_us", "200000\n");
    put("/cpu", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota("2:cpuacct,cpu:/job\n"), 2);

    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
    assert_int_equal(acr__cpus_quota("/not/there", root), 0);
}

static void threads_are_what_is_allowed(void **state)
{
    (void)state;
    acr_context *ctx = fresh();
    assert_true(acr_context_threads(ctx) >= 1);
    assert_true(acr_context_threads(ctx) <= sysconf(_SC_NPROCESSORS_CONF));
    assert_int_equal(acr_context_threads(ctx), acr__cpus_allowed());
    acr_context_destroy(ctx);
}

static void arithmetic_is_checked(void **state)
{
    (void)state;
    size_t s = 1;
    int64_t i = 1;
    assert_false(acr__mul(SIZE_MAX, 2, &s));
    assert_false(acr__add(SIZE_MAX, 1, &s));
    assert_false(acr__mul64(INT64_MAX / 2, 3, &i));
    assert_true(acr__mul(SIZE_MAX / 2, 2, &s) && s == SIZE_MAX - 1);
    assert_true(acr__mul64(-3, 7, &i) && i == -21);
    /* shares are contiguous, in units, and cover everything once */
    for (int64_t total = 0; total < 70; total += 3)
        for (int count = 1; count < 9; count++) {
            int64_t next = 0, first, last;
            for (int k = 0; k < count; k++) {
                acr__share(total, 16, k, count, &first, &last);
                assert_int_equal(first, next);
                assert_true(last >= first && (last % 16 == 0 || last == total));
                next = last;
            }
            assert_int_equal(next, total);
        }
}

int main(void)
{
    unsetenv("ACCRUE_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_meaning),
        cmocka_unit_test(a_failure_leaves_its_sentence),
        cmocka_unit_test(memory_is_zeroed_and_kept),
        cmocka_unit_test(an_absent_allocator_is_told),
        cmocka_unit_test(the_log_hook_hears),
        cmocka_unit_test(wrong_options_leave_a_context_that_tells),
        cmocka_unit_test(cancel_is_a_flag),
        cmocka_unit_test(every_runnable_path_can_be_forced),
        cmocka_unit_test(another_path_is_refused_by_name),
        cmocka_unit_test(the_quota_limits),
        cmocka_unit_test(threads_are_what_is_allowed),
        cmocka_unit_test(arithmetic_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
