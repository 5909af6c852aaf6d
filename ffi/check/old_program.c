/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A program as it was compiled against the first header, with structs that were shorter then: it does
 * not include today's. Today's library must run it. Never change this file; add others.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct drywire_server drywire_server;
typedef struct drywire_conn drywire_conn;
typedef struct server_options {
    uint32_t struct_size, flags, max_connections, messages_per_turn;
} server_options;
typedef struct server_stats {
    uint32_t struct_size, reserved;
    uint64_t connections;
} server_stats;
typedef struct iov {
    void *base;
    size_t len;
} iov;

uint32_t drywire_abi_version(void);
int drywire_server_options_init(server_options *options, size_t size);
int drywire_memcached_server_new(const server_options *options, const void *memcached,
                                 drywire_server **server);
void drywire_server_free(drywire_server *server);
int drywire_server_get_stats(const drywire_server *server, server_stats *stats);
int drywire_conn_open(drywire_server *server, uint64_t now, void *user, drywire_conn **conn);
int drywire_conn_feed(drywire_conn *conn, uint64_t now, const uint8_t *data, size_t len,
                      size_t *consumed);
int drywire_conn_output(drywire_conn *conn, iov *iov, size_t cap, size_t *n, size_t *bytes);
int drywire_conn_output_consume(drywire_conn *conn, uint64_t now, size_t bytes);
uint32_t drywire_conn_wants(const drywire_conn *conn);
void drywire_conn_free(drywire_conn *conn);

#define CHECK(what)                                          \
    if (!(what)) {                                           \
        fprintf(stderr, "old_program: not so: %s\n", #what); \
        return 1;                                            \
    }

int main(void) {
    struct {
        server_options options;
        uint64_t beyond;
    } o;
    struct {
        server_stats stats;
        uint64_t beyond;
    } s;
    iov iov[2];
    drywire_server *server;
    drywire_conn *conn;
    size_t n, bytes, consumed;
    o.beyond = s.beyond = 0xABABABABABABABABu;
    CHECK(drywire_abi_version() == 1);
    CHECK(drywire_server_options_init(&o.options, sizeof o.options) == 0);
    CHECK(o.options.struct_size == 16 && o.options.max_connections == 1024);
    CHECK(o.beyond == 0xABABABABABABABABu);
    o.options.max_connections = 1;
    CHECK(drywire_memcached_server_new(&o.options, NULL, &server) == 0);
    CHECK(drywire_conn_open(server, 1, NULL, &conn) == 0);
    CHECK(drywire_conn_wants(conn) == 1);
    CHECK(drywire_conn_feed(conn, 1, (const uint8_t *)"get k\r\n", 7, &consumed) == 0);
    CHECK(consumed == 7 && drywire_conn_wants(conn) == 3);
    CHECK(drywire_conn_output(conn, iov, 2, &n, &bytes) == 0 && n == 1 && bytes == 5);
    CHECK(memcmp(iov[0].base, "END\r\n", 5) == 0);
    CHECK(drywire_conn_output_consume(conn, 1, 5) == 0);
    s.stats.struct_size = sizeof s.stats;
    CHECK(drywire_server_get_stats(server, &s.stats) == 0);
    CHECK(s.stats.struct_size == 16 && s.stats.connections == 1);
    CHECK(s.beyond == 0xABABABABABABABABu);
    drywire_server_free(server);
    drywire_conn_free(conn);
    puts("old_program: fine");
    return 0;
}
