/* cmd_plan.c: accrue plan RECIPE: where every byte would go, and how long it
 * would take. It trains nothing and writes nothing. */
#include "cli/memory.h"
#include "config/options.h"

enum { FITS = 24 };

/* One line of --fit: what a limit buys. */
typedef struct choice {
    int64_t limit;
    acr__fit fit;
    double window_seconds;
} choice;

static double window_seconds(const acr__setup *s, const acr__fitter *f, const acr__fit *fit)
{
    return fit->sample_seconds > 0 ? fit->sample_seconds * (double)s->effective + f->close_seconds : 0;
}

static bool same_way(const acr_plan_opts *a, const acr_plan_opts *b)
{
    return a->micro_batch == b->micro_batch && a->pack == b->pack && a->stage_rows == b->stage_rows &&
           a->recompute == b->recompute;
}

/* Limits from the least that trains to `most`, four to a doubling; those that buy
 * the same as the one before are left out. */
static acr_status list_fits(acr__setup *s, int64_t most, choice out[FITS], int *count)
{
    acr__fitter f;
    acr__fit least;
    acr__fitter_begin(&f, s);
    *count = 0;
    acr_status status = acr__fitter_least(&f, acr__max(acr__min(s->cfg->micro_batch_size, s->effective), 1), &least);
    int64_t mib = 1048576, limit = (least.planned + mib - 1) / mib * mib;
    if (status == ACR_OK && limit > most)
        status = acr__fail(s->ctx, ACR_E_LIMIT, "--fit: nothing fits; the least is %lldMiB", (long long)(limit / mib));
    while (status == ACR_OK && *count < FITS) {
        choice *c = &out[*count];
        c->limit = limit;
        status = acr__fitter_choose(&f, limit, &c->fit);
        if (status == ACR_OK && c->fit.sample_seconds == 0)
            status = acr__fitter_measure(&f, &c->fit);
        c->window_seconds = window_seconds(s, &f, &c->fit);
        if (*count == 0 || !same_way(&c->fit.opts, &out[*count - 1].fit.opts))
            ++*count;
        if (limit >= most)
            break;
        limit = acr__min(most, acr__max(limit + mib, (int64_t)((double)limit * 1.19) / mib * mib));
    }
    acr__fitter_end(&f);
    return status;
}

/* The time of a window where the choice itself did not need measuring. */
static acr_status measure(acr__setup *s)
{
    acr__fitter f;
    acr__fit fit = {.opts = acr__setup_plan_opts(s)};
    if (s->window_seconds > 0)
        return ACR_OK;
    fit.opts.micro_batch = s->micro_batch;
    fit.opts.stage_rows = acr_plan_stage_rows(s->plan);
    fit.opts.pack = acr_plan_kind_bytes(s->plan, ACR_KIND_PACKED) > 0;
    acr__fitter_begin(&f, s);
    acr_status status = acr__fitter_measure(&f, &fit);
    s->window_seconds = window_seconds(s, &f, &fit);
    acr__fitter_end(&f);
    return status;
}

/* Bytes of the arena that live at a step. */
static int64_t alive_at(const acr_plan *p, int step)
{
    int64_t sum = 0;
    acr_plan_entry e;
    for (int i = 0; i < acr_plan_entries(p); i++)
        if (acr_plan_entry_get(p, i, &e) == ACR_OK &&
            ((e.first <= step && step <= e.last) || (e.again_first <= step && step <= e.again_last)))
            sum += (int64_t)e.bytes;
    return sum;
}

/* ---- for people -------------------------------------------------------------------- */
static void print_tensors(const acr_plan *p)
{
    char bytes[ACR__SHORT];
    acr_plan_entry e;
    printf("tensors of the arena (offset, bytes, steps of life)\n");
    for (int i = 0; i < acr_plan_entries(p); i++) {
        char again[40] = "";
        if (acr_plan_entry_get(p, i, &e) != ACR_OK)
            continue;
        if (e.again_last >= 0)
            snprintf(again, sizeof again, ", %d to %d", (int)e.again_first, (int)e.again_last);
        printf("  %-30.60s %-16s %12lld %10s %4d to %d%s\n", e.name, acr_kind_name(e.kind), (long long)e.offset,
               acr__bytes_text((int64_t)e.bytes, bytes), (int)e.first, (int)e.last, again);
    }
    printf("\nsteps of a micro-batch (bytes alive)\n");
    for (int i = 0; i < acr_plan_steps(p); i++)
        printf("  %3d %-20s %10s\n", i, acr_plan_step_name(p, i), acr__bytes_text(alive_at(p, i), bytes));
}

static void print_text(const acr__setup *s)
{
    char a[ACR__SHORT], b[ACR__SHORT], c[ACR__SHORT];
    print_tensors(s->plan); /* first: they are many, and the rest is what is looked for */
    printf("\nparameters   %s\n", acr__count_text(s->parameters, a));
    printf("batch        effective %s = micro %s x %lld (%s)\n", acr__count_text(s->effective, a),
           acr__count_text(s->micro_batch, b), (long long)((s->effective + s->micro_batch - 1) / s->micro_batch),
           s->why);
    printf("weights      %s, staged rows %lld\n",
           acr_plan_kind_bytes(s->plan, ACR_KIND_PACKED) ? "packed once per update" : "not packed",
           (long long)acr_plan_stage_rows(s->plan));
    printf("length       %s updates, %s an epoch\n", acr__count_text(s->windows, a), acr__count_text(s->epoch.windows, b));
    printf("time         %s an update, %s in all (estimated)\n", acr__time_text(s->window_seconds, b),
           acr__time_text(s->window_seconds * (double)s->windows, c));
    printf("memory\n");
    acr__memory_print(s, stdout);
}

static void print_fits(const acr__setup *s, const choice *fits, int count)
{
    char a[ACR__SHORT], b[ACR__SHORT], c[ACR__SHORT];
    printf("%12s %10s %8s %8s %12s %12s\n", "memory_limit", "planned", "micro", "packed", "an update", "in all");
    for (int i = 0; i < count; i++)
        printf("%9lldMiB %10s %8lld %8s %12s %12s\n", (long long)(fits[i].limit / 1048576),
               acr__bytes_text(fits[i].fit.planned, a), (long long)fits[i].fit.opts.micro_batch,
               fits[i].fit.opts.pack ? "yes" : "no", acr__time_text(fits[i].window_seconds, b),
               acr__time_text(fits[i].window_seconds * (double)s->windows, c));
}

/* ---- for programs -------------------------------------------------------------------- */
static void json_kinds(acr__json *j, const acr__setup *s)
{
    acr__json_object(j, "kinds");
    for (int k = 0; k < ACR_KIND_COUNT; k++)
        acr__json_i64(j, acr_kind_name((acr_kind)k), (int64_t)acr_plan_kind_bytes(s->plan, (acr_kind)k));
    acr__json_i64(j, "program", s->program_bytes);
    acr__json_i64(j, "choosing the plan", acr__memory_choosing(s));
    acr__json_end(j);
}

static void json_arena(acr__json *j, const acr_plan *p)
{
    acr_plan_entry e;
    acr__json_array(j, "tensors");
    for (int i = 0; i < acr_plan_entries(p); i++) {
        if (acr_plan_entry_get(p, i, &e) != ACR_OK)
            continue;
        acr__json_object(j, NULL);
        acr__json_text(j, "name", e.name);
        acr__json_text(j, "kind", acr_kind_name(e.kind));
        acr__json_i64(j, "offset", (int64_t)e.offset);
        acr__json_i64(j, "bytes", (int64_t)e.bytes);
        acr__json_i64(j, "first", e.first);
        acr__json_i64(j, "last", e.last);
        if (e.again_last >= 0) {
            acr__json_i64(j, "again_first", e.again_first);
            acr__json_i64(j, "again_last", e.again_last);
        }
        acr__json_end(j);
    }
    acr__json_end(j);
    acr__json_array(j, "steps");
    for (int i = 0; i < acr_plan_steps(p); i++) {
        acr__json_object(j, NULL);
        acr__json_text(j, "op", acr_plan_step_name(p, i));
        acr__json_i64(j, "alive_bytes", alive_at(p, i));
        acr__json_end(j);
    }
    acr__json_end(j);
}

static void json_fits(acr__json *j, const acr__setup *s, const choice *fits, int count)
{
    acr__json_array(j, "fit");
    for (int i = 0; i < count; i++) {
        acr__json_object(j, NULL);
        acr__json_i64(j, "memory_limit", fits[i].limit);
        acr__json_i64(j, "planned_bytes", fits[i].fit.planned);
        acr__json_i64(j, "micro_batch_size", fits[i].fit.opts.micro_batch);
        acr__json_bool(j, "packed", fits[i].fit.opts.pack != 0);
        acr__json_f64(j, "update_seconds", fits[i].window_seconds);
        acr__json_f64(j, "seconds", fits[i].window_seconds * (double)s->windows);
        acr__json_end(j);
    }
    acr__json_end(j);
}

static void print_json(const acr__setup *s, const choice *fits, int count)
{
    acr__json j = {.f = stdout};
    acr__json_object(&j, NULL);
    acr__json_i64(&j, "parameters", s->parameters);
    acr__json_i64(&j, "effective_batch_size", s->effective);
    acr__json_i64(&j, "micro_batch_size", s->micro_batch);
    acr__json_text(&j, "why", s->why);
    acr__json_i64(&j, "stage_rows", acr_plan_stage_rows(s->plan));
    acr__json_i64(&j, "updates", s->windows);
    acr__json_i64(&j, "updates_per_epoch", s->epoch.windows);
    acr__json_f64(&j, "update_seconds", s->window_seconds);
    acr__json_f64(&j, "seconds", s->window_seconds * (double)s->windows);
    acr__json_i64(&j, "threads", acr_context_threads(s->ctx));
    acr__json_text(&j, "isa", acr_context_isa(s->ctx));
    acr__json_i64(&j, "planned_bytes", s->planned_bytes);
    acr__json_i64(&j, "arena_bytes", (int64_t)acr_plan_bytes(s->plan));
    json_kinds(&j, s);
    json_arena(&j, s->plan);
    if (count)
        json_fits(&j, s, fits, count);
    acr__json_end(&j);
}

static acr_status run(acr__cli *cli, acr__setup *s, acr__config *cfg)
{
    static choice fits[FITS];
    const char *fit = cli->flags.switch_value[0];
    double bytes = 0;
    int count = 0;
    FAIL_IF(fit && !(acr__size_read(fit, &bytes) && bytes >= 1 && bytes <= 0x1p62), cli->ctx, ACR_E_CONFIG,
            "--fit: '%.40s' is no size; write 512MiB or 6GiB", fit);
    int64_t most = (int64_t)bytes;
    TRY(acr__setup_begin(s, cli, cfg, NULL, 0));
    acr_status status = most ? list_fits(s, most, fits, &count) : ACR_OK;
    TRY(acr__cli_told(cli, s->ctx, status));
    TRY(acr__setup_plan(s));
    status = measure(s);
    TRY(acr__cli_told(cli, s->ctx, status));
    if (cli->flags.json)
        print_json(s, fits, count);
    else if (count)
        print_fits(s, fits, count);
    else
        print_text(s);
    return ACR_OK;
}

acr_status acr__cmd_plan(acr__cli *cli)
{
    static const acr__switch switches[] = {{"fit", "SIZE", "what limits up to SIZE buy: micro-batch and time"}};
    const acr__usage usage = {.uses = ACR__FOR_TRAIN, .switch_count = 1, .switches = switches, .least = 1, .most = 1};
    bool go;
    acr__config *cfg = NULL;
    acr__setup s = {0};
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    acr__config_opts opts = {.recipe = cli->flags.positional[0], .flags = &cli->flags, .environment = environ};
    TRY(acr__config_load(cli->ctx, &cfg, &opts));
    acr_status status = run(cli, &s, cfg);
    acr__setup_end(&s);
    acr__config_free(cfg);
    return status;
}
