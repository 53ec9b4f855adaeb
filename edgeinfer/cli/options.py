"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import click

from edgeinfer.cli.models import Import
from edgeinfer.files.atomic_write import is_special
from edgeinfer.graph.preparation import Channels, Layout
from edgeinfer.runtime.session import MAX_THREADS

__all__ = [
    "FILE",
    "SVG",
    "Shapes",
    "html_option",
    "image_options",
    "import_options",
    "samples_option",
    "threads_option",
]

# what --shape gives, to be made a dict
Shapes: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]

F = TypeVar("F", bound=Callable[..., Any])

# whether a file is there is for the command to say: that is a refusal, not wrong usage
FILE = click.Path(path_type=Path)


class _Svg(click.Path):
    """The name of a picture: in a file called .png an SVG would not be found."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """The path that ``value`` is."""
        path = Path(value)
        try:
            special = is_special(path)
        except OSError:  # which the write that is to come names better
            special = False
        if path.suffix.lower() != ".svg" and not special:
            self.fail(f"{str(path)!r} does not end in .svg", param, ctx)
        return path


SVG = _Svg()


def _numbers(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """Numbers with commas between them."""
    if value is None:
        return None
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not numbers with commas between them") from None


def _shapes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Shapes:
    """Names of inputs, each with its whole shape."""
    shapes = []
    for value in values:
        name, _, text = value.rpartition("=")
        extents = text.split("x")
        if not (name and all(e.isdecimal() and int(e) > 0 for e in extents)):
            raise click.BadParameter(f"{value!r} is not of the form NAME=1x3x224x224")
        shapes.append((name, tuple(map(int, extents))))
    return tuple(shapes)


def _states(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | Literal["auto"] | None:
    """Outputs by inputs, or ``auto``."""
    if not values:
        return None
    if values == ("auto",):
        return "auto"
    pairs: dict[str, str] = {}
    for value in values:
        source, equals, result = value.partition("=")
        if not (source and equals and result):
            raise click.BadParameter(f"{value!r} is not of the form IN=OUT, or auto alone")
        pairs[source] = result
    return pairs


def _constants(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, float]:
    """Numbers by inputs."""
    numbers: dict[str, float] = {}
    for value in values:
        name, _, text = value.rpartition("=")
        try:
            number = float(text)
        except ValueError:
            name = ""
        if not name:
            raise click.BadParameter(f"{value!r} is not of the form NAME=NUMBER")
        numbers[name] = number
    return numbers


def import_options(function: F) -> F:
    """How an ONNX model is imported, handed on as ``how``."""

    @functools.wraps(function)
    def bundled(
        *,
        batch: int,
        shapes: Shapes,
        cut_inputs: tuple[str, ...],
        cut_outputs: tuple[str, ...],
        allow_links: bool,
        constants: dict[str, float],
        states: dict[str, str] | Literal["auto"] | None,
        **arguments: Any,
    ) -> Any:
        how = Import(batch, dict(shapes), cut_inputs, cut_outputs, allow_links, constants, states)
        return function(how=how, **arguments)

    for option in (
        click.option(
            "--state",
            "states",
            metavar="IN=OUT",
            multiple=True,
            callback=_states,
            help="This input is what that output was in the run before, zeros at first. "
            "Repeatable; auto finds them by their names.",
        ),
        click.option(
            "--constant",
            "constants",
            metavar="NAME=NUMBER",
            multiple=True,
            callback=_constants,
            help="This input always is that number, as a sample rate is. Repeatable.",
        ),
        click.option(
            "--allow-links", is_flag=True, help="Read external data behind links, as they lead."
        ),
        click.option(
            "--output",
            "cut_outputs",
            metavar="NAME",
            multiple=True,
            help="Cut the model: this value is an output, the model's own are not. Repeatable.",
        ),
        click.option(
            "--input",
            "cut_inputs",
            metavar="NAME",
            multiple=True,
            help="Cut the model: this value is an input. Repeatable.",
        ),
        click.option(
            "--shape",
            "shapes",
            metavar="NAME=1x3x224x224",
            multiple=True,
            callback=_shapes,
            help="The whole shape of one input. Repeatable.",
        ),
        click.option(
            "--batch",
            metavar="N",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Samples in one run, where the model leaves that open.",
        ),
    ):
        bundled = option(bundled)
    return bundled  # type: ignore[return-value]


def image_options(function: F) -> F:
    """``--size``, ``--mean``, ``--std``, ``--layout`` and ``--channels``, for images."""
    for option in (
        click.option(
            "--channels",
            type=click.Choice(get_args(Channels)),
            help="What an image's channels are to be, in order; transparent parts become white.",
        ),
        click.option(
            "--layout",
            type=click.Choice(get_args(Layout)),
            help="Order of the input's axes, where its shape does not tell.",
        ),
        click.option(
            "--std",
            metavar="NUMBERS",
            callback=_numbers,
            help="Images are (pixel - mean) / std, pixels from 0 to 255; an --std below 1 "
            "means fractions of 255, as in torchvision.",
        ),
        click.option(
            "--mean",
            metavar="NUMBERS",
            callback=_numbers,
            help="One number, or one a channel with commas between.",
        ),
        click.option(
            "--size",
            metavar="N",
            type=click.IntRange(1),
            help="Scale an image's shorter side to this, then cut out the middle; "
            "without it, images are stretched to the input.",
        ),
    ):
        function = option(function)
    return function


def html_option(function: F) -> F:
    """``--html``."""
    return click.option(
        "--html", metavar="FILE.html", type=FILE, help="Also write it as a page, with figures."
    )(function)


def threads_option(function: F) -> F:
    """``--threads``."""
    return click.option(
        "--threads",
        metavar="N",
        type=click.IntRange(1, MAX_THREADS),
        default=1,
        show_default=True,
        help="Threads that share the work of one run.",
    )(function)


def samples_option(default: int | None = None) -> Callable[[F], F]:
    """``--samples``: ``default`` of them, or all."""
    otherwise = "; all, if it is not given" if default is None else ""
    return click.option(
        "--samples",
        metavar="N",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        help=f"Use this many samples{otherwise}.",
    )
