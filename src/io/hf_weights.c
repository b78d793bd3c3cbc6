/* hf_weights.c: a language model's weights from one file or from shards, and out
 * again.
 *
 * Invariant: a load that refuses has changed no parameter. Which tensor is which
 * parameter is settled first; then all are read once, and only then copied. */
#include "base/context.h"
#include "io/file.h"
#include "io/hash.h"
#include "io/hf.h"
#include "io/json.h"
#include "io/st.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_BYTES = 64 << 20, ROOM = ACR_IO_BYTES / (int)sizeof(float), NAME_BYTES = 512 };

typedef struct place {
    int file, tensor; /* file -1: not found yet */
} place;

typedef struct job {
    acr_trainer *t;
    const acr_graph *g;
    acr_context *ctx;
    const char *folder;
    int file_count;
    acr_st **files;
    place *at;     /* [acr_param_count] */
    place head;    /* of a tied model */
    float *buffer; /* [ROOM] */
} job;

/* ---- files ------------------------------------------------------------------------ */

static acr_status open_one(job *j, const char *name)
{
    char *path = acr__path_join(j->ctx, j->folder, name);
    if (!path)
        return ACR_E_NO_MEMORY;
    acr_status status = acr_st_open(&j->files[j->file_count], j->ctx, path);
    if (status == ACR_OK)
        j->file_count++;
    acr__free(j->ctx, path);
    return status;
}

static acr_status room_for(job *j, int files)
{
    j->files = acr__alloc(j->ctx, (size_t)files * sizeof(acr_st *));
    return j->files ? ACR_OK : ACR_E_NO_MEMORY;
}

/* What the index says and what the files hold must be the same. */
static acr_status compare_index(job *j, const char *path, const acr__hf_index *index)
{
    char shown[ACR__JSON_SHOWN];
    for (int i = 0; i < index->count; i++)
        FAIL_IF(acr_st_find(j->files[index->file[i]], index->names[i]) < 0, j->ctx, ACR_E_DATA,
                "%s: tensor %s is to be in %s, which lacks it", path, acr__text_shown(index->names[i], shown),
                index->files[index->file[i]]);
    for (int f = 0; f < j->file_count; f++)
        for (int i = 0; i < acr_st_count(j->files[f]); i++) {
            acr_st_tensor t;
            TRY(acr_st_get(j->files[f], i, &t));
            int at = acr__hf_index_find(index, t.name);
            FAIL_IF(at < 0, j->ctx, ACR_E_DATA, "%s: holds tensor %s, which the index does not name",
                    acr_st_path(j->files[f]), acr__text_shown(t.name, shown));
            FAIL_IF(index->file[at] != f, j->ctx, ACR_E_DATA,
                    "%s: holds tensor %s, which the index puts into %s", acr_st_path(j->files[f]),
                    acr__text_shown(t.name, shown), index->files[index->file[at]]);
        }
    return ACR_OK;
}

static acr_status open_shards(job *j, const char *path)
{
    json_t *root;
    acr__hf_index index;
    TRY(acr__json_load(j->ctx, path, INDEX_BYTES, &root));
    TRY(acr__hf_index_read(j->ctx, path, root, &index));
    acr_status status = room_for(j, index.file_count);
    for (int f = 0; f < index.file_count && status == ACR_OK; f++)
        status = open_one(j, index.files[f]);
    if (status == ACR_OK)
        status = compare_index(j, path, &index);
    acr__hf_index_free(j->ctx, &index);
    return status;
}

/* One file goes before shards, as there. */
static acr_status open_files(job *j)
{
    static const char one[] = "model.safetensors", many[] = "model.safetensors.index.json";
    char path[4400];
    int n = snprintf(path, sizeof path, "%s/%s", j->folder, one);
    FAIL_IF(n < 0 || n + 64 > (int)sizeof path, j->ctx, ACR_E_DATA, "%.60s...: the path is too long", j->folder);
    if (acr__file_kind(path) == 1) {
        TRY(room_for(j, 1));
        return open_one(j, one);
    }
    snprintf(path, sizeof path, "%s/%s", j->folder, many);
    if (acr__file_kind(path) == 1)
        return open_shards(j, path);
    snprintf(path, sizeof path, "%s/pytorch_model.bin", j->folder);
    return acr__fail(j->ctx, ACR_E_DATA, "%s: has neither %s nor %s%s", j->folder, one, many,
                     acr__file_kind(path) == 1 ? "; pytorch_model.bin is not read: save it again with transformers' "
                                                 "save_pretrained, which writes safetensors" : "");
}

/* ---- which tensor is which parameter ------------------------------------------------ */

static int param_of(const acr_graph *g, const char *name)
{
    static const char *const prefixes[] = {"", "transformer.", "model."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        char full[NAME_BYTES];
        int n = snprintf(full, sizeof full, "%s%s", prefixes[i], name);
        int param = n > 0 && n < NAME_BYTES ? acr_param_index(g, full) : -1;
        if (param >= 0)
            return param;
    }
    return -1;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

/* Buffers that older versions saved: masks and frequencies, which follow from the
 * configuration. */
static bool is_buffer(const char *name)
{
    return ends_with(name, ".attn.bias") || ends_with(name, ".attn.masked_bias") ||
           ends_with(name, ".rotary_emb.inv_freq");
}

static acr_status take(job *j, int file, int tensor, int *extras, const char **extra)
{
    acr_st_tensor t;
    TRY(acr_st_get(j->files[file], tensor, &t));
    int param = param_of(j->g, t.name);
    if (param >= 0) {
        FAIL_IF(j->at[param].file >= 0, j->ctx, ACR_E_DATA, "%s: tensor %s is there twice, with and without its prefix",
                acr_st_path(j->files[file]), acr_param_name(j->g, param));
        j->at[param] = (place){file, tensor};
    } else if (!strcmp(t.name, "lm_head.weight")) {
        j->head = (place){file, tensor};
    } else if (!is_buffer(t.name)) {
        *extra = *extras ? *extra : t.name;
        ++*extras;
    }
    return ACR_OK;
}

/* A head beside a tied embedding: the embedding's other name if that is not there,
 * else it must equal it. */
static acr_status settle_head(job *j)
{
    int table = param_of(j->g, "wte.weight");
    if (table < 0)
        table = param_of(j->g, "embed_tokens.weight");
    if (j->head.file < 0 || table < 0)
        return ACR_OK;
    if (j->at[table].file < 0) {
        j->at[table] = j->head;
        return ACR_OK;
    }
    acr_st *a = j->files[j->at[table].file], *b = j->files[j->head.file];
    TRY(acr__st_fits(a, j->at[table].tensor, j->g, table));
    TRY(acr__st_fits(b, j->head.tensor, j->g, table));
    int64_t elements = acr_param_elements(j->g, table), half = ROOM / 2;
    for (int64_t at = 0; at < elements; at += half) {
        int64_t n = acr__min(half, elements - at);
        TRY(acr_st_read_f32(a, j->at[table].tensor, at, n, j->buffer));
        TRY(acr_st_read_f32(b, j->head.tensor, at, n, j->buffer + half));
        FAIL_IF(memcmp(j->buffer, j->buffer + half, (size_t)n * sizeof(float)) != 0, j->ctx, ACR_E_DATA,
                "%s: lm_head.weight differs from %s, but the configuration ties them; tie_word_embeddings: false keeps "
                "both", acr_st_path(b), acr_param_name(j->g, table));
    }
    acr__log(j->ctx, "%s: lm_head.weight equals %s, to which the configuration ties it: passed over", acr_st_path(b),
             acr_param_name(j->g, table));
    return ACR_OK;
}

static acr_status match(job *j)
{
    int missing = 0, extras = 0, params = acr_param_count(j->g);
    const char *extra = "";
    char shown[ACR__JSON_SHOWN];
    for (int i = 0; i < params; i++)
        j->at[i].file = -1;
    for (int f = 0; f < j->file_count; f++)
        for (int i = 0; i < acr_st_count(j->files[f]); i++)
            TRY(take(j, f, i, &extras, &extra));
    TRY(settle_head(j));
    for (int i = 0; i < params; i++)
        missing += j->at[i].file < 0;
    for (int i = 0; i < params; i++)
        FAIL_IF(j->at[i].file < 0, j->ctx, ACR_E_DATA,
                "%s: lacks %d of the model's %d parameters, the first of them %s%s%s", j->folder, missing, params,
                acr_param_name(j->g, i), extras ? "; it has others, such as " : "", acr__text_shown(extra, shown));
    FAIL_IF(extras, j->ctx, ACR_E_DATA, "%s: has %d tensors that the model lacks, the first of them %s", j->folder,
            extras, acr__text_shown(extra, shown));
    for (int i = 0; i < params; i++)
        TRY(acr__st_fits(j->files[j->at[i].file], j->at[i].tensor, j->g, i));
    return ACR_OK;
}

/* ---- loading ------------------------------------------------------------------------- */

static acr_status read_all(job *j, bool keep, bool *changed)
{
    for (int i = 0; i < acr_param_count(j->g); i++) {
        int64_t elements = acr_param_elements(j->g, i);
        for (int64_t at = 0; at < elements; at += ROOM) {
            int64_t n = acr__min(ROOM, elements - at);
            TRY(acr_st_read_f32(j->files[j->at[i].file], j->at[i].tensor, at, n, j->buffer));
            if (!keep)
                continue;
            TRY(acr_param_write(j->t, i, at, n, j->buffer));
            *changed = true;
        }
    }
    return ACR_OK;
}

static acr_status load(job *j)
{
    bool changed = false;
    TRY(open_files(j));
    TRY(match(j));
    TRY(read_all(j, false, &changed));
    acr_status status = read_all(j, true, &changed);
    if (status != ACR_OK && changed)
        acr__fail_more(j->ctx, status, "; some parameters are loaded already, the others not");
    return status;
}

acr_status acr__lm_weights_load(acr_trainer *t, const char *folder)
{
    job j = {.t = t, .g = acr_trainer_graph(t), .folder = folder, .head = {-1, -1}};
    j.ctx = acr_graph_context(j.g);
    j.at = acr__alloc(j.ctx, ((size_t)acr_param_count(j.g) + 1) * sizeof *j.at);
    j.buffer = acr__alloc(j.ctx, ACR_IO_BYTES);
    acr_status status = j.at && j.buffer ? load(&j) : ACR_E_NO_MEMORY;
    for (int f = 0; f < j.file_count; f++)
        acr_st_close(j.files[f]);
    acr__free(j.ctx, j.files);
    acr__free(j.ctx, j.at);
    acr__free(j.ctx, j.buffer);
    return status;
}

/* ---- exporting ------------------------------------------------------------------------ */

/* One export; tensors[param] is its number in `from`. */
typedef struct export {
    acr_context *ctx;
    const acr_graph *g;
    acr_st *from;
    acr_st_dtype dtype;
    int *tensors;
    float *buffer;    /* [ROOM] */
    uint16_t *narrow; /* [ROOM] */
} export;

static acr_status declare(export *e, acr_st_writer *w)
{
    TRY(acr_st_writer_metadata(w, "format", "pt"));
    int params = acr_param_count(e->g);
    for (int i = 0; i < params; i++) {
        const char *name = acr_param_name(e->g, i);
        int64_t shape[8];
        e->tensors[i] = acr_st_find(e->from, name);
        FAIL_IF(e->tensors[i] < 0, e->ctx, ACR_E_DATA, "%s: lacks the model's parameter %s", acr_st_path(e->from), name);
        TRY(acr__st_fits(e->from, e->tensors[i], e->g, i));
        for (int k = 0; k < acr_param_ndim(e->g, i); k++)
            shape[k] = acr_param_dim(e->g, i, k);
        TRY(acr_st_writer_tensor(w, name, e->dtype, acr_param_ndim(e->g, i), shape));
    }
    FAIL_IF(acr_st_count(e->from) != params, e->ctx, ACR_E_DATA, "%s: has %d tensors, the model %d parameters",
            acr_st_path(e->from), acr_st_count(e->from), params);
    return acr_st_writer_begin(w);
}

static acr_status write_piece(export *e, acr_st_writer *w, int param, int64_t at, int64_t n)
{
    TRY(acr_st_read_f32(e->from, e->tensors[param], at, n, e->buffer));
    acr__canonical_nan(e->buffer, n);
    if (e->dtype == ACR_ST_F32)
        return acr_st_writer_write(w, e->buffer, (size_t)n * sizeof *e->buffer);
    int64_t done = acr__st_narrow(e->dtype, e->buffer, n, e->narrow);
    FAIL_IF(done < n, e->ctx, ACR_E_DATA, "%s: tensor %s: element %lld is %.9g, which does not fit %s",
            acr_st_path(e->from), acr_param_name(e->g, param), (long long)(at + done), (double)e->buffer[done],
            acr_st_dtype_name(e->dtype));
    return acr_st_writer_write(w, e->narrow, (size_t)n * sizeof *e->narrow);
}

static acr_status write_all(export *e, acr_st_writer *w)
{
    TRY(declare(e, w));
    for (int k = 0, i; (i = acr_st_writer_at(w, k)) >= 0; k++)
        for (int64_t at = 0, n, all = acr_param_elements(e->g, i); at < all; at += n) {
            n = acr__min(ROOM, all - at);
            TRY(write_piece(e, w, i, at, n));
        }
    return acr_st_writer_commit(w);
}

acr_status acr__lm_weights_export(const acr_graph *g, acr_st *from, const char *path, acr_st_dtype dtype)
{
    export e = {.ctx = acr_graph_context(g), .g = g, .from = from, .dtype = dtype};
    acr_st_writer *w = NULL;
    e.tensors = acr__alloc(e.ctx, ((size_t)acr_param_count(g) + 1) * sizeof *e.tensors);
    e.buffer = acr__alloc(e.ctx, ACR_IO_BYTES);
    e.narrow = acr__alloc(e.ctx, ROOM * sizeof *e.narrow);
    acr_status status = e.tensors && e.buffer && e.narrow ? ACR_OK : ACR_E_NO_MEMORY;
    if (status == ACR_OK)
        status = acr_st_writer_create(&w, e.ctx, path);
    if (status == ACR_OK)
        status = write_all(&e, w);
    acr_st_writer_destroy(w);
    acr__free(e.ctx, e.tensors);
    acr__free(e.ctx, e.buffer);
    acr__free(e.ctx, e.narrow);
    return status;
}
