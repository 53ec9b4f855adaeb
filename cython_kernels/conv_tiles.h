/* The register tiles of a layer on packed weights, and how each ends: one text for every
 * instruction set, which includes it after it has defined
 *
 *     vector                      LANES sums, with zero_vector, add_vectors
 *     factors                     TAPS elements in each of LANES, with load_factors
 *     broadcast_taps(x)           TAPS elements of x in every lane
 *     ADD_PRODUCTS(acc, x, w)     acc plus, lane by lane, the products of TAPS elements
 *     stage_vector, short_stage, long_stage     as in stage_*.h
 *     USUAL_STAGE, USUAL_FORM     which of short_stage and float_stage most layers have
 *     store_pixel(t, y, vectors, channels, to)  the integers of one pixel to memory
 *     WIDE                        whether sums may exceed 32 bits: what wide_sums.h asks for
 *     ODD_STEPS_BELOW             so few accumulators wait for their own sums: the odd steps of a
 *                                 row get accumulators of their own
 *     REGISTERS                   how many vectors the processor holds, 16 or 32
 *
 * and the sizes that conv_rows.h names. Accumulators are an array that unrolling makes registers.
 */

/* Vectors of a block of channels, and pixels of a tile. */
#if REGISTERS == 32
#define MOST_VECTORS 4
#define MOST_PIXELS 16
#else
#define MOST_VECTORS 2
#define MOST_PIXELS 12
#endif

/* For bodies that a tile instantiates with its sizes as constants. */
#define EACH_TILE static inline __attribute__((always_inline))

/* A tile's own function. Its arrays are indexed by constants, so nothing overruns them: a guard of
 * the stack would only cost instructions. */
#if __has_attribute(no_stack_protector)
#define TILE_FUNCTION static __attribute__((no_stack_protector)) void
#else
#define TILE_FUNCTION static void
#endif

/* Turns that have each their own registers. */
#define EACH(i, count) _Pragma("GCC unroll 16") for (int i = 0; i < (count); ++i)

/* A stage's place among those of a tile. */
static inline const int32_t *stage_at(const int32_t *stages, int v)
{
    return stages + LANES * STAGE_VECTORS * v;
}

#if WIDE
#include "wide_sums.h"
#else
/* The accumulators of a tile whose stages have another form; not made anew for each tile. */
static __attribute__((noinline)) void finish_apart(const conv_tile *t, vector *acc, int pixels,
                                                   int vectors, const int32_t *stages, char *y)
{
    for (int p = 0; p < pixels; ++p, acc += vectors, y += t->out_pixel) {
        for (int v = 0; v < vectors; ++v) {
            const int32_t *own = stage_at(stages, v);
            acc[v] = t->form == SHORT_FORM && USUAL_FORM != SHORT_FORM
                         ? short_stage(acc[v], stage_vector(own, STAGE_MULTIPLIER),
                                       stage_vector(own, STAGE_ROUNDING),
                                       stage_vector(own, STAGE_SHIFT))
                         : long_stage(acc[v], own, &t->out);
        }
        store_pixel(t, acc, vectors, t->channels, y);
    }
}
#endif

EACH_TILE void finish(const conv_tile *t, vector acc[MOST_PIXELS][MOST_VECTORS], int pixels,
                      int vectors, const int32_t *stages, char *y)
{
    if (t->form != USUAL_FORM) {
        vector all[MOST_PIXELS * MOST_VECTORS];
        EACH (p, pixels)
            EACH (v, vectors)
                all[p * vectors + v] = acc[p][v];
        finish_apart(t, all, pixels, vectors, stages, y);
        return;
    }
    EACH (v, vectors) {
        const int32_t *own = stage_at(stages, v);
        const vector multiplier = stage_vector(own, STAGE_MULTIPLIER);
        const vector rounding = stage_vector(own, STAGE_ROUNDING);
        const vector shift = stage_vector(own, STAGE_SHIFT);
        EACH (p, pixels)
            acc[p][v] = USUAL_STAGE(acc[p][v], multiplier, rounding, shift);
    }
    /* pixels that lie one after another are stored together, as far as they fill a block */
    const int together = MOST_VECTORS / vectors, lanes = LANES * vectors;
    const int groups = pixels / together;
    if (together > 1 && groups > 0 && t->out_pixel == lanes && t->channels == lanes) {
        EACH (g, groups) {
            vector all[MOST_VECTORS];
            EACH (i, together * vectors)
                all[i] = acc[g * together + i / vectors][i % vectors];
            store_pixel(t, all, together * vectors, together * lanes, y + g * together * lanes);
        }
        EACH (p, pixels - groups * together)
            store_pixel(t, acc[groups * together + p], vectors, lanes,
                        y + (groups * together + p) * lanes);
        return;
    }
    EACH (p, pixels)
        store_pixel(t, acc[p], vectors, t->channels, y + p * t->out_pixel);
}

/* Every accumulator begins as its channel's bias. */
EACH_TILE void begin_tile(const int32_t *stages, vector acc[MOST_PIXELS][MOST_VECTORS], int pixels,
                          int vectors)
{
    EACH (p, pixels)
        EACH (v, vectors)
            acc[p][v] = stage_vector(stage_at(stages, v), STAGE_BIAS);
}

/* One step of a kernel row: the taps of each pixel with those of each channel. */
EACH_TILE void multiply_step(const value *x, int64_t pixel, const weight *w,
                             vector acc[MOST_PIXELS][MOST_VECTORS], int pixels, int vectors)
{
    EACH (p, pixels) {
        const factors taps = broadcast_taps(x + p * pixel);
        EACH (v, vectors)
            ADD_PRODUCTS(acc[p][v], taps, load_factors(w + LANES * TAPS * v));
    }
}

EACH_TILE void multiply_tile(const conv_tile *t, const value *x, const weight *w,
                             const int32_t *stages, char *y, int pixels, int vectors)
{
    const int two = pixels * vectors < ODD_STEPS_BELOW, step_weights = LANES * TAPS * vectors;
    vector acc[MOST_PIXELS][MOST_VECTORS], odd[MOST_PIXELS][MOST_VECTORS];
    begin_tile(stages, acc, pixels, vectors);
    if (two)
        EACH (p, pixels)
            EACH (v, vectors)
                odd[p][v] = zero_vector();
    for (int64_t row = 0; row < t->rows; ++row, x += t->row) {
        const value *at = x;
        int64_t step = 0;
        if (two)
            for (; step + 2 <= t->steps; step += 2, at += 2 * TAPS, w += 2 * step_weights) {
                multiply_step(at, t->pixel, w, acc, pixels, vectors);
                multiply_step(at + TAPS, t->pixel, w + step_weights, odd, pixels, vectors);
            }
        for (; step < t->steps; ++step, at += TAPS, w += step_weights)
            multiply_step(at, t->pixel, w, acc, pixels, vectors);
    }
    if (two)
        EACH (p, pixels)
            EACH (v, vectors)
                acc[p][v] = add_vectors(acc[p][v], odd[p][v]);
    finish(t, acc, pixels, vectors, stages, y);
}

/* An element of a line: what one lane of factors holds. */
typedef struct {
    value taps[TAPS];
} column;

/* The same for a depthwise kernel, whose lines have a lane for each channel. */
EACH_TILE void multiply_lines(const conv_tile *t, const column *x, const weight *w,
                              const int32_t *stages, char *y, int pixels, int vectors, int planes)
{
    vector acc[MOST_PIXELS][MOST_VECTORS];
    begin_tile(stages, acc, pixels, vectors);
    for (int64_t row = 0; row < t->rows; ++row, x += t->row) {
        const column *at = x;
        for (int64_t step = 0; step < t->steps; ++step, at += t->step, w += LANES * TAPS * vectors)
            EACH (p, pixels)
                EACH (v, vectors)
                    ADD_PRODUCTS(acc[p][v], load_factors(at + p * t->pixel + LANES * (v / planes)),
                                 load_factors(w + LANES * TAPS * v));
    }
    finish(t, acc, pixels, vectors, stages, y);
}

#define TILE(pixels, vectors)                                                                     \
    TILE_FUNCTION tile_##pixels##_##vectors(const conv_tile *t, const void *x, const void *w,     \
                                            const int32_t *stages, void *y)                       \
    {                                                                                             \
        multiply_tile(t, x, w, stages, y, pixels, vectors);                                       \
    }

#define LINES_TILE(planes, pixels, vectors)                                                       \
    TILE_FUNCTION lines_##planes##_##pixels##_##vectors(                                          \
        const conv_tile *t, const void *x, const void *w, const int32_t *stages, void *y)         \
    {                                                                                             \
        multiply_lines(t, x, w, stages, y, pixels, vectors, planes);                              \
    }

#define LINES(pixels, vectors) LINES_TILE(1, pixels, vectors)
#define LINES_OF_PLANES(pixels, vectors) LINES_TILE(2, pixels, vectors)

#define NAME(pixels, vectors) tile_##pixels##_##vectors,
#define LINES_NAME(pixels, vectors) lines_1_##pixels##_##vectors,
#define LINES_OF_PLANES_NAME(pixels, vectors) lines_2_##pixels##_##vectors,

/* As many accumulators as the registers hold beside the weights of a step and what an addition
 * takes. */
/* clang-format off */
#define PIXELS_6(TILE, v) TILE(1, v) TILE(2, v) TILE(3, v) TILE(4, v) TILE(5, v) TILE(6, v)
#define PIXELS_8(TILE, v) PIXELS_6(TILE, v) TILE(7, v) TILE(8, v)
#define PIXELS_12(TILE, v) PIXELS_8(TILE, v) TILE(9, v) TILE(10, v) TILE(11, v) TILE(12, v)
#define PIXELS_16(TILE, v) PIXELS_12(TILE, v) TILE(13, v) TILE(14, v) TILE(15, v) TILE(16, v)
#if REGISTERS == 32
#define EACH_SIZE(TILE) PIXELS_16(TILE, 1) PIXELS_12(TILE, 2) PIXELS_8(TILE, 3) PIXELS_6(TILE, 4)
#define TABLE(ENTRY)                                                                              \
    {{PIXELS_16(ENTRY, 1)}, {PIXELS_12(ENTRY, 2)}, {PIXELS_8(ENTRY, 3)}, {PIXELS_6(ENTRY, 4)}}
#define EACH_EVEN_SIZE(TILE) PIXELS_12(TILE, 2) PIXELS_6(TILE, 4)
#define EVEN_TABLE(ENTRY) {{NULL}, {PIXELS_12(ENTRY, 2)}, {NULL}, {PIXELS_6(ENTRY, 4)}}
#else
#define EACH_SIZE(TILE) PIXELS_12(TILE, 1) PIXELS_6(TILE, 2)
#define TABLE(ENTRY) {{PIXELS_12(ENTRY, 1)}, {PIXELS_6(ENTRY, 2)}}
#define EACH_EVEN_SIZE(TILE) PIXELS_6(TILE, 2)
#define EVEN_TABLE(ENTRY) {{NULL}, {PIXELS_6(ENTRY, 2)}}
#endif
EACH_SIZE(TILE)
EACH_SIZE(LINES)
#if WIDE
EACH_EVEN_SIZE(LINES_OF_PLANES)
#endif
/* clang-format on */

static const tile_function tiles[MOST_VECTORS][MOST_PIXELS + 1] = TABLE(NAME);

/* By planes as well. */
static const tile_function depthwise_tiles[][MOST_VECTORS][MOST_PIXELS + 1] = {
    TABLE(LINES_NAME),
#if WIDE
    EVEN_TABLE(LINES_OF_PLANES_NAME),
#endif
};
