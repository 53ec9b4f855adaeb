"""What to do about a refusal, as its reader would write it: in Python, or on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = [
    "cut",
    "follow_links",
    "for_command_line",
    "give_constants",
    "give_shapes",
    "give_width",
    "keep_states",
    "listed",
]

_SHOWN = 8

_ON_COMMAND_LINE = ContextVar("on_command_line", default=False)


@contextmanager
def for_command_line() -> Iterator[None]:
    """Within it, advice names options of commands instead of arguments of functions."""
    token = _ON_COMMAND_LINE.set(True)
    try:
        yield
    finally:
        _ON_COMMAND_LINE.reset(token)


def give_shapes(shapes: Mapping[str, Sequence[int | None]]) -> str:
    """How the whole shapes of inputs are given; None for an extent that only the reader knows."""
    if _ON_COMMAND_LINE.get():
        return " ".join(
            f"--shape {name}={'x'.join(str(n or '...') for n in shape)}"
            for name, shape in shapes.items()
        )
    shown = (
        f"{name!r}: [{', '.join(str(n or '...') for n in shape)}]" for name, shape in shapes.items()
    )
    return f"input_shapes={{{', '.join(shown)}}}"


def give_constants(names: Sequence[str]) -> str:
    """How inputs that are always the same are given their values."""
    if _ON_COMMAND_LINE.get():
        return " ".join(f"--constant {name}=..." for name in names)
    return f"constants={{{', '.join(f'{name!r}: ...' for name in names)}}}"


def give_width(name: str, width: str) -> str:
    """How a value is given a width of its own."""
    if _ON_COMMAND_LINE.get():
        return f"--override {name}={width}"
    return f"overrides={{{name!r}: {width!r}}}"


def cut(*, outputs: Sequence[str] = (), inputs: Sequence[str] = ()) -> str:
    """How a model is cut so that it ends with ``outputs``, or begins with ``inputs``."""
    parts = {"inputs": inputs, "outputs": outputs}
    if _ON_COMMAND_LINE.get():
        return " ".join(f"--{kind[:-1]} {name}" for kind, names in parts.items() for name in names)
    return ", ".join(f"{kind}={list(names)}" for kind, names in parts.items() if names)


def keep_states(states: Mapping[str, str]) -> str:
    """How outputs are kept as the inputs that they are in the next run."""
    if _ON_COMMAND_LINE.get():
        return " ".join(f"--state {source}={result}" for source, result in states.items())
    return f"states={dict(states)}"


def listed(names: Sequence[str]) -> str:
    """``names`` in quotes, no more of them than a reader wants to see."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def follow_links() -> str:
    """How files behind links are allowed."""
    return "--allow-links" if _ON_COMMAND_LINE.get() else "allow_links=True"
