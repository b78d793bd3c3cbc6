/* tokens_source.c: sequences of an open set into the slots of a batch. It
 * allocates nothing and keeps nothing: a sequence's rows depend on its number
 * alone. */
#include "base/shuffle.h"
#include "data/tokens_set.h"
#include <string.h>

enum { AT_ONCE = 64 }; /* pieces, read together */

/* Where the rows of one call go. */
typedef struct rows {
    const acr_slots *out;
    int64_t row;
} rows;

static void put_row(const rows *to, int input, int64_t row, int32_t value)
{
    char *data = to->out->data[input];
    if (data)
        memcpy(data + row * to->out->row_bytes[input], &value, sizeof value);
}

static acr_status put_piece(const acr__corpus *c, const acr__piece *piece, rows *to)
{
    int32_t ids[ACR_CORPUS_BLOCK + 1], targets[ACR_CORPUS_BLOCK + 1];
    for (int64_t at = 0; at < piece->rows; at += ACR_CORPUS_BLOCK) {
        int64_t n = acr__min(ACR_CORPUS_BLOCK, piece->rows - at);
        TRY(acr__corpus_read(c, piece->start + at, n, piece->next || at + n < piece->rows, ids, targets));
        for (int64_t i = 0; i < n; i++, to->row++) {
            put_row(to, 0, to->row, ids[i]);
            put_row(to, 1, to->row, targets[i]);
            put_row(to, 2, to->row, (int32_t)(at + i));
        }
    }
    return ACR_OK;
}

static acr_status put_sequence(const acr__tokens *set, int64_t sequence, rows *to)
{
    int64_t first[2];
    acr__piece pieces[AT_ONCE];
    TRY(acr__table_read(&set->firsts, sequence, 2, first));
    for (int64_t at = first[0]; at < first[1]; at += AT_ONCE) {
        int64_t n = acr__min(AT_ONCE, first[1] - at);
        TRY(acr__table_read(&set->pieces, at, n, pieces));
        for (int64_t i = 0; i < n; i++)
            TRY(put_piece(&set->corpus, &pieces[i], to));
    }
    return ACR_OK;
}

acr_status acr__tokens_get(void *source, int64_t epoch, int64_t first, int64_t n, const acr_slots *out)
{
    const acr__tokens_source *from = source;
    const acr__tokens *set = from->set;
    const acr__tokens_info *info = &set->info;
    FAIL_IF(n < 0 || first < 0 || first > info->sequences || n > info->sequences - first, set->ctx, ACR_E_ARGUMENT,
            "%s: %lld sequences from %lld were asked for; there are %lld", set->corpus.place, (long long)n,
            (long long)first, (long long)info->sequences);
    FAIL_IF(n > INT32_MAX / info->sequence_length, set->ctx, ACR_E_ARGUMENT,
            "%s: %lld sequences of %lld rows are more than a batch can count", set->corpus.place, (long long)n,
            (long long)info->sequence_length);
    acr__shuffle order;
    if (from->shuffle)
        acr__shuffle_init(&order, from->seed, (uint32_t)epoch, info->sequences);
    rows to = {out, 0};
    out->offsets[0][0] = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t sequence = from->shuffle ? acr__shuffle_at(&order, first + i) : first + i;
        TRY(put_sequence(set, sequence, &to));
        out->offsets[0][i + 1] = (int32_t)to.row;
    }
    return ACR_OK;
}

void acr__tokens_source_init(acr__tokens_source *source, const acr__tokens *set, bool shuffle, uint64_t seed,
                             acr_source *out)
{
    *source = (acr__tokens_source){set, shuffle, seed};
    *out = (acr_source){.size = sizeof *out, .user = source, .get = acr__tokens_get};
}
