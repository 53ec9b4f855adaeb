/* Convolutions, dense layers and sums of int16 with AVX2: 16 products an instruction. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include "layer_s16.h"

#define USUAL_STAGE short_stage
#define USUAL_FORM SHORT_FORM
#define LANES 8
#define REGISTERS 16
#define CONV(name) name##_s16_avx2

#include "pairs_s16.h"

#include "pairs_avx2.h"

#include "conv_tiles.h"

#include "conv_blocks.h"
#include "conv_rows.h"
#include "depthwise_lines.h"
#include "words_s16.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
