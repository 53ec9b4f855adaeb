/* Chains of sums, products, rescales and tables over rows of int16, as one kernel: what one link
 * gives the next stays in a block of the stack and takes no step of the program.
 *
 * An instruction set includes this file after its stage_*.h, and after it has defined
 *
 *     CHAIN                       the kernel's name
 *     WORDS                       of int16 in a vector
 *     take_words(x), put_words(y, x)      a vector of them from memory, and to it
 *     take_first_words(x, count)          the first of them, fewer than WORDS; the others are 0
 *     put_first_words(y, x, count), put_bytes(y, x, count)    so many at most WORDS, as int16 and
 *                                 as int8, which they fit
 *     splat_words(x)              one in every word
 *     add_words, subtract_words, and_words, multiply_low, multiply_high     word by word
 *     halve_words(x, bits)        shifted right by so many bits
 *     clamp_words(x, lo, hi)
 *     word_sums                   WORDS in 32 bits: low and high, in the order of interleaving
 *     interleave_low, interleave_high     of neighbouring 128 bits, as the instructions do it
 *     pack_words(low, high)       their inverse from 32 bits, saturating
 *     multiply_pairs(a, b)        sums of two products of words, in 32 bits
 *     shift_right(x, by)          of 32 bits, by a vector
 *     take_pairs(knots, at, count)        32 bits of knots from each of the first `count` of `at`
 *                                 on, a word_sums
 *
 * Operands: the links, then in any order what they take and tables of 513 knots; what they give
 * comes last. A unit is CHAIN_BLOCK elements.
 */

/* Once at least. */
#define EACH_VECTOR(i, count) for (int64_t i = 0, more = 1; more; i += WORDS, more = i < (count))

enum link_function { ADD_LINK, SUBTRACT_LINK, MULTIPLY_LINK, RESCALE_LINK, INTERPOLATE_LINK };

/* Where a link takes a row, or gives one: an operand and the element from which on, or, below 0,
 * -1 - the index of a row on the stack. */
typedef struct {
    int32_t at, start;
} link_place;

/* An operand's requantization, as vectors take it from 32 bits: ((hi32(x 2^16 M) + rounding) >>
 * shift, where
 *
 *     hi32(x 2^16 M) = x (M >> 16) + (x (M mod 2^16) >> 16)
 *
 * An instruction takes M mod 2^16 as signed, which is 2^16 less where its top bit is set. */
typedef struct {
    int32_t high; /* M >> 16, and 1 */
    int32_t low;  /* M mod 2^16, twice */
    int32_t top;  /* that bit in all */
    int32_t rounding, shift;
} operand_numbers;

typedef struct {
    int32_t function;
    link_place a, b; /* b is the operand of a table's knots */
    int32_t y;       /* a row on the stack */
    link_place out;  /* an operand which gets that, too; -1 where none does */
    int32_t out_bytes;
    int32_t lo, hi; /* the clamp, twice */
    operand_numbers of_a, of_b;
    int32_t multiplier, rounding, shift; /* of the result */
} chain_link;

/* What a row has of WORDS from `from` on. */
typedef struct {
    const int16_t *from;
    int64_t count;
} word_row;

static inline vector row_words(word_row row, int64_t i)
{
    return row.count - i >= WORDS ? take_words(row.from + i)
                                  : take_first_words(row.from + i, row.count - i);
}

typedef struct {
    vector high, low, top, rounding, shift;
} operand_stage;

static inline operand_stage operand_stage_of(const operand_numbers *s)
{
    return (operand_stage){splat(s->high), splat(s->low), splat(s->top), splat(s->rounding),
                           splat(s->shift)};
}

static inline word_sums requantized_words(vector x, const operand_stage *s)
{
    const vector rest = add_words(multiply_high(x, s->low), and_words(x, s->top));
    const vector low = multiply_pairs(interleave_low(x, rest), s->high);
    const vector high = multiply_pairs(interleave_high(x, rest), s->high);
    return (word_sums){shift_right(add_vectors(low, s->rounding), s->shift),
                       shift_right(add_vectors(high, s->rounding), s->shift)};
}

typedef struct {
    vector multiplier, rounding, shift, lo, hi;
} result_stage;

static inline result_stage result_stage_of(const chain_link *k)
{
    return (result_stage){splat(k->multiplier), splat(k->rounding), splat(k->shift), splat(k->lo),
                          splat(k->hi)};
}

static inline vector ended(const result_stage *s, word_sums x)
{
    const vector low = short_stage(x.low, s->multiplier, s->rounding, s->shift);
    const vector high = short_stage(x.high, s->multiplier, s->rounding, s->shift);
    return clamp_words(pack_words(low, high), s->lo, s->hi);
}

static inline __attribute__((always_inline)) void
add_rows(const chain_link *k, word_row a, word_row b, int16_t *y, int64_t count, int subtract)
{
    const operand_stage of_a = operand_stage_of(&k->of_a), of_b = operand_stage_of(&k->of_b);
    const result_stage of_y = result_stage_of(k);
    EACH_VECTOR (i, count) {
        const word_sums qa = requantized_words(row_words(a, i), &of_a);
        const word_sums qb = requantized_words(row_words(b, i), &of_b);
        const word_sums sum =
            subtract
                ? (word_sums){subtract_vectors(qa.low, qb.low), subtract_vectors(qa.high, qb.high)}
                : (word_sums){add_vectors(qa.low, qb.low), add_vectors(qa.high, qb.high)};
        put_words(y + i, ended(&of_y, sum));
    }
}

static inline void multiply_rows(const chain_link *k, word_row a, word_row b, int16_t *y,
                                 int64_t count)
{
    const result_stage of_y = result_stage_of(k);
    EACH_VECTOR (i, count) {
        const vector qa = row_words(a, i), qb = row_words(b, i);
        const vector low = multiply_low(qa, qb), high = multiply_high(qa, qb);
        const word_sums product = {interleave_low(low, high), interleave_high(low, high)};
        put_words(y + i, ended(&of_y, product));
    }
}

static inline void rescale_row(const chain_link *k, word_row a, int16_t *y, int64_t count)
{
    const operand_stage of_a = operand_stage_of(&k->of_a);
    const vector lo = splat(k->lo), hi = splat(k->hi);
    EACH_VECTOR (i, count) {
        const word_sums q = requantized_words(row_words(a, i), &of_a);
        put_words(y + i, clamp_words(pack_words(q.low, q.high), lo, hi));
    }
}

/* Both knots of an x come as 32 bits, and a pair's product with 128 - r and r is
 *
 *     128 low + (high - low) r
 *
 * the 7 bits of whose end are those of (high - low) r: rounding all of it is rounding that. */
static inline void interpolate_row(const int16_t *knots, word_row a, int16_t *y, int64_t count)
{
    const vector middle = splat_words(256), step = splat_words(128);
    const vector fraction = splat_words(127), half = splat(64), bits = splat(7);
    EACH_VECTOR (i, count) {
        const vector x = row_words(a, i);
        const vector at = add_words(halve_words(x, 7), middle);
        const vector r = and_words(x, fraction), rest = subtract_words(step, r);
        const word_sums pairs = take_pairs(knots, at, count - i);
        const vector low = multiply_pairs(pairs.low, interleave_low(rest, r));
        const vector high = multiply_pairs(pairs.high, interleave_high(rest, r));
        put_words(y + i, pack_words(shift_right(add_vectors(low, half), bits),
                                    shift_right(add_vectors(high, half), bits)));
    }
}

static inline void give_row(const int16_t *from, char *to, int64_t count, int64_t bytes)
{
    EACH_VECTOR (i, count) {
        const vector x = take_words(from + i);
        if (bytes == 1)
            put_bytes(to + i, x, least(count - i, WORDS));
        else if (count - i >= WORDS)
            put_words((int16_t *)to + i, x);
        else
            put_first_words((int16_t *)to + i, x, count - i);
    }
}

/* The row of a block that is `count` elements from `first` on; one of the stack is whole vectors.
 */
static inline word_row taken_row(link_place from, void *const *operands,
                                 int16_t (*rows)[CHAIN_BLOCK], int64_t first, int64_t count)
{
    if (from.at < 0)
        return (word_row){rows[-1 - from.at], CHAIN_BLOCK};
    return (word_row){(const int16_t *)operands[from.at] + from.start + first, count};
}

KERNEL(CHAIN)
{
    const chain_s16_parameters *p = parameters;
    const chain_link *first_link = operands[0], *behind = first_link + p->links;
    const int64_t length = p->length;
    int16_t rows[CHAIN_ROWS][CHAIN_BLOCK];
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t first = unit * CHAIN_BLOCK, count = least(length - first, CHAIN_BLOCK);
        for (const chain_link *k = first_link; k < behind; ++k) {
            const word_row a = taken_row(k->a, operands, rows, first, count);
            int16_t *y = rows[k->y];
            switch (k->function) {
            case ADD_LINK:
                add_rows(k, a, taken_row(k->b, operands, rows, first, count), y, count, 0);
                break;
            case SUBTRACT_LINK:
                add_rows(k, a, taken_row(k->b, operands, rows, first, count), y, count, 1);
                break;
            case MULTIPLY_LINK:
                multiply_rows(k, a, taken_row(k->b, operands, rows, first, count), y, count);
                break;
            case RESCALE_LINK:
                rescale_row(k, a, y, count);
                break;
            default:
                interpolate_row(operands[k->b.at], a, y, count);
            }
            if (k->out.at >= 0)
                give_row(y, (char *)operands[k->out.at] + (k->out.start + first) * k->out_bytes,
                         count, k->out_bytes);
        }
    }
    return DONE;
}
