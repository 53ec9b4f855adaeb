/* Sums in the shorter forms that proofs.py finds for most: one operand after another. */

/* a * a_factor + b * b_factor + offset, shifted: what proofs.py finds equal to a sum by its three
 * roundings. */
static inline int8_t linear(const add_linear_parameters *p, int8_t a, int8_t b)
{
    const int32_t sum = a * (int32_t)p->a_factor + b * (int32_t)p->b_factor + (int32_t)p->offset;
    const int32_t y = sum >> (int32_t)p->shift;
    const int32_t raised = y < (int32_t)p->lo ? (int32_t)p->lo : y;
    return (int8_t)(raised > (int32_t)p->hi ? (int32_t)p->hi : raised);
}

KERNEL(LOOP(add_linear))
{
    const add_linear_parameters q = *(const add_linear_parameters *)parameters, *p = &q;
    const int64_t last = p->rank - 1, length = p->extents[last];
    const int64_t a_step = p->a_strides[last], b_step = p->b_strides[last];
    for (int64_t unit = begin; unit < end; ++unit) {
        const int8_t *a = operands[0], *b = operands[1];
        int8_t *y = (int8_t *)operands[2] + unit * length;
        a += row_start(unit, last, p->extents, p->a_strides);
        b += row_start(unit, last, p->extents, p->b_strides);
        /* an operand may lie where the output does, element by element */
        if (a_step == 1 && b_step == 1)
            EACH_ELEMENT (i, length)
                y[i] = linear(p, a[i], b[i]);
        else if (b_step == 0)
            EACH_ELEMENT (i, length)
                y[i] = linear(p, a[i * a_step], *b);
        else
            EACH_ELEMENT (i, length)
                y[i] = linear(p, a[i * a_step], b[i * b_step]);
    }
    return DONE;
}

/* hi32(x * multiplier), rounded and shifted: R1 in 32 bits. */
static inline int32_t short_round(int32_t x, int32_t multiplier, int32_t rounding, int32_t shift)
{
    return ((int32_t)((int64_t)x * multiplier >> 32) + rounding) >> shift;
}

/* Sums of int16 by their three roundings, each in 32 bits. */
static inline int16_t sum_s16(const add_s16_parameters *p, int16_t a, int16_t b)
{
    const int32_t a_at_scale = short_round(a * 65536, (int32_t)p->a_multiplier,
                                           (int32_t)p->a_rounding, (int32_t)p->a_shift);
    const int32_t b_at_scale = short_round(b * 65536, (int32_t)p->b_multiplier,
                                           (int32_t)p->b_rounding, (int32_t)p->b_shift);
    const int32_t sum = a_at_scale + (int32_t)p->b_sign * b_at_scale;
    const int32_t y =
        short_round(sum, (int32_t)p->multiplier, (int32_t)p->rounding, (int32_t)p->shift);
    const int32_t raised = y < (int32_t)p->lo ? (int32_t)p->lo : y;
    return (int16_t)(raised > (int32_t)p->hi ? (int32_t)p->hi : raised);
}

KERNEL(LOOP(add_s16))
{
    const add_s16_parameters q = *(const add_s16_parameters *)parameters, *p = &q;
    const int64_t last = p->rank - 1, length = p->extents[last];
    const int64_t a_step = p->a_strides[last], b_step = p->b_strides[last];
    for (int64_t unit = begin; unit < end; ++unit) {
        const int16_t *a = operands[0], *b = operands[1];
        int16_t *y = (int16_t *)operands[2] + unit * length;
        a += row_start(unit, last, p->extents, p->a_strides);
        b += row_start(unit, last, p->extents, p->b_strides);
        if (a_step == 1 && b_step == 1)
            EACH_ELEMENT (i, length)
                y[i] = sum_s16(p, a[i], b[i]);
        else
            EACH_ELEMENT (i, length)
                y[i] = sum_s16(p, a[i * a_step], b[i * b_step]);
    }
    return DONE;
}
