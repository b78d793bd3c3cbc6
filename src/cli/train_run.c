/* train_run.c: the callbacks of the train loop, signals, checkpoints. What is
 * written once at the end is train_finish.c's.
 *
 * Invariant: after every update either nothing of it is in the folder's
 * checkpoint or all of it, lines of metrics included. */
#include "cli/train_run.h"

#include "cli/language.h"

#include <math.h>
#include <signal.h>
#include <string.h>

static const double SAVE_EVERY = 600;   /* seconds: save_steps auto */
static const double LOOK_WORK = 1e6;    /* multiply-adds between two looks at the clock */
static const double LONG_WINDOW = 2e10; /* multiply-adds of a window whose micro-batches are worth showing */

/* ---- signals ------------------------------------------------------------------- */
/* A handler has no argument: the context it cancels, and what came. */
static acr_context *signal_context;
static volatile sig_atomic_t signal_seen;

static void on_signal(int number)
{
    signal_seen = number;
    acr_cancel(signal_context);
}

/* Behind nohup a closed terminal is no reason to stop. */
static bool hangup_counts(void)
{
    struct sigaction a;
    return sigaction(SIGHUP, NULL, &a) == 0 && a.sa_handler != SIG_IGN;
}

/* One signal asks, a second one stops at once: the handler is gone after the first. */
static void catch_signals(acr_context *ctx)
{
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = on_signal;
    a.sa_flags = (int)SA_RESETHAND;
    signal(SIGPIPE, SIG_IGN); /* whoever read the narration may go; training goes on */
    signal_context = ctx;
    signal_seen = 0;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    if (hangup_counts())
        sigaction(SIGHUP, &a, NULL);
}

static void leave_signals(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (hangup_counts())
        signal(SIGHUP, SIG_DFL);
}

/* ---- between updates ------------------------------------------------------------- */
static acr_status save(acr__train_run *r)
{
    acr_clock clock;
    TRY(acr__run_log_mark(&r->log));
    TRY(acr__run_checkpoint_save(r->folder, r->s->trainer, (int)r->s->cfg->save_total_limit, &r->state));
    TRY(acr_clock_get(r->s->trainer, &clock));
    r->saved_at = clock.windows;
    r->saved_time = acr__seconds();
    return ACR_OK;
}

static bool better(const acr__train_run *r, double metric)
{
    if (r->state.best_step == 0 || isnan(r->state.best_metric))
        return !isnan(metric);
    return r->s->cfg->metric_for_best_model == ACR__METRIC_ACCURACY ? metric > r->state.best_metric
                                                                    : metric < r->state.best_metric;
}

static acr_status evaluate(acr__train_run *r)
{
    acr_eval e = ACR_EVAL_INIT;
    acr_clock clock;
    acr__setup *s = r->s;
    TRY(acr_clock_get(s->trainer, &clock));
    r->state.eval_due = 1;
    TRY(acr__run_log_flush(&r->log)); /* an evaluation may take long */
    TRY(acr_evaluate(s->trainer, &s->eval_source, s->eval_info.samples, &e));
    char *sample;
    TRY(acr__train_sample(r, &sample)); /* stopped here, the evaluation is still due: its line is not written */
    r->state.eval_due = 0;
    r->state.eval_step = clock.windows;
    r->state.eval_loss = e.loss;
    r->state.eval_accuracy = e.accuracy;
    acr_status logged = acr__run_log_eval(&r->log, clock.updates, clock.windows, &e, sample);
    acr__free(s->ctx, sample);
    TRY(logged);
    acr__progress_break(&r->progress);
    char accuracy[40] = "";
    if (s->language)
        snprintf(accuracy, sizeof accuracy, " | eval_perplexity %.4g", exp(e.loss));
    else if (!isnan(e.accuracy))
        snprintf(accuracy, sizeof accuracy, " | eval_accuracy %.4f", e.accuracy);
    acr__say(r->cli, "step %lld | eval_loss %.4g%s", (long long)clock.updates, e.loss, accuracy);
    double metric = s->cfg->metric_for_best_model == ACR__METRIC_ACCURACY ? e.accuracy : e.loss;
    if (!s->cfg->load_best_model_at_end || !better(r, metric))
        return ACR_OK;
    r->state.best_step = clock.windows;
    r->state.best_metric = metric;
    return save(r);
}

/* The rare part of an update; what it takes is not training time. */
static acr_status rare(acr__train_run *r, const acr_report *report, bool line, bool eval, bool keep)
{
    double start = acr__seconds();
    acr_status status = ACR_OK;
    if (line)
        status = acr__run_log_line(&r->log, report);
    if (status == ACR_OK && eval)
        status = evaluate(r);
    if (status == ACR_OK && keep && r->saved_at != report->window + 1) /* not the best model's, just now */
        status = save(r);
    r->paused += acr__seconds() - start;
    return status;
}

static acr_status on_update(void *user, const acr_report *report)
{
    acr__train_run *r = user;
    int64_t done = report->window + 1;
    bool last = done == r->s->windows;
    acr__run_log_add(&r->log, report);
    r->why_skipped = report->skipped ? report->skipped : r->why_skipped;
    acr__progress_add(&r->progress, report);
    r->looked += report->samples;
    double now = 0; /* not looked at: the epoch of the clock, long ago */
    if (r->looked >= r->look_every) {
        r->looked = 0;
        now = acr__seconds();
        acr__progress_show(&r->progress, now);
    }
    bool line = done % r->log_every == 0 || last;
    bool eval = r->eval_every > 0 && (done % r->eval_every == 0 || last);
    bool keep = !last && (r->save_every > 0 ? done % r->save_every == 0
                                            : r->save_every < 0 && now - r->saved_time >= SAVE_EVERY);
    return line || eval || keep ? rare(r, report, line, eval, keep) : ACR_OK;
}

static acr_status on_micro_batch(void *user, int64_t done, int64_t of)
{
    acr__train_run *r = user;
    acr__progress_micro(&r->progress, done, of, r->s->micro_batch, acr__seconds());
    return ACR_OK;
}

/* ---- the run ------------------------------------------------------------------------ */
/* The best model so far counts if it was chosen by what would choose now, and is still
 * there: it is not where the checkpoint is another run's, or was removed since. */
static void check_best(acr__train_run *r)
{
    int64_t step = r->state.best_step;
    if (step == 0 || !r->s->cfg->load_best_model_at_end)
        return;
    bool there = acr__run_best_there(r->folder, step);
    if (there && !r->s->cfg->judged_anew)
        return;
    acr__warn(r->cli, "the best model so far, of window %lld, %s: the best is sought from here on", (long long)step,
              there ? "was chosen by another measure" : "is not in this folder");
    r->state.best_step = 0;
    r->state.best_metric = NAN;
}

acr_status acr__train_run_begin(acr__train_run *r, acr__cli *cli, acr__setup *s, acr__run_folder *folder,
                                acr_checkpoint *from)
{
    acr__config *cfg = s->cfg;
    *r = (acr__train_run){.cli = cli, .s = s, .folder = folder, .log_every = cfg->logging_steps};
    r->state.last_loss = r->state.eval_loss = r->state.eval_accuracy = r->state.best_metric = NAN;
    r->eval_every = s->eval_info.samples ? acr__horizon_updates(cfg->eval_steps, &s->epoch) : 0;
    r->save_every = acr__horizon_updates(cfg->save_steps, &s->epoch);
    acr_status status = ACR_OK;
    if (from)
        status = acr__run_checkpoint_restore(folder, from, s->trainer, &r->state);
    acr_checkpoint_close(from);
    if (status == ACR_OK)
        check_best(r);
    if (status == ACR_OK)
        status = acr__run_events_clear(folder, r->state.events);
    if (status == ACR_OK)
        status = acr__run_log_open(&r->log, s->ctx, folder, &r->state, s, from == NULL);
    if (status == ACR_OK)
        status = acr_clock_get(s->trainer, &r->begun);
    r->look_every = (int64_t)(LOOK_WORK / 3 / (double)s->parameters);
    r->saved_at = from ? r->begun.windows : 0;
    r->saved_time = acr__seconds();
    return status;
}

/* Stopped by a signal: the window that was open is gone, the clock stands at its start. */
static acr_status save_stopped(acr__train_run *r)
{
    acr_clock clock;
    TRY(acr_clock_get(r->s->trainer, &clock));
    acr__progress_break(&r->progress);
    if (r->save_every == 0) {
        TRY(acr__run_log_flush(&r->log));
        acr__warn(r->cli, "stopped after update %lld; save_steps is 0, so nothing was saved", (long long)clock.updates);
        return ACR_OK;
    }
    if (r->saved_at != clock.windows || r->state.eval_due)
        TRY(save(r));
    acr__say(r->cli,
             "stopped after update %lld, saved; --resume_from_checkpoint auto --output_dir %s goes on from there",
             (long long)clock.updates, r->folder->path);
    return ACR_OK;
}

static double window_work(const acr__setup *s)
{
    double sample = s->language ? acr__language_work(&s->lm, s->sequence_length) : (double)s->parameters * 3;
    return sample * (double)s->effective;
}

acr_status acr__train_run_go(acr__train_run *r, int *signal)
{
    acr__setup *s = r->s;
    acr_train_opts opts = ACR_TRAIN_OPTS_INIT;
    opts.samples = s->train_info.samples;
    opts.effective_batch = s->effective;
    opts.max_steps = s->windows;
    opts.drop_last = s->cfg->last_window == ACR__LAST_DROP;
    opts.source = &s->train_source;
    opts.on_update = on_update;
    opts.user = r;
    bool slow = window_work(s) > LONG_WINDOW;
    opts.on_micro_batch = slow && !r->cli->flags.quiet ? on_micro_batch : NULL;
    *signal = 0;
    catch_signals(s->ctx);
    acr__progress_begin(&r->progress, r->cli, s->windows, r->begun.windows,
                        s->cfg->memory_limit ? s->cfg->memory_limit : s->planned_bytes);
    r->progress.sample_tokens = (double)s->epoch.tokens / (double)s->epoch.samples;
    acr_status status = r->state.eval_due && r->eval_every > 0 ? evaluate(r) : ACR_OK;
    double start = acr__seconds();
    if (status == ACR_OK)
        status = acr_train(s->trainer, &opts);
    r->seconds = acr__seconds() - start - r->paused;
    if (status == ACR_E_CANCELLED && signal_seen) {
        *signal = signal_seen;
        acr_cancel_clear(s->ctx);
        acr_status saved = save_stopped(r);
        leave_signals();
        return saved == ACR_OK ? status : saved;
    }
    acr__progress_end(&r->progress);
    if (status == ACR_OK && r->save_every != 0 && r->saved_at != s->windows)
        status = save(r);
    if (status == ACR_OK)
        status = acr__run_log_flush(&r->log);
    leave_signals();
    return status;
}

acr_status acr__train_run_skipped(const acr__train_run *r)
{
    static const char *const told[] = {"", ": their gradient was not finite; lower learning_rate or set max_grad_norm",
                                       ": the weight of all their samples is 0"};
    const char *why = told[r->why_skipped];
    acr_clock clock;
    TRY(acr_clock_get(r->s->trainer, &clock));
    FAIL_IF(clock.skipped > 0 && clock.updates == 0, r->s->ctx, ACR_E_DIVERGED,
            "nothing was learned: all %lld windows were skipped%s", (long long)clock.skipped, why);
    if (clock.skipped > 0)
        acr__warn(r->cli, "%lld of %lld windows were skipped%s", (long long)clock.skipped, (long long)clock.windows,
                  why);
    return ACR_OK;
}

void acr__train_run_end(acr__train_run *r) { acr__run_log_close(&r->log); }
