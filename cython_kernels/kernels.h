/* The kernels' common shape: parameters, operands, and the table through which a Plan names them.
 *
 * A kernel computes the units [begin, end) of one step. What a unit is, its file says; units write
 * disjoint parts of the output, so threads may share them. Offsets and sizes are 64 bits wide.
 */

#ifndef EDGEINFER_KERNELS_H
#define EDGEINFER_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* The compilers whose way to speak of instruction sets the kernels know. */
#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_X86_KERNELS
#ifdef __linux__ /* which lends AMX to a process that asks */
#define HAS_AMX_KERNELS
#endif
#endif
#if defined(__aarch64__) && defined(__ARM_NEON) && defined(__GNUC__) && !defined(__ARM_BIG_ENDIAN)
#define HAS_NEON_KERNELS
#endif

/* Cortex-M55's vectors of 16 bytes, and else the instructions of Cortex-M4, M7 and M33, and of
 * 32-bit Cortex-A, that multiply pairs of words and add the products. */
#if defined(__GNUC__) && !defined(__ARM_BIG_ENDIAN)
#if defined(__ARM_FEATURE_MVE)
#define HAS_HELIUM
#include <arm_mve.h>
#elif defined(__ARM_FEATURE_SIMD32)
#define HAS_PAIRS_OF_WORDS
#include <arm_acle.h>
#endif
#endif

#define MAX_RANK 16
#define MAX_OPERANDS 16

enum status { DONE = 0, NOT_A_NUMBER = 1, INDEX_OUT_OF_RANGE = 2 };

/* `parameters` is the kernel's own struct of int64_t; the step's outputs are the last operands;
 * `scratch` is this thread's alone. */
typedef int (*kernel_function)(const void *parameters, void *const *operands, int64_t begin,
                               int64_t end, void *scratch);

/* Parameters are declared once, as a list: the struct's members and the names by which the
 * planner gives them come from it. ONE is a number, RANKED a number for each axis. */
#define MEMBER_ONE(name) int64_t name;
#define MEMBER_RANKED(name) int64_t name[MAX_RANK];
#define PARAMETERS(type, LIST)                                                                    \
    typedef struct {                                                                              \
        LIST(MEMBER_ONE, MEMBER_RANKED)                                                           \
    } type

/* The fields of an output_stage, in its order. */
#define OUTPUT_STAGE(ONE) ONE(output_zero_point) ONE(lo) ONE(hi) ONE(twice)
#define STAGE(p) ((output_stage){(p)->output_zero_point, (p)->lo, (p)->hi, (p)->twice})

typedef struct {
    const char *name;
    int64_t count;
} parameter;

/* How a kernel wants a layer's weights: see conv_rows.h. */
typedef struct {
    int64_t lanes, taps, vectors; /* of a vector, of an instruction, of a block */
    int64_t offset;               /* that its copy of x adds to each element */
    int64_t bytes;                /* of a weight, and of an element of that copy */
    int64_t chunk;                /* steps of a row that are taken at once, at most */
    int64_t has_floats;           /* whether stages may have FLOAT_FORM */
} weight_layout;

typedef struct {
    const char *name;
    const char *isa;
    kernel_function run;
    const parameter *parameters; /* ends with a NULL name */
    const weight_layout *layout; /* NULL where the planner packs without asking */
} kernel;

/* The kernels that this build has; ends with a NULL name. */
extern const kernel kernels[];

/* Instruction sets, the best first, "scalar" last, and whether this processor has each. */
typedef struct {
    const char *name;
    int (*is_supported)(void);
} instruction_set;

extern const instruction_set instruction_sets[]; /* ends with a NULL name */

/* The lists stand as they are written; taken for calls, they would be broken as such. */
/* clang-format off */

#define CONV_PARAMETERS(ONE, RANKED)                                                              \
    ONE(pixels) ONE(in_height) ONE(in_width) ONE(out_height) ONE(out_width)                       \
    ONE(group) ONE(depth) ONE(outputs) /* of one group */                                         \
    ONE(kernel_height) ONE(kernel_width) ONE(stride_height) ONE(stride_width)                     \
    ONE(dilation_height) ONE(dilation_width) ONE(pad_top) ONE(pad_left)                           \
    ONE(taps) /* products of one accumulator, padded to a multiple of 8 */                        \
    ONE(tile) /* pixels whose patches stand in the scratch together */                            \
    ONE(splits) /* into how many parts the output channels of a group are divided */              \
    ONE(planes) /* of weights: one, or low and high bytes */                                      \
    ONE(weight_bytes) /* 1 or 2 */                                                                \
    ONE(block) /* products of one plane that surely fit 32 bits together */                       \
    ONE(input_zero_point) ONE(out_bytes) OUTPUT_STAGE(ONE)
PARAMETERS(conv_parameters, CONV_PARAMETERS);

#define CONV_ROWS_PARAMETERS(ONE, RANKED)                                                         \
    ONE(in_height) ONE(in_width) ONE(out_height) ONE(out_width)                                   \
    ONE(group) ONE(depth) ONE(outputs) /* of one group */                                         \
    ONE(out_depth) /* elements from one output pixel to the next */                               \
    ONE(kernel_height) ONE(kernel_width) ONE(stride_height) ONE(stride_width)                     \
    ONE(dilation_height) ONE(dilation_width) ONE(pad_top) ONE(pad_left)                           \
    ONE(steps) /* that one row of the kernel takes */                                             \
    ONE(pixel) /* elements of the scratch from one window to the next */                          \
    ONE(pitch) /* and from one row to the next */                                                 \
    ONE(band) ONE(slice) /* output rows, and channels of a group, of a unit */                    \
    ONE(form) ONE(input_zero_point) ONE(out_bytes) OUTPUT_STAGE(ONE)
PARAMETERS(conv_rows_parameters, CONV_ROWS_PARAMETERS);

#define CONV_WINOGRAD_PARAMETERS(ONE, RANKED)                                                     \
    ONE(in_height) ONE(in_width) ONE(out_height) ONE(out_width) ONE(pad_top) ONE(pad_left)        \
    ONE(depth) ONE(outputs) ONE(out_depth)                                                        \
    ONE(place) /* elements of the scratch from one place of squares to the next */                \
    ONE(squares) ONE(slice) /* and channels of a unit */                                          \
    ONE(form) ONE(input_zero_point) ONE(out_bytes) OUTPUT_STAGE(ONE)
PARAMETERS(conv_winograd_parameters, CONV_WINOGRAD_PARAMETERS);

#define CONV_FLAT_PARAMETERS(ONE, RANKED)                                                         \
    ONE(pixels) ONE(depth) ONE(outputs) ONE(out_depth) ONE(steps)                                 \
    ONE(tile) ONE(slice) /* pixels and channels of a unit */                                      \
    ONE(backwards) ONE(form) ONE(out_bytes) OUTPUT_STAGE(ONE)
PARAMETERS(conv_flat_parameters, CONV_FLAT_PARAMETERS);

#define CONV_PIXEL_PARAMETERS(ONE, RANKED)                                                        \
    CONV_FLAT_PARAMETERS(ONE, RANKED) ONE(lead) /* bits by which sums are shifted to the left */
PARAMETERS(conv_pixel_parameters, CONV_PIXEL_PARAMETERS);

/* For sums that may exceed 32 bits: see wide_sums.h. */
#define WIDE_PARAMETERS(ONE)                                                                      \
    ONE(planes) /* of weights: one, or low and high bytes */                                      \
    ONE(part_rows) ONE(part_steps) /* whose products surely fit 32 bits together */

#define CONV_ROWS_S16_PARAMETERS(ONE, RANKED)                                                     \
    CONV_ROWS_PARAMETERS(ONE, RANKED) WIDE_PARAMETERS(ONE)
PARAMETERS(conv_rows_s16_parameters, CONV_ROWS_S16_PARAMETERS);

#define CONV_FLAT_S16_PARAMETERS(ONE, RANKED)                                                     \
    CONV_FLAT_PARAMETERS(ONE, RANKED) WIDE_PARAMETERS(ONE)
PARAMETERS(conv_flat_s16_parameters, CONV_FLAT_S16_PARAMETERS);

#define DEPTHWISE_PARAMETERS(ONE, RANKED)                                                         \
    ONE(in_height) ONE(in_width) ONE(out_height) ONE(out_width) ONE(channels)                     \
    ONE(kernel_height) ONE(kernel_width) ONE(stride_height) ONE(stride_width)                     \
    ONE(dilation_height) ONE(dilation_width) ONE(pad_top) ONE(pad_left)                           \
    ONE(weight_bytes) ONE(input_zero_point) ONE(out_bytes) OUTPUT_STAGE(ONE)
PARAMETERS(depthwise_parameters, DEPTHWISE_PARAMETERS);

#define DEPTHWISE_LINES_PARAMETERS(ONE, RANKED)                                                   \
    ONE(in_height) ONE(in_width) ONE(out_height) ONE(out_width) ONE(depth)                        \
    ONE(kernel_height) ONE(kernel_width) ONE(stride_height) ONE(stride_width)                     \
    ONE(dilation_height) ONE(dilation_width) ONE(pad_top) ONE(pad_left)                           \
    ONE(pixels) ONE(channels) ONE(pixel_stride) /* of a row, as the kernel sees it */             \
    ONE(block) /* channels at a time */                                                           \
    ONE(spacing) ONE(quads) ONE(lines) ONE(pitch) ONE(band)                                       \
    ONE(form) ONE(input_zero_point) ONE(out_bytes) OUTPUT_STAGE(ONE)
PARAMETERS(depthwise_lines_parameters, DEPTHWISE_LINES_PARAMETERS);

#define DEPTHWISE_LINES_S16_PARAMETERS(ONE, RANKED)                                               \
    DEPTHWISE_LINES_PARAMETERS(ONE, RANKED) ONE(planes)
PARAMETERS(depthwise_lines_s16_parameters, DEPTHWISE_LINES_S16_PARAMETERS);

#define POOL_PARAMETERS(ONE, RANKED)                                                              \
    ONE(bytes) ONE(in_height) ONE(in_width) ONE(out_height) ONE(out_width) ONE(channels)          \
    ONE(kernel_height) ONE(kernel_width) ONE(stride_height) ONE(stride_width)                     \
    ONE(dilation_height) ONE(dilation_width) ONE(pad_top) ONE(pad_left)
PARAMETERS(max_pool_parameters, POOL_PARAMETERS);

#define AVERAGE_POOL_PARAMETERS(ONE, RANKED)                                                      \
    POOL_PARAMETERS(ONE, RANKED) ONE(pad_bottom) ONE(pad_right) ONE(count_include_pad)            \
    ONE(input_zero_point) ONE(pad_value) ONE(out_bytes) OUTPUT_STAGE(ONE)
PARAMETERS(average_pool_parameters, AVERAGE_POOL_PARAMETERS);

/* Two operands broadcast to one output: strides of 0 where an operand has one element. */
#define BROADCAST_PARAMETERS(ONE, RANKED)                                                         \
    ONE(rank) RANKED(extents) RANKED(a_strides) RANKED(b_strides)                                 \
    ONE(a_bytes) ONE(b_bytes) ONE(out_bytes)

#define ADD_PARAMETERS(ONE, RANKED)                                                               \
    BROADCAST_PARAMETERS(ONE, RANKED) ONE(a_zero_point) ONE(b_zero_point) ONE(left_shift)         \
    ONE(a_multiplier) ONE(a_shift) ONE(b_multiplier) ONE(b_shift) ONE(multiplier) ONE(shift)      \
    ONE(subtract) OUTPUT_STAGE(ONE)
PARAMETERS(add_parameters, ADD_PARAMETERS);

/* As add, but what an operand's 8 bits become at the common scale stands in a table. */
#define ADD_S8_PARAMETERS(ONE, RANKED)                                                            \
    BROADCAST_PARAMETERS(ONE, RANKED) ONE(multiplier) ONE(shift) ONE(subtract) OUTPUT_STAGE(ONE)
PARAMETERS(add_s8_parameters, ADD_S8_PARAMETERS);

#define ADD_LINEAR_PARAMETERS(ONE, RANKED)                                                        \
    ONE(rank) RANKED(extents) RANKED(a_strides) RANKED(b_strides)                                 \
    ONE(a_factor) ONE(b_factor) ONE(offset) ONE(shift) ONE(lo) ONE(hi)
PARAMETERS(add_linear_parameters, ADD_LINEAR_PARAMETERS);

/* Of int16 alone; a shift that is 32 less, and what is added before it. */
#define ADD_S16_PARAMETERS(ONE, RANKED)                                                           \
    ONE(rank) RANKED(extents) RANKED(a_strides) RANKED(b_strides)                                 \
    ONE(a_multiplier) ONE(a_rounding) ONE(a_shift)                                                \
    ONE(b_multiplier) ONE(b_rounding) ONE(b_shift) ONE(subtract)                                  \
    ONE(multiplier) ONE(rounding) ONE(shift) ONE(lo) ONE(hi)
PARAMETERS(add_s16_parameters, ADD_S16_PARAMETERS);

#define MUL_PARAMETERS(ONE, RANKED)                                                               \
    BROADCAST_PARAMETERS(ONE, RANKED) ONE(a_zero_point) ONE(b_zero_point) ONE(multiplier)         \
    ONE(shift) OUTPUT_STAGE(ONE)
PARAMETERS(mul_parameters, MUL_PARAMETERS);

#define MUL_S8_PARAMETERS(ONE, RANKED)                                                            \
    ONE(rank) RANKED(extents) RANKED(a_strides) RANKED(b_strides)                                 \
    ONE(a_zero_point) ONE(b_zero_point)                                                           \
    ONE(lead) /* bits by which a product is shifted to the left */                                \
    ONE(multiplier) ONE(rounding) ONE(shift) ONE(lo) ONE(hi)
PARAMETERS(mul_s8_parameters, MUL_S8_PARAMETERS);

#define MUL_S16_PARAMETERS(ONE, RANKED)                                                           \
    ONE(rank) RANKED(extents) RANKED(a_strides) RANKED(b_strides)                                 \
    ONE(multiplier) ONE(rounding) ONE(shift) ONE(lo) ONE(hi) ONE(out_bytes)
PARAMETERS(mul_s16_parameters, MUL_S16_PARAMETERS);

/* See chain_s16.h. */
#define CHAIN_S16_PARAMETERS(ONE, RANKED) ONE(links) ONE(length)
PARAMETERS(chain_s16_parameters, CHAIN_S16_PARAMETERS);
#define CHAIN_BLOCK 128 /* elements that links hand on at a time, */
#define CHAIN_ROWS 16   /* and of how many values */

/* Products of matrices, whose strides say where each of them begins. */
#define MAT_MUL_PARAMETERS(ONE, RANKED)                                                           \
    ONE(rank) RANKED(extents) RANKED(a_strides) RANKED(b_strides)                                 \
    ONE(rows) ONE(depth) ONE(columns)                                                             \
    ONE(tile) ONE(panel) /* rows of a unit, columns that are packed together */                   \
    ONE(block) /* of mat_mul_wide: products whose sums are exact in doubles */                    \
    ONE(a_bytes) ONE(b_bytes) ONE(out_bytes) ONE(a_zero_point) ONE(b_zero_point)                  \
    ONE(is_short) ONE(lead) ONE(rounding) /* of mat_mul_words */                                  \
    ONE(multiplier) ONE(shift) OUTPUT_STAGE(ONE)
PARAMETERS(mat_mul_parameters, MAT_MUL_PARAMETERS);

#define EXTREME_PARAMETERS(ONE, RANKED) BROADCAST_PARAMETERS(ONE, RANKED) ONE(largest)
PARAMETERS(extreme_parameters, EXTREME_PARAMETERS);

/* In the order of IndexArithmetic.function. */
enum index_function {
    INDEX_ADD,
    INDEX_SUB,
    INDEX_MUL,
    INDEX_DIV,
    INDEX_MOD,
    INDEX_MAX,
    INDEX_MIN,
    INDEX_EQUAL,
    INDEX_GREATER
};
#define INDEX_ARITHMETIC_PARAMETERS(ONE, RANKED)                                                  \
    ONE(rank) RANKED(extents) RANKED(a_strides) RANKED(b_strides) ONE(function)
PARAMETERS(index_arithmetic_parameters, INDEX_ARITHMETIC_PARAMETERS);

#define RESCALE_PARAMETERS(ONE, RANKED)                                                           \
    ONE(in_bytes) ONE(out_bytes) ONE(input_zero_point) ONE(multiplier) ONE(shift)                 \
    OUTPUT_STAGE(ONE)
PARAMETERS(rescale_parameters, RESCALE_PARAMETERS);

#define PRELU_PARAMETERS(ONE, RANKED) RESCALE_PARAMETERS(ONE, RANKED) ONE(slopes)
PARAMETERS(prelu_parameters, PRELU_PARAMETERS);

#define LOOKUP_PARAMETERS(ONE, RANKED) ONE(in_bytes) ONE(out_bytes)
PARAMETERS(lookup_parameters, LOOKUP_PARAMETERS);

/* The first `kept` axes are the output's, the others are reduced; strides are the input's. */
#define REDUCE_PARAMETERS(ONE, RANKED)                                                            \
    ONE(kept) ONE(rank) RANKED(extents) RANKED(strides) ONE(in_bytes)
#define REDUCE_SUM_PARAMETERS(ONE, RANKED)                                                        \
    REDUCE_PARAMETERS(ONE, RANKED) ONE(out_bytes) ONE(input_zero_point) ONE(multiplier)           \
    ONE(shift) OUTPUT_STAGE(ONE)
PARAMETERS(reduce_sum_parameters, REDUCE_SUM_PARAMETERS);

#define REDUCE_EXTREME_PARAMETERS(ONE, RANKED) REDUCE_PARAMETERS(ONE, RANKED) ONE(largest)
PARAMETERS(reduce_extreme_parameters, REDUCE_EXTREME_PARAMETERS);

/* Weighted sums of neighbours: of `row_taps` rows and of `column_taps` columns. */
#define RESIZE_PARAMETERS(ONE, RANKED)                                                            \
    ONE(bytes) ONE(in_height) ONE(in_width) ONE(out_height) ONE(out_width) ONE(channels)          \
    ONE(row_taps) ONE(column_taps) ONE(input_zero_point) ONE(multiplier) ONE(shift)               \
    ONE(plain_shift) /* by which alone the sums are divided, of int8 in 32 bits; or 0 */          \
    ONE(out_bytes) OUTPUT_STAGE(ONE)
PARAMETERS(resize_parameters, RESIZE_PARAMETERS);

#define REDUCE_L2_PARAMETERS(ONE, RANKED)                                                         \
    REDUCE_SUM_PARAMETERS(ONE, RANKED) ONE(fraction)
PARAMETERS(reduce_l2_parameters, REDUCE_L2_PARAMETERS);

#define NORMALIZE_PARAMETERS(ONE, RANKED)                                                         \
    REDUCE_PARAMETERS(ONE, RANKED) ONE(out_bytes) ONE(input_zero_point)                           \
    ONE(count) ONE(count_bits) /* of the elements of a group, and how many bits that has */       \
    ONE(measure) ONE(epsilon) ONE(exponent) ONE(is_least) ONE(fraction)                           \
    ONE(channels) ONE(inner) /* elements side by side of one channel */                           \
    ONE(step) /* from the channel of an element to its neighbour's */                             \
    ONE(shift) OUTPUT_STAGE(ONE)
PARAMETERS(normalize_parameters, NORMALIZE_PARAMETERS);

/* An axis of `extent` elements that stand `inner` apart. */
#define AXIS_PARAMETERS(ONE, RANKED) ONE(bytes) ONE(extent) ONE(inner)
PARAMETERS(softmax_parameters, AXIS_PARAMETERS);

#define ARGMAX_PARAMETERS(ONE, RANKED) AXIS_PARAMETERS(ONE, RANKED) ONE(last)
PARAMETERS(argmax_parameters, ARGMAX_PARAMETERS);

#define TOP_INDICES_PARAMETERS(ONE, RANKED) AXIS_PARAMETERS(ONE, RANKED) ONE(count) ONE(largest)
PARAMETERS(top_indices_parameters, TOP_INDICES_PARAMETERS);

#define NON_MAX_SUPPRESSION_PARAMETERS(ONE, RANKED)                                               \
    ONE(box_bytes) ONE(score_bytes) ONE(samples) ONE(classes) ONE(places)                         \
    ONE(count) ONE(overlap) ONE(above) ONE(centered)
PARAMETERS(non_max_suppression_parameters, NON_MAX_SUPPRESSION_PARAMETERS);

/* The extents are those of the indices, the strides those of data, 0 along the axis. */
#define GATHER_ELEMENTS_PARAMETERS(ONE, RANKED)                                                   \
    ONE(bytes) ONE(rank) RANKED(extents) RANKED(strides) ONE(extent) ONE(stride)
PARAMETERS(gather_elements_parameters, GATHER_ELEMENTS_PARAMETERS);

#define GATHER_PARAMETERS(ONE, RANKED) AXIS_PARAMETERS(ONE, RANKED) ONE(indices) ONE(least)
PARAMETERS(gather_parameters, GATHER_PARAMETERS);

#define COPY_PARAMETERS(ONE, RANKED)                                                              \
    ONE(bytes) ONE(rank) RANKED(extents) RANKED(in_strides) RANKED(out_strides)                   \
    ONE(in_start) ONE(out_start)
PARAMETERS(copy_parameters, COPY_PARAMETERS);

#define FILL_PARAMETERS(ONE, RANKED) ONE(bytes) ONE(value)
PARAMETERS(fill_parameters, FILL_PARAMETERS);

#define TAKE_PARAMETERS(ONE, RANKED)                                                              \
    ONE(bytes) ONE(rank) RANKED(extents) ONE(run) ONE(outer_stride)
PARAMETERS(take_parameters, TAKE_PARAMETERS);

/* clang-format on */

#define KERNEL(name)                                                                              \
    int name(const void *parameters, void *const *operands, int64_t begin, int64_t end,           \
             void *scratch)

/* Kernels that are plain loops, with the lists of their parameters: every instruction set has
 * them. */
/* clang-format off */
#define EACH_LOOP(ENTRY, isa)                                                                     \
    ENTRY(isa, add, add) ENTRY(isa, add_s8, add_s8) ENTRY(isa, argmax, argmax)                    \
    ENTRY(isa, average_pool, average_pool) ENTRY(isa, copy, copy) ENTRY(isa, div, mul)            \
    ENTRY(isa, extreme, extreme) ENTRY(isa, fill, fill) ENTRY(isa, gather, gather)                \
    ENTRY(isa, index_arithmetic, index_arithmetic)                                                \
    ENTRY(isa, lookup, lookup) ENTRY(isa, lookup_interpolated, lookup)                            \
    ENTRY(isa, mat_mul_wide, mat_mul) ENTRY(isa, mat_mul_words, mat_mul)                          \
    ENTRY(isa, max_pool, max_pool) ENTRY(isa, mul, mul)                                           \
    ENTRY(isa, normalize, normalize) ENTRY(isa, prelu, prelu)                                     \
    ENTRY(isa, reduce_extreme, reduce_extreme) ENTRY(isa, reduce_l2, reduce_l2)                   \
    ENTRY(isa, reduce_sum, reduce_sum)                                                            \
    ENTRY(isa, rescale, rescale) ENTRY(isa, resize, resize)                                       \
    ENTRY(isa, softmax_s16, softmax) ENTRY(isa, softmax_s8, softmax) ENTRY(isa, take, take)

/* Those that no vectors would make faster. */
#define EACH_PLAIN_LOOP(ENTRY, isa)                                                               \
    ENTRY(isa, gather_elements, gather_elements)                                                  \
    ENTRY(isa, non_max_suppression, non_max_suppression) ENTRY(isa, top_indices, top_indices)

/* Those in whose place instruction sets have kernels of their own. */
#define EACH_SCALAR_LOOP(ENTRY, isa)                                                              \
    ENTRY(isa, add_linear, add_linear) ENTRY(isa, add_s16, add_s16) ENTRY(isa, conv_s16_acc32, conv)                                 \
    ENTRY(isa, conv_s16_acc64, conv) ENTRY(isa, conv_s8, conv)                                    \
    ENTRY(isa, depthwise_s16_acc32, depthwise) ENTRY(isa, depthwise_s16_acc64, depthwise)         \
    ENTRY(isa, depthwise_s8, depthwise)

/* Sums and products in short forms, for the instruction sets that have them. */
#define EACH_PAIR(ENTRY, isa)                                                                     \
    ENTRY(isa, add_linear, add_linear) ENTRY(isa, add_s16, add_s16) ENTRY(isa, mul_s16, mul_s16)     \
    ENTRY(isa, mul_s8, mul_s8)

/* Tables of 256 bytes, for the instruction sets that look up many at a time. */
#define EACH_TABLE(ENTRY, isa) ENTRY(isa, lookup_s8, lookup)

/* Those of layers on packed weights, for the instruction sets that have them. */
#define EACH_CONV(ENTRY, isa) ENTRY(isa, conv_flat, conv_flat) ENTRY(isa, conv_rows, conv_rows)
#define EACH_LAYER(ENTRY, isa)                                                                    \
    EACH_CONV(ENTRY, isa) ENTRY(isa, depthwise_lines, depthwise_lines)
#define EACH_CONV_S16(ENTRY, isa)                                                                 \
    ENTRY(isa, conv_flat_s16, conv_flat_s16) ENTRY(isa, conv_rows_s16, conv_rows_s16)
#define EACH_LAYER_S16(ENTRY, isa)                                                                \
    EACH_CONV_S16(ENTRY, isa) ENTRY(isa, depthwise_lines_s16, depthwise_lines_s16)
/* clang-format on */

#define DECLARE(isa, name, family) KERNEL(name##_##isa);
EACH_LOOP(DECLARE, scalar)
EACH_SCALAR_LOOP(DECLARE, scalar)
EACH_PLAIN_LOOP(DECLARE, scalar)
#ifdef HAS_X86_KERNELS
EACH_LOOP(DECLARE, avx2)
EACH_LAYER(DECLARE, avx2)
KERNEL(conv_winograd_avx2);
KERNEL(conv_pixel_avx2);
EACH_LAYER_S16(DECLARE, avx2)
EACH_PAIR(DECLARE, avx2)
EACH_TABLE(DECLARE, avx2)
KERNEL(chain_s16_avx2);
EACH_LAYER(DECLARE, avxvnni)
EACH_LAYER_S16(DECLARE, avxvnni)
int has_avxvnni(void);
EACH_LOOP(DECLARE, avx512vnni)
EACH_LAYER(DECLARE, avx512vnni)
EACH_LAYER_S16(DECLARE, avx512vnni)
EACH_PAIR(DECLARE, avx512vnni)
KERNEL(chain_s16_avx512vnni);
EACH_TABLE(DECLARE, avx512vbmi)
#endif
#ifdef HAS_AMX_KERNELS
EACH_CONV(DECLARE, amx)
EACH_CONV_S16(DECLARE, amx)
int has_amx(void);
#endif
#ifdef HAS_NEON_KERNELS
EACH_LAYER(DECLARE, neondot)
EACH_LAYER(DECLARE, neon)
int has_neondot(void);
#endif

/* For bodies that a kernel instantiates once a width: the width is then a constant in each. */
#ifdef _MSC_VER
#define EACH_WIDTH static __forceinline
#else
#define EACH_WIDTH static inline __attribute__((always_inline))
#endif

/* Element `index` of an array whose elements are `bytes` wide. */
EACH_WIDTH int64_t load(const void *array, int64_t index, int64_t bytes)
{
    switch (bytes) {
    case 1:
        return ((const int8_t *)array)[index];
    case 2:
        return ((const int16_t *)array)[index];
    case 4:
        return ((const int32_t *)array)[index];
    default:
        return ((const int64_t *)array)[index];
    }
}

EACH_WIDTH void store(void *array, int64_t index, int64_t bytes, int64_t value)
{
    switch (bytes) {
    case 1:
        ((int8_t *)array)[index] = (int8_t)value;
        break;
    case 2:
        ((int16_t *)array)[index] = (int16_t)value;
        break;
    case 4:
        ((int32_t *)array)[index] = (int32_t)value;
        break;
    default:
        ((int64_t *)array)[index] = value;
    }
}

/* The address of element `index`. */
static inline void *element(const void *array, int64_t index, int64_t bytes)
{
    return (char *)array + index * bytes;
}

/* Where row `row` starts: the sum of index * stride over the first `axes` axes. */
static inline int64_t row_start(int64_t row, int64_t axes, const int64_t *extents,
                                const int64_t *strides)
{
    int64_t start = 0;
    for (int64_t axis = axes - 1; axis > 0; --axis) {
        start += row % extents[axis] * strides[axis];
        row /= extents[axis];
    }
    return axes > 0 ? start + row * strides[0] : start;
}

#endif
