"""What all tests share; modules beside this file, such as ``tests.strategies``, are imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

# a slow machine is no failure
settings.register_profile("edgeinfer", deadline=None)
settings.load_profile("edgeinfer")


@pytest.fixture(scope="session")
def zoo() -> ModuleType:
    """The module ``zoo``, whose ``load`` gives real models with their data."""
    folder = os.environ.get("EDGEINFER_ZOO")
    if not folder:
        pytest.skip("EDGEINFER_ZOO names no folder with real models")
    spec = importlib.util.spec_from_file_location("zoo", Path(folder) / "zoo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # its dataclasses look their module up by name
    sys.modules["zoo"] = module
    spec.loader.exec_module(module)
    return module
