/* Sums of int8 in the linear form that proofs/pairs.py finds for most, where pairs.h has no
 * vectors. */

/* a * a_factor + b * b_factor + offset, shifted: what proofs/pairs.py finds equal to a sum by its
 * three roundings. */
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
