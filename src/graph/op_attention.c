/* op_attention.c: attention and rotary positions.
 *
 * Threads share attention by (sample, key head): whose keys are read together is
 * computed together, and a key's gradient is one member's. Where those are fewer
 * than would keep all members busy, the forward also cuts a sample's queries into
 * pieces of about equal work. How it is shared never shows in the bits: a query's
 * numbers are its own, and no chain over queries is divided.
 *
 * Nothing here knows how a product is computed: that is the kernel's. */
#include "base/functions.h"
#include "graph/op.h"
#include <math.h>
#include <stdatomic.h>

/* ---- rotary positions ---- */

/* Radians that pair i of a head turns from one position to the next. */
static double frequency(const acr_rope_opts *o, int64_t i)
{
    const double two_pi = 0x1.921fb54442d18p+2;
    double f = 1.0 / acr__pow64(o->theta, (double)(2 * i) / (double)o->dim);
    if (o->scaling == ACR_ROPE_LINEAR)
        return f / o->factor;
    if (o->scaling == ACR_ROPE_DEFAULT)
        return f;
    /* llama3: waves that turn often within the original context stay, slow ones are stretched */
    double turns = (double)o->original_positions / (two_pi / f);
    if (turns > o->high_freq_factor)
        return f;
    if (turns < o->low_freq_factor)
        return f / o->factor;
    double smooth = (turns - o->low_freq_factor) / (o->high_freq_factor - o->low_freq_factor);
    return (1.0 - smooth) * f / o->factor + smooth * f;
}

void acr__rope_row(const acr_rope_opts *o, int64_t position, float *out)
{
    for (int64_t i = 0; i < o->dim / 2; i++) {
        double angle = (double)position * frequency(o, i);
        out[i] = (float)acr__cos64(angle);
        out[i + o->dim / 2] = (float)acr__sin64(angle);
    }
}

static void turn(const acr__run *run, const acr__exec *e, bool back, const acr__slot *from, const acr__slot *to,
                 bool add, int index, int count)
{
    acr__part p = acr__part_rows(run->rows[e->domain], e->node->cols, index, count);
    int64_t dim = e->node->rope.dim;
    run->k->rope(back, p.rows, p.cols / dim, dim, acr__part_at(run, from, e->domain, &p), from->ld,
                 acr__ids_at(run, &e->in[1], e->domain, p.row), e->table, acr__part_at(run, to, e->domain, &p), to->ld,
                 add);
}

void acr__rope_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    turn(run, e, false, &e->in[0], &e->out, false, index, count);
}

void acr__rope_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (e->din[0].p)
        turn(run, e, true, &e->dout, &e->din[0], e->din_add[0], index, count);
}

/* ---- attention ---- */

/* Where part i (0: q, 1: k, 2: v) of a slot array lies: a node of its own, or columns of the first. */
static acr__slot part_of(const acr__run *run, const acr__exec *e, const acr__slot *slots, int i)
{
    const acr__node *n = e->node;
    if (n->inputs > 2)
        return slots[i];
    acr__slot s = slots[0];
    if (s.p && i > 0)
        s.p += (n->heads + (i - 1) * n->kv_heads) * n->dim * (int64_t)run->es;
    return s;
}

static char *at(const acr__run *run, const acr__exec *e, const acr__slot *s, int64_t row, int64_t col)
{
    acr__part p = {row, 1, col, 1};
    return s->p ? acr__part_at(run, s, e->domain, &p) : NULL;
}

/* Queries [first, last) of a sample, places counted within it, with key head `head`. */
typedef struct piece {
    int64_t sample, head, first, last;
} piece;

static int64_t first_row(const acr__run *run, acr_domain d, int64_t sample)
{
    return run->offsets[d] ? run->offsets[d][sample] : sample;
}

static acr_attention_args arguments(const acr__run *run, const acr__exec *e, const piece *w, int index)
{
    const acr__node *n = e->node;
    int64_t group = n->heads / n->kv_heads, base = first_row(run, e->domain, w->sample), row = base + w->first;
    int64_t q_col = w->head * group * n->dim, kv_col = w->head * n->dim;
    acr__slot q = part_of(run, e, e->in, 0), k = part_of(run, e, e->in, 1), v = part_of(run, e, e->in, 2);
    if (run->decoding) {
        k = e->cached[0];
        v = e->cached[1];
    }
    acr_attention_args a = {
        .bf16 = run->bf16 ? run->k : NULL,
        .rows = w->last - w->first, .past = w->first + (run->decoding ? run->past : 0), .dim = n->dim, .group = group,
        .q = at(run, e, &q, row, q_col), .ldq = q.ld,
        .k = at(run, e, &k, base, kv_col), .ld_key = k.ld,
        .v = at(run, e, &v, base, kv_col), .ld_value = v.ld,
        .position = acr__ids_at(run, &e->in[n->inputs - 1], e->domain, row),
        .scale = n->scalar > 0 ? n->scalar : (float)(1.0 / sqrt((double)n->dim)),
        .stats = at(run, e, &e->aux, row, 2 * group * w->head), .ld_stats = e->aux.ld,
        .scratch = run->scratch + (size_t)index * run->scratch_bytes,
    };
    if (run->training && n->dropout > 0) {
        a.threshold = (uint32_t)((double)n->dropout * 4294967296.0);
        a.kept_scale = 1.0f / (1.0f - n->dropout);
        a.heads = n->heads;
        a.head = w->head * group;
        a.seed = run->seed;
        a.window = run->window;
        a.op = n->hash;
        a.place = (uint32_t)(run->place + w->sample);
    }
    return a;
}

enum { PIECES_A_MEMBER = 4, LEAST_ROWS = 64 };

/* How the members share: `pieces` cuts of each (sample, key head), long ones first,
 * taken by who is free; or, where a ticket cannot count them, [next, last) is this
 * member's. */
typedef struct work {
    int64_t pieces, units, next, last;
    _Atomic uint64_t *ticket;
    uint64_t turn;
} work;

static work share(const acr__run *run, const acr__exec *e, enum acr__ticket kind, bool cut, int index, int count)
{
    int64_t whole = run->samples * e->node->kv_heads, rows = run->rows[e->domain] / run->samples;
    int64_t pieces = cut && count > 1 ? (PIECES_A_MEMBER * count + whole - 1) / whole : 1;
    pieces = acr__max(1, acr__min(pieces, rows / LEAST_ROWS));
    work w = {.pieces = pieces, .units = pieces * whole, .turn = run->turn};
    if (count > 1 && w.units < 1 << 23)
        w.ticket = e->tickets + kind;
    else
        acr__share(w.units, 1, index, count, &w.next, &w.last);
    return w;
}

/* Piece i of n of `rows` queries ends here: the triangle below has i/n of the area. */
static int64_t cut_at(int64_t rows, int64_t i, int64_t n)
{
    return i == n ? rows : (int64_t)((double)rows * sqrt((double)i / (double)n));
}

static bool next_piece(const acr__run *run, const acr__exec *e, work *w, piece *out)
{
    int64_t unit = w->ticket ? acr__take(w->ticket, w->turn) : w->next++;
    if (unit >= (w->ticket ? w->units : w->last))
        return false;
    int64_t whole = w->units / w->pieces, i = w->pieces - 1 - unit / whole;
    out->sample = unit % whole / e->node->kv_heads;
    out->head = unit % e->node->kv_heads;
    int64_t rows = first_row(run, e->domain, out->sample + 1) - first_row(run, e->domain, out->sample);
    out->first = cut_at(rows, i, w->pieces);
    out->last = cut_at(rows, i + 1, w->pieces);
    return true;
}

/* The pass's keys and values behind those of the rows before it. */
static void cache(const acr__run *run, const acr__exec *e, int index, int count)
{
    int64_t cols = e->node->kv_heads * e->node->dim, es = (int64_t)run->es;
    acr__part p = acr__part_of(run->rows[e->domain], cols, index, count);
    for (int i = 0; i < 2; i++) {
        acr__slot from = part_of(run, e, e->in, i + 1), to = e->cached[i];
        run->k->copy(p.rows, p.cols, acr__part_at(run, &from, e->domain, &p), from.ld,
                     to.p + ((run->past + p.row) * to.ld + p.col) * es, to.ld, false);
    }
    acr__run_barrier(run, count);
}

void acr__attention_forward(const acr__run *run, const acr__exec *e, int index, int count)
{
    if (run->decoding)
        cache(run, e, index, count);
    work w = share(run, e, ACR_TICKET_FORWARD, true, index, count);
    for (piece p; next_piece(run, e, &w, &p);) {
        acr_attention_args a = arguments(run, e, &p, index);
        a.out = at(run, e, &e->out, first_row(run, e->domain, p.sample) + p.first, p.head * a.group * a.dim);
        a.ld_out = e->out.ld;
        run->k->attention(&a);
    }
}

void acr__attention_backward(const acr__run *run, const acr__exec *e, int index, int count)
{
    acr__slot dq = part_of(run, e, e->din, 0), dk = part_of(run, e, e->din, 1), dv = part_of(run, e, e->din, 2);
    bool one = e->node->inputs == 2;
    work w = share(run, e, ACR_TICKET_BACKWARD, false, index, count);
    for (piece p; next_piece(run, e, &w, &p);) {
        acr_attention_args a = arguments(run, e, &p, index);
        int64_t row = first_row(run, e->domain, p.sample), q_col = p.head * a.group * a.dim, kv_col = p.head * a.dim;
        a.dout = at(run, e, &e->dout, row, q_col);
        a.ld_dout = e->dout.ld;
        a.dq = at(run, e, &dq, row, q_col);
        a.dk = at(run, e, &dk, row, kv_col);
        a.dv = at(run, e, &dv, row, kv_col);
        a.ld_dq = dq.ld;
        a.ld_dk = dk.ld;
        a.ld_dv = dv.ld;
        a.add_q = e->din_add[0];
        a.add_k = e->din_add[one ? 0 : 1];
        a.add_v = e->din_add[one ? 0 : 2];
        run->k->attention_back(&a);
    }
}
