/* Reductions over any axes, and what looks along one: sum, largest, smallest, argmax, softmax.
 *
 * A unit is an element of the output; for softmax it is a whole line along the axis.
 */

/* The sum of a row of one output, `step` elements apart. */
EACH_WIDTH int64_t row_sum(const void *x, int64_t first, int64_t length, int64_t step,
                           int64_t bytes)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < length; ++i)
        sum += load(x, first + i * step, bytes);
    return sum;
}

/* Operands: x, y. Outputs whose inputs are neighbours are summed side by side. */
KERNEL(LOOP(reduce_sum))
{
    const reduce_sum_parameters *p = parameters;
    const int64_t last = p->rank - 1, reduced = last - p->kept;
    const int64_t length = p->extents[last], step = p->strides[last], bytes = p->in_bytes;
    const int64_t line = p->strides[p->kept - 1] == 1 ? p->extents[p->kept - 1] : 1;
    const output_stage out = STAGE(p);
    int64_t rows = 1;
    for (int64_t axis = p->kept; axis < last; ++axis)
        rows *= p->extents[axis];
    const int64_t zeros = -rows * length * p->input_zero_point;
    for (int64_t unit = begin, count; unit < end; unit += count) {
        const int64_t start = row_start(unit, p->kept, p->extents, p->strides);
        count = smaller(smaller(end - unit, SUMS), line - unit % line);
        block_sums sums;
        clear(&sums, count);
        for (int64_t row = 0; row < rows; ++row) {
            const int64_t at =
                start + row_start(row, reduced, p->extents + p->kept, p->strides + p->kept);
            if (count > 1)
                add_rows(&sums, operands[0], at, length, step, count, bytes);
            else if (bytes == 1)
                sums.wide[0] += step == 1 ? row_sum(operands[0], at, length, 1, 1)
                                          : row_sum(operands[0], at, length, step, 1);
            else
                sums.wide[0] += step == 1 ? row_sum(operands[0], at, length, 1, 2)
                                          : row_sum(operands[0], at, length, step, 2);
        }
        store_sums(&sums, zeros, p->multiplier, (int)p->shift, out, operands[1], unit, count,
                   p->out_bytes);
    }
    return DONE;
}

/* Of `count` outputs side by side the extreme so far, over a row of what is reduced. */
EACH_WIDTH void extreme_rows(const void *restrict x, int64_t first, int64_t length, int64_t step,
                             void *restrict y, int64_t unit, int64_t count, int largest,
                             int64_t bytes)
{
    for (int64_t i = 0; i < length; ++i)
        for (int64_t n = 0; n < count; ++n) {
            const int64_t q = load(x, first + i * step + n, bytes);
            const int64_t best = load(y, unit + n, bytes);
            store(y, unit + n, bytes, largest ? larger(q, best) : smaller(q, best));
        }
}

/* The extreme of one output, `step` elements apart. */
EACH_WIDTH int64_t row_extreme(const void *x, int64_t first, int64_t length, int64_t step,
                               int64_t best, int largest, int64_t bytes)
{
    for (int64_t i = 0; i < length; ++i) {
        const int64_t q = load(x, first + i * step, bytes);
        best = largest ? larger(q, best) : smaller(q, best);
    }
    return best;
}

EACH_WIDTH void reduce_to_extremes(const reduce_extreme_parameters *p, void *const *operands,
                                   int64_t begin, int64_t end, int largest, int64_t bytes)
{
    const int64_t last = p->rank - 1, reduced = last - p->kept;
    const int64_t length = p->extents[last], step = p->strides[last];
    const int64_t line = p->strides[p->kept - 1] == 1 ? p->extents[p->kept - 1] : 1;
    const void *x = operands[0];
    void *y = operands[1];
    int64_t rows = 1;
    for (int64_t axis = p->kept; axis < last; ++axis)
        rows *= p->extents[axis];
    for (int64_t unit = begin, count; unit < end; unit += count) {
        const int64_t start = row_start(unit, p->kept, p->extents, p->strides);
        count = smaller(end - unit, line - unit % line);
        memcpy(element(y, unit, bytes), element(x, start, bytes), (size_t)(count * bytes));
        for (int64_t row = 0; row < rows; ++row) {
            const int64_t at =
                start + row_start(row, reduced, p->extents + p->kept, p->strides + p->kept);
            if (count > 1)
                extreme_rows(x, at, length, step, y, unit, count, largest, bytes);
            else
                store(y, unit, bytes,
                      row_extreme(x, at, length, step, load(y, unit, bytes), largest, bytes));
        }
    }
}

/* Operands: x, y. Outputs whose inputs are neighbours are reduced side by side. */
KERNEL(LOOP(reduce_extreme))
{
    const reduce_extreme_parameters *p = parameters;
    if (p->in_bytes == 1 && p->largest)
        reduce_to_extremes(p, operands, begin, end, 1, 1);
    else if (p->in_bytes == 1)
        reduce_to_extremes(p, operands, begin, end, 0, 1);
    else if (p->in_bytes == 2 && p->largest)
        reduce_to_extremes(p, operands, begin, end, 1, 2);
    else if (p->in_bytes == 2)
        reduce_to_extremes(p, operands, begin, end, 0, 2);
    else
        reduce_to_extremes(p, operands, begin, end, p->largest != 0, p->in_bytes);
    return DONE;
}

/* Operands: x, y (int64): the index of the first or the last of the largest. */
KERNEL(LOOP(argmax))
{
    const argmax_parameters *p = parameters;
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t start = unit / p->inner * p->extent * p->inner + unit % p->inner;
        int64_t best = load(operands[0], start, p->bytes), index = 0;
        for (int64_t i = 1; i < p->extent; ++i) {
            const int64_t q = load(operands[0], start + i * p->inner, p->bytes);
            if (q > best || (p->last && q == best)) {
                best = q;
                index = i;
            }
        }
        ((int64_t *)operands[1])[unit] = index;
    }
    return DONE;
}

/* exp of a difference, in Q23 and in Q30: an entry, and the product of the high byte's and the low
 * byte's entry. */
static inline int64_t exponential_s8(const int32_t *exponentials, int32_t d)
{
    return exponentials[d];
}

static inline int64_t exponential_s16(const int32_t *exponentials, int32_t d)
{
    return ((int64_t)exponentials[d >> 8] * exponentials[256 + (d & 255)] + (1 << 29)) >> 30;
}

/* The integer quotient of what is below 2^53, by a division of doubles: it rounds by less than
 * quotient 2^-53 < 1 / divisor, which is the least by which a quotient misses an integer. */
static inline int64_t exact_quotient(int64_t dividend, int64_t divisor)
{
#ifdef INTEGERS_ONLY
    return dividend / divisor;
#else
    return (int32_t)((double)dividend / (double)divisor);
#endif
}

/* A line of softmax: exp of each difference from the largest, as a share of all. */
#define SOFTMAX_LINE(name, type, exponential, scale, zero_point, lo, hi)                          \
    EACH_WIDTH void name(const type *x, const int32_t *exponentials, type *y, int64_t extent,     \
                         int64_t inner)                                                           \
    {                                                                                             \
        int32_t largest = x[0];                                                                   \
        int64_t total = 0;                                                                        \
        for (int64_t i = 1; i < extent; ++i)                                                      \
            largest = x[i * inner] > largest ? x[i * inner] : largest;                            \
        for (int64_t i = 0; i < extent; ++i)                                                      \
            total += exponential(exponentials, largest - x[i * inner]);                           \
        if (total < INT64_C(1) << 52)                                                             \
            EACH_ELEMENT (i, extent) {                                                            \
                const int64_t t = exponential(exponentials, largest - x[i * inner]);              \
                const int64_t share = exact_quotient(t * scale + total, 2 * total);               \
                y[i * inner] = (type)clamp(share + zero_point, lo, hi);                           \
            }                                                                                     \
        else                                                                                      \
            for (int64_t i = 0; i < extent; ++i) {                                                \
                const int64_t t = exponential(exponentials, largest - x[i * inner]);              \
                const int64_t share = (t * scale + total) / (2 * total);                          \
                y[i * inner] = (type)clamp(share + zero_point, lo, hi);                           \
            }                                                                                     \
    }

SOFTMAX_LINE(softmax_line_s8, int8_t, exponential_s8, 512, -128, -128, 127)
SOFTMAX_LINE(softmax_line_s16, int16_t, exponential_s16, 65536, 0, 0, 32767)

#define EACH_LINE(line, type)                                                                     \
    do {                                                                                          \
        const softmax_parameters *p = parameters;                                                 \
        for (int64_t unit = begin; unit < end; ++unit) {                                          \
            const int64_t start = unit / p->inner * p->extent * p->inner + unit % p->inner;       \
            const type *x = (const type *)operands[0] + start;                                    \
            type *y = (type *)operands[2] + start;                                                \
            if (p->inner == 1)                                                                    \
                line(x, operands[1], y, p->extent, 1);                                            \
            else                                                                                  \
                line(x, operands[1], y, p->extent, p->inner);                                     \
        }                                                                                         \
    } while (0)

/* Operands: x, 256 exponentials, y; fixedpoint.softmax_8. */
KERNEL(LOOP(softmax_s8))
{
    EACH_LINE(softmax_line_s8, int8_t);
    return DONE;
}

/* Operands: x, 2 x 256 exponentials, y; fixedpoint.softmax_16. */
KERNEL(LOOP(softmax_s16))
{
    EACH_LINE(softmax_line_s16, int16_t);
    return DONE;
}
