/* metrics.c: metrics.jsonl and metrics.csv. See lines.h.
 *
 * A line is made in a buffer that exists since open. What does not fit the buffer
 * is refused, never split. Lines are written several at a time, to both files or
 * to neither. */
#include "io/append.h"
#include "io/lines.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_COLUMNS = 2 };

struct acr__metrics {
    acr_context *ctx;
    acr__append jsonl, csv;
    char **columns;
    int count;
    char text[ACR_FIELDS][ACR_NUMBER_TEXT]; /* of the numbers of the last record: made once for both files, */
    acr__field made[ACR_FIELDS];            /* and again only for a number that has changed */
    char line[ACR_METRICS_LINE];
    int used;
    bool overflow;
};

/* ---- the line's text ------------------------------------------------------------- */

static void put(acr__metrics *m, const char *text, int n)
{
    if (n > ACR_METRICS_LINE - m->used) {
        m->overflow = true;
        return;
    }
    memcpy(m->line + m->used, text, (size_t)n);
    m->used += n;
}

static void put_text(acr__metrics *m, const char *text)
{
    put(m, text, (int)strlen(text));
}

static void put_i64(acr__metrics *m, int64_t v)
{
    char text[24];
    put(m, text, snprintf(text, sizeof text, "%lld", (long long)v));
}

static void put_time(acr__metrics *m, double timestamp)
{
    char text[ACR_NUMBER_TEXT];
    int64_t microseconds = timestamp > 0 && timestamp < 1e12 ? (int64_t)(timestamp * 1e6) : 0;
    put(m, text, snprintf(text, sizeof text, "%lld.%06lld", (long long)(microseconds / 1000000),
                          (long long)(microseconds % 1000000)));
}

static void put_json_string(acr__metrics *m, const char *text)
{
    put(m, "\"", 1);
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        char escaped[8];
        if (c == '"' || c == '\\')
            put(m, "\\", 1);
        if (c < 32)
            put(m, escaped, snprintf(escaped, sizeof escaped, "\\u%04x", c));
        else
            put(m, p, 1);
    }
    put(m, "\"", 1);
}

size_t acr__metrics_text(const char *text, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += (unsigned char)text[i] < 32 ? 6 : text[i] == '"' || text[i] == '\\' ? 2 : 1;
    return bytes;
}

static void put_csv_string(acr__metrics *m, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        put_text(m, text);
        return;
    }
    put(m, "\"", 1);
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            put(m, "\"", 1);
        put(m, p, 1);
    }
    put(m, "\"", 1);
}

static void make_number(acr__metrics *m, int i, const acr__field *f)
{
    char *out = m->text[i];
    acr__field *made = &m->made[i];
    if (made->name && made->kind == f->kind && made->i == f->i && !memcmp(&made->d, &f->d, sizeof f->d))
        return;
    *made = *f;
    *out = '\0';
    if (f->kind == ACR_FIELD_I64)
        snprintf(out, ACR_NUMBER_TEXT, "%lld", (long long)f->i);
    else if (f->kind == ACR_FIELD_F64 && isfinite(f->d))
        acr__number_f64(f->d, out);
    else if (f->kind == ACR_FIELD_F32 && isfinite((float)f->d))
        acr__number_f32((float)f->d, out);
}

/* number: what make_number made of the field. */
static void put_value(acr__metrics *m, const acr__field *f, const char *number, bool json)
{
    if (f->kind == ACR_FIELD_BOOL)
        put_text(m, f->i ? "true" : "false");
    else if (f->kind != ACR_FIELD_TEXT && *number)
        put_text(m, number);
    else if (f->kind != ACR_FIELD_TEXT || !f->text)
        put_text(m, json ? "null" : "");
    else if (json)
        put_json_string(m, f->text);
    else
        put_csv_string(m, f->text);
}

static void make_json(acr__metrics *m, int64_t step, double timestamp, int count, const acr__field *fields)
{
    put_text(m, "{\"step\":");
    put_i64(m, step);
    put_text(m, ",\"timestamp\":");
    put_time(m, timestamp);
    for (int i = 0; i < count; i++) {
        put(m, ",", 1);
        put_json_string(m, fields[i].name);
        put(m, ":", 1);
        put_value(m, &fields[i], m->text[i], true);
    }
    put_text(m, "}\n");
}

static void make_csv(acr__metrics *m, int64_t step, double timestamp, int count, const acr__field *fields)
{
    put_i64(m, step);
    put(m, ",", 1);
    put_time(m, timestamp);
    for (int c = 0, next = 0; c < m->count; c++) { /* fields mostly come in the order of the columns */
        put(m, ",", 1);
        for (int k = 0; k < count; k++) {
            int i = (next + k) % count;
            if (strcmp(fields[i].name, m->columns[c]) != 0)
                continue;
            put_value(m, &fields[i], m->text[i], false);
            next = i + 1;
            break;
        }
    }
    put(m, "\n", 1);
}

static void make_csv_head(acr__metrics *m)
{
    put_text(m, "step,timestamp");
    for (int c = 0; c < m->count; c++) {
        put(m, ",", 1);
        put_csv_string(m, m->columns[c]);
    }
    put(m, "\n", 1);
}

/* ---- the files ------------------------------------------------------------------- */

acr_status acr__metrics_flush(acr__metrics *m)
{
    int64_t before = m->jsonl.written;
    acr_status status = acr__append_flush(&m->jsonl);
    if (status == ACR_OK)
        status = acr__append_flush(&m->csv);
    if (status != ACR_OK) {
        acr__append_cut(&m->jsonl, before);
        acr__append_cut(&m->csv, m->csv.written);
    }
    return status;
}

/* Takes the line that was made. There is room for it. */
static acr_status hold(acr__metrics *m, acr__append *f)
{
    int n = m->used;
    bool overflow = m->overflow;
    m->used = 0;
    m->overflow = false;
    FAIL_IF(overflow, m->ctx, ACR_E_ARGUMENT, "%s: a line is longer than %d bytes", f->path, ACR_METRICS_LINE);
    acr__append_hold(f, m->line, (size_t)n);
    return ACR_OK;
}

/* Moves *end back to just after the last line break at or before it. */
static acr_status last_line(acr__metrics *m, const acr__append *f, int64_t *end)
{
    while (*end > 0) {
        int64_t n = acr__min(*end, ACR_METRICS_LINE);
        TRY(acr__file_pread(m->ctx, f->path, f->fd, m->line, (size_t)n, *end - n));
        while (n > 0 && m->line[n - 1] != '\n') {
            n--;
            --*end;
        }
        if (n > 0)
            return ACR_OK;
    }
    return ACR_OK;
}

static acr_status open_log(acr__metrics *m, acr__append *f, const char *folder, const char *name, int64_t at)
{
    f->path = acr__path_join(m->ctx, folder, name);
    if (!f->path)
        return ACR_E_NO_MEMORY;
    TRY(acr__file_create(m->ctx, f->path, at < 0, true, &f->fd));
    if (at < 0)
        return ACR_OK;
    int64_t size;
    TRY(acr__file_size(m->ctx, f->path, f->fd, &size));
    f->written = acr__min(size, at);
    TRY(last_line(m, f, &f->written));
    return f->written < size ? acr__file_truncate(m->ctx, f->path, f->fd, f->written) : ACR_OK;
}

static acr_status check_csv_head(acr__metrics *m)
{
    make_csv_head(m);
    FAIL_IF(m->overflow, m->ctx, ACR_E_ARGUMENT, "%s: the columns' names take more than %d bytes", m->csv.path, ACR_METRICS_LINE);
    if (m->csv.written == 0) {
        TRY(hold(m, &m->csv));
        return acr__append_flush(&m->csv);
    }
    char part[512];
    int n = m->used;
    bool same = n <= m->csv.written;
    m->used = 0;
    for (int at = 0; same && at < n; at += (int)sizeof part) {
        size_t bytes = (size_t)acr__min(n - at, (int64_t)sizeof part);
        TRY(acr__file_pread(m->ctx, m->csv.path, m->csv.fd, part, bytes, at));
        same = !memcmp(part, m->line + at, bytes);
    }
    FAIL_IF(!same, m->ctx, ACR_E_DATA, "%s: its columns are not those of this run; move it away to begin a new one",
            m->csv.path);
    return ACR_OK;
}

acr_status acr__metrics_open(acr__metrics **out, acr_context *ctx, const char *folder, int count,
                             const char *const *columns, const acr__metrics_offsets *at)
{
    acr__metrics *m = acr__alloc(ctx, sizeof *m);
    if (!m)
        return ACR_E_NO_MEMORY;
    m->ctx = ctx;
    m->jsonl.ctx = m->csv.ctx = ctx;
    m->jsonl.fd = m->csv.fd = -1;
    m->columns = acr__alloc(ctx, sizeof *m->columns * ((size_t)count + 1));
    acr_status status = m->columns ? ACR_OK : ACR_E_NO_MEMORY;
    for (int i = 0; i < count && status == ACR_OK; i++) {
        m->columns[i] = acr__strdup(ctx, columns[i]);
        m->count += m->columns[i] != NULL;
        status = m->columns[i] ? ACR_OK : ACR_E_NO_MEMORY;
    }
    if (status == ACR_OK)
        status = open_log(m, &m->jsonl, folder, "metrics.jsonl", at ? at->jsonl : -1);
    if (status == ACR_OK)
        status = open_log(m, &m->csv, folder, "metrics.csv", at ? at->csv : -1);
    if (status == ACR_OK)
        status = check_csv_head(m);
    if (status != ACR_OK) {
        acr__metrics_close(m);
        return status;
    }
    *out = m;
    return ACR_OK;
}

void acr__metrics_close(acr__metrics *m)
{
    if (!m)
        return;
    acr__append_close(&m->jsonl);
    acr__append_close(&m->csv);
    for (int i = 0; m->columns && i < m->count; i++)
        acr__free(m->ctx, m->columns[i]);
    acr__free(m->ctx, m->columns);
    acr__free(m->ctx, m);
}

acr_status acr__metrics_line(acr__metrics *m, int64_t step, double timestamp, int count, const acr__field *fields)
{
    FAIL_IF(count < 0 || count > ACR_FIELDS, m->ctx, ACR_E_ARGUMENT, "%s: a record of %d fields; at most %d",
            m->jsonl.path, count, ACR_FIELDS);
    if (!acr__append_room(&m->jsonl, ACR_METRICS_LINE) || !acr__append_room(&m->csv, ACR_METRICS_LINE))
        TRY(acr__metrics_flush(m));
    int64_t before = acr__append_end(&m->jsonl);
    for (int i = 0; i < count; i++)
        make_number(m, i, &fields[i]);
    make_json(m, step, timestamp, count, fields);
    TRY(hold(m, &m->jsonl));
    make_csv(m, step, timestamp, count, fields);
    acr_status status = hold(m, &m->csv);
    if (status != ACR_OK)
        acr__append_cut(&m->jsonl, before);
    return status;
}

void acr__metrics_where(const acr__metrics *m, acr__metrics_offsets *out)
{
    out->jsonl = acr__append_end(&m->jsonl);
    out->csv = acr__append_end(&m->csv);
}

acr_status acr__metrics_sync(acr__metrics *m)
{
    TRY(acr__metrics_flush(m));
    TRY(acr__append_sync(&m->jsonl));
    return acr__append_sync(&m->csv);
}
