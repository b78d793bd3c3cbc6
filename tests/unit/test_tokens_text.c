/* test_tokens_text.c: text, lines of samples and the Bible as sequences: what they
 * are tokenised to, the cache folder and what stands in for it, learned
 * tokenizers, and every failure on the way. */
#include "unit/token_sets.h"
#include "unit/tokenizers.h"
#include "io/file.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static acr__tokenizer *bytes; /* 257 tokens */

static int setup(void **state)
{
    if (folder_make(state) || counted_context() != ACR_OK)
        return -1;
    tokenizer_make(ctx, in_folder("bytes.json"), NULL, NULL);
    bytes = tokenizer_of(ctx, in_folder("bytes.json"));
    return 0;
}

static int teardown(void **state)
{
    acr__tokenizer_close(bytes);
    acr_context_destroy(ctx);
    return memory.now == 0 ? folder_remove(state) : -1;
}

/* -- helpers -------------------------------------------------------------- */
static acr__tokens_desc describe(const char *format, const char *path, int64_t length)
{
    acr__tokens_desc d = ACR_TOKENS_DESC_INIT;
    d.format = format;
    d.path = path ? in_folder(path) : NULL;
    d.sequence_length = length;
    d.given = bytes;
    d.cache = in_folder("cache");
    return d;
}

static void text_file(const char *name, const char *text) { file_write(in_folder(name), text, strlen(text)); }

static int names_in(const char *path)
{
    DIR *d = opendir(path);
    int n = -2;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n < 0 ? 0 : n;
}

/* The set's rows as text; '/' between sequences, '!' after a row without target. */
static void reads_as(const acr__tokens_desc *d, const char *want)
{
    acr__tokens *set = tokens_open(d);
    tokens_read(set, false, 0, 0);
    acr__chars text = {0};
    for (int64_t s = 0; s < got.sequences; s++)
        for (int32_t r = got.offset[s]; r < got.offset[s + 1]; r++) {
            if (s > 0 && r == got.offset[s])
                acr__chars_add(ctx, &text, "/", 1);
            acr__tokenizer_decode(acr__tokens_tokenizer(set), &text, &got.ids[r], 1, false);
            if (got.target[r] == -100)
                acr__chars_add(ctx, &text, "!", 1);
        }
    assert_string_equal(text.bytes, want);
    acr__chars_free(ctx, &text);
    acr__tokens_close(set);
}

/* -- what sets are -------------------------------------------------------- */
static void texts(void **state)
{
    (void)state;
    text_file("a.txt", "abcdef");
    acr__tokens_desc d = describe("text", "a.txt", 4);
    reads_as(&d, "abcd/ef<|endoftext|>!");
    /* A folder: its .txt files in order, empty ones passed over. */
    mkdir(in_folder("many"), 0777);
    mkdir(in_folder("many/sub.txt"), 0777);
    text_file("many/2.txt", "bb");
    text_file("many/10.txt", "a");
    text_file("many/3.txt", "");
    text_file("many/4.text", "zzz");
    text_file("many/.5.txt", "zzz");
    d = describe("text", "many", 100);
    reads_as(&d, "a<|endoftext|>!bb<|endoftext|>!");
    text_file("empty.txt", "");
    d = describe("text", "empty.txt", 100);
    tokens_refused(&d, ACR_E_DATA, "no token");
    mkdir(in_folder("none"), 0777);
    d = describe("text", "none", 100);
    tokens_refused(&d, ACR_E_DATA, "no file in this folder ends in .txt");
    d = describe("text", "absent.txt", 100);
    tokens_refused(&d, ACR_E_DATA, "there is no such file");
    text_file("latin.txt", "caf\xe9 au lait");
    d = describe("text", "latin.txt", 100);
    tokens_refused(&d, ACR_E_DATA, "UTF-8");
}

/* Longer than every buffer: the file's bytes come back, and the end. */
static void long_text(void **state)
{
    (void)state;
    enum { N = 150000 };
    static char text[N + 1];
    for (uint32_t i = 0; i < N; i++)
        text[i] = "abc de\nfg. "[noise(i) % 11];
    text_file("long.txt", text);
    acr__tokens_desc d = describe("text", "long.txt", 1000);
    acr__tokens *set = tokens_open(&d);
    tokens_read(set, false, 0, 0);
    assert_int_equal(got.offset[got.sequences], N + 1);
    acr__chars back = {0};
    assert_int_equal(acr__tokenizer_decode(bytes, &back, got.ids, N, false), ACR_OK);
    assert_memory_equal(back.bytes, text, N);
    assert_int_equal(got.ids[N], acr__tokenizer_eos(bytes));
    acr__chars_free(ctx, &back);
    acr__tokens_close(set);
}

static void lines(void **state)
{
    (void)state;
    text_file("s.jsonl", "{\"prompt\": \"ab\", \"completion\": \"c\"}\n\n{\"text\": \"xyz\"}\n");
    acr__tokens_desc d = describe("jsonl", "s.jsonl", 100);
    reads_as(&d, "a!bc<|endoftext|>!xyz<|endoftext|>!");
    d.loss_on = "all";
    reads_as(&d, "abc<|endoftext|>!xyz<|endoftext|>!");
    d = describe("jsonl", "s.jsonl", 100);
    d.packing = "stream";
    reads_as(&d, "a!bc<|endoftext|>!xyz<|endoftext|>!");
    /* Cut to fit, and left out where nothing to learn remains: still counted. */
    text_file("cut.jsonl", "{\"prompt\": \"abcdef\", \"completion\": \"g\"}\n{\"prompt\": \"h\", \"completion\": \"ijklm\"}\n");
    d = describe("jsonl", "cut.jsonl", 4);
    reads_as(&d, "hijk");
    acr__tokens *set = tokens_open(&d);
    assert_int_equal(acr__tokens_info_of(set)->left_out.count, 1);
    assert_int_equal(acr__tokens_info_of(set)->cut.count, 1);
    assert_int_equal(acr__tokens_info_of(set)->targets, 4);
    acr__tokens_close(set);
    d.template = "plain";
    text_file("talk.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"A\"}]}");
    d.path = in_folder("talk.jsonl");
    d.sequence_length = 100;
    reads_as(&d, "U!s!e!r!:! !Q!\n!A!s!s!i!s!t!a!n!t!: A<|endoftext|>!\n!");
    d.template = NULL;
    tokens_refused(&d, ACR_E_DATA, "talk.jsonl:1: messages by the template chatml");
    text_file("bad.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n{\"text\": }\n");
    d = describe("jsonl", "bad.jsonl", 100);
    tokens_refused(&d, ACR_E_DATA, "bad.jsonl:3:10: not valid JSON");
    text_file("none.jsonl", "{\"text\": \"a\"}\n{\"prompt\": \"b\", \"completion\": \"\"}\n");
    d = describe("jsonl", "none.jsonl", 100);
    tokens_refused(&d, ACR_E_DATA, "none.jsonl:2: there is nothing to learn");
}

/* -- the cache ------------------------------------------------------------ */
static void stands_at(const acr__tokens *set, const acr__tokens_desc *d, const acr__tokens_odd *odd, int64_t count,
                      int64_t tokens, const char *want)
{
    char where[300];
    assert_int_equal(odd->count, count);
    assert_int_equal(odd->tokens, tokens);
    assert_int_equal(acr__tokens_where(set, d, odd->document, where, sizeof where), ACR_OK);
    assert_string_equal(where, in_folder(want));
}

/* The first document that was cut and the first left out, by file and line. */
static void too_long(void **state)
{
    (void)state;
    mkdir(in_folder("chats"), 0777);
    text_file("chats/1.jsonl", "\xef\xbb\xbf\n{\"text\": \"ab\"}\n\n \n{\"text\": \"cd\"}");
    text_file("chats/2.jsonl", "");
    text_file("chats/3.jsonl", "\n{\"prompt\": \"abcdef\", \"completion\": \"g\"}\n\n"
                               "{\"prompt\": \"h\", \"completion\": \"ijklm\"}\n{\"text\": \"opqrst\"}\n");
    acr__tokens_desc d = describe("jsonl", "chats", 4);
    for (int i = 0; i < 2; i++) { /* when it is tokenised, and from the cache */
        acr__tokens *set = tokens_open(&d);
        stands_at(set, &d, &acr__tokens_info_of(set)->left_out, 1, 8, "chats/3.jsonl:2");
        stands_at(set, &d, &acr__tokens_info_of(set)->cut, 2, 7, "chats/3.jsonl:4");
        if (i == 1) {
            char where[300];
            text_file("chats/3.jsonl", "");
            assert_int_equal(acr__tokens_where(set, &d, 3, where, sizeof where), ACR_E_DATA);
            assert_non_null(strstr(acr_error(ctx), "no longer there"));
        }
        acr__tokens_close(set);
    }
    text_file("all.jsonl",
              "\n{\"prompt\": \"abcdef\", \"completion\": \"g\"}\n{\"prompt\": \"abcde\", \"completion\": \"g\"}\n");
    d = describe("jsonl", "all.jsonl", 4);
    tokens_refused(&d, ACR_E_DATA,
                   "all.jsonl:2: of the 8 tokens nothing is to be learned within data.sequence_length, 4, "
                   "and so with all 2 documents");
    mkdir(in_folder("long"), 0777);
    text_file("long/1.txt", "abc");
    text_file("long/2.txt", "abcdef");
    d = describe("text", "long", 4);
    d.packing = "whole";
    acr__tokens *set = tokens_open(&d);
    stands_at(set, &d, &acr__tokens_info_of(set)->cut, 1, 7, "long: document 2");
    acr__tokens_close(set);
}

static void kept(void **state)
{
    (void)state;
    acr__tokens_desc d = describe("text", "k.txt", 10);
    d.cache = in_folder("kept");
    acr__tokens_info info;
    text_file("k.txt", "one two");
    assert_int_equal(acr__tokens_probe(ctx, &d, &info), ACR_OK);
    assert_int_equal(info.sequences, 0); /* not known yet */
    assert_int_equal(info.vocabulary, 257);
    assert_int_equal(names_in(d.cache), 0);
    reads_as(&d, "one two<|endoftext|>!");
    assert_int_equal(names_in(d.cache), 1);
    assert_int_equal(acr__tokens_probe(ctx, &d, &info), ACR_OK);
    assert_int_equal(info.sequences, 1);
    /* Used again: a changed copy would be noticed, an unchanged one is not written. */
    reads_as(&d, "one two<|endoftext|>!");
    d.sequence_length = 3;
    reads_as(&d, "one/ tw/o<|endoftext|>!");
    assert_int_equal(names_in(d.cache), 1);
    /* Another text, another tokenizer: other tokens. */
    text_file("k.txt", "One tWos");
    reads_as(&d, "One/ tW/os<|endoftext|>!");
    assert_int_equal(names_in(d.cache), 2);
    static const char *const added[] = {"tWo", NULL};
    tokenizer_make(ctx, in_folder("w.json"), added, NULL);
    d.given = NULL;
    d.tokenizer = in_folder("w.json");
    reads_as(&d, "One/ tWos/<|endoftext|>!");
    assert_int_equal(names_in(d.cache), 3);
}

/* A damaged copy is made again. */
static void damaged_copy(void **state)
{
    (void)state;
    acr__tokens_desc d = describe("text", "a.txt", 4);
    d.cache = in_folder("damaged");
    reads_as(&d, "abcd/ef<|endoftext|>!");
    DIR *folder_of = opendir(d.cache);
    char path[400] = "";
    for (struct dirent *e; (e = readdir(folder_of));)
        if (e->d_name[0] != '.')
            snprintf(path, sizeof path, "%s/%s", d.cache, e->d_name);
    closedir(folder_of);
    for (int kind = 0; kind < 3; kind++) {
        size_t n;
        uint8_t *copy = file_read(path, &n);
        copy[76] ^= 1;
        file_write(path, copy, kind == 0 ? n : kind == 1 ? n - 9 : 0);
        free(copy);
        reads_as(&d, "abcd/ef<|endoftext|>!");
    }
    assert_int_equal(names_in(d.cache), 1);
}

static void no_cache(void **state)
{
    (void)state;
    acr__tokens_desc d = describe("jsonl", "s.jsonl", 100);
    mkdir(in_folder("tmp"), 0777);
    setenv("TMPDIR", in_folder("tmp"), 1);
    d.cache = "/dev/null/nowhere";
    reads_as(&d, "a!bc<|endoftext|>!xyz<|endoftext|>!");
    d.given = NULL;
    d.learn = 258;
    reads_as(&d, "a!bc<|endoftext|>!xyz<|endoftext|>!");
    assert_int_equal(names_in(in_folder("tmp")), 0);
    /* The text's own failure is told as such: no other place would help. */
    d.path = in_folder("bad.jsonl");
    tokens_refused(&d, ACR_E_DATA, "bad.jsonl:3:10: not valid JSON");
    setenv("TMPDIR", "/dev/null/nowhere", 1);
    d.path = in_folder("s.jsonl");
    reads_as(&d, "a!bc<|endoftext|>!xyz<|endoftext|>!"); /* /tmp */
    unsetenv("TMPDIR");
}

/* -- learned tokenizers --------------------------------------------------- */
static void learned(void **state)
{
    (void)state;
    text_file("l.txt", "the cat and the hat and the bat and the rat");
    acr__tokens_desc d = describe("text", "l.txt", 100);
    d.cache = in_folder("learned");
    d.given = NULL;
    d.learn = 270;
    acr__tokens_info info;
    assert_int_equal(acr__tokens_probe(ctx, &d, &info), ACR_OK);
    assert_int_equal(info.vocabulary, 270); /* at most */
    acr__tokens *set = tokens_open(&d), *again;
    const acr__tokenizer *t = acr__tokens_tokenizer(set);
    assert_non_null(t);
    assert_true(acr__tokenizer_size(t) > 257 && acr__tokenizer_size(t) <= 270);
    assert_int_equal(acr__tokens_info_of(set)->vocabulary, acr__tokenizer_size(t));
    assert_true(acr__tokens_info_of(set)->rows < 44);
    assert_int_equal(names_in(d.cache), 2); /* it, and the tokens */
    assert_int_equal(acr__tokens_open(&again, ctx, &d), ACR_OK);
    assert_string_equal(acr__tokenizer_hash(acr__tokens_tokenizer(again)), acr__tokenizer_hash(t));
    assert_int_equal(names_in(d.cache), 2);
    acr__tokens_close(again);
    d.vocabulary = 260;
    tokens_refused(&d, ACR_E_DATA, "the model's vocabulary 260");
    acr__tokens_close(set);
}

/* A token file knows its tokenizer. */
static void whose_tokens(void **state)
{
    (void)state;
    token_file_make(in_folder("t.tok"), 257, 1, (int[]){9}, NULL);
    acr__tokens_desc d = describe("tokens", "t.tok", 5);
    tokens_refused(&d, ACR_E_DATA, "its tokens are another tokenizer's than the one in use");
    d.given = NULL;
    d.tokenizer = in_folder("bytes.json");
    tokens_refused(&d, ACR_E_DATA, "bytes.json; tokenise the text again");
    d.tokenizer = NULL;
    acr__tokens_close(tokens_open(&d));
}

static void descriptions(void **state)
{
    (void)state;
    acr__tokens_desc good = describe("text", "a.txt", 4), d;
    d = good, d.given = NULL, tokens_refused(&d, ACR_E_CONFIG, "needs one tokenizer");
    d = good, d.learn = 300, tokens_refused(&d, ACR_E_CONFIG, "needs one tokenizer");
    d = good, d.given = NULL, d.learn = 256, tokens_refused(&d, ACR_E_CONFIG, "257 to 1048576");
    d = good, d.template = "plain", tokens_refused(&d, ACR_E_CONFIG, "for format jsonl, not text");
    d = good, d.format = "jsonl", d.template = "alpaca", tokens_refused(&d, ACR_E_CONFIG, "chatml, plain");
    d = good, d.format = "jsonl", d.loss_on = "some", tokens_refused(&d, ACR_E_CONFIG, "completions, all");
    d = good, d.format = "kjv", tokens_refused(&d, ACR_E_CONFIG, "kjv has no path");
    d = good, d.format = "tokens", d.given = NULL, d.learn = 300, tokens_refused(&d, ACR_E_CONFIG, "it has no text");
    d = good, d.vocabulary = 100, tokens_refused(&d, ACR_E_DATA, "257 tokens, the model's vocabulary 100");
}

/* -- the Bible ------------------------------------------------------------ */
static char programs[2048]; /* PATH as it was */

/* A program of that name, before the others in PATH; NULL: there is none. */
static void bible_is(const char *script)
{
    char path[4096];
    mkdir(in_folder("bin"), 0777);
    unlink(in_folder("bin/bible"));
    if (script) {
        text_file("bin/bible", script);
        chmod(in_folder("bin/bible"), 0755);
    }
    snprintf(path, sizeof path, "%s:%s", in_folder("bin"), programs);
    setenv("PATH", script ? path : in_folder("bin"), 1);
}

/* 31102 verses, three to a chapter; the first says what it was called with. */
#define VERSES(count)                                                                                          \
    "#!/bin/sh\nif read -r line; then exit 9; fi\n/usr/bin/awk -v args=\"$*\" 'BEGIN { for (i = 0; i < " count \
    "; i++) printf(\"%s%d:%d %s\\n\", \"Ge\", i / 3 + 1, i % 3 + 1, i ? \"v\" i : args) }'\n"

static void bible(void **state)
{
    (void)state;
    acr__tokens_desc d = describe("kjv", NULL, 2000);
    char cache[160];
    snprintf(cache, sizeof cache, "%s", in_folder("bible"));
    snprintf(programs, sizeof programs, "%s", getenv("PATH"));
    d.cache = cache;
    bible_is(VERSES("31102"));
    acr__tokens *set = tokens_open(&d);
    const acr__tokens_info *info = acr__tokens_info_of(set);
    assert_int_equal(info->documents, 10368);
    tokens_read(set, false, 0, 0);
    acr__chars text = {0};
    assert_int_equal(acr__tokenizer_decode(bytes, &text, got.ids, 60, false), ACR_OK);
    static const char want[] = "-f gen1:1-rev22:21\nv1\nv2<|endoftext|>v3\nv4\nv5<|endoftext|>";
    assert_memory_equal(text.bytes, want, sizeof want - 1);
    acr__chars_free(ctx, &text);
    acr__tokens_close(set);
    static const struct {
        const char *script, *words;
    } bad[] = {
        {VERSES("31101") "\n", "printed 31101 verses"},
        {VERSES("31102") "exit 3\n", "the program bible failed"},
        {"#!/bin/sh\nkill -9 $$\n", "the program bible failed"},
        {"#!/bin/sh\n/usr/bin/yes nothing\n", "line 1 that the program bible printed is no verse"},
        {"#!/bin/sh\necho 'Ge1:1 a'; echo 'Ge1: b'\n", "line 2 that the program bible printed is no verse"},
        {"#!/bin/sh\nprintf 'Ge1:1 a'\n", "within a line"},
        {"#!/bin/sh\n/usr/bin/yes | /usr/bin/tr -d '\\n'\n", "a line of more than"},
        {"#!/bin/sh\n/usr/bin/yes 'Ge1:1 aaaaaaaaaaaaaaa'\n", "a chapter of more than"},
        {NULL, "the Debian package bible-kjv has it"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bible_is(bad[i].script);
        tokens_refused(&d, ACR_E_DATA, bad[i].words);
    }
    acr__tokens_info probed;
    assert_int_equal(acr__tokens_probe(ctx, &d, &probed), ACR_E_DATA);
    bible_is(VERSES("31102"));
    bool unread = false; /* the pipe breaks once it has been read from a few times */
    for (int64_t n = 1; n < 60 && !unread; n++) {
        acr__tokens *none = NULL;
        char name[16];
        snprintf(name, sizeof name, "broken%d", (int)n);
        d.cache = in_folder(name);
        acr__file_fault(n, ACR_FAULT_FAIL);
        acr_status status = acr__tokens_open(&none, ctx, &d);
        acr__file_fault(0, ACR_FAULT_FAIL);
        acr__tokens_close(none);
        unread = status == ACR_E_IO && strstr(acr_error(ctx), "the program bible: could not be read: ") != NULL;
    }
    assert_true(unread);
    d.cache = cache;
    setenv("PATH", programs, 1);
    assert_int_equal(names_in(d.cache), 1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

/* -- failures ------------------------------------------------------------- */
/* The n-th system call fails: it opens all the same, or there is a sentence; and
 * nothing unfinished is believed or stays. */
static void faults(void **state)
{
    (void)state;
    static const char *const formats[] = {"text", "jsonl"};
    text_file("f.txt", "some text of some length");
    text_file("f.jsonl", "{\"text\": \"some\"}\n{\"prompt\": \"p\", \"completion\": \"c\"}\n");
    for (int k = 0; k < 4; k++) {
        acr__tokens_desc d = describe(formats[k / 2], k / 2 ? "f.jsonl" : "f.txt", 10);
        d.cache = in_folder("faults");
        d.given = NULL;
        d.learn = 260;
        for (int64_t n = 1;; n++) {
            char command[256];
            snprintf(command, sizeof command, "rm -rf %s", d.cache);
            assert_int_equal(system(command), 0);
            acr__tokens *set = NULL;
            acr__file_fault(n, k % 2 ? ACR_FAULT_SHORT : ACR_FAULT_FAIL);
            acr_status status = acr__tokens_open(&set, ctx, &d);
            bool fired = acr__file_fault_fired();
            acr__file_fault(0, ACR_FAULT_FAIL);
            assert_true(status == ACR_OK || (fired && acr_error(ctx)[0] != 0));
            if (status == ACR_OK)
                tokens_read(set, false, 0, 0);
            acr__tokens_close(set);
            assert_true(names_in(d.cache) <= 2);
            acr__tokens_close(tokens_open(&d));
            assert_int_equal(names_in(d.cache), 2);
            if (!fired)
                break;
            assert_true(n < 1000);
        }
    }
}

/* The n-th request for memory fails. */
static void no_memory(void **state)
{
    (void)state;
    static const char *const formats[] = {"text", "jsonl"};
    for (int k = 0; k < 2; k++) {
        acr__tokens_desc d = describe(formats[k], k ? "f.jsonl" : "f.txt", 10);
        d.given = NULL;
        d.learn = 260;
        d.cache = "/dev/null/nowhere"; /* nothing is kept: all is done each time */
        size_t before = memory.now;
        bool failed = true;
        for (int64_t n = 1; failed; n += 1 + n / 30) {
            acr__tokens *set = NULL;
            memory.calls = 0;
            memory.refuse = n;
            acr_status status = acr__tokens_open(&set, ctx, &d);
            failed = memory.calls >= n;
            memory.refuse = 0;
            assert_true(status == ACR_OK || (failed && status == ACR_E_NO_MEMORY));
            acr__tokens_close(set);
            assert_int_equal(memory.now, before);
        }
    }
}

/* What a probe says that opening takes is not exceeded, nor what it holds. */
static void bounded(void **state)
{
    (void)state;
    enum { N = 3 << 20 };
    char *text = malloc(N);
    for (uint32_t i = 0; i < N; i++)
        text[i] = i % 7 == 3 ? ' ' : (char)('a' + noise(i / 5) % 26);
    file_write(in_folder("big.txt"), text, N);
    memcpy(text, "{\"text\": \"", 10);
    memcpy(text + N / 2, "\"}\n{\"text\": \"", 13);
    memcpy(text + N - 2, "\"}", 2);
    file_write(in_folder("big.jsonl"), text, N);
    free(text);
    for (int k = 0; k < 4; k++) {
        acr__tokens_desc d = describe(k / 2 ? "jsonl" : "text", k / 2 ? "big.jsonl" : "big.txt", 500);
        d.cache = in_folder("bounded");
        d.given = NULL;
        d.learn = k % 2 ? 300 : 0;
        d.tokenizer = k % 2 ? NULL : in_folder("bytes.json");
        for (int again = 0; again < 2; again++) {
            size_t before = memory.now;
            acr__tokens_info info;
            acr__tokens *set;
            assert_int_equal(acr__tokens_probe(ctx, &d, &info), ACR_OK);
            memory.peak = memory.now;
            assert_int_equal(acr__tokens_open(&set, ctx, &d), ACR_OK);
            assert_true(memory.peak - before <= info.open_bytes);
            assert_true(memory.now - before <= info.held_bytes);
            acr__tokens_close(set);
        }
    }
}

/* Killed at any call, the next run finds nothing that it would wrongly believe. */
static void kills(void **state)
{
    (void)state;
    acr__tokens_desc d = describe("jsonl", "f.jsonl", 10);
    d.cache = in_folder("kills");
    for (int64_t n = 1;; n += 3) {
        char command[256];
        snprintf(command, sizeof command, "rm -rf %s", d.cache);
        assert_int_equal(system(command), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            acr__tokens *set;
            acr__file_fault(n, ACR_FAULT_KILL);
            _exit(acr__tokens_open(&set, ctx, &d) == ACR_OK ? 0 : 1);
        }
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        reads_as(&d, "some<|endoftext|>!pc<|endoftext|>!");
        if (WIFEXITED(how)) {
            assert_int_equal(WEXITSTATUS(how), 0);
            break;
        }
        assert_true(n < 1000);
    }
    assert_int_equal(names_in(d.cache), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),     cmocka_unit_test(long_text),    cmocka_unit_test(lines),
        cmocka_unit_test(kept),      cmocka_unit_test(damaged_copy), cmocka_unit_test(no_cache),
        cmocka_unit_test(learned),   cmocka_unit_test(whose_tokens), cmocka_unit_test(descriptions),
        cmocka_unit_test(bible),     cmocka_unit_test(faults),       cmocka_unit_test(kills),
        cmocka_unit_test(no_memory), cmocka_unit_test(bounded),      cmocka_unit_test(too_long),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
