/* Convolutions, dense layers and sums of int16 with AVX-512 VNNI: 32 products an instruction. */

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

#include "layer_s16.h"

#define USUAL_STAGE short_stage
#define USUAL_FORM SHORT_FORM
#define LANES 16
#define REGISTERS 32
#define CONV(name) name##_s16_avx512vnni
#define ODD_STEPS_BELOW 8
#define ADD_PRODUCTS(acc, x, w) __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w))

#include "pairs_s16.h"
#include "stage_avx512.h"

#include "conv_tiles.h"

#include "conv_blocks.h"
#include "conv_rows.h"

/* Two rows into lanes of two: 32 columns at a time, then 16. */
static inline void interleave(void *to, const x_type *const *rows, int64_t count)
{
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    int32_t *pairs = to;
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m512i a = _mm512_loadu_si512(rows[0] + i), b = _mm512_loadu_si512(rows[1] + i);
        const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);
        _mm512_storeu_si512(pairs + i, _mm512_permutex2var_epi64(low, first, high));
        _mm512_storeu_si512(pairs + i + 16, _mm512_permutex2var_epi64(low, second, high));
    }
    for (; i < count; i += 16) {
        const int64_t left = count - i;
        const __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
        const __m512i a = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, rows[0] + i));
        const __m512i b = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, rows[1] + i));
        _mm512_mask_storeu_epi32(pairs + i, mask, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
    }
}

#include "depthwise_lines.h"
#include "words_s16.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
