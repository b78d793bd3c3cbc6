/* store.c: what a run keeps of its configuration: resolved.yaml, the lines in a
 * checkpoint, recipe_hash, and the comparison on resume; and the lengths and
 * trainer options that follow from it.
 *
 * Invariant: an option that is not used counts as its default, and so does one
 * that an older accrue did not have: neither changes the hash nor stops a resume. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "config/config.h"

#include "config/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* Where a run goes and what it continues is not part of what it is. */
static bool is_stored(const acr__config *cfg, int option)
{
    return option != ACR__OPT_output_dir && option != ACR__OPT_resume_from_checkpoint && acr__config_used(cfg, option);
}

static bool is_identity(const acr__config *cfg, int option)
{
    return acr__option_get(option)->kind == ACR__IDENTITY ||
           (option == ACR__OPT_micro_batch_size && acr__config_split_matters(cfg));
}

/* Moves a buffer's text into the config's memory. */
static acr_status keep(acr__config *cfg, acr__buffer *b, const char **text)
{
    acr_status status = b->status;
    if (status == ACR_OK) {
        *text = acr__hold_text(cfg->ctx, &cfg->blocks, b->text ? b->text : "", b->length);
        status = *text ? ACR_OK : ACR_E_NO_MEMORY;
    }
    acr__buffer_free(b);
    return status;
}

acr_status acr__config_text(acr__config *cfg, const char **text)
{
    acr__buffer b = {.ctx = cfg->ctx};
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        if (!is_stored(cfg, i))
            continue;
        acr__buffer_add(&b, acr__option_get(i)->key);
        acr__buffer_add(&b, "=");
        acr__option_format(cfg, i, ACR__STYLE_TEXT, &b);
        acr__buffer_add(&b, "\n");
    }
    return keep(cfg, &b, text);
}

/* ---- resolved.yaml ------------------------------------------------------------ */
/* The steps follow from the other two; texts and enumerations that nobody gave
 * have no way to be written. */
static bool is_written(const acr__config *cfg, int option)
{
    const acr__option *o = acr__option_get(option);
    bool no_value = *o->fallback == '\0' && o->type != ACR__COUNT && !acr__config_given(cfg, option) &&
                    option != ACR__OPT_name;
    return is_stored(cfg, option) && !no_value && option != ACR__OPT_gradient_accumulation_steps;
}

static void write_lines(const acr__config *cfg, acr__buffer *out)
{
    const char *section = ""; /* the one being written, its length with the dot in `n` */
    size_t n = 0;
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        const char *key = acr__option_get(i)->key, *dot;
        if (!is_written(cfg, i))
            continue;
        /* Leave the sections this key is not in, then enter those it is in. */
        while (n && (strncmp(key, section, n) != 0))
            for (n--; n && section[n - 1] != '.';)
                n--;
        int depth = 0;
        for (size_t k = 0; k < n; k++)
            depth += section[k] == '.';
        section = key;
        for (; (dot = strchr(key + n, '.')) != NULL; depth++) {
            acr__buffer_add_n(out, "        ", (size_t)depth * 2);
            acr__buffer_add_n(out, key + n, (size_t)(dot - key) - n);
            acr__buffer_add(out, ":\n");
            n = (size_t)(dot - key) + 1;
        }
        acr__buffer_add_n(out, "        ", (size_t)depth * 2);
        acr__buffer_add(out, key + n);
        acr__buffer_add(out, ": ");
        acr__option_format(cfg, i, ACR__STYLE_YAML, out);
        acr__buffer_add(out, "\n");
    }
}

/* Each line of the history as a comment. */
static void write_history(const char *history, acr__buffer *out)
{
    acr__buffer_add(out, "# The run was resumed with other lengths. `accrue train` of this file, which has the last ones "
                         "from the\n# start, gives other weights:\n");
    for (const char *line = history; *line; line += strcspn(line, "\n") + 1) {
        acr__buffer_add(out, "#   ");
        acr__buffer_add_n(out, line, strcspn(line, "\n"));
        acr__buffer_add(out, "\n");
        if (!strchr(line, '\n'))
            break;
    }
}

acr_status acr__config_yaml(acr__config *cfg, const char *history, const char **text)
{
    char hash[ACR__RECIPE_HASH];
    TRY(acr__config_recipe_hash(cfg, hash));
    acr__buffer b = {.ctx = cfg->ctx};
    acr__buffer_add(&b, "# Every option of this run, written by accrue " ACR_VERSION_STRING ". recipe_hash: ");
    acr__buffer_add(&b, hash);
    acr__buffer_add(&b, "\n");
    if (*history)
        write_history(history, &b);
    else
        acr__buffer_add(&b, "# `accrue train` of this file gives the same weights.\n");
    write_lines(cfg, &b);
    return keep(cfg, &b, text);
}

/* ---- identity -------------------------------------------------------------------- */
/* The option's value where it is used, its default otherwise. */
static void effective_value(const acr__config *cfg, const acr__config *defaults, int option, acr__buffer *out)
{
    out->length = 0;
    acr__option_format(acr__config_used(cfg, option) ? cfg : defaults, option, ACR__STYLE_TEXT, out);
}

typedef struct three_texts {
    acr__config defaults; /* holds the table's defaults only */
    acr__buffer now, old, line;
} three_texts;

static acr_status texts_begin(acr__config *cfg, three_texts *t)
{
    t->defaults.ctx = t->now.ctx = t->old.ctx = t->line.ctx = cfg->ctx;
    return acr__config_defaults(&t->defaults);
}

static acr_status texts_end(three_texts *t, acr_status status)
{
    if (status == ACR_OK)
        status = t->now.status ? t->now.status : t->old.status ? t->old.status : t->line.status;
    acr__buffer_free(&t->now);
    acr__buffer_free(&t->old);
    acr__buffer_free(&t->line);
    acr__hold_free(t->defaults.ctx, &t->defaults.blocks);
    return status;
}

acr_status acr__config_recipe_hash(acr__config *cfg, char out[ACR__RECIPE_HASH])
{
    three_texts t = {0};
    acr_status status = texts_begin(cfg, &t);
    for (int i = 0; i < ACR__OPTION_COUNT && status == ACR_OK; i++) {
        if (!is_identity(cfg, i))
            continue;
        effective_value(cfg, &t.defaults, i, &t.now);
        t.old.length = 0;
        acr__option_format(&t.defaults, i, ACR__STYLE_TEXT, &t.old);
        status = t.now.status ? t.now.status : t.old.status;
        if (status != ACR_OK || strcmp(t.now.text, t.old.text) == 0)
            continue;
        acr__buffer_add(&t.line, acr__option_get(i)->key);
        acr__buffer_add(&t.line, "=");
        acr__buffer_add(&t.line, t.now.text);
        acr__buffer_add(&t.line, "\n");
    }
    if (status == ACR_OK && t.line.status == ACR_OK)
        snprintf(out, ACR__RECIPE_HASH, "%016llx",
                 (unsigned long long)XXH3_64bits(t.line.text ? t.line.text : "", t.line.length));
    return texts_end(&t, status);
}

/* ---- resume ------------------------------------------------------------------------- */
/* The value of key in key=value lines, into `out`; false when it is not there. */
static bool find_stored(const char *stored, const char *key, acr__buffer *out)
{
    size_t n = strlen(key);
    for (const char *line = stored; *line;) {
        size_t length = strcspn(line, "\n");
        if (length > n && strncmp(line, key, n) == 0 && line[n] == '=') {
            out->length = 0;
            acr__buffer_add_n(out, line + n + 1, length - n - 1);
            return true;
        }
        line += length + (line[length] == '\n');
    }
    return false;
}

static acr_status check_stored(acr__config *cfg, const char *stored)
{
    for (const char *line = stored; *line;) {
        char key[64];
        size_t length = strcspn(line, "\n"), n = strcspn(line, "=\n");
        snprintf(key, sizeof key, "%.*s", (int)(n < sizeof key ? n : sizeof key - 1), line);
        bool canonical = false;
        FAIL_IF(n == length || acr__option_find(key, &canonical) < 0 || !canonical, cfg->ctx, ACR_E_DATA,
                "the checkpoint was written with an option '%s' that this accrue does not know; use the version that "
                "wrote it",
                acr__show(key).text);
        line += length + (line[length] == '\n');
    }
    return ACR_OK;
}

/* Where the training data are: a project may be moved. */
static bool is_place(int option)
{
    return option == ACR__OPT_data_train_path || option == ACR__OPT_data_train_input ||
           option == ACR__OPT_data_train_target || option == ACR__OPT_data_train_weight || option == ACR__OPT_data_tokenizer;
}

static acr_status compare_option(acr__config *cfg, int option, three_texts *t, acr__texts *changes)
{
    const acr__option *o = acr__option_get(option);
    bool identity = is_identity(cfg, option);
    bool measure = option == ACR__OPT_metric_for_best_model || strncmp(o->key, "data.eval.", 10) == 0;
    if (strcmp(t->now.text, t->old.text) == 0 || (cfg->same_data && is_place(option)))
        return ACR_OK;
    cfg->judged_anew |= measure;
    if (!identity && o->kind != ACR__EXTENDABLE && !(measure && cfg->load_best_model_at_end))
        return ACR_OK;
    if (identity)
        return acr__fail(
            cfg->ctx, strncmp(o->key, "model.", 6) == 0 ? ACR_E_DATA : ACR_E_CONFIG,
            "%s is '%s' in the checkpoint and '%s' now; another value is another run: give it back its value, "
            "or start afresh in another output_dir",
            o->key, acr__show(t->old.text).text, acr__show(t->now.text).text);
    bool length = option == ACR__OPT_max_steps || option == ACR__OPT_num_train_epochs;
    bool stretches = length && cfg->lr_scheduler_type != ACR_CONSTANT;
    bool judges = measure || length || option == ACR__OPT_eval_steps; /* the last two: at other updates */
    if (stretches || (judges && cfg->load_best_model_at_end))
        TRY(acr__texts_add(cfg->ctx, &cfg->blocks, &cfg->bends, "%s %s instead of %s", o->key,
                           acr__show(t->now.text).text, acr__show(t->old.text).text));
    return acr__texts_add(cfg->ctx, &cfg->blocks, changes, "%s: %s in the checkpoint, %s now%s", o->key,
                          acr__show(t->old.text).text, acr__show(t->now.text).text,
                          stretches ? "; the learning rate follows its schedule over the new length from here on" : "");
}

/* Whether max_steps is the length, then and now: epochs say nothing. */
static bool counts_steps(const acr__config *cfg, const char *stored, acr__buffer *scratch)
{
    return cfg->max_steps.unit != ACR__UNIT_AUTO && find_stored(stored, "max_steps", scratch) &&
           scratch->status == ACR_OK && strcmp(scratch->text, "auto") != 0;
}

acr_status acr__config_compare(acr__config *cfg, const char *stored, acr__texts *changes)
{
    three_texts t = {0};
    TRY(check_stored(cfg, stored));
    *changes = cfg->bends = (acr__texts){0, NULL};
    cfg->judged_anew = false;
    acr_status status = texts_begin(cfg, &t);
    bool steps = status == ACR_OK && counts_steps(cfg, stored, &t.old);
    for (int i = 0; i < ACR__OPTION_COUNT && status == ACR_OK; i++) {
        if (steps && i == ACR__OPT_num_train_epochs)
            continue;
        effective_value(cfg, &t.defaults, i, &t.now);
        if (!find_stored(stored, acr__option_get(i)->key, &t.old)) {
            t.old.length = 0;
            acr__option_format(&t.defaults, i, ACR__STYLE_TEXT, &t.old);
        }
        status = t.now.status ? t.now.status : t.old.status;
        if (status == ACR_OK)
            status = compare_option(cfg, i, &t, changes);
    }
    return texts_end(&t, status);
}

/* ---- lengths and the trainer --------------------------------------------------------- */
/* The next whole number; 0.07 of 100 is 7, though the product in doubles is a little more. */
static double whole(double updates)
{
    return fabs(updates - rint(updates)) <= 1e-9 * updates ? rint(updates) : ceil(updates);
}

int64_t acr__horizon_updates(acr__horizon h, const acr__epoch *epoch)
{
    if (h.unit == ACR__UNIT_AUTO)
        return -1;
    double updates = h.count;
    if (h.unit == ACR__UNIT_EPOCHS)
        updates = whole(h.count * (double)epoch->windows);
    if (h.unit == ACR__UNIT_TOKENS)
        updates = whole(h.count / (double)epoch->tokens * (double)epoch->windows);
    return updates > 0x1p53 ? (int64_t)1 << 53 : (int64_t)updates;
}

acr_status acr__config_windows(const acr__config *cfg, acr__epoch *epoch, int64_t *total)
{
    /* a larger batch than there are samples is the whole epoch, and then no partial window */
    int64_t samples = epoch->samples, effective = acr__min(cfg->effective_batch_size, samples);
    FAIL_IF(samples < 1, cfg->ctx, ACR_E_CONFIG, "the data set has no samples");
    int64_t windows = samples / effective + (cfg->last_window == ACR__LAST_STEP && samples % effective != 0);
    acr__horizon length = cfg->max_steps;
    if (length.unit == ACR__UNIT_AUTO)
        length = (acr__horizon){cfg->num_train_epochs, ACR__UNIT_EPOCHS};
    epoch->windows = windows;
    *total = acr__horizon_updates(length, epoch);
    return ACR_OK;
}

acr_status acr__config_trainer_opts(const acr__config *cfg, const acr__epoch *epoch, acr_trainer_opts *out)
{
    acr__epoch e = *epoch;
    int64_t total;
    TRY(acr__config_windows(cfg, &e, &total));
    *out = (acr_trainer_opts)ACR_TRAINER_OPTS_INIT;
    out->learning_rate = cfg->learning_rate;
    out->weight_decay = cfg->weight_decay;
    out->momentum = cfg->momentum;
    out->dampening = cfg->dampening;
    out->nesterov = cfg->nesterov;
    out->adam_beta1 = cfg->adam_beta1;
    out->adam_beta2 = cfg->adam_beta2;
    out->adam_epsilon = cfg->adam_epsilon;
    out->max_grad_norm = cfg->max_grad_norm;
    out->schedule = (acr_schedule)cfg->lr_scheduler_type;
    out->warmup_steps = acr__horizon_updates(cfg->warmup_steps, &e);
    out->total_steps = total;
    out->decay_steps =
        acr__config_used(cfg, ACR__OPT_decay_steps) ? acr__horizon_updates(cfg->decay_steps, &e) : 0;
    out->min_lr_ratio = cfg->min_lr_ratio;
    out->reduction = (acr_reduction)cfg->loss_reduction;
    /* biases and norm scales of transformers do not decay, unless the recipe lists what does not */
    out->weight_decay_min_dims =
        acr__config_is_language(cfg) && !acr__config_given(cfg, ACR__OPT_weight_decay_exclude) ? 2 : 0;
    out->weight_decay_exclude_count = cfg->weight_decay_exclude.count;
    out->weight_decay_exclude = (const char *const *)cfg->weight_decay_exclude.item;
    return ACR_OK;
}

acr__data_spec acr__config_data(const acr__config *cfg, bool eval)
{
    if (eval)
        return (acr__data_spec){acr__config_given(cfg, ACR__OPT_data_eval_format), cfg->data_eval_format, "data.eval",
                                cfg->data_eval_path, cfg->data_eval_input, cfg->data_eval_target, cfg->data_eval_weight,
                                cfg->data_eval_samples, cfg->data_eval_seed};
    return (acr__data_spec){true,
                            cfg->data_train_format,
                            "data.train",
                            cfg->data_train_path,
                            cfg->data_train_input,
                            cfg->data_train_target,
                            cfg->data_train_weight,
                            cfg->data_train_samples,
                            cfg->data_train_seed};
}
