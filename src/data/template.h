/* template.h: samples for tuning as tokens, and which of them are learned.
 *
 *   text        the text, all of it learned
 *   completion  prompt, completion, end-of-text: from the completion on is learned
 *   messages, chatml    <|im_start|>ROLE\nCONTENT<|im_end|>\n for each; of the
 *                       assistant's, CONTENT<|im_end|> is learned
 *   messages, plain     "System: CONTENT\n", "User: CONTENT\n", and of the
 *                       assistant "Assistant:", then " CONTENT" and end-of-text,
 *                       which are learned, then "\n"
 *
 * What the tokenizer puts around every text (a token that begins it) stands
 * around the whole sample, and a text ends with end-of-text. What is learned is
 * made of tokens of its own, because a model that answers gets no others: its
 * prompt is tokenised without the answer. */
#ifndef ACR_DATA_TEMPLATE_H
#define ACR_DATA_TEMPLATE_H

#include "data/jsonl.h"
#include "data/tokenizer.h"

typedef enum acr__chat { ACR_CHAT_CHATML, ACR_CHAT_PLAIN } acr__chat;

typedef struct acr__template {
    acr_context *ctx;
    const acr__tokenizer *tokenizer;
    acr__chat chat;
    bool all; /* prompts are learned, too */
    acr__ids before, after; /* what stands around every text */
    acr__chars text;        /* the turn at hand */
} acr__template;

acr_status acr__template_open(acr__template *t, acr_context *ctx, const acr__tokenizer *tokenizer, acr__chat chat,
                              bool all);
void acr__template_close(acr__template *t); /* takes a zeroed one */

/* Replaces *out by the sample's tokens, those that aren't to be learned marked
 * ACR_TOKEN_UNLEARNED. ACR_E_DATA, beginning "PATH:LINE:": there is nothing to
 * learn, or chatml's tokens are missing. */
acr_status acr__template_encode(acr__template *t, const char *path, int64_t line, const acr__sample *sample,
                                acr__ids *out);
/* Replaces *out by the tokens of a conversation up to where the assistant answers.
 * The turns are the system's and the user's. ACR_E_DATA: chatml's tokens are missing. */
acr_status acr__template_prompt(acr__template *t, const acr__turn *turn, int64_t count, acr__ids *out);
/* Replaces *out by the template of messages in Jinja, as Hugging Face's tokenizers take
 * it (chat_template.jinja): the same text, which they tokenise as one. ACR_E_DATA:
 * chatml's tokens are missing. */
acr_status acr__template_jinja(const acr__template *t, acr__chars *out);
/* The assistant's answer ends with its line, as no token says so. */
bool acr__template_line_ends(const acr__template *t);

#endif
