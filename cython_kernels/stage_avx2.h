/* The end of a layer in AVX2: accumulators of 8 channels into its integers, as stage_avx512.h
 * says; the long form is the scalar one, a lane at a time. */

#ifndef EDGEINFER_STAGE_AVX2_H
#define EDGEINFER_STAGE_AVX2_H

#include <immintrin.h>

#include "conv_tile.h"

typedef __m256i vector;
typedef __m256i factors;

static inline factors load_factors(const void *x)
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

static inline vector subtract_vectors(vector a, vector b)
{
    return _mm256_sub_epi32(a, b);
}

static inline vector splat(int64_t x)
{
    return _mm256_set1_epi32((int)x);
}

static inline vector load_words(const int16_t *x)
{
    return _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)x));
}

static inline vector raise_words(vector x)
{
    return _mm256_slli_epi32(x, 16);
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

/* ---- sums beyond 32 bits: see wide_sums.h ---- */

typedef struct {
    __m256d low, high; /* lanes */
} wide;

static inline wide wide_of(const __m256i *acc, int planes)
{
    wide sums = {_mm256_cvtepi32_pd(_mm256_castsi256_si128(acc[0])),
                 _mm256_cvtepi32_pd(_mm256_extracti128_si256(acc[0], 1))};
    if (planes == 2) {
        const __m256d scale = _mm256_set1_pd(256);
        const __m256d low = _mm256_cvtepi32_pd(_mm256_castsi256_si128(acc[1]));
        const __m256d high = _mm256_cvtepi32_pd(_mm256_extracti128_si256(acc[1], 1));
        sums.low = _mm256_fmadd_pd(low, scale, sums.low);
        sums.high = _mm256_fmadd_pd(high, scale, sums.high);
    }
    return sums;
}

static inline wide load_wide(const double *sums)
{
    return (wide){_mm256_loadu_pd(sums), _mm256_loadu_pd(sums + 4)};
}

static inline void store_wide(double *sums, wide with)
{
    _mm256_storeu_pd(sums, with.low);
    _mm256_storeu_pd(sums + 4, with.high);
}

static inline wide add_wide(wide a, wide b)
{
    return (wide){_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
}

/* `call` is of a function that is no part of the caller, so nothing moves out of it. */
#define ROUNDING_DOWN(call)                                                                       \
    do {                                                                                          \
        const unsigned mode = _mm_getcsr();                                                       \
        _mm_setcsr((mode & ~(unsigned)_MM_ROUND_MASK) | _MM_ROUND_DOWN);                          \
        call;                                                                                     \
        _mm_setcsr(mode);                                                                         \
    } while (0)

/* As stage_avx512.h's. */
static inline __m256 wide_half(__m256d acc, const int32_t *factor, const output_stage *out)
{
    const __m256d zero = _mm256_set1_pd(WIDE_ZERO + (double)out->zero_point + 0.5);
    const __m256d lo = _mm256_set1_pd(WIDE_ZERO + (double)out->lo);
    const __m256d hi = _mm256_set1_pd(WIDE_ZERO + (double)out->hi);
    const __m256d y = _mm256_fmadd_pd(acc, _mm256_loadu_pd((const double *)factor), zero);
    return _mm256_castpd_ps(_mm256_min_pd(_mm256_max_pd(y, lo), hi));
}

static inline __m256i wide_stage(wide sums, const int32_t *stage, const output_stage *out)
{
    const int32_t *factors = stage + 8 * STAGE_FACTOR;
    const __m256i twice = _mm256_castps_si256(_mm256_shuffle_ps(
        wide_half(sums.low, factors, out), wide_half(sums.high, factors + 8, out), 0x88));
    return _mm256_srai_epi32(_mm256_permute4x64_epi64(twice, 0xd8), 1);
}

/* ---- stores ---- */

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
