/* test_lm.c: GPT-2, Llama and Qwen2 in miniature against transformers in double
 * precision: logits, gradients, and three updates of AdamW from the same start, with
 * masked labels, a tied head and clipping. The JSON files hold the configuration and
 * what each update reported; the safetensors the data, the first weights, the logits
 * and gradients of the first window, and the final weights.
 *
 * In fp32 the distances are those of rounding, in bf16 those of operands of 8 bits.
 * The reference starts from the same doubles; what remains between it and
 * transformers is what transformers itself computes in fp32 whatever the model's
 * dtype: rotary angles, RMSNorm. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "accum/trainer.h"
#include "io/hf.h"
#include "state.h"
#include <accrue/accrue_io.h>
#include <jansson.h>

enum { SAMPLES = 12, WINDOW = 4, TOKENS = 24, VOCAB = 97, MAX_ELEMENTS = 4 * TOKENS * VOCAB };

typedef struct golden {
    json_t *json;
    acr_st *st;
    acr_context *ctx; /* of st */
} golden;

static acr__lm model; /* what build adds */
static bool whole_logits;

static const char *file_of(const char *name, const char *ending)
{
    static char path[512];
    const char *source = getenv("ACCRUE_SOURCE");
    snprintf(path, sizeof path, "%s/tests/golden/%s_tiny.%s", source ? source : ".", name, ending);
    return path;
}

static golden open_golden(const char *name)
{
    golden f;
    json_error_t e;
    f.json = json_load_file(file_of(name, "json"), 0, &e);
    if (!f.json)
        fail_msg("%s: %s", file_of(name, "json"), e.text);
    ZOO_OK(f.ctx, acr_context_create(&f.ctx, NULL));
    ZOO_OK(f.ctx, acr_st_open(&f.st, f.ctx, file_of(name, "safetensors")));
    ZOO_OK(f.ctx, acr__lm_from_json(f.ctx, name, json_object_get(f.json, "config"), &model));
    return f;
}

static void close_golden(golden *f)
{
    acr_st_close(f->st);
    acr_context_destroy(f->ctx);
    json_decref(f->json);
}

static void build(acr_graph *g)
{
    int64_t one = 1;
    acr_domain token = acr_domain_create(g, "token", TOKENS);
    acr__lm_io io = {.ids = acr_input_in(g, token, "ids", ACR_I32, 1, &one)};
    acr_node target = acr_input_in(g, token, "target", ACR_I32, 1, &one);
    io.position = acr_input_in(g, token, "position", ACR_I32, 1, &one);
    if (acr__lm_build(g, &model, &io) != ACR_OK)
        fail_msg("%s", acr_error(acr_graph_context(g)));
    if (whole_logits) {
        acr_node logits = acr_linear_shared(g, io.hidden, io.head);
        zoo_loss(g, logits, acr_cross_entropy(g, logits, target, ACR_NONE, NULL));
    } else {
        acr_loss(g, acr_head_cross_entropy(g, io.hidden, io.head, target, ACR_NONE, NULL));
    }
}

/* All sequences as samples; the label of a row is the next row's. */
static zoo_data read_data(const golden *f)
{
    static int32_t labels[SAMPLES * TOKENS];
    zoo_data d = {.samples = SAMPLES, .inputs = 3};
    d.offsets[2] = calloc(SAMPLES + 1, sizeof(int32_t));
    d.moved[2] = calloc(SAMPLES + 1, sizeof(int32_t));
    for (int i = 0; i < 3; i++) {
        d.data[i] = malloc(sizeof labels);
        d.cols[i] = 1;
        d.domain[i] = 2;
    }
    ZOO_OK(f->ctx, acr_st_read_i32(f->st, acr_st_find(f->st, "ids"), 0, SAMPLES * TOKENS, d.data[0]));
    ZOO_OK(f->ctx, acr_st_read_i32(f->st, acr_st_find(f->st, "labels"), 0, SAMPLES * TOKENS, labels));
    for (int s = 0; s < SAMPLES; s++) {
        d.offsets[2][s + 1] = (s + 1) * TOKENS;
        for (int t = 0; t < TOKENS; t++) {
            ((int32_t *)d.data[1])[s * TOKENS + t] = t + 1 < TOKENS ? labels[s * TOKENS + t + 1] : -100;
            ((int32_t *)d.data[2])[s * TOKENS + t] = t;
        }
    }
    return d;
}

static const double *tensor(const golden *f, const char *prefix, const char *name, int64_t elements)
{
    static double values[MAX_ELEMENTS];
    char full[160];
    acr_st_tensor info;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    int at = acr_st_find(f->st, full);
    if (at < 0 || acr_st_get(f->st, at, &info) != ACR_OK || info.elements != elements || elements > MAX_ELEMENTS)
        fail_msg("the file has no tensor '%s' of %lld elements", full, (long long)elements);
    ZOO_OK(f->ctx, acr_st_read_f64(f->st, at, 0, elements, values));
    return values;
}

/* The reference's parameter is doubles; fp32's is written as floats. */
static void start_from(const golden *f, zoo_run *r)
{
    for (int i = 0; i < r->t->trained_count; i++) {
        int p = r->t->trained[i].param;
        int64_t n = acr_param_elements(r->g, p);
        const double *init = tensor(f, "init.", acr_param_name(r->g, p), n);
        if (r->g->reference) {
            memcpy(acr__value_at(r->t, &r->t->trained[i].at, 0), init, (size_t)n * sizeof *init);
            continue;
        }
        for (int64_t k = 0; k < n; k++) {
            float v = (float)init[k];
            ZOO_OK(r->ctx, acr_param_write(r->t, p, k, 1, &v));
        }
    }
}

static double distance(int64_t n, const double *got, const double *want)
{
    double off = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        off += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    return sqrt(off / size);
}

/* How far a run may be from transformers, by Euclidean norms of tensors (numbers
 * for loss and norm). */
typedef struct bounds {
    double logits, gradient, loss, norm, final;
} bounds;

static void expect(const char *what, double off, double most)
{
    if (!(off <= most))
        fail_msg("%s: %.2e from transformers, at most %.1e", what, off, most);
}

static zoo_opts options(int64_t micro, int reference, const char *isa, int products)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.isa = isa;
    o.products = products;
    o.reference = reference;
    o.plan.micro_batch = micro;
    o.plan.optimizer = ACR_ADAMW;
    o.plan.max_window_rows = WINDOW * TOKENS;
    o.trainer.learning_rate = 1e-3;
    o.trainer.adam_beta2 = 0.95;
    o.trainer.adam_epsilon = 1e-8;
    o.trainer.weight_decay = 0.1;
    o.trainer.weight_decay_min_dims = 2;
    o.trainer.max_grad_norm = 1.0;
    return o;
}

static void check_logits(const golden *f, zoo_run *r, zoo_data *d, double most)
{
    static float out[WINDOW * TOKENS * VOCAB];
    static double wide[WINDOW * TOKENS * VOCAB];
    acr_batch b = zoo_slice(d, 0, WINDOW);
    ZOO_OK(r->ctx, acr_predict(r->t, &b, "prediction", out));
    for (int64_t i = 0; i < WINDOW * TOKENS * VOCAB; i++)
        wide[i] = (double)out[i];
    const double *want = tensor(f, "", "logits0", WINDOW * TOKENS * VOCAB);
    expect("the logits", distance(WINDOW * TOKENS * VOCAB, wide, want), most);
}

/* The gradient of the first window's mean. */
static void check_gradients(const golden *f, zoo_run *r, zoo_data *d, double most)
{
    static double got[MAX_ELEMENTS];
    double tokens = json_number_value(json_object_get(json_array_get(json_object_get(f->json, "updates"), 0), "tokens"));
    ZOO_OK(r->ctx, acr_window_open(r->t));
    state_add(r, d, 0, WINDOW, 0);
    for (int p = 0; p < acr_param_count(r->g); p++) {
        int64_t n = acr_param_elements(r->g, p);
        ZOO_OK(r->ctx, acr_gradient_read(r->t, p, 0, n, got));
        for (int64_t k = 0; k < n; k++)
            got[k] /= tokens;
        const char *name = acr_param_name(r->g, p);
        expect(name, distance(n, got, tensor(f, "grad0.", name, n)), most);
    }
    acr_window_abort(r->t);
}

static void check_final(const golden *f, zoo_run *r, double most)
{
    static double got[MAX_ELEMENTS];
    for (int i = 0; i < r->t->trained_count; i++) {
        const char *name = acr_param_name(r->g, r->t->trained[i].param);
        int64_t n = r->t->trained[i].at.length;
        const void *value = acr__value_at(r->t, &r->t->trained[i].at, 0);
        for (int64_t k = 0; k < n; k++)
            got[k] = r->g->reference ? ((const double *)value)[k] : (double)((const float *)value)[k];
        expect(name, distance(n, got, tensor(f, "final.", name, n)), most);
    }
}

/* Trains as the file says; the hash of all that came out. */
static uint64_t train(const golden *f, const zoo_opts *o, int64_t add, const bounds *most)
{
    static const zoo_case c = {"lm", build};
    zoo_run r = zoo_start(&c, o);
    zoo_data d = read_data(f);
    start_from(f, &r);
    if (whole_logits)
        check_logits(f, &r, &d, most->logits);
    check_gradients(f, &r, &d, most->gradient);
    const json_t *updates = json_object_get(f->json, "updates");
    assert_int_equal(json_array_size(updates), SAMPLES / WINDOW);
    uint64_t h = STATE_BEGIN;
    for (int u = 0; u < SAMPLES / WINDOW; u++) {
        const json_t *want = json_array_get(updates, (size_t)u);
        double loss = json_number_value(json_object_get(want, "loss"));
        double norm = json_number_value(json_object_get(want, "grad_norm"));
        acr_report got = state_window(&r, &d, u * WINDOW, WINDOW, add);
        expect("the loss", fabs(got.loss - loss) / loss, most->loss);
        expect("the gradient's norm", fabs(got.grad_norm - norm) / norm, most->norm);
        assert_true(got.weight == json_number_value(json_object_get(want, "tokens")));
        h = state_report(h, &got);
    }
    check_final(f, &r, most->final);
    h = state_hash(&r, h);
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

/* One hash on every path, at micro-batches of 1 to 4, however much is recomputed, with
 * the head in the loss and without. */
static uint64_t one_hash(const golden *f, const char *name, int products, const bounds *most)
{
    uint64_t h = 0;
    for (int whole = 0; whole < 2; whole++) {
        whole_logits = whole;
        for (int i = 0; acr_isa_name(i); i++)
            for (int64_t micro = 1; micro <= WINDOW; micro++) {
                zoo_opts o = options(micro, 0, acr_isa_name(i), products);
                o.plan.recompute = (int)micro % 3; /* none, one or both of the two layers */
                uint64_t got = train(f, &o, micro == 3 ? -1 : 0, most);
                h = h ? h : got;
                if (got != h)
                    fail_msg("%s: another hash at micro-batch %d with %s, products %d and %s", name, (int)micro,
                             acr_isa_name(i), products, whole ? "whole logits" : "the head in the loss");
            }
    }
    return h;
}

static void against_transformers(const char *name, const bounds *reference)
{
    static const bounds f32 = {.logits = 1e-6, .gradient = 2e-6, .loss = 5e-8, .norm = 2e-7, .final = 5e-5};
    static const bounds bf16 = {.logits = 1e-2, .gradient = 3e-2, .loss = 2e-4, .norm = 4e-3, .final = 3e-2};
    golden f = open_golden(name);
    for (int whole = 0; whole < 2; whole++) {
        whole_logits = whole;
        zoo_opts o = options(WINDOW, 1, "scalar", ACR_F32);
        train(&f, &o, 0, reference);
    }
    assert_true(one_hash(&f, name, ACR_F32, &f32) != one_hash(&f, name, ACR_BF16, &bf16));
    close_golden(&f);
}

/* Predictions are floats, and so are the scalars of an update. */
static void gpt2(void **state)
{
    (void)state;
    against_transformers("gpt2", &(bounds){.logits = 1e-7, .gradient = 2e-9, .loss = 1e-9, .norm = 2e-8, .final = 2e-7});
}

static const bounds rotary = {.logits = 2e-7, .gradient = 5e-7, .loss = 3e-9, .norm = 6e-8, .final = 6e-6};

static void llama(void **state)
{
    (void)state;
    against_transformers("llama", &rotary);
}

static void qwen2(void **state)
{
    (void)state;
    against_transformers("qwen2", &rotary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gpt2), cmocka_unit_test(llama), cmocka_unit_test(qwen2)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
