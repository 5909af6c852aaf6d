/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "epoll_loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* drywire_iov has the layout of struct iovec, so output goes to writev as it is. */
_Static_assert(sizeof(drywire_iov) == sizeof(struct iovec), "iov");

struct loop_conn {
    drywire_conn *conn;
    int fd;
    int readable, writable; /* edge-triggered: true until the socket says EAGAIN */
    int ended;              /* the end of input is in the socket, behind what can be read */
    int queued;             /* on the list of connections to serve */
    struct loop_conn *next;
};

typedef struct loop {
    drywire_server *server;
    const loop_options *options;
    int epoll, listener;
    struct loop_conn *todo; /* connections to serve in this turn */
} loop;

static volatile sig_atomic_t stopping;

static void on_signal(int number) {
    (void)number;
    stopping = 1;
}

uint64_t loop_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void enqueue(loop *l, struct loop_conn *c) {
    if (!c->queued) {
        c->queued = 1;
        c->next = l->todo;
        l->todo = c;
    }
}

/* So that the peer cannot take it for a peaceful end. */
static void reset_and_close(int fd) {
    struct linger at_once = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static void accept_all(loop *l, uint64_t now) {
    for (;;) {
        int fd = accept4(l->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
        struct loop_conn *c;
        struct epoll_event event;
        if (fd < 0) {
            return; /* EAGAIN, or out of descriptors: the next readiness tries again */
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (l->options->send_buffer > 0) {
            setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &l->options->send_buffer, sizeof(int));
        }
        c = calloc(1, sizeof *c);
        if (c == NULL || drywire_conn_open(l->server, now, c, &c->conn) != DRYWIRE_OK) {
            free(c);
            reset_and_close(fd);
            continue;
        }
        c->fd = fd;
        if (l->options->opened != NULL) {
            l->options->opened(l->options->arg, drywire_conn_id(c->conn));
        }
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        event.data.ptr = c;
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &event);
        enqueue(l, c); /* a protocol may speak first */
    }
}

/* Reads once. Returns 0 when the socket has no more. */
static int read_some(struct loop_conn *c, uint64_t now) {
    uint8_t *room;
    size_t cap;
    ssize_t n;
    if (drywire_conn_input_reserve(c->conn, &room, &cap) != DRYWIRE_OK) {
        return 0;
    }
    n = recv(c->fd, room, cap, 0);
    /* A status below 0 is a peer that broke the protocol: its last words are in the output. */
    (void)!drywire_conn_input_commit(c->conn, now, n > 0 ? (size_t)n : 0);
    if (n == 0) {
        drywire_conn_eof(c->conn, now);
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        drywire_conn_abort(c->conn, now,
                           errno == ECONNRESET ? DRYWIRE_TRANSPORT_RESET : DRYWIRE_TRANSPORT_OTHER);
    }
    if (n < (ssize_t)cap && n != 0) {
        /* A short read has emptied the socket, but of its end, which is told of only once. */
        c->readable = n < 0 ? errno == EINTR : c->ended;
    }
    return c->readable && n != 0;
}

static int write_some(struct loop_conn *c, uint64_t now) {
    drywire_iov iov[64];
    size_t count, bytes;
    struct msghdr message = {0};
    ssize_t n;
    if (drywire_conn_output(c->conn, iov, 64, &count, &bytes) < 0 || count == 0) {
        return 0;
    }
    message.msg_iov = (struct iovec *)iov;
    message.msg_iovlen = count;
    n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno == EAGAIN) {
            c->writable = 0;
        } else if (errno != EINTR) {
            drywire_conn_abort(c->conn, now, DRYWIRE_TRANSPORT_RESET);
        }
        return errno == EINTR;
    }
    (void)!drywire_conn_output_consume(c->conn, now, (size_t)n);
    return 1;
}

/* Does what one connection wants, for a bounded time. */
static void serve(loop *l, struct loop_conn *c, uint64_t now) {
    int turns = 16;
    for (;;) {
        uint32_t wants = drywire_conn_wants(c->conn);
        if (wants & DRYWIRE_WANT_CLOSE) {
            if (l->options->closed != NULL) {
                l->options->closed(l->options->arg, drywire_conn_id(c->conn));
            }
            if (wants & DRYWIRE_WANT_RESET) {
                reset_and_close(c->fd);
            } else {
                close(c->fd);
            }
            drywire_conn_free(c->conn);
            free(c);
            return;
        }
        if (turns-- == 0) {
            enqueue(l, c); /* the others first */
            return;
        }
        if (wants & DRYWIRE_WANT_SHUTDOWN) {
            shutdown(c->fd, SHUT_WR);
            drywire_conn_was_shut_down(c->conn, now);
        } else if ((wants & DRYWIRE_WANT_READ) && c->readable) {
            read_some(c, now);
        } else if ((wants & DRYWIRE_WANT_WRITE) && c->writable) {
            write_some(c, now);
        } else if (wants & DRYWIRE_WANT_AGAIN) {
            drywire_conn_resume(c->conn, now);
        } else {
            return;
        }
    }
}

static void serve_all(loop *l, uint64_t now) {
    drywire_ready ready[64];
    struct loop_conn *todo;
    size_t n;
    drywire_status status;
    do {
        status = drywire_server_ready(l->server, now, ready, 64, &n);
        while (n > 0) {
            enqueue(l, ready[--n].user);
        }
    } while (status == DRYWIRE_MORE);
    todo = l->todo;
    l->todo = NULL;
    while (todo != NULL) {
        struct loop_conn *c = todo;
        todo = c->next;
        c->queued = 0;
        serve(l, c, now);
    }
}

/* Nobody is given up whose words lie unread: there may be more events than one epoll_wait brings. */
static void hear_due(loop *l, uint64_t now) {
    drywire_ready due[64];
    drywire_status status;
    size_t n;
    do {
        status = drywire_server_due(l->server, now, due, 64, &n);
        while (n > 0) {
            struct loop_conn *c = due[--n].user;
            c->readable = c->writable = 1;
            enqueue(l, c);
        }
    } while (status == DRYWIRE_MORE);
}

static int listen_on(const loop_options *options) {
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_family = AF_INET;
    address.sin_port = htons(options->port);
    if (inet_pton(AF_INET, options->host ? options->host : "127.0.0.1", &address.sin_addr) != 1) {
        fprintf(stderr, "not a numeric address: %s\n", options->host);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 1024) != 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        perror("listen");
        return -1;
    }
    printf("listening on %u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int loop_run(drywire_server *server, const loop_options *options) {
    loop l = {server, options, -1, -1, NULL};
    struct epoll_event events[256], event = {0};
    struct sigaction action = {0};
    drywire_server_stats stats;
    stats.struct_size = sizeof stats;
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    l.listener = listen_on(options);
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    event.events = EPOLLIN;
    if (l.listener < 0 || l.epoll < 0 ||
        epoll_ctl(l.epoll, EPOLL_CTL_ADD, l.listener, &event) != 0) {
        return 1;
    }
    for (;;) {
        uint64_t deadline = drywire_server_next_deadline(server);
        int timeout = l.todo ? 0 : drywire_deadline_ms(deadline, loop_now_ns());
        int i, n = epoll_wait(l.epoll, events, 256, timeout);
        uint64_t now = loop_now_ns(); /* one look at the clock for the whole turn */
        if (stopping == 1) {
            stopping = 2;
            close(l.listener);
            drywire_server_drain(server, now);
        }
        for (i = 0; i < n; i++) {
            struct loop_conn *c = events[i].data.ptr;
            if (c == NULL) {
                accept_all(&l, now);
                continue;
            }
            c->ended |= (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
            c->readable |= c->ended || (events[i].events & EPOLLIN);
            c->writable |= (events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
            enqueue(&l, c);
        }
        serve_all(&l, now);
        if (drywire_server_next_deadline(server) <= now) {
            hear_due(&l, now);
            serve_all(&l, now);
            drywire_server_tick(server, now);
            serve_all(&l, now);
        }
        if (options->turn != NULL) {
            options->turn(options->arg, now);
            serve_all(&l, now);
        }
        if (stopping && (drywire_server_get_stats(server, &stats) < 0 || stats.connections == 0)) {
            close(l.epoll);
            return 0;
        }
    }
}

int loop_arguments(int argc, char **argv, loop_options *options) {
    int i;
    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0) {
            options->port = (uint16_t)atoi(argv[i + 1]);
        } else if (strcmp(argv[i], "--host") == 0) {
            options->host = argv[i + 1];
        } else if (strcmp(argv[i], "--sndbuf") == 0) {
            options->send_buffer = atoi(argv[i + 1]);
        } else {
            break;
        }
    }
    if (i != argc) {
        fprintf(stderr, "usage: %s [--host ADDRESS] [--port N] [--sndbuf BYTES]\n", argv[0]);
        return 2;
    }
    return 0;
}
