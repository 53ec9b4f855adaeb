"""What the folder of an export says of its model, read with suspicion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeinfer.errors import InputError
from edgeinfer.files.input_file import read_file
from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig, configuration
from edgeinfer.hdl.gateware.npu import to_verilog

__all__ = ["ExportedModel"]


@dataclass(frozen=True)
class ExportedModel:
    """What the folder of an export says of its model.

    Parameters
    ----------
    name : str
    config : NpuConfig
    cycles : int
        Of an inference, as the compiler predicts them.
    memory_bytes : int
        Of host memory that an inference asks for.
    sections : dict of str to slice
        Programs in model.bin, in bytes.
    """

    name: str
    config: NpuConfig
    cycles: int
    memory_bytes: int
    sections: Mapping[str, slice]

    @classmethod
    def read(cls, folder: Path) -> ExportedModel:
        """What ``folder`` holds.

        Raises
        ------
        InputError
            It is no export of this version's.
        """
        content = _content(folder / "model.json")
        try:
            document = json.loads(content)
            inference = document["inference"]
            return cls(
                name=_text(document["name"]),
                config=configuration(_text(document["config"])),
                cycles=_number(inference["cycles"]),
                memory_bytes=_number(inference["memory_bytes"]),
                sections={_text(n): _place(each) for n, each in document["sections"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{folder}: model.json is damaged or of another version; export the model again"
            ) from error

    def program(self, folder: Path, section: str) -> bytes:
        """The instructions of ``section`` as they lie in host memory.

        Raises
        ------
        InputError
            There is no such section, or model.bin is cut.
        """
        if section not in self.sections:
            raise InputError(
                f"{folder} holds no section {section!r}; choose from "
                f"{', '.join(self.sections) or 'none'}"
            )
        image, place = _content(folder / "model.bin"), self.sections[section]
        if len(image) < place.stop:
            raise InputError(f"{folder}: model.bin is damaged; export the model again")
        return image[place]

    def check_verilog(self, folder: Path) -> None:
        """Refuse an export whose Verilog is not what the generator makes of its configuration.

        Raises
        ------
        InputError
            It is another.
        """
        if _content(folder / "npu.v") != to_verilog(self.config).encode():
            raise InputError(
                f"{folder}: npu.v is not what this version makes of its configuration; a bitstream "
                "is built from the generator, so export the model again"
            )


def _content(path: Path) -> bytes:
    """Of a file of an export."""
    try:
        return read_file(path)
    except InputError as error:
        raise InputError(
            f"{path.parent} is no exported NPU: {error}; make one with: edgeinfer hdl export"
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError("no text")
    return value


def _place(section: Any) -> slice:
    start = _number(section["offset"])
    return slice(start, start + isa.INSTRUCTION_BYTES * _number(section["length"]))


def _number(value: Any) -> int:
    if type(value) is not int or not 0 < value < 1 << 40:
        raise TypeError("no number of cycles or bytes")
    return value
