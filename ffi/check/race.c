/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A race that a caller makes: the library reads bytes while another thread writes them. The thread sanitizer
 * has to find it inside the library, or it would find nothing there.
 */
#include <drywire.h>

#include <pthread.h>
#include <stdatomic.h>

static volatile uint8_t line[] = "get k\r\n";

/* Both threads are at it at the same time. Relaxed: this orders nothing else. */
static atomic_int begun, done;

static void *spoil(void *arg) {
    int i;
    atomic_store_explicit(&begun, 1, memory_order_relaxed);
    for (i = 0; !atomic_load_explicit(&done, memory_order_relaxed); i = (i + 1) % 26) {
        line[4] = (uint8_t)('a' + i);
    }
    return arg;
}

int main(void) {
    drywire_server *server;
    drywire_conn *conn;
    pthread_t thread;
    uint8_t out[64];
    size_t n;
    int i;
    if (drywire_memcached_server_new(NULL, NULL, &server) < 0 || drywire_conn_open(server, 0, NULL, &conn) < 0) {
        return 0;
    }
    pthread_create(&thread, NULL, spoil, NULL);
    while (!atomic_load_explicit(&begun, memory_order_relaxed)) {
    }
    for (i = 0; i < 2000; i++) {
        (void)!drywire_conn_feed(conn, 0, (const uint8_t *)line, 7, &n);
        (void)!drywire_conn_output_copy(conn, out, sizeof out, &n);
        (void)!drywire_conn_output_consume(conn, 0, n);
    }
    atomic_store_explicit(&done, 1, memory_order_relaxed);
    pthread_join(thread, NULL);
    drywire_conn_free(conn);
    drywire_server_free(server);
    return 0;
}
