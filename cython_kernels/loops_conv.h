/* Convolution and dense layers: patches of x, widened to 16 bits, times packed weights.
 *
 *     acc[pixel, channel] = bias[channel] + sum over taps of patch[pixel, tap] * w[channel, tap]
 *
 * The planner folds the input's zero point into the bias, so padding injects that zero point. It
 * packs each group's weights to rows of `taps` entries of `weight_bytes`, both extents padded with
 * zeros (rows to a multiple of CHANNELS), so that the inner loop has no tail: gcc makes it
 * pmaddwd.
 *
 * Operands: x, weights, bias, multiplier, shift, y. A unit is a tile of pixels times a split of
 * the output channels; a dense layer is a convolution whose pixels are its rows.
 */

#define CHANNELS 4 /* of a turn of the inner loop */
#define PIXELS 2

/* Products of one pair of pixels with CHANNELS rows of weights, modulo 2^32. */
#define DOT_32(name, weight)                                                                      \
    static inline void name(const int16_t *restrict x0, const int16_t *restrict x1,               \
                            const weight *restrict w, ptrdiff_t row, ptrdiff_t taps,              \
                            int32_t sums[PIXELS][CHANNELS])                                       \
    {                                                                                             \
        const weight *w0 = w, *w1 = w + row, *w2 = w + 2 * row, *w3 = w + 3 * row;                \
        uint32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;                  \
        taps &= ~(ptrdiff_t)7;                                                                    \
        for (ptrdiff_t t = 0; t < taps; ++t) {                                                    \
            a0 += (uint32_t)((int32_t)x0[t] * w0[t]);                                             \
            a1 += (uint32_t)((int32_t)x0[t] * w1[t]);                                             \
            a2 += (uint32_t)((int32_t)x0[t] * w2[t]);                                             \
            a3 += (uint32_t)((int32_t)x0[t] * w3[t]);                                             \
            b0 += (uint32_t)((int32_t)x1[t] * w0[t]);                                             \
            b1 += (uint32_t)((int32_t)x1[t] * w1[t]);                                             \
            b2 += (uint32_t)((int32_t)x1[t] * w2[t]);                                             \
            b3 += (uint32_t)((int32_t)x1[t] * w3[t]);                                             \
        }                                                                                         \
        sums[0][0] = (int32_t)a0;                                                                 \
        sums[0][1] = (int32_t)a1;                                                                 \
        sums[0][2] = (int32_t)a2;                                                                 \
        sums[0][3] = (int32_t)a3;                                                                 \
        sums[1][0] = (int32_t)b0;                                                                 \
        sums[1][1] = (int32_t)b1;                                                                 \
        sums[1][2] = (int32_t)b2;                                                                 \
        sums[1][3] = (int32_t)b3;                                                                 \
    }

DOT_32(dot_s8, int8_t)
DOT_32(dot_u8, uint8_t)
DOT_32(dot_s16, int16_t)

#if defined(HAS_HELIUM)
/* The same as dot_s8, eight taps at a time: of each pixel with one row of weights, the products
 * are summed into one register. */
static inline void dot_pairs(const int16_t *restrict x0, const int16_t *restrict x1,
                             const int8_t *restrict w, ptrdiff_t row, ptrdiff_t taps,
                             int32_t sums[PIXELS][CHANNELS])
{
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
    for (const int16_t *end = x0 + taps; x0 < end; x0 += 8, x1 += 8, w += 8) {
        const int16x8_t x = vldrhq_s16(x0), y = vldrhq_s16(x1);
        int16x8_t v = vldrbq_s16(w);
        a0 = vmladavaq_s16(a0, x, v);
        b0 = vmladavaq_s16(b0, y, v);
        v = vldrbq_s16(w + row);
        a1 = vmladavaq_s16(a1, x, v);
        b1 = vmladavaq_s16(b1, y, v);
        v = vldrbq_s16(w + 2 * row);
        a2 = vmladavaq_s16(a2, x, v);
        b2 = vmladavaq_s16(b2, y, v);
        v = vldrbq_s16(w + 3 * row);
        a3 = vmladavaq_s16(a3, x, v);
        b3 = vmladavaq_s16(b3, y, v);
    }
    sums[0][0] = a0;
    sums[0][1] = a1;
    sums[0][2] = a2;
    sums[0][3] = a3;
    sums[1][0] = b0;
    sums[1][1] = b1;
    sums[1][2] = b2;
    sums[1][3] = b3;
}

static inline void change_places(int16_t *patch, int64_t taps)
{
    (void)patch, (void)taps;
}

#elif defined(HAS_PAIRS_OF_WORDS)
static inline uint32_t four_bytes(const void *from)
{
    uint32_t word;
    __builtin_memcpy(&word, from, sizeof word); /* a load, where there is no library, too */
    return word;
}

/* The same as dot_s8, four taps at a time, of patches in which every second and third of four have
 * changed places: SXTB16 makes words of the first and third byte, or of the second and fourth, and
 * SMLAD multiplies two of them. */
static inline void dot_pairs(const int16_t *restrict x0, const int16_t *restrict x1,
                             const int8_t *restrict w, ptrdiff_t row, ptrdiff_t taps,
                             int32_t sums[PIXELS][CHANNELS])
{
    for (int k = 0; k < CHANNELS; k += 2, w += 2 * row) {
        const int16_t *x = x0, *y = x1;
        int32_t a = 0, b = 0, c = 0, d = 0;
        for (const int8_t *v = w, *end = w + taps; v < end; v += 4, x += 4, y += 4) {
            const uint32_t v0 = four_bytes(v), v1 = four_bytes(v + row);
            const int16x2_t even0 = __sxtb16((int8x4_t)v0), even1 = __sxtb16((int8x4_t)v1);
            const int16x2_t odd0 = __sxtb16((int8x4_t)(v0 >> 8 | v0 << 24));
            const int16x2_t odd1 = __sxtb16((int8x4_t)(v1 >> 8 | v1 << 24));
            const int16x2_t x_even = (int16x2_t)four_bytes(x),
                            x_odd = (int16x2_t)four_bytes(x + 2);
            const int16x2_t y_even = (int16x2_t)four_bytes(y),
                            y_odd = (int16x2_t)four_bytes(y + 2);
            a = __smlad(x_odd, odd0, __smlad(x_even, even0, a));
            b = __smlad(x_odd, odd1, __smlad(x_even, even1, b));
            c = __smlad(y_odd, odd0, __smlad(y_even, even0, c));
            d = __smlad(y_odd, odd1, __smlad(y_even, even1, d));
        }
        sums[0][k] = a;
        sums[0][k + 1] = b;
        sums[1][k] = c;
        sums[1][k + 1] = d;
    }
}

static inline void change_places(int16_t *patch, int64_t taps)
{
    for (ptrdiff_t t = 0; t < (ptrdiff_t)taps; t += 4) {
        const int16_t second = patch[t + 1];
        patch[t + 1] = patch[t + 2];
        patch[t + 2] = second;
    }
}

#else
static inline void dot_pairs(const int16_t *restrict x0, const int16_t *restrict x1,
                             const int8_t *restrict w, ptrdiff_t row, ptrdiff_t taps,
                             int32_t sums[PIXELS][CHANNELS])
{
    dot_s8(x0, x1, w, row, taps, sums);
}

static inline void change_places(int16_t *patch, int64_t taps)
{
    (void)patch, (void)taps;
}
#endif

static inline void dot_32(const int16_t *restrict x0, const int16_t *restrict x1,
                          const void *restrict w, int64_t row, int64_t taps, int64_t weight_bytes,
                          int32_t sums[PIXELS][CHANNELS])
{
    if (weight_bytes == 1)
        dot_s8(x0, x1, w, (ptrdiff_t)row, (ptrdiff_t)taps, sums);
    else
        dot_s16(x0, x1, w, (ptrdiff_t)row, (ptrdiff_t)taps, sums);
}

/* All taps of such a pair, as conv() has made its patches. */
static inline void dot_whole(const int16_t *restrict x0, const int16_t *restrict x1,
                             const void *restrict w, const conv_parameters *p,
                             int32_t sums[PIXELS][CHANNELS])
{
    const ptrdiff_t taps = (ptrdiff_t)p->taps;
    if (p->weight_bytes == 1)
        dot_pairs(x0, x1, w, taps, taps, sums);
    else
        dot_s16(x0, x1, w, taps, taps, sums);
}

/* The same in 64 bits, from sums of `block` products, which surely fit 32. Weights too large for
 * that come as two planes of bytes, w = 256 high + low, `plane` entries apart; low has no sign. */
static inline void dot_64(const int16_t *restrict x0, const int16_t *restrict x1,
                          const void *restrict w, int64_t plane, const conv_parameters *p,
                          int64_t sums[PIXELS][CHANNELS])
{
    int32_t part[PIXELS][CHANNELS];
    memset(sums, 0, sizeof(int64_t[PIXELS][CHANNELS]));
    for (int64_t i = p->planes - 1; i >= 0; --i) {
        for (int k = 0; k < PIXELS * CHANNELS; ++k)
            sums[k / CHANNELS][k % CHANNELS] *= 256;
        for (int64_t t = 0; t < p->taps; t += p->block) {
            const int64_t count = p->taps - t < p->block ? p->taps - t : p->block;
            const void *from = element(w, i * plane + t, p->weight_bytes);
            if (i == 0 && p->planes == 2)
                dot_u8(x0 + t, x1 + t, from, (ptrdiff_t)p->taps, (ptrdiff_t)count, part);
            else
                dot_32(x0 + t, x1 + t, from, p->taps, count, p->weight_bytes, part);
            for (int k = 0; k < PIXELS * CHANNELS; ++k)
                sums[k / CHANNELS][k % CHANNELS] += part[k / CHANNELS][k % CHANNELS];
        }
    }
}

/* `count` elements of x, widened. */
EACH_WIDTH void widen(int16_t *restrict to, const void *restrict x, int64_t start, int64_t count,
                      int bytes)
{
    for (int64_t i = 0; i < count; ++i)
        to[i] = (int16_t)load(x, start + i, bytes);
}

/* What output pixel `pixel` sees of group `g`, in the order of the weights. */
EACH_WIDTH void make_patch(const conv_parameters *p, const void *x, int64_t pixel, int64_t g,
                           int16_t *patch, int bytes)
{
    const int64_t channels = p->group * p->depth;
    const int64_t column = pixel % p->out_width, row = pixel / p->out_width % p->out_height;
    const int64_t sample = pixel / p->out_width / p->out_height;
    const int64_t top = row * p->stride_height - p->pad_top;
    const int64_t left = column * p->stride_width - p->pad_left;
    int16_t *end = patch + p->taps;
    for (int64_t ky = 0; ky < p->kernel_height; ++ky) {
        const int64_t iy = top + ky * p->dilation_height;
        for (int64_t kx = 0; kx < p->kernel_width; ++kx, patch += p->depth) {
            const int64_t ix = left + kx * p->dilation_width;
            if (iy >= 0 && iy < p->in_height && ix >= 0 && ix < p->in_width) {
                const int64_t at = (sample * p->in_height + iy) * p->in_width + ix;
                widen(patch, x, at * channels + g * p->depth, p->depth, bytes);
            } else {
                for (int64_t c = 0; c < p->depth; ++c)
                    patch[c] = (int16_t)p->input_zero_point;
            }
        }
    }
    memset(patch, 0, (size_t)(end - patch) * sizeof *patch);
}

/* What turns the accumulators of CHANNELS neighbouring channels into outputs. */
typedef struct {
    int64_t bias[CHANNELS];
    int32_t multiplier[CHANNELS];
    int shift[CHANNELS];
} channel_stage;

EACH_WIDTH channel_stage load_stage(void *const *operands, int64_t channel, int64_t valid,
                                    int acc_bits)
{
    channel_stage stage;
    for (int64_t k = 0; k < CHANNELS; ++k) {
        const int64_t o = channel + (k < valid ? k : 0);
        stage.bias[k] = load(operands[2], o, acc_bits / 8);
        stage.multiplier[k] = ((const int32_t *)operands[3])[o];
        stage.shift[k] = ((const int8_t *)operands[4])[o];
    }
    return stage;
}

/* Channels [first, last) of group `g` at `count` pixels from `pixel` on. */
EACH_WIDTH void multiply(const conv_parameters *p, void *const *operands, const int16_t *patches,
                         int64_t pixel, int64_t count, int64_t g, int64_t first, int64_t last,
                         int acc_bits)
{
    const int64_t rows = (p->outputs + CHANNELS - 1) / CHANNELS * CHANNELS;
    const int64_t plane = rows * p->taps;
    const void *weights = element(operands[1], g * p->planes * plane, p->weight_bytes);
    const output_stage out = STAGE(p);
    const narrow_stage narrow_out = narrowed(out);
    for (int64_t c = first; c < last; c += CHANNELS) {
        const int64_t valid = last - c < CHANNELS ? last - c : CHANNELS;
        const channel_stage stage = load_stage(operands, g * p->outputs + c, valid, acc_bits);
        for (int64_t i = 0; i < count; i += PIXELS) {
            const int16_t *x0 = patches + i * p->taps;
            const int16_t *x1 = i + 1 < count ? x0 + p->taps : x0;
            int64_t wide[PIXELS][CHANNELS];
            int32_t sums[PIXELS][CHANNELS];
            const void *w = element(weights, c * p->taps, p->weight_bytes);
            if (acc_bits == 64)
                dot_64(x0, x1, w, plane, p, wide);
            else
                dot_whole(x0, x1, w, p, sums);
            for (int64_t j = 0; j < PIXELS && i + j < count; ++j) {
                const int64_t y = ((pixel + i + j) * p->group + g) * p->outputs + c;
                int64_t q[CHANNELS];
                for (int k = 0; k < CHANNELS; ++k) {
                    const uint32_t bias = (uint32_t)stage.bias[k];
                    q[k] =
                        acc_bits == 64
                            ? requantize(wide[j][k] + stage.bias[k], stage.multiplier[k],
                                         stage.shift[k], out)
                            : requantize_narrow((int32_t)((uint32_t)sums[j][k] + bias),
                                                stage.multiplier[k], stage.shift[k], narrow_out);
                }
                for (int64_t k = 0; k < valid; ++k)
                    store(operands[5], y + k, p->out_bytes, q[k]);
            }
        }
    }
}

EACH_WIDTH int conv(const conv_parameters *p, void *const *operands, int64_t begin, int64_t end,
                    int16_t *patches, int bytes, int acc_bits)
{
    const int64_t quads = (p->outputs + CHANNELS - 1) / CHANNELS;
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t pixel = unit / p->splits * p->tile, split = unit % p->splits;
        const int64_t count = p->pixels - pixel < p->tile ? p->pixels - pixel : p->tile;
        const int64_t first = quads * split / p->splits * CHANNELS;
        const int64_t after = quads * (split + 1) / p->splits * CHANNELS;
        const int64_t last = after < p->outputs ? after : p->outputs;
        for (int64_t g = 0; g < p->group; ++g) {
            for (int64_t i = 0; i < count; ++i) {
                make_patch(p, operands[0], pixel + i, g, patches + i * p->taps, bytes);
                if (acc_bits == 32 && p->weight_bytes == 1)
                    change_places(patches + i * p->taps, p->taps);
            }
            multiply(p, operands, patches, pixel, count, g, first, last, acc_bits);
        }
    }
    return DONE;
}

KERNEL(LOOP(conv_s8))
{
    return conv(parameters, operands, begin, end, scratch, 1, 32);
}

KERNEL(LOOP(conv_s16_acc32))
{
    return conv(parameters, operands, begin, end, scratch, 2, 32);
}

KERNEL(LOOP(conv_s16_acc64))
{
    return conv(parameters, operands, begin, end, scratch, 2, 64);
}
