/* test_data_cache.c: compressed data sets: the copy in the cache folder, what
 * stands in for it, damaged originals, failing calls and allocations, and that
 * memory does not grow with the data. */
#include "unit/data_files.h"
#include "counting.h"
#include "base/context.h"
#include "data/dataset.h"
#include "io/file.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNT = 350 }; /* 274 KB of images: more than is held */

static counting memory;

static acr_context *ctx;
static uint8_t *images; /* the IDX file, whole */
static size_t images_bytes;

static int setup(void **state)
{
    acr_context_opts opts = counting_context(&memory, 0);
    if (acr__context_new(&ctx, &opts) != ACR_OK || folder_make(state))
        return -1;
    uint8_t *data = malloc(COUNT * 784);
    for (uint32_t i = 0; i < COUNT * 784; i++)
        data[i] = (uint8_t)(noise(i) % 7 * 30);
    images = idx_make(8, 3, (uint32_t[]){COUNT, 28, 28}, data, COUNT * 784, &images_bytes);
    free(data);
    file_write_gz(in_folder("images.gz"), images, images_bytes);
    return 0;
}

static int teardown(void **state)
{
    free(images);
    acr_context_destroy(ctx);
    return memory.now == 0 ? folder_remove(state) : -1;
}

/* -- helpers -------------------------------------------------------------- */
static acr__data_desc describe(const char *input, const char *cache)
{
    acr__data_desc d = ACR_DATA_DESC_INIT;
    d.format = "idx";
    d.input = in_folder(input);
    d.cache = in_folder(cache);
    return d;
}

static acr_status read_all(const acr__dataset *set)
{
    static float rows[64 * 784];
    acr__data_source from;
    acr_source source;
    acr__data_source_init(&from, set, false, 0, &source);
    void *data[1] = {rows};
    const int64_t row_bytes[1] = {784 * 4};
    acr_slots slots = {sizeof slots, data, row_bytes, NULL};
    for (int64_t first = 0; first < COUNT; first += 64) {
        int64_t n = acr__min(64, COUNT - first);
        acr_status status = source.get(source.user, 0, first, n, &slots);
        if (status != ACR_OK)
            return status;
        int wrong = 0;
        for (int64_t i = 0; i < n * 784; i++)
            wrong += rows[i] != (float)images[16 + first * 784 + i];
        assert_int_equal(wrong, 0);
    }
    return ACR_OK;
}

static void opens_well(const acr__data_desc *d)
{
    acr__dataset *set;
    if (acr__dataset_open(&set, ctx, d) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    assert_int_equal(read_all(set), ACR_OK);
    acr__dataset_close(set);
}

static void refused_with(const acr__data_desc *d, const char *word)
{
    acr__dataset *set = NULL;
    assert_int_equal(acr__dataset_open(&set, ctx, d), ACR_E_DATA);
    assert_null(set);
    if (!strstr(acr_error(ctx), word) || strncmp(acr_error(ctx), d->input, strlen(d->input)) != 0)
        fail_msg("'%s' is not in: %s", word, acr_error(ctx));
}

/* The number of files in a folder, and one's path in `path`. */
static int files_in(const char *name, char path[512])
{
    DIR *dir = opendir(name);
    int count = 0;
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.') {
            count++;
            snprintf(path, 512, "%s/%s", name, e->d_name);
        }
    if (dir)
        closedir(dir);
    return count;
}

static ino_t inode(const char *path)
{
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    return s.st_ino;
}

/* -- the copy ------------------------------------------------------------- */
static void made_once(void **state)
{
    (void)state;
    char path[512];
    acr__data_desc d = describe("images.gz", "once/deep");
    acr__data_info info;
    assert_int_equal(acr__dataset_probe(ctx, &d, &info), ACR_OK);
    assert_int_equal(access(in_folder("once"), F_OK), -1); /* probing leaves no trace */
    opens_well(&d);
    assert_int_equal(files_in(d.cache, path), 1);
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_size, info.cache_bytes);
    ino_t made = inode(path);
    opens_well(&d);
    assert_int_equal(files_in(d.cache, path), 1);
    assert_int_equal(inode(path), made);
    /* The same file by another name is the same file; changed, it is another. */
    assert_int_equal(symlink(d.input, in_folder("link.gz")), 0);
    d.input = in_folder("link.gz");
    opens_well(&d);
    assert_int_equal(files_in(d.cache, path), 1);
    struct timespec times[2] = {{1, 0}, {1000000000, 5}};
    assert_int_equal(utimensat(AT_FDCWD, in_folder("images.gz"), times, 0), 0);
    opens_well(&d);
    assert_int_equal(files_in(d.cache, path), 2);
}

static void damaged_copies_are_made_again(void **state)
{
    (void)state;
    char path[512];
    acr__data_desc d = describe("images.gz", "damaged");
    opens_well(&d);
    assert_int_equal(files_in(d.cache, path), 1);
    size_t n;
    uint8_t *whole = file_read(path, &n);
    for (int k = 0; k < 5; k++) {
        uint8_t *bad = malloc(n + 1);
        memcpy(bad, whole, n);
        bad[n] = 0;
        if (k >= 2) /* magic, counts, the head's padding */
            bad[k == 2 ? 3 : k == 3 ? 60 : 4000] ^= 1;
        file_write(path, bad, k == 0 ? n - 1 : k == 1 ? n + 1 : n);
        ino_t was = inode(path);
        opens_well(&d);
        assert_int_equal(files_in(d.cache, path), 1);
        assert_int_not_equal(inode(path), was);
        uint8_t *again = file_read(path, &n);
        assert_memory_equal(again, whole, n);
        free(again);
        free(bad);
    }
    file_write(path, "", 0);
    opens_well(&d);
    free(whole);
}

/* No folder can be made below a file, whoever runs the test. */
static void without_a_cache_folder(void **state)
{
    (void)state;
    file_write(in_folder("file"), "", 0);
    acr__data_desc d = describe("images.gz", "file/cache");
    assert_int_equal(mkdir(in_folder("tmp"), 0700), 0);
    setenv("TMPDIR", in_folder("tmp"), 1);
    opens_well(&d);
    char path[512];
    assert_int_equal(files_in(in_folder("tmp"), path), 0);
    setenv("TMPDIR", in_folder("file/no"), 1); /* /tmp is the last resort */
    opens_well(&d);
    unsetenv("TMPDIR");
    d.cache = NULL;
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    opens_well(&d);
    setenv("HOME", in_folder("home"), 1);
    opens_well(&d);
    assert_int_equal(files_in(in_folder("home/.cache/accrue"), path), 1);
    setenv("XDG_CACHE_HOME", in_folder("xdg"), 1);
    opens_well(&d);
    assert_int_equal(files_in(in_folder("xdg/accrue"), path), 1);
}

/* -- originals ------------------------------------------------------------ */
static void damaged_originals(void **state)
{
    (void)state;
    size_t n;
    char path[512];
    uint8_t *gz = file_read(in_folder("images.gz"), &n), *bad = malloc(n + 64);
    acr__data_desc d = describe("bad.gz", "bad");
    for (size_t cut = n - 1; cut > n - 12; cut--) {
        file_write(d.input, gz, cut);
        refused_with(&d, "cut short");
    }
    file_write(d.input, gz, n / 2);
    refused_with(&d, "cut short");
    memcpy(bad, gz, n);
    memcpy(bad + n, "garbage", 7);
    file_write(d.input, bad, n + 7);
    refused_with(&d, "something follows");
    bad[n - 5] ^= 1; /* the checksum */
    file_write(d.input, bad, n);
    refused_with(&d, "damaged gzip");
    file_write_gz(d.input, images, images_bytes - 1);
    refused_with(&d, "cut short");
    images[images_bytes] = 0; /* idx_make leaves room for it */
    file_write_gz(d.input, images, images_bytes + 1);
    refused_with(&d, "unpacks to more");
    static const uint32_t huge[] = {0xFFFFFFFF, 0xFFFF, 0xFFFF}, many[] = {60000, 28, 28};
    for (int k = 0; k < 2; k++) {
        uint8_t *p = idx_make(8, 3, k ? many : huge, gz, 1000, &n);
        file_write_gz(d.input, p, n);
        acr__data_info info; /* before anything is written */
        assert_int_equal(acr__dataset_probe(ctx, &d, &info), ACR_E_DATA);
        refused_with(&d, k ? "can't come out" : "any file");
        free(p);
    }
    assert_int_equal(files_in(d.cache, path), 0);
    free(gz);
    free(bad);
}

/* gzip's own rule: files put one after another unpack to their contents so. */
static void several_members(void **state)
{
    (void)state;
    size_t n[3], at = 0;
    uint8_t *part[3], *joined = malloc(images_bytes * 2);
    static const size_t cuts[] = {0, 5, 70000, 0};
    for (int k = 0; k < 3; k++) {
        size_t end = k == 2 ? images_bytes : cuts[k + 1];
        file_write_gz(in_folder("part"), images + cuts[k], end - cuts[k]);
        part[k] = file_read(in_folder("part"), &n[k]);
        memcpy(joined + at, part[k], n[k]);
        at += n[k];
        free(part[k]);
    }
    file_write(in_folder("members.gz"), joined, at);
    acr__data_desc d = describe("members.gz", "members");
    opens_well(&d);
    free(joined);
}

static void cancelled(void **state)
{
    (void)state;
    char path[512];
    acr__data_desc d = describe("images.gz", "cancelled");
    acr__dataset *set;
    acr_cancel(ctx);
    assert_int_equal(acr__dataset_open(&set, ctx, &d), ACR_E_CANCELLED);
    acr_cancel_clear(ctx);
    assert_int_equal(files_in(d.cache, path), 0);
    opens_well(&d);
}

/* -- failures ------------------------------------------------------------- */
/* The n-th system call fails, for every n there is: a sentence or, where there
 * is another way, the right rows; and the next try works. */
static void every_call_fails_once(void **state)
{
    (void)state;
    char path[512];
    acr__data_desc d = describe("images.gz", "faults");
    static const enum acr__fault kinds[] = {ACR_FAULT_FAIL, ACR_FAULT_FULL, ACR_FAULT_SHORT};
    int refusals = 0;
    for (int k = 0; k < 3; k++) {
        bool fired = true;
        for (int64_t n = 1; fired; n++) {
            if (files_in(d.cache, path))
                assert_int_equal(unlink(path), 0);
            acr__dataset *set = NULL;
            acr__file_fault(n, kinds[k]);
            acr_status status = acr__dataset_open(&set, ctx, &d);
            if (status == ACR_OK)
                status = read_all(set);
            fired = acr__file_fault_fired();
            acr__file_fault(0, ACR_FAULT_FAIL);
            acr__dataset_close(set);
            if (kinds[k] == ACR_FAULT_SHORT || !fired)
                assert_int_equal(status, ACR_OK);
            if (status != ACR_OK) {
                refusals++;
                assert_true(status == ACR_E_IO || status == ACR_E_DATA);
                assert_non_null(strstr(acr_error(ctx), "images.gz"));
            }
            assert_in_range(files_in(d.cache, path), 0, 1);
            if (n % 8 == 0)
                opens_well(&d);
        }
    }
    assert_true(refusals > 10);
    opens_well(&d);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    char path[512];
    acr__data_desc d = describe("images.gz", "allocations");
    acr_status status = ACR_E_NO_MEMORY;
    int64_t n = 1;
    for (; status != ACR_OK; n++) {
        if (files_in(d.cache, path))
            assert_int_equal(unlink(path), 0);
        size_t before = memory.now;
        acr__dataset *set = NULL;
        memory.calls = 0;
        memory.refuse = n;
        status = acr__dataset_open(&set, ctx, &d);
        memory.refuse = 0;
        acr__dataset_close(set);
        assert_true(status == ACR_OK || status == ACR_E_NO_MEMORY);
        assert_int_equal(memory.now, before);
    }
    assert_true(n > 10);
}

/* -- memory --------------------------------------------------------------- */
static void memory_is_told_and_does_not_grow(void **state)
{
    (void)state;
    size_t peaks[2];
    for (int k = 0; k < 2; k++) {
        size_t n, count = k ? 8 * COUNT : COUNT;
        uint8_t *p = idx_make(8, 2, (uint32_t[]){(uint32_t)count, 784}, NULL, 0, &n);
        p = realloc(p, n + count * 784);
        for (size_t i = 0; i < count; i++)
            memcpy(p + n + i * 784, images + 16 + i % COUNT * 784, 784);
        file_write_gz(in_folder("sized.gz"), p, n + count * 784);
        free(p);
        acr__data_desc d = describe("sized.gz", "sized");
        acr__data_info info;
        size_t before = memory.now;
        memory.peak = before;
        assert_int_equal(acr__dataset_probe(ctx, &d, &info), ACR_OK);
        acr__dataset *set;
        assert_int_equal(acr__dataset_open(&set, ctx, &d), ACR_OK);
        peaks[k] = memory.peak - before;
        assert_true(peaks[k] <= info.open_bytes);
        assert_true(memory.now - before <= info.held_bytes + 64);
        int64_t requests = memory.calls;
        assert_int_equal(read_all(set), ACR_OK);
        assert_int_equal(memory.calls, requests); /* reading allocates nothing */
        acr__dataset_close(set);
    }
    assert_int_equal(peaks[0], peaks[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_once),
        cmocka_unit_test(damaged_copies_are_made_again),
        cmocka_unit_test(without_a_cache_folder),
        cmocka_unit_test(damaged_originals),
        cmocka_unit_test(several_members),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(every_call_fails_once),
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(memory_is_told_and_does_not_grow),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
