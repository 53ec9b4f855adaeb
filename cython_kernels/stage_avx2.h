/* The end of a layer in AVX2: accumulators of 8 channels into its integers, as stage_avx512.h
 * says; the long form is the scalar one, a lane at a time. */

#ifndef EDGEINFER_STAGE_AVX2_H
#define EDGEINFER_STAGE_AVX2_H

#include <immintrin.h>

#include "conv_tile.h"

typedef __m256i vector;

static inline vector load_vector(const void *x)
{
    return _mm256_loadu_si256(x);
}

static inline vector zero_vector(void)
{
    return _mm256_setzero_si256();
}

static inline vector add_vectors(vector a, vector b)
{
    return _mm256_add_epi32(a, b);
}

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

/* The integers of one pixel, `vectors` of them, to memory. */
static inline __attribute__((always_inline)) void store_pixel(const conv_tile *t, const __m256i *y,
                                                              int vectors, char *to)
{
    const __m256i second = vectors > 1 ? y[1] : y[0];
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(y[0], second), 0xd8);
    words = _mm256_max_epi16(words, _mm256_set1_epi16((short)t->out.lo));
    words = _mm256_min_epi16(words, _mm256_set1_epi16((short)t->out.hi));
    __m128i bytes[2] = {_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)};
    if (t->out_bytes == 1)
        bytes[0] = _mm_packs_epi16(bytes[0], bytes[1]);
    const int64_t size = t->channels * t->out_bytes;
    if (size == 32)
        _mm256_storeu_si256((__m256i *)to, words);
    else if (size == 16)
        _mm_storeu_si128((__m128i *)to, bytes[0]);
    else if (size == 8)
        _mm_storel_epi64((__m128i *)to, bytes[0]);
    else
        memcpy(to, bytes, (size_t)size);
}

#endif
