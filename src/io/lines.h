/* lines.h: what a run appends to while it trains: metrics.jsonl, metrics.csv and
 * TensorBoard events.
 *
 * Invariant: a file ends at a whole record after every call, also a failed one
 * (it is cut back). Records are held until there are many or flush is called,
 * because a write(2) costs what an update of a small network does; close does not
 * flush. A resumed run gives back the offsets that its checkpoint holds and goes
 * on from there, so that no record is doubled or missing.
 *
 * Nothing here allocates after open. */
#ifndef ACR_IO_LINES_H
#define ACR_IO_LINES_H

#include "base/base.h"

/* The fewest of 15 to 17 digits (f32: 6 to 9), without trailing zeros, that read
 * back as the same number, with '.' whatever the locale; "nan", "inf", "-inf".
 * out takes ACR_NUMBER_TEXT bytes; returns the text's length. */
enum { ACR_NUMBER_TEXT = 32 };
int acr__number_f64(double v, char *out);
int acr__number_f32(float v, char *out);

typedef enum acr__field_kind {
    ACR_FIELD_I64,
    ACR_FIELD_F64,
    ACR_FIELD_F32,
    ACR_FIELD_TEXT,
    ACR_FIELD_BOOL
} acr__field_kind;
enum { ACR_FIELDS = 64 }; /* of one record, at most */
typedef struct acr__field {
    const char *name;
    acr__field_kind kind;
    int64_t i;        /* I64, BOOL */
    double d;         /* F64, F32; not finite: null in JSON, empty in CSV */
    const char *text; /* TEXT; NULL: null */
} acr__field;

/* metrics.jsonl and metrics.csv in `folder`. A line begins with "step" and
 * "timestamp" (seconds since 1970, with microseconds); the CSV then has the
 * given columns: of a record those it has, the others empty. Fields without a
 * column go to the JSON line alone. */
enum { ACR_METRICS_LINE = 8192 }; /* bytes of a line, at most */
/* Bytes of them that n bytes of a text take in metrics.jsonl. */
size_t acr__metrics_text(const char *text, size_t n);
typedef struct acr__metrics acr__metrics;
typedef struct acr__metrics_offsets {
    int64_t jsonl, csv;
} acr__metrics_offsets;
/* at: where to go on, NULL for new files (what is there is emptied). A file that
 * is shorter than its offset, because somebody cut it, goes on at its last whole
 * line. A CSV whose columns are others: ACR_E_DATA. columns are copied. */
acr_status acr__metrics_open(acr__metrics **out, acr_context *ctx, const char *folder, int count,
                             const char *const *columns, const acr__metrics_offsets *at);
void acr__metrics_close(acr__metrics *m); /* takes NULL */
acr_status acr__metrics_line(acr__metrics *m, int64_t step, double timestamp, int count, const acr__field *fields);
acr_status acr__metrics_flush(acr__metrics *m); /* what is held, to both files or to neither */
void acr__metrics_where(const acr__metrics *m, acr__metrics_offsets *out);
acr_status acr__metrics_sync(acr__metrics *m); /* flush, and to the disk: before a checkpoint that holds the offsets */

/* TensorBoard: events.out.tfevents.<10-digit time>.<host>.<pid>.<n> in `folder`. */
typedef struct acr__events acr__events;
/* name NULL: a new file; else go on in that file of the folder at `offset` (a
 * missing or shorter file: a new one is begun). */
acr_status acr__events_open(acr__events **out, acr_context *ctx, const char *folder, const char *name, int64_t offset);
void acr__events_close(acr__events *e); /* takes NULL */
/* One event of several scalars; at most ACR_EVENT_VALUES, tags of at most ACR_EVENT_TAG bytes. */
enum { ACR_EVENT_VALUES = 64, ACR_EVENT_TAG = 64 };
acr_status acr__events_scalars(acr__events *e, int64_t step, double wall_time, int count, const char *const *tags,
                               const float *values);
acr_status acr__events_flush(acr__events *e);
const char *acr__events_name(const acr__events *e);
int64_t acr__events_where(const acr__events *e);
acr_status acr__events_sync(acr__events *e);
uint32_t acr__crc32c(uint32_t crc, const void *bytes, size_t n); /* begins with 0 */

#endif
