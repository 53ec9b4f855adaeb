"""Turns ONNX's Einsum into products of matrices, elementwise products, diagonals and sums."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.elementwise import combine
from edgeinfer.converters.onnx_operators.linear import product
from edgeinfer.converters.onnx_operators.registry import importer
from edgeinfer.converters.onnx_operators.values import Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []


class _Term:
    """An operand with a letter an axis."""

    def __init__(self, call: Call, value: Operand, letters: str) -> None:
        self.call, self.value, self.letters = call, value, letters

    def extent(self, letter: str) -> int:
        """How many elements the axis has; 1 where the term has none of that letter."""
        return self.value.shape[self.letters.index(letter)] if letter in self.letters else 1

    def without_repeats(self) -> _Term:
        """The diagonals of axes that have the same letter."""
        term = self
        while repeated := [c for c in term.letters if term.letters.count(c) > 1]:
            term = term._diagonal(repeated[0])
        return term

    def _diagonal(self, letter: str) -> _Term:
        first = self.letters.index(letter)
        second = self.letters.index(letter, first + 1)
        others = [a for a in range(len(self.letters)) if a not in (first, second)]
        turned = self.call.transpose(self.value, [*others, first, second])
        *outer, n, m = turned.shape
        if n != m:
            raise ModelError(f"the axes {letter!r} have {n} and {m} elements")
        flat = self.call.reshape(turned, (*outer, n * n))
        rank = len(outer)
        steps = (*(1,) * rank, n + 1 if n > 1 else 1)
        window = ops.Slice((0,) * (rank + 1), (*outer, n), steps)
        letters = "".join(self.letters[a] for a in others) + letter
        return _Term(self.call, self.call.emit(window, flat), letters)

    def summed(self, kept: str) -> _Term:
        """Sums over the axes whose letters are not ``kept``."""
        axes = tuple(a for a, c in enumerate(self.letters) if c not in kept)
        if not axes:
            return self
        value = self.call.emit(ops.ReduceSum(axes, False), self.value)
        return _Term(self.call, value, "".join(c for c in self.letters if c in kept))

    def ordered(self, letters: str) -> Operand:
        """The value with an axis for each of ``letters``, of extent 1 where it has none."""
        order = [self.letters.index(c) for c in letters if c in self.letters]
        value = self.call.transpose(self.value, order) if order != sorted(order) else self.value
        return self.call.reshape(value, [self.extent(c) for c in letters])

    def merged(self, *groups: str) -> Operand:
        """The value with an axis for each of the groups of letters."""
        extents = [math.prod(self.extent(c) for c in group) for group in groups]
        return self.call.reshape(self.ordered("".join(groups)), extents)


@importer("Einsum", makes=(ops.Dense, ops.MatMul, ops.Mul, ops.Pointwise, ops.ReduceSum, ops.Slice))
def _einsum(call: Call) -> Operand:
    inputs = call.operands()
    sources, result = _letters(call.text("equation", ""), [len(v.shape) for v in inputs])
    terms = [
        _Term(call, call.static_like(v, v.finite()) if isinstance(v, Static) else v, letters)
        for v, letters in zip(inputs, sources, strict=True)
    ]
    terms = [term.without_repeats() for term in terms]
    while len(terms) > 1:
        first, second, *rest = terms
        wanted = result + "".join(term.letters for term in rest)
        first, second = first.summed(wanted + second.letters), second.summed(wanted + first.letters)
        terms = [_joined(call, first, second, wanted), *rest]
    return terms[0].summed(result).ordered(result)


def _joined(call: Call, a: _Term, b: _Term, wanted: str) -> _Term:
    """The product of two terms, summed over the letters that both have and nobody wants."""
    shared = [c for c in a.letters if c in b.letters]
    summed = "".join(c for c in shared if c not in wanted)
    for letter in summed:
        if a.extent(letter) != b.extent(letter):
            raise ModelError(
                f"the axes {letter!r} have {a.extent(letter)} and {b.extent(letter)} elements"
            )
    batch = "".join(c for c in shared if c in wanted)
    rows = "".join(c for c in a.letters if c not in shared)
    columns = "".join(c for c in b.letters if c not in shared)
    if not summed:
        letters = batch + rows + columns
        return _Term(call, combine(call, "Mul", a.ordered(letters), b.ordered(letters)), letters)
    extents = [max(a.extent(c), b.extent(c)) for c in batch + rows + columns]
    left, right = a.merged(*batch, rows, summed), b.merged(*batch, summed, columns)
    return _Term(call, call.reshape(product(call, left, right), extents), batch + rows + columns)


def _letters(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """A letter for each axis of each operand, and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    sources = left.split(",")
    if len(sources) != len(ranks):
        raise ModelError(f"equation {equation!r} does not fit {len(ranks)} inputs")
    free = [c for c in string.ascii_letters if c not in equation]
    widest = max(
        (rank - len(s) + 3 for s, rank in zip(sources, ranks, strict=True) if "..." in s),
        default=0,
    )
    if not 0 <= widest <= len(free):
        raise ModelError(f"equation {equation!r} does not fit its inputs")
    ellipsis = "".join(free[:widest])
    found = []
    for source, rank in zip(sources, ranks, strict=True):
        hidden = rank - len(source) + 3
        letters = source.replace("...", ellipsis[widest - hidden :] if hidden > 0 else "", 1)
        if len(letters) != rank or not all(c in string.ascii_letters for c in letters):
            raise ModelError(f"equation {equation!r} does not fit its inputs")
        found.append(letters)
    if not arrow:
        once = sorted(c for c in set(left) & set(string.ascii_letters) if left.count(c) == 1)
        return found, ellipsis + "".join(once)
    result = right.replace("...", ellipsis, 1)
    known = set("".join(found))
    if len(set(result)) != len(result) or not set(result) <= known:
        raise ModelError(f"equation {equation!r} asks for axes that are not there, or twice")
    return found, result
