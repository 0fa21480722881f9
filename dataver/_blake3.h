/* BLAKE3 of many inputs that are whole in memory, plain mode, after the paper (O'Connor, Aumasson, Neves,
 * Wilcox-O'Hearn, "BLAKE3: one function, fast everywhere", 2021; the numbers in brackets are its sections).
 * An input is a tree: chunks of 1 KiB are its leaves, and each node above compresses the values of two. Nodes that do not need
 * each other, of whichever input, are compressed side by side, one in each lane of vectors that the compiler maps to
 * what the processor has. */

#ifndef DATAVER_BLAKE3_H
#define DATAVER_BLAKE3_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLAKE3_BYTES 32
#define BLOCK_BYTES 64
#define CHUNK_BYTES 1024
#define LANES_MAX 16
/* As many streams as lanes are more than a processor sees coming. */
#define PREFETCH_BYTES 256

enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 }; /* [2.2] */

#if defined(__x86_64__) && defined(__has_builtin) && defined(__has_attribute)
#if __has_builtin(__builtin_shufflevector) && __has_attribute(target)
#define KNOWS_PROCESSORS 1
#endif
#endif
#ifndef KNOWS_PROCESSORS
#define KNOWS_PROCESSORS 0
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
        v[d] = ROTATE_16(v[d] ^ v[a]);                                                                                 \
        v[c] = v[c] + v[d];                                                                                            \
        v[b] = ROTATE(v[b] ^ v[c], 12);                                                                                \
        v[a] = v[a] + v[b] + (y);                                                                                      \
        v[d] = ROTATE_8(v[d] ^ v[a]);                                                                                  \
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

static inline void put_word(unsigned char *at, uint32_t value) {
    for (int byte = 0; byte < 4; byte++)
        at[byte] = (unsigned char)(value >> (8 * byte));
}

/* A chunk of at most 1,024 bytes, or two chaining values side by side; `value` is where its own goes. */
typedef struct {
    const unsigned char *data;
    unsigned char *value;
    uint64_t counter;
    uint32_t bytes, first_flags, last_flags;
} Node;

#define LANES 8
#define NAME compress_anywhere
#define GATHER gather_anywhere
#define TARGET
#define SHUFFLES 0
#include "_blake3_lanes.h"

#if KNOWS_PROCESSORS
#define LANES 8
#define NAME compress_avx2
#define GATHER gather_avx2
#define TARGET __attribute__((target("avx2")))
#define SHUFFLES 1
#include "_blake3_lanes.h"

#define LANES 16
#define NAME compress_avx512
#define GATHER gather_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define SHUFFLES 1
#include "_blake3_lanes.h"
#endif

typedef enum { ANYWHERE, AVX2, AVX512 } Processor;

static Processor processor_here(void) {
#if KNOWS_PROCESSORS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return AVX512;
    if (__builtin_cpu_supports("avx2"))
        return AVX2;
#endif
    return ANYWHERE;
}

/* Nodes that wait until all lanes are wanted. */
typedef struct {
    Node nodes[LANES_MAX];
    int count;
    Processor processor;
} Queue;

static void compress_queued(Queue *queue) {
    int count = queue->count;
    queue->count = 0;
    if (!count)
        return;
#if KNOWS_PROCESSORS
    if (queue->processor == AVX512 && count > 8) {
        compress_avx512(queue->nodes, count);
        return;
    }
    if (queue->processor != ANYWHERE) {
        compress_avx2(queue->nodes, count);
        return;
    }
#endif
    compress_anywhere(queue->nodes, count);
}

static inline void enqueue(Queue *queue, Node node) {
    queue->nodes[queue->count++] = node;
    if (queue->count == (queue->processor == AVX512 ? 16 : 8))
        compress_queued(queue);
}

typedef struct {
    const unsigned char *data;
    size_t bytes;
} Input;

static inline size_t chunks_of(const Input *input) {
    return input->bytes ? (input->bytes + CHUNK_BYTES - 1) / CHUNK_BYTES : 1;
}

/* The digests of all inputs, one after the other; -1 where there is no memory, of which it takes a 32nd of all bytes. */
static int blake3_many(const Input *inputs, size_t count, unsigned char *digests) {
    size_t chunks = 0, *nodes = malloc((count ? count : 1) * sizeof *nodes), most = 1;
    if (!nodes)
        return -1;
    for (size_t number = 0; number < count; number++)
        chunks += nodes[number] = chunks_of(&inputs[number]);
    unsigned char *values = malloc((chunks ? chunks : 1) * BLAKE3_BYTES), *at = values;
    if (!values) {
        free(nodes);
        return -1;
    }
    Queue queue = {.count = 0, .processor = processor_here()};
    for (size_t number = 0; number < count; number++) {
        const Input *input = &inputs[number];
        uint32_t root = nodes[number] == 1 ? ROOT : 0;
        for (size_t chunk = 0; chunk < nodes[number]; chunk++, at += BLAKE3_BYTES) {
            size_t left = input->bytes - chunk * CHUNK_BYTES;
            uint32_t bytes = left < CHUNK_BYTES ? (uint32_t)left : CHUNK_BYTES;
            enqueue(&queue, (Node){input->data + chunk * CHUNK_BYTES, at, chunk, bytes, CHUNK_START, CHUNK_END | root});
        }
        if (nodes[number] > most)
            most = nodes[number];
    }
    compress_queued(&queue);
    /* Neighbours become one, level by level in all trees at once; one without a neighbour moves up: [2.1] has whole
     * subtrees on the left. A value is written where no node of its level that is still queued is read. */
    for (; most > 1; most -= most / 2) {
        at = values;
        for (size_t number = 0; number < count; at += chunks_of(&inputs[number++]) * BLAKE3_BYTES)
            for (size_t pair = 0; pair < nodes[number] / 2; pair++)
                enqueue(&queue, (Node){at + 2 * pair * BLAKE3_BYTES, at + pair * BLAKE3_BYTES, 0, BLOCK_BYTES, PARENT,
                                       nodes[number] == 2 ? ROOT : 0});
        compress_queued(&queue);
        at = values;
        for (size_t number = 0; number < count; at += chunks_of(&inputs[number++]) * BLAKE3_BYTES) {
            size_t pairs = nodes[number] / 2;
            if (pairs && nodes[number] % 2)
                memcpy(at + pairs * BLAKE3_BYTES, at + 2 * pairs * BLAKE3_BYTES, BLAKE3_BYTES);
            nodes[number] -= pairs;
        }
    }
    at = values;
    for (size_t number = 0; number < count; at += chunks_of(&inputs[number++]) * BLAKE3_BYTES)
        memcpy(digests + number * BLAKE3_BYTES, at, BLAKE3_BYTES);
    free(nodes);
    free(values);
    return 0;
}

#endif
