/* Sums and products of int16 in 32 bits, where proofs/pairs.py finds that they fit and an operand
 * is broadcast, so that chain_s16.h does not take them: rows of words.
 *
 * An instruction set includes this file after its stage_*.h, for CONV(add) and CONV(mul) and with
 *
 *     load_words(x)               LANES of int16 in 32 bits
 *     load_first_words(x, count)  the first of them, fewer than LANES; the others are 0
 *     splat(x)                    one in every lane
 *     raise_words(x)              shifted left by 16
 *     multiply_words(a, b)        their products
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
    if (step == 1)
        return load_first_words(from + i, count > 0 ? count : 0);
    int16_t words[LANES] = {0};
    for (int64_t k = 0; k < LANES && k < count; ++k)
        words[k] = from[(i + k) * step];
    return load_words(words);
}

/* The units of a kernel whose `function` of a form and two vectors gives integers of `bytes`. */
#define EACH_WORD_ROW(p, bytes, function, form)                                                   \
    do {                                                                                          \
        const int64_t last = (p)->rank - 1, length = (p)->extents[last];                          \
        const int64_t a_step = (p)->a_strides[last], b_step = (p)->b_strides[last];               \
        const conv_tile t = {.out_bytes = bytes, .out = {.lo = (p)->lo, .hi = (p)->hi}};          \
        for (int64_t unit = begin; unit < end; ++unit) {                                          \
            const int16_t *a = operands[0], *b = operands[1];                                     \
            char *y = (char *)operands[2] + (bytes) * unit * length;                              \
            a += row_start(unit, last, (p)->extents, (p)->a_strides);                             \
            b += row_start(unit, last, (p)->extents, (p)->b_strides);                             \
            for (int64_t i = 0; i < length; i += 2 * LANES) {                                     \
                vector results[2];                                                                \
                for (int v = 0; v < 2; ++v) {                                                     \
                    const int64_t at = i + LANES * v, left = length - at;                         \
                    results[v] = function(form, take_words(a, at, a_step, left),                  \
                                          take_words(b, at, b_step, left));                       \
                }                                                                                 \
                const int64_t left = length - i;                                                  \
                store_pixel(&t, results, 2, left < 2 * LANES ? left : 2 * LANES,                  \
                            y + (bytes) * i);                                                     \
            }                                                                                     \
        }                                                                                         \
    } while (0)

typedef struct {
    vector multiplier, rounding, shift;
} word_stage;

#define WORD_STAGE(p, prefix)                                                                     \
    {splat((p)->prefix##multiplier), splat((p)->prefix##rounding), splat((p)->prefix##shift)}

static inline vector apply_stage(const word_stage *s, vector x)
{
    return short_stage(x, s->multiplier, s->rounding, s->shift);
}

typedef struct {
    word_stage a, b, result;
    int subtract;
} words_sum;

static inline vector add_words(const words_sum *f, vector a, vector b)
{
    const vector ra = apply_stage(&f->a, raise_words(a)), rb = apply_stage(&f->b, raise_words(b));
    return apply_stage(&f->result, f->subtract ? subtract_vectors(ra, rb) : add_vectors(ra, rb));
}

KERNEL(CONV(add))
{
    const add_s16_parameters *p = parameters;
    const words_sum form = {WORD_STAGE(p, a_), WORD_STAGE(p, b_), WORD_STAGE(p, ),
                            (int)p->subtract};
    EACH_WORD_ROW(p, 2, add_words, &form);
    return DONE;
}

static inline vector mul_words(const word_stage *s, vector a, vector b)
{
    return apply_stage(s, multiply_words(a, b));
}

KERNEL(CONV(mul))
{
    const mul_s16_parameters *p = parameters;
    const word_stage form = WORD_STAGE(p, );
    if (p->out_bytes == 1)
        EACH_WORD_ROW(p, 1, mul_words, &form);
    else
        EACH_WORD_ROW(p, 2, mul_words, &form);
    return DONE;
}
