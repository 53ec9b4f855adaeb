"""Turns an onnx_ir model into a float Graph, node by node: known values folded, the rest emitted.

Every shape is static by the time its node is reached, so shape arithmetic is arithmetic on
constants. What cannot be imported is collected, and refused all at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_ir as ir

from edgeinfer import advice
from edgeinfer.converters.constant_folding import FOLDABLE, RANDOM, Folder
from edgeinfer.converters.function_bodies import body_of, has_body
from edgeinfer.converters.onnx_inputs import Inputs, static_inputs
from edgeinfer.converters.onnx_model import read_tensor, value_names
from edgeinfer.converters.onnx_operators import (
    IMPORTERS,
    Call,
    Dynamic,
    Kind,
    Operand,
    Refusal,
    Static,
    Step,
    qualified,
)
from edgeinfer.converters.onnx_operators.quantized import integers_of, steps_of
from edgeinfer.converters.open_batch import guess_failed, is_free_batch
from edgeinfer.errors import ModelError, ModelFileError, UnsupportedError
from edgeinfer.graph import ABSENT, DType, Graph, GraphBuilder, Quantization, TensorType
from edgeinfer.graph.names import DistinctNames
from edgeinfer.graph.operators import FloatOperator, Operator, Pointwise, Reshape, Selecting

__all__ = ["OLDEST_OPSET", "Walk", "import_model"]

OLDEST_OPSET = 7

# a loop may stand in the body of another, and each body is read and unrolled: more than recurrent
# layers of a thousand steps in all have
_MOST_VISITS = 2**15

# a node may become thousands, as a Sum of as many does, each with constants of its own; what is as
# large as a real network holds weights as one does
_MOST_PARTS = 20_000
_HELD_A_PART = 256

_ADVICE = {
    **dict.fromkeys(("NonZero", "Unique"), "do this step in the program"),
    **dict.fromkeys(RANDOM, "each run would give something else: make its result an input"),
}
_ADVICE_OF_DOMAIN = {
    "ai.onnx.ml": "of classical models, linear ones, trees and networks are imported",
    "com.microsoft": (
        "of onnxruntime's own operators this is none of those that are imported: export the model "
        "without its optimizations"
    ),
    **dict.fromkeys(
        ("com.microsoft.nchwc", "com.ms.internal.nhwc"),
        "onnxruntime has laid it out for one processor: save the model at its level extended, or "
        "without its optimizations",
    ),
}
# what the operators of quantized models are called, those of onnxruntime's own too
_QUANTIZED = re.compile("(Dynamic|Matmul|MatMul)?(Q|Deq)uantize|QLinear|QGemm|.*Integer")
_ADVICE_QUANTIZED = "import the float model: edgeinfer quantizes it itself"
_ADVICE_OTHERWISE = "not supported: export it as supported operators"


def import_model(
    model: ir.Model,
    *,
    batch: int = 1,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> Graph:
    """Import a model as ``onnx_model.read_model`` gives it; not yet canonical.

    Parameters
    ----------
    model : onnx_ir.Model
        The model, without functions, in topological order.
    batch : int
        The extent of an open first axis.
    input_shapes : mapping of str to sequence of int, optional
        Whole shapes by input name.

    Raises
    ------
    InputError
        ``batch`` or ``input_shapes`` do not fit the model, or an open axis has no extent.
    UnsupportedError
        Nodes that cannot be imported, each with its operator, opset and what can be done.
    ModelError
        A node's attributes or shapes contradict each other.
    """
    uses = any(node.domain == "" for node in model.graph.all_nodes())
    # a file that does not say is of opset 1, which does not matter where no node is of any
    version = model.graph.opset_imports.get("", 1 if uses else OLDEST_OPSET)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= version <= newest:
        raise UnsupportedError(
            f"opsets {OLDEST_OPSET} to {newest} can be imported, not {version}: "
            "convert the model with onnx.version_converter, or update the onnx package"
        )
    shapes = dict(input_shapes or {})
    inputs = static_inputs(model.graph, batch, shapes)

    def with_batch(extent: int) -> Graph:
        given = {
            name: (extent, *shape[1:]) if name in inputs.open else shape
            for name, shape in shapes.items()
        }
        return _walked(model, static_inputs(model.graph, extent, given))

    try:
        graph = _walked(model, inputs)
    except ModelError as error:
        if isinstance(error, ModelFileError | UnsupportedError) or not inputs.guessed:
            raise
        raise guess_failed(error, inputs, batch) from error
    return replace(
        graph,
        free_batch=is_free_batch(graph, inputs, batch, with_batch),
        provenance=_provenance(model, version),
    )


def _walked(model: ir.Model, inputs: Inputs) -> Graph:
    arrays = (value.const_value for value in model.graph.initializers.values())
    held = sum(math.prod(map(int, a.shape)) for a in arrays if a is not None)
    walk = Walk(model.graph.opset_imports, value_names(model), held)
    walk.bind_inputs(model.graph, inputs.types)
    walk.visit(model.graph)
    if walk.refused:
        raise UnsupportedError(_refusal(walk.refused, walk.values_before(model.graph)))
    return walk.finish(model.graph)


def _provenance(model: ir.Model, version: int) -> dict[str, str]:
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    return {"format": "onnx", "opset": str(version), **({"producer": producer} if producer else {})}


@dataclass(frozen=True)
class _Refused:
    node: str
    operator: str
    domain: str
    version: int
    reason: str


def _refusal(refused: Sequence[_Refused], ends: Sequence[str]) -> str:
    groups: dict[tuple[str, str, int, str], list[str]] = {}
    for r in refused:
        groups.setdefault((r.operator, r.domain, r.version, r.reason), []).append(r.node)
    parts = [
        f"{operator} ({domain or 'ai.onnx'} opset {version}) at {advice.listed(nodes)}: {reason}"
        for (operator, domain, version, reason), nodes in groups.items()
    ]
    count = f"{len(refused)} node{'s' if len(refused) > 1 else ''}"
    if ends:
        parts.append(f"the model can be cut before with {advice.cut(outputs=ends)}")
    return f"{count} cannot be imported: {'; '.join(parts)}"


@dataclass
class _Visits:
    """How many nodes were visited, those of bodies as often as they were."""

    count: int = 0

    def add(self) -> None:
        """Count one more; ModelError where no real model has so many."""
        self.count += 1
        if self.count > _MOST_VISITS:
            raise ModelError(f"the loops of the model have more than {_MOST_VISITS} nodes to visit")


class Walk:
    """The state of one import: what each ONNX value has become, and the nodes so far.

    Parameters
    ----------
    opsets : mapping of str to int
        The opset version of each domain.
    names : set of str
        What the values of the model are called.
    held : int
        The elements of the constants that its file holds.
    """

    def __init__(self, opsets: Mapping[str, int], names: Set[str], held: int) -> None:
        self._opsets = opsets
        self._distinct = DistinctNames(names)
        self._values: dict[ir.Value, Operand | None] = {}  # None: an unsupported node's output
        self._steps: list[Step] = []
        self._static: set[Static] = set()  # the constants that steps take
        self._most_parts = _MOST_PARTS + held // _HELD_A_PART
        self._inputs: list[Dynamic] = []
        self._given: set[Dynamic] = set()  # inputs and outputs, whose names are settled
        self._named: set[Dynamic] = set()
        self._folder = Folder(opsets, held)
        self.visits = _Visits()
        self.refused: list[_Refused] = []
        self.labels: tuple[str, ...] = ()

    def bind_inputs(self, graph: ir.Graph, types: Mapping[str, TensorType]) -> None:
        """Let the inputs of the Graph stand for those of the model."""
        for value in graph.inputs:
            if value.name in types:
                bound = Dynamic(value.name, types[value.name], _kind(value))
                self._values[value] = bound
                self._inputs.append(bound)
                self._given.add(bound)
                self._named.add(bound)

    # ---- nodes

    def visit(self, graph: ir.Graph) -> None:
        """Import the nodes of the main graph, or of a branch that is always taken."""
        for name, value in graph.initializers.items():
            self._values[value] = Static(read_tensor(value.const_value, name), name)
        for node in graph:
            self.visits.add()
            self._visit_node(node)

    def _visit_node(self, node: ir.Node) -> None:
        operator, version = node.op_type, self._version(node)
        results: Sequence[Operand | None] = [None] * len(node.outputs)
        try:
            if any(v is not None and self._value(v) is None for v in node.inputs):
                if qualified(node) not in (*IMPORTERS, *FOLDABLE, "If") and not has_body(node):
                    raise Refusal(_advice(node))
            else:
                results = self._imported(node, version)
        except Refusal as refusal:
            name = _node_name(node)
            self.refused.append(_Refused(name, operator, node.domain, version, str(refusal)))
        except (ModelError, ValueError) as error:
            # ValueError is how an operator refuses its attributes
            if isinstance(error, ModelError) and error.node is not None:
                raise
            kind = type(error) if isinstance(error, ModelError) else ModelError
            raise kind(str(error), node=_node_name(node), operator=operator) from error
        for value, result in zip(node.outputs, results, strict=False):
            self._bind(value, result)

    def _version(self, node: ir.Node) -> int:
        return int(node.version or self._opsets.get(node.domain, 1))

    def _imported(self, node: ir.Node, version: int) -> Sequence[Operand | None]:
        inputs = [None if value is None else self._value(value) for value in node.inputs]
        if node.domain == "":
            if node.op_type in ("Shape", "Size") and inputs and inputs[0] is not None:
                return self._folder.shape_of(node, inputs[0].shape)
            if node.op_type == "If":
                return self._taken_branch(node, inputs)
            # their bodies take what they like
            if node.op_type not in ("Loop", "Scan") and not any(
                isinstance(v, Dynamic) for v in inputs
            ):
                return self._constants(node, version, inputs)
        if qualified(node) not in IMPORTERS:
            body = body_of(node, version, inputs)
            if body is None:
                raise Refusal(_advice(node))
            return self._outputs_of(body, node, inputs)
        return Call(node, version, inputs, self).outputs()

    def _outputs_of(
        self, body: ir.Graph, node: ir.Node, inputs: Sequence[Operand | None]
    ) -> Sequence[Operand | None]:
        """What ``node`` gives, computed as its ``body`` says."""
        given = {str(v.name): operand for v, operand in zip(node.inputs, inputs, strict=True) if v}
        for value in body.inputs:
            self._values[value] = given[str(value.name)]
        before = len(self.refused)
        try:
            self.visit(body)
        except ModelError as error:
            if error.node is None:
                raise
            # nobody who has the model knows the body's nodes
            made = f"{error.operator}, of which it is made: {error.message}"
            raise type(error)(made, node=_node_name(node), operator=node.op_type) from error
        refused = self.refused[before:]
        if refused:
            del self.refused[before:]
            raise Refusal(f"{refused[0].operator}, of which it is made: {refused[0].reason}")
        results = {str(value.name): self._value(value) for value in body.outputs}
        return [results.get(str(value.name)) for value in node.outputs]

    def outputs_of(self, body: ir.Graph, inputs: Sequence[Operand]) -> Sequence[Operand]:
        """What ``body`` gives of ``inputs``, computed as a part of the model."""
        self._values.update(zip(body.inputs, inputs, strict=True))
        before = len(self.refused)
        self.visit(body)
        refused = self.refused[before:]
        if refused:
            del self.refused[before:]
            raise Refusal(f"{refused[0].operator} in its body: {refused[0].reason}")
        outputs = [value for v in body.outputs if (value := self._value(v)) is not None]
        if len(outputs) < len(body.outputs):
            raise Refusal("its body takes what cannot be imported")
        return outputs

    def steps_of(
        self, body: ir.Graph, inputs: Sequence[Operand]
    ) -> tuple[Sequence[Step], Sequence[Operand]]:
        """What ``body`` computes of ``inputs``, apart from the model, and its outputs."""
        inner = Walk(self._opsets, frozenset(), 0)
        inner._folder, inner.visits = self._folder, self.visits
        inner._values = {**self._values, **dict(zip(body.inputs, inputs, strict=True))}
        # what comes from outside keeps its name
        inner._named = {v for v in inner._values.values() if isinstance(v, Dynamic)}
        inner.visit(body)
        if inner.refused:
            first = inner.refused[0]
            raise Refusal(f"{first.operator} in its body: {first.reason}")
        outputs = [value for v in body.outputs if (value := inner._value(v)) is not None]
        if len(outputs) < len(body.outputs):
            raise Refusal("its body takes what cannot be imported")
        return inner._steps, outputs

    def _constants(
        self, node: ir.Node, version: int, inputs: Sequence[Operand | None]
    ) -> Sequence[Operand]:
        """What a node gives that no input of the model reaches, whichever executor has it."""
        refusal = Refusal(_advice(node))
        if node.op_type in IMPORTERS and node.op_type not in FOLDABLE:
            try:
                results = Call(node, version, inputs, self).outputs()
                named = zip(results, node.outputs, strict=False)
                first = next((v.array for v in inputs if isinstance(v, Static)), None)
                return [
                    Static(_typed_like(first, r.array), str(v.name))
                    for r, v in named
                    if isinstance(r, Static)
                ]
            except Refusal as error:  # of a run alone: onnx may well evaluate it
                refusal = error
        if not self._folder.has(node, version):
            raise refusal
        known = [v.array if isinstance(v, Static) else None for v in inputs]
        folded = self._folder.fold(node, version, known)
        if qualified(node) == "DequantizeLinear":
            quantized, scale = inputs[:2]
            if isinstance(quantized, Static) and isinstance(scale, Static):
                folded[0].scale = steps_of(node, quantized, scale)
        return folded

    def _taken_branch(
        self, node: ir.Node, inputs: Sequence[Operand | None]
    ) -> Sequence[Operand | None]:
        if len(inputs) != 1 or not isinstance(inputs[0], Static) or inputs[0].array.size != 1:
            raise Refusal(f"a condition that a run computes is not supported{_flags(node)}")
        attribute = node.attributes.get("then_branch" if inputs[0].array.item() else "else_branch")
        if attribute is None or attribute.type != ir.AttributeType.GRAPH:
            raise ModelError("a branch is missing")
        branch = attribute.as_graph()
        self.visit(branch)
        return [self._value(value) for value in branch.outputs]

    def _value(self, value: ir.Value) -> Operand | None:
        if value not in self._values:
            raise ModelFileError(f"nothing computes the value {value.name!r}")
        return self._values[value]

    def known(self, value: ir.Value) -> Operand | None:
        """What ``value`` has become, where it was visited."""
        return self._values.get(value)

    def _bind(self, value: ir.Value, result: Operand | None) -> None:
        self._values[value] = result
        if isinstance(result, Dynamic) and result not in self._named and value.name:
            result.name = value.name
            self._named.add(result)

    def dtype(self, operand: Operand) -> DType:
        """The element type that an operand has in the Graph."""
        if isinstance(operand, Dynamic):
            return operand.type.dtype
        kind = operand.array.dtype
        if kind == np.bool_:
            return "bool"
        return "int64" if kind.kind in "iu" else "float32"

    def made_name(self, name: str) -> str:
        """``name`` for a value that the import makes, or one like it that the model has not."""
        return self._distinct.made(name)

    def evaluate(self, op: Operator, operands: Sequence[Static | None]) -> tuple[np.ndarray, ...]:
        """What ``op`` computes of values that are all known."""
        arrays = [
            None
            if v is None
            else v.array.astype(
                "float32" if isinstance(op, FloatOperator) else self.dtype(v), copy=False
            )
            for v in operands
        ]
        return self._folder.evaluate(op, arrays)

    def spend(self, elements: int) -> None:
        """Count elements of constants that the import is about to make."""
        self._folder.spend(elements)

    def add(
        self,
        node: ir.Node,
        op: Operator,
        operands: Sequence[Operand | None],
        outputs: Sequence[Dynamic],
    ) -> None:
        """Append a step of ``node`` that gives ``outputs``, whose names may change once.

        Raises
        ------
        ModelError
            There are more than a model of so many weights has.
        """
        self._static.update(v for v in operands if isinstance(v, Static))
        if len(self._steps) + len(self._static) >= self._most_parts:
            raise ModelError(f"the model becomes more than {self._most_parts} nodes and constants")
        self._steps.append(Step(_node_name(node), op, tuple(operands), tuple(outputs)))

    def values_before(self, graph: ir.Graph) -> list[str]:
        """Values computed where nothing is refused: what goes on from there takes, and outputs."""
        ends: dict[str, None] = {}
        for node in graph:
            if any(self._values.get(v) is None for v in node.outputs if v.name):
                ends.update((str(v.name), None) for v in node.inputs if v and self._is_computed(v))
        ends.update((str(v.name), None) for v in graph.outputs if self._is_computed(v))
        return list(ends)

    def _is_computed(self, value: ir.Value) -> bool:
        operand = self._values.get(value)
        return isinstance(operand, Dynamic) and operand not in self._inputs

    # ---- the Graph

    def finish(self, graph: ir.Graph) -> Graph:
        """The Graph of what was visited, each value under a name of its own."""
        outputs = [self._named_output(value) for value in graph.outputs]
        if not outputs:
            raise ModelFileError("the model has no outputs")
        names = _Names([*self._inputs, *outputs], self._distinct)
        builder = GraphBuilder(graph.name or "model")
        for value in self._inputs:
            builder.input(names.of(value), value.type)
        # of these, the scale would be that of what is selected, too
        selected = {
            v for step in self._steps if isinstance(step.op, Selecting) for v in step.operands
        }
        for step in self._steps:
            for operand in step.operands:
                if isinstance(operand, Static) and names.of(operand) not in builder.constants:
                    array = operand.clamped() if self.dtype(operand) == "float32" else operand.array
                    array = array.astype(self.dtype(operand), copy=False)
                    scales = None if operand in selected else _channel_scales(operand)
                    builder.constant(names.of(operand), array, scales)
            builder.add_several(
                step.op,
                *(ABSENT if v is None else names.of(v) for v in step.operands),
                outputs=[names.of(v) for v in step.outputs],
                node=step.name,
                dtype=step.outputs[0].type.dtype,
            )
        return builder.graph(*map(names.of, outputs), labels=self.labels)

    def _named_output(self, value: ir.Value) -> Dynamic:
        """What the model's output has become, under the output's name."""
        result, name = self._value(value), str(value.name)
        if result in self._inputs and value.is_graph_input():
            return result
        if isinstance(result, Dynamic) and result.quantized is not None:
            result = self._integers_of(result, name)
        if not isinstance(result, Dynamic) or result in self._given:
            if result is None:
                raise ModelFileError(f"nothing computes the output {name!r}")
            dtype = self.dtype(result)
            if 0 in result.shape:
                raise ModelError(f"output {name!r} is empty, of shape {list(result.shape)}")
            op = Pointwise("x") if dtype == "float32" else Reshape(result.shape)
            copy = Dynamic(name, TensorType(result.shape, dtype))
            self._steps.append(Step(name, op, (result,), (copy,)))
            result = copy
        result.name = name
        self._given.add(result)
        return result

    def _integers_of(self, x: Dynamic, name: str) -> Dynamic:
        """The numbers of quantized integers that the model gives out, as floats."""
        made = [Dynamic(self.made_name(f"{name}#{part}"), x.type) for part in ("number", "whole")]
        for op, of, y in zip(integers_of(x), (x, made[0]), made, strict=True):
            self._steps.append(Step(name, op, (of,), (y,)))
        return made[1]


class _Names:
    """A name of its own for each value: those of inputs and outputs first, as they are."""

    def __init__(self, reserved: Sequence[Dynamic], distinct: DistinctNames) -> None:
        self._distinct = distinct
        distinct_values = dict.fromkeys(reserved)  # an input may be an output
        self._names: dict[Operand, str] = {v: distinct.claim(v.name) for v in distinct_values}
        if any(v.name != name for v, name in self._names.items()):
            raise ModelFileError("two inputs or outputs of the model have the same name")

    def of(self, value: Operand) -> str:
        """The name of ``value``, made unique when it is asked for the first time."""
        if value not in self._names:
            self._names[value] = self._distinct.claim(value.name)
        return self._names[value]


def _channel_scales(constant: Static) -> Quantization | None:
    """What the floats of each channel, along the first axis, are whole multiples of."""
    scale = constant.scale
    if scale is None or scale.size not in (1, scale.shape[0]) or not np.all(scale > 0):
        return None
    scales = np.broadcast_to(scale.reshape(-1), constant.shape[:1])
    return Quantization(tuple(map(float, scales)), 0, 0)


def _kind(value: ir.Value) -> Kind:
    """What the elements of an input are in the model."""
    if value.dtype == ir.DataType.BOOL:
        return "truth values"
    return "integers" if value.dtype is not None and value.dtype.is_integer() else "floats"


def _typed_like(first: np.ndarray | None, result: np.ndarray) -> np.ndarray:
    """What the Graph's executor computed in float32, in the float type of the first operand."""
    if first is None or result.dtype != np.float32 or first.dtype.kind not in "fV":
        return result
    return result.astype(first.dtype, copy=False)


def _flags(node: ir.Node) -> str:
    """What to do where nothing but inputs of one element decides what ``node`` does."""
    pending = [value for value in node.inputs if value is not None]
    seen: dict[ir.Value, None] = {}
    while pending:
        value = pending.pop()
        if value not in seen:
            seen[value] = None
            producer = value.producer()
            pending += [] if producer is None else [v for v in producer.inputs if v is not None]
    inputs = [v for v in seen if v.is_graph_input()]
    if not inputs or not all(v.shape is not None and v.shape.is_static() for v in inputs):
        return ""
    if any(math.prod(v.shape.numpy()) != 1 for v in inputs if v.shape is not None):
        return ""
    names = sorted(str(v.name) for v in inputs)
    return f"; what is always the same can be given with {advice.give_constants(names)}"


def _node_name(node: ir.Node) -> str:
    return node.name or next((v.name for v in node.outputs if v.name), "")


def _advice(node: ir.Node) -> str:
    if node.domain in ("", *_ADVICE_OF_DOMAIN) and _QUANTIZED.match(node.op_type):
        return _ADVICE_QUANTIZED
    if node.domain == "" and node.op_type in _ADVICE:
        return _ADVICE[node.op_type]
    return _ADVICE_OF_DOMAIN.get(node.domain, _ADVICE_OTHERWISE)
