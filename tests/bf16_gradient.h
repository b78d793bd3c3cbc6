/* bf16_gradient.h: weight gradients in bf16 are rule 2's, element by element: blocks of
 * 32 rows of the window, or of 32 rows within each sample that has several, with the
 * block that is still open counted when a gradient is read. One test, for builds with
 * long chains and with short ones. Needs cmocka. */
#ifndef BF16_GRADIENT_H
#define BF16_GRADIENT_H

#include "base/bf16.h"
#include "graph/exec.h"
#include "kernel/mma32.h"
#include "zoo.h"

enum { IN = 5, OUT = 3, ROWS = 400 };


static void one_linear(acr_graph *g) { acr_output(g, "o", acr_linear(g, zoo_in(g, "x", IN), OUT, "p")); }
static void token_linear(acr_graph *g)
{
    acr_domain token = acr_domain_create(g, "token", ZOO_LONG);
    acr_output(g, "o", acr_linear(g, acr_input_in(g, token, "x", ACR_F32, 1, (int64_t[]){IN}), OUT, "p"));
}
static void transposed_linear(acr_graph *g)
{
    acr_linear_opts o = ACR_LINEAR_OPTS_INIT;
    o.transposed = 1;
    acr_output(g, "o", acr_linear_with(g, zoo_in(g, "x", IN), OUT, "p", &o));
}

static float rounded(float x) { return acr__bf16_to_float(acr__bf16_operand(x)); }
static float dy_at(int64_t row, int64_t o) { return zoo_uniform(77, 1, (uint64_t)(row * OUT + o)); }

/* A chain, and what was spilled of it. A block [begin, end) of the window in which a
 * multiple of ACR_CHAIN_ROWS is reached ends it. */
typedef struct spilling {
    float chain, second;
    bool spilled, begun;
} spilling;

static void end_block(spilling *s, int64_t begin, int64_t end)
{
    s->begun = true;
    if (begin / ACR_CHAIN_ROWS == end / ACR_CHAIN_ROWS)
        return;
    s->second = s->spilled ? s->second + s->chain : s->chain;
    *s = (spilling){0, s->second, true, false};
}

static double value_of(const spilling *s)
{
    return (double)(!s->spilled ? s->chain : s->begun ? s->second + s->chain : s->second);
}

/* Rows [from, to): whole blocks and one of what is left. */
static void add_blocks(spilling *s, const float *x, int64_t from, int64_t to, int64_t o, int64_t i)
{
    for (int64_t b = from; b < to; b += ACR_BLOCK) {
        float chain[2] = {0, 0};
        for (int64_t r = b; r < b + ACR_BLOCK; r++)
            chain[(r - b) % 2] = acr__mma32_fma(r < to ? rounded(dy_at(r, o)) : 0, r < to ? rounded(x[r * IN + i]) : 0,
                                                chain[(r - b) % 2]);
        s->chain = acr__mma32_add(s->chain, acr__mma32_add(chain[0], chain[1]));
        end_block(s, b, b + ACR_BLOCK < to ? b + ACR_BLOCK : to);
    }
}

/* Compares every element of the gradient so far: `samples` samples, `rows` rows. */
static void compare(zoo_run *r, const zoo_data *d, bool transposed, int64_t samples, int64_t rows)
{
    double got[OUT * IN];
    int w = acr_param_index(r->g, "p.weight"), b = acr_param_index(r->g, "p.bias");
    ZOO_OK(r->ctx, acr_gradient_read(r->t, w, 0, OUT * IN, got));
    for (int64_t o = 0; o < OUT; o++)
        for (int64_t i = 0; i < IN; i++) {
            spilling want = {0};
            if (d->domain[0] == ACR_SAMPLE)
                add_blocks(&want, d->data[0], 0, rows, o, i);
            for (int64_t s = 0; d->domain[0] != ACR_SAMPLE && s < samples; s++)
                add_blocks(&want, d->data[0], d->offsets[2][s], d->offsets[2][s + 1], o, i);
            double g = got[transposed ? i * OUT + o : o * IN + i];
            if (g != value_of(&want))
                fail_msg("after %d rows: dW[%d][%d] is %a, not %a", (int)rows, (int)o, (int)i, g, value_of(&want));
        }
    ZOO_OK(r->ctx, acr_gradient_read(r->t, b, 0, OUT, got));
    for (int64_t o = 0; o < OUT; o++) { /* rule 4: from dY as it is */
        spilling want = {0};
        for (int64_t k = 0; k < rows; k++) {
            want.chain += dy_at(k, o);
            end_block(&want, k, k + 1);
        }
        assert_true(got[o] == value_of(&want));
    }
}

static void add_samples(zoo_run *r, zoo_data *d, int64_t first, int64_t n)
{
    float gradient[ZOO_LONG * ROWS * OUT];
    acr_batch b = zoo_slice(d, first, n);
    bool ragged = d->domain[0] != ACR_SAMPLE;
    int64_t row = ragged ? d->offsets[2][first] : first, rows = ragged ? d->offsets[2][first + n] - row : n;
    for (int64_t k = 0; k < rows * OUT; k++)
        gradient[k] = dy_at(row + k / OUT, k % OUT);
    ZOO_OK(r->ctx, acr_window_forward(r->t, &b));
    ZOO_OK(r->ctx, acr_window_backward(r->t, "o", gradient, NULL, NULL));
}

static void gradients_are_blocks(void **state)
{
    (void)state;
    static const zoo_case nets[] = {
        {"linear", one_linear}, {"transposed", transposed_linear}, {"tokens", token_linear}};
    static const int64_t micro[] = {1, 3, 16, 32, 40};
    for (int n = 0; n < 3; n++)
        for (int i = 0; acr_isa_name(i); i++)
            for (int m = 0; m < 5; m++) {
                zoo_opts o = ZOO_OPTS_INIT;
                o.isa = acr_isa_name(i);
                o.products = ACR_BF16;
                o.plan.micro_batch = micro[m];
                o.plan.max_window_rows = ZOO_LONG * ROWS;
                o.plan.stage_rows = m % 2 ? 0 : micro[m] + 50;
                zoo_run r = zoo_start(&nets[n], &o);
                zoo_data d = zoo_make(r.g, 110, 3);
                ZOO_OK(r.ctx, acr_window_open(r.t));
                for (int64_t s = 0, k; s < 110; s += k) {
                    k = acr__min(1 + s % micro[m], 110 - s);
                    add_samples(&r, &d, s, k);
                    if (s % 5 == 0)
                        compare(&r, &d, n == 1, s + k, n == 2 ? d.offsets[2][s + k] : s + k);
                }
                acr_window_abort(r.t);
                zoo_free(&d);
                zoo_stop(&r);
            }
}

#endif
