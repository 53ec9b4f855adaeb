/* Sums of int16 by their three roundings, each in 32 bits: what words_s16.h computes in vectors.
 */

/* hi32(x * multiplier), rounded and shifted: R1 in 32 bits. */
static int32_t short_round(int32_t x, int64_t multiplier, int64_t rounding, int64_t shift)
{
    return ((int32_t)(x * multiplier >> 32) + (int32_t)rounding) >> shift;
}

KERNEL(LOOP(add_s16))
{
    const add_s16_parameters *p = parameters;
    const int64_t last = p->rank - 1, length = p->extents[last];
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t a = row_start(unit, last, p->extents, p->a_strides);
        const int64_t b = row_start(unit, last, p->extents, p->b_strides);
        for (int64_t i = 0; i < length; ++i) {
            const int32_t qa = ((const int16_t *)operands[0])[a + i * p->a_strides[last]] * 65536;
            const int32_t qb = ((const int16_t *)operands[1])[b + i * p->b_strides[last]] * 65536;
            const int32_t ra = short_round(qa, p->a_multiplier, p->a_rounding, p->a_shift);
            const int32_t rb = short_round(qb, p->b_multiplier, p->b_rounding, p->b_shift);
            const int32_t sum = p->subtract ? ra - rb : ra + rb;
            const int32_t y = short_round(sum, p->multiplier, p->rounding, p->shift);
            ((int16_t *)operands[2])[unit * length + i] = (int16_t)clamp(y, p->lo, p->hi);
        }
    }
    return DONE;
}
