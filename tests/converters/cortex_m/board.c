/* A board without an operating system, a C library or a start-up file: it calls the check of an
 * exported model and ends qemu with what that gives, through Arm's semihosting. */

#include <stddef.h>
#include <stdint.h>

extern uint32_t stack_top, zero_start, zero_end;
int model_check(void);

/* All that the exported code asks of a library. */
void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    for (size_t i = 0; i < count; ++i)
        ((volatile unsigned char *)to)[i] = ((const unsigned char *)from)[i];
    return to;
}

void *memset(void *to, int value, size_t count) {
    for (size_t i = 0; i < count; ++i) ((volatile unsigned char *)to)[i] = (unsigned char)value;
    return to;
}

void *memmove(void *to, const void *from, size_t count) {
    volatile unsigned char *t = to;
    const unsigned char *f = from;
    if (t < f) return memcpy(to, from, count);
    while (count--) t[count] = f[count];
    return to;
}

static void end(uint32_t status) {
    enum { EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };
    const uint32_t arguments[] = {APPLICATION_EXIT, status};
    register uint32_t operation __asm__("r0") = EXIT_EXTENDED;
    register const uint32_t *given __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(operation) : "r"(given), "m"(arguments) : "memory");
    for (;;) {
    }
}

static void reset(void) {
#ifdef __ARM_FEATURE_MVE
    /* vectors are asked for: full access to coprocessors 10 and 11 (CPACR) */
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    for (uint32_t *word = &zero_start; word < &zero_end; ++word) *word = 0;
    end((uint32_t)model_check());
}

static void fault(void) { end(99); }

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[] = {
    {.stack = &stack_top}, {.handler = reset}, {.handler = fault}, {.handler = fault},
    {.handler = fault},    {.handler = fault}, {.handler = fault},
};
