/* The end of a layer in AVX2: accumulators of 8 channels into its integers, as stage_avx512.h
 * says. */

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

/* A kernel whose tiles end in floats or doubles rounds down from its first to its last tile. What
 * ends them is called through pointers, or not inlined, so nothing moves out from between. */
static inline unsigned round_down(void)
{
    const unsigned mode = _mm_getcsr();
    _mm_setcsr((mode & ~(unsigned)_MM_ROUND_MASK) | _MM_ROUND_DOWN);
    return mode;
}

static inline void round_as_before(unsigned mode)
{
    _mm_setcsr(mode);
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

static inline vector quarter(vector a)
{
    return _mm256_srai_epi32(a, 2);
}

static inline vector splat(int64_t x)
{
    return _mm256_set1_epi32((int)x);
}

static inline vector load_words(const int16_t *x)
{
    return _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)x));
}

static inline vector load_first_words(const int16_t *x, int64_t count)
{
    int16_t words[8] = {0};
    memcpy(words, x, (size_t)count * sizeof *x);
    return load_words(words);
}

static inline vector raise_words(vector x)
{
    return _mm256_slli_epi32(x, 16);
}

/* Pairs of words, of which one is 0. */
static inline vector multiply_words(vector a, vector b)
{
    return _mm256_madd_epi16(_mm256_and_si256(a, _mm256_set1_epi32(0xffff)), b);
}

static inline __m256i stage_vector(const int32_t *stage, int which)
{
    return _mm256_loadu_si256((const __m256i *)(stage + 8 * which));
}

/* Products of the even and of the odd lanes with their multipliers. */
static inline __m256i product_even(__m256i acc, __m256i multiplier)
{
    return _mm256_mul_epi32(acc, multiplier);
}

static inline __m256i product_odd(__m256i acc, __m256i multiplier)
{
    return _mm256_mul_epi32(_mm256_srli_epi64(acc, 32), _mm256_srli_epi64(multiplier, 32));
}

static inline __m256i short_stage(__m256i acc, __m256i multiplier, __m256i rounding, __m256i shift)
{
    const __m256i even = product_even(acc, multiplier), odd = product_odd(acc, multiplier);
    const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    return _mm256_srav_epi32(_mm256_add_epi32(high, rounding), shift);
}

static inline __m256i float_stage(__m256i acc, __m256i multiplier, __m256i offset,
                                  __m256i remainder)
{
    const __m256 x = _mm256_cvtepi32_ps(acc);
    const __m256 rest =
        _mm256_fmadd_ps(x, _mm256_castsi256_ps(remainder), _mm256_castsi256_ps(offset));
    return _mm256_cvtps_epi32(_mm256_fmadd_ps(x, _mm256_castsi256_ps(multiplier), rest));
}

/* One half of the lanes in 64 bits, clamped there. */
static inline __m256i long_half(__m256i product, __m256i shift, const output_stage *out)
{
    const __m256i one = _mm256_set1_epi64x(1);
    __m256i rounding = _mm256_sllv_epi64(one, _mm256_sub_epi64(shift, one));
    if (out->twice) {
        const __m256i tie = _mm256_set1_epi64x(INT64_C(1) << 30);
        const __m256i late = _mm256_cmpgt_epi64(shift, _mm256_set1_epi64x(31));
        const __m256i negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), product);
        const __m256i away = _mm256_sub_epi64(_mm256_xor_si256(tie, negative), negative);
        rounding = _mm256_add_epi64(rounding, _mm256_and_si256(away, late));
    }
    /* AVX2 shifts no 64 bits with their sign: it goes with 2^63 above zero, and back */
    const __m256i above = _mm256_set1_epi64x(INT64_MIN);
    __m256i y = _mm256_xor_si256(_mm256_add_epi64(product, rounding), above);
    y = _mm256_sub_epi64(_mm256_srlv_epi64(y, shift), _mm256_srlv_epi64(above, shift));
    y = _mm256_add_epi64(y, _mm256_set1_epi64x(out->zero_point));
    const __m256i lo = _mm256_set1_epi64x(out->lo), hi = _mm256_set1_epi64x(out->hi);
    y = _mm256_blendv_epi8(y, lo, _mm256_cmpgt_epi64(lo, y));
    return _mm256_blendv_epi8(y, hi, _mm256_cmpgt_epi64(y, hi));
}

static inline __m256i long_stage(__m256i acc, const int32_t *stage, const output_stage *out)
{
    const __m256i multiplier = stage_vector(stage, STAGE_MULTIPLIER);
    const __m256i shift = stage_vector(stage, STAGE_SHIFT);
    const __m256i low = _mm256_blend_epi32(shift, _mm256_setzero_si256(), 0xaa);
    const __m256i even = long_half(product_even(acc, multiplier), low, out);
    const __m256i odd = long_half(product_odd(acc, multiplier), _mm256_srli_epi64(shift, 32), out);
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
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

/* `channels` integers, of so many vectors, to memory. */
static inline __attribute__((always_inline)) void
store_pixel(const conv_tile *t, const __m256i *y, int vectors, int64_t channels, char *to)
{
    const __m256i second = vectors > 1 ? y[1] : y[0];
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(y[0], second), 0xd8);
    words = _mm256_max_epi16(words, _mm256_set1_epi16((short)t->out.lo));
    words = _mm256_min_epi16(words, _mm256_set1_epi16((short)t->out.hi));
    __m128i bytes[2] = {_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)};
    if (t->out_bytes == 1)
        bytes[0] = _mm_packs_epi16(bytes[0], bytes[1]);
    const int64_t size = channels * t->out_bytes;
    if (size == 32)
        _mm256_storeu_si256((__m256i *)to, words);
    else if (size == 16)
        _mm_storeu_si128((__m128i *)to, bytes[0]);
    else if (size == 8)
        _mm_storel_epi64((__m128i *)to, bytes[0]);
    else if (size < 32) /* which it is, but gcc does not see it */
        memcpy(to, bytes, (size_t)size);
}

#endif
