/* table.c: the table of one instruction set. Const: what a context runs is fixed
 * when it is created.
 *
 * avx512_bf16 and amx are avx512 in everything but products in bf16, so their
 * tables are made here too, where the build has them. */
#include "kernel/cpu/gemm_bf16.h"
#include "kernel/cpu/kernels.h"
#include "kernel/host_memory.h"

#define NAME_OF_(isa) #isa
#define NAME_OF(isa)  NAME_OF_(isa)

#define TABLE(isa)                                                                       \
    {                                                                                    \
        .name = NAME_OF(isa),                                                            \
        .lanes = VL,                                                                     \
        .panel = ACR__GEMM_PANEL,                                                        \
        .real_bytes = sizeof(float),                                                     \
        .gemm_scratch = ACR__GEMM_SCRATCH,                                               \
        ACR_HOST_MEMORY,                                                                 \
        .gemm = acr__gemm_f32,                                                           \
        .pack_b = acr__pack_b_f32,                                                       \
        .gemm_bf16_scratch = ACR__BF16_SCRATCH(isa),                                     \
        .bf16_bytes = 2,                                                                 \
        .gemm_bf16 = ACR__GEMM_PASTE(acr__gemm_bf16, isa),                               \
        .pack_b_bf16 = ACR__GEMM_PASTE(acr__pack_b_bf16, isa),                           \
        .packed_bf16 = ACR__GEMM_PASTE(acr__packed_bf16, isa),                           \
        .round_bf16 = ACR__GEMM_PASTE(acr__round_bf16, isa),                             \
        .unary = ACR_CPU(unary),                                                         \
        .unary_back = ACR_CPU(unary_back),                                               \
        .copy = ACR_CPU(copy),                                                           \
        .add = ACR_CPU(add),                                                             \
        .mul = ACR_CPU(mul),                                                             \
        .finite = ACR_CPU(finite),                                                       \
        .add_row = ACR_CPU(add_row),                                                     \
        .dropout = ACR_CPU(dropout),                                                     \
        .norm = ACR_CPU(norm),                                                           \
        .norm_back = ACR_CPU(norm_back),                                                 \
        .norm_back_param = ACR_CPU(norm_back_param),                                     \
        .softmax = ACR_CPU(softmax),                                                     \
        .softmax_back = ACR_CPU(softmax_back),                                           \
        .loss = ACR_CPU(loss),                                                           \
        .silu_mul = ACR_CPU(silu_mul),                                                   \
        .silu_mul_back = ACR_CPU(silu_mul_back),                                         \
        .rope = ACR_CPU(rope),                                                           \
        .attention = ACR_CPU(attention),                                                 \
        .attention_back = ACR_CPU(attention_back),                                       \
        .attention_scratch = ACR_CPU(attention_scratch),                                 \
        .column_sum = ACR_CPU(column_sum),                                               \
        .gather = ACR_CPU(gather),                                                       \
        .scatter_add = ACR_CPU(scatter_add),                                             \
        .close_leaf = ACR_CPU(close_leaf),                                               \
        .join = ACR_CPU(join),                                                           \
        .sgd = ACR_CPU(sgd),                                                             \
        .adam = ACR_CPU(adam),                                                           \
        .init_normals = ACR_CPU(init_normals),                                           \
    }

const acr_kernels ACR_CPU(kernels) = TABLE(ACR_ISA);
#if defined(ACR_ISA_AVX512) && defined(ACR_HAVE_AVX512_BF16)
const acr_kernels acr__kernels_avx512_bf16 = TABLE(avx512_bf16);
#endif
#if defined(ACR_ISA_AVX512) && defined(ACR_HAVE_AMX)
const acr_kernels acr__kernels_amx = TABLE(amx);
#endif
