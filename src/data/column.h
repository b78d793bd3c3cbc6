/* column.h: one of a data set's three columns (input, target, weight): an array
 * and what becomes of its elements. Shared by the files that open a data set
 * (dataset.c), validate it (check.c) and read from it (source.c). */
#ifndef ACR_DATA_COLUMN_H
#define ACR_DATA_COLUMN_H

#include "data/array.h"
#include "data/dataset.h"
#include <pthread.h>

enum { ACR_COLUMN_INPUT, ACR_COLUMN_TARGET, ACR_COLUMN_WEIGHT, ACR_COLUMNS };

typedef struct acr__column {
    acr__array array;
    bool present;
    bool label;       /* read as int32; else as f32, transformed */
    int64_t elements; /* of a sample */
    int64_t record;   /* bytes of a sample in the file */
    uint8_t *held;    /* all records, or NULL: they are read from the array */
    /* an element becomes (float)((v / scale - mean) / deviation) */
    double scale, mean, deviation;
    bool plain;       /* that is the very float that is stored */
    float of_u8[256]; /* the same as a table, for elements of one byte without sign */
} acr__column;

static inline float acr__transformed(const acr__column *c, double v)
{
    return (float)((v / c->scale - c->mean) / c->deviation);
}

/* Sums over the elements x = v / scale, for mean and deviation. */
typedef struct acr__moments {
    int64_t count;
    double mean, m2; /* m2: sum of (x - mean)^2 */
    double min, max;
} acr__moments;

/* Reads the column once from end to end: labels in range, floats finite (as
 * they are and transformed), weights not negative. `moments` is filled if it is not NULL. `buffer` has ACR_CHECK_BYTES.
 */
enum { ACR_CHECK_BYTES = 64 * 1024 };
acr_status acr__column_check(acr_context *ctx, const acr__column *c, int which, const acr__data_desc *desc,
                             uint8_t *buffer, acr__moments *moments);

/* Fills plain and of_u8 from scale, mean and deviation. */
void acr__column_prepare(acr__column *c);

struct acr__dataset {
    acr_context *ctx;
    acr__data_info info;
    acr__column column[ACR_COLUMNS];
    pthread_mutex_t sentence; /* the context has one sentence; readers may be several */
};

#endif
