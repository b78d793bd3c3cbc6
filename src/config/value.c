/* value.c: from a text to an option's value, and back.
 *
 * Invariant: format(set(text)) reads back to the same value, whatever the locale;
 * a failed set leaves the old value. It does not know of files or flags: `where`
 * begins every message. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "config/options.h"

#include "base/utf8.h"
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *acr__option_at(const acr__config *cfg, int option)
{
    return (char *)(uintptr_t)cfg + acr__option_get(option)->offset;
}

/* ---- numbers ----------------------------------------------------------------- */
static size_t skip_digits(const char *s)
{
    size_t n = 0;
    while (s[n] >= '0' && s[n] <= '9')
        n++;
    return n;
}

/* [-+] digits [. digits] [e [-+] digits], at least one digit before the exponent. */
static bool is_real(const char *s)
{
    if (*s == '-' || *s == '+')
        s++;
    size_t whole = skip_digits(s), part = 0;
    s += whole;
    if (*s == '.') {
        part = skip_digits(++s);
        s += part;
    }
    if (whole + part == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        if (*s == '-' || *s == '+')
            s++;
        size_t digits = skip_digits(s);
        if (digits == 0)
            return false;
        s += digits;
    }
    return *s == '\0';
}

/* glibc hands out its built-in C locale here without allocating. */
static double c_strtod(const char *text)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0)
        return NAN;
    double value = strtod_l(text, NULL, c);
    freelocale(c);
    return value;
}

bool acr__real_read(const char *text, double *out)
{
    if (!is_real(text))
        return false;
    double value = c_strtod(text);
    if (!isfinite(value))
        return false;
    *out = value;
    return true;
}

bool acr__size_read(const char *text, double *bytes)
{
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0}};
    char digits[64];
    size_t n = strlen(text);
    double factor = 1;
    for (size_t i = 0; i < 4; i++) {
        if (n > 3 && strcmp(text + n - 3, units[i].unit) == 0) {
            factor = units[i].bytes;
            n -= 3;
            break;
        }
    }
    while (n > 0 && factor > 1 && text[n - 1] == ' ')
        n--;
    snprintf(digits, sizeof digits, "%.*s", n < sizeof digits ? (int)n : 0, text);
    if (!acr__real_read(digits, bytes))
        return false;
    *bytes *= factor;
    return true;
}

void acr__real_format(double value, char out[32])
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t old = c == (locale_t)0 ? (locale_t)0 : uselocale(c);
    if (value == 0)
        value = 0; /* a negative zero has no other meaning than zero */
    if (fabs(value) < 1e15 && value == floor(value)) {
        snprintf(out, 32, "%.0f", value);
    } else {
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(out, 32, "%.*g", digits, value);
            if (strtod(out, NULL) == value)
                break;
        }
    }
    if (c != (locale_t)0) {
        uselocale(old);
        freelocale(c);
    }
}

/* A range's bounds are exact as doubles, and so are whole numbers up to 2^53. */
static bool in_range(const acr__option *o, double value)
{
    acr__range r = acr__range_read(o->range);
    return (r.low_open ? value > r.low : value >= r.low) && (r.high_open ? value < r.high : value <= r.high);
}

/* most: what the type can hold where that was broken; NULL: the option's own range was. */
static acr_status out_of_range(acr__config *cfg, const acr__option *o, const char *where, const char *text,
                               const char *most)
{
    char allowed[96];
    acr__range_tell(o->range, allowed, sizeof allowed);
    if (most && isinf(acr__range_read(o->range).high))
        snprintf(allowed, sizeof allowed, "at most %s", most);
    const char *unit = o->type == ACR__SIZE ? " (bytes; 64MiB and 6GiB are sizes too)" : "";
    return acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: %s is out of range; allowed is %s%s", where, acr__show(text).text,
                     allowed, unit);
}

static acr_status read_count(acr__config *cfg, const acr__option *o, const char *where, const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    size_t n = skip_digits(digits);
    if (n == 0 || digits[n] != '\0')
        return acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: '%s' is not a whole number%s", where, acr__show(text).text,
                         is_real(text) ? "; write its digits, as 60000" : "");
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno == ERANGE || !in_range(o, (double)value))
        return out_of_range(cfg, o, where, text, errno == ERANGE && value > 0 ? "9223372036854775807" : NULL);
    *out = value;
    return ACR_OK;
}

static acr_status read_real(acr__config *cfg, const acr__option *o, const char *where, const char *text, double *out)
{
    double value;
    if (!acr__real_read(text, &value))
        return acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: '%s' is not a number%s", where, acr__show(text).text,
                         is_real(text) ? " that a double can hold" : "; write 0.001 or 1e-3");
    if (!in_range(o, value))
        return out_of_range(cfg, o, where, text, NULL);
    *out = value;
    return ACR_OK;
}

static acr_status read_size(acr__config *cfg, const acr__option *o, const char *where, const char *text, int64_t *out)
{
    double value;
    if (!acr__size_read(text, &value))
        return acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: '%s' is not a size; write bytes, or 512KiB, 64MiB, 1.5GiB", where,
                         acr__show(text).text);
    if (value > 0x1p62 || !in_range(o, value))
        return out_of_range(cfg, o, where, text, value > 0x1p62 ? "4194304TiB" : NULL);
    if (value != floor(value))
        return acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: '%s' is not a whole number of bytes", where,
                         acr__show(text).text);
    *out = (int64_t)value;
    return ACR_OK;
}

/* 500, 500u: updates. 2e, 0.5e: epochs. 10Mt, 2.5Gt, 4096t: tokens. */
static acr_status read_horizon(acr__config *cfg, const acr__option *o, const char *where, const char *text,
                               acr__horizon *out)
{
    char digits[64];
    size_t n = strlen(text);
    acr__horizon h = {0, ACR__UNIT_UPDATES};
    char last = n ? text[n - 1] : '\0';
    double factor = 1;
    if (last == 'e' || last == 'u' || last == 't') {
        h.unit = last == 'e' ? ACR__UNIT_EPOCHS : last == 'u' ? ACR__UNIT_UPDATES : ACR__UNIT_TOKENS;
        n--;
    }
    if (h.unit == ACR__UNIT_TOKENS && n > 0 && strchr("kMG", text[n - 1])) {
        factor = text[n - 1] == 'k' ? 1e3 : text[n - 1] == 'M' ? 1e6 : 1e9;
        n--;
    }
    snprintf(digits, sizeof digits, "%.*s", n < sizeof digits ? (int)n : 0, text);
    if (!acr__real_read(digits, &h.count))
        return acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: '%s' is neither updates (500 or 500u) nor epochs (2e) nor tokens (10Mt)", where,
                         acr__show(text).text);
    h.count *= factor;
    if (h.unit == ACR__UNIT_TOKENS && h.count != floor(h.count))
        return acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: '%s' is not a whole number of tokens", where, acr__show(text).text);
    if (h.unit == ACR__UNIT_UPDATES && strpbrk(digits, ".eE"))
        return acr__fail(cfg->ctx, ACR_E_CONFIG,
                         "%s: '%s' is not a whole number of updates; write its digits (1000), or 2e for two epochs",
                         where, acr__show(text).text);
    if (!in_range(o, h.count) || h.count > 0x1p53)
        return out_of_range(cfg, o, where, text, h.count > 0x1p53 ? "9007199254740992" : NULL);
    if (h.count == 0)
        h.unit = ACR__UNIT_UPDATES;
    *out = h;
    return ACR_OK;
}

/* ---- words --------------------------------------------------------------------- */
static acr_status read_enum(acr__config *cfg, const acr__option *o, const char *where, const char *text, int64_t *out)
{
    int i = acr__word_find(o->values, text, strlen(text)), n;
    if (i < 0) {
        char allowed[256] = "";
        const char *w;
        for (int k = 0; (w = acr__word(o->values, k, &n)) != NULL; k++)
            snprintf(allowed + strlen(allowed), sizeof allowed - strlen(allowed), "%s%.*s", k ? ", " : "", n, w);
        return acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: '%s' is not known; allowed: %s", where, acr__show(text).text,
                         allowed);
    }
    /* ACR_SGD is 1, so that 0 can say: no optimizer. The other lists begin at 0. */
    *out = strcmp(o->key, "optimizer") == 0 ? i + ACR_SGD : i;
    return ACR_OK;
}

static acr_status read_bool(acr__config *cfg, const char *where, const char *text, bool *out)
{
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0)
        return acr__fail(cfg->ctx, ACR_E_CONFIG, "%s: '%s' is neither true nor false", where, acr__show(text).text);
    *out = yes;
    return ACR_OK;
}

/* What an unset number holds: 0 where it is no value or means the same (off), else NaN. */
static double unset_real(const acr__option *o)
{
    return strcmp(o->values, "auto") == 0 && in_range(o, 0) ? NAN : 0;
}

/* A word such as auto: what stands for "not set" in each type. */
static void set_unset(acr__config *cfg, int option)
{
    const acr__option *o = acr__option_get(option);
    void *at = acr__option_at(cfg, option);
    switch (o->type) {
    case ACR__COUNT:
    case ACR__SIZE: *(int64_t *)at = 0; break;
    case ACR__REAL: *(double *)at = unset_real(o); break;
    case ACR__HORIZON: *(acr__horizon *)at = (acr__horizon){0, ACR__UNIT_AUTO}; break;
    case ACR__TEXT:
    case ACR__PATH: *(char **)at = NULL; break;
    default: break;
    }
}

/* It will stand in resolved.yaml and in checkpoints, which have to be UTF-8. */
static acr_status check_text(acr__config *cfg, const char *where, const char *text)
{
    size_t bad = acr__utf8_bad(text, strlen(text));
    FAIL_IF(text[bad] != '\0', cfg->ctx, ACR_E_CONFIG, "%s: '%s' is not UTF-8: byte 0x%02x at %zu", where,
            acr__show(text).text, (unsigned char)text[bad], bad + 1);
    return ACR_OK;
}

static acr_status set_one(acr__config *cfg, int option, const char *where, const char *text)
{
    const acr__option *o = acr__option_get(option);
    void *at = acr__option_at(cfg, option);
    int64_t index = 0;
    if (o->type != ACR__ENUM && acr__word_find(o->values, text, strlen(text)) == 0) {
        set_unset(cfg, option);
        return ACR_OK;
    }
    switch (o->type) {
    case ACR__COUNT: return read_count(cfg, o, where, text, at);
    case ACR__REAL: return read_real(cfg, o, where, text, at);
    case ACR__BOOL: return read_bool(cfg, where, text, at);
    case ACR__SIZE: return read_size(cfg, o, where, text, at);
    case ACR__HORIZON: return read_horizon(cfg, o, where, text, at);
    case ACR__ENUM:
        TRY(read_enum(cfg, o, where, text, &index));
        *(int *)at = (int)index;
        return ACR_OK;
    default: break;
    }
    FAIL_IF(*text == '\0', cfg->ctx, ACR_E_CONFIG, "%s: is empty; give it a value or leave it out", where);
    TRY(check_text(cfg, where, text));
    char *copy = acr__hold_text(cfg->ctx, &cfg->blocks, text, strlen(text));
    if (!copy)
        return ACR_E_NO_MEMORY;
    *(char **)at = copy;
    return ACR_OK;
}

static acr_status set_list(acr__config *cfg, int option, const acr__setting *s)
{
    const acr__option *o = acr__option_get(option);
    size_t each = o->type == ACR__TEXTS ? sizeof(char *) : 8;
    void *items = acr__hold(cfg->ctx, &cfg->blocks, (size_t)s->count * each + 1);
    if (!items)
        return ACR_E_NO_MEMORY;
    for (int i = 0; i < s->count; i++) {
        switch (o->type) {
        case ACR__COUNTS: TRY(read_count(cfg, o, s->where, s->item[i], (int64_t *)items + i)); break;
        case ACR__ENUMS: TRY(read_enum(cfg, o, s->where, s->item[i], (int64_t *)items + i)); break;
        case ACR__REALS: TRY(read_real(cfg, o, s->where, s->item[i], (double *)items + i)); break;
        default:
            FAIL_IF(*s->item[i] == '\0', cfg->ctx, ACR_E_CONFIG, "%s: has an empty text in its list", s->where);
            TRY(check_text(cfg, s->where, s->item[i]));
            ((char **)items)[i] = acr__hold_text(cfg->ctx, &cfg->blocks, s->item[i], strlen(s->item[i]));
            if (!((char **)items)[i])
                return ACR_E_NO_MEMORY;
        }
    }
    void *at = acr__option_at(cfg, option);
    switch (o->type) {
    case ACR__REALS: *(acr__reals *)at = (acr__reals){s->count, items}; break;
    case ACR__TEXTS: *(acr__texts *)at = (acr__texts){s->count, items}; break;
    default: *(acr__counts *)at = (acr__counts){s->count, items}; break;
    }
    return ACR_OK;
}

acr_status acr__option_set(acr__config *cfg, int option, const acr__setting *s)
{
    const acr__option *o = acr__option_get(option);
    bool texts = o->type == ACR__TEXT || o->type == ACR__PATH || o->type == ACR__TEXTS;
    FAIL_IF(s->quoted && !texts && o->type != ACR__ENUM && o->type != ACR__ENUMS, cfg->ctx, ACR_E_CONFIG,
            "%s: '%s' is a quoted text; write it without quotes", s->where, acr__show(s->count ? s->item[0] : "").text);
    if (o->type >= ACR__ENUMS) {
        bool numbers = o->type == ACR__COUNTS || o->type == ACR__REALS;
        FAIL_IF(numbers && s->count == 0, cfg->ctx, ACR_E_CONFIG, "%s: the list is empty", s->where);
        return set_list(cfg, option, s);
    }
    FAIL_IF(s->list, cfg->ctx, ACR_E_CONFIG, "%s: takes one value, not a list", s->where);
    return set_one(cfg, option, s->where, s->item[0]);
}

/* Unescapes one item of a,b up to a bare comma, in place; returns where the next begins. */
static char *take_item(char *from, char **item)
{
    while (*from == ' ')
        from++;
    *item = from;
    char *to = from, *kept = from; /* kept: after the last character that no trimming may take */
    while (*from && *from != ',') {
        if (*from == '\\' && from[1]) {
            *to++ = from[1] == 'n' ? '\n' : from[1];
            from += 2;
            kept = to;
            continue;
        }
        if (*from == '"' || *from == '\'') { /* quotes as a shell leaves them in ["a", "b"] */
            char *end = strchr(from + 1, *from);
            if (end && from == *item) {
                memmove(to, from + 1, (size_t)(end - from - 1));
                to += end - from - 1;
                from = end + 1;
                kept = to;
                continue;
            }
        }
        if (*from != ' ')
            kept = to + 1;
        *to++ = *from++;
    }
    char *next = *from ? from + 1 : NULL;
    *kept = '\0';
    return next;
}

acr_status acr__option_set_text(acr__config *cfg, int option, const char *where, const char *text)
{
    const acr__option *o = acr__option_get(option);
    if (o->type < ACR__ENUMS) {
        acr__setting one = {where, false, false, 1, &text};
        return acr__option_set(cfg, option, &one);
    }
    size_t n = strlen(text), commas = 0;
    bool brackets = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    char *copy = acr__hold_text(cfg->ctx, &cfg->blocks, text + brackets, n - 2 * (size_t)brackets);
    if (!copy)
        return ACR_E_NO_MEMORY;
    for (const char *c = copy; *c; c++)
        commas += *c == ',';
    char **item = acr__hold(cfg->ctx, &cfg->blocks, (commas + 1) * sizeof *item);
    if (!item)
        return ACR_E_NO_MEMORY;
    acr__setting s = {where, brackets || commas > 0, false, 0, (const char *const *)item};
    if (copy[strspn(copy, " ")] == '\0')
        s.list = true;
    else
        while (copy)
            copy = take_item(copy, &item[s.count++]);
    return acr__option_set(cfg, option, &s);
}

/* ---- back to text ------------------------------------------------------------------ */
/* The bytes of a UTF-8 character that YAML does not take as it is, or would fold
 * as a line's end, into *code; 0 for every other character. */
static int special_character(const unsigned char *s, unsigned *code)
{
    if (s[0] < 0x20 || s[0] == 0x7f) {
        *code = s[0];
        return 1;
    }
    if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0xa0) {
        *code = s[1];
        return 2;
    }
    if ((s[0] == 0xe2 && s[1] == 0x80) || (s[0] == 0xef && (s[1] == 0xbb || s[1] == 0xbf))) {
        *code = (s[0] & 0xfu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
        return *code == 0x2028 || *code == 0x2029 || *code == 0xfeff || *code >= 0xfffe ? 3 : 0;
    }
    return 0;
}

static void add_text(const char *text, acr__style style, bool in_list, acr__buffer *out)
{
    if (style == ACR__STYLE_YAML)
        acr__buffer_add(out, "\"");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        unsigned code;
        char escaped[16];
        int special = style == ACR__STYLE_YAML ? special_character((const unsigned char *)text, &code) : 0;
        if (special) {
            snprintf(escaped, sizeof escaped, code < 0x100 ? "\\x%02x" : "\\u%04x", code);
            acr__buffer_add(out, escaped);
            text += special - 1;
        } else if (style == ACR__STYLE_TEXT && c == '\n') {
            acr__buffer_add(out, "\\n");
        } else {
            bool escape = c == '\\' || (style == ACR__STYLE_YAML ? c == '"' : in_list && strchr(",[]\"' ", c));
            if (escape)
                acr__buffer_add(out, "\\");
            acr__buffer_add_n(out, text, 1);
        }
    }
    if (style == ACR__STYLE_YAML)
        acr__buffer_add(out, "\"");
}

static void add_word(const char *list, int i, acr__buffer *out)
{
    int n = 0;
    const char *w = acr__word(list, i, &n);
    if (w)
        acr__buffer_add_n(out, w, (size_t)n);
}

static void add_number(double value, acr__style style, acr__buffer *out)
{
    char text[32];
    acr__real_format(value, text);
    size_t n = strcspn(text, "e");
    acr__buffer_add_n(out, text, n);
    if (style == ACR__STYLE_YAML && text[n] && !strchr(text, '.'))
        acr__buffer_add(out, ".0"); /* readers of YAML 1.1 take 1e-08 for a text */
    acr__buffer_add(out, text + n);
}

static void add_count(int64_t value, acr__buffer *out)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    acr__buffer_add(out, text);
}

static void format_list(const acr__option *o, const void *at, acr__style style, acr__buffer *out)
{
    bool yaml = style == ACR__STYLE_YAML;
    const acr__texts *texts = at;
    const acr__counts *counts = at;
    const acr__reals *reals = at;
    int n = o->type == ACR__TEXTS ? texts->count : o->type == ACR__REALS ? reals->count : counts->count;
    acr__buffer_add(out, yaml ? "[" : "");
    for (int i = 0; i < n; i++) {
        acr__buffer_add(out, i == 0 ? "" : yaml ? ", " : ",");
        switch (o->type) {
        case ACR__TEXTS: add_text(texts->item[i], style, true, out); break;
        case ACR__REALS: add_number(reals->item[i], style, out); break;
        case ACR__ENUMS: add_word(o->values, (int)counts->item[i], out); break;
        default: add_count(counts->item[i], out); break;
        }
    }
    acr__buffer_add(out, yaml ? "]" : "");
}

void acr__option_format(const acr__config *cfg, int option, acr__style style, acr__buffer *out)
{
    const acr__option *o = acr__option_get(option);
    const void *at = acr__option_at(cfg, option);
    bool has_word = *o->values != '\0';
    acr__buffer_add(out, ""); /* an empty value is a text too */
    switch (o->type) {
    case ACR__COUNT:
    case ACR__SIZE:
        if (*(const int64_t *)at == 0 && has_word)
            add_word(o->values, 0, out);
        else
            add_count(*(const int64_t *)at, out);
        break;
    case ACR__REAL:
        if (has_word && (isnan(*(const double *)at) || *(const double *)at == unset_real(o)))
            add_word(o->values, 0, out);
        else
            add_number(*(const double *)at, style, out);
        break;
    case ACR__HORIZON: {
        const acr__horizon *h = at;
        if (h->unit == ACR__UNIT_AUTO) {
            add_word(o->values, 0, out);
        } else if (h->unit == ACR__UNIT_EPOCHS || h->unit == ACR__UNIT_TOKENS) {
            add_number(h->count, ACR__STYLE_TEXT, out);
            acr__buffer_add(out, h->unit == ACR__UNIT_EPOCHS ? "e" : "t");
        } else {
            add_count((int64_t)h->count, out);
        }
        break;
    }
    case ACR__BOOL: acr__buffer_add(out, *(const bool *)at ? "true" : "false"); break;
    case ACR__ENUM: {
        int value = *(const int *)at;
        add_word(o->values, strcmp(o->key, "optimizer") == 0 ? value - ACR_SGD : value, out);
        break;
    }
    case ACR__TEXT:
    case ACR__PATH:
        if (*(char *const *)at)
            add_text(*(char *const *)at, style, false, out);
        break;
    default: format_list(o, at, style, out);
    }
}

bool acr__option_is(const acr__config *cfg, int option, const char *words)
{
    const acr__option *o = acr__option_get(option);
    const void *at = acr__option_at(cfg, option);
    if (o->type == ACR__BOOL) {
        const char *text = *(const bool *)at ? "true" : "false";
        return acr__word_find(words, text, strlen(text)) >= 0;
    }
    int value = *(const int *)at - (strcmp(o->key, "optimizer") == 0 ? ACR_SGD : 0), n = 0;
    if (value < 0)
        return false;
    const char *text = acr__word(o->values, value, &n);
    return text && acr__word_find(words, text, (size_t)n) >= 0;
}
