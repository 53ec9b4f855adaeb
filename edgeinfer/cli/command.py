"""A function that returns a Report into a command: its common options, its output, its errors."""

from __future__ import annotations

import errno
import functools
import math
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import click
from rich.console import RenderableType

from edgeinfer.advice import for_command_line
from edgeinfer.cli.logs import logged
from edgeinfer.cli.output import show, show_json, tell
from edgeinfer.errors import EdgeInferError, EdgeInferWarning, MissingExtraError
from edgeinfer.printable import one_line, printable

__all__ = ["Report", "command"]

_OF_HDL = {"amaranth", "filelock", "jinja2", "matplotlib", "platformdirs"}
"""Packages of the extra ``hdl`` that commands import when they are called; what ``fpga`` adds is
looked for before it is imported."""


@dataclass(frozen=True)
class Report:
    """What a command found.

    Parameters
    ----------
    data : dict
        For ``--json``; a float that is not finite becomes null.
    shown : sequence of renderable
        For readers, one under the other; a string is one line.
    warnings : list of str
        For stderr, and under ``warnings`` in the JSON.
    failure : str or None
        What was found to be wrong: printed as an error after all the rest, with exit code 1.
    """

    data: dict[str, Any]
    shown: Sequence[RenderableType]
    warnings: list[str] = field(default_factory=list)
    failure: str | None = None


def command(*, example: str) -> Callable[[Callable[..., Report]], click.Command]:
    """Make a command of the function below, with ``--json``, ``-v``, ``--debug`` and an example."""

    def decorate(function: Callable[..., Report]) -> click.Command:
        @functools.wraps(function)
        def body(*, as_json: bool, debug: bool, verbose: int, **arguments: Any) -> None:
            try:
                with logged(verbose), _heard() as warned, for_command_line():
                    report = function(**arguments)
                _print(replace(report, warnings=[*warned, *report.warnings]), as_json)
                sys.stdout.flush()
                if report.failure is not None:
                    _stop(report.failure, 1, False)
            except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
                raise  # for click: wrong usage, --help, a reader that went away
            except KeyboardInterrupt:
                _stop("interrupted", 130, debug)
            except EdgeInferError as error:
                _stop(str(error), 1, debug)
            except ModuleNotFoundError as error:
                _stop(_missing(error), 1, debug)
            except MemoryError:
                _stop("there is not enough memory", 1, debug)
            except Exception as error:
                _stop(_unexpected(error), 1, debug)

        made = click.command(
            epilog=f"\b\nExample:\n  {example}",
            context_settings={"help_option_names": ["-h", "--help"]},
        )(body)
        made.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."),
            click.Option(
                ["-v", "--verbose"],
                count=True,
                help="Say on stderr what is done; -vv says more.",
            ),
            click.Option(["--debug"], is_flag=True, help="Show where an error arose."),
        ]
        return made

    return decorate


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Gather what edgeinfer warns of meanwhile, each once, in a list."""
    messages: list[str] = []
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", EdgeInferWarning)
            yield messages
    finally:
        for each in caught:
            if not issubclass(each.category, EdgeInferWarning):
                said = printable(str(each.message), lines=True)
                warnings.showwarning(said, each.category, each.filename, each.lineno)
            elif str(each.message) not in messages:
                messages.append(str(each.message))


def _missing(error: ModuleNotFoundError) -> str:
    package = (error.name or "").split(".")[0]
    if package in _OF_HDL:
        return str(MissingExtraError(package, "hdl"))
    return _unexpected(error)


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO):
        return f"cannot write the output: {error.strerror}"
    return f"unexpected {type(error).__name__}: {error} (--debug shows where)"


def _stop(message: str, code: int, debug: bool) -> None:
    if debug:
        tell(traceback.format_exc().rstrip("\n"))
    tell(f"error: {one_line(message)}")
    raise click.exceptions.Exit(code)


def _print(report: Report, as_json: bool) -> None:
    for warning in report.warnings:
        tell(f"warning: {one_line(warning)}")
    if as_json:
        data = report.data | ({"warnings": report.warnings} if report.warnings else {})
        show_json(_finite(data))
    else:
        show(report.shown)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
