/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What calls cost, for callgrind: does one thing N times, so that the difference of two runs is the
 * thing alone. examples/cost.rs does the same through the Rust API.
 *
 *   cost -|need|id|wants|get N
 */
#include <drywire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* glibc's own, under the names that stay when these here take their place. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);

static unsigned long allocations;

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    allocations++;
    return __libc_realloc(old, size);
}
void *aligned_alloc(size_t align, size_t size) {
    allocations++;
    return __libc_memalign(align, size);
}
int posix_memalign(void **place, size_t align, size_t size) {
    allocations++;
    *place = __libc_memalign(align, size);
    return *place == NULL ? 12 : 0;
}

enum { PIPELINE = 50 };

/* One round trip of a pipeline: feed, look at the output, consume it. */
static size_t turn(drywire_conn *conn, const uint8_t *data, size_t len) {
    drywire_iov iov[8];
    size_t consumed, n, bytes;
    if (drywire_conn_feed(conn, 1, data, len, &consumed) < 0 || consumed != len ||
        drywire_conn_output(conn, iov, 8, &n, &bytes) < 0 ||
        drywire_conn_output_consume(conn, 1, bytes) < 0) {
        abort();
    }
    return bytes;
}

int main(int argc, char **argv) {
    static char gets[PIPELINE * 16];
    static const char set[] = "set key 0 0 32\r\n0123456789abcdef0123456789abcdef\r\n";
    drywire_framer_options options;
    drywire_framer *framer;
    drywire_server *server;
    drywire_conn *conn;
    unsigned long i, n, before, sum = 0;
    if (argc != 3) {
        return 2;
    }
    n = strtoul(argv[2], NULL, 10);
    drywire_framer_options_init(&options, sizeof options);
    options.kind = DRYWIRE_FRAMING_LINES;
    options.max_payload = 100;
    if (drywire_framer_new(&options, &framer) < 0 ||
        drywire_memcached_server_new(NULL, NULL, &server) < 0 ||
        drywire_conn_open(server, 1, NULL, &conn) < 0) {
        return 1;
    }
    for (i = 0; i < PIPELINE; i++) {
        strcat(gets, "get key\r\n");
    }
    turn(conn, (const uint8_t *)set, sizeof set - 1);
    turn(conn, (const uint8_t *)gets, strlen(gets));
    before = allocations;
    switch (argv[1][0]) {
    case '-': /* the loop alone */
        for (i = 0; i < n; i++) {
            __asm__ volatile("" : : "r"(i));
        }
        break;
    case 'n':
        for (i = 0; i < n; i++) {
            sum += drywire_framer_need(framer);
        }
        break;
    case 'i':
        for (i = 0; i < n; i++) {
            sum += drywire_conn_id(conn);
        }
        break;
    case 'w':
        for (i = 0; i < n; i++) {
            sum += drywire_conn_wants(conn);
        }
        break;
    default:
        for (i = 0; i < n; i++) {
            sum += turn(conn, (const uint8_t *)gets, strlen(gets));
        }
    }
    printf("%lu %lu\n", sum, allocations - before);
    drywire_conn_free(conn);
    drywire_server_free(server);
    drywire_framer_free(framer);
    return 0;
}
