/* st.h: what the files of this folder share about an open safetensors file. */
#ifndef ACR_IO_ST_H
#define ACR_IO_ST_H

#include "base/base.h"

#include <accrue/accrue_io.h>

acr_context *acr__st_context(const acr_st *st);
/* Describes a tensor and checks that [first, first+n) lies within it. */
acr_status acr__st_range(const acr_st *st, int tensor, int64_t first, int64_t n, acr_st_tensor *out);
/* Refuses a tensor that is not the parameter's weights: another shape, or no F32,
 * F16, BF16 or F64. */
acr_status acr__st_fits(const acr_st *st, int tensor, const acr_graph *g, int param);
/* Floats as BF16 or F16 (dtype), to nearest even, subnormals kept. Returns how many
 * were converted before a finite one that is beyond the type. */
int64_t acr__st_narrow(acr_st_dtype dtype, const float *from, int64_t n, uint16_t *to);

#endif
