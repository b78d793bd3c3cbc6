/* main.c: which subcommand, and what its status means to the shell.
 *
 * Exit codes come from the list of statuses in accrue.h; the one besides is 75,
 * for a run that was told to stop and saved a checkpoint. */
#include "cli/common.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const acr__command acr__commands[] = {
#define ACR_COMMAND(name, arguments, summary) {#name, acr__cmd_##name, arguments, summary},
#include "cli/commands.def"
#undef ACR_COMMAND
    {NULL, NULL, NULL, NULL},
};
enum { COMMANDS = sizeof acr__commands / sizeof *acr__commands - 1 };

static int exit_code(acr_status status)
{
    switch (status) {
#define CODE(name, value, exit_code, meaning) \
    case name:                                \
        return exit_code;
        ACR_STATUS_LIST(CODE)
#undef CODE
    }
    return 1;
}

static void print_help(FILE *f)
{
    fprintf(f,
            "accrue %s: train with any effective batch in whatever memory there is,\n"
            "and get the same weights, bit for bit.\n\n",
            acr_version());
    for (const acr__command *c = acr__commands; c->name; c++)
        fprintf(f, "  accrue %-8s %s\n", c->name, c->summary);
    fprintf(f, "\n  accrue COMMAND --help tells what a command takes; accrue --version\n\n"
               "Exit codes: 0 ok, 1 files or machine, 2 usage or recipe, 3 data or model file,\n"
               "4 would exceed memory_limit, 5 diverged, 6 a promise was found broken,\n"
               "75 told to stop, 130 interrupted: saved, unless save_steps is 0.\n");
}

static const acr__command *find(const char *name)
{
    for (const acr__command *c = acr__commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static int unknown(const char *name)
{
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++)
        names[i] = acr__commands[i].name;
    const char *near = acr__nearest(name, COMMANDS, names);
    fprintf(stderr, "accrue: there is no command '%.60s'", name);
    if (near)
        fprintf(stderr, "; did you mean %s?\n", near);
    else
        fprintf(stderr, "; accrue --help lists them\n");
    return 2;
}

/* Memory is counted to the page: one heap, and what is freed goes back. */
static void keep_heap_small(void)
{
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    mallopt(M_TRIM_THRESHOLD, 64 * 1024);
    mallopt(M_TOP_PAD, 0);
#endif
}

/* The exit code, once stdout has taken all that was printed. */
static int finish(int code)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "accrue: the result could not be written to stdout\n");
        code = code ? code : 1;
    }
    return code;
}

static int run(acr__cli *cli, const acr__command *command)
{
    acr_status status = command->run(cli);
    if (status != ACR_OK && *acr_error(cli->ctx))
        fprintf(stderr, "%saccrue:%s %s\n", cli->color ? "\033[31m" : "", cli->color ? "\033[0m" : "",
                acr_error(cli->ctx));
    else if (status != ACR_OK)
        fprintf(stderr, "accrue: %s\n", acr_status_text(status));
    acr__flags_free(&cli->flags);
    return finish(cli->exit_code >= 0 ? cli->exit_code : exit_code(status));
}

int main(int argc, char **argv)
{
    keep_heap_small();
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return finish(0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("accrue %s, numerics %d\n", acr_version(), acr_numerics());
        return finish(0);
    }
    const acr__command *command = find(argv[1]);
    if (!command)
        return unknown(argv[1]);
    acr__cli cli = {.command = command->name, .argc = argc - 2, .argv = argv + 2, .exit_code = -1};
    const char *no_color = getenv("NO_COLOR");
    cli.terminal = isatty(STDERR_FILENO) == 1;
    cli.color = cli.terminal && (!no_color || !*no_color);
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    opts.threads = 1;
    opts.isa = "scalar";
    if (acr_context_create(&cli.ctx, &opts) != ACR_OK) {
        fprintf(stderr, "accrue: %s\n", cli.ctx ? acr_error(cli.ctx) : "memory is short");
        return 1;
    }
    int code = run(&cli, command);
    acr_context_destroy(cli.ctx);
    return code;
}
