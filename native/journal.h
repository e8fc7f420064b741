/* The record of a decision, byte for byte what server/steelyard/evidence/record.py says, and the ring that records wait
 * in for the thread that writes them: one writer, one reader, no lock. Little-endian machines only. */
#ifndef STEELYARD_JOURNAL_H
#define STEELYARD_JOURNAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "records are written as they lie in memory"
#endif

enum {
    SY_RECORD_FORMAT = 1,
    SY_RECORD_HEAD = 156,
    SY_TRACE_BYTES = 16,
    SY_MAX_TEXT = 255,
    SY_MAX_REQUEST_ID = 128,
    SY_MAX_MESSAGE = 1024,
    /* Head, trace id, four texts, a request id and a message, each at its longest. */
    SY_MAX_RECORD = SY_RECORD_HEAD + SY_TRACE_BYTES + 4 * SY_MAX_TEXT + SY_MAX_REQUEST_ID + SY_MAX_MESSAGE,
    SY_NO_REASON = 255,
    SY_FLAG_TRACE = 1,
    SY_FLAG_DEADLINE = 2
};

typedef struct __attribute__((packed)) {
    uint8_t format, outcome, code, reason, role, flags;
    uint16_t position;
    uint8_t id[16];
    uint64_t received_unix_ns, decode_ns, queue_ns, assemble_ns, execute_ns, encode_ns, total_ns;
    int64_t deadline_left_ns;
    uint64_t batch;
    uint32_t batch_rows, batch_requests, rows, version;
    float sample_rate;
    uint16_t model_length, message_length;
    uint8_t request_id_length, caller_length, key_length, signer_length;
    uint8_t digest[32];
} sy_record;

_Static_assert(sizeof(sy_record) == SY_RECORD_HEAD, "the head is as record.py packs it");

typedef struct {
    uint8_t *data;
    uint64_t mask;  /* the size, a power of two, less one */
    uint64_t *head; /* bytes ever put; the writer's */
    uint64_t *tail; /* bytes ever taken; the reader's */
} sy_ring;

static inline void sy_ring_copy_in(sy_ring *ring, uint64_t at, const uint8_t *from, size_t size) {
    uint64_t offset = at & ring->mask;
    uint64_t until_end = ring->mask + 1 - offset;
    size_t first = size < until_end ? size : (size_t)until_end;
    memcpy(ring->data + offset, from, first);
    memcpy(ring->data, from + first, size - first);
}

/* Puts a record behind its length. 0 where there is no room. */
static inline int sy_ring_put(sy_ring *ring, const uint8_t *record, uint16_t size) {
    uint64_t head = *ring->head;
    uint64_t used = head - __atomic_load_n(ring->tail, __ATOMIC_ACQUIRE);
    if ((uint64_t)size + 2 > ring->mask + 1 - used) return 0;
    sy_ring_copy_in(ring, head, (const uint8_t *)&size, 2);
    sy_ring_copy_in(ring, head + 2, record, size);
    __atomic_store_n(ring->head, head + 2 + size, __ATOMIC_RELEASE);
    return 1;
}

/* Copies without moving on. */
static inline void sy_ring_copy_out(const sy_ring *ring, uint64_t at, uint8_t *to, size_t size) {
    uint64_t offset = at & ring->mask;
    uint64_t until_end = ring->mask + 1 - offset;
    size_t first = size < until_end ? size : (size_t)until_end;
    memcpy(to, ring->data + offset, first);
    memcpy(to + first, ring->data, size - first);
}

/* Bytes of the records in front that are whole and at most `most` together; `count` is how many they are. */
static inline uint64_t sy_ring_ready(const sy_ring *ring, uint64_t most, uint64_t *count) {
    uint64_t tail = *ring->tail, head = __atomic_load_n(ring->head, __ATOMIC_ACQUIRE), at = tail;
    uint16_t size;
    *count = 0;
    while (at != head) {
        sy_ring_copy_out(ring, at, (uint8_t *)&size, 2);
        if (at + 2 + size - tail > most) break;
        at += 2 + (uint64_t)size;
        *count += 1;
    }
    return at - tail;
}

static inline void sy_ring_taken(sy_ring *ring, uint64_t size) {
    __atomic_store_n(ring->tail, *ring->tail + size, __ATOMIC_RELEASE);
}

#endif
