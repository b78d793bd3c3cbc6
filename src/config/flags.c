/* flags.c: the command line, up to values: which option or switch an argument
 * names, and what text it gives.
 *
 * Invariant: a key is understood with - or _, by its name or another tool's, and
 * nothing is guessed: an unknown flag is refused with the nearest known. Values
 * are checked later, with the layers (config.c). */
#include "config/config.h"

#include "config/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 128 };

typedef struct parser {
    acr__flags *out;
    acr_context *ctx;
    int uses;
    int switch_count;
    const acr__switch *switches;
    int argc, at;
    char *const *argv;
} parser;

/* `--lr`'s spelling lives as long as the flags. */
static acr_status add_flag(parser *p, int option, const char *name, const char *value)
{
    char *spelling = acr__hold_text(p->ctx, &p->out->blocks, name, strlen(name));
    if (!spelling)
        return ACR_E_NO_MEMORY;
    p->out->item[p->out->count++] = (acr__flag){option, spelling, value};
    return ACR_OK;
}

/* betas 0.9,0.95 */
static acr_status add_betas(parser *p, const char *value)
{
    const char *comma = value ? strchr(value, ',') : NULL;
    FAIL_IF(!comma || strchr(comma + 1, ','), p->ctx, ACR_E_CONFIG, "--betas: takes two numbers, as 0.9,0.999");
    const char *first = acr__hold_text(p->ctx, &p->out->blocks, value, (size_t)(comma - value));
    if (!first)
        return ACR_E_NO_MEMORY;
    TRY(add_flag(p, ACR__OPT_adam_beta1, "betas", first));
    return add_flag(p, ACR__OPT_adam_beta2, "betas", comma + 1);
}

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
            return false;
    return *a == *b;
}

/* The flag's nearest relatives: options, switches and the standard ones. */
static acr_status unknown(parser *p, const char *name, const char *as_written)
{
    const char *names[64];
    int n = 0;
    char hint[192];
    names[n++] = "json";
    names[n++] = "quiet";
    names[n++] = "verbose";
    names[n++] = "help";
    for (int i = 0; i < p->switch_count && n < 64; i++)
        names[n++] = p->switches[i].name;
    const char *near = acr__nearest(name, n, names);
    if (near)
        snprintf(hint, sizeof hint, "; did you mean --%s?", near);
    else
        acr__option_hint(p->uses ? name : "", hint, sizeof hint);
    return acr__fail(p->ctx, ACR_E_CONFIG, "%s: unknown flag%s%s", acr__show(as_written).text, hint,
                     *hint ? "" : "; --help lists them");
}

/* The argument after the flag, when it has none of its own. */
static acr_status take_value(parser *p, const char *flag, const char **value)
{
    if (*value)
        return ACR_OK;
    FAIL_IF(p->at + 1 >= p->argc || strncmp(p->argv[p->at + 1], "--", 2) == 0, p->ctx, ACR_E_CONFIG,
            "%s: needs a value", acr__show(flag).text);
    *value = p->argv[++p->at];
    return ACR_OK;
}

static acr_status parse_option(parser *p, int option, const char *name, const char *flag, const char *value)
{
    const acr__option *o = acr__option_get(option);
    FAIL_IF(!(o->use & p->uses), p->ctx, ACR_E_CONFIG, "%s: is not an option of this command; it belongs to train",
            acr__show(flag).text);
    if (o->type == ACR__BOOL && !value) {
        const char *next = p->at + 1 < p->argc ? p->argv[p->at + 1] : "";
        bool follows = strcmp(next, "true") == 0 || strcmp(next, "false") == 0;
        p->at += follows;
        return add_flag(p, option, name, follows ? next : "true");
    }
    TRY(take_value(p, flag, &value));
    return add_flag(p, option, name, value);
}

/* --set key=value: any option, by its whole key. */
static acr_status parse_set(parser *p, const char *value)
{
    char key[NAME_BYTES];
    TRY(take_value(p, "--set", &value));
    const char *equals = strchr(value, '=');
    FAIL_IF(!equals || equals == value || (size_t)(equals - value) >= sizeof key, p->ctx, ACR_E_CONFIG,
            "--set %s: takes key=value, as model.dropout=0.1", acr__show(value).text);
    snprintf(key, sizeof key, "%.*s", (int)(equals - value), value);
    if (strcmp(key, "betas") == 0)
        return add_betas(p, equals + 1);
    int option = acr__option_find(key, NULL);
    char hint[192];
    acr__option_hint(key, hint, sizeof hint);
    FAIL_IF(option < 0, p->ctx, ACR_E_CONFIG, "--set %s: unknown key%s", acr__show(key).text, hint);
    return parse_option(p, option, key, key, equals + 1);
}

/* json, quiet, verbose, help; true when it was one of them. */
static bool standard(acr__flags *out, const char *name)
{
    bool *const target[] = {&out->json, &out->quiet, &out->verbose, &out->help};
    static const char *const names[] = {"json", "quiet", "verbose", "help"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0 || (i > 0 && name[0] == names[i][0] && name[1] == '\0')) {
            *target[i] = true;
            return true;
        }
    }
    return false;
}

/* One argument that begins with --. */
static acr_status parse_long(parser *p, const char *argument)
{
    char name[NAME_BYTES];
    const char *equals = strchr(argument, '='), *value = equals ? equals + 1 : NULL;
    size_t n = equals ? (size_t)(equals - argument - 2) : strlen(argument + 2);
    FAIL_IF(n == 0 || n >= sizeof name, p->ctx, ACR_E_CONFIG, "%s: unknown flag; --help lists them",
            acr__show(argument).text);
    snprintf(name, sizeof name, "%.*s", (int)n, argument + 2);
    for (int i = 0; i < p->switch_count; i++) {
        const acr__switch *s = &p->switches[i];
        if (!same_name(s->name, name))
            continue;
        FAIL_IF(!s->value && value, p->ctx, ACR_E_CONFIG, "--%s: takes no value", name);
        if (s->value)
            TRY(take_value(p, argument, &value));
        FAIL_IF(p->out->switch_value[i], p->ctx, ACR_E_CONFIG, "--%s: is given twice", name);
        p->out->switch_value[i] = value ? value : "";
        return ACR_OK;
    }
    for (size_t i = 0; i < n; i++)
        if (name[i] == '-')
            name[i] = '_';
    if (!value && n > 1 && standard(p->out, name))
        return ACR_OK;
    if (!p->uses)
        return unknown(p, name, argument);
    if (strcmp(name, "set") == 0)
        return parse_set(p, value);
    if (strcmp(name, "betas") == 0) {
        TRY(take_value(p, argument, &value));
        return add_betas(p, value);
    }
    int option = acr__option_find(name, NULL);
    if (option >= 0)
        return parse_option(p, option, name, argument, value);
    /* --no-nesterov, --no-data.shuffle */
    option = strncmp(name, "no_", 3) == 0 && !value ? acr__option_find(name + 3, NULL) : -1;
    if (option >= 0 && acr__option_get(option)->type == ACR__BOOL)
        return parse_option(p, option, name + 3, argument, "false");
    return unknown(p, name, argument);
}

acr_status acr__flags_parse(acr_context *ctx, acr__flags *out, int uses, int switch_count, const acr__switch *switches,
                            int argc, char *const *argv)
{
    *out = (acr__flags){.ctx = ctx};
    /* An argument gives at most two flags (betas) or one positional. */
    out->item = acr__hold(ctx, &out->blocks, (2 * (size_t)argc + 1) * sizeof *out->item);
    out->positional = acr__hold(ctx, &out->blocks, ((size_t)argc + 1) * sizeof *out->positional);
    out->switch_value = acr__hold(ctx, &out->blocks, ((size_t)switch_count + 1) * sizeof *out->switch_value);
    if (!out->item || !out->positional || !out->switch_value)
        return ACR_E_NO_MEMORY;
    parser p = {out, ctx, uses, switch_count, switches, argc, 0, argv};
    bool only_positional = false;
    for (p.at = 0; p.at < argc; p.at++) {
        const char *a = argv[p.at];
        if (only_positional || a[0] != '-' || a[1] == '\0')
            out->positional[out->positional_count++] = a;
        else if (strcmp(a, "--") == 0)
            only_positional = true;
        else if (a[1] == '-')
            TRY(parse_long(&p, a));
        else if (a[2] != '\0' || !standard(out, a + 1))
            return unknown(&p, a + 1, a);
    }
    return ACR_OK;
}

void acr__flags_free(acr__flags *flags)
{
    if (flags->ctx)
        acr__hold_free(flags->ctx, &flags->blocks);
}
