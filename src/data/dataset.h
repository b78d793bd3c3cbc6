/* dataset.h: the samples of a recipe's data set, as rows a graph can eat.
 *
 *     describe -> probe            reads headers only, writes nothing
 *              -> open -> source   validates everything; a .gz is converted once
 *
 * probe is for the memory plan and for refusing early: it costs a few KiB of
 * reading and leaves no trace. open reads every byte once (labels in range,
 * floats finite, counts equal), and for a .gz writes the plain bytes to the
 * cache folder the first time. After open nothing allocates.
 *
 * Memory does not grow with the data set: files are streamed through fixed
 * buffers and read with pread. Arrays that together need at most
 * ACR_DATA_HELD bytes are held, so that a small set costs no system call.
 *
 * A data set, once open, is read-only: sources over it may be asked from several
 * threads at once. Its context must outlive it. Sentences begin with the file. */
#ifndef ACR_DATA_DATASET_H
#define ACR_DATA_DATASET_H

#include "base/base.h"

#include <accrue/accrue_io.h>

enum { ACR_DATA_HELD = 256 * 1024 };

typedef enum acr__data_target {
    ACR_TARGET_AUTO = 0, /* integers: labels; floats: a vector */
    ACR_TARGET_LABEL,    /* int32 [1] */
    ACR_TARGET_VECTOR,   /* f32 [target_elements]; integers are converted */
} acr__data_target;

/* What the recipe says. Strings are borrowed for the call only; NULL: not given.
 *
 *   format       input            target           weight          path
 *   idx, npy     file             file             file            -
 *   safetensors  tensor's name    tensor's name    tensor's name   file
 *   normal       -                -                -               -
 *
 * target may be NULL (inputs alone, for predicting), weight too (all 1). A file
 * that begins as gzip does is taken for one, whatever its name. */
typedef struct acr__data_desc {
    const char *format;
    const char *path, *input, *target, *weight;
    /* normal: seeded standard-normal inputs and targets, a pure function of these */
    int64_t samples, input_elements, target_elements;
    uint64_t seed;
    /* An input element becomes (float)((v / scale - mean) / deviation), in double. */
    double scale;             /* not 0; 1: as it is */
    const char *normalize;    /* "none" (or NULL), "dataset": mean and deviation of v / scale over all inputs */
    bool normalization_given; /* then these two instead: those of the training set, kept with the model */
    double mean, deviation;
    acr__data_target target_kind;
    int64_t classes;      /* labels lie in [0, classes); 0: any label from 0 */
    int32_t ignore_index; /* a label that is always allowed */
    bool target_shares;   /* vector targets are shares or truths: each from 0 to 1 */
    const char *cache;    /* folder; NULL: XDG_CACHE_HOME/accrue, else ~/.cache/accrue */
} acr__data_desc;
#define ACR_DATA_DESC_INIT                                                                                   \
    {                                                                                                        \
        NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 1.0, NULL, false, 0.0, 1.0, ACR_TARGET_AUTO, 0, -100, false, NULL \
    }

/* What probe and open find. A slot is a row as the graph gets it. */
typedef struct acr__data_info {
    int64_t samples;
    int64_t input_elements; /* a sample */
    int input_ndim;         /* of one sample, at most 4; more are folded into the last */
    int64_t input_shape[4];
    bool has_target, has_weight;
    acr_dtype target_dtype;  /* ACR_I32: labels, ACR_F32: a vector */
    int64_t target_elements; /* 1 for labels; 0 without target */
    int64_t stored_bytes;    /* of one record in the files: input, target, weight together */
    int64_t slot_bytes;      /* of one record as the graph gets it */
    int64_t cache_bytes;     /* open will write at most this much to the cache folder (0: nothing compressed) */
    size_t open_bytes;       /* memory while open runs, at most */
    size_t held_bytes;       /* memory the opened set keeps, at most */
} acr__data_info;

typedef struct acr__dataset acr__dataset;

/* ACR_E_DATA: missing, damaged, hostile or empty files, counts that disagree;
 * ACR_E_CONFIG: the description itself. */
acr_status acr__dataset_probe(acr_context *ctx, const acr__data_desc *desc, acr__data_info *out);
/* The same and the full validation: labels and floats by index and value. A
 * cache folder that can't be written is no error: an unlinked file in TMPDIR or
 * /tmp takes its place. ACR_E_IO: the system failed to read or write. */
acr_status acr__dataset_open(acr__dataset **out, acr_context *ctx, const acr__data_desc *desc);
void acr__dataset_close(acr__dataset *set); /* takes NULL */

const acr__data_info *acr__dataset_info(const acr__dataset *set);
/* What is applied after scale: 0 and 1 without normalisation. To be kept with
 * the model and given back in the description of any other set. */
void acr__dataset_normalization(const acr__dataset *set, double *mean, double *deviation);

/* What a column is known again by. */
enum { ACR_DATA_COLUMNS = 3 };
typedef struct acr__data_print {
    const char *what;  /* "input", "target", "weight"; NULL: the set has no such column */
    const char *place; /* the file, and the tensor in it if it has one */
    int64_t bytes;     /* of the elements */
    char hash[ACR_HASH_TEXT]; /* XXH3-128 of the elements as they are stored; "": they are more than `most` */
} acr__data_print;
/* Column k from 0. Reads it from end to end unless it has more than `most` bytes. */
acr_status acr__dataset_print(const acr__dataset *set, int k, int64_t most, acr__data_print *out);

/* What tells this data from other data without reading it all: XXH3-128 of every
 * column's type, shape and up to 64 pieces of its elements, spread evenly, the first and
 * the last among them. The same wherever the files lie and however they are compressed. */
acr_status acr__dataset_mark(const acr__dataset *set, char hash[ACR_HASH_TEXT]);

/* One way through a data set; the caller owns it. The graph's inputs are input,
 * target, weight in this order, those absent left out; out->data[i] NULL: that
 * one isn't wanted. `get` takes the epoch as its window and the place in the
 * epoch as `first`: sample acr_shuffle(seed, epoch, samples, first + i), or
 * first + i unshuffled. Outside [0, samples): ACR_E_ARGUMENT. A file that went
 * bad since: ACR_E_DATA or ACR_E_IO. */
typedef struct acr__data_source {
    const acr__dataset *set;
    bool shuffle;
    uint64_t seed;
} acr__data_source;
acr_status acr__data_source_get(void *source, int64_t epoch, int64_t first, int64_t n, const acr_slots *out);
/* Fills *out; `source` must stay where it is while *out is used. */
void acr__data_source_init(acr__data_source *source, const acr__dataset *set, bool shuffle, uint64_t seed,
                           acr_source *out);

#endif
