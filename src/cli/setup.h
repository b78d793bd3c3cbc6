/* setup.h: from a configuration to everything that trains, in the order in which
 * things may be refused:
 *
 *     begin   context, data sets' headers, graph, lengths      writes nothing
 *             (language models: the data sets whole, see language.h)
 *     plan    micro-batch, stage, packing; memory_limit         writes nothing
 *     open    data sets, every byte checked                     cache folder only
 *     trainer the arena, weights from init_from
 *
 * Each step needs those before it. After a failure the command line's context
 * holds the sentence; acr__setup_end releases what there is, at any point.
 *
 * Invariant: nothing here depends on the micro-batch, the threads or the path of
 * kernels but the plan, so that verify can build the same training again. */
#ifndef ACR_CLI_SETUP_H
#define ACR_CLI_SETUP_H

#include "cli/common.h"
#include "data/dataset.h"
#include "data/tokenizer.h"
#include "data/tokens.h"
#include "model/lm.h"

/* A way through a data set: only its first `samples`, and weights of 1 where the
 * set has none but the graph asks for them. */
typedef struct acr__setup_source {
    acr__data_source set;
    int64_t samples;
    bool fill_weight;
} acr__setup_source;

typedef struct acr__setup {
    acr__cli *cli;
    acr__config *cfg; /* borrowed */

    /* begin */
    acr_context *ctx; /* threads as configured, kernels by ACCRUE_ISA */
    acr_graph *graph;
    bool predicts;                        /* begin_eval: no optimizer, only the set to evaluate */
    acr__data_info train_info, eval_info; /* eval: samples 0 where there is none */
    bool weighted;                        /* the graph has the input "weight" */
    int64_t parameters;                   /* elements, all */
    int64_t effective;                    /* samples of a window: at most those of an epoch */
    acr__epoch epoch;                     /* samples, tokens and windows */
    int64_t windows;                      /* of the run */
    acr_trainer_opts trainer_opts;        /* borrows from cfg */

    /* begin, for language models: see language.h */
    bool language;
    bool kept; /* model and tokenizer are a finished run's */
    acr__lm lm;
    int64_t sequence_length;   /* rows of a sequence at most */
    const acr__tokenizer *tokenizer; /* NULL: the data are ids, and nothing says what they mean */
    acr__tokenizer *own_tokenizer;   /* where no data set owns it */
    acr__tokens *train_tokens, *eval_tokens;
    acr__tokens_source train_tokens_user, eval_tokens_user;

    /* plan */
    acr_plan *plan;
    int64_t micro_batch;
    int64_t planned_bytes; /* the high-water mark this process will stay under */
    int64_t program_bytes; /* of it: outside the arena; more than both where choosing the plan took more */
    double window_seconds; /* predicted; 0: not known */
    char why[160];         /* how the micro-batch was chosen */

    /* open */
    double mean, deviation; /* predicts: given; else those of train_set */
    acr__dataset *train_set, *eval_set;
    acr__setup_source train_user, eval_user;
    acr_source train_source, eval_source; /* train: shuffled as configured; eval: in order */

    /* trainer */
    acr_trainer *trainer;
} acr__setup;

/* `isa` NULL: ACCRUE_ISA, else the best; `threads` 0: as configured. */
acr_status acr__setup_begin(acr__setup *s, acr__cli *cli, acr__config *cfg, const char *isa, int threads);
/* For evaluating the model of folder `run` alone, or of model.path if it is NULL: of
 * data.eval (else data.train) as eval_set; s->mean and s->deviation, to be set before open, are those of the model. */
acr_status acr__setup_begin_eval(acr__setup *s, acr__cli *cli, acr__config *cfg, const char *run);
acr_status acr__setup_plan(acr__setup *s);
acr_status acr__setup_open(acr__setup *s);
acr_status acr__setup_trainer(acr__setup *s);
void acr__setup_end(acr__setup *s);

/* ---- the pieces, for who builds the same training several times ------------- */
/* The graph of s in another context; reference: in double. */
acr_status acr__setup_graph_again(acr_graph **out, acr_context *ctx, const acr__setup *s, bool reference);
/* The graph of a dense network's recipe in any context. Inputs: input, target and, if weighted,
 * weight; output "prediction". layers: other widths than the recipe's, or NULL.
 * reference: double precision by the plain kernels. */
enum { ACR__MOST_LAYERS = 1024 };
typedef struct acr__setup_shape {
    const int64_t *layers;
    bool labels; /* targets are int32 class labels */
    bool weighted;
    bool reference;
} acr__setup_shape;
/* trainable and weight_decay_exclude, of a finished graph. ACR_E_ARGUMENT: a pattern
 * that matches nothing. */
acr_status acr__setup_patterns(acr_graph *g, const acr__config *cfg);
acr_status acr__setup_graph(acr_graph **out, acr_context *ctx, const acr__config *cfg, const acr__setup_shape *shape);
/* That of s->graph. */
acr__setup_shape acr__setup_shape_of(const acr__setup *s);
/* Plan options but for micro_batch, stage_rows and pack. */
acr_plan_opts acr__setup_plan_opts(const acr__setup *s);
/* Weights at the start: init_from, if given. */
acr_status acr__setup_init(acr_trainer *t, const acr__config *cfg);
/* A data set as the configuration describes it. mean, deviation: those of the
 * training set, or NULL to compute them (data.normalize). */
acr__data_desc acr__setup_data(const acr__config *cfg, bool eval, const double *mean, const double *deviation);
const char *acr__loss_name(const acr__config *cfg);

#endif
