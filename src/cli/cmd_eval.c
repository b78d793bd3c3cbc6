/* cmd_eval.c: accrue eval RUN: the loss and accuracy of a run's model on its
 * evaluation set, or on the one that flags name. It reads the run folder and
 * writes nothing there. */
#include "cli/memory.h"
#include "io/file.h"

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
    const char *format = acr__file_kind(file) == 2 ? "text" : NULL;
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

/* The flags with those that --data stands for behind them; in `more`, of two places more. */
static acr_status flags_with_data(acr__cli *cli, acr__flags *flags, acr__flag *more)
{
    const char *data = cli->flags.switch_value[0];
    *flags = cli->flags;
    if (!data)
        return ACR_OK;
    if (flags->count)
        memcpy(more, flags->item, (size_t)flags->count * sizeof *more);
    TRY(name_data(cli, data, more + flags->count));
    flags->item = more;
    flags->count += 2;
    return ACR_OK;
}

static acr_status load_config(acr__cli *cli, const char *run, acr__config **cfg)
{
    char path[4400];
    snprintf(path, sizeof path, "%.4096s/resolved.yaml", run);
    FAIL_IF(acr__file_kind(path) != 1, cli->ctx, acr__file_kind(run) ? ACR_E_DATA : ACR_E_CONFIG,
            "%s: %s; give the folder of a run, as accrue train names it", run,
            acr__file_kind(run) ? "has no resolved.yaml, so it is no run folder" : "there is no such folder");
    acr__flag *more = acr__alloc(cli->ctx, ((size_t)cli->flags.count + 2) * sizeof *more);
    if (!more)
        return ACR_E_NO_MEMORY;
    acr__flags flags;
    acr_status status = flags_with_data(cli, &flags, more);
    acr__config_opts opts = {.recipe = path, .flags = &flags, .environment = environ};
    if (status == ACR_OK)
        status = acr__config_load(cli->ctx, cfg, &opts);
    acr__free(cli->ctx, more);
    return status;
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

static acr_status evaluate(acr__setup *s, const char *path, acr_eval *e)
{
    acr_status status = acr_model_load(s->trainer, path, NULL);
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

static acr_status run(acr__cli *cli, acr__setup *s, acr__config *cfg, const char *folder)
{
    char path[4400];
    acr_eval e = ACR_EVAL_INIT;
    TRY(acr__run_unfinished(cli->ctx, folder));
    snprintf(path, sizeof path, "%.4096s/model.safetensors", folder);
    FAIL_IF(acr__file_kind(path) != 1, cli->ctx, ACR_E_DATA, "%s: the model of the run is not there", path);
    TRY(acr__setup_begin_eval(s, cli, cfg, folder));
    acr_status status = read_normalization(s, path);
    TRY(acr__cli_told(cli, s->ctx, status));
    TRY(acr__setup_plan(s));
    TRY(acr__setup_open(s));
    TRY(acr__setup_trainer(s));
    if (!acr__config_data(cfg, true).present && cfg->data_validation_split == 0)
        acr__say(cli, "note: the run has no data.eval; this is its training set");
    TRY(evaluate(s, path, &e));
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
                                  "RUN is the folder of a finished run. Another set: --data, or --data.eval.format\n"
                                  "and so on.\n"};
    bool go;
    acr__config *cfg = NULL;
    acr__setup s = {0};
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    TRY(load_config(cli, cli->flags.positional[0], &cfg));
    acr_status status = run(cli, &s, cfg, cli->flags.positional[0]);
    acr__setup_end(&s);
    acr__config_free(cfg);
    return status;
}
