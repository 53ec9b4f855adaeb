/* Pools over windows of NHWC values: the largest element, or the rounded mean.
 *
 * Operands: x, y; for the mean x, multiplier, shift, y. A unit is a row of the output.
 */

#define MAX_POOL(name, type, lowest)                                                              \
    static void name(const max_pool_parameters *p, const type *restrict x, int64_t top,           \
                     int64_t left, type *restrict y)                                              \
    {                                                                                             \
        for (int64_t c = 0; c < p->channels; ++c)                                                 \
            y[c] = lowest;                                                                        \
        for (int64_t ky = 0; ky < p->kernel_height; ++ky) {                                       \
            const int64_t iy = top + ky * p->dilation_height;                                     \
            if (iy < 0 || iy >= p->in_height)                                                     \
                continue;                                                                         \
            for (int64_t kx = 0; kx < p->kernel_width; ++kx) {                                    \
                const int64_t ix = left + kx * p->dilation_width;                                 \
                if (ix < 0 || ix >= p->in_width)                                                  \
                    continue;                                                                     \
                const type *tap = x + (iy * p->in_width + ix) * p->channels;                      \
                for (int64_t c = 0; c < p->channels; ++c)                                         \
                    y[c] = tap[c] > y[c] ? tap[c] : y[c];                                         \
            }                                                                                     \
        }                                                                                         \
    }

MAX_POOL(max_s8, int8_t, INT8_MIN)
MAX_POOL(max_s16, int16_t, INT16_MIN)
MAX_POOL(max_s32, int32_t, INT32_MIN)
MAX_POOL(max_s64, int64_t, INT64_MIN)

KERNEL(LOOP(max_pool))
{
    const max_pool_parameters *p = parameters;
    const int64_t plane = p->in_height * p->in_width * p->channels;
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t top = unit % p->out_height * p->stride_height - p->pad_top;
        for (int64_t column = 0; column < p->out_width; ++column) {
            const int64_t left = column * p->stride_width - p->pad_left;
            const void *x = element(operands[0], unit / p->out_height * plane, p->bytes);
            void *y = element(operands[1], (unit * p->out_width + column) * p->channels, p->bytes);
            switch (p->bytes) {
            case 1:
                max_s8(p, x, top, left, y);
                break;
            case 2:
                max_s16(p, x, top, left, y);
                break;
            case 4:
                max_s32(p, x, top, left, y);
                break;
            default:
                max_s64(p, x, top, left, y);
            }
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
    const int64_t inside = (y1 - y0) * (x1 - x0);
    int64_t count = inside;
    if (p->count_include_pad)
        /* the rows and columns that ceil_mode adds count in no divisor */
        count = (smaller(bottom, p->in_height + p->pad_bottom) - top) *
                (smaller(right, p->in_width + p->pad_right) - left);
    const int64_t start =
        (count - inside) * (p->pad_value - p->input_zero_point) - inside * p->input_zero_point;
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
