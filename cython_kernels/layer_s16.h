/* What layers of int16 x are to conv_rows.h and depthwise_lines.h: sums may exceed 32 bits, so
 * weights may come as two planes and their products in parts: see wide_sums.h. */

#include "kernels.h"

typedef int16_t x_type;
typedef conv_rows_s16_parameters rows_parameters;
typedef conv_flat_s16_parameters flat_parameters;
typedef depthwise_lines_s16_parameters lines_parameters;

#define WIDE 1
#define PLANES(p) ((p)->planes)
#define PARTS(p) .part_rows = (p)->part_rows, .part_steps = (p)->part_steps
