/* one_hash.c: small trainings whose bits are the same on every machine.
 *
 * Each training runs on every path of this processor, at micro-batches of 1, 3,
 * 7 and the whole window, by one thread and by two: parameters, state and losses
 * after every update must be the same bytes, and one hash over all trainings of a
 * group is printed, to be compared with tests/golden/one_hash.txt. It needs the
 * library proper and libc only, so it runs wherever that compiles.
 *
 *     one_hash                 prints the hashes; 1 if any two ways differ, or if a
 *                              negative control does not change a training's hash
 *     one_hash --swap-rows     the control: two rows of the data change places
 *     one_hash --unfused       the control: products by a multiply and an add; those in
 *                              bf16, whose factors multiply exactly, by one chain */
#include "state.h"

#include "accum/trainer.h"
#include "base/bf16.h"

enum { SAMPLES = 50, WINDOW = 23 };
enum change { AS_IT_IS, SWAP_ROWS, UNFUSED };

static void build_mission(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 10), y = zoo_in(g, "y", 2);
    acr_node o = acr_linear(g, acr_relu(g, acr_linear(g, x, 5, "fc1")), 2, "fc2");
    zoo_loss(g, o, acr_mse(g, o, y, ACR_NONE));
}
static const zoo_case mission = {"mission", build_mission};

typedef struct training {
    const zoo_case *c;
    acr_optimizer optimizer;
    double learning_rate, momentum, weight_decay, max_grad_norm;
    int nesterov;
    acr_schedule schedule;
    int64_t samples, window;
    int updates;
} training;

static const training trainings[] = {
    {&mission, ACR_SGD, 0.01, 0, 0, 0, 0, ACR_CONSTANT, 100, 100, 100},
    {&mission, ACR_ADAMW, 0.01, 0, 0.1, 1, 0, ACR_COSINE, SAMPLES, WINDOW, 9},
    {&zoo[0], ACR_ADAMW, 0.01, 0, 0.1, 0.05, 0, ACR_LINEAR, SAMPLES, WINDOW, 4},
    {&zoo[1], ACR_SGD, 0.1, 0.9, 0.01, 0.5, 0, ACR_CONSTANT, SAMPLES, WINDOW, 4},
    {&zoo[2], ACR_SGD, 0.01, 0.9, 0, 0, 1, ACR_COSINE, SAMPLES, WINDOW, 4},
    {&zoo[3], ACR_ADAMW, 0.01, 0, 0.1, 0, 0, ACR_WSD, SAMPLES, WINDOW, 4},
    {&zoo[4], ACR_ADAM, 0.01, 0, 0.1, 1, 0, ACR_CONSTANT, SAMPLES, WINDOW, 4},
    {&zoo[5], ACR_ADAMW, 0.01, 0, 0.1, 0.05, 0, ACR_CONSTANT, SAMPLES, WINDOW, 4},
    {&zoo[6], ACR_ADAMW, 0.01, 0, 0.1, 0.05, 0, ACR_CONSTANT, SAMPLES, WINDOW, 4},
    {&zoo[7], ACR_SGD, 0.1, 0.5, 0, 0.05, 0, ACR_CONSTANT, SAMPLES, WINDOW, 4},
};
static const training sequences[] = {
    {&zoo[8], ACR_ADAMW, 0.01, 0, 0.1, 1, 0, ACR_COSINE, SAMPLES, WINDOW, 4},
    {&zoo[9], ACR_ADAMW, 0.01, 0, 0.1, 0.5, 0, ACR_CONSTANT, SAMPLES, WINDOW, 4},
    {&zoo[10], ACR_SGD, 0.1, 0.9, 0, 0.5, 0, ACR_LINEAR, SAMPLES, WINDOW, 4},
};

/* Windows of several blocks of 32 rows. */
enum { MANY = 150, WIDE = 67 };
static const zoo_case long_samples = {"long samples", zoo_long}, flat_head = {"flat head", zoo_flat_head};
static const zoo_case long_attention = {"long attention", zoo_long_attention};
static const training in_bf16[] = {
    {&mission, ACR_SGD, 0.01, 0, 0, 0, 0, ACR_CONSTANT, 100, 100, 20},
    {&zoo[0], ACR_ADAMW, 0.01, 0, 0.1, 0.05, 0, ACR_LINEAR, MANY, WIDE, 4},
    {&zoo[2], ACR_SGD, 0.01, 0.9, 0, 0, 1, ACR_COSINE, MANY, WIDE, 4},
    {&zoo[4], ACR_ADAM, 0.01, 0, 0.1, 1, 0, ACR_CONSTANT, MANY, WIDE, 4},
    {&zoo[8], ACR_ADAMW, 0.01, 0, 0.1, 1, 0, ACR_COSINE, SAMPLES, WINDOW, 4},
    {&zoo[9], ACR_ADAMW, 0.01, 0, 0.1, 0.5, 0, ACR_CONSTANT, SAMPLES, WINDOW, 4},
    {&zoo[10], ACR_SGD, 0.1, 0.9, 0, 0.5, 0, ACR_LINEAR, SAMPLES, WINDOW, 4},
    {&long_attention, ACR_ADAMW, 0.01, 0, 0.1, 0.5, 0, ACR_CONSTANT, SAMPLES, WINDOW, 4},
    {&long_samples, ACR_ADAMW, 0.01, 0, 0.1, 0.5, 0, ACR_CONSTANT, SAMPLES, WINDOW, 4},
    {&flat_head, ACR_ADAMW, 0.01, 0, 0.1, 0.5, 0, ACR_CONSTANT, MANY, WIDE, 4},
};

/* A group has a line of its own, so that a new one leaves the others as they are. */
static const struct group {
    const char *name;
    const training *list;
    size_t count;
    int products;
} groups[] = {
    {"", trainings, sizeof trainings / sizeof *trainings, ACR_F32},
    {", sequences", sequences, sizeof sequences / sizeof *sequences, ACR_F32},
    {", bf16", in_bf16, sizeof in_bf16 / sizeof *in_bf16, ACR_BF16},
};

/* The definition of a product but for its rounding: a multiply, then an add. */
static void unfused_gemm(const acr_gemm *g)
{
    const float *a = g->a, *b = g->b, *row = g->row;
    float *c = g->c;
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            float sum = g->start == ACR_START_ROW ? row[j] : g->start == ACR_START_C ? c[i * g->c_row + j] : 0.0f;
            for (int64_t p = 0; p < g->k; p++) {
                volatile float product = a[i * g->a_row + p * g->a_col] * b[p * g->b_row + j * g->b_col];
                sum += product;
            }
            c[i * g->c_row + j] = sum;
        }
}

/* The same of a product in bf16 but for its order: no blocks, one chain. */
static void chained_gemm(const acr_gemm *g)
{
    const float *a = g->a, *b = g->b, *row = g->row;
    float *c = g->c;
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            float sum = g->start == ACR_START_ROW ? row[j] : g->start == ACR_START_C ? c[i * g->c_row + j] : 0.0f;
            for (int64_t p = 0; p < g->k; p++)
                sum = __builtin_fmaf(acr__bf16_to_float(acr__bf16_operand(a[i * g->a_row + p * g->a_col])),
                                     acr__bf16_to_float(acr__bf16_operand(b[p * g->b_row + j * g->b_col])), sum);
            c[i * g->c_row + j] = sum;
        }
}

static void swap_rows(zoo_data *d)
{
    for (int i = 0; i < d->inputs; i++)
        for (int64_t e = 0; i != d->position && e < d->cols[i]; e++) {
            uint32_t *p = d->data[i], t = p[2 * d->cols[i] + e];
            p[2 * d->cols[i] + e] = p[17 * d->cols[i] + e];
            p[17 * d->cols[i] + e] = t;
        }
}

static zoo_opts options_of(const training *t, int products, const char *isa, int64_t micro, int threads)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.isa = isa;
    o.products = products;
    o.threads = threads;
    o.plan.micro_batch = micro;
    o.plan.optimizer = t->optimizer;
    o.plan.momentum = t->momentum != 0;
    o.trainer.learning_rate = t->learning_rate;
    o.trainer.momentum = t->momentum;
    o.trainer.nesterov = t->nesterov;
    o.trainer.weight_decay = t->weight_decay;
    o.trainer.max_grad_norm = t->max_grad_norm;
    o.trainer.schedule = t->schedule;
    o.trainer.warmup_steps = 1;
    o.trainer.total_steps = t->updates;
    o.trainer.decay_steps = 2;
    return o;
}

static uint64_t train(const training *t, int products, const char *isa, int64_t micro, int threads, enum change change)
{
    zoo_opts o = options_of(t, products, isa, micro, threads);
    zoo_run r = zoo_start(t->c, &o);
    acr_kernels unfused = *r.t->run.k;
    unfused.gemm = unfused_gemm;
    unfused.gemm_bf16 = chained_gemm;
    if (change == UNFUSED)
        r.t->run.k = &unfused;
    zoo_data d = zoo_make(r.g, t->samples, 11);
    if (change == SWAP_ROWS)
        swap_rows(&d);
    int64_t per_epoch = (t->samples + t->window - 1) / t->window;
    uint64_t h = STATE_BEGIN;
    for (int u = 0; u < t->updates; u++) {
        int64_t first = u % per_epoch * t->window, n = acr__min(t->window, t->samples - first);
        acr_report report = state_window(&r, &d, first, n, micro > 3 ? -1 : 0);
        h = state_hash(&r, state_report(h, &report));
    }
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

/* Every way to run it gives the same hash; 0 if not. */
static int ways_agree(const training *t, int products, uint64_t want)
{
    int agree = 1;
    for (int i = 0; acr_isa_name(i); i++)
        for (int threads = 1; threads <= 2; threads++) {
            const int64_t micro[] = {1, 3, 7, t->window};
            /* a hundred updates by single samples and two threads are barriers and little else */
            for (int m = threads == 2 && t->updates > 50 ? 3 : 0; m < 4; m++)
                if (train(t, products, acr_isa_name(i), micro[m], threads, AS_IT_IS) != want) {
                    fprintf(stderr, "%s, optimizer %d, products %d: other bits on %s at micro-batch %d with %d threads\n",
                            t->c->name, (int)t->optimizer, products, acr_isa_name(i), (int)micro[m], threads);
                    agree = 0;
                }
        }
    return agree;
}

/* Prints the group's hash; 0 if its ways differ, or a control changes nothing. */
static int run_group(const struct group *g, enum change change)
{
    uint64_t all = STATE_BEGIN;
    int right = 1;
    for (size_t i = 0; i < g->count; i++) {
        const training *t = &g->list[i];
        uint64_t h = train(t, g->products, "scalar", t->window, 1, change);
        all = state_mix(all, &h, sizeof h);
        if (change != AS_IT_IS)
            continue;
        right &= ways_agree(t, g->products, h);
        for (enum change c = SWAP_ROWS; c <= UNFUSED; c++)
            if (train(t, g->products, "scalar", t->window, 1, c) == h) {
                fprintf(stderr, "%s: %s does not change the hash\n", t->c->name,
                        c == UNFUSED ? "--unfused" : "--swap-rows");
                right = 0;
            }
    }
    printf("numerics %d%s: %016llx\n", acr_numerics(), g->name, (unsigned long long)all);
    return right;
}

int main(int argc, char **argv)
{
    enum change change = AS_IT_IS;
    if (argc == 2 && !strcmp(argv[1], "--swap-rows"))
        change = SWAP_ROWS;
    else if (argc == 2 && !strcmp(argv[1], "--unfused"))
        change = UNFUSED;
    else if (argc > 1)
        return fprintf(stderr, "usage: one_hash [--swap-rows | --unfused]\n"), 2;
    int right = 1;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        right &= run_group(&groups[i], change);
    return right ? 0 : 1;
}
