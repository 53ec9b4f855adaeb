/* The plain loops with AVX2. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#include <string.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include "stage_avx2.h"

#define LOOP(name) name##_avx2
#define HAS_FUSED_SUMS 1

/* For loops_matmul.h. Standard C keeps the compiler from fusing what need not be. */
typedef __m256i integers;
typedef double wide_factor;
typedef __m256d wide_factors;
/* The empty assembly keeps gcc from multiplying for all sums first, in registers that it does not
 * have. */
static inline integers add_word_products(integers acc, int32_t pair, const int16_t *from)
{
    const __m256i words = _mm256_loadu_si256((const __m256i *)from);
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_set1_epi32(pair), words));
    __asm__("" : "+x"(acc));
    return acc;
}

static inline integers short_products(integers acc, const mat_mul_parameters *p)
{
    return short_stage(_mm256_sll_epi32(acc, _mm_cvtsi32_si128((int)p->lead)),
                       _mm256_set1_epi32((int)p->multiplier), _mm256_set1_epi32((int)p->rounding),
                       _mm256_set1_epi32((int)p->shift));
}
#define add_wide_products(acc, factor, from)                                                      \
    _mm256_fmadd_pd(_mm256_set1_pd(factor), _mm256_loadu_pd(from), acc)

#include "loops.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
