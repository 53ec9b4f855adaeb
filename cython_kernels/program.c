/* Runs a program: quantizes the inputs, calls each step's kernel, dequantizes the outputs. */

/* for system.h */
#define _POSIX_C_SOURCE 200809L

#include "program.h"

#include <string.h>

#include "float_mode.h"
#include "system.h"

static int read_input(const program *p, const edge *e, caller_array from, int64_t slice, void *q)
{
    if (!from.is_float) {
        const size_t size = (size_t)(e->elements * e->bytes);
        memcpy(q, (const uint8_t *)from.data + slice * (int64_t)size, size);
        return DONE;
    }
    const float *x = (const float *)from.data + slice * e->elements;
    return p->edges->quantize(e, x, q);
}

static void write_output(const program *p, const edge *e, caller_array to, int64_t slice,
                         const void *q)
{
    if (!to.is_float) {
        const size_t size = (size_t)(e->elements * e->bytes);
        memcpy((uint8_t *)to.data + slice * (int64_t)size, q, size);
        return;
    }
    float *x = (float *)to.data + slice * e->elements;
    p->edges->dequantize(e, q, x);
}

static void *resolve(const program *p, uint8_t *memory, place at)
{
    /* kernels write to their outputs alone, which the planner never puts in the constants */
    return (at.space == CONSTANTS ? (uint8_t *)p->constants : memory) + at.offset;
}

void program_resolve(const program *p, uint8_t *memory, void **operands)
{
    for (int64_t i = 0; i < p->step_count; ++i) {
        const step *s = &p->steps[i];
        for (int64_t o = 0; o < s->operand_count; ++o)
            operands[i * MAX_OPERANDS + o] = resolve(p, memory, s->operands[o]);
    }
}

typedef struct {
    const program *program;
    const step *step;
    void *const *operands;
    uint8_t *memory;
} job;

/* Where a thread's scratch is: the first one's among the values, the others' behind them. */
static uint8_t *scratch_of(const program *p, const step *s, uint8_t *memory, int thread)
{
    return memory +
           (thread == 0 ? s->scratch.offset : p->arena_bytes + (thread - 1) * p->scratch_bytes);
}

static int run_part(void *argument, int part, int thread)
{
    const job *j = argument;
    const int64_t units = j->step->units, parts = j->step->parts;
    return j->step->run(j->step->parameters, j->operands, units * part / parts,
                        units * (part + 1) / parts,
                        scratch_of(j->program, j->step, j->memory, thread));
}

static int run_step(const program *p, const step *s, void *const *operands, uint8_t *memory,
                    thread_pool *threads)
{
    if (threads == NULL || s->parts == 1)
        return s->run(s->parameters, operands, 0, s->units, scratch_of(p, s, memory, 0));
    job j = {p, s, operands, memory};
    return thread_pool_run(threads, run_part, &j, (int)s->parts);
}

#define BETWEEN_LOOKS 100000000 /* nanoseconds */

/* Of a model whose values are fewer no step takes long, and a look at the clock would be felt. */
#define LONG_STEPS (1 << 20) /* bytes */

/* Whether the caller no longer wants the run; `looked` is when that was last asked. */
static int is_interrupted(const program *p, int64_t *looked)
{
    const int64_t now = nanoseconds_now();
    if (now - *looked < BETWEEN_LOOKS)
        return 0;
    *looked = now;
    return p->is_interrupted();
}

static int run_slices(const program *p, uint8_t *memory, void *const *operands,
                      thread_pool *threads, const caller_array *inputs,
                      const caller_array *outputs, int64_t slices, int64_t *nanoseconds,
                      int64_t *where)
{
    int64_t looked = nanoseconds_now();
    for (int64_t slice = 0; slice < slices; ++slice) {
        if (slice > 0 && is_interrupted(p, &looked))
            return INTERRUPTED;
        for (*where = 0; *where < p->input_count; ++*where) {
            const edge *e = &p->inputs[*where];
            const int status = read_input(p, e, inputs[*where], slice, resolve(p, memory, e->at));
            if (status != DONE)
                return status;
        }
        for (*where = 0; *where < p->step_count; ++*where) {
            const int64_t start = nanoseconds == NULL ? 0 : nanoseconds_now();
            const int status =
                run_step(p, &p->steps[*where], operands + *where * MAX_OPERANDS, memory, threads);
            if (status != DONE)
                return status;
            if (p->arena_bytes >= LONG_STEPS && is_interrupted(p, &looked))
                return INTERRUPTED;
            if (nanoseconds != NULL)
                nanoseconds[*where] += nanoseconds_now() - start;
        }
        for (int64_t i = 0; i < p->output_count; ++i) {
            const edge *e = &p->outputs[i];
            write_output(p, e, outputs[i], slice, resolve(p, memory, e->at));
        }
    }
    return DONE;
}

int program_run(const program *p, uint8_t *memory, void *const *operands, thread_pool *threads,
                const caller_array *inputs, const caller_array *outputs, int64_t slices,
                int64_t *nanoseconds, int64_t *where)
{
    /* quotients and products of scales are those of IEEE 754, whatever the caller's mode */
    const uint64_t mode = read_float_mode();
    write_float_mode(PLAIN_FLOATS);
    const int status =
        run_slices(p, memory, operands, threads, inputs, outputs, slices, nanoseconds, where);
    write_float_mode(mode);
    return status;
}
