/* tokenizer_json.c: reading and writing tokenizer.json.
 *
 * Invariant: every key of every object is known. One that is not, or whose value
 * asks for what is not implemented, is refused by its name, because it might
 * change an id. What only tells how text is put together again, or where in the
 * text a token was (decoder, trim_offsets), is checked and has no effect.
 *
 * Memory is bounded before jansson sees the text (io/json.h). */
#include "data/tokenizer_parts.h"
#include "data/token_file.h"
#include "io/file.h"
#include "io/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDED = 1 << 20, ADDED_BYTES = 4096, TEMPLATE = 64 };

#define REFUSE_IF(condition, t, ...) FAIL_IF(condition, (t)->ctx, ACR_E_DATA, __VA_ARGS__)

/* ---- JSON ------------------------------------------------------------------------------ */

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    default:
        return json_is_true(v) ? "true" : "false";
    }
}

/* A part of the file, and its place there for sentences: "pre_tokenizer[1].pattern". */
typedef struct part {
    json_t *v;
    char place[96];
} part;

static part part_of(const part *whole, const char *key)
{
    part p = {json_object_get(whole->v, key), ""};
    snprintf(p.place, sizeof p.place, "%.60s%s%.30s", whole->place, *whole->place ? "." : "", key);
    return p;
}

static part part_at(const part *list, size_t i)
{
    part p = {json_array_get(list->v, i), ""};
    snprintf(p.place, sizeof p.place, "%.70s[%zu]", list->place, i);
    return p;
}

static bool absent(const part *p) { return !p->v || json_is_null(p->v); }

static bool is_among(const char *key, const char *keys)
{
    size_t n = strlen(key);
    if (n == 0 || strchr(key, ' '))
        return false;
    for (const char *at = strstr(keys, key); at; at = strstr(at + 1, key))
        if ((at == keys || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' '))
            return true;
    return false;
}

/* The value is an object and has no keys but these, which are separated by spaces. */
static acr_status only_keys(acr__tokenizer *t, const part *p, const char *keys)
{
    const char *key;
    json_t *value;
    char text[ACR__JSON_SHOWN];
    REFUSE_IF(!p->v || !json_is_object(p->v), t, "%s: %s is %s, not an object", t->name,
              *p->place ? p->place : "the whole", p->v ? type_name(p->v) : "missing");
    json_object_foreach (p->v, key, value)
        REFUSE_IF(!is_among(key, keys), t, "%s: %s%s%s: unknown; it may change what the ids are", t->name, p->place,
                  *p->place ? "." : "", acr__text_shown(key, text));
    return ACR_OK;
}

static acr_status take_bool(acr__tokenizer *t, const part *p, const char *key, bool otherwise, bool *out)
{
    part v = part_of(p, key);
    REFUSE_IF(v.v && !json_is_boolean(v.v), t, "%s: %s is %s, not true or false", t->name, v.place, type_name(v.v));
    *out = v.v ? json_is_true(v.v) : otherwise;
    return ACR_OK;
}

static acr_status take_text(acr__tokenizer *t, const part *p, const char *key, part *out)
{
    *out = part_of(p, key);
    REFUSE_IF(!out->v || !json_is_string(out->v), t, "%s: %s is %s, not a string", t->name, out->place,
              out->v ? type_name(out->v) : "missing");
    return ACR_OK;
}

/* An option that must be off: null, false, 0 or "". */
static acr_status need_off(acr__tokenizer *t, const part *p, const char *key)
{
    part v = part_of(p, key);
    bool off = absent(&v) || json_is_false(v.v) || (json_is_string(v.v) && json_string_length(v.v) == 0) ||
               (json_is_number(v.v) && !(json_number_value(v.v) > 0) && !(json_number_value(v.v) < 0));
    REFUSE_IF(!off, t, "%s: %s is not implemented: it must be null, false or empty", t->name, v.place);
    return ACR_OK;
}

/* What "type" says. */
static acr_status take_type(acr__tokenizer *t, const part *p, const char **out)
{
    part type;
    REFUSE_IF(!p->v || !json_is_object(p->v), t, "%s: %s is %s, not an object", t->name, p->place,
              p->v ? type_name(p->v) : "missing");
    TRY(take_text(t, p, "type", &type));
    *out = json_string_value(type.v);
    return ACR_OK;
}

static acr_status refuse_type(acr__tokenizer *t, const part *p, const char *type, const char *known)
{
    char text[ACR__JSON_SHOWN];
    return acr__fail(t->ctx, ACR_E_DATA, "%s: %s: the type '%s' is not implemented; known: %s", t->name, p->place,
                     acr__text_shown(type, text), known);
}

/* ---- normalizer ----------------------------------------------------------------------------- */

static acr_status take_list(acr__tokenizer *t, const part *p, const char *key, part *out)
{
    *out = part_of(p, key);
    REFUSE_IF(!out->v || !json_is_array(out->v), t, "%s: %s is %s, not a list", t->name, out->place,
              out->v ? type_name(out->v) : "missing");
    return ACR_OK;
}

static acr_status read_normalizer(acr__tokenizer *t, const part *p, int depth)
{
    const char *type;
    if (absent(p))
        return ACR_OK;
    TRY(take_type(t, p, &type));
    if (strcmp(type, "NFC") == 0) {
        t->nfc = true;
        return only_keys(t, p, "type");
    }
    if (strcmp(type, "Sequence") != 0 || depth)
        return refuse_type(t, p, type, "NFC, Sequence");
    part list;
    TRY(only_keys(t, p, "type normalizers"));
    TRY(take_list(t, p, "normalizers", &list));
    for (size_t i = 0; i < json_array_size(list.v); i++) {
        part one = part_at(&list, i);
        TRY(read_normalizer(t, &one, depth + 1));
    }
    return ACR_OK;
}

/* ---- pre-tokenizer ---------------------------------------------------------------------------- */

static acr_status add_split(acr__tokenizer *t, const part *p, const char *pattern, size_t n, bool literal, bool drop)
{
    char where[512];
    REFUSE_IF(t->step_count == ACR_STEPS, t, "%s: %s: more than %d steps", t->name, p->place, ACR_STEPS);
    acr__step *s = &t->step[t->step_count];
    snprintf(where, sizeof where, "%.400s: %s", t->name, p->place);
    TRY(acr__split_create(&s->split, t->ctx, where, pattern, n, literal));
    s->drop = drop;
    t->step_count++;
    return ACR_OK;
}

static acr_status read_byte_level(acr__tokenizer *t, const part *p)
{
    bool prefix, regex, trim;
    TRY(only_keys(t, p, "type add_prefix_space trim_offsets use_regex"));
    TRY(take_bool(t, p, "add_prefix_space", true, &prefix));
    TRY(take_bool(t, p, "trim_offsets", true, &trim));
    TRY(take_bool(t, p, "use_regex", true, &regex));
    if (prefix) {
        REFUSE_IF(t->step_count == ACR_STEPS, t, "%s: %s: more than %d steps", t->name, p->place, ACR_STEPS);
        t->step[t->step_count++] = (acr__step){NULL, false};
    }
    const char *pattern = acr__split_patterns[ACR_SPLIT_GPT2];
    return regex ? add_split(t, p, pattern, strlen(pattern), false, false) : ACR_OK;
}

static acr_status read_split(acr__tokenizer *t, const part *p)
{
    bool invert;
    char text[ACR__JSON_SHOWN];
    part behavior;
    TRY(only_keys(t, p, "type pattern behavior invert"));
    TRY(take_bool(t, p, "invert", false, &invert));
    TRY(take_text(t, p, "behavior", &behavior));
    const char *how = json_string_value(behavior.v);
    bool isolated = strcmp(how, "Isolated") == 0, drop = strcmp(how, "Removed") == 0 && invert;
    REFUSE_IF(!isolated && !drop, t, "%s: %s: '%s'%s is not implemented; Isolated is, and Removed with invert", t->name,
              behavior.place, acr__text_shown(how, text), invert ? " with invert" : "");
    part pattern = part_of(p, "pattern"), is;
    TRY(only_keys(t, &pattern, "Regex String"));
    REFUSE_IF(json_object_size(pattern.v) != 1, t, "%s: %s has %zu keys, Regex or String is needed", t->name,
              pattern.place, json_object_size(pattern.v));
    bool literal = json_object_get(pattern.v, "String") != NULL;
    TRY(take_text(t, &pattern, literal ? "String" : "Regex", &is));
    return add_split(t, p, json_string_value(is.v), json_string_length(is.v), literal, drop);
}

static acr_status read_digits(acr__tokenizer *t, const part *p)
{
    bool individual;
    TRY(only_keys(t, p, "type individual_digits"));
    TRY(take_bool(t, p, "individual_digits", false, &individual));
    const char *pattern = individual ? "\\p{N}" : "\\p{N}+";
    return add_split(t, p, pattern, strlen(pattern), false, false);
}

static acr_status read_pre_tokenizer(acr__tokenizer *t, const part *p, int depth, bool *bytes)
{
    const char *type;
    TRY(take_type(t, p, &type));
    /* What comes behind ByteLevel would see its symbols, not text. */
    REFUSE_IF(*bytes, t, "%s: %s: something behind ByteLevel is not implemented", t->name, p->place);
    if (strcmp(type, "ByteLevel") == 0) {
        *bytes = true;
        return read_byte_level(t, p);
    }
    if (strcmp(type, "Split") == 0)
        return read_split(t, p);
    if (strcmp(type, "Digits") == 0)
        return read_digits(t, p);
    if (strcmp(type, "Sequence") != 0 || depth)
        return refuse_type(t, p, type, "ByteLevel, Split, Digits, Sequence");
    part list;
    TRY(only_keys(t, p, "type pretokenizers"));
    TRY(take_list(t, p, "pretokenizers", &list));
    for (size_t i = 0; i < json_array_size(list.v); i++) {
        part one = part_at(&list, i);
        TRY(read_pre_tokenizer(t, &one, depth + 1, bytes));
    }
    return ACR_OK;
}

/* ---- vocabulary and merges ---------------------------------------------------------------------- */

/* The size of the id space, from the ids that the file uses. Ids far beyond the
 * number of tokens would cost memory for nothing. */
static acr_status take_size(acr__tokenizer *t, const part *vocab, const part *added)
{
    const char *key;
    char text[ACR__JSON_SHOWN];
    json_t *value;
    json_int_t most = -1,
               room = 2 * ((json_int_t)json_object_size(vocab->v) + (json_int_t)json_array_size(added->v)) + 65536;
    if (room > ACR_TOKEN_VOCABULARY)
        room = ACR_TOKEN_VOCABULARY;
    json_object_foreach (vocab->v, key, value) {
        REFUSE_IF(!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) >= room, t,
                  "%s: %s: the id of '%s' is not a whole number in [0, %lld)", t->name, vocab->place,
                  acr__text_shown(key, text), (long long)room);
        if (json_integer_value(value) > most)
            most = json_integer_value(value);
    }
    for (size_t i = 0; i < json_array_size(added->v); i++) {
        part one = part_at(added, i), id = part_of(&one, "id");
        REFUSE_IF(!json_is_integer(id.v) || json_integer_value(id.v) < 0 || json_integer_value(id.v) >= room, t,
                  "%s: %s is not a whole number in [0, %lld)", t->name, id.place, (long long)room);
        if (json_integer_value(id.v) > most)
            most = json_integer_value(id.v);
    }
    REFUSE_IF(most < 0, t, "%s: %s is empty", t->name, vocab->place);
    t->size = most + 1;
    return ACR_OK;
}

/* "a b" or ["a", "b"]. */
static acr_status read_merge(acr__tokenizer *t, const part *merges, size_t rank)
{
    json_t *v = json_array_get(merges->v, rank);
    if (json_is_string(v)) {
        const char *text = json_string_value(v);
        size_t n = json_string_length(v);
        const char *space = memchr(text, ' ', n);
        size_t left = space ? (size_t)(space - text) : 0;
        REFUSE_IF(!space || memchr(space + 1, ' ', n - left - 1), t,
                  "%s: %s[%zu] is not two symbols with a space between them", t->name, merges->place, rank);
        return acr__bpe_merge(t->bpe, (int64_t)rank, text, left, space + 1, n - left - 1);
    }
    json_t *left = json_array_get(v, 0), *right = json_array_get(v, 1);
    REFUSE_IF(json_array_size(v) != 2 || !json_is_string(left) || !json_is_string(right), t,
              "%s: %s[%zu] is neither \"a b\" nor [\"a\", \"b\"]", t->name, merges->place, rank);
    return acr__bpe_merge(t->bpe, (int64_t)rank, json_string_value(left), json_string_length(left),
                          json_string_value(right), json_string_length(right));
}

static acr_status read_model(acr__tokenizer *t, const part *p, const part *added)
{
    const char *type, *key;
    json_t *value;
    bool ignore_merges, fuse, fallback;
    part vocab = part_of(p, "vocab"), merges;
    REFUSE_IF(!p->v, t, "%s: there is no model; is it a tokenizer.json?", t->name);
    TRY(take_type(t, p, &type));
    if (strcmp(type, "BPE") != 0)
        return refuse_type(t, p, type, "BPE");
    TRY(only_keys(t, p,
                  "type dropout unk_token continuing_subword_prefix end_of_word_suffix fuse_unk byte_fallback "
                  "ignore_merges vocab merges"));
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        TRY(need_off(t, p, off[i]));
    TRY(take_bool(t, p, "byte_fallback", false, &fallback));
    TRY(take_bool(t, p, "fuse_unk", false, &fuse)); /* with a token for every byte nothing is unknown */
    TRY(take_bool(t, p, "ignore_merges", false, &ignore_merges));
    REFUSE_IF(!json_is_object(vocab.v), t, "%s: %s is %s, not an object", t->name, vocab.place,
              vocab.v ? type_name(vocab.v) : "missing");
    TRY(take_list(t, p, "merges", &merges));
    TRY(take_size(t, &vocab, added));
    size_t count = json_array_size(merges.v);
    TRY(acr__bpe_create(&t->bpe, t->ctx, t->name, t->size, (int64_t)count));
    json_object_foreach (vocab.v, key, value)
        TRY(acr__bpe_symbol(t->bpe, (int32_t)json_integer_value(value), key, strlen(key)));
    for (size_t rank = 0; rank < count; rank++)
        TRY(read_merge(t, &merges, rank));
    return acr__bpe_finish(t->bpe, ignore_merges);
}

/* ---- added tokens -------------------------------------------------------------------------------- */

static acr_status read_added(acr__tokenizer *t, const part *p, acr__added *a)
{
    part content, id = part_of(p, "id");
    char text[ACR__JSON_SHOWN];
    TRY(only_keys(t, p, "id content single_word lstrip rstrip normalized special"));
    TRY(take_text(t, p, "content", &content));
    TRY(take_bool(t, p, "special", false, &a->special));
    TRY(take_bool(t, p, "single_word", false, &a->single_word));
    TRY(take_bool(t, p, "lstrip", false, &a->lstrip));
    TRY(take_bool(t, p, "rstrip", false, &a->rstrip));
    TRY(take_bool(t, p, "normalized", !a->special, &a->normalized));
    const char *c = json_string_value(content.v);
    a->bytes = json_string_length(content.v);
    a->id = (int32_t)json_integer_value(id.v);
    REFUSE_IF(a->bytes == 0 || a->bytes > ADDED_BYTES, t, "%s: %s has %zu bytes; 1 to %d are possible", t->name,
              content.place, a->bytes, ADDED_BYTES);
    int32_t in_vocabulary = acr__bpe_find(t->bpe, c, a->bytes);
    size_t n;
    REFUSE_IF(in_vocabulary >= 0 && in_vocabulary != a->id, t, "%s: %s '%s' has the id %d, but %d in the vocabulary",
              t->name, content.place, acr__text_shown(c, text), a->id, in_vocabulary);
    REFUSE_IF(in_vocabulary < 0 && acr__bpe_piece(t->bpe, a->id, &n), t, "%s: %s '%s' has the id %d of another token",
              t->name, content.place, acr__text_shown(c, text), a->id);
    TRY(acr__bpe_content(t->bpe, a->id, c, a->bytes));
    if (a->normalized && t->nfc) {
        TRY(acr__nfc(t->ctx, c, a->bytes, &t->nfc_room));
        c = t->nfc_room.text.bytes;
        a->bytes = t->nfc_room.text.count;
    }
    a->text = acr__alloc(t->ctx, a->bytes);
    if (!a->text)
        return ACR_E_NO_MEMORY;
    memcpy(a->text, c, a->bytes);
    return ACR_OK;
}

static int by_id(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* Two added tokens of one content would have one id. */
static acr_status check_twice(acr__tokenizer *t)
{
    int32_t *ids = acr__alloc(t->ctx, ((size_t)t->added_count + 1) * sizeof *ids), twice = -1;
    if (!ids)
        return ACR_E_NO_MEMORY;
    for (int64_t i = 0; i < t->added_count; i++)
        ids[i] = t->added[i].id;
    qsort(ids, (size_t)t->added_count, sizeof *ids, by_id);
    for (int64_t i = 1; i < t->added_count && twice < 0; i++)
        if (ids[i] == ids[i - 1])
            twice = ids[i];
    acr__free(t->ctx, ids);
    REFUSE_IF(twice >= 0, t, "%s: the id %d is twice in added_tokens", t->name, twice);
    return ACR_OK;
}

static acr_status read_all_added(acr__tokenizer *t, const part *list)
{
    size_t count = json_array_size(list->v);
    t->added = acr__alloc(t->ctx, (count + 1) * sizeof *t->added);
    if (!t->added)
        return ACR_E_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        part one = part_at(list, i);
        t->added_count++; /* first, so that what a failure leaves is released */
        TRY(read_added(t, &one, &t->added[i]));
    }
    TRY(check_twice(t));
    TRY(acr__finder_create(&t->written, t->ctx, t->added, t->added_count, false));
    return acr__finder_create(&t->normalized, t->ctx, t->added, t->added_count, true);
}

/* ---- post-processor --------------------------------------------------------------------------------- */

/* {"SpecialToken": {"id": "<s>", "type_id": 0}}: its ids are in special_tokens. */
static acr_status read_template_token(acr__tokenizer *t, const part *tokens, const part *item, acr__ids *to)
{
    part name, list;
    TRY(only_keys(t, item, "id type_id"));
    TRY(take_text(t, item, "id", &name));
    part token = part_of(tokens, json_string_value(name.v));
    TRY(only_keys(t, &token, "id ids tokens"));
    TRY(take_list(t, &token, "ids", &list));
    for (size_t i = 0; i < json_array_size(list.v); i++) {
        json_t *v = json_array_get(list.v, i);
        size_t n;
        REFUSE_IF(!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= t->size ||
                      !acr__bpe_piece(t->bpe, (int32_t)json_integer_value(v), &n),
                  t, "%s: %s[%zu] is not the id of a token", t->name, list.place, i);
        REFUSE_IF(to->count >= TEMPLATE, t, "%s: %s: more than %d tokens around a text", t->name, item->place,
                  TEMPLATE);
        int32_t id = (int32_t)json_integer_value(v);
        TRY(acr__ids_add(t->ctx, to, &id, 1));
    }
    return ACR_OK;
}

static acr_status read_template(acr__tokenizer *t, const part *p)
{
    part single, tokens = part_of(p, "special_tokens");
    bool text_seen = false;
    TRY(only_keys(t, p, "type single pair special_tokens"));
    TRY(take_list(t, p, "single", &single));
    REFUSE_IF(t->before.count || t->after.count, t, "%s: %s: a second template", t->name, p->place);
    for (size_t i = 0; i < json_array_size(single.v); i++) {
        part item = part_at(&single, i);
        TRY(only_keys(t, &item, "SpecialToken Sequence"));
        part token = part_of(&item, "SpecialToken"), text = part_of(&item, "Sequence"), which;
        if (token.v) {
            TRY(read_template_token(t, &tokens, &token, text_seen ? &t->after : &t->before));
            continue;
        }
        TRY(only_keys(t, &text, "id type_id"));
        TRY(take_text(t, &text, "id", &which));
        REFUSE_IF(text_seen || strcmp(json_string_value(which.v), "A") != 0, t, "%s: %s is not the one text A", t->name,
                  text.place);
        text_seen = true;
    }
    REFUSE_IF(!text_seen, t, "%s: %s has no text A", t->name, single.place);
    return ACR_OK;
}

static acr_status read_post_processor(acr__tokenizer *t, const part *p, int depth)
{
    const char *type;
    if (absent(p))
        return ACR_OK;
    TRY(take_type(t, p, &type));
    if (strcmp(type, "ByteLevel") == 0) /* moves offsets, which are not given here */
        return only_keys(t, p, "type add_prefix_space trim_offsets use_regex");
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(t, p);
    if (strcmp(type, "Sequence") != 0 || depth)
        return refuse_type(t, p, type, "TemplateProcessing, ByteLevel, Sequence");
    part list;
    TRY(only_keys(t, p, "type processors"));
    TRY(take_list(t, p, "processors", &list));
    for (size_t i = 0; i < json_array_size(list.v); i++) {
        part one = part_at(&list, i);
        TRY(read_post_processor(t, &one, depth + 1));
    }
    return ACR_OK;
}

static acr_status read_decoder(acr__tokenizer *t, const part *p)
{
    const char *type;
    if (absent(p))
        return ACR_OK;
    TRY(take_type(t, p, &type));
    if (strcmp(type, "ByteLevel") != 0)
        return refuse_type(t, p, type, "ByteLevel");
    return only_keys(t, p, "type add_prefix_space trim_offsets use_regex");
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

/* Everything but vocabulary and merges, in one spelling. */
static acr_status keep_rest(acr__tokenizer *t, json_t *root)
{
    json_t *model = json_object_get(root, "model");
    json_object_del(model, "vocab");
    json_object_del(model, "merges");
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    t->rest = text ? acr__strdup(t->ctx, text) : NULL;
    free(text);
    return t->rest ? ACR_OK : acr__fail(t->ctx, ACR_E_NO_MEMORY, "%s: no memory to keep it", t->name);
}

static acr_status read_root(acr__tokenizer *t, json_t *root)
{
    part whole = {root, ""};
    bool bytes = false;
    TRY(only_keys(t, &whole,
                  "version truncation padding added_tokens normalizer pre_tokenizer post_processor decoder model"));
    TRY(need_off(t, &whole, "truncation"));
    TRY(need_off(t, &whole, "padding"));
    part added = part_of(&whole, "added_tokens"), model = part_of(&whole, "model");
    part normalizer = part_of(&whole, "normalizer"), pre = part_of(&whole, "pre_tokenizer");
    part post = part_of(&whole, "post_processor"), decoder = part_of(&whole, "decoder");
    REFUSE_IF(added.v && !json_is_array(added.v), t, "%s: added_tokens is %s, not a list", t->name, type_name(added.v));
    REFUSE_IF(json_array_size(added.v) > ADDED, t, "%s: more than %d added_tokens", t->name, ADDED);
    REFUSE_IF(!model.v, t, "%s: there is no model in it; is it a tokenizer.json?", t->name);
    TRY(read_normalizer(t, &normalizer, 0));
    REFUSE_IF(absent(&pre), t, "%s: there is no pre_tokenizer; one that ends in ByteLevel is implemented", t->name);
    TRY(read_model(t, &model, &added));
    TRY(read_pre_tokenizer(t, &pre, 0, &bytes));
    REFUSE_IF(!bytes, t, "%s: pre_tokenizer has no ByteLevel; only tokenizers over bytes are implemented", t->name);
    TRY(read_all_added(t, &added));
    TRY(read_post_processor(t, &post, 0));
    TRY(read_decoder(t, &decoder));
    return keep_rest(t, root);
}

acr_status acr__tokenizer_read_json(acr__tokenizer *t, const char *json, size_t n)
{
    json_t *root;
    TRY(acr__json_parse(t->ctx, t->name, "the file", json, n, &root));
    acr_status status = read_root(t, root);
    json_decref(root);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

static bool has_space(const char *text, size_t n) { return memchr(text, ' ', n) != NULL; }

/* "a b", which every version of Hugging Face's library reads; a list where a
 * symbol has a space of its own. */
static json_t *merge_json(const acr__tokenizer *t, int64_t rank)
{
    int32_t left, right;
    size_t l, r;
    acr__bpe_pair(t->bpe, rank, &left, &right);
    const char *a = acr__bpe_text(t->bpe, left, &l), *b = acr__bpe_text(t->bpe, right, &r);
    if (has_space(a, l) || has_space(b, r))
        return json_pack("[s%, s%]", a, l, b, r);
    return json_pack("s%+%+%", a, l, " ", (size_t)1, b, r);
}

/* A null from json_*, for want of memory, makes the _new calls fail. */
static acr_status fill(const acr__tokenizer *t, json_t *root)
{
    json_t *model = json_object_get(root, "model"), *vocab = json_object(), *merges = json_array();
    int failed = json_object_set_new(model, "vocab", vocab) | json_object_set_new(model, "merges", merges);
    for (int64_t id = 0; id < t->size && !failed; id++) {
        size_t n;
        const char *text = acr__bpe_text(t->bpe, (int32_t)id, &n);
        char *key = text ? acr__alloc(t->ctx, n + 1) : NULL;
        if (!text)
            continue;
        if (!key)
            return ACR_E_NO_MEMORY;
        memcpy(key, text, n);
        failed = json_object_set_new(vocab, key, json_integer(id));
        acr__free(t->ctx, key);
    }
    for (int64_t rank = 0; rank < acr__bpe_merges(t->bpe) && !failed; rank++)
        failed = json_array_append_new(merges, merge_json(t, rank));
    FAIL_IF(failed, t->ctx, ACR_E_NO_MEMORY, "%s: no memory to write it", t->name);
    return ACR_OK;
}

static int write_some(const char *bytes, size_t n, void *file)
{
    return acr__atomic_write(file, bytes, n) == ACR_OK ? 0 : -1;
}

acr_status acr__tokenizer_save(const acr__tokenizer *t, const char *path)
{
    acr__atomic file;
    json_t *root = json_loads(t->rest, JSON_ALLOW_NUL, NULL);
    FAIL_IF(!root, t->ctx, ACR_E_NO_MEMORY, "%s: no memory to write it", path);
    acr_status status = fill(t, root);
    if (status == ACR_OK)
        status = acr__atomic_open(&file, t->ctx, path);
    if (status == ACR_OK) {
        /* The only failure of the dump that is not the file's is one of memory. */
        acr__fail(t->ctx, ACR_E_NO_MEMORY, "%s: no memory to write it", path);
        status = json_dump_callback(root, write_some, &file, JSON_INDENT(2)) == 0 ? ACR_OK : ACR_E_IO;
        if (status == ACR_OK)
            status = acr__atomic_write(&file, "\n", 1);
        if (status == ACR_OK)
            status = acr__atomic_commit(&file);
        acr__atomic_abandon(&file);
    }
    json_decref(root);
    return status;
}
