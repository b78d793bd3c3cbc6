/* memory.h: how much memory this process will have used at most, and which
 * micro-batch, stage and packing fit a limit.
 *
 *     planned = max(high-water mark so far,
 *                   resident now + what opening the data takes,
 *                   resident now + arena + stacks + reserve)
 *
 * memory_limit bounds the process's VmHWM over its whole life: heap, stacks,
 * the program's own pages. */
#ifndef ACR_CLI_MEMORY_H
#define ACR_CLI_MEMORY_H

#include "cli/language.h"

int64_t acr__memory_peak(void);   /* VmHWM, in bytes */
int64_t acr__memory_now(void);    /* VmRSS */
int64_t acr__memory_unread(void); /* the program's pages that were not needed yet */
/* What the machine or the cgroup has free, on top of what the process holds. */
int64_t acr__memory_free(void);

/* A way to run: what fits, and how fast it is expected to be. */
typedef struct acr__fit {
    acr_plan_opts opts;
    int64_t arena;         /* bytes */
    int64_t planned;       /* bytes of the process at its peak */
    double sample_seconds; /* 0: not measured */
} acr__fit;

enum { ACR__FIT_MEASURED = 96 };
/* What is known of a setup while ways to run it are compared. */
typedef struct acr__fitter {
    acr__setup *s;
    int64_t resident, peak, open_bytes, held_bytes; /* of the process now; of the data sets */
    double close_seconds;                           /* closing a window; 0: not measured */
    double until;                                   /* when calibrating must stop */
    acr_graph *model;                               /* what is timed: the graph, or a narrower one */
    double work_share, parameter_share;             /* its work and parameters as shares of the graph's */
    int64_t rows;                                   /* language models: of a sequence of it */
    struct {
        int64_t micro, stage;
        int pack;
        double seconds;
    } measured[ACR__FIT_MEASURED];
    int count;
} acr__fitter;
void acr__fitter_begin(acr__fitter *f, acr__setup *s);
void acr__fitter_end(acr__fitter *f);
/* The best way under `limit` (bytes): the configured micro-batch, or for auto the
 * smallest plan within 3% of the fastest. ACR_E_LIMIT names what would do. */
acr_status acr__fitter_choose(acr__fitter *f, int64_t limit, acr__fit *out);
/* The least memory that this setup can train in, and its micro-batch. */
acr_status acr__fitter_least(acr__fitter *f, int64_t micro, acr__fit *out);

/* Fills in sample_seconds and the fitter's close_seconds. */
acr_status acr__fitter_measure(acr__fitter *f, acr__fit *fit);

/* Fills the plan's part of a setup. The sentence is in s->ctx. */
acr_status acr__memory_plan(acr__setup *s);
/* By how much timing larger plans went beyond the one chosen. */
int64_t acr__memory_choosing(const acr__setup *s);
/* The table of the banner and of `accrue plan`, a line for each kind. */
void acr__memory_print(const acr__setup *s, FILE *f);

#endif
