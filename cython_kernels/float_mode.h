/* How floats round and what becomes of the least of them: a thread's, which a caller, or a library
 * built with -ffast-math, may have changed. */

#ifndef EDGEINFER_FLOAT_MODE_H
#define EDGEINFER_FLOAT_MODE_H

#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)

#include <xmmintrin.h>

/* IEEE 754's: to nearest, with subnormal numbers and without traps. */
#define PLAIN_FLOATS 0x1f80

static inline uint64_t read_float_mode(void)
{
    return _mm_getcsr();
}

static inline void write_float_mode(uint64_t mode)
{
    _mm_setcsr((unsigned)mode);
}

#elif defined(__aarch64__)

#define PLAIN_FLOATS 0

static inline uint64_t read_float_mode(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode) : : "memory");
    return mode;
}

static inline void write_float_mode(uint64_t mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory");
}

#else

#define PLAIN_FLOATS 0

static inline uint64_t read_float_mode(void)
{
    return PLAIN_FLOATS;
}

static inline void write_float_mode(uint64_t mode)
{
    (void)mode;
}

#endif

#endif
