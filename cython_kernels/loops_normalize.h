/* Normalizations: groups of elements divided by the root of their variance, or of their squares;
 * and that root itself.
 *
 * A unit is a group. Its measure is summed first; then each of its elements is multiplied by what
 * the group shares, and by its channel's multiplier. fixedpoint.Normalizer defines it.
 */

#include "reciprocal_sqrt.h"

enum measure { VARIANCE, SQUARES, MAGNITUDES };

#define GROUPS 64 /* side by side */

/* ((q - mean) * factor + addend) >> shift, of each group of a block. */
typedef struct {
    int32_t mean[GROUPS], factor[GROUPS];
    int64_t addend[GROUPS], shift[GROUPS];
} shares;

/* Sums of the distances from `zero`, or their magnitudes, and of their squares, of each group. */
typedef struct {
    int64_t sum[GROUPS], squares[GROUPS];
} moments;

/* Adds a line of neighbours; PART of them stay within the narrower type. */
#define ADD_LINE(name, type, part_type, PART)                                                     \
    EACH_WIDTH void name(const type *x, int64_t length, int32_t zero, int magnitudes, moments *m) \
    {                                                                                             \
        for (int64_t start = 0; start < length; start += PART) {                                  \
            const int64_t count = smaller(PART, length - start);                                  \
            part_type sum = 0, squares = 0;                                                       \
            for (int64_t i = 0; i < count; ++i) {                                                 \
                const int32_t d = x[start + i] - zero;                                            \
                sum += magnitudes && d < 0 ? -d : d;                                              \
                squares += d * d;                                                                 \
            }                                                                                     \
            m->sum[0] += sum;                                                                     \
            m->squares[0] += squares;                                                             \
        }                                                                                         \
    }

/* Adds `length` rows, `pitch` elements apart, to `count` groups side by side. */
#define ADD_LANES(name, type, part_type, PART)                                                    \
    EACH_WIDTH void name(const type *x, int64_t length, int64_t pitch, int64_t count,             \
                         int32_t zero, int magnitudes, moments *m)                                \
    {                                                                                             \
        for (int64_t start = 0; start < length; start += PART) {                                  \
            const int64_t end = smaller(start + PART, length);                                    \
            part_type sum[GROUPS] = {0}, squares[GROUPS] = {0};                                   \
            for (int64_t row = start; row < end; ++row)                                           \
                for (int64_t i = 0; i < count; ++i) {                                             \
                    const int32_t d = x[row * pitch + i] - zero;                                  \
                    sum[i] += magnitudes && d < 0 ? -d : d;                                       \
                    squares[i] += d * d;                                                          \
                }                                                                                 \
            for (int64_t i = 0; i < count; ++i) {                                                 \
                m->sum[i] += sum[i];                                                              \
                m->squares[i] += squares[i];                                                      \
            }                                                                                     \
        }                                                                                         \
    }

/* 32768 squares of 255 are below 2^31 */
ADD_LINE(add_line_s8, int8_t, int32_t, 32768)
ADD_LINE(add_line_s16, int16_t, int64_t, INT64_MAX)
ADD_LANES(add_lanes_s8, int8_t, int32_t, 32768)
ADD_LANES(add_lanes_s16, int16_t, int64_t, 32768)

/* The elements of a group: lines along the last of the reduced axes, wherever the others lead. */
typedef struct {
    const void *x;
    int64_t bytes, axes;
    const int64_t *extents, *strides;
    int64_t lines, length, step;
    int32_t zero;
} group_walk;

static group_walk walk_of(const void *x, int64_t bytes, int64_t axes, const int64_t *extents,
                          const int64_t *strides, int64_t zero)
{
    group_walk w = {x,
                    bytes,
                    axes - 1,
                    extents,
                    strides,
                    1,
                    extents[axes - 1],
                    strides[axes - 1],
                    (int32_t)zero};
    for (int64_t axis = 0; axis < w.axes; ++axis)
        w.lines *= extents[axis];
    return w;
}

/* The walk over a group of a kernel with REDUCE_PARAMETERS. */
#define WALK(p, x, zero)                                                                          \
    walk_of(x, (p)->in_bytes, (p)->rank - (p)->kept, (p)->extents + (p)->kept,                    \
            (p)->strides + (p)->kept, zero)

/* How many groups from `unit` on lie side by side, as those do whose elements are neighbours. */
static inline int64_t side_by_side(int64_t unit, int64_t end, int64_t extent, int64_t stride)
{
    const int64_t line = stride == 1 ? extent : 1;
    return smaller(smaller(end - unit, GROUPS), line - unit % line);
}

EACH_WIDTH void sum_lines(const group_walk *w, int64_t start, int64_t count, moments *m,
                          int magnitudes)
{
    for (int64_t line = 0; line < w->lines; ++line) {
        const int64_t first = start + row_start(line, w->axes, w->extents, w->strides);
        const void *x = element(w->x, first, w->bytes);
        if (w->step == 1 && w->bytes == 1)
            add_line_s8(x, w->length, w->zero, magnitudes, m);
        else if (w->step == 1)
            add_line_s16(x, w->length, w->zero, magnitudes, m);
        else if (w->bytes == 1)
            add_lanes_s8(x, w->length, w->step, count, w->zero, magnitudes, m);
        else
            add_lanes_s16(x, w->length, w->step, count, w->zero, magnitudes, m);
    }
}

/* The moments of `count` groups side by side, the first of which begins with element `start`. */
static void sum_groups(const group_walk *w, int64_t start, int64_t count, int magnitudes,
                       moments *m)
{
    memset(m->sum, 0, (size_t)count * sizeof *m->sum);
    memset(m->squares, 0, (size_t)count * sizeof *m->squares);
    if (magnitudes)
        sum_lines(w, start, count, m, 1);
    else
        sum_lines(w, start, count, m, 0);
}

/* Puts epsilon to t, which is 2^places times the measure; gives the places of their sum. */
static inline int with_epsilon(const normalize_parameters *p, int64_t *t, int places)
{
    if (p->epsilon) {
        const int own = 62 - 2 * (int)p->exponent;
        const int common = places < own ? places : own;
        const int64_t added = (p->epsilon << 31) >> smaller(own - common, 62);
        *t >>= smaller(places - common, 62);
        *t = p->is_least ? larger(*t, added) : *t + added;
        places = common;
    }
    if (*t >= INT64_C(1) << 62) {
        *t >>= 2;
        places -= 2;
    }
    return places;
}

/* What group i, of these moments, multiplies its elements by. */
static void share(const normalize_parameters *p, const moments *m, int64_t i, shares *s)
{
    const int64_t count = p->count, sum = m->sum[i];
    int64_t mean = p->input_zero_point, left = 0, measure = m->squares[i];
    int lost = 0, bits = 1;
    if (p->measure == VARIANCE) {
        mean = sum / count - (sum % count < 0);
        left = sum - mean * count;
        bits = (int)p->count_bits;
        int64_t squares = measure + (mean * count - 2 * sum) * mean;
        while (squares >> lost >= INT64_C(1) << (62 - bits))
            lost += 2;
        measure = (squares >> lost) * count - (left * left >> lost);
    } else if (p->measure == MAGNITUDES)
        measure = sum * sum;
    s->mean[i] = (int32_t)mean;
    s->factor[i] = 0;
    s->addend[i] = 1;
    s->shift[i] = 1;
    if (measure <= 0)
        return;
    int places = normalize_even(&measure) - lost;
    places = with_epsilon(p, &measure, places);
    const int64_t root = reciprocal_sqrt(measure), half = INT64_C(1) << (bits - 1);
    const int64_t weight = p->measure == VARIANCE ? count : 1;
    const int64_t shift = smaller(61 - places / 2 - bits - p->fraction, 62);
    s->factor[i] = (int32_t)((weight * root + half) >> bits);
    s->addend[i] = (INT64_C(1) << (shift - 1)) - ((left * root + half) >> bits);
    s->shift[i] = shift;
}

/* One element, as a share of its group and then its channel's. */
static inline int64_t normalized(int32_t q, int32_t mean, int32_t factor, int64_t addend,
                                 int64_t shift, int32_t multiplier, int64_t bias,
                                 int64_t out_shift)
{
    const int32_t n = (int32_t)(((int64_t)(q - mean) * factor + addend) >> shift);
    return ((int64_t)n * multiplier + bias + (INT64_C(1) << (out_shift - 1))) >> out_shift;
}

/* The channels of neighbours are neighbours (step 1), or all are one (step 0). */
EACH_WIDTH void normalize_line(const normalize_parameters *p, void *const *operands, int64_t first,
                               const shares *s, int64_t in_bytes, int64_t out_bytes, int64_t step)
{
    const int64_t length = p->extents[p->rank - 1], out_shift = p->shift;
    const int64_t channel = first / p->inner % p->channels;
    const int32_t *multiplier = (const int32_t *)operands[1] + channel;
    const int64_t *bias = (const int64_t *)operands[2] + channel;
    const int32_t mean = s->mean[0], factor = s->factor[0];
    const int64_t addend = s->addend[0], shift = s->shift[0];
    const output_stage out = STAGE(p);
    const void *x = element(operands[0], first, in_bytes);
    void *y = element(operands[3], first, out_bytes);
    EACH_ELEMENT (i, length) {
        const int64_t r = normalized((int32_t)load(x, i, in_bytes), mean, factor, addend, shift,
                                     multiplier[i * step], bias[i * step], out_shift);
        store(y, i, out_bytes, clamp(r + out.zero_point, out.lo, out.hi));
    }
}

EACH_WIDTH void normalize_lanes(const normalize_parameters *p, void *const *operands,
                                int64_t first, int64_t count, const shares *s, int64_t in_bytes,
                                int64_t out_bytes, int64_t step)
{
    const int64_t last = p->rank - 1, rows = p->extents[last], pitch = p->strides[last];
    const int64_t out_shift = p->shift, channels = p->channels, inner = p->inner;
    const output_stage out = STAGE(p);
    for (int64_t row = 0; row < rows; ++row) {
        const int64_t at = first + row * pitch, channel = at / inner % channels;
        const int32_t *multiplier = (const int32_t *)operands[1] + channel;
        const int64_t *bias = (const int64_t *)operands[2] + channel;
        const void *x = element(operands[0], at, in_bytes);
        void *y = element(operands[3], at, out_bytes);
        EACH_ELEMENT (i, count) {
            const int64_t r =
                normalized((int32_t)load(x, i, in_bytes), s->mean[i], s->factor[i], s->addend[i],
                           s->shift[i], multiplier[i * step], bias[i * step], out_shift);
            store(y, i, out_bytes, clamp(r + out.zero_point, out.lo, out.hi));
        }
    }
}

EACH_WIDTH void normalize_as(const normalize_parameters *p, void *const *operands, int64_t first,
                             int64_t count, const shares *s, int64_t in_bytes, int64_t out_bytes)
{
    const int is_line = p->strides[p->rank - 1] == 1;
    if (is_line && !p->step)
        normalize_line(p, operands, first, s, in_bytes, out_bytes, 0);
    else if (is_line)
        normalize_line(p, operands, first, s, in_bytes, out_bytes, 1);
    else if (!p->step)
        normalize_lanes(p, operands, first, count, s, in_bytes, out_bytes, 0);
    else
        normalize_lanes(p, operands, first, count, s, in_bytes, out_bytes, 1);
}

/* Operands: x, multiplier, bias, y. Where neighbours have channels of their own, these are
 * repeated so that no line of neighbours, nor of groups, goes beyond the last. */
KERNEL(LOOP(normalize))
{
    const normalize_parameters *p = parameters;
    const int64_t last = p->kept - 1;
    const int64_t zero = p->measure == VARIANCE ? 0 : p->input_zero_point;
    const group_walk w = WALK(p, operands[0], zero);
    for (int64_t unit = begin, count; unit < end; unit += count) {
        const int64_t start = row_start(unit, p->kept, p->extents, p->strides);
        moments m;
        shares s;
        count = side_by_side(unit, end, p->extents[last], p->strides[last]);
        sum_groups(&w, start, count, p->measure == MAGNITUDES, &m);
        for (int64_t i = 0; i < count; ++i)
            share(p, &m, i, &s);
        for (int64_t line = 0; line < w.lines; ++line) {
            const int64_t first = start + row_start(line, w.axes, w.extents, w.strides);
            if (p->in_bytes == 1 && p->out_bytes == 1)
                normalize_as(p, operands, first, count, &s, 1, 1);
            else if (p->in_bytes == 2 && p->out_bytes == 2)
                normalize_as(p, operands, first, count, &s, 2, 2);
            else
                normalize_as(p, operands, first, count, &s, p->in_bytes, p->out_bytes);
        }
    }
    return DONE;
}

/* Operands: x, y: the root of each group's squares, requantized. */
KERNEL(LOOP(reduce_l2))
{
    const reduce_l2_parameters *p = parameters;
    const int64_t last = p->kept - 1;
    const output_stage out = STAGE(p);
    const group_walk w = WALK(p, operands[0], p->input_zero_point);
    for (int64_t unit = begin, count; unit < end; unit += count) {
        moments m;
        count = side_by_side(unit, end, p->extents[last], p->strides[last]);
        sum_groups(&w, row_start(unit, p->kept, p->extents, p->strides), count, 0, &m);
        for (int64_t i = 0; i < count; ++i) {
            const int64_t root = square_root(m.squares[i], (int)p->fraction);
            store(operands[1], unit + i, p->out_bytes,
                  requantize(root, p->multiplier, (int)p->shift, out));
        }
    }
    return DONE;
}
