/* self_test.c: instructions that multiply bf16 are documented to flush and to round as
 * rule 2 says, and processors differ in what nobody has tried. So before such a path is
 * offered its products are compared with the plain-C ones: ordinary numbers, sums that
 * come close to the smallest normal and cancel there, subnormals, zeros of both signs,
 * infinities and NaN; packed and not, with tails in every direction. */
#include "kernel/self_test.h"

#include "base/base.h"
#include "base/bf16.h"
#include <string.h>

/* More rows than any path packs at a time, a panel and a part of one, a block and a part
 * of one; no larger, since every start of a program waits for this. */
enum { M = 53, N = 40, K = 43, SCRATCH = 1 << 20, PACKED = (N + 64) * 64 * 2 };

/* The same numbers on every machine. */
static uint32_t draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static float value(int kind, uint32_t *seed)
{
    static const float edges[] = {0x1p-63f,  -0x1p-63f,  0x1p-76f, -0x1p-76f,   0x1p-75f,       -0x1.02p-75f, 0x1.02p-63f,
                                  0x1p-126f, -0x1p-126f, 0x1p-149f, -0x1p-140f, 0x1.fep-64f,    0.0f,         -0.0f};
    static const float wild[] = {3.4e38f, -3.4e38f, __builtin_inff(), -__builtin_inff(), __builtin_nanf(""), 0.0f, -0.0f};
    uint32_t x = draw(seed);
    if (kind == 1)
        return edges[x % (sizeof edges / sizeof *edges)];
    if (kind == 2 && x % 16 == 0)
        return wild[draw(seed) % (sizeof wild / sizeof *wild)];
    return ((float)x - 0x1p23f) * 0x1p-23f;
}

static bool same(const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (acr__float_bits(a[i]) != acr__float_bits(b[i]) && (a[i] == a[i] || b[i] == b[i]))
            return false;
    return true;
}

static float a[M * K], b[N * K], start[M * N], want[M * N], got[M * N];
static char packed[PACKED] __attribute__((aligned(64))), scratch[SCRATCH] __attribute__((aligned(64)));

/* One product, A and B one way round or the other, B as it lies and packed. */
static bool agrees(const acr_kernels *k, bool turned, enum acr_start from)
{
    acr_gemm g = {.m = M, .n = N, .k = K,
                  .a = a, .a_row = turned ? 1 : K, .a_col = turned ? M : 1,
                  .b = b, .b_row = turned ? N : 1, .b_col = turned ? 1 : K,
                  .c = want, .c_row = N, .start = from, .row = start, .scratch = scratch};
    memcpy(want, start, sizeof want);
    acr__kernels_scalar.gemm_bf16(&g);
    g.c = got;
    k->pack_b_bf16(N, K, b, g.b_row, g.b_col, false, packed);
    for (int pack = 0; pack < 2; pack++) {
        memcpy(got, start, sizeof got);
        g.packed = pack ? packed : NULL;
        k->gemm_bf16(&g);
        if (!same(want, got, M * N))
            return false;
    }
    return true;
}

bool acr__self_test_bf16(const acr_kernels *k)
{
    if (k->gemm_bf16_scratch > SCRATCH || k->packed_bf16(N, K) > PACKED)
        return false;
    uint32_t seed = 1;
    bool right = true;
    for (int kind = 0; kind < 3 && right; kind++) {
        for (int64_t i = 0; i < M * K; i++)
            a[i] = value(kind, &seed);
        for (int64_t i = 0; i < N * K; i++)
            b[i] = value(kind, &seed);
        for (int64_t i = 0; i < M * N; i++)
            start[i] = value(kind, &seed);
        for (int way = 0; way < 6 && right; way++)
            right = agrees(k, way & 1, (enum acr_start)(way / 2));
    }
    return right;
}
