"""Builds the extension modules; everything else about the package stands in pyproject.toml."""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
LINKED = ("converters", "cython_kernels", "hdl", "quant")


def restore_links() -> None:
    """Put back the folder links inside ``edgeinfer/`` where a zip or a checkout lost them."""
    for name in LINKED:
        link, target = ROOT / "edgeinfer" / name, ROOT / name
        if link.is_dir():
            continue
        if not target.is_dir():
            raise SystemExit(f"the folder {name}/ is missing from the sources")
        # a lost link is a small text file that holds the link's target, or nothing at all
        link.unlink(missing_ok=True)
        try:
            link.symlink_to(Path("..") / name, target_is_directory=True)
        except OSError:
            shutil.copytree(target, link)


def options(compiler: str, platform: str) -> tuple[list[str], list[str]]:
    """How the extensions are compiled and linked.

    Parameters
    ----------
    compiler : str
        As setuptools calls it: ``unix`` for what takes GCC's options, ``msvc``, ``mingw32``.
    platform : str
        As ``sys.platform``.
    """
    if compiler == "msvc":
        return ["/O2", "/std:c11"], []
    # no debug information: it is four fifths of the module (-g brings it back)
    compiling = ["-O3", "-std=c11", "-fno-strict-aliasing", "-g0"]
    compiling += ["-Wall", "-Wextra", "-Wno-unused-parameter"]
    if compiler == "unix":
        # no library that is loaded before has a function that takes the place of one of these
        compiling += ["-fvisibility=hidden", "-fstack-protector-strong"]
        # Python's own options may ask for another level
        compiling += ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
    # the addresses of other libraries' functions are found, and made read-only, as it is loaded
    elf = compiler == "unix" and platform == "linux"
    return compiling, ["-Wl,-z,relro,-z,now"] if elf else []


class BuildKernels(build_ext):
    """Builds with the compiler's options, and those of EDGEINFER_CFLAGS and EDGEINFER_LDFLAGS."""

    def build_extensions(self) -> None:
        """Tell every extension how it is compiled and linked."""
        compiling, linking = options(self.compiler.compiler_type, sys.platform)
        for extension in self.extensions:
            extension.extra_compile_args = compiling + _given("EDGEINFER_CFLAGS")
            extension.extra_link_args = linking + _given("EDGEINFER_LDFLAGS")
        super().build_extensions()


def _given(variable: str) -> list[str]:
    return os.environ.get(variable, "").split()


def extensions() -> list[Extension]:
    """One module an interface file; the C files beside it belong to ``runtime``."""
    from Cython.Build import cythonize

    folder = "edgeinfer/cython_kernels"
    sources = sorted(p.name for p in (ROOT / folder).glob("*.c") if p.stem != "runtime")
    runtime = Extension(
        "edgeinfer.cython_kernels.runtime",
        [f"{folder}/runtime.pyx", *(f"{folder}/{name}" for name in sources)],
        include_dirs=[folder],
        depends=[str(p.relative_to(ROOT)) for p in (ROOT / folder).glob("*.h")],
        define_macros=[("Py_LIMITED_API", "0x030B0000"), ("CYTHON_LIMITED_API", "1")],
        py_limited_api=True,
    )
    return cythonize([runtime], build_dir="build", compiler_directives={"language_level": "3"})


restore_links()
os.chdir(ROOT)
setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
