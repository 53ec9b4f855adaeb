/* Convolutions and dense layers of int8 with AVX-VNNI: 32 products an instruction. */

#include <string.h>

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <cpuid.h>
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,avxvnni"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avxvnni")
#endif

#include "layer_s8.h"
#include "stage_avx2.h"

typedef uint8_t value;
typedef int8_t weight;

#define CONV(name) name##_avxvnni
#define LANES 8
#define TAPS 4
#define REGISTERS 16
#define OFFSET 128 /* vpdpbusd takes one operand unsigned */
#define X_PLANES 1
#define TAKES_X 0
#define USUAL_STAGE float_stage
#define USUAL_FORM FLOAT_FORM

#define ODD_STEPS_BELOW 7
#define ADD_PRODUCTS(acc, x, w) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(x), "x"(w))

static inline factors broadcast_taps(const value *x)
{
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm256_set1_epi32(quad);
}

#include "conv_tiles.h"

#include "conv_blocks.h"
#include "conv_rows.h"

/* Four rows into lanes of four, 16 columns at a time. */
static inline void interleave(void *to, const int8_t *const *rows, int64_t count)
{
    const __m128i sign = _mm_set1_epi8(-128);
    value *quads = to;
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        __m128i r[4];
        EACH (k, 4)
            r[k] = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(rows[k] + i)), sign);
        const __m128i low01 = _mm_unpacklo_epi8(r[0], r[1]),
                      high01 = _mm_unpackhi_epi8(r[0], r[1]);
        const __m128i low23 = _mm_unpacklo_epi8(r[2], r[3]),
                      high23 = _mm_unpackhi_epi8(r[2], r[3]);
        __m128i *at = (__m128i *)(quads + 4 * i);
        _mm_storeu_si128(at, _mm_unpacklo_epi16(low01, low23));
        _mm_storeu_si128(at + 1, _mm_unpackhi_epi16(low01, low23));
        _mm_storeu_si128(at + 2, _mm_unpacklo_epi16(high01, high23));
        _mm_storeu_si128(at + 3, _mm_unpackhi_epi16(high01, high23));
    }
    for (; i < count; ++i)
        EACH (k, 4)
            quads[4 * i + k] = (value)(rows[k][i] ^ -128);
}

#include "depthwise_lines.h"

/* Not every compiler knows the name: what AVX2 asks of the system, and the processor's own word.
 */
int has_avxvnni(void)
{
    unsigned a, b, c, d;
    if (!__builtin_cpu_supports("avx2") || __get_cpuid_count(7, 1, &a, &b, &c, &d) == 0)
        return 0;
    return a >> 4 & 1;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
