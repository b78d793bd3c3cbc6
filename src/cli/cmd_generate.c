/* cmd_generate.c: accrue generate RUN: what a language model writes behind a prompt,
 * or answers to a message.
 *
 * RUN is the folder of a finished run, or one as transformers writes it. The model
 * runs with a key/value cache, in the numbers of training: the logits are those of
 * a whole forward pass, bit for bit, and so a prompt and a seed give one text on
 * every machine. It writes nothing but the text. */
#include "cli/generate.h"
#include "cli/language.h"
#include "cli/memory.h"
#include "config/options.h"
#include "data/template.h"
#include "io/file.h"
#include "io/hf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PREFILL = 64 }; /* prompt tokens at once */
enum {
    PROMPT, PROMPT_FILE, CHAT, SYSTEM_PROMPT, CHAT_TEMPLATE,
    MAX_NEW_TOKENS, TEMPERATURE, TOP_K, TOP_P, SEED, THREADS, DTYPE, SWITCHES
};
static const acr__switch switches[SWITCHES] = {
    [PROMPT] = {"prompt", "TEXT", "what the text begins with"},
    [PROMPT_FILE] = {"prompt_file", "FILE", "the same from a file; - is standard input"},
    [CHAT] = {"chat", "TEXT", "what the user says; the assistant's answer is written"},
    [SYSTEM_PROMPT] = {"system_prompt", "TEXT", "with --chat: what the system says before"},
    [CHAT_TEMPLATE] = {"chat_template", "NAME", "with --chat: chatml, plain; the run's if not given"},
    [MAX_NEW_TOKENS] = {"max_new_tokens", "N", "tokens to write at most [256]"},
    [TEMPERATURE] = {"temperature", "X", "below 1 likelier, above 1 wilder; 0: the likeliest [1]"},
    [TOP_K] = {"top_k", "N", "draw from the N likeliest; 0: from all [0]"},
    [TOP_P] = {"top_p", "X", "from the fewest that are likely to X together [1]"},
    [SEED] = {"seed", "N", "another seed, another text [0]"},
    [THREADS] = {"threads", "N", "processor affinity and cgroup quota if not given"},
    [DTYPE] = {"dtype", "NAME", "of products: float32, bfloat16; the run's if not given"},
};

typedef struct session {
    acr__cli *cli;
    acr_context *ctx;
    acr__lm lm;
    acr__tokenizer *tokenizer;
    acr_graph *graph;
    acr_plan *plan;
    acr_trainer *trainer;
    bool echo;        /* text goes to stdout as it comes */
    bool skips_space; /* one that the template plain has before the answer */
    acr__chars text;
} session;

/* ---- switches ------------------------------------------------------------------ */
static acr_status read_number(acr__cli *cli, int which, double least, double most, bool whole, double *out)
{
    const char *text = cli->flags.switch_value[which];
    if (!text)
        return ACR_OK;
    char *end;
    double v = strtod(text, &end);
    FAIL_IF(end == text || *end || !(v >= least && v <= most) || (whole && v != (double)(int64_t)v), cli->ctx,
            ACR_E_CONFIG, "--%s: '%.40s' is no %s from %g to %g", switches[which].name, text,
            whole ? "whole number" : "number", least, most);
    *out = v;
    return ACR_OK;
}

static acr_status read_sampling(acr__cli *cli, acr__generation *g)
{
    double tokens = 256, temperature = 1, top_k = 0, top_p = 1, seed = 0;
    TRY(read_number(cli, MAX_NEW_TOKENS, 1, 1e9, true, &tokens));
    TRY(read_number(cli, TEMPERATURE, 0, 1e6, false, &temperature));
    TRY(read_number(cli, TOP_K, 0, 1e9, true, &top_k));
    TRY(read_number(cli, TOP_P, 1e-9, 1, false, &top_p));
    TRY(read_number(cli, SEED, 0, 9007199254740991.0, true, &seed));
    g->max_new_tokens = (int64_t)tokens;
    g->sampling = (acr__sampler_opts){temperature, (int64_t)top_k, top_p, (uint64_t)seed};
    return ACR_OK;
}

/* All of standard input, whatever it is. */
static acr_status read_input(acr_context *ctx, char **text, size_t *bytes)
{
    enum { MOST = 16 << 20 };
    *text = acr__alloc(ctx, MOST + 1);
    if (!*text)
        return ACR_E_NO_MEMORY;
    *bytes = fread(*text, 1, MOST + 1, stdin);
    acr_status status = ACR_OK;
    if (ferror(stdin))
        status = acr__fail(ctx, ACR_E_IO, "standard input: could not be read: %s", strerror(errno));
    else if (*bytes > MOST)
        status = acr__fail(ctx, ACR_E_DATA, "standard input: has more than %d bytes", MOST);
    if (status != ACR_OK)
        acr__free(ctx, *text);
    return status;
}

static acr_status read_prompt(acr__cli *cli, char **text, size_t *bytes)
{
    const char *given = cli->flags.switch_value[PROMPT], *file = cli->flags.switch_value[PROMPT_FILE];
    const char *chat = cli->flags.switch_value[CHAT];
    FAIL_IF((given != NULL) + (file != NULL) + (chat != NULL) > 1, cli->ctx, ACR_E_CONFIG,
            "--prompt, --prompt_file and --chat: give one of them");
    FAIL_IF(chat && !*chat, cli->ctx, ACR_E_CONFIG, "--chat: the message is empty");
    for (int i = SYSTEM_PROMPT; i <= CHAT_TEMPLATE && !chat; i++)
        FAIL_IF(cli->flags.switch_value[i], cli->ctx, ACR_E_CONFIG, "--%s: has no meaning without --chat",
                switches[i].name);
    if (file && strcmp(file, "-") == 0)
        return read_input(cli->ctx, text, bytes);
    if (file)
        return acr__file_load(cli->ctx, file, 16 << 20, text, bytes);
    *bytes = given ? strlen(given) : 0;
    *text = acr__alloc(cli->ctx, *bytes + 1);
    if (!*text)
        return ACR_E_NO_MEMORY;
    if (given)
        memcpy(*text, given, *bytes);
    return ACR_OK;
}

/* ---- the model ------------------------------------------------------------------- */
static acr_status open_model(session *s, const char *folder, acr_dtype *products)
{
    char path[ACR__PATH_BYTES];
    acr__inside(folder, "accrue.json", path);
    bool run = acr__file_kind(path) == 1;
    FAIL_IF(acr__file_kind(folder) != 2, s->ctx, ACR_E_CONFIG, "%s: there is no such folder", folder);
    TRY(acr__run_model_check(s->ctx, folder));
    if (run)
        TRY(acr__language_kept(s->ctx, folder, &s->lm, products));
    else
        TRY(acr__lm_config_read(s->ctx, folder, &s->lm));
    acr__inside(folder, "tokenizer.json", path);
    FAIL_IF(acr__file_kind(path) != 1, s->ctx, ACR_E_DATA,
            "%s: is not there, and text can't be read or written without it", path);
    return acr__tokenizer_open(&s->tokenizer, s->ctx, path);
}

static acr_status build(session *s, acr_dtype products, int64_t context)
{
    acr_graph_opts opts = ACR_GRAPH_OPTS_INIT;
    const int64_t one = 1;
    acr__lm_io io = {0};
    opts.products = products;
    s->graph = acr_graph_create(s->ctx, &opts);
    if (!s->graph)
        return ACR_E_NO_MEMORY;
    acr_domain token = acr_domain_create(s->graph, "token", acr__min(context, PREFILL));
    io.ids = acr_input_in(s->graph, token, "ids", ACR_I32, 1, &one);
    io.position = acr_input_in(s->graph, token, "position", ACR_I32, 1, &one);
    TRY(acr__lm_build(s->graph, &s->lm, &io));
    acr_output(s->graph, "logits", acr_linear_shared(s->graph, io.hidden, io.head));
    return acr_graph_finish(s->graph);
}

static acr_status load(session *s, const char *folder, acr_dtype products, int64_t context)
{
    TRY(build(s, products, context));
    acr_plan_opts plan = ACR_PLAN_OPTS_INIT;
    plan.optimizer = (acr_optimizer)0;
    plan.pack = 1;
    plan.cache_rows = context;
    TRY(acr_plan_create(&s->plan, s->graph, &plan));
    int64_t bytes = (int64_t)acr_plan_bytes(s->plan), there = acr__memory_free();
    char need[ACR__SHORT], have[ACR__SHORT];
    FAIL_IF(bytes > there, s->ctx, ACR_E_LIMIT, "the model needs %s, and this machine has %s free",
            acr__bytes_text(bytes, need), acr__bytes_text(there, have));
    TRY(acr_trainer_create(&s->trainer, s->plan, NULL));
    return acr__lm_weights_load(s->trainer, folder);
}

static acr_status next_logits(void *user, const int32_t *ids, int64_t known, int64_t count, float *out)
{
    session *s = user;
    for (int64_t n; known < count; known += n) {
        n = acr__min(PREFILL, count - known);
        TRY(acr_decode(s->trainer, n, ids + known, "logits", out));
    }
    return ACR_OK;
}

static void write_text(void *user, const char *text, size_t bytes)
{
    session *s = user;
    size_t skip = s->skips_space && bytes && *text == ' ';
    s->skips_space = false;
    text += skip;
    bytes -= skip;
    if (s->echo) {
        fwrite(text, 1, bytes, stdout);
        fflush(stdout);
    }
    acr__chars_add(s->ctx, &s->text, text, bytes);
}

/* ---- a conversation ----------------------------------------------------------------- */
/* A folder of another tool has no template that is understood here, but chatml's tokens
 * are there for nothing else. */
static acr_status choose_template(session *s, const char *folder, acr__chat *out)
{
    const char *given = s->cli->flags.switch_value[CHAT_TEMPLATE];
    bool tuned;
    if (!given)
        return acr__language_chat(s->ctx, folder, out, &tuned);
    int chat = acr__word_find(acr__option_get(ACR__OPT_data_template)->values, given, strlen(given));
    FAIL_IF(chat < 0, s->ctx, ACR_E_CONFIG, "--chat_template: '%.40s' is not known; chatml and plain are", given);
    *out = (acr__chat)chat;
    return ACR_OK;
}

/* The tokens before the answer, as training would have had them. */
static acr_status begin_chat(session *s, acr__generation *g, const char *folder)
{
    const char *const *given = s->cli->flags.switch_value;
    acr__turn turns[2];
    acr__template how;
    acr__chat chat;
    int64_t count = 0;
    if (given[SYSTEM_PROMPT])
        turns[count++] = (acr__turn){ACR_ROLE_SYSTEM, given[SYSTEM_PROMPT], strlen(given[SYSTEM_PROMPT])};
    turns[count++] = (acr__turn){ACR_ROLE_USER, given[CHAT], strlen(given[CHAT])};
    TRY(choose_template(s, folder, &chat));
    TRY(acr__template_open(&how, s->ctx, s->tokenizer, chat, true));
    acr_status status = acr__template_prompt(&how, turns, count, &g->ids);
    g->line_ends = acr__template_line_ends(&how);
    s->skips_space = chat == ACR_CHAT_PLAIN;
    acr__template_close(&how);
    FAIL_IF(status == ACR_E_DATA, s->ctx, status, "--chat: %s", acr_error(s->ctx));
    return status;
}

/* ---- the command ------------------------------------------------------------------- */
static acr_status print_json(const session *s, const acr__generation *g, double seconds)
{
    int64_t made = g->ids.count - g->prompt;
    acr__json j = {.f = stdout};
    acr__json_object(&j, NULL);
    acr__json_bytes(&j, "text", s->text.bytes, s->text.count);
    acr__json_array(&j, "ids");
    for (int64_t i = g->prompt; i < g->ids.count; i++)
        acr__json_i64(&j, NULL, g->ids.id[i]);
    acr__json_end(&j);
    acr__json_text(&j, "stop", acr__stop_name(g->stop));
    acr__json_i64(&j, "prompt_tokens", g->prompt);
    acr__json_i64(&j, "tokens", made);
    acr__json_f64(&j, "tokens_per_second", seconds > 0 ? (double)made / seconds : 0);
    acr__json_i64(&j, "peak_rss_bytes", acr__memory_peak());
    acr__json_end(&j);
    return ACR_OK;
}

static acr_status generate(session *s, acr__generation *g, const char *prompt, size_t bytes)
{
    char rate[ACR__SHORT];
    s->echo = g->echo = !s->cli->flags.json;
    double start = acr__seconds();
    acr_status status = acr__generate(g, prompt, bytes);
    double seconds = acr__seconds() - start;
    if (s->echo && s->text.count) {
        fputc('\n', stdout);
        fflush(stdout);
    }
    TRY(status);
    if (s->cli->flags.json)
        return print_json(s, g, seconds);
    acr__say(s->cli, "%lld tokens behind %lld, %s tokens/s%s", (long long)(g->ids.count - g->prompt),
             (long long)g->prompt,
             acr__count_text((int64_t)(seconds > 0 ? (double)(g->ids.count - g->prompt) / seconds : 0), rate),
             g->stop == ACR__STOP_CONTEXT ? "; the model's places are full" : "");
    return ACR_OK;
}

static acr_status run(session *s, acr__generation *g, const char *prompt, size_t bytes)
{
    const char *folder = s->cli->flags.positional[0], *dtype = s->cli->flags.switch_value[DTYPE];
    bool chat = s->cli->flags.switch_value[CHAT] != NULL;
    acr_dtype products = ACR_F32;
    acr__ids ids = {0};
    TRY(open_model(s, folder, &products));
    FAIL_IF(dtype && strcmp(dtype, "float32") != 0 && strcmp(dtype, "bfloat16") != 0, s->ctx, ACR_E_CONFIG,
            "--dtype: '%.40s' is not known; allowed: float32, bfloat16", dtype);
    if (dtype)
        products = strcmp(dtype, "bfloat16") == 0 ? ACR_BF16 : ACR_F32;
    g->ctx = s->ctx;
    acr_status status = chat ? begin_chat(s, g, folder)
                             : acr__tokenizer_encode(s->tokenizer, &ids, prompt, bytes, true);
    int64_t wanted = acr__max(chat ? g->ids.count : ids.count, 1) + g->max_new_tokens;
    acr__ids_free(s->ctx, &ids);
    TRY(status);
    g->tokenizer = s->tokenizer;
    g->lm = &s->lm;
    g->context = s->lm.positions ? acr__min(wanted, s->lm.positions) : wanted;
    g->logits = next_logits;
    g->write = write_text;
    g->user = s;
    TRY(load(s, folder, products, g->context));
    return generate(s, g, chat ? NULL : prompt, bytes);
}

static void end(session *s, acr__generation *g)
{
    if (g->ctx)
        acr__generation_end(g);
    acr_trainer_destroy(s->trainer);
    acr_plan_destroy(s->plan);
    acr_graph_destroy(s->graph);
    acr__tokenizer_close(s->tokenizer);
    if (s->ctx)
        acr__chars_free(s->ctx, &s->text);
    acr_context_destroy(s->ctx);
}

acr_status acr__cmd_generate(acr__cli *cli)
{
    static const acr__usage usage = {.switch_count = SWITCHES, .switches = switches, .least = 1, .most = 1,
                                     .text = "RUN is the folder of a finished run, or one with config.json, model.safetensors\n"
                                             "and tokenizer.json. The text goes to stdout as it is written.\n"};
    bool go;
    session s = {.cli = cli};
    acr__generation g = {0};
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    double threads = 0;
    char *prompt = NULL;
    size_t bytes = 0;
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    TRY(read_sampling(cli, &g));
    TRY(read_number(cli, THREADS, 1, 1024, true, &threads));
    TRY(read_prompt(cli, &prompt, &bytes));
    opts.threads = (int)threads;
    acr_status status = acr_context_create(&s.ctx, &opts);
    if (status == ACR_OK)
        status = run(&s, &g, prompt, bytes);
    acr__cli_told(cli, s.ctx, status);
    end(&s, &g);
    acr__free(cli->ctx, prompt);
    return status;
}
