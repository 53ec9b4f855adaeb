/* The plain loops for every processor, and those in whose place others have vectors by hand. */

#include <stdint.h>
#include <string.h>

#include "kernels.h"

#define LOOP(name) name##_scalar
#define HAS_FUSED_SUMS 0 /* not without a call */

/* For loops_matmul.h: vectors that the compiler makes of what the processor has. */
#ifdef __GNUC__
typedef int32_t integers __attribute__((vector_size(16), aligned(2)));
typedef uint32_t unsigned_integers __attribute__((vector_size(16)));
#else
typedef int32_t integers;
typedef uint32_t unsigned_integers;
#endif
#ifdef INTEGERS_ONLY
typedef int64_t wide_factor, wide_factors;
#elif defined(__GNUC__)
typedef double wide_factor;
typedef double wide_factors __attribute__((vector_size(16), aligned(8)));
#else
typedef double wide_factor, wide_factors;
#endif
#define add_wide_products(acc, factor, from) ((acc) + (factor) * *(const wide_factors *)(from))

/* One word of each pair of x's, sign and all. */
#define UPPER_WORDS(x) ((x) >> 16)
#define LOWER_WORDS(x) ((integers)((unsigned_integers)(x) << 16) >> 16)

static inline integers add_word_products(integers acc, int32_t pair, const int16_t *from)
{
    integers words;
    memcpy(&words, from, sizeof words);
    return acc + UPPER_WORDS(words) * UPPER_WORDS(pair) + LOWER_WORDS(words) * (int16_t)pair;
}

static inline integers short_products(integers acc, const mat_mul_parameters *p)
{
    int32_t sums[sizeof acc / sizeof(int32_t)];
    memcpy(sums, &acc, sizeof acc);
    for (size_t i = 0; i < sizeof acc / sizeof *sums; ++i) {
        const int64_t product = (int32_t)((uint32_t)sums[i] << p->lead) * p->multiplier;
        sums[i] = ((int32_t)(product >> 32) + (int32_t)p->rounding) >> p->shift;
    }
    memcpy(&acc, sums, sizeof acc);
    return acc;
}

#include "loops.h"

#include "loops_conv.h"
#include "loops_depthwise.h"
#include "loops_linear.h"
#include "loops_select.h"
#include "loops_sum_s16.h"
