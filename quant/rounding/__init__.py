"""Weights that see the data: rounded and offset after what the integer Graph gives each layer.

choice.py   which way a model gets, as asked or judged on runs held back
layers.py   every layer in the order of the flow, and that its accumulators stay proven
walk.py     runs through a Graph from layer to layer
moments.py  what a layer takes there, as sums of integers
in_turn.py  weights rounded one after another, each making up for those before it
bias.py     biases by which the mean error is 0
"""

__all__ = ["WAYS"]

# the simplest first
WAYS = ("nearest", "bias", "in-turn")
