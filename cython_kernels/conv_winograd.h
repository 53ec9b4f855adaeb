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
 * An instruction set that multiplies 16 bits includes this file after conv_blocks.h, conv_rows.h
 * and
 *
 *     words                       WORDS values of 16 bits
 *     load_bytes, store_words     from so many bytes of x, to as many values
 *     add_words, subtract_words
 *     subtract_vectors, quarter   of sums; the latter an arithmetic shift
 *
 * Operands: x, weights, stages, y. Weights lie as [block][place of 4x4][step][vector of the block]
 * [LANES][TAPS]. The scratch holds a pixel of padding, and B d B' as [place][square][depth]. A
 * unit is a slice of the channels of some squares of one sample, which follow each other in rows.
 */

#define PLACES 16

/* What a unit looks at. */
typedef struct {
    const conv_winograd_parameters *p;
    const x_type *image, *padding;
    int64_t first, count; /* of its squares */
    int64_t place;        /* elements of the scratch from one place to the next */
} winograd_unit;

/* The first output of a square. */
typedef struct {
    int64_t row, column;
} corner;

static inline corner first_corner(const winograd_unit *u)
{
    const int64_t across = (u->p->out_width + 1) / 2;
    return (corner){u->first / across * 2, u->first % across * 2};
}

static inline corner next_corner(const winograd_unit *u, corner at)
{
    at.column += 2;
    return at.column < u->p->out_width ? at : (corner){at.row + 2, 0};
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
static void transform_square(const winograd_unit *u, int64_t top, int64_t left, value *to)
{
    const int64_t depth = u->p->depth, height = u->p->in_height, width = u->p->in_width;
    const x_type *pixels[PLACES];
    for (int64_t i = 0; i < 4; ++i)
        for (int64_t j = 0; j < 4; ++j) {
            const int64_t iy = top + i, ix = left + j;
            const int is_inside = iy >= 0 && iy < height && ix >= 0 && ix < width;
            pixels[4 * i + j] = is_inside ? u->image + (iy * width + ix) * depth : u->padding;
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
                store_words(to + (4 * i + j) * u->place + c, d[4 * i + j]);
        }
    }
}

static void transform_squares(const winograd_unit *u, value *to)
{
    corner at = first_corner(u);
    for (int64_t s = 0; s < u->count; ++s, at = next_corner(u, at), to += u->p->depth)
        transform_square(u, at.row - u->p->pad_top, at.column - u->p->pad_left, to);
}

/* The products of some tiles of squares with a block of channels, place by place, so that a
 * place's weights stay near: sums as [place][tile][square][vector]. */
typedef void (*places_function)(const winograd_unit *u, const value *x, const weight *w,
                                vector *sums, int64_t tiles);

EACH_TILE void multiply_places(const winograd_unit *u, const value *x, const weight *w,
                               vector *sums, int64_t tiles, int squares, int vectors)
{
    const int64_t depth = u->p->depth, weights = depth * LANES * vectors;
    for (int place = 0; place < PLACES; ++place, x += u->place, w += weights)
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
    TILE_FUNCTION places_##squares##_##vectors(const winograd_unit *u, const value *x,            \
                                               const weight *w, vector *sums, int64_t tiles)      \
    {                                                                                             \
        multiply_places(u, x, w, sums, tiles, squares, vectors);                                  \
    }
#define SQUARES_NAME(squares, vectors) places_##squares##_##vectors,
EACH_SIZE(SQUARES)
/* clang-format on */

static const places_function places[MOST_VECTORS][MOST_PIXELS + 1] = TABLE(SQUARES_NAME);

/* Outputs of a square, of so many rows and columns, from its sums, whose places are `apart`. */
EACH_TILE void finish_square(const conv_tile *t, const vector *sums, int64_t apart, int vectors,
                             const int32_t *stages, char *y, int64_t rows, int64_t columns,
                             int64_t y_row)
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
    EACH (i, 2) {
        if (i >= rows)
            break;
        if (columns > 1)
            finish(t, acc[i], 2, vectors, stages, y + i * y_row);
        else
            finish(t, acc[i], 1, vectors, stages, y + i * y_row);
    }
}

/* The tiles of squares that are summed at a time. */
#define MOST_TILES 2

/* All channels of a slice, block by block, so that a block's weights stay near. Not inlined, as
 * what ends in floats must not move out from between round_down and round_as_before. */
static __attribute__((noinline)) void multiply_squares(const winograd_unit *u,
                                                       const conv_tile *common, const value *x,
                                                       const weight *w, const int32_t *stages,
                                                       char *y, int64_t outputs)
{
    conv_tile t = *common;
    vector sums[PLACES * MOST_TILES * MOST_PIXELS]; /* which of more vectors are fewer */
    const int64_t height = u->p->out_height, width = u->p->out_width;
    const int64_t y_row = width * t.out_pixel, vectors = (outputs + LANES - 1) / LANES;
    for (int64_t done = 0; done < vectors; done += MOST_VECTORS) {
        const int64_t block = least(vectors - done, MOST_VECTORS);
        t.channels = least(outputs - done * LANES, block * LANES);
        const int64_t most = tile_pixels(block, u->count);
        corner at = first_corner(u);
        for (int64_t first = 0; first < u->count;) {
            const int64_t left = u->count - first;
            const int64_t size = least(left, most), together = least(left / size, MOST_TILES);
            const int64_t count = size * together;
            places[block - 1][size - 1](u, x + first * u->p->depth, w, sums, together);
            first += count;
            for (int64_t s = 0; s < count; ++s, at = next_corner(u, at)) {
                const vector *own = sums + s * block;
                char *to = y + at.row * y_row + at.column * t.out_pixel;
                const int64_t rows = height - at.row, columns = width - at.column;
                if (block == 1)
                    finish_square(&t, own, count, 1, stages, to, rows, columns, y_row);
                else
                    finish_square(&t, own, 2 * count, 2, stages, to, rows, columns, y_row);
            }
        }
        w += PLACES * u->p->depth * block * LANES;
        stages += block * STAGE_VECTORS * LANES;
        y += t.channels * t.out_bytes;
    }
}

KERNEL(CONV(conv_winograd))
{
    const conv_winograd_parameters *p = parameters;
    const conv_tile common = {.out_pixel = p->out_depth * p->out_bytes,
                              .out_bytes = p->out_bytes,
                              .form = p->form,
                              .out = STAGE(p)};
    const int64_t squares = (p->out_height + 1) / 2 * ((p->out_width + 1) / 2);
    const int64_t parts = (squares + p->squares - 1) / p->squares;
    const int64_t slices = (p->outputs + p->slice - 1) / p->slice;
    const int64_t in_sample = p->in_height * p->in_width * p->depth;
    const int64_t out_sample = p->out_height * p->out_width * common.out_pixel;
    x_type *padding = scratch;
    value *transformed = (value *)(padding + p->depth);
    memset(padding, (int)p->input_zero_point, (size_t)p->depth);
    int64_t known = -1; /* whose squares are in the scratch */
    const unsigned mode = round_down();
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t place = unit / slices, sample = place / parts;
        const int64_t first = place % parts * p->squares;
        const winograd_unit u = {.p = p,
                                 .image = (const x_type *)operands[0] + sample * in_sample,
                                 .padding = padding,
                                 .first = first,
                                 .count = least(squares - first, p->squares),
                                 .place = p->place};
        if (place != known)
            transform_squares(&u, transformed);
        known = place;
        const slice_place at = slices_at(unit % slices, 1, p->slice, p->outputs, 1, 0);
        multiply_squares(&u, &common, transformed,
                         (const weight *)operands[1] + at.vector * PLACES * p->depth * LANES,
                         (const int32_t *)operands[2] + at.vector * STAGE_VECTORS * LANES,
                         (char *)operands[3] + sample * out_sample + at.first * p->out_bytes,
                         at.outputs);
    }
    round_as_before(mode);
    return DONE;
}
