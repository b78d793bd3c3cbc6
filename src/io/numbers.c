/* numbers.c: floats as short text that reads back the same.
 *
 * Not a clever algorithm: the C library's printing at growing precision, checked
 * by reading back, a microsecond a number. The locale's decimal point, whatever
 * bytes it has, becomes a '.'. */
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

int acr__number_f64(double v, char *out)
{
    if (!isfinite(v))
        return plain(v, out);
    if (fabs(v) < 1e15 && v == (double)(int64_t)v && (v != 0 || !signbit(v)))
        return snprintf(out, ACR_NUMBER_TEXT, "%lld", (long long)v);
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
