"""The files of a network in a folder: its ONNX models, and what its inputs are.

NAME.json says the family, the inputs, and for each exporter that the network was exported with
either the file or the error. A folder that holds them needs no training framework any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from architectures.inputs import Input


@dataclass
class Exported:
    """A network as it lies in a folder.

    Parameters
    ----------
    name, family : str
        As in the catalogue.
    inputs : list of Input
        What it takes.
    files : dict of str to str
        File names by exporter.
    errors : dict of str to str
        Why an exporter gave none.
    origin : str
        The packages, with their versions.
    """

    name: str
    family: str
    inputs: list[Input]
    files: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    origin: str = ""

    def write(self, folder: Path) -> None:
        """To NAME.json, after its models."""
        fields = vars(self) | {"inputs": [each.as_json() for each in self.inputs]}
        text = json.dumps(fields, indent=2) + "\n"
        (folder / f"{self.name}.json").write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, name: str) -> Exported | None:
        """What NAME.json says, if it is there."""
        path = folder / f"{name}.json"
        if not path.exists():
            return None
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**fields | {"inputs": [Input.of_json(each) for each in fields["inputs"]]})
