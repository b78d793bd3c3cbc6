/* test_graph.c: building a graph: every mistake sticks with its sentence, later
 * calls do nothing, finish tells it; parameters and their order; globs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "state.h"

#define DIMS(...) (sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__}

/* What every mistake may use: a float row of 4, labels, a float of 4, a weight, a
 * table [3, 4], a bias [4], a row in a ragged domain. */
typedef struct nodes {
    acr_node x, label, y, w, table, bias, token, token_id;
} nodes;
static nodes n;

static void common(acr_graph *g)
{
    acr_domain d = acr_domain_create(g, "token", 5);
    n.x = zoo_in(g, "x", 4);
    n.label = zoo_ids(g, "label");
    n.y = zoo_in(g, "y", 4);
    n.w = zoo_in(g, "w", 1);
    n.table = acr_param(g, "table", (int)DIMS(3, 4), 4, 0);
    n.bias = acr_param(g, "bias", (int)DIMS(4), 0, 1);
    n.token = acr_input_in(g, d, "t", ACR_F32, (int)DIMS(4));
    n.token_id = acr_input_in(g, d, "id", ACR_I32, (int)DIMS(1));
}

typedef struct mistake {
    acr_status status;
    const char *says;
    acr_node (*make)(acr_graph *g);
} mistake;

static acr_node none(void) { return ACR_NONE; }
#define MISTAKE(name, expression) \
    static acr_node name(acr_graph *g) { return (expression); }
MISTAKE(bad_node, acr_relu(g, 99))
MISTAKE(integers, acr_relu(g, n.label))
MISTAKE(param_as_value, acr_add(g, n.x, n.bias))
MISTAKE(loss_as_value, acr_relu(g, acr_mse(g, n.x, n.y, ACR_NONE)))
MISTAKE(no_dims, acr_input(g, "q", ACR_F32, 0, (int64_t[]){1}))
MISTAKE(five_dims, acr_input(g, "q", ACR_F32, (int)DIMS(1, 1, 1, 1, 1)))
MISTAKE(null_shape, acr_input(g, "q", ACR_F32, 1, NULL))
MISTAKE(zero_dim, acr_input(g, "q", ACR_F32, (int)DIMS(3, 0)))
MISTAKE(huge_dims, acr_param(g, "q", (int)DIMS(INT64_MAX / 2, 3), 1, 0))
MISTAKE(huge_product, acr_param(g, "q", (int)DIMS(1 << 30, 1 << 30, 1 << 10), 1, 0))
MISTAKE(huge_linear, acr_linear(g, n.x, INT64_MAX / 3, "q"))
MISTAKE(no_outputs, acr_linear(g, n.x, 0, "q"))
MISTAKE(bad_dtype, acr_input(g, "q", (acr_dtype)3, 1, (int64_t[]){1}))
MISTAKE(bad_domain, acr_input_in(g, 7, "q", ACR_F32, 1, (int64_t[]){1}))
MISTAKE(once_input, acr_input_in(g, ACR_ONCE, "q", ACR_F32, 1, (int64_t[]){1}))
MISTAKE(domain_rows, acr_domain_create(g, "q", 0))
MISTAKE(many_domains, (acr_domain_create(g, "a", 1), acr_domain_create(g, "b", 1), acr_domain_create(g, "c", 1),
                       acr_domain_create(g, "d", 1), acr_domain_create(g, "e", 1), acr_domain_create(g, "f", 1)))
MISTAKE(linear_dims, acr_linear(g, acr_reshape(g, n.x, (int)DIMS(2, 2)), 3, "q"))
MISTAKE(linear_weight, acr_linear_shared(g, n.x, n.bias))
MISTAKE(linear_width, acr_linear_shared(g, acr_concat(g, 2, (acr_node[]){n.x, n.y}), n.table))
MISTAKE(linear_no_param, acr_linear_shared(g, n.x, n.y))
MISTAKE(bias_width, acr_bias(g, acr_concat(g, 2, (acr_node[]){n.x, n.y}), n.bias))
MISTAKE(bias_dims, acr_bias(g, n.x, n.table))
MISTAKE(slope, acr_leaky_relu(g, n.x, 0))
MISTAKE(dropout_p, acr_dropout(g, n.x, 1, "q"))
MISTAKE(dropout_nan, acr_dropout(g, n.x, NAN, "q"))
MISTAKE(add_width, acr_add(g, n.x, n.w))
MISTAKE(add_domain, acr_add(g, n.x, n.token))
MISTAKE(concat_none, acr_concat(g, 0, (acr_node[]){n.x}))
MISTAKE(concat_nine, acr_concat(g, 9, (acr_node[]){n.x, n.x, n.x, n.x, n.x, n.x, n.x, n.x, n.x}))
MISTAKE(concat_domain, acr_concat(g, 2, (acr_node[]){n.x, n.token}))
MISTAKE(reshape_count, acr_reshape(g, n.x, (int)DIMS(3, 2)))
MISTAKE(norm_eps, acr_layer_norm(g, n.x, -1, "q"))
MISTAKE(ids_float, acr_embedding_shared(g, n.x, n.table))
MISTAKE(ids_table, acr_embedding_shared(g, n.label, n.bias))
MISTAKE(target_width, acr_mse(g, n.x, n.w, ACR_NONE))
MISTAKE(target_no_input, acr_mse(g, n.x, acr_relu(g, n.y), ACR_NONE))
MISTAKE(target_domain, acr_mse(g, n.x, n.token, ACR_NONE))
MISTAKE(target_integers, acr_mse(g, n.x, n.label, ACR_NONE))
MISTAKE(weight_width, acr_mse(g, n.x, n.y, n.y))
MISTAKE(weight_domain, acr_cross_entropy(g, n.token, n.token_id, n.w, NULL))
MISTAKE(one_class, acr_cross_entropy(g, n.w, n.label, ACR_NONE, NULL))
MISTAKE(huber_delta, acr_huber(g, n.x, n.y, ACR_NONE, 0))
MISTAKE(smoothing, acr_cross_entropy(g, n.x, n.label, ACR_NONE, &((acr_ce_opts){sizeof(acr_ce_opts), 2, -100, NULL})))
MISTAKE(class_weight, acr_cross_entropy(g, n.x, n.label, ACR_NONE,
                                        &((acr_ce_opts){sizeof(acr_ce_opts), 0, -100, (float[]){1, 1, -1, 1}})))
MISTAKE(loss_is_none, (acr_loss(g, n.x), none()))
MISTAKE(second_loss, (acr_loss(g, acr_mse(g, n.x, n.y, ACR_NONE)), acr_loss(g, acr_mae(g, n.x, n.y, ACR_NONE)), none()))
MISTAKE(output_loss, (acr_output(g, "o", acr_mse(g, n.x, n.y, ACR_NONE)), none()))
MISTAKE(no_input_name, acr_input(g, NULL, ACR_F32, 1, (int64_t[]){1}))
MISTAKE(no_param_name, acr_param(g, NULL, 1, (int64_t[]){1}, 1, 0))
MISTAKE(no_linear_name, acr_linear(g, n.x, 2, NULL))
MISTAKE(no_norm_name, acr_rms_norm(g, n.x, 0, NULL))
MISTAKE(no_table_name, acr_embedding(g, n.label, 3, 4, NULL))
MISTAKE(no_dropout_name, acr_dropout(g, n.x, 0.5f, NULL))
MISTAKE(no_output_name, (acr_output(g, NULL, n.x), none()))
MISTAKE(no_domain_name, acr_domain_create(g, NULL, 1))

/* The options of each with one of them wrong; x is a row of 4 in the token domain. */
#define LINEAR(...) (&(acr_linear_opts){sizeof(acr_linear_opts), __VA_ARGS__})
#define ROPE(...) acr_rope(g, n.token, n.token_id, &(acr_rope_opts){sizeof(acr_rope_opts), __VA_ARGS__})
#define ATTEND(q, k, v, ...) \
    acr_attention(g, q, k, v, n.token_id, &(acr_attention_opts){sizeof(acr_attention_opts), __VA_ARGS__})
#define ATTENTION(...) ATTEND(n.token, n.token, n.token, __VA_ARGS__)
MISTAKE(normal_std, acr_param_normal(g, "q", (int)DIMS(3), -1))
MISTAKE(linear_std, acr_linear_with(g, n.x, 3, "q", LINEAR(0, 0, NAN)))
MISTAKE(silu_mul_width, acr_silu_mul(g, n.x, n.w))
MISTAKE(rope_odd, ROPE(3, 1e4, ACR_ROPE_DEFAULT, 1, 1, 4, 1))
MISTAKE(rope_no_divisor, ROPE(6, 1e4, ACR_ROPE_DEFAULT, 1, 1, 4, 1))
MISTAKE(rope_theta, ROPE(4, 0.5, ACR_ROPE_DEFAULT, 1, 1, 4, 1))
MISTAKE(rope_scaling, ROPE(4, 1e4, (acr_rope_scaling)3, 1, 1, 4, 1))
MISTAKE(rope_factor, ROPE(4, 1e4, ACR_ROPE_LINEAR, 0, 1, 4, 1))
MISTAKE(rope_llama3, ROPE(4, 1e4, ACR_ROPE_LLAMA3, 8, 4, 1, 8192))
MISTAKE(rope_position, acr_rope(g, n.token, n.label, &(acr_rope_opts){sizeof(acr_rope_opts), 4, 1e4, ACR_ROPE_DEFAULT, 1, 1, 4, 1}))
MISTAKE(attention_heads, ATTENTION(0, 1, 4, 0, 0, NULL))
MISTAKE(attention_kv_heads, ATTENTION(4, 3, 1, 0, 0, NULL))
MISTAKE(attention_dim, ATTENTION(1, 1, INT64_MAX, 0, 0, NULL))
MISTAKE(attention_scale, ATTENTION(1, 1, 4, -1, 0, NULL))
MISTAKE(attention_dropout, ATTENTION(1, 1, 4, 0, 1, "q"))
MISTAKE(attention_no_name, ATTENTION(1, 1, 4, 0, 0.5f, NULL))
MISTAKE(attention_q, ATTENTION(2, 2, 4, 0, 0, NULL))
MISTAKE(attention_k, ATTENTION(2, 1, 2, 0, 0, NULL))
MISTAKE(attention_no_v, ATTEND(n.token, n.token, ACR_NONE, 1, 1, 4, 0, 0, NULL))
MISTAKE(attention_packed, ATTEND(n.token, ACR_NONE, ACR_NONE, 1, 1, 4, 0, 0, NULL))
MISTAKE(attention_domain, ATTEND(n.token, n.x, n.x, 1, 1, 4, 0, 0, NULL))
MISTAKE(attention_position, acr_attention(g, n.x, n.x, n.x, n.w, &(acr_attention_opts){sizeof(acr_attention_opts), 1, 1, 4, 0, 0, NULL}))

static acr_node attention_counts(acr_graph *g)
{
    acr_domain d = acr_domain_create(g, "long", 1 << 18);
    acr_node x = acr_input_in(g, d, "q", ACR_F32, (int)DIMS(1)), p = acr_input_in(g, d, "p", ACR_I32, (int)DIMS(1));
    return acr_attention(g, x, x, x, p, &(acr_attention_opts){sizeof(acr_attention_opts), 1, 1, 1, 0, 0.5f, "drop"});
}

static acr_node long_name(acr_graph *g)
{
    static char name[600];
    memset(name, 'a', sizeof name - 1);
    return acr_linear(g, n.x, 2, name);
}

static const mistake mistakes[] = {
    {ACR_E_ARGUMENT, "relu: there is no node 99", bad_node},
    {ACR_E_SHAPE, "'label' holds integers", integers},
    {ACR_E_SHAPE, "parameter 'bias' has no rows", param_as_value},
    {ACR_E_SHAPE, "a loss cannot be computed with", loss_as_value},
    {ACR_E_SHAPE, "q: 0 dimensions", no_dims},
    {ACR_E_SHAPE, "q: 5 dimensions, from 1 to 4", five_dims},
    {ACR_E_SHAPE, "q: 0 dimensions", null_shape},
    {ACR_E_SHAPE, "dimension 1 is 0", zero_dim},
    {ACR_E_SHAPE, "fit memory", huge_dims},
    {ACR_E_SHAPE, "fit memory", huge_product},
    {ACR_E_SHAPE, "fit memory", huge_linear},
    {ACR_E_SHAPE, "q.weight: dimension 0 is 0", no_outputs},
    {ACR_E_ARGUMENT, "dtype 3", bad_dtype},
    {ACR_E_ARGUMENT, "no domain 7", bad_domain},
    {ACR_E_ARGUMENT, "an input has rows", once_input},
    {ACR_E_ARGUMENT, "max_rows is 0", domain_rows},
    {ACR_E_ARGUMENT, "at most 6 ragged domains", many_domains},
    {ACR_E_SHAPE, "q: rows of 2 dimensions; reshape", linear_dims},
    {ACR_E_SHAPE, "'bias' has 1 dimensions", linear_weight},
    {ACR_E_SHAPE, "2 dimensions ending in 8", linear_width},
    {ACR_E_ARGUMENT, "is no parameter", linear_no_param},
    {ACR_E_SHAPE, "1 dimensions ending in 8", bias_width},
    {ACR_E_SHAPE, "'table' has 2 dimensions", bias_dims},
    {ACR_E_ARGUMENT, "leaky_relu: the slope is 0", slope},
    {ACR_E_ARGUMENT, "dropout 'q': p is 1", dropout_p},
    {ACR_E_ARGUMENT, "dropout 'q': p is", dropout_nan},
    {ACR_E_SHAPE, "add: rows of 4 and 1", add_width},
    {ACR_E_SHAPE, "domains 1 and 2", add_domain},
    {ACR_E_ARGUMENT, "concat: 0 parts", concat_none},
    {ACR_E_ARGUMENT, "concat: 9 parts, from 1 to 8", concat_nine},
    {ACR_E_SHAPE, "concat: part 1 is in domain 2", concat_domain},
    {ACR_E_SHAPE, "4 elements cannot become 6", reshape_count},
    {ACR_E_ARGUMENT, "layer_norm 'q': eps is -1", norm_eps},
    {ACR_E_SHAPE, "ids must be an int32 input", ids_float},
    {ACR_E_SHAPE, "a parameter of two dimensions", ids_table},
    {ACR_E_SHAPE, "mse: the prediction has 4 columns, the target 'w' 1", target_width},
    {ACR_E_ARGUMENT, "mse: the target must be an input", target_no_input},
    {ACR_E_SHAPE, "the target 't'", target_domain},
    {ACR_E_SHAPE, "(int32)", target_integers},
    {ACR_E_SHAPE, "the weight must be a float input of one column", weight_width},
    {ACR_E_SHAPE, "in the prediction's domain", weight_domain},
    {ACR_E_SHAPE, "two classes or more", one_class},
    {ACR_E_ARGUMENT, "huber: delta is 0", huber_delta},
    {ACR_E_ARGUMENT, "label_smoothing is 2", smoothing},
    {ACR_E_ARGUMENT, "class_weight[2] is -1", class_weight},
    {ACR_E_ARGUMENT, "is not a loss", loss_is_none},
    {ACR_E_ARGUMENT, "there is a loss already (mse)", second_loss},
    {ACR_E_SHAPE, "a loss cannot be computed with", output_loss},
    {ACR_E_ARGUMENT, "input: the name is NULL", no_input_name},
    {ACR_E_ARGUMENT, "param: the name is NULL", no_param_name},
    {ACR_E_ARGUMENT, "linear: the name is NULL", no_linear_name},
    {ACR_E_ARGUMENT, "rms_norm: the name is NULL", no_norm_name},
    {ACR_E_ARGUMENT, "weight: the name is NULL", no_table_name},
    {ACR_E_ARGUMENT, "dropout: the name is NULL", no_dropout_name},
    {ACR_E_ARGUMENT, "output: the name is NULL", no_output_name},
    {ACR_E_ARGUMENT, "domain: the name is NULL", no_domain_name},
    {ACR_E_ARGUMENT, "is longer than", long_name},
    {ACR_E_ARGUMENT, "'q': std is -1", normal_std},
    {ACR_E_ARGUMENT, "q: std is", linear_std},
    {ACR_E_SHAPE, "silu_mul: rows of 4 and 1", silu_mul_width},
    {ACR_E_SHAPE, "heads of 3 in rows of 4", rope_odd},
    {ACR_E_SHAPE, "heads of 6 in rows of 4", rope_no_divisor},
    {ACR_E_ARGUMENT, "theta is 0.5", rope_theta},
    {ACR_E_ARGUMENT, "the scaling 3", rope_scaling},
    {ACR_E_ARGUMENT, "the factor is 0", rope_factor},
    {ACR_E_ARGUMENT, "they are 4, 1 and 8192", rope_llama3},
    {ACR_E_SHAPE, "rope: the position must be an int32 input", rope_position},
    {ACR_E_SHAPE, "attention: 0 heads", attention_heads},
    {ACR_E_SHAPE, "4 heads, 3 key heads", attention_kv_heads},
    {ACR_E_SHAPE, "each from 1 to", attention_dim},
    {ACR_E_ARGUMENT, "the scale is -1", attention_scale},
    {ACR_E_ARGUMENT, "q: dropout is 1", attention_dropout},
    {ACR_E_ARGUMENT, "dropout needs a name", attention_no_name},
    {ACR_E_SHAPE, "q has rows of 4 elements in domain 2; 8", attention_q},
    {ACR_E_SHAPE, "k has rows of 4 elements in domain 2; 2", attention_k},
    {ACR_E_ARGUMENT, "there is no node -1", attention_no_v},
    {ACR_E_SHAPE, "q | k | v has rows of 4 elements in domain 2; 12", attention_packed},
    {ACR_E_SHAPE, "k has rows of 4 elements in domain 1", attention_domain},
    {ACR_E_SHAPE, "attention: the position must be an int32 input", attention_position},
    {ACR_E_ARGUMENT, "counts past 2^34", attention_counts},
};

static acr_context *open_context(void)
{
    acr_context *ctx;
    ZOO_OK(ctx, acr_context_create(&ctx, NULL));
    return ctx;
}

/* With an error in it, no building call does anything. */
static void poke(acr_graph *g)
{
    int nodes_before = g->node_count, params = g->param_count, outputs = g->output_count;
    acr_node r[] = {zoo_in(g, "z", 2), acr_param(g, "zp", (int)DIMS(3), 1, 0), acr_linear(g, n.x, 3, "zl"),
                    acr_linear_shared(g, n.x, n.table), acr_bias(g, n.x, n.bias), acr_relu(g, n.x),
                    acr_add(g, n.x, n.y),
                    acr_concat(g, 1, &n.x), acr_reshape(g, n.x, (int)DIMS(2, 2)), acr_dropout(g, n.x, 0.5f, "zd"),
                    acr_layer_norm(g, n.x, 1e-5f, "zn"), acr_embedding(g, n.label, 3, 2, "ze"),
                    acr_embedding_shared(g, n.label, n.table), acr_mse(g, n.x, n.y, ACR_NONE),
                    acr_cross_entropy(g, n.x, n.label, ACR_NONE, NULL), acr_domain_create(g, "zz", 3),
                    acr_relu(g, 999), acr_concat(g, 0, NULL), acr_dropout(g, n.x, 2, "zb"),
                    acr_param(g, NULL, 9, NULL, 0, 0), acr_param_normal(g, "zs", (int)DIMS(3), 1),
                    acr_linear_with(g, n.x, 3, "zw", LINEAR(1, 1, 0.5f)), acr_silu_mul(g, n.x, n.y),
                    ROPE(4, 1e4, ACR_ROPE_DEFAULT, 1, 1, 4, 1), ATTENTION(1, 1, 4, 0, 0, NULL)};
    for (size_t i = 0; i < sizeof r / sizeof *r; i++)
        assert_int_equal(r[i], ACR_NONE);
    acr_output(g, "zo", n.x);
    acr_loss(g, ACR_NONE);
    assert_true(g->node_count == nodes_before && g->param_count == params && g->output_count == outputs);
}

static void mistakes_stick(void **state)
{
    (void)state;
    acr_context *ctx = open_context();
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        acr_graph *g = acr_graph_create(ctx, NULL);
        acr_plan *p = NULL;
        common(g);
        assert_int_equal(g->status, ACR_OK);
        assert_int_equal(mistakes[i].make(g), ACR_NONE);
        poke(g);
        acr_status status = acr_graph_finish(g);
        if (status != mistakes[i].status || !strstr(acr_error(ctx), mistakes[i].says))
            fail_msg("%d '%s' instead of %d '%s'", (int)status, acr_error(ctx), (int)mistakes[i].status,
                     mistakes[i].says);
        assert_int_equal(acr_plan_create(&p, g, NULL), ACR_E_STATE);
        assert_null(p);
        acr_graph_destroy(g);
    }
    acr_context_destroy(ctx);
}

/* ACR_NONE in every place where a node is wanted is told as what it is. */
static void none_is_refused(void **state)
{
    (void)state;
    acr_context *ctx = open_context();
    for (int k = 0; k < 12; k++) {
        acr_graph *g = acr_graph_create(ctx, NULL);
        common(g);
        const acr_node x = ACR_NONE;
        acr_node r = k == 0    ? acr_relu(g, x)
                     : k == 1  ? acr_linear(g, x, 3, "q")
                     : k == 2  ? acr_linear_shared(g, n.x, x)
                     : k == 3  ? acr_bias(g, n.x, x)
                     : k == 4  ? acr_add(g, n.x, x)
                     : k == 5  ? acr_concat(g, 2, (acr_node[]){n.x, x})
                     : k == 6  ? acr_layer_norm(g, x, 0, "q")
                     : k == 7  ? acr_embedding_shared(g, x, n.table)
                     : k == 8  ? acr_embedding_shared(g, n.label, x)
                     : k == 9  ? acr_mse(g, n.x, x, ACR_NONE)
                     : k == 10 ? acr_mse(g, x, n.y, ACR_NONE)
                               : acr_reshape(g, x, 1, (int64_t[]){4});
        assert_int_equal(r, ACR_NONE);
        assert_int_not_equal(acr_graph_finish(g), ACR_OK);
        acr_graph_destroy(g);
    }
    acr_context_destroy(ctx);
}

static void finish_says(const char *says, void (*build)(acr_graph *g))
{
    acr_context *ctx = open_context();
    acr_graph *g = acr_graph_create(ctx, NULL);
    build(g);
    acr_status status = acr_graph_finish(g);
    if (status == ACR_OK || !strstr(acr_error(ctx), says))
        fail_msg("%d '%s' does not say '%s'", (int)status, acr_error(ctx), says);
    acr_graph_destroy(g);
    acr_context_destroy(ctx);
}

static void same_param(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 4);
    acr_output(g, "o", acr_linear(g, acr_linear(g, x, 4, "fc"), 4, "fc"));
}
static void same_input(acr_graph *g)
{
    acr_node a = zoo_in(g, "x", 4), b = zoo_in(g, "x", 4);
    acr_output(g, "o", acr_add(g, a, b));
}
static void same_output(acr_graph *g)
{
    acr_node x = zoo_in(g, "x", 4);
    acr_output(g, "o", acr_relu(g, x));
    acr_output(g, "o", acr_tanh(g, x));
}
static void dropout_as_param(acr_graph *g)
{
    acr_node x = acr_linear(g, zoo_in(g, "x", 4), 4, "fc");
    acr_output(g, "o", acr_dropout(g, x, 0.5f, "fc.weight"));
}
static void attention_as_param(acr_graph *g)
{
    acr_domain d = acr_domain_create(g, "token", 5);
    acr_node x = acr_input_in(g, d, "t", ACR_F32, (int)DIMS(4)), p = acr_input_in(g, d, "id", ACR_I32, (int)DIMS(1));
    acr_attention_opts o = {sizeof o, 1, 1, 4, 0, 0.5f, "fc.weight"};
    x = acr_linear(g, x, 4, "fc");
    acr_output(g, "o", acr_attention(g, x, x, x, p, &o));
}
static void nameless(acr_graph *g) { acr_output(g, "o", acr_dropout(g, zoo_in(g, "x", 4), 0.5f, "")); }
static void nothing(acr_graph *g) { acr_relu(g, zoo_in(g, "x", 4)); }

static void names_and_ends(void **state)
{
    (void)state;
    finish_says("'fc.weight' is used twice", same_param);
    finish_says("'x' is used twice", same_input);
    finish_says("'o' is used twice", same_output);
    finish_says("'fc.weight' is used twice", dropout_as_param);
    finish_says("'fc.weight' is used twice", attention_as_param);
    finish_says("an empty name", nameless);
    finish_says("neither a loss nor an output", nothing);
}

static void after_finish(void **state)
{
    (void)state;
    acr_context *ctx = open_context();
    for (int k = 0; k < 5; k++) {
        acr_graph *g = acr_graph_create(ctx, NULL);
        common(g);
        acr_node loss = acr_mse(g, n.x, n.y, ACR_NONE);
        assert_int_equal(acr_graph_trainable(g, 0, NULL), ACR_E_STATE);
        acr_output(g, "o", n.x);
        ZOO_OK(ctx, acr_graph_finish(g));
        assert_int_equal(acr_graph_finish(g), ACR_E_STATE);
        int nodes_before = g->node_count, outputs = g->output_count, domains = g->domain_count;
        if (k == 0)
            acr_output(g, "late", n.x);
        else if (k == 1)
            acr_loss(g, loss);
        else
            assert_int_equal(k == 2 ? acr_relu(g, n.x) : k == 3 ? acr_domain_create(g, "late", 2)
                                                                : acr_param(g, "late", (int)DIMS(2), 0, 0), ACR_NONE);
        assert_true(g->node_count == nodes_before && g->output_count == outputs && g->domain_count == domains);
        assert_int_equal(g->loss, ACR_NONE);
        assert_int_equal(acr_graph_finish(g), ACR_E_STATE);
        assert_non_null(strstr(acr_error(ctx), "finished"));
        acr_graph_destroy(g);
    }
    acr_graph_destroy(NULL);
    acr_context_destroy(ctx);
}

static void parameters(void **state)
{
    (void)state;
    acr_context *ctx = open_context();
    acr_graph *g = acr_graph_create(ctx, NULL);
    acr_node x = zoo_in(g, "x", 4);
    acr_node h = acr_linear(g, x, 3, "h.10");
    h = acr_layer_norm(g, acr_linear(g, h, 6, "h.2"), 1e-5f, "Norm");
    acr_output(g, "o", acr_bias(g, h, acr_param(g, "a", (int)DIMS(6), 0, 2)));
    acr_param(g, "unused", (int)DIMS(2, 3, 4, 5), 0, 0);
    ZOO_OK(ctx, acr_graph_finish(g));
    static const char *const names[] = {"Norm.bias", "Norm.weight", "a", "h.10.bias", "h.10.weight", "h.2.bias",
                                        "h.2.weight", "unused"};
    static const int64_t elements[] = {6, 6, 6, 3, 12, 6, 18, 120};
    assert_int_equal(acr_param_count(g), 8);
    for (int i = 0; i < 8; i++) {
        assert_string_equal(acr_param_name(g, i), names[i]); /* byte order: capitals first, "10" before "2" */
        assert_int_equal(acr_param_index(g, names[i]), i);
        assert_int_equal(acr_param_elements(g, i), elements[i]);
    }
    assert_int_equal(acr_param_ndim(g, 4), 2);
    assert_true(acr_param_dim(g, 4, 0) == 3 && acr_param_dim(g, 4, 1) == 4 && acr_param_dim(g, 4, 2) == -1);
    assert_true(acr_param_ndim(g, 7) == 4 && acr_param_dim(g, 7, 3) == 5);
    assert_true(acr_param_index(g, "h.10") == -1 && acr_param_elements(g, 8) == -1 && acr_param_elements(g, -1) == -1);
    assert_true(acr_param_ndim(g, 8) == -1 && acr_param_name(g, 8) == NULL && acr_param_dim(g, 0, -1) == -1);
    assert_ptr_equal(acr_graph_context(g), ctx);
    acr_graph_destroy(g);
    acr_context_destroy(ctx);
}

static void glob(void **state)
{
    (void)state;
    static const char *const match[][2] = {{"*", ""}, {"*", "a"}, {"", ""}, {"a?c", "abc"}, {"*.bias", "h.2.bias"},
                                           {"h.*.w*", "h.10.attn.weight"}, {"**a", "ba"}, {"a*b*c", "aXbYbZc"},
                                           {"*.", "a.b."}};
    static const char *const differ[][2] = {{"", "a"}, {"?", ""}, {"a?c", "ac"}, {"*.bias", "bias"}, {"h.*", "H.1"},
                                            {"a*b", "abc"}, {"abc", "ab"}, {"a*b*c", "acb"}};
    for (size_t i = 0; i < sizeof match / sizeof *match; i++)
        assert_true(acr__glob(match[i][0], match[i][1]));
    for (size_t i = 0; i < sizeof differ / sizeof *differ; i++)
        assert_false(acr__glob(differ[i][0], differ[i][1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_stick), cmocka_unit_test(none_is_refused), cmocka_unit_test(names_and_ends),
        cmocka_unit_test(after_finish),   cmocka_unit_test(parameters),      cmocka_unit_test(glob),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
