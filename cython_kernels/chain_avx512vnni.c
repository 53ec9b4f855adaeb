/* Chains of elementwise operators on int16 with AVX-512. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))),       \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")
#endif

#include "stage_avx512.h"

#define CHAIN chain_s16_avx512vnni
#define WORDS 32

static inline __mmask32 first_of(int64_t count)
{
    return (__mmask32)((UINT64_C(1) << count) - 1);
}

static inline vector take_words(const int16_t *x)
{
    return _mm512_loadu_si512(x);
}

static inline vector take_first_words(const int16_t *x, int64_t count)
{
    return _mm512_maskz_loadu_epi16(first_of(count), x);
}

static inline void put_words(int16_t *y, vector x)
{
    _mm512_storeu_si512(y, x);
}

static inline void put_first_words(int16_t *y, vector x, int64_t count)
{
    _mm512_mask_storeu_epi16(y, first_of(count), x);
}

static inline void put_bytes(char *y, vector x, int64_t count)
{
    _mm256_mask_storeu_epi8(y, first_of(count), _mm512_cvtepi16_epi8(x));
}

static inline vector splat_words(int x)
{
    return _mm512_set1_epi16((short)x);
}

static inline vector and_words(vector a, vector b)
{
    return _mm512_and_si512(a, b);
}

static inline vector add_words(vector a, vector b)
{
    return _mm512_add_epi16(a, b);
}

static inline vector subtract_words(vector a, vector b)
{
    return _mm512_sub_epi16(a, b);
}

static inline vector multiply_low(vector a, vector b)
{
    return _mm512_mullo_epi16(a, b);
}

static inline vector multiply_high(vector a, vector b)
{
    return _mm512_mulhi_epi16(a, b);
}

static inline vector halve_words(vector x, int bits)
{
    return _mm512_srai_epi16(x, (unsigned)bits);
}

static inline vector clamp_words(vector x, vector lo, vector hi)
{
    return _mm512_min_epi16(_mm512_max_epi16(x, lo), hi);
}

static inline vector interleave_low(vector a, vector b)
{
    return _mm512_unpacklo_epi16(a, b);
}

static inline vector interleave_high(vector a, vector b)
{
    return _mm512_unpackhi_epi16(a, b);
}

static inline vector pack_words(vector low, vector high)
{
    return _mm512_packs_epi32(low, high);
}

static inline vector multiply_pairs(vector a, vector b)
{
    return _mm512_madd_epi16(a, b);
}

static inline vector shift_right(vector x, vector by)
{
    return _mm512_srav_epi32(x, by);
}

typedef struct {
    vector low, high;
} word_sums;

static inline word_sums take_pairs(const int16_t *knots, vector at, int64_t count)
{
    const vector zero = zero_vector();
    return (word_sums){
        _mm512_i32gather_epi32(interleave_low(at, zero), knots, sizeof *knots),
        _mm512_i32gather_epi32(interleave_high(at, zero), knots, sizeof *knots),
    };
}

#include "chain_s16.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
