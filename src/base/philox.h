/* philox.h: Philox4x32-10, the only source of randomness (Salmon et al.,
 * "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Randomness is counted,
 * not drawn: every number is a pure function of a seed and of where it is used,
 * so nothing depends on the order or on who asks.
 *
 * Who uses which counter. The key is the seed with a tweak of its own for each
 * use, so that two uses never meet:
 *     dropout          tweak 0            (window, op, place of the sample, element/4)
 *     initial weights  ACR_TWEAK_INIT     (element/4 low, high, name, 0)
 *                      ACR_TWEAK_NORMAL   (element/2 low, high, name, 1)  where they are normal
 *     acr_normal       ACR_TWEAK_NORMAL   (index/2 low, high, stream, 0)
 *     acr_shuffle      ACR_TWEAK_SHUFFLE  (epoch, 0, 0, 0)
 *     acr__sampler     ACR_TWEAK_SAMPLER  (place low, high, 0, 0)
 * Changing any of this changes every training: it belongs to ACR_NUMERICS. */
#ifndef ACR_PHILOX_H
#define ACR_PHILOX_H

#include <stdint.h>

#define ACR_TWEAK_INIT    UINT64_C(0x57454947485453a1)
#define ACR_TWEAK_NORMAL  UINT64_C(0x4e4f524d414c53b2)
#define ACR_TWEAK_SHUFFLE UINT64_C(0x53485546464c45c3)
#define ACR_TWEAK_SAMPLER UINT64_C(0x53414d504c4552d4)

static inline void acr__philox4x32(const uint32_t ctr[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)UINT32_C(0xD2511F53) * c0;
        uint64_t p1 = (uint64_t)UINT32_C(0xCD9E8D57) * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += UINT32_C(0x9E3779B9); /* the golden ratio and sqrt(3)-1 */
        k1 += UINT32_C(0xBB67AE85);
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static inline void acr__philox_key(uint64_t seed, uint64_t tweak, uint32_t key[2])
{
    uint64_t k = seed ^ tweak;
    key[0] = (uint32_t)k;
    key[1] = (uint32_t)(k >> 32);
}

/* The 32-bit hash of a path name ("h.3.attn.dropout"): FNV-1a over its bytes,
 * then MurmurHash3's finaliser, because FNV leaves names that differ in their
 * last letter close together. */
static inline uint32_t acr__hash32(const char *name)
{
    uint32_t h = UINT32_C(2166136261);
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        h = (h ^ *c) * UINT32_C(16777619);
    h = (h ^ (h >> 16)) * UINT32_C(0x85EBCA6B);
    h = (h ^ (h >> 13)) * UINT32_C(0xC2B2AE35);
    return h ^ (h >> 16);
}

/* Element `element` of the initial weights of the parameter whose name hashes to
 * `name_hash`: uniform on the 2^24 multiples of 2^-23 in [-1, 1), exact in fp32:
 *     (word >> 8) * 2^-23 - 1,  word = element%4 of the block of element/4. */
static inline float acr__init_uniform(uint64_t seed, uint32_t name_hash, uint64_t element)
{
    uint64_t block = element / 4;
    uint32_t key[2], out[4];
    const uint32_t ctr[4] = {(uint32_t)block, (uint32_t)(block >> 32), name_hash, 0};
    acr__philox_key(seed, ACR_TWEAK_INIT, key);
    acr__philox4x32(ctr, key, out);
    return (float)((int32_t)(out[element % 4] >> 8) - (1 << 23)) * 0x1p-23f;
}

/* Elements [first, first + n) of the initial weights of a parameter that start
 * normal: N(0, 1), by normal.c. The caller is in the canon's floating-point mode. */
void acr__init_normals(uint64_t seed, uint32_t name_hash, uint64_t first, int64_t n, float *out);

#endif
