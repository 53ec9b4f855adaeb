"""``edgeinfer hdl disasm``: the instructions that a model becomes, or a file holds, as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeinfer.cli.command import Report, command
from edgeinfer.cli.hdl.options import config_option
from edgeinfer.cli.models import open_integer_model
from edgeinfer.cli.options import FILE
from edgeinfer.errors import InputError
from edgeinfer.files.input_file import is_folder, read_file

if TYPE_CHECKING:
    from edgeinfer.hdl.isa import Instruction

__all__ = ["disasm"]

SECTIONS = ("setup", "load", "infer", "store", "run")


@command(example="edgeinfer hdl disasm digits.eqm --config 8x16")
@click.argument("file", type=FILE)
@config_option
@click.option(
    "--section",
    type=click.Choice(SECTIONS),
    help="Which program: once before all, the inputs, one inference, the outputs, or all of these "
    "but the first in one. Otherwise a model's infer, an export's run; it has these and setup.",
)
@click.option("--host-ops", is_flag=True, help="Leave to the CPU what the NPU cannot run.")
def disasm(file: Path, config: str, section: str | None, host_ops: bool) -> Report:
    """Print a program's instructions.

    FILE is a model, a folder of edgeinfer hdl export, or instructions as the NPU would fetch them.
    The numbers in front are those that errors and FAULT_AT give. A field that is not named is 1 if
    it is a count, first or last, 20 if left_shift, else 0 or none. --config and --host-ops are for
    models: what is compiled already has its configuration.
    """
    from edgeinfer.hdl import isa
    from edgeinfer.hdl.config import configuration

    chosen = configuration(config)
    if is_folder(file):
        from edgeinfer.hdl.boards.exported_model import ExportedModel

        exported = ExportedModel.read(file)
        programs = [_program(exported.program(file, section or "run"), file)]
    elif file.suffix.lower() in (".eqm", ".onnx"):
        from edgeinfer.hdl.compiler import compile

        compiled = compile(open_integer_model(file), chosen, host_ops=host_ops)
        programs = [getattr(program, section or "infer") for program in compiled.programs]
    else:
        programs = [_program(read_file(file), file)]
        if not programs[0]:
            raise InputError(f"{file} holds no instructions")
    texts = [isa.disassemble(program).splitlines() for program in programs]
    return Report(
        {"file": str(file), "programs": texts},
        [line for lines in texts for line in ["", *_numbered(lines)]][1:],
    )


def _program(content: bytes, file: Path) -> list[Instruction]:
    from edgeinfer.hdl import isa

    try:
        return isa.from_bytes(content)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _numbered(lines: list[str]) -> list[str]:
    width = len(str(len(lines) - 1))
    return [f"{number:>{width}}  {line}" for number, line in enumerate(lines)]
