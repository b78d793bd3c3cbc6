/* config_text.h: configurations from texts, for the tests of src/config. A failure
 * to load is told by its sentence in `refusal`. */
#ifndef ACR_TEST_CONFIG_TEXT_H
#define ACR_TEST_CONFIG_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/context.h"
#include "config/config.h"

/* A whole recipe but for what the test is about. */
#define MODEL "model: {type: mlp, layers: [4, 3, 2]}\n"
#define DATA "data: {train: {format: normal, samples: 10}}\n"
#define CHOICES "loss: mse\noptimizer: sgd\nlearning_rate: 0.1\n"
#define LENGTH "num_train_epochs: 1\n"
#define BATCH "effective_batch_size: 10\n"
#define BASE MODEL DATA CHOICES LENGTH
#define WHOLE BASE BATCH

static acr_context *ctx;
static char refusal[ACR_SENTENCE];

static inline int context_make(void **state)
{
    (void)state;
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    opts.threads = 1;
    return acr__context_new(&ctx, &opts) == ACR_OK ? 0 : -1;
}

static inline int context_remove(void **state)
{
    (void)state;
    acr_context_destroy(ctx);
    return 0;
}

/* flags: words separated by one space; environment: one NAME=value or NULL. */
static inline acr_status load_all(acr__config **cfg, const char *text, size_t length, const char *words, char *variable)
{
    char copy[512], *argv[32], *environment[] = {variable, NULL};
    int argc = 0;
    acr__flags flags;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
        argv[argc++] = w;
    *cfg = NULL;
    acr_status status = acr__flags_parse(ctx, &flags, ACR__FOR_TRAIN, 0, NULL, argc, argv);
    acr__config_opts opts = {NULL, &flags, environment};
    if (status == ACR_OK)
        status = acr__config_parse(ctx, cfg, "r.yaml", "/folder", text, length, &opts);
    snprintf(refusal, sizeof refusal, "%s", status == ACR_OK ? "" : acr_error(ctx));
    acr__flags_free(&flags);
    return status;
}

/* Loads or fails the test. */
static inline acr__config *load_with(const char *text, const char *words)
{
    acr__config *cfg;
    if (load_all(&cfg, text, strlen(text), words, NULL) != ACR_OK)
        fail_msg("refused: %s\n%s", refusal, text);
    return cfg;
}

static inline acr__config *load_text(const char *text)
{
    return load_with(text, "");
}

/* Is refused with ACR_E_CONFIG, and the sentence has every one of "a|b|c". */
static inline void refuse_with(const char *text, const char *words, const char *parts)
{
    acr__config *cfg;
    char copy[256];
    acr_status status = load_all(&cfg, text, strlen(text), words, NULL);
    if (status != ACR_E_CONFIG) {
        acr__config_free(cfg);
        fail_msg("status %d (%s), but this should be refused, naming %s:\n%s %s", status, refusal, parts, text, words);
    }
    assert_null(cfg);
    snprintf(copy, sizeof copy, "%s", parts);
    for (char *part = strtok(copy, "|"); part; part = strtok(NULL, "|"))
        if (!strstr(refusal, part))
            fail_msg("'%s' is not in: %s", part, refusal);
}

static inline void refuse(const char *text, const char *parts)
{
    refuse_with(text, "", parts);
}

/* Some note has every one of "a|b|c"; with parts NULL: there is no note. */
static inline void noted(const acr__config *cfg, const char *parts)
{
    char copy[256];
    if (!parts) {
        if (cfg->notes.count)
            fail_msg("an unexpected note: %s", cfg->notes.item[0]);
        return;
    }
    for (int i = 0; i < cfg->notes.count; i++) {
        bool all = true;
        snprintf(copy, sizeof copy, "%s", parts);
        for (char *part = strtok(copy, "|"); part; part = strtok(NULL, "|"))
            all = all && strstr(cfg->notes.item[i], part);
        if (all)
            return;
    }
    fail_msg("no note of %d says %s; the first: %s", cfg->notes.count, parts,
             cfg->notes.count ? cfg->notes.item[0] : "");
}

#endif
