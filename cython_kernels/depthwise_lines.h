/* Depthwise convolutions of every size, on lines that bring the taps of a column together.
 *
 * A line holds for each element of a row the TAPS elements from there down, `dilation_height`
 * apart, in one lane: what an instruction sums. Lines begin at every `spacing`th input row, so one
 * serves up to `spacing` output rows, each with weights shifted by its phase. A kernel higher than
 * TAPS takes a line for each quad of its rows.
 *
 * An instruction set includes this file after conv_rows.h and
 *
 *     interleave(to, rows, count)   `count` elements of TAPS rows into a line
 *     depthwise_tiles               as `tiles`, by planes as well
 *
 * Operands: x, weights, stages, y. Where a row has no strides and few channels, a pixel of the
 * kernel is several of the image side by side. Weights lie as
 * [block][phase][quad][kx][vector][LANES][TAPS]; a unit is a band of output rows of one sample.
 */

/* A line from input row `top` on, of the block's `channels` from `image` on. */
static void make_line(const lines_parameters *p, const x_type *image, int64_t top,
                      int64_t channels, const x_type *padding, column *to)
{
    const int64_t across = p->in_width * p->depth;
    const int64_t columns =
        (p->out_width - 1) * p->stride_width + (p->kernel_width - 1) * p->dilation_width + 1;
    const int64_t left = p->pad_left < columns ? p->pad_left : columns;
    const int64_t seen = columns - left < p->in_width ? columns - left : p->in_width;
    const x_type *rows[TAPS];
    int64_t steps[TAPS];
    for (int64_t tap = 0; tap < TAPS; ++tap) {
        const int64_t iy = top + tap * p->dilation_height;
        const int inside = iy >= 0 && iy < p->in_height;
        rows[tap] = inside ? image + iy * across : padding;
        steps[tap] = inside ? p->depth : 0;
    }
    const value pad = (value)(p->input_zero_point + OFFSET);
    fill_elements((value *)to, pad, left * channels * TAPS, 0);
    to += left * channels;
    if (channels == p->depth)
        interleave(to, rows, seen * channels);
    else
        for (int64_t ix = 0; ix < seen; ++ix) {
            interleave(to + ix * channels, rows, channels);
            for (int64_t tap = 0; tap < TAPS; ++tap)
                rows[tap] += steps[tap];
        }
    fill_elements((value *)(to + seen * channels), pad, (columns - left - seen) * channels * TAPS,
                  0);
}

static inline int64_t floor_division(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((b - 1 - a) / b);
}

KERNEL(CONV(depthwise_lines))
{
    const lines_parameters *p = parameters;
    const int64_t bands = (p->out_height + p->band - 1) / p->band;
    const int64_t lines_of_quad = TAPS * p->dilation_height / p->spacing;
    x_type *padding = (x_type *)((column *)scratch + p->lines * p->pitch);
    for (int64_t i = 0; i < p->in_width * p->depth; ++i)
        padding[i] = (x_type)p->input_zero_point;
    const unsigned mode = round_down();
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t sample = unit / bands, first = unit % bands * p->band;
        const int64_t rows = p->out_height - first < p->band ? p->out_height - first : p->band;
        const x_type *image =
            (const x_type *)operands[0] + sample * p->in_height * p->in_width * p->depth;
        const int64_t top = first * p->stride_height - p->pad_top;
        const int64_t first_line = floor_division(top, p->spacing);
        const int64_t last_line = floor_division(top + (rows - 1) * p->stride_height, p->spacing) +
                                  (p->quads - 1) * lines_of_quad;
        const weight *w = operands[1];
        const int32_t *stages = operands[2];
        for (int64_t channel = 0; channel < p->channels; channel += p->block) {
            /* of the kernel's pixel, which may be several of the image */
            const int64_t left = p->channels - channel;
            const int64_t channels = left < p->block ? left : p->block;
            const int64_t vectors = (channels + LANES - 1) / LANES * PLANES(p);
            const int64_t own = channels < p->depth ? channels : p->depth;
            const int64_t phase_weights = p->quads * p->kernel_width * vectors * LANES * TAPS;
            for (int64_t line = first_line; line <= last_line; ++line)
                make_line(p, image + channel, line * p->spacing, own, padding,
                          (column *)scratch + (line - first_line) * p->pitch);
            conv_tile t = {.rows = p->quads,
                           .row = lines_of_quad * p->pitch,
                           .pixel = p->pixel_stride * (p->channels > p->depth ? channels : own),
                           .steps = p->kernel_width,
                           .step = p->dilation_width * own,
                           .out_pixel = p->channels * p->out_bytes,
                           .out_bytes = p->out_bytes,
                           .channels = channels,
                           .form = p->form,
                           .planes = PLANES(p),
                           .out = STAGE(p)};
            const int64_t pixels = tile_pixels(vectors, p->pixels);
            const tile_function tile = depthwise_tiles[PLANES(p) - 1][vectors - 1][pixels - 1];
            for (int64_t row = 0; row < rows; ++row) {
                const int64_t at = top + row * p->stride_height;
                const int64_t line = floor_division(at, p->spacing);
                const int64_t phase = at - line * p->spacing;
                const column *x = (const column *)scratch + (line - first_line) * p->pitch;
                char *y =
                    (char *)operands[3] +
                    ((sample * p->out_height + first + row) * p->pixels * p->channels + channel) *
                        p->out_bytes;
                for (int64_t pixel = 0; pixel < p->pixels; pixel += pixels) {
                    const int64_t place = pixel + pixels <= p->pixels ? pixel : p->pixels - pixels;
                    tile(&t, x + place * t.pixel, w + phase * phase_weights, stages,
                         y + place * t.out_pixel);
                }
            }
            w += p->spacing * phase_weights;
            stages += vectors * STAGE_VECTORS * LANES;
        }
    }
    round_as_before(mode);
    return DONE;
}
