/* Measures the peak of an instruction set: its multiply-accumulate over and over, on registers. */

/* for clock_gettime, which C itself does not have */
#define _POSIX_C_SOURCE 200809L

#include <string.h>

#include "kernels.h"
#include "peak.h"
#include "system.h"

/* A round is as many independent sums as hide an instruction's latency: that of vpdpbusd is five
 * cycles, and two begin in each. What the registers hold is no matter to integers. Assembly, as
 * compilers move such sums through memory.
 */
enum { ROUNDS = 100000 };

#define EIGHT(SUM) SUM(0) SUM(1) SUM(2) SUM(3) SUM(4) SUM(5) SUM(6) SUM(7)
#define TWELVE(SUM) EIGHT(SUM) SUM(8) SUM(9) SUM(10) SUM(11)

#ifdef HAS_X86_KERNELS
#define CLOBBERED                                                                                 \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",      \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

static int64_t sums_avx512vnni(void)
{
#define SUM_ZMM(i) "vpdpbusd %%zmm14, %%zmm15, %%zmm" #i "\n\t"
    for (int64_t n = 0; n < ROUNDS; ++n)
        __asm__ volatile(TWELVE(SUM_ZMM)::: CLOBBERED);
    __asm__ volatile("vzeroupper" ::: CLOBBERED);
    return (int64_t)ROUNDS * 12 * 64;
}

static int64_t sums_avxvnni(void)
{
#define SUM_VEX(i) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #i "\n\t"
    for (int64_t n = 0; n < ROUNDS; ++n)
        __asm__ volatile(TWELVE(SUM_VEX)::: CLOBBERED);
    __asm__ volatile("vzeroupper" ::: CLOBBERED);
    return (int64_t)ROUNDS * 12 * 32;
}

static int64_t sums_avx2(void)
{
    enum { SUMS = 6 };
#define SUM_YMM(i, product)                                                                       \
    "vpmaddwd %%ymm14, %%ymm15, %%ymm" #product "\n\tvpaddd %%ymm" #product ", %%ymm" #i          \
    ", %%ymm" #i "\n\t"
    for (int64_t n = 0; n < ROUNDS; ++n)
        __asm__ volatile(SUM_YMM(0, 8) SUM_YMM(1, 9) SUM_YMM(2, 10) SUM_YMM(3, 11) SUM_YMM(4, 12)
                             SUM_YMM(5, 13)::
                                 : CLOBBERED);
    __asm__ volatile("vzeroupper" ::: CLOBBERED);
    return (int64_t)ROUNDS * SUMS * 16;
}
#endif

#ifdef HAS_AMX_KERNELS
#include <immintrin.h>

#define ON_AMX __attribute__((target("amx-tile,amx-int8")))

ON_AMX static int64_t sums_amx(void)
{
    enum { TILES = 4, PRODUCTS = 16 * 16 * 64 };
    /* TILECFG: palette 1; every register has rows of 64 bytes, and 16 of them. Static, as GCC
     * takes the instruction to read eight bytes, and leaves out what a variable's others would be.
     */
    static const uint8_t shapes[64] = {
        1,         [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64,
        [26] = 64, [28] = 64, [30] = 64, [48] = 16, [49] = 16, [50] = 16,
        [51] = 16, [52] = 16, [53] = 16, [54] = 16, [55] = 16,
    };
    _tile_loadconfig(shapes);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int64_t n = 0; n < ROUNDS / 16; ++n) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_release();
    return (int64_t)(ROUNDS / 16) * TILES * PRODUCTS;
}
#endif

#ifdef HAS_NEON_KERNELS
#define CLOBBERED                                                                                 \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v30", "v31"

static int64_t sums_neondot(void)
{
#define SUM_DOT(i) "sdot v" #i ".4s, v30.16b, v31.16b\n\t"
    for (int64_t n = 0; n < ROUNDS; ++n)
        __asm__ volatile(".arch armv8.2-a+dotprod\n\t" TWELVE(SUM_DOT)::: CLOBBERED);
    return (int64_t)ROUNDS * 12 * 16;
}

static int64_t sums_neon(void)
{
#define SUM_LONG(i) "smlal v" #i ".4s, v30.4h, v31.4h\n\t"
    for (int64_t n = 0; n < ROUNDS; ++n)
        __asm__ volatile(TWELVE(SUM_LONG)::: CLOBBERED);
    return (int64_t)ROUNDS * 12 * 4;
}
#endif

typedef struct {
    const char *isa;
    int64_t (*sums)(void); /* gives how many products it summed */
} measurement;

static const measurement measurements[] = {
#ifdef HAS_AMX_KERNELS
    {"amx", sums_amx},
#endif
#ifdef HAS_X86_KERNELS
    {"avx512vbmi", sums_avx512vnni},
    {"avx512vnni", sums_avx512vnni},
    {"avxvnni", sums_avxvnni},
    {"avx2", sums_avx2},
#endif
#ifdef HAS_NEON_KERNELS
    {"neondot", sums_neondot},
    {"neon", sums_neon},
#endif
    {NULL, NULL},
};

double peak_rate(const char *isa)
{
    enum { TRIES = 40 };
    const measurement *m = measurements;
    while (m->isa != NULL && strcmp(m->isa, isa) != 0)
        ++m;
    double best = 0;
    for (int i = 0; m->isa != NULL && i < TRIES; ++i) {
        const int64_t start = nanoseconds_now();
        const double products = (double)m->sums();
        const int64_t taken = nanoseconds_now() - start;
        /* the fastest: whatever else the core did meanwhile is not its peak */
        if (taken > 0 && products * 1e9 / (double)taken > best)
            best = products * 1e9 / (double)taken;
    }
    return best;
}
