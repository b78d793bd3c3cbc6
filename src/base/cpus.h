/* cpus.h: how many threads this process is allowed to keep busy. */
#ifndef ACR_CPUS_H
#define ACR_CPUS_H

#include <stdint.h>

/* Processors in the affinity mask, limited by the cgroup's cpu quota rounded up;
 * at least 1. Reads a few files of /proc and /sys. */
int64_t acr__cpus_allowed(void);

/* The quota alone, in processors rounded up: the least over the process's cgroup
 * and those above it; 0 if there is none. `membership` is the text file
 * /proc/self/cgroup, `root` the folder /sys/fs/cgroup; both are parameters so
 * that tests can lay out any hierarchy. */
int64_t acr__cpus_quota(const char *membership, const char *root);

#endif
