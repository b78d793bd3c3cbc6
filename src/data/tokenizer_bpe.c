/* tokenizer_bpe.c: the vocabulary, the merges, and BPE over the bytes of one piece.
 *
 *     symbols of the bytes; while a pair of neighbours has a merge:
 *     join the pair of the lowest rank, of several the leftmost
 *
 * by a linked list and a heap of candidates, so a piece of n bytes costs
 * O(n log n). Short pieces with few ids are remembered in a table of fixed size,
 * where a newer one takes the place of an older one.
 *
 * Invariant: every id in a merge is in [0, size), and every entry of the tables
 * is a whole one: what fails half-way is destroyed by its owner. */
#include "data/tokenizer_parts.h"

#include <string.h>
#include <xxhash.h>

enum {
    NONE = -1,
    KNOWN_BYTES = 31, /* of a remembered piece: an entry is 64 bytes */
    KNOWN_IDS = 7,
    KNOWN = 1 << 15,
    PIECE_BYTES = 1 << 30,
};

/* Texts one after another; an id's is [at, at + n). */
typedef struct span {
    uint32_t at, n;
} span;
#define UNUSED UINT32_MAX

typedef struct merge {
    uint64_t pair; /* left << 32 | right */
    int32_t rank, whole;
} merge;

typedef struct known {
    int32_t id[KNOWN_IDS];
    uint8_t ids, bytes; /* bytes 0: free */
    char text[KNOWN_BYTES];
} known;

/* A candidate of the heap: rank << 32 | place orders it; the pair may be gone. */
typedef struct candidate {
    uint64_t order;
    int32_t whole;
} candidate;

/* Symbols of the piece at hand, a list through the places of their first bytes. */
typedef struct node {
    int32_t id, previous, next;
} node;

struct acr__bpe {
    acr_context *ctx;
    const char *where;
    int64_t size, symbols;
    acr__chars text, pieces;
    span *symbol, *piece; /* [size]; n == UNUSED: none */
    int32_t *table;       /* symbols by hash; NONE: free */
    size_t table_size;    /* a power of two */
    merge *merges;        /* by hash; whole NONE: free */
    size_t merges_size;   /* a power of two */
    int64_t merge_count;
    uint64_t *pairs; /* by rank, for who writes the file */
    bool ignore_merges;
    int32_t byte_id[256];
    known *known;
    acr__chars as_symbols; /* scratch */
    node *links;
    candidate *heap;
    size_t link_room, heap_room, heap_count;
};

/* ---- growing arrays ------------------------------------------------------------------- */

static acr_status grow(acr_context *ctx, void **p, size_t *room, size_t needed, size_t size)
{
    if (needed <= *room)
        return ACR_OK;
    size_t more = *room ? *room : 64, bytes;
    while (more < needed)
        more += more / 2;
    FAIL_IF(!acr__mul(more, size, &bytes), ctx, ACR_E_NO_MEMORY, "%zu elements of %zu bytes are more than memory has",
            more, size);
    void *grown = acr__realloc(ctx, *p, bytes);
    if (!grown)
        return ACR_E_NO_MEMORY;
    *p = grown;
    *room = more;
    return ACR_OK;
}

acr_status acr__ids_add(acr_context *ctx, acr__ids *ids, const int32_t *id, int64_t n)
{
    size_t room = (size_t)ids->room;
    TRY(grow(ctx, (void **)&ids->id, &room, (size_t)(ids->count + n), sizeof *id));
    ids->room = (int64_t)room;
    if (n)
        memcpy(ids->id + ids->count, id, (size_t)n * sizeof *id);
    ids->count += n;
    return ACR_OK;
}

acr_status acr__chars_add(acr_context *ctx, acr__chars *chars, const void *bytes, size_t n)
{
    TRY(grow(ctx, (void **)&chars->bytes, &chars->room, chars->count + n + 1, 1));
    if (n)
        memcpy(chars->bytes + chars->count, bytes, n);
    chars->count += n;
    chars->bytes[chars->count] = '\0';
    return ACR_OK;
}

void acr__ids_free(acr_context *ctx, acr__ids *ids)
{
    acr__free(ctx, ids->id);
    *ids = (acr__ids){0};
}

void acr__chars_free(acr_context *ctx, acr__chars *chars)
{
    acr__free(ctx, chars->bytes);
    *chars = (acr__chars){0};
}

/* ---- the vocabulary ------------------------------------------------------------------------ */

static size_t power_of_two(int64_t entries)
{
    size_t n = 16;
    while (n < 2 * (size_t)entries)
        n *= 2;
    return n;
}

static acr_status allocate(acr__bpe *b, int64_t merges)
{
    b->table_size = power_of_two(b->size);
    b->merges_size = power_of_two(merges);
    b->symbol = acr__alloc(b->ctx, (size_t)b->size * sizeof *b->symbol);
    b->piece = acr__alloc(b->ctx, (size_t)b->size * sizeof *b->piece);
    b->table = acr__alloc(b->ctx, b->table_size * sizeof *b->table);
    b->merges = acr__alloc(b->ctx, b->merges_size * sizeof *b->merges);
    b->pairs = acr__alloc(b->ctx, ((size_t)merges + 1) * sizeof *b->pairs);
    if (!b->symbol || !b->piece || !b->table || !b->merges || !b->pairs)
        return ACR_E_NO_MEMORY;
    for (int64_t i = 0; i < b->size; i++)
        b->symbol[i].n = b->piece[i].n = UNUSED;
    memset(b->table, 0xff, b->table_size * sizeof *b->table);
    for (size_t i = 0; i < b->merges_size; i++)
        b->merges[i].whole = NONE;
    return ACR_OK;
}

acr_status acr__bpe_create(acr__bpe **out, acr_context *ctx, const char *where, int64_t size, int64_t merges)
{
    acr__bpe *b = acr__alloc(ctx, sizeof *b);
    if (!b)
        return ACR_E_NO_MEMORY;
    b->ctx = ctx;
    b->where = where;
    b->size = size;
    acr_status status = allocate(b, merges);
    if (status != ACR_OK) {
        acr__bpe_destroy(b);
        return status;
    }
    *out = b;
    return ACR_OK;
}

void acr__bpe_destroy(acr__bpe *b)
{
    if (!b)
        return;
    acr__chars_free(b->ctx, &b->text);
    acr__chars_free(b->ctx, &b->pieces);
    acr__chars_free(b->ctx, &b->as_symbols);
    void *const blocks[] = {b->symbol, b->piece, b->table, b->merges, b->pairs, b->known, b->links, b->heap};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        acr__free(b->ctx, blocks[i]);
    acr__free(b->ctx, b);
}

/* Where the symbol is in the table, or the free place where it would be. */
static size_t place_of(const acr__bpe *b, const char *text, size_t n)
{
    size_t at = XXH3_64bits(text, n) & (b->table_size - 1);
    for (;; at = (at + 1) & (b->table_size - 1)) {
        int32_t id = b->table[at];
        if (id == NONE || (b->symbol[id].n == n && memcmp(b->text.bytes + b->symbol[id].at, text, n) == 0))
            return at;
    }
}

int32_t acr__bpe_find(const acr__bpe *b, const char *text, size_t n)
{
    return b->symbols ? b->table[place_of(b, text, n)] : NONE;
}

static acr_status append(acr__bpe *b, acr__chars *to, const void *text, size_t n, span *out)
{
    FAIL_IF(to->count + n >= UNUSED, b->ctx, ACR_E_DATA, "%s: its tokens have more than 4 GiB of text", b->where);
    *out = (span){(uint32_t)to->count, (uint32_t)n};
    return acr__chars_add(b->ctx, to, text, n);
}

/* A symbol's bytes; if one of its characters is no byte's, its text as it is. */
static acr_status add_piece(acr__bpe *b, int32_t id, const char *text, size_t n)
{
    size_t begin = b->pieces.count, length;
    for (size_t i = 0; i < n; i += length) {
        int byte = acr__symbol_byte(acr__utf8_take(text + i, &length));
        if (byte < 0) {
            b->pieces.count = begin;
            return append(b, &b->pieces, text, n, &b->piece[id]);
        }
        uint8_t c = (uint8_t)byte;
        TRY(acr__chars_add(b->ctx, &b->pieces, &c, 1));
    }
    b->piece[id] = (span){(uint32_t)begin, (uint32_t)(b->pieces.count - begin)};
    return ACR_OK;
}

acr_status acr__bpe_symbol(acr__bpe *b, int32_t id, const char *text, size_t n)
{
    FAIL_IF(b->symbol[id].n != UNUSED, b->ctx, ACR_E_DATA, "%s: two tokens of the vocabulary have the id %d", b->where,
            id);
    size_t place = place_of(b, text, n);
    FAIL_IF(b->table[place] != NONE, b->ctx, ACR_E_DATA, "%s: a token is twice in the vocabulary: ids %d and %d",
            b->where, b->table[place], id);
    TRY(append(b, &b->text, text, n, &b->symbol[id]));
    TRY(add_piece(b, id, text, n));
    b->table[place] = id;
    b->symbols++;
    return ACR_OK;
}

acr_status acr__bpe_content(acr__bpe *b, int32_t id, const char *text, size_t n)
{
    return append(b, &b->pieces, text, n, &b->piece[id]);
}

const char *acr__bpe_text(const acr__bpe *b, int32_t id, size_t *n)
{
    if (b->symbol[id].n == UNUSED)
        return NULL;
    *n = b->symbol[id].n;
    return b->text.bytes + b->symbol[id].at;
}

const char *acr__bpe_piece(const acr__bpe *b, int32_t id, size_t *n)
{
    if (b->piece[id].n == UNUSED)
        return NULL;
    *n = b->piece[id].n;
    return b->pieces.bytes + b->piece[id].at;
}

/* ---- the merges -------------------------------------------------------------------------------- */

static uint64_t pair_of(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

static merge *merge_of(const acr__bpe *b, uint64_t pair)
{
    size_t at = (size_t)((pair ^ pair >> 29) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (b->merges_size - 1);
    while (b->merges[at].whole != NONE && b->merges[at].pair != pair)
        at = (at + 1) & (b->merges_size - 1);
    return &b->merges[at];
}

acr_status acr__bpe_merge(acr__bpe *b, int64_t rank, const char *left, size_t left_n, const char *right, size_t right_n)
{
    int32_t l = acr__bpe_find(b, left, left_n), r = acr__bpe_find(b, right, right_n);
    FAIL_IF(l < 0 || r < 0, b->ctx, ACR_E_DATA,
            "%s: merge %lld joins '%.40s' and '%.40s', but '%.40s' is not in the vocabulary", b->where, (long long)rank,
            left, right, l < 0 ? left : right);
    b->as_symbols.count = 0;
    TRY(acr__chars_add(b->ctx, &b->as_symbols, left, left_n));
    TRY(acr__chars_add(b->ctx, &b->as_symbols, right, right_n));
    int32_t whole = acr__bpe_find(b, b->as_symbols.bytes, b->as_symbols.count);
    FAIL_IF(whole < 0, b->ctx, ACR_E_DATA, "%s: merge %lld makes '%.80s', which is not in the vocabulary", b->where,
            (long long)rank, b->as_symbols.bytes);
    /* A pair that comes twice has the rank of its last place, as Hugging Face has it. */
    *merge_of(b, pair_of(l, r)) = (merge){pair_of(l, r), (int32_t)rank, whole};
    b->pairs[b->merge_count++] = pair_of(l, r);
    return ACR_OK;
}

int64_t acr__bpe_merges(const acr__bpe *b) { return b->merge_count; }

void acr__bpe_pair(const acr__bpe *b, int64_t rank, int32_t *left, int32_t *right)
{
    *left = (int32_t)(b->pairs[rank] >> 32);
    *right = (int32_t)(b->pairs[rank] & UINT32_MAX);
}

acr_status acr__bpe_finish(acr__bpe *b, bool ignore_merges)
{
    b->ignore_merges = ignore_merges;
    for (int byte = 0; byte < 256; byte++) {
        char symbol[4];
        size_t n = acr__utf8_put(acr__symbol_char((uint8_t)byte), symbol);
        b->byte_id[byte] = acr__bpe_find(b, symbol, n);
    }
    return acr__bpe_rest(b);
}

/* Fresh pages, which take no memory until they are written. */
acr_status acr__bpe_rest(acr__bpe *b)
{
    known *fresh = acr__alloc(b->ctx, KNOWN * sizeof *fresh);
    if (!fresh)
        return ACR_E_NO_MEMORY;
    acr__free(b->ctx, b->known);
    b->known = fresh;
    return ACR_OK;
}

/* ---- one piece ------------------------------------------------------------------------------------- */

static acr_status push(acr__bpe *b, int32_t place)
{
    int32_t next = b->links[place].next;
    if (next < 0)
        return ACR_OK;
    const merge *m = merge_of(b, pair_of(b->links[place].id, b->links[next].id));
    if (m->whole == NONE)
        return ACR_OK;
    TRY(grow(b->ctx, (void **)&b->heap, &b->heap_room, b->heap_count + 1, sizeof *b->heap));
    candidate c = {(uint64_t)(uint32_t)m->rank << 32 | (uint32_t)place, m->whole};
    size_t at = b->heap_count++;
    for (; at > 0 && b->heap[(at - 1) / 2].order > c.order; at = (at - 1) / 2)
        b->heap[at] = b->heap[(at - 1) / 2];
    b->heap[at] = c;
    return ACR_OK;
}

static candidate pop(acr__bpe *b)
{
    candidate top = b->heap[0], last = b->heap[--b->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < b->heap_count) {
        if (child + 1 < b->heap_count && b->heap[child + 1].order < b->heap[child].order)
            child++;
        if (b->heap[child].order >= last.order)
            break;
        b->heap[at] = b->heap[child];
        at = child;
    }
    b->heap[at] = last;
    return top;
}

/* Joins the symbol at the place with the next, if that still is what the candidate meant. */
static acr_status join(acr__bpe *b, candidate c)
{
    int32_t place = (int32_t)(c.order & UINT32_MAX);
    node *l = &b->links[place];
    if (l->id < 0 || l->next < 0)
        return ACR_OK;
    node *r = &b->links[l->next];
    const merge *m = merge_of(b, pair_of(l->id, r->id));
    if (m->whole != c.whole || (uint64_t)(uint32_t)m->rank != c.order >> 32)
        return ACR_OK;
    l->id = c.whole;
    l->next = r->next;
    r->id = NONE;
    if (l->next >= 0)
        b->links[l->next].previous = place;
    if (l->previous >= 0)
        TRY(push(b, l->previous));
    return push(b, place);
}

static acr_status merge_piece(acr__bpe *b, const char *piece, size_t n, acr__ids *out)
{
    TRY(grow(b->ctx, (void **)&b->links, &b->link_room, n, sizeof *b->links));
    for (size_t i = 0; i < n; i++) {
        int32_t id = b->byte_id[(uint8_t)piece[i]];
        FAIL_IF(id < 0, b->ctx, ACR_E_DATA, "%s: its vocabulary has no token for the byte 0x%02x, which the text has",
                b->where, (uint8_t)piece[i]);
        b->links[i] = (node){id, (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : NONE};
    }
    b->heap_count = 0;
    for (size_t i = 0; i + 1 < n; i++)
        TRY(push(b, (int32_t)i));
    while (b->heap_count)
        TRY(join(b, pop(b)));
    for (int32_t i = 0; i >= 0; i = b->links[i].next)
        TRY(acr__ids_add(b->ctx, out, &b->links[i].id, 1));
    return ACR_OK;
}

/* With ignore_merges a piece that is in the vocabulary is its token. */
static acr_status look_up_whole(acr__bpe *b, const char *piece, size_t n, int32_t *id)
{
    b->as_symbols.count = 0;
    for (size_t i = 0; i < n; i++) {
        char symbol[4];
        size_t length = acr__utf8_put(acr__symbol_char((uint8_t)piece[i]), symbol);
        TRY(acr__chars_add(b->ctx, &b->as_symbols, symbol, length));
    }
    *id = acr__bpe_find(b, b->as_symbols.bytes, b->as_symbols.count);
    return ACR_OK;
}

static acr_status encode_new(acr__bpe *b, const char *piece, size_t n, acr__ids *out)
{
    int32_t id = NONE;
    if (b->ignore_merges)
        TRY(look_up_whole(b, piece, n, &id));
    return id >= 0 ? acr__ids_add(b->ctx, out, &id, 1) : merge_piece(b, piece, n, out);
}

acr_status acr__bpe_encode(acr__bpe *b, const char *piece, size_t n, acr__ids *out)
{
    FAIL_IF(n > PIECE_BYTES, b->ctx, ACR_E_DATA, "%s: a word of %zu bytes; at most %d are possible", b->where, n,
            PIECE_BYTES);
    if (n == 0)
        return ACR_OK;
    if (n > KNOWN_BYTES)
        return encode_new(b, piece, n, out);
    known *k = &b->known[XXH3_64bits(piece, n) & (KNOWN - 1)];
    if (k->bytes == n && memcmp(k->text, piece, n) == 0)
        return acr__ids_add(b->ctx, out, k->id, k->ids);
    int64_t before = out->count;
    TRY(encode_new(b, piece, n, out));
    int64_t ids = out->count - before;
    if (ids <= KNOWN_IDS) {
        k->bytes = (uint8_t)n;
        k->ids = (uint8_t)ids;
        memcpy(k->text, piece, n);
        memcpy(k->id, out->id + before, (size_t)ids * sizeof *k->id);
    }
    return ACR_OK;
}
