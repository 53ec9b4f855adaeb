"""Functions of one real variable as expression trees, so that a chain of them is one function.

An expression is ``"x"``, a number, or a tuple of a function's name and its arguments:
``("mul", "x", ("sigmoid", "x"))`` is SiLU. Importers build them, passes nest them, the quantizer
tabulates them; a new unary operator is one line in ``FUNCTIONS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer.arithmetic import elementary

__all__ = [
    "FUNCTIONS",
    "Expression",
    "check",
    "clip_bounds",
    "evaluate",
    "size",
    "substitute",
    "text",
]

Expression = Any  # str | float | tuple[str, Expression, ...]; mypy cannot bound the recursion

_MAX_DEPTH = 64
_MAX_SIZE = 1024


def _greater(a: np.ndarray, b: np.ndarray | float) -> np.ndarray:
    # of 0 and -0 either is the greater one; their sum with 0 is 0
    return np.maximum(a, b) + 0


def _lesser(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.minimum(a, b) + 0


def _sigmoid(x: np.ndarray) -> np.ndarray:
    # exp of a negative number only: it cannot overflow
    e = elementary.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + elementary.log1p(elementary.exp(-np.abs(x)))


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + elementary.erf(x * math.sqrt(0.5)))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + elementary.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _elu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x >= 0, x, alpha * elementary.expm1(np.minimum(x, 0)))


def _selu(x: np.ndarray, alpha: float, gamma: float) -> np.ndarray:
    return gamma * _elu(x, alpha)


def _celu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.maximum(x, 0) + np.minimum(0, alpha * elementary.expm1(np.minimum(x, 0) / alpha))


def _truth(test: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """``test`` with 1 for true and 0 for false, in the float type of what is tested."""
    return lambda *tested: test(*tested).astype(np.result_type(*tested))


def _where(condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(condition != 0, a, b)


# name: (number of arguments, meaning on NumPy arrays of any float type)
FUNCTIONS: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "abs": (1, np.abs),
    "acos": (1, elementary.arccos),
    "acosh": (1, elementary.arccosh),
    "add": (2, np.add),
    "asin": (1, elementary.arcsin),
    "asinh": (1, elementary.arcsinh),
    "atan": (1, elementary.arctan),
    "atanh": (1, elementary.arctanh),
    "ceil": (1, np.ceil),
    "celu": (2, _celu),
    "clip": (3, lambda x, lo, hi: _lesser(np.maximum(x, lo), hi)),
    "cos": (1, elementary.cos),
    "cosh": (1, elementary.cosh),
    "div": (2, np.divide),
    "elu": (2, _elu),
    "equal": (2, _truth(np.equal)),
    "erf": (1, elementary.erf),
    "exp": (1, elementary.exp),
    "floor": (1, np.floor),
    "fmod": (2, np.fmod),
    "gelu": (1, _gelu),
    "gelu_tanh": (1, _gelu_tanh),
    "greater": (2, _truth(np.greater)),
    "greater_equal": (2, _truth(np.greater_equal)),
    "hard_sigmoid": (3, lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1)),
    "hard_swish": (1, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "is_infinite": (1, _truth(np.isinf)),
    "is_nan": (1, _truth(np.isnan)),
    "leaky_relu": (2, lambda x, alpha: np.where(x >= 0, x, alpha * x)),
    "log": (1, elementary.log),
    "max": (2, _greater),
    "min": (2, _lesser),
    "mish": (1, lambda x: x * elementary.tanh(_softplus(x))),
    "mod": (2, np.mod),
    "mul": (2, np.multiply),
    "neg": (1, np.negative),
    "pow": (2, elementary.power),
    "reciprocal": (1, lambda x: 1 / x),
    "relu": (1, lambda x: _greater(x, 0)),
    "round": (1, np.rint),
    "selu": (3, _selu),
    "sigmoid": (1, _sigmoid),
    "sign": (1, np.sign),
    "sin": (1, elementary.sin),
    "sinh": (1, elementary.sinh),
    "softplus": (1, _softplus),
    "softsign": (1, lambda x: x / (1 + np.abs(x))),
    "sqrt": (1, np.sqrt),
    "sub": (2, np.subtract),
    "tan": (1, elementary.tan),
    "tanh": (1, elementary.tanh),
    "thresholded_relu": (2, lambda x, alpha: np.where(x > alpha, x, 0)),
    "trunc": (1, np.trunc),
    "where": (3, _where),
}


def check(expression: Expression) -> None:
    """``ValueError`` where ``expression`` is not one, or nests too deeply to be evaluated."""
    _measured(expression, 0)


# what was checked last, by identity: expressions are made of each other, term by term
_CHECKED: dict[int, tuple[Expression, int, int]] = {}
_MOST_CHECKED = 4096


def _measured(e: Expression, depth: int) -> tuple[int, int]:
    """The levels and terms of ``e``, ``depth`` levels down; ``ValueError`` as above."""
    if e == "x" or (isinstance(e, float) and not math.isnan(e)):
        return 0, 1
    known = _CHECKED.get(id(e))
    if known is not None and known[0] is e:
        _, levels, terms = known
    else:
        if not (isinstance(e, tuple) and e and isinstance(e[0], str) and e[0] in FUNCTIONS):
            raise ValueError(f"{e!r} is not an expression")
        if len(e) - 1 != FUNCTIONS[e[0]][0]:
            raise ValueError(f"{e[0]} takes {FUNCTIONS[e[0]][0]} arguments, not {len(e) - 1}")
        levels, terms = 1, 1
        # nothing is looked for farther down, however far down a hostile one goes
        for argument in e[1:] if depth < _MAX_DEPTH else ():
            below, more = _measured(argument, depth + 1)
            levels, terms = max(levels, below + 1), terms + more
    if depth + levels > _MAX_DEPTH or terms > _MAX_SIZE:
        raise ValueError(f"an expression has at most {_MAX_DEPTH} levels, {_MAX_SIZE} terms")
    if known is None:
        if len(_CHECKED) >= _MOST_CHECKED:
            _CHECKED.clear()
        _CHECKED[id(e)] = e, levels, terms
    return levels, terms


def evaluate(expression: Expression, x: np.ndarray) -> np.ndarray:
    """The value of ``expression`` at each element of ``x``, in the float type of ``x``."""

    def value(e: Expression) -> Any:
        if e == "x":
            return x
        if isinstance(e, float):
            return x.dtype.type(e)
        return FUNCTIONS[e[0]][1](*map(value, e[1:]))

    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(value(expression), x.dtype), x.shape)


def clip_bounds(expression: Expression) -> tuple[float, float] | None:
    """The bounds of a function that clips and does nothing else; None of any other."""
    match expression:
        case ("relu", "x"):
            return 0.0, math.inf
        case ("clip", "x", float(lo), float(hi)):
            return lo, hi
    return None


def size(expression: Expression) -> int:
    """How many terms it has: functions, numbers and places of ``"x"``."""
    return 1 + sum(map(size, expression[1:])) if isinstance(expression, tuple) else 1


def substitute(outer: Expression, inner: Expression) -> Expression:
    """``outer`` with ``inner`` in place of its ``"x"``: first ``inner``, then ``outer``."""
    if outer == "x":
        return inner
    if isinstance(outer, float):
        return outer
    return (outer[0], *(substitute(argument, inner) for argument in outer[1:]))


def text(expression: Expression) -> str:
    """The expression as a reader writes it: ``mul(x, sigmoid(x))``."""
    if isinstance(expression, tuple):
        return f"{expression[0]}({', '.join(map(text, expression[1:]))})"
    return str(expression) if expression == "x" else f"{expression:g}"
