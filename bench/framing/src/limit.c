/* The hand-written limits: lines by a bit mask of 64 bytes (AVX2), TLV frames with the CRC
 * instruction in the loop. Prints nanoseconds per frame for payloads of 16 B, 64 B, 1 KiB, 64 KiB. */
#define _POSIX_C_SOURCE 199309L
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STREAM = 640 * 1024, ROUNDS = 301 };
static const size_t SIZES[4] = {16, 64, 1024, 65536};
typedef struct { size_t frames, bytes; } Sum;

static uint32_t crc(uint32_t seed, const uint8_t *p, size_t n) {
    uint64_t r = ~seed;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        r = _mm_crc32_u64(r, word);
    }
    if (n >= 4) {
        uint32_t word;
        memcpy(&word, p, 4);
        r = _mm_crc32_u32((uint32_t)r, word);
        p += 4, n -= 4;
    }
    for (; n > 0; p++, n--) r = _mm_crc32_u8((uint32_t)r, *p);
    return ~(uint32_t)r;
}

static uint32_t word(const uint8_t *p) {
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

static Sum tlv(const uint8_t *p, size_t n) {
    Sum sum = {0, 0};
    while (n >= 16) {
        uint32_t seed = crc(0, p, 12);
        size_t len = word(p + 8);
        if (p[0] != 0xF5 || p[1] != 0xD7 || p[2] != 0x11 || seed != word(p + 12)) break;
        if (len > 1 << 20 || n < 20 + len) break;
        if (crc(seed, p + 16, len) != word(p + 16 + len)) break;
        sum.frames++, sum.bytes += len + (p[16] & 1);
        p += 20 + len, n -= 20 + len;
    }
    return sum;
}

static Sum lines(const uint8_t *p, size_t n) {
    Sum sum = {0, 0};
    size_t start = 0;
    const __m256i lf = _mm256_set1_epi8('\n');
    for (size_t at = 0; at + 64 <= n; at += 64) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(p + at));
        __m256i high = _mm256_loadu_si256((const __m256i *)(p + at + 32));
        uint64_t mask = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, lf));
        mask |= (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, lf)) << 32;
        for (; mask != 0; mask &= mask - 1) {
            size_t hit = at + (size_t)__builtin_ctzll(mask);
            sum.frames++, sum.bytes += hit - start + (p[start] & 1);
            start = hit + 1;
        }
    }
    return sum;
}

static size_t fill_tlv(uint8_t *p, size_t size) {
    const uint8_t front[8] = {0xF5, 0xD7, 0x11, 0, 0, 0, 0, 0};
    uint32_t len = (uint32_t)size, sum;
    memcpy(p, front, 8);
    memcpy(p + 8, &len, 4);
    sum = crc(0, p, 12);
    memcpy(p + 12, &sum, 4);
    memset(p + 16, 'x', size);
    sum = crc(sum, p + 16, size);
    memcpy(p + 16 + size, &sum, 4);
    return size + 20;
}

static size_t fill_line(uint8_t *p, size_t size) {
    memset(p, 'x', size);
    p[size] = '\n';
    return size + 1;
}

static void measure(const char *name, size_t (*fill)(uint8_t *, size_t),
                    Sum (*path)(const uint8_t *, size_t)) {
    printf("%s", name);
    for (int s = 0; s < 4; s++) {
        size_t frames = STREAM / (SIZES[s] + 20) + 4, used = 0;
        uint8_t *stream = malloc(frames * (SIZES[s] + 20) + 64);
        if (stream == NULL) exit(1);
        for (size_t i = 0; i < frames; i++) used += fill(stream + used, SIZES[s]);
        memset(stream + used, 0, 64); /* the last block is whole */
        double best = 1e18;
        volatile size_t keep = 0;
        for (int round = 0; round < ROUNDS; round++) {
            struct timespec from, to;
            clock_gettime(CLOCK_MONOTONIC, &from);
            Sum sum = path(stream, used + 63);
            clock_gettime(CLOCK_MONOTONIC, &to);
            keep += sum.bytes;
            if (sum.frames != frames) exit(2);
            double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
            if (ns / (double)frames < best) best = ns / (double)frames;
        }
        printf(" %.3f", best);
        free(stream);
    }
    printf("\n");
}

int main(void) {
    measure("lines", fill_line, lines);
    measure("tlv", fill_tlv, tlv);
    return 0;
}
