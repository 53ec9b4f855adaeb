/* Chains of elementwise operators on int16 with AVX2. */

#include <string.h>

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include "stage_avx2.h"

#define CHAIN chain_s16_avx2
#define WORDS 16

static inline vector take_words(const int16_t *x)
{
    return _mm256_loadu_si256((const __m256i *)x);
}

static inline void put_words(int16_t *y, vector x)
{
    _mm256_storeu_si256((__m256i *)y, x);
}

static inline vector splat_words(int x)
{
    return _mm256_set1_epi16((short)x);
}

static inline vector and_words(vector a, vector b)
{
    return _mm256_and_si256(a, b);
}

/* Loads know a mask of 32 bits; of an odd number the last comes by itself. */
static inline vector take_first_words(const int16_t *x, int64_t count)
{
    static const int32_t pairs[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    static const int16_t last[2 * WORDS - 1] = {[WORDS - 1] = -1};
    const __m256i mask = _mm256_loadu_si256((const __m256i *)(pairs + 8 - (uint64_t)count / 2));
    const __m256i even = _mm256_maskload_epi32((const int *)x, mask);
    if (count % 2 == 0)
        return even;
    const __m256i own = take_words(last + WORDS - count);
    return _mm256_or_si256(even, and_words(splat_words(x[count - 1]), own));
}

/* 16 bytes in pieces, of which each begins where the one before it ended. */
static inline void put_some(void *y, __m128i x, int64_t bytes)
{
    char *to = y;
    if (bytes & 16) {
        _mm_storeu_si128((__m128i *)to, x);
        return;
    }
    if (bytes & 8) {
        _mm_storel_epi64((__m128i *)to, x);
        x = _mm_unpackhi_epi64(x, x);
        to += 8;
    }
    if (bytes & 4) {
        const int32_t part = _mm_cvtsi128_si32(x);
        memcpy(to, &part, sizeof part);
        x = _mm_srli_epi64(x, 32);
        to += 4;
    }
    if (bytes & 3) {
        const int32_t part = _mm_cvtsi128_si32(x);
        memcpy(to, &part, 1);
        if (bytes & 2)
            memcpy(to, &part, 2);
        if ((bytes & 3) == 3)
            to[2] = (char)(part >> 16);
    }
}

static inline void put_first_words(int16_t *y, vector x, int64_t count)
{
    __m128i part = _mm256_castsi256_si128(x);
    if (count >= 8) {
        _mm_storeu_si128((__m128i *)y, part);
        part = _mm256_extracti128_si256(x, 1);
        y += 8;
        count -= 8;
    }
    put_some(y, part, 2 * count);
}

static inline void put_bytes(char *y, vector x, int64_t count)
{
    put_some(y, _mm_packs_epi16(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1)), count);
}

static inline vector add_words(vector a, vector b)
{
    return _mm256_add_epi16(a, b);
}

static inline vector subtract_words(vector a, vector b)
{
    return _mm256_sub_epi16(a, b);
}

static inline vector multiply_low(vector a, vector b)
{
    return _mm256_mullo_epi16(a, b);
}

static inline vector multiply_high(vector a, vector b)
{
    return _mm256_mulhi_epi16(a, b);
}

static inline vector halve_words(vector x, int bits)
{
    return _mm256_srai_epi16(x, bits);
}

static inline vector clamp_words(vector x, vector lo, vector hi)
{
    return _mm256_min_epi16(_mm256_max_epi16(x, lo), hi);
}

static inline vector interleave_low(vector a, vector b)
{
    return _mm256_unpacklo_epi16(a, b);
}

static inline vector interleave_high(vector a, vector b)
{
    return _mm256_unpackhi_epi16(a, b);
}

static inline vector pack_words(vector low, vector high)
{
    return _mm256_packs_epi32(low, high);
}

static inline vector multiply_pairs(vector a, vector b)
{
    return _mm256_madd_epi16(a, b);
}

static inline vector shift_right(vector x, vector by)
{
    return _mm256_srav_epi32(x, by);
}

typedef struct {
    vector low, high;
} word_sums;

/* Two knots at each of four places. A gather of as many takes a fifth longer. */
static inline __m128i four_pairs(const int16_t *knots, int64_t at)
{
    int32_t pairs[4];
    for (int i = 0; i < 4; ++i)
        memcpy(pairs + i, knots + (uint16_t)(at >> 16 * i), sizeof *pairs);
    return _mm_insert_epi32(
        _mm_insert_epi32(_mm_insert_epi32(_mm_cvtsi32_si128(pairs[0]), pairs[1], 1), pairs[2], 2),
        pairs[3], 3);
}

static inline word_sums take_pairs(const int16_t *knots, vector at, int64_t count)
{
    const __m128i first = _mm256_castsi256_si128(at), second = _mm256_extracti128_si256(at, 1);
    const __m128i low = four_pairs(knots, _mm_cvtsi128_si64(first));
    if (count <= 4)
        return (word_sums){_mm256_zextsi128_si256(low), zero_vector()};
    return (word_sums){
        _mm256_set_m128i(four_pairs(knots, _mm_cvtsi128_si64(second)), low),
        _mm256_set_m128i(four_pairs(knots, _mm_extract_epi64(second, 1)),
                         four_pairs(knots, _mm_extract_epi64(first, 1))),
    };
}

#include "chain_s16.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
