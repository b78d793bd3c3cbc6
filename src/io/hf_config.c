/* hf_config.c: config.json to numbers and back.
 *
 * Invariant: what is read means here what it means to transformers, defaults
 * included, or is refused. Keys that change no number of the model (use_cache,
 * architectures, torch_dtype, summary_*, ...) are not looked at. */
#include "io/file.h"
#include "io/hf.h"
#include "io/json.h"

#include <stdlib.h>
#include <string.h>

enum { CONFIG_BYTES = 1 << 20 };

/* An object of the file; sentences begin with where, and name keys behind `in`. */
typedef struct reader {
    acr_context *ctx;
    const char *where, *in;
    const json_t *object;
} reader;

/* The key's value; NULL if it is missing or null. */
static const json_t *given(const reader *r, const char *key)
{
    const json_t *v = json_object_get(r->object, key);
    return json_is_null(v) ? NULL : v;
}

static bool is_null(const reader *r, const char *key) { return json_is_null(json_object_get(r->object, key)); }

static acr_status wrong(const reader *r, const char *key, const char *wanted)
{
    char shown[ACR__JSON_SHOWN];
    return acr__fail(r->ctx, ACR_E_DATA, "%s: %s%s is %s; %s is wanted", r->where, r->in, key,
                     acr__json_shown(json_object_get(r->object, key), shown), wanted);
}

static acr_status refuse(const reader *r, const char *key, const char *works)
{
    char shown[ACR__JSON_SHOWN];
    return acr__fail(r->ctx, ACR_E_DATA, "%s: %s%s is %s, which changes the model's numbers and is not implemented; %s",
                     r->where, r->in, key, acr__json_shown(json_object_get(r->object, key), shown), works);
}

/* Each leaves *out, the default, where the key is missing or null. */
static acr_status read_int(const reader *r, const char *key, int64_t *out)
{
    const json_t *v = given(r, key);
    if (v && !json_is_integer(v))
        return wrong(r, key, "a whole number");
    if (v)
        *out = json_integer_value(v);
    return ACR_OK;
}

static acr_status read_real(const reader *r, const char *key, double *out)
{
    const json_t *v = given(r, key);
    if (v && !json_is_number(v))
        return wrong(r, key, "a number");
    if (v)
        *out = json_number_value(v);
    return ACR_OK;
}

static acr_status read_bool(const reader *r, const char *key, bool *out)
{
    const json_t *v = given(r, key);
    if (v && !json_is_boolean(v))
        return wrong(r, key, "true or false");
    if (v)
        *out = json_is_true(v);
    return ACR_OK;
}

static acr_status read_activation(const reader *r, const char *key, int *out)
{
    const json_t *v = given(r, key);
    if (!v)
        return ACR_OK;
    int found = json_is_string(v) ? acr__lm_activation(json_string_value(v)) : -1;
    char works[256];
    snprintf(works, sizeof works, "%s work", acr__lm_activations);
    if (found < 0)
        return refuse(r, key, works);
    *out = found;
    return ACR_OK;
}

/* GPT-2 has its own names for what the others name as all do; both are read. */
static acr_status read_int_as(const reader *r, const char *key, const char *other, int64_t *out)
{
    int64_t a = *out, b;
    TRY(read_int(r, key, &a));
    b = a;
    TRY(read_int(r, other, &b));
    FAIL_IF(given(r, key) && a != b, r->ctx, ACR_E_DATA, "%s: %s is %lld, but %s, another name for it, is %lld", r->where,
            key, (long long)a, other, (long long)b);
    *out = b;
    return ACR_OK;
}

/* ---- ids --------------------------------------------------------------------------- */

static acr_status read_ids(const reader *r, acr__lm *lm)
{
    const json_t *eos = json_object_get(r->object, "eos_token_id");
    if (is_null(r, "bos_token_id"))
        lm->bos = -1;
    TRY(read_int(r, "bos_token_id", &lm->bos));
    TRY(read_int(r, "pad_token_id", &lm->pad));
    if (!eos)
        return ACR_OK;
    size_t count = json_is_array(eos) ? json_array_size(eos) : json_is_null(eos) ? 0 : 1;
    if (count > ACR__LM_ENDS)
        return wrong(r, "eos_token_id", "a token's number or a list of at most 16");
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_is_array(eos) ? json_array_get(eos, i) : eos;
        if (!json_is_integer(id))
            return wrong(r, "eos_token_id", "a token's number or a list of them");
        lm->eos[i] = json_integer_value(id);
    }
    lm->eos_count = (int)count;
    return ACR_OK;
}

/* ---- rotary positions ---------------------------------------------------------------- */

static acr_status need(const reader *r, const char *key, const char *type)
{
    FAIL_IF(!given(r, key), r->ctx, ACR_E_DATA, "%s: %s%s is missing, which %s needs", r->where, r->in, key, type);
    return ACR_OK;
}

static acr_status read_rope_scaling(const reader *top, const reader *r, acr__lm *lm)
{
    acr_rope_opts *rope = &lm->rope;
    const char *key = given(r, "rope_type") ? "rope_type" : "type";
    const json_t *type = given(r, key);
    const char *name = type ? json_string_value(type) : "default";
    const char *k;
    json_t *v;
    json_object_foreach((json_t *)r->object, k, v)
    {
        if (json_is_object(v))
            return refuse(r, k, "one set of parameters for all layers works");
    }
    if (name && !strcmp(name, "default"))
        return ACR_OK;
    if (!name || (strcmp(name, "linear") && strcmp(name, "llama3")))
        return refuse(r, key, "default, linear and llama3 work");
    rope->scaling = ACR_ROPE_LINEAR;
    TRY(need(r, "factor", name));
    TRY(read_real(r, "factor", &rope->factor));
    if (!strcmp(name, "linear"))
        return ACR_OK;
    rope->scaling = ACR_ROPE_LLAMA3;
    TRY(need(r, "low_freq_factor", name));
    TRY(need(r, "high_freq_factor", name));
    TRY(read_real(r, "low_freq_factor", &rope->low_freq_factor));
    TRY(read_real(r, "high_freq_factor", &rope->high_freq_factor));
    rope->original_positions = lm->positions;
    TRY(read_int(r, "original_max_position_embeddings", &rope->original_positions));
    return read_int(top, "original_max_position_embeddings", &rope->original_positions); /* it goes first there */
}

/* rope_theta and rope_scaling at the top, or all of it in rope_parameters. */
static acr_status read_rope(const reader *r, acr__lm *lm)
{
    double whole = 1, theta = 10000;
    const json_t *old = given(r, "rope_scaling"), *new = given(r, "rope_parameters");
    TRY(read_real(r, "rope_theta", &theta));
    lm->rope.theta = theta;
    if (old && !json_is_object(old))
        return wrong(r, "rope_scaling", "an object");
    if (new && !json_is_object(new))
        return wrong(r, "rope_parameters", "an object");
    old = json_object_size(old) ? old : NULL;
    new = json_object_size(new) ? new : NULL;
    FAIL_IF(old && new && !json_equal(old, new), r->ctx, ACR_E_DATA,
            "%s: rope_scaling and rope_parameters say different things; remove one", r->where);
    TRY(read_real(r, "partial_rotary_factor", &whole));
    if (whole != 1)
        return refuse(r, "partial_rotary_factor", "1 works");
    if (!old && !new)
        return ACR_OK;
    reader in = {r->ctx, r->where, old ? "rope_scaling." : "rope_parameters.", old ? old : new};
    TRY(read_real(&in, "partial_rotary_factor", &whole));
    if (whole != 1)
        return refuse(&in, "partial_rotary_factor", "1 works");
    TRY(read_real(&in, "rope_theta", &lm->rope.theta));
    FAIL_IF(given(r, "rope_theta") && lm->rope.theta != theta, r->ctx, ACR_E_DATA,
            "%s: rope_theta is %g, but %srope_theta is %g; remove one", r->where, theta, in.in, lm->rope.theta);
    return read_rope_scaling(r, &in, lm);
}

/* ---- windows of attention -------------------------------------------------------------- */

/* Qwen2's layers attend within a window from one on, or as layer_types lists. */
static acr_status read_layer_types(const reader *r, acr__lm *lm, bool *windowed)
{
    const json_t *types = given(r, "layer_types");
    if (!types)
        return ACR_OK;
    if (!json_is_array(types) || (int64_t)json_array_size(types) != lm->layers)
        return wrong(r, "layer_types", "a list with an entry for each layer");
    lm->window_from = lm->layers;
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        bool full = type && !strcmp(type, "full_attention");
        if (!type || (!full && strcmp(type, "sliding_attention")))
            return refuse(r, "layer_types", "full_attention and, after it, sliding_attention work");
        if (full && lm->window_from < lm->layers)
            return refuse(r, "layer_types", "full_attention and, after it, sliding_attention work");
        if (!full)
            lm->window_from = acr__min(lm->window_from, (int64_t)i);
    }
    FAIL_IF(!*windowed && lm->window_from < lm->layers, r->ctx, ACR_E_DATA,
            "%s: layer_types has sliding_attention, but there is no sliding_window", r->where);
    return ACR_OK;
}

static acr_status read_window(const reader *r, acr__lm *lm)
{
    if (lm->family == ACR__LM_MISTRAL) {
        if (is_null(r, "sliding_window"))
            lm->window = 0;
        return read_int(r, "sliding_window", &lm->window);
    }
    bool windowed = false;
    int64_t window = 4096;
    lm->window_from = 28;
    TRY(read_bool(r, "use_sliding_window", &windowed));
    TRY(read_int(r, "sliding_window", &window));
    TRY(read_int(r, "max_window_layers", &lm->window_from));
    windowed = windowed && !is_null(r, "sliding_window");
    if (lm->window_from < 0)
        return wrong(r, "max_window_layers", "a number of layers");
    TRY(read_layer_types(r, lm, &windowed));
    bool used = windowed && lm->window_from < lm->layers;
    lm->window = used ? window : 0;
    lm->window_from = used ? lm->window_from : 0;
    return ACR_OK;
}

/* ---- the families ------------------------------------------------------------------------ */

static acr_status read_gpt2(const reader *r, acr__lm *lm)
{
    bool scaled = true;
    TRY(read_int_as(r, "n_embd", "hidden_size", &lm->width));
    TRY(read_int_as(r, "n_layer", "num_hidden_layers", &lm->layers));
    TRY(read_int_as(r, "n_head", "num_attention_heads", &lm->heads));
    TRY(read_int_as(r, "n_positions", "max_position_embeddings", &lm->positions));
    lm->inner = lm->width > INT64_MAX / 4 ? INT64_MAX : 4 * lm->width;
    TRY(read_int(r, "n_inner", &lm->inner));
    lm->kv_heads = lm->heads;
    lm->head_dim = lm->heads > 0 ? lm->width / lm->heads : 0;
    TRY(read_activation(r, "activation_function", &lm->activation));
    TRY(read_real(r, "resid_pdrop", &lm->resid_dropout));
    TRY(read_real(r, "embd_pdrop", &lm->embd_dropout));
    TRY(read_real(r, "attn_pdrop", &lm->attn_dropout));
    TRY(read_real(r, "layer_norm_epsilon", &lm->norm_eps));
    TRY(read_bool(r, "scale_attn_weights", &scaled));
    lm->unscaled = !scaled;
    return ACR_OK;
}

static acr_status read_llama(const reader *r, acr__lm *lm)
{
    TRY(read_int(r, "hidden_size", &lm->width));
    TRY(read_int(r, "intermediate_size", &lm->inner));
    TRY(read_int(r, "num_hidden_layers", &lm->layers));
    TRY(read_int(r, "num_attention_heads", &lm->heads));
    if (lm->family == ACR__LM_LLAMA || is_null(r, "num_key_value_heads"))
        lm->kv_heads = lm->heads;
    TRY(read_int(r, "num_key_value_heads", &lm->kv_heads));
    lm->head_dim = lm->heads > 0 ? lm->width / lm->heads : 0;
    TRY(read_int(r, "head_dim", &lm->head_dim));
    TRY(read_int(r, "max_position_embeddings", &lm->positions));
    TRY(read_activation(r, "hidden_act", &lm->activation));
    TRY(read_real(r, "rms_norm_eps", &lm->norm_eps));
    TRY(read_real(r, "attention_dropout", &lm->attn_dropout));
    if (lm->family == ACR__LM_LLAMA) {
        TRY(read_bool(r, "attention_bias", &lm->qkv_bias));
        lm->o_bias = lm->qkv_bias;
        TRY(read_bool(r, "mlp_bias", &lm->mlp_bias));
    } else {
        TRY(read_window(r, lm));
    }
    return read_rope(r, lm);
}

static acr_status refuse_unimplemented(const reader *r)
{
    static const char *const off[] = {"scale_attn_by_inverse_layer_idx", "add_cross_attention", "is_encoder_decoder",
                                      "use_bidirectional_attention"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        bool on = false;
        TRY(read_bool(r, off[i], &on));
        if (on)
            return refuse(r, off[i], "false works");
    }
    bool causal = true;
    TRY(read_bool(r, "is_causal", &causal));
    if (!causal)
        return refuse(r, "is_causal", "true works");
    if (json_object_size(given(r, "quantization_config")))
        return refuse(r, "quantization_config", "weights of F32, BF16 or F16 work");
    if (json_object_size(given(r, "pruned_heads")))
        return refuse(r, "pruned_heads", "models with all their heads work");
    return ACR_OK;
}

static acr_status read_family(const reader *r, acr__lm_family *out)
{
    const json_t *type = given(r, "model_type");
    FAIL_IF(!type, r->ctx, ACR_E_DATA, "%s: has no model_type; gpt2, llama, mistral and qwen2 are known", r->where);
    for (int f = 0; f < ACR__LM_FAMILIES && json_is_string(type); f++)
        if (!strcmp(acr__lm_family_name((acr__lm_family)f), json_string_value(type))) {
            *out = (acr__lm_family)f;
            return ACR_OK;
        }
    return wrong(r, "model_type", "gpt2, llama, mistral or qwen2");
}

acr_status acr__lm_from_json(acr_context *ctx, const char *where, const json_t *object, acr__lm *out)
{
    reader r = {ctx, where, "", object};
    acr__lm lm;
    acr__lm_family family;
    TRY(read_family(&r, &family));
    acr__lm_defaults(&lm, family);
    TRY(refuse_unimplemented(&r));
    TRY(read_int(&r, "vocab_size", &lm.vocab));
    TRY(read_real(&r, "initializer_range", &lm.initializer_range));
    TRY(read_bool(&r, "tie_word_embeddings", &lm.tied));
    TRY(read_ids(&r, &lm));
    TRY(family == ACR__LM_GPT2 ? read_gpt2(&r, &lm) : read_llama(&r, &lm));
    if (acr__lm_check(ctx, where, &lm) != ACR_OK)
        return ACR_E_DATA; /* what a recipe may not ask for, a file may not hold */
    *out = lm;
    return ACR_OK;
}

acr_status acr__lm_config_read(acr_context *ctx, const char *folder, acr__lm *out)
{
    json_t *root = NULL;
    char *path = acr__path_join(ctx, folder, "config.json");
    if (!path)
        return ACR_E_NO_MEMORY;
    acr_status status = acr__json_load(ctx, path, CONFIG_BYTES, &root);
    if (status == ACR_OK)
        status = acr__lm_from_json(ctx, path, root, out);
    json_decref(root);
    acr__free(ctx, path);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Keys are set until one fails, which is then told once. */
typedef struct writer {
    json_t *object;
    bool failed;
} writer;

static void set(writer *w, const char *key, json_t *value) /* takes value */
{
    if (json_object_set_new(w->object, key, value) != 0)
        w->failed = true;
}

static void set_int(writer *w, const char *key, int64_t v) { set(w, key, json_integer(v)); }
static void set_real(writer *w, const char *key, double v) { set(w, key, json_real(v)); }
static void set_bool(writer *w, const char *key, bool v) { set(w, key, json_boolean(v)); }
static void set_text(writer *w, const char *key, const char *v) { set(w, key, json_string(v)); }
static void set_id(writer *w, const char *key, int64_t v) { set(w, key, v < 0 ? json_null() : json_integer(v)); }

static void write_ids(writer *w, const acr__lm *lm)
{
    set_id(w, "bos_token_id", lm->bos);
    set_id(w, "pad_token_id", lm->pad);
    if (lm->eos_count <= 1) {
        set_id(w, "eos_token_id", lm->eos_count ? lm->eos[0] : -1);
        return;
    }
    json_t *list = json_array();
    for (int i = 0; i < lm->eos_count; i++)
        if (json_array_append_new(list, json_integer(lm->eos[i])) != 0)
            w->failed = true;
    set(w, "eos_token_id", list);
}

static void write_gpt2(writer *w, const acr__lm *lm)
{
    set_int(w, "n_positions", lm->positions);
    set_int(w, "n_embd", lm->width);
    set_int(w, "n_layer", lm->layers);
    set_int(w, "n_head", lm->heads);
    set(w, "n_inner", lm->inner == 4 * lm->width ? json_null() : json_integer(lm->inner));
    set_text(w, "activation_function", acr__lm_activation_name(lm->activation));
    set_real(w, "resid_pdrop", lm->resid_dropout);
    set_real(w, "embd_pdrop", lm->embd_dropout);
    set_real(w, "attn_pdrop", lm->attn_dropout);
    set_real(w, "layer_norm_epsilon", lm->norm_eps);
    set_bool(w, "scale_attn_weights", !lm->unscaled);
}

/* In the form that every version of transformers reads. */
static void write_rope(writer *w, const acr_rope_opts *rope)
{
    set_real(w, "rope_theta", rope->theta);
    if (rope->scaling == ACR_ROPE_DEFAULT) {
        set(w, "rope_scaling", json_null());
        return;
    }
    writer in = {json_object(), false};
    set_text(&in, "rope_type", rope->scaling == ACR_ROPE_LINEAR ? "linear" : "llama3");
    set_real(&in, "factor", rope->factor);
    if (rope->scaling == ACR_ROPE_LLAMA3) {
        set_real(&in, "low_freq_factor", rope->low_freq_factor);
        set_real(&in, "high_freq_factor", rope->high_freq_factor);
        set_int(&in, "original_max_position_embeddings", rope->original_positions);
    }
    w->failed |= in.failed;
    set(w, "rope_scaling", in.object);
}

static void write_llama(writer *w, const acr__lm *lm)
{
    set_int(w, "hidden_size", lm->width);
    set_int(w, "intermediate_size", lm->inner);
    set_int(w, "num_hidden_layers", lm->layers);
    set_int(w, "num_attention_heads", lm->heads);
    set_int(w, "num_key_value_heads", lm->kv_heads);
    set_int(w, "head_dim", lm->head_dim);
    set_int(w, "max_position_embeddings", lm->positions);
    set_text(w, "hidden_act", acr__lm_activation_name(lm->activation));
    set_real(w, "rms_norm_eps", lm->norm_eps);
    set_real(w, "attention_dropout", lm->attn_dropout);
    if (lm->family == ACR__LM_LLAMA) {
        set_bool(w, "attention_bias", lm->qkv_bias);
        set_bool(w, "mlp_bias", lm->mlp_bias);
    } else {
        set(w, "sliding_window", lm->window ? json_integer(lm->window) : json_null());
    }
    if (lm->family == ACR__LM_QWEN2) {
        set_bool(w, "use_sliding_window", lm->window > 0);
        set_int(w, "max_window_layers", lm->window ? lm->window_from : lm->layers);
    }
    write_rope(w, &lm->rope);
}

acr_status acr__lm_to_json(acr_context *ctx, const acr__lm *lm, json_t **out)
{
    static const char *const architecture[ACR__LM_FAMILIES] = {"GPT2LMHeadModel", "LlamaForCausalLM",
                                                               "MistralForCausalLM", "Qwen2ForCausalLM"};
    writer w = {json_object(), false};
    json_t *classes = json_array();
    if (json_array_append_new(classes, json_string(architecture[lm->family])) != 0)
        w.failed = true;
    set(&w, "architectures", classes);
    set_text(&w, "model_type", acr__lm_family_name(lm->family));
    set_int(&w, "vocab_size", lm->vocab);
    if (lm->family == ACR__LM_GPT2)
        write_gpt2(&w, lm);
    else
        write_llama(&w, lm);
    set_real(&w, "initializer_range", lm->initializer_range);
    set_bool(&w, "tie_word_embeddings", lm->tied);
    write_ids(&w, lm);
    if (w.failed) {
        json_decref(w.object);
        return acr__fail(ctx, ACR_E_NO_MEMORY, "no memory for a model's configuration");
    }
    *out = w.object;
    return ACR_OK;
}

acr_status acr__lm_config_write(acr_context *ctx, const char *folder, const acr__lm *lm, acr_st_dtype dtype)
{
    json_t *root = NULL;
    char *text = NULL, *path = acr__path_join(ctx, folder, "config.json");
    acr_status status = path ? acr__lm_to_json(ctx, lm, &root) : ACR_E_NO_MEMORY;
    const char *name = dtype == ACR_ST_BF16 ? "bfloat16" : dtype == ACR_ST_F16 ? "float16" : "float32";
    if (status == ACR_OK && json_object_set_new(root, "torch_dtype", json_string(name)) != 0)
        status = acr__fail(ctx, ACR_E_NO_MEMORY, "%s: no memory for it", path);
    if (status == ACR_OK)
        status = acr__json_write(ctx, root, &text);
    if (status == ACR_OK)
        status = acr__file_put(ctx, path, text, strlen(text));
    free(text);
    json_decref(root);
    acr__free(ctx, path);
    return status;
}
