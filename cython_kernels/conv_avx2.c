/* Convolutions and dense layers of int8 with AVX2: 16 products of 16 bits an instruction. */

#include <string.h>

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include "layer_s8.h"

typedef int16_t value;
typedef int16_t weight;

#define CONV(name) name##_avx2
#define LANES 8
#define TAPS 2
#define REGISTERS 16
#define OFFSET 0
#define X_PLANES 1
#define TAKES_X 0
#define USUAL_STAGE float_stage
#define USUAL_FORM FLOAT_FORM

#include "pairs_avx2.h"

#include "conv_tiles.h"

#include "conv_blocks.h"
#include "conv_rows.h"
#include "depthwise_lines.h"

#define WORDS 16
typedef __m256i words;

static inline words load_bytes(const int8_t *x)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x));
}

static inline void store_words(value *to, words x)
{
    _mm256_storeu_si256((__m256i *)to, x);
}

static inline words add_words(words a, words b)
{
    return _mm256_add_epi16(a, b);
}

static inline words subtract_words(words a, words b)
{
    return _mm256_sub_epi16(a, b);
}

#include "conv_winograd.h"

#include "conv_pixel.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
