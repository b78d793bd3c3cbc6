/* model.c: parameters to and from a safetensors file, by name.
 *
 * Invariant: a load that refuses has changed nothing. Names, shapes and dtypes
 * are compared, then every element is read once, and only then copied. It knows
 * nothing of architectures: what a name means is its caller's business. */
#include "io/file.h"
#include "io/hash.h"
#include "io/st.h"

#include <stdio.h>
#include <string.h>

enum { ROOM = ACR_IO_BYTES / (int)sizeof(float), SHAPE_TEXT = 128 };

/* One save or load. */
typedef struct job {
    acr_trainer *t;
    const acr_graph *g;
    acr_context *ctx;
    acr_model_opts opts;
    float *buffer; /* [ROOM] */
    char *name;    /* of the parameter at hand, in the file */
    size_t name_bytes;
} job;

static acr_status job_begin(job *j, acr_trainer *t, const acr_model_opts *opts)
{
    *j = (job){.t = t, .g = acr_trainer_graph(t), .opts = ACR_MODEL_OPTS_INIT};
    j->ctx = acr_graph_context(j->g);
    acr__opts_take(&j->opts, opts);
    if (!j->opts.prefix)
        j->opts.prefix = "";
    size_t longest = 0;
    for (int i = 0; i < acr_param_count(j->g); i++) {
        size_t n = strlen(j->opts.names ? j->opts.names[i] : acr_param_name(j->g, i));
        longest = n > longest ? n : longest;
    }
    j->name_bytes = strlen(j->opts.prefix) + longest + 1;
    j->name = acr__alloc(j->ctx, j->name_bytes);
    j->buffer = acr__alloc(j->ctx, ACR_IO_BYTES);
    return j->name && j->buffer ? ACR_OK : ACR_E_NO_MEMORY;
}

static void job_end(job *j)
{
    acr__free(j->ctx, j->buffer);
    acr__free(j->ctx, j->name);
}

static const char *name_in_file(job *j, int param)
{
    snprintf(j->name, j->name_bytes, "%s%s", j->opts.prefix,
             j->opts.names ? j->opts.names[param] : acr_param_name(j->g, param));
    return j->name;
}

/* ---- saving ------------------------------------------------------------------------ */

static acr_status declare(job *j, acr_st_writer *w)
{
    char numerics[16];
    snprintf(numerics, sizeof numerics, "%d", acr_numerics());
    TRY(acr_st_writer_metadata(w, "format", "pt")); /* what other readers ask for */
    TRY(acr_st_writer_metadata(w, "numerics", numerics));
    for (int i = 0; i < j->opts.metadata_count; i++)
        TRY(acr_st_writer_metadata(w, j->opts.metadata_keys[i], j->opts.metadata_values[i]));
    for (int i = 0; i < acr_param_count(j->g); i++) {
        int64_t shape[8];
        int ndim = acr_param_ndim(j->g, i);
        for (int k = 0; k < ndim; k++)
            shape[k] = acr_param_dim(j->g, i, k);
        TRY(acr_st_writer_tensor(w, name_in_file(j, i), ACR_ST_F32, ndim, shape));
    }
    return acr_st_writer_begin(w);
}

static acr_status write_all(job *j, acr_st_writer *w)
{
    TRY(declare(j, w));
    for (int place = 0, i; (i = acr_st_writer_at(w, place)) >= 0; place++) {
        int64_t elements = acr_param_elements(j->g, i);
        for (int64_t at = 0; at < elements; at += ROOM) {
            int64_t n = acr__min(ROOM, elements - at);
            TRY(acr_param_read(j->t, i, at, n, j->buffer));
            acr__canonical_nan(j->buffer, n);
            TRY(acr_st_writer_write(w, j->buffer, (size_t)n * sizeof(float)));
        }
    }
    return acr_st_writer_commit(w);
}

acr_status acr_model_save(acr_trainer *t, const char *path, const acr_model_opts *opts)
{
    job j;
    acr_st_writer *w = NULL;
    acr_status status = job_begin(&j, t, opts);
    if (status == ACR_OK)
        status = acr_st_writer_create(&w, j.ctx, path);
    if (status == ACR_OK)
        status = write_all(&j, w);
    acr_st_writer_destroy(w);
    job_end(&j);
    return status;
}

/* ---- loading ----------------------------------------------------------------------- */

static const char *shape_text(int ndim, const int64_t *shape, char out[SHAPE_TEXT])
{
    int n = snprintf(out, SHAPE_TEXT, "[");
    for (int i = 0; i < ndim && n < SHAPE_TEXT - 32; i++)
        n += snprintf(out + n, SHAPE_TEXT - (size_t)n, "%s%lld", i ? ", " : "", (long long)shape[i]);
    snprintf(out + n, SHAPE_TEXT - (size_t)n, "]");
    return out;
}

acr_status acr__st_fits(const acr_st *st, int tensor, const acr_graph *g, int param)
{
    char have[SHAPE_TEXT], need[SHAPE_TEXT];
    int64_t shape[8];
    acr_context *ctx = acr__st_context(st);
    acr_st_tensor t;
    TRY(acr_st_get(st, tensor, &t));
    FAIL_IF(t.dtype != ACR_ST_F32 && t.dtype != ACR_ST_F16 && t.dtype != ACR_ST_BF16 && t.dtype != ACR_ST_F64, ctx,
            ACR_E_DATA, "%s: tensor %s has dtype %s; weights are F32, F16, BF16 or F64", acr_st_path(st), t.name,
            acr_st_dtype_name(t.dtype));
    int ndim = acr_param_ndim(g, param);
    bool same = ndim == t.ndim;
    for (int k = 0; k < ndim; k++) {
        shape[k] = acr_param_dim(g, param, k);
        same = same && t.shape[k] == shape[k];
    }
    FAIL_IF(!same, ctx, ACR_E_DATA, "%s: tensor %s has shape %s; the model's parameter has %s", acr_st_path(st), t.name,
            shape_text(t.ndim, t.shape, have), shape_text(ndim, shape, need));
    return ACR_OK;
}

/* Fills tensors[param], the number of each parameter's tensor. `used` has a byte
 * for each tensor of the file, all 0. */
static acr_status match(job *j, const acr_st *st, int *tensors, char *used)
{
    int missing = 0, extra = -1, extras = 0, params = acr_param_count(j->g);
    for (int i = params - 1; i >= 0; i--) {
        tensors[i] = acr_st_find(st, name_in_file(j, i));
        missing += tensors[i] < 0;
        if (tensors[i] >= 0)
            used[tensors[i]] = 1;
    }
    acr_st_tensor t;
    for (int i = acr_st_count(st) - 1; i >= 0 && !j->opts.allow_extra; i--) {
        TRY(acr_st_get(st, i, &t));
        if (!used[i] && !strncmp(t.name, j->opts.prefix, strlen(j->opts.prefix))) {
            extra = i;
            extras++;
        }
    }
    for (int i = 0; i < params; i++) {
        if (tensors[i] >= 0)
            continue;
        const char *hint = "";
        if (extra >= 0) {
            TRY(acr_st_get(st, extra, &t));
            hint = t.name;
        }
        return acr__fail(j->ctx, ACR_E_DATA, "%s: lacks %d of the model's %d parameters, the first of them %s%s%s",
                         acr_st_path(st), missing, params, name_in_file(j, i),
                         extra >= 0 ? "; it has others, such as " : "", hint);
    }
    if (extra >= 0) {
        TRY(acr_st_get(st, extra, &t));
        return acr__fail(j->ctx, ACR_E_DATA, "%s: has %d tensors that the model lacks, the first of them %s",
                         acr_st_path(st), extras, t.name);
    }
    for (int i = 0; i < params; i++)
        TRY(acr__st_fits(st, tensors[i], j->g, i));
    return ACR_OK;
}

static acr_status read_all(job *j, acr_st *st, const int *tensors, bool keep, bool *changed)
{
    for (int i = 0; i < acr_param_count(j->g); i++) {
        int64_t elements = acr_param_elements(j->g, i);
        for (int64_t at = 0; at < elements; at += ROOM) {
            int64_t n = acr__min(ROOM, elements - at);
            TRY(acr_st_read_f32(st, tensors[i], at, n, j->buffer));
            if (!keep)
                continue;
            TRY(acr_param_write(j->t, i, at, n, j->buffer));
            *changed = true;
        }
    }
    return ACR_OK;
}

static acr_status load(job *j, acr_st *st)
{
    int *tensors = acr__alloc(j->ctx, sizeof *tensors * ((size_t)acr_param_count(j->g) + 1));
    char *used = acr__alloc(j->ctx, (size_t)acr_st_count(st) + 1);
    bool changed = false;
    acr_status status = tensors && used ? match(j, st, tensors, used) : ACR_E_NO_MEMORY;
    if (status == ACR_OK)
        status = read_all(j, st, tensors, false, &changed);
    if (status == ACR_OK)
        status = read_all(j, st, tensors, true, &changed);
    if (status != ACR_OK && changed)
        acr__fail_more(j->ctx, status, "; some parameters are loaded already, the others not");
    acr__free(j->ctx, tensors);
    acr__free(j->ctx, used);
    return status;
}

acr_status acr_model_load(acr_trainer *t, const char *path, const acr_model_opts *opts)
{
    job j;
    acr_st *st = NULL;
    acr_status status = job_begin(&j, t, opts);
    if (status == ACR_OK)
        status = acr_st_open(&st, j.ctx, path);
    if (status == ACR_OK)
        status = load(&j, st);
    acr_st_close(st);
    job_end(&j);
    return status;
}
