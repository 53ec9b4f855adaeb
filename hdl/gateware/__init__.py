"""The NPU in Amaranth, one block a file; ``docs/npu.md`` says what each computes and when."""
