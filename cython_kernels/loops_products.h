/* Products of int8 in the short form that proofs.py finds for most: one operand after another. */

/* What is left of the parameters in a row, in 32 bits. */
typedef struct {
    int32_t a_zero_point, b_zero_point, lead, multiplier, rounding, shift, lo, hi;
} short_product;

/* The upper half of a product with the multiplier, rounded and shifted: requantize.h's R1, where
 * proofs.py says that nothing leaves 32 bits. */
static inline int8_t product(const short_product *p, int8_t a, int8_t b)
{
    const int32_t led = (int32_t)((uint32_t)(b - p->b_zero_point) << p->lead);
    const int32_t acc = (a - p->a_zero_point) * led;
    const int32_t high = (int32_t)(((int64_t)acc * p->multiplier) >> 32);
    const int32_t y = (high + p->rounding) >> p->shift;
    const int32_t raised = y < p->lo ? p->lo : y;
    return (int8_t)(raised > p->hi ? p->hi : raised);
}

KERNEL(LOOP(mul_s8))
{
    const mul_s8_parameters *p = parameters;
    const short_product local = {
        (int32_t)p->a_zero_point, (int32_t)p->b_zero_point, (int32_t)p->lead,
        (int32_t)p->multiplier,   (int32_t)p->rounding,     (int32_t)p->shift,
        (int32_t)p->lo,           (int32_t)p->hi,
    };
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
                y[i] = product(&local, a[i], b[i]);
        else if (a_step == 1 && b_step == 0) {
            const int8_t same = *b;
            EACH_ELEMENT (i, length)
                y[i] = product(&local, a[i], same);
        } else
            EACH_ELEMENT (i, length)
                y[i] = product(&local, a[i * a_step], b[i * b_step]);
    }
    return DONE;
}
