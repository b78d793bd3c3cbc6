/* normal.c: a parameter's initial normal numbers, where fma is an instruction. */
#include "kernel/cpu/kernels.h"

#include "base/normal_impl.h"

void ACR_CPU(init_normals)(uint64_t seed, uint32_t name_hash, uint64_t first, int64_t n, float *out)
{
    fill_normals(seed, name_hash, first, n, out);
}
