/* utf8.h: whether bytes are a text, and its characters. Names, metadata and recipes
 * go into files that must be UTF-8 (JSON, YAML), so what is none is refused where it
 * comes in. */
#ifndef ACR_UTF8_H
#define ACR_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The first byte that is not UTF-8; n: all is. */
size_t acr__utf8_bad(const char *text, size_t n);
/* The character at `text`, which must be UTF-8, and its length. */
uint32_t acr__utf8_take(const char *text, size_t *length);

#endif
