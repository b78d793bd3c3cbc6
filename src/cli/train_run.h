/* train_run.h: a run from its first update of this process to its last: what
 * happens between updates, and what lies in the folder at the end.
 *
 * Between two updates, in this order: the line of metrics, the evaluation, the
 * checkpoint. A checkpoint therefore holds all that was written before it. */
#ifndef ACR_CLI_TRAIN_RUN_H
#define ACR_CLI_TRAIN_RUN_H

#include "cli/progress.h"
#include "cli/run_folder.h"
#include "cli/run_log.h"
#include "cli/setup.h"

typedef struct acr__train_run {
    acr__cli *cli;
    acr__setup *s;
    acr__run_folder *folder;
    acr__run_state state;
    acr__run_log log;
    acr__progress progress;
    /* in windows; eval and save 0: never; save -1: every ten minutes */
    int64_t log_every, eval_every, save_every;
    int64_t look_every, looked; /* samples between two looks at the clock; since the last */
    int64_t saved_at;           /* windows done at the last checkpoint */
    double saved_time;
    double paused;   /* seconds between updates spent on other things */
    double seconds;  /* in updates */
    int why_skipped; /* the report's word of the last window that was; 0: none */
    acr_clock begun; /* the clock when this process took over */
} acr__train_run;

/* Takes up the checkpoint (NULL: from the beginning; closed in any case). */
acr_status acr__train_run_begin(acr__train_run *r, acr__cli *cli, acr__setup *s, acr__run_folder *folder,
                                acr_checkpoint *from);
/* Until the last window, a signal, or a failure. *signal is the one that stopped
 * it, with a checkpoint saved, or 0. */
acr_status acr__train_run_go(acr__train_run *r, int *signal);
/* Warns of windows that made no update; ACR_E_DIVERGED if none did. */
acr_status acr__train_run_skipped(const acr__train_run *r);
/* Writes model, accrue.json, record and report; takes the trainer down. The
 * record, one line of JSON, is to be freed with free(). */
acr_status acr__train_run_finish(acr__train_run *r, char **record);
void acr__train_run_end(acr__train_run *r);

/* ACR_E_CONFIG: sample_prompt leaves the model no place to write in. */
acr_status acr__train_sample_check(acr__setup *s);
/* What a sample takes beside the arena, at most; 0: none is asked for. */
int64_t acr__train_sample_bytes(const acr__setup *s);
/* train_sample.c: the model's continuation of sample_prompt, prompt included; NULL
 * if none is asked for. Free it with acr__free. */
acr_status acr__train_sample(acr__train_run *r, char **text);

#endif
