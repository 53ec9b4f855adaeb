// Drives a simulated NPU: its clock, host memory on AXI4, registers on AXI4-Lite, and what is seen.
//
// Host memory holds the NPU to the rules of AXI4: `broken` is the first that it does not keep.
// Plain C outside, for ctypes. MODEL is the simulator's class for the top module; memory, stalls
// and observations are ours. A simulator's class differs in what a port is and in how the clock
// moves: `bits`, `settle` and `rise` know. Where CXXRTL mangles the names of ports, macros bring
// ours back.

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include MODEL_HEADER
#ifdef TRACE
#include <cerrno>

#include "verilated_vcd_c.h"
#endif

namespace {

constexpr uint32_t kUnits = 5;
constexpr size_t kOutstanding = 4;  // bursts that the memory takes before it has answered the first
constexpr uint64_t kPage = 4096, kIncrement = 1, kLongest = 16;

// xorshift64*: the same stalls for the same seed
struct Random {
    uint64_t state;
    bool one_in(uint32_t permille) {
        if (permille == 0) return false;
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return ((state * 0x2545F4914F6CDD1DULL) >> 33) % 1000 < permille;
    }
};

struct Burst {
    uint64_t address;  // from the memory's first byte
    uint32_t beats;
    uint64_t ready;
};

// Words of the buffer that are copied when ACTIVATE has completed `count` groups.
struct Watch {
    uint32_t count, first, words;
    bool intermediate;
    uint8_t *out;
};

// What a channel showed in a cycle, and whether it was still waiting at its end.
struct Offer {
    bool waits = false;
    uint8_t shown[24] = {};
};

struct Interval {
    uint64_t start, end;
    uint32_t unit, waiting;
};

#ifdef CXXRTL

// Ports are values, or wires where registers drive them, of 32-bit words in host order.
template <size_t Bits>
auto &bits(cxxrtl::value<Bits> &port) {
    return port.data;
}

template <size_t Bits>
auto &bits(cxxrtl::wire<Bits> &port) {
    return port.curr.data;
}

// Outputs follow inputs and registers, the clock being low. All inputs are always looked at.
void settle(MODEL *top, bool) {
    top->clk.template set<uint32_t>(0);
    top->step();
}

// Registers take what they saw. Outputs are old until `settle`, so one pass is enough.
void rise(MODEL *top) {
    top->clk.template set<uint32_t>(1);
    top->eval();
    top->commit();
}

MODEL *make() { return new MODEL; }

void finish(MODEL *top) { delete top; }

#else

// Ports are unsigned integers, or arrays of 32-bit words.
template <typename Port>
Port &bits(Port &port) {
    return port;
}

// The registers that build.py puts before the inputs take them with `sample`: while it rests, half
// of the work of a cycle does as well.
void settle(MODEL *top, bool changed) {
    top->clk = 0;
    top->sample = changed;
    top->eval();
}

void rise(MODEL *top) {
    top->clk = 1;
    top->sample = 0;
    top->eval();
}

// Each in a context of its own: what one that is gone has traced must not reach the next.
MODEL *make() {
    VerilatedContext *context = new VerilatedContext;
    context->traceEverOn(true);
    return new MODEL(context);
}

void finish(MODEL *top) {
    VerilatedContext *context = top->contextp();
    top->final();
    delete top;
    delete context;
}

#endif

#ifdef TRACE

// Waveforms that note what a write failed of; Verilator would end the process.
struct TraceFile : VerilatedVcdFile {
    int error = 0;
    ssize_t write(const char *from, ssize_t bytes) override {
        if (error) return bytes;
        const ssize_t written = VerilatedVcdFile::write(from, bytes);
        if (written >= 0 || errno == EAGAIN || errno == EINTR) return written;
        error = errno;
        return bytes;
    }
};

#endif

// The low bytes of a port.
template <typename Port>
uint64_t low(Port &port) {
    auto &words = bits(port);
    uint64_t value = 0;
    std::memcpy(&value, &words, sizeof words < 8 ? sizeof words : 8);
    return value;
}

template <typename Port>
void get(Port &port, uint8_t *to, size_t bytes) {
    std::memcpy(to, &bits(port), bytes);
}

// Whether the port's low bytes were others before.
template <typename Port>
bool put(Port &port, const uint8_t *from, size_t bytes) {
    auto &words = bits(port);
    if (std::memcmp(&words, from, bytes) == 0) return false;
    std::memcpy(&words, from, bytes);
    return true;
}

}  // namespace

struct Npu {
    MODEL *top;
    uint64_t cycle = 0;
    bool changed = true;  // an input is not what the model has seen

    // host memory
    std::vector<uint8_t> memory;
    uint64_t base;  // the address of its first byte
    uint32_t bus_bytes, latency, permille;
    Random random;
    std::deque<Burst> reads;
    std::deque<Burst> writes;
    uint32_t responses = 0;
    bool beat_offered = false, answer_offered = false;
    uint64_t error_from = ~0ULL;
    int64_t beats_left = -1;  // until the bus stalls for ever; -1: never
    bool failed = false;
    const char *broken = nullptr;  // the first rule that the NPU has not kept
    bool rested = true;            // nothing was on its way when the last run was over
    Offer read_offer, write_offer, data_offer;

    // what is seen
    uint32_t word_bytes;
    std::vector<uint8_t> buffer, intermediate;
    std::vector<Watch> watches;
    std::vector<uint64_t> reached;
    bool recording = false;
    uint32_t state = 0;
    uint64_t since[kUnits] = {};
    std::vector<Interval> intervals;
#ifdef TRACE
    TraceFile trace_file;
    VerilatedVcdC *trace = nullptr;
#endif

    bool inside(uint64_t address, uint64_t bytes) const {
        // an address below the memory has wrapped around
        return address < error_from && address < memory.size() && address + bytes <= memory.size();
    }

    template <typename Port>
    void set(Port &port, uint64_t value) {
        const size_t bytes = sizeof bits(port);
        changed |= put(port, reinterpret_cast<const uint8_t *>(&value), bytes < 8 ? bytes : 8);
    }

    // No transfer is on its way.
    bool idle() const {
        return reads.empty() && writes.empty() && responses == 0 && !low(top->m_axi_arvalid) &&
               !low(top->m_axi_awvalid) && !low(top->m_axi_wvalid);
    }

    void rule(bool kept, const char *name) {
        if (!kept && !broken) broken = name;
    }

    // What is offered must stay as it is until it is taken.
    template <typename... Ports>
    void stays(Offer &offer, bool valid, bool ready, const char *name, Ports &...ports) {
        uint8_t now[sizeof offer.shown] = {};
        size_t at = 0;
        ((get(ports, now + at, sizeof bits(ports)), at += sizeof bits(ports)), ...);
        rule(!offer.waits || (valid && std::memcmp(now, offer.shown, sizeof now) == 0), name);
        offer.waits = valid && !ready;
        std::memcpy(offer.shown, now, sizeof now);
    }

    template <typename Address, typename Length, typename Size, typename Kind>
    Burst burst(Address &address, Length &length, Size &size, Kind &kind);

    void settle();
    void rise();
    void edge();
    void bus_before();
    void bus_after();
    void rules();
    void observe();
};

// What the memory shows before the rising edge.
void Npu::bus_before() {
    const bool alive = beats_left != 0;
    set(top->m_axi_arready, alive && reads.size() < kOutstanding && !random.one_in(permille));
    // what has been offered stays until it is taken
    beat_offered = beat_offered || (alive && !reads.empty() && reads.front().ready <= cycle &&
                                    !random.one_in(permille));
    set(top->m_axi_rvalid, beat_offered);
    if (beat_offered) {
        const Burst &burst = reads.front();
        const bool good = inside(burst.address, bus_bytes);
        static const uint8_t zeros[16] = {};
        changed |= put(top->m_axi_rdata, good ? &memory[burst.address] : zeros, bus_bytes);
        set(top->m_axi_rresp, good ? 0 : 2);
        set(top->m_axi_rlast, burst.beats == 1);
    }
    set(top->m_axi_awready, alive && writes.size() < kOutstanding && !random.one_in(permille));
    set(top->m_axi_wready, alive && !writes.empty() && !random.one_in(permille));
    answer_offered = answer_offered || (alive && responses > 0 && !random.one_in(permille));
    set(top->m_axi_bvalid, answer_offered);
    set(top->m_axi_bresp, failed ? 2 : 0);
}

// A burst that the memory takes.
template <typename Address, typename Length, typename Size, typename Kind>
Burst Npu::burst(Address &address, Length &length, Size &size, Kind &kind) {
    const uint64_t first = low(address), beats = low(length) + 1;
    rule(low(kind) == kIncrement, "a burst is of another kind than INCR");
    rule(1ULL << low(size) == bus_bytes, "a burst's beats are not as wide as the bus");
    rule(first % bus_bytes == 0, "a burst begins within a beat");
    rule(beats <= kLongest, "a burst has more than 16 beats");
    rule(first / kPage == (first + beats * bus_bytes - 1) / kPage, "a burst crosses 4 KiB");
    return {first - base, uint32_t(beats), cycle};
}

// What AXI4 asks of a manager in each cycle, whether or not anything is taken.
void Npu::rules() {
    stays(read_offer, low(top->m_axi_arvalid), low(top->m_axi_arready),
          "a read's address does not stay until it is taken", top->m_axi_araddr, top->m_axi_arlen);
    stays(write_offer, low(top->m_axi_awvalid), low(top->m_axi_awready),
          "a write's address does not stay until it is taken", top->m_axi_awaddr, top->m_axi_awlen);
    // the strobes are the same in every beat
    stays(data_offer, low(top->m_axi_wvalid), low(top->m_axi_wready),
          "a write's beat does not stay until it is taken", top->m_axi_wdata, top->m_axi_wlast);
}

// What passed at the rising edge, read before the model moves on.
void Npu::bus_after() {
    rules();
    if (low(top->m_axi_rvalid) && low(top->m_axi_rready)) {
        Burst &burst = reads.front();
        beat_offered = false;
        burst.address += bus_bytes;
        if (beats_left > 0) --beats_left;
        if (--burst.beats == 0) reads.pop_front();
    }
    if (low(top->m_axi_arvalid) && low(top->m_axi_arready)) {
        reads.push_back(
            burst(top->m_axi_araddr, top->m_axi_arlen, top->m_axi_arsize, top->m_axi_arburst));
        reads.back().ready += latency;
    }
    if (low(top->m_axi_bvalid) && low(top->m_axi_bready)) {
        answer_offered = false;
        --responses;
    }
    if (low(top->m_axi_wvalid) && low(top->m_axi_wready)) {
        Burst &burst = writes.front();
        rule(low(top->m_axi_wlast) == (burst.beats == 1), "WLAST is not at a burst's last beat");
        if (inside(burst.address, bus_bytes)) {
            uint8_t data[16];
            get(top->m_axi_wdata, data, bus_bytes);
            const uint64_t strobes = low(top->m_axi_wstrb);
            for (uint32_t i = 0; i < bus_bytes; ++i)
                if (strobes >> i & 1) memory[burst.address + i] = data[i];
        } else {
            failed = true;
        }
        burst.address += bus_bytes;
        if (beats_left > 0) --beats_left;
        if (--burst.beats == 0) {
            writes.pop_front();
            ++responses;
        }
    }
    if (low(top->m_axi_awvalid) && low(top->m_axi_awready))
        writes.push_back(
            burst(top->m_axi_awaddr, top->m_axi_awlen, top->m_axi_awsize, top->m_axi_awburst));
}

void Npu::observe() {
    const auto keep = [this](std::vector<uint8_t> &mirror, uint64_t address, auto &port) {
        const uint64_t at = address * word_bytes;
        if (at + word_bytes <= mirror.size()) get(port, &mirror[at], word_bytes);
    };
    if (low(top->probe_result_enable))
        keep(buffer, low(top->probe_result_address), top->probe_result_data);
    if (low(top->probe_load_enable))
        keep(buffer, low(top->probe_load_address), top->probe_load_data);
    if (low(top->probe_intermediate_enable))
        keep(intermediate, low(top->probe_intermediate_address), top->probe_intermediate_data);
    while (reached.size() < watches.size()) {
        const Watch &watch = watches[reached.size()];
        const uint16_t behind =
            uint16_t(low(top->probe_completed_activate)) - uint16_t(watch.count);
        if (behind & 0x8000) break;
        const std::vector<uint8_t> &mirror = watch.intermediate ? intermediate : buffer;
        const uint64_t first = uint64_t(watch.first) * word_bytes;
        std::memcpy(watch.out, &mirror[first], uint64_t(watch.words) * word_bytes);
        reached.push_back(cycle);
    }
    if (!recording) return;
    const uint32_t now = uint32_t(low(top->probe_state));
    if (now == state) return;
    for (uint32_t unit = 0; unit < kUnits; ++unit) {
        const uint32_t before = state >> (2 * unit) & 3, after = now >> (2 * unit) & 3;
        if (before == after) continue;
        if (before & 1) intervals.push_back({since[unit], cycle, unit, before >> 1});
        since[unit] = cycle;
    }
    state = now;
}

// Outputs are what they are before the rising edge; only then may they be read.
void Npu::settle() {
    bus_before();
    ::settle(top, changed);
    changed = false;
#ifdef TRACE
    if (trace) trace->dump(2 * cycle);
#endif
    bus_after();
    observe();
}

void Npu::rise() {
    ::rise(top);
#ifdef TRACE
    if (trace) trace->dump(2 * cycle + 1);
#endif
    ++cycle;
}

void Npu::edge() {
    settle();
    rise();
}

// All that is seen from outside.
#pragma GCC visibility push(default)
extern "C" {

Npu *npu_create(uint64_t memory_bytes, uint64_t base, uint32_t bus_bytes, uint32_t word_bytes,
                uint32_t buffer_words, uint32_t latency, uint64_t seed, uint32_t permille) {
    Npu *npu = new Npu;
    npu->top = make();
    npu->memory.resize(memory_bytes);
    npu->base = base;
    npu->bus_bytes = bus_bytes;
    npu->latency = latency;
    npu->permille = permille;
    npu->random.state = seed | 1;
    npu->word_bytes = word_bytes;
    npu->buffer.resize(uint64_t(buffer_words) * word_bytes);
    npu->intermediate.resize(npu->buffer.size());
    npu->set(npu->top->rst, 1);
    npu->edge();
    npu->edge();
    npu->set(npu->top->rst, 0);
    npu->cycle = 0;
    return npu;
}

void npu_destroy(Npu *npu) {
    finish(npu->top);
    delete npu;
}

uint8_t *npu_memory(Npu *npu) { return npu->memory.data(); }

uint64_t npu_cycle(const Npu *npu) { return npu->cycle; }

// Returns 0, or 1 where the NPU did not answer within a thousand cycles.
int npu_write(Npu *npu, uint32_t address, uint32_t value) {
    MODEL *top = npu->top;
    npu->set(top->s_axil_awaddr, address);
    npu->set(top->s_axil_wdata, value);
    npu->set(top->s_axil_wstrb, 15);
    npu->set(top->s_axil_awvalid, 1);
    npu->set(top->s_axil_wvalid, 1);
    bool answered = false;
    for (int i = 0; i < 1000 && !answered; ++i) {
        npu->set(top->s_axil_bready, !npu->random.one_in(npu->permille));
        npu->settle();
        const bool address_taken = low(top->s_axil_awvalid) && low(top->s_axil_awready);
        const bool data_taken = low(top->s_axil_wvalid) && low(top->s_axil_wready);
        answered = low(top->s_axil_bvalid) && low(top->s_axil_bready);
        npu->rise();
        if (address_taken) npu->set(top->s_axil_awvalid, 0);
        if (data_taken) npu->set(top->s_axil_wvalid, 0);
    }
    npu->set(top->s_axil_awvalid, 0);
    npu->set(top->s_axil_wvalid, 0);
    npu->set(top->s_axil_bready, 0);
    return !answered;
}

int npu_read(Npu *npu, uint32_t address, uint32_t *value) {
    MODEL *top = npu->top;
    npu->set(top->s_axil_araddr, address);
    npu->set(top->s_axil_arvalid, 1);
    bool answered = false;
    for (int i = 0; i < 1000 && !answered; ++i) {
        npu->set(top->s_axil_rready, !npu->random.one_in(npu->permille));
        npu->settle();
        const bool taken = low(top->s_axil_arvalid) && low(top->s_axil_arready);
        answered = low(top->s_axil_rvalid) && low(top->s_axil_rready);
        *value = uint32_t(low(top->s_axil_rdata));
        npu->rise();
        if (taken) npu->set(top->s_axil_arvalid, 0);
    }
    npu->set(top->s_axil_arvalid, 0);
    npu->set(top->s_axil_rready, 0);
    return !answered;
}

// Runs until a cycle begins with done high or `limit` cycles have passed; returns whether it was.
int npu_run(Npu *npu, uint64_t limit) {
    const uint64_t end = npu->cycle + limit;
    bool done = false;
    while (!done && npu->cycle < end) {
        npu->settle();
        done = low(npu->top->probe_done);
        if (done) npu->rested = npu->idle();
        npu->rise();
    }
    return done;
}

void npu_watch(Npu *npu, uint32_t count, uint32_t first, uint32_t words, int intermediate,
               uint8_t *out) {
    npu->watches.push_back({count, first, words, intermediate != 0, out});
}

// When each watch was reached; returns how many were.
uint64_t npu_reached(const Npu *npu, const uint64_t **cycles) {
    *cycles = npu->reached.data();
    return npu->reached.size();
}

void npu_clear_watches(Npu *npu) {
    npu->watches.clear();
    npu->reached.clear();
}

void npu_record(Npu *npu, int on) {
    npu->recording = on != 0;
    npu->state = 0;
    if (on) npu->intervals.clear();
}

uint64_t npu_intervals(const Npu *npu, const Interval **intervals) {
    *intervals = npu->intervals.data();
    return npu->intervals.size();
}

// The first rule of AXI4 that the NPU has not kept, or null; with `at_rest` also whether a transfer
// was on its way when the last run was over.
const char *npu_broken_rule(const Npu *npu, int at_rest) {
    if (npu->broken || !at_rest || npu->rested) return npu->broken;
    return "a transfer is on its way when the run is over";
}

const uint8_t *npu_buffer(const Npu *npu) { return npu->buffer.data(); }

void npu_break_bus(Npu *npu, uint64_t error_from, int64_t beats_left) {
    npu->error_from = error_from;
    npu->beats_left = beats_left;
    npu->failed = false;
}

#ifdef TRACE

// Begins to write waveforms; returns 0, or 1 where the file cannot be opened.
int npu_trace(Npu *npu, const char *path) {
    npu->trace = new VerilatedVcdC(&npu->trace_file);
    npu->top->trace(npu->trace, 99);
    npu->trace->open(path);
    return npu->trace->isOpen() ? 0 : 1;
}

// The errno that a write of waveforms has failed with, or 0.
int npu_trace_error(const Npu *npu) { return npu->trace_file.error; }

void npu_end_trace(Npu *npu) {
    npu->trace->close();
    delete npu->trace;
    npu->trace = nullptr;
}

#endif

}  // extern "C"
#pragma GCC visibility pop
