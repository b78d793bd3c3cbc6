/* run_log.c: see run_log.h. */
#include "cli/run_log.h"

#include "cli/memory.h"

#include <math.h>
#include <string.h>

static const double PEAK_EVERY = 0.5; /* seconds between two looks at the high-water mark */
static const double FLUSH_EVERY = 0.1; /* seconds: a line that comes sooner after the last write waits */

/* The columns of metrics.csv, those of evaluations behind the others, those of
 * language models last. */
static const char *const columns[] = {
    "epoch",         "loss",          "lr",      "grad_norm",          "clip",           "weight",
    "samples",       "micro_batches", "skipped", "samples_per_second", "peak_rss_bytes", "eval_loss",
    "eval_accuracy", "eval_samples",  "tokens",  "tokens_per_second",  "eval_perplexity"};
enum { COLUMNS = sizeof columns / sizeof *columns, LANGUAGE_COLUMNS = 3 };

acr_status acr__run_log_open(acr__run_log *l, acr_context *ctx, const acr__run_folder *folder, acr__run_state *state,
                             const acr__setup *s, bool fresh)
{
    *l = (acr__run_log){.state = state, .per_epoch = s->epoch.windows, .language = s->language};
    acr__metrics_offsets at = {state->jsonl_at, state->csv_at};
    bool go_on = !fresh && at.jsonl > 0;
    TRY(acr__metrics_open(&l->metrics, ctx, folder->path, COLUMNS - (s->language ? 0 : LANGUAGE_COLUMNS), columns, go_on ? &at : NULL));
    const char *name = !fresh && *state->events ? state->events : NULL;
    TRY(acr__events_open(&l->events, ctx, folder->path, name, state->events_at));
    snprintf(state->events, sizeof state->events, "%s", acr__events_name(l->events));
    l->last_time = acr__seconds();
    return ACR_OK;
}

void acr__run_log_close(acr__run_log *l)
{
    if (l->metrics && l->events)
        (void)acr__run_log_flush(l); /* the run has failed already if this matters */
    acr__metrics_close(l->metrics);
    acr__events_close(l->events);
    l->metrics = NULL;
    l->events = NULL;
}

void acr__run_log_add(acr__run_log *l, const acr_report *r)
{
    acr__run_state *s = l->state;
    s->updates_since++;
    s->samples_since += r->samples;
    s->micro_since += r->micro_batches;
    s->skipped_since += r->skipped != 0;
    s->rows_since += r->rows;
    l->timed_samples += r->samples;
    l->timed_rows += r->rows;
    if (r->weight != 0) {
        s->loss_since += r->loss * r->weight;
        s->weight_since += r->weight;
        s->last_loss = r->loss;
    }
}

static acr__field real(const char *name, double v) { return (acr__field){.name = name, .kind = ACR_FIELD_F64, .d = v}; }

static acr__field whole(const char *name, int64_t v)
{
    return (acr__field){.name = name, .kind = ACR_FIELD_I64, .i = v};
}

/* The same numbers to TensorBoard. */
static acr_status scalars(acr__run_log *l, int64_t step, double time, int count, const acr__field *fields)
{
    const char *tags[16];
    float values[16];
    int n = 0;
    for (int i = 0; i < count && n < 16; i++) {
        double v = fields[i].kind == ACR_FIELD_I64 ? (double)fields[i].i : fields[i].d;
        if (!isfinite(v))
            continue;
        tags[n] = fields[i].name;
        values[n++] = (float)v;
    }
    return acr__events_scalars(l->events, step, time, n, tags, values);
}

static double epochs(const acr__run_log *l, int64_t windows) { return (double)windows / (double)l->per_epoch; }

static acr_status print_held(acr__run_log *l)
{
    int n = l->held, count = ACR__RUN_FIELDS - (l->language ? 0 : 2);
    l->held = 0;
    for (int i = 0; i < n; i++) {
        const acr__run_line *line = &l->line[i];
        TRY(acr__metrics_line(l->metrics, line->update, line->time, count, line->fields));
        TRY(scalars(l, line->update, line->time, count, line->fields));
    }
    return ACR_OK;
}

/* Whole numbers where they tell enough: a large model may take seconds for a sample. */
static double per_second(int64_t count, double seconds)
{
    double rate = seconds > 0 ? (double)count / seconds : NAN;
    return rate < 100 ? floor(rate * 1000) / 1000 : floor(rate);
}

acr_status acr__run_log_line(acr__run_log *l, const acr_report *r)
{
    acr__run_state *s = l->state;
    double now = acr__seconds(), passed = now - l->last_time;
    if (l->peak == 0 || now - l->peak_read > PEAK_EVERY) {
        l->peak = acr__memory_peak();
        l->peak_read = now;
    }
    double mean = s->updates_since == 1 ? r->loss : s->weight_since != 0 ? s->loss_since / s->weight_since : NAN;
    l->line[l->held++] = (acr__run_line){r->update, acr__wall_time(), {
        real("epoch", epochs(l, r->window + 1)),
        real("loss", mean),
        real("lr", r->learning_rate),
        real("grad_norm", r->grad_norm),
        real("clip", r->clip),
        real("weight", r->weight),
        whole("samples", s->samples_since),
        whole("micro_batches", s->micro_since),
        whole("skipped", s->skipped_since),
        real("samples_per_second", per_second(l->timed_samples, passed)),
        whole("peak_rss_bytes", l->peak),
        whole("tokens", s->rows_since),
        real("tokens_per_second", per_second(l->timed_rows, passed)),
    }};
    s->updates_since = s->samples_since = s->micro_since = s->skipped_since = s->rows_since = 0;
    s->loss_since = s->weight_since = 0;
    l->last_time = now;
    l->timed_samples = l->timed_rows = 0;
    return l->held == ACR__RUN_LINES || now - l->flushed >= FLUSH_EVERY ? acr__run_log_flush(l) : ACR_OK;
}

acr_status acr__run_log_eval(acr__run_log *l, int64_t update, int64_t window, const acr_eval *e, const char *sample)
{
    double time = acr__wall_time();
    acr__field fields[5] = {
        real("epoch", epochs(l, window)),
        real("eval_loss", e->loss),
        whole("eval_samples", e->samples),
        real(l->language ? "eval_perplexity" : "eval_accuracy", l->language ? exp(e->loss) : e->accuracy),
    };
    int count = isnan(fields[3].d) ? 3 : 4, numbers = count;
    if (sample)
        fields[count++] = (acr__field){.name = "sample", .kind = ACR_FIELD_TEXT, .text = sample};
    TRY(print_held(l));
    TRY(acr__metrics_line(l->metrics, update, time, count, fields));
    TRY(scalars(l, update, time, numbers, fields));
    return acr__run_log_flush(l);
}

acr_status acr__run_log_flush(acr__run_log *l)
{
    l->flushed = acr__seconds();
    TRY(print_held(l));
    TRY(acr__metrics_flush(l->metrics));
    return acr__events_flush(l->events);
}

acr_status acr__run_log_mark(acr__run_log *l)
{
    acr__metrics_offsets at;
    TRY(print_held(l));
    TRY(acr__metrics_sync(l->metrics));
    TRY(acr__events_sync(l->events));
    acr__metrics_where(l->metrics, &at);
    l->state->jsonl_at = at.jsonl;
    l->state->csv_at = at.csv;
    l->state->events_at = acr__events_where(l->events);
    return ACR_OK;
}
