/* The floats of a caller into integers, and back. */

/* The nearest integer to a float below 2^22 in magnitude, halves to even: at 1.5 * 2^23 a float
 * has no fraction bits left, and every instruction set vectorizes an addition. */
static inline float round_half_even(float x)
{
    const float magic = 12582912.0f;
    return (x + magic) - magic;
}

/* A quotient by the scale, or what proofs/quotients.py finds to round to the same integers. What
 * is far beyond them all becomes less far, so that no infinity meets another. */
EACH_WIDTH float quotient(const edge *e, float x, int by_inverse)
{
#if HAS_FUSED_SUMS
    if (!by_inverse)
        return x / e->scale;
    const float far = e->scale * 0x1p20f;
    const float low = x > -far ? x : -far;
    const float near = low < far ? low : far;
    return fmaf(near, e->inverse[0], near * e->inverse[1]);
#else
    return x / e->scale;
#endif
}

/* Integers of floats: divide, round half to even, add the zero point, clamp. The clamp comes
 * first, between integers, which changes no result and keeps the conversion in range. */
EACH_WIDTH int quantize_as(const edge *e, const float *restrict x, void *restrict q, int64_t bytes,
                           int by_inverse)
{
    const int32_t largest = (int32_t)((INT64_C(1) << (8 * bytes - 1)) - 1);
    const float lo = (float)(-largest - 1 - e->zero_point);
    const float hi = (float)(largest - e->zero_point);
    int nan = 0;
    for (int64_t i = 0; i < e->elements; ++i) {
        const float real = quotient(e, x[i], by_inverse);
        const float low = real > lo ? real : lo;
        const float clamped = low < hi ? low : hi;
        nan |= x[i] != x[i];
        store(q, i, bytes, (int32_t)round_half_even(clamped) + e->zero_point);
    }
    return nan ? NOT_A_NUMBER : DONE;
}

EACH_WIDTH void dequantize_as(const edge *e, const void *restrict q, float *restrict x,
                              int64_t bytes)
{
    for (int64_t i = 0; i < e->elements; ++i)
        x[i] = (float)((int32_t)load(q, i, bytes) - e->zero_point) * e->scale;
}

int LOOP(quantize)(const edge *e, const float *x, void *q)
{
    if (e->bytes == 2)
        return quantize_as(e, x, q, 2, 0);
    return e->inverse[0] != 0 ? quantize_as(e, x, q, 1, 1) : quantize_as(e, x, q, 1, 0);
}

void LOOP(dequantize)(const edge *e, const void *q, float *x)
{
    if (e->bytes == 1)
        dequantize_as(e, q, x, 1);
    else
        dequantize_as(e, q, x, 2);
}
