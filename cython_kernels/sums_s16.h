/* Sums of int16 by their three roundings, each in 32 bits where proofs/pairs.py finds that they
 * fit.
 *
 * An instruction set includes this file after its stage_*.h, for CONV(add) and with
 *
 *     load_words(x)    LANES of int16 in 32 bits
 *     splat(x)         one in every lane
 *     raise_words(x)   shifted left by 16
 *
 * Operands: a, b, y. A unit is a row: the last axis, everything before it fixed.
 */

/* `count` elements from `i` on; others are 0 where there are less than LANES. */
static inline vector take_words(const int16_t *from, int64_t i, int64_t step, int64_t count)
{
    if (step == 0)
        return splat(*from);
    if (step == 1 && count >= LANES)
        return load_words(from + i);
    int16_t words[LANES] = {0};
    for (int64_t k = 0; k < LANES && k < count; ++k)
        words[k] = from[(i + k) * step];
    return load_words(words);
}

KERNEL(CONV(add))
{
    const add_s16_parameters *p = parameters;
    const int64_t last = p->rank - 1, length = p->extents[last];
    const int64_t a_step = p->a_strides[last], b_step = p->b_strides[last];
    const vector a_multiplier = splat(p->a_multiplier), a_rounding = splat(p->a_rounding);
    const vector b_multiplier = splat(p->b_multiplier), b_rounding = splat(p->b_rounding);
    const vector multiplier = splat(p->multiplier), rounding = splat(p->rounding);
    const vector a_shift = splat(p->a_shift), b_shift = splat(p->b_shift);
    const vector shift = splat(p->shift);
    const conv_tile t = {.out_bytes = 2, .out = {.lo = p->lo, .hi = p->hi}};
    for (int64_t unit = begin; unit < end; ++unit) {
        const int16_t *a = operands[0], *b = operands[1];
        char *y = (char *)operands[2] + 2 * unit * length;
        a += row_start(unit, last, p->extents, p->a_strides);
        b += row_start(unit, last, p->extents, p->b_strides);
        for (int64_t i = 0; i < length; i += 2 * LANES) {
            vector sums[2];
            for (int v = 0; v < 2; ++v) {
                const int64_t at = i + LANES * v;
                const vector qa = raise_words(take_words(a, at, a_step, length - at));
                const vector qb = raise_words(take_words(b, at, b_step, length - at));
                const vector ra = short_stage(qa, a_multiplier, a_rounding, a_shift);
                const vector rb = short_stage(qb, b_multiplier, b_rounding, b_shift);
                sums[v] = p->subtract ? subtract_vectors(ra, rb) : add_vectors(ra, rb);
                sums[v] = short_stage(sums[v], multiplier, rounding, shift);
            }
            const int64_t left = length - i;
            store_pixel(&t, sums, 2, left < 2 * LANES ? left : 2 * LANES, y + 2 * i);
        }
    }
    return DONE;
}
