/* Tables of 256 bytes with AVX2, whose look-up of bytes knows 16 entries. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#define SLICES 16 /* of 16 entries */
#define VECTORS 2 /* that share the load of a slice */

/* A look-up gives 0 for negative indices, and the entry of an index modulo 16 for others. In each
 * half of the table an index starts at the first slice and loses 16 a slice, saturating, so that
 * it finds an entry in each slice up to its own. These slices hold what differs from the slice
 * before, and their exclusive or is the entry. */
static void differences(const int8_t *table, int8_t *slices)
{
    for (int i = 0; i < 256; ++i)
        slices[i] = (int8_t)(i % 128 < 16 ? table[i] : table[i] ^ table[i - 16]);
}

static inline void look_up(const int8_t *slices, const int8_t *x, int8_t *y)
{
    const __m256i sixteen = _mm256_set1_epi8(16), sign = _mm256_set1_epi8(-128);
    __m256i low[VECTORS], high[VECTORS], found[VECTORS];
    for (int v = 0; v < VECTORS; ++v) {
        high[v] = _mm256_loadu_si256((const __m256i *)x + v);
        low[v] = _mm256_xor_si256(high[v], sign);
        found[v] = _mm256_setzero_si256();
    }
    for (int s = 0; s < SLICES / 2; ++s) {
        const __m128i *slice = (const __m128i *)slices + s;
        const __m256i lower = _mm256_broadcastsi128_si256(_mm_loadu_si128(slice));
        const __m256i upper = _mm256_broadcastsi128_si256(_mm_loadu_si128(slice + SLICES / 2));
        for (int v = 0; v < VECTORS; ++v) {
            found[v] = _mm256_xor_si256(found[v], _mm256_shuffle_epi8(lower, low[v]));
            found[v] = _mm256_xor_si256(found[v], _mm256_shuffle_epi8(upper, high[v]));
            low[v] = _mm256_subs_epi8(low[v], sixteen);
            high[v] = _mm256_subs_epi8(high[v], sixteen);
        }
    }
    for (int v = 0; v < VECTORS; ++v)
        _mm256_storeu_si256((__m256i *)y + v, found[v]);
}

/* Operands: x, table, y, all int8. A unit is an element. */
KERNEL(lookup_s8_avx2)
{
    const int8_t *x = operands[0], *table = operands[1];
    int8_t *y = operands[2], slices[256];
    int64_t i = begin;
    if (end - i >= 32 * VECTORS) {
        differences(table, slices);
        for (; i + 32 * VECTORS <= end; i += 32 * VECTORS)
            look_up(slices, x + i, y + i);
    }
    for (; i < end; ++i)
        y[i] = table[x[i] + 128];
    return DONE;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
