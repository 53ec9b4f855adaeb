/* The table of kernels: the names by which a Plan calls them, an entry an instruction set. */

#include "kernels.h"

#define NAME_ONE(name) {#name, 1},
#define NAME_RANKED(name) {#name, MAX_RANK},
#define NAMES(family, LIST)                                                                       \
    static const parameter family##_names[] = {LIST(NAME_ONE, NAME_RANKED){NULL, 0}}

NAMES(add, ADD_PARAMETERS);
NAMES(add_s8, ADD_S8_PARAMETERS);
NAMES(argmax, ARGMAX_PARAMETERS);
NAMES(average_pool, AVERAGE_POOL_PARAMETERS);
NAMES(conv, CONV_PARAMETERS);
NAMES(copy, COPY_PARAMETERS);
NAMES(depthwise, DEPTHWISE_PARAMETERS);
NAMES(extreme, EXTREME_PARAMETERS);
NAMES(fill, FILL_PARAMETERS);
NAMES(gather, GATHER_PARAMETERS);
NAMES(lookup, LOOKUP_PARAMETERS);
NAMES(max_pool, POOL_PARAMETERS);
NAMES(mul, MUL_PARAMETERS);
NAMES(prelu, PRELU_PARAMETERS);
NAMES(reduce_extreme, REDUCE_EXTREME_PARAMETERS);
NAMES(reduce_sum, REDUCE_SUM_PARAMETERS);
NAMES(rescale, RESCALE_PARAMETERS);
NAMES(softmax, AXIS_PARAMETERS);
NAMES(take, TAKE_PARAMETERS);

#define SCALAR(name, family) {#name, "scalar", name, family##_names}

const kernel kernels[] = {
    SCALAR(add, add),
    SCALAR(add_s8, add_s8),
    SCALAR(argmax, argmax),
    SCALAR(average_pool, average_pool),
    SCALAR(conv_s16_acc32, conv),
    SCALAR(conv_s16_acc64, conv),
    SCALAR(conv_s8, conv),
    SCALAR(copy, copy),
    SCALAR(depthwise_s16_acc32, depthwise),
    SCALAR(depthwise_s16_acc64, depthwise),
    SCALAR(depthwise_s8, depthwise),
    SCALAR(extreme, extreme),
    SCALAR(fill, fill),
    SCALAR(gather, gather),
    SCALAR(lookup, lookup),
    SCALAR(lookup_interpolated, lookup),
    SCALAR(max_pool, max_pool),
    SCALAR(mul, mul),
    SCALAR(prelu, prelu),
    SCALAR(reduce_extreme, reduce_extreme),
    SCALAR(reduce_sum, reduce_sum),
    SCALAR(rescale, rescale),
    SCALAR(softmax_s16, softmax),
    SCALAR(softmax_s8, softmax),
    SCALAR(take, take),
    {NULL, NULL, NULL, NULL},
};
