/* Sums and products of int8 in AVX-512. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))),                     \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#endif

#include "stage_avx512.h"

#define PAIR(name) name##_avx512vnni
#define PRODUCT_LANES 16
#define SUM_LANES 64

typedef __m512i product_vector;
typedef __m512i sum_vector;

typedef struct {
    __m512i a_zero_point, b_zero_point, multiplier, rounding, shift, lo, hi;
    __m128i lead;
} product_form;

typedef struct {
    __m512i high, low; /* both factors' parts: words, and bytes that meet the tops of words */
    __m512i offset, lo, hi;
    __m128i shift;
} sum_form;

static inline __mmask64 first(int64_t count)
{
    return ~UINT64_C(0) >> (64 - count);
}

/* ---- products ---- */

static inline product_form product_form_of(const mul_s8_parameters *p, int swapped)
{
    const int a = (int)(swapped ? p->b_zero_point : p->a_zero_point);
    const int b = (int)(swapped ? p->a_zero_point : p->b_zero_point);
    return (product_form){_mm512_set1_epi32(a),
                          _mm512_set1_epi32(b),
                          _mm512_set1_epi32((int)p->multiplier),
                          _mm512_set1_epi32((int)p->rounding),
                          _mm512_set1_epi32((int)p->shift),
                          _mm512_set1_epi32((int)p->lo),
                          _mm512_set1_epi32((int)p->hi),
                          _mm_cvtsi32_si128((int)p->lead)};
}

static inline product_vector product(const product_form *f, product_vector a, product_vector b)
{
    const __m512i led = _mm512_sll_epi32(_mm512_sub_epi32(b, f->b_zero_point), f->lead);
    const __m512i acc = _mm512_mullo_epi32(_mm512_sub_epi32(a, f->a_zero_point), led);
    const __m512i y = short_stage(acc, f->multiplier, f->rounding, f->shift);
    return _mm512_min_epi32(_mm512_max_epi32(y, f->lo), f->hi);
}

EACH_WIDTH product_vector take_product(const int8_t *x, int64_t count)
{
    return _mm512_cvtepi8_epi32(count == PRODUCT_LANES
                                    ? _mm_loadu_si128((const __m128i *)x)
                                    : _mm_maskz_loadu_epi8((__mmask16)first(count), x));
}

static inline product_vector repeat_product(int8_t x)
{
    return _mm512_set1_epi32(x);
}

EACH_WIDTH void give_product(int8_t *y, product_vector v, int64_t count)
{
    const __m128i bytes = _mm512_cvtepi32_epi8(v);
    if (count == PRODUCT_LANES)
        _mm_storeu_si128((__m128i *)y, bytes);
    else
        _mm_mask_storeu_epi8(y, (__mmask16)first(count), bytes);
}

/* ---- sums ----
 *
 * A byte q in the upper half of a word is 256 q. So with factors in two parts, F = 256 H + L,
 *
 *     a F_a + b F_b = (256 a) H_a + (256 b) H_b + a L_a + b L_b
 *
 * is one multiplication of pairs of words and one of bytes, unsigned ones of L with the upper ones
 * of the words, beside which are zeros. Packing undoes the order of the unpacking. The planner's
 * factors have 24 bits.
 */

static inline sum_form sum_form_of(const add_linear_parameters *p, int swapped)
{
    const int64_t a = swapped ? p->b_factor : p->a_factor;
    const int64_t b = swapped ? p->a_factor : p->b_factor;
    const int32_t high = (int32_t)((uint32_t)(b >> 8) << 16 | ((uint32_t)(a >> 8) & 0xffff));
    const int32_t low = (int32_t)((uint32_t)(b & 255) << 24 | (uint32_t)(a & 255) << 8);
    return (sum_form){_mm512_set1_epi32(high),           _mm512_set1_epi32(low),
                      _mm512_set1_epi32((int)p->offset), _mm512_set1_epi8((char)p->lo),
                      _mm512_set1_epi8((char)p->hi),     _mm_cvtsi32_si128((int)p->shift)};
}

/* Words 256 a and 256 b side by side. */
static inline __m512i shifted_sum(const sum_form *f, __m512i words)
{
    const __m512i low = _mm512_dpbusd_epi32(f->offset, f->low, words);
    return _mm512_sra_epi32(_mm512_dpwssd_epi32(low, words, f->high), f->shift);
}

static inline sum_vector sum(const sum_form *f, sum_vector a, sum_vector b)
{
    const __m512i zero = _mm512_setzero_si512();
    const __m512i lower = _mm512_unpacklo_epi8(a, b), upper = _mm512_unpackhi_epi8(a, b);
    const __m512i first_words =
        _mm512_packs_epi32(shifted_sum(f, _mm512_unpacklo_epi8(zero, lower)),
                           shifted_sum(f, _mm512_unpackhi_epi8(zero, lower)));
    const __m512i last_words =
        _mm512_packs_epi32(shifted_sum(f, _mm512_unpacklo_epi8(zero, upper)),
                           shifted_sum(f, _mm512_unpackhi_epi8(zero, upper)));
    const __m512i y = _mm512_packs_epi16(first_words, last_words);
    return _mm512_min_epi8(_mm512_max_epi8(y, f->lo), f->hi);
}

static inline sum_vector repeat_sum(int8_t x)
{
    return _mm512_set1_epi8(x);
}

EACH_WIDTH sum_vector take_sum(const int8_t *x, int64_t count)
{
    return count == SUM_LANES ? _mm512_loadu_si512(x) : _mm512_maskz_loadu_epi8(first(count), x);
}

EACH_WIDTH void give_sum(int8_t *y, sum_vector v, int64_t count)
{
    if (count == SUM_LANES)
        _mm512_storeu_si512(y, v);
    else
        _mm512_mask_storeu_epi8(y, first(count), v);
}

#include "pairs.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
