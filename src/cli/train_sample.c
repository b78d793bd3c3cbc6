/* train_sample.c: what the model writes behind sample_prompt, between two updates.
 *
 * It runs the whole sequence again for each token, in the buffers of training, and
 * needs the hidden rows and what one token is drawn from beside them. The
 * logits are one fp32 chain each, whatever dtype the products of training have: a
 * sample is to be looked at. Watching changes no bit: nothing is drawn from what
 * training draws from. */
#include "cli/generate.h"
#include "cli/train_run.h"

#include <math.h>
#include <string.h>

enum {
    ROOM = 4096,
    SAMPLE_BYTES = 2000,
    LINE_BYTES = ACR_METRICS_LINE - 2192, /* of metrics.jsonl; the rest is the line's numbers */
};

typedef struct session {
    acr__setup *s;
    int32_t *position; /* [sequence_length]: 0, 1, ... */
    float *hidden;     /* [sequence_length, width] */
    char *text;        /* [SAMPLE_BYTES + 1] */
    size_t bytes, line; /* line: those that it takes in metrics.jsonl */
    bool full;
} session;

static acr_status next_logits(void *user, const int32_t *ids, int64_t known, int64_t count, float *out)
{
    session *a = user;
    acr_trainer *t = a->s->trainer;
    const int32_t offsets[2] = {0, (int32_t)count};
    const int32_t *const domains[1] = {offsets};
    const void *const data[3] = {ids, NULL, a->position};
    acr_batch batch = {sizeof batch, 1, data, domains};
    int64_t width = a->s->lm.width;
    int head = acr_param_index(acr_trainer_graph(t), acr__lm_head_name(&a->s->lm));
    float weights[ROOM];
    (void)known;
    TRY(acr_predict(t, &batch, "hidden", a->hidden));
    const float *row = a->hidden + (count - 1) * width;
    for (int64_t v = 0; v < a->s->lm.vocab; v++) {
        float sum = 0;
        for (int64_t at = 0, n; at < width; at += n) {
            n = acr__min(ROOM, width - at);
            TRY(acr_param_read(t, head, v * width + at, n, weights));
            for (int64_t i = 0; i < n; i++)
                sum = fmaf(row[at + i], weights[i], sum);
        }
        out[v] = sum;
    }
    return ACR_OK;
}

static void keep_text(void *user, const char *text, size_t bytes)
{
    session *a = user;
    a->line += acr__metrics_text(text, bytes);
    a->full |= a->bytes + bytes > SAMPLE_BYTES || a->line > LINE_BYTES;
    if (a->full)
        return;
    memcpy(a->text + a->bytes, text, bytes);
    a->bytes += bytes;
    a->text[a->bytes] = '\0';
}

static acr__generation generation_of(const acr__setup *s)
{
    return (acr__generation){.ctx = s->ctx,
                             .tokenizer = s->tokenizer,
                             .lm = &s->lm,
                             .sampling = {.temperature = 0.8, .top_p = 0.95, .seed = (uint64_t)s->cfg->seed},
                             .context = s->sequence_length};
}

static acr_status generate(session *a, const acr__config *cfg)
{
    acr__setup *s = a->s;
    for (int64_t i = 0; i < s->sequence_length; i++)
        a->position[i] = (int32_t)i;
    acr__generation g = generation_of(s);
    g.max_new_tokens = cfg->sample_tokens;
    g.logits = next_logits;
    g.echo = true;
    g.write = keep_text;
    g.user = a;
    acr_status status = acr__generate(&g, cfg->sample_prompt, strlen(cfg->sample_prompt));
    acr__generation_end(&g);
    return status;
}

acr_status acr__train_sample_check(acr__setup *s)
{
    const char *prompt = s->cfg->sample_prompt;
    if (!prompt || !s->tokenizer)
        return ACR_OK;
    acr__generation g = generation_of(s);
    acr_status status = acr__generate(&g, prompt, strlen(prompt));
    acr__generation_end(&g);
    return status == ACR_E_ARGUMENT ? acr__fail(s->ctx, ACR_E_CONFIG, "sample_prompt: %s, or raise data.sequence_length",
                                                acr_error(s->ctx)) : status;
}

int64_t acr__train_sample_bytes(const acr__setup *s)
{
    const int64_t vocabulary = s->lm.vocab * (int64_t)(12 + sizeof(float)); /* the sampler's, and the logits */
    return s->cfg->sample_prompt ? s->sequence_length * (s->lm.width + 1) * 4 + SAMPLE_BYTES + 1 + vocabulary : 0;
}

acr_status acr__train_sample(acr__train_run *r, char **text)
{
    acr__setup *s = r->s;
    session a = {.s = s};
    *text = NULL;
    if (!s->cfg->sample_prompt || !s->tokenizer)
        return ACR_OK;
    size_t rows = (size_t)s->sequence_length;
    a.position = acr__alloc(s->ctx, rows * sizeof *a.position);
    a.hidden = acr__alloc(s->ctx, rows * (size_t)s->lm.width * sizeof *a.hidden);
    a.text = acr__alloc(s->ctx, SAMPLE_BYTES + 1);
    acr_status status = a.position && a.hidden && a.text ? generate(&a, s->cfg) : ACR_E_NO_MEMORY;
    acr__free(s->ctx, a.position);
    acr__free(s->ctx, a.hidden);
    if (status == ACR_OK)
        *text = a.text;
    else
        acr__free(s->ctx, a.text);
    if (status != ACR_E_DIVERGED)
        return status;
    acr__warn(r->cli, "no sample: %s", acr_error(s->ctx)); /* whether training ends is not for a sample to say */
    return ACR_OK;
}
