/* cmd_eval.c: accrue eval RUN: the loss and accuracy of a run's model on its
 * evaluation set, or on the one that flags name. RUN may also be a folder as
 * transformers writes it. It reads the folder and writes nothing there. */
#include "cli/memory.h"
#include "io/file.h"
#include "io/hf.h"

#include <accrue/accrue_io.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What --data FILE stands for: the format by the file's ending, and the path. */
static acr_status name_data(acr__cli *cli, const char *file, acr__flag out[2])
{
    static const struct {
        const char *ending, *format;
    } known[] = {{".txt", "text"}, {".jsonl", "jsonl"}, {".tok", "tokens"}};
    const char *dot = strrchr(file, '.');
    int kind = acr__file_kind(file);
    FAIL_IF(kind == 0, cli->ctx, ACR_E_DATA, "--data %s: there is no such file or folder", file);
    const char *format = kind == 2 ? "text" : NULL;
    for (size_t i = 0; dot && i < sizeof known / sizeof *known; i++)
        if (strcmp(dot, known[i].ending) == 0)
            format = known[i].format;
    FAIL_IF(!format, cli->ctx, ACR_E_CONFIG,
            "--data %s: a file that ends in .txt, .jsonl or .tok, or a folder of texts, is wanted; other data is named "
            "by --data.eval.format and the options beside it",
            file);
    out[0] = (acr__flag){ACR__OPT_data_eval_format, "data", format};
    out[1] = (acr__flag){ACR__OPT_data_eval_path, "data", file};
    return ACR_OK;
}

/* The recipe of a model that nobody trains here: what a recipe must have, none of
 * which says anything about an evaluation but the first line. */
static const char no_recipe[] = "model: {type: hf}\n"
                                "data: {train: {format: kjv}}\n"
                                "optimizer: sgd\n"
                                "learning_rate: 0\n"
                                "effective_batch_size: 1099511627776\n"
                                "num_train_epochs: 1\n";

static acr_status read_config(acr__cli *cli, const char *folder, bool hf, const acr__flags *flags, acr__config **cfg)
{
    char path[ACR__PATH_BYTES];
    acr__config_opts opts = {.recipe = acr__inside(folder, "resolved.yaml", path), .flags = flags, .environment = environ};
    if (hf)
        return acr__config_parse(cli->ctx, cfg, folder, folder, no_recipe, sizeof no_recipe - 1, &opts);
    return acr__config_load(cli->ctx, cfg, &opts);
}

/* The command line's flags, and behind them what --data and a model's folder stand for. */
static acr_status load_config(acr__cli *cli, const char *folder, bool hf, acr__config **cfg)
{
    const char *data = cli->flags.switch_value[0];
    acr__flags flags = cli->flags;
    flags.item = acr__alloc(cli->ctx, ((size_t)flags.count + 3) * sizeof *flags.item);
    if (!flags.item)
        return ACR_E_NO_MEMORY;
    if (flags.count)
        memcpy(flags.item, cli->flags.item, (size_t)flags.count * sizeof *flags.item);
    if (hf)
        flags.item[flags.count++] = (acr__flag){ACR__OPT_model_path, "model.path", folder};
    acr_status status = data ? name_data(cli, data, flags.item + flags.count) : ACR_OK;
    flags.count += data ? 2 : 0;
    if (status == ACR_OK)
        status = read_config(cli, folder, hf, &flags, cfg);
    acr__free(cli->ctx, flags.item);
    return status;
}

/* *hf: not a run's folder but one of a model as transformers writes it. */
static acr_status look_at_folder(acr_context *ctx, const char *folder, bool *hf)
{
    *hf = false;
    FAIL_IF(acr__file_kind(folder) == 0, ctx, ACR_E_CONFIG,
            "%s: there is no such folder; give the folder of a run, as accrue train names it, or of a model with "
            "config.json",
            folder);
    if (acr__has(folder, "resolved.yaml"))
        return acr__run_model_check(ctx, folder);
    *hf = acr__has(folder, "config.json");
    FAIL_IF(!*hf, ctx, ACR_E_DATA,
            "%s: has neither resolved.yaml, which a run has, nor config.json, which a model of transformers has",
            folder);
    return ACR_OK;
}

/* What the inputs of training went through is kept with the model. */
static acr_status read_normalization(acr__setup *s, const char *path)
{
    acr_st *st;
    TRY(acr_st_open(&st, s->ctx, path));
    const char *mean = acr_st_metadata(st, "accrue.mean"), *deviation = acr_st_metadata(st, "accrue.deviation");
    if (mean && deviation) {
        s->mean = strtod(mean, NULL);
        s->deviation = strtod(deviation, NULL);
    }
    acr_st_close(st);
    return ACR_OK;
}

static acr_status load_weights(acr__setup *s, const char *folder, bool hf)
{
    char path[ACR__PATH_BYTES];
    return hf ? acr__lm_weights_load(s->trainer, folder)
              : acr_model_load(s->trainer, acr__inside(folder, "model.safetensors", path), NULL);
}

static acr_status evaluate(acr__setup *s, const char *folder, bool hf, acr_eval *e)
{
    acr_status status = load_weights(s, folder, hf);
    if (status == ACR_OK)
        status = acr_evaluate(s->trainer, &s->eval_source, s->eval_info.samples, e);
    return acr__cli_told(s->cli, s->ctx, status);
}

static void print(const acr__cli *cli, const acr__setup *s, const acr_eval *e)
{
    if (!cli->flags.json) {
        printf("loss %.6g", e->loss);
        if (s->language)
            printf(", perplexity %.6g", exp(e->loss));
        if (!isnan(e->accuracy))
            printf(", accuracy %.4f", e->accuracy);
        if (s->language)
            printf(", %lld tokens in %lld sequences\n", (long long)e->weight, (long long)e->samples);
        else
            printf(", %lld samples\n", (long long)e->samples);
        return;
    }
    acr__json j = {.f = stdout};
    acr__json_object(&j, NULL);
    acr__json_f64(&j, "loss", e->loss);
    acr__json_f64(&j, "accuracy", e->accuracy);
    if (s->language)
        acr__json_f64(&j, "perplexity", exp(e->loss));
    acr__json_i64(&j, "samples", e->samples);
    acr__json_f64(&j, "weight", e->weight);
    acr__json_i64(&j, "micro_batch_size", s->micro_batch);
    acr__json_i64(&j, "planned_bytes", s->planned_bytes);
    acr__json_i64(&j, "peak_rss_bytes", acr__memory_peak());
    acr__json_end(&j);
}

static acr_status run(acr__cli *cli, acr__setup *s, acr__config *cfg, const char *folder, bool hf)
{
    char path[ACR__PATH_BYTES];
    acr_eval e = ACR_EVAL_INIT;
    bool own = acr__config_data(cfg, true).present;
    FAIL_IF(hf && !own, cli->ctx, ACR_E_CONFIG,
            "%s: a model has no evaluation set of its own; name one, as --data FILE", folder);
    acr__inside(folder, "model.safetensors", path);
    FAIL_IF(!hf && acr__file_kind(path) != 1, cli->ctx, ACR_E_DATA, "%s: the model of the run is not there", path);
    TRY(acr__setup_begin_eval(s, cli, cfg, hf ? NULL : folder));
    if (!hf)
        TRY(acr__cli_told(cli, s->ctx, read_normalization(s, path)));
    TRY(acr__setup_plan(s));
    TRY(acr__setup_open(s));
    TRY(acr__setup_trainer(s));
    if (!own && cfg->data_validation_split == 0)
        acr__say(cli, "note: the run has no data.eval; this is its training set");
    TRY(evaluate(s, folder, hf, &e));
    print(cli, s, &e);
    return ACR_OK;
}

acr_status acr__cmd_eval(acr__cli *cli)
{
    static const acr__switch switches[] = {{"data", "FILE", "another set: text (.txt), .jsonl or .tok, by its ending"}};
    const acr__usage usage = {.uses = ACR__FOR_EVAL,
                              .switch_count = 1,
                              .switches = switches,
                              .least = 1,
                              .most = 1,
                              .text =
                                  "RUN is the folder of a finished run, or one with config.json, model.safetensors\n"
                                  "and tokenizer.json. Another set: --data, or --data.eval.format and so on.\n"};
    bool go, hf;
    const char *folder;
    acr__config *cfg = NULL;
    acr__setup s = {0};
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    folder = cli->flags.positional[0];
    TRY(look_at_folder(cli->ctx, folder, &hf));
    TRY(load_config(cli, folder, hf, &cfg));
    acr_status status = run(cli, &s, cfg, folder, hf);
    acr__setup_end(&s);
    acr__config_free(cfg);
    return status;
}
