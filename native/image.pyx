"""Decoded images into the batch: resize, crop, turn, normalise, lay out and cast in one pass, without the GIL."""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

import numpy as np

cdef extern from "image_render.h" nogil:
    int image_table_build(image_table* t, int size, float start, float stop, int64_t resized, int64_t begin,
                          int outputs, int filter, bint antialias, bint flipped, bint avx2, bint interleaved)
    void image_table_free(image_table* t)
    size_t image_table_bytes(const image_table* t)
    int image_render(const image_slot* slot, const image_job* job, uint8_t* target)
    size_t image_working_bytes(const image_job* job)
    void image_to_grey(const uint8_t* source, size_t row_bytes, int width, int height, int channels, uint8_t* grey)

    ctypedef struct image_table "struct image_table":
        int first
        int last

    ctypedef struct image_channels "struct image_channels":
        int source
        int kept
        int[3] pick "from"

    ctypedef struct image_slot "struct image_slot":
        int height
        int width
        int channels
        bint planar
        int dtype
        int element_bytes
        bint plain
        float[3] scale
        float[3] offset
        uint8_t[3] fill
        uint8_t[4] table[3][256]

    ctypedef struct image_job "struct image_job":
        const uint8_t* source
        size_t row_bytes
        int source_width
        int source_height
        int source_pixel_bytes
        image_channels channels
        const image_table* along
        const image_table* over
        bint over_first
        bint turned
        int left
        int top
        bint avx2

cdef extern from *:
    """
    #if defined(__x86_64__)
    static int image_cpu_has_avx2(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
    }
    #else
    static int image_cpu_has_avx2(void) { return 0; }
    #endif
    """
    bint image_cpu_has_avx2()

INSTRUCTIONS = ("avx2", "baseline") if image_cpu_has_avx2() else ("baseline",)

FILTERS = {"nearest": 0, "bilinear": 1, "bicubic": 2}
DTYPES = {"uint8": 0, "float16": 1, "float32": 2}
ORDERS = {"rgb": 3, "bgr": 3, "grey": 1}
LAYOUTS = ("chw", "hwc")

# Largest side of a source or slot, and of the whole that a window is cut from (a strip of 1 by 65,535 pixels whose
# shorter side becomes 1,024 is 67 million long). Below them no size in the C code can overflow.
cdef int MOST_SIDE = 1 << 17
cdef int64_t MOST_RESIZED = 1 << 31
# The rows held between the passes: rows of the slot's width, as many as one output row is made of. 256 MiB are
# 20,000 rows of 4,000 pixels; what needs more is a mistake, and would only be slow.
cdef size_t MOST_WORKING_BYTES = 256 << 20
# Tables depend on sizes alone. Cameras and resizers make few sizes, so some tens of tables serve nearly every image;
# one for 1,280 to 224 pixels has 75 KB, and callers who vary sizes can hold no more than this for each renderer.
cdef Py_ssize_t MOST_TABLES = 64
cdef size_t MOST_TABLE_BYTES = 4 << 20


cdef class Table:
    """Owns the coefficients of one axis."""

    cdef image_table c

    def __dealloc__(self):
        image_table_free(&self.c)


cdef class Renderer:
    """Writes images of any size into slots of one kind. Safe to use from many threads at once.

    A slot is one image's part of the batch: [channels, height, width] (`layout` "chw") or [height, width, channels]
    ("hwc") of `dtype` "uint8", "float16" or "float32", C-contiguous. channels is 3 for `order` "rgb" and "bgr", 1 for
    "grey". Each element is value * scale[c] + offset[c] in float32, value being 0 to 255, then cast (uint8: rounded to
    even and clipped); c counts the slot's channels. `fill` is the value (before scale and offset) of what no image
    covers. `filter` is "nearest", "bilinear" or "bicubic". With `antialias` levels are those of Pillow's Image.resize
    (since version 13) of the whole image, exactly; without, bilinear and bicubic weigh the nearest 2 or 4 pixels
    whatever the ratio, as OpenCV's do. Without scale, offset and fill they are 1, 0 and 0. `instructions` is one of
    INSTRUCTIONS, the first where None; all give the same elements.
    Raises ValueError for anything else.
    """

    cdef image_slot slot
    cdef int filter
    cdef bint antialias
    cdef bint bgr
    cdef bint avx2
    cdef dict tables
    cdef size_t table_bytes
    cdef readonly Py_ssize_t slot_bytes
    cdef bytes format

    def __init__(self, *, Py_ssize_t height, Py_ssize_t width, str order="rgb", str layout="chw",
                 str dtype="float32", scale=None, offset=None, fill=None,
                 str filter="bilinear", bint antialias=True, str instructions=None):
        if instructions is None:
            instructions = INSTRUCTIONS[0]
        choices = (
            ("order", order, ORDERS),
            ("layout", layout, LAYOUTS),
            ("dtype", dtype, DTYPES),
            ("filter", filter, FILTERS),
            ("instructions", instructions, INSTRUCTIONS),
        )
        for name, value, allowed in choices:
            if value not in allowed:
                raise ValueError(f"{name} is one of {', '.join(allowed)}, not {value!r}")
        if not (0 < height <= MOST_SIDE and 0 < width <= MOST_SIDE):
            raise ValueError(f"a slot's sides are 1 to {MOST_SIDE} pixels, not {width}x{height}")
        cdef int channels = ORDERS[order]
        cdef int c
        memset(&self.slot, 0, sizeof(image_slot))
        scale = (1.0,) * channels if scale is None else scale
        offset = (0.0,) * channels if offset is None else offset
        fill = (0,) * channels if fill is None else fill
        for name, values in (("scale", scale), ("offset", offset), ("fill", fill)):
            if len(values) != channels:
                raise ValueError(f"{name} has {len(values)} values, a slot in {order} has {channels} channels")
        kind = np.dtype(dtype)
        if not all(0 <= value <= 255 for value in fill):
            raise ValueError(f"fill values are 0 to 255, not {tuple(fill)}")
        elements = element_table(kind, scale, offset)
        for c in range(channels):
            self.slot.scale[c] = scale[c]
            self.slot.offset[c] = offset[c]
            self.slot.fill[c] = fill[c]
            fill_table(&self.slot, c, elements[c].tobytes(), kind.itemsize)
        self.slot.height = height
        self.slot.width = width
        self.slot.channels = channels
        self.slot.planar = layout == "chw"
        self.slot.dtype = DTYPES[dtype]
        self.slot.element_bytes = kind.itemsize
        self.slot.plain = dtype == "uint8" and all(s == 1.0 for s in scale) and all(o == 0.0 for o in offset)
        self.slot_bytes = height * width * channels * kind.itemsize
        self.format = kind.char.encode()
        self.filter = FILTERS[filter]
        self.antialias = antialias
        self.bgr = order == "bgr"
        self.avx2 = instructions == "avx2"
        self.tables = {}

    def render(self, source not None, target not None, box, resized, window, at, int orientation=1):
        """Writes the whole of `target`, one slot, from `source`.

        source: uint8 [height, width, channels], channels 1, 3 (RGB) or 4 (RGBX), or [height, width]; pixels lie side by
        side, rows at any distance. target: a writable C-contiguous buffer of the slot's dtype and size.
        The rest is in pixels of the image as seen, after `orientation` (EXIF, 1 to 8):
        box: (left, top, right, bottom), the part that is resized, fractions allowed; samples beyond it are used where
        the filter reaches them, as Pillow does. resized: (width, height) that it becomes. window: (left, top, width,
        height), the part of that which is wanted. at: (left, top) of the window in the slot.
        Raises ValueError where these do not fit each other; then `target` is as it was.
        """
        cdef Py_buffer image, out
        PyObject_GetBuffer(source, &image, PyBUF_STRIDES | PyBUF_FORMAT)
        try:
            PyObject_GetBuffer(target, &out, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
            try:
                if out.len != self.slot_bytes or out.format == NULL or out.format != self.format:
                    kind = (out.format or b"B").decode()
                    raise ValueError(
                        f"a slot has {self.slot_bytes} bytes of format {self.format.decode()!r}, the target has"
                        f" {out.len} of {kind!r}"
                    )
                self.render_buffers(&image, <uint8_t*> out.buf, box, resized, window, at, orientation)
            finally:
                PyBuffer_Release(&out)
        finally:
            PyBuffer_Release(&image)

    cdef render_buffers(self, Py_buffer* image, uint8_t* target, box, resized, window, at, int orientation):
        cdef image_job job
        cdef Table across, down
        cdef float x0, y0, x1, y1
        cdef int64_t resized_width, resized_height, left, top, window_width, window_height, slot_left, slot_top
        cdef int seen_width, seen_height
        cdef int failed
        cdef uint8_t* grey = NULL
        set_source(&job, image)
        if not 1 <= orientation <= 8:
            raise ValueError(f"an EXIF orientation is 1 to 8, not {orientation}")
        job.turned = orientation >= 5
        seen_width = job.source_height if job.turned else job.source_width
        seen_height = job.source_width if job.turned else job.source_height
        x0, y0, x1, y1 = box
        resized_width, resized_height = resized
        left, top, window_width, window_height = window
        slot_left, slot_top = at
        if not (0 <= x0 < x1 <= seen_width and 0 <= y0 < y1 <= seen_height):
            raise ValueError(f"box {(x0, y0, x1, y1)} is empty or not inside the image, {seen_width}x{seen_height}")
        if not (0 < resized_width <= MOST_RESIZED and 0 < resized_height <= MOST_RESIZED):
            raise ValueError(f"resized sides are 1 to {MOST_RESIZED} pixels, not {resized_width}x{resized_height}")
        if not (0 <= left and 0 < window_width <= resized_width - left
                and 0 <= top and 0 < window_height <= resized_height - top):
            raise ValueError(f"window {tuple(window)} is empty or not inside {resized_width}x{resized_height}")
        if not (0 <= slot_left <= self.slot.width - window_width and 0 <= slot_top <= self.slot.height - window_height):
            raise ValueError(
                f"a window of {window_width}x{window_height} at {(slot_left, slot_top)} is not inside the slot,"
                f" {self.slot.width}x{self.slot.height}"
            )
        job.left = <int> slot_left
        job.top = <int> slot_top
        job.avx2 = self.avx2
        self.choose_channels(&job)
        # Pillow's order since its version 13, found by trial: columns first where they shrink by twice as much.
        cdef bint columns_first = resized_height < seen_height and (
            seen_height - resized_height > 2 * (seen_width - resized_width)
        )
        job.over_first = columns_first != job.turned
        cdef bint interleaved = job.channels.source > 1
        across = self.table(seen_width, x0, x1, resized_width, left, <int> window_width,
                            orientation in (2, 3, 6, 7), interleaved and not job.turned)
        down = self.table(seen_height, y0, y1, resized_height, top, <int> window_height,
                          orientation in (3, 4, 7, 8), interleaved and job.turned)
        job.along = &down.c if job.turned else &across.c
        job.over = &across.c if job.turned else &down.c
        if image_working_bytes(&job) > MOST_WORKING_BYTES:
            raise ValueError(
                f"resizing {seen_width}x{seen_height} to {resized_width}x{resized_height} holds more than"
                f" {MOST_WORKING_BYTES} bytes between its passes"
            )
        with nogil:
            failed = self.convert_grey(&job, &grey)
            if not failed:
                failed = image_render(&self.slot, &job, target)
            free(grey)
        if failed:
            raise MemoryError

    cdef void choose_channels(self, image_job* job) noexcept:
        """What the horizontal pass keeps: one channel of a grey source, else three in the slot's order."""
        cdef int c
        if self.slot.channels == 1:
            job.channels.source = 1
        job.channels.kept = 1 if job.channels.source == 1 else 3
        for c in range(3):
            job.channels.pick[c] = 0 if job.channels.kept == 1 else 2 - c if self.bgr else c

    cdef int convert_grey(self, image_job* job, uint8_t** grey) noexcept nogil:
        """A colour source of a grey slot is made grey first, where it is needed, as Pillow's convert("L") does."""
        cdef const image_table* rows = job.over
        cdef size_t skipped = rows.first
        cdef int pixel_bytes = job.source_pixel_bytes
        if pixel_bytes == job.channels.source:
            return 0
        grey[0] = <uint8_t*> malloc(<size_t> job.source_width * job.source_height)
        if grey[0] == NULL:
            return -1
        image_to_grey(job.source + job.row_bytes * skipped, job.row_bytes, job.source_width, rows.last - rows.first,
                      pixel_bytes, grey[0] + job.source_width * skipped)
        job.source = grey[0]
        job.row_bytes = job.source_width
        return 0

    cdef Table table(self, int size, float start, float stop, int64_t resized, int64_t begin, int outputs,
                     bint flipped, bint interleaved):
        key = (size, start, stop, resized, begin, outputs, flipped, interleaved)
        cdef Table table = self.tables.pop(key, None)
        cdef Table oldest
        cdef int failed
        if table is None:
            table = Table.__new__(Table)
            with nogil:
                failed = image_table_build(&table.c, size, start, stop, resized, begin, outputs, self.filter,
                                           self.antialias, flipped, self.avx2, interleaved)
            if failed:
                raise MemoryError
            if key in self.tables:
                # Another thread built it meanwhile.
                return self.tables[key]
            self.table_bytes += image_table_bytes(&table.c)
        # What was asked for last stands at the end.
        self.tables[key] = table
        while self.tables and (len(self.tables) > MOST_TABLES or self.table_bytes > MOST_TABLE_BYTES):
            oldest = self.tables.pop(next(iter(self.tables)))
            self.table_bytes -= image_table_bytes(&oldest.c)
        return table


cdef int set_source(image_job* job, Py_buffer* image) except -1:
    """Takes sizes and strides of `image`, or raises ValueError where it is no image."""
    cdef Py_ssize_t channels = image.shape[2] if image.ndim == 3 else 1
    shape = tuple(image.shape[i] for i in range(image.ndim))
    if image.ndim not in (2, 3) or image.format == NULL or image.format != b"B" or channels not in (1, 3, 4):
        raise ValueError(
            f"an image is uint8 [height, width] or [height, width, 1, 3 or 4], not {(image.format or b'B').decode()!r}"
            f" {list(shape)}"
        )
    if not (0 < image.shape[0] <= MOST_SIDE and 0 < image.shape[1] <= MOST_SIDE):
        raise ValueError(f"an image's sides are 1 to {MOST_SIDE} pixels, not {image.shape[1]}x{image.shape[0]}")
    if (image.ndim == 3 and channels > 1 and image.strides[2] != 1) or (
        image.shape[1] > 1 and image.strides[1] != channels
    ) or (image.shape[0] > 1 and image.strides[0] < image.shape[1] * channels):
        strides = [image.strides[i] for i in range(image.ndim)]
        raise ValueError(f"an image's pixels lie side by side, its rows do not overlap; strides are {strides}")
    job.source = <const uint8_t*> image.buf
    job.row_bytes = image.strides[0] if image.shape[0] > 1 else image.shape[1] * channels
    job.source_width = <int> image.shape[1]
    job.source_height = <int> image.shape[0]
    job.channels.source = <int> channels
    job.source_pixel_bytes = <int> channels
    return 0


def element_table(kind, scale, offset):
    """The slot's element for each of 256 values, [channels, 256] of dtype `kind`."""
    values = np.arange(256, dtype=np.float32)
    scales = np.asarray(scale, dtype=np.float32)[:, None]
    elements = values * scales + np.asarray(offset, dtype=np.float32)[:, None]
    if not np.isfinite(elements).all():
        raise ValueError(f"scale {tuple(scale)} and offset {tuple(offset)} do not give finite elements")
    if kind == np.uint8:
        return np.rint(elements).clip(0, 255).astype(np.uint8)
    if kind == np.float16 and np.abs(elements).max() > 65504:
        raise ValueError(f"scale {tuple(scale)} and offset {tuple(offset)} give elements beyond float16's range")
    return elements.astype(kind)


cdef void fill_table(image_slot* slot, int channel, bytes elements, int element_bytes):
    cdef const char* element = elements
    cdef int value
    for value in range(256):
        memcpy(slot.table[channel][value], element + value * element_bytes, element_bytes)
