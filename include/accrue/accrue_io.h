/* accrue_io.h: files of the engine: safetensors, models, checkpoints. Needs
 * jansson, xxhash and POSIX besides what accrue.h needs.
 *
 * Writing. Every file appears whole or not at all: it is written beside its
 * place as PATH.tmp.PID.N, flushed to the disk, then renamed. A failed write
 * removes that file and leaves what stood at PATH as it was.
 *
 * Reading. A file is hostile until proven otherwise: every size is checked
 * against the bytes there are before anything is allocated for it. A missing,
 * damaged or unsuitable file is ACR_E_DATA; the system failing to read or write
 * is ACR_E_IO. Sentences begin with the path and name the tensor.
 *
 * Memory. Tensors are streamed through fixed buffers of 64 KiB: no call's memory
 * grows with a tensor, only with the header (names and shapes). */
#ifndef ACCRUE_IO_H
#define ACCRUE_IO_H

#include <accrue/accrue.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- safetensors -----------------------------------------------------------
 * X(name, bytes an element) */
#define ACR_ST_DTYPE_LIST(X)                                                                        \
    X(BOOL, 1) X(U8, 1) X(I8, 1) X(U16, 2) X(I16, 2) X(F16, 2) X(BF16, 2) X(U32, 4) X(I32, 4)       \
    X(F32, 4) X(U64, 8) X(I64, 8) X(F64, 8)
typedef enum acr_st_dtype {
#define ACR_ST_DTYPE_ENUM(name, bytes) ACR_ST_##name,
    ACR_ST_DTYPE_LIST(ACR_ST_DTYPE_ENUM)
#undef ACR_ST_DTYPE_ENUM
    ACR_ST_DTYPE_COUNT
} acr_st_dtype;
ACR_API const char *acr_st_dtype_name(acr_st_dtype dtype); /* "F32"; "?" if there is no such dtype */
ACR_API size_t acr_st_dtype_bytes(acr_st_dtype dtype);     /* 0 if there is no such dtype */

/* An open file, its header checked whole: UTF-8 JSON no deeper than 32, no name
 * twice, known dtypes, sizes that agree with the shapes, tensors that fill the
 * file from its header to its end without a gap. Never changes after open, so
 * several threads may read from it at once (but share its context's sentence). */
typedef struct acr_st acr_st;
/* Borrows from the acr_st. */
typedef struct acr_st_tensor {
    const char *name;
    acr_st_dtype dtype;
    int ndim;             /* 0: a scalar, one element */
    const int64_t *shape; /* [ndim] */
    int64_t elements;     /* 0: an empty tensor */
    int64_t bytes;
    int64_t offset;       /* of its first byte in the file */
} acr_st_tensor;

ACR_API acr_status acr_st_open(acr_st **out, acr_context *ctx, const char *path);
ACR_API void acr_st_close(acr_st *st); /* takes NULL */
ACR_API const char *acr_st_path(const acr_st *st);
ACR_API int64_t acr_st_file_bytes(const acr_st *st);
/* Tensors are numbered in the byte order of their names. */
ACR_API int acr_st_count(const acr_st *st);
ACR_API acr_status acr_st_get(const acr_st *st, int tensor, acr_st_tensor *out);
ACR_API int acr_st_find(const acr_st *st, const char *name); /* -1: there is none */
/* __metadata__, in the byte order of its keys. A value that holds a zero byte
 * reads as if it ended there. NULL: no such key or number. */
ACR_API int acr_st_metadata_count(const acr_st *st);
ACR_API const char *acr_st_metadata_key(const acr_st *st, int i);
ACR_API const char *acr_st_metadata(const acr_st *st, const char *key);

/* Elements [first, first+n) of a tensor, converted. A value that the wanted type
 * cannot hold is ACR_E_DATA, naming it: an integer out of range, a fraction or
 * NaN read as an integer, a finite double beyond f32. Doubles and wide integers
 * are rounded to nearest. Subnormals are kept whatever the caller's MXCSR says. */
ACR_API acr_status acr_st_read_f32(acr_st *st, int tensor, int64_t first, int64_t n, float *out);
ACR_API acr_status acr_st_read_f64(acr_st *st, int tensor, int64_t first, int64_t n, double *out);
ACR_API acr_status acr_st_read_i32(acr_st *st, int tensor, int64_t first, int64_t n, int32_t *out);
ACR_API acr_status acr_st_read_i64(acr_st *st, int tensor, int64_t first, int64_t n, int64_t *out);
/* The bytes as they are: n * acr_st_dtype_bytes(dtype). */
ACR_API acr_status acr_st_read_raw(acr_st *st, int tensor, int64_t first, int64_t n, void *out);

/* Writing:
 *
 *     create -> metadata, tensor, ... -> begin -> write, write, ... -> commit
 *                                                  destroy (any time; abandons what isn't committed)
 *
 * begin sorts the tensors (widest elements first, then by name; the byte order
 * of equal alignment) and writes the header. After that the bytes of tensor
 * acr_st_writer_at(w, 0), then (w, 1), ... are appended in pieces of any size.
 * Keys, values and names are UTF-8: ACR_E_ARGUMENT otherwise. */
typedef struct acr_st_writer acr_st_writer;
ACR_API acr_status acr_st_writer_create(acr_st_writer **out, acr_context *ctx, const char *path);
ACR_API acr_status acr_st_writer_metadata(acr_st_writer *w, const char *key, const char *value);
/* Numbered by declaration: 0, 1, ... A name twice is refused by begin. */
ACR_API acr_status acr_st_writer_tensor(acr_st_writer *w, const char *name, acr_st_dtype dtype, int ndim,
                                        const int64_t *shape);
ACR_API acr_status acr_st_writer_begin(acr_st_writer *w);
ACR_API int acr_st_writer_at(const acr_st_writer *w, int place); /* the declared number; -1 past the last */
ACR_API acr_status acr_st_writer_write(acr_st_writer *w, const void *bytes, size_t n);
ACR_API acr_status acr_st_writer_commit(acr_st_writer *w); /* ACR_E_STATE if bytes are missing */
ACR_API void acr_st_writer_destroy(acr_st_writer *w);      /* takes NULL */

/* ---- weights ---------------------------------------------------------------
 * The hash of the weights: XXH3-128, seed 0, over each parameter's little-endian
 * f32 bytes in canonical layout, in the byte order of names, every NaN as
 * 7fc00000; 32 hex digits and a zero byte. */
enum { ACR_HASH_TEXT = 33 };
ACR_API acr_status acr_weights_hash(acr_trainer *t, char *out);
/* The same of a file: of the tensors whose name begins with prefix (NULL: all).
 * Tensors that aren't F32 count with their bytes as they are. */
ACR_API acr_status acr_st_weights_hash(acr_st *st, const char *prefix, char *out);

typedef struct acr_model_opts {
    size_t size;
    const char *const *names; /* [acr_param_count]: the file's name of each parameter; NULL: the graph's names */
    const char *prefix;       /* before every name in the file; NULL: "" */
    int allow_extra;          /* loading without a prefix: ignore tensors that the model lacks */
    int metadata_count;       /* saving: more metadata; "format" and "numerics" are written in any case */
    const char *const *metadata_keys;
    const char *const *metadata_values;
} acr_model_opts;
#define ACR_MODEL_OPTS_INIT {sizeof(acr_model_opts), NULL, NULL, 0, 0, NULL, NULL}
/* The parameters as F32 safetensors. opts may be NULL. */
ACR_API acr_status acr_model_save(acr_trainer *t, const char *path, const acr_model_opts *opts);
/* Copies by name into the parameters; F16, BF16 and F64 are converted. Names and
 * shapes are checked, and every byte is read once, before anything changes; the
 * sentence says what is missing, extra or of another shape. Tensors without the
 * prefix, where one is given, are none of the model's business. Only a file that
 * fails or changes between the two readings can leave some parameters loaded; it
 * says so. ACR_E_STATE inside an open window. */
ACR_API acr_status acr_model_load(acr_trainer *t, const char *path, const acr_model_opts *opts);

/* ---- checkpoints -----------------------------------------------------------
 * One safetensors file: "param.NAME", "state.SLOT.NAME", and as metadata the
 * clock, the numerics, the optimizer, the caller's keys, and an XXH3-128 over all of it. */
typedef struct acr_checkpoint_opts {
    size_t size;
    const char *recipe_hash;  /* NULL: none */
    int count;                /* the caller's own keys and values; no key begins with "accrue." */
    const char *const *keys;
    const char *const *values;
} acr_checkpoint_opts;
#define ACR_CHECKPOINT_OPTS_INIT {sizeof(acr_checkpoint_opts), NULL, 0, NULL, NULL}
/* opts may be NULL. Allocates two buffers of 64 KiB and the header. */
ACR_API acr_status acr_checkpoint_save(acr_trainer *t, const char *path, const acr_checkpoint_opts *opts);

/* An open checkpoint: whole, its checksum verified. */
typedef struct acr_checkpoint acr_checkpoint;
ACR_API acr_status acr_checkpoint_open(acr_checkpoint **out, acr_context *ctx, const char *path);
ACR_API void acr_checkpoint_close(acr_checkpoint *c); /* takes NULL */
ACR_API const char *acr_checkpoint_path(const acr_checkpoint *c);
ACR_API int acr_checkpoint_numerics(const acr_checkpoint *c);
ACR_API void acr_checkpoint_clock(const acr_checkpoint *c, acr_clock *out);
ACR_API const char *acr_checkpoint_recipe_hash(const acr_checkpoint *c);          /* "" if none */
ACR_API const char *acr_checkpoint_value(const acr_checkpoint *c, const char *key); /* NULL: no such key */
ACR_API acr_st *acr_checkpoint_tensors(acr_checkpoint *c); /* borrowed */
/* "" or, from acr_checkpoint_latest, which newer files were passed over and why. */
ACR_API const char *acr_checkpoint_note(const acr_checkpoint *c);
/* Numerics, optimizer, names and shapes are compared first; ACR_E_DATA names what
 * differs and the trainer is as it was. Then parameters, state and clock are put
 * back. */
ACR_API acr_status acr_checkpoint_restore(acr_checkpoint *c, acr_trainer *t);
/* open, compare recipe_hash if one is given, restore, close. opts may be NULL. */
ACR_API acr_status acr_checkpoint_load(acr_trainer *t, const char *path, const acr_checkpoint_opts *opts);

/* Folders of checkpoints: FOLDER/step-00000040.safetensors. */
/* Writes the path into out (of n bytes); ACR_E_ARGUMENT if it does not fit. */
ACR_API acr_status acr_checkpoint_path_of(acr_context *ctx, const char *folder, int64_t step, char *out, size_t n);
/* Opens the newest whole one; damaged ones are passed over (acr_checkpoint_note).
 * *out is NULL with ACR_OK if the folder is missing or has none; if it has only
 * damaged ones, ACR_E_DATA. */
ACR_API acr_status acr_checkpoint_latest(acr_checkpoint **out, acr_context *ctx, const char *folder);
/* Removes the oldest ones beyond `keep` (>= 1). Never removes `best` (a path in
 * the folder, or NULL), nor the newest whole one. */
ACR_API acr_status acr_checkpoint_prune(acr_context *ctx, const char *folder, int keep, const char *best);

#ifdef __cplusplus
}
#endif
#endif
