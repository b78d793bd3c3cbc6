/* steps.c: the order of steps, and when each buffer is alive.
 *
 *     forward ...  loss | backward of the last node ... of the first | gradients, at the flush
 *                          ^ before a block's: its dropped values, computed again
 *
 * Invariant: within its lives a buffer is written before it is read, and nothing
 * reads it outside of them. A dropped value has two: to its last reader in the
 * forward, and from where it is computed again to its last reader in the backward.
 * Forward steps depend on their inputs and on counters alone, so the second time
 * gives the bits of the first.
 *
 * An activation joins the product that it alone reads, and its gradient the product
 * that alone writes what it begins with: whoever has computed a part of the product
 * goes on with that part, from its own cache and without waiting for the others.
 *
 * Kept through a recomputed block are what leaves it, outputs, and rows of the stage. */
#include "plan/plan.h"

#include "graph/op.h"

bool acr__plan_is_value(const acr__node *n) { return n->live && n->op != ACR_OP_param && !acr__is_loss(n); }

bool acr__plan_collects(const acr_plan *p, const acr__node *n, int slot)
{
    const acr__node *in = &p->g->nodes[n->in[slot]];
    return p->opts.optimizer && n->needs_grad && in->op == ACR_OP_param && in->needs_grad;
}

static bool collects_any(const acr_plan *p, const acr__node *n)
{
    for (int j = 0; j < n->inputs; j++)
        if (acr__plan_collects(p, n, j))
            return true;
    return false;
}

bool acr__plan_deferred(const acr_plan *p, const acr__node *n)
{
    if (n->op == ACR_OP_head_cross_entropy && !p->head_staged)
        return false; /* taken within its forward */
    return acr__ops[n->op].deferred && collects_any(p, n);
}

bool acr__plan_passes(const acr_plan *p, const acr__node *n, int slot)
{
    const acr__node *in = &p->g->nodes[n->in[slot]];
    return p->opts.optimizer && n->needs_grad && in->needs_grad && in->op != ACR_OP_param;
}

static bool has_backward(const acr_plan *p, const acr__node *n)
{
    bool back = false;
    for (int j = 0; j < n->inputs; j++)
        back |= acr__plan_passes(p, n, j) || (acr__plan_collects(p, n, j) && !acr__ops[n->op].deferred);
    return back;
}

/* Whether the backward or the weight gradient reads the value of input j. */
static bool saved(const acr_plan *p, const acr__node *n, int j)
{
    bool reads = acr__ops[n->op].saves & (j == 0 ? SAVES_X0 : SAVES_X1);
    return reads && (acr__ops[n->op].deferred ? acr__plan_deferred(p, n) : has_backward(p, n));
}

/* ---- what is computed again ---- */

/* The recomputed block that node i lies in, or -1. */
static int block_of(const acr_plan *p, acr_node i)
{
    for (int b = 0; b < p->opts.recompute; b++)
        if (i < p->g->blocks[b].end)
            return b;
    return -1;
}

/* Whether the value of node i is still there when its block's backward begins. */
static bool kept(const acr_plan *p, acr_node i)
{
    const acr__node *n = &p->g->nodes[i];
    int block = block_of(p, i);
    if (!acr__plan_is_value(n) || n->op == ACR_OP_input || block < 0 || n->is_output || p->g->blocks[block].out == i)
        return true;
    return p->buffers[p->places[i].value].staged || (n->op == ACR_OP_reshape && kept(p, n->in[0]));
}

/* again[i]: node i of a recomputed block has to be computed again, because the
 * backward reads its value or another such node does. */
static void mark_again(const acr_plan *p, bool *needed, bool *again)
{
    const acr_graph *g = p->g;
    for (int i = g->node_count - 1; i >= 0; i--) {
        const acr__node *n = &g->nodes[i];
        if (!acr__plan_is_value(n) || n->op == ACR_OP_input || block_of(p, i) < 0)
            continue;
        if (acr__ops[n->op].saves & SAVES_Y && has_backward(p, n))
            needed[i] = true;
        again[i] = needed[i] && !kept(p, i);
        for (int j = 0; j < n->inputs; j++)
            needed[n->in[j]] |= again[i] || saved(p, n, j);
    }
}

/* ---- what is computed together ---- */

/* Whether the activation `u` and the product `n`, one of which reads the other, `from`,
 * are computed together: nothing else reads that. In blocks that are computed again each
 * has its own time, and operands of bf16 are kept by a step of their own. */
static bool joins(const acr_plan *p, acr_node u, acr_node n, acr_node from)
{
    const acr__node *nodes = p->g->nodes;
    return acr__ops[nodes[u].op].forward == acr__unary_forward && nodes[n].op == ACR_OP_linear &&
           nodes[from].consumers == 1 && block_of(p, u) < 0 && block_of(p, n) < 0 && p->places[u].wide < 0 &&
           p->places[n].wide < 0;
}

/* A gradient may join only the step just before its own: between the two another node
 * may have to write first what this one adds to. */
static void join_activations(acr_plan *p)
{
    const acr__node *nodes = p->g->nodes;
    acr_node before = ACR_NONE; /* whose backward that is */
    for (int i = 0; i < p->g->node_count; i++) {
        p->places[i].then = p->places[i].then_back = ACR_NONE;
        p->places[i].joined = p->places[i].joined_back = false;
    }
    for (int i = p->g->node_count - 1; i >= 0; i--) {
        if (!acr__plan_is_value(&nodes[i]) || nodes[i].op == ACR_OP_input)
            continue;
        acr_node in = nodes[i].in[0];
        if (joins(p, i, in, in)) {
            p->places[in].then = i;
            p->places[i].joined = true;
        }
        if (!nodes[i].needs_grad || !has_backward(p, &nodes[i]))
            continue;
        if (before != ACR_NONE && nodes[before].in[0] == i && joins(p, i, before, i)) {
            p->places[before].then_back = i;
            p->places[i].joined_back = true;
        }
        before = i;
    }
}

/* ---- steps ---- */

static void add_step(acr_plan *p, acr_node node, enum acr__phase phase)
{
    p->steps[p->flush_end++] = (acr__step){node, phase};
}

/* Where the backward comes to a recomputed block. */
static void add_again(acr_plan *p, int block, const bool *again)
{
    for (int i = block ? p->g->blocks[block - 1].end : 0; i < p->g->blocks[block].end; i++)
        if (again[i])
            add_step(p, i, ACR_AGAIN);
}

static void list_steps(acr_plan *p, const bool *again)
{
    acr_graph *g = p->g;
    int block = p->opts.recompute; /* the last one whose backward has begun */
    for (int i = 0; i < g->node_count; i++)
        if (acr__plan_is_value(&g->nodes[i]) && g->nodes[i].op != ACR_OP_input && !p->places[i].joined)
            add_step(p, i, ACR_FORWARD);
    if (g->loss != ACR_NONE)
        add_step(p, g->loss, ACR_FORWARD);
    p->forward_count = p->flush_end;
    for (int i = g->node_count - 1; i >= 0 && p->opts.optimizer; i--) {
        const acr__node *n = &g->nodes[i];
        if (!acr__plan_is_value(n) || !n->needs_grad)
            continue;
        if (block_of(p, i) >= 0 && block_of(p, i) < block)
            add_again(p, block = block_of(p, i), again);
        if (has_backward(p, n) && !p->places[i].joined_back)
            add_step(p, i, ACR_BACKWARD);
        if (!p->staged && acr__plan_deferred(p, n))
            add_step(p, i, ACR_GRADIENT);
    }
    p->step_count = p->flush_end;
    for (int i = g->node_count - 1; i >= 0 && p->staged; i--)
        if (acr__plan_deferred(p, &g->nodes[i]))
            add_step(p, i, ACR_GRADIENT);
}

/* ---- lives ---- */

void acr__plan_untouched(acr__buffer *b)
{
    b->first = b->again_first = ACR_ALWAYS;
    b->last = b->again_last = -1;
}

/* Step s touches buffer i, which may be -1. */
static void touch(acr_plan *p, int i, int32_t s)
{
    acr__buffer *b = i >= 0 ? &p->buffers[i] : NULL;
    if (!b || b->staged || b->last == ACR_ALWAYS)
        return;
    bool second = b->dropped && s >= p->forward_count;
    int32_t *first = second ? &b->again_first : &b->first, *last = second ? &b->again_last : &b->last;
    *first = s < *first ? s : *first;
    *last = s > *last ? s : *last;
}

/* A buffer has two lives if none of the values that share it is kept. */
static void mark_dropped(acr_plan *p, const bool *again)
{
    const acr_graph *g = p->g;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < g->node_count; i++) {
            int value = p->places[i].value, aux = p->places[i].aux;
            if (!acr__plan_is_value(&g->nodes[i]))
                continue;
            if (value >= 0 && (kept(p, i) ? pass == 1 : pass == 0))
                p->buffers[value].dropped = pass == 0;
            if (aux >= 0)
                p->buffers[aux].dropped = again[i];
            if (p->places[i].wide >= 0)
                p->buffers[p->places[i].wide].dropped = again[i];
        }
}

static void touch_all(acr_plan *p, acr_node node, enum acr__phase phase, int32_t s)
{
    const acr__node *n = &p->g->nodes[node];
    const acr__place *own = &p->places[node];
    bool forward = phase == ACR_FORWARD || phase == ACR_AGAIN;
    if (forward || (phase == ACR_BACKWARD && acr__ops[n->op].saves & SAVES_Y))
        touch(p, own->value, s);
    if (forward)
        touch(p, own->wide, s);
    else
        touch(p, own->grad, s);
    if (phase != ACR_GRADIENT)
        touch(p, own->aux, s);
    for (int j = 0; j < n->inputs; j++) {
        const acr__place *in = &p->places[n->in[j]];
        if (forward || (saved(p, n, j) && phase == (acr__ops[n->op].deferred ? ACR_GRADIENT : ACR_BACKWARD)))
            touch(p, in->value, s);
        if (acr__plan_passes(p, n, j) && (phase == ACR_BACKWARD || acr__is_loss(n)))
            touch(p, in->grad, s);
    }
}

static void find_lives(acr_plan *p)
{
    acr_graph *g = p->g;
    for (int32_t s = 0; s < p->flush_end; s++) {
        acr_node node = p->steps[s].node;
        enum acr__phase phase = p->steps[s].phase;
        acr_node then = phase == ACR_FORWARD    ? p->places[node].then
                        : phase == ACR_BACKWARD ? p->places[node].then_back
                                                : ACR_NONE;
        touch_all(p, node, phase, s);
        if (then != ACR_NONE)
            touch_all(p, then, phase, s);
    }
    for (int i = 0; i < g->node_count; i++) {
        const acr__node *n = &g->nodes[i];
        const acr__place *place = &p->places[i];
        if (place->value >= 0 && n->op == ACR_OP_input && p->buffers[place->value].first > 0)
            p->buffers[place->value].first = 0;
        if (place->value < 0 || !n->is_output || p->buffers[place->value].last == ACR_ALWAYS)
            continue;
        p->buffers[place->value].last = p->flush_end;
        if (g->loss == ACR_NONE) /* the caller writes its gradient after the forward */
            touch(p, place->grad, p->forward_count - 1);
    }
}

acr_status acr__plan_list_steps(acr_plan *p)
{
    size_t nodes = (size_t)p->g->node_count + 1;
    p->steps = acr__alloc(p->ctx, nodes * 4 * sizeof *p->steps);
    bool *marks = p->steps ? acr__alloc(p->ctx, nodes * 2) : NULL, *again = marks ? marks + nodes : NULL;
    if (!marks)
        return ACR_E_NO_MEMORY;
    mark_again(p, marks, again);
    join_activations(p);
    list_steps(p, again);
    mark_dropped(p, again);
    find_lives(p);
    acr__free(p->ctx, marks);
    return ACR_OK;
}
