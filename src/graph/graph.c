/* graph.c: building a graph, node by node.
 *
 * A wrong argument sticks: the first sentence is kept, the call yields ACR_NONE,
 * and acr_graph_finish tells it. So a model reads as one expression and errors
 * are looked at once. Nothing here knows of memory or of micro-batches. */
#include "graph/graph.h"
#include "base/context.h"
#include "base/philox.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

acr_status acr__grow(acr_context *ctx, void *array, int *capacity, int count, size_t size)
{
    if (count < *capacity)
        return ACR_OK;
    int want = *capacity ? *capacity * 2 : 16;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = acr__alloc(ctx, (size_t)want * size);
    if (!grown)
        return ACR_E_NO_MEMORY;
    if (old)
        memcpy(grown, old, (size_t)*capacity * size);
    acr__free(ctx, old);
    memcpy(array, &grown, sizeof grown);
    *capacity = want;
    return ACR_OK;
}

bool acr__glob(const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++, text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}

ACR_PRINTF(3, 4) static acr_node stick(acr_graph *g, acr_status status, const char *format, ...)
{
    if (g->status == ACR_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(g->sentence, sizeof g->sentence, format, args);
        va_end(args);
        g->status = status;
    }
    return ACR_NONE;
}

static acr_node stick_memory(acr_graph *g) { return stick(g, ACR_E_NO_MEMORY, "%s", acr_error(g->ctx)); }

acr_graph *acr_graph_create(acr_context *ctx, const acr_graph_opts *opts)
{
    acr_graph_opts o = ACR_GRAPH_OPTS_INIT;
    acr__opts_take(&o, opts);
    acr_graph *g = acr__alloc(ctx, sizeof *g);
    if (!g)
        return NULL;
    g->ctx = ctx;
    g->seed = o.seed;
    g->reference = o.reference != 0;
    g->bf16 = o.products == ACR_BF16;
    g->es = g->reference ? sizeof(double) : sizeof(float);
    g->loss = ACR_NONE;
    g->domain_count = 2;
    g->domains[ACR_ONCE].max_rows = g->domains[ACR_SAMPLE].max_rows = 1;
    if (o.products != 0 && o.products != ACR_F32 && o.products != ACR_BF16)
        stick(g, ACR_E_ARGUMENT, "acr_graph_opts: products is %d; ACR_F32 (%d) and ACR_BF16 (%d) are allowed",
              o.products, (int)ACR_F32, (int)ACR_BF16);
    return g;
}

void acr_graph_destroy(acr_graph *g)
{
    if (!g)
        return;
    acr_context *ctx = g->ctx;
    for (int i = 0; i < g->node_count; i++) {
        acr__free(ctx, g->nodes[i].name);
        acr__free(ctx, g->nodes[i].class_weight);
    }
    for (int i = 0; i < g->param_count; i++)
        acr__free(ctx, g->params[i].name);
    for (int i = 0; i < g->output_count; i++)
        acr__free(ctx, g->outputs[i].name);
    for (int i = 0; i < g->domain_count; i++)
        acr__free(ctx, g->domains[i].name);
    acr__free(ctx, g->nodes);
    acr__free(ctx, g->inputs);
    acr__free(ctx, g->params);
    acr__free(ctx, g->uses);
    acr__free(ctx, g->outputs);
    acr__free(ctx, g->blocks);
    acr__free(ctx, g);
}

/* Whether something may still be added under `name`; sticks if not. */
static bool may_add(acr_graph *g, const char *what, const char *name)
{
    if (g->status != ACR_OK)
        return false;
    if (!name)
        return stick(g, ACR_E_ARGUMENT, "%s: the name is NULL", what), false;
    if (g->finished)
        return stick(g, ACR_E_STATE, "%s '%s': the graph is finished, nothing can be added", what, name), false;
    return true;
}

acr_domain acr_domain_create(acr_graph *g, const char *name, int64_t max_rows)
{
    if (!may_add(g, "domain", name))
        return ACR_NONE;
    if (g->domain_count == ACR_MAX_DOMAINS)
        return stick(g, ACR_E_ARGUMENT, "domain '%s': a graph has at most %d ragged domains", name, ACR_MAX_DOMAINS - 2);
    if (max_rows < 1 || max_rows > INT32_MAX)
        return stick(g, ACR_E_ARGUMENT, "domain '%s': max_rows is %lld, from 1 to 2147483647 is allowed", name,
                     (long long)max_rows);
    char *copy = acr__strdup(g->ctx, name);
    if (!copy)
        return stick_memory(g);
    g->domains[g->domain_count] = (acr__domain_info){copy, max_rows};
    return g->domain_count++;
}

/* Appends a node of the given row shape; NULL after a failure. */
static acr__node *append(acr_graph *g, enum acr__op op, const char *name, acr_domain domain, int ndim,
                         const int64_t *shape)
{
    const char *what = name ? name : acr__ops[op].name;
    bool named = op == ACR_OP_input || op == ACR_OP_param || op == ACR_OP_dropout;
    if (!may_add(g, acr__ops[op].name, named ? name : ""))
        return NULL;
    if (ndim < 1 || ndim > ACR_MAX_DIMS || !shape)
        return stick(g, ACR_E_SHAPE, "%s: %d dimensions, from 1 to %d are allowed", what, shape ? ndim : 0, ACR_MAX_DIMS), NULL;
    if (domain < 0 || domain >= g->domain_count)
        return stick(g, ACR_E_ARGUMENT, "%s: there is no domain %d", what, (int)domain), NULL;
    int64_t dims[ACR_MAX_DIMS] = {0}; /* shape may lie in the array that grows below */
    memcpy(dims, shape, (size_t)ndim * sizeof *shape);
    int64_t cols = 1;
    for (int i = 0; i < ndim; i++)
        if (shape[i] < 1 || !acr__mul64(cols, shape[i], &cols) || cols > INT64_MAX / 64)
            return stick(g, ACR_E_SHAPE, "%s: dimension %d is %lld; each must be at least 1 and their product fit memory",
                         what, i, (long long)shape[i]), NULL;
    if (acr__grow(g->ctx, &g->nodes, &g->node_capacity, g->node_count, sizeof *g->nodes) != ACR_OK)
        return stick_memory(g), NULL;
    acr__node *n = &g->nodes[g->node_count];
    memset(n, 0, sizeof *n);
    n->op = op;
    n->dtype = ACR_F32;
    n->domain = domain;
    n->ndim = ndim;
    memcpy(n->shape, dims, sizeof dims);
    n->cols = cols;
    if (name) {
        n->name = acr__strdup(g->ctx, name);
        if (!n->name)
            return stick_memory(g), NULL;
        n->hash = acr__hash32(name);
    }
    g->node_count++;
    return n;
}

static acr_node id_of(const acr_graph *g, const acr__node *n) { return n ? (acr_node)(n - g->nodes) : ACR_NONE; }

/* The node, checked to be a float value of some row domain; NULL if not. */
static const acr__node *value(acr_graph *g, const char *op, acr_node x)
{
    if (g->status != ACR_OK)
        return NULL;
    if (x < 0 || x >= g->node_count)
        return stick(g, ACR_E_ARGUMENT, "%s: there is no node %d", op, (int)x), NULL;
    const acr__node *n = &g->nodes[x];
    if (n->dtype != ACR_F32)
        return stick(g, ACR_E_SHAPE, "%s: input '%s' holds integers, a float value is wanted", op, n->name), NULL;
    if (n->domain == ACR_ONCE)
        return stick(g, ACR_E_SHAPE, "%s: parameter '%s' has no rows; use it through linear_shared, bias or embedding_shared",
                     op, n->name), NULL;
    if (acr__is_loss(n))
        return stick(g, ACR_E_SHAPE, "%s: a loss cannot be computed with; give it to acr_loss", op), NULL;
    return n;
}

/* The parameter `x` with this shape; NULL after a failure. */
static const acr__node *parameter(acr_graph *g, const char *op, acr_node x, int64_t rows, int64_t cols)
{
    if (g->status != ACR_OK)
        return NULL;
    if (x < 0 || x >= g->node_count || g->nodes[x].op != ACR_OP_param)
        return stick(g, ACR_E_ARGUMENT, "%s: node %d is no parameter", op, (int)x), NULL;
    const acr__node *n = &g->nodes[x];
    int want = rows > 0 ? 2 : 1;
    if (n->ndim != want || n->shape[n->ndim - 1] != cols)
        return stick(g, ACR_E_SHAPE, "%s: parameter '%s' has %d dimensions, the last %lld; %d dimensions ending in %lld are wanted",
                     op, n->name, n->ndim, (long long)n->shape[n->ndim - 1], want, (long long)cols), NULL;
    return n;
}

static acr_node append_input(acr_graph *g, acr_domain domain, const char *name, acr_dtype dtype, int ndim,
                             const int64_t *shape)
{
    if (!may_add(g, "input", name))
        return ACR_NONE;
    if (dtype != ACR_F32 && dtype != ACR_I32)
        return stick(g, ACR_E_ARGUMENT, "input '%s': dtype %d is neither ACR_F32 nor ACR_I32", name, (int)dtype);
    if (domain == ACR_ONCE)
        return stick(g, ACR_E_ARGUMENT, "input '%s': an input has rows; give it the sample or a ragged domain", name);
    acr__node *n = append(g, ACR_OP_input, name, domain, ndim, shape);
    if (!n)
        return ACR_NONE;
    n->dtype = dtype;
    n->input = g->input_count;
    if (acr__grow(g->ctx, &g->inputs, &g->input_capacity, g->input_count, sizeof *g->inputs) != ACR_OK)
        return stick_memory(g);
    return g->inputs[g->input_count++] = id_of(g, n);
}

acr_node acr_input(acr_graph *g, const char *name, acr_dtype dtype, int ndim, const int64_t *shape)
{
    return append_input(g, ACR_SAMPLE, name, dtype, ndim, shape);
}

acr_node acr_input_in(acr_graph *g, acr_domain domain, const char *name, acr_dtype dtype, int ndim, const int64_t *shape)
{
    return append_input(g, domain, name, dtype, ndim, shape);
}

acr_node acr_param(acr_graph *g, const char *name, int ndim, const int64_t *shape, int64_t fan_in, float fill)
{
    acr__node *n = append(g, ACR_OP_param, name, ACR_ONCE, ndim, shape);
    if (!n)
        return ACR_NONE;
    if (acr__grow(g->ctx, &g->params, &g->param_capacity, g->param_count, sizeof *g->params) != ACR_OK)
        return stick_memory(g);
    char *copy = acr__strdup(g->ctx, name);
    if (!copy)
        return stick_memory(g);
    acr__param *p = &g->params[g->param_count];
    *p = (acr__param){.name = copy, .node = id_of(g, n), .ndim = ndim, .elements = n->cols, .fan_in = fan_in,
                      .fill = fill, .trainable = true};
    memcpy(p->shape, n->shape, sizeof p->shape);
    n->param = g->param_count++;
    return p->node;
}

acr_node acr_param_normal(acr_graph *g, const char *name, int ndim, const int64_t *shape, float std)
{
    if (g->status == ACR_OK && !(std >= 0 && std < 1e30f))
        return stick(g, ACR_E_ARGUMENT, "parameter '%s': std is %g, 0 or more is allowed", name ? name : "", (double)std);
    acr_node p = acr_param(g, name, ndim, shape, 0, 0);
    if (p != ACR_NONE)
        g->params[g->nodes[p].param].std = std;
    return p;
}

static acr_node param_named(acr_graph *g, const char *name, const char *suffix, int ndim, const int64_t *shape,
                            int64_t fan_in, float fill)
{
    if (!may_add(g, suffix, name))
        return ACR_NONE;
    char full[512];
    int length = snprintf(full, sizeof full, "%s.%s", name, suffix);
    if (length < 0 || (size_t)length >= sizeof full)
        return stick(g, ACR_E_ARGUMENT, "the name '%.40s...' is longer than %zu bytes", name, sizeof full - 16);
    return acr_param(g, full, ndim, shape, fan_in, fill);
}

/* Appends an op over `count` inputs that are already checked. */
static acr__node *append_op(acr_graph *g, enum acr__op op, const char *name, acr_domain domain, int ndim,
                            const int64_t *shape, int count, const acr_node *in)
{
    acr__node *n = append(g, op, name, domain, ndim, shape);
    if (n) {
        n->inputs = count;
        memcpy(n->in, in, (size_t)count * sizeof *in);
    }
    return n;
}

/* The parameters of a linear of `in` inputs that has a name of its own. */
static void linear_params(acr_graph *g, int64_t in, int64_t out, const char *name, const acr_linear_opts *o,
                          acr_node *weight, acr_node *bias)
{
    int64_t fan_in = o->std > 0 ? 0 : in;
    *weight = param_named(g, name, "weight", 2, o->transposed ? (int64_t[]){in, out} : (int64_t[]){out, in}, fan_in, 0);
    if (*weight != ACR_NONE)
        g->params[g->nodes[*weight].param].std = o->std;
    *bias = o->no_bias ? ACR_NONE : param_named(g, name, "bias", 1, &out, fan_in, 0);
}

/* Without a name: with the weight given, and no bias. */
static acr_node linear(acr_graph *g, acr_node x, int64_t out, const char *name, acr_node weight,
                       const acr_linear_opts *o)
{
    const acr__node *v = value(g, name ? name : "linear", x);
    if (!v)
        return ACR_NONE;
    int ndim = v->ndim;
    acr_domain domain = v->domain;
    int64_t in = v->cols;
    acr_node bias = ACR_NONE;
    if (ndim != 1)
        return stick(g, ACR_E_SHAPE, "%s: rows of %d dimensions; reshape them to one", name ? name : "linear", ndim);
    if (name)
        linear_params(g, in, out, name, o, &weight, &bias);
    acr_node inputs[3] = {x, weight, bias};
    if (!parameter(g, "linear", weight, 1, o->transposed ? out : in))
        return ACR_NONE;
    acr__node *n = append_op(g, ACR_OP_linear, NULL, domain, 1, &out, bias == ACR_NONE ? 2 : 3, inputs);
    if (n)
        n->transposed = o->transposed != 0;
    return id_of(g, n);
}

acr_node acr_linear_with(acr_graph *g, acr_node x, int64_t out, const char *name, const acr_linear_opts *opts)
{
    acr_linear_opts o = ACR_LINEAR_OPTS_INIT;
    acr__opts_take(&o, opts);
    if (!may_add(g, "linear", name))
        return ACR_NONE;
    if (!(o.std >= 0 && o.std < 1e30f))
        return stick(g, ACR_E_ARGUMENT, "%s: std is %g, 0 or more is allowed", name, (double)o.std);
    return linear(g, x, out, name, ACR_NONE, &o);
}

acr_node acr_linear(acr_graph *g, acr_node x, int64_t out, const char *name)
{
    return acr_linear_with(g, x, out, name, NULL);
}

acr_node acr_linear_shared(acr_graph *g, acr_node x, acr_node weight)
{
    if (g->status == ACR_OK && (weight < 0 || weight >= g->node_count || g->nodes[weight].op != ACR_OP_param))
        return stick(g, ACR_E_ARGUMENT, "linear_shared: node %d is no parameter", (int)weight);
    acr_linear_opts o = ACR_LINEAR_OPTS_INIT;
    return linear(g, x, g->status == ACR_OK ? g->nodes[weight].shape[0] : 1, NULL, weight, &o);
}

acr_node acr_bias(acr_graph *g, acr_node x, acr_node bias)
{
    const acr__node *v = value(g, "bias", x);
    if (!v || !parameter(g, "bias", bias, 0, v->cols))
        return ACR_NONE;
    return id_of(g, append_op(g, ACR_OP_bias, NULL, v->domain, v->ndim, v->shape, 2, (acr_node[]){x, bias}));
}

static acr_node unary(acr_graph *g, enum acr__op op, acr_node x, float scalar, const char *name)
{
    const acr__node *v = value(g, acr__ops[op].name, x);
    if (!v)
        return ACR_NONE;
    acr__node *n = append_op(g, op, name, v->domain, v->ndim, v->shape, 1, &x);
    if (n)
        n->scalar = scalar;
    return id_of(g, n);
}

acr_node acr_relu(acr_graph *g, acr_node x) { return unary(g, ACR_OP_relu, x, 0, NULL); }
acr_node acr_gelu(acr_graph *g, acr_node x) { return unary(g, ACR_OP_gelu, x, 0, NULL); }
acr_node acr_gelu_tanh(acr_graph *g, acr_node x) { return unary(g, ACR_OP_gelu_tanh, x, 0, NULL); }
acr_node acr_silu(acr_graph *g, acr_node x) { return unary(g, ACR_OP_silu, x, 0, NULL); }
acr_node acr_tanh(acr_graph *g, acr_node x) { return unary(g, ACR_OP_tanh, x, 0, NULL); }
acr_node acr_sigmoid(acr_graph *g, acr_node x) { return unary(g, ACR_OP_sigmoid, x, 0, NULL); }
acr_node acr_softmax(acr_graph *g, acr_node x) { return unary(g, ACR_OP_softmax, x, 0, NULL); }

acr_node acr_leaky_relu(acr_graph *g, acr_node x, float slope)
{
    if (g->status == ACR_OK && !(slope > 0 && slope < 1e30f))
        return stick(g, ACR_E_ARGUMENT, "leaky_relu: the slope is %g, it must be above 0", (double)slope);
    return unary(g, ACR_OP_leaky_relu, x, slope, NULL);
}

acr_node acr_dropout(acr_graph *g, acr_node x, float p, const char *name)
{
    if (!may_add(g, "dropout", name))
        return ACR_NONE;
    if (!(p >= 0 && p < 1))
        return stick(g, ACR_E_ARGUMENT, "dropout '%s': p is %g, from 0 to below 1 is allowed", name, (double)p);
    return unary(g, ACR_OP_dropout, x, p, name);
}

static bool same_rows(const acr__node *a, const acr__node *b)
{
    return a->domain == b->domain && a->cols == b->cols;
}

static acr_node binary(acr_graph *g, enum acr__op op, acr_node a, acr_node b)
{
    const acr__node *va = value(g, acr__ops[op].name, a), *vb = value(g, acr__ops[op].name, b);
    if (!va || !vb)
        return ACR_NONE;
    if (!same_rows(va, vb))
        return stick(g, ACR_E_SHAPE, "%s: rows of %lld and %lld elements in domains %d and %d do not fit", acr__ops[op].name,
                     (long long)va->cols, (long long)vb->cols, (int)va->domain, (int)vb->domain);
    return id_of(g, append_op(g, op, NULL, va->domain, va->ndim, va->shape, 2, (acr_node[]){a, b}));
}

acr_node acr_add(acr_graph *g, acr_node a, acr_node b) { return binary(g, ACR_OP_add, a, b); }
acr_node acr_mul(acr_graph *g, acr_node a, acr_node b) { return binary(g, ACR_OP_mul, a, b); }
acr_node acr_silu_mul(acr_graph *g, acr_node gate, acr_node up) { return binary(g, ACR_OP_silu_mul, gate, up); }

acr_node acr_concat(acr_graph *g, int count, const acr_node *parts)
{
    if (g->status != ACR_OK)
        return ACR_NONE;
    if (count < 1 || count > ACR_MAX_IN || !parts)
        return stick(g, ACR_E_ARGUMENT, "concat: %d parts, from 1 to %d are allowed", count, ACR_MAX_IN);
    int64_t cols = 0;
    acr_domain domain = 0;
    for (int i = 0; i < count; i++) {
        const acr__node *v = value(g, "concat", parts[i]);
        if (!v)
            return ACR_NONE;
        if (i && v->domain != domain)
            return stick(g, ACR_E_SHAPE, "concat: part %d is in domain %d, the first in %d", i, (int)v->domain, (int)domain);
        domain = v->domain;
        cols += v->cols;
    }
    return id_of(g, append_op(g, ACR_OP_concat, NULL, domain, 1, &cols, count, parts));
}

acr_node acr_reshape(acr_graph *g, acr_node x, int ndim, const int64_t *shape)
{
    const acr__node *v = value(g, "reshape", x);
    if (!v)
        return ACR_NONE;
    int64_t want = v->cols;
    acr__node *n = append_op(g, ACR_OP_reshape, NULL, v->domain, ndim, shape, 1, &x);
    if (n && n->cols != want)
        return stick(g, ACR_E_SHAPE, "reshape: %lld elements cannot become %lld", (long long)want, (long long)n->cols);
    return id_of(g, n);
}

static acr_node norm(acr_graph *g, enum acr__op op, acr_node x, float eps, const char *name)
{
    const acr__node *v = may_add(g, acr__ops[op].name, name) ? value(g, name, x) : NULL;
    if (!v)
        return ACR_NONE;
    if (!(eps >= 0 && eps < 1))
        return stick(g, ACR_E_ARGUMENT, "%s '%s': eps is %g, from 0 to below 1 is allowed", acr__ops[op].name, name, (double)eps);
    acr__node shape = *v; /* the new parameters may move the nodes */
    acr_node in[3] = {x, param_named(g, name, "weight", 1, &shape.cols, 0, 1.0f), ACR_NONE};
    if (op == ACR_OP_layer_norm)
        in[2] = param_named(g, name, "bias", 1, &shape.cols, 0, 0.0f);
    acr__node *n = append_op(g, op, NULL, shape.domain, shape.ndim, shape.shape, op == ACR_OP_layer_norm ? 3 : 2, in);
    if (n)
        n->scalar = eps;
    return id_of(g, n);
}

acr_node acr_layer_norm(acr_graph *g, acr_node x, float eps, const char *name)
{
    return norm(g, ACR_OP_layer_norm, x, eps, name);
}

acr_node acr_rms_norm(acr_graph *g, acr_node x, float eps, const char *name)
{
    return norm(g, ACR_OP_rms_norm, x, eps, name);
}

acr_node acr_embedding_shared(acr_graph *g, acr_node ids, acr_node weight)
{
    if (g->status != ACR_OK)
        return ACR_NONE;
    if (ids < 0 || ids >= g->node_count || g->nodes[ids].op != ACR_OP_input || g->nodes[ids].dtype != ACR_I32 ||
        g->nodes[ids].cols != 1)
        return stick(g, ACR_E_SHAPE, "embedding: ids must be an int32 input with one column");
    if (weight < 0 || weight >= g->node_count || g->nodes[weight].op != ACR_OP_param || g->nodes[weight].ndim != 2)
        return stick(g, ACR_E_SHAPE, "embedding: the table must be a parameter of two dimensions");
    int64_t dim = g->nodes[weight].shape[1];
    return id_of(g, append_op(g, ACR_OP_embedding, NULL, g->nodes[ids].domain, 1, &dim, 2, (acr_node[]){ids, weight}));
}

acr_node acr_embedding(acr_graph *g, acr_node ids, int64_t count, int64_t dim, const char *name)
{
    /* as torch.nn.Embedding in spirit; uniform rather than normal, one generator */
    acr_node weight = param_named(g, name, "weight", 2, (int64_t[]){count, dim}, dim, 0);
    return acr_embedding_shared(g, ids, weight);
}

/* An input of one column. */
static bool is_input(const acr_graph *g, acr_node x, acr_domain domain, acr_dtype dtype)
{
    if (x < 0 || x >= g->node_count)
        return false;
    const acr__node *n = &g->nodes[x];
    return n->op == ACR_OP_input && n->cols == 1 && n->dtype == dtype && n->domain == domain;
}

/* Whether `position` is an int32 input of one column in that domain; sticks if not. */
static bool is_position(acr_graph *g, const char *op, acr_node position, acr_domain domain)
{
    bool right = is_input(g, position, domain, ACR_I32);
    if (!right)
        stick(g, ACR_E_SHAPE, "%s: the position must be an int32 input of one column in the domain of its rows", op);
    return right;
}

acr_node acr_rope(acr_graph *g, acr_node x, acr_node position, const acr_rope_opts *opts)
{
    acr_rope_opts o = ACR_ROPE_OPTS_INIT;
    acr__opts_take(&o, opts);
    const acr__node *v = value(g, "rope", x);
    if (!v || !is_position(g, "rope", position, v->domain))
        return ACR_NONE;
    if (o.dim < 2 || o.dim % 2 || v->ndim != 1 || v->cols % o.dim)
        return stick(g, ACR_E_SHAPE, "rope: heads of %lld in rows of %lld elements; an even size that divides them is wanted",
                     (long long)o.dim, (long long)v->cols);
    if (!(o.theta >= 1 && o.theta < 1e18))
        return stick(g, ACR_E_ARGUMENT, "rope: theta is %g, from 1 to below 1e18 is allowed", o.theta);
    if (o.scaling < ACR_ROPE_DEFAULT || o.scaling > ACR_ROPE_LLAMA3)
        return stick(g, ACR_E_ARGUMENT, "rope: the scaling %d is none of default, linear and llama3", (int)o.scaling);
    if (o.scaling != ACR_ROPE_DEFAULT && !(o.factor >= 1 && o.factor < 1e18))
        return stick(g, ACR_E_ARGUMENT, "rope: the factor is %g, from 1 to below 1e18 is allowed", o.factor);
    if (o.scaling == ACR_ROPE_LLAMA3 &&
        !(o.low_freq_factor > 0 && o.high_freq_factor > o.low_freq_factor && o.high_freq_factor < 1e18 &&
          o.original_positions >= 1))
        return stick(g, ACR_E_ARGUMENT,
                     "rope: llama3 wants 0 < low_freq_factor < high_freq_factor and original_positions of at least 1; "
                     "they are %g, %g and %lld",
                     o.low_freq_factor, o.high_freq_factor, (long long)o.original_positions);
    acr__node *n = append_op(g, ACR_OP_rope, NULL, v->domain, 1, v->shape, 2, (acr_node[]){x, position});
    if (n)
        n->rope = o;
    return id_of(g, n);
}

enum { ACR_MAX_HEADS = 1 << 20 }; /* and the largest size of one: far off, so that products fit */

/* Whether the attention's options fit; sticks if not. `rows`: a sample's at most. */
static bool attention_fits(acr_graph *g, const acr_attention_opts *o, int64_t rows)
{
    const char *what = o->name ? o->name : "attention";
    int64_t elements; /* of dropout, a sample's at most */
    if (o->heads < 1 || o->kv_heads < 1 || o->heads % o->kv_heads || o->dim < 1 ||
        o->heads > ACR_MAX_HEADS || o->dim > ACR_MAX_HEADS)
        stick(g, ACR_E_SHAPE,
              "%s: %lld heads, %lld key heads of %lld; each from 1 to %d and the key heads a divisor of the heads", what,
              (long long)o->heads, (long long)o->kv_heads, (long long)o->dim, ACR_MAX_HEADS);
    else if (!(o->scale >= 0 && o->scale < 1e30f))
        stick(g, ACR_E_ARGUMENT, "%s: the scale is %g, 0 (1/sqrt(dim)) or more is allowed", what, (double)o->scale);
    else if (!(o->dropout >= 0 && o->dropout < 1))
        stick(g, ACR_E_ARGUMENT, "%s: dropout is %g, from 0 to below 1 is allowed", what, (double)o->dropout);
    else if (o->dropout > 0 && !o->name)
        stick(g, ACR_E_ARGUMENT, "attention: dropout needs a name to key its random numbers");
    else if (o->dropout > 0 && (!acr__mul64(rows * (rows + 1) / 2, o->heads, &elements) || elements > INT64_C(1) << 34))
        stick(g, ACR_E_ARGUMENT, "%s: dropout over %lld heads of %lld rows counts past 2^34 elements of a sample", what,
              (long long)o->heads, (long long)rows);
    return g->status == ACR_OK;
}

acr_node acr_attention(acr_graph *g, acr_node q, acr_node k, acr_node v, acr_node position,
                       const acr_attention_opts *opts)
{
    acr_attention_opts o = ACR_ATTENTION_OPTS_INIT;
    acr__opts_take(&o, opts);
    if (g->status != ACR_OK)
        return ACR_NONE;
    bool packed = k == ACR_NONE && v == ACR_NONE;
    const acr__node *parts[3] = {value(g, "attention", q)};
    for (int i = 1; i < 3; i++)
        parts[i] = packed ? parts[0] : value(g, "attention", i == 1 ? k : v);
    if (!parts[0] || !parts[1] || !parts[2] || !is_position(g, "attention", position, parts[0]->domain) ||
        !attention_fits(g, &o, g->domains[parts[0]->domain].max_rows))
        return ACR_NONE;
    acr_domain domain = parts[0]->domain;
    int64_t width = o.heads * o.dim, kv_width = o.kv_heads * o.dim;
    for (int i = 0; i < 3; i++) {
        int64_t want = packed ? width + 2 * kv_width : i ? kv_width : width;
        if (parts[i]->domain != domain || parts[i]->ndim != 1 || parts[i]->cols != want)
            return stick(g, ACR_E_SHAPE, "attention: %s has rows of %lld elements in domain %d; %lld in domain %d are wanted",
                         packed ? "q | k | v" : i == 0 ? "q" : i == 1 ? "k" : "v", (long long)parts[i]->cols,
                         (int)parts[i]->domain, (long long)want, (int)domain);
    }
    acr_node in[4] = {q, packed ? position : k, v, position};
    acr__node *n = append_op(g, ACR_OP_attention, o.name, domain, 1, &width, packed ? 2 : 4, in);
    if (!n)
        return ACR_NONE;
    n->heads = o.heads;
    n->kv_heads = o.kv_heads;
    n->dim = o.dim;
    n->scalar = o.scale;
    n->dropout = o.dropout;
    return id_of(g, n);
}

static acr__node *append_loss(acr_graph *g, enum acr__op op, acr_node prediction, acr_node target, acr_node weight)
{
    const char *name = acr__ops[op].name;
    const acr__node *p = value(g, name, prediction);
    if (!p)
        return NULL;
    if (target < 0 || target >= g->node_count || g->nodes[target].op != ACR_OP_input)
        return stick(g, ACR_E_ARGUMENT, "%s: the target must be an input", name), NULL;
    const acr__node *t = &g->nodes[target];
    bool labels = op == ACR_OP_cross_entropy && t->dtype == ACR_I32 && t->cols == 1;
    if (t->domain != p->domain || (!labels && (t->dtype != ACR_F32 || t->cols != p->cols)) || (labels && p->cols < 2))
        return stick(g, ACR_E_SHAPE, "%s: the prediction has %lld columns, the target '%s' %lld (%s); %s", name,
                     (long long)p->cols, t->name, (long long)t->cols, t->dtype == ACR_I32 ? "int32" : "float",
                     op == ACR_OP_cross_entropy ? "int32 labels [1] or probabilities of the same width are wanted, of two classes or more"
                                                : "floats of the same width are wanted"), NULL;
    if (weight != ACR_NONE && !is_input(g, weight, p->domain, ACR_F32))
        return stick(g, ACR_E_SHAPE, "%s: the weight must be a float input of one column in the prediction's domain", name), NULL;
    int64_t one = 1;
    return append_op(g, op, NULL, p->domain, 1, &one, weight == ACR_NONE ? 2 : 3,
                     (acr_node[]){prediction, target, weight});
}

acr_node acr_mse(acr_graph *g, acr_node prediction, acr_node target, acr_node weight)
{
    return id_of(g, append_loss(g, ACR_OP_mse, prediction, target, weight));
}

acr_node acr_mae(acr_graph *g, acr_node prediction, acr_node target, acr_node weight)
{
    return id_of(g, append_loss(g, ACR_OP_mae, prediction, target, weight));
}

acr_node acr_huber(acr_graph *g, acr_node prediction, acr_node target, acr_node weight, float delta)
{
    if (g->status == ACR_OK && !(delta > 0 && delta < 1e30f))
        return stick(g, ACR_E_ARGUMENT, "huber: delta is %g, it must be above 0", (double)delta);
    acr__node *n = append_loss(g, ACR_OP_huber, prediction, target, weight);
    if (n)
        n->scalar = delta;
    return id_of(g, n);
}

acr_node acr_bce_with_logits(acr_graph *g, acr_node logits, acr_node target, acr_node weight)
{
    return id_of(g, append_loss(g, ACR_OP_bce_with_logits, logits, target, weight));
}

/* A cross-entropy's options, over so many classes. */
static acr_node ce_options(acr_graph *g, acr__node *n, const acr_ce_opts *opts, int64_t classes)
{
    const char *name = acr__ops[n->op].name;
    acr_ce_opts o = ACR_CE_OPTS_INIT;
    acr__opts_take(&o, opts);
    if (!(o.label_smoothing >= 0 && o.label_smoothing <= 1))
        return stick(g, ACR_E_ARGUMENT, "%s: label_smoothing is %g, from 0 to 1 is allowed", name, (double)o.label_smoothing);
    n->smoothing = o.label_smoothing;
    n->ignore_index = o.ignore_index;
    if (!o.class_weight)
        return id_of(g, n);
    n->class_weight = acr__alloc(g->ctx, (size_t)classes * sizeof *n->class_weight);
    if (!n->class_weight)
        return stick_memory(g);
    for (int64_t i = 0; i < classes; i++) {
        if (!(o.class_weight[i] >= 0 && o.class_weight[i] < 1e30f))
            return stick(g, ACR_E_ARGUMENT, "%s: class_weight[%lld] is %g, it must be 0 or more", name, (long long)i,
                         (double)o.class_weight[i]);
        n->class_weight[i] = o.class_weight[i];
    }
    return id_of(g, n);
}

acr_node acr_cross_entropy(acr_graph *g, acr_node logits, acr_node target, acr_node weight, const acr_ce_opts *opts)
{
    acr__node *n = append_loss(g, ACR_OP_cross_entropy, logits, target, weight);
    return n ? ce_options(g, n, opts, g->nodes[logits].cols) : ACR_NONE;
}

acr_node acr_head_cross_entropy(acr_graph *g, acr_node x, acr_node weight, acr_node target, acr_node row_weight,
                                const acr_ce_opts *opts)
{
    const char *name = acr__ops[ACR_OP_head_cross_entropy].name;
    const acr__node *v = value(g, name, x), *w = v ? parameter(g, name, weight, 1, v->cols) : NULL;
    if (!w)
        return ACR_NONE;
    acr_domain domain = v->domain;
    int64_t classes = w->shape[0];
    if (v->ndim != 1 || classes < 2)
        return stick(g, ACR_E_SHAPE, "%s: rows of %d dimensions against %lld classes; rows of one dimension and two "
                     "classes or more are wanted", name, v->ndim, (long long)classes);
    if (!is_input(g, target, domain, ACR_I32))
        return stick(g, ACR_E_SHAPE, "%s: the target must be an int32 input of one column in x's domain", name);
    if (row_weight != ACR_NONE && !is_input(g, row_weight, domain, ACR_F32))
        return stick(g, ACR_E_SHAPE, "%s: the weight must be a float input of one column in x's domain", name);
    acr__node *n = append_op(g, ACR_OP_head_cross_entropy, NULL, domain, 1, (int64_t[]){1},
                             row_weight == ACR_NONE ? 3 : 4, (acr_node[]){x, weight, target, row_weight});
    return n ? ce_options(g, n, opts, classes) : ACR_NONE;
}

void acr_block_end(acr_graph *g, acr_node x)
{
    if (!may_add(g, "acr_block_end", "block") || !value(g, "acr_block_end", x))
        return;
    acr_node first = g->block_count ? g->blocks[g->block_count - 1].end : 0;
    if (x < first) {
        stick(g, ACR_E_ARGUMENT, "acr_block_end: node %d lies before the block, which begins with node %d", (int)x, (int)first);
        return;
    }
    if (acr__grow(g->ctx, &g->blocks, &g->block_capacity, g->block_count, sizeof *g->blocks) != ACR_OK) {
        stick_memory(g);
        return;
    }
    g->blocks[g->block_count++] = (acr__block){g->node_count, x};
}

int acr_block_count(const acr_graph *g) { return g->block_count; }

void acr_output(acr_graph *g, const char *name, acr_node x)
{
    if (!may_add(g, "output", name) || !value(g, name, x))
        return;
    if (acr__grow(g->ctx, &g->outputs, &g->output_capacity, g->output_count, sizeof *g->outputs) != ACR_OK) {
        stick_memory(g);
        return;
    }
    char *copy = acr__strdup(g->ctx, name);
    if (!copy) {
        stick_memory(g);
        return;
    }
    g->nodes[x].is_output = true;
    g->outputs[g->output_count++] = (struct acr__output){copy, x};
}

void acr_loss(acr_graph *g, acr_node loss)
{
    if (!may_add(g, "acr_loss", "loss"))
        return;
    if (loss < 0 || loss >= g->node_count || !acr__is_loss(&g->nodes[loss]))
        stick(g, ACR_E_ARGUMENT, "acr_loss: node %d is not a loss", (int)loss);
    else if (g->loss != ACR_NONE)
        stick(g, ACR_E_ARGUMENT, "acr_loss: there is a loss already (%s); a second term would need a weight W of its own",
              acr__ops[g->nodes[g->loss].op].name);
    else
        g->loss = loss;
}
