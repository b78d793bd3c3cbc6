/* st_convert.c: elements of a safetensors file as the numbers that are wanted.
 *
 * Invariant: a value is delivered rounded to nearest or refused, never cut,
 * wrapped or flushed. Half precision is widened by integer operations. */
#include "base/fpenv.h"
#include "io/file.h"
#include "io/st.h"

#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and read as they are");

enum { CHUNK = 16 * 1024 }; /* bytes, on the stack: reading may happen in any thread */

typedef enum kind { TO_F32, TO_F64, TO_I32, TO_I64 } kind;

/* One element: an integer in i (or u if it is beyond int64), else a number in d. */
typedef struct value {
    enum { INTEGER, WIDE, FLOAT, BAD } is;
    int64_t i;
    uint64_t u;
    double d;
} value;

static float f32_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static float f32_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    if (exponent == 31)
        return f32_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0 && fraction == 0)
        return f32_of_bits(sign);
    if (exponent == 0) { /* subnormal there, normal here */
        int shift = __builtin_clz(fraction) - 21;
        fraction = fraction << shift & 0x3ff;
        exponent = (uint32_t)(1 - shift);
    }
    return f32_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Reads one element of C type T at p. */
#define LOAD(T) T x; memcpy(&x, p, sizeof x)

static value element(acr_st_dtype dtype, const unsigned char *p)
{
    value v = {INTEGER, 0, 0, 0};
    switch (dtype) {
    case ACR_ST_BOOL: v.i = *p; if (*p > 1) v.is = BAD; break;
    case ACR_ST_U8: v.i = *p; break;
    case ACR_ST_I8: v.i = (int8_t)*p; break;
    case ACR_ST_U16: { LOAD(uint16_t); v.i = x; break; }
    case ACR_ST_I16: { LOAD(int16_t); v.i = x; break; }
    case ACR_ST_U32: { LOAD(uint32_t); v.i = x; break; }
    case ACR_ST_I32: { LOAD(int32_t); v.i = x; break; }
    case ACR_ST_I64: { LOAD(int64_t); v.i = x; break; }
    case ACR_ST_U64: { LOAD(uint64_t); v.u = x; v.i = (int64_t)x; if (x > INT64_MAX) v.is = WIDE; break; }
    case ACR_ST_F16: { LOAD(uint16_t); v.is = FLOAT; v.d = f32_of_f16(x); break; }
    case ACR_ST_BF16: { LOAD(uint16_t); v.is = FLOAT; v.d = f32_of_bits((uint32_t)x << 16); break; }
    case ACR_ST_F32: { LOAD(float); v.is = FLOAT; v.d = x; break; }
    case ACR_ST_F64: { LOAD(double); v.is = FLOAT; v.d = x; break; }
    default: v.is = BAD; break;
    }
    return v;
}

/* The element as an integer in [low, high]. */
static bool whole(value v, int64_t low, int64_t high, int64_t *out)
{
    if (v.is == FLOAT && v.d >= -0x1p63 && v.d < 0x1p63 && v.d == floor(v.d)) {
        v.is = INTEGER;
        v.i = (int64_t)v.d;
    }
    *out = v.i;
    return v.is == INTEGER && v.i >= low && v.i <= high;
}

static bool store(value v, kind to, void *out, int64_t at)
{
    int64_t i;
    switch (to) {
    case TO_F32: {
        float f = v.is == FLOAT ? (float)v.d : v.is == WIDE ? (float)v.u : (float)v.i;
        ((float *)out)[at] = f;
        return v.is != BAD && !(v.is == FLOAT && isinf(f) && !isinf(v.d));
    }
    case TO_F64:
        ((double *)out)[at] = v.is == FLOAT ? v.d : v.is == WIDE ? (double)v.u : (double)v.i;
        return v.is != BAD;
    case TO_I32:
        if (!whole(v, INT32_MIN, INT32_MAX, &i))
            return false;
        ((int32_t *)out)[at] = (int32_t)i;
        return true;
    default:
        if (!whole(v, INT64_MIN, INT64_MAX, &i))
            return false;
        ((int64_t *)out)[at] = i;
        return true;
    }
}

/* How many of the n elements were converted before one that can't be. Apart, so
 * that no arithmetic moves over the change of the floating-point environment. */
static __attribute__((noinline)) int64_t convert(acr_st_dtype dtype, const unsigned char *raw, int64_t n, kind to,
                                                 void *out, int64_t at)
{
    size_t bytes = acr_st_dtype_bytes(dtype);
    for (int64_t k = 0; k < n; k++)
        if (!store(element(dtype, raw + (size_t)k * bytes), to, out, at + k))
            return k;
    return n;
}

static acr_status refuse(acr_st *st, const acr_st_tensor *t, int64_t index, const unsigned char *p, kind to)
{
    static const char *const names[] = {"a 32-bit float", "a 64-bit float", "a 32-bit integer", "a 64-bit integer"};
    acr_context *ctx = acr__st_context(st);
    const char *path = acr_st_path(st);
    value v = element(t->dtype, p);
    if (v.is == BAD)
        return acr__fail(ctx, ACR_E_DATA, "%s: tensor %s: element %lld is the byte %d; a BOOL is 0 or 1", path, t->name,
                         (long long)index, *p);
    if (v.is == FLOAT)
        return acr__fail(ctx, ACR_E_DATA, "%s: tensor %s: element %lld is %.15g, which does not fit %s", path, t->name,
                         (long long)index, v.d, names[to]);
    if (v.is == WIDE)
        return acr__fail(ctx, ACR_E_DATA, "%s: tensor %s: element %lld is %llu, which does not fit %s", path, t->name,
                         (long long)index, (unsigned long long)v.u, names[to]);
    return acr__fail(ctx, ACR_E_DATA, "%s: tensor %s: element %lld is %lld, which does not fit %s", path, t->name,
                     (long long)index, (long long)v.i, names[to]);
}

static acr_status read_as(acr_st *st, int tensor, int64_t first, int64_t n, kind to, acr_st_dtype same, void *out)
{
    acr_st_tensor t;
    TRY(acr__st_range(st, tensor, first, n, &t));
    if (t.dtype == same)
        return acr_st_read_raw(st, tensor, first, n, out);
    _Alignas(16) unsigned char raw[CHUNK];
    size_t bytes = acr_st_dtype_bytes(t.dtype);
    for (int64_t at = 0; at < n;) {
        int64_t part = acr__min(n - at, CHUNK / (int64_t)bytes);
        TRY(acr_st_read_raw(st, tensor, first + at, part, raw));
        acr__fp saved;
        acr__fp_enter(&saved);
        int64_t done = convert(t.dtype, raw, part, to, out, at);
        acr__fp_leave(saved);
        if (done < part)
            return refuse(st, &t, first + at + done, raw + (size_t)done * bytes, to);
        at += part;
    }
    return ACR_OK;
}

acr_status acr_st_read_f32(acr_st *st, int tensor, int64_t first, int64_t n, float *out)
{
    return read_as(st, tensor, first, n, TO_F32, ACR_ST_F32, out);
}

acr_status acr_st_read_f64(acr_st *st, int tensor, int64_t first, int64_t n, double *out)
{
    return read_as(st, tensor, first, n, TO_F64, ACR_ST_F64, out);
}

acr_status acr_st_read_i32(acr_st *st, int tensor, int64_t first, int64_t n, int32_t *out)
{
    return read_as(st, tensor, first, n, TO_I32, ACR_ST_I32, out);
}

acr_status acr_st_read_i64(acr_st *st, int tensor, int64_t first, int64_t n, int64_t *out)
{
    return read_as(st, tensor, first, n, TO_I64, ACR_ST_I64, out);
}

/* ---- narrowing, by integer operations ------------------------------------------------ */

static bool to_bf16(uint32_t bits, uint16_t *out)
{
    if ((bits & 0x7fffffff) > 0x7f800000) { /* NaN */
        *out = (uint16_t)(bits >> 16 | 0x40);
        return true;
    }
    *out = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    return (*out & 0x7f80) != 0x7f80 || (bits & 0x7f800000) == 0x7f800000;
}

static bool to_f16(uint32_t bits, uint16_t *out)
{
    uint32_t sign = bits >> 16 & 0x8000, a = bits & 0x7fffffff;
    *out = (uint16_t)sign;
    if (a >= 0x7f800000) { /* Inf, NaN */
        *out = (uint16_t)(sign | (a > 0x7f800000 ? 0x7e00 : 0x7c00));
        return true;
    }
    if (a >= 0x477ff000) /* 65520, halfway to what would come after 65504 */
        return false;
    if (a >= 0x38800000) { /* 2^-14 and above: normal there */
        *out = (uint16_t)(sign | (a + 0xfff + (a >> 13 & 1) - 0x38000000) >> 13);
        return true;
    }
    uint32_t exponent = a >> 23;
    if (exponent < 102) /* below 2^-25 */
        return true;
    uint32_t shift = 126 - exponent, all = (a & 0x7fffff) | 0x800000, half = UINT32_C(1) << (shift - 1);
    uint32_t kept = all >> shift, rest = all & (2 * half - 1);
    *out = (uint16_t)(sign | (kept + (rest > half || (rest == half && kept & 1))));
    return true;
}

int64_t acr__st_narrow(acr_st_dtype dtype, const float *from, int64_t n, uint16_t *to)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &from[i], sizeof bits);
        if (!(dtype == ACR_ST_F16 ? to_f16(bits, &to[i]) : to_bf16(bits, &to[i])))
            return i;
    }
    return n;
}
