/* Layers of int16 x whose instruction sums two products into a lane: the scratch holds x itself.
 */

#include <string.h>

typedef int16_t value;
typedef int16_t weight;

#define TAPS 2
#define OFFSET 0
#define X_PLANES 1
#define TAKES_X 1

static inline void copy_elements(value *restrict to, const x_type *restrict x, int64_t count,
                                 int64_t plane)
{
    memcpy(to, x, (size_t)count * sizeof *to);
}

static inline void fill_elements(value *to, value with, int64_t count, int64_t plane)
{
    for (int64_t i = 0; i < count; ++i)
        to[i] = with;
}
