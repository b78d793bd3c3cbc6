/* close.c: what happens when a window closes, in this order and no other:
 *
 *     join the uses of shared parameters -> divide by W -> finite check
 *     -> global norm (fp64) -> clip -> weight decay and optimizer -> tick
 *
 * (between join and divide stands the reduction over ranks, once there are any).
 * The team shares leaves of 4096 elements; a leaf is never divided, so neither
 * the norm nor an element depends on the number of threads. */
#include "accum/trainer.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

typedef struct closing {
    acr_trainer *t;
    double W;
    int64_t leaves;
    acr_report *report;
    bool skip;
    acr__update update;
} closing;

/* Rows of the window that are in a use's accumulators, once the stage is flushed. */
static int64_t rows_in(const acr_trainer *t, const acr__use_sum *u)
{
    return u->blocks ? t->run.stage_first[u->domain] : t->window_rows[u->domain];
}

/* Where a use's sum ends up: the second accumulator once it has been spilled into,
 * else the first. */
static char *total_of(const acr_trainer *t, const acr__use_sum *u)
{
    return u->acc2 && rows_in(t, u) >= ACR_CHAIN_ROWS ? u->acc2 : u->acc;
}

/* Whether nothing has been added since the last spill. */
static bool is_spilled(const acr_trainer *t, const acr__use_sum *u)
{
    int64_t rows = rows_in(t, u);
    return acr__begins_chain(u->blocks ? t->run.last_block[u->domain] : rows - 1, rows);
}

/* The chain begun after the last spill has elements that are not in acc2 yet. */
static bool has_rest(const acr_trainer *t, const acr__use_sum *u)
{
    return total_of(t, u) == u->acc2 && !is_spilled(t, u);
}

/* A sum rounded as the tables' join rounds it. */
static double plain_add(const acr_trainer *t, double a, double b)
{
    return t->g->reference ? a + b : (double)((float)a + (float)b);
}

/* Element i of the chain in acc with the staged rows that make no whole block yet, as
 * a close would take them now. The accumulator stays as it is. */
static double with_open_block(const acr_trainer *t, const acr__use_sum *u, int64_t i)
{
    const acr__run *run = &t->run;
    const acr__exec *e = u->blocks;
    const acr__slot *dy = e->node->op == ACR_OP_linear ? &e->dout : &e->aux, *x = &e->in[0];
    int64_t es = (int64_t)run->es, cols = e->node->transposed ? e->node->cols : e->in_cols[0];
    if (e->node->transposed) {
        const acr__slot *swap = dy;
        dy = x;
        x = swap;
    }
    char *cell = run->scratch + acr__round_up((int64_t)run->k->gemm_bf16_scratch, 64);
    bool begins = is_spilled(t, u);
    if (!begins)
        run->k->copy(1, 1, u->acc + i * es, 1, cell, 1, false);
    acr_gemm g = {
        .m = 1, .n = 1, .k = run->stage_rows[u->domain],
        .a = dy->p + i / cols * acr__slot_es(run, dy), .a_row = 1, .a_col = dy->ld, .a_bf16 = dy->operands,
        .b = x->p + i % cols * acr__slot_es(run, x), .b_row = x->ld, .b_col = 1, .b_bf16 = x->operands,
        .c = cell, .c_row = 1, .start = begins ? ACR_START_ZERO : ACR_START_C, .scratch = run->scratch,
    };
    run->k->gemm_bf16(&g);
    return acr__fetch_real(t, cell, 0);
}

static double element_of(const acr_trainer *t, const acr__trained *p, const acr__use_sum *u, int64_t i)
{
    if (u->compact) {
        const char *row = acr__compact_row(t, u->compact, i / p->cols);
        return row ? acr__fetch_real(t, row, i % p->cols) : 0.0;
    }
    if (u->blocks && t->run.stage_rows[u->domain] > 0) {
        double chain = with_open_block(t, u, i);
        return total_of(t, u) == u->acc2 ? plain_add(t, acr__fetch_real(t, u->acc2, i), chain) : chain;
    }
    double own = acr__fetch_real(t, total_of(t, u), i);
    return has_rest(t, u) ? plain_add(t, own, acr__fetch_real(t, u->acc, i)) : own;
}

double acr__joined(const acr_trainer *t, const acr__trained *p, int64_t i)
{
    double sum = 0;
    for (int u = 0; u < p->uses; u++) {
        if (t->window_rows[p->use[u].domain] == 0)
            continue;
        double own = element_of(t, p, &p->use[u], i);
        sum = u ? plain_add(t, sum, own) : own;
    }
    return sum;
}

/* Calls fn for this member's share of all leaves, segment by segment. */
static void each_leaf(closing *c, int index, int count,
                      void (*fn)(closing *c, const acr__trained *p, int64_t leaf, int64_t first, int64_t n, int index))
{
    int64_t from, to;
    acr__share(c->leaves, 1, index, count, &from, &to);
    for (int s = 0; s < c->t->plan->segment_count; s++)
        for (int i = c->t->segments[s].first_trained; i < c->t->segments[s].end_trained; i++) {
            const acr__trained *p = &c->t->trained[i];
            int64_t leaves = (p->at.length + ACR_LEAF - 1) / ACR_LEAF;
            for (int64_t k = acr__max(0, from - p->first_leaf); k < leaves && p->first_leaf + k < to; k++)
                fn(c, p, p->first_leaf + k, k * ACR_LEAF, acr__min(ACR_LEAF, p->at.length - k * ACR_LEAF), index);
        }
}

/* Joins the uses of elements [first, first + n), each of which has them all. */
static char *join(const acr_trainer *t, const acr__trained *p, int64_t first, int64_t n)
{
    int64_t at = first * (int64_t)t->run.es;
    char *sum = total_of(t, &p->use[0]) + at;
    for (int u = 0; u < p->uses; u++) {
        char *own = total_of(t, &p->use[u]) + at;
        if (has_rest(t, &p->use[u]))
            t->run.k->join(n, p->use[u].acc + at, own);
        if (u)
            t->run.k->join(n, own, sum);
    }
    return sum;
}

/* With compact accumulators, a member's scratch holds two leaves: what a token that
 * did not occur has, and room for one that is put together. */
static char *absent_of(const acr_trainer *t, int index)
{
    return t->run.scratch + (size_t)index * t->run.scratch_bytes;
}
static char *leaf_of(const acr_trainer *t, int index) { return absent_of(t, index) + ACR_LEAF * t->run.es; }

static void join_and_divide(closing *c, const acr__trained *p, int64_t leaf, int64_t first, int64_t n, int index)
{
    const acr_trainer *t = c->t;
    char *sum = p->compact ? acr__compact_join(t, p, first, n, absent_of(t, index), leaf_of(t, index))
                           : join(t, p, first, n);
    t->leaves[leaf] = t->run.k->close_leaf(n, sum, c->W, sum);
    if (sum == leaf_of(t, index))
        acr__compact_keep(t, p, first, n, sum);
}

static void apply(closing *c, const acr__trained *p, int64_t leaf, int64_t first, int64_t n, int index)
{
    (void)leaf;
    const acr_trainer *t = c->t;
    void *state[2] = {acr__state_at(t, &p->at, 0, first), acr__state_at(t, &p->at, 1, first)};
    const char *gradient =
        p->home < 0 ? leaf_of(t, index) : total_of(t, &p->use[p->home]) + first * (int64_t)t->run.es;
    if (p->home < 0)
        acr__compact_gather(t, p, first, n, absent_of(t, index), leaf_of(t, index));
    acr__update_apply(&c->update, t->run.k, p->decays, n, acr__value_at(t, &p->at, first), gradient, state);
}

/* The norm decides: it is not finite exactly if some gradient is not, because
 * the square of a finite float is a finite double. */
static void decide(closing *c)
{
    acr_trainer *t = c->t;
    double sum = 0;
    for (int64_t i = 0; i < c->leaves; i++)
        sum += t->leaves[i];
    c->report->grad_norm = isnan(sum) ? NAN : sqrt(sum);
    c->report->clip = 1;
    c->skip = !isfinite(sum);
    c->report->skipped = c->skip;
    if (c->skip)
        return;
    if (t->opts.max_grad_norm > 0) {
        double factor = t->opts.max_grad_norm / (c->report->grad_norm + 1e-6);
        c->report->clip = factor < 1 ? factor : 1;
    }
    c->update = acr__update_prepare(&t->opts, t->plan->opts.optimizer, t->clock.updates, c->report->clip);
    c->report->learning_rate = c->update.learning_rate;
}

static void pack(const acr_trainer *t, int64_t n, int64_t k, const char *b, int64_t b_row, int64_t b_col, char *out,
                 int index, int count)
{
    int64_t from, to, es = (int64_t)t->run.es;
    acr__share(n, t->run.k->panel, index, count, &from, &to);
    if (from < to && t->run.bf16)
        t->run.k->pack_b_bf16(to - from, k, b + from * b_col * es, b_row, b_col, false,
                              out + t->run.k->packed_bf16(from, k));
    else if (from < to)
        t->run.k->pack_b(to - from, k, b + from * b_col * es, b_row, b_col, out + from * k * es);
}

/* Of the n columns that pack gave this member. A second copy of a weight holds the same numbers. */
static void watch_finite(acr_trainer *t, int64_t n, int64_t k, const char *packed, int index, int count)
{
    int64_t from, to, panel = t->run.k->panel;
    acr__share(n, panel, index, count, &from, &to);
    if (from < to && !t->run.bf16 &&
        !t->run.k->finite(acr__round_up(to - from, panel) * k, packed + from * k * (int64_t)t->run.es))
        atomic_store_explicit(&t->odd_weights, true, memory_order_relaxed);
}

static void pack_all(acr_trainer *t, int index, int count)
{
    for (int i = 0; i < t->g->node_count; i++) {
        const acr__exec *e = &t->execs[i];
        int64_t out = e->packed ? e->in_cols[1] / e->in_cols[0] : 0;
        if (e->packed) {
            pack(t, out, e->in_cols[0], e->in[1].p, acr__weight_in(e->node), acr__weight_out(e->node, e->in_cols[0]),
                 e->packed, index, count);
            watch_finite(t, out, e->in_cols[0], e->packed, index, count);
        }
        if (e->packed_back)
            pack(t, e->in_cols[0], out, e->in[1].p, acr__weight_out(e->node, e->in_cols[0]), acr__weight_in(e->node),
                 e->packed_back, index, count);
    }
}

static void pack_member(void *arg, int index, int count) { pack_all(arg, index, count); }

static int64_t elements(const acr_trainer *t)
{
    int64_t sum = 0;
    for (int i = 0; i < t->trained_count; i++)
        sum += t->trained[i].at.length;
    return sum;
}

static void packed(acr_trainer *t)
{
    t->packed_valid = true;
    t->run.finite = !atomic_load_explicit(&t->odd_weights, memory_order_relaxed);
}

void acr__repack(acr_trainer *t)
{
    atomic_store_explicit(&t->odd_weights, false, memory_order_relaxed);
    acr__team_run(t, t->work, pack_member, t);
    packed(t);
}

static void barrier(const acr_trainer *t, int count)
{
    if (count > 1)
        acr__pool_barrier(t->pool);
}

static void close_member(void *arg, int index, int count)
{
    closing *c = arg;
    const acr_kernels *k = c->t->run.k;
    if (c->t->compact_count)
        k->clear(absent_of(c->t, index), ACR_LEAF * c->t->run.es);
    each_leaf(c, index, count, join_and_divide);
    barrier(c->t, count);
    if (index == 0)
        decide(c);
    barrier(c->t, count);
    if (c->skip)
        return;
    if (c->t->compact_count) /* a W below 0 makes them -0 */
        k->close_leaf(ACR_LEAF, absent_of(c->t, index), c->W, absent_of(c->t, index));
    each_leaf(c, index, count, apply);
    barrier(c->t, count);
    pack_all(c->t, index, count);
}

void acr__close_update(acr_trainer *t, double W, acr_report *report)
{
    closing c = {.t = t, .W = W, .report = report, .leaves = t->plan->leaf_count};
    atomic_store_explicit(&t->odd_weights, false, memory_order_relaxed);
    acr__team_run(t, elements(t) * 16, close_member, &c);
    if (!c.skip)
        packed(t);
}
