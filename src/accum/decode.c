/* decode.c: one sequence, continued call by call.
 *
 * Invariant: the caches of the attention nodes hold the keys and values of tokens
 * [0, past), the bits that a pass over the whole sequence computes. A pass runs the
 * nodes that the output needs, over its n rows up to the last attention; behind that
 * only the last row, because nothing there looks at another.
 *
 * The graph is that of training: positions count from 0, places are positions. */
#include "accum/trainer.h"
#include "base/context.h"
#include "base/fpenv.h"
#include <string.h>

enum { PIECE = 256 };

typedef struct pass {
    const acr_trainer *t;
    acr_domain domain; /* of its rows */
    int split;         /* the step from which on the last row is alone */
} pass;

static acr_node input_named(const acr_graph *g, const char *name)
{
    for (int i = 0; i < g->input_count; i++) {
        const acr__node *n = &g->nodes[g->inputs[i]];
        if (!strcmp(n->name, name) && n->dtype == ACR_I32 && n->cols == 1)
            return g->inputs[i];
    }
    return ACR_NONE;
}

/* Marks what the output needs: nothing but ids and positions may feed it, and all of
 * it has their rows. */
static acr_status mark(acr_trainer *t, acr_node out, const char *name, acr_node ids, acr_node position)
{
    const acr_graph *g = t->g;
    memset(t->decoded, 0, (size_t)g->node_count);
    t->decoded[out] = true;
    for (int i = out; i >= 0; i--) {
        const acr__node *n = &g->nodes[i];
        if (!t->decoded[i] || n->op == ACR_OP_param)
            continue;
        FAIL_IF(n->op == ACR_OP_input && i != ids && i != position, t->ctx, ACR_E_ARGUMENT,
                "the output '%s' needs the input '%s', which a sequence of ids does not give", name, n->name);
        FAIL_IF(n->domain != g->nodes[ids].domain, t->ctx, ACR_E_ARGUMENT,
                "the output '%s' needs node %d (%s), which has other rows than 'ids'", name, i, acr__ops[n->op].name);
        for (int j = 0; j < n->inputs; j++)
            t->decoded[n->in[j]] = true;
    }
    return ACR_OK;
}

/* Ids and places index tables. */
static acr_status check_tables(const acr_trainer *t, acr_node ids, acr_node position, int64_t n, const int32_t *id)
{
    for (int i = 0; i < t->g->node_count; i++) {
        const acr__node *node = &t->g->nodes[i];
        if (!t->decoded[i] || node->op != ACR_OP_embedding)
            continue;
        int64_t entries = t->g->nodes[node->in[1]].shape[0];
        FAIL_IF(node->in[0] == position && t->past + n > entries, t->ctx, ACR_E_ARGUMENT,
                "the sequence would have %lld tokens, and the model has %lld positions", (long long)(t->past + n),
                (long long)entries);
        for (int64_t r = 0; r < n && node->in[0] == ids; r++)
            FAIL_IF(id[r] < 0 || id[r] >= entries, t->ctx, ACR_E_DATA,
                    "token %lld of the sequence: the id is %d, from 0 to %lld is allowed", (long long)(t->past + r),
                    (int)id[r], (long long)entries - 1);
    }
    return ACR_OK;
}

static void put_rows(const acr_trainer *t, acr_node node, const int32_t *id, int64_t n)
{
    int32_t places[PIECE], *to = (int32_t *)(void *)t->execs[node].out.p;
    for (int64_t done = 0, some; done < n; done += some) {
        some = acr__min(PIECE, n - done);
        for (int64_t r = 0; r < some; r++)
            places[r] = id ? id[done + r] : (int32_t)(t->past + done + r);
        t->run.k->put(to + done, places, (size_t)some * sizeof *places);
    }
}

static void member(void *arg, int index, int count)
{
    const pass *p = arg;
    const acr_trainer *t = p->t;
    acr__run tail = t->run; /* copied within the call of the team, whose turn its tickets carry */
    tail.rows[p->domain] = 1;
    tail.base[p->domain] = t->run.rows[p->domain] - 1;
    acr__steps_run(t, &t->run, 0, p->split, t->decoded, index, count);
    acr__steps_run(t, &tail, p->split, t->plan->forward_count, t->decoded, index, count);
}

/* Multiply-adds of the pass, about; and the step behind the last attention. */
static int64_t measure(const acr_trainer *t, int64_t n, int *split)
{
    int64_t all = 0, behind = 0;
    *split = 0;
    for (int s = 0; s < t->plan->forward_count; s++) {
        acr_node i = t->plan->steps[s].node;
        if (!t->decoded[i])
            continue;
        behind += t->execs[i].cost;
        if (t->g->nodes[i].op != ACR_OP_attention)
            continue;
        *split = s + 1;
        all += behind;
        behind = 0;
    }
    return all * n + behind;
}

static ACR_APART acr_status decode(acr_trainer *t, int64_t n, const int32_t *ids, const char *output, float *out)
{
    acr_node id = input_named(t->g, "ids"), position = input_named(t->g, "position");
    acr_node node = acr__output_node(t, output);
    FAIL_IF(!t->plan->opts.cache_rows, t->ctx, ACR_E_STATE, "this plan has no cache; set acr_plan_opts.cache_rows");
    FAIL_IF(id == ACR_NONE || t->g->nodes[id].domain == ACR_SAMPLE, t->ctx, ACR_E_ARGUMENT,
            "the graph has no int32 input 'ids' of one column in a ragged domain");
    if (node == ACR_NONE)
        return ACR_E_ARGUMENT;
    acr_domain d = t->g->nodes[id].domain;
    int64_t most = acr__plan_rows(t->plan, d, t->plan->opts.micro_batch);
    FAIL_IF(n < 1 || n > most, t->ctx, ACR_E_ARGUMENT, "%lld tokens at once, from 1 to the %lld planned are allowed",
            (long long)n, (long long)most);
    FAIL_IF(n > t->plan->opts.cache_rows - t->past, t->ctx, ACR_E_ARGUMENT,
            "the sequence would have %lld tokens, and the plan's cache_rows is %lld", (long long)(t->past + n),
            (long long)t->plan->opts.cache_rows);
    TRY(mark(t, node, output, id, position));
    TRY(check_tables(t, id, position, n, ids));
    if (!t->packed_valid)
        acr__repack(t);
    put_rows(t, id, ids, n);
    if (position != ACR_NONE && t->decoded[position])
        put_rows(t, position, NULL, n);
    int32_t offsets[2] = {0, (int32_t)n};
    acr__run *run = &t->run;
    run->training = false;
    run->decoding = true;
    run->past = t->past;
    run->samples = 1;
    memset(run->base, 0, sizeof run->base);
    run->rows[d] = n;
    run->offsets[d] = offsets;
    pass p = {t, d, 0};
    int64_t work = measure(t, n, &p.split);
    acr__team_run(t, work, member, &p);
    run->offsets[d] = NULL;
    run->rows[d] = 0; /* acr_output_read has none of these rows */
    t->past += n;
    const acr__exec *e = &t->execs[node];
    acr__fetch_floats(t, e->out.p, (n - 1) * e->out.ld, e->node->cols, out);
    return ACR_OK;
}

acr_status acr_decode(acr_trainer *t, int64_t n, const int32_t *ids, const char *output, float *out)
{
    acr_status status;
    ACR_IN_CANON(status, decode(t, n, ids, output, out));
    return status;
}

acr_status acr_decode_rewind(acr_trainer *t, int64_t rows)
{
    FAIL_IF(rows < 0 || rows > t->past, t->ctx, ACR_E_ARGUMENT, "%lld tokens of a sequence of %lld cannot be kept",
            (long long)rows, (long long)t->past);
    t->past = rows;
    return ACR_OK;
}
