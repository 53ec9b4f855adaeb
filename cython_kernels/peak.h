/* How many products of int8 a second this core can sum, whatever the layer. */

#ifndef EDGEINFER_PEAK_H
#define EDGEINFER_PEAK_H

/* Multiply-accumulates a second of one thread, from registers alone; 0 where there is no
 * measurement for the instruction set. It must be one that the processor has.
 */
double peak_rate(const char *isa);

#endif
