/* The plain loops for every processor, and those in whose place others have vectors by hand. */

#define LOOP(name) name##_scalar
#define HAS_FUSED_SUMS 0 /* not without a call */

/* For loops_matmul.h: vectors that the compiler makes of what the processor has. */
#ifdef __GNUC__
typedef float floats __attribute__((vector_size(16), aligned(4)));
typedef double doubles __attribute__((vector_size(16), aligned(8)));
#else
typedef float floats;
typedef double doubles;
#endif
#define add_float_products(acc, factor, from) ((acc) + (factor) * *(const floats *)(from))
#define add_double_products(acc, factor, from) ((acc) + (factor) * *(const doubles *)(from))

#include "loops.h"

#include "loops_conv.h"
#include "loops_depthwise.h"
#include "loops_linear.h"
#include "loops_select.h"
#include "loops_sum_s16.h"
