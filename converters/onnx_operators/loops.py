"""Turns a Loop or Scan into the recurrent layer that it spells out, or into all of its iterations.

TensorFlow's exports have such loops where a model has layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.iterations import Iterations
from edgeinfer.converters.onnx_operators.loop_layers import layer_of
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.spatial import entries
from edgeinfer.converters.onnx_operators.values import Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []

# of all iterations together
_MOST_NODES = 5000


@importer("Loop", makes=(ops.LSTM, ops.GRU, ops.RNN, ops.Slice, ops.Concat), integers=True)
def _loop(call: Call) -> Sequence[Operand]:
    body = call.graph("body")
    count, condition = call.optional(0), call.optional(1)
    given = [call.optional(i) for i in range(2, len(call.inputs))]
    if len(body.inputs) != 2 + len(given) or len(body.outputs) < 1 + len(given):
        raise ModelError("its body does not take and give what it carries")
    if not all(v is None or isinstance(v, Static) for v in (count, condition)):
        raise Refusal("how often it runs must be constant")
    initial = [value for value in given if value is not None]
    if len(initial) < len(given):
        raise ModelError("what it carries has no first value")
    most = call.whole_number(0, "trip count", _MOST_NODES + 1)
    if isinstance(condition, Static) and not condition.array.all():
        most = 0
    return _outputs(Iterations(call, body, initial, most))


@importer("Scan", makes=(ops.LSTM, ops.GRU, ops.RNN, ops.Slice, ops.Concat), integers=True)
def _scan(call: Call) -> Sequence[Operand]:
    body, count = call.graph("body"), call.integer("num_scan_inputs", 0)
    if call.version < 9:
        raise Refusal("it has an axis of samples up to opset 8: convert the model to a newer opset")
    operands = call.operands()
    kept = len(operands) - count
    further = len(body.outputs) - kept
    if not 1 <= count <= len(operands) or len(body.inputs) != len(operands) or further < 0:
        raise ModelError("its body does not take and give what it carries and scans")
    scanned = []
    axes = entries(call.integers("scan_input_axes"), count, 0, "scan_input_axes")
    backwards = entries(call.integers("scan_input_directions"), count, 0, "scan_input_directions")
    for x, axis, is_backwards in zip(operands[kept:], axes, backwards, strict=True):
        axis = call.axis(axis, len(x.shape))
        scanned.append((call.flipped(x, axis) if is_backwards else x, axis))
    extents = {x.shape[axis] for x, axis in scanned}
    if len(extents) > 1:
        raise ModelError(f"what it scans is unlike long: {sorted(extents)}")
    found = _outputs(Iterations(call, body, operands[:kept], extents.pop(), scanned))
    axes = entries(call.integers("scan_output_axes"), further, 0, "scan_output_axes")
    backwards = entries(
        call.integers("scan_output_directions"), further, 0, "scan_output_directions"
    )
    stacked = []
    for y, axis, is_backwards in zip(found[kept:], axes, backwards, strict=True):
        y = call.flipped(y, 0) if is_backwards else y
        axis, rank = call.axis(axis, len(y.shape)), len(y.shape)
        stacked.append(call.transpose(y, (*range(1, axis + 1), 0, *range(axis + 1, rank))))
    return [*found[:kept], *stacked]


def _outputs(loop: Iterations) -> list[Operand]:
    """What a loop gives: what it carries, and all of what it scans out along a first axis."""
    layer = layer_of(loop)
    return _unrolled(loop) if layer is None else layer


def _unrolled(loop: Iterations) -> list[Operand]:
    """What a loop gives, its iterations imported one after another."""
    call, carried = loop.call, list(loop.initial)
    size, before = max(1, sum(1 for _ in loop.body.all_nodes())), call.visited
    scans: list[list[Operand]] = [[] for _ in range(loop.scans)]
    index, going = 0, True
    while going and index < loop.most:
        # loops inside of the body multiply
        if max((index + 1) * size, call.visited - before) > _MOST_NODES:
            raise Refusal(
                "its body is no step of an LSTM, GRU or RNN, and unrolled it would have more than "
                f"{_MOST_NODES} nodes"
            )
        elements = [_element(call, x, axis, index) for x, axis in loop.scanned]
        values = call.outputs_of(loop.body, loop.taken(index, carried, elements))
        going, carried, given = loop.given(values)
        index += 1
        for found, value in zip(scans, given, strict=True):
            found.append(call.reshape(value, (1, *value.shape)))
    return [*carried, *(_stacked(call, found) for found in scans)]


def _element(call: Call, x: Operand, axis: int, index: int) -> Operand:
    """The element ``index`` of ``x`` along ``axis``."""
    shape = [n for a, n in enumerate(x.shape) if a != axis]
    return call.reshape(call.stretch(x, axis, index, 1), shape)


def _stacked(call: Call, found: Sequence[Operand]) -> Operand:
    """``found``, what each iteration scans out, along a first axis."""
    if not found:
        raise Refusal("it never runs, and what it scans is empty")
    if len(found) == 1:
        return found[0]
    return call.emit(ops.Concat(0), *call.alike(found), kind=found[0].kind)
