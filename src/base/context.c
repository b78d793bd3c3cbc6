/* context.c: the life of a context, its error sentence, its memory and log hooks.
 *
 * Invariant: memory from acr__alloc goes back through acr__free of the same
 * context, and with hooks every byte passes through them (the context itself
 * included), so that a test can fail the n-th request.
 *
 * Choosing the kernels is not done here: kernel/context_create.c. */
#include "base/context.h"
#include "base/cpus.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than any machine has; keeps a typing error from asking for 10^9 stacks. */
enum { MAX_THREADS = 1024 };

/* Hooks have no realloc and no size query, so each hooked block begins with its
 * size. 16 bytes keep malloc's alignment. */
typedef union block_head {
    size_t bytes;
    char align[16];
} block_head;

static void *hooked_alloc(const acr_context_opts *hooks, size_t bytes)
{
    size_t whole;
    if (!acr__add(bytes, sizeof(block_head), &whole))
        return NULL;
    block_head *head = hooks->alloc(hooks->user, whole);
    if (!head)
        return NULL;
    head->bytes = bytes;
    return memset(head + 1, 0, bytes);
}

static void *take(const acr_context_opts *hooks, size_t bytes)
{
    /* calloc hands out untouched zero pages: a large arena costs no memory
     * before it is used. */
    return hooks->alloc ? hooked_alloc(hooks, bytes) : calloc(1, bytes ? bytes : 1);
}

static void give(const acr_context_opts *hooks, void *p)
{
    if (!p)
        return;
    if (hooks->alloc)
        hooks->free(hooks->user, (block_head *)p - 1);
    else
        free(p);
}

static void *out_of_memory(acr_context *ctx, size_t bytes)
{
    acr__fail(ctx, ACR_E_NO_MEMORY, "%zu bytes were asked for and the allocator returned nothing", bytes);
    return NULL;
}

void *acr__alloc(acr_context *ctx, size_t bytes)
{
    void *p = take(&ctx->opts, bytes);
    return p ? p : out_of_memory(ctx, bytes);
}

/* What is beyond the old size is not zeroed. On failure the old block stays. */
void *acr__realloc(acr_context *ctx, void *old, size_t bytes)
{
    if (!old)
        return acr__alloc(ctx, bytes);
    void *p;
    if (ctx->opts.alloc) {
        size_t had = ((block_head *)old - 1)->bytes;
        p = hooked_alloc(&ctx->opts, bytes);
        if (p) {
            memcpy(p, old, had < bytes ? had : bytes);
            give(&ctx->opts, old);
        }
    } else {
        p = realloc(old, bytes ? bytes : 1);
    }
    return p ? p : out_of_memory(ctx, bytes);
}

void acr__free(acr_context *ctx, void *p) { give(&ctx->opts, p); }

char *acr__strdup(acr_context *ctx, const char *s)
{
    size_t bytes = strlen(s) + 1;
    char *copy = acr__alloc(ctx, bytes);
    return copy ? memcpy(copy, s, bytes) : NULL;
}

#undef acr__fail
acr_status acr__fail(acr_context *ctx, acr_status status, const char *format, ...)
{
    if (!ctx)
        return status;
    /* The arguments may quote the sentence that is about to be replaced. */
    char sentence[ACR_SENTENCE];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    memcpy(ctx->error, sentence, sizeof sentence);
    return status;
}

void acr__log(acr_context *ctx, const char *format, ...)
{
    if (!ctx->opts.log)
        return;
    char sentence[ACR_SENTENCE];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    ctx->opts.log(ctx->opts.user, sentence);
}

static acr_context_opts completed(const acr_context_opts *opts)
{
    acr_context_opts own = ACR_CONTEXT_OPTS_INIT;
    acr__opts_take(&own, opts);
    own.size = sizeof own;
    own.isa = NULL;
    return own;
}

acr_status acr__context_new(acr_context **out, const acr_context_opts *opts)
{
    *out = NULL;
    acr_context_opts own = completed(opts);
    bool hooks_differ = !own.alloc != !own.free;
    if (hooks_differ) /* the sentence's own block cannot come from half a pair */
        own.alloc = NULL, own.free = NULL;
    acr_context *ctx = take(&own, sizeof *ctx);
    if (!ctx)
        return ACR_E_NO_MEMORY;
    ctx->opts = own;
    ctx->threads = 1;
    ctx->serial_work = 200000; /* some 10 us of one core: what waking a team costs, several times over */
    atomic_init(&ctx->cancel, 0);
    *out = ctx;
    FAIL_IF(hooks_differ, ctx, ACR_E_ARGUMENT,
            "acr_context_opts: alloc and free must be given together or both be NULL");
    FAIL_IF(own.threads < 0 || own.threads > MAX_THREADS, ctx, ACR_E_ARGUMENT,
            "acr_context_opts: threads is %d; 1 to %d, or 0 for what the processor affinity and the cgroup allow",
            own.threads, MAX_THREADS);
    ctx->threads = own.threads ? own.threads : (int)acr__min(acr__cpus_allowed(), MAX_THREADS);
    return ACR_OK;
}

void acr_context_destroy(acr_context *ctx)
{
    if (!ctx)
        return;
    acr__pool_destroy(ctx->pool);
    acr_context_opts hooks = ctx->opts;
    give(&hooks, ctx);
}

acr_status acr__context_pool(acr_context *ctx, acr__pool **out)
{
    if (!ctx->pool)
        TRY(acr__pool_create(ctx, ctx->threads, &ctx->pool));
    *out = ctx->pool;
    return ACR_OK;
}

const char *acr_error(const acr_context *ctx) { return ctx ? ctx->error : ""; }

int acr_context_threads(const acr_context *ctx) { return ctx->threads; }

void acr_cancel(acr_context *ctx) { atomic_store(&ctx->cancel, 1); }

int acr_cancelled(const acr_context *ctx) { return atomic_load(&ctx->cancel); }

void acr_cancel_clear(acr_context *ctx) { atomic_store(&ctx->cancel, 0); }
