/* One image into one slot: resize, crop, turn, place, normalise, lay out and cast, row by row. */
#ifndef STEELYARD_IMAGE_RENDER_H
#define STEELYARD_IMAGE_RENDER_H

#include "image_passes.h"

/* What the slot looks like; the same for every image of a model's input. */
struct image_slot {
    int height, width, channels;
    int planar; /* CHW, or else HWC */
    int dtype;
    int element_bytes;
    int plain; /* uint8 with neither scale nor offset: bytes are copied */
    float scale[3], offset[3];
    uint8_t fill[3];
    uint8_t table[3][256][4]; /* the element of each 8-bit value of each channel, in its first element_bytes */
};

struct image_job {
    const uint8_t *source;
    size_t row_bytes; /* from one source row to the next */
    int source_width, source_height;
    int source_pixel_bytes; /* as the caller gave it; channels.source differs where colour is made grey */
    struct image_channels channels;
    const struct image_table *along, *over; /* the axes of the source: along its rows, and over them */
    int over_first; /* the pass over rows comes first; bicubic results depend on the order, as Pillow's do */
    int turned; /* the image as seen has the source's columns for rows */
    int left, top; /* where the window lies in the slot */
    int avx2;
};

static void image_put(const struct image_slot *slot, int channel, uint8_t value, uint8_t *target) {
    if (slot->element_bytes == 4)
        memcpy(target, slot->table[channel][value], 4);
    else if (slot->element_bytes == 2)
        memcpy(target, slot->table[channel][value], 2);
    else
        *target = slot->table[channel][value][0];
}

/* Bytes from one pixel, row and channel of the slot to the next. */
static inline size_t image_pixel_bytes(const struct image_slot *slot) {
    return (size_t)slot->element_bytes * (slot->planar ? 1 : slot->channels);
}

static inline size_t image_line_bytes(const struct image_slot *slot) {
    return image_pixel_bytes(slot) * slot->width;
}

static inline size_t image_channel_bytes(const struct image_slot *slot) {
    return slot->planar ? image_line_bytes(slot) * slot->height : (size_t)slot->element_bytes;
}

/* Writes `pixels` pixels of `row`, each of `kept` bytes, at line y from column x on. */
static void image_finish(const struct image_slot *slot, const uint8_t *row, int kept, int pixels, int y, int x,
                         uint8_t *target, int avx2) {
    size_t channel_bytes = image_channel_bytes(slot), pixel_bytes = image_pixel_bytes(slot);
    target += image_line_bytes(slot) * y + pixel_bytes * x;
    if (slot->plain && (!slot->planar || slot->channels == 1) && kept == slot->channels) {
        memcpy(target, row, (size_t)pixels * kept);
        return;
    }
    int done = 0;
#if IMAGE_HAS_AVX2
    if (avx2 && slot->dtype != IMAGE_UINT8) {
        if (slot->planar || slot->channels == 1)
            done = image_planes_avx2(row, kept, pixels, slot->scale, slot->offset, slot->channels, slot->dtype, target,
                                     channel_bytes);
        else if (kept == 3)
            done = image_interleaved_avx2(row, pixels, slot->scale, slot->offset, slot->dtype, target);
    }
#endif
    for (int c = 0; c < slot->channels; c++) {
        const uint8_t *in = row + (kept == 1 ? 0 : c) + (size_t)done * kept;
        uint8_t *out = target + channel_bytes * c + pixel_bytes * done;
        for (int i = done; i < pixels; i++, in += kept, out += pixel_bytes)
            image_put(slot, c, *in, out);
    }
}

/* Fills the pixels from `from` to `to` of a line, or of one plane of it. */
static void image_fill(const struct image_slot *slot, int channel, int from, int to, uint8_t *line) {
    size_t pixel_bytes = image_pixel_bytes(slot);
    for (int x = from; x < to; x++)
        image_put(slot, channel, slot->fill[channel], line + pixel_bytes * x);
}

/* Fills what lies around the window. Whole lines are copies of the first that is. */
static void image_surround(const struct image_slot *slot, int left, int top, int width, int height,
                           uint8_t *target) {
    size_t line_bytes = image_line_bytes(slot);
    /* In HWC a line holds all channels, and is copied once. */
    int planes = slot->planar ? slot->channels : 1, interleaved = slot->planar ? 1 : slot->channels;
    for (int p = 0; p < planes; p++) {
        uint8_t *plane = target + image_channel_bytes(slot) * p, *filled = NULL;
        for (int y = 0; y < slot->height; y++) {
            uint8_t *line = plane + line_bytes * y;
            int outside = y < top || y >= top + height;
            if (outside && filled) {
                memcpy(line, filled, line_bytes);
                continue;
            }
            for (int c = p; c < p + interleaved; c++) {
                uint8_t *first = line + image_channel_bytes(slot) * (c - p);
                image_fill(slot, c, 0, outside ? slot->width : left, first);
                if (!outside)
                    image_fill(slot, c, left + width, slot->width, first);
            }
            if (outside)
                filled = line;
        }
    }
}

/* What the passes hold. */
struct image_memory {
    size_t row;    /* bytes of a row behind the pass along rows */
    size_t source; /* of a source row, and what the pass along it reads past its end */
    size_t longest; /* of a row on its way out, which may be a column */
    uint8_t *line;
    uint8_t *ring;   /* the last over->taps rows */
    uint8_t *turned; /* the whole window, on its side */
    uint8_t *whole;  /* a source row */
    const uint8_t **pointers; /* [over->taps] */
    int safe_rows; /* so many rows, the first, may be read past their end by what the pass along them does */
};

static size_t image_padded(size_t bytes) {
    return (bytes + IMAGE_SLACK + 63) / 64 * 64;
}

/* Sets the sizes; returns the bytes that the passes hold. Sides below 2^17 keep every product below 2^60. */
static size_t image_plan(const struct image_job *job, struct image_memory *m) {
    size_t kept = job->channels.kept;
    size_t longest = job->turned && job->over->outputs > job->along->outputs ? job->over->outputs : job->along->outputs;
    size_t reach = image_horizontal_reach(job->along, job->source_width, job->channels.source);
    size_t unsafe = (reach + job->row_bytes - 1) / job->row_bytes;
    m->safe_rows = unsafe < (size_t)job->source_height ? job->source_height - (int)unsafe : 0;
    m->row = image_padded(job->along->outputs * kept);
    m->longest = image_padded(longest * kept);
    m->source = image_padded((size_t)job->source_width * job->channels.source + reach);
    return sizeof *m->pointers * job->over->taps + m->longest + m->source +
           m->row * ((size_t)(job->over_first ? 0 : job->over->taps) + (job->turned ? job->over->outputs : 0));
}

static size_t image_working_bytes(const struct image_job *job) {
    struct image_memory m;
    return image_plan(job, &m);
}

/* Takes row `n` of the window, as the source lies: on to the slot, or aside where the image is turned. */
static void image_emit(const struct image_slot *slot, const struct image_job *job, struct image_memory *m, int n,
                       const uint8_t *row, uint8_t *target) {
    if (job->turned)
        memcpy(m->turned + m->row * n, row, job->along->outputs * (size_t)job->channels.kept);
    else
        image_finish(slot, row, job->channels.kept, job->along->outputs, job->top + n, job->left, target, job->avx2);
}

/* Rows are about as long as a page, where hardware stops to look ahead. */
static void image_prefetch(const uint8_t *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch(from + at, 0, 2);
}

static void image_along_first(const struct image_slot *slot, const struct image_job *job, struct image_memory *m,
                              uint8_t *target) {
    const struct image_table *along = job->along, *over = job->over;
    size_t row_bytes = along->outputs * (size_t)job->channels.kept;
    int next = 0;
    for (int n = 0; n < over->outputs; n++) {
        /* Rows are taken in the source's order, so that each passes once. */
        int i = over->flipped ? over->outputs - 1 - n : n;
        int start = over->starts[i], length = over->lengths[i];
        if (next < start)
            next = start;
        while (next < start + length) {
            const uint8_t *source = job->source + job->row_bytes * next;
            uint8_t *out = m->ring + m->row * (next % over->taps);
            /* A row so near the end that the pass would read past the image is copied to where it may. */
            if (next >= m->safe_rows) {
                source = memcpy(m->whole, source, (size_t)job->source_width * job->channels.source);
                image_horizontal(source, out, along, &job->channels, job->avx2);
                next++;
            } else if (next + 1 < start + length && next + 1 < m->safe_rows) {
                if (next + 3 < job->source_height)
                    image_prefetch(source + 2 * job->row_bytes, 2 * job->row_bytes);
                uint8_t *second = m->ring + m->row * ((next + 1) % over->taps);
                image_horizontal_two((const uint8_t *const[2]){source, source + job->row_bytes},
                                     (uint8_t *const[2]){out, second}, along, &job->channels, job->avx2);
                next += 2;
            } else {
                image_horizontal(source, out, along, &job->channels, job->avx2);
                next++;
            }
        }
        for (int k = 0; k < length; k++)
            m->pointers[k] = m->ring + m->row * ((start + k) % over->taps);
        if (over->taps > 1)
            image_vertical(m->pointers, over, i, m->line, row_bytes, job->avx2);
        image_emit(slot, job, m, i, over->taps > 1 ? m->line : m->pointers[0], target);
    }
}

static void image_over_first(const struct image_slot *slot, const struct image_job *job, struct image_memory *m,
                             uint8_t *target) {
    const struct image_table *along = job->along, *over = job->over;
    /* Only the columns that the pass along rows will read. */
    size_t skipped = (size_t)along->first * job->channels.source;
    size_t bytes = (size_t)(along->last - along->first) * job->channels.source;
    for (int i = 0; i < over->outputs; i++) {
        int length = over->lengths[i];
        for (int k = 0; k < length; k++)
            m->pointers[k] = job->source + job->row_bytes * (over->starts[i] + k) + skipped;
        if (over->taps > 1)
            image_vertical(m->pointers, over, i, m->whole + skipped, bytes, job->avx2);
        else
            memcpy(m->whole + skipped, m->pointers[0], bytes);
        image_horizontal(m->whole, m->line, along, &job->channels, job->avx2);
        image_emit(slot, job, m, i, m->line, target);
    }
}

static void image_turn(const struct image_slot *slot, const struct image_job *job, struct image_memory *m,
                       uint8_t *target) {
    int kept = job->channels.kept, width = job->over->outputs;
    for (int i = 0; i < job->along->outputs; i++) {
        const uint8_t *pixel = m->turned + (size_t)i * kept;
        uint8_t *out = m->line;
        if (kept == 1)
            for (int j = 0; j < width; j++, pixel += m->row)
                *out++ = *pixel;
        else
            for (int j = 0; j < width; j++, pixel += m->row, out += 3)
                memcpy(out, pixel, 3);
        image_finish(slot, m->line, kept, width, job->top + i, job->left, target, job->avx2);
    }
}

/* Returns 0, or -1 where there is no memory; then the slot is untouched. */
static int image_render(const struct image_slot *slot, const struct image_job *job, uint8_t *target) {
    struct image_memory m;
    size_t bytes = image_plan(job, &m);
    /* Zeroed: passes read a little past what earlier ones wrote, and weigh it with zero. */
    uint8_t *memory = calloc(bytes, 1);
    if (!memory)
        return -1;
    m.pointers = (const uint8_t **)(void *)memory;
    m.line = memory + sizeof *m.pointers * job->over->taps;
    m.whole = m.line + m.longest;
    m.ring = m.whole + m.source;
    m.turned = m.ring + m.row * (job->over_first ? 0 : job->over->taps);
    int width = job->turned ? job->over->outputs : job->along->outputs;
    int height = job->turned ? job->along->outputs : job->over->outputs;
    image_surround(slot, job->left, job->top, width, height, target);
    if (job->over_first)
        image_over_first(slot, job, &m, target);
    else
        image_along_first(slot, job, &m, target);
    if (job->turned)
        image_turn(slot, job, &m, target);
    free(memory);
    return 0;
}

/* Pillow's convert("L"), for `height` rows of colour. */
static void image_to_grey(const uint8_t *source, size_t row_bytes, int width, int height, int channels,
                          uint8_t *grey) {
    for (int y = 0; y < height; y++, source += row_bytes)
        for (int x = 0; x < width; x++) {
            const uint8_t *p = source + (size_t)x * channels;
            *grey++ = (uint8_t)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 0x8000u) >> 16);
        }
}

#endif
