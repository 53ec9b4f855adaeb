"""A compiled model and its NPU as a folder that a hardware engineer takes home.

model_map     where the model lies in host memory, for drivers
vectors       one inference for the test bench
ip_xact       the ports as IP-XACT describes them
files         all files of the folder
"""

from edgeinfer.hdl.export.files import export

__all__ = ["export"]
