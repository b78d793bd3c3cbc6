/* tokens_corpus.c: the documents of a data set, from a token file or from the
 * rows of two tensors. It knows what a row's target is, and nothing of sequences.
 *
 * A token file's target is the next token of its document. A tensor's is the
 * label one place further on, as in Hugging Face's models: a label stands at the
 * place of the token it names. */
#include "data/tokens_set.h"

/* Ids and labels are int32. */
static const int64_t most_ids = INT64_C(1) << 31;

/* -- tensors -------------------------------------------------------------- */
static acr_status read_tensor(acr_context *ctx, const acr__array *a, int64_t first, int64_t n, int64_t *out)
{
    uint8_t raw[ACR_CORPUS_BLOCK * 8];
    int64_t bytes = (int64_t)acr_st_dtype_bytes(a->head.dtype);
    TRY(acr__array_read(ctx, a, first * bytes, raw, n * bytes));
    for (int64_t i = 0; i < n; i++)
        out[i] = acr__element_i64(a->head.dtype, a->head.big_endian, raw + i * bytes);
    return ACR_OK;
}

static acr_status open_tensor(acr__array *a, acr_context *ctx, const acr__tokens_desc *d, const char *name)
{
    TRY(acr__array_open(a, ctx, ACR_ARRAY_SAFETENSORS, d->path, name));
    FAIL_IF(!acr__dtype_is_integer(a->head.dtype), ctx, ACR_E_DATA, "%s: %s can't be tokens; integers are needed",
            a->place, acr_st_dtype_name(a->head.dtype));
    FAIL_IF(a->head.ndim != 2, ctx, ACR_E_DATA,
            "%s: %d dimensions; there must be two: the sequences, and the tokens of each", a->place, a->head.ndim);
    return ACR_OK;
}

/* Every id and every label: in range, and the largest. */
static acr_status check_tensor(acr__corpus *c, const acr__array *a, int64_t vocabulary, bool labels)
{
    int64_t most = vocabulary > 0 ? vocabulary : most_ids;
    for (int64_t at = 0; at < c->tokens; at += ACR_CORPUS_BLOCK) {
        int64_t v[ACR_CORPUS_BLOCK], n = acr__min(ACR_CORPUS_BLOCK, c->tokens - at);
        FAIL_IF(acr_cancelled(c->ctx), c->ctx, ACR_E_CANCELLED, "%s: cancelled while it was being checked", a->place);
        TRY(read_tensor(c->ctx, a, at, n, v));
        for (int64_t i = 0; i < n; i++) {
            if (labels && v[i] == ACR_IGNORED)
                continue;
            FAIL_IF(v[i] < 0 || v[i] >= most, c->ctx, ACR_E_DATA,
                    "%s: sequence %lld, place %lld is %lld; 0 to %lld are allowed%s", a->place,
                    (long long)((at + i) / c->row), (long long)((at + i) % c->row), (long long)v[i],
                    (long long)(most - 1), labels ? ", and -100 for a place to be ignored" : "");
            c->vocabulary = acr__max(c->vocabulary, v[i] + 1);
        }
    }
    return ACR_OK;
}

static acr_status open_tensors(acr__corpus *c, const acr__tokens_desc *d, bool whole)
{
    TRY(open_tensor(&c->ids, c->ctx, d, d->input));
    c->place = c->ids.place;
    c->documents = c->ids.head.dim[0];
    c->row = c->ids.head.dim[1];
    c->tokens = c->documents * c->row;
    if (d->target) {
        TRY(open_tensor(&c->labels, c->ctx, d, d->target));
        const int64_t *dim = c->labels.head.dim;
        FAIL_IF(dim[0] != c->documents || dim[1] != c->row, c->ctx, ACR_E_DATA,
                "%s is [%lld, %lld] and %s [%lld, %lld]: labels have the shape of the ids", c->labels.place,
                (long long)dim[0], (long long)dim[1], c->place, (long long)c->documents, (long long)c->row);
        c->labelled = c->masked = true;
    }
    if (whole) {
        TRY(check_tensor(c, &c->ids, d->vocabulary, false));
        if (c->labelled)
            TRY(check_tensor(c, &c->labels, d->vocabulary, true));
    }
    if (d->vocabulary > 0)
        c->vocabulary = d->vocabulary;
    return ACR_OK;
}

static acr_status read_rows(const acr__corpus *c, int64_t at, int64_t n, bool next, int32_t *ids, int32_t *targets)
{
    int64_t v[ACR_CORPUS_BLOCK];
    TRY(read_tensor(c->ctx, &c->ids, at, n, v));
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)v[i];
    int64_t labels = n - !next;
    TRY(read_tensor(c->ctx, c->labelled ? &c->labels : &c->ids, at + 1, labels, v));
    for (int64_t i = 0; i < labels; i++)
        targets[i] = (int32_t)v[i];
    return ACR_OK;
}

/* -- a token file --------------------------------------------------------- */
void acr__corpus_file(acr__corpus *c, acr_context *ctx, acr__token_file *file, const char *place)
{
    const acr__token_head *head = acr__token_file_head(file);
    *c = (acr__corpus){.ctx = ctx, .file = file, .place = place, .ids.fd = -1, .labels.fd = -1};
    c->tokens = acr__token_file_tokens(file);
    c->documents = acr__token_file_documents(file);
    c->masked = head->masked;
    c->vocabulary = head->vocabulary;
}

static acr_status read_tokens(const acr__corpus *c, int64_t at, int64_t n, bool next, int32_t *ids, int32_t *targets)
{
    int64_t have = n + next;
    TRY(acr__token_file_read(c->file, at, have, ids));
    for (int64_t i = 0; i + 1 < have; i++)
        targets[i] = ids[i + 1] & ACR_TOKEN_UNLEARNED ? ACR_IGNORED : ids[i + 1];
    for (int64_t i = 0; i < n; i++)
        ids[i] &= ~ACR_TOKEN_UNLEARNED;
    return ACR_OK;
}

/* -- either --------------------------------------------------------------- */
acr_status acr__corpus_tensors(acr__corpus *c, acr_context *ctx, const acr__tokens_desc *desc, bool whole)
{
    *c = (acr__corpus){.ctx = ctx, .ids.fd = -1, .labels.fd = -1};
    acr_status status = open_tensors(c, desc, whole);
    if (status != ACR_OK)
        acr__corpus_close(c);
    return status;
}

void acr__corpus_close(acr__corpus *c)
{
    if (!c->ctx)
        return;
    acr__token_file_close(c->file);
    acr__array_close(c->ctx, &c->ids);
    acr__array_close(c->ctx, &c->labels);
    *c = (acr__corpus){0};
}

acr_status acr__corpus_ends(const acr__corpus *c, int64_t first, int64_t n, int64_t *out)
{
    if (c->file)
        return acr__token_file_ends(c->file, first, n, out);
    for (int64_t i = 0; i < n; i++)
        out[i] = (first + i + 1) * c->row;
    return ACR_OK;
}

acr_status acr__corpus_read(const acr__corpus *c, int64_t at, int64_t n, bool next, int32_t *ids, int32_t *targets)
{
    if (!next)
        targets[n - 1] = ACR_IGNORED;
    return c->file ? read_tokens(c, at, n, next, ids, targets) : read_rows(c, at, n, next, ids, targets);
}
