/* The shared segment's layout, word for word what server/steelyard/observe/layout.py says; a test compares them.
 *
 * Header page, then a dense directory (labels, counters, gauges), then the bodies (histograms). A model that was
 * never asked costs its 640 bytes of directory; its body's pages are never touched, by writer or reader.
 */
#ifndef STEELYARD_SEGMENT_H
#define STEELYARD_SEGMENT_H

#include "histogram.h"

enum {
    SY_LAYOUT_VERSION = 3,
    SY_SLOTS = 4096,
    SY_MODEL_BYTES = 256,
    SY_VERSION_BYTES = 64,
    SY_REASONS = 16,
    SY_STAGES = 6,
    SY_EXACT_BATCH = 128,
    SY_BATCH_SIZES = SY_EXACT_BATCH + 2, /* 0..128, and one for all that is larger */
    SY_RULES = 32,
    SY_ACTIONS = 4,
    SY_STEPS = 32,
    SY_STEP_BYTES = 96
};

#define SY_MAGIC UINT64_C(0x31445241594C5453) /* "STLYARD1" as bytes on a little-endian machine */

typedef struct {
    uint64_t magic, layout_version, slots, slots_used;
    uint64_t worker_pid, worker_start_unix_ns, worker_starts, labels_without_slot;
    uint64_t pad_head[8];
    /* The ring of decision records, each end on a cache line of its own. */
    uint64_t ring_head, pad_ring_head[7];
    uint64_t ring_tail, pad_ring_tail[7];
    /* Decisions: put into the ring, left out by sampling, without room in the ring, of models that record none;
     * and what a process that died took along without any of these. */
    uint64_t recorded, sampled_out, dropped, off, taken_along, pad_decisions[3];
    /* Of the thread that writes: what reached the file, what is on disk, what the file would not take. */
    uint64_t written, written_bytes, synced, unwritten, pad_written[4];
    uint64_t pad[464];
} sy_header;

typedef struct {
    uint64_t used, model_length, version_length, reserved;
    char model[SY_MODEL_BYTES];
    char version[SY_VERSION_BYTES];
    uint64_t steps, ragged_places, ragged_padding, pad_labels[1];
    uint64_t received, answered, failed, cancelled, lost;
    uint64_t rows, batches, last_inference_unix_ms, failed_ns;
    uint64_t golden_passed, golden_failed, golden_last_unix_ms;
    uint64_t in_flight, queue_depth, queue_bytes, golden_failing;
    uint64_t refused[SY_REASONS];
} sy_entry;

typedef struct {
    uint64_t count, input_ns, infer_ns, output_ns;
} sy_batch_size;

/* One step of a version's pipeline. */
typedef struct {
    uint64_t name_length;
    char name[SY_STEP_BYTES];
    uint64_t runs, errors, sum_ns;
} sy_step;

typedef struct {
    sy_histogram stages[SY_STAGES];
    sy_batch_size batch_sizes[SY_BATCH_SIZES];
    uint64_t rules[SY_RULES][SY_ACTIONS];
    uint64_t pad[8];
    sy_step steps[SY_STEPS]; /* the eighth page: no two models share one */
} sy_body;

_Static_assert(sizeof(sy_header) == 4096, "the header is one page");
_Static_assert(sizeof(sy_entry) == 640, "an entry is ten cache lines");
_Static_assert(sizeof(sy_body) == 8 * 4096, "a body is eight pages");

#define SY_DIRECTORY_OFFSET ((uint64_t)sizeof(sy_header))
#define SY_BODIES_OFFSET (SY_DIRECTORY_OFFSET + (uint64_t)SY_SLOTS * sizeof(sy_entry))
#define SY_RING_OFFSET (SY_BODIES_OFFSET + (uint64_t)SY_SLOTS * sizeof(sy_body))
#define SY_RING_BYTES ((uint64_t)1 << 23) /* some 40,000 records: half a second of all that a core can answer */
#define SY_SEGMENT_BYTES (SY_RING_OFFSET + SY_RING_BYTES)

/* Publishes an entry: a reader that sees `used` sees the labels too. */
static inline void sy_publish(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

#endif
