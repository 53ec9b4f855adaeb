"""Compiled simulation: Verilog into a library, models run on it, pictures of what it did."""
