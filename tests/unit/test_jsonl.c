/* test_jsonl.c: lines of samples: the three kinds, what is refused and where, and
 * lines across every buffer. */
#include "unit/data_files.h"
#include "base/context.h"
#include "data/jsonl.h"
#include "io/file.h"

static acr_context *ctx;
static acr__sample sample;

static int setup(void **state) { return folder_make(state) || acr__context_new(&ctx, NULL) != ACR_OK; }

static int teardown(void **state)
{
    acr__sample_free(ctx, &sample);
    acr_context_destroy(ctx);
    return folder_remove(state);
}

static void parses(const char *line)
{
    bool blank;
    if (acr__jsonl_parse(ctx, "f.jsonl", 7, line, strlen(line), &sample, &blank) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    assert_false(blank);
}

static void turn_is(int64_t i, acr__role role, const char *text, size_t bytes)
{
    assert_true(i < sample.count);
    assert_int_equal(sample.turn[i].role, role);
    assert_int_equal(sample.turn[i].bytes, bytes);
    assert_memory_equal(sample.turn[i].text, text, bytes);
}

static void refused(const char *line, size_t bytes, const char *words)
{
    bool blank;
    assert_int_equal(acr__jsonl_parse(ctx, "f.jsonl", 7, line, bytes, &sample, &blank), ACR_E_DATA);
    if (strncmp(acr_error(ctx), "f.jsonl:7:", 10) != 0 || !strstr(acr_error(ctx), words))
        fail_msg("'%s' is not in: %s", words, acr_error(ctx));
}

static void kinds(void **state)
{
    (void)state;
    parses("{\"text\": \"a\\u0000\\u00e9\\ud83d\\ude00\"}");
    assert_int_equal(sample.count, 1);
    turn_is(0, ACR_ROLE_TEXT, "a\0\xc3\xa9\xf0\x9f\x98\x80", 8);
    parses(" {\"id\": [1, {}], \"completion\": \"\", \"prompt\": \"p\"}\r");
    assert_int_equal(sample.count, 2);
    turn_is(0, ACR_ROLE_PROMPT, "p", 1);
    turn_is(1, ACR_ROLE_COMPLETION, "", 0);
    char many[4000] = "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}";
    for (int i = 0; i < 20; i++)
        strcat(many, ", {\"role\": \"user\", \"content\": \"u\"}, {\"content\": \"a\", \"name\": 1, \"role\": \"assistant\"}");
    strcat(many, "]}");
    parses(many);
    assert_int_equal(sample.count, 41);
    turn_is(0, ACR_ROLE_SYSTEM, "s", 1);
    turn_is(39, ACR_ROLE_USER, "u", 1);
    turn_is(40, ACR_ROLE_ASSISTANT, "a", 1);
    static const char *const blanks[] = {"", " ", "\r", "\t \r"};
    for (int i = 0; i < 4; i++) {
        bool blank;
        assert_int_equal(acr__jsonl_parse(ctx, "f", 1, blanks[i], strlen(blanks[i]), &sample, &blank), ACR_OK);
        assert_true(blank);
    }
}

#define TWENTY  "01234567890123456789"
#define HUNDRED TWENTY TWENTY TWENTY TWENTY TWENTY

static void wrong(void **state)
{
    (void)state;
    static const struct {
        const char *line, *words;
    } bad[] = {
        {"{\"text\": 1}", "\"text\" must be a string"},
        {"{\"text\": null}", "\"text\" must be a string"},
        {"{}", "is needed, and only one"},
        {"{\"text\": \"a\", \"messages\": []}", "only one"},
        {"{\"text\": \"a\", \"prompt\": \"b\"}", "only one"},
        {"{\"prompt\": \"b\"}", "needed together"},
        {"{\"completion\": \"b\"}", "needed together"},
        {"{\"prompt\": \"b\", \"completion\": [\"c\"]}", "both strings"},
        {"{\"messages\": []}", "at least one"},
        {"{\"messages\": {}}", "a list"},
        {"{\"messages\": [7]}", "message 1 needs a role and a content"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"\"}, {\"role\": \"user\"}]}", "message 2 needs"},
        {"{\"messages\": [{\"role\": \"tool\", \"content\": \"\"}]}",
         "message 1 has the role \"tool\", which is not one of system, user, assistant"},
        {"{\"messages\": [{\"role\": \"user\\u0000\", \"content\": \"\"}]}",
         "the role \"user\\u0000\", which is not one of"},
        {"{\"messages\": [{\"role\": \"" HUNDRED "\", \"content\": \"\"}]}", "the role \"0123456789"},
        {"{\"messages\": [{\"role\": \"" HUNDRED "\", \"content\": \"\"}]}", "67890..., which is not one of"},
        {"[\"text\"]", "not a JSON object"},
        {"\"text\"", "f.jsonl:7:"},
        {"{\"text\": \"a\"", "f.jsonl:7:12: not valid JSON"},
        {"{\"text\": \"a\"} x", "f.jsonl:7:15: not valid JSON"},
        {"{\"text\": \"a\", \"text\": \"b\"}", "duplicate"},
        {"{\"text\": \"\\ud83d\"}", "not valid JSON"},
        {"{'text': 'a'}", "f.jsonl:7:2: not valid JSON"},
        {"hello", "f.jsonl:7:5: not valid JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(bad[i].line, strlen(bad[i].line), bad[i].words);
    refused("{\"text\": \"a\xff\"}", 14, "not valid JSON");
    refused("{\"text\": \"\xc3\"}", 13, "not valid JSON");
    refused("{\"text\": \"\xed\xa0\x80\"}", 15, "not valid JSON");
    refused("{\"text\": \"\xc0\xaf\"}", 14, "not valid JSON");
    refused("{\"te\0xt\": \"a\"}", 14, "not valid JSON");
    refused("\0", 1, "not valid JSON");
}

/* What would make a parser work or allocate without measure. */
static void hostile(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    char *line = malloc(N);
    memset(line, '[', N);
    refused(line, N, "nested deeper than 32");
    for (int i = 0; i < N / 6; i++)
        memcpy(line + 6 * i, "{\"a\":\x01", 6);
    refused(line, N / 6 * 6, "nested deeper than 32");
    memset(line, ',', N);
    line[0] = '[';
    refused(line, N, "more than 65536 values");
    memset(line, 'x', N);
    memcpy(line, "{\"text\": \"", 10);
    memcpy(line + N - 2, "\"}", 2);
    bool blank;
    assert_int_equal(acr__jsonl_parse(ctx, "f", 1, line, N, &sample, &blank), ACR_OK);
    assert_int_equal(sample.turn[0].bytes, N - 12);
    line[N - 3] = '\\';
    refused(line, N, "not valid JSON");
    free(line);
}

/* -- files ---------------------------------------------------------------- */
static int64_t count_samples(const char *path)
{
    acr__jsonl j;
    const acr__sample *s;
    assert_int_equal(acr__jsonl_open(&j, ctx, path), ACR_OK);
    int64_t n = 0;
    for (;; n++) {
        if (acr__jsonl_next(&j, &s) != ACR_OK)
            fail_msg("%s", acr_error(ctx));
        if (!s)
            break;
        /* Each says the number of its line. */
        assert_int_equal(s->count, 1);
        assert_int_equal(strtoll(s->turn[0].text, NULL, 10), j.lines.line);
    }
    acr__jsonl_close(&j);
    return n;
}

static void lines(void **state)
{
    (void)state;
    const char *path = in_folder("l.jsonl");
    char *text = malloc(8 << 20);
    size_t n = 0;
    n += (size_t)sprintf(text, "\xef\xbb\xbf{\"text\": \"1\"}\r\n\n \n");
    for (int i = 4; i < 300; i++) { /* shorter than a buffer, longer, and everything between */
        n += (size_t)sprintf(text + n, "{\"text\": \"%d", i);
        int pad = i % 50 == 0 ? 150000 : i * 37 % 4000;
        memset(text + n, ' ', (size_t)pad);
        n += (size_t)pad;
        n += (size_t)sprintf(text + n, "\"}\n");
    }
    n += (size_t)sprintf(text + n, "{\"text\": \"300\"}"); /* and no newline */
    file_write(path, text, n);
    assert_int_equal(count_samples(path), 298);
    file_write(path, text, 0);
    assert_int_equal(count_samples(path), 0);
    file_write(path, "\n\n", 2);
    assert_int_equal(count_samples(path), 0);
    free(text);
}

static void long_line(void **state)
{
    (void)state;
    const char *path = in_folder("long.jsonl");
    size_t n = ACR_JSONL_BYTES + 16;
    char *text = malloc(n);
    memset(text, 'x', n);
    memcpy(text, "{\"text\": \"1\"}\n{\"text\": \"", 24);
    acr__jsonl j;
    const acr__sample *s;
    for (int over = 0; over < 2; over++) {
        size_t bytes = 14 + ACR_JSONL_BYTES + (size_t)over;
        memcpy(text + bytes - 2, "\"}", 2);
        file_write(path, text, bytes);
        assert_int_equal(acr__jsonl_open(&j, ctx, path), ACR_OK);
        assert_int_equal(acr__jsonl_next(&j, &s), ACR_OK);
        assert_int_equal(acr__jsonl_next(&j, &s), over ? ACR_E_DATA : ACR_OK);
        if (over)
            assert_non_null(strstr(acr_error(ctx), "long.jsonl:2: longer than the 8388608 bytes"));
        acr__jsonl_close(&j);
    }
    free(text);
    assert_int_equal(acr__jsonl_open(&j, ctx, in_folder("absent.jsonl")), ACR_E_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds), cmocka_unit_test(wrong),     cmocka_unit_test(hostile),
        cmocka_unit_test(lines), cmocka_unit_test(long_line),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
