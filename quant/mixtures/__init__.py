"""Which values have 16 bits so that a goal is met at the least cost: ``scheme="auto"``.

What is asked for is a ``Goal`` (``quant/goals.py``).

sensitivity  the noise that each group of values adds by having 8 bits
costs        how long nodes take in each mixture of widths, by a model
ladder       mixtures that are worth measuring
quality      how good a mixture is, on runs that were held back
front        all that were measured, the Pareto front, the one that the goal asks for
mixing       from a Graph, data and a goal to these
pictures     the front as SVG
"""

from edgeinfer.quant.mixtures.front import Mixture, Point

__all__ = ["Mixture", "Point"]
