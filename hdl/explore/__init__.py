"""Which NPU to build for a model: configurations, what each would take and cost, the best of them.

candidates    configurations worth trying for a model
estimate      what one of them takes and costs
exploration   all of them, the Pareto front, the best under a budget
pictures      the front and the roofline as SVG and for the terminal
"""

from edgeinfer.hdl.explore.estimate import Estimate
from edgeinfer.hdl.explore.exploration import Budget, Exploration, explore

__all__ = ["Budget", "Estimate", "Exploration", "explore"]
