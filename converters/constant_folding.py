"""Turns an ONNX node whose inputs are all known into the arrays that it computes.

onnx's own reference evaluator computes them, or the Graph's float executor where the import has
made a Graph's operator of the node; what either would allocate is bounded beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgeinfer.converters.folded_operators import OF_NUMBERS, SAME_EVERYWHERE
from edgeinfer.converters.onnx_model import read_tensor, to_proto
from edgeinfer.converters.onnx_operators import Refusal, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import ABSENT, Graph, Node, TensorType
from edgeinfer.graph.operators import Operator, Windowed
from edgeinfer.graph.shapes import output_shapes
from edgeinfer.graph.site import Site
from edgeinfer.graph.verification import padded_elements, work
from edgeinfer.meaning.float_executor import evaluate

__all__ = ["FOLDABLE", "RANDOM", "Folder"]

# elements of all folded constants together: so many, or so many times those that the file holds
_BUDGET, _TIMES_HELD = 2**26, 16

# as how many elements one counts whose function is computed in float64, or in a loop of Python's
_FUNCTION, _LOOP = 8, 128

_UNARY = """Abs Ceil Cos Erf Exp Floor IsInf IsNaN Log Neg Not Reciprocal Round Sigmoid Sign Sin
    Sqrt Tanh Relu Identity Cast Clip Softplus BitwiseNot"""
_BINARY = """Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mean Mod Mul Or Pow
    Sub Sum Where Xor BitShift BitwiseAnd BitwiseOr BitwiseXor"""
_OF_INPUT_SIZE = """ArgMax ArgMin Compress Concat Constant CumSum DequantizeLinear EyeLike Flatten
    GatherElements MeanVarianceNormalization NonZero ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum Reshape ScatterElements ScatterND Shape Size Slice Split Squeeze Transpose
    Trilu Unique Unsqueeze"""
_OTHERS = "CastLike ConstantOfShape Expand Gather GatherND MatMul OneHot Pad Range Tile"

RANDOM = (
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
"""Operators that give something else each time."""

FOLDABLE = frozenset(f"{_UNARY} {_BINARY} {_OF_INPUT_SIZE} {_OTHERS}".split())
"""Operators whose results are bounded without asking onnx for their shapes."""

_ELEMENTWISE = frozenset(f"{_UNARY} {_BINARY}".split())

# the evaluator has them from this opset on only, and they mean what they did before
_SINCE = {"DequantizeLinear": 19}

# what the evaluator computes element by element, or index by index
_LOOPS = frozenset(("ScatterElements", "ScatterND"))


class Folder:
    """Folds nodes within one budget of elements.

    Parameters
    ----------
    opsets : mapping of str to int
        The opset versions of the model.
    held : int
        The elements of the constants that the model's file holds.
    """

    def __init__(self, opsets: Mapping[str, int], held: int) -> None:
        self._opsets = opsets
        self._most = self._left = max(_BUDGET, _TIMES_HELD * held)

    def fold(
        self, node: ir.Node, version: int, arrays: Sequence[np.ndarray | None]
    ) -> list[Static]:
        """The values of the node's outputs.

        Raises
        ------
        Refusal
            Nothing bounds the result, or it is beyond what a slow evaluator should compute.
        ModelError
            The node cannot be evaluated, or its result is beyond any real model's constants.
        """
        attribute = node.attributes.get("value")
        if node.op_type == "Constant" and attribute is not None:
            name = str(node.outputs[0].name)
            return [Static(read_tensor(attribute.value, name), name)]
        if node.op_type in FOLDABLE:
            self.spend(_result_size(node, arrays) * _cost(node, arrays))
        else:
            self.spend(_inferred_size(node, version, arrays))
        if node.op_type == "GatherElements":
            return [Static(_gathered(node, arrays), str(node.outputs[0].name))]
        version = max(version, _SINCE.get(node.op_type, 1))
        try:
            proto = to_proto(node)
            function = onnx.helper.make_function(
                "",
                "folded",
                [name for name in dict.fromkeys(proto.input) if name],
                [name for name in proto.output if name],
                [proto],
                [onnx.helper.make_opsetid("", version)],
            )
            feeds = {k: v for k, v in zip(proto.input, arrays, strict=True) if v is not None}
            results = _evaluated(function, feeds)
        except Exception as error:  # onnx_ir and the evaluator raise whatever Python raises
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"its constant result cannot be computed: {reason}") from error
        by_name = dict(zip(function.output, results, strict=True))
        return [Static(np.asarray(by_name.get(name, 0)), name) for name in proto.output]

    def evaluate(self, op: Operator, arrays: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
        """The values of a Graph's operator on floats, indices (int64) or booleans.

        None stands for an optional input that is left out.

        Raises
        ------
        ModelError
            The arrays do not fit it, or it would take more than any real model's constants.
        """
        names = tuple(ABSENT if a is None else f"x{i}" for i, a in enumerate(arrays))
        values = {name: a for name, a in zip(names, arrays, strict=True) if a is not None}
        types = {
            name: TensorType(a.shape, a.dtype.name)  # type: ignore[arg-type]
            for name, a in values.items()
        }
        shapes = output_shapes(op, *(None if a is None else a.shape for a in arrays))
        given = {f"y{i}": TensorType(shape, types["x0"].dtype) for i, shape in enumerate(shapes)}
        node = Node("constant", op, names, tuple(given))
        graph = Graph("constant", (node,), {**types, **given}, (), node.outputs, values)
        site = Site(node, graph)
        padded = padded_elements(op, site) if isinstance(op, Windowed) else 0
        self.spend(max(work(site), padded))
        with np.errstate(all="ignore"):
            results = evaluate(op, *arrays)
        return tuple(map(np.asarray, results))

    @staticmethod
    def has(node: ir.Node, version: int) -> bool:
        """Whether onnx's evaluator computes the operator, and always the same."""
        if node.op_type in FOLDABLE:
            return True
        graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
        return (
            node.op_type not in RANDOM
            and onnx.defs.has(node.op_type, version)
            and not any(a.type in graphs for a in node.attributes.values())
        )

    def shape_of(self, node: ir.Node, shape: tuple[int, ...]) -> list[Static]:
        """The result of Shape or Size of a value of ``shape``."""
        name = str(node.outputs[0].name)
        if node.op_type == "Size":
            return [Static(np.array(math.prod(shape), np.int64), name)]
        bounds: list[int | None] = []
        for key in ("start", "end"):
            attribute = node.attributes.get(key)
            if attribute is not None and attribute.type != ir.AttributeType.INT:
                raise ModelError(f"attribute {key!r} must be INT, not {attribute.type.name}")
            bounds.append(None if attribute is None else int(attribute.value))
        start, end = bounds
        return [Static(np.array(shape[start:end], np.int64), name)]

    def spend(self, elements: int) -> None:
        """Count elements that are about to be made; ModelError where no real model has so many."""
        self._left -= elements
        if self._left < 0:
            raise ModelError(f"the constants of the model have more than {self._most} elements")


def _evaluated(
    function: onnx.FunctionProto, feeds: Mapping[str, np.ndarray]
) -> Sequence[np.ndarray]:
    """What onnx's evaluator gives for the function's outputs."""
    with np.errstate(all="ignore"):
        try:
            return _evaluator(function).run(None, dict(feeds), attributes={})
        except Exception:
            # floats that were cast like a run's are of another width than the model's own
            widths = {a.dtype for a in feeds.values() if a.dtype.kind in "fV"}
            if len(widths) < 2:
                raise
            wide = {
                name: a.astype(np.float32) if a.dtype in widths else a for name, a in feeds.items()
            }
            return _evaluator(function).run(None, wide, attributes={})


def _evaluator(function: onnx.FunctionProto) -> ReferenceEvaluator:
    return ReferenceEvaluator(function, new_ops=SAME_EVERYWHERE)


def _gathered(node: ir.Node, arrays: Sequence[np.ndarray | None]) -> np.ndarray:
    """The result of GatherElements, of which onnx's evaluator takes few shapes only."""
    data, indices = arrays
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    try:
        assert data is not None and indices is not None
        axis = range(data.ndim)[axis]
        kept = tuple(slice(None if a == axis else n) for a, n in enumerate(indices.shape))
        return np.take_along_axis(data[kept], indices.astype(np.int64), axis)
    except (ValueError, IndexError, AssertionError) as error:
        raise ModelError(f"its inputs do not fit the operator: {error}") from error


def _inferred_size(node: ir.Node, version: int, arrays: Sequence[np.ndarray | None]) -> int:
    """How many elements the node's outputs have, as onnx infers their shapes."""
    proto = to_proto(node)
    try:
        data = {
            name: onnx.numpy_helper.from_array(array, name)
            for name, array in zip(proto.input, arrays, strict=True)
            if array is not None
        }
        types = {
            name: onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            for name, tensor in data.items()
        }
        inferred = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, version),
            proto,
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid("", version)],
        )
    except Exception as error:  # onnx raises whatever Python and its C++ raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"its inputs do not fit the operator: {reason}") from error
    total = sum(tensor.size for tensor in (a for a in arrays if a is not None))
    for name in filter(None, proto.output):
        kind = inferred.get(name, onnx.TypeProto()).tensor_type
        extents = [d.dim_value for d in kind.shape.dim if d.HasField("dim_value")]
        if not kind.HasField("shape") or len(extents) != len(kind.shape.dim):
            raise Refusal("the size of its constant result cannot be told beforehand")
        total += math.prod(extents)
    if node.op_type == "Einsum":
        return max(total, _contracted(node, arrays))
    return total * _LOOP


def _cost(node: ir.Node, arrays: Sequence[np.ndarray | None]) -> int:
    """As how many elements each of an operator's counts."""
    if node.op_type in _LOOPS:
        return _LOOP
    if node.op_type in OF_NUMBERS and not any(
        a is not None and a.dtype.kind in "iu" for a in arrays
    ):
        return _FUNCTION
    return 1


def _contracted(node: ir.Node, arrays: Sequence[np.ndarray | None]) -> int:
    """How many products an Einsum adds up: one for each choice of all its indices."""
    terms = node.attributes["equation"].as_string().partition("->")[0].replace(" ", "").split(",")
    extents: dict[str, int] = {}
    for term, array in zip(terms, arrays, strict=False):
        if array is not None:
            # an ellipsis stands for any axes; at worst they differ between the operands
            axes = term.replace("...", "." * (array.ndim - len(term) + 3))
            for letter, n in zip(axes, array.shape, strict=False):
                extents[letter] = n * extents.get(letter, 1) if letter == "." else n
    return math.prod(extents.values())


def _result_size(node: ir.Node, arrays: Sequence[np.ndarray | None]) -> int:
    """At most how many elements the node's outputs have."""
    known = [a for a in arrays if a is not None]
    total = sum(a.size for a in known)
    if any(a.dtype.kind in "OSU" for a in known):
        raise ModelError("strings cannot be computed with")
    if node.op_type in ("Div", "Mod") and known:
        divisor = known[-1]
        if divisor.dtype.kind in "iu" and not divisor.all():
            raise ModelError("divides integers by 0")
    try:
        if node.op_type in _ELEMENTWISE:
            return math.prod(np.broadcast_shapes(*(a.shape for a in known)))
        match node.op_type:
            case "CastLike":
                return known[0].size
            case "ConstantOfShape":
                return math.prod(max(0, int(n)) for n in known[0].reshape(-1))
            case "Expand":
                return math.prod(np.broadcast_shapes(known[0].shape, tuple(map(int, known[1]))))
            case "Tile":
                return known[0].size * math.prod(max(0, int(n)) for n in known[1].reshape(-1))
            case "Range":
                start, limit, delta = (float(a.item()) for a in known)
                return max(0, math.ceil((limit - start) / delta))
            case "Gather":
                axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
                return int(known[1].size * known[0].size // max(1, known[0].shape[axis]))
            case "GatherND":
                batch = node.attributes.get("batch_dims")
                first = known[1].shape[-1] + (0 if batch is None else batch.as_int())
                return math.prod(known[1].shape[:-1]) * math.prod(known[0].shape[max(0, first) :])
            case "OneHot":
                return known[0].size * int(known[1].reshape(-1)[0])
            case "MatMul":
                return max(1, known[0].size) * (known[1].shape[-1] if known[1].ndim else 1)
            case "Pad":
                pads = node.attributes.get("pads")
                values = known[1].reshape(-1) if pads is None else pads.as_ints()
                added = [int(v) for v in values]
                if len(added) != 2 * known[0].ndim:  # only some axes, named by another input
                    return math.prod(n + sum(map(abs, added)) for n in known[0].shape)
                both = zip(added, added[known[0].ndim :], strict=False)
                grown = zip(known[0].shape, both, strict=True)
                return math.prod(max(0, n + before + after) for n, (before, after) in grown)
    except (ValueError, IndexError, OverflowError, ZeroDivisionError, TypeError) as error:
        raise ModelError(f"its inputs do not fit the operator: {error}") from error
    return total
