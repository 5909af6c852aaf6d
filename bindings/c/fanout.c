/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A fan-out server, and a protocol of its own on top of a framing: each line that a connection sends
 * goes to all the others. Who does not read is passed over, never waited for.
 *
 *   fanout --port 7000
 */
#define _GNU_SOURCE
#include "epoll_loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct room {
    drywire_server *server;
    uint64_t *ids;
    size_t count, capacity;
} room;

static void opened(void *arg, uint64_t id) {
    room *r = arg;
    if (r->count == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 64;
        uint64_t *ids = realloc(r->ids, capacity * sizeof *ids);
        if (ids == NULL) {
            return; /* it will not hear the others */
        }
        r->ids = ids;
        r->capacity = capacity;
    }
    r->ids[r->count++] = id;
}

static void closed(void *arg, uint64_t id) {
    room *r = arg;
    size_t i;
    for (i = 0; i < r->count; i++) {
        if (r->ids[i] == id) {
            r->ids[i] = r->ids[--r->count];
            return;
        }
    }
}

/* Sends `line` to everybody but `id`. */
static void tell(room *r, uint64_t now, uint64_t id, drywire_bytes line) {
    size_t i, sent;
    for (i = 0; i < r->count && r->ids[i] != id; i++) {
    }
    (void)!drywire_server_send(r->server, now, r->ids, i, 0, 0, line.data, line.len, &sent);
    if (i < r->count) {
        (void)!drywire_server_send(r->server, now, r->ids + i + 1, r->count - i - 1, 0, 0, line.data,
                                   line.len, &sent);
    }
}

static void turn(void *arg, uint64_t now) {
    static const char complaint[] = "a line has 1000 bytes at most";
    room *r = arg;
    drywire_event events[64];
    drywire_status status;
    size_t i, n;
    do {
        status = drywire_server_poll(r->server, events, 64, &n);
        for (i = 0; i < n; i++) {
            const drywire_event *e = &events[i];
            if (e->kind == DRYWIRE_EVENT_REQUEST) {
                tell(r, now, e->id, e->a);
                (void)!drywire_server_reply(r->server, now, e->id, e->num, 0, DRYWIRE_NO_ANSWER, NULL,
                                            0);
            } else {
                (void)!drywire_server_reply(r->server, now, e->id, e->num, 0, 0,
                                            (const uint8_t *)complaint, strlen(complaint));
            }
        }
    } while (status == DRYWIRE_MORE);
}

int main(int argc, char **argv) {
    loop_options options = {0};
    drywire_server_options limits;
    drywire_framer_options lines;
    room r = {0};
    drywire_status status;
    int result;
    options.port = 7000;
    if (loop_arguments(argc, argv, &options) != 0) {
        return 2;
    }
    drywire_server_options_init(&limits, sizeof limits);
    limits.max_connections = 10000;
    drywire_framer_options_init(&lines, sizeof lines);
    lines.kind = DRYWIRE_FRAMING_LINES;
    lines.terminator = DRYWIRE_LINES_LF_OR_CRLF;
    lines.max_payload = 1000;
    lines.oversize = DRYWIRE_OVERSIZE_SKIP;
    status = drywire_custom_server_new(&limits, &lines, NULL, &r.server);
    if (status != DRYWIRE_OK) {
        fprintf(stderr, "drywire: %s\n", drywire_status_name(status));
        return 1;
    }
    options.turn = turn;
    options.opened = opened;
    options.closed = closed;
    options.arg = &r;
    result = loop_run(r.server, &options);
    drywire_server_free(r.server);
    free(r.ids);
    return result;
}
