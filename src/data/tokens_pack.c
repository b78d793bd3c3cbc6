/* tokens_pack.c: which documents make up which sequence.
 *
 * Invariant: the same set, sequence_length, packing and split give the same
 * sequences, whatever trains on them: the documents are met once, in the file's
 * order, and nothing else is looked at. Memory is bounded: as many sequences are
 * at hand as fit in a fixed room, and one that must make way is done.
 *
 * The sequences' order in an epoch is none of its business (tokens_source.c). */
#include "base/shuffle.h"
#include "data/tokens_set.h"
#include <string.h>

enum {
    AT_ONCE = 512, /* ends of documents, read together */
    OPEN = ACR_PACK_OPEN,
    PIECES = ACR_PACK_PIECES,
    LEAST = 2,     /* whole: a document that has a target has so many rows */
};

/* Never an epoch's number: the split does not resemble any epoch's order. */
static const uint32_t split_epoch = UINT32_MAX;

typedef struct bin {
    int64_t rows;
    int64_t count;
    acr__piece piece[PIECES];
} bin;

typedef struct packer {
    acr__tokens *s;
    bool keep;
    int64_t length;
    /* the part: of the documents by rank, or of the tokens */
    bool ranked, validation;
    acr__shuffle rank;
    int64_t taken;
    int64_t from, to;
    /* the sequences */
    int64_t pieces;
    int64_t rows; /* stream: of the one being filled */
    int open;
    bin *bins;       /* whole; else NULL */
    int order[OPEN]; /* their numbers; the first `open` are in use, the oldest first */
} packer;

static bin *bin_at(const packer *p, int k) { return p->bins + p->order[k]; }

/* -- the part ------------------------------------------------------------- */
static acr_status choose_part(packer *p, const acr__tokens_desc *d)
{
    const acr__corpus *c = &p->s->corpus;
    p->to = c->tokens;
    p->validation = d->validation;
    if (d->validation_split == 0)
        return ACR_OK;
    p->taken = (int64_t)(d->validation_split * (double)c->documents + 0.5);
    p->ranked = p->s->whole || (p->taken > 0 && c->documents > 1);
    if (p->ranked) {
        FAIL_IF(c->documents < 2, p->s->ctx, ACR_E_DATA,
                "%s: there is one document, so packing: whole leaves nothing to split; packing: stream divides it",
                c->place);
        p->taken = acr__max(1, acr__min(p->taken, c->documents - 1));
        acr__shuffle_init(&p->rank, d->seed, split_epoch, c->documents);
        return ACR_OK;
    }
    int64_t tail = (int64_t)(d->validation_split * (double)c->tokens + 0.5);
    tail = acr__max(1, acr__min(tail, c->tokens - 1));
    if (p->validation)
        p->from = c->tokens - tail;
    else
        p->to = c->tokens - tail;
    return ACR_OK;
}

/* -- sequences ------------------------------------------------------------ */
static acr_status add_piece(packer *p, const acr__piece *piece)
{
    p->s->info.rows += piece->rows;
    p->pieces++;
    return p->keep ? acr__table_add(&p->s->pieces, piece) : ACR_OK;
}

static acr_status end_sequence(packer *p)
{
    p->s->info.sequences++;
    return p->keep ? acr__table_add(&p->s->firsts, &p->pieces) : ACR_OK;
}

/* Rows of the piece that have a target. */
static acr_status count_targets(const packer *p, const acr__piece *piece, int64_t *out)
{
    const acr__corpus *c = &p->s->corpus;
    *out = piece->rows - !piece->next;
    if (!c->masked || (!p->keep && !p->s->whole))
        return ACR_OK;
    int32_t ids[ACR_CORPUS_BLOCK + 1], targets[ACR_CORPUS_BLOCK + 1];
    *out = 0;
    for (int64_t at = 0; at < piece->rows; at += ACR_CORPUS_BLOCK) {
        int64_t n = acr__min(ACR_CORPUS_BLOCK, piece->rows - at);
        TRY(acr__corpus_read(c, piece->start + at, n, piece->next || at + n < piece->rows, ids, targets));
        for (int64_t i = 0; i < n; i++)
            *out += targets[i] != ACR_IGNORED;
    }
    return ACR_OK;
}

static acr_status stream_document(packer *p, int64_t begin, int64_t end)
{
    while (begin < end) {
        int64_t n = acr__min(p->length - p->rows, end - begin), targets;
        acr__piece piece = {begin, (int32_t)n, begin + n < end};
        TRY(count_targets(p, &piece, &targets));
        TRY(add_piece(p, &piece));
        p->s->info.targets += targets;
        begin += n;
        p->rows += n;
        if (p->rows == p->length) {
            TRY(end_sequence(p));
            p->rows = 0;
        }
    }
    return ACR_OK;
}

/* The open sequence in which n rows leave the least room; -1: they fit none. */
static int best_bin(const packer *p, int64_t n)
{
    int best = -1;
    for (int k = 0; k < p->open; k++) {
        const bin *b = bin_at(p, k);
        if (p->length - b->rows >= n && b->count < PIECES && (best < 0 || b->rows > bin_at(p, best)->rows))
            best = k;
    }
    return best;
}

static int fullest_bin(const packer *p)
{
    int fullest = 0;
    for (int k = 1; k < p->open; k++)
        if (bin_at(p, k)->rows > bin_at(p, fullest)->rows)
            fullest = k;
    return fullest;
}

/* The k-th open sequence is done; its memory goes behind the open ones. */
static acr_status close_bin(packer *p, int k)
{
    bin *b = bin_at(p, k);
    int number = p->order[k];
    for (int64_t i = 0; i < b->count; i++)
        TRY(add_piece(p, &b->piece[i]));
    b->count = 0;
    b->rows = 0;
    p->open--;
    memmove(p->order + k, p->order + k + 1, (size_t)(p->open - k) * sizeof *p->order);
    p->order[p->open] = number;
    return end_sequence(p);
}

static void count_odd(acr__tokens_odd *odd, int64_t document, int64_t tokens)
{
    if (odd->count++ == 0) {
        odd->document = document;
        odd->tokens = tokens;
    }
}

static acr_status whole_document(packer *p, int64_t document, int64_t begin, int64_t end)
{
    int64_t n = acr__min(p->length, end - begin), targets;
    acr__piece piece = {begin, (int32_t)n, begin + n < end};
    TRY(count_targets(p, &piece, &targets));
    if (targets == 0) {
        count_odd(&p->s->info.left_out, document, end - begin);
        return ACR_OK;
    }
    if (end - begin > n + 1) /* of one token more it is the last row's target */
        count_odd(&p->s->info.cut, document, end - begin);
    p->s->info.targets += targets;
    p->s->info.documents++;
    int k = best_bin(p, n);
    if (k < 0) {
        if (p->open == OPEN)
            TRY(close_bin(p, fullest_bin(p)));
        k = p->open++;
    }
    bin *b = bin_at(p, k);
    b->piece[b->count++] = piece;
    b->rows += n;
    return p->length - b->rows < LEAST ? close_bin(p, k) : ACR_OK;
}

static acr_status add_document(packer *p, int64_t document, int64_t begin, int64_t end)
{
    if (p->ranked && (acr__shuffle_at(&p->rank, document) < p->taken) != p->validation)
        return ACR_OK;
    begin = acr__max(begin, p->from);
    end = acr__min(end, p->to);
    if (begin >= end)
        return ACR_OK;
    if (p->bins)
        return whole_document(p, document, begin, end);
    p->s->info.documents++;
    return stream_document(p, begin, end);
}

static acr_status pack_all(packer *p)
{
    const acr__corpus *c = &p->s->corpus;
    int64_t ends[AT_ONCE], begin = 0;
    if (p->keep)
        TRY(acr__table_add(&p->s->firsts, &p->pieces));
    for (int64_t first = 0; first < c->documents; first += AT_ONCE) {
        int64_t n = acr__min(AT_ONCE, c->documents - first);
        FAIL_IF(acr_cancelled(p->s->ctx), p->s->ctx, ACR_E_CANCELLED, "%s: cancelled while sequences were made of it",
                c->place);
        TRY(acr__corpus_ends(c, first, n, ends));
        for (int64_t i = 0; i < n; i++) {
            TRY(add_document(p, first + i, begin, ends[i]));
            begin = ends[i];
        }
    }
    while (p->open > 0)
        TRY(close_bin(p, 0));
    return p->rows > 0 ? end_sequence(p) : ACR_OK;
}

acr_status acr__tokens_pack(acr__tokens *s, const acr__tokens_desc *desc, bool keep)
{
    packer p = {.s = s, .keep = keep, .length = s->info.sequence_length};
    TRY(choose_part(&p, desc));
    if (s->whole) {
        p.bins = acr__alloc(s->ctx, OPEN * sizeof *p.bins);
        if (!p.bins)
            return ACR_E_NO_MEMORY;
        for (int k = 0; k < OPEN; k++)
            p.order[k] = k;
    }
    acr_status status = pack_all(&p);
    acr__free(s->ctx, p.bins);
    return status;
}
