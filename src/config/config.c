/* config.c: the layers, file then environment then flags, applied to one struct.
 *
 * Invariant: an option's origin is the highest layer that gave it, and a layer
 * gives an option once. Rules between options are in validate.c and batch.c. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "config/config.h"

#include "base/utf8.h"
#include "config/options.h"
#include "config/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

typedef struct loader {
    acr__config *cfg;
    acr_context *ctx;
    acr__texts sections; /* of the file, as they were entered */
    acr__batch batch[4]; /* by layer */
} loader;

bool acr__config_given(const acr__config *cfg, int option)
{
    return cfg->origin[option].layer != ACR__LAYER_DEFAULT;
}

acr_status acr__config_note(acr__config *cfg, const char *format, ...)
{
    char sentence[ACR_SENTENCE];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return acr__texts_add(cfg->ctx, &cfg->blocks, &cfg->notes, "%s", sentence);
}

/* ACCRUE_DATA_TRAIN_PATH */
static void variable_name(const char *key, char out[80])
{
    size_t n = (size_t)snprintf(out, 80, "ACCRUE_%s", key);
    for (size_t i = 7; i < n && i < 79; i++)
        out[i] = out[i] == '.' ? '_' : (char)toupper((unsigned char)out[i]);
}

const char *acr__config_where(acr__config *cfg, int option)
{
    const char *key = acr__option_get(option)->key;
    acr__origin at = cfg->origin[option];
    char text[ACR_SENTENCE];
    if (at.layer == ACR__LAYER_FILE)
        snprintf(text, sizeof text, "%s:%d:%d: %s", cfg->file, at.line, at.column, key);
    else if (at.layer == ACR__LAYER_ENVIRONMENT)
        variable_name(key, text);
    else
        snprintf(text, sizeof text, "%s%s", at.layer == ACR__LAYER_FLAG ? "--" : "", key);
    const char *copy = acr__hold_text(cfg->ctx, &cfg->blocks, text, strlen(text));
    return copy ? copy : key;
}

/* ---- one option from one layer ------------------------------------------------ */
static acr_status begin_option(loader *l, int option, acr__layer layer, const char *where)
{
    acr__origin *at = &l->cfg->origin[option];
    if (at->layer != layer)
        return ACR_OK;
    if (layer == ACR__LAYER_FILE)
        return acr__fail(l->ctx, ACR_E_CONFIG, "%s: given twice; %s is already on line %d", where,
                         acr__option_get(option)->key, at->line);
    return acr__fail(l->ctx, ACR_E_CONFIG, "%s: %s is given twice", where, acr__option_get(option)->key);
}

static void end_option(loader *l, int option, acr__layer layer, int line, int column)
{
    acr__config *cfg = l->cfg;
    acr__batch *b = &l->batch[layer];
    cfg->origin[option] = (acr__origin){layer, line, column};
    if (option == ACR__OPT_effective_batch_size)
        b->effective = cfg->effective_batch_size;
    if (option == ACR__OPT_micro_batch_size)
        b->micro = cfg->micro_batch_size ? cfg->micro_batch_size : -1;
    if (option == ACR__OPT_gradient_accumulation_steps)
        b->steps = cfg->gradient_accumulation_steps ? cfg->gradient_accumulation_steps : -1;
}

static acr_status apply_text(loader *l, int option, acr__layer layer, const char *where, const char *text)
{
    TRY(begin_option(l, option, layer, where));
    TRY(acr__option_set_text(l->cfg, option, where, text));
    end_option(l, option, layer, 0, 0);
    return ACR_OK;
}

acr_status acr__config_defaults(acr__config *cfg)
{
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        const acr__option *o = acr__option_get(i);
        if (*o->fallback)
            TRY(acr__option_set_text(cfg, i, o->key, o->fallback));
        else if (o->type == ACR__ENUM && i != ACR__OPT_optimizer)
            *(int *)acr__option_at(cfg, i) = -1; /* none; for the optimizer that is 0 */
    }
    return ACR_OK;
}

/* ---- the file --------------------------------------------------------------------- */
static acr_status on_key(void *user, const char *path, int line, int column)
{
    loader *l = user;
    char hint[192];
    if (acr__option_find(path, NULL) >= 0 || acr__section_exists(path) || strcmp(path, "betas") == 0)
        return ACR_OK;
    acr__option_hint(path, hint, sizeof hint);
    return acr__fail(l->ctx, ACR_E_CONFIG, "%s:%d:%d: unknown key %s%s", l->cfg->file, line, column,
                     acr__show(path).text, hint);
}

static acr_status on_enter(void *user, const char *path, int line, int column)
{
    loader *l = user;
    FAIL_IF(!acr__section_exists(path), l->ctx, ACR_E_CONFIG, "%s:%d:%d: %s: takes a value, not keys of its own",
            l->cfg->file, line, column, path);
    for (int i = 0; i < l->sections.count; i++)
        FAIL_IF(strcmp(l->sections.item[i], path) == 0, l->ctx, ACR_E_CONFIG,
                "%s:%d:%d: %s: given twice; put all its keys in one place", l->cfg->file, line, column, path);
    return acr__texts_add(l->ctx, &l->cfg->blocks, &l->sections, "%s", path);
}

/* betas: [0.9, 0.999] */
static acr_status set_betas(loader *l, const acr__yaml_value *v, const char *where)
{
    static const int option[2] = {ACR__OPT_adam_beta1, ACR__OPT_adam_beta2};
    FAIL_IF(v->count != 2, l->ctx, ACR_E_CONFIG, "%s: takes two numbers, as [0.9, 0.999]", where);
    for (int i = 0; i < 2; i++) {
        acr__setting s = {where, false, v->quoted, 1, &v->item[i]};
        TRY(begin_option(l, option[i], ACR__LAYER_FILE, where));
        TRY(acr__option_set(l->cfg, option[i], &s));
        end_option(l, option[i], ACR__LAYER_FILE, v->line, v->column);
    }
    return acr__config_note(l->cfg, "%s: is called adam_beta1 and adam_beta2 here", where);
}

static acr_status on_value(void *user, const acr__yaml_value *v)
{
    loader *l = user;
    char where[ACR_SENTENCE];
    bool canonical;
    snprintf(where, sizeof where, "%s:%d:%d: %s", l->cfg->file, v->line, v->column, v->path);
    if (strcmp(v->path, "betas") == 0)
        return set_betas(l, v, where);
    int option = acr__option_find(v->path, &canonical);
    FAIL_IF(option < 0, l->ctx, ACR_E_CONFIG, "%s: takes keys of its own, not a value; docs/options.md lists them",
            where);
    TRY(begin_option(l, option, ACR__LAYER_FILE, where));
    acr__setting s = {where, v->list, v->quoted, v->count, v->item};
    TRY(acr__option_set(l->cfg, option, &s));
    end_option(l, option, ACR__LAYER_FILE, v->line, v->column);
    if (!canonical)
        TRY(acr__config_note(l->cfg, "%s: is called %s here", where, acr__option_get(option)->key));
    return ACR_OK;
}

/* ---- environment and flags ------------------------------------------------------------ */
/* A variable that is nearly an option is told, since nothing else would. */
static acr_status note_near_variable(loader *l, const char *name, size_t length)
{
    enum { PREFIX = 7 }; /* ACCRUE_ */
    char names[ACR__OPTION_COUNT][80], word[80];
    const char *list[ACR__OPTION_COUNT];
    if (length >= sizeof word)
        return ACR_OK;
    snprintf(word, sizeof word, "%.*s", (int)length, name);
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        variable_name(acr__option_get(i)->key, names[i]);
        list[i] = names[i] + PREFIX;
    }
    const char *near = strcmp(word, "ACCRUE_ISA") == 0 ? NULL : acr__nearest(word + PREFIX, ACR__OPTION_COUNT, list);
    if (!near)
        return ACR_OK;
    return acr__config_note(l->cfg, "%s is set but is no option; did you mean ACCRUE_%s?", acr__show(word).text, near);
}

static acr_status apply_environment(loader *l, char *const *environment)
{
    for (char *const *e = environment; e && *e; e++) {
        const char *equals = strchr(*e, '=');
        if (strncmp(*e, "ACCRUE_", 7) != 0 || !equals || equals[1] == '\0')
            continue;
        size_t length = (size_t)(equals - *e);
        int option = -1;
        char name[80];
        for (int i = 0; i < ACR__OPTION_COUNT && option < 0; i++) {
            variable_name(acr__option_get(i)->key, name);
            if (strlen(name) == length && memcmp(name, *e, length) == 0)
                option = i;
        }
        if (option < 0)
            TRY(note_near_variable(l, *e, length));
        else
            TRY(apply_text(l, option, ACR__LAYER_ENVIRONMENT, name, equals + 1));
    }
    return ACR_OK;
}

static acr_status apply_flags(loader *l, const acr__flags *flags)
{
    for (int i = 0; flags && i < flags->count; i++) {
        const acr__flag *f = &flags->item[i];
        const char *key = acr__option_get(f->option)->key;
        char where[200];
        snprintf(where, sizeof where, "--%s", f->spelling);
        TRY(apply_text(l, f->option, ACR__LAYER_FLAG, where, f->value));
        if (strcmp(key, f->spelling) != 0 && strcmp(f->spelling, "betas") != 0)
            TRY(acr__config_note(l->cfg, "%s: is called %s here", where, key));
    }
    return ACR_OK;
}

/* ---- paths ------------------------------------------------------------------------------ */
/* Absolute, without //, ./ and ~; symbolic links and .. stay as they are. */
static acr_status make_absolute(acr__config *cfg, const char *folder, char **path)
{
    const char *home = getenv("HOME"), *rest = *path;
    const char *base = *rest == '/' ? "" : folder;
    if (rest[0] == '~' && (rest[1] == '/' || rest[1] == '\0') && home) {
        base = home;
        rest++;
    }
    size_t length = strlen(base) + strlen(rest) + 2, n = 0;
    char *joined = acr__hold(cfg->ctx, &cfg->blocks, length);
    char *out = acr__hold(cfg->ctx, &cfg->blocks, length + 1);
    if (!joined || !out)
        return ACR_E_NO_MEMORY;
    snprintf(joined, length, "%s/%s", base, rest);
    for (const char *part = joined; *part;) {
        part += strspn(part, "/");
        size_t size = strcspn(part, "/");
        if (size && !(size == 1 && *part == '.')) {
            out[n++] = '/';
            memcpy(out + n, part, size);
            n += size;
        }
        part += size;
    }
    if (n == 0)
        out[n] = '/';
    FAIL_IF(out[acr__utf8_bad(out, strlen(out))] != '\0', cfg->ctx, ACR_E_CONFIG,
            "%s: this path is not UTF-8, which the files of a run have to be; rename the folder or the file",
            acr__show(out).text);
    *path = out;
    return ACR_OK;
}

static acr_status current_folder(acr_context *ctx, char out[PATH_BYTES])
{
    FAIL_IF(!getcwd(out, PATH_BYTES), ctx, ACR_E_IO, "the current folder: %s", strerror(errno));
    return ACR_OK;
}

/* What idx and npy call their columns are files. */
static bool is_path(const acr__config *cfg, int option)
{
    static const int first[2] = {ACR__OPT_data_train_format, ACR__OPT_data_eval_format};
    static const int columns[2][3] = {
        {ACR__OPT_data_train_input, ACR__OPT_data_train_target, ACR__OPT_data_train_weight},
        {ACR__OPT_data_eval_input, ACR__OPT_data_eval_target, ACR__OPT_data_eval_weight}};
    for (int set = 0; set < 2; set++)
        for (int k = 0; k < 3; k++)
            if (columns[set][k] == option)
                return acr__option_is(cfg, first[set], "idx|npy");
    return acr__option_get(option)->type == ACR__PATH;
}

/* The option's path; NULL: it has none. */
static char **path_of(acr__config *cfg, int option)
{
    char **path = is_path(cfg, option) ? acr__option_at(cfg, option) : NULL;
    bool word = path && *path && acr__word_find(acr__option_get(option)->values, *path, strlen(*path)) >= 0;
    return path && *path && !word ? path : NULL;
}

/* What the file says is relative to the file, the rest to the current folder. */
static acr_status make_paths_absolute(loader *l, const char *folder)
{
    acr__config *cfg = l->cfg;
    char here[PATH_BYTES];
    TRY(current_folder(l->ctx, here));
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        char **path = path_of(cfg, i);
        if (path)
            TRY(make_absolute(cfg, cfg->origin[i].layer == ACR__LAYER_FILE ? folder : here, path));
    }
    return ACR_OK;
}

const char *acr__config_named(acr__config *cfg, const char *sentence, const char **path)
{
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        char **own = acr__config_given(cfg, i) && acr__config_used(cfg, i) ? path_of(cfg, i) : NULL;
        size_t n = own ? strlen(*own) : 0;
        if (own && strncmp(sentence, *own, n) == 0 && (sentence[n] == ':' || sentence[n] == '/')) {
            *path = *own;
            return acr__config_where(cfg, i);
        }
    }
    return NULL;
}

/* The run's name when none is given: the file's, without its ending. */
static acr_status name_run(acr__config *cfg)
{
    if (cfg->name)
        return ACR_OK;
    const char *slash = strrchr(cfg->file, '/'), *base = slash ? slash + 1 : cfg->file;
    size_t n = strlen(base);
    if (n > 5 && strcmp(base + n - 5, ".yaml") == 0)
        n -= 5;
    else if (n > 4 && strcmp(base + n - 4, ".yml") == 0)
        n -= 4;
    cfg->name = cfg->recipe && n ? acr__hold_text(cfg->ctx, &cfg->blocks, base, n)
                                 : acr__hold_text(cfg->ctx, &cfg->blocks, "run", 3);
    return cfg->name ? ACR_OK : ACR_E_NO_MEMORY;
}

/* ---- loading ---------------------------------------------------------------------------- */
static acr_status load_layers(loader *l, const char *folder, const char *text, size_t length,
                              const acr__config_opts *opts)
{
    acr__yaml_sink sink = {l, on_key, on_enter, on_value};
    TRY(acr__config_defaults(l->cfg));
    if (text)
        TRY(acr__yaml_read(l->ctx, l->cfg->file, text, length, &sink));
    TRY(apply_environment(l, opts->environment));
    TRY(apply_flags(l, opts->flags));
    TRY(make_paths_absolute(l, folder));
    TRY(name_run(l->cfg));
    TRY(acr__batch_resolve(l->cfg, l->batch));
    return acr__config_validate(l->cfg);
}

static acr_status load(acr_context *ctx, acr__config **out, const char *name, const char *recipe, const char *folder,
                       const char *text, size_t length, const acr__config_opts *opts)
{
    acr__config *cfg = acr__alloc(ctx, sizeof *cfg);
    if (!cfg)
        return ACR_E_NO_MEMORY;
    cfg->ctx = ctx;
    loader l = {.cfg = cfg, .ctx = ctx};
    acr_status status = ACR_E_NO_MEMORY;
    cfg->file = acr__hold_text(ctx, &cfg->blocks, name, strlen(name));
    cfg->recipe = recipe ? acr__hold_text(ctx, &cfg->blocks, recipe, strlen(recipe)) : NULL;
    if (cfg->file && (cfg->recipe || !recipe))
        status = load_layers(&l, folder, text, length, opts);
    if (status == ACR_OK)
        *out = cfg;
    else
        acr__config_free(cfg);
    return status;
}

acr_status acr__config_parse(acr_context *ctx, acr__config **out, const char *name, const char *folder,
                             const char *text, size_t length, const acr__config_opts *opts)
{
    return load(ctx, out, name, NULL, folder, text, length, opts);
}

/* The whole file into *text, one byte more than is allowed at most. */
static acr_status read_recipe(acr_context *ctx, const char *path, char **text, size_t *length)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        const char *help = errno == ENOENT ? "; `accrue recipes ls` lists those that come along" : "";
        return acr__fail(ctx, ACR_E_CONFIG, "%s: the recipe can't be read: %s%s", acr__show(path).text, strerror(errno),
                         help);
    }
    char *bytes = acr__alloc(ctx, ACR__YAML_BYTES + 1);
    if (!bytes) {
        fclose(f);
        return ACR_E_NO_MEMORY;
    }
    *length = fread(bytes, 1, ACR__YAML_BYTES + 1, f);
    int error = ferror(f) ? errno : 0;
    fclose(f);
    if (error) {
        acr__free(ctx, bytes);
        return acr__fail(ctx, ACR_E_CONFIG, "%s: the recipe can't be read: %s%s", acr__show(path).text, strerror(error),
                         error == EISDIR ? "; a run folder's recipe is its resolved.yaml" : "");
    }
    *text = bytes;
    return ACR_OK;
}

acr_status acr__config_load(acr_context *ctx, acr__config **out, const acr__config_opts *opts)
{
    char here[PATH_BYTES], *text = NULL;
    size_t length = 0;
    TRY(current_folder(ctx, here));
    if (!opts->recipe)
        return load(ctx, out, "the command line", NULL, here, NULL, 0, opts);
    TRY(read_recipe(ctx, opts->recipe, &text, &length));
    acr__config paths = {.ctx = ctx}; /* only to own the absolute path */
    size_t n = strlen(opts->recipe);
    char *recipe = acr__hold_text(ctx, &paths.blocks, opts->recipe, n), *folder = NULL;
    acr_status status = recipe ? make_absolute(&paths, here, &recipe) : ACR_E_NO_MEMORY;
    if (status == ACR_OK) {
        folder = acr__hold_text(ctx, &paths.blocks, recipe, (size_t)(strrchr(recipe, '/') - recipe));
        status = folder ? load(ctx, out, opts->recipe, recipe, folder, text, length, opts) : ACR_E_NO_MEMORY;
    }
    acr__hold_free(ctx, &paths.blocks);
    acr__free(ctx, text);
    return status;
}

void acr__config_free(acr__config *cfg)
{
    if (!cfg)
        return;
    acr_context *ctx = cfg->ctx;
    acr__hold_free(ctx, &cfg->blocks);
    acr__free(ctx, cfg);
}
