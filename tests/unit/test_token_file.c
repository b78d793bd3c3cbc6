/* test_token_file.c: token files: what is written is read, at any offset, with
 * its documents; what is damaged anywhere is refused; a failed write leaves
 * nothing. */
#include "data_files.h"

#include "base/context.h"
#include "data/token_file.h"
#include "io/file.h"

#include <dirent.h>
#include <unistd.h>
#include <xxhash.h>

#define HASH "0123456789abcdef0123456789abcdef"
enum { HEAD = 72, FOOT = 56 };

static acr_context *ctx;

static int setup(void **state)
{
    return folder_make(state) || acr__context_new(&ctx, NULL) != ACR_OK;
}

static int teardown(void **state)
{
    acr_context_destroy(ctx);
    return folder_remove(state);
}

static int names_in_folder(void)
{
    DIR *d = opendir(folder);
    int n = -2; /* . and .. */
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Documents of 0, 1, 2, ... tokens. */
static void make(const char *path, int64_t vocabulary, int documents)
{
    acr__token_head head = {vocabulary, vocabulary > 1 ? 1 : -1, HASH, false};
    acr__token_writer *w;
    assert_int_equal(acr__token_writer_open(&w, ctx, path, &head), ACR_OK);
    int32_t id = 0;
    for (int d = 0; d < documents; d++) {
        for (int i = 0; i < d; i++, id++) {
            int32_t v = (int32_t)(noise((uint32_t)id) % (uint32_t)vocabulary);
            assert_int_equal(acr__token_writer_add(w, &v, 1), ACR_OK);
        }
        assert_int_equal(acr__token_writer_document(w), ACR_OK);
    }
    assert_int_equal(acr__token_writer_documents(w), documents);
    assert_int_equal(acr__token_writer_tokens(w), id);
    assert_int_equal(acr__token_writer_commit(w), ACR_OK);
    acr__token_writer_close(w);
}

static void round_trip(void **state)
{
    (void)state;
    static const int64_t vocabularies[] = {1, 300, 65536, 65537, ACR_TOKEN_VOCABULARY};
    const char *path = in_folder("a.tok");
    for (int v = 0; v < 5; v++) {
        for (int documents = 0; documents < 90; documents += 89) { /* none, and enough for several transfers */
            int64_t tokens = documents * (documents - 1) / 2;
            acr__token_file *f;
            make(path, vocabularies[v], documents);
            assert_int_equal(acr__token_file_open(&f, ctx, path), ACR_OK);
            assert_int_equal(acr__token_file_head(f)->vocabulary, vocabularies[v]);
            assert_int_equal(acr__token_file_head(f)->eos, vocabularies[v] > 1 ? 1 : -1);
            assert_string_equal(acr__token_file_head(f)->tokenizer, HASH);
            assert_int_equal(acr__token_file_tokens(f), tokens);
            assert_int_equal(acr__token_file_documents(f), documents);
            int32_t ids[4000];
            for (int64_t first = 0; first < tokens; first += 7) {
                int64_t n = (first * 5) % (tokens - first + 1);
                ids[n] = -7;
                assert_int_equal(acr__token_file_read(f, first, n, ids), ACR_OK);
                for (int64_t i = 0; i < n; i++)
                    assert_int_equal(ids[i], noise((uint32_t)(first + i)) % (uint32_t)vocabularies[v]);
                assert_int_equal(ids[n], -7);
            }
            assert_int_equal(acr__token_file_read(f, tokens, 1, ids), ACR_E_ARGUMENT);
            assert_int_equal(acr__token_file_read(f, -1, 1, ids), ACR_E_ARGUMENT);
            assert_int_equal(acr__token_file_read(f, 1, INT64_MAX, ids), ACR_E_ARGUMENT);
            int64_t ends[90], d;
            assert_int_equal(acr__token_file_ends(f, 0, documents, ends), ACR_OK);
            for (int i = 0; i < documents; i++)
                assert_int_equal(ends[i], i * (i + 1) / 2);
            assert_int_equal(acr__token_file_ends(f, documents, 1, ends), ACR_E_ARGUMENT);
            for (int64_t t = 0; t < tokens; t++) {
                assert_int_equal(acr__token_file_find(f, t, &d), ACR_OK);
                assert_true(t < ends[d] && t >= ends[d - 1]);
            }
            assert_int_equal(acr__token_file_find(f, tokens, &d), ACR_E_ARGUMENT);
            acr__token_file_close(f);
            assert_int_equal(names_in_folder(), 1);
        }
    }
}

/* More ids and documents than any buffer holds at once. */
static void long_file(void **state)
{
    (void)state;
    enum { N = 100000 };
    static int32_t ids[N], back[N];
    static int64_t ends[N];
    const char *path = in_folder("long.tok");
    acr__token_head head = {70000, -1, HASH, false};
    acr__token_writer *w;
    acr__token_file *f;
    assert_int_equal(acr__token_writer_open(&w, ctx, path, &head), ACR_OK);
    for (int i = 0; i < N; i++)
        ids[i] = i % 70000;
    for (int i = 0; i < N; i++) {
        assert_int_equal(acr__token_writer_add(w, ids + i, 1), ACR_OK);
        assert_int_equal(acr__token_writer_document(w), ACR_OK);
    }
    assert_int_equal(acr__token_writer_add(w, ids, N), ACR_OK); /* a document that nobody ends */
    assert_int_equal(acr__token_writer_commit(w), ACR_OK);
    acr__token_writer_close(w);
    assert_int_equal(acr__token_file_open(&f, ctx, path), ACR_OK);
    assert_int_equal(acr__token_file_tokens(f), 2 * N);
    assert_int_equal(acr__token_file_documents(f), N + 1);
    for (int half = 0; half < 2; half++) {
        assert_int_equal(acr__token_file_read(f, half * N, N, back), ACR_OK);
        assert_memory_equal(ids, back, sizeof ids);
    }
    assert_int_equal(acr__token_file_ends(f, 0, N, ends), ACR_OK);
    for (int i = 0; i < N; i++)
        assert_int_equal(ends[i], i + 1);
    acr__token_file_close(f);
}

/* Marks come back as they were given, and only a masked file takes them. */
static void masked(void **state)
{
    (void)state;
    const char *path = in_folder("masked.tok");
    static const int32_t ids[] = {3 | ACR_TOKEN_UNLEARNED, 299, ACR_TOKEN_UNLEARNED, 0};
    acr__token_head head = {300, -1, HASH, true};
    acr__token_writer *w;
    acr__token_file *f;
    assert_int_equal(acr__token_writer_open(&w, ctx, path, &head), ACR_OK);
    assert_int_equal(acr__token_writer_add(w, ids, 4), ACR_OK);
    assert_int_equal(acr__token_writer_add(w, (int32_t[]){300 | ACR_TOKEN_UNLEARNED}, 1), ACR_E_ARGUMENT);
    assert_int_equal(acr__token_writer_commit(w), ACR_OK);
    acr__token_writer_close(w);
    int32_t back[4];
    assert_int_equal(acr__token_file_open(&f, ctx, path), ACR_OK);
    assert_true(acr__token_file_head(f)->masked);
    assert_int_equal(acr__token_file_read(f, 0, 4, back), ACR_OK);
    assert_memory_equal(back, ids, sizeof ids);
    acr__token_file_close(f);
    unlink(path);
    head.masked = false;
    assert_int_equal(acr__token_writer_open(&w, ctx, path, &head), ACR_OK);
    assert_int_equal(acr__token_writer_add(w, ids, 1), ACR_E_ARGUMENT);
    acr__token_writer_close(w);
}

static void writer_refuses(void **state)
{
    (void)state;
    const char *path = in_folder("w.tok");
    int before = names_in_folder();
    acr__token_writer *w;
    static const acr__token_head wrong[] = {
        {0, -1, HASH, false}, {ACR_TOKEN_VOCABULARY + 1, -1, HASH, false}, {10, 10, HASH, false}, {10, -2, HASH, false}, {10, 1, "0123", false}, {10, 1, "", false}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(acr__token_writer_open(&w, ctx, path, &wrong[i]), ACR_E_ARGUMENT);
    acr__token_head head = {10, 0, HASH, false};
    assert_int_equal(acr__token_writer_open(&w, ctx, path, &head), ACR_OK);
    assert_int_equal(acr__token_writer_add(w, (int32_t[]){3, 10}, 2), ACR_E_ARGUMENT);
    assert_non_null(strstr(acr_error(ctx), "token 10"));
    assert_int_equal(acr__token_writer_add(w, (int32_t[]){3, -1}, 2), ACR_E_ARGUMENT);
    assert_int_equal(acr__token_writer_tokens(w), 0);
    acr__token_writer_close(w);
    assert_int_equal(names_in_folder(), before);
    assert_int_equal(acr__token_writer_open(&w, ctx, in_folder("none/w.tok"), &head), ACR_E_IO);
}

/* Any byte changed, any length cut: refused, naming the file. */
static void damage(void **state)
{
    (void)state;
    const char *path = in_folder("whole.tok"), *bad = in_folder("bad.tok");
    make(path, 300, 9);
    size_t n;
    uint8_t *bytes = file_read(path, &n);
    assert_int_equal(n, HEAD + 36 * 2 + 9 * 8 + FOOT);
    acr__token_file *f;
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= 1;
        file_write(bad, bytes, n);
        assert_int_equal(acr__token_file_open(&f, ctx, bad), ACR_E_DATA);
        assert_non_null(strstr(acr_error(ctx), bad));
        bytes[i] ^= 1;
        file_write(bad, bytes, i);
        assert_int_equal(acr__token_file_open(&f, ctx, bad), ACR_E_DATA);
        assert_non_null(strstr(acr_error(ctx), bad));
    }
    free(bytes);
    assert_int_equal(acr__token_file_probe(&f, ctx, in_folder("absent.tok")), ACR_E_DATA);
}

static void put_sum(uint8_t *p, size_t n)
{
    uint64_t sum = XXH3_64bits(p, n);
    for (int i = 0; i < 8; i++)
        p[n + (size_t)i] = (uint8_t)(sum >> (8 * i));
}

static void hostile(const char *words, uint8_t *bytes, size_t n)
{
    const char *path = in_folder("hostile.tok");
    acr__token_file *f;
    put_sum(bytes, HEAD - 8);
    char hash[40];
    XXH128_hash_t h = XXH3_128bits(bytes, n - FOOT);
    snprintf(hash, sizeof hash, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
    memcpy(bytes + n - FOOT + 16, hash, 32);
    put_sum(bytes + n - FOOT, FOOT - 8);
    file_write(path, bytes, n);
    assert_int_equal(acr__token_file_open(&f, ctx, path), ACR_E_DATA);
    if (!strstr(acr_error(ctx), words))
        fail_msg("'%s' is not in: %s", words, acr_error(ctx));
}

/* Every sum right, and still wrong. */
static void lies(void **state)
{
    (void)state;
    const char *path = in_folder("whole.tok");
    make(path, 300, 9);
    static const struct {
        size_t at; /* from the end if behind the head and tokens */
        bool back;
        int64_t value;
        int bytes;
        const char *words;
    } lie[] = {
        {8, false, 2, 4, "version 2"},
        {12, false, 4, 2, "ids of 4 bytes"},
        {14, false, 1, 2, "ids of 2 bytes"},
        {14, false, 2, 2, "flags 2"},
        {16, false, 0, 8, "vocabulary of 0"},
        {16, false, 20, 8, "outside its vocabulary of 20"},
        {16, false, -1, 8, "vocabulary of 1844"},
        {24, false, 300, 8, "end-of-text token 300"},
        {24, false, INT64_MIN, 8, "end-of-text token"},
        {32, false, 'G', 1, "hex digits"},
        {FOOT, true, -1, 8, "do not fill"},
        {FOOT, true, INT64_MAX, 8, "do not fill"},
        {FOOT, true, 35, 8, "at most 35"}, /* the padding hides one */
        {FOOT, true, 27, 8, "do not fill"},
        {FOOT - 8, true, 8, 8, "do not fill"},
        {FOOT - 8, true, INT64_MIN, 8, "do not fill"},
        {FOOT + 8, true, 35, 8, "ends at token 35 of 36"},
        {FOOT + 16, true, 37, 8, "document 7"},
        {FOOT + 16, true, 0, 8, "document 7"},
        {FOOT + 16, true, INT64_MIN, 8, "document 7"},
    };
    for (size_t i = 0; i < sizeof lie / sizeof *lie; i++) {
        size_t n;
        uint8_t *bytes = file_read(path, &n);
        uint8_t *p = lie[i].back ? bytes + n - lie[i].at : bytes + lie[i].at;
        for (int k = 0; k < lie[i].bytes; k++)
            p[k] = (uint8_t)((uint64_t)lie[i].value >> (8 * k));
        hostile(lie[i].words, bytes, n);
        free(bytes);
    }
}

/* The n-th system call fails, for every n: a sentence, and nothing left. */
static void faults(void **state)
{
    (void)state;
    const char *path = in_folder("f.tok");
    acr__token_head head = {300, 1, HASH, false};
    static int32_t ids[40000];
    int before = names_in_folder();
    for (int kind = ACR_FAULT_FAIL; kind <= ACR_FAULT_SHORT; kind++) {
        for (int64_t n = 1;; n++) {
            acr__token_writer *w = NULL;
            acr__file_fault(n, (enum acr__fault)kind);
            acr_status status = acr__token_writer_open(&w, ctx, path, &head);
            for (int i = 0; i < 3 && status == ACR_OK; i++) {
                status = acr__token_writer_add(w, ids, 40000);
                for (int d = 0; d < 9000 && status == ACR_OK; d++)
                    status = acr__token_writer_document(w);
            }
            if (status == ACR_OK)
                status = acr__token_writer_commit(w);
            acr__token_writer_close(w);
            bool fired = acr__file_fault_fired();
            acr__file_fault(0, ACR_FAULT_FAIL);
            acr__token_file *f;
            bool there = acr__token_file_open(&f, ctx, path) == ACR_OK;
            if (there)
                acr__token_file_close(f);
            assert_true(there || status != ACR_OK);
            assert_int_equal(names_in_folder(), before + there);
            unlink(path);
            if (!fired) {
                assert_int_equal(status, ACR_OK);
                break;
            }
            assert_true(n < 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(long_file), cmocka_unit_test(writer_refuses),
        cmocka_unit_test(damage),     cmocka_unit_test(lies),      cmocka_unit_test(faults),
        cmocka_unit_test(masked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
