/* cmd_inspect.c: what is in a model, a checkpoint, any safetensors file or a token
 * file. Reads the header and, for the hash, every byte once; changes nothing. */
#include "cli/common.h"
#include "data/token_file.h"
#include "io/file.h"

#include <accrue/accrue_io.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *shape_text(const acr_st_tensor *t, char *out, size_t n)
{
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < t->ndim && at + 24 < n; i++)
        at += (size_t)snprintf(out + at, n - at, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    return out;
}

static void print_text(acr_st *st, const char *hash, int64_t elements)
{
    char shape[256], size[ACR__SHORT], count[ACR__SHORT];
    for (int i = 0; i < acr_st_count(st); i++) {
        acr_st_tensor t;
        if (acr_st_get(st, i, &t) != ACR_OK)
            continue;
        printf("%-32s %-5s [%s]  %s\n", t.name, acr_st_dtype_name(t.dtype), shape_text(&t, shape, sizeof shape),
               acr__bytes_text(t.bytes, size));
    }
    for (int i = 0; i < acr_st_metadata_count(st); i++) {
        const char *key = acr_st_metadata_key(st, i), *value = acr_st_metadata(st, key);
        printf("# %s: %.60s%s\n", key, value, strcspn(value, "\n") < strlen(value) || strlen(value) > 60 ? "..." : "");
    }
    printf("%d tensors, %s elements, %s in all\nweights_hash %s\n", acr_st_count(st), acr__count_text(elements, count),
           acr__bytes_text(acr_st_file_bytes(st), size), hash);
}

static void print_json(acr_st *st, const char *hash, int64_t elements)
{
    acr__json j = {.f = stdout};
    acr__json_object(&j, NULL);
    acr__json_text(&j, "path", acr_st_path(st));
    acr__json_text(&j, "weights_hash", hash);
    acr__json_i64(&j, "elements", elements);
    acr__json_i64(&j, "bytes", acr_st_file_bytes(st));
    acr__json_object(&j, "metadata");
    for (int i = 0; i < acr_st_metadata_count(st); i++)
        acr__json_text(&j, acr_st_metadata_key(st, i), acr_st_metadata(st, acr_st_metadata_key(st, i)));
    acr__json_end(&j);
    acr__json_array(&j, "tensors");
    for (int i = 0; i < acr_st_count(st); i++) {
        acr_st_tensor t;
        if (acr_st_get(st, i, &t) != ACR_OK)
            continue;
        acr__json_object(&j, NULL);
        acr__json_text(&j, "name", t.name);
        acr__json_text(&j, "dtype", acr_st_dtype_name(t.dtype));
        acr__json_array(&j, "shape");
        for (int k = 0; k < t.ndim; k++)
            acr__json_i64(&j, NULL, t.shape[k]);
        acr__json_end(&j);
        acr__json_end(&j);
    }
    acr__json_end(&j);
    acr__json_end(&j);
}

static acr_status inspect(acr__cli *cli, acr_st *st)
{
    /* a checkpoint's weights, not its optimizer's state */
    const bool checkpoint = acr_st_metadata(st, "accrue.checkpoint") != NULL;
    int64_t elements = 0;
    for (int i = 0; i < acr_st_count(st); i++) {
        acr_st_tensor t;
        TRY(acr_st_get(st, i, &t));
        if (!checkpoint || strncmp(t.name, "param.", 6) == 0)
            elements += t.elements;
    }
    char hash[ACR_HASH_TEXT];
    TRY(acr_st_weights_hash(st, checkpoint ? "param." : NULL, hash));
    if (cli->flags.json)
        print_json(st, hash, elements);
    else
        print_text(st, hash, elements);
    return ACR_OK;
}

static void print_tokens(acr__cli *cli, const acr__token_file *f)
{
    const acr__token_head *head = acr__token_file_head(f);
    char tokens[ACR__SHORT], documents[ACR__SHORT];
    if (!cli->flags.json) {
        printf("tokens        %s\ndocuments     %s\nvocabulary    %lld\ntokenizer     %s\nchecksum      %s\n",
               acr__count_text(acr__token_file_tokens(f), tokens), acr__count_text(acr__token_file_documents(f), documents),
               (long long)head->vocabulary, head->tokenizer, acr__token_file_checksum(f));
        return;
    }
    acr__json j = {.f = stdout};
    acr__json_object(&j, NULL);
    acr__json_i64(&j, "tokens", acr__token_file_tokens(f));
    acr__json_i64(&j, "documents", acr__token_file_documents(f));
    acr__json_i64(&j, "vocabulary", head->vocabulary);
    acr__json_text(&j, "tokenizer", head->tokenizer);
    acr__json_text(&j, "checksum", acr__token_file_checksum(f));
    acr__json_end(&j);
}

/* A token file: every byte is read, so that damage shows. */
static acr_status inspect_tokens(acr__cli *cli, const char *path)
{
    acr__token_file *f;
    TRY(acr__token_file_open(&f, cli->ctx, path));
    print_tokens(cli, f);
    acr__token_file_close(f);
    return ACR_OK;
}

acr_status acr__cmd_inspect(acr__cli *cli)
{
    acr__usage usage = {.least = 1, .most = 1,
                        .text = "FILE is a safetensors file (a model, a checkpoint), a token file, or a run's\n"
                                "folder, of which it shows model.safetensors.\n"};
    bool go;
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    const char *path = cli->flags.positional[0];
    char inside[4096];
    struct stat s;
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
        int n = snprintf(inside, sizeof inside, "%s/model.safetensors", path);
        FAIL_IF(n < 0 || (size_t)n >= sizeof inside, cli->ctx, ACR_E_CONFIG, "'%.60s...': the path is too long", path);
        path = inside;
        FAIL_IF(acr__file_kind(path) != 1, cli->ctx, ACR_E_DATA,
                "%s: there is no model; give a safetensors file, as those in a run's checkpoints/", path);
    }
    if (acr__token_file_is(path))
        return inspect_tokens(cli, path);
    acr_st *st;
    TRY(acr_st_open(&st, cli->ctx, path));
    acr_status status = inspect(cli, st);
    acr_st_close(st);
    return status;
}
