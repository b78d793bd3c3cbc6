/* test_language_ops.c: what a language model's small ops mean: the angles of rotary
 * positions, a weight that lies the other way round, weights that start normal. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../state.h"

/* ---- rotary positions ---- */
enum { DIM = 64 };

static acr_rope_opts rope_of(int64_t dim, double theta)
{
    acr_rope_opts o = ACR_ROPE_OPTS_INIT;
    o.dim = dim;
    o.theta = theta;
    return o;
}

static void check_angles(const acr_rope_opts *o, int64_t position, int64_t pair, double frequency)
{
    float row[DIM];
    acr__rope_row(o, position, row);
    double angle = (double)position * frequency;
    assert_true(fabs((double)row[pair] - cos(angle)) < 1e-7);
    assert_true(fabs((double)row[pair + o->dim / 2] - sin(angle)) < 1e-7);
}

static void plain_angles(void **state)
{
    (void)state;
    acr_rope_opts o = rope_of(DIM, 10000);
    for (int64_t position = 0; position < 3000; position += 371)
        for (int64_t i = 0; i < DIM / 2; i++)
            check_angles(&o, position, i, pow(10000, -2.0 * (double)i / DIM));
    o.scaling = ACR_ROPE_LINEAR;
    o.factor = 4;
    for (int64_t i = 0; i < DIM / 2; i++)
        check_angles(&o, 1001, i, pow(10000, -2.0 * (double)i / DIM) / 4);
}

/* Llama 3.1's own numbers, from the formula of its reference implementation: fast
 * turns stay, those of pairs 16 to 17 are between, slow ones are eight times slower. */
static void llama3_angles(void **state)
{
    (void)state;
    static const struct {
        int64_t pair;
        double frequency;
    } known[] = {{0, 1.0}, {1, 0.6636012376960885}, {12, 0.0072926647372171085}, {14, 0.0032114459947525913},
                 {15, 0.0013718935677611381}, {16, 0.0005248461609929547}, {17, 0.00017850781276799638},
                 {18, 7.78465527393245e-05}, {20, 3.428102195952591e-05}, {31, 3.7673226901739635e-07}};
    acr_rope_opts o = rope_of(DIM, 500000);
    o.scaling = ACR_ROPE_LLAMA3;
    o.factor = 8;
    for (int64_t position = 1; position < 20000; position = position * 3 + 1)
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            check_angles(&o, position, known[k].pair, known[k].frequency);
}

/* The product of a turned q and a turned k knows how far apart they stand, not where. */
static void only_distance_counts(void **state)
{
    (void)state;
    enum { HEAD = 16, ROWS = 50 };
    acr_rope_opts o = rope_of(HEAD, 100);
    float table[ROWS * HEAD], q[HEAD], k[HEAD], a[HEAD], b[HEAD];
    for (int64_t r = 0; r < ROWS; r++)
        acr__rope_row(&o, r, table + r * HEAD);
    for (int i = 0; i < HEAD; i++) {
        q[i] = zoo_uniform(1, 1, (uint64_t)i);
        k[i] = zoo_uniform(1, 2, (uint64_t)i);
    }
    double first = 0;
    for (int32_t p = 0; p + 7 < ROWS; p++) {
        const int32_t behind = p + 7;
        acr__kernels_scalar.rope(false, 1, 1, HEAD, q, HEAD, &behind, table, a, HEAD, false);
        acr__kernels_scalar.rope(false, 1, 1, HEAD, k, HEAD, &p, table, b, HEAD, false);
        double dot = 0;
        for (int i = 0; i < HEAD; i++)
            dot += (double)a[i] * (double)b[i];
        first = p == 0 ? dot : first;
        assert_true(fabs(dot - first) < 1e-5);
        acr__kernels_scalar.rope(true, 1, 1, HEAD, a, HEAD, &behind, table, a, HEAD, false); /* and back again */
        for (int i = 0; i < HEAD; i++)
            assert_true(fabsf(a[i] - q[i]) < 1e-6f);
    }
}

/* ---- a weight that is [in, out] ---- */
static int lying; /* 1: [in, out] */

static void two_layers(acr_graph *g)
{
    acr_linear_opts o = ACR_LINEAR_OPTS_INIT;
    o.transposed = lying;
    acr_node x = zoo_in(g, "x", 9), y = zoo_in(g, "y", 6);
    acr_node h = acr_relu(g, acr_linear_with(g, x, 35, "a", &o));
    o.no_bias = 1;
    h = acr_linear_with(g, h, 6, "b", &o);
    zoo_loss(g, h, acr_mse(g, h, y, ACR_NONE));
}

/* Parameter p of r as [out, in]; to be freed. */
static float *standing(zoo_run *r, int p, bool transposed)
{
    int64_t n = acr_param_elements(r->g, p), rows = acr_param_dim(r->g, p, 0), cols = n / rows;
    float *raw = malloc((size_t)n * sizeof *raw), *out = malloc((size_t)n * sizeof *out);
    assert_true(raw && out);
    ZOO_OK(r->ctx, acr_param_read(r->t, p, 0, n, raw));
    for (int64_t i = 0; i < n; i++)
        out[transposed && acr_param_ndim(r->g, p) == 2 ? i % cols * rows + i / cols : i] = raw[i];
    free(raw);
    return out;
}

static void lies_the_other_way_round(void **state)
{
    (void)state;
    static const zoo_case c = {"two layers", two_layers};
    for (int i = 0; acr_isa_name(i); i++)
        for (int way = 0; way < 12; way++) {
            zoo_run r[2];
            zoo_opts o = ZOO_OPTS_INIT;
            o.isa = acr_isa_name(i);
            o.threads = 1 + way % 3;
            o.plan.micro_batch = way < 6 ? 3 : 20;
            o.plan.pack = way % 2;
            o.trainer.learning_rate = 0.1;
            for (lying = 0; lying < 2; lying++)
                r[lying] = zoo_start(&c, &o);
            for (int p = 0; p < acr_param_count(r[0].g); p++) { /* both begin alike */
                float *w = standing(&r[1], p, true);
                ZOO_OK(r[0].ctx, acr_param_write(r[0].t, p, 0, acr_param_elements(r[0].g, p), w));
                free(w);
            }
            zoo_data d = zoo_make(r[0].g, 40, 3);
            for (int u = 0; u < 3; u++) {
                acr_report a = state_window(&r[0], &d, 0, 40, 0), b = state_window(&r[1], &d, 0, 40, 0);
                assert_true(a.loss == b.loss);
            }
            for (int p = 0; p < acr_param_count(r[0].g); p++) {
                float *a = standing(&r[0], p, false), *b = standing(&r[1], p, true);
                assert_memory_equal(a, b, (size_t)acr_param_elements(r[0].g, p) * sizeof *a);
                free(a);
                free(b);
            }
            zoo_free(&d);
            zoo_stop(&r[0]);
            zoo_stop(&r[1]);
        }
}

/* ---- weights that start normal ---- */
static void normal_net(acr_graph *g)
{
    acr_linear_opts o = ACR_LINEAR_OPTS_INIT;
    o.std = 0.02f;
    acr_node x = zoo_in(g, "x", 100), p = acr_param_normal(g, "p", 1, (int64_t[]){100}, 3);
    acr_output(g, "o", acr_linear_with(g, acr_bias(g, x, p), 101, "fc", &o));
}

static void check_normal(const float *x, int64_t n, double std)
{
    double sum = 0, square = 0;
    int within = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        square += (double)x[i] * (double)x[i];
        within += fabs((double)x[i]) < std;
    }
    double each = std / sqrt((double)n);
    assert_true(fabs(sum / (double)n) < 4 * each);
    assert_true(fabs(sqrt(square / (double)n) - std) < 4 * each);
    assert_true(fabs(within / (double)n - 0.6827) < 2 / sqrt((double)n));
}

static void start_normal(void **state)
{
    (void)state;
    static const zoo_case c = {"normal", normal_net};
    static float w[2][100 * 101], b[101], p[100];
    for (int threads = 1; threads <= 2; threads++) { /* whoever draws them */
        zoo_opts o = ZOO_OPTS_INIT;
        o.threads = threads;
        o.plan.micro_batch = 50;
        o.seed = 5;
        zoo_run r = zoo_start(&c, &o);
        ZOO_OK(r.ctx, acr_param_read(r.t, acr_param_index(r.g, "fc.weight"), 0, 100 * 101, w[threads - 1]));
        ZOO_OK(r.ctx, acr_param_read(r.t, acr_param_index(r.g, "fc.bias"), 0, 101, b));
        ZOO_OK(r.ctx, acr_param_read(r.t, acr_param_index(r.g, "p"), 0, 100, p));
        zoo_stop(&r);
    }
    assert_memory_equal(w[0], w[1], sizeof w[0]);
    check_normal(w[0], 100 * 101, (double)0.02f);
    check_normal(p, 100, 3);
    for (int i = 0; i < 101; i++)
        assert_true(b[i] == 0);
    for (uint64_t i = 0; i < 7; i++) { /* each element is a function of its number alone */
        float one, all[7];
        acr__init_normals(5, acr__hash32("fc.weight"), i, 1, &one);
        acr__init_normals(5, acr__hash32("fc.weight"), 0, 7, all);
        assert_true(one == all[i] && 0.02f * one == w[0][i]);
        assert_true(one != acr_normal(5, acr__hash32("fc.weight"), i)); /* and meets no number of a data source */
    }
    float first;
    acr__init_normals(1, 2, 3, 1, &first);
    assert_true(first == -0.310173661f); /* part of the canon: never changes */
}

/* Instruction sets compile the same functions; fma is a call in one and not in others. */
static void normals_are_the_same_everywhere(void **state)
{
    (void)state;
    enum { N = 100001 };
    static float want[N], got[N];
    acr__init_normals(9, 77, 3, N, want);
    const acr_kernels *k;
    for (int i = 0; (k = acr__kernels_runnable(i)) != NULL; i++) {
        memset(got, 0, sizeof got);
        k->init_normals(9, 77, 3, N, got);
        assert_memory_equal(got, want, sizeof want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_angles),           cmocka_unit_test(llama3_angles), cmocka_unit_test(only_distance_counts),
        cmocka_unit_test(lies_the_other_way_round), cmocka_unit_test(start_normal),
        cmocka_unit_test(normals_are_the_same_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
