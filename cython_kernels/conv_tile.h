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
    int64_t x_plane;   /* elements of the scratch from one plane of x to the next */
    int64_t form;      /* how stages end sums: one of those below */
    int64_t planes;    /* neighbouring vectors that make one of channels */
    int64_t part_rows, part_steps; /* that accumulators hold at a time: see wide_sums.h */
    double *parts;                 /* the sums of those before; NULL where all are one part */
    output_stage out;
} conv_tile;

/* Output pixels side by side in rows, with all channels of one group. */
typedef struct {
    int64_t rows, pixels; /* of a row */
    int64_t x_row, y_row; /* elements of the scratch, and bytes, from one row to the next */
    int64_t outputs;
    int64_t backwards; /* whether the last channels come first */
} conv_band;

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What a stage holds for each vector of channels. */
enum { STAGE_BIAS, STAGE_MULTIPLIER, STAGE_ROUNDING, STAGE_SHIFT, STAGE_VECTORS };

/* How: by long_stage, short_stage or float_stage; see stage_avx512.h. */
enum { LONG_FORM, SHORT_FORM, FLOAT_FORM };

/* In FLOAT_FORM these are floats, as the multiplier is. */
enum { STAGE_OFFSET = STAGE_ROUNDING, STAGE_REMAINDER = STAGE_SHIFT };

/* For sums beyond 32 bits, M 2^-S in doubles, two vectors of them. */
enum { STAGE_FACTOR = STAGE_MULTIPLIER };

/* Beside it, the last bit of a double is a half. */
#define WIDE_ZERO 0x1.8p51

/* A tile's windows begin at x; its outputs go to y. */
typedef void (*tile_function)(const conv_tile *t, const void *x, const void *w,
                              const int32_t *stage, void *y);

#endif
