/* context.h: what a context holds, for the folders above base.
 *
 * The pieces of its life are apart because of the layering: base makes the
 * context, kernel/context_create.c gives it its table of kernels (base knows the
 * type by name only), and the pool is started when it is first asked for. */
#ifndef ACR_CONTEXT_H
#define ACR_CONTEXT_H

#include "base/base.h"
#include "base/pool.h"
#include <stdatomic.h>

struct acr_kernels;

struct acr_context {
    acr_context_opts opts;             /* the caller's, completed; opts.isa is never kept */
    int threads;                       /* at least 1 */
    const struct acr_kernels *kernels; /* NULL only if acr_context_create failed */
    acr__pool *pool;                   /* NULL until acr__context_pool */
    int64_t serial_work;               /* multiply-adds below which a call is not shared; tests make it 0 */
    atomic_int cancel;                 /* lock-free, so a signal handler may set it */
    char error[ACR_SENTENCE];
};

/* A context without kernels. opts may be NULL. *out is NULL only when memory is
 * short; after another failure it is a context that tells the sentence. */
acr_status acr__context_new(acr_context **out, const acr_context_opts *opts);

/* The context's team of acr_context_threads() members, started at the first
 * call. The context owns it. ACR_E_THREAD, ACR_E_NO_MEMORY. */
acr_status acr__context_pool(acr_context *ctx, acr__pool **out);

/* Hands one sentence to the log hook; nothing without a hook. */
void acr__log(acr_context *ctx, const char *format, ...) ACR_PRINTF(2, 3);

#endif
