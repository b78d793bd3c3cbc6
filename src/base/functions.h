/* functions.h: the double-precision functions of schedules, bias corrections,
 * rotary angles, Box-Muller and the fp64 reference kernels. The platform's libm
 * differs between machines and versions; these use only + - * / sqrt and fma,
 * each rounded once everywhere, so their bits belong to the canon. At most 2 ulp
 * (tests/unit/test_functions64.c, against MPFR). errno and the exception flags
 * mean nothing here. */
#ifndef ACR_FUNCTIONS_H
#define ACR_FUNCTIONS_H

#include <stdint.h>

/* +Inf above the range of double, subnormals rounded twice at most (2 ulp). */
double acr__exp64(double x);
/* Negative: NaN; 0: -Inf. */
double acr__log64(double x);
/* |x| <= 2^26: beyond it, NaN rather than a number without meaning. */
double acr__sin64(double x);
double acr__cos64(double x);
/* base > 0 finite, any finite exponent; else NaN. powi takes every base and
 * n >= 0, and is within 1 ulp (where the result is normal) up to n = 2^40. */
double acr__pow64(double base, double exponent);
double acr__powi64(double base, uint64_t n);

#endif
