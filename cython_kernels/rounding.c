/* Rounds weights in turn (GPTQ, which is Babai's nearest plane), with the same bits everywhere.
 *
 * Every element is summed in one order, whatever the vectors: products are taken away from it one
 * by one, and no loop adds up along a vector. ISO C does not fuse them for GCC; Clang is told so.
 */

#include <math.h>

#include "float_mode.h"
#include "rounding.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

/* The nearest whole number of at most top in magnitude; of two equally near, the one farther from
 * 0. Without a function of C's library, of which not all processors have instructions.
 */
static double nearest(double x, double top)
{
    x = x >= -top ? (x <= top ? x : top) : -top;
    const double whole = (double)(int64_t)x, rest = x - whole;
    return rest >= 0.5 ? whole + 1 : rest <= -0.5 ? whole - 1 : whole;
}

/* Rows of the leading m columns, minus the products of a panel's columns; c [count, stride] holds
 * these columns, the last one first, in the order in which one after another would be taken away.
 */
static void subtract_panel(double *a, int64_t n, int64_t m, const double *c, int64_t count)
{
    for (int64_t i = 0; i < m; ++i) {
        double *restrict row = a + i * n;
        int64_t p = 0;
        for (; p + 4 <= count; p += 4) {
            const double *restrict c0 = c + p * n, *restrict c1 = c0 + n, *restrict c2 = c1 + n,
                                   *restrict c3 = c2 + n;
            const double f0 = c0[i], f1 = c1[i], f2 = c2[i], f3 = c3[i];
            for (int64_t k = i; k < m; ++k)
                row[k] = (((row[k] - f0 * c0[k]) - f1 * c1[k]) - f2 * c2[k]) - f3 * c3[k];
        }
        for (; p < count; ++p) {
            const double *restrict c0 = c + p * n;
            const double f0 = c0[i];
            for (int64_t k = i; k < m; ++k)
                row[k] -= f0 * c0[k];
        }
    }
}

int64_t factorize(double *a, int64_t n, double *scratch)
{
    const uint64_t mode = read_float_mode();
    write_float_mode(PLAIN_FLOATS);
    int64_t failed = n;
    for (int64_t end = n; end > 0 && failed == n; end -= FACTOR_SCRATCH) {
        const int64_t begin = end > FACTOR_SCRATCH ? end - FACTOR_SCRATCH : 0;
        for (int64_t j = end - 1; j >= begin; --j) {
            const double pivot = a[j * n + j];
            if (!(pivot > 0)) {
                failed = j;
                break;
            }
            const double root = sqrt(pivot);
            double *column = scratch + (end - 1 - j) * n;
            a[j * n + j] = root;
            for (int64_t i = 0; i < j; ++i) {
                column[i] = a[i * n + j] / root;
                a[i * n + j] = column[i];
            }
            for (int64_t i = 0; i < j; ++i)
                for (int64_t k = i > begin ? i : begin; k < j; ++k)
                    a[i * n + k] -= column[i] * column[k];
        }
        if (failed == n)
            subtract_panel(a, n, begin, scratch, end - begin);
    }
    write_float_mode(mode);
    return failed;
}

void round_in_turn(const double *factor, int64_t n, double *w, int64_t channels, double top,
                   double *scratch)
{
    enum { LANES = ROUNDING_SCRATCH };
    const uint64_t mode = read_float_mode();
    write_float_mode(PLAIN_FLOATS);
    for (int64_t first = 0; first < channels; first += LANES) {
        const int64_t lanes = channels - first < LANES ? channels - first : LANES;
        double *restrict shares = scratch; /* [n, LANES] */
        for (int64_t k = 0; k < n * LANES; ++k)
            shares[k] = 0;
        for (int64_t j = 0; j < n; ++j) {
            const double *restrict row = factor + j * n;
            double error[LANES] = {0};
            for (int64_t c = 0; c < lanes; ++c) {
                double *at = w + (first + c) * n + j;
                const double q = nearest(*at + shares[j * LANES + c] / row[j], top);
                error[c] = *at - q;
                *at = q;
            }
            for (int64_t k = j + 1; k < n; ++k)
                for (int c = 0; c < LANES; ++c)
                    shares[k * LANES + c] += error[c] * row[k];
        }
    }
    write_float_mode(mode);
}
