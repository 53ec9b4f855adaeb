/* Sums and products of int8 in AVX2. */

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

#define PAIR(name) name##_avx2
#define PRODUCT_LANES 8
#define SUM_LANES 32

typedef __m256i product_vector;
typedef __m256i sum_vector;

typedef struct {
    __m256i a_zero_point, b_zero_point, multiplier, rounding, shift, lo, hi;
    __m128i lead;
} product_form;

typedef struct {
    __m256i high, low, offset, lo, hi; /* both factors' parts, words side by side */
    __m128i shift;
} sum_form;

/* ---- products ---- */

static inline product_form product_form_of(const mul_s8_parameters *p, int swapped)
{
    const int a = (int)(swapped ? p->b_zero_point : p->a_zero_point);
    const int b = (int)(swapped ? p->a_zero_point : p->b_zero_point);
    return (product_form){_mm256_set1_epi32(a),
                          _mm256_set1_epi32(b),
                          _mm256_set1_epi32((int)p->multiplier),
                          _mm256_set1_epi32((int)p->rounding),
                          _mm256_set1_epi32((int)p->shift),
                          _mm256_set1_epi32((int)p->lo),
                          _mm256_set1_epi32((int)p->hi),
                          _mm_cvtsi32_si128((int)p->lead)};
}

static inline product_vector product(const product_form *f, product_vector a, product_vector b)
{
    const __m256i led = _mm256_sll_epi32(_mm256_sub_epi32(b, f->b_zero_point), f->lead);
    const __m256i acc = _mm256_mullo_epi32(_mm256_sub_epi32(a, f->a_zero_point), led);
    const __m256i y = short_stage(acc, f->multiplier, f->rounding, f->shift);
    return _mm256_min_epi32(_mm256_max_epi32(y, f->lo), f->hi);
}

EACH_WIDTH product_vector take_product(const int8_t *x, int64_t count)
{
    int8_t bytes[PRODUCT_LANES] = {0};
    memcpy(bytes, x, (size_t)count);
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
}

static inline product_vector repeat_product(int8_t x)
{
    return _mm256_set1_epi32(x);
}

EACH_WIDTH void give_product(int8_t *y, product_vector v, int64_t count)
{
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    int8_t bytes[PRODUCT_LANES];
    _mm_storel_epi64((__m128i *)bytes, _mm_packs_epi16(words, words));
    memcpy(y, bytes, (size_t)count);
}

/* ---- sums ----
 *
 * A byte q in the upper half of a word is 256 q. So with factors in two parts, F = 256 H + L,
 *
 *     a F_a + b F_b = (256 a) H_a + (256 b) H_b + a L_a + b L_b
 *
 * takes two multiplications of pairs of words, and packing undoes the order of the unpacking. The
 * planner's factors have 24 bits.
 */

static inline sum_form sum_form_of(const add_linear_parameters *p, int swapped)
{
    const int64_t a = swapped ? p->b_factor : p->a_factor;
    const int64_t b = swapped ? p->a_factor : p->b_factor;
    const int32_t high = (int32_t)((uint32_t)(b >> 8) << 16 | ((uint32_t)(a >> 8) & 0xffff));
    const int32_t low = (int32_t)((b & 255) << 16 | (a & 255));
    return (sum_form){_mm256_set1_epi32(high),           _mm256_set1_epi32(low),
                      _mm256_set1_epi32((int)p->offset), _mm256_set1_epi8((char)p->lo),
                      _mm256_set1_epi8((char)p->hi),     _mm_cvtsi32_si128((int)p->shift)};
}

/* Words 256 a and 256 b side by side. */
static inline __m256i shifted_sum(const sum_form *f, __m256i words)
{
    const __m256i low = _mm256_madd_epi16(_mm256_srai_epi16(words, 8), f->low);
    const __m256i high = _mm256_madd_epi16(words, f->high);
    return _mm256_sra_epi32(_mm256_add_epi32(_mm256_add_epi32(low, high), f->offset), f->shift);
}

static inline sum_vector sum(const sum_form *f, sum_vector a, sum_vector b)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i lower = _mm256_unpacklo_epi8(a, b), upper = _mm256_unpackhi_epi8(a, b);
    const __m256i first_words =
        _mm256_packs_epi32(shifted_sum(f, _mm256_unpacklo_epi8(zero, lower)),
                           shifted_sum(f, _mm256_unpackhi_epi8(zero, lower)));
    const __m256i last_words =
        _mm256_packs_epi32(shifted_sum(f, _mm256_unpacklo_epi8(zero, upper)),
                           shifted_sum(f, _mm256_unpackhi_epi8(zero, upper)));
    const __m256i y = _mm256_packs_epi16(first_words, last_words);
    return _mm256_min_epi8(_mm256_max_epi8(y, f->lo), f->hi);
}

static inline sum_vector repeat_sum(int8_t x)
{
    return _mm256_set1_epi8(x);
}

EACH_WIDTH sum_vector take_sum(const int8_t *x, int64_t count)
{
    int8_t bytes[SUM_LANES] = {0};
    memcpy(bytes, x, (size_t)count);
    return _mm256_loadu_si256((const __m256i *)bytes);
}

EACH_WIDTH void give_sum(int8_t *y, sum_vector v, int64_t count)
{
    int8_t bytes[SUM_LANES];
    _mm256_storeu_si256((__m256i *)bytes, v);
    memcpy(y, bytes, (size_t)count);
}

#include "pairs.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
