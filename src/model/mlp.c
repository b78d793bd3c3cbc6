/* mlp.c: linear, activation, dropout, and again; the last layer is linear. */
#include "model/mlp.h"
#include <stdio.h>
#include <string.h>

static acr_node leaky(acr_graph *g, acr_node x) { return acr_leaky_relu(g, x, 0.01f); /* PyTorch's default slope */ }

static const struct activation {
    const char *name;
    acr_node (*build)(acr_graph *, acr_node);
} activations[] = {
    {"relu", acr_relu}, {"leaky_relu", leaky}, {"gelu", acr_gelu},       {"gelu_tanh", acr_gelu_tanh},
    {"silu", acr_silu}, {"tanh", acr_tanh},    {"sigmoid", acr_sigmoid},
};
const char acr__mlp_activations[] = "relu, leaky_relu, gelu, gelu_tanh, silu, tanh, sigmoid";

static const struct activation *find(const char *name)
{
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (!strcmp(activations[i].name, name))
            return &activations[i];
    return NULL;
}

bool acr__mlp_activation_known(const char *name) { return find(name) != NULL; }

acr_node acr__mlp_build(acr_graph *g, acr_node x, const acr__mlp *mlp)
{
    int modules = mlp->dropout > 0 ? 3 : 2; /* a hidden layer's, in torch.nn.Sequential */
    for (int i = 0; i + 1 < mlp->layer_count; i++) {
        char number[32];
        snprintf(number, sizeof number, "%d", i * modules);
        x = acr_linear(g, x, mlp->layers[i + 1], mlp->names ? mlp->names[i] : number);
        if (i + 2 == mlp->layer_count)
            break;
        const struct activation *a = find(mlp->activation[i]);
        x = a ? a->build(g, x) : ACR_NONE;
        if (mlp->dropout > 0) {
            snprintf(number, sizeof number, "%d", i * modules + 2);
            x = acr_dropout(g, x, (float)mlp->dropout, number);
        }
    }
    return x;
}
