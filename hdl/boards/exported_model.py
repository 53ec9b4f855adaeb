"""What the folder of an export says of its model, read with suspicion."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeinfer.errors import InputError
from edgeinfer.hdl.config import NpuConfig, configuration
from edgeinfer.hdl.gateware.npu import to_verilog
from edgeinfer.input_file import read_file

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
    """

    name: str
    config: NpuConfig
    cycles: int
    memory_bytes: int

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
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{folder}: model.json is damaged or of another version; export the model again"
            ) from error

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


def _number(value: Any) -> int:
    if type(value) is not int or not 0 < value < 1 << 40:
        raise TypeError("no number of cycles or bytes")
    return value
