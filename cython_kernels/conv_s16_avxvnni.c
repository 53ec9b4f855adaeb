/* Convolutions and dense layers of int16 with AVX-VNNI: 16 products an instruction. */

#include "kernels.h"

#ifdef HAS_X86_KERNELS
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,avxvnni"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avxvnni")
#endif

#include "layer_s16.h"

#define USUAL_STAGE short_stage
#define USUAL_FORM SHORT_FORM
#define LANES 8
#define REGISTERS 16
#define CONV(name) name##_s16_avxvnni
#define ODD_STEPS_BELOW 7
#define ADD_PRODUCTS(acc, x, w) __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(x), "x"(w))

#include "pairs_s16.h"

#include "pairs_avx2.h"

#include "conv_tiles.h"

#include "conv_blocks.h"
#include "conv_rows.h"
#include "depthwise_lines.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
