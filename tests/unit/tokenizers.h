/* tokenizers.h: small tokenizers for tests: one token a byte, an end of text, and
 * what else is asked for. */
#ifndef ACR_TEST_TOKENIZERS_H
#define ACR_TEST_TOKENIZERS_H

#include "unit/data_files.h"
#include "data/tokenizer.h"
#include <jansson.h>

typedef struct one_text {
    const char *text;
} one_text;

static inline acr_status one_text_next(void *user, const char **text, size_t *bytes, bool *last)
{
    one_text *t = user;
    *text = t->text;
    *bytes = t->text ? strlen(t->text) : 0;
    *last = true;
    t->text = NULL;
    return ACR_OK;
}

/* A tokenizer of 257 tokens (the bytes and <|endoftext|>), and `added` with the
 * ids from 257 on; NULL ends the list. `first`, if not NULL, is one of them that
 * begins every text. Written to path. */
static inline void tokenizer_make(acr_context *c, const char *path, const char *const *added, const char *first)
{
    one_text text = {"some text"};
    acr__text_reader reader = {one_text_next, &text, "text"};
    acr__tokenizer *t;
    if (acr__tokenizer_learn(&t, c, 257, ACR_SPLIT_GPT2, &reader) != ACR_OK ||
        acr__tokenizer_save(t, path) != ACR_OK)
        fail_msg("%s", acr_error(c));
    acr__tokenizer_close(t);
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    assert_non_null(root);
    json_t *list = json_object_get(root, "added_tokens");
    for (int i = 0; added && added[i]; i++)
        json_array_append_new(list, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", 257 + i, "content", added[i],
                                              "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
    if (first) {
        int id = 0;
        for (int i = 0; added[i]; i++)
            id = strcmp(added[i], first) == 0 ? 257 + i : id;
        json_t *template = json_pack(
            "{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}], s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}, {s:{s:s, s:i}}], "
            "s:{s:{s:s, s:[i], s:[s]}}}",
            "type", "TemplateProcessing", "single", "SpecialToken", "id", first, "type_id", 0, "Sequence", "id", "A",
            "type_id", 0, "pair", "SpecialToken", "id", first, "type_id", 0, "Sequence", "id", "A", "type_id", 0,
            "Sequence", "id", "B", "type_id", 1, "special_tokens", first, "id", first, "ids", id, "tokens", first);
        assert_non_null(template);
        json_object_set_new(root, "post_processor", template);
    }
    assert_int_equal(json_dump_file(root, path, 0), 0);
    json_decref(root);
}

static inline acr__tokenizer *tokenizer_of(acr_context *c, const char *path)
{
    acr__tokenizer *t;
    if (acr__tokenizer_open(&t, c, path) != ACR_OK)
        fail_msg("%s", acr_error(c));
    return t;
}

#endif
