/* hf.h: folders as transformers' from_pretrained reads and save_pretrained writes
 * them: config.json, model.safetensors (or shards with an index), tokenizer files.
 *
 * Reading. What would change a model's numbers and is not implemented is refused
 * by name and value; what does not is passed over. A file that is wrong is
 * ACR_E_DATA. */
#ifndef ACR_IO_HF_H
#define ACR_IO_HF_H

#include "base/base.h"
#include "model/lm.h"

#include <accrue/accrue_io.h>
#include <jansson.h>

/* ---- config.json ----------------------------------------------------------------
 * The object in a file's place `where`, as in "runs/a/accrue.json: model". */
acr_status acr__lm_from_json(acr_context *ctx, const char *where, const json_t *object, acr__lm *out);
/* Reads back as the same acr__lm. Free with json_decref. */
acr_status acr__lm_to_json(acr_context *ctx, const acr__lm *lm, json_t **out);
/* FOLDER/config.json */
acr_status acr__lm_config_read(acr_context *ctx, const char *folder, acr__lm *out);
acr_status acr__lm_config_write(acr_context *ctx, const char *folder, const acr__lm *lm, acr_st_dtype dtype);

/* ---- weights -------------------------------------------------------------------- */
/* FOLDER/model.safetensors, or the shards of FOLDER/model.safetensors.index.json,
 * into the parameters of a graph by acr__lm_build; F32, BF16, F16, F64. Every
 * tensor is there once, with its shape, and no other; names with and without the
 * model's own prefix are taken. Buffers that old files hold are passed over; so is
 * the head of a tied model if it equals the embedding. As acr_model_load it
 * compares and reads everything before it changes a parameter. */
acr_status acr__lm_weights_load(acr_trainer *t, const char *folder);
/* The graph's parameters, which `from` holds under their names, as `dtype` (F32,
 * BF16 or F16) to `path`. A finite number beyond the dtype is refused, naming it.
 * Memory does not grow with the tensors. */
acr_status acr__lm_weights_export(const acr_graph *g, acr_st *from, const char *path, acr_st_dtype dtype);

/* What an index says: which file holds a tensor. Names in byte order; files likewise,
 * each a plain name of a file beside the index. The texts belong to root. */
typedef struct acr__hf_index {
    int count, file_count;
    const char **names; /* [count] */
    int *file;          /* [count]: number of its file */
    const char **files; /* [file_count] */
    json_t *root;
} acr__hf_index;
/* Takes root, also when it fails. */
acr_status acr__hf_index_read(acr_context *ctx, const char *path, json_t *root, acr__hf_index *out);
/* The tensor's place among the names; -1: the index does not name it. */
int acr__hf_index_find(const acr__hf_index *index, const char *name);
void acr__hf_index_free(acr_context *ctx, acr__hf_index *index);

#endif
