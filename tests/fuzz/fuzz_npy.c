/* fuzz_npy.c: any bytes as an .npy file: as a head in memory, then as a file that
 * is opened and read, plain or as the bytes' own gzip. */
#include "data_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return try_data_set("npy", acr__npy_parse, data, size); }
