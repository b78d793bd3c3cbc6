/* cmd_eval.c: accrue eval RUN: the loss and accuracy of a run's model on its
 * evaluation set, or on the one that flags name. It reads the run folder and
 * writes nothing there. */
#include "cli/memory.h"
#include "io/file.h"

#include <accrue/accrue_io.h>
#include <math.h>
#include <stdlib.h>

static acr_status load_config(acr__cli *cli, const char *run, acr__config **cfg)
{
    char path[4400];
    snprintf(path, sizeof path, "%.4096s/resolved.yaml", run);
    FAIL_IF(acr__file_kind(path) != 1, cli->ctx, acr__file_kind(run) ? ACR_E_DATA : ACR_E_CONFIG,
            "%s: %s; give the folder of a run, as accrue train names it", run,
            acr__file_kind(run) ? "has no resolved.yaml, so it is no run folder" : "there is no such folder");
    acr__config_opts opts = {.recipe = path, .flags = &cli->flags, .environment = environ};
    return acr__config_load(cli->ctx, cfg, &opts);
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
        if (!isnan(e->accuracy))
            printf(", accuracy %.4f", e->accuracy);
        printf(", %lld samples\n", (long long)e->samples);
        return;
    }
    acr__json j = {.f = stdout};
    acr__json_object(&j, NULL);
    acr__json_f64(&j, "loss", e->loss);
    acr__json_f64(&j, "accuracy", e->accuracy);
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
    snprintf(path, sizeof path, "%.4096s/model.safetensors", folder);
    FAIL_IF(
        acr__file_kind(path) != 1, cli->ctx, ACR_E_DATA,
        "%s: there is no model; the run is not finished: accrue train --resume_from_checkpoint auto --output_dir %s",
        path, folder);
    TRY(acr__setup_begin_eval(s, cli, cfg));
    acr_status status = read_normalization(s, path);
    TRY(acr__cli_told(cli, s->ctx, status));
    TRY(acr__setup_plan(s));
    TRY(acr__setup_open(s));
    TRY(acr__setup_trainer(s));
    if (!acr__config_data(cfg, true).present)
        acr__say(cli, "note: the run has no data.eval; this is its training set");
    TRY(evaluate(s, path, &e));
    print(cli, s, &e);
    return ACR_OK;
}

acr_status acr__cmd_eval(acr__cli *cli)
{
    const acr__usage usage = {.uses = ACR__FOR_EVAL,
                              .least = 1,
                              .most = 1,
                              .text =
                                  "RUN is the folder of a finished run. Another set: --data.eval.format and so on.\n"};
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
