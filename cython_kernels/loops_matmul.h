/* Products of two matrices that a run computes: y = R(sum over k of (a - za) (b - zb)).
 *
 * The integers are taken as floats, whose sums are exact as long as they stay below 2^24, or 2^53
 * in doubles: the planner says after how many products they are added up as integers. So every
 * processor has fused multiply-adds for it, and any order gives the same bits.
 *
 * Operands: a, b, y. A unit is `tile` rows of one product. Columns of b are taken `panel` at a
 * time: they lie in the scratch in blocks of as many as a tile has, each [depth][columns], padded
 * with zeros, and behind them ROWS rows of a.
 */

/* A tile: rows, and vectors of columns. */
#define ROWS 6
#define VECTORS 2

/* The sums of one tile, of `rows` rows, and columns [c, c + columns) of b as a panel. */
#define MAT_MUL(name, real, reals, add_products, sum)                                             \
    EACH_WIDTH void multiply_##name(const real *restrict a, const real *restrict b,               \
                                    int64_t depth, int64_t block, int rows, sum *restrict sums)   \
    {                                                                                             \
        const int64_t lanes = sizeof(reals) / sizeof(real), columns = VECTORS * lanes;            \
        memset(sums, 0, (size_t)(rows * columns) * sizeof *sums);                                 \
        for (int64_t from = 0; from < depth; from += block) {                                     \
            const int64_t to = smaller(from + block, depth);                                      \
            reals acc[ROWS][VECTORS];                                                             \
            real exact[ROWS * sizeof acc[0] / sizeof(real)];                                      \
            memset(acc, 0, sizeof acc);                                                           \
            for (int64_t k = from; k < to; ++k)                                                   \
                for (int r = 0; r < rows; ++r)                                                    \
                    for (int v = 0; v < VECTORS; ++v)                                             \
                        acc[r][v] = add_products(acc[r][v], a[r * depth + k],                     \
                                                 b + k * columns + v * lanes);                    \
            memcpy(exact, acc, sizeof acc);                                                       \
            for (int64_t i = 0; i < rows * columns; ++i)                                          \
                sums[i] += (sum)exact[i];                                                         \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    EACH_WIDTH void pack_##name(const mat_mul_parameters *p, const void *b, int64_t first,        \
                                int64_t count, real *restrict panel, int64_t bytes)               \
    {                                                                                             \
        const int64_t columns = VECTORS * sizeof(reals) / sizeof(real);                           \
        for (int64_t c = 0; c < count; c += columns)                                              \
            for (int64_t k = 0; k < p->depth; ++k, panel += columns) {                            \
                const int64_t valid = smaller(count - c, columns);                                \
                const int64_t at = first + k * p->columns + c;                                    \
                for (int64_t i = 0; i < valid; ++i)                                               \
                    panel[i] = (real)(load(b, at + i, bytes) - p->b_zero_point);                  \
                for (int64_t i = valid; i < columns; ++i)                                         \
                    panel[i] = 0;                                                                 \
            }                                                                                     \
    }                                                                                             \
                                                                                                  \
    EACH_WIDTH void name(const mat_mul_parameters *p, void *const *operands, int64_t begin,       \
                         int64_t end, real *panel, int64_t a_bytes, int64_t b_bytes,              \
                         int64_t out_bytes)                                                       \
    {                                                                                             \
        enum { COLUMNS = VECTORS * sizeof(reals) / sizeof(real) };                                \
        const output_stage out = STAGE(p);                                                        \
        const int64_t tiles = (p->rows + p->tile - 1) / p->tile, multiplier = p->multiplier;      \
        const int shift = (int)p->shift;                                                          \
        real *rows = panel + p->panel * p->depth;                                                 \
        for (int64_t unit = begin; unit < end; ++unit) {                                          \
            const int64_t product = unit / tiles, top = unit % tiles * p->tile;                   \
            const int64_t bottom = smaller(top + p->tile, p->rows);                               \
            const int64_t a = row_start(product, p->rank, p->extents, p->a_strides);              \
            const int64_t b = row_start(product, p->rank, p->extents, p->b_strides);              \
            for (int64_t left = 0; left < p->columns; left += p->panel) {                         \
                const int64_t width = smaller(p->columns - left, p->panel);                       \
                pack_##name(p, operands[1], b + left, width, panel, b_bytes);                     \
                for (int64_t row = top, count; row < bottom; row += count) {                      \
                    count = bottom - row >= ROWS ? ROWS : 1;                                      \
                    const int64_t from = a + row * p->depth;                                      \
                    for (int64_t i = 0; i < count * p->depth; ++i)                                \
                        rows[i] = (real)(load(operands[0], from + i, a_bytes) - p->a_zero_point); \
                    int64_t y = (product * p->rows + row) * p->columns + left;                    \
                    for (int64_t c = 0; c < width; c += COLUMNS, y += COLUMNS) {                  \
                        const int64_t valid = smaller(width - c, COLUMNS);                        \
                        sum sums[ROWS * COLUMNS];                                                 \
                        if (count == ROWS)                                                        \
                            multiply_##name(rows, panel + c * p->depth, p->depth, p->block, ROWS, \
                                            sums);                                                \
                        else                                                                      \
                            multiply_##name(rows, panel + c * p->depth, p->depth, p->block, 1,    \
                                            sums);                                                \
                        for (int64_t r = 0; r < count; ++r)                                       \
                            EACH_ELEMENT (i, valid)                                               \
                                store(operands[2], y + r * p->columns + i, out_bytes,             \
                                      requantize(sums[r * COLUMNS + i], multiplier, shift, out)); \
                    }                                                                             \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
    }

MAT_MUL(mat_mul_narrow, float, floats, add_float_products, int32_t)
MAT_MUL(mat_mul_any, double, doubles, add_double_products, int64_t)

/* Both of int8, with accumulators below 2^31. */
KERNEL(LOOP(mat_mul_s8))
{
    const mat_mul_parameters *p = parameters;
    if (p->out_bytes == 1)
        mat_mul_narrow(p, operands, begin, end, scratch, 1, 1, 1);
    else
        mat_mul_narrow(p, operands, begin, end, scratch, 1, 1, 2);
    return DONE;
}

KERNEL(LOOP(mat_mul_wide))
{
    const mat_mul_parameters *p = parameters;
    if (p->a_bytes == 2 && p->b_bytes == 2 && p->out_bytes == 2)
        mat_mul_any(p, operands, begin, end, scratch, 2, 2, 2);
    else
        mat_mul_any(p, operands, begin, end, scratch, p->a_bytes, p->b_bytes, p->out_bytes);
    return DONE;
}
