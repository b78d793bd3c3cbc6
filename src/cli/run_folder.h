/* run_folder.h: the folder of a run: where it is, who holds it, what it keeps.
 *
 *     resolve (early, writes nothing) -> take (creates, locks) -> resume | begin
 *
 *     FOLDER/resolved.yaml            the recipe that reproduces the run, unless it was bent on resume
 *     FOLDER/metrics.jsonl, .csv      run_log.h
 *     FOLDER/events.out.tfevents.*
 *     FOLDER/checkpoints/step-*       weights, optimizer, clock, run state
 *     FOLDER/model.safetensors, accrue.json, receipt.json, report.html    at the end
 *
 * Invariant: a run that was killed at any instant leaves a folder that `auto`
 * goes on from: everything but the log lines appears whole or not at all, and
 * the lines are cut back to where the checkpoint says. */
#ifndef ACR_CLI_RUN_FOLDER_H
#define ACR_CLI_RUN_FOLDER_H

#include "cli/common.h"
#include "io/file.h"
#include "io/hash.h"
#include "io/lines.h"

#include <accrue/accrue_io.h>

/* What a checkpoint keeps besides the engine's state. Numbers are written so
 * that they read back equal. */
/* clang-format off */
#define ACR__RUN_COUNTS(X)                                                           \
    X(updates_since) X(samples_since) X(micro_since) X(skipped_since) X(rows_since)  \
    X(eval_due) X(eval_step) X(best_step) X(jsonl_at) X(csv_at) X(events_at)
#define ACR__RUN_REALS(X)                                                            \
    X(loss_since) X(weight_since) X(last_loss) X(eval_loss) X(eval_accuracy) X(best_metric)
/* clang-format on */
typedef struct acr__run_state {
    /* _since: of the updates since the last line; eval_due: an evaluation was
     * interrupted; eval_step: 0: none yet; best_step: likewise */
#define COUNT(name) int64_t name;
    ACR__RUN_COUNTS(COUNT)
#undef COUNT
#define REAL(name) double name;
    ACR__RUN_REALS(REAL)
#undef REAL
    char events[256]; /* name of the file; "": none */
} acr__run_state;

typedef struct acr__run_folder {
    acr_context *ctx;
    char path[4096], checkpoints[4200];
    char checkpoint[4300]; /* the one to go on from; "": the newest */
    bool numbered;         /* runs/NAME-NNN: another number if somebody took it */
    bool resume;
    const char *config; /* key=value lines, held by the configuration */
    char recipe_hash[ACR__RECIPE_HASH];
    char data[ACR_HASH_TEXT]; /* of the tokens or samples that are trained on; "": not known */
    char history[2048]; /* a line for each change on resume that bent the run; "": none */
    acr__lock *lock;
} acr__run_folder;

/* Where the run goes, by output_dir and resume_from_checkpoint. ACR_E_CONFIG if
 * a run is there that is not to be resumed. */
acr_status acr__run_folder_resolve(acr__run_folder *r, acr_context *ctx, acr__config *cfg);
/* Creates the folder, takes its lock, clears what a killed run left half-made. */
acr_status acr__run_folder_take(acr__run_folder *r, const acr__config *cfg);
void acr__run_folder_release(acr__run_folder *r);

/* The record of a finished run: *record is NULL if there is none, or if it
 * covers fewer than `windows`. Identity options that differ are refused. Free it
 * with free(). */
acr_status acr__run_record_read(acr__run_folder *r, acr__config *cfg, int64_t windows, char **record);

/* The checkpoint to go on from; NULL: from the beginning. Its configuration has
 * been compared: *changes are horizons that differ. */
acr_status acr__run_checkpoint_open(acr__run_folder *r, acr__config *cfg, acr_checkpoint **out, acr__texts *changes);
/* Weights, optimizer, clock into t; the run's state into *state. Later
 * checkpoints, which the resumed run writes again, are removed. */
acr_status acr__run_checkpoint_restore(acr__run_folder *r, acr_checkpoint *c, acr_trainer *t, acr__run_state *state);
acr_status acr__run_checkpoint_save(acr__run_folder *r, acr_trainer *t, int keep, const acr__run_state *state);
/* Whether the checkpoint of `step` is in the folder. */
bool acr__run_best_there(acr__run_folder *r, int64_t step);
/* The weights of the checkpoint of `step` into t. */
acr_status acr__run_best_restore(acr__run_folder *r, acr_trainer *t, int64_t step);

/* Event files of attempts that no checkpoint knows are removed; `keep` may be "". */
acr_status acr__run_events_clear(acr__run_folder *r, const char *keep);

#endif
