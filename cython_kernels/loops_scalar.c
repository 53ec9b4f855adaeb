/* The plain loops for every processor, and those in whose place others have vectors by hand. */

#define LOOP(name) name##_scalar
#define HAS_FUSED_SUMS 0 /* not without a call */
#include "loops.h"

#include "loops_conv.h"
#include "loops_depthwise.h"
#include "loops_linear.h"
#include "loops_sum_s16.h"
