/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * One of each handle, in use, for the generated programs: misuse.c and panic.c.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <drywire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    drywire_framer *framer, *made_framer;
    drywire_server *server, *memcached, *sudoku, *made_server;
    drywire_work *work, *done_work, *made_work;
    drywire_conn *sudoku_conn;
    drywire_conn *conn, *over, *made_conn;
    drywire_client *client, *over_client, *made_client;
    drywire_framer_options framer_options;
    drywire_server_options server_options;
    drywire_memcached_options memcached_options;
    drywire_custom_options custom_options;
    drywire_client_options client_options;
    drywire_fanout_options fanout_options;
    drywire_sudoku_options sudoku_options;
    drywire_memcached_request memcached_request;
    drywire_server_stats server_stats;
    drywire_memcached_stats memcached_stats;
    drywire_client_stats client_stats;
    drywire_error_info error_info;
    drywire_admission_options admission_options;
    drywire_read_gate_options read_gate_options;
    drywire_out_gate_options out_gate_options;
    drywire_patience_options patience_options;
    drywire_heartbeat_options heartbeat_options;
    drywire_phi_options phi_options;
    drywire_ping_flood_options ping_flood_options;
    drywire_drain_options drain_options;
    drywire_throttle_options throttle_options;
    drywire_retry_options retry_options;
    drywire_pick_options pick_options;
    drywire_admission admission;
    drywire_read_gate read_gate;
    drywire_refusal_window refusal_window;
    drywire_refusal_pause refusal_pause;
    drywire_out_gate out_gate;
    drywire_patience patience;
    drywire_heartbeat heartbeat;
    drywire_phi phi;
    drywire_ping_flood ping_flood;
    drywire_stall_guard stall_guard;
    drywire_drain drain;
    drywire_throttle throttle;
    drywire_retry retry;
    drywire_admission_ask admission_ask;
    drywire_backend backends[2];
    drywire_decision decision;
    drywire_bytes key;
    drywire_event events[4];
    drywire_ready ready[4];
    drywire_iov iov[4];
    uint64_t numbers[4];
    uint64_t id, token;
    size_t n[10];
    uint8_t *room;
    uint8_t input[16], output[64];
} fixture;

static int failures;

/* What a call gave: a status, or any other value. */
typedef struct given {
    int is_status;
    int32_t status;
} given;

static inline given status(drywire_status status) {
    given g = {1, (int32_t)status};
    return g;
}

static inline given value(uint64_t any) {
    given g = {0, (int32_t)(any & 0x7fffffff)};
    return g;
}

static inline given nothing(int zero) {
    return value((uint64_t)zero);
}

#define ANY 1
#define IS_NULL (g.status == DRYWIRE_ERR_NULL)
#define NOT_NULL (g.status != DRYWIRE_ERR_NULL)
#define IS_ABI (g.status == DRYWIRE_ERR_ABI)
#define FAILS (g.status < 0)
#define NO_MISUSE (g.status > -1 || g.status < -99)
#define IS_PANIC (g.status == DRYWIRE_ERR_PANIC)
#define IS_POISONED (g.status == DRYWIRE_ERR_POISONED)

/* Every status has a name, and nothing but NULL handles and the panic tests gives a fatal one. */
#define CASE_HERE(what, expected, call)                                                            \
    {                                                                                              \
        given g = call;                                                                            \
        if (!(expected) || (g.is_status && strcmp(drywire_status_name(g.status), "DRYWIRE_UNKNOWN") == 0)) { \
            fprintf(stderr, "%s: gave %s\n", what, drywire_status_name(g.status));                 \
            failures++;                                                                            \
        }                                                                                          \
        cases++;                                                                                   \
    }
#define CASE(what, expected, call)                                                                 \
    fresh(f);                                                                                      \
    CASE_HERE(what, expected, call)

static void must(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "fixture: %s\n", what);
        exit(3);
    }
}

static void fixture_free(fixture *f) {
    /* The server first: the order must not matter. */
    drywire_server_free(f->server);
    drywire_server_free(f->memcached);
    drywire_server_free(f->made_server);
    drywire_server_free(f->sudoku);
    drywire_conn_free(f->sudoku_conn);
    drywire_work_free(f->work);
    drywire_work_free(f->done_work);
    drywire_work_free(f->made_work);
    drywire_conn_free(f->conn);
    drywire_conn_free(f->over);
    drywire_conn_free(f->made_conn);
    drywire_framer_free(f->framer);
    drywire_framer_free(f->made_framer);
    drywire_client_free(f->client);
    drywire_client_free(f->over_client);
    drywire_client_free(f->made_client);
}

static void fixture_policies(fixture *f) {
    drywire_admission_options_init(&f->admission_options, sizeof f->admission_options);
    drywire_read_gate_options_init(&f->read_gate_options, sizeof f->read_gate_options);
    drywire_out_gate_options_init(&f->out_gate_options, sizeof f->out_gate_options);
    drywire_patience_options_init(&f->patience_options, sizeof f->patience_options);
    drywire_heartbeat_options_init(&f->heartbeat_options, sizeof f->heartbeat_options);
    drywire_phi_options_init(&f->phi_options, sizeof f->phi_options);
    drywire_ping_flood_options_init(&f->ping_flood_options, sizeof f->ping_flood_options);
    drywire_drain_options_init(&f->drain_options, sizeof f->drain_options);
    drywire_throttle_options_init(&f->throttle_options, sizeof f->throttle_options);
    drywire_retry_options_init(&f->retry_options, sizeof f->retry_options);
    drywire_pick_options_init(&f->pick_options, sizeof f->pick_options);
    drywire_admission_init(&f->admission, sizeof f->admission, &f->admission_options, 1);
    drywire_read_gate_init(&f->read_gate, sizeof f->read_gate);
    drywire_refusal_window_init(&f->refusal_window, sizeof f->refusal_window);
    drywire_refusal_pause_init(&f->refusal_pause, sizeof f->refusal_pause);
    drywire_out_gate_init(&f->out_gate, sizeof f->out_gate);
    drywire_patience_init(&f->patience, sizeof f->patience, 1);
    drywire_heartbeat_init(&f->heartbeat, sizeof f->heartbeat, &f->heartbeat_options, 1, 2);
    drywire_phi_init(&f->phi, sizeof f->phi, &f->phi_options, 1, 1000);
    drywire_ping_flood_init(&f->ping_flood, sizeof f->ping_flood);
    drywire_stall_guard_init(&f->stall_guard, sizeof f->stall_guard, 1);
    drywire_drain_init(&f->drain, sizeof f->drain);
    drywire_throttle_init(&f->throttle, sizeof f->throttle, 1);
    drywire_retry_init(&f->retry, sizeof f->retry, &f->retry_options, 1);
    drywire_admission_ask_init(&f->admission_ask, sizeof f->admission_ask);
    drywire_backend_init(&f->backends[0], 1, 1);
    drywire_backend_init(&f->backends[1], 2, 1);
}

static void fixture_make(fixture *f) {
    static const uint8_t request[] = "request\nrest";
    uint8_t boards[3 * 85];
    size_t consumed, n;
    memset(f, 0, sizeof *f);
    drywire_framer_options_init(&f->framer_options, sizeof f->framer_options);
    drywire_server_options_init(&f->server_options, sizeof f->server_options);
    drywire_memcached_options_init(&f->memcached_options, sizeof f->memcached_options);
    drywire_custom_options_init(&f->custom_options, sizeof f->custom_options);
    drywire_client_options_init(&f->client_options, sizeof f->client_options);
    drywire_memcached_request_init(&f->memcached_request, sizeof f->memcached_request);
    drywire_fanout_options_init(&f->fanout_options, sizeof f->fanout_options);
    drywire_sudoku_options_init(&f->sudoku_options, sizeof f->sudoku_options);
    f->memcached_options.memory = 1 << 20;
    f->memcached_options.item_max = 1 << 16;
    f->framer_options.kind = DRYWIRE_FRAMING_LENGTH_PREFIX;
    f->framer_options.max_payload = 100;
    must(drywire_framer_new(&f->framer_options, &f->framer) == 0, "framer");
    f->framer_options.kind = DRYWIRE_FRAMING_LINES;
    must(drywire_custom_server_new(&f->server_options, &f->framer_options, &f->custom_options,
                                   &f->server) == 0, "server");
    must(drywire_memcached_server_new(&f->server_options, &f->memcached_options, &f->memcached) == 0,
         "memcached");
    must(drywire_sudoku_server_new(&f->server_options, &f->sudoku_options, &f->sudoku) == 0, "sudoku");
    must(drywire_conn_open(f->sudoku, 1, f, &f->sudoku_conn) == 0, "sudoku conn");
    memset(boards, '0', sizeof boards);
    for (n = 0; n < 3; n++) {
        memcpy(boards + 85 * n, "a:", 2);
        memcpy(boards + 85 * n + 83, "\r\n", 2);
    }
    must(drywire_conn_feed(f->sudoku_conn, 1, boards, sizeof boards, &consumed) == 0, "boards");
    must(drywire_server_next_work(f->sudoku, 1, &f->work) == 0, "work");
    must(drywire_server_next_work(f->sudoku, 1, &f->done_work) == 0, "done work");
    must(drywire_work_run(f->done_work) == 0, "run");
    must(drywire_conn_open(f->server, 1, f, &f->conn) == 0, "conn");
    must(drywire_conn_open(f->server, 1, f, &f->over) == 0, "over");
    must(drywire_conn_abort(f->over, 1, DRYWIRE_TRANSPORT_RESET) == 0, "abort");
    must(drywire_conn_feed(f->conn, 1, request, 12, &consumed) == 0, "feed");
    must(drywire_server_poll(f->server, f->events, 4, &n) == 0 && n == 1, "poll");
    f->id = f->events[0].id;
    f->token = f->events[0].num;
    f->numbers[0] = f->id;
    must(drywire_memcached_client_new(&f->client_options, &f->client) == 0, "client");
    must(drywire_memcached_client_new(&f->client_options, &f->over_client) == 0, "over client");
    must(drywire_client_eof(f->over_client) == 0, "eof");
    f->key.data = (const uint8_t *)"key";
    f->key.len = 3;
    f->memcached_request.verb = DRYWIRE_MEMCACHED_GET;
    f->memcached_request.keys = &f->key;
    f->memcached_request.key_count = 1;
    f->server_stats.struct_size = sizeof f->server_stats;
    f->memcached_stats.struct_size = sizeof f->memcached_stats;
    f->client_stats.struct_size = sizeof f->client_stats;
    f->error_info.struct_size = sizeof f->error_info;
    fixture_policies(f);
}

static void fresh(fixture *f) {
    fixture_free(f);
    fixture_make(f);
}

#endif
