/* Products of int8 in the short form that proofs.py finds for most: rows of vectors.
 *
 * Operands: a, b, y. A unit is a row, as in loops_broadcast.h. A file for each instruction set
 * includes this after LANES, its vectors' 32-bit lanes, `product` of two vectors by a `form`, and
 * how vectors are made of bytes and become bytes: take, take_some, repeat, give, give_some.
 */

/* b is a row as well, or one number for the whole row. */
EACH_WIDTH void product_row(const form *f, const int8_t *a, const int8_t *b, int8_t *y,
                            int64_t length, int64_t b_step)
{
    const vector same = repeat(*b);
    int64_t i = 0;
    for (; i + LANES <= length; i += LANES)
        give(y + i, product(f, take(a + i), b_step ? take(b + i) : same));
    const int64_t rest = length - i;
    if (rest > 0)
        give_some(y + i,
                  product(f, take_some(a + i, rest), b_step ? take_some(b + i, rest) : same),
                  rest);
}

static inline void product_rows(const mul_s8_parameters *p, void *const *operands, int64_t begin,
                                int64_t end)
{
    const int64_t last = p->rank - 1, length = p->extents[last];
    /* where one operand is a number to the other's row, it is b */
    const int swapped = p->a_strides[last] == 0;
    const int64_t *a_strides = swapped ? p->b_strides : p->a_strides;
    const int64_t *b_strides = swapped ? p->a_strides : p->b_strides;
    const form f = swapped ? form_of(p, p->b_zero_point, p->a_zero_point)
                           : form_of(p, p->a_zero_point, p->b_zero_point);
    for (int64_t unit = begin; unit < end; ++unit) {
        const int8_t *a = operands[swapped], *b = operands[!swapped];
        int8_t *y = (int8_t *)operands[2] + unit * length;
        a += row_start(unit, last, p->extents, a_strides);
        b += row_start(unit, last, p->extents, b_strides);
        if (b_strides[last] == 0)
            product_row(&f, a, b, y, length, 0);
        else
            product_row(&f, a, b, y, length, 1);
    }
}
