/* kjv.c: see kjv.h. What the program prints is checked by its form and by the
 * number of its verses, so that a program of the same name is not mistaken for
 * it. */
#define _GNU_SOURCE
#include "data/kjv.h"
#include "io/file.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { CHAPTER_BYTES = 64 * 1024, LINE_BYTES = 8 * 1024, NAME_BYTES = 16 };

struct acr__kjv {
    acr_context *ctx;
    pid_t pid; /* 0: it has ended */
    int fd;
    int64_t verses;
    bool over; /* of the program's output */
    size_t begin, end, used;
    char buffer[LINE_BYTES];      /* [begin, end) was read and not yet taken */
    char name[NAME_BYTES];        /* of the chapter at hand: "Gen1" */
    char chapter[CHAPTER_BYTES];  /* its text: `used` bytes */
};

/* -- the program ---------------------------------------------------------- */
acr_status acr__kjv_program(acr_context *ctx, char **path)
{
    const char *folders = getenv("PATH");
    for (const char *at = folders ? folders : "/usr/bin:/bin"; *at;) {
        size_t n = strcspn(at, ":");
        char folder[4096];
        if (n > 0 && n < sizeof folder && at[0] == '/') {
            memcpy(folder, at, n);
            folder[n] = 0;
            *path = acr__path_join(ctx, folder, "bible");
            if (!*path)
                return ACR_E_NO_MEMORY;
            if (acr__file_kind(*path) == 1 && access(*path, X_OK) == 0)
                return ACR_OK;
            acr__free(ctx, *path);
        }
        at += n + (at[n] == ':');
    }
    return acr__fail(ctx, ACR_E_DATA,
                     "format: kjv: the program bible is not installed; the Debian package bible-kjv has it: "
                     "apt-get install bible-kjv");
}

static acr_status start(acr__kjv *k, const char *path)
{
    static const char *const words[] = {"bible", "-f", "gen1:1-rev22:21", NULL};
    int ends[2];
    FAIL_IF(pipe2(ends, O_CLOEXEC) != 0, k->ctx, ACR_E_IO, "format: kjv: no pipe could be made: %s", strerror(errno));
    posix_spawn_file_actions_t actions;
    int bad = posix_spawn_file_actions_init(&actions);
    if (bad == 0) {
        bad = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        bad = bad ? bad : posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
        bad = bad ? bad : posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
        bad = bad ? bad : posix_spawn(&k->pid, path, &actions, NULL, (char *const *)words, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (bad != 0) {
        k->pid = 0;
        close(ends[0]);
        return acr__fail(k->ctx, ACR_E_IO, "%s: could not be run: %s", path, strerror(bad));
    }
    k->fd = ends[0];
    return ACR_OK;
}

acr_status acr__kjv_open(acr__kjv **out, acr_context *ctx)
{
    char *path;
    TRY(acr__kjv_program(ctx, &path));
    acr__kjv *k = acr__alloc(ctx, sizeof *k);
    acr_status status = ACR_E_NO_MEMORY;
    if (k) {
        k->ctx = ctx;
        k->fd = -1;
        status = start(k, path);
    }
    acr__free(ctx, path);
    if (status == ACR_OK)
        *out = k;
    else
        acr__kjv_close(k);
    return status;
}

static int wait_for(acr__kjv *k)
{
    int state = 0; /* whoever ignores SIGCHLD never hears of it */
    while (k->pid > 0 && waitpid(k->pid, &state, 0) < 0 && errno == EINTR)
        ;
    k->pid = 0;
    return state;
}

void acr__kjv_close(acr__kjv *k)
{
    if (!k)
        return;
    if (k->fd >= 0)
        close(k->fd);
    if (k->pid > 0) {
        kill(k->pid, SIGKILL); /* a child of ours that nobody has waited for: the number can't be another's */
        wait_for(k);
    }
    acr__free(k->ctx, k);
}

/* -- its output ----------------------------------------------------------- */
static acr_status read_more(acr__kjv *k)
{
    memmove(k->buffer, k->buffer + k->begin, k->end - k->begin);
    k->end -= k->begin;
    k->begin = 0;
    FAIL_IF(k->end == sizeof k->buffer, k->ctx, ACR_E_DATA, "format: kjv: the program bible printed a line of more than %d bytes",
            LINE_BYTES);
    size_t n;
    TRY(acr__file_read(k->ctx, "format: kjv: the program bible", k->fd, k->buffer + k->end, sizeof k->buffer - k->end, &n));
    k->over = n == 0;
    k->end += n;
    return ACR_OK;
}

static acr_status finish(acr__kjv *k)
{
    int state = wait_for(k);
    FAIL_IF(!WIFEXITED(state) || WEXITSTATUS(state) != 0, k->ctx, ACR_E_DATA,
            "format: kjv: the program bible failed; is the package bible-kjv installed whole?");
    FAIL_IF(k->verses != ACR_KJV_VERSES, k->ctx, ACR_E_DATA,
            "format: kjv: the program bible printed %lld verses; that of the package bible-kjv prints %d",
            (long long)k->verses, ACR_KJV_VERSES);
    return ACR_OK;
}

/* The next line, in the buffer; *line NULL: there is none. It is not taken yet. */
static acr_status see_line(acr__kjv *k, char **line, size_t *bytes)
{
    *line = NULL;
    for (;;) {
        char *end = memchr(k->buffer + k->begin, '\n', k->end - k->begin);
        if (end) {
            *line = k->buffer + k->begin;
            *bytes = (size_t)(end - *line);
            return ACR_OK;
        }
        if (k->over)
            break;
        TRY(read_more(k));
    }
    FAIL_IF(k->begin < k->end, k->ctx, ACR_E_DATA, "format: kjv: the program bible stopped within a line");
    return k->pid > 0 ? finish(k) : ACR_OK;
}

/* "Gen1:1 In the beginning" -> the lengths of "Gen1" and of "Gen1:1 ". */
static bool take_reference(const char *line, size_t bytes, size_t *name, size_t *reference)
{
    size_t i = 0, digits;
    while (i < bytes && ((line[i] >= '0' && line[i] <= '9') || (line[i] >= 'A' && line[i] <= 'Z') ||
                         (line[i] >= 'a' && line[i] <= 'z')))
        i++;
    *name = i;
    if (i == 0 || i >= NAME_BYTES || i == bytes || line[i++] != ':')
        return false;
    for (digits = 0; i < bytes && line[i] >= '0' && line[i] <= '9'; i++)
        digits++;
    *reference = i + 1;
    return digits > 0 && i + 1 < bytes && line[i] == ' ';
}

/* Takes the line if it belongs to the chapter at hand. */
static acr_status take_verse(acr__kjv *k, const char *line, size_t bytes, bool *taken)
{
    size_t name, reference;
    FAIL_IF(!take_reference(line, bytes, &name, &reference), k->ctx, ACR_E_DATA,
            "format: kjv: line %lld that the program bible printed is no verse; is it that of the package bible-kjv?",
            (long long)k->verses + 1);
    *taken = k->used == 0 || (strlen(k->name) == name && memcmp(k->name, line, name) == 0);
    if (!*taken)
        return ACR_OK;
    size_t n = bytes - reference, gap = k->used > 0;
    FAIL_IF(n + gap > sizeof k->chapter - k->used, k->ctx, ACR_E_DATA, "format: kjv: a chapter of more than %d bytes",
            CHAPTER_BYTES);
    memcpy(k->name, line, name);
    k->name[name] = 0;
    if (gap)
        k->chapter[k->used++] = '\n';
    memcpy(k->chapter + k->used, line + reference, n);
    k->used += n;
    k->verses++;
    k->begin += bytes + 1;
    return ACR_OK;
}

acr_status acr__kjv_next(acr__kjv *k, const char **text, size_t *bytes)
{
    bool taken = true;
    k->used = 0;
    while (taken) {
        char *line;
        size_t n = 0;
        TRY(see_line(k, &line, &n));
        taken = false;
        if (line)
            TRY(take_verse(k, line, n, &taken));
    }
    *text = k->used > 0 ? k->chapter : NULL;
    *bytes = k->used;
    return ACR_OK;
}
