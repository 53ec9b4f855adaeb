"""The files of an export, from one model and one configuration; the same bytes each time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import jinja2
import numpy as np

from edgeinfer import __version__
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph.cost import cost
from edgeinfer.hdl.compiler import Compiled, compile
from edgeinfer.hdl.compiler.host_image import inference_memory
from edgeinfer.hdl.compiler.timing import predict
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.export.ip_xact import buses, ports
from edgeinfer.hdl.export.model_map import ModelMap
from edgeinfer.hdl.export.vectors import ProgramRun, Vectors, inference, random_sample
from edgeinfer.hdl.gateware.npu import npu_members, to_verilog
from edgeinfer.hdl.gateware.registers import COUNTERS, REGISTERS, config_word, identity
from edgeinfer.hdl.gateware.sequencer import Fault
from edgeinfer.hdl.isa import Unit
from edgeinfer.hdl.summary import memories
from edgeinfer.printable import printable

__all__ = ["export"]

_TEMPLATES = Path(__file__).with_name("templates")
_WRITABLE = ("CONTROL", "BASE", "BASE_HIGH", "PROGRAM", "LENGTH", "WATCHDOG")


def export(
    graph: Graph,
    config: NpuConfig | str = "8x16",
    *,
    name: str | None = None,
    sample: Mapping[str, np.ndarray] | None = None,
) -> dict[str, bytes]:
    """The files of the folder by their paths in it.

    Parameters
    ----------
    graph : Graph
        An integer Graph with a batch of 1.
    config : NpuConfig or str
        Or its text, such as ``8x16``.
    name : str or None
        What the model is called; None takes the Graph's name.
    sample : dict of str to integer array, or None
        The inputs of the test bench's inference; None draws them.

    Raises
    ------
    UnsupportedError
        The NPU cannot run the model, or only with operators of the CPU between its segments.
    """
    compiled = _compiled(graph, config)
    chosen, model = compiled.config, ModelMap.of(compiled)
    values = inference(graph, random_sample(graph) if sample is None else sample)
    vectors = Vectors.of(model, values)
    size = chosen.bus_bytes
    every_port = ports(npu_members(chosen))
    verilog = to_verilog(chosen)
    counters = ["CYCLES", *(f"{u.name}_{what}" for u in Unit for what in ("BUSY", "WAIT"))]
    facts = {
        "version": __version__,
        "name": name or graph.name,
        "config": chosen,
        "config_word": config_word(chosen),
        "model": model,
        "macs": sum(layer.macs for layer in model.program.layers),
        "prediction": predict(model.program.run, chosen),
        "inference_cycles": predict(model.program.infer, chosen).cycles,
        "memory_bytes": sum(m.bits for m in memories(chosen)) // 8,
        "vectors": vectors,
        "id": identity(chosen),
        "registers": REGISTERS,
        "counters": COUNTERS,
        "all_registers": REGISTERS | {n: COUNTERS + 4 * i for i, n in enumerate(counters)},
        "writable": _WRITABLE,
        "units": [unit.name for unit in Unit],
        "faults": [fault for fault in Fault if fault],
        "ports": every_port,
        "buses": buses(every_port),
    }
    words = [vectors.memory[i : i + size] for i in range(0, len(vectors.memory), size)]
    return {
        "README.md": _rendered("README.md", facts),
        "npu.v": verilog.encode(),
        "npu.xml": _rendered("npu.xml", facts),
        "testbench.v": _rendered("testbench.v", facts),
        "memory.hex": _hexadecimal(words),
        "runs.hex": _numbered(n for run in vectors.runs for n in _fields(run)),
        "check_word.hex": _numbered(vectors.words),
        "check_value.hex": _hexadecimal(map(bytes, vectors.values)),
        "check_mask.hex": _hexadecimal(map(bytes, vectors.masks)),
        "model.bin": model.memory.content,
        "model.json": _described(model, facts),
        "driver/npu.h": _rendered("npu.h", facts),
        "driver/npu.c": _rendered("npu.c", facts),
        "driver/npu.py": (_TEMPLATES / "npu.py").read_bytes(),
        "driver/model.h": _rendered("model.h", facts),
    }


def _compiled(graph: Graph, config: NpuConfig | str) -> Compiled:
    """``graph`` as one program; where the CPU must help, the refusal says what would remain."""
    try:
        return compile(graph, config)
    except UnsupportedError as error:
        try:
            parts = compile(graph, config, host_ops=True)
        except UnsupportedError:
            # the CPU's help would not do
            raise error from None
        raise UnsupportedError(f"{error}; {_remains(graph, parts)}") from None


def _remains(graph: Graph, parts: Compiled) -> str:
    """What an export of a model in segments would have to hold."""
    on_cpu = [
        f"{type(node.op).__name__} {node.name!r}"
        for part, program in parts.segments
        if program is None
        for node in part.nodes
    ]
    total = cost(graph).macs
    done = sum(layer.macs for program in parts.programs for layer in program.layers)
    count = len(parts.programs)
    return (
        f"an export cannot, as it holds one program for the NPU. This model would be {count} "
        f"program{'s' * (count > 1)}, with {done / max(1, total):.0%} of the multiply-accumulates, "
        f"and on the CPU {', '.join(on_cpu)}"
    )


def _hexadecimal(words: Iterable[bytes]) -> bytes:
    """Little-endian words as ``$readmemh`` reads them."""
    return "".join(f"{word[::-1].hex()}\n" for word in words).encode()


def _numbered(numbers: Iterable[int]) -> bytes:
    """Words of 32 bits as ``$readmemh`` reads them."""
    return _hexadecimal(int(number).to_bytes(4, "little") for number in numbers)


def _fields(run: ProgramRun) -> tuple[int, ...]:
    """A run as the test bench reads it."""
    return (run.base, run.offset, run.length, run.status, run.stalls, run.first, run.end)


def _described(model: ModelMap, facts: Mapping[str, object]) -> bytes:
    """``model.json``, which driver/npu.py reads."""
    described = {
        "name": facts["name"],
        "config": model.program.config.text,
        "inference": {
            "cycles": facts["inference_cycles"],
            "memory_bytes": len(inference_memory(model.program)[0]),
        },
        "config_word": facts["config_word"],
        "id": facts["id"],
        "memory_bytes": model.memory.size,
        "sections": {n: dataclasses.asdict(s) for n, s in model.sections.items()},
        "inputs": [dataclasses.asdict(each) for each in model.inputs],
        "outputs": [dataclasses.asdict(each) for each in model.outputs],
        "host_before": [dataclasses.asdict(each) for each in model.before],
        "host_after": [dataclasses.asdict(each) for each in model.after],
        "registers": facts["all_registers"],
        "faults": {fault.name: fault.value for fault in Fault if fault},
    }
    return (json.dumps(described, indent=1) + "\n").encode()


def _rendered(name: str, facts: Mapping[str, object]) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        numbers=_numbers,
        comment=_comment,
        c_string=_c_string,
        c_float=_c_float,
        signed=_signed,
        bytes_of=_bytes_of,
    )
    return environment.get_template(f"{name}.j2").render(facts).encode()


def _numbers(values: Iterable[int]) -> str:
    """Lines of a C array."""
    every = [str(value) for value in values]
    return ",\n".join("    " + ", ".join(every[i : i + 16]) for i in range(0, len(every), 16))


def _comment(text: str) -> str:
    """A name that stays within its line and its comment."""
    return printable(text).replace("*/", "* /").replace("/*", "/ *")


def _signed(value: int) -> str:
    """What an addition of ``value`` reads as."""
    return f"- {-value}" if value < 0 else f"+ {value}"


def _c_string(text: str) -> str:
    """A string literal of ``text`` in UTF-8."""
    return '"' + "".join(_c_character(byte) for byte in text.encode(errors="replace")) + '"'


def _c_character(byte: int) -> str:
    # three digits end an escape whatever follows; ?? would begin a trigraph
    character = chr(byte)
    plain = character.isascii() and character.isprintable() and character not in '"\\?'
    return character if plain else f"\\{byte:03o}"


def _c_float(value: float) -> str:
    """A float literal that reads back as ``value``, a float32."""
    text = f"{value:.9g}"
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"


def _bytes_of(dtype: str) -> int:
    return np.dtype(dtype).itemsize
