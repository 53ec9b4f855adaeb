/* Moves elements of any width: strided copies, fills, index lists and gathers. */

/* Of copy: where neighbouring rows of a plane start, and how far apart their elements stand. */
typedef struct {
    int64_t length, in_row, out_row, in_step, out_step;
} plane;

EACH_WIDTH void copy_rows(const plane *p, const void *restrict x, void *restrict y, int64_t rows,
                          int64_t bytes)
{
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t i = 0; i < p->length; ++i)
            store(y, row * p->out_row + i * p->out_step, bytes,
                  load(x, row * p->in_row + i * p->in_step, bytes));
}

/* Few planes of x become one of y, as an image's colours do: `length` is a constant. */
EACH_WIDTH void interleave(const plane *p, const void *restrict x, void *restrict y, int64_t rows,
                           int64_t length, int64_t bytes)
{
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t i = 0; i < length; ++i)
            store(y, row * length + i, bytes, load(x, row + i * p->in_step, bytes));
}

EACH_WIDTH void copy_plane(const plane *p, const void *x, void *y, int64_t rows, int64_t bytes)
{
    const int joins = p->in_row == 1 && p->out_step == 1 && p->out_row == p->length;
    if (p->in_step == 1 && p->out_step == 1)
        for (int64_t row = 0; row < rows; ++row)
            memcpy(element(y, row * p->out_row, bytes), element(x, row * p->in_row, bytes),
                   (size_t)(p->length * bytes));
    else if (joins && p->length == 3)
        interleave(p, x, y, rows, 3, bytes);
    else if (joins && p->length == 2)
        interleave(p, x, y, rows, 2, bytes);
    else
        copy_rows(p, x, y, rows, bytes);
}

/* Operands: x, y. A unit is a row: the last axis, everything before it fixed. */
KERNEL(LOOP(copy))
{
    const copy_parameters *p = parameters;
    const int64_t last = p->rank - 1, above = last > 0 ? p->extents[last - 1] : 1;
    const plane q = {p->extents[last], last > 0 ? p->in_strides[last - 1] : 0,
                     last > 0 ? p->out_strides[last - 1] : 0, p->in_strides[last],
                     p->out_strides[last]};
    for (int64_t unit = begin, rows; unit < end; unit += rows) {
        const int64_t left = above - unit % above;
        rows = end - unit < left ? end - unit : left;
        const int64_t from = row_start(unit, last, p->extents, p->in_strides) + p->in_start;
        const int64_t to = row_start(unit, last, p->extents, p->out_strides) + p->out_start;
        const void *x = element(operands[0], from, p->bytes);
        void *y = element(operands[1], to, p->bytes);
        if (p->bytes == 1)
            copy_plane(&q, x, y, rows, 1);
        else if (p->bytes == 2)
            copy_plane(&q, x, y, rows, 2);
        else
            copy_plane(&q, x, y, rows, p->bytes);
    }
    return DONE;
}

EACH_WIDTH void fill_elements(void *y, int64_t begin, int64_t end, int64_t value, int64_t bytes)
{
    for (int64_t i = begin; i < end; ++i)
        store(y, i, bytes, value);
}

/* Operands: y. A unit is an element. */
KERNEL(LOOP(fill))
{
    const fill_parameters *p = parameters;
    if (p->bytes == 1)
        memset(element(operands[0], begin, 1), (int)p->value, (size_t)(end - begin));
    else if (p->bytes == 2)
        fill_elements(operands[0], begin, end, p->value, 2);
    else
        fill_elements(operands[0], begin, end, p->value, p->bytes);
    return DONE;
}

/* Operands: x, offsets, y. y[n, i, j, ..., :run] starts at x[n outer_stride + offsets_0[i] +
 * offsets_1[j] + ...]; the lists of offsets stand one after another. A unit is a row of the last
 * list. */
KERNEL(LOOP(take))
{
    const take_parameters *p = parameters;
    const int64_t last = p->rank - 1, length = p->extents[last];
    const int64_t *lists[MAX_RANK];
    lists[0] = operands[1];
    for (int64_t axis = 1; axis < p->rank; ++axis)
        lists[axis] = lists[axis - 1] + p->extents[axis - 1];
    for (int64_t unit = begin; unit < end; ++unit) {
        int64_t from = 0, row = unit;
        for (int64_t axis = last - 1; axis >= 0; --axis) {
            from += lists[axis][row % p->extents[axis]];
            row /= p->extents[axis];
        }
        from += row * p->outer_stride;
        const void *x = element(operands[0], from, p->bytes);
        void *y = element(operands[2], unit * length * p->run, p->bytes);
        if (p->run > 1) {
            const size_t size = (size_t)(p->run * p->bytes);
            for (int64_t i = 0; i < length; ++i)
                memcpy(element(y, i * p->run, p->bytes), element(x, lists[last][i], p->bytes),
                       size);
        } else {
            for (int64_t i = 0; i < length; ++i)
                store(y, i, p->bytes, load(x, lists[last][i], p->bytes));
        }
    }
    return DONE;
}

/* Operands: x, indices (int64), y. A unit is one index at one place before the axis; it moves
 * `inner` elements. Indices begin at `least`; negative ones count from the end. */
KERNEL(LOOP(gather))
{
    const gather_parameters *p = parameters;
    const int64_t *indices = operands[1];
    for (int64_t unit = begin; unit < end; ++unit) {
        int64_t index = indices[unit % p->indices];
        if (index < p->least || index >= p->extent)
            return INDEX_OUT_OF_RANGE;
        index += index < 0 ? p->extent : 0;
        const int64_t from = (unit / p->indices * p->extent + index) * p->inner;
        memcpy(element(operands[2], unit * p->inner, p->bytes),
               element(operands[0], from, p->bytes), (size_t)(p->inner * p->bytes));
    }
    return DONE;
}
