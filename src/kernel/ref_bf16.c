/* ref_bf16.c: products by rule 2 in plain C: the definition of every bit that the
 * other tables' gemm_bf16 gives.
 *
 * Over double (ACR_REAL64) it is the plain product without any rounding to bf16,
 * which is what gradients are checked against. */
#include "kernel/ref_bf16.h"

#include "base/base.h"
#include "base/bf16.h"
#include "kernel/mma32.h"

enum { PANEL = ACR_REF_PANEL, PAIRS = ACR_BLOCK / 2 };

#ifdef ACR_REAL64

void ACR_REF(gemm_bf16)(const acr_gemm *g) { acr__kernels_ref64.gemm(g); }

void ACR_REF(pack_b_bf16)(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, bool b_bf16, void *out)
{
    (void)b_bf16; /* reals either way */
    acr__kernels_ref64.pack_b(n, k, b, b_row, b_col, out);
}

size_t ACR_REF(packed_bf16)(int64_t n, int64_t k)
{
    return (size_t)(acr__round_up(n, PANEL) * k) * sizeof(real);
}

void ACR_REF(round_bf16)(int64_t n, const void *x, void *out) { memcpy(out, x, (size_t)n * sizeof(real)); }

#else

static inline uint16_t operand(const void *p, bool bf16, int64_t at)
{
    return bf16 ? acr__bf16_flushed(((const uint16_t *)p)[at]) : acr__bf16_operand(((const float *)p)[at]);
}

/* One block of a panel of B: word [w][j] holds depth 2w low and 2w + 1 high. */
static void pack_block(int64_t columns, int64_t depth, const void *b, bool bf16, int64_t b_row, int64_t b_col,
                       uint32_t *out)
{
    for (int64_t w = 0; w < PAIRS; w++)
        for (int64_t j = 0; j < PANEL; j++) {
            bool low = j < columns && 2 * w < depth, high = j < columns && 2 * w + 1 < depth;
            uint32_t l = low ? operand(b, bf16, 2 * w * b_row + j * b_col) : 0;
            uint32_t h = high ? operand(b, bf16, (2 * w + 1) * b_row + j * b_col) : 0;
            out[w * PANEL + j] = h << 16 | l;
        }
}

/* acc[j] = fma(a, b[j], acc[j]) by rule 2. Most results are far from underflow,
 * and the plain fma of those is the rule's. */
static FLATTEN void step(float a, const float *b, float *acc)
{
    float r[PANEL];
    bool small = false;
    for (int j = 0; j < PANEL; j++)
        r[j] = __builtin_fmaf(a, b[j], acc[j]);
    for (int j = 0; j < PANEL; j++)
        small |= __builtin_fabsf(r[j]) <= 0x1p-126f;
    for (int j = 0; small && j < PANEL; j++)
        r[j] = acr__mma32_fma(a, b[j], acc[j]);
    for (int j = 0; j < PANEL; j++)
        acc[j] = r[j];
}

static FLATTEN void block(int64_t columns, const float *a, const float *b, float *c)
{
    float e[PANEL] = {0}, o[PANEL] = {0};
    for (int w = 0; w < PAIRS; w++) {
        step(a[2 * w], b + 2 * w * PANEL, e);
        step(a[2 * w + 1], b + (2 * w + 1) * PANEL, o);
    }
    for (int64_t j = 0; j < columns; j++)
        c[j] = acr__mma32_add(c[j], acr__mma32_add(e[j], o[j]));
}

static FLATTEN void panel_product(const acr_gemm *g, int64_t j0)
{
    const size_t a_bytes = g->a_bf16 ? 2 : 4, b_bytes = g->b_bf16 ? 2 : 4;
    int64_t columns = acr__min(g->n - j0, PANEL), cut = 0;
    uint32_t here[PAIRS * PANEL];
    const uint32_t *words = g->packed ? (const uint32_t *)g->packed + ACR_REF(packed_bf16)(j0, g->k) / 4 : here;
    for (int64_t p = 0, end; p < g->k; p = end) {
        end = acr__block_end(g, p, &cut);
        if (!g->packed)
            pack_block(columns, end - p, (const char *)g->b + (p * g->b_row + j0 * g->b_col) * (int64_t)b_bytes,
                       g->b_bf16, g->b_row, g->b_col, here);
        float a[ACR_BLOCK], b[ACR_BLOCK * PANEL];
        for (int w = 0; w < PAIRS; w++)
            for (int j = 0; j < PANEL; j++) {
                b[2 * w * PANEL + j] = acr__bf16_to_float((uint16_t)words[w * PANEL + j]);
                b[(2 * w + 1) * PANEL + j] = acr__bf16_to_float((uint16_t)(words[w * PANEL + j] >> 16));
            }
        for (int64_t i = 0; i < g->m; i++) {
            const char *row = (const char *)g->a + (i * g->a_row + p * g->a_col) * (int64_t)a_bytes;
            for (int64_t d = 0; d < ACR_BLOCK; d++)
                a[d] = acr__bf16_to_float(d < end - p ? operand(row, g->a_bf16, d * g->a_col) : 0);
            block(columns, a, b, (float *)g->c + i * g->c_row + j0);
        }
        words += g->packed ? PAIRS * PANEL : 0;
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

void ACR_REF(gemm_bf16)(const acr_gemm *g)
{
    float *c = g->c;
    const float *row = g->row;
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

void ACR_REF(pack_b_bf16)(int64_t n, int64_t k, const void *b, int64_t b_row, int64_t b_col, bool b_bf16, void *out)
{
    const int64_t bytes = b_bf16 ? 2 : 4;
    uint32_t *to = out;
    for (int64_t j = 0; j < n; j += PANEL)
        for (int64_t p = 0; p < k; p += ACR_BLOCK, to += PAIRS * PANEL)
            pack_block(acr__min(n - j, PANEL), acr__min(k - p, ACR_BLOCK),
                       (const char *)b + (p * b_row + j * b_col) * bytes, b_bf16, b_row, b_col, to);
}

size_t ACR_REF(packed_bf16)(int64_t n, int64_t k)
{
    return (size_t)(acr__round_up(n, PANEL) * acr__round_up(k, ACR_BLOCK)) * sizeof(uint16_t);
}

void ACR_REF(round_bf16)(int64_t n, const void *x, void *out)
{
    for (int64_t i = 0; i < n; i++)
        ((uint16_t *)out)[i] = acr__bf16_operand(((const float *)x)[i]);
}

#endif
