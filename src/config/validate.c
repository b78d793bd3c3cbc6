/* validate.c: the rules between options, once the layers are merged.
 *
 * Invariant: after validate a configuration can be built and run as far as the
 * options alone can tell. Whether files exist and shapes fit them is not asked. */
#include "config/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What has no default, and what to write. effective_batch_size is batch.c's. */
enum { FOR_MLP = 1, FOR_SHAPED = 2, FOR_HF = 4, FOR_ANY = 7 }; /* shaped: a transformer whose sizes the recipe tells */
static const struct {
    int option, models;
    const char *example;
} required[] = {
    {ACR__OPT_model_type, FOR_ANY, "model: {type: mlp, layers: [784, 512, 10]}"},
    {ACR__OPT_model_layers, FOR_MLP, "model: {type: mlp, layers: [784, 512, 10]}"},
    {ACR__OPT_model_path, FOR_HF, "path: FOLDER (with config.json and model.safetensors) under model"},
    {ACR__OPT_model_hidden_size, FOR_SHAPED, "hidden_size: 256 under model"},
    {ACR__OPT_model_num_hidden_layers, FOR_SHAPED, "num_hidden_layers: 6 under model"},
    {ACR__OPT_model_num_attention_heads, FOR_SHAPED, "num_attention_heads: 4 under model"},
    {ACR__OPT_data_train_format, FOR_MLP, "data: {train: {format: idx, input: IMAGES.gz, target: LABELS.gz}}"},
    {ACR__OPT_data_train_format, FOR_SHAPED | FOR_HF, "data: {train: {format: text, path: FILE.txt}}"},
    {ACR__OPT_loss, FOR_MLP, "loss: cross_entropy (classes) or loss: mse (numbers)"},
    {ACR__OPT_optimizer, FOR_ANY, "optimizer: adamw"},
    {ACR__OPT_learning_rate, FOR_ANY, "learning_rate: 1e-3"},
};

bool acr__config_is_language(const acr__config *cfg) { return cfg->model_type != ACR__MODEL_MLP; }

double acr__config_dropout(const acr__config *cfg, double otherwise)
{
    return isnan(cfg->model_dropout) ? otherwise : cfg->model_dropout;
}

static acr_status missing(acr__config *cfg, int option, const char *example)
{
    return acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: %s is missing: add %s", cfg->file, acr__option_get(option)->key,
                     example);
}

static acr_status check_required(acr__config *cfg)
{
    int model = cfg->model_type == ACR__MODEL_MLP ? FOR_MLP : cfg->model_type == ACR__MODEL_HF ? FOR_HF : FOR_SHAPED;
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++)
        if (required[i].models & model && !acr__config_given(cfg, required[i].option))
            return missing(cfg, required[i].option, required[i].example);
    return ACR_OK;
}

/* ---- options that need another ------------------------------------------------- */
/* Splits "key:value|value"; -1 when the option needs nothing. */
static int chooser_of(const acr__option *o, const char **words)
{
    char key[64];
    const char *colon = strchr(o->needs, ':');
    if (!colon)
        return -1;
    snprintf(key, sizeof key, "%.*s", (int)(colon - o->needs), o->needs);
    *words = colon + 1;
    return acr__option_find(key, NULL);
}

bool acr__config_used(const acr__config *cfg, int option)
{
    const acr__option *o = acr__option_get(option);
    const char *words;
    int chooser = chooser_of(o, &words);
    if (strncmp(o->key, "data.eval.", 10) == 0 && !acr__config_given(cfg, ACR__OPT_data_eval_format))
        return false;
    return chooser < 0 || acr__option_is(cfg, chooser, words);
}

/* "a or b" of a|b. */
static void tell_words(const char *words, char *out, size_t size)
{
    const char *w;
    int length;
    size_t n = 0;
    for (int i = 0; (w = acr__word(words, i, &length)) != NULL && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%.*s", i ? " or " : "", length, w);
}

/* An unused key is an error when its own layer made the choice (or nothing did, so
 * that its layer left the choice at its default), a note when another layer did. */
static acr_status check_unused(acr__config *cfg)
{
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        const char *words;
        int chooser = chooser_of(acr__option_get(i), &words);
        if (chooser < 0 || !acr__config_given(cfg, i) || acr__option_is(cfg, chooser, words))
            continue;
        acr__buffer chosen = {.ctx = cfg->ctx};
        acr__option_format(cfg, chooser, ACR__STYLE_TEXT, &chosen);
        if (chosen.status != ACR_OK)
            return chosen.status;
        acr__layer by = cfg->origin[chooser].layer;
        const char *key = acr__option_get(chooser)->key, *where = acr__config_where(cfg, i);
        char wanted[128];
        tell_words(words, wanted, sizeof wanted);
        acr_status status;
        if (by == cfg->origin[i].layer || by == ACR__LAYER_DEFAULT)
            status = acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: has no meaning with %s: %s%s; remove it, or choose %s",
                               where, key, chosen.text, by == ACR__LAYER_DEFAULT ? " (the default)" : "", wanted);
        else
            status = acr__config_note(cfg, "%s: not used with %s: %s", where, key, chosen.text);
        acr__buffer_free(&chosen);
        TRY(status);
    }
    return ACR_OK;
}

/* ---- the sections ------------------------------------------------------------------ */
/* The widths of a dense network, and what is told per layer. */
static acr_status check_layers(acr__config *cfg)
{
    acr_context *ctx = cfg->ctx;
    FAIL_IF(cfg->model_layers.count < 2, ctx, ACR_E_CONFIG,
            "%s: needs at least two widths, the inputs' and the outputs', as [784, 10]",
            acr__config_where(cfg, ACR__OPT_model_layers));
    int hidden = cfg->model_layers.count - 2, given = cfg->model_activation.count;
    FAIL_IF(given != 1 && given != hidden, ctx, ACR_E_CONFIG,
            "%s: has %d activations for %d hidden layers; give one for all, or one for each",
            acr__config_where(cfg, ACR__OPT_model_activation), given, hidden);
    if (given == 1 && hidden != 1) {
        int64_t *all = acr__hold(ctx, &cfg->blocks, (size_t)hidden * sizeof *all + 1);
        if (!all)
            return ACR_E_NO_MEMORY;
        for (int i = 0; i < hidden; i++)
            all[i] = cfg->model_activation.item[0];
        cfg->model_activation = (acr__counts){hidden, all};
    }
    acr__texts *names = &cfg->model_names;
    FAIL_IF(names->count && names->count != hidden + 1, ctx, ACR_E_CONFIG, "%s: has %d names for %d linear layers",
            acr__config_where(cfg, ACR__OPT_model_names), names->count, hidden + 1);
    for (int i = 0; i < names->count; i++)
        for (int k = 0; k < i; k++)
            FAIL_IF(strcmp(names->item[i], names->item[k]) == 0, ctx, ACR_E_CONFIG, "%s: has %s twice",
                    acr__config_where(cfg, ACR__OPT_model_names), acr__show(names->item[i]).text);
    return ACR_OK;
}

static acr_status check_model(acr__config *cfg)
{
    acr_context *ctx = cfg->ctx;
    FAIL_IF(cfg->model_init_prefix && !cfg->model_init_from, ctx, ACR_E_CONFIG,
            "%s: has no meaning without model.init_from; add it, or remove this",
            acr__config_where(cfg, ACR__OPT_model_init_prefix));
    FAIL_IF(cfg->trainable.count == 0, ctx, ACR_E_CONFIG, "%s: nothing would be trained; leave it out to train all",
            acr__config_where(cfg, ACR__OPT_trainable));
    return acr__config_is_language(cfg) ? ACR_OK : check_layers(cfg);
}
/* The formats that are sequences of tokens are those of language models. */
static acr_status check_format(acr__config *cfg, int option)
{
    bool language = acr__config_is_language(cfg);
    const char *const fits = language ? "safetensors|tokens|text|jsonl|kjv" : "idx|npy|safetensors|normal";
    if (acr__option_is(cfg, option, fits))
        return ACR_OK;
    acr__buffer model = {.ctx = cfg->ctx};
    char wanted[96];
    acr__option_format(cfg, ACR__OPT_model_type, ACR__STYLE_TEXT, &model);
    tell_words(fits, wanted, sizeof wanted);
    acr_status status = model.status;
    if (status == ACR_OK)
        status = acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: is no data for model.type: %s; choose %s",
                           acr__config_where(cfg, option), model.text, wanted);
    acr__buffer_free(&model);
    return status;
}

/* first: the section's format; the six others follow in the order of the table. */
static acr_status check_data(acr__config *cfg, int first, const char *section)
{
    enum { PATH = 1, INPUT, TARGET, WEIGHT, SAMPLES, SEED };
    bool language = acr__config_is_language(cfg);
    for (int i = first; i <= first + SEED; i++)
        if (!acr__config_given(cfg, first) && acr__config_given(cfg, i))
            return missing(cfg, first, language ? "the kind of data: text, jsonl, tokens, kjv or safetensors"
                                                : "the kind of file: idx, npy, safetensors or normal");
    if (!acr__config_given(cfg, first))
        return ACR_OK;
    TRY(check_format(cfg, first));
    char example[96];
    bool safetensors = acr__option_is(cfg, first, "safetensors");
    if (acr__config_used(cfg, first + PATH) && !acr__config_given(cfg, first + PATH)) {
        snprintf(example, sizeof example, "path: FILE%s under %s", safetensors ? ".safetensors" : "", section);
        return missing(cfg, first + PATH, example);
    }
    FAIL_IF(language && acr__config_given(cfg, first + WEIGHT), cfg->ctx, ACR_E_CONFIG,
            "%s: tokens have no weights; a target of -100 leaves one out", acr__config_where(cfg, first + WEIGHT));
    for (int i = INPUT; i <= TARGET; i++) {
        if (!acr__config_used(cfg, first + i) || acr__config_given(cfg, first + i))
            continue;
        const char *leaf = i == INPUT ? "input" : "target";
        snprintf(example, sizeof example, "%s: %s under %s", leaf, safetensors ? "NAME (of a tensor)" : "FILE",
                 section);
        return missing(cfg, first + i, example);
    }
    bool normal = acr__option_is(cfg, first, "normal");
    if (normal && *(int64_t *)acr__option_at(cfg, first + SAMPLES) == 0) {
        snprintf(example, sizeof example, "samples: 100 under %s, how many to make", section);
        return missing(cfg, first + SAMPLES, example);
    }
    return ACR_OK;
}

bool acr__config_split_matters(const acr__config *cfg)
{
    return cfg->loss_reduction == ACR_MEAN_OF_MICRO_BATCHES || cfg->loss_reduction == ACR_SUM_OF_MICRO_BATCH_MEANS;
}

static acr_status check_classes(acr__config *cfg)
{
    if (!acr__config_used(cfg, ACR__OPT_class_weights) || cfg->class_weights.count == 0)
        return ACR_OK;
    const char *where = acr__config_where(cfg, ACR__OPT_class_weights);
    FAIL_IF(acr__config_is_language(cfg), cfg->ctx, ACR_E_CONFIG, "%s: tokens have no weights; leave it out", where);
    int64_t outputs = cfg->model_layers.item[cfg->model_layers.count - 1];
    FAIL_IF(cfg->class_weights.count != outputs, cfg->ctx, ACR_E_CONFIG,
            "%s: has %d weights for %lld classes (the last of model.layers)", where, cfg->class_weights.count,
            (long long)outputs);
    return ACR_OK;
}

static acr_status check_loss(acr__config *cfg)
{
    FAIL_IF(acr__config_is_language(cfg) && cfg->loss != ACR__LOSS_CROSS_ENTROPY, cfg->ctx, ACR_E_CONFIG,
            "%s: language models learn by cross_entropy; leave it out", acr__config_where(cfg, ACR__OPT_loss));
    TRY(check_classes(cfg));
    FAIL_IF(acr__config_is_language(cfg) && cfg->ignore_index != -100, cfg->ctx, ACR_E_CONFIG,
            "%s: the target of a token that is not learned is -100; leave it out",
            acr__config_where(cfg, ACR__OPT_ignore_index));
    bool by_split = acr__config_split_matters(cfg);
    FAIL_IF(by_split && cfg->micro_batch_size == 0, cfg->ctx, ACR_E_CONFIG,
            "%s: depends on the split, so micro_batch_size has to be a number; add it, or use mean",
            acr__config_where(cfg, ACR__OPT_loss_reduction));
    if (by_split)
        TRY(acr__config_note(cfg, "%s: the update depends on micro_batch_size by definition; mean does not",
                             acr__config_where(cfg, ACR__OPT_loss_reduction)));
    return ACR_OK;
}

/* A tenth of what the warm-up leaves of the run, as decay_steps takes it. */
static void tell_decay(const acr__config *cfg, char *out, size_t size)
{
    acr__horizon run = cfg->max_steps, up = cfg->warmup_steps;
    if (run.unit == ACR__UNIT_AUTO)
        run = (acr__horizon){cfg->num_train_epochs, ACR__UNIT_EPOCHS};
    double rest = up.unit == run.unit && up.count < run.count ? run.count - up.count : run.count;
    char number[32];
    acr__real_format(run.unit == ACR__UNIT_EPOCHS ? rint(rest * 1e6) / 1e7 : fmax(1, floor(rest / 10)), number);
    snprintf(out, size, "%s%s", number,
             run.unit == ACR__UNIT_EPOCHS ? "e" : run.unit == ACR__UNIT_TOKENS ? "t" : "");
}

static acr_status check_optimizer(acr__config *cfg)
{
    FAIL_IF(cfg->optimizer == ACR_SGD && cfg->nesterov && (cfg->momentum == 0 || cfg->dampening != 0), cfg->ctx,
            ACR_E_CONFIG, "%s: needs momentum above 0 and dampening 0", acr__config_where(cfg, ACR__OPT_nesterov));
    if (cfg->lr_scheduler_type != ACR_WSD || cfg->decay_steps.unit != ACR__UNIT_AUTO)
        return ACR_OK;
    char decay[48];
    tell_decay(cfg, decay, sizeof decay);
    return acr__fail(cfg->ctx, ACR_E_CONFIG,
                     "%s: wsd needs decay_steps, the updates at the end in which the rate falls; add decay_steps: %s",
                     acr__config_where(cfg, ACR__OPT_lr_scheduler_type), decay);
}

/* max_steps wins over num_train_epochs within a layer; a higher layer's epochs
 * displace a lower one's max_steps. */
static acr_status check_length(acr__config *cfg)
{
    acr__origin *steps = &cfg->origin[ACR__OPT_max_steps], *epochs = &cfg->origin[ACR__OPT_num_train_epochs];
    bool has_steps = cfg->max_steps.unit != ACR__UNIT_AUTO, has_epochs = cfg->num_train_epochs > 0;
    if (has_steps && has_epochs && epochs->layer > steps->layer) {
        TRY(acr__config_note(cfg, "%s: is displaced by num_train_epochs", acr__config_where(cfg, ACR__OPT_max_steps)));
        cfg->max_steps = (acr__horizon){0, ACR__UNIT_AUTO};
        *steps = (acr__origin){ACR__LAYER_DEFAULT, 0, 0};
    }
    if (!has_steps && !has_epochs)
        return missing(cfg, ACR__OPT_num_train_epochs, "num_train_epochs: 10, or max_steps: 1000");
    return ACR_OK;
}

/* data.eval and a part of data.train: one of them, the one that a higher layer says. */
static acr_status check_evaluation(acr__config *cfg)
{
    acr__origin *split = &cfg->origin[ACR__OPT_data_validation_split], *set = &cfg->origin[ACR__OPT_data_eval_format];
    if (cfg->data_validation_split == 0 || set->layer == ACR__LAYER_DEFAULT)
        return ACR_OK;
    const char *where = acr__config_where(cfg, ACR__OPT_data_validation_split);
    FAIL_IF(split->layer >= set->layer, cfg->ctx, ACR_E_CONFIG,
            "%s: data.eval is the evaluation set already; leave one of the two out", where);
    return acr__config_note(cfg, "%s: the evaluation set is %s", where, acr__config_where(cfg, ACR__OPT_data_eval_format));
}

/* Where ids come from, and what is kept for evaluation. */
static acr_status check_language(acr__config *cfg)
{
    acr_context *ctx = cfg->ctx;
    if (!acr__config_is_language(cfg))
        return ACR_OK;
    FAIL_IF(cfg->data_tokenizer && cfg->data_learn_tokenizer, ctx, ACR_E_CONFIG,
            "%s: data.tokenizer names one already; leave one of the two out",
            acr__config_where(cfg, ACR__OPT_data_learn_tokenizer));
    bool reads_text = acr__option_is(cfg, ACR__OPT_data_train_format, "text|jsonl|kjv");
    FAIL_IF(reads_text && !cfg->data_tokenizer && !cfg->data_learn_tokenizer && cfg->model_type != ACR__MODEL_HF, ctx,
            ACR_E_CONFIG, "%s: text needs a tokenizer: add tokenizer: FILE.json under data, or learn_tokenizer: 4096",
            acr__config_where(cfg, ACR__OPT_data_train_format));
    FAIL_IF(cfg->data_learn_tokenizer && !reads_text, ctx, ACR_E_CONFIG,
            "%s: a tokenizer is learned from text; data.train is not",
            acr__config_where(cfg, ACR__OPT_data_learn_tokenizer));
    return check_evaluation(cfg);
}

/* Lengths in tokens are for data that is made of them. */
static acr_status check_horizons(acr__config *cfg)
{
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        bool horizon = acr__option_get(i)->type == ACR__HORIZON;
        const acr__horizon *h = acr__option_at(cfg, i);
        FAIL_IF(horizon && h->unit == ACR__UNIT_TOKENS && !acr__config_is_language(cfg), cfg->ctx, ACR_E_CONFIG,
                "%s: counts tokens, and this model's samples have none; write updates (500) or epochs (2e)",
                acr__config_where(cfg, i));
    }
    return ACR_OK;
}

static acr_status check_output(acr__config *cfg)
{
    acr_context *ctx = cfg->ctx;
    FAIL_IF(strchr(cfg->name, '/') || cfg->name[0] == '.', ctx, ACR_E_CONFIG,
            "%s: '%s' can't name a folder; use letters, digits, - and _", acr__config_where(cfg, ACR__OPT_name),
            acr__show(cfg->name).text);
    if (!cfg->load_best_model_at_end)
        return ACR_OK;
    bool evaluates = acr__config_given(cfg, ACR__OPT_data_eval_format) || cfg->data_validation_split > 0;
    FAIL_IF(!evaluates || cfg->eval_steps.count == 0, ctx, ACR_E_CONFIG,
            "%s: needs data.eval (or data.validation_split) and eval_steps above 0, for best is told by evaluations",
            acr__config_where(cfg, ACR__OPT_load_best_model_at_end));
    FAIL_IF(cfg->metric_for_best_model == ACR__METRIC_ACCURACY && cfg->loss != ACR__LOSS_CROSS_ENTROPY, ctx,
            ACR_E_CONFIG, "%s: accuracy comes with loss: cross_entropy only; use loss",
            acr__config_where(cfg, ACR__OPT_metric_for_best_model));
    return ACR_OK;
}

acr_status acr__config_validate(acr__config *cfg)
{
    TRY(check_required(cfg));
    if (acr__config_is_language(cfg) && !acr__config_given(cfg, ACR__OPT_loss))
        cfg->loss = ACR__LOSS_CROSS_ENTROPY;
    TRY(check_data(cfg, ACR__OPT_data_train_format, "data.train"));
    TRY(check_data(cfg, ACR__OPT_data_eval_format, "data.eval"));
    TRY(check_unused(cfg));
    TRY(check_model(cfg));
    TRY(check_loss(cfg));
    TRY(check_language(cfg));
    TRY(check_horizons(cfg));
    TRY(check_length(cfg));
    TRY(check_optimizer(cfg));
    return check_output(cfg);
}
