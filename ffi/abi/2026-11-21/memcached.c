/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A memcached server: the engine and its store behind an epoll loop.
 *
 *   memcached --port 11211
 */
#define _GNU_SOURCE
#include "epoll_loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    loop_options options = {0};
    drywire_server_options limits;
    drywire_memcached_options memcached;
    drywire_server *server;
    drywire_status status;
    int result;
    options.port = 11211;
    if (loop_arguments(argc, argv, &options) != 0) {
        return 2;
    }
    drywire_server_options_init(&limits, sizeof limits);
    drywire_memcached_options_init(&memcached, sizeof memcached);
    limits.max_connections = 10000;
    if (getrandom(&memcached.seed, sizeof memcached.seed, 0) != sizeof memcached.seed) {
        perror("getrandom");
        return 1;
    }
    memcached.unix_start = (int64_t)time(NULL) - (int64_t)(loop_now_ns() / 1000000000u);
    memcached.pid = (uint32_t)getpid();
    status = drywire_memcached_server_new(&limits, &memcached, &server);
    if (status != DRYWIRE_OK) {
        fprintf(stderr, "drywire: %s\n", drywire_status_name(status));
        return 1;
    }
    result = loop_run(server, &options);
    drywire_server_free(server);
    return result;
}
