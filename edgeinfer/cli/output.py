"""The one way to stdout and stderr: whatever names hold, what is printed steers no terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from edgeinfer.printable import printable

__all__ = ["SafeConsole", "cleaned_usage", "show", "show_json", "tell"]


class SafeConsole(Console):
    """A console of rich that understands no markup and prints no control characters but its own.

    Parameters
    ----------
    stderr : bool
        Where it prints; otherwise stdout.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """What ``renderable`` is printed as."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text, lines=True), style, control)


def tell(text: str) -> None:
    """Print ``text``, lines, on stderr."""
    click.echo(printable(text, lines=True), err=True)


def show(shown: Iterable[RenderableType]) -> None:
    """Print what is for readers on stdout, one under the other; a string is one line."""
    console = SafeConsole()
    for renderable in shown:
        if isinstance(renderable, str):
            # what readers copy, a path or an option, is not to be broken
            console.print(printable(renderable), soft_wrap=True)
        else:
            console.print(renderable)


def show_json(data: Any) -> None:
    """Print ``data`` as JSON on stdout, in ASCII."""
    # the one control character that JSON leaves as it is
    click.echo(json.dumps(data, indent=2).replace("\x7f", r"\u007f"))


@contextmanager
def cleaned_usage() -> Iterator[None]:
    """Within it, what click says of wrong usage repeats arguments as they may be printed."""
    try:
        yield
    except click.ClickException as error:
        # click declares it final, and prints it later, elsewhere
        error.message = printable(error.message)  # type: ignore[misc]
        raise
