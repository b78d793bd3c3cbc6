/* ops.c: ops.def as a table, with each op's step functions. */
#include "graph/graph.h"
#include "graph/op.h"

#define NONE ACR_BACK_NONE
#define OVER ACR_BACK_OVER
#define BOTH ACR_BACK_BOTH
#define STEPS_input NULL, NULL, NULL
#define STEPS_param NULL, NULL, NULL
#define STEPS_linear acr__linear_forward, acr__linear_backward, acr__linear_gradient
#define STEPS_bias acr__bias_forward, acr__bias_backward, acr__bias_gradient
#define STEPS_relu acr__unary_forward, acr__unary_backward, NULL
#define STEPS_leaky_relu STEPS_relu
#define STEPS_gelu STEPS_relu
#define STEPS_gelu_tanh STEPS_relu
#define STEPS_silu STEPS_relu
#define STEPS_silu_mul acr__silu_mul_forward, acr__silu_mul_backward, NULL
#define STEPS_tanh STEPS_relu
#define STEPS_sigmoid STEPS_relu
#define STEPS_add acr__add_forward, acr__add_backward, NULL
#define STEPS_mul acr__mul_forward, acr__mul_backward, NULL
#define STEPS_concat acr__concat_forward, acr__concat_backward, NULL
#define STEPS_reshape acr__reshape_forward, acr__reshape_backward, NULL
#define STEPS_dropout acr__dropout_forward, acr__dropout_backward, NULL
#define STEPS_layer_norm acr__norm_forward, acr__norm_backward, NULL
#define STEPS_rms_norm STEPS_layer_norm
#define STEPS_softmax acr__softmax_forward, acr__softmax_backward, NULL
#define STEPS_rope acr__rope_forward, acr__rope_backward, NULL
#define STEPS_attention acr__attention_forward, acr__attention_backward, NULL
#define STEPS_embedding acr__embedding_forward, acr__embedding_backward, NULL
#define STEPS_mse acr__loss_forward, acr__loss_backward, NULL
#define STEPS_mae STEPS_mse
#define STEPS_huber STEPS_mse
#define STEPS_cross_entropy STEPS_mse
#define STEPS_bce_with_logits STEPS_mse
#define STEPS_head_cross_entropy acr__head_forward, acr__head_backward, acr__head_gradient

const acr__op_info acr__ops[ACR_OP_COUNT] = {
#define OP(op_name, meets, saved, inplace, inplace_back, x0, x1, late) \
    [ACR_OP_##op_name] = {#op_name, ACR_OP_##meets, saved, inplace, inplace_back, late, {x0, x1}, STEPS_##op_name},
#include "graph/ops.def"
#undef OP
};
