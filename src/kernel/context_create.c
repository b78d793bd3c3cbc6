/* context_create.c: gives a new context its table of kernels. It lives here and
 * not in base because base must not know what a kernel is. */
#include "base/context.h"
#include "kernel/kernel.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "scalar, avx2, avx512": what this machine runs. */
static void runnable_names(char *text, size_t bytes)
{
    size_t used = 0;
    const acr_kernels *k;
    text[0] = '\0';
    for (int i = 0; (k = acr__kernels_runnable(i)) != NULL && used < bytes; i++) {
        int n = snprintf(text + used, bytes - used, "%s%s", i ? ", " : "", k->name);
        if (n < 0)
            return;
        used += (size_t)n;
    }
}

static const acr_kernels *best(void)
{
    const acr_kernels *last = acr__kernels_runnable(0);
    for (int i = 1; acr__kernels_runnable(i); i++)
        last = acr__kernels_runnable(i);
    return last;
}

static acr_status choose(acr_context *ctx, const char *isa)
{
    const char *from = "acr_context_opts.isa";
    if (!isa) {
        isa = getenv("ACCRUE_ISA");
        from = "ACCRUE_ISA";
        if (!isa || !*isa) {
            ctx->kernels = best();
            return ACR_OK;
        }
    }
    bool exists = false;
    ctx->kernels = acr__kernels_find(isa, &exists);
    if (ctx->kernels)
        return ACR_OK;
    char names[256];
    runnable_names(names, sizeof names);
    return acr__fail(
        ctx, ACR_E_UNSUPPORTED, "%s: '%.40s' %s; this machine runs %s", from, isa,
        exists ? "is an instruction set that this processor lacks" : "is not an instruction set of this build", names);
}

acr_status acr_context_create(acr_context **out, const acr_context_opts *opts)
{
    TRY(acr__context_new(out, opts));
    bool given = opts && opts->size >= offsetof(acr_context_opts, isa) + sizeof opts->isa;
    return choose(*out, given ? opts->isa : NULL);
}

const char *acr_context_isa(const acr_context *ctx) { return ctx->kernels ? ctx->kernels->name : "none"; }

const char *acr_isa_name(int i)
{
    const acr_kernels *k = i < 0 ? NULL : acr__kernels_runnable(i);
    return k ? k->name : NULL;
}
