/* Weights into integers one after another, each making up for those before it. */

#ifndef EDGEINFER_ROUNDING_H
#define EDGEINFER_ROUNDING_H

#include <stdint.h>

/* Factorize the symmetric a [n, n] as R R^T, R upper triangular, in place of its upper triangle;
 * what lies below the diagonal is left. Gives n, or the column whose pivot is not positive.
 * scratch holds FACTOR_SCRATCH * n doubles.
 */
enum { FACTOR_SCRATCH = 8 };
int64_t factorize(double *a, int64_t n, double *scratch);

/* Round w [channels, n] to whole numbers of at most top in magnitude, in place. The error e of a
 * channel leaves e^T R R^T e; column j is rounded from w_j + sum_{i<j} e_i R_ij / R_jj, at which
 * its own share would be 0. scratch holds ROUNDING_SCRATCH * n doubles.
 */
enum { ROUNDING_SCRATCH = 8 };
void round_in_turn(const double *factor, int64_t n, double *w, int64_t channels, double top,
                   double *scratch);

#endif
