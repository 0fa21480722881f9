/* BLAKE3 of inputs that are whole in memory, plain mode, after the paper (O'Connor, Aumasson, Neves, Wilcox-O'Hearn,
 * "BLAKE3: one function, fast everywhere", 2021; the numbers in brackets are its sections). Several chunks of one
 * input are compressed side by side, one in each lane of vectors that the compiler maps to what the processor has. */

#ifndef DATAVER_BLAKE3_H
#define DATAVER_BLAKE3_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BLAKE3_BYTES 32
#define BLOCK_BYTES 64
#define CHUNK_BYTES 1024
#define LANES 8
#define DEPTH_MAX 54 /* chunks of 1 KiB below 2^64 bytes */
/* So many whole chunks are worth the work of all lanes. */
#define LANES_WORTH 3

enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 }; /* [2.2] */

typedef uint32_t Lanes __attribute__((vector_size(4 * LANES)));

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__has_attribute)
#if __has_attribute(target_clones) && !defined(__clang__) && __GNUC__ >= 12
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#elif __has_attribute(target_clones)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#endif
#endif
#ifndef FOR_EACH_PROCESSOR
#define FOR_EACH_PROCESSOR
#endif

static const uint32_t IV[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                               0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

/* Which word of the message comes when: the permutation of [2.2] applied once more in each round. */
static const uint8_t SCHEDULE[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1}, {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4}, {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13},
};

#define ROTATE(x, n) (((x) >> (n)) | ((x) << (32 - (n))))
#define QUARTER(v, a, b, c, d, x, y)                                                                                   \
    do {                                                                                                               \
        v[a] = v[a] + v[b] + (x);                                                                                      \
        v[d] = ROTATE(v[d] ^ v[a], 16);                                                                                \
        v[c] = v[c] + v[d];                                                                                            \
        v[b] = ROTATE(v[b] ^ v[c], 12);                                                                                \
        v[a] = v[a] + v[b] + (y);                                                                                      \
        v[d] = ROTATE(v[d] ^ v[a], 8);                                                                                 \
        v[c] = v[c] + v[d];                                                                                            \
        v[b] = ROTATE(v[b] ^ v[c], 7);                                                                                 \
    } while (0)
#define ROUND(v, m, s)                                                                                                 \
    do {                                                                                                               \
        QUARTER(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);                                                                     \
        QUARTER(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);                                                                     \
        QUARTER(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);                                                                    \
        QUARTER(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);                                                                    \
        QUARTER(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);                                                                    \
        QUARTER(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);                                                                  \
        QUARTER(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);                                                                   \
        QUARTER(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);                                                                   \
    } while (0)

static inline uint32_t word(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* One block into a chaining value, in place. [2.2] */
static void compress(uint32_t value[8], const unsigned char block[BLOCK_BYTES], uint64_t counter, uint32_t bytes,
                     uint32_t flags) {
    uint32_t m[16], v[16];
    for (int at = 0; at < 16; at++)
        m[at] = word(block + 4 * at);
    memcpy(v, value, 32);
    memcpy(v + 8, IV, 16);
    v[12] = (uint32_t)counter;
    v[13] = (uint32_t)(counter >> 32);
    v[14] = bytes;
    v[15] = flags;
#pragma GCC unroll 7
    for (int round = 0; round < 7; round++)
        ROUND(v, m, SCHEDULE[round]);
    for (int at = 0; at < 8; at++)
        value[at] = v[at] ^ v[at + 8];
}

/* The chaining values of `count` whole chunks that follow each other, at most LANES of them. */
FOR_EACH_PROCESSOR
static void compress_chunks(const unsigned char *data, int count, uint64_t counter, uint32_t values[LANES][8]) {
    Lanes h[8], low, high;
    for (int at = 0; at < 8; at++)
        for (int lane = 0; lane < LANES; lane++)
            h[at][lane] = IV[at];
    for (int lane = 0; lane < LANES; lane++) {
        low[lane] = (uint32_t)(counter + lane);
        high[lane] = (uint32_t)((counter + lane) >> 32);
    }
    for (int block = 0; block < CHUNK_BYTES / BLOCK_BYTES; block++) {
        uint32_t words[16][LANES];
        Lanes m[16], v[16];
        for (int lane = 0; lane < LANES; lane++) {
            /* Lanes that nobody needs look at the first chunk. */
            const unsigned char *from = data + (lane < count ? lane : 0) * CHUNK_BYTES + block * BLOCK_BYTES;
            for (int at = 0; at < 16; at++)
                words[at][lane] = word(from + 4 * at);
        }
        memcpy(m, words, sizeof m);
        uint32_t flags = (block == 0 ? CHUNK_START : 0) | (block == CHUNK_BYTES / BLOCK_BYTES - 1 ? CHUNK_END : 0);
        for (int at = 0; at < 8; at++)
            v[at] = h[at];
        for (int at = 0; at < 4; at++)
            v[8 + at] = (Lanes){0} + IV[at];
        v[12] = low;
        v[13] = high;
        v[14] = (Lanes){0} + BLOCK_BYTES;
        v[15] = (Lanes){0} + flags;
#pragma GCC unroll 7
        for (int round = 0; round < 7; round++)
            ROUND(v, m, SCHEDULE[round]);
        for (int at = 0; at < 8; at++)
            h[at] = v[at] ^ v[at + 8];
    }
    for (int lane = 0; lane < count; lane++)
        for (int at = 0; at < 8; at++)
            values[lane][at] = h[at][lane];
}

/* The chaining value of one chunk, of 0 to 1,024 bytes; `root` where it is all there is. */
static void compress_chunk(const unsigned char *data, size_t bytes, uint64_t counter, uint32_t root,
                           uint32_t value[8]) {
    uint32_t flags = CHUNK_START;
    memcpy(value, IV, 32);
    while (bytes > BLOCK_BYTES) {
        compress(value, data, counter, BLOCK_BYTES, flags);
        data += BLOCK_BYTES;
        bytes -= BLOCK_BYTES;
        flags = 0;
    }
    unsigned char last[BLOCK_BYTES] = {0};
    if (bytes)
        memcpy(last, data, bytes);
    compress(value, last, counter, (uint32_t)bytes, flags | CHUNK_END | root);
}

static void compress_parent(const uint32_t left[8], const uint32_t right[8], uint32_t root, uint32_t value[8]) {
    unsigned char block[BLOCK_BYTES];
    for (int at = 0; at < 16; at++) {
        uint32_t part = at < 8 ? left[at] : right[at - 8];
        for (int byte = 0; byte < 4; byte++)
            block[4 * at + byte] = (unsigned char)(part >> (8 * byte));
    }
    memcpy(value, IV, 32);
    compress(value, block, 0, BLOCK_BYTES, PARENT | root);
}

static void blake3(const unsigned char *data, size_t bytes, unsigned char digest[BLAKE3_BYTES]) {
    /* Whole subtrees that wait for a right neighbour, the largest first. [2.4] */
    uint32_t waiting[DEPTH_MAX + 1][8], values[LANES][8], value[8];
    size_t depth = 0;
    uint64_t chunk = 0;
    /* The last chunk, whole or not, stands apart: it closes the tree. */
    size_t before_last = bytes ? (bytes - 1) / CHUNK_BYTES : 0;
    while (chunk < before_last) {
        int count = before_last - chunk < LANES ? (int)(before_last - chunk) : LANES;
        const unsigned char *from = data + chunk * CHUNK_BYTES;
        if (count >= LANES_WORTH)
            compress_chunks(from, count, chunk, values);
        else
            for (int at = 0; at < count; at++)
                compress_chunk(from + at * CHUNK_BYTES, CHUNK_BYTES, chunk + at, 0, values[at]);
        for (int at = 0; at < count; at++) {
            memcpy(value, values[at], sizeof value);
            /* After chunk number n as many subtrees are complete as n has zeros at its end. */
            for (uint64_t done = ++chunk; !(done & 1); done >>= 1)
                compress_parent(waiting[--depth], value, 0, value);
            memcpy(waiting[depth++], value, sizeof value);
        }
    }
    compress_chunk(data + chunk * CHUNK_BYTES, bytes - chunk * CHUNK_BYTES, chunk, depth ? 0 : ROOT, value);
    while (depth) {
        depth--;
        compress_parent(waiting[depth], value, depth ? 0 : ROOT, value);
    }
    for (int at = 0; at < BLAKE3_BYTES; at++)
        digest[at] = (unsigned char)(value[at / 4] >> (8 * (at % 4)));
}

#endif
