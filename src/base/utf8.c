/* utf8.c: see utf8.h. */
#include "base/utf8.h"

#include <stdbool.h>
#include <string.h>

/* The length that a first byte announces and the least character it may give. */
static size_t announced(uint8_t c, uint32_t *least)
{
    if (c < 0x80)
        return *least = 0, 1;
    if (c >= 0xc2 && c < 0xe0)
        return *least = 0x80, 2;
    if (c >= 0xe0 && c < 0xf0)
        return *least = 0x800, 3;
    if (c >= 0xf0 && c < 0xf5)
        return *least = 0x10000, 4;
    return 0;
}

static bool good_at(const uint8_t *p, size_t n, size_t *length)
{
    uint32_t least, c = p[0];
    *length = announced(p[0], &least);
    if (*length == 0 || *length > n)
        return false;
    if (*length > 1)
        c &= 0x7fu >> *length;
    for (size_t i = 1; i < *length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return false;
        c = c << 6 | (p[i] & 0x3f);
    }
    return c >= least && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
}

size_t acr__utf8_bad(const char *text, size_t n)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t i = 0, length;
    while (i < n) {
        uint64_t eight;
        while (n - i >= 8 && (memcpy(&eight, p + i, 8), (eight & UINT64_C(0x8080808080808080)) == 0))
            i += 8;
        if (i == n || !good_at(p + i, n - i, &length))
            break;
        i += length;
    }
    return i;
}

uint32_t acr__utf8_take(const char *text, size_t *length)
{
    const uint8_t *p = (const uint8_t *)text;
    uint32_t least, c = p[0];
    *length = announced(p[0], &least);
    if (*length > 1)
        c &= 0x7fu >> *length;
    for (size_t i = 1; i < *length; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}
