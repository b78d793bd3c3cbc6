/* cmd_convert.c: accrue convert RUN: a run's language model as a folder that
 * transformers' from_pretrained loads. It reads the run folder and writes nothing
 * there; what stands in the other folder stays. */
#include "cli/language.h"
#include "data/tokenizer.h"
#include "io/file.h"
#include "io/hf.h"
#include "io/json.h"

#include <stdio.h>
#include <string.h>

enum { CONFIG_BYTES = 4 << 20 };
enum { TO, OUT, DTYPE };

typedef struct conversion {
    acr__cli *cli;
    const char *run, *out;
    acr_st_dtype dtype;
    acr__lm lm;
    acr_graph *graph;
    acr_st *weights;
    acr__tokenizer *tokenizer; /* the run's, once it was asked for */
} conversion;

static const struct {
    const char *name;
    acr_st_dtype dtype;
} dtypes[] = {{"float32", ACR_ST_F32}, {"bfloat16", ACR_ST_BF16}, {"float16", ACR_ST_F16}};

static acr_status read_switches(conversion *c)
{
    const char *const *given = c->cli->flags.switch_value;
    FAIL_IF(!given[TO], c->cli->ctx, ACR_E_CONFIG, "accrue convert: --to is missing; --to hf is what there is");
    FAIL_IF(strcmp(given[TO], "hf") != 0, c->cli->ctx, ACR_E_CONFIG, "--to: '%.40s' is not known; hf is", given[TO]);
    FAIL_IF(!given[OUT] || !*given[OUT], c->cli->ctx, ACR_E_CONFIG,
            "accrue convert: --out is missing: the folder to make");
    c->out = given[OUT];
    const char *name = given[DTYPE] ? given[DTYPE] : "float32";
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            c->dtype = dtypes[i].dtype;
            return ACR_OK;
        }
    return acr__fail(c->cli->ctx, ACR_E_CONFIG, "--dtype: '%.40s' is not known; float32, bfloat16 and float16 are", name);
}

static acr_status read_model(conversion *c)
{
    char path[ACR__PATH_BYTES], where[ACR__PATH_BYTES + 20];
    json_t *root;
    acr_context *ctx = c->cli->ctx;
    int kind = acr__file_kind(c->run);
    FAIL_IF(kind == 0, ctx, ACR_E_CONFIG, "%s: there is no such folder; give the folder of a run", c->run);
    TRY(acr__run_model_check(ctx, c->run));
    FAIL_IF(acr__file_kind(acr__inside(c->run, "accrue.json", path)) != 1, ctx, ACR_E_DATA,
            "%s: there is no model's description; give the folder of a finished run", path);
    TRY(acr__description_load(ctx, c->run, &root));
    const json_t *model = json_object_get(root, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    acr_status status;
    snprintf(where, sizeof where, "%s: model", path);
    if (type && !json_object_get(model, "model_type"))
        status = acr__fail(ctx, ACR_E_CONFIG, "%s is a network of type %.40s, which transformers has no class for; "
                           "language models can be converted", where, type);
    else
        status = acr__lm_from_json(ctx, where, model, &c->lm);
    json_decref(root);
    return status;
}

/* The parameters' names and shapes; nothing of it is computed. */
static acr_status make_graph(conversion *c)
{
    c->graph = acr_graph_create(c->cli->ctx, NULL);
    if (!c->graph)
        return ACR_E_NO_MEMORY;
    acr_graph *g = c->graph;
    acr_domain token = acr_domain_create(g, "token", 1);
    acr__lm_io io = {.ids = acr_input_in(g, token, "ids", ACR_I32, 1, (int64_t[]){1})};
    io.position = acr_input_in(g, token, "position", ACR_I32, 1, (int64_t[]){1});
    TRY(acr__lm_build(g, &c->lm, &io));
    acr_output(g, "logits", acr_linear_shared(g, io.hidden, io.head));
    return acr_graph_finish(g);
}

static acr_status copy_file(acr_context *ctx, const char *from, const char *to)
{
    int fd;
    int64_t bytes, n;
    acr__atomic a = {0};
    char *buffer = acr__alloc(ctx, ACR_IO_BYTES);
    if (!buffer)
        return ACR_E_NO_MEMORY;
    acr_status status = acr__file_open(ctx, from, &fd, &bytes);
    if (status == ACR_OK) {
        status = acr__atomic_open(&a, ctx, to);
        for (int64_t at = 0; status == ACR_OK && at < bytes; at += n) {
            n = acr__min(ACR_IO_BYTES, bytes - at);
            status = acr__file_pread(ctx, from, fd, buffer, (size_t)n, at);
            if (status == ACR_OK)
                status = acr__atomic_write(&a, buffer, (size_t)n);
        }
        if (status == ACR_OK)
            status = acr__atomic_commit(&a);
        acr__atomic_abandon(&a);
        acr__file_end(fd);
    }
    acr__free(ctx, buffer);
    return status;
}

static acr_status copy_tokenizer(conversion *c)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                        "chat_template.jinja"};
    char from[ACR__PATH_BYTES], to[ACR__PATH_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (acr__file_kind(acr__inside(c->run, names[i], from)) == 1)
            TRY(copy_file(c->cli->ctx, from, acr__inside(c->out, names[i], to)));
    return ACR_OK;
}

/* *out: the run's tokenizer, read the first time; NULL where there is none. */
static acr_status run_tokenizer(conversion *c, const acr__tokenizer **out)
{
    char path[ACR__PATH_BYTES];
    if (!c->tokenizer && acr__file_kind(acr__inside(c->run, "tokenizer.json", path)) == 1)
        TRY(acr__tokenizer_open(&c->tokenizer, c->cli->ctx, path));
    *out = c->tokenizer;
    return ACR_OK;
}

/* Without it transformers guesses the tokenizer's class by the model's, and adds tokens
 * that the model does not have. */
static acr_status describe_tokenizer(conversion *c)
{
    char path[ACR__PATH_BYTES];
    acr_context *ctx = c->cli->ctx;
    const acr__tokenizer *t = NULL;
    acr__draft draft;
    if (acr__file_kind(acr__inside(c->run, "tokenizer_config.json", path)) == 1)
        return ACR_OK;
    TRY(run_tokenizer(c, &t));
    if (!t)
        return ACR_OK;
    int32_t eos = acr__tokenizer_eos(t);
    size_t length = 0;
    const char *piece = eos >= 0 ? acr__tokenizer_piece(t, eos, &length) : NULL;
    acr_status status = acr__draft_open(&draft, ctx, acr__inside(c->out, "tokenizer_config.json", path));
    if (status == ACR_OK) {
        char token[256];
        acr__json j = {.f = draft.f};
        snprintf(token, sizeof token, "%.*s", (int)length, piece ? piece : "");
        acr__json_object(&j, NULL);
        acr__json_text(&j, "tokenizer_class", "PreTrainedTokenizerFast");
        acr__json_text(&j, "eos_token", piece ? token : NULL);
        acr__json_end(&j);
        status = acr__draft_put(&draft, status);
    }
    return status;
}

static acr_status has_chat_template(const conversion *c, bool *has)
{
    char path[ACR__PATH_BYTES];
    json_t *root;
    *has = acr__file_kind(acr__inside(c->out, "chat_template.jinja", path)) == 1;
    if (*has || acr__file_kind(acr__inside(c->out, "tokenizer_config.json", path)) != 1)
        return ACR_OK;
    TRY(acr__json_load(c->cli->ctx, path, CONFIG_BYTES, &root));
    *has = json_object_get(root, "chat_template") != NULL;
    json_decref(root);
    return ACR_OK;
}

static acr_status put_chat_template(conversion *c, const acr__tokenizer *tokenizer, acr__chat chat)
{
    char path[ACR__PATH_BYTES];
    acr_context *ctx = c->cli->ctx;
    acr__template how;
    acr__draft draft;
    acr__chars text = {0};
    TRY(acr__template_open(&how, ctx, tokenizer, chat, true));
    acr_status status = acr__template_jinja(&how, &text);
    if (status == ACR_OK) {
        status = acr__draft_open(&draft, ctx, acr__inside(c->out, "chat_template.jinja", path));
        if (status == ACR_OK) {
            fwrite(text.bytes, 1, text.count, draft.f);
            status = acr__draft_put(&draft, status);
        }
    }
    acr__chars_free(ctx, &text);
    acr__template_close(&how);
    return status;
}

/* The template that a run was tuned with, unless its model came with one. Samples that
 * are no messages need none: chatml, the default, is left out where its tokens are not. */
static acr_status write_chat_template(conversion *c)
{
    char path[ACR__PATH_BYTES];
    acr_context *ctx = c->cli->ctx;
    const acr__tokenizer *tokenizer = NULL;
    acr__chat chat;
    bool tuned, has;
    if (acr__file_kind(acr__inside(c->run, "tokenizer.json", path)) != 1)
        return ACR_OK;
    TRY(has_chat_template(c, &has));
    TRY(acr__language_chat(ctx, c->run, &chat, &tuned));
    if (has || !tuned)
        return ACR_OK;
    TRY(run_tokenizer(c, &tokenizer));
    bool expressible = chat == ACR_CHAT_PLAIN || acr__tokenizer_id(tokenizer, "<|im_start|>") >= 0;
    return expressible ? put_chat_template(c, tokenizer, chat) : ACR_OK;
}

/* The configuration last: a folder that has one is whole. */
static acr_status write_folder(conversion *c)
{
    static const char *const taken[] = {"config.json",           "model.safetensors",
                                        "tokenizer.json",        "model.safetensors.index.json",
                                        "tokenizer_config.json", "special_tokens_map.json",
                                        "chat_template.jinja"};
    char path[ACR__PATH_BYTES];
    acr_context *ctx = c->cli->ctx;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        FAIL_IF(acr__file_kind(acr__inside(c->out, taken[i], path)) != 0, ctx, ACR_E_CONFIG,
                "%s is there already and is left as it is; give another --out", path);
    TRY(acr__folder_create(ctx, c->out));
    TRY(acr__lm_weights_export(c->graph, c->weights, acr__inside(c->out, "model.safetensors", path), c->dtype));
    TRY(copy_tokenizer(c));
    TRY(describe_tokenizer(c));
    TRY(write_chat_template(c));
    return acr__lm_config_write(ctx, c->out, &c->lm, c->dtype);
}

static void tell(const conversion *c)
{
    char path[ACR__PATH_BYTES], count[ACR__SHORT];
    int64_t elements = 0;
    bool tokenizer = acr__file_kind(acr__inside(c->out, "tokenizer.json", path)) == 1;
    for (int i = 0; i < acr_param_count(c->graph); i++)
        elements += acr_param_elements(c->graph, i);
    if (c->cli->flags.json) {
        acr__json j = {.f = stdout};
        acr__json_object(&j, NULL);
        acr__json_text(&j, "path", c->out);
        acr__json_text(&j, "model_type", acr__lm_family_name(c->lm.family));
        acr__json_text(&j, "dtype", acr_st_dtype_name(c->dtype));
        acr__json_i64(&j, "parameters", elements);
        acr__json_bool(&j, "tokenizer", tokenizer);
        acr__json_end(&j);
        return;
    }
    printf("%s: %s, %s parameters as %s%s\n", c->out, acr__lm_family_name(c->lm.family),
           acr__count_text(elements, count), acr_st_dtype_name(c->dtype), tokenizer ? ", with its tokenizer" : "");
}

static acr_status convert(conversion *c)
{
    char path[ACR__PATH_BYTES];
    TRY(read_switches(c));
    TRY(read_model(c));
    TRY(make_graph(c));
    TRY(acr_st_open(&c->weights, c->cli->ctx, acr__inside(c->run, "model.safetensors", path)));
    TRY(write_folder(c));
    tell(c);
    return ACR_OK;
}

acr_status acr__cmd_convert(acr__cli *cli)
{
    static const acr__switch switches[] = {
        [TO] = {"to", "FORMAT", "hf: what transformers' from_pretrained loads"},
        [OUT] = {"out", "FOLDER", "where; made if it is not there"},
        [DTYPE] = {"dtype", "NAME", "of the weights: float32 (the default), bfloat16, float16"},
    };
    const acr__usage usage = {.switch_count = 3, .switches = switches, .least = 1, .most = 1,
                              .text = "RUN is the folder of a finished run of a language model. Its tokenizer goes\nalong.\n"};
    bool go;
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    conversion c = {.cli = cli, .run = cli->flags.positional[0]};
    acr_status status = convert(&c);
    acr__tokenizer_close(c.tokenizer);
    acr_st_close(c.weights);
    acr_graph_destroy(c.graph);
    return status;
}
