/* cmd_tokenize.c: text to token ids and back, and learning a tokenizer.
 *
 *     --train N --out TOKENIZER        learns
 *     --tokenizer T --out FILE         a token file for training
 *     --tokenizer T                    ids on stdout
 *     --tokenizer T --decode           ids to text
 *
 * Nothing here knows how text becomes tokens; memory does not grow with it. */
#include "base/utf8.h"
#include "cli/tokenize.h"
#include "data/token_file.h"
#include "io/file.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENIZER, TRAIN, SPLIT, OUT, JSONL, NO_SPECIAL, EOS, DECODE, SWITCHES };

static const acr__switch switches[SWITCHES] = {
    {"tokenizer", "FILE", "the tokenizer.json to use"},
    {"train", "N", "learn a tokenizer of N tokens; --out says where to"},
    {"split", "KIND", "with --train: words as gpt2 (default), llama3 or qwen2"},
    {"out", "FILE", "where to: a token file, or what --train learned"},
    {"jsonl", NULL, "a document a line, {\"text\": ...}; ids are printed so"},
    {"no_special", NULL, "no tokens of the template around a document"},
    {"eos", "TOKEN", "with --out: what ends a document; none: nothing does"},
    {"decode", NULL, "from ids to text"},
};

typedef struct job {
    acr__cli *cli;
    acr__texts_in in;
    acr__tokenizer *t;
    acr__token_writer *writer;
    acr__ids ids;
    acr__chars chars;
    int32_t eos;    /* -1: none */
    int32_t newest; /* of the document at hand; -1: none yet */
    int64_t printed, tokens, documents;
} job;

static bool given(const job *j, int which) { return j->cli->flags.switch_value[which] != NULL; }

static const char *value(const job *j, int which) { return j->cli->flags.switch_value[which]; }

/* What goes to stdout is an object a document. */
static bool as_json(const job *j) { return given(j, JSONL) || j->cli->flags.json; }

/* ---- learning ------------------------------------------------------------------------ */

static acr_status take_split(job *j, acr__split_kind *out)
{
    static const char *const names[] = {"gpt2", "llama3", "qwen2"};
    *out = ACR_SPLIT_GPT2;
    for (int i = 0; given(j, SPLIT) && i < 3; i++) {
        if (strcmp(value(j, SPLIT), names[i]) == 0) {
            *out = (acr__split_kind)i;
            return ACR_OK;
        }
    }
    FAIL_IF(given(j, SPLIT), j->cli->ctx, ACR_E_CONFIG, "--split %.40s: gpt2, llama3 and qwen2 are known",
            value(j, SPLIT));
    return ACR_OK;
}

static acr_status take_vocabulary(job *j, int64_t *out)
{
    char *end;
    const char *text = value(j, TRAIN);
    long long n = strtoll(text, &end, 10);
    FAIL_IF(*end || end == text || n < ACR_LEARN_LEAST || n > ACR_LEARN_MOST, j->cli->ctx, ACR_E_CONFIG,
            "--train %.40s: a number of tokens from %d (the bytes and <|endoftext|>) to %d is needed", text,
            ACR_LEARN_LEAST, ACR_LEARN_MOST);
    *out = n;
    return ACR_OK;
}

static acr_status learn(job *j)
{
    acr__cli *cli = j->cli;
    int64_t vocabulary;
    acr__split_kind split;
    char had[ACR__SHORT], wanted[ACR__SHORT], took[ACR__SHORT];
    FAIL_IF(!given(j, OUT), cli->ctx, ACR_E_CONFIG,
            "accrue tokenize --train: --out FILE is missing: where to write it");
    for (int s = 0; s < SWITCHES; s++)
        FAIL_IF(given(j, s) && s != TRAIN && s != SPLIT && s != OUT && s != JSONL, cli->ctx, ACR_E_CONFIG,
                "accrue tokenize --train: --%s is of no use here", switches[s].name);
    TRY(take_vocabulary(j, &vocabulary));
    TRY(take_split(j, &split));
    double begin = acr__seconds();
    acr__text_reader reader = {acr__texts_in_next, &j->in, j->in.where};
    TRY(acr__tokenizer_learn(&j->t, cli->ctx, vocabulary, split, &reader));
    TRY(acr__tokenizer_save(j->t, value(j, OUT)));
    int64_t size = acr__tokenizer_size(j->t);
    if (size < vocabulary)
        acr__warn(cli, "%s tokens, not %s: no other pair occurs twice in this text", acr__count_text(size, had),
                  acr__count_text(vocabulary, wanted));
    acr__say(cli, "%s: %s tokens, learned in %s", value(j, OUT), acr__count_text(size, had),
             acr__time_text(acr__seconds() - begin, took));
    if (cli->flags.json) {
        acr__json json = {.f = stdout};
        acr__json_object(&json, NULL);
        acr__json_text(&json, "tokenizer", value(j, OUT));
        acr__json_i64(&json, "vocabulary", size);
        acr__json_text(&json, "tokenizer_hash", acr__tokenizer_hash(j->t));
        acr__json_end(&json);
    }
    return ACR_OK;
}

/* ---- to ids --------------------------------------------------------------------------- */

/* Takes what is certain of the document at hand, and empties j->ids. */
static acr_status put_ids(job *j)
{
    bool json = as_json(j);
    if (j->ids.count)
        j->newest = j->ids.id[j->ids.count - 1];
    j->tokens += j->ids.count;
    if (j->writer)
        TRY(acr__token_writer_add(j->writer, j->ids.id, j->ids.count));
    else
        for (int64_t i = 0; i < j->ids.count; i++, j->printed++)
            printf("%s%d", !j->printed ? "" : json ? ", " : " ", j->ids.id[i]);
    j->ids.count = 0;
    return ACR_OK;
}

static acr_status encode_document(job *j, acr__document *d, bool *more)
{
    bool json = as_json(j), last = true, begun = false;
    const char *text;
    size_t n;
    do {
        FAIL_IF(acr_cancelled(j->cli->ctx), j->cli->ctx, ACR_E_CANCELLED, "cancelled");
        TRY(acr__texts_in_next(&j->in, &text, &n, &last));
        *more = text != NULL;
        if (!text)
            return ACR_OK;
        if (!begun) {
            begun = true;
            j->newest = -1;
            j->printed = 0;
            TRY(acr__document_begin(d, j->t, j->in.where, !given(j, NO_SPECIAL), &j->ids));
            if (!j->writer && json)
                printf("{\"ids\": [");
        }
        TRY(acr__document_add(d, text, n, &j->ids));
        TRY(put_ids(j));
    } while (!last);
    TRY(acr__document_end(d, &j->ids));
    TRY(put_ids(j));
    if (j->writer && j->eos >= 0 && j->newest != j->eos) {
        TRY(acr__ids_add(j->cli->ctx, &j->ids, &j->eos, 1));
        TRY(put_ids(j));
    }
    j->documents++;
    if (j->writer)
        return acr__token_writer_document(j->writer);
    printf(json ? "]}\n" : "\n");
    return ACR_OK;
}

static acr_status take_eos(job *j)
{
    j->eos = acr__tokenizer_eos(j->t);
    if (!given(j, EOS))
        return ACR_OK;
    FAIL_IF(!given(j, OUT), j->cli->ctx, ACR_E_CONFIG, "--eos: ends the documents of a token file; --out names one");
    j->eos = acr__tokenizer_id(j->t, value(j, EOS));
    bool none = j->eos < 0 && strcmp(value(j, EOS), "none") == 0;
    FAIL_IF(j->eos < 0 && !none, j->cli->ctx, ACR_E_CONFIG,
            "--eos %.80s: no token of %s; none: documents end in nothing", value(j, EOS), value(j, TOKENIZER));
    return ACR_OK;
}

static acr_status encode(job *j)
{
    acr__cli *cli = j->cli;
    TRY(take_eos(j));
    if (given(j, OUT)) {
        acr__token_head head = {.vocabulary = acr__tokenizer_size(j->t), .eos = j->eos};
        snprintf(head.tokenizer, sizeof head.tokenizer, "%s", acr__tokenizer_hash(j->t));
        TRY(acr__token_writer_open(&j->writer, cli->ctx, value(j, OUT), &head));
    }
    for (bool more = true; more;) {
        acr__document d = {0};
        acr_status status = encode_document(j, &d, &more);
        acr__document_free(&d);
        TRY(status);
    }
    if (!j->writer)
        return ACR_OK;
    FAIL_IF(j->tokens == 0, cli->ctx, ACR_E_DATA, "%s: there is no text in it; %s is not written", j->in.where,
            value(j, OUT));
    TRY(acr__token_writer_commit(j->writer));
    char tokens[ACR__SHORT], documents[ACR__SHORT];
    acr__say(cli, "%s: %s tokens in %s document%s%s%s", value(j, OUT), acr__count_text(j->tokens, tokens),
             acr__count_text(j->documents, documents), j->documents == 1 ? "" : "s",
             j->eos < 0 ? "; none ends in a token of its own" : "", "");
    if (cli->flags.json) {
        acr__json json = {.f = stdout};
        acr__json_object(&json, NULL);
        acr__json_text(&json, "path", value(j, OUT));
        acr__json_i64(&json, "tokens", j->tokens);
        acr__json_i64(&json, "documents", j->documents);
        acr__json_i64(&json, "vocabulary", acr__tokenizer_size(j->t));
        acr__json_text(&json, "tokenizer_hash", acr__tokenizer_hash(j->t));
        acr__json_end(&json);
    }
    return ACR_OK;
}

/* ---- and back --------------------------------------------------------------------------- */

/* Ids separated by white space. */
static acr_status read_ids(job *j, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        if (strchr(" \t\r", text[i]) && text[i]) {
            i++;
            continue;
        }
        size_t begin = i;
        int64_t id = 0;
        for (; i < n && text[i] >= '0' && text[i] <= '9' && id <= INT32_MAX; i++)
            id = id * 10 + (text[i] - '0');
        FAIL_IF(i == begin || id >= acr__tokenizer_size(j->t) || (i < n && !strchr(" \t\r", text[i])), j->cli->ctx,
                ACR_E_DATA, "%s:%zu: no token id: ids are whole numbers in [0, %lld)", j->in.where, begin + 1,
                (long long)acr__tokenizer_size(j->t));
        int32_t small = (int32_t)id;
        TRY(acr__ids_add(j->cli->ctx, &j->ids, &small, 1));
    }
    return ACR_OK;
}

static acr_status list_ids(job *j, const json_t *list)
{
    FAIL_IF(!json_is_array(list), j->cli->ctx, ACR_E_DATA, "%s: its \"ids\" is no list", j->in.where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *v = json_array_get(list, i);
        bool fits =
            json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) < acr__tokenizer_size(j->t);
        FAIL_IF(!fits, j->cli->ctx, ACR_E_DATA, "%s: ids[%zu] is no token id: ids are whole numbers in [0, %lld)",
                j->in.where, i, (long long)acr__tokenizer_size(j->t));
        int32_t id = (int32_t)json_integer_value(v);
        TRY(acr__ids_add(j->cli->ctx, &j->ids, &id, 1));
    }
    return ACR_OK;
}

/* The text of j->ids, and empties them. In JSON the bytes of a character that goes on
 * in the document's next ids wait for them. */
static acr_status print_text(job *j, bool first, bool last)
{
    acr__chars *c = &j->chars;
    TRY(acr__tokenizer_decode(j->t, c, j->ids.id, j->ids.count, given(j, NO_SPECIAL)));
    j->ids.count = 0;
    if (!as_json(j)) {
        fwrite(c->bytes, 1, c->count, stdout);
        c->count = 0;
        return ACR_OK;
    }
    size_t whole = acr__utf8_bad(c->bytes, c->count), rest = c->count - whole;
    FAIL_IF(rest > 3 || (rest > 0 && last), j->cli->ctx, ACR_E_DATA,
            "%s: the ids give bytes that are not UTF-8, which JSON cannot hold; without --json and --jsonl they are "
            "printed as they are",
            j->in.where);
    fputs(first ? "{\"text\": \"" : "", stdout);
    acr__json_escape(stdout, c->bytes, whole);
    fputs(last ? "\"}\n" : "", stdout);
    if (rest)
        memmove(c->bytes, c->bytes + whole, rest);
    c->count = rest;
    return ACR_OK;
}

/* A document of a token file. What ended it is told between two texts, and is no part
 * of one. */
static acr_status decode_document(job *j, const acr__token_file *f, int64_t at, int64_t end, bool between)
{
    enum { PIECE = 1024 };
    int32_t ids[PIECE];
    if (!between && at < end) {
        TRY(acr__token_file_read(f, end - 1, 1, ids));
        end -= (ids[0] & ~ACR_TOKEN_UNLEARNED) == acr__token_file_head(f)->eos;
    }
    for (bool first = true; first || at < end; first = false) {
        int64_t n = acr__min(PIECE, end - at);
        TRY(acr__token_file_read(f, at, n, ids));
        for (int64_t i = 0; i < n; i++)
            ids[i] &= ~ACR_TOKEN_UNLEARNED;
        TRY(acr__ids_add(j->cli->ctx, &j->ids, ids, n));
        at += n;
        TRY(print_text(j, first, at == end));
    }
    return ACR_OK;
}

/* A token file's text. */
static acr_status decode_file(job *j, const char *path)
{
    acr__token_file *f;
    TRY(acr__token_file_open(&f, j->cli->ctx, path));
    snprintf(j->in.where, sizeof j->in.where, "%s", path);
    acr_status status = ACR_OK;
    if (strcmp(acr__token_file_head(f)->tokenizer, acr__tokenizer_hash(j->t)) != 0)
        status = acr__fail(j->cli->ctx, ACR_E_DATA, "%s: its tokens are another tokenizer's than %s", path,
                           value(j, TOKENIZER));
    int64_t begin = 0, end = 0, documents = acr__token_file_documents(f);
    for (int64_t d = 0; status == ACR_OK && d < documents; d++, begin = end) {
        status = acr__token_file_ends(f, d, 1, &end);
        if (status == ACR_OK)
            status = decode_document(j, f, begin, end, !as_json(j) && d + 1 < documents);
    }
    acr__token_file_close(f);
    return status;
}

static acr_status decode(job *j)
{
    const char *first = j->cli->flags.positional[0];
    FAIL_IF(given(j, OUT) || given(j, EOS), j->cli->ctx, ACR_E_CONFIG,
            "accrue tokenize --decode: --out and --eos are of no use here; the text goes to stdout");
    if (j->cli->flags.positional_count == 1 && !given(j, JSONL) && acr__token_file_is(first))
        return decode_file(j, first);
    for (;;) {
        const char *text = NULL;
        json_t *list = NULL;
        size_t n;
        if (given(j, JSONL))
            TRY(acr__texts_in_value(&j->in, &list));
        else
            TRY(acr__texts_in_line(&j->in, &text, &n));
        if (!list && !text)
            return ACR_OK;
        TRY(list ? list_ids(j, list) : read_ids(j, text, n));
        TRY(print_text(j, true, true));
    }
}

/* ---- the command --------------------------------------------------------------------------- */

/* A file of the kind that is to be written, or an empty one. */
static bool replaceable(job *j, const char *path)
{
    int fd;
    int64_t bytes;
    if (acr__file_open(j->cli->ctx, path, &fd, &bytes) != ACR_OK)
        return false;
    acr__file_end(fd);
    if (bytes == 0 || !given(j, TRAIN))
        return bytes == 0 || acr__token_file_is(path);
    acr__tokenizer *old = NULL;
    bool is = acr__tokenizer_open(&old, j->cli->ctx, path) == ACR_OK;
    acr__tokenizer_close(old);
    return is;
}

/* A new result takes the place of an old one, and of nothing else: the text and the
 * tokenizer may be all there is of them. */
static acr_status check_out(job *j)
{
    const acr__flags *flags = &j->cli->flags;
    const char *out = value(j, OUT);
    if (!out || acr__file_kind(out) == 0)
        return ACR_OK;
    for (int i = -1; i < flags->positional_count; i++) {
        const char *in = i < 0 ? value(j, TOKENIZER) : flags->positional[i];
        FAIL_IF(in && acr__file_same(out, strcmp(in, "-") == 0 ? NULL : in), j->cli->ctx, ACR_E_CONFIG,
                "--out %.300s: is the file that is read as %.300s, and is left as it is; give another --out", out, in);
    }
    FAIL_IF(!replaceable(j, out), j->cli->ctx, ACR_E_CONFIG,
            "--out %.300s: is there already and is no %s, and is left as it is; give another --out", out,
            given(j, TRAIN) ? "tokenizer.json" : "token file");
    return ACR_OK;
}

static acr_status run(job *j)
{
    TRY(check_out(j));
    if (given(j, TRAIN))
        return learn(j);
    FAIL_IF(!given(j, TOKENIZER), j->cli->ctx, ACR_E_CONFIG,
            "accrue tokenize: --tokenizer FILE is missing; --train N learns one");
    FAIL_IF(given(j, SPLIT), j->cli->ctx, ACR_E_CONFIG, "--split: only --train takes it; a tokenizer has its own");
    TRY(acr__tokenizer_open(&j->t, j->cli->ctx, value(j, TOKENIZER)));
    return given(j, DECODE) ? decode(j) : encode(j);
}

acr_status acr__cmd_tokenize(acr__cli *cli)
{
    acr__usage usage = {.switch_count = SWITCHES,
                        .switches = switches,
                        .least = 1,
                        .most = INT_MAX,
                        .text = "  accrue tokenize --train 4096 --out tok.json text.txt\n"
                                "  accrue tokenize --tokenizer tok.json text.txt --out train.tok\n"
                                "  accrue tokenize --tokenizer tok.json --jsonl texts.jsonl\n"
                                "  echo Hello | accrue tokenize --tokenizer tok.json -\n\n"
                                "A text file is one document, a line of JSONL is one. Without --out a line of\n"
                                "ids is printed for each. A token file ends each with the tokenizer's\n"
                                "end-of-text token, if it has one. - is stdin.\n"};
    bool go;
    TRY(acr__cli_flags(cli, &usage, &go));
    if (!go)
        return ACR_OK;
    job *j = acr__alloc(cli->ctx, sizeof *j);
    if (!j)
        return ACR_E_NO_MEMORY;
    j->cli = cli;
    acr__texts_in_begin(&j->in, cli, !given(j, JSONL) ? NULL : given(j, DECODE) ? "ids" : "text");
    acr_status status = run(j);
    acr__texts_in_end(&j->in);
    acr__token_writer_close(j->writer);
    acr__tokenizer_close(j->t);
    acr__ids_free(cli->ctx, &j->ids);
    acr__chars_free(cli->ctx, &j->chars);
    acr__free(cli->ctx, j);
    return status;
}
