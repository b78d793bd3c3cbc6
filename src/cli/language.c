/* language.c: see language.h. */
#include "cli/language.h"

#include "io/file.h"
#include "io/hf.h"

#include <stdlib.h>
#include <string.h>

/* ---- which model ----------------------------------------------------------------- */
static int64_t or_else(int64_t given, int64_t otherwise) { return given ? given : otherwise; }

/* llama's 8/3 of the width, up to a multiple of 32 so that bf16 products have no tail. */
static int64_t inner_of(const acr__config *cfg, acr__lm_family family)
{
    int64_t w = cfg->model_hidden_size;
    return or_else(cfg->model_intermediate_size, family == ACR__LM_GPT2 ? 4 * w : acr__round_up(w * 8 / 3, 32));
}

/* The sizes that the recipe tells; vocabulary and positions follow from the data. */
static void shape_model(const acr__config *cfg, acr__lm *lm)
{
    static const acr__lm_family family[] = {[ACR__MODEL_GPT2] = ACR__LM_GPT2, [ACR__MODEL_LLAMA] = ACR__LM_LLAMA,
                                            [ACR__MODEL_QWEN2] = ACR__LM_QWEN2};
    acr__lm_defaults(lm, family[cfg->model_type]);
    lm->vocab = cfg->model_vocab_size;
    lm->layers = cfg->model_num_hidden_layers;
    lm->width = cfg->model_hidden_size;
    lm->heads = cfg->model_num_attention_heads;
    lm->kv_heads = or_else(cfg->model_num_key_value_heads, lm->heads);
    lm->head_dim = or_else(cfg->model_head_dim, lm->width / lm->heads);
    lm->inner = inner_of(cfg, lm->family);
    lm->positions = cfg->model_max_position_embeddings;
    lm->norm_eps = cfg->model_norm_eps;
    lm->initializer_range = cfg->model_initializer_range;
    lm->tied = cfg->model_tie_word_embeddings;
    lm->rope.dim = lm->head_dim;
    lm->rope.theta = cfg->model_rope_theta;
    lm->embd_dropout = lm->resid_dropout = lm->attn_dropout = 0;
}

acr_status acr__language_kept(acr_context *ctx, const char *run, acr__lm *lm, acr_dtype *products)
{
    char path[ACR__PATH_BYTES], where[ACR__PATH_BYTES + 20];
    json_t *root;
    snprintf(where, sizeof where, "%s: model", acr__inside(run, "accrue.json", path));
    TRY(acr__description_load(ctx, run, &root));
    const char *dtype = json_string_value(json_object_get(root, "dtype"));
    if (products)
        *products = dtype && strcmp(dtype, "bfloat16") == 0 ? ACR_BF16 : ACR_F32;
    acr_status status = lm ? acr__lm_from_json(ctx, where, json_object_get(root, "model"), lm) : ACR_OK;
    json_decref(root);
    return status;
}

static acr_status choose_model(acr__setup *s, const char *run)
{
    const acr__config *cfg = s->cfg;
    if (run)
        return acr__language_kept(s->ctx, run, &s->lm, NULL);
    if (cfg->model_type == ACR__MODEL_HF)
        TRY(acr__lm_config_read(s->ctx, cfg->model_path, &s->lm));
    else
        shape_model(cfg, &s->lm);
    acr__lm *lm = &s->lm;
    lm->attn_dropout = acr__config_dropout(cfg, lm->attn_dropout);
    if (lm->family == ACR__LM_GPT2) { /* the others have no other */
        lm->embd_dropout = acr__config_dropout(cfg, lm->embd_dropout);
        lm->resid_dropout = acr__config_dropout(cfg, lm->resid_dropout);
    }
    return ACR_OK;
}

/* ---- which tokenizer ----------------------------------------------------------------- */
static acr_status open_tokenizer(acr__setup *s, const char *run)
{
    const char *folder = run ? run : s->cfg->model_type == ACR__MODEL_HF ? s->cfg->model_path : NULL;
    char path[ACR__PATH_BYTES];
    acr__inside(folder ? folder : "", "tokenizer.json", path);
    bool own = folder && acr__file_kind(path) == 1;
    FAIL_IF(own && !run && s->cfg->data_learn_tokenizer, s->ctx, ACR_E_CONFIG,
            "data.learn_tokenizer: the model in %s has a tokenizer, whose ids its weights know; leave this out", folder);
    if (own && !run && s->cfg->data_tokenizer)
        acr__warn(s->cli, "data.tokenizer: the model has one of its own, %s; ids of another mean nothing to its weights",
                  path);
    if (s->cfg->data_tokenizer && !run)
        TRY(acr__tokenizer_open(&s->own_tokenizer, s->ctx, s->cfg->data_tokenizer));
    else if (own)
        TRY(acr__tokenizer_open(&s->own_tokenizer, s->ctx, path));
    s->tokenizer = s->own_tokenizer;
    int format = acr__config_data(s->cfg, acr__config_data(s->cfg, true).present).format;
    bool text = format == ACR__FORMAT_TEXT || format == ACR__FORMAT_JSONL || format == ACR__FORMAT_KJV;
    FAIL_IF(s->predicts && text && !own, s->ctx, ACR_E_DATA, "%s: is not there, and text can't be read without it",
            path);
    return ACR_OK;
}

/* ---- which sequences ------------------------------------------------------------------ */
static acr__tokens_desc describe(const acr__setup *s, bool eval)
{
    static const char *const format[] = {[ACR__FORMAT_SAFETENSORS] = "safetensors", [ACR__FORMAT_TOKENS] = "tokens",
                                         [ACR__FORMAT_TEXT] = "text", [ACR__FORMAT_JSONL] = "jsonl",
                                         [ACR__FORMAT_KJV] = "kjv"};
    static const char *const packing[] = {NULL, "stream", "whole"};
    static const char *const template[] = {"chatml", "plain"};
    static const char *const loss_on[] = {"completions", "all"};
    const acr__config *cfg = s->cfg;
    bool own = eval && acr__config_data(cfg, true).present;
    acr__data_spec spec = acr__config_data(cfg, own);
    acr__tokens_desc d = ACR_TOKENS_DESC_INIT;
    d.format = format[spec.format];
    d.path = spec.path;
    d.input = spec.input;
    d.target = spec.target;
    d.sequence_length = s->sequence_length;
    d.packing = packing[cfg->data_packing];
    if (spec.format == ACR__FORMAT_JSONL) {
        d.template = template[cfg->data_template];
        d.loss_on = loss_on[cfg->data_loss_on];
    }
    d.validation_split = own ? 0 : cfg->data_validation_split;
    d.validation = eval && !own && cfg->data_validation_split > 0;
    d.seed = (uint64_t)cfg->seed;
    d.vocabulary = s->lm.vocab;
    d.given = s->tokenizer;
    d.learn = s->tokenizer ? 0 : cfg->data_learn_tokenizer;
    return d;
}

/* A set as the rest of the program sees any data set: samples and memory. */
static void summarize(const acr__tokens *set, acr__data_info *out)
{
    const acr__tokens_info *info = acr__tokens_info_of(set);
    *out = (acr__data_info){.samples = info->sequences, .input_elements = 1, .has_target = true, .target_dtype = ACR_I32,
                            .target_elements = 1, .open_bytes = info->open_bytes, .held_bytes = info->held_bytes};
}

/* One line for all documents of a kind, with the place of the first. */
static acr_status tell_odd(const acr__setup *s, const acr__tokens *set, const acr__tokens_desc *d,
                           const acr__tokens_odd *odd, const char *what)
{
    char where[4200], n[3][ACR__SHORT];
    int64_t length = acr__tokens_info_of(set)->sequence_length;
    const char *plural = odd->count == 1 ? "" : "s";
    if (odd->count == 0)
        return ACR_OK;
    TRY(acr__tokens_where(set, d, odd->document, where, sizeof where));
    acr__count_text(odd->count, n[0]);
    acr__count_text(odd->tokens, n[1]);
    acr__count_text(length, n[2]);
    if (odd->tokens > length)
        acr__warn(s->cli, "%s document%s longer than data.sequence_length, %s: %s; the first is %s, of %s tokens", n[0],
                  plural, n[2], what, where, n[1]);
    else
        acr__warn(s->cli, "%s document%s with nothing to learn left out; the first is %s", n[0], plural, where);
    return ACR_OK;
}

static acr_status tell_set(const acr__setup *s, const char *name, const acr__tokens *set, const acr__tokens_desc *d)
{
    char n[4][ACR__SHORT];
    const acr__tokens_info *info = acr__tokens_info_of(set);
    acr__say(s->cli, "%-8s %s sequences of at most %s tokens, loss on %s of %s tokens", name,
             acr__count_text(info->sequences, n[0]), acr__count_text(info->sequence_length, n[1]),
             acr__count_text(info->targets, n[2]), acr__count_text(info->rows, n[3]));
    TRY(tell_odd(s, set, d, &info->cut, "the end is cut off"));
    return tell_odd(s, set, d, &info->left_out, "left out, for nothing before that is to be learned");
}

static acr_status open_set(acr__setup *s, bool eval, acr__tokens **set, acr__data_info *info)
{
    acr__tokens_desc d = describe(s, eval);
    TRY(acr__tokens_open(set, s->ctx, &d));
    s->tokenizer = acr__tokens_tokenizer(*set); /* what the first set has learned, the second is given */
    summarize(*set, info);
    return tell_set(s, eval ? "eval" : "data", *set, &d);
}

enum { MOST_AUTO = 1024 }; /* tokens of a sequence when nobody says */

/* Vocabulary and lengths where the recipe leaves them to the data. */
static acr_status settle_sizes(acr__setup *s)
{
    acr__lm *lm = &s->lm;
    const acr__config *cfg = s->cfg;
    bool tensors = cfg->data_train_format == ACR__FORMAT_SAFETENSORS;
    int64_t known = s->tokenizer ? acr__tokenizer_size(s->tokenizer) : cfg->data_learn_tokenizer;
    if (!lm->vocab)
        lm->vocab = known;
    FAIL_IF(!lm->vocab, s->ctx, ACR_E_CONFIG,
            "model.vocab_size: there is no tokenizer to tell it; give it, as model: {vocab_size: 50257}");
    FAIL_IF(known > lm->vocab, s->ctx, ACR_E_CONFIG,
            "model.vocab_size: the model's vocabulary is %lld, and the tokenizer has %lld tokens; at least so many are needed",
            (long long)lm->vocab, (long long)known);
    s->sequence_length = cfg->data_sequence_length;
    if (!s->sequence_length && !tensors)
        s->sequence_length = lm->positions ? acr__min(lm->positions, MOST_AUTO) : MOST_AUTO;
    if (!lm->positions || s->sequence_length <= lm->positions)
        return ACR_OK;
    FAIL_IF(lm->family == ACR__LM_GPT2, s->ctx, ACR_E_CONFIG,
            "data.sequence_length: %lld is more than the model's %lld learned positions (max_position_embeddings)",
            (long long)s->sequence_length, (long long)lm->positions);
    acr__warn(s->cli, "data.sequence_length %lld is more than max_position_embeddings, %lld: generate, and others that "
              "load the model, go by the latter", (long long)s->sequence_length, (long long)lm->positions);
    return ACR_OK;
}

/* A model that begins here has the tokenizer's end of a text, or none. */
static void name_ends(acr__setup *s)
{
    int32_t eos = s->tokenizer ? acr__tokenizer_eos(s->tokenizer) : -1;
    s->lm.bos = s->lm.eos[0] = eos;
    s->lm.eos_count = eos >= 0;
}

static acr_status open_sets(acr__setup *s)
{
    const acr__config *cfg = s->cfg;
    bool evaluates = acr__config_data(cfg, true).present || cfg->data_validation_split > 0;
    if (!s->predicts)
        TRY(open_set(s, false, &s->train_tokens, &s->train_info));
    if (evaluates || s->predicts)
        TRY(open_set(s, evaluates, &s->eval_tokens, &s->eval_info));
    const acr__tokens *set = s->predicts ? s->eval_tokens : s->train_tokens;
    s->sequence_length = acr__tokens_info_of(set)->sequence_length;
    if (s->eval_tokens)
        s->sequence_length = acr__max(s->sequence_length, acr__tokens_info_of(s->eval_tokens)->sequence_length);
    s->epoch.tokens = acr__tokens_info_of(set)->rows;
    if (!s->lm.positions)
        s->lm.positions = s->sequence_length;
    if (s->cfg->model_type != ACR__MODEL_HF && !s->kept)
        name_ends(s);
    return ACR_OK;
}

acr_status acr__language_begin(acr__setup *s, const char *run)
{
    s->language = true;
    s->kept = run != NULL;
    TRY(choose_model(s, run));
    TRY(open_tokenizer(s, run));
    TRY(settle_sizes(s));
    TRY(open_sets(s));
    return acr__setup_graph_again(&s->graph, s->ctx, s, false);
}

void acr__language_open(acr__setup *s)
{
    if (s->train_tokens)
        acr__tokens_source_init(&s->train_tokens_user, s->train_tokens, s->cfg->data_shuffle, (uint64_t)s->cfg->seed,
                                &s->train_source);
    if (s->eval_tokens)
        acr__tokens_source_init(&s->eval_tokens_user, s->eval_tokens, false, 0, &s->eval_source);
}

/* ---- the graph ------------------------------------------------------------------------ */
static acr_status build(acr_graph *g, const acr__config *cfg, const acr__lm *lm, int64_t rows)
{
    const int64_t one = 1;
    acr_domain token = acr_domain_create(g, "token", rows);
    acr__lm_io io = {0};
    acr_ce_opts ce = ACR_CE_OPTS_INIT;
    ce.label_smoothing = (float)cfg->label_smoothing;
    ce.ignore_index = (int32_t)cfg->ignore_index;
    io.ids = acr_input_in(g, token, "ids", ACR_I32, 1, &one);
    acr_node target = acr_input_in(g, token, "target", ACR_I32, 1, &one);
    io.position = acr_input_in(g, token, "position", ACR_I32, 1, &one);
    TRY(acr__lm_build(g, lm, &io));
    if (cfg->sample_prompt)
        acr_output(g, "hidden", io.hidden); /* train_sample.c reads it */
    acr_loss(g, acr_head_cross_entropy(g, io.hidden, io.head, target, ACR_NONE, &ce));
    return acr_graph_finish(g);
}

acr_status acr__language_graph(acr_graph **out, acr_context *ctx, const acr__config *cfg, const acr__lm *lm,
                               int64_t rows, bool reference)
{
    acr_graph_opts opts = ACR_GRAPH_OPTS_INIT;
    opts.seed = (uint64_t)cfg->seed;
    opts.reference = reference;
    opts.products = cfg->dtype == ACR__DTYPE_BFLOAT16 ? ACR_BF16 : ACR_F32;
    acr_graph *g = acr_graph_create(ctx, &opts);
    acr_status status = g ? build(g, cfg, lm, rows) : ACR_E_NO_MEMORY;
    if (status == ACR_OK)
        *out = g;
    else
        acr_graph_destroy(g);
    return status;
}

acr_status acr__language_init(acr_trainer *t, const acr__config *cfg)
{
    if (cfg->model_type == ACR__MODEL_HF)
        return acr__lm_weights_load(t, cfg->model_path);
    return ACR_OK;
}

acr_status acr__language_keep(acr__setup *s, const char *run)
{
    char path[ACR__PATH_BYTES];
    if (!s->tokenizer)
        return ACR_OK;
    acr__inside(run, "tokenizer.json", path);
    return acr__tokenizer_save(s->tokenizer, path);
}

_Static_assert((int)ACR__TEMPLATE_CHATML == ACR_CHAT_CHATML && (int)ACR__TEMPLATE_PLAIN == ACR_CHAT_PLAIN,
               "config.h and template.h disagree about templates");

acr_status acr__language_chat(acr_context *ctx, const char *run, acr__chat *chat, bool *tuned)
{
    char path[ACR__PATH_BYTES];
    acr__config *cfg;
    acr__config_opts opts = {.recipe = acr__inside(run, "resolved.yaml", path)};
    *chat = ACR_CHAT_CHATML;
    *tuned = false;
    if (acr__file_kind(path) != 1)
        return ACR_OK;
    TRY(acr__config_load(ctx, &cfg, &opts));
    *chat = (acr__chat)cfg->data_template;
    *tuned = cfg->data_train_format == ACR__FORMAT_JSONL;
    acr__config_free(cfg);
    return ACR_OK;
}

void acr__language_end(acr__setup *s)
{
    acr__tokens_close(s->train_tokens);
    acr__tokens_close(s->eval_tokens);
    acr__tokenizer_close(s->own_tokenizer);
}

/* ---- what it is, and what it costs ------------------------------------------------------ */
const char *acr__language_tell(const acr__lm *lm, char out[ACR__LANGUAGE_TEXT])
{
    char heads[40];
    snprintf(heads, sizeof heads, lm->kv_heads == lm->heads ? "%lld heads" : "%lld heads over %lld",
             (long long)lm->heads, (long long)lm->kv_heads);
    snprintf(out, ACR__LANGUAGE_TEXT, "%s of %lld layers, %lld wide, %s, vocabulary %lld",
             acr__lm_family_name(lm->family), (long long)lm->layers, (long long)lm->width, heads, (long long)lm->vocab);
    return out;
}

double acr__language_work(const acr__lm *lm, int64_t rows)
{
    double q = (double)lm->heads * (double)lm->head_dim, kv = (double)lm->kv_heads * (double)lm->head_dim;
    double w = (double)lm->width, mlp = (lm->family == ACR__LM_GPT2 ? 2.0 : 3.0) * w * (double)lm->inner;
    double layer = w * (q + 2 * kv) + q * w + mlp + q * (double)rows; /* the last: scores and sums, half of the square each */
    return 3 * (double)rows * ((double)lm->layers * layer + w * (double)lm->vocab);
}

acr_status acr__language_made_up(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    const int64_t rows = *(const int64_t *)user;
    (void)window, (void)first;
    for (int64_t i = 0; i <= n; i++)
        out->offsets[0][i] = (int32_t)(i * rows);
    for (int64_t r = 0; r < n * rows; r++) {
        const int32_t row[3] = {(int32_t)(r & 1), (int32_t)(~r & 1), (int32_t)(r % rows)}; /* any vocabulary has 0 and 1 */
        for (int k = 0; k < 3; k++)
            if (out->data[k])
                *(int32_t *)(void *)((char *)out->data[k] + r * out->row_bytes[k]) = row[k];
    }
    return ACR_OK;
}
