/* Convolutions and dense layers of int8 with AVX-512 VNNI: 64 products an instruction. */

#include <string.h>

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

#include "layer_s8.h"
#include "stage_avx512.h"

typedef uint8_t value;
typedef int8_t weight;

#define CONV(name) name##_avx512vnni
#define LANES 16
#define TAPS 4
#define REGISTERS 32
#define OFFSET 128 /* vpdpbusd takes one operand unsigned */
#define X_PLANES 1
#define TAKES_X 0
#define USUAL_STAGE float_stage
#define USUAL_FORM FLOAT_FORM

#define ODD_STEPS_BELOW 8
#define ADD_PRODUCTS(acc, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w))

#include "conv_tiles.h"

#include "conv_blocks.h"
#include "conv_rows.h"

/* Four rows into lanes of four: 64 columns, of which each vector of rows holds every fourth
 * quarter of 16 lanes until they are exchanged. */
static inline void interleave_64(int32_t *to, const int8_t *const *rows, int64_t i)
{
    __m512i r[4], low[2], high[2], quarters[4], halves[4];
    EACH (k, 4)
        r[k] = _mm512_xor_si512(_mm512_loadu_si512(rows[k] + i), _mm512_set1_epi8(-128));
    EACH (k, 2) {
        low[k] = _mm512_unpacklo_epi8(r[2 * k], r[2 * k + 1]);
        high[k] = _mm512_unpackhi_epi8(r[2 * k], r[2 * k + 1]);
    }
    quarters[0] = _mm512_unpacklo_epi16(low[0], low[1]);
    quarters[1] = _mm512_unpackhi_epi16(low[0], low[1]);
    quarters[2] = _mm512_unpacklo_epi16(high[0], high[1]);
    quarters[3] = _mm512_unpackhi_epi16(high[0], high[1]);
    halves[0] = _mm512_shuffle_i32x4(quarters[0], quarters[1], 0x44);
    halves[1] = _mm512_shuffle_i32x4(quarters[2], quarters[3], 0x44);
    halves[2] = _mm512_shuffle_i32x4(quarters[0], quarters[1], 0xee);
    halves[3] = _mm512_shuffle_i32x4(quarters[2], quarters[3], 0xee);
    EACH (k, 2) {
        _mm512_storeu_si512(to + i + 32 * k,
                            _mm512_shuffle_i32x4(halves[2 * k], halves[2 * k + 1], 0x88));
        _mm512_storeu_si512(to + i + 32 * k + 16,
                            _mm512_shuffle_i32x4(halves[2 * k], halves[2 * k + 1], 0xdd));
    }
}

/* The same, 16 columns at a time at the end. */
static inline void interleave(void *to, const int8_t *const *rows, int64_t count)
{
    const __m512i sign = _mm512_set1_epi8(-128);
    int64_t i = 0;
    for (; i + 64 <= count; i += 64)
        interleave_64(to, rows, i);
    for (; i < count; i += 16) {
        const int64_t left = count - i;
        const __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
        __m128i r[4];
        EACH (k, 4)
            r[k] = _mm_maskz_loadu_epi8(mask, rows[k] + i);
        const __m128i low01 = _mm_unpacklo_epi8(r[0], r[1]),
                      high01 = _mm_unpackhi_epi8(r[0], r[1]);
        const __m128i low23 = _mm_unpacklo_epi8(r[2], r[3]),
                      high23 = _mm_unpackhi_epi8(r[2], r[3]);
        __m512i all = _mm512_castsi128_si512(_mm_unpacklo_epi16(low01, low23));
        all = _mm512_inserti32x4(all, _mm_unpackhi_epi16(low01, low23), 1);
        all = _mm512_inserti32x4(all, _mm_unpacklo_epi16(high01, high23), 2);
        all = _mm512_inserti32x4(all, _mm_unpackhi_epi16(high01, high23), 3);
        all = _mm512_xor_si512(all, sign);
        int32_t *at = (int32_t *)to + i;
        if (left >= 16)
            _mm512_storeu_si512(at, all);
        else
            _mm512_mask_storeu_epi32(at, mask, all);
    }
}

#include "depthwise_lines.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
