/* The passes over one row: weigh pixels along it, weigh rows into one, and write one as the tensor's elements.
 *
 * Rows between passes are 8-bit and rounded, as Pillow's are, so results are the same at every instruction set.
 */
#ifndef STEELYARD_IMAGE_PASSES_H
#define STEELYARD_IMAGE_PASSES_H

#include "image_table.h"

#if defined(__x86_64__)
#define IMAGE_HAS_AVX2 1
#include <immintrin.h>
#define IMAGE_AVX2 __attribute__((target("avx2,f16c")))
#else
#define IMAGE_HAS_AVX2 0
#endif

/* A pass may read and write this many bytes past the end of a row, so our own rows have them to spare. */
#define IMAGE_SLACK 64

enum image_dtype { IMAGE_UINT8 = 0, IMAGE_FLOAT16 = 1, IMAGE_FLOAT32 = 2 };

/* What every sum of weighed samples begins with, so that shifting it rounds. */
#define IMAGE_HALF (1 << (IMAGE_BITS - 1))

static inline uint8_t image_level(int32_t sum) {
    sum >>= IMAGE_BITS;
    return sum < 0 ? 0 : sum > 255 ? 255 : (uint8_t)sum;
}

/* Which source channel each of `kept` output channels is. */
struct image_channels {
    int source; /* channels of a source pixel: 1, 3 or 4 */
    int kept;   /* channels behind the horizontal pass: 1 or 3 */
    int from[3];
};

/* One output row from one source row. source: its pixel 0; out: table->outputs * kept bytes and slack. */
static void image_horizontal_scalar(const uint8_t *source, uint8_t *out, const struct image_table *t,
                                    const struct image_channels *c) {
    for (int i = 0; i < t->outputs; i++) {
        const uint8_t *pixel = source + (size_t)t->starts[i] * c->source;
        const int32_t *w = t->weights + (size_t)i * t->stride;
        int32_t sums[3] = {IMAGE_HALF, IMAGE_HALF, IMAGE_HALF};
        if (c->source == 1)
            for (int k = 0; k < t->lengths[i]; k++)
                sums[0] += pixel[k] * w[k];
        else
            for (int k = 0; k < t->lengths[i]; k++, pixel += c->source)
                for (int j = 0; j < 3; j++)
                    sums[j] += pixel[j] * w[k];
        for (int j = 0; j < c->kept; j++)
            *out++ = image_level(sums[c->from[j]]);
    }
}

static void image_horizontal_pick(const uint8_t *source, uint8_t *out, const struct image_table *t,
                                  const struct image_channels *c) {
    int side_by_side = t->last - t->first == t->outputs && !t->flipped && t->starts[t->outputs - 1] == t->last - 1;
    for (int i = 1; side_by_side && i < t->outputs; i++)
        side_by_side = t->starts[i] == t->starts[i - 1] + 1;
    if (side_by_side && c->source == c->kept && c->from[0] == 0) {
        memcpy(out, source + (size_t)t->first * c->source, (size_t)t->outputs * c->source);
        return;
    }
    for (int i = 0; i < t->outputs; i++, out += c->kept) {
        const uint8_t *pixel = source + (size_t)t->starts[i] * c->source;
        for (int j = 0; j < c->kept; j++)
            out[j] = pixel[c->from[j]];
    }
}

/* out[x] = sum of rows[k][x] * (the k-th weight of output i of `t`), for `bytes` bytes. */
static void image_vertical_scalar(const uint8_t *const *rows, const struct image_table *t, int i, uint8_t *out,
                                  size_t bytes) {
    int32_t sums[256];
    for (size_t at = 0; at < bytes; at += 256) {
        int n = bytes - at > 256 ? 256 : (int)(bytes - at);
        for (int x = 0; x < n; x++)
            sums[x] = IMAGE_HALF;
        for (int k = 0; k < t->lengths[i]; k++) {
            const uint8_t *row = rows[k] + at;
            int32_t w = t->weights[(size_t)i * t->stride + k];
            for (int x = 0; x < n; x++)
                sums[x] += row[x] * w;
        }
        for (int x = 0; x < n; x++)
            out[at + x] = image_level(sums[x]);
    }
}

#if IMAGE_HAS_AVX2

/* Sums of the high halves and of the low ones to levels, still of 32 bits. */
IMAGE_AVX2 static inline __m256i image_levels(__m256i high, __m256i low) {
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, IMAGE_LOW_BITS), low);
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(IMAGE_HALF)), IMAGE_BITS);
}

#define IMAGE_INLINE static inline __attribute__((always_inline))

/* One output of interleaved channels in each of `rows` rows, times 2^22: a channel in each of four lanes, half of the
 * taps in each half. Weights do not fit the first cache; two rows share one reading of them. */
IMAGE_AVX2 IMAGE_INLINE void image_weigh_pixels(const uint8_t *const source[2], size_t at, const __m256i *w, int groups,
                                                int step, __m256i shuffle, int rows, __m256i sums[2]) {
    __m256i high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, low[2] = {high[0], high[0]};
    for (int g = 0; g < groups; g++, at += step, w += 2) {
        __m256i left = _mm256_loadu_si256(w), right = _mm256_loadu_si256(w + 1);
        for (int r = 0; r < rows; r++) {
            __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(source[r] + at)));
            v = _mm256_shuffle_epi8(v, shuffle);
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(v, left));
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(v, right));
        }
    }
    for (int r = 0; r < rows; r++)
        sums[r] = _mm256_add_epi32(_mm256_slli_epi32(high[r], IMAGE_LOW_BITS), low[r]);
}

/* The levels, still of 32 bits, of two outputs, one in each half. */
IMAGE_AVX2 static inline __m256i image_two_levels(__m256i a, __m256i b) {
    __m256i sum = _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(IMAGE_HALF)), IMAGE_BITS);
}

/* Three or four interleaved channels, of which three are kept, of one row or two. Reads whole groups of four pixels,
 * and 4 bytes more where they have three channels: see image_horizontal_reach. Writes 16 bytes for four pixels, 12 of
 * them good. */
IMAGE_AVX2 IMAGE_INLINE void image_horizontal_groups(const uint8_t *const source[2], uint8_t *const out[2],
                                                     const struct image_table *t, const struct image_channels *c,
                                                     int groups, int rows) {
    int8_t order[32];
    memset(order, -1, sizeof order);
    for (int j = 0; j < 3; j++)
        for (int k = 0; k < 4; k++)
            order[(k >= 2 ? 16 : 0) + 4 * j + 2 * (k & 1)] = (int8_t)(k * c->source + c->from[j]);
    const __m256i shuffle = _mm256_loadu_si256((const __m256i *)order);
    const __m128i without_fourth = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m256i *w = (const __m256i *)t->spread;
    for (int i = 0; i < t->outputs; i += 4) {
        __m256i sums[4][2];
        for (int k = 0; k < 4; k++) {
            /* Behind the last output it is repeated, into the slack. */
            int output = i + k < t->outputs ? i + k : t->outputs - 1;
            image_weigh_pixels(source, (size_t)t->starts[output] * c->source, w + (size_t)output * groups * 2, groups,
                               4 * c->source, shuffle, rows, sums[k]);
        }
        for (int r = 0; r < rows; r++) {
            __m256i v = _mm256_packs_epi32(image_two_levels(sums[0][r], sums[1][r]),
                                           image_two_levels(sums[2][r], sums[3][r]));
            v = _mm256_packus_epi16(v, v);
            __m128i four = _mm_unpacklo_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
            _mm_storeu_si128((__m128i *)(out[r] + 3 * (size_t)i), _mm_shuffle_epi8(four, without_fourth));
        }
    }
}

/* Unrolled for the numbers of groups that common ratios have. */
IMAGE_AVX2 IMAGE_INLINE void image_horizontal_rows(const uint8_t *const source[2], uint8_t *const out[2],
                                                   const struct image_table *t, const struct image_channels *c,
                                                   int rows) {
    switch (t->groups) {
    case 1:
        image_horizontal_groups(source, out, t, c, 1, rows);
        return;
    case 2:
        image_horizontal_groups(source, out, t, c, 2, rows);
        return;
    case 3:
        image_horizontal_groups(source, out, t, c, 3, rows);
        return;
    case 4:
        image_horizontal_groups(source, out, t, c, 4, rows);
        return;
    default:
        image_horizontal_groups(source, out, t, c, t->groups, rows);
    }
}

IMAGE_AVX2 static void image_horizontal_avx2(const uint8_t *source, uint8_t *out, const struct image_table *t,
                                             const struct image_channels *c) {
    image_horizontal_rows((const uint8_t *const[2]){source, source}, (uint8_t *const[2]){out, out}, t, c, 1);
}

IMAGE_AVX2 static void image_horizontal_two_avx2(const uint8_t *const source[2], uint8_t *const out[2],
                                                 const struct image_table *t, const struct image_channels *c) {
    image_horizontal_rows(source, out, t, c, 2);
}

/* One output of one channel, times 2^22, in eight parts. Sixteen taps at a time. */
IMAGE_AVX2 IMAGE_INLINE __m256i image_weigh_grey(const uint8_t *source, const struct image_table *t, int i) {
    const uint8_t *s = source + t->starts[i];
    const int16_t *high = t->high + (size_t)i * t->stride, *low = t->low + (size_t)i * t->stride;
    __m256i sum = _mm256_setzero_si256(), rest = _mm256_setzero_si256();
    for (int k = 0; k < t->stride; k += 16) {
        __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(s + k)));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(v, _mm256_loadu_si256((const __m256i *)(high + k))));
        rest = _mm256_add_epi32(rest, _mm256_madd_epi16(v, _mm256_loadu_si256((const __m256i *)(low + k))));
    }
    return _mm256_add_epi32(_mm256_slli_epi32(sum, IMAGE_LOW_BITS), rest);
}

IMAGE_AVX2 static void image_horizontal_grey_avx2(const uint8_t *source, uint8_t *out, const struct image_table *t) {
    const int last = t->outputs - 1;
    for (int i = 0; i <= last; i += 4) {
        /* Behind the last output it is repeated, into the slack. */
        __m256i a = image_weigh_grey(source, t, i);
        __m256i b = image_weigh_grey(source, t, i + 1 < last ? i + 1 : last);
        __m256i c = image_weigh_grey(source, t, i + 2 < last ? i + 2 : last);
        __m256i d = image_weigh_grey(source, t, i + 3 < last ? i + 3 : last);
        __m256i v = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        four = _mm_srai_epi32(_mm_add_epi32(four, _mm_set1_epi32(IMAGE_HALF)), IMAGE_BITS);
        four = _mm_packs_epi32(four, four);
        int32_t levels = _mm_cvtsi128_si32(_mm_packus_epi16(four, four));
        memcpy(out + i, &levels, 4);
    }
}

/* Sixteen bytes of every row. Weights are read in pairs: the one behind an odd length is zero. */
IMAGE_AVX2 static inline void image_vertical_16(const uint8_t *const *rows, const struct image_table *t, int i,
                                                uint8_t *out, size_t at) {
    const int16_t *high = t->high + (size_t)i * t->stride, *low = t->low + (size_t)i * t->stride;
    const int length = t->lengths[i];
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i rest[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int k = 0; k < length; k += 2) {
        const uint8_t *second = rows[k + 1 < length ? k + 1 : k];
        int32_t pair, low_pair;
        memcpy(&pair, high + k, 4);
        memcpy(&low_pair, low + k, 4);
        __m256i w = _mm256_set1_epi32(pair), v = _mm256_set1_epi32(low_pair);
        __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(rows[k] + at)));
        __m256i b = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(second + at)));
        __m256i left = _mm256_unpacklo_epi16(a, b), right = _mm256_unpackhi_epi16(a, b);
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(left, w));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(right, w));
        rest[0] = _mm256_add_epi32(rest[0], _mm256_madd_epi16(left, v));
        rest[1] = _mm256_add_epi32(rest[1], _mm256_madd_epi16(right, v));
    }
    __m256i v = _mm256_packs_epi32(image_levels(sums[0], rest[0]), image_levels(sums[1], rest[1]));
    __m128i r = _mm_packus_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storeu_si128((__m128i *)(out + at), r);
}

/* Reads and writes exactly `bytes` bytes: the last sixteen overlap those before them. */
IMAGE_AVX2 static void image_vertical_avx2(const uint8_t *const *rows, const struct image_table *t, int i,
                                           uint8_t *out, size_t bytes) {
    if (bytes < 16) {
        image_vertical_scalar(rows, t, i, out, bytes);
        return;
    }
    size_t at = 0;
    for (; at + 16 <= bytes; at += 16)
        image_vertical_16(rows, t, i, out, at);
    if (at < bytes)
        image_vertical_16(rows, t, i, out, bytes - 16);
}

/* How many of `pixels` were written to the planes of a CHW tensor, eight at a time. */
IMAGE_AVX2 static int image_planes_avx2(const uint8_t *row, int kept, int pixels, const float *scale,
                                        const float *offset, int channels, int dtype, uint8_t *target,
                                        size_t plane_bytes) {
    int i = 0;
    for (int c = 0; c < channels; c++) {
        __m256 s = _mm256_set1_ps(scale[c]), o = _mm256_set1_ps(offset[c]);
        int8_t order[32];
        memset(order, -1, sizeof order);
        for (int k = 0; k < 4; k++)
            order[4 * k] = order[16 + 4 * k] = (int8_t)(kept == 3 ? 3 * k + c : k);
        const __m256i shuffle = _mm256_loadu_si256((const __m256i *)order);
        uint8_t *out = target + c * plane_bytes;
        for (i = 0; i + 8 <= pixels; i += 8) {
            const uint8_t *p = row + (size_t)i * kept;
            __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
                                                _mm_loadu_si128((const __m128i *)(p + 4 * kept)), 1);
            /* Multiplied, then added: fused they would round once, and differ from the table's values. */
            __m256 f = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, shuffle));
            f = _mm256_add_ps(_mm256_mul_ps(f, s), o);
            if (dtype == IMAGE_FLOAT32)
                _mm256_storeu_ps((float *)(void *)out + i, f);
            else
                _mm_storeu_si128((__m128i *)(out + 2 * (size_t)i), _mm256_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT));
        }
    }
    return i;
}

/* How many of `pixels` were written to an HWC tensor of three channels, eight at a time. */
IMAGE_AVX2 static int image_interleaved_avx2(const uint8_t *row, int pixels, const float *scale, const float *offset,
                                             int dtype, uint8_t *target) {
    __m256 s[3], o[3];
    for (int part = 0; part < 3; part++) {
        float a[8], b[8];
        for (int k = 0; k < 8; k++) {
            a[k] = scale[(8 * part + k) % 3];
            b[k] = offset[(8 * part + k) % 3];
        }
        s[part] = _mm256_loadu_ps(a);
        o[part] = _mm256_loadu_ps(b);
    }
    int i = 0;
    for (; i + 8 <= pixels; i += 8)
        for (int part = 0; part < 3; part++) {
            size_t at = 3 * (size_t)i + 8 * part;
            __m256 f = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(row + at))));
            f = _mm256_add_ps(_mm256_mul_ps(f, s[part]), o[part]);
            if (dtype == IMAGE_FLOAT32)
                _mm256_storeu_ps((float *)(void *)target + at, f);
            else
                _mm_storeu_si128((__m128i *)(target + 2 * at), _mm256_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT));
        }
    return i;
}

#endif

/* Bytes that a horizontal pass reads past the end of a row of `width` pixels. */
static size_t image_horizontal_reach(const struct image_table *t, int width, int channels) {
    long long reach = 0;
    for (int i = 0; i < t->outputs; i++) {
        long long end = channels == 1 ? (long long)t->starts[i] + t->stride
                                      : ((long long)t->starts[i] + 4 * t->groups) * channels + 4;
        if (end > reach)
            reach = end;
    }
    reach -= (long long)width * channels;
    return reach > 0 ? (size_t)reach : 0;
}

static void image_horizontal(const uint8_t *source, uint8_t *out, const struct image_table *t,
                             const struct image_channels *c, int avx2) {
    if (t->taps == 1) {
        image_horizontal_pick(source, out, t, c);
        return;
    }
#if IMAGE_HAS_AVX2
    if (avx2 && c->source == 1) {
        image_horizontal_grey_avx2(source, out, t);
        return;
    }
    if (avx2 && t->spread) {
        image_horizontal_avx2(source, out, t, c);
        return;
    }
#endif
    image_horizontal_scalar(source, out, t, c);
}

/* Two rows at once, where that is faster. */
static void image_horizontal_two(const uint8_t *const source[2], uint8_t *const out[2], const struct image_table *t,
                                 const struct image_channels *c, int avx2) {
#if IMAGE_HAS_AVX2
    if (avx2 && t->spread) {
        image_horizontal_two_avx2(source, out, t, c);
        return;
    }
#endif
    image_horizontal(source[0], out[0], t, c, avx2);
    image_horizontal(source[1], out[1], t, c, avx2);
}

static void image_vertical(const uint8_t *const *rows, const struct image_table *t, int i, uint8_t *out, size_t bytes,
                           int avx2) {
#if IMAGE_HAS_AVX2
    if (avx2) {
        image_vertical_avx2(rows, t, i, out, bytes);
        return;
    }
#endif
    image_vertical_scalar(rows, t, i, out, bytes);
}

#endif
