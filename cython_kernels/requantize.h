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

#endif
