/* test_data.c: data sets as rows: values, order, threads, validation. What
 * happens to compressed files on the disk is tested in test_data_cache.c. */
#include "unit/data_files.h"
#include "base/context.h"
#include "data/dataset.h"
#include <accrue/accrue_io.h>
#include <math.h>
#include <pthread.h>
#include <unistd.h>

static acr_context *ctx;

static int setup(void **state)
{
    setenv("XDG_CACHE_HOME", "/nonexistent/cache", 1); /* every test here names its own or needs none */
    return acr__context_new(&ctx, NULL) == ACR_OK ? folder_make(state) : -1;
}

static int teardown(void **state)
{
    acr_context_destroy(ctx);
    return folder_remove(state);
}

/* -- helpers -------------------------------------------------------------- */
static void write_idx(const char *name, uint8_t type, int ndim, const uint32_t *dim, const void *data, size_t bytes)
{
    size_t n;
    uint8_t *p = idx_make(type, ndim, dim, data, bytes, &n);
    file_write(in_folder(name), p, n);
    char gz[64];
    snprintf(gz, sizeof gz, "%s.gz", name);
    file_write_gz(in_folder(gz), p, n);
    free(p);
}

static void write_npy(const char *name, const char *descr, const char *shape, const void *data, size_t bytes)
{
    char dict[128];
    size_t n;
    snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
    uint8_t *p = npy_make(1, dict, data, bytes, &n);
    file_write(in_folder(name), p, n);
    free(p);
}

/* Images of 28 x 28 noisy bytes and labels of ten classes. */
static uint8_t *write_images(uint32_t count)
{
    uint8_t *image = malloc((size_t)count * 784), *label = malloc(count);
    for (uint32_t i = 0; i < count * 784; i++)
        image[i] = (uint8_t)(noise(i) % 256);
    for (uint32_t i = 0; i < count; i++)
        label[i] = (uint8_t)(noise(i + 77) % 10);
    write_idx("images", 8, 3, (uint32_t[]){count, 28, 28}, image, (size_t)count * 784);
    write_idx("labels", 8, 1, (uint32_t[]){count}, label, count);
    free(label);
    return image;
}

static acr__data_desc describe(const char *format, const char *input, const char *target)
{
    acr__data_desc d = ACR_DATA_DESC_INIT;
    d.format = format;
    d.input = input ? in_folder(input) : NULL;
    d.target = target ? in_folder(target) : NULL;
    d.cache = in_folder("cache");
    return d;
}

static acr__dataset *opened(const acr__data_desc *d)
{
    acr__data_info info;
    acr__dataset *set = NULL;
    if (acr__dataset_probe(ctx, d, &info) != ACR_OK || acr__dataset_open(&set, ctx, d) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    assert_memory_equal(&info, acr__dataset_info(set), sizeof info);
    return set;
}

static void refused_with(const acr__data_desc *d, acr_status status, const char *word, const char *other)
{
    acr__dataset *set = NULL;
    assert_int_equal(acr__dataset_open(&set, ctx, d), status);
    assert_null(set);
    if (!strstr(acr_error(ctx), word) || !strstr(acr_error(ctx), other))
        fail_msg("'%s' and '%s' are not both in: %s", word, other, acr_error(ctx));
}

typedef struct rows {
    float *input, *vector;
    int32_t *label;
    float *weight;
} rows;

/* All samples [first, first+n) by one get. The buffers begin as NaN or -1. */
static rows rows_get(acr__data_source *from, int64_t epoch, int64_t first, int64_t n)
{
    const acr__data_info *info = acr__dataset_info(from->set);
    rows r = {malloc((size_t)(n * info->input_elements) * 4 + 4), malloc((size_t)(n * info->target_elements) * 4 + 4),
              NULL, malloc((size_t)n * 4 + 4)};
    memset(r.input, 0xff, (size_t)(n * info->input_elements) * 4 + 4);
    memset(r.vector, 0xff, (size_t)(n * info->target_elements) * 4 + 4);
    r.label = (int32_t *)r.vector;
    void *data[3] = {r.input, r.vector, r.weight};
    const int64_t row_bytes[3] = {info->input_elements * 4, info->target_elements * 4, 4};
    acr_slots slots = {sizeof slots, data, row_bytes, NULL};
    assert_int_equal(acr__data_source_get(from, epoch, first, n, &slots), ACR_OK);
    /* nothing past the end was touched */
    assert_true(isnan(r.input[n * info->input_elements]));
    assert_int_equal(r.label[n * info->target_elements], -1);
    return r;
}

static void rows_free(rows r)
{
    free(r.input);
    free(r.vector);
    free(r.weight);
}

/* -- values --------------------------------------------------------------- */
static void bytes_are_scaled(void **state)
{
    (void)state;
    uint8_t *image = write_images(50);
    acr__data_desc d = describe("idx", "images", "labels");
    d.scale = 255;
    d.classes = 10;
    acr__dataset *set = opened(&d);
    const acr__data_info *info = acr__dataset_info(set);
    assert_int_equal(info->samples, 50);
    assert_int_equal(info->input_elements, 784);
    assert_int_equal(info->input_ndim, 2);
    assert_int_equal(info->input_shape[1], 28);
    assert_int_equal(info->target_dtype, ACR_I32);
    assert_int_equal(info->stored_bytes, 785);
    assert_int_equal(info->slot_bytes, 785 * 4);
    assert_int_equal(info->cache_bytes, 0);
    acr__data_source from;
    acr_source source;
    acr__data_source_init(&from, set, false, 0, &source);
    assert_true(source.parallel);
    rows r = rows_get(&from, 0, 3, 40);
    for (int i = 0; i < 40 * 784; i++)
        assert_true(r.input[i] == (float)(image[3 * 784 + i] / 255.0));
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(r.label[i], noise(i + 3 + 77) % 10);
    rows_free(r);
    acr__dataset_close(set);
    free(image);
}

/* .gz or not, held or read, one by one or by runs: the same rows. 500 images
 * are more than is held. */
static void one_set_of_rows(void **state)
{
    (void)state;
    free(write_images(500));
    acr__data_desc plain = describe("idx", "images", "labels"), packed = describe("idx", "images.gz", "labels.gz");
    plain.scale = packed.scale = 255;
    plain.normalize = packed.normalize = "dataset";
    acr__dataset *a = opened(&plain), *b = opened(&packed);
    assert_true(acr__dataset_info(b)->cache_bytes >= 500 * 785);
    double mean[2], deviation[2];
    acr__dataset_normalization(a, &mean[0], &deviation[0]);
    acr__dataset_normalization(b, &mean[1], &deviation[1]);
    assert_memory_equal(&mean[0], &mean[1], 8);
    assert_memory_equal(&deviation[0], &deviation[1], 8);
    acr__data_source from_a, from_b;
    acr_source source;
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        acr__data_source_init(&from_a, a, shuffle, 9, &source);
        acr__data_source_init(&from_b, b, shuffle, 9, &source);
        rows whole = rows_get(&from_a, 4, 0, 500);
        static const int64_t splits[] = {1, 2, 3, 7, 33, 499};
        for (int s = 0; s < 6; s++)
            for (int64_t first = 0; first < 500; first += splits[s]) {
                int64_t n = acr__min(splits[s], 500 - first);
                rows part = rows_get(&from_b, 4, first, n);
                assert_memory_equal(part.input, whole.input + first * 784, (size_t)n * 784 * 4);
                assert_memory_equal(part.label, whole.label + first, (size_t)n * 4);
                rows_free(part);
            }
        rows_free(whole);
    }
    acr__dataset_close(a);
    acr__dataset_close(b);
}

static void mean_and_deviation(void **state)
{
    (void)state;
    uint8_t *image = write_images(60);
    acr__data_desc d = describe("idx", "images", NULL);
    d.scale = 255;
    d.normalize = "dataset";
    acr__dataset *set = opened(&d);
    long double sum = 0, squares = 0;
    int n = 60 * 784;
    for (int i = 0; i < n; i++)
        sum += image[i] / 255.0L;
    for (int i = 0; i < n; i++)
        squares += (image[i] / 255.0L - sum / n) * (image[i] / 255.0L - sum / n);
    double mean, deviation;
    acr__dataset_normalization(set, &mean, &deviation);
    assert_true(fabsl(mean - sum / n) < 1e-15L);
    assert_true(fabsl(deviation - sqrtl(squares / n)) < 1e-15L);
    acr__data_source from;
    acr_source source;
    acr__data_source_init(&from, set, false, 0, &source);
    rows r = rows_get(&from, 0, 0, 60);
    for (int i = 0; i < n; i++)
        assert_true(r.input[i] == (float)((image[i] / 255.0 - mean) / deviation));
    /* The same numbers as floats, from another kind of file: the same up to the
     * last bits of the sums; given, they are used as they are. */
    float *as_float = malloc((size_t)n * 4);
    for (int i = 0; i < n; i++)
        as_float[i] = image[i];
    write_npy("images.npy", "<f4", "(60, 784)", as_float, (size_t)n * 4);
    d = describe("npy", "images.npy", NULL);
    d.scale = 255;
    d.normalize = "dataset";
    acr__dataset *floats = opened(&d);
    double mean2, deviation2;
    acr__dataset_normalization(floats, &mean2, &deviation2);
    assert_true(fabs(mean2 - mean) < 1e-14 && fabs(deviation2 - deviation) < 1e-14);
    acr__dataset_close(floats);
    d.normalization_given = true;
    d.mean = mean;
    d.deviation = deviation;
    floats = opened(&d);
    acr__data_source_init(&from, floats, false, 0, &source);
    rows q = rows_get(&from, 0, 0, 60);
    assert_memory_equal(q.input, r.input, (size_t)n * 4);
    acr__dataset_close(floats);
    acr__dataset_close(set);
    rows_free(q);
    rows_free(r);
    free(as_float);
    free(image);
}

/* Every stored type, both byte orders, held (few) and read (records longer than
 * any buffer), with and without scale. */
static void every_type(void **state)
{
    (void)state;
    static const char *const types[] = {"|b1", "|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<u4", ">u4", "<i4", ">i4",
                                        "<u8", ">u8", "<i8", ">i8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8"};
    enum { SAMPLES = 5, LONG = 20000 };
    uint8_t *data = malloc(SAMPLES * LONG * 8);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int elements = 3; elements <= LONG; elements += LONG - 3)
            for (int scale = 1; scale <= 4; scale += 3) {
                int bytes = types[t][2] - '0';
                bool swap = types[t][0] == '>';
                for (int i = 0; i < SAMPLES * elements; i++) {
                    int v = (int)(noise((uint32_t)i) % 100);
                    uint64_t bits = (uint64_t)v;
                    float f = (float)v;
                    double g = v;
                    if (types[t][1] == 'i' && i % 2)
                        bits = (uint64_t)-v;
                    if (types[t][1] == 'f' && bytes == 4)
                        bits = 0, memcpy(&bits, &f, 4);
                    else if (types[t][1] == 'f' && bytes == 8)
                        memcpy(&bits, &g, 8);
                    else if (types[t][1] == 'f') /* 0.5 and -0.5 as halves */
                        bits = i % 2 ? 0x3800 : 0xb800;
                    for (int b = 0; b < bytes; b++)
                        data[i * bytes + (swap ? bytes - 1 - b : b)] = (uint8_t)(bits >> (8 * b));
                }
                char shape[32];
                snprintf(shape, sizeof shape, "(%d, %d)", SAMPLES, elements);
                write_npy("typed.npy", types[t], shape, data, (size_t)(SAMPLES * elements * bytes));
                acr__data_desc d = describe("npy", "typed.npy", NULL);
                d.scale = scale;
                acr__dataset *set = opened(&d);
                acr__data_source from;
                acr_source source;
                acr__data_source_init(&from, set, false, 0, &source);
                rows r = rows_get(&from, 0, 0, SAMPLES);
                for (int i = 0; i < SAMPLES * elements; i++) {
                    float v = (float)(noise((uint32_t)i) % 100);
                    if (types[t][1] == 'i' && i % 2)
                        v = -v;
                    if (types[t][1] == 'f' && bytes == 2)
                        v = i % 2 ? 0.5f : -0.5f;
                    if (r.input[i] != (float)((double)v / scale))
                        fail_msg("%s, element %d of %d: %g", types[t], i, elements, r.input[i]);
                }
                rows_free(r);
                acr__dataset_close(set);
            }
    free(data);
}

static void big_endian_idx(void **state)
{
    (void)state;
    static const uint8_t ints[] = {0, 0, 0, 3, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0x9c, 0, 0, 1, 0};
    static const uint8_t floats[] = {0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0, 0x3e, 0x80, 0, 0, 0x7f, 0x7f, 0xff, 0xff};
    write_idx("x", 0x0D, 2, (uint32_t[]){4, 1}, floats, sizeof floats);
    write_idx("y", 0x0C, 1, (uint32_t[]){4}, ints, sizeof ints);
    acr__data_desc d = describe("idx", "x", "y");
    acr__dataset *set = opened(&d);
    acr__data_source from;
    acr_source source;
    acr__data_source_init(&from, set, false, 0, &source);
    rows r = rows_get(&from, 0, 0, 4);
    const float x[] = {1, -2, 0.25f, 3.40282347e38f};
    const int32_t y[] = {3, 9, -100, 256};
    assert_memory_equal(r.input, x, sizeof x);
    assert_memory_equal(r.label, y, sizeof y);
    rows_free(r);
    acr__dataset_close(set);
}

static void write_safetensors(const char *path, bool f64)
{
    acr_st_writer *w;
    int64_t n[] = {6, 4};
    assert_int_equal(acr_st_writer_create(&w, ctx, path), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "x", f64 ? ACR_ST_F64 : ACR_ST_F32, 2, n), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "y", ACR_ST_I64, 1, n), ACR_OK);
    assert_int_equal(acr_st_writer_tensor(w, "w", ACR_ST_F32, 1, n), ACR_OK);
    assert_int_equal(acr_st_writer_begin(w), ACR_OK);
    for (int at, k = 0; (at = acr_st_writer_at(w, k)) >= 0; k++)
        for (int i = 0; i < (at == 0 ? 24 : 6); i++) {
            double d = i / 3.0;
            float f = at == 2 ? (float)(i % 3) : (float)d;
            int64_t label = i == 5 ? -100 : i;
            if (at == 1)
                assert_int_equal(acr_st_writer_write(w, &label, 8), ACR_OK);
            else if (at == 0 && f64)
                assert_int_equal(acr_st_writer_write(w, &d, 8), ACR_OK);
            else
                assert_int_equal(acr_st_writer_write(w, &f, 4), ACR_OK);
        }
    assert_int_equal(acr_st_writer_commit(w), ACR_OK);
    acr_st_writer_destroy(w);
}

/* Every half against the definition: sign, 2^(e-15), 1 + f/1024; no Inf or NaN. */
static void halves(void **state)
{
    (void)state;
    enum { FINITE = 0x7c00 };
    uint16_t half[2 * FINITE];
    for (int i = 0; i < 2 * FINITE; i++)
        half[i] = (uint16_t)(i < FINITE ? i : 0x8000 + i - FINITE);
    write_npy("halves.npy", "<f2", "(1, 63488)", half, sizeof half);
    acr__data_desc d = describe("npy", "halves.npy", NULL);
    acr__dataset *set = opened(&d);
    acr__data_source from;
    acr_source source;
    acr__data_source_init(&from, set, false, 0, &source);
    rows r = rows_get(&from, 0, 0, 1);
    int wrong = 0;
    for (int i = 0; i < 2 * FINITE; i++) {
        int e = i % FINITE >> 10, f = i % FINITE & 1023;
        float v = (float)(e ? ldexp(1024 + f, e - 25) : ldexp(f, -24));
        wrong += r.input[i] != (i < FINITE ? v : -v) || !signbit(r.input[i]) != (i < FINITE);
    }
    assert_int_equal(wrong, 0);
    rows_free(r);
    acr__dataset_close(set);
}

static void safetensors_with_weights(void **state)
{
    (void)state;
    for (int f64 = 0; f64 < 2; f64++) {
        write_safetensors(in_folder("in.safetensors"), f64);
        acr__data_desc d = ACR_DATA_DESC_INIT;
        d.format = "safetensors";
        d.path = in_folder("in.safetensors");
        d.input = "x", d.target = "y", d.weight = "w";
        d.classes = 5;
        acr__dataset *set = opened(&d);
        assert_true(acr__dataset_info(set)->has_weight);
        acr__data_source from;
        acr_source source;
        acr__data_source_init(&from, set, false, 0, &source);
        rows r = rows_get(&from, 0, 0, 6);
        for (int i = 0; i < 24; i++)
            assert_true(r.input[i] == (float)(i / 3.0));
        for (int i = 0; i < 6; i++) {
            assert_int_equal(r.label[i], i == 5 ? -100 : i);
            assert_true(r.weight[i] == (float)(i % 3));
        }
        rows_free(r);
        acr__dataset_close(set);
        d.classes = 4;
        refused_with(&d, ACR_E_DATA, "sample 4 has the label 4", "tensor 'y'");
        d.target = "z";
        refused_with(&d, ACR_E_DATA, "in.safetensors", "'z'");
        d.target = "x"; /* floats: a vector, unless labels are asked for */
        set = opened(&d);
        assert_int_equal(acr__dataset_info(set)->target_dtype, ACR_F32);
        assert_int_equal(acr__dataset_info(set)->target_elements, 4);
        acr__dataset_close(set);
        d.target_kind = ACR_TARGET_LABEL;
        refused_with(&d, ACR_E_DATA, "class labels", "integers");
    }
}

/* Slots that are not wanted, and rows that lie apart. */
static void slots_as_they_come(void **state)
{
    (void)state;
    write_safetensors(in_folder("in.safetensors"), false);
    acr__data_desc d = ACR_DATA_DESC_INIT;
    d.format = "safetensors";
    d.path = in_folder("in.safetensors");
    d.input = "x", d.target = "y", d.weight = "w";
    acr__dataset *set = opened(&d);
    acr__data_source from;
    acr_source source;
    acr__data_source_init(&from, set, false, 0, &source);
    float x[6][7];
    memset(x, 0xff, sizeof x);
    void *data[3] = {x, NULL, NULL};
    const int64_t row_bytes[3] = {sizeof x[0], 4, 4};
    acr_slots slots = {sizeof slots, data, row_bytes, NULL};
    assert_int_equal(source.get(source.user, 0, 0, 6, &slots), ACR_OK);
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 7; k++)
            assert_true(k < 4 ? x[i][k] == (float)((i * 4 + k) / 3.0) : isnan(x[i][k]));
    static const int64_t outside[][2] = {{-1, 1}, {0, 7}, {6, 1}, {7, 0}, {3, -1}, {INT64_MAX, 2}, {2, INT64_MAX}};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        assert_int_equal(source.get(source.user, 0, outside[i][0], outside[i][1], &slots), ACR_E_ARGUMENT);
        assert_non_null(strstr(acr_error(ctx), "there are 6"));
    }
    assert_int_equal(source.get(source.user, 0, 6, 0, &slots), ACR_OK);
    acr__dataset_close(set);
}

/* The same of floats that are read straight into their rows: too many to hold. */
static void rows_apart(void **state)
{
    (void)state;
    enum { N = 30000, WIDTH = 3, APART = 5 };
    float *x = malloc(N * WIDTH * sizeof *x), *row = malloc(N * APART * sizeof *row);
    for (uint32_t i = 0; i < N * WIDTH; i++)
        x[i] = (float)noise(i);
    write_npy("floats.npy", "<f4", "(30000, 3)", x, N * WIDTH * sizeof *x);
    acr__data_desc d = describe("npy", "floats.npy", NULL);
    acr__dataset *set = opened(&d);
    acr__data_source from;
    acr_source source;
    for (int apart = WIDTH; apart <= APART; apart += APART - WIDTH)
        for (int shuffle = 0; shuffle < 2; shuffle++) {
            acr__data_source_init(&from, set, shuffle, 5, &source);
            memset(row, 0xff, N * APART * sizeof *row);
            void *data[1] = {row};
            const int64_t row_bytes[1] = {apart * 4};
            acr_slots slots = {sizeof slots, data, row_bytes, NULL};
            assert_int_equal(source.get(source.user, 0, 10, N - 10, &slots), ACR_OK);
            int wrong = 0;
            for (int64_t i = 0; i < N - 10; i++) {
                int64_t sample = shuffle ? acr_shuffle(5, 0, N, i + 10) : i + 10;
                wrong += memcmp(row + i * apart, x + sample * WIDTH, WIDTH * 4) != 0;
                wrong += apart > WIDTH && !isnan(row[i * apart + WIDTH]);
            }
            assert_int_equal(wrong, 0);
        }
    acr__dataset_close(set);
    free(row);
    free(x);
}

static void normal_numbers(void **state)
{
    (void)state;
    acr__data_desc d = ACR_DATA_DESC_INIT;
    d.format = "normal";
    d.samples = 100, d.input_elements = 10, d.target_elements = 2, d.seed = 7;
    acr__dataset *small = opened(&d);
    d.samples = 20000; /* not held: made up when asked for */
    acr__dataset *large = opened(&d);
    acr__data_source from;
    acr_source source;
    assert_in_range(acr__dataset_info(small)->held_bytes, 100 * 12 * 4, 32 * 1024);
    acr__data_info info; /* of two that are equally long one can be held */
    d.samples = 5000, d.input_elements = d.target_elements = 10;
    assert_int_equal(acr__dataset_probe(ctx, &d, &info), ACR_OK);
    assert_in_range(info.held_bytes, 200000, 256 * 1024);
    acr__data_source_init(&from, small, false, 0, &source);
    rows r = rows_get(&from, 0, 0, 100);
    acr__data_source_init(&from, large, false, 0, &source);
    rows q = rows_get(&from, 3, 0, 100);
    assert_memory_equal(r.input, q.input, 4000);
    assert_memory_equal(r.vector, q.vector, 800);
    for (int i = 0; i < 1000; i++)
        assert_true(r.input[i] == acr_normal(7, 0x78, (uint64_t)i));
    for (int i = 0; i < 200; i++)
        assert_true(r.vector[i] == acr_normal(7, 0x79, (uint64_t)i));
    rows_free(r);
    rows_free(q);
    acr__dataset_close(small);
    acr__dataset_close(large);
}

/* -- order ---------------------------------------------------------------- */
static void shuffled_order(void **state)
{
    (void)state;
    enum { N = 1000 };
    int32_t number[N];
    for (int i = 0; i < N; i++)
        number[i] = i;
    write_npy("numbers.npy", "<i4", "(1000,)", number, sizeof number);
    acr__data_desc d = describe("npy", "numbers.npy", "numbers.npy");
    acr__dataset *set = opened(&d);
    acr__data_source from;
    acr_source source;
    int32_t first[N];
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        acr__data_source_init(&from, set, true, 42, &source);
        rows r = rows_get(&from, epoch, 0, N);
        for (int i = 0; i < N; i++) {
            assert_int_equal(r.label[i], acr_shuffle(42, (uint32_t)epoch, N, i));
            assert_true(r.input[i] == (float)r.label[i]);
        }
        if (epoch == 0)
            memcpy(first, r.label, sizeof first);
        else
            assert_memory_not_equal(first, r.label, sizeof first);
        rows_free(r);
    }
    acr__dataset_close(set);
}

typedef struct reader {
    pthread_t thread;
    acr_source *source;
    float *input;
    int32_t *label;
    int64_t first, last;
    acr_status status;
} reader;

static void *read_share(void *user)
{
    reader *r = user;
    for (int64_t i = r->first; i < r->last && r->status == ACR_OK; i += 3) {
        int64_t n = acr__min(3, r->last - i);
        void *data[2] = {r->input + i * 784, r->label + i};
        const int64_t row_bytes[2] = {784 * 4, 4};
        acr_slots slots = {sizeof slots, data, row_bytes, NULL};
        r->status = r->source->get(r->source->user, 1, i, n, &slots);
    }
    return NULL;
}

static void threads_at_once(void **state)
{
    (void)state;
    enum { N = 500, THREADS = 3 };
    free(write_images(N));
    acr__data_desc d = describe("idx", "images", "labels");
    acr__dataset *set = opened(&d);
    acr__data_source from;
    acr_source source;
    acr__data_source_init(&from, set, true, 3, &source);
    rows whole = rows_get(&from, 1, 0, N);
    float *input = malloc((size_t)N * 784 * 4);
    int32_t label[N];
    reader readers[THREADS];
    for (int bad = 0; bad < 2; bad++) {
        if (bad) /* two failing at once share the context's one sentence */
            assert_int_equal(truncate(d.input, 16), 0);
        for (int t = 0; t < THREADS; t++) {
            readers[t] = (reader){.source = &source, .input = input, .label = label};
            acr__share(N, 1, t, THREADS, &readers[t].first, &readers[t].last);
            assert_int_equal(pthread_create(&readers[t].thread, NULL, read_share, &readers[t]), 0);
        }
        for (int t = 0; t < THREADS; t++) {
            pthread_join(readers[t].thread, NULL);
            assert_int_equal(readers[t].status, bad ? ACR_E_DATA : ACR_OK);
        }
        assert_memory_equal(input, whole.input, (size_t)N * 784 * 4);
        assert_memory_equal(label, whole.label, sizeof label);
    }
    assert_non_null(strstr(acr_error(ctx), "images: sample "));
    rows_free(whole);
    free(input);
    acr__dataset_close(set);
}

/* -- validation ----------------------------------------------------------- */
static void bad_values(void **state)
{
    (void)state;
    float x[6] = {1, 2, 3, NAN, 5, 6};
    float w[3] = {1, -0.5f, 1};
    int32_t y[3] = {0, 7, -100};
    write_npy("x.npy", "<f4", "(3, 2)", x, sizeof x);
    write_npy("y.npy", "<i4", "(3,)", y, sizeof y);
    write_npy("w.npy", "<f4", "(3,)", w, sizeof w);
    acr__data_desc d = describe("npy", "x.npy", NULL);
    refused_with(&d, ACR_E_DATA, "x.npy: sample 1, element 1 is nan", "finite");
    x[3] = 4;
    write_npy("x.npy", "<f4", "(3, 2)", x, sizeof x);
    d.target = in_folder("y.npy");
    d.classes = 7;
    refused_with(&d, ACR_E_DATA, "y.npy: sample 1 has the label 7", "0 to 6");
    d.classes = 8;
    acr__dataset_close(opened(&d));
    d.ignore_index = -1;
    refused_with(&d, ACR_E_DATA, "sample 2 has the label -100", "-1");
    d.ignore_index = -100;
    d.weight = in_folder("w.npy");
    refused_with(&d, ACR_E_DATA, "w.npy: sample 1, element 0 is -0.5", "0 or more");
    d.weight = NULL;
    double big[3] = {1, 2, 1e39};
    write_npy("big.npy", "<f8", "(3,)", big, sizeof big);
    d.input = in_folder("big.npy");
    refused_with(&d, ACR_E_DATA, "sample 2, element 0 is 1e+39", "f32");
    d.scale = 10;
    acr__dataset_close(opened(&d)); /* 1e38 is a float */
    d.normalization_given = true;
    d.deviation = 1e-3;
    refused_with(&d, ACR_E_DATA, "sample 2", "f32");
    float tiny[3] = {1e-37f, 2e-37f, 3e-37f}; /* a scale that would take bytes beyond f32 suits them */
    write_npy("tiny.npy", "<f4", "(3,)", tiny, sizeof tiny);
    d = describe("npy", "tiny.npy", NULL);
    d.scale = 1e-37;
    acr__dataset_close(opened(&d));
    write_npy("bytes.npy", "|u1", "(3,)", (uint8_t[]){1, 2, 3}, 3);
    d.input = in_folder("bytes.npy");
    refused_with(&d, ACR_E_DATA, "bytes.npy: scale 1e-37", "a byte beyond f32");
    float same[3] = {2, 2, 2};
    write_npy("same.npy", "<f4", "(3,)", same, sizeof same);
    d = describe("npy", "same.npy", NULL);
    d.normalize = "dataset";
    refused_with(&d, ACR_E_DATA, "same.npy", "normalize: none");
    int64_t wide[3] = {0, 1, INT64_C(1) << 32};
    write_npy("wide.npy", "<i8", "(3,)", wide, sizeof wide);
    d = describe("npy", "same.npy", "wide.npy");
    refused_with(&d, ACR_E_DATA, "label 4294967296", "sample 2");
    /* As 64 bits this is -100, the label to be ignored; without a sign it isn't. */
    uint64_t wraps[3] = {0, 1, UINT64_MAX - 99};
    write_npy("wraps.npy", "<u8", "(3,)", wraps, sizeof wraps);
    d = describe("npy", "same.npy", "wraps.npy");
    refused_with(&d, ACR_E_DATA, "sample 2 has the label", "wraps.npy");
    static const uint8_t shorts[] = {0, 3, 0xff, 0x9c, 1, 0};
    write_npy("shorts.npy", ">i2", "(3,)", shorts, sizeof shorts);
    d = describe("npy", "same.npy", "shorts.npy");
    acr__dataset *set = opened(&d);
    acr__data_source from;
    acr_source source;
    acr__data_source_init(&from, set, false, 0, &source);
    rows r = rows_get(&from, 0, 0, 3);
    const int32_t labels[] = {3, -100, 256};
    assert_memory_equal(r.label, labels, sizeof labels);
    rows_free(r);
    acr__dataset_close(set);
}

static void files_that_disagree(void **state)
{
    (void)state;
    float x[6] = {0};
    write_npy("six.npy", "<f4", "(6,)", x, sizeof x);
    write_npy("five.npy", "<f4", "(5,)", x, 20);
    write_npy("wide.npy", "<f4", "(6, 1)", x, sizeof x);
    write_npy("two.npy", "<f4", "(3, 2)", x, sizeof x);
    acr__data_desc d = describe("npy", "six.npy", "five.npy");
    refused_with(&d, ACR_E_DATA, "five.npy has 5", "six.npy has 6");
    acr__data_desc turned = describe("npy", "five.npy", "six.npy");
    refused_with(&turned, ACR_E_DATA, "six.npy has 6", "five.npy has 5");
    d.target = NULL, d.weight = in_folder("wide.npy");
    acr__dataset_close(opened(&d));
    d.input = d.weight = in_folder("two.npy");
    refused_with(&d, ACR_E_DATA, "two.npy", "2 weights a sample");
    int32_t pair[6] = {0};
    write_npy("pair.npy", "<i4", "(3, 2)", pair, sizeof pair);
    d.weight = NULL, d.target = in_folder("pair.npy"), d.target_kind = ACR_TARGET_LABEL;
    refused_with(&d, ACR_E_DATA, "pair.npy", "2 labels a sample");
    d.target_kind = ACR_TARGET_AUTO; /* a vector then */
    acr__dataset_close(opened(&d));
}

static void wrong_descriptions(void **state)
{
    (void)state;
    float x[3] = {1, 2, 3};
    write_npy("x.npy", "<f4", "(3,)", x, sizeof x);
    acr__data_desc d = describe("npy", "x.npy", NULL), e = d;
    e.format = NULL;
    refused_with(&e, ACR_E_CONFIG, "format", "safetensors");
    e.format = "csv";
    refused_with(&e, ACR_E_CONFIG, "'csv'", "npy");
    e = d, e.input = NULL;
    refused_with(&e, ACR_E_CONFIG, "input", "missing");
    e = d, e.path = "p";
    refused_with(&e, ACR_E_CONFIG, "path", "safetensors");
    e = d, e.format = "safetensors";
    refused_with(&e, ACR_E_CONFIG, "path", "safetensors");
    e = d, e.scale = 0;
    refused_with(&e, ACR_E_CONFIG, "scale", "0");
    e = d, e.normalize = "batch";
    refused_with(&e, ACR_E_CONFIG, "'batch'", "dataset");
    e = d, e.normalization_given = true, e.deviation = 0;
    refused_with(&e, ACR_E_CONFIG, "deviation", "above 0");
    e = d, e.format = "normal";
    refused_with(&e, ACR_E_CONFIG, "normal", "nothing");
    e.input = NULL;
    refused_with(&e, ACR_E_CONFIG, "normal", "at least 1");
}

static void missing_files(void **state)
{
    (void)state;
    acr__data_desc d = describe("idx", "nothing", NULL);
    refused_with(&d, ACR_E_DATA, "nothing: there is no such file", "");
    assert_null(strstr(acr_error(ctx), "apt-get"));
    d.input = "/usr/share/datasets/fashion-mnist/no-such-file.gz";
    refused_with(&d, ACR_E_DATA, d.input, "apt-get install dataset-fashion-mnist");
    d.input = folder;
    refused_with(&d, ACR_E_DATA, folder, "folder");
    file_write(in_folder("empty"), "", 0);
    d.input = in_folder("empty");
    refused_with(&d, ACR_E_DATA, "empty", "too few");
}

/* Rows of sizes that no machine has are refused by arithmetic, not by trying. */
static void lengths_are_checked(void **state)
{
    (void)state;
    uint8_t data[20] = {0};
    static const uint32_t dims[][3] = {{0xFFFFFFFF, 0xFFFF, 0xFFFF}, {60000, 28, 28}, {2, 3, 3}, {1, 3, 3}};
    static const char *const words[] = {"any file", "cut short", "", "followed by something else"};
    for (int i = 0; i < 4; i++) {
        write_idx("sized", 8, 3, dims[i], data, 18);
        acr__data_desc d = describe("idx", "sized", NULL);
        if (i == 2)
            acr__dataset_close(opened(&d));
        else
            refused_with(&d, ACR_E_DATA, "sized", words[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_scaled),
        cmocka_unit_test(one_set_of_rows),
        cmocka_unit_test(mean_and_deviation),
        cmocka_unit_test(every_type),
        cmocka_unit_test(big_endian_idx),
        cmocka_unit_test(halves),
        cmocka_unit_test(safetensors_with_weights),
        cmocka_unit_test(slots_as_they_come),
        cmocka_unit_test(rows_apart),
        cmocka_unit_test(normal_numbers),
        cmocka_unit_test(shuffled_order),
        cmocka_unit_test(threads_at_once),
        cmocka_unit_test(bad_values),
        cmocka_unit_test(files_that_disagree),
        cmocka_unit_test(wrong_descriptions),
        cmocka_unit_test(missing_files),
        cmocka_unit_test(lengths_are_checked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
