/* The plain loops with AVX-512. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#include <string.h>
#ifdef __clang__
#pragma clang attribute push(                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma"))),                 \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,prefer-vector-width=512")
#endif

#include "stage_avx512.h"

#define LOOP(name) name##_avx512vnni
#define HAS_FUSED_SUMS 1

/* For loops_matmul.h. Standard C keeps the compiler from fusing what need not be. */
typedef __m512i integers;
typedef double wide_factor;
typedef __m512d wide_factors;
#define add_word_products(acc, pair, from)                                                        \
    _mm512_dpwssd_epi32(acc, _mm512_set1_epi32(pair), _mm512_loadu_si512(from))
static inline integers short_products(integers acc, const mat_mul_parameters *p)
{
    return short_stage(_mm512_sll_epi32(acc, _mm_cvtsi32_si128((int)p->lead)),
                       _mm512_set1_epi32((int)p->multiplier), _mm512_set1_epi32((int)p->rounding),
                       _mm512_set1_epi32((int)p->shift));
}
#define add_wide_products(acc, factor, from)                                                      \
    _mm512_fmadd_pd(_mm512_set1_pd(factor), _mm512_loadu_pd(from), acc)

#include "loops.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
