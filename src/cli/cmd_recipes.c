/* cmd_recipes.c: lists and copies the recipes that come with the program. */
#include "cli/shipped.h"

#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

acr_status acr__program_path(acr_context *ctx, char out[ACR__PATH])
{
    ssize_t n = readlink("/proc/self/exe", out, ACR__PATH - 1);
    FAIL_IF(n < 0, ctx, ACR_E_IO, "/proc/self/exe: %s", strerror(errno));
    out[n] = '\0';
    return ACR_OK;
}

static bool join(char out[ACR__PATH], const char *folder, const char *rest)
{
    int n = snprintf(out, ACR__PATH, "%s/%s", folder, rest);
    return n > 0 && n < ACR__PATH;
}

acr_status acr__shipped_folder(acr_context *ctx, char out[ACR__PATH])
{
    static const char *const places[] = {"../recipes", "../share/accrue/recipes"};
    char program[ACR__PATH];
    TRY(acr__program_path(ctx, program));
    *strrchr(program, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char place[ACR__PATH];
        struct stat s;
        if (join(place, program, places[i]) && stat(place, &s) == 0 && S_ISDIR(s.st_mode) && realpath(place, out))
            return ACR_OK;
    }
    return acr__fail(ctx, ACR_E_CONFIG, "the recipes are not where they were installed: neither %s/%s nor %s/%s is a folder",
                     program, places[0], program, places[1]);
}

acr_status acr__shipped_recipe(acr_context *ctx, const char *name, char out[ACR__PATH])
{
    char folder[ACR__PATH], file[512];
    TRY(acr__shipped_folder(ctx, folder));
    const char *dot = strrchr(name, '.');
    bool ends = dot && strcmp(dot, ".yaml") == 0;
    snprintf(file, sizeof file, "%.400s%s", name, ends ? "" : ".yaml");
    FAIL_IF(strchr(file, '/') || !join(out, folder, file) || access(out, R_OK) != 0, ctx, ACR_E_CONFIG,
            "there is no recipe '%.60s'; accrue recipes ls lists them", name);
    return ACR_OK;
}

/* A recipe's first comment line says what it is; its first sentence is told, which fits
 * a line of 80 columns behind the name. */
static void describe(const char *folder, const char *file, char out[64])
{
    char path[ACR__PATH], line[256] = "";
    FILE *f = join(path, folder, file) ? fopen(path, "r") : NULL;
    if (f && !fgets(line, sizeof line, f))
        line[0] = '\0';
    if (f)
        fclose(f);
    line[strcspn(line, "\n")] = '\0';
    char *stop = strstr(line, ". ");
    if (stop)
        stop[1] = '\0';
    snprintf(out, 64, "%.58s", line[0] == '#' ? line + 1 + strspn(line + 1, " ") : "");
}

static int visible(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 5 && e->d_name[0] != '.' && strcmp(e->d_name + n - 5, ".yaml") == 0;
}

static acr_status list(acr__cli *cli)
{
    char folder[ACR__PATH];
    struct dirent **entries;
    TRY(acr__shipped_folder(cli->ctx, folder));
    int n = scandir(folder, &entries, visible, alphasort);
    FAIL_IF(n < 0, cli->ctx, ACR_E_IO, "%s: %s", folder, strerror(errno));
    acr__json j = {.f = stdout};
    if (cli->flags.json) {
        acr__json_object(&j, NULL);
        acr__json_text(&j, "folder", folder);
        acr__json_object(&j, "recipes");
    }
    for (int i = 0; i < n; i++) {
        char text[64];
        describe(folder, entries[i]->d_name, text);
        if (cli->flags.json)
            acr__json_text(&j, entries[i]->d_name, text);
        else
            printf("%-20s %s\n", entries[i]->d_name, text);
        free(entries[i]);
    }
    free(entries);
    while (j.depth)
        acr__json_end(&j);
    acr__say(cli, "%s", folder);
    return ACR_OK;
}

static acr_status copy(acr__cli *cli, const char *name, const char *to)
{
    char from[ACR__PATH], inside[ACR__PATH], buffer[4096];
    TRY(acr__shipped_recipe(cli->ctx, name, from));
    const char *base = strrchr(from, '/') + 1;
    struct stat s;
    if (stat(to, &s) == 0 && S_ISDIR(s.st_mode)) {
        FAIL_IF(!join(inside, to, base), cli->ctx, ACR_E_CONFIG, "'%.60s...': the path is too long", to);
        to = inside;
    }
    FILE *in = fopen(from, "r"), *out = in ? fopen(to, "wx") : NULL;
    bool fine = in && out;
    for (size_t n; fine && (n = fread(buffer, 1, sizeof buffer, in)) > 0;)
        fine = fwrite(buffer, 1, n, out) == n;
    int error = errno;
    if (in)
        fclose(in);
    if (out && fclose(out) != 0 && fine) {
        error = errno;
        fine = false;
    }
    if (out && !fine)
        unlink(to); /* no half of a recipe */
    FAIL_IF(!fine, cli->ctx, error == EEXIST ? ACR_E_CONFIG : ACR_E_IO, "%s: %s%s", to, strerror(error),
            error == EEXIST ? "; it is left as it is" : "");
    if (cli->flags.json) {
        acr__json j = {.f = stdout};
        acr__json_object(&j, NULL);
        acr__json_text(&j, "path", to);
        acr__json_end(&j);
    }
    acr__say(cli, "%s", to);
    return ACR_OK;
}

acr_status acr__cmd_recipes(acr__cli *cli)
{
    acr__usage usage = {.least = 0, .most = 3,
                        .text = "  accrue recipes ls              lists them\n"
                                "  accrue recipes cp NAME [TO]    copies one to here, or to TO\n"};
    bool go;
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    int n = cli->flags.positional_count;
    const char *const *word = (const char *const *)cli->flags.positional;
    bool ls = n == 0 || strcmp(word[0], "ls") == 0;
    FAIL_IF(!ls && strcmp(word[0], "cp") != 0, cli->ctx, ACR_E_CONFIG,
            "accrue recipes: '%.40s' is neither ls nor cp NAME [TO]", word[0]);
    FAIL_IF(ls && n > 1, cli->ctx, ACR_E_CONFIG, "accrue recipes ls: '%.40s' is one argument too many", word[1]);
    if (ls)
        return list(cli);
    FAIL_IF(n < 2, cli->ctx, ACR_E_CONFIG, "accrue recipes cp: NAME is missing; accrue recipes ls lists them");
    FAIL_IF(n > 2 && !*word[2], cli->ctx, ACR_E_CONFIG, "accrue recipes cp: TO is empty; leave it out for here");
    return copy(cli, word[1], n > 2 ? word[2] : ".");
}
