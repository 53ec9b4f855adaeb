"""Prints the lowest version that pyproject.toml allows of each package, for pip.

    python .ci/lowest.py EXTRA...

names what builds edgeinfer, what it always needs, and what these extras bring.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest(requirements: Iterable[str], extras: dict[str, list[str]]) -> Iterator[str]:
    """Each requirement with ``==`` in place of its lower bound; an extra's are those it brings."""
    for requirement in requirements:
        if brought := re.fullmatch(r"edgeinfer\[(.+)\]", requirement):
            for extra in brought[1].split(","):
                yield from lowest(extras[extra], extras)
        else:
            pinned, changed = re.subn(r">=([\w.]+)(,<[\w.]+)?", r"==\1", requirement)
            if not changed:
                sys.exit(f"{requirement} has no lower bound")
            yield pinned


def main() -> None:
    """Print them, one a line."""
    content = tomllib.loads(PYPROJECT.read_text("utf-8"))
    project = content["project"]
    asked = (f"edgeinfer[{extra}]" for extra in sys.argv[1:])
    every = (*content["build-system"]["requires"], *project["dependencies"], *asked)
    print(*dict.fromkeys(lowest(every, project["optional-dependencies"])), sep="\n")


if __name__ == "__main__":
    main()
