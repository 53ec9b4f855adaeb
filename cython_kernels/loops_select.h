/* The largest elements along an axis, by their places, and elements at places that a run computes.
 */

/* A key that orders elements, and of equals puts the first before the others. */
#define PLACES 40 /* bits of a place; values have at most 17 */

static inline int64_t key_of(int64_t value, int64_t place)
{
    return value * (INT64_C(1) << PLACES) - place;
}

/* Puts `key` at the root of a heap whose root is its least, in the place of what is there. */
static void sink(int64_t *heap, int64_t count, int64_t key)
{
    int64_t at = 0;
    for (int64_t child = 1; child < count; child = 2 * at + 1) {
        child += child + 1 < count && heap[child + 1] < heap[child];
        if (key <= heap[child])
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = key;
}

/* Operands: x, y (int64). A unit is a line along the axis; the scratch holds `count` keys. */
KERNEL(LOOP(top_indices))
{
    const top_indices_parameters *p = parameters;
    const int64_t sign = p->largest ? 1 : -1, count = p->count;
    int64_t *heap = scratch;
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t outer = unit / p->inner, inner = unit % p->inner;
        const int64_t start = outer * p->extent * p->inner + inner;
        for (int64_t i = 0; i < count; ++i)
            heap[i] = INT64_MIN;
        for (int64_t i = 0; i < p->extent; ++i) {
            const int64_t key =
                key_of(sign * load(operands[0], start + i * p->inner, p->bytes), i);
            if (key > heap[0])
                sink(heap, count, key);
        }
        int64_t *y = (int64_t *)operands[1] + outer * count * p->inner + inner;
        for (int64_t left = count; left > 0; --left) { /* the least of those that are left */
            y[(left - 1) * p->inner] = -heap[0] & ((INT64_C(1) << PLACES) - 1);
            sink(heap, left - 1, heap[left - 1]);
        }
    }
    return DONE;
}

/* Operands: data, indices (int64), y. A unit is an element; negative indices count from the end.
 */
KERNEL(LOOP(gather_elements))
{
    const gather_elements_parameters *p = parameters;
    const int64_t *indices = operands[1];
    for (int64_t unit = begin; unit < end; ++unit) {
        int64_t index = indices[unit];
        if (index < -p->extent || index >= p->extent)
            return INDEX_OUT_OF_RANGE;
        index += index < 0 ? p->extent : 0;
        const int64_t from = row_start(unit, p->rank, p->extents, p->strides) + index * p->stride;
        store(operands[2], unit, p->bytes, load(operands[0], from, p->bytes));
    }
    return DONE;
}
