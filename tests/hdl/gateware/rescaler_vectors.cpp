// Steps of the Rescaler, compiled by CXXRTL, against the runtime's own requantize(): every corner,
// then random ones. Prints the first difference, or how many steps were equal.

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "model.h"
#include "requantize.h"

namespace {

constexpr int kLatency = LATENCY, kWidth = WIDTH, kAccumulator = ACCUMULATOR_BITS;

struct Step {
    int64_t operand, multiplier;
    int shift, twice;
    int64_t zero_point, lo, hi;
};

cxxrtl_design::p_rescaler model;
Step expected[kLatency];
uint64_t taken = 0;

// Fields follow each other from the lowest bit on.
void drive(const Step &step) {
    unsigned __int128 bits = 0;
    int at = 0;
    const auto put = [&](int64_t value, int width) {
        bits |= (unsigned __int128)((uint64_t)value & (~UINT64_C(0) >> (64 - width))) << at;
        at += width;
    };
    put(step.operand, kAccumulator);
    put(step.multiplier, 32);
    put(step.shift, 6);
    put(step.twice, 1);
    put(step.zero_point, 16);
    put(step.lo, kWidth);
    put(step.hi, kWidth);
    for (size_t chunk = 0; chunk < model.p_i.chunks; ++chunk)
        model.p_i.data[chunk] = (uint32_t)(bits >> (32 * chunk));
}

void check(const Step &step) {
    const int64_t want = requantize(step.operand, step.multiplier, step.shift,
                                    {step.zero_point, step.lo, step.hi, step.twice});
    const uint64_t raw = (uint64_t)model.p_o.get<uint64_t>() << (64 - kWidth);
    const int64_t got = (int64_t)raw >> (64 - kWidth);
    if (got == want) return;
    std::printf("operand %" PRId64 " multiplier %" PRId64 " shift %d twice %d zero point %" PRId64
                " bounds %" PRId64 " %" PRId64 ": %" PRId64 ", not %" PRId64 "\n",
                step.operand, step.multiplier, step.shift, step.twice, step.zero_point, step.lo,
                step.hi, got, want);
    std::exit(1);
}

void take(const Step &step) {
    Step &slot = expected[taken % kLatency];
    if (taken >= kLatency) check(slot);
    slot = step;
    ++taken;
    drive(step);
    model.p_clk.set<bool>(true);
    model.step();
    // what follows from registers is seen in the step after theirs
    model.p_clk.set<bool>(false);
    model.step();
}

uint64_t random_bits(int bits) {
    static uint64_t state = UINT64_C(0x9E3779B97F4A7C15);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return bits ? state >> (64 - bits) : 0;
}

// Of any length: small numbers come as often as large ones.
int64_t random_signed(int bits) {
    const int64_t magnitude = (int64_t)random_bits((int)(random_bits(16) % bits));
    return random_bits(1) ? magnitude : -magnitude - 1;
}

bool legal(const Step &step) {
    const __int128 product = (__int128)step.operand * step.multiplier;
    const __int128 limit = (__int128)1 << 62;
    return product < limit && product >= -limit;
}

}  // namespace

int main(int, char **arguments) {
    const int64_t top = ((int64_t)1 << (kWidth - 1)) - 1, bottom = -top - 1;
    const int64_t most = ((int64_t)1 << (kAccumulator - 1)) - 1;
    for (int64_t operand : {-most - 1, -most, -(int64_t)65537, -(int64_t)32769, -(int64_t)129,
                            (int64_t)-128, (int64_t)-2, (int64_t)-1, (int64_t)0, (int64_t)1,
                            (int64_t)127, (int64_t)128, (int64_t)32768, (int64_t)65536, most})
        for (int64_t multiplier : {INT64_C(0), INT64_C(1), INT64_C(0x3FFFFFFF), INT64_C(0x40000000),
                                   INT64_C(0x40000001), INT64_C(0x7FFFFFFF)})
            for (int shift = 1; shift < 63; ++shift)
                for (int twice : {0, 1})
                    for (int64_t zero_point : {bottom, (int64_t)-1, (int64_t)0, top})
                        for (int64_t lo : {bottom, zero_point, top})
                            for (int64_t hi : {bottom, zero_point, top}) {
                                const Step step{operand,    multiplier, shift, twice,
                                                zero_point, lo,         hi};
                                if (lo <= hi && legal(step)) take(step);
                            }
    for (uint64_t left = std::strtoull(arguments[1], nullptr, 10); left;) {
        Step step{
            random_signed(kAccumulator), (int64_t)random_bits(31), 1 + (int)(random_bits(16) % 62),
            (int)random_bits(1),         random_signed(kWidth),    random_signed(kWidth),
            random_signed(kWidth)};
        if (random_bits(1)) {
            step.lo = bottom;
            step.hi = top;
        }
        if (step.lo > step.hi || !legal(step)) continue;
        take(step);
        --left;
    }
    for (int i = 0; i < kLatency; ++i) take(expected[taken % kLatency]);
    std::printf("%" PRIu64 " steps\n", taken - kLatency);
    return 0;
}
