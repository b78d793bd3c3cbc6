/* base.h: what every other file may use: failing with a sentence, checked
 * arithmetic, and the context's allocator. Nothing here knows of graphs. */
#ifndef ACR_BASE_H
#define ACR_BASE_H

#include <accrue/accrue.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define ACR_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define ACR_PRINTF(f, a)
#endif

/* Stores the sentence in the context and returns `status`, so that a caller
 * writes `return acr__fail(ctx, ACR_E_DATA, "%s: ...", path)`. A sentence names
 * the place, the value, what was allowed and what would work. Longer than
 * ACR_SENTENCE bytes it is cut. */
enum { ACR_SENTENCE = 1024 };
acr_status acr__fail(acr_context *ctx, acr_status status, const char *format, ...) ACR_PRINTF(3, 4);

/* The call again, as an expression whose value the compiler knows: failing never
 * gives ACR_OK, so what a failed call left unset is not read after TRY. */
static inline acr_status acr__failed(acr_status stored, acr_status status)
{
    (void)stored;
    return status;
}
#define acr__fail(ctx, status, ...) acr__failed(acr__fail((ctx), (status), __VA_ARGS__), (status))

#define TRY(call)                          \
    do {                                   \
        acr_status try_status_ = (call);   \
        if (try_status_ != ACR_OK)         \
            return try_status_;            \
    } while (0)
#define FAIL_IF(condition, ctx, status, ...)              \
    do {                                                  \
        if (condition)                                    \
            return acr__fail((ctx), (status), __VA_ARGS__); \
    } while (0)

/* Memory comes from the context's hooks (acr_context_opts); NULL means the
 * request failed and the sentence is already stored. alloc zeroes. free takes
 * NULL. */
void *acr__alloc(acr_context *ctx, size_t bytes);
void *acr__realloc(acr_context *ctx, void *old, size_t bytes);
void acr__free(acr_context *ctx, void *p);
char *acr__strdup(acr_context *ctx, const char *s);

/* *own, at its defaults, takes what the caller gives (opts may be NULL): a caller that
 * was compiled against an earlier header has a shorter struct, and its size says so. */
#define acr__opts_take(own, opts) acr__opts_copy(own, sizeof *(own), opts, (opts) ? (opts)->size : 0)
static inline void acr__opts_copy(void *own, size_t size, const void *opts, size_t given)
{
    if (given)
        memcpy(own, opts, given < size ? given : size);
}

/* Checked arithmetic: false on overflow, *out untouched then. */
static inline bool acr__mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool acr__add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
static inline bool acr__mul64(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline int64_t acr__min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t acr__max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t acr__round_up(int64_t a, int64_t to) { return (a + to - 1) / to * to; }

/* The contiguous share [*first, *last) of `total` that member `index` of
 * `count` owns, in multiples of `unit` (the last share takes the tail). */
static inline void acr__share(int64_t total, int64_t unit, int index, int count, int64_t *first, int64_t *last)
{
    *first = 0;
    *last = total;
    if (count == 1)
        return; /* small networks would spend more on the divisions than on their products */
    int64_t units = (total + unit - 1) / unit;
    *first = acr__min(units * index / count * unit, total);
    *last = acr__min(units * (index + 1) / count * unit, total);
}

#endif
