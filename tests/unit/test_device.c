/* test_device.c: host code never touches what nodes hold. A fake device: its
 * memory can be read and written only while one of its kernels, or put, fetch or
 * clear, runs; a touch by anybody else is a crash. It must give the host's bits. */
#include "../zoo.h"
#include "../state.h"
#include "kernel/kernel.h"
#include "plan/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static char *device;
static size_t device_bytes, arena_bytes;
static int depth, calls;

static void set_access(int access)
{
    if (device && mprotect(device, device_bytes, access) != 0)
        abort();
}

static void enter(void)
{
    calls++;
    if (depth++ == 0)
        set_access(PROT_READ | PROT_WRITE);
}

static void leave(void)
{
    if (--depth == 0)
        set_access(PROT_NONE);
}

/* The arena, the one request of its size, in pages of its own. */
static void *take(void *user, size_t bytes)
{
    (void)user;
    if (bytes < arena_bytes || device)
        return malloc(bytes);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    device_bytes = (bytes + page - 1) / page * page;
    device = mmap(NULL, device_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return device == MAP_FAILED ? NULL : device;
}

static void give(void *user, void *p)
{
    (void)user;
    if (p && p == (void *)device) {
        munmap(device, device_bytes);
        device = NULL;
    } else {
        free(p);
    }
}

static const acr_kernels *real_table;
#define WRAP(name, parameters, arguments)    \
    static void fake_##name parameters       \
    {                                        \
        enter();                             \
        real_table->name arguments;          \
        leave();                             \
    }
#define I int64_t
WRAP(put, (void *n, const void *f, size_t b), (n, f, b))
WRAP(fetch, (void *t, const void *n, size_t b), (t, n, b))
WRAP(clear, (void *n, size_t b), (n, b))
WRAP(gemm, (const acr_gemm *g), (g))
WRAP(pack_b, (I n, I k, const void *b, I r, I c, void *o), (n, k, b, r, c, o))
WRAP(gemm_bf16, (const acr_gemm *g), (g))
WRAP(pack_b_bf16, (I n, I k, const void *b, I r, I c, bool h, void *o), (n, k, b, r, c, h, o))
WRAP(round_bf16, (I n, const void *x, void *o), (n, x, o))
WRAP(unary, (enum acr_unary f, float p, I r, I c, const void *x, I lx, void *y, I ly), (f, p, r, c, x, lx, y, ly))
WRAP(unary_back, (enum acr_unary f, float p, I r, I c, const void *dy, I ld, const void *s, I ls, void *dx, I lx, bool a),
     (f, p, r, c, dy, ld, s, ls, dx, lx, a))
WRAP(copy, (I r, I c, const void *s, I ls, void *d, I ld, bool a), (r, c, s, ls, d, ld, a))
WRAP(add, (I r, I c, const void *a, I la, const void *b, I lb, void *y, I ly), (r, c, a, la, b, lb, y, ly))
WRAP(mul, (I r, I c, const void *a, I la, const void *b, I lb, void *y, I ly, bool add), (r, c, a, la, b, lb, y, ly, add))
WRAP(add_row, (I r, I c, const void *x, I lx, const void *row, void *y, I ly), (r, c, x, lx, row, y, ly))
WRAP(dropout,
     (I c, const void *x, void *y, bool a, uint32_t t, float s, uint64_t seed, uint32_t w, uint32_t op, uint32_t p, I e),
     (c, x, y, a, t, s, seed, w, op, p, e))
WRAP(norm, (bool m, I r, I c, const void *x, I lx, const void *g, const void *b, float e, void *y, I ly, void *s),
     (m, r, c, x, lx, g, b, e, y, ly, s))
WRAP(norm_back,
     (bool m, I r, I c, const void *dy, I ld, const void *x, I lx, const void *s, const void *g, void *dx, I l, bool a),
     (m, r, c, dy, ld, x, lx, s, g, dx, l, a))
WRAP(norm_back_param, (bool m, I r, I c, const void *dy, I ld, const void *x, I lx, const void *s, void *dg, void *db),
     (m, r, c, dy, ld, x, lx, s, dg, db))
WRAP(softmax, (I r, I c, const void *x, I lx, void *y, I ly), (r, c, x, lx, y, ly))
WRAP(softmax_back, (I r, I c, const void *dy, I ld, const void *y, I ly, void *dx, I lx, bool a),
     (r, c, dy, ld, y, ly, dx, lx, a))
WRAP(loss, (const acr_loss_args *a), (a))
WRAP(column_sum, (I r, I c, const void *dy, I ld, void *a), (r, c, dy, ld, a))
WRAP(gather, (I r, I c, const int32_t *id, const void *t, I lt, void *y, I ly), (r, c, id, t, lt, y, ly))
WRAP(scatter_add, (I r, I c, const int32_t *id, const void *dy, I ld, void *a, I la), (r, c, id, dy, ld, a, la))
WRAP(silu_mul, (I r, I c, const void *g, I lg, const void *u, I lu, void *y, I ly), (r, c, g, lg, u, lu, y, ly))
WRAP(silu_mul_back,
     (I r, I c, const void *dy, I ld, const void *g, I lg, const void *u, I lu, void *dg, I l, bool a, void *du, I m, bool b),
     (r, c, dy, ld, g, lg, u, lu, dg, l, a, du, m, b))
WRAP(rope, (bool b, I r, I h, I d, const void *x, I lx, const int32_t *p, const void *t, void *y, I ly, bool a),
     (b, r, h, d, x, lx, p, t, y, ly, a))
WRAP(attention, (const acr_attention_args *a), (a))
WRAP(attention_back, (const acr_attention_args *a), (a))
WRAP(join, (I n, const void *s, void *d), (n, s, d))
WRAP(sgd, (const acr_sgd_args *a, I n, void *p, const void *g, void *b), (a, n, p, g, b))
WRAP(adam, (const acr_adam_args *a, I n, void *p, const void *g, void *m, void *v), (a, n, p, g, m, v))
static double fake_close_leaf(I n, const void *acc, double W, void *g)
{
    enter();
    double sum = real_table->close_leaf(n, acc, W, g);
    leave();
    return sum;
}

static bool fake_finite(I n, const void *x)
{
    enter();
    bool all = real_table->finite(n, x);
    leave();
    return all;
}

static acr_kernels fake_table(void)
{
    acr_kernels k = *real_table;
    k.name = "fake";
    k.host = false;
#define USE(name) k.name = fake_##name;
    USE(put) USE(fetch) USE(clear) USE(gemm) USE(pack_b) USE(finite) USE(gemm_bf16) USE(pack_b_bf16) USE(round_bf16)
    USE(unary) USE(unary_back) USE(copy) USE(add) USE(mul)
    USE(add_row) USE(dropout) USE(norm) USE(norm_back) USE(norm_back_param) USE(softmax) USE(softmax_back) USE(loss)
    USE(column_sum) USE(gather) USE(scatter_add) USE(silu_mul) USE(silu_mul_back) USE(rope) USE(attention)
    USE(attention_back) USE(join) USE(sgd) USE(adam) USE(close_leaf)
    return k;
}

enum { SAMPLES = 23 };

/* Two windows, with all that reads and writes a trainer between them. */
static uint64_t train(const zoo_case *c, const acr_kernels *table, int64_t micro, int products)
{
    acr_context_opts co = ACR_CONTEXT_OPTS_INIT;
    co.threads = 1;
    co.alloc = table ? take : NULL;
    co.free = table ? give : NULL;
    zoo_run r = {0};
    arena_bytes = SIZE_MAX;
    ZOO_OK(r.ctx, acr_context_create(&r.ctx, &co));
    if (table)
        r.ctx->kernels = table;
    acr_graph_opts go = ACR_GRAPH_OPTS_INIT;
    go.seed = 4;
    go.products = products;
    r.g = acr_graph_create(r.ctx, &go);
    c->build(r.g);
    ZOO_OK(r.ctx, acr_graph_finish(r.g));
    acr_plan_opts po = ACR_PLAN_OPTS_INIT;
    po.optimizer = ACR_ADAMW;
    po.micro_batch = micro;
    po.max_window_rows = SAMPLES * ZOO_MAX_ROWS;
    ZOO_OK(r.ctx, acr_plan_create(&r.plan, r.g, &po));
    acr_trainer_opts to = ACR_TRAINER_OPTS_INIT;
    arena_bytes = r.plan->arena_bytes;
    ZOO_OK(r.ctx, acr_trainer_create(&r.t, r.plan, &to));
    set_access(PROT_NONE);
    zoo_data d = zoo_make(r.g, SAMPLES, 5);
    for (int u = 0; u < 2; u++) {
        acr_batch b = zoo_slice(&d, 0, SAMPLES);
        double g;
        float p;
        ZOO_OK(r.ctx, acr_window_open(r.t));
        ZOO_OK(r.ctx, acr_window_add(r.t, &b));
        ZOO_OK(r.ctx, acr_gradient_read(r.t, 0, 0, 1, &g));
        ZOO_OK(r.ctx, acr_window_close(r.t, NULL));
        ZOO_OK(r.ctx, acr_param_read(r.t, 0, 0, 1, &p));
        ZOO_OK(r.ctx, acr_param_write(r.t, 0, 0, 1, &p));
        ZOO_OK(r.ctx, acr_state_read(r.t, 0, 1, 0, 1, &p));
        ZOO_OK(r.ctx, acr_state_write(r.t, 0, 1, 0, 1, &p));
        static float out[SAMPLES * ZOO_MAX_ROWS * 64];
        ZOO_OK(r.ctx, acr_predict(r.t, &b, "prediction", out));
    }
    uint64_t h = state_hash(&r, STATE_BEGIN);
    zoo_free(&d);
    zoo_stop(&r);
    return h;
}

static void host_code_keeps_off(void **state)
{
    (void)state;
    real_table = acr__kernels_runnable(0);
    acr_kernels fake = fake_table();
    for (int c = 0; c < ZOO_COUNT; c++)
        for (int64_t micro = 1; micro < 2 * SAMPLES; micro += 11) { /* 1, 12, 23 in fp32, then 11, 22 in bf16 */
            int products = micro <= SAMPLES ? ACR_F32 : ACR_BF16;
            calls = 0;
            uint64_t host = train(&zoo[c], NULL, (micro - 1) % SAMPLES + 1, products);
            assert_int_equal(calls, 0);
            uint64_t there = train(&zoo[c], &fake, (micro - 1) % SAMPLES + 1, products);
            assert_true(calls > 0);
            assert_int_equal(depth, 0);
            if (host != there)
                fail_msg("%s, micro-batch %d: other bits on the fake device", zoo[c].name, (int)micro);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(host_code_keeps_off)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
