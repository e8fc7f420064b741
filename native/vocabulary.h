/* Categories by their bytes: XXH64 (the xxHash specification, 0.1.1) and an open-addressing table built once.

   A table is read by many threads and written by none. Keys are what a model's owner listed, so no caller can
   make its probes long: a lookup only walks runs that those keys made. */

#ifndef STEELYARD_VOCABULARY_H
#define STEELYARD_VOCABULARY_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t XX_PRIME_1 = 0x9E3779B185EBCA87ULL;
static const uint64_t XX_PRIME_2 = 0xC2B2AE3D27D4EB4FULL;
static const uint64_t XX_PRIME_3 = 0x165667B19E3779F9ULL;
static const uint64_t XX_PRIME_4 = 0x85EBCA77C2B2AE63ULL;
static const uint64_t XX_PRIME_5 = 0x27D4EB2F165667C5ULL;

static inline uint64_t xx_rotate(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

static inline uint64_t xx_read64(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, 8);
    return value;
}

static inline uint32_t xx_read32(const uint8_t *p) {
    uint32_t value;
    memcpy(&value, p, 4);
    return value;
}

static inline uint64_t xx_round(uint64_t lane, uint64_t input) {
    return xx_rotate(lane + input * XX_PRIME_2, 31) * XX_PRIME_1;
}

static inline uint64_t xx_merge(uint64_t hash, uint64_t lane) {
    return (hash ^ xx_round(0, lane)) * XX_PRIME_1 + XX_PRIME_4;
}

/* XXH64 of `size` bytes; the machine is little-endian, as the protocol is. */
static inline uint64_t xx_hash(const uint8_t *p, int64_t size, uint64_t seed) {
    uint64_t hash;
    int64_t left = size;
    if (left >= 32) {
        uint64_t lanes[4] = {seed + XX_PRIME_1 + XX_PRIME_2, seed + XX_PRIME_2, seed, seed - XX_PRIME_1};
        for (; left >= 32; left -= 32, p += 32)
            for (int i = 0; i < 4; i++) lanes[i] = xx_round(lanes[i], xx_read64(p + 8 * i));
        hash = xx_rotate(lanes[0], 1) + xx_rotate(lanes[1], 7) + xx_rotate(lanes[2], 12) + xx_rotate(lanes[3], 18);
        for (int i = 0; i < 4; i++) hash = xx_merge(hash, lanes[i]);
    } else {
        hash = seed + XX_PRIME_5;
    }
    hash += (uint64_t)size;
    for (; left >= 8; left -= 8, p += 8)
        hash = xx_rotate(hash ^ xx_round(0, xx_read64(p)), 27) * XX_PRIME_1 + XX_PRIME_4;
    if (left >= 4) {
        hash = xx_rotate(hash ^ xx_read32(p) * XX_PRIME_1, 23) * XX_PRIME_2 + XX_PRIME_3;
        left -= 4;
        p += 4;
    }
    for (; left > 0; left--, p++) hash = xx_rotate(hash ^ *p * XX_PRIME_5, 11) * XX_PRIME_1;
    hash = (hash ^ (hash >> 33)) * XX_PRIME_2;
    hash = (hash ^ (hash >> 29)) * XX_PRIME_3;
    return hash ^ (hash >> 32);
}

typedef struct {
    uint32_t tag;   /* high half of the hash */
    uint32_t entry; /* 1 + the entry's position; 0: free */
} vocabulary_slot;

typedef struct {
    vocabulary_slot *slots;
    uint64_t mask;    /* slots - 1, at least twice as many slots as entries */
    int64_t count;
    uint8_t *keys;    /* one after another */
    int64_t *ends;    /* where each ends in `keys` */
    int64_t *values;
} vocabulary;

static inline void vocabulary_clear(vocabulary *table) {
    free(table->slots);
    free(table->keys);
    free(table->ends);
    free(table->values);
    memset(table, 0, sizeof *table);
}

/* Room for `capacity` entries (below 2^31) with `key_bytes` bytes of keys; 0, or -1 where memory is short. */
static inline int vocabulary_reserve(vocabulary *table, int64_t capacity, int64_t key_bytes) {
    uint64_t slots = 4;
    while (slots < 2 * (uint64_t)capacity) slots *= 2;
    memset(table, 0, sizeof *table);
    table->mask = slots - 1;
    table->slots = calloc(slots, sizeof(vocabulary_slot));
    table->keys = malloc(key_bytes + 1);
    table->ends = malloc((capacity + 1) * sizeof(int64_t));
    table->values = malloc((capacity + 1) * sizeof(int64_t));
    if (!table->slots || !table->keys || !table->ends || !table->values) {
        vocabulary_clear(table);
        return -1;
    }
    return 0;
}

/* Bytes of the key of an entry. */
static inline int64_t vocabulary_size(const vocabulary *table, int64_t entry) {
    return table->ends[entry] - (entry ? table->ends[entry - 1] : 0);
}

static inline int vocabulary_is(const vocabulary *table, int64_t entry, const uint8_t *key, int64_t size) {
    return vocabulary_size(table, entry) == size &&
           (size == 0 || memcmp(table->keys + table->ends[entry] - size, key, size) == 0);
}

/* The position of `key`, or -1. */
static inline int64_t vocabulary_find(const vocabulary *table, const uint8_t *key, int64_t size) {
    uint64_t hash = xx_hash(key, size, 0);
    uint32_t tag = (uint32_t)(hash >> 32);
    for (uint64_t at = hash & table->mask;; at = (at + 1) & table->mask) {
        vocabulary_slot slot = table->slots[at];
        if (slot.entry == 0) return -1;
        if (slot.tag == tag && vocabulary_is(table, slot.entry - 1, key, size)) return slot.entry - 1;
    }
}

/* Adds within what was reserved; -1 where the key is there already. */
static inline int vocabulary_add(vocabulary *table, const uint8_t *key, int64_t size, int64_t value) {
    if (vocabulary_find(table, key, size) >= 0) return -1;
    uint64_t hash = xx_hash(key, size, 0);
    int64_t start = table->count ? table->ends[table->count - 1] : 0;
    uint64_t at = hash & table->mask;
    while (table->slots[at].entry != 0) at = (at + 1) & table->mask;
    memcpy(table->keys + start, key, size);
    table->ends[table->count] = start + size;
    table->values[table->count] = value;
    table->slots[at] = (vocabulary_slot){(uint32_t)(hash >> 32), (uint32_t)++table->count};
    return 0;
}

#endif
