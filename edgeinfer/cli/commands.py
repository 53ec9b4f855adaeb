"""All commands, gathered under ``edgeinfer``."""

from __future__ import annotations

import click

from edgeinfer import __version__
from edgeinfer.cli.bench import bench
from edgeinfer.cli.compare import compare
from edgeinfer.cli.convert import convert
from edgeinfer.cli.demo import demo
from edgeinfer.cli.evaluate import evaluate
from edgeinfer.cli.explain import explain
from edgeinfer.cli.export import export
from edgeinfer.cli.groups import InWorkingOrder
from edgeinfer.cli.hdl import hdl
from edgeinfer.cli.inspect import inspect
from edgeinfer.cli.operators import operators
from edgeinfer.cli.quantize import quantize
from edgeinfer.cli.run import run
from edgeinfer.cli.verify import verify

__all__ = ["edgeinfer"]


@click.group(
    cls=InWorkingOrder,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: edgeinfer demo",
)
@click.version_option(__version__, prog_name="edgeinfer", message="%(prog)s %(version)s")
def edgeinfer() -> None:
    """Quantize models to int8 or int16 and run them on integers only."""


for _command in (
    demo,
    inspect,
    quantize,
    evaluate,
    compare,
    explain,
    run,
    bench,
    convert,
    export,
    verify,
    operators,
    hdl,
):
    edgeinfer.add_command(_command)
