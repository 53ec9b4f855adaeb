/* Functions of one operand, element by element: rescale, PRelu and tables.
 *
 * A unit is an element; for PRelu it is a run of `slopes` elements.
 */

EACH_WIDTH void rescale_elements(const rescale_parameters *p, void *const *operands, int64_t begin,
                                 int64_t end, int64_t in_bytes, int64_t out_bytes)
{
    const rescale_parameters q = *p;
    const output_stage out = STAGE(p);
    const void *x = operands[0];
    void *y = operands[1];
    EACH_ELEMENT (n, end - begin) {
        const int64_t i = begin + n;
        const int64_t acc = load(x, i, in_bytes) - q.input_zero_point;
        store(y, i, out_bytes, requantize(acc, q.multiplier, (int)q.shift, out));
    }
}

/* Operands: x, y. For an x of 8 bits the planner makes a table. */
KERNEL(LOOP(rescale))
{
    const rescale_parameters *p = parameters;
    if (p->in_bytes == 2 && p->out_bytes == 2)
        rescale_elements(p, operands, begin, end, 2, 2);
    else if (p->in_bytes == 2 && p->out_bytes == 1)
        rescale_elements(p, operands, begin, end, 2, 1);
    else
        rescale_elements(p, operands, begin, end, p->in_bytes, p->out_bytes);
    return DONE;
}

EACH_WIDTH void prelu_units(const prelu_parameters *p, void *const *operands, int64_t begin,
                            int64_t end, int64_t in_bytes, int64_t out_bytes)
{
    const int32_t *multipliers = operands[1];
    const int8_t *shifts = operands[2];
    const void *x = operands[0];
    void *y = operands[3];
    /* locals, because a store of an int8_t might change what p points to */
    const prelu_parameters q = *p;
    const output_stage out = STAGE(p);
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t first = unit * q.slopes;
        EACH_ELEMENT (c, q.slopes) {
            const int64_t acc = load(x, first + c, in_bytes) - q.input_zero_point;
            const int64_t multiplier = acc < 0 ? multipliers[c] : q.multiplier;
            const int64_t shift = acc < 0 ? shifts[c] : q.shift;
            store(y, first + c, out_bytes, requantize(acc, multiplier, (int)shift, out));
        }
    }
}

/* Operands: x, multiplier, shift, y; the arrays serve what lies below the zero point. */
KERNEL(LOOP(prelu))
{
    const prelu_parameters *p = parameters;
    if (p->in_bytes == 1 && p->out_bytes == 1)
        prelu_units(p, operands, begin, end, 1, 1);
    else if (p->in_bytes == 2 && p->out_bytes == 2)
        prelu_units(p, operands, begin, end, 2, 2);
    else
        prelu_units(p, operands, begin, end, p->in_bytes, p->out_bytes);
    return DONE;
}

EACH_WIDTH void look_up(void *const *operands, int64_t begin, int64_t end, int64_t in_bytes,
                        int64_t out_bytes)
{
    const int64_t middle = INT64_C(1) << (8 * in_bytes - 1);
    for (int64_t i = begin; i < end; ++i)
        store(operands[2], i, out_bytes,
              load(operands[1], load(operands[0], i, in_bytes) + middle, out_bytes));
}

/* Operands: x, table, y; the table has an entry for each value that x can have. */
KERNEL(LOOP(lookup))
{
    const lookup_parameters *p = parameters;
    if (p->in_bytes == 1 && p->out_bytes == 1)
        look_up(operands, begin, end, 1, 1);
    else if (p->in_bytes == 2 && p->out_bytes == 2)
        look_up(operands, begin, end, 2, 2);
    else
        look_up(operands, begin, end, p->in_bytes, p->out_bytes);
    return DONE;
}

/* Operands: x, 513 knots, y, all int16; fixedpoint.interpolate_16. */
KERNEL(LOOP(lookup_interpolated))
{
    const int16_t *x = operands[0], *knots = operands[1];
    int16_t *y = operands[2];
    EACH_ELEMENT (n, end - begin) {
        const int64_t i = begin + n;
        const int32_t low = knots[256 + (x[i] >> 7)], high = knots[257 + (x[i] >> 7)];
        y[i] = (int16_t)(low + (((high - low) * (x[i] & 127) + 64) >> 7));
    }
    return DONE;
}
