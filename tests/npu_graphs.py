"""Graphs that the NPU can run, and configurations whose memories they do not fit."""

from __future__ import annotations

import os

from edgeinfer.hdl.config import NpuConfig, preset
from tests import strategies

EXAMPLES = int(os.environ.get("EDGEINFER_NPU_EXAMPLES", "40"))
"""Random graphs for each configuration."""

GROWTHS = (
    strategies.conv,
    strategies.conv,
    strategies.dense,
    strategies.add_or_sub,
    strategies.mul,
    strategies.mat_mul,
    strategies.rescale,
    strategies.prelu,
    strategies.lookup,
    strategies.max_pool,
    strategies.average_pool,
    strategies.reduce_sum,
    strategies.reduce_extreme,
    strategies.concat,
    strategies.slice_,
    strategies.split,
    strategies.gather,
    strategies.pad,
    strategies.reshape,
    strategies.transpose,
    strategies.tile_or_expand,
    strategies.depth_and_space,
    strategies.resize,
    strategies.resize_by_weights,
)

REDUCTIONS = (
    strategies.softmax,
    strategies.normalization,
    strategies.conv,
    strategies.dense,
    strategies.add_or_sub,
    strategies.concat,
    strategies.slice_,
)
"""For configurations with reductions."""

SMALL = {
    "8x16": {"buffer_bytes": 4096},
    "4x4": {"buffer_bytes": 1024, "weight_bytes": 256, "parameter_rows": 16},
    "8x8": {"buffer_bytes": 2048, "weight_bytes": 1024, "weight_port": 8, "lanes": 8},
    "9x16": {"buffer_bytes": 4096, "weight_bytes": 1152, "lanes": 16},
    "16x16": {"accumulator_depth": 16},
    "8x8-16": {"buffer_bytes": 4096, "weight_bytes": 2048},
}
"""What to change in a preset so that tensors, weights and parameters must be streamed.

Weight memories are of 8 or 16 tiles: kernels of a few dozen elements are deep sums.
"""


def configuration(name: str, *, small: bool) -> NpuConfig:
    return preset(name).replace(**SMALL[name]) if small else preset(name)


def graphs(name: str, growths=GROWTHS, max_nodes: int = 8):
    """Integer Graphs of the element width of configuration ``name``."""
    schemes = ("int16x8", "int16") if name.endswith("-16") else ("int8",)
    return strategies.integer_graphs(
        schemes=schemes, growths=growths, max_nodes=max_nodes, batches=(1,), vectors=False
    )
