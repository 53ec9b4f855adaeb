"""Turns the operators of ai.onnx.ml around networks and linear models into layers and functions.

Labels that are words become their places: what a Graph gives out are numbers, and it keeps the
words as names of its classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.elementwise import combine
from edgeinfer.converters.onnx_operators.indexing import taken
from edgeinfer.converters.onnx_operators.reducing import normalized
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__ = ["labelled", "labels_of", "of_two", "transformed"]

_NORMS = {"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}


# ---- preparation -----------------------------------------------------------------------------


@importer("ai.onnx.ml.Scaler", makes=(ops.Mul, ops.Add, ops.Pointwise), integers=True)
def _scaler(call: Call) -> Operand:
    x = call.floats_of(call.operand(0), "floats")
    offset, scale = (_by_column(call, x, name, d) for name, d in (("offset", 0.0), ("scale", 1.0)))
    factor = call.constant(scale.astype(np.float32), "scale")
    shift = call.constant((-offset * scale).astype(np.float32), "shift")
    return combine(call, "Add", combine(call, "Mul", x, factor, "floats"), shift)


def _by_column(call: Call, x: Operand, name: str, default: float) -> np.ndarray:
    """An attribute with a number a column of ``x``, or one for all."""
    values = np.asarray(call.reals(name) or (default,), np.float64)
    columns = x.shape[-1] if x.shape else 1
    if values.size not in (1, columns) or not np.isfinite(values).all():
        raise ModelError(f"its {name} must be {columns} numbers, or one")
    return values


@importer(
    "ai.onnx.ml.Normalizer",
    makes=(ops.Pointwise, ops.ReduceMax, ops.ReduceSum, ops.Maximum, ops.Div),
)
def _normalizer(call: Call) -> Operand:
    x, norm = call.operand(0), call.text("norm", "MAX")
    if norm not in _NORMS or not x.shape:
        raise ModelError(f"norm {norm!r} of shape {list(x.shape)} is not known")
    # the largest magnitude, as of scikit-learn; onnxruntime's is the largest number
    return normalized(call, x, len(x.shape) - 1, _NORMS[norm])


@importer("ai.onnx.ml.Binarizer", makes=(ops.Pointwise,))
def _binarizer(call: Call) -> Operand:
    return call.pointwise(("greater", "x", call.real("threshold", 0.0)), call.operand(0))


@importer(
    "ai.onnx.ml.Imputer",
    makes=(ops.Pointwise, ops.Where),
    ignores=("replaced_value_int64", "imputed_value_int64s"),
)
def _imputer(call: Call) -> Operand:
    x = call.operand(0)
    replaced = call.reals("imputed_value_floats")
    if replaced is None:
        raise Refusal("only floats are imputed")
    missing = call.any_real("replaced_value_float", 0.0)
    is_missing: Expression = ("is_nan", "x") if math.isnan(missing) else ("equal", "x", missing)
    values = np.asarray(replaced, np.float32)
    if values.size not in (1, x.shape[-1] if x.shape else 1):
        raise ModelError(f"its imputed values must be {x.shape[-1:]} numbers, or one")
    condition = call.pointwise(is_missing, x, "truth values")
    return call.emit(ops.Where(), condition, call.constant(values, "imputed"), x)


@importer("ai.onnx.ml.FeatureVectorizer", makes=(ops.Concat,), ignores=("inputdimensions",))
def _feature_vectorizer(call: Call) -> Operand:
    parts = [call.reshape(v, (v.shape[0], -1)) if len(v.shape) == 1 else v for v in call.operands()]
    return call.emit(ops.Concat(1), *call.alike(parts)) if len(parts) > 1 else parts[0]


# ---- linear models ---------------------------------------------------------------------------


@importer("ai.onnx.ml.LinearRegressor", makes=(ops.Dense, ops.Pointwise, ops.Softmax))
def _linear_regressor(call: Call) -> Operand:
    scores = _linear(call, call.integer("targets", 1))
    return transformed(call, scores, call.text("post_transform", "NONE"))


@importer(
    "ai.onnx.ml.LinearClassifier",
    makes=(ops.Dense, ops.Pointwise, ops.Softmax, ops.ArgMax, ops.Gather, ops.Concat),
    ignores=("multi_class",),
)
def _linear_classifier(call: Call) -> Sequence[Operand]:
    labels = labels_of(call, "classlabels_ints", "classlabels_strings")
    columns = call.operand(0).shape[-1]
    scores = _linear(call, len(call.reals("coefficients") or ()) // max(1, columns))
    if len(labels) == 2 and scores.shape[-1] == 1:
        return of_two(call, scores, labels, ("sub", 1.0, "x"))
    if len(labels) != scores.shape[-1]:
        raise ModelError(f"{scores.shape[-1]} scores do not fit {len(labels)} labels")
    places = call.emit(ops.ArgMax(1, keepdims=False), scores)
    if isinstance(places, Dynamic):
        places.bounds = (0, len(labels) - 1)
    function = call.text("post_transform", "NONE")
    return [labelled(call, places, labels), transformed(call, scores, function)]


def of_two(
    call: Call,
    score: Operand,
    labels: Sequence[int] | Sequence[str],
    first: Expression,
    *,
    above_half: bool = False,
) -> Sequence[Operand]:
    """The label and the scores of two classes, of which ``score`` [N,1] is the second's.

    The second is chosen where its score is above 0, or ``above_half``; ``first`` makes the other's
    of it where no post_transform makes both.
    """
    rest: Expression = ("sub", 1.0, "x") if above_half else ("neg", "x")
    ordered = call.emit(ops.Concat(1), call.pointwise(rest, score), score)
    places = call.emit(ops.ArgMax(1, keepdims=False), ordered)
    if isinstance(places, Dynamic):
        places.bounds = (0, 1)
    function = call.text("post_transform", "NONE")
    if function not in ("NONE", "LOGISTIC"):
        raise Refusal(f"post_transform {function!r} of one score is not supported")
    if function == "LOGISTIC":
        pair = [call.pointwise(("sigmoid", e), score) for e in (("neg", "x"), "x")]
    else:
        pair = [call.pointwise(first, score), score]
    return [labelled(call, places, labels), call.emit(ops.Concat(1), *pair)]


def _linear(call: Call, rows: int) -> Operand:
    x = call.operand(0)
    if len(x.shape) != 2:
        raise ModelError(f"takes rows of features, not shape {list(x.shape)}")
    coefficients = np.asarray(call.reals("coefficients") or (), np.float32)
    if rows < 1 or coefficients.size != rows * x.shape[1]:
        raise ModelError(f"{coefficients.size} coefficients do not fit {x.shape[1]} features")
    weights = call.constant(coefficients.reshape(rows, x.shape[1]), "coefficients")
    intercepts = np.asarray(call.reals("intercepts") or (0.0,) * rows, np.float32)
    if intercepts.size != rows:
        raise ModelError(f"{intercepts.size} intercepts do not fit {rows} rows")
    return call.emit(ops.Dense(), x, weights, call.constant(intercepts, "intercepts"))


def transformed(call: Call, scores: Operand, function: str) -> Operand:
    """``scores`` [N,C] as a post_transform has them."""
    match function:
        case "NONE":
            return scores
        case "LOGISTIC":
            return call.pointwise(("sigmoid", "x"), scores)
        case "SOFTMAX":
            return call.emit(ops.Softmax(1), scores)
    raise Refusal(f"post_transform {function!r} is not supported")


# ---- classes ---------------------------------------------------------------------------------


def labels_of(call: Call, integers: str, words: str) -> list[int] | list[str]:
    """The labels that one of two attributes holds."""
    numbers, names = call.integers(integers), call.texts(words)
    if (numbers is None) == (names is None):
        raise ModelError(f"either {integers} or {words} must be there")
    return list(numbers) if numbers is not None else list(names or ())


def labelled(call: Call, places: Operand, labels: Sequence[int] | Sequence[str]) -> Operand:
    """The labels at ``places``: themselves where they are numbers, and else the places."""
    if labels and isinstance(labels[0], str):
        call.name_classes([str(label) for label in labels])
        return places
    numbers = np.asarray(labels, np.int64)
    if (numbers == np.arange(numbers.size)).all():
        return places
    return call.emit(ops.Gather(0), call.constant(numbers, "labels"), places)


@importer("ai.onnx.ml.ArrayFeatureExtractor", makes=(ops.Gather, ops.Slice), integers=True)
def _array_feature_extractor(call: Call) -> Operand:
    data, places = call.operand(0), call.operand(1)
    count = math.prod(places.shape)
    if isinstance(places, Static):
        shape = (1, count) if len(data.shape) == 1 else (*data.shape[:-1], count)
        found = taken(call, data, places.array.reshape(-1), len(data.shape) - 1)
        return call.reshape(found, shape)
    if not isinstance(data, Static) or data.array.size != max(data.shape, default=0):
        raise Refusal("features at places that a run computes are not supported")
    if data.array.dtype.kind == "f":
        table = call.constant(data.finite().reshape(-1), "features")
        found = call.emit(ops.Gather(0), table, places)
    else:
        labels = [v.decode() if isinstance(v, bytes) else v for v in data.array.ravel().tolist()]
        found = labelled(call, places, labels)
    # of one sample too, so that more of them are no other model
    return call.emit(ops.Reshape((1, count)), found)


@importer(
    "ai.onnx.ml.LabelEncoder",
    makes=(ops.Gather,),
    integers=True,
    ignores=("default_int64", "default_string", "default_float"),
)
def _label_encoder(call: Call) -> Operand:
    keys = call.integers("keys_int64s")
    if keys is None or list(keys) != list(range(len(keys))):
        raise Refusal("only the numbers 0, 1, 2 and so on are encoded")
    if call.has("values_floats"):
        table = call.constant(np.asarray(call.reals("values_floats"), np.float32), "values")
        return call.emit(ops.Gather(0), table, call.operand(0))
    return labelled(call, call.operand(0), labels_of(call, "values_int64s", "values_strings"))


@importer("ai.onnx.ml.ZipMap")
def _zip_map(call: Call) -> Operand:
    """Scores by label: the scores, whose classes the Graph names."""
    labels = labels_of(call, "classlabels_int64s", "classlabels_strings")
    call.name_classes([str(label) for label in labels])
    return call.operand(0)
