/* own_loop.c: your own data loop. Samples come in pieces of whatever size, here 1
 * to 9 at a time as from a socket; a window is closed once it has 64, and what is
 * left at the end makes a smaller one. The weights do not depend on the sizes of
 * the pieces: the program trains a second time with other pieces and compares.
 *
 *     cc own_loop.c -laccrue && ./a.out */
#include <accrue/accrue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 1000, INPUTS = 4, EFFECTIVE_BATCH = 64, WEIGHTS = 3 * INPUTS };

static acr_context *ctx;
static float x[SAMPLES][INPUTS];
static int32_t label[SAMPLES];

static void check(acr_status status)
{
    if (status != ACR_OK) {
        fprintf(stderr, "own_loop: %s\n", acr_error(ctx));
        exit(1);
    }
}

/* How many samples the next piece has. */
static int next_piece(int number, int largest)
{
    return 1 + number * 7 % largest;
}

static void close_window(acr_trainer *t)
{
    acr_report report = ACR_REPORT_INIT;
    check(acr_window_close(t, &report));
    printf("update %2lld: %2lld samples, loss %.6f, gradient norm %.6f\n", (long long)report.update,
           (long long)report.samples, report.loss, report.grad_norm);
}

static void train(acr_plan *plan, int largest_piece, float weights[WEIGHTS])
{
    acr_trainer *t;
    acr_trainer_opts opts = ACR_TRAINER_OPTS_INIT;
    opts.learning_rate = 0.01;
    check(acr_trainer_create(&t, plan, &opts));

    int in_window = 0, number = 0;
    for (int done = 0; done < SAMPLES;) {
        int n = next_piece(number++, largest_piece);
        if (n > SAMPLES - done)
            n = SAMPLES - done;
        if (n > EFFECTIVE_BATCH - in_window)
            n = EFFECTIVE_BATCH - in_window; /* the rest of the piece belongs to the next window */
        if (in_window == 0)
            check(acr_window_open(t));
        const void *data[] = {x[done], label + done};
        acr_batch batch = ACR_BATCH_INIT;
        batch.samples = n;
        batch.data = data;
        check(acr_window_add(t, &batch));
        done += n;
        in_window += n;
        if (in_window == EFFECTIVE_BATCH || done == SAMPLES) {
            close_window(t);
            in_window = 0;
        }
    }
    check(acr_param_read(t, acr_param_index(acr_trainer_graph(t), "classify.weight"), 0, WEIGHTS, weights));
    acr_trainer_destroy(t);
}

int main(void)
{
    acr_plan *plan;
    float ragged[WEIGHTS], large[WEIGHTS];

    for (int i = 0; i < SAMPLES; i++) {
        for (int k = 0; k < INPUTS; k++)
            x[i][k] = acr_normal(1, 1, (uint64_t)(i * INPUTS + k));
        label[i] = x[i][0] > x[i][1] ? 0 : x[i][2] > 0 ? 1 : 2;
    }

    check(acr_context_create(&ctx, NULL));
    acr_graph *g = acr_graph_create(ctx, NULL);
    if (!g)
        check(ACR_E_NO_MEMORY);
    acr_node in = acr_input(g, "x", ACR_F32, 1, (int64_t[]){INPUTS});
    acr_node target = acr_input(g, "label", ACR_I32, 1, (int64_t[]){1});
    acr_node logits = acr_linear(g, in, 3, "classify");
    acr_loss(g, acr_cross_entropy(g, logits, target, ACR_NONE, NULL));
    check(acr_graph_finish(g));

    acr_plan_opts opts = ACR_PLAN_OPTS_INIT;
    opts.micro_batch = 8; /* larger pieces are split, smaller ones run as they are */
    opts.optimizer = ACR_ADAMW;
    check(acr_plan_create(&plan, g, &opts));
    train(plan, 9, ragged);
    train(plan, 50, large);
    int same = memcmp(ragged, large, sizeof ragged) == 0;
    printf("pieces of 1 to 9 and of 1 to 50: %s\n", same ? "the same weights, bit for bit" : "DIFFERENT weights");

    acr_plan_destroy(plan);
    acr_graph_destroy(g);
    acr_context_destroy(ctx);
    return !same;
}
