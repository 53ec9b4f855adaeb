"""Turns normalizations that are spelled out, as means, squares and roots, into Normalizations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgeinfer.arithmetic import elementary
from edgeinfer.arithmetic.fixedpoint import Measure
from edgeinfer.arithmetic.pointwise import Expression, substitute
from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["recognize_normalizations"]

_ADD, _SUB, _MUL, _DIV = ops.Add(), ops.Sub(), ops.Mul(), ops.Div()
# from a measure to its root; exporters take half a dozen
_MOST_STEPS = 32
_SQUARES: tuple[Expression, ...] = (("pow", "x", 2.0), ("mul", "x", "x"))


@looks_for(ops.ReduceMean | ops.ReduceSum | ops.ReduceL2)
def recognize_normalizations(graph: Graph) -> Graph:
    """d / sqrt(measure + epsilon) and d * (1 / sqrt(measure + epsilon)) are a Normalization.

    1. d is x - mean(x), and the measure the mean of d * d, or mean(x * x) - mean(x) * mean(x).
    2. d is x, and the measure the mean or sum of x * x, whose root is ReduceL2, or the sum of the
       magnitudes of x, squared.
    3. x * r + (bias - mean(x) * r), with r = scale / sqrt(measure + epsilon) of a variance, as
       TensorFlow spells it.

    Beside these, sqrt(sum(x * x)) is ReduceL2.

    Epsilon may be added, or the least that the measure is taken for. The root may be expanded to
    the shape of x. What else takes a part of it keeps that.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        found = _divided(rewriter, node) or _shifted(rewriter, node)
        length = _length(rewriter, node)
        if length is not None:
            rewriter.write(node, length[0], (length[1],), node.outputs[0])
        elif found is None:
            rewriter.copy(node)
        else:
            output = node.outputs[0]
            constants = [
                rewriter.constant(f"{output}#{part}", array.astype(np.float32))
                for part, array in (("scale", found.scale), ("bias", found.bias))
                if array is not None
            ]
            rewriter.write(node, found.op, (found.x, *constants), output)
    return rewriter.finish()


@dataclass(frozen=True)
class _Found:
    """A Normalization of x."""

    op: ops.Normalization
    x: str
    scale: np.ndarray
    bias: np.ndarray | None = None


@dataclass(frozen=True)
class _Power:
    """``(total * measure(x) + added) ** power``, or with the greater of the two for their sum."""

    measure: Measure
    x: str
    axes: tuple[int, ...]
    total: float
    power: float = 1.0
    added: float = 0.0
    is_least: bool = False


def _length(rewriter: Rewriter, node: Node) -> tuple[ops.ReduceL2, str] | None:
    """The root of a sum of squares, and what they are the squares of."""
    before = rewriter.producer(rewriter.current(node.inputs[0])) if node.inputs else None
    if node.op != ops.Pointwise(("sqrt", "x")) or before is None:
        return None
    if not isinstance(before.op, ops.ReduceSum):
        return None
    x = _squared(rewriter, rewriter.current(before.inputs[0]))
    return None if x is None else (ops.ReduceL2(before.op.axes, before.op.keepdims), x)


def _divided(rewriter: Rewriter, node: Node) -> _Found | None:
    if node.op not in (_MUL, _DIV) or len(node.operands) != 2:
        return None
    a, b = map(rewriter.current, node.inputs)
    shape = rewriter.shape(node.outputs[0])
    wanted = -0.5 if node.op == _MUL else 0.5
    for d, root in ((a, b), (b, a)) if node.op == _MUL else ((a, b),):
        power = _power(rewriter, root)
        if power is None or power.power != wanted or rewriter.shape(power.x) != shape:
            continue
        if d == power.x if power.measure != "variance" else _is_centered(rewriter, d, power):
            return _found(power, np.ones(1))
    return None


def _found(power: _Power, scale: np.ndarray, bias: np.ndarray | None = None) -> _Found | None:
    # beyond what a float32 holds the pieces overflow, and stay
    largest = float(np.finfo(np.float32).max)
    if not (1 / largest < power.total < largest and power.added / power.total < largest):
        return None
    op = ops.Normalization(
        axes=power.axes,
        epsilon=power.added / power.total,
        measure=power.measure,
        is_least=power.is_least,
    )
    return _Found(op, power.x, scale / math.sqrt(power.total), bias)


def _is_centered(rewriter: Rewriter, d: str, power: _Power) -> bool:
    return _mean_taken_away(rewriter, d) == (power.x, power.axes)


# ---- x * r + (bias - mean * r) -----------------------------------------------------------------


def _shifted(rewriter: Rewriter, node: Node) -> _Found | None:
    if node.op not in (_ADD, _SUB):
        return None
    a, b = map(rewriter.current, node.inputs)
    if node.op == _SUB:
        return _scaled_apart(rewriter, a, b, None)
    for product, rest in ((a, b), (b, a)):
        for taken, bias, is_negative in _differences(rewriter, rest):
            found = _scaled_apart(rewriter, product, taken, bias, is_negative=is_negative)
            if found is not None:
                return found
    return None


def _differences(rewriter: Rewriter, rest: str) -> Iterator[tuple[str, np.ndarray | None, bool]]:
    """The ways to see ``rest`` as a bias less something, or plus that with another sign."""
    yield rest, None, True
    node = rewriter.producer(rest)
    if node is None or node.op not in (_ADD, _SUB):
        return
    a, b = map(rewriter.current, node.inputs)
    if node.op == _SUB and a in rewriter.constants:
        yield b, rewriter.constants[a], False
    elif node.op == _ADD and b in rewriter.constants:
        yield a, rewriter.constants[b], True


def _scaled_apart(
    rewriter: Rewriter, a: str, b: str, bias: np.ndarray | None, *, is_negative: bool = False
) -> _Found | None:
    """``a`` is x r, and ``b`` is mean(x) r, or that of the negative mean."""
    for x, r in _factors(rewriter, a):
        for mean, other in _factors(rewriter, b):
            if r != other:
                continue
            scale, root = np.ones(1), r
            for factor, constant in _factors(rewriter, r):
                if constant in rewriter.constants:
                    scale, root = rewriter.constants[constant].astype(np.float64), factor
            power = _power(rewriter, root)
            if (
                power is not None
                and (power.measure, power.x, power.power) == ("variance", x, -0.5)
                and _mean(rewriter, mean, is_negative=is_negative) == (x, power.axes)
            ):
                return _found(power, scale, bias)
    return None


def _factors(rewriter: Rewriter, product: str) -> Iterator[tuple[str, str]]:
    """The two factors of a product, in both orders."""
    node = rewriter.producer(product)
    if node is not None and node.op == _MUL:
        a, b = map(rewriter.current, node.inputs)
        yield a, b
        yield b, a


# ---- roots of measures -------------------------------------------------------------------------


def _power(rewriter: Rewriter, value: str) -> _Power | None:
    """What ``value`` is a power of: a measure with its epsilon."""
    node, expression = _origin(rewriter, value)
    power = None if node is None else _measure(rewriter, node)
    if power is None or not _is_of_groups(rewriter, value, power):
        return None
    return _of_expression(expression, power)


def _origin(rewriter: Rewriter, value: str) -> tuple[Node | None, Expression]:
    """The node of which ``value`` is a function, but for its shape, and that function.

    None where it is more than so many steps away.
    """
    expression: Expression = "x"
    for _ in range(_MOST_STEPS):
        node = rewriter.producer(rewriter.current(value))
        if node is None:
            break
        if isinstance(node.op, ops.Pointwise):
            # a square is a part of what is averaged, not of what becomes of the average
            if node.op.expression in _SQUARES:
                return node, expression
            expression = substitute(expression, node.op.expression)
        elif not isinstance(node.op, ops.Expand | ops.Reshape):
            return node, expression
        value = node.inputs[0]
    return None, expression


def _is_of_groups(rewriter: Rewriter, value: str, power: _Power) -> bool:
    """Whether the elements of ``value``, broadcast to x, lie where their groups do."""
    shape = rewriter.shape(power.x)
    expected = tuple(1 if axis in power.axes else n for axis, n in enumerate(shape))
    while (node := rewriter.producer(rewriter.current(value))) is not None:
        if rewriter.shape(value) == expected:
            return True
        if not isinstance(node.op, ops.Expand | ops.Pointwise):
            return False
        value = rewriter.current(node.inputs[0])
    return False


def _of_expression(e: Expression, power: _Power) -> _Power | None:
    """A function of what ``power`` describes."""
    if e == "x":
        return power
    if not isinstance(e, tuple):
        return None
    match e:
        case ("sqrt", inner):
            return _raised(_of_expression(inner, power), 0.5)
        case ("reciprocal", inner) | ("div", 1.0, inner):
            return _raised(_of_expression(inner, power), -1.0)
        case ("pow", inner, float(exponent)):
            return _raised(_of_expression(inner, power), exponent)
        case ("add", inner, float(added)) | ("add", float(added), inner):
            found = _of_expression(inner, power)
            if found is not None and (found.power, found.added) == (1.0, 0.0) and added >= 0:
                return replace(found, added=added)
        case ("max", inner, float(least)) | ("max", float(least), inner):
            return _at_least(_of_expression(inner, power), least)
        case ("clip", inner, float(least), math.inf):
            return _at_least(_of_expression(inner, power), least)
        case ("mul", inner, float(factor)) | ("mul", float(factor), inner):
            return _times(_of_expression(inner, power), factor)
        case ("div", inner, float(divisor)) if divisor:
            return _times(_of_expression(inner, power), 1 / divisor)
        case ("relu", inner):
            return _at_least(_of_expression(inner, power), 0.0)
    return None


def _raised(power: _Power | None, exponent: float) -> _Power | None:
    return None if power is None else replace(power, power=power.power * exponent)


def _raise(base: float, exponent: float) -> float:
    """``base ** exponent``, infinite where that is too large."""
    with np.errstate(all="ignore"):
        return float(elementary.power(base, exponent))


def _times(power: _Power | None, factor: float) -> _Power | None:
    if power is None or not power.power or factor <= 0:
        return None
    inner = _raise(factor, 1 / power.power)
    return replace(power, total=power.total * inner, added=power.added * inner)


def _at_least(power: _Power | None, least: float) -> _Power | None:
    if power is None or power.power <= 0 or power.added or least < 0:
        return None
    return replace(power, added=_raise(least, 1 / power.power), is_least=least > 0)


def _measure(rewriter: Rewriter, node: Node) -> _Power | None:
    """The measure that ``node`` gives, or its sum, or the root of that."""
    if node.op == _SUB:
        return _difference_of_squares(rewriter, node)
    if not isinstance(node.op, ops.ReduceMean | ops.ReduceSum | ops.ReduceL2):
        return None
    first = rewriter.current(node.inputs[0])
    axes = tuple(sorted(node.op.axes))
    count = float(math.prod(rewriter.shape(first)[axis] for axis in axes))
    if isinstance(node.op, ops.ReduceL2):
        squared = _but_for_signs(rewriter, first)
        return _centered(rewriter, _Power("squares", squared, axes, count, 0.5))
    total = count if isinstance(node.op, ops.ReduceSum) else 1.0
    of_squares = _squared(rewriter, first)
    if of_squares is not None:
        return _centered(rewriter, _Power("squares", of_squares, axes, total))
    before = rewriter.producer(first)
    if before is not None and before.op == ops.Pointwise(("abs", "x")):
        return _Power("magnitudes", rewriter.current(before.inputs[0]), axes, total**2, 0.5)
    return None


def _centered(rewriter: Rewriter, power: _Power) -> _Power:
    """The mean of squares of x - mean(x) is the variance of x."""
    taken = _mean_taken_away(rewriter, power.x)
    if taken is None or taken[1] != power.axes:
        return power
    return replace(power, measure="variance", x=taken[0])


def _difference_of_squares(rewriter: Rewriter, node: Node) -> _Power | None:
    """mean(x * x) - mean(x) * mean(x)."""
    a, b = map(rewriter.current, node.inputs)
    average = rewriter.producer(a)
    mean = _squared(rewriter, b)
    if average is None or not isinstance(average.op, ops.ReduceMean) or mean is None:
        return None
    power = _measure(rewriter, average)
    if (
        power is None
        or power.measure != "squares"
        or _mean(rewriter, mean)
        != (
            power.x,
            power.axes,
        )
    ):
        return None
    return replace(power, measure="variance")


def _squared(rewriter: Rewriter, value: str) -> str | None:
    """What ``value`` is the square of."""
    node = rewriter.producer(value)
    if node is None:
        return None
    inputs = {rewriter.current(name) for name in node.inputs}
    is_square = isinstance(node.op, ops.Pointwise) and node.op.expression in _SQUARES
    if is_square or (node.op == _MUL and len(inputs) == 1):
        return _but_for_signs(rewriter, inputs.pop())
    return None


def _but_for_signs(rewriter: Rewriter, value: str) -> str:
    """What has the same squares as ``value``."""
    node = rewriter.producer(value)
    if node is not None and node.op == ops.Pointwise(("abs", "x")):
        return rewriter.current(node.inputs[0])
    return value


def _mean(
    rewriter: Rewriter, value: str, *, is_negative: bool = False
) -> tuple[str, tuple[int, ...]] | None:
    """What ``value`` is the mean of, or the negative mean, and over which axes."""
    node = rewriter.producer(value)
    if is_negative:
        if node is None or node.op != ops.Pointwise(("neg", "x")):
            return None
        node = rewriter.producer(rewriter.current(node.inputs[0]))
    if node is None or not isinstance(node.op, ops.ReduceMean) or not node.op.keepdims:
        return None
    return rewriter.current(node.inputs[0]), tuple(sorted(node.op.axes))


def _mean_taken_away(rewriter: Rewriter, value: str) -> tuple[str, tuple[int, ...]] | None:
    """What ``value`` is without its mean, and over which axes that is."""
    node = rewriter.producer(value)
    if node is None or node.op != _SUB:
        return None
    x, mean = map(rewriter.current, node.inputs)
    found = _mean(rewriter, mean)
    return found if found is not None and found[0] == x else None
