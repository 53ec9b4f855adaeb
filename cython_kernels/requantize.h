/* R1 and R2, the two roundings of EI-1: what edgeinfer/arithmetic/fixedpoint.py calls single_round
 * and double_round, and the clamp that ends every requantizing operator. */

#ifndef EDGEINFER_REQUANTIZE_H
#define EDGEINFER_REQUANTIZE_H

#include <stdint.h>

/* (acc * multiplier + 2^(shift-1) [+- 2^30]) >> shift. The sum is formed modulo 2^64, as NumPy
 * forms it; a verified model never wraps. Right shifts of negative numbers are arithmetic in every
 * compiler that builds this. */
static inline int64_t round_shift(int64_t acc, int64_t multiplier, int shift, int twice)
{
    uint64_t sum = (uint64_t)acc * (uint64_t)multiplier + (UINT64_C(1) << (shift - 1));
    if (twice && shift > 31)
        sum += acc >= 0 ? UINT64_C(1) << 30 : -(UINT64_C(1) << 30);
    return (int64_t)sum >> shift;
}

/* In two steps, which compile to conditional moves: half of a ReLU's inputs are clamped, and no
 * branch predictor knows which. */
static inline int64_t clamp(int64_t value, int64_t lo, int64_t hi)
{
    const int64_t raised = value < lo ? lo : value;
    return raised > hi ? hi : raised;
}

/* What every requantizing operator carries: its output's zero point, clamp and rounding. */
typedef struct {
    int64_t zero_point, lo, hi, twice;
} output_stage;

/* The clamp comes before the narrowing, in 64 bits: a rounded accumulator need not fit 32. */
static inline int64_t requantize(int64_t acc, int64_t multiplier, int shift, output_stage out)
{
    return clamp(round_shift(acc, multiplier, shift, (int)out.twice) + out.zero_point, out.lo,
                 out.hi);
}

/* The same of an accumulator of 32 bits, in 32 bits wherever the shift allows it, as almost all
 * do: of a shift s >= 33 the lower word of the product decides nothing,
 *
 *     floor((2^32 h + l + 2^(s-1)) / 2^s) = floor((h + 2^(s-33)) / 2^(s-32))
 *
 * and |h| <= 2^30, so that nothing overflows. */
typedef struct {
    int32_t zero_point, lo, hi, twice;
} narrow_stage;

static inline narrow_stage narrowed(output_stage out)
{
    return (narrow_stage){(int32_t)out.zero_point, (int32_t)out.lo, (int32_t)out.hi,
                          (int32_t)out.twice};
}

static inline int32_t requantize_narrow(int32_t acc, int32_t multiplier, int shift,
                                        narrow_stage out)
{
    if (shift < 33)
        return (int32_t)requantize(acc, multiplier, shift,
                                   (output_stage){out.zero_point, out.lo, out.hi, out.twice});
    int64_t product = (int64_t)acc * multiplier;
    if (out.twice)
        product += acc >= 0 ? INT64_C(1) << 30 : -(INT64_C(1) << 30);
    const int32_t high = (int32_t)(product >> 32);
    const int32_t rounded = ((high + (1 << (shift - 33))) >> (shift - 32)) + out.zero_point;
    const int32_t raised = rounded < out.lo ? out.lo : rounded;
    return raised > out.hi ? out.hi : raised;
}

#endif
