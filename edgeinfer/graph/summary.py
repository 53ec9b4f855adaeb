"""A Graph for readers: a few lines in a terminal, a table in a notebook."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeinfer.graph.graph import Graph

__all__ = ["in_html", "in_lines"]

# nodes that a table in a notebook shows; the rest is counted
_MOST_ROWS = 200


def in_lines(graph: Graph) -> list[str]:
    """Its name and kind, what it takes, gives and keeps, and how many of which operators."""
    kind = "integer" if graph.is_integer else "float"
    lines = [f"{kind} graph {graph.name!r}: {len(graph.nodes)} nodes"]
    lines += [f"  input  {name}: {graph.types[name]}" for name in graph.inputs]
    lines += [f"  output {name}: {graph.types[name]}" for name in graph.outputs]
    lines += [f"  state  {s.input} <- {s.output}: {graph.types[s.input]}" for s in graph.states]
    counts = Counter(type(node.op).__name__ for node in graph.nodes)
    if counts:
        lines.append(f"  {', '.join(f'{count} {op}' for op, count in counts.most_common())}")
    return lines


def in_html(graph: Graph) -> str:
    """The lines, and a table with a row a node."""
    rows = [
        f"<tr><td>{escape(node.name)}</td><td>{escape(str(node.op))}</td>"
        f"<td>{escape(', '.join(str(graph.types[name]) for name in node.outputs))}</td></tr>"
        for node in graph.nodes[:_MOST_ROWS]
    ]
    left = len(graph.nodes) - len(rows)
    if left:
        rows.append(f"<tr><td colspan=3>and {left} more</td></tr>")
    return (
        f"<pre>{escape(chr(10).join(in_lines(graph)))}</pre>"
        "<table><thead><tr><th>node</th><th>operator</th><th>gives</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
