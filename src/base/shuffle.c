/* shuffle.c: a permutation of [0, n) computed one place at a time, so that an
 * epoch's order needs no memory and a resumed run no history.
 *
 * A Feistel network permutes the power of two at or above n (its halves differ
 * by a bit where the exponent is odd; Luby and Rackoff, SIAM J. Comput. 17,
 * 1988, with the unbalanced halves of Black and Rogaway, "Ciphers with arbitrary
 * finite domains", CT-RSA 2002). A result outside [0, n) is permuted again until
 * it is inside: walking a cycle of a permutation of the large domain gives a
 * permutation of the small one. That takes fewer than two passes on average.
 *
 * This shuffles; it does not encrypt. Domains below 2^MIN_BITS are not used: on
 * a handful of values a Feistel network reaches only some of the orders. */
#include "base/shuffle.h"
#include "base/philox.h"
#include <accrue/accrue.h>

enum { MIN_BITS = 6 };

void acr__shuffle_init(acr__shuffle *s, uint64_t seed, uint32_t epoch, int64_t n)
{
    uint64_t last = (uint64_t)n - 1;
    uint32_t bits = last >> MIN_BITS ? 64 - (uint32_t)__builtin_clzll(last) : MIN_BITS;
    s->n = (uint64_t)n;
    s->low_bits = bits / 2;
    s->high_bits = bits - bits / 2;
    uint32_t key[2], words[4];
    const uint32_t ctr[4] = {epoch, 0, 0, 0};
    acr__philox_key(seed, ACR_TWEAK_SHUFFLE, key);
    acr__philox4x32(ctr, key, words);
    /* One block of Philox serves six rounds: the last two differ from the first
     * by a constant, which the mixer spreads. A second block would double the
     * cost of a single look-up. */
    for (uint32_t r = 0; r < ACR_SHUFFLE_ROUNDS; r++)
        s->keys[r] = words[r % 4] + (r / 4) * UINT32_C(0x9E3779B9);
}

/* `bits` well mixed bits of half a value. */
static inline uint32_t mix(uint32_t half, uint32_t key, uint32_t bits)
{
    uint32_t h = (half ^ key) * UINT32_C(0x7FEB352D);
    h = (h ^ (h >> 15)) * UINT32_C(0x846CA68B);
    return h >> (32 - bits); /* the high bits of a product depend on all of it */
}

int64_t acr__shuffle_at(const acr__shuffle *s, int64_t index)
{
    uint32_t low_bits = s->low_bits, high_bits = s->high_bits;
    uint64_t value = (uint64_t)index;
    do {
        uint32_t low = (uint32_t)(value & ((UINT64_C(1) << low_bits) - 1));
        uint32_t high = (uint32_t)(value >> low_bits);
        for (int r = 0; r < ACR_SHUFFLE_ROUNDS; r += 2) {
            high ^= mix(low, s->keys[r], high_bits);
            low ^= mix(high, s->keys[r + 1], low_bits);
        }
        value = (uint64_t)high << low_bits | low;
    } while (value >= s->n);
    return (int64_t)value;
}

int64_t acr_shuffle(uint64_t seed, uint32_t epoch, int64_t n, int64_t index)
{
    acr__shuffle s;
    acr__shuffle_init(&s, seed, epoch, n);
    return acr__shuffle_at(&s, index);
}
