/* Pools over windows of NHWC values: the largest element, or the rounded mean.
 *
 * Operands: x, y; for the mean x, multiplier, shift, y. A unit is a row of the output.
 */

/* The taps of a window that lie inside its sample, and elements from one to the next. */
typedef struct {
    int64_t rows, columns, row, column;
} taps;

/* How many of `size` taps lie in [0, extent); `start` becomes the first of them. Most windows have
 * all of theirs inside, and divisions are slow. */
static inline int64_t inside(int64_t *start, int64_t size, int64_t step, int64_t extent)
{
    if (*start >= 0 && *start + (size - 1) * step < extent)
        return size;
    const int64_t before = *start < 0 ? (-*start + step - 1) / step : 0;
    const int64_t most = *start < extent ? (extent - 1 - *start) / step + 1 : 0;
    *start += before * step;
    return larger(smaller(size, most) - before, 0);
}

/* `count` channels of one pixel; where that is a constant they stay in registers. */
#define MAX_OF(name, type, lowest)                                                                \
    EACH_WIDTH void name(const taps *t, const type *restrict x, type *restrict y, int64_t count)  \
    {                                                                                             \
        type best[SUMS];                                                                          \
        for (int64_t c = 0; c < count; ++c)                                                       \
            best[c] = lowest;                                                                     \
        for (int64_t row = 0; row < t->rows; ++row)                                               \
            for (int64_t column = 0; column < t->columns; ++column) {                             \
                const type *tap = x + row * t->row + column * t->column;                          \
                for (int64_t c = 0; c < count; ++c)                                               \
                    best[c] = tap[c] > best[c] ? tap[c] : best[c];                                \
            }                                                                                     \
        for (int64_t c = 0; c < count; ++c)                                                       \
            y[c] = best[c];                                                                       \
    }

/* All channels of a pixel, block by block; the last block overlaps the one before. */
#define MAX_POOL(name, type, lowest)                                                              \
    MAX_OF(name##_block, type, lowest)                                                            \
    static void name(const taps *t, const type *x, type *y, int64_t channels)                     \
    {                                                                                             \
        const int64_t block = channels >= SUMS ? SUMS : channels >= 16 ? 16 : channels;           \
        for (int64_t next = 0; next < channels; next += block) {                                  \
            const int64_t c = smaller(next, channels - block);                                    \
            if (block == SUMS)                                                                    \
                name##_block(t, x + c, y + c, SUMS);                                              \
            else if (block == 16)                                                                 \
                name##_block(t, x + c, y + c, 16);                                                \
            else                                                                                  \
                name##_block(t, x + c, y + c, block);                                             \
        }                                                                                         \
    }

MAX_POOL(max_s8, int8_t, INT8_MIN)
MAX_POOL(max_s16, int16_t, INT16_MIN)
MAX_POOL(max_s32, int32_t, INT32_MIN)
MAX_POOL(max_s64, int64_t, INT64_MIN)

KERNEL(LOOP(max_pool))
{
    const max_pool_parameters q = *(const max_pool_parameters *)parameters, *p = &q;
    const int64_t line = p->in_width * p->channels, bytes = p->bytes;
    taps t = {0, 0, p->dilation_height * line, p->dilation_width * p->channels};
    for (int64_t unit = begin; unit < end; ++unit) {
        int64_t top = unit % p->out_height * p->stride_height - p->pad_top;
        t.rows = inside(&top, p->kernel_height, p->dilation_height, p->in_height);
        const int64_t row = (unit / p->out_height * p->in_height + top) * line;
        for (int64_t pixel = 0; pixel < p->out_width; ++pixel) {
            int64_t left = pixel * p->stride_width - p->pad_left;
            t.columns = inside(&left, p->kernel_width, p->dilation_width, p->in_width);
            const int64_t at = t.rows && t.columns ? row + left * p->channels : 0;
            const void *x = element(operands[0], at, bytes);
            void *y = element(operands[1], (unit * p->out_width + pixel) * p->channels, bytes);
            if (bytes == 1)
                max_s8(&t, x, y, p->channels);
            else if (bytes == 2)
                max_s16(&t, x, y, p->channels);
            else if (bytes == 4)
                max_s32(&t, x, y, p->channels);
            else
                max_s64(&t, x, y, p->channels);
        }
    }
    return DONE;
}

/* One pixel of the output, whose window starts at (top, left) of sample `x`. */
static void average(const average_pool_parameters *p, const void *x, int64_t top, int64_t left,
                    const int32_t *multiplier, const int8_t *shift, void *y)
{
    const output_stage out = STAGE(p);
    const int64_t bottom = top + p->kernel_height, right = left + p->kernel_width;
    const int64_t y0 = larger(top, 0), y1 = smaller(bottom, p->in_height);
    const int64_t x0 = larger(left, 0), x1 = smaller(right, p->in_width);
    const int64_t seen = (y1 - y0) * (x1 - x0);
    int64_t count = seen;
    if (p->count_include_pad)
        /* the rows and columns that ceil_mode adds count in no divisor */
        count = (smaller(bottom, p->in_height + p->pad_bottom) - top) *
                (smaller(right, p->in_width + p->pad_right) - left);
    const int64_t start =
        (count - seen) * (p->pad_value - p->input_zero_point) - seen * p->input_zero_point;
    for (int64_t first = 0; first < p->channels; first += SUMS) {
        const int64_t width = smaller(p->channels - first, SUMS);
        block_sums sums;
        clear(&sums, width);
        for (int64_t iy = y0; iy < y1; ++iy)
            add_rows(&sums, x, (iy * p->in_width + x0) * p->channels + first, x1 - x0, p->channels,
                     width, p->bytes);
        store_sums(&sums, start, multiplier[count - 1], shift[count - 1], out, y, first, width,
                   p->out_bytes);
    }
}

KERNEL(LOOP(average_pool))
{
    const average_pool_parameters *p = parameters;
    const int64_t plane = p->in_height * p->in_width * p->channels;
    for (int64_t unit = begin; unit < end; ++unit) {
        const void *x = element(operands[0], unit / p->out_height * plane, p->bytes);
        const int64_t top = unit % p->out_height * p->stride_height - p->pad_top;
        for (int64_t column = 0; column < p->out_width; ++column) {
            const int64_t y = (unit * p->out_width + column) * p->channels;
            average(p, x, top, column * p->stride_width - p->pad_left, operands[1], operands[2],
                    element(operands[3], y, p->out_bytes));
        }
    }
    return DONE;
}
