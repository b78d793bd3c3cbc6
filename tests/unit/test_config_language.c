/* The options of language models: what must be given, what fits together, what is
 * the default. */
#include "config_text.h"
#include <math.h>

#define GPT2 "model: {type: gpt2, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4}\n"
#define TEXT "data: {train: {format: text, path: a.txt}, learn_tokenizer: 300}\n"
#define REST "optimizer: adamw\nlearning_rate: 0.1\nmax_steps: 5\neffective_batch_size: 10\n"

static void a_recipe(void **state)
{
    (void)state;
    acr__config *c = load_text(GPT2 TEXT REST "dtype: bfloat16\n");
    noted(c, NULL);
    assert_true(acr__config_is_language(c));
    assert_int_equal(c->loss, ACR__LOSS_CROSS_ENTROPY);
    assert_int_equal(c->dtype, ACR__DTYPE_BFLOAT16);
    assert_int_equal(c->recompute, ACR__RECOMPUTE_AUTO);
    assert_string_equal(c->data_train_path, "/folder/a.txt");
    assert_true(isnan(c->model_dropout));
    acr_trainer_opts o;
    acr__epoch epoch = {.samples = 100, .tokens = 25600};
    assert_int_equal(acr__config_trainer_opts(c, &epoch, &o), ACR_OK);
    assert_int_equal(o.weight_decay_min_dims, 2);
    acr__config_free(c);
    c = load_text("model: {type: gpt2, n_embd: 32, n_layer: 2, n_head: 4, dropout: 0}\n" TEXT REST
                  "weight_decay_exclude: [\"*.bias\"]\n");
    noted(c, "n_embd|hidden_size");
    assert_true(c->model_dropout == 0);
    assert_int_equal(acr__config_trainer_opts(c, &epoch, &o), ACR_OK);
    assert_int_equal(o.weight_decay_min_dims, 0);
    acr__config_free(c);
}

static void must_be_given(void **state)
{
    (void)state;
    refuse("model: {type: gpt2, num_hidden_layers: 2, num_attention_heads: 4}\n" TEXT REST, "model.hidden_size is missing");
    refuse("model: {type: llama, hidden_size: 2, num_attention_heads: 4}\n" TEXT REST, "num_hidden_layers is missing");
    refuse("model: {type: hf}\n" TEXT REST, "model.path is missing");
    refuse(GPT2 REST, "data.train.format is missing|format: text");
    refuse(GPT2 "data: {train: {format: text}, learn_tokenizer: 300}\n" REST, "data.train.path is missing");
    refuse(GPT2 "data: {train: {format: text, path: a}}\n" REST, "needs a tokenizer|learn_tokenizer: 4096");
    refuse(GPT2 "data: {train: {format: safetensors, path: a, input: ids}}\n" REST, "data.train.target is missing");
}

static void does_not_fit(void **state)
{
    (void)state;
    refuse("model: {type: gpt2, layers: [3, 4], hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4}\n" TEXT REST,
           "model.layers|no meaning with model.type: gpt2");
    refuse(WHOLE "recompute: full\n", "recompute|no meaning with model.type: mlp");
    refuse(GPT2 "data: {train: {format: npy, input: a, target: b}}\n" REST, "no data for model.type: gpt2|text or jsonl");
    refuse(MODEL "data: {train: {format: text, path: a}}\n" CHOICES BATCH LENGTH, "no data for model.type: mlp|idx or npy");
    refuse(GPT2 TEXT REST "loss: mse\n", "cross_entropy");
    refuse(GPT2 TEXT REST "class_weights: [1, 2]\n", "tokens have no weights");
    refuse(GPT2 TEXT REST "ignore_index: 0\n", "ignore_index|-100");
    refuse(GPT2 "data: {train: {format: text, path: a}, tokenizer: t.json, learn_tokenizer: 300}\n" REST, "leave one");
    refuse(GPT2 "data: {train: {format: tokens, path: a}, learn_tokenizer: 300}\n" REST, "learned from text");
    refuse(GPT2 "data: {train: {format: kjv}, eval: {format: kjv}, learn_tokenizer: 300, validation_split: 0.1}\n" REST,
           "validation_split|leave one");
}

static void tokens_as_lengths(void **state)
{
    (void)state;
    acr__epoch epoch = {.samples = 100, .tokens = 25600, .windows = 10};
    acr__config *c = load_text(GPT2 TEXT "optimizer: adamw\nlearning_rate: 0.1\neffective_batch_size: 10\n"
                               "max_steps: 0.1Mt\nwarmup_steps: 2561t\nsave_steps: 2560t\n");
    assert_int_equal(acr__horizon_updates(c->max_steps, &epoch), 40);
    assert_int_equal(acr__horizon_updates(c->warmup_steps, &epoch), 2);
    assert_int_equal(acr__horizon_updates(c->save_steps, &epoch), 1);
    const char *text;
    assert_int_equal(acr__config_text(c, &text), ACR_OK);
    assert_non_null(strstr(text, "max_steps=100000t\n"));
    assert_non_null(strstr(text, "model.dropout=auto\n"));
    acr__config_free(c);
    refuse(GPT2 TEXT "optimizer: sgd\nlearning_rate: 1\neffective_batch_size: 1\nmax_steps: 0.5t\n", "whole number of tokens");
    refuse(GPT2 TEXT "optimizer: sgd\nlearning_rate: 1\neffective_batch_size: 1\nmax_steps: Mt\n", "neither updates");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recipe),
        cmocka_unit_test(must_be_given),
        cmocka_unit_test(does_not_fit),
        cmocka_unit_test(tokens_as_lengths),
    };
    return cmocka_run_group_tests(tests, context_make, context_remove);
}
