/* array.h: one n-dimensional array in a file: what it is and where its bytes lie.
 *
 * The heads of IDX and .npy are parsed from bytes in memory, so that a fuzzer can
 * reach the parsers without files. A head that was accepted has positive
 * dimensions whose product in bytes fits int64_t; nothing was allocated for it. */
#ifndef ACR_DATA_ARRAY_H
#define ACR_DATA_ARRAY_H

#include "base/base.h"
#include <accrue/accrue_io.h>

enum {
    ACR_ARRAY_DIMS = 8,
    ACR_ARRAY_HEAD = 16 * 1024, /* no head is longer: an .npy of 8 dimensions needs 200 bytes */
};

typedef struct acr__array_head {
    acr_st_dtype dtype;
    bool big_endian;
    int ndim; /* at least 1 */
    int64_t dim[ACR_ARRAY_DIMS];
    int64_t offset; /* of the first element */
    int64_t bytes;  /* of all elements */
} acr__array_head;

/* `bytes` are the file's first n, at least ACR_ARRAY_HEAD of them unless the
 * file is shorter. ACR_E_DATA, beginning with `path`. */
acr_status acr__idx_parse(acr_context *ctx, const char *path, const uint8_t *bytes, size_t n, acr__array_head *out);
acr_status acr__npy_parse(acr_context *ctx, const char *path, const uint8_t *bytes, size_t n, acr__array_head *out);
/* Checks dimensions and fills head->bytes: the last step of every parser. */
acr_status acr__array_measure(acr_context *ctx, const char *place, acr__array_head *head);

typedef enum acr__array_format {
    ACR_ARRAY_IDX,
    ACR_ARRAY_NPY,
    ACR_ARRAY_SAFETENSORS,
    ACR_ARRAY_NORMAL
} acr__array_format;

typedef struct acr__array {
    acr__array_head head;
    acr__array_format format;
    char *path;
    char *place; /* for sentences: the path, and the tensor if it has one */
    int fd;      /* -1: none */
    int64_t file_bytes;
    int64_t body;         /* of the first element in fd; of no meaning while packed */
    bool packed;          /* gzip: acr__array_unpack makes it readable */
    int64_t header_bytes; /* safetensors: of the header, for the memory estimate */
    uint64_t seed;        /* ACR_ARRAY_NORMAL: element i is acr_normal(seed, stream, i) */
    uint32_t stream;
} acr__array;

/* Opens the file and reads its head, no more. `tensor` for safetensors only.
 * The array need not be initialised; after a failure nothing is left in it. */
acr_status acr__array_open(acr__array *a, acr_context *ctx, acr__array_format format, const char *path,
                           const char *tensor);
/* A made-up array of standard normals, samples x elements. */
acr_status acr__array_normal(acr__array *a, acr_context *ctx, int64_t samples, int64_t elements, uint64_t seed,
                             uint32_t stream);
void acr__array_close(acr_context *ctx, acr__array *a);

/* Makes a packed array readable at a.body: from the cache folder (NULL: the
 * environment's), which is filled if it has no whole copy, else from an unlinked
 * file. Nothing to do for an array that isn't packed. */
acr_status acr__array_unpack(acr_context *ctx, acr__array *a, const char *cache);

/* n bytes of the elements from byte `at`, into out. Thread-safe. With ctx NULL
 * the failure has a status but no sentence. */
acr_status acr__array_read(acr_context *ctx, const acr__array *a, int64_t at, void *out, int64_t n);

/* -- elements ------------------------------------------------------------- */
bool acr__dtype_is_integer(acr_st_dtype dtype);
/* Exact but for I64 and U64 beyond 2^53, which are rounded to nearest. */
void acr__elements_f64(acr_st_dtype dtype, bool big_endian, const uint8_t *in, int64_t n, double *out);
/* Integers only. A U64 beyond INT64_MAX gives INT64_MAX. */
int64_t acr__element_i64(acr_st_dtype dtype, bool big_endian, const uint8_t *in);

#endif
