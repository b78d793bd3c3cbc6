/* lm_files.h: for tests of language models' files: a tiny model with a trainer for
 * prediction, and folders of its weights, whose numbers are made from a seed. */
#ifndef LM_FILES_H
#define LM_FILES_H

#include "net.h"

#include "base/context.h"
#include "graph/graph.h"
#include "io/hf.h"
#include "io/st.h"
#include <math.h>

static acr_context *ctx;
static acr_graph *g;
static acr_plan *plan;
static acr_trainer *t;
static char told[ACR_SENTENCE]; /* what was logged last */

static inline void keep_log(void *user, const char *sentence)
{
    (void)user;
    snprintf(told, sizeof told, "%s", sentence);
}

static inline void open_model(acr__lm_family family, bool tied)
{
    acr__lm lm;
    int64_t one = 1;
    acr__lm_defaults(&lm, family);
    lm.vocab = 11;
    lm.width = lm.inner = 8;
    lm.layers = lm.heads = lm.kv_heads = 2;
    lm.head_dim = 4;
    lm.positions = 6;
    lm.tied = tied;
    g = acr_graph_create(ctx, NULL);
    acr_domain token = acr_domain_create(g, "token", 6);
    acr__lm_io io = {.ids = acr_input_in(g, token, "ids", ACR_I32, 1, &one)};
    io.position = acr_input_in(g, token, "position", ACR_I32, 1, &one);
    assert_int_equal(acr__lm_build(g, &lm, &io), ACR_OK);
    acr_output(g, "logits", acr_linear_shared(g, io.hidden, io.head));
    acr_plan_opts opts = ACR_PLAN_OPTS_INIT;
    opts.optimizer = (acr_optimizer)0;
    assert_int_equal(acr_graph_finish(g), ACR_OK);
    assert_int_equal(acr_plan_create(&plan, g, &opts), ACR_OK);
    assert_int_equal(acr_trainer_create(&t, plan, NULL), ACR_OK);
}

static inline void close_model(void)
{
    acr_trainer_destroy(t);
    acr_plan_destroy(plan);
    acr_graph_destroy(g);
}

/* ---- files made here ---------------------------------------------------------------- */

/* A tensor: a parameter's shape under a name, its elements from a seed; every one
 * of them fits F16 and BF16. */
typedef struct item {
    const char *name;
    const char *shape_of; /* a parameter */
    uint32_t seed;
} item;

static inline float number_of(uint32_t seed, int64_t i) { return roundf(net_number(seed, i) * 64) / 64; }

static inline void write_items(const char *file, acr_st_dtype dtype, int count, const item *items)
{
    acr_st_writer *w;
    assert_int_equal(acr_st_writer_create(&w, ctx, in_scratch(file)), ACR_OK);
    for (int i = 0; i < count; i++) {
        int64_t shape[4];
        int p = acr_param_index(g, items[i].shape_of);
        for (int k = 0; k < acr_param_ndim(g, p); k++)
            shape[k] = acr_param_dim(g, p, k);
        assert_int_equal(acr_st_writer_tensor(w, items[i].name, dtype, acr_param_ndim(g, p), shape), ACR_OK);
    }
    assert_int_equal(acr_st_writer_begin(w), ACR_OK);
    for (int place = 0, i; (i = acr_st_writer_at(w, place)) >= 0; place++)
        for (int64_t k = 0; k < acr_param_elements(g, acr_param_index(g, items[i].shape_of)); k++) {
            float v = number_of(items[i].seed, k);
            double d = (double)v;
            uint16_t h;
            assert_int_equal(acr__st_narrow(dtype, &v, 1, &h), 1);
            const void *bytes = dtype == ACR_ST_F32 ? (void *)&v : dtype == ACR_ST_F64 ? (void *)&d : (void *)&h;
            assert_int_equal(acr_st_writer_write(w, bytes, acr_st_dtype_bytes(dtype)), ACR_OK);
        }
    assert_int_equal(acr_st_writer_commit(w), ACR_OK);
    acr_st_writer_destroy(w);
}

enum { MOST = 64 };
/* All parameters, without the first `cut` bytes of each name. */
static inline int all_items(item out[MOST], size_t cut)
{
    int n = acr_param_count(g);
    for (int i = 0; i < n; i++)
        out[i] = (item){acr_param_name(g, i) + cut, acr_param_name(g, i), (uint32_t)i + 7};
    return n;
}

static inline void forget(void)
{
    for (int p = 0; p < acr_param_count(g); p++)
        for (int64_t k = 0; k < acr_param_elements(g, p); k++) {
            float v = -9;
            assert_int_equal(acr_param_write(t, p, k, 1, &v), ACR_OK);
        }
}

/* Whether every parameter holds its seed's numbers, or is as forget left it. */
static inline bool holds(bool loaded)
{
    for (int p = 0; p < acr_param_count(g); p++)
        for (int64_t k = 0; k < acr_param_elements(g, p); k++) {
            float v;
            assert_int_equal(acr_param_read(t, p, k, 1, &v), ACR_OK);
            if (v != (loaded ? number_of((uint32_t)p + 7, k) : -9.0f))
                return false;
        }
    return true;
}

static inline void put_index(const char *text) { put_file(in_scratch("model.safetensors.index.json"), text, strlen(text)); }

/* Parameters by turns in two files, and the index that says so. `other` is put into
 * the index in place of the last entry. */
static inline void write_shards(const char *other)
{
    item items[MOST], part[MOST] = {{0}};
    char index[8192] = "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {";
    int n = all_items(items, 0);
    for (int f = 0; f < 2; f++) {
        int k = 0;
        for (int i = f; i < n; i += 2)
            part[k++] = items[i];
        write_items(f ? "b.safetensors" : "a.safetensors", ACR_ST_BF16, k, part);
    }
    for (int i = 0; i < n - 1; i++)
        snprintf(index + strlen(index), 200, "\"%s\": \"%s.safetensors\", ", items[i].name, i % 2 ? "b" : "a");
    snprintf(index + strlen(index), 400, other ? "%s}}" : "\"%s\": \"%s.safetensors\"}}", other ? other : items[n - 1].name,
             (n - 1) % 2 ? "b" : "a");
    put_index(index);
}

#endif
