/* ref.c: every kernel in plain C; this file: products, elementwise, dropout,
 * column sums, the close of a window, optimizers, and the table. ref_bf16.c has
 * the products in bf16, ref_rows.c norms and softmax, ref_attention.c attention
 * and rotary positions, ref_loss.c the losses.
 *
 * Invariant: this is the definition. Each output element is one fixed sequence
 * of IEEE operations, named in kernel.h or here, and every other table gives
 * the same bytes. So nothing here is reordered for speed: only what is
 * independent (elements, never parts of one chain) is grouped.
 *
 * Does not check arguments, allocate or thread: the callers do. */
#include "base/philox.h"
#include "kernel/host_memory.h"
#include "kernel/ref_bf16.h"
#include "kernel/ref_rows.h"

enum { PANEL = ACR_REF_PANEL, ROWS = 4, DEPTH = 256 };

/* -- rule 1 --------------------------------------------------------------- */
/* c[i][j] = chain over p of a[i][p] * b[p][j] from what c holds; b is a panel.
 * Columns past `columns` are other elements and are not stored. */
static FLATTEN void tile(int rows, int64_t columns, int64_t k, const real *a, int64_t a_row, int64_t a_col,
                         const real *b, real *c, int64_t c_row)
{
    real acc[ROWS][PANEL] = {{0}};
    for (int i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            acc[i][j] = c[i * c_row + j];
    for (int64_t p = 0; p < k; p++)
        for (int i = 0; i < rows; i++) {
            real x = a[i * a_row + p * a_col];
            for (int j = 0; j < PANEL; j++)
                acc[i][j] = r_fma(x, b[p * PANEL + j], acc[i][j]);
        }
    for (int i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            c[i * c_row + j] = acc[i][j];
}

static void pack_panel(int64_t columns, int64_t k, const real *b, int64_t b_row, int64_t b_col, real *out)
{
    for (int64_t p = 0; p < k; p++)
        for (int64_t j = 0; j < PANEL; j++)
            out[p * PANEL + j] = j < columns ? b[p * b_row + j * b_col] : 0;
}

/* One panel of columns, k in blocks: C is stored and loaded between blocks,
 * which changes nothing in a chain. */
static FLATTEN void panel_product(const acr_gemm *g, int64_t j0)
{
    const real *a = g->a;
    real *c = (real *)g->c + j0;
    int64_t columns = g->n - j0 < PANEL ? g->n - j0 : PANEL;
    for (int64_t p0 = 0; p0 < g->k; p0 += DEPTH) {
        int64_t depth = g->k - p0 < DEPTH ? g->k - p0 : DEPTH;
        const real *panel = g->scratch;
        if (g->packed)
            panel = (const real *)g->packed + j0 * g->k + p0 * PANEL;
        else
            pack_panel(columns, depth, (const real *)g->b + p0 * g->b_row + j0 * g->b_col, g->b_row, g->b_col,
                       g->scratch);
        int64_t i = 0;
        for (; i + ROWS <= g->m; i += ROWS)
            tile(ROWS, columns, depth, a + i * g->a_row + p0 * g->a_col, g->a_row, g->a_col, panel, c + i * g->c_row,
                 g->c_row);
        for (; i < g->m; i++)
            tile(1, columns, depth, a + i * g->a_row + p0 * g->a_col, g->a_row, g->a_col, panel, c + i * g->c_row,
                 g->c_row);
    }
}

static FLATTEN void product(const acr_gemm *g)
{
    for (int64_t j0 = 0; j0 < g->n; j0 += PANEL)
        panel_product(g, j0);
}

#ifdef ACR_TRY_FMA
__attribute__((target("fma"))) static void product_fma(const acr_gemm *g) { product(g); }
#endif

static void gemm(const acr_gemm *g)
{
    real *c = g->c;
    const real *row = g->row;
    for (int64_t i = 0; g->start != ACR_START_C && i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++)
            c[i * g->c_row + j] = g->start == ACR_START_ROW ? row[j] : 0;
#ifdef ACR_TRY_FMA
    if (__builtin_cpu_supports("fma")) {
        product_fma(g);
        return;
    }
#endif
    product(g);
}

static void pack_b(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, void *out)
{
    for (int64_t j0 = 0; j0 < n; j0 += PANEL)
        pack_panel(n - j0 < PANEL ? n - j0 : PANEL, k, (const real *)b + j0 * b_col, b_row, b_col,
                   (real *)out + j0 * k);
}

/* -- elementwise ---------------------------------------------------------- */
static void unary(enum acr_unary f, float param, int64_t rows, int64_t cols, const void *vx, int64_t ldx, void *vy,
                  int64_t ldy)
{
    const real *x = vx;
    real *y = vy;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++)
            y[r * ldy + j] = r_unary(f, param, x[r * ldx + j]);
}

static void unary_back(enum acr_unary f, float param, int64_t rows, int64_t cols, const void *vdy, int64_t lddy,
                       const void *vs, int64_t lds, void *vdx, int64_t lddx, bool add)
{
    const real *dy = vdy, *s = vs;
    real *dx = vdx;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++) {
            real d = r_unary_back(f, param, dy[r * lddy + j], s[r * lds + j]);
            dx[r * lddx + j] = add ? dx[r * lddx + j] + d : d;
        }
}

static void copy(int64_t rows, int64_t cols, const void *vsrc, int64_t lds, void *vdst, int64_t ldd, bool add)
{
    const real *src = vsrc;
    real *dst = vdst;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++)
            dst[r * ldd + j] = add ? dst[r * ldd + j] + src[r * lds + j] : src[r * lds + j];
}

static void add_matrix(int64_t rows, int64_t cols, const void *va, int64_t lda, const void *vb, int64_t ldb, void *vy,
                       int64_t ldy)
{
    const real *a = va, *b = vb;
    real *y = vy;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++)
            y[r * ldy + j] = a[r * lda + j] + b[r * ldb + j];
}

static void mul_matrix(int64_t rows, int64_t cols, const void *va, int64_t lda, const void *vb, int64_t ldb, void *vy,
                       int64_t ldy, bool add)
{
    const real *a = va, *b = vb;
    real *y = vy;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++) {
            real u = a[r * lda + j], v = b[r * ldb + j];
            y[r * ldy + j] = add ? r_fma(u, v, y[r * ldy + j]) : u * v;
        }
}

static bool all_finite(int64_t n, const void *vx)
{
    const real *x = vx;
    bool all = true;
    for (int64_t j = 0; j < n; j++)
        all &= x[j] - x[j] == 0;
    return all;
}

static void add_row(int64_t rows, int64_t cols, const void *vx, int64_t ldx, const void *vrow, void *vy, int64_t ldy)
{
    add_matrix(rows, cols, vx, ldx, vrow, 0, vy, ldy);
}

/* A block of four elements shares one counter; both ends may be cut. */
void ACR_REF(dropout)(int64_t cols, const void *vx, void *vy, bool add, uint32_t threshold, float scale, uint64_t seed,
                      uint32_t window, uint32_t op, uint32_t place, int64_t element0)
{
    const real *x = vx;
    real *y = vy;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t bits[4];
    for (int64_t j = 0; j < cols; j++) {
        int64_t e = element0 + j;
        if (j == 0 || e % 4 == 0) {
            const uint32_t counter[4] = {window, op, place, (uint32_t)(e / 4)};
            acr__philox4x32(counter, key, bits);
        }
        bool keep = bits[e % 4] >= threshold;
        real kept = x[j] * (real)scale;
        if (add)
            y[j] = keep ? y[j] + kept : y[j];
        else
            y[j] = keep ? kept : 0;
    }
}

/* -- rule 4 --------------------------------------------------------------- */
static void column_sum(int64_t rows, int64_t cols, const void *vdy, int64_t lddy, void *vacc)
{
    const real *dy = vdy;
    real *acc = vacc;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++)
            acc[j] += dy[r * lddy + j];
}

static void gather(int64_t rows, int64_t cols, const int32_t *id, const void *table, int64_t ldt, void *y, int64_t ldy)
{
    for (int64_t r = 0; r < rows; r++)
        copy(1, cols, (const real *)table + id[r] * ldt, 0, (real *)y + r * ldy, 0, false);
}

static void scatter_add(int64_t rows, int64_t cols, const int32_t *id, const void *dy, int64_t lddy, void *acc,
                        int64_t lda)
{
    for (int64_t r = 0; r < rows; r++)
        copy(1, cols, (const real *)dy + r * lddy, 0, (real *)acc + id[r] * lda, 0, true);
}

/* -- the close of a window ------------------------------------------------
 * The square of a float is exact in double, so one add per element rounds. */
static double close_leaf(int64_t n, const void *vacc, double W, void *vg)
{
    const real *acc = vacc;
    real *g = vg;
    double c[16] = {0};
    for (int64_t i = 0; i < n; i++) {
        g[i] = (real)((double)acc[i] / W);
        c[i & 15] += (double)g[i] * (double)g[i];
    }
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            c[i] += c[i + step];
    return c[0];
}

static void join(int64_t n, const void *src, void *dst) { copy(1, n, src, 0, dst, 0, true); }

/* torch.optim.SGD. g *= clip (if clip != 1); g = fma(weight_decay, p, g) (if
 * not 0); with momentum: buffer = g at the first update, then
 * fma(momentum, buffer, (1 - dampening)*g); g = nesterov ?
 * fma(momentum, buffer, g) : buffer; p = fma(-lr, g, p). */
static void sgd(const acr_sgd_args *o, int64_t n, void *vp, const void *vg, void *vbuffer)
{
    real *p = vp, *buffer = vbuffer;
    const real *grad = vg;
    for (int64_t i = 0; i < n; i++) {
        real g = o->clip != 1 ? grad[i] * o->clip : grad[i];
        g = o->weight_decay != 0 ? r_fma(o->weight_decay, p[i], g) : g;
        if (o->momentum != 0) {
            real b = o->first ? g : r_fma(o->momentum, buffer[i], o->dampening_1m * g);
            buffer[i] = b;
            g = o->nesterov ? r_fma(o->momentum, b, g) : b;
        }
        p[i] = r_fma(-o->lr, g, p[i]);
    }
}

/* torch.optim.Adam (l2, coupled) and AdamW (decay). g *= clip (if clip != 1);
 * g = fma(l2, p, g) (if not 0); p *= decay; m = fma(1 - beta1, g - m, m);
 * v = fma(beta2, v, ((1 - beta2)*g)*g);
 * p = fma(-lr_bc1, m / fma(sqrt(v), 1/sqrt_bc2, epsilon), p).
 * The reciprocal is taken once per call, so an element costs one division. */
static void adam(const acr_adam_args *o, int64_t n, void *vp, const void *vg, void *vm, void *vv)
{
    real *p = vp, *m = vm, *v = vv;
    const real *grad = vg;
    const real inverse = 1 / (real)o->sqrt_bc2;
    for (int64_t i = 0; i < n; i++) {
        real g = o->clip != 1 ? grad[i] * o->clip : grad[i];
        g = o->l2 != 0 ? r_fma(o->l2, p[i], g) : g;
        m[i] = r_fma(o->beta1_1m, g - m[i], m[i]);
        v[i] = r_fma(o->beta2, v[i], o->beta2_1m * g * g);
        p[i] = r_fma(-o->lr_bc1, m[i] / r_fma(r_sqrt(v[i]), inverse, o->epsilon), p[i] * o->decay);
    }
}

const acr_kernels ACR_REF(kernels) = {
#ifdef ACR_REAL64
    .name = "ref64",
#else
    .name = "scalar",
#endif
    .lanes = 1,
    .panel = PANEL,
    .real_bytes = sizeof(real),
    .gemm_scratch = DEPTH * PANEL * sizeof(real),
    ACR_HOST_MEMORY,
    .gemm = gemm,
    .pack_b = pack_b,
    .gemm_bf16_scratch = DEPTH * PANEL * sizeof(real), /* ref64's is gemm */
    .bf16_bytes = sizeof(real) == 8 ? sizeof(real) : 2,
    .gemm_bf16 = ACR_REF(gemm_bf16),
    .pack_b_bf16 = ACR_REF(pack_b_bf16),
    .packed_bf16 = ACR_REF(packed_bf16),
    .round_bf16 = ACR_REF(round_bf16),
    .unary = unary,
    .unary_back = unary_back,
    .copy = copy,
    .add = add_matrix,
    .mul = mul_matrix,
    .finite = all_finite,
    .add_row = add_row,
    .dropout = ACR_REF(dropout),
    .norm = ACR_REF(norm),
    .norm_back = ACR_REF(norm_back),
    .norm_back_param = ACR_REF(norm_back_param),
    .softmax = ACR_REF(softmax),
    .softmax_back = ACR_REF(softmax_back),
    .loss = ACR_REF(loss),
    .silu_mul = ACR_REF(silu_mul),
    .silu_mul_back = ACR_REF(silu_mul_back),
    .rope = ACR_REF(rope),
    .attention = ACR_REF(attention),
    .attention_back = ACR_REF(attention_back),
    .attention_scratch = ACR_REF(attention_scratch),
    .column_sum = column_sum,
    .gather = gather,
    .scatter_add = scatter_add,
    .close_leaf = close_leaf,
    .join = join,
    .sgd = sgd,
    .adam = adam,
    .init_normals = acr__init_normals,
};
