/* The plain loops with AVX2. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define LOOP(name) name##_avx2
#define HAS_FUSED_SUMS 1

/* For loops_matmul.h: standard C keeps the compiler from fusing what need not be. */
typedef __m256 floats;
typedef __m256d doubles;
#define add_float_products(acc, factor, from)                                                     \
    _mm256_fmadd_ps(_mm256_set1_ps(factor), _mm256_loadu_ps(from), acc)
#define add_double_products(acc, factor, from)                                                    \
    _mm256_fmadd_pd(_mm256_set1_pd(factor), _mm256_loadu_pd(from), acc)

#include "loops.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
