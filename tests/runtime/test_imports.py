"""Each folder imports what the architecture allows; a device needs NumPy and safetensors only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# folder: the parts of the package that it may import; see docs/architecture.md
ALLOWED = {
    "converters": {"edgeinfer", "converters"},
    "edgeinfer": {"edgeinfer", "cython_kernels"},
    "quant": {"cython_kernels", "edgeinfer", "quant"},
    "cython_kernels": {"cython_kernels"},
    "hdl": {"edgeinfer", "hdl"},
}
FOLDERS = set(ALLOWED) - {"edgeinfer"}
UNCOMPILED = """
import sys
sys.modules["edgeinfer.cython_kernels.runtime"] = None
import edgeinfer
"""
HEAVY = (
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "amaranth",
    "click",
    "distributed",
    "rich",
    "PIL",
    "torch",
)


def imports(path, top_level_only=False):
    """Full names of the modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for statement in tree.body if top_level_only else ast.walk(tree):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{path} imports relatively"
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def part(module):
    """Which folder a module of the package belongs to."""
    second = module.split(".")[1] if "." in module else ""
    return second if second in FOLDERS else "edgeinfer"


def sources(folder):
    found = sorted((ROOT / folder).glob("**/*.py"))
    if folder == "edgeinfer":
        # folders inside are links; commands, verify and the one call import what they need when
        # they run
        above = FOLDERS | {"agreement", "cli", "demo", "one_call.py"}
        found = [p for p in found if p.relative_to(ROOT).parts[1] not in above]
    return found


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_only_what_it_may(folder):
    for path in sources(folder):
        for module in imports(path):
            if module.split(".")[0] == "edgeinfer":
                assert part(module) in ALLOWED[folder], f"{path} imports {module}"


def test_the_core_and_the_quantizer_name_no_heavy_package():
    for folder in ("edgeinfer", "quant", "cython_kernels"):
        for path in sources(folder):
            for module in imports(path, top_level_only=True):
                assert module.split(".")[0] not in HEAVY, f"{path} imports {module}"


@pytest.mark.parametrize("module", ["edgeinfer", "edgeinfer.session", "edgeinfer.model_file"])
def test_running_models_loads_nothing_heavy(module):
    program = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    loaded = {name.split(".")[0] for name in ran.stdout.split()}
    assert not loaded.intersection(HEAVY)
    parts = {part(name) for name in ran.stdout.split() if name.startswith("edgeinfer.")}
    assert parts <= {"edgeinfer", "cython_kernels"}


def test_a_checkout_that_is_not_compiled_says_so():
    command = [sys.executable, "-c", UNCOMPILED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: this is the source folder of edgeinfer, and its kernels are not compiled; "
        "compile them here with: pip install -e '.[all]', or start Python in another folder, "
        "where it finds the edgeinfer that is installed"
    )
