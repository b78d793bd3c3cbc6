/* ref_attention.c: attention, rotary positions and the gated silu, as kernel.h
 * defines them: one query at a time, its keys one after another or, by rule 2, in
 * blocks of 32 places.
 *
 * Invariant: a key outside p - position .. p is never read for the query at place
 * p, so neither a NaN nor a zero of its own can reach it. */
#include "base/base.h"
#include "base/bf16.h"
#include "kernel/mma32.h"
#include "kernel/ref_rows.h"

void ACR_REF(silu_mul)(int64_t rows, int64_t cols, const void *vgate, int64_t ldg, const void *vup, int64_t ldu,
                       void *vy, int64_t ldy)
{
    const real *gate = vgate, *up = vup;
    real *y = vy;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++)
            y[r * ldy + j] = r_unary(ACR_SILU, 0, gate[r * ldg + j]) * up[r * ldu + j];
}

void ACR_REF(silu_mul_back)(int64_t rows, int64_t cols, const void *vdy, int64_t lddy, const void *vgate, int64_t ldg,
                            const void *vup, int64_t ldu, void *vdgate, int64_t lddg, bool add_gate, void *vdup,
                            int64_t lddu, bool add_up)
{
    for (int64_t r = 0; r < rows; r++) {
        const real *dy = (const real *)vdy + r * lddy, *gate = (const real *)vgate + r * ldg;
        const real *up = (const real *)vup + r * ldu;
        real *dgate = (real *)vdgate + (vdgate ? r * lddg : 0), *dup = (real *)vdup + (vdup ? r * lddu : 0);
        for (int64_t j = 0; j < cols; j++) {
            real d = dy[j], g = r_unary_back(ACR_SILU, 0, d * up[j], gate[j]);
            real u = d * r_unary(ACR_SILU, 0, gate[j]);
            if (vdgate)
                dgate[j] = add_gate ? dgate[j] + g : g;
            if (vdup)
                dup[j] = add_up ? dup[j] + u : u;
        }
    }
}

void ACR_REF(rope)(bool back, int64_t rows, int64_t heads, int64_t dim, const void *vx, int64_t ldx,
                   const int32_t *position, const void *vtable, void *vy, int64_t ldy, bool add)
{
    int64_t half = dim / 2;
    for (int64_t r = 0; r < rows; r++) {
        const real *cosine = (const real *)vtable + position[r] * dim, *sine = cosine + half;
        for (int64_t h = 0; h < heads; h++) {
            const real *x = (const real *)vx + r * ldx + h * dim;
            real *y = (real *)vy + r * ldy + h * dim;
            for (int64_t i = 0; i < half; i++) {
                real a = x[i], b = x[i + half], s = back ? -sine[i] : sine[i];
                real first = r_fma(a, cosine[i], -(b * s)), second = r_fma(b, cosine[i], a * s);
                y[i] = add ? y[i] + first : first;
                y[i + half] = add ? y[i + half] + second : second;
            }
        }
    }
}

/* Scratch: weights and their gradients of a block of queries, dq of one query, and
 * dk and dv of one key head. */
size_t ACR_REF(attention_scratch)(const acr_kernels *bf16, int64_t keys, int64_t dim, bool back)
{
    (void)bf16; /* operands are rounded where they are read */
    return (size_t)(back ? 2 * ACR_BLOCK * keys + dim + 2 * keys * dim : keys) * sizeof(real);
}

/* -- rule 2 -------------------------------------------------------------------- */
#ifdef ACR_REAL64

/* The reference's products are rule 1's whatever is asked for: nothing is rounded. */
static inline bool in_blocks(const acr_attention_args *a) { return (void)a, false; }
static inline real operand(real x) { return x; }
static inline real step(real x, real y, real c) { return r_fma(x, y, c); }
static inline real plus(real x, real y) { return x + y; }

#else

static inline bool in_blocks(const acr_attention_args *a) { return a->bf16 != NULL; }
static inline real operand(real x) { return acr__bf16_to_float(acr__bf16_operand(x)); }
static FLATTEN real step(real x, real y, real c) { return acr__mma32_fma(x, y, c); }
static FLATTEN real plus(real x, real y) { return acr__mma32_add(x, y); }

#endif

/* c, and one block of operands onto it. */
static FLATTEN real block(const real *x, const real *y, real c)
{
    real e = 0, o = 0;
    for (int i = 0; i < ACR_BLOCK; i += 2) {
        e = step(x[i], y[i], e);
        o = step(x[i + 1], y[i + 1], o);
    }
    return plus(c, plus(e, o));
}

/* Operand i of a block is x[i*ld] where bit i of `seen` is set, and +0 elsewhere. */
static FLATTEN void operands(uint32_t seen, const real *x, int64_t ld, real *out)
{
    for (int64_t i = 0; i < ACR_BLOCK; i++)
        out[i] = seen >> i & 1 ? operand(x[i * ld]) : 0;
}

/* out[c] = block of x and column c of y onto out[c]. */
static FLATTEN void columns(uint32_t seen, const real *x, int64_t ldx, const real *y, int64_t ldy, int64_t cols, real *out)
{
    real left[ACR_BLOCK], right[ACR_BLOCK];
    operands(seen, x, ldx, left);
    for (int64_t c = 0; c < cols; c++) {
        operands(seen, y + c, ldy, right);
        out[c] = block(left, right, out[c]);
    }
}

/* Bits for the places of [first, last] in the block that begins at `at`. */
static inline uint32_t places(int64_t first, int64_t last, int64_t at)
{
    uint32_t bits = 0;
    for (int i = 0; i < ACR_BLOCK; i++)
        bits |= (uint32_t)(at + i >= first && at + i <= last) << i;
    return bits;
}

/* -- both rules ---------------------------------------------------------------- */
/* One query of one head of the group. */
typedef struct query {
    int64_t row, head, first, last; /* sees keys first .. last; last is its own place */
    const real *q;
} query;

static FLATTEN query query_of(const acr_attention_args *a, int64_t row, int64_t head)
{
    int64_t place = a->past + row;
    return (query){row, head, place - a->position[row], place, (const real *)a->q + row * a->ldq + head * a->dim};
}

/* The chain over the features. */
static FLATTEN real dot(const acr_attention_args *a, const real *x, const real *y)
{
    real acc = 0, left[ACR_BLOCK], right[ACR_BLOCK];
    for (int64_t c = 0; c < a->dim && !in_blocks(a); c++)
        acc = r_fma(x[c], y[c], acc);
    for (int64_t c = 0; c < a->dim && in_blocks(a); c += ACR_BLOCK) {
        uint32_t there = places(0, a->dim - 1, c);
        operands(there, x + c, 1, left);
        operands(there, y + c, 1, right);
        acc = block(left, right, acc);
    }
    return acc;
}

/* out = the chain over the keys that o sees of x[key] * y[key]. */
static FLATTEN void weighted(const acr_attention_args *a, const query *o, const real *x, const real *y, int64_t ldy,
                             real *out)
{
    for (int64_t c = 0; c < a->dim; c++)
        out[c] = 0;
    for (int64_t j = o->first; j <= o->last && !in_blocks(a); j++)
        for (int64_t c = 0; c < a->dim; c++)
            out[c] = r_fma(x[j], y[j * ldy + c], out[c]);
    for (int64_t j = o->first / ACR_BLOCK * ACR_BLOCK; j <= o->last && in_blocks(a); j += ACR_BLOCK)
        columns(places(o->first, o->last, j), x + j, 1, y + j * ldy, ldy, a->dim, out);
}

/* acc[key] = the chain from acc[key] over the queries [row, row + rows) of a block that
 * see the key of x[query][key] * y[query]. x has rows of all keys. */
static FLATTEN void collect(const acr_attention_args *a, int64_t row, int64_t rows, const real *x, const real *y,
                            int64_t ldy, real *acc)
{
    int64_t keys = a->past + a->rows;
    for (int64_t r = 0; r < rows && !in_blocks(a); r++) {
        query o = query_of(a, row + r, 0);
        for (int64_t j = o.first; j <= o.last; j++)
            for (int64_t c = 0; c < a->dim; c++)
                acc[j * a->dim + c] = r_fma(x[r * keys + j], y[r * ldy + c], acc[j * a->dim + c]);
    }
    for (int64_t j = 0; j < keys && in_blocks(a); j++) {
        uint32_t seen = 0;
        for (int64_t r = 0; r < rows; r++) {
            query o = query_of(a, row + r, 0);
            seen |= (uint32_t)(j >= o.first && j <= o.last) << r;
        }
        if (seen)
            columns(seen, x + j, keys, y, ldy, a->dim, acc + j * a->dim);
    }
}

static FLATTEN void scores(const acr_attention_args *a, const query *o, real *s)
{
    for (int64_t j = o->first; j <= o->last; j++)
        s[j] = dot(a, o->q, (const real *)a->k + j * a->ld_key) * (real)a->scale;
}

static FLATTEN real largest(const query *o, const real *s)
{
    real c[16];
    for (int i = 0; i < 16; i++)
        c[i] = -INFINITY;
    for (int64_t j = o->first; j <= o->last; j++)
        c[j & 15] = s[j] > c[j & 15] ? s[j] : c[j & 15];
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            c[i] = c[i + step] > c[i] ? c[i + step] : c[i];
    return c[0];
}

/* In place: what dropout leaves of this query's row. */
static FLATTEN void drop(const acr_attention_args *a, const query *o, real *x)
{
    int64_t head = a->head + o->head, seen = o->last + 1;
    if (a->threshold)
        ACR_REF(dropout)(seen - o->first, x + o->first, x + o->first, false, a->threshold, a->kept_scale, a->seed,
                         a->window, a->op, a->place, a->heads * (o->last * seen / 2) + head * seen + o->first);
}

static FLATTEN void attend(const acr_attention_args *a, const query *o, real *p)
{
    real *out = (real *)a->out + o->row * a->ld_out + o->head * a->dim, sum[16] = {0};
    scores(a, o, p);
    real max = largest(o, p);
    for (int64_t j = o->first; j <= o->last; j++) {
        p[j] = r_exp(p[j] - max);
        sum[j & 15] += p[j];
    }
    real total = r_tree(sum);
    for (int64_t j = o->first; j <= o->last; j++)
        p[j] = p[j] / total;
    drop(a, o, p);
    weighted(a, o, p, a->v, a->ld_value, out);
    if (a->stats) {
        real *stats = (real *)a->stats + o->row * a->ld_stats + 2 * o->head;
        stats[0] = max;
        stats[1] = total;
    }
}

static FLATTEN void forward(const acr_attention_args *a)
{
    for (int64_t h = 0; h < a->group; h++)
        for (int64_t r = 0; r < a->rows; r++) {
            query o = query_of(a, r, h);
            attend(a, &o, a->scratch);
        }
}

/* The weights p and the scores' gradients ds of a query; p is left as dropout leaves it. */
static FLATTEN void back_scores(const acr_attention_args *a, const query *o, const real *dout, real *p, real *ds)
{
    const real *stats = (const real *)a->stats + o->row * a->ld_stats + 2 * o->head;
    real sum[16] = {0};
    scores(a, o, p);
    for (int64_t j = o->first; j <= o->last; j++) {
        p[j] = r_exp(p[j] - stats[0]) / stats[1];
        ds[j] = dot(a, dout, (const real *)a->v + j * a->ld_value);
    }
    drop(a, o, ds);
    for (int64_t j = o->first; j <= o->last; j++)
        sum[j & 15] = r_fma(p[j], ds[j], sum[j & 15]);
    real total = r_tree(sum);
    for (int64_t j = o->first; j <= o->last; j++)
        ds[j] = p[j] * (ds[j] - total) * (real)a->scale;
    drop(a, o, p);
}

static FLATTEN void put(int64_t rows, int64_t cols, const real *src, real *dst, int64_t ld, bool add)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            dst[r * ld + c] = add ? dst[r * ld + c] + src[r * cols + c] : src[r * cols + c];
}

/* Queries [row, row + rows) of a head of the group: those of a block. */
static FLATTEN void back_block(const acr_attention_args *a, int64_t head, int64_t row, int64_t rows, real *dk, real *dv)
{
    int64_t keys = a->past + a->rows, dim = a->dim;
    real *p = a->scratch, *ds = p + ACR_BLOCK * keys, *dq = ds + ACR_BLOCK * keys;
    const real *q = (const real *)a->q + row * a->ldq + head * dim;
    const real *dout = (const real *)a->dout + row * a->ld_dout + head * dim;
    for (int64_t r = 0; r < rows; r++) {
        query o = query_of(a, row + r, head);
        back_scores(a, &o, dout + r * a->ld_dout, p + r * keys, ds + r * keys);
        if (!a->dq)
            continue;
        weighted(a, &o, ds + r * keys, a->k, a->ld_key, dq);
        put(1, dim, dq, (real *)a->dq + o.row * a->ld_dq + head * dim, 0, a->add_q);
    }
    collect(a, row, rows, ds, q, a->ldq, dk);
    collect(a, row, rows, p, dout, a->ld_dout, dv);
}

static FLATTEN void backward(const acr_attention_args *a)
{
    int64_t keys = a->past + a->rows, dim = a->dim;
    real *dk = (real *)a->scratch + 2 * ACR_BLOCK * keys + dim, *dv = dk + keys * dim;
    for (int64_t i = 0; i < 2 * keys * dim; i++)
        dk[i] = 0;
    for (int64_t h = 0; h < a->group; h++)
        for (int64_t r = 0; r < a->rows; r += ACR_BLOCK)
            back_block(a, h, r, acr__min(a->rows - r, ACR_BLOCK), dk, dv);
    if (a->dk)
        put(keys, dim, dk, a->dk, a->ld_dk, a->add_k);
    if (a->dv)
        put(keys, dim, dv, a->dv, a->ld_dv, a->add_v);
}

#ifdef ACR_TRY_FMA
__attribute__((target("fma"))) static void forward_fma(const acr_attention_args *a) { forward(a); }
__attribute__((target("fma"))) static void backward_fma(const acr_attention_args *a) { backward(a); }
#endif

void ACR_REF(attention)(const acr_attention_args *a)
{
#ifdef ACR_TRY_FMA
    if (__builtin_cpu_supports("fma")) {
        forward_fma(a);
        return;
    }
#endif
    forward(a);
}

void ACR_REF(attention_back)(const acr_attention_args *a)
{
#ifdef ACR_TRY_FMA
    if (__builtin_cpu_supports("fma")) {
        backward_fma(a);
        return;
    }
#endif
    backward(a);
}
