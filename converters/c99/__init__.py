"""An integer Graph as C99 for devices: no allocation, no floats, the Session's bits.

Graph ─► Plan of plain loops ─ printing ─► tables, steps, the kernels' own sources ─► templates
"""

from edgeinfer.converters.c99.compiled import Compiled, compiled
from edgeinfer.converters.c99.printing import Printed, printed

__all__ = ["Compiled", "Printed", "compiled", "printed"]
