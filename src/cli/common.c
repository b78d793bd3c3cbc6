/* common.c: narration, flags and JSON for every subcommand. Nothing here knows
 * what a subcommand does. */
#include "cli/common.h"

#include "io/file.h"
#include "io/json.h"
#include "io/lines.h"
#include <accrue/accrue_io.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- flags ------------------------------------------------------------------- */
static const acr__command *command_of(const acr__cli *cli)
{
    const acr__command *c = acr__commands;
    while (strcmp(c->name, cli->command) != 0)
        c++;
    return c;
}

static void print_usage(const acr__cli *cli, const acr__usage *usage)
{
    const acr__command *c = command_of(cli);
    printf("usage: accrue %s%s%s\n\n%s\n", c->name, *c->arguments ? " " : "", c->arguments, c->summary);
    if (usage->text)
        printf("\n%s", usage->text);
    printf("\n");
    acr__switches_print_help(stdout, usage->switch_count, usage->switches, !usage->no_json);
    if (usage->uses)
        acr__options_print_help(stdout, usage->uses);
}

acr_status acr__cli_flags(acr__cli *cli, const acr__usage *usage, bool *go)
{
    const acr__command *c = command_of(cli);
    *go = false;
    TRY(acr__flags_parse(cli->ctx, &cli->flags, usage->uses, usage->switch_count, usage->switches, cli->argc,
                         cli->argv));
    if (cli->flags.help) {
        print_usage(cli, usage);
        return ACR_OK;
    }
    FAIL_IF(usage->no_json && cli->flags.json, cli->ctx, ACR_E_CONFIG,
            "accrue %s: --json: its result is for people to read; accrue train --json has one for programs", c->name);
    int given = cli->flags.positional_count;
    FAIL_IF(given < usage->least, cli->ctx, ACR_E_CONFIG, "accrue %s: %s is missing; usage: accrue %s %s", c->name,
            given ? "an argument" : "what it is to work on", c->name, c->arguments);
    FAIL_IF(given > usage->most, cli->ctx, ACR_E_CONFIG,
            "accrue %s: '%s' is one argument too many; usage: accrue %s%s%s", c->name,
            cli->flags.positional[usage->most], c->name, *c->arguments ? " " : "", c->arguments);
    *go = true;
    return ACR_OK;
}

acr_status acr__description_load(acr_context *ctx, const char *folder, json_t **out)
{
    char path[ACR__PATH_BYTES];
    return acr__json_load(ctx, acr__inside(folder, "accrue.json", path), 4 << 20, out);
}

static acr_status not_finished(acr_context *ctx, const char *folder)
{
    char path[ACR__PATH_BYTES], now[64] = "";
    acr_checkpoint *c;
    if (acr_checkpoint_latest(&c, ctx, acr__inside(folder, "checkpoints", path)) == ACR_OK && c) {
        acr_clock clock;
        acr_checkpoint_clock(c, &clock);
        snprintf(now, sizeof now, ", with --max_steps %lld to end as it is", (long long)clock.updates);
        acr_checkpoint_close(c);
    }
    return acr__fail(ctx, ACR_E_DATA, "%s: there is no model yet, the run is not finished; accrue train "
                     "%s/resolved.yaml --output_dir %s --resume_from_checkpoint auto%s", folder, folder, folder, now);
}

/* A damaged weight is a number like another: only the hash tells. */
static acr_status compare_hash(acr_context *ctx, const char *model, const char *told)
{
    acr_st *st;
    char hash[ACR_HASH_TEXT];
    TRY(acr_st_open(&st, ctx, model));
    acr_status status = acr_st_weights_hash(st, NULL, hash);
    acr_st_close(st);
    TRY(status);
    FAIL_IF(strcmp(hash, told) != 0, ctx, ACR_E_DATA,
            "%s: has the weights_hash %s, and accrue.json beside it tells %s: it is damaged or was replaced; bring it back, "
            "or write it anew by resuming the run", model, hash, told);
    return ACR_OK;
}

acr_status acr__run_model_check(acr_context *ctx, const char *folder)
{
    char path[ACR__PATH_BYTES];
    json_t *root;
    if (!acr__has(folder, "accrue.json"))
        return acr__has(folder, "resolved.yaml") ? not_finished(ctx, folder) : ACR_OK;
    TRY(acr__description_load(ctx, folder, &root));
    const char *told = json_string_value(json_object_get(root, "weights_hash"));
    acr_status status = told ? compare_hash(ctx, acr__inside(folder, "model.safetensors", path), told) : ACR_OK;
    json_decref(root);
    return status;
}

acr_status acr__cli_told(acr__cli *cli, const acr_context *from, acr_status status)
{
    return status == ACR_OK || !from ? status : acr__fail(cli->ctx, status, "%s", acr_error(from));
}

/* ---- narration --------------------------------------------------------------- */
static void say(const char *prefix, const char *format, va_list args)
{
    char line[2 * ACR_SENTENCE];
    vsnprintf(line, sizeof line, format, args);
    fprintf(stderr, "%s%s\n", prefix, line);
}

#define SAY(condition, prefix)     \
    va_list args;                  \
    va_start(args, format);        \
    if (condition)                 \
        say(prefix, format, args); \
    va_end(args)

void acr__say(const acr__cli *cli, const char *format, ...) { SAY(!cli->flags.quiet, ""); }

void acr__say_more(const acr__cli *cli, const char *format, ...) { SAY(cli->flags.verbose, ""); }

void acr__warn(const acr__cli *cli, const char *format, ...)
{
    SAY(!cli->flags.quiet, cli->color ? "\033[33mwarning:\033[0m " : "warning: ");
}

const char *acr__bytes_text(int64_t bytes, char out[ACR__SHORT])
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    int u = 0;
    for (; v >= 1024 && u < 4; u++)
        v /= 1024;
    snprintf(out, ACR__SHORT, u == 0 || v >= 100 ? "%.0f %s" : "%.1f %s", v, unit[u]);
    return out;
}

const char *acr__time_text(double seconds, char out[ACR__SHORT])
{
    if (!(seconds >= 0) || seconds > 1e9) {
        snprintf(out, ACR__SHORT, "?");
    } else if (seconds < 10) {
        snprintf(out, ACR__SHORT, seconds < 0.01 ? "%.2g ms" : "%.2f s", seconds < 0.01 ? seconds * 1e3 : seconds);
    } else {
        long long s = (long long)(seconds + 0.5);
        if (s >= 3600)
            snprintf(out, ACR__SHORT, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
        else
            snprintf(out, ACR__SHORT, "%lld:%02lld", s / 60, s % 60);
    }
    return out;
}

const char *acr__count_text(int64_t n, char out[ACR__SHORT])
{
    char digits[ACR__SHORT];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)(n < 0 ? 0 : n)), to = 0;
    for (int i = 0; i < length && to + 2 < ACR__SHORT; i++) {
        if (i && (length - i) % 3 == 0)
            out[to++] = ',';
        out[to++] = digits[i];
    }
    out[to] = '\0';
    return out;
}

double acr__seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double acr__wall_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void acr__processor_name(char *out, size_t n)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(out, n, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (colon && strncmp(line, "model name", 10) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(out, n, "%s", colon + 2);
            break;
        }
    }
    if (f)
        fclose(f);
}

/* ---- files -------------------------------------------------------------------- */
const char *acr__inside(const char *folder, const char *name, char path[ACR__PATH_BYTES])
{
    snprintf(path, ACR__PATH_BYTES, "%.4096s/%s", folder, name);
    return path;
}

bool acr__has(const char *folder, const char *name)
{
    char path[ACR__PATH_BYTES];
    return acr__file_kind(acr__inside(folder, name, path)) != 0;
}

/* ---- files made in memory -------------------------------------------------------- */
static acr_status no_memory(const acr__draft *d)
{
    return acr__fail(d->ctx, ACR_E_NO_MEMORY, "%s: memory is short for what is to be written there", d->path);
}

acr_status acr__draft_open(acr__draft *d, acr_context *ctx, const char *path)
{
    *d = (acr__draft){.ctx = ctx, .path = path};
    d->f = open_memstream(&d->text, &d->bytes);
    return d->f ? ACR_OK : no_memory(d);
}

acr_status acr__draft_take(acr__draft *d, char **text)
{
    bool whole = fclose(d->f) == 0;
    *text = whole ? d->text : NULL;
    if (!whole)
        free(d->text);
    return whole ? ACR_OK : no_memory(d);
}

acr_status acr__draft_put(acr__draft *d, acr_status status)
{
    char *text;
    acr_status taken = acr__draft_take(d, &text);
    if (status == ACR_OK)
        status = taken;
    if (status == ACR_OK)
        status = acr__file_put(d->ctx, d->path, text, d->bytes);
    free(text);
    return status;
}

/* ---- JSON ---------------------------------------------------------------------- */
void acr__json_escape(FILE *f, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else if (c < 32 || c == 127)
            fprintf(f, "\\u%04x", c);
        else
            fputc(c, f);
    }
}

static void put_quoted(FILE *f, const char *s, size_t n)
{
    fputc('"', f);
    acr__json_escape(f, s, n);
    fputc('"', f);
}

static void put_key(acr__json *j, const char *key)
{
    if (j->depth && j->more[j->depth])
        fputs(", ", j->f);
    j->more[j->depth] = true;
    if (key) {
        put_quoted(j->f, key, strlen(key));
        fputs(": ", j->f);
    }
}

static void open_level(acr__json *j, const char *key, char open, char close)
{
    put_key(j, key);
    fputc(open, j->f);
    j->depth++;
    j->more[j->depth] = false;
    j->close[j->depth] = close;
}

void acr__json_object(acr__json *j, const char *key) { open_level(j, key, '{', '}'); }

void acr__json_array(acr__json *j, const char *key) { open_level(j, key, '[', ']'); }

void acr__json_end(acr__json *j)
{
    fputc(j->close[j->depth], j->f);
    j->depth--;
    if (j->depth == 0)
        fputc('\n', j->f);
}

void acr__json_text(acr__json *j, const char *key, const char *value)
{
    if (value)
        acr__json_bytes(j, key, value, strlen(value));
    else
        acr__json_raw(j, key, "null");
}

void acr__json_bytes(acr__json *j, const char *key, const char *value, size_t n)
{
    put_key(j, key);
    put_quoted(j->f, value, n);
}

void acr__json_i64(acr__json *j, const char *key, int64_t value)
{
    put_key(j, key);
    fprintf(j->f, "%lld", (long long)value);
}

void acr__json_f64(acr__json *j, const char *key, double value)
{
    char text[ACR_NUMBER_TEXT];
    put_key(j, key);
    acr__number_f64(value, text);
    fputs(value - value == 0 ? text : "null", j->f);
}

void acr__json_bool(acr__json *j, const char *key, bool value) { acr__json_raw(j, key, value ? "true" : "false"); }

void acr__json_raw(acr__json *j, const char *key, const char *value)
{
    put_key(j, key);
    fputs(value, j->f);
}
