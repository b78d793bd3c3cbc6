/* cmd_train.c: accrue train. The order of what may be refused:
 *
 *     recipe -> where the run goes -> data headers, graph -> plan, memory_limit
 *     -> data -> folder and lock -> training
 *
 * so that nothing is written before memory is known to suffice, and no run
 * folder is made for data that is bad. */
#include "cli/language.h"
#include "cli/memory.h"
#include "cli/train_run.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the banner -------------------------------------------------------------------- */
static void tell_batch(const acr__setup *s)
{
    char count[4][ACR__SHORT];
    int64_t steps = (s->effective + s->micro_batch - 1) / s->micro_batch, tail = s->train_info.samples % s->effective;
    acr__count_text(s->effective, count[0]);
    acr__count_text(s->micro_batch, count[1]);
    acr__count_text(s->train_info.samples, count[2]);
    acr__count_text(s->windows, count[3]);
    acr__say(s->cli, "batch    effective %s = micro %s x %lld steps%s (%s)", count[0], count[1], (long long)steps,
             s->effective % s->micro_batch ? ", the last one smaller" : "", s->why);
    acr__say(s->cli, "length   %s %s, %lld update%s an epoch, %s in all", count[2],
             s->language ? "sequences" : "samples", (long long)s->epoch.windows,
             s->epoch.windows == 1 ? "" : "s", count[3]);
    if (tail && s->cfg->last_window == ACR__LAST_STEP)
        acr__say(s->cli, "         the last window of an epoch has %lld samples, divided by its own weight",
                 (long long)tail);
    else if (tail)
        acr__say(s->cli, "         the last %lld samples of an epoch are dropped", (long long)tail);
}

static void tell_model(const acr__setup *s)
{
    const acr__config *cfg = s->cfg;
    char count[ACR__SHORT], text[ACR__LANGUAGE_TEXT];
    if (s->language) {
        fprintf(stderr, "model    %s: %s", cfg->name, acr__language_tell(&s->lm, text));
    } else {
        fprintf(stderr, "model    %s: mlp ", cfg->name);
        for (int i = 0; i < cfg->model_layers.count; i++)
            fprintf(stderr, "%s%lld", i ? "-" : "", (long long)cfg->model_layers.item[i]);
    }
    fprintf(stderr, ", %s parameters%s\n", acr__count_text(s->parameters, count),
            cfg->dtype == ACR__DTYPE_BFLOAT16 ? ", products in bfloat16" : "");
}

static void print_banner(const acr__setup *s, const acr__run_folder *folder)
{
    const acr__cli *cli = s->cli;
    char time[ACR__SHORT];
    if (cli->flags.quiet)
        return;
    tell_model(s);
    tell_batch(s);
    acr__say(cli, "machine  %d thread%s, %s, numerics %d", acr_context_threads(s->ctx),
             acr_context_threads(s->ctx) == 1 ? "" : "s", acr_context_isa(s->ctx), acr_numerics());
    acr__say(cli, "memory");
    acr__memory_print(s, stderr);
    if (s->window_seconds > 0)
        acr__say(cli, "time     about %s", acr__time_text(s->window_seconds * (double)s->windows, time));
    acr__say(cli, "recipe   %s", folder->recipe_hash);
    acr__say(cli, "run      %s", folder->path);
}

/* ---- the steps ------------------------------------------------------------------------ */
static acr_status load_config(acr__cli *cli, acr__config **cfg)
{
    acr__config_opts opts = {.recipe = cli->flags.positional[0], .flags = &cli->flags, .environment = environ};
    TRY(acr__config_load(cli->ctx, cfg, &opts));
    for (int i = 0; i < (*cfg)->notes.count; i++)
        acr__say(cli, "note: %s", (*cfg)->notes.item[i]);
    return ACR_OK;
}

static acr_status write_resolved(acr__setup *s, acr__run_folder *folder)
{
    char path[ACR__PATH_BYTES];
    const char *text;
    TRY(acr__cli_told(s->cli, s->cfg->ctx, acr__config_yaml(s->cfg, folder->history, &text)));
    return acr__file_put(folder->ctx, acr__inside(folder->path, "resolved.yaml", path), text, strlen(text));
}

/* From the folder to the first update. */
static acr_status begin_run(acr__train_run *run, acr__cli *cli, acr__setup *s, acr__run_folder *folder)
{
    acr_checkpoint *from = NULL;
    acr__texts changes = {0};
    acr_clock clock;
    bool exists = acr__file_kind(folder->path) == 2;
    if (exists) /* else nothing is created before the checkpoint has been compared */
        TRY(acr__run_folder_take(folder, s->cfg));
    TRY(acr__run_checkpoint_open(folder, s->cfg, &from, &changes));
    if (from && *acr_checkpoint_note(from))
        acr__warn(cli, "%s", acr_checkpoint_note(from));
    for (int i = 0; i < changes.count; i++)
        acr__say(cli, "note: %s", changes.item[i]);
    acr_status status = acr__setup_trainer(s); /* may refuse init_from: so before anything is written */
    if (status == ACR_OK && !exists)
        status = acr__run_folder_take(folder, s->cfg);
    if (status == ACR_OK)
        status = write_resolved(s, folder);
    if (status == ACR_OK && s->language)
        status = acr__language_keep(s, folder->path);
    if (status != ACR_OK) {
        acr_checkpoint_close(from);
        return status;
    }
    if (from) {
        acr_checkpoint_clock(from, &clock);
        acr__say(cli, "resume   %s, after update %lld", acr_checkpoint_path(from), (long long)clock.updates);
    } else if (folder->resume) {
        acr__say(cli, "resume   there is no checkpoint in %s: from the beginning", folder->checkpoints);
    }
    return acr__train_run_begin(run, cli, s, folder, from);
}

/* Samples, or tokens where samples are made of them, a second. */
static double rate_of(const acr__train_run *run)
{
    double each = run->s->language ? run->progress.sample_tokens : 1;
    return run->seconds > 0 ? (double)run->progress.samples * each / run->seconds : 0;
}

static acr_status print_result(acr__cli *cli, const acr__train_run *run, const char *record)
{
    char rate[ACR__SHORT], peak[ACR__SHORT];
    if (cli->flags.json)
        fputs(record, stdout);
    if (run) {
        acr__say(cli, "done     loss %.6g, %s %s/s, peak %s; %s/model.safetensors", run->state.last_loss,
                 acr__count_text((int64_t)rate_of(run), rate), run->s->language ? "tokens" : "samples",
                 acr__bytes_text(acr__memory_peak(), peak), run->folder->path);
    }
    return ACR_OK;
}

static acr_status train_all(acr__cli *cli, acr__setup *s, acr__run_folder *folder)
{
    acr__train_run run = {0};
    char *record = NULL;
    int signal = 0;
    acr_status status = begin_run(&run, cli, s, folder);
    if (status == ACR_OK)
        status = acr__train_run_go(&run, &signal);
    if (status == ACR_OK)
        status = acr__train_run_skipped(&run);
    if (status == ACR_OK)
        status = acr__train_run_finish(&run, &record);
    if (status == ACR_OK)
        print_result(cli, &run, record);
    acr__train_run_end(&run);
    free(record);
    if (status == ACR_E_CANCELLED && signal) {
        cli->exit_code = signal == SIGINT ? 130 : 75;
        return ACR_OK;
    }
    return status;
}

static acr_status run_setup(acr__cli *cli, acr__setup *s, acr__config *cfg, acr__run_folder *folder)
{
    char *record = NULL;
    TRY(acr__run_folder_resolve(folder, cli->ctx, cfg));
    TRY(acr__setup_begin(s, cli, cfg, NULL, 0));
    if (folder->resume)
        TRY(acr__run_record_read(folder, cfg, s->windows, &record));
    if (record) {
        acr__say(cli, "%s is finished", folder->path);
        if (cli->flags.json)
            printf("%s\n", record);
        free(record);
        return ACR_OK;
    }
    TRY(acr__setup_plan(s));
    TRY(acr__setup_open(s));
    folder->ctx = s->ctx;
    if (s->train_tokens) {
        acr__data_print print;
        acr__tokens_print(s->train_tokens, &print);
        memcpy(folder->data, print.hash, sizeof folder->data);
    } else {
        TRY(acr__cli_told(cli, s->ctx, acr__dataset_mark(s->train_set, folder->data)));
    }
    TRY(acr__cli_told(cli, s->ctx, acr__train_sample_check(s)));
    print_banner(s, folder);
    if (cfg->effective_batch_size > s->train_info.samples)
        acr__warn(cli,
                  "effective_batch_size %lld is more than the %lld samples there are: an update is the whole epoch",
                  (long long)cfg->effective_batch_size, (long long)s->train_info.samples);
    return acr__cli_told(cli, s->ctx, train_all(cli, s, folder));
}

acr_status acr__cmd_train(acr__cli *cli)
{
    const acr__usage usage = {.uses = ACR__FOR_TRAIN, .least = 1, .most = 1};
    bool go;
    acr__config *cfg = NULL;
    acr__setup s = {0};
    acr__run_folder folder = {0};
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    TRY(load_config(cli, &cfg));
    acr_status status = run_setup(cli, &s, cfg, &folder);
    acr__run_folder_release(&folder);
    acr__setup_end(&s);
    acr__config_free(cfg);
    return status;
}
