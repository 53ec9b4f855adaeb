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

/* Two rows into lanes of two, 16 columns at a time. */
static inline void interleave(void *to, const x_type *const *rows, int64_t count)
{
    for (int64_t i = 0; i < count; i += 16) {
        const int64_t left = count - i;
        const __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
        const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, rows[0] + i));
        const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, rows[1] + i));
        _mm512_mask_storeu_epi32((int32_t *)to + i, mask,
                                 _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

#include "depthwise_lines.h"
#include "sums_s16.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
