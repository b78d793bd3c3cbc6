/* kernel.h: the table of kernels: everything that touches numbers by the row.
 *
 * There is one const table per instruction set, chosen per context. Each table
 * gives the same bytes for the same call (docs/numerics.md); the plain-C one
 * (ref.c) is the definition. Each kernel is single-threaded: who calls it
 * splits rows, columns or leaves among threads, which never splits a chain.
 *
 * Conventions.
 *  - Data is `real`: float in every table but ACR_REF64, where it is double
 *    (gradient checks, `accrue verify`). Hence void pointers; strides (ld, row
 *    strides) count elements, never bytes.
 *  - A matrix is (pointer, ld): row r begins at p + r*ld. No alignment is
 *    assumed and none changes the bits.
 *  - `add` false: the output is overwritten, whatever it held (NaN too).
 *    `add` true: the plain result is added to what is there by one add, or
 *    where said by one fma.
 *  - In place: an output may be the very input where "in place" is said.
 *  - MXCSR/FPCR are at IEEE defaults on entry (the pool sees to it):
 *    denormals kept, round to nearest even. */
#ifndef ACR_KERNEL_H
#define ACR_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- rules 1 and 2: products ------------------------------------------------ */
enum acr_start {
    ACR_START_ZERO, /* each chain starts from +0 */
    ACR_START_C,    /* from what C holds */
    ACR_START_ROW,  /* C[i][j] starts from row[j] (a bias) */
};
enum { ACR_BLOCK = 32 }; /* depths of a block of rule 2 */

/* gemm: C[i][j] = fma chain over p = 0 .. k-1 of A[i][p] * B[p][j], in that order,
 * from the start chosen. Of each stride pair one member is 1. k may be 0.
 *
 * gemm_bf16: the chain is over blocks of 32 depths, C = C + (e + o), where e and
 * o are chains from +0 over the block's even and odd places of operands rounded
 * to bf16; a block that has fewer depths is filled with +0 in both operands
 * (rule 2; mma32.h). A block ends after 32 depths, at k, and at each cut. C, row
 * and what the chain starts from stay real. k = 0 leaves the start as it is. */
typedef struct acr_gemm {
    int64_t m, n, k;
    const void *a;
    int64_t a_row, a_col; /* A[i][p] = a[i*a_row + p*a_col] */
    const void *b;
    int64_t b_row, b_col; /* B[p][j] = b[p*b_row + j*b_col] */
    const void *packed;   /* B as pack_b lays it out, or NULL; b is then unused */
    void *c;
    int64_t c_row;
    enum acr_start start;
    const void *row; /* ACR_START_ROW */
    bool finite;     /* B is known to hold neither infinity nor NaN: gemm may leave out what A's zeros add */
    void *scratch;   /* gemm_scratch bytes, 64-byte aligned, this thread's own */

    /* gemm_bf16 alone */
    bool a_bf16, b_bf16;  /* the operand holds what round_bf16 wrote, not reals */
    const int32_t *cuts;  /* in the host's memory, ascending; depth p is place cut_first + p. NULL where packed */
    int64_t cut_count, cut_first;
} acr_gemm;

/* Where the block of gemm_bf16 that begins at depth p ends. *cut is 0 for the
 * first block, and remembers for the next. */
static inline int64_t acr__block_end(const acr_gemm *g, int64_t p, int64_t *cut)
{
    int64_t end = p + ACR_BLOCK < g->k ? p + ACR_BLOCK : g->k;
    while (*cut < g->cut_count && g->cuts[*cut] - g->cut_first <= p)
        ++*cut;
    return *cut < g->cut_count && g->cuts[*cut] - g->cut_first < end ? g->cuts[*cut] - g->cut_first : end;
}

/* -- elementwise ---------------------------------------------------------- */
enum acr_unary { ACR_RELU, ACR_LEAKY_RELU, ACR_GELU, ACR_GELU_TANH, ACR_SILU, ACR_TANH, ACR_SIGMOID };

/* -- losses: see loss() --------------------------------------------------- */
enum acr_loss_kind { ACR_MSE, ACR_MAE, ACR_HUBER, ACR_CROSS_ENTROPY, ACR_BCE };
typedef struct acr_loss_args {
    enum acr_loss_kind kind;
    int64_t rows, cols;
    const void *pred;      /* [rows, ld_pred]: outputs or logits */
    int64_t ld_pred;
    const void *target;    /* real [rows, ld_target]; cross_entropy: int32 [rows], or real probabilities if soft */
    int64_t ld_target;
    bool soft;             /* cross_entropy against probabilities [rows, ld_target] */
    const void *weight;    /* real [rows], stride 1, or NULL for 1 */
    double weight_scale;   /* each weight is multiplied by it (1 unless a mean of micro-batches is asked for) */
    const void *class_weight; /* real [cols] or NULL */
    float label_smoothing; /* cross_entropy */
    int32_t ignore_index;  /* cross_entropy: a row with this label has weight 0 */
    float delta;           /* huber */
    void *dpred;           /* [rows, ld_dpred]: w * dl/dpred, or NULL (evaluation). May be pred (in place) */
    int64_t ld_dpred;
    double *row_loss;      /* [rows]: w*l */
    double *row_weight;    /* [rows]: w, class weight included */
    double *row_correct;   /* [rows] or NULL: cross_entropy: w if the first largest logit is the label, else 0;
                              bce: w * share of outputs on the right side of 0; others: untouched */
} acr_loss_args;

/* -- rule 9: attention of one key head: see attention() --------------------- */
struct acr_kernels;
typedef struct acr_attention_args {
    const struct acr_kernels *bf16; /* NULL: products by rule 1; else by rule 2: the caller's own table */
    int64_t rows;        /* queries: the places [past, past + rows) of one sample */
    int64_t past;        /* keys before them: k and v have past + rows rows, the sample's first one first */
    int64_t dim;         /* elements of a head */
    int64_t group;       /* query heads that read this key head */
    const void *q;       /* [rows, ldq]: query head g of the group at q + g*dim */
    const void *k, *v;   /* [past + rows, ld_key], [.., ld_value] */
    int64_t ldq, ld_key, ld_value;
    const int32_t *position; /* [rows]: the row at place p sees the places p - position .. p */
    float scale;
    void *out;           /* forward: [rows, ld_out], head g at out + g*dim */
    int64_t ld_out;
    void *stats;         /* [rows, ld_stats]: (m, l) of head g at stats + 2*g; forward may have NULL */
    int64_t ld_stats;

    uint32_t threshold;  /* dropout of P: 0: none. Element heads*p*(p+1)/2 + h*(p+1) + j of the sample is kept iff */
    float kept_scale;    /*   philox(..)[..] >= threshold, as in dropout(); p: the query's place, h: its head, */
    int64_t heads, head; /*   j: the key's place; heads: of the sample, head: the group's first */
    uint64_t seed;
    uint32_t window, op, place;

    const void *dout;    /* backward: [rows, ld_dout], head g at dout + g*dim */
    void *dq, *dk, *dv;  /* laid out as q, k and v; NULL: not wanted */
    int64_t ld_dout, ld_dq, ld_dk, ld_dv;
    bool add_q, add_k, add_v;
    void *scratch;       /* attention_scratch bytes, 64-byte aligned, this thread's own */
} acr_attention_args;

/* -- optimizers: all scalars already rounded to float by the caller --------- */
typedef struct acr_sgd_args { float lr, momentum, dampening_1m, weight_decay, clip; bool nesterov, first; } acr_sgd_args;
typedef struct acr_adam_args {
    float lr_bc1;      /* lr / (1 - beta1^t) */
    float decay;       /* adamw: 1 - lr*weight_decay; 1 if none */
    float l2;          /* adam: coupled weight_decay; 0 if none */
    float beta1_1m;    /* 1 - beta1 */
    float beta2, beta2_1m;
    float sqrt_bc2;    /* sqrt(1 - beta2^t) */
    float epsilon, clip;
} acr_adam_args;

typedef struct acr_kernels {
    const char *name; /* "scalar", "avx2", ... */
    int lanes;        /* vector width in elements */
    int panel;        /* columns in a packed panel of B (NR) */
    size_t real_bytes;
    size_t gemm_scratch;

    /* What nodes hold is touched by kernels and by these three alone. host: it is
     * plain memory, so that a source may write rows straight into it. */
    bool host;
    void (*put)(void *node, const void *from, size_t bytes);
    void (*fetch)(void *to, const void *node, size_t bytes);
    void (*clear)(void *node, size_t bytes);

    /* pack_b: columns [0,n) of B into ceil(n/panel) panels, one after another,
     * panel q at out + q*panel*k, laid out [k][panel]; columns past n are +0
     * (they are other elements and are never stored). Deep k is not padded.
     * A sub-range of columns that begins at a multiple of `panel` may be packed
     * or multiplied alone. */
    void (*gemm)(const acr_gemm *g);
    void (*pack_b)(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, void *out);

    /* -- rule 2. gemm_bf16_scratch, pack_b_bf16 and packed panels serve it as
     * their namesakes serve gemm, with the same `panel`. A packed panel holds k
     * rounded up to whole blocks, filled with +0; panel q is at
     * out + packed_bf16(q*panel, k), and how it is laid out is the table's affair:
     *
     *   scalar, avx2, avx512, neon, amx   [block][16][panel] words of 32 bits, word w
     *                     of a block: depth 2w in the low half, 2w+1 in the high half
     *   avx512_bf16       the same size, word w: depth 4*(w%8) + w/8 in the high half,
     *                     the depth two after it in the low half
     *   neon              before each panel 64 bytes, the first four of which are
     *                     the smallest exponent field of its numbers but 0
     *   ref64             pack_b's: the reference does not round
     *
     * round_bf16: n reals become operands, bf16_bytes each: nearest even,
     * exponent field 0 -> +-0 (base/bf16.h). In the reference a copy. */
    size_t gemm_bf16_scratch, bf16_bytes;
    void (*gemm_bf16)(const acr_gemm *g);
    void (*pack_b_bf16)(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, bool b_bf16, void *out);
    size_t (*packed_bf16)(int64_t n, int64_t k); /* bytes of n columns, whole panels */
    void (*round_bf16)(int64_t n, const void *x, void *out);

    /* y = f(x), in place. param: leaky_relu's slope. */
    void (*unary)(enum acr_unary f, float param, int64_t rows, int64_t cols, const void *x, int64_t ldx, void *y, int64_t ldy);
    /* dx (+)= dy * f'(saved). saved is y for relu, leaky_relu, tanh, sigmoid and
     * x for gelu, gelu_tanh, silu. dx may be dy. relu: y <= 0 ? +0 : dy. */
    void (*unary_back)(enum acr_unary f, float param, int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *saved, int64_t lds, void *dx, int64_t lddx, bool add);
    /* dst (+)= src: add, concat, reshape and their backwards */
    void (*copy)(int64_t rows, int64_t cols, const void *src, int64_t lds, void *dst, int64_t ldd, bool add);
    /* y = a + b ; y (+)= a * b (add: y = fma(a, b, y)); in place */
    void (*add)(int64_t rows, int64_t cols, const void *a, int64_t lda, const void *b, int64_t ldb, void *y, int64_t ldy);
    void (*mul)(int64_t rows, int64_t cols, const void *a, int64_t lda, const void *b, int64_t ldb, void *y, int64_t ldy, bool add);
    /* whether all n are finite */
    bool (*finite)(int64_t n, const void *x);
    /* y[r][j] = x[r][j] + row[j]; in place */
    void (*add_row)(int64_t rows, int64_t cols, const void *x, int64_t ldx, const void *row, void *y, int64_t ldy);
    /* One row of dropout: element e = element0 + j is kept iff
     * philox(seed, window, op, place, e/4)[e%4] >= threshold, then
     * y (+)= x * scale, else +0 (add: unchanged). In place. */
    void (*dropout)(int64_t cols, const void *x, void *y, bool add, uint32_t threshold, float scale, uint64_t seed, uint32_t window, uint32_t op, uint32_t place, int64_t element0);

    /* -- rule 3: row sums ---- mean = sum(x)/cols; var = sum((x-mean)^2)/cols;
     * rstd = 1/sqrt(var + eps). stats [rows][2] = mean, rstd (rms_norm: 0, rstd
     * with sum(x^2)). gamma, beta may be NULL. y = fma(xhat, gamma, beta). */
    void (*norm)(bool rms, int64_t rows, int64_t cols, const void *x, int64_t ldx, const void *gamma, const void *beta, float eps, void *y, int64_t ldy, void *stats);
    void (*norm_back)(bool rms, int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *x, int64_t ldx, const void *stats, const void *gamma, void *dx, int64_t lddx, bool add);
    /* rule 4: dgamma = fma(dy, xhat, dgamma), dbeta += dy, rows in order; either may be NULL */
    void (*norm_back_param)(bool rms, int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *x, int64_t ldx, const void *stats, void *dgamma, void *dbeta);
    void (*softmax)(int64_t rows, int64_t cols, const void *x, int64_t ldx, void *y, int64_t ldy);
    void (*softmax_back)(int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *y, int64_t ldy, void *dx, int64_t lddx, bool add);
    void (*loss)(const acr_loss_args *a);

    /* y = silu(gate) * up, in place; back, t = dy*up: dgate (+)= t * silu'(gate), dup (+)=
     * dy * silu(gate); either may be NULL, and dgate may be dy. */
    void (*silu_mul)(int64_t rows, int64_t cols, const void *gate, int64_t ldg, const void *up, int64_t ldu, void *y, int64_t ldy);
    void (*silu_mul_back)(int64_t rows, int64_t cols, const void *dy, int64_t lddy, const void *gate, int64_t ldg, const void *up, int64_t ldu, void *dgate, int64_t lddg, bool add_gate, void *dup, int64_t lddu, bool add_up);
    /* Rotary positions: row r of each of `heads` heads of `dim` turns by the angles
     * of table row position[r]: dim/2 cosines, then dim/2 sines. With c and s of
     * pair i, a = x[i] and b = x[i + dim/2]:
     *     y[i] = fma(a, c, -(b*s)), y[i + dim/2] = fma(b, c, a*s)
     * back: by -s, which turns a gradient back. In place. */
    void (*rope)(bool back, int64_t rows, int64_t heads, int64_t dim, const void *x, int64_t ldx, const int32_t *position, const void *table, void *y, int64_t ldy, bool add);

    /* Rule 9. For the query at place p, keys j from p - position to p, ascending:
     *     s[j] = scale * (chain over the features, from +0, of q*k[j])
     *     m    = the largest s;  e[j] = exp(s[j] - m)
     *     l    = rule 3's sum of e, key j in chain j mod 16;  P[j] = e[j] / l
     *     out  = chain over j, from +0, of dropout(P[j]) * v[j]
     * No other key is touched for this query: absent, not multiplied by 0.
     * bf16: a chain over features is rule 2's product of the two rows. A chain over
     * keys is rule 2's with key j at place j mod 32 of block j/32; a key that is not
     * seen, or not there, is +0 in both operands, and a block of such keys alone is
     * not executed. The operand of v is dropout(P) rounded, in forward and back.
     * back, from the stats that forward left:
     *     dP[j] = dropout(chain over the features, from +0, of dout*v[j])
     *     D     = rule 3's sum, by fma, of P[j]*dP[j], key j in chain j mod 16
     *     dS[j] = (P[j] * (dP[j] - D)) * scale
     *     dq (+)= chain over j, from +0, of dS[j] * k[j]
     *     dk[j] (+)= chain from +0 over the group's heads, in each over the queries
     *                that see j, ascending, of dS * q;  dv[j]: of dropout(P) * dout
     * bf16: over blocks of queries as above: the query at place p is place p mod 32
     * of block p/32 of its head, +0 in both operands where it does not see j. P, D
     * and dS are not rounded before they are operands.
     * back takes all of a sample's queries (past is 0) and writes every row of dk
     * and dv. Which queries go together into one forward shows in no bit. */
    void (*attention)(const acr_attention_args *a);
    void (*attention_back)(const acr_attention_args *a);
    size_t (*attention_scratch)(const struct acr_kernels *bf16, int64_t keys, int64_t dim, bool back);

    /* -- rule 4: column sums, rows in order ---- acc[j] += dy[r][j] */
    void (*column_sum)(int64_t rows, int64_t cols, const void *dy, int64_t lddy, void *acc);
    /* y[r] = table[id[r]];   acc[id[r]] += dy[r], rows in order. ids are in range. */
    void (*gather)(int64_t rows, int64_t cols, const int32_t *id, const void *table, int64_t ldt, void *y, int64_t ldy);
    void (*scatter_add)(int64_t rows, int64_t cols, const int32_t *id, const void *dy, int64_t lddy, void *acc, int64_t lda);

    /* -- the close of a window ---- */
    /* g = (real)((double)acc / W), in place allowed; returns rule 3's sum of g^2
     * in fp64 over n <= 4096 elements (one leaf of rule 5). */
    double (*close_leaf)(int64_t n, const void *acc, double W, void *g);
    /* dst += src, plain adds (rule 4b; the second accumulator of rule 1) */
    void (*join)(int64_t n, const void *src, void *dst);
    void (*sgd)(const acr_sgd_args *a, int64_t n, void *p, const void *g, void *momentum_buffer);
    void (*adam)(const acr_adam_args *a, int64_t n, void *p, const void *g, void *m, void *v);

    /* acr__init_normals (base/philox.h), floats in every table */
    void (*init_normals)(uint64_t seed, uint32_t name_hash, uint64_t first, int64_t n, float *out);
} acr_kernels;

/* Every table this build holds, best last; which of them this processor runs
 * is kernel_select's business. */
extern const acr_kernels acr__kernels_scalar, acr__kernels_ref64;
#if defined(__x86_64__)
extern const acr_kernels acr__kernels_avx2, acr__kernels_avx512, acr__kernels_avx512_bf16, acr__kernels_amx;
#elif defined(__aarch64__)
extern const acr_kernels acr__kernels_neon;
#endif

/* The i-th path this machine can run, "scalar" first; NULL past the last. */
const acr_kernels *acr__kernels_runnable(int i);
/* By name; NULL and *exists=false if this build has no such path, NULL and
 * *exists=true if the processor lacks it. */
const acr_kernels *acr__kernels_find(const char *name, bool *exists);

#endif
