"""Builds the extension modules; everything else about the package stands in pyproject.toml."""

import os
import shutil
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


class BuildKernels(build_ext):
    """Builds with the options of the compiler that is found, and those of EDGEINFER_CFLAGS."""

    def build_extensions(self) -> None:
        """Tell every extension how it is compiled."""
        if self.compiler.compiler_type == "msvc":
            flags = ["/O2", "/std:c11"]
        else:
            # no debug information: it is four fifths of the module (-g brings it back)
            flags = ["-O3", "-std=c11", "-fno-strict-aliasing", "-g0"]
            flags += ["-Wall", "-Wextra", "-Wno-unused-parameter"]
        for extension in self.extensions:
            extension.extra_compile_args = [*flags, *os.environ.get("EDGEINFER_CFLAGS", "").split()]
        super().build_extensions()


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
        extra_link_args=os.environ.get("EDGEINFER_LDFLAGS", "").split(),
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
