/* Products of int8 in AVX-512. */

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

#define LANES 16

typedef __m512i vector;

typedef struct {
    vector a_zero_point, b_zero_point, multiplier, rounding, shift, lo, hi;
    __m128i lead;
} form;

static inline form form_of(const mul_s8_parameters *p, int64_t a_zero_point, int64_t b_zero_point)
{
    return (form){_mm512_set1_epi32((int)a_zero_point),  _mm512_set1_epi32((int)b_zero_point),
                  _mm512_set1_epi32((int)p->multiplier), _mm512_set1_epi32((int)p->rounding),
                  _mm512_set1_epi32((int)p->shift),      _mm512_set1_epi32((int)p->lo),
                  _mm512_set1_epi32((int)p->hi),         _mm_cvtsi32_si128((int)p->lead)};
}

static inline vector product(const form *f, vector a, vector b)
{
    const vector led = _mm512_sll_epi32(_mm512_sub_epi32(b, f->b_zero_point), f->lead);
    const vector acc = _mm512_mullo_epi32(_mm512_sub_epi32(a, f->a_zero_point), led);
    const vector y = short_stage(acc, f->multiplier, f->rounding, f->shift);
    return _mm512_min_epi32(_mm512_max_epi32(y, f->lo), f->hi);
}

static inline __mmask16 first(int64_t count)
{
    return (__mmask16)((1u << count) - 1);
}

static inline vector take(const int8_t *x)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)x));
}

static inline vector take_some(const int8_t *x, int64_t count)
{
    return _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first(count), x));
}

static inline vector repeat(int8_t x)
{
    return _mm512_set1_epi32(x);
}

static inline void give(int8_t *y, vector v)
{
    _mm_storeu_si128((__m128i *)y, _mm512_cvtepi32_epi8(v));
}

static inline void give_some(int8_t *y, vector v, int64_t count)
{
    _mm_mask_storeu_epi8(y, first(count), _mm512_cvtepi32_epi8(v));
}

#include "products.h"

KERNEL(mul_s8_avx512vnni)
{
    product_rows(parameters, operands, begin, end);
    return DONE;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
