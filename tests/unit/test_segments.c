/* test_segments.c: parameters are addressed as (segment, offset, length). Spread over
 * several segments they train to the same bytes, with every optimizer, with frozen
 * ones among them; what one layout saved another takes up; and the segments do lie
 * apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "accum/trainer.h"
#include "state.h"

enum { SAMPLES = 40, WINDOW = 20, UPDATES = 3 };

/* Of which the weights alone are trained: frozen parameters stand between them. */
static void two_layers(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 7), y = zoo_in(g, "y", 3);
    acr_node h = acr_linear(g, acr_relu(g, acr_linear(g, x, 19, "a")), 3, "b");
    zoo_loss(g, h, acr_mse(g, h, y, ACR_NONE));
}

static zoo_opts opts(acr_optimizer optimizer, int threads, int segments)
{
    zoo_opts o = ZOO_OPTS_INIT;
    o.threads = threads;
    o.segments = segments;
    o.plan.micro_batch = 7;
    o.plan.optimizer = optimizer;
    o.plan.momentum = optimizer == ACR_SGD;
    o.trainer.momentum = 0.9;
    o.trainer.learning_rate = 0.01;
    o.trainer.weight_decay = 0.1;
    o.trainer.max_grad_norm = 0.5;
    return o;
}

/* Every parameter and state from one trainer to another. */
static void carry(zoo_run *from, zoo_run *to)
{
    float v;
    acr_clock clock;
    for (int p = 0; p < acr_param_count(from->g); p++)
        for (int64_t i = 0; i < acr_param_elements(from->g, p); i++) {
            ZOO_OK(from->ctx, acr_param_read(from->t, p, i, 1, &v));
            ZOO_OK(to->ctx, acr_param_write(to->t, p, i, 1, &v));
            for (int s = 0; s < acr_state_slots(from->t) && acr_param_trainable(from->t, p); s++) {
                ZOO_OK(from->ctx, acr_state_read(from->t, p, s, i, 1, &v));
                ZOO_OK(to->ctx, acr_state_write(to->t, p, s, i, 1, &v));
            }
        }
    ZOO_OK(from->ctx, acr_clock_get(from->t, &clock));
    ZOO_OK(to->ctx, acr_clock_set(to->t, &clock));
}

static uint64_t update(zoo_run *r, zoo_data *d, int u, uint64_t h)
{
    acr_report report = ACR_REPORT_INIT;
    ZOO_OK(r->ctx, acr_window_open(r->t));
    state_add(r, d, u % 2 * WINDOW, WINDOW, 0);
    ZOO_OK(r->ctx, acr_window_close(r->t, &report));
    return state_report(h, &report);
}

static uint64_t train(const zoo_case *c, zoo_opts o)
{
    zoo_run r = zoo_start(c, &o);
    zoo_data d = zoo_make(r.g, SAMPLES, 1);
    uint64_t h = STATE_BEGIN;
    for (int u = 0; u < UPDATES; u++)
        h = update(&r, &d, u, h);
    h = state_hash(&r, h);
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

static const zoo_case frozen_case = {"frozen", two_layers};
static zoo_opts weights_only(zoo_opts o)
{
    o.trained = "*.weight";
    return o;
}

static void same_bytes(void **state)
{
    (void)state;
    for (int i = 0; i <= ZOO_COUNT; i++) {
        const zoo_case *c = i < ZOO_COUNT ? &zoo[i] : &frozen_case;
        for (int optimizer = ACR_SGD; optimizer <= ACR_ADAMW; optimizer++) {
            zoo_opts o[3];
            for (int k = 0; k < 3; k++) {
                o[k] = opts((acr_optimizer)optimizer, 1 + k, k ? 1 + k : 0);
                o[k] = c == &frozen_case ? weights_only(o[k]) : o[k];
            }
            uint64_t one = train(c, o[0]);
            for (int k = 1; k < 3; k++)
                if (train(c, o[k]) != one)
                    fail_msg("%s, optimizer %d: %d segments are not one", c->name, optimizer, o[k].segments);
        }
    }
}

static void one_goes_on_from_another(void **state)
{
    (void)state;
    zoo_opts two = weights_only(opts(ACR_ADAMW, 1, 2)), one = weights_only(opts(ACR_ADAMW, 1, 0));
    zoo_run a = zoo_start(&frozen_case, &two), b = zoo_start(&frozen_case, &one);
    zoo_data d = zoo_make(a.g, SAMPLES, 1), same = zoo_make(b.g, SAMPLES, 1);
    update(&a, &d, 0, 0);
    carry(&a, &b);
    assert_true(update(&a, &d, 1, 0) == update(&b, &same, 1, 0));
    assert_true(state_and_clock(&a) == state_and_clock(&b));
    zoo_free(&d);
    zoo_free(&same);
    zoo_stop(&a);
    zoo_stop(&b);
}

/* Where the plan says that a tensor is. */
static const char *planned(const zoo_run *r, const char *name)
{
    acr_plan_entry e;
    for (int i = 0; i < acr_plan_entries(r->plan); i++)
        if (acr_plan_entry_get(r->plan, i, &e) == ACR_OK && !strcmp(e.name, name))
            return r->t->arena + e.offset;
    fail_msg("the plan has no %s", name);
    return NULL;
}

/* A parameter lies where its address says, within its own segment. */
static void segments_lie_apart(void **state)
{
    (void)state;
    zoo_opts o = weights_only(opts(ACR_ADAMW, 1, 3));
    zoo_run r = zoo_start(&frozen_case, &o);
    const acr__segment_memory *s = r.t->segments;
    /* a.bias and b.weight, a.weight, b.bias: the last segment has no state */
    assert_int_equal(r.plan->segment_count, 3);
    assert_int_equal(r.t->trained_count, 2);
    assert_true(s[0].value < s[0].state[0] && s[0].state[0] < s[0].state[1] && s[0].state[1] < s[1].value);
    assert_true(s[1].state[1] < s[2].value && !s[2].state[0] && !s[2].state[1]);
    for (int p = 0; p < acr_param_count(r.g); p++) {
        const acr__address *at = &r.plan->param_places[p].at;
        assert_int_equal(at->segment, p % 3);
        assert_int_equal(at->length, acr_param_elements(r.g, p));
        float *value = (float *)(void *)acr__value_at(r.t, at, 0), v = 3.25f, got;
        assert_true(at->segment == 2 || (char *)(value + at->length) <= s[at->segment].state[0]);
        ZOO_OK(r.ctx, acr_param_write(r.t, p, at->length - 1, 1, &v));
        assert_true(value[at->length - 1] == v);
        assert_ptr_equal(value, planned(&r, acr_param_name(r.g, p)));
        value[0] = 7;
        ZOO_OK(r.ctx, acr_param_read(r.t, p, 0, 1, &got));
        assert_true(got == 7);
    }
    const acr__address *weight = &r.plan->param_places[acr_param_index(r.g, "b.weight")].at;
    assert_ptr_equal(acr__state_at(r.t, weight, 0, 0), planned(&r, "b.weight.state0"));
    assert_ptr_equal(acr__state_at(r.t, weight, 1, 0), planned(&r, "b.weight.state1"));
    zoo_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes),
        cmocka_unit_test(one_goes_on_from_another),
        cmocka_unit_test(segments_lie_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
