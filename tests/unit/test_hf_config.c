/* test_hf_config.c: config.json as transformers understands it: defaults, aliases,
 * both forms of rotary parameters; what is not implemented is refused by name and
 * value; what is written reads back. */
#include "net.h"

#include "io/file.h"
#include "io/hf.h"
#include "io/json.h"
#include <stdbool.h>

static acr_context *ctx;

static int setup(void **state)
{
    int rc = scratch_setup(state);
    return rc || acr_context_create(&ctx, NULL) != ACR_OK;
}

static int teardown(void **state)
{
    acr_context_destroy(ctx);
    return scratch_teardown(state);
}

/* Reads `text` with ' for ". */
static acr_status take(const char *text, acr__lm *lm)
{
    char json[4096];
    json_t *root;
    snprintf(json, sizeof json, "%s", text);
    for (char *c = json; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    acr_status status = acr__json_parse(ctx, "config.json", "the file", json, strlen(json), &root);
    assert_int_equal(status, ACR_OK);
    status = acr__lm_from_json(ctx, "config.json", root, lm);
    json_decref(root);
    return status;
}

static acr__lm good(const char *text)
{
    acr__lm lm;
    if (take(text, &lm) != ACR_OK)
        fail_msg("%s: %s", text, acr_error(ctx));
    return lm;
}

/* What is written reads back and is written again the same. */
static void round_trip(const acr__lm *lm)
{
    json_t *first, *again;
    acr__lm copy;
    assert_int_equal(acr__lm_to_json(ctx, lm, &first), ACR_OK);
    if (acr__lm_from_json(ctx, "again", first, &copy) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    assert_int_equal(acr__lm_to_json(ctx, &copy, &again), ACR_OK);
    assert_true(json_equal(first, again));
    assert_int_equal(copy.family, lm->family);
    const int64_t *got = &copy.vocab, *want = &lm->vocab; /* to window_from all are of one type */
    for (const int64_t *end = &lm->window_from; want <= end; got++, want++)
        assert_int_equal(*got, *want);
    assert_int_equal(copy.activation, lm->activation);
    assert_int_equal(copy.unscaled, lm->unscaled);
    assert_int_equal(copy.pad, lm->pad);
    assert_int_equal(copy.rope.original_positions, lm->rope.original_positions);
    json_decref(first);
    json_decref(again);
}

static void test_defaults(void **state)
{
    (void)state;
    acr__lm lm = good("{'model_type': 'gpt2'}");
    assert_int_equal(lm.vocab, 50257);
    assert_int_equal(lm.width, 768);
    assert_int_equal(lm.layers, 12);
    assert_int_equal(lm.head_dim, 64);
    assert_int_equal(lm.inner, 3072);
    assert_int_equal(lm.positions, 1024);
    assert_int_equal(lm.eos[0], 50256);
    assert_true(lm.tied && lm.qkv_bias && lm.o_bias && lm.mlp_bias && !lm.unscaled);
    assert_true(lm.attn_dropout == 0.1 && lm.embd_dropout == 0.1 && lm.resid_dropout == 0.1 && lm.norm_eps == 1e-5);
    round_trip(&lm);

    lm = good("{'model_type': 'llama'}");
    assert_int_equal(lm.vocab, 32000);
    assert_int_equal(lm.inner, 11008);
    assert_int_equal(lm.kv_heads, 32);
    assert_int_equal(lm.head_dim, 128);
    assert_int_equal(lm.eos[0], 2);
    assert_true(!lm.tied && !lm.qkv_bias && !lm.o_bias && !lm.mlp_bias && lm.rope.theta == 10000 && lm.norm_eps == 1e-6);
    round_trip(&lm);

    lm = good("{'model_type': 'mistral'}");
    assert_int_equal(lm.kv_heads, 8);
    assert_int_equal(lm.inner, 14336);
    assert_int_equal(lm.window, 4096);
    round_trip(&lm);

    lm = good("{'model_type': 'qwen2'}");
    assert_int_equal(lm.vocab, 151936);
    assert_int_equal(lm.kv_heads, 32);
    assert_int_equal(lm.window, 0);
    assert_int_equal(lm.bos, -1);
    assert_int_equal(lm.eos_count, 0);
    assert_true(lm.qkv_bias && !lm.o_bias);
    round_trip(&lm);
}

static void test_names_and_nulls(void **state)
{
    (void)state;
    acr__lm lm = good("{'model_type': 'gpt2', 'hidden_size': 96, 'num_hidden_layers': 3, 'num_attention_heads': 6, "
                      "'max_position_embeddings': 77, 'n_inner': 100, 'scale_attn_weights': false, 'n_ctx': 5, "
                      "'reorder_and_upcast_attn': true, 'activation_function': 'relu', 'eos_token_id': [3, 9], "
                      "'bos_token_id': null, 'layer_norm_epsilon': 1e-6, 'attn_pdrop': 0, 'unknown': {'x': [1]}}");
    assert_int_equal(lm.width, 96);
    assert_int_equal(lm.layers, 3);
    assert_int_equal(lm.head_dim, 16);
    assert_int_equal(lm.positions, 77);
    assert_int_equal(lm.inner, 100);
    assert_int_equal(lm.eos_count, 2);
    assert_int_equal(lm.eos[1], 9);
    assert_int_equal(lm.bos, -1);
    assert_true(lm.unscaled && lm.norm_eps == 1e-6 && lm.attn_dropout == 0);
    assert_string_equal(acr__lm_activation_name(lm.activation), "relu");
    round_trip(&lm);

    lm = good("{'model_type': 'llama', 'hidden_size': 64, 'num_attention_heads': 4, 'num_key_value_heads': null, "
              "'head_dim': 10, 'eos_token_id': null, 'pad_token_id': 0, 'attention_bias': true, 'mlp_bias': true, "
              "'tie_word_embeddings': true, 'attention_dropout': 0.25, 'pretraining_tp': 4}");
    assert_int_equal(lm.kv_heads, 4);
    assert_int_equal(lm.head_dim, 10);
    assert_int_equal(lm.eos_count, 0);
    assert_int_equal(lm.pad, 0);
    assert_true(lm.qkv_bias && lm.o_bias && lm.mlp_bias && lm.tied && lm.attn_dropout == 0.25);
    round_trip(&lm);
}

static void test_key_value_heads(void **state)
{
    (void)state;
    assert_int_equal(good("{'model_type': 'llama', 'num_attention_heads': 4}").kv_heads, 4);
    assert_int_equal(good("{'model_type': 'mistral', 'num_attention_heads': 16}").kv_heads, 8);
    assert_int_equal(good("{'model_type': 'mistral', 'num_attention_heads': 4, 'num_key_value_heads': null}").kv_heads, 4);
    assert_int_equal(good("{'model_type': 'qwen2', 'num_attention_heads': 64}").kv_heads, 32);
}

static void test_rope(void **state)
{
    (void)state;
    acr__lm lm = good("{'model_type': 'llama', 'rope_theta': 500000, 'rope_scaling': null}");
    assert_true(lm.rope.theta == 500000 && lm.rope.scaling == ACR_ROPE_DEFAULT);
    lm = good("{'model_type': 'qwen2', 'rope_parameters': {'rope_theta': 1e6, 'rope_type': 'default'}}");
    assert_true(lm.rope.theta == 1e6);
    lm = good("{'model_type': 'llama', 'rope_theta': 7.0, 'rope_scaling': {'type': 'linear', 'factor': 2}}");
    assert_true(lm.rope.theta == 7 && lm.rope.scaling == ACR_ROPE_LINEAR && lm.rope.factor == 2);
    round_trip(&lm);
    lm = good("{'model_type': 'llama', 'rope_scaling': {'rope_type': 'llama3', 'factor': 32.0, 'low_freq_factor': 1.0, "
              "'high_freq_factor': 4.0, 'original_max_position_embeddings': 8192}, 'max_position_embeddings': 131072}");
    assert_true(lm.rope.scaling == ACR_ROPE_LLAMA3 && lm.rope.factor == 32 && lm.rope.high_freq_factor == 4);
    assert_int_equal(lm.rope.original_positions, 8192);
    round_trip(&lm);
    lm = good("{'model_type': 'llama', 'rope_parameters': {'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 1, "
              "'high_freq_factor': 4, 'rope_theta': 9.0}, 'max_position_embeddings': 5000}");
    assert_int_equal(lm.rope.original_positions, 5000); /* as transformers fills it in */
    assert_true(lm.rope.theta == 9);
}

static void test_windows(void **state)
{
    (void)state;
    assert_int_equal(good("{'model_type': 'mistral', 'sliding_window': null}").window, 0);
    assert_int_equal(good("{'model_type': 'mistral', 'sliding_window': 256}").window, 256);
    assert_int_equal(good("{'model_type': 'llama', 'sliding_window': 256}").window, 0);
    assert_int_equal(good("{'model_type': 'qwen2', 'sliding_window': 256}").window, 0);
    assert_int_equal(good("{'model_type': 'qwen2', 'use_sliding_window': true, 'sliding_window': 256}").window_from, 28);
    /* 32 layers, of which the first 32 see everything */
    assert_int_equal(good("{'model_type': 'qwen2', 'use_sliding_window': true, 'max_window_layers': 32}").window, 0);
    acr__lm lm = good("{'model_type': 'qwen2', 'use_sliding_window': true, 'sliding_window': 8, 'num_hidden_layers': 3, "
                      "'layer_types': ['full_attention', 'sliding_attention', 'sliding_attention']}");
    assert_int_equal(lm.window, 8);
    assert_int_equal(lm.window_from, 1);
    round_trip(&lm);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{}", "model_type"},
        {"{'model_type': 'gemma'}", "model_type is \"gemma\"; gpt2, llama, mistral or qwen2"},
        {"{'model_type': 3}", "model_type is 3"},
        {"{'model_type': 'gpt2', 'scale_attn_by_inverse_layer_idx': true}", "scale_attn_by_inverse_layer_idx is true"},
        {"{'model_type': 'gpt2', 'add_cross_attention': true}", "add_cross_attention is true"},
        {"{'model_type': 'gpt2', 'add_cross_attention': 'no'}", "true or false is wanted"},
        {"{'model_type': 'gpt2', 'activation_function': 'mish'}", "activation_function is \"mish\""},
        {"{'model_type': 'llama', 'hidden_act': 'relu2'}", "silu"},
        {"{'model_type': 'llama', 'quantization_config': {'bits': 4}}", "quantization_config is {\"bits\":4}"},
        {"{'model_type': 'gpt2', 'pruned_heads': {'0': [1]}}", "pruned_heads"},
        {"{'model_type': 'llama', 'is_causal': false}", "is_causal is false"},
        {"{'model_type': 'llama', 'partial_rotary_factor': 0.5}", "partial_rotary_factor is 0.5"},
        {"{'model_type': 'llama', 'rope_scaling': {'rope_type': 'yarn', 'factor': 4}}", "rope_type is \"yarn\""},
        {"{'model_type': 'llama', 'rope_scaling': {'type': 'dynamic', 'factor': 4}}", "rope_scaling.type is \"dynamic\""},
        {"{'model_type': 'llama', 'rope_parameters': {'rope_type': 'longrope'}}", "default, linear and llama3"},
        {"{'model_type': 'llama', 'rope_parameters': {'full_attention': {'rope_type': 'default'}}}", "all layers"},
        {"{'model_type': 'llama', 'rope_scaling': {'type': 'linear'}}", "factor is missing"},
        {"{'model_type': 'llama', 'rope_scaling': {'type': 'linear', 'factor': 0.5}}", "1 or more"},
        {"{'model_type': 'llama', 'rope_theta': 1e4, 'rope_parameters': {'rope_theta': 2e4}}", "remove one"},
        {"{'model_type': 'llama', 'rope_scaling': 3}", "an object is wanted"},
        {"{'model_type': 'llama', 'rope_scaling': {'factor': 2}, 'rope_parameters': {'factor': 3}}", "different"},
        {"{'model_type': 'qwen2', 'layer_types': ['full_attention']}", "each layer"},
        {"{'model_type': 'qwen2', 'num_hidden_layers': 2, 'use_sliding_window': true, "
         "'layer_types': ['sliding_attention', 'full_attention']}", "after it"},
        {"{'model_type': 'qwen2', 'num_hidden_layers': 1, 'layer_types': ['linear_attention']}", "full_attention"},
        {"{'model_type': 'qwen2', 'num_hidden_layers': 1, 'layer_types': ['sliding_attention']}", "no sliding_window"},
        {"{'model_type': 'gpt2', 'n_embd': 96, 'hidden_size': 97}", "another name"},
        {"{'model_type': 'gpt2', 'n_embd': 50, 'n_head': 4}", "not divided by 4 heads"},
        {"{'model_type': 'gpt2', 'n_embd': '96'}", "a whole number"},
        {"{'model_type': 'gpt2', 'n_embd': 96.0}", "a whole number"},
        {"{'model_type': 'gpt2', 'n_embd': 9223372036854775807}", "the width"},
        {"{'model_type': 'gpt2', 'n_head': 0}", "heads is 0"},
        {"{'model_type': 'gpt2', 'n_layer': -1}", "layers is -1"},
        {"{'model_type': 'gpt2', 'vocab_size': 1}", "vocabulary is 1"},
        {"{'model_type': 'gpt2', 'resid_pdrop': 1.0}", "dropout is 1"},
        {"{'model_type': 'gpt2', 'layer_norm_epsilon': 0}", "epsilon is 0"},
        {"{'model_type': 'gpt2', 'initializer_range': 0}", "initializer_range is 0"},
        {"{'model_type': 'llama', 'num_key_value_heads': 5}", "evenly"},
        {"{'model_type': 'llama', 'head_dim': 9}", "even"},
        {"{'model_type': 'gpt2', 'eos_token_id': 'x'}", "eos_token_id"},
        {"{'model_type': 'gpt2', 'eos_token_id': [1, 2.5]}", "eos_token_id"},
        {"{'model_type': 'gpt2', 'eos_token_id': [-3]}", "no token's number"},
        {"{'model_type': 'gpt2', 'bos_token_id': 99999999999}", "no token's number"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        acr__lm lm = {.vocab = 12345};
        if (take(bad[i][0], &lm) != ACR_E_DATA)
            fail_msg("%s was not refused as data", bad[i][0]);
        assert_says(ctx, bad[i][1]);
        assert_says(ctx, "config.json: ");
        assert_int_equal(lm.vocab, 12345);
    }
}

static void put_config(const char *text) { put_file(in_scratch("config.json"), text, strlen(text)); }

static void test_files(void **state)
{
    (void)state;
    acr__lm lm;
    assert_int_equal(acr__lm_config_read(ctx, scratch, &lm), ACR_E_DATA);
    assert_says(ctx, "config.json");
    put_config("{\"model_type\": \"gpt2\", \"model_type\": \"gpt2\"}");
    assert_int_equal(acr__lm_config_read(ctx, scratch, &lm), ACR_E_DATA);
    assert_says(ctx, "duplicate");
    put_config("[1]");
    assert_int_equal(acr__lm_config_read(ctx, scratch, &lm), ACR_E_DATA);
    char deep[200] = "{\"a\":";
    memset(deep + 5, '[', 100);
    put_config(deep);
    assert_int_equal(acr__lm_config_read(ctx, scratch, &lm), ACR_E_DATA);
    assert_says(ctx, "deeper than 32");

    lm = good("{'model_type': 'llama', 'rms_norm_eps': 1.2345678901234567e-5, 'vocab_size': 99, 'num_hidden_layers': 2}");
    assert_int_equal(acr__lm_config_write(ctx, scratch, &lm, ACR_ST_BF16), ACR_OK);
    size_t n;
    char *text = get_file(in_scratch("config.json"), &n);
    assert_non_null(strstr(text, "\"torch_dtype\": \"bfloat16\""));
    assert_non_null(strstr(text, "\"LlamaForCausalLM\""));
    free(text);
    acr__lm again;
    assert_int_equal(acr__lm_config_read(ctx, scratch, &again), ACR_OK);
    assert_true(again.norm_eps == lm.norm_eps);
    lm.norm_eps = 1e-5;
    assert_int_equal(acr__lm_config_write(ctx, scratch, &lm, ACR_ST_F32), ACR_OK);
    text = get_file(in_scratch("config.json"), &n);
    assert_non_null(strstr(text, "\"rms_norm_eps\": 1e-"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),        cmocka_unit_test(test_names_and_nulls),
        cmocka_unit_test(test_key_value_heads), cmocka_unit_test(test_rope),
        cmocka_unit_test(test_windows),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
