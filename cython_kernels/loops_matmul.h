/* Products of two matrices that a run computes: y = R(sum over k of (a - za) (b - zb)).
 *
 * Operands: a, b, y. A unit is `tile` rows of one product. Columns of b are taken `panel` at a
 * time: they lie in the scratch in blocks of as many as a tile has, each [depth][columns], padded
 * with zeros, and behind them ROWS rows of a.
 *
 * mat_mul_words: factors of 16 bits and sums of 32. Two neighbours along the depth lie side by
 * side, as processors multiply and add pairs of words at once; an odd depth ends in a zero.
 *
 * mat_mul_wide: any integers, taken as doubles, whose sums are exact as long as they stay below
 * 2^53: the planner says after how many products they are added up as integers. So every processor
 * has fused multiply-adds for it, and any order gives the same bits. Where there shall be no
 * floats, wide factors are integers too.
 */

/* A tile: rows, and vectors of columns. */
#define ROWS 6
#define VECTORS 2

/* ---- words ---- */

#define WORD_COLUMNS ((int64_t)(VECTORS * sizeof(integers) / sizeof(int32_t)))

/* The depth that a pair ends. */
static inline int64_t even_depth(const mat_mul_parameters *p)
{
    return p->depth + (p->depth & 1);
}

EACH_WIDTH void pack_words(const mat_mul_parameters *p, const void *b, int64_t first,
                           int64_t count, int16_t *restrict panel, int64_t bytes)
{
    for (int64_t c = 0; c < count; c += WORD_COLUMNS)
        for (int64_t k = 0; k < p->depth; k += 2, panel += 2 * WORD_COLUMNS) {
            const int64_t valid = smaller(count - c, WORD_COLUMNS);
            const int64_t at = first + k * p->columns + c, odd = k + 1 == p->depth;
            if (odd || valid < WORD_COLUMNS)
                memset(panel, 0, 2 * WORD_COLUMNS * sizeof *panel);
            if (odd)
                for (int64_t i = 0; i < valid; ++i)
                    panel[2 * i] = (int16_t)(load(b, at + i, bytes) - p->b_zero_point);
            else
                EACH_ELEMENT (i, valid) {
                    panel[2 * i] = (int16_t)(load(b, at + i, bytes) - p->b_zero_point);
                    panel[2 * i + 1] =
                        (int16_t)(load(b, at + p->columns + i, bytes) - p->b_zero_point);
                }
        }
}

EACH_WIDTH void take_words(const mat_mul_parameters *p, const void *a, int64_t from, int64_t count,
                           int16_t *restrict rows, int64_t bytes)
{
    const int64_t depth = even_depth(p);
    for (int64_t r = 0; r < count; ++r, rows += depth, from += p->depth) {
        rows[depth - 1] = 0;
        EACH_ELEMENT (i, p->depth)
            rows[i] = (int16_t)(load(a, from + i, bytes) - p->a_zero_point);
    }
}

/* The sums of one tile, of `rows` rows; in the short form that proofs/pairs.py finds for most,
 * already through the stage but for its clamp. */
EACH_WIDTH void sum_words(const mat_mul_parameters *p, const int16_t *restrict a,
                          const int16_t *restrict b, int rows, int32_t *restrict sums)
{
    const int64_t depth = even_depth(p), lanes = WORD_COLUMNS / VECTORS;
    integers acc[ROWS][VECTORS];
    memset(acc, 0, sizeof acc);
    for (int64_t k = 0; k < depth; k += 2, b += 2 * WORD_COLUMNS)
        for (int r = 0; r < rows; ++r) {
            int32_t pair;
            memcpy(&pair, a + r * depth + k, sizeof pair);
            for (int v = 0; v < VECTORS; ++v)
                acc[r][v] = add_word_products(acc[r][v], pair, b + 2 * v * lanes);
        }
    if (p->is_short)
        for (int r = 0; r < rows; ++r)
            for (int v = 0; v < VECTORS; ++v)
                acc[r][v] = short_products(acc[r][v], p);
    memcpy(sums, acc, (size_t)(rows * WORD_COLUMNS) * sizeof *sums);
}

/* Sums of a row into integers. */
EACH_WIDTH void end_words(const mat_mul_parameters *p, const int32_t *restrict sums, int64_t count,
                          void *restrict y, int64_t bytes)
{
    const output_stage out = STAGE(p);
    const int64_t multiplier = p->multiplier;
    const int32_t lo = (int32_t)out.lo, hi = (int32_t)out.hi;
    const int shift = (int)p->shift;
    if (p->is_short)
        EACH_ELEMENT (i, count) {
            const int32_t raised = sums[i] < lo ? lo : sums[i];
            store(y, i, bytes, raised > hi ? hi : raised);
        }
    else
        EACH_ELEMENT (i, count)
            store(y, i, bytes, requantize(sums[i], multiplier, shift, out));
}

/* ---- doubles ---- */

#define WIDE_COLUMNS ((int64_t)(VECTORS * sizeof(wide_factors) / sizeof(wide_factor)))

EACH_WIDTH void pack_wide(const mat_mul_parameters *p, const void *b, int64_t first, int64_t count,
                          wide_factor *restrict panel, int64_t bytes)
{
    for (int64_t c = 0; c < count; c += WIDE_COLUMNS)
        for (int64_t k = 0; k < p->depth; ++k, panel += WIDE_COLUMNS) {
            const int64_t valid = smaller(count - c, WIDE_COLUMNS);
            const int64_t at = first + k * p->columns + c;
            for (int64_t i = 0; i < valid; ++i)
                panel[i] = (wide_factor)(load(b, at + i, bytes) - p->b_zero_point);
            for (int64_t i = valid; i < WIDE_COLUMNS; ++i)
                panel[i] = 0;
        }
}

EACH_WIDTH void take_wide(const mat_mul_parameters *p, const void *a, int64_t from, int64_t count,
                          wide_factor *restrict rows, int64_t bytes)
{
    for (int64_t i = 0; i < count * p->depth; ++i)
        rows[i] = (wide_factor)(load(a, from + i, bytes) - p->a_zero_point);
}

EACH_WIDTH void sum_wide(const mat_mul_parameters *p, const wide_factor *restrict a,
                         const wide_factor *restrict b, int rows, int64_t *restrict sums)
{
    const int64_t depth = p->depth, block = p->block, lanes = WIDE_COLUMNS / VECTORS;
    memset(sums, 0, (size_t)(rows * WIDE_COLUMNS) * sizeof *sums);
    for (int64_t from = 0; from < depth; from += block) {
        const int64_t to = smaller(from + block, depth);
        wide_factors acc[ROWS][VECTORS];
        wide_factor exact[ROWS * sizeof acc[0] / sizeof(wide_factor)];
        memset(acc, 0, sizeof acc);
        for (int64_t k = from; k < to; ++k)
            for (int r = 0; r < rows; ++r)
                for (int v = 0; v < VECTORS; ++v)
                    acc[r][v] = add_wide_products(acc[r][v], a[r * depth + k],
                                                  b + k * WIDE_COLUMNS + v * lanes);
        memcpy(exact, acc, sizeof acc);
        for (int64_t i = 0; i < rows * WIDE_COLUMNS; ++i)
            sums[i] += (int64_t)exact[i];
    }
}

EACH_WIDTH void end_wide(const mat_mul_parameters *p, const int64_t *restrict sums, int64_t count,
                         void *restrict y, int64_t bytes)
{
    const output_stage out = STAGE(p);
    const int64_t multiplier = p->multiplier;
    const int shift = (int)p->shift;
    EACH_ELEMENT (i, count)
        store(y, i, bytes, requantize(sums[i], multiplier, shift, out));
}

/* ---- both ---- */

/* `function` for elements of the width that is most frequent, which the compiler then knows, or of
 * another. */
#define BY_WIDTH(bytes, USUAL, OTHER, function, ...)                                              \
    do {                                                                                          \
        if ((bytes) == (USUAL))                                                                   \
            function(__VA_ARGS__, USUAL);                                                         \
        else                                                                                      \
            function(__VA_ARGS__, OTHER(bytes));                                                  \
    } while (0)
#define WORD_BYTES(bytes) 2
#define WIDE_BYTES(bytes) (bytes)

#define MAT_MUL(name, factor, sum, COLUMNS, DEPTH, USUAL, OTHER)                                  \
    KERNEL(LOOP(mat_mul_##name))                                                                  \
    {                                                                                             \
        const mat_mul_parameters *p = parameters;                                                 \
        const int64_t tiles = (p->rows + p->tile - 1) / p->tile;                                  \
        factor *panel = scratch, *rows = panel + p->panel * (DEPTH);                              \
        for (int64_t unit = begin; unit < end; ++unit) {                                          \
            const int64_t product = unit / tiles, top = unit % tiles * p->tile;                   \
            const int64_t bottom = smaller(top + p->tile, p->rows);                               \
            const int64_t a = row_start(product, p->rank, p->extents, p->a_strides);              \
            const int64_t b = row_start(product, p->rank, p->extents, p->b_strides);              \
            for (int64_t left = 0; left < p->columns; left += p->panel) {                         \
                const int64_t width = smaller(p->columns - left, p->panel);                       \
                BY_WIDTH(p->b_bytes, USUAL, OTHER, pack_##name, p, operands[1], b + left, width,  \
                         panel);                                                                  \
                for (int64_t row = top, count; row < bottom; row += count) {                      \
                    count = smaller(bottom - row, ROWS);                                          \
                    BY_WIDTH(p->a_bytes, USUAL, OTHER, take_##name, p, operands[0],               \
                             a + row * p->depth, count, rows);                                    \
                    /* a few rows take as long as a tile of them */                               \
                    if (count > 1)                                                                \
                        memset(rows + count * (DEPTH), 0,                                         \
                               (size_t)((ROWS - count) * (DEPTH)) * sizeof *rows);                \
                    int64_t y = (product * p->rows + row) * p->columns + left;                    \
                    for (int64_t c = 0; c < width; c += COLUMNS, y += COLUMNS) {                  \
                        const factor *block = panel + c * (DEPTH);                                \
                        sum sums[ROWS * COLUMNS];                                                 \
                        if (count > 1)                                                            \
                            sum_##name(p, rows, block, ROWS, sums);                               \
                        else                                                                      \
                            sum_##name(p, rows, block, 1, sums);                                  \
                        for (int64_t r = 0; r < count; ++r)                                       \
                            BY_WIDTH(p->out_bytes, USUAL, OTHER, end_##name, p,                   \
                                     sums + r * COLUMNS, smaller(width - c, COLUMNS),             \
                                     element(operands[2], y + r * p->columns, p->out_bytes));     \
                    }                                                                             \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
        return DONE;                                                                              \
    }

MAT_MUL(words, int16_t, int32_t, WORD_COLUMNS, even_depth(p), 1, WORD_BYTES)
MAT_MUL(wide, wide_factor, int64_t, WIDE_COLUMNS, p->depth, 2, WIDE_BYTES)
