"""Where each number stands in a worker's shared segment, in 64-bit words."""

from enum import IntEnum

from steelyard.errors import (
    DeadlineExpired,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    SteelyardError,
    TooLarge,
    Unavailable,
    Unsupported,
    VersionNotLoaded,
)

MAGIC = int.from_bytes(b"STLYARD1", "little")
LAYOUT_VERSION = 3
PAGE_WORDS = 512

# Slots cost only the pages they touch: 4,096 is well past the 1,500 models that one server is built for, and
# bounds what a repository full of short-lived versions can make of /metrics.
SLOTS = 4096
# A model is a directory, and no file system here allows a name above 255 bytes.
MODEL_BYTES = 256
VERSION_BYTES = 64
# Sizes 0 to 128 are counted exactly, because ModelStatistics wants an entry for each size met; all larger
# ones share the last entry.
EXACT_BATCH = 128
BATCH_SIZES = EXACT_BATCH + 2

# Rules of data contracts and what is done about a row, by their places in `pipelines.problems`; room for more.
RULE_PLACES = 32
ACTION_PLACES = 4
# A version has a step or two for each input and output. Names are cut to what is left of 16 words.
STEPS = 32
STEP_BYTES = 96

# Two slots are there from the start: requests that named no model we know, and all labels that found no slot.
UNKNOWN_SLOT = 0
OTHER_SLOT = 1
OTHER_MODEL = "_other"


class Stage(IntEnum):
    """What a request passes through; TOTAL is from its first byte to its encoded answer."""

    DECODE = 0
    QUEUE = 1
    ASSEMBLE = 2
    EXECUTE = 3
    ENCODE = 4
    TOTAL = 5


class Refusal(IntEnum):
    """Why a request was turned away before it ran. The numbers are in the segment: add, never renumber."""

    INVALID = 0
    NOT_FOUND = 1
    NOT_READY = 2
    UNSUPPORTED = 3
    TOO_LARGE = 4
    QUEUE_FULL = 5
    DEADLINE = 6


REASONS = 16

_REFUSALS: tuple[tuple[type[SteelyardError], Refusal], ...] = (
    (InvalidRequest, Refusal.INVALID),
    (ModelNotFound, Refusal.NOT_FOUND),
    (Unavailable, Refusal.NOT_READY),
    (VersionNotLoaded, Refusal.NOT_READY),
    (Unsupported, Refusal.UNSUPPORTED),
    (TooLarge, Refusal.TOO_LARGE),
    (Overloaded, Refusal.QUEUE_FULL),
    (DeadlineExpired, Refusal.DEADLINE),
)


def refusal_of(error: BaseException) -> Refusal | None:
    """The reason that an error is counted under, or None where it is a failure or a cancellation."""
    for kind, reason in _REFUSALS:
        if isinstance(error, kind):
            return reason
    return None


class Header(IntEnum):
    """Words of the header page."""

    MAGIC = 0
    LAYOUT_VERSION = 1
    SLOTS = 2
    SLOTS_USED = 3
    WORKER_PID = 4
    WORKER_START_UNIX_NS = 5
    WORKER_STARTS = 6
    LABELS_WITHOUT_SLOT = 7
    # The ring of decision records: bytes ever put, and ever taken.
    RING_HEAD = 16
    RING_TAIL = 24
    # Decisions: put into the ring, left out by sampling, without room in the ring, of models that record none.
    RECORDED = 32
    SAMPLED_OUT = 33
    DROPPED = 34
    OFF = 35
    # What a process that died took along without any of these.
    TAKEN_ALONG = 36
    # Records: in a file, their bytes there, on disk, and what a file would not take.
    WRITTEN = 40
    WRITTEN_BYTES = 41
    SYNCED = 42
    UNWRITTEN = 43


class Entry(IntEnum):
    """Words of a slot's entry in the directory."""

    USED = 0
    MODEL_LENGTH = 1
    VERSION_LENGTH = 2
    MODEL = 4
    VERSION = 36
    STEPS = 44
    RAGGED_PLACES = 45
    RAGGED_PADDING = 46
    RECEIVED = 48
    ANSWERED = 49
    FAILED = 50
    CANCELLED = 51
    LOST = 52
    ROWS = 53
    BATCHES = 54
    LAST_INFERENCE_UNIX_MS = 55
    FAILED_NS = 56
    GOLDEN_PASSED = 57
    GOLDEN_FAILED = 58
    GOLDEN_LAST_UNIX_MS = 59
    IN_FLIGHT = 60
    QUEUE_DEPTH = 61
    QUEUE_BYTES = 62
    GOLDEN_FAILING = 63
    REFUSED = 64


class Body(IntEnum):
    """Words of a slot's body."""

    STAGES = 0
    BATCH_SIZES = 2928
    RULES = 3448
    STEPS = 3584


class Step(IntEnum):
    """Words of one step of a pipeline."""

    NAME_LENGTH = 0
    NAME = 1
    RUNS = 13
    ERRORS = 14
    SUM_NS = 15


class Histogram(IntEnum):
    """Words of one stage's histogram."""

    SUM_NS = 0
    BUCKETS = 1


HISTOGRAM_WORDS = 488
BATCH_SIZE_WORDS = 4
ENTRY_WORDS = 80
STEP_WORDS = 16
BODY_WORDS = 8 * PAGE_WORDS
DIRECTORY_WORD = PAGE_WORDS
BODIES_WORD = DIRECTORY_WORD + SLOTS * ENTRY_WORDS
# Some 40,000 records: half a second of all that a core can answer.
RING_BYTES = 1 << 23
RING_OFFSET = 8 * (BODIES_WORD + SLOTS * BODY_WORDS)
SEGMENT_BYTES = RING_OFFSET + RING_BYTES
