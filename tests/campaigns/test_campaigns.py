"""A campaign counts what became of its mutants and keeps what was found; samples find nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")


def told(*arguments: object) -> tuple[int, list[str]]:
    """How a campaign ended, and its lines."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_sample_of_a_campaign_finds_nothing(tmp_path: Path, kind: str):
    module, count = f"tests.campaigns.{kind}_files", 80
    code, (_, outcomes, findings) = told(
        "-m", module, "--small", "--seed", 1, "--count", count, "--keep", tmp_path
    )
    assert (code, findings, list(tmp_path.iterdir())) == (0, "0 findings", [])
    counted = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", outcomes)}
    assert sum(counted.values()) == count
    # three of ten pass the gate
    assert counted["refused"] <= 0.7 * count
    assert counted["run"] >= 0.25 * count


PROGRAM = """
import os
from tests.campaigns.runner import Campaign, main

def outcome(data):
    match data:
        case b"end":
            os._exit(3)
        case b"raise":
            raise ValueError("what no caller expects")
        case b"take":
            bytes(2**31)
    return "accepted"

files = [b"end", b"raise", b"take", b"good", b"good", b"good"]
main(Campaign(".bin", lambda seed, small: files, lambda rng, files: rng.choice(files), outcome), "")
"""


def test_what_is_found_is_kept_and_the_campaign_goes_on(tmp_path: Path):
    code, lines = told("-c", PROGRAM, "--seed", 1, "--count", 30, "--keep", tmp_path)
    *found, _, outcomes, findings = lines
    kept = {path.stem: path.read_bytes() for path in tmp_path.glob("*.bin")}
    said = {
        b"end": "the process ended with 3",
        b"raise": "ValueError: what no caller expects",
        b"take": "MemoryError",
    }
    assert set(kept.values()) == set(said)
    assert found == [f"{tmp_path / name}.bin: {said[kept[name]]}" for name in by_number(kept)]
    assert (code, findings) == (1, f"{len(kept)} findings")
    counted = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", outcomes)}
    words = {b"end": "crashed", b"raise": "ValueError", b"take": "MemoryError"}
    ends = list(kept.values())
    assert counted == {"accepted": 30 - len(kept)} | {words[e]: ends.count(e) for e in words}


def by_number(names: dict[str, bytes]) -> list[str]:
    return sorted(names, key=lambda name: int(name.split("-")[1]))
