/* fuzz_idx.c: any bytes as an IDX file: as a head in memory, then as a file that
 * is opened and read, plain or as the bytes' own gzip. */
#include "data_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return try_data_set("idx", acr__idx_parse, data, size); }
