"""A compiled model and its NPU as a folder that a hardware engineer takes home.

model_map      where the model lies in host memory, for drivers
known_answers  a small model for each block, and programs that must end in a fault
observed       a program that also shows what it makes on the way
vectors        what the test bench runs, and what each run must leave
ip_xact        the ports as IP-XACT describes them
files          all files of the folder
"""

from edgeinfer.hdl.export.files import export

__all__ = ["export"]
