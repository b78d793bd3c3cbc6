/* test_alloc_faults.c: the n-th request for memory fails, for every n that
 * building, planning and training small networks reaches: each time a status and
 * a sentence, nothing leaked, nothing broken; and the next n may succeed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "counting.h"
#include "state.h"

enum { SAMPLES = 12 };

/* ACR_E_NO_MEMORY with a sentence, unless memory was there. */
static bool went_well(const counting *c, acr_context *ctx, acr_status status)
{
    if (status == ACR_OK)
        return true;
    if (status != ACR_E_NO_MEMORY || c->calls < c->refuse)
        fail_msg("request %d refused: status %d '%s'", (int)c->refuse, (int)status, acr_error(ctx));
    assert_non_null(strstr(acr_error(ctx), "bytes were asked for"));
    return false;
}

/* Goes as far as memory lasts; whether it came to the end. */
static bool train(counting *c, const zoo_case *z, int threads, int reference, zoo_run *r)
{
    acr_context_opts co = counting_context(c, threads);
    acr_graph_opts go = {sizeof go, 1, reference, 0};
    acr_plan_opts po = ACR_PLAN_OPTS_INIT;
    acr_status status = acr_context_create(&r->ctx, &co);
    if (!r->ctx) {
        assert_int_equal(status, ACR_E_NO_MEMORY);
        return false;
    }
    assert_int_equal(status, ACR_OK);
    r->ctx->serial_work = 0; /* a team at once: its memory can be short as well */
    r->g = acr_graph_create(r->ctx, &go);
    if (!r->g)
        return went_well(c, r->ctx, ACR_E_NO_MEMORY);
    z->build(r->g);
    if (!went_well(c, r->ctx, acr_graph_finish(r->g)))
        return false;
    po.micro_batch = 5;
    po.optimizer = ACR_ADAMW;
    if (!went_well(c, r->ctx, acr_plan_create(&r->plan, r->g, &po)) ||
        !went_well(c, r->ctx, acr_trainer_create(&r->t, r->plan, NULL)))
        return false;
    c->refuse = 0; /* the data of the test itself uses none of it, and training asks for none */
    zoo_data d = zoo_make(r->g, SAMPLES, 5);
    state_window(r, &d, 0, SAMPLES, 0);
    zoo_free(&d);
    return true;
}

/* Trains with request 1, 2, 3, ... refused until none of that number comes. */
static void exhaust(const zoo_case *z, int threads, int reference)
{
    bool done = false;
    int64_t n = 0;
    while (!done) {
        counting c = {.refuse = ++n};
        zoo_run r = {0};
        done = train(&c, z, threads, reference, &r);
        zoo_stop(&r);
        assert_int_equal(c.live, 0);
    }
    assert_true(n > 15); /* context, graph, nodes, names, plan, arena, ... */
}

static void every_request(void **state)
{
    (void)state;
    for (int i = 0; i < ZOO_COUNT; i++)
        exhaust(&zoo[i], 1, i % 2);
}

static void every_request_of_a_team(void **state)
{
    (void)state;
    exhaust(&zoo[4], 2, 0);
}

/* A trainer that could not be made leaves plan and graph fit for another try. */
static void again(void **state)
{
    (void)state;
    counting c = {0};
    acr_context_opts co = counting_context(&c, 1);
    zoo_run r = {0};
    acr_plan_opts po = ACR_PLAN_OPTS_INIT;
    ZOO_OK(r.ctx, acr_context_create(&r.ctx, &co));
    r.g = acr_graph_create(r.ctx, NULL);
    zoo[0].build(r.g);
    ZOO_OK(r.ctx, acr_graph_finish(r.g));
    for (int64_t more = 1; !r.plan; more++) {
        c.refuse = c.calls + more;
        went_well(&c, r.ctx, acr_plan_create(&r.plan, r.g, &po));
    }
    for (int64_t more = 1; !r.t; more++) {
        c.refuse = c.calls + more;
        went_well(&c, r.ctx, acr_trainer_create(&r.t, r.plan, NULL));
    }
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    assert_int_equal(state_window(&r, &d, 0, SAMPLES, 0).skipped, 0);
    zoo_free(&d);
    zoo_stop(&r);
    assert_int_equal(c.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request),
        cmocka_unit_test(every_request_of_a_team),
        cmocka_unit_test(again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
