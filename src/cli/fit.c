/* fit.c: which micro-batch, stage and packing: what fits, then what is fast.
 *
 * Time is measured, not modelled: a trainer of the very graph (or, where that is
 * large, of a narrower one) runs a few micro-batches of made-up samples, for at
 * most CALIBRATION seconds in all and never in more memory than the limit.
 * Nothing chosen here shows in the weights. */
#include "cli/memory.h"
#include "cli/train_run.h"

#include <math.h>
#include <sys/prctl.h>

enum {
    RESERVE = 448 * 1024, /* checkpoint, metrics and event buffers, sentences, the kernel's imprecise counters */
    STACK = 48 * 1024,    /* of a thread, what it touches */
    UNSTEADY = 64 * 1024, /* by how much one start may need more than the one before */
    SMALL_BATCH = 64,     /* auto for networks that need no measuring */
    EVAL_BATCH = 256,
    PACKED_PARAMETERS = 16 << 20, /* of a language model that keeps packed copies */
    EFFICIENT_ROWS = 1024, /* tokens of a micro-batch beyond which products do not get faster */
    MOST_MEASURED = 512,   /* larger micro-batches are hardly faster, and measuring them takes their memory */
    LARGE_MODEL = 2000000, /* parameters above which a narrower model is timed */
};
static const double CALIBRATION = 0.3;  /* seconds */
static const double INEFFICIENT_ROWS = 20; /* what a micro-batch costs besides its rows, in rows */
static const double SMALL_WORK = 2e9;   /* multiply-adds of a sequence that is timed */
static const double SMALL_WINDOW = 2e7; /* multiply-adds of a window that takes a few milliseconds */
static const double TOLERANCE = 1.03;

void acr__fitter_begin(acr__fitter *f, acr__setup *s)
{
    *f = (acr__fitter){.s = s, .resident = acr__memory_now() + acr__memory_unread(), .peak = acr__memory_peak()};
    f->held_bytes = (int64_t)(s->train_info.held_bytes + s->eval_info.held_bytes);
    f->open_bytes =
        acr__max((int64_t)s->train_info.open_bytes, (int64_t)(s->train_info.held_bytes + s->eval_info.open_bytes));
}

void acr__fitter_end(acr__fitter *f)
{
    if (f->model != f->s->graph)
        acr_graph_destroy(f->model);
    f->model = NULL;
}

/* ---- memory ---------------------------------------------------------------------- */
static int64_t planned_of(const acr__fitter *f, int64_t arena)
{
    int64_t threads = acr_context_threads(f->s->ctx);
    int64_t names = acr_param_count(f->s->graph) * INT64_C(1024); /* a checkpoint's header, the trainer's lists */
    int64_t sample = acr__train_sample_bytes(f->s);
    int64_t train = f->resident + f->held_bytes + arena + (threads - 1) * STACK + RESERVE + names + sample;
    int64_t most = acr__max(f->peak, acr__max(f->resident + f->open_bytes, train));
    return acr__round_up(most, 4096);
}

/* Ways to run a micro-batch, the best first. */
struct way {
    int pack;
    int64_t stage; /* rows; 0: the plan's choice; -1: none kept */
    int recompute; /* blocks */
};
static const struct way dense_ways[] = {{1, 0, 0}, {1, 64, 0}, {0, 0, 0}, {0, 64, 0}, {0, 16, 0}, {0, -1, 0}};
enum { DENSE_WAYS = sizeof dense_ways / sizeof *dense_ways };

/* Of a language model: packed if it is small, not packed, then ever more blocks
 * computed twice; `recompute` says which of them are allowed. Packed copies are
 * twice the weights, and micro-batches of hundreds of tokens pay for packing anew. */
static bool packs(const acr__fitter *f) { return f->s->predicts || f->s->parameters <= PACKED_PARAMETERS; }

static int count_ways(const acr__fitter *f)
{
    if (!f->s->language)
        return DENSE_WAYS;
    bool automatic = f->s->cfg->recompute == ACR__RECOMPUTE_AUTO && !f->s->predicts;
    return packs(f) + 1 + (automatic ? acr_block_count(f->s->graph) : 0);
}

static struct way way_of(const acr__fitter *f, int i)
{
    if (!f->s->language)
        return dense_ways[i];
    bool full = f->s->cfg->recompute == ACR__RECOMPUTE_FULL && !f->s->predicts;
    int again = i - packs(f); /* blocks computed twice; below 0: packed */
    return (struct way){again < 0, 0, full ? acr_block_count(f->s->graph) : again > 0 ? again : 0};
}

static acr_status try_way(acr__fitter *f, int64_t micro, int i, acr__fit *out)
{
    acr_plan_opts o = acr__setup_plan_opts(f->s);
    struct way way = way_of(f, i);
    o.micro_batch = micro;
    o.pack = way.pack;
    o.stage_rows = way.stage < 0 ? micro : way.stage ? acr__max(way.stage, micro) : 0;
    o.recompute = way.recompute;
    acr_plan *plan;
    TRY(acr_plan_create(&plan, f->s->graph, &o));
    *out = (acr__fit){.opts = o, .arena = (int64_t)acr_plan_bytes(plan)};
    out->planned = planned_of(f, out->arena);
    acr_plan_destroy(plan);
    return ACR_OK;
}

/* The best way for a micro-batch that stays under the limit; *fits tells. */
static acr_status fit_micro(acr__fitter *f, int64_t micro, int64_t limit, acr__fit *out, bool *fits)
{
    *fits = false;
    for (int w = 0; w < count_ways(f) && !*fits; w++) {
        TRY(try_way(f, micro, w, out));
        *fits = out->planned <= limit;
    }
    return ACR_OK;
}

acr_status acr__fitter_least(acr__fitter *f, int64_t micro, acr__fit *out)
{
    acr__fit least = {.planned = INT64_MAX}, one;
    for (int w = 0; w < count_ways(f); w++) {
        TRY(try_way(f, micro, w, &one));
        if (one.planned < least.planned)
            least = one;
    }
    *out = least;
    return ACR_OK;
}

/* ---- time ------------------------------------------------------------------------- */
/* Samples that cost nothing to make; no number is 0, none is subnormal. */
static acr_status made_up(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    const acr__setup *s = user;
    (void)window;
    int inputs = s->weighted ? 3 : 2;
    for (int k = 0; k < inputs; k++) {
        bool label = k == 1 && s->train_info.target_dtype == ACR_I32;
        int64_t cols = out->row_bytes[k] / 4;
        for (int64_t i = 0; out->data[k] && i < n; i++) {
            void *row = (char *)out->data[k] + i * out->row_bytes[k];
            for (int64_t c = 0; c < cols; c++) {
                if (label)
                    ((int32_t *)row)[c] = 0;
                else
                    ((float *)row)[c] = k == 2 ? 1.0f : 0.25f + 0.5f * (float)((first + i + c) % 7);
            }
        }
    }
    return ACR_OK;
}

static double share_of_parameters(const acr__fitter *f)
{
    int64_t elements = 0;
    for (int i = 0; i < acr_param_count(f->model); i++)
        elements += acr_param_elements(f->model, i);
    return (double)elements / (double)f->s->parameters;
}

/* A language model of one layer, a small vocabulary and short sequences. */
static acr_status choose_small_model(acr__fitter *f)
{
    acr__setup *s = f->s;
    acr__lm lm = s->lm;
    lm.layers = 1;
    lm.vocab = acr__min(lm.vocab, 2048);
    lm.embd_dropout = lm.resid_dropout = lm.attn_dropout = 0;
    f->rows = s->sequence_length;
    while (f->rows > 32 && acr__language_work(&lm, f->rows) > SMALL_WORK)
        f->rows /= 2;
    f->work_share = acr__language_work(&lm, f->rows) / acr__language_work(&s->lm, s->sequence_length);
    TRY(acr__language_graph(&f->model, s->ctx, s->cfg, &lm, f->rows, false));
    f->parameter_share = share_of_parameters(f);
    return ACR_OK;
}

/* The graph, or one whose widths are narrowed until it has LARGE_MODEL parameters. */
static acr_status choose_model(acr__fitter *f)
{
    acr__setup *s = f->s;
    if (s->language)
        return choose_small_model(f);
    f->model = s->graph;
    f->work_share = f->parameter_share = 1;
    if (s->parameters <= LARGE_MODEL)
        return ACR_OK;
    const acr__counts *from = &s->cfg->model_layers;
    double scale = sqrt((double)LARGE_MODEL / (double)s->parameters);
    int64_t layers[ACR__MOST_LAYERS];
    for (int i = 0; i < from->count; i++)
        layers[i] = acr__max(1, (int64_t)((double)from->item[i] * scale));
    acr__setup_shape shape = acr__setup_shape_of(s);
    acr__config narrow = *s->cfg;
    narrow.class_weights.count = 0;
    shape.layers = layers;
    f->model = NULL;
    TRY(acr__setup_graph(&f->model, s->ctx, &narrow, &shape));
    f->work_share = f->parameter_share = share_of_parameters(f);
    return ACR_OK;
}

/* Seconds per sample of a trainer: the second of two runs over whole stages. */
static acr_status time_trainer(acr__fitter *f, acr_trainer *t, int64_t samples, double *seconds)
{
    acr_source source = {sizeof source, f->s, made_up, 1};
    if (f->s->language)
        source = (acr_source){sizeof source, &f->rows, acr__language_made_up, 0};
    acr_status status = acr_window_open(t);
    if (status == ACR_OK)
        status = acr_window_pull(t, &source, 0, 0, samples);
    double best = INFINITY;
    for (int i = 0; i < 2 && status == ACR_OK && (i == 0 || acr__seconds() < f->until); i++) {
        double start = acr__seconds();
        status = acr_window_pull(t, &source, 0, 0, samples);
        best = fmin(best, (acr__seconds() - start) / (double)samples);
    }
    double start = acr__seconds();
    if (status == ACR_OK)
        status = acr_window_close(t, NULL);
    if (status == ACR_E_DIVERGED) /* made-up numbers may do anything */
        status = ACR_OK;
    double close = (acr__seconds() - start) / f->parameter_share;
    if (f->close_seconds == 0 || close < f->close_seconds)
        f->close_seconds = close;
    *seconds = best / f->work_share;
    return status;
}

/* Seconds a sample, no block computed twice. */
static acr_status measured(acr__fitter *f, const acr_plan_opts *o, double *seconds)
{
    for (int i = 0; i < f->count; i++)
        if (f->measured[i].micro == o->micro_batch && f->measured[i].stage == o->stage_rows &&
            f->measured[i].pack == o->pack) {
            *seconds = f->measured[i].seconds;
            return ACR_OK;
        }
    if (f->until == 0)
        f->until = acr__seconds() + CALIBRATION;
    if (!f->model)
        TRY(choose_model(f));
    acr_plan *plan = NULL;
    acr_trainer *t = NULL;
    acr_trainer_opts opts = f->s->trainer_opts;
    acr_plan_opts timed = *o;
    opts.learning_rate = 0;
    timed.recompute = 0;
    if (f->s->language) {
        timed.micro_batch = 1; /* rows are what counts, and a sequence has many */
        timed.stage_rows = 0;
        timed.max_window_rows = 1 << 20;
    }
    TRY(acr_plan_create(&plan, f->model, &timed));
    acr_status status = acr_trainer_create(&t, plan, &opts);
    if (status == ACR_OK)
        status = time_trainer(f, t, acr__max(acr_plan_stage_rows(plan), timed.micro_batch), seconds);
    acr_trainer_destroy(t);
    acr_plan_destroy(plan);
    if (status == ACR_OK && f->count < ACR__FIT_MEASURED) {
        f->measured[f->count].micro = o->micro_batch;
        f->measured[f->count].stage = o->stage_rows;
        f->measured[f->count].pack = o->pack;
        f->measured[f->count++].seconds = *seconds;
    }
    return status;
}

acr_status acr__fitter_measure(acr__fitter *f, acr__fit *fit)
{
    TRY(measured(f, &fit->opts, &fit->sample_seconds));
    if (fit->opts.recompute) /* a forward more of those blocks, where an update is a forward and two backward */
        fit->sample_seconds *= 1 + (double)fit->opts.recompute / (double)acr_block_count(f->s->graph) / 3;
    return ACR_OK;
}

/* ---- choosing ---------------------------------------------------------------------- */
/* The least limit in whole MiB that a start to come will not find too small either. */
static long long mib_for(int64_t planned)
{
    return (long long)((planned + UNSTEADY + 1048575) / 1048576);
}

static acr_status refuse(acr__fitter *f, int64_t micro, int64_t limit)
{
    acr__fit least;
    char have[ACR__SHORT], need[ACR__SHORT], best[64] = "";
    bool configured = f->s->cfg->memory_limit > 0;
    TRY(acr__fitter_least(f, micro ? micro : 1, &least));
    long long mib = mib_for(least.planned);
    if (micro > 1) {
        acr__fit one;
        TRY(acr__fitter_least(f, 1, &one));
        long long less = mib_for(one.planned);
        if (less < mib)
            snprintf(best, sizeof best, "; with micro_batch_size 1 --memory_limit %lldMiB", less);
    }
    acr__bytes_text(limit, have);
    acr__bytes_text(least.planned, need);
    if (!configured)
        return acr__fail(f->s->ctx, ACR_E_LIMIT,
                         "this machine has %s for the process, and it needs %s at micro_batch_size "
                         "%lld (%lld MiB)%s; no run was begun",
                         have, need, (long long)least.opts.micro_batch, mib, best);
    return acr__fail(f->s->ctx, ACR_E_LIMIT,
                     "memory_limit is %s, and the process needs %s at micro_batch_size %lld: "
                     "--memory_limit %lldMiB would do%s; no run was begun",
                     have, need, (long long)least.opts.micro_batch, mib, best);
}

/* From 64 up while it gets faster, then down while it does not get slower. */
static acr_status measure_all(acr__fitter *f, acr__fit *list, int count)
{
    int start = 0;
    while (start + 1 < count && list[start].opts.micro_batch < 64)
        start++;
    double best = INFINITY;
    for (int i = start; i < count && acr__seconds() < f->until; i++) {
        TRY(acr__fitter_measure(f, &list[i]));
        if (list[i].sample_seconds > best * 1.1)
            break;
        best = fmin(best, list[i].sample_seconds);
    }
    for (int i = start - 1; i >= 0 && acr__seconds() < f->until; i--) {
        TRY(acr__fitter_measure(f, &list[i]));
        if (list[i].sample_seconds > best * 1.1)
            break;
        best = fmin(best, list[i].sample_seconds);
    }
    return ACR_OK;
}

/* Of a language model the cost of a token is predicted, in units of the least there
 * can be: products over few rows are less efficient, and a block that is computed
 * twice costs a third of its training again. */
static double token_cost(const acr__fitter *f, const acr__fit *fit)
{
    double rows = (double)(fit->opts.micro_batch * f->s->sequence_length);
    double again = fit->opts.recompute ? (double)fit->opts.recompute / (double)acr_block_count(f->s->graph) / 3 : 0;
    return (1 + again) * (1 + INEFFICIENT_ROWS / rows);
}

static acr_status choose_sequences(acr__fitter *f, int64_t limit, acr__fit *out)
{
    acr__fit list[16];
    int count = 0;
    double least = INFINITY;
    for (int64_t m = 1; m <= f->s->effective && count < 16; m *= 2) {
        bool fits;
        TRY(fit_micro(f, m, limit, &list[count], &fits));
        if (!fits)
            break;
        least = fmin(least, token_cost(f, &list[count++]));
        if (m * f->s->sequence_length >= EFFICIENT_ROWS)
            break;
    }
    for (int i = 0; i < count; i++)
        if (token_cost(f, &list[i]) <= least * TOLERANCE) {
            *out = list[i];
            return ACR_OK;
        }
    return refuse(f, 0, limit);
}

static acr_status choose_auto(acr__fitter *f, int64_t limit, acr__fit *out)
{
    if (f->s->language)
        return choose_sequences(f, limit, out);
    acr__fit list[64];
    int count = 0;
    int64_t most = acr__min(f->s->effective, MOST_MEASURED);
    for (int64_t m = 1;; m = m * 2 < most ? m * 2 : most) {
        bool fits;
        TRY(fit_micro(f, m, limit, &list[count], &fits));
        if (!fits)
            break;
        count++;
        if (m == most)
            break;
    }
    if (!count)
        return refuse(f, 0, limit);
    double work = (double)f->s->parameters * 3 * (double)f->s->effective;
    int best = count - 1;
    if (work < SMALL_WINDOW || f->s->predicts) {
        while (best > 0 && list[best].opts.micro_batch > (f->s->predicts ? EVAL_BATCH : SMALL_BATCH))
            best--;
        *out = list[best];
        return ACR_OK;
    }
    f->until = acr__seconds() + CALIBRATION;
    TRY(measure_all(f, list, count));
    double fastest = INFINITY;
    for (int i = 0; i < count; i++)
        if (list[i].sample_seconds > 0)
            fastest = fmin(fastest, list[i].sample_seconds);
    for (int i = count - 1; i >= 0; i--)
        if (list[i].sample_seconds > 0 && list[i].sample_seconds <= fastest * TOLERANCE &&
            (list[best].sample_seconds == 0 || list[best].sample_seconds > fastest * TOLERANCE ||
             list[i].planned <= list[best].planned))
            best = i;
    *out = list[best];
    return ACR_OK;
}

acr_status acr__fitter_choose(acr__fitter *f, int64_t limit, acr__fit *out)
{
    int64_t micro = acr__min(f->s->cfg->micro_batch_size, f->s->effective);
    bool fits;
    if (micro == 0)
        return choose_auto(f, limit, out);
    TRY(fit_micro(f, micro, limit, out, &fits));
    return fits ? ACR_OK : refuse(f, micro, limit);
}

static void tell_why(acr__setup *s, const acr__fitter *f, const acr__fit *fit)
{
    bool spared = !fit->opts.pack && (!s->language || packs(f));
    const char *packed = spared ? ", weights not packed to save memory" : "";
    char again[48] = "";
    if (fit->opts.recompute)
        snprintf(again, sizeof again, ", %d of %d blocks computed twice", fit->opts.recompute, acr_block_count(s->graph));
    if (s->cfg->micro_batch_size)
        snprintf(s->why, sizeof s->why, "as configured%s%s", packed, again);
    else if (s->language)
        snprintf(s->why, sizeof s->why, "%lld tokens at once%s%s", (long long)s->micro_batch * (long long)s->sequence_length,
                 packed, again);
    else if (!f->count)
        snprintf(s->why, sizeof s->why, "small network, nothing measured%s", packed);
    else
        snprintf(s->why, sizeof s->why, "smallest of %d measured within 3%% of the fastest%s", f->count, packed);
}

acr_status acr__memory_plan(acr__setup *s)
{
    acr__fitter f;
    acr__fit fit;
    if (s->cfg->memory_limit) /* a huge page would be charged whole for the bytes of it that are used */
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    acr__fitter_begin(&f, s);
    int64_t limit = s->cfg->memory_limit ? s->cfg->memory_limit : f.resident + acr__memory_free();
    acr_status status = acr__fitter_choose(&f, limit, &fit);
    if (status == ACR_OK)
        status = acr_plan_create(&s->plan, s->graph, &fit.opts);
    if (status == ACR_OK) {
        s->micro_batch = fit.opts.micro_batch;
        s->planned_bytes = acr__max(fit.planned, acr__memory_peak());
        s->program_bytes = fit.planned - fit.arena;
        if (fit.sample_seconds > 0)
            s->window_seconds = fit.sample_seconds * (double)s->effective + f.close_seconds;
        tell_why(s, &f, &fit);
    }
    acr__fitter_end(&f);
    return status;
}
