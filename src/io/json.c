/* json.c: see json.h. */
#include "io/json.h"

#include "io/file.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 32,
    VALUES_MAX = 2000000, /* each costs far more memory than the two bytes it may take in the text */
};

const char *acr__text_shown(const char *text, char out[ACR__JSON_SHOWN])
{
    size_t n = 0;
    for (; n < ACR__JSON_SHOWN - 4 && text[n]; n++)
        out[n] = (unsigned char)text[n] < 32 || text[n] == 127 ? '?' : text[n];
    strcpy(out + n, text[n] ? "..." : "");
    return out;
}

typedef struct beginning {
    char text[ACR__JSON_SHOWN + 4];
    size_t n;
} beginning;

/* What fits of each part: json_dumpb leaves out a part that does not fit whole. */
static int keep_beginning(const char *part, size_t n, void *user)
{
    beginning *b = user;
    size_t room = sizeof b->text - 1 - b->n, some = n < room ? n : room;
    memcpy(b->text + b->n, part, some);
    b->n += some;
    return 0;
}

const char *acr__json_shown(const json_t *value, char out[ACR__JSON_SHOWN])
{
    beginning b = {.n = 0};
    json_dump_callback(value, keep_beginning, &b, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    return acr__text_shown(b.text, out);
}

/* Runs over the bytes once, knowing of strings and brackets only. */
acr_status acr__json_scan(acr_context *ctx, const char *path, const char *what, const char *text, size_t n,
                          int64_t values)
{
    int depth = 0;
    int64_t met = 1;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            FAIL_IF(++depth > DEPTH_MAX, ctx, ACR_E_DATA, "%s: %s is nested deeper than %d", path, what, DEPTH_MAX);
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == ',' || c == ':') {
            FAIL_IF(++met > values, ctx, ACR_E_DATA, "%s: %s has more than %lld values", path, what, (long long)values);
        }
    }
    return ACR_OK;
}

acr_status acr__json_parse(acr_context *ctx, const char *path, const char *what, const char *text, size_t n,
                           json_t **out)
{
    char shown[ACR__JSON_SHOWN];
    json_error_t error;
    TRY(acr__json_scan(ctx, path, what, text, n, VALUES_MAX));
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    FAIL_IF(!root && json_error_code(&error) == json_error_out_of_memory, ctx, ACR_E_NO_MEMORY,
            "%s: no memory for JSON of %zu bytes", path, n);
    FAIL_IF(!root, ctx, ACR_E_DATA, "%s: %s is not valid JSON: %s (line %d, byte %d of it)", path, what,
            acr__text_shown(error.text, shown), error.line, error.position);
    if (!json_is_object(root)) {
        json_decref(root);
        return acr__fail(ctx, ACR_E_DATA, "%s: %s is JSON but no object", path, what);
    }
    *out = root;
    return ACR_OK;
}

acr_status acr__json_load(acr_context *ctx, const char *path, size_t limit, json_t **out)
{
    char *text;
    size_t bytes;
    TRY(acr__file_load(ctx, path, limit, &text, &bytes));
    acr_status status = acr__json_parse(ctx, path, "the file", text, bytes, out);
    acr__free(ctx, text);
    return status;
}

acr_status acr__json_write(acr_context *ctx, const json_t *value, char **out)
{
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    json_t *again = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (!again || !json_equal(again, value)) {
        free(text);
        text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    }
    json_decref(again);
    size_t n = text ? strlen(text) : 0;
    char *grown = text ? realloc(text, n + 2) : NULL;
    if (!grown) {
        free(text);
        return acr__fail(ctx, ACR_E_NO_MEMORY, "no memory to write JSON");
    }
    memcpy(grown + n, "\n", 2);
    *out = grown;
    return ACR_OK;
}
