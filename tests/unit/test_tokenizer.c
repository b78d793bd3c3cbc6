/* test_tokenizer.c: a tokenizer's life beside its ids (tests/golden has those):
 * what is refused, by which name; the hash; saving; documents in stretches; and
 * that a failed allocation leaves nothing. */
#include "tokenizer.h"

#include "counting.h"
#include "data/tokenizer_parts.h"
#include "io/file.h"
#include <unistd.h>

/* ---- refusals ---------------------------------------------------------------------------- */

static const char *const byte_level =
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}";

/* The qwen2 file with one value changed; a table. */
static const struct {
    const char *place, *key, *value, *words;
} refused[] = {
    {"", "model", "", "no model"},
    {"", "model", "[]", "model is a list"},
    {"", "added_tokens", "{}", "added_tokens is an object"},
    {"", "pre_tokenizer", "null", "no pre_tokenizer"},
    {"", "truncation", "{\"max_length\": 512}", "truncation is not implemented"},
    {"", "padding", "{\"strategy\": \"BatchLongest\"}", "padding is not implemented"},
    {"", "extra", "1", "extra: unknown"},
    {"", "", "1", "test.json: : unknown"},
    {"", "type", "1", "type: unknown"}, /* a part of no known key's name */
    {"", "normalizer", "{\"type\": \"Lowercase\"}", "'Lowercase' is not implemented"},
    {"", "normalizer", "{\"type\": \"NFC\", \"more\": 1}", "normalizer.more"},
    {"", "normalizer", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}]}",
     "normalizer.normalizers[0]: the type 'NFD'"},
    {"", "normalizer", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", \"normalizers\": []}]}",
     "'Sequence' is not"},
    {"", "normalizer", "{\"type\": \"Sequence\"}", "normalizers is missing"},
    {"", "normalizer", "\"NFC\"", "normalizer is a string"},
    {"", "normalizer", "{\"type\": 7}", "normalizer.type is a number"},
    {"", "pre_tokenizer", "{\"type\": \"Whitespace\"}", "'Whitespace' is not implemented; known: ByteLevel"},
    {"", "pre_tokenizer", "{\"type\": \"Metaspace\", \"replacement\": \"_\"}", "'Metaspace' is not"},
    {"", "pre_tokenizer", "{\"type\": \"Digits\", \"individual_digits\": true}", "no ByteLevel"},
    {"", "pre_tokenizer", "{\"type\": \"Sequence\", \"pretokenizers\": []}", "no ByteLevel"},
    {"", "pre_tokenizer", "{\"type\": \"ByteLevel\", \"use_regex\": 1}", "use_regex is a number, not true or false"},
    {"pre_tokenizer.pretokenizers.0", "behavior", "\"MergedWithNext\"", "'MergedWithNext' is not implemented"},
    {"pre_tokenizer.pretokenizers.0", "behavior", "\"Removed\"", "'Removed' is not implemented"},
    {"pre_tokenizer.pretokenizers.0", "behavior", "null", "behavior is null"},
    {"pre_tokenizer.pretokenizers.0", "pattern", "\"a\"", "pattern is a string, not an object"},
    {"pre_tokenizer.pretokenizers.0", "pattern", "{}", "0 keys"},
    {"pre_tokenizer.pretokenizers.0", "pattern", "{\"Regex\": \"a\", \"String\": \"a\"}", "2 keys"},
    {"pre_tokenizer.pretokenizers.0", "pattern", "{\"Regex\": 1}", "not a string"},
    {"pre_tokenizer.pretokenizers.0", "pattern", "{\"Regex\": \"(a\"}", "no regular expression"},
    {"pre_tokenizer.pretokenizers.0", "pattern", "{\"Regex\": \"\"}", "0 bytes"},
    {"model", "type", "\"WordPiece\"", "'WordPiece' is not implemented; known: BPE"},
    {"model", "type", "\"Unigram\"", "'Unigram' is not"},
    {"model", "dropout", "0.1", "model.dropout is not implemented"},
    {"model", "byte_fallback", "true", "model.byte_fallback is not implemented"},
    {"model", "continuing_subword_prefix", "\"##\"", "continuing_subword_prefix"},
    {"model", "end_of_word_suffix", "\"</w>\"", "end_of_word_suffix"},
    {"model", "ignore_merges", "\"no\"", "ignore_merges is a string"},
    {"model", "new_rule", "true", "model.new_rule: unknown"},
    {"model", "merge", "true", "model.merge: unknown"},
    {"model", "vocab", "[]", "vocab is a list"},
    {"model", "vocab", "", "vocab is missing"},
    {"model", "merges", "", "merges is missing"},
    {"model", "merges", "[\"a\"]", "merges[0] is not two symbols"},
    {"model", "merges", "[\"a b c\"]", "merges[0] is not two symbols"},
    {"model", "merges", "[[\"a\"]]", "merges[0] is neither"},
    {"model", "merges", "[[\"a\", 1]]", "merges[0] is neither"},
    {"model", "merges", "[7]", "merges[0] is neither"},
    {"model", "merges", "[\"a zzz\"]", "'zzz' is not in the vocabulary"},
    {"model", "merges", "[\"Q z\"]", "makes 'Qz', which is not"},
    {"model.vocab", "new", "5", "have the id 5"},
    {"model.vocab", "new", "-1", "the id of 'new' is not a whole number"},
    {"model.vocab", "new", "1.5", "the id of 'new' is not a whole number"},
    {"model.vocab", "new", "\"1500\"", "the id of 'new' is not a whole number"},
    {"model.vocab", "new", "100000", "the id of 'new' is not a whole number in [0, 68"},
    {"model.vocab", "new", "9223372036854775807", "the id of 'new'"},
    {"added_tokens.0", "id", "-1", "added_tokens[0].id is not a whole number"},
    {"added_tokens.0", "id", "", "added_tokens[0].id is not a whole number"},
    {"added_tokens.0", "id", "3", "has the id 3, but 0 in the vocabulary"},
    {"added_tokens.0", "content", "\"\"", "has 0 bytes"},
    {"added_tokens.0", "content", "\"unheard-of\"", "the id 0 of another token"},
    {"added_tokens.0", "content", "null", "content is null"},
    {"added_tokens.0", "special", "0", "special is a number"},
    {"added_tokens.0", "more", "0", "added_tokens[0].more: unknown"},
    {"", "added_tokens", "[7]", "added_tokens[0]"},
    {"", "post_processor", "{\"type\": \"BertProcessing\"}", "'BertProcessing' is not implemented"},
    {"", "post_processor", "{\"type\": \"TemplateProcessing\", \"single\": [], \"pair\": [], \"special_tokens\": {}}",
     "has no text A"},
    {"", "post_processor",
     "{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"B\", \"type_id\": 0}}]}",
     "not the one text A"},
    {"", "post_processor",
     "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\", \"type_id\": 0}}]}",
     "special_tokens.x is missing"},
    {"", "post_processor",
     "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\", \"type_id\": 0}}], "
     "\"special_tokens\": {\"x\": {\"id\": \"x\", \"ids\": [9999], \"tokens\": [\"x\"]}}}",
     "ids[0] is not the id of a token"},
    {"", "post_processor", "{\"type\": \"TemplateProcessing\", \"single\": [7]}", "single[0]"},
    {"", "decoder", "{\"type\": \"WordPiece\"}", "decoder: the type 'WordPiece'"},
};

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        json_t *root = golden_json("qwen2", "json");
        set_json(root, refused[i].place, refused[i].key, refused[i].value);
        if (tokenizer_from(root))
            fail_msg("taken: %s.%s = %s", refused[i].place, refused[i].key, refused[i].value);
        if (!strstr(acr_error(ctx), refused[i].words) || strncmp(acr_error(ctx), "test.json", 9))
            fail_msg("'%s' is not in: %s", refused[i].words, acr_error(ctx));
    }
}

static void refused_text(const char *text, const char *words)
{
    acr__tokenizer *t;
    assert_int_equal(acr__tokenizer_parse(&t, ctx, "test.json", text, strlen(text)), ACR_E_DATA);
    if (!strstr(acr_error(ctx), words))
        fail_msg("'%s' is not in: %s", words, acr_error(ctx));
}

static void not_even_json(void **state)
{
    (void)state;
    char deep[200];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    refused_text("", "not valid JSON");
    refused_text("[]", "no object");
    refused_text("{\"model\": 1, \"model\": 2}", "duplicate");
    refused_text("{\"model\": ", "not valid JSON");
    refused_text("{\"model\": \"\\ud800\"}", "not valid JSON");
    refused_text(deep, "nested deeper");
    refused_text("{\"version\": \"1.0\"}", "no model in it");
    acr__tokenizer *t;
    assert_int_equal(acr__tokenizer_open(&t, ctx, "/nowhere/tokenizer.json"), ACR_E_DATA);
    /* Two places for one id, and one added token twice. */
    json_t *root = golden_json("gpt2", "json");
    json_array_append(json_object_get(root, "added_tokens"), at_place(root, "added_tokens.0"));
    assert_null(tokenizer_from(root));
    assert_non_null(strstr(acr_error(ctx), "twice in added_tokens"));
    root = golden_json("gpt2", "json");
    set_json(root, "", "pre_tokenizer", "{\"type\": \"Sequence\", \"pretokenizers\": []}");
    for (int i = 0; i < 2; i++)
        json_array_append_new(at_place(root, "pre_tokenizer.pretokenizers"), json_loads(byte_level, 0, NULL));
    assert_null(tokenizer_from(root));
    assert_non_null(strstr(acr_error(ctx), "behind ByteLevel"));
}

/* ---- what one asks it -------------------------------------------------------------------------- */

static void questions(void **state)
{
    (void)state;
    json_t *root = golden_json("gpt2", "json");
    json_array_append_new(json_object_get(root, "added_tokens"),
                          json_loads("{\"id\": 1503, \"content\": \"t\\u00e9 x\"}", 0, NULL));
    acr__tokenizer *t = tokenizer_from(root);
    acr__ids ids = {0};
    acr__chars chars = {0};
    size_t n;
    assert_non_null(t);
    assert_int_equal(acr__tokenizer_size(t), 1504);
    assert_int_equal(acr__tokenizer_eos(t), 0);
    assert_int_equal(acr__tokenizer_id(t, "<|endoftext|>"), 0);
    assert_int_equal(acr__tokenizer_id(t, "t\xc3\xa9 x"), 1503);
    assert_int_equal(acr__tokenizer_id(t, "\xc4\xa0the"), 259);
    assert_int_equal(acr__tokenizer_id(t, "no such token"), -1);
    assert_true(acr__tokenizer_special(t, 0));
    assert_false(acr__tokenizer_special(t, 1503));
    assert_false(acr__tokenizer_special(t, 259));
    const char *piece = acr__tokenizer_piece(t, 259, &n);
    assert_true(n == 4 && memcmp(piece, " the", 4) == 0);
    piece = acr__tokenizer_piece(t, 1503, &n); /* as it is written, not by the rule of symbols */
    assert_true(n == 5 && memcmp(piece, "t\xc3\xa9 x", 5) == 0);
    assert_null(acr__tokenizer_piece(t, 1501, &n));
    assert_null(acr__tokenizer_piece(t, 1504, &n));
    assert_null(acr__tokenizer_piece(t, -1, &n));
    encode(t, "a t\xc3\xa9 x<|endoftext|>\0b", 22, false, &ids);
    assert_int_equal(acr__tokenizer_decode(t, &chars, ids.id, ids.count, false), ACR_OK);
    assert_int_equal(chars.count, 22);
    assert_memory_equal(chars.bytes, "a t\xc3\xa9 x<|endoftext|>\0b", 22);
    chars.count = 0;
    assert_int_equal(acr__tokenizer_decode(t, &chars, ids.id, ids.count, true), ACR_OK);
    assert_int_equal(chars.count, 9);
    assert_int_equal(acr__tokenizer_decode(t, &chars, (int32_t[]){5, 1502}, 2, true), ACR_E_ARGUMENT);
    assert_non_null(strstr(acr_error(ctx), "1502"));
    int64_t before = ids.count;
    assert_int_equal(acr__tokenizer_encode(t, &ids, "good \xff bad", 10, true), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "byte 5, 0xff"));
    assert_int_equal(ids.count, before);
    acr__ids_free(ctx, &ids);
    acr__chars_free(ctx, &chars);
    acr__tokenizer_close(t);
}

/* A token that no merge makes. */
static void whole_words(void **state)
{
    (void)state;
    for (int ignore = 0; ignore < 2; ignore++) {
        json_t *root = golden_json("gpt2", "json");
        set_json(root, "model.vocab", "\xc4\xa0xyz", "1500");
        set_json(root, "model", "ignore_merges", ignore ? "true" : "false");
        acr__tokenizer *t = tokenizer_from(root);
        acr__ids ids = {0};
        assert_non_null(t);
        encode(t, "a xyz", 5, false, &ids);
        assert_int_equal(ids.count == 2 && ids.id[1] == 1500, ignore);
        acr__ids_free(ctx, &ids);
        acr__tokenizer_close(t);
    }
}

static void byte_without_token(void **state)
{
    (void)state;
    json_t *root = golden_json("gpt2", "json");
    set_json(root, "model.vocab", "\xc4\x81", ""); /* of the byte 1 */
    set_json(root, "", "added_tokens", "[]");
    acr__tokenizer *t = tokenizer_from(root);
    acr__ids ids = {0};
    assert_non_null(t);
    assert_int_equal(acr__tokenizer_eos(t), -1);
    encode(t, "good", 4, true, &ids);
    int64_t before = ids.count;
    assert_int_equal(acr__tokenizer_encode(t, &ids, "good \1ebra", 10, false), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "0x01"));
    assert_int_equal(ids.count, before);
    acr__ids_free(ctx, &ids);
    acr__tokenizer_close(t);
}

/* ---- hash and file --------------------------------------------------------------------------------- */

static void same_hash(json_t *root, const acr__tokenizer *other, bool same)
{
    acr__tokenizer *t = tokenizer_from(root);
    assert_non_null(t);
    assert_int_equal(strcmp(acr__tokenizer_hash(t), acr__tokenizer_hash(other)) == 0, same);
    acr__tokenizer_close(t);
}

static void hashes(void **state)
{
    (void)state;
    acr__tokenizer *t = golden_tokenizer("qwen2");
    json_t *root = golden_json("qwen2", "json"), *pair;
    json_t *merges = json_array();
    size_t i;
    json_array_foreach(at_place(root, "model.merges"), i, pair)
    {
        char both[256];
        snprintf(both, sizeof both, "%s %s", json_string_value(json_array_get(pair, 0)),
                 json_string_value(json_array_get(pair, 1)));
        json_array_append_new(merges, json_string(both));
    }
    json_object_set_new(json_object_get(root, "model"), "merges", merges);
    same_hash(root, t, true);
    static const struct {
        const char *place, *key, *value;
    } change[] = {{"", "normalizer", "null"},
                  {"model", "ignore_merges", "true"},
                  {"model.vocab", "new", "1500"},
                  {"added_tokens.0", "special", "false"},
                  {"pre_tokenizer.pretokenizers.0.pattern", "Regex", "\"a\""}};
    for (size_t k = 0; k < sizeof change / sizeof *change; k++) {
        root = golden_json("qwen2", "json");
        set_json(root, change[k].place, change[k].key, change[k].value);
        same_hash(root, t, false);
    }
    root = golden_json("qwen2", "json");
    json_array_remove(at_place(root, "model.merges"), 1200);
    same_hash(root, t, false);
    acr__tokenizer_close(t);
}

static const char *scratch_file(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/accrue-tokenizer-%ld.json", (long)getpid());
    return path;
}

static void saved(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2", "llama3", "qwen2"};
    for (int k = 0; k < 4; k++) {
        acr__tokenizer *t, *again;
        if (k < 3) {
            t = golden_tokenizer(names[k]);
        } else { /* a merge of symbols with spaces, which only lists can write */
            json_t *root = golden_json("gpt2", "json");
            set_json(root, "model.vocab", "x y", "1500");
            set_json(root, "model.vocab", "x ya", "1501");
            json_array_append_new(at_place(root, "model.merges"), json_pack("[s,s]", "x y", "a"));
            t = tokenizer_from(root);
            assert_non_null(t);
        }
        assert_int_equal(acr__tokenizer_save(t, scratch_file()), ACR_OK);
        if (acr__tokenizer_open(&again, ctx, scratch_file()) != ACR_OK)
            fail_msg("%s", acr_error(ctx));
        assert_string_equal(acr__tokenizer_hash(t), acr__tokenizer_hash(again));
        acr__tokenizer_close(again);
        assert_int_equal(acr__tokenizer_save(t, "/nowhere/t.json"), ACR_E_IO);
        for (int64_t n = 1;; n++) {
            acr__file_fault(n, ACR_FAULT_FAIL);
            acr_status status = acr__tokenizer_save(t, scratch_file());
            bool fired = acr__file_fault_fired();
            acr__file_fault(0, ACR_FAULT_FAIL);
            if (!fired)
                break;
            assert_int_equal(status, ACR_E_IO);
            assert_non_null(strstr(acr_error(ctx), "/tmp")); /* the file, or at the end its folder */
        }
        acr__tokenizer_close(t);
    }
    unlink(scratch_file());
}

/* ---- stretches -------------------------------------------------------------------------------------- */

static uint32_t noise_state;

static uint32_t noise(void)
{
    noise_state = noise_state * 1664525u + 1013904223u;
    return noise_state >> 8;
}

/* Words, white space of all kinds, marks, tokens: what might be cut wrongly. */
static size_t put_text(char *out, size_t room)
{
    static const char *const bits[] = {"a",
                                       "word",
                                       "it's",
                                       "12",
                                       "1234",
                                       " ",
                                       " ",
                                       " ",
                                       "\n",
                                       "\n",
                                       "\n\n",
                                       "  ",
                                       "\t",
                                       "!",
                                       "...\n",
                                       "/",
                                       "\xc3\xa9",
                                       "e\xcc\x81",
                                       "\xcc\x81",
                                       "\xe3\x80\x80",
                                       "\xc2\xa0",
                                       "\xe4\xb8\xad",
                                       "'",
                                       "'s",
                                       "<|endoftext|>",
                                       "<l>",
                                       "<r>",
                                       "<w>",
                                       "x y",
                                       "n\nn",
                                       "\r\n",
                                       "\xe1\x84\x92\xe1\x85\xa1",
                                       "<",
                                       "|>"};
    size_t n = 0;
    for (;;) {
        const char *bit = bits[noise() % (sizeof bits / sizeof *bits)];
        if (n + strlen(bit) > room)
            return n;
        memcpy(out + n, bit, strlen(bit));
        n += strlen(bit);
    }
}

#define ADDED(content, id, more) "{\"id\": " #id ", \"content\": \"" content "\", \"normalized\": true" more "}"
static const char *const tokens_beside[] = {
    "[]",
    "[" ADDED("<l>", 1500, ", \"lstrip\": true") "]",
    "[" ADDED("<r>", 1500, ", \"rstrip\": true") "]",
    "[" ADDED("<w>", 1500, ", \"single_word\": true") "," ADDED("word", 1501, ", \"single_word\": true") "]",
    "[" ADDED("x y", 1500, "") "," ADDED("a", 65, "") "]",
    "[" ADDED("n\\nn", 1500, "") "," ADDED("!", 1, ", \"rstrip\": true") "]",
    "[" ADDED("\\n\\n", 1500, "") "," ADDED("a\\n", 1501, "") "]",
    "[" ADDED("\\u00e9", 166, "") "]", /* also the symbol of the byte 0xe9 */
};

/* At every place where it may be cut, the two sides give the ids of the whole. */
static int64_t check_cuts(const acr__tokenizer *t)
{
    char text[400];
    acr__ids whole = {0}, parts = {0}, part = {0};
    int64_t cuts = 0;
    for (int i = 0; i < 60; i++) {
        size_t n = put_text(text, sizeof text), last = 0;
        encode(t, text, n, false, &whole);
        for (size_t m = 3; m <= n; m++) {
            size_t cut = acr__utf8_bad(text, m) == m ? acr__tokenizer_cut(t, text, m, 1) : 0;
            if (cut == last || cut == 0)
                continue;
            last = cut;
            cuts++;
            encode(t, text, cut, false, &parts);
            encode(t, text + cut, n - cut, false, &part);
            assert_int_equal(acr__ids_add(ctx, &parts, part.id, part.count), ACR_OK);
            if (parts.count != whole.count || memcmp(parts.id, whole.id, (size_t)whole.count * 4) != 0)
                fail_msg("cut at %zu of %zu: '%.*s' | '%.*s'", cut, n, (int)cut, text, (int)(n - cut), text + cut);
        }
    }
    acr__ids_free(ctx, &whole);
    acr__ids_free(ctx, &parts);
    acr__ids_free(ctx, &part);
    return cuts;
}

static void cuts(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2", "llama3", "qwen2"};
    noise_state = 1;
    for (int k = 0; k < 3; k++) {
        for (size_t b = 0; b < sizeof tokens_beside / sizeof *tokens_beside; b++) {
            for (int digits = 0; digits < 2; digits++) {
                json_t *root = golden_json(names[k], "json");
                json_t *more = json_loads(tokens_beside[b], 0, NULL);
                assert_non_null(more);
                json_array_extend(json_object_get(root, "added_tokens"), more);
                json_decref(more);
                if (digits) {
                    json_t *pre = json_deep_copy(json_object_get(root, "pre_tokenizer"));
                    json_t *list = json_pack("[{s:s, s:b}]", "type", "Digits", "individual_digits", 1);
                    if (k == 0)
                        json_array_append(list, pre);
                    else
                        json_array_extend(list, json_object_get(pre, "pretokenizers"));
                    json_decref(pre);
                    json_object_set_new(root, "pre_tokenizer",
                                        json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list));
                }
                acr__tokenizer *t = tokenizer_from(root);
                if (!t)
                    fail_msg("%s", acr_error(ctx));
                int64_t cut = check_cuts(t);
                assert_true(b == 5 ? cut == 0 : cut > 50); /* there both kinds of cut are ruled out */
                acr__tokenizer_close(t);
            }
        }
    }
}

/* Fed in parts of any size, a long document gives what encode gives. */
static void documents(void **state)
{
    (void)state;
    enum { N = 3500000 };
    char *text = malloc(N);
    acr__tokenizer *t = golden_tokenizer("llama3");
    acr__ids whole = {0}, parts = {0};
    noise_state = 5;
    size_t n = put_text(text, N);
    encode(t, text, n, true, &whole);
    for (size_t most = 1000; most < 4 * N; most *= 50) {
        acr__document d = {0};
        parts.count = 0;
        assert_int_equal(acr__document_begin(&d, t, "file", true, &parts), ACR_OK);
        for (size_t at = 0, part; at < n; at += part) {
            part = 1 + noise() % most;
            part = part < n - at ? part : n - at;
            assert_int_equal(acr__document_add(&d, text + at, part, &parts), ACR_OK);
            assert_true(d.held.count < 1 << 20);
        }
        assert_true(n < 2 << 20 || parts.count > 1000);
        assert_int_equal(acr__document_end(&d, &parts), ACR_OK);
        acr__document_free(&d);
        assert_int_equal(parts.count, whole.count);
        assert_memory_equal(parts.id, whole.id, (size_t)whole.count * 4);
    }
    acr__ids_free(ctx, &whole);
    acr__ids_free(ctx, &parts);
    acr__tokenizer_close(t);
    free(text);
}

static acr_status feed(const acr__tokenizer *t, const char *text, size_t n, int64_t times)
{
    acr__document d = {0};
    acr__ids ids = {0};
    acr_status status = acr__document_begin(&d, t, "file", false, &ids);
    for (int64_t i = 0; i < times && status == ACR_OK; i++)
        status = acr__document_add(&d, text, n, &ids);
    if (status == ACR_OK)
        status = acr__document_end(&d, &ids);
    acr__document_free(&d);
    acr__ids_free(ctx, &ids);
    return status;
}

static void documents_refused(void **state)
{
    (void)state;
    acr__tokenizer *t = golden_tokenizer("gpt2");
    static char block[1 << 16];
    memset(block, 'a', sizeof block);
    assert_int_equal(feed(t, block, sizeof block, 300), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "file:1:1: from here on there is no place to cut"));
    assert_int_equal(feed(t, "ab\ncd\xff", 6, 1), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "file:2:3: the byte 0xff"));
    assert_int_equal(feed(t, "ab\n\xe4\xb8", 5, 1), ACR_E_DATA); /* the text ends within a character */
    assert_non_null(strstr(acr_error(ctx), "file:2:1: the byte 0xe4"));
    for (size_t i = 99; i < sizeof block; i += 100)
        block[i] = '\n';
    block[sizeof block - 1] = '\xff';
    assert_int_equal(feed(t, block, sizeof block, 40), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "file:656:36: the byte 0xff"));
    acr__tokenizer_close(t);
}

/* ---- memory --------------------------------------------------------------------------------------------- */

/* The n-th request fails, for every n: said, and everything given back. */
static void allocations(void **state)
{
    (void)state;
    json_t *root = golden_json("qwen2", "json");
    json_array_append_new(json_object_get(root, "added_tokens"),
                          json_loads("{\"id\": 1500, \"content\": \"e\\u0301\", \"normalized\": true}", 0, NULL));
    char *json = json_dumps(root, 0);
    json_decref(root);
    bool done = false;
    int without_code = 0;
    for (int64_t refuse = 1; !done; refuse++) {
        counting c = {0};
        acr_context_opts opts = counting_context(&c, 1);
        acr_context *own;
        assert_int_equal(acr__context_new(&own, &opts), ACR_OK);
        int64_t base = c.live;
        c.refuse = c.calls + refuse;
        acr__tokenizer *t = NULL;
        acr__ids ids = {0};
        acr__chars chars = {0};
        acr_status status = acr__tokenizer_parse(&t, own, "test.json", json, strlen(json));
        if (status == ACR_OK)
            status =
                acr__tokenizer_encode(t, &ids, "Hello e\xcc\x81 world <|endoftext|> supercalifragilistic", 50, true);
        if (status == ACR_OK)
            status = acr__tokenizer_decode(t, &chars, ids.id, ids.count, false);
        if (status == ACR_OK)
            status = acr__tokenizer_save(t, scratch_file());
        done = c.calls < c.refuse;
        /* Without room for compiled code a pattern is matched without. */
        without_code += status == ACR_OK && !done;
        assert_true(status == ACR_OK || (status == ACR_E_NO_MEMORY && !done));
        acr__ids_free(own, &ids);
        acr__chars_free(own, &chars);
        acr__tokenizer_close(t);
        assert_int_equal(c.live, base);
        acr_context_destroy(own);
        refuse += refuse > 200 ? 97 : 0; /* a tenth of the thousands that are alike */
    }
    assert_true(without_code < 20);
    free(json);
    unlink(scratch_file());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(not_even_json),
        cmocka_unit_test(questions),
        cmocka_unit_test(whole_words),
        cmocka_unit_test(byte_without_token),
        cmocka_unit_test(hashes),
        cmocka_unit_test(saved),
        cmocka_unit_test(cuts),
        cmocka_unit_test(documents),
        cmocka_unit_test(documents_refused),
        cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests(tests, context_open, context_close);
}
