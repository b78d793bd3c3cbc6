/* ref_attention.c: attention, rotary positions and the gated silu, as kernel.h
 * defines them: one query at a time, its keys one after another.
 *
 * Invariant: a key outside p - position .. p is never read for the query at place
 * p, so neither a NaN nor a zero of its own can reach it. */
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

/* Scratch: weights and their gradients of one query, dq of one query, and dk and
 * dv of one key head. */
size_t ACR_REF(attention_scratch)(int64_t keys, int64_t dim, bool back)
{
    return (size_t)(back ? 2 * keys + dim + 2 * keys * dim : keys) * sizeof(real);
}

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

static FLATTEN real dot(int64_t n, const real *x, const real *y)
{
    real acc = 0;
    for (int64_t c = 0; c < n; c++)
        acc = r_fma(x[c], y[c], acc);
    return acc;
}

static FLATTEN void scores(const acr_attention_args *a, const query *o, real *s)
{
    for (int64_t j = o->first; j <= o->last; j++)
        s[j] = dot(a->dim, o->q, (const real *)a->k + j * a->ld_key) * (real)a->scale;
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
    for (int64_t c = 0; c < a->dim; c++)
        out[c] = 0;
    for (int64_t j = o->first; j <= o->last; j++)
        for (int64_t c = 0; c < a->dim; c++)
            out[c] = r_fma(p[j], ((const real *)a->v)[j * a->ld_value + c], out[c]);
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
        ds[j] = dot(a->dim, dout, (const real *)a->v + j * a->ld_value);
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

static FLATTEN void backward(const acr_attention_args *a)
{
    int64_t keys = a->past + a->rows, dim = a->dim;
    real *p = a->scratch, *ds = p + keys, *dq = ds + keys, *dk = dq + dim, *dv = dk + keys * dim;
    for (int64_t i = 0; i < 2 * keys * dim; i++)
        dk[i] = 0;
    for (int64_t h = 0; h < a->group; h++)
        for (int64_t r = 0; r < a->rows; r++) {
            query o = query_of(a, r, h);
            const real *dout = (const real *)a->dout + r * a->ld_dout + h * dim, *k = a->k;
            back_scores(a, &o, dout, p, ds);
            for (int64_t c = 0; c < dim; c++)
                dq[c] = 0;
            for (int64_t j = o.first; j <= o.last; j++)
                for (int64_t c = 0; c < dim; c++) {
                    dq[c] = r_fma(ds[j], k[j * a->ld_key + c], dq[c]);
                    dk[j * dim + c] = r_fma(ds[j], o.q[c], dk[j * dim + c]);
                    dv[j * dim + c] = r_fma(p[j], dout[c], dv[j * dim + c]);
                }
            if (a->dq)
                put(1, dim, dq, (real *)a->dq + r * a->ld_dq + h * dim, 0, a->add_q);
        }
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
