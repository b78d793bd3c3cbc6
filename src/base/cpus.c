/* cpus.c: the default number of threads.
 *
 * A container is usually limited by a cgroup quota and not by the affinity mask;
 * threads beyond the quota would only be throttled in turn. A group's limit
 * binds all groups below it, so every folder from the process's own up to the
 * root is asked. Where a container sees its own group mounted as the root while
 * /proc still names the host's path, the folders of that path are missing and
 * only the root answers, which is then the right one. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/cpus.h"
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_line(const char *folder, const char *file, char *line, int bytes)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, file);
    if (n < 0 || n >= (int)sizeof path)
        return false;
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool ok = fgets(line, bytes, f) != NULL;
    fclose(f);
    return ok;
}

/* The quota that this one folder sets, in processors; 0: none. */
static int64_t folder_quota(const char *folder, bool v2)
{
    char line[128];
    long long quota = 0, period = 0;
    if (v2) { /* "max 100000" or "150000 100000" */
        if (!read_line(folder, "cpu.max", line, sizeof line) || sscanf(line, "%lld %lld", &quota, &period) != 2)
            return 0;
    } else { /* -1: none */
        if (!read_line(folder, "cpu.cfs_quota_us", line, sizeof line) || sscanf(line, "%lld", &quota) != 1)
            return 0;
        if (!read_line(folder, "cpu.cfs_period_us", line, sizeof line) || sscanf(line, "%lld", &period) != 1)
            return 0;
    }
    if (quota <= 0 || period <= 0)
        return 0;
    return quota / period + (quota % period != 0);
}

static int64_t lesser(int64_t a, int64_t b) { return !a || (b && b < a) ? b : a; }

/* The least quota of root/path and of every folder above it up to root. */
static int64_t path_quota(const char *root, const char *path, bool v2)
{
    char folder[PATH_MAX];
    int n = snprintf(folder, sizeof folder, "%s%s", root, path);
    if (n < 0 || n >= (int)sizeof folder)
        return 0;
    size_t root_length = strlen(root);
    int64_t least = 0;
    for (;;) {
        least = lesser(least, folder_quota(folder, v2));
        char *slash = strrchr(folder + root_length, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

static bool lists_cpu(const char *controllers)
{
    for (const char *at = controllers; at; at = strchr(at, ','), at = at ? at + 1 : NULL)
        if (!strncmp(at, "cpu", 3) && (at[3] == '\0' || at[3] == ','))
            return true;
    return false;
}

/* One line "id:controllers:path" of the membership file. */
static int64_t line_quota(char *line, const char *root)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path || path[1] != '/')
        return 0;
    controllers++;
    *path++ = '\0';
    if (!*controllers)
        return path_quota(root, path, true);
    if (!lists_cpu(controllers))
        return 0;
    char mount[PATH_MAX];
    int n = snprintf(mount, sizeof mount, "%s/%s", root, controllers);
    int64_t quota = n > 0 && n < (int)sizeof mount ? path_quota(mount, path, false) : 0;
    n = snprintf(mount, sizeof mount, "%s/cpu", root);
    return lesser(quota, n > 0 && n < (int)sizeof mount ? path_quota(mount, path, false) : 0);
}

int64_t acr__cpus_quota(const char *membership, const char *root)
{
    FILE *f = fopen(membership, "re");
    if (!f)
        return 0;
    int64_t least = 0;
    char line[PATH_MAX];
    while (fgets(line, sizeof line, f))
        least = lesser(least, line_quota(line, root));
    fclose(f);
    return least;
}

static int64_t affinity(void)
{
    /* The mask's size is the kernel's; EINVAL means a larger one is needed. */
    for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (!set)
            return 1;
        size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);
        int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return count;
    }
    return 1;
}

int64_t acr__cpus_allowed(void) { return lesser(affinity(), acr__cpus_quota("/proc/self/cgroup", "/sys/fs/cgroup")); }
