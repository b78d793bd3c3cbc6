/* tokenizer_learn.c: byte-level BPE from text (tokenizer.h says by which rule).
 *
 *     words, counted -> pairs of neighbours, counted, each with its words
 *         -> join the most frequent pair in its words, mend the counts; again
 *
 * A heap gives the most frequent pair. Counts of waiting pairs only fall, so an
 * entry whose count is out of date goes back with the count of now. Occurrences
 * are those of neighbours (three equal symbols are two pairs), as in Hugging
 * Face's trainer, whose merges these are.
 *
 * Deliberately not here: anything random, and any use of the order in which words
 * come. Words of more than WORD_BYTES, and new ones behind the first WORDS_MOST,
 * are not counted: that bounds the memory. */
#include "data/tokenizer_parts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { WORD_BYTES = 1024, WORDS_MOST = 1 << 22, FEWEST = 2 };
#define NOWHERE UINT32_MAX

typedef struct word {
    size_t at; /* of its bytes, later of its symbols */
    uint32_t n;
    int64_t count;
} word;

/* A word that a pair occurs in, in a list. */
typedef struct place {
    uint32_t word, next;
} place;

typedef struct pair {
    int32_t left, right;
    int64_t count;
    uint32_t places, last; /* the list's head; the word that was put there last */
    bool done, grown;      /* joined; has more occurrences since the last join */
} pair;

typedef struct waiting {
    int64_t count;
    uint32_t pair;
} waiting;

typedef struct learner {
    acr_context *ctx;
    acr__tokenizer *t; /* of bytes alone: it makes the pieces */
    acr__bpe *bpe;     /* what is learned */
    int64_t vocab, size, merges;
    acr__ids none;   /* pieces are counted, so there are no ids */
    acr__chars text; /* of the words */
    word *words;
    uint32_t *word_table; /* by hash; NOWHERE: free */
    size_t word_count, word_room, word_table_size;
    int32_t *symbols; /* of the words; a word's only become fewer */
    pair *pairs;
    uint32_t *pair_table;
    size_t pair_count, pair_room, pair_table_size;
    place *places;
    size_t place_count, place_room;
    uint32_t free_place;
    waiting *heap;
    size_t heap_count, heap_room;
    uint32_t *grown; /* pairs that this join gave occurrences */
    size_t grown_count, grown_room;
} learner;

static acr_status room_for_one(learner *l, void **items, size_t *room, size_t count, size_t size)
{
    if (count < *room)
        return ACR_OK;
    size_t more = *room ? 2 * *room : 1024, bytes;
    FAIL_IF(!acr__mul(more, size, &bytes) || more > NOWHERE, l->ctx, ACR_E_NO_MEMORY,
            "learning from this text needs more than memory has");
    void *grown = acr__realloc(l->ctx, *items, bytes);
    if (!grown)
        return ACR_E_NO_MEMORY;
    *items = grown;
    *room = more;
    return ACR_OK;
}

/* ---- words --------------------------------------------------------------------------- */

static uint32_t *word_place(learner *l, const char *text, size_t n)
{
    size_t at = XXH3_64bits(text, n) & (l->word_table_size - 1);
    for (;; at = (at + 1) & (l->word_table_size - 1)) {
        uint32_t w = l->word_table[at];
        if (w == NOWHERE || (l->words[w].n == n && memcmp(l->text.bytes + l->words[w].at, text, n) == 0))
            return &l->word_table[at];
    }
}

/* Twice the places, all free. */
static acr_status wider_table(learner *l, uint32_t **table, size_t *size)
{
    size_t more = *size ? 2 * *size : 4096;
    uint32_t *wider = acr__alloc(l->ctx, more * sizeof *wider);
    if (!wider)
        return ACR_E_NO_MEMORY;
    memset(wider, 0xff, more * sizeof *wider);
    acr__free(l->ctx, *table);
    *table = wider;
    *size = more;
    return ACR_OK;
}

static acr_status count_word(void *user, const char *text, size_t n)
{
    learner *l = user;
    if (n > WORD_BYTES)
        return ACR_OK;
    if (2 * l->word_count >= l->word_table_size) {
        TRY(wider_table(l, &l->word_table, &l->word_table_size));
        for (size_t w = 0; w < l->word_count; w++)
            *word_place(l, l->text.bytes + l->words[w].at, l->words[w].n) = (uint32_t)w;
    }
    uint32_t *at = word_place(l, text, n);
    if (*at == NOWHERE) {
        if (l->word_count == WORDS_MOST)
            return ACR_OK;
        TRY(room_for_one(l, (void **)&l->words, &l->word_room, l->word_count, sizeof *l->words));
        l->words[l->word_count] = (word){l->text.count, (uint32_t)n, 0};
        TRY(acr__chars_add(l->ctx, &l->text, text, n));
        *at = (uint32_t)l->word_count++;
    }
    l->words[*at].count++;
    return ACR_OK;
}

static acr_status count_document(learner *l, acr__document *d, const acr__text_reader *reader, bool *more)
{
    const char *text;
    size_t n;
    bool last = true, begun = false;
    do {
        FAIL_IF(acr_cancelled(l->ctx), l->ctx, ACR_E_CANCELLED, "cancelled while a tokenizer was being learned");
        TRY(reader->next(reader->user, &text, &n, &last));
        if (!begun) {
            TRY(acr__document_begin(d, l->t, reader->where, false, &l->none));
            d->each = count_word;
            d->user = l;
            begun = true;
        }
        if (text)
            TRY(acr__document_add(d, text, n, &l->none));
    } while (text && !last);
    *more = text != NULL;
    return acr__document_end(d, &l->none);
}

static acr_status count_words(learner *l, const acr__text_reader *reader)
{
    bool more = true;
    while (more) {
        acr__document d = {0};
        acr_status status = count_document(l, &d, reader, &more);
        acr__document_free(&d);
        TRY(status);
    }
    FAIL_IF(l->word_count == 0, l->ctx, ACR_E_DATA, "%s: there is no text to learn a tokenizer from", reader->where);
    return ACR_OK;
}

/* ---- pairs ----------------------------------------------------------------------------- */

static uint32_t *pair_place(learner *l, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t at = (size_t)((key ^ key >> 29) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (l->pair_table_size - 1);
    for (;; at = (at + 1) & (l->pair_table_size - 1)) {
        uint32_t p = l->pair_table[at];
        if (p == NOWHERE || (l->pairs[p].left == left && l->pairs[p].right == right))
            return &l->pair_table[at];
    }
}

static acr_status find_pair(learner *l, int32_t left, int32_t right, pair **out)
{
    if (2 * l->pair_count >= l->pair_table_size) {
        TRY(wider_table(l, &l->pair_table, &l->pair_table_size));
        for (size_t p = 0; p < l->pair_count; p++)
            *pair_place(l, l->pairs[p].left, l->pairs[p].right) = (uint32_t)p;
    }
    uint32_t *at = pair_place(l, left, right);
    if (*at == NOWHERE) {
        TRY(room_for_one(l, (void **)&l->pairs, &l->pair_room, l->pair_count, sizeof *l->pairs));
        l->pairs[l->pair_count] = (pair){.left = left, .right = right, .places = NOWHERE, .last = NOWHERE};
        *at = (uint32_t)l->pair_count++;
    }
    *out = &l->pairs[*at];
    return ACR_OK;
}

/* The pair occurs once more in the word. */
static acr_status add_pair(learner *l, int32_t left, int32_t right, uint32_t w)
{
    pair *p;
    TRY(find_pair(l, left, right, &p));
    p->count += l->words[w].count;
    if (!p->grown) {
        TRY(room_for_one(l, (void **)&l->grown, &l->grown_room, l->grown_count, sizeof *l->grown));
        l->grown[l->grown_count++] = (uint32_t)(p - l->pairs);
        p->grown = true;
    }
    if (p->last == w)
        return ACR_OK;
    uint32_t at = l->free_place;
    if (at == NOWHERE) {
        TRY(room_for_one(l, (void **)&l->places, &l->place_room, l->place_count, sizeof *l->places));
        at = (uint32_t)l->place_count++;
    } else {
        l->free_place = l->places[at].next;
    }
    l->places[at] = (place){w, p->places};
    p->places = at;
    p->last = w;
    return ACR_OK;
}

static acr_status drop_pair(learner *l, int32_t left, int32_t right, uint32_t w)
{
    pair *p;
    TRY(find_pair(l, left, right, &p));
    p->count -= l->words[w].count;
    return ACR_OK;
}

/* ---- the heap ---------------------------------------------------------------------------- */

/* Whether a is joined before b. */
static bool before(const learner *l, const waiting *a, const waiting *b)
{
    const pair *x = &l->pairs[a->pair], *y = &l->pairs[b->pair];
    if (a->count != b->count)
        return a->count > b->count;
    return x->left != y->left ? x->left < y->left : x->right < y->right;
}

static acr_status push(learner *l, uint32_t p)
{
    if (l->pairs[p].count < FEWEST || l->pairs[p].done)
        return ACR_OK;
    TRY(room_for_one(l, (void **)&l->heap, &l->heap_room, l->heap_count, sizeof *l->heap));
    waiting e = {l->pairs[p].count, p};
    size_t at = l->heap_count++;
    for (; at > 0 && before(l, &e, &l->heap[(at - 1) / 2]); at = (at - 1) / 2)
        l->heap[at] = l->heap[(at - 1) / 2];
    l->heap[at] = e;
    return ACR_OK;
}

static waiting pop(learner *l)
{
    waiting top = l->heap[0], last = l->heap[--l->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < l->heap_count) {
        if (child + 1 < l->heap_count && before(l, &l->heap[child + 1], &l->heap[child]))
            child++;
        if (!before(l, &l->heap[child], &last))
            break;
        l->heap[at] = l->heap[child];
        at = child;
    }
    l->heap[at] = last;
    return top;
}

static acr_status push_grown(learner *l)
{
    for (size_t i = 0; i < l->grown_count; i++) {
        l->pairs[l->grown[i]].grown = false;
        TRY(push(l, l->grown[i]));
    }
    l->grown_count = 0;
    return ACR_OK;
}

/* ---- joining --------------------------------------------------------------------------------- */

static acr_status join_in_word(learner *l, uint32_t w, int32_t left, int32_t right, int32_t whole)
{
    word *v = &l->words[w];
    int32_t *s = l->symbols + v->at;
    uint32_t to = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        if (s[i] != left || i + 1 == v->n || s[i + 1] != right) {
            s[to++] = s[i];
            continue;
        }
        if (to > 0) {
            TRY(drop_pair(l, s[to - 1], left, w));
            TRY(add_pair(l, s[to - 1], whole, w));
        }
        if (i + 2 < v->n) {
            TRY(drop_pair(l, right, s[i + 2], w));
            TRY(add_pair(l, whole, s[i + 2], w));
        }
        s[to++] = whole;
        i++;
    }
    v->n = to;
    return ACR_OK;
}

/* The symbol of the two together: new, or one that other parts have made before. */
static acr_status name_whole(learner *l, int32_t left, int32_t right, int32_t *whole)
{
    size_t a, b;
    const char *text = acr__bpe_text(l->bpe, left, &a);
    acr__chars both = {0};
    acr_status status = acr__chars_add(l->ctx, &both, text, a);
    if (status == ACR_OK) {
        text = acr__bpe_text(l->bpe, right, &b);
        status = acr__chars_add(l->ctx, &both, text, b);
    }
    if (status == ACR_OK) {
        *whole = acr__bpe_find(l->bpe, both.bytes, both.count);
        if (*whole < 0) {
            *whole = (int32_t)l->size;
            status = acr__bpe_symbol(l->bpe, *whole, both.bytes, both.count);
            l->size++;
        }
    }
    if (status == ACR_OK)
        status = acr__bpe_merge(l->bpe, l->merges++, both.bytes, a, both.bytes + a, b);
    acr__chars_free(l->ctx, &both);
    return status;
}

static acr_status join_pair(learner *l, uint32_t p)
{
    int32_t left = l->pairs[p].left, right = l->pairs[p].right, whole;
    TRY(name_whole(l, left, right, &whole));
    uint32_t at = l->pairs[p].places, next;
    l->pairs[p].done = true;
    l->pairs[p].places = NOWHERE;
    for (; at != NOWHERE; at = next) {
        uint32_t w = l->places[at].word;
        next = l->places[at].next;
        l->places[at].next = l->free_place;
        l->free_place = at;
        TRY(join_in_word(l, w, left, right, whole));
    }
    return push_grown(l);
}

static acr_status join_all(learner *l)
{
    for (uint32_t w = 0; w < l->word_count; w++)
        for (uint32_t i = 0; i + 1 < l->words[w].n; i++)
            TRY(add_pair(l, l->symbols[l->words[w].at + i], l->symbols[l->words[w].at + i + 1], w));
    TRY(push_grown(l));
    /* A merge that only gives an old symbol other parts adds none, so they have a bound of their own. */
    while (l->size < l->vocab && l->merges < l->vocab && l->heap_count) {
        waiting top = pop(l);
        FAIL_IF(acr_cancelled(l->ctx), l->ctx, ACR_E_CANCELLED, "cancelled while a tokenizer was being learned");
        if (l->pairs[top.pair].done)
            continue;
        if (top.count != l->pairs[top.pair].count)
            TRY(push(l, top.pair));
        else
            TRY(join_pair(l, top.pair));
    }
    return ACR_OK;
}

/* ---- the tokenizer that begins and ends it ------------------------------------------------------- */

/* Bytes in the order of their symbols. */
static void order_bytes(uint8_t order[256])
{
    int n = 0;
    for (uint32_t c = 0; n < 256; c++)
        if (acr__symbol_byte(c) >= 0)
            order[n++] = (uint8_t)acr__symbol_byte(c);
}

static json_t *base_vocabulary(void)
{
    uint8_t order[256];
    json_t *vocab = json_pack("{s:i}", "<|endoftext|>", 0);
    order_bytes(order);
    for (int i = 0; i < 256; i++) {
        char symbol[5] = "";
        acr__utf8_put(acr__symbol_char(order[i]), symbol);
        json_object_set_new(vocab, symbol, json_integer(i + 1));
    }
    return vocab;
}

static json_t *byte_level(bool prefix, bool regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", prefix, "trim_offsets", 1,
                     "use_regex", regex);
}

static json_t *pre_tokenizer(acr__split_kind split)
{
    if (split == ACR_SPLIT_GPT2)
        return byte_level(false, true);
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers", "type", "Split",
                     "pattern", "Regex", acr__split_patterns[split], "behavior", "Isolated", "invert", 0,
                     byte_level(false, false));
}

static json_t *base_json(acr__split_kind split)
{
    json_t *model = json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:[]}", "type", "BPE", "dropout",
                              "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                              "byte_fallback", 0, "ignore_merges", 0, "vocab", base_vocabulary(), "merges");
    json_t *end = json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", 0, "content", "<|endoftext|>", "single_word",
                            0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1);
    json_t *normalizer = split == ACR_SPLIT_QWEN2 ? json_pack("{s:s}", "type", "NFC") : json_null();
    return json_pack("{s:s, s:n, s:n, s:[o], s:o, s:o, s:n, s:o, s:o}", "version", "1.0", "truncation", "padding",
                     "added_tokens", end, "normalizer", normalizer, "pre_tokenizer", pre_tokenizer(split),
                     "post_processor", "decoder", byte_level(true, true), "model", model);
}

static acr_status make_base(learner *l, acr__split_kind split)
{
    json_t *root = base_json(split);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    FAIL_IF(!text, l->ctx, ACR_E_NO_MEMORY, "no memory to begin a tokenizer");
    acr_status status = acr__tokenizer_parse(&l->t, l->ctx, "the learned tokenizer", text, strlen(text));
    free(text);
    return status;
}

/* What is learned begins with what the base has. */
static acr_status begin_vocabulary(learner *l)
{
    TRY(acr__bpe_create(&l->bpe, l->ctx, l->t->name, l->vocab, l->vocab));
    for (; l->size < l->t->size; l->size++) {
        size_t n;
        const char *text = acr__bpe_text(l->t->bpe, (int32_t)l->size, &n);
        TRY(acr__bpe_symbol(l->bpe, (int32_t)l->size, text, n));
    }
    return ACR_OK;
}

/* Words as symbols of their bytes. */
static acr_status spell_words(learner *l)
{
    int32_t of[256];
    for (int byte = 0; byte < 256; byte++) {
        char symbol[4];
        size_t n = acr__utf8_put(acr__symbol_char((uint8_t)byte), symbol);
        of[byte] = acr__bpe_find(l->bpe, symbol, n);
    }
    size_t bytes;
    FAIL_IF(!acr__mul(l->text.count, sizeof *l->symbols, &bytes), l->ctx, ACR_E_NO_MEMORY,
            "learning from this text needs more than memory has");
    l->symbols = acr__alloc(l->ctx, bytes);
    if (!l->symbols)
        return ACR_E_NO_MEMORY;
    for (size_t i = 0; i < l->text.count; i++)
        l->symbols[i] = of[(uint8_t)l->text.bytes[i]];
    acr__chars_free(l->ctx, &l->text);
    acr__free(l->ctx, l->word_table);
    l->word_table = NULL;
    return ACR_OK;
}

static acr_status learn(learner *l, acr__split_kind split, const acr__text_reader *reader)
{
    TRY(make_base(l, split));
    TRY(count_words(l, reader));
    TRY(begin_vocabulary(l));
    TRY(spell_words(l));
    TRY(join_all(l));
    TRY(acr__bpe_finish(l->bpe, false));
    TRY(acr__bpe_content(l->bpe, 0, "<|endoftext|>", strlen("<|endoftext|>")));
    acr__bpe_destroy(l->t->bpe);
    l->t->bpe = l->bpe;
    l->bpe = NULL;
    l->t->size = l->size;
    acr__tokenizer_ready(l->t);
    return ACR_OK;
}

acr_status acr__tokenizer_learn(acr__tokenizer **out, acr_context *ctx, int64_t vocab, acr__split_kind split,
                                const acr__text_reader *reader)
{
    FAIL_IF(vocab < ACR_LEARN_LEAST || vocab > ACR_LEARN_MOST, ctx, ACR_E_ARGUMENT,
            "a vocabulary of %lld tokens; %d (the bytes and <|endoftext|>) to %d can be learned", (long long)vocab,
            ACR_LEARN_LEAST, ACR_LEARN_MOST);
    learner l = {.ctx = ctx, .vocab = vocab, .free_place = NOWHERE};
    acr_status status = learn(&l, split, reader);
    void *const blocks[] = {l.words, l.word_table, l.symbols, l.pairs, l.pair_table, l.places, l.heap, l.grown};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        acr__free(ctx, blocks[i]);
    acr__chars_free(ctx, &l.text);
    acr__bpe_destroy(l.bpe);
    if (status != ACR_OK) {
        acr__tokenizer_close(l.t);
        return status;
    }
    *out = l.t;
    return ACR_OK;
}
