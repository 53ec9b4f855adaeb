/* A band of a convolution in register tiles: block by block of channels, row by row, so that a
 * block's weights stay near while the rows go by.
 *
 * An instruction set includes this file after conv_tiles.h, for conv_rows.h.
 */

/* How many pixels of `count` in a row make a tile: as few tiles as possible, of as equal sizes. */
static inline int64_t tile_pixels(int64_t vectors, int64_t count)
{
    int64_t most = 0;
    while (tiles[vectors - 1][most] != NULL)
        ++most;
    if (count <= most)
        return count;
    const int64_t tiles_needed = (count + most - 1) / most;
    return (count + tiles_needed - 1) / tiles_needed;
}

/* One tile of pixels with one block of channels. */
static inline void multiply(const conv_tile *t, tile_function tile, const value *x,
                            const weight *w, const int32_t *stages, char *y, int64_t pixels,
                            int64_t vectors)
{
#if WIDE
    if (t->part_rows < t->rows || t->part_steps < t->steps) {
        multiply_parts(t, tile, x, w, stages, y, pixels, vectors);
        return;
    }
#endif
    tile(t, x, w, stages, y);
}

/* All channels of one group; the last tile of a row has what is left. */
static void multiply_band(const conv_tile *common, const conv_band *band, const value *x,
                          const weight *w, const int32_t *stages, char *y)
{
    conv_tile t = *common;
    const int64_t planes = WIDE ? t.planes : 1; /* a division costs as much as a small tile */
    const int64_t vectors = (band->outputs + LANES - 1) / LANES * planes;
    const int64_t blocks = (vectors + MOST_VECTORS - 1) / MOST_VECTORS;
    for (int64_t i = 0; i < blocks; ++i) {
        const int64_t first = MOST_VECTORS * (band->backwards ? blocks - 1 - i : i);
        const int64_t block = least(vectors - first, MOST_VECTORS);
        const int64_t channel = first / planes * LANES;
        const weight *own = w + first * t.rows * t.steps * LANES * TAPS;
        t.channels = least(band->outputs - channel, block / planes * LANES);
        const int64_t pixels = tile_pixels(block, band->pixels);
        for (int64_t row = 0; row < band->rows; ++row)
            for (int64_t pixel = 0; pixel < band->pixels; pixel += pixels) {
                const int64_t count = least(band->pixels - pixel, pixels);
                multiply(&t, tiles[block - 1][count - 1], x + row * band->x_row + pixel * t.pixel,
                         own, stages + first * STAGE_VECTORS * LANES,
                         y + row * band->y_row + pixel * t.out_pixel + channel * t.out_bytes,
                         count, block);
            }
    }
}
