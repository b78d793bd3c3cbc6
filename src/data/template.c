/* template.c: see template.h. A sample becomes a list of parts, each tokenised by
 * itself; a part is learned or it is not. */
#include "data/template.h"
#include "data/token_file.h"
#include <string.h>

/* -- what stands around every text ---------------------------------------- */
/* Found by comparison: a letter with and without. */
static acr_status find_around(acr__template *t, acr__ids *with, acr__ids *without)
{
    TRY(acr__tokenizer_encode(t->tokenizer, with, "a", 1, true));
    TRY(acr__tokenizer_encode(t->tokenizer, without, "a", 1, false));
    int64_t n = without->count, extra = with->count - n, before = 0;
    while (before < extra && memcmp(with->id + before, without->id, (size_t)n * sizeof *with->id) != 0)
        before++;
    TRY(acr__ids_add(t->ctx, &t->before, with->id, before));
    return acr__ids_add(t->ctx, &t->after, with->id + before + n, acr__max(0, extra - before));
}

acr_status acr__template_open(acr__template *t, acr_context *ctx, const acr__tokenizer *tokenizer, acr__chat chat,
                              bool all)
{
    *t = (acr__template){.ctx = ctx, .tokenizer = tokenizer, .chat = chat, .all = all};
    acr__ids with = {0}, without = {0};
    acr_status status = find_around(t, &with, &without);
    acr__ids_free(ctx, &with);
    acr__ids_free(ctx, &without);
    if (status != ACR_OK)
        acr__template_close(t);
    return status;
}

void acr__template_close(acr__template *t)
{
    if (!t->ctx)
        return;
    acr__ids_free(t->ctx, &t->before);
    acr__ids_free(t->ctx, &t->after);
    acr__chars_free(t->ctx, &t->text);
    *t = (acr__template){0};
}

/* -- parts ---------------------------------------------------------------- */
/* Marks what was added since `from`. */
static void mark(const acr__template *t, acr__ids *out, int64_t from, bool learned)
{
    for (int64_t i = from; i < out->count && !learned && !t->all; i++)
        out->id[i] |= ACR_TOKEN_UNLEARNED;
}

static acr_status add_text(acr__template *t, acr__ids *out, const char *text, size_t bytes, bool learned)
{
    int64_t from = out->count;
    TRY(acr__tokenizer_encode(t->tokenizer, out, text, bytes, false));
    mark(t, out, from, learned);
    return ACR_OK;
}

/* Of a tokenizer without one, nothing. */
static acr_status add_end(const acr__template *t, acr__ids *out)
{
    int32_t eos = acr__tokenizer_eos(t->tokenizer);
    return eos < 0 ? ACR_OK : acr__ids_add(t->ctx, out, &eos, 1);
}

static acr_status add_around(const acr__template *t, acr__ids *out, const acr__ids *around)
{
    int64_t from = out->count;
    TRY(acr__ids_add(t->ctx, out, around->id, around->count));
    mark(t, out, from, false);
    return ACR_OK;
}

/* t->text = a + b + c, for texts that must be tokenised together. */
static acr_status join(acr__template *t, const char *a, const acr__turn *b, const char *c)
{
    t->text.count = 0;
    TRY(acr__chars_add(t->ctx, &t->text, a, strlen(a)));
    TRY(acr__chars_add(t->ctx, &t->text, b->text, b->bytes));
    return acr__chars_add(t->ctx, &t->text, c, strlen(c));
}

/* What stands before an answer. */
static const char *assistant_of(const acr__template *t)
{
    return t->chat == ACR_CHAT_CHATML ? "<|im_start|>assistant\n" : "Assistant:";
}

static acr_status add_assistant(acr__template *t, acr__ids *out)
{
    return add_text(t, out, assistant_of(t), strlen(assistant_of(t)), false);
}

bool acr__template_line_ends(const acr__template *t)
{
    return t->chat == ACR_CHAT_PLAIN && acr__tokenizer_eos(t->tokenizer) < 0;
}

static acr_status add_chatml(acr__template *t, acr__ids *out, const acr__turn *turn)
{
    if (turn->role != ACR_ROLE_ASSISTANT) {
        TRY(join(t, turn->role == ACR_ROLE_SYSTEM ? "<|im_start|>system\n" : "<|im_start|>user\n", turn, "<|im_end|>\n"));
        return add_text(t, out, t->text.bytes, t->text.count, false);
    }
    TRY(add_assistant(t, out));
    TRY(join(t, "", turn, "<|im_end|>"));
    TRY(add_text(t, out, t->text.bytes, t->text.count, true));
    return add_text(t, out, "\n", 1, false);
}

static acr_status add_plain(acr__template *t, acr__ids *out, const acr__turn *turn)
{
    if (turn->role != ACR_ROLE_ASSISTANT) {
        TRY(join(t, turn->role == ACR_ROLE_SYSTEM ? "System: " : "User: ", turn, "\n"));
        return add_text(t, out, t->text.bytes, t->text.count, false);
    }
    bool line_ends = acr__template_line_ends(t);
    TRY(add_assistant(t, out));
    TRY(join(t, " ", turn, line_ends ? "\n" : ""));
    TRY(add_text(t, out, t->text.bytes, t->text.count, true));
    TRY(add_end(t, out));
    return line_ends ? ACR_OK : add_text(t, out, "\n", 1, false);
}

static acr_status add_turn(acr__template *t, acr__ids *out, const acr__turn *turn)
{
    switch (turn->role) {
    case ACR_ROLE_PROMPT:
        return add_text(t, out, turn->text, turn->bytes, false);
    case ACR_ROLE_TEXT:
    case ACR_ROLE_COMPLETION:
        return add_text(t, out, turn->text, turn->bytes, true);
    default:
        return t->chat == ACR_CHAT_CHATML ? add_chatml(t, out, turn) : add_plain(t, out, turn);
    }
}

/* -- a sample ------------------------------------------------------------- */
static acr_status check_chatml(const acr__template *t)
{
    FAIL_IF(t->chat == ACR_CHAT_CHATML && (acr__tokenizer_id(t->tokenizer, "<|im_start|>") < 0 ||
                                           acr__tokenizer_id(t->tokenizer, "<|im_end|>") < 0),
            t->ctx, ACR_E_DATA,
            "messages by the template chatml need the tokens <|im_start|> and <|im_end|>, which this tokenizer lacks; "
            "the template plain needs none");
    return ACR_OK;
}

static acr_status encode(acr__template *t, const acr__sample *sample, acr__ids *out)
{
    bool text = sample->turn[0].role == ACR_ROLE_TEXT, messages = sample->turn[0].role >= ACR_ROLE_SYSTEM;
    if (messages)
        TRY(check_chatml(t));
    TRY(add_around(t, out, &t->before));
    for (int64_t i = 0; i < sample->count; i++)
        TRY(add_turn(t, out, &sample->turn[i]));
    if (text)
        TRY(acr__ids_add(t->ctx, out, t->after.id, t->after.count));
    bool ended = out->count > 0 && out->id[out->count - 1] == acr__tokenizer_eos(t->tokenizer);
    return messages || ended ? ACR_OK : add_end(t, out);
}

/* NULL: there is something. An answer of nothing but its end is taken for a
 * mistake in the data. */
static const char *nothing_to_learn(const acr__template *t, const acr__sample *sample, const acr__ids *ids)
{
    bool said = false;
    for (int64_t i = 0; i < sample->count; i++) {
        acr__role role = sample->turn[i].role;
        bool learned = role == ACR_ROLE_TEXT || role == ACR_ROLE_COMPLETION || role == ACR_ROLE_ASSISTANT;
        said = said || ((learned || t->all) && sample->turn[i].bytes > 0);
    }
    if (!said)
        return sample->turn[0].role == ACR_ROLE_TEXT     ? "its text is empty"
               : sample->turn[0].role == ACR_ROLE_PROMPT ? "its completion is empty"
                                                         : "the assistant says nothing in it";
    for (int64_t i = 1; i < ids->count; i++) /* nothing is before the first */
        if (!(ids->id[i] & ACR_TOKEN_UNLEARNED))
            return NULL;
    return "its text is one token, which nothing is before";
}

acr_status acr__template_encode(acr__template *t, const char *path, int64_t line, const acr__sample *sample,
                                acr__ids *out)
{
    out->count = 0;
    acr_status status = encode(t, sample, out);
    FAIL_IF(status == ACR_E_DATA, t->ctx, status, "%s:%lld: %s", path, (long long)line, acr_error(t->ctx));
    TRY(status);
    const char *reason = nothing_to_learn(t, sample, out);
    FAIL_IF(reason, t->ctx, ACR_E_DATA, "%s:%lld: there is nothing to learn on this line: %s", path, (long long)line,
            reason);
    return ACR_OK;
}

acr_status acr__template_prompt(acr__template *t, const acr__turn *turn, int64_t count, acr__ids *out)
{
    out->count = 0;
    TRY(check_chatml(t));
    TRY(add_around(t, out, &t->before));
    for (int64_t i = 0; i < count; i++)
        TRY(add_turn(t, out, &turn[i]));
    return add_assistant(t, out);
}

/* -- for other tools ------------------------------------------------------- */
/* `text` inside of quotes: a quote, a backslash and a line's end are escaped. */
static acr_status add_quoted(const acr__template *t, acr__chars *out, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const char *as = text[i] == '\n' ? "\\n" : text[i] == '\'' ? "\\'" : text[i] == '\\' ? "\\\\" : NULL;
        TRY(as ? acr__chars_add(t->ctx, out, as, 2) : acr__chars_add(t->ctx, out, text + i, 1));
    }
    return ACR_OK;
}

static acr_status add_piece(const acr__template *t, acr__chars *out, int32_t id)
{
    size_t bytes = 0;
    const char *piece = id >= 0 ? acr__tokenizer_piece(t->tokenizer, id, &bytes) : NULL;
    return piece ? add_quoted(t, out, piece, bytes) : ACR_OK;
}

static acr_status add_jinja(const acr__template *t, acr__chars *out, const char *text)
{
    return acr__chars_add(t->ctx, out, text, strlen(text));
}

acr_status acr__template_jinja(const acr__template *t, acr__chars *out)
{
    out->count = 0;
    TRY(check_chatml(t));
    TRY(add_jinja(t, out, "{{- '"));
    for (int64_t i = 0; i < t->before.count; i++)
        TRY(add_piece(t, out, t->before.id[i]));
    TRY(add_jinja(t, out, "' }}\n{%- for message in messages %}\n"));
    if (t->chat == ACR_CHAT_CHATML) {
        TRY(add_jinja(t, out, "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}\n"));
    } else {
        TRY(add_jinja(t, out, "{%- if message['role'] == 'assistant' %}\n"
                              "{{- 'Assistant: ' + message['content'] + '"));
        TRY(add_piece(t, out, acr__tokenizer_eos(t->tokenizer)));
        TRY(add_jinja(t, out, "\\n' }}\n"
                              "{%- else %}\n"
                              "{{- message['role'] | capitalize + ': ' + message['content'] + '\\n' }}\n"
                              "{%- endif %}\n"));
    }
    TRY(add_jinja(t, out, "{%- endfor %}\n{%- if add_generation_prompt %}\n{{- '"));
    const char *assistant = assistant_of(t);
    TRY(add_quoted(t, out, assistant, strlen(assistant)));
    return add_jinja(t, out, "' }}\n{%- endif %}\n");
}
