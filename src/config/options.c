/* options.c: the table of options.def as data: rows, names, near names, words,
 * intervals; and memory that lives as long as a configuration.
 *
 * Invariant: everything here is const or belongs to the caller. It does not read
 * values: that is value.c. */
#include "config/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { T = ACR__FOR_TRAIN, TE = ACR__FOR_TRAIN | ACR__FOR_EVAL };
enum { KIND_IDENTITY = ACR__IDENTITY, KIND_HORIZON = ACR__EXTENDABLE, KIND_FREE = ACR__FREE };

static const acr__option table[ACR__OPTION_COUNT] = {
#define ACR_OPTION(group, member, key, type, kind, use, range, values, fallback, needs, aliases, help)     \
    {ACR__GROUP_##group, key, ACR__##type, (acr__option_kind)KIND_##kind, use, range, values, fallback, needs, \
     aliases, help, offsetof(acr__config, member)},
#include "config/options.def"
#undef ACR_OPTION
};

/* Names that mean something else in each tool, or ask for what another option does. */
static const struct {
    const char *key, *hint;
} hints[] = {
    {"batch_size", "; write effective_batch_size (samples per update) or micro_batch_size (samples at once)"},
    {"batch", "; write effective_batch_size (samples per update) or micro_batch_size (samples at once)"},
    {"warmup_ratio", "; write warmup_steps, in updates or as 0.1e for a tenth of an epoch"},
    {"warmup_epochs", "; write warmup_steps: 1e for one epoch"},
    {"fp16", "; write dtype: bfloat16 or float32"},
    {"bf16", "; write dtype: bfloat16"},
    {"model_type", "; write model: {type: mlp, ...}"},
    {"evaluation_strategy", "; write eval_steps, in updates or as 1e for each epoch"},
    {"save_strategy", "; write save_steps, in updates or as 1e for each epoch"},
};

const acr__option *acr__option_get(int option)
{
    return &table[option];
}

const char *acr__option_group_name(acr__option_group group)
{
    static const char *const name[ACR__GROUP_COUNT] = {"Model",          "Data",    "Loss",  "Optimizer", "Schedule",
                                                       "Batch and length", "Machine", "Output"};
    return name[group];
}

const char *acr__option_kind_name(acr__option_kind kind)
{
    static const char *const name[] = {"identity", "horizon", "free"};
    return name[kind];
}

/* ---- words ----------------------------------------------------------------- */
const char *acr__word(const char *list, int i, int *length)
{
    if (*list == '\0' || i < 0)
        return NULL;
    for (; i > 0; i--) {
        list = strchr(list, '|');
        if (!list)
            return NULL;
        list++;
    }
    *length = (int)strcspn(list, "|");
    return list;
}

int acr__word_find(const char *list, const char *word, size_t length)
{
    int n;
    const char *w;
    for (int i = 0; (w = acr__word(list, i, &n)) != NULL; i++)
        if ((size_t)n == length && memcmp(w, word, length) == 0)
            return i;
    return -1;
}

int acr__option_find(const char *key, bool *canonical)
{
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        bool same = strcmp(table[i].key, key) == 0;
        if (same || acr__word_find(table[i].aliases, key, strlen(key)) >= 0) {
            if (canonical)
                *canonical = same;
            return i;
        }
    }
    return -1;
}

bool acr__section_exists(const char *path)
{
    size_t n = strlen(path);
    for (int i = 0; i < ACR__OPTION_COUNT; i++)
        if (strncmp(table[i].key, path, n) == 0 && table[i].key[n] == '.')
            return true;
    return false;
}

/* ---- near names ---------------------------------------------------------------- */
enum { NEAR_LENGTH = 63 };

/* Edits (insert, delete, replace, swap neighbours) that lead from a to b: the
 * optimal string alignment distance, three rows of its table kept. */
static int distance(const char *a, size_t n, const char *b, size_t m)
{
    int row[3][NEAR_LENGTH + 1];
    if (n > NEAR_LENGTH || m > NEAR_LENGTH)
        return NEAR_LENGTH;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = row[i % 3], *up = row[(i + 2) % 3], *upper = row[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && upper[j - 2] + 1 < best)
                best = upper[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

/* How far a near name may be: a third of the letters, as spelling checkers allow. */
static int tolerance(size_t length)
{
    return length < 3 ? 1 : (int)(length / 3 < 2 ? 2 : length / 3);
}

const char *acr__nearest(const char *word, int count, const char *const *names)
{
    const char *nearest = NULL;
    size_t length = strlen(word);
    int best = tolerance(length) + 1;
    for (int i = 0; i < count; i++) {
        int d = distance(word, length, names[i], strlen(names[i]));
        if (d < best && d < (int)length) {
            best = d;
            nearest = names[i];
        }
    }
    return nearest;
}

/* The distance to an option: to its whole key, to the key within its section, or
 * to an alias. A key of the same section wins over an equally near one. */
static int option_distance(const acr__option *o, const char *key)
{
    const char *dot = strrchr(key, '.'), *leaf = dot ? dot + 1 : key;
    const char *odot = strrchr(o->key, '.'), *oleaf = odot ? odot + 1 : o->key;
    size_t section = dot ? (size_t)(dot - key) : 0, osection = odot ? (size_t)(odot - o->key) : 0;
    int best = distance(key, strlen(key), o->key, strlen(o->key)) * 2;
    bool same_section = section == osection && memcmp(key, o->key, section) == 0;
    int d = distance(leaf, strlen(leaf), oleaf, strlen(oleaf)) * 2 + !same_section;
    if (d < best)
        best = d;
    int n;
    const char *alias;
    for (int i = 0; (alias = acr__word(o->aliases, i, &n)) != NULL; i++) {
        d = distance(key, strlen(key), alias, (size_t)n) * 2 + 1;
        if (d < best)
            best = d;
    }
    return best;
}

/* The nearest section, `model` for `modle`; its length in *length. */
static const char *near_section(const char *key, int *length)
{
    const char *nearest = NULL;
    int best = tolerance(strlen(key)) + 1;
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        for (const char *k = table[i].key, *dot = k; (dot = strchr(dot, '.')) != NULL; dot++) {
            int d = distance(key, strlen(key), k, (size_t)(dot - k));
            if (d < best && d < (int)strlen(key)) {
                best = d;
                nearest = k;
                *length = (int)(dot - k);
            }
        }
    }
    return nearest;
}

void acr__option_hint(const char *key, char *out, size_t size)
{
    int length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (strcmp(hints[i].key, key) == 0) {
            snprintf(out, size, "%s", hints[i].hint);
            return;
        }
    }
    const char *dot = strrchr(key, '.'), *leaf = dot ? dot + 1 : key;
    int nearest = -1, best = 2 * tolerance(strlen(leaf)) + 2;
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        int d = option_distance(&table[i], key);
        if (d < best && d < 2 * (int)strlen(leaf)) {
            best = d;
            nearest = i;
        }
    }
    const char *section = nearest < 0 ? near_section(key, &length) : NULL;
    if (nearest >= 0)
        snprintf(out, size, "; did you mean %s?", table[nearest].key);
    else if (section)
        snprintf(out, size, "; did you mean the section %.*s?", length, section);
}

/* ---- intervals ------------------------------------------------------------------ */
acr__range acr__range_read(const char *text)
{
    acr__range r = {-INFINITY, INFINITY, false, false};
    if (*text == '\0')
        return r;
    const char *comma = strchr(text, ',');
    char low[32];
    snprintf(low, sizeof low, "%.*s", (int)(comma - text - 1), text + 1);
    acr__real_read(low, &r.low);
    r.low_open = text[0] == '(';
    size_t n = strlen(comma + 1);
    if (n > 1) {
        snprintf(low, sizeof low, "%.*s", (int)(n - 1), comma + 1);
        acr__real_read(low, &r.high);
        r.high_open = comma[n] == ')';
    }
    return r;
}

void acr__range_tell(const char *text, char *out, size_t size)
{
    acr__range r = acr__range_read(text);
    char low[32], high[32];
    acr__real_format(r.low, low);
    if (isinf(r.high)) {
        snprintf(out, size, r.low_open ? "above %s" : "at least %s", low);
        return;
    }
    acr__real_format(r.high, high);
    if (r.low == r.high)
        snprintf(out, size, "%s", low);
    else
        snprintf(out, size, "%s %s %s %s", r.low_open ? "above" : "from", low, r.high_open ? "to below" : "to", high);
}

/* ---- memory ----------------------------------------------------------------------- */
typedef struct block {
    struct block *next;
    max_align_t data[];
} block;

void *acr__hold(acr_context *ctx, void **blocks, size_t bytes)
{
    size_t whole;
    if (!acr__add(bytes, sizeof(block), &whole)) {
        acr__fail(ctx, ACR_E_NO_MEMORY, "the configuration does not fit memory");
        return NULL;
    }
    block *b = acr__alloc(ctx, whole);
    if (!b)
        return NULL;
    b->next = *blocks;
    *blocks = b;
    return b->data;
}

char *acr__hold_text(acr_context *ctx, void **blocks, const char *text, size_t length)
{
    char *copy = acr__hold(ctx, blocks, length + 1);
    if (copy && length)
        memcpy(copy, text, length);
    return copy;
}

void acr__hold_free(acr_context *ctx, void **blocks)
{
    for (block *b = *blocks, *next; b; b = next) {
        next = b->next;
        acr__free(ctx, b);
    }
    *blocks = NULL;
}

acr_status acr__texts_add(acr_context *ctx, void **blocks, acr__texts *list, const char *format, ...)
{
    char sentence[ACR_SENTENCE];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    char *copy = acr__hold_text(ctx, blocks, sentence, strlen(sentence));
    if (!copy)
        return ACR_E_NO_MEMORY;
    /* Room is a power of two, so it is full whenever count is one. */
    if ((list->count & (list->count - 1)) == 0) {
        char **larger = acr__hold(ctx, blocks, (size_t)(list->count ? 2 * list->count : 1) * sizeof *larger);
        if (!larger)
            return ACR_E_NO_MEMORY;
        if (list->count)
            memcpy(larger, list->item, (size_t)list->count * sizeof *larger);
        list->item = larger;
    }
    list->item[list->count++] = copy;
    return ACR_OK;
}

void acr__buffer_add_n(acr__buffer *b, const char *text, size_t length)
{
    if (b->status != ACR_OK)
        return;
    if (b->room - b->length <= length) {
        size_t room = 2 * (b->room + length) + 64;
        char *larger = acr__realloc(b->ctx, b->text, room);
        if (!larger) {
            b->status = ACR_E_NO_MEMORY;
            return;
        }
        b->text = larger;
        b->room = room;
    }
    memcpy(b->text + b->length, text, length);
    b->length += length;
    b->text[b->length] = '\0';
}

void acr__buffer_add(acr__buffer *b, const char *text)
{
    acr__buffer_add_n(b, text, strlen(text));
}

void acr__buffer_free(acr__buffer *b)
{
    acr__free(b->ctx, b->text);
    b->text = NULL;
}

acr__shown acr__show(const char *text)
{
    acr__shown s;
    size_t n = 0;
    for (; n < 60 && text[n]; n++)
        s.text[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n];
    if (text[n]) {
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
        memcpy(s.text + n, "...", 3);
        n += 3;
    }
    s.text[n] = '\0';
    return s;
}
