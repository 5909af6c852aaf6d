/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The examples of docs/c-api.md: compiled and run by ffi/check.sh, copied into the page by
 * ffi/check/docs.py. A part begins with [name] and ends with [end].
 */
#include <drywire.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int lines_seen;

static void on_line(const uint8_t *line, size_t len) {
    lines_seen += len > 0 && line[0] != '\0';
}

/* [framer] */
static int each_line(drywire_framer *framer, const uint8_t *data, size_t len, size_t *consumed) {
    drywire_event events[64];
    drywire_status status;
    size_t i, n, used;
    *consumed = 0;
    do {
        status = drywire_framer_decode(framer, data + *consumed, len - *consumed, events, 64, &n, &used);
        for (i = 0; i < n; i++) {
            if (events[i].kind == DRYWIRE_EVENT_FRAME) {
                on_line(events[i].a.data, events[i].a.len); /* points into data */
            }
        }
        *consumed += used; /* keep the rest and pass it again with more behind it */
    } while (status == DRYWIRE_MORE);
    return status < 0 ? -1 : 0; /* DRYWIRE_NEED_INPUT is fine */
}
/* [end] */

static drywire_framer *make_framer(void) {
    /* [options] */
    drywire_framer_options options;
    drywire_framer *framer;
    drywire_framer_options_init(&options, sizeof options); /* all defaults */
    options.kind = DRYWIRE_FRAMING_LINES;
    options.terminator = DRYWIRE_LINES_LF_OR_CRLF;
    options.max_payload = 4096; /* a longer line is an error, found early */
    if (drywire_framer_new(&options, &framer) != DRYWIRE_OK) {
        return NULL;
    }
    /* [end] */
    return framer;
}

static size_t send_to_socket(const drywire_iov *iov, size_t n) {
    return n > 0 ? iov[0].len : 0;
}

/* [turn] */
/* One turn of a connection whose socket is writable. What is not taken of the bytes received is offered
 * again in a later turn. Returns 0 when it is over. */
static int turn(drywire_conn *conn, uint64_t now, const uint8_t *received, size_t len, size_t *taken) {
    uint32_t wants = drywire_conn_wants(conn);
    *taken = 0;
    if (wants & DRYWIRE_WANT_READ) {
        if (drywire_conn_feed(conn, now, received, len, taken) < 0) {
            /* the peer broke the protocol: its last words are in the output, go on */
        }
    }
    if (wants & DRYWIRE_WANT_AGAIN) {
        drywire_conn_resume(conn, now);
    }
    while (drywire_conn_wants(conn) & DRYWIRE_WANT_WRITE) {
        drywire_iov iov[16]; /* has the layout of struct iovec */
        size_t n, bytes, sent;
        (void)!drywire_conn_output(conn, iov, 16, &n, &bytes);
        sent = send_to_socket(iov, n); /* any part of it */
        if (drywire_conn_output_consume(conn, now, sent) < 0 || sent == 0) {
            break;
        }
    }
    if (drywire_conn_wants(conn) & DRYWIRE_WANT_SHUTDOWN) {
        /* shutdown(fd, SHUT_WR); */
        drywire_conn_was_shut_down(conn, now);
    }
    return (drywire_conn_wants(conn) & DRYWIRE_WANT_CLOSE) == 0;
}
/* [end] */

/* [custom] */
/* Answers everything that was asked, each once, in any order. */
static void answer_all(drywire_server *server, uint64_t now) {
    drywire_event events[64];
    drywire_status status;
    size_t i, n;
    do {
        status = drywire_server_poll(server, events, 64, &n);
        for (i = 0; i < n; i++) {
            const drywire_event *e = &events[i];
            const char *answer = e->kind == DRYWIRE_EVENT_REQUEST ? "thanks" : "too long";
            if (drywire_server_reply(server, now, e->id, e->num, 0, 0, (const uint8_t *)answer,
                                     strlen(answer)) == DRYWIRE_ERR_GONE) {
                /* the connection ended meanwhile: harmless */
            }
        }
    } while (status == DRYWIRE_MORE);
}
/* [end] */

/* [admission] */
typedef struct job {
    uint64_t conn, token, queued_ns, expires_ns;
} job;

typedef struct queue {
    drywire_admission_options promises;
    drywire_admission admission;
    job jobs[1000];
    size_t len;
} queue;

/* Clients give up after 50 ms: an answer that would come later is refused now. */
static void queue_init(queue *q, uint64_t now) {
    drywire_admission_options_init(&q->promises, sizeof q->promises);
    drywire_admission_options_for_deadline(&q->promises, 50 * 1000000);
    q->promises.queue_max = 1000;
    drywire_admission_init(&q->admission, sizeof q->admission, &q->promises, now);
    q->len = 0;
}

static void queue_take(queue *q, drywire_server *server, uint64_t now, const drywire_event *request) {
    drywire_admission_ask ask;
    drywire_decision decision;
    drywire_admission_ask_init(&ask, sizeof ask);
    ask.queue_len = q->len;
    ask.oldest_ns = q->len > 0 ? q->jobs[0].queued_ns : DRYWIRE_NO_DEADLINE;
    (void)!drywire_admission_admit(&q->admission, &q->promises, now, &ask, &decision);
    if (decision.what == DRYWIRE_ADMISSION_ACCEPT) {
        job accepted = {request->id, request->num, now, decision.time_ns};
        q->jobs[q->len++] = accepted;
    } else {
        (void)!drywire_server_reply(server, now, request->id, request->num, 0, 0,
                                    (const uint8_t *)"busy", 4);
    }
}
/* [end] */

/* [heartbeat] */
/* A connection that may fall silent. Returns 0 when its peer is dead. */
static int beat(drywire_heartbeat *heartbeat, drywire_server *server, uint64_t conn, uint64_t now,
                uint64_t *wake_ns) {
    drywire_decision decision;
    do { /* until it says nothing */
        size_t sent;
        (void)!drywire_heartbeat_poll(heartbeat, NULL, now, 0, 0, &decision);
        if (decision.what == DRYWIRE_HEARTBEAT_PING) {
            (void)!drywire_server_send(server, now, &conn, 1, 0, 0, (const uint8_t *)"ping", 4, &sent);
            drywire_heartbeat_ping_left(heartbeat, now);
        } else if (decision.what == DRYWIRE_HEARTBEAT_DEAD) {
            return 0;
        }
    } while (decision.what != 0);
    *wake_ns = decision.next_ns; /* and drywire_heartbeat_received on all that comes in */
    return 1;
}
/* [end] */

/* [client] */
static uint64_t ask(drywire_client *client, uint64_t now, const char *key) {
    drywire_memcached_request request;
    drywire_bytes one;
    uint64_t token;
    one.data = (const uint8_t *)key;
    one.len = strlen(key);
    drywire_memcached_request_init(&request, sizeof request);
    request.verb = DRYWIRE_MEMCACHED_GET;
    request.keys = &one;
    request.key_count = 1;
    return drywire_client_submit(client, now, &request, &token) == DRYWIRE_OK ? token : 0;
}

/* After drywire_client_feed, _eof or _tick: what happened. */
static void tell(drywire_client *client) {
    drywire_event events[16];
    drywire_status status;
    size_t i, n;
    do {
        status = drywire_client_poll(client, events, 16, &n);
        for (i = 0; i < n; i++) {
            if (events[i].kind == DRYWIRE_EVENT_VALUE) {
                printf("%.*s = %.*s\n", (int)events[i].a.len, (const char *)events[i].a.data,
                       (int)events[i].b.len, (const char *)events[i].b.data);
            } else if (events[i].kind == DRYWIRE_EVENT_DONE) {
                printf("request %llu is over\n", (unsigned long long)events[i].id);
            }
        }
    } while (status == DRYWIRE_MORE);
}
/* [end] */

/* [version] */
#if DRYWIRE_VERSION_NUM < 1000
#error "drywire 0.1 or newer is needed"
#endif

static void check_library(void) {
    if (drywire_abi_version() != DRYWIRE_ABI) {
        fprintf(stderr, "drywire %s does not fit\n", drywire_version_string());
        abort();
    }
}
/* [end] */

/* A hundred requests that take 1 ms each, at one moment: what 50 ms have room for is taken. */
static void overload(drywire_server *server, drywire_conn *conn) {
    static queue q;
    drywire_event events[100];
    size_t i, n, consumed;
    queue_init(&q, 0);
    for (i = 0; i < 1000; i++) {
        drywire_admission_complete(&q.admission, 1000000); /* what the work takes is measured */
    }
    for (i = 0; i < 100; i++) {
        assert(drywire_conn_feed(conn, 0, (const uint8_t *)"work\n", 5, &consumed) == DRYWIRE_OK);
        assert(drywire_server_poll(server, events, 100, &n) == DRYWIRE_OK && n == 1);
        queue_take(&q, server, 0, &events[0]);
        (void)!drywire_conn_resume(conn, 0);
    }
    assert(q.len > 40 && q.len < 50 && q.jobs[0].expires_ns < 50000000);
}

/* Silence is met with a ping and with the end; a word in between starts it anew. */
static void silence(drywire_server *server, drywire_conn *conn) {
    drywire_heartbeat heartbeat;
    uint64_t now = 0, wake = 0;
    int turns = 0;
    assert(drywire_heartbeat_init(&heartbeat, sizeof heartbeat, NULL, 0, 1) == DRYWIRE_OK);
    while (beat(&heartbeat, server, drywire_conn_id(conn), now, &wake)) {
        assert(wake > now && turns < 100);
        now = wake;
        if (turns++ < 10) {
            drywire_heartbeat_received(&heartbeat, now);
        }
    }
    assert(turns > 10);
}

int main(void) {
    static const uint8_t text[] = "one\r\ntwo\nthree";
    static const uint8_t get[] = "get k\r\nquit\r\n";
    drywire_framer *framer = make_framer();
    drywire_framer_options lines;
    drywire_custom_options custom;
    drywire_server *server;
    drywire_client *client;
    drywire_conn *conn;
    size_t consumed;
    check_library();
    assert(each_line(framer, text, sizeof text - 1, &consumed) == 0 && consumed == 9 && lines_seen == 2);
    drywire_framer_free(framer);
    assert(drywire_memcached_server_new(NULL, NULL, &server) == DRYWIRE_OK);
    assert(drywire_conn_open(server, 0, NULL, &conn) == DRYWIRE_OK);
    assert(turn(conn, 1, get, sizeof get - 1, &consumed) == 1 && consumed == sizeof get - 1);
    drywire_conn_eof(conn, 2);
    assert(turn(conn, 2, NULL, 0, &consumed) == 0);
    drywire_conn_free(conn);
    drywire_server_free(server);
    drywire_framer_options_init(&lines, sizeof lines);
    lines.kind = DRYWIRE_FRAMING_LINES;
    lines.max_payload = 100;
    drywire_custom_options_init(&custom, sizeof custom);
    custom.window = 200;
    assert(drywire_custom_server_new(NULL, &lines, &custom, &server) == DRYWIRE_OK);
    assert(drywire_conn_open(server, 0, NULL, &conn) == DRYWIRE_OK);
    assert(drywire_conn_feed(conn, 0, text, 9, &consumed) == DRYWIRE_OK);
    answer_all(server, 0);
    assert(drywire_conn_wants(conn) & DRYWIRE_WANT_WRITE);
    overload(server, conn);
    silence(server, conn);
    drywire_conn_free(conn);
    drywire_server_free(server);
    assert(drywire_memcached_client_new(NULL, &client) == DRYWIRE_OK);
    assert(ask(client, 0, "k") == 1);
    drywire_client_eof(client);
    tell(client);
    drywire_client_free(client);
    return 0;
}
