/* Convolutions of every size on rows of x that are copied, padded, into the scratch.
 *
 * In NHWC a row of a window is one run of kernel_width * depth elements, and the windows of
 * neighbouring pixels begin a constant number of elements apart: nothing else is needed, neither
 * im2col nor a table of addresses. Where the kernel is dilated along the row, the copy brings each
 * pixel's taps together. What the kernels read beyond a run meets weights of 0.
 *
 * An instruction set includes this file after it has defined
 *
 *     CONV(name)                  the name of its kernel `name`
 *     value, OFFSET               the type of an element in the scratch; what is added to x's
 *     X_PLANES                    how many make one of x; where several, `plane` apart, also
 *                                 copy_elements and fill_elements, how x becomes such elements
 *     TAKES_X                     whether such elements are those of x
 *     LANES, TAPS                 channels of a vector; products of a step in a lane
 *     multiply_band               all output pixels of a band: see conv_blocks.h
 *
 * Operands: x, weights, stages, y. Weights lie as [group][block][kernel row][step][vector of the
 * block][LANES][TAPS]; a stage is what `stage_*.h` makes of a vector. A unit is a slice of the
 * channels of a band of output rows of one sample, or for conv_flat of a number of pixels.
 */

#include <string.h>

#include "conv_tile.h"
#include "kernels.h"

#if X_PLANES == 1
static inline void copy_elements(value *restrict to, const x_type *restrict x, int64_t count,
                                 int64_t plane)
{
    for (int64_t i = 0; i < count; ++i)
        to[i] = (value)(x[i] + OFFSET);
}

static inline void fill_elements(value *to, value with, int64_t count, int64_t plane)
{
    for (int64_t i = 0; i < count; ++i)
        to[i] = with;
}
#endif

/* The columns of input row `from` that windows see, as elements of the scratch. */
static void copy_row(const rows_parameters *p, const x_type *from, value *to)
{
    const int64_t depth = p->depth, across = p->group * depth;
    const int64_t plane = p->pitch / X_PLANES;
    const value padding = (value)(p->input_zero_point + OFFSET);
    if (p->dilation_width > 1) {
        for (int64_t ox = 0; ox < p->out_width; ++ox, to += p->pixel)
            for (int64_t kx = 0; kx < p->kernel_width; ++kx) {
                const int64_t ix = ox * p->stride_width - p->pad_left + kx * p->dilation_width;
                value *tap = to + kx * depth;
                if (ix >= 0 && ix < p->in_width)
                    copy_elements(tap, from + ix * across, depth, plane);
                else
                    fill_elements(tap, padding, depth, plane);
            }
        return;
    }
    const int64_t columns = (p->out_width - 1) * p->stride_width + p->kernel_width;
    const int64_t left = p->pad_left < columns ? p->pad_left : columns;
    const int64_t seen = columns - left < p->in_width ? columns - left : p->in_width;
    fill_elements(to, padding, left * depth, plane);
    to += left * depth;
    if (p->group == 1)
        copy_elements(to, from, seen * depth, plane);
    else
        for (int64_t ix = 0; ix < seen; ++ix)
            copy_elements(to + ix * depth, from + ix * across, depth, plane);
    fill_elements(to + seen * depth, padding, (columns - left - seen) * depth, plane);
}

/* Input rows from `top` on, as many as the windows of `rows` output rows reach. */
static void copy_rows(const rows_parameters *p, const x_type *sample, int64_t top, int64_t rows,
                      value *to)
{
    const int64_t across = p->group * p->depth;
    const int64_t reach = (p->kernel_height - 1) * p->dilation_height + 1;
    const int64_t count = (rows - 1) * p->stride_height + reach;
    for (int64_t i = 0; i < count; ++i, to += p->pitch) {
        if (i % p->stride_height >= reach)
            continue; /* between two windows */
        const int64_t iy = top + i;
        if (iy >= 0 && iy < p->in_height)
            copy_row(p, sample + iy * p->in_width * across, to);
        else
            fill_elements(to, (value)(p->input_zero_point + OFFSET), p->pitch / X_PLANES,
                          p->pitch / X_PLANES);
    }
}

/* The channels of neighbouring slices: whole blocks, so that what is packed for them lies
 * together. */
typedef struct {
    int64_t first, outputs; /* of the group's channels */
    int64_t vector;         /* of all weights and stages */
} slice_place;

static inline slice_place slices_at(int64_t slice, int64_t count, int64_t size, int64_t outputs,
                                    int64_t planes, int64_t group_vector)
{
    const int64_t first = slice * size;
    return (slice_place){first, least(outputs - first, count * size),
                         group_vector + first / LANES * planes};
}

KERNEL(CONV(conv_rows))
{
    const rows_parameters *p = parameters;
    const x_type *x = operands[0];
    const int64_t across = p->group * p->depth;
    const int64_t bands = (p->out_height + p->band - 1) / p->band;
    const conv_tile common = {.rows = p->kernel_height,
                              .row = p->dilation_height * p->pitch,
                              .pixel = p->pixel,
                              .steps = p->steps,
                              .out_pixel = p->out_depth * p->out_bytes,
                              .out_bytes = p->out_bytes,
                              .form = p->form,
                              .planes = PLANES(p),
                              PARTS(p),
                              .x_plane = p->pitch / X_PLANES,
                              .out = STAGE(p)};
    const int64_t slices = (p->outputs + p->slice - 1) / p->slice;
    const int64_t vectors = (p->outputs + LANES - 1) / LANES * PLANES(p);
    const unsigned mode = round_down();
    for (int64_t unit = begin, count; unit < end; unit += count) {
        const int64_t place = unit / slices, slice = unit % slices;
        count = least(slices - slice, end - unit);
        const int64_t sample = place / bands, first = place % bands * p->band;
        const int64_t rows = p->out_height - first < p->band ? p->out_height - first : p->band;
        const x_type *image = x + sample * p->in_height * p->in_width * across;
        char *y = (char *)operands[3] +
                  (sample * p->out_height + first) * p->out_width * common.out_pixel;
        for (int64_t g = 0; g < p->group; ++g) {
            copy_rows(p, image + g * p->depth, first * p->stride_height - p->pad_top, rows,
                      scratch);
            const slice_place at =
                slices_at(slice, count, p->slice, p->outputs, PLANES(p), g * vectors);
            const conv_band band = {.rows = rows,
                                    .pixels = p->out_width,
                                    .x_row = p->stride_height * p->pitch,
                                    .y_row = p->out_width * common.out_pixel,
                                    .outputs = at.outputs};
            multiply_band(&common, &band, scratch,
                          (const weight *)operands[1] +
                              at.vector * p->kernel_height * p->steps * LANES * TAPS,
                          (const int32_t *)operands[2] + at.vector * STAGE_VECTORS * LANES,
                          y + (g * p->outputs + at.first) * p->out_bytes);
        }
    }
    round_as_before(mode);
    return DONE;
}

/* 1x1 convolutions without strides, and dense layers: rows of `depth` elements one after another.
 */
KERNEL(CONV(conv_flat))
{
    const flat_parameters *p = parameters;
    const conv_tile common = {.rows = 1,
                              .pixel = p->depth,
                              .steps = p->steps,
                              .out_pixel = p->out_depth * p->out_bytes,
                              .out_bytes = p->out_bytes,
                              .form = p->form,
                              .planes = PLANES(p),
                              PARTS(p),
                              .x_plane = p->tile * p->depth,
                              .out = STAGE(p)};
    const int64_t slices = (p->outputs + p->slice - 1) / p->slice;
    const value *values = scratch;
    const unsigned mode = round_down();
    for (int64_t unit = begin, count; unit < end; unit += count) {
        const int64_t place = unit / slices, slice = unit % slices;
        count = least(slices - slice, end - unit);
        const int64_t first = place * p->tile, pixels = least(p->pixels - first, p->tile);
        const x_type *x = (const x_type *)operands[0] + first * p->depth;
        if (TAKES_X && p->steps * TAPS == p->depth)
            values = (const value *)x;
        else
            copy_elements(scratch, x, pixels * p->depth, p->tile * p->depth);
        const slice_place at = slices_at(slice, count, p->slice, p->outputs, PLANES(p), 0);
        const conv_band band = {
            .rows = 1, .pixels = pixels, .outputs = at.outputs, .backwards = p->backwards};
        multiply_band(&common, &band, values,
                      (const weight *)operands[1] + at.vector * p->steps * LANES * TAPS,
                      (const int32_t *)operands[2] + at.vector * STAGE_VECTORS * LANES,
                      (char *)operands[3] + first * common.out_pixel + at.first * p->out_bytes);
    }
    round_as_before(mode);
    return DONE;
}
