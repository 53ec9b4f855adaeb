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

#include "conv_tile.h"
#include "stage_avx2.h"

typedef int16_t value;
typedef int16_t weight;

#define CONV(name) name##_avx2
#define LANES 8
#define TAPS 2
#define MOST_VECTORS 2
#define MOST_PIXELS 12
#define OFFSET 0
#define TAKES_X 0

static inline void copy_elements(value *restrict to, const int8_t *restrict x, int64_t count)
{
    for (int64_t i = 0; i < count; ++i)
        to[i] = x[i];
}

static inline void fill_elements(value *to, value with, int64_t count)
{
    for (int64_t i = 0; i < count; ++i)
        to[i] = with;
}

/* acc += pairs of products. The empty assembly keeps gcc from summing two of them first, in
 * registers that it does not have. */
#define ADD_PRODUCTS(acc, x, w)                                                                   \
    do {                                                                                          \
        acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x, w));                                     \
        __asm__("" : "+x"(acc));                                                                  \
    } while (0)

#define ODD_STEPS_BELOW 0 /* there are no registers for them */

typedef __m256i vector;

static inline vector load_vector(const void *x)
{
    return _mm256_loadu_si256(x);
}

static inline vector zero_vector(void)
{
    return _mm256_setzero_si256();
}

static inline vector add_vectors(vector a, vector b)
{
    return _mm256_add_epi32(a, b);
}

static inline vector broadcast_taps(const value *x)
{
    int32_t pair;
    memcpy(&pair, x, sizeof pair);
    return _mm256_set1_epi32(pair);
}

/* ---- how a tile ends ---- */

/* The integers of one pixel, `vectors` of them, to memory. */
static inline __attribute__((always_inline)) void store_pixel(const conv_tile *t, const __m256i *y,
                                                              int vectors, char *to)
{
    const __m256i second = vectors > 1 ? y[1] : y[0];
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(y[0], second), 0xd8);
    words = _mm256_max_epi16(words, _mm256_set1_epi16((short)t->out.lo));
    words = _mm256_min_epi16(words, _mm256_set1_epi16((short)t->out.hi));
    __m128i bytes[2] = {_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)};
    if (t->out_bytes == 1)
        bytes[0] = _mm_packs_epi16(bytes[0], bytes[1]);
    const int64_t size = t->channels * t->out_bytes;
    if (size == 32)
        _mm256_storeu_si256((__m256i *)to, words);
    else if (size == 16)
        _mm_storeu_si128((__m128i *)to, bytes[0]);
    else if (size == 8)
        _mm_storel_epi64((__m128i *)to, bytes[0]);
    else
        memcpy(to, bytes, (size_t)size);
}

#include "conv_tiles.h"

/* As many accumulators as 16 registers hold beside two operands and a product. */
/* clang-format off */
#define TILES_2(TILE, v) TILE(1, v) TILE(2, v) TILE(3, v) TILE(4, v) TILE(5, v) TILE(6, v)
#define TILES_1(TILE, v)                                                                          \
    TILES_2(TILE, v) TILE(7, v) TILE(8, v) TILE(9, v) TILE(10, v) TILE(11, v) TILE(12, v)
TILES_1(TILE, 1)
TILES_2(TILE, 2)
/* clang-format on */

static const tile_function tiles[MOST_VECTORS][MOST_PIXELS + 1] = {{TILES_1(NAME, 1)},
                                                                   {TILES_2(NAME, 2)}};
static const tile_function depthwise_tiles[MOST_VECTORS][MOST_PIXELS + 1] = {{TILES_1(LINES, 1)},
                                                                             {TILES_2(LINES, 2)}};

#include "conv_blocks.h"
#include "conv_rows.h"

/* Two rows into lanes of two. */
static inline void interleave(void *to, const int8_t *const *rows, int64_t count)
{
    value *pairs = to;
    for (int64_t i = 0; i < count; ++i) {
        pairs[2 * i] = rows[0][i];
        pairs[2 * i + 1] = rows[1][i];
    }
}

#include "depthwise_lines.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
