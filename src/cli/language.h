/* language.h: the part of a setup that is about language models: which model, which
 * tokenizer, which sequences, and the graph over them.
 *
 *     ids, target, position  (int32 [1], domain "token")  ->  model  ->  head, loss
 *
 * Text is tokenised here (into the cache folder, once), because how many sequences
 * there are decides how long the run is. Nothing else is written. */
#ifndef ACR_CLI_LANGUAGE_H
#define ACR_CLI_LANGUAGE_H

#include "cli/setup.h"
#include "data/template.h"

/* Model, tokenizer, data sets and graph of s->cfg. With a run folder, model and
 * tokenizer are those that the run keeps. With s->predicts only the set to evaluate
 * is opened. */
acr_status acr__language_begin(acr__setup *s, const char *run);
/* The sources over the data sets that begin opened. */
void acr__language_open(acr__setup *s);
/* Weights at the start: those of model.path, else init_from. */
acr_status acr__language_init(acr_trainer *t, const acr__config *cfg);
void acr__language_end(acr__setup *s);

/* The graph of a model in any context: rows of one sequence at most; reference:
 * in double. All of it is trained: patterns may name layers that a narrower model, as
 * is timed, does not have. */
acr_status acr__language_graph(acr_graph **out, acr_context *ctx, const acr__config *cfg, const acr__lm *lm,
                               int64_t rows, bool reference);
/* What a run keeps beside its weights: the tokenizer, if there is one. */
acr_status acr__language_keep(acr__setup *s, const char *run);
/* The model of a finished run, and what its products were computed in; either may be
 * NULL. */
acr_status acr__language_kept(acr_context *ctx, const char *run, acr__lm *lm, acr_dtype *products);
/* How the recipe of the run in that folder writes conversations, and whether it tunes on
 * JSONL; without a recipe chatml, and false. */
acr_status acr__language_chat(acr_context *ctx, const char *run, acr__chat *chat, bool *tuned);
/* "gpt2 of 12 layers, 768 wide, 12 heads, vocabulary 50257" */
enum { ACR__LANGUAGE_TEXT = 160 };
const char *acr__language_tell(const acr__lm *lm, char out[ACR__LANGUAGE_TEXT]);
/* Multiply-adds of a sequence of `rows` tokens, forward and back. */
double acr__language_work(const acr__lm *lm, int64_t rows);

/* Sequences that cost nothing to make, of as many rows as there can be; user is
 * int64_t, that number. For timing. */
acr_status acr__language_made_up(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out);

#endif
