"""The NPU in Amaranth, one block a file; docs/npu-design.md says what they compute and when."""
