/* The end of a layer in AVX2: accumulators of 8 channels into its integers, as stage_avx512.h
 * says; the long form is the scalar one, a lane at a time. */

#ifndef EDGEINFER_STAGE_AVX2_H
#define EDGEINFER_STAGE_AVX2_H

#include <immintrin.h>

#include "conv_tile.h"

static inline __m256i stage_vector(const int32_t *stage, int which)
{
    return _mm256_loadu_si256((const __m256i *)(stage + 8 * which));
}

static inline __m256i short_stage(__m256i acc, __m256i multiplier, __m256i rounding, __m256i shift)
{
    const __m256i even = _mm256_mul_epi32(acc, multiplier);
    const __m256i odd =
        _mm256_mul_epi32(_mm256_srli_epi64(acc, 32), _mm256_srli_epi64(multiplier, 32));
    const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    return _mm256_srav_epi32(_mm256_add_epi32(high, rounding), shift);
}

/* What the long form makes of one vector: integers that fit the output. */
static inline __m256i long_stage(__m256i acc, const int32_t *stage, const output_stage *out)
{
    int32_t lanes[8];
    _mm256_storeu_si256((__m256i *)lanes, acc);
    for (int i = 0; i < 8; ++i)
        lanes[i] = (int32_t)requantize(lanes[i], stage[8 * STAGE_MULTIPLIER + i],
                                       stage[8 * STAGE_SHIFT + i], *out);
    return _mm256_loadu_si256((const __m256i *)lanes);
}

#endif
