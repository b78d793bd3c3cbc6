/* test_tokenizer_text.c: characters: UTF-8 to its last rule, NFC against utf8proc
 * for every character, the symbols of bytes, and what patterns are read. */
#include "data_files.h"

#include "base/context.h"
#include "data/tokenizer_parts.h"
#include <utf8proc.h>

static acr_context *ctx;

static int setup(void **state)
{
    (void)state;
    return acr__context_new(&ctx, NULL) != ACR_OK;
}

static int teardown(void **state)
{
    (void)state;
    acr_context_destroy(ctx);
    return 0;
}

static void utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n, bad;
    } row[] = {
        {"", 0, 0},
        {"abcdefgh\x80", 9, 8},
        {"\xc3\xa9", 2, 2},
        {"\xc3", 1, 0},
        {"a\xc0\x80", 3, 1},
        {"\xc1\xbf", 2, 0},
        {"\xe0\x9f\xbf", 3, 0},
        {"\xe0\xa0\x80", 3, 3},
        {"\xed\x9f\xbf", 3, 3},
        {"\xed\xa0\x80", 3, 0},
        {"\xf0\x8f\xbf\xbf", 4, 0},
        {"\xf0\x90\x80\x80", 4, 4},
        {"\xf4\x8f\xbf\xbf", 4, 4},
        {"\xf4\x90\x80\x80", 4, 0},
        {"\xf5\x80\x80\x80", 4, 0},
        {"\xe2\x82", 2, 0},
        {"ab\0cd\xff", 6, 5},
        {"\xc3(", 2, 0},
        {"12345678\xe2\x82\xac", 11, 11},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char *exact = malloc(row[i].n + 1); /* so that reading past the end is seen */
        memcpy(exact, row[i].text, row[i].n);
        char *end = realloc(exact, row[i].n ? row[i].n : 1);
        assert_int_equal(acr__utf8_bad(end, row[i].n), row[i].bad);
        free(end);
    }
    for (uint32_t c = 0; c < 0x110000; c++) {
        char bytes[4];
        size_t length;
        if (c >= 0xd800 && c < 0xe000)
            continue;
        size_t n = acr__utf8_put(c, bytes);
        assert_int_equal(acr__utf8_bad(bytes, n), n);
        assert_int_equal(acr__utf8_take(bytes, &length), c);
        assert_int_equal(length, n);
        assert_int_equal(acr__utf8_before(bytes, n), c);
    }
}

static void nfc_equals(const char *text, size_t n, acr__nfc_room *room)
{
    utf8proc_uint8_t *wanted = NULL;
    utf8proc_ssize_t length = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &wanted,
                                           (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    assert_true(length >= 0);
    assert_int_equal(acr__nfc(ctx, text, n, room), ACR_OK);
    if (room->text.count != (size_t)length || memcmp(room->text.bytes, wanted, (size_t)length) != 0) {
        for (size_t i = 0; i < n; i++)
            fprintf(stderr, "%02x ", (uint8_t)text[i]);
        fail_msg("NFC differs");
    }
    if (acr__nfc_inert(text, n)) {
        assert_int_equal(room->text.count, n);
        assert_memory_equal(room->text.bytes, text, n);
    }
    free(wanted);
}

static size_t put_all(char *out, int count, const uint32_t *c)
{
    size_t n = 0;
    for (int i = 0; i < count; i++)
        n += acr__utf8_put(c[i], out + n);
    return n;
}

/* Each character between others that join with much; then random texts. */
static void nfc(void **state)
{
    (void)state;
    static const uint32_t beside[][2] = {
        {'e', 0x301}, {0x1100, 0x1161}, {0xac00, 0x11a8}, {0x304b, 0x3099}, {0x93c, 0x323}};
    acr__nfc_room room = {0};
    char text[512];
    for (uint32_t c = 0; c < 0x30000; c++) {
        if ((c >= 0xd800 && c < 0xe000) || c == 0x11a7) /* utf8proc 2.8 drops this one behind a syllable */
            continue;
        for (size_t b = 0; b < sizeof beside / sizeof *beside; b++)
            nfc_equals(text, put_all(text, 4, (uint32_t[]){beside[b][0], c, c, beside[b][1]}), &room);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t c[60], n = 1 + noise(i) % 60;
        static const uint32_t block[][2] = {{0, 0x80},        {0x80, 0x300},    {0x300, 0x370},
                                            {0x370, 0x700},   {0x900, 0xe00},   {0x1100, 0x11a7},
                                            {0x1e00, 0x2100}, {0x3040, 0x3100}, {0xac00, 0xb000}};
        for (uint32_t k = 0; k < n; k++) {
            const uint32_t *range = block[noise(i * 977 + k) % (sizeof block / sizeof *block)];
            c[k] = range[0] + noise(i * 313 + k + 5) % (range[1] - range[0]);
        }
        nfc_equals(text, put_all(text, (int)n, c), &room);
    }
    /* What utf8proc drops stays. */
    size_t n = put_all(text, 3, (uint32_t[]){0xac00, 0x11a7, 0x301});
    assert_int_equal(acr__nfc(ctx, text, n, &room), ACR_OK);
    assert_int_equal(room.text.count, n);
    acr__nfc_free(ctx, &room);
}

static void symbols(void **state)
{
    (void)state;
    bool seen[256] = {false};
    for (uint32_t c = 0; c < 0x1000; c++) {
        int byte = acr__symbol_byte(c);
        if (byte < 0)
            continue;
        assert_false(seen[byte]);
        seen[byte] = true;
        assert_int_equal(acr__symbol_char((uint8_t)byte), c);
    }
    for (int byte = 0; byte < 256; byte++)
        assert_true(seen[byte]);
    assert_int_equal(acr__symbol_char(' '), 0x120);
    assert_int_equal(acr__symbol_char('\n'), 0x10a);
    assert_int_equal(acr__symbol_char(0xad), 0x143);
}

static acr_status create(const char *pattern, acr__split **out)
{
    return acr__split_create(out, ctx, "test", pattern, strlen(pattern), false);
}

static void patterns_refused(void **state)
{
    (void)state;
    static const char *const pattern[] = {
        "",
        "\\w+",
        "\\h",
        "\\b",
        "^a",
        "a$",
        "(?i)a",
        "(?m:a)",
        "(?<n>a)",
        "(?P<n>a)",
        "(*FAIL)",
        "\\p{Han}",
        "\\p{Alpha}",
        "\\p{^L}",
        "\\pL",
        "\\p{L",
        "[[:alpha:]]",
        "[a&&b]",
        "[]a]",
        "[a-\\s]",
        "[\\s-z]",
        "a{,3}",
        "a{2}+",
        "a{",
        "\\1",
        "\\Qa\\E",
        "\\x{110000}",
        "\\x",
        "\\u12",
        "\\x{}",
        "(a",
        "a)",
        "[a",
        "[z-a]",
        "*a",
        "\\",
        "\\R",
        "\\K",
        "(?#a)",
        "(((((((((((((((((((((((((((((((((a)))))))))))))))))))))))))))))))))",
        "(?<=a*)b",
        "\\p{Lx}",
    };
    for (size_t i = 0; i < sizeof pattern / sizeof *pattern; i++) {
        acr__split *s;
        if (create(pattern[i], &s) != ACR_E_DATA)
            fail_msg("'%s' was taken", pattern[i]);
        assert_non_null(strstr(acr_error(ctx), "test: "));
    }
}

/* What a pattern finds, as "[a][b]". */
static void found(const char *pattern, const char *text, const char *wanted)
{
    acr__split *s;
    char got[256] = "";
    if (create(pattern, &s) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    for (size_t from = 0, begin, end, n = strlen(text); from < n; from = end) {
        assert_int_equal(acr__split_next(s, text, n, from, &begin, &end), ACR_OK);
        if (begin < n)
            snprintf(got + strlen(got), sizeof got - strlen(got), "[%.*s]", (int)(end - begin), text + begin);
    }
    acr__split_destroy(s);
    assert_string_equal(got, wanted);
}

static void patterns_read(void **state)
{
    (void)state;
    found("\\s", "a \xc2\xa0\xe1\xa0\x8e\xe2\x80\x8b\xe3\x80\x80",
          "[ ][\xc2\xa0][\xe3\x80\x80]"); /* U+180E, U+200B are none */
    found("[^\\s]+", "a b", "[a][b]");
    found("[\\S]+",
          "a b\xc2\x85"
          "c",
          "[a][b][c]");
    found("\\S\\D", "a1ab", "[1a]");
    found("\\d+", "1\xd9\xa3\xc2\xb2", "[1\xd9\xa3]"); /* a digit that is not ASCII; a superscript is none */
    found("\\x41|\\u0042|\\x{43}", "ABCD", "[A][B][C]");
    found("[\\-a\\]]{2,}", "-]a b", "[-]a]");
    found("(?i:'s)", "'S'\xc5\xbf", "['S]['\xc5\xbf]"); /* the long s folds to s */
    found("a.b", "a\nb a\rb", "[a\rb]");
}

static void long_words(void **state)
{
    (void)state;
    /* What the known patterns do on texts of a million of the same: no limit is met. */
    enum { N = 1000000 };
    char *text = malloc(N);
    for (int k = 0; k < 3; k++) {
        acr__split *s;
        assert_int_equal(create(acr__split_patterns[k], &s), ACR_OK);
        assert_true(acr__split_known(s));
        for (const char *c = " \na9!"; *c; c++) {
            memset(text, *c, N - 1);
            text[N - 1] = 'x';
            int pieces = 0;
            for (size_t from = 0, begin, end; from < N; from = end, pieces++) {
                assert_int_equal(acr__split_next(s, text, N, from, &begin, &end), ACR_OK);
                assert_int_equal(begin, from);
                if (*c == '9' && k == 2 && pieces > 1000)
                    break;
            }
        }
        acr__split_destroy(s);
    }
    /* Others have one, and say so. */
    acr__split *s;
    size_t begin, end;
    memset(text, 'a', 64);
    assert_int_equal(create("(a+)+b|(a*)*c", &s), ACR_OK);
    assert_false(acr__split_known(s));
    assert_int_equal(acr__split_next(s, text, 64, 0, &begin, &end), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "gives up"));
    acr__split_destroy(s);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8),          cmocka_unit_test(nfc),
        cmocka_unit_test(symbols),       cmocka_unit_test(patterns_refused),
        cmocka_unit_test(patterns_read), cmocka_unit_test(long_words),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
