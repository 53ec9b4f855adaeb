/* The inputs and outputs of a program, and how floats become their integers and back. */

#ifndef EDGEINFER_EDGES_H
#define EDGEINFER_EDGES_H

#include <stdint.h>

enum space { ARENA, CONSTANTS };

typedef struct {
    int64_t space, offset;
} place;

/* An input or an output: where its integers are, and what they stand for. */
typedef struct {
    place at;
    int64_t elements, bytes;
    float scale;
    float inverse[2]; /* whose sum stands for 1 / scale; 0 where floats are divided */
    int32_t zero_point;
} edge;

/* The loops of one instruction set. `quantize` returns NOT_A_NUMBER where x holds one. */
typedef struct {
    const char *isa;
    int (*quantize)(const edge *e, const float *x, void *q);
    void (*dequantize)(const edge *e, const void *q, float *x);
} edge_loops;

extern const edge_loops edge_loops_of[]; /* the best first; ends with a NULL name */

#endif
