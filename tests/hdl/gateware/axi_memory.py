"""The host's memory behind AXI4 for testbenches; it holds the manager to the bus's rules."""

from __future__ import annotations

import random
from collections import deque

__all__ = ["AxiMemory"]

_OUTSTANDING = 4
_OKAY, _SLAVE_ERROR, _DECODE_ERROR = 0, 2, 3


class AxiMemory:
    """Bytes from ``origin`` on, served to the buses that are connected; asserts their protocol.

    Whatever is asked of it beyond its bytes is answered with an error.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat.
    size, origin : int
        Bytes that it has, and the address of the first.
    latency : int
        Cycles from an address to its first beat.
    stalls : float
        How often each channel holds back.
    seed : int
        Of the stalls and of the bytes.
    data_first : bool
        Takes a write's address only once its data are shown, as AXI allows.

    Attributes
    ----------
    bad : range
        Addresses that answer with an error.
    stuck : bool
        Nothing is taken or given any more.
    read_bursts, write_bursts : list of (address, beats)
        In the order in which their addresses were taken.
    read_cycles, write_cycles : list of int
        In which beats passed.
    """

    def __init__(
        self,
        bus_bytes: int,
        size: int = 1 << 14,
        *,
        origin: int = 0,
        latency: int = 0,
        stalls: float = 0,
        seed: int = 0,
        data_first: bool = False,
    ) -> None:
        self.bus_bytes, self.origin, self.latency = bus_bytes, origin, latency
        self.stalls, self.data_first = stalls, data_first
        self._random = random.Random(seed)
        self.bytes = bytearray(self._random.randbytes(size))
        self.bad = range(0)
        self.stuck = False
        self.read_bursts: list[tuple[int, int]] = []
        self.write_bursts: list[tuple[int, int]] = []
        self.read_cycles: list[int] = []
        self.write_cycles: list[int] = []

    def connect(self, simulator, *buses) -> None:
        """Serve ``buses``, each an AxiRead or an AxiWrite of the simulated design."""
        for bus in buses:
            serve = self._reads if hasattr(bus, "araddr") else self._writes

            async def process(ctx, serve=serve, bus=bus):
                await serve(ctx, bus)

            simulator.add_testbench(process, background=True)

    def beats(self, address: int, count: int) -> list[int]:
        """What lies from ``address`` on."""
        at = address - self.origin
        size = self.bus_bytes
        return [
            int.from_bytes(self.bytes[i : i + size], "little")
            for i in range(at, at + count * size, size)
        ]

    def _willing(self) -> bool:
        return not self.stuck and self._random.random() >= self.stalls

    def _response(self, address: int) -> int:
        if not 0 <= address - self.origin <= len(self.bytes) - self.bus_bytes:
            return _DECODE_ERROR
        return _SLAVE_ERROR if address in self.bad else _OKAY

    def _check_burst(self, address: int, length: int, size: int, burst: int) -> tuple[int, int]:
        """The burst's address and beats, if it is one that the NPU may ask for."""
        beats = length + 1
        last = address + beats * self.bus_bytes - 1
        assert 1 << size == self.bus_bytes
        assert burst == 1
        assert beats <= 16
        assert address % self.bus_bytes == 0
        assert address >> 12 == last >> 12, "the burst crosses 4 KiB"
        return address, beats

    async def _reads(self, ctx, bus) -> None:
        address_channel = [bus.arvalid, bus.arready, bus.araddr, bus.arlen, bus.arsize, bus.arburst]
        held = Held()
        bursts: deque[list[int]] = deque()
        cycle, shown = 0, False
        while True:
            ready = bool(bursts) and bursts[0][2] <= cycle
            shown = ready and not self.stuck and (shown or self._willing())
            if shown:
                address, left, _ = bursts[0]
                response = self._response(address)
                data = 0 if response == _DECODE_ERROR else self.beats(address, 1)[0]
                ctx.set(bus.rdata, data)
                ctx.set(bus.rresp, response)
                ctx.set(bus.rlast, left == 1)
            else:
                ctx.set(bus.rdata, self._random.getrandbits(8 * self.bus_bytes))
                ctx.set(bus.rresp, _SLAVE_ERROR)
                ctx.set(bus.rlast, self._random.getrandbits(1))
            ctx.set(bus.rvalid, shown)
            ctx.set(bus.arready, len(bursts) < _OUTSTANDING and self._willing())
            sampled = await ctx.tick().sample(*address_channel, bus.rready)
            valid, ready, *burst, wanted = sampled[2:]
            held.check(valid, ready, burst)
            if valid and ready:
                address, beats = self._check_burst(*burst)
                self.read_bursts.append((address, beats))
                bursts.append([address, beats, cycle + 1 + self.latency])
            if shown and wanted:
                self.read_cycles.append(cycle)
                bursts[0][0] += self.bus_bytes
                bursts[0][1] -= 1
                if not bursts[0][1]:
                    bursts.popleft()
                shown = False
            cycle += 1

    async def _writes(self, ctx, bus) -> None:
        address_channel = [bus.awvalid, bus.awready, bus.awaddr, bus.awlen, bus.awsize, bus.awburst]
        data_channel = [bus.wvalid, bus.wready, bus.wdata, bus.wstrb, bus.wlast]
        addresses, words = Held(), Held()
        bursts: deque[list[int]] = deque()
        responses: deque[int] = deque()
        cycle, response, answering, data_shown = 0, _OKAY, False, False
        while True:
            answering = bool(responses) and not self.stuck and (answering or self._willing())
            ctx.set(bus.bvalid, answering)
            ctx.set(bus.bresp, responses[0] if answering else _SLAVE_ERROR)
            takes = len(bursts) < _OUTSTANDING and (data_shown or not self.data_first)
            ctx.set(bus.awready, takes and self._willing())
            ctx.set(bus.wready, bool(bursts) and self._willing())
            sampled = await ctx.tick().sample(*address_channel, *data_channel, bus.bready)
            valid, ready, *burst = sampled[2:8]
            data_shown, data_ready, data, strobes, last = sampled[8:13]
            addresses.check(valid, ready, burst)
            words.check(data_shown, data_ready, [data, strobes, last])
            assert not data_shown or bursts or valid, "data are shown before their address"
            if answering and sampled[13]:
                responses.popleft()
                answering = False
            if data_shown and data_ready:
                self.write_cycles.append(cycle)
                address, left = bursts[0]
                assert last == (left == 1)
                assert strobes == (1 << self.bus_bytes) - 1
                error = self._response(address)
                response = max(response, error)
                if not error:
                    at = address - self.origin
                    self.bytes[at : at + self.bus_bytes] = data.to_bytes(self.bus_bytes, "little")
                bursts[0] = [address + self.bus_bytes, left - 1]
                if last:
                    bursts.popleft()
                    responses.append(response)
                    response = _OKAY
            if valid and ready:
                address, beats = self._check_burst(*burst)
                self.write_bursts.append((address, beats))
                bursts.append([address, beats])
            cycle += 1


class Held:
    """A channel's payload, which must stay as it was shown until it is taken."""

    def __init__(self) -> None:
        self._shown: list[int] | None = None

    def check(self, valid: int, ready: int, payload: list[int]) -> None:
        """What the channel showed in this cycle."""
        if self._shown is not None:
            assert valid, "what was shown has gone before it was taken"
            assert payload == self._shown, "what was shown has changed before it was taken"
        self._shown = payload if valid and not ready else None
