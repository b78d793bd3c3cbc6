/* normal_impl.h: standard normal numbers, by Box and Muller, counted like everything
 * random (philox.h). The polar method would be faster, but it rejects, so how many
 * draws a number takes would depend on the draws. */
#ifndef ACR_NORMAL_IMPL_H
#define ACR_NORMAL_IMPL_H

#include "base/functions_impl.h"
#include "base/philox.h"

static inline uint64_t word64(const uint32_t *w) { return (uint64_t)w[1] << 32 | w[0]; }

/* Numbers 2*block and 2*block + 1 of a stream: a cosine and a sine. */
static inline void normal_pair(uint64_t seed, uint32_t stream, uint64_t block, uint32_t use, float both[2])
{
    uint32_t key[2], out[4];
    const uint32_t ctr[4] = {(uint32_t)block, (uint32_t)(block >> 32), stream, use};
    acr__philox_key(seed, ACR_TWEAK_NORMAL, key);
    acr__philox4x32(ctr, key, out);
    double u = (double)((word64(out) >> 11) + 1) * 0x1p-53; /* (0, 1]: its logarithm is finite */
    double angle = (double)(word64(out + 2) >> 11) * 0x1p-53 * 0x1.921fb54442d18p+2; /* 2 pi */
    double radius = sqrt(-2.0 * f64_log(u));
    both[0] = (float)(radius * f64_cos(angle));
    both[1] = (float)(radius * f64_sin(angle));
}

/* Numbers first .. first + n - 1 of a parameter (acr_kernels.init_normals). */
static inline void fill_normals(uint64_t seed, uint32_t name_hash, uint64_t first, int64_t n, float *out)
{
    float both[2];
    for (int64_t i = 0; i < n; i++) {
        uint64_t element = first + (uint64_t)i;
        if (i == 0 || element % 2 == 0)
            normal_pair(seed, name_hash, element / 2, 1, both);
        out[i] = both[element % 2];
    }
}

#endif
