/* op_elementwise.c: activations, sums and products of values, views, dropout.
 * No chain lives here: any split among threads gives the same bits. */
#include "graph/op.h"

void acr__pass_gradient(const acr__run *run, const acr__exec *e, int slot, int index, int count)
{
    if (!e->din[slot].p || (e->din[slot].p == e->dout.p && !e->din_add[slot]))
        return;
    acr__part p = acr__part_of(run->rows[e->domain], e->node->cols, index, count);
    run->k->copy(p.rows, p.cols, acr__part_at(run, &e->dout, e->domain, &p), e->dout.ld,
                 acr__part_at(run, &e->din[slot], e->domain, &p), e->din[slot].ld, e->din_add[slot]);
}

enum acr_unary acr__unary_kind(enum acr__op op)
{
    switch (op) {
    case ACR_OP_leaky_relu: return ACR_LEAKY_RELU;
    case ACR_OP_gelu: return ACR_GELU;
    case ACR_OP_gelu_tanh: return ACR_GELU_TANH;
    case ACR_OP_silu: return ACR_SILU;
    case ACR_OP_tanh: return ACR_TANH;
    case ACR_OP_sigmoid: return ACR_SIGMOID;
    default: return ACR_RELU;
    }
}

void acr__unary_part(const acr__run *run, const acr__exec *e, const acr__part *p, bool back)
{
    enum acr_unary kind = acr__unary_kind(e->node->op);
    char *x = acr__part_at(run, &e->in[0], e->domain, p), *y = acr__part_at(run, &e->out, e->domain, p);
    bool saves_y = acr__ops[e->node->op].saves & SAVES_Y;
    if (!back)
        run->k->unary(kind, e->node->scalar, p->rows, p->cols, x, e->in[0].ld, y, e->out.ld);
    else if (e->din[0].p)
        run->k->unary_back(kind, e->node->scalar, p->rows, p->cols, acr__part_at(run, &e->dout, e->domain, p),
                           e->dout.ld, saves_y ? y : x, saves_y ? e->out.ld : e->in[0].ld,
                           acr__part_at(run, &e->din[0], e->domain, p), e->din[0].ld, e->din_add[0]);
}

void acr__unary_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_of(run->rows[e->domain], e->node->cols, index, count);
    acr__unary_part(run, e, &p, false);
}

void acr__unary_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_of(run->rows[e->domain], e->node->cols, index, count);
    acr__unary_part(run, e, &p, true);
}

void acr__add_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_of(run->rows[e->domain], e->node->cols, index, count);
    run->k->add(p.rows, p.cols, acr__part_at(run, &e->in[0], e->domain, &p), e->in[0].ld,
                acr__part_at(run, &e->in[1], e->domain, &p), e->in[1].ld,
                acr__part_at(run, &e->out, e->domain, &p), e->out.ld);
}

void acr__add_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__pass_gradient(run, e, 0, index, count);
    acr__pass_gradient(run, e, 1, index, count);
}

void acr__mul_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_of(run->rows[e->domain], e->node->cols, index, count);
    run->k->mul(p.rows, p.cols, acr__part_at(run, &e->in[0], e->domain, &p), e->in[0].ld,
                acr__part_at(run, &e->in[1], e->domain, &p), e->in[1].ld,
                acr__part_at(run, &e->out, e->domain, &p), e->out.ld, false);
}

void acr__mul_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_of(run->rows[e->domain], e->node->cols, index, count);
    for (int i = 0; i < 2; i++)
        if (e->din[i].p)
            run->k->mul(p.rows, p.cols, acr__part_at(run, &e->dout, e->domain, &p), e->dout.ld,
                        acr__part_at(run, &e->in[1 - i], e->domain, &p), e->in[1 - i].ld,
                        acr__part_at(run, &e->din[i], e->domain, &p), e->din[i].ld, e->din_add[i]);
}

void acr__silu_mul_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_of(run->rows[e->domain], e->node->cols, index, count);
    run->k->silu_mul(p.rows, p.cols, acr__part_at(run, &e->in[0], e->domain, &p), e->in[0].ld,
                     acr__part_at(run, &e->in[1], e->domain, &p), e->in[1].ld,
                     acr__part_at(run, &e->out, e->domain, &p), e->out.ld);
}

void acr__silu_mul_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__part p = acr__part_of(run->rows[e->domain], e->node->cols, index, count);
    char *to[2];
    for (int i = 0; i < 2; i++)
        to[i] = e->din[i].p ? acr__part_at(run, &e->din[i], e->domain, &p) : NULL;
    run->k->silu_mul_back(p.rows, p.cols, acr__part_at(run, &e->dout, e->domain, &p), e->dout.ld,
                          acr__part_at(run, &e->in[0], e->domain, &p), e->in[0].ld,
                          acr__part_at(run, &e->in[1], e->domain, &p), e->in[1].ld,
                          to[0], e->din[0].ld, e->din_add[0], to[1], e->din[1].ld, e->din_add[1]);
}

/* Parts stand side by side: part i begins where the columns before it end. */
void acr__concat_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__slot out = e->out;
    for (int i = 0; i < e->node->inputs; i++) {
        acr__part p = acr__part_of(run->rows[e->domain], e->in_cols[i], index, count);
        run->k->copy(p.rows, p.cols, acr__part_at(run, &e->in[i], e->domain, &p), e->in[i].ld,
                     acr__part_at(run, &out, e->domain, &p), out.ld, false);
        out.p += e->in_cols[i] * (int64_t)run->es;
    }
}

void acr__concat_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__slot dout = e->dout;
    for (int i = 0; i < e->node->inputs; i++) {
        acr__part p = acr__part_of(run->rows[e->domain], e->in_cols[i], index, count);
        if (e->din[i].p)
            run->k->copy(p.rows, p.cols, acr__part_at(run, &dout, e->domain, &p), dout.ld,
                         acr__part_at(run, &e->din[i], e->domain, &p), e->din[i].ld, e->din_add[i]);
        dout.p += e->in_cols[i] * (int64_t)run->es;
    }
}

void acr__reshape_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (e->in[0].p == e->out.p)
        return;
    acr__part p = acr__part_of(run->rows[e->domain], e->node->cols, index, count);
    run->k->copy(p.rows, p.cols, acr__part_at(run, &e->in[0], e->domain, &p), e->in[0].ld,
                 acr__part_at(run, &e->out, e->domain, &p), e->out.ld, false);
}

void acr__reshape_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__pass_gradient(run, e, 0, index, count);
}

/* Forward and backward are one function: the mask comes from the counter
 * (window, op, the sample's place, the element within the sample). */
static void drop(const acr__run *run, const acr__exec *e, const acr__slot *from, const acr__slot *to, bool add,
                 int index, int count)
{
    int64_t first, last, cols = e->node->cols;
    acr__share(run->rows[e->domain], 1, index, count, &first, &last);
    uint32_t threshold = (uint32_t)((double)e->node->scalar * 4294967296.0);
    float scale = 1.0f / (1.0f - e->node->scalar);
    const int32_t *offsets = run->offsets[e->domain];
    int64_t sample = 0;
    for (int64_t r = first; r < last; r++) {
        int64_t within = 0; /* the row's place in its sample */
        if (offsets) {
            while (offsets[sample + 1] <= r)
                sample++;
            within = r - offsets[sample];
        } else {
            sample = r;
        }
        acr__part p = {r, 1, 0, cols};
        run->k->dropout(cols, acr__part_at(run, from, e->domain, &p), acr__part_at(run, to, e->domain, &p), add,
                        threshold, scale, run->seed, run->window, e->node->hash,
                        (uint32_t)(run->place + sample), within * cols);
    }
}

void acr__dropout_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (run->training)
        drop(run, e, &e->in[0], &e->out, false, index, count);
    else
        acr__reshape_forward(run, e, index, count);
}

void acr__dropout_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (e->din[0].p)
        drop(run, e, &e->dout, &e->din[0], e->din_add[0], index, count);
}
