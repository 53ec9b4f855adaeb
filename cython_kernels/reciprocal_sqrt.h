/* Roots of integers: what edgeinfer/arithmetic/fixedpoint.py calls normalized_even,
 * reciprocal_sqrt and square_root. */

#ifndef EDGEINFER_RECIPROCAL_SQRT_H
#define EDGEINFER_RECIPROCAL_SQRT_H

#include <stdint.h>

/* Shifts v, in [1, 2^62), to the left by an even number of places into [2^60, 2^62); gives it. */
static inline int normalize_even(int64_t *v)
{
    int places = 0;
    for (int step = 32; step > 1; step /= 2)
        if (*v < INT64_C(1) << (62 - step)) {
            *v <<= step;
            places += step;
        }
    return places;
}

/* 2^61 / sqrt(t) for t in [2^60, 2^62), within 2^-29 of itself: 24 roots, three of Newton's steps.
 * docs/arithmetic.md proves it, and that nothing exceeds 63 bits. */
static inline int64_t reciprocal_sqrt(int64_t t)
{
    static const uint16_t roots[24] = {
        63579, 60140, 57205, 54661, 52429, 50450, 48679, 47082, 45633, 44310, 43096, 41977,
        40940, 39977, 39078, 38238, 37449, 36708, 36008, 35347, 34722, 34128, 33564, 33027,
    };
    const int64_t x = t >> 30;
    int64_t y = (int64_t)roots[(x >> 27) - 8] << 15;
    for (int step = 0; step < 3; ++step) {
        const int64_t square = (((y * y) >> 30) * x) >> 32;
        y = (y * ((INT64_C(3) << 30) - square)) >> 31;
    }
    return y;
}

/* sqrt(v) 2^fraction, rounded, for v in [0, 2^62), where it is below 2^30. */
static inline int64_t square_root(int64_t v, int fraction)
{
    if (v == 0)
        return 0;
    const int shift = normalize_even(&v) / 2 - fraction;
    const int64_t root = ((v >> 31) * reciprocal_sqrt(v) + (1 << 29)) >> 30;
    return (root + (INT64_C(1) << shift >> 1)) >> shift;
}

#endif
