/* The end of a layer in NEON: accumulators of 4 channels into its integers, as stage_avx512.h
 * says. */

#ifndef EDGEINFER_STAGE_NEON_H
#define EDGEINFER_STAGE_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "conv_tile.h"

typedef int32x4_t vector;

/* Nothing here rounds as a register says. */
static inline unsigned round_down(void)
{
    return 0;
}

static inline void round_as_before(unsigned mode)
{
}

static inline vector zero_vector(void)
{
    return vdupq_n_s32(0);
}

static inline vector add_vectors(vector a, vector b)
{
    return vaddq_s32(a, b);
}

static inline vector stage_vector(const int32_t *stage, int which)
{
    return vld1q_s32(stage + 4 * which);
}

/* The doubled high half, which is exact as no multiplier is -2^31, halved while it is added. */
static inline vector short_stage(vector acc, vector multiplier, vector rounding, vector shift)
{
    const vector sum = vsraq_n_s32(rounding, vqdmulhq_s32(acc, multiplier), 1);
    return vshlq_s32(sum, vnegq_s32(shift));
}

/* Two lanes, rounded in 64 bits; what does not fit 32 saturates, as the clamp would have it. */
static inline int32x2_t long_half(int64x2_t product, int32x2_t shift, const output_stage *out)
{
    const int64x2_t by = vmovl_s32(shift);
    if (out->twice) {
        /* 2^30 away from zero where shifts are above 31 */
        const int64x2_t tie = vdupq_n_s64(INT64_C(1) << 30), sign = vshrq_n_s64(product, 63);
        const int64x2_t away = vsubq_s64(veorq_s64(tie, sign), sign);
        const uint64x2_t late = vcgtq_s64(by, vdupq_n_s64(31));
        product = vaddq_s64(product, vandq_s64(away, vreinterpretq_s64_u64(late)));
    }
    return vqmovn_s64(vrshlq_s64(product, vnegq_s64(by)));
}

static inline vector long_stage(vector acc, const int32_t *stage, const output_stage *out)
{
    const vector multiplier = stage_vector(stage, STAGE_MULTIPLIER);
    const vector shift = stage_vector(stage, STAGE_SHIFT);
    const int32x2_t low = long_half(vmull_s32(vget_low_s32(acc), vget_low_s32(multiplier)),
                                    vget_low_s32(shift), out);
    const int32x2_t high = long_half(vmull_high_s32(acc, multiplier), vget_high_s32(shift), out);
    return vqaddq_s32(vcombine_s32(low, high), vdupq_n_s32((int32_t)out->zero_point));
}

/* ---- stores ---- */

/* `channels` integers, of so many vectors, to memory. */
static inline __attribute__((always_inline)) void
store_pixel(const conv_tile *t, const vector *y, int vectors, int64_t channels, char *to)
{
    const int16x8_t lo = vdupq_n_s16((int16_t)t->out.lo), hi = vdupq_n_s16((int16_t)t->out.hi);
    int16x8_t words[2];
    for (int i = 0; 2 * i < vectors; ++i) {
        const vector second = 2 * i + 1 < vectors ? y[2 * i + 1] : y[2 * i];
        words[i] = vcombine_s16(vqmovn_s32(y[2 * i]), vqmovn_s32(second));
        words[i] = vminq_s16(vmaxq_s16(words[i], lo), hi);
    }
    if (vectors < 3)
        words[1] = words[0];
    int8_t *bytes = (int8_t *)to;
    const int whole = channels == 4 * vectors;
    if (t->out_bytes == 2)
        memcpy(to, words, (size_t)(2 * channels));
    else if (whole && vectors == 4)
        vst1q_s8(bytes, vcombine_s8(vmovn_s16(words[0]), vmovn_s16(words[1])));
    else if (whole && vectors == 2)
        vst1_s8(bytes, vmovn_s16(words[0]));
    else {
        int8_t all[16];
        vst1q_s8(all, vcombine_s8(vmovn_s16(words[0]), vmovn_s16(words[1])));
        memcpy(bytes, all, (size_t)channels);
    }
}

#endif
