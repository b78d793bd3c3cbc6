/* run_log.h: reports of windows become lines of metrics.jsonl, metrics.csv and
 * TensorBoard events, one for every logging_steps updates.
 *
 * Invariant: the means of a line are weighted by W and do not depend on whether
 * the run was stopped between its updates: what is summed up so far lives in the
 * run's state. Lines that come fast are held as numbers, then printed and written
 * together: printing one with training's data in the caches costs twice what it
 * costs behind another. A kill loses those of the last tenth of a second, which a
 * resumed run writes again. Nothing here allocates after open. */
#ifndef ACR_CLI_RUN_LOG_H
#define ACR_CLI_RUN_LOG_H

#include "cli/run_folder.h"
#include "cli/setup.h"

enum { ACR__RUN_LINES = 128, ACR__RUN_FIELDS = 13 };

/* A line that is not printed yet. */
typedef struct acr__run_line {
    int64_t update;
    double time; /* of day, in seconds */
    acr__field fields[ACR__RUN_FIELDS]; /* in the order of metrics.csv */
} acr__run_line;

typedef struct acr__run_log {
    acr__metrics *metrics;
    acr__events *events;
    acr__run_state *state;
    int64_t per_epoch; /* windows */
    double last_time;  /* of the last line, for samples per second */
    int64_t timed_samples, timed_rows;
    bool language;    /* tokens are told too */
    double flushed;   /* when lines were written last */
    double peak_read; /* when peak was read last */
    int64_t peak;
    int held; /* lines that are not yet in metrics and events */
    acr__run_line line[ACR__RUN_LINES];
} acr__run_log;

/* Goes on where the state says; with `fresh` begins new files. */
acr_status acr__run_log_open(acr__run_log *l, acr_context *ctx, const acr__run_folder *folder, acr__run_state *state,
                             const acr__setup *s, bool fresh);
void acr__run_log_close(acr__run_log *l);
/* Adds an update; the cheap part, for every update. */
void acr__run_log_add(acr__run_log *l, const acr_report *r);
/* The line of the updates added since the last one. */
acr_status acr__run_log_line(acr__run_log *l, const acr_report *r);
/* sample: what the model wrote, or NULL. */
acr_status acr__run_log_eval(acr__run_log *l, int64_t update, int64_t window, const acr_eval *e, const char *sample);
/* Writes what is held. */
acr_status acr__run_log_flush(acr__run_log *l);
/* Flushes to the disk and writes into the state where the files end. */
acr_status acr__run_log_mark(acr__run_log *l);

#endif
