/* common.h: what every subcommand is given, and how it answers.
 *
 * A subcommand is a row of commands.def and a function acr__cmd_NAME in
 * cmd_NAME.c. It returns a status; main prints the context's sentence and turns
 * the status into the exit code. Data goes to stdout, narration to stderr.
 *
 * The command line's context (cli->ctx) has one thread and the plain kernels: it
 * parses, reads files and holds the sentence. What trains has its own (setup.h). */
#ifndef ACR_CLI_COMMON_H
#define ACR_CLI_COMMON_H

#include "base/base.h"
#include "config/config.h"

#include <jansson.h>
#include <stdio.h>

extern char **environ; /* the third layer of options; POSIX declares it nowhere */

typedef struct acr__cli {
    acr_context *ctx;
    const char *command; /* as in commands.def */
    int argc;            /* what follows the subcommand's name */
    char **argv;
    acr__flags flags; /* after acr__cli_flags */
    bool terminal;    /* stderr is one */
    bool color;       /* and NO_COLOR is not set */
    int exit_code;    /* -1: what the status says; 75 for a preempted run */
} acr__cli;

typedef struct acr__command {
    const char *name;
    acr_status (*run)(acr__cli *cli);
    const char *arguments, *summary;
} acr__command;
extern const acr__command acr__commands[]; /* ends with a NULL name */
#define ACR_COMMAND(name, arguments, summary) acr_status acr__cmd_##name(acr__cli *cli);
#include "cli/commands.def"
#undef ACR_COMMAND

/* What a subcommand takes besides its name. */
typedef struct acr__usage {
    int uses; /* ACR__FOR_TRAIN, ACR__FOR_EVAL: options of the table; 0: none */
    int switch_count;
    const acr__switch *switches;
    int least, most;  /* positional arguments */
    bool no_json;     /* --json is refused */
    const char *text; /* a paragraph for --help, lines of at most 80 columns; may be NULL */
} acr__usage;
/* Fills cli->flags. *go is false after --help, which it has printed. */
acr_status acr__cli_flags(acr__cli *cli, const acr__usage *usage, bool *go);

/* A run's accrue.json, to be freed with json_decref. */
acr_status acr__description_load(acr_context *ctx, const char *folder, json_t **out);
/* ACR_E_DATA if the folder holds a run that has no model yet, saying how to finish it,
 * or one whose model is not that of its accrue.json. Reads the model once. */
acr_status acr__run_model_check(acr_context *ctx, const char *folder);
/* Copies the sentence of another context into the command line's. */
acr_status acr__cli_told(acr__cli *cli, const acr_context *from, acr_status status);

/* Narration, a line each, on stderr; nothing with -q (say_more: only with -v). */
void acr__say(const acr__cli *cli, const char *format, ...) ACR_PRINTF(2, 3);
void acr__say_more(const acr__cli *cli, const char *format, ...) ACR_PRINTF(2, 3);
void acr__warn(const acr__cli *cli, const char *format, ...) ACR_PRINTF(2, 3);

/* "3.1 MiB", "812 B"; at least `room` = 24 bytes. "1:02:03" or "0.3 s". */
enum { ACR__SHORT = 24 };
const char *acr__bytes_text(int64_t bytes, char out[ACR__SHORT]);
const char *acr__time_text(double seconds, char out[ACR__SHORT]);
/* 65,536 */
const char *acr__count_text(int64_t n, char out[ACR__SHORT]);
double acr__seconds(void);   /* monotonic */
double acr__wall_time(void); /* since 1970 */
/* What the processor calls itself; "unknown" where the system does not say. */
void acr__processor_name(char *out, size_t n);

/* FOLDER/NAME in `path`, which is returned. */
enum { ACR__PATH_BYTES = 4400 };
const char *acr__inside(const char *folder, const char *name, char path[ACR__PATH_BYTES]);
/* Whether something of that name is in the folder. */
bool acr__has(const char *folder, const char *name);

/* A file that is made in memory, so that it appears whole or not at all. A caller
 * writes to `f` and ends with put or take. */
typedef struct acr__draft {
    acr_context *ctx;
    const char *path; /* borrowed; of take's only for the sentence */
    FILE *f;
    char *text;
    size_t bytes;
} acr__draft;
acr_status acr__draft_open(acr__draft *d, acr_context *ctx, const char *path);
/* Writes the file where `status`, that of what made the text, is ACR_OK; returns it else. */
acr_status acr__draft_put(acr__draft *d, acr_status status);
/* The text instead of a file; free it with free(). */
acr_status acr__draft_take(acr__draft *d, char **text);

/* One JSON value to a stream, without a tree. key is NULL inside arrays and for
 * the outermost value; numbers that are not finite are null. */
typedef struct acr__json {
    FILE *f;
    int depth;
    bool more[16];
    char close[16];
} acr__json;
void acr__json_object(acr__json *j, const char *key);
void acr__json_array(acr__json *j, const char *key);
void acr__json_end(acr__json *j);
void acr__json_text(acr__json *j, const char *key, const char *value); /* NULL: null */
void acr__json_bytes(acr__json *j, const char *key, const char *value, size_t n); /* zero bytes may be among them */
void acr__json_i64(acr__json *j, const char *key, int64_t value);
void acr__json_f64(acr__json *j, const char *key, double value);
void acr__json_bool(acr__json *j, const char *key, bool value);
void acr__json_escape(FILE *f, const char *s, size_t n); /* a part of a text, without its quotes */
void acr__json_raw(acr__json *j, const char *key, const char *value); /* a JSON value as text */

/* report.c: FOLDER/report.html from what lies in the run folder (resolved.yaml,
 * metrics.jsonl) and from what receipt.json will hold. Takes at most ACR__REPORT_BYTES
 * of memory. */
enum { ACR__REPORT_BYTES = 256 * 1024 };
acr_status acr__report_write(acr_context *ctx, const char *folder, const char *receipt);

#endif
