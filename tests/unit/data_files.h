/* data_files.h: small data files for the tests of data sets, made in a folder of
 * their own that is removed at the end. Every failure here is a failed test. */
#ifndef ACR_TEST_DATA_FILES_H
#define ACR_TEST_DATA_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>

static char folder[64];

static inline int folder_make(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/accrue-data-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int folder_remove(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", folder, folder);
    return system(command);
}

/* FOLDER/name, in one of 32 buffers that take turns. */
static inline const char *in_folder(const char *name)
{
    static char paths[32][160];
    static int turn;
    char *path = paths[turn++ % 32];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void file_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline void file_write_gz(const char *path, const void *bytes, size_t n)
{
    gzFile f = gzopen(path, "wb6");
    assert_non_null(f);
    assert_true(n == 0 || gzwrite(f, bytes, (unsigned)n) == (int)n);
    assert_int_equal(gzclose(f), Z_OK);
}

static inline uint8_t *file_read(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*n + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

static inline void u32_be_put(uint8_t *p, uint32_t v)
{
    for (int k = 0; k < 4; k++)
        p[k] = (uint8_t)(v >> (24 - 8 * k));
}

/* An IDX file in memory; `data` is in the file's byte order. Free it. */
static inline uint8_t *idx_make(uint8_t type, int ndim, const uint32_t *dim, const void *data, size_t data_bytes,
                                size_t *n)
{
    *n = 4 + 4 * (size_t)ndim + data_bytes;
    uint8_t *p = calloc(1, *n + 1);
    assert_non_null(p);
    p[2] = type;
    p[3] = (uint8_t)ndim;
    for (int d = 0; d < ndim; d++)
        u32_be_put(p + 4 + 4 * d, dim[d]);
    if (data_bytes)
        memcpy(p + 4 + 4 * ndim, data, data_bytes);
    return p;
}

/* An .npy file in memory, its dict as given. Free it. */
static inline uint8_t *npy_make(int major, const char *dict, const void *data, size_t data_bytes, size_t *n)
{
    size_t begin = major == 1 ? 10 : 12, length = strlen(dict);
    length += 63 - (begin + length) % 64 + 1;
    *n = begin + length + data_bytes;
    uint8_t *p = malloc(*n + 1);
    assert_non_null(p);
    memcpy(p, "\x93NUMPY", 6);
    p[6] = (uint8_t)major;
    p[7] = 0;
    for (size_t k = 8; k < begin; k++)
        p[k] = (uint8_t)(length >> (8 * (k - 8)));
    memset(p + begin, ' ', length);
    memcpy(p + begin, dict, strlen(dict));
    p[begin + length - 1] = '\n';
    if (data_bytes)
        memcpy(p + begin + length, data, data_bytes);
    return p;
}

/* Numbers that look like nothing in particular. */
static inline uint32_t noise(uint32_t i)
{
    i = (i ^ 61) ^ (i >> 16);
    i *= 9;
    i ^= i >> 4;
    i *= UINT32_C(0x27d4eb2d);
    return i ^ (i >> 15);
}

#endif
