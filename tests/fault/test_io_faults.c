/* test_io_faults.c: the n-th system call fails, is cut short, finds the disk
 * full or is never reached because the process dies, for every n that saving,
 * loading, pruning and logging reach; likewise the n-th allocation.
 *
 * Held in each case: a sentence that names a file, no temporary file left by a
 * process that lives, the older file or the new one whole, nothing half-loaded
 * without saying so. */
#include "../unit/net.h"

#include "io/file.h"
#include "io/lines.h"
#include <accrue/accrue_io.h>
#include <stdbool.h>
#include <sys/wait.h>

enum { OLD = 3, NEW = 4, MANY = 400 };

static char path[512], folder[512];
static int64_t allocations_left; /* 0: they all succeed */
static net a;

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
    static acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    int rc = scratch_setup(state);
    snprintf(path, sizeof path, "%s", in_scratch("f.safetensors"));
    snprintf(folder, sizeof folder, "%s", in_scratch("checkpoints"));
    opts.alloc = counted;
    opts.free = returned;
    net_context_opts = &opts;
    net_open(&a);
    return rc || mkdir(folder, 0777) != 0;
}

static int teardown(void **state)
{
    net_close(&a);
    return scratch_teardown(state);
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

/* ---- the operations: prepare, run under a fault, judge ---------------------------------- */

typedef struct operation {
    const char *name;
    void (*prepare)(void);
    acr_status (*run)(void);
    void (*judge)(acr_status status); /* after a failure or a success */
} operation;

/* Puts back a file that was once saved at `name` with net_fill(seed): the disk's
 * flushes are waited for once only. */
static void put_saved(const char *name, uint32_t seed, bool model)
{
    static struct {
        char *bytes;
        size_t n;
    } saved[16][2];
    char **bytes = &saved[seed][model].bytes;
    size_t *n = &saved[seed][model].n;
    if (!*bytes) {
        net_fill(&a, seed);
        assert_int_equal(model ? acr_model_save(a.t, name, NULL) : acr_checkpoint_save(a.t, name, NULL), ACR_OK);
        *bytes = get_file(name, n);
    }
    put_file(name, *bytes, *n);
}

static void prepare_checkpoint(void)
{
    put_saved(path, OLD, false);
    net_fill(&a, NEW);
}

static acr_status run_checkpoint_save(void)
{
    return acr_checkpoint_save(a.t, path, NULL);
}

static void judge_checkpoint_save(acr_status status)
{
    assert_true(net_holds(&a, NEW));
    assert_int_equal(acr_checkpoint_load(a.t, path, NULL), ACR_OK);
    assert_true(net_holds(&a, NEW) || (status != ACR_OK && net_holds(&a, OLD)));
}

static acr_status run_model_save(void)
{
    return acr_model_save(a.t, path, NULL);
}

static void judge_model_save(acr_status status)
{
    acr_st *st;
    assert_int_equal(acr_st_open(&st, a.ctx, path), ACR_OK);
    bool model = acr_st_metadata(st, "format") != NULL;
    acr_st_close(st);
    assert_true(model || status != ACR_OK);
    assert_int_equal(model ? acr_model_load(a.t, path, NULL) : acr_checkpoint_load(a.t, path, NULL), ACR_OK);
}

static acr_status run_checkpoint_load(void)
{
    return acr_checkpoint_load(a.t, path, NULL);
}

static void judge_checkpoint_load(acr_status status)
{
    if (status == ACR_OK)
        assert_true(net_holds(&a, OLD));
    else if (!strstr(acr_error(a.ctx), "holds a part"))
        assert_true(net_holds(&a, NEW));
}

static void prepare_model(void)
{
    put_saved(path, OLD, true);
    net_fill(&a, NEW);
}

static acr_status run_model_load(void)
{
    return acr_model_load(a.t, path, NULL);
}

static void judge_model_load(acr_status status)
{
    if (status != ACR_OK && !strstr(acr_error(a.ctx), "some parameters are loaded"))
        assert_true(net_holds(&a, NEW));
}

static void prepare_folder(void)
{
    empty_folder();
    for (int step = 1; step <= 4; step++)
        put_saved(at_step(step), (uint32_t)step, false);
}

static acr_checkpoint *latest;

static acr_status run_latest(void)
{
    latest = NULL;
    return acr_checkpoint_latest(&latest, a.ctx, folder);
}

static void judge_latest(acr_status status)
{
    acr_clock clock;
    if (status != ACR_OK)
        return;
    assert_non_null(latest); /* a failure must never look like an empty folder */
    acr_checkpoint_clock(latest, &clock);
    assert_int_equal(clock.updates, 4);
    acr_checkpoint_close(latest);
}

static acr_status run_prune(void)
{
    return acr_checkpoint_prune(a.ctx, folder, 1, "step-00000002.safetensors");
}

static void judge_prune(acr_status status)
{
    assert_int_equal(access(at_step(4), F_OK), 0);
    assert_int_equal(access(at_step(2), F_OK), 0);
    assert_true(status != ACR_OK || names_with(folder, "step-") == 2);
}

static acr_status run_logs(void)
{
    static const char *const columns[] = {"loss"};
    const acr__field field = {"loss", ACR_FIELD_F64, 0, 0.5, NULL};
    acr__metrics *m = NULL;
    acr__events *e = NULL;
    acr_status status = acr__metrics_open(&m, a.ctx, folder, 1, columns, NULL);
    if (status == ACR_OK)
        status = acr__events_open(&e, a.ctx, folder, NULL, 0);
    for (int i = 0; i < 3 && status == ACR_OK; i++) {
        status = acr__metrics_line(m, i, 1, 1, &field);
        if (status == ACR_OK)
            status = acr__events_scalars(e, i, 1, 1, columns, (float[]){0.5f});
        if (status == ACR_OK && i != 1)
            status = acr__metrics_flush(m);
        if (status == ACR_OK && i != 1)
            status = acr__events_flush(e);
    }
    if (status == ACR_OK)
        status = acr__metrics_sync(m);
    acr__metrics_close(m);
    acr__events_close(e);
    return status;
}

static int lines_in(const char *name)
{
    char file[600];
    size_t n;
    int lines = 0;
    snprintf(file, sizeof file, "%s/%s", folder, name);
    if (access(file, F_OK) != 0)
        return 0;
    char *b = get_file(file, &n);
    assert_true(n == 0 || b[n - 1] == '\n'); /* no torn line */
    for (size_t i = 0; i < n; i++)
        lines += b[i] == '\n';
    free(b);
    return lines;
}

/* Every record of the event file is whole. */
static void events_whole(void)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char file[800];
        size_t n, at = 0;
        if (!strstr(e->d_name, "tfevents"))
            continue;
        snprintf(file, sizeof file, "%s/%s", folder, e->d_name);
        char *b = get_file(file, &n);
        while (at < n) {
            uint64_t length;
            assert_true(n - at >= 16);
            memcpy(&length, b + at, 8);
            assert_true(length <= n - at - 16);
            at += 16 + (size_t)length;
        }
        free(b);
    }
    closedir(d);
}

static void judge_logs(acr_status status)
{
    events_whole();
    int json = lines_in("metrics.jsonl"), csv = lines_in("metrics.csv");
    assert_true(status == ACR_OK ? json == 3 : json <= 3);
    assert_true(json == 0 ? csv <= 1 : csv == json + 1);
}

static acr_status run_put(void)
{
    acr_status status = acr__folder_create(a.ctx, in_scratch("new/folder"));
    return status == ACR_OK ? acr__file_put(a.ctx, path, "text", 4) : status;
}

static void judge_put(acr_status status)
{
    char *text = NULL;
    if (status != ACR_OK)
        return;
    assert_int_equal(acr__file_load(a.ctx, path, 100, &text, NULL), ACR_OK);
    assert_string_equal(text, "text");
    acr__free(a.ctx, text);
    rmdir(in_scratch("new/folder"));
    rmdir(in_scratch("new"));
}

static const operation operations[] = {
    {"save a checkpoint", prepare_checkpoint, run_checkpoint_save, judge_checkpoint_save},
    {"save a model", prepare_checkpoint, run_model_save, judge_model_save},
    {"load a checkpoint", prepare_checkpoint, run_checkpoint_load, judge_checkpoint_load},
    {"load a model", prepare_model, run_model_load, judge_model_load},
    {"find the latest", prepare_folder, run_latest, judge_latest},
    {"prune", prepare_folder, run_prune, judge_prune},
    {"logs", empty_folder, run_logs, judge_logs},
    {"put a file", empty_folder, run_put, judge_put},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

/* ---- the faults -------------------------------------------------------------------------- */

static void each_call(enum acr__fault kind)
{
    for (int o = 0; o < OPERATIONS; o++) {
        const operation *op = &operations[o];
        int n = 1, failed = 0;
        for (;; n++) {
            assert_true(n < MANY);
            op->prepare();
            acr__file_fault(n, kind);
            acr_status status = op->run();
            bool fired = acr__file_fault_fired();
            acr__file_fault(0, ACR_FAULT_FAIL);
            failed += status != ACR_OK;
            if (status != ACR_OK && (status != ACR_E_IO || !strstr(acr_error(a.ctx), scratch)))
                fail_msg("%s, call %d: status %d, '%s'", op->name, n, status, acr_error(a.ctx));
            if (kind == ACR_FAULT_SHORT && status != ACR_OK)
                fail_msg("%s, call %d cut short: %s", op->name, n, acr_error(a.ctx));
            op->judge(status);
            assert_int_equal(names_with(scratch, ".tmp."), 0);
            assert_int_equal(names_with(folder, ".tmp."), 0);
            if (!fired) {
                assert_int_equal(status, ACR_OK);
                break;
            }
        }
        assert_true(kind == ACR_FAULT_SHORT || failed > 0);
        print_message("%s: %d calls, %d of them may fail it\n", op->name, n - 1, failed);
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
        const operation *op = &operations[o];
        for (int n = 1;; n++) {
            assert_true(n < MANY);
            op->prepare();
            allocations_left = n;
            acr_status status = op->run();
            bool fired = allocations_left == 0;
            allocations_left = 0;
            if (status != ACR_OK && status != ACR_E_NO_MEMORY)
                fail_msg("%s, allocation %d: status %d, '%s'", op->name, n, status, acr_error(a.ctx));
            op->judge(status);
            assert_int_equal(names_with(scratch, ".tmp."), 0);
            assert_int_equal(names_with(folder, ".tmp."), 0);
            if (!fired) {
                assert_int_equal(status, ACR_OK);
                break;
            }
        }
    }
}

/* A process dies before its n-th call while it saves step 5 and prunes: there is
 * always a whole checkpoint, and nothing lies about once the next run has looked. */
static void test_killed_before_each_call(void **state)
{
    (void)state;
    bool saw_old = false, saw_new = false;
    for (int n = 1;; n++) {
        assert_true(n < MANY);
        prepare_folder();
        net_fill(&a, 5);
        pid_t child = fork();
        if (child == 0) {
            acr__file_fault(n, ACR_FAULT_KILL);
            acr_status status = acr_checkpoint_save(a.t, at_step(5), NULL);
            _exit(status == ACR_OK ? (int)acr_checkpoint_prune(a.ctx, folder, 1, NULL) : 1);
        }
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        acr__folder_clean(a.ctx, folder, true);
        assert_int_equal(names_with(folder, ".tmp."), 0);
        acr_checkpoint *c;
        acr_clock clock;
        assert_int_equal(acr_checkpoint_latest(&c, a.ctx, folder), ACR_OK);
        assert_non_null(c);
        acr_checkpoint_clock(c, &clock);
        assert_int_equal(acr_checkpoint_restore(c, a.t), ACR_OK);
        acr_checkpoint_close(c);
        assert_true((clock.updates == 4 && net_holds(&a, 4)) || (clock.updates == 5 && net_holds(&a, 5)));
        saw_old = saw_old || clock.updates == 4;
        saw_new = saw_new || clock.updates == 5;
        if (WIFEXITED(how)) {
            assert_int_equal(WEXITSTATUS(how), 0);
            assert_int_equal(names_with(folder, "step-"), 1);
            break;
        }
        assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    }
    assert_true(saw_old && saw_new);
}

/* The lock of a killed holder is gone with it. */
static void test_lock_dies_with_its_holder(void **state)
{
    (void)state;
    int ready[2];
    char byte, says[64];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        acr__lock *held;
        byte = acr__lock_take(&held, a.ctx, folder) == ACR_OK;
        _exit(write(ready[1], &byte, 1) == 1 ? (pause(), 0) : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    acr__lock *lock;
    assert_int_equal(acr__lock_take(&lock, a.ctx, folder), ACR_E_LOCKED);
    snprintf(says, sizeof says, "process %ld", (long)child);
    assert_says(a.ctx, says);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(acr__lock_take(&lock, a.ctx, folder), ACR_OK);
    acr__lock_release(lock);
    close(ready[0]);
    close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failing_calls),          cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_short_calls),            cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_killed_before_each_call), cmocka_unit_test(test_lock_dies_with_its_holder),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
