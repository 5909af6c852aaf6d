/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * An epoll loop around any drywire_server: sockets in, engine calls out, no protocol in it.
 * Shared by the example servers; copy it and make it yours. Linux only, one thread.
 */
#ifndef DRYWIRE_EPOLL_LOOP_H
#define DRYWIRE_EPOLL_LOOP_H

#include <drywire.h>

/* Called once per turn of the loop, before connections are served: the place to poll requests and to
 * answer them. NULL for protocols that answer by themselves. */
typedef void (*loop_turn)(void *arg, uint64_t now_ns);

typedef struct loop_options {
    const char *host;  /* numeric address, default 127.0.0.1 */
    uint16_t port;     /* 0 lets the system choose; the choice is printed to standard output */
    int send_buffer;   /* SO_SNDBUF of each connection, 0 for the system's default */
    loop_turn turn;
    void (*opened)(void *arg, uint64_t id); /* NULL, or told of each new connection */
    void (*closed)(void *arg, uint64_t id); /* NULL, or told of each that is gone */
    void *arg;
} loop_options;

/* Serves until SIGINT or SIGTERM, then drains. Returns 0, or 1 with a message on standard error. */
int loop_run(drywire_server *server, const loop_options *options);

/* A connection's socket; what the loop registers as its `user`. */
struct loop_conn;

uint64_t loop_now_ns(void);

/* Reads "--port N", "--host A", "--sndbuf N"; returns 0, or 2 after a message about misuse. */
int loop_arguments(int argc, char **argv, loop_options *options);

#endif
