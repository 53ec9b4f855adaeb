/* The largest elements along an axis, by their places; boxes that overlap none with a larger
 * score; and elements at places that a run computes. */

/* A key that orders elements, and of equals puts the first before the others. */
#define PLACES 40 /* bits of a place; values have at most 17 */

static inline int64_t key_of(int64_t value, int64_t place)
{
    return value * (INT64_C(1) << PLACES) - place;
}

/* Puts `key` in the place of what is `at` the root of a heap, or of a part of it, whose root is
 * its least. */
static void sink(int64_t *heap, int64_t at, int64_t count, int64_t key)
{
    for (int64_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
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
                sink(heap, 0, count, key);
        }
        int64_t *y = (int64_t *)operands[1] + outer * count * p->inner + inner;
        for (int64_t left = count; left > 0; --left) { /* the least of those that are left */
            y[(left - 1) * p->inner] = -heap[0] & ((INT64_C(1) << PLACES) - 1);
            sink(heap, 0, left - 1, heap[left - 1]);
        }
    }
    return DONE;
}

typedef struct {
    int64_t low[2], high[2];
} box;

static inline box box_at(const void *boxes, int64_t place, int64_t bytes, int64_t centered)
{
    box b;
    for (int64_t axis = 0; axis < 2; ++axis) {
        const int64_t first = load(boxes, 4 * place + axis, bytes);
        const int64_t second = load(boxes, 4 * place + 2 + axis, bytes);
        if (centered) { /* twice the corners */
            b.low[axis] = 2 * first - second;
            b.high[axis] = 2 * first + second;
        } else {
            b.low[axis] = first < second ? first : second;
            b.high[axis] = first < second ? second : first;
        }
    }
    return b;
}

static inline int64_t area_of(box b)
{
    return (b.high[0] - b.low[0]) * (b.high[1] - b.low[1]);
}

/* Whether two boxes share more than `overlap` 2^-30 of their union; areas are below 2^32. */
static inline int overlaps(box a, box b, int64_t overlap)
{
    box both;
    for (int64_t axis = 0; axis < 2; ++axis) {
        both.low[axis] = a.low[axis] > b.low[axis] ? a.low[axis] : b.low[axis];
        both.high[axis] = a.high[axis] < b.high[axis] ? a.high[axis] : b.high[axis];
        if (both.high[axis] <= both.low[axis])
            return 0;
    }
    const int64_t shared = area_of(both);
    return shared * (INT64_C(1) << 30) > overlap * (area_of(a) + area_of(b) - shared);
}

/* Whether `one` overlaps a box of which `rows` hold the place, counted from `first`. */
static int is_suppressed(const non_max_suppression_parameters *p, box one, const void *boxes,
                         int64_t first, const int64_t *rows, int64_t count)
{
    for (int64_t i = 0; i < count; ++i) {
        const box kept = box_at(boxes, first + rows[3 * i + 2], p->box_bytes, p->centered);
        if (overlaps(one, kept, p->overlap))
            return 1;
    }
    return 0;
}

/* Operands: boxes, scores, y (int64). There is one unit; the scratch holds a key for each box. */
KERNEL(LOOP(non_max_suppression))
{
    const non_max_suppression_parameters *p = parameters;
    const int64_t lines = begin < end ? p->samples * p->classes : 0;
    int64_t *heap = scratch, *y = operands[2];
    for (int64_t line = 0; line < lines; ++line) {
        const int64_t first = line / p->classes * p->places;
        int64_t left = 0, count = 0;
        for (int64_t i = 0; i < p->places; ++i) {
            const int64_t score = load(operands[1], line * p->places + i, p->score_bytes);
            if (score > p->above)
                heap[left++] = -key_of(score, i);
        }
        for (int64_t at = left / 2; at-- > 0;)
            sink(heap, at, left, heap[at]);
        while (left > 0 && count < p->count) {
            const int64_t place = heap[0] & ((INT64_C(1) << PLACES) - 1);
            --left;
            sink(heap, 0, left, heap[left]);
            const box one = box_at(operands[0], first + place, p->box_bytes, p->centered);
            if (is_suppressed(p, one, operands[0], first, y, count))
                continue;
            y[3 * count] = line / p->classes;
            y[3 * count + 1] = line % p->classes;
            y[3 * count + 2] = place;
            ++count;
        }
        y += 3 * count;
    }
    const int64_t *behind = (const int64_t *)operands[2] + 3 * lines * p->count;
    while (y < behind)
        *y++ = -1;
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
