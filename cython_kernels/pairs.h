/* Sums and products of int8 in the short forms that proofs/pairs.py finds for most: rows of
 * vectors.
 *
 * Operands: a, b, y. A unit is a row, as in loops_broadcast.h. A file for each instruction set
 * includes this after `product` and `sum` of two vectors by a product_form and a sum_form. Those
 * of a product are PRODUCT_LANES integers of 32 bits, those of a sum SUM_LANES bytes; how each
 * comes from memory and goes there, take_..., repeat_... and give_... say.
 */

/* A row of `form`'s function. b is a row as well, or one number for the whole row. */
#define PAIR_ROW(function, form, vector, lanes)                                                   \
    EACH_WIDTH void function##_row(const form *f, const int8_t *a, const int8_t *b, int8_t *y,    \
                                   int64_t length, int64_t b_step)                                \
    {                                                                                             \
        const vector same = repeat_##function(*b);                                                \
        int64_t i = 0;                                                                            \
        for (; i + lanes <= length; i += lanes)                                                   \
            give_##function(y + i,                                                                \
                            function(f, take_##function(a + i, lanes),                            \
                                     b_step ? take_##function(b + i, lanes) : same),              \
                            lanes);                                                               \
        const int64_t rest = length - i;                                                          \
        if (rest > 0)                                                                             \
            give_##function(y + i,                                                                \
                            function(f, take_##function(a + i, rest),                             \
                                     b_step ? take_##function(b + i, rest) : same),               \
                            rest);                                                                \
    }

PAIR_ROW(product, product_form, product_vector, PRODUCT_LANES)
PAIR_ROW(sum, sum_form, sum_vector, SUM_LANES)

/* The units of a kernel. Where one operand is a number to the other's row, it comes second. */
#define EACH_PAIR_ROW(function, form, parameters_type)                                            \
    do {                                                                                          \
        const parameters_type *p = parameters;                                                    \
        const int64_t last = p->rank - 1, length = p->extents[last];                              \
        const int swapped = p->a_strides[last] == 0;                                              \
        const int64_t *a_strides = swapped ? p->b_strides : p->a_strides;                         \
        const int64_t *b_strides = swapped ? p->a_strides : p->b_strides;                         \
        const form f = function##_form_of(p, swapped);                                            \
        for (int64_t unit = begin; unit < end; ++unit) {                                          \
            const int8_t *a = operands[swapped], *b = operands[!swapped];                         \
            int8_t *y = (int8_t *)operands[2] + unit * length;                                    \
            a += row_start(unit, last, p->extents, a_strides);                                    \
            b += row_start(unit, last, p->extents, b_strides);                                    \
            if (b_strides[last] == 0)                                                             \
                function##_row(&f, a, b, y, length, 0);                                           \
            else                                                                                  \
                function##_row(&f, a, b, y, length, 1);                                           \
        }                                                                                         \
    } while (0)

KERNEL(PAIR(mul_s8))
{
    EACH_PAIR_ROW(product, product_form, mul_s8_parameters);
    return DONE;
}

KERNEL(PAIR(add_linear))
{
    EACH_PAIR_ROW(sum, sum_form, add_linear_parameters);
    return DONE;
}
