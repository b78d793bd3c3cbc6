/* tokenizer_split.c: the regular expressions of pre-tokenizers, by PCRE2.
 *
 * Hugging Face matches with Oniguruma. Invariant: what is accepted means the same
 * to both. So a pattern is read here first: constructs that the two engines take
 * differently (\h, \w, $, scripts, inline options ...) are refused by name, and
 * \s and \d are written out as the characters that Oniguruma means by them. What
 * neither of us knows, PCRE2 refuses.
 *
 * Which characters are letters is left to PCRE2's Unicode tables. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/tokenizer_parts.h"

#include <pcre2.h>
#include <stdio.h>
#include <string.h>

enum {
    PATTERN_BYTES = 65536,
    MATCH_LIMIT = 10000000, /* steps of one match; the known patterns take as many as the text has bytes */
    HEAP_KIB = 64 * 1024,
    STACK_BYTES = 1 << 20, /* of compiled matching, at most */
};

/* clang-format off */
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS_AND(numbers) CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
const char *const acr__split_patterns[3] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    WORDS_AND("\\p{N}{1,3}"),
    WORDS_AND("\\p{N}"),
};
/* Of one character each: cut anywhere. The first two are the pre-tokenizer Digits. */
static const char *const single[] = {"\\p{N}", "\\p{N}+"};
#define SPACES "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}" \
    "\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NO_SPACES "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}" \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
/* clang-format on */

struct acr__split {
    acr_context *ctx;
    char *where;
    bool known;
    pcre2_general_context *general;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack;
    pcre2_code *code;
    pcre2_match_data *data;
};

/* ---- reading a pattern --------------------------------------------------------------- */

typedef struct reader {
    acr_context *ctx;
    const char *where, *p;
    size_t n, at;
    bool in_class, dash; /* dash: in a class, the item before is the '-' of a range */
    acr__chars *out;
} reader;

static acr_status add(reader *r, const char *text) { return acr__chars_add(r->ctx, r->out, text, strlen(text)); }

static acr_status keep(reader *r, size_t n)
{
    TRY(acr__chars_add(r->ctx, r->out, r->p + r->at, n));
    r->at += n;
    return ACR_OK;
}

static acr_status refuse(reader *r, size_t n, const char *why)
{
    return acr__fail(r->ctx, ACR_E_DATA, "%s: in its pattern, '%.*s' at byte %zu %s", r->where, (int)n, r->p + r->at,
                     r->at, why);
}

static bool one_of(const char *list, char c) { return c != '\0' && strchr(list, c) != NULL; }

/* \p{Lu}, \P{N}: general categories. Other names mean different things to different engines. */
static acr_status take_property(reader *r)
{
    const char *p = r->p + r->at;
    size_t left = r->n - r->at;
    if (left >= 5 && p[2] == '{' && one_of("LMNPSZC", p[3])) {
        if (p[4] == '}')
            return keep(r, 5);
        if (left >= 6 && one_of("ultmonecdfsikp", p[4]) && p[5] == '}')
            return keep(r, 6);
    }
    return refuse(r, left < 8 ? left : 8, "is not implemented: general categories, as \\p{L} or \\p{Nd}, are");
}

/* \x41, \x{1F600}, \uFF5E */
static acr_status take_number(reader *r)
{
    size_t digits = r->at + 2, n = r->p[r->at + 1] == 'u' ? 4 : 2, skip = 0;
    if (r->p[r->at + 1] == 'x' && digits < r->n && r->p[digits] == '{') {
        const char *close = memchr(r->p + digits, '}', r->n - digits);
        n = close ? (size_t)(close - (r->p + digits)) - 1 : 0;
        digits++;
        skip = 1;
    }
    char text[16];
    if (n < 1 || n > 6 || digits + n + skip > r->n || strspn(r->p + digits, "0123456789abcdefABCDEF") < n)
        return refuse(r, 2, "is not followed by the number of a character");
    snprintf(text, sizeof text, "\\x{%.*s}", (int)n, r->p + digits);
    r->at = digits + n + skip;
    return add(r, text);
}

static acr_status take_escape(reader *r)
{
    if (r->at + 1 >= r->n)
        return refuse(r, 1, "escapes nothing");
    char c = r->p[r->at + 1];
    const char *instead = NULL;
    if (r->in_class && one_of("sSdDpP", c) &&
        (r->dash || (r->at + 3 < r->n && r->p[r->at + 2] == '-' && r->p[r->at + 3] != ']')))
        return refuse(r, 2, "is no end of a range");
    switch (c) {
    case 's':
        instead = r->in_class ? SPACES : "[" SPACES "]";
        break;
    case 'S':
        instead = r->in_class ? NO_SPACES : "[" NO_SPACES "]";
        break;
    case 'd':
        instead = "\\p{Nd}";
        break;
    case 'D':
        instead = "\\P{Nd}";
        break;
    case 'p':
    case 'P':
        return take_property(r);
    case 'x':
    case 'u':
        return take_number(r);
    case 'r':
    case 'n':
    case 't':
        return keep(r, 2);
    default:
        if (one_of("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ", c))
            return keep(r, 2);
        return refuse(r, 2, "is not implemented");
    }
    r->at += 2;
    return add(r, instead);
}

static acr_status take_group(reader *r)
{
    static const char *const opens[] = {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    if (r->at + 1 >= r->n || (r->p[r->at + 1] != '?' && r->p[r->at + 1] != '*'))
        return keep(r, 1);
    for (size_t i = 0; i < sizeof opens / sizeof *opens; i++)
        if (r->n - r->at >= strlen(opens[i]) && memcmp(r->p + r->at, opens[i], strlen(opens[i])) == 0)
            return keep(r, strlen(opens[i]));
    return refuse(r, r->n - r->at < 4 ? r->n - r->at : 4, "is not implemented");
}

/* {2}, {2,}, {1,3}. {,3} and {3}+ are read differently by different engines. */
static acr_status take_count(reader *r)
{
    size_t i = r->at + 1, digits = 0;
    while (i < r->n && r->p[i] >= '0' && r->p[i] <= '9') {
        i++;
        digits++;
    }
    if (i < r->n && r->p[i] == ',')
        for (i++; i < r->n && r->p[i] >= '0' && r->p[i] <= '9';)
            i++;
    if (digits == 0 || i >= r->n || r->p[i] != '}' || (i + 1 < r->n && r->p[i + 1] == '+'))
        return refuse(r, 1, "is not implemented as it is used; \\{ is a brace");
    return keep(r, i + 1 - r->at);
}

static acr_status take_in_class(reader *r, size_t class_begin)
{
    char c = r->p[r->at];
    if (c == '[')
        return refuse(r, 1, "inside of a class is not implemented; \\[ is a bracket");
    if (c == '&' && r->at + 1 < r->n && r->p[r->at + 1] == '&')
        return refuse(r, 2, "is not implemented");
    if (c == ']' && r->at == class_begin)
        return refuse(r, 1, "begins a class; \\] is a bracket");
    if (c == ']')
        r->in_class = false;
    bool dash = c == '-' && r->at != class_begin;
    TRY(keep(r, 1));
    r->dash = dash;
    return ACR_OK;
}

/* The pattern in PCRE2's words into *out. */
static acr_status read_pattern(reader *r)
{
    size_t class_begin = 0;
    while (r->at < r->n) {
        char c = r->p[r->at];
        if (c == '\\') {
            TRY(take_escape(r));
            r->dash = false;
        } else if (r->in_class) {
            TRY(take_in_class(r, class_begin));
        } else if (c == '[') {
            r->in_class = true;
            r->dash = false;
            TRY(keep(r, r->at + 1 < r->n && r->p[r->at + 1] == '^' ? 2 : 1));
            class_begin = r->at;
        } else if (c == '(') {
            TRY(take_group(r));
        } else if (c == '{') {
            TRY(take_count(r));
        } else if (c == '^' || c == '$') {
            return refuse(r, 1, "is not implemented");
        } else {
            TRY(keep(r, 1));
        }
    }
    return ACR_OK;
}

/* ---- compiling ---------------------------------------------------------------------------- */

static void *hook_alloc(size_t bytes, void *user) { return acr__alloc(user, bytes); }

static void hook_free(void *p, void *user) { acr__free(user, p); }

static acr_status compile(acr__split *s, const char *pattern, size_t n, uint32_t options)
{
    int error;
    PCRE2_SIZE offset;
    pcre2_compile_context *context = pcre2_compile_context_create(s->general);
    if (!context)
        return ACR_E_NO_MEMORY;
    pcre2_set_parens_nest_limit(context, 32);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    s->code = pcre2_compile((PCRE2_SPTR)pattern, n, options | PCRE2_UTF, &error, &offset, context);
    pcre2_compile_context_free(context);
    if (!s->code) {
        PCRE2_UCHAR text[128] = "";
        pcre2_get_error_message(error, text, sizeof text);
        return acr__fail(s->ctx, error == PCRE2_ERROR_HEAP_FAILED ? ACR_E_NO_MEMORY : ACR_E_DATA,
                         "%s: its pattern is no regular expression: %s", s->where, (const char *)text);
    }
    /* Where the system forbids code made at run time, matching is slower and the same. */
    (void)pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE);
    s->data = pcre2_match_data_create(1, s->general);
    s->limits = pcre2_match_context_create(s->general);
    s->stack = pcre2_jit_stack_create(32 * 1024, STACK_BYTES, s->general);
    if (!s->data || !s->limits || !s->stack)
        return ACR_E_NO_MEMORY;
    pcre2_set_match_limit(s->limits, s->known ? UINT32_MAX : MATCH_LIMIT);
    pcre2_set_heap_limit(s->limits, HEAP_KIB);
    pcre2_jit_stack_assign(s->limits, NULL, s->stack);
    return ACR_OK;
}

static bool equals(const char *text, size_t n, const char *other)
{
    return strlen(other) == n && memcmp(text, other, n) == 0;
}

static acr_status create(acr__split *s, const char *pattern, size_t n, bool literal)
{
    FAIL_IF(n == 0 || n > PATTERN_BYTES, s->ctx, ACR_E_DATA, "%s: a pattern of %zu bytes; 1 to %d are possible",
            s->where, n, PATTERN_BYTES);
    s->general = pcre2_general_context_create(hook_alloc, hook_free, s->ctx);
    if (!s->general)
        return ACR_E_NO_MEMORY;
    if (literal)
        return compile(s, pattern, n, PCRE2_LITERAL);
    for (int i = 0; i < 3; i++)
        s->known = s->known || equals(pattern, n, acr__split_patterns[i]);
    for (size_t i = 0; i < sizeof single / sizeof *single; i++)
        s->known = s->known || equals(pattern, n, single[i]);
    acr__chars text = {0};
    reader r = {.ctx = s->ctx, .where = s->where, .p = pattern, .n = n, .out = &text};
    acr_status status = read_pattern(&r);
    if (status == ACR_OK)
        status = compile(s, text.bytes, text.count, 0);
    acr__chars_free(s->ctx, &text);
    return status;
}

acr_status acr__split_create(acr__split **out, acr_context *ctx, const char *where, const char *pattern, size_t n,
                             bool literal)
{
    acr__split *s = acr__alloc(ctx, sizeof *s);
    if (!s)
        return ACR_E_NO_MEMORY;
    s->ctx = ctx;
    s->where = acr__strdup(ctx, where);
    acr_status status = s->where ? create(s, pattern, n, literal) : ACR_E_NO_MEMORY;
    if (status != ACR_OK) {
        acr__split_destroy(s);
        return status;
    }
    *out = s;
    return ACR_OK;
}

void acr__split_destroy(acr__split *s)
{
    if (!s)
        return;
    pcre2_code_free(s->code);
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->limits);
    pcre2_jit_stack_free(s->stack);
    pcre2_general_context_free(s->general);
    acr__free(s->ctx, s->where);
    acr__free(s->ctx, s);
}

bool acr__split_known(const acr__split *s) { return s->known; }

acr_status acr__split_next(acr__split *s, const char *text, size_t n, size_t from, size_t *begin, size_t *end)
{
    int rc = pcre2_match(s->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, s->data, s->limits);
    if (rc == PCRE2_ERROR_NOMATCH) {
        *begin = *end = n;
        return ACR_OK;
    }
    if (rc < 0) {
        PCRE2_UCHAR why[128] = "";
        pcre2_get_error_message(rc, why, sizeof why);
        return acr__fail(s->ctx, rc == PCRE2_ERROR_NOMEMORY ? ACR_E_NO_MEMORY : ACR_E_DATA,
                         "%s: its pattern gives up on this text, at byte %zu: %s", s->where, from, (const char *)why);
    }
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(s->data);
    *begin = place[0];
    *end = place[1];
    return ACR_OK;
}
