"""The compiled kernels: what turns a Plan into numbers on a CPU.

kernels.h     what a kernel is, and the parameters of each
loops_*.h     one file a family; the scalar code is the meaning
conv_*.c      layers with the vectors of each instruction set, and pairs_*.c, tables_*.c
peak.c        measures what an instruction set could multiply at most
rounding.c    rounds weights in turn, for quantization
program.c     runs a whole Plan, threads.c shares a step among threads
runtime.pyx   checks a Plan's offsets and makes the one call
"""
