"""Samples, from files or from a program, as the runs of a Graph."""

from edgeinfer.data.loading import DataSet, ImageFolder, Layout, Preprocessing, load_data

__all__ = ["DataSet", "ImageFolder", "Layout", "Preprocessing", "load_data"]
