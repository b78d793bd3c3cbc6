/* report.c: FOLDER/report.html, one file that opens anywhere: no scripts, nothing
 * from elsewhere, the curves as inline SVG.
 *
 * It reads what the run left (resolved.yaml, metrics.jsonl), is given the receipt, and
 * knows nothing of training. Each curve is cut into at most BUCKETS pieces, so that its
 * memory and the file's size do not grow with the run. */
#include "cli/common.h"
#include "io/lines.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 240, WIDTH = 640, HEIGHT = 220, LEFT = 64, BOTTOM = 28, TOP = 12, RIGHT = 12 };
enum { LINE = ACR_METRICS_LINE + 2 };

typedef struct series {
    const char *key, *label, *color;
    double sum[BUCKETS];
    int64_t count[BUCKETS];
} series;

typedef struct chart {
    const char *title;
    int first, count; /* series */
    enum { PLAIN, LOG, FROM_ZERO } scale;
} chart;

enum { SERIES = 9 };
static const series blank[SERIES] = {
    {"loss", "training", "#2563eb", {0}, {0}},
    {"eval_loss", "evaluation", "#dc2626", {0}, {0}},
    {"eval_accuracy", "accuracy of evaluation", "#059669", {0}, {0}},
    {"lr", "learning rate", "#7c3aed", {0}, {0}},
    {"grad_norm", "gradient norm before clipping", "#b45309", {0}, {0}},
    {"samples_per_second", "samples a second", "#0891b2", {0}, {0}},
    {"tokens_per_second", "tokens a second", "#0891b2", {0}, {0}},
    {"eval_perplexity", "perplexity of evaluation", "#059669", {0}, {0}},
    {"peak_rss_bytes", "high-water mark, MiB", "#4b5563", {0}, {0}},
};
static const chart charts[] = {
    {"Loss", 0, 2, PLAIN},
    {"Accuracy", 2, 1, PLAIN},
    {"Learning rate", 3, 1, FROM_ZERO},
    {"Gradient norm (logarithmic)", 4, 1, LOG},
    {"Samples a second", 5, 1, FROM_ZERO},
    {"Tokens a second", 6, 1, FROM_ZERO},
    {"Perplexity (logarithmic)", 7, 1, LOG},
    {"Memory of the process, MiB", 8, 1, FROM_ZERO},
};

static void put_text(FILE *f, const char *s)
{
    for (; *s; s++) {
        if (*s == '<')
            fputs("&lt;", f);
        else if (*s == '&')
            fputs("&amp;", f);
        else if (*s == '"')
            fputs("&quot;", f);
        else
            fputc(*s, f);
    }
}

/* ---- reading ---- */

/* The number behind "key": in a line of metrics.jsonl. The lines are the log's own and
 * flat, and quotes within a sample's text are escaped, so they need no parser of JSON: a
 * long run has many. */
static bool number_of(const char *line, const char *key, double *out)
{
    char name[64];
    int n = snprintf(name, sizeof name, "\"%s\":", key);
    const char *at = strstr(line, name);
    char *end = NULL;
    if (at)
        *out = strtod(at + n, &end);
    return at && end != at + n && isfinite(*out);
}

/* Calls use(step, line) for each line of metrics.jsonl; a missing file has none. */
static void each_line(const char *folder, void (*use)(void *user, int64_t step, const char *line), void *user)
{
    char path[ACR__PATH_BYTES], line[LINE];
    double step;
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (number_of(line, "step", &step) && step >= 0 && step < 9e15)
            use(user, (int64_t)step, line);
    if (f)
        fclose(f);
}

typedef struct reading {
    int64_t last, lines;
    series *all;
} reading;

static void find_last(void *user, int64_t step, const char *line)
{
    (void)line;
    reading *r = user;
    r->lines++;
    if (step > r->last)
        r->last = step;
}

static void add_line(void *user, int64_t step, const char *line)
{
    reading *r = user;
    int64_t bucket = step > 0 ? (int64_t)((double)(step - 1) / (double)r->last * BUCKETS) : 0;
    for (int i = 0; i < SERIES; i++) {
        double x;
        if (!number_of(line, r->all[i].key, &x))
            continue;
        r->all[i].sum[bucket] += strcmp(r->all[i].key, "peak_rss_bytes") == 0 ? x / 1048576 : x;
        r->all[i].count[bucket]++;
    }
}

/* ---- drawing ---- */

static bool bounds(const series *s, int count, int scale, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (int i = 0; i < count; i++)
        for (int b = 0; b < BUCKETS; b++)
            if (s[i].count[b]) {
                double v = s[i].sum[b] / (double)s[i].count[b];
                if (scale == LOG && !(v > 0))
                    continue;
                *low = fmin(*low, v);
                *high = fmax(*high, v);
            }
    if (!(*low <= *high))
        return false;
    double room = *high > *low ? (*high - *low) * 0.06 : fmax(fabs(*high) * 0.1, 1e-9);
    if (scale == LOG) {
        *low /= 1.15;
        *high *= 1.15;
    } else {
        bool zero = scale == FROM_ZERO || (*low >= 0 && *low - room < 0);
        *low = zero ? fmin(*low, 0) : *low - room;
        *high += room;
    }
    return true;
}

static double height_of(double v, double low, double high, bool log_scale)
{
    double share = log_scale ? (log(v) - log(low)) / (log(high) - log(low)) : (v - low) / (high - low);
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);
}

/* Enough to tell five steps of an axis apart. */
static int decimals(double high)
{
    int n = high > 0 ? 2 - (int)floor(log10(high)) : 2;
    return n < 0 ? 0 : n > 6 ? 6 : n;
}

static void draw_axes(FILE *f, double low, double high, bool log_scale, int64_t last)
{
    for (int i = 0; i <= 4; i++) {
        double v = log_scale ? low * pow(high / low, i / 4.0) : low + (high - low) * i / 4;
        double y = height_of(v, low, high, log_scale);
        fprintf(f, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.*f</text>\n",
                LEFT, WIDTH - RIGHT, y, y, LEFT - 6, y + 4, decimals(high), v);
    }
    for (int i = 0; i <= 4; i++) {
        double x = LEFT + (WIDTH - LEFT - RIGHT) * i / 4.0;
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%lld</text>\n", x, HEIGHT - 8,
                i == 0 ? "start" : i == 4 ? "end" : "middle", (long long)(last * i / 4));
    }
}

static void draw_series(FILE *f, const series *s, double low, double high, bool log_scale)
{
    int points = 0;
    double x = 0, y = 0;
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" points=\"", s->color);
    for (int b = 0; b < BUCKETS; b++) {
        double v = s->count[b] ? s->sum[b] / (double)s->count[b] : NAN;
        if (!isfinite(v) || (log_scale && v <= 0))
            continue;
        x = LEFT + (b + 0.5) * (WIDTH - LEFT - RIGHT) / BUCKETS;
        y = height_of(v, low, high, log_scale);
        fprintf(f, "%.1f,%.1f ", x, y);
        points++;
    }
    fprintf(f, "\"/>\n");
    if (points == 1) /* a line of one point is invisible */
        fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x, y, s->color);
}

static void draw_chart(FILE *f, const chart *c, const series *all, int64_t last)
{
    double low, high;
    const series *s = all + c->first;
    bool log_scale = c->scale == LOG;
    if (!bounds(s, c->count, c->scale, &low, &high))
        return;
    fprintf(f, "<figure><figcaption>%s", c->title);
    for (int i = 0; i < c->count && c->count > 1; i++)
        fprintf(f, " <span style=\"color:%s\">&#9632; %s</span>", s[i].color, s[i].label);
    fprintf(f, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s by update\">\n", WIDTH, HEIGHT, c->title);
    draw_axes(f, low, high, log_scale, last);
    for (int i = 0; i < c->count; i++)
        draw_series(f, &s[i], low, high, log_scale);
    fprintf(f, "</svg></figure>\n");
}

/* ---- the page ---- */

static void put_head(FILE *f, const char *folder)
{
    const char *name = strrchr(folder, '/') ? strrchr(folder, '/') + 1 : folder;
    fprintf(f, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    put_text(f, name);
    fprintf(f, " - accrue</title>\n<style>\n"
            "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1340px;padding:0 1rem;color:#111;background:#fff}\n"
            "h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .5rem}\n"
            ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%%,420px),1fr));gap:1rem}\n"
            "figure{margin:0;border:1px solid #ddd;border-radius:6px;padding:.6rem}figcaption{font-weight:600}\n"
            "figcaption span{font-weight:400;margin-left:.8rem}svg{width:100%%;height:auto}\n"
            "svg text{font:11px system-ui,sans-serif;fill:#555}.grid{stroke:#e5e5e5}\n"
            "table{border-collapse:collapse}td{padding:.15rem .9rem .15rem 0;vertical-align:top}td+td{font-family:ui-monospace,monospace}\n"
            "td.number{text-align:right}td.bars{width:16rem;vertical-align:middle}"
            "td.bars div{height:.7rem;background:#93c5fd;border-radius:2px}\n"
            "h3{font-size:.9rem;font-weight:400;margin:.8rem 0 .2rem}\n"
            "pre{background:#f6f6f6;padding:.8rem;border-radius:6px;overflow:auto;white-space:pre-wrap}\n"
            "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}figure{border-color:#333}svg text{fill:#aaa}"
            ".grid{stroke:#2a2a2a}pre{background:#1b1b1b}td.bars div{background:#1d4ed8}}\n"
            "</style></head><body>\n<h1>");
    put_text(f, name);
    fprintf(f, "</h1>\n");
}

static void put_value(FILE *f, const char *key, json_t *v)
{
    char text[ACR__SHORT];
    size_t n = strlen(key);
    if (json_is_integer(v) && n > 6 && strcmp(key + n - 6, "_bytes") == 0)
        put_text(f, acr__bytes_text(json_integer_value(v), text));
    else if (json_is_integer(v))
        put_text(f, acr__count_text(json_integer_value(v), text));
    else if (json_is_real(v))
        fprintf(f, "%.6g", json_real_value(v));
    else if (json_is_string(v))
        put_text(f, json_string_value(v));
    else
        fputs("-", f);
}

/* The plain values of an object as a table; nothing where there is none. */
static void put_table(FILE *f, const char *title, const json_t *object)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return;
    fprintf(f, "<h2>%s</h2>\n<table>\n", title);
    json_object_foreach((json_t *)object, key, value) {
        if (json_is_object(value) || json_is_array(value))
            continue;
        fprintf(f, "<tr><td>");
        put_text(f, key);
        fprintf(f, "</td><td>");
        put_value(f, key, value);
        fprintf(f, "</td></tr>\n");
    }
    fprintf(f, "</table>\n");
}

/* A bar for each kind of the plan, the largest whole. */
static void put_memory(FILE *f, const json_t *memory)
{
    const char *key;
    json_t *value;
    char text[ACR__SHORT];
    json_int_t most = 1, sum = 0;
    if (!json_is_object(memory))
        return;
    json_object_foreach((json_t *)memory, key, value) {
        most = json_integer_value(value) > most ? json_integer_value(value) : most;
        sum += json_integer_value(value);
    }
    fprintf(f, "<h2>Memory, as planned</h2>\n<table>\n");
    json_object_foreach((json_t *)memory, key, value) {
        fprintf(f, "<tr><td>");
        put_text(f, key);
        fprintf(f, "</td><td class=\"number\">%s</td><td class=\"bars\"><div style=\"width:%.1f%%\"></div></td></tr>\n",
                acr__bytes_text(json_integer_value(value), text), 100 * (double)json_integer_value(value) / (double)most);
    }
    fprintf(f, "<tr><td>planned peak</td><td class=\"number\">%s</td><td></td></tr>\n</table>\n",
            acr__bytes_text(sum, text));
}

static void put_receipt(FILE *f, const char *text)
{
    json_t *receipt = json_loads(text, 0, NULL);
    put_table(f, "Result", json_object_get(receipt, "record"));
    put_memory(f, json_object_get(receipt, "memory"));
    put_table(f, "Machine", json_object_get(receipt, "machine"));
    json_decref(receipt);
}

/* What the model wrote at evaluations: the lines of metrics.jsonl that hold a text. */
static void put_sample(void *user, int64_t step, const char *line)
{
    FILE *f = user;
    json_t *all = strstr(line, "\"sample\":") ? json_loads(line, 0, NULL) : NULL;
    const char *text = json_string_value(json_object_get(all, "sample"));
    if (text) {
        fprintf(f, "<h3>after update %lld</h3>\n<pre>", (long long)step);
        put_text(f, text);
        fprintf(f, "</pre>\n");
    }
    json_decref(all);
}

static void put_samples(FILE *f, const char *folder)
{
    long before = ftell(f), begun;
    fprintf(f, "<h2>Samples</h2>\n");
    begun = ftell(f);
    each_line(folder, put_sample, f);
    if (ftell(f) == begun) /* none: the heading goes too */
        fseek(f, before, SEEK_SET);
}

static void put_recipe(FILE *f, const char *folder)
{
    char path[ACR__PATH_BYTES], line[1024];
    snprintf(path, sizeof path, "%s/resolved.yaml", folder);
    FILE *in = fopen(path, "r");
    if (!in)
        return;
    fprintf(f, "<h2>Configuration</h2>\n<pre>");
    while (fgets(line, sizeof line, in))
        put_text(f, line);
    fprintf(f, "</pre>\n");
    fclose(in);
}

static void put_page(FILE *f, const char *folder, const char *receipt, reading *r)
{
    each_line(folder, find_last, r);
    each_line(folder, add_line, r);
    put_head(f, folder);
    fprintf(f, "<h2>By update</h2>\n<div class=\"charts\">\n");
    for (size_t i = 0; i < sizeof charts / sizeof *charts; i++)
        draw_chart(f, &charts[i], r->all, r->last);
    fprintf(f, "</div>\n");
    put_samples(f, folder);
    put_receipt(f, receipt);
    put_recipe(f, folder);
    fprintf(f, "<p>accrue %s, numerics %d</p>\n</body></html>\n", acr_version(), acr_numerics());
}

acr_status acr__report_write(acr_context *ctx, const char *folder, const char *receipt)
{
    char path[ACR__PATH_BYTES];
    acr__draft draft;
    reading r = {.all = acr__alloc(ctx, sizeof blank)};
    if (!r.all)
        return ACR_E_NO_MEMORY;
    memcpy(r.all, blank, sizeof blank);
    snprintf(path, sizeof path, "%s/report.html", folder);
    acr_status status = acr__draft_open(&draft, ctx, path);
    if (status == ACR_OK) {
        put_page(draft.f, folder, receipt, &r);
        status = acr__draft_put(&draft, status);
    }
    acr__free(ctx, r.all);
    return status;
}
