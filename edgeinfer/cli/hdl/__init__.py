"""``edgeinfer hdl``: the systolic NPU on the command line, one module a command."""

from __future__ import annotations

import click

from edgeinfer.cli.groups import InWorkingOrder
from edgeinfer.cli.hdl.build import build
from edgeinfer.cli.hdl.disasm import disasm
from edgeinfer.cli.hdl.explore import explore
from edgeinfer.cli.hdl.export import export
from edgeinfer.cli.hdl.info import info
from edgeinfer.cli.hdl.resources import resources
from edgeinfer.cli.hdl.run import run
from edgeinfer.cli.hdl.simulate import simulate

__all__ = ["hdl"]


@click.group(
    cls=InWorkingOrder,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: edgeinfer hdl info",
)
def hdl() -> None:
    """Run models on the NPU: simulated, exported, on boards."""


for _command in (info, disasm, simulate, explore, export, resources, build, run):
    hdl.add_command(_command)
