/* print.c: the table of options as --help, docs/options.md, JSON Schema and shell
 * completion.
 *
 * Invariant: nothing here names an option, except that betas stands for two. What
 * is printed depends on the table alone, so that a test can compare the files in
 * docs/ with it. */
#include "config/config.h"

#include "config/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 80, HELP_COLUMN = 28 };

/* What to write for a value: "a|b|c" for the enumerations, else the type. */
static const char *type_name(const acr__option *o)
{
    static const char *const name[] = {"N",    "X",     "true|false", "TEXT", "PATH", "NAME",
                                       "SIZE", "STEPS", "NAME,..",    "N,..", "X,..", "TEXT,.."};
    return name[o->type];
}

static bool is_enum(const acr__option *o)
{
    return o->type == ACR__ENUM || o->type == ACR__ENUMS;
}

/* ---- --help ----------------------------------------------------------------- */
/* Words in the second column, which the cursor is at, wrapped before COLUMNS. */
static void print_wrapped(FILE *f, const char *text)
{
    int column = HELP_COLUMN;
    while (*text) {
        int n = (int)strcspn(text, " ");
        bool first = column == HELP_COLUMN, wraps = !first && column + 1 + n > COLUMNS;
        if (wraps)
            fprintf(f, "\n%*s", HELP_COLUMN, "");
        fprintf(f, "%s%.*s", first || wraps ? "" : " ", n, text);
        column = wraps ? HELP_COLUMN + n : column + n + !first;
        text += n + (text[n] == ' ');
    }
}

/* "  --name VALUE" and its help in the second column. */
static void print_flag(FILE *f, const char *name, const char *value, const char *help)
{
    int n = fprintf(f, "  --%s%s%s", name, value ? " " : "", value ? value : "");
    if (n >= HELP_COLUMN)
        fprintf(f, "\n%*s", HELP_COLUMN, "");
    else
        fprintf(f, "%*s", HELP_COLUMN - n, "");
    print_wrapped(f, help);
    fputc('\n', f);
}

/* help, the allowed words, the default */
static void tell_option(const acr__option *o, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", o->help);
    const char *w;
    int length;
    for (int i = 0; is_enum(o) && (w = acr__word(o->values, i, &length)) != NULL && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%.*s", i ? ", " : ": ", length, w);
    if (*o->fallback && n < size)
        snprintf(out + n, size - n, " [%s]", o->fallback);
}

void acr__options_print_help(FILE *f, int use)
{
    for (int g = 0; g < ACR__GROUP_COUNT; g++) {
        bool begun = false;
        for (int i = 0; i < ACR__OPTION_COUNT; i++) {
            const acr__option *o = acr__option_get(i);
            char help[256];
            if ((int)o->group != g || !(o->use & use))
                continue;
            if (!begun)
                fprintf(f, "\n%s\n", acr__option_group_name(o->group));
            begun = true;
            tell_option(o, help, sizeof help);
            print_flag(f, o->key, type_name(o), help);
        }
    }
    fprintf(f, "\nSTEPS are updates (500), epochs (2e) or tokens (10Mt). SIZE is bytes, or 64MiB.\n"
               "Flag, then environment (ACCRUE_LEARNING_RATE), then recipe, then [default].\n");
}

void acr__switches_print_help(FILE *f, int count, const acr__switch *switches, bool json)
{
    for (int i = 0; i < count; i++)
        print_flag(f, switches[i].name, switches[i].value, switches[i].help);
    if (json)
        print_flag(f, "json", NULL, "the result as one JSON object, on the last line");
    print_flag(f, "quiet", NULL, "or -q: errors only");
    print_flag(f, "verbose", NULL, "or -v: say more");
    print_flag(f, "help", NULL, "or -h: this");
}

/* ---- docs/options.md ------------------------------------------------------------ */
static void print_code_words(FILE *f, const char *list, const char *between)
{
    const char *w;
    int n;
    for (int i = 0; (w = acr__word(list, i, &n)) != NULL; i++)
        fprintf(f, "%s`%.*s`", i ? between : "", n, w);
}

static void print_markdown_values(FILE *f, const acr__option *o)
{
    static const char *const name[] = {"whole number", "number", "`true`, `false`", "text", "path", "", "size",
                                       "steps", "one or a list of ", "whole numbers", "numbers", "texts"};
    fprintf(f, "%s", name[o->type]);
    if (*o->range) {
        char allowed[96];
        acr__range_tell(o->range, allowed, sizeof allowed);
        fprintf(f, ", %s", allowed);
    }
    if (*o->values) {
        fprintf(f, "%s", is_enum(o) ? "" : "; ");
        print_code_words(f, o->values, ", ");
    }
    const char *colon = strchr(o->needs, ':');
    if (colon) {
        fprintf(f, "; with %.*s ", (int)(colon - o->needs), o->needs);
        print_code_words(f, colon + 1, ", ");
    }
}

static const char introduction[] =
    "# Options\n\n"
    "Written by accrue from its table of options (src/config/options.def); a test compares them.\n\n"
    "An option is a key of the recipe (`model: {dropout: 0.1}`), a flag (`--model.dropout 0.1`,\n"
    "`--model.dropout=0.1` or `--set model.dropout=0.1`; `-` and `_` are the same) and a variable of\n"
    "the environment (`ACCRUE_MODEL_DROPOUT`). Flag > environment > recipe > default. A higher value\n"
    "takes the place of a lower one without a word; where it puts another key out of use, as a flag for\n"
    "num_train_epochs does with the recipe's max_steps, that is told. Contradictions are errors only\n"
    "where one layer contradicts itself. Relative paths in a recipe are relative to it, others to the\n"
    "current folder.\n\n"
    "Kinds: **identity**: resuming with another value is refused, and recipe_hash is made of these.\n"
    "**horizon**: may be changed on resume; the change is told. **free**: may change at any resume; the\n"
    "weights don't.\n\n"
    "Steps are updates (`500` or `500u`), epochs (`2e`, `0.5e`) or, of language models, tokens (`10Mt`,\n"
    "`500kt`, `1.5Gt`). Sizes are bytes, or `512KiB`, `64MiB`, `1.5GiB`.\n\n"
    "Must be given: `model.type` and its sizes (`model.layers`; `model.path`; or `model.hidden_size`,\n"
    "`model.num_hidden_layers` and `model.num_attention_heads`), `data.train.format` and what it needs,\n"
    "`loss` where the model is an mlp (it is not guessed from the targets), `optimizer`,\n"
    "`learning_rate`, `effective_batch_size` (or `micro_batch_size` and `gradient_accumulation_steps`),\n"
    "and `num_train_epochs` or `max_steps`. Text also needs a tokenizer: `data.tokenizer`,\n"
    "`data.learn_tokenizer`, or the one in `model.path`.\n\n"
    "gradient_accumulation_steps = ceil(effective_batch_size / micro_batch_size). From effective and\n"
    "steps follows micro = ceil(effective / steps), from micro and steps their product; where all three\n"
    "are given they have to agree. A flag for the micro-batch alone, or for the steps alone, leaves the\n"
    "effective batch as the recipe means it.\n";

void acr__options_print_markdown(FILE *f)
{
    fputs(introduction, f);
    for (int g = 0; g < ACR__GROUP_COUNT; g++) {
        fprintf(f, "\n## %s\n\n| key | value | default | kind | what | other names |\n|---|---|---|---|---|---|\n",
                acr__option_group_name((acr__option_group)g));
        for (int i = 0; i < ACR__OPTION_COUNT; i++) {
            const acr__option *o = acr__option_get(i);
            if ((int)o->group != g)
                continue;
            fprintf(f, "| `%s` | ", o->key);
            print_markdown_values(f, o);
            fprintf(f, " | %s%s%s | %s | %s | ", *o->fallback ? "`" : "", o->fallback, *o->fallback ? "`" : "",
                    acr__option_kind_name(o->kind), o->help);
            print_code_words(f, o->aliases, ", ");
            fprintf(f, " |\n");
        }
    }
    fprintf(f,
            "\n`betas: [0.9, 0.999]` is taken for `adam_beta1` and `adam_beta2`. `micro_batch_size` is identity where\n"
            "`loss_reduction` is one of the two that depend on the split.\n");
}

/* ---- docs/accrue.schema.json -------------------------------------------------------- */
static void print_schema_words(FILE *f, const char *list)
{
    const char *w;
    int n;
    fprintf(f, "\"enum\": [");
    for (int i = 0; (w = acr__word(list, i, &n)) != NULL; i++)
        fprintf(f, "%s\"%.*s\"", i ? ", " : "", n, w);
    fprintf(f, "]");
}

static void print_schema_number(FILE *f, const acr__option *o, const char *type)
{
    char text[32];
    acr__range r = acr__range_read(o->range);
    fprintf(f, "\"type\": \"%s\"", type);
    if (isfinite(r.low)) {
        acr__real_format(r.low, text);
        fprintf(f, ", \"%s\": %s", r.low_open ? "exclusiveMinimum" : "minimum", text);
    }
    if (isfinite(r.high)) {
        acr__real_format(r.high, text);
        fprintf(f, ", \"%s\": %s", r.high_open ? "exclusiveMaximum" : "maximum", text);
    }
}

/* The schema of one value, or of one item of a list. */
static void print_schema_item(FILE *f, const acr__option *o)
{
    switch (o->type) {
    case ACR__COUNT:
    case ACR__COUNTS: print_schema_number(f, o, "integer"); break;
    case ACR__REAL:
    case ACR__REALS: print_schema_number(f, o, "number"); break;
    case ACR__BOOL: fprintf(f, "\"type\": \"boolean\""); break;
    case ACR__ENUM:
    case ACR__ENUMS: print_schema_words(f, o->values); break;
    case ACR__SIZE: fprintf(f, "\"type\": [\"integer\", \"string\"], \"pattern\": \"^[0-9.]+ *[KMGT]iB$\""); break;
    case ACR__HORIZON: fprintf(f, "\"type\": [\"integer\", \"string\"], \"pattern\": \"^[0-9.]+([ue]|[kMG]?t)$\""); break;
    default: fprintf(f, "\"type\": \"string\", \"minLength\": 1"); break;
    }
}

static void print_schema_option(FILE *f, const acr__option *o, int indent, const char *name, int length)
{
    bool word = *o->values && o->type != ACR__ENUM && o->type != ACR__ENUMS && o->type != ACR__PATH;
    fprintf(f, "%*s\"%.*s\": {\"description\": \"%s\", ", indent, "", length, name, o->help);
    if (o->type >= ACR__ENUMS || word) {
        fprintf(f, "\"anyOf\": [{");
        print_schema_item(f, o);
        fprintf(f, "}, {");
        if (word) {
            print_schema_words(f, o->values);
        } else {
            fprintf(f, "\"type\": \"array\", \"items\": {");
            print_schema_item(f, o);
            fprintf(f, "}");
        }
        fprintf(f, "}]");
    } else {
        print_schema_item(f, o);
    }
    fprintf(f, "}");
}

/* The properties of the section whose keys begin with the first n bytes of `section`. */
static void print_schema_section(FILE *f, const char *section, size_t n, int indent)
{
    bool first = true;
    fprintf(f, "\"type\": \"object\", \"additionalProperties\": false, \"properties\": {");
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        const acr__option *o = acr__option_get(i);
        if (strncmp(o->key, section, n) != 0)
            continue;
        const char *leaf = o->key + n, *dot = strchr(leaf, '.');
        if (dot) {
            /* A section's keys stand together in the table: its first one opens it. */
            size_t size = (size_t)(dot - o->key) + 1;
            if (i > 0 && strncmp(acr__option_get(i - 1)->key, o->key, size) == 0)
                continue;
            fprintf(f, "%s\n%*s\"%.*s\": {", first ? "" : ",", indent, "", (int)(dot - leaf), leaf);
            print_schema_section(f, o->key, size, indent + 2);
            fprintf(f, "}");
        } else {
            fprintf(f, "%s\n", first ? "" : ",");
            print_schema_option(f, o, indent, leaf, (int)strlen(leaf));
        }
        first = false;
    }
    const char *w;
    int length;
    for (int i = 0; n == 0 && i < ACR__OPTION_COUNT; i++) {
        const acr__option *o = acr__option_get(i);
        for (int k = 0; (w = acr__word(o->aliases, k, &length)) != NULL; k++) {
            fprintf(f, ",\n");
            print_schema_option(f, o, indent, w, length);
        }
    }
    fprintf(f, "\n%*s}", indent - 2, "");
}

void acr__options_print_schema(FILE *f)
{
    fprintf(f, "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
               "  \"title\": \"accrue recipe\",\n  ");
    print_schema_section(f, "", 0, 4);
    fprintf(f, "\n}\n");
}

/* ---- completion ----------------------------------------------------------------------- */
void acr__options_print_completion(FILE *f, int count, const char *const *commands)
{
    fprintf(f, "# bash completion for accrue: source it, or install it as bash-completion/completions/accrue\n"
               "_accrue()\n{\n"
               "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n"
               "    case $before in\n");
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        const acr__option *o = acr__option_get(i);
        const char *list = o->type == ACR__BOOL ? "true|false" : o->values, *w;
        int n;
        if (!*list)
            continue;
        fprintf(f, "    --%s) words='", o->key);
        for (int k = 0; (w = acr__word(list, k, &n)) != NULL; k++)
            fprintf(f, "%s%.*s", k ? " " : "", n, w);
        fprintf(f, "' ;;\n");
    }
    fprintf(
        f,
        "    esac\n    if [[ -z $words && $word == -* ]]; then\n        words='--json --quiet --verbose --help --set");
    for (int i = 0; i < ACR__OPTION_COUNT; i++)
        fprintf(f, " --%s", acr__option_get(i)->key);
    fprintf(f, "'\n    elif [[ $COMP_CWORD == 1 ]]; then\n        words='");
    for (int i = 0; i < count; i++)
        fprintf(f, "%s%s", i ? " " : "", commands[i]);
    fprintf(f, "'\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
               "complete -o default -F _accrue accrue\n");
}
