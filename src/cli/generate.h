/* generate.h: text from a language model, a token at a time.
 *
 *     prompt -> ids -> logits of the next -> token -> its bytes -> ... until an end
 *
 * The loop knows nothing of how logits come about: generate runs the model with a
 * key/value cache, training runs the whole sequence in the buffers it has. */
#ifndef ACR_CLI_GENERATE_H
#define ACR_CLI_GENERATE_H

#include "cli/common.h"
#include "data/tokenizer.h"
#include "model/lm.h"
#include "model/sampler.h"

typedef enum acr__stop { ACR__STOP_END, ACR__STOP_LENGTH, ACR__STOP_CONTEXT } acr__stop;

typedef struct acr__generation {
    /* in */
    acr_context *ctx; /* of the tokenizer */
    const acr__tokenizer *tokenizer;
    const acr__lm *lm;
    acr__sampler_opts sampling;
    int64_t max_new_tokens;
    int64_t context; /* places there are: prompt and answer */
    /* The logits [lm->vocab] of what follows ids[0, count); ids[0, known) were there
     * at the last call. */
    acr_status (*logits)(void *user, const int32_t *ids, int64_t known, int64_t count, float *out);
    bool echo;      /* the prompt's text is written too, once it is known to be one */
    bool line_ends; /* the end of a line is an end, which is not written */
    /* Whole characters as they become known; may be NULL. */
    void (*write)(void *user, const char *text, size_t bytes);
    void *user;
    /* out */
    acr__ids ids;   /* the prompt's and the answer's; in: the prompt's, where there is no text of it */
    int64_t prompt; /* of them the prompt's */
    acr__stop stop;
} acr__generation;

/* prompt: its text, or NULL if g->ids is the prompt.
 * ACR_E_ARGUMENT: the prompt is empty and there is no token to begin with, or it
 * fills the context. Release with generation_end in any case. */
acr_status acr__generate(acr__generation *g, const char *prompt, size_t bytes);
void acr__generation_end(acr__generation *g);
/* "end", "length", "context" */
const char *acr__stop_name(acr__stop stop);

#endif
