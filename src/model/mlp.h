/* mlp.h: the builder of dense networks. */
#ifndef ACR_MODEL_MLP_H
#define ACR_MODEL_MLP_H

#include "base/base.h"

typedef struct acr__mlp {
    int layer_count;             /* widths, input and output included; at least 2 */
    const int64_t *layers;
    const char *const *activation; /* layer_count - 2 names, one per hidden layer */
    double dropout;              /* behind each hidden activation; 0: none */
    const char *const *names;    /* layer_count - 1 names of the linear layers; NULL: torch.nn.Sequential's */
} acr__mlp;

/* Adds the network to g over input x and returns its output node (ACR_NONE after
 * a failure, which acr_graph_finish tells). torch.nn.Sequential numbers every
 * module, so linear layers are "0", "2", "4", ... and with dropout "0", "3", ... */
acr_node acr__mlp_build(acr_graph *g, acr_node x, const acr__mlp *mlp);
/* Whether acr__mlp_build knows the activation. */
bool acr__mlp_activation_known(const char *name);
/* "relu, leaky_relu, ...": for error messages. */
extern const char acr__mlp_activations[];

#endif
