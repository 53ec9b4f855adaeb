"""A layer's numbers in the fields of the SET instructions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.bands import Surface
from edgeinfer.hdl.compiler.jobs import Job
from edgeinfer.hdl.compiler.layers import Layer, Second
from edgeinfer.hdl.compiler.operands import Operands
from edgeinfer.hdl.isa import Mode, Operation

__all__ = ["settings"]


def settings(
    operands: Operands, job: Job, surfaces: Mapping[str, Surface]
) -> Iterator[isa.Instruction]:
    """All settings of ``job`` but its kernel's, for operands that lie on ``surfaces``."""
    yield _source(operands, job.layer, surfaces["source"])
    if job.last:
        yield _output(operands, surfaces)
        if job.layer.second is not None:
            yield from _second(job.layer.second)
        if job.layer.reduced is not None and job.layer.reduced.setting is not None:
            yield job.layer.reduced.setting


def _source(operands: Operands, layer: Layer, source: Surface) -> isa.SetSource:
    tensor = operands.tensor("source")
    down, across = layer.strides
    by_pixel = layer.mode is not Mode.DEPTHWISE or layer.kernel[1] == 1
    return isa.SetSource(
        height=tensor.height,
        line_end=tensor.width * source.pixel,
        row_step=down * source.pitch,
        kernel_step=layer.dilations[0] * source.pitch,
        stride=down,
        dilation=layer.dilations[0],
        pixel_step=(across if by_pixel else 1) * layer.pixel(source.pixel),
        pad=layer.pad,
    )


def _output(operands: Operands, surfaces: Mapping[str, Surface]) -> isa.SetOutput:
    layer, output, columns = operands.layer, surfaces["output"], operands.columns
    rows = pixels = 0
    if layer.second is not None and not operands.broadcasts:
        rows, pixels = surfaces["second"].pitch, surfaces["second"].pixel // columns
    return isa.SetOutput(
        row_step=output.pitch,
        column_step=output.pixel // columns,
        residual_row_step=rows,
        residual_column_step=pixels,
        zero_point=layer.zero_point,
        lo=layer.lo,
        hi=layer.hi,
        operation=layer.second.operation if layer.second else Operation.NONE,
        double=layer.double,
        table=layer.table is not None,
    )


def _second(second: Second) -> Iterator[isa.Instruction]:
    op = second.op
    a: tuple[int, int, int] = (op.a_zero_point, 0, 0)
    b: tuple[int, int, int] = (op.b_zero_point, 0, 0)
    left_shift = 0
    if isinstance(op, ops.QAdd):
        a = (op.a_zero_point, op.a_multiplier, op.a_shift)
        b = (op.b_zero_point, op.b_multiplier, op.b_shift)
        left_shift = op.left_shift
    if second.swapped:
        a, b = b, a
    yield isa.SetOperands(
        a_zero_point=a[0],
        a_multiplier=a[1],
        a_shift=a[2],
        b_zero_point=b[0],
        b_multiplier=b[1],
        b_shift=b[2],
    )
    yield isa.SetSum(
        multiplier=op.multiplier,
        shift=op.shift,
        zero_point=op.output_zero_point,
        lo=op.lo,
        hi=op.hi,
        left_shift=left_shift,
    )
