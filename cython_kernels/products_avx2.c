/* Products of int8 in AVX2. */

#include <string.h>

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#include "stage_avx2.h"

#define LANES 8

typedef __m256i vector;

typedef struct {
    vector a_zero_point, b_zero_point, multiplier, rounding, shift, lo, hi;
    __m128i lead;
} form;

static inline form form_of(const mul_s8_parameters *p, int64_t a_zero_point, int64_t b_zero_point)
{
    return (form){_mm256_set1_epi32((int)a_zero_point),  _mm256_set1_epi32((int)b_zero_point),
                  _mm256_set1_epi32((int)p->multiplier), _mm256_set1_epi32((int)p->rounding),
                  _mm256_set1_epi32((int)p->shift),      _mm256_set1_epi32((int)p->lo),
                  _mm256_set1_epi32((int)p->hi),         _mm_cvtsi32_si128((int)p->lead)};
}

static inline vector product(const form *f, vector a, vector b)
{
    const vector led = _mm256_sll_epi32(_mm256_sub_epi32(b, f->b_zero_point), f->lead);
    const vector acc = _mm256_mullo_epi32(_mm256_sub_epi32(a, f->a_zero_point), led);
    const vector y = short_stage(acc, f->multiplier, f->rounding, f->shift);
    return _mm256_min_epi32(_mm256_max_epi32(y, f->lo), f->hi);
}

static inline vector take(const int8_t *x)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)x));
}

static inline vector take_some(const int8_t *x, int64_t count)
{
    int8_t bytes[LANES] = {0};
    memcpy(bytes, x, (size_t)count);
    return take(bytes);
}

static inline vector repeat(int8_t x)
{
    return _mm256_set1_epi32(x);
}

static inline void give(int8_t *y, vector v)
{
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((__m128i *)y, _mm_packs_epi16(words, words));
}

static inline void give_some(int8_t *y, vector v, int64_t count)
{
    int8_t bytes[LANES];
    give(bytes, v);
    memcpy(y, bytes, (size_t)count);
}

#include "products.h"

KERNEL(mul_s8_avx2)
{
    product_rows(parameters, operands, begin, end);
    return DONE;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
