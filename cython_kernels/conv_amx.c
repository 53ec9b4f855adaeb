/* Convolutions and dense layers of int8 with AMX: tiles of 16 pixels, 16 channels and 64 products.
 *
 * An instruction takes pixels by rows, `pixel` elements apart, each of `chunk` quads: the windows
 * of conv_rows.h as they stand. Sums go through memory, as only memory joins tiles and vectors.
 */

/* for syscall */
#define _GNU_SOURCE

#include <string.h>

#include "kernels.h"

#ifdef HAS_AMX_KERNELS
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef __clang__
#pragma clang attribute push(                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8"))),   \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8")
#endif

#include "conv_tile.h"
#include "layer_s8.h"
#include "stage_avx512.h"
#include "tiles_amx.h"

typedef int8_t value;
typedef int8_t weight;

#define CONV(name) name##_amx
#define LANES 16
#define TAPS 4
#define MOST_VECTORS 4
#define OFFSET 0
#define X_PLANES 1
#define TAKES_X 1

/* ---- sums ---- */

/* Up to four tiles of pixels, one after another; those that lie in no one row have several rows.
 */
#define MOST_TILES 4

typedef struct {
    const conv_tile *t;
    const value *x[MOST_TILES];
    char *y[MOST_TILES];
    int64_t pixels; /* of a tile */
    int64_t chunk;  /* quads of an instruction */
    int64_t block;  /* vectors of channels */
} pixel_tiles;

/* The sums of pixels with all channels: [tile][pixel][channel]. */
#define SUM_CHANNELS (LANES * MOST_VECTORS)
typedef int32_t tile_sums[MOST_TILES * MOST_PIXELS * SUM_CHANNELS];

#define LOAD_X(into, tile) _tile_loadd(into, p->x[tile] + at, p->t->pixel)
#define LOAD_W(into, vector) _tile_loadd(into, w + 64 * (vector), 64 * p->block)
#define LOAD_BIAS(into, vector) _tile_loadd(into, stages + STAGE_VECTORS * LANES * (vector), 0)
#define STORE(from, tile, vector)                                                                 \
    _tile_stored(from, sums + (tile) * p->pixels * SUM_CHANNELS + LANES * (vector),               \
                 4 * SUM_CHANNELS)

/* For each chunk of each row of the kernel. */
#define EACH_CHUNK                                                                                \
    for (int64_t row = 0; row < p->t->rows; ++row)                                                \
        for (int64_t step = 0, at = row * p->t->row; step < p->t->steps;                          \
             step += p->chunk, at += TAPS * p->chunk, w += 64 * p->block * p->chunk)

/* Tiles of pixels by vectors of channels; as many sums at once as hide an instruction's latency.
 */
#define SUMS(shape)                                                                               \
    static void sums_##shape(const pixel_tiles *p, const weight *w, const int32_t *stages,        \
                             int32_t *sums)

SUMS(1_by_1)
{
    LOAD_BIAS(0, 0);
    EACH_CHUNK
    {
        LOAD_X(4, 0);
        LOAD_W(6, 0);
        _tile_dpbssd(0, 4, 6);
    }
    STORE(0, 0, 0);
}

SUMS(1_by_2)
{
    LOAD_BIAS(0, 0);
    LOAD_BIAS(1, 1);
    EACH_CHUNK
    {
        LOAD_X(4, 0);
        LOAD_W(6, 0);
        LOAD_W(7, 1);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
    }
    STORE(0, 0, 0);
    STORE(1, 0, 1);
}

SUMS(1_by_4)
{
    LOAD_BIAS(0, 0);
    LOAD_BIAS(1, 1);
    LOAD_BIAS(2, 2);
    LOAD_BIAS(3, 3);
    EACH_CHUNK
    {
        LOAD_X(4, 0);
        LOAD_W(6, 0);
        LOAD_W(7, 1);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        LOAD_W(6, 2);
        LOAD_W(7, 3);
        _tile_dpbssd(2, 4, 6);
        _tile_dpbssd(3, 4, 7);
    }
    STORE(0, 0, 0);
    STORE(1, 0, 1);
    STORE(2, 0, 2);
    STORE(3, 0, 3);
}

SUMS(2_by_1)
{
    LOAD_BIAS(0, 0);
    LOAD_BIAS(1, 0);
    EACH_CHUNK
    {
        LOAD_W(6, 0);
        LOAD_X(4, 0);
        LOAD_X(5, 1);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 5, 6);
    }
    STORE(0, 0, 0);
    STORE(1, 1, 0);
}

SUMS(2_by_2)
{
    LOAD_BIAS(0, 0);
    LOAD_BIAS(1, 1);
    LOAD_BIAS(2, 0);
    LOAD_BIAS(3, 1);
    EACH_CHUNK
    {
        LOAD_X(4, 0);
        LOAD_W(6, 0);
        LOAD_W(7, 1);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        LOAD_X(5, 1);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    STORE(0, 0, 0);
    STORE(1, 0, 1);
    STORE(2, 1, 0);
    STORE(3, 1, 1);
}

SUMS(4_by_1)
{
    LOAD_BIAS(0, 0);
    LOAD_BIAS(1, 0);
    LOAD_BIAS(2, 0);
    LOAD_BIAS(3, 0);
    EACH_CHUNK
    {
        LOAD_W(6, 0);
        LOAD_X(4, 0);
        LOAD_X(5, 1);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 5, 6);
        LOAD_X(4, 2);
        LOAD_X(5, 3);
        _tile_dpbssd(2, 4, 6);
        _tile_dpbssd(3, 5, 6);
    }
    STORE(0, 0, 0);
    STORE(1, 1, 0);
    STORE(2, 2, 0);
    STORE(3, 3, 0);
}

/* How many of `left` tiles go together with a block of channels: 1, 2 or 4. */
static inline int64_t tiles_together(int64_t left, int64_t vectors)
{
    if (left >= 4 && vectors == 1)
        return 4;
    return left >= 2 ? 2 : 1;
}

static void sum_tiles(const pixel_tiles *p, int64_t tiles, const weight *w, const int32_t *stages,
                      int32_t *sums)
{
    int64_t vector = 0;
    for (; p->block - vector >= 4 && tiles == 1; vector += 4)
        sums_1_by_4(p, w + 64 * vector, stages + STAGE_VECTORS * LANES * vector,
                    sums + LANES * vector);
    for (; p->block - vector >= 2 && tiles < 4; vector += 2)
        (tiles == 1 ? sums_1_by_2 : sums_2_by_2)(
            p, w + 64 * vector, stages + STAGE_VECTORS * LANES * vector, sums + LANES * vector);
    if (vector < p->block)
        (tiles == 1   ? sums_1_by_1
         : tiles == 2 ? sums_2_by_1
                      : sums_4_by_1)(p, w + 64 * vector, stages + STAGE_VECTORS * LANES * vector,
                                     sums + LANES * vector);
}

/* ---- their end ---- */

/* What ends the sums of a block of channels. */
typedef struct {
    const int32_t *stages;
    __m512i multiplier[MOST_VECTORS], offset[MOST_VECTORS], remainder[MOST_VECTORS];
} block_end;

/* The sums of neighbouring pixels into integers, of `vectors` vectors of channels each. */
static inline __attribute__((always_inline)) void
finish_pixels(const conv_tile *t, const block_end *end, const int32_t *sums, int pixels,
              int vectors, int64_t channels, char *y)
{
    __m512i out[MOST_VECTORS];
    for (int i = 0; i < pixels * vectors; ++i) {
        const int v = i % vectors;
        const __m512i acc = _mm512_loadu_si512(sums + i / vectors * SUM_CHANNELS + LANES * v);
        if (t->form == FLOAT_FORM)
            out[i] = float_stage(acc, end->multiplier[v], end->offset[v], end->remainder[v]);
        else if (t->form == SHORT_FORM)
            out[i] = short_stage(acc, end->multiplier[v], end->offset[v], end->remainder[v]);
        else
            out[i] = long_stage(acc, end->stages + STAGE_VECTORS * LANES * v, &t->out);
    }
    store_pixel(t, out, pixels * vectors, channels, y);
}

/* The sums of one tile into integers of `vectors` vectors of channels. */
static inline __attribute__((always_inline)) void finish_tile(const conv_tile *t,
                                                              const int32_t *sums, int64_t pixels,
                                                              const int32_t *stages, char *y,
                                                              int vectors)
{
    block_end end = {.stages = stages};
    for (int v = 0; v < vectors; ++v) {
        const int32_t *own = stages + STAGE_VECTORS * LANES * v;
        end.multiplier[v] = stage_vector(own, STAGE_MULTIPLIER);
        end.offset[v] = stage_vector(own, STAGE_OFFSET);
        end.remainder[v] = stage_vector(own, STAGE_REMAINDER);
    }
    /* pixels that lie one after another are stored together, as far as they fill a block */
    const int together = MOST_VECTORS / vectors, lanes = LANES * vectors;
    int64_t pixel = 0;
    if (together > 1 && t->out_pixel == lanes && t->channels == lanes)
        for (; pixel + together <= pixels; pixel += together)
            finish_pixels(t, &end, sums + pixel * SUM_CHANNELS, together, vectors,
                          together * lanes, y + pixel * lanes);
    for (; pixel < pixels; ++pixel)
        finish_pixels(t, &end, sums + pixel * SUM_CHANNELS, 1, vectors, t->channels,
                      y + pixel * t->out_pixel);
}

#define FINISH(vectors)                                                                           \
    static void finish_##vectors(const conv_tile *t, const int32_t *sums, int64_t pixels,         \
                                 const int32_t *stages, char *y)                                  \
    {                                                                                             \
        finish_tile(t, sums, pixels, stages, y, vectors);                                         \
    }
FINISH(1)
FINISH(2)
FINISH(3)
FINISH(4)

typedef void (*finish_function)(const conv_tile *t, const int32_t *sums, int64_t pixels,
                                const int32_t *stages, char *y);
static const finish_function finishes[MOST_VECTORS] = {finish_1, finish_2, finish_3, finish_4};

/* ---- a band ---- */

static void multiply_band(const conv_tile *common, const conv_band *band, const value *x,
                          const weight *w, const int32_t *stages, char *y)
{
    conv_tile t = *common;
    const int64_t vectors = (band->outputs + LANES - 1) / LANES;
    const amx_tiling tiling = tiling_of(common, band);
    pixel_tiles p = {.t = &t, .pixels = tiling.pixels, .chunk = tiling.chunk};
    tile_sums sums;
    shape_tiles(p.pixels, p.chunk);
    for (int64_t first = 0; first < vectors; first += MOST_VECTORS) {
        p.block = vectors - first < MOST_VECTORS ? vectors - first : MOST_VECTORS;
        const int64_t channels = band->outputs - first * LANES;
        t.channels = channels < p.block * LANES ? channels : p.block * LANES;
        for (int64_t tile = 0; tile < tiling.tiles;) {
            const int64_t together = tiles_together(tiling.tiles - tile, p.block);
            for (int64_t i = 0; i < together; ++i, ++tile) {
                const tile_place at = place_of(&tiling, common, band, tile);
                p.x[i] = x + at.x;
                p.y[i] = y + at.y;
            }
            sum_tiles(&p, together, w, stages, sums);
            for (int64_t i = 0; i < together; ++i)
                finishes[p.block - 1](&t, sums + i * p.pixels * SUM_CHANNELS, p.pixels, stages,
                                      p.y[i]);
        }
        w += t.rows * t.steps * p.block * LANES * TAPS;
        stages += p.block * STAGE_VECTORS * LANES;
        y += p.block * LANES * t.out_bytes;
    }
    _tile_release();
}

#include "conv_rows.h"

/* Whether the processor has AMX and the system lends this process its registers. */
int has_amx(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0)
        return 0;
    const unsigned tiles_and_int8 = 3u << 24;
    return (d & tiles_and_int8) == tiles_and_int8 &&
           syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
