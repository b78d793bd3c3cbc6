/* micro.c: one micro-batch: fetch, forward, loss, backward; and the stage.
 *
 * The whole micro-batch is one call of the team: every member walks the same
 * list of steps and does its share of each, with a barrier between steps that
 * depend on one another. Steps too small to share are member 0's.
 *
 * It does not decide anything about numbers: the order of every sum is in the
 * steps and the kernels. */
#include "accum/trainer.h"
#include "base/context.h"
#include "base/fpenv.h"
#include "graph/op.h"
#include <stdatomic.h>
#include <string.h>

/* Rows fetched by one member take a microsecond each; so many bytes of them are
 * worth sharing. */
enum { FETCH_BYTES = 8192 };
/* A step is worth a barrier from this part of what makes a call worth sharing. */
enum { STEPS_A_CALL = 6 };

typedef struct job {
    acr_trainer *t;
    enum acr__mode mode;
    const acr_source *source;
    int64_t window, first, n;
    int64_t fetched; /* samples from `first` on: n, or more */
    int from, to; /* steps */
    acr_status status;
} job;

void acr__team_run(acr_trainer *t, int64_t work, void (*fn)(void *arg, int index, int count), void *arg)
{
    t->run.turn++;
    if (t->pool && work >= t->ctx->serial_work) {
        acr__pool_run(t->pool, fn, arg);
        return;
    }
    acr__fp saved;
    acr__fp_enter(&saved);
    fn(arg, 0, 1);
    acr__fp_leave(saved);
}

static void barrier(const acr_trainer *t, int count)
{
    if (count > 1)
        acr__pool_barrier(t->pool);
}

/* ---- fetching ---- */

static bool wanted(const acr_trainer *t, acr_node node, enum acr__mode mode)
{
    return t->plan->places[node].value >= 0 && (mode == ACR_TRAIN || mode == ACR_EVALUATE || t->for_output[node]);
}

/* Points the slots at the rows of the stage, or at the host's own rows. */
static void aim_slots(acr_trainer *t, enum acr__mode mode)
{
    for (int i = 0; i < t->g->input_count; i++) {
        acr_node node = t->g->inputs[i];
        const acr__exec *e = &t->execs[node];
        int raw = t->plan->places[node].raw;
        t->slot_data[i] = NULL;
        t->slot_bytes[i] = e->out.ld * 4;
        if (!wanted(t, node, mode))
            continue;
        if (raw >= 0) {
            t->slot_data[i] = t->host + (t->plan->buffers[raw].offset - t->plan->arena_bytes);
        } else {
            int64_t base = e->out.staged ? t->run.base[e->domain] : 0;
            t->slot_data[i] = e->out.p + base * t->slot_bytes[i];
        }
    }
    for (int d = 2; d < t->g->domain_count; d++) {
        t->slot_offsets[d - 2] = t->offset_memory + (d - 2) * (t->plan->opts.micro_batch + 1);
        t->run.offsets[d] = t->slot_offsets[d - 2];
    }
}

/* Where rows of an input wait that the stage has no place for; NULL: it has, or none wait. */
static char *ahead_at(const acr_trainer *t, int input)
{
    int buffer = t->plan->places[t->g->inputs[input]].ahead;
    return buffer < 0 ? NULL : t->host + (t->plan->buffers[buffer].offset - t->plan->arena_bytes);
}

/* Whether a micro-batch was fetched along with the one before it. */
static bool is_there(const acr_trainer *t, const job *j)
{
    const acr__ahead *a = &t->ahead;
    return j->mode == ACR_TRAIN && a->left >= j->n && a->get == j->source->get && a->user == j->source->user &&
           a->window == j->window && a->next == j->first;
}

/* How many of the `coming` samples to fetch at once. */
static int64_t worth_fetching(const acr_trainer *t, const job *j, int64_t coming)
{
    if (j->mode != ACR_TRAIN || !j->source->parallel || t->plan->ahead <= j->n)
        return j->n;
    int64_t room = t->plan->stage_samples - t->run.stage_rows[ACR_SAMPLE];
    return acr__max(acr__min(acr__min(t->plan->ahead, coming), room), j->n);
}

/* The next n samples that wait become the micro-batch. */
static void take_ahead(acr_trainer *t, int64_t n)
{
    for (int i = 0; i < t->g->input_count; i++) {
        const char *from = ahead_at(t, i);
        if (from)
            memcpy(t->slot_data[i], from + t->ahead.taken * t->slot_bytes[i], (size_t)(n * t->slot_bytes[i]));
    }
    t->ahead.next += n;
    t->ahead.taken += n;
    t->ahead.left -= n;
}

/* This member's samples. Ragged rows cannot be placed before their offsets are
 * known, so a graph with such a domain is fetched by one member. */
static void fetch(job *j, int index, int count)
{
    acr_trainer *t = j->t;
    int64_t first, last;
    acr__share(j->fetched, 1, index, count, &first, &last);
    t->fetched[index] = ACR_OK;
    if (first >= last)
        return;
    void *data[ACR_MAX_INPUTS];
    for (int i = 0; i < t->g->input_count; i++) {
        char *to = j->fetched > j->n ? ahead_at(t, i) : NULL;
        to = to ? to : t->slot_data[i];
        data[i] = to ? to + first * t->slot_bytes[i] : NULL;
    }
    acr_slots slots = {sizeof slots, data, t->slot_bytes, t->slot_offsets};
    t->fetched[index] = j->source->get(j->source->user, j->window, j->first + first, last - first, &slots);
}

/* Rows of each domain, from the offsets just fetched. */
static acr_status count_rows(acr_trainer *t, int64_t n)
{
    t->run.rows[ACR_SAMPLE] = n;
    for (int d = 2; d < t->g->domain_count; d++) {
        const int32_t *offsets = t->run.offsets[d];
        FAIL_IF(offsets[0] != 0, t->ctx, ACR_E_DATA, "offsets of '%s' begin at %d, not at 0", t->g->domains[d].name,
                (int)offsets[0]);
        for (int64_t i = 0; i < n; i++) {
            int64_t rows = (int64_t)offsets[i + 1] - offsets[i];
            FAIL_IF(rows < 1 || rows > t->g->domains[d].max_rows, t->ctx, ACR_E_DATA,
                    "sample %lld has %lld rows of '%s', from 1 to %lld are planned", (long long)i, (long long)rows,
                    t->g->domains[d].name, (long long)t->g->domains[d].max_rows);
        }
        t->run.rows[d] = offsets[n];
    }
    return ACR_OK;
}

static acr_status check_range(const acr_trainer *t, const char *what, const int32_t *id, int64_t rows, int64_t end,
                              bool ignores, int32_t ignore)
{
    for (int64_t r = 0; r < rows; r++)
        FAIL_IF((id[r] < 0 || id[r] >= end) && !(ignores && id[r] == ignore), t->ctx, ACR_E_DATA,
                "row %lld of the batch: %s is %d, from 0 to %lld is allowed", (long long)r, what, (int)id[r],
                (long long)end - 1);
    return ACR_OK;
}

/* Positions index a rope's table, and say how far attention looks back. */
static acr_status check_positions(const acr_trainer *t, const acr__node *n, const int32_t *position, int64_t rows,
                                  const int32_t *offsets)
{
    if (n->op == ACR_OP_rope)
        return check_range(t, "the position", position, rows, t->g->domains[n->domain].max_rows, false, 0);
    for (int64_t r = 0, sample = 0; r < rows; r++) {
        while (offsets && offsets[sample + 1] <= r)
            sample++;
        int64_t place = offsets ? r - offsets[sample] : 0;
        FAIL_IF(position[r] < 0 || position[r] > place, t->ctx, ACR_E_DATA,
                "row %lld of the batch: the position is %d; from 0 to %lld, the row's place in its sample, is allowed",
                (long long)r, (int)position[r], (long long)place);
    }
    return ACR_OK;
}

/* Whether any of the inputs at hand is whole numbers. */
static bool has_ids(const acr_graph *g, const void *const *data)
{
    for (int i = 0; i < g->input_count; i++)
        if (data[i] && g->nodes[g->inputs[i]].dtype == ACR_I32)
            return true;
    return false;
}

/* Labels, ids and positions index memory: none may be out of range. data[i] is
 * input i's rows, or NULL where it is not wanted; offsets[d - 2] domain d's. */
static acr_status check_ids(const acr_trainer *t, const int64_t *rows, const void *const *data,
                            const int32_t *const *offsets)
{
    if (!has_ids(t->g, data))
        return ACR_OK;
    bool attended[ACR_MAX_INPUTS] = {0}, turned[ACR_MAX_INPUTS] = {0}; /* every layer has the same positions */
    for (int i = 0; i < t->g->node_count; i++) {
        const acr__node *n = &t->g->nodes[i];
        bool attention = n->op == ACR_OP_attention, rope = n->op == ACR_OP_rope, loss = acr__is_entropy(n);
        if (!n->live || (n->op != ACR_OP_embedding && !loss && !attention && !rope))
            continue;
        const acr__node *ids = &t->g->nodes[n->in[attention || rope ? n->inputs - 1 : loss ? acr__target_slot(n) : 0]];
        const int32_t *id = ids->op == ACR_OP_input && ids->dtype == ACR_I32 ? data[ids->input] : NULL;
        if (!id)
            continue;
        if (attention || rope) {
            bool *seen = attention ? &attended[ids->input] : &turned[ids->input];
            if (!*seen)
                TRY(check_positions(t, n, id, rows[n->domain], n->domain > ACR_SAMPLE ? offsets[n->domain - 2] : NULL));
            *seen = true;
            continue;
        }
        TRY(check_range(t, loss ? "the label" : "the id", id, rows[n->domain],
                        loss ? acr__classes(t->g, n) : t->g->nodes[n->in[1]].shape[0], loss, n->ignore_index));
    }
    return ACR_OK;
}

/* From the host's rows to the nodes, where those are not the same memory: on a
 * device, and in the reference, which computes in double. */
static void upload(acr_trainer *t, enum acr__mode mode)
{
    for (int i = 0; i < t->g->input_count; i++) {
        const acr__exec *e = &t->execs[t->g->inputs[i]];
        int raw = t->plan->places[t->g->inputs[i]].raw;
        if (raw < 0 || !wanted(t, t->g->inputs[i], mode))
            continue;
        int64_t n = t->run.rows[e->domain] * e->out.ld;
        if (e->node->dtype == ACR_I32)
            t->run.k->put(e->out.p + (e->out.staged ? t->run.base[e->domain] * e->out.ld * 4 : 0), t->slot_data[i],
                          (size_t)n * 4);
        else
            acr__put_floats(t, acr__rows_at(&t->run, &e->out, e->domain), 0, n, t->slot_data[i]);
    }
}

/* Immediate: the micro-batch's rows are all the staged ones, and all due. */
static void due_at_once(acr_trainer *t)
{
    for (int d = 1; d < t->g->domain_count; d++) {
        t->run.stage_rows[d] = t->run.due_rows[d] = t->run.rows[d];
        if (d > ACR_SAMPLE && t->g->bf16)
            t->run.cuts[d] = (acr__cuts){t->run.offsets[d] + 1, t->run.samples, 0};
    }
}

/* What one member does once all rows are there. */
static acr_status accept(job *j, int members)
{
    acr_trainer *t = j->t;
    for (int i = 0; i < members; i++)
        TRY(t->fetched[i]);
    if (t->ahead.left > 0)
        take_ahead(t, j->n);
    TRY(count_rows(t, j->n));
    TRY(check_ids(t, t->run.rows, (const void *const *)t->slot_data, t->run.offsets + 2));
    if (j->mode == ACR_TRAIN || j->mode == ACR_FORWARD_ONLY) {
        TRY(acr__compact_fits(t, t->run.rows, ACR_E_DATA)); /* a pull's ragged rows: all others were counted before */
        acr__compact_assign(t);
    }
    upload(t, j->mode);
    if (!t->plan->staged)
        due_at_once(t);
    return ACR_OK;
}

/* ---- steps ---- */

/* What joins a step may be wider than its product. */
static bool shared(const acr_trainer *t, const acr__run *run, const acr__step *s)
{
    const acr__exec *e = &t->execs[s->node];
    const acr__exec *then = s->phase == ACR_FORWARD ? e->then : s->phase == ACR_BACKWARD ? e->then_back : NULL;
    int64_t cost = e->cost + (then ? then->cost : 0);
    return cost * run->rows[e->domain] >= t->ctx->serial_work / STEPS_A_CALL;
}

static void run_step(const acr_trainer *t, const acr__run *run, const acr__step *s, int index, int count)
{
    const acr__exec *e = &t->execs[s->node];
    const acr__op_info *op = &acr__ops[e->node->op];
    bool forward = s->phase == ACR_FORWARD || s->phase == ACR_AGAIN;
    acr__step_fn *fn = forward ? op->forward : s->phase == ACR_BACKWARD ? op->backward : op->gradient;
    fn(run, e, index, count);
    if (!forward || !e->kept.p)
        return;
    if (count > 1)
        barrier(t, count);
    acr__keep_operands(run, e, index, count);
}

/* mean_of_micro_batches and sum_of_micro_batch_means: every weight is divided by
 * the micro-batch's own weight, so that is summed first. */
static void scale_weights(acr_trainer *t, const acr__step *loss)
{
    acr__sum own;
    acr__sum_clear(&own);
    t->run.weight_scale = 1;
    t->run.training = false;
    t->run.weighing = true;
    run_step(t, &t->run, loss, 0, 1);
    t->run.weighing = false;
    t->run.training = true;
    acr__sum_rows(t, &own, t->run.loss.weight, t->run.rows[t->execs[loss->node].domain]);
    acr__sum_rows(t, &t->weight, t->run.loss.weight, t->run.rows[t->execs[loss->node].domain]);
    double weight = acr__sum_value(&own);
    t->run.weight_scale = weight != 0 ? 1 / weight : 0;
}

static bool by_micro_batch(const job *j)
{
    return j->mode == ACR_TRAIN && j->t->opts.reduction >= ACR_MEAN_OF_MICRO_BATCHES;
}

/* The forward's pieces were all taken in this turn; what is computed again has them anew. */
static void clear_tickets(const acr_trainer *t)
{
    const acr_plan *p = t->plan;
    for (int i = p->forward_count; i < p->step_count; i++)
        if (p->steps[i].phase == ACR_AGAIN)
            atomic_store_explicit(&t->execs[p->steps[i].node].tickets[ACR_TICKET_FORWARD], 0, memory_order_relaxed);
}

/* By one member, who needs no barriers. */
static void run_alone(const acr_trainer *t, const acr__run *run, int from, int to, const bool *wanted)
{
    for (int i = from; i < to; i++) {
        const acr__step *s = &t->plan->steps[i];
        if (t->watch)
            t->watch(t, i);
        if (!wanted || wanted[s->node])
            run_step(t, run, s, 0, 1);
    }
}

void acr__steps_run(const acr_trainer *t, const acr__run *run, int from, int to, const bool *wanted, int index,
                    int count)
{
    if (count == 1) {
        run_alone(t, run, from, to, wanted);
        return;
    }
    bool pending = false; /* member 0 is ahead: its serial steps are not yet seen */
    for (int i = from; i < to; i++) {
        const acr__step *s = &t->plan->steps[i];
        if (wanted && !wanted[s->node])
            continue;
        if (!shared(t, run, s)) {
            if (index == 0)
                run_step(t, run, s, 0, 1);
            pending = true;
            continue;
        }
        if (pending)
            barrier(t, count);
        pending = false;
        run_step(t, run, s, index, count);
        barrier(t, count);
    }
    if (pending)
        barrier(t, count);
}

static void run_steps(const job *j, int index, int count)
{
    acr_trainer *t = j->t;
    int from = j->from, forward = t->plan->forward_count;
    const bool *wanted = j->mode == ACR_PREDICT ? t->for_output : NULL;
    if (by_micro_batch(j) && from < forward) {
        acr__steps_run(t, &t->run, from, forward - 1, wanted, index, count);
        from = forward - 1;
        if (index == 0)
            scale_weights(t, &t->plan->steps[from]);
        barrier(t, count);
    }
    if (t->plan->opts.recompute && from < forward && j->to > forward) {
        acr__steps_run(t, &t->run, from, forward, wanted, index, count);
        from = forward;
        if (index == 0)
            clear_tickets(t);
        barrier(t, count);
    }
    acr__steps_run(t, &t->run, from, j->to, wanted, index, count);
}

static void member(void *arg, int index, int count)
{
    job *j = arg;
    acr_trainer *t = j->t;
    if (j->source) {
        int64_t bytes = 0;
        for (int i = 0; i < t->g->input_count; i++)
            bytes += t->slot_data[i] ? t->slot_bytes[i] : 0;
        bool all = count > 1 && count <= ACR_MAX_FETCHERS && j->source->parallel && t->g->domain_count == 2 &&
                   j->fetched >= 2 * count && j->fetched * bytes >= acr__min(t->ctx->serial_work, FETCH_BYTES);
        if (all || index == 0)
            fetch(j, all ? index : 0, all ? count : 1);
        if (all)
            barrier(t, count);
        if (index == 0)
            j->status = accept(j, all ? count : 1);
        barrier(t, count);
        if (j->status != ACR_OK)
            return;
    }
    run_steps(j, index, count);
}

/* ---- the stage ---- */

static void flush_member(void *arg, int index, int count)
{
    acr_trainer *t = arg;
    for (int i = t->plan->step_count; i < t->plan->flush_end; i++)
        run_step(t, &t->run, &t->plan->steps[i], index, count);
}

/* Where the last block of rows [first, first + rows) of the window begins, of which
 * the last sample has the last `length`. */
static int64_t last_block(int64_t first, int64_t rows, int64_t length)
{
    return first + rows - length + (length - 1) / ACR_BLOCK * ACR_BLOCK;
}

/* Rows that were not due move to the front of the stage. */
static void keep_rest(acr_trainer *t, acr_domain d, int64_t due, int64_t rest)
{
    for (int i = 0; i < t->plan->buffer_count && rest > 0 && due > 0; i++) {
        const acr__buffer *b = &t->plan->buffers[i];
        char *p = t->arena + b->offset;
        int64_t es = (int64_t)t->run.es, ld = b->ld * (int64_t)(b->operands ? t->run.k->bf16_bytes : t->run.es) / es;
        if (b->staged && b->domain == d) /* as reals, whatever it holds: a row of operands has an even number */
            t->run.k->copy(rest, ld, p + due * ld * es, ld, p, ld, false);
    }
}

void acr__stage_flush(acr_trainer *t, bool closes)
{
    acr__run *run = &t->run;
    int64_t rows = run->stage_rows[ACR_SAMPLE];
    t->ahead.left = 0; /* what waits lies behind these rows */
    for (int d = 1; d < t->g->domain_count; d++)
        run->due_rows[d] = run->stage_rows[d];
    if (t->plan->blocks && !closes)
        run->due_rows[ACR_SAMPLE] = rows / ACR_BLOCK * ACR_BLOCK;
    if (!t->plan->staged || (rows == run->summed_rows[ACR_SAMPLE] && run->due_rows[ACR_SAMPLE] == 0))
        return;
    acr__team_run(t, t->work / 3 * rows, flush_member, t);
    for (int d = 1; d < t->g->domain_count; d++) {
        int64_t due = run->due_rows[d], rest = run->stage_rows[d] - due;
        keep_rest(t, d, due, rest);
        if (d == ACR_SAMPLE && due > 0)
            run->last_block[d] = last_block(run->stage_first[d], due, due);
        else if (due > 0)
            run->last_block[d] = run->added_block[d];
        run->stage_first[d] += due;
        run->stage_rows[d] = run->summed_rows[d] = rest;
        run->cuts[d].count = 0;
    }
}

void acr__stage_reserve(acr_trainer *t, int64_t n)
{
    for (int d = 1; d < t->g->domain_count; d++)
        if (t->run.stage_rows[d] + acr__plan_rows(t->plan, d, n) > acr__plan_rows(t->plan, d, t->plan->stage_samples)) {
            acr__stage_flush(t, false);
            return;
        }
}

/* Where n samples of several rows end in the stage, and the window's last block of them. */
static void note_samples(acr_trainer *t, acr_domain d, int64_t n)
{
    acr__run *run = &t->run;
    const int32_t *offsets = run->offsets[d];
    run->added_block[d] = last_block(t->window_rows[d], run->rows[d], offsets[n] - offsets[n - 1]);
    if (!t->plan->staged)
        return;
    int32_t *ends = t->staged_ends + (d - 2) * t->plan->stage_samples;
    for (int64_t i = 0; i < n; i++)
        ends[run->cuts[d].count + i] = (int32_t)run->stage_rows[d] + offsets[i + 1];
    run->cuts[d] = (acr__cuts){ends, run->cuts[d].count + n, 0};
}

/* A training micro-batch that ran: its rows now belong to the window. */
static void advance(acr_trainer *t, int64_t n)
{
    for (int d = 1; d < t->g->domain_count; d++) {
        int64_t rows = t->run.rows[d];
        if (d > ACR_SAMPLE && t->g->bf16)
            note_samples(t, d, n);
        t->window_rows[d] += rows;
        if (t->plan->staged) {
            t->run.stage_rows[d] += rows;
        } else {
            t->run.last_block[d] = t->run.added_block[d];
            t->run.stage_first[d] += rows;
            t->run.stage_rows[d] = 0;
        }
    }
    t->samples += n;
    t->micro_batches++;
}

acr_status acr__micro_run(acr_trainer *t, enum acr__mode mode, const acr_source *source, int64_t window, int64_t first,
                          int64_t n, int64_t coming)
{
    job j = {.t = t, .mode = mode, .source = source, .window = window, .first = first, .n = n,
             .to = mode == ACR_TRAIN ? t->plan->step_count : t->plan->forward_count};
    if (!t->packed_valid)
        acr__repack(t);
    if (mode == ACR_EVALUATE || mode == ACR_PREDICT)
        acr__stage_flush(t, false);
    t->run.training = mode == ACR_TRAIN || mode == ACR_FORWARD_ONLY;
    t->run.decoding = false;
    t->run.window = (uint32_t)t->clock.windows;
    t->run.samples = n;
    t->run.place = t->samples;
    t->run.weight_scale = 1;
    for (int d = 1; d < t->g->domain_count; d++)
        t->run.base[d] = t->plan->staged ? t->run.stage_rows[d] : 0;
    aim_slots(t, mode);
    if (is_there(t, &j)) {
        j.source = NULL;
        TRY(accept(&j, 0));
    } else {
        j.fetched = worth_fetching(t, &j, coming);
        t->ahead = (acr__ahead){source->get, source->user, window, first, 0, j.fetched > n ? j.fetched : 0};
    }
    acr__team_run(t, t->work * n, member, &j);
    TRY(j.status);
    if (mode != ACR_TRAIN)
        return ACR_OK;
    if (t->g->loss != ACR_NONE) {
        int64_t rows = t->run.rows[t->execs[t->g->loss].domain];
        acr__sum_rows(t, &t->loss, t->run.loss.loss, rows);
        if (!by_micro_batch(&j))
            acr__sum_rows(t, &t->weight, t->run.loss.weight, rows);
    }
    advance(t, n);
    return ACR_OK;
}

void acr__micro_backward(acr_trainer *t)
{
    job j = {.t = t, .mode = ACR_TRAIN, .from = t->plan->forward_count, .to = t->plan->step_count};
    if (!t->plan->staged)
        due_at_once(t);
    acr__team_run(t, t->work * t->run.samples, member, &j);
    advance(t, t->run.samples);
}

/* ---- batches in the caller's memory ---- */

static acr_status push_get(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    (void)window;
    const acr__push *p = user;
    const acr_graph *g = p->t->g;
    for (int d = 2; d < g->domain_count; d++)
        for (int64_t i = 0; i <= n; i++)
            out->offsets[d - 2][i] = p->batch->offsets[d - 2][first + i] - p->batch->offsets[d - 2][first];
    for (int i = 0; i < g->input_count; i++) {
        const acr__node *in = &g->nodes[g->inputs[i]];
        if (!out->data[i])
            continue;
        bool ragged = in->domain > ACR_SAMPLE;
        const int32_t *offsets = ragged ? p->batch->offsets[in->domain - 2] : NULL;
        int64_t row = ragged ? offsets[first] : first, rows = ragged ? offsets[first + n] - row : n;
        for (int64_t r = 0; r < rows; r++)
            memcpy((char *)out->data[i] + r * out->row_bytes[i],
                   (const char *)p->batch->data[i] + (row + r) * in->cols * 4, (size_t)in->cols * 4);
    }
    return ACR_OK;
}

acr_source acr__push_source(acr__push *push)
{
    return (acr_source){sizeof(acr_source), push, push_get, 1};
}

acr_status acr__push_check(const acr_trainer *t, const acr_batch *batch, bool targets)
{
    const acr_graph *g = t->g;
    int64_t rows[ACR_MAX_DOMAINS] = {0};
    const void *data[ACR_MAX_INPUTS] = {0};
    FAIL_IF(!batch || batch->samples < 0, t->ctx, ACR_E_ARGUMENT, "the batch has %lld samples",
            batch ? (long long)batch->samples : -1LL);
    FAIL_IF(g->domain_count > 2 && !batch->offsets, t->ctx, ACR_E_ARGUMENT,
            "the graph has ragged domains; the batch needs offsets");
    rows[ACR_SAMPLE] = batch->samples;
    for (int d = 2; d < g->domain_count; d++) {
        const int32_t *offsets = batch->offsets[d - 2];
        FAIL_IF(!offsets || offsets[0] != 0, t->ctx, ACR_E_ARGUMENT, "the offsets of '%s' must begin at 0",
                g->domains[d].name);
        for (int64_t i = 0; i < batch->samples; i++) {
            int64_t n = (int64_t)offsets[i + 1] - offsets[i];
            FAIL_IF(n < 1 || n > g->domains[d].max_rows, t->ctx, ACR_E_DATA,
                    "sample %lld has %lld rows of '%s', from 1 to %lld are planned", (long long)i, (long long)n,
                    g->domains[d].name, (long long)g->domains[d].max_rows);
        }
        rows[d] = offsets[batch->samples];
    }
    for (int i = 0; i < g->input_count; i++) {
        bool needed = wanted(t, g->inputs[i], targets ? ACR_TRAIN : ACR_PREDICT);
        FAIL_IF(needed && (!batch->data || !batch->data[i]), t->ctx, ACR_E_ARGUMENT, "the batch lacks input '%s'",
                g->nodes[g->inputs[i]].name);
        data[i] = needed ? batch->data[i] : NULL;
    }
    return check_ids(t, rows, data, batch->offsets);
}
