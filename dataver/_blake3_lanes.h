/* BLAKE3's compression for some processors, included by _blake3.h for each kind: NAME and GATHER are what the functions are
 * called, LANES is 8 or 16, TARGET says for which processors, SHUFFLES whether these are good at it. */

#define LANES_TYPE(lanes) LANES_TYPE_(lanes)
#define LANES_TYPE_(lanes) Lanes##lanes
#define Lanes LANES_TYPE(LANES)
#define ALL(number) ((Lanes){0} + (uint32_t)(number))

typedef uint32_t Lanes __attribute__((vector_size(4 * LANES)));

#if SHUFFLES && LANES == 8
/* Where a rotation is no instruction, one by whole bytes is a shuffle. */
typedef uint8_t Bytes __attribute__((vector_size(4 * LANES)));
#define ROTATE_16(x)                                                                                                   \
    ((Lanes)__builtin_shufflevector((Bytes)(x), (Bytes)(x), 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 18, \
                                    19, 16, 17, 22, 23, 20, 21, 26, 27, 24, 25, 30, 31, 28, 29))
#define ROTATE_8(x)                                                                                                    \
    ((Lanes)__builtin_shufflevector((Bytes)(x), (Bytes)(x), 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12, 17, \
                                    18, 19, 16, 21, 22, 23, 20, 25, 26, 27, 24, 29, 30, 31, 28))
#else
#define ROTATE_16(x) ROTATE(x, 16)
#define ROTATE_8(x) ROTATE(x, 8)
#endif

/* The words of one block of each lane: word `at` of all of them in m[at]. */
static inline __attribute__((always_inline)) void GATHER(const unsigned char *const from[LANES], Lanes m[16]) {
#if SHUFFLES && LANES == 16
    Lanes t[16];
    for (int lane = 0; lane < 16; lane++)
        memcpy(&m[lane], from[lane], BLOCK_BYTES);
    /* Rows and columns change places: single words, pairs, fours, eights. */
#pragma GCC unroll 8
    for (int at = 0; at < 16; at += 2) {
        t[at] = __builtin_shufflevector(m[at], m[at + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
        t[at + 1] =
            __builtin_shufflevector(m[at], m[at + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    }
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#pragma GCC unroll 4
    for (int at = 0; at < 16; at += 4) {
        m[at] = LOW(t[at], t[at + 2]);
        m[at + 1] = HIGH(t[at], t[at + 2]);
        m[at + 2] = LOW(t[at + 1], t[at + 3]);
        m[at + 3] = HIGH(t[at + 1], t[at + 3]);
    }
#undef LOW
#undef HIGH
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define ODD(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#pragma GCC unroll 4
    for (int at = 0; at < 4; at++) {
        t[at] = EVEN(m[at], m[4 + at]);
        t[4 + at] = ODD(m[at], m[4 + at]);
        t[8 + at] = EVEN(m[8 + at], m[12 + at]);
        t[12 + at] = ODD(m[8 + at], m[12 + at]);
    }
#pragma GCC unroll 4
    for (int at = 0; at < 4; at++) {
        m[at] = EVEN(t[at], t[8 + at]);
        m[4 + at] = EVEN(t[4 + at], t[12 + at]);
        m[8 + at] = ODD(t[at], t[8 + at]);
        m[12 + at] = ODD(t[4 + at], t[12 + at]);
    }
#undef EVEN
#undef ODD
#elif SHUFFLES && LANES == 8
    Lanes r[8], t[8];
    for (int half = 0; half < 16; half += 8) {
        for (int lane = 0; lane < 8; lane++)
            memcpy(&r[lane], from[lane] + 4 * half, BLOCK_BYTES / 2);
#pragma GCC unroll 4
        for (int at = 0; at < 8; at += 2) {
            t[at] = __builtin_shufflevector(r[at], r[at + 1], 0, 8, 1, 9, 4, 12, 5, 13);
            t[at + 1] = __builtin_shufflevector(r[at], r[at + 1], 2, 10, 3, 11, 6, 14, 7, 15);
        }
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#pragma GCC unroll 2
        for (int at = 0; at < 8; at += 4) {
            r[at] = LOW(t[at], t[at + 2]);
            r[at + 1] = HIGH(t[at], t[at + 2]);
            r[at + 2] = LOW(t[at + 1], t[at + 3]);
            r[at + 3] = HIGH(t[at + 1], t[at + 3]);
        }
#undef LOW
#undef HIGH
#pragma GCC unroll 4
        for (int at = 0; at < 4; at++) {
            m[half + at] = __builtin_shufflevector(r[at], r[4 + at], 0, 1, 2, 3, 8, 9, 10, 11);
            m[half + 4 + at] = __builtin_shufflevector(r[at], r[4 + at], 4, 5, 6, 7, 12, 13, 14, 15);
        }
    }
#else
    uint32_t words[16][LANES];
    for (int lane = 0; lane < LANES; lane++)
        for (int at = 0; at < 16; at++)
            words[at][lane] = word(from[lane] + 4 * at);
    memcpy(m, words, sizeof words);
#endif
}

/* Chaining values of up to LANES nodes of trees, one in each lane. */
TARGET static void NAME(const Node *nodes, int count) {
    Lanes h[8], low, high, last_block, last_bytes, first_flags, last_flags;
    unsigned char padded[LANES][BLOCK_BYTES];
    const unsigned char *last[LANES], *from[LANES];
    uint32_t blocks = 0, values[8][LANES];
    for (int at = 0; at < 8; at++)
        h[at] = ALL(IV[at]);
    for (int lane = 0; lane < LANES; lane++) {
        /* Lanes that nobody needs look at the first node. */
        const Node *node = &nodes[lane < count ? lane : 0];
        uint32_t before = node->bytes ? (node->bytes - 1) / BLOCK_BYTES : 0;
        uint32_t rest = node->bytes - before * BLOCK_BYTES;
        low[lane] = (uint32_t)node->counter;
        high[lane] = (uint32_t)(node->counter >> 32);
        last_block[lane] = before;
        last_bytes[lane] = rest;
        first_flags[lane] = node->first_flags;
        last_flags[lane] = node->last_flags;
        last[lane] = node->data + before * BLOCK_BYTES;
        if (rest < BLOCK_BYTES) {
            memset(padded[lane], 0, BLOCK_BYTES);
            if (rest)
                memcpy(padded[lane], last[lane], rest);
            last[lane] = padded[lane];
        }
        if (before >= blocks)
            blocks = before + 1;
    }
    for (uint32_t block = 0; block < blocks; block++) {
        Lanes m[16], v[16];
        for (int lane = 0; lane < LANES; lane++) {
            const Node *node = &nodes[lane < count ? lane : 0];
            from[lane] = block < last_block[lane] ? node->data + block * BLOCK_BYTES : last[lane];
            __builtin_prefetch(from[lane] + PREFETCH_BYTES);
        }
        GATHER(from, m);
        Lanes ends = (Lanes)(last_block == ALL(block)), is_over = (Lanes)(last_block < ALL(block));
        for (int at = 0; at < 8; at++)
            v[at] = h[at];
        for (int at = 0; at < 4; at++)
            v[8 + at] = ALL(IV[at]);
        v[12] = low;
        v[13] = high;
        v[14] = (ends & last_bytes) | (~ends & ALL(BLOCK_BYTES));
        v[15] = (block ? ALL(0) : first_flags) | (ends & last_flags);
#pragma GCC unroll 7
        for (int round = 0; round < 7; round++)
            ROUND(v, m, SCHEDULE[round]);
        for (int at = 0; at < 8; at++)
            h[at] = (is_over & h[at]) | (~is_over & (v[at] ^ v[at + 8]));
    }
    memcpy(values, h, sizeof values);
    for (int lane = 0; lane < count; lane++)
        for (int at = 0; at < 8; at++)
            put_word(nodes[lane].value + 4 * at, values[at][lane]);
}

#undef ALL
#undef Lanes
#undef LANES_TYPE
#undef LANES_TYPE_
#undef LANES
#undef NAME
#undef GATHER
#undef TARGET
#undef SHUFFLES
#undef ROTATE_16
#undef ROTATE_8
