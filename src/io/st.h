/* st.h: what the files of this folder share about an open safetensors file. */
#ifndef ACR_IO_ST_H
#define ACR_IO_ST_H

#include "base/base.h"

#include <accrue/accrue_io.h>

acr_context *acr__st_context(const acr_st *st);
/* Describes a tensor and checks that [first, first+n) lies within it. */
acr_status acr__st_range(const acr_st *st, int tensor, int64_t first, int64_t n, acr_st_tensor *out);

#endif
