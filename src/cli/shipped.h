/* shipped.h: the recipes that come with the program: in recipes/ beside the
 * folder of the binary (a build tree) or in ../share/accrue/recipes (installed). */
#ifndef ACR_CLI_SHIPPED_H
#define ACR_CLI_SHIPPED_H

#include "cli/common.h"

enum { ACR__PATH = 4096 };
/* The folder, and a recipe in it ("seed" or "seed.yaml"). ACR_E_CONFIG. */
acr_status acr__shipped_folder(acr_context *ctx, char out[ACR__PATH]);
acr_status acr__shipped_recipe(acr_context *ctx, const char *name, char out[ACR__PATH]);
/* The path of the running program. */
acr_status acr__program_path(acr_context *ctx, char out[ACR__PATH]);

#endif
