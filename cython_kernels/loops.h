/* Kernels that are plain loops: what the compiler makes of them differs by instruction set alone.
 *
 * A file for each instruction set includes this after LOOP(name), the name of its kernel `name`.
 */

#include <math.h>
#include <string.h>

#include "edges.h"
#include "kernels.h"
#include "requantize.h"

/* Elements of one turn do not depend on another's. */
#ifdef _MSC_VER
#define EACH_ELEMENT(i, count) __pragma(loop(ivdep)) for (int64_t i = 0; i < (count); ++i)
#elif defined(__clang__)
#define EACH_ELEMENT(i, count)                                                                    \
    _Pragma("clang loop vectorize(assume_safety)") for (int64_t i = 0; i < (count); ++i)
#else
#define EACH_ELEMENT(i, count) _Pragma("GCC ivdep") for (int64_t i = 0; i < (count); ++i)
#endif

#include "loops_sums.h"

#include "loops_broadcast.h"
#include "loops_edges.h"
#include "loops_matmul.h"
#include "loops_move.h"
#include "loops_normalize.h"
#include "loops_pointwise.h"
#include "loops_pool.h"
#include "loops_reduce.h"
#include "loops_resize.h"
