/* memory.c: the process's memory: what it is, what it will be, what there is.
 *
 * The kernel's own counters are the measure, because the promise is on them. A
 * page that is touched once counts for ever, so the plan counts whole buffers,
 * used or not. Choosing among plans is fit.c's. */
#include "cli/memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 8192 };

/* A small file of the kernel's into text; without stdio, which would allocate. */
static bool read_text(const char *path, char text[TEXT])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t used = 0;
    for (ssize_t n = 1; n > 0 && used<TEXT - 1; used += n> 0 ? (size_t)n : 0)
        n = read(fd, text + used, TEXT - 1 - used);
    close(fd);
    text[used] = '\0';
    return used > 0;
}

/* The number behind `key` at the beginning of a line; -1: there is none. */
static int64_t number_of(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n) == 0)
            return strtoll(line + n, NULL, 10);
    }
    return -1;
}

static int64_t status_bytes(const char *key)
{
    char text[TEXT];
    int64_t kib = read_text("/proc/self/status", text) ? number_of(text, key) : -1;
    return kib < 0 ? 0 : kib * 1024;
}

int64_t acr__memory_peak(void) { return status_bytes("VmHWM:"); }

int64_t acr__memory_now(void) { return status_bytes("VmRSS:"); }

int64_t acr__memory_unread(void)
{
    char text[TEXT];
    if (!read_text("/proc/self/status", text))
        return 0;
    int64_t program = number_of(text, "VmExe:") + number_of(text, "VmLib:") - number_of(text, "RssFile:");
    return program > 0 ? program * 1024 : 0;
}

/* ---- what there is ------------------------------------------------------------ */
/* The least that root/path and the folders above it leave; -1: no limit there. */
static int64_t group_free(const char *root, const char *path, const char *limit_file, const char *used_file)
{
    char folder[1024], file[1200], text[TEXT];
    int64_t least = -1;
    if (snprintf(folder, sizeof folder, "%s%s", root, path) >= (int)sizeof folder)
        return -1;
    while (strlen(folder) >= strlen(root)) {
        snprintf(file, sizeof file, "%s/%s", folder, limit_file);
        int64_t limit = read_text(file, text) && *text >= '0' && *text <= '9' ? strtoll(text, NULL, 10) : -1;
        snprintf(file, sizeof file, "%s/%s", folder, used_file);
        int64_t used = read_text(file, text) ? strtoll(text, NULL, 10) : 0;
        snprintf(file, sizeof file, "%s/memory.stat", folder);
        int64_t cache = read_text(file, text) ? number_of(text, "inactive_file ") : 0; /* given back when asked for */
        int64_t left = limit - used + (cache > 0 ? cache : 0);
        if (limit >= 0 && limit < INT64_MAX / 2 && (least < 0 || left < least))
            least = left > 0 ? left : 0;
        char *slash = strrchr(folder, '/');
        if (!slash || slash < folder + strlen(root))
            break;
        *slash = '\0';
    }
    return least;
}

/* The path behind "0::" or "N:memory:" in /proc/self/cgroup. */
static void group_path(const char *text, const char *mark, char *path, size_t size)
{
    const char *at = strstr(text, mark);
    snprintf(path, size, "%.*s", at ? (int)strcspn(at + strlen(mark), "\n") : 0, at ? at + strlen(mark) : "");
    if (strcmp(path, "/") == 0)
        path[0] = '\0';
}

int64_t acr__memory_free(void)
{
    char text[TEXT], path[512];
    int64_t kib = read_text("/proc/meminfo", text) ? number_of(text, "MemAvailable:") : -1;
    int64_t least = kib < 0 ? INT64_MAX / 2 : kib * 1024;
    if (!read_text("/proc/self/cgroup", text))
        return least;
    group_path(text, "0::", path, sizeof path);
    int64_t v2 = group_free("/sys/fs/cgroup", path, "memory.max", "memory.current");
    group_path(text, ":memory:", path, sizeof path);
    int64_t v1 = group_free("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes");
    if (v2 >= 0 && v2 < least)
        least = v2;
    return v1 >= 0 && v1 < least ? v1 : least;
}

int64_t acr__memory_choosing(const acr__setup *s)
{
    return s->planned_bytes - s->program_bytes - (int64_t)acr_plan_bytes(s->plan);
}

/* ---- the table -------------------------------------------------------------------- */
void acr__memory_print(const acr__setup *s, FILE *f)
{
    char text[ACR__SHORT];
    for (int k = 0; k < ACR_KIND_COUNT; k++) {
        int64_t bytes = (int64_t)acr_plan_kind_bytes(s->plan, (acr_kind)k);
        if (bytes)
            fprintf(f, "  %-18s %10s\n", acr_kind_name((acr_kind)k), acr__bytes_text(bytes, text));
    }
    fprintf(f, "  %-18s %10s\n", "program", acr__bytes_text(s->program_bytes, text));
    if (acr__memory_choosing(s) > 0)
        fprintf(f, "  %-18s %10s\n", "choosing the plan", acr__bytes_text(acr__memory_choosing(s), text));
    fprintf(f, "  %-18s %10s", "planned peak", acr__bytes_text(s->planned_bytes, text));
    if (s->cfg->memory_limit)
        fprintf(f, " of %s", acr__bytes_text(s->cfg->memory_limit, text));
    fputc('\n', f);
}
