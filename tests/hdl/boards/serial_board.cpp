// A simulated board at its serial line: bytes in, bytes out, and a clock in between.

#include <cstdint>
#include <deque>

#include MODEL_HEADER

namespace {

// A line of one start bit, eight data bits and one stop bit, `divisor` cycles each.
struct Board {
    MODEL top;
    uint32_t divisor;
    std::deque<uint8_t> to_board, from_board;
    uint32_t sending = 0, send_left = 0;  // bits yet to leave, and cycles of the present one
    uint32_t received = 0,
             receive_wait = 0;  // bits so far, the first above, and cycles to the next
    int receive_left = 0;

    explicit Board(uint32_t divisor) : divisor(divisor) {
        top.rx = 1;
        top.rst = 1;
        for (int i = 0; i < 4; i++) step();
        top.rst = 0;
    }

    void step() {
        top.sample = 0;
        top.clk = 0;
        top.eval();
        top.sample = 1;
        top.eval();
        top.clk = 1;
        top.eval();
    }

    void drive() {
        if (send_left == 0) {
            if (sending <= 1) {
                if (to_board.empty()) return;
                sending = 0x600u | static_cast<uint32_t>(to_board.front())
                                       << 1;  // with an end mark
                to_board.pop_front();
            } else {
                sending >>= 1;
            }
            send_left = divisor;
            if (sending > 1) top.rx = sending & 1;
        }
        send_left--;
    }

    void listen() {
        if (receive_left == 0) {
            if (!top.tx) {
                receive_left = 9;
                receive_wait = divisor + divisor / 2;
            }
            return;
        }
        if (--receive_wait) return;
        receive_wait = divisor;
        if (--receive_left) {
            received = received >> 1 | (top.tx ? 0x80u : 0);
        } else {
            from_board.push_back(static_cast<uint8_t>(received));
        }
    }
};

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

void *board_create(uint32_t divisor) { return new Board(divisor); }

void board_destroy(void *board) { delete static_cast<Board *>(board); }

void board_send(void *board, const uint8_t *bytes, uint64_t count) {
    auto &line = static_cast<Board *>(board)->to_board;
    line.insert(line.end(), bytes, bytes + count);
}

// Up to `room` bytes, for which `cycles` may pass at most.
uint64_t board_receive(void *handle, uint8_t *bytes, uint64_t room, uint64_t cycles) {
    auto *board = static_cast<Board *>(handle);
    for (; board->from_board.size() < room && cycles; cycles--) {
        board->drive();
        board->step();
        board->listen();
    }
    uint64_t count = 0;
    for (; count < room && !board->from_board.empty(); count++) {
        bytes[count] = board->from_board.front();
        board->from_board.pop_front();
    }
    return count;
}
}
#pragma GCC visibility pop
