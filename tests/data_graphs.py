"""Graphs that take inputs of given shapes, and images on disk, for tests of data."""

import numpy as np
from PIL import Image

from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops

__all__ = ["image", "taking"]


def taking(**shapes: tuple[int, ...]) -> Graph:
    types = {name: TensorType(shape) for name, shape in shapes.items()}
    nodes = tuple(Node(f"n {n}", ops.Reshape(s), (n,), (f"{n} out",)) for n, s in shapes.items())
    types |= {f"{name} out": kind for name, kind in types.items()}
    outputs = tuple(f"{name} out" for name in shapes)
    return Graph("g", nodes, types, tuple(shapes), outputs, {}, free_batch=True)


def image(path, pixels) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(np.array(pixels, np.uint8)).save(path)
