/* Coefficients of one axis of a resize: which source samples make each output sample, and with what weights.
 *
 * The formula is the one of Pillow's Image.resize (antialiased filters scale their support by the ratio and
 * leave out what lies beyond the edge), and, where not antialiased, the one of OpenCV's INTER_LINEAR and
 * INTER_CUBIC (support unscaled, the edge sample repeated).
 *
 * Weights are fixed point of Pillow's 22 fraction bits, rounded as it rounds: with as many bits as fit 16, results
 * were two levels off now and then. AVX2 multiplies 16 bits, so it has each weight in two halves.
 */
#ifndef STEELYARD_IMAGE_TABLE_H
#define STEELYARD_IMAGE_TABLE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum image_filter { IMAGE_NEAREST = 0, IMAGE_BILINEAR = 1, IMAGE_BICUBIC = 2 };

/* 255 * 2^22 * (what a row's absolute weights sum to, below 1.9) stays under 2^31. */
#define IMAGE_BITS 22
/* A weight is high * 2^8 + low, both of 16 bits. */
#define IMAGE_LOW_BITS 8
#define IMAGE_MOST_WEIGHT (32767 << IMAGE_LOW_BITS)

struct image_table {
    int outputs;      /* output samples in the window */
    int taps;         /* source samples of the widest output; where 1, samples are only picked */
    int stride;       /* weights from one output to the next; at least taps, a multiple of 16 */
    int flipped;      /* starts fall instead of rise */
    int first, last;  /* every source index used lies in [first, last) */
    int32_t *starts;  /* [outputs] */
    int32_t *lengths; /* [outputs], at most taps */
    int32_t *weights; /* [outputs * stride], zero behind length */
    int16_t *high;    /* [outputs * stride], the halves of each weight; NULL unless asked for */
    int16_t *low;
    int groups;       /* of four taps, in `spread` */
    int16_t *spread;  /* for each group (w0 w1) four times and (w2 w3) four times, of `high` and then of `low` */
};

static inline double image_weight(int filter, double a, double x) {
    x = fabs(x);
    if (filter == IMAGE_BILINEAR)
        return x < 1.0 ? 1.0 - x : 0.0;
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static inline int image_clamp(long long value, int low, int high) {
    return value < low ? low : value > high ? high : (int)value;
}

/* Starts, lengths and real weights; `real` has room for `room` weights an output. */
static void image_table_nearest(struct image_table *t, int size, double from, double scale, int64_t begin,
                                double *real, int room) {
    /* Summed rather than multiplied, as Pillow does, so that positions on a boundary fall to the same side. */
    double position = from + scale * 0.5;
    if (begin > 1 << 20)
        position += scale * (double)begin; /* a strip made very long: not worth the additions */
    else
        for (int64_t i = 0; i < begin; i++)
            position += scale;
    for (int i = 0; i < t->outputs; i++, position += scale) {
        t->starts[i] = image_clamp((long long)position, 0, size - 1);
        t->lengths[i] = 1;
        real[(size_t)i * room] = 1.0;
    }
}

static void image_table_antialiased(struct image_table *t, int size, double from, double scale, int64_t begin,
                                    int filter, double *real, int room) {
    double stretch = scale < 1.0 ? 1.0 : scale;
    double inverse = 1.0 / stretch;
    double support = (filter == IMAGE_BICUBIC ? 2.0 : 1.0) * stretch;
    for (int i = 0; i < t->outputs; i++) {
        double *row = real + (size_t)i * room;
        double center = from + ((double)(begin + i) + 0.5) * scale;
        int low = image_clamp((long long)(center - support + 0.5), 0, size - 1);
        int high = image_clamp((long long)(center + support + 0.5), low + 1, size);
        double sum = 0.0;
        if (high - low > room)
            high = low + room;
        for (int k = low; k < high; k++)
            sum += row[k - low] = image_weight(filter, -0.5, (k - center + 0.5) * inverse);
        if (sum != 0.0)
            sum = 1.0 / sum;
        else
            row[0] = sum = 1.0;
        for (int k = 0; k < high - low; k++)
            row[k] *= sum;
        t->starts[i] = low;
        t->lengths[i] = high - low;
    }
}

static void image_table_interpolated(struct image_table *t, int size, double from, double scale, int64_t begin,
                                     int filter, double *real, int room) {
    int reach = filter == IMAGE_BICUBIC ? 2 : 1;
    for (int i = 0; i < t->outputs; i++) {
        double *row = real + (size_t)i * room;
        double center = from + ((double)(begin + i) + 0.5) * scale;
        long long base = (long long)floor(center - 0.5) - reach + 1;
        int low = image_clamp(base, 0, size - 1);
        int high = image_clamp(base + 2 * reach, low + 1, size);
        for (int k = 0; k < 2 * reach; k++) {
            int at = image_clamp(base + k, low, high - 1);
            row[at - low] += image_weight(filter, -0.75, (double)(base + k) + 0.5 - center);
        }
        t->starts[i] = low;
        t->lengths[i] = high - low;
    }
}

/* An axis that only picks samples (nothing resized, or nearest) has one tap, which the passes copy. */
static void image_table_collapse(struct image_table *t, double *real, int room) {
    for (int i = 0; i < t->outputs; i++) {
        int ones = 0;
        for (int k = 0; k < t->lengths[i]; k++) {
            double w = real[(size_t)i * room + k];
            if (w != 0.0 && w != 1.0)
                return;
            ones += w == 1.0;
        }
        if (ones != 1)
            return;
    }
    for (int i = 0; i < t->outputs; i++) {
        double *row = real + (size_t)i * room;
        int k = 0;
        while (row[k] != 1.0)
            k++;
        t->starts[i] += k;
        t->lengths[i] = 1;
        row[0] = 1.0;
    }
}

static void image_table_quantise(struct image_table *t, const double *real, int room) {
    for (int i = 0; i < t->outputs; i++) {
        int length = t->lengths[i];
        for (int k = 0; k < length; k++) {
            size_t at = (size_t)i * t->stride + (t->flipped ? length - 1 - k : k);
            /* At an edge a weight can be a little above 1; two are the most that the high half holds. */
            long long weight = llround(real[(size_t)i * room + k] * (1 << IMAGE_BITS));
            t->weights[at] = image_clamp(weight, -IMAGE_MOST_WEIGHT, IMAGE_MOST_WEIGHT);
        }
    }
}

static void image_table_halve(struct image_table *t) {
    for (size_t at = 0; at < (size_t)t->outputs * t->stride; at++) {
        int high = (t->weights[at] + (1 << (IMAGE_LOW_BITS - 1))) >> IMAGE_LOW_BITS;
        t->high[at] = (int16_t)high;
        t->low[at] = (int16_t)(t->weights[at] - high * (1 << IMAGE_LOW_BITS));
    }
}

static void image_table_spread(struct image_table *t) {
    int16_t *to = t->spread;
    for (int i = 0; i < t->outputs; i++)
        for (int g = 0; g < t->groups; g++)
            for (int half = 0; half < 2; half++, to += 16)
                for (int k = 0; k < 16; k++)
                    to[k] = (half ? t->low : t->high)[(size_t)i * t->stride + g * 4 + (k >= 8 ? 2 : 0) + (k & 1)];
}

static void image_table_free(struct image_table *t) {
    free(t->starts);
    free(t->lengths);
    free(t->weights);
    free(t->high);
    free(t->low);
    free(t->spread);
    memset(t, 0, sizeof *t);
}

static size_t image_table_bytes(const struct image_table *t) {
    size_t weights = t->stride * (sizeof *t->weights + (t->high ? 2 * sizeof *t->high : 0));
    return (size_t)t->outputs * (8 + weights + (t->spread ? 64 * (size_t)t->groups : 0));
}

/* Builds the table of outputs [begin, begin + outputs) of a resize of [from, to) of `size` samples to `resized`.
 * flipped: the source axis runs the other way. avx2: with halves; interleaved: laid out for interleaved channels too.
 * Returns 0, or -1 where there is no memory. The caller has checked 0 <= from < to <= size and the window.
 */
static int image_table_build(struct image_table *t, int size, float from, float to, int64_t resized,
                             int64_t begin, int outputs, int filter, int antialias, int flipped, int avx2,
                             int interleaved) {
    /* In single precision, as in Pillow: it shows where a box has fractions. */
    double scale = (double)(to - from) / (double)resized;
    double stretch = antialias && scale > 1.0 ? scale : 1.0;
    int room = filter == IMAGE_NEAREST ? 1 : (int)ceil((filter == IMAGE_BICUBIC ? 2.0 : 1.0) * stretch) * 2 + 1;
    double *real = calloc((size_t)outputs * room, sizeof *real);
    memset(t, 0, sizeof *t);
    t->outputs = outputs;
    t->flipped = flipped;
    t->starts = calloc(outputs, sizeof *t->starts);
    t->lengths = calloc(outputs, sizeof *t->lengths);
    if (!real || !t->starts || !t->lengths)
        goto no_memory;
    if (filter == IMAGE_NEAREST)
        image_table_nearest(t, size, from, scale, begin, real, room);
    else if (antialias)
        image_table_antialiased(t, size, from, scale, begin, filter, real, room);
    else
        image_table_interpolated(t, size, from, scale, begin, filter, real, room);
    image_table_collapse(t, real, room);

    t->first = size;
    for (int i = 0; i < outputs; i++) {
        if (t->lengths[i] > t->taps)
            t->taps = t->lengths[i];
        if (flipped)
            t->starts[i] = size - t->starts[i] - t->lengths[i];
        if (t->starts[i] < t->first)
            t->first = t->starts[i];
        if (t->starts[i] + t->lengths[i] > t->last)
            t->last = t->starts[i] + t->lengths[i];
    }
    t->stride = (t->taps + 15) / 16 * 16;
    t->weights = calloc((size_t)outputs * t->stride, sizeof *t->weights);
    if (!t->weights)
        goto no_memory;
    image_table_quantise(t, real, room);
    if (avx2 && t->taps > 1) {
        t->high = malloc((size_t)outputs * t->stride * sizeof *t->high);
        t->low = malloc((size_t)outputs * t->stride * sizeof *t->low);
        if (!t->high || !t->low)
            goto no_memory;
        image_table_halve(t);
    }
    if (avx2 && interleaved && t->taps > 1) {
        t->groups = (t->taps + 3) / 4;
        t->spread = malloc((size_t)outputs * t->groups * 32 * sizeof *t->spread);
        if (!t->spread)
            goto no_memory;
        image_table_spread(t);
    }
    free(real);
    return 0;
no_memory:
    free(real);
    image_table_free(t);
    return -1;
}

#endif
