/* Log-linear buckets over nanoseconds, and the stores that a reader in another process may watch.
 *
 * Buckets are half open from below, (low, high], so that a bucket's high bound is exactly Prometheus' `le`.
 * 16 sub-buckets an octave: a bucket is at most 6.25 % wide, enough to tell two versions apart whose tail
 * latencies differ by a tenth; 8 would not be, and the width costs memory only, never an instruction.
 */
#ifndef STEELYARD_HISTOGRAM_H
#define STEELYARD_HISTOGRAM_H

#include <stdint.h>

enum {
    SY_FIRST_EXPONENT = 7, /* up to 128 ns: underflow; decoding and encoding take less than 1 us */
    SY_LAST_EXPONENT = 37,  /* above 2^37 ns, about 137 s: overflow */
    SY_SUB_BITS = 4,
    SY_SUB_BUCKETS = 1 << SY_SUB_BITS,
    SY_BUCKETS = (SY_LAST_EXPONENT - SY_FIRST_EXPONENT) * SY_SUB_BUCKETS + 2
};

/* The count is the sum of the buckets: no second word that a reader could see out of step with them. */
typedef struct {
    uint64_t sum_ns;
    uint64_t buckets[SY_BUCKETS];
    uint64_t pad[5]; /* to whole cache lines */
} sy_histogram;

_Static_assert(sizeof(sy_histogram) == 488 * 8, "a histogram is 61 cache lines");

static inline unsigned sy_bucket_of(int64_t ns) {
    if (ns <= (INT64_C(1) << SY_FIRST_EXPONENT))
        return 0; /* a clock that stepped back gives negative durations: they are here too */
    if (ns > (INT64_C(1) << SY_LAST_EXPONENT))
        return SY_BUCKETS - 1;
    uint64_t below = (uint64_t)ns - 1;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(below);
    unsigned sub = (unsigned)(below >> (exponent - SY_SUB_BITS)) & (SY_SUB_BUCKETS - 1);
    return 1 + (exponent - SY_FIRST_EXPONENT) * SY_SUB_BUCKETS + sub;
}

static inline uint64_t sy_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }

static inline void sy_store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

/* Not a read-modify-write: the segment has one writer, so a locked instruction would only cost. */
static inline void sy_add(uint64_t *word, uint64_t value) { sy_store(word, sy_load(word) + value); }

static inline uint64_t sy_not_negative(int64_t value) { return value > 0 ? (uint64_t)value : 0; }

/* A duration that came out negative counts as zero, so that the sum can only grow. */
static inline uint64_t sy_duration(int64_t from_ns, int64_t to_ns) {
    return to_ns > from_ns ? (uint64_t)to_ns - (uint64_t)from_ns : 0;
}

static inline void sy_observe(sy_histogram *histogram, uint64_t ns, uint64_t times) {
    sy_add(&histogram->buckets[sy_bucket_of((int64_t)ns)], times);
    sy_add(&histogram->sum_ns, ns * times);
}

#endif
