/* finish.c: checks a graph and derives its backward pass.
 *
 * The backward pass is the nodes in reverse; what has to be known is, for each
 * node, whether a gradient flows through it, and for each of its inputs whether
 * it is the first to write that gradient (OVERWRITE) or a later one (ADD). Both
 * depend on the graph alone, never on a plan, so they are part of the canon. */
#include "graph/graph.h"
#include <stdlib.h>
#include <string.h>

static acr_status check_names(acr_graph *g)
{
    for (int i = 0; i < g->node_count; i++) {
        const acr__node *a = &g->nodes[i];
        if (!a->name)
            continue;
        FAIL_IF(!*a->name, g->ctx, ACR_E_ARGUMENT, "%s: an empty name", acr__ops[a->op].name);
        for (int j = 0; j < i; j++) {
            const acr__node *b = &g->nodes[j];
            /* inputs have a namespace of their own; parameters and random ops share one */
            if (b->name && (a->op == ACR_OP_input) == (b->op == ACR_OP_input))
                FAIL_IF(!strcmp(a->name, b->name), g->ctx, ACR_E_ARGUMENT,
                        "the name '%s' is used twice, by a %s and a %s; names key the random numbers and must differ",
                        a->name, acr__ops[b->op].name, acr__ops[a->op].name);
            if (acr__is_random(a) && acr__is_random(b))
                FAIL_IF(a->hash == b->hash, g->ctx, ACR_E_ARGUMENT,
                        "the names '%s' and '%s' have one hash and would share random numbers; rename one", a->name,
                        b->name);
        }
    }
    for (int i = 0; i < g->output_count; i++)
        for (int j = 0; j < i; j++)
            FAIL_IF(!strcmp(g->outputs[i].name, g->outputs[j].name), g->ctx, ACR_E_ARGUMENT,
                    "the output name '%s' is used twice", g->outputs[i].name);
    return ACR_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const acr__param *)a)->name, ((const acr__param *)b)->name);
}

static void mark_live(acr_graph *g)
{
    for (int i = 0; i < g->node_count; i++)
        g->nodes[i].live = g->nodes[i].is_output;
    if (g->loss != ACR_NONE)
        g->nodes[g->loss].live = true;
    for (int i = g->node_count - 1; i >= 0; i--)
        for (int j = 0; g->nodes[i].live && j < g->nodes[i].inputs; j++)
            g->nodes[g->nodes[i].in[j]].live = true;
    for (int i = 0; i < g->node_count; i++)
        for (int j = 0; g->nodes[i].live && j < g->nodes[i].inputs; j++)
            g->nodes[g->nodes[i].in[j]].consumers++;
}

/* A gradient flows through a node that a trained parameter feeds and that feeds
 * the loss (or, with an external loss, an output). */
static void mark_gradients(acr_graph *g)
{
    bool external = g->loss == ACR_NONE;
    for (int i = 0; i < g->node_count; i++) {
        acr__node *n = &g->nodes[i];
        n->needs_grad = n->op == ACR_OP_param && g->params[n->param].trainable;
        for (int j = 0; j < n->inputs; j++)
            n->needs_grad |= g->nodes[n->in[j]].needs_grad;
    }
    for (int i = g->node_count - 1; i >= 0; i--) {
        acr__node *n = &g->nodes[i];
        bool reaches = external ? n->is_output : i == g->loss;
        for (int k = i + 1; k < g->node_count && !reaches; k++)
            for (int j = 0; j < g->nodes[k].inputs && !reaches; j++)
                reaches = g->nodes[k].in[j] == i && g->nodes[k].needs_grad;
        n->needs_grad &= reaches && n->live;
    }
}

static void visit(acr_graph *g, bool *written, int i)
{
    acr__node *n = &g->nodes[i];
    for (int j = 0; j < n->inputs; j++) {
        n->din_add[j] = written[n->in[j]];
        written[n->in[j]] |= n->needs_grad && g->nodes[n->in[j]].needs_grad;
    }
}

/* Who writes a gradient first: the loss, then the nodes from last to first. */
static acr_status order_writers(acr_graph *g)
{
    bool *written = acr__alloc(g->ctx, (size_t)g->node_count + 1);
    if (!written)
        return ACR_E_NO_MEMORY;
    for (int i = 0; i < g->node_count && g->loss == ACR_NONE; i++)
        written[i] = g->nodes[i].is_output; /* by the caller */
    if (g->loss != ACR_NONE)
        visit(g, written, g->loss);
    for (int i = g->node_count - 1; i >= 0; i--)
        if (i != g->loss && g->nodes[i].live)
            visit(g, written, i);
    acr__free(g->ctx, written);
    return ACR_OK;
}

/* One use for each place where a live node reads a parameter, in graph order. */
static acr_status list_uses(acr_graph *g)
{
    int total = 0;
    for (int i = 0; i < g->node_count; i++)
        total += g->nodes[i].live ? g->nodes[i].inputs : 0;
    acr__free(g->ctx, g->uses);
    g->uses = acr__alloc(g->ctx, ((size_t)total + 1) * sizeof *g->uses);
    if (!g->uses)
        return ACR_E_NO_MEMORY;
    g->use_count = 0;
    for (int p = 0; p < g->param_count; p++) {
        acr__param *param = &g->params[p];
        param->first_use = g->use_count;
        for (int i = 0; i < g->node_count; i++)
            for (int j = 0; g->nodes[i].live && j < g->nodes[i].inputs; j++)
                if (g->nodes[i].in[j] == param->node)
                    g->uses[g->use_count++] = (acr__use){i, j};
        param->uses = g->use_count - param->first_use;
    }
    return ACR_OK;
}

static acr_status derive(acr_graph *g)
{
    mark_gradients(g);
    return order_writers(g);
}

/* The block that node i lies in; the number of blocks: behind them all. */
static int block_of(const acr_graph *g, acr_node i)
{
    int b = 0;
    while (b < g->block_count && i >= g->blocks[b].end)
        b++;
    return b;
}

/* Nothing of a block but its last value is read outside of it. */
static acr_status check_blocks(const acr_graph *g)
{
    for (int i = 0; i < g->node_count && g->block_count; i++)
        for (int j = 0; j < g->nodes[i].inputs; j++) {
            acr_node from = g->nodes[i].in[j];
            const acr__node *v = &g->nodes[from];
            int block = block_of(g, from);
            bool free = v->op == ACR_OP_input || v->op == ACR_OP_param;
            FAIL_IF(!free && block < block_of(g, i) && g->blocks[block].out != from, g->ctx, ACR_E_ARGUMENT,
                    "acr_block_end: node %d (%s) reads node %d (%s) of block %d; only node %d may leave that block", i,
                    acr__ops[g->nodes[i].op].name, (int)from, acr__ops[v->op].name, block, (int)g->blocks[block].out);
        }
    return ACR_OK;
}

acr_status acr_graph_finish(acr_graph *g)
{
    FAIL_IF(g->status != ACR_OK, g->ctx, g->status, "%s", g->sentence);
    FAIL_IF(g->finished, g->ctx, ACR_E_STATE, "the graph is finished already");
    FAIL_IF(g->loss == ACR_NONE && g->output_count == 0, g->ctx, ACR_E_STATE,
            "the graph has neither a loss nor an output; call acr_loss or acr_output");
    TRY(check_names(g));
    TRY(check_blocks(g));
    if (g->param_count)
        qsort(g->params, (size_t)g->param_count, sizeof *g->params, by_name);
    for (int i = 0; i < g->param_count; i++)
        g->nodes[g->params[i].node].param = i;
    mark_live(g);
    TRY(list_uses(g));
    TRY(derive(g));
    g->finished = true;
    return ACR_OK;
}

acr_status acr__patterns_match(const acr_graph *g, const char *option, int count, const char *const *patterns)
{
    for (int k = 0; k < count; k++) {
        int matched = 0;
        for (int i = 0; i < g->param_count; i++)
            matched += acr__glob(patterns[k], g->params[i].name);
        FAIL_IF(!matched, g->ctx, ACR_E_ARGUMENT, "%s: the pattern '%s' matches no parameter; the first one is '%s'", option,
                patterns[k], g->param_count ? g->params[0].name : "(none)");
    }
    return ACR_OK;
}

acr_status acr_graph_trainable(acr_graph *g, int count, const char *const *patterns)
{
    FAIL_IF(!g->finished, g->ctx, ACR_E_STATE, "acr_graph_trainable comes after acr_graph_finish");
    FAIL_IF(g->planned, g->ctx, ACR_E_STATE,
            "acr_graph_trainable comes before acr_plan_create; build the graph anew to train other parameters");
    TRY(acr__patterns_match(g, "trainable", count, patterns));
    for (int i = 0; i < g->param_count; i++) {
        g->params[i].trainable = false;
        for (int k = 0; k < count; k++)
            g->params[i].trainable |= acr__glob(patterns[k], g->params[i].name);
    }
    return derive(g);
}

acr_context *acr_graph_context(const acr_graph *g) { return g->ctx; }

int acr_param_count(const acr_graph *g) { return g->param_count; }

static const acr__param *param_at(const acr_graph *g, int i)
{
    return i >= 0 && i < g->param_count ? &g->params[i] : NULL;
}

const char *acr_param_name(const acr_graph *g, int i)
{
    const acr__param *p = param_at(g, i);
    return p ? p->name : NULL;
}

int acr_param_ndim(const acr_graph *g, int i)
{
    const acr__param *p = param_at(g, i);
    return p ? p->ndim : -1;
}

int64_t acr_param_dim(const acr_graph *g, int i, int axis)
{
    const acr__param *p = param_at(g, i);
    return p && axis >= 0 && axis < p->ndim ? p->shape[axis] : -1;
}

int64_t acr_param_elements(const acr_graph *g, int i)
{
    const acr__param *p = param_at(g, i);
    return p ? p->elements : -1;
}

int acr_param_index(const acr_graph *g, const char *name)
{
    for (int i = 0; i < g->param_count; i++)
        if (!strcmp(g->params[i].name, name))
            return i;
    return -1;
}
