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

/* For bodies that a tile instantiates with its sizes as constants. */
#define EACH_TILE static inline __attribute__((always_inline))
/* Turns that have each their own registers. */
#define EACH(i, count) _Pragma("GCC unroll 16") for (int i = 0; i < (count); ++i)

/* acc += pairs of products. The empty assembly keeps gcc from summing two of them first, in
 * registers that it does not have. */
#define ADD_PRODUCTS(acc, x, w)                                                                   \
    do {                                                                                          \
        acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x, w));                                     \
        __asm__("" : "+x"(acc));                                                                  \
    } while (0)

static inline __m256i load_vector(const void *x)
{
    return _mm256_loadu_si256(x);
}

static inline __m256i broadcast_pair(const value *x)
{
    int32_t pair;
    memcpy(&pair, x, sizeof pair);
    return _mm256_set1_epi32(pair);
}

/* ---- how a tile ends ---- */

/* The integers of one pixel, `vectors` of them, to memory. */
EACH_TILE void store_pixel(const conv_tile *t, const __m256i *y, int vectors, char *to)
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

/* The accumulators of a tile whose stages have no short form; not made anew for each tile. */
static __attribute__((noinline)) void finish_long(const conv_tile *t, __m256i *acc, int pixels,
                                                  int vectors, const int32_t *stage, char *y)
{
    for (int p = 0; p < pixels; ++p, acc += vectors, y += t->out_pixel) {
        for (int v = 0; v < vectors; ++v)
            acc[v] = long_stage(acc[v], stage + 8 * STAGE_VECTORS * v, &t->out);
        store_pixel(t, acc, vectors, y);
    }
}

EACH_TILE void finish(const conv_tile *t, __m256i acc[MOST_PIXELS][MOST_VECTORS], int pixels,
                      int vectors, const int32_t *stage, char *y)
{
    if (!t->is_short) {
        __m256i all[MOST_PIXELS * MOST_VECTORS];
        EACH (p, pixels)
            EACH (v, vectors)
                all[p * vectors + v] = acc[p][v];
        finish_long(t, all, pixels, vectors, stage, y);
        return;
    }
    EACH (v, vectors) {
        const int32_t *own = stage + 8 * STAGE_VECTORS * v;
        const __m256i multiplier = stage_vector(own, STAGE_MULTIPLIER);
        const __m256i rounding = stage_vector(own, STAGE_ROUNDING);
        const __m256i shift = stage_vector(own, STAGE_SHIFT);
        EACH (p, pixels)
            acc[p][v] = short_stage(acc[p][v], multiplier, rounding, shift);
    }
    EACH (p, pixels)
        store_pixel(t, acc[p], vectors, y + p * t->out_pixel);
}

/* ---- tiles ---- */

EACH_TILE void multiply_tile(const conv_tile *t, const value *x, const weight *w,
                             const int32_t *stage, char *y, int pixels, int vectors)
{
    __m256i acc[MOST_PIXELS][MOST_VECTORS];
    EACH (p, pixels)
        EACH (v, vectors)
            acc[p][v] = stage_vector(stage + 8 * STAGE_VECTORS * v, STAGE_BIAS);
    for (int64_t row = 0; row < t->rows; ++row, x += t->row) {
        const value *at = x;
        for (int64_t step = 0; step < t->steps; ++step, at += TAPS, w += LANES * TAPS * vectors)
            EACH (p, pixels) {
                const __m256i taps = broadcast_pair(at + p * t->pixel);
                EACH (v, vectors)
                    ADD_PRODUCTS(acc[p][v], taps, load_vector(w + LANES * TAPS * v));
            }
    }
    finish(t, acc, pixels, vectors, stage, y);
}

/* The same for a depthwise kernel, whose lines have a lane for each channel. */
EACH_TILE void multiply_lines(const conv_tile *t, const int32_t *x, const weight *w,
                              const int32_t *stage, char *y, int pixels, int vectors)
{
    __m256i acc[MOST_PIXELS][MOST_VECTORS];
    EACH (p, pixels)
        EACH (v, vectors)
            acc[p][v] = stage_vector(stage + 8 * STAGE_VECTORS * v, STAGE_BIAS);
    for (int64_t row = 0; row < t->rows; ++row, x += t->row) {
        const int32_t *at = x;
        for (int64_t step = 0; step < t->steps; ++step, at += t->step, w += 16 * vectors)
            EACH (p, pixels)
                EACH (v, vectors)
                    ADD_PRODUCTS(acc[p][v], load_vector(at + p * t->pixel + 8 * v),
                                 load_vector(w + 16 * v));
    }
    finish(t, acc, pixels, vectors, stage, y);
}

#define TILE(pixels, vectors)                                                                     \
    static void tile_##pixels##_##vectors(const conv_tile *t, const void *x, const void *w,       \
                                          const int32_t *stage, void *y)                          \
    {                                                                                             \
        multiply_tile(t, x, w, stage, y, pixels, vectors);                                        \
    }                                                                                             \
    static void lines_##pixels##_##vectors(const conv_tile *t, const void *x, const void *w,      \
                                           const int32_t *stage, void *y)                         \
    {                                                                                             \
        multiply_lines(t, x, w, stage, y, pixels, vectors);                                       \
    }

/* As many accumulators as 16 registers hold beside two operands and a product. */
/* clang-format off */
#define TILES_2(TILE, v) TILE(1, v) TILE(2, v) TILE(3, v) TILE(4, v) TILE(5, v) TILE(6, v)
#define TILES_1(TILE, v)                                                                          \
    TILES_2(TILE, v) TILE(7, v) TILE(8, v) TILE(9, v) TILE(10, v) TILE(11, v) TILE(12, v)
#define NAME(pixels, vectors) tile_##pixels##_##vectors,
#define LINES(pixels, vectors) lines_##pixels##_##vectors,
TILES_1(TILE, 1)
TILES_2(TILE, 2)
/* clang-format on */

static const tile_function tiles[MOST_VECTORS][MOST_PIXELS + 1] = {{TILES_1(NAME, 1)},
                                                                   {TILES_2(NAME, 2)}};
static const tile_function depthwise_tiles[MOST_VECTORS][MOST_PIXELS + 1] = {{TILES_1(LINES, 1)},
                                                                             {TILES_2(LINES, 2)}};

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
