/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The loop of a C host on the simulator's network: bindings/c/epoll_loop.c without the sockets.
 * -DPLANT_... plants mistakes that hosts make, to prove that they are found.
 */
#include "sim_host.h"

#include <stdlib.h>
#include <string.h>

typedef struct sim_link {
    drywire_conn *conn;
    uint64_t fed, sent;
    int again, ended;
} sim_link;

enum { WORKERS = 64 };

struct sim_host {
    drywire_server *server;
    sim_link *links;
    uint32_t cap;
    /* Work that was run and whose result is on its way back. */
    drywire_work *results[WORKERS];
    uint32_t workers;
};

enum { SPIN = 100000 };

sim_host *sim_host_new(const uint64_t *settings) {
    sim_host *host = calloc(1, sizeof *host);
    if (host == NULL || sim_protocol_here.make(settings, &host->server) != DRYWIRE_OK) {
        free(host);
        return NULL;
    }
    host->workers = sim_protocol_here.workers != NULL ? sim_protocol_here.workers(settings) : 0;
    host->workers = host->workers < WORKERS ? host->workers : WORKERS;
    return host;
}

void sim_host_free(sim_host *host) {
    uint32_t link;
    for (link = 0; link < host->cap; link++) {
        drywire_conn_free(host->links[link].conn);
    }
    for (link = 0; link < WORKERS; link++) {
        drywire_work_free(host->results[link]);
    }
    drywire_server_free(host->server);
    free(host->links);
    free(host);
}

static sim_link *find(const sim_host *host, uint32_t link) {
    return link < host->cap && host->links[link].conn != NULL ? &host->links[link] : NULL;
}

static uint32_t close_code(const drywire_conn *conn, int32_t *status) {
    drywire_error_info info = {0};
    info.struct_size = sizeof info;
    (void)!drywire_conn_last_error(conn, &info);
    *status = info.status;
    return info.code;
}

static void look(sim_host *host, const sim_io *io, uint32_t link) {
    static _Thread_local drywire_iov iov[4096];
    sim_link *l = &host->links[link];
    size_t n = 0, bytes;
    int32_t status;
    uint32_t flags = 0, code;
    if (!io->watching) {
        return;
    }
    (void)!drywire_conn_output(l->conn, iov, 4096, &n, &bytes);
    code = close_code(l->conn, &status);
    flags |= (drywire_conn_wants(l->conn) & DRYWIRE_WANT_READ) && code == DRYWIRE_CLOSE_NONE ? SIM_CAUGHT_UP : 0;
    flags |= code != DRYWIRE_CLOSE_NONE ? SIM_ENDING : 0;
    flags |= code == DRYWIRE_CLOSE_FAULT && status == DRYWIRE_ERR_TIMED_OUT ? SIM_TIMED_OUT : 0;
    io->look(io->world, link, l->fed, l->sent, iov, n, flags);
}

static void release(sim_host *host, const sim_io *io, uint32_t link) {
    io->over(io->world, link);
    drywire_conn_free(host->links[link].conn);
    host->links[link].conn = NULL;
}

static int send_some(sim_host *host, const sim_io *io, uint32_t link) {
    sim_link *l = &host->links[link];
    drywire_iov iov[8];
    size_t n, i, bytes, sent = 0;
    if (drywire_conn_output(l->conn, iov, 8, &n, &bytes) < 0) {
        return 0;
    }
    for (i = 0; i < n; i++) {
        size_t took = io->write(io->world, link, iov[i].base, iov[i].len);
        sent += took;
        if (took < iov[i].len) {
            break;
        }
    }
    if (sent == 0) {
        return 0;
    }
#ifdef PLANT_PARTIAL_SEND_TAKEN_FOR_WHOLE
    sent = bytes;
#endif
    (void)!drywire_conn_output_consume(l->conn, io->now_ns, sent);
    l->sent += sent;
    look(host, io, link);
    return 1;
}

static int receive_some(sim_host *host, const sim_io *io, uint32_t link) {
    sim_link *l = &host->links[link];
    size_t len, taken = 0;
    const uint8_t *data = io->input(io->world, link, &len);
    if (len == 0) {
        return 0;
    }
    if (io->way(io->world, link)) {
        uint8_t *room;
        size_t cap;
        if (drywire_conn_input_reserve(l->conn, &room, &cap) != DRYWIRE_OK) {
            return 0;
        }
        taken = len < cap ? len : cap;
        memcpy(room, data, taken);
        (void)!drywire_conn_input_commit(l->conn, io->now_ns, taken);
    } else {
        (void)!drywire_conn_feed(l->conn, io->now_ns, data, len, &taken);
#ifdef PLANT_INPUT_TAKEN_THAT_WAS_NOT_CONSUMED
        taken = len;
#endif
    }
    io->take(io->world, link, taken);
    l->fed += taken;
    look(host, io, link);
    return taken > 0;
}

/* Does whatever can be done for one connection now. */
static void pump(sim_host *host, const sim_io *io, uint32_t link) {
    int i;
    for (i = 0; i < SPIN; i++) {
        sim_link *l = find(host, link);
        uint32_t wants;
        int moved = 0;
        if (l == NULL) {
            return;
        }
        wants = drywire_conn_wants(l->conn);
        if (wants & DRYWIRE_WANT_CLOSE) {
            (wants & DRYWIRE_WANT_RESET ? io->reset : io->close)(io->world, link);
            release(host, io, link);
            return;
        }
        if (wants & DRYWIRE_WANT_WRITE) {
            moved |= send_some(host, io, link);
        }
        if (wants & DRYWIRE_WANT_SHUTDOWN) {
            io->finish(io->world, link);
            drywire_conn_was_shut_down(l->conn, io->now_ns);
            moved = 1;
        }
        if (wants & DRYWIRE_WANT_READ) {
            moved |= receive_some(host, io, link);
        }
        if (!moved) {
#ifndef PLANT_AGAIN_FORGOTTEN
            if ((wants & DRYWIRE_WANT_AGAIN) && !l->again) {
                l->again = 1;
                io->again(io->world, link);
            }
#endif
            return;
        }
    }
    io->spins(io->world);
}

/* Begins the next piece of work, if a worker is free. */
static int begin_work(sim_host *host, const sim_io *io) {
    uint32_t slot = 0;
    while (slot < host->workers && host->results[slot] != NULL) {
        slot++;
    }
    if (slot == host->workers ||
        drywire_server_next_work(host->server, io->now_ns, &host->results[slot]) != DRYWIRE_OK) {
        return 0;
    }
    (void)!drywire_work_run(host->results[slot]);
    io->work(io->world, slot);
    return 1;
}

static void end_work(sim_host *host, const sim_io *io, uint32_t slot) {
    if (slot < WORKERS && host->results[slot] != NULL) { /* or it was begun in an earlier life */
#ifdef PLANT_RESULT_FORGOTTEN
        (void)io;
#else
        (void)!drywire_server_complete(host->server, io->now_ns, host->results[slot]);
#endif
        drywire_work_free(host->results[slot]);
        host->results[slot] = NULL;
    }
}

/* What follows everything: requests, and connections that others touched. */
static void settle(sim_host *host, const sim_io *io) {
    int i;
    for (i = 0; i < SPIN; i++) {
        drywire_ready ready[64];
        size_t n, at;
        int moved = begin_work(host, io);
        if (sim_protocol_here.turn != NULL) {
            sim_protocol_here.turn(host->server, io->now_ns);
        }
        if (drywire_server_ready(host->server, io->now_ns, ready, 64, &n) < 0 || (n == 0 && !moved)) {
            return;
        }
        for (at = 0; at < n; at++) {
            uint32_t link = (uint32_t)(uintptr_t)ready[at].user;
            sim_link *l = find(host, link);
            if (l != NULL && drywire_conn_id(l->conn) == ready[at].id) {
                look(host, io, link);
                pump(host, io, link);
            }
        }
    }
    io->spins(io->world);
}

static void opened(sim_host *host, const sim_io *io, uint32_t link) {
    sim_link *l;
    while (link >= host->cap) {
        uint32_t cap = host->cap ? 2 * host->cap : 16;
        sim_link *links = realloc(host->links, cap * sizeof *links);
        if (links == NULL) {
            abort();
        }
        memset(links + host->cap, 0, (cap - host->cap) * sizeof *links);
        host->links = links;
        host->cap = cap;
    }
    l = &host->links[link];
    memset(l, 0, sizeof *l);
    if (drywire_conn_open(host->server, io->now_ns, (void *)(uintptr_t)link, &l->conn) != DRYWIRE_OK) {
        io->reset(io->world, link);
        return;
    }
    look(host, io, link);
    pump(host, io, link);
}

/* Nobody is given up whose words lie unread. */
static void hear_due(sim_host *host, const sim_io *io) {
    drywire_ready due[4];
    drywire_status status;
    size_t n;
    do {
        status = drywire_server_due(host->server, io->now_ns, due, 4, &n);
        while (n > 0) {
            pump(host, io, (uint32_t)(uintptr_t)due[--n].user);
        }
    } while (status == DRYWIRE_MORE);
}

void sim_host_event(sim_host *host, const sim_io *io, uint32_t what, uint32_t link) {
    sim_link *l = find(host, link);
    switch (what) {
    case SIM_OPENED:
        opened(host, io, link);
        break;
    case SIM_FIN:
        if (l != NULL) {
            l->ended = 1;
#ifndef PLANT_END_OF_INPUT_FORGOTTEN
            drywire_conn_eof(l->conn, io->now_ns);
#endif
            look(host, io, link);
            pump(host, io, link);
        }
        break;
    case SIM_RESET:
    case SIM_TIMEOUT:
        if (l != NULL) {
            drywire_conn_abort(l->conn, io->now_ns,
                               what == SIM_RESET ? DRYWIRE_TRANSPORT_RESET : DRYWIRE_TRANSPORT_TIMED_OUT);
            release(host, io, link);
        }
        break;
    case SIM_TURN:
        if (l != NULL) {
            l->again = 0;
            drywire_conn_resume(l->conn, io->now_ns);
            look(host, io, link);
            pump(host, io, link);
        }
        break;
    case SIM_WOKE:
        hear_due(host, io);
        drywire_server_tick(host->server, io->now_ns);
        break;
    case SIM_RESULT:
        end_work(host, io, link);
        break;
    case SIM_DRAIN:
        drywire_server_drain(host->server, io->now_ns);
        break;
    default:
        pump(host, io, link);
    }
    settle(host, io);
}

uint64_t sim_host_deadline(const sim_host *host) {
    return drywire_server_next_deadline(host->server);
}

uint64_t sim_host_connections(const sim_host *host) {
    drywire_server_stats stats = {0};
    stats.struct_size = sizeof stats;
    (void)!drywire_server_get_stats(host->server, &stats);
    return stats.connections;
}

void sim_host_link(const sim_host *host, uint32_t link, sim_standing *standing) {
    sim_link *l = find(host, link);
    drywire_iov iov[64];
    size_t n, bytes = 0;
    int32_t status;
    memset(standing, 0, sizeof *standing);
    if (l == NULL) {
        return;
    }
    standing->held = 1;
    standing->wants = drywire_conn_wants(l->conn);
    standing->ending = close_code(l->conn, &status) != DRYWIRE_CLOSE_NONE;
    standing->ended = (uint32_t)l->ended;
    (void)!drywire_conn_output(l->conn, iov, 64, &n, &bytes);
    standing->unsent = bytes;
}
