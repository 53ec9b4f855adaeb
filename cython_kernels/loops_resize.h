/* Resizes NHWC values: each row is a weighted sum of neighbouring rows, each column likewise.
 *
 * Operands: x, first rows, row weights, first columns, column weights, y. A unit is a row of the
 * output. Rows are summed first, into the scratch: a row of x, in 32 bits.
 */

#define RESIZED 256 /* elements of the output at a time, which stay in the first cache */

/* What kernels read of one axis. */
typedef struct {
    const int32_t *first;
    const int16_t *weights;
    int64_t taps;
} neighbours;

#define SUM_ROWS(name, type)                                                                      \
    static void name(const type *restrict x, int64_t count, const int16_t *weights, int64_t taps, \
                     int32_t zero, int32_t *restrict line)                                        \
    {                                                                                             \
        const int32_t w0 = weights[0], w1 = taps == 2 ? weights[1] : 0;                           \
        if (taps == 2)                                                                            \
            for (int64_t i = 0; i < count; ++i)                                                   \
                line[i] = w0 * (x[i] - zero) + w1 * (x[count + i] - zero);                        \
        else                                                                                      \
            for (int64_t i = 0; i < count; ++i)                                                   \
                line[i] = w0 * (x[i] - zero);                                                     \
        for (int64_t tap = 1; taps != 2 && tap < taps; ++tap) {                                   \
            const type *row = x + tap * count;                                                    \
            const int32_t w = weights[tap];                                                       \
            for (int64_t i = 0; i < count; ++i)                                                   \
                line[i] += w * (row[i] - zero);                                                   \
        }                                                                                         \
    }

SUM_ROWS(sum_rows_s8, int8_t)
SUM_ROWS(sum_rows_s16, int16_t)

/* `count` channels of one output pixel, whose neighbours start at `line`. */
#define SUM_PIXEL(name, sum_type)                                                                 \
    EACH_WIDTH void name(const int32_t *restrict line, int64_t count, const int16_t *weights,     \
                         int64_t taps, int64_t channels, sum_type *restrict sums)                 \
    {                                                                                             \
        for (int64_t c = 0; c < count; ++c)                                                       \
            sums[c] = (sum_type)weights[0] * line[c];                                             \
        for (int64_t tap = 1; tap < taps; ++tap)                                                  \
            for (int64_t c = 0; c < count; ++c)                                                   \
                sums[c] += (sum_type)weights[tap] * line[tap * channels + c];                     \
    }

/* `count` elements of an output row, from element `start` on. */
#define SUM_COLUMNS(name, sum_type)                                                               \
    SUM_PIXEL(name##_pixel, sum_type)                                                             \
    static void name(const int32_t *line, const neighbours *n, int64_t channels, int64_t start,   \
                     int64_t count, sum_type *sums)                                               \
    {                                                                                             \
        int64_t pixel = start / channels, channel = start % channels;                             \
        for (int64_t done = 0, run; done < count; done += run, ++pixel, channel = 0) {            \
            run = smaller(channels - channel, count - done);                                      \
            const int32_t *from = line + n->first[pixel] * channels + channel;                    \
            const int16_t *weights = n->weights + pixel * n->taps;                                \
            if (channels == 1)                                                                    \
                name##_pixel(from, 1, weights, n->taps, 1, sums + done);                          \
            else if (n->taps == 2)                                                                \
                name##_pixel(from, run, weights, 2, channels, sums + done);                       \
            else                                                                                  \
                name##_pixel(from, run, weights, n->taps, channels, sums + done);                 \
        }                                                                                         \
    }

SUM_COLUMNS(sum_columns_s8, int32_t)
SUM_COLUMNS(sum_columns_s16, int64_t)

/* Sums divided by a power of two; the catalogue has proven that these fit 32 bits. */
EACH_WIDTH void store_shifted(const resize_parameters *p, const int32_t *restrict sums,
                              int64_t count, void *restrict y, int64_t first, int64_t bytes)
{
    const int32_t shift = (int32_t)p->plain_shift, half = INT32_C(1) << (shift - 1);
    const int32_t zero = (int32_t)p->output_zero_point;
    const int32_t lo = (int32_t)p->lo, hi = (int32_t)p->hi;
    for (int64_t i = 0; i < count; ++i) {
        const int32_t value = ((sums[i] + half) >> shift) + zero;
        const int32_t raised = value < lo ? lo : value;
        store(y, first + i, bytes, raised > hi ? hi : raised);
    }
}

#define STORE_REQUANTIZED(name, sum_type)                                                         \
    EACH_WIDTH void name(const resize_parameters *p, const sum_type *restrict sums,               \
                         int64_t count, void *restrict y, int64_t first, int64_t bytes)           \
    {                                                                                             \
        const output_stage out = STAGE(p);                                                        \
        const int64_t multiplier = p->multiplier, shift = p->shift;                               \
        for (int64_t i = 0; i < count; ++i)                                                       \
            store(y, first + i, bytes, requantize(sums[i], multiplier, (int)shift, out));         \
    }

STORE_REQUANTIZED(store_resized_s8, int32_t)
STORE_REQUANTIZED(store_resized_s16, int64_t)

/* One row of the output, from the sums over its rows of x. */
EACH_WIDTH void resize_row(const resize_parameters *p, const int32_t *line, const neighbours *n,
                           void *y, int64_t first, int64_t bytes, int64_t out_bytes)
{
    const int64_t length = p->out_width * p->channels;
    for (int64_t start = 0; start < length; start += RESIZED) {
        const int64_t count = smaller(length - start, RESIZED);
        if (bytes == 1) {
            int32_t sums[RESIZED];
            sum_columns_s8(line, n, p->channels, start, count, sums);
            if (p->plain_shift)
                store_shifted(p, sums, count, y, first + start, out_bytes);
            else
                store_resized_s8(p, sums, count, y, first + start, out_bytes);
        } else {
            int64_t sums[RESIZED];
            sum_columns_s16(line, n, p->channels, start, count, sums);
            store_resized_s16(p, sums, count, y, first + start, out_bytes);
        }
    }
}

KERNEL(LOOP(resize))
{
    const resize_parameters q = *(const resize_parameters *)parameters, *p = &q;
    const neighbours rows = {operands[1], operands[2], p->row_taps};
    const neighbours columns = {operands[3], operands[4], p->column_taps};
    const int64_t width = p->in_width * p->channels, out_width = p->out_width * p->channels;
    const int32_t zero = (int32_t)p->input_zero_point;
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t row = unit % p->out_height;
        const int64_t from = (unit / p->out_height * p->in_height + rows.first[row]) * width;
        const int16_t *weights = rows.weights + row * rows.taps;
        const void *x = element(operands[0], from, p->bytes);
        void *y = operands[5];
        if (p->bytes == 1)
            sum_rows_s8(x, width, weights, rows.taps, zero, scratch);
        else
            sum_rows_s16(x, width, weights, rows.taps, zero, scratch);
        if (p->bytes == 1 && p->out_bytes == 1)
            resize_row(p, scratch, &columns, y, unit * out_width, 1, 1);
        else if (p->bytes == 1)
            resize_row(p, scratch, &columns, y, unit * out_width, 1, 2);
        else
            resize_row(p, scratch, &columns, y, unit * out_width, 2, p->out_bytes);
    }
    return DONE;
}
