"""What a layer reads and writes, and which lines and words of it a part of the layer touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgeinfer.hdl.compiler.bands import Bands
from edgeinfer.hdl.compiler.jobs import Job
from edgeinfer.hdl.compiler.layers import Layer, Region
from edgeinfer.hdl.compiler.layout import Tensor, View
from edgeinfer.hdl.isa import Mode

__all__ = ["Item", "Operands", "items"]


@dataclass(frozen=True)
class Item:
    """A job over a band of output rows."""

    job: Job
    region: Region


def items(jobs: Sequence[Job], bands: Bands | None) -> Iterator[Item]:
    """``jobs`` in ``bands`` of rows where there are any."""
    for job in jobs:
        for region in job.region.bands(job.region.rows if bands is None else bands.rows):
            yield Item(job, region)


class Operands:
    """The views of a layer's operands and of its result, by their part in it.

    Parameters
    ----------
    layer : Layer
    views : mapping of str to View
        Of all values.
    columns : int
        Elements of a word.

    Attributes
    ----------
    views : dict of str to View
        ``source``, ``output``, and ``second`` where there is one.
    """

    def __init__(self, layer: Layer, views: Mapping[str, View], columns: int) -> None:
        self.layer, self.columns = layer, columns
        values = {"source": layer.source, "output": layer.output}
        if layer.second is not None:
            values["second"] = layer.second.value
        self.views = {name: views[value] for name, value in values.items()}

    def names(self, job: Job) -> list[str]:
        """Those that ``job`` needs: a part of sums that are not complete only its source."""
        return list(self.views) if job.last else ["source"]

    def tensor(self, name: str) -> Tensor:
        """The tensor of one of them."""
        return self.views[name].tensor

    @property
    def broadcasts(self) -> bool:
        """Whether the second operand is one pixel for all."""
        return _is_one_pixel(self.tensor("second"))

    def lines(self, item: Item, name: str) -> range:
        """The lines of a tensor that ``item`` reads, or its rows of the result."""
        region, layer = item.region, item.job.layer
        if name != "output" and _is_one_pixel(self.tensor(name)):
            return range(1)
        if name != "source":
            return range(region.top, region.bottom)
        down, pad = layer.strides[0], layer.pads[0]
        reach = (layer.kernel[0] - 1) * layer.dilations[0] + 1
        height = self.tensor("source").height
        first = max(0, region.top * down - pad)
        return range(first, max(first, min(height, (region.bottom - 1) * down - pad + reach)))

    def groups(self, item: Item, name: str) -> range:
        """The words of a pixel that ``item`` reads or writes."""
        job = item.job
        if name == "source" and job.layer.mode is Mode.DENSE:
            own = job.layer.read(self.views["source"].positions)
            return range(own[0] // self.columns, own[-1] // self.columns + 1)
        first = job.kernel.first + job.group
        return range(first, first + job.groups)


def _is_one_pixel(tensor: Tensor) -> bool:
    return tensor.height == tensor.width == 1
