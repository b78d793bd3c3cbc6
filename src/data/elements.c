/* elements.c: stored numbers of any type and byte order to double or int64. It
 * rounds nothing to float: that happens once, after scaling, in source.c. */
#include "data/array.h"
#include <string.h>

static const bool host_big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;

bool acr__dtype_is_integer(acr_st_dtype dtype)
{
    return dtype != ACR_ST_F16 && dtype != ACR_ST_BF16 && dtype != ACR_ST_F32 && dtype != ACR_ST_F64;
}

static uint16_t u16_at(const uint8_t *p, bool swap)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return swap ? __builtin_bswap16(v) : v;
}

static uint32_t u32_at(const uint8_t *p, bool swap)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return swap ? __builtin_bswap32(v) : v;
}

static uint64_t u64_at(const uint8_t *p, bool swap)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return swap ? __builtin_bswap64(v) : v;
}

static double f32_of(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return (double)v;
}

static double f64_of(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* IEEE half: sign, 5 bits of exponent biased by 15, 10 of fraction. Exact in double. */
static double f16_of(uint16_t bits)
{
    uint64_t sign = (uint64_t)(bits >> 15) << 63, fraction = bits & 0x3ff;
    int exponent = bits >> 10 & 0x1f;
    if (exponent == 0)
        return (sign ? -1.0 : 1.0) * ((double)fraction * 0x1p-24); /* zero keeps its sign */
    if (exponent == 31)
        return f64_of(sign | UINT64_C(0x7ff) << 52 | fraction << 42);
    return f64_of(sign | (uint64_t)(exponent - 15 + 1023) << 52 | fraction << 42);
}

#define EACH(type, value)                            \
    case ACR_ST_##type:                              \
        for (int64_t i = 0; i < n; i++, in += bytes) \
            out[i] = (double)(value);                \
        return

void acr__elements_f64(acr_st_dtype dtype, bool big_endian, const uint8_t *in, int64_t n, double *out)
{
    bool swap = big_endian != host_big_endian;
    size_t bytes = acr_st_dtype_bytes(dtype);
    switch (dtype) {
        EACH(BOOL, *in);
        EACH(U8, *in);
        EACH(I8, (int8_t)*in);
        EACH(U16, u16_at(in, swap));
        EACH(I16, (int16_t)u16_at(in, swap));
        EACH(F16, f16_of(u16_at(in, swap)));
        EACH(BF16, f32_of((uint32_t)u16_at(in, swap) << 16));
        EACH(U32, u32_at(in, swap));
        EACH(I32, (int32_t)u32_at(in, swap));
        EACH(F32, f32_of(u32_at(in, swap)));
        EACH(U64, u64_at(in, swap));
        EACH(I64, (int64_t)u64_at(in, swap));
        EACH(F64, f64_of(u64_at(in, swap)));
    default:
        return;
    }
}
#undef EACH

int64_t acr__element_i64(acr_st_dtype dtype, bool big_endian, const uint8_t *in)
{
    bool swap = big_endian != host_big_endian;
    switch (dtype) {
    case ACR_ST_I8:
        return (int8_t)*in;
    case ACR_ST_U16:
        return u16_at(in, swap);
    case ACR_ST_I16:
        return (int16_t)u16_at(in, swap);
    case ACR_ST_U32:
        return u32_at(in, swap);
    case ACR_ST_I32:
        return (int32_t)u32_at(in, swap);
    case ACR_ST_I64:
        return (int64_t)u64_at(in, swap);
    case ACR_ST_U64: {
        uint64_t v = u64_at(in, swap);
        return v > INT64_MAX ? INT64_MAX : (int64_t)v;
    }
    default:
        return *in; /* U8, BOOL */
    }
}
