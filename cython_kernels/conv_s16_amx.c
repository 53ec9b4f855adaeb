/* Convolutions and dense layers of int16 x with AMX, as products of bytes.
 *
 * The scratch holds x as planes of bytes, x = 256 high + low with 0 <= low < 256, and so are
 * weights of 16 bits. The sums of so many products of bytes as wide.py allows fit 32 bits,
 * whatever they are; they go through memory, as only memory joins tiles and vectors.
 */

#include <string.h>

#include "kernels.h"

#ifdef HAS_AMX_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8"))),   \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8")
#endif

#include "conv_tile.h"
#include "layer_s16.h"
#include "stage_avx512.h"
#include "tiles_amx.h"

typedef int8_t value;
typedef int8_t weight;

#define CONV(name) name##_s16_amx
#define LANES 16
#define TAPS 4
#define MOST_VECTORS 4
#define OFFSET 0
#define X_PLANES 2
#define TAKES_X 0

static inline void copy_elements(value *restrict to, const x_type *restrict x, int64_t count,
                                 int64_t plane)
{
    for (int64_t i = 0; i < count; i += 32) {
        const int64_t left = count - i;
        const __mmask32 mask = left >= 32 ? UINT32_MAX : (__mmask32)((UINT32_C(1) << left) - 1);
        const __m512i words = _mm512_maskz_loadu_epi16(mask, x + i);
        _mm256_mask_storeu_epi8(to + i, mask, _mm512_cvtepi16_epi8(words));
        _mm256_mask_storeu_epi8(to + plane + i, mask,
                                _mm512_cvtepi16_epi8(_mm512_srli_epi16(words, 8)));
    }
}

/* Both planes of padding are 0, as the zero point of int16 is. */
static inline void fill_elements(value *to, value with, int64_t count, int64_t plane)
{
    memset(to, with, (size_t)count);
    memset(to + plane, with, (size_t)count);
}

/* ---- sums ---- */

/* One or two tiles of pixels with a block of channels. */
#define MOST_TILES 2
#define SUM_CHANNELS (LANES * MOST_VECTORS)

typedef struct {
    conv_tile t;
    const value *x[MOST_TILES];
    char *y[MOST_TILES];
    int64_t pixels;  /* of a tile */
    int64_t chunk;   /* quads of an instruction */
    int64_t vectors; /* of the block */
    /* the sums of the planes of x, [tile][pixel][channel] */
    int32_t low[MOST_TILES * MOST_PIXELS * SUM_CHANNELS];
    int32_t high[MOST_TILES * MOST_PIXELS * SUM_CHANNELS];
} group;

#define LOAD_X(into, tile, plane)                                                                 \
    _tile_loadd(into, g->x[tile] + (plane) * g->t.x_plane + at, g->t.pixel)
#define LOAD_W(into, which) _tile_loadd(into, w + 64 * (which), 64 * g->vectors)
#define LOAD_BIAS(into, which) _tile_loadd(into, stages + STAGE_VECTORS * LANES * (which), 0)
#define STORE(from, sums, tile, which)                                                            \
    _tile_stored(from, g->sums + (tile) * g->pixels * SUM_CHANNELS + LANES * (vector + (which)),  \
                 4 * SUM_CHANNELS)

/* For each chunk of each row of the kernel. */
#define EACH_CHUNK                                                                                \
    for (int64_t row = 0; row < g->t.rows; ++row)                                                 \
        for (int64_t step = 0, at = row * g->t.row; step < g->t.steps;                            \
             step += g->chunk, at += TAPS * g->chunk, w += 64 * g->vectors * g->chunk)

/* Tiles of pixels by vectors of channels from `vector` on, with both planes of x. */
#define SUMS(shape)                                                                               \
    static void sums_##shape(group *g, const weight *w, const int32_t *stages, int64_t vector)

SUMS(1_by_1)
{
    LOAD_BIAS(0, 0);
    _tile_zero(1);
    EACH_CHUNK
    {
        LOAD_X(4, 0, 0);
        LOAD_X(5, 0, 1);
        LOAD_W(6, 0);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbssd(1, 5, 6);
    }
    STORE(0, low, 0, 0);
    STORE(1, high, 0, 0);
}

SUMS(2_by_1)
{
    LOAD_BIAS(0, 0);
    LOAD_BIAS(1, 0);
    _tile_zero(2);
    _tile_zero(3);
    EACH_CHUNK
    {
        LOAD_X(4, 0, 0);
        LOAD_X(5, 1, 0);
        LOAD_W(6, 0);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 5, 6);
        LOAD_X(4, 0, 1);
        LOAD_X(5, 1, 1);
        _tile_dpbssd(2, 4, 6);
        _tile_dpbssd(3, 5, 6);
    }
    STORE(0, low, 0, 0);
    STORE(1, low, 1, 0);
    STORE(2, high, 0, 0);
    STORE(3, high, 1, 0);
}

/* Two vectors of sums; FIRST_LOW and FIRST_HIGH multiply the first's weights with x's planes. */
#define SUMS_OF_TWO(shape, FIRST_LOW, FIRST_HIGH)                                                 \
    SUMS(shape)                                                                                   \
    {                                                                                             \
        LOAD_BIAS(0, 0);                                                                          \
        LOAD_BIAS(1, 1);                                                                          \
        _tile_zero(2);                                                                            \
        _tile_zero(3);                                                                            \
        EACH_CHUNK                                                                                \
        {                                                                                         \
            LOAD_X(4, 0, 0);                                                                      \
            LOAD_X(5, 0, 1);                                                                      \
            LOAD_W(6, 0);                                                                         \
            LOAD_W(7, 1);                                                                         \
            FIRST_LOW(0, 4, 6);                                                                   \
            _tile_dpbusd(1, 4, 7);                                                                \
            FIRST_HIGH(2, 5, 6);                                                                  \
            _tile_dpbssd(3, 5, 7);                                                                \
        }                                                                                         \
        STORE(0, low, 0, 0);                                                                      \
        STORE(1, low, 0, 1);                                                                      \
        STORE(2, high, 0, 0);                                                                     \
        STORE(3, high, 0, 1);                                                                     \
    }
SUMS_OF_TWO(1_by_2, _tile_dpbusd, _tile_dpbssd)
/* One vector of channels, whose weights are two planes, the low one unsigned. */
SUMS_OF_TWO(1_by_planes, _tile_dpbuud, _tile_dpbsud)

static void sum_tiles(group *g, int64_t tiles, const weight *w, const int32_t *stages)
{
    for (int64_t vector = 0; vector < g->vectors;) {
        const weight *own = w + 64 * vector;
        const int32_t *stage = stages + STAGE_VECTORS * LANES * vector;
        if (g->t.planes == 2) {
            sums_1_by_planes(g, own, stage, vector);
            vector += 2;
        } else if (tiles == 2) {
            sums_2_by_1(g, own, stage, vector);
            vector += 1;
        } else if (g->vectors - vector >= 2) {
            sums_1_by_2(g, own, stage, vector);
            vector += 2;
        } else {
            sums_1_by_1(g, own, stage, vector);
            vector += 1;
        }
    }
}

/* ---- their end ---- */

/* The sums of one tile into integers of `vectors` vectors of channels. With two planes of weights
 * the sums of the second stand behind those of the first. */
static inline __attribute__((always_inline)) void finish_tile(const group *g, int64_t tile,
                                                              const int32_t *stages, int vectors,
                                                              int planes, int is_short)
{
    const int32_t *low = g->low + tile * g->pixels * SUM_CHANNELS;
    const int32_t *high = g->high + tile * g->pixels * SUM_CHANNELS;
    const conv_tile t = g->t; /* which no store changes */
    const int64_t pixels = g->pixels;
    char *y = g->y[tile];
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        __m512i out[MOST_VECTORS];
        for (int v = 0; v < vectors; ++v) {
            const int at = LANES * planes * v;
            const int32_t *stage = stages + STAGE_VECTORS * at;
            const __m512i sums[2] = {_mm512_loadu_si512(low + at), _mm512_loadu_si512(high + at)};
            if (is_short) {
                const __m512i acc = _mm512_add_epi32(sums[0], _mm512_slli_epi32(sums[1], 8));
                out[v] = short_stage(acc, stage_vector(stage, STAGE_MULTIPLIER),
                                     stage_vector(stage, STAGE_ROUNDING),
                                     stage_vector(stage, STAGE_SHIFT));
            } else if (planes == 1) {
                out[v] = wide_stage(wide_of(sums, 2), stage, &t.out);
            } else {
                const __m512i mixed =
                    _mm512_add_epi32(sums[1], _mm512_loadu_si512(low + at + LANES));
                const __m512i upper[2] = {mixed, _mm512_loadu_si512(high + at + LANES)};
                const wide whole = add_wide(wide_of(sums, 1), scale_wide(wide_of(upper, 2), 256));
                out[v] = wide_stage(whole, stage, &t.out);
            }
        }
        store_pixel(&t, out, vectors, t.channels, y);
        low += SUM_CHANNELS;
        high += SUM_CHANNELS;
        y += t.out_pixel;
    }
}

#define FINISH(vectors)                                                                           \
    static void finish_##vectors(const group *g, int64_t tile, const int32_t *stages)             \
    {                                                                                             \
        if (g->t.planes == 2)                                                                     \
            finish_tile(g, tile, stages, vectors, 2, 0);                                          \
        else if (g->t.form == SHORT_FORM)                                                         \
            finish_tile(g, tile, stages, vectors, 1, 1);                                          \
        else                                                                                      \
            finish_tile(g, tile, stages, vectors, 1, 0);                                          \
    }
FINISH(1)
FINISH(2)
FINISH(3)
FINISH(4)

typedef void (*finish_function)(const group *g, int64_t tile, const int32_t *stages);
static const finish_function finishes[MOST_VECTORS] = {finish_1, finish_2, finish_3, finish_4};

/* ---- a band ---- */

static void multiply_band(const conv_tile *common, const conv_band *band, const value *x,
                          const weight *w, const int32_t *stages, char *y)
{
    const int64_t planes = common->planes;
    const int64_t vectors = (band->outputs + LANES - 1) / LANES * planes;
    const amx_tiling tiling = tiling_of(common, band);
    group g; /* whose sums are not worth clearing */
    g.t = *common;
    g.pixels = tiling.pixels;
    g.chunk = tiling.chunk;
    shape_tiles(g.pixels, g.chunk);
    for (int64_t first = 0; first < vectors; first += MOST_VECTORS) {
        g.vectors = vectors - first < MOST_VECTORS ? vectors - first : MOST_VECTORS;
        const int64_t left = band->outputs - first / planes * LANES;
        const int64_t channels = g.vectors / planes * LANES;
        g.t.channels = left < channels ? left : channels;
        const int64_t most = g.vectors == 1 ? MOST_TILES : 1;
        for (int64_t tile = 0; tile < tiling.tiles;) {
            const int64_t together = tiling.tiles - tile < most ? tiling.tiles - tile : most;
            for (int64_t i = 0; i < together; ++i, ++tile) {
                const tile_place at = place_of(&tiling, common, band, tile);
                g.x[i] = x + at.x;
                g.y[i] = y + at.y;
            }
            sum_tiles(&g, together, w, stages);
            for (int64_t i = 0; i < together; ++i)
                finishes[g.vectors / planes - 1](&g, i, stages);
        }
        w += g.t.rows * g.t.steps * g.vectors * LANES * TAPS;
        stages += g.vectors * STAGE_VECTORS * LANES;
        y += channels * g.t.out_bytes;
    }
    _tile_release();
}

#include "conv_rows.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
