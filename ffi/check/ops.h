/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Any bytes as a sequence of calls: what the fuzzer runs, and what is recorded and replayed. Everything
 * that comes out goes into one hash; what may never happen ends the program.
 */
#ifndef OPS_H
#define OPS_H

#include <drywire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNS 4
#define HELD 8

#define MUST(what)                                                     \
    do {                                                               \
        if (!(what)) {                                                 \
            fprintf(stderr, "ops.h:%d: %s\n", __LINE__, #what);        \
            abort();                                                   \
        }                                                              \
    } while (0)

typedef struct shown {
    drywire_iov iov[HELD];
    size_t count;
    uint64_t hash;
} shown;

typedef struct ops {
    const uint8_t *at, *end;
    uint64_t now, hash;
    drywire_server *servers[2];
    drywire_conn *conns[CONNS]; /* the first half on server 0 */
    shown shown[CONNS];
    drywire_client *client;
    drywire_framer *framer;
    uint64_t submitted, done, delivered;
    uint8_t kept[512];
    size_t kept_len;
} ops;

static uint64_t ops_mix(uint64_t hash, const void *data, size_t len) {
    const uint8_t *bytes = data;
    size_t i;
    for (i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash;
}

static void ops_say(ops *o, uint64_t value) {
    o->hash = ops_mix(o->hash, &value, sizeof value);
}

static unsigned ops_byte(ops *o) {
    return o->at < o->end ? *o->at++ : 0;
}

/* Input for a peer: literal bytes, or a snippet of a protocol so that the fuzzer gets deep. */
static size_t ops_bytes(ops *o, uint8_t *out, size_t cap) {
    static const char *const snippets[] = {
        "get a\r\n", "gets a b c\r\n", "set a 0 0 5\r\nhello\r\n", "set a 1 0 3000\r\n",
        "append a 0 0 1\r\nx\r\n", "incr a 1\r\n", "set a 0 0 1\r\n7\r\n", "delete a\r\n",
        "VALUE a 0 5\r\nhello\r\nEND\r\n", "END\r\n", "STORED\r\n", "line one\nline two\n",
        "flush_all\r\n", "stats\r\n", "quit\r\n", "version\r\n",
    };
    unsigned kind = ops_byte(o);
    size_t len;
    if (kind < 16) {
        len = strlen(snippets[kind]);
        memcpy(out, snippets[kind], len);
        return len;
    }
    if (kind < 32) { /* a run of one byte */
        len = (size_t)(kind - 15) * 60 < cap ? (size_t)(kind - 15) * 60 : cap;
        memset(out, (int)ops_byte(o), len);
        return len;
    }
    len = kind % 64;
    len = len < (size_t)(o->end - o->at) ? len : (size_t)(o->end - o->at);
    memcpy(out, o->at, len);
    o->at += len;
    return len;
}

static uint64_t shown_hash(const shown *s) {
    uint64_t hash = 0;
    size_t i;
    for (i = 0; i < s->count; i++) {
        hash = ops_mix(hash, s->iov[i].base, s->iov[i].len);
    }
    return hash;
}

/* What was shown must not have changed, whatever was called since. */
static void ops_check_shown(ops *o) {
    size_t i;
    for (i = 0; i < CONNS; i++) {
        MUST(shown_hash(&o->shown[i]) == o->shown[i].hash);
    }
}

static void ops_forget(ops *o, unsigned i) {
    o->shown[i].count = 0;
    o->shown[i].hash = 0;
}

static void ops_free_conn(ops *o, unsigned i) {
    ops_check_shown(o);
    drywire_conn_free(o->conns[i]);
    o->conns[i] = NULL;
    ops_forget(o, i);
}

static void ops_setup(ops *o, unsigned flags) {
    drywire_server_options options;
    drywire_memcached_options memcached;
    drywire_custom_options custom;
    drywire_framer_options framing;
    drywire_client_options client;
    drywire_server_options_init(&options, sizeof options);
    drywire_memcached_options_init(&memcached, sizeof memcached);
    drywire_custom_options_init(&custom, sizeof custom);
    drywire_framer_options_init(&framing, sizeof framing);
    drywire_client_options_init(&client, sizeof client);
    options.flags = flags & 1 ? DRYWIRE_DEBUG_VIEWS : 0;
    options.max_connections = 3;
    options.messages_per_turn = 2 + (flags >> 1 & 7);
    options.input_limit = 2048;
    options.output_high = 300;
    options.output_low = 100;
    memcached.memory = 1 << 18;
    memcached.item_max = 1 << 14;
    custom.window = 3;
    custom.idle_ns = 1000;
    framing.kind = DRYWIRE_FRAMING_LINES;
    framing.max_payload = 40;
    framing.oversize = DRYWIRE_OVERSIZE_SKIP;
    client.flags = options.flags;
    client.window = 8;
    client.value_max = 1000;
    client.timeout_ns = 5000;
    MUST(drywire_memcached_server_new(&options, &memcached, &o->servers[0]) == DRYWIRE_OK);
    MUST(drywire_custom_server_new(&options, &framing, &custom, &o->servers[1]) == DRYWIRE_OK);
    MUST(drywire_memcached_client_new(&client, &o->client) == DRYWIRE_OK);
    if (flags & 16) {
        framing.kind = DRYWIRE_FRAMING_LENGTH_PREFIX;
        framing.length_width = flags & 32 ? DRYWIRE_WIDTH_VARINT32 : 1;
    }
    MUST(drywire_framer_new(&framing, &o->framer) == DRYWIRE_OK);
}

static void ops_conn(ops *o, unsigned op, unsigned i) {
    uint8_t data[1024];
    drywire_conn *conn = o->conns[i];
    size_t len, n = 0, bytes = 0, part;
    drywire_status status;
    if (conn == NULL) {
        status = drywire_conn_open(o->servers[i / 2], o->now, &o->conns[i], &o->conns[i]);
        ops_say(o, (uint64_t)status);
        return;
    }
    switch (op) {
    case 0:
        len = ops_bytes(o, data, sizeof data);
        status = drywire_conn_feed(conn, o->now, data, len, &n);
        MUST(n <= len && (status != DRYWIRE_OK || n == len));
        memset(data, 0xEE, sizeof data); /* nothing may point at it any more */
        ops_say(o, (uint64_t)status ^ n);
        break;
    case 1: {
        uint8_t *room;
        len = ops_bytes(o, data, sizeof data);
        if (drywire_conn_input_reserve(conn, &room, &n) == DRYWIRE_OK) {
            MUST(n > 0);
            len = len < n ? len : n;
            memcpy(room, data, len);
            MUST(drywire_conn_input_commit(conn, o->now, n + 1) == DRYWIRE_ERR_RANGE);
            ops_say(o, (uint64_t)drywire_conn_input_commit(conn, o->now, len));
        }
        break;
    }
    case 2:
        ops_check_shown(o);
        status = drywire_conn_output(conn, o->shown[i].iov, 1 + ops_byte(o) % HELD,
                                     &o->shown[i].count, &bytes);
        MUST(status >= 0);
        o->shown[i].hash = shown_hash(&o->shown[i]);
        ops_say(o, o->shown[i].hash ^ bytes);
        break;
    case 3:
        ops_check_shown(o);
        for (bytes = 0, n = 0; n < o->shown[i].count; n++) {
            bytes += o->shown[i].iov[n].len;
        }
        ops_forget(o, i);
        part = ops_byte(o);
        bytes = part == 255 ? bytes : part % (bytes + 1);
        status = drywire_conn_output_consume(conn, o->now, bytes);
        o->delivered += status >= 0 ? bytes : 0;
        MUST(status >= 0 || status == DRYWIRE_ERR_RANGE);
        ops_say(o, (uint64_t)status ^ bytes);
        break;
    case 4:
        drywire_conn_eof(conn, o->now);
        break;
    case 5:
        drywire_conn_resume(conn, o->now);
        break;
    case 6:
        drywire_conn_close_begin(conn, o->now);
        break;
    case 7:
        drywire_conn_was_shut_down(conn, o->now);
        break;
    case 8:
        drywire_conn_abort(conn, o->now, ops_byte(o) % 4);
        break;
    case 9:
        ops_free_conn(o, i);
        return;
    default:
        status = drywire_conn_output_copy(conn, data, ops_byte(o), &n);
        MUST(status >= 0);
        ops_say(o, ops_mix(0, data, n));
    }
    ops_say(o, drywire_conn_wants(conn));
}

static void ops_server(ops *o, unsigned which) {
    drywire_server *server = o->servers[which];
    drywire_ready ready[3];
    drywire_event events[3];
    size_t i, n;
    if (drywire_server_next_deadline(server) <= o->now) {
        while (drywire_server_due(server, o->now, ready, 1, &n) == DRYWIRE_MORE) {
            ops_say(o, ready[0].id ^ ready[0].flags);
        }
        drywire_server_tick(server, o->now);
        MUST(drywire_server_next_deadline(server) > o->now);
    }
    MUST(drywire_server_ready(server, o->now, ready, 3, &n) >= 0);
    for (i = 0; i < n; i++) {
        ops_say(o, ready[i].id ^ ready[i].flags);
    }
    MUST(drywire_server_poll(server, events, 3, &n) >= 0);
    for (i = 0; i < n; i++) {
        drywire_status status;
        uint64_t to[2];
        size_t sent;
        ops_say(o, ops_mix(events[i].num, events[i].a.data, events[i].a.len));
        status = drywire_server_reply(server, o->now, events[i].id, events[i].num, 0, 0,
                                      events[i].a.data, events[i].a.len);
        MUST(status == DRYWIRE_OK || status == DRYWIRE_ERR_GONE);
        MUST(drywire_server_reply(server, o->now, events[i].id, events[i].num, 0, 0, NULL, 0) ==
             DRYWIRE_ERR_GONE);
        to[0] = events[i].id;
        to[1] = o->conns[3] != NULL ? drywire_conn_id(o->conns[3]) : 0;
        MUST(drywire_server_send(server, o->now, to, 2, 0, 0, events[i].a.data, events[i].a.len,
                                 &sent) == DRYWIRE_OK);
        ops_say(o, sent);
    }
}

static void ops_client(ops *o, unsigned op) {
    uint8_t data[1024] = {0}; /* a key of 3 bytes is taken from it, however few were written */
    size_t len, n, i;
    drywire_status status;
    if (op == 0) {
        drywire_memcached_request request;
        drywire_bytes keys[2] = {{(const uint8_t *)"a", 1}, {data, 3}};
        uint64_t token;
        ops_bytes(o, data, sizeof data);
        drywire_memcached_request_init(&request, sizeof request);
        request.verb = ops_byte(o) % 17;
        request.flags = ops_byte(o) % 8;
        request.keys = keys;
        request.key_count = ops_byte(o) % 3;
        request.value = keys[1];
        status = drywire_client_submit(o->client, o->now, &request, &token);
        MUST(token == 0 || token == o->submitted + 1);
        o->submitted += token != 0;
        ops_say(o, (uint64_t)status ^ token);
    } else if (op == 1) {
        len = ops_bytes(o, data, sizeof data);
        status = drywire_client_feed(o->client, o->now, data, len, &n);
        MUST(n <= len);
        ops_say(o, (uint64_t)status ^ n);
    } else if (op == 2) {
        drywire_event events[3];
        MUST(drywire_client_poll(o->client, events, 3, &n) >= 0);
        for (i = 0; i < n; i++) {
            /* Answers come in order, each request ends once. */
            MUST(events[i].id == o->done + 1);
            o->done += events[i].kind == DRYWIRE_EVENT_DONE;
            ops_say(o, ops_mix(events[i].flags, events[i].a.data, events[i].a.len));
            ops_say(o, ops_mix(events[i].num, events[i].b.data, events[i].b.len));
        }
    } else if (op == 3) {
        drywire_iov iov[2];
        size_t bytes;
        MUST(drywire_client_output(o->client, iov, 2, &n, &bytes) >= 0);
        for (i = 0; i < n; i++) {
            ops_say(o, ops_mix(0, iov[i].base, iov[i].len));
        }
        MUST(drywire_client_output_consume(o->client, bytes ? ops_byte(o) % (bytes + 1) : 0) >= 0);
    } else if (op == 4 && ops_byte(o) % 16 == 0) {
        drywire_client_eof(o->client);
    } else {
        drywire_client_tick(o->client, o->now);
    }
}

static void ops_framer(ops *o) {
    drywire_event events[3];
    drywire_status status;
    size_t n, consumed, i;
    uint8_t data[1024];
    size_t len = ops_bytes(o, data, sizeof data);
    len = len < sizeof o->kept - o->kept_len ? len : sizeof o->kept - o->kept_len;
    memcpy(o->kept + o->kept_len, data, len);
    o->kept_len += len;
    status = drywire_framer_decode(o->framer, o->kept, o->kept_len, events, 3, &n, &consumed);
    MUST(consumed <= o->kept_len);
    for (i = 0; i < n; i++) {
        const uint8_t *a = events[i].a.data;
        if (events[i].kind == DRYWIRE_EVENT_FRAME && events[i].a.len > 0) {
            MUST(a >= o->kept && a + events[i].a.len <= o->kept + consumed);
        }
        ops_say(o, ops_mix(events[i].num, a, events[i].a.len));
    }
    o->kept_len -= consumed;
    memmove(o->kept, o->kept + consumed, o->kept_len);
    if (status < 0 || o->kept_len == sizeof o->kept) {
        drywire_framer_reset(o->framer);
        o->kept_len = 0;
    }
    ops_say(o, (uint64_t)status);
}

#include "ops_policies.h"

/* Runs all of `data`; returns the hash of everything that came out. How many bytes of it were sent for good
 * goes to `delivered`, unless it is NULL. */
static uint64_t ops_run(const uint8_t *data, size_t size, uint64_t *delivered) {
    static ops all;
    static policies p;
    ops *o = &all;
    unsigned i;
    memset(o, 0, sizeof *o);
    o->at = data;
    o->end = data + size;
    ops_setup(o, ops_byte(o));
    policies_setup(&p);
    while (o->at < o->end) {
        unsigned op = ops_byte(o);
        unsigned what = op & 15, which = op >> 4 & (CONNS - 1);
        o->now += ops_byte(o) * 3;
        if (what < 11) {
            ops_conn(o, what, which);
        } else if (what == 11) {
            ops_server(o, which & 1);
        } else if (what == 12) {
            ops_framer(o);
        } else if (what == 15) {
            ops_policies(o, &p);
        } else {
            ops_client(o, which | (what == 13 ? 0 : 4));
        }
        ops_check_shown(o);
    }
    /* However it went, every request of the client ends once. */
    drywire_client_eof(o->client);
    for (i = 0; i < 40; i++) {
        ops_client(o, 2);
    }
    MUST(o->done == o->submitted);
    drywire_server_free(o->servers[0]);
    for (i = 0; i < CONNS; i++) {
        ops_free_conn(o, i);
    }
    drywire_server_free(o->servers[1]);
    drywire_client_free(o->client);
    drywire_framer_free(o->framer);
    if (delivered != NULL) {
        *delivered = o->delivered;
    }
    return o->hash;
}

#endif
