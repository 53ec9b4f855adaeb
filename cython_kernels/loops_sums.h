/* What pools and reductions share: sums of neighbours side by side, a block at a time. */

#define SUMS 64 /* of a block, which stays in the first cache */

static inline int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Adds `rows` rows of `count` neighbours, `pitch` elements apart; the sums of a whole block stay
 * in registers. */
#define ADD_ROWS(name, type, sum_type)                                                            \
    static void name(const type *restrict x, int64_t rows, int64_t pitch, int64_t count,          \
                     sum_type *restrict sums)                                                     \
    {                                                                                             \
        if (count == SUMS) {                                                                      \
            sum_type local[SUMS];                                                                 \
            memcpy(local, sums, sizeof local);                                                    \
            for (int64_t row = 0; row < rows; ++row, x += pitch)                                  \
                for (int64_t i = 0; i < SUMS; ++i)                                                \
                    local[i] += x[i];                                                             \
            memcpy(sums, local, sizeof local);                                                    \
        } else                                                                                    \
            for (int64_t row = 0; row < rows; ++row, x += pitch)                                  \
                for (int64_t i = 0; i < count; ++i)                                               \
                    sums[i] += x[i];                                                              \
    }

/* no sum of int8 leaves 32 bits: the accumulator is proven */
ADD_ROWS(add_rows_s8, int8_t, int32_t)
ADD_ROWS(add_rows_s16, int16_t, int64_t)

/* The sums of a block, in 32 bits for int8 and in 64 for int16; the others are 0. */
typedef struct {
    int32_t narrow[SUMS];
    int64_t wide[SUMS];
} block_sums;

static inline void clear(block_sums *sums, int64_t count)
{
    memset(sums->narrow, 0, (size_t)count * sizeof *sums->narrow);
    memset(sums->wide, 0, (size_t)count * sizeof *sums->wide);
}

/* Adds to a block the rows that start at element `first` of x. */
static inline void add_rows(block_sums *sums, const void *x, int64_t first, int64_t rows,
                            int64_t pitch, int64_t count, int64_t bytes)
{
    if (bytes == 1)
        add_rows_s8(element(x, first, 1), rows, pitch, count, sums->narrow);
    else
        add_rows_s16(element(x, first, 2), rows, pitch, count, sums->wide);
}

EACH_WIDTH void store_sums_as(const block_sums *restrict sums, int64_t start, int64_t multiplier,
                              int shift, output_stage out, void *restrict y, int64_t first,
                              int64_t count, int64_t bytes)
{
    for (int64_t i = 0; i < count; ++i)
        store(y, first + i, bytes,
              requantize(start + sums->narrow[i] + sums->wide[i], multiplier, shift, out));
}

/* start + each sum, requantized, to the elements of y from `first` on. */
static void store_sums(const block_sums *sums, int64_t start, int64_t multiplier, int shift,
                       output_stage out, void *y, int64_t first, int64_t count, int64_t bytes)
{
    if (bytes == 1)
        store_sums_as(sums, start, multiplier, shift, out, y, first, count, 1);
    else
        store_sums_as(sums, start, multiplier, shift, out, y, first, count, bytes);
}
