/* train_finish.c: what a finished run leaves: the model, how to use it, the
 * receipt. Each file appears whole; receipt.json, which says that the run is
 * finished, is the last one that matters. */
#include "cli/memory.h"
#include "cli/train_run.h"
#include "io/hf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* Larger data sets are not read once more for their hash. */
static const int64_t HASHED_BYTES = INT64_C(1) << 30;

typedef struct result {
    char hash[ACR_HASH_TEXT];
    acr_clock clock;
    int threads;
    char isa[16];
} result;

static acr_status save_model(acr__train_run *r, result *out)
{
    static const char *const keys[] = {"accrue.mean", "accrue.deviation"};
    char path[ACR__PATH_BYTES], numbers[2][ACR_NUMBER_TEXT];
    const char *const values[] = {numbers[0], numbers[1]};
    acr_trainer *t = r->s->trainer;
    acr__number_f64(r->s->mean, numbers[0]);
    acr__number_f64(r->s->deviation, numbers[1]);
    acr_model_opts opts = ACR_MODEL_OPTS_INIT;
    opts.metadata_count = r->s->language ? 0 : 2;
    opts.metadata_keys = keys;
    opts.metadata_values = values;
    TRY(acr_clock_get(t, &out->clock));
    bool best = r->s->cfg->load_best_model_at_end && r->state.best_step;
    if (best && !acr__run_best_there(r->folder, r->state.best_step)) {
        acr__warn(r->cli, "the checkpoint of the best model, window %lld, is gone: model.safetensors has the last weights",
                  (long long)r->state.best_step);
        r->state.best_step = 0;
    } else if (best) {
        TRY(acr__run_best_restore(r->folder, t, r->state.best_step));
    }
    snprintf(path, sizeof path, "%s/model.safetensors", r->folder->path);
    TRY(acr_model_save(t, path, &opts));
    return acr_weights_hash(t, out->hash);
}

/* The architecture in config.json's words, under the name "model". */
static acr_status describe_language(acr__json *j, const acr__setup *s)
{
    json_t *model;
    TRY(acr__lm_to_json(s->ctx, &s->lm, &model));
    char *text = json_dumps(model, JSON_INDENT(0) | JSON_REAL_PRECISION(17));
    json_decref(model);
    FAIL_IF(!text, s->ctx, ACR_E_NO_MEMORY, "memory is short for the model's description");
    acr__json_raw(j, "model", text);
    free(text);
    return ACR_OK;
}

static void describe_layers(acr__json *j, const acr__config *cfg)
{
    static const char *const activation[] = {"relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"};
    acr__json_object(j, "model");
    acr__json_text(j, "type", "mlp");
    acr__json_array(j, "layers");
    for (int i = 0; i < cfg->model_layers.count; i++)
        acr__json_i64(j, NULL, cfg->model_layers.item[i]);
    acr__json_end(j);
    acr__json_array(j, "activation");
    for (int i = 0; i < cfg->model_activation.count; i++)
        acr__json_text(j, NULL, activation[cfg->model_activation.item[i]]);
    acr__json_end(j);
    acr__json_f64(j, "dropout", acr__config_dropout(cfg, 0));
    if (cfg->model_names.count) {
        acr__json_array(j, "names");
        for (int i = 0; i < cfg->model_names.count; i++)
            acr__json_text(j, NULL, cfg->model_names.item[i]);
        acr__json_end(j);
    }
    acr__json_end(j);
}

/* What the weights are, and of a dense network also what an input goes through first. */
static acr_status describe_model(acr__json *j, const acr__setup *s)
{
    if (s->language)
        return describe_language(j, s);
    describe_layers(j, s->cfg);
    acr__json_object(j, "input");
    acr__json_f64(j, "scale", s->cfg->data_scale);
    acr__json_f64(j, "mean", s->mean);
    acr__json_f64(j, "deviation", s->deviation);
    acr__json_end(j);
    return ACR_OK;
}

/* How to use the weights: what they are, and what an input goes through first. */
static acr_status write_description(acr__train_run *r, const result *out)
{
    char path[ACR__PATH_BYTES];
    acr__draft draft;
    snprintf(path, sizeof path, "%s/accrue.json", r->folder->path);
    TRY(acr__draft_open(&draft, r->s->ctx, path));
    acr__json j = {.f = draft.f};
    acr__json_object(&j, NULL);
    acr__json_text(&j, "accrue", acr_version());
    acr__json_i64(&j, "numerics", acr_numerics());
    acr_status status = describe_model(&j, r->s);
    acr__json_text(&j, "loss", acr__loss_name(r->s->cfg));
    acr__json_text(&j, "dtype", r->s->cfg->dtype == ACR__DTYPE_BFLOAT16 ? "bfloat16" : "float32");
    acr__json_text(&j, "weights_hash", out->hash);
    acr__json_text(&j, "recipe_hash", r->folder->recipe_hash);
    acr__json_end(&j);
    return acr__draft_put(&draft, status);
}

static void tell_numbers(acr__json *j, const acr__train_run *r, const result *out)
{
    const acr__setup *s = r->s;
    double samples = (double)(out->clock.samples - r->begun.samples);
    acr__json_i64(j, "updates", out->clock.updates);
    acr__json_i64(j, "windows", out->clock.windows);
    acr__json_i64(j, "skipped", out->clock.skipped);
    acr__json_i64(j, "samples", out->clock.samples);
    acr__json_f64(j, "epochs", (double)out->clock.windows / (double)s->epoch.windows);
    acr__json_f64(j, "loss", r->state.last_loss);
    if (r->state.eval_step) {
        acr__json_f64(j, "eval_loss", r->state.eval_loss);
        if (s->language)
            acr__json_f64(j, "eval_perplexity", exp(r->state.eval_loss));
        if (!isnan(r->state.eval_accuracy))
            acr__json_f64(j, "eval_accuracy", r->state.eval_accuracy);
    }
    if (r->state.best_step) {
        acr__json_i64(j, "best_step", r->state.best_step);
        acr__json_f64(j, "best_metric", r->state.best_metric);
    }
    if (s->language) {
        double tokens = (double)(out->clock.tokens - r->begun.tokens);
        acr__json_i64(j, "tokens", out->clock.tokens);
        acr__json_f64(j, "tokens_per_second", r->seconds > 0 ? tokens / r->seconds : 0);
    }
    acr__json_f64(j, "samples_per_second", r->seconds > 0 ? samples / r->seconds : 0);
    acr__json_f64(j, "seconds", r->seconds);
}

static acr_status make_record(acr__train_run *r, const result *out, char **record)
{
    const acr__setup *s = r->s;
    acr__draft draft;
    *record = NULL;
    TRY(acr__draft_open(&draft, s->ctx, r->folder->path));
    acr__json j = {.f = draft.f};
    acr__json_object(&j, NULL);
    tell_numbers(&j, r, out);
    acr__json_text(&j, "weights_hash", out->hash);
    acr__json_i64(&j, "parameters", s->parameters);
    acr__json_i64(&j, "effective_batch_size", s->effective);
    acr__json_i64(&j, "micro_batch_size", s->micro_batch);
    acr__json_i64(&j, "threads", out->threads);
    acr__json_text(&j, "isa", out->isa);
    acr__json_i64(&j, "numerics", acr_numerics());
    acr__json_text(&j, "recipe_hash", r->folder->recipe_hash);
    acr__json_text(&j, "output_dir", r->folder->path);
    acr__json_i64(&j, "planned_bytes", s->planned_bytes);
    acr__json_i64(&j, "peak_rss_bytes", acr__memory_peak());
    acr__json_end(&j);
    return acr__draft_take(&draft, record);
}

/* ---- the receipt: what would give these weights again ---- */
static void tell_print(acr__json *j, const char *name, const acr__data_print *print)
{
    acr__json_object(j, NULL);
    acr__json_text(j, "set", name);
    acr__json_text(j, "column", print->what);
    acr__json_text(j, "file", print->place);
    acr__json_i64(j, "bytes", print->bytes);
    acr__json_text(j, "xxh3_128", *print->hash ? print->hash : NULL);
    acr__json_end(j);
}

static acr_status tell_data(acr__json *j, const char *name, const acr__dataset *set)
{
    acr__data_print print;
    for (int k = 0; set && k < ACR_DATA_COLUMNS; k++) {
        TRY(acr__dataset_print(set, k, HASHED_BYTES, &print));
        if (print.what)
            tell_print(j, name, &print);
    }
    return ACR_OK;
}

static void tell_tokens(acr__json *j, const char *name, const acr__tokens *set)
{
    acr__data_print print;
    if (!set)
        return;
    acr__tokens_print(set, &print);
    tell_print(j, name, &print);
}

static void tell_machine(acr__json *j, const result *out)
{
    char text[256];
    struct utsname system;
    acr__json_object(j, "machine");
    acr__processor_name(text, sizeof text);
    acr__json_text(j, "processor", text);
    if (uname(&system) == 0) {
        snprintf(text, sizeof text, "%.60s %.60s %.60s", system.sysname, system.release, system.machine);
        acr__json_text(j, "system", text);
    }
    acr__json_text(j, "isa", out->isa);
    acr__json_i64(j, "threads", out->threads);
    acr__json_end(j);
}

static void tell_memory(acr__json *j, const acr__setup *s)
{
    acr__json_object(j, "memory");
    for (int k = 0; k < ACR_KIND_COUNT; k++) {
        int64_t bytes = (int64_t)acr_plan_kind_bytes(s->plan, (acr_kind)k);
        if (bytes)
            acr__json_i64(j, acr_kind_name((acr_kind)k), bytes);
    }
    acr__json_i64(j, "program", s->program_bytes);
    if (acr__memory_choosing(s) > 0)
        acr__json_i64(j, "choosing the plan", acr__memory_choosing(s));
    acr__json_end(j);
}

/* The receipt's text into *draft, to be taken whatever is returned. */
static acr_status make_receipt(acr__train_run *r, const result *out, const char *record, const acr__draft *draft)
{
    acr__json j = {.f = draft->f};
    acr__json_object(&j, NULL);
    acr__json_text(&j, "accrue", acr_version());
    acr__json_i64(&j, "numerics", acr_numerics());
    acr__json_text(&j, "recipe_hash", r->folder->recipe_hash);
    acr__json_text(&j, "weights_hash", out->hash);
    acr__json_array(&j, "data");
    acr_status status = tell_data(&j, "train", r->s->train_set);
    if (status == ACR_OK)
        status = tell_data(&j, "eval", r->s->eval_set);
    tell_tokens(&j, "train", r->s->train_tokens);
    tell_tokens(&j, "eval", r->s->eval_tokens);
    acr__json_end(&j);
    tell_machine(&j, out);
    tell_memory(&j, r->s);
    acr__json_text(&j, "config", r->folder->config);
    if (*r->folder->history)
        acr__json_text(&j, "history", r->folder->history);
    acr__json_raw(&j, "record", record);
    acr__json_end(&j);
    return status;
}

/* The receipt says that the run is finished, so it comes last: a run killed before it
 * goes on from its checkpoint, cleans up and writes the report again. */
static acr_status write_receipt(acr__train_run *r, const result *out, const char *record)
{
    char path[ACR__PATH_BYTES], *text;
    acr__draft draft;
    snprintf(path, sizeof path, "%s/receipt.json", r->folder->path);
    TRY(acr__draft_open(&draft, r->s->ctx, path));
    acr_status status = make_receipt(r, out, record, &draft), taken = acr__draft_take(&draft, &text);
    if (status == ACR_OK)
        status = taken;
    if (status == ACR_OK)
        status = acr__report_write(r->s->ctx, r->folder->path, text);
    if (status == ACR_OK)
        status = acr__file_put(r->s->ctx, path, text, draft.bytes);
    free(text);
    return status;
}

acr_status acr__train_run_finish(acr__train_run *r, char **record)
{
    result out = {.threads = acr_context_threads(r->s->ctx)};
    snprintf(out.isa, sizeof out.isa, "%s", acr_context_isa(r->s->ctx));
    TRY(save_model(r, &out));
    TRY(write_description(r, &out));
    acr__run_log_close(&r->log);
    acr_trainer_destroy(r->s->trainer); /* its memory is the report's now */
    r->s->trainer = NULL;
    TRY(make_record(r, &out, record));
    return write_receipt(r, &out, *record);
}
