/* The plain loops with AVX-512. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma"))),   \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,fma,prefer-vector-width=512")
#endif

#define LOOP(name) name##_avx512vnni
#define HAS_FUSED_SUMS 1

/* For loops_matmul.h: standard C keeps the compiler from fusing what need not be. */
typedef __m512 floats;
typedef __m512d doubles;
#define add_float_products(acc, factor, from)                                                     \
    _mm512_fmadd_ps(_mm512_set1_ps(factor), _mm512_loadu_ps(from), acc)
#define add_double_products(acc, factor, from)                                                    \
    _mm512_fmadd_pd(_mm512_set1_pd(factor), _mm512_loadu_pd(from), acc)

#include "loops.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
