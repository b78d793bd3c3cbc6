/* progress.h: the line that tells how training goes: one that rewrites itself on
 * a terminal, plain lines elsewhere, ever more seldom. It prints nothing with -q
 * and costs nothing between two lines but a comparison. */
#ifndef ACR_CLI_PROGRESS_H
#define ACR_CLI_PROGRESS_H

#include "cli/common.h"

typedef struct acr__progress {
    const acr__cli *cli;
    int64_t windows, first; /* in all; done when this process began */
    int64_t memory_limit;   /* or the planned bytes */
    double sample_tokens;   /* of a sample, on average, to be set after begin; 0: samples are counted */
    double start, next;     /* seconds */
    double every;
    bool shown; /* a line without its end stands on the terminal */
    /* so far; of the last update */
    int64_t done, samples, open_samples; /* open: of the window that is not closed yet */
    double loss, learning_rate, grad_norm;
} acr__progress;

void acr__progress_begin(acr__progress *p, const acr__cli *cli, int64_t windows, int64_t done, int64_t memory_limit);
/* After each update: takes its numbers, and now and then (`now` is
 * acr__seconds()) shows them. */
void acr__progress_add(acr__progress *p, const acr_report *r);
void acr__progress_show(acr__progress *p, double now);
/* Within a window: micro-batches of it. */
void acr__progress_micro(acr__progress *p, int64_t done, int64_t of, int64_t micro_batch, double now);
/* Ends the line, so that something else can be printed. */
void acr__progress_break(acr__progress *p);
void acr__progress_end(acr__progress *p);

#endif
