/* cmd_doctor.c: what this machine gives accrue: instruction sets, threads,
 * memory, libraries, data. It tells and changes nothing. */
#include "cli/memory.h"

#include "base/cpus.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <yaml.h>
#include <zlib.h>

static const char fashion[] = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz";

static void print_json(const char *cpu, const char *best)
{
    acr__json j = {.f = stdout};
    acr__json_object(&j, NULL);
    acr__json_text(&j, "version", acr_version());
    acr__json_i64(&j, "numerics", acr_numerics());
    acr__json_text(&j, "processor", cpu);
    acr__json_array(&j, "isa");
    for (int i = 0; acr_isa_name(i); i++)
        acr__json_text(&j, NULL, acr_isa_name(i));
    acr__json_end(&j);
    acr__json_text(&j, "isa_chosen", best);
    acr__json_i64(&j, "threads", acr__cpus_allowed());
    acr__json_i64(&j, "memory_free_bytes", acr__memory_free());
    acr__json_bool(&j, "fashion_mnist", access(fashion, R_OK) == 0);
    acr__json_end(&j);
}

static void print_text(const char *cpu, const char *best)
{
    char size[ACR__SHORT];
    int major, minor, patch;
    yaml_get_version(&major, &minor, &patch);
    printf("accrue        %s, numerics %d\n", acr_version(), acr_numerics());
    printf("processor     %s\n", cpu);
    printf("instructions ");
    for (int i = 0; acr_isa_name(i); i++)
        printf(" %s%s", acr_isa_name(i), strcmp(acr_isa_name(i), best) == 0 ? " (chosen)" : "");
    printf("; ACCRUE_ISA chooses another\n");
    printf("threads       %d, by processor affinity and cgroup quota; --threads chooses another\n", (int)acr__cpus_allowed());
    printf("memory        %s free to this process\n", acr__bytes_text(acr__memory_free(), size));
    printf("libraries     libyaml %d.%d.%d, jansson %s, zlib %s, xxhash %d.%d.%d\n", major, minor, patch,
           jansson_version_str(), zlibVersion(), XXH_VERSION_MAJOR, XXH_VERSION_MINOR, XXH_VERSION_RELEASE);
    printf("data          Fashion-MNIST %s\n", access(fashion, R_OK) == 0
           ? "is installed" : "is missing: apt-get install dataset-fashion-mnist");
}

acr_status acr__cmd_doctor(acr__cli *cli)
{
    acr__usage usage = {0};
    bool go;
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    acr_context *ctx;
    acr_status status = acr__cli_told(cli, NULL, acr_context_create(&ctx, NULL));
    if (status != ACR_OK) {
        acr__cli_told(cli, ctx, status);
        acr_context_destroy(ctx);
        return status;
    }
    char cpu[256];
    acr__processor_name(cpu, sizeof cpu);
    if (cli->flags.json)
        print_json(cpu, acr_context_isa(ctx));
    else
        print_text(cpu, acr_context_isa(ctx));
    acr_context_destroy(ctx);
    return ACR_OK;
}
