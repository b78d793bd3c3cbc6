/* progress.c: see progress.h. */
#include "cli/progress.h"

#include "cli/memory.h"

#include <string.h>

static const double REWRITE = 0.1;                    /* seconds between two states of the terminal's line */
static const double FIRST_LINE = 1, SELDOM_LINE = 60; /* seconds between plain lines: doubles from one to the other */

void acr__progress_begin(acr__progress *p, const acr__cli *cli, int64_t windows, int64_t done, int64_t memory_limit)
{
    double now = acr__seconds();
    *p = (acr__progress){.cli = cli,
                         .windows = windows,
                         .first = done,
                         .done = done,
                         .memory_limit = memory_limit,
                         .start = now,
                         .every = cli->terminal ? REWRITE : FIRST_LINE};
    p->next = now + p->every;
}

/* micro: where the open window is, as text; part: the share of it that is done. */
static void print_line(acr__progress *p, const char *micro, double part, double now)
{
    char line[320], rate[ACR__SHORT], peak[ACR__SHORT], limit[ACR__SHORT], eta[ACR__SHORT];
    double passed = now - p->start, windows = (double)(p->done - p->first) + part;
    double left = windows > 0 ? passed / windows * ((double)(p->windows - p->done) - part) : 0;
    acr__count_text((int64_t)(passed > 0 ? (double)(p->samples + p->open_samples) / passed : 0), rate);
    int n = snprintf(line, sizeof line, "step %lld/%lld", (long long)p->done, (long long)p->windows);
    if (p->done > p->first)
        n += snprintf(line + n, sizeof line - (size_t)n, " | loss %.4g | lr %.3g | gnorm %.3g", p->loss,
                      p->learning_rate, p->grad_norm);
    n += snprintf(line + n, sizeof line - (size_t)n, " | %s/s%s | mem %s/%s", rate, micro,
                  acr__bytes_text(acr__memory_peak(), peak), acr__bytes_text(p->memory_limit, limit));
    if (left > 0)
        snprintf(line + n, sizeof line - (size_t)n, " | ETA %s", acr__time_text(left, eta));
    if (p->cli->terminal)
        fprintf(stderr, "\r%s\033[K", line);
    else
        fprintf(stderr, "%s\n", line);
    fflush(stderr);
    p->shown = p->cli->terminal;
    if (!p->cli->terminal && p->every < SELDOM_LINE)
        p->every *= 2;
    p->next = now + p->every;
}

void acr__progress_add(acr__progress *p, const acr_report *r)
{
    p->done = r->window + 1;
    p->samples += r->samples;
    p->loss = r->loss;
    p->learning_rate = r->learning_rate;
    p->grad_norm = r->grad_norm;
    p->open_samples = 0;
}

void acr__progress_show(acr__progress *p, double now)
{
    if (now >= p->next && !p->cli->flags.quiet)
        print_line(p, "", 0, now);
}

void acr__progress_micro(acr__progress *p, int64_t done, int64_t of, int64_t micro_batch, double now)
{
    char micro[64];
    p->open_samples = done;
    if (now < p->next || p->cli->flags.quiet)
        return;
    snprintf(micro, sizeof micro, " | micro %lld/%lld", (long long)((done + micro_batch - 1) / micro_batch),
             (long long)((of + micro_batch - 1) / micro_batch));
    print_line(p, micro, (double)done / (double)of, now);
}

void acr__progress_break(acr__progress *p)
{
    if (p->shown)
        fputc('\n', stderr);
    p->shown = false;
}

void acr__progress_end(acr__progress *p)
{
    if (p->done > p->first && !p->cli->flags.quiet)
        print_line(p, "", 0, acr__seconds());
    acr__progress_break(p);
}
