/* What a tile of a convolution takes, and a band of them: shared by all instruction sets. */

#ifndef EDGEINFER_CONV_TILE_H
#define EDGEINFER_CONV_TILE_H

#include <stdint.h>

#include "requantize.h"

typedef struct {
    int64_t rows, row; /* of the kernel; elements of the scratch from one to the next */
    int64_t pixel;     /* elements from one output pixel's window to the next's */
    int64_t steps;     /* of TAPS elements along a row of the kernel */
    int64_t step;      /* for a depthwise kernel, columns from one to the next */
    int64_t out_pixel; /* bytes from one output pixel to the next */
    int64_t out_bytes; /* of an output element */
    int64_t channels;  /* that are stored */
    int64_t is_short;  /* the form of the stages */
    output_stage out;
} conv_tile;

/* Output pixels side by side in rows, with all channels of one group. */
typedef struct {
    int64_t rows, pixels; /* of a row */
    int64_t x_row, y_row; /* elements of the scratch, and bytes, from one row to the next */
    int64_t outputs;
} conv_band;

/* What a stage holds for each vector of channels. */
enum { STAGE_BIAS, STAGE_MULTIPLIER, STAGE_ROUNDING, STAGE_SHIFT, STAGE_VECTORS };

/* A tile's windows begin at x; its outputs go to y. */
typedef void (*tile_function)(const conv_tile *t, const void *x, const void *w,
                              const int32_t *stage, void *y);

#endif
