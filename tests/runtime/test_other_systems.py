"""No module needs what Windows lacks; the rest of Windows is not tested, as there is none here."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# other packages look at the system when they are imported: they come first, as they are here
PROGRAM = """
import importlib, pkgutil, sys
import edgeinfer

import amaranth.sim, amaranth_boards, click, filelock, jinja2, matplotlib.pyplot, numpy.testing
import concurrent.futures.process, multiprocessing.reduction
import onnx, onnx_ir, onnxruntime, PIL.Image, platformdirs, rich.progress, serial
import safetensors.numpy

def modules():
    for found in pkgutil.walk_packages(edgeinfer.__path__, "edgeinfer.", onerror=print):
        # the one is a program, the other a file that exports take along
        if not found.name.endswith("__main__") and ".templates" not in found.name:
            yield found.name

for name in [name for name in sys.modules if name.startswith("edgeinfer.")]:
    # compiled code cannot be loaded twice
    if not name.startswith("edgeinfer.cython_kernels"):
        del sys.modules[name]
for name in ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
sys.platform = "win32"
print(*(importlib.import_module(name).__name__ for name in modules()))
"""


def test_every_module_is_imported_without_what_only_posix_has():
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    imported = set(ran.stdout.split())
    for path in sorted((ROOT / "hdl").rglob("*.py")):
        name = ".".join(("edgeinfer", *path.relative_to(ROOT).with_suffix("").parts))
        if path.name != "__init__.py" and "templates" not in path.parts:
            assert name in imported
