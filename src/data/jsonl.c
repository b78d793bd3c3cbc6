/* jsonl.c: see jsonl.h. It knows JSON and the three kinds of line; which of a
 * line's texts is learned from is not its business (template.c). */
#include "data/jsonl.h"
#include "io/json.h"
#include <stdio.h>
#include <string.h>

enum { PLACE = 512 }; /* of "PATH:LINE", in sentences */

/* -- one line ------------------------------------------------------------- */
static acr_status parse_json(acr_context *ctx, const char *place, const char *text, size_t n, json_t **out)
{
    char shown[ACR__JSON_SHOWN];
    json_error_t error;
    TRY(acr__json_scan(ctx, place, "the line", text, n, ACR_JSONL_VALUES));
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    FAIL_IF(!root && json_error_code(&error) == json_error_out_of_memory, ctx, ACR_E_NO_MEMORY,
            "%s: no memory for a line of %zu bytes", place, n);
    FAIL_IF(!root, ctx, ACR_E_DATA, "%s:%d: not valid JSON: %s", place, error.column > 0 ? error.column : 1,
            acr__text_shown(error.text, shown));
    *out = root;
    return ACR_OK;
}

static acr_status add_turn(acr_context *ctx, acr__sample *s, acr__role role, const json_t *text)
{
    if (s->count == s->room) {
        int64_t room = s->room ? s->room * 2 : 8;
        acr__turn *grown = acr__realloc(ctx, s->turn, (size_t)room * sizeof *grown);
        if (!grown)
            return ACR_E_NO_MEMORY;
        s->turn = grown;
        s->room = room;
    }
    s->turn[s->count++] = (acr__turn){role, json_string_value(text), json_string_length(text)};
    return ACR_OK;
}

static acr_status take_message(acr_context *ctx, const char *place, acr__sample *s, size_t i)
{
    static const char *const names[] = {"system", "user", "assistant"};
    const json_t *message = json_array_get(json_object_get(s->json, "messages"), i);
    const json_t *role = json_object_get(message, "role"), *content = json_object_get(message, "content");
    FAIL_IF(!json_is_string(role) || !json_is_string(content), ctx, ACR_E_DATA,
            "%s: message %zu needs a role and a content, both strings", place, i + 1);
    for (int k = 0; k < 3; k++)
        if (json_string_length(role) == strlen(names[k]) && strcmp(json_string_value(role), names[k]) == 0)
            return add_turn(ctx, s, (acr__role)(ACR_ROLE_SYSTEM + k), content);
    char shown[ACR__JSON_SHOWN];
    return acr__fail(ctx, ACR_E_DATA, "%s: message %zu has the role %s, which is not one of system, user, assistant",
                     place, i + 1, acr__json_shown(role, shown));
}

static acr_status take_turns(acr_context *ctx, const char *place, acr__sample *s)
{
    FAIL_IF(!json_is_object(s->json), ctx, ACR_E_DATA, "%s: not a JSON object", place);
    const json_t *text = json_object_get(s->json, "text"), *messages = json_object_get(s->json, "messages");
    const json_t *prompt = json_object_get(s->json, "prompt"), *completion = json_object_get(s->json, "completion");
    FAIL_IF((text != NULL) + (messages != NULL) + (prompt || completion) != 1, ctx, ACR_E_DATA,
            "%s: one of \"text\", \"prompt\" with \"completion\", and \"messages\" is needed, and only one", place);
    if (messages) {
        FAIL_IF(!json_is_array(messages) || json_array_size(messages) == 0, ctx, ACR_E_DATA,
                "%s: \"messages\" must be a list of at least one", place);
        for (size_t i = 0; i < json_array_size(messages); i++)
            TRY(take_message(ctx, place, s, i));
        return ACR_OK;
    }
    if (text) {
        FAIL_IF(!json_is_string(text), ctx, ACR_E_DATA, "%s: \"text\" must be a string", place);
        return add_turn(ctx, s, ACR_ROLE_TEXT, text);
    }
    FAIL_IF(!json_is_string(prompt) || !json_is_string(completion), ctx, ACR_E_DATA,
            "%s: \"prompt\" and \"completion\" are needed together, both strings", place);
    TRY(add_turn(ctx, s, ACR_ROLE_PROMPT, prompt));
    return add_turn(ctx, s, ACR_ROLE_COMPLETION, completion);
}

acr_status acr__jsonl_parse(acr_context *ctx, const char *path, int64_t line, const char *text, size_t bytes,
                            acr__sample *out, bool *blank)
{
    json_decref(out->json);
    out->json = NULL;
    out->count = 0;
    *blank = acr__is_blank(text, bytes);
    if (*blank)
        return ACR_OK;
    char place[PLACE];
    snprintf(place, sizeof place, "%.*s:%lld", PLACE - 24, path, (long long)line);
    TRY(parse_json(ctx, place, text, bytes, &out->json));
    return take_turns(ctx, place, out);
}

void acr__sample_free(acr_context *ctx, acr__sample *s)
{
    json_decref(s->json);
    acr__free(ctx, s->turn);
    *s = (acr__sample){0};
}

/* -- a file --------------------------------------------------------------- */
acr_status acr__jsonl_open(acr__jsonl *j, acr_context *ctx, const char *path)
{
    *j = (acr__jsonl){0};
    return acr__line_reader_open(&j->lines, ctx, path, ACR_JSONL_BYTES);
}

void acr__jsonl_close(acr__jsonl *j)
{
    if (j->lines.ctx)
        acr__sample_free(j->lines.ctx, &j->sample);
    acr__line_reader_close(&j->lines);
}

acr_status acr__jsonl_next(acr__jsonl *j, const acr__sample **sample)
{
    const acr__line_reader *r = &j->lines;
    const char *line;
    size_t bytes;
    bool blank;
    *sample = NULL;
    do {
        TRY(acr__line_reader_next(&j->lines, &line, &bytes));
        if (!line)
            return ACR_OK;
        TRY(acr__jsonl_parse(r->ctx, r->path, r->line, line, bytes, &j->sample, &blank));
    } while (blank);
    *sample = &j->sample;
    return ACR_OK;
}

acr_status acr__jsonl_skip(acr__jsonl *j, int64_t most, int64_t *passed)
{
    for (*passed = 0; *passed < most;) {
        const char *line;
        size_t bytes;
        TRY(acr__line_reader_next(&j->lines, &line, &bytes));
        if (!line)
            break;
        *passed += !acr__is_blank(line, bytes);
    }
    return ACR_OK;
}
