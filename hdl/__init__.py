"""An integer Graph into an NPU program, a simulation, Verilog, a bitstream: not built yet."""
