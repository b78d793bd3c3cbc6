/* config.h: recipes, flags and environment become one struct of typed options.
 *
 *     flags_parse(argv) -> config_load(recipe, environment, flags) -> acr__config
 *
 * options.def is the one table: every option is a row, and the struct's members,
 * the YAML keys, the flags, ACCRUE_* variables, --help, docs/options.md, the
 * JSON Schema, shell completion and recipe_hash all come from it. The key
 * `data.train.path` is the member `data_train_path` and the enumerator
 * ACR__OPT_data_train_path.
 *
 * Layers: flag > environment > file > default. A key of a lower layer that another
 * one of a higher layer puts out of use is told in `notes`, the same key is not;
 * contradictions are errors only within one layer.
 *
 * Invariant: a config that load returned is complete and consistent; every
 * string is owned by it, every path absolute. What it does not do: open data
 * files, know how many samples there are, or choose a micro-batch. */
#ifndef ACR_CONFIG_H
#define ACR_CONFIG_H

#include "base/base.h"
#include <stdio.h>

/* ---- values ---------------------------------------------------------------- */
typedef struct acr__texts {
    int count;
    char **item;
} acr__texts;
typedef struct acr__counts {
    int count;
    int64_t *item;
} acr__counts;
typedef struct acr__reals {
    int count;
    double *item;
} acr__reals;

/* A length of training. AUTO: not given; what it means then is the option's:
 * max_steps: from num_train_epochs; save_steps: every 10 minutes and at the end. */
typedef enum acr__unit { ACR__UNIT_AUTO = 0, ACR__UNIT_UPDATES, ACR__UNIT_EPOCHS, ACR__UNIT_TOKENS } acr__unit;
typedef struct acr__horizon {
    double count; /* whole for updates and tokens; epochs may be parts of one */
    acr__unit unit;
} acr__horizon;

/* Enumerated options hold these; optimizer holds acr_optimizer, lr_scheduler_type
 * acr_schedule and loss_reduction acr_reduction. */
enum { ACR__MODEL_MLP = 0, ACR__MODEL_GPT2, ACR__MODEL_LLAMA, ACR__MODEL_QWEN2, ACR__MODEL_HF };
enum { ACR__FORMAT_IDX = 0, ACR__FORMAT_NPY, ACR__FORMAT_SAFETENSORS, ACR__FORMAT_NORMAL, ACR__FORMAT_TOKENS,
       ACR__FORMAT_TEXT, ACR__FORMAT_JSONL, ACR__FORMAT_KJV };
enum { ACR__LOSS_MSE = 0, ACR__LOSS_MAE, ACR__LOSS_HUBER, ACR__LOSS_CROSS_ENTROPY, ACR__LOSS_BCE_WITH_LOGITS };
enum { ACR__ACT_RELU = 0, ACR__ACT_LEAKY_RELU, ACR__ACT_GELU, ACR__ACT_GELU_TANH, ACR__ACT_SILU, ACR__ACT_TANH,
       ACR__ACT_SIGMOID };
enum { ACR__LAST_STEP = 0, ACR__LAST_DROP };
enum { ACR__DTYPE_FLOAT32 = 0, ACR__DTYPE_BFLOAT16 };
enum { ACR__RECOMPUTE_NONE = 0, ACR__RECOMPUTE_FULL, ACR__RECOMPUTE_AUTO };
enum { ACR__PACKING_AUTO = 0, ACR__PACKING_STREAM, ACR__PACKING_WHOLE };
enum { ACR__TEMPLATE_CHATML = 0, ACR__TEMPLATE_PLAIN };
enum { ACR__LOSS_ON_COMPLETIONS = 0, ACR__LOSS_ON_ALL };
enum { ACR__METRIC_LOSS = 0, ACR__METRIC_ACCURACY };

/* ---- the options ----------------------------------------------------------- */
enum {
#define ACR_OPTION(group, member, key, type, kind, use, range, values, fallback, needs, aliases, help) \
    ACR__OPT_##member,
#include "config/options.def"
#undef ACR_OPTION
    ACR__OPTION_COUNT
};

typedef int64_t acr__type_COUNT; /* a whole number */
typedef double acr__type_REAL;
typedef bool acr__type_BOOL;
typedef char *acr__type_TEXT; /* NULL: not given */
typedef char *acr__type_PATH; /* absolute; NULL: not given */
typedef int acr__type_ENUM;
typedef acr__counts acr__type_ENUMS;
typedef acr__counts acr__type_COUNTS;
typedef acr__reals acr__type_REALS;
typedef acr__texts acr__type_TEXTS;
typedef int64_t acr__type_SIZE; /* bytes; 0: none */
typedef acr__horizon acr__type_HORIZON;

typedef enum acr__layer { ACR__LAYER_DEFAULT = 0, ACR__LAYER_FILE, ACR__LAYER_ENVIRONMENT, ACR__LAYER_FLAG } acr__layer;
typedef struct acr__origin {
    acr__layer layer;
    int line, column; /* in the file, from 1 */
} acr__origin;

typedef struct acr__config {
    /* As the rows of options.def say: cfg->learning_rate, cfg->model_layers...
     * After load: model_activation has one entry per hidden layer; micro_batch_size
     * is 0 for auto, and gradient_accumulation_steps is 0 with it;
     * effective_batch_size is always set; name is the recipe's file name when
     * not given; idx and npy have absolute paths in input, target and weight;
     * model_dropout is NaN for auto. */
#define ACR_OPTION(group, member, key, type, kind, use, range, values, fallback, needs, aliases, help) \
    acr__type_##type member;
#include "config/options.def"
#undef ACR_OPTION
    acr__origin origin[ACR__OPTION_COUNT];
    acr__texts notes; /* sentences worth printing: aliases, displaced and unused keys */
    acr__texts bends; /* by config_compare: changes by which the run is none that began with these options */
    bool same_data;   /* for config_compare: the training data are known to be the same, wherever they lie now */
    bool judged_anew; /* by config_compare: what the best model is chosen by has changed */
    char *recipe;     /* absolute path of the file; NULL: none was read */
    char *file;       /* the same as the user named it, for messages */
    acr_context *ctx;
    void *blocks; /* what free releases */
} acr__config;

/* ---- the command line ------------------------------------------------------ */
/* Which options a subcommand takes: the recipe's commands (train, plan, verify)
 * take all, eval those that still mean something once the model is trained. */
enum { ACR__FOR_TRAIN = 1, ACR__FOR_EVAL = 2 };

/* A flag that is not an option of the table, given by the subcommand. */
typedef struct acr__switch {
    const char *name;  /* "fit": --fit */
    const char *value; /* name of its value in --help; NULL: takes none */
    const char *help;
} acr__switch;

typedef struct acr__flag {
    int option;
    const char *spelling; /* as written, without dashes: for messages */
    const char *value;
} acr__flag;
/* Borrows from argv, but for what it copied itself; release with flags_free. */
typedef struct acr__flags {
    int count;
    acr__flag *item;
    int positional_count;
    const char **positional;
    const char **switch_value; /* [i]: NULL: not given; "" or the value of switches[i] */
    bool json, quiet, verbose, help;
    acr_context *ctx;
    void *blocks;
} acr__flags;

/* argv without the program's and the subcommand's names. --key value,
 * --key=value, --memory-limit as --memory_limit, --nesterov and --no-nesterov,
 * --set model.dropout=0.1, --json, -q --quiet, -v --verbose, -h --help, and
 * after -- only positional arguments. Values are checked by load. `uses`: 0
 * takes no options of the table. ACR_E_CONFIG names an unknown flag and the
 * nearest known; flags_free is needed in any case. */
acr_status acr__flags_parse(acr_context *ctx, acr__flags *out, int uses, int switch_count, const acr__switch *switches,
                            int argc, char *const *argv);
void acr__flags_free(acr__flags *flags);

/* The nearest of `count` names by edit distance; NULL when none is near. */
const char *acr__nearest(const char *word, int count, const char *const *names);

/* ---- a configuration ------------------------------------------------------- */
typedef struct acr__config_opts {
    const char *recipe;       /* path; NULL: flags and environment only */
    const acr__flags *flags;  /* may be NULL */
    char *const *environment; /* like environ; NULL: not consulted */
} acr__config_opts;
/* ACR_E_CONFIG with file:line:column, the key and what would work. *out is set on
 * success only; free it with config_free. The context needs no threads. */
acr_status acr__config_load(acr_context *ctx, acr__config **out, const acr__config_opts *opts);
/* The same from a text that is named `name` in messages. `folder`: what relative
 * paths are relative to. */
acr_status acr__config_parse(acr_context *ctx, acr__config **out, const char *name, const char *folder,
                             const char *text, size_t length, const acr__config_opts *opts);
void acr__config_free(acr__config *cfg);
/* True when some layer gave it, rather than the default. */
bool acr__config_given(const acr__config *cfg, int option);
/* True when the chosen optimizer, schedule, loss or format uses the option. */
bool acr__config_used(const acr__config *cfg, int option);

/* Where the path that a sentence begins with is named, as "recipe.yaml:3:1: data.train.path",
 * and that path; NULL: by no option. Both are held by the config. */
const char *acr__config_named(acr__config *cfg, const char *sentence, const char **path);

/* data.train or data.eval; `present` is false when the recipe has no data.eval. */
typedef struct acr__data_spec {
    bool present;
    int format;
    const char *section; /* "data.train", for messages */
    const char *path;    /* safetensors */
    /* Tensor names (safetensors) or absolute paths (idx, npy); weight may be NULL. */
    const char *input, *target, *weight;
    int64_t samples; /* only the first so many; 0: all. normal: how many to make */
    int64_t seed;    /* normal */
} acr__data_spec;
acr__data_spec acr__config_data(const acr__config *cfg, bool eval);

/* Whether the model is a transformer over tokens. */
bool acr__config_is_language(const acr__config *cfg);
/* model.dropout, or `otherwise` where it is auto. */
double acr__config_dropout(const acr__config *cfg, double otherwise);
/* What an epoch is made of; tokens is 0 where samples are not made of them. */
typedef struct acr__epoch {
    int64_t samples, tokens;
    int64_t windows; /* filled by config_windows */
} acr__epoch;
/* How long a run is, in windows. Windows of an epoch: ceil, or floor with
 * last_window: drop, at least 1. */
acr_status acr__config_windows(const acr__config *cfg, acr__epoch *epoch, int64_t *total);
/* In updates, at least 1 where the horizon is above 0; 0 for 0; -1 for AUTO. */
int64_t acr__horizon_updates(acr__horizon h, const acr__epoch *epoch);
/* The trainer's options; borrows weight_decay_exclude from the config. */
acr_status acr__config_trainer_opts(const acr__config *cfg, const acr__epoch *epoch, acr_trainer_opts *out);

/* ---- what a run stores ----------------------------------------------------- */
/* A recipe with every option that is used, absolute paths, without output_dir and
 * resume_from_checkpoint. Owned by the config. history: lines about how the run
 * was bent on resume, which no recipe can say; "": it was not. */
acr_status acr__config_yaml(acr__config *cfg, const char *history, const char **text);
/* key=value lines of every used option, for a checkpoint's metadata. */
acr_status acr__config_text(acr__config *cfg, const char **text);
/* Identity options as 16 hex digits. Options at their default do not enter, so
 * that a later version with more options has the same hash. */
enum { ACR__RECIPE_HASH = 17 };
acr_status acr__config_recipe_hash(acr__config *cfg, char out[ACR__RECIPE_HASH]);
/* Against what a checkpoint stored. Another identity option is refused, naming
 * the key, both values (ACR_E_DATA for model.*, else ACR_E_CONFIG); other
 * horizons are told in *changes (owned by the config), and those that bend the run
 * in cfg->bends; cfg->judged_anew is set. */
acr_status acr__config_compare(acr__config *cfg, const char *stored, acr__texts *changes);

/* ---- what the table prints ------------------------------------------------- */
void acr__options_print_help(FILE *f, int use);                      /* 80 columns, grouped */
/* With --quiet and so on, and --json where the command has it. */
void acr__switches_print_help(FILE *f, int count, const acr__switch *switches, bool json);
void acr__options_print_markdown(FILE *f);                           /* docs/options.md */
void acr__options_print_schema(FILE *f);                             /* docs/accrue.schema.json */
void acr__options_print_completion(FILE *f, int count, const char *const *commands); /* for bash */

#endif
