/* seed.c: the whole way in one program. A network of 10-5-2 learns 100 samples for
 * 100 epochs; each epoch is one update, made of 20 micro-batches of 5 samples. The
 * weights are saved, loaded into a second trainer, and are the same to the bit.
 *
 *     cc seed.c -laccrue_io -laccrue && ./a.out
 *
 * seed.py does the same from Python and prints the same numbers. */
#include <accrue/accrue.h>
#include <accrue/accrue_io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 100, INPUTS = 10, HIDDEN = 5, OUTPUTS = 2, MICRO_BATCH = 5, EPOCHS = 100 };

static acr_context *ctx;
static float x[SAMPLES][INPUTS], y[SAMPLES][OUTPUTS];

/* The library never prints or exits: it gives a status and keeps a sentence. */
static void check(acr_status status)
{
    if (status != ACR_OK) {
        fprintf(stderr, "seed: %s\n", acr_error(ctx));
        exit(1);
    }
}

static acr_graph *build(void)
{
    acr_graph_opts opts = ACR_GRAPH_OPTS_INIT;
    opts.seed = 42; /* the initial weights follow from it and from the names below */
    acr_graph *g = acr_graph_create(ctx, &opts);
    if (!g)
        check(ACR_E_NO_MEMORY);
    acr_node in = acr_input(g, "x", ACR_F32, 1, (int64_t[]){INPUTS});
    acr_node target = acr_input(g, "y", ACR_F32, 1, (int64_t[]){OUTPUTS});
    acr_node hidden = acr_relu(g, acr_linear(g, in, HIDDEN, "fc1"));
    acr_node out = acr_linear(g, hidden, OUTPUTS, "fc2");
    acr_output(g, "prediction", out);
    acr_loss(g, acr_mse(g, out, target, ACR_NONE));
    check(acr_graph_finish(g)); /* whatever was wrong above is told here */
    return g;
}

static acr_trainer *trainer_of(acr_plan *plan)
{
    acr_trainer *t;
    acr_trainer_opts opts = ACR_TRAINER_OPTS_INIT;
    opts.learning_rate = 0.01;
    check(acr_trainer_create(&t, plan, &opts));
    return t;
}

static double train_epoch(acr_trainer *t)
{
    acr_report report = ACR_REPORT_INIT;
    check(acr_window_open(t));
    for (int first = 0; first < SAMPLES; first += MICRO_BATCH) {
        const void *data[] = {x[first], y[first]};
        acr_batch batch = ACR_BATCH_INIT;
        batch.samples = MICRO_BATCH;
        batch.data = data;
        check(acr_window_add(t, &batch));
    }
    check(acr_window_close(t, &report)); /* the one update, over all 100 samples */
    return report.loss;
}

int main(void)
{
    acr_plan *plan;
    char trained[ACR_HASH_TEXT], loaded[ACR_HASH_TEXT];

    for (int i = 0; i < SAMPLES; i++) {
        for (int k = 0; k < INPUTS; k++)
            x[i][k] = acr_normal(42, 1, (uint64_t)(i * INPUTS + k));
        for (int k = 0; k < OUTPUTS; k++)
            y[i][k] = acr_normal(42, 2, (uint64_t)(i * OUTPUTS + k));
    }

    check(acr_context_create(&ctx, NULL));
    acr_graph *g = build();
    acr_plan_opts opts = ACR_PLAN_OPTS_INIT;
    opts.micro_batch = MICRO_BATCH;
    opts.optimizer = ACR_SGD;
    check(acr_plan_create(&plan, g, &opts));
    printf("memory planned: %zu bytes\n", acr_plan_bytes(plan));

    acr_trainer *t = trainer_of(plan);
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        double loss = train_epoch(t);
        if (epoch == 1 || epoch % 20 == 0)
            printf("epoch %3d  loss %.17g\n", epoch, loss);
    }
    check(acr_weights_hash(t, trained));
    check(acr_model_save(t, "seed.safetensors", NULL));

    acr_trainer *second = trainer_of(plan); /* starts from the seed's weights, not the trained ones */
    check(acr_model_load(second, "seed.safetensors", NULL));
    check(acr_weights_hash(second, loaded));
    printf("weights %s\n", trained);

    acr_trainer_destroy(second);
    acr_trainer_destroy(t);
    acr_plan_destroy(plan);
    acr_graph_destroy(g);
    acr_context_destroy(ctx);
    return strcmp(trained, loaded) != 0;
}
