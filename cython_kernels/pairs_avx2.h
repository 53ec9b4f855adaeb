/* Products of 16 bits in AVX2, two of which an instruction sums: what conv_tiles.h and
 * depthwise_lines.h ask for; but AVX-VNNI has its own ADD_PRODUCTS. */

#include <string.h>

#include "stage_avx2.h"

#ifndef ADD_PRODUCTS
/* acc += pairs of products. The empty assembly keeps gcc from summing two of them first, in
 * registers that it does not have. */
#define ADD_PRODUCTS(acc, x, w)                                                                   \
    do {                                                                                          \
        acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x, w));                                     \
        __asm__("" : "+x"(acc));                                                                  \
    } while (0)

#define ODD_STEPS_BELOW 0 /* there are no registers for them */
#endif

static inline factors broadcast_taps(const void *x)
{
    int32_t pair;
    memcpy(&pair, x, sizeof pair);
    return _mm256_set1_epi32(pair);
}

/* Two rows into lanes of two. */
static inline void interleave(void *to, const x_type *const *rows, int64_t count)
{
    value *pairs = to;
    for (int64_t i = 0; i < count; ++i) {
        pairs[2 * i] = rows[0][i];
        pairs[2 * i + 1] = rows[1][i];
    }
}
