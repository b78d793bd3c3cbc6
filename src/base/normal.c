/* normal.c: standard normal numbers for callers and for the plain tables. */
#include "base/fpenv.h"
#include "base/normal_impl.h"
#include <accrue/accrue.h>

static ACR_APART float normal(uint64_t seed, uint32_t stream, uint64_t index)
{
    ACR_STAYS_PUT();
    float both[2];
    normal_pair(seed, stream, index / 2, 0, both);
    return both[index % 2];
}

float acr_normal(uint64_t seed, uint32_t stream, uint64_t index)
{
    float x;
    ACR_IN_CANON(x, normal(seed, stream, index));
    return x;
}

void acr__init_normals(uint64_t seed, uint32_t name_hash, uint64_t first, int64_t n, float *out)
{
    fill_normals(seed, name_hash, first, n, out);
}
