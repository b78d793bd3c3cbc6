/* plan.c: from a finished graph to buffers.
 *
 *     arena:  [ parameters | accumulators | optimizer | packed | staging | scratch ]
 *             [ activations and their gradients: share by lifetime                 ]
 *
 * Two modes. Where a micro-batch is large enough, each weight gradient is taken
 * right behind its layer's backward step (immediate). Where it is small, the
 * rows of X and dY are staged and the products run once over many micro-batches:
 * the same chain in the same order, so the mode never shows in the bits.
 *
 * In bf16 a weight gradient over samples of one row takes blocks of 32 rows of the
 * window, however those came into it, so such a plan is always staged and its stage
 * has room for a micro-batch behind 31 rows that make no block yet.
 *
 * The order of steps and what lives when is steps.c's, offsets are place.c's. */
#include "plan/plan.h"
#include "base/context.h"
#include <stdio.h>
#include <string.h>

enum {
    STAGE_ROWS = 256, /* rows that make a weight gradient's product efficient */
    LEAF = 4096,      /* rule 5 */
    CHUNK_ROWS = 256, /* of a head's logits, and least: */
    CHUNK_LEAST = 64,
    CHUNK_STAGED = 512,
    CHUNK_BYTES = 64 << 20, /* fewer rows where they are longer than this */
    AHEAD = 16,         /* samples fetched at once where micro-batches are smaller, */
    AHEAD_COLUMNS = 64, /* if inputs that are not staged have no more columns */
};

int64_t acr__plan_rows(const acr_plan *p, acr_domain d, int64_t samples)
{
    return samples * p->g->domains[d].max_rows;
}

int64_t acr__plan_places(const acr_plan *p, acr_domain d)
{
    return acr__max(p->g->domains[d].max_rows, p->opts.cache_rows);
}

ACR_PRINTF(7, 8)
static acr_status add(acr_plan *p, int *out, acr_kind kind, int64_t rows, int64_t cols, size_t element,
                      const char *format, ...)
{
    TRY(acr__grow(p->ctx, &p->buffers, &p->buffer_capacity, p->buffer_count, sizeof *p->buffers));
    acr__buffer *b = &p->buffers[p->buffer_count];
    va_list args;
    va_start(args, format);
    vsnprintf(b->name, sizeof b->name, format, args);
    va_end(args);
    b->kind = kind;
    b->ld = acr__leading(kind, rows, cols);
    b->last = ACR_ALWAYS;
    b->again_first = ACR_ALWAYS;
    b->again_last = -1;
    FAIL_IF(!acr__mul((size_t)rows, (size_t)b->ld, &b->bytes) || !acr__mul(b->bytes, element, &b->bytes), p->ctx,
            ACR_E_LIMIT, "'%s' of %lld x %lld elements is larger than this machine can address", b->name,
            (long long)rows, (long long)cols);
    *out = p->buffer_count++;
    return ACR_OK;
}

/* Values: an op may write over its input where nobody reads that again. */
static bool can_overwrite(const acr_plan *p, acr_node v)
{
    const acr__node *n = &p->g->nodes[v];
    if (n->op == ACR_OP_input || n->is_output || n->consumers != 1 || acr__ops[n->op].saves & SAVES_Y)
        return false;
    if (p->opts.recompute && acr__is_block_end(p->g, v))
        return false; /* it stays while what it was made of is dropped */
    return n->op != ACR_OP_reshape || can_overwrite(p, n->in[0]);
}

/* root[i]: the node whose buffer node i's value lives in. */
static void share_values(const acr_plan *p, acr_node *root)
{
    const acr_graph *g = p->g;
    for (int i = 0; i < g->node_count; i++) {
        const acr__node *n = &g->nodes[i];
        root[i] = i;
        if (!acr__plan_is_value(n) || n->inputs == 0)
            continue;
        if (n->op == ACR_OP_reshape || (acr__ops[n->op].in_place && can_overwrite(p, n->in[0])))
            root[i] = root[n->in[0]];
    }
}

/* root[i]: the node whose gradient buffer node i's gradient lives in. */
static void share_gradients(const acr_plan *p, acr_node *root)
{
    const acr_graph *g = p->g;
    for (int i = 0; i < g->node_count; i++)
        root[i] = i;
    for (int i = g->node_count - 1; i >= 0; i--) {
        const acr__node *n = &g->nodes[i];
        if (!n->inputs || !acr__plan_passes(p, n, 0) || !acr__ops[n->op].in_place_back || n->din_add[0])
            continue;
        const acr__node *v = &g->nodes[n->in[0]];
        int writers = 0;
        for (int k = 0; k < g->node_count; k++)
            for (int j = 0; j < g->nodes[k].inputs; j++)
                writers += g->nodes[k].live && g->nodes[k].in[j] == n->in[0] && acr__plan_passes(p, &g->nodes[k], j);
        bool kept = p->staged && acr__plan_deferred(p, n); /* its dY is read again at the flush */
        if (writers == 1 && v->cols == n->cols && !kept)
            root[n->in[0]] = root[i];
    }
}

static const acr_kernels *kernels_of(const acr_plan *p)
{
    return p->g->reference ? &acr__kernels_ref64 : p->ctx->kernels;
}

static const char *label(const acr__node *n) { return n->name ? n->name : acr__ops[n->op].name; }

static acr_status add_rows(acr_plan *p, int *out, acr_node i, bool staged, acr_kind kind, int64_t cols, size_t element,
                           const char *what)
{
    const acr__node *n = &p->g->nodes[i];
    int64_t rows = acr__plan_rows(p, n->domain, staged ? p->stage_samples : p->opts.micro_batch);
    TRY(add(p, out, staged ? ACR_KIND_STAGING : kind, rows, cols, element, "%s %d%s", label(n), (int)i, what));
    acr__buffer *b = &p->buffers[*out];
    b->staged = staged;
    b->domain = n->domain;
    if (!staged)
        acr__plan_untouched(b);
    return ACR_OK;
}

/* A value that is kept as operands, and the reals that its op writes. */
static acr_status add_operands(acr_plan *p, acr_node i, bool staged)
{
    acr__place *place = &p->places[i];
    int64_t cols = p->g->nodes[i].cols, even = acr__round_up(cols, 2); /* the stage moves rows as reals */
    TRY(add_rows(p, &place->value, i, staged, ACR_KIND_ACTIVATION, even, kernels_of(p)->bf16_bytes, ""));
    p->buffers[place->value].operands = true;
    return add_rows(p, &place->wide, i, false, ACR_KIND_SCRATCH, cols, p->g->es, ", reals");
}

/* Whether nothing but products reads a value, as their left factor: then its reals are
 * rounded once, and kept as what products in bf16 make of them anyway. */
static bool is_operand(const acr_plan *p, const acr_node *root, acr_node v)
{
    const acr_graph *g = p->g;
    const acr__node *n = &g->nodes[v];
    if (!g->bf16 || !acr__plan_is_value(n) || !n->inputs || n->is_output || root[v] != v || acr__ops[n->op].saves & SAVES_Y)
        return false;
    int read = 0;
    for (int i = 0; i < g->node_count; i++)
        for (int j = 0; j < g->nodes[i].inputs; j++) {
            if (!g->nodes[i].live || g->nodes[i].in[j] != v)
                continue;
            if (j > 0 || !acr__is_product(&g->nodes[i]))
                return false;
            read++;
        }
    return read > 0;
}

/* Values and gradients of rows. Staged: what the weight gradient reads. */
static acr_status add_activations(acr_plan *p, acr_node *roots, bool gradients)
{
    acr_graph *g = p->g;
    if (gradients)
        share_gradients(p, roots);
    else
        share_values(p, roots);
    bool *staged = acr__alloc(p->ctx, (size_t)g->node_count + 1);
    if (!staged)
        return ACR_E_NO_MEMORY;
    for (int i = 0; i < g->node_count && p->staged; i++)
        if (acr__plan_deferred(p, &g->nodes[i]))
            staged[roots[gradients ? i : g->nodes[i].in[0]]] = true;
    acr_status status = ACR_OK;
    /* a root may come after the nodes that share its buffer (gradients), so roots first */
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < g->node_count && status == ACR_OK; i++) {
            const acr__node *n = &g->nodes[i];
            int *slot = gradients ? &p->places[i].grad : &p->places[i].value;
            if (!acr__plan_is_value(n) || (gradients && (!n->needs_grad || !p->opts.optimizer)))
                continue;
            if (pass == 1)
                *slot = gradients ? p->places[roots[i]].grad : p->places[roots[i]].value;
            else if (!gradients && is_operand(p, roots, i))
                status = add_operands(p, i, staged[i]);
            else if (roots[i] == i)
                status = add_rows(p, slot, i, staged[i], n->op == ACR_OP_input ? ACR_KIND_DATA : ACR_KIND_ACTIVATION,
                                  n->cols, n->dtype == ACR_I32 ? sizeof(int32_t) : g->es, gradients ? ".grad" : "");
        }
    acr__free(p->ctx, staged);
    return status;
}

/* Fetching a sample by itself costs more than reading it: a call whose code training has
 * driven from the caches, and members that wait for one another. Where micro-batches are
 * small the stage has room for the rows of several; other inputs need it beside it. */
static acr_status add_ahead(acr_plan *p)
{
    acr_graph *g = p->g;
    int64_t micro = p->opts.micro_batch, beside = 0;
    int64_t samples = acr__min(AHEAD, p->stage_samples) / micro * micro;
    p->ahead = micro;
    if (samples <= micro || !p->staged || !p->opts.optimizer || g->domain_count > 2)
        return ACR_OK;
    for (int i = 0; i < g->input_count; i++) {
        const acr__place *place = &p->places[g->inputs[i]];
        if (place->raw >= 0 || g->nodes[g->inputs[i]].domain != ACR_SAMPLE)
            return ACR_OK;
        if (place->value >= 0 && !p->buffers[place->value].staged)
            beside += g->nodes[g->inputs[i]].cols;
    }
    if (beside > AHEAD_COLUMNS)
        return ACR_OK;
    p->ahead = samples;
    for (int i = 0; i < g->input_count; i++) {
        const acr__node *n = &g->nodes[g->inputs[i]];
        acr__place *place = &p->places[g->inputs[i]];
        if (place->value < 0 || p->buffers[place->value].staged)
            continue;
        TRY(add(p, &place->ahead, ACR_KIND_DATA, samples, n->cols, sizeof(float), "%s.ahead", label(n)));
        p->buffers[place->ahead].host = true;
    }
    return ACR_OK;
}

/* Rows of logits, for the head's own step alone or for the stage. */
static acr_status add_head(acr_plan *p, acr_node i)
{
    acr_graph *g = p->g;
    acr__node *n = &g->nodes[i];
    int *out = &p->places[i].aux;
    int64_t ld = acr__round_up(acr__classes(g, n), 16);
    ld += ld % 1024 == 0 ? 16 : 0; /* rows would fall on the same sets of a cache */
    TRY(add(p, out, p->head_staged ? ACR_KIND_STAGING : ACR_KIND_SCRATCH, p->chunk, ld, g->es, "%s %d.logits",
            label(n), (int)i));
    acr__buffer *b = &p->buffers[*out];
    b->staged = p->head_staged;
    b->domain = n->domain;
    if (!b->staged)
        acr__plan_untouched(b);
    return ACR_OK;
}

static acr_status add_packed(acr_plan *p, acr_node i, const acr_kernels *k)
{
    acr_graph *g = p->g;
    const acr__node *n = &g->nodes[i];
    acr__place *place = &p->places[i];
    const char *name = label(&g->nodes[n->in[1]]);
    bool back = acr__plan_passes(p, n, 0);
    int64_t in = g->nodes[n->in[0]].cols, out = g->nodes[n->in[1]].cols / in;
    if (g->bf16) {
        TRY(add(p, &place->packed, ACR_KIND_PACKED, 1, (int64_t)k->packed_bf16(out, in), 1, "%s^T packed", name));
        return back ? add(p, &place->packed_back, ACR_KIND_PACKED, 1, (int64_t)k->packed_bf16(in, out), 1, "%s packed",
                          name) : ACR_OK;
    }
    TRY(add(p, &place->packed, ACR_KIND_PACKED, acr__round_up(out, k->panel), in, g->es, "%s^T packed", name));
    if (back)
        TRY(add(p, &place->packed_back, ACR_KIND_PACKED, acr__round_up(in, k->panel), out, g->es, "%s packed", name));
    return ACR_OK;
}

int64_t acr__plan_compact(const acr_plan *p, const acr__node *n, int slot)
{
    int64_t rows = p->opts.max_window_rows;
    if (n->op != ACR_OP_embedding || slot != 1 || rows <= 0 || p->second)
        return 0;
    return rows < p->g->nodes[n->in[1]].shape[0] ? rows : 0;
}

/* An accumulator with a row for each token that can occur in a window. */
static acr_status add_compact(acr_plan *p, acr_node i)
{
    acr_graph *g = p->g;
    const acr__node *n = &g->nodes[i], *table = &g->nodes[n->in[1]];
    acr__place *place = &p->places[i];
    const char *name = label(table);
    int64_t rows = acr__plan_rows(p, n->domain, p->opts.micro_batch);
    TRY(add(p, &place->acc[1], ACR_KIND_GRADIENT, acr__plan_compact(p, n, 1), n->cols, g->es, "%s.grad by token",
            name));
    TRY(add(p, &place->slots, ACR_KIND_GRADIENT, rows, 1, sizeof(int32_t), "%s.grad slots", name));
    TRY(add(p, &place->host_slots, ACR_KIND_GRADIENT, rows, 1, sizeof(int32_t), "%s.grad slots, host", name));
    p->buffers[place->host_slots].host = true;
    TRY(add(p, &place->entries, ACR_KIND_GRADIENT, table->shape[0], 1, sizeof(int32_t), "%s.grad table", name));
    p->buffers[place->entries].host = true;
    p->compact = true;
    return ACR_OK;
}

static bool turn_alike(const acr__node *a, const acr__node *b)
{
    const acr_rope_opts *x = &a->rope, *y = &b->rope;
    return a->op == ACR_OP_rope && b->op == ACR_OP_rope && a->live && b->live && a->domain == b->domain &&
           x->dim == y->dim && x->theta == y->theta && x->scaling == y->scaling && x->factor == y->factor &&
           x->low_freq_factor == y->low_freq_factor && x->high_freq_factor == y->high_freq_factor &&
           x->original_positions == y->original_positions;
}

/* A row for each position that can come. */
static acr_status add_table(acr_plan *p, acr_node i)
{
    const acr__node *n = &p->g->nodes[i];
    for (int j = 0; j < i; j++)
        if (turn_alike(&p->g->nodes[j], n)) {
            p->places[i].table = p->places[j].table;
            return ACR_OK;
        }
    return add(p, &p->places[i].table, ACR_KIND_PARAMETER, acr__plan_places(p, n->domain), n->rope.dim, p->g->es,
               "rope %d.table", (int)i);
}

static acr_status add_node_extras(acr_plan *p, acr_node i, const acr_kernels *k)
{
    acr_graph *g = p->g;
    const acr__node *n = &g->nodes[i];
    acr__place *place = &p->places[i];
    bool norm = n->op == ACR_OP_layer_norm || n->op == ACR_OP_rms_norm;
    if (norm && n->live)
        TRY(add_rows(p, &place->aux, i, false, ACR_KIND_ACTIVATION, 2, g->es, ".stats"));
    if (n->op == ACR_OP_attention && n->live)
        TRY(add_rows(p, &place->aux, i, false, ACR_KIND_ACTIVATION, 2 * n->heads, g->es, ".stats"));
    if (n->op == ACR_OP_rope && n->live)
        TRY(add_table(p, i));
    if (n->op == ACR_OP_input && n->live && (g->reference || !k->host)) {
        TRY(add(p, &place->raw, ACR_KIND_DATA, acr__plan_rows(p, n->domain, p->opts.micro_batch), n->cols,
                sizeof(float), "%s.raw", label(n)));
        p->buffers[place->raw].host = true;
    }
    for (int part = 0; part < 2 && n->op == ACR_OP_attention && n->live && p->opts.cache_rows; part++)
        TRY(add(p, &place->cached[part], ACR_KIND_STATE, p->opts.cache_rows, n->kv_heads * n->dim, g->es, "%s %d.%s",
                label(n), (int)i, part ? "values" : "keys"));
    if (n->class_weight && n->live)
        TRY(add(p, &place->class_weight, ACR_KIND_PARAMETER, 1, acr__classes(g, n), g->es, "%s.class_weight",
                label(n)));
    if (n->op == ACR_OP_head_cross_entropy && n->live)
        TRY(add_head(p, i));
    if (acr__is_product(n) && n->live && p->opts.pack)
        TRY(add_packed(p, i, k));
    for (int j = 0; j < n->inputs; j++) {
        const acr__node *in = &g->nodes[n->in[j]];
        if (!n->live || !acr__plan_collects(p, n, j))
            continue;
        if (acr__plan_compact(p, n, j)) {
            TRY(add_compact(p, i));
            continue;
        }
        TRY(add(p, &place->acc[j], ACR_KIND_GRADIENT, 1, in->cols, g->es, "%s.grad", label(in)));
        if (p->second)
            TRY(add(p, &place->acc2[j], ACR_KIND_GRADIENT, 1, in->cols, g->es, "%s.grad2", label(in)));
    }
    return ACR_OK;
}

static bool is_trained(const acr_plan *p, int param)
{
    return p->opts.optimizer && p->g->nodes[p->g->params[param].node].needs_grad;
}

/* The values of a segment's parameters, or one of their states. Buffers that always
 * live are placed one behind another, so those of a call lie together. */
static acr_status add_tensors(acr_plan *p, int segment, int slot, bool trained, int *first, int64_t *offset)
{
    acr_graph *g = p->g;
    int64_t line = ACR_ALIGN / (int64_t)g->es;
    for (int i = 0; i < g->param_count; i++) {
        const acr__param *param = &g->params[i];
        acr__param_place *place = &p->param_places[i];
        char state[24] = "";
        int buffer;
        if (param->segment != segment || is_trained(p, i) != trained)
            continue;
        if (slot >= 0)
            snprintf(state, sizeof state, ".state%d", slot);
        TRY(add(p, &buffer, slot < 0 ? ACR_KIND_PARAMETER : ACR_KIND_OPTIMIZER, 1, param->elements, g->es, "%s%s",
                param->name, state));
        *first = *first < 0 ? buffer : *first;
        if (slot < 0)
            place->at = (acr__address){segment, *offset, param->elements};
        place->has_state |= slot >= 0;
        *offset += acr__round_up(param->elements, line);
    }
    return ACR_OK;
}

static acr_status add_params(acr_plan *p)
{
    for (int i = 0; i < p->g->param_count; i++) {
        int64_t elements = p->g->params[i].elements;
        p->leaf_count += is_trained(p, i) ? (elements + LEAF - 1) / LEAF : 0;
        p->segment_count = (int)acr__max(p->segment_count, p->g->params[i].segment + 1);
    }
    p->segments = acr__alloc(p->ctx, ((size_t)p->segment_count + 1) * sizeof *p->segments);
    if (!p->segments)
        return ACR_E_NO_MEMORY;
    for (int s = 0; s < p->segment_count; s++) {
        acr__segment *segment = &p->segments[s];
        *segment = (acr__segment){-1, {-1, -1}};
        int64_t offset = 0;
        TRY(add_tensors(p, s, -1, true, &segment->value, &offset));
        TRY(add_tensors(p, s, -1, false, &segment->value, &offset));
        for (int slot = 0; slot < p->slots; slot++) {
            offset = 0;
            TRY(add_tensors(p, s, slot, true, &segment->state[slot], &offset));
        }
    }
    return ACR_OK;
}

/* What one member needs for any of the graph's steps. */
static size_t scratch_bytes(const acr_plan *p, const acr_kernels *k)
{
    size_t most = k->gemm_scratch, leaves = 2 * LEAF * p->g->es;
    if (p->g->bf16 && k->gemm_bf16_scratch + 128 > most)
        most = k->gemm_bf16_scratch + 128; /* and a cell behind it: acr__joined */
    if (p->compact && leaves > most)
        most = leaves; /* the close of a window puts leaves together there */
    for (int i = 0; i < p->g->node_count; i++) {
        const acr__node *n = &p->g->nodes[i];
        if (n->op != ACR_OP_attention || !n->live)
            continue;
        bool back = p->opts.optimizer && n->needs_grad;
        size_t bytes = k->attention_scratch(p->g->bf16 ? k : NULL, acr__plan_places(p, n->domain), n->dim, back);
        most = bytes > most ? bytes : most;
    }
    return (most + 63) / 64 * 64;
}

static acr_status add_buffers(acr_plan *p)
{
    acr_graph *g = p->g;
    const acr_kernels *k = kernels_of(p);
    TRY(add_params(p));
    for (int i = 0; i < g->node_count; i++)
        TRY(add_node_extras(p, i, k));
    acr_node *roots = acr__alloc(p->ctx, ((size_t)g->node_count + 1) * sizeof *roots);
    if (!roots)
        return ACR_E_NO_MEMORY;
    acr_status status = add_activations(p, roots, false);
    if (status == ACR_OK)
        status = add_activations(p, roots, true);
    acr__free(p->ctx, roots);
    if (status == ACR_OK)
        status = add_ahead(p);
    TRY(status);
    size_t scratch = scratch_bytes(p, k);
    TRY(add(p, &p->scratch, ACR_KIND_SCRATCH, p->ctx->threads, (int64_t)scratch, 1, "thread scratch"));
    TRY(add(p, &p->leaves, ACR_KIND_SCRATCH, 1, acr__max(1, p->leaf_count), sizeof(double), "norm leaves"));
    p->buffers[p->leaves].host = true;
    int64_t rows = 1;
    for (int d = 0; d < g->domain_count; d++)
        rows = acr__max(rows, acr__plan_rows(p, d, p->opts.micro_batch));
    return add(p, &p->loss_rows, ACR_KIND_SCRATCH, 3, rows, sizeof(double), "row losses");
}

static acr_status check_opts(acr_plan *p)
{
    const acr_plan_opts *o = &p->opts;
    FAIL_IF(o->micro_batch < 1 || o->micro_batch > INT32_MAX, p->ctx, ACR_E_ARGUMENT,
            "micro_batch is %lld, from 1 to 2147483647 is allowed", (long long)o->micro_batch);
    FAIL_IF(o->stage_rows != 0 && (o->stage_rows < o->micro_batch || o->stage_rows > INT32_MAX), p->ctx, ACR_E_ARGUMENT,
            "stage_rows is %lld, 0 or from the micro-batch of %lld to 2147483647 is allowed", (long long)o->stage_rows,
            (long long)o->micro_batch);
    int blocks = acr_block_count(p->g);
    FAIL_IF(o->recompute < 0 || o->recompute > blocks, p->ctx, ACR_E_ARGUMENT,
            "recompute is %d blocks, from 0 to the graph's %d are allowed", o->recompute, blocks);
    FAIL_IF(o->cache_rows < 0 || o->cache_rows > INT32_MAX, p->ctx, ACR_E_ARGUMENT,
            "cache_rows is %lld, from 0 to 2147483647 is allowed", (long long)o->cache_rows);
    FAIL_IF(o->cache_rows && o->optimizer, p->ctx, ACR_E_ARGUMENT,
            "cache_rows is %lld and the optimizer %d; a plan for acr_decode only predicts, with optimizer 0",
            (long long)o->cache_rows, (int)o->optimizer);
    FAIL_IF(o->optimizer < 0 || o->optimizer > ACR_ADAMW, p->ctx, ACR_E_ARGUMENT, "optimizer %d is unknown",
            (int)o->optimizer);
    return ACR_OK;
}

/* Whether some weight's gradient sums over samples of one row. */
static bool sums_over_samples(const acr_plan *p)
{
    for (int i = 0; i < p->g->node_count; i++) {
        const acr__node *n = &p->g->nodes[i];
        if (n->live && acr__is_product(n) && n->domain == ACR_SAMPLE && acr__plan_collects(p, n, 1))
            return true;
    }
    return false;
}

static void choose_stage(acr_plan *p)
{
    int64_t widest = 1;
    for (int i = 0; i < p->g->node_count; i++)
        widest = acr__max(widest, p->g->domains[p->g->nodes[i].domain].max_rows);
    int64_t micro = p->opts.micro_batch, rows = p->opts.stage_rows;
    if (!rows) {
        rows = STAGE_ROWS / widest;
        if (p->opts.max_window_rows > 0)
            rows = acr__min(rows, acr__max(1, p->opts.max_window_rows / widest));
    }
    p->stage_samples = acr__round_up(acr__max(rows, micro), micro);
    p->blocks = p->g->bf16 && sums_over_samples(p);
    if (p->blocks)
        p->stage_samples = rows > micro + ACR_BLOCK - 1 ? p->stage_samples : micro + ACR_BLOCK - 1;
    p->staged = p->stage_samples > micro;
}

/* How many rows of logits a head has at once. */
static void choose_chunk(acr_plan *p)
{
    const acr_graph *g = p->g;
    if (g->loss == ACR_NONE || g->nodes[g->loss].op != ACR_OP_head_cross_entropy)
        return;
    const acr__node *n = &g->nodes[g->loss];
    int64_t staged = acr__plan_rows(p, n->domain, p->stage_samples), most = CHUNK_ROWS;
    p->head_staged = p->staged && (staged <= CHUNK_STAGED || (p->blocks && n->domain == ACR_SAMPLE));
    while (most > CHUNK_LEAST && most * acr__classes(g, n) > CHUNK_BYTES / (int64_t)g->es)
        most /= 2;
    p->chunk = p->head_staged ? staged : acr__min(most, acr__plan_rows(p, n->domain, p->opts.micro_batch));
}

static acr_status build(acr_plan *p)
{
    acr_graph *g = p->g;
    TRY(check_opts(p));
    p->slots = p->opts.optimizer == ACR_SGD ? p->opts.momentum != 0 : p->opts.optimizer ? 2 : 0;
    p->second = p->opts.max_window_rows > ACR_CHAIN_ROWS;
    choose_stage(p);
    for (int d = 2; d < g->domain_count && g->bf16 && p->staged; d++)
        FAIL_IF(acr__plan_rows(p, d, p->stage_samples) > INT32_MAX, p->ctx, ACR_E_ARGUMENT,
                "stage_rows is %lld samples of up to %lld rows of '%s'; 2147483647 rows are the most",
                (long long)p->stage_samples, (long long)g->domains[d].max_rows, g->domains[d].name);
    choose_chunk(p);
    p->places = acr__alloc(p->ctx, ((size_t)g->node_count + 1) * sizeof *p->places);
    p->param_places = acr__alloc(p->ctx, ((size_t)g->param_count + 1) * sizeof *p->param_places);
    if (!p->places || !p->param_places)
        return ACR_E_NO_MEMORY;
    memset(p->places, 0xff, (size_t)g->node_count * sizeof *p->places); /* -1: nothing */
    TRY(add_buffers(p));
    TRY(acr__plan_list_steps(p));
    return acr__place_buffers(p);
}

acr_status acr_plan_create(acr_plan **out, acr_graph *g, const acr_plan_opts *opts)
{
    FAIL_IF(!g->finished, g->ctx, ACR_E_STATE, "acr_plan_create comes after acr_graph_finish");
    acr_plan *p = acr__alloc(g->ctx, sizeof *p);
    if (!p)
        return ACR_E_NO_MEMORY;
    acr_plan_opts defaults = ACR_PLAN_OPTS_INIT;
    p->ctx = g->ctx;
    p->g = g;
    p->opts = defaults;
    acr__opts_take(&p->opts, opts);
    acr_status status = build(p);
    if (status != ACR_OK)
        acr_plan_destroy(p);
    else
        *out = p;
    g->planned |= status == ACR_OK;
    return status;
}

void acr_plan_destroy(acr_plan *p)
{
    if (!p)
        return;
    acr__free(p->ctx, p->buffers);
    acr__free(p->ctx, p->places);
    acr__free(p->ctx, p->param_places);
    acr__free(p->ctx, p->segments);
    acr__free(p->ctx, p->steps);
    acr__free(p->ctx, p);
}

size_t acr_plan_bytes(const acr_plan *p) { return p->bytes; }

size_t acr_plan_kind_bytes(const acr_plan *p, acr_kind kind)
{
    size_t sum = 0, transient_end = 0, always_end = 0;
    for (int i = 0; i < p->buffer_count; i++) {
        const acr__buffer *b = &p->buffers[i];
        bool always = b->first == 0 && b->last == ACR_ALWAYS;
        if (always && !b->host && b->offset + b->bytes > always_end)
            always_end = b->offset + b->bytes;
        if (!b->host && b->offset + b->bytes > transient_end)
            transient_end = b->offset + b->bytes;
        if (always && b->kind == kind)
            sum += b->bytes;
    }
    /* what shares memory by lifetime counts once, as activations */
    return kind == ACR_KIND_ACTIVATION ? sum + (transient_end - always_end) : sum;
}

const char *acr_kind_name(acr_kind kind)
{
    static const char *const names[ACR_KIND_COUNT] = {"parameters", "gradient", "optimizer state", "activations",
                                                      "staging",    "data",     "packed weights",  "scratch",
                                                      "state"};
    return kind >= 0 && kind < ACR_KIND_COUNT ? names[kind] : "unknown";
}

int acr_plan_entries(const acr_plan *p) { return p->buffer_count; }

acr_status acr_plan_entry_get(const acr_plan *p, int i, acr_plan_entry *out)
{
    FAIL_IF(i < 0 || i >= p->buffer_count, p->ctx, ACR_E_ARGUMENT, "plan entry %d of %d", i, p->buffer_count);
    const acr__buffer *b = &p->buffers[i];
    *out = (acr_plan_entry){.name = b->name, .kind = b->kind,
                            .space = b->host ? ACR_SPACE_HOST : ACR_SPACE_KERNELS, .offset = b->offset, .bytes = b->bytes,
                            .first = b->first, .last = b->last == ACR_ALWAYS ? p->flush_end : b->last,
                            .again_first = b->again_last < 0 ? -1 : b->again_first, .again_last = b->again_last};
    return ACR_OK;
}

int acr_plan_steps(const acr_plan *p) { return p->flush_end; }

const char *acr_plan_step_name(const acr_plan *p, int step)
{
    return step >= 0 && step < p->flush_end ? acr__ops[p->g->nodes[p->steps[step].node].op].name : NULL;
}

int64_t acr_plan_micro_batch(const acr_plan *p) { return p->opts.micro_batch; }
int64_t acr_plan_stage_rows(const acr_plan *p) { return p->stage_samples; }
