/* fpenv.h: the floating-point environment that the canon assumes: round to
 * nearest even, subnormals kept, exceptions masked. A host program linked with
 * -Ofast runs with subnormals off in every thread, so whoever computes enters
 * and leaves:
 *
 *     acr__fp saved;
 *     acr__fp_enter(&saved);
 *     compute();              a call: see below
 *     acr__fp_leave(saved);
 *
 * A compiler may move arithmetic over the write of the control register, so the
 * arithmetic must be in a function that is not inlined between the two: mark it
 * ACR_APART. ACR_IN_CANON does all of this for one call that gives a value. A call
 * that only computes from its arguments would be moved as a whole: it says
 * ACR_STAYS_PUT(). */
#ifndef ACR_FPENV_H
#define ACR_FPENV_H

#include <stdint.h>

typedef uint64_t acr__fp;

#if defined(__x86_64__)
enum { ACR_FP_DEFAULT = 0x1F80, ACR_FP_FLAGS = 0x3F }; /* the low six bits only record */

static inline acr__fp acr__fp_get(void)
{
    uint32_t csr;
    __asm__ volatile("stmxcsr %0" : "=m"(csr) : : "memory");
    return csr & ~(uint32_t)ACR_FP_FLAGS;
}
static inline void acr__fp_set(acr__fp value)
{
    uint32_t csr = (uint32_t)value;
    __asm__ volatile("ldmxcsr %0" : : "m"(csr) : "memory");
}
#elif defined(__aarch64__)
enum { ACR_FP_DEFAULT = 0 };

static inline acr__fp acr__fp_get(void)
{
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr) : : "memory");
    return fpcr;
}
static inline void acr__fp_set(acr__fp value) { __asm__ volatile("msr fpcr, %0" : : "r"(value) : "memory"); }
#else
#error "fpenv.h: the control register of this processor is not known here"
#endif

/* Rule 2's products on x86 run with FTZ and DAZ set, which is its flushing. ARM's
 * FZ is not, so there nothing is set. */
#if defined(__x86_64__)
enum { ACR_FP_FLUSH = ACR_FP_DEFAULT | 0x8040 };
#else
enum { ACR_FP_FLUSH = ACR_FP_DEFAULT };
#endif

#define ACR_APART       __attribute__((noinline))
#define ACR_STAYS_PUT() __asm__ volatile("" : : : "memory")
#define ACR_IN_CANON(result, call)   \
    do {                             \
        acr__fp fp_saved_;           \
        acr__fp_enter(&fp_saved_);   \
        (result) = (call);           \
        acr__fp_leave(fp_saved_);    \
    } while (0)

/* Writes are skipped where nothing changes: they stall the pipeline. */
static inline void acr__fp_enter(acr__fp *saved)
{
    *saved = acr__fp_get();
    if (*saved != ACR_FP_DEFAULT)
        acr__fp_set(ACR_FP_DEFAULT);
}
static inline void acr__fp_leave(acr__fp saved)
{
    if (saved != ACR_FP_DEFAULT)
        acr__fp_set(saved);
}
static inline acr__fp acr__flush_enter(void)
{
    acr__fp saved = acr__fp_get();
    if (saved != ACR_FP_FLUSH)
        acr__fp_set(ACR_FP_FLUSH);
    return saved;
}
static inline void acr__flush_leave(acr__fp saved)
{
    if (saved != ACR_FP_FLUSH)
        acr__fp_set(saved);
}

#endif
