"""A recurrent layer as integer operators, step after step.

W x is one layer over the whole sequence. Then each step takes its part of that, and the state that
the step before has left. All steps have the same constants and types, so that a layer which is run
one step at a time gives the same bits.

Within a step all has 16 bits but what R multiplies: h has y's type. What adds up from step to step,
c of an LSTM and h of a GRU, is kept in 16 bits; h of a GRU is rounded to y's type beside that. Of
the ranges only y's and that of an LSTM's cells come from data: a function settles, and what it is
given need reach no farther; nor need a summand reach farther than the others can bring back.
"""

from edgeinfer.quant.rules.recurrent import cells

__all__ = ["cells"]
