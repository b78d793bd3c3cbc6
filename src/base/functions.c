/* functions.c: the functions of functions.h, for everyone. */
#include "base/functions.h"

#include "base/functions_impl.h"

double acr__exp64(double x) { return f64_exp(x); }
double acr__log64(double x) { return f64_log(x); }
double acr__sin64(double x) { return f64_sin(x); }
double acr__cos64(double x) { return f64_cos(x); }
double acr__pow64(double base, double exponent) { return f64_pow(base, exponent); }
double acr__powi64(double base, uint64_t n) { return f64_powi(base, n); }
