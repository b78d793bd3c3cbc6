/* test_golden.c: the library against PyTorch: trajectories computed there in
 * double precision from the same start on the same data. The JSON files name the
 * settings and the loss before each update; the safetensors hold the data, the
 * first and the final weights. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "state.h"
#include <accrue/accrue_io.h>
#include <jansson.h>

enum { MAX_ELEMENTS = 8192 };

static const char *file_of(const char *name, const char *ending)
{
    static char path[512];
    const char *source = getenv("ACCRUE_SOURCE");
    snprintf(path, sizeof path, "%s/tests/golden/%s.%s", source ? source : ".", name, ending);
    return path;
}

static json_t *settings(const char *name)
{
    json_error_t e;
    json_t *j = json_load_file(file_of(name, "json"), 0, &e);
    if (!j)
        fail_msg("%s: %s", file_of(name, "json"), e.text);
    return j;
}

static double number(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_number(v))
        fail_msg("the file has no number '%s'", key);
    return json_number_value(v);
}

static void seednet(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 10), y = zoo_in(g, "y", 2);
    acr_node o = acr_linear(g, acr_relu(g, acr_linear(g, x, 5, "0")), 2, "2");
    zoo_loss(g, o, acr_mse(g, o, y, ACR_NONE));
}

static void weighted(acr_graph *g)
{
    acr_ce_opts ce = ACR_CE_OPTS_INIT;
    ce.label_smoothing = 0.1f;
    acr_node x = zoo_in(g, "x", 20), y = zoo_ids(g, "y"), w = zoo_in(g, "w", 1);
    acr_node h = acr_gelu_tanh(g, acr_linear(g, x, 33, "0"));
    h = acr_linear(g, acr_silu(g, acr_linear(g, h, 17, "2")), 7, "4");
    zoo_loss(g, h, acr_cross_entropy(g, h, y, w, &ce));
}

static int tensor(acr_st *st, const char *prefix, const char *name, int64_t *elements)
{
    char full[128];
    acr_st_tensor info;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    int at = acr_st_find(st, full);
    if (at < 0 || acr_st_get(st, at, &info) != ACR_OK || info.elements > MAX_ELEMENTS)
        fail_msg("the file has no tensor '%s', or a larger one", full);
    *elements = info.elements;
    return at;
}

static void start_from(zoo_run *r, acr_st *st)
{
    static float init[MAX_ELEMENTS];
    for (int p = 0; p < acr_param_count(r->g); p++) {
        int64_t n;
        int at = tensor(st, "init.", acr_param_name(r->g, p), &n);
        assert_int_equal(n, acr_param_elements(r->g, p));
        ZOO_OK(r->ctx, acr_st_read_f32(st, at, 0, n, init));
        ZOO_OK(r->ctx, acr_param_write(r->t, p, 0, n, init));
    }
}

/* The largest |got - want| / |want| of a parameter, by Euclidean norms. */
static double distance(zoo_run *r, acr_st *st)
{
    static double want[MAX_ELEMENTS];
    static float got[MAX_ELEMENTS];
    double worst = 0;
    for (int p = 0; p < acr_param_count(r->g); p++) {
        int64_t n;
        int at = tensor(st, "final.", acr_param_name(r->g, p), &n);
        ZOO_OK(r->ctx, acr_st_read_f64(st, at, 0, n, want));
        ZOO_OK(r->ctx, acr_param_read(r->t, p, 0, n, got));
        double off = 0, size = 0;
        for (int64_t i = 0; i < n; i++) {
            off += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
            size += want[i] * want[i];
        }
        worst = fmax(worst, sqrt(off / size));
    }
    return worst;
}

static void near(const char *what, int update, double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance * fabs(want)))
        fail_msg("update %d: %s is %.9g, PyTorch has %.9g", update, what, got, want);
}

/* Reads the whole tensor as float (or int32) into data[i]. */
static void read_input(zoo_run *r, acr_st *st, zoo_data *d, int i, const char *name)
{
    int64_t n;
    int at = tensor(st, "", name, &n);
    assert_int_equal(n, d->samples * d->cols[i]);
    if (r->g->nodes[r->g->inputs[i]].dtype == ACR_I32)
        ZOO_OK(r->ctx, acr_st_read_i32(st, at, 0, n, d->data[i]));
    else
        ZOO_OK(r->ctx, acr_st_read_f32(st, at, 0, n, d->data[i]));
}

/* Trains as the file says at a micro-batch of `micro`, adding `add` samples at a
 * time; the hash of all that came out. */
static uint64_t train_seednet(const char *name, int64_t micro, int64_t add)
{
    static const zoo_case c = {"seednet", seednet};
    json_t *j = settings(name);
    zoo_opts o = ZOO_OPTS_INIT;
    o.plan.micro_batch = micro;
    o.plan.momentum = number(j, "momentum") != 0;
    o.trainer.learning_rate = number(j, "learning_rate");
    o.trainer.momentum = number(j, "momentum");
    o.trainer.weight_decay = number(j, "weight_decay");
    if (strcmp(json_string_value(json_object_get(j, "reduction")), "mean") != 0)
        o.trainer.reduction = ACR_SUM_OF_MICRO_BATCH_MEANS;
    zoo_run r = zoo_start(&c, &o);
    acr_st *st;
    ZOO_OK(r.ctx, acr_st_open(&st, r.ctx, file_of(name, "safetensors")));
    zoo_data d = zoo_make(r.g, 100, 1);
    read_input(&r, st, &d, 0, "x");
    read_input(&r, st, &d, 1, "y");
    start_from(&r, st);
    const json_t *losses = json_object_get(j, "loss_per_update");
    assert_int_equal(json_array_size(losses), (size_t)number(j, "epochs"));
    for (size_t u = 0; u < json_array_size(losses); u++) {
        acr_report report = state_window(&r, &d, 0, 100, add);
        near("the loss", (int)u, report.loss, json_number_value(json_array_get(losses, u)), 1e-6);
    }
    double far = distance(&r, st);
    if (!(far < 2e-6))
        fail_msg("%s at micro-batch %d: relative error %.2e of the weights, at most 2e-6", name, (int)micro, far);
    uint64_t h = state_hash(&r, STATE_BEGIN);
    acr_st_close(st);
    zoo_free(&d);
    zoo_stop(&r);
    json_decref(j);
    return h;
}

static void every_split(const char *name)
{
    uint64_t whole = train_seednet(name, 100, 0);
    static const int64_t micro[] = {1, 5, 7, 20, 33};
    for (size_t m = 0; m < sizeof micro / sizeof *micro; m++)
        assert_true(train_seednet(name, micro[m], 0) == whole);
    assert_true(train_seednet(name, 7, -1) == whole);
}

static void seednet_mean(void **state)
{
    (void)state;
    every_split("seednet_mean");
}

static void seednet_momentum_and_decay(void **state)
{
    (void)state;
    every_split("seednet_momentum_wd");
}

/* Five micro-batches of 20, each one's mean added: what the split is belongs to
 * the definition here, however the samples arrive within it. */
static void seednet_as_written(void **state)
{
    (void)state;
    assert_true(train_seednet("seednet_as_written", 20, 0) == train_seednet("seednet_as_written", 20, 20));
}

static uint64_t train_weighted(int64_t micro, int64_t add, const char *isa)
{
    static const zoo_case c = {"weighted", weighted};
    json_t *j = settings("mlp_adamw");
    const json_t *updates = json_object_get(j, "updates");
    zoo_opts o = ZOO_OPTS_INIT;
    o.isa = isa;
    o.plan.micro_batch = micro;
    o.plan.optimizer = ACR_ADAMW;
    o.trainer.learning_rate = 3e-3;
    o.trainer.schedule = ACR_COSINE;
    o.trainer.warmup_steps = 2;
    o.trainer.total_steps = (int64_t)json_array_size(updates);
    o.trainer.min_lr_ratio = 0.1;
    o.trainer.adam_beta2 = 0.95;
    o.trainer.weight_decay = 0.1;
    o.trainer.max_grad_norm = number(j, "max_grad_norm");
    zoo_run r = zoo_start(&c, &o);
    acr_st *st;
    ZOO_OK(r.ctx, acr_st_open(&st, r.ctx, file_of("mlp_adamw", "safetensors")));
    zoo_data d = zoo_make(r.g, 300, 1);
    read_input(&r, st, &d, 0, "X");
    read_input(&r, st, &d, 1, "Y");
    read_input(&r, st, &d, 2, "sample_weight");
    start_from(&r, st);
    for (size_t u = 0; u < json_array_size(updates); u++) {
        const json_t *want = json_array_get(updates, u);
        acr_report report = state_window(&r, &d, (int64_t)u * 50, 50, add);
        near("the loss", (int)u, report.loss, number(want, "loss"), 1e-5);
        near("W", (int)u, report.weight, number(want, "weight"), 1e-6);
        near("the gradient's norm", (int)u, report.grad_norm, number(want, "grad_norm"), 1e-4);
        near("the learning rate", (int)u, report.learning_rate, number(want, "lr"), 1e-6);
    }
    double far = distance(&r, st);
    if (!(far < 2e-5))
        fail_msg("mlp_adamw at micro-batch %d: relative error %.2e of the weights, at most 2e-5", (int)micro, far);
    uint64_t h = state_hash(&r, STATE_BEGIN);
    acr_st_close(st);
    zoo_free(&d);
    zoo_stop(&r);
    json_decref(j);
    return h;
}

static void weighted_adamw(void **state)
{
    (void)state;
    uint64_t whole = train_weighted(50, 0, "scalar");
    for (int i = 0; acr_isa_name(i); i++) {
        assert_true(train_weighted(7, 0, acr_isa_name(i)) == whole);
        assert_true(train_weighted(1, 0, acr_isa_name(i)) == whole);
        assert_true(train_weighted(16, -1, acr_isa_name(i)) == whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seednet_mean),
        cmocka_unit_test(seednet_momentum_and_decay),
        cmocka_unit_test(seednet_as_written),
        cmocka_unit_test(weighted_adamw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
