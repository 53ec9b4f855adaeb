/* Convolutions and dense layers of int8 with AVX2: 16 products of 16 bits an instruction. */

#include <string.h>

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include "conv_tile.h"
#include "stage_avx2.h"

typedef int16_t value;
typedef int16_t weight;

#define CONV(name) name##_avx2
#define LANES 8
#define TAPS 2
#define REGISTERS 16
#define OFFSET 0
#define TAKES_X 0

static inline void copy_elements(value *restrict to, const int8_t *restrict x, int64_t count)
{
    for (int64_t i = 0; i < count; ++i)
        to[i] = x[i];
}

static inline void fill_elements(value *to, value with, int64_t count)
{
    for (int64_t i = 0; i < count; ++i)
        to[i] = with;
}

/* acc += pairs of products. The empty assembly keeps gcc from summing two of them first, in
 * registers that it does not have. */
#define ADD_PRODUCTS(acc, x, w)                                                                   \
    do {                                                                                          \
        acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x, w));                                     \
        __asm__("" : "+x"(acc));                                                                  \
    } while (0)

#define ODD_STEPS_BELOW 0 /* there are no registers for them */

static inline vector broadcast_taps(const value *x)
{
    int32_t pair;
    memcpy(&pair, x, sizeof pair);
    return _mm256_set1_epi32(pair);
}

#include "conv_tiles.h"

#include "conv_blocks.h"
#include "conv_rows.h"

/* Two rows into lanes of two. */
static inline void interleave(void *to, const int8_t *const *rows, int64_t count)
{
    value *pairs = to;
    for (int64_t i = 0; i < count; ++i) {
        pairs[2 * i] = rows[0][i];
        pairs[2 * i + 1] = rows[1][i];
    }
}

#include "depthwise_lines.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
