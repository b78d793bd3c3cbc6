/* yaml.h: a recipe's YAML as a stream of key paths and values. Internal to config/. */
#ifndef ACR_CONFIG_YAML_H
#define ACR_CONFIG_YAML_H

#include "base/base.h"

typedef struct acr__yaml_value {
    const char *path; /* "data.train.path" */
    int line, column; /* of the key, from 1 */
    bool list, quoted;
    int count;
    const char *const *item; /* borrowed until the call returns */
} acr__yaml_value;

/* `enter` is asked before the mapping of a section is read; `value` gets each
 * scalar or list of scalars. A status other than ACR_OK ends the reading and is
 * returned. */
typedef struct acr__yaml_sink {
    void *user;
    acr_status (*key)(void *user, const char *path, int line, int column);
    acr_status (*enter)(void *user, const char *path, int line, int column);
    acr_status (*value)(void *user, const acr__yaml_value *value);
} acr__yaml_sink;

enum { ACR__YAML_BYTES = 1 << 20 }; /* a longer recipe is refused */

/* ACR_E_CONFIG names name:line:column. An empty text is refused. */
acr_status acr__yaml_read(acr_context *ctx, const char *name, const char *text, size_t length,
                          const acr__yaml_sink *sink);

#endif
