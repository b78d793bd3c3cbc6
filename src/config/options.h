/* options.h: the table of options as data, and what turns a text into an
 * option's value and back. Internal to config/; config.h is the interface.
 *
 * Numbers are read and written in the C locale whatever the process has set. */
#ifndef ACR_CONFIG_OPTIONS_H
#define ACR_CONFIG_OPTIONS_H

#include "config/config.h"

typedef enum acr__type {
    ACR__COUNT, ACR__REAL, ACR__BOOL, ACR__TEXT, ACR__PATH, ACR__ENUM, ACR__SIZE, ACR__HORIZON,
    ACR__ENUMS, ACR__COUNTS, ACR__REALS, ACR__TEXTS /* lists from ENUMS on */
} acr__type;
typedef enum acr__option_kind { ACR__IDENTITY, ACR__EXTENDABLE, ACR__FREE } acr__option_kind;
typedef enum acr__option_group {
    ACR__GROUP_MODEL, ACR__GROUP_DATA, ACR__GROUP_LOSS, ACR__GROUP_OPTIMIZER, ACR__GROUP_SCHEDULE, ACR__GROUP_BATCH,
    ACR__GROUP_MACHINE, ACR__GROUP_OUTPUT, ACR__GROUP_COUNT
} acr__option_group;

/* One row of options.def; "" where a column is empty. */
typedef struct acr__option {
    acr__option_group group;
    const char *key;
    acr__type type;
    acr__option_kind kind;
    int use;
    const char *range, *values, *fallback, *needs, *aliases, *help;
    size_t offset; /* of the member in acr__config */
} acr__option;

const acr__option *acr__option_get(int option);
const char *acr__option_group_name(acr__option_group group);
const char *acr__option_kind_name(acr__option_kind kind);
/* -1: no such key. *canonical (may be NULL) is false for an alias. */
int acr__option_find(const char *key, bool *canonical);
/* `data` and `data.train` are sections: keys begin with them and a dot. */
bool acr__section_exists(const char *path);
/* What to write instead of an unknown key, as a sentence that begins with "; ";
 * "" when nothing is near. */
void acr__option_hint(const char *key, char *out, size_t size);

/* ---- a|b|c lists ------------------------------------------------------------ */
/* The i-th word, its length in *length; NULL past the last. */
const char *acr__word(const char *list, int i, int *length);
int acr__word_find(const char *list, const char *word, size_t length); /* -1 */

/* ---- an interval such as [0,1) ----------------------------------------------- */
typedef struct acr__range {
    double low, high; /* high: infinity when there is none */
    bool low_open, high_open;
} acr__range;
acr__range acr__range_read(const char *text);
/* "from 0 to 1, 1 excluded" */
void acr__range_tell(const char *text, char *out, size_t size);

/* ---- memory that lives as long as its owner ----------------------------------- */
void *acr__hold(acr_context *ctx, void **blocks, size_t bytes); /* zeroed; NULL: failed, sentence stored */
char *acr__hold_text(acr_context *ctx, void **blocks, const char *text, size_t length);
void acr__hold_free(acr_context *ctx, void **blocks);
acr_status acr__texts_add(acr_context *ctx, void **blocks, acr__texts *list, const char *format, ...) ACR_PRINTF(4, 5);

/* A text that grows. After a failure `status` says so and appending does nothing. */
typedef struct acr__buffer {
    acr_context *ctx;
    char *text; /* NULL until the first append */
    size_t length, room;
    acr_status status;
} acr__buffer;
void acr__buffer_add(acr__buffer *b, const char *text);
void acr__buffer_add_n(acr__buffer *b, const char *text, size_t length);
void acr__buffer_free(acr__buffer *b);

/* `text` as a message can show it: control characters as ?, cut after 60 bytes. */
typedef struct acr__shown {
    char text[68];
} acr__shown;
acr__shown acr__show(const char *text);

/* ---- values ------------------------------------------------------------------- */
typedef struct acr__setting {
    const char *where; /* "recipe.yaml:3:1: seed" or "--seed": messages begin so */
    bool list;         /* written as a list */
    bool quoted;       /* some item was in quotes */
    int count;
    const char *const *item;
} acr__setting;
/* Checks and stores into cfg's member; the old value stays on failure. */
acr_status acr__option_set(acr__config *cfg, int option, const acr__setting *setting);
/* Splits what a flag or variable gives a list option: a,b or [a, b]. */
acr_status acr__option_set_text(acr__config *cfg, int option, const char *where, const char *text);
typedef enum acr__style { ACR__STYLE_TEXT, ACR__STYLE_YAML } acr__style;
/* TEXT: a,b with \ before , \ and for newlines. YAML: [a, b], texts quoted. */
void acr__option_format(const acr__config *cfg, int option, acr__style style, acr__buffer *out);
/* True when the value as text is one of a|b|c. */
bool acr__option_is(const acr__config *cfg, int option, const char *words);
void acr__real_format(double value, char out[32]); /* the shortest text that reads back equal */
bool acr__real_read(const char *text, double *out); /* digits, a point, an exponent; finite */
bool acr__size_read(const char *text, double *bytes); /* the same, or 512KiB, 64 MiB, 1.5GiB, 2TiB */
/* The value's address as its C type. */
void *acr__option_at(const acr__config *cfg, int option);

/* ---- the files of this folder, to each other ------------------------------------ */
acr_status acr__config_defaults(acr__config *cfg); /* into a zeroed one */
/* loss_reduction is one of the two that a micro-batch is part of, by definition. */
bool acr__config_split_matters(const acr__config *cfg);
/* Everything that a merged configuration must satisfy; settles what follows from
 * other options (validate.c). */
acr_status acr__config_validate(acr__config *cfg);
/* One layer's effective, micro and steps; 0: not given; -1: auto. */
typedef struct acr__batch {
    int64_t effective, micro, steps;
} acr__batch;
acr_status acr__batch_resolve(acr__config *cfg, const acr__batch layers[4]);
/* "recipe.yaml:3:1: seed", "ACCRUE_SEED" or "--seed"; held by the config. */
const char *acr__config_where(acr__config *cfg, int option);
acr_status acr__config_note(acr__config *cfg, const char *format, ...) ACR_PRINTF(2, 3);

#endif
