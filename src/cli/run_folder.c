/* run_folder.c: see run_folder.h. */
#include "cli/run_folder.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_BYTES = 1 << 20, NUMBER = 32, MOST_RUNS = 100000 };
#define EVENTS "events.out.tfevents."

/* ---- where -------------------------------------------------------------------- */
typedef struct search {
    const char *begin; /* of the name */
    char found[256];   /* one of those; "": none */
} search;

static acr_status see_name(void *user, const char *name)
{
    search *s = user;
    if (strncmp(name, s->begin, strlen(s->begin)) == 0)
        snprintf(s->found, sizeof s->found, "%s", name);
    return ACR_OK;
}

/* Whether a run has begun there: what would be overwritten. */
static bool holds_run(acr__run_folder *r)
{
    static const char *const sign[] = {"resolved.yaml", "metrics.jsonl", "model.safetensors", "receipt.json"};
    search checkpoint = {.begin = "step-"}; /* the folder alone says nothing: a refused start leaves it */
    for (size_t i = 0; i < sizeof sign / sizeof *sign; i++)
        if (acr__has(r->path, sign[i]))
            return true;
    return acr__file_kind(r->checkpoints) == 2 &&
           acr__folder_list(r->ctx, r->checkpoints, see_name, &checkpoint) == ACR_OK && *checkpoint.found;
}

/* A file that a run would replace, in a folder that holds none: it is somebody else's. */
static bool stranger(acr__run_folder *r, search *out)
{
    static const char *const written[] = {"report.html", "tokenizer.json", "accrue.json", "metrics.csv"};
    *out = (search){.begin = EVENTS};
    for (size_t i = 0; i < sizeof written / sizeof *written; i++)
        if (acr__has(r->path, written[i])) {
            snprintf(out->found, sizeof out->found, "%s", written[i]);
            return true;
        }
    return acr__file_kind(r->path) == 2 && acr__folder_list(r->ctx, r->path, see_name, out) == ACR_OK && *out->found;
}

static acr_status set_path(acr__run_folder *r, const char *path)
{
    FAIL_IF(strlen(path) >= sizeof r->path, r->ctx, ACR_E_CONFIG, "output_dir: the path is longer than %d bytes",
            (int)sizeof r->path - 1);
    memmove(r->path, path, strlen(path) + 1);
    snprintf(r->checkpoints, sizeof r->checkpoints, "%s/checkpoints", r->path);
    return ACR_OK;
}

typedef struct numbering {
    char begin[256]; /* "NAME-" */
    int last;        /* 0: there is none */
} numbering;

static acr_status see_number(void *user, const char *name)
{
    numbering *s = user;
    size_t n = strlen(s->begin);
    const char *digits = strncmp(name, s->begin, n) == 0 ? name + n : "";
    if (strlen(digits) >= 3 && strlen(digits) <= 5 && strspn(digits, "0123456789") == strlen(digits) &&
        atoi(digits) > s->last)
        s->last = atoi(digits);
    return ACR_OK;
}

/* runs/NAME-NNN: the last that exists when resuming, else the one behind it. */
static acr_status number_path(acr__run_folder *r, const char *name)
{
    char path[512];
    numbering seen = {.last = 0};
    r->numbered = true;
    snprintf(seen.begin, sizeof seen.begin, "%.200s-", name);
    if (acr__file_kind("runs") == 2)
        TRY(acr__folder_list(r->ctx, "runs", see_number, &seen));
    int n = r->resume && seen.last > 0 ? seen.last : seen.last + 1;
    FAIL_IF(n >= MOST_RUNS, r->ctx, ACR_E_CONFIG, "runs/%s%d exists, the last number there is; give output_dir", seen.begin,
            seen.last);
    snprintf(path, sizeof path, "runs/%s%03d", seen.begin, n);
    return set_path(r, path);
}

/* A checkpoint FOLDER/checkpoints/FILE belongs to the run in FOLDER. */
static bool run_of_checkpoint(const char *file, char *folder, size_t size)
{
    snprintf(folder, size, "%s", file);
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder || (up == 1 && strcmp(slash, "/checkpoints") != 0))
            return false;
        *slash = '\0';
    }
    return true;
}

static acr_status resolve_checkpoint(acr__run_folder *r, const acr__config *cfg)
{
    const char *from = cfg->resume_from_checkpoint;
    char folder[sizeof r->checkpoint];
    FAIL_IF(strlen(from) >= sizeof r->path, r->ctx, ACR_E_CONFIG, "resume_from_checkpoint: the path is too long");
    int kind = acr__file_kind(from);
    FAIL_IF(kind == 0, r->ctx, ACR_E_DATA, "resume_from_checkpoint: %s is not there", from);
    if (kind == 2) { /* a run folder: its newest */
        FAIL_IF(cfg->output_dir && strcmp(cfg->output_dir, from) != 0, r->ctx, ACR_E_CONFIG,
                "resume_from_checkpoint: %s is a folder; name one of its checkpoints, or make it the output_dir", from);
        return set_path(r, from);
    }
    snprintf(r->checkpoint, sizeof r->checkpoint, "%s", from);
    bool own = run_of_checkpoint(from, folder, sizeof folder);
    if (!cfg->output_dir)
        return own ? set_path(r, folder) : number_path(r, cfg->name);
    TRY(set_path(r, cfg->output_dir));
    FAIL_IF((!own || strcmp(folder, r->path) != 0) && holds_run(r), r->ctx, ACR_E_CONFIG,
            "%s holds a run already, and %s is not one of its checkpoints; give another output_dir", r->path, from);
    return ACR_OK;
}

acr_status acr__run_folder_resolve(acr__run_folder *r, acr_context *ctx, acr__config *cfg)
{
    const char *from = cfg->resume_from_checkpoint;
    *r = (acr__run_folder){.ctx = ctx};
    acr_status status = acr__config_text(cfg, &r->config);
    if (status == ACR_OK)
        status = acr__config_recipe_hash(cfg, r->recipe_hash);
    FAIL_IF(status != ACR_OK, ctx, status, "%s", acr_error(cfg->ctx));
    r->resume = from && strcmp(from, "none") != 0;
    if (r->resume && strcmp(from, "auto") != 0)
        TRY(resolve_checkpoint(r, cfg));
    else if (cfg->output_dir)
        TRY(set_path(r, cfg->output_dir));
    else
        TRY(number_path(r, cfg->name));
    int kind = acr__file_kind(r->path);
    FAIL_IF(kind == 1 || kind == 3, ctx, ACR_E_CONFIG, "output_dir: %s exists and is not a folder", r->path);
    const bool holds = holds_run(r);
    FAIL_IF(!r->resume && holds, ctx, ACR_E_CONFIG,
            "%s holds a run already: go on with it by --resume_from_checkpoint auto, or give another --output_dir",
            r->path);
    search other;
    FAIL_IF(!holds && stranger(r, &other), ctx, ACR_E_CONFIG,
            "output_dir: %s holds a %s that no run wrote, and a run would replace it; give another folder, or move the file",
            r->path, other.found);
    return ACR_OK;
}

acr_status acr__run_folder_take(acr__run_folder *r, const acr__config *cfg)
{
    for (int n = 1;; n++) {
        TRY(acr__folder_create(r->ctx, r->path));
        acr_status status = acr__lock_take(&r->lock, r->ctx, r->path);
        if (status != ACR_E_LOCKED || !r->numbered || r->resume || n == 100) {
            TRY(status);
            break;
        }
        TRY(number_path(r, cfg->name)); /* somebody else was faster */
    }
    TRY(acr__folder_create(r->ctx, r->checkpoints));
    acr__folder_clean(r->ctx, r->path, true);
    acr__folder_clean(r->ctx, r->checkpoints, true);
    return ACR_OK;
}

void acr__run_folder_release(acr__run_folder *r)
{
    acr__lock_release(r->lock);
    r->lock = NULL;
}

/* ---- the receipt of a finished run -------------------------------------------------- */
static acr_status compare_config(acr__run_folder *r, acr__config *cfg, const char *where, const char *stored,
                                 acr__texts *changes)
{
    acr_status status = acr__config_compare(cfg, stored, changes);
    if (status != ACR_OK)
        return acr__fail(r->ctx, status, "%s: %s", where, acr_error(cfg->ctx));
    return ACR_OK;
}

static acr_status read_record(acr__run_folder *r, acr__config *cfg, const char *path, int64_t windows,
                              const json_t *root, char **record)
{
    const json_t *own = json_object_get(root, "record");
    const char *config = json_string_value(json_object_get(root, "config"));
    FAIL_IF(!json_is_object(own) || !config || !json_is_integer(json_object_get(own, "windows")), r->ctx, ACR_E_DATA,
            "%s: is not a receipt of accrue", path);
    if (json_integer_value(json_object_get(own, "windows")) < windows)
        return ACR_OK;
    acr__texts changes = {0};
    TRY(compare_config(r, cfg, path, config, &changes));
    *record = json_dumps(own, JSON_REAL_PRECISION(17));
    return *record ? ACR_OK : acr__fail(r->ctx, ACR_E_NO_MEMORY, "%s: memory is short", path);
}

/* Where the receipt of the run in `folder` is or would be. Older runs have a
 * run.json, with configuration and record alone. */
static void receipt_path(const char *folder, char *out, size_t n)
{
    snprintf(out, n, "%s/%s", folder, !acr__has(folder, "receipt.json") && acr__has(folder, "run.json") ? "run.json" : "receipt.json");
}

acr_status acr__run_record_read(acr__run_folder *r, acr__config *cfg, int64_t windows, char **record)
{
    char path[ACR__PATH_BYTES], *text;
    size_t bytes;
    json_error_t error;
    *record = NULL;
    receipt_path(r->path, path, sizeof path);
    if (acr__file_kind(path) != 1)
        return ACR_OK;
    TRY(acr__file_load(r->ctx, path, RECORD_BYTES, &text, &bytes));
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    acr__free(r->ctx, text);
    FAIL_IF(!root, r->ctx, ACR_E_DATA, "%s: line %d: %s", path, error.line, error.text);
    acr_status status = read_record(r, cfg, path, windows, root, record);
    json_decref(root);
    return status;
}

/* The checkpoint's history, and what it has become by this resume. */
static void continue_history(acr__run_folder *r, const acr__config *cfg, const acr_checkpoint *c)
{
    const char *before = acr_checkpoint_value(c, "history");
    char line[512];
    acr_clock clock;
    acr_checkpoint_clock(c, &clock);
    snprintf(r->history, sizeof r->history, "%s", before ? before : "");
    for (int i = 0; i < cfg->bends.count; i++) {
        snprintf(line, sizeof line, "after update %lld: %.400s\n", (long long)clock.updates, cfg->bends.item[i]);
        if (strlen(r->history) + strlen(line) < sizeof r->history) /* the first ones say enough */
            strcat(r->history, line);
    }
}

/* ---- checkpoints --------------------------------------------------------------------- */
acr_status acr__run_checkpoint_open(acr__run_folder *r, acr__config *cfg, acr_checkpoint **out, acr__texts *changes)
{
    acr_checkpoint *c = NULL;
    *out = NULL;
    if (!r->resume)
        return ACR_OK;
    if (*r->checkpoint)
        TRY(acr_checkpoint_open(&c, r->ctx, r->checkpoint));
    else
        TRY(acr_checkpoint_latest(&c, r->ctx, r->checkpoints));
    if (!c)
        return ACR_OK;
    const char *config = acr_checkpoint_value(c, "config"), *data = acr_checkpoint_value(c, "data");
    acr_status status = ACR_OK;
    cfg->same_data = data && *r->data && strcmp(data, r->data) == 0;
    if (!config)
        status = acr__fail(r->ctx, ACR_E_DATA, "%s: holds no configuration; it was not written by accrue train",
                           acr_checkpoint_path(c));
    else
        status = compare_config(r, cfg, acr_checkpoint_path(c), config, changes);
    if (status == ACR_OK && data && *r->data && !cfg->same_data)
        status = acr__fail(r->ctx, ACR_E_DATA,
                           "%s: was trained on other data (checksum %s) than data.train gives now (%s): a file, or the "
                           "tokenizer, has changed; put it back, or begin in another output_dir",
                           acr_checkpoint_path(c), data, r->data);
    if (status != ACR_OK) {
        acr_checkpoint_close(c);
        return status;
    }
    continue_history(r, cfg, c);
    *out = c;
    return ACR_OK;
}

static acr_status read_state(acr__run_folder *r, const acr_checkpoint *c, acr__run_state *s)
{
    const char *text;
    char *end;
#define READ(name, convert)                                                                                \
    text = acr_checkpoint_value(c, "run." #name);                                                          \
    s->name = text ? convert : 0;                                                                          \
    FAIL_IF(!text || end == text || *end, r->ctx, ACR_E_DATA, "%s: run." #name " is missing or no number", \
            acr_checkpoint_path(c));
#define COUNT(name) READ(name, strtoll(text, &end, 10))
#define REAL(name)  READ(name, strtod(text, &end))
    ACR__RUN_COUNTS(COUNT)
    ACR__RUN_REALS(REAL)
#undef READ
#undef COUNT
#undef REAL
    text = acr_checkpoint_value(c, "run.events");
    snprintf(s->events, sizeof s->events, "%s", text && !strchr(text, '/') ? text : "");
    return ACR_OK;
}

typedef struct later {
    acr__run_folder *r;
    int64_t step;
} later;

static acr_status remove_later(void *user, const char *name)
{
    const later *l = user;
    char path[4500];
    char *end;
    if (strncmp(name, "step-", 5) != 0 || strtoll(name + 5, &end, 10) <= l->step || strcmp(end, ".safetensors") != 0)
        return ACR_OK;
    snprintf(path, sizeof path, "%s/%.200s", l->r->checkpoints, name);
    return acr__file_remove(l->r->ctx, path);
}

acr_status acr__run_checkpoint_restore(acr__run_folder *r, acr_checkpoint *c, acr_trainer *t, acr__run_state *state)
{
    char folder[sizeof r->checkpoint];
    acr_clock clock;
    TRY(acr_checkpoint_restore(c, t));
    TRY(read_state(r, c, state));
    acr_checkpoint_clock(c, &clock);
    if (run_of_checkpoint(acr_checkpoint_path(c), folder, sizeof folder) && strcmp(folder, r->path) == 0)
        return acr__folder_list(r->ctx, r->checkpoints, remove_later, &(later){r, clock.windows});
    state->jsonl_at = state->csv_at = state->events_at = 0; /* the other run's files stay its own */
    state->events[0] = '\0';
    return ACR_OK;
}

/* A run that goes on past its end is finished no more: what says so would stand beside
 * newer checkpoints, and `eval` would take the old model for the run's. */
static acr_status forget_model(acr__run_folder *r)
{
    static const char *const told[] = {"receipt.json", "accrue.json"};
    char path[ACR__PATH_BYTES];
    for (int i = 0; i < 2; i++)
        TRY(acr__file_remove(r->ctx, acr__inside(r->path, told[i], path)));
    return ACR_OK;
}

#define ONE(name) +1
enum { TEXTS = 4, STATE_KEYS = TEXTS ACR__RUN_COUNTS(ONE) ACR__RUN_REALS(ONE) };
#undef ONE

acr_status acr__run_checkpoint_save(acr__run_folder *r, acr_trainer *t, int keep, const acr__run_state *s)
{
    const char *keys[STATE_KEYS], *values[STATE_KEYS];
    char numbers[STATE_KEYS][NUMBER], path[4500], best[4500];
    int n = 0;
    acr_clock clock;
#define COUNT(name)                                           \
    snprintf(numbers[n], NUMBER, "%lld", (long long)s->name); \
    keys[n] = "run." #name;                                   \
    values[n] = numbers[n];                                   \
    n++;
#define REAL(name)                        \
    acr__number_f64(s->name, numbers[n]); \
    keys[n] = "run." #name;               \
    values[n] = numbers[n];               \
    n++;
    ACR__RUN_COUNTS(COUNT)
    ACR__RUN_REALS(REAL)
#undef COUNT
#undef REAL
    const struct {
        const char *key, *value;
        bool always; /* even if it is empty */
    } texts[TEXTS] = {
        {"run.events", s->events, true}, {"config", r->config, true}, {"data", r->data, false}, {"history", r->history, false}};
    for (int i = 0; i < TEXTS; i++)
        if (texts[i].always || *texts[i].value) {
            keys[n] = texts[i].key;
            values[n++] = texts[i].value;
        }
    acr_checkpoint_opts opts = ACR_CHECKPOINT_OPTS_INIT;
    opts.recipe_hash = r->recipe_hash;
    opts.count = n;
    opts.keys = keys;
    opts.values = values;
    TRY(acr_clock_get(t, &clock));
    TRY(acr_checkpoint_path_of(r->ctx, r->checkpoints, clock.windows, path, sizeof path));
    TRY(acr_checkpoint_save(t, path, &opts));
    TRY(forget_model(r));
    if (s->best_step)
        TRY(acr_checkpoint_path_of(r->ctx, r->checkpoints, s->best_step, best, sizeof best));
    return acr_checkpoint_prune(r->ctx, r->checkpoints, keep, s->best_step ? best : NULL);
}

bool acr__run_best_there(acr__run_folder *r, int64_t step)
{
    char path[4500];
    return acr_checkpoint_path_of(r->ctx, r->checkpoints, step, path, sizeof path) == ACR_OK && acr__file_kind(path) == 1;
}

acr_status acr__run_best_restore(acr__run_folder *r, acr_trainer *t, int64_t step)
{
    char path[4500];
    TRY(acr_checkpoint_path_of(r->ctx, r->checkpoints, step, path, sizeof path));
    return acr_checkpoint_load(t, path, NULL);
}

/* ---- event files ------------------------------------------------------------------------ */
typedef struct clearing {
    acr__run_folder *r;
    const char *keep;
} clearing;

static acr_status clear_one(void *user, const char *name)
{
    const clearing *c = user;
    char path[4500];
    if (strncmp(name, EVENTS, strlen(EVENTS)) != 0 || strcmp(name, c->keep) == 0)
        return ACR_OK;
    snprintf(path, sizeof path, "%s/%.300s", c->r->path, name);
    return acr__file_remove(c->r->ctx, path);
}

acr_status acr__run_events_clear(acr__run_folder *r, const char *keep)
{
    return acr__folder_list(r->ctx, r->path, clear_one, &(clearing){r, keep});
}
