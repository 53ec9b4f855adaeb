/* What layers of int8 x are to conv_rows.h and depthwise_lines.h: every sum fits 32 bits. */

#include "kernels.h"

typedef int8_t x_type;
typedef conv_rows_parameters rows_parameters;
typedef conv_flat_parameters flat_parameters;
typedef depthwise_lines_parameters lines_parameters;

#define WIDE 0
#define PLANES(p) 1
#define PARTS(p) .parts = NULL
