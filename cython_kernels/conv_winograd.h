/* Convolutions of 3x3 without strides in 16 products for 36: Winograd's F(2x2, 3x3), in integers.
 *
 * A square of 2x2 outputs sees one of 4x4 inputs, d. With g a kernel of 3x3, and
 *
 *         | 1  0 -1  0 |        | 2  0  0 |         | 1  1  1  0 |
 *     B = | 0  1  1  0 |    G = | 1  1  1 |     A = | 0  1 -1 -1 |
 *         | 0 -1  1  0 |        | 1 -1  1 |
 *         | 0  1  0 -1 |        | 0  0  2 |
 *
 * four times the outputs are A ((G g G') * (B d B')) A' ("Fast Algorithms for Convolutional Neural
 * Networks", Lavin and Gray, 2015, where G is the half of this). Elements of B d B' are below
 * 2^10, of G g G' below 2^11; sums may wrap, as four times an output fits 32 bits (the planner's
 * `_MOST_PRODUCTS`): it is exact, and so is its quarter.
 *
 * An instruction set that multiplies 16 bits includes this file after conv_rows.h and
 *
 *     words                       WORDS values of 16 bits
 *     load_bytes, store_words     from so many bytes of x, to as many values
 *     add_words, subtract_words
 *     subtract_vectors, quarter   of sums; the latter an arithmetic shift
 *
 * Operands: x, weights, stages, y. Weights lie as [block][place of 4x4][step][vector of the block]
 * [LANES][TAPS]. The scratch holds a pixel of padding, and B d B' as [place][square][depth]. A
 * unit is a slice of the channels of a band of output rows of one sample.
 */

#define PLACES 16

typedef struct {
    const conv_winograd_parameters *p;
    const x_type *image, *padding;
    int64_t across, squares; /* of a row, of a band */
    int64_t place;           /* elements of the scratch from one place to the next */
} winograd_band;

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The first column of a square's outputs; the last square of a row overlaps the one before it. */
static inline int64_t square_column(const winograd_band *b, int64_t square)
{
    return least(2 * square, b->p->out_width - 2);
}

/* One side of B, on four values that stand `apart`. */
static inline void transform_side(words *d, int apart)
{
    const words first = d[0], second = d[apart], third = d[2 * apart];
    d[0] = subtract_words(first, third);
    d[apart] = add_words(second, third);
    d[2 * apart] = subtract_words(third, second);
    d[3 * apart] = subtract_words(second, d[3 * apart]);
}

/* B d B' for the square whose first input is at (top, left). */
static void transform_square(const winograd_band *b, int64_t top, int64_t left, value *to)
{
    const int64_t depth = b->p->depth, height = b->p->in_height, width = b->p->in_width;
    const x_type *pixels[PLACES];
    for (int64_t i = 0; i < 4; ++i)
        for (int64_t j = 0; j < 4; ++j) {
            const int64_t iy = top + i, ix = left + j;
            const int is_inside = iy >= 0 && iy < height && ix >= 0 && ix < width;
            pixels[4 * i + j] = is_inside ? b->image + (iy * width + ix) * depth : b->padding;
        }
    for (int64_t c = 0; c < depth; c += WORDS) {
        words d[PLACES];
        EACH (j, 4) {
            EACH (i, 4)
                d[4 * i + j] = load_bytes(pixels[4 * i + j] + c);
            transform_side(d + j, 4);
        }
        EACH (i, 4) {
            transform_side(d + 4 * i, 1);
            EACH (j, 4)
                store_words(to + (4 * i + j) * b->place + c, d[4 * i + j]);
        }
    }
}

/* The squares of `rows` output rows from `first` on. */
static void transform_band(const winograd_band *b, int64_t first, int64_t rows, value *to)
{
    for (int64_t row = 0; row < rows; row += 2)
        for (int64_t square = 0; square < b->across; ++square, to += b->p->depth)
            transform_square(b, first + row - b->p->pad_top,
                             square_column(b, square) - b->p->pad_left, to);
}

/* The products of some tiles of squares with a block of channels, place by place, so that a
 * place's weights stay near: sums as [place][tile][square][vector]. */
typedef void (*places_function)(const winograd_band *b, const value *x, const weight *w,
                                vector *sums, int64_t tiles);

EACH_TILE void multiply_places(const winograd_band *b, const value *x, const weight *w,
                               vector *sums, int64_t tiles, int squares, int vectors)
{
    const int64_t depth = b->p->depth, weights = depth * LANES * vectors;
    for (int place = 0; place < PLACES; ++place, x += b->place, w += weights)
        for (int64_t tile = 0; tile < tiles; ++tile, sums += squares * vectors) {
            const value *at = x + tile * squares * depth;
            const weight *step = w;
            vector acc[MOST_PIXELS][MOST_VECTORS];
            EACH (s, squares)
                EACH (v, vectors)
                    acc[s][v] = zero_vector();
            for (int64_t c = 0; c < depth; c += TAPS, step += LANES * TAPS * vectors)
                multiply_step(at + c, depth, step, acc, squares, vectors);
            EACH (s, squares)
                EACH (v, vectors)
                    sums[s * vectors + v] = acc[s][v];
        }
}

/* clang-format off */
#define SQUARES(squares, vectors)                                                                 \
    static void places_##squares##_##vectors(const winograd_band *b, const value *x,              \
                                             const weight *w, vector *sums, int64_t tiles)        \
    {                                                                                             \
        multiply_places(b, x, w, sums, tiles, squares, vectors);                                  \
    }
#define SQUARES_NAME(squares, vectors) places_##squares##_##vectors,
EACH_SIZE(SQUARES)
/* clang-format on */

static const places_function places[MOST_VECTORS][MOST_PIXELS + 1] = TABLE(SQUARES_NAME);

/* Outputs of a square, of `rows` rows, from its sums, whose places are `apart`. */
EACH_TILE void finish_square(const conv_tile *t, const vector *sums, int64_t apart, int vectors,
                             const int32_t *stages, char *y, int64_t y_row, int64_t rows)
{
    vector acc[2][MOST_PIXELS][MOST_VECTORS];
    EACH (v, vectors) {
        const vector bias = stage_vector(stage_at(stages, v), STAGE_BIAS);
        vector side[2][4];
        EACH (j, 4) {
            const vector *m = sums + j * apart + v;
            const vector second = m[4 * apart], third = m[8 * apart];
            side[0][j] = add_vectors(m[0], add_vectors(second, third));
            side[1][j] = subtract_vectors(subtract_vectors(second, third), m[12 * apart]);
        }
        EACH (i, 2) {
            const vector *m = side[i];
            const vector left = add_vectors(m[0], add_vectors(m[1], m[2]));
            const vector right = subtract_vectors(subtract_vectors(m[1], m[2]), m[3]);
            acc[i][0][v] = add_vectors(quarter(left), bias);
            acc[i][1][v] = add_vectors(quarter(right), bias);
        }
    }
    finish(t, acc[0], 2, vectors, stages, y);
    if (rows > 1)
        finish(t, acc[1], 2, vectors, stages, y + y_row);
}

/* The tiles of squares that are summed at a time. */
#define MOST_TILES 2

/* All channels of a slice, block by block, so that a block's weights stay near. */
static void multiply_squares(const winograd_band *b, const conv_tile *common, const value *x,
                             const weight *w, const int32_t *stages, char *y, int64_t rows,
                             int64_t outputs)
{
    conv_tile t = *common;
    vector sums[PLACES * MOST_TILES * MOST_PIXELS * MOST_VECTORS];
    const int64_t y_row = b->p->out_width * t.out_pixel;
    const int64_t vectors = (outputs + LANES - 1) / LANES;
    for (int64_t done = 0; done < vectors; done += MOST_VECTORS) {
        const int64_t block = least(vectors - done, MOST_VECTORS);
        t.channels = least(outputs - done * LANES, block * LANES);
        const int64_t most = tile_pixels(block, b->squares);
        int64_t row = 0, column = 0; /* of the next square */
        for (int64_t first = 0; first < b->squares;) {
            const int64_t left = b->squares - first;
            const int64_t size = least(left, most), tiles = least(left / size, MOST_TILES);
            const int64_t count = size * tiles;
            places[block - 1][size - 1](b, x + first * b->p->depth, w, sums, tiles);
            first += count;
            for (int64_t s = 0; s < count; ++s) {
                char *to = y + row * y_row + square_column(b, column) * t.out_pixel;
                const vector *own = sums + s * block;
                if (block == 1)
                    finish_square(&t, own, count, 1, stages, to, y_row, rows - row);
                else
                    finish_square(&t, own, 2 * count, 2, stages, to, y_row, rows - row);
                if (++column == b->across) {
                    column = 0;
                    row += 2;
                }
            }
        }
        w += PLACES * b->p->depth * block * LANES;
        stages += block * STAGE_VECTORS * LANES;
        y += t.channels * t.out_bytes;
    }
}

KERNEL(CONV(conv_winograd))
{
    const conv_winograd_parameters *p = parameters;
    const conv_tile common = {.out_pixel = p->out_depth * p->out_bytes,
                              .out_bytes = p->out_bytes,
                              .is_short = p->is_short,
                              .out = STAGE(p)};
    const int64_t bands = (p->out_height + p->band - 1) / p->band;
    const int64_t slices = (p->outputs + p->slice - 1) / p->slice;
    const int64_t across = (p->out_width + 1) / 2;
    x_type *padding = scratch;
    value *squares = (value *)(padding + p->depth);
    memset(padding, (int)p->input_zero_point, (size_t)p->depth);
    int64_t transformed = -1; /* whose squares are in the scratch */
    const unsigned mode = round_down();
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t place = unit / slices, sample = place / bands;
        const int64_t first = place % bands * p->band;
        const int64_t rows = least(p->out_height - first, p->band);
        const int64_t count = (rows + 1) / 2 * across;
        const winograd_band band = {
            .p = p,
            .image = (const x_type *)operands[0] + sample * p->in_height * p->in_width * p->depth,
            .padding = padding,
            .across = across,
            .squares = count,
            .place = count * p->depth + p->padding,
        };
        if (place != transformed)
            transform_band(&band, first, rows, squares);
        transformed = place;
        const slice_place at = slice_at(unit % slices, p->slice, p->outputs, 1, 0);
        multiply_squares(&band, &common, squares,
                         (const weight *)operands[1] + at.vector * PLACES * p->depth * LANES,
                         (const int32_t *)operands[2] + at.vector * STAGE_VECTORS * LANES,
                         (char *)operands[3] +
                             (sample * p->out_height + first) * p->out_width * common.out_pixel +
                             at.first * p->out_bytes,
                         rows, at.outputs);
    }
    round_as_before(mode);
    return DONE;
}
