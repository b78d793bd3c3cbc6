/* test_tokenizer.c: ids and decoded text against those of Hugging Face's
 * tokenizers: its three splits on texts of many kinds, and other files made from
 * them (added tokens with every flag, other pre-tokenizers, templates). */
#include "tokenizer.h"

static void compare(const char *name, const acr__tokenizer *t, const json_t *one, const char *key, bool special)
{
    const json_t *text = json_object_get(one, "text"), *wanted = json_object_get(one, key);
    acr__ids ids = {0};
    encode(t, json_string_value(text), json_string_length(text), special, &ids);
    bool same = (size_t)ids.count == json_array_size(wanted);
    for (int64_t i = 0; same && i < ids.count; i++)
        same = ids.id[i] == json_integer_value(json_array_get(wanted, (size_t)i));
    if (!same) {
        char *shown = json_dumps(one, 0);
        fprintf(stderr, "%s, %s: %s\nhere:", name, key, shown);
        for (int64_t i = 0; i < ids.count; i++)
            fprintf(stderr, " %d", ids.id[i]);
        free(shown);
        fail_msg("%s", name);
    }
    acr__ids_free(ctx, &ids);
}

static void compare_decoded(const acr__tokenizer *t, const json_t *one)
{
    const json_t *wanted = json_object_get(one, "decoded"), *list = json_object_get(one, "ids");
    acr__ids ids = {0};
    acr__chars chars = {0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        int32_t id = (int32_t)json_integer_value(json_array_get(list, i));
        assert_int_equal(acr__ids_add(ctx, &ids, &id, 1), ACR_OK);
    }
    assert_int_equal(acr__tokenizer_decode(t, &chars, ids.id, ids.count, false), ACR_OK);
    assert_int_equal(chars.count, json_string_length(wanted));
    if (chars.count)
        assert_memory_equal(chars.bytes, json_string_value(wanted), chars.count);
    acr__ids_free(ctx, &ids);
    acr__chars_free(ctx, &chars);
}

static void three_splits(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2", "llama3", "qwen2"};
    for (int k = 0; k < 3; k++) {
        acr__tokenizer *t = golden_tokenizer(names[k]);
        json_t *cases = golden_json(names[k], "cases.json"), *one;
        size_t i;
        assert_true(json_array_size(cases) > 20);
        json_array_foreach (cases, i, one)
        {
            compare(names[k], t, one, "ids", false);
            compare(names[k], t, one, "ids_with_special", true);
            compare_decoded(t, one);
        }
        json_decref(cases);
        acr__tokenizer_close(t);
    }
}

/* A base, changed: keys of the whole file, and ignore_merges of its model. */
static acr__tokenizer *changed(const json_t *variant)
{
    json_t *root = golden_json(json_string_value(json_object_get(variant, "base")), "json"), *value;
    const char *key;
    json_array_extend(json_object_get(root, "added_tokens"), json_object_get(variant, "added"));
    json_object_foreach (json_object_get(variant, "patch"), key, value)
        json_object_set(strcmp(key, "ignore_merges") ? root : json_object_get(root, "model"), key, value);
    acr__tokenizer *t = tokenizer_from(root);
    if (!t)
        fail_msg("%s", acr_error(ctx));
    return t;
}

static void other_files(void **state)
{
    (void)state;
    json_t *variants = golden_json("variants", "cases.json"), *variant, *one;
    size_t k, i;
    assert_true(json_array_size(variants) > 10);
    json_array_foreach (variants, k, variant)
    {
        acr__tokenizer *t = changed(variant);
        const char *name = json_string_value(json_object_get(variant, "name"));
        json_array_foreach (json_object_get(variant, "cases"), i, one)
        {
            compare(name, t, one, "ids", false);
            compare(name, t, one, "ids_with_special", true);
        }
        acr__tokenizer_close(t);
    }
    json_decref(variants);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_splits),
        cmocka_unit_test(other_files),
    };
    return cmocka_run_group_tests(tests, context_open, context_close);
}
