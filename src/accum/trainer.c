/* trainer.c: taking the arena, giving nodes their pointers, and copying
 * parameters and state in and out in canonical layout. */
#include "accum/trainer.h"
#include "base/context.h"
#include "base/fpenv.h"
#include "base/philox.h"
#include <math.h>
#include <string.h>
#include <sys/mman.h>

static acr__slot slot_of(const acr_trainer *t, int buffer)
{
    if (buffer < 0)
        return (acr__slot){0};
    const acr__buffer *b = &t->plan->buffers[buffer];
    return (acr__slot){t->arena + b->offset, b->ld, b->staged || t->plan->opts.cache_rows, b->operands};
}

static void *memory_of(const acr_trainer *t, int buffer)
{
    if (buffer < 0)
        return NULL;
    const acr__buffer *b = &t->plan->buffers[buffer];
    return b->host ? t->host + (b->offset - t->plan->arena_bytes) : t->arena + b->offset;
}

static int64_t cost_of(const acr_graph *g, const acr__node *n)
{
    switch (n->op) {
    case ACR_OP_input:
    case ACR_OP_param:
        return 0; /* nothing runs for them */
    case ACR_OP_linear:
    case ACR_OP_head_cross_entropy:
        return g->nodes[n->in[1]].cols;
    case ACR_OP_attention: /* two products over half of the places */
        return n->cols * g->domains[n->domain].max_rows;
    case ACR_OP_relu: case ACR_OP_leaky_relu: case ACR_OP_add: case ACR_OP_mul: case ACR_OP_bias:
    case ACR_OP_concat: case ACR_OP_reshape:
        return n->cols;
    case ACR_OP_mse: case ACR_OP_mae: case ACR_OP_huber: case ACR_OP_cross_entropy: case ACR_OP_bce_with_logits:
        return g->nodes[n->in[0]].cols * 16;
    default:
        return n->cols * 8;
    }
}

static void place_exec(acr_trainer *t, int i)
{
    const acr__node *n = &t->g->nodes[i];
    const acr__place *own = &t->plan->places[i];
    acr__exec *e = &t->execs[i];
    e->node = n;
    e->tickets = t->tickets + i * ACR_TICKETS;
    e->domain = n->domain;
    e->cost = cost_of(t->g, n);
    e->out = slot_of(t, own->wide >= 0 ? own->wide : own->value);
    e->kept = slot_of(t, own->wide >= 0 ? own->value : -1);
    e->dout = slot_of(t, own->grad);
    e->aux = slot_of(t, own->aux);
    e->class_weight = memory_of(t, own->class_weight);
    e->chunk = t->plan->chunk;
    e->cached[0] = slot_of(t, own->cached[0]);
    e->cached[1] = slot_of(t, own->cached[1]);
    e->cached[0].staged = e->cached[1].staged = false; /* they begin with the sequence */
    e->table = memory_of(t, own->table);
    e->packed = memory_of(t, own->packed);
    e->packed_back = memory_of(t, own->packed_back);
    e->then = own->then == ACR_NONE ? NULL : &t->execs[own->then];
    e->then_back = own->then_back == ACR_NONE ? NULL : &t->execs[own->then_back];
    for (int j = 0; j < n->inputs; j++) {
        const acr__node *in = &t->g->nodes[n->in[j]];
        bool param = in->op == ACR_OP_param;
        e->in_cols[j] = in->cols;
        if (param)
            e->in[j] = (acr__slot){.p = acr__value_at(t, &t->plan->param_places[in->param].at, 0), .ld = in->shape[in->ndim - 1]};
        else
            e->in[j] = slot_of(t, t->plan->places[n->in[j]].value);
        if (!param && n->needs_grad && in->needs_grad)
            e->din[j] = slot_of(t, t->plan->places[n->in[j]].grad);
        e->din_add[j] = n->din_add[j];
        e->acc[j] = memory_of(t, own->acc[j]);
        e->acc2[j] = memory_of(t, own->acc2[j]);
    }
    if (n->live)
        t->work += 3 * e->cost * t->g->domains[n->domain].max_rows;
}

static bool decays(const acr_trainer_opts *o, const acr__param *p)
{
    for (int i = 0; i < o->weight_decay_exclude_count; i++)
        if (acr__glob(o->weight_decay_exclude[i], p->name))
            return false;
    return o->weight_decay != 0 && p->ndim >= o->weight_decay_min_dims;
}

static acr__use_sum sum_of(const acr_trainer *t, acr__use use)
{
    const acr__exec *e = &t->execs[use.node];
    acr__use_sum s = {.acc = e->acc[use.slot], .acc2 = e->acc2[use.slot], .domain = e->domain};
    if (t->g->bf16 && acr__is_product(e->node) && use.slot == 1)
        s.blocks = e;
    for (int i = 0; i < t->compact_count; i++)
        if (t->compacts[i].node == use.node)
            s.compact = &t->compacts[i];
    return s;
}

static acr__trained trained_of(const acr_trainer *t, int i)
{
    const acr_graph *g = t->g;
    const acr__param *param = &g->params[i];
    acr__trained p = {.param = i, .at = t->plan->param_places[i].at, .home = -1, .decays = decays(&t->opts, param),
                      .cols = param->shape[param->ndim - 1], .use = t->uses + param->first_use};
    for (int u = 0; u < param->uses; u++) {
        acr__use_sum sum = sum_of(t, g->uses[param->first_use + u]);
        if (!sum.acc)
            continue;
        if (!sum.compact && p.home < 0)
            p.home = p.uses;
        p.compact |= sum.compact != NULL;
        p.use[p.uses++] = sum;
    }
    return p;
}

/* By segment, and within one in the byte order of names, as their leaves are over
 * all; their uses in graph order. */
static acr_status list_trained(acr_trainer *t)
{
    acr_graph *g = t->g;
    t->trained = acr__alloc(t->ctx, ((size_t)g->param_count + 1) * sizeof *t->trained);
    t->uses = acr__alloc(t->ctx, ((size_t)g->use_count + 1) * sizeof *t->uses);
    if (!t->trained || !t->uses)
        return ACR_E_NO_MEMORY;
    for (int s = 0; s < t->plan->segment_count; s++) {
        int64_t leaf = 0;
        t->segments[s].first_trained = t->trained_count;
        for (int i = 0; i < g->param_count; i++) {
            acr__trained p = trained_of(t, i);
            p.first_leaf = leaf;
            leaf += p.uses ? (p.at.length + ACR_LEAF - 1) / ACR_LEAF : 0;
            if (p.uses && p.at.segment == s)
                t->trained[t->trained_count++] = p;
        }
        t->segments[s].end_trained = t->trained_count;
    }
    return ACR_OK;
}

/* As PyTorch's Linear, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), or N(0, std^2), or one
 * value: keyed by name, so that members may share them out. */
static void initial_piece(const acr_trainer *t, const acr__param *p, uint32_t hash, int64_t at, int64_t n, float *out)
{
    if (p->std > 0) {
        t->run.k->init_normals(t->g->seed, hash, (uint64_t)at, n, out);
        for (int64_t j = 0; j < n; j++)
            out[j] *= p->std;
        return;
    }
    float bound = p->fan_in > 0 ? (float)(1.0 / sqrt((double)p->fan_in)) : 0.0f;
    for (int64_t j = 0; j < n; j++)
        out[j] = p->fan_in > 0 ? bound * acr__init_uniform(t->g->seed, hash, (uint64_t)(at + j)) : p->fill;
}

static void initial_weights(void *arg, int index, int count)
{
    acr_trainer *t = arg;
    for (int i = 0; i < t->g->param_count; i++) {
        const acr__param *p = &t->g->params[i];
        void *value = acr__value_at(t, &t->plan->param_places[i].at, 0);
        uint32_t hash = acr__hash32(p->name);
        float piece[512];
        int64_t at, last;
        acr__share(p->elements, 512, index, count, &at, &last);
        for (int64_t n; at < last; at += n) {
            n = acr__min(512, last - at);
            initial_piece(t, p, hash, at, n, piece);
            acr__put_floats(t, value, at, n, piece);
        }
    }
}

/* What the graph's nodes bring along. */
static void constants(acr_trainer *t)
{
    for (int i = 0; i < t->g->node_count; i++)
        if (t->execs[i].class_weight)
            acr__put_floats(t, memory_of(t, t->plan->places[i].class_weight), 0, acr__classes(t->g, &t->g->nodes[i]),
                            t->g->nodes[i].class_weight);
}

/* Each rope's table once; nodes that share one stand behind its first. */
static acr_status rope_tables(acr_trainer *t)
{
    int last = -1;
    for (int i = 0; i < t->g->node_count; i++) {
        const acr__node *n = &t->g->nodes[i];
        int table = t->plan->places[i].table;
        if (table <= last)
            continue;
        last = table;
        float *row = acr__alloc(t->ctx, (size_t)n->rope.dim * sizeof *row);
        if (!row)
            return ACR_E_NO_MEMORY;
        for (int64_t r = 0; r < acr__plan_places(t->plan, n->domain); r++) {
            acr__rope_row(&n->rope, r, row);
            acr__put_floats(t, memory_of(t, table), r * n->rope.dim, n->rope.dim, row);
        }
        acr__free(t->ctx, row);
    }
    return ACR_OK;
}

static void mark_outputs(acr_trainer *t)
{
    for (int i = t->g->node_count - 1; i >= 0; i--) {
        const acr__node *n = &t->g->nodes[i];
        t->for_output[i] |= n->is_output;
        for (int j = 0; t->for_output[i] && j < n->inputs; j++)
            t->for_output[n->in[j]] = true;
    }
}

/* Huge pages for the whole 2 MiB pieces inside the arena: the weights then fall
 * evenly on the cache's sets. They add nothing to the arena's size, and where the
 * system has none to give nothing happens. Then those pieces are taken at once: memory
 * that is not there is missed before the first window, not in the middle of one, and
 * no window waits for pages to be cleared. Not with the caller's allocator, whose
 * memory is not ours to advise on. */
static void claim(const acr_trainer *t, size_t bytes)
{
    const uintptr_t huge = (uintptr_t)2 << 20;
    uintptr_t begin = (uintptr_t)t->arena, first = (begin + huge - 1) & ~(huge - 1), last = (begin + bytes) & ~(huge - 1);
    if (t->ctx->opts.alloc || first >= last)
        return;
#ifdef MADV_HUGEPAGE
    (void)madvise(t->arena + (first - begin), last - first, MADV_HUGEPAGE);
#endif
#ifdef MADV_POPULATE_WRITE
    (void)madvise(t->arena + (first - begin), last - first, MADV_POPULATE_WRITE);
#endif
}

static ACR_APART acr_status fill(acr_trainer *t)
{
    acr_plan *p = t->plan;
    acr_graph *g = t->g;
    FAIL_IF(g->input_count > ACR_MAX_INPUTS, t->ctx, ACR_E_ARGUMENT, "the graph has %d inputs, at most %d are allowed",
            g->input_count, ACR_MAX_INPUTS);
    if (p->opts.optimizer)
        TRY(acr__update_check(t->ctx, &t->opts, p->opts.optimizer));
    FAIL_IF(p->opts.optimizer == ACR_SGD && t->opts.momentum != 0 && !p->slots, t->ctx, ACR_E_ARGUMENT,
            "momentum is %g but the plan has no momentum buffer; set acr_plan_opts.momentum", t->opts.momentum);
    t->execs = acr__alloc(t->ctx, ((size_t)g->node_count + 1) * sizeof *t->execs);
    t->tickets = acr__alloc(t->ctx, ((size_t)g->node_count + 1) * ACR_TICKETS * sizeof *t->tickets);
    t->for_output = acr__alloc(t->ctx, (size_t)g->node_count + 1);
    t->decoded = acr__alloc(t->ctx, (size_t)g->node_count + 1);
    t->offset_memory = acr__alloc(t->ctx, ACR_MAX_DOMAINS * ((size_t)p->opts.micro_batch + 1) * sizeof(int32_t));
    size_t ends = g->bf16 && p->staged && g->domain_count > 2 ? (size_t)p->stage_samples : 0;
    t->staged_ends = acr__alloc(t->ctx, ACR_MAX_DOMAINS * ends * sizeof(int32_t));
    t->segments = acr__alloc(t->ctx, ((size_t)p->segment_count + 1) * sizeof *t->segments);
    t->memory = acr__alloc(t->ctx, p->arena_bytes + 64);
    t->host = acr__alloc(t->ctx, p->bytes - p->arena_bytes + 1);
    if (!t->execs || !t->tickets || !t->for_output || !t->decoded || !t->offset_memory || !t->staged_ends ||
        !t->segments || !t->memory || !t->host)
        return ACR_E_NO_MEMORY;
    t->arena = (char *)t->memory + (64 - (uintptr_t)t->memory % 64) % 64;
    claim(t, p->arena_bytes);
    for (int s = 0; s < p->segment_count; s++)
        t->segments[s] = (acr__segment_memory){
            .value = memory_of(t, p->segments[s].value),
            .state = {memory_of(t, p->segments[s].state[0]), memory_of(t, p->segments[s].state[1])},
        };
    for (int i = 0; i < g->node_count; i++)
        place_exec(t, i);
    mark_outputs(t);
    TRY(acr__compact_list(t));
    TRY(list_trained(t));
    t->leaves = memory_of(t, p->leaves);
    int64_t rows = (int64_t)(p->buffers[p->loss_rows].bytes / (3 * sizeof(double)));
    double *sums = memory_of(t, p->loss_rows);
    t->run = (acr__run){.k = g->reference ? &acr__kernels_ref64 : t->ctx->kernels, .es = g->es, .seed = g->seed,
                        .bf16 = g->bf16,
                        .weight_scale = 1, .loss = {sums, sums + rows, sums + 2 * rows},
                        .scratch = memory_of(t, p->scratch), .scratch_bytes = (size_t)p->buffers[p->scratch].ld};
    constants(t);
    TRY(rope_tables(t));
    if (t->ctx->threads > 1 && t->work * p->opts.micro_batch > t->ctx->serial_work)
        TRY(acr__context_pool(t->ctx, &t->pool));
    t->run.pool = t->pool;
    int64_t elements = 0;
    for (int i = 0; i < g->param_count; i++)
        elements += g->params[i].elements;
    acr__team_run(t, elements * 64, initial_weights, t);
    return ACR_OK;
}

acr_status acr_trainer_create(acr_trainer **out, acr_plan *plan, const acr_trainer_opts *opts)
{
    acr_trainer *t = acr__alloc(plan->ctx, sizeof *t);
    if (!t)
        return ACR_E_NO_MEMORY;
    acr_trainer_opts defaults = ACR_TRAINER_OPTS_INIT;
    t->ctx = plan->ctx;
    t->plan = plan;
    t->g = plan->g;
    t->opts = defaults;
    acr__opts_take(&t->opts, opts);
    acr_status status;
    ACR_IN_CANON(status, fill(t));
    if (status != ACR_OK)
        acr_trainer_destroy(t);
    else
        *out = t;
    return status;
}

void acr_trainer_destroy(acr_trainer *t)
{
    if (!t)
        return;
    acr__free(t->ctx, t->memory);
    acr__free(t->ctx, t->host);
    acr__free(t->ctx, t->execs);
    acr__free(t->ctx, (void *)t->tickets);
    acr__free(t->ctx, t->for_output);
    acr__free(t->ctx, t->decoded);
    acr__free(t->ctx, t->segments);
    acr__free(t->ctx, t->trained);
    acr__free(t->ctx, t->uses);
    acr__free(t->ctx, t->compacts);
    acr__free(t->ctx, t->offset_memory);
    acr__free(t->ctx, t->staged_ends);
    acr__free(t->ctx, t);
}

static acr_status check_range(const acr_trainer *t, int param, int64_t first, int64_t n)
{
    FAIL_IF(param < 0 || param >= t->g->param_count, t->ctx, ACR_E_ARGUMENT, "parameter %d of %d", param,
            t->g->param_count);
    const acr__param *p = &t->g->params[param];
    FAIL_IF(first < 0 || n < 0 || first > p->elements || n > p->elements - first, t->ctx, ACR_E_ARGUMENT,
            "'%s': %lld elements from %lld on were asked for, it has %lld", p->name, (long long)n, (long long)first,
            (long long)p->elements);
    return ACR_OK;
}

/* In the canon's mode, in and out: the reference's doubles are rounded to floats, and a
 * float below the normal ones would be read as 0. */
static ACR_APART acr_status copy_out(const acr_trainer *t, const char *from, int64_t n, float *out)
{
    acr__fetch_floats(t, from, 0, n, out);
    return ACR_OK;
}

static acr_status read_floats(const acr_trainer *t, const char *from, int64_t n, float *out)
{
    acr_status status;
    ACR_IN_CANON(status, copy_out(t, from, n, out));
    return status;
}

static ACR_APART acr_status copy_in(const acr_trainer *t, char *to, int64_t n, const float *in)
{
    acr__put_floats(t, to, 0, n, in);
    return ACR_OK;
}

static acr_status write_floats(const acr_trainer *t, char *to, int64_t n, const float *in)
{
    acr_status status;
    ACR_IN_CANON(status, copy_in(t, to, n, in));
    return status;
}

acr_status acr_param_read(acr_trainer *t, int param, int64_t first, int64_t n, float *out)
{
    TRY(check_range(t, param, first, n));
    return read_floats(t, acr__value_at(t, &t->plan->param_places[param].at, first), n, out);
}

acr_status acr_param_write(acr_trainer *t, int param, int64_t first, int64_t n, const float *in)
{
    TRY(check_range(t, param, first, n));
    FAIL_IF(t->open, t->ctx, ACR_E_STATE, "'%s' cannot be written inside a window; close or abort it first",
            t->g->params[param].name);
    t->packed_valid = false;
    return write_floats(t, acr__value_at(t, &t->plan->param_places[param].at, first), n, in);
}

int acr_param_trainable(const acr_trainer *t, int param)
{
    for (int i = 0; i < t->trained_count; i++)
        if (t->trained[i].param == param)
            return 1;
    return 0;
}

static ACR_APART acr_status read_gradient(acr_trainer *t, int param, int64_t first, int64_t n, double *out)
{
    TRY(check_range(t, param, first, n));
    FAIL_IF(!t->open, t->ctx, ACR_E_STATE, "acr_gradient_read: no window is open");
    /* the stage holds rows whose gradients are not there yet, and may not move under them */
    FAIL_IF(t->awaiting, t->ctx, ACR_E_STATE, "acr_window_backward is due after acr_window_forward");
    acr__stage_flush(t, false);
    for (int i = 0; i < t->trained_count; i++)
        if (t->trained[i].param == param) {
            for (int64_t j = 0; j < n; j++)
                out[j] = acr__joined(t, &t->trained[i], first + j);
            return ACR_OK;
        }
    return acr__fail(t->ctx, ACR_E_ARGUMENT, "'%s' is not trained and has no gradient", t->g->params[param].name);
}

acr_status acr_gradient_read(acr_trainer *t, int param, int64_t first, int64_t n, double *out)
{
    acr_status status;
    ACR_IN_CANON(status, read_gradient(t, param, first, n, out));
    return status;
}

const acr_graph *acr_trainer_graph(const acr_trainer *t) { return t->g; }

const char *acr_trainer_optimizer(const acr_trainer *t)
{
    static const char *const names[] = {"none", [ACR_SGD] = "sgd", [ACR_ADAM] = "adam", [ACR_ADAMW] = "adamw"};
    return names[t->plan->opts.optimizer];
}

int acr_state_slots(const acr_trainer *t) { return t->plan->slots; }

const char *acr_state_name(const acr_trainer *t, int slot)
{
    if (slot < 0 || slot >= t->plan->slots)
        return NULL;
    if (t->plan->opts.optimizer == ACR_SGD)
        return "momentum_buffer";
    return slot ? "exp_avg_sq" : "exp_avg"; /* PyTorch's names */
}

static acr_status check_state(const acr_trainer *t, int param, int slot, int64_t first, int64_t n)
{
    TRY(check_range(t, param, first, n));
    FAIL_IF(slot < 0 || slot >= t->plan->slots || !t->plan->param_places[param].has_state, t->ctx, ACR_E_ARGUMENT,
            "'%s' has no optimizer state %d", t->g->params[param].name, slot);
    return ACR_OK;
}

acr_status acr_state_read(acr_trainer *t, int param, int slot, int64_t first, int64_t n, float *out)
{
    TRY(check_state(t, param, slot, first, n));
    return read_floats(t, acr__state_at(t, &t->plan->param_places[param].at, slot, first), n, out);
}

acr_status acr_state_write(acr_trainer *t, int param, int slot, int64_t first, int64_t n, const float *in)
{
    TRY(check_state(t, param, slot, first, n));
    FAIL_IF(t->open, t->ctx, ACR_E_STATE, "the state of '%s' cannot be written inside a window",
            t->g->params[param].name);
    return write_floats(t, acr__state_at(t, &t->plan->param_places[param].at, slot, first), n, in);
}

acr_context *acr__trainer_context(const acr_trainer *t) { return t->ctx; }
int64_t acr__trainer_micro_batch(const acr_trainer *t) { return t->plan->opts.micro_batch; }

acr_status acr_clock_get(const acr_trainer *t, acr_clock *out)
{
    *out = t->clock;
    return ACR_OK;
}

acr_status acr_clock_set(acr_trainer *t, const acr_clock *clock)
{
    FAIL_IF(t->open, t->ctx, ACR_E_STATE, "the clock cannot be set inside a window");
    FAIL_IF(clock->updates < 0 || clock->windows < clock->updates || clock->windows > UINT32_MAX ||
                clock->samples < 0 || clock->tokens < 0 || clock->skipped < 0 || clock->skipped_in_row < 0,
            t->ctx, ACR_E_ARGUMENT, "the clock says %lld updates in %lld windows; that cannot be",
            (long long)clock->updates, (long long)clock->windows);
    t->clock = *clock;
    return ACR_OK;
}
