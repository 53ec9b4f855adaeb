"""An integer Graph as operators of TOSA, computed by Arm's reference model.

integer Graph ─ lowering, rules ─► TOSA's operators ─ flatbuffer ─► JSON ─ program ─► values
"""

from edgeinfer.converters.tosa.program import ReferenceModel, reference_model

__all__ = ["ReferenceModel", "reference_model"]
