/* setup.c: a configuration becomes a context, a graph, lengths, data and a
 * trainer. The plan and its memory are memory.c's. */
#include "cli/setup.h"

#include "base/shuffle.h"
#include "cli/language.h"
#include "cli/memory.h"
#include "config/options.h"
#include "graph/graph.h"
#include "io/file.h"
#include "model/mlp.h"
#include "optim/update.h"

#include <accrue/accrue_io.h>
#include <stdlib.h>
#include <string.h>

const char *acr__loss_name(const acr__config *cfg)
{
    static const char *const name[] = {"mse", "mae", "huber", "cross_entropy", "bce_with_logits"};
    return name[cfg->loss];
}

/* A file that is not there is told with the place that names it. */
static acr_status told(acr__setup *s, acr_status status)
{
    const char *path, *where = NULL;
    if (status == ACR_E_DATA && s->ctx)
        where = acr__config_named(s->cfg, acr_error(s->ctx), &path);
    if (where && acr__file_kind(path) == 0)
        acr__fail(s->ctx, status, "%s: %s", where, acr_error(s->ctx));
    return acr__cli_told(s->cli, s->ctx, status);
}

/* ---- data ---------------------------------------------------------------------- */
acr__data_desc acr__setup_data(const acr__config *cfg, bool eval, const double *mean, const double *deviation)
{
    static const char *const format[] = {"idx", "npy", "safetensors", "normal"};
    acr__data_spec spec = acr__config_data(cfg, eval);
    acr__data_desc d = ACR_DATA_DESC_INIT;
    int64_t outputs = cfg->model_layers.item[cfg->model_layers.count - 1];
    d.format = format[spec.format];
    d.path = spec.path;
    d.input = spec.input;
    d.target = spec.target;
    d.weight = spec.weight;
    d.scale = cfg->data_scale;
    d.normalize = cfg->data_normalize ? "dataset" : "none";
    if (spec.format == ACR__FORMAT_NORMAL) {
        d.samples = spec.samples;
        d.seed = (uint64_t)spec.seed;
        d.input_elements = cfg->model_layers.item[0];
        d.target_elements = outputs;
    }
    d.target_kind = cfg->loss == ACR__LOSS_CROSS_ENTROPY ? ACR_TARGET_AUTO : ACR_TARGET_VECTOR;
    d.target_shares = cfg->loss == ACR__LOSS_CROSS_ENTROPY || cfg->loss == ACR__LOSS_BCE_WITH_LOGITS;
    d.classes = outputs;
    d.ignore_index = (int32_t)cfg->ignore_index;
    if (mean && deviation) {
        d.normalization_given = true;
        d.mean = *mean;
        d.deviation = *deviation;
    }
    return d;
}

/* Only the first `samples`, where the recipe says so. */
static acr_status limit_samples(acr_context *ctx, const acr__data_spec *spec, acr__data_info *info)
{
    FAIL_IF(spec->samples > info->samples, ctx, ACR_E_CONFIG, "%s.samples is %lld, but there are only %lld",
            spec->section, (long long)spec->samples, (long long)info->samples);
    if (spec->samples)
        info->samples = spec->samples;
    return ACR_OK;
}

static acr_status check_widths(const acr__setup *s, const acr__data_info *info, bool eval, const char *section)
{
    const acr__counts *layers = &s->cfg->model_layers;
    int64_t in = layers->item[0], out = layers->item[layers->count - 1];
    FAIL_IF(eval && info->input_elements != in, s->ctx, ACR_E_DATA, "a sample of %s has %lld numbers, the model takes %lld",
            section, (long long)info->input_elements, (long long)in);
    FAIL_IF(info->input_elements != in, s->ctx, ACR_E_SHAPE,
            "model.layers begins with %lld, but a sample of %s has %lld numbers; begin it with %lld", (long long)in,
            section, (long long)info->input_elements, (long long)info->input_elements);
    FAIL_IF(!info->has_target, s->ctx, ACR_E_CONFIG, "%s has no target, and loss: %s needs one", section,
            acr__loss_name(s->cfg));
    FAIL_IF(info->target_dtype == ACR_F32 && info->target_elements == 1 && out > 1 &&
                s->cfg->loss == ACR__LOSS_CROSS_ENTROPY,
            s->ctx, ACR_E_DATA,
            "a target of %s is one fractional number, and cross_entropy wants a class: save the targets as whole "
            "numbers (int64), from 0 to %lld, or as %lld shares each",
            section, (long long)(out - 1), (long long)out);
    FAIL_IF(info->target_dtype == ACR_F32 && info->target_elements != out, s->ctx, ACR_E_SHAPE,
            "model.layers ends with %lld, but a target of %s has %lld numbers; end it with %lld", (long long)out,
            section, (long long)info->target_elements, (long long)info->target_elements);
    return ACR_OK;
}

static acr_status probe(acr__setup *s, bool eval, acr__data_info *info)
{
    acr__data_spec spec = acr__config_data(s->cfg, eval);
    if (!spec.present)
        return ACR_OK;
    acr__data_desc d = acr__setup_data(s->cfg, eval, NULL, NULL);
    TRY(acr__dataset_probe(s->ctx, &d, info));
    TRY(limit_samples(s->ctx, &spec, info));
    TRY(check_widths(s, info, eval, spec.section));
    FAIL_IF(eval && !s->predicts && info->target_dtype != s->train_info.target_dtype, s->ctx, ACR_E_DATA,
            "data.eval has %s as targets and data.train has %s; they must be of one kind",
            info->target_dtype == ACR_I32 ? "labels" : "vectors",
            s->train_info.target_dtype == ACR_I32 ? "labels" : "vectors");
    return ACR_OK;
}

/* ---- the graph ------------------------------------------------------------------- */
static acr_node build_loss(acr_graph *g, const acr__config *cfg, acr_node y, acr_node target, acr_node weight,
                           const float *class_weight)
{
    acr_ce_opts ce = ACR_CE_OPTS_INIT;
    switch (cfg->loss) {
    case ACR__LOSS_MAE:
        return acr_mae(g, y, target, weight);
    case ACR__LOSS_HUBER:
        return acr_huber(g, y, target, weight, (float)cfg->huber_delta);
    case ACR__LOSS_BCE_WITH_LOGITS:
        return acr_bce_with_logits(g, y, target, weight);
    case ACR__LOSS_CROSS_ENTROPY:
        ce.label_smoothing = (float)cfg->label_smoothing;
        ce.ignore_index = (int32_t)cfg->ignore_index;
        ce.class_weight = class_weight;
        return acr_cross_entropy(g, y, target, weight, &ce);
    default:
        return acr_mse(g, y, target, weight);
    }
}

static acr_node build_model(acr_graph *g, const acr__config *cfg, const int64_t *layers, acr_node x)
{
    static const char *const name[] = {"relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"};
    int count = cfg->model_layers.count;
    const char *activation[ACR__MOST_LAYERS];
    for (int i = 0; i + 2 < count; i++)
        activation[i] = name[cfg->model_activation.item[i]];
    acr__mlp mlp = {.layer_count = count,
                    .layers = layers ? layers : cfg->model_layers.item,
                    .activation = activation,
                    .dropout = acr__config_dropout(cfg, 0),
                    .names = cfg->model_names.count ? (const char *const *)cfg->model_names.item : NULL};
    return acr__mlp_build(g, x, &mlp);
}

acr_status acr__setup_patterns(acr_graph *g, const acr__config *cfg)
{
    TRY(acr__patterns_match(g, "weight_decay_exclude", cfg->weight_decay_exclude.count,
                            (const char *const *)cfg->weight_decay_exclude.item));
    return acr_graph_trainable(g, cfg->trainable.count, (const char *const *)cfg->trainable.item);
}

static acr_status build(acr_graph *g, const acr__config *cfg, const acr__setup_shape *shape, const float *class_weight)
{
    const int64_t *layers = shape->layers ? shape->layers : cfg->model_layers.item;
    int64_t out = shape->labels ? 1 : layers[cfg->model_layers.count - 1];
    acr_node x = acr_input(g, "input", ACR_F32, 1, layers);
    acr_node target = acr_input(g, "target", shape->labels ? ACR_I32 : ACR_F32, 1, &out);
    acr_node weight = shape->weighted ? acr_input(g, "weight", ACR_F32, 1, (const int64_t[]){1}) : ACR_NONE;
    acr_node y = build_model(g, cfg, layers, x);
    acr_output(g, "prediction", y);
    acr_loss(g, build_loss(g, cfg, y, target, weight, class_weight));
    TRY(acr_graph_finish(g));
    return acr__setup_patterns(g, cfg);
}

acr_status acr__setup_graph(acr_graph **out, acr_context *ctx, const acr__config *cfg, const acr__setup_shape *shape)
{
    acr_graph_opts opts = ACR_GRAPH_OPTS_INIT;
    int classes = cfg->class_weights.count;
    int64_t outputs = cfg->model_layers.item[cfg->model_layers.count - 1];
    FAIL_IF(cfg->model_layers.count > ACR__MOST_LAYERS, ctx, ACR_E_CONFIG,
            "model.layers has %d widths, at most %d are allowed", cfg->model_layers.count, (int)ACR__MOST_LAYERS);
    FAIL_IF(classes && classes != outputs, ctx, ACR_E_CONFIG,
            "class_weights has %d numbers, but there are %lld classes", classes, (long long)outputs);
    float *class_weight = acr__alloc(ctx, ((size_t)classes + 1) * sizeof *class_weight);
    if (!class_weight)
        return ACR_E_NO_MEMORY;
    for (int i = 0; i < classes; i++)
        class_weight[i] = (float)cfg->class_weights.item[i];
    opts.seed = (uint64_t)cfg->seed;
    opts.reference = shape->reference;
    opts.products = cfg->dtype == ACR__DTYPE_BFLOAT16 ? ACR_BF16 : ACR_F32;
    acr_graph *g = acr_graph_create(ctx, &opts);
    acr_status status = g ? build(g, cfg, shape, classes ? class_weight : NULL) : ACR_E_NO_MEMORY;
    acr__free(ctx, class_weight);
    if (status == ACR_OK)
        *out = g;
    else
        acr_graph_destroy(g);
    return status;
}

acr__setup_shape acr__setup_shape_of(const acr__setup *s)
{
    return (acr__setup_shape){.labels = s->train_info.target_dtype == ACR_I32, .weighted = s->weighted};
}

/* ---- begin ------------------------------------------------------------------------- */
static acr_status make_graph(acr__setup *s)
{
    s->weighted = s->train_info.has_weight || s->eval_info.has_weight;
    acr__setup_shape shape = acr__setup_shape_of(s);
    return acr__setup_graph(&s->graph, s->ctx, s->cfg, &shape);
}

static void count_parameters(acr__setup *s)
{
    for (int i = 0; i < acr_param_count(s->graph); i++)
        s->parameters += acr_param_elements(s->graph, i);
}

acr_status acr__setup_graph_again(acr_graph **out, acr_context *ctx, const acr__setup *s, bool reference)
{
    if (s->language) {
        acr_graph *g;
        TRY(acr__language_graph(&g, ctx, s->cfg, &s->lm, s->sequence_length, reference));
        acr_status status = acr__setup_patterns(g, s->cfg);
        if (status == ACR_OK)
            *out = g;
        else
            acr_graph_destroy(g);
        return status;
    }
    acr__setup_shape shape = acr__setup_shape_of(s);
    shape.reference = reference;
    return acr__setup_graph(out, ctx, s->cfg, &shape);
}

/* A run that ends within its warm-up, as a first look at a recipe does, never
 * sees the fall: its length does not enter any learning rate. */
static acr_status check_schedule(acr__setup *s)
{
    acr_trainer_opts *o = &s->trainer_opts;
    if (o->schedule != ACR_CONSTANT && o->warmup_steps >= o->total_steps) {
        acr__warn(s->cli, "the run's %lld updates are all warm-up (warmup_steps is %lld)", (long long)o->total_steps,
                  (long long)o->warmup_steps);
        o->total_steps = o->warmup_steps;
        o->decay_steps = 0;
    }
    int64_t room = o->total_steps - o->warmup_steps;
    FAIL_IF(o->schedule == ACR_WSD && o->decay_steps > room, s->ctx, ACR_E_CONFIG,
            "%s: %lld updates are more than the %lld that warmup_steps leaves of the run's %lld; decay_steps: %lld "
            "would do",
            acr__config_where(s->cfg, ACR__OPT_decay_steps), (long long)o->decay_steps, (long long)room,
            (long long)o->total_steps, (long long)room);
    return acr__update_check(s->ctx, o, (acr_optimizer)s->cfg->optimizer);
}

static acr_status begin(acr__setup *s)
{
    acr__config *cfg = s->cfg;
    if (acr__config_is_language(cfg)) {
        TRY(acr__language_begin(s, NULL));
    } else {
        TRY(probe(s, false, &s->train_info));
        TRY(probe(s, true, &s->eval_info));
        TRY(make_graph(s));
    }
    count_parameters(s);
    s->effective = acr__min(cfg->effective_batch_size, s->train_info.samples);
    s->epoch.samples = s->train_info.samples;
    acr_status status = acr__config_windows(cfg, &s->epoch, &s->windows);
    if (status == ACR_OK)
        status = acr__config_trainer_opts(cfg, &s->epoch, &s->trainer_opts);
    FAIL_IF(status != ACR_OK, s->ctx, status, "%s", acr_error(cfg->ctx));
    return check_schedule(s);
}

acr_status acr__setup_begin(acr__setup *s, acr__cli *cli, acr__config *cfg, const char *isa, int threads)
{
    *s = (acr__setup){.cli = cli, .cfg = cfg};
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    opts.threads = threads ? threads : (int)cfg->threads;
    opts.isa = isa;
    acr_status status = acr_context_create(&s->ctx, &opts);
    if (status == ACR_OK)
        status = begin(s);
    return told(s, status);
}

/* The training set may be far away when a model is evaluated: it is not looked at. */
static acr_status begin_eval(acr__setup *s, const char *run)
{
    if (acr__config_is_language(s->cfg)) {
        TRY(acr__language_begin(s, run));
    } else {
        TRY(probe(s, acr__config_data(s->cfg, true).present, &s->eval_info));
        s->train_info = s->eval_info;
        TRY(make_graph(s));
    }
    count_parameters(s);
    s->effective = s->eval_info.samples;
    return ACR_OK;
}

acr_status acr__setup_begin_eval(acr__setup *s, acr__cli *cli, acr__config *cfg, const char *run)
{
    *s = (acr__setup){.cli = cli, .cfg = cfg, .predicts = true, .deviation = 1};
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    opts.threads = (int)cfg->threads;
    acr_status status = acr_context_create(&s->ctx, &opts);
    if (status == ACR_OK)
        status = begin_eval(s, run);
    return told(s, status);
}

acr_plan_opts acr__setup_plan_opts(const acr__setup *s)
{
    acr_plan_opts o = ACR_PLAN_OPTS_INIT;
    o.optimizer = s->predicts ? (acr_optimizer)0 : (acr_optimizer)s->cfg->optimizer;
    o.momentum = s->cfg->momentum != 0;
    o.max_window_rows = s->effective;
    if (s->language && !acr__mul64(s->effective, s->sequence_length, &o.max_window_rows))
        o.max_window_rows = INT64_MAX;
    return o;
}

acr_status acr__setup_plan(acr__setup *s) { return acr__cli_told(s->cli, s->ctx, acr__memory_plan(s)); }

/* ---- open ---------------------------------------------------------------------------- */
static void fill_ones(const acr_slots *out, int64_t n)
{
    for (int64_t i = 0; out->data[2] && i < n; i++)
        *(float *)(void *)((char *)out->data[2] + i * out->row_bytes[2]) = 1.0f;
}

/* Samples of a set of which only the first are used: in their own shuffle. */
static acr_status get_some(const acr__setup_source *from, int64_t epoch, int64_t first, int64_t n, const acr_slots *out)
{
    acr__data_source in_order = {from->set.set, false, 0};
    acr__shuffle order;
    int columns = acr__dataset_info(from->set.set)->has_weight ? 3 : 2;
    acr__shuffle_init(&order, from->set.seed, (uint32_t)epoch, from->samples);
    for (int64_t i = 0; i < n; i++) {
        void *data[3];
        for (int k = 0; k < columns; k++)
            data[k] = out->data[k] ? (char *)out->data[k] + i * out->row_bytes[k] : NULL;
        acr_slots one = {sizeof one, data, out->row_bytes, NULL};
        TRY(acr__data_source_get(&in_order, 0, acr__shuffle_at(&order, first + i), 1, &one));
    }
    return ACR_OK;
}

static acr_status source_get(void *user, int64_t epoch, int64_t first, int64_t n, const acr_slots *out)
{
    acr__setup_source *from = user;
    if (from->fill_weight)
        fill_ones(out, n);
    if (from->set.shuffle && from->samples < acr__dataset_info(from->set.set)->samples)
        return get_some(from, epoch, first, n, out);
    return acr__data_source_get(&from->set, epoch, first, n, out);
}

static acr_source make_source(const acr__setup *s, acr__setup_source *user, const acr__dataset *set, int64_t samples,
                              bool shuffle)
{
    const acr__data_info *info = acr__dataset_info(set);
    *user = (acr__setup_source){.set = {set, shuffle, (uint64_t)s->cfg->seed},
                                .samples = samples,
                                .fill_weight = s->weighted && !info->has_weight};
    if (!user->fill_weight && samples == info->samples)
        return (acr_source){sizeof(acr_source), &user->set, acr__data_source_get, 1};
    return (acr_source){sizeof(acr_source), user, source_get, 1};
}

static acr_status open_sets(acr__setup *s)
{
    acr__data_desc d;
    if (s->language) {
        acr__language_open(s);
        return ACR_OK;
    }
    if (!s->predicts) {
        d = acr__setup_data(s->cfg, false, NULL, NULL);
        TRY(acr__dataset_open(&s->train_set, s->ctx, &d));
        s->train_source = make_source(s, &s->train_user, s->train_set, s->train_info.samples, s->cfg->data_shuffle);
        acr__dataset_normalization(s->train_set, &s->mean, &s->deviation);
    }
    if (!s->eval_info.samples)
        return ACR_OK;
    d = acr__setup_data(s->cfg, acr__config_data(s->cfg, true).present, &s->mean, &s->deviation);
    TRY(acr__dataset_open(&s->eval_set, s->ctx, &d));
    s->eval_source = make_source(s, &s->eval_user, s->eval_set, s->eval_info.samples, false);
    return ACR_OK;
}

acr_status acr__setup_open(acr__setup *s) { return told(s, open_sets(s)); }

/* ---- trainer ------------------------------------------------------------------------- */
acr_status acr__setup_init(acr_trainer *t, const acr__config *cfg)
{
    if (acr__config_is_language(cfg))
        TRY(acr__language_init(t, cfg));
    if (!cfg->model_init_from)
        return ACR_OK;
    acr_model_opts opts = ACR_MODEL_OPTS_INIT;
    opts.prefix = cfg->model_init_prefix;
    return acr_model_load(t, cfg->model_init_from, &opts);
}

acr_status acr__setup_trainer(acr__setup *s)
{
    acr_status status = acr_trainer_create(&s->trainer, s->plan, &s->trainer_opts);
    if (status == ACR_OK && !s->predicts)
        status = acr__setup_init(s->trainer, s->cfg);
    return told(s, status);
}

void acr__setup_end(acr__setup *s)
{
    acr_trainer_destroy(s->trainer);
    acr_plan_destroy(s->plan);
    acr_graph_destroy(s->graph);
    acr__dataset_close(s->train_set);
    acr__dataset_close(s->eval_set);
    acr__language_end(s);
    acr_context_destroy(s->ctx);
    *s = (acr__setup){0};
}
