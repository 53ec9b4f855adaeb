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

#include "conv_tile.h"
#include "stage_avx512.h"

typedef uint8_t value;
typedef int8_t weight;

#define CONV(name) name##_avx512vnni
#define LANES 16
#define TAPS 4
#define MOST_VECTORS 4
#define MOST_PIXELS 16
#define OFFSET 128 /* vpdpbusd takes one operand unsigned */

static inline void copy_elements(value *restrict to, const int8_t *restrict x, int64_t count)
{
    for (int64_t i = 0; i < count; ++i)
        to[i] = (value)(x[i] ^ -128);
}

static inline void fill_elements(value *to, value with, int64_t count)
{
    memset(to, with, (size_t)count);
}

/* For bodies that a tile instantiates with its sizes as constants. */
#define EACH_TILE static inline __attribute__((always_inline))
/* Turns that have each their own registers. */
#define EACH(i, count) _Pragma("GCC unroll 16") for (int i = 0; i < (count); ++i)
#define DOT(acc, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w))

static inline __m512i broadcast_quad(const uint8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm512_set1_epi32(quad);
}

/* ---- how a tile ends ---- */

/* The integers of one pixel, `vectors` of them, to memory. */
EACH_TILE void store_pixel(const conv_tile *t, const __m512i *y, int vectors, char *to)
{
    const int8_t lo = (int8_t)t->out.lo, hi = (int8_t)t->out.hi;
    if (t->out_bytes == 2) {
        const __m256i low = _mm256_set1_epi16((short)t->out.lo);
        const __m256i high = _mm256_set1_epi16((short)t->out.hi);
        for (int v = 0; v < vectors; ++v) {
            const int64_t left = t->channels - 16 * v;
            const __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
            __m256i words = _mm512_cvtsepi32_epi16(y[v]);
            words = _mm256_min_epi16(_mm256_max_epi16(words, low), high);
            _mm256_mask_storeu_epi16(to + 32 * v, mask, words);
        }
        return;
    }
    const int whole = t->channels == 16 * vectors;
    if (vectors > 2) {
        const __m512i all[4] = {y[0], y[1], y[2], vectors > 3 ? y[3] : y[2]};
        __m512i bytes = packed_4(all);
        bytes =
            _mm512_min_epi8(_mm512_max_epi8(bytes, _mm512_set1_epi8(lo)), _mm512_set1_epi8(hi));
        if (whole && vectors == 4)
            _mm512_storeu_si512(to, bytes);
        else
            _mm512_mask_storeu_epi8(to, (UINT64_C(1) << t->channels) - 1, bytes);
    } else if (vectors == 2) {
        __m256i bytes = packed_2(y);
        bytes =
            _mm256_min_epi8(_mm256_max_epi8(bytes, _mm256_set1_epi8(lo)), _mm256_set1_epi8(hi));
        if (whole)
            _mm256_storeu_si256((__m256i *)to, bytes);
        else
            _mm256_mask_storeu_epi8(to, (__mmask32)((UINT64_C(1) << t->channels) - 1), bytes);
    } else {
        __m128i bytes = _mm512_cvtsepi32_epi8(y[0]);
        bytes = _mm_min_epi8(_mm_max_epi8(bytes, _mm_set1_epi8(lo)), _mm_set1_epi8(hi));
        if (whole)
            _mm_storeu_si128((__m128i *)to, bytes);
        else
            _mm_mask_storeu_epi8(to, (__mmask16)((1u << t->channels) - 1), bytes);
    }
}

/* The accumulators of a tile whose stages have no short form; not made anew for each tile. */
static __attribute__((noinline)) void finish_long(const conv_tile *t, __m512i *acc, int pixels,
                                                  int vectors, const int32_t *stage, char *y)
{
    for (int p = 0; p < pixels; ++p, acc += vectors, y += t->out_pixel)
        for (int v = 0; v < vectors; ++v) {
            const int32_t *own = stage + 16 * STAGE_VECTORS * v;
            acc[v] = long_stage(acc[v], stage_vector(own, STAGE_MULTIPLIER),
                                stage_vector(own, STAGE_SHIFT), &t->out);
            if (v == vectors - 1)
                store_pixel(t, acc, vectors, y);
        }
}

EACH_TILE void finish(const conv_tile *t, __m512i acc[MOST_PIXELS][MOST_VECTORS], int pixels,
                      int vectors, const int32_t *stage, char *y)
{
    if (!t->is_short) {
        __m512i all[MOST_PIXELS * MOST_VECTORS];
        EACH (p, pixels)
            EACH (v, vectors)
                all[p * vectors + v] = acc[p][v];
        finish_long(t, all, pixels, vectors, stage, y);
        return;
    }
    EACH (v, vectors) {
        const int32_t *own = stage + 16 * STAGE_VECTORS * v;
        const __m512i multiplier = stage_vector(own, STAGE_MULTIPLIER);
        const __m512i rounding = stage_vector(own, STAGE_ROUNDING);
        const __m512i shift = stage_vector(own, STAGE_SHIFT);
        EACH (p, pixels)
            acc[p][v] = short_stage(acc[p][v], multiplier, rounding, shift);
    }
    EACH (p, pixels)
        store_pixel(t, acc[p], vectors, y + p * t->out_pixel);
}

/* ---- tiles ---- */

/* One step of a kernel row: four taps of each pixel with those of each channel. */
EACH_TILE void multiply_step(const uint8_t *x, int64_t pixel, const int8_t *w,
                             __m512i acc[MOST_PIXELS][MOST_VECTORS], int pixels, int vectors)
{
    EACH (p, pixels) {
        const __m512i taps = broadcast_quad(x + p * pixel);
        EACH (v, vectors)
            DOT(acc[p][v], taps, _mm512_loadu_si512(w + 64 * v));
    }
}

/* `pixels` by `vectors` accumulators, which unrolling makes registers. Where they are few, the
 * even and the odd steps have their own, as one sum would wait for itself. */
EACH_TILE void multiply_tile(const conv_tile *t, const uint8_t *x, const int8_t *w,
                             const int32_t *stage, char *y, int pixels, int vectors)
{
    const int two = pixels * vectors < 8;
    __m512i acc[MOST_PIXELS][MOST_VECTORS], odd[MOST_PIXELS][MOST_VECTORS];
    EACH (p, pixels)
        EACH (v, vectors) {
            acc[p][v] = stage_vector(stage + 16 * STAGE_VECTORS * v, STAGE_BIAS);
            odd[p][v] = _mm512_setzero_si512();
        }
    for (int64_t row = 0; row < t->rows; ++row, x += t->row) {
        const uint8_t *at = x;
        int64_t step = 0;
        if (two)
            for (; step + 2 <= t->steps; step += 2, at += 8, w += 128 * vectors) {
                multiply_step(at, t->pixel, w, acc, pixels, vectors);
                multiply_step(at + 4, t->pixel, w + 64 * vectors, odd, pixels, vectors);
            }
        for (; step < t->steps; ++step, at += 4, w += 64 * vectors)
            multiply_step(at, t->pixel, w, acc, pixels, vectors);
    }
    if (two)
        EACH (p, pixels)
            EACH (v, vectors)
                acc[p][v] = _mm512_add_epi32(acc[p][v], odd[p][v]);
    finish(t, acc, pixels, vectors, stage, y);
}

/* The same for a depthwise kernel, whose lines have a lane for each channel. */
EACH_TILE void multiply_lines(const conv_tile *t, const int32_t *x, const int8_t *w,
                              const int32_t *stage, char *y, int pixels, int vectors)
{
    __m512i acc[MOST_PIXELS][MOST_VECTORS];
    EACH (p, pixels)
        EACH (v, vectors)
            acc[p][v] = stage_vector(stage + 16 * STAGE_VECTORS * v, STAGE_BIAS);
    for (int64_t row = 0; row < t->rows; ++row, x += t->row) {
        const int32_t *at = x;
        for (int64_t step = 0; step < t->steps; ++step, at += t->step, w += 64 * vectors)
            EACH (p, pixels)
                EACH (v, vectors)
                    DOT(acc[p][v], _mm512_loadu_si512(at + p * t->pixel + 16 * v),
                        _mm512_loadu_si512(w + 64 * v));
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

/* As many accumulators as 32 registers hold beside the weights of a step. */
/* clang-format off */
#define TILES_4(TILE, v) TILE(1, v) TILE(2, v) TILE(3, v) TILE(4, v) TILE(5, v) TILE(6, v)
#define TILES_3(TILE, v) TILES_4(TILE, v) TILE(7, v) TILE(8, v)
#define TILES_2(TILE, v) TILES_3(TILE, v) TILE(9, v) TILE(10, v) TILE(11, v) TILE(12, v)
#define TILES_1(TILE, v) TILES_2(TILE, v) TILE(13, v) TILE(14, v) TILE(15, v) TILE(16, v)
#define NAME(pixels, vectors) tile_##pixels##_##vectors,
#define LINES(pixels, vectors) lines_##pixels##_##vectors,
TILES_1(TILE, 1)
TILES_2(TILE, 2)
TILES_3(TILE, 3)
TILES_4(TILE, 4)
/* clang-format on */

static const tile_function tiles[MOST_VECTORS][MOST_PIXELS + 1] = {
    {TILES_1(NAME, 1)}, {TILES_2(NAME, 2)}, {TILES_3(NAME, 3)}, {TILES_4(NAME, 4)}};

static const tile_function depthwise_tiles[MOST_VECTORS][MOST_PIXELS + 1] = {
    {TILES_1(LINES, 1)}, {TILES_2(LINES, 2)}, {TILES_3(LINES, 3)}, {TILES_4(LINES, 4)}};

#include "conv_rows.h"

/* Four rows into lanes of four, 16 columns at a time. */
static inline void interleave(void *to, const int8_t *const *rows, int64_t count)
{
    const __m512i sign = _mm512_set1_epi8(-128);
    for (int64_t i = 0; i < count; i += 16) {
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
