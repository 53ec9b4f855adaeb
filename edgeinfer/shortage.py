"""A lack of memory, told as an error of edgeinfer wherever a public function is left by one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from edgeinfer.errors import OutOfMemoryError

__all__ = ["tells_shortage"]

_LOST = (
    # NumPy's reductions
    "without exception set",
    "without setting an exception",
    "NULL object passed to Py_BuildValue",
    # Python's files, which take every path
    f"not {type(Path()).__name__}",
)
"""How the errors end that stand in the place of a MemoryError."""

P = ParamSpec("P")
T = TypeVar("T")


def tells_shortage(function: Callable[P, T]) -> Callable[P, T]:
    """``function``, which raises an OutOfMemoryError where there is not enough memory."""

    @functools.wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except OutOfMemoryError:
            raise
        except MemoryError as error:
            raise OutOfMemoryError(str(error)) from error
        except (SystemError, TypeError) as error:
            # a MemoryError was lost on the way here
            if not str(error).endswith(_LOST):
                raise
            raise OutOfMemoryError("") from error
        except BaseException as error:
            # what a library in Rust makes of it is no Exception, and has no other name
            if type(error).__name__ != "PanicException":
                raise
            raise OutOfMemoryError("") from error

    return told
