/* test_optim.c: the optimizers against a plain transcription, in double, of the
 * updates that PyTorch documents (torch.optim.SGD, Adam, AdamW), fed with the
 * gradients that the library accumulated. Doubles here and floats there, so the
 * comparison is to a few parts in a million; what is exact is in test_window.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "regression.h"

enum { SAMPLES = 40, WINDOW = 17, STEPS = 6 };

typedef struct reference {
    double p[REG_ALL], a[REG_ALL], b[REG_ALL]; /* parameters; momentum_buffer or exp_avg; exp_avg_sq */
} reference;

/* torch.optim.SGD's algorithm, t = 1, 2, ... */
static void sgd(const acr_trainer_opts *o, reference *r, const double *grad, int t)
{
    for (int i = 0; i < REG_ALL; i++) {
        double g = grad[i];
        if (o->weight_decay != 0)
            g = g + o->weight_decay * r->p[i];
        if (o->momentum != 0) {
            r->a[i] = t > 1 ? o->momentum * r->a[i] + (1 - o->dampening) * g : g;
            g = o->nesterov ? g + o->momentum * r->a[i] : r->a[i];
        }
        r->p[i] -= o->learning_rate * g;
    }
}

/* torch.optim.Adam and, decoupled, AdamW. */
static void adam(const acr_trainer_opts *o, reference *r, const double *grad, int t, bool decoupled)
{
    for (int i = 0; i < REG_ALL; i++) {
        double g = grad[i];
        if (decoupled)
            r->p[i] -= o->learning_rate * o->weight_decay * r->p[i];
        else
            g += o->weight_decay * r->p[i];
        r->a[i] = o->adam_beta1 * r->a[i] + (1 - o->adam_beta1) * g;
        r->b[i] = o->adam_beta2 * r->b[i] + (1 - o->adam_beta2) * g * g;
        double m = r->a[i] / (1 - pow(o->adam_beta1, t)), v = r->b[i] / (1 - pow(o->adam_beta2, t));
        r->p[i] -= o->learning_rate * m / (sqrt(v) + o->adam_epsilon);
    }
}

static void compare(const char *what, int step, const float *got, const double *want)
{
    for (int i = 0; i < REG_ALL; i++)
        if (!(fabs((double)got[i] - want[i]) <= 4e-6 * fabs(want[i]) + 1e-7))
            fail_msg("step %d, %s of element %d: %.9g, PyTorch's update gives %.9g", step, what, i, (double)got[i],
                     want[i]);
}

static void read_state(zoo_run *r, int slot, float *out)
{
    ZOO_OK(r->ctx, acr_state_read(r->t, 0, slot, 0, REG_OUT, out));
    ZOO_OK(r->ctx, acr_state_read(r->t, 1, slot, 0, REG_OUT * REG_IN, out + REG_OUT));
}

static void follow_on(const char *isa, acr_optimizer optimizer, acr_trainer_opts t)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.isa = isa;
    o.plan.micro_batch = 5;
    o.plan.optimizer = optimizer;
    o.plan.momentum = t.momentum != 0;
    o.trainer = t;
    zoo_run r = zoo_start(&regression_case, &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    float got[REG_ALL];
    reference ref = {0};
    reg_read(&r, got);
    for (int i = 0; i < REG_ALL; i++)
        ref.p[i] = (double)got[i];
    int slots = optimizer == ACR_SGD ? t.momentum != 0 : 2;
    assert_int_equal(acr_state_slots(r.t), slots);
    for (int step = 1; step <= STEPS; step++) {
        double g[REG_ALL];
        acr_report report = ACR_REPORT_INIT;
        ZOO_OK(r.ctx, acr_window_open(r.t));
        state_add(&r, &d, step % 3 * 7, WINDOW, 0);
        reg_gradient(&r, g);
        ZOO_OK(r.ctx, acr_window_close(r.t, &report));
        for (int i = 0; i < REG_ALL; i++)
            g[i] = g[i] / report.weight * report.clip;
        if (optimizer == ACR_SGD)
            sgd(&t, &ref, g, step);
        else
            adam(&t, &ref, g, step, optimizer == ACR_ADAMW);
        reg_read(&r, got);
        compare("parameter", step, got, ref.p);
        for (int s = 0; s < slots; s++) {
            read_state(&r, s, got);
            compare(acr_state_name(r.t, s), step, got, s ? ref.b : ref.a);
        }
        for (int i = 0; i < REG_ALL; i++) { /* no drift: the next step starts from the same floats */
            reg_read(&r, got);
            ref.p[i] = (double)got[i];
        }
    }
    zoo_free(&d);
    zoo_stop(&r);
}

/* On every path: which one is the best here must not decide what is tested. */
static void follow(acr_optimizer optimizer, acr_trainer_opts t)
{
    for (int i = 0; acr_isa_name(i); i++)
        follow_on(acr_isa_name(i), optimizer, t);
}

static acr_trainer_opts base(void)
{
    acr_trainer_opts t = ACR_TRAINER_OPTS_INIT;
    t.learning_rate = 0.05;
    return t;
}

static void sgd_follows(void **state)
{
    (void)state;
    for (int bits = 0; bits < 32; bits++) {
        acr_trainer_opts t = base();
        t.momentum = bits & 1 ? 0.9 : 0;
        t.dampening = bits & 2 ? 0.3 : 0;
        t.nesterov = (bits & 4) != 0;
        t.weight_decay = bits & 8 ? 0.1 : 0;
        t.max_grad_norm = bits & 16 ? 0.05 : 0;
        bool allowed = !t.nesterov || (t.momentum > 0 && t.dampening == 0);
        if (allowed)
            follow(ACR_SGD, t);
    }
}

static void adam_follows(void **state)
{
    (void)state;
    for (int bits = 0; bits < 8; bits++) {
        acr_trainer_opts t = base();
        t.weight_decay = bits & 1 ? 0.1 : 0;
        t.max_grad_norm = bits & 2 ? 0.05 : 0;
        if (bits & 4) {
            t.adam_beta1 = 0.8;
            t.adam_beta2 = 0.95;
            t.adam_epsilon = 1e-3;
        }
        follow(ACR_ADAM, t);
        follow(ACR_ADAMW, t);
    }
}

static void state_names(void **state)
{
    (void)state;
    static const char *const names[3][2] = {
        {"momentum_buffer", NULL}, {"exp_avg", "exp_avg_sq"}, {"exp_avg", "exp_avg_sq"}};
    for (acr_optimizer k = ACR_SGD; k <= ACR_ADAMW; k++) {
        zoo_opts o = ZOO_OPTS_INIT;
        o.plan.optimizer = k;
        o.plan.momentum = 1;
        zoo_run r = zoo_start(&regression_case, &o);
        for (int s = 0; s < acr_state_slots(r.t); s++)
            assert_string_equal(acr_state_name(r.t, s), names[k - 1][s]);
        assert_null(acr_state_name(r.t, -1));
        assert_null(acr_state_name(r.t, acr_state_slots(r.t)));
        zoo_stop(&r);
    }
}

/* Options that cannot be are refused when the trainer is made. */
static void refused(void **state)
{
    (void)state;
    struct {
        acr_optimizer optimizer;
        acr_trainer_opts t;
        const char *says;
    } bad[16];
    int n = 0;
#define BAD(kind, field, value, sentence)                \
    do {                                                 \
        bad[n].optimizer = kind;                         \
        bad[n].t = base();                               \
        bad[n].t.field = value;                          \
        bad[n++].says = sentence;                        \
    } while (0)
    BAD(ACR_SGD, learning_rate, -1, "learning_rate");
    BAD(ACR_SGD, learning_rate, NAN, "learning_rate");
    BAD(ACR_SGD, weight_decay, -1, "weight_decay");
    BAD(ACR_SGD, momentum, -0.1, "momentum");
    BAD(ACR_SGD, momentum, 0.9, "no momentum buffer"); /* the plan has none */
    BAD(ACR_SGD, dampening, INFINITY, "dampening");
    BAD(ACR_SGD, nesterov, 1, "nesterov needs momentum");
    BAD(ACR_SGD, max_grad_norm, NAN, "max_grad_norm");
    BAD(ACR_SGD, reduction, (acr_reduction)4, "reduction 4");
    BAD(ACR_ADAM, adam_beta1, 1, "adam_beta1");
    BAD(ACR_ADAMW, adam_beta2, -0.5, "adam_beta2");
    BAD(ACR_ADAMW, adam_epsilon, -1, "adam_epsilon");
    BAD(ACR_ADAMW, schedule, ACR_COSINE, "total_steps");
#undef BAD
    for (int i = 0; i < n; i++) {
        zoo_opts o = ZOO_OPTS_INIT;
        o.plan.optimizer = bad[i].optimizer;
        zoo_run r = zoo_start(&regression_case, &o);
        acr_trainer *t = NULL;
        assert_int_equal(acr_trainer_create(&t, r.plan, &bad[i].t), ACR_E_ARGUMENT);
        assert_null(t);
        if (!strstr(acr_error(r.ctx), bad[i].says))
            fail_msg("'%s' does not say '%s'", acr_error(r.ctx), bad[i].says);
        zoo_stop(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_follows),
        cmocka_unit_test(adam_follows),
        cmocka_unit_test(state_names),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
