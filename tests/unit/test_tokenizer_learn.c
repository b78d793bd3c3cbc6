/* test_tokenizer_learn.c: learning a tokenizer: the rule, held against a learner
 * that counts everything anew for each merge; that the order of documents and the
 * size of the parts they come in change nothing; what is refused. */
#include "tokenizer.h"

#include "counting.h"
#include "data/tokenizer_parts.h"
#include <unistd.h>

typedef struct texts {
    const char *const *text;
    int count, next;
    size_t part, at; /* bytes a call; 0: a text a call */
    acr_status end;  /* what the reader returns in the end */
} texts;

static acr_status next_text(void *user, const char **text, size_t *n, bool *last)
{
    texts *t = user;
    *text = NULL;
    *last = true;
    if (t->next == t->count)
        return t->end;
    size_t whole = strlen(t->text[t->next]), left = whole - t->at;
    *text = t->text[t->next] + t->at;
    *n = t->part && t->part < left ? t->part : left;
    t->at += *n;
    *last = t->at == whole;
    if (*last) {
        t->at = 0;
        t->next++;
    }
    return ACR_OK;
}

static acr_status learn(acr__tokenizer **out, acr_context *own, int64_t vocab, acr__split_kind split, texts t)
{
    acr__text_reader reader = {next_text, &t, "texts"};
    *out = NULL;
    return acr__tokenizer_learn(out, own, vocab, split, &reader);
}

static acr__tokenizer *learned(int64_t vocab, acr__split_kind split, texts t)
{
    acr__tokenizer *out;
    if (learn(&out, ctx, vocab, split, t) != ACR_OK)
        fail_msg("%s", acr_error(ctx));
    return out;
}

#define TEXTS(list) ((texts){list, sizeof(list) / sizeof *(list), 0, 0, 0, ACR_OK})
#define CAT "the cat sat on the mat, the cat sat; aaaa aaaaa aaaaaaa abababab 12 123 1234 12345\n\n\n  the end"
#define MISS "mississippi mississippi miss is sip \xc3\xa9t\xc3\xa9 \xc3\xa9t\xc3\xa9s \xe4\xb8\xad \xe4\xb8\xad"
#define TOKENS "<|endoftext|>the<|endoftext|>endoftext endoftext"
#define SHORT "it's its it'll they'll   \t x"
static const char *const some[] = {CAT, MISS, TOKENS, "", SHORT};

/* ---- the rule, without any cleverness -------------------------------------------------------- */

enum { WORDS = 200, LONG = 40 };
typedef struct plain {
    struct {
        char text[LONG];
        size_t n;
        int64_t count;
        int32_t symbol[LONG];
        int length;
    } word[WORDS];
    int count;
} plain;

static acr_status take_word(void *user, const char *piece, size_t n)
{
    plain *p = user;
    int w = 0;
    while (w < p->count && (p->word[w].n != n || memcmp(p->word[w].text, piece, n) != 0))
        w++;
    assert_true(w < WORDS && n <= LONG);
    if (w == p->count) {
        memcpy(p->word[w].text, piece, n);
        p->word[w].n = n;
        p->count++;
    }
    p->word[w].count++;
    return ACR_OK;
}

static int64_t count_pair(const plain *p, int32_t left, int32_t right)
{
    int64_t n = 0;
    for (int w = 0; w < p->count; w++)
        for (int i = 0; i + 1 < p->word[w].length; i++)
            if (p->word[w].symbol[i] == left && p->word[w].symbol[i + 1] == right)
                n += p->word[w].count;
    return n;
}

/* The most frequent pair; 0: none occurs twice. */
static int64_t best_pair(const plain *p, int32_t *left, int32_t *right)
{
    int64_t best = 1;
    for (int w = 0; w < p->count; w++) {
        for (int i = 0; i + 1 < p->word[w].length; i++) {
            int32_t l = p->word[w].symbol[i], r = p->word[w].symbol[i + 1];
            int64_t n = count_pair(p, l, r);
            if (n > best || (n == best && n > 1 && (l < *left || (l == *left && r < *right)))) {
                best = n;
                *left = l;
                *right = r;
            }
        }
    }
    return best > 1 ? best : 0;
}

static void join(plain *p, int32_t left, int32_t right, int32_t whole)
{
    for (int w = 0; w < p->count; w++) {
        int to = 0;
        int32_t *s = p->word[w].symbol;
        for (int i = 0; i < p->word[w].length; i++) {
            bool both = i + 1 < p->word[w].length && s[i] == left && s[i + 1] == right;
            s[to++] = both ? whole : s[i];
            i += both;
        }
        p->word[w].length = to;
    }
}

static void rule(void **state)
{
    (void)state;
    for (int split = 0; split < 3; split++) {
        acr__tokenizer *t = learned(ACR_LEARN_MOST, (acr__split_kind)split, TEXTS(some));
        plain *p = calloc(1, sizeof *p);
        for (size_t i = 0; i < sizeof some / sizeof *some; i++)
            assert_int_equal(acr__tokenizer_pieces(t, some[i], strlen(some[i]), take_word, p), ACR_OK);
        for (int w = 0; w < p->count; w++) {
            p->word[w].length = (int)p->word[w].n;
            for (size_t i = 0; i < p->word[w].n; i++) {
                char symbol[4];
                size_t n = acr__utf8_put(acr__symbol_char((uint8_t)p->word[w].text[i]), symbol);
                p->word[w].symbol[i] = acr__bpe_find(t->bpe, symbol, n);
            }
        }
        int32_t left = 0, right = 0, l, r, next = 257;
        int64_t merges = 0;
        while (best_pair(p, &left, &right)) {
            assert_true(merges < acr__bpe_merges(t->bpe));
            acr__bpe_pair(t->bpe, merges++, &l, &r);
            assert_int_equal(l, left);
            assert_int_equal(r, right);
            join(p, left, right, next++);
        }
        assert_int_equal(merges, acr__bpe_merges(t->bpe));
        assert_int_equal(acr__tokenizer_size(t), next);
        assert_true(merges > 30);
        free(p);
        acr__tokenizer_close(t);
    }
}

static void vocabulary(void **state)
{
    (void)state;
    acr__tokenizer *t = learned(257, ACR_SPLIT_GPT2, TEXTS(some)), *more;
    acr__ids ids = {0};
    assert_int_equal(acr__tokenizer_size(t), 257);
    assert_int_equal(acr__tokenizer_eos(t), 0);
    assert_int_equal(acr__tokenizer_id(t, "<|endoftext|>"), 0);
    assert_int_equal(acr__tokenizer_id(t, "!"), 1);
    assert_int_equal(acr__tokenizer_id(t, "\xc4\xa0"), 221); /* a space, where Hugging Face has it */
    encode(t, "a<|endoftext|>", 14, true, &ids);
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.id[1], 0);
    more = learned(290, ACR_SPLIT_QWEN2, TEXTS(some));
    assert_int_equal(acr__tokenizer_size(more), 290);
    assert_true(more->nfc && !t->nfc);
    acr__ids_free(ctx, &ids);
    acr__tokenizer_close(t);
    acr__tokenizer_close(more);
}

static void same_again(void **state)
{
    (void)state;
    static const char *const turned[] = {SHORT, TOKENS, "", CAT, MISS};
    acr__tokenizer *t = learned(400, ACR_SPLIT_LLAMA3, TEXTS(some)), *again;
    for (size_t part = 0; part < 6; part++) {
        texts from = part % 2 ? TEXTS(some) : TEXTS(turned);
        from.part = part;
        again = learned(400, ACR_SPLIT_LLAMA3, from);
        assert_string_equal(acr__tokenizer_hash(t), acr__tokenizer_hash(again));
        acr__tokenizer_close(again);
    }
    acr__tokenizer_close(t);
}

static void saved(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "/tmp/accrue-learned-%ld.json", (long)getpid());
    for (int split = 0; split < 3; split++) {
        acr__tokenizer *t = learned(330, (acr__split_kind)split, TEXTS(some)), *again;
        acr__ids a = {0}, b = {0};
        assert_int_equal(acr__tokenizer_save(t, path), ACR_OK);
        if (acr__tokenizer_open(&again, ctx, path) != ACR_OK)
            fail_msg("%s", acr_error(ctx));
        assert_string_equal(acr__tokenizer_hash(t), acr__tokenizer_hash(again));
        encode(t, some[0], strlen(some[0]), true, &a);
        encode(again, some[0], strlen(some[0]), true, &b);
        assert_int_equal(a.count, b.count);
        assert_memory_equal(a.id, b.id, (size_t)a.count * 4);
        acr__ids_free(ctx, &a);
        acr__ids_free(ctx, &b);
        acr__tokenizer_close(t);
        acr__tokenizer_close(again);
    }
    unlink(path);
}

static void refusals(void **state)
{
    (void)state;
    acr__tokenizer *t;
    static const char *const nothing[] = {"", "<|endoftext|>"}, *const bad[] = {"good", "one\ntwo\xc3("};
    assert_int_equal(learn(&t, ctx, 256, ACR_SPLIT_GPT2, TEXTS(some)), ACR_E_ARGUMENT);
    assert_int_equal(learn(&t, ctx, ACR_LEARN_MOST + 1, ACR_SPLIT_GPT2, TEXTS(some)), ACR_E_ARGUMENT);
    assert_int_equal(learn(&t, ctx, 300, ACR_SPLIT_GPT2, TEXTS(nothing)), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "texts: there is no text"));
    assert_int_equal(learn(&t, ctx, 300, ACR_SPLIT_GPT2, TEXTS(bad)), ACR_E_DATA);
    assert_non_null(strstr(acr_error(ctx), "texts:2:4: the byte 0xc3"));
    texts failing = TEXTS(some);
    failing.end = ACR_E_IO;
    assert_int_equal(learn(&t, ctx, 300, ACR_SPLIT_GPT2, failing), ACR_E_IO);
    acr_cancel(ctx);
    assert_int_equal(learn(&t, ctx, 300, ACR_SPLIT_GPT2, TEXTS(some)), ACR_E_CANCELLED);
    acr_cancel_clear(ctx);
    assert_null(t);
}

static void allocations(void **state)
{
    (void)state;
    bool done = false;
    int without_code = 0;
    for (int64_t refuse = 1; !done; refuse += 1 + refuse / 50) {
        counting c = {0};
        acr_context_opts opts = counting_context(&c, 1);
        acr_context *own;
        acr__tokenizer *t;
        assert_int_equal(acr__context_new(&own, &opts), ACR_OK);
        int64_t base = c.live;
        c.refuse = c.calls + refuse;
        acr_status status = learn(&t, own, 300, ACR_SPLIT_QWEN2, TEXTS(some));
        done = c.calls < c.refuse;
        without_code += status == ACR_OK && !done;
        assert_true(status == ACR_OK || (status == ACR_E_NO_MEMORY && !done && !t));
        acr__tokenizer_close(t);
        assert_int_equal(c.live, base);
        acr_context_destroy(own);
    }
    assert_true(without_code < 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule),  cmocka_unit_test(vocabulary), cmocka_unit_test(same_again),
        cmocka_unit_test(saved), cmocka_unit_test(refusals),   cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests(tests, context_open, context_close);
}
