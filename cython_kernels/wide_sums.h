/* Sums of int16 x with weights where 32 bits do not hold them.
 *
 * Weights of 16 bits come as two planes, w = 256 high + low, which are neighbouring vectors of a
 * tile. An accumulator holds what provably fits 32 bits: all products of its plane, or a part of
 * them, whole rows of the kernel or some steps of one. Parts add up in doubles, which hold every
 * integer below 2^53; the sums are below 2^38.
 *
 * conv_tiles.h includes this file where an instruction set has defined
 *
 *     wide                           LANES doubles
 *     wide_of(acc, planes)           what the accumulators of so many planes stand for
 *     load_wide, store_wide, add_wide
 *     wide_stage(sums, stage, out)   requantized, as a vector, between round_down and
 *                                    round_as_before
 */

#include <string.h>

/* Accumulators that hold whole sums, requantized. */
static __attribute__((noinline)) void finish_wide(const conv_tile *t, vector *acc, int pixels,
                                                  int vectors, const int32_t *stages, char *y)
{
    const int planes = (int)t->planes;
    for (int p = 0; p < pixels; ++p, acc += vectors, y += t->out_pixel) {
        for (int v = 0; v < vectors; v += planes)
            acc[v / planes] = wide_stage(wide_of(acc + v, planes), stage_at(stages, v), &t->out);
        store_pixel(t, acc, vectors / planes, t->channels, y);
    }
}

/* The accumulators of a tile that have no short form: requantized, or added to other parts. */
static __attribute__((noinline)) void finish_apart(const conv_tile *t, vector *acc, int pixels,
                                                   int vectors, const int32_t *stages, char *y)
{
    if (t->parts == NULL) {
        finish_wide(t, acc, pixels, vectors, stages, y);
        return;
    }
    const int planes = (int)t->planes;
    double *parts = t->parts;
    for (int i = 0; i < pixels * vectors; i += planes, parts += LANES)
        store_wide(parts, add_wide(load_wide(parts), wide_of(acc + i, planes)));
}

/* The parts that add up, requantized. */
static __attribute__((noinline)) void finish_parts(const conv_tile *t, int64_t pixels,
                                                   int64_t vectors, const int32_t *stages, char *y)
{
    const double *sums = t->parts;
    for (int64_t p = 0; p < pixels; ++p, y += t->out_pixel) {
        vector out[MOST_VECTORS];
        for (int64_t v = 0; v < vectors; v += t->planes, sums += LANES)
            out[v / t->planes] = wide_stage(load_wide(sums), stage_at(stages, (int)v), &t->out);
        store_pixel(t, out, (int)(vectors / t->planes), t->channels, y);
    }
}

/* A tile whose accumulators hold a part at a time. */
static void multiply_parts(const conv_tile *whole, tile_function tile, const value *x,
                           const weight *w, const int32_t *stages, char *y, int64_t pixels,
                           int64_t vectors)
{
    static const int32_t no_bias[MOST_VECTORS * STAGE_VECTORS * LANES];
    double parts[MOST_PIXELS * MOST_VECTORS * LANES];
    const int32_t *first = stages;
    conv_tile t = *whole;
    t.parts = parts;
    memset(parts, 0, (size_t)(pixels * vectors / t.planes * LANES) * sizeof *parts);
    for (int64_t row = 0; row < whole->rows; row += whole->part_rows)
        for (int64_t step = 0; step < whole->steps; step += whole->part_steps) {
            const int64_t rows = whole->rows - row, steps = whole->steps - step;
            t.rows = rows < whole->part_rows ? rows : whole->part_rows;
            t.steps = steps < whole->part_steps ? steps : whole->part_steps;
            tile(&t, x + row * t.row + step * TAPS, w, first, y);
            w += t.rows * t.steps * vectors * LANES * TAPS;
            first = no_bias;
        }
    finish_parts(&t, pixels, vectors, stages, y);
}
