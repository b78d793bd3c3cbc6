/* test_gradients.c: every op's backward against central differences in fp64, and
 * the generic OVERWRITE/ADD test over ops.def. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../differences.h"
#include "accum/trainer.h"

static void gradients_match_central_differences(void **state)
{
    (void)state;
    for (int i = 0; i < ZOO_COUNT; i++)
        for (uint64_t seed = 1; seed <= 3; seed++)
            differences_check(&zoo[i], 7, 3, seed, 0x1p-18f, 17);
}

/* ---- OVERWRITE and ADD ---- */
enum { ROWS = 5, WIDE = 64 };

static acr__slot filled(double *memory, int64_t cols, uint32_t stream, bool positive)
{
    for (int64_t i = 0; i < ROWS * WIDE; i++)
        memory[i] = (double)zoo_uniform(3, stream, (uint64_t)i) + (positive ? 1.5 : 0);
    (void)cols;
    return (acr__slot){.p = (char *)memory, .ld = WIDE};
}

/* Two samples, of which the second holds two documents. */
static const int32_t offsets[] = {0, 2, ROWS}, positions[ROWS] = {0, 1, 0, 1, 0};

/* What a rope's angles are, as the plan would place them. */
static const double *table_of(const acr__node *n)
{
    static double table[ROWS * WIDE];
    float row[WIDE];
    for (int64_t r = 0; r < ROWS && n->op == ACR_OP_rope; r++) {
        acr__rope_row(&n->rope, r, row);
        for (int64_t i = 0; i < n->rope.dim; i++)
            table[r * n->rope.dim + i] = (double)row[i];
    }
    return table;
}

/* Runs op's backward for input j of node n over buffers of the test's own. */
static void backward_into(const acr_graph *g, const acr__node *n, int j, const double *start, double *out, bool add)
{
    static double in[ACR_MAX_IN][ROWS * WIDE], param[ACR_MAX_IN][WIDE * WIDE], y[ROWS * WIDE], dy[ROWS * WIDE],
        aux[ROWS * WIDE];
    static char scratch[1 << 20] __attribute__((aligned(64)));
    acr__exec e = {.node = n, .domain = n->domain};
    for (int i = 0; i < n->inputs; i++) {
        const acr__node *v = &g->nodes[n->in[i]];
        e.in_cols[i] = v->cols;
        if (v->op == ACR_OP_param) {
            for (int64_t k = 0; k < v->cols; k++)
                param[i][k] = (double)zoo_uniform(5, (uint32_t)i, (uint64_t)k);
            e.in[i] = (acr__slot){.p = (char *)param[i], .ld = v->shape[v->ndim - 1]};
        } else if (v->dtype == ACR_I32) {
            memcpy(in[i], positions, sizeof positions);
            e.in[i] = (acr__slot){.p = (char *)in[i], .ld = 1};
        } else {
            e.in[i] = filled(in[i], v->cols, 20 + (uint32_t)i, false);
        }
    }
    e.out = filled(y, n->cols, 1, false);
    e.dout = filled(dy, n->cols, 2, false);
    e.aux = (acr__slot){.p = (char *)aux, .ld = n->op == ACR_OP_attention ? 2 * n->heads : 2};
    e.table = table_of(n);
    acr__run run = {.k = &acr__kernels_ref64, .es = 8, .training = true, .seed = 1, .scratch = scratch,
                    .scratch_bytes = sizeof scratch, .weight_scale = 1};
    run.rows[n->domain] = ROWS;
    run.samples = n->domain == ACR_SAMPLE ? ROWS : 2;
    run.offsets[n->domain] = n->domain == ACR_SAMPLE ? NULL : offsets;
    acr__ops[n->op].forward(&run, &e, 0, 1);
    memcpy(out, start, sizeof(double) * ROWS * WIDE);
    e.din[j] = (acr__slot){.p = (char *)out, .ld = WIDE};
    e.din_add[j] = add;
    acr__ops[n->op].backward(&run, &e, 0, 1);
}

static void check_modes(const acr_graph *g, const acr__node *n, int j)
{
    static double nan_start[ROWS * WIDE], p_start[ROWS * WIDE], plain[ROWS * WIDE], added[ROWS * WIDE];
    for (int i = 0; i < ROWS * WIDE; i++) {
        nan_start[i] = NAN;
        p_start[i] = 3 + (double)zoo_uniform(9, 9, (uint64_t)i);
    }
    backward_into(g, n, j, nan_start, plain, false);
    backward_into(g, n, j, p_start, added, true);
    int64_t cols = g->nodes[n->in[j]].cols;
    for (int r = 0; r < ROWS; r++)
        for (int64_t k = 0; k < WIDE; k++) {
            int64_t at = r * WIDE + k;
            if (k >= cols) {
                assert_true(isnan(plain[at])); /* nothing past the row is touched */
                continue;
            }
            if (!isfinite(plain[at]) || fabs(added[at] - (p_start[at] + plain[at])) > 1e-12)
                fail_msg("%s, input %d, row %d, column %d: OVERWRITE gives %g, ADD to %g gives %g", acr__ops[n->op].name, j,
                         r, (int)k, plain[at], p_start[at], added[at]);
        }
}

static void overwrite_and_add(void **state)
{
    (void)state;
    bool seen[ACR_OP_COUNT] = {0};
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    for (int c = 0; c < ZOO_COUNT; c++) {
        acr_graph *g = acr_graph_create(ctx, &(acr_graph_opts){sizeof(acr_graph_opts), 1, 1, 0});
        zoo[c].build(g);
        ZOO_OK(ctx, acr_graph_finish(g));
        for (int i = 0; i < g->node_count; i++)
            for (int j = 0; j < g->nodes[i].inputs; j++) {
                const acr__node *n = &g->nodes[i];
                seen[n->op] = true;
                const acr__node *v = &g->nodes[n->in[j]];
                if (acr__ops[n->op].back[j > 0] == ACR_BACK_BOTH && v->op != ACR_OP_param && v->dtype == ACR_F32)
                    check_modes(g, n, j);
            }
        acr_graph_destroy(g);
    }
    acr_context_destroy(ctx);
    for (int op = 0; op < ACR_OP_COUNT; op++)
        if (!seen[op] && acr__ops[op].domain != ACR_OP_SOURCE)
            fail_msg("no graph of the zoo has the op %s", acr__ops[op].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_match_central_differences),
        cmocka_unit_test(overwrite_and_add),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
