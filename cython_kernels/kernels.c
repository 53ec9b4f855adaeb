/* The table of kernels: the names by which a Plan calls them, an entry an instruction set. */

#include "kernels.h"
#include "edges.h"

#define NAME_ONE(name) {#name, 1},
#define NAME_RANKED(name) {#name, MAX_RANK},
/* some builds have no kernel of a family */
#ifdef __GNUC__
#define MAYBE_UNUSED __attribute__((unused))
#else
#define MAYBE_UNUSED
#endif
#define NAMES(family, LIST)                                                                       \
    static const parameter family##_names[] MAYBE_UNUSED = {LIST(NAME_ONE, NAME_RANKED){NULL, 0}}

NAMES(add, ADD_PARAMETERS);
NAMES(add_linear, ADD_LINEAR_PARAMETERS);
NAMES(add_s16, ADD_S16_PARAMETERS);
NAMES(add_s8, ADD_S8_PARAMETERS);
NAMES(argmax, ARGMAX_PARAMETERS);
NAMES(average_pool, AVERAGE_POOL_PARAMETERS);
NAMES(chain_s16, CHAIN_S16_PARAMETERS);
NAMES(conv, CONV_PARAMETERS);
NAMES(conv_flat, CONV_FLAT_PARAMETERS);
NAMES(conv_pixel, CONV_PIXEL_PARAMETERS);
NAMES(conv_rows, CONV_ROWS_PARAMETERS);
NAMES(conv_winograd, CONV_WINOGRAD_PARAMETERS);
NAMES(depthwise_lines, DEPTHWISE_LINES_PARAMETERS);
NAMES(conv_flat_s16, CONV_FLAT_S16_PARAMETERS);
NAMES(conv_rows_s16, CONV_ROWS_S16_PARAMETERS);
NAMES(depthwise_lines_s16, DEPTHWISE_LINES_S16_PARAMETERS);
NAMES(mul_s16, MUL_S16_PARAMETERS);
NAMES(mul_s8, MUL_S8_PARAMETERS);
NAMES(copy, COPY_PARAMETERS);
NAMES(depthwise, DEPTHWISE_PARAMETERS);
NAMES(extreme, EXTREME_PARAMETERS);
NAMES(fill, FILL_PARAMETERS);
NAMES(gather, GATHER_PARAMETERS);
NAMES(gather_elements, GATHER_ELEMENTS_PARAMETERS);
NAMES(index_arithmetic, INDEX_ARITHMETIC_PARAMETERS);
NAMES(lookup, LOOKUP_PARAMETERS);
NAMES(mat_mul, MAT_MUL_PARAMETERS);
NAMES(max_pool, POOL_PARAMETERS);
NAMES(mul, MUL_PARAMETERS);
NAMES(non_max_suppression, NON_MAX_SUPPRESSION_PARAMETERS);
NAMES(normalize, NORMALIZE_PARAMETERS);
NAMES(prelu, PRELU_PARAMETERS);
NAMES(reduce_extreme, REDUCE_EXTREME_PARAMETERS);
NAMES(reduce_l2, REDUCE_L2_PARAMETERS);
NAMES(reduce_sum, REDUCE_SUM_PARAMETERS);
NAMES(rescale, RESCALE_PARAMETERS);
NAMES(resize, RESIZE_PARAMETERS);
NAMES(softmax, AXIS_PARAMETERS);
NAMES(take, TAKE_PARAMETERS);
NAMES(top_indices, TOP_INDICES_PARAMETERS);

#define LOOP_ENTRY(isa, name, family) {#name, #isa, name##_##isa, family##_names, NULL},
#define LAYER_ENTRY(isa, name, family) {#name, #isa, name##_##isa, family##_names, &layout_##isa},
#define LAYER_S16_ENTRY(isa, name, family)                                                        \
    {#name, #isa, name##_##isa, family##_names, &layout_s16_##isa},

#define PIXEL_ENTRY(isa, name, family)                                                            \
    {#name, #isa, name##_##isa, family##_names, &layout_pixel_##isa},

/* Lanes, taps, vectors, offset, bytes, chunk, and whether stages may have FLOAT_FORM. */

#ifdef HAS_X86_KERNELS
static const weight_layout layout_avx512vnni = {16, 4, 4, 128, 1, 1, 1};
static const weight_layout layout_avxvnni = {8, 4, 2, 128, 1, 1, 1};
static const weight_layout layout_avx2 = {8, 2, 2, 0, 2, 1, 1};
static const weight_layout layout_pixel_avx2 = {8, 4, 4, 0, 1, 1, 1};
static const weight_layout layout_s16_avx512vnni = {16, 2, 4, 0, 2, 1, 0};
static const weight_layout layout_s16_avxvnni = {8, 2, 2, 0, 2, 1, 0};
static const weight_layout layout_s16_avx2 = {8, 2, 2, 0, 2, 1, 0};

#ifdef HAS_AMX_KERNELS
static const weight_layout layout_amx = {16, 4, 4, 0, 1, 16, 1};
static const weight_layout layout_s16_amx = {16, 4, 4, 0, 1, 16, 0};
#endif

static int has_avx512vnni(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

static int has_avx512vbmi(void)
{
    return has_avx512vnni() && __builtin_cpu_supports("avx512vbmi");
}

static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#ifdef HAS_NEON_KERNELS
static const weight_layout layout_neondot = {4, 4, 4, 0, 1, 1, 0};
static const weight_layout layout_neon = {4, 2, 4, 0, 1, 1, 0};
#endif

static int always(void)
{
    return 1;
}

const instruction_set instruction_sets[] = {
#ifdef HAS_AMX_KERNELS
    {"amx", has_amx},
#endif
#ifdef HAS_X86_KERNELS
    {"avx512vbmi", has_avx512vbmi},
    {"avx512vnni", has_avx512vnni},
    {"avxvnni", has_avxvnni},
    {"avx2", has_avx2},
#endif
#ifdef HAS_NEON_KERNELS
    {"neondot", has_neondot},
    {"neon", always},
#endif
    {"scalar", always},
    {NULL, NULL},
};

#define EDGE_LOOPS(isa)                                                                           \
    int quantize_##isa(const edge *e, const float *x, void *q);                                   \
    void dequantize_##isa(const edge *e, const void *q, float *x);
#define EDGE_ENTRY(isa) {#isa, quantize_##isa, dequantize_##isa},

#ifdef HAS_X86_KERNELS
#define EACH_ISA(ENTRY) ENTRY(avx512vnni) ENTRY(avx2) ENTRY(scalar)
#else
#define EACH_ISA(ENTRY) ENTRY(scalar)
#endif

EACH_ISA(EDGE_LOOPS)

const edge_loops edge_loops_of[] = {EACH_ISA(EDGE_ENTRY){NULL, NULL, NULL}};

const kernel kernels[] = {
#ifdef HAS_AMX_KERNELS
    EACH_CONV(LAYER_ENTRY, amx) EACH_CONV_S16(LAYER_S16_ENTRY, amx)
#endif
#ifdef HAS_X86_KERNELS
        EACH_TABLE(LOOP_ENTRY, avx512vbmi) EACH_LOOP(LOOP_ENTRY, avx512vnni)
            EACH_LAYER(LAYER_ENTRY, avx512vnni) EACH_LAYER_S16(LAYER_S16_ENTRY, avx512vnni)
                EACH_PAIR(LOOP_ENTRY, avx512vnni) LOOP_ENTRY(avx512vnni, chain_s16, chain_s16)
                    EACH_LAYER(LAYER_ENTRY, avxvnni) EACH_LAYER_S16(LAYER_S16_ENTRY, avxvnni)
                        EACH_LOOP(LOOP_ENTRY, avx2) EACH_LAYER(LAYER_ENTRY, avx2)
                            EACH_LAYER_S16(LAYER_S16_ENTRY, avx2) EACH_PAIR(LOOP_ENTRY, avx2)
                                EACH_TABLE(LOOP_ENTRY, avx2) LOOP_ENTRY(avx2, chain_s16, chain_s16)
                                    LAYER_ENTRY(avx2, conv_winograd, conv_winograd)
                                        PIXEL_ENTRY(avx2, conv_pixel, conv_pixel)
#endif
#ifdef HAS_NEON_KERNELS
                                            EACH_LAYER(LAYER_ENTRY, neondot)
                                                EACH_LAYER(LAYER_ENTRY, neon)
#endif
                                                    EACH_LOOP(LOOP_ENTRY, scalar)
                                                        EACH_PLAIN_LOOP(LOOP_ENTRY, scalar)
                                                            EACH_SCALAR_LOOP(LOOP_ENTRY, scalar){
                                                                NULL, NULL, NULL, NULL, NULL},
};
