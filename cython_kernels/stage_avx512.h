/* The end of a layer in AVX-512: accumulators of 16 channels into its integers.
 *
 * A stage is four vectors for 16 channels: bias, multiplier, rounding, shift. In the long form
 * shift is S, and 64 bits are kept to the end. The short form (catalogue/proofs/ says when) is one
 * of two. That of short_stage holds rounding 2^(S-33) + z 2^(S-32) and shift S - 32, and
 *
 *     R1(acc, M, S) + z = (hi32(acc M) + rounding) >> (S - 32)
 *
 * as floors of floors merge. That of float_stage, for layers of int8, holds bias, multiplier,
 * offset, remainder, three of them floats, and
 *
 *     R(acc, M, S) + z = floor(acc multiplier + (acc remainder + offset))
 *
 * where multiplier and remainder stand for M 2^-S, and bias and offset for z and the rounding.
 */

#ifndef EDGEINFER_STAGE_AVX512_H
#define EDGEINFER_STAGE_AVX512_H

#include <immintrin.h>
#include <string.h>

#include "conv_tile.h"

typedef __m512i vector;
typedef __m512i factors;

static inline factors load_factors(const void *x)
{
    return _mm512_loadu_si512(x);
}

/* The roundings down say so themselves. */
static inline unsigned round_down(void)
{
    return 0;
}

static inline void round_as_before(unsigned mode)
{
}

static inline vector zero_vector(void)
{
    return _mm512_setzero_si512();
}

static inline vector add_vectors(vector a, vector b)
{
    return _mm512_add_epi32(a, b);
}

static inline vector subtract_vectors(vector a, vector b)
{
    return _mm512_sub_epi32(a, b);
}

static inline vector splat(int64_t x)
{
    return _mm512_set1_epi32((int)x);
}

static inline vector load_words(const int16_t *x)
{
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)x));
}

static inline vector load_first_words(const int16_t *x, int64_t count)
{
    const __mmask16 first = (__mmask16)((1u << count) - 1);
    return _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(first, x));
}

static inline vector raise_words(vector x)
{
    return _mm512_slli_epi32(x, 16);
}

/* Pairs of words, of which one is 0. */
static inline vector multiply_words(vector a, vector b)
{
    return _mm512_madd_epi16(_mm512_and_si512(a, _mm512_set1_epi32(0xffff)), b);
}

static inline factors broadcast_taps(const void *x)
{
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm512_set1_epi32(quad);
}

static inline __m512i stage_vector(const int32_t *stage, int which)
{
    return _mm512_loadu_si512(stage + 16 * which);
}

/* Products of the even and of the odd lanes with their multipliers. */
static inline __m512i product_even(__m512i acc, __m512i multiplier)
{
    return _mm512_mul_epi32(acc, multiplier);
}

static inline __m512i product_odd(__m512i acc, __m512i multiplier)
{
    return _mm512_mul_epi32(_mm512_srli_epi64(acc, 32), _mm512_srli_epi64(multiplier, 32));
}

static inline __m512i short_stage(__m512i acc, __m512i multiplier, __m512i rounding, __m512i shift)
{
    const __m512i even = product_even(acc, multiplier), odd = product_odd(acc, multiplier);
    const __m512i high = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
    return _mm512_srav_epi32(_mm512_add_epi32(high, rounding), shift);
}

/* Both roundings down leave the floor of the exact sum, as integers are floats. */
static inline __m512i float_stage(__m512i acc, __m512i multiplier, __m512i offset,
                                  __m512i remainder)
{
    const __m512 x = _mm512_cvtepi32_ps(acc);
    const __m512 rest =
        _mm512_fmadd_ps(x, _mm512_castsi512_ps(remainder), _mm512_castsi512_ps(offset));
    const __m512 y = _mm512_fmadd_round_ps(x, _mm512_castsi512_ps(multiplier), rest,
                                           _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    return _mm512_cvt_roundps_epi32(y, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

/* One half of the lanes in 64 bits, clamped there. */
static inline __m512i long_half(__m512i product, __m512i shift, const output_stage *out)
{
    const __m512i one = _mm512_set1_epi64(1);
    __m512i rounding = _mm512_sllv_epi64(one, _mm512_sub_epi64(shift, one));
    if (out->twice) {
        const __m512i tie = _mm512_set1_epi64(INT64_C(1) << 30);
        const __mmask8 late = _mm512_cmpgt_epi64_mask(shift, _mm512_set1_epi64(31));
        const __mmask8 negative = _mm512_movepi64_mask(product);
        rounding = _mm512_mask_add_epi64(rounding, late & (__mmask8)~negative, rounding, tie);
        rounding = _mm512_mask_sub_epi64(rounding, late & negative, rounding, tie);
    }
    __m512i y = _mm512_srav_epi64(_mm512_add_epi64(product, rounding), shift);
    y = _mm512_add_epi64(y, _mm512_set1_epi64(out->zero_point));
    y = _mm512_max_epi64(y, _mm512_set1_epi64(out->lo));
    return _mm512_min_epi64(y, _mm512_set1_epi64(out->hi));
}

static inline __m512i long_stage(__m512i acc, const int32_t *stage, const output_stage *out)
{
    const __m512i multiplier = stage_vector(stage, STAGE_MULTIPLIER);
    const __m512i shift = stage_vector(stage, STAGE_SHIFT);
    const __m512i even =
        long_half(product_even(acc, multiplier), _mm512_maskz_mov_epi32(0x5555, shift), out);
    const __m512i odd = long_half(product_odd(acc, multiplier), _mm512_srli_epi64(shift, 32), out);
    return _mm512_mask_shuffle_epi32(even, 0xaaaa, odd, _MM_PERM_CCAA);
}

/* ---- sums beyond 32 bits: see wide_sums.h ---- */

typedef struct {
    __m512d low, high; /* lanes */
} wide;

static inline wide wide_of(const __m512i *acc, int planes)
{
    wide sums = {_mm512_cvtepi32_pd(_mm512_castsi512_si256(acc[0])),
                 _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(acc[0], 1))};
    if (planes == 2) {
        const __m512d scale = _mm512_set1_pd(256);
        const __m512d low = _mm512_cvtepi32_pd(_mm512_castsi512_si256(acc[1]));
        const __m512d high = _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(acc[1], 1));
        sums.low = _mm512_fmadd_pd(low, scale, sums.low);
        sums.high = _mm512_fmadd_pd(high, scale, sums.high);
    }
    return sums;
}

static inline wide load_wide(const double *sums)
{
    return (wide){_mm512_loadu_pd(sums), _mm512_loadu_pd(sums + 8)};
}

static inline void store_wide(double *sums, wide with)
{
    _mm512_storeu_pd(sums, with.low);
    _mm512_storeu_pd(sums + 8, with.high);
}

static inline wide add_wide(wide a, wide b)
{
    return (wide){_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)};
}

static inline wide scale_wide(wide sums, double by)
{
    const __m512d factor = _mm512_set1_pd(by);
    return (wide){_mm512_mul_pd(sums.low, factor), _mm512_mul_pd(sums.high, factor)};
}

/* Twice the integers, and more, in the lower halves of the lanes. Beside 1.5 2^51 the last bit of
 * a double is a half, so that one rounding down leaves floor(2 (acc M / 2^S + 1/2 + z)). */
static inline __m512i wide_half(__m512d acc, const int32_t *factor, const output_stage *out)
{
    const __m512d zero = _mm512_set1_pd(WIDE_ZERO + (double)out->zero_point + 0.5);
    const __m512d lo = _mm512_set1_pd(WIDE_ZERO + (double)out->lo);
    const __m512d hi = _mm512_set1_pd(WIDE_ZERO + (double)out->hi);
    const __m512d y = _mm512_fmadd_round_pd(acc, _mm512_loadu_pd((const double *)factor), zero,
                                            _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    return _mm512_castpd_si512(_mm512_min_pd(_mm512_max_pd(y, lo), hi));
}

static inline __m512i wide_stage(wide sums, const int32_t *stage, const output_stage *out)
{
    const __m512i lower =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const int32_t *factors = stage + 16 * STAGE_FACTOR;
    const __m512i twice = _mm512_permutex2var_epi32(wide_half(sums.low, factors, out), lower,
                                                    wide_half(sums.high, factors + 16, out));
    return _mm512_srai_epi32(twice, 1);
}

/* ---- stores ---- */

/* 16 `vectors` integers that saturate to 8 bits, as bytes in order. */
static inline __m512i packed_4(const __m512i *y)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i low = _mm512_packs_epi32(y[0], y[1]), high = _mm512_packs_epi32(y[2], y[3]);
    return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high));
}

static inline __m256i packed_2(const __m512i *y)
{
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    const __m512i words = _mm512_packs_epi32(y[0], y[1]);
    return _mm256_permutevar8x32_epi32(_mm512_cvtsepi16_epi8(words), order);
}

/* The same as 16-bit integers. */
static inline __attribute__((always_inline)) void
store_words(const conv_tile *t, const __m512i *y, int vectors, int64_t channels, char *to)
{
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    const __m512i lo = _mm512_set1_epi16((short)t->out.lo);
    const __m512i hi = _mm512_set1_epi16((short)t->out.hi);
    for (int v = 0; v < vectors; v += 2, to += 64) {
        const __m512i second = v + 1 < vectors ? y[v + 1] : y[v];
        __m512i words = _mm512_permutexvar_epi64(order, _mm512_packs_epi32(y[v], second));
        words = _mm512_min_epi16(_mm512_max_epi16(words, lo), hi);
        const int64_t left = channels - 16 * v;
        if (left >= 32)
            _mm512_storeu_si512(to, words);
        else if (left == 16)
            _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(words));
        else
            _mm512_mask_storeu_epi16(to, (__mmask32)((UINT64_C(1) << left) - 1), words);
    }
}

/* `channels` integers, of so many vectors, to memory. */
static inline __attribute__((always_inline)) void
store_pixel(const conv_tile *t, const __m512i *y, int vectors, int64_t channels, char *to)
{
    const int8_t lo = (int8_t)t->out.lo, hi = (int8_t)t->out.hi;
    if (t->out_bytes == 2) {
        store_words(t, y, vectors, channels, to);
        return;
    }
    const int whole = channels == 16 * vectors;
    if (vectors > 2) {
        const __m512i all[4] = {y[0], y[1], y[2], vectors > 3 ? y[3] : y[2]};
        __m512i bytes = packed_4(all);
        bytes =
            _mm512_min_epi8(_mm512_max_epi8(bytes, _mm512_set1_epi8(lo)), _mm512_set1_epi8(hi));
        if (whole && vectors == 4)
            _mm512_storeu_si512(to, bytes);
        else
            _mm512_mask_storeu_epi8(to, (UINT64_C(1) << channels) - 1, bytes);
    } else if (vectors == 2) {
        __m256i bytes = packed_2(y);
        bytes =
            _mm256_min_epi8(_mm256_max_epi8(bytes, _mm256_set1_epi8(lo)), _mm256_set1_epi8(hi));
        if (whole)
            _mm256_storeu_si256((__m256i *)to, bytes);
        else
            _mm256_mask_storeu_epi8(to, (__mmask32)((UINT64_C(1) << channels) - 1), bytes);
    } else {
        __m128i bytes = _mm512_cvtsepi32_epi8(y[0]);
        bytes = _mm_min_epi8(_mm_max_epi8(bytes, _mm_set1_epi8(lo)), _mm_set1_epi8(hi));
        if (whole)
            _mm_storeu_si128((__m128i *)to, bytes);
        else
            _mm_mask_storeu_epi8(to, (__mmask16)((1u << channels) - 1), bytes);
    }
}

#endif
