/* Runs a Plan on the processor that it is compiled for, each step within exactly its operands.
 *
 *     plan_runner tables      prints what the planner has to know of this processor
 *     plan_runner < plan      writes the outputs' bytes
 *
 * Operands lie in memories of their own between two pages that nobody may touch: once they end
 * where the one begins, once they begin where the other ends. plan_runner.py writes the plan.
 */

#define _DEFAULT_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "edges.h"
#include "kernels.h"

static void *checked(void *found) {
    if (found == NULL || found == MAP_FAILED) {
        perror("plan_runner");
        exit(2);
    }
    return found;
}

/* ---- memories between pages ---- */

typedef struct {
    char *start; /* of what may be touched */
    void *pages;
    size_t pages_size;
} fenced;

static fenced fence(int64_t size, int at_end) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = ((size_t)size + page - 1) / page * page;
    char *pages =
        checked(mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (inner > 0 && mprotect(pages + page, inner, PROT_READ | PROT_WRITE) != 0) checked(NULL);
    /* what nobody has written is no zero */
    memset(pages + page, 0xa5, inner);
    char *start = pages + page + (at_end ? inner - (size_t)size : 0);
    return (fenced){start, pages, inner + 2 * page};
}

static void release(fenced f) { munmap(f.pages, f.pages_size); }

/* ---- the plan: 64-bit integers and bytes ---- */

static const char *plan;

static int64_t number(void) {
    int64_t found;
    memcpy(&found, plan, sizeof found);
    plan += sizeof found;
    return found;
}

static const char *bytes(int64_t size) {
    const char *found = plan;
    plan += size;
    return found;
}

static void read_plan(void) {
    size_t size = 0, room = 1 << 20;
    char *all = checked(malloc(room));
    for (size_t had; (had = fread(all + size, 1, room - size, stdin)) > 0;) {
        size += had;
        if (size == room) all = checked(realloc(all, room *= 2));
    }
    plan = all;
}

static edge read_edge(void) {
    edge e;
    e.at.space = ARENA;
    e.at.offset = number();
    e.elements = number();
    e.bytes = number();
    e.zero_point = (int32_t)number();
    memcpy(&e.scale, bytes(sizeof e.scale), sizeof e.scale);
    memcpy(e.inverse, bytes(sizeof e.inverse), sizeof e.inverse);
    return e;
}

/* ---- its parts ---- */

typedef struct {
    char *arena;
    const char *constants;
    int64_t scratch_bytes;
    const edge_loops *edges;
} machine;

static void take_input(const machine *m, int at_end) {
    const edge e = read_edge();
    const int is_float = (int)number();
    const int64_t size = e.elements * e.bytes, given = e.elements * (is_float ? 4 : e.bytes);
    const fenced x = fence(given, at_end), q = fence(size, at_end);
    memcpy(x.start, bytes(given), (size_t)given);
    if (!is_float)
        memcpy(q.start, x.start, (size_t)size);
    else if (m->edges->quantize(&e, (const float *)x.start, q.start) != DONE)
        exit(3);
    memcpy(m->arena + e.at.offset, q.start, (size_t)size);
    release(x);
    release(q);
}

static void give_output(const machine *m, int at_end) {
    const edge e = read_edge();
    const int is_float = (int)number();
    const int64_t size = e.elements * e.bytes, given = e.elements * (is_float ? 4 : e.bytes);
    const fenced x = fence(given, at_end), q = fence(size, at_end);
    memcpy(q.start, m->arena + e.at.offset, (size_t)size);
    if (is_float)
        m->edges->dequantize(&e, q.start, (float *)x.start);
    else
        memcpy(x.start, q.start, (size_t)size);
    fwrite(x.start, 1, (size_t)given, stdout);
    release(x);
    release(q);
}

/* An operand, and the one before it that is the same place. */
typedef struct {
    char *home;
    int64_t size;
    int same;
} operand;

static void run_step(const machine *m, int at_end) {
    const kernel *k = &kernels[number()];
    const int64_t units = number();
    const int64_t parameter_count = number();
    int64_t *parameters = checked(malloc((size_t)(parameter_count + 1) * sizeof(int64_t)));
    for (int64_t i = 0; i < parameter_count; ++i) parameters[i] = number();
    const int count = (int)number(), outputs = (int)number();
    operand all[MAX_OPERANDS];
    fenced memories[MAX_OPERANDS];
    void *starts[MAX_OPERANDS];
    for (int i = 0; i < count; ++i) {
        const char *memory = number() == ARENA ? m->arena : m->constants;
        all[i].home = (char *)memory + number();
        all[i].size = number();
        all[i].same = i;
        for (int j = i - 1; j >= 0; --j)
            if (all[j].home == all[i].home && all[j].size == all[i].size) all[i].same = j;
        if (all[i].same == i) {
            memories[i] = fence(all[i].size, at_end);
            memcpy(memories[i].start, all[i].home, (size_t)all[i].size);
        }
        starts[i] = memories[all[i].same].start;
    }
    /* threads share the units, each with a scratch of its own */
    const int64_t parts = units < 2 ? units : 2;
    for (int64_t part = 0; part < parts; ++part) {
        const fenced scratch = fence(m->scratch_bytes, at_end);
        const int64_t begin = units * part / parts, end = units * (part + 1) / parts;
        if (k->run(parameters, starts, begin, end, scratch.start) != DONE) exit(4);
        release(scratch);
    }
    /* outputs come last */
    for (int i = count - outputs; i < count; ++i)
        memcpy(all[i].home, starts[i], (size_t)all[i].size);
    for (int i = 0; i < count; ++i)
        if (all[i].same == i) release(memories[i]);
    free(parameters);
}

static void run_plan(int at_end) {
    machine m;
    m.edges = &edge_loops_of[number()];
    m.scratch_bytes = number();
    const int64_t arena_bytes = number();
    m.constants = bytes(number());
    m.arena = checked(calloc((size_t)arena_bytes + 1, 1));
    for (int64_t left = number(); left > 0; --left) take_input(&m, at_end);
    for (int64_t left = number(); left > 0; --left) run_step(&m, at_end);
    for (int64_t left = number(); left > 0; --left) give_output(&m, at_end);
    free(m.arena);
}

static void print_tables(void) {
    for (const instruction_set *i = instruction_sets; i->name != NULL; ++i)
        if (i->is_supported()) printf("isa %s\n", i->name);
    for (const edge_loops *loops = edge_loops_of; loops->isa != NULL; ++loops)
        printf("edges %s\n", loops->isa);
    for (const kernel *k = kernels; k->name != NULL; ++k) {
        printf("kernel %s %s", k->name, k->isa);
        for (const parameter *p = k->parameters; p->name != NULL; ++p)
            printf(" %s %d", p->name, (int)p->count);
        printf("\n");
        if (k->layout != NULL) {
            printf("layout %s %s", k->name, k->isa);
            const int64_t *fields = (const int64_t *)k->layout;
            for (size_t i = 0; i < sizeof *k->layout / sizeof *fields; ++i)
                printf(" %d", (int)fields[i]);
            printf("\n");
        }
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "tables") == 0) {
        print_tables();
        return 0;
    }
    /* a system lends registers to a process that has asked whether it does */
    for (const instruction_set *i = instruction_sets; i->name != NULL; ++i) (void)i->is_supported();
    read_plan();
    const char *start = plan;
    run_plan(1);
    plan = start;
    run_plan(0);
    return 0;
}
