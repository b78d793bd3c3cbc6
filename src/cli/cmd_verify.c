/* cmd_verify.c: promises 1 and 2 on the user's own model and data.
 *
 * The same few updates are run over micro-batches, thread counts and instruction
 * sets; parameters, optimizer state and losses must be the same bytes after each.
 * Beside them: what a mean of micro-batch means would have done to the weights,
 * and how far the accumulated gradient is from the same window in fp64.
 *
 * Nothing is written. Data is opened once; each run builds its own context,
 * graph, plan and trainer from the recipe, as training does. */
#include "cli/setup.h"
#include "config/options.h"
#include "io/hash.h"

#include <accrue/accrue_io.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UPDATES = 3, WINDOW = 512, RUNS = 64, CHUNK = 4096 };

typedef struct variant {
    int64_t micro;
    int threads;
    const char *isa;
    acr_reduction reduction;
    bool reference; /* fp64 */
    bool immediate; /* no rows are staged: weight gradients by micro-batch */
} variant;

typedef struct running {
    acr_context *ctx;
    acr_graph *graph;
    acr_plan *plan;
    acr_trainer *trainer;
} running;

typedef struct verify {
    acr__cli *cli;
    acr__setup *s;
    int64_t window;
    int64_t updates;
    variant runs[RUNS];
    uint64_t marks[RUNS][UPDATES]; /* of everything after each update */
    double loss[RUNS];
    char hash[RUNS][ACR_HASH_TEXT];
    int count, broken; /* broken: the first run that differs, -1: none */
} verify;

static void stop(running *r)
{
    acr_trainer_destroy(r->trainer);
    acr_plan_destroy(r->plan);
    acr_graph_destroy(r->graph);
    acr_context_destroy(r->ctx);
    *r = (running){0};
}

static acr_status build(running *r, const verify *v, const variant *how)
{
    acr_context_opts co = ACR_CONTEXT_OPTS_INIT;
    co.threads = how->threads;
    co.isa = how->isa;
    TRY(acr_context_create(&r->ctx, &co));
    TRY(acr__setup_graph_again(&r->graph, r->ctx, v->s, how->reference));
    acr_plan_opts po = acr__setup_plan_opts(v->s);
    po.micro_batch = how->micro;
    po.stage_rows = how->immediate ? how->micro : 0;
    po.recompute = how->immediate ? acr_block_count(r->graph) : 0;
    po.max_window_rows = po.max_window_rows / v->s->effective * v->window;
    TRY(acr_plan_create(&r->plan, r->graph, &po));
    acr_trainer_opts to = v->s->trainer_opts;
    to.reduction = how->reduction;
    TRY(acr_trainer_create(&r->trainer, r->plan, &to));
    return acr__setup_init(r->trainer, v->s->cfg);
}

static acr_status start(running *r, const verify *v, const variant *how)
{
    *r = (running){0};
    acr_status status = acr__cli_told(v->cli, NULL, build(r, v, how));
    if (status != ACR_OK) {
        acr__cli_told(v->cli, r->ctx, status);
        stop(r);
    }
    return status;
}

static acr_status step(running *r, const verify *v, int64_t update, acr_report *report)
{
    int64_t per_epoch = (v->s->train_info.samples + v->window - 1) / v->window;
    int64_t first = update % per_epoch * v->window;
    int64_t n = acr__min(v->window, v->s->train_info.samples - first);
    acr_status status = acr_window_open(r->trainer);
    if (status == ACR_OK)
        status = acr_window_pull(r->trainer, &v->s->train_source, update / per_epoch, first, n);
    if (status == ACR_OK)
        status = acr_window_close(r->trainer, report);
    return acr__cli_told(v->cli, r->ctx, status);
}

/* FNV-1a over words: two different states meet in one mark by accident only. */
static uint64_t mix(uint64_t h, const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ ((const unsigned char *)p)[i]) * UINT64_C(1099511628211);
    return h;
}

static void read_chunk(running *r, int param, int slot, int64_t first, int64_t n, float *out)
{
    if (slot < 0)
        acr_param_read(r->trainer, param, first, n, out);
    else
        acr_state_read(r->trainer, param, slot, first, n, out);
}

static uint64_t mark_of(running *r, const acr_report *report)
{
    float chunk[CHUNK];
    uint64_t h = mix(UINT64_C(14695981039346656037), &report->loss, sizeof report->loss);
    h = mix(h, &report->weight, sizeof report->weight);
    h = mix(h, &report->grad_norm, sizeof report->grad_norm);
    for (int p = 0; p < acr_param_count(r->graph); p++)
        for (int slot = -1; slot < (acr_param_trainable(r->trainer, p) ? acr_state_slots(r->trainer) : 0); slot++)
            for (int64_t e = 0, n; e < acr_param_elements(r->graph, p); e += n) {
                n = acr__min(CHUNK, acr_param_elements(r->graph, p) - e);
                read_chunk(r, p, slot, e, n, chunk);
                h = mix(h, chunk, (size_t)n * sizeof *chunk);
            }
    return h;
}

static acr_status run_variant(verify *v, int i)
{
    running r;
    TRY(start(&r, v, &v->runs[i]));
    acr_status status = ACR_OK;
    acr_report report = ACR_REPORT_INIT;
    for (int u = 0; u < v->updates && status == ACR_OK; u++) {
        status = step(&r, v, u, &report);
        if (status == ACR_OK)
            v->marks[i][u] = mark_of(&r, &report);
    }
    v->loss[i] = report.loss;
    if (status == ACR_OK)
        status = acr__cli_told(v->cli, r.ctx, acr_weights_hash(r.trainer, v->hash[i]));
    stop(&r);
    return status;
}

/* ---- what is compared ---- */

static void add_run(verify *v, int64_t micro, int threads, const char *isa)
{
    if (v->count == RUNS || micro > v->window)
        return;
    /* every other run takes its weight gradients by micro-batch, the others staged;
     * where there are blocks it also computes their activations twice */
    v->runs[v->count] = (variant){micro, threads, isa, v->s->trainer_opts.reduction, false, v->count % 2 == 1};
    v->count++;
}

static void choose_runs(verify *v)
{
    const char *best = acr_context_isa(v->s->ctx);
    int threads = acr_context_threads(v->s->ctx);
    int64_t ragged = acr__max(1, v->window * 3 / 8);
    add_run(v, v->window, threads, best);
    add_run(v, ragged, threads, best);
    if (v->window >= 7)
        add_run(v, 7, threads, best);
    add_run(v, 1, threads, best);
    for (int t = 1; t <= 3; t++)
        if (t != threads)
            add_run(v, ragged, t, best);
    for (int i = 0; acr_isa_name(i); i++)
        if (strcmp(acr_isa_name(i), best) != 0)
            add_run(v, ragged, threads, acr_isa_name(i));
}

/* The first tensor that differs after the first update that does. */
static acr_status name_difference(verify *v, int i)
{
    running a, b;
    TRY(start(&a, v, &v->runs[0]));
    acr_status status = start(&b, v, &v->runs[i]);
    if (status != ACR_OK) {
        stop(&a);
        return status;
    }
    acr_report ra = ACR_REPORT_INIT, rb = ACR_REPORT_INIT;
    int u = 0;
    do
        status = step(&a, v, u, &ra) == ACR_OK ? step(&b, v, u, &rb) : ACR_E_STATE;
    while (status == ACR_OK && v->marks[0][u] == v->marks[i][u] && ++u < v->updates);
    float ca[CHUNK], cb[CHUNK];
    acr_status found = ACR_OK;
    for (int p = 0; p < acr_param_count(a.graph) && found == ACR_OK && status == ACR_OK; p++)
        for (int64_t e = 0, n; e < acr_param_elements(a.graph, p) && found == ACR_OK; e += n) {
            n = acr__min(CHUNK, acr_param_elements(a.graph, p) - e);
            acr_param_read(a.trainer, p, e, n, ca);
            acr_param_read(b.trainer, p, e, n, cb);
            for (int64_t k = 0; k < n && found == ACR_OK; k++)
                if (memcmp(&ca[k], &cb[k], sizeof *ca) != 0)
                    found = acr__fail(v->cli->ctx, ACR_E_BROKEN,
                                      "promise 2 is broken: after update %d '%s'[%lld] is %.9g at micro-batch %lld, %d threads, "
                                      "%s and %.9g at micro-batch %lld, %d threads, %s; please report this",
                                      u + 1, acr_param_name(a.graph, p), (long long)(e + k), (double)ca[k],
                                      (long long)v->runs[0].micro, v->runs[0].threads, v->runs[0].isa, (double)cb[k],
                                      (long long)v->runs[i].micro, v->runs[i].threads, v->runs[i].isa);
        }
    stop(&a);
    stop(&b);
    if (status == ACR_OK && found == ACR_OK)
        found = acr__fail(v->cli->ctx, ACR_E_BROKEN, "promise 2 is broken: optimizer state or loss differ after update %d "
                          "between rows 1 and %d of the table; please report this", u + 1, i + 1);
    return status == ACR_OK ? found : status;
}

/* ---- the two figures beside the table ---- */

static double distance(running *a, running *b, double *length)
{
    float ca[CHUNK], cb[CHUNK];
    double d2 = 0, l2 = 0;
    for (int p = 0; p < acr_param_count(a->graph); p++)
        for (int64_t e = 0, n; e < acr_param_elements(a->graph, p); e += n) {
            n = acr__min(CHUNK, acr_param_elements(a->graph, p) - e);
            acr_param_read(a->trainer, p, e, n, ca);
            acr_param_read(b->trainer, p, e, n, cb);
            for (int64_t k = 0; k < n; k++) {
                d2 += ((double)ca[k] - (double)cb[k]) * ((double)ca[k] - (double)cb[k]);
                l2 += (double)ca[k] * (double)ca[k];
            }
        }
    *length = sqrt(l2);
    return sqrt(d2);
}

/* What a mean of micro-batch means does on a ragged split: how far the weights
 * are off after the updates, as a share of how far they moved. */
static acr_status mean_of_means(verify *v, int64_t micro, double *loss, double *off)
{
    variant wrong = v->runs[0], still = v->runs[0];
    wrong.micro = micro;
    wrong.reduction = ACR_MEAN_OF_MICRO_BATCHES;
    running right_run, wrong_run, start_run;
    TRY(start(&right_run, v, &v->runs[0]));
    acr_status status = start(&wrong_run, v, &wrong);
    if (status == ACR_OK) {
        status = start(&start_run, v, &still);
        acr_report a = ACR_REPORT_INIT, b = ACR_REPORT_INIT;
        for (int u = 0; u < v->updates && status == ACR_OK; u++)
            status = step(&right_run, v, u, &a) == ACR_OK ? step(&wrong_run, v, u, &b) : ACR_E_STATE;
        if (status == ACR_OK) {
            double length, moved = distance(&right_run, &start_run, &length);
            *off = distance(&right_run, &wrong_run, &length) / (moved > 0 ? moved : 1);
            *loss = b.loss;
        }
        stop(&start_run);
        stop(&wrong_run);
    }
    stop(&right_run);
    return status;
}

static acr_status fill_window(running *r, const verify *v)
{
    acr_status status = acr_window_open(r->trainer);
    if (status == ACR_OK)
        status = acr_window_pull(r->trainer, &v->s->train_source, 0, 0, v->window);
    return acr__cli_told(v->cli, r->ctx, status);
}

/* |g - g64| / |g64| of the first window, g accumulated one sample at a time. */
static acr_status accumulation_error(verify *v, double *error)
{
    static double cg[CHUNK], cr[CHUNK];
    variant fast = v->runs[0], exact = v->runs[0];
    fast.micro = 1;
    exact.micro = acr__min(v->window, 64);
    exact.reference = true;
    running g, r;
    TRY(start(&g, v, &fast));
    acr_status status = start(&r, v, &exact);
    if (status == ACR_OK) {
        status = fill_window(&g, v);
        if (status == ACR_OK)
            status = fill_window(&r, v);
        double d2 = 0, l2 = 0;
        for (int p = 0; p < acr_param_count(g.graph) && status == ACR_OK; p++)
            for (int64_t e = 0, n; acr_param_trainable(g.trainer, p) && e < acr_param_elements(g.graph, p); e += n) {
                n = acr__min(CHUNK, acr_param_elements(g.graph, p) - e);
                acr_gradient_read(g.trainer, p, e, n, cg);
                acr_gradient_read(r.trainer, p, e, n, cr);
                for (int64_t k = 0; k < n; k++) {
                    d2 += (cg[k] - cr[k]) * (cg[k] - cr[k]);
                    l2 += cr[k] * cr[k];
                }
            }
        *error = l2 > 0 ? sqrt(d2 / l2) : 0;
        stop(&r);
    }
    stop(&g);
    return status;
}

/* ---- printing ---- */

static void print_row(const verify *v, int i)
{
    const variant *r = &v->runs[i];
    bool same = memcmp(v->marks[i], v->marks[0], sizeof v->marks[0]) == 0;
    printf("%11lld  %7d  %-8s  %-12.9g  %.16s  %s\n", (long long)r->micro, r->threads, r->isa, v->loss[i], v->hash[i],
           i == 0 ? "-" : same ? "yes" : "NO");
    fflush(stdout);
}

static acr_status print_json(const verify *v, double off, double error)
{
    acr__json j = {.f = stdout};
    acr__json_object(&j, NULL);
    acr__json_bool(&j, "same_bits", v->broken < 0);
    acr__json_i64(&j, "runs", v->count);
    acr__json_i64(&j, "updates", v->updates);
    acr__json_i64(&j, "window", v->window);
    acr__json_text(&j, "weights_hash", v->hash[0]);
    acr__json_f64(&j, "mean_of_means_off", off);
    acr__json_f64(&j, "accumulation_error", error);
    acr__json_end(&j);
    return ACR_OK;
}

static acr_status compare(verify *v)
{
    if (!v->cli->flags.json)
        printf("%11s  %7s  %-8s  %-12s  %-16s  %s\n", "micro-batch", "threads", "isa", "loss", "weights", "same bits");
    for (int i = 0; i < v->count; i++) {
        TRY(run_variant(v, i));
        if (memcmp(v->marks[i], v->marks[0], sizeof v->marks[0]) != 0 && v->broken < 0)
            v->broken = i;
        if (!v->cli->flags.json)
            print_row(v, i);
    }
    return ACR_OK;
}

static acr_status conclude(verify *v)
{
    double off = NAN, loss = NAN, error = NAN;
    int64_t ragged = acr__max(1, v->window * 3 / 8);
    if (v->window > 2)
        TRY(mean_of_means(v, ragged, &loss, &off));
    TRY(accumulation_error(v, &error));
    if (v->cli->flags.json)
        return print_json(v, off, error);
    if (v->window > 2)
        printf("%11lld  %28s  %-12.9g  mean of means: the weights are off by %.2g%% of their way\n", (long long)ragged, "",
               loss, off * 100);
    printf("\nAccumulation error: the gradient of %lld samples, added one by one in fp32,\n"
           "differs from the same window in fp64 by %.1e of its length.\n",
           (long long)v->window, error);
    if (v->broken < 0)
        printf("%d runs of %lld updates: the same weights, state and losses, bit for bit.\n", v->count,
               (long long)v->updates);
    return ACR_OK;
}

static acr_status verify_setup(acr__cli *cli, acr__setup *s, bool full)
{
    verify *v = calloc(1, sizeof *v);
    FAIL_IF(!v, cli->ctx, ACR_E_NO_MEMORY, "no memory for the comparison");
    v->cli = cli;
    v->s = s;
    v->broken = -1;
    int64_t most = s->language ? acr__max(4, WINDOW / s->sequence_length) : WINDOW;
    v->window = full ? s->effective : acr__min(s->effective, most);
    v->updates = acr__min(UPDATES, s->windows);
    if (v->window < s->effective)
        acr__say(cli, "windows of %lld of the effective batch's %lld samples (--full takes all)", (long long)v->window,
                 (long long)s->effective);
    choose_runs(v);
    acr_status status = compare(v);
    if (status == ACR_OK)
        status = conclude(v);
    if (status == ACR_OK && v->broken >= 0)
        status = name_difference(v, v->broken);
    free(v);
    return status;
}

acr_status acr__cmd_verify(acr__cli *cli)
{
    static const acr__switch switches[] = {{"full", NULL, "windows of the whole effective batch, not of 512 samples"}};
    acr__usage usage = {.uses = ACR__FOR_TRAIN, .switch_count = 1, .switches = switches, .least = 1, .most = 1,
                        .text = "Runs a few updates over micro-batches, thread counts and instruction sets and\n"
                                "compares every byte. Exit 6 if one differs. Writes nothing.\n"};
    bool go;
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    acr__config_opts opts = {.recipe = cli->flags.positional[0], .flags = &cli->flags, .environment = environ};
    acr__config *cfg = NULL;
    TRY(acr__config_load(cli->ctx, &cfg, &opts));
    if (cfg->memory_limit)
        acr__warn(cli, "%s: bounds training, not verify, whose windows and splits are its own",
                  acr__config_where(cfg, ACR__OPT_memory_limit));
    acr__setup s = {0};
    acr_status status = ACR_OK;
    if (cfg->loss_reduction >= ACR_MEAN_OF_MICRO_BATCHES)
        status = acr__fail(cli->ctx, ACR_E_CONFIG, "loss_reduction depends on the split by definition; verify needs mean or sum");
    if (status == ACR_OK)
        status = acr__setup_begin(&s, cli, cfg, NULL, 0);
    if (status == ACR_OK)
        status = acr__setup_open(&s);
    if (status == ACR_OK)
        status = verify_setup(cli, &s, cli->flags.switch_value[0] != NULL);
    acr__setup_end(&s);
    acr__config_free(cfg);
    return status;
}
