/* The tiles of AMX: which register holds what, shared by the kernels that use them. */

#ifndef EDGEINFER_TILES_AMX_H
#define EDGEINFER_TILES_AMX_H

#include <immintrin.h>
#include <stdint.h>

#define MOST_PIXELS 16 /* of an instruction */

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

#endif
