/* json.h: JSON objects from files that may be hostile.
 *
 * Before the parser sees a text it is scanned once for what would make parsing
 * work or allocate without measure: nesting deeper than 32 and more values than a
 * real file can have. Names that come twice are refused. */
#ifndef ACR_IO_JSON_H
#define ACR_IO_JSON_H

#include "base/base.h"

#include <jansson.h>

/* What is scanned: at most `values` values. `what` names the text in sentences:
 * "the header". */
acr_status acr__json_scan(acr_context *ctx, const char *path, const char *what, const char *text, size_t n,
                          int64_t values);
/* The object in text; ACR_E_DATA if it is no object. Free with json_decref. */
acr_status acr__json_parse(acr_context *ctx, const char *path, const char *what, const char *text, size_t n,
                           json_t **out);
/* The object a file of at most `limit` bytes holds. */
acr_status acr__json_load(acr_context *ctx, const char *path, size_t limit, json_t **out);
/* The text of a value, indented, with a newline at its end; numbers have the fewest
 * of 15 or 17 digits that read back equal. Free with free(). */
acr_status acr__json_write(acr_context *ctx, const json_t *value, char **out);

/* Text from a file as a sentence may show it: short, no control characters. */
enum { ACR__JSON_SHOWN = 96 };
const char *acr__text_shown(const char *text, char out[ACR__JSON_SHOWN]);
/* The same of a value as JSON. */
const char *acr__json_shown(const json_t *value, char out[ACR__JSON_SHOWN]);

#endif
