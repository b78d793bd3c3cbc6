/* compact.c: accumulators with a row for each token that occurred in the window,
 * instead of one for each entry of the table (rule 4b).
 *
 * Invariant: an entry without a row stands for a row of +0, which is what it would
 * hold: no bit depends on which kind of accumulator there is. Rows are given out in
 * the order in which tokens appear; the order shows nowhere.
 *
 * The tables are host memory, filled from the ids while those are checked; what
 * kernels hold is reached through put and clear alone. */
#include "accum/trainer.h"
#include <string.h>

static void *host_of(const acr_trainer *t, int buffer)
{
    return t->host + (t->plan->buffers[buffer].offset - t->plan->arena_bytes);
}

acr_status acr__compact_list(acr_trainer *t)
{
    t->compacts = acr__alloc(t->ctx, ((size_t)t->g->node_count + 1) * sizeof *t->compacts);
    if (!t->compacts)
        return ACR_E_NO_MEMORY;
    for (int i = 0; i < t->g->node_count; i++) {
        const acr__node *n = &t->g->nodes[i];
        const acr__place *place = &t->plan->places[i];
        if (place->entries < 0)
            continue;
        t->compacts[t->compact_count++] = (acr__compact){
            .node = i, .domain = n->domain, .input = t->g->nodes[n->in[0]].input, .table = host_of(t, place->entries),
            .rows = host_of(t, place->host_slots), .acc = t->execs[i].acc[1],
            .slots = (int32_t *)(void *)(t->arena + t->plan->buffers[place->slots].offset),
            .entries = t->g->nodes[n->in[1]].shape[0], .cols = n->cols,
        };
        t->execs[i].slots = t->compacts[t->compact_count - 1].slots;
    }
    acr__compact_clear(t);
    return ACR_OK;
}

void acr__compact_clear(acr_trainer *t)
{
    for (int i = 0; i < t->compact_count; i++) {
        acr__compact *c = &t->compacts[i];
        c->used = 0;
        memset(c->table, 0xff, (size_t)c->entries * sizeof *c->table); /* -1 */
    }
}

acr_status acr__compact_fits(const acr_trainer *t, const int64_t *rows, acr_status status)
{
    for (int i = 0; i < t->compact_count; i++) {
        acr_domain d = t->compacts[i].domain;
        int64_t would = t->window_rows[d] + rows[d], most = t->plan->opts.max_window_rows;
        FAIL_IF(would > most, t->ctx, status,
                "the window would have %lld rows, and the plan's max_window_rows is %lld; plan it with as many or more",
                (long long)would, (long long)most);
    }
    return ACR_OK;
}

void acr__compact_assign(acr_trainer *t)
{
    for (int i = 0; i < t->compact_count; i++) {
        acr__compact *c = &t->compacts[i];
        const int32_t *id = t->slot_data[c->input];
        int64_t rows = t->run.rows[c->domain], bytes = c->cols * (int64_t)t->run.es;
        for (int64_t r = 0; r < rows; r++) {
            int32_t *slot = &c->table[id[r]];
            if (*slot < 0) {
                *slot = c->used++;
                t->run.k->clear(c->acc + *slot * bytes, (size_t)bytes);
            }
            c->rows[r] = *slot;
        }
        t->run.k->put(c->slots, c->rows, (size_t)rows * sizeof *c->rows);
    }
}

char *acr__compact_row(const acr_trainer *t, const acr__compact *c, int64_t entry)
{
    int32_t slot = c->table[entry];
    return slot < 0 ? NULL : c->acc + slot * c->cols * (int64_t)t->run.es;
}

/* ---- at the close ---- */

/* For each run of elements of [first, first + n) that lies in one entry's row: `i` of
 * them before it, `left` in it. */
#define EACH_ROW(p, first, n, i, left) \
    for (int64_t i = 0, left; (left = acr__min((n) - i, (p)->cols - ((first) + i) % (p)->cols)) > 0; i += left)

/* Element e of the parameter in use u, if that is compact and its entry occurred. */
static char *element(const acr_trainer *t, const acr__trained *p, int u, int64_t e)
{
    char *row = acr__compact_row(t, p->use[u].compact, e / p->cols);
    return row ? row + e % p->cols * (int64_t)t->run.es : NULL;
}

/* The first of uses [0, to), all compact, in which it occurred. */
static char *first_of(const acr_trainer *t, const acr__trained *p, int to, int64_t e, int *u)
{
    char *at = NULL;
    for (*u = 0; *u < to && !(at = element(t, p, *u, e)); ++*u)
        continue;
    return at;
}

/* The sum of uses [0, to), all compact, in order: in the first row there is. A sum
 * that starts at +0 and only adds is never -0, so an absent row may be left out. */
static char *join_compact(const acr_trainer *t, const acr__trained *p, int to, int64_t e, int64_t n)
{
    int u;
    char *sum = first_of(t, p, to, e, &u);
    for (u++; u < to; u++) {
        const char *own = element(t, p, u, e);
        if (own)
            t->run.k->join(n, own, sum);
    }
    return sum;
}

/* Two terms make one sum in either order, so what stands before `home` is added to
 * it. There and behind it absent rows are added as the +0 they stand for: a chain of
 * products can be -0. */
char *acr__compact_join(const acr_trainer *t, const acr__trained *p, int64_t first, int64_t n, const char *zeros,
                        char *leaf)
{
    int64_t es = (int64_t)t->run.es;
    char *all = p->home < 0 ? leaf : p->use[p->home].acc + first * es;
    EACH_ROW(p, first, n, i, left)
    {
        const char *before = join_compact(t, p, p->home < 0 ? p->uses : p->home, first + i, left), *own;
        char *sum = all + i * es;
        if (p->home < 0)
            t->run.k->copy(1, left, before ? before : zeros, 0, sum, 0, false);
        else if (p->home > 0)
            t->run.k->join(left, before ? before : zeros, sum);
        for (int u = p->home + 1; p->home >= 0 && u < p->uses; u++) {
            own = p->use[u].compact ? element(t, p, u, first + i) : p->use[u].acc + (first + i) * es;
            t->run.k->join(left, own ? own : zeros, sum);
        }
    }
    return all;
}

void acr__compact_keep(const acr_trainer *t, const acr__trained *p, int64_t first, int64_t n, const char *leaf)
{
    EACH_ROW(p, first, n, i, left)
    {
        int u;
        char *to = first_of(t, p, p->uses, first + i, &u);
        if (to)
            t->run.k->copy(1, left, leaf + i * (int64_t)t->run.es, 0, to, 0, false);
    }
}

void acr__compact_gather(const acr_trainer *t, const acr__trained *p, int64_t first, int64_t n, const char *absent,
                         char *leaf)
{
    EACH_ROW(p, first, n, i, left)
    {
        int u;
        const char *from = first_of(t, p, p->uses, first + i, &u);
        t->run.k->copy(1, left, from ? from : absent, 0, leaf + i * (int64_t)t->run.es, 0, false);
    }
}
