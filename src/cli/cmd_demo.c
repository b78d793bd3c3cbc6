/* cmd_demo.c: what accrue is for, on real data, in under two minutes.
 *
 * Each row of the table is a training of its own in a process of its own, so that
 * its peak memory is what the system says of that process. Nothing is kept. */
#include "cli/shipped.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 24 };

typedef struct demo {
    acr__cli *cli;
    char program[ACR__PATH], recipe[ACR__PATH], folder[ACR__PATH];
    int runs;
} demo;

/* The last line of `text` that begins with '{'. */
static json_t *last_object(char *text)
{
    json_t *found = NULL;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (*line == '{') {
            json_decref(found);
            found = json_loads(line, 0, NULL);
        }
    return found;
}

/* Starts `accrue ARGUMENTS` with its stdout in a pipe (and its stderr closed if
 * quiet) and gives the JSON object it ends with. */
static acr_status run(demo *d, const char *const *arguments, bool quiet, json_t **out)
{
    static char text[65536];
    char *argv[MOST_ARGUMENTS + 2] = {d->program};
    int pipes[2], status = 0, n = 0;
    for (; arguments[n]; n++)
        argv[n + 1] = (char *)(uintptr_t)arguments[n]; /* posix_spawn does not write to them */
    FAIL_IF(pipe(pipes) != 0, d->cli->ctx, ACR_E_IO, "pipe: %s", strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, pipes[0]);
    if (quiet)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_t attributes; /* the child is interrupted; this process waits for it, then cleans up */
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &interrupts);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    pid_t child;
    int error = posix_spawn(&child, d->program, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    size_t used = 0;
    for (ssize_t got; error == 0 && used + 1 < sizeof text;) {
        got = read(pipes[0], text + used, sizeof text - 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    close(pipes[0]);
    text[used] = '\0';
    FAIL_IF(error != 0, d->cli->ctx, ACR_E_IO, "%s: %s", d->program, strerror(error));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    *out = last_object(text);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && *out)
        return ACR_OK;
    json_decref(*out);
    *out = NULL;
    bool stopped = WIFSIGNALED(status) || WEXITSTATUS(status) == 130 || WEXITSTATUS(status) == 75;
    FAIL_IF(stopped, d->cli->ctx, ACR_E_CANCELLED, "interrupted; nothing is kept");
    return acr__fail(d->cli->ctx, ACR_E_IO, "accrue %s %s ended with exit code %d; run it alone to see why", arguments[0],
                     arguments[1], WEXITSTATUS(status));
}

static double number(json_t *record, const char *key)
{
    json_t *v = json_object_get(record, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static acr_status row(demo *d, const char *micro, const char *reduction, const char *label, char hash[40])
{
    char folder[ACR__PATH + 16];
    snprintf(folder, sizeof folder, "%s/run%d", d->folder, d->runs++);
    const char *arguments[] = {"train",        d->recipe, "--json", "--quiet",        "--output_dir", folder,
                               "--max_steps",  "3",       "--save_steps", "0",        "--eval_steps", "0",
                               "--micro_batch_size", micro, "--loss_reduction", reduction, NULL};
    json_t *record;
    TRY(run(d, arguments, true, &record));
    char peak[ACR__SHORT];
    const char *weights = json_string_value(json_object_get(record, "weights_hash"));
    printf("%11s  %9s  %6.2f s  %-10.8g  %.16s%s%s\n", micro,
           acr__bytes_text((int64_t)number(record, "peak_rss_bytes"), peak), number(record, "seconds"),
           number(record, "loss"), weights ? weights : "", *label ? "  " : "", label);
    fflush(stdout);
    snprintf(hash, 40, "%s", weights ? weights : "");
    json_decref(record);
    return ACR_OK;
}

static acr_status table(demo *d)
{
    static const char *const micro[] = {"4096", "256", "16", "1"};
    char first[40] = "", hash[40];
    printf("Fashion-MNIST, 784-512-512-10, AdamW, 3 updates of 4096 samples:\n\n%11s  %9s  %8s  %-10s  %s\n", "micro-batch",
           "peak", "updates", "loss", "weights");
    bool same = true;
    for (int i = 0; i < 4; i++) {
        TRY(row(d, micro[i], "mean", "", i ? hash : first));
        same = same && (i == 0 || strcmp(first, hash) == 0);
    }
    FAIL_IF(!same, d->cli->ctx, ACR_E_BROKEN, "the weights differ between micro-batches: promise 2 is broken, please report this");
    TRY(row(d, "1000", "mean_of_micro_batches", "a mean of micro-batch means: other weights", hash));
    printf("\nOne effective batch, any micro-batch: the same weights, bit for bit.\n");
    return ACR_OK;
}

static acr_status whole_recipe(demo *d)
{
    char folder[ACR__PATH + 16];
    snprintf(folder, sizeof folder, "%s/run%d", d->folder, d->runs++);
    const char *train[] = {"train", d->recipe, "--json", "--output_dir", folder, "--save_steps", "0", NULL};
    const char *eval[] = {"eval", folder, "--json", "--quiet", NULL};
    printf("\nThe recipe as shipped:\n");
    fflush(stdout);
    json_t *record;
    TRY(run(d, train, d->cli->flags.quiet, &record));
    double seconds = number(record, "seconds"), peak = number(record, "peak_rss_bytes"), rate = number(record, "samples_per_second");
    json_decref(record);
    TRY(run(d, eval, true, &record));
    char bytes[ACR__SHORT], time[ACR__SHORT];
    printf("trained in %s at %.0f samples a second, peak memory %s\ntest accuracy %.2f%%\n", acr__time_text(seconds, time), rate,
           acr__bytes_text((int64_t)peak, bytes), number(record, "accuracy") * 100);
    json_decref(record);
    return ACR_OK;
}

/* Removes what the runs left; the folder is this process's own. */
static void clean(demo *d)
{
    const char *arguments[] = {"rm", "-rf", "--", d->folder, NULL};
    pid_t child;
    if (posix_spawnp(&child, "rm", NULL, NULL, (char *const *)(uintptr_t)arguments, environ) == 0)
        waitpid(child, NULL, 0);
}

acr_status acr__cmd_demo(acr__cli *cli)
{
    acr__usage usage = {.no_json = true,
                        .text = "Trains Fashion-MNIST with one effective batch and several micro-batches, then\n"
                                "the recipe as shipped. Under two minutes on two cores; nothing is kept.\n"};
    bool go;
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    demo d = {.cli = cli};
    const char *tmp = getenv("TMPDIR");
    TRY(acr__program_path(cli->ctx, d.program));
    TRY(acr__shipped_recipe(cli->ctx, "fashion-mnist", d.recipe));
    snprintf(d.folder, sizeof d.folder, "%.3000s/accrue-demo-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    FAIL_IF(!mkdtemp(d.folder), cli->ctx, ACR_E_IO, "%s: %s", d.folder, strerror(errno));
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    acr_status status = table(&d);
    if (status == ACR_OK)
        status = whole_recipe(&d);
    clean(&d);
    return status;
}
