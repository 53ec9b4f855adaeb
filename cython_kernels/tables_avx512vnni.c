/* Tables of 513 knots in AVX-512: what tables_avx2.c does, for twice as many x. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))),     \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni")
#endif

static inline __m256i interpolated(const int16_t *middle, __m256i x)
{
    const __m512i wide = _mm512_cvtepi16_epi32(x);
    const __m512i pairs =
        _mm512_i32gather_epi32(_mm512_srai_epi32(wide, 7), middle, sizeof *middle);
    const __m512i r = _mm512_and_si512(wide, _mm512_set1_epi32(127));
    const __m512i rest = _mm512_sub_epi32(_mm512_set1_epi32(128), r);
    const __m512i weights = _mm512_or_si512(rest, _mm512_slli_epi32(r, 16));
    const __m512i sum = _mm512_dpwssd_epi32(_mm512_set1_epi32(64), pairs, weights);
    return _mm512_cvtepi32_epi16(_mm512_srai_epi32(sum, 7));
}

/* Operands: x, 513 knots, y, all int16. A unit is an element; fixedpoint.interpolate_16. */
KERNEL(interpolate_s16_avx512vnni)
{
    const int16_t *x = operands[0], *middle = (const int16_t *)operands[1] + 256;
    int16_t *y = operands[2];
    int64_t i = begin;
    for (; i + 16 <= end; i += 16)
        _mm256_storeu_si256((__m256i *)(y + i),
                            interpolated(middle, _mm256_loadu_si256((const __m256i *)(x + i))));
    const __mmask16 rest = (__mmask16)((1U << (end - i)) - 1);
    if (rest != 0)
        _mm256_mask_storeu_epi16(y + i, rest,
                                 interpolated(middle, _mm256_maskz_loadu_epi16(rest, x + i)));
    return DONE;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
