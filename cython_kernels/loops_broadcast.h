/* Functions of two operands, broadcast: sum, difference, product, larger and smaller, and the
 * arithmetic of indices.
 *
 * Operands: a, b, y; add_s8 has tables between them. A unit is a row: the last axis, everything
 * before it fixed. Each body is instantiated for all 8 bits, all 16 bits and any mixture.
 */

/* A row with the steps that nearly all have as constants: both operands are rows, or one is a
 * number. */
#define STEPPED(p, row, a_bytes, b_bytes, out_bytes)                                              \
    do {                                                                                          \
        if (a_step == 1 && b_step == 1)                                                           \
            row(p, operands, a, b, y, length, 1, 1, a_bytes, b_bytes, out_bytes);                 \
        else if (b_step == 0)                                                                     \
            row(p, operands, a, b, y, length, a_step, 0, a_bytes, b_bytes, out_bytes);            \
        else                                                                                      \
            row(p, operands, a, b, y, length, a_step, b_step, a_bytes, b_bytes, out_bytes);       \
    } while (0)

/* Calls `row` for each unit, with the widths as constants where all three are equal, or where two
 * rows of int16 become one of int8, which not all functions do: `narrows`. */
#define EACH_ROW(p, row, narrows)                                                                 \
    do {                                                                                          \
        const int64_t last = (p)->rank - 1, length = (p)->extents[last];                          \
        const int64_t a_step = (p)->a_strides[last], b_step = (p)->b_strides[last];               \
        for (int64_t unit = begin; unit < end; ++unit) {                                          \
            const int64_t a = row_start(unit, last, (p)->extents, (p)->a_strides);                \
            const int64_t b = row_start(unit, last, (p)->extents, (p)->b_strides);                \
            const int64_t y = unit * length;                                                      \
            if ((p)->a_bytes == 1 && (p)->b_bytes == 1 && (p)->out_bytes == 1)                    \
                STEPPED(p, row, 1, 1, 1);                                                         \
            else if ((p)->a_bytes == 2 && (p)->b_bytes == 2 && (p)->out_bytes == 2)               \
                STEPPED(p, row, 2, 2, 2);                                                         \
            else if ((narrows) && (p)->a_bytes == 2 && (p)->b_bytes == 2 && a_step == 1 &&        \
                     b_step == 1)                                                                 \
                row(p, operands, a, b, y, length, 1, 1, 2, 2, 1);                                 \
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
    const add_parameters q = *p;
    const output_stage out = STAGE(p);
    const int64_t unit = INT64_C(1) << q.left_shift, sign = q.subtract ? -1 : 1;
    const int twice = (int)q.twice;
    const void *first = operands[0], *second = operands[1];
    void *result = operands[2];
    EACH_ELEMENT (i, length) {
        const int64_t qa = load(first, a + i * a_step, a_bytes) - q.a_zero_point;
        const int64_t qb = load(second, b + i * b_step, b_bytes) - q.b_zero_point;
        const int64_t ra = round_shift(qa * unit, q.a_multiplier, (int)q.a_shift, twice);
        const int64_t rb = round_shift(qb * unit, q.b_multiplier, (int)q.b_shift, twice);
        store(result, y + i, out_bytes,
              requantize(ra + sign * rb, q.multiplier, (int)q.shift, out));
    }
}

ROW(mul_row, mul_parameters)
{
    /* locals, because a store of an int8_t might change what pointers point to */
    const output_stage out = STAGE(p);
    const int64_t a_zero = p->a_zero_point, b_zero = p->b_zero_point, multiplier = p->multiplier;
    const int shift = (int)p->shift;
    const void *first = operands[0], *second = operands[1];
    void *result = operands[2];
    EACH_ELEMENT (i, length) {
        const int64_t qa = load(first, a + i * a_step, a_bytes) - a_zero;
        const int64_t qb = load(second, b + i * b_step, b_bytes) - b_zero;
        store(result, y + i, out_bytes, requantize(qa * qb, multiplier, shift, out));
    }
}

/* fixedpoint.quotient: no doubled divisor reaches 2^62, and no doubled dividend 2^50. */
ROW(div_row, mul_parameters)
{
    const output_stage out = STAGE(p);
    const int64_t a_zero = p->a_zero_point, b_zero = p->b_zero_point, multiplier = p->multiplier;
    const int shift = (int)p->shift;
    const void *first = operands[0], *second = operands[1];
    void *result = operands[2];
    for (int64_t i = 0; i < length; ++i) {
        const int64_t qa = load(first, a + i * a_step, a_bytes) - a_zero;
        const int64_t qb = load(second, b + i * b_step, b_bytes) - b_zero;
        int64_t rounded = ((qa > 0) - (qa < 0)) * (INT64_C(1) << 31);
        if (qb != 0) {
            const int64_t divisor = (qb < 0 ? -qb : qb) << shift;
            const int64_t doubled = 2 * (qb < 0 ? -qa : qa) * multiplier + divisor;
            rounded = doubled / (2 * divisor) - (doubled % (2 * divisor) < 0);
        }
        store(result, y + i, out_bytes, clamp(rounded + out.zero_point, out.lo, out.hi));
    }
}

ROW(extreme_row, extreme_parameters)
{
    const void *first = operands[0], *second = operands[1];
    void *result = operands[2];
    if (p->largest)
        EACH_ELEMENT (i, length) {
            const int64_t qa = load(first, a + i * a_step, a_bytes);
            const int64_t qb = load(second, b + i * b_step, b_bytes);
            store(result, y + i, out_bytes, larger(qa, qb));
        }
    else
        EACH_ELEMENT (i, length) {
            const int64_t qa = load(first, a + i * a_step, a_bytes);
            const int64_t qb = load(second, b + i * b_step, b_bytes);
            store(result, y + i, out_bytes, smaller(qa, qb));
        }
}

KERNEL(LOOP(add))
{
    const add_parameters *p = parameters;
    EACH_ROW(p, add_row, 1);
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
    EACH_ROW(p, mul_row, 1);
    return DONE;
}

KERNEL(LOOP(div))
{
    const mul_parameters *p = parameters;
    EACH_ROW(p, div_row, 1);
    return DONE;
}

KERNEL(LOOP(extreme))
{
    const extreme_parameters *p = parameters;
    EACH_ROW(p, extreme_row, 0);
    return DONE;
}

/* Sums, differences and products wrap; a divisor is 1 or more. */
static inline int64_t index_result(int64_t function, int64_t a, int64_t b)
{
    switch (function) {
    case INDEX_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case INDEX_SUB:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    case INDEX_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case INDEX_DIV:
        return a / b;
    case INDEX_MOD:
        return a % b + (a % b < 0 ? b : 0);
    case INDEX_MAX:
        return larger(a, b);
    case INDEX_MIN:
        return smaller(a, b);
    case INDEX_EQUAL:
        return a == b;
    default:
        return a > b;
    }
}

/* Operands: a, b, y, all int64. */
KERNEL(LOOP(index_arithmetic))
{
    const index_arithmetic_parameters *p = parameters;
    const int64_t last = p->rank - 1, length = p->extents[last];
    const int64_t a_step = p->a_strides[last], b_step = p->b_strides[last];
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t *a =
            (const int64_t *)operands[0] + row_start(unit, last, p->extents, p->a_strides);
        const int64_t *b =
            (const int64_t *)operands[1] + row_start(unit, last, p->extents, p->b_strides);
        int64_t *y = (int64_t *)operands[2] + unit * length;
        for (int64_t i = 0; i < length; ++i)
            y[i] = index_result(p->function, a[i * a_step], b[i * b_step]);
    }
    return DONE;
}
