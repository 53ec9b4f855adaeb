/* Tables of 256 bytes with AVX-512 VBMI: the whole table stands in four registers. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi"))),     \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vbmi")
#endif

/* An index is taken modulo 128, so x itself is one into the half that its sign tells. */
static inline __m512i entries(const __m512i *table, __m512i x)
{
    const __m512i negative = _mm512_permutex2var_epi8(table[0], x, table[1]);
    const __m512i positive = _mm512_permutex2var_epi8(table[2], x, table[3]);
    return _mm512_mask_mov_epi8(positive, _mm512_movepi8_mask(x), negative);
}

/* Operands: x, table, y, all int8. A unit is an element. */
KERNEL(lookup_s8_avx512vbmi)
{
    const int8_t *x = operands[0];
    int8_t *y = operands[2];
    __m512i table[4];
    for (int part = 0; part < 4; ++part)
        table[part] = _mm512_loadu_si512(element(operands[1], 64 * part, 1));
    int64_t i = begin;
    for (; i + 64 <= end; i += 64)
        _mm512_storeu_si512(y + i, entries(table, _mm512_loadu_si512(x + i)));
    const __mmask64 rest = (UINT64_C(1) << (end - i)) - 1;
    _mm512_mask_storeu_epi8(y + i, rest, entries(table, _mm512_maskz_loadu_epi8(rest, x + i)));
    return DONE;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
