/* Layers of one pixel, as the steps of a recurrent layer have, where an instruction sums products
 * of unsigned with signed bytes in pairs, saturating (vpmaddubsw): weights stay bytes, half of
 * what conv_rows.h reads, and nothing is copied.
 *
 * The magnitudes of x are the unsigned ones. Where x is negative, they meet ~w = -w - 1:
 *
 *     x w = |x| ~w + |x|
 *
 * so that two products are 2^15 at most, and all that a channel's sum lacks are those magnitudes.
 * Where pairs of pairs are summed (vpmaddwd), they are shifted to the left, if the short form of
 * stages asks for it. An instruction set includes this file after conv_tiles.h.
 *
 * Operands: x, weights, stages, y. Weights lie as [block][step][vector of the block][LANES][4]. A
 * unit is a slice of the channels.
 */

#define BLOCK_VECTORS 4

/* Four elements of x with those of each channel. */
EACH_TILE void sum_quad(int32_t quad, const int8_t *w, vector factor, vector *acc, int vectors)
{
    const vector taps = _mm256_set1_epi32(quad), magnitudes = _mm256_abs_epi8(taps);
    const vector negative = _mm256_cmpgt_epi8(zero_vector(), taps);
    EACH (v, vectors) {
        const vector own = _mm256_xor_si256(load_factors(w + 4 * LANES * v), negative);
        const vector pairs = _mm256_maddubs_epi16(magnitudes, own);
        acc[v] = add_vectors(acc[v], _mm256_madd_epi16(pairs, factor));
    }
}

/* The channels of a block that has `vectors`. */
EACH_TILE void sum_block(const int8_t *x, int64_t depth, vector lacking, vector factor,
                         const int8_t *w, const int32_t *stages, vector *sums, int vectors)
{
    vector acc[BLOCK_VECTORS];
    EACH (v, vectors)
        acc[v] = add_vectors(stage_vector(stage_at(stages, v), STAGE_BIAS), lacking);
    int32_t quad = 0;
    for (; depth >= 4; depth -= 4, x += 4, w += 4 * LANES * vectors) {
        memcpy(&quad, x, sizeof quad);
        sum_quad(quad, w, factor, acc, vectors);
    }
    if (depth > 0) {
        quad = (uint8_t)x[0];
        for (int64_t k = 1; k < depth; ++k)
            quad |= (uint8_t)x[k] << 8 * k;
        sum_quad(quad, w, factor, acc, vectors);
    }
    EACH (v, vectors)
        sums[v] = acc[v];
}

static inline int64_t negative_magnitudes(const int8_t *x, int64_t count)
{
    int64_t sum = 0, i = 0;
    __m128i sums = _mm_setzero_si128();
    for (; i + 16 <= count; i += 16) {
        const __m128i taps = _mm_loadu_si128((const __m128i *)(x + i));
        const __m128i negative = _mm_cmpgt_epi8(_mm_setzero_si128(), taps);
        const __m128i magnitudes = _mm_and_si128(_mm_abs_epi8(taps), negative);
        sums = _mm_add_epi64(sums, _mm_sad_epu8(magnitudes, _mm_setzero_si128()));
    }
    for (; i < count; ++i)
        sum += x[i] < 0 ? -x[i] : 0;
    return sum + _mm_cvtsi128_si64(sums) + _mm_extract_epi64(sums, 1);
}

/* Sums into integers by stages of one form, which are stored two vectors at a time. */
EACH_TILE void end_in_form(const conv_tile *t, vector *sums, int64_t vectors,
                           const int32_t *stages, char *y, int form)
{
    int64_t left = t->channels;
    for (int64_t v = 0; v < vectors; v += 2, left -= 2 * LANES, y += 2 * LANES * t->out_bytes) {
        for (int64_t i = v; i < least(v + 2, vectors); ++i) {
            const int32_t *own = stage_at(stages, (int)i);
            const vector multiplier = stage_vector(own, STAGE_MULTIPLIER);
            const vector rounding = stage_vector(own, STAGE_ROUNDING);
            const vector shift = stage_vector(own, STAGE_SHIFT);
            sums[i] = form == SHORT_FORM   ? short_stage(sums[i], multiplier, rounding, shift)
                      : form == FLOAT_FORM ? float_stage(sums[i], multiplier, rounding, shift)
                                           : long_stage(sums[i], own, &t->out);
        }
        store_pixel(t, sums + v, v + 1 < vectors ? 2 : 1, least(left, 2 * LANES), y);
    }
}

static void end_block(const conv_tile *t, vector *sums, int64_t vectors, const int32_t *stages,
                      char *y)
{
    if (t->form == SHORT_FORM)
        end_in_form(t, sums, vectors, stages, y, SHORT_FORM);
    else if (t->form == FLOAT_FORM)
        end_in_form(t, sums, vectors, stages, y, FLOAT_FORM);
    else
        end_in_form(t, sums, vectors, stages, y, LONG_FORM);
}

KERNEL(CONV(conv_pixel))
{
    const conv_pixel_parameters *p = parameters;
    const int64_t first = begin * p->slice / LANES;
    const int64_t outputs = least(p->outputs, end * p->slice) - first * LANES;
    const int64_t all = (outputs + LANES - 1) / LANES;
    const int64_t blocks = (all + BLOCK_VECTORS - 1) / BLOCK_VECTORS;
    conv_tile t = {.out_bytes = p->out_bytes, .form = p->form, .out = STAGE(p)};
    const vector lacking = splat(negative_magnitudes(operands[0], p->depth) << p->lead);
    const vector factor = _mm256_set1_epi16((short)(1 << p->lead));
    const unsigned mode = t.form == FLOAT_FORM ? round_down() : 0;
    for (int64_t i = 0; i < blocks; ++i) {
        const int64_t at = BLOCK_VECTORS * (p->backwards ? blocks - 1 - i : i);
        const int64_t vectors = least(all - at, BLOCK_VECTORS), vector_at = first + at;
        const int8_t *w = (const int8_t *)operands[1] + vector_at * p->steps * 4 * LANES;
        const int32_t *stages = (const int32_t *)operands[2] + vector_at * STAGE_VECTORS * LANES;
        vector sums[BLOCK_VECTORS];
        switch (vectors) {
        case 1:
            sum_block(operands[0], p->depth, lacking, factor, w, stages, sums, 1);
            break;
        case 2:
            sum_block(operands[0], p->depth, lacking, factor, w, stages, sums, 2);
            break;
        case 3:
            sum_block(operands[0], p->depth, lacking, factor, w, stages, sums, 3);
            break;
        default:
            sum_block(operands[0], p->depth, lacking, factor, w, stages, sums, BLOCK_VECTORS);
        }
        t.channels = least(outputs - at * LANES, vectors * LANES);
        end_block(&t, sums, vectors, stages,
                  (char *)operands[3] + vector_at * LANES * p->out_bytes);
    }
    if (t.form == FLOAT_FORM)
        round_as_before(mode);
    return DONE;
}
