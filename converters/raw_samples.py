"""Decides whether an input's integers may go into a Graph as floats: the pixels of a camera, say.

They may where a Cast to floats comes before anything computes with them. The numbers are the same
then, and the Cast has nothing to do. Truth values, and numbers of 32 and 64 bits, may be compared
and added up before: floats are as exact as long as the numbers are below 2^24.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

__all__ = ["FLOATS", "Becoming", "becoming"]

FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
"""The element types that are float32 in a Graph."""

# they give out numbers of their first input as they are, bounded at most, or only its shape
_MOVING = """Clip Concat DepthToSpace Expand Flatten Gather GatherND Identity Pad Reshape Resize
    Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze Upsample"""


# they give truth values, which are floats in a Graph
_TESTING = ["And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Xor"]

# of whole numbers they give whole numbers
_COUNTING = ["Abs", "Add", "CumSum", "Max", "Min", "Mul", "Neg", "Relu", "Sign", "Sub"]
_COUNTING += ["ReduceMax", "ReduceMin", "ReduceSum"]

_COUNTED = ("BOOL", "INT32", "INT64")


@dataclass(frozen=True)
class Becoming:
    """What becomes of the elements of an input.

    Parameters
    ----------
    floats : list of str
        The values in which they are floats for the first time.
    obstacles : list of str
        What is made of them before that, in the order of the flow.
    """

    floats: list[str]
    obstacles: list[str]


def becoming(value: ir.Value) -> Becoming:
    """Follow the elements of the input ``value`` until they are floats."""
    counted = value.dtype is not None and value.dtype.name in _COUNTED
    reached = {value: None}  # a dict keeps the order
    pending, joins, met = [value], [], []
    floats: dict[str, None] = {}
    obstacles: dict[str, None] = {}
    while pending:
        value = pending.pop(0)
        if value.is_graph_output():
            obstacles[f"{value.name!r} is an output"] = None
        for node, place in value.uses():
            counts = counted and _counts(node, place)
            if not counts and not _is_harmless(node, place):
                obstacles[f"{_called(node)} computes with it"] = None
            if _gives_floats(node) or (counts and _gives_truth(node)):
                floats[str(node.outputs[0].name)] = None
            elif node.op_type not in ("Shape", "Size"):
                joins += [node] if node.op_type == "Concat" else []
                pending += [v for v in node.outputs if v not in reached]
                reached.update(dict.fromkeys(node.outputs))
            met += [node] if counts else []
    for node in joins:
        if not all(v in reached for v in node.inputs):
            obstacles[f"{_called(node)} joins it with others"] = None
    for node in met:
        if not all(v is None or v in reached or _is_known(v) for v in node.inputs):
            obstacles[f"{_called(node)} joins it with others"] = None
    return Becoming(list(floats), list(obstacles))


def _counts(node: ir.Node, place: int) -> bool:
    """Whether the node means the same of whole numbers that are held as floats."""
    if node.domain != "":
        return False
    if node.op_type == "Cast":
        to = node.attributes.get("to")
        return to is not None and to.value in [int(ir.DataType[name]) for name in _COUNTED]
    if node.op_type == "Where":
        return place == 0
    return node.op_type in _TESTING or (node.op_type in _COUNTING and place < 2)


def _gives_truth(node: ir.Node) -> bool:
    if node.op_type == "Cast":
        return bool(node.attributes["to"].value == int(ir.DataType.BOOL))
    return node.op_type in _TESTING or node.op_type == "Where"


def _is_known(value: ir.Value) -> bool:
    """Whether no input of the model reaches it."""
    pending, seen = [value], set()
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        producer = value.producer()
        if producer is None:
            if value.const_value is None:
                return False
        elif producer.op_type not in ("Shape", "Size"):
            pending += [v for v in producer.inputs if v is not None]
    return True


def _is_harmless(node: ir.Node, place: int) -> bool:
    if node.domain != "":
        return False
    if node.op_type in ("Cast", "CastLike"):
        return _gives_floats(node)
    if node.op_type == "DequantizeLinear":
        return place == 0
    if node.op_type in ("Resize", "Upsample") and "mode" in node.attributes:
        mode = node.attributes["mode"].value
        return mode == "nearest" and place == 0
    return node.op_type in _MOVING.split() and (place == 0 or node.op_type == "Concat")


def _gives_floats(node: ir.Node) -> bool:
    if node.op_type == "Cast":
        to = node.attributes.get("to")
        return to is not None and to.value in [int(ir.DataType[name]) for name in FLOATS]
    if node.op_type == "CastLike" and len(node.inputs) == 2 and node.inputs[1] is not None:
        like = node.inputs[1]
        kind = like.dtype if like.const_value is None else like.const_value.dtype
        return kind is not None and kind.name in FLOATS
    return node.op_type == "DequantizeLinear"


def _called(node: ir.Node) -> str:
    name = node.name or next((v.name for v in node.outputs if v.name), "")
    return f"{node.op_type} {name!r}"
