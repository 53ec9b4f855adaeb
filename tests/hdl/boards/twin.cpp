// Clocks two designs with the same random inputs and counts the cycles in which they differ.

#include <cstdint>
#include <cstring>

#include MODEL_HEADER

#pragma GCC visibility push(default)
extern "C" uint64_t twin_run(uint64_t cycles, uint64_t seed) {
    MODEL top;
    uint64_t differing = 0;
    for (uint64_t cycle = 0; cycle < cycles; cycle++) {
        auto *bytes = reinterpret_cast<uint8_t *>(&top.stimulus);
        for (size_t i = 0; i < sizeof top.stimulus; i++) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            bytes[i] = static_cast<uint8_t>(seed >> 56);
            // the least and the greatest numbers more often than chance has them
            if (seed >> 33 & 1 && seed >> 34 & 1) bytes[i] = seed >> 35 & 1 ? 0x80 : 0x7F;
        }
        top.rst = cycle < 2;
        top.sample = 0;
        top.clk = 0;
        top.eval();
        top.sample = 1;
        top.eval();
        if (cycle > 4) differing += top.differs;
        top.clk = 1;
        top.eval();
    }
    return differing;
}
#pragma GCC visibility pop
