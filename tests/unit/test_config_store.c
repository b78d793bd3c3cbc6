/* test_config_store.c: what a run stores of its configuration (resolved.yaml, the
 * checkpoint's lines, recipe_hash), what resuming compares, and what the table
 * prints: --help, docs/options.md and docs/accrue.schema.json.
 *
 * ACCRUE_WRITE_DOCS=1 writes the two files in docs/ instead of comparing them. */
#include "unit/config_text.h"

#include "config/options.h"
#include "io/file.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *text_of(acr__config *c)
{
    const char *text;
    assert_int_equal(acr__config_text(c, &text), ACR_OK);
    return text;
}

static void hash_of(const char *text, const char *words, char out[ACR__RECIPE_HASH])
{
    acr__config *c = load_with(text, words);
    assert_int_equal(acr__config_recipe_hash(c, out), ACR_OK);
    assert_int_equal(strlen(out), 16);
    acr__config_free(c);
}

static void same_hash(const char *a, const char *b, const char *words, bool same)
{
    char ha[ACR__RECIPE_HASH], hb[ACR__RECIPE_HASH];
    hash_of(a, "", ha);
    hash_of(b, words, hb);
    if ((strcmp(ha, hb) == 0) != same)
        fail_msg("%s and %s: should %sbe the same\n%s%s", ha, hb, same ? "" : "not ", b, words);
}

#define EVERYTHING                                                                                          \
    "model: {type: mlp, layers: [4, 3, 2], activation: [silu], dropout: 0.1, init_from: w.safetensors, "    \
    "init_prefix: \"init.\", names: [\"a\\\"b\", 'c,\\d']}\n"                                                \
    "data: {train: {format: safetensors, path: d, input: x, target: y, weight: w}, eval: {format: normal, " \
    "samples: 9, seed: 4}, shuffle: false, scale: 0.1, normalize: true}\n"                                  \
    "loss: cross_entropy\nclass_weights: [1, 0.3333333333333333]\nlabel_smoothing: 0.1\nignore_index: -1\n"  \
    "optimizer: adamw\nlearning_rate: 3e-3\nadam_beta2: 0.95\nweight_decay_exclude: ['*.bias']\n"           \
    "lr_scheduler_type: wsd\ndecay_steps: 1.5e\nwarmup_steps: 3\nmin_lr_ratio: 0.1\nmax_grad_norm: 0.5\n"   \
    "effective_batch_size: 50\nmicro_batch_size: 7\nlast_window: drop\nmax_steps: 6\nmemory_limit: 64MiB\n" \
    "seed: 9007199254740993\nthreads: 2\nname: all\noutput_dir: out\nresume_from_checkpoint: auto\n"        \
    "load_best_model_at_end: true\nmetric_for_best_model: accuracy\nsave_steps: 5\neval_steps: 2e\n"

/* What resolved.yaml says is what was meant, read from any folder. */
static void resolved_reproduces(void **state)
{
    (void)state;
    static const char *const recipes[] = {
        WHOLE, EVERYTHING, "model: {type: mlp, layers: [4, 2]}\n" DATA CHOICES BATCH LENGTH,
        BASE "micro_batch_size: 5\ngradient_accumulation_steps: 4\nname: \"a \\\"b\\\\\"\n"};
    for (int i = 0; i < 4; i++) {
        acr__config *a = load_text(recipes[i]), *b = NULL;
        acr__config_opts none = {NULL, NULL, NULL};
        const char *yaml, *again;
        char ha[ACR__RECIPE_HASH], hb[ACR__RECIPE_HASH];
        assert_int_equal(acr__config_yaml(a, "", &yaml), ACR_OK);
        if (acr__config_parse(ctx, &b, "resolved.yaml", "/elsewhere", yaml, strlen(yaml), &none) != ACR_OK)
            fail_msg("%s\n%s", acr_error(ctx), yaml);
        assert_int_equal(acr__config_yaml(b, "", &again), ACR_OK);
        assert_string_equal(again, yaml);
        assert_string_equal(text_of(b), text_of(a));
        assert_int_equal(acr__config_recipe_hash(a, ha), ACR_OK);
        assert_int_equal(acr__config_recipe_hash(b, hb), ACR_OK);
        assert_string_equal(ha, hb);
        assert_non_null(strstr(yaml, ha));
        assert_non_null(strstr(yaml, "numerics: 1\n"));
        assert_null(strstr(yaml, "output_dir"));
        assert_null(strstr(yaml, "resume_from"));
        acr__config_free(a);
        acr__config_free(b);
    }
    acr__config *c = load_with(WHOLE, "--learning_rate 1e-8 --max_steps 1.5e");
    const char *yaml;
    assert_int_equal(acr__config_yaml(c, "", &yaml), ACR_OK);
    assert_non_null(strstr(yaml, "\nlearning_rate: 1.0e-08\n")); /* a number in YAML 1.1, too */
    assert_non_null(strstr(yaml, "\nmax_steps: 1.5e\n"));
    assert_non_null(strstr(text_of(c), "\nlearning_rate=1e-08\n")); /* as older checkpoints have it */
    acr__config_free(c);
    c = load_text(EVERYTHING);
    assert_int_equal(acr__config_yaml(c, "", &yaml), ACR_OK);
    assert_non_null(
        strstr(yaml, "data:\n  train:\n    format: safetensors\n    path: \"/folder/d\"\n    input: \"x\"\n"));
    assert_non_null(strstr(yaml, "  eval:\n    format: normal\n    samples: 9\n"));
    assert_non_null(strstr(yaml, "  scale: 0.1\n"));
    assert_non_null(strstr(yaml, "\nclass_weights: [1, 0.3333333333333333]\n"));
    assert_non_null(strstr(yaml, "\nseed: 9007199254740993\n"));
    assert_non_null(strstr(yaml, "\ndecay_steps: 1.5e\n"));
    assert_non_null(strstr(yaml, "gives the same weights"));
    assert_int_equal(acr__config_yaml(c, "after update 3: b\nafter update 9: c\n", &yaml), ACR_OK);
    assert_null(strstr(yaml, "gives the same weights"));
    assert_non_null(strstr(yaml, "gives other weights:\n#   after update 3: b\n#   after update 9: c\n"));
    acr__config_free(c);
}

static void resolved_is_read_back(void **state)
{
    (void)state;
    char folder[] = "/tmp/accrue-config-XXXXXX", path[100];
    const char *yaml;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/resolved.yaml", folder);
    acr__config *a = load_text(EVERYTHING), *b;
    assert_int_equal(acr__config_yaml(a, "", &yaml), ACR_OK);
    assert_int_equal(acr__file_put(ctx, path, yaml, strlen(yaml)), ACR_OK);
    acr__config_opts opts = {path, NULL, NULL};
    assert_int_equal(acr__config_load(ctx, &b, &opts), ACR_OK);
    assert_string_equal(text_of(b), text_of(a));
    assert_string_equal(b->recipe, path);
    assert_string_equal(b->data_train_path, "/folder/d");
    acr__config_free(b);
    acr__config_free(a);
    unlink(path);
    rmdir(folder);
}

/* Relative paths begin at the recipe's folder; the name is the file's. */
static void files_are_found_from_the_recipe(void **state)
{
    (void)state;
    char folder[] = "/tmp/accrue-config-XXXXXX", path[100], want[100];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/my.run.yaml", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(
        "model: {type: mlp, layers: [4, 2]}\ndata: {train: {format: idx, input: x.gz, target: ~/y.gz}}\n" CHOICES LENGTH
            BATCH,
        f);
    fclose(f);
    acr__config *c;
    acr__config_opts opts = {path, NULL, NULL};
    setenv("HOME", "/home/somebody", 1);
    assert_int_equal(acr__config_load(ctx, &c, &opts), ACR_OK);
    snprintf(want, sizeof want, "%s/x.gz", folder);
    assert_string_equal(c->data_train_input, want);
    assert_string_equal(c->data_train_target, "/home/somebody/y.gz");
    assert_string_equal(c->name, "my.run");
    acr__config_free(c);
    unlink(path);
    assert_int_equal(acr__config_load(ctx, &c, &opts), ACR_E_CONFIG);
    assert_non_null(strstr(acr_error(ctx), path));
    opts.recipe = folder;
    assert_int_equal(acr__config_load(ctx, &c, &opts), ACR_E_CONFIG);
    assert_non_null(strstr(acr_error(ctx), "resolved.yaml"));
    rmdir(folder);
}

static void the_hash_is_the_identity(void **state)
{
    (void)state;
    same_hash(WHOLE, WHOLE, "", true);
    same_hash(WHOLE, WHOLE "weight_decay: 0\nmodel.activation: relu\n", "", true);
    same_hash(WHOLE, WHOLE,
              "--micro_batch_size 3 --threads 2 --memory_limit 64MiB --max_steps 9 --name x --save_steps 1", true);
    same_hash(WHOLE, WHOLE, "--seed 1", false);
    same_hash(WHOLE, WHOLE, "--learning_rate 0.2", false);
    same_hash(WHOLE, WHOLE, "--effective_batch_size 11", false);
    same_hash(WHOLE, WHOLE, "--optimizer adamw", false);
    same_hash(WHOLE, WHOLE, "--model.layers 4,4,2", false);
    /* Not used: no difference. */
    same_hash(WHOLE, WHOLE, "--adam_beta1 0.5", true);
    /* Where the update depends on the split, the split is identity. */
    same_hash(WHOLE "loss_reduction: mean_of_micro_batches\nmicro_batch_size: 5\n",
              WHOLE "loss_reduction: mean_of_micro_batches\nmicro_batch_size: 2\n", "", false);
}

static void compare_is(const char *stored_recipe, const char *words, acr_status status, const char *parts)
{
    acr__config *old = load_text(stored_recipe), *now = load_with(stored_recipe, words);
    acr__texts changes;
    acr_status got = acr__config_compare(now, text_of(old), &changes);
    if (got != status)
        fail_msg("%s: status %d: %s", words, got, acr_error(ctx));
    char copy[256];
    snprintf(copy, sizeof copy, "%s", parts);
    const char *said = status != ACR_OK ? acr_error(ctx) : changes.count ? changes.item[0] : "";
    assert_int_equal(status == ACR_OK ? changes.count : 0, status == ACR_OK && *parts ? 1 : 0);
    for (char *part = strtok(copy, "|"); part; part = strtok(NULL, "|"))
        if (!strstr(said, part))
            fail_msg("'%s' is not in: %s", part, said);
    acr__config_free(old);
    acr__config_free(now);
}

/* Changes after which the options alone do not say what the weights are. */
static void bends(const char *recipe, const char *words, const char *said)
{
    acr__config *old = load_text(recipe), *now = load_with(recipe, words);
    acr__texts changes;
    assert_int_equal(acr__config_compare(now, text_of(old), &changes), ACR_OK);
    assert_int_equal(now->bends.count, said != NULL);
    if (said)
        assert_string_equal(now->bends.item[0], said);
    acr__config_free(old);
    acr__config_free(now);
}

static void resuming_bends(void **state)
{
    (void)state;
    bends(WHOLE, "--max_steps 9", NULL);
    bends(WHOLE "lr_scheduler_type: cosine\n", "--save_steps 9", NULL);
    bends(WHOLE "lr_scheduler_type: cosine\n", "--num_train_epochs 2", "num_train_epochs 2 instead of 1");
    bends(WHOLE "data.eval: {format: normal, samples: 4}\neval_steps: 2\nload_best_model_at_end: true\n", "--eval_steps 3",
          "eval_steps 3 instead of 2");
    bends(WHOLE "data.eval: {format: normal, samples: 4}\nload_best_model_at_end: true\n", "--data.eval.samples 5",
          "data.eval.samples 5 instead of 4");
    bends(WHOLE "data.eval: {format: normal, samples: 4}\n", "--data.eval.samples 5", NULL);
    bends(WHOLE "lr_scheduler_type: cosine\nmax_steps: 9\n", "--max_steps 9 --num_train_epochs 5", NULL);
}

static void resuming(void **state)
{
    (void)state;
    compare_is(WHOLE, "", ACR_OK, "");
    compare_is(WHOLE, "--micro_batch_size 1 --threads 3 --memory_limit 1GiB --logging_steps 5", ACR_OK, "");
    compare_is(WHOLE, "--learning_rate 0.2", ACR_E_CONFIG, "learning_rate|0.1|0.2");
    compare_is(WHOLE, "--seed 4", ACR_E_CONFIG, "seed|0|4");
    compare_is(WHOLE, "--model.layers 4,9,2", ACR_E_DATA, "model.layers|4,3,2|4,9,2");
    compare_is(WHOLE, "--num_train_epochs 2", ACR_OK, "num_train_epochs: 1 in the checkpoint, 2 now");
    compare_is(WHOLE "lr_scheduler_type: cosine\n", "--max_steps 9", ACR_OK, "max_steps: auto|9|schedule");
    compare_is(WHOLE "loss_reduction: mean_of_micro_batches\nmicro_batch_size: 5\n", "--micro_batch_size 2",
               ACR_E_CONFIG, "micro_batch_size|5|2");
    acr__config *c = load_text(WHOLE);
    acr__texts changes;
    /* An option an older version did not have counts as its default. */
    assert_int_equal(acr__config_compare(c, "seed=1\n", &changes), ACR_E_DATA);
    char without[4096], *line;
    snprintf(without, sizeof without, "%s", text_of(c));
    line = strstr(without, "label_smoothing");
    assert_null(line); /* not used with mse */
    line = strstr(without, "weight_decay=");
    assert_non_null(line);
    memmove(line, strchr(line, '\n') + 1, strlen(strchr(line, '\n') + 1) + 1);
    assert_int_equal(acr__config_compare(c, without, &changes), ACR_OK);
    /* What this version does not know is refused by name. */
    strcat(without, "lanes=4\n");
    assert_int_equal(acr__config_compare(c, without, &changes), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "lanes"));
    assert_int_equal(acr__config_compare(c, "nothing sensible", &changes), ACR_E_DATA);
    assert_int_equal(acr__config_compare(c, "\n", &changes), ACR_E_DATA);
    acr__config_free(c);
}

static void lengths_and_trainer(void **state)
{
    (void)state;
    acr__epoch epoch = {.samples = 60000, .tokens = 6000000}, few = {.samples = 4095}, hundred = {.samples = 100};
    int64_t total;
    acr_trainer_opts o;
    acr__config *c = load_with(WHOLE, "--effective_batch_size 4096 --num_train_epochs 2.5 --warmup_steps 1e");
    assert_int_equal(acr__config_windows(c, &epoch, &total), ACR_OK);
    assert_int_equal(epoch.windows, 15);
    assert_int_equal(total, 38);
    assert_int_equal(acr__config_trainer_opts(c, &epoch, &o), ACR_OK);
    assert_int_equal(o.warmup_steps, 15);
    assert_int_equal(o.total_steps, 38);
    assert_true(o.learning_rate == 0.1);
    acr__config_free(c);
    c = load_with(WHOLE, "--effective_batch_size 1 --num_train_epochs 0.07"); /* in doubles 7.000000000000001 windows */
    assert_int_equal(acr__config_windows(c, &hundred, &total), ACR_OK);
    assert_int_equal(total, 7);
    acr__config_free(c);
    c = load_with(WHOLE, "--effective_batch_size 1 --num_train_epochs 0.071");
    assert_int_equal(acr__config_windows(c, &hundred, &total), ACR_OK);
    assert_int_equal(total, 8);
    acr__config_free(c);
    c = load_with(WHOLE, "--effective_batch_size 4096 --last_window drop --max_steps 3e");
    assert_int_equal(acr__config_windows(c, &epoch, &total), ACR_OK);
    assert_int_equal(epoch.windows, 14);
    assert_int_equal(total, 42);
    assert_int_equal(acr__config_windows(c, &few, &total), ACR_OK);
    assert_int_equal(few.windows, 1);
    assert_int_equal(total, 3);
    acr__config_free(c);
    c = load_text(EVERYTHING);
    assert_int_equal(acr__config_trainer_opts(c, &hundred, &o), ACR_OK);
    assert_int_equal(o.schedule, ACR_WSD);
    assert_int_equal(o.decay_steps, 3);
    assert_int_equal(o.weight_decay_exclude_count, 1);
    assert_true(o.max_grad_norm == 0.5 && o.adam_beta2 == 0.95 && o.min_lr_ratio == 0.1);
    acr__config_free(c);
}

/* ---- the table ---------------------------------------------------------------------- */
/* Each row can be read: names are unique in every place where they are used, the
 * default is a value, what is needed is an option, the interval an interval. */
static void the_table_is_sound(void **state)
{
    (void)state;
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        const acr__option *o = acr__option_get(i);
        const char *alias;
        char name[64];
        int n;
        assert_int_equal(acr__option_find(o->key, NULL), i);
        assert_true(strlen(o->help) <= 52);
        for (int k = 0; (alias = acr__word(o->aliases, k, &n)) != NULL; k++) {
            snprintf(name, sizeof name, "%.*s", n, alias);
            assert_int_equal(acr__option_find(name, NULL), i);
        }
        const char *colon = strchr(o->needs, ':');
        if (colon) {
            snprintf(name, sizeof name, "%.*s", (int)(colon - o->needs), o->needs);
            int chooser = acr__option_find(name, NULL);
            assert_true(chooser >= 0);
            const char *list =
                acr__option_get(chooser)->type == ACR__BOOL ? "true|false" : acr__option_get(chooser)->values;
            for (int k = 0; (alias = acr__word(colon + 1, k, &n)) != NULL; k++)
                assert_true(acr__word_find(list, alias, (size_t)n) >= 0);
        }
        acr__range r = acr__range_read(o->range);
        assert_true(r.low <= r.high);
        assert_int_equal(isinf(r.low) != 0, *o->range == '\0');
    }
}

static char *printed(void (*print)(FILE *))
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    print(f);
    fclose(f);
    return text;
}

static void help_for_eval(FILE *f)
{
    acr__options_print_help(f, ACR__FOR_EVAL);
}

static void help_for_train(FILE *f)
{
    static const acr__switch fit = {"fit", "SIZES",
                                    "a list of limits, each with the micro-batch and the time that it would mean"};
    acr__switches_print_help(f, 1, &fit, true);
    acr__options_print_help(f, ACR__FOR_TRAIN);
}

static void completion(FILE *f)
{
    static const char *const commands[] = {"train", "eval"};
    acr__options_print_completion(f, 2, commands);
}

static void help_fits_the_terminal(void **state)
{
    (void)state;
    char *text = printed(help_for_train), flag[64];
    for (char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        if (n > 80 || (n && line[n - 1] == ' '))
            fail_msg("%d columns: %.*s", (int)n, (int)n, line);
        line += n + (line[n] == '\n');
    }
    for (int i = 0; i < ACR__OPTION_COUNT; i++) {
        snprintf(flag, sizeof flag, "  --%s ", acr__option_get(i)->key);
        if (!strstr(text, flag))
            fail_msg("--help lacks %s", flag);
    }
    assert_non_null(strstr(text, "--fit SIZES"));
    assert_non_null(strstr(text, "--json"));
    free(text);
    text = printed(help_for_eval);
    assert_non_null(strstr(text, "--data.eval.format"));
    assert_null(strstr(text, "--learning_rate"));
    free(text);
    text = printed(completion);
    assert_non_null(strstr(text, "--lr_scheduler_type) words='constant linear cosine wsd'"));
    assert_non_null(strstr(text, "words='train eval'"));
    free(text);
}

static void file_agrees(const char *name, void (*print)(FILE *))
{
    const char *root = getenv("ACCRUE_SOURCE");
    char path[4096];
    snprintf(path, sizeof path, "%s/docs/%s", root ? root : ".", name);
    if (getenv("ACCRUE_WRITE_DOCS")) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        print(f);
        assert_int_equal(fclose(f), 0);
        return;
    }
    char *want = printed(print), *got = calloc(1, 1 << 20);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s can't be read", path);
    assert_non_null(got);
    assert_true(fread(got, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    if (strcmp(want, got) != 0)
        fail_msg("%s differs from the table; run this test with ACCRUE_WRITE_DOCS=1", path);
    free(want);
    free(got);
}

static void docs_agree_with_the_table(void **state)
{
    (void)state;
    file_agrees("options.md", acr__options_print_markdown);
    file_agrees("accrue.schema.json", acr__options_print_schema);
}

/* The recipes that come along load, and mean what their comments say. */
static void shipped_recipes(void **state)
{
    (void)state;
    const char *root = getenv("ACCRUE_SOURCE");
    char path[4096];
    acr__config *c;
    acr__config_opts opts = {path, NULL, NULL};
    snprintf(path, sizeof path, "%s/recipes/seed.yaml", root ? root : ".");
    assert_int_equal(acr__config_load(ctx, &c, &opts), ACR_OK);
    noted(c, NULL);
    assert_int_equal(c->effective_batch_size, 100);
    assert_int_equal(c->micro_batch_size, 5);
    assert_true(c->learning_rate == 0.01 && c->optimizer == ACR_SGD && c->num_train_epochs == 100);
    assert_string_equal(c->name, "seed");
    acr__config_free(c);
    snprintf(path, sizeof path, "%s/recipes/fashion-mnist.yaml", root ? root : ".");
    assert_int_equal(acr__config_load(ctx, &c, &opts), ACR_OK);
    noted(c, NULL);
    assert_int_equal(c->effective_batch_size, 4096);
    assert_int_equal(c->micro_batch_size, 0);
    assert_true(c->num_train_epochs >= 30 && c->optimizer == ACR_ADAMW);
    acr__config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolved_reproduces),      cmocka_unit_test(resolved_is_read_back),
        cmocka_unit_test(files_are_found_from_the_recipe), cmocka_unit_test(the_hash_is_the_identity),
        cmocka_unit_test(resuming_bends), cmocka_unit_test(resuming),                 cmocka_unit_test(lengths_and_trainer),
        cmocka_unit_test(the_table_is_sound),       cmocka_unit_test(help_fits_the_terminal),
        cmocka_unit_test(docs_agree_with_the_table), cmocka_unit_test(shipped_recipes),
    };
    return cmocka_run_group_tests(tests, context_make, context_remove);
}
