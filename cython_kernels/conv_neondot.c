/* Convolutions and dense layers of int8 with NEON's dot product: 16 products an instruction. */

#include <string.h>

#include "kernels.h"

#ifdef HAS_NEON_KERNELS
#include <arm_neon.h>
#ifdef __linux__
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

#include "layer_s8.h"
#include "stage_neon.h"

typedef int8_t value;
typedef int8_t weight;

#define CONV(name) name##_neondot
#define LANES 4
#define TAPS 4
#define REGISTERS 32
#define OFFSET 0
#define X_PLANES 1
#define TAKES_X 1
#define USUAL_STAGE short_stage
#define USUAL_FORM SHORT_FORM

#define ODD_STEPS_BELOW 8
#define ADD_PRODUCTS(acc, x, w) __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(x), "w"(w))

typedef int8x16_t factors;

static inline factors load_factors(const void *from)
{
    return vld1q_s8(from);
}

static inline factors broadcast_taps(const value *x)
{
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}

#include "conv_tiles.h"

#include "conv_blocks.h"
#include "conv_rows.h"

/* Four rows into lanes of four. */
static inline void interleave(void *to, const int8_t *const *rows, int64_t count)
{
    value *quads = to;
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const int8x16x4_t all = {{vld1q_s8(rows[0] + i), vld1q_s8(rows[1] + i),
                                  vld1q_s8(rows[2] + i), vld1q_s8(rows[3] + i)}};
        vst4q_s8(quads + 4 * i, all);
    }
    for (; i < count; ++i)
        EACH (k, 4)
            quads[4 * i + k] = rows[k][i];
}

#include "depthwise_lines.h"

int has_neondot(void)
{
#ifdef __linux__
    return getauxval(AT_HWCAP) >> 20 & 1; /* HWCAP_ASIMDDP */
#elif defined(__APPLE__)
    int has = 0;
    size_t size = sizeof has;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, NULL, 0) == 0 && has;
#else
    return 0; /* nobody to ask */
#endif
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
