/* Depthwise convolution: each channel with its own window; the loop over channels is the inner.
 *
 * The planner folds the input's zero point into the bias, so a tap on padding reads it from a row
 * in the scratch; weights are [kernel_height, kernel_width, channels], of `weight_bytes`.
 *
 * Operands: x, weights, bias, multiplier, shift, y. A unit is a row of the output.
 */

#define DEPTHWISE_BLOCK 64 /* channels whose accumulators stay in the first cache */

/* What the taps of one window add to the sums of `count` neighbouring channels. The products of
 * one tap are a function of their own: where the padding is told from x inside of its loop, as
 * gcc would have it, the loop has no vectors. */
#define DEPTHWISE_TAPS(name, x_type, acc_type, product_type, weight)                              \
    static inline void name##_of_one(const x_type *restrict x, const weight *restrict w,          \
                                     ptrdiff_t count, acc_type *restrict acc)                     \
    {                                                                                             \
        for (ptrdiff_t c = 0; c < count; ++c)                                                     \
            acc[c] += (acc_type)(product_type)((int32_t)x[c] * w[c]);                             \
    }                                                                                             \
                                                                                                  \
    static void name(const depthwise_parameters *p, const x_type *sample, const x_type *padding,  \
                     const weight *w, int64_t top, int64_t left, ptrdiff_t count, acc_type *acc)  \
    {                                                                                             \
        for (int64_t ky = 0; ky < p->kernel_height; ++ky) {                                       \
            const int64_t iy = top + ky * p->dilation_height;                                     \
            for (int64_t kx = 0; kx < p->kernel_width; ++kx, w += p->channels) {                  \
                const int64_t ix = left + kx * p->dilation_width;                                 \
                if (iy >= 0 && iy < p->in_height && ix >= 0 && ix < p->in_width)                  \
                    name##_of_one(sample + (iy * p->in_width + ix) * p->channels, w, count, acc); \
                else                                                                              \
                    name##_of_one(padding, w, count, acc);                                        \
            }                                                                                     \
        }                                                                                         \
    }

#define DEPTHWISE(name, x_type, acc_type, bias_type, stage_type, made, requantized)               \
    KERNEL(LOOP(name))                                                                            \
    {                                                                                             \
        const depthwise_parameters *p = parameters;                                               \
        const x_type *x = operands[0];                                                            \
        const bias_type *bias = operands[2];                                                      \
        const int32_t *multiplier = operands[3];                                                  \
        const int8_t *shift = operands[4];                                                        \
        const stage_type out = made(STAGE(p));                                                    \
        x_type *padding = scratch;                                                                \
        for (int64_t c = 0; c < DEPTHWISE_BLOCK; ++c)                                             \
            padding[c] = (x_type)p->input_zero_point;                                             \
        for (int64_t unit = begin; unit < end; ++unit) {                                          \
            const int64_t sample = unit / p->out_height, row = unit % p->out_height;              \
            const int64_t top = row * p->stride_height - p->pad_top;                              \
            for (int64_t column = 0; column < p->out_width; ++column) {                           \
                const int64_t left = column * p->stride_width - p->pad_left;                      \
                const int64_t y = (unit * p->out_width + column) * p->channels;                   \
                for (int64_t first = 0; first < p->channels; first += DEPTHWISE_BLOCK) {          \
                    const int64_t rest = p->channels - first;                                     \
                    const int64_t count = rest < DEPTHWISE_BLOCK ? rest : DEPTHWISE_BLOCK;        \
                    const x_type *from =                                                          \
                        x + sample * p->in_height * p->in_width * p->channels + first;            \
                    const void *w = element(operands[1], first, p->weight_bytes);                 \
                    acc_type acc[DEPTHWISE_BLOCK];                                                \
                    for (int64_t c = 0; c < count; ++c)                                           \
                        acc[c] = (acc_type)bias[first + c];                                       \
                    if (p->weight_bytes == 1)                                                     \
                        name##_bytes(p, from, padding, w, top, left, (ptrdiff_t)count, acc);      \
                    else                                                                          \
                        name##_words(p, from, padding, w, top, left, (ptrdiff_t)count, acc);      \
                    for (int64_t c = 0; c < count; ++c)                                           \
                        store(operands[5], y + first + c, p->out_bytes,                           \
                              requantized((bias_type)acc[c], multiplier[first + c],               \
                                          shift[first + c], out));                                \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
        return DONE;                                                                              \
    }

/* 32-bit accumulators wrap modulo 2^32 on the way, as EI-1 allows: only the sum is proven. */
DEPTHWISE_TAPS(depthwise_s8_bytes, int8_t, uint32_t, uint32_t, int8_t)
DEPTHWISE_TAPS(depthwise_s8_words, int8_t, uint32_t, uint32_t, int16_t)
DEPTHWISE(depthwise_s8, int8_t, uint32_t, int32_t, narrow_stage, narrowed, requantize_narrow)

DEPTHWISE_TAPS(depthwise_s16_acc32_bytes, int16_t, uint32_t, uint32_t, int8_t)
DEPTHWISE_TAPS(depthwise_s16_acc32_words, int16_t, uint32_t, uint32_t, int16_t)
DEPTHWISE(depthwise_s16_acc32, int16_t, uint32_t, int32_t, narrow_stage, narrowed,
          requantize_narrow)

DEPTHWISE_TAPS(depthwise_s16_acc64_bytes, int16_t, int64_t, int64_t, int8_t)
DEPTHWISE_TAPS(depthwise_s16_acc64_words, int16_t, int64_t, int64_t, int16_t)
DEPTHWISE(depthwise_s16_acc64, int16_t, int64_t, int64_t, output_stage, , requantize)
