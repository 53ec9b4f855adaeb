"""Turns a Plan into a Program: C structs with checked offsets, and one call that runs them.

C does the arithmetic, the planner chose it; this boundary copies the Plan's numbers into C once,
checks that every operand lies inside the memory that it names, and lends each concurrent caller a
memory of its own.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport strcmp

cdef extern from "Python.h":
    int PyErr_CheckSignals()

cdef extern from "kernels.h" nogil:
    enum: DONE
    enum: NOT_A_NUMBER
    enum: INDEX_OUT_OF_RANGE
    enum: MAX_OPERANDS
    enum: MAX_RANK

    ctypedef int (*kernel_function)(
        const void *parameters, void *const *operands, int64_t begin, int64_t end, void *scratch
    )

    ctypedef struct parameter:
        const char *name
        int64_t count

    ctypedef struct weight_layout:
        int64_t lanes
        int64_t taps
        int64_t vectors
        int64_t offset
        int64_t bytes
        int64_t chunk
        int64_t has_floats

    ctypedef struct kernel:
        const char *name
        const char *isa
        kernel_function run
        const parameter *parameters
        const weight_layout *layout

    const kernel kernels[]

    ctypedef struct instruction_set:
        const char *name
        int (*is_supported)()

    const instruction_set instruction_sets[]

cdef extern from "peak.h" nogil:
    double peak_rate(const char *isa)

cdef extern from "rounding.h" nogil:
    enum: FACTOR_SCRATCH
    enum: ROUNDING_SCRATCH

    int64_t factorize(double *a, int64_t n, double *scratch)
    void c_round_in_turn "round_in_turn"(
        const double *factor, int64_t n, double *w, int64_t channels, double top, double *scratch
    )

cdef extern from "system.h" nogil:
    int64_t process_number()

cdef extern from "threads.h" nogil:
    ctypedef struct thread_pool:
        pass

    thread_pool *thread_pool_new(int threads)
    void thread_pool_free(thread_pool *pool)

cdef extern from "program.h" nogil:
    enum: ARENA
    enum: CONSTANTS

    ctypedef struct place:
        int64_t space
        int64_t offset

    ctypedef struct step:
        kernel_function run
        const void *parameters
        int64_t operand_count
        place *operands
        int64_t units
        int64_t parts
        place scratch

    ctypedef struct edge:
        place at
        int64_t elements
        int64_t bytes
        float scale
        float inverse[2]
        int32_t zero_point

    ctypedef struct edge_loops:
        const char *isa

    const edge_loops edge_loops_of[]

    ctypedef struct program:
        const edge_loops *edges
        step *steps
        edge *inputs
        edge *outputs
        int64_t step_count
        int64_t input_count
        int64_t output_count
        const uint8_t *constants
        int64_t arena_bytes
        int64_t scratch_bytes
        int (*is_interrupted)() noexcept

    enum: INTERRUPTED

    ctypedef struct caller_array:
        void *data
        int is_float

    void program_resolve(const program *p, uint8_t *memory, void **operands)
    int program_run(
        const program *p, uint8_t *memory, void *const *operands, thread_pool *threads,
        const caller_array *inputs, const caller_array *outputs, int64_t slices,
        int64_t *nanoseconds, int64_t *where
    )

__all__ = [
    "EDGE_LOOPS",
    "ISAS",
    "KERNELS",
    "LAYOUTS",
    "SUPPORTED",
    "BoundRuns",
    "PlainEdge",
    "PlainRuns",
    "Program",
    "RunError",
    "fields_of",
    "peak",
    "round_in_turn",
]


def _kernel_table():
    table = {}
    cdef const kernel *k = &kernels[0]
    while k.name != NULL:
        table.setdefault(k.name.decode(), []).append(k.isa.decode())
        k += 1
    return {name: tuple(isas) for name, isas in table.items()}


# Where an arena starts; its places are multiples of it from there.
cdef size_t ALIGNMENT = 64

# More pieces than threads, so that a thread which the machine holds up delays one piece.
cdef int PARTS_A_THREAD = 2

def _layouts():
    table = {}
    cdef const weight_layout *layout
    cdef const kernel *k = &kernels[0]
    while k.name != NULL:
        if k.layout != NULL:
            key = k.name.decode(), k.isa.decode()
            layout = k.layout
            table[key] = (
                layout.lanes, layout.taps, layout.vectors, layout.offset, layout.bytes,
                layout.chunk, layout.has_floats,
            )
        k += 1
    return table


def _instruction_sets(only_supported):
    names = []
    cdef const instruction_set *i = &instruction_sets[0]
    while i.name != NULL:
        if not only_supported or i.is_supported():
            names.append(i.name.decode())
        i += 1
    return tuple(names)


def _edge_loops():
    names = []
    cdef const edge_loops *loops = &edge_loops_of[0]
    while loops.isa != NULL:
        names.append(loops.isa.decode())
        loops += 1
    return tuple(names)


def fields_of(str name):
    """The parameters of the kernel ``name`` in the order of its struct, and whether each has one an
    axis.

    Raises
    ------
    KeyError
        There is no such kernel.
    """
    cdef bytes encoded = name.encode()
    cdef const char *c_name = encoded
    cdef const kernel *k = &kernels[0]
    cdef const parameter *p
    while k.name != NULL and strcmp(k.name, c_name) != 0:
        k += 1
    if k.name == NULL:
        raise KeyError(name)
    fields = []
    p = k.parameters
    while p.name != NULL:
        fields.append((p.name.decode(), p.count > 1))
        p += 1
    return fields


EDGE_LOOPS = _edge_loops()
KERNELS = _kernel_table()
LAYOUTS = _layouts()
ISAS = _instruction_sets(False)
SUPPORTED = _instruction_sets(True)


def peak(str isa):
    """Multiply-accumulates a second that one thread can do with ``isa``, which is ``SUPPORTED``.

    Measured on registers, in a few hundredths of a second; 0 for sets that are not measured.
    """
    cdef bytes name = isa.encode()
    cdef const char *c_name = name
    cdef double rate
    if isa not in SUPPORTED:
        raise ValueError(f"this processor has no {isa}")
    with nogil:
        rate = peak_rate(c_name)
    return rate


def round_in_turn(moments, weights, double top):
    """Round ``weights`` one column after another, each making up for those before it.

    What a channel's error e leaves is ``e^T H e`` for the ``moments`` H of its group, ``R R^T``
    with R upper triangular.

    Parameters
    ----------
    moments : writable float64 buffer [groups, n, n]
        Symmetric and positive definite; the upper triangles become R.
    weights : writable float64 buffer [groups, channels, n]
        Become whole numbers.
    top : float
        Their largest magnitude.

    Raises
    ------
    ValueError
        A buffer is none of these, or moments are not positive definite.
    """
    cdef Py_buffer h, w
    cdef double *scratch = NULL
    cdef int64_t groups, channels, n, group = 0, failed = 0
    PyObject_GetBuffer(moments, &h, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)
    try:
        PyObject_GetBuffer(weights, &w, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)
        try:
            if h.ndim != 3 or w.ndim != 3 or strcmp(h.format, b"d") or strcmp(w.format, b"d"):
                raise ValueError("moments and weights are float64 of three axes")
            groups, channels, n = w.shape[0], w.shape[1], w.shape[2]
            if h.shape[0] != groups or h.shape[1] != n or h.shape[2] != n:
                raise ValueError(f"moments must be [{groups}, {n}, {n}] as the weights are")
            scratch = <double *>calloc(
                max(n, 1), max(FACTOR_SCRATCH, ROUNDING_SCRATCH) * sizeof(double)
            )
            if scratch == NULL:
                raise MemoryError
            with nogil:
                for group in range(groups):
                    failed = factorize(<double *>h.buf + group * n * n, n, scratch)
                    if failed != n:
                        break
                    c_round_in_turn(
                        <double *>h.buf + group * n * n, n,
                        <double *>w.buf + group * channels * n, channels, top, scratch,
                    )
            if groups and failed != n:
                raise ValueError(
                    f"the moments of group {group} are not positive definite at column {failed}"
                )
        finally:
            free(scratch)
            PyBuffer_Release(&w)
    finally:
        PyBuffer_Release(&h)


class RunError(Exception):
    """A run stopped: ``reason`` is "nan" or "index", ``where`` the input or step to blame.

    A bound run has more reasons: "busy", and "input" or "output" where that array has changed.
    """

    def __init__(self, reason, where):
        super().__init__(f"{reason} at {where}")
        self.reason = reason
        self.where = where


# What one caller needs while it runs; idle ones wait on a stack. The operands are those of the
# steps in the memory ``resolved``.
cdef struct context:
    void *allocation
    uint8_t *memory
    uint8_t *resolved
    void **operands
    Py_buffer *views
    caller_array *arrays
    context *next


cdef const kernel *_find(str name, str isa) except NULL:
    cdef bytes wanted_name = name.encode(), wanted_isa = isa.encode()
    cdef const kernel *k = &kernels[0]
    while k.name != NULL:
        if strcmp(k.name, wanted_name) == 0 and strcmp(k.isa, wanted_isa) == 0:
            return k
        k += 1
    raise ValueError(f"no kernel is called {name} for {isa}")


cdef int64_t *_pack(const kernel *k, dict values) except NULL:
    """The kernel's parameter struct, which holds nothing but int64, in its own order."""
    cdef const parameter *p = k.parameters
    cdef int64_t size = 0, at = 0, i
    cdef set names = set()
    while p.name != NULL:
        names.add(p.name.decode())
        size += p.count
        p += 1
    if names != set(values):
        raise ValueError(
            f"kernel {k.name.decode()} takes {sorted(names)}, not {sorted(values)}"
        )
    cdef int64_t *packed = <int64_t *>calloc(max(size, 1), sizeof(int64_t))
    if packed == NULL:
        raise MemoryError
    p = k.parameters
    try:
        while p.name != NULL:
            value = values[p.name.decode()]
            if p.count == 1:
                packed[at] = value
            else:
                if len(value) > p.count:
                    raise ValueError(f"{p.name.decode()} has more than {p.count} entries")
                for i in range(len(value)):
                    packed[at + i] = value[i]
            at += p.count
            p += 1
    except BaseException:
        free(packed)
        raise
    return packed


cdef class Program:
    """A Plan ready to run.

    Parameters
    ----------
    plan : edgeinfer.runtime.planner.Plan
        What to run; its constants are kept, not copied.
    threads : int
        How many threads may share a step, the caller's among them.

    Raises
    ------
    ValueError
        The plan names an unknown kernel, a wrong parameter, or a place outside its memory.
    """

    cdef program c
    cdef thread_pool *pool
    cdef bint is_shared  # some step is worth a second thread
    cdef int threads
    cdef int64_t pid
    cdef context *idle
    cdef Py_buffer constants
    cdef int64_t constant_bytes

    def __cinit__(self, plan, int threads):
        self.threads = threads
        PyObject_GetBuffer(plan.constants, &self.constants, PyBUF_C_CONTIGUOUS)
        self.constant_bytes = self.constants.len
        self.c.constants = <const uint8_t *>self.constants.buf
        self.c.arena_bytes = plan.arena_bytes
        self.c.scratch_bytes = plan.scratch_bytes
        if self.c.arena_bytes < 0 or self.c.scratch_bytes < 0:
            raise ValueError("an arena has no negative size")
        self.c.steps = <step *>calloc(max(len(plan.steps), 1), sizeof(step))
        self.c.inputs = <edge *>calloc(max(len(plan.inputs), 1), sizeof(edge))
        self.c.outputs = <edge *>calloc(max(len(plan.outputs), 1), sizeof(edge))
        if self.c.steps == NULL or self.c.inputs == NULL or self.c.outputs == NULL:
            raise MemoryError
        self.c.edges = &edge_loops_of[0]
        while strcmp(self.c.edges.isa, plan.edges_isa.encode()) != 0:
            self.c.edges += 1
            if self.c.edges.isa == NULL:
                raise ValueError(f"no loops for {plan.edges_isa}")
        for s in plan.steps:
            self._add_step(s)
        for e in plan.inputs:
            self._set_edge(&self.c.inputs[self.c.input_count], e)
            self.c.input_count += 1
            if e.place.space != "arena":
                raise ValueError("an input must lie in the arena")
        for e in plan.outputs:
            self._set_edge(&self.c.outputs[self.c.output_count], e)
            self.c.output_count += 1
        self.c.is_interrupted = _has_signal
        self._start_threads()

    def __dealloc__(self):
        cdef context *ctx
        # in a child of fork the pool's threads do not exist and its locks may be held
        if self.pool != NULL and self.pid == process_number():
            thread_pool_free(self.pool)
        while self.idle != NULL:
            ctx = self.idle
            self.idle = ctx.next
            _free_context(ctx)
        for i in range(self.c.step_count):
            free(<void *>self.c.steps[i].parameters)
        free(self.c.steps)
        free(self.c.inputs)
        free(self.c.outputs)
        PyBuffer_Release(&self.constants)

    cdef int _start_threads(self) except -1:
        self.pid = process_number()
        self.pool = NULL
        if self.is_shared:
            self.pool = thread_pool_new(self.threads)
            if self.pool == NULL:
                raise MemoryError(f"cannot start {self.threads} threads")
        return 0

    cdef int _renew_threads(self) except -1:
        """Start them anew in a child of fork, which has none."""
        if self.pool != NULL and self.pid != process_number():
            self._start_threads()
        return 0

    cdef place _place(self, p) except *:
        cdef place found
        cdef int64_t size = p.nbytes
        found.space = {"arena": ARENA, "constants": CONSTANTS}[p.space]
        found.offset = p.offset
        cdef int64_t limit = (
            self.c.arena_bytes if found.space == ARENA else self.constant_bytes
        )
        if found.offset < 0 or size < 0 or size > limit or found.offset > limit - size:
            raise ValueError(f"{size} bytes at {found.offset} leave the {p.space} of {limit}")
        return found

    cdef int _add_step(self, s) except -1:
        cdef step *to = &self.c.steps[self.c.step_count]
        cdef const kernel *k = _find(s.kernel, s.isa)
        if not 0 < len(s.operands) <= MAX_OPERANDS:
            raise ValueError(f"a step has 1 to {MAX_OPERANDS} operands, not {len(s.operands)}")
        if not 0 < s.outputs <= len(s.operands):
            raise ValueError(f"{s.outputs} of {len(s.operands)} operands cannot be outputs")
        for operand in s.operands[-s.outputs:]:
            if operand.space != "arena":
                raise ValueError("a step must write to the arena")
        to.parameters = _pack(k, dict(s.parameters))
        self.c.step_count += 1
        to.run = k.run
        to.operand_count = len(s.operands)
        for i, operand in enumerate(s.operands):
            to.operands[i] = self._place(operand)
        if s.scratch.space != "arena" or s.scratch.nbytes > self.c.scratch_bytes:
            raise ValueError("a step's scratch must lie in the arena and fit each thread's")
        to.scratch = self._place(s.scratch)
        to.units = s.units
        to.parts = max(1, min(PARTS_A_THREAD * self.threads, s.units, s.parts))
        self.is_shared = self.is_shared or (self.threads > 1 and to.parts > 1)
        return 0

    cdef int _set_edge(self, edge *to, e) except -1:
        to.at = self._place(e.place)
        to.elements = e.elements
        to.bytes = e.itemsize
        to.scale = e.scale
        to.inverse[0], to.inverse[1] = e.inverse
        to.zero_point = e.zero_point
        if e.elements * e.itemsize != e.place.nbytes:
            raise ValueError("an edge's elements do not fill its place")
        return 0

    @property
    def memory_bytes(self):
        """Bytes of one caller's memory: the arena and each further thread's scratch."""
        return self.c.arena_bytes + (self.threads - 1) * self.c.scratch_bytes

    cdef context *_take(self) except NULL:
        cdef context *ctx = self.idle
        if ctx != NULL:
            self.idle = ctx.next
            return ctx
        cdef int64_t edges = self.c.input_count + self.c.output_count
        cdef size_t size = self.memory_bytes
        ctx = <context *>calloc(1, sizeof(context))
        if ctx == NULL:
            raise MemoryError
        # two more views, for a memory of the caller's and for the profile
        ctx.views = <Py_buffer *>calloc(edges + 2, sizeof(Py_buffer))
        ctx.arrays = <caller_array *>calloc(max(edges, 1), sizeof(caller_array))
        ctx.operands = <void **>calloc(
            max(self.c.step_count, 1), MAX_OPERANDS * sizeof(void *)
        )
        # calloc leaves a large memory unmapped until it is used; posix_memalign would not clear it
        ctx.allocation = calloc(size + ALIGNMENT, 1)
        if (
            ctx.views == NULL
            or ctx.arrays == NULL
            or ctx.operands == NULL
            or ctx.allocation == NULL
        ):
            _free_context(ctx)
            raise MemoryError(f"an arena takes {size:,} bytes")
        ctx.memory = <uint8_t *>(
            (<uintptr_t>ctx.allocation + ALIGNMENT - 1) & ~<uintptr_t>(ALIGNMENT - 1)
        )
        self._resolve(ctx, ctx.memory)
        return ctx

    cdef void _resolve(self, context *ctx, uint8_t *memory) noexcept:
        program_resolve(&self.c, memory, ctx.operands)
        ctx.resolved = memory

    def run(self, inputs, outputs, int64_t slices, memory=None, nanoseconds=None):
        """Run ``slices`` batches from ``inputs`` into ``outputs``, without the GIL.

        Parameters
        ----------
        inputs, outputs : sequence of C-contiguous buffers
            One an edge, of ``slices`` times its elements: float32, or the edge's integers.
        slices : int
            How many batches.
        memory : writable buffer of ``memory_bytes``, optional
            Where to compute, so that the arena can be read afterwards.
        nanoseconds : writable int64 buffer with an entry a step, optional
            Each step's time is added to its entry.

        Raises
        ------
        RunError
            An input holds a NaN, or an index is outside its axis.
        """
        cdef context *ctx
        cdef int64_t where = 0, held = 0, edges = self.c.input_count + self.c.output_count, i
        cdef int64_t *times = NULL
        cdef uint8_t *arena
        cdef Py_buffer *view
        cdef int status
        if len(inputs) != self.c.input_count or len(outputs) != self.c.output_count:
            raise ValueError("one array an edge")
        self._renew_threads()
        ctx = self._take()
        arena = ctx.memory
        try:
            for i in range(edges):
                if i < self.c.input_count:
                    PyObject_GetBuffer(
                        inputs[i], &ctx.views[i], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT
                    )
                    held += 1
                    _bind(&self.c.inputs[i], &ctx.views[i], slices, &ctx.arrays[i])
                else:
                    PyObject_GetBuffer(
                        outputs[i - self.c.input_count],
                        &ctx.views[i],
                        PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE,
                    )
                    held += 1
                    _bind(
                        &self.c.outputs[i - self.c.input_count],
                        &ctx.views[i],
                        slices,
                        &ctx.arrays[i],
                    )
            view = &ctx.views[held]
            if memory is not None:
                PyObject_GetBuffer(memory, view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
                held += 1
                if view.len < self.memory_bytes:
                    raise ValueError(f"memory must have {self.memory_bytes} bytes")
                arena = <uint8_t *>view.buf
            view = &ctx.views[held]
            if nanoseconds is not None:
                PyObject_GetBuffer(nanoseconds, view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
                held += 1
                if view.len != self.c.step_count * <int64_t>sizeof(int64_t):
                    raise ValueError("one int64 of time a step")
                times = <int64_t *>view.buf
            if ctx.resolved != arena:
                self._resolve(ctx, arena)
            with nogil:
                status = program_run(
                    &self.c,
                    arena,
                    ctx.operands,
                    self.pool,
                    ctx.arrays,
                    ctx.arrays + self.c.input_count,
                    slices,
                    times,
                    &where,
                )
        finally:
            for i in range(held):
                PyBuffer_Release(&ctx.views[i])
            ctx.next = self.idle
            self.idle = ctx
        _raise_signal(status)
        if status != DONE:
            raise RunError("nan" if status == NOT_A_NUMBER else "index", where)


cdef int _has_signal() noexcept with gil:
    """Whether a signal's handler has raised something, such as KeyboardInterrupt; it stays raised.

    Handlers run in the main thread alone.
    """
    return PyErr_CheckSignals() != 0


cdef int _raise_signal(int status) except -1:
    """Raise what ``_has_signal`` has left, where a run has ended by it."""
    return -1 if status == INTERRUPTED else 0


cdef class PlainEdge:
    """An input or output as a run without Python takes it: of one shape, raw or as floats.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Of one slice.
    has_floats : bool
        Whether there are floats; there are none of, say, indices.
    float_dtype, raw_dtype : numpy.dtype
    """

    cdef object name, shape, float_dtype, raw_dtype
    cdef bytes raw
    cdef int rank
    cdef bint has_floats
    cdef int64_t extents[MAX_RANK]

    def __init__(self, name, shape, has_floats, float_dtype, raw_dtype):
        self.name, self.shape, self.has_floats = name, shape, has_floats
        self.float_dtype, self.raw_dtype = float_dtype, raw_dtype
        self.raw = raw_dtype.char.encode()
        self.rank = len(shape) if len(shape) <= MAX_RANK else -1  # which no array has
        for axis in range(self.rank):
            self.extents[axis] = shape[axis]

    cdef bint fits(self, Py_buffer *view, caller_array *to) noexcept:
        """Whether a buffer is exactly what is taken."""
        cdef int axis
        if view.format == NULL or view.ndim != self.rank:
            return False
        to.is_float = self.has_floats and strcmp(view.format, b"f") == 0
        if not to.is_float and strcmp(view.format, self.raw) != 0:
            return False
        for axis in range(self.rank):
            if view.shape[axis] != self.extents[axis]:
                return False
        to.data = view.buf
        return True


cdef class PlainRuns:
    """The runs of a model that is given exactly what it takes.

    They are answered here, with no Python in between; all else goes to ``_run_any``, which
    a subclass has. ``_prepare`` is called once.
    """

    cdef Program program
    cdef object ndarray, empty
    cdef list sources, results

    def _prepare(self, Program program, ndarray, empty, sources, results):
        """Take runs of ``program`` from now on.

        Parameters
        ----------
        ndarray, empty : type and callable
            NumPy's.
        sources, results : sequence of PlainEdge
            The program's inputs and outputs, in its order.
        """
        if len(sources) != program.c.input_count or len(results) != program.c.output_count:
            raise ValueError("one edge for each of the program's")
        self.ndarray, self.empty = ndarray, empty
        self.sources, self.results = list(sources), list(results)
        self.program = program

    def run(self, x, out=None):
        """The outputs for ``x``: floats for floats, raw integers for raw integers.

        Parameters
        ----------
        x : numpy.ndarray, or mapping of str to numpy.ndarray
            The input, or each by its name. Floats are quantized; integers must be of exactly the
            input's dtype. Where the first axis is a batch, be it open in the model or fixed with
            samples that stay apart, it may hold any number of slices, which go through one after
            another; a batch of one may be left out.
        out : numpy.ndarray, or mapping of str to numpy.ndarray, optional
            Where to write the output, or each by its name: C-contiguous arrays of the outputs'
            shapes, float32 or the outputs' dtypes.

        Returns
        -------
        numpy.ndarray, or dict of str to numpy.ndarray
            The only output, or each by its name; ``out`` where it is given.

        Raises
        ------
        InputError
            A name, shape or dtype does not fit, a float is NaN, an index is outside its axis, or
            the model keeps states from one run to the next, which belong to a ``stream``.
        """
        if self.program is not None:
            try:
                made = self._plain(x, out)
            except MemoryError:
                made = None  # which the other way tells of
            if made is not None:
                return made
        return self._run_any(x, out)

    cdef object _plain(self, x, out):
        """The outputs, or None where ``x`` or ``out`` are not exactly what is taken."""
        cdef Program program = self.program
        cdef context *ctx
        cdef caller_array *arrays
        cdef int64_t where = 0
        cdef Py_ssize_t first = len(self.sources), held = 0, i
        cdef int status = NOT_A_NUMBER
        cdef bint is_raw = False
        cdef list made = []
        cdef PlainEdge edge
        ctx = program._take()
        arrays = ctx.arrays
        try:
            program._renew_threads()
            for i in range(first):
                edge = <PlainEdge>self.sources[i]
                given = self._given(x, edge, first)
                if given is None:
                    return None
                PyObject_GetBuffer(given, &ctx.views[held], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
                held += 1
                if not edge.fits(&ctx.views[i], &arrays[i]):
                    return None
                is_raw = is_raw or (edge.has_floats and not arrays[i].is_float)
            for i in range(len(self.results)):
                edge = <PlainEdge>self.results[i]
                if out is None:
                    is_float = edge.has_floats and not is_raw
                    given = self.empty(edge.shape, edge.float_dtype if is_float else edge.raw_dtype)
                else:
                    given = self._given(out, edge, len(self.results))
                    if given is None:
                        return None
                made.append(given)
                PyObject_GetBuffer(
                    given, &ctx.views[held], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE
                )
                held += 1
                if not edge.fits(&ctx.views[first + i], &arrays[first + i]):
                    return None
            if out is not None and _overlap(&ctx.views[first], len(self.results)):
                return None
            with nogil:
                status = program_run(
                    &program.c, ctx.memory, ctx.operands, program.pool, arrays, arrays + first, 1,
                    NULL, &where,
                )
        except (BufferError, ValueError):
            pass  # not contiguous, or not to be written to
        finally:
            for i in range(held):
                PyBuffer_Release(&ctx.views[i])
            ctx.next = program.idle
            program.idle = ctx
        _raise_signal(status)
        if status != DONE:
            return None
        if len(made) == 1 and type(out) is not dict:
            return made[0]
        return {(<PlainEdge>edge).name: array for edge, array in zip(self.results, made)}

    cdef object _given(self, given, PlainEdge edge, Py_ssize_t count):
        """The array of ``edge``, the only one or one of ``count`` by name; None for all else."""
        if type(given) is dict:
            if len(<dict>given) != count:
                return None
            given = (<dict>given).get(edge.name)
        elif count != 1:
            return None
        return given if type(given) is self.ndarray else None


cdef bint _overlap(Py_buffer *views, Py_ssize_t count) noexcept:
    """Whether two of the buffers share memory."""
    cdef Py_ssize_t i, k
    for i in range(count):
        for k in range(i):
            if (
                <char *>views[i].buf < <char *>views[k].buf + views[k].len
                and <char *>views[k].buf < <char *>views[i].buf + views[i].len
            ):
                return True
    return False


# the program takes the memory back, whatever else of a cycle is gone by then
@cython.no_gc_clear
cdef class BoundRuns:
    """Runs of a Program between arrays that stay where they are.

    Each run looks whether they do. What it raises is what ``_explained`` makes of a RunError, which
    a subclass has. ``_hold`` is called once.
    """

    cdef Program program
    cdef context *ctx
    cdef tuple arrays
    cdef int64_t slices
    cdef bint is_running

    def _hold(self, Program program, inputs, outputs, int64_t slices):
        """Take runs of ``program`` from ``inputs`` to ``outputs``, as ``Program.run`` has them."""
        cdef int64_t i, first = program.c.input_count
        cdef const edge *e
        if len(inputs) != first or len(outputs) != program.c.output_count:
            raise ValueError("one array an edge")
        arrays = (*inputs, *outputs)
        self.program = program
        self.ctx = program._take()
        for i in range(len(arrays)):
            e = &program.c.inputs[i] if i < first else &program.c.outputs[i - first]
            PyObject_GetBuffer(arrays[i], &self.ctx.views[i], _wanted(i >= first) | PyBUF_FORMAT)
            try:
                _bind(e, &self.ctx.views[i], slices, &self.ctx.arrays[i])
            finally:
                # its address and size are left to compare
                PyBuffer_Release(&self.ctx.views[i])
        self.slices = slices
        self.arrays = arrays

    def __dealloc__(self):
        if self.ctx != NULL:
            self.ctx.next = self.program.idle
            self.program.idle = self.ctx

    def run(self):
        """Compute the outputs of what the inputs hold now, in the bound arrays.

        Raises
        ------
        InputError
            A float is NaN, an index is outside its axis, an array was resized or made read-only
            since it was bound, or another thread is running this.
        """
        cdef Program program = self.program
        cdef int64_t where = 0, held = 0, first, i
        cdef const char *reason = NULL
        cdef int status = DONE
        cdef Py_buffer view
        if program is None:
            raise ValueError("nothing is bound")
        if self.is_running:
            raise self._explained(RunError("busy", 0))
        program._renew_threads()
        self.is_running = True
        first = program.c.input_count
        try:
            while held < len(self.arrays):
                if not _has_stayed(self.arrays[held], &self.ctx.views[held], held >= first):
                    reason = b"output" if held >= first else b"input"
                    where = held - first if held >= first else held
                    break
                held += 1
            if reason == NULL:
                with nogil:
                    status = program_run(
                        &program.c, self.ctx.memory, self.ctx.operands, program.pool,
                        self.ctx.arrays, self.ctx.arrays + first, self.slices, NULL, &where,
                    )
                if status != DONE and status != INTERRUPTED:
                    reason = b"nan" if status == NOT_A_NUMBER else b"index"
        finally:
            for i in range(held):
                PyBuffer_Release(&self.ctx.views[i])
            self.is_running = False
        _raise_signal(status)
        if reason != NULL:
            raise self._explained(RunError(reason.decode(), where)) from None


cdef int _wanted(bint is_written) noexcept:
    return PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE if is_written else PyBUF_C_CONTIGUOUS


cdef bint _has_stayed(array, Py_buffer *view, bint is_written) except -1:
    """Whether the array may still be lent, and lies where ``view`` had it; lent where it is so."""
    cdef void *data = view.buf
    cdef Py_ssize_t size = view.len
    try:
        PyObject_GetBuffer(array, view, _wanted(is_written))
    except (BufferError, ValueError):
        view.buf, view.len = data, size
        return False
    if view.buf == data and view.len == size:
        return True
    PyBuffer_Release(view)
    view.buf, view.len = data, size
    return False


cdef void _free_context(context *ctx) noexcept:
    free(ctx.allocation)
    free(ctx.views)
    free(ctx.arrays)
    free(ctx.operands)
    free(ctx)


cdef int _bind(const edge *e, Py_buffer *view, int64_t slices, caller_array *to) except -1:
    """Take a caller's array for an edge after checking its size, whatever it holds."""
    to.data = view.buf
    to.is_float = view.format != NULL and strcmp(view.format, b"f") == 0
    if to.is_float and not e.scale > 0:
        raise ValueError("an edge without a scale takes no floats")
    if slices < 1 or view.len != e.elements * (4 if to.is_float else e.bytes) * slices:
        raise ValueError(f"an array has {view.len} bytes, which are not {slices} batches")
    return 0
