"""The rule of powers of which a run computes the base and, or, the exponent."""

from __future__ import annotations

from edgeinfer.arithmetic import elementary
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops
from edgeinfer.quant.fragment import Fragment
from edgeinfer.quant.rules.between import emit_function, of_reach, product_of
from edgeinfer.quant.rules.registry import rule
from edgeinfer.quant.wide_tables import wide_table

__all__: list[str] = []


@rule(ops.Pow, makes=(ops.Lookup, ops.QMul))
def _pow(op: ops.Pow, node: Node, to: Fragment) -> None:
    """exp(b log a), with 16 bits for the logarithm and for the product."""
    a, y = node.input("a"), node.output
    low, high = to.seen(0)
    if low < 0:
        raise QuantizationError(
            f"raises what is as low as {low:g}: of a power that a run computes the base must be 0 "
            "or more"
        )
    base, exponent = (
        to.widened(place, "int16") if to.is_computed(name) else to.operand(name, "int16")
        for place, name in enumerate(node.inputs)
    )
    step = to.kind(base)[0]
    # 0 is as good as half a step
    least = max(step / 2, low / 8)
    farthest = max(abs(float(elementary.log(end))) for end in (least, 32767 * step))
    lookup = ops.Lookup(("log", ("max", "x", least)), (low, high))
    logarithms = of_reach(to.graph.types[a].shape, farthest)
    rare = max(1, min(int(low / step), 32767))
    logarithm = emit_function(to, "logarithm", logarithms, lookup, base, rare)
    # beyond, y is 0 or saturates
    ends = to.kind(y)[0] / 4, max(to.range(y))
    useful = max(abs(float(elementary.log(end))) for end in ends)
    reached = farthest * 32768 * to.kind(exponent)[0]
    powers = of_reach(to.type(y).shape, max(min(useful, reached), step))
    product = product_of(to, logarithm, exponent, powers)
    power = to.emit_part("exponent", powers, product, logarithm, exponent)
    lookup = ops.Lookup(("exp", "x"), (-useful, useful))
    wide = to.in_16_bits("wide", y) if to.kind(y)[2] == "int8" else y
    entries = wide_table(lookup.expression, lookup.domain, to.kind(power), to.kind(wide))
    to.emit_by_way_of(wide, lookup, power, to.constant("table", entries, None))
