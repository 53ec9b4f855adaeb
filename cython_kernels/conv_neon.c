/* Convolutions and dense layers of int8 with NEON: 8 products in two instructions, to 16 bits,
 * which none exceeds, and in pairs onto the sums. */

#include <string.h>

#include "kernels.h"

#ifdef HAS_NEON_KERNELS
#include <arm_neon.h>

#include "layer_s8.h"
#include "stage_neon.h"

typedef int8_t value;
typedef int8_t weight;

#define CONV(name) name##_neon
#define LANES 4
#define TAPS 2
#define REGISTERS 32
#define OFFSET 0
#define X_PLANES 1
#define TAKES_X 1
#define USUAL_STAGE short_stage
#define USUAL_FORM SHORT_FORM

#define ODD_STEPS_BELOW 4
/* The empty assembly keeps gcc from making all products of a step first, in registers that it does
 * not have. */
#define ADD_PRODUCTS(acc, x, w)                                                                   \
    do {                                                                                          \
        acc = vpadalq_s16(acc, vmull_s8(x, w));                                                   \
        __asm__ volatile("" : "+w"(acc));                                                         \
    } while (0)

typedef int8x8_t factors;

static inline factors load_factors(const void *from)
{
    return vld1_s8(from);
}

static inline factors broadcast_taps(const value *x)
{
    int16_t pair;
    memcpy(&pair, x, sizeof pair);
    return vreinterpret_s8_s16(vdup_n_s16(pair));
}

#include "conv_tiles.h"

#include "conv_blocks.h"
#include "conv_rows.h"

/* Two rows into lanes of two. */
static inline void interleave(void *to, const int8_t *const *rows, int64_t count)
{
    value *pairs = to;
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const int8x16x2_t all = {{vld1q_s8(rows[0] + i), vld1q_s8(rows[1] + i)}};
        vst2q_s8(pairs + 2 * i, all);
    }
    for (; i < count; ++i)
        EACH (k, 2)
            pairs[2 * i + k] = rows[k][i];
}

#include "depthwise_lines.h"

#endif
