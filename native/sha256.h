/* SHA-256 (FIPS 180-4) of short messages by the processor's own instructions. Of a record of 120 bytes hashlib spends most on
 * setting up; without those instructions, in plain C, it would be slower than hashlib, so there is none. */

#ifndef STEELYARD_SHA256_H
#define STEELYARD_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#define SHA256_BLOCK 64
#define SHA256_SIZE 32

static const uint32_t SHA256_K[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#if defined(__x86_64__)
__attribute__((target("sha,sse4.1,ssse3"))) static void sha256_compress(uint32_t state[8], const uint8_t *blocks,
                                                                      size_t count) {
    const __m128i to_words = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    /* The instructions take the state as the words a, b, e, f and c, d, g, h. */
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xB1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(low, high, 8);
    __m128i cdgh = _mm_blend_epi16(high, low, 0xF0);
    for (; count; count--, blocks += SHA256_BLOCK) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            if (i < 4) {
                w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(blocks + 16 * i)), to_words);
            } else {
                __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[i - 4], w[i - 3]), _mm_alignr_epi8(w[i - 1], w[i - 2], 4));
                w[i] = _mm_sha256msg2_epu32(sum, w[i - 1]);
            }
            __m128i wk = _mm_add_epi32(w[i], _mm_load_si128((const __m128i *)(SHA256_K + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1B);
    high = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(low, high, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

/* Whether the processor has the instructions. */
static int sha256_is_native(void) {
    unsigned a, b, c, d;
    const unsigned ssse3 = 1u << 9, sse41 = 1u << 19, sha = 1u << 29;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & ssse3) && (c & sse41) && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
           (b & sha);
}
#else
static void sha256_compress(uint32_t state[8], const uint8_t *blocks, size_t count) {
    (void)state, (void)blocks, (void)count;
}

static int sha256_is_native(void) { return 0; }
#endif

/* The digest of one byte and `size` bytes behind it, into `out`: what RFC 6962 hashes begins with a byte of its own. */
static void sha256_prefixed(uint8_t prefix, const uint8_t *data, size_t size, uint8_t out[SHA256_SIZE]) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t block[2 * SHA256_BLOCK] = {0};
    const uint64_t bits = ((uint64_t)size + 1) * 8;
    size_t head = size < SHA256_BLOCK - 1 ? size : SHA256_BLOCK - 1;
    size_t left = size - head, filled = head + 1;
    block[0] = prefix;
    if (head) memcpy(block + 1, data, head);
    if (filled == SHA256_BLOCK) {
        sha256_compress(state, block, 1);
        data += head;
        sha256_compress(state, data, left / SHA256_BLOCK);
        data += left / SHA256_BLOCK * SHA256_BLOCK;
        filled = left % SHA256_BLOCK;
        memset(block, 0, sizeof block);
        if (filled) memcpy(block, data, filled);
    }
    block[filled] = 0x80;
    size_t last = filled + 9 <= SHA256_BLOCK ? 1 : 2;
    for (int i = 0; i < 8; i++) block[last * SHA256_BLOCK - 1 - i] = (uint8_t)(bits >> 8 * i);
    sha256_compress(state, block, last);
    for (int i = 0; i < 8; i++) {
        out[4 * i] = (uint8_t)(state[i] >> 24);
        out[4 * i + 1] = (uint8_t)(state[i] >> 16);
        out[4 * i + 2] = (uint8_t)(state[i] >> 8);
        out[4 * i + 3] = (uint8_t)state[i];
    }
}

#endif
