/* status.c: what a status means, and what this build is. Pure tables; nothing
 * here depends on a context. */
#include "base/base.h"

const char *acr_version(void) { return ACR_VERSION_STRING; }

int acr_numerics(void) { return ACR_NUMERICS; }

const char *acr_status_text(acr_status status)
{
    switch (status) {
#define ACR_STATUS_CASE(name, value, exit_code, meaning) \
    case name:                                           \
        return meaning;
        ACR_STATUS_LIST(ACR_STATUS_CASE)
#undef ACR_STATUS_CASE
    }
    return "not a status of this version";
}
