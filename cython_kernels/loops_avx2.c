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
#include "loops.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
