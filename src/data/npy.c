/* npy.c: the head of a NumPy .npy file, versions 1.0, 2.0 and 3.0: a magic, a
 * version, a length, and a Python dict literal with exactly the keys descr,
 * fortran_order and shape. Only what numpy.save writes for plain numbers in C
 * order is accepted; no Python expression is evaluated. Reads memory only. */
#include "data/array.h"
#include <string.h>

/* Never moves past end. */
typedef struct cursor {
    const char *p, *end;
} cursor;

static void skip_space(cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\t' || *c->p == '\r'))
        c->p++;
}

static bool take(cursor *c, char wanted)
{
    skip_space(c);
    if (c->p == c->end || *c->p != wanted)
        return false;
    c->p++;
    return true;
}

static bool take_word(cursor *c, const char *word)
{
    size_t n = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

/* A quoted string without escapes, of fewer than `room` bytes. */
static bool take_string(cursor *c, char *out, size_t room)
{
    skip_space(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"'))
        return false;
    char quote = *c->p++;
    size_t n = 0;
    for (; c->p < c->end && *c->p != quote; c->p++) {
        if (n + 1 >= room || *c->p < 0x20 || *c->p > 0x7e || *c->p == '\\')
            return false;
        out[n++] = *c->p;
    }
    out[n] = 0;
    return take(c, quote);
}

static bool take_count(cursor *c, int64_t *out)
{
    int64_t v = 0;
    skip_space(c);
    const char *begin = c->p;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *c->p - '0', &v))
            return false;
    if (c->p == begin)
        return false;
    if (c->p < c->end && *c->p == 'L') /* Python 2 wrote long integers so */
        c->p++;
    *out = v;
    return true;
}

static acr_status take_shape(acr_context *ctx, const char *path, cursor *c, acr__array_head *head)
{
    const char *wrong = "%s: the .npy head's shape is not a tuple of counts such as (60000, 784)";
    FAIL_IF(!take(c, '('), ctx, ACR_E_DATA, wrong, path);
    head->ndim = 0;
    while (!take(c, ')')) {
        FAIL_IF(head->ndim == ACR_ARRAY_DIMS, ctx, ACR_E_DATA, "%s: more than %d dimensions", path, ACR_ARRAY_DIMS);
        FAIL_IF(!take_count(c, &head->dim[head->ndim]), ctx, ACR_E_DATA, wrong, path);
        head->ndim++;
        if (!take(c, ',')) {
            FAIL_IF(!take(c, ')'), ctx, ACR_E_DATA, wrong, path);
            break;
        }
    }
    FAIL_IF(head->ndim == 0, ctx, ACR_E_DATA,
            "%s: a single number; an array is needed whose first dimension counts the samples", path);
    return ACR_OK;
}

static acr_status take_descr(acr_context *ctx, const char *path, cursor *c, acr__array_head *head)
{
    static const struct {
        const char *name;
        acr_st_dtype dtype;
    } known[] = {{"b1", ACR_ST_BOOL}, {"u1", ACR_ST_U8},  {"i1", ACR_ST_I8},  {"u2", ACR_ST_U16},
                 {"i2", ACR_ST_I16},  {"u4", ACR_ST_U32}, {"i4", ACR_ST_I32}, {"u8", ACR_ST_U64},
                 {"i8", ACR_ST_I64},  {"f2", ACR_ST_F16}, {"f4", ACR_ST_F32}, {"f8", ACR_ST_F64}};
    char descr[16];
    skip_space(c);
    FAIL_IF(c->p < c->end && *c->p == '[', ctx, ACR_E_DATA, "%s: a structured dtype; one plain number type is needed",
            path);
    FAIL_IF(!take_string(c, descr, sizeof descr), ctx, ACR_E_DATA,
            "%s: the .npy head's descr is not a type such as '<f4'", path);
    FAIL_IF(strchr(descr, 'O') != NULL, ctx, ACR_E_DATA,
            "%s: dtype object ('%s'): it holds Python pickles, which are never loaded; save it as float32 or integers",
            path, descr);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if ((descr[0] != '<' && descr[0] != '>' && descr[0] != '|') || strcmp(descr + 1, known[i].name) != 0)
            continue;
        head->dtype = known[i].dtype;
        head->big_endian = descr[0] == '>';
        FAIL_IF(descr[0] == '|' && acr_st_dtype_bytes(head->dtype) > 1, ctx, ACR_E_DATA,
                "%s: dtype '%s' has no byte order; '<%s' is what numpy writes", path, descr, known[i].name);
        return ACR_OK;
    }
    return acr__fail(ctx, ACR_E_DATA, "%s: dtype '%s' is not one of b1, u1, i1, u2, i2, u4, i4, u8, i8, f2, f4, f8",
                     path, descr);
}

static acr_status take_dict(acr_context *ctx, const char *path, cursor *c, acr__array_head *head)
{
    const char *wrong = "%s: the .npy head is not a dict with descr, fortran_order and shape";
    enum { DESCR = 1, ORDER = 2, SHAPE = 4 };
    int seen = 0;
    bool fortran = false;
    FAIL_IF(!take(c, '{'), ctx, ACR_E_DATA, wrong, path);
    while (!take(c, '}')) {
        char key[16];
        FAIL_IF(!take_string(c, key, sizeof key) || !take(c, ':'), ctx, ACR_E_DATA, wrong, path);
        int this = strcmp(key, "descr") == 0           ? DESCR
                   : strcmp(key, "fortran_order") == 0 ? ORDER
                   : strcmp(key, "shape") == 0         ? SHAPE
                                                       : 0;
        FAIL_IF(!this, ctx, ACR_E_DATA, "%s: unknown key '%s' in the .npy head", path, key);
        FAIL_IF(seen & this, ctx, ACR_E_DATA, "%s: key '%s' is twice in the .npy head", path, key);
        seen |= this;
        if (this == DESCR) {
            TRY(take_descr(ctx, path, c, head));
        } else if (this == SHAPE) {
            TRY(take_shape(ctx, path, c, head));
        } else {
            fortran = take_word(c, "True");
            FAIL_IF(!fortran && !take_word(c, "False"), ctx, ACR_E_DATA,
                    "%s: the .npy head's fortran_order is neither True nor False", path);
        }
        if (!take(c, ',')) {
            FAIL_IF(!take(c, '}'), ctx, ACR_E_DATA, wrong, path);
            break;
        }
    }
    FAIL_IF(seen != (DESCR | ORDER | SHAPE), ctx, ACR_E_DATA, wrong, path);
    skip_space(c);
    FAIL_IF(c->p != c->end, ctx, ACR_E_DATA, "%s: something follows the dict in the .npy head", path);
    FAIL_IF(
        fortran && head->ndim > 1, ctx, ACR_E_DATA,
        "%s: the array is in Fortran order, where a sample's numbers lie far apart; save numpy.ascontiguousarray(x)",
        path);
    return ACR_OK;
}

acr_status acr__npy_parse(acr_context *ctx, const char *path, const uint8_t *bytes, size_t n, acr__array_head *out)
{
    FAIL_IF(n < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0, ctx, ACR_E_DATA,
            "%s: not an .npy file: it does not begin with \\x93NUMPY%s", path,
            n >= 4 && bytes[0] == 0 && bytes[1] == 0 ? "; it may be IDX: format: idx" : "");
    int major = bytes[6], minor = bytes[7];
    FAIL_IF(major < 1 || major > 3 || minor != 0, ctx, ACR_E_DATA, "%s: .npy version %d.%d; 1.0, 2.0 and 3.0 are known",
            path, major, minor);
    size_t begin = major == 1 ? 10 : 12;
    FAIL_IF(n < begin, ctx, ACR_E_DATA, "%s: ends within its head", path);
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (major > 1)
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    FAIL_IF(length > ACR_ARRAY_HEAD - begin, ctx, ACR_E_DATA, "%s: an .npy head of %zu bytes; at most %zu are allowed",
            path, length, ACR_ARRAY_HEAD - begin);
    FAIL_IF(length > n - begin, ctx, ACR_E_DATA, "%s: ends within its head: %zu bytes, %zu needed", path, n,
            begin + length);
    acr__array_head head = {.offset = (int64_t)(begin + length)};
    cursor c = {(const char *)bytes + begin, (const char *)bytes + begin + length};
    TRY(take_dict(ctx, path, &c, &head));
    TRY(acr__array_measure(ctx, path, &head));
    *out = head;
    return ACR_OK;
}
