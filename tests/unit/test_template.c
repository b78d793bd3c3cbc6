/* test_template.c: which text a sample becomes, which of it is learned, and what
 * has nothing to learn. */
#include "unit/tokenizers.h"
#include "base/context.h"
#include "data/template.h"
#include "data/token_file.h"

static acr_context *ctx;
static acr__tokenizer *plain, *chat; /* chat: with chatml's tokens and one that begins texts */
static acr__ids ids;
static acr__sample sample;

static int setup(void **state)
{
    static const char *const added[] = {"<|im_start|>", "<|im_end|>", "<begin>", NULL};
    if (folder_make(state) || acr__context_new(&ctx, NULL) != ACR_OK)
        return -1;
    tokenizer_make(ctx, in_folder("plain.json"), NULL, NULL);
    tokenizer_make(ctx, in_folder("chat.json"), added, "<begin>");
    plain = tokenizer_of(ctx, in_folder("plain.json"));
    chat = tokenizer_of(ctx, in_folder("chat.json"));
    return 0;
}

static int teardown(void **state)
{
    acr__tokenizer_close(plain);
    acr__tokenizer_close(chat);
    acr__ids_free(ctx, &ids);
    acr__sample_free(ctx, &sample);
    acr_context_destroy(ctx);
    return folder_remove(state);
}

static acr_status encode(const acr__tokenizer *t, acr__chat how, bool all, const char *line)
{
    bool blank;
    acr__template template;
    if (acr__jsonl_parse(ctx, "f.jsonl", 3, line, strlen(line), &sample, &blank) != ACR_OK ||
        acr__template_open(&template, ctx, t, how, all) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    acr_status status = acr__template_encode(&template, "f.jsonl", 3, &sample, &ids);
    acr__template_close(&template);
    return status;
}

/* The sample as text, what is learned in brackets. */
static void becomes(const acr__tokenizer *t, acr__chat how, bool all, const char *line, const char *want)
{
    if (encode(t, how, all, line) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    acr__chars text = {0};
    bool inside = false;
    for (int64_t i = 0; i <= ids.count; i++) {
        bool learned = i < ids.count && !(ids.id[i] & ACR_TOKEN_UNLEARNED);
        if (learned != inside)
            acr__chars_add(ctx, &text, learned ? "[" : "]", 1);
        inside = learned;
        int32_t id = i < ids.count ? ids.id[i] & ~ACR_TOKEN_UNLEARNED : 0;
        if (i < ids.count)
            assert_int_equal(acr__tokenizer_decode(t, &text, &id, 1, false), ACR_OK);
    }
    assert_string_equal(text.bytes, want);
    acr__chars_free(ctx, &text);
}

static void refused(const acr__tokenizer *t, acr__chat how, bool all, const char *line, const char *words)
{
    assert_int_equal(encode(t, how, all, line), ACR_E_DATA);
    if (strncmp(acr_error(ctx), "f.jsonl:3: ", 11) != 0 || !strstr(acr_error(ctx), words))
        fail_msg("'%s' is not in: %s", words, acr_error(ctx));
}

#define TALK                                                                                    \
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Be.\"}, {\"role\": \"user\", \"content\": \"Q?\"}, " \
    "{\"role\": \"assistant\", \"content\": \"A.\"}, {\"role\": \"user\", \"content\": \"R?\"}, "  \
    "{\"role\": \"assistant\", \"content\": \"B.\"}]}"

static void texts(void **state)
{
    (void)state;
    becomes(plain, ACR_CHAT_CHATML, false, "{\"text\": \"hi\"}", "[hi<|endoftext|>]");
    becomes(plain, ACR_CHAT_CHATML, false, "{\"text\": \"hi<|endoftext|>\"}", "[hi<|endoftext|>]");
    becomes(chat, ACR_CHAT_CHATML, false, "{\"text\": \"hi\"}", "<begin>[hi<|endoftext|>]");
    becomes(plain, ACR_CHAT_PLAIN, false, "{\"prompt\": \"2+2=\", \"completion\": \"4\"}", "2+2=[4<|endoftext|>]");
    becomes(chat, ACR_CHAT_PLAIN, false, "{\"prompt\": \"\", \"completion\": \"4\"}", "<begin>[4<|endoftext|>]");
    becomes(plain, ACR_CHAT_PLAIN, true, "{\"prompt\": \"2+2=\", \"completion\": \"4\"}", "[2+2=4<|endoftext|>]");
}

static void talks(void **state)
{
    (void)state;
    becomes(chat, ACR_CHAT_CHATML, false, TALK,
            "<begin><|im_start|>system\nBe.<|im_end|>\n<|im_start|>user\nQ?<|im_end|>\n<|im_start|>assistant\n"
            "[A.<|im_end|>]\n<|im_start|>user\nR?<|im_end|>\n<|im_start|>assistant\n[B.<|im_end|>]\n");
    assert_int_equal(ids.id[1], 257 | ACR_TOKEN_UNLEARNED); /* one token, not twelve bytes */
    becomes(plain, ACR_CHAT_PLAIN, false, TALK,
            "System: Be.\nUser: Q?\nAssistant:[ A.<|endoftext|>]\nUser: R?\nAssistant:[ B.<|endoftext|>]\n");
    becomes(plain, ACR_CHAT_PLAIN, true, "{\"messages\": [{\"role\": \"user\", \"content\": \"Q?\"}]}", "[User: Q?\n]");
    becomes(chat, ACR_CHAT_PLAIN, true, TALK,
            "[<begin>System: Be.\nUser: Q?\nAssistant: A.<|endoftext|>\nUser: R?\nAssistant: B.<|endoftext|>\n]");
}

/* A conversation up to the answer has the tokens that training has before it. */
static void prompt_is(const acr__tokenizer *t, acr__chat how, const char *want, bool line_ends)
{
    static const acr__turn turns[] = {{ACR_ROLE_SYSTEM, "Be.", 3}, {ACR_ROLE_USER, "Q?", 2}};
    acr__template template;
    acr__ids prompt = {0};
    acr__chars text = {0};
    assert_int_equal(acr__template_open(&template, ctx, t, how, true), ACR_OK);
    assert_int_equal(acr__template_line_ends(&template), line_ends);
    if (acr__template_prompt(&template, turns, 2, &prompt) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    assert_int_equal(encode(t, how, true, TALK), ACR_OK);
    assert_true(prompt.count < ids.count);
    assert_memory_equal(prompt.id, ids.id, (size_t)prompt.count * sizeof *ids.id);
    assert_int_equal(acr__tokenizer_decode(t, &text, prompt.id, prompt.count, false), ACR_OK);
    assert_string_equal(text.bytes, want);
    acr__chars_free(ctx, &text);
    acr__ids_free(ctx, &prompt);
    acr__template_close(&template);
}

static void prompts(void **state)
{
    (void)state;
    prompt_is(chat, ACR_CHAT_CHATML,
              "<begin><|im_start|>system\nBe.<|im_end|>\n<|im_start|>user\nQ?<|im_end|>\n<|im_start|>assistant\n", false);
    prompt_is(plain, ACR_CHAT_PLAIN, "System: Be.\nUser: Q?\nAssistant:", false);
    static const acr__turn turn = {ACR_ROLE_USER, "Q?", 2};
    acr__template template;
    assert_int_equal(acr__template_open(&template, ctx, plain, ACR_CHAT_CHATML, true), ACR_OK);
    assert_int_equal(acr__template_prompt(&template, &turn, 1, &ids), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "need the tokens <|im_start|> and <|im_end|>"));
    acr__template_close(&template);
}

static void jinja_is(const acr__tokenizer *t, acr__chat how, const char *want)
{
    acr__template template;
    acr__chars text = {0};
    assert_int_equal(acr__template_open(&template, ctx, t, how, false), ACR_OK);
    assert_int_equal(acr__template_jinja(&template, &text), ACR_OK);
    acr__chars_add(ctx, &text, "", 1);
    assert_string_equal(text.bytes, want);
    acr__chars_free(ctx, &text);
    acr__template_close(&template);
}

/* What these give was compared with jinja2 3.1, set up as transformers does. */
static void for_other_tools(void **state)
{
    (void)state;
    jinja_is(chat, ACR_CHAT_CHATML,
             "{{- '<begin>' }}\n"
             "{%- for message in messages %}\n"
             "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}\n"
             "{%- endfor %}\n"
             "{%- if add_generation_prompt %}\n"
             "{{- '<|im_start|>assistant\\n' }}\n"
             "{%- endif %}\n");
    jinja_is(plain, ACR_CHAT_PLAIN,
             "{{- '' }}\n"
             "{%- for message in messages %}\n"
             "{%- if message['role'] == 'assistant' %}\n"
             "{{- 'Assistant: ' + message['content'] + '<|endoftext|>\\n' }}\n"
             "{%- else %}\n"
             "{{- message['role'] | capitalize + ': ' + message['content'] + '\\n' }}\n"
             "{%- endif %}\n"
             "{%- endfor %}\n"
             "{%- if add_generation_prompt %}\n"
             "{{- 'Assistant:' }}\n"
             "{%- endif %}\n");
    acr__template template;
    acr__chars text = {0};
    assert_int_equal(acr__template_open(&template, ctx, plain, ACR_CHAT_CHATML, true), ACR_OK);
    assert_int_equal(acr__template_jinja(&template, &text), ACR_E_DATA);
    acr__template_close(&template);
    acr__chars_free(ctx, &text);
}

static void nothing(void **state)
{
    (void)state;
    refused(plain, ACR_CHAT_PLAIN, false, "{\"text\": \"\"}", "nothing to learn on this line: its text is empty");
    refused(plain, ACR_CHAT_PLAIN, false, "{\"prompt\": \"p\", \"completion\": \"\"}", "its completion is empty");
    refused(plain, ACR_CHAT_PLAIN, false, "{\"messages\": [{\"role\": \"user\", \"content\": \"Q?\"}]}",
            "the assistant says nothing");
    refused(plain, ACR_CHAT_PLAIN, true, "{\"messages\": [{\"role\": \"user\", \"content\": \"\"}]}", "nothing to learn");
    refused(plain, ACR_CHAT_PLAIN, false, "{\"text\": \"<|endoftext|>\"}", "one token, which nothing is before");
    refused(plain, ACR_CHAT_CHATML, false, TALK, "need the tokens <|im_start|> and <|im_end|>");
    becomes(plain, ACR_CHAT_CHATML, false, "{\"text\": \"hi\"}", "[hi<|endoftext|>]"); /* which needs none */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(talks), cmocka_unit_test(prompts),
                                       cmocka_unit_test(for_other_tools), cmocka_unit_test(nothing)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
