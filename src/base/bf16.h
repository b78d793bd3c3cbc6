/* bf16.h: bfloat16, the upper half of a float, as 16 bits.
 *
 * Two conversions from float, which differ below the smallest normal number and
 * are never to be mixed up: operands of products (rule 2) know no subnormals,
 * files keep every value they can hold. Both round to nearest even and turn any
 * NaN into a quiet one of the same sign; both agree on everything else.
 *
 * They are integer arithmetic, so no control register changes them. */
#ifndef ACR_BF16_H
#define ACR_BF16_H

#include <stdint.h>
#include <string.h>

static inline uint32_t acr__float_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static inline float acr__float_of_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float acr__bf16_to_float(uint16_t h) { return acr__float_of_bits((uint32_t)h << 16); }

/* For files: subnormals stay. */
static inline uint16_t acr__bf16_for_file(float x)
{
    uint32_t u = acr__float_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* For operands of products, as VCVTNEPS2BF16 converts: exponent field 0 -> +-0. */
static inline uint16_t acr__bf16_operand(float x)
{
    uint32_t u = acr__float_bits(x);
    return (u & 0x7f800000u) == 0 ? (uint16_t)(u >> 16 & 0x8000u) : acr__bf16_for_file(x);
}

/* bf16 from a file as an operand. */
static inline uint16_t acr__bf16_flushed(uint16_t h) { return (h & 0x7f80u) == 0 ? (uint16_t)(h & 0x8000u) : h; }

#endif
