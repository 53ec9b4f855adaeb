/* Functions of two operands, broadcast: sum, difference, product, larger and smaller.
 *
 * Operands: a, b, y; add_s8 has tables between them. A unit is a row: the last axis, everything
 * before it fixed. Each body is instantiated for all 8 bits, all 16 bits and any mixture.
 */

/* Calls `row` for each unit with the widths as constants where all three are equal. */
#define EACH_ROW(p, row)                                                                          \
    do {                                                                                          \
        const int64_t last = (p)->rank - 1, length = (p)->extents[last];                          \
        const int64_t a_step = (p)->a_strides[last], b_step = (p)->b_strides[last];               \
        for (int64_t unit = begin; unit < end; ++unit) {                                          \
            const int64_t a = row_start(unit, last, (p)->extents, (p)->a_strides);                \
            const int64_t b = row_start(unit, last, (p)->extents, (p)->b_strides);                \
            const int64_t y = unit * length;                                                      \
            if ((p)->a_bytes == 1 && (p)->b_bytes == 1 && (p)->out_bytes == 1)                    \
                row(p, operands, a, b, y, length, a_step, b_step, 1, 1, 1);                       \
            else if ((p)->a_bytes == 2 && (p)->b_bytes == 2 && (p)->out_bytes == 2)               \
                row(p, operands, a, b, y, length, a_step, b_step, 2, 2, 2);                       \
            else                                                                                  \
                row(p, operands, a, b, y, length, a_step, b_step, (p)->a_bytes, (p)->b_bytes,     \
                    (p)->out_bytes);                                                              \
        }                                                                                         \
    } while (0)

#define ROW(name, type)                                                                           \
    EACH_WIDTH void name(const type *p, void *const *operands, int64_t a, int64_t b, int64_t y,   \
                         int64_t length, int64_t a_step, int64_t b_step, int64_t a_bytes,         \
                         int64_t b_bytes, int64_t out_bytes)

/* Three roundings, never merged: both operands to twice the larger scale, the sum to its own. */
ROW(add_row, add_parameters)
{
    const output_stage out = STAGE(p);
    const int64_t unit = INT64_C(1) << p->left_shift;
    const int twice = (int)p->twice;
    for (int64_t i = 0; i < length; ++i) {
        const int64_t qa = load(operands[0], a + i * a_step, a_bytes) - p->a_zero_point;
        const int64_t qb = load(operands[1], b + i * b_step, b_bytes) - p->b_zero_point;
        const int64_t ra = round_shift(qa * unit, p->a_multiplier, (int)p->a_shift, twice);
        const int64_t rb = round_shift(qb * unit, p->b_multiplier, (int)p->b_shift, twice);
        store(operands[2], y + i, out_bytes,
              requantize(p->subtract ? ra - rb : ra + rb, p->multiplier, (int)p->shift, out));
    }
}

ROW(mul_row, mul_parameters)
{
    const output_stage out = STAGE(p);
    for (int64_t i = 0; i < length; ++i) {
        const int64_t qa = load(operands[0], a + i * a_step, a_bytes) - p->a_zero_point;
        const int64_t qb = load(operands[1], b + i * b_step, b_bytes) - p->b_zero_point;
        store(operands[2], y + i, out_bytes,
              requantize(qa * qb, p->multiplier, (int)p->shift, out));
    }
}

ROW(extreme_row, extreme_parameters)
{
    for (int64_t i = 0; i < length; ++i) {
        const int64_t qa = load(operands[0], a + i * a_step, a_bytes);
        const int64_t qb = load(operands[1], b + i * b_step, b_bytes);
        store(operands[2], y + i, out_bytes, (qa > qb) == (p->largest != 0) ? qa : qb);
    }
}

KERNEL(LOOP(add))
{
    const add_parameters *p = parameters;
    EACH_ROW(p, add_row);
    return DONE;
}

/* Operands: a, b, the 256 entries of a, those of b, y. */
KERNEL(LOOP(add_s8))
{
    const add_s8_parameters *p = parameters;
    const int64_t last = p->rank - 1, length = p->extents[last];
    const int64_t a_step = p->a_strides[last], b_step = p->b_strides[last];
    const int32_t *a_table = (const int32_t *)operands[2] + 128;
    const int32_t *b_table = (const int32_t *)operands[3] + 128;
    /* locals, because a store of an int8_t might change what p points to */
    const int64_t sign = p->subtract ? -1 : 1, multiplier = p->multiplier;
    const int shift = (int)p->shift;
    const output_stage out = STAGE(p);
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t a_start = row_start(unit, last, p->extents, p->a_strides);
        const int64_t b_start = row_start(unit, last, p->extents, p->b_strides);
        const int8_t *a = (const int8_t *)operands[0] + a_start;
        const int8_t *b = (const int8_t *)operands[1] + b_start;
        int8_t *y = (int8_t *)operands[4] + unit * length;
        for (int64_t i = 0; i < length; ++i) {
            const int64_t sum = a_table[a[i * a_step]] + sign * b_table[b[i * b_step]];
            y[i] = (int8_t)requantize(sum, multiplier, shift, out);
        }
    }
    return DONE;
}

KERNEL(LOOP(mul))
{
    const mul_parameters *p = parameters;
    EACH_ROW(p, mul_row);
    return DONE;
}

KERNEL(LOOP(extreme))
{
    const extreme_parameters *p = parameters;
    EACH_ROW(p, extreme_row);
    return DONE;
}
