"""The worker's side of its shared segment: the ticket that a request carries, and the slot it is counted in.

One writer: only the thread of the worker's event loop may call what writes. There is no lock and no locked
instruction; the supervisor reads the same words at any time and may see a batch half counted.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

import mmap
import os


cdef extern from "segment.h":
    enum:
        SY_LAYOUT_VERSION, SY_SLOTS, SY_MODEL_BYTES, SY_VERSION_BYTES, SY_REASONS
        SY_EXACT_BATCH, SY_BATCH_SIZES, SY_RULES, SY_ACTIONS, SY_STEPS, SY_STEP_BYTES
    const uint64_t SY_MAGIC, SY_DIRECTORY_OFFSET, SY_BODIES_OFFSET, SY_SEGMENT_BYTES

    ctypedef struct sy_histogram:
        uint64_t sum_ns
        uint64_t *buckets

    ctypedef struct sy_header:
        uint64_t magic, layout_version, slots, slots_used
        uint64_t worker_pid, worker_start_unix_ns, worker_starts, labels_without_slot

    ctypedef struct sy_entry:
        uint64_t used, model_length, version_length
        char *model
        char *version
        uint64_t steps, ragged_places, ragged_padding
        uint64_t received, answered, failed, cancelled, lost
        uint64_t rows, batches, last_inference_unix_ms, failed_ns
        uint64_t golden_passed, golden_failed, golden_last_unix_ms
        uint64_t in_flight, queue_depth, queue_bytes, golden_failing
        uint64_t *refused

    ctypedef struct sy_batch_size:
        uint64_t count, input_ns, infer_ns, output_ns

    ctypedef struct sy_step:
        uint64_t name_length
        char *name
        uint64_t runs, errors, sum_ns

    ctypedef struct sy_body:
        sy_histogram *stages
        sy_batch_size *batch_sizes
        uint64_t **rules
        sy_step *steps

    unsigned sy_bucket_of(int64_t ns) nogil
    uint64_t sy_load(const uint64_t *word) nogil
    void sy_store(uint64_t *word, uint64_t value) nogil
    void sy_add(uint64_t *word, uint64_t value) nogil
    uint64_t sy_not_negative(int64_t value) nogil
    uint64_t sy_duration(int64_t from_ns, int64_t to_ns) nogil
    void sy_observe(sy_histogram *histogram, uint64_t ns, uint64_t times) nogil
    void sy_publish(uint64_t *word, uint64_t value) nogil


cdef enum:
    DECODE = 0
    QUEUE = 1
    ASSEMBLE = 2
    EXECUTE = 3
    ENCODE = 4
    TOTAL = 5

    UNKNOWN_SLOT = 0
    OTHER_SLOT = 1

cdef class Segment


@cython.final
@cython.freelist(512)
cdef class Ticket:
    """One request on its way through the server; times are monotonic ns, 0 in `deadline_ns` means none."""

    def __init__(
        self, call, request, int64_t rows, key, int64_t received_ns, int64_t decode_ns,
        int64_t deadline_ns=0, int64_t priority=0, int64_t size_bytes=0,
    ):
        self.call = call
        self.request = request
        self.rows = rows
        self.key = key
        self.received_ns = received_ns
        self.decode_ns = decode_ns
        self.deadline_ns = deadline_ns
        self.priority = priority
        self.size_bytes = size_bytes
        self.length = 0
        self.state = 0


@cython.final
cdef class Slot:
    """Where the requests of one model and version are counted. Made by `Segment.slot`."""

    cdef Segment _segment  # keeps the mapping alive that the two pointers point into
    cdef sy_entry *_entry
    cdef sy_body *_body
    cdef readonly int index

    def __init__(self):
        raise TypeError("slots are made by Segment.slot")

    def received(self, int64_t n=1):
        """Counts requests that came in for this model."""
        sy_add(&self._entry.received, sy_not_negative(n))

    def refused(self, int reason):
        """Counts one request turned away; `reason` is a `Refusal`."""
        if reason < 0 or reason >= SY_REASONS:
            raise ValueError(f"a refusal's reason is 0..{SY_REASONS - 1}, got {reason}")
        sy_add(&self._entry.refused[reason], 1)

    def failed(self, int64_t total_ns=0):
        """Counts one request whose execution failed, `total_ns` after it came in."""
        sy_add(&self._entry.failed, 1)
        sy_add(&self._entry.failed_ns, sy_not_negative(total_ns))

    def cancelled(self):
        """Counts one request whose caller went away."""
        sy_add(&self._entry.cancelled, 1)

    def set_gauges(self, int64_t in_flight, int64_t queue_depth, int64_t queue_bytes):
        """Says how many requests are inside, how many of them wait, and with how many bytes."""
        sy_store(&self._entry.in_flight, sy_not_negative(in_flight))
        sy_store(&self._entry.queue_depth, sy_not_negative(queue_depth))
        sy_store(&self._entry.queue_bytes, sy_not_negative(queue_bytes))

    def name_steps(self, list names not None):
        """Says which steps a version's pipeline has, before they are recorded; counts of others begin at nought.

        Of more than 32 the last ones are counted together. The slot `_other`, which versions share, has no steps.
        """
        cdef Py_ssize_t i, count = min(len(names), <Py_ssize_t>SY_STEPS)
        cdef sy_step *step
        cdef bytes name
        if self.index == OTHER_SLOT:
            return
        for i in range(count):
            step = &self._body.steps[i]
            last = i == SY_STEPS - 1 and len(names) > SY_STEPS
            name = step_name("rest of the steps" if last else names[i])
            if step.name_length <= SY_STEP_BYTES and step.name[:step.name_length] == name:
                continue
            memcpy(step.name, <const char *>name, <size_t>len(name))
            step.name_length = <uint64_t>len(name)
            sy_store(&step.runs, 0)
            sy_store(&step.errors, 0)
            sy_store(&step.sum_ns, 0)
        sy_publish(&self._entry.steps, <uint64_t>count)

    def record_steps(self, list ns not None, list runs not None, list errors not None):
        """Adds what each step took, how often it ran and how many errors it met, in the order of their names."""
        cdef Py_ssize_t i, place, count = <Py_ssize_t>self._entry.steps
        if len(runs) != len(ns) or len(errors) != len(ns):
            raise ValueError(f"expected {len(ns)} steps, came {len(runs)} runs and {len(errors)} errors")
        if count == 0:
            return
        for i in range(len(ns)):
            if runs[i] == 0:
                continue
            place = min(i, count - 1)
            sy_add(&self._body.steps[place].runs, sy_not_negative(runs[i]))
            sy_add(&self._body.steps[place].errors, sy_not_negative(errors[i]))
            sy_add(&self._body.steps[place].sum_ns, sy_not_negative(ns[i]))

    def record_rule(self, int rule, int action, int64_t times=1):
        """Counts how often a rule of the data contract was broken, by what was done about it."""
        if not (0 <= rule < SY_RULES and 0 <= action < SY_ACTIONS):
            raise ValueError(f"a rule is 0..{SY_RULES - 1} and an action 0..{SY_ACTIONS - 1}, got {rule} and {action}")
        sy_add(&self._body.rules[rule][action], sy_not_negative(times))

    def examined(self, int64_t passed, int64_t failed, int64_t unix_ms):
        """Counts golden examples that were run, the last of them at `unix_ms`."""
        sy_add(&self._entry.golden_passed, sy_not_negative(passed))
        sy_add(&self._entry.golden_failed, sy_not_negative(failed))
        sy_store(&self._entry.golden_last_unix_ms, sy_not_negative(unix_ms))

    def padded(self, int64_t places, int64_t padding):
        """Counts the places of a batch whose rows differ in length, and how many of them are padding."""
        sy_add(&self._entry.ragged_places, sy_not_negative(places))
        sy_add(&self._entry.ragged_padding, sy_not_negative(padding))

    def set_failing(self, int64_t examples):
        """Says how many golden examples fail as things stand."""
        sy_store(&self._entry.golden_failing, sy_not_negative(examples))

    def record_batch(
        self, list tickets, int64_t rows, int64_t taken_ns, int64_t assembled_ns, int64_t executed_ns,
        int64_t encoded_ns, int64_t unix_ms,
    ):
        """Counts one executed batch: `tickets` are the requests answered, each once in all six stages.

        Assemble, execute and encode are the batch's, the same for each of its requests. Raises TypeError, and
        counts nothing, where an item is no `Ticket`.
        """
        cdef Py_ssize_t n = len(tickets), i
        cdef sy_histogram *stages = self._body.stages
        cdef uint64_t decode_ns, queue_ns, total_ns
        cdef uint64_t decode_sum = 0, queue_sum = 0, total_sum = 0
        cdef uint64_t assemble_ns = sy_duration(taken_ns, assembled_ns)
        cdef uint64_t execute_ns = sy_duration(assembled_ns, executed_ns)
        cdef uint64_t encode_ns = sy_duration(executed_ns, encoded_ns)
        cdef sy_batch_size *size
        cdef Ticket ticket
        for i in range(n):
            if type(tickets[i]) is not Ticket:
                raise TypeError(f"item {i} of a batch is a Ticket, got {type(tickets[i]).__name__}")
        for i in range(n):
            ticket = <Ticket>tickets[i]
            decode_ns = sy_duration(0, ticket.decode_ns)
            queue_ns = sy_duration(ticket.received_ns + decode_ns, taken_ns)
            total_ns = sy_duration(ticket.received_ns, encoded_ns)
            sy_add(&stages[DECODE].buckets[sy_bucket_of(<int64_t>decode_ns)], 1)
            sy_add(&stages[QUEUE].buckets[sy_bucket_of(<int64_t>queue_ns)], 1)
            sy_add(&stages[TOTAL].buckets[sy_bucket_of(<int64_t>total_ns)], 1)
            decode_sum += decode_ns
            queue_sum += queue_ns
            total_sum += total_ns
        sy_add(&stages[DECODE].sum_ns, decode_sum)
        sy_add(&stages[QUEUE].sum_ns, queue_sum)
        sy_add(&stages[TOTAL].sum_ns, total_sum)
        sy_observe(&stages[ASSEMBLE], assemble_ns, <uint64_t>n)
        sy_observe(&stages[EXECUTE], execute_ns, <uint64_t>n)
        sy_observe(&stages[ENCODE], encode_ns, <uint64_t>n)
        rows = rows if rows > 0 else 0
        size = &self._body.batch_sizes[rows if rows <= SY_EXACT_BATCH else SY_BATCH_SIZES - 1]
        sy_add(&size.count, 1)
        sy_add(&size.input_ns, assemble_ns)
        sy_add(&size.infer_ns, execute_ns)
        sy_add(&size.output_ns, encode_ns)
        sy_add(&self._entry.answered, <uint64_t>n)
        sy_add(&self._entry.rows, <uint64_t>rows)
        sy_add(&self._entry.batches, 1)
        sy_store(&self._entry.last_inference_unix_ms, sy_not_negative(unix_ms))


@cython.final
cdef class Segment:
    """A worker's shared segment, attached for writing; what an earlier worker counted in it goes on.

    The gauges begin at zero, and the requests that the earlier worker took with it are counted as lost.
    Raises ValueError where the file is too small or no segment of this layout.
    """

    cdef Py_buffer _view
    cdef bint _held
    cdef char *_base
    cdef dict _indexes

    def __cinit__(self, int fd, int64_t pid, int64_t start_unix_ns):
        cdef uint64_t size = os.fstat(fd).st_size
        if SY_SEGMENT_BYTES > size:
            raise ValueError(f"a segment has {SY_SEGMENT_BYTES} bytes, the file {size}")
        PyObject_GetBuffer(mmap.mmap(fd, SY_SEGMENT_BYTES), &self._view, PyBUF_WRITABLE)
        self._held = True
        self._base = <char *>self._view.buf
        self._indexes = {}
        cdef sy_header *header = <sy_header *>self._base
        if header.magic != SY_MAGIC or header.layout_version != SY_LAYOUT_VERSION or header.slots != SY_SLOTS:
            raise ValueError(
                f"expected a segment of layout {SY_LAYOUT_VERSION} with {SY_SLOTS} slots, got magic"
                f" {header.magic:#x}, layout {header.layout_version}, {header.slots} slots"
            )
        cdef uint64_t used = header.slots_used
        if used > SY_SLOTS:
            raise ValueError(f"a segment has at most {SY_SLOTS} slots in use, got {used}")
        for i in range(<int>used):
            self._resume(i)
        sy_store(&header.worker_pid, sy_not_negative(pid))
        sy_store(&header.worker_start_unix_ns, sy_not_negative(start_unix_ns))
        sy_add(&header.worker_starts, 1)

    def __dealloc__(self):
        if self._held:
            PyBuffer_Release(&self._view)

    @property
    def memory(self):
        """All of the segment, to be written to."""
        return memoryview(<object>self._view.obj)

    @property
    def unknown(self):
        """The slot of requests that named no model we know."""
        return self._slot_at(UNKNOWN_SLOT)

    def slot(self, str model, str version):
        """The slot of a model's version, the same one as before where these labels were here already.

        Where all slots are taken, or a label is too long to be a directory's name, it is the slot `_other`.
        """
        cdef sy_header *header = <sy_header *>self._base
        cdef bytes model_bytes = model.encode("utf-8", "backslashreplace")
        cdef bytes version_bytes = version.encode("utf-8", "backslashreplace")
        labels = (model_bytes, version_bytes)
        index = self._indexes.get(labels)
        if index is not None:
            return self._slot_at(index)
        cdef uint64_t used = header.slots_used
        if used >= SY_SLOTS or len(model_bytes) > SY_MODEL_BYTES or len(version_bytes) > SY_VERSION_BYTES:
            sy_add(&header.labels_without_slot, 1)
            return self._slot_at(OTHER_SLOT)
        cdef sy_entry *entry = self._entry_at(<int>used)
        memcpy(entry.model, <const char *>model_bytes, <size_t>len(model_bytes))
        memcpy(entry.version, <const char *>version_bytes, <size_t>len(version_bytes))
        entry.model_length = <uint64_t>len(model_bytes)
        entry.version_length = <uint64_t>len(version_bytes)
        sy_publish(&entry.used, 1)
        sy_publish(&header.slots_used, used + 1)
        self._indexes[labels] = <int>used
        return self._slot_at(<int>used)

    cdef sy_entry *_entry_at(self, int index) noexcept:
        return (<sy_entry *>(self._base + SY_DIRECTORY_OFFSET)) + index

    cdef Slot _slot_at(self, int index):
        cdef Slot slot = Slot.__new__(Slot)
        slot._segment = self
        slot._entry = self._entry_at(index)
        slot._body = (<sy_body *>(self._base + SY_BODIES_OFFSET)) + index
        slot.index = index
        return slot

    cdef _resume(self, int index):
        cdef sy_entry *entry = self._entry_at(index)
        cdef uint64_t model_length = entry.model_length, version_length = entry.version_length
        if model_length > SY_MODEL_BYTES or version_length > SY_VERSION_BYTES:
            raise ValueError(f"slot {index} has labels of {model_length} and {version_length} bytes")
        cdef bytes model = entry.model[:model_length]
        cdef bytes version = entry.version[:version_length]
        self._indexes[(model, version)] = index
        cdef uint64_t ended = entry.answered + entry.failed + entry.cancelled + entry.lost
        for reason in range(SY_REASONS):
            ended += entry.refused[reason]
        if entry.received > ended:
            sy_add(&entry.lost, entry.received - ended)
        sy_store(&entry.in_flight, 0)
        sy_store(&entry.queue_depth, 0)
        sy_store(&entry.queue_bytes, 0)
        sy_store(&entry.golden_failing, 0)


cdef bytes step_name(str name):
    """As much of a name as there is room for, in whole characters."""
    cdef bytes encoded = name.encode("utf-8", "backslashreplace")[:SY_STEP_BYTES]
    return encoded.decode("utf-8", "ignore").encode()


def bucket_of(int64_t ns):
    """The index of the bucket that a duration falls into."""
    return sy_bucket_of(ns)
