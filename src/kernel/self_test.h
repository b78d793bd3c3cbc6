/* self_test.h: whether products in bf16 of a table are the definition's, here. */
#ifndef ACR_SELF_TEST_H
#define ACR_SELF_TEST_H

#include "kernel/kernel.h"

/* A fixed set of products, edge cases among them, on `k` and on the reference, as
 * bytes (NaNs as one). Not for two threads at once. */
bool acr__self_test_bf16(const acr_kernels *k);

#endif
