/* token_sets.h: what the tests of sets of sequences share: token files with known
 * ids, opening that must succeed or be refused, and every row of a set. */
#ifndef ACR_TEST_TOKEN_SETS_H
#define ACR_TEST_TOKEN_SETS_H

#include "unit/data_files.h"
#include "counting.h"
#include "base/context.h"
#include "data/token_file.h"
#include "data/tokens.h"

#define HASH "0123456789abcdef0123456789abcdef"

static acr_context *ctx;
static counting memory;

static inline acr_status counted_context(void)
{
    acr_context_opts opts = counting_context(&memory, 0);
    return acr__context_new(&ctx, &opts);
}

/* Documents of the given lengths: token t of the file has id t % vocabulary. In
 * a masked file the tokens of which `unlearned` says so are marked. */
static inline void token_file_make(const char *path, int64_t vocabulary, int documents, const int *lengths,
                                   bool (*unlearned)(int64_t token))
{
    acr__token_head head = {vocabulary, -1, HASH, unlearned != NULL};
    acr__token_writer *w;
    assert_int_equal(acr__token_writer_open(&w, ctx, path, &head), ACR_OK);
    int64_t t = 0;
    for (int d = 0; d < documents; d++) {
        for (int i = 0; i < lengths[d]; i++, t++) {
            int32_t id = (int32_t)(t % vocabulary);
            id |= unlearned && unlearned(t) ? ACR_TOKEN_UNLEARNED : 0;
            assert_int_equal(acr__token_writer_add(w, &id, 1), ACR_OK);
        }
        assert_int_equal(acr__token_writer_document(w), ACR_OK);
    }
    assert_int_equal(acr__token_writer_commit(w), ACR_OK);
    acr__token_writer_close(w);
}

/* What a set holds, read whole. Sequence s has rows [offset[s], offset[s+1]). */
enum { MOST_ROWS = 300000 };
static struct {
    int64_t sequences;
    int32_t ids[MOST_ROWS], target[MOST_ROWS], position[MOST_ROWS], offset[MOST_ROWS + 1];
} got;

static inline acr__tokens *tokens_open(const acr__tokens_desc *d)
{
    acr__tokens *set = NULL;
    acr__tokens_info probed;
    if (acr__tokens_probe(ctx, d, &probed) != ACR_OK || acr__tokens_open(&set, ctx, d) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    const acr__tokens_info *info = acr__tokens_info_of(set);
    if (probed.sequences) {
        assert_int_equal(probed.sequences, info->sequences);
        assert_int_equal(probed.rows, info->rows);
        assert_true(probed.targets >= info->targets);
    }
    assert_int_equal(probed.sequence_length, info->sequence_length);
    return set;
}

static inline void tokens_read(const acr__tokens *set, bool shuffle, uint64_t seed, int64_t epoch)
{
    const acr__tokens_info *info = acr__tokens_info_of(set);
    acr__tokens_source from;
    acr_source source;
    acr__tokens_source_init(&from, set, shuffle, seed, &source);
    void *data[3] = {got.ids, got.target, got.position};
    static const int64_t row_bytes[3] = {4, 4, 4};
    int32_t *offsets[1] = {got.offset};
    acr_slots slots = {sizeof slots, data, row_bytes, offsets};
    assert_true(info->rows <= MOST_ROWS);
    if (source.get(source.user, epoch, 0, info->sequences, &slots) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    got.sequences = info->sequences;
    assert_int_equal(got.offset[0], 0);
    assert_int_equal(got.offset[got.sequences], info->rows);
    int64_t targets = 0;
    for (int64_t s = 0; s < got.sequences; s++) {
        assert_in_range(got.offset[s + 1] - got.offset[s], 1, info->sequence_length);
        for (int32_t r = got.offset[s]; r < got.offset[s + 1]; r++) {
            bool goes_on = r > got.offset[s] && got.position[r] == got.position[r - 1] + 1;
            assert_true(goes_on || got.position[r] == 0);
            assert_in_range(got.ids[r], 0, info->vocabulary - 1);
            assert_true(got.target[r] == -100 || (got.target[r] >= 0 && got.target[r] < info->vocabulary));
            targets += got.target[r] != -100;
        }
    }
    assert_int_equal(targets, info->targets);
}

/* Both refused, by probe too unless only open can know. */
static inline void tokens_refused(const acr__tokens_desc *d, acr_status status, const char *words)
{
    acr__tokens *set = NULL;
    assert_int_equal(acr__tokens_open(&set, ctx, d), status);
    assert_null(set);
    if (!strstr(acr_error(ctx), words))
        fail_msg("'%s' is not in: %s", words, acr_error(ctx));
    if (status == ACR_E_DATA && d->path && strncmp(acr_error(ctx), d->path, strlen(d->path)) != 0)
        fail_msg("the file does not come first in: %s", acr_error(ctx));
}

#endif
