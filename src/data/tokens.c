/* tokens.c: from a description to an open set of sequences. Probing and opening
 * are one path, so what a probe counted is what the opened set has. */
#include "data/tokens.h"
#include "data/cache.h"
#include "data/tokens_set.h"
#include "io/file.h"
#include <math.h>
#include <string.h>

/* A batch counts its rows in int32. */
enum { LONGEST = 1 << 24 };

/* -- the description ------------------------------------------------------ */
static acr_status check_desc(acr_context *ctx, const acr__tokens_desc *d)
{
    FAIL_IF(!d->format, ctx, ACR_E_CONFIG, "data: format is missing; safetensors or tokens");
    bool tensors = strcmp(d->format, "safetensors") == 0;
    FAIL_IF(!tensors && strcmp(d->format, "tokens") != 0, ctx, ACR_E_CONFIG,
            "data: format '%s' is not one of safetensors, tokens", d->format);
    FAIL_IF(!d->path, ctx, ACR_E_CONFIG, "data: format %s needs path", d->format);
    FAIL_IF(tensors && !d->input, ctx, ACR_E_CONFIG, "data: input is missing: the name of the tensor of ids");
    FAIL_IF(!tensors && (d->input || d->target), ctx, ACR_E_CONFIG,
            "data: input and target name tensors; format %s has none", d->format);
    FAIL_IF(!tensors && d->sequence_length == 0, ctx, ACR_E_CONFIG,
            "data: format %s needs sequence_length, the tokens of one sample at most", d->format);
    FAIL_IF(d->sequence_length < 0 || d->sequence_length > LONGEST, ctx, ACR_E_CONFIG,
            "data: sequence_length is %lld; 1 to %d are possible", (long long)d->sequence_length, LONGEST);
    FAIL_IF(d->packing && strcmp(d->packing, "stream") != 0 && strcmp(d->packing, "whole") != 0, ctx, ACR_E_CONFIG,
            "data: packing '%s' is not one of stream, whole", d->packing);
    FAIL_IF(!(d->validation_split >= 0 && d->validation_split < 1), ctx, ACR_E_CONFIG,
            "data: validation_split is %g; it is a share, from 0 to below 1", d->validation_split);
    FAIL_IF(d->validation && d->validation_split == 0, ctx, ACR_E_CONFIG,
            "data: without validation_split there is no part for validation");
    return ACR_OK;
}

/* -- probing and opening -------------------------------------------------- */
static void measure(acr__tokens *s)
{
    const acr__corpus *c = &s->corpus;
    acr__tokens_info *info = &s->info;
    info->held_bytes = sizeof *s + 2 * ACR_TABLE_HELD + 4096;
    /* Either the buffer of a check, or the sequences being packed. A safetensors
     * header is parsed into a tree of about sixteen times its length. */
    size_t packing = ACR_PACK_OPEN * (ACR_PACK_PIECES + 1) * sizeof(acr__piece);
    size_t header = (size_t)acr__max(c->ids.header_bytes, c->labels.header_bytes);
    info->open_bytes = info->held_bytes + packing + 2 * ACR_IO_BYTES + 16 * header;
}

static acr_status make_sequences(acr__tokens *s, const acr__tokens_desc *d, bool whole)
{
    const acr__corpus *c = &s->corpus;
    int64_t length = d->sequence_length > 0 ? d->sequence_length : c->row;
    FAIL_IF(length > LONGEST, s->ctx, ACR_E_DATA, "%s: sequences of %lld tokens; at most %d are possible", c->place,
            (long long)length, LONGEST);
    FAIL_IF(c->tokens == 0, s->ctx, ACR_E_DATA, "%s: there is no token in it", c->place);
    s->info.sequence_length = length;
    s->info.vocabulary = c->vocabulary;
    s->whole = d->packing && strcmp(d->packing, "whole") == 0;
    TRY(acr__tokens_pack(s, d, whole));
    FAIL_IF(s->info.targets == 0, s->ctx, ACR_E_DATA, "%s: there is nothing to learn in %s: no token has one after it "
            "that is to be learned", c->place, d->validation ? "its part for validation" : "it");
    TRY(acr__table_end(&s->pieces));
    return acr__table_end(&s->firsts);
}

static acr_status open_set(acr__tokens *s, const acr__tokens_desc *d, bool whole)
{
    TRY(check_desc(s->ctx, d));
    TRY(acr__cache_folder(s->ctx, d->cache, &s->cache));
    acr__table_begin(&s->pieces, s->ctx, sizeof(acr__piece), s->cache);
    acr__table_begin(&s->firsts, s->ctx, sizeof(int64_t), s->cache);
    TRY(acr__corpus_open(&s->corpus, s->ctx, d, whole));
    measure(s);
    return make_sequences(s, d, whole);
}

static acr_status new_set(acr__tokens **out, acr_context *ctx, const acr__tokens_desc *desc, bool whole)
{
    acr__tokens *s = acr__alloc(ctx, sizeof *s);
    if (!s)
        return ACR_E_NO_MEMORY;
    s->ctx = ctx;
    acr_status status = open_set(s, desc, whole);
    if (status == ACR_OK)
        *out = s;
    else
        acr__tokens_close(s);
    return status;
}

acr_status acr__tokens_probe(acr_context *ctx, const acr__tokens_desc *desc, acr__tokens_info *out)
{
    acr__tokens *s;
    TRY(new_set(&s, ctx, desc, false));
    *out = s->info;
    acr__tokens_close(s);
    return ACR_OK;
}

acr_status acr__tokens_open(acr__tokens **out, acr_context *ctx, const acr__tokens_desc *desc)
{
    return new_set(out, ctx, desc, true);
}

void acr__tokens_close(acr__tokens *set)
{
    if (!set)
        return;
    acr__table_close(&set->pieces);
    acr__table_close(&set->firsts);
    acr__corpus_close(&set->corpus);
    acr__free(set->ctx, set->cache);
    acr__free(set->ctx, set);
}

const acr__tokens_info *acr__tokens_info_of(const acr__tokens *set) { return &set->info; }
