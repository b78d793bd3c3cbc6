/* external_loss.c: a loss that the library does not have, with a weight for each
 * sample. It is the pinball loss of the 0.9 quantile: the trained line ends up
 * above nine tenths of the (weighted) samples.
 *
 * The graph has an output and no loss. Each micro-batch goes forward, the outputs
 * are read, and the gradient of each sample's loss is handed back with its weight;
 * the division by the window's total weight stays the library's business.
 *
 *     cc external_loss.c -laccrue && ./a.out */
#include <accrue/accrue.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 500, MICRO_BATCH = 32, UPDATES = 400 };

static acr_context *ctx;
static float x[SAMPLES], y[SAMPLES], weight[SAMPLES];

static void check(acr_status status)
{
    if (status != ACR_OK) {
        fprintf(stderr, "external_loss: %s\n", acr_error(ctx));
        exit(1);
    }
}

/* l(o) = 0.9 (y - o) above the line, 0.1 (o - y) below it. */
static void pinball(int n, const float *o, const float *target, float *loss, float *gradient)
{
    for (int i = 0; i < n; i++) {
        float above = target[i] - o[i];
        loss[i] = above > 0 ? 0.9f * above : -0.1f * above;
        gradient[i] = above > 0 ? -0.9f : 0.1f;
    }
}

static void add(acr_trainer *t, int first, int n)
{
    float o[MICRO_BATCH], loss[MICRO_BATCH], gradient[MICRO_BATCH];
    const void *data[] = {x + first};
    acr_batch batch = ACR_BATCH_INIT;
    batch.samples = n;
    batch.data = data;
    check(acr_window_forward(t, &batch));
    check(acr_output_read(t, "quantile", 0, n, o));
    pinball(n, o, y + first, loss, gradient);
    check(acr_window_backward(t, "quantile", gradient, weight + first, loss));
}

static double share_below(acr_trainer *t)
{
    static float o[SAMPLES];
    double below = 0, all = 0;
    const void *data[] = {x};
    acr_batch batch = ACR_BATCH_INIT;
    batch.samples = SAMPLES; /* more than a micro-batch: the library splits it */
    batch.data = data;
    check(acr_predict(t, &batch, "quantile", o));
    for (int i = 0; i < SAMPLES; i++) {
        below += y[i] < o[i] ? (double)weight[i] : 0;
        all += (double)weight[i];
    }
    return below / all;
}

int main(void)
{
    acr_plan *plan;
    acr_trainer *t;

    for (uint64_t i = 0; i < SAMPLES; i++) {
        x[i] = acr_normal(7, 1, i);
        y[i] = 2 * x[i] + acr_normal(7, 2, i);
        weight[i] = i % 3 ? 1.0f : 0.25f;
    }

    check(acr_context_create(&ctx, NULL));
    acr_graph *g = acr_graph_create(ctx, NULL);
    if (!g)
        check(ACR_E_NO_MEMORY);
    acr_output(g, "quantile", acr_linear(g, acr_input(g, "x", ACR_F32, 1, (int64_t[]){1}), 1, "line"));
    check(acr_graph_finish(g));

    acr_plan_opts plan_opts = ACR_PLAN_OPTS_INIT;
    plan_opts.micro_batch = MICRO_BATCH;
    plan_opts.optimizer = ACR_ADAM;
    check(acr_plan_create(&plan, g, &plan_opts));
    acr_trainer_opts opts = ACR_TRAINER_OPTS_INIT;
    opts.learning_rate = 0.05;
    opts.schedule = ACR_LINEAR;
    opts.total_steps = UPDATES;
    check(acr_trainer_create(&t, plan, &opts));

    for (int update = 1; update <= UPDATES; update++) {
        acr_report report = ACR_REPORT_INIT;
        check(acr_window_open(t));
        for (int first = 0; first < SAMPLES; first += MICRO_BATCH)
            add(t, first, SAMPLES - first < MICRO_BATCH ? SAMPLES - first : MICRO_BATCH);
        check(acr_window_close(t, &report));
        if (update == 1 || update % 100 == 0)
            printf("update %3d  loss %.6f  W %.2f\n", update, report.loss, report.weight);
    }
    double share = share_below(t);
    printf("%.1f%% of the weight lies below the line\n", 100 * share);

    acr_trainer_destroy(t);
    acr_plan_destroy(plan);
    acr_graph_destroy(g);
    acr_context_destroy(ctx);
    return share < 0.88 || share > 0.92;
}
