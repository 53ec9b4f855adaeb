/* A Plan in C: its steps and edges, and the one call that runs it all. */

#ifndef EDGEINFER_PROGRAM_H
#define EDGEINFER_PROGRAM_H

#include "edges.h"
#include "kernels.h"
#include "threads.h"

typedef struct {
    kernel_function run;
    const void *parameters;
    int64_t operand_count;
    place operands[MAX_OPERANDS];
    int64_t units;
    int64_t parts; /* into how many pieces the units go, for whichever thread is free */
    place scratch; /* of the first thread */
} step;

/* What a run returns beside a kernel's statuses: its caller no longer wants it. */
enum { INTERRUPTED = 3 };

typedef struct {
    step *steps;
    edge *inputs, *outputs;
    int64_t step_count, input_count, output_count;
    const edge_loops *edges;
    const uint8_t *constants;
    int64_t arena_bytes;
    int64_t scratch_bytes; /* of each further thread; they follow the arena */
    int (*is_interrupted)(void);
} program;

/* A caller's array: `slices` times an edge's elements, as floats or as the edge's integers. */
typedef struct {
    void *data;
    int is_float;
} caller_array;

/* Where the operands of each step are, MAX_OPERANDS apart, once and for all runs in `memory`. */
void program_resolve(const program *p, uint8_t *memory, void **operands);

/* Runs `slices` batches. `memory` is the arena and the further threads' scratch, and `operands`
 * what program_resolve made of it. Where `nanoseconds` is not NULL, each step's time is added to
 * its entry. Where the status is not DONE, `where` is the input (NOT_A_NUMBER) or the step
 * (INDEX_OUT_OF_RANGE) to blame. `is_interrupted` is asked ten times a second, between slices, and
 * between the steps of a model whose steps may take long: the run then ends as INTERRUPTED, with
 * the outputs of whole slices. */
int program_run(const program *p, uint8_t *memory, void *const *operands, thread_pool *threads,
                const caller_array *inputs, const caller_array *outputs, int64_t slices,
                int64_t *nanoseconds, int64_t *where);

#endif
