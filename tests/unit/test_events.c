/* test_events.c: what a run appends reads back by other readers' rules, and goes
 * on after a resume without a doubled or missing record. */
#include "net.h"

#include "io/lines.h"
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>

static acr_context *ctx;

static int setup(void **state)
{
    return scratch_setup(state) || acr_context_create(&ctx, NULL) != ACR_OK;
}

static int teardown(void **state)
{
    acr_context_destroy(ctx);
    return scratch_teardown(state);
}

/* ---- numbers ------------------------------------------------------------------------ */

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } f64[] = {{0.1, "0.1"}, {1, "1"}, {-0.0, "-0"}, {1e300, "1e+300"}, {5e-324, "4.94065645841247e-324"},
               {1.0 / 3, "0.3333333333333333"}, {0.1 + 0.2, "0.30000000000000004"},
               {123456789012345678.0, "1.2345678901234568e+17"},
               {NAN, "nan"}, {-INFINITY, "-inf"}};
    char out[ACR_NUMBER_TEXT];
    for (size_t i = 0; i < sizeof f64 / sizeof *f64; i++) {
        assert_int_equal(acr__number_f64(f64[i].v, out), strlen(f64[i].text));
        assert_string_equal(out, f64[i].text);
    }
    acr__number_f32(0.1f, out);
    assert_string_equal(out, "0.1");
    acr__number_f32(16777216.0f, out);
    assert_string_equal(out, "16777216");
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t bits = i * 2654435761u;
        uint64_t wide = (uint64_t)bits * 0x9e3779b97f4a7c15u;
        float f;
        double d;
        memcpy(&f, &bits, 4);
        memcpy(&d, &wide, 8);
        if (isfinite(f)) {
            acr__number_f32(f, out);
            assert_true(strtof(out, NULL) == f);
        }
        if (isfinite(d)) {
            assert_true(acr__number_f64(d, out) < ACR_NUMBER_TEXT);
            assert_true(strtod(out, NULL) == d);
        }
    }
}

/* lines.h's words, by the C library. */
static void expect_fewest(double v)
{
    char out[ACR_NUMBER_TEXT], expected[ACR_NUMBER_TEXT];
    for (int n = 15; n <= 17; n++) {
        snprintf(expected, sizeof expected, "%.*g", n, v);
        if (strtod(expected, NULL) == v)
            break;
    }
    assert_int_equal(acr__number_f64(v, out), strlen(expected));
    assert_string_equal(out, expected);
}

static double random_number(uint64_t *state)
{
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return (double)(*state >> 11) * 0x1p-53;
}

static void test_fewest_digits(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        double v = pow(10, 24 * random_number(&random) - 8), decimals = pow(10, floor(17 * random_number(&random)));
        expect_fewest(i % 2 ? v : -v);
        double rounded = round(v * decimals) / decimals; /* few digits, or nearly */
        if (rounded == floor(rounded))
            continue;
        expect_fewest(rounded);
        expect_fewest(nextafter(rounded, 0));
        expect_fewest(nextafter(rounded, INFINITY));
    }
    for (int e = -330; e <= 308; e++) {
        char text[16];
        snprintf(text, sizeof text, "1e%d", e);
        double v = strtod(text, NULL), near[] = {nextafter(v, 0), nextafter(v, INFINITY), v};
        for (int i = 0; i < 3; i++)
            if (near[i] != floor(near[i]) && isfinite(near[i]))
                expect_fewest(near[i]);
    }
    for (int i = 1; i < 64; i++) /* 18 digits that end in 5: half way between two texts of 17 */
        if (i % 8)
            expect_fewest(562949953421312 + i / 8.0);
    for (int e = -70; e < 0; e++) { /* beside a power of two a number's neighbours are not equally near */
        double v = ldexp(1, e), near[] = {nextafter(v, 0), v, nextafter(v, 1)};
        for (int i = 0; i < 3; i++)
            for (int whole = 0; whole < 3; whole++)
                if (near[i] + whole != floor(near[i] + whole))
                    expect_fewest(near[i] + whole);
    }
}

static void test_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "ps_AF.UTF-8"};
    const char *set = NULL;
    for (int i = 0; i < 4 && !set; i++)
        set = setlocale(LC_NUMERIC, names[i]);
    if (!set) {
        print_message("no locale with another decimal point is installed: de_DE.UTF-8 was looked for\n");
        skip();
    }
    char out[ACR_NUMBER_TEXT];
    acr__number_f64(-1234.5, out);
    setlocale(LC_NUMERIC, "C");
    assert_string_equal(out, "-1234.5");
}

/* ---- metrics ------------------------------------------------------------------------- */

static const char *const columns[] = {"loss", "note, \"quoted\"", "lr"};

static void line(acr__metrics *m, int64_t step, double loss)
{
    const acr__field fields[] = {
        {"lr", ACR_FIELD_F64, 0, 1e-3, NULL},
        {"loss", ACR_FIELD_F32, 0, loss, NULL},
        {"samples", ACR_FIELD_I64, INT64_MAX, 0, NULL},
        {"skipped", ACR_FIELD_BOOL, 1, 0, NULL},
        {"note, \"quoted\"", ACR_FIELD_TEXT, 0, 0, step == 2 ? NULL : "a \"b\",\n\x01 c"},
    };
    assert_int_equal(acr__metrics_line(m, step, 1700000000.25, 5, fields), ACR_OK);
}

static void test_metrics(void **state)
{
    (void)state;
    acr__metrics *m;
    assert_int_equal(acr__metrics_open(&m, ctx, scratch, 3, columns, NULL), ACR_OK);
    line(m, 1, (double)0.1f);
    line(m, 2, NAN);
    acr__metrics_offsets at;
    acr__metrics_where(m, &at);
    assert_int_equal(acr__metrics_sync(m), ACR_OK);
    acr__metrics_close(m);

    size_t n;
    char *text = get_file(in_scratch("metrics.jsonl"), &n);
    assert_int_equal(n, at.jsonl);
    json_t *row = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(row);
    assert_int_equal(json_integer_value(json_object_get(row, "step")), 1);
    assert_true(json_real_value(json_object_get(row, "timestamp")) == 1700000000.25);
    assert_true(json_real_value(json_object_get(row, "loss")) == 0.1);
    assert_true(json_integer_value(json_object_get(row, "samples")) == INT64_MAX);
    assert_true(json_is_true(json_object_get(row, "skipped")));
    assert_string_equal(json_string_value(json_object_get(row, "note, \"quoted\"")), "a \"b\",\n\x01 c");
    json_decref(row);
    row = json_loads(strchr(text, '\n') + 1, JSON_DISABLE_EOF_CHECK, NULL);
    assert_true(json_is_null(json_object_get(row, "loss")));
    assert_true(json_is_null(json_object_get(row, "note, \"quoted\"")));
    json_decref(row);
    free(text);
    text = get_file(in_scratch("metrics.csv"), &n);
    assert_int_equal(n, at.csv);
    assert_string_equal(text, "step,timestamp,loss,\"note, \"\"quoted\"\"\",lr\n"
                              "1,1700000000.250000,0.1,\"a \"\"b\"\",\n\x01 c\",0.001\n"
                              "2,1700000000.250000,,,0.001\n");
    free(text);
}

static void test_metrics_resume(void **state)
{
    (void)state;
    acr__metrics *m;
    acr__metrics_offsets at, end;
    size_t n;
    assert_int_equal(acr__metrics_open(&m, ctx, scratch, 3, columns, NULL), ACR_OK);
    line(m, 2, 1);
    acr__metrics_where(m, &at);
    line(m, 2, 3);
    line(m, 2, 4);
    assert_int_equal(acr__metrics_flush(m), ACR_OK);
    acr__metrics_close(m);
    assert_int_equal(acr__metrics_open(&m, ctx, scratch, 3, columns, &at), ACR_OK);
    line(m, 2, 5);
    acr__metrics_where(m, &end);
    assert_int_equal(acr__metrics_flush(m), ACR_OK);
    acr__metrics_close(m);
    char *text = get_file(in_scratch("metrics.csv"), &n);
    assert_int_equal(n, end.csv);
    assert_string_equal(strchr(text, '\n'), "\n2,1700000000.250000,1,,0.001\n2,1700000000.250000,5,,0.001\n");

    /* Somebody cut it in the middle of a line. */
    text[n - 3] = '\0';
    put_file(in_scratch("metrics.csv"), text, n - 3);
    put_file(in_scratch("metrics.jsonl"), "", 0);
    free(text);
    assert_int_equal(acr__metrics_open(&m, ctx, scratch, 3, columns, &end), ACR_OK);
    line(m, 2, 6);
    assert_int_equal(acr__metrics_flush(m), ACR_OK);
    acr__metrics_close(m);
    text = get_file(in_scratch("metrics.csv"), &n);
    assert_string_equal(strchr(text, '\n'), "\n2,1700000000.250000,1,,0.001\n2,1700000000.250000,6,,0.001\n");
    free(text);

    static const char *const others[] = {"loss", "lr"};
    assert_int_equal(acr__metrics_open(&m, ctx, scratch, 2, others, &at), ACR_E_DATA);
    assert_says(ctx, "its columns are not those of this run");
    assert_int_equal(acr__metrics_open(&m, ctx, in_scratch("no-such-folder"), 2, others, &at), ACR_E_IO);
}

/* Lines wait for flush, or for a full buffer, and then go to both files. */
static void test_metrics_held(void **state)
{
    (void)state;
    acr__metrics *m;
    acr__metrics_offsets at;
    size_t json, csv;
    assert_int_equal(acr__metrics_open(&m, ctx, scratch, 3, columns, NULL), ACR_OK);
    free(get_file(in_scratch("metrics.csv"), &csv));
    size_t head = csv;
    for (int i = 1; i <= 1000; i++) {
        line(m, i, i);
        free(get_file(in_scratch("metrics.jsonl"), &json));
        free(get_file(in_scratch("metrics.csv"), &csv));
        acr__metrics_where(m, &at);
        assert_true((json == 0) == (csv == head));
        assert_true((int64_t)json < at.jsonl && at.jsonl - (int64_t)json < 32768);
    }
    assert_true(json > 0);
    assert_int_equal(acr__metrics_flush(m), ACR_OK);
    free(get_file(in_scratch("metrics.jsonl"), &json));
    free(get_file(in_scratch("metrics.csv"), &csv));
    assert_int_equal(json, at.jsonl);
    assert_int_equal(csv, at.csv);
    acr__metrics_close(m);
}

static void test_metrics_too_long(void **state)
{
    (void)state;
    static char huge[9000];
    memset(huge, 'x', sizeof huge - 1);
    const acr__field field = {"note", ACR_FIELD_TEXT, 0, 0, huge};
    acr__metrics *m;
    acr__metrics_offsets before, after;
    assert_int_equal(acr__metrics_open(&m, ctx, scratch, 0, NULL, NULL), ACR_OK);
    acr__metrics_where(m, &before);
    assert_int_equal(acr__metrics_line(m, 1, 0, 1, &field), ACR_E_ARGUMENT);
    static const acr__field many[ACR_FIELDS + 1];
    assert_int_equal(acr__metrics_line(m, 1, 0, ACR_FIELDS + 1, many), ACR_E_ARGUMENT);
    acr__metrics_where(m, &after);
    assert_int_equal(before.jsonl, after.jsonl);
    assert_int_equal(before.csv, after.csv);
    acr__metrics_close(m);
}

/* ---- events: an independent reader ------------------------------------------------------ */

static uint64_t little(const unsigned char *p, int n)
{
    uint64_t v = 0;
    while (n-- > 0)
        v = v << 8 | p[n];
    return v;
}

static uint64_t varint(const unsigned char **p)
{
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
        v |= (uint64_t)(**p & 127) << shift;
        if (!(*(*p)++ & 128))
            return v;
    }
}

typedef struct event {
    double wall_time;
    int64_t step;
    char version[32];
    int values;
    char tags[4][ACR_EVENT_TAG + 1];
    float value[4];
} event;

static void read_value(const unsigned char *p, const unsigned char *end, event *e)
{
    while (p < end) {
        uint64_t key = varint(&p);
        if (key == (1 << 3 | 2)) {
            uint64_t n = varint(&p);
            memcpy(e->tags[e->values], p, n);
            p += n;
        } else {
            assert_int_equal(key, 2 << 3 | 5);
            uint32_t bits = (uint32_t)little(p, 4);
            memcpy(&e->value[e->values], &bits, 4);
            p += 4;
        }
    }
    assert_true(p == end);
    e->values++;
}

static void read_event(const unsigned char *p, const unsigned char *end, event *e)
{
    memset(e, 0, sizeof *e);
    while (p < end) {
        uint64_t key = varint(&p), n = 0;
        if ((key & 7) == 2)
            n = varint(&p);
        const unsigned char *q = p;
        switch (key) {
        case 1 << 3 | 1: {
            uint64_t bits = little(p, 8);
            memcpy(&e->wall_time, &bits, 8);
            p += 8;
            break;
        }
        case 2 << 3: e->step = (int64_t)varint(&p); break;
        case 3 << 3 | 2: memcpy(e->version, p, n); break;
        case 5 << 3 | 2:
            while (q < p + n) {
                assert_int_equal(varint(&q), 1 << 3 | 2);
                uint64_t inner = varint(&q);
                read_value(q, q + inner, e);
                q += inner;
            }
            break;
        default: fail_msg("field key %d", (int)key);
        }
        p += n;
    }
    assert_true(p == end);
}

/* Bit by bit, as the definition of CRC-32C has it, then masked. */
static uint32_t masked(const unsigned char *p, size_t n)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < 8 * n; i++) {
        uint32_t bit = (crc ^ (uint32_t)(p[i / 8] >> i % 8)) & 1;
        crc = crc >> 1 ^ (bit ? 0x82f63b78 : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static int read_events(const char *name, event *out, int room)
{
    size_t n;
    int count = 0;
    unsigned char *b = (unsigned char *)get_file(in_scratch(name), &n), *p = b;
    while (p < b + n) {
        size_t length = little(p, 8);
        assert_true(count < room && length <= (size_t)(b + n - p) - 16);
        assert_int_equal(little(p + 8, 4), masked(p, 8));
        assert_int_equal(little(p + 12 + length, 4), masked(p + 12, length));
        read_event(p + 12, p + 12 + length, &out[count++]);
        p += 16 + length;
    }
    free(b);
    return count;
}

static void test_crc(void **state)
{
    (void)state;
    char zeros[32] = {0};
    assert_int_equal(acr__crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(acr__crc32c(0, zeros, 32), 0x8a9136aa); /* RFC 3720, B.4 */
    assert_int_equal(acr__crc32c(acr__crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static void test_event_file(void **state)
{
    (void)state;
    static const char *const tags[] = {"loss", "eval_loss"};
    acr__events *e;
    event got[8];
    char name[256];
    assert_int_equal(acr__events_open(&e, ctx, scratch, NULL, 0), ACR_OK);
    snprintf(name, sizeof name, "%s", acr__events_name(e));
    assert_int_equal(strncmp(name, "events.out.tfevents.", 20), 0);
    assert_int_equal(strspn(name + 20, "0123456789"), 10);
    assert_int_equal(acr__events_scalars(e, 1, 1700000000.5, 2, tags, (float[]){0.25f, NAN}), ACR_OK);
    int64_t at = acr__events_where(e);
    assert_int_equal(acr__events_scalars(e, 2, 5, 1, tags, (float[]){7}), ACR_OK);
    assert_int_equal(acr__events_sync(e), ACR_OK);
    acr__events_close(e);

    assert_int_equal(acr__events_open(&e, ctx, scratch, name, at), ACR_OK);
    assert_string_equal(acr__events_name(e), name);
    assert_int_equal(acr__events_scalars(e, 300, 6, 1, tags + 1, (float[]){8}), ACR_OK);
    assert_int_equal(acr__events_flush(e), ACR_OK);
    acr__events_close(e);
    assert_int_equal(read_events(name, got, 8), 3);
    assert_string_equal(got[0].version, "brain.Event:2");
    assert_int_equal(got[0].values, 0);
    assert_true(got[1].wall_time == 1700000000.5 && got[1].step == 1 && got[1].values == 2);
    assert_string_equal(got[1].tags[0], "loss");
    assert_string_equal(got[1].tags[1], "eval_loss");
    assert_true(got[1].value[0] == 0.25f && isnan(got[1].value[1]));
    assert_true(got[2].step == 300 && got[2].value[0] == 8);
    assert_string_equal(got[2].tags[0], "eval_loss");

    /* Gone or cut: a new file. */
    assert_int_equal(truncate(in_scratch(name), 3), 0);
    assert_int_equal(acr__events_open(&e, ctx, scratch, name, at), ACR_OK);
    assert_string_not_equal(acr__events_name(e), name);
    acr__events_close(e);
    assert_int_equal(acr__events_open(&e, ctx, scratch, "no-such-file", at), ACR_OK);
    assert_int_equal(strncmp(acr__events_name(e), "events.", 7), 0);

    char longest[ACR_EVENT_TAG + 2];
    memset(longest, 't', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *many[ACR_EVENT_VALUES + 1];
    float values[ACR_EVENT_VALUES + 1] = {0};
    for (int i = 0; i <= ACR_EVENT_VALUES; i++)
        many[i] = longest + 1;
    int64_t before = acr__events_where(e);
    assert_int_equal(acr__events_scalars(e, 1, 0, 1, (const char *[]){longest}, values), ACR_E_ARGUMENT);
    assert_int_equal(acr__events_scalars(e, 1, 0, ACR_EVENT_VALUES + 1, many, values), ACR_E_ARGUMENT);
    assert_int_equal(acr__events_where(e), before);
    assert_int_equal(acr__events_scalars(e, -1, 0, ACR_EVENT_VALUES, many, values), ACR_OK);
    acr__events_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),        cmocka_unit_test(test_fewest_digits),
        cmocka_unit_test(test_locale),
        cmocka_unit_test(test_metrics),        cmocka_unit_test(test_metrics_resume),
        cmocka_unit_test(test_metrics_held),
        cmocka_unit_test(test_metrics_too_long), cmocka_unit_test(test_crc),
        cmocka_unit_test(test_event_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
