/* test_definitions.c: what the kernels mean, apart from their bits: the fp64
 * table against the textbook's formulas, backwards against central differences,
 * and the fp32 table near the fp64 one. Losses and optimizers are PyTorch's. */
#include "kernel/kernel.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { C = 13, IGNORED = -1 };
static const acr_kernels *const K = &acr__kernels_ref64;

static uint32_t state_of_draw = 7;
static double draw(void)
{
    state_of_draw = state_of_draw * 1664525u + 1013904223u;
    return (double)(int32_t)state_of_draw * 0x1p-30; /* within +-2 */
}

static void draws(double *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = draw();
}

static void near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance * (1 + fabs(b))))
        fail_msg("%.17g, wanted %.17g", a, b);
}

/* -- a function of C inputs, with its gradient, against central differences ------ */
typedef struct scene {
    int variant;
    double c[C], gamma[C], target[C]; /* L = sum c y */
    int32_t label;
} scene;
typedef double value_fn(const scene *s, const double *x, double *gradient);

static void check_gradient(value_fn *f, const scene *s)
{
    double x[C], gradient[C], unused[C];
    draws(x, C);
    f(s, x, gradient);
    for (int j = 0; j < C; j++) {
        const double h = 1e-6;
        double kept = x[j];
        x[j] = kept + h;
        double up = f(s, x, unused);
        x[j] = kept - h;
        double down = f(s, x, unused);
        x[j] = kept;
        near(gradient[j], (up - down) / (2 * h), 1e-8);
    }
}

static double weighted(const double *c, const double *y)
{
    double sum = 0;
    for (int j = 0; j < C; j++)
        sum += c[j] * y[j];
    return sum;
}

static double unary_value(const scene *s, const double *x, double *gradient)
{
    enum acr_unary f = (enum acr_unary)s->variant;
    bool from_y = f == ACR_RELU || f == ACR_LEAKY_RELU || f == ACR_TANH || f == ACR_SIGMOID;
    double y[C];
    K->unary(f, 0.125f, 1, C, x, C, y, C);
    K->unary_back(f, 0.125f, 1, C, s->c, C, from_y ? y : x, C, gradient, C, false);
    return weighted(s->c, y);
}

static double norm_value(const scene *s, const double *x, double *gradient)
{
    const void *gamma = s->variant & 2 ? s->gamma : NULL;
    double y[C], stats[2];
    K->norm(s->variant & 1, 1, C, x, C, gamma, NULL, 1e-5f, y, C, stats);
    K->norm_back(s->variant & 1, 1, C, s->c, C, x, C, stats, gamma, gradient, C, false);
    return weighted(s->c, y);
}

static double gamma_value(const scene *s, const double *gamma, double *gradient)
{
    double y[C], stats[2], beta_gradient[C] = {0};
    memset(gradient, 0, C * sizeof *gradient);
    K->norm(s->variant & 1, 1, C, s->target, C, gamma, NULL, 1e-5f, y, C, stats);
    K->norm_back_param(s->variant & 1, 1, C, s->c, C, s->target, C, stats, gradient, beta_gradient);
    for (int j = 0; j < C; j++)
        near(beta_gradient[j], s->c[j], 0);
    return weighted(s->c, y);
}

static double softmax_value(const scene *s, const double *x, double *gradient)
{
    double y[C];
    K->softmax(1, C, x, C, y, C);
    K->softmax_back(1, C, s->c, C, y, C, gradient, C, false);
    return weighted(s->c, y);
}

static const struct {
    enum acr_loss_kind kind;
    bool soft, classes;
    float smoothing;
} losses[] = {{ACR_MSE, false, false, 0}, {ACR_MAE, false, false, 0}, {ACR_HUBER, false, false, 0},
              {ACR_BCE, false, false, 0}, {ACR_CROSS_ENTROPY, false, false, 0}, {ACR_CROSS_ENTROPY, false, true, 0},
              {ACR_CROSS_ENTROPY, false, false, 0.125f}, {ACR_CROSS_ENTROPY, false, true, 0.125f},
              {ACR_CROSS_ENTROPY, true, false, 0}, {ACR_CROSS_ENTROPY, true, false, 0.125f},
              {ACR_CROSS_ENTROPY, true, true, 0.125f}};
enum { LOSSES = sizeof losses / sizeof losses[0] };

static acr_loss_args loss_args(const scene *s, const double *x, double *gradient, double numbers[3])
{
    static const double weight = 0.75;
    return (acr_loss_args){.kind = losses[s->variant].kind, .rows = 1, .cols = C, .pred = x, .ld_pred = C,
                           .target = losses[s->variant].kind == ACR_CROSS_ENTROPY && !losses[s->variant].soft
                                         ? (const void *)&s->label : s->target,
                           .ld_target = C, .soft = losses[s->variant].soft, .weight = &weight, .weight_scale = 0.5,
                           .class_weight = losses[s->variant].classes ? s->gamma : NULL,
                           .label_smoothing = losses[s->variant].smoothing, .ignore_index = IGNORED, .delta = 0.5f,
                           .dpred = gradient, .ld_dpred = C, .row_loss = numbers, .row_weight = numbers + 1,
                           .row_correct = numbers + 2};
}

/* The textbook's loss of one row, without its weight */
static double plain_loss(const scene *s, const double *x)
{
    double sum = 0, exps = 0, smoothing = losses[s->variant].smoothing;
    for (int j = 0; j < C; j++)
        exps += exp(x[j]);
    for (int j = 0; j < C; j++) {
        double d = x[j] - s->target[j], t = losses[s->variant].soft ? s->target[j] : j == s->label;
        double share = 1 / (1 + exp(-x[j])), width = 0.5;
        t = t * (1 - smoothing) + smoothing / C;
        if (losses[s->variant].soft && losses[s->variant].classes)
            t *= s->gamma[j];
        switch (losses[s->variant].kind) {
        case ACR_MSE: sum += d * d / C; break;
        case ACR_MAE: sum += fabs(d) / C; break;
        case ACR_HUBER: sum += (fabs(d) <= width ? d * d / 2 : width * (fabs(d) - width / 2)) / C; break;
        case ACR_BCE: sum -= (s->target[j] * log(share) + (1 - s->target[j]) * log(1 - share)) / C; break;
        case ACR_CROSS_ENTROPY: sum -= t * log(exp(x[j]) / exps); break;
        }
    }
    return sum;
}

static double loss_value(const scene *s, const double *x, double *gradient)
{
    double numbers[3];
    acr_loss_args a = loss_args(s, x, gradient, numbers);
    K->loss(&a);
    double w = 0.375;
    if (losses[s->variant].classes && !losses[s->variant].soft)
        w *= s->gamma[s->label];
    near(numbers[1], w, 1e-15);
    near(numbers[0], w * plain_loss(s, x), 1e-13);
    return numbers[0];
}

static void check_all(value_fn *f, int variants)
{
    for (int round = 0; round < 20; round++)
        for (int v = 0; v < variants; v++) {
            scene s = {.variant = v, .label = round % C};
            draws(s.c, C);
            draws(s.gamma, C);
            draws(s.target, C);
            for (int j = 0; f == loss_value && j < C; j++) {
                s.target[j] = (s.target[j] + 2) / 4; /* bce and probabilities */
                s.gamma[j] = s.gamma[j] + 3;
            }
            check_gradient(f, &s);
        }
}

static void test_gradients(void **state)
{
    (void)state;
    check_all(unary_value, ACR_SIGMOID + 1);
    check_all(norm_value, 4);
    check_all(gamma_value, 2);
    check_all(softmax_value, 1);
    check_all(loss_value, LOSSES);
}

/* -- forwards ------------------------------------------------------------------- */
static double activation(enum acr_unary f, double slope, double x)
{
    switch (f) {
    case ACR_RELU: return fmax(x, 0);
    case ACR_LEAKY_RELU: return x > 0 ? x : slope * x;
    case ACR_GELU: return 0.5 * x * (1 + erf(x / sqrt(2.0)));
    case ACR_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case ACR_SILU: return x / (1 + exp(-x));
    case ACR_TANH: return tanh(x);
    case ACR_SIGMOID: return 1 / (1 + exp(-x));
    }
    return NAN;
}

static void test_activations(void **state)
{
    (void)state;
    for (int f = ACR_RELU; f <= ACR_SIGMOID; f++)
        for (double x = -12; x < 12; x += 0.0371) {
            double y, wanted = activation((enum acr_unary)f, 0.125, x);
            float x32 = (float)x, y32;
            K->unary((enum acr_unary)f, 0.125f, 1, 1, &x, 1, &y, 1);
            near(y, wanted, 1e-15);
            acr__kernels_scalar.unary((enum acr_unary)f, 0.125f, 1, 1, &x32, 1, &y32, 1);
            near(y32, activation((enum acr_unary)f, 0.125, x32), 2e-6);
        }
}

static void test_norms(void **state)
{
    (void)state;
    double x[C], gamma[C], beta[C], y[C], stats[2], sum = 0, square = 0, spread = 0;
    draws(x, C);
    draws(gamma, C);
    draws(beta, C);
    for (int j = 0; j < C; j++)
        sum += x[j];
    for (int j = 0; j < C; j++) {
        square += x[j] * x[j];
        spread += (x[j] - sum / C) * (x[j] - sum / C);
    }
    K->norm(false, 1, C, x, C, gamma, beta, 0.25f, y, C, stats);
    for (int j = 0; j < C; j++)
        near(y[j], (x[j] - sum / C) / sqrt(spread / C + 0.25) * gamma[j] + beta[j], 1e-14);
    near(stats[0], sum / C, 1e-14);
    near(stats[1], 1 / sqrt(spread / C + 0.25), 1e-14);
    K->norm(true, 1, C, x, C, gamma, beta, 0.25f, y, C, stats);
    for (int j = 0; j < C; j++)
        near(y[j], x[j] / sqrt(square / C + 0.25) * gamma[j] + beta[j], 1e-14);
    assert_true(stats[0] == 0);
}

/* -- losses: rows without weight, ties, large logits ----------------------------- */
static void test_weightless_rows_are_zero(void **state)
{
    (void)state;
    const double weight[2] = {0, 1};
    const int32_t label[2] = {1, IGNORED};
    double x[2 * C], dx[2 * C], loss[2], w[2], right[2];
    for (int j = 0; j < 2 * C; j++)
        x[j] = j % 3 ? NAN : INFINITY;
    acr_loss_args a = {.kind = ACR_CROSS_ENTROPY, .rows = 2, .cols = C, .pred = x, .ld_pred = C, .target = label,
                       .weight = weight, .weight_scale = 1, .ignore_index = IGNORED, .dpred = dx, .ld_dpred = C,
                       .row_loss = loss, .row_weight = w, .row_correct = right};
    K->loss(&a);
    for (int r = 0; r < 2; r++) {
        assert_true(loss[r] == 0 && w[r] == 0 && right[r] == 0);
        for (int j = 0; j < C; j++)
            assert_true(dx[r * C + j] == 0 && !signbit(dx[r * C + j]));
    }
}

static double correct_of(enum acr_loss_kind kind, bool soft, int cols, const double *x, const void *target)
{
    double numbers[3] = {0, 0, -1};
    acr_loss_args a = {.kind = kind, .rows = 1, .cols = cols, .pred = x, .ld_pred = cols, .target = target,
                       .ld_target = cols, .soft = soft, .weight_scale = 1, .ignore_index = IGNORED, .delta = 1,
                       .row_loss = numbers, .row_weight = numbers + 1, .row_correct = numbers + 2};
    K->loss(&a);
    return numbers[2];
}

static void test_correct(void **state)
{
    (void)state;
    const double tie[4] = {1, 5, 5, 0}, shares[4] = {0.1, 0.2, 0.6, 0.1}, sides[4] = {-1, 2, 3, -4},
                 truth[4] = {0, 1, 0, 0};
    const int32_t first = 1, second = 2;
    assert_true(correct_of(ACR_CROSS_ENTROPY, false, 4, tie, &first) == 1);
    assert_true(correct_of(ACR_CROSS_ENTROPY, false, 4, tie, &second) == 0);
    assert_true(correct_of(ACR_CROSS_ENTROPY, true, 4, tie, shares) == 0);
    assert_true(correct_of(ACR_CROSS_ENTROPY, true, 4, shares, shares) == 1);
    assert_true(correct_of(ACR_BCE, false, 4, sides, truth) == 0.75);
    assert_true(correct_of(ACR_MSE, false, 4, sides, truth) == -1);
}

static void test_large_logits(void **state)
{
    (void)state;
    const float x[3] = {1e30f, -1e30f, 500}, target[3] = {1, 0, 1};
    const int32_t label = 0;
    float dx[3];
    double loss, w;
    acr_loss_args a = {.kind = ACR_BCE, .rows = 1, .cols = 3, .pred = x, .ld_pred = 3, .target = target,
                       .ld_target = 3, .weight_scale = 1, .ignore_index = IGNORED, .dpred = dx, .ld_dpred = 3,
                       .row_loss = &loss, .row_weight = &w};
    for (int i = 0; acr__kernels_runnable(i); i++) {
        acr__kernels_runnable(i)->loss(&a);
        assert_true(loss == 0 && dx[0] == 0 && dx[1] == 0 && dx[2] == 0);
    }
    a.kind = ACR_CROSS_ENTROPY;
    a.target = &label;
    for (int i = 0; acr__kernels_runnable(i); i++) {
        acr__kernels_runnable(i)->loss(&a);
        assert_true(loss == 0 && dx[0] == 0 && dx[1] == 0 && dx[2] == 0);
    }
}

/* -- optimizers against torch.optim's own lines ----------------------------------- */
static void test_sgd(void **state)
{
    (void)state;
    for (int v = 0; v < 8; v++) {
        double momentum = v & 1 ? 0.5 : 0, decay = v & 2 ? 0.25 : 0, p[C], g[C], buffer[C] = {0}, tp[C], tb[C] = {0};
        bool nesterov = v & 4;
        draws(p, C);
        memcpy(tp, p, sizeof p);
        for (int step = 0; step < 5; step++) {
            draws(g, C);
            acr_sgd_args a = {.lr = 0.125f, .momentum = (float)momentum, .dampening_1m = 0.75f,
                              .weight_decay = (float)decay, .clip = step == 3 ? 0.5f : 1, .nesterov = nesterov,
                              .first = step == 0};
            K->sgd(&a, C, p, g, buffer);
            for (int j = 0; j < C; j++) {
                double grad = g[j] * (step == 3 ? 0.5 : 1) + decay * tp[j];
                if (momentum != 0) {
                    tb[j] = step == 0 ? grad : momentum * tb[j] + (1 - 0.25) * grad;
                    grad = nesterov ? grad + momentum * tb[j] : tb[j];
                }
                tp[j] -= 0.125 * grad;
                near(p[j], tp[j], 1e-14);
            }
        }
    }
}

static void test_adam(void **state)
{
    (void)state;
    const double lr = 0.01, beta1 = 0.875, beta2 = 0.9375, eps = 0x1p-20, wd = 0.125;
    for (int coupled = 0; coupled < 2; coupled++) {
        double p[C], g[C], m[C] = {0}, v[C] = {0}, tp[C], tm[C] = {0}, tv[C] = {0};
        draws(p, C);
        memcpy(tp, p, sizeof p);
        for (int step = 1; step < 6; step++) {
            draws(g, C);
            double bc1 = 1 - pow(beta1, step), bc2 = 1 - pow(beta2, step);
            acr_adam_args a = {.lr_bc1 = (float)(lr / bc1), .decay = coupled ? 1 : (float)(1 - lr * wd),
                               .l2 = coupled ? (float)wd : 0, .beta1_1m = 0.125f, .beta2 = 0.9375f,
                               .beta2_1m = 0.0625f, .sqrt_bc2 = (float)sqrt(bc2), .epsilon = (float)eps, .clip = 1};
            K->adam(&a, C, p, g, m, v);
            for (int j = 0; j < C; j++) {
                double grad = g[j] + (coupled ? wd * tp[j] : 0);
                tp[j] *= coupled ? 1 : 1 - lr * wd;
                tm[j] = beta1 * tm[j] + (1 - beta1) * grad;
                tv[j] = beta2 * tv[j] + (1 - beta2) * grad * grad;
                tp[j] -= lr * (tm[j] / bc1) / (sqrt(tv[j] / bc2) + eps);
                near(p[j], tp[j], 1e-7); /* the scalars were rounded to float */
            }
        }
    }
}

static void test_close_leaf(void **state)
{
    (void)state;
    enum { N = 4096 };
    static float acc[N], g[N];
    double sum = 0;
    for (int i = 0; i < N; i++)
        acc[i] = (float)draw();
    double squares = acr__kernels_scalar.close_leaf(N, acc, 3.0, g);
    for (int i = 0; i < N; i++) {
        assert_true(g[i] == (float)((double)acc[i] / 3.0));
        sum += (double)g[i] * g[i];
    }
    near(squares, sum, 1e-13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_weightless_rows_are_zero),
        cmocka_unit_test(test_correct),
        cmocka_unit_test(test_large_logits),
        cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_close_leaf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
