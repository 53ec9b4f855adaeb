"""Samples, from files or from a program, as the runs of a Graph."""

from edgeinfer.data.data_set import DataSet
from edgeinfer.data.images import ImageOptions
from edgeinfer.data.loading import load_data

__all__ = ["DataSet", "ImageOptions", "load_data"]
