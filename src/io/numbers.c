/* numbers.c: floats as short text that reads back the same.
 *
 * The C library's printing at growing precision, checked by reading back, defines
 * the text; it takes some two microseconds a number. Numbers as a log has them fit
 * whole numbers of 128 bits instead, to the same text in a tenth of that. The
 * locale's decimal point, whatever bytes it has, becomes a '.'. */
#include "io/lines.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int plain(double v, char *out)
{
    const char *text = isnan(v) ? "nan" : v > 0 ? "inf" : "-inf";
    strcpy(out, text);
    return (int)strlen(text);
}

static int with_point(char *text)
{
    int n = 0;
    bool point = false;
    for (const char *p = text; *p; p++) {
        if ((*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == 'e') {
            text[n++] = *p;
            point = false;
        } else if (!point) {
            text[n++] = '.';
            point = true;
        }
    }
    text[n] = '\0';
    return n;
}

#ifdef __SIZEOF_INT128__
__extension__ typedef unsigned __int128 wide;

/* Numbers from the first to the last have their digits found here: powers of ten. */
static const double power[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0,  1e1,  1e2,  1e3,  1e4,
                               1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
enum { POWERS = sizeof power / sizeof *power, LEAST = -6 };

/* v = m / 2^shift, so its digits are those of m * 10^p / 2^shift: below 2^127, since
 * m < 2^53 and p < 23. The digits nearest to it; false if they are nearer to a neighbour
 * of m's: what they leave of the quotient must be less than half of 10^p. (Just half it
 * cannot be: half way between numbers below 10^15 lies no text of 17 digits.) */
static bool nearest(uint64_t m, int shift, int p, bool must, uint64_t *digits)
{
    wide ten = 1;
    for (int i = 0; i < p; i++)
        ten *= 10;
    wide product = m * ten, half = (wide)1 << (shift - 1), rest = product & (2 * half - 1);
    *digits = (uint64_t)(product >> shift);
    if (rest > half || (rest == half && *digits % 2)) {
        rest = 2 * half - rest;
        ++*digits;
    }
    return must || 2 * rest < ten;
}

/* digits * 10^(exponent + 1 - count), as %g has it. */
static int as_text(bool negative, uint64_t digits, int exponent, char *out)
{
    char text[24], *first = text + sizeof text, *to = out;
    while (digits % 10 == 0)
        digits /= 10;
    for (; digits; digits /= 10)
        *--first = (char)('0' + digits % 10);
    const char *end = text + sizeof text;
    if (negative)
        *to++ = '-';
    int whole = exponent < -4 ? 1 : exponent + 1; /* digits before the point */
    if (whole <= 0)
        *to++ = '0';
    for (int i = 0; i < whole; i++)
        *to++ = *first++;
    if (first < end)
        *to++ = '.';
    for (; whole < 0; whole++)
        *to++ = '0';
    while (first < end)
        *to++ = *first++;
    if (exponent < -4)
        to += snprintf(to, 8, "e-%02d", -exponent);
    *to = '\0';
    return (int)(to - out);
}

/* v is not whole, so none of its texts is; nor are their digits rounded up to the next
 * power of ten, which is a number of its own. */
static int short_text(double v, char *out)
{
    int binary, exponent = LEAST, n = 15;
    uint64_t m = (uint64_t)ldexp(frexp(fabs(v), &binary), 53), digits;
    while (fabs(v) >= power[exponent + 1 - LEAST])
        exponent++;
    while (!nearest(m, 53 - binary, n - 1 - exponent, n == 17, &digits))
        n++;
    return as_text(v < 0, digits, exponent, out);
}
#endif

int acr__number_f64(double v, char *out)
{
    if (!isfinite(v))
        return plain(v, out);
    if (fabs(v) < 1e15 && v == (double)(int64_t)v && (v != 0 || !signbit(v)))
        return snprintf(out, ACR_NUMBER_TEXT, "%lld", (long long)v);
#ifdef __SIZEOF_INT128__
    if (fabs(v) >= power[0] && fabs(v) < power[POWERS - 1])
        return short_text(v, out);
#endif
    /* 16 first: most numbers that were computed need 17, most that were typed 15 */
    char longer[ACR_NUMBER_TEXT];
    snprintf(longer, sizeof longer, "%.16g", v);
    bool enough = strtod(longer, NULL) == v;
    snprintf(out, ACR_NUMBER_TEXT, "%.*g", enough ? 15 : 17, v);
    if (enough && strtod(out, NULL) != v)
        memcpy(out, longer, sizeof longer);
    return with_point(out);
}

int acr__number_f32(float v, char *out)
{
    if (!isfinite(v))
        return plain(v, out);
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(out, ACR_NUMBER_TEXT, "%.*g", digits, (double)v);
        if (strtof(out, NULL) == v)
            break;
    }
    return with_point(out);
}
