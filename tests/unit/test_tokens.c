/* test_tokens.c: token files and tensors as sequences: targets and positions at
 * every border, both packings, the split, order, refusals, faults, memory. */
#include "unit/token_sets.h"
#include "data/table.h"
#include "io/file.h"
#include <accrue/accrue_io.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static int setup(void **state)
{
    return folder_make(state) || counted_context() != ACR_OK;
}

static int teardown(void **state)
{
    acr_context_destroy(ctx);
    return memory.now == 0 ? folder_remove(state) : -1;
}

/* -- helpers -------------------------------------------------------------- */
static acr__tokens_desc token_desc(const char *name, int64_t length)
{
    acr__tokens_desc d = ACR_TOKENS_DESC_INIT;
    d.format = "tokens";
    d.path = in_folder(name);
    d.sequence_length = length;
    d.cache = in_folder("cache");
    return d;
}

/* I64 tensors [n, t] in one file; labels NULL: there is no such tensor. */
static void tensors_make(const char *path, int64_t n, int64_t t, const int64_t *ids, const int64_t *labels)
{
    const int64_t shape[2] = {n, t};
    acr_st_writer *w;
    assert_int_equal(acr_st_writer_create(&w, ctx, path), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "ids", ACR_ST_I64, 2, shape), ACR_OK);
    if (labels)
        assert_int_equal(acr_st_writer_tensor(w, "labels", ACR_ST_I64, 2, shape), ACR_OK);
    assert_int_equal(acr_st_writer_begin(w), ACR_OK);
    for (int k = 0; k < 1 + (labels != NULL); k++)
        assert_int_equal(acr_st_writer_write(w, acr_st_writer_at(w, k) ? labels : ids, (size_t)(n * t) * 8), ACR_OK);
    assert_int_equal(acr_st_writer_commit(w), ACR_OK);
    acr_st_writer_destroy(w);
}

static acr__tokens_desc tensor_desc(const char *name, bool labels)
{
    acr__tokens_desc d = ACR_TOKENS_DESC_INIT;
    d.format = "safetensors";
    d.path = in_folder(name);
    d.input = "ids";
    d.target = labels ? "labels" : NULL;
    d.cache = in_folder("cache");
    return d;
}

static void expect(const int32_t *have, const int32_t *want, int n, const char *what)
{
    for (int i = 0; i < n; i++)
        if (have[i] != want[i])
            fail_msg("%s of row %d is %d, not %d", what, i, have[i], want[i]);
}

/* -- tensors -------------------------------------------------------------- */
static void tensors(void **state)
{
    (void)state;
    static const int64_t ids[] = {5, 6, 7, 8, 1, 2, 3, 4}, labels[] = {-100, 6, -100, 8, -100, -100, -100, -100};
    tensors_make(in_folder("t.safetensors"), 2, 4, ids, labels);
    acr__tokens_desc d = tensor_desc("t.safetensors", true);
    acr__tokens *set = tokens_open(&d);
    tokens_read(set, false, 0, 0);
    assert_int_equal(acr__tokens_info_of(set)->sequence_length, 4);
    assert_int_equal(acr__tokens_info_of(set)->vocabulary, 9);
    assert_int_equal(got.sequences, 2); /* one of which teaches nothing */
    expect(got.offset, (int32_t[]){0, 4, 8}, 3, "the offset");
    expect(got.ids, (int32_t[]){5, 6, 7, 8, 1, 2, 3, 4}, 8, "the id");
    expect(got.target, (int32_t[]){6, -100, 8, -100, -100, -100, -100, -100}, 8, "the target");
    expect(got.position, (int32_t[]){0, 1, 2, 3, 0, 1, 2, 3}, 8, "the position");
    acr__tokens_close(set);
    /* Without labels the ids are; shorter sequences have the target behind their last row. */
    d = tensor_desc("t.safetensors", false);
    d.sequence_length = 3;
    d.vocabulary = 100;
    set = tokens_open(&d);
    tokens_read(set, false, 0, 0);
    assert_int_equal(acr__tokens_info_of(set)->vocabulary, 100);
    expect(got.offset, (int32_t[]){0, 3, 6, 8}, 4, "the offset");
    expect(got.target, (int32_t[]){6, 7, 8, -100, 2, 3, 4, -100}, 8, "the target");
    expect(got.position, (int32_t[]){0, 1, 2, 0, 0, 1, 0, 1}, 8, "the position");
    acr__tokens_close(set);
}

static void tensors_refused(void **state)
{
    (void)state;
    int64_t ids[6] = {0, 1, 2, 3, 4, 5}, labels[6] = {0, 1, -100, 3, 4, 5};
    const char *path = in_folder("bad.safetensors");
    acr__tokens_desc d = tensor_desc("bad.safetensors", true);
    d.vocabulary = 6;
    tensors_make(path, 2, 3, ids, labels);
    acr__tokens_close(tokens_open(&d));
    ids[4] = 6;
    tensors_make(path, 2, 3, ids, labels);
    tokens_refused(&d, ACR_E_DATA, "sequence 1, place 1 is 6; 0 to 5 are allowed");
    ids[4] = -100;
    tensors_make(path, 2, 3, ids, labels);
    tokens_refused(&d, ACR_E_DATA, "place 1 is -100");
    ids[4] = 4;
    labels[5] = -1;
    tensors_make(path, 2, 3, ids, labels);
    tokens_refused(&d, ACR_E_DATA, "place 2 is -1; 0 to 5 are allowed, and -100");
    labels[5] = INT64_C(1) << 40;
    d.vocabulary = 0;
    tensors_make(path, 2, 3, ids, labels);
    tokens_refused(&d, ACR_E_DATA, "0 to 2147483647");
    for (int i = 0; i < 6; i++)
        labels[i] = -100;
    tensors_make(path, 2, 3, ids, labels);
    tokens_refused(&d, ACR_E_DATA, "nothing to learn");
    tensors_make(path, 6, 1, ids, ids);
    tokens_refused(&d, ACR_E_DATA, "nothing to learn"); /* no place has one after it */
    d.target = "absent";
    tokens_refused(&d, ACR_E_DATA, "there is no tensor 'absent'");
}

/* -- token files: stream -------------------------------------------------- */
static void stream(void **state)
{
    (void)state;
    token_file_make(in_folder("s.tok"), 100, 4, (int[]){3, 0, 6, 1}, NULL);
    acr__tokens_desc d = token_desc("s.tok", 4);
    acr__tokens *set = tokens_open(&d);
    const acr__tokens_info *info = acr__tokens_info_of(set);
    tokens_read(set, false, 0, 0);
    expect(got.offset, (int32_t[]){0, 4, 8, 10}, 4, "the offset");
    expect(got.ids, (int32_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 10, "the id");
    expect(got.target, (int32_t[]){1, 2, -100, 4, 5, 6, 7, 8, -100, -100}, 10, "the target");
    expect(got.position, (int32_t[]){0, 1, 2, 0, 0, 1, 2, 3, 0, 0}, 10, "the position");
    assert_int_equal(info->documents, 3);
    assert_int_equal(info->targets, 7);
    assert_int_equal(info->cut.count + info->left_out.count, 0);
    acr__tokens_close(set);
}

static bool odd(int64_t token) { return token % 2; }

static void stream_masked(void **state)
{
    (void)state;
    token_file_make(in_folder("m.tok"), 100, 2, (int[]){5, 3}, odd);
    acr__tokens_desc d = token_desc("m.tok", 3);
    acr__tokens *set = tokens_open(&d);
    tokens_read(set, false, 0, 0);
    expect(got.ids, (int32_t[]){0, 1, 2, 3, 4, 5, 6, 7}, 8, "the id");
    expect(got.target, (int32_t[]){-100, 2, -100, 4, -100, 6, -100, -100}, 8, "the target");
    acr__tokens_close(set);
}

/* Rows and pieces beyond every block at once. */
static void long_sequences(void **state)
{
    (void)state;
    static int lengths[700];
    int64_t tokens = 0;
    for (int d = 0; d < 700; d++)
        tokens += lengths[d] = d == 300 ? 5000 : d % 200 == 0 ? 2000 : 1 + d % 9;
    token_file_make(in_folder("long.tok"), 60000, 700, lengths, NULL);
    acr__tokens_desc d = token_desc("long.tok", 3000);
    acr__tokens *set = tokens_open(&d);
    tokens_read(set, false, 0, 0);
    assert_int_equal(got.offset[got.sequences], tokens);
    assert_int_equal(got.sequences, (tokens + 2999) / 3000);
    int64_t t = 0;
    for (int doc = 0; doc < 700; doc++)
        for (int i = 0; i < lengths[doc]; i++, t++) {
            assert_int_equal(got.ids[t], t);
            assert_int_equal(got.target[t], i + 1 < lengths[doc] ? t + 1 : -100);
            int64_t place = t % 3000;
            assert_int_equal(got.position[t], i < place ? i : place);
        }
    acr__tokens_close(set);
}

/* -- token files: whole --------------------------------------------------- */
static void whole(void **state)
{
    (void)state;
    token_file_make(in_folder("w.tok"), 100, 6, (int[]){6, 7, 1, 2, 12, 3}, NULL);
    acr__tokens_desc d = token_desc("w.tok", 10);
    d.packing = "whole";
    acr__tokens *set = tokens_open(&d);
    const acr__tokens_info *info = acr__tokens_info_of(set);
    tokens_read(set, false, 0, 0);
    /* 7+2 leave no room, 12 is cut to 10, 6+3 follow; the one token alone is left out. */
    static const int32_t ids[] = {6,  7,  8,  9,  10, 11, 12, 14, 15, 16, 17, 18, 19, 20,
                                   21, 22, 23, 24, 25, 0,  1,  2,  3,  4,  5,  28, 29, 30};
    static const int32_t position[] = {0, 1, 2, 3, 4, 5, 6, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 0, 1, 2};
    expect(got.offset, (int32_t[]){0, 9, 19, 28}, 4, "the offset");
    expect(got.ids, ids, 28, "the id");
    expect(got.position, position, 28, "the position");
    for (int r = 0; r < 28; r++) /* the cut document's last row still has the token that was cut off */
        assert_int_equal(got.target[r], ids[r] == 12 || ids[r] == 30 || ids[r] == 5 || ids[r] == 15 ? -100 : ids[r] + 1);
    assert_int_equal(info->cut.count, 1);
    assert_int_equal(info->left_out.count, 1);
    assert_int_equal(info->documents, 5);
    acr__tokens_close(set);
    /* Of one token more than a sequence has rows nothing is lost. */
    token_file_make(in_folder("w.tok"), 100, 2, (int[]){11, 12}, NULL);
    set = tokens_open(&d);
    info = acr__tokens_info_of(set);
    assert_int_equal(info->targets, 20);
    assert_int_equal(info->cut.count, 1);
    assert_int_equal(info->cut.document, 1);
    acr__tokens_close(set);
}

/* Thousands of documents: none is divided, none missing, and little room is lost. */
static void whole_many(void **state)
{
    (void)state;
    enum { N = 4000 };
    static int lengths[N];
    static char seen[MOST_ROWS];
    int64_t tokens = 0;
    for (int d = 0; d < N; d++)
        tokens += lengths[d] = 2 + (int)(noise((uint32_t)d) % 60);
    token_file_make(in_folder("many.tok"), ACR_TOKEN_VOCABULARY, N, lengths, NULL);
    acr__tokens_desc d = token_desc("many.tok", 64);
    d.packing = "whole";
    acr__tokens *set = tokens_open(&d);
    tokens_read(set, false, 0, 0);
    assert_int_equal(got.offset[got.sequences], tokens);
    assert_true(got.sequences * 64 < tokens * 1.03);
    memset(seen, 0, sizeof seen);
    for (int64_t r = 0; r < tokens; r++) {
        assert_int_equal(seen[got.ids[r]]++, 0);
        assert_true(got.position[r] > 0 || r == 0 || got.target[r - 1] == -100);
    }
    acr__tokens_close(set);
    /* A sequence takes only so many documents, however short they are. */
    for (int i = 0; i < N; i++)
        lengths[i] = 2;
    token_file_make(in_folder("pairs.tok"), ACR_TOKEN_VOCABULARY, N, lengths, NULL);
    d = token_desc("pairs.tok", 100000);
    d.packing = "whole";
    set = tokens_open(&d);
    tokens_read(set, false, 0, 0);
    assert_int_equal(got.sequences, (N + 511) / 512);
    acr__tokens_close(set);
}

/* -- the split ------------------------------------------------------------ */
static void mark(const acr__tokens_desc *d, char *seen, char as, bool targets)
{
    acr__tokens *set = tokens_open(d);
    tokens_read(set, false, 0, 0);
    for (int64_t r = 0; r < got.offset[got.sequences]; r++) {
        assert_true(seen[got.ids[r]] == 0 || seen[got.ids[r]] == as);
        seen[got.ids[r]] = as;
        if (targets && got.target[r] != -100) {
            assert_true(seen[got.target[r]] == 0 || seen[got.target[r]] == as);
            seen[got.target[r]] = as;
        }
    }
    acr__tokens_close(set);
}

/* Every token in one part and none in both; a document is in one of them whole. */
static void split_documents(void **state)
{
    (void)state;
    enum { N = 100, EACH = 7 };
    static int lengths[N];
    static char chosen[2][N * EACH];
    for (int i = 0; i < N; i++)
        lengths[i] = EACH;
    token_file_make(in_folder("d.tok"), 1000, N, lengths, NULL);
    for (int packing = 0; packing < 2; packing++)
        for (uint64_t seed = 0; seed < 2; seed++) {
            acr__tokens_desc d = token_desc("d.tok", 16);
            char *seen = chosen[seed];
            memset(seen, 0, N * EACH);
            d.packing = packing ? "whole" : "stream";
            d.validation_split = 0.05;
            d.seed = seed;
            mark(&d, seen, 't', true);
            d.validation = true;
            mark(&d, seen, 'v', true);
            int taken = 0;
            for (int t = 0; t < N * EACH; t++) {
                assert_true(seen[t] != 0);
                assert_int_equal(seen[t], seen[t / EACH * EACH]);
                taken += seen[t] == 'v';
            }
            assert_int_equal(taken, 5 * EACH);
        }
    assert_memory_not_equal(chosen[0], chosen[1], N * EACH); /* the seed chooses */
}

static void split_tail(void **state)
{
    (void)state;
    static char seen[1000];
    token_file_make(in_folder("one.tok"), 1000, 2, (int[]){900, 100}, NULL);
    acr__tokens_desc d = token_desc("one.tok", 64);
    d.validation_split = 0.2; /* round(0.2 * 2) documents are none: 200 tokens */
    memset(seen, 0, sizeof seen);
    mark(&d, seen, 't', true);
    assert_int_equal(got.target[799], -100); /* token 800 is the other part's */
    d.validation = true;
    mark(&d, seen, 'v', true);
    for (int t = 0; t < 1000; t++)
        assert_int_equal(seen[t], t < 800 ? 't' : 'v');
    d.packing = "whole"; /* one document at least */
    memset(seen, 0, sizeof seen);
    mark(&d, seen, 'v', false);
    d.validation = false;
    mark(&d, seen, 't', false);
    token_file_make(in_folder("single.tok"), 1000, 1, (int[]){50}, NULL);
    d.path = in_folder("single.tok");
    tokens_refused(&d, ACR_E_DATA, "packing: stream divides it");
    d.packing = "stream"; /* as is said, whatever the share */
    d.validation_split = 0.6;
    memset(seen, 0, sizeof seen);
    mark(&d, seen, 't', true);
    d.validation = true;
    mark(&d, seen, 'v', true);
    for (int t = 0; t < 50; t++)
        assert_int_equal(seen[t], t < 20 ? 't' : 'v');
}

/* -- order ---------------------------------------------------------------- */
static void order(void **state)
{
    (void)state;
    static int lengths[50];
    for (int i = 0; i < 50; i++)
        lengths[i] = 3 + i % 5;
    token_file_make(in_folder("o.tok"), 1000, 50, lengths, NULL);
    acr__tokens_desc d = token_desc("o.tok", 8);
    acr__tokens *set = tokens_open(&d);
    tokens_read(set, false, 0, 0);
    static int32_t plain[1000], offset[1000], ids[8], position[8], at[2];
    memcpy(plain, got.ids, sizeof plain);
    memcpy(offset, got.offset, sizeof offset);
    int64_t n = got.sequences;
    tokens_read(set, true, 7, 3);
    acr__tokens_source from;
    acr_source source;
    acr__tokens_source_init(&from, set, true, 7, &source);
    /* Slots of other widths, one not wanted, one sequence at a time: a resumed run. */
    void *data[3] = {ids, NULL, position};
    const int64_t row_bytes[3] = {4, 4, 4};
    int32_t *offsets[1] = {at};
    acr_slots slots = {sizeof slots, data, row_bytes, offsets};
    for (int64_t i = 0; i < n; i++) {
        int64_t s = acr_shuffle(7, 3, n, i);
        int32_t rows = offset[s + 1] - offset[s];
        assert_int_equal(got.offset[i + 1] - got.offset[i], rows);
        expect(got.ids + got.offset[i], plain + offset[s], rows, "the id");
        assert_int_equal(source.get(source.user, 3, i, 1, &slots), ACR_OK);
        assert_int_equal(at[1], rows);
        expect(ids, plain + offset[s], rows, "the id alone");
        expect(position, got.position + got.offset[i], rows, "the position alone");
    }
    int32_t wide[8][3];
    void *spread[3] = {NULL, wide, NULL};
    const int64_t wide_bytes[3] = {4, 12, 4};
    acr_slots apart = {sizeof apart, spread, wide_bytes, offsets};
    assert_int_equal(source.get(source.user, 3, 5, 1, &apart), ACR_OK);
    for (int r = 0; r < at[1]; r++)
        assert_int_equal(wide[r][0], got.target[got.offset[5] + r]);
    assert_int_equal(source.get(source.user, 3, n, 1, &slots), ACR_E_ARGUMENT);
    assert_int_equal(source.get(source.user, 3, -1, 1, &slots), ACR_E_ARGUMENT);
    assert_non_null(strstr(acr_error(ctx), "sequences from -1 were asked for"));
    acr__tokens_close(set);
}

/* -- refusals ------------------------------------------------------------- */
static void descriptions(void **state)
{
    (void)state;
    token_file_make(in_folder("a.tok"), 100, 1, (int[]){9}, NULL);
    token_file_make(in_folder("empty.tok"), 100, 0, NULL, NULL);
    token_file_make(in_folder("ones.tok"), 100, 3, (int[]){1, 1, 1}, NULL);
    acr__tokens_desc good = token_desc("a.tok", 4), d;
    d = good, d.format = NULL, tokens_refused(&d, ACR_E_CONFIG, "format is missing");
    d = good, d.format = "csv", tokens_refused(&d, ACR_E_CONFIG, "'csv'");
    d = good, d.path = NULL, tokens_refused(&d, ACR_E_CONFIG, "needs path");
    d = good, d.input = "ids", tokens_refused(&d, ACR_E_CONFIG, "name tensors");
    d = good, d.format = "safetensors", tokens_refused(&d, ACR_E_CONFIG, "input is missing");
    d = good, d.sequence_length = 0, tokens_refused(&d, ACR_E_CONFIG, "needs sequence_length");
    d = good, d.sequence_length = -1, tokens_refused(&d, ACR_E_CONFIG, "sequence_length is -1");
    d = good, d.packing = "tight", tokens_refused(&d, ACR_E_CONFIG, "'tight'");
    d = good, d.validation_split = 1, tokens_refused(&d, ACR_E_CONFIG, "validation_split is 1");
    d = good, d.validation_split = -0.1, tokens_refused(&d, ACR_E_CONFIG, "validation_split is -0.1");
    d = good, d.validation = true, tokens_refused(&d, ACR_E_CONFIG, "no part for validation");
    d = good, d.vocabulary = 99, tokens_refused(&d, ACR_E_DATA, "vocabulary of 100, the model's has 99");
    d = good, d.path = in_folder("absent.tok"), tokens_refused(&d, ACR_E_DATA, "absent.tok");
    d = good, d.path = in_folder("empty.tok"), tokens_refused(&d, ACR_E_DATA, "no token");
    d = good, d.path = in_folder("ones.tok"), tokens_refused(&d, ACR_E_DATA, "nothing to learn");
    d.packing = "whole", tokens_refused(&d, ACR_E_DATA, "nothing to learn");
}

/* -- memory and failures -------------------------------------------------- */
static int names_in(const char *path)
{
    DIR *d = opendir(path);
    int n = -2;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

/* A million tokens need what a thousand do; the list of sequences is a file. */
static void bounded(void **state)
{
    (void)state;
    enum { N = 60000 };
    static int lengths[N];
    for (int i = 0; i < N; i++)
        lengths[i] = 2;
    token_file_make(in_folder("big.tok"), ACR_TOKEN_VOCABULARY, N, lengths, NULL);
    acr__tokens_desc d = token_desc("big.tok", 3);
    for (int packing = 0; packing < 2; packing++) {
        size_t before = memory.now;
        d.packing = packing ? "whole" : "stream";
        memory.peak = memory.now;
        acr__tokens *set = tokens_open(&d);
        const acr__tokens_info *info = acr__tokens_info_of(set);
        assert_true(memory.peak - before <= info->open_bytes);
        assert_true(memory.now - before <= info->held_bytes);
        assert_true(memory.now - before < 16 * 1024); /* both lists are files */
        int64_t requests = memory.calls;
        tokens_read(set, true, 1, 1);
        assert_int_equal(memory.calls, requests);
        assert_int_equal(names_in(d.cache), 0);
        acr__tokens_close(set);
        assert_int_equal(memory.now, before);
    }
}

/* A cache folder that can't be made is no failure: the list goes elsewhere. */
static void no_cache(void **state)
{
    (void)state;
    acr__tokens_desc d = token_desc("big.tok", 3);
    d.cache = "/dev/null/nowhere";
    acr__tokens *set = tokens_open(&d);
    tokens_read(set, true, 1, 1);
    acr__tokens_close(set);
}

/* The n-th request or system call fails, for every n: a sentence, nothing left. */
static void faults(void **state)
{
    (void)state;
    static const char *const names[] = {"w.tok", "big.tok", "t.safetensors"};
    for (int k = 0; k < 6; k++) {
        bool io = k % 2;
        acr__tokens_desc d = token_desc(names[k / 2], 3);
        if (k / 2 == 2)
            d = tensor_desc("t.safetensors", true);
        d.packing = k / 2 == 1 ? "stream" : "whole";
        size_t before = memory.now;
        for (int64_t n = 1;; n++) {
            acr__tokens *set = NULL;
            memory.calls = 0;
            memory.refuse = io ? 0 : n;
            acr__file_fault(io ? n : 0, ACR_FAULT_FAIL);
            acr_status status = acr__tokens_open(&set, ctx, &d);
            bool fired = io ? acr__file_fault_fired() : memory.calls >= n;
            memory.refuse = 0;
            acr__file_fault(0, ACR_FAULT_FAIL);
            if (status == ACR_OK) {
                tokens_read(set, false, 0, 0);
                acr__tokens_close(set);
            } else {
                assert_true(acr_error(ctx)[0] != 0);
                assert_true(fired);
            }
            assert_int_equal(memory.now, before);
            if (!fired)
                break;
            assert_true(n < 3000);
        }
    }
}

/* A file that was cut after it was opened is told, not read beyond. */
static void cut_since(void **state)
{
    (void)state;
    token_file_make(in_folder("c.tok"), 100, 1, (int[]){3000}, NULL);
    acr__tokens_desc d = token_desc("c.tok", 100);
    acr__tokens *set = tokens_open(&d);
    assert_int_equal(truncate(d.path, 3000), 0);
    acr__tokens_source from;
    acr_source source;
    acr__tokens_source_init(&from, set, false, 0, &source);
    void *data[3] = {got.ids, got.target, got.position};
    const int64_t row_bytes[3] = {4, 4, 4};
    int32_t *offsets[1] = {got.offset};
    acr_slots slots = {sizeof slots, data, row_bytes, offsets};
    assert_int_equal(source.get(source.user, 0, 0, 10, &slots), ACR_OK);
    assert_int_equal(source.get(source.user, 0, 20, 1, &slots), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), d.path));
    acr__tokens_close(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors),         cmocka_unit_test(tensors_refused), cmocka_unit_test(stream),
        cmocka_unit_test(stream_masked),   cmocka_unit_test(long_sequences),  cmocka_unit_test(whole),
        cmocka_unit_test(whole_many),      cmocka_unit_test(split_documents), cmocka_unit_test(split_tail),
        cmocka_unit_test(order),           cmocka_unit_test(descriptions),    cmocka_unit_test(bounded),
        cmocka_unit_test(no_cache),        cmocka_unit_test(faults),          cmocka_unit_test(cut_since),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
