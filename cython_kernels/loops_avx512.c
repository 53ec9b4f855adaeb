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
#include "loops.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
