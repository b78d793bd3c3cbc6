/* test_config.c: recipes, flags and environment: what is taken, what is refused
 * and with which words, which layer wins. What a run stores of it is tested in
 * test_config_store.c. */
#include "unit/config_text.h"

#include <locale.h>
#include <unistd.h>

/* ---- YAML ------------------------------------------------------------------ */
static void a_whole_recipe(void **state)
{
    (void)state;
    acr__config *c = load_text("model:\n  type: mlp\n  layers: [784, 512, 10]\n  activation: gelu\n  dropout: 0.25\n"
                               "data:\n  train: {format: idx, input: x.gz, target: /abs/y.gz}\n"
                               "  eval: {format: npy, input: ./a//b.npy, target: ../t.npy, samples: 7}\n"
                               "  shuffle: false\n  scale: 255\n"
                               "loss: cross_entropy\noptimizer: adamw\nlearning_rate: 1e-5\nadam_beta2: 0.95\n"
                               "effective_batch_size: 50\nmax_steps: 6\nmemory_limit: 48MiB\n"
                               "weight_decay_exclude: [\"*.bias\"]\n");
    noted(c, NULL);
    assert_int_equal(c->model_layers.count, 3);
    assert_int_equal(c->model_layers.item[0], 784);
    assert_int_equal(c->model_activation.count, 1);
    assert_int_equal(c->model_activation.item[0], ACR__ACT_GELU);
    assert_true(c->model_dropout == 0.25);
    assert_string_equal(c->data_train_input, "/folder/x.gz");
    assert_string_equal(c->data_train_target, "/abs/y.gz");
    assert_string_equal(c->data_eval_input, "/folder/a/b.npy");
    assert_string_equal(c->data_eval_target, "/folder/../t.npy");
    acr__data_spec eval = acr__config_data(c, true);
    assert_true(eval.present);
    assert_int_equal(eval.format, ACR__FORMAT_NPY);
    assert_int_equal(eval.samples, 7);
    assert_false(c->data_shuffle);
    assert_true(c->learning_rate == 1e-5);
    assert_true(c->adam_beta1 == 0.9 && c->adam_beta2 == 0.95 && c->adam_epsilon == 1e-8);
    assert_int_equal(c->optimizer, ACR_ADAMW);
    assert_int_equal(c->loss, ACR__LOSS_CROSS_ENTROPY);
    assert_int_equal(c->memory_limit, 48 << 20);
    assert_int_equal(c->max_steps.unit, ACR__UNIT_UPDATES);
    assert_true(c->max_steps.count == 6);
    assert_int_equal(c->save_steps.unit, ACR__UNIT_AUTO);
    assert_int_equal(c->eval_steps.unit, ACR__UNIT_EPOCHS);
    assert_int_equal(c->micro_batch_size, 0);
    assert_string_equal(c->weight_decay_exclude.item[0], "*.bias");
    assert_string_equal(c->trainable.item[0], "*");
    assert_null(c->resume_from_checkpoint);
    assert_null(c->output_dir);
    acr__config_free(c);
}

static void unknown_keys_name_the_nearest(void **state)
{
    (void)state;
    refuse(WHOLE "lerning_rate: 1\n", "r.yaml:8:1|lerning_rate|learning_rate");
    refuse(WHOLE "dropuot: 1\n", "model.dropout");
    refuse(WHOLE "max-steps: 1\n", "max_steps");
    refuse("modle: {type: mlp}\n", "modle|section model");
    refuse("model: {type: mlp, layer: [1, 2]}\n", "1:20|model.layer|model.layers");
    refuse("data: {trian: {format: idx}}\n", "data.trian|data.train");
    refuse(WHOLE "batch_size: 3\n", "effective_batch_size|micro_batch_size");
    refuse(WHOLE "warmup_ratio: 0.1\n", "warmup_steps");
    refuse(WHOLE "zzzzqqqq: 1\n", "unknown key zzzzqqqq");
    assert_null(strstr(refusal, "mean"));
    refuse(WHOLE "<<: {a: 1}\n", "unknown key <<");
    refuse(WHOLE "\"a\\x1bb\": 1\n", "unknown key a?b");
}

static void duplicates(void **state)
{
    (void)state;
    refuse(WHOLE "seed: 1\nseed: 2\n", "r.yaml:9:1|seed|line 8");
    refuse(WHOLE "lr: 1\n", "learning_rate|line 5");
    refuse(WHOLE "model: {dropout: 0.1}\n", "model|twice");
    refuse("data: {train: {format: normal}, train: {samples: 3}}\n", "data.train|twice");
    refuse(WHOLE "adam_beta1: 0.5\nbetas: [0.9, 0.99]\n", "betas|adam_beta1|line 8");
}

static void what_yaml_may_not_have(void **state)
{
    (void)state;
    refuse("seed: &a 1\n", "r.yaml:1:7|anchors|&a");
    refuse("model: &m {type: mlp}\n", "anchors");
    refuse("model: {layers: &l [1, 2]}\n", "anchors");
    refuse("seed: *a\n", "1:7|aliases");
    refuse("a: &a [x,x,x,x]\nb: &b [*a,*a,*a]\n", "r.yaml:1:1");
    refuse("seed: !!int 1\n", "tags");
    refuse("model: !m {type: mlp}\n", "tags");
    refuse("model: {layers: !!set [1, 2]}\n", "tags");
    refuse(WHOLE "---\nseed: 1\n", "second document");
    refuse("", "is empty");
    refuse("# nothing\n", "is empty");
    refuse("just words\n", "not a recipe");
    refuse("[1, 2]\n", "not a recipe");
    refuse("[a, b]: 1\n", "key has to be a word");
    refuse("seed: [1\n", "not YAML");
    refuse("name: a\n bad: 2\n", "r.yaml:2:5|not YAML");
    refuse("seed:\n", "seed|has no value");
    refuse("seed: null\n", "has no value");
    refuse("seed: {a: 1}\n", "seed: takes a value");
    refuse("model: 3\n", "model: takes keys");
    refuse("seed: [1, 2]\n", "not a list");
    refuse("model: {layers: [[1], 2]}\n", "1:18|lists");
    refuse("model: {layers: []}\n", "empty");
    refuse("\"se\\0ed\": 1\n", "word");
    refuse("name: \"a\\0b\"\n", "zero byte");
    refuse("\xff\xfe", "not a text");
}

/* Depth is refused by the first event that no option takes, before libyaml has
 * read the rest. */
static void depth_and_garbage(void **state)
{
    (void)state;
    enum { N = 100000 };
    static const char *const begin[] = {"", "a: ", "seed: ", "model: {layers: ", "model: {type: mlp, activation: "};
    static char text[N + 64];
    for (int i = 0; i < 5; i++) {
        for (int k = 0; k < 2; k++) {
            size_t n = (size_t)snprintf(text, sizeof text, "%s", begin[i]);
            memset(text + n, k ? '{' : '[', N);
            text[n + N] = '\0';
            refuse(text, "r.yaml:1:");
        }
    }
    acr__config *cfg;
    uint32_t x = 1;
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 4096; i++) {
            x = x * 1664525 + 1013904223;
            text[i] = (char)(x >> 24);
        }
        assert_int_equal(load_all(&cfg, text, 4096, "", NULL), ACR_E_CONFIG);
    }
    char *big = calloc(1, (1 << 20) + 1);
    memset(big, '\n', (1 << 20) + 1);
    assert_int_equal(load_all(&cfg, big, (1 << 20) + 1, "", NULL), ACR_E_CONFIG);
    assert_non_null(strstr(refusal, "at most 1048576"));
    free(big);
}

/* ---- values ------------------------------------------------------------------ */
static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"1e-5", 1e-5}, {"1E-5", 1e-5}, {".5", .5}, {"5.", 5},
                {"+2", 2},      {"0.1", 0.1},   {"3", 3},   {"1e3", 1000}};
    static const char *const bad[] = {"fast", "0x10", "nan", ".inf", "1e999", "1_000",
                                      "1,5",  "-1",   "1e",  ".",    "'1'",   "1 2"};
    char text[512];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(text, sizeof text, WHOLE "max_grad_norm: %s\n", good[i].text);
        acr__config *c = load_text(text);
        assert_true(c->max_grad_norm == good[i].value);
        acr__config_free(c);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, WHOLE "max_grad_norm: %s\n", bad[i]);
        refuse(text, "r.yaml:8:1: max_grad_norm");
    }
    refuse(WHOLE "seed: 1e3\n", "whole number|digits");
    refuse(WHOLE "seed: 1.5\n", "whole number");
    refuse(WHOLE "seed: 9223372036854775808\n", "out of range|at most 9223372036854775807");
    refuse(WHOLE "seed: -9223372036854775809\n", "out of range|at least 0");
    refuse(WHOLE "threads: 99999999999999999999\n", "out of range|from 1 to 1024");
    refuse(WHOLE "memory_limit: 99999999TiB\n", "out of range|at most 4194304TiB");
    refuse(WHOLE "eval_steps: 9007199254740994\n", "out of range|at most 9007199254740992");
    refuse(WHOLE "seed: -1\n", "at least 0");
    refuse(WHOLE "micro_batch_size: -1\n", "micro_batch_size|from 1");
    refuse(WHOLE "micro_batch_size: 0\n", "from 1");
    refuse(BASE "effective_batch_size: 0\n", "effective_batch_size");
    refuse(WHOLE "momentum: 1\n", "from 0 to below 1");
    refuse(WHOLE "numerics: 2\n", "numerics");
}

static void booleans_and_words(void **state)
{
    (void)state;
    static const char *const bad[] = {"yes", "no", "on", "True", "TRUE", "1", "\"true\"", "y"};
    char text[512];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, WHOLE "load_best_model_at_end: %s\n", bad[i]);
        refuse(text, "load_best_model_at_end");
    }
    refuse(WHOLE "lr_scheduler_type: cosin\n", "cosin|constant, linear, cosine, wsd");
    refuse(WHOLE "dtype: float16\n", "float32, bfloat16");
    acr__config *c =
        load_text(WHOLE "max_grad_norm: off\nmemory_limit: none\nthreads: auto\nresume_from_checkpoint: auto\n"
                        "dtype: \"float32\"\n");
    assert_true(c->max_grad_norm == 0);
    assert_int_equal(c->memory_limit, 0);
    assert_int_equal(c->threads, 0);
    assert_string_equal(c->resume_from_checkpoint, "auto");
    acr__config_free(c);
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"1048576", 1 << 20},  {"2048KiB", 2 << 20}, {"48MiB", 48 << 20},
                {"1.5GiB", 3LL << 29}, {"1 GiB", 1 << 30},   {"2TiB", 2LL << 40}};
    static const char *const bad[] = {"48MB", "48M", "48", "MiB", "-1GiB", "1e99GiB", "much"};
    char text[512];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(text, sizeof text, WHOLE "memory_limit: %s\n", good[i].text);
        acr__config *c = load_text(text);
        assert_int_equal(c->memory_limit, good[i].value);
        acr__config_free(c);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, WHOLE "memory_limit: %s\n", bad[i]);
        refuse(text, "memory_limit|MiB");
    }
    refuse(WHOLE "memory_limit: 1048576.5\n", "whole number of bytes");
}

static void horizons(void **state)
{
    (void)state;
    const acr__epoch epoch = {.samples = 60000, .windows = 15};
    acr__config *c = load_text(WHOLE "max_steps: 500u\neval_steps: 0.5e\nsave_steps: 0\nwarmup_steps: 2e\n");
    assert_int_equal(acr__horizon_updates(c->max_steps, &epoch), 500);
    assert_int_equal(acr__horizon_updates(c->eval_steps, &epoch), 8);
    assert_int_equal(acr__horizon_updates(c->save_steps, &epoch), 0);
    assert_int_equal(c->save_steps.unit, ACR__UNIT_UPDATES);
    assert_int_equal(acr__horizon_updates(c->warmup_steps, &epoch), 30);
    acr__config_free(c);
    refuse(WHOLE "max_steps: 10Mt\n", "counts tokens|epochs (2e)");
    refuse(WHOLE "max_steps: 1e5\n", "whole number of updates");
    refuse(WHOLE "max_steps: 0.5\n", "whole number of updates");
    refuse(WHOLE "max_steps: 0\n", "out of range");
    refuse(WHOLE "max_steps: e\n", "neither updates");
    refuse(WHOLE "max_steps: -3\n", "out of range");
}

/* A process with a decimal comma reads and writes the same numbers. */
static void locale_does_not_matter(void **state)
{
    (void)state;
    char folder[] = "/tmp/accrue-locale-XXXXXX", command[200];
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >%s/log 2>&1", folder, folder);
    int made = system(command);
    setenv("LOCPATH", folder, 1);
    bool comma = made == 0 && setlocale(LC_ALL, "de_DE.UTF-8") != NULL && *localeconv()->decimal_point == ',';
    unsetenv("LOCPATH");
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
    if (!comma) {
        print_message("a locale with a decimal comma can't be made here: not tested\n");
        skip();
    }
    acr__config *c = load_text(WHOLE "momentum: 0.125\n");
    const char *text;
    assert_true(c->momentum == 0.125);
    assert_int_equal(acr__config_text(c, &text), ACR_OK);
    assert_non_null(strstr(text, "momentum=0.125\n"));
    acr__config_free(c);
    refuse(WHOLE "momentum: 0,5\n", "not a number");
    setlocale(LC_ALL, "C");
}

/* ---- rules between options ------------------------------------------------------ */
static void what_must_be_given(void **state)
{
    (void)state;
    refuse("model: {layers: [4, 2]}\n" DATA CHOICES BATCH LENGTH, "model.type is missing|add");
    refuse("model: {type: mlp}\n" DATA CHOICES BATCH LENGTH, "model.layers is missing");
    refuse(MODEL CHOICES BATCH LENGTH, "data.train.format is missing");
    refuse(MODEL DATA "optimizer: sgd\nlearning_rate: 1\n" BATCH LENGTH, "loss is missing|cross_entropy|mse");
    refuse(MODEL DATA "loss: mse\nlearning_rate: 1\n" BATCH LENGTH, "optimizer is missing");
    refuse(MODEL DATA "loss: mse\noptimizer: sgd\n" BATCH LENGTH, "learning_rate is missing|1e-3");
    refuse(MODEL DATA CHOICES LENGTH, "effective_batch_size is missing|micro_batch_size");
    refuse(MODEL DATA CHOICES BATCH, "num_train_epochs is missing|max_steps");
    refuse(MODEL "data: {train: {format: normal}}\n" CHOICES BATCH LENGTH, "data.train.samples is missing");
    refuse(MODEL "data: {train: {format: idx, input: a}}\n" CHOICES BATCH LENGTH, "data.train.target is missing");
    refuse(MODEL "data: {train: {format: safetensors, input: a, target: b}}\n" CHOICES BATCH LENGTH,
           "data.train.path is missing");
    refuse(MODEL "data: {train: {format: normal, samples: 3}, eval: {samples: 3}}\n" CHOICES BATCH LENGTH,
           "data.eval.format is missing");
}

static void unused_keys(void **state)
{
    (void)state;
    /* The same layer chose: an error. */
    refuse(WHOLE "adam_beta1: 0.5\n", "r.yaml:8:1|adam_beta1|optimizer: sgd|adam");
    refuse(WHOLE "huber_delta: 2\n", "huber_delta|loss: mse");
    refuse(WHOLE "min_lr_ratio: 0.1\n", "min_lr_ratio|lr_scheduler_type: constant (the default)");
    refuse(WHOLE "lr_scheduler_type: cosine\ndecay_steps: 5\n", "decay_steps|wsd");
    refuse(MODEL "data: {train: {format: normal, samples: 3, path: x}}\n" CHOICES BATCH LENGTH,
           "data.train.path|normal");
    refuse(WHOLE "metric_for_best_model: loss\n", "metric_for_best_model|load_best_model_at_end");
    refuse_with(WHOLE, "--optimizer adamw --momentum 0.5", "--momentum|optimizer: adamw");
    refuse_with(WHOLE, "--huber_delta 2 --loss mae", "--huber_delta");
    /* Another layer did: a note. */
    acr__config *c = load_with(WHOLE "momentum: 0.9\n", "--optimizer adamw");
    noted(c, "r.yaml:8:1: momentum|not used|optimizer: adamw");
    assert_false(acr__config_used(c, ACR__OPT_momentum));
    assert_true(acr__config_used(c, ACR__OPT_adam_beta1));
    acr__config_free(c);
    c = load_with(WHOLE, "--adam_beta1 0.5");
    noted(c, "--adam_beta1|not used|optimizer: sgd");
    acr__config_free(c);
}

static void rules_of_sections(void **state)
{
    (void)state;
    refuse("model: {type: mlp, layers: [4]}\n" DATA CHOICES BATCH LENGTH, "model.layers|two");
    refuse("model: {type: mlp, layers: [4, 3, 3, 2], activation: [relu, relu, relu]}\n" DATA CHOICES BATCH LENGTH,
           "3 activations for 2");
    refuse("model: {type: mlp, layers: [4, 3, 2], names: [a]}\n" DATA CHOICES BATCH LENGTH, "1 names for 2");
    refuse("model: {type: mlp, layers: [4, 3, 2], names: [a, a]}\n" DATA CHOICES BATCH LENGTH, "a twice");
    refuse("model: {type: mlp, layers: [4, 2], init_prefix: a}\n" DATA CHOICES BATCH LENGTH, "init_from");
    refuse(WHOLE "trainable: []\n", "nothing would be trained");
    refuse(WHOLE "nesterov: true\n", "nesterov|momentum");
    refuse(WHOLE "nesterov: true\nmomentum: 0.9\ndampening: 0.1\n", "dampening");
    refuse(WHOLE "lr_scheduler_type: wsd\ndecay_steps: auto\n", "decay_steps|neither updates");
    refuse(WHOLE "loss_reduction: mean_of_micro_batches\n", "micro_batch_size");
    refuse(WHOLE "load_best_model_at_end: true\n", "data.eval");
    refuse(WHOLE "name: a/b\n", "name|folder");
    refuse(WHOLE "name: ..\n", "name");
    refuse(WHOLE "name: \"\"\n", "name|empty");
    refuse(MODEL DATA "loss: cross_entropy\noptimizer: sgd\nlearning_rate: 1\nclass_weights: [1, 2, 3]\n" BATCH LENGTH,
           "3 weights for 2");
    acr__config *c =
        load_text("model: {type: mlp, layers: [4, 3, 3, 2], activation: [gelu_tanh, silu]}\n" DATA CHOICES BATCH LENGTH
                  "loss_reduction: sum_of_micro_batch_means\nmicro_batch_size: 5\n");
    noted(c, "loss_reduction|depends on micro_batch_size");
    assert_int_equal(c->model_activation.item[0], ACR__ACT_GELU_TANH);
    assert_int_equal(c->model_activation.item[1], ACR__ACT_SILU);
    acr__config_free(c);
    c = load_text("model: {type: mlp, layers: [4, 2]}\n" DATA CHOICES BATCH LENGTH);
    assert_int_equal(c->model_activation.count, 0);
    acr__config_free(c);
}

/* ---- the three sizes ---------------------------------------------------------------- */
static void sizes_are(const char *text, const char *words, int64_t effective, int64_t micro, int64_t steps)
{
    acr__config *c = load_with(text, words);
    if (c->effective_batch_size != effective || c->micro_batch_size != micro || c->gradient_accumulation_steps != steps)
        fail_msg("%s %s: %d, %d, %d", text, words, (int)c->effective_batch_size, (int)c->micro_batch_size,
                 (int)c->gradient_accumulation_steps);
    acr__config_free(c);
}

#define E "effective_batch_size: "
#define M "micro_batch_size: "
#define S "gradient_accumulation_steps: "

static void batch_arithmetic(void **state)
{
    (void)state;
    sizes_are(BASE E "4096\n", "", 4096, 0, 0);
    sizes_are(BASE E "4096\n" M "auto\n", "", 4096, 0, 0);
    sizes_are(BASE E "4096\n" M "100\n", "", 4096, 100, 41);
    sizes_are(BASE E "4096\n" S "7\n", "", 4096, 586, 7);
    sizes_are(BASE M "100\n" S "7\n", "", 700, 100, 7);
    sizes_are(BASE E "4096\n" M "100\n" S "41\n", "", 4096, 100, 41);
    sizes_are(BASE E "10\n" S "6\n", "", 10, 2, 5);
    sizes_are(BASE E "10\n" M "2\n" S "6\n", "", 10, 2, 5);
    sizes_are(BASE E "10\n" M "6\n" S "2\n", "", 10, 6, 2);
    sizes_are(BASE E "10\n" M "auto\n" S "5\n", "", 10, 2, 5);
    sizes_are(BASE E "50\n" M "64\n", "", 50, 50, 1);
    refuse(BASE E "4096\n" M "100\n" S "7\n", "4096|100|7|41|586|700");
    refuse(BASE M "100\n", "effective_batch_size is missing");
    refuse(BASE M "1099511627776\n" S "1099511627776\n", "too many");
}

static void batch_layers(void **state)
{
    (void)state;
    sizes_are(BASE E "4096\n" M "100\n", "--micro_batch_size 64", 4096, 64, 64);
    sizes_are(BASE E "4096\n" S "41\n", "--micro_batch_size 64", 4096, 64, 64);
    sizes_are(BASE M "100\n" S "6\n", "--micro_batch_size 50", 600, 50, 12);
    sizes_are(BASE M "100\n" S "6\n", "--gradient_accumulation_steps 3", 600, 200, 3);
    sizes_are(BASE M "100\n" S "6\n", "--effective_batch_size 1000", 1000, 100, 10);
    sizes_are(BASE M "100\n" S "6\n", "--micro_batch_size auto", 600, 0, 0);
    sizes_are(BASE E "4096\n" S "4\n", "--gradient_accumulation_steps auto", 4096, 0, 0);
    sizes_are(BASE E "4096\n" M "100\n", "--gradient_accumulation_steps 8", 4096, 512, 8);
    sizes_are(BASE E "4096\n", "--micro_batch_size 100 --gradient_accumulation_steps 7", 700, 100, 7);
    sizes_are(BASE M "100\n", "--gradient_accumulation_steps 7", 700, 100, 7);
    refuse_with(BASE E "10\n", "--effective_batch_size 4096 --micro_batch_size 100 --gradient_accumulation_steps 7",
                "the command line|4096|41");
    acr__config *c = load_with(BASE E "4096\n" M "100\n" S "41\n", "--micro_batch_size 64");
    noted(c, "r.yaml:9:1: gradient_accumulation_steps|41|displaced by micro_batch_size");
    acr__config_free(c);
    c = load_with(BASE E "4096\n", "--micro_batch_size 100 --gradient_accumulation_steps 7");
    noted(c, "effective_batch_size|4096|displaced");
    acr__config_free(c);
    c = load_with(BASE E "4096\n", "--micro_batch_size 100");
    noted(c, NULL);
    acr__config_free(c);
}

/* ---- layers, flags, environment -------------------------------------------------------- */
static void layers_win_in_order(void **state)
{
    (void)state;
    acr__config *c;
    char variable[] = "ACCRUE_SEED=2", dotted[] = "ACCRUE_MODEL_DROPOUT=0.5", near[] = "ACCRUE_SEEED=2",
         bad[] = "ACCRUE_SEED=x";
    char isa[] = "ACCRUE_ISA=avx2", empty[] = "ACCRUE_SEED=", other[] = "ACCRUE_BUILD=/x";
    assert_int_equal(load_all(&c, WHOLE "seed: 1\n", strlen(WHOLE "seed: 1\n"), "--seed 3", variable), ACR_OK);
    assert_int_equal(c->seed, 3);
    assert_int_equal(c->origin[ACR__OPT_seed].layer, ACR__LAYER_FLAG);
    noted(c, NULL);
    acr__config_free(c);
    assert_int_equal(load_all(&c, WHOLE "seed: 1\n", strlen(WHOLE "seed: 1\n"), "", variable), ACR_OK);
    assert_int_equal(c->seed, 2);
    acr__config_free(c);
    assert_int_equal(load_all(&c, WHOLE, strlen(WHOLE), "", dotted), ACR_OK);
    assert_true(c->model_dropout == 0.5);
    assert_false(acr__config_given(c, ACR__OPT_seed));
    acr__config_free(c);
    assert_int_equal(load_all(&c, WHOLE, strlen(WHOLE), "", near), ACR_OK);
    noted(c, "ACCRUE_SEEED|ACCRUE_SEED?");
    acr__config_free(c);
    char *quiet[] = {isa, empty, other};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(load_all(&c, WHOLE, strlen(WHOLE), "", quiet[i]), ACR_OK);
        noted(c, NULL);
        acr__config_free(c);
    }
    assert_int_equal(load_all(&c, WHOLE, strlen(WHOLE), "", bad), ACR_E_CONFIG);
    assert_non_null(strstr(refusal, "ACCRUE_SEED: 'x'"));
    c = load_with(WHOLE "max_steps: 7\n", "--num_train_epochs 3");
    noted(c, "max_steps|displaced");
    assert_int_equal(c->max_steps.unit, ACR__UNIT_AUTO);
    acr__config_free(c);
}

static void aliases_are_told(void **state)
{
    (void)state;
    acr__config *c = load_text(MODEL DATA "loss: mse\noptim: adamw\nlr: 2e-3\nbetas: [0.8, 0.9]\nwd: 0.1\nepochs: 2\n"
                                          "per_device_train_batch_size: 5\naccumulate_grad_batches: 4\n");
    assert_true(c->learning_rate == 2e-3 && c->adam_beta1 == 0.8 && c->adam_beta2 == 0.9 && c->weight_decay == 0.1);
    assert_int_equal(c->effective_batch_size, 20);
    noted(c, "r.yaml:5:1: lr|learning_rate");
    noted(c, "betas|adam_beta1 and adam_beta2");
    noted(c, "per_device_train_batch_size|micro_batch_size");
    acr__config_free(c);
    static const char *const same[] = {"train_batch_size 20", "total_batch_size 20", "effective_batch_size 20"};
    char words[80];
    for (int i = 0; i < 3; i++) {
        snprintf(words, sizeof words, "--%s", same[i]);
        sizes_are(BASE, words, 20, 0, 0);
    }
    static const char *const steps[] = {"subdivisions 4", "iter_size 4", "accumulate-grad-batches 4"};
    for (int i = 0; i < 3; i++) {
        snprintf(words, sizeof words, "--effective_batch_size 20 --%s", steps[i]);
        sizes_are(BASE, words, 20, 5, 4);
    }
    refuse(WHOLE "betas: [0.9]\n", "betas|two");
    refuse(WHOLE "betas: 0.9\n", "betas|two");
}

static void flags_are_understood(void **state)
{
    (void)state;
    acr__config *c =
        load_with(MODEL DATA "loss: mse\noptimizer: adamw\n",
                  "--learning-rate=1e-4 --effective_batch_size 8 --max_steps=3 --set model.dropout=0.1 --memory-limit "
                  "64MiB --model.layers 4,5,2 --no-data.shuffle --betas 0.5,0.6 --output_dir out "
                  "--weight_decay_exclude [\"*.bias\",'b'] --lr_scheduler_type linear --min_lr_ratio 0.5");
    char here[4096], path[4200];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(path, sizeof path, "%s/out", here);
    assert_true(c->learning_rate == 1e-4 && c->model_dropout == 0.1 && c->adam_beta1 == 0.5 && c->adam_beta2 == 0.6);
    assert_int_equal(c->memory_limit, 64 << 20);
    assert_int_equal(c->model_layers.item[1], 5);
    assert_false(c->data_shuffle);
    assert_string_equal(c->output_dir, path);
    assert_int_equal(c->weight_decay_exclude.count, 2);
    assert_string_equal(c->weight_decay_exclude.item[0], "*.bias");
    assert_string_equal(c->weight_decay_exclude.item[1], "b");
    acr__config_free(c);
    c = load_with(WHOLE "momentum: 0.9\n", "--nesterov --shuffle false");
    assert_true(c->nesterov);
    assert_false(c->data_shuffle);
    noted(c, "--shuffle|data.shuffle");
    acr__config_free(c);
    refuse_with(WHOLE, "--lerning_rate 1", "--lerning_rate|learning_rate");
    refuse_with(WHOLE, "--jsn", "--json");
    refuse_with(WHOLE, "--max_grad_norm fast", "--max_grad_norm: 'fast'");
    refuse_with(WHOLE, "--seed 1 --seed 2", "--seed|twice");
    refuse_with(WHOLE, "--lr 1 --learning_rate 2", "learning_rate|twice");
    refuse_with(WHOLE, "--seed", "--seed: needs a value");
    refuse_with(WHOLE, "--seed --json", "needs a value");
    refuse_with(WHOLE, "--micro_batch_size -1", "--micro_batch_size: -1");
    refuse_with(WHOLE, "--set model.dropot=0.1", "model.dropot|model.dropout");
    refuse_with(WHOLE, "--set seed", "key=value");
    refuse_with(WHOLE, "--betas 0.9", "two numbers");
    refuse_with(WHOLE, "-x", "-x|unknown");
    refuse_with(WHOLE, "--no-seed", "--no-seed");
    refuse_with(WHOLE, "--json=1", "--json=1");
}

static void switches_and_positionals(void **state)
{
    (void)state;
    static const acr__switch switches[] = {{"fit", "SIZES", ""}, {"no-special", NULL, ""}};
    char *argv[] = {"recipe.yaml", "--fit", "512MiB", "-q", "--no_special", "--json", "more", "--", "--seed"};
    acr__flags f;
    assert_int_equal(acr__flags_parse(ctx, &f, ACR__FOR_TRAIN, 2, switches, 9, argv), ACR_OK);
    assert_true(f.quiet && f.json && !f.verbose && !f.help);
    assert_string_equal(f.switch_value[0], "512MiB");
    assert_string_equal(f.switch_value[1], "");
    assert_int_equal(f.positional_count, 3);
    assert_string_equal(f.positional[2], "--seed");
    assert_int_equal(f.count, 0);
    acr__flags_free(&f);
    char *twice[] = {"--fit=1", "--fit=2"}, *valued[] = {"--no-special=1"}, *near[] = {"--ftt", "1"},
         *lr[] = {"--lr", "1"};
    assert_int_equal(acr__flags_parse(ctx, &f, 0, 2, switches, 2, twice), ACR_E_CONFIG);
    assert_non_null(strstr(acr_error(ctx), "twice"));
    acr__flags_free(&f);
    assert_int_equal(acr__flags_parse(ctx, &f, 0, 2, switches, 1, valued), ACR_E_CONFIG);
    assert_non_null(strstr(acr_error(ctx), "takes no value"));
    acr__flags_free(&f);
    assert_int_equal(acr__flags_parse(ctx, &f, ACR__FOR_TRAIN, 2, switches, 2, near), ACR_E_CONFIG);
    assert_non_null(strstr(acr_error(ctx), "--fit"));
    acr__flags_free(&f);
    assert_int_equal(acr__flags_parse(ctx, &f, ACR__FOR_EVAL, 0, NULL, 2, lr), ACR_E_CONFIG);
    assert_non_null(strstr(acr_error(ctx), "not an option of this command"));
    acr__flags_free(&f);
    assert_int_equal(acr__flags_parse(ctx, &f, 0, 0, NULL, 2, lr), ACR_E_CONFIG);
    acr__flags_free(&f);
}

static void nearest_names(void **state)
{
    (void)state;
    static const char *const names[] = {"train", "eval", "plan", "verify"};
    assert_string_equal(acr__nearest("trian", 4, names), "train");
    assert_string_equal(acr__nearest("evl", 4, names), "eval");
    assert_string_equal(acr__nearest("verfy", 4, names), "verify");
    static const char *const swapped[] = {"lr"};
    assert_string_equal(acr__nearest("rl", 1, swapped), "lr");
    assert_null(acr__nearest("quux", 4, names));
    assert_null(acr__nearest("", 4, names));
    assert_null(acr__nearest("x", 4, names));
}

/* ---- memory ------------------------------------------------------------------------------ */
static int64_t allowed, taken, live;

static void *failing_alloc(void *user, size_t bytes)
{
    (void)user;
    if (taken++ >= allowed)
        return NULL;
    live++;
    return malloc(bytes);
}

static void counting_free(void *user, void *p)
{
    (void)user;
    live -= p != NULL;
    free(p);
}

/* The n-th allocation fails, for every n that a load and a store reach. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    acr_context_opts opts = ACR_CONTEXT_OPTS_INIT;
    opts.threads = 1;
    opts.alloc = failing_alloc;
    opts.free = counting_free;
    acr_context *whole = ctx;
    allowed = INT64_MAX;
    assert_int_equal(acr__context_new(&ctx, &opts), ACR_OK);
    int64_t before = live;
    bool done = false;
    for (int64_t n = 0; !done; n++) {
        acr__config *c = NULL;
        const char *text;
        char hash[ACR__RECIPE_HASH];
        acr__texts changes;
        taken = 0;
        allowed = n;
        acr_status status = load_all(&c, WHOLE "momentum: 0.5\nwd: 0.1\n", strlen(WHOLE "momentum: 0.5\nwd: 0.1\n"),
                                     "--optimizer adamw --model.names a,b --micro_batch_size 3", NULL);
        if (status == ACR_OK)
            status = acr__config_yaml(c, "", &text);
        if (status == ACR_OK)
            status = acr__config_recipe_hash(c, hash);
        if (status == ACR_OK)
            status = acr__config_text(c, &text);
        if (status == ACR_OK)
            status = acr__config_compare(c, text, &changes);
        done = status == ACR_OK;
        if (!done)
            assert_int_equal(status, ACR_E_NO_MEMORY);
        acr__config_free(c);
        assert_int_equal(live, before);
        assert_true(n < 10000);
    }
    assert_true(taken > 20);
    allowed = INT64_MAX;
    acr_context_destroy(ctx);
    ctx = whole;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_recipe),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(duplicates),
        cmocka_unit_test(what_yaml_may_not_have),
        cmocka_unit_test(depth_and_garbage),
        cmocka_unit_test(numbers),
        cmocka_unit_test(booleans_and_words),
        cmocka_unit_test(sizes),
        cmocka_unit_test(horizons),
        cmocka_unit_test(locale_does_not_matter),
        cmocka_unit_test(what_must_be_given),
        cmocka_unit_test(unused_keys),
        cmocka_unit_test(rules_of_sections),
        cmocka_unit_test(batch_arithmetic),
        cmocka_unit_test(batch_layers),
        cmocka_unit_test(layers_win_in_order),
        cmocka_unit_test(aliases_are_told),
        cmocka_unit_test(flags_are_understood),
        cmocka_unit_test(switches_and_positionals),
        cmocka_unit_test(nearest_names),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, context_make, context_remove);
}
