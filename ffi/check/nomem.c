/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The nth allocation fails, for every n: where the header promises DRYWIRE_ERR_NOMEM the call gives it
 * and everything can be freed; elsewhere the process ends by itself, never by a bad access. Linked
 * statically, so that malloc below is the library's too.
 */
#define _GNU_SOURCE
#include <drywire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);

static long countdown; /* 0: never fail; 1: the next one */

static int fails(void) {
    return countdown > 0 && --countdown == 0;
}
void *malloc(size_t size) {
    return fails() ? NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    return fails() ? NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    return fails() ? NULL : __libc_realloc(old, size);
}
void *aligned_alloc(size_t align, size_t size) {
    return fails() ? NULL : __libc_memalign(align, size);
}
int posix_memalign(void **place, size_t align, size_t size) {
    *place = fails() ? NULL : __libc_memalign(align, size);
    return *place == NULL ? 12 : 0;
}

static int saw_nomem;

static drywire_status note(drywire_status status) {
    saw_nomem |= status == DRYWIRE_ERR_NOMEM;
    return status;
}

/* Tier A and the input of tier C: everything a peer can make them hold. */
static void promised(void) {
    static uint8_t value[5000];
    drywire_framer_options options;
    drywire_framer *framer;
    drywire_client *client;
    drywire_event events[4];
    size_t n, consumed;
    drywire_framer_options_init(&options, sizeof options);
    options.kind = DRYWIRE_FRAMING_LINES;
    options.max_payload = 100;
    if (note(drywire_framer_new(&options, &framer)) == DRYWIRE_OK) {
        (void)!drywire_framer_decode(framer, (const uint8_t *)"a\nb\n", 4, events, 4, &n, &consumed);
        note(drywire_framer_reset(framer));
    }
    drywire_framer_free(framer);
    if (note(drywire_memcached_client_new(NULL, &client)) == DRYWIRE_OK) {
        memset(value, 'x', sizeof value);
        note(drywire_client_feed(client, 0, value, sizeof value, &consumed));
        note(drywire_client_feed(client, 0, value, sizeof value, &consumed));
        (void)!drywire_client_poll(client, events, 4, &n);
    }
    drywire_client_free(client);
}

/* A custom server with requests under way; only requests and replies are promised. */
static drywire_server *server;
static drywire_conn *conn;

static void requests(void) {
    static const uint8_t line[] = "a request of some length\n";
    drywire_event events[4];
    drywire_status status;
    size_t n, consumed, i;
    status = drywire_conn_feed(conn, 0, line, sizeof line - 1, &consumed);
    saw_nomem |= status < 0; /* the connection ended, the process did not */
    if (drywire_server_poll(server, events, 4, &n) >= 0) {
        for (i = 0; i < n; i++) {
            note(drywire_server_reply(server, 0, events[i].id, events[i].num, 0, 0, line, 4));
        }
    }
}

static void set_up(void) {
    drywire_framer_options options;
    drywire_framer_options_init(&options, sizeof options);
    options.kind = DRYWIRE_FRAMING_LINES;
    options.max_payload = 100;
    if (drywire_custom_server_new(NULL, &options, NULL, &server) < 0 ||
        drywire_conn_open(server, 0, NULL, &conn) < 0) {
        exit(3);
    }
    requests(); /* queues and tables have their first memory */
}

/* Runs `what` with the nth allocation failing: 0 all was well, 1 NOMEM was seen, 2 aborted. */
static int run(void (*what)(void), long n) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        freopen("/dev/null", "w", stderr);
        countdown = n;
        what();
        drywire_conn_free(conn);
        drywire_server_free(server);
        _exit(saw_nomem ? 1 : countdown > 0 ? 0 : 4);
    }
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
        if (WTERMSIG(status) != SIGABRT) {
            fprintf(stderr, "allocation %ld: signal %d\n", n, WTERMSIG(status));
            exit(1);
        }
        return 2;
    }
    return WEXITSTATUS(status);
}

int main(void) {
    long n;
    int result, seen = 0, aborts = 0;
    for (n = 1; (result = run(promised, n)) != 0; n++) {
        if (result != 1) {
            fprintf(stderr, "promised: allocation %ld gave %d instead of NOMEM\n", n, result);
            return 1;
        }
        seen++;
    }
    set_up();
    for (n = 1; (result = run(requests, n)) != 0 && n < 100; n++) {
        seen += result == 1;
        aborts += result == 2;
    }
    printf("nomem: %d failures reported, %d of fixed size ended the process\n", seen, aborts);
    return seen < 5 || result != 0;
}
