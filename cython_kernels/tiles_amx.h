/* The tiles of AMX: which register holds what, and how a band is divided into them. */

#ifndef EDGEINFER_TILES_AMX_H
#define EDGEINFER_TILES_AMX_H

#include <immintrin.h>
#include <stdint.h>

#include "conv_tile.h"

#define MOST_PIXELS 16 /* of an instruction */
#define MOST_CHUNK 16  /* steps of one */

/* What the manual calls TILECFG. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

/* Registers 0 to 3 hold sums, 4 and 5 quads of pixels, 6 and 7 those of channels. */
static inline void shape_tiles(int64_t pixels, int64_t chunk)
{
    tile_shapes shapes = {.palette = 1};
    for (int i = 0; i < 8; ++i) {
        shapes.rows[i] = (uint8_t)(i < 6 ? pixels : chunk);
        shapes.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? 4 * chunk : 64);
    }
    /* gcc believes that the instruction reads no more than a pointer's bytes of it */
    __asm__ volatile("" : : "r"(&shapes) : "memory");
    _tile_loadconfig(&shapes);
}

/* How a band is divided: tiles of a row are of equal sizes, and the last overlaps the one before
 * it; a tile's time goes by its pixels. */
typedef struct {
    int64_t tiles, tiles_of_row;
    int64_t pixels; /* of a tile */
    int64_t chunk;  /* quads of an instruction */
} amx_tiling;

static inline amx_tiling tiling_of(const conv_tile *t, const conv_band *band)
{
    const int64_t of_row = (band->pixels + MOST_PIXELS - 1) / MOST_PIXELS;
    const int64_t chunks = (t->steps + MOST_CHUNK - 1) / MOST_CHUNK;
    return (amx_tiling){.tiles = band->rows * of_row,
                        .tiles_of_row = of_row,
                        .pixels = (band->pixels + of_row - 1) / of_row,
                        .chunk = t->steps / chunks};
}

/* The first pixel of a tile: elements of x and bytes of y from the band's first. */
typedef struct {
    int64_t x, y;
} tile_place;

static inline tile_place place_of(const amx_tiling *tiling, const conv_tile *t,
                                  const conv_band *band, int64_t tile)
{
    const int64_t row = tile / tiling->tiles_of_row;
    const int64_t ends = (tile % tiling->tiles_of_row + 1) * tiling->pixels;
    const int64_t at = (ends < band->pixels ? ends : band->pixels) - tiling->pixels;
    return (tile_place){row * band->x_row + at * t->pixel, row * band->y_row + at * t->out_pixel};
}

#endif
