/* tokenizer.h: what the tests of tokenizers share: the golden files, and
 * tokenizers made from them by changing a part of the JSON. */
#ifndef ACR_TEST_TOKENIZER_H
#define ACR_TEST_TOKENIZER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/context.h"
#include "data/tokenizer.h"
#include <jansson.h>

static acr_context *ctx;

static inline int context_open(void **state)
{
    (void)state;
    return acr__context_new(&ctx, NULL) != ACR_OK;
}

static inline int context_close(void **state)
{
    (void)state;
    acr_context_destroy(ctx);
    return 0;
}

/* In one of four buffers that take turns. */
static inline const char *golden_path(const char *name, const char *ending)
{
    static char path[4][512];
    static int turn;
    const char *source = getenv("ACCRUE_SOURCE");
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/tests/golden/tokenizer_%s.%s", source ? source : ".", name, ending);
    return p;
}

static inline json_t *golden_json(const char *name, const char *ending)
{
    json_error_t e;
    json_t *j = json_load_file(golden_path(name, ending), JSON_ALLOW_NUL, &e);
    if (!j)
        fail_msg("%s: %s", golden_path(name, ending), e.text);
    return j;
}

/* NULL: refused, with acr_error(ctx). Takes the JSON. */
static inline acr__tokenizer *tokenizer_from(json_t *root)
{
    char *text = json_dumps(root, 0);
    assert_non_null(text);
    acr__tokenizer *t = NULL;
    acr_status status = acr__tokenizer_parse(&t, ctx, "test.json", text, strlen(text));
    assert_true(status == ACR_OK || status == ACR_E_DATA);
    assert_true((status == ACR_OK) == (t != NULL));
    free(text);
    json_decref(root);
    return t;
}

static inline acr__tokenizer *golden_tokenizer(const char *name)
{
    acr__tokenizer *t;
    if (acr__tokenizer_open(&t, ctx, golden_path(name, "json")) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    return t;
}

/* The value at "a.b.2.c", to be changed in place. */
static inline json_t *at_place(json_t *root, const char *place)
{
    char key[64];
    while (root && *place) {
        size_t n = strcspn(place, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, place);
        root = json_is_array(root) ? json_array_get(root, (size_t)atoi(key)) : json_object_get(root, key);
        place += n + (place[n] == '.');
    }
    assert_non_null(root);
    return root;
}

/* Sets the key of the object at the place to the JSON value; "": removes it. */
static inline void set_json(json_t *root, const char *place, const char *key, const char *value)
{
    json_t *object = at_place(root, place);
    if (!*value) {
        json_object_del(object, key);
        return;
    }
    json_error_t e;
    json_t *v = json_loads(value, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!v)
        fail_msg("%s: %s", value, e.text);
    assert_int_equal(json_object_set_new(object, key, v), 0);
}

/* The ids of a text; `ids` is emptied first. */
static inline void encode(const acr__tokenizer *t, const char *text, size_t n, bool special, acr__ids *ids)
{
    ids->count = 0;
    if (acr__tokenizer_encode(t, ids, text, n, special) != ACR_OK)
        fail_msg("%.80s: %s", text, acr_error(ctx));
}

#endif
