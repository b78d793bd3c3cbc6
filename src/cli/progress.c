/* progress.c: see progress.h. */
#include "cli/progress.h"

#include "cli/memory.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

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

/* What a terminal's line takes; a longer one wraps, and \r can't go back over two. 0: any length. */
static size_t room(const acr__cli *cli)
{
    struct winsize w;
    return cli->terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col - 1u : 0;
}

/* micro: where the open window is, as text; part: the share of it that is done. */
static void print_line(acr__progress *p, const char *micro, double part, double now)
{
    char line[320], memory[2 * ACR__SHORT + 16], eta[ACR__SHORT + 8] = "", text[3][ACR__SHORT];
    size_t most = room(p->cli);
    double passed = now - p->start, windows = (double)(p->done - p->first) + part;
    double left = windows > 0 ? passed / windows * ((double)(p->windows - p->done) - part) : 0;
    double made = (double)(p->samples + p->open_samples) * (p->sample_tokens > 0 ? p->sample_tokens : 1);
    acr__count_text((int64_t)(passed > 0 ? made / passed : 0), text[0]);
    int n = snprintf(line, sizeof line, "step %lld/%lld", (long long)p->done, (long long)p->windows);
    if (p->done > p->first)
        n += snprintf(line + n, sizeof line - (size_t)n, " | loss %.4g | lr %.3g | gnorm %.3g", p->loss,
                      p->learning_rate, p->grad_norm);
    n += snprintf(line + n, sizeof line - (size_t)n, " | %s%s/s%s", text[0], p->sample_tokens > 0 ? " tok" : "", micro);
    snprintf(memory, sizeof memory, " | mem %s/%s", acr__bytes_text(acr__memory_peak(), text[1]),
             acr__bytes_text(p->memory_limit, text[2]));
    if (left > 0)
        snprintf(eta, sizeof eta, " | ETA %s", acr__time_text(left, text[0]));
    /* Where it is narrow, the memory goes first: the banner has told what was planned. */
    bool narrow = most && (size_t)n + strlen(memory) + strlen(eta) > most;
    snprintf(line + n, sizeof line - (size_t)n, "%s%s", narrow ? "" : memory, eta);
    if (most && strlen(line) > most)
        line[most] = '\0';
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
