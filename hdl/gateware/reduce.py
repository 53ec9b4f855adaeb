"""The REDUCE unit beside the lanes, with their ports: who of both may use them."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.interface import ReadRequest, UnitControl, WordWrite
from edgeinfer.hdl.gateware.parameters import ParameterPort
from edgeinfer.hdl.gateware.reduce_engine import ReduceEngine
from edgeinfer.hdl.reduce_stages import RESTED

__all__ = ["ReduceUnit"]


class ReduceUnit(wiring.Component):
    """Executes SET_NORMALIZATION and REDUCE: "Reduce" in docs/npu-design.md.

    It stands between the ACTIVATE unit and what that reads and writes, and passes on all that is
    not its own. A REDUCE is taken when the lanes have written all that they were told to, and the
    lanes are told nothing before it has ended.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    control : Out(UnitControl)
        ``completed`` counts the lanes' groups, and a REDUCE as one.
    parameters : Out(ParameterPort)
    residual : Out(ReadRequest)
    result : Out(WordWrite)
    lanes_control : In(UnitControl)
    lanes_parameters : In(ParameterPort)
    lanes_residual : In(ReadRequest)
    lanes_result : In(WordWrite)
        The ACTIVATE unit's.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        ports: dict[str, wiring.Signature] = {
            "control": UnitControl(),
            "parameters": ParameterPort(config),
            "residual": ReadRequest(config),
            "result": WordWrite(config.columns * config.width),
        }
        outer = {name: Out(port) for name, port in ports.items()}
        super().__init__({**outer, **{f"lanes_{name}": In(port) for name, port in ports.items()}})

    def elaborate(self, platform: object) -> Module:
        """Who has the ports: the lanes, or the engine."""
        m = Module()
        config = self.config
        m.submodules.engine = engine = ReduceEngine(config)
        lanes, own = self.lanes_control, self.control

        # the lanes' last word is in the buffer some cycles after they have come to rest
        rested = Signal(range(RESTED + 1))
        opcode = own.command.payload[: isa.OPCODE_BITS]
        ours = (opcode == isa.Reduce.opcode) | (opcode == isa.SetNormalization.opcode)
        m.d.comb += [
            lanes.command.payload.eq(own.command.payload),
            lanes.command.valid.eq(own.command.valid & ~ours & ~engine.busy),
            engine.command.payload.eq(own.command.payload),
            engine.command.valid.eq(own.command.valid & ours & (rested == RESTED)),
            own.command.ready.eq(
                Mux(
                    ours,
                    engine.command.ready & (rested == RESTED),
                    lanes.command.ready & ~engine.busy,
                )
            ),
            own.busy.eq(lanes.busy | engine.busy),
            own.waiting.eq(lanes.waiting & ~engine.busy),
            own.completed.eq(lanes.completed | engine.completed),
        ]
        with m.If(lanes.busy | (lanes.command.valid & lanes.command.ready)):
            m.d.sync += rested.eq(0)
        with m.Elif(rested != RESTED):
            m.d.sync += rested.eq(rested + 1)

        m.d.comb += [
            self.residual.valid.eq(self.lanes_residual.valid | engine.read.valid),
            self.residual.address.eq(
                Mux(engine.busy, engine.read.address, self.lanes_residual.address)
            ),
            self.lanes_residual.ready.eq(self.residual.ready),
            engine.read.ready.eq(self.residual.ready),
            self.lanes_residual.data.eq(self.residual.data),
            engine.read.data.eq(self.residual.data),
            self.parameters.enable.eq(self.lanes_parameters.enable | engine.parameters.enable),
            self.parameters.address.eq(
                Mux(engine.busy, engine.parameters.address, self.lanes_parameters.address)
            ),
            self.lanes_parameters.row.eq(self.parameters.row),
            engine.parameters.row.eq(self.parameters.row),
            self.result.enable.eq(self.lanes_result.enable | engine.result.enable),
            self.result.address.eq(
                Mux(engine.result.enable, engine.result.address, self.lanes_result.address)
            ),
            self.result.data.eq(
                Mux(engine.result.enable, engine.result.data, self.lanes_result.data)
            ),
        ]
        return m
