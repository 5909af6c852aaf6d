/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A chat server (docs/chat.md): the library's own, behind the same epoll loop. Plain clients are in one
 * room; who reads too slowly is told so and leaves.
 *
 *   chat --port 7000
 */
#include "epoll_loop.h"

#include <stdio.h>
#include <time.h>

int main(int argc, char **argv) {
    loop_options options = {0};
    drywire_server_options limits;
    drywire_fanout_options rooms;
    drywire_server *server;
    drywire_status status;
    int result;
    options.port = 7000;
    if (loop_arguments(argc, argv, &options) != 0) {
        return 2;
    }
    drywire_server_options_init(&limits, sizeof limits);
    limits.max_connections = 10000;
    drywire_fanout_options_init(&rooms, sizeof rooms);
    rooms.unix_ms = (uint64_t)time(NULL) * 1000 - loop_now_ns() / 1000000;
    status = drywire_chat_server_new(&limits, &rooms, &server);
    if (status != DRYWIRE_OK) {
        fprintf(stderr, "drywire: %s\n", drywire_status_name(status));
        return 1;
    }
    result = loop_run(server, &options);
    drywire_server_free(server);
    return result;
}
