/* test_threads.c: different contexts are independent: trained by two threads of
 * the caller at once, each with a team of its own, they give the bits they give
 * alone. Under ThreadSanitizer this also shows that nothing is shared. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "accum/trainer.h"
#include "state.h"

enum { SAMPLES = 40, WINDOW = 17, UPDATES = 3 };

typedef struct work {
    int zoo, threads;
    uint64_t hash;
} work;

static void *train(void *arg)
{
    work *w = arg;
    zoo_opts o = ZOO_OPTS_INIT;
    o.threads = w->threads;
    o.plan.micro_batch = 4;
    o.plan.optimizer = ACR_ADAMW;
    o.trainer.max_grad_norm = 0.1;
    zoo_run r = zoo_start(&zoo[w->zoo], &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    for (int u = 0; u < UPDATES; u++)
        state_window(&r, &d, u % 2 * WINDOW, WINDOW, u ? 6 : 0);
    w->hash = state_and_clock(&r);
    zoo_free(&d);
    zoo_stop(&r);
    return NULL;
}

static void two_at_once(void **state)
{
    (void)state;
    for (int c = 0; c < ZOO_COUNT; c++) {
        work alone = {c, 1, 0}, both[2] = {{c, 2, 0}, {c, 2, 0}};
        pthread_t t[2];
        train(&alone);
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&t[i], NULL, train, &both[i]), 0);
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_join(t[i], NULL), 0);
        assert_true(both[0].hash == alone.hash && both[1].hash == alone.hash);
    }
}

/* Threads are taken where there is work for them: parameters and inputs are none. */
static bool has_team(int64_t in, int64_t hidden, int64_t micro)
{
    acr_context_opts co = ACR_CONTEXT_OPTS_INIT;
    acr_plan_opts plan = ACR_PLAN_OPTS_INIT;
    acr_trainer_opts opts = ACR_TRAINER_OPTS_INIT;
    zoo_run r = {0};
    co.threads = 2;
    plan.optimizer = ACR_SGD;
    plan.micro_batch = micro;
    ZOO_OK(r.ctx, acr_context_create(&r.ctx, &co));
    r.g = acr_graph_create(r.ctx, NULL);
    acr_node x = zoo_in(r.g, "x", in), y = zoo_in(r.g, "y", 2);
    acr_node h = acr_linear(r.g, acr_relu(r.g, acr_linear(r.g, x, hidden, "a")), 2, "b");
    zoo_loss(r.g, h, acr_mse(r.g, h, y, ACR_NONE));
    ZOO_OK(r.ctx, acr_graph_finish(r.g));
    ZOO_OK(r.ctx, acr_plan_create(&r.plan, r.g, &plan));
    ZOO_OK(r.ctx, acr_trainer_create(&r.t, r.plan, &opts));
    bool team = r.t->pool != NULL;
    zoo_stop(&r);
    return team;
}

static void teams_for_work(void **state)
{
    (void)state;
    assert_false(has_team(10, 5, 100)); /* 3 x 60 multiply-adds a sample */
    assert_true(has_team(784, 64, 64));
}

/* Products large enough for every way that members share them: by rows and columns,
 * in pieces for whoever is free, weights packed before or on the way. */
static void zoo_large(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 300), y = zoo_in(g, "y", 530);
    acr_node h = acr_linear(g, acr_gelu(g, acr_linear(g, x, 1040, "a")), 530, "b");
    zoo_loss(g, h, acr_mse(g, h, y, ACR_NONE));
}

static uint64_t large(int threads, int pack, int products)
{
    enum { ROWS = 110 };
    const zoo_case c = {"large", zoo_large};
    zoo_opts o = ZOO_OPTS_INIT;
    o.threads = threads;
    o.products = products;
    o.plan.pack = pack;
    o.plan.micro_batch = ROWS;
    o.plan.optimizer = ACR_ADAMW;
    zoo_run r = zoo_start(&c, &o);
    zoo_data d = zoo_make(r.g, 2 * ROWS, 5);
    state_window(&r, &d, 0, 2 * ROWS, 0);
    uint64_t hash = state_and_clock(&r);
    zoo_free(&d);
    zoo_stop(&r);
    return hash;
}

static void every_way_to_share(void **state)
{
    (void)state;
    for (int products = 0; products <= ACR_BF16; products += ACR_BF16) {
        uint64_t alone = large(1, 0, products);
        for (int threads = 1; threads <= 4; threads++)
            for (int pack = 0; pack < 2; pack++)
                if (large(threads, pack, products) != alone)
                    fail_msg("%d threads, pack %d, products %d: other bits", threads, pack, products);
    }
}

/* acr_cancel may come from any thread while a window is being pulled. */
typedef struct shared {
    acr_context *ctx;
    zoo_data *d;
} shared;

static acr_status slow(void *user, int64_t window, int64_t first, int64_t n, const acr_slots *out)
{
    (void)window, (void)first;
    const shared *s = user;
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < s->d->inputs; k++)
            if (out->data[k])
                memset((char *)out->data[k] + i * out->row_bytes[k], 0, (size_t)s->d->cols[k] * 4);
    return ACR_OK;
}

static void *cancel_now(void *arg)
{
    acr_cancel(((shared *)arg)->ctx);
    return NULL;
}

static void cancelled_from_elsewhere(void **state)
{
    (void)state;
    zoo_opts o = ZOO_OPTS_INIT;
    zoo_run r = zoo_start(&zoo[1], &o);
    zoo_data d = zoo_make(r.g, 3, 5);
    shared s = {r.ctx, &d};
    acr_source source = {sizeof source, &s, slow, 0};
    pthread_t t;
    ZOO_OK(r.ctx, acr_window_open(r.t));
    assert_int_equal(pthread_create(&t, NULL, cancel_now, &s), 0);
    acr_status status = ACR_OK;
    for (int64_t done = 0; status == ACR_OK && done < ACR_CHAIN_ROWS / 16; done += 16)
        status = acr_window_pull(r.t, &source, 0, 0, 16);
    assert_int_equal(pthread_join(t, NULL), 0);
    if (status == ACR_OK) /* the other thread came late */
        status = acr_window_pull(r.t, &source, 0, 0, 16);
    assert_int_equal(status, ACR_E_CANCELLED);
    zoo_free(&d);
    zoo_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_at_once), cmocka_unit_test(teams_for_work),
        cmocka_unit_test(every_way_to_share),
        cmocka_unit_test(cancelled_from_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
