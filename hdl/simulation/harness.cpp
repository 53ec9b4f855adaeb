// Drives a simulated NPU: its clock, host memory on AXI4, registers on AXI4-Lite, and what is seen.
//
// Plain C outside, for ctypes. MODEL is the simulator's class for the top module; memory, stalls and
// observations are ours.

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include MODEL_HEADER
#ifdef TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

constexpr uint32_t kUnits = 5;
constexpr size_t kOutstanding = 4;  // bursts that the memory takes before it has answered the first

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
    uint64_t address;
    uint32_t beats;
    uint64_t ready;
};

// Words of the buffer that are copied when ACTIVATE has completed `count` groups.
struct Watch {
    uint32_t count, first, words;
    bool intermediate;
    uint8_t *out;
};

struct Interval {
    uint64_t start, end;
    uint32_t unit, waiting;
};

// The low bytes of a port, whatever type the simulator gives it.
template <typename Port>
uint64_t low(const Port &port) {
    uint64_t value = 0;
    std::memcpy(&value, &port, sizeof(Port) < 8 ? sizeof(Port) : 8);
    return value;
}

template <typename Port>
void put(Port &port, const uint8_t *from, size_t bytes) {
    std::memcpy(&port, from, bytes);
}

template <typename Port>
void get(const Port &port, uint8_t *to, size_t bytes) {
    std::memcpy(to, &port, bytes);
}

}  // namespace

struct Npu {
    MODEL *top;
    uint64_t cycle = 0;

    // host memory
    std::vector<uint8_t> memory;
    uint32_t bus_bytes, latency, permille;
    Random random;
    std::deque<Burst> reads;
    std::deque<Burst> writes;
    uint32_t responses = 0;
    uint64_t error_from = ~0ULL;
    int64_t beats_left = -1;  // until the bus stalls for ever; -1: never
    bool failed = false;

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
    VerilatedVcdC *trace = nullptr;
#endif

    bool inside(uint64_t address, uint64_t bytes) const {
        return address < error_from && address + bytes <= memory.size();
    }

    void edge();
    void bus_before();
    void bus_after();
    void observe();
};

// What the memory shows before the rising edge.
void Npu::bus_before() {
    const bool alive = beats_left != 0;
    top->m_axi_arready = alive && reads.size() < kOutstanding && !random.one_in(permille);
    const bool data = alive && !reads.empty() && reads.front().ready <= cycle &&
                      !random.one_in(permille);
    top->m_axi_rvalid = data;
    if (data) {
        const Burst &burst = reads.front();
        const bool good = inside(burst.address, bus_bytes);
        static const uint8_t zeros[16] = {};
        put(top->m_axi_rdata, good ? &memory[burst.address] : zeros, bus_bytes);
        top->m_axi_rresp = good ? 0 : 2;
        top->m_axi_rlast = burst.beats == 1;
    }
    top->m_axi_awready = alive && writes.size() < kOutstanding && !random.one_in(permille);
    top->m_axi_wready = alive && !writes.empty() && !random.one_in(permille);
    top->m_axi_bvalid = alive && responses > 0;
    top->m_axi_bresp = failed ? 2 : 0;
}

// What passed at the rising edge, read before the model moves on.
void Npu::bus_after() {
    if (top->m_axi_rvalid && top->m_axi_rready) {
        Burst &burst = reads.front();
        burst.address += bus_bytes;
        if (beats_left > 0) --beats_left;
        if (--burst.beats == 0) reads.pop_front();
    }
    if (top->m_axi_arvalid && top->m_axi_arready)
        reads.push_back({low(top->m_axi_araddr), uint32_t(top->m_axi_arlen) + 1, cycle + latency});
    if (top->m_axi_bvalid && top->m_axi_bready) --responses;
    if (top->m_axi_wvalid && top->m_axi_wready) {
        Burst &burst = writes.front();
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
    if (top->m_axi_awvalid && top->m_axi_awready)
        writes.push_back({low(top->m_axi_awaddr), uint32_t(top->m_axi_awlen) + 1, cycle});
}

void Npu::observe() {
    const auto keep = [this](std::vector<uint8_t> &mirror, uint64_t address, const auto &port) {
        const uint64_t at = address * word_bytes;
        if (at + word_bytes <= mirror.size()) get(port, &mirror[at], word_bytes);
    };
    if (top->probe_result_enable)
        keep(buffer, low(top->probe_result_address), top->probe_result_data);
    if (top->probe_load_enable) keep(buffer, low(top->probe_load_address), top->probe_load_data);
    if (top->probe_intermediate_enable)
        keep(intermediate, low(top->probe_intermediate_address), top->probe_intermediate_data);
    while (reached.size() < watches.size()) {
        const Watch &watch = watches[reached.size()];
        const uint16_t behind = uint16_t(top->probe_completed_activate) - uint16_t(watch.count);
        if (behind & 0x8000) break;
        const std::vector<uint8_t> &mirror = watch.intermediate ? intermediate : buffer;
        const uint64_t first = uint64_t(watch.first) * word_bytes;
        std::memcpy(watch.out, &mirror[first], uint64_t(watch.words) * word_bytes);
        reached.push_back(cycle);
    }
    if (!recording) return;
    const uint32_t now = top->probe_state;
    if (now == state) return;
    for (uint32_t unit = 0; unit < kUnits; ++unit) {
        const uint32_t before = state >> (2 * unit) & 3, after = now >> (2 * unit) & 3;
        if (before == after) continue;
        if (before & 1) intervals.push_back({since[unit], cycle, unit, before >> 1});
        since[unit] = cycle;
    }
    state = now;
}

void Npu::edge() {
    bus_before();
    top->clk = 0;
    top->eval();
#ifdef TRACE
    if (trace) trace->dump(2 * cycle);
#endif
    bus_after();
    observe();
    top->clk = 1;
    top->eval();
#ifdef TRACE
    if (trace) trace->dump(2 * cycle + 1);
#endif
    ++cycle;
}

extern "C" {

Npu *npu_create(uint64_t memory_bytes, uint32_t bus_bytes, uint32_t word_bytes,
                uint32_t buffer_words, uint32_t latency, uint64_t seed, uint32_t permille) {
    Npu *npu = new Npu;
    npu->top = new MODEL;
    npu->memory.resize(memory_bytes);
    npu->bus_bytes = bus_bytes;
    npu->latency = latency;
    npu->permille = permille;
    npu->random.state = seed | 1;
    npu->word_bytes = word_bytes;
    npu->buffer.resize(uint64_t(buffer_words) * word_bytes);
    npu->intermediate.resize(npu->buffer.size());
    npu->top->rst = 1;
    npu->edge();
    npu->edge();
    npu->top->rst = 0;
    npu->cycle = 0;
    return npu;
}

void npu_destroy(Npu *npu) {
#ifdef TRACE
    if (npu->trace) {
        npu->trace->close();
        delete npu->trace;
    }
#endif
    npu->top->final();
    delete npu->top;
    delete npu;
}

uint8_t *npu_memory(Npu *npu) { return npu->memory.data(); }

uint64_t npu_cycle(const Npu *npu) { return npu->cycle; }

// Returns 0, or 1 where the NPU did not answer within a thousand cycles.
int npu_write(Npu *npu, uint32_t address, uint32_t value) {
    MODEL *top = npu->top;
    top->s_axil_awaddr = address;
    top->s_axil_wdata = value;
    top->s_axil_wstrb = 15;
    top->s_axil_awvalid = top->s_axil_wvalid = 1;
    top->s_axil_bready = 1;
    bool answered = false;
    for (int i = 0; i < 1000 && !answered; ++i) {
        top->eval();
        const bool address_taken = top->s_axil_awvalid && top->s_axil_awready;
        const bool data_taken = top->s_axil_wvalid && top->s_axil_wready;
        answered = top->s_axil_bvalid;
        npu->edge();
        if (address_taken) top->s_axil_awvalid = 0;
        if (data_taken) top->s_axil_wvalid = 0;
    }
    top->s_axil_awvalid = top->s_axil_wvalid = top->s_axil_bready = 0;
    return !answered;
}

int npu_read(Npu *npu, uint32_t address, uint32_t *value) {
    MODEL *top = npu->top;
    top->s_axil_araddr = address;
    top->s_axil_arvalid = 1;
    top->s_axil_rready = 1;
    bool answered = false;
    for (int i = 0; i < 1000 && !answered; ++i) {
        top->eval();
        const bool taken = top->s_axil_arvalid && top->s_axil_arready;
        answered = top->s_axil_rvalid;
        *value = top->s_axil_rdata;
        npu->edge();
        if (taken) top->s_axil_arvalid = 0;
    }
    top->s_axil_arvalid = top->s_axil_rready = 0;
    return !answered;
}

// Runs until done is high or `limit` cycles have passed; returns whether it is.
int npu_run(Npu *npu, uint64_t limit) {
    const uint64_t end = npu->cycle + limit;
    while (!npu->top->probe_done && npu->cycle < end) npu->edge();
    return npu->top->probe_done;
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

const uint8_t *npu_buffer(const Npu *npu) { return npu->buffer.data(); }

void npu_break_bus(Npu *npu, uint64_t error_from, int64_t beats_left) {
    npu->error_from = error_from;
    npu->beats_left = beats_left;
    npu->failed = false;
}

int npu_trace(Npu *npu, const char *path) {
#ifdef TRACE
    Verilated::traceEverOn(true);
    npu->trace = new VerilatedVcdC;
    npu->top->trace(npu->trace, 99);
    npu->trace->open(path);
    return npu->trace->isOpen() ? 0 : 1;
#else
    (void)npu;
    (void)path;
    return 1;
#endif
}

}  // extern "C"
